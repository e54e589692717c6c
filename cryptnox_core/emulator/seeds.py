"""How a seed comes into the emulated card: LOAD KEY, GENERATE KEY, dual generation, RSA wrapping."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from cryptnox_core import wire
from cryptnox_core.emulator import ca
from cryptnox_core.emulator.auth import take_pin
from cryptnox_core.emulator.context import Context
from cryptnox_core.emulator.curves import ORDER, compress, parse_p256, point_of, private_key, random_scalar
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.wire import Curve, KeySource, KeyTag, LoadKeyType, Sw

_GENERATED_SEED = 32
WRAP_KEY_TAG = b"CRSA"
_WRAP_SIZES = (1024, 2048)
_SIGNATURE = ec.ECDSA(hashes.SHA256())
_NOT_ON_NFT = (LoadKeyType.EXTENDED_KEY, LoadKeyType.SEED)
"""An NFT card holds one key and no tree."""


def _store(ctx: Context, source: KeySource, seed: bytes, chain_code: bytes = b"") -> None:
    """The new key; the current keys are its masters, and the pinless path is gone."""
    memory = ctx.memory
    memory.key_source, memory.seed, memory.chain_code = source, seed, chain_code
    memory.dual_secret = 0
    memory.pinless_path = ()
    memory.positions.clear()
    ctx.power.wrap_key = None
    ctx.forget_keys()


def _require_empty(ctx: Context) -> None:
    require(ctx.memory.key_source is KeySource.NONE, Sw.NOT_ALLOWED)


def load_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """D0: every form ends with the PIN unless a user key is authenticated; refuses 6986 with a key on the card."""
    require(command.p1 in tuple(LoadKeyType) and command.p2 == 0, Sw.WRONG_P1P2)
    kind = LoadKeyType(command.p1)
    require(kind not in _NOT_ON_NFT or ctx.memory.card_type != wire.CARD_TYPE_NFT, Sw.WRONG_P1P2)
    _require_empty(ctx)
    body = take_pin(ctx, data)
    if kind is LoadKeyType.SEED:
        require(wire.SEED_MIN <= len(body) <= wire.SEED_MAX, Sw.WRONG_DATA)
        _store(ctx, KeySource.LOADED, body)
    elif kind is LoadKeyType.DUAL_STEP_1:
        require(not body, Sw.WRONG_DATA)
        return _dual_begin(ctx)
    elif kind is LoadKeyType.DUAL_STEP_2:
        _store(ctx, KeySource.DUAL, _dual_seed(ctx, body))
    elif kind is LoadKeyType.WRAPPED_SEED:
        _store(ctx, KeySource.WRAPPED, _unwrapped(ctx, body))
    else:
        _load_pair(ctx, body, extended=kind is LoadKeyType.EXTENDED_KEY)
    return b""


def generate_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """D4: a seed of 32 random bytes; answers SHA-256 of the compressed master key."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    _require_empty(ctx)
    require(not take_pin(ctx, data), Sw.WRONG_DATA)
    _store(ctx, KeySource.ON_CARD, ctx.random(_GENERATED_SEED))
    return hashlib.sha256(compress(ctx.root(Curve.K1).point)).digest()


def generate_wrap_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """F9: `CRSA`, the modulus, and the static key's DER signature over both. The key lives until power-off."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    _require_empty(ctx)
    require(len(data) == 2, Sw.WRONG_LENGTH)
    size = int.from_bytes(data, "big")
    require(size in _WRAP_SIZES, Sw.WRONG_DATA)
    key = rsa.generate_private_key(wire.RSA_EXPONENT, size)
    ctx.power.wrap_key = key
    message = WRAP_KEY_TAG + key.public_key().public_numbers().n.to_bytes(size // 8, "big")
    return message + ca.static_key(ctx.memory.serial).sign(message, _SIGNATURE)


def _unwrapped(ctx: Context, body: bytes) -> bytes:
    """The seed out of its RSA-OAEP (SHA-1) wrapping."""
    key = ctx.power.wrap_key
    if key is None:
        raise Refusal(Sw.CONDITIONS)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303  (the card's own choice)
    try:
        seed = key.decrypt(body, oaep)
    except ValueError as error:
        raise Refusal(Sw.WRONG_DATA) from error
    require(wire.SEED_MIN <= len(seed) <= wire.SEED_MAX, Sw.WRONG_DATA)
    return seed


def _dual_begin(ctx: Context) -> bytes:
    """A public key for the other card, signed by the key all such cards share. Kept over power cycles: cards are
    swapped in one reader."""
    ctx.memory.dual_secret = random_scalar(Curve.R1, ctx.random)
    point = point_of(private_key(Curve.R1, ctx.memory.dual_secret))
    return point + ca.group_key().sign(point, _SIGNATURE)


def _dual_seed(ctx: Context, body: bytes) -> bytes:
    """SHA-256 of the ECDH with the other card's signed key."""
    require(ctx.memory.dual_secret != 0, Sw.CONDITIONS)
    point, signature = body[: wire.P256_POINT_LENGTH], body[wire.P256_POINT_LENGTH :]
    peer = parse_p256(point)
    if peer is None:
        raise Refusal(Sw.WRONG_DATA)
    try:
        ca.group_key().public_key().verify(signature, point, _SIGNATURE)
    except InvalidSignature as error:
        raise Refusal(Sw.WRONG_DATA) from error
    own = private_key(Curve.R1, ctx.memory.dual_secret)
    require(point_of(own) != point, Sw.WRONG_DATA)
    return hashlib.sha256(own.exchange(ec.ECDH(), peer)).digest()


def _read_tlv(data: bytes) -> list[tuple[int, bytes]]:
    """BER-TLV items with one- or two-byte lengths. Refuses 6A80."""
    items = []
    while data:
        require(len(data) >= 2, Sw.WRONG_DATA)
        tag, length, start = data[0], data[1], 2
        if length == 0x81:
            require(len(data) >= 3, Sw.WRONG_DATA)
            length, start = data[2], 3
        else:
            require(length < 0x80, Sw.WRONG_DATA)
        require(len(data) >= start + length, Sw.WRONG_DATA)
        items.append((tag, data[start : start + length]))
        data = data[start + length :]
    return items


def _load_pair(ctx: Context, body: bytes, *, extended: bool) -> None:
    """Types 01 and 02: a secp256k1 key pair, with a chain code or without; a given public key must be the right one."""
    outer = _read_tlv(body)
    require(len(outer) == 1 and outer[0][0] == KeyTag.TEMPLATE, Sw.WRONG_DATA)
    items = _read_tlv(outer[0][1])
    fields = dict(items)
    wanted = {int(KeyTag.PRIVATE_KEY)} | ({int(KeyTag.CHAIN_CODE)} if extended else set())
    require(len(fields) == len(items) and set(fields) - {int(KeyTag.PUBLIC_KEY)} == wanted, Sw.WRONG_DATA)
    private, chain_code = fields[KeyTag.PRIVATE_KEY], fields.get(KeyTag.CHAIN_CODE, b"")
    require(len(private) == 32 and len(chain_code) == (32 if extended else 0), Sw.WRONG_DATA)
    secret = int.from_bytes(private, "big")
    require(0 < secret < ORDER[Curve.K1], Sw.WRONG_DATA)
    public = fields.get(KeyTag.PUBLIC_KEY)
    require(public is None or public == point_of(private_key(Curve.K1, secret)), Sw.WRONG_DATA)
    _store(ctx, KeySource.EXTENDED if extended else KeySource.SINGLE, private, chain_code)
