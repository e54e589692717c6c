"""MuSig2 of the emulated card, by its own arithmetic (docs/protocol.md): absent unless a reading asks for it."""

from __future__ import annotations

import hashlib

from cryptnox_core import wire
from cryptnox_core.emulator import curves
from cryptnox_core.emulator.auth import require_auth
from cryptnox_core.emulator.context import Context, Nonces
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import Curve, Sw

_KEY = 33
_POINT = 65
_ORDER = curves.ORDER[Curve.K1]


def is_there(ctx: Context) -> bool:
    """Whether the applet has these commands."""
    return any(map(ctx.reads, (Reading.MUSIG2, Reading.MUSIG2_NO_SECOND, Reading.MUSIG2_AS_PRINTED)))


def nonce_gen(ctx: Context, command: Command, data: bytes) -> bytes:
    """C7: new nonces; the list of keys starts again."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(not data, Sw.WRONG_LENGTH)
    point = curves.compress(ctx.cursor(Curve.K1).current.point)
    require_auth(ctx)
    pair = (curves.random_scalar(Curve.K1, ctx.random), curves.random_scalar(Curve.K1, ctx.random))
    if ctx.repeat_nonce and ctx.last_nonces is not None:
        pair = ctx.last_nonces
    ctx.last_nonces = pair
    ctx.power.nonces, ctx.selection.cosigners = Nonces(pair, point), []
    return b"".join(curves.compress(curves.point_of(curves.private_key(Curve.K1, each))) for each in pair)


def musig2(ctx: Context, command: Command, data: bytes) -> bytes:
    """C8: the next key of the list, or the signature."""
    require(command.p1 in (wire.MUSIG2_LOAD_KEY, wire.MUSIG2_SIGN) and command.p2 == 0, Sw.WRONG_P1P2)
    ctx.root(Curve.K1)
    return _load(ctx, data) if command.p1 == wire.MUSIG2_LOAD_KEY else _sign(ctx, data)


def _load(ctx: Context, data: bytes) -> bytes:
    require_auth(ctx)
    require(ctx.power.nonces is not None, Sw.CONDITIONS)
    require(len(data) == _KEY and data[0] in (2, 3), Sw.WRONG_LENGTH)
    require(len(ctx.selection.cosigners) < wire.MUSIG2_MAX_KEYS, Sw.CONDITIONS)
    ctx.selection.cosigners.append(data)
    return b""


def _sign(ctx: Context, data: bytes) -> bytes:
    _count(ctx)
    nonces, ctx.power.nonces = ctx.power.nonces, None  # whatever comes of it
    keys, ctx.selection.cosigners = ctx.selection.cosigners, []
    require_auth(ctx)
    node = ctx.cursor(Curve.K1).current
    if nonces is None or nonces.key not in keys or nonces.key != curves.compress(node.point):
        raise Refusal(Sw.CONDITIONS)
    require(len(data) == 2 * _POINT + _KEY + wire.DIGEST_LENGTH, Sw.WRONG_LENGTH)
    first, second = curves.parse_k1(data[:_POINT]), curves.parse_k1(data[_POINT : 2 * _POINT])
    key, message = data[2 * _POINT : 2 * _POINT + _KEY], data[-wire.DIGEST_LENGTH :]
    if first is None or second is None or key[0] not in (2, 3):
        raise Refusal(Sw.UNKNOWN)
    together = curves.compress(data[:_POINT]) + curves.compress(data[_POINT : 2 * _POINT])
    b = _hash("MuSig/noncecoef", together + key[1:] + message)
    point = curves.add_k1(first, curves.multiply_k1(b, second))
    if point is None:
        raise Refusal(Sw.UNKNOWN)
    e = _hash("BIP0340/challenge", point[0].to_bytes(32, "big") + key[1:] + message)
    (k1, k2), d = nonces.pair, node.secret
    if not ctx.reads(Reading.MUSIG2_AS_PRINTED):
        if point[1] % 2:
            k1, k2 = -k1, -k2
        if key[0] == 3:
            d = -d
    ctx.memory.record(message)
    ctx.counters.signatures += 1
    return ((k1 + b * k2 + e * _coefficient(ctx, keys, nonces.key) * d) % _ORDER).to_bytes(32, "big")


def _count(ctx: Context) -> None:
    """Note a PARTIAL SIGN for the nonces of the last NONCE GEN, also where the card has forgotten them."""
    if ctx.last_nonces is not None:
        ctx.counters.nonces_again += ctx.last_nonces in ctx.nonces_met
        ctx.nonces_met.add(ctx.last_nonces)


def _coefficient(ctx: Context, keys: list[bytes], key: bytes) -> int:
    second = next((each for each in keys if each != keys[0]), None)
    if key == second and ctx.reads(Reading.MUSIG2):
        return 1
    mark = hashlib.sha256(b"KeyAgg list").digest()
    return _hash("KeyAgg coefficient", hashlib.sha256(mark + mark + b"".join(keys)).digest() + key)


def _hash(tag: str, data: bytes) -> int:
    mark = hashlib.sha256(tag.encode()).digest()
    return int.from_bytes(hashlib.sha256(mark + mark + data).digest(), "big") % _ORDER
