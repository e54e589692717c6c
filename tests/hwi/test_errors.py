"""Which of HWI's codes each kind of error has. (Every place that raises one is in tests/system/frozen.)"""

from __future__ import annotations

import inspect

import pytest

from cryptnox_core import errors as card_errors
from hwilib_cryptnox import errors
from hwilib_cryptnox.hwi.errors import (
    Code,
    NoDeviceTypeError,
    UnknownDeviceTypeError,
    to_hwi_error,
)
from hwilib_cryptnox.psbt import BadPsbt

FAILURES = {"WalletError", "FailedError", "TerminalError", "SetUpError", "RetoldError", "EndedError"}
"""What HWI has no better code for, and what has the code of another error."""


def kinds() -> list[type[errors.WalletError]]:
    """Every kind, whose first argument is its text or nothing."""
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.WalletError) and not issubclass(kind, errors.RetoldError)
    ]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: str(kind.__name__))
def test_every_kind_has_a_code(kind: type[errors.WalletError]) -> None:
    wanted = [one for one in inspect.signature(kind).parameters.values() if one.default is one.empty]
    error = kind(*["why" for one in wanted if one.kind is one.POSITIONAL_OR_KEYWORD])
    code, message = to_hwi_error(error)
    assert (code is Code.FAILURE) == (kind.__name__ in FAILURES)
    assert message == str(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CardNotFoundError("x"), -3),
        (errors.RefusedCardError("x"), -3),
        (errors.SoftLockedError(), -12),
        (errors.PinAuthOffError(), -12),
        (errors.ExportOffError(), -12),
        (errors.NoWalletError("x"), -18),
        (errors.AlreadyInitializedError("x"), -10),
        (errors.LeftError(), -14),
        (errors.NoTerminalError("x"), -9),
        (errors.UnavailableError("x"), -9),
        (errors.BadRequestError("x"), -7),
        (errors.RefusedPinError("x", 2), -7),
        (errors.NoPinError("x"), -6),
        (errors.FailedError("x"), -13),
        (NoDeviceTypeError("x"), -1),
        (UnknownDeviceTypeError("x"), -4),
    ],
)
def test_codes(error: errors.WalletError, code: int) -> None:
    assert to_hwi_error(error) == (code, str(error))


@pytest.mark.parametrize(
    "cause",
    [errors.NoPinError("x"), errors.LastTryError("x"), card_errors.ReaderBusyError("x"), BadPsbt("x")],
    ids=lambda cause: type(cause).__name__,
)
def test_an_error_told_anew_keeps_its_code(cause: Exception) -> None:
    once = errors.RetoldError(cause, "in other words")
    again = errors.RetoldError(once, "once more")
    assert to_hwi_error(again) == (to_hwi_error(cause).code, "once more")


def test_an_error_told_anew_keeps_what_it_cost() -> None:
    refused = errors.RefusedPinError("x", 2, spent=True)
    assert errors.RetoldError(refused, "y").spent and not errors.RetoldError(card_errors.NoCardError("x"), "y").spent


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (errors.LeftError(), -14),
        (KeyboardInterrupt(), -14),
        (errors.LastTryError("x"), -12),
        (errors.UnknownPukError("x"), -7),
        (errors.BadWordsError("x"), -7),
        (errors.SetUpError("x"), -13),
        (card_errors.CardRemovedError("x"), -3),
        (card_errors.ReaderBusyError("x"), -3),
        (card_errors.WrongPinError("x", 0x63C2, 0x20, 2), -7),
        (card_errors.UsageError("x"), -7),
        (card_errors.PairingError("x", 0x6982), -13),
        (card_errors.CertificateError("x"), -13),
        (FileNotFoundError(2, "there is none", "/dev/tty"), -7),
        (OSError(28, "full"), -13),
        (RuntimeError("x"), -13),
    ],
)
def test_the_end_of_a_set_up_goes_by_its_cause(cause: BaseException, code: int) -> None:
    ended = errors.EndedError(cause, "what is true now")
    assert to_hwi_error(ended) == (code, "what is true now")
    assert to_hwi_error(errors.RetoldError(ended, "and what to do")) == (code, "and what to do")
