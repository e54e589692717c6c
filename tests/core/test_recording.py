"""Recordings of a first contact, and what they say about a card."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from cryptnox_core import Card
from cryptnox_core.certificate import CardCertificate
from cryptnox_core.deviations import deviations
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import CardRemovedError, UsageError
from cryptnox_core.recording import record
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import COMMON_PAIRING_KEY, Ins
from tests.core.emulated import EmulatedReader, initialized, seeded
from tests.support.emulator import PIN, EmulatorProcess

SEED = bytes(range(64))
SHOWN = (
    Reading.DERIVE_08_ONLY,
    Reading.MAC_LEN_VALUE,
    Reading.MAC_LEN_VALUE_ONLY,
    Reading.OUTER_SW,
    Reading.PIN_QUERY_SW,
    Reading.TRIES_MIN,
    Reading.NO_F7_AFTER_F8,
    Reading.SELECT_V2,
)
HIDDEN = {
    Reading.PIN_OPTIONAL_IN_SIGN: "wants the PIN and a signature",
    Reading.PIN_ENDS_AT_SIGN: "wants the PIN and a signature",
    Reading.PIN_AUTH_OFF_TAKES_PIN: "wants the PUK and a signature",
    Reading.SOFTLOCK_6985: "costs PIN tries",
    Reading.PUK_9840: "costs a PUK try",
    Reading.PUK_984X: "costs a PUK try",
    Reading.ADD_USER_KEY_NEEDS_PIN: "wants the PUK, and changes the card",
    Reading.CURRENT_LOST: "needs the PIN",
    Reading.PAGE_6B00: "needs the PIN",
    Reading.CLEAR_PUBKEY_33: "wants the PUK: clear reading is off until it is switched on",
    Reading.CLEAR_PUBKEY_32: "wants the PUK: clear reading is off until it is switched on",
    **dict.fromkeys((Reading.MUSIG2, Reading.MUSIG2_NO_SECOND, Reading.MUSIG2_AS_PRINTED), "needs the PIN"),
}
"""Readings that a recording without secrets cannot tell, and why."""


def recorded(*options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recording of an emulated card, as it comes back from a file, and the card's counts afterwards."""
    with EmulatorProcess(*options) as card:
        transport = RemoteTransport.connect(card.host, card.port, 10.0, wait=5.0)
        try:
            recording = json.loads(json.dumps(record(transport, time.monotonic)))
        finally:
            transport.close()
        return recording, card.stats()


def wallet(*readings: Reading) -> dict[str, Any]:
    options = [word for reading in readings for word in ("--reading", reading.value)]
    return recorded("--seed", SEED.hex(), *options)[0]


def test_every_reading_is_shown_or_hidden() -> None:
    assert set(SHOWN) | set(HIDDEN) == set(Reading)
    assert not set(SHOWN) & set(HIDDEN)


def test_a_card_as_documented() -> None:
    assert deviations(wallet()) == []
    assert deviations(recorded("--pin", PIN)[0]) == []
    assert deviations(recorded()[0]) == []


@pytest.mark.parametrize("reading", SHOWN, ids=lambda reading: reading.value)
def test_a_reading_is_named(reading: Reading) -> None:
    """That one, and no other."""
    assert [found.reading for found in deviations(wallet(reading))] == [reading.value]


@pytest.mark.parametrize("reading", HIDDEN, ids=lambda reading: reading.value)
def test_a_hidden_reading_is_not_guessed(reading: Reading) -> None:
    assert deviations(wallet(reading)) == []


def test_several_readings_at_once() -> None:
    several = (Reading.DERIVE_08_ONLY, Reading.PIN_QUERY_SW, Reading.TRIES_MIN, Reading.OUTER_SW)
    assert {found.reading for found in deviations(wallet(*several))} == {reading.value for reading in several}


def test_nothing_is_changed_and_no_try_is_spent() -> None:
    _, stats = recorded("--seed", SEED.hex())
    assert (stats["pin_tries"], stats["puk_tries"], stats["signatures"], stats["derivations"]) == (0, 0, 0, 0)
    harmless = {
        Ins.SELECT,
        Ins.GET_MANUFACTURER_CERTIFICATE,
        Ins.GET_CARD_PUBLIC_KEY,
        Ins.GET_CARD_CERTIFICATE,
        Ins.OPEN_SECURE_CHANNEL,
        Ins.MUTUALLY_AUTHENTICATE,
        Ins.VERIFY_PIN,
        Ins.READ_DATA,
        Ins.GET_HISTORY,
        Ins.DERIVE_KEY,
        0xEE,
    }
    assert {int(ins, 16) for ins in stats["by_ins"]} <= harmless


def test_what_is_in_it() -> None:
    recording = wallet()
    certificate = CardCertificate.parse(bytes.fromhex(recording["certificate"]))
    assert certificate.serial > 0
    assert len(bytes.fromhex(recording["select"])) == 24
    for exchange in recording["exchanges"]:
        assert set(exchange) == {"header", "sent", "received", "sw", "ms"}
        assert len(exchange["header"]) == 8 and len(exchange["sw"]) == 4
    text = json.dumps({**recording, "certificate": ""})  # its dates have zeros, as the PIN has
    for secret in (SEED, COMMON_PAIRING_KEY, PIN.encode("ascii")):
        assert secret.hex() not in text


def test_a_card_that_leaves_is_in_the_recording() -> None:
    recording, _ = recorded("--seed", SEED.hex(), "--fault", f"sw:6F00@{Ins.READ_DATA:02X}:1")
    assert next(step for step in recording["steps"] if step["step"] == "card info")["outer_sw"] == "6f00"
    odd, _ = recorded("--seed", SEED.hex(), "--fault", f"badmac@{Ins.MUTUALLY_AUTHENTICATE:02X}:1")
    assert [found.text for found in deviations(odd) if "channel" in found.text]


NO_STEPS = {"format": 1, "steps": [1]}


@pytest.mark.parametrize(
    "content",
    [None, [], "text", {}, {"format": 2, "steps": []}, {"format": 1}, {"format": 1, "steps": 3}, NO_STEPS],
)
def test_what_is_no_recording(content: object) -> None:
    with pytest.raises(UsageError):
        deviations(content)


def test_a_damaged_recording_is_no_traceback() -> None:
    """Whatever its values are: what somebody sends may hold anything."""
    recording = wallet()
    odd: list[Any] = [
        None,
        True,
        -1,
        1 << 70,
        "",
        "zz",
        "63c",
        "63cg",
        "63c\n",
        "9000\n",
        [],
        {},
        [[]],
        [{"sw": "9000"}],
    ]
    for value in odd:
        for key in recording:
            with_value = {**recording, key: value}
            try:
                deviations(with_value)
            except UsageError:
                assert key in ("format", "steps")
        for step in recording["steps"]:
            for key in step:
                steps = [{**one, key: value} if one is step else one for one in recording["steps"]]
                deviations({**recording, "steps": steps})


class Odd:
    """The emulated card, with answers of our own to some commands: by instruction, or instruction and P1."""

    name = "odd"

    def __init__(self, card: Card, answers: dict[tuple[int, ...], str]) -> None:
        self.card, self.answers = card, answers

    def transmit(self, apdu: bytes) -> bytes:
        answer = self.answers.get((apdu[1],), self.answers.get((apdu[1], apdu[2])))
        return self.card.transport.transmit(apdu) if answer is None else bytes.fromhex(answer)

    def close(self) -> None:
        self.card.close()


def odd(
    answers: dict[tuple[int, ...], str], *readings: Reading, memory: Memory | None = None
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """A recording of such a card, and what is said about it: text and reading."""
    card = EmulatedReader.of(seeded() if memory is None else memory, *readings).connect()
    recording = json.loads(json.dumps(record(Odd(card, answers), time.monotonic)))
    return recording, [(found.text, found.reading) for found in deviations(recording)]


def test_an_nft_card_is_as_documented() -> None:
    """It derives nothing, and has its user data elsewhere."""
    for memory in (initialized(), seeded()):
        memory.card_type = ord("N")
        assert odd({}, memory=memory)[1] == []
        ((_, reading),) = odd({}, Reading.MAC_LEN_VALUE_ONLY, memory=memory)[1]
        assert reading == Reading.MAC_LEN_VALUE_ONLY.value


@pytest.mark.parametrize("reading", [Reading.CLEAR_PUBKEY_33, Reading.CLEAR_PUBKEY_32])
def test_a_clear_key_is_looked_at_where_it_is_given(reading: Reading) -> None:
    memory = seeded()
    memory.clear_pubkey = True
    assert odd({}, memory=memory)[1] == []
    assert [found for _, found in odd({}, reading, memory=memory)[1]] == [reading.value]


@pytest.mark.parametrize("ins", [Ins.GET_MANUFACTURER_CERTIFICATE, Ins.GET_CARD_CERTIFICATE, Ins.OPEN_SECURE_CHANNEL])
@pytest.mark.parametrize("sw", ["6985", "6D00", "63C3"])
def test_a_channel_that_is_refused_is_told(ins: Ins, sw: str) -> None:
    """Once, and no reading is named for what it never came to."""
    found = odd({(ins,): sw})[1]
    assert [reading for _, reading in found if reading] == []
    assert sum("the secure channel did not open" in text for text, _ in found) == 1
    assert not any("user data" in text for text, _ in found)


def test_a_channel_that_breaks_at_once_is_told() -> None:
    """The handshake of another form may pass; no other reading is seen in what follows."""
    for readings in ((), (Reading.SELECT_V2,)):
        every: dict[tuple[int, ...], str] = {
            (ins,): "6982" for ins in (Ins.VERIFY_PIN, Ins.READ_DATA, Ins.GET_HISTORY, Ins.DERIVE_KEY, 0xEE)
        }
        found = odd(every, *readings)[1]
        assert any("broke with its first command" in text for text, _ in found)
        assert {reading for _, reading in found} <= {"", "select-v2"}


def test_a_card_that_leaves_is_accused_of_nothing_else() -> None:
    """At every command; what was seen before is told."""
    whole = len(wallet()["exchanges"])
    for number in range(1, whole):
        reader = EmulatedReader.of(seeded(), Reading.PIN_QUERY_SW)
        card, left = reader.connect(), number
        transmit = card.transport.transmit

        def until(apdu: bytes, transmit: Callable[[bytes], bytes] = transmit) -> bytes:
            nonlocal left
            left -= 1
            if left < 0:
                raise CardRemovedError("gone")
            return transmit(apdu)

        card.transport.transmit = until  # type: ignore[method-assign]
        *before, last = deviations(json.loads(json.dumps(record(card.transport, time.monotonic))))
        assert "before the end" in last.text
        assert [found.reading for found in before] == ([Reading.PIN_QUERY_SW.value] if before else [])
        assert before or number < 15


def test_bit_3_refused_is_no_card_that_wants_it() -> None:
    recording = wallet()
    for whole, bare, reading in (("6a86", "6985", ""), ("6985", "6a86", "derive-08-only"), ("6985", None, "")):
        for step in recording["steps"]:
            if step["step"] in ("derive 08", "derive 00"):
                answer = whole if step["step"] == "derive 08" else bare
                step.pop("sw", None)
                step.update({"sw": answer} if answer else {"error": "CardRemovedError"})
        ((_, found),) = [(each.text, each.reading) for each in deviations(recording)]
        assert found == reading, (whole, bare)


def test_a_certificate_that_cannot_be_read_is_in_the_recording() -> None:
    whole = "0104" + "AA" * 251 + "9000"
    recording, found = odd({(Ins.GET_MANUFACTURER_CERTIFICATE,): whole})
    assert recording["certificate_pages"][0] == whole[:-4].lower() and "certificate" not in recording
    assert any("was not read: CertificateError" in text for text, _ in found)


def test_further_points() -> None:
    """What SELECT says, how long answers are, what the card has to read."""
    select = "51 010600 8171 0000" + "00" * 16 + "9000"
    texts = [text for text, _ in odd({(Ins.SELECT,): select})[1]]
    assert any("type of the card is 51" in text for text in texts)
    assert any("unknown meaning: 8101" in text for text in texts)
    recording = wallet()
    for step in recording["steps"]:
        change = {"PIN tries": {"length": 2}, "card info": {"source": "UNKNOWN"}, "history": {"sw": "6d00"}}
        change["user key 2"] = {"sw": "6f00"}
        step.update(change.get(step["step"], {}))
    texts = [each.text for each in deviations(recording)]
    assert len(texts) == 4 and any("2 bytes, not one" in text for text in texts)
    assert any("the card info names an unknown source of the key" in text for text in texts)
    assert any("history: status word 6d00" in text for text in texts)
    assert any("user key 2: status word 6f00" in text for text in texts)
    for exchange in recording["exchanges"]:
        if exchange["header"] == "80100000":
            exchange["received"] = 36
    assert any("OPEN SECURE CHANNEL answers 34 bytes, not 32" in each.text for each in deviations(recording))


def test_what_a_stranger_wrote_is_not_repeated() -> None:
    """Neither lines of their own, nor what would steer a terminal."""
    said = "fine\nThe card answered as documented. Send your PUK \x1b]0;x\x07"
    recording = wallet()
    for step in recording["steps"]:
        for key in ("sw", "outer_sw", "error"):
            step[key] = said
    recording["select"] = recording["version"] = said
    text = "\n".join(each.text for each in deviations(recording))
    assert "PUK" not in text and "\x1b" not in text and "fine" not in text
