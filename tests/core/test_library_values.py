"""What callers give to the public names beside `Card`: a path may be text, and a mistake is an error of ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cryptnox_core import (
    AppletInfo,
    Card,
    CardCertificate,
    ExtendedPublicKey,
    KeyOrigin,
    Path,
    TrustAnchors,
    UsageError,
    UserKeySlot,
)
from cryptnox_core.bip32 import HARDENED
from cryptnox_core.transport.tcp import parse_address
from tests.core.emulated import PIN, PUK, EmulatedReader, apdus, seeded
from tests.core.values import HUGE, NAMES, WRONG, ours


@pytest.fixture
def card() -> Iterator[Card]:
    with EmulatedReader.of(seeded()).open() as opened:
        yield opened


@pytest.fixture
def account(card: Card) -> ExtendedPublicKey:
    return card.extended_public_key("m/84h/0h/0h")


class TestPathsAsText:
    def test_an_extended_key(self, card: Card, account: ExtendedPublicKey) -> None:
        assert account.derive("0/5") == account.derive(Path((0, 5)))
        assert account.derive("0/5").public_key == card.public_key("m/84h/0h/0h/0/5")
        with pytest.raises(UsageError):
            account.derive("0h")

    def test_a_path(self) -> None:
        path = Path.parse("m/84h/0h/0h/1/2")
        assert path.starts_with("m/84h/0h") and not path.starts_with("m/49h")
        assert path.below("m/84h/0h/0h") == Path.parse("1/2")
        assert Path.parse("m/84h").extend("0h/0h/1/2") == path

    def test_an_origin(self) -> None:
        for path in ("m/84h/0h", "84h/0h", Path.parse("m/84h/0h")):
            assert str(KeyOrigin(bytes(4), path)) == "[00000000/84h/0h]"
            assert KeyOrigin(bytes(4), path) == KeyOrigin.parse("[00000000/84h/0h]")

    @pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
    def test_what_is_none(self, account: ExtendedPublicKey, wrong: object) -> None:
        path = Path.parse("m/84h")
        for call in (account.derive, path.starts_with, path.below, path.extend, path.child, account.child):
            ours(lambda call=call: call(wrong))  # type: ignore[misc]
        for origin in (lambda: KeyOrigin(wrong, path), lambda: KeyOrigin(bytes(4), wrong)):  # type: ignore[arg-type]
            ours(lambda origin=origin: str(origin()))  # type: ignore[misc]

    @pytest.mark.parametrize("number", [-1, HARDENED, 1 << 32])
    def test_children_that_are_none(self, account: ExtendedPublicKey, number: int) -> None:
        for call in (account.child, account.child_public_key):
            with pytest.raises(UsageError):
                call(number)


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
def test_a_card_of_something_else(wrong: object) -> None:
    with pytest.raises(UsageError):
        Card(wrong)  # type: ignore[arg-type]
    transport = EmulatedReader.of(seeded()).connect().transport
    if wrong is not None:
        with pytest.raises(UsageError):
            Card(transport, pairing_keys=wrong)  # type: ignore[arg-type]


class Kept:
    """A store that gives back what it was not given."""

    def __init__(self, key: object) -> None:
        self.key = key

    def pairing_key(self, serial: int) -> bytes | None:
        return self.key  # type: ignore[return-value]

    def keep_pairing_key(self, serial: int, key: bytes | None) -> None:
        raise AssertionError


@pytest.mark.parametrize("key", ["x" * 32, bytes(31), 5, b""])
def test_a_store_that_gives_no_key(key: object) -> None:
    card = EmulatedReader.of(seeded()).connect()
    with Card(card.transport, pairing_keys=Kept(key)) as other, pytest.raises(UsageError):
        other.open_channel()


@pytest.mark.parametrize("wrong", WRONG, ids=NAMES)
def test_certificates_and_answers(card: Card, wrong: object) -> None:
    certificate = card.read_certificate()
    for call in (
        CardCertificate.parse,
        AppletInfo.parse,
        TrustAnchors.builtin().judge,
        lambda value: certificate.verify(value, b""),
        lambda value: certificate.verify(b"", value),
    ):
        ours(lambda call=call: call(wrong))  # type: ignore[misc]


def test_an_address_of_many_digits() -> None:
    with pytest.raises(UsageError):
        parse_address("localhost:" + "1" * 5000)


def test_memory_that_is_gone(card: Card) -> None:
    gone = memoryview(bytes(32))
    gone.release()
    sent = len(apdus(card))
    with pytest.raises(UsageError):
        card.sign(gone, PIN)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        card.derive("m", curve=HUGE)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        card.open_channel(index=0.0)  # type: ignore[arg-type]
    assert len(apdus(card)) == sent


def test_a_list_is_no_digest(card: Card) -> None:
    """It would be sent as one, one byte too long."""
    sent = len(apdus(card))
    for digest in ([bytes(32)], (bytes(32),), [bytes(32)] * 2):
        with pytest.raises(UsageError):
            card.authorize_digest(UserKeySlot.EC, digest, b"signature")  # type: ignore[arg-type]
    assert len(apdus(card)) == sent


def test_swapped_arguments_do_not_show_a_puk(card: Card) -> None:
    """Path and PUK are both text; who swaps them finds no PUK in the log."""
    for path in ("m/43h/60h/1581h/0", "m/43h/60h"):
        with pytest.raises(UsageError) as caught:
            card.set_pinless_path(PUK, path)
        assert PUK not in str(caught.value)
    assert apdus(card)[-1][1] != 0xC1


def test_a_slot_by_its_number(card: Card) -> None:
    assert not card.info.has_user_key(1)  # type: ignore[arg-type]
    for wrong in WRONG:
        with pytest.raises(UsageError):
            card.info.has_user_key(wrong)  # type: ignore[arg-type]
