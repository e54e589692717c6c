"""Writes the reference of cryptnoxctl from the program itself: docs/cryptnoxctl.md, docs/cryptnoxctl-*.md for each
group of commands, and the man page docs/cryptnoxctl.1.

.venv/bin/python scripts/reference.py [--check]     (--check: only say whether they are up to date)
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from hwilib_cryptnox.ctl.app import COMMON_OPTIONS
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.help import examples_of
from hwilib_cryptnox.ctl.main import cli, grouped

DOCS = Path(__file__).resolve().parents[1] / "docs"
CODES = {
    Exit.DONE: "done",
    Exit.REFUSED: "refused by the card or by you; `audit`: signatures made elsewhere",
    Exit.USAGE: "usage",
    Exit.NO_CARD: "no reader, no card, or it is busy",
    Exit.SECRET: "PIN or PUK: wrong, blocked, or not available",
    Exit.INPUT: "input refused: transaction, message, file, address",
}
ENVIRONMENT = {
    "CRYPTNOX_EMULATOR": "HOST:PORT of an emulated card, which is used instead of the readers",
    "CRYPTNOX_PIN_COMMAND": "a program whose output is the PIN, started without a shell",
    "CRYPTNOX_PIN_FILE": "a file only its owner can read, with the PIN",
    "CRYPTNOX_PIN": "the PIN itself; for tests",
    "CRYPTNOX_WAIT": "how many seconds to wait for a busy card (5)",
    "CRYPTNOX_REINSERT_WAIT": "how many seconds to wait for a card that was removed while it signs (30)",
    "CRYPTNOX_LAST_TRY": "1: the last PIN try may be spent without asking",
    "NO_COLOR": "no colors",
}
INTRODUCTION = """\
`cryptnoxctl` sets a card up, shows what is on it, signs transactions from files after a review, and keeps PIN, PUK and
settings. Every command takes `--json`: one object on stdout whose fields stay (their schemas are in
`tests/ctl/schemas.json`); an error is `{"error", "hint", "exit_code"}`.

PIN, PUK and words are never arguments. They are asked for on the terminal, hidden; without one the PIN comes from the
same sources as for `hwi-cryptnox`, or as the first line of stdin (`--stdinpass`), the PUK as the next (`--stdinpuk`).

What a card says about itself:

![cryptnoxctl info](pictures/info.svg)

A transaction reviewed and signed:

![cryptnoxctl sign](pictures/signing.svg)
"""
WRITTEN = "<!-- Written by scripts/reference.py from the program; change it there. -->\n"
ABOUT = {
    "Look": "What is on a card, and what it did. None of these commands changes the card.",
    "Set up": "From a new card to a wallet with a checked backup.",
    "Use": "Receive, review, sign, and connect wallet programs.",
    "Keep": "PIN, PUK, pairing key; erase a card, or forget it here.",
    "For experts": "What most people never need.",
}
WARNINGS = {
    "reset": "Everything on the card is gone afterward. Check your backup first: `cryptnoxctl backup check`.",
    "pin verify": "Each wrong PIN costs a try. After 3 the card locks until you remove it; after 6 only the PUK helps.",
    "puk change": "Without its PUK a card can never be reset, and a blocked PIN never unblocked. Write the new one "
    "down before you continue.",
    "pairing change": "Without a copy of the key, only the PUK opens the card on another computer: "
    "`cryptnoxctl pairing export`.",
    "pinless set": "Never use such a key for money.",
    "sign": "The card has no screen. What you see is shown by this computer: read every payment before you say yes.",
    "wallet remove": "Keep the descriptor. Without it, the coins of a multisig wallet cannot be found again: "
    "`cryptnoxctl wallet export`.",
}
"""What can cost money, or tries of the PIN."""
COMMON = (
    "Every command also takes the [common options](cryptnoxctl.md#options-of-every-command), and ends with one of the "
    "[exit codes](cryptnoxctl.md#exit-codes)."
)
COMPLETION = """\
The shell completes commands, options, files, names of registered wallets and serial numbers of cards it has seen, once
it has read the script of `cryptnoxctl completion`:

- bash (4.4 or later), in `~/.bashrc`: `eval "$(cryptnoxctl completion bash)"`
- zsh, in `~/.zshrc` after `compinit`: `eval "$(cryptnoxctl completion zsh)"`
- fish, in `~/.config/fish/config.fish`: `cryptnoxctl completion fish | source`
"""


@dataclass(frozen=True)
class Entry:
    """One command."""

    name: str
    usage: str
    text: str
    options: list[tuple[str, str]]
    epilog: str

    @property
    def examples(self) -> list[str]:
        """As they are typed."""
        return [line if "cryptnoxctl" in line else f"cryptnoxctl {line}" for line in examples_of(self.name)]


def groups() -> Iterator[tuple[str, list[Entry]]]:
    """All commands, as help groups them; those with commands of their own resolved."""
    context = click.Context(cli, info_name="cryptnoxctl")
    for title, names in grouped().items():
        found = []
        for name in names:
            command = cli.get_command(context, name)
            assert command is not None
            found += _walk(command, name, context)
        yield title, found


def _walk(command: click.Command, name: str, parent: click.Context) -> Iterator[Entry]:
    context = click.Context(command, info_name=name.split(" ")[-1], parent=parent)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            inner = command.get_command(context, child)
            assert inner is not None
            yield from _walk(inner, f"{name} {child}", context)
        return
    common = {flag for option in COMMON_OPTIONS for flag in option.opts}
    options = []
    for parameter in command.params:
        if not isinstance(parameter, click.Option):  # the line of usage has it
            continue
        record = parameter.get_help_record(context)
        if record is not None and not common.intersection(parameter.opts):
            options.append((record[0], " ".join(record[1].split())))
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    usage = " ".join(["cryptnoxctl", name, *(["[OPTIONS]"] if options else []), *pieces])
    yield Entry(name, usage, _paragraphs(command.help or ""), options, command.epilog or "")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(piece.split()) for piece in re.split(r"\n\s*\n", text.strip()))


def common_options() -> list[tuple[str, str]]:
    """The options every command takes."""
    return [(f"{', '.join(o.opts)}{f' {o.metavar}' if o.metavar else ''}", o.help or "") for o in COMMON_OPTIONS]


def _escaped(text: str, characters: str) -> str:
    """`characters` are no Markdown."""
    return "".join(f"\\{one}" if one in characters else one for one in text)


def _table(rows: list[tuple[str, str]], head: str = "option", meaning: str = "what it does") -> str:
    body = "\n".join(f"| `{_escaped(left, '|')}` | {_escaped(right, '|[')} |" for left, right in rows)
    return f"| {head} | {meaning} |\n|---|---|\n{body}\n"


def _page(title: str) -> str:
    """The file of a group."""
    return f"cryptnoxctl-{title.removeprefix('For ').replace(' ', '-').lower()}.md"


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.) ", text.split("\n")[0])[0]


def markdown() -> str:
    """docs/cryptnoxctl.md: what all commands have in common, and where each is."""
    parts = ["# cryptnoxctl\n", WRITTEN, INTRODUCTION]
    for title, found in groups():
        parts.append(f"## {title}\n")
        rows = "\n".join(
            f"| [{entry.name}]({_page(title)}#{entry.name.replace(' ', '-')}) | "
            f"{_escaped(_first_sentence(entry.text), '|[')} |"
            for entry in found
        )
        parts.append(f"| command | what it does |\n|---|---|\n{rows}\n")
    parts += ["## Options of every command\n", _table(common_options())]
    parts += ["## Exit codes\n", _table([(str(int(code)), text) for code, text in CODES.items()], "code", "meaning")]
    parts += ["## Environment\n", _table(list(ENVIRONMENT.items()), "variable", "meaning")]
    parts += ["## Completion\n", COMPLETION]
    return "\n".join(parts)


def group_page(title: str, found: list[Entry]) -> str:
    """A page of docs/: the commands of a group."""
    parts = [f"# cryptnoxctl: {title.lower()}\n", WRITTEN, f"{ABOUT[title]}\n"]
    parts.append(f"{COMMON}\n")
    for entry in found:
        parts += [f"## {entry.name}\n", f"```text\n{entry.usage}\n```\n", f"{entry.text}\n"]
        if entry.name in WARNINGS:
            parts.append(f":::{{warning}}\n{WARNINGS[entry.name]}\n:::\n")
        if entry.options:
            parts.append(_table(entry.options))
        if entry.epilog:
            parts.append(f"{entry.epilog}\n")
        if entry.examples:
            parts += ["Examples:\n", "```sh\n{}\n```\n".format("\n".join(entry.examples))]
    return "\n".join(parts)


def pages() -> dict[Path, str]:
    """All files, with what belongs in them."""
    found = {DOCS / "cryptnoxctl.md": markdown(), DOCS / "cryptnoxctl.1": man_page()}
    return found | {DOCS / _page(title): group_page(title, entries) for title, entries in groups()}


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.splitlines())


def man_page() -> str:
    """docs/cryptnoxctl.1."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", INTRODUCTION.split("\nWhat a card says")[0])
    parts = ['.TH CRYPTNOXCTL 1 "" "hwi-cryptnox" "User Commands"', ".ad l", ".SH NAME"]
    parts += ["cryptnoxctl \\- Cryptnox smart cards: set up, look, sign, export, manage, emulate", ".SH SYNOPSIS"]
    parts += [
        "\\fBcryptnoxctl\\fR [OPTIONS] COMMAND [ARGS]",
        ".SH DESCRIPTION",
        _roff(plain.replace("\n\n", "\n.PP\n")),
    ]
    parts = [part.replace("\\&.PP", ".PP") for part in parts]
    parts += [".SH OPTIONS", *_roff_list(common_options())]
    for title, found in groups():
        parts.append(f".SH COMMANDS: {_roff(title).upper()}")
        for entry in found:
            parts += [f".SS {_roff(entry.usage)}", _roff(entry.text).replace("\n\n", "\n.PP\n")]
            parts += _roff_list(entry.options)
            if entry.epilog:
                parts += [".PP", _roff(entry.epilog)]
            if entry.examples:
                parts += [".PP", "Examples:", ".nf", *map(_roff, entry.examples), ".fi"]
    parts += [".SH EXIT STATUS", *_roff_list([(str(int(code)), text) for code, text in CODES.items()])]
    parts += [".SH ENVIRONMENT", *_roff_list(list(ENVIRONMENT.items()))]
    return "\n".join(parts) + "\n"


def _roff_list(rows: list[tuple[str, str]]) -> list[str]:
    return [
        line for left, right in rows for line in (".TP", f"\\fB{_roff(left)}\\fR".replace("|", "|\\:"), _roff(right))
    ]


def main() -> int:
    """Write the files, or compare them."""
    written = pages()
    if "--check" in sys.argv[1:]:
        old = [path.name for path, text in written.items() if not path.exists() or path.read_text("utf-8") != text]
        print(f"not up to date: {', '.join(old)}" if old else "up to date")
        return 1 if old else 0
    for path, text in written.items():
        path.write_text(text, "utf-8")
        print(path.relative_to(DOCS.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
