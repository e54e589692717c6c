"""Marked secrets are given to every program, and looked for in all that was written, said or started."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ctl.program import dialogue, ended
from tests.psbt.factory import Wallet, draft, spend
from tests.support.emulator import EmulatorProcess, trust
from tests.system.security.world import CTL, STOCK, Secrets, World
from tests.system.torture.programs import PAIR

PIN, NEW_PIN, WRONG = "739182645", "582931764", "918273645"
PUK, NEW_PUK, WRONG_PUK = "Qz-MarkPuk7x", "Xv-MarkPuk8y", "Wt-MarkPuk9z"
SEED = bytes(range(64))
"""Of `tests.psbt.factory.ME`."""
PAIRING = bytes.fromhex("a9" * 8 + "c3d4e5f60718293a4b5c6d7e8f901122" + "5b" * 8)
WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
PASSPHRASE = "Marked-Passphrase-4711"
MASTER, WORDS_MASTER = (
    Wallet(SEED),
    Wallet(
        bytes.fromhex(
            "2e8905819b8723fe2c1d161860e5ee1830318dbf49a83bd451cfb8440c28bd6f"
            "a457fe1296106559a3c80937a1c1069be3a3a5bd381ee6260e8d9739fce1f607"
        )
    ),
)
MESSAGE_PATH = "m/84h/0h/0h/0/7"
PSBT = draft(spend("p2wpkh"), spend("p2wpkh", 1)).base64()

MARKED = {
    "PIN": PIN.encode(),
    "new PIN": NEW_PIN.encode(),
    "wrong PIN": WRONG.encode(),
    "PUK": PUK.encode(),
    "new PUK": NEW_PUK.encode(),
    "wrong PUK": WRONG_PUK.encode(),
    "seed": SEED,
    "pairing key": PAIRING,
    "words": WORDS.encode(),
    "some of the words": b"thank year wave sausage",
    "passphrase": PASSPHRASE.encode(),
    "master key": MASTER.private("m").secret,
    "account key": MASTER.private("m/84h/0h/0h").secret,
    "address key": MASTER.private(MESSAGE_PATH).secret,
}
SECRETS = Secrets(MARKED)
PRIVATE_KEY = re.compile(rb"[xtyzuv]prv[1-9A-HJ-NP-Za-km-z]{20}|\b[5KLc][1-9A-HJ-NP-Za-km-z]{50,51}\b")
"""An extended private key, or a private key in wallet import format."""
ALLOWED = "state/hwi-cryptnox/pairing.json"
"""The one secret that is kept: the owner's own pairing keys."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.make(tmp_path, WATCH_LEVEL="1")


@pytest.fixture
def card(world: World) -> Iterator[EmulatorProcess]:
    secrets = {"CRYPTNOX_EMULATOR_SEED": SEED.hex(), "CRYPTNOX_EMULATOR_PIN": PIN, "CRYPTNOX_EMULATOR_PUK": PUK}
    trace = str(world.folder / "trace")
    with EmulatorProcess("--xpub-export", "--trace", trace, environment={**world.environment, **secrets}) as process:
        world.environment["CRYPTNOX_EMULATOR"] = f"{process.host}:{process.port}"
        yield process


def check(world: World) -> None:
    """Nothing of the secrets anywhere: files, what was said, arguments of programs."""
    files = world.files()
    assert files
    for name, content in files.items():
        if name != ALLOWED:
            assert not SECRETS.found_in(content), name
            assert not SECRETS.found_in(name.encode())
            assert not PRIVATE_KEY.search(content), name
    for command, said in world.said:
        assert not SECRETS.found_in(said), command
        assert not PRIVATE_KEY.search(said), command
    events = world.log.read_bytes()
    assert not SECRETS.found_in(events), "in an argument, an address or a file's name"


def test_the_search_finds_what_is_there() -> None:
    """Otherwise it would prove nothing."""
    for name, secret in MARKED.items():
        for text in (b"x" + secret + b"y", secret.hex().encode(), repr(list(secret)).encode()):
            assert any(found.startswith(name) for found in SECRETS.found_in(text)), name
    assert not SECRETS.found_in(os.urandom(1 << 16))
    assert PRIVATE_KEY.search(b"key: xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5")


def test_hwi_cryptnox(world: World, card: EmulatorProcess, tmp_path: Path) -> None:
    """Every command, with the right PIN, a wrong one, none, from every source, with everything logged."""
    device = ("--device-type", "cryptnox", "--device-path", card.path)
    commands = [
        ("enumerate",),
        (*device, "getmasterxpub"),
        (*device, "getdescriptors"),
        (*device, "--expert", "getxpub", "m/84h/0h/0h"),
        (*device, "getkeypool", "0", "3"),
        (*device, "signmessage", "hello", MESSAGE_PATH),
        (*device, "signtx", PSBT),
        (*device, "backup"),
    ]
    for command in commands:
        done = world.run("--debug", "--emulators", "--stdinpass", *command, stdin=PIN + "\n")
        assert done.returncode == 0 and (b'"error"' in done.stdout) == (command[-1] == "backup"), done
        assert b"DEBUG" in done.stderr or command[-1] == "backup"
    assert world.run("--stdinpass", *device, "getmasterxpub", stdin=WRONG + "\n").stdout.count(b"Wrong PIN") == 1
    assert b'"error"' in world.run("--stdinpass", *device, "getmasterxpub", stdin="Marked words\n").stdout
    world.run("--stdinpass", *device, "getmasterxpub", stdin=PIN + "\n")
    pin_file = tmp_path / "pin"
    pin_file.touch(0o600)
    pin_file.write_text(PIN)
    trust(card.path, config=world.folder / "config")
    for source in ({"CRYPTNOX_PIN_FILE": str(pin_file)}, {"CRYPTNOX_PIN": PIN}):
        assert b'"signed": true' in world.run("--debug", *device, "signtx", PSBT, **source).stdout
    check(world)


def test_stock_hwi(world: World, card: EmulatorProcess) -> None:
    device = ("--device-type", "cryptnox", "--device-path", card.path)
    for pin, good in ((PIN, True), (WRONG, False)):
        for command in (["getmasterxpub"], ["signtx", PSBT]):
            done = world.run("--debug", "--password", pin, *device, *command, program=STOCK)
            assert (b'"error"' not in done.stdout) == good, done
    world.said = [(command.replace(PIN, "").replace(WRONG, ""), said) for command, said in world.said]
    check(world)


def test_the_command_that_gives_the_pin(world: World, card: EmulatorProcess, tmp_path: Path) -> None:
    """While it runs, it looks at its own arguments and environment and at its parent's arguments."""
    seen, script = tmp_path / "seen", tmp_path / "pin-command"
    script.write_text(f"#!/bin/sh\ncat /proc/$$/cmdline /proc/$PPID/cmdline >{seen} 2>&1\nenv >>{seen}\necho {PIN}\n")
    script.chmod(0o700)
    trust(card.path, config=world.folder / "config")
    device = ("--device-type", "cryptnox", "--device-path", card.path)
    done = world.run(*device, "signtx", PSBT, CRYPTNOX_PIN_COMMAND=str(script))
    assert b'"signed": true' in done.stdout
    content = seen.read_bytes()
    assert b"hwilib_cryptnox.hwi.program" in content and not SECRETS.found_in(content)
    assert [arguments for _, arguments in world.events("subprocess.Popen")] == [[str(script), [str(script)]]]
    check(world)


def test_pinentry_hears_no_secret(world: World, card: EmulatorProcess, tmp_path: Path) -> None:
    """What is sent to the dialogue, and how it is started."""
    program, heard = tmp_path / "pinentry", tmp_path / "heard"
    program.write_text(
        f'#!/bin/sh\necho "$0 $@" >>{heard}\nenv >>{heard}\necho OK\nwhile read -r line; do\necho "$line" >>{heard}\n'
        f'case $line in GETPIN*) echo "D {PIN}"; echo OK;; *) echo OK;; esac\ndone\n'
    )
    program.chmod(0o700)
    trust(card.path, 'pin_source = "pinentry"', f'pinentry = "{program}"', config=world.folder / "config")
    device = ("--device-type", "cryptnox", "--device-path", card.path)
    assert b'"signed": true' in world.run("--debug", *device, "signtx", PSBT).stdout
    assert b"GETPIN" in heard.read_bytes() and not SECRETS.found_in(heard.read_bytes())
    check(world)


def test_cryptnoxctl(world: World, card: EmulatorProcess, tmp_path: Path) -> None:
    """On pipes."""
    key, psbt = tmp_path / "pairing-key", tmp_path / "draft.psbt"
    key.write_text(PAIRING.hex())
    psbt.write_text(PSBT)
    pair = tmp_path / "pair.txt"
    pair.write_text(PAIR)
    card_option = ("--card", card.path)
    runs: list[tuple[list[str], str, int]] = [
        (["list"], "", 0),
        (["info", *card_option], "", 0),
        (["pin", "verify", "--stdinpass", *card_option], PIN, 0),
        (["pin", "verify", "--stdinpass", *card_option], WRONG, 4),
        (["pin", "verify", "--stdinpass", *card_option], PIN, 0),
        (["pin", "tries", *card_option], "", 0),
        (["xpub", "m/84h/0h/0h", "--stdinpass", *card_option], PIN, 0),
        (["descriptors", "--stdinpass", *card_option], PIN, 0),
        (["address", "--stdinpass", *card_option], PIN, 0),
        (["message", "sign", "hello", "--path", MESSAGE_PATH, "--stdinpass", *card_option], PIN, 0),
        (["sign", str(psbt), "--yes", "--stdinpass", *card_option], PIN, 0),
        (["wallet", "add", "Pair", str(pair), "--yes", "--stdinpass", *card_option], PIN, 0),
        (["wallet", "export", "Pair", "--output", str(tmp_path / "pair.json")], "", 0),
        (["history", "--stdinpass", *card_option], PIN, 0),
        (["pairing", "change", "--file", str(key), "--stdinpuk", *card_option], WRONG_PUK, 4),
        (["pairing", "change", "--file", str(key), "--stdinpuk", *card_option], PUK, 0),
        (["pin", "verify", "--stdinpass", *card_option], PIN, 0),
        (["doctor"], "", None),
    ]
    for words, stdin, code in runs:
        done = world.run(*words, stdin=f"{stdin}\n" if stdin else "", program=CTL)
        assert code is None or done.returncode == code, (words, done)
    stored = world.files()[ALLOWED]
    assert PAIRING.hex().encode() in stored, "the own pairing key is where it belongs"
    check(world)


def test_dialogues(world: World, tmp_path: Path) -> None:
    """Set-up from words with a passphrase, change of PIN and PUK, on a terminal that shows nothing secret typed."""
    with EmulatorProcess(environment=world.environment) as card:
        world.environment["CRYPTNOX_EMULATOR"] = f"{card.host}:{card.port}"
        with world.terminal("setup", "--seed", "restore", "--name", "", "--email", "") as child:
            dialogue(child, ("New PIN", PIN), ("Type it again", PIN), ("Choose it yourself?", "y"))
            dialogue(child, ("New PUK", PUK), ("Type it again", PUK), ("own pairing key?", "n"), ("Initialize", "y"))
            dialogue(
                child,
                ("How many words", "12"),
                ("Word 1", WORDS),
                ("Passphrase", PASSPHRASE),
                ("Type it again", PASSPHRASE),
            )
            child.expect_exact("The card is ready")
            assert ended(child) == 0
        with world.terminal("pin", "change") as child:
            dialogue(child, ("PIN", PIN), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
            child.expect_exact("was changed")
            assert ended(child) == 0
        with world.terminal("puk", "change") as child:
            dialogue(child, ("PUK", PUK), ("New PUK", NEW_PUK), ("Type it again", NEW_PUK))
            child.expect_exact("was changed")
            assert ended(child) == 0
        with world.terminal("pin", "verify") as child:
            dialogue(child, ("PIN", WRONG))
            assert ended(child) == 4
    check(world)


def test_an_interrupted_signing(world: World) -> None:
    """What it leaves behind holds signatures and public keys only, and neither it nor the error tells a secret."""
    secrets = {"CRYPTNOX_EMULATOR_SEED": SEED.hex(), "CRYPTNOX_EMULATOR_PIN": PIN, "CRYPTNOX_EMULATOR_PUK": PUK}
    for number, fault in enumerate(("garbage@C0:2", "remove@C0:2", "badmac@C0:2", "sw:6F00@C0:2")):
        psbt = draft(spend("p2wpkh", number), spend("p2wpkh", 10 + number)).base64()
        faults = [word for count in range(2, 8) for word in ("--fault", fault.replace(":2", f":{count}"))]
        with EmulatorProcess("--xpub-export", *faults, environment={**world.environment, **secrets}) as card:
            device = ("--device-type", "cryptnox", "--device-path", card.path)
            done = world.run(
                "--stdinpass", "--debug", *device, "signtx", psbt, stdin=f"{PIN}\n", CRYPTNOX_REINSERT_WAIT="0"
            )
            assert b'"error"' in done.stdout, done
    assert any(name.startswith("state/hwi-cryptnox/partial/") for name in world.files())
    check(world)
