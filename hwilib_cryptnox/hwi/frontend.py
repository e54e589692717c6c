"""`--frontend`: `hwi-cryptnox` for programs with windows of their own, where HWI's one line of JSON says too little.

`signtx` shows what it is about to sign before it does: a line `{"review": ...}`, then it waits for a line on stdin.
`sign` signs; where the review's `high_fee` says why the fee is above a limit, `sign FEE` with the fee in satoshi does.
Any other line, and the end of stdin, cancel. While the card signs, a line `{"signing": N, "of": M}` precedes each
signature. Where a key in a token approves instead of the PIN, lines `{"touch": TEXT}` say what a person is to do, and
the card's entry of `enumerate` has `"approved": true`. The last line is HWI's answer. A line of `--stdin` may be a JSON
array of arguments, for those that hold quotation marks or line ends. Errors have a `kind` and `tries_left` beside HWI's
`error` and `code`, where there is something to be told: see `details_of`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from cryptnox_core import errors
from hwilib_cryptnox import errors as kinds
from hwilib_cryptnox.psbt import Plan
from hwilib_cryptnox.signer.review.reviewed import Signer, summary_data
from hwilib_cryptnox.signer.review.shown import grouped_notices, grouped_skipped
from hwilib_cryptnox.signer.signing import confirm
from hwilib_cryptnox.signer.wallet import Wallet

AGREED = "sign"
_MOST_ALIKE, _MOST_REASONS = 3, 5
_MOST_LINE = 4 * 1024
"""Characters of a line that may be the answer to a review."""

_KINDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((errors.WrongPinError,), "wrong_pin"),
    ((kinds.LastTryError,), "last_try"),
    ((kinds.LockedPinError, kinds.SoftLockedError, errors.PinLockedError), "pin_locked"),
    ((kinds.NoPinError,), "no_pin"),
    ((kinds.CanceledError, KeyboardInterrupt), "canceled"),
    ((kinds.ExportOffError,), "export_off"),
    ((kinds.NoWalletError, errors.NoSeedError, errors.NotInitializedError), "no_wallet"),
    ((errors.ReaderBusyError,), "busy"),
    ((kinds.CardNotFoundError, errors.TransportError), "no_card"),
)
"""What a front end does something about, by class; the first that fits."""


def details_of(error: BaseException) -> dict[str, object]:
    """`kind` of an error, where a front end is to do something about it, and `tries_left`, where a PIN was refused.
    `wrong_pin` is the PIN of this very command: it was sent, and cost a try."""
    while isinstance(error, kinds.RetoldError):
        error = error.cause
    if isinstance(error, kinds.RefusedPinError) and error.spent:
        kind: str | None = "wrong_pin"
    else:
        kind = _kind_of(error)
    details: dict[str, object] = {} if kind is None else {"kind": kind}
    left = error.left if isinstance(error, kinds.RefusedPinError | errors.WrongPinError) else None
    if isinstance(error, kinds.LastTryError):
        left = 1
    return details if left is None else {**details, "tries_left": left}


def _kind_of(error: BaseException) -> str | None:
    return next((name for classes, name in _KINDS if isinstance(error, classes)), None)


class Dialogue:
    """The dialogue of `signtx` with a front end."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet

    def approve(self, plan: Plan) -> None:
        """Show what is proved, before the first signature, and wait. CanceledError where it is not agreed to."""
        if not plan.requests:
            return
        session = self._wallet.session()
        card = Signer(session.card.serial, session.fingerprint, session.opened.simulated)
        _tell(
            {
                "review": {
                    **summary_data(plan, card),
                    "signatures": len(plan.requests),
                    "notices": [{"text": text, "grave": grave} for text, grave in grouped_notices(plan, _MOST_ALIKE)],
                    "unsigned": grouped_skipped(plan.skipped, _MOST_REASONS),
                    "high_fee": plan.high_fee,
                }
            }
        )
        wanted = AGREED if plan.high_fee is None else f"{AGREED} {plan.summary.fee}"
        if sys.stdin is None or sys.stdin.readline(_MOST_LINE).strip() != wanted:
            raise kinds.CanceledError("Canceled. Nothing was signed")
        confirm(self._wallet, plan)

    @staticmethod
    def progress(done: int, total: int) -> None:
        """Before each signature."""
        _tell({"signing": done + 1, "of": total})


def ask_touch(text: str) -> None:
    """What a person is to do at the token that approves."""
    _tell({"touch": text})


def _tell(line: Mapping[str, object]) -> None:
    """A line before the answer. CanceledError where nobody takes it: nobody would see the signatures either."""
    from hwilib_cryptnox.console.streams import deliver

    if deliver(json.dumps(line) + "\n") is not None:
        raise kinds.CanceledError("Canceled: the program that asked has ended")
