"""A taste of `scripts/torture`, and everything in it that ever failed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import pytest

from hwilib_cryptnox.ctl.main import cli
from hwilib_cryptnox.hwi.arguments import make_parser
from tests.psbt.signing import WITH_KERNEL
from tests.system.torture.forked import ForkedCard, check_state, environment, run
from tests.system.torture.guided import GuidedPsbts
from tests.system.torture.moments import SCENES, Moments
from tests.system.torture.parts import Commands, InputError, NotHereError
from tests.system.torture.processes import ReaderContention
from tests.system.torture.programs import COMMANDS, HWI, PIN, seeded
from tests.system.torture.run import KEPT, PARTS, Result, again, keep, torture
from tests.system.torture.targets import KINDS

FAILED = [(name, which) for name, kept in json.loads(KEPT.read_text()).items() for which in kept]
ON_A_READER = "several processes on a reader"
WITHOUT_A_CARD = {
    "ctl": {
        "emulator": "it is the card",
        "relay": "it hands APDUs on, and has tests of its own",
        "hwi disable": "the configuration of another program",
        "hwi enable": "the configuration of another program",
        "hwi status": "the configuration of another program",
        "verify": "looks at files",
        "wallet list": "the state folder alone",
        "wallet show": "the state folder alone",
        "wallet remove": "the state folder alone",
        "wallet export": "the state folder alone",
        "message verify": "looks at a text",
        "forget": "the state folder alone",
        "combine": "looks at files",
        "completion": "looks at nothing",
        "finalize": "looks at files",
        "clone check": "two cards; its faults are in tests/ctl",
        "pairing export": "writes what `pairing change` has kept",
    },
    "hwi": {
        "installudevrules": "looks at nothing",
        "displayaddress": "ends in an error without a fault, too; a registration is believed as by signtx",
        "backup": "refused before a card is opened",
        "promptpin": "refused before a card is opened",
        "sendpin": "refused before a card is opened",
        "togglepassphrase": "refused before a card is opened",
    },
}
"""Commands no fault of a card is given to, and why."""


def commands_of(group: click.Group, before: str = "") -> set[str]:
    """All commands below a group."""
    found: set[str] = set()
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        own = f"{before}{name}"
        found |= commands_of(command, f"{own} ") if isinstance(command, click.Group) else {own}
    return found


@pytest.mark.parametrize("program", ["hwi", "ctl"])
def test_every_command_of_both_programs_meets_faults(program: str) -> None:
    if program == "ctl":
        there = commands_of(cli)
    else:
        parser = make_parser(lambda: "")
        there = set(next(action.choices for action in parser._actions if action.dest == "command"))
    lines = [
        f"{command.words.replace(HWI, '').replace('--stdinpass', '').strip()} "
        for command in COMMANDS.values()
        if command.program == program
    ]
    tried = {name for name in there if any(re.match(rf"(--\w+ +)*{name} ", line) for line in lines)}
    assert tried | set(WITHOUT_A_CARD[program]) == there
    assert not tried & set(WITHOUT_A_CARD[program])


@pytest.mark.parametrize("name,which", FAILED or [("psbts", 0)])
def test_what_failed_once(name: str, which: int | str) -> None:
    again(name, str(which))


def test_a_short_torture(request: pytest.FixtureRequest) -> None:
    """Every part runs where it can, does something, and nothing is found."""
    if not WITH_KERNEL:
        row = "LEFT OUT: Bitcoin Core's verifier (py-bitcoinkernel has no wheel for this Python). Our own check judges."
        request.node.user_properties.append(("table", ["a short torture", row]))
    names = tuple(name for name in PARTS if name != ON_A_READER)
    found = torture(6, 1, names)
    assert set(found) == set(names)
    for name, result in found.items():
        if result.not_here:
            assert name.endswith("guided") and "atheris" in result.not_here
            continue
        assert not result.failures, result.failures[0][1]
        assert result.steps and sum(result.counts.values()) >= 1, name


@pytest.mark.pcsc
def test_several_processes_on_a_reader() -> None:
    part = ReaderContention()
    try:
        part.check()
        part.step(3)
    except NotHereError as error:
        pytest.fail(str(error)) if os.environ.get("CI") else pytest.skip(f"NO VIRTUAL CARD READERS: {error}")
    finally:
        part.close()
    assert part.counts["served"] and part.counts["told that the card is busy"]
    assert part.counts["waited for a card that was held, and served"]


def test_what_fails_is_kept_and_can_be_had_again(tmp_path: Path) -> None:
    """Steps by their number, inputs whole; once each."""
    file = tmp_path / "kept.json"
    file.write_text("{}")
    found = {"psbts": Result(failures=[(7, "x"), (3, "x")]), "psbts, guided": Result(failures=[("00ff", "x")])}
    keep(found, file)
    keep({"psbts": Result(failures=[(3, "x"), (12, "x")]), "commands": Result()}, file)
    assert json.loads(file.read_text()) == {"psbts": [12, 3, 7], "psbts, guided": ["00ff"]}
    again("psbts, guided", "00ff")
    again("psbts", "7")


def test_an_input_that_fails_fails_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without atheris."""

    def bad() -> tuple[object, list[bytes]]:
        def check(data: bytes) -> None:
            if data.startswith(b"bad"):
                raise InputError("bad", data)

        return check, []

    monkeypatch.setitem(KINDS, "psbts", bad)
    part = GuidedPsbts()
    part.again(b"good".hex())
    with pytest.raises(InputError):
        part.again(b"bad".hex())
    part.close()


def test_a_moment_is_exact(tmp_path: Path) -> None:
    """The same moment leaves the same behind; a later one, what came in between."""
    left = []
    for turn, moment in enumerate((45, 45, 10_000)):
        folder = tmp_path / str(turn)
        folder.mkdir()
        with ForkedCard(seeded(), folder) as card:
            ended = run(
                "ctl",
                ["pin", "verify", "--stdinpass"],
                environment(folder, card),
                stdin=f"{PIN}\n",
                stop_at=moment,
            )
            assert ended.status == (0 if moment == 10_000 else -9)
            card.settle()
            left.append((card.count("apdus"), check_state(folder, whole=False)))
    assert left[0] == left[1] != left[2]
    assert left[2][0] == 9 and ended.moments > 60


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_a_kill_at_every_moment_of_every_scene(request: pytest.FixtureRequest) -> None:
    """Of the long scenes for MuSig2 a part of them."""
    moments = Moments()
    for name in SCENES:
        for moment in moments.moments(name)[:: SCENES[name].share]:
            moments.kill(name, moment)
    rows = [f"{count:6} {what}" for what, count in sorted(moments.counts.items())]
    request.node.user_properties.append(("table", ["killed at a moment", *rows]))


@pytest.mark.heavy
def test_every_fault_at_every_apdu_of_every_command(request: pytest.FixtureRequest) -> None:
    commands = Commands()
    for number in range(len(commands.combinations)):
        commands.step(number)
    rows = [f"{count:6} {what}" for what, count in sorted(commands.counts.items())]
    request.node.user_properties.append(("table", ["faults: every command", *rows]))
