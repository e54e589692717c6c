"""The review in the window: everything that is paid, change that is proved, warnings last; what is not understood is
not signed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hwilib_cryptnox.electrum.errors import ProgramError
from hwilib_cryptnox.electrum.review import Review, bitcoin

PAYEE, CHANGE = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"


def output(amount: int, *, change: bool = False, address: str | None = PAYEE, wallet: str | None = None) -> Any:
    where = CHANGE if change else address
    return {"amount": amount, "change": change, "address": where, "script": "6a0548656c6c6f", "wallet": wallet}


def data(*outputs: Any, **more: Any) -> dict[str, Any]:
    return {
        "chain": "main",
        "card": {"serial": "72057594037927937", "fingerprint": "73c5da0a", "emulated": False},
        "wallets": [],
        "outputs": list(outputs),
        "fee": 1_000,
        "fee_rate": 7.1,
        "message": None,
        "notices": [],
        "unsigned": [],
        "high_fee": None,
        "signatures": 2,
        **more,
    }


def test_payments_change_and_fee() -> None:
    review = Review.of(data(output(60_000), output(39_000, change=True)))
    assert review.text.splitlines() == [
        "Card 72057594037927937, network main",
        "",
        "0.00060000 BTC to",
        f"    {PAYEE}",
        "Change back to this wallet, proved with the card's keys: 0.00039000 BTC",
        "Fee: 0.00001000 BTC (1,000 satoshi, 7.1 sat/vB)",
    ]
    assert CHANGE not in review.text and review.signatures == 2


def test_only_what_is_proved_is_change() -> None:
    """Anything but a plain true is a payment."""
    for claim in (False, None, 1, "true", "yes"):
        told = data({**output(39_000, change=True), "change": claim})
        assert CHANGE in Review.of(told).text and "Change back" not in Review.of(told).text


def test_warnings_come_last() -> None:
    notices = [{"text": "the fee is high", "grave": True}, {"text": "an old lock time", "grave": False}]
    review = Review.of(data(output(1), notices=notices, unsigned=["input 0: another wallet's"]))
    assert review.text.splitlines()[-3:] == [
        "Not signed: input 0: another wallet's",
        "Note: an old lock time",
        "WARNING: the fee is high",
    ]
    assert review.answer() == "sign"


def test_a_high_fee_is_typed() -> None:
    review = Review.of(data(output(1), fee=12_000_000, high_fee="the fee is 0.12 BTC"))
    assert review.warnings == ("the fee is 0.12 BTC",)
    assert review.answer("12,000,000") == review.answer(" 12000000 ") == "sign 12000000"
    for typed in ("", "12", "0.12", "sign", "12000001"):
        assert review.answer(typed) is None
    unknown = Review.of(data(output(1), fee=None, fee_rate=None, high_fee="the fee is unknown"))
    assert "Fee: unknown" in unknown.text and unknown.answer("0") is unknown.answer("None") is None


def test_many_payments_stay_short_and_sum_up() -> None:
    review = Review.of(data(*(output(amount) for amount in range(1, 101))))
    assert len(review.lines) < 40
    shown = sum(range(89, 101))
    assert f"{bitcoin(5_050 - shown)} BTC in 88 more outputs" in review.lines


def test_an_output_without_address_and_one_to_a_wallet() -> None:
    text = Review.of(data(output(5, address=None), output(7, wallet="Family"))).text
    assert "script 6a0548656c6c6f" in text and '(wallet "Family")' in text


def test_nothing_is_paid() -> None:
    assert "No payment: everything goes back to this wallet or into the fee" in Review.of(data()).text


def test_a_message() -> None:
    message = {"text": "I own this", "address": PAYEE, "script": "00", "coins": []}
    review = Review.of(data(output(0), message=message))
    assert review.text.splitlines()[2:4] == [f"Signs a message for {PAYEE}:", "I own this"]


def test_what_is_not_understood_is_not_signed() -> None:
    """Each field taken away, or of another kind, ends it before anything is agreed to."""
    whole = data(output(1), output(2, change=True), notices=[{"text": "x", "grave": True}])
    for name in whole:
        less = copy.deepcopy(whole)
        del less[name]
        with pytest.raises(ProgramError, match="nothing was signed"):
            Review.of(less)
    for broken in (None, [], "x", 5, data(output(1), notices=[{}]), data({}), data(output(1), card=None)):
        with pytest.raises(ProgramError, match="nothing was signed"):
            Review.of(broken)
