"""PIN tries are money: what every command spends, counted by the card (the emulator's `pin_tries`)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hwilib_cryptnox
from cryptnox_core.card import Card
from cryptnox_core.errors import WrongPinError
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import COMMON_PAIRING_KEY
from hwilib_cryptnox.errors import SOFT_LOCKED_TEXT, WalletError
from hwilib_cryptnox.hwi.errors import Code, to_hwi_error
from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import NoteKind, State
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import ME, draft, spend
from tests.support.emulator import PIN, EmulatorProcess, trust
from tests.support.optional import hwilib

WRONG = "111111"
FOREIGN = "correct horse battery staple"
PSBT = draft(spend("p2wpkh")).base64()
COMMANDS = {
    "enumerate": ["enumerate"],
    "getmasterxpub": ["getmasterxpub"],
    "getxpub": ["getxpub", "m/84h/0h/0h"],
    "getxpub-shallow": ["getxpub", "m/44h"],
    "getdescriptors": ["getdescriptors"],
    "getkeypool": ["getkeypool", "0", "5"],
    "signmessage": ["signmessage", "text", "m/84h/0h/0h/0/0"],
    "signtx": ["signtx", PSBT],
    "displayaddress": ["displayaddress", "--path", "m/84h/0h/0h/0/0"],
    "backup": ["backup"],
    "promptpin": ["promptpin"],
    "sendpin": ["sendpin", "1"],
    "togglepassphrase": ["togglepassphrase"],
    "setup": ["setup"],
    "restore": ["restore"],
}
NEVER = ("displayaddress", "backup", "promptpin", "sendpin", "togglepassphrase", "setup", "restore")
"""Commands that never send a PIN."""


@pytest.fixture(scope="module", params=["tries-in-all", "tries-min"])
def counted(request: pytest.FixtureRequest) -> Iterator[EmulatorProcess]:
    """One card for many tests, under both readings of what 63Cx counts; each test leaves its counter full."""
    reading = [] if request.param == "tries-in-all" else ["--reading", request.param]
    with EmulatorProcess("--seed", SEED, "--xpub-export", *reading) as card:
        yield card


class Spender:
    """Runs commands on a card and says how many tries each spent."""

    def __init__(self, hwi: Program, card: EmulatorProcess) -> None:
        self.hwi, self.card = hwi, card
        self.answer: Any = None
        self.said = ""
        """How stderr begins."""

    def __call__(
        self, name: str, *, pin: str | None = None, by: str = "path", env: dict[str, str] | None = None
    ) -> int:
        device_options = {
            "path": ["-t", "cryptnox", "-d", self.card.path],
            "fingerprint": ["--emulators", "-f", ME.fingerprint.hex()],
            "type": ["--emulators", "-t", "cryptnox"],
        }[by]
        if name == "enumerate":
            device_options = ["--emulators"]
        password = [] if pin is None else ["--password", pin]
        before = self.card.stats()["pin_tries"]
        address = {"CRYPTNOX_EMULATOR": f"{self.card.host}:{self.card.port}"}
        done = self.hwi.outcome(*device_options, *password, *COMMANDS[name], env={**address, **(env or {})})
        assert done.code == 0 and done.error.startswith(self.said) and bool(done.error) == bool(self.said)
        self.answer = done.answer
        return self.card.stats()["pin_tries"] - before

    @property
    def code(self) -> int | None:
        """The error code of the last answer; None for a good one."""
        answer = self.answer[0] if isinstance(self.answer, list) else self.answer
        code = answer.get("code")
        return None if code is None else int(code)

    @property
    def shows_three(self) -> bool:
        """Whether the card shows three tries at most."""
        return "tries-min" in self.card.options

    def heal(self) -> None:
        """The right PIN, given explicitly."""
        assert self("getmasterxpub", pin=PIN) == 0 and self.code is None


@pytest.fixture
def spent(hwi: Program, counted: EmulatorProcess) -> Iterator[Spender]:
    spender = Spender(hwi, counted)
    yield spender
    spender.heal()


@pytest.fixture
def unwritable(state: State) -> None:
    """Something else is where the state folder should be (root may write anywhere, so no mode would do)."""
    state.folder.parent.mkdir(parents=True)
    state.folder.write_text("")


def expected_code(name: str, pin: str | None) -> int | None:
    if name in NEVER:
        return -9
    if pin == WRONG:
        return -7
    if pin == PIN:
        return -7 if name == "getxpub-shallow" else None
    return -12 if name == "enumerate" else -6


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NEVER])
@pytest.mark.parametrize("pin", [None, WRONG, FOREIGN, PIN], ids=["no", "wrong", "foreign", "right"])
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "known"])
def test_every_command(spent: Spender, name: str, pin: str | None, known: bool) -> None:
    if known:
        spent.heal()
    assert spent(name, pin=pin) == int(pin == WRONG)
    assert spent.code == expected_code(name, pin), spent.answer


def test_commands_that_never_send_a_pin(spent: Spender) -> None:
    for name in NEVER:
        for pin in (None, WRONG, FOREIGN, PIN):
            assert spent(name, pin=pin) == 0 and spent.code == -9


@pytest.mark.parametrize("name", ["enumerate", "getdescriptors", "getxpub-shallow", "signmessage", "signtx"])
@pytest.mark.parametrize("pin", [None, WRONG, FOREIGN, PIN], ids=["no", "wrong", "foreign", "right"])
def test_every_command_with_an_unwritable_state(spent: Spender, unwritable: None, name: str, pin: str | None) -> None:
    """Only what asks the card for a signature has an audit line to miss."""
    spent.said = "no audit line was written" if pin == PIN and name.startswith("sign") else ""
    assert spent(name, pin=pin) == int(pin == WRONG)
    spent.said = ""
    assert spent.code == expected_code(name, pin), spent.answer


@pytest.mark.parametrize("by", ["fingerprint", "type"])
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "known"])
def test_finding_the_card_spends_no_second_try(spent: Spender, by: str, known: bool) -> None:
    if known:
        spent.heal()
    assert spent("getdescriptors", pin=WRONG, by=by) == 1
    assert spent.code == -7 and "Wrong PIN" in spent.answer["error"]
    assert spent("getdescriptors", by=by) == 0 and spent.code == -6
    assert spent("getdescriptors", pin=PIN, by=by) == 0 and spent.code is None


# Automatic sources


@pytest.mark.parametrize("source", ["CRYPTNOX_PIN", "CRYPTNOX_PIN_FILE", "CRYPTNOX_PIN_COMMAND"])
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "known"])
def test_a_wrong_automatic_pin_costs_one_try_in_all(spent: Spender, tmp_path: Path, source: str, known: bool) -> None:
    if known:
        spent.heal()
    file = tmp_path / "pin"
    file.write_text(WRONG + "\n")
    file.chmod(0o600)
    values = {"CRYPTNOX_PIN": WRONG, "CRYPTNOX_PIN_FILE": str(file), "CRYPTNOX_PIN_COMMAND": f"cat '{file}'"}
    env = {source: values[source]}
    trust(spent.card.path)
    if spent.shows_three and not known:
        for name in COMMANDS:
            assert spent(name, env=env) == 0, "three of six may be left"
            assert spent.code == (-9 if name in NEVER else -12 if name == "enumerate" else -6), spent.answer
        return
    assert spent("enumerate", env=env) == 1 and spent.code == -7
    for name in COMMANDS:
        assert spent(name, env=env) == 0
        assert spent.code == (-9 if name in NEVER else -7), spent.answer
    assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code == -7, "the note stands"
    spent.heal()
    assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code is None


def test_automatic_sources_work(spent: Spender) -> None:
    if spent.shows_three:
        assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code == -6
        assert "three tries are left, of three or of six" in spent.answer["error"]
        spent.heal()
    for _ in range(2):
        for name in COMMANDS:
            assert spent(name, env={"CRYPTNOX_PIN": PIN}) == 0
            assert spent.code == expected_code(name, PIN), spent.answer


def test_an_unwritable_state_keeps_automatic_sources_away(spent: Spender, unwritable: None) -> None:
    for pin in (WRONG, PIN):
        assert spent("enumerate", env={"CRYPTNOX_PIN": pin}) == 0 and spent.code == -12
        assert spent("getdescriptors", env={"CRYPTNOX_PIN": pin}) == 0 and spent.code == -6
        assert "cannot be used" in spent.answer["error"] or "no PIN is sent automatically" in spent.answer["error"]


def test_a_state_that_turns_unwritable(spent: Spender, state: State) -> None:
    """The note must be on disk before the PIN goes out."""
    spent.heal()
    cards = state.folder / "cards.json"
    lock = state.folder / "lock"
    lock.unlink()
    lock.mkdir()
    assert spent("getdescriptors", env={"CRYPTNOX_PIN": WRONG}) == 0 and spent.code == -6
    lock.rmdir()
    cards.write_text("damaged")
    assert spent("getdescriptors", env={"CRYPTNOX_PIN": WRONG}) == 0 and spent.code == -6
    cards.unlink()


def waste_one(card: EmulatorProcess) -> None:
    """Another program sends a wrong PIN."""
    with Card(RemoteTransport.connect(card.host, card.port)) as other:
        other.open_channel()
        with pytest.raises(WrongPinError):
            other.verify_pin("999999")


def test_a_refusal_elsewhere_keeps_automatic_sources_away(hwi: Program) -> None:
    """Under the reading that counts in all: the other one shows three again after a power cycle."""
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        spent = Spender(hwi, card)
        spent.heal()
        waste_one(card)
        assert spent("getdescriptors", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code == -7
        assert "refused elsewhere" in spent.answer["error"]
        spent.heal()
        assert spent("getdescriptors", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code is None


def test_a_first_contact_with_a_half_spent_counter(hwi: Program) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        spent = Spender(hwi, card)
        waste_one(card)
        assert spent("getdescriptors", env={"CRYPTNOX_PIN": WRONG}) == 0 and spent.code == -7
        assert spent("enumerate", pin=WRONG) == 0 and spent.code == -7


# The last try


def test_the_last_try_is_not_sent(hwi: Program) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        spent = Spender(hwi, card)
        spent.heal()
        for left in (5, 4, 3, 2, 1):
            assert spent("getmasterxpub", pin=WRONG) == 1
            assert f"{left} tr" in spent.answer["error"]
        for pin in (WRONG, PIN):
            assert spent("getmasterxpub", pin=pin) == 0 and spent.code == -12
            assert spent("enumerate", pin=pin) == 0
        assert spent("getmasterxpub", pin=WRONG, env={"CRYPTNOX_LAST_TRY": "1"}) == 1
        assert spent.answer["code"] == -12 and "PIN blocked" in spent.answer["error"]
        assert spent("getmasterxpub", pin=PIN, env={"CRYPTNOX_LAST_TRY": "1"}) == 0
        assert spent.answer == {"error": "PIN blocked: unblock with the PUK (cryptnoxctl pin unblock)", "code": -12}
        assert spent("enumerate", pin=PIN) == 0
        assert spent.answer[0]["code"] == -12 and spent.answer[0]["needs_passphrase_sent"] is False


def test_what_helps_a_card_whose_counter_is_not_understood(hwi: Program) -> None:
    """A counter that never was above three may show the tries of this session: then a power cycle comes first."""
    text = "remove and re-insert the card; if that does not help, unblock with the PUK (cryptnoxctl pin unblock)"
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--reading", "tries-min") as card:
        spent = Spender(hwi, card)
        for _ in range(5):
            spent("getmasterxpub", pin=WRONG)
        for expected in (1, 0):
            assert spent("getmasterxpub", pin=WRONG, env={"CRYPTNOX_LAST_TRY": "1"}) == expected
            assert spent.answer == {"error": f"No PIN is accepted: {text}", "code": -12}


@pytest.mark.parametrize("reading", [[], ["--reading", "softlock-6985"]])
def test_a_card_locked_for_this_session_wants_a_power_cycle(reading: list[str], state: State) -> None:
    """Three wrong PINs by another program, the card still powered, and a counter known to count in all. The PUK would
    be refused: it is not named."""
    with EmulatorProcess("--seed", SEED, *reading) as process:
        with Card(RemoteTransport.connect(process.host, process.port)) as card:
            card.open_channel()
            unlocker = unlock.Unlocker(Settings(), state, PIN)
            assert unlocker.unlock(card, process.path) == PIN and state.record(card.serial).full_counter == 6
            for _ in range(3):
                with pytest.raises(WrongPinError):
                    card.verify_pin(WRONG)
            with pytest.raises(WalletError) as caught:
                unlocker.unlock(card, process.path)
            assert to_hwi_error(caught.value) == (Code.NOT_READY, SOFT_LOCKED_TEXT)
            assert not caught.value.spent and unlock.tries_left(card) == (0 if reading else 3)
        assert process.stats()["pin_tries"] == 3
        with Card(RemoteTransport.connect(process.host, process.port)) as card:
            card.open_channel()
            assert unlocker.unlock(card, process.path) == PIN, "the card did not look at it: it is not held for wrong"


@pytest.mark.parametrize("name", ["getmasterxpub", "enumerate"])
def test_a_card_that_gives_up_the_channel_wants_a_power_cycle(name: str, hwi: Program) -> None:
    """6985 in the clear as the answer to the first question in the channel; nothing was sent."""
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", "sw:6985@20:1") as card:
        spent = Spender(hwi, card)
        assert spent(name, pin=PIN) == 0 and spent.code == -12
        answer = spent.answer[0] if name == "enumerate" else spent.answer
        assert answer["error"] == SOFT_LOCKED_TEXT and card.stats()["by_ins"]["20"] == 1


def test_the_last_try_may_be_right(hwi: Program) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        spent = Spender(hwi, card)
        for _ in range(5):
            spent("getmasterxpub", pin=WRONG)
        assert spent("getmasterxpub", pin=PIN, env={"CRYPTNOX_LAST_TRY": "1"}) == 0 and spent.code is None
        assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code is None


# Pollers


def test_a_poller_with_a_wrong_password(spent: Spender) -> None:
    """A process for each poll: one try in all."""
    assert [spent("enumerate", pin=WRONG) for _ in range(5)] == [1, 0, 0, 0, 0]
    assert spent.code == -7 and spent.answer[0]["needs_passphrase_sent"] is True
    assert spent("enumerate", pin=PIN) == 0 and spent.code == -7, "another process made the note"


def test_a_long_lived_poller(counted: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Specter: the same process, password after password. A refused one is never sent again, another one is while
    two tries are left."""
    hwilib()
    monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{counted.host}:{counted.port}")
    unlock._refused.clear()
    unlock._noted.clear()

    def poll(pin: str) -> tuple[int, Any]:
        before = counted.stats()["pin_tries"]
        (entry,) = hwilib_cryptnox.enumerate(pin, allow_emulators=True)
        return counted.stats()["pin_tries"] - before, entry

    for _ in range(3):
        tries, entry = poll(WRONG)
    assert tries == 0 and entry["code"] == -7
    tries, entry = poll("222222")
    assert tries == 1
    tries, entry = poll(PIN)
    assert tries == 0 and entry["fingerprint"] == ME.fingerprint.hex() and "error" not in entry
    assert State().record(counted.serial).note is None


def test_hwilib_finds_the_device_with_one_try(counted: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """`find_device` swallows the error of its enumerate and opens the card again with the same password."""
    commands = hwilib("hwilib.commands")

    monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{counted.host}:{counted.port}")
    monkeypatch.setattr(commands, "all_devs", [])
    hwilib_cryptnox.register()
    monkeypatch.setattr(commands, "all_devs", ["cryptnox"])
    unlock._refused.clear()
    unlock._noted.clear()
    before = counted.stats()["pin_tries"]
    assert commands.find_device(WRONG, None, ME.fingerprint.hex(), allow_emulators=True) is None
    assert counted.stats()["pin_tries"] - before == 1
    client = commands.find_device(PIN, None, ME.fingerprint.hex(), allow_emulators=True)
    assert client is not None and client.get_master_fingerprint() == ME.fingerprint
    client.close()
    assert counted.stats()["pin_tries"] - before == 1


# Who gets an automatic PIN

FAKE = """
import sys
from cryptnox_core.emulator import ca
scalar = ca.scalar
ca.scalar = lambda label: scalar("somebody else's " + label)
from hwilib_cryptnox.ctl.main import main
sys.argv = ["cryptnoxctl", "emulator", *sys.argv[1:]]
main()
"""


@pytest.fixture
def fake(counted: EmulatorProcess, tmp_path: Path) -> Iterator[EmulatorProcess]:
    """A card with the serial of `counted`, its own keys, and a certificate that names the right issuer."""
    card = EmulatorProcess()
    card._folder = None
    stats = tmp_path / "stats.json"
    options = ["--seed", SEED, "--xpub-export", "--serial", str(counted.serial), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-c", FAKE, *options, "--stats", str(stats)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        card.host, _, port = line.split()[1].removeprefix("listen=").rpartition(":")
        card.port, card.serial = int(port), counted.serial
        card.stats = lambda: __import__("json").loads(stats.read_text()) if stats.exists() else {"by_ins": {}}  # type: ignore[method-assign]
        yield card
        process.terminate()


def test_a_fake_card_never_gets_an_automatic_pin(hwi: Program, fake: EmulatorProcess) -> None:
    """Never met: only an explicit PIN goes to a card nobody vouches for."""
    address = {"CRYPTNOX_EMULATOR": f"{fake.host}:{fake.port}", "CRYPTNOX_PIN": PIN}
    answer = hwi("-t", "cryptnox", "-d", fake.path, "getmasterxpub", env=address)
    assert answer["code"] == -6 and "not known to be genuine" in answer["error"]
    (entry,) = hwi("--emulators", "enumerate", env=address)
    assert entry["code"] == -12
    assert fake.stats()["by_ins"].get("20", 0) == 2, "its counter was asked, nothing was sent"
    assert "xpub" in hwi.on(fake, "getmasterxpub")
    assert "xpub" in hwi("-t", "cryptnox", "-d", fake.path, "getmasterxpub", env=address), "the owner vouched for it"


def test_a_known_serial_with_another_key_gets_nothing(spent: Spender, fake: EmulatorProcess) -> None:
    spent.heal()
    hwi = spent.hwi
    before = fake.stats()["by_ins"].get("20", 0)
    address = {"CRYPTNOX_EMULATOR": f"{fake.host}:{fake.port}"}
    for env, password in (({"CRYPTNOX_PIN": PIN}, None), ({}, PIN)):
        answer = hwi.on(fake, "getmasterxpub", pin=password, env={**address, **env})
        assert answer["code"] == -3 and "another card with the serial" in answer["error"]
        words = [] if password is None else ["--password", password]
        assert hwi("--emulators", *words, "enumerate", env={**address, **env}) == []
    assert fake.stats()["by_ins"].get("20", 0) == before


def test_another_card_of_the_serial_settles_no_pairing_key(spent: Spender, fake: EmulatorProcess) -> None:
    """Of a change of the pairing key whose end is not known: both keys stay, whichever this one takes."""
    spent.heal()
    state = State()
    both = bytes(range(32)), COMMON_PAIRING_KEY
    state.keep_pairing_key(fake.serial, *both)
    answer = spent.hwi.on(fake, "getmasterxpub", env={"CRYPTNOX_EMULATOR": f"{fake.host}:{fake.port}"})
    assert "another card with the serial" in answer["error"]
    assert state.pairing_keys(fake.serial) == both


def test_require_genuine(spent: Spender, fake: EmulatorProcess) -> None:
    """No card over TCP is, whoever signed its certificate: the key of the emulated cards' CA is public. For a card in a
    reader see `test_enumerate`."""
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("require_genuine = true\n")
    text = "an emulated card is not genuine, but the configuration requires a genuine one"
    before = spent.card.stats()["by_ins"].get("20", 0)
    for card in (fake, spent.card):
        for env in ({}, {"CRYPTNOX_PIN": PIN}):
            assert spent.hwi.on(card, "getmasterxpub", env=env) == {"error": text, "code": -3}
    for by in ("fingerprint", "type"):
        assert spent("getmasterxpub", pin=PIN, by=by) == 0 and spent.code == -3
    assert spent("enumerate", pin=PIN) == 0 and spent.answer == []
    assert fake.stats()["by_ins"].get("20", 0) == 0
    assert spent.card.stats()["by_ins"].get("20", 0) == before
    config.unlink()


# Cards over TCP: whoever listens there


@pytest.mark.parametrize("source", ["CRYPTNOX_PIN_FILE", "CRYPTNOX_PIN_COMMAND", "pinentry", "gpg-agent"])
@pytest.mark.parametrize("known", [False, True], ids=["fresh", "known"])
@pytest.mark.parametrize("genuine", [False, True], ids=["", "require-genuine"])
def test_whoever_listens_gets_no_pin(spent: Spender, tmp_path: Path, source: str, known: bool, genuine: bool) -> None:
    """By listing, by fingerprint, by path: nothing is even fetched. CRYPTNOX_PIN, which is for tests, is sent."""
    if known or spent.shows_three:
        spent.heal()
    file, fetched = tmp_path / "pin", tmp_path / "fetched"
    file.write_text(PIN + "\n")
    file.chmod(0o600)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{fetched}'\necho {PIN}\n")
    program.chmod(0o700)
    lines = [f'pinentry = "{program}"', f"require_genuine = {str(genuine).lower()}"]
    env = {"CRYPTNOX_PIN_FILE": str(file)} if source.endswith("FILE") else {}
    if source.endswith("COMMAND"):
        env = {source: str(program)}
    elif not env:
        env = {"CRYPTNOX_PIN_SOURCE": source}
    trust("tcp:127.0.0.1:1", *lines)
    before = spent.card.stats()["by_ins"].get("20", 0)
    for by in ("path", "fingerprint", "type"):
        for name in ("getmasterxpub", "signmessage", "signtx"):
            assert spent(name, by=by, env=env) == 0
            assert spent.code == (-3 if genuine else -6), spent.answer
            assert genuine or "trust_emulated" in spent.answer["error"]
    assert spent("enumerate", env=env) == 0
    assert spent.answer == [] if genuine else spent.code == -12
    assert spent.card.stats()["by_ins"].get("20", 0) == before and not fetched.exists()
    if not genuine:
        assert spent("getmasterxpub", env={**env, "CRYPTNOX_PIN": PIN}) == 0 and spent.code is None
        assert not fetched.exists()
    trust(spent.card.path)


# A counter that shows three


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_a_wrong_pin_file_and_a_lost_state(spent: Spender, state: State, tmp_path: Path, lost: bool) -> None:
    """Four times over, the state folder deleted in between: one try of a card that shows what is left in all, none of
    one that shows three."""
    file = tmp_path / "pin"
    file.write_text(WRONG)
    file.chmod(0o600)
    trust(spent.card.path)
    tries = 0
    for _ in range(4):
        tries += spent("getmasterxpub", env={"CRYPTNOX_PIN_FILE": str(file)})
        if lost:
            shutil.rmtree(state.folder, ignore_errors=True)
    assert tries == (0 if spent.shows_three else 1)


def test_what_the_counter_shows_when_full_is_learned_by_the_first_success(hwi: Program, state: State) -> None:
    """Three of three, and three of six: asked once more after the right PIN, and not again once it is known."""
    for reading, wasted, full in (["--reading", "tries-min"], 0, 3), ([], 3, 6), ([], 0, 6), ([], 1, 6):
        with EmulatorProcess("--seed", SEED, "--xpub-export", *reading) as card:
            spent = Spender(hwi, card)
            for _ in range(wasted):
                waste_one(card)
            if wasted or reading:
                assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code in (-6, -7)
            spent.heal()
            assert state.record(card.serial).full_counter == full
            before = card.stats()["by_ins"]["20"]
            assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code is None
            assert card.stats()["by_ins"]["20"] == before + 2
            state.forget(card.serial)


# Killed between sending and noting


@pytest.mark.parametrize("known", [False, True], ids=["fresh", "known"])
@pytest.mark.parametrize("reading", [[], ["--reading", "tries-min"]], ids=["tries-in-all", "tries-min"])
@pytest.mark.parametrize("pin", [WRONG, PIN], ids=["wrong", "right"])
def test_killed_while_the_card_answers(hwi: Program, known: bool, reading: list[str], pin: str) -> None:
    """The card did its work, the process died before it knew. Nothing is sent automatically until an explicit PIN was
    right, unless the counter proves that nothing was refused."""
    at = (5 if reading else 4) if known else 2
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", f"silence@20:{at}", *reading) as card:
        spent = Spender(hwi, card)
        if known:
            spent.heal()
        command = [
            str(Path(sys.executable).with_name("hwi-cryptnox")),
            "-t",
            "cryptnox",
            "-d",
            card.path,
            *(["-p", pin] if reading and not known else []),  # no source's PIN goes to a card that shows three
            "getmasterxpub",
        ]
        with subprocess.Popen(command, env={**os.environ, "CRYPTNOX_PIN": pin}, stdout=subprocess.DEVNULL) as process:
            end = time.monotonic() + 20
            while card.stats()["by_ins"].get("20", 0) < at and time.monotonic() < end:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        assert card.stats()["pin_tries"] == int(pin == WRONG)
        assert State().record(card.serial).note is NoteKind.PENDING
        proved = known and not reading and pin == PIN
        for _ in range(3):
            assert spent("getmasterxpub", env={"CRYPTNOX_PIN": pin}) == 0
            assert spent.code == (None if proved else -7), spent.answer
        assert spent("enumerate", env={"CRYPTNOX_PIN": pin}) == 0
        spent.heal()
        assert spent("getmasterxpub", env={"CRYPTNOX_PIN": PIN}) == 0 and spent.code is None
