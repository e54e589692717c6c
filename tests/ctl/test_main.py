"""The program: usage, help, completion, schemas."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from hwilib_cryptnox.ctl.main import COMMANDS, cli
from tests.ctl.program import SCHEMAS, answer, run, schemas


@pytest.mark.parametrize("words", [(), ("pin",)])
def test_no_command_is_a_usage_error(words: tuple[str, ...]) -> None:
    """With every click that is admitted; the help is on stderr, where no program takes it for an answer."""
    done = run(None, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr.startswith(" ".join(["Usage: cryptnoxctl", *words]))
        and ("Commands:" if words else "Look:") in done.stderr
    )


def test_usage_errors() -> None:
    assert run(None, "nonsense").returncode == 2
    assert answer(None, "nonsense", code=2)["error"]
    assert answer(None, "sign", code=2)["error"]
    assert run(None, "--help").returncode == 0
    assert "hwi-cryptnox" in run(None, "--version").stdout or run(None, "--version").returncode == 0


def test_every_command_has_help_and_json() -> None:
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and line
        leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            help_text = leaf.get_help(click.Context(leaf))
            assert leaf.help, (name, leaf.name)
            assert name == "emulator" or "--json" in help_text


def test_commands_are_loaded_when_they_are_named() -> None:
    code = (
        "import sys; from hwilib_cryptnox.ctl.main import main; main(['--help']);"
        "print([n for n in sys.modules if n.split('.')[0] in ('rich','smartcard','coincurve','embit','cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    done = run(None, _CRYPTNOXCTL_COMPLETE=f"{shell}_source")
    assert done.returncode == 0
    assert "cryptnoxctl" in done.stdout


def test_completion_knows_the_commands() -> None:
    done = run(None, _CRYPTNOXCTL_COMPLETE="bash_complete", COMP_WORDS="cryptnoxctl pa", COMP_CWORD="1")
    assert "pairing" in done.stdout


def test_schemas_are_schemas() -> None:
    import jsonschema

    assert SCHEMAS.exists()
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_settings_that_make_no_sense() -> None:
    assert "CRYPTNOX_WAIT" in answer(None, "info", code=2, CRYPTNOX_WAIT="soon")["error"]
