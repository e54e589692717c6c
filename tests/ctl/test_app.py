"""Options that messages and hints name exist."""

from __future__ import annotations

import ast
import base64
import re
from collections.abc import Iterator
from pathlib import Path

import click

import hwilib_cryptnox
from hwilib_cryptnox.ctl.main import cli
from hwilib_cryptnox.hwi.arguments import make_parser
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import PIN, answer
from tests.psbt.factory import draft, spend
from tests.support.emulator import EmulatorProcess, trust

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
FOREIGN_PROGRAM = re.compile(r"(?:pip install|systemctl|gpgconf)(?: -*[\w-]+)+")


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for child in command.list_commands(context):
        inner = command.get_command(context, child)
        assert inner is not None
        yield from leaves(inner, f"{name} {child}".strip())


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}


def texts(path: Path) -> Iterator[str]:
    """What a module may print: its strings, one an f-string, without the docstrings of what is no command."""
    tree = ast.parse(path.read_text())
    silent, inner = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef) or (
            isinstance(node, ast.FunctionDef) and not any("command" in ast.unparse(d) for d in node.decorator_list)
        ):
            silent |= {id(s.value) for s in node.body if isinstance(s, ast.Expr)}
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent | inner:
            yield node.value


def named(text: str, known: dict[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Options a text names, each with the command it is said to belong to, or nothing."""
    text = FOREIGN_PROGRAM.sub("", text)
    for part in re.split(r"(?=cryptnoxctl )", text):
        words = part.removeprefix("cryptnoxctl ").replace(":", " ").split() if part.startswith("cryptnoxctl ") else []
        command = max((name for name in known if words[: len(name.split())] == name.split()), key=len, default="")
        for option in OPTION.findall(part):
            yield command, option


def test_messages_name_options_that_exist() -> None:
    """A module's messages name options of its own commands; those of shared modules, options of some command. What the
    driver's modules say may name an option of `hwi-cryptnox` alone only where no command here says it."""
    known = {name: options_of(command) for name, command in leaves(cli)}
    everywhere = set.union(*known.values())
    modules: dict[str, set[str]] = {}
    for name, command in leaves(cli):
        assert command.callback is not None
        modules.setdefault(command.callback.__module__, set()).update(known[name])
    package = Path(hwilib_cryptnox.__file__).parent
    paths = {path.relative_to(package).as_posix(): path for path in sorted(package.rglob("*.py"))}
    names = {name: ".".join(("hwilib_cryptnox", *Path(name).with_suffix("").parts)) for name in paths}
    assert set(modules) <= set(names.values())
    wrong, seen = [], 0
    for place, path in paths.items():
        if not place.startswith("ctl/"):
            continue
        own = modules.get(names[place], everywhere)
        for text in texts(path):
            for command, option in named(text, known):
                seen += 1
                if option not in (known[command] if command else own):
                    wrong.append((place, command, option, text))
    assert wrong == [] and seen > 100
    parser = make_parser(str)
    ours = {option for action in parser._actions for option in action.option_strings}
    for action in parser._actions:
        for inner in action.choices.values() if isinstance(action.choices, dict) else ():
            ours |= {option for child in inner._actions for option in child.option_strings}
    alone = {"signer/wallet.py", "signer/cards.py", "hwi/finding.py", "pin/sources.py"}
    assert alone | {"pin/assuan.py"} <= set(paths)
    seen = 0
    for place, path in paths.items():
        if place.startswith("ctl/") or place == "pin/assuan.py":  # GnuPG's options
            continue
        for text in texts(path):
            for command, option in named(text, known) if " " in text else ():  # a word alone is no message
                there = everywhere & ours
                if place in alone or place.startswith(("hwi/", "plugin/")):
                    there = ours
                elif place.startswith("psbt/"):  # of a file that somebody named by that option
                    there = everywhere
                seen += 1
                assert option in (known[command] if command else there), (place, option, text)
    assert seen > 20


def test_no_hint_names_an_option_the_command_has_not(card: EmulatorProcess, tmp_path: Path) -> None:
    """What several commands share says what fits each."""
    taken = tmp_path / "taken"
    taken.write_text("here")
    psbt = tmp_path / "x.psbt"
    psbt.write_bytes(base64.b64decode(draft(spend("p2wpkh")).base64()))
    known = {name: options_of(command) for name, command in leaves(cli)}
    for name, words in {
        "data read": ["--output", str(taken)],
        "sign": ["--yes", "--output", str(taken), str(psbt)],
        "export": ["electrum", "--output", str(taken)],
        "pairing export": [str(taken)],
    }.items():
        if name == "pairing export":
            State().keep_pairing_key(card.serial, bytes(32))
        refused = answer(card, *name.split(), *words, code=2)
        assert "exists" in refused["error"], refused
        assert set(OPTION.findall(refused["hint"])) == ({"--force"} & known[name]), refused
    # The driver's text names --password, which only hwi-cryptnox has.
    State().keep_pairing_key(card.serial, None)
    trust(card.path)
    refused = answer(card, "xpub", "m/84h/0h/0h", code=4, pin=None, CRYPTNOX_PIN_COMMAND="false")
    assert refused["error"] == "A PIN is needed: CRYPTNOX_PIN_COMMAND ended with status 1"


def test_secrets_on_stdin_have_an_end(card: EmulatorProcess) -> None:
    """A line that is longer than any PIN or PUK is not read further, and not sent."""
    for stdin in ("9" * 5_000, PIN + "\n" + "9" * 5_000 + "\n"):
        told = answer(card, "pin", "verify", "--stdinpass", "--stdinpuk", code=4, stdin=stdin, pin=None)
        assert told["error"] == "A line of stdin is too long for a PIN or a PUK: it has more than 4096 bytes"
    assert card.stats()["pin_tries"] == 0
    answer(card, "pin", "verify", "--stdinpass", stdin=PIN + "\n" + "9" * 5_000, pin=None, schema="pin verify")


def test_numbers_of_thousands_of_digits() -> None:
    """What no card and no reader can have as its number is told as such."""
    digits = "9" * 5000
    for words in (["--card", digits], ["--card", f"cryptnox:{digits}"], ["--card", f"tcp:localhost:{digits}"]):
        assert answer(None, "info", *words, code=2)["exit_code"] == 2
    assert answer(None, "info", "--reader", digits, code=3)["exit_code"] == 3
