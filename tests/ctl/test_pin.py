"""`pin`: where secrets come from, and what a refused one ends with."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from hwilib_cryptnox.ctl.main import cli
from tests.ctl.program import PIN, SEED, answer
from tests.psbt.factory import draft, spend
from tests.support.emulator import EmulatorProcess


def test_pin_sources_and_codes(card: EmulatorProcess, tmp_path: Path) -> None:
    assert answer(card, "pin", "tries", schema="pin tries")["pin_tries_left"] == 6
    refused = answer(card, "pin", "verify", pin=None, code=4)
    assert "terminal" in refused["error"]
    assert answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")["verified"]
    answer(card, "pin", "verify", "--stdinpass", stdin="", pin=None, code=4)
    answer(card, "pin", "verify", "--stdinpass", stdin="password\n", pin=None, code=4)
    assert card.stats()["pin_tries"] == 0
    answer(card, "pin", "verify", "--stdinpass", stdin="999999\n", pin=None, code=4)
    assert card.stats()["pin_tries"] == 1
    # An automatic source keeps still after a refusal, until an explicit PIN was right.
    answer(card, "xpub", "m/84h/0h/0h", code=4)
    answer(card, "xpub", "m/84h/0h/0h", code=4, pin="111111")
    assert card.stats()["pin_tries"] == 1
    answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")
    answer(card, "xpub", "m/84h/0h/0h", schema="xpub show")


def test_secrets_have_no_option() -> None:
    """Nothing takes a PIN, PUK, seed or key as an argument, the emulated card's test secrets aside."""

    def options(command: click.Command, name: str) -> list[tuple[str, str]]:
        found = [(name, option) for parameter in command.params for option in parameter.opts]
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                inner = command.get_command(context, child)
                assert inner is not None
                found += options(inner, f"{name} {child}")
        return found

    secret = {"--pin", "--puk", "--password", "--passphrase", "--mnemonic", "--key", "-p"}
    assert {name for name, option in options(cli, "") if option in secret} == {" emulator"}


def test_an_emulated_card_elsewhere_is_reopened(tmp_path: Path) -> None:
    """Named by --card, it needs no further leave when it comes back during a signing."""
    path = tmp_path / "x.psbt"
    path.write_bytes(base64.b64decode(draft(spend("p2wpkh"), spend("p2wpkh", 1)).base64()))
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", "remove@C0:2") as card:
        assert answer(None, "sign", "--yes", "--card", f"tcp:0.0.0.0:{card.port}", str(path))["complete"]
        assert card.stats()["signatures"] == 2


def test_what_needs_a_terminal_says_so(card: EmulatorProcess, fresh: EmulatorProcess) -> None:
    assert "terminal" in answer(card, "pin", "change", "--stdinpass", stdin=f"{PIN}\n", pin=None, code=2)["error"]
    assert "terminal" in answer(fresh, "setup", code=2)["error"]
    assert "terminal" in answer(card, "backup", "check", code=2)["error"]
    assert answer(card, "adopt")["needed"] == []
