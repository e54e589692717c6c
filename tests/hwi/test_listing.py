"""`enumerate`: the table of situations, over TCP; and with cards in the virtual PC/SC reader, where fingerprints are
remembered."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from cryptnox_core.card import Card
from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.frame import Refusal
from cryptnox_core.emulator.server import Engine, TcpServer
from cryptnox_core.transport.pcsc import PcscTransport
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import CARD_TYPE_BASIC, COMMON_PAIRING_KEY, Ins, KeySource
from hwilib_cryptnox.ctl.commands.emulator import Wanted, new_memory
from hwilib_cryptnox.errors import EXPORT_OFF_TEXT
from hwilib_cryptnox.hwi import listing
from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.signer.cards import EMULATOR_CA
from hwilib_cryptnox.signer.host import Host
from hwilib_cryptnox.storage.state import NoteKind, State
from tests.core.emulated import PIN as SLOT_PIN
from tests.core.emulated import SERIAL, seeded
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import ME, draft, spend
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess, ca_of
from tests.support.listeners import listener, readers_called
from tests.support.optional import hwilib
from tests.support.pcsc import SLOTS, VirtualReaders, soft_locked
from tests.support.readers import Ask, Readers, Slot, nobody, once

FPR = ME.fingerprint.hex()
NO_PIN = (
    "Could not open client or get fingerprint information: "
    "PIN needed: use --password/--stdinpass or CRYPTNOX_PIN_COMMAND"
)


def entry(path: str, *, passphrase: bool = False, **more: object) -> dict[str, object]:
    model = "cryptnox_basic_simulator" if path.startswith("tcp:") else "cryptnox_basic"
    return {
        "type": "cryptnox",
        "model": model,
        "label": None,
        "path": path,
        "needs_pin_sent": False,
        "needs_passphrase_sent": passphrase,
        **more,
    }


def listed(hwi: Program, card: EmulatorProcess, pin: str | None = None, **env: str) -> list[Any]:
    password = () if pin is None else ("--password", pin)
    address = {"CRYPTNOX_EMULATOR": f"{card.host}:{card.port}"} if card.port else {}
    options = ("--emulators",) if card.port else ()
    answer: list[Any] = hwi(*options, *password, "enumerate", env={**address, **env})
    return answer


def test_nothing_there(hwi: Program) -> None:
    assert hwi("enumerate") == [] == hwi("--emulators", "enumerate", env={"CRYPTNOX_EMULATOR": "127.0.0.1:1"})


def test_nothing_to_search(signer: EmulatorProcess, hwi: Program) -> None:
    """HWI's own error: its device tests compare the text."""
    address = {"CRYPTNOX_EMULATOR": signer.path[4:]}
    expected = {"error": "Could not find device with specified fingerprint or type", "code": -3}
    for device in (("-f", FPR), ("-t", "cryptnox"), ("-t", "cryptnox_basic_simulator")):
        assert hwi("-p", PIN, *device, "--chain", "test", "getmasterxpub", env=address) == expected


def test_the_emulated_card_only_where_it_is_wanted(signer: EmulatorProcess, hwi: Program) -> None:
    assert hwi("-p", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": signer.path[4:]}) == []
    assert listed(hwi, signer, PIN) == [entry(signer.path, fingerprint=FPR)]


def test_no_pin(signer: EmulatorProcess, hwi: Program) -> None:
    assert listed(hwi, signer) == [entry(signer.path, passphrase=True, error=NO_PIN, code=-12)]
    (other,) = listed(hwi, signer, "correct horse")
    assert other["code"] == -12 and "given password is not a card PIN" in other["error"]
    assert listed(hwi, signer, "") == listed(hwi, signer)
    assert listed(hwi, signer, "correct horse", CRYPTNOX_PIN=PIN) == [entry(signer.path, fingerprint=FPR)]


def test_an_emulated_card_is_always_asked(hwi: Program, state: State) -> None:
    """Its seed may change at any start: its fingerprint is not remembered."""
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        assert listed(hwi, card, PIN)[0]["fingerprint"] == FPR
        assert "fingerprint" not in listed(hwi, card)[0]
        assert state.record(card.serial).fingerprint is None and state.record(card.serial).full_counter == 6


def test_wrong_pin(hwi: Program) -> None:
    with EmulatorProcess("--seed", SEED) as card:
        assert listed(hwi, card, "1234") == [
            entry(card.path, passphrase=True, error="Wrong PIN, 5 tries left at most", code=-7)
        ]


@pytest.mark.parametrize(
    ("options", "text"),
    [([], "Not initialized"), (["--pin", PIN], "Not initialized: the card has no seed")],
)
def test_no_wallet(hwi: Program, options: list[str], text: str) -> None:
    with EmulatorProcess(*options) as card:
        for pin in (None, PIN):
            assert listed(hwi, card, pin) == [entry(card.path, error=text, code=-18)]


def test_export_off_is_no_error(hwi: Program) -> None:
    with EmulatorProcess("--seed", SEED) as card:
        assert listed(hwi, card, PIN) == [entry(card.path, fingerprint=FPR)]


def test_nft_cards_are_left_out(hwi: Program) -> None:
    with EmulatorProcess("--seed", SEED, "--type", "N") as card:
        assert listed(hwi, card, PIN) == []
        assert hwi.on(card, "getmasterxpub")["code"] == -9


def opened(card: EmulatorProcess, pairing_key: bytes = COMMON_PAIRING_KEY) -> Card:
    """Another program's session."""
    other = Card(RemoteTransport.connect(card.host, card.port))
    other.open_channel(pairing_key)
    return other


def test_paired_with_another_key(hwi: Program, state: State) -> None:
    key = bytes(range(32))
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        with opened(card) as other:
            other.verify_pin(PIN)
            other.change_pairing_key(key, puk=PUK)
        text = "paired with another key: cryptnoxctl pairing recover (needs the PUK)"
        before = card.stats()["by_ins"].get("20", 0)
        assert listed(hwi, card, PIN) == [entry(card.path, error=text, code=-12)]
        assert hwi.on(card, "getmasterxpub") == {"error": text, "code": -12}
        assert card.stats()["by_ins"].get("20", 0) == before, "no PIN goes through"
        state.keep_pairing_key(card.serial, key)
        assert listed(hwi, card, PIN) == [entry(card.path, fingerprint=FPR)]
        assert "xpub" in hwi.on(card, "getmasterxpub")


def test_pin_authentication_off(hwi: Program) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from cryptnox_core.wire import UserKeySlot

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        with opened(card) as other:
            other.verify_pin(PIN)
            point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            other.add_user_key(UserKeySlot.EC, "", point, PUK)
            other.set_pin_auth(False, PUK)
        text = (
            "PIN authentication is off on this card: a user key approves each signature; name it with approve in "
            "config.toml, or CRYPTNOX_APPROVE (pkcs11:...)"
        )
        assert listed(hwi, card, PIN) == [entry(card.path, error=text, code=-12)]
        assert hwi.on(card, "getmasterxpub") == {"error": text, "code": -12}


def test_a_single_key_is_no_wallet(hwi: Program) -> None:
    with EmulatorProcess("--pin", PIN) as card:
        with opened(card) as other:
            other.verify_pin(PIN)
            other.load_key(b"\x07" * 32, PIN)
        expected: dict[str, object] = {"error": "the card holds a single key, not a wallet", "code": -18}
        assert listed(hwi, card, PIN) == [entry(card.path, **expected)]
        assert hwi.on(card, "getmasterxpub") == {"error": EXPORT_OFF_TEXT, "code": -12}
        assert hwi.on(card, "signmessage", "text", "m/84h/0h/0h/0/0") == expected


@pytest.mark.parametrize("status", ["6D00", "6985"])
def test_a_card_that_does_not_tell_its_key_source_is_listed(hwi: Program, status: str) -> None:
    with EmulatorProcess("--seed", SEED, "--fault", f"sw:{status}@FA:1") as card:
        assert listed(hwi, card, PIN) == [entry(card.path, fingerprint=FPR)]
        assert card.stats()["by_ins"]["FA"] == 1


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ("sw:6D00@10:1 sw:6D00@10:2", -9, "6D00"),
        ("badmac@20:1", -3, "MAC"),
        ("badmac@20:2", -3, "MAC"),
        ("sw:6F12@D1:1", -3, "6F12"),
        ("badmac@C2:1", -3, "MAC"),
        ("garbage@C2:1", -3, "MAC"),
        ("sw:6D00@C2:1", -3, "6D00"),
    ],
)
def test_a_card_with_trouble_is_listed(hwi: Program, fault: str, code: int, text: str) -> None:
    """Before its PIN and after it: what it answers has no place there, and programs are told."""
    options = [option for each in fault.split() for option in ("--fault", each)]
    with EmulatorProcess("--seed", SEED, *options) as card:
        (found,) = listed(hwi, card, PIN)
        assert found == entry(card.path, error=found["error"], code=code) and text in found["error"]


class FailingCard(EmulatedCard):
    """It refuses to derive, under the channel's MAC."""

    def _handler(self, command: Any) -> Any:
        if command.ins == Ins.DERIVE_KEY:
            raise Refusal(0x6F12)
        return super()._handler(command)


def test_a_refusal_inside_the_channel_is_listed(hwi: Program) -> None:
    wanted = Wanted(
        seed=bytes.fromhex(SEED), pin=PIN, puk=PUK, xpub_export=True, serial=2**60, card_type=CARD_TYPE_BASIC
    )
    memory = new_memory(wanted)
    server = TcpServer(Engine(FailingCard(memory)), "127.0.0.1", 0)
    threading.Thread(target=server.serve, daemon=True).start()
    host, port = server.address
    try:
        (found,) = hwi("--emulators", "-p", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": f"{host}:{port}"})
    finally:
        server.close()
    assert found == entry(f"tcp:{host}:{port}", error=found["error"], code=-13) and "6F12" in found["error"]


@pytest.mark.parametrize("fault", ["remove@D1:1", "remove@C2:1"])
def test_a_card_that_leaves_is_not_listed(hwi: Program, fault: str) -> None:
    with EmulatorProcess("--seed", SEED, "--fault", fault) as card:
        assert listed(hwi, card, PIN) == []


def test_a_silent_card_holds_no_poller_up(hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    assert listing.ANSWER_LIMIT < 60  # seconds after which wallets give up
    monkeypatch.setattr(listing, "ANSWER_LIMIT", 0.3)
    with EmulatorProcess("--seed", SEED, "--fault", "silence@1") as card:
        start = time.monotonic()
        assert listed(hwi, card, PIN) == []
        assert time.monotonic() - start < 10


def test_a_reader_that_is_called_as_an_address_is_not_dialed(hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out; what is told of the other readers is as ever."""
    with listener() as far:
        names = [f"tcp:127.0.0.1:{far.port}", "tcp:evil 00 00"]
        with readers_called(monkeypatch, *names):
            assert hwi("enumerate") == []
            for select in (["-d", "cryptnox:5"], ["-d", f"cryptnox:{2**60}"]):
                answer = hwi("-t", "cryptnox", *select, "-p", PIN, "getmasterxpub")
                assert answer == {"error": "there is no card reader", "code": -3}
            assert Host().access.readers() == []
        with readers_called(monkeypatch, "Good", *names):
            assert Host().access.readers() == ["Good"]
            assert hwi("enumerate") == []
    assert far.callers == []


def test_the_emulators_ca() -> None:
    """A copy, since the client may not import the emulator."""
    from cryptnox_core.certificate import TrustAnchors
    from cryptnox_core.emulator.ca import ca_certificate_pem

    (anchor,) = TrustAnchors.from_pem(ca_certificate_pem().encode()).anchors
    assert (anchor.name, anchor.public_key) == (EMULATOR_CA.name, EMULATOR_CA.public_key)


# In the virtual reader


@pytest.fixture(scope="module")
def reader_card(virtual_readers: VirtualReaders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    file = tmp_path_factory.mktemp("card") / "card.json"
    with virtual_readers.card("--seed", SEED, "--xpub-export", "--state", str(file)) as card:
        yield card


def without_seed(answer: bytes) -> bytes:
    """SELECT's answer with the flag for the seed off."""
    return answer[:5] + bytes((answer[5] & ~0x20,)) + answer[6:]


class TestADisturbedLine:
    """A card in a reader of this process, and what it says in the clear is changed on the way."""

    PATH, KNOWN = f"cryptnox:{SERIAL}", "73c5da0a"
    REMEMBERED = entry(PATH, passphrase=True, fingerprint=KNOWN, error=NO_PIN, code=-12)

    @pytest.fixture
    def slot(self, monkeypatch: pytest.MonkeyPatch, hwi: Program) -> Slot:
        """Its fingerprint is remembered."""
        slot = Slot.of(seeded())
        Readers(slot=slot).install(monkeypatch)
        assert hwi("-p", SLOT_PIN, "enumerate") == [entry(self.PATH, fingerprint=self.KNOWN)]
        return slot

    def test_one_select_forgets_nothing(self, slot: Slot, hwi: Program, state: State) -> None:
        slot.middle = once(Ins.SELECT, without_seed)
        assert hwi("enumerate") == [self.REMEMBERED]
        assert hwi("enumerate") == [self.REMEMBERED]

    def test_a_seed_is_forgotten_where_the_card_proves_itself(self, slot: Slot, hwi: Program, state: State) -> None:
        """Not on the word of somebody on the way; on that of the card."""

        def lying(apdu: bytes, ask: Ask) -> bytes:
            answer = ask(apdu)
            if apdu[1] == Ins.SELECT:
                return without_seed(answer)
            return (
                answer[:20] + bytes((answer[20] ^ 1,)) + answer[21:] if apdu[1] == Ins.GET_CARD_CERTIFICATE else answer
            )

        empty = [entry(self.PATH, error="Not initialized: the card has no seed", code=-18)]
        slot.middle = lying
        assert hwi("enumerate") == empty
        assert state.record(SERIAL).fingerprint == bytes.fromhex(self.KNOWN)
        slot.middle, slot.reader.memory.seed, slot.reader.memory.key_source = nobody, b"", KeySource.NONE
        assert hwi("enumerate") == empty
        assert state.record(SERIAL).fingerprint is None

    @pytest.mark.parametrize("sw", ["6110", "6F00", "63C1", "6982", "6A82", "9840"])
    def test_one_status_word_hides_no_card(self, slot: Slot, hwi: Program, state: State, sw: str) -> None:
        for ins in (Ins.SELECT, Ins.GET_MANUFACTURER_CERTIFICATE, Ins.GET_CARD_CERTIFICATE, Ins.OPEN_SECURE_CHANNEL):
            slot.middle = once(ins, lambda _: bytes.fromhex(sw))
            assert hwi("enumerate") == [self.REMEMBERED]
            state.forget()
            slot.middle = once(ins, lambda _: bytes.fromhex(sw))
            assert hwi("-p", SLOT_PIN, "enumerate") == [entry(self.PATH, fingerprint=self.KNOWN)]
            slot.middle = once(ins, lambda _: bytes.fromhex(sw))
            assert "xpub" in hwi("-t", "cryptnox", "-d", self.PATH, "-p", SLOT_PIN, "getmasterxpub")


@pytest.mark.pcsc
class TestInAReader:
    """With real PC/SC, where a card's fingerprint is remembered by its serial."""

    def path(self, card: EmulatorProcess) -> str:
        return f"cryptnox:{card.serial}"

    def test_known_and_unknown(self, reader_card: EmulatorProcess, hwi: Program, state: State) -> None:
        """A known card costs three commands, no channel and no PIN; whatever was given for it."""
        path = self.path(reader_card)
        assert listed(hwi, reader_card) == [entry(path, passphrase=True, error=NO_PIN, code=-12)]
        assert listed(hwi, reader_card, PIN) == [entry(path, fingerprint=FPR)]
        record = state.record(reader_card.serial)
        assert record.fingerprint == ME.fingerprint and record.reader == SLOTS[0] and record.note is None
        before = reader_card.stats()
        assert listed(hwi, reader_card, "1111") == [entry(path, fingerprint=FPR)]
        after = reader_card.stats()
        assert after["apdus"] - before["apdus"] == 3 and after["pin_tries"] == before["pin_tries"]
        assert listed(hwi, reader_card) == [entry(path, passphrase=True, fingerprint=FPR, error=NO_PIN, code=-12)]
        assert listed(hwi, reader_card, CRYPTNOX_PIN_SOURCE="pinentry") == [entry(path, fingerprint=FPR)]
        assert "given password" in listed(hwi, reader_card, "correct horse")[0]["error"]

    def test_commands(self, reader_card: EmulatorProcess, hwi: Program) -> None:
        """By path, by fingerprint, by type; no emulators allowed: this is a card like any other."""
        path = self.path(reader_card)
        for select in (["-t", "cryptnox", "-d", path], ["-f", FPR], ["-t", "cryptnox"]):
            assert "xpub" in hwi(*select, "-p", PIN, "getmasterxpub"), select
        given = draft(spend("p2wpkh"), spend("p2pkh", 1)).base64()
        before = reader_card.stats()
        answer = hwi("-f", FPR, "-p", PIN, "signtx", given)
        assert answer["signed"] is True
        signs = reader_card.stats()["signatures"] - before["signatures"]
        assert reader_card.stats()["apdus"] - before["apdus"] - signs <= 12 + 3
        before = reader_card.stats()
        again = hwi("-t", "cryptnox", "-d", path, "signtx", answer["psbt"])
        assert again == {"psbt": answer["psbt"], "signed": False}, "no PIN, no card: the fingerprint is remembered"
        assert reader_card.stats()["apdus"] == before["apdus"]
        missing = hwi("-t", "cryptnox", "-d", "cryptnox:5", "-p", PIN, "getmasterxpub")
        assert missing == {"error": "the card 5 is not in any reader", "code": -3}
        assert hwi("-f", "01020304", "-p", PIN, "getmasterxpub")["code"] == -3

    def test_automatic_pins(self, reader_card: EmulatorProcess, hwi: Program) -> None:
        """The emulator's CA vouches for nobody in a reader: the owner has to, once."""
        path, env = self.path(reader_card), {"CRYPTNOX_PIN": PIN}
        answer = hwi("-t", "cryptnox", "-d", path, "getmasterxpub", env=env)
        assert answer["code"] == -6 and "not known to be genuine" in answer["error"]
        assert "xpub" in hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
        assert "xpub" in hwi("-t", "cryptnox", "-d", path, "getmasterxpub", env=env)
        assert listed(hwi, reader_card, CRYPTNOX_PIN=PIN) == [entry(path, fingerprint=FPR)]

    def test_an_anchor_of_the_users(self, virtual_readers: VirtualReaders, hwi: Program, tmp_path: Path) -> None:
        """A card whose maker is named there is genuine; it gets its automatic PIN at once."""
        pem, pin = tmp_path / "ca.pem", tmp_path / "pin"
        pem.write_text(ca_of("a maker"))
        pin.write_text(PIN)
        pin.chmod(0o600)
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'anchors = ["{pem}"]\nrequire_genuine = true\n')
        options = ("--seed", SEED, "--xpub-export", "--serial", str(2**60 + 5))
        with virtual_readers.card(*options, slot=1, maker="a maker") as card:
            for env in ({"CRYPTNOX_PIN": PIN}, {"CRYPTNOX_PIN_FILE": str(pin)}):
                assert "xpub" in hwi("-t", "cryptnox", "-d", self.path(card), "getmasterxpub", env=env)

    def test_the_emulated_cards_ca_is_nobodys_anchor(
        self, reader_card: EmulatorProcess, hwi: Program, tmp_path: Path
    ) -> None:
        """Anybody can sign with it: also where the configuration names it, no card in a reader is genuine by it."""
        from cryptnox_core.emulator.ca import ca_certificate_pem

        pem = tmp_path / "ca.pem"
        pem.write_text(ca_certificate_pem())
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'anchors = ["{pem}"]\n')
        before = reader_card.stats()["by_ins"].get("20", 0)
        for options in ([], ["-p", PIN]):
            answer = hwi("-t", "cryptnox", *options, "getmasterxpub", env={"CRYPTNOX_PIN": PIN})
            assert answer["code"] == -7 and "proves nothing" in answer["error"]
        assert reader_card.stats()["by_ins"].get("20", 0) == before

    @pytest.mark.parametrize("line", ["max_fe = 1", 'anchors = ["/nowhere.pem"]'])
    def test_settings_that_make_no_sense(
        self, reader_card: EmulatorProcess, hwi: Program, line: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A card that is there is listed with what every other command says; it gets no PIN, and is let go."""
        path = self.path(reader_card)
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(line)
        before = reader_card.stats()["by_ins"].get("20", 0)
        answer = hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
        assert answer["code"] == -7 and line.split(" ")[0] in answer["error"]
        assert listed(hwi, reader_card, PIN) == [entry(path, **answer)]
        assert [record.getMessage() for record in caplog.records] == [f"enumerate: {answer['error']}"]
        assert reader_card.stats()["by_ins"].get("20", 0) == before
        with Card(PcscTransport.open(SLOTS[0], 0)) as free:
            assert free.select().initialized

    def test_a_card_that_is_not_admitted_is_left_out(
        self, reader_card: EmulatorProcess, hwi: Program, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Known from before, with a PIN at hand: still no command would work."""
        path = self.path(reader_card)
        assert listed(hwi, reader_card, PIN) == [entry(path, fingerprint=FPR)]
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text("require_genuine = true\n")
        assert listed(hwi, reader_card, PIN) == []
        answer = hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
        text = "it is not known whether the card is genuine, but the configuration requires a genuine one"
        assert answer == {"error": text, "code": -3}
        assert [record.getMessage() for record in caplog.records] == [f"enumerate: {SLOTS[0]}: {answer['error']}"]

    def test_a_note_shows_in_enumerate(self, reader_card: EmulatorProcess, hwi: Program, state: State) -> None:
        """The next command would send nothing: that is an error. A proved one goes away."""
        path, env = self.path(reader_card), {"CRYPTNOX_PIN": PIN}
        assert listed(hwi, reader_card, PIN) == [entry(path, fingerprint=FPR)]
        state.update(reader_card.serial, lambda now: replace(now, note=NoteKind.REFUSED))
        (found,) = listed(hwi, reader_card, **env)
        assert found["code"] == -7 and found["needs_passphrase_sent"] is True and found["fingerprint"] == FPR
        assert listed(hwi, reader_card, PIN) == [entry(path, fingerprint=FPR)], "an explicit PIN would be sent"
        state.update(reader_card.serial, lambda now: replace(now, note=NoteKind.PENDING))
        assert listed(hwi, reader_card, **env) == [entry(path, fingerprint=FPR)]
        assert state.record(reader_card.serial).note is None, "the counter is full: nothing was refused"

    def test_busy(self, reader_card: EmulatorProcess, hwi: Program, state: State) -> None:
        """The entry of a card another program holds comes from the last reader known, or from its lock."""
        path = self.path(reader_card)
        with Card(PcscTransport.open(SLOTS[0], 5)):
            assert listed(hwi, reader_card, CRYPTNOX_WAIT="0.1") == [], "nobody knows what card it is"
        assert listed(hwi, reader_card, PIN) == [entry(path, fingerprint=FPR)]
        busy = entry(path, fingerprint=FPR, error="Card is in use by another program", code=-15)
        with Card(PcscTransport.open(SLOTS[0], 5)):
            assert listed(hwi, reader_card, CRYPTNOX_WAIT="0.1") == [busy]
            answer = hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub", env={"CRYPTNOX_WAIT": "0.1"})
            assert answer == {"error": "Card is in use by another program", "code": -15}
            state.forget()
            state.hold(SLOTS[0], reader_card.serial)
            del busy["fingerprint"]
            assert listed(hwi, reader_card, CRYPTNOX_WAIT="0.1") == [busy]
        state.release(SLOTS[0])

    def test_another_seed(self, reader_card: EmulatorProcess, hwi: Program, state: State) -> None:
        """A fingerprint that is no longer true is said once, and mended."""
        path = self.path(reader_card)
        assert listed(hwi, reader_card, PIN) == [entry(path, fingerprint=FPR)]
        state.update(reader_card.serial, lambda now: replace(now, fingerprint=b"old."))
        answer = hwi("-f", b"old.".hex(), "-p", PIN, "signtx", draft(spend("p2wpkh")).base64())
        assert answer["signed"] is False, "nothing of that fingerprint is in it"
        answer = hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
        assert answer["code"] == -13 and "a different seed" in answer["error"] and FPR in answer["error"]
        assert "xpub" in hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
        assert state.record(reader_card.serial).fingerprint == ME.fingerprint

    def test_a_reset_card_is_forgotten(
        self, virtual_readers: VirtualReaders, reader_card: EmulatorProcess, hwi: Program, state: State
    ) -> None:
        with virtual_readers.card("--pin", PIN, "--serial", str(2**60 + 5), slot=1) as empty:
            state.update(empty.serial, lambda now: replace(now, fingerprint=b"old."))
            both = listed(hwi, reader_card, PIN)
            assert both == [
                entry(self.path(reader_card), fingerprint=FPR),
                entry(self.path(empty), error="Not initialized: the card has no seed", code=-18),
            ]
            assert state.record(empty.serial).fingerprint is None

    def test_two_cards(self, virtual_readers: VirtualReaders, reader_card: EmulatorProcess, hwi: Program) -> None:
        """Found by fingerprint, whichever reader it is in; an unknown one is asked with the one PIN there is."""
        other_pin = "7777"
        options = ("--mnemonic", MNEMONIC, "--pin", other_pin, "--xpub-export")
        with virtual_readers.card(*options, slot=1) as other:
            assert "xpub" in hwi("-t", "cryptnox", "-d", self.path(other), "-p", other_pin, "getmasterxpub")
            before = reader_card.stats()["pin_tries"] + other.stats()["pin_tries"]
            assert "xpub" in hwi("-f", "73c5da0a", "-p", other_pin, "getmasterxpub")
            assert "xpub" in hwi("-f", FPR, "-p", PIN, "getmasterxpub"), "its fingerprint was not known"
            answer = hwi("-f", FPR, "-p", other_pin, "getmasterxpub")
            assert answer["code"] == -7
            assert reader_card.stats()["pin_tries"] + other.stats()["pin_tries"] == before + 1
            assert "xpub" in hwi("-f", FPR, "-p", PIN, "getmasterxpub")

    def test_a_card_that_gets_no_automatic_pin_is_passed_over(
        self, fresh: EmulatorProcess, reader_card: EmulatorProcess, hwi: Program
    ) -> None:
        """It is not known and cannot be told to be genuine; the card that is looked for is another."""
        env = {"CRYPTNOX_EMULATOR": fresh.path[4:], "CRYPTNOX_PIN": PIN}
        before = reader_card.stats()["by_ins"].get("20", 0)
        assert "xpub" in hwi("--emulators", "-f", "73c5da0a", "getmasterxpub", env=env)
        assert reader_card.stats()["by_ins"]["20"] == before + 1, "its counter was asked, nothing sent"
        answer = hwi("--emulators", "-f", "0000ffff", "getmasterxpub", env=env)
        assert answer["code"] == -6 and "not known to be genuine" in answer["error"]

    def test_a_list_sends_a_refused_pin_to_one_card_only(
        self, virtual_readers: VirtualReaders, reader_card: EmulatorProcess, hwi: Program
    ) -> None:
        """Two cards nobody knows yet: one run spends one try in all; the next one goes to the other card."""
        before = reader_card.stats()["pin_tries"]
        options = ("--mnemonic", MNEMONIC, "--pin", "7777", "--xpub-export")
        with virtual_readers.card(*options, slot=1) as other:
            first = {item["path"]: item for item in hwi("-p", "7777", "enumerate")}
            refused, passed_over = first[self.path(reader_card)], first[self.path(other)]
            assert refused["code"] == -7 and refused["needs_passphrase_sent"]
            assert passed_over["code"] == -12 and passed_over["needs_passphrase_sent"]
            assert "another card refused the PIN just now" in passed_over["error"]
            assert "20" not in other.stats()["by_ins"]
            second = {item["path"]: item for item in hwi("-p", "7777", "enumerate")}
            assert second[self.path(other)]["fingerprint"] == "73c5da0a" and "error" not in second[self.path(other)]
        assert reader_card.stats()["pin_tries"] == before + 1
        assert "xpub" in hwi("-t", "cryptnox", "-d", self.path(reader_card), "-p", PIN, "getmasterxpub")

    @pytest.mark.parametrize("program", ["hwi-cryptnox", "hwi"])
    def test_the_pin_of_the_other_card(
        self,
        program: str,
        virtual_readers: VirtualReaders,
        reader_card: EmulatorProcess,
        hwi: Program,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Two cards nobody knows yet, and the PIN of the one in the second reader: the first loses one try, not one a
        command, and no command sends the PIN on after a refusal (stock hwi asks each card in a call of its own)."""
        stock = hwilib("hwilib._cli").process_commands
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        import_module("hwilib_cryptnox.plugin.register").register()
        other_pin = "7777"
        options = ("--mnemonic", MNEMONIC, "--pin", other_pin, "--xpub-export")
        before = reader_card.stats()["pin_tries"]
        with virtual_readers.card(*options, slot=1) as other:
            for attempt in range(3):
                command = ["-f", "73c5da0a", "-p", other_pin, "getmasterxpub"]
                if program == "hwi":
                    unlock._refused.clear()  # each is a process of its own
                    unlock._noted.clear()
                answer = hwi(*command) if program == "hwi-cryptnox" else stock(command)
                if attempt == 0 and program == "hwi-cryptnox":
                    assert answer["code"] == -7 and f"on the card {reader_card.serial}" in answer["error"]
                    assert "20" not in other.stats()["by_ins"]
                else:
                    assert "xpub" in answer
            assert other.stats()["pin_tries"] == 0
        assert reader_card.stats()["pin_tries"] == before + 1
        # The right PIN, given for the card, makes it good again.
        assert "xpub" in hwi("-t", "cryptnox", "-d", self.path(reader_card), "-p", PIN, "getmasterxpub")

    def test_soft_locked(
        self, virtual_readers: VirtualReaders, hwi: Program, state: State, reader_card: EmulatorProcess
    ) -> None:
        """A program that shares the reader has locked the card for this session: everything answers 6985, the serial
        comes from the last reader known. Once it lets go, the card is powered off and well again."""
        options = ("--seed", SEED, "--serial", str(2**60 + 9), "--xpub-export", "--reading", "softlock-6985")
        with virtual_readers.card(*options, slot=1) as card:
            path = f"cryptnox:{card.serial}"
            assert "xpub" in hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
            with soft_locked(1):
                found = [item for item in listed(hwi, card, PIN) if item["path"] == path]
            text = "PIN locked for this session: remove and re-insert the card"
            assert found == [entry(path, fingerprint=FPR, error=text, code=-12)]
            answer = hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
            assert "xpub" in answer
