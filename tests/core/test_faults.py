"""A fault of every kind at every APDU of the usual conversations: one documented exception, no PIN try lost, nothing
sent twice, the channel dead, and the next session works."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.commands.auth import PinTriesLeft
from cryptnox_core.crypto.secp256k1 import ORDER, parse_der
from cryptnox_core.emulator.faults import Fault, FaultKind, parse_fault
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import (
    BadMacError,
    CardRemovedError,
    CertificateError,
    ChannelAbortedError,
    ChannelError,
    CryptnoxError,
    MalformedResponseError,
    NotInitializedError,
    PairingError,
    ProtocolError,
    StatusWordError,
    UnknownChannelError,
    UsageError,
)
from cryptnox_core.wire import Ins, SignatureKind
from tests.core.emulated import PIN, PUK, SEED, EmulatedReader, apdus, fresh, seeded
from tests.support.curve import PrivateKey

ACCOUNT = Path.parse("m/84h/0h/0h")
LEAVES = [ACCOUNT.extend(Path((0, index))) for index in range(5)]
DIGESTS = [hashlib.sha256(bytes((index,))).digest() for index in range(5)]

KINDS = ["remove", "reset", "garbage", "badmac", "silence"] + [
    f"sw:{sw}" for sw in ("6982", "6985", "6700", "6D00", "6F00", "6A80", "6A82", "63C0", "63C2", "9000")
]
CLEAR = {Ins.SELECT, Ins.GET_MANUFACTURER_CERTIFICATE, Ins.GET_CARD_CERTIFICATE, Ins.OPEN_SECURE_CHANNEL, Ins.INIT}


def connect(card: Card) -> None:
    card.open_channel()
    assert card.pin_tries_left() > 0
    card.verify_pin(PIN)


def set_up(card: Card) -> None:
    """From whatever state an earlier attempt left."""
    if not card.select().initialized:
        card.init("Ada", "ada@example.org", pin=PIN, puk=PUK)
    connect(card)
    if not card.info.seeded:
        card.load_seed(SEED, PIN)
    card.set_xpub_export(True, PUK)


def read_xpub(card: Card) -> None:
    connect(card)
    assert card.master_fingerprint().hex() == "73c5da0a"
    assert card.extended_public_key(ACCOUNT).depth == 3


def sign_five(card: Card) -> None:
    connect(card)
    card.derive(ACCOUNT)
    account = card.read_extended_public_key()
    for leaf, digest in zip(LEAVES, DIGESTS, strict=True):
        key = account.derive(leaf.below(ACCOUNT)).public_key
        card.sign(digest, PIN, path=leaf, public_key=key)


@dataclass(frozen=True)
class Scenario:
    memory: Callable[[], Memory]
    run: Callable[[Card], None]


SCENARIOS = {
    "connect": Scenario(seeded, connect),
    "set-up": Scenario(fresh, set_up),
    "xpub": Scenario(seeded, read_xpub),
    "five signatures": Scenario(seeded, sign_five),
}


def length(scenario: Scenario, readings: Iterable[Reading] = ()) -> int:
    """APDUs without a fault."""
    reader = EmulatedReader.of(scenario.memory(), *readings)
    with reader.connect() as card:
        scenario.run(card)
        return len(apdus(card))


def documented(error: CryptnoxError, fault: Fault, ins: int, readings: Iterable[Reading] = ()) -> bool:
    """Whether this is the exception that the fault has to end in."""
    if Reading.SELECT_V2 in readings and isinstance(error, UnknownChannelError):
        # With an applet of version 2 a handshake, or the first command after it, that fails may be of another form.
        return fault.kind not in (FaultKind.REMOVE, FaultKind.SILENCE)
    if fault.kind in (FaultKind.REMOVE, FaultKind.SILENCE):
        return isinstance(error, CardRemovedError)
    if ins in CLEAR:
        if fault.kind is FaultKind.STATUS and fault.sw != 0x9000:
            return isinstance(error, StatusWordError) and error.sw == fault.sw
        # A clear answer is believed as far as its form goes: what follows from a wrong one is found later.
        return isinstance(error, (ProtocolError, StatusWordError, UsageError))
    if fault.kind is FaultKind.STATUS and fault.sw != 0x9000:
        if isinstance(error, NotInitializedError):
            return False
        mutual = ins == Ins.MUTUALLY_AUTHENTICATE and fault.sw == 0x6982
        return isinstance(error, PairingError if mutual else ChannelAbortedError) and error.sw == fault.sw
    if fault.kind is FaultKind.RESET:
        return isinstance(error, ChannelAbortedError)
    return isinstance(error, BadMacError if fault.kind is FaultKind.BADMAC else (BadMacError, MalformedResponseError))


def check(scenario: Scenario, fault: Fault, readings: Iterable[Reading] = ()) -> bool:
    """One combination. Returns whether the fault showed at all."""
    reader = EmulatedReader.of(scenario.memory(), *readings, faults=[fault])
    failure: CryptnoxError | None = None
    with reader.connect() as card:
        try:
            scenario.run(card)
        except CryptnoxError as error:
            failure = error
            sent = apdus(card)
            at_fault = sent[fault.number - 1][1]
            assert documented(error, fault, at_fault, readings), f"{fault} at {at_fault:02X}: {error!r}"
            assert not card.channel_open or isinstance(error, StatusWordError)
            if at_fault not in CLEAR:
                # In the channel the fault is seen at once, and nothing follows it.
                assert len(sent) == fault.number
                with pytest.raises((ChannelError, UsageError)):
                    card.send(PinTriesLeft())
                assert len(sent) == fault.number
        wrapped = [apdu for apdu in apdus(card) if apdu[1] not in CLEAR]
        assert len(wrapped) == len(set(wrapped))
        for ins, most in ((Ins.SIGN, 5), (Ins.VERIFY_PIN, 2), (Ins.LOAD_KEY, 1), (Ins.INIT, 1)):
            assert sum(apdu[1] == ins for apdu in apdus(card)) <= most
    assert reader.card.counters.pin_tries == 0 and reader.card.counters.puk_tries == 0
    assert reader.memory.pin_tries == 6
    assert reader.card.counters.signatures <= 5
    with reader.connect() as card:
        scenario.run(card)
        assert card.pin_tries_left() in (3, 6)
    return failure is not None


def matrix(scenario: Scenario, readings: Iterable[Reading] = ()) -> tuple[int, int]:
    """Every kind at every position; how many were tried, and how many showed."""
    faults = [
        parse_fault(f"{kind}@{position}") for position in range(1, length(scenario, readings) + 1) for kind in KINDS
    ]
    return len(faults), sum(check(scenario, fault, readings) for fault in faults)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault_at_every_apdu(name: str, request: pytest.FixtureRequest) -> None:
    tried, shown = matrix(SCENARIOS[name])
    assert shown >= tried * 0.9
    request.node.user_properties.append(
        ("table", [f"faults: {name}", f"{tried} combinations of kind and position, {shown} ended in an exception"])
    )


@pytest.mark.heavy
@pytest.mark.parametrize("reading", list(Reading), ids=lambda reading: reading.value)
def test_every_fault_under_each_reading(reading: Reading, request: pytest.FixtureRequest) -> None:
    total = [matrix(scenario, [reading]) for scenario in SCENARIOS.values()]
    tried, shown = sum(tried for tried, _ in total), sum(shown for _, shown in total)
    request.node.user_properties.append(
        ("table", [f"faults under {reading.value}", f"{tried} combinations, {shown} ended in an exception"])
    )


def test_the_same_card_object_goes_on_after_a_fault_that_left_the_line_alive() -> None:
    """Garbage, a wrong MAC, a reset, a status word: select and open again on the same `Card`."""
    for kind in ("reset", "garbage", "badmac", "sw:6982", "sw:6F00"):
        reader = EmulatedReader.of(seeded(), faults=[parse_fault(f"{kind}@C0:1")])
        with reader.connect() as card:
            with pytest.raises(ProtocolError):
                sign_five(card)
            assert not card.channel_open
            sign_five(card)


def test_a_signature_that_got_lost_is_not_asked_for_again() -> None:
    """The card signed, the answer was lost: the library reports it; only the caller may decide to sign anew."""
    reader = EmulatedReader.of(seeded(), faults=[parse_fault("badmac@C0:3")])
    with reader.connect() as card:
        with pytest.raises(BadMacError):
            sign_five(card)
        assert reader.card.counters.signatures == 3
        assert sum(apdu[1] == Ins.SIGN for apdu in apdus(card)) == 3


def test_certificate_error_comes_before_any_secret() -> None:
    reader = EmulatedReader.of(seeded(), faults=[parse_fault("badmac@F7:1")])
    with reader.connect() as card:
        with pytest.raises(CertificateError):
            card.open_channel()
        assert all(apdu[1] in (Ins.SELECT, Ins.GET_MANUFACTURER_CERTIFICATE) for apdu in apdus(card))


@pytest.mark.parametrize("kinds", list(itertools.product((SignatureKind.ECDSA, SignatureKind.SCHNORR), repeat=2)))
def test_a_repeated_nonce_gives_the_key_away(kinds: tuple[SignatureKind, SignatureKind]) -> None:
    """What the fault is for: two valid signatures with one r, over two digests, and the private key follows."""
    reader = EmulatedReader.of(seeded(), faults=[parse_fault("repeat-nonce@C0:2")])
    digests = (bytes(31) + b"\x01", bytes(31) + b"\x02")
    with reader.open() as card:
        key = card.public_key(LEAVES[0])
        made = [
            card.sign(digest, PIN, public_key=key, path=LEAVES[0], kind=kind)
            for digest, kind in zip(digests, kinds, strict=True)
        ]
        other = card.sign(digests[0], PIN, public_key=key, path=LEAVES[0])
    values = [numbers(signature, kind) for signature, kind in zip(made, kinds, strict=True)]
    assert values[0][0] == values[1][0] != parse_der(other)[0]
    assert key in recovered(key, digests, kinds, values)


def numbers(signature: bytes, kind: SignatureKind) -> tuple[int, int]:
    if kind is SignatureKind.ECDSA:
        return parse_der(signature)
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def recovered(
    key: bytes, digests: tuple[bytes, bytes], kinds: tuple[SignatureKind, ...], values: list[tuple[int, int]]
) -> list[bytes]:
    """Public keys of the private keys that two signatures with one r lead to. Each says a + b k = c d, linear in nonce
    and key; signs of both are not known."""
    rows = []
    for digest, kind, (r, s) in zip(digests, kinds, values, strict=True):
        z = int.from_bytes(digest, "big")
        if kind is SignatureKind.ECDSA:
            rows.append((-z, s, r))
        else:
            tag = hashlib.sha256(b"BIP0340/challenge").digest()
            e = hashlib.sha256(tag + tag + r.to_bytes(32, "big") + key[1:] + digest).digest()
            rows.append((s, -1, int.from_bytes(e, "big")))
    found = []
    for nonce_sign, key_sign in itertools.product((1, -1), repeat=2):
        (a, b, c), (a2, b2, c2) = rows[0], rows[1]
        b2, c2 = b2 * nonce_sign, c2 * key_sign
        d = (a * b2 - a2 * b) * pow(c * b2 - c2 * b, -1, ORDER) % ORDER
        private = PrivateKey(d.to_bytes(32, "big"))
        found += [private.public_key.format(), PrivateKey((ORDER - d).to_bytes(32, "big")).public_key.format()]
    return found
