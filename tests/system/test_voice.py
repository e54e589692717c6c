"""One voice: words that no text for people has, in the programs and on the pages. docs/style.md says what to write."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cryptnox_core", "hwilib_cryptnox")
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CONTRIBUTING", "RELEASE")),
    *sorted((ROOT / "docs").glob("*.md")),
]
NOT = {
    "stands": r"\bstands?\b(?!-in\b)|\bstood\b",
    "bear out": r"\bbears? out\b|\bborne out\b",
    "anew": r"\banew\b",
    "own one": r"\bown ones?\b",
    "shall": r"\bshall\b",
    "said to be": r"\b(?:is|are|was|were) said to\b|\bsays? to be\b",
    "is another than": r"(?<!there )\b(?:is|are) another\b(?! reader\b)|\banother than\b|\banother [\w ]{1,30} than\b",
    "is no ...": r"\b(?<!there )(?:is|are|was|were) no (?!longer|more\b|way\b|need\b|such\b)(?!backup|seed\b)",
    "is wanted": r"\b(?:is|are|was|were) wanted\b|\bwants? (?:a|an|the|its|no)\b",
    "switch on": r"\bswitch(?:ed|es|ing)? (?:it |them |[\w-]+ (?:[\w-]+ )?)?o(?:n|ff)\b",
    "powered anew": r"\bpowered\b",
    "begin": r"\bbegin (?:again|anew)\b",
    "somebody": r"\b(?:some|any|every)body\b",
    "whosoever": r"\bwhosoever\b",
    "taken over": r"\btaken over\b",
    "demands": r"\bdemands?\b",
    "for good": r"\bfor good\b",
    "the own ...": r"\b(?:an|the) own \w+",
    "all the same": r"\ball the same\b",
    "thrown away": r"\bthrown away\b|\bthrows? away\b",
    "goes on": r"\bgoes on\b|\bto go on\b",
    "cannot be told": r"\bcannot be told\b|\bnot to be told\b",
    "held for": r"\bheld for\b",
    "before money arrives": r"\bmoney arrives\b",
    "for ever": r"\bfor ever\b",
    "as from the factory": r"\bas from the factory\b",
    "plurals in brackets": r"\w\(s\)",
    "British spelling": (
        r"\b(?:un)?(?:initiali|recogni|finali|authori|normali|organi|reali|summari|seriali|minimi|optimi|speciali)s(?:e|ed|es|ing|ation)\b"
        r"|\banalys(?:e[ds]?|ing)\b|\b(?:colour|honour|behaviour|favour|neighbour|labour)s?(?:ed|ing)?\b|\bcancell(?:ed|ing)\b|\blicences?\b"
        r"|\b(?:centre|metre|grey|defence|offence|catalogue|dialogue|programme|whilst|amongst|towards|afterwards|fulfil)s?\b"
    ),
}
"""What to write instead is in docs/style.md."""
LIST = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in NOT.items()}


def text_of(node: ast.AST) -> str | None:
    """Of a literal; … is what differs."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The literals of a module that people may read, and the help of its commands; other docstrings are for
    developers."""
    tree = ast.parse(path.read_text("utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        text, parent = text_of(node), parents.get(node)
        if text is None or isinstance(parent, (ast.JoinedStr, ast.FormattedValue)):
            continue
        if isinstance(parent, ast.Expr):
            function = parents[parent]
            named = isinstance(function, ast.FunctionDef) and any(
                "command" in ast.unparse(decorator) for decorator in function.decorator_list
            )
            if not named:
                continue
        if " " in text.strip():
            yield getattr(node, "lineno", 0), text


def found_in(text: str) -> list[str]:
    return [f"{name}: {match[0]!r}" for name, pattern in LIST.items() for match in pattern.finditer(text)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_programs_texts(package: str) -> None:
    paths = sorted((ROOT / package).rglob("*.py"))
    found = [
        f"{path.relative_to(ROOT)}:{line}: {fault} in {text[:100]!r}"
        for path in paths
        for line, text in texts(path)
        for fault in found_in(text)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages(page: Path) -> None:
    """Code blocks aside: they hold commands and what programs print, which the first test reads."""
    plain = re.sub(r"^( *)```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    if page.name == "style.md":  # it names the words
        plain = re.sub(r"^\|.*$", "", plain, flags=re.MULTILINE)
    found = [f"{page.name}: {fault} in {line[:140]!r}" for line in plain.splitlines() for fault in found_in(line)]
    assert not found, "\n".join(found)


def test_what_to_do_is_something_to_do() -> None:
    """What `cryptnoxctl` says behind "What to do:" begins with what to do, not with a fact."""
    kept = [ROOT / "tests" / "system" / "frozen" / f"{name}.jsonl" for name in ("raises", "ctl", "status_words")]
    hints = {json.loads(line).get("hint") or "" for path in kept for line in path.read_text("utf-8").splitlines()}
    facts = re.compile(r"(?:the|this|that|its?|they|there|an?|without|you (?:must|have)|nothing was) ", re.IGNORECASE)
    assert len(hints) > 50 and not [hint for hint in sorted(hints) if facts.match(hint)]


@pytest.mark.parametrize(
    "text", ["The card is another than before", "Begin anew", "colours", "An own one", "2 output(s)"]
)
def test_the_list_sees(text: str) -> None:
    assert found_in(text)
