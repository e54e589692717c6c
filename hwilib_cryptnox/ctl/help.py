"""How help is written: a command's own options, examples, common options in one place; and what was meant by a word
that is no command."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Iterable, Sequence

import click

from hwilib_cryptnox.console.layout import lines_of, width

GROUPS = {
    "Look": ("list", "info", "doctor", "history", "audit"),
    "Set up": ("setup", "adopt", "backup", "clone", "sheet", "wallet"),
    "Use": (
        "address",
        "sign",
        "verify",
        "combine",
        "finalize",
        "message",
        "export",
        "descriptors",
        "xpub",
        "taproot",
        "hwi",
    ),
    "Keep": ("pin", "puk", "pairing", "owner", "reset", "forget"),
    "For experts": (
        "data",
        "user-key",
        "pinless",
        "pin-auth",
        "clear-key",
        "cert",
        "decrypt",
        "relay",
        "emulator",
        "completion",
    ),
}
"""The commands as help shows them."""
_MOST_COLUMNS, _LEAST_COLUMNS = 80, 30
_LEAST_TEXT = 20
"""Columns beside the names."""
_CLOSE = 0.6
_MOST = 3
"""Commands that are proposed."""
OTHER_WORDS = {
    "init": "setup",
    "initialize": "setup",
    "initialise": "setup",
    "restore": "setup --seed restore",
    "recover": "setup --seed restore",
    "import": "setup --seed restore",
    "check": "backup check",
    "enumerate": "list",
    "readers": "list",
    "cards": "list",
    "status": "info",
    "fingerprint": "info",
    "wipe": "reset",
    "erase": "reset",
    "factory-reset": "reset",
    "unblock": "pin unblock",
    "unlock": "pin unblock",
    "tries": "pin tries",
    "receive": "address",
    "getxpub": "xpub show",
    "signtx": "sign",
    "send": "sign",
    "psbt": "sign",
    "signmessage": "message sign",
    "multisig": "wallet add",
    "register": "wallet add",
    "simulator": "emulator",
    "diagnose": "doctor",
}
"""What other programs, and people, call it."""


class HelpFormatter(click.HelpFormatter):
    """Lines end at blanks, and not inside options, names and commands: click ends them at hyphens, too. Narrow windows
    are filled, and wide ones to 80 columns."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        if width is None:
            width = max(min(shutil.get_terminal_size().columns, max_width or _MOST_COLUMNS) - 2, _LEAST_COLUMNS)
        super().__init__(indent_increment, width, max_width)

    def write_heading(self, heading: str) -> None:
        """The title of a section."""
        for line in lines_of(f"{heading}:", self.width - self.current_indent):
            self.write(f"{'':{self.current_indent}}{line}\n")

    def write_text(self, text: str) -> None:
        """Paragraphs."""
        indent = f"{'':{self.current_indent}}"
        for number, paragraph in enumerate(re.split(r"\n\s*\n", text)):
            if number:
                self.write("\n")
            for line in lines_of(" ".join(paragraph.split()), self.width - self.current_indent):
                self.write(f"{indent}{line}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Names, and what they are, in two columns."""
        rows = list(rows)
        first = min(max((width(name) for name, _ in rows), default=0), col_max) + col_spacing
        indent = self.current_indent
        if self.width - first - indent < _LEAST_TEXT:  # what they are below them
            first = indent + col_spacing
        for name, text in rows:
            lines = lines_of(text, self.width - first - indent) if text else [""]
            if width(name) > first - col_spacing:
                self.write(f"{'':{indent}}{name}\n")
                lines = lines if text else []
            else:
                self.write(f"{'':{indent}}{name:{first}}{lines.pop(0)}".rstrip() + "\n")
            for line in lines:
                self.write(f"{'':{indent + first}}{line}".rstrip() + "\n")


class HelpfulContext(click.Context):
    """Its help is written by `HelpFormatter`."""

    formatter_class = HelpFormatter


class HelpfulCommand(click.Command):
    """Its help ends with examples."""

    context_class = HelpfulContext

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, then whatever else stands at the end."""
        write_examples(ctx, formatter)
        super().format_epilog(ctx, formatter)


def write_examples(context: click.Context, formatter: click.HelpFormatter) -> None:
    """The examples of a command, as they are typed: no line is wrapped."""
    lines = examples_of(" ".join(context.command_path.split()[1:]))
    if lines:
        with formatter.section("Examples"):
            for line in lines:
                whole = line if "cryptnoxctl" in line else f"cryptnoxctl {line}"
                formatter.write(f"{'':{formatter.current_indent}}{whole}\n")


def examples_of(command: str) -> tuple[str, ...]:
    """Those of a command; of a group the first one of each of its commands."""
    from hwilib_cryptnox.ctl.examples import EXAMPLES

    if command in EXAMPLES:
        return EXAMPLES[command]
    return tuple(lines[0] for name, lines in EXAMPLES.items() if command and name.startswith(f"{command} "))


def write_options(
    command: click.Command, context: click.Context, formatter: click.HelpFormatter, common: Sequence[click.Parameter]
) -> None:
    """A command's own options; that it takes the common ones is one line. Its arguments are in the line of usage."""
    own = [each for each in command.get_params(context) if each not in common and isinstance(each, click.Option)]
    records = [each.get_help_record(context) for each in own]
    with formatter.section("Options"):
        formatter.write_dl([record for record in records if record is not None])
    names = ", ".join(max(each.opts, key=len) for each in common)
    formatter.write_paragraph()
    formatter.write_text(f"Every command also takes {names}. See cryptnoxctl --help.")


def write_common(context: click.Context, formatter: click.HelpFormatter, common: Sequence[click.Parameter]) -> None:
    """The common options, once."""
    records = [each.get_help_record(context) for each in common]
    with formatter.section("Options of every command, before or after its name"):
        formatter.write_dl([record for record in records if record is not None])


def meant(word: str, names: Iterable[str]) -> str:
    """What may have been meant by a word that is no command, as a question; empty where nothing is like it.

    `names`: of commands, also of those with two words.
    """
    known = list(names)
    close = [OTHER_WORDS[word.lower()]] if word.lower() in OTHER_WORDS else []
    last = {name.rpartition(" ")[2]: name for name in reversed(known)}
    close += difflib.get_close_matches(word.lower(), known, _MOST, _CLOSE)
    close += [last[one] for one in difflib.get_close_matches(word.lower(), list(last), _MOST, _CLOSE)]
    close = list(dict.fromkeys(close))[:_MOST]
    if not close:
        return ""
    return f" Did you mean {' or '.join([', '.join(close[:-1]), close[-1]] if close[1:] else close)}?"
