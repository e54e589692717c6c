"""What the program answers instead of a result, as one sentence for the person at the window."""

from __future__ import annotations

from collections.abc import Mapping

USAGE, CONNECTION, BUSY, NO_WALLET = -2, -3, -15, -18
_LONGEST = 400
"""Characters of a text that is not ours."""
_REMEDIES = {
    NO_WALLET: "Set the card up first: run cryptnoxctl setup in a terminal.",
    BUSY: "Close the other program that uses the card, then try again.",
    CONNECTION: "Put the card into the reader, then try again.",
}
"""What to do, by HWI's code, where the program's own text does not say it."""
_EXPORT_OFF_TEXT = (
    "The card gives no extended keys: xpub export is off. Run cryptnoxctl xpub on in a terminal (it needs the PUK), "
    "then try again."
)


class CardError(Exception):
    """The card or the program did not do what was asked. The text is a sentence for people."""


class ProgramError(CardError):
    """The program is missing, does not start, takes too long, or answers what it must not."""


class CanceledError(CardError):
    """The person did not agree, or left."""


class WrongPinError(CardError):
    """The card refused the PIN. `left`: how many tries are left at most, None where that is not known."""

    def __init__(self, message: str, left: int | None) -> None:
        super().__init__(message)
        self.left = left


class LastTryError(CardError):
    """One try is left, and nothing was sent."""


class LockedPinError(CardError):
    """The card takes no PIN now."""


class AbsentCardError(CardError):
    """The card is not there any more, or another one is in its place."""


def tries(left: int | None) -> str:
    """How many tries are left, as a sentence."""
    if left is None:
        return ""
    return f"{left} {'try is' if left == 1 else 'tries are'} left at most."


def sentence(text: str) -> str:
    """A text of the program as a sentence: on one line, not too long, with a capital and an end."""
    line = " ".join(text[: 8 * _LONGEST].split())
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]}..."
    if not line:
        return "The card gave no reason."
    if line[0].islower() and not line.startswith(("xpub", "cryptnoxctl", "hwi-cryptnox")):
        line = line[0].upper() + line[1:]
    return line if line[-1] in ".!?" else f"{line}."


def error_of(answer: Mapping[str, object]) -> CardError:
    """The exception for an answer with `error`."""
    code, kind, left = answer.get("code"), answer.get("kind"), answer.get("tries_left")
    left = left if isinstance(left, int) else None
    text = sentence(str(answer.get("error") or ""))
    if code == USAGE:
        return ProgramError("The program hwi-cryptnox does not know what this plugin asks for. Update both.")
    if kind == "wrong_pin":
        return WrongPinError(f"The card refused the PIN. {tries(left)}".strip(), left)
    if kind == "last_try":
        return LastTryError("One PIN try is left. The PIN was not sent.")
    if kind == "pin_locked":
        return LockedPinError(text)
    if kind == "canceled":
        return CanceledError(text)
    if kind == "export_off":
        return CardError(_EXPORT_OFF_TEXT)
    absent = kind == "no_card" or code == CONNECTION
    remedy = _REMEDIES.get(CONNECTION if absent else code if isinstance(code, int) else 0, "")
    told = f"{text} {remedy}".strip()
    return AbsentCardError(told) if absent else CardError(told)
