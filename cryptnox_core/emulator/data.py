"""READ DATA, WRITE DATA, GET HISTORY, random numbers, and the NFT card's SIGNATURE CHECK."""

from __future__ import annotations

import hashlib

from cryptnox_core import wire
from cryptnox_core.emulator import curves
from cryptnox_core.emulator.auth import require_auth
from cryptnox_core.emulator.context import Context
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.emulator.setup import TAIL_2
from cryptnox_core.emulator.user_keys import user_key_slots
from cryptnox_core.wire import Curve, Sw, UserKeySlot

_CUSTOM = 1
"""P1 of WRITE DATA for the custom bytes."""


def read_data(ctx: Context, command: Command, data: bytes) -> bytes:
    """FA: card info, a user key, or a page. One zero byte as request data is borne."""
    require(data in (b"", b"\0"), Sw.WRONG_LENGTH)
    if command.p1 == 0 and command.p2 == 0:
        memory = ctx.memory
        return (
            bytes([memory.key_source, len(memory.name)])
            + memory.name
            + bytes([len(memory.email)])
            + memory.email
            + memory.counter.to_bytes(4, "big")
        )
    if ctx.memory.card_type == wire.CARD_TYPE_NFT:
        slot, page = command.p1 - 1, command.p2
    elif command.p1 == 0:
        slot, page = 0, command.p2 - 1
    else:
        require(command.p2 == 0 and command.p1 in user_key_slots(ctx), Sw.WRONG_PARAMETERS)
        require_auth(ctx)
        key = ctx.memory.user_keys.get(UserKeySlot(command.p1))
        if key is None:
            raise Refusal(Sw.REFERENCED_DATA_NOT_FOUND)
        return key.text + key.key
    require(0 <= slot < wire.NFT_DATA_SLOTS and page < wire.USER_DATA_PAGES, Sw.WRONG_PARAMETERS)
    require_auth(ctx)
    content = ctx.memory.slot_data(slot)[page * wire.USER_DATA_PAGE : (page + 1) * wire.USER_DATA_PAGE]
    require(bool(content) or not ctx.reads(Reading.PAGE_6B00), Sw.WRONG_PARAMETERS)
    return content


def write_data(ctx: Context, command: Command, data: bytes) -> bytes:
    """FC: a page, only behind full ones, which ends the user data; or the custom bytes.

    On an NFT card P1 is a slot of user data, from 1, as the vendor's SDK sends it; 16 bytes for the first page of the
    first one are the custom bytes, which the SDK sends so as well.
    """
    is_nft = ctx.memory.card_type == wire.CARD_TYPE_NFT
    slots = range(1, wire.NFT_DATA_SLOTS + 1) if is_nft else (0, _CUSTOM)
    require(command.p1 in slots and command.p2 < wire.USER_DATA_PAGES, Sw.WRONG_P1P2)
    require_auth(ctx)
    is_custom = command.p1 == _CUSTOM
    if is_custom and is_nft:
        is_custom = command.p2 == 0 and len(data) == wire.CUSTOM_BYTES
    if is_custom:
        require(command.p2 == 0, Sw.WRONG_P1P2)
        with_tail = ctx.reads(Reading.SELECT_V2) and len(data) == wire.CUSTOM_BYTES + len(TAIL_2)
        require(len(data) == wire.CUSTOM_BYTES or with_tail, Sw.WRONG_LENGTH)
        ctx.memory.custom = data
        return b""
    require(0 < len(data) <= wire.USER_DATA_PAGE, Sw.WRONG_LENGTH)
    start = command.p2 * wire.USER_DATA_PAGE
    slot = command.p1 - 1 if is_nft else 0
    content = ctx.memory.slot_data(slot)
    require(len(content) >= start, Sw.CONDITIONS)
    ctx.memory.set_slot_data(slot, content[:start] + data)
    return b""


def get_history(ctx: Context, command: Command, data: bytes) -> bytes:
    """FB: counter and hash, newest first; an unused slot is all zero."""
    require(command.p1 < wire.HISTORY_LENGTH and command.p2 == 0, Sw.WRONG_P1P2)
    require(not data, Sw.WRONG_LENGTH)
    require_auth(ctx)
    if command.p1 >= len(ctx.memory.history):
        return bytes(4 + wire.DIGEST_LENGTH)
    counter, digest = ctx.memory.history[command.p1]
    return counter.to_bytes(4, "big") + digest


def generate_random(ctx: Context, command: Command, data: bytes) -> bytes:
    """D3: P1 bytes, 16 to 64, a multiple of 4."""
    size = command.p1
    fits = wire.RANDOM_MIN <= size <= wire.RANDOM_MAX and size % wire.RANDOM_MULTIPLE == 0
    require(fits and command.p2 == 0, Sw.WRONG_P1P2)
    require(not data, Sw.WRONG_LENGTH)
    return ctx.random(size)


def signature_check(ctx: Context, command: Command, data: bytes) -> bytes:
    """F8 01 on an NFT card: `CR`, nonce, 17 random bytes, a zero byte, and the key's signature over it; not counted."""
    require(command.p2 == 0, Sw.WRONG_P1P2)
    require(len(data) == wire.SIGNATURE_CHECK_NONCE, Sw.DATA_INVALID)
    node = ctx.cursor(Curve.K1).current
    filler = wire.SIGNATURE_CHECK_MESSAGE - len(wire.SIGNATURE_CHECK_TAG) - wire.SIGNATURE_CHECK_NONCE - 1
    message = wire.SIGNATURE_CHECK_TAG + data + ctx.random(filler) + b"\0"
    return message + curves.ecdsa(Curve.K1, node.key, hashlib.sha256(message).digest())
