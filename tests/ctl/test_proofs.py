"""A PUK proved by use."""

from __future__ import annotations

import pytest

from cryptnox_core.errors import NotAuthenticatedError, StatusWordError, UsageError
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.faults.irreversible import is_puk
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess


def test_the_puk_and_another(card: EmulatorProcess) -> None:
    """Nothing is spent or changed; the channel is open as before, and nothing is verified in it."""
    way = Access(Settings(), State())
    found = way.open(card.path)
    try:
        found.card.verify_pin(PIN)
        assert is_puk(way, found, PUK)
        with pytest.raises((NotAuthenticatedError, StatusWordError)):
            found.card.master_fingerprint()
        assert not is_puk(way, found, "000000000001")
        found.card.verify_pin(PIN)
        assert len(found.card.master_fingerprint()) == 4
        with pytest.raises(UsageError):
            is_puk(way, found, "short")
    finally:
        found.close()
    stats = card.stats()
    assert (stats["pin_tries"], stats["puk_tries"]) == (0, 0)


def test_under_an_own_pairing_key(bare: EmulatorProcess) -> None:
    """The channel afterwards is that of the card's own key."""
    state = State()
    way = Access(Settings(), state)
    found = way.open(bare.path)
    key = bytes(range(32))
    try:
        state.keep_pairing_key(found.card.serial, key)
        found.card.change_pairing_key(key, puk=PUK)
        assert is_puk(way, found, PUK)
        assert found.card.channel_open
    finally:
        found.close()


def test_a_card_without_the_index() -> None:
    """Neither right nor wrong: the refusal is told as it is."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", "sw:6A86@10:2") as card:
        way = Access(Settings(), State())
        found = way.open(card.path)
        try:
            with pytest.raises(StatusWordError) as caught:
                is_puk(way, found, PUK)
            assert caught.value.sw == 0x6A86
        finally:
            found.close()
