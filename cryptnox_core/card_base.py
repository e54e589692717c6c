"""What the groups of `Card`'s methods need of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

from cryptnox_core.commands.base import Command
from cryptnox_core.models import AppletInfo, CardCertificate
from cryptnox_core.wire import StatusFlag

T = TypeVar("T")


class CardBase(ABC):
    """The conversation, as `CardKeys` and `CardAdmin` use it; `Card` implements it."""

    _random: Callable[[int], bytes]

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
    def _note(self, flag: StatusFlag, on: bool) -> None:
        """A switch the card has accepted: `info` shows it."""

    @abstractmethod
    def _keep_pairing_key(self, key: bytes) -> None:
        """The card has another pairing key now: into the store, where there is one."""
