"""The PIN of a window: each typed PIN costs one try at most, and none that a card refused is sent to it again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwilib_cryptnox.electrum.errors import CanceledError, CardError, LastTryError, LockedPinError, WrongPinError
from hwilib_cryptnox.electrum.pins import PinMemory, RefusedPins, is_pin, with_pin

CARD = "cryptnox:1"


class Desk:
    """A person who types PINs and answers, and a card that counts."""

    def __init__(self, right: str, typed: list[str | None], *, left: int = 3, spend_last: bool = True) -> None:
        self.right, self.typed, self.left, self.spend_last = right, typed, left, spend_last
        self.sent: list[str] = []
        self.told: list[str] = []
        self.asked: list[str] = []
        self.memory, self.refused = PinMemory(), RefusedPins()

    def ask(self, why: str) -> str | None:
        self.told.append(why)
        return self.typed.pop(0) if self.typed else None

    def confirm(self, question: str) -> bool:
        self.asked.append(question)
        return self.spend_last

    def command(self, pin: str, last: bool) -> str:
        if self.left == 0:
            raise LockedPinError("blocked")
        if self.left == 1 and not last:
            raise LastTryError("one left")
        self.sent.append(pin)
        if pin != self.right:
            self.left -= 1
            raise WrongPinError("wrong", self.left) if self.left else LockedPinError("blocked")
        self.left = 3
        return "done"

    def run(self, command: Callable[[str, bool], str] | None = None) -> str:
        return with_pin(
            CARD,
            command or self.command,
            memory=self.memory,
            refused=self.refused,
            ask=self.ask,
            confirm=self.confirm,
        )


def test_asked_once_a_window() -> None:
    desk = Desk("1234", ["1234"])
    assert desk.run() == desk.run() == "done"
    assert desk.sent == ["1234", "1234"] and desk.told == [""]


def test_a_wrong_pin_is_asked_for_again_with_the_tries_left_and_never_resent() -> None:
    desk = Desk("1234", ["9999", "9999", "1234"])
    assert desk.run() == "done"
    assert desk.sent == ["9999", "1234"]
    assert desk.told[1] == "Wrong PIN. 2 tries are left at most."
    assert desk.told[2].startswith("The card refused this PIN before. It was not sent again.")


def test_a_refusal_is_remembered_over_windows() -> None:
    first = Desk("1234", ["9999", None])
    with pytest.raises(CanceledError):
        first.run()
    second = Desk("1234", ["9999", "1234"], left=2)
    second.refused = first.refused
    assert second.run() == "done" and second.sent == ["1234"]


def test_what_is_no_pin_is_not_sent() -> None:
    desk = Desk("1234", ["123", "1234567890", "12a4", "١٢٣٤", "", "1234"])
    assert desk.run() == "done" and desk.sent == ["1234"]
    assert desk.told.count("A PIN has 4 to 9 digits. Nothing was sent.") == 5


def test_the_last_try_is_spent_only_where_the_person_says_so() -> None:
    desk = Desk("1234", ["1234"], left=1, spend_last=False)
    with pytest.raises(CanceledError):
        desk.run()
    assert desk.sent == [] and len(desk.asked) == 1 and desk.memory.get(CARD) is None
    desk = Desk("1234", ["1234"], left=1)
    assert desk.run() == "done" and desk.sent == ["1234"]


def test_a_kept_pin_that_is_refused_is_forgotten() -> None:
    desk = Desk("1234", ["1234"])
    desk.run()
    desk.right, desk.typed = "5678", ["1234", "5678"]
    assert desk.run() == "done"
    assert desk.sent == ["1234", "1234", "5678"] and desk.memory.get(CARD) == "5678"


def test_a_lock_ends_it_and_forgets_the_pin() -> None:
    desk = Desk("1234", ["1234"])
    desk.run()
    desk.left = 0
    with pytest.raises(LockedPinError):
        desk.run()
    assert desk.memory.get(CARD) is None


def test_another_error_keeps_the_pin() -> None:
    """The card was taken out: the next command does not ask again."""
    desk = Desk("1234", ["1234"])
    desk.run()

    def gone(pin: str, last: bool) -> str:
        raise CardError("gone")

    with pytest.raises(CardError, match="gone"):
        desk.run(gone)
    assert desk.memory.get(CARD) == "1234"


def test_a_command_that_needs_no_pin_makes_no_refused_one_right() -> None:
    """Where there is nothing to sign the card is not asked, whatever was typed."""
    desk = Desk("1234", ["1111", None])
    with pytest.raises(CanceledError):
        desk.run()
    desk.typed = ["2222"]
    assert desk.run(lambda pin, last: "nothing to sign") == "nothing to sign" and desk.sent == ["1111"]
    desk.memory.forget()
    desk.typed = ["1111", None]
    with pytest.raises(CanceledError):
        desk.run()
    assert desk.sent == ["1111"] and desk.left == 2


def test_a_wrong_last_pin_was_refused() -> None:
    """The PUK sets a new PIN afterwards; the wrong one costs no try of that."""
    desk = Desk("1234", ["1111"], left=1)
    with pytest.raises(LockedPinError):
        desk.run()
    desk.left, desk.typed = 3, ["1111", "1234"]
    assert desk.run() == "done" and desk.sent == ["1111", "1234"]


def test_pins_are_kept_by_card_and_forgotten_after_some_time() -> None:
    now = [100.0]
    memory = PinMemory(lambda: now[0])
    memory.keep("a", "1111")
    memory.keep("b", "2222")
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == ("1111", "2222", None)
    memory.forget_unused(99.0)
    assert memory.get("a") == "1111"
    memory.forget("a")
    assert (memory.get("a"), memory.get("b")) == (None, "2222")
    now[0] = 500.0
    memory.forget_unused(300.0)
    assert memory.get("b") is None
    assert "2222" not in repr(memory)
    assert "1111" not in repr(RefusedPins())


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("1234", True), ("123456789", True), ("123", False), ("1234567890", False), ("12 34", False), ("¹²³⁴", False)],
)
def test_what_can_be_a_pin(text: str, is_one: bool) -> None:
    assert is_pin(text) is is_one


@settings(max_examples=150, deadline=None)
@given(
    typed=st.lists(st.sampled_from(["1234", "9999", "8888", "7777", "12", "6666", "5555"]), max_size=12),
    left=st.integers(1, 6),
    runs=st.integers(1, 4),
    spend=st.booleans(),
)
def test_whatever_is_typed(typed: list[str | None], left: int, runs: int, spend: bool) -> None:
    """No PIN that was refused is sent twice; without a yes a try always stays; what is no PIN never leaves."""
    desk = Desk("1234", typed, left=left, spend_last=spend)
    for _ in range(runs):
        with contextlib.suppress(CardError):
            desk.run()
    wrong = [pin for pin in desk.sent if pin != "1234"]
    assert "12" not in desk.sent
    if "1234" not in desk.sent:  # a right PIN fills the counter, and refusals count anew
        assert len(wrong) == len(set(wrong))
        assert spend or desk.left >= 1
