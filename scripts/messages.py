"""Writes docs/messages.md, every error message of the programs with what helps, from the code itself.

.venv/bin/python scripts/messages.py [--check]     (--check: only say whether it is up to date)
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "messages.md"
HOLE = "…"
INTRODUCTION = """\
# All messages

<!-- Written by scripts/messages.py from the code; families and advice are there. -->

Every error message of `hwi-cryptnox`, `cryptnoxctl` and the library, by family. Look for a few of the words that you
saw: … is what differs (a name, a number, another message). The frequent ones are explained in
[Troubleshooting](troubleshooting.md). `cryptnoxctl` begins messages with a capital letter and adds what to do;
`hwi-cryptnox` gives them in `error`, with HWI's code.
"""
FAMILIES = {
    "Reader and connection": (
        "The card cannot be reached, or was lost on the way. No PIN try is spent by it. `cryptnoxctl doctor` looks "
        "for the cause; put the card back and run the command again. An interrupted signing continues where it "
        "stopped.",
        "SupportMissingError ServiceUnavailableError NoReaderError NoCardError CardRemovedError ReaderBusyError "
        "TransportError _ClosedError",
    ),
    "Certificate and secure channel": (
        "The card does not prove that it is genuine, or the line to it is disturbed. Nothing secret "
        "was sent to a card whose certificate is bad. Once: run the command again, then try another reader. Again: do "
        "not use this card. *Paired with another key*: see [When something is lost](lost.md).",
        "ProtocolError CertificateError ChannelError BadMacError ChannelAbortedError PairingError UnknownChannelError",
    ),
    "Answers that no card should give": (
        "The card's answer has the wrong form, or its signature does not verify; the answer was discarded. "
        "Repeat the command, try another reader; if it stays, the card or its applet is not one that this software "
        "knows. Report it with the output of "
        "`cryptnoxctl --log-level debug` or `hwi-cryptnox --debug`; no secret is in it.",
        "MalformedResponseError BadSignatureError InvalidSignature",
    ),
    "A card that gives keys away": (
        "Do not use it again. [What to do](security.md#what-this-computer-remembers).",
        "RepeatedNonceError",
    ),
    "What the card refuses": (
        "The card answered with a status word. The message says what it needs; the status word and the instruction "
        "follow in brackets.",
        "StatusWordError NotAuthenticatedError NotInitializedError NoSeedError NotAllowedError NotFoundError "
        "NotSupportedError InvalidDataError",
    ),
    "PIN and PUK": (
        "Look at the tries left (`cryptnoxctl pin tries` spends none) before the next PIN. A blocked PIN needs the "
        "PUK: `cryptnoxctl pin unblock`. Where the programs look for a PIN: [PIN sources](pin-sources.md).",
        "WrongPinError WrongPukError PinLockedError SoftLockedError RefusedPinError NoPinError PinSourceError "
        "AssuanError",
    ),
    "Keys that approve signatures": (
        "The card takes no PIN, and the key that approves instead, or the token that holds it, did not. What was "
        "signed before is kept; no PIN try of the card is spent by it. How it is set up: "
        "[A touch for every signature](touch.md).",
        "ApproverError NoApproverError ApproverPinError ApproverRefusedError ApproverTimeoutError "
        "ApproverCanceledError UnknownCardError TouchNeededError NotReviewedError",
    ),
    "Changes whose answer was lost": (
        "The cause comes first. What is said is true of the card now: [When something is lost]"
        "(lost.md#when-an-answer-is-lost).",
        "Words",
    ),
    "Wallet commands": (
        "What HWI's commands answer. The message says what helps, if anything does.",
        "WalletError CardNotFoundError ForeignCardError RefusedCardError UnreadableCardsError NotReadyError "
        "LockedPinError LastTryError "
        "PinAuthOffError ExportOffError NotShownError NoWalletError AlreadyInitializedError BadRequestError "
        "NoDeviceTypeError UnknownDeviceTypeError UnavailableError FailedError CanceledError RetoldError _GoneError",
    ),
    "Electrum's plugin": (
        "In a window of Electrum, which also shows what `hwi-cryptnox` says. [Electrum](electrum.md).",
        "CardError CardProblem ProgramError",
    ),
    "Wallets of several keys": (
        "What is wrong with a wallet's descriptor, its name or its registration. Nothing was registered, or "
        "recognized. `cryptnoxctl` begins these with what was refused: the descriptor, the file, the name. No "
        "message repeats a descriptor: it may hold a secret. [Wallets of several keys](multisig.md).",
        "PolicyError RegistrationError",
    ),
    "Transactions that are refused": (
        "Nothing was signed. Why each of these is refused: [What is signed](psbt-policy.md). Inputs and outputs "
        "are counted from 0.",
        "RefusedInput RefusedOutput PsbtError CombineError",
    ),
    "Inputs that are skipped": (
        "The other inputs are signed. When all inputs of the card are skipped, the reason is the answer.",
        "Skipped",
    ),
    "PSBTs that cannot be read": (
        "The PSBT is damaged, cut short, or breaks BIP174, BIP370 or BIP371. The message names the map and the "
        "field. Have the wallet make it again; copy all of it.",
        "BadPsbt",
    ),
    "Transactions that cannot be finalized": (
        "The signatures are in the PSBT anyway. Others may have to sign, or the wallet that made the script has to "
        "finalize it.",
        "NotFinal ScriptError NotUnderstoodError",
    ),
    "Shares on paper": (
        "A SLIP39 share was not used, or the shares do not fit together. Nothing is on the card yet, and the shares "
        "that were taken are kept: [From words or from shares](lost.md#from-words-or-from-shares).",
        "ShareError",
    ),
    "Settings and state": (
        "A value in [the configuration file or the environment](settings.md), or the state folder. The message "
        "names which.",
        "SettingsError StateError NoHomeError SharedFileError OSError PermissionError NotADirectoryError",
    ),
    "cryptnoxctl": (
        "From the tool for people. Exit codes are in [its reference](cryptnoxctl.md#exit-codes).",
        "CtlError LeftError NoTerminalError NoHiddenInputError BadWordsError UnknownPukError SetUpError EndedError "
        "click.UsageError click.BadParameter",
    ),
    "Arguments": (
        "Something given to a command or to the library is not possible: a path, an address, a key, a length. Nothing "
        "was sent to the card.",
        "UsageError InvalidPathError InvalidExtendedKeyError InvalidPublicKeyError InvalidSignatureError "
        "InvalidContributionError",
    ),
    "Warnings": (
        "On stderr, next to an answer that is right.",
        "warning",
    ),
}
"""Title: what it means and what helps; the exceptions."""
INTERNAL = {
    "ValueError",
    "TypeError",
    "AttributeError",
    "BadStateError",
    "BadMessageError",
    "NotBase64Error",
    "StrayBitsError",
}
"""Raised for other code of ours, which catches them, or for callers of Python functions that break a rule of Python."""
_ENDINGS = {"kept": "again", "half": "again", "either": "keep", "other": "remedy"}
"""Of a command that cannot be taken back: what is said of it, and what helps."""
_NOTHING = ast.Constant(None)
_AFTER_ANOTHER = ("CtlError", "RetoldError", "EndedError")
"""Their message is the second of what they are given, and a hint may be the third."""
_HINTS = "told.py"
"""Holds a table of what helps, by class."""
_IN_PARTS = ("PsbtError",)
"""Their message is all that they are given, behind semicolons."""
_PSBT_REASONS = ("psbt/checks.py", "psbt/collect.py", "psbt/collected.py", "psbt/musig.py")
"""Where skipped inputs get their reasons, in variables named `problem` and results."""


@dataclass
class Module:
    """One file, with the texts of its constants and functions."""

    path: Path
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Message:
    """One message, and what `cryptnoxctl` adds to it."""

    text: str
    hint: str = ""


class Code:
    """All modules of the two packages but the emulated card, which has no user to talk to."""

    def __init__(self) -> None:
        paths = sorted([*ROOT.glob("cryptnox_core/**/*.py"), *ROOT.glob("hwilib_cryptnox/**/*.py")])
        self.modules = [
            Module(path, ast.parse(path.read_text("utf-8")))
            for path in paths
            if "cryptnox_core/emulator" not in path.as_posix()
        ]
        self.classes = {"Skipped", "OSError", "PermissionError", "NotADirectoryError", *INTERNAL}
        self.constants: dict[str, ast.expr] = {}
        self.functions: dict[str, ast.FunctionDef] = {}
        for module in self.modules:
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef) and any(_is_error(base) for base in node.bases):
                    self.classes.add(node.name)
                elif isinstance(node, ast.FunctionDef):
                    module.functions[node.name] = self.functions[node.name] = node
            for statement in module.tree.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    module.constants[statement.targets[0].id] = self.constants[statement.targets[0].id] = (
                        statement.value
                    )

    def messages(self) -> dict[str, set[Message]]:
        """The messages by the name of their exception."""
        found: dict[str, set[Message]] = {}
        for module in self.modules:
            for scope, node in _with_scopes(module.tree):
                for name, message in self._of(module, scope, node):
                    found.setdefault(name, set()).add(message)
        return {name: found[name] for name in sorted(found)}

    def _of(self, module: Module, scope: ast.AST, node: ast.AST) -> Iterator[tuple[str, Message]]:
        if isinstance(node, ast.Call):
            name = _name(node.func)
            values = [*node.args, *(keyword.value for keyword in node.keywords)]
            if name in self.classes or name in ("click.UsageError", "click.BadParameter"):
                texts, hints = self._said(module, scope, node)
                for text, hint in itertools.product(texts, hints):
                    if text:
                        yield name, Message(text, hint)
            elif name == "Words":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                for said, help_text in _ENDINGS.items():
                    texts, hints = (
                        self.texts(module, scope, given.get(part, _NOTHING)) or [""] for part in (said, help_text)
                    )
                    for text, hint in itertools.product(texts, hints):
                        if text:
                            yield name, Message(text, hint)
            elif name == "no_pin":
                ends = [f"; {text}" for keyword in node.keywords for text in self.texts(module, scope, keyword.value)]
                for text in [text for value in node.args for text in self.texts(module, scope, value)]:
                    yield "NoPinError", Message(text + "".join(ends))
            elif name in ("_log.warning", "_log.error") and node.args:
                for text in self.texts(module, scope, node.args[0]):
                    yield "warning", Message(re.sub(r"%[srd]", HOLE, text))
        elif isinstance(node, ast.ClassDef) and node.name == "Words":
            for default in (inner.value for inner in node.body if isinstance(inner, ast.AnnAssign)):
                for text in self.texts(module, node, default or _NOTHING):
                    if text[0].isupper():  # the others are advice
                        yield node.name, Message(text)
        elif isinstance(node, ast.ClassDef) and node.name in self.classes:
            for default in (
                value for inner in ast.walk(node) if isinstance(inner, ast.arguments) for value in inner.defaults
            ):
                for text in self.texts(module, node, default):
                    yield node.name, Message(text)
            for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
                texts, hints = self._said(module, node, call)
                for text in filter(None, [*texts, *hints]):
                    yield node.name, Message(text)
        elif isinstance(node, ast.Tuple) and _name(node.elts[0] if node.elts else node) in self.classes:
            # Tables: an exception, HWI's code perhaps, and its message; others hold exit codes or hints.
            if module.path.name == _HINTS or any("Exit" in ast.dump(part) for part in node.elts):
                return
            for text in self.texts(module, scope, node.elts[-1]):
                yield _name(node.elts[0]), Message(text)
        elif isinstance(node, (ast.Assign, ast.Return, ast.keyword)) and module.path.as_posix().endswith(_PSBT_REASONS):
            named = isinstance(node, ast.Return) or "problem" in (
                [node.arg] if isinstance(node, ast.keyword) else [_name(target) for target in node.targets]
            )
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value] if node.value else []
            for value in values if named else []:
                for text in self.texts(module, scope, value):
                    yield "Skipped", Message(text)

    def _said(self, module: Module, scope: ast.AST, call: ast.Call) -> tuple[list[str], list[str]]:
        """The messages and the hints that the call of an exception's class gives it."""
        name, given = _name(call.func), {keyword.arg: keyword.value for keyword in call.keywords}
        hint, unchanged = given.pop("hint", _NOTHING), given.pop("unchanged", _NOTHING)
        how = [f"; {text}" for text in self._texts(module, scope, given.pop("how", _NOTHING), 0)]
        values = [*call.args, *given.values()]
        if name in _AFTER_ANOTHER:
            values, hint = values[1:2], values[2] if len(values) > 2 else hint
        if name in _IN_PARTS:
            parts = [self._texts(module, scope, value, 0) for value in values]
            texts = ["; ".join(choice) for choice in itertools.product(*parts)]
        else:
            texts = [text for value in values for text in self._texts(module, scope, value, 0)]
        ends = how or self._texts(module, scope, unchanged, 0) or [""]
        said = [text + end for text, end in itertools.product(texts, ends) if _is_text(text + end)]
        if name in _AFTER_ANOTHER:
            said = said or [""]
        return said, self.texts(module, scope, hint) or [""]

    def texts(self, module: Module, scope: ast.AST, node: ast.expr, depth: int = 0) -> list[str]:
        """What an expression can say; HOLE where that is not known. Texts without two words of their own are none."""
        return [text for text in self._texts(module, scope, node, depth) if _is_text(text)]

    def _texts(self, module: Module, scope: ast.AST, node: ast.expr, depth: int) -> list[str]:
        if depth > 9:
            return []
        if isinstance(node, ast.Constant):
            return [node.value] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            pieces = [
                [str(part.value)] if isinstance(part, ast.Constant) else self._hole(module, scope, part.value, depth)
                for part in node.values
                if isinstance(part, (ast.Constant, ast.FormattedValue))
            ]
            return ["".join(choice) for choice in itertools.product(*pieces)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [self._texts(module, scope, side, depth + 1) or [HOLE] for side in (node.left, node.right)]
            return ["".join(choice) for choice in itertools.product(*sides)]
        if isinstance(node, ast.IfExp):
            return [text for side in (node.body, node.orelse) for text in self._texts(module, scope, side, depth + 1)]
        if isinstance(node, ast.BoolOp):
            return [text for side in node.values for text in self._texts(module, scope, side, depth + 1)]
        if isinstance(node, (ast.List, ast.Starred)):
            parts = node.elts if isinstance(node, ast.List) else [node.value]
            return [text for part in parts for text in self._texts(module, scope, part, depth + 1)]
        if isinstance(node, ast.Subscript):
            return self._texts(module, scope, node.value, depth + 1)
        if isinstance(node, ast.Dict):
            return [text for value in node.values for text in self._texts(module, scope, value, depth + 1)]
        if isinstance(node, ast.Name):
            return self._named(module, scope, node.id, depth)
        if isinstance(node, ast.Call) and _name(node.func) == "join":
            return [text for part in node.args for text in self._texts(module, scope, part, depth + 1)]
        if isinstance(node, ast.Call):
            function = module.functions.get(_name(node.func)) or self.functions.get(_name(node.func))
            returns = [inner for inner in ast.walk(function) if isinstance(inner, ast.Return)] if function else []
            return [
                text
                for inner in returns
                if inner.value is not None and function is not None
                for text in self._texts(module, function, inner.value, depth + 1)
            ]
        return []

    def _hole(self, module: Module, scope: ast.AST, node: ast.expr, depth: int) -> list[str]:
        """What stands in braces: a constant of ours, or one of a few texts given to a variable before."""
        if not isinstance(node, ast.Name):
            return [HOLE]
        known = self._named(module, scope, node.id, depth)
        if any(isinstance(given, ast.Call) for given in _given(scope, node.id)):
            known = [*known, HOLE]
        return list(dict.fromkeys(text or HOLE for text in known)) if 0 < len(known) < 8 else [HOLE]

    def _named(self, module: Module, scope: ast.AST, name: str, depth: int) -> list[str]:
        found = [
            text for given in _given(scope, name) for text in self._texts(module, scope, given, depth + 1) or [HOLE]
        ]
        constant = module.constants.get(name) or self.constants.get(name)
        return found or ([] if constant is None else self._texts(module, module.tree, constant, depth + 1))


def _with_scopes(tree: ast.AST, scope: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node, with the function around it."""
    around = tree if scope is None else scope
    for node in ast.iter_child_nodes(tree):
        yield around, node
        yield from _with_scopes(node, node if isinstance(node, ast.FunctionDef) else around)


def _given(scope: ast.AST, name: str) -> list[ast.expr]:
    """What is assigned to a variable in a function."""
    assigned = (node for node in ast.walk(scope) if isinstance(node, ast.Assign))
    return [node.value for node in assigned if name in [_name(target) for target in node.targets]]


def _is_text(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text)) > 1


def _is_error(base: ast.expr) -> bool:
    return _name(base).endswith(("Error", "Exception")) or _name(base) == "PsbtError"


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}" if _name(node.value) in ("click", "_log") else node.attr
    return ""


def families() -> dict[str, list[Message]]:
    """The messages of each family in their order. Raises LookupError for an exception that is in none."""
    found = Code().messages()
    strange = found.keys() - {name for _, listed in FAMILIES.values() for name in listed.split()} - INTERNAL
    if strange:
        raise LookupError(f"in no family: {', '.join(sorted(strange))}")
    return {
        title: sorted(
            {message for name in listed.split() for message in found.get(name, set())},
            key=lambda one: (re.sub(r"^\W+", "", one.text).lower(), one.text, one.hint),
        )
        for title, (_, listed) in FAMILIES.items()
    }


def markdown() -> str:
    """docs/messages.md."""
    parts = [INTRODUCTION]
    for title, messages in families().items():
        helped = any(message.hint for message in messages)
        parts += [f"## {title}\n", f"{FAMILIES[title][0]}\n"]
        parts.append("| message | what helps |\n|---|---|" if helped else "| message |\n|---|")
        for message in messages:
            parts.append(f"| {_cell(message.text)} |" + (f" {_cell(message.hint)} |" if helped else ""))
        parts.append("")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return re.sub(r"([|<`\\])", r"\\\1", " ".join(text.split()))


def main() -> int:
    """Write the page, or compare it."""
    text = markdown()
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text("utf-8") == text
        print("up to date" if current else f"not up to date: {PAGE.name}")
        return 0 if current else 1
    PAGE.write_text(text, "utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
