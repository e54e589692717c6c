"""Reads the documentation: which commands stand in it, in blocks, tables and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.system.interop.programs import ROOT

GENERATED = {"cryptnoxctl.md", "messages.md", "licences.md"}
"""Written by programs, and compared with what these write."""
PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "RELEASE")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_BLOCK = re.compile(r"^( *)```(\w*|\{\w+\}[^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROGRAMS = (
    "apt apt-get bitcoin-cli bitcoind cryptnoxctl electrum eval git hwi hwi-cryptnox keyring man pip pip-audit "
    "pipx pre-commit python python3 ruff secret-tool sh sphinx-build sudo systemd-ask-password "
    "systemd-creds uv"
)
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ +)*(?:~/\S*/)?(?:{'|'.join(_PROGRAMS.split())})(?= )|_\w+=\S+ |command -v ")
_DATA = re.compile(r"--\w|\w+ = |\{|[\w.-]+\(")
"""How inline text of several words begins that is an option, a setting, JSON or a call."""


class Block(NamedTuple):
    """A fenced block, its indentation taken away."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    return [
        Block(language, "\n".join(line.removeprefix(indent) for line in body.splitlines()))
        for indent, language, body in _BLOCK.findall(page.read_text())
    ]


class Step(NamedTuple):
    """A command of a `console` block, and what the page says that it prints ("" for nothing said)."""

    command: str
    output: str


def steps(page: Path) -> list[Step]:
    """The commands that follow `$ ` in the `console` blocks; lines with two blanks before them continue a command."""
    found: list[Step] = []
    for language, text in blocks(page):
        if language != "console":
            continue
        assert text.startswith("$ "), (page.name, text)
        for line in text.splitlines():
            if line.startswith("$ "):
                found.append(Step(line.removeprefix("$ "), ""))
            elif line.startswith("  ") and not found[-1].output:
                found[-1] = Step(f"{found[-1].command}\n{line}", "")
            else:
                found[-1] = Step(found[-1].command, f"{found[-1].output}{line}\n")
    return found


def inline(page: Path) -> list[str]:
    """What stands between single backquotes, line ends and table escapes taken away."""
    prose = _BLOCK.sub("", page.read_text())
    return [" ".join(text.replace("\\|", "|").split()) for text in _INLINE.findall(prose)]


def other_commands(page: Path) -> Iterator[str]:
    """Every command line that stands elsewhere: in blocks of other languages and in sentences, comments taken away."""
    for language, text in blocks(page):
        if language in ("", "sh", "text", "bash", "shell", "powershell"):
            lines = (re.sub(r"(^|\s{2,})#.*", "", line).strip() for line in text.splitlines())
            yield from filter(None, lines)
    yield from (text for text in inline(page) if _COMMAND.match(text))


def unclear(page: Path) -> set[str]:
    """Inline texts of several words that are neither commands nor options, settings, JSON or calls."""
    return {text for text in inline(page) if " " in text and not _COMMAND.match(text) and not _DATA.match(text)}
