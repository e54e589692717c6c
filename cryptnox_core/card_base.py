"""What the groups of `Card`'s methods need of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from cryptnox_core.commands.base import Command
from cryptnox_core.models import AppletInfo, CardCertificate
from cryptnox_core.wire import StatusFlag, UserKeyFlag, UserKeySlot

T = TypeVar("T")


class CardBase(ABC):
    """The conversation, as `CardKeys` and `CardAdmin` use it; `Card` implements it."""

    _random: Callable[[int], bytes]
    _info: AppletInfo | None
    _authorised: tuple[bytes, ...] = ()
    """Digests that a user key has unlocked in this channel, and that are not signed yet. A SIGN without PIN that the
    card does not expect costs a PIN try."""

    @abstractmethod
    def run(self, command: Command[T]) -> T:
        """Send one command and return its decoded answer."""

    @abstractmethod
    def select(self) -> AppletInfo:
        """SELECT."""

    @abstractmethod
    def _ensure_selected(self) -> None:
        """SELECT, unless this session has."""

    @abstractmethod
    def session_key(self, known: Sequence[CardCertificate] = ()) -> bytes:
        """The session's P-256 key, its signature checked."""

    @property
    @abstractmethod
    def info(self) -> AppletInfo:
        """What the latest SELECT said."""

    @abstractmethod
    def _keep_pairing_key(self, key: bytes) -> None:
        """The card has another pairing key now: into the store, where there is one."""

    # Keep `info` true after a command that the card accepted and that the next SELECT would show.

    def _note(self, flag: StatusFlag, on: bool) -> None:
        if self._info is not None:
            self._info = replace(self._info, flags=self._info.flags | flag if on else self._info.flags & ~flag)

    def _note_user_key(self, slot: UserKeySlot, there: bool) -> None:
        if self._info is not None:
            flag, keys = UserKeyFlag[slot.name], self._info.user_keys
            self._info = replace(self._info, user_keys=keys | flag if there else keys & ~flag)

    def _note_custom(self, content: bytes) -> None:
        if self._info is not None:
            self._info = replace(self._info, custom=content)
