"""Cards for which only their own word speaks: somebody between reader and card can show a certificate of his own."""

from __future__ import annotations

import pytest

from cryptnox_core.card import Card
from hwilib_cryptnox.errors import NoPinError
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.pin.sources import EnvironmentSource
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.wallet import authenticate
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.core.emulated import PIN, SERIAL, EmulatedReader, EmulatedTransport, seeded

MIDDLE = SERIAL + 7
"""Its serial number: the wallet is the one of the card SERIAL."""


def use(state: State, serial: int, *, genuine: bool = False, explicit: bool = True) -> None:
    """One command on a card in a reader, which needs the PIN."""
    memory = seeded()
    memory.serial = serial
    reader = EmulatedReader.of(memory)
    card = reader.connect()
    if not genuine:
        card = Card(EmulatedTransport(reader.engine))  # the vendor's CA did not sign for it
    card.open_channel()
    sources = (EnvironmentSource(PIN),)
    unlocker = Unlocker(Settings(), state, PIN) if explicit else Unlocker(Settings(), state, sources=sources)
    authenticate(OpenCard(card, "a reader", state), unlocker)


def test_another_cards_wallet_makes_no_card_known(state: State, caplog: pytest.LogCaptureFixture) -> None:
    """It is told each time, and the card gets no PIN that a person did not give for the command."""
    use(state, SERIAL)
    assert not caplog.messages and state.record(SERIAL).static_key is not None
    for _ in range(2):
        caplog.clear()
        use(state, MIDDLE)
        (text,) = caplog.messages
        assert f"it is {MIDDLE} and holds the wallet of the card {SERIAL}" in text
        assert state.record(MIDDLE).static_key is None
        with pytest.raises(NoPinError, match="not used before"):
            use(state, MIDDLE, explicit=False)
    caplog.clear()
    use(state, SERIAL, explicit=False)
    assert not caplog.messages, "the card itself is as it was"


def test_a_genuine_second_card_is_as_good(state: State, caplog: pytest.LogCaptureFixture) -> None:
    for serial in (SERIAL, MIDDLE, SERIAL):
        use(state, serial, genuine=True)
        use(state, serial, genuine=True, explicit=False)
    assert not caplog.messages
    assert state.record(MIDDLE).static_key is not None
