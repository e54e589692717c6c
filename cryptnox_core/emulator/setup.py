"""Commands in the clear (docs/protocol.md): SELECT, the certificates, INIT and the opening of the channel."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core import wire
from cryptnox_core.emulator import ca
from cryptnox_core.emulator.auth import is_pin_field, set_auth
from cryptnox_core.emulator.channel import Channel, decrypt, unpad
from cryptnox_core.emulator.context import Auth, Context, Selection
from cryptnox_core.emulator.curves import parse_p256, point_of, private_key, random_scalar
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import Curve, KeySource, StatusFlag, Sw, UserKeyFlag

VERSION = bytes([1, 6, 0])
_VERSION_2 = bytes([2, 0, 0])
_UNKNOWN_FLAGS_2 = 1 << 8 | 1 << 0
"""Status bits that generation G1 does not know."""
TAIL_2 = bytes.fromhex("070000010000000000000000")
"""What version 2 appends to the custom bytes, 36 in all: clients must bear it, whatever it means. WRITE DATA may write
it with them, since the vendor's SDK writes back all that SELECT answered behind the flags."""


def select(ctx: Context, command: Command) -> bytes:
    """00 A4 04 00: ends the channel and every authentication, also when the AID is another's."""
    require(command.p1 == 0x04 and command.p2 == 0, Sw.WRONG_P1P2)
    ctx.power.selection = None
    require(command.data == wire.AID, Sw.FILE_NOT_FOUND)
    ctx.power.selection = Selection()
    memory = ctx.memory
    flags = StatusFlag(0)
    for flag, holds in (
        (StatusFlag.INITIALIZED, memory.initialized),
        (StatusFlag.SEEDED, memory.key_source is not KeySource.NONE),
        (StatusFlag.PIN_AUTH, memory.initialized and memory.pin_auth),
        (StatusFlag.PINLESS_PATH, bool(memory.pinless_path)),
        (StatusFlag.XPUB_EXPORT, memory.xpub_export),
        (StatusFlag.CLEAR_PUBKEY, memory.clear_pubkey),
        (StatusFlag.RESET_DISABLED, memory.reset_disabled),
    ):
        if holds:
            flags |= flag
    user_keys = sum(UserKeyFlag[slot.name] for slot in memory.user_keys)
    second = ctx.reads(Reading.SELECT_V2)
    return (
        bytes([memory.card_type])
        + (_VERSION_2 if second else VERSION)
        + (flags | (_UNKNOWN_FLAGS_2 if second else 0)).to_bytes(2, "big")
        + user_keys.to_bytes(2, "big")
        + memory.custom[: wire.CUSTOM_BYTES]
        + ((memory.custom[wire.CUSTOM_BYTES :] or TAIL_2) if second else b"")
    )


def card_public_key(ctx: Context, command: Command) -> bytes:
    """F4: the static key."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(not command.data, Sw.WRONG_LENGTH)
    return point_of(ca.static_key(ctx.memory.serial))


def manufacturer_certificate(ctx: Context, command: Command) -> bytes:
    """F7: one page; pages behind the end are empty."""
    require(command.p1 == 0, Sw.WRONG_P1P2)
    require(not command.data, Sw.WRONG_LENGTH)
    require(not (ctx.selection.certified and ctx.reads(Reading.NO_F7_AFTER_F8)), Sw.CONDITIONS)
    certificate = ca.card_certificate(ctx.memory.serial)
    if command.p2 == 0:
        return len(certificate).to_bytes(2, "big") + certificate[: wire.CERTIFICATE_FIRST_PAGE]
    start = wire.CERTIFICATE_FIRST_PAGE + (command.p2 - 1) * wire.CERTIFICATE_PAGE
    return certificate[start : start + wire.CERTIFICATE_PAGE]


def card_certificate(ctx: Context, command: Command) -> bytes:
    """F8: a fresh session key, signed with the static key."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(len(command.data) == wire.CERTIFICATE_NONCE_LENGTH, Sw.DATA_INVALID)
    key = private_key(Curve.R1, random_scalar(Curve.R1, ctx.random))
    ctx.selection.session_key = key
    ctx.selection.certified = True
    message = bytes([wire.CARD_CERTIFICATE_TAG]) + command.data + point_of(key)
    return message + ca.static_key(ctx.memory.serial).sign(message, ec.ECDSA(hashes.SHA256()))


def _shared(ctx: Context, point: bytes) -> bytes:
    """ECDH x with the session key. Refuses 6985 before GET CARD CERTIFICATE, 6A80 for no point of the curve."""
    key = ctx.selection.session_key
    peer = parse_p256(point)
    if peer is None:
        raise Refusal(Sw.WRONG_DATA)
    if key is None:
        raise Refusal(Sw.CONDITIONS)
    return key.exchange(ec.ECDH(), peer)


def init(ctx: Context, command: Command) -> bytes:
    """FE: owner, PIN, PUK and pairing key; afterwards only SELECT is answered."""
    require(not ctx.memory.initialized, Sw.INS_NOT_SUPPORTED)
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    data = command.data
    start = 1 + wire.P256_POINT_LENGTH + wire.BLOCK
    require(len(data) > start and data[0] == wire.P256_POINT_LENGTH, Sw.WRONG_DATA)
    shared = _shared(ctx, data[1 : 1 + wire.P256_POINT_LENGTH])
    ciphertext = data[start:]
    require(len(ciphertext) % wire.BLOCK == 0, Sw.DATA_INVALID)
    plain = unpad(decrypt(shared, data[start - wire.BLOCK : start], ciphertext))
    if plain is None:
        raise Refusal(Sw.DATA_INVALID)
    _personalise(ctx, plain)
    ctx.power.selection = None
    return b""


def _personalise(ctx: Context, plain: bytes) -> None:
    name, rest = _counted(plain, wire.NAME_MAX)
    email, rest = _counted(rest, wire.EMAIL_MAX)
    is_nft = ctx.memory.card_type == wire.CARD_TYPE_NFT
    marker_at = wire.PIN_FIELD + wire.PUK_LENGTH
    key_at = marker_at + (2 if is_nft else 0)
    require(len(rest) == key_at + wire.PAIRING_KEY_LENGTH and is_pin_field(rest[: wire.PIN_FIELD]), Sw.WRONG_DATA)
    marker = rest[marker_at:key_at]
    require(marker in ((wire.NFT_NFC_SIGN_ALLOWED, wire.NFT_NFC_SIGN_DENIED) if is_nft else (b"",)), Sw.WRONG_DATA)
    memory = ctx.memory
    memory.name, memory.email = name, email
    memory.pin, memory.puk, memory.pairing_key = rest[: wire.PIN_FIELD], rest[wire.PIN_FIELD : marker_at], rest[key_at:]
    memory.nfc_sign = marker == wire.NFT_NFC_SIGN_ALLOWED
    memory.initialized = True


def _counted(data: bytes, limit: int) -> tuple[bytes, bytes]:
    require(len(data) > 0 and data[0] <= limit and len(data) > data[0], Sw.WRONG_DATA)
    return data[1 : 1 + data[0]], data[1 + data[0] :]


def puk_pairing_key(puk: bytes) -> bytes:
    """Index FF: SHA-256 applied 32 times."""
    for _ in range(wire.PUK_PAIRING_ROUNDS):
        puk = hashlib.sha256(puk).digest()
    return puk


def open_channel(ctx: Context, command: Command) -> bytes:
    """10: ends the old channel and its authentication, and answers the salt of a new one."""
    ctx.selection.channel = None
    set_auth(ctx, Auth.NONE)
    require(command.p1 in (wire.PAIRING_INDEX, wire.PAIRING_INDEX_PUK) and command.p2 == 0, Sw.WRONG_P1P2)
    require(ctx.memory.initialized, Sw.CONDITIONS)
    shared = _shared(ctx, command.data)
    pairing = ctx.memory.pairing_key if command.p1 == wire.PAIRING_INDEX else puk_pairing_key(ctx.memory.puk)
    salt = ctx.random(wire.SALT_LENGTH)
    ctx.selection.channel = Channel(shared, pairing, salt)
    return salt
