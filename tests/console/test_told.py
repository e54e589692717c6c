"""What a person is told of an error, and how cryptnoxctl ends with it."""

from __future__ import annotations

import errno

import pytest

from cryptnox_core import errors as card_errors
from hwilib_cryptnox import errors
from hwilib_cryptnox.console.told import told
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.psbt import RefusedInput
from hwilib_cryptnox.storage.state import StateError


def test_a_sentence_and_what_helps() -> None:
    found = told(errors.CardNotFoundError("the card 7 is not in any reader"))
    assert (found.message, found.hint) == (
        ("The card 7 is not in any reader"),
        "cryptnoxctl list shows which cards are here",
    )
    assert told(errors.PinAuthOffError()).hint.startswith("cryptnoxctl pin-auth on")
    assert told(StateError("x y")).hint.startswith("make sure that the folder is yours")


def test_how_a_pin_is_given_is_each_programs_own() -> None:
    """`hwi-cryptnox` names its options; here only the reasons are told."""
    error = errors.NoPinError(
        "CRYPTNOX_PIN_FILE: not a regular file; use --password", "CRYPTNOX_PIN_FILE: not a regular file"
    )
    assert told(error).message == "A PIN is needed: CRYPTNOX_PIN_FILE: not a regular file"
    assert told(errors.NoPinError("use --password", "")).message == "A PIN is needed"
    assert told(errors.NoPinError("no PIN on stdin")).message == "A PIN is needed: no PIN on stdin"


def test_what_is_for_people_stands_as_it_is() -> None:
    error = CtlError(Exit.INPUT, "payment.psbt: it is empty", "another file")
    assert (told(error).message, told(error).hint) == ("payment.psbt: it is empty", "another file")
    assert explain(error).exit_code is Exit.INPUT


def test_that_nothing_was_changed_can_be_left_out() -> None:
    """Where something was, before: `app.achieved` says that."""
    left = errors.LeftError()
    assert (str(left), left.said, told(left).unchanged) == (
        "Canceled; nothing was changed",
        "Canceled",
        "; nothing was changed",
    )
    other = errors.LeftError("Canceled. Nothing was signed")
    assert other.said == str(other) and told(other).unchanged == ""
    problem = explain(CtlError(Exit.SECRET, "That is not the PUK", unchanged=errors.NOTHING_CHANGED))
    assert problem.message == "That is not the PUK; nothing was changed" and problem.unchanged == errors.NOTHING_CHANGED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CardNotFoundError("x"), Exit.NO_CARD),
        (card_errors.ReaderBusyError("x"), Exit.NO_CARD),
        (errors.SoftLockedError(), Exit.SECRET),
        (errors.ExportOffError(), Exit.SECRET),
        (errors.RefusedPinError("x", 1), Exit.SECRET),
        (errors.UnknownPukError("x"), Exit.SECRET),
        (errors.BadWordsError("x"), Exit.INPUT),
        (RefusedInput(1, "x"), Exit.INPUT),
        (errors.BadRequestError("x"), Exit.USAGE),
        (errors.NoTerminalError("x"), Exit.USAGE),
        (errors.NoWalletError("x"), Exit.REFUSED),
        (errors.UnavailableError("x"), Exit.REFUSED),
        (errors.LeftError(), Exit.REFUSED),
        (KeyboardInterrupt(), Exit.REFUSED),
        (FileNotFoundError(errno.ENOENT, "there is none", "a"), Exit.USAGE),
        (OSError(errno.ENOSPC, "full"), Exit.REFUSED),
    ],
)
def test_exit_codes(error: BaseException, code: Exit) -> None:
    assert explain(error).exit_code is code
    assert explain(errors.EndedError(error, "what is true now", hint="do this")).exit_code is code
    assert explain(errors.EndedError(error, "what is true now", hint="do this")).hint == "do this"
