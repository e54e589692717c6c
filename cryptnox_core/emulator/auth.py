"""PIN and PUK of the emulated card, and the commands about them."""

from __future__ import annotations

import hmac

from cryptnox_core import wire
from cryptnox_core.emulator.context import Auth, Context
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import SecretKind, Sw


def set_auth(ctx: Context, auth: Auth) -> None:
    """Only one kind of authentication holds at a time: PIN commands and user-key SIGN exclude each other."""
    ctx.selection.auth = auth
    ctx.selection.hashes.clear()


def require_auth(ctx: Context) -> None:
    """Refuses 6985 unless a PIN or a challenge-response opened the PIN commands."""
    require(ctx.selection.auth in (Auth.PIN, Auth.USER_KEY), Sw.CONDITIONS)


def is_pin_field(field: bytes) -> bool:
    """Nine bytes: 4 to 9 digits, then zero bytes."""
    digits = field.rstrip(b"\0")
    return len(field) == wire.PIN_FIELD and len(digits) >= wire.PIN_MIN and digits.isdigit()


def pin_locked(ctx: Context) -> bool:
    """No PIN is looked at: three wrong ones in this power-up, or six in all."""
    return ctx.power.pin_tries == 0 or ctx.memory.pin_tries == 0


def soft_locked(ctx: Context) -> bool:
    """A power cycle is wanted."""
    return ctx.power.pin_tries == 0 and ctx.memory.pin_tries > 0


def pin_tries_left(ctx: Context) -> int:
    """The number the card shows: in all, or the smaller one under `tries-min`."""
    if ctx.reads(Reading.TRIES_MIN):
        return min(ctx.power.pin_tries, ctx.memory.pin_tries)
    return ctx.memory.pin_tries


def check_pin(ctx: Context, field: bytes, *, always: bool = False) -> None:
    """Compare a PIN. A wrong one costs a try and drops every authentication (63Cx).

    6986 with PIN authentication off, but for `always`.
    """
    require(ctx.memory.pin_auth or always, Sw.NOT_ALLOWED)
    if pin_locked(ctx):
        raise Refusal(Sw.TRIES_LEFT)
    if not hmac.compare_digest(field, ctx.memory.pin):
        ctx.power.pin_tries -= 1
        ctx.memory.pin_tries -= 1
        ctx.counters.pin_tries += 1
        set_auth(ctx, Auth.NONE)
        raise Refusal(Sw.TRIES_LEFT | pin_tries_left(ctx))
    ctx.power.pin_tries = wire.PIN_TRIES_SESSION
    ctx.memory.pin_tries = wire.PIN_TRIES_TOTAL
    set_auth(ctx, Auth.PIN)


def take_pin(ctx: Context, data: bytes) -> bytes:
    """Data without the PIN at its end, which is checked; with a user key authenticated there is none.

    Refuses 6A80 when the data is too short to hold a PIN. Whatever stands in the last nine bytes is taken for it.
    """
    if ctx.selection.auth is Auth.USER_KEY:
        return data
    require(len(data) >= wire.PIN_FIELD, Sw.WRONG_DATA)
    check_pin(ctx, data[-wire.PIN_FIELD :])
    return data[: -wire.PIN_FIELD]


def check_puk(ctx: Context, puk: bytes, *, sw: int | None = None) -> None:
    """Compare a PUK; twelve tries a power-up. `sw` replaces the status word of a refusal."""
    if ctx.power.puk_tries == 0:
        raise Refusal(_puk_sw(ctx) if sw is None else sw)
    if not hmac.compare_digest(puk, ctx.memory.puk):
        ctx.power.puk_tries -= 1
        ctx.counters.puk_tries += 1
        raise Refusal(_puk_sw(ctx) if sw is None else sw)
    ctx.power.puk_tries = wire.PUK_TRIES_SESSION


def _puk_sw(ctx: Context) -> int:
    if ctx.reads(Reading.PUK_9840):
        return Sw.PUK_TRIES_LEFT
    base = Sw.PUK_TRIES_LEFT if ctx.reads(Reading.PUK_984X) else Sw.TRIES_LEFT
    return base | ctx.power.puk_tries


def _replace_pin(ctx: Context, field: bytes) -> None:
    """A new PIN is verified with full tries, unless PIN authentication is off."""
    ctx.memory.pin = field
    ctx.memory.pin_tries = wire.PIN_TRIES_TOTAL
    ctx.power.pin_tries = wire.PIN_TRIES_SESSION
    if ctx.memory.pin_auth:
        set_auth(ctx, Auth.PIN)


def verify_pin(ctx: Context, command: Command, data: bytes) -> bytes:
    """20: 4 to 9 digits, padded or not; empty asks for the tries left."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(ctx.memory.pin_auth, Sw.NOT_ALLOWED)
    if not data:
        left = pin_tries_left(ctx)
        if ctx.reads(Reading.PIN_QUERY_SW):
            raise Refusal(Sw.TRIES_LEFT | left)
        return bytes([left])
    require(wire.PIN_MIN <= len(data) <= wire.PIN_MAX, Sw.WRONG_LENGTH)
    check_pin(ctx, data.ljust(wire.PIN_FIELD, b"\0"))
    return b""


def change_secret(ctx: Context, command: Command, data: bytes) -> bytes:
    """21: CHANGE PIN (00) and CHANGE PUK (01)."""
    require(command.p2 == 0 and command.p1 in tuple(SecretKind), Sw.WRONG_P1P2)
    if command.p1 == SecretKind.PUK:
        require(len(data) == 2 * wire.PUK_LENGTH, Sw.WRONG_DATA)
        sw = None if ctx.reads(Reading.PUK_984X) else Sw.PUK_TRIES_LEFT
        check_puk(ctx, data[wire.PUK_LENGTH :], sw=sw)
        ctx.memory.puk = data[: wire.PUK_LENGTH]
        return b""
    fits = len(data) in (wire.PIN_FIELD, wire.PIN_FIELD + wire.PUK_LENGTH)
    require(fits and is_pin_field(data[: wire.PIN_FIELD]), Sw.WRONG_DATA)
    require(ctx.memory.pin_tries > 0, Sw.CONDITIONS)  # a blocked PIN comes back by UNBLOCK PIN only
    if len(data) == wire.PIN_FIELD:
        require(ctx.memory.pin_auth, Sw.CONDITIONS)
        require_auth(ctx)
    else:
        check_puk(ctx, data[wire.PIN_FIELD :], sw=Sw.CONDITIONS)
    _replace_pin(ctx, data[: wire.PIN_FIELD])
    return b""


def unblock_pin(ctx: Context, command: Command, data: bytes) -> bytes:
    """22: PUK and new PIN, only when six wrong PINs have blocked the card."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(ctx.memory.pin_auth and ctx.memory.pin_tries == 0, Sw.CONDITIONS)
    require(len(data) == wire.PUK_LENGTH + wire.PIN_FIELD and is_pin_field(data[wire.PUK_LENGTH :]), Sw.WRONG_DATA)
    check_puk(ctx, data[: wire.PUK_LENGTH])
    _replace_pin(ctx, data[wire.PUK_LENGTH :])
    return b""


def change_pairing_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """DA: pairing key and PUK. The channel goes on with the keys it has."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(len(data) == wire.PAIRING_KEY_LENGTH + wire.PUK_LENGTH, Sw.WRONG_LENGTH)
    check_puk(ctx, data[wire.PAIRING_KEY_LENGTH :])
    ctx.memory.pairing_key = data[: wire.PAIRING_KEY_LENGTH]
    return b""


def set_pin_auth(ctx: Context, command: Command, data: bytes) -> bytes:
    """C3: 00 allows the PIN, anything else forbids it; forbidding needs a user key."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(len(data) == 1 + wire.PUK_LENGTH, Sw.WRONG_DATA)
    check_puk(ctx, data[1:])
    enabled = data[0] == 0
    require(enabled or bool(ctx.memory.user_keys), Sw.NOT_ALLOWED)
    ctx.memory.pin_auth = enabled
    if not enabled and ctx.selection.auth is Auth.PIN:
        set_auth(ctx, Auth.NONE)
    return b""


def reset(ctx: Context, command: Command, data: bytes) -> bytes:
    """FD: everything goes; torn, only the keys. The answer still comes through the channel, then SELECT is wanted.

    A card whose reset is disabled answers 6985 before it looks at the PUK.
    """
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(not ctx.memory.reset_disabled, Sw.CONDITIONS)
    require(len(data) == wire.PUK_LENGTH, Sw.WRONG_DATA)
    check_puk(ctx, data)
    if ctx.torn:
        ctx.memory.erase_keys()
    else:
        ctx.memory = ctx.memory.factory()
    ctx.forget_keys()
    ctx.power.selection = None
    return b""
