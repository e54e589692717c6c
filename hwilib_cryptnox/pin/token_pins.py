"""The PINs of tokens whose keys approve signatures. A token locks after few wrong ones, so the rules of card PINs hold:

1. A PIN that this process saw refused is not sent to the token again.
2. With one try left nothing is sent unless the user says so.
3. CRYPTNOX_APPROVE_PIN_COMMAND is used only while the token shows no wrong PIN, and no note of a PIN with an unknown or
   bad end stands. The note is on disk before the PIN is sent. A PIN that a person types clears it.

Nothing derived from a PIN is ever stored.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping

from hwilib_cryptnox.errors import ApproverCanceledError, ApproverPinError, CanceledError
from hwilib_cryptnox.pin.approver import TokenState
from hwilib_cryptnox.pin.assuan import AssuanError, ask_pinentry
from hwilib_cryptnox.pin.sources import TITLE, PinSourceError, command_output
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import NoteKind, State, StateError, TokenNotes

COMMAND = "CRYPTNOX_APPROVE_PIN_COMMAND"
TOKEN_VARIABLE = "CRYPTNOX_TOKEN"  # noqa: S105 - a name
"""What the command finds in its environment: the token's label."""
LONGEST = 128
_HOW = "cryptnoxctl user-key test asks for it in a terminal; pinentry asks for it in a window"
_ONCE = "give the right one once: cryptnoxctl user-key test, in a terminal"

_refused: dict[str, set[str]] = {}
"""PINs this process saw refused, by token. Memory only."""


class TokenPins:
    """Gets a token's PIN and keeps account of it. `person` asks a question on the terminal and returns what was typed,
    unseen (cryptnoxctl's); without one pinentry is asked."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        person: Callable[[str], str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._notes = TokenNotes(state)
        self._person = person
        self._command = (os.environ if environment is None else environment).get(COMMAND, "")

    def __repr__(self) -> str:
        return "TokenPins()"

    def check(self, token: TokenState) -> None:
        """Raise ApproverPinError where no PIN may be sent, nor typed at the token itself."""
        if token.locked:
            raise ApproverPinError(
                f"the PIN of the token {token.label} is locked",
                0,
                hint="unlock it with the token's own tool and its PUK",
            )
        if token.last_try and not self._settings.last_try:
            raise ApproverPinError(
                f"one PIN try of the token {token.label} is left; nothing was sent",
                1,
                hint="CRYPTNOX_LAST_TRY=1 allows it",
            )

    def get(self, token: TokenState) -> str:
        """A PIN to send now; the note that it is sent is on disk. Call `accepted` or `refused` afterwards.

        Raises: ApproverPinError where none is to be had, ApproverCanceledError where the person left.
        """
        self.check(token)
        reasons = []
        if self._command:
            try:
                return self._of_command(token)
            except PinSourceError as error:
                reasons.append(str(error))
        pin = self._typed(token, reasons)
        self._check_refused(token, pin)
        with contextlib.suppress(StateError):  # a person does not repeat it by himself
            self._notes.put(token.identity, NoteKind.PENDING)
        return pin

    def accepted(self, token: TokenState) -> None:
        """The PIN was right."""
        _refused.pop(token.identity, None)
        with contextlib.suppress(StateError):  # a note that stays only keeps the command away
            self._notes.put(token.identity, None)

    def refused(self, token: TokenState, pin: str) -> None:
        """The token refused it."""
        _refused.setdefault(token.identity, set()).add(pin)
        with contextlib.suppress(StateError):  # the pending note stays as it is
            self._notes.put(token.identity, NoteKind.REFUSED)

    @staticmethod
    def _check_refused(token: TokenState, pin: str) -> None:
        if pin in _refused.get(token.identity, ()):
            raise ApproverPinError(f"this PIN was refused by the token {token.label} before", hint=_ONCE)

    def _typed(self, token: TokenState, reasons: list[str]) -> str:
        """What a person types. `reasons`: why the command gave none."""
        question = f"PIN of the token {token.label}"
        if token.low:
            question += " (a wrong one was given before)"
        try:
            typed = self._person(question) if self._person is not None else self._of_dialogue(question)
        except PinSourceError as error:
            raise ApproverPinError(
                f"the token {token.label} needs its PIN: {'; '.join([*reasons, str(error)])}",
                hint=f"{_HOW}, or set {COMMAND}",
            ) from error
        except CanceledError as error:
            raise ApproverCanceledError(str(error)) from error
        return _checked(typed, "what was typed")

    def _of_command(self, token: TokenState) -> str:
        """What the command prints. PinSourceError where it may not be used now."""
        try:
            note = self._notes.get(token.identity)
            if note is not None:
                what = "was refused" if note is NoteKind.REFUSED else "was sent without a known end"
                raise PinSourceError(f"{COMMAND} is not used, since a PIN {what} before: {_ONCE}")
            if token.low:
                raise PinSourceError(f"{COMMAND} is not used, since the token shows a wrong PIN: {_ONCE}")
            pin = _checked(command_output(COMMAND, self._command, {TOKEN_VARIABLE: token.label}), COMMAND)
            self._check_refused(token, pin)
            self._notes.put(token.identity, NoteKind.PENDING)
        except StateError as error:
            raise PinSourceError(f"{COMMAND} is not used: {error}") from error
        return pin

    def _of_dialogue(self, question: str) -> str:
        try:
            return ask_pinentry(self._settings.pinentry, TITLE, f"{question}, whose key approves signatures")
        except AssuanError as error:
            raise PinSourceError(str(error)) from error


def _checked(text: str, source: str) -> str:
    pin = text.rstrip("\r\n")
    if not 0 < len(pin.encode("utf-8", "surrogatepass")) <= LONGEST or not pin.isprintable():
        raise ApproverPinError(f"{source} is not a PIN of a token")
    return pin
