"""Card info, user data, custom bytes, history (PROTOCOL 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core.apdu import CommandApdu
from cryptnox_core.commands.base import Command, Meaning, apdu, no_data
from cryptnox_core.errors import MalformedResponseError, NotFoundError, UsageError
from cryptnox_core.models import CardInfo, HistoryEntry
from cryptnox_core.wire import CUSTOM_BYTES, HISTORY_LENGTH, USER_DATA_PAGE, USER_DATA_PAGES, Ins, Sw

_NOT_THERE: Meaning = (NotFoundError, "the card has nothing there")
_EMPTY: Mapping[int, Meaning] = {Sw.WRONG_PARAMETERS: _NOT_THERE, Sw.WRONG_P1P2: _NOT_THERE}


@dataclass(frozen=True, slots=True)
class ReadCardInfo(Command[CardInfo]):
    """READ DATA 00 00: key source, owner, signature counter."""

    ins: ClassVar[Ins] = Ins.READ_DATA
    plain_read: ClassVar[bool] = True

    def encode(self) -> CommandApdu:
        return apdu(self.ins)

    def decode(self, data: bytes) -> CardInfo:
        return CardInfo.parse(data)


@dataclass(frozen=True, slots=True)
class ReadUserData(Command[bytes]):
    """READ DATA 00 page: one page of user data, `page` 0 to 2 here, 1 to 3 on the wire. NotFoundError: unused."""

    page: int

    ins: ClassVar[Ins] = Ins.READ_DATA
    plain_read: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = _EMPTY

    def encode(self) -> CommandApdu:
        if not 0 <= self.page < USER_DATA_PAGES:
            raise UsageError(f"user data has {USER_DATA_PAGES} pages")
        return apdu(self.ins, 0, self.page + 1, long_answer=True)

    def decode(self, data: bytes) -> bytes:
        if len(data) > USER_DATA_PAGE:
            raise MalformedResponseError(f"READ DATA: a page has at most {USER_DATA_PAGE} bytes, not {len(data)}")
        return bytes(data)


@dataclass(frozen=True, slots=True)
class WriteUserData(Command[None]):
    """WRITE DATA 00 page: one page, up to 1200 bytes, `page` 0 to 2. Requires: the PIN verified; pages in order."""

    page: int
    content: bytes = field(repr=False)

    ins: ClassVar[Ins] = Ins.WRITE_DATA

    def encode(self) -> CommandApdu:
        if not 0 <= self.page < USER_DATA_PAGES or len(self.content) > USER_DATA_PAGE:
            raise UsageError(f"user data has {USER_DATA_PAGES} pages of {USER_DATA_PAGE} bytes")
        return apdu(self.ins, 0, self.page, self.content)

    def decode(self, data: bytes) -> None:
        no_data(data, "WRITE DATA")


@dataclass(frozen=True, slots=True)
class WriteCustomBytes(Command[None]):
    """WRITE DATA 01: the 16 custom bytes, public in every SELECT. Requires: the PIN verified."""

    content: bytes

    ins: ClassVar[Ins] = Ins.WRITE_DATA

    def encode(self) -> CommandApdu:
        if len(self.content) != CUSTOM_BYTES:
            raise UsageError(f"there are {CUSTOM_BYTES} custom bytes")
        return apdu(self.ins, 1, 0, self.content)

    def decode(self, data: bytes) -> None:
        no_data(data, "WRITE DATA")


@dataclass(frozen=True, slots=True)
class GetHistory(Command[HistoryEntry | None]):
    """GET HISTORY: one entry, slot 0 the newest of 149; None or NotFoundError for an unused one."""

    slot: int

    ins: ClassVar[Ins] = Ins.GET_HISTORY
    meanings: ClassVar[Mapping[int, Meaning]] = _EMPTY

    def encode(self) -> CommandApdu:
        if not 0 <= self.slot < HISTORY_LENGTH:
            raise UsageError(f"the card keeps {HISTORY_LENGTH} entries")
        return apdu(self.ins, self.slot)

    def decode(self, data: bytes) -> HistoryEntry | None:
        return HistoryEntry.parse(data)
