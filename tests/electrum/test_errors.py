"""Every error of the program becomes one sentence, and its class says what the window does about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwilib_cryptnox.electrum.errors import (
    USAGE,
    AbsentCardError,
    CanceledError,
    CardError,
    LastTryError,
    LockedPinError,
    WrongPinError,
    error_of,
    sentence,
    tries,
)

FROZEN = Path(__file__).resolve().parents[1] / "system/frozen/hwi.jsonl"


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            {"error": "Wrong PIN, 2 tries left at most", "code": -7, "kind": "wrong_pin", "tries_left": 2},
            WrongPinError,
            "The card refused the PIN. 2 tries are left at most.",
        ),
        (
            {"error": "x", "code": -7, "kind": "wrong_pin", "tries_left": 1},
            WrongPinError,
            "The card refused the PIN. 1 try is left at most.",
        ),
        ({"error": "x", "code": -7, "kind": "wrong_pin"}, WrongPinError, "The card refused the PIN."),
        ({"error": "x", "code": -12, "kind": "last_try"}, LastTryError, "One PIN try is left. The PIN was not sent."),
        (
            {"error": "PIN blocked: unblock with the PUK", "code": -12, "kind": "pin_locked"},
            LockedPinError,
            "PIN blocked: unblock with the PUK.",
        ),
        ({"error": "Canceled", "code": -14, "kind": "canceled"}, CanceledError, "Canceled."),
        (
            {"error": "no card", "code": -3, "kind": "no_card"},
            AbsentCardError,
            "No card. Put the card into the reader, then try again.",
        ),
        ({"error": "gone", "code": -3}, AbsentCardError, "Gone. Put the card into the reader, then try again."),
        (
            {"error": "Card is in use by another program", "code": -15, "kind": "busy"},
            CardError,
            "Card is in use by another program. Close the other program that uses the card, then try again.",
        ),
        (
            {"error": "Not initialized", "code": -18},
            CardError,
            "Not initialized. Set the card up first: run cryptnoxctl setup in a terminal.",
        ),
        (
            {"error": "xpub export is off: x", "code": -12, "kind": "export_off"},
            CardError,
            "The card gives no extended keys: xpub export is off. Run cryptnoxctl xpub on in a terminal (it needs the "
            "PUK), then try again.",
        ),
        ({"error": "", "code": -13}, CardError, "The card gave no reason."),
        ({}, CardError, "The card gave no reason."),
        ({"error": "a\n  b", "code": "x", "tries_left": "9"}, CardError, "A b."),
    ],
)
def test_an_answer_is_a_sentence(answer: dict[str, object], kind: type[CardError], text: str) -> None:
    error = error_of(answer)
    assert type(error) is kind and str(error) == text


def test_a_number_of_tries_is_told_only_where_it_is_known() -> None:
    assert (tries(None), tries(1), tries(3)) == ("", "1 try is left at most.", "3 tries are left at most.")


def test_a_text_without_end_is_cut() -> None:
    told = str(error_of({"error": "x " * 5_000_000, "code": -13}))
    assert len(told) < 500 and told.endswith("...")
    assert str(error_of({"error": {"a": [1]}, "code": [], "kind": {}, "tries_left": 10**30}))


def test_commands_keep_their_small_letters() -> None:
    assert sentence("xpub export is off") == "xpub export is off."
    assert sentence("really?") == "Really?"


def test_every_error_the_program_is_known_to_give() -> None:
    """The frozen answers of all its errors: each one line, with an end, and nothing of it lost."""
    answers = [json.loads(line) for line in FROZEN.read_text("utf-8").splitlines()]
    texts = [(answer["text"], answer["code"]) for answer in answers if answer.get("text") and answer["code"] != USAGE]
    assert len(texts) > 50
    for text, code in texts:
        told = str(error_of({"error": text, "code": code}))
        assert "\n" not in told and told[-1] in ".!?"
        assert told[0] == told[0].upper() or told.startswith(("xpub", "hwi-cryptnox"))
        assert " ".join(text.split())[1:].rstrip(".") in told
