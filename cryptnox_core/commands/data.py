"""Card info, user data, custom bytes, history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core import wire
from cryptnox_core.apdu import CommandApdu
from cryptnox_core.arguments import number, octets
from cryptnox_core.commands.base import Command, Meaning, StatusCommand, apdu
from cryptnox_core.errors import NotFoundError, UsageError
from cryptnox_core.models import CardInfo, HistoryEntry
from cryptnox_core.wire import Ins, Sw

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


def _page(page: int, nft_slot: int | None) -> int:
    """A page number, 0 to 2, beside a slot that exists; else UsageError."""
    if not 0 <= number(page, "a page") < wire.USER_DATA_PAGES:
        raise UsageError(f"user data has {wire.USER_DATA_PAGES} pages")
    if nft_slot is not None and not 0 <= number(nft_slot, "a slot") < wire.NFT_DATA_SLOTS:
        raise UsageError(f"an NFT card has {wire.NFT_DATA_SLOTS} slots of user data, from 0")
    return page


@dataclass(frozen=True, slots=True)
class ReadUserData(Command[bytes]):
    """READ DATA: one page of user data, up to 1200 bytes.

    On the wire: 00 and the page from 1. On NFT cards: slot + 1, and the page from 0.
    Requires: the PIN verified.
    Raises: NotFoundError for an unused one.
    """

    page: int
    """0 to 2."""
    nft_slot: int | None = None
    """0 to 3 on NFT cards; None on others."""

    ins: ClassVar[Ins] = Ins.READ_DATA
    plain_read: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = _EMPTY

    def encode(self) -> CommandApdu:
        page = _page(self.page, self.nft_slot)
        if self.nft_slot is None:
            return apdu(self.ins, 0, page + 1, long_answer=True)
        return apdu(self.ins, self.nft_slot + 1, page, long_answer=True)

    def decode(self, data: bytes) -> bytes:
        return bytes(data[: wire.USER_DATA_PAGE])


@dataclass(frozen=True, slots=True)
class WriteUserData(StatusCommand):
    """WRITE DATA: one page of user data, up to 1200 bytes; as `ReadUserData`, but the page counts from 0 on all cards.

    Requires: the PIN verified; pages written in order.
    """

    page: int
    content: bytes = field(repr=False)
    nft_slot: int | None = None

    ins: ClassVar[Ins] = Ins.WRITE_DATA

    def encode(self) -> CommandApdu:
        page, content = _page(self.page, self.nft_slot), octets(self.content, "user data")
        if len(content) > wire.USER_DATA_PAGE:
            raise UsageError(f"a page of user data has at most {wire.USER_DATA_PAGE} bytes, not {len(content)}")
        return apdu(self.ins, 0 if self.nft_slot is None else self.nft_slot + 1, page, content)


@dataclass(frozen=True, slots=True)
class WriteCustomBytes(StatusCommand):
    """WRITE DATA 01: the 16 custom bytes, public in every SELECT. Requires the PIN verified."""

    content: bytes

    ins: ClassVar[Ins] = Ins.WRITE_DATA

    def encode(self) -> CommandApdu:
        return apdu(self.ins, 1, 0, octets(self.content, "the custom field", wire.CUSTOM_BYTES))


@dataclass(frozen=True, slots=True)
class GetHistory(Command[HistoryEntry | None]):
    """GET HISTORY: one entry; None, or NotFoundError, for an unused one. Requires the PIN verified."""

    slot: int
    """0, the newest, to 148."""

    ins: ClassVar[Ins] = Ins.GET_HISTORY
    meanings: ClassVar[Mapping[int, Meaning]] = _EMPTY

    def encode(self) -> CommandApdu:
        if not 0 <= number(self.slot, "a history entry") < wire.HISTORY_LENGTH:
            raise UsageError(f"the card keeps {wire.HISTORY_LENGTH} entries, numbered from 0")
        return apdu(self.ins, self.slot)

    def decode(self, data: bytes) -> HistoryEntry | None:
        return HistoryEntry.parse(data)
