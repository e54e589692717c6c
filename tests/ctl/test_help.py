"""What a person reads before doing anything: groups, examples, common options once, what was meant."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from hwilib_cryptnox.ctl.app import COMMON_OPTIONS
from hwilib_cryptnox.ctl.examples import EXAMPLES
from hwilib_cryptnox.ctl.help import GROUPS, OTHER_WORDS, examples_of, meant
from hwilib_cryptnox.ctl.main import COMMANDS, cli, grouped
from tests.ctl.program import answer, run
from tests.ctl.test_app import leaves, options_of

LEAVES = dict(leaves(cli))
NAMES = [*COMMANDS, *LEAVES]


def test_every_command_is_in_one_group() -> None:
    placed = [name for names in GROUPS.values() for name in names]
    assert sorted(placed) == sorted(set(placed)), "in two groups"
    assert set(COMMANDS) == set(placed), "add it to GROUPS"
    assert "Others" not in grouped()


def test_help_shows_the_groups_and_the_common_options_once() -> None:
    text = run(None, "--help").stdout
    assert [title for title in (*GROUPS, "Examples") if f"\n{title}:\n" not in text] == []
    for name, (_, line) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", text, re.M), name
    common = [max(option.opts, key=len) for option in COMMON_OPTIONS]
    assert all(text.count(f"{option} ") == 1 for option in common)
    for name in ("sign", "pin", "pin change"):
        help_text = run(None, *name.split(), "--help").stdout
        assert all(help_text.count(option) == 1 for option in common), name
        assert "Print one JSON object" not in help_text


def test_help_fits_80_columns() -> None:
    """Examples aside, which are never wrapped: they are copied."""
    for name in NAMES:
        text = run(None, *name.split(), "--help").stdout.partition("\nExamples:")[0]
        choices = re.sub(r"\[[\w|.-]+\]", "", text)  # of one word that click does not break
        assert max(map(len, choices.splitlines())) <= 80, name


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_examples(name: str) -> None:
    """Add them in `ctl/examples.py`."""
    lines = examples_of(name)
    assert lines and all(name == "completion" or line.split()[: len(name.split())] for line in lines)
    text = run(None, *name.split(), "--help").stdout
    assert "\nExamples:\n" in text and all(line in text for line in lines)


def examples() -> Iterator[tuple[str, list[str]]]:
    for name, lines in EXAMPLES.items():
        for line in lines:
            if "cryptnoxctl" in line:
                line = re.sub(r'^(eval "\$\()?cryptnoxctl ', "", line)
                line = re.split(r'\)"| \|', line)[0]
            yield name, shlex.split(re.split(r" {3,}", line)[0])


@pytest.mark.parametrize(("name", "words"), list(examples()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_example_is_understood(name: str, words: list[str]) -> None:
    """Commands, options and arguments are there; what they name is not looked for."""
    command: click.Command = cli
    context = click.Context(cli, info_name="cryptnoxctl")
    rest = list(words)
    while isinstance(command, click.Group):
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None, words
        command = found
    path = next(leaf for leaf, each in LEAVES.items() if each is command)
    assert name in ("", path)
    parser = command.make_parser(click.Context(command))
    values, left, _ = parser.parse_args(args=list(rest))
    assert not left, words
    for parameter in command.params:
        given = values.get(parameter.name or "")
        if isinstance(parameter.type, click.Choice) and given is not None and given not in parameter.type.choices:
            assert isinstance(given, list) or given is parameter.default or not isinstance(given, str), (words, given)
        assert not (isinstance(parameter, click.Argument) and parameter.required and given is None), words


def test_examples_belong_to_commands_that_are_there() -> None:
    assert set(EXAMPLES) - {""} <= set(NAMES)


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("sing", "sign"),
        ("adress", "address"),
        ("restore", "setup --seed restore"),
        ("unblock", "pin unblock"),
        ("wipe", "reset"),
        ("Setup", "setup"),
        ("docter", "doctor"),
        ("enumerate", "list"),
        ("pin chnage", "change"),
        ("wallet lsit", "list"),
        ("xpub of", "off"),
    ],
)
def test_what_was_meant(typed: str, proposed: str) -> None:
    error = answer(None, *typed.split(), code=2)["error"]
    assert f"Did you mean {proposed}" in error, error


def test_what_is_like_nothing_gets_no_proposal() -> None:
    assert answer(None, "qqqqqqqq", code=2)["error"] == "No such command 'qqqqqqqq'."
    assert "\x1b" not in answer(None, "\x1b[2Jsign", code=2)["error"]
    assert meant("x" * 100_000, NAMES) == ""


def test_options_too() -> None:
    assert "--finalize" in answer(None, "sign", "--finalise", "x", code=2)["error"]
    assert "--card" in answer(None, "info", "--crad", "1", code=2)["error"]


def test_other_words_lead_to_commands_that_are_there() -> None:
    known = set(NAMES)
    for word, command in OTHER_WORDS.items():
        name, *rest = command.split(" --")
        assert name in known and word not in COMMANDS
        assert all(f"--{one.split()[0]}" in options_of(LEAVES[name]) for one in rest)
