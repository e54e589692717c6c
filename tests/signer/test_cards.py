"""Which of several cards is meant where nobody names one, and how one card stands in the way of no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryptnox_core.discovery import open_card
from cryptnox_core.errors import PinLockedError
from hwilib_cryptnox.errors import NO_PIN_NOW_TEXT, SOFT_LOCKED_TEXT
from hwilib_cryptnox.signer.cards import Access, ForeignCardError
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import MNEMONIC, PIN, SEED, Program
from tests.support.pcsc import ANOTHER_CARD, SLOTS, VirtualReaders, sharing, soft_locked

pytestmark = pytest.mark.pcsc

OTHER_PIN = "7777"
OTHER = ("--mnemonic", MNEMONIC, "--pin", OTHER_PIN, "--xpub-export", "--serial", str(2**60 + 7))
OTHER_FPR = "73c5da0a"


def test_a_poller_leaves_other_cards_as_they_are(virtual_readers: VirtualReaders, hwi: Program, state: State) -> None:
    """What another program has open there goes on: a card of OpenSC's that approves signatures, for instance. A reader
    that the settings name is not touched, nor is one that is a token itself."""
    with virtual_readers.card(*OTHER, unlike=ANOTHER_CARD) as card, sharing(SLOTS[0]) as alive:
        assert hwi("enumerate") == [] and card.stats()["apdus"] > 0
        assert "error" in hwi("-t", "cryptnox", "getmasterxpub")
        assert alive()
        before = card.stats()["apdus"]
        for settings, reader in (
            (Settings(leave_readers=("virtual pcd 00 00",)), SLOTS[0]),
            (Settings(), "Yubico YubiKey OTP+FIDO+CCID 00 00"),
        ):
            with pytest.raises(ForeignCardError):
                Access(settings, state).connect(reader, 2)
        assert card.stats()["apdus"] == before


def test_a_card_of_ours_is_reset_all_the_same(virtual_readers: VirtualReaders, hwi: Program) -> None:
    """So that no verified PIN stays behind for another program."""
    with virtual_readers.card(*OTHER), sharing(SLOTS[0]) as alive:
        assert len(hwi("enumerate")) == 1
        assert not alive()


def test_the_first_card_with_a_seed(virtual_readers: VirtualReaders, hwi: Program) -> None:
    """An empty card in an earlier reader is in nobody's way."""
    with virtual_readers.card(slot=0), virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export", slot=1):
        assert "xpub" in hwi("-t", "cryptnox", "-p", PIN, "getmasterxpub")


def test_an_empty_card_alone_is_named(virtual_readers: VirtualReaders, hwi: Program) -> None:
    with virtual_readers.card(slot=0):
        assert hwi("-t", "cryptnox", "-p", PIN, "getmasterxpub")["code"] == -18


def test_a_refusal_that_locks_a_card_ends_the_search(
    virtual_readers: VirtualReaders, hwi: Program, state: State
) -> None:
    """Where the counter shows the tries of a session the last refusal is 63C0, no count: a try all the same."""
    first = ("--seed", SEED, "--reading", "tries-min")
    with virtual_readers.card(*first, slot=0) as locked, virtual_readers.card(*OTHER, slot=1) as other:
        path = f"cryptnox:{locked.serial}"
        for _ in range(5):
            assert hwi("-t", "cryptnox", "-d", path, "-p", OTHER_PIN, "getmasterxpub")["code"] == -7
        state.forget()  # its note would put it last
        search = ("-f", OTHER_FPR, "-p", OTHER_PIN, "getmasterxpub")
        answer = hwi(*search, env={"CRYPTNOX_LAST_TRY": "1"})
        assert answer["code"] == -12 and NO_PIN_NOW_TEXT in answer["error"]
        assert f"on the card {locked.serial}" in answer["error"]
        assert locked.stats()["pin_tries"] == 6
        assert "20" not in other.stats()["by_ins"], "the other card got no PIN, nor a question about it"
        assert "xpub" in hwi(*search), "the next search asks the other one first"


def test_a_locked_card_ends_the_sending_of_a_list(virtual_readers: VirtualReaders, hwi: Program) -> None:
    """Its counter looks full, and yet it takes no PIN: what was sent there is not sent on."""
    with virtual_readers.card("--seed", SEED, slot=0) as locked, virtual_readers.card(*OTHER, slot=1) as other:
        with soft_locked(0):
            found = {entry["path"]: entry for entry in hwi("-p", OTHER_PIN, "enumerate")}
        first, second = found[f"cryptnox:{locked.serial}"], found[f"cryptnox:{other.serial}"]
        assert first["code"] == -12 and first["error"] == NO_PIN_NOW_TEXT
        assert second["code"] == -12 and "another card refused the PIN just now" in second["error"]
        assert "20" not in other.stats()["by_ins"]
        assert hwi("-t", "cryptnox", "-d", f"cryptnox:{other.serial}", "-p", OTHER_PIN, "getmasterxpub")["xpub"]


@pytest.mark.parametrize("fault", ["remove@F8:1", "sw:6F00@F8:1", "garbage@F8:1"])
def test_another_cards_troubles_stop_nobody(virtual_readers: VirtualReaders, hwi: Program, fault: str) -> None:
    first = ("--seed", SEED, "--fault", fault)
    with virtual_readers.card(*first, slot=0), virtual_readers.card(*OTHER, slot=1) as other:
        path = f"cryptnox:{other.serial}"
        assert "xpub" in hwi("-t", "cryptnox", "-d", path, "-p", OTHER_PIN, "getmasterxpub")


def test_a_card_that_is_refused_stops_nobody(virtual_readers: VirtualReaders, hwi: Program, state: State) -> None:
    """Its serial was another card's: it is named only where it is the one that is wanted."""
    with virtual_readers.card("--seed", SEED, slot=0) as refused, virtual_readers.card(*OTHER, slot=1) as other:
        state.update(refused.serial, lambda now: replace(now, static_key=bytes(32)))
        command = ("-p", OTHER_PIN, "getmasterxpub")
        assert "xpub" in hwi("-t", "cryptnox", "-d", f"cryptnox:{other.serial}", *command)
        answer = hwi("-t", "cryptnox", "-d", f"cryptnox:{refused.serial}", *command)
        assert answer["code"] == -3 and "another card with the serial" in answer["error"]


def test_a_locked_card_hides_no_other(virtual_readers: VirtualReaders, hwi: Program, state: State) -> None:
    """It answers 6985 to everything, so nobody knows which one it is: only where no other fits it is the reason."""
    first = ("--seed", SEED, "--xpub-export", "--reading", "softlock-6985")
    with virtual_readers.card(*first, slot=0) as locked, virtual_readers.card(*OTHER, slot=1) as other:

        def heal() -> None:
            path = f"cryptnox:{locked.serial}"
            assert "xpub" in hwi("-t", "cryptnox", "-d", path, "-p", PIN, "getmasterxpub")
            state.forget()

        for select in (["-f", OTHER_FPR], ["-t", "cryptnox"], ["-t", "cryptnox", "-d", f"cryptnox:{other.serial}"]):
            with soft_locked(0):
                assert "xpub" in hwi(*select, "-p", OTHER_PIN, "getmasterxpub"), select
            heal()
        with soft_locked(0), open_card(other.serial) as card:
            assert card.serial == other.serial
        heal()
        missing = {"error": SOFT_LOCKED_TEXT, "code": -12}
        for select in (["-f", "01020304"], ["-t", "cryptnox", "-d", "cryptnox:5"]):
            with soft_locked(0):
                assert hwi(*select, "-p", OTHER_PIN, "getmasterxpub") == missing
            heal()
        with soft_locked(0), pytest.raises(PinLockedError):
            open_card(5)
