"""From when on the chain takes a transaction: what is a fact, and what is warned of."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.psbt import Plan
from hwilib_cryptnox.psbt.locks import is_ahead, spans, valid_from
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.factory import spend
from tests.psbt.test_summary import make_plan, quiet

NOW = datetime(2026, 11, 27, tzinfo=timezone.utc).timestamp()
TIP = 977_000
"""About where the main chain is then: 136,800 blocks of ten minutes after the halving at 840,000."""


def plan(lock_time: int, sequence: int = 0xFFFFFFFD, **policy: object) -> Plan:
    item = replace(spend("p2wpkh"), sequence=sequence)
    return make_plan(quiet(item, lock_time=lock_time), **{"now": NOW, "chain": Chain.MAIN, **policy})


def locked(lock_time: int) -> Transaction:
    return quiet(spend("p2wpkh", sequence=0), lock_time=lock_time).tx


def told(made: Plan) -> tuple[str | None, list[str]]:
    return made.summary.valid_from, [str(notice) for notice in made.warnings]


@pytest.mark.parametrize("behind", [0, 1, 2, 50, 100, 100_000])
def test_what_wallets_write_is_a_fact(behind: int) -> None:
    """Bitcoin Core writes the latest block, or up to 100 before it, and others do as it does."""
    assert told(plan(TIP - behind)) == (f"block {TIP - behind + 1}", [])


def test_the_block_is_the_first_that_admits_it() -> None:
    """A lock time of N is final in block N + 1: Bitcoin Core's IsFinalTx compares nLockTime < height."""
    for lock in (1, 800_000, 499_999_999):
        assert valid_from(locked(lock)) == f"block {lock + 1}"


@pytest.mark.parametrize("blocks", [20_000, 52_560, 1_000_000])
def test_a_block_far_ahead_is_warned_of(blocks: int) -> None:
    text = f"block {TIP + blocks + 1}"
    assert told(plan(TIP + blocks)) == (text, [f"not valid before {text}"])


def test_test_networks_have_any_number_of_blocks() -> None:
    assert not is_ahead(locked(4_900_000), NOW, main=False)
    assert is_ahead(locked(4_900_000), NOW, main=True)
    assert is_ahead(locked(int(NOW) + 1), NOW, main=False)


def test_times() -> None:
    assert told(plan(1_700_000_000)) == ("2023-11-14 22:13:20 UTC", [])
    latest = "2106-02-07 06:28:15 UTC"
    assert told(plan(0xFFFFFFFF)) == (latest, [f"not valid before {latest}"])
    assert told(plan(int(NOW)))[1] == []
    assert told(plan(int(NOW) + 1))[1] != []


def test_no_effect() -> None:
    """Consensus looks at a lock time only where some input's sequence is not the last one."""
    assert told(plan(TIP + 1_000_000, 0xFFFFFFFF)) == (None, [])
    assert told(plan(0)) == (None, [])


def test_without_a_clock_every_lock_is_warned_of() -> None:
    assert told(plan(TIP, now=None))[1] == [f"not valid before block {TIP + 1}"]


def test_a_clock_that_is_wrong() -> None:
    """One that is far behind warns too often."""
    assert is_ahead(locked(TIP), 0.0, main=True)
    assert not is_ahead(locked(839_999), 0.0, main=True)


def test_ages_of_outputs() -> None:
    tx = quiet(replace(spend("p2wpkh"), sequence=(1 << 22) + 2)).tx
    assert list(spans(tx)) == [(0, "1024 seconds")]
    assert list(spans(replace(tx, version=(1).to_bytes(4, "little")))) == []
    assert told(plan(0, 144))[1] == ["input 0 is not valid before its output is 144 blocks old"]
