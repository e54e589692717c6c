"""wallets.json: what is kept of registered wallets, and as safely as everything else."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path

import pytest

from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.storage.state import State, StateError
from hwilib_cryptnox.storage.wallets import FILE, StoredWallet, WalletStore, name_key

CARD, OTHER = b"\xdc\x2c\xa4\xb2", b"\x46\xdf\xa9\x62"
DAY = "2026-11-26"
SIGNED = b"\x01" + bytes(64)


@pytest.fixture
def store(state: State) -> WalletStore:
    return WalletStore(state)


def test_reading_makes_nothing(store: WalletStore, state: State) -> None:
    assert store.all() == [] and store.get("Family") is None and not state.folder.exists()


def test_a_wallet_comes_back(store: WalletStore, state: State) -> None:
    first = store.add("Family", "wsh(a)#1", CARD, DAY)
    second = store.add("Für uns", "wsh(b)#2", OTHER, DAY, SIGNED)
    assert first == StoredWallet("Family", "wsh(a)#1", {CARD: None}, DAY)
    assert WalletStore(State()).all() == [first, second]
    assert store.get("family") == first and store.get("FU\u0308R UNS") == second
    assert second.cards == {OTHER: SIGNED}
    path = state.folder / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(state.folder.stat().st_mode) == 0o700
    assert set(json.loads(path.read_text())) == {"version", "wallets"}


def test_what_is_there_is_not_added_again(store: WalletStore) -> None:
    store.add("Family", "wsh(a)#1", CARD, DAY)
    for name, descriptor, reason in (
        ("FAMILY", "wsh(b)#2", "another wallet named"),
        ("\uff26amily", "wsh(b)#2", "another wallet named"),
        ("Other", "wsh(a)#1", 'is registered as "Family"'),
        ("Family", "wsh(a)#1", "registered with this card"),
        ("family", "wsh(a)#1", "registered with this card"),
    ):
        with pytest.raises(BadRequestError, match=reason):
            store.add(name, descriptor, CARD, DAY)
    assert [wallet.name for wallet in store.all()] == ["Family"]


def test_two_cards_of_one_wallet(store: WalletStore) -> None:
    store.add("Family", "wsh(a)#1", CARD, DAY)
    both = store.add("family", "wsh(a)#1", OTHER, "2027-01-01", SIGNED)
    assert both == StoredWallet("Family", "wsh(a)#1", {CARD: None, OTHER: SIGNED}, DAY)
    signed = store.add("Family", "wsh(a)#1", CARD, DAY, SIGNED)
    assert signed.cards == {CARD: SIGNED, OTHER: SIGNED} and store.all() == [signed]


def test_remove(store: WalletStore) -> None:
    wallet = store.add("Family", "wsh(a)#1", CARD, DAY)
    store.add("Other", "wsh(b)#2", CARD, DAY)
    assert store.remove("nobody") is None and store.remove("FAMILY") == wallet
    assert [one.name for one in store.all()] == ["Other"] and store.remove("Family") is None
    store.add("Family", "wsh(a)#1", CARD, DAY)


ENTRY = {"name": "x", "descriptor": "d", "added": DAY, "cards": {CARD.hex(): None}}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"version": 2, "wallets": []}',
        '{"version": 1, "wallets": {}}',
        '{"version": 1, "wallets": [5]}',
        json.dumps({"version": 1, "wallets": [{**ENTRY, "name": 5}]}),
        json.dumps({"version": 1, "wallets": [{**ENTRY, "cards": {}}]}),
        json.dumps({"version": 1, "wallets": [{**ENTRY, "cards": {"zz": None}}]}),
        json.dumps({"version": 1, "wallets": [{**ENTRY, "cards": {"00": None}}]}),
        *[
            json.dumps({"version": 1, "wallets": [{**ENTRY, "cards": {CARD.hex(): made}}]})
            for made in (5, 0, "", False, [], {}, "00", "00" * 66)
        ],
        json.dumps({"version": 1, "wallets": [ENTRY, {**ENTRY, "name": "X"}]}),
    ],
)
def test_damage_is_an_error_and_loses_nothing(store: WalletStore, state: State, content: str) -> None:
    state.folder.mkdir(parents=True)
    path = state.folder / FILE
    path.write_text(content)
    with pytest.raises(StateError, match=r"wallets\.json"):
        store.all()
    with pytest.raises(StateError, match=r"wallets\.json"):
        store.add("Family", "wsh(a)#1", CARD, DAY)
    with pytest.raises(StateError, match=r"wallets\.json"):
        store.remove("x")
    assert path.read_text() == content


def test_links_are_refused(store: WalletStore, state: State, tmp_path: Path) -> None:
    state.folder.mkdir(parents=True)
    target = tmp_path / "target"
    target.write_text('{"version": 1, "wallets": []}')
    (state.folder / FILE).symlink_to(target)
    with pytest.raises(StateError, match="symbolic link"):
        store.all()


def test_many_writers(store: WalletStore) -> None:
    def work(number: int) -> None:
        WalletStore(State()).add(f"wallet {number}", f"wsh({number})", CARD, DAY)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wallet.name for wallet in store.all()) == [f"wallet {number}" for number in range(8)]


def test_name_key() -> None:
    assert name_key("Stra\u00dfe") == name_key("STRASSE") != name_key("Strasse 2")
