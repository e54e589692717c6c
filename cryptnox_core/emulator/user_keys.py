"""User keys of the emulated card: registration, challenge and response, authorization of hashes."""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

from cryptnox_core import wire
from cryptnox_core.emulator.auth import check_puk, set_auth
from cryptnox_core.emulator.context import Auth, Context
from cryptnox_core.emulator.curves import parse_p256, verify_digest
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.emulator.memory import UserKey
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import CheckUserKeyMode, Sw, UserKeySlot

_COUNTER = 4
_USER_VERIFIED = b"\x05"
"""WebAuthn flags: user present and verified."""
_CLIENT_DATA = '{"type": "webauthn.get", "origin": "https://cryptnox.ch", "challenge": "%s", "clientExtensions": {}}'


_FIRST_SLOTS = (UserKeySlot.EC, UserKeySlot.RSA, UserKeySlot.FIDO)


def user_key_slots(ctx: Context) -> tuple[UserKeySlot, ...]:
    """Three slots; five under `select-v2`."""
    return tuple(UserKeySlot) if ctx.reads(Reading.SELECT_V2) else _FIRST_SLOTS


def _slot(ctx: Context, data: bytes) -> UserKeySlot:
    require(len(data) > 0 and data[0] in user_key_slots(ctx), Sw.WRONG_DATA)
    return UserKeySlot(data[0])


def add_user_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """D5: slot, text, key, PUK."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    slot = _slot(ctx, data)
    body = data[1 + wire.USER_KEY_TEXT : -wire.PUK_LENGTH]
    credential = b""
    if slot is UserKeySlot.FIDO:
        require(len(body) > 0 and 0 < body[0] <= wire.FIDO_CREDENTIAL_MAX, Sw.WRONG_LENGTH)
        credential, body = body[1 : 1 + body[0]], body[1 + body[0] :]
    length = wire.RSA_MODULUS if slot is UserKeySlot.RSA else wire.P256_POINT_LENGTH
    require(len(body) == length, Sw.WRONG_LENGTH)
    if ctx.reads(Reading.ADD_USER_KEY_NEEDS_PIN):
        require(ctx.selection.auth in (Auth.PIN, Auth.USER_KEY), Sw.CONDITIONS)
    check_puk(ctx, data[-wire.PUK_LENGTH :])
    require(slot not in ctx.memory.user_keys, Sw.NOT_ALLOWED)
    require(_is_key(slot, body), Sw.DATA_INVALID)
    ctx.memory.user_keys[slot] = UserKey(data[1 : 1 + wire.USER_KEY_TEXT], body, credential)
    return b""


def _is_key(slot: UserKeySlot, key: bytes) -> bool:
    if slot is UserKeySlot.RSA:
        return key[0] >= 0x80 and bool(key[-1] & 1)
    return parse_p256(key) is not None


def delete_user_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """D7: slot and PUK."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    slot = _slot(ctx, data)
    require(len(data) == 1 + wire.PUK_LENGTH, Sw.WRONG_LENGTH)
    check_puk(ctx, data[1:])
    require(slot in ctx.memory.user_keys, Sw.NOT_ALLOWED)
    del ctx.memory.user_keys[slot]
    return b""


def check_user_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """D6: challenge, response, authorization of one hash or a list, or FIDO's credential id."""
    mode = command.p1
    require(mode in tuple(CheckUserKeyMode), Sw.WRONG_P1P2)
    require(command.p2 == (1 if mode == CheckUserKeyMode.CREDENTIAL_ID else 0), Sw.WRONG_P1P2)
    if mode == CheckUserKeyMode.CREDENTIAL_ID:
        fido = ctx.memory.user_keys.get(UserKeySlot.FIDO)
        if fido is None:
            raise Refusal(Sw.CONDITIONS)
        return bytes([len(fido.credential)]) + fido.credential
    if mode == CheckUserKeyMode.CHALLENGE:
        require(not data, Sw.WRONG_DATA)
        ctx.selection.challenge = ctx.random(wire.CHALLENGE_LENGTH)
        return ctx.selection.challenge
    slot = _slot(ctx, data)
    if mode == CheckUserKeyMode.RESPONSE:
        challenge, ctx.selection.challenge = ctx.selection.challenge, b""
        require(bool(challenge), Sw.CONDITIONS)
        accepted = _accepts(ctx, slot, challenge, data[1:])
        if accepted:
            set_auth(ctx, Auth.USER_KEY)
        return bytes([accepted])
    return _authorize(ctx, slot, data[1:], is_list=mode == CheckUserKeyMode.SIGN_HASHES)


def _authorize(ctx: Context, slot: UserKeySlot, body: bytes, *, is_list: bool) -> bytes:
    """Unlock SIGN for exactly these hashes in this order. PIN commands are closed by it."""
    count = 1
    if is_list:
        limit = wire.MAX_HASHES_FIDO if slot is UserKeySlot.FIDO else wire.MAX_HASHES
        require(len(body) > 0 and 1 <= body[0] <= limit, Sw.WRONG_DATA)
        count = body[0]
    first = 1 if is_list else 0
    end = first + count * wire.DIGEST_LENGTH
    require(len(body) > end, Sw.WRONG_DATA)
    accepted = _accepts(ctx, slot, body[:end], body[end:])
    if accepted:
        set_auth(ctx, Auth.SIGN)
        ctx.selection.hashes = [body[i : i + wire.DIGEST_LENGTH] for i in range(first, end, wire.DIGEST_LENGTH)]
    return bytes([accepted])


def _accepts(ctx: Context, slot: UserKeySlot, message: bytes, proof: bytes) -> bool:
    """Whether the slot's key signed the message: a challenge, a hash, or a count and hashes.

    EC and RSA keys sign SHA-256 of it, once; FIDO takes it as its assertion's challenge.
    """
    key = ctx.memory.user_keys.get(slot)
    if key is None:
        return False
    if slot is UserKeySlot.FIDO:
        counter, signature = proof[:_COUNTER], proof[_COUNTER:]
        challenge = base64.urlsafe_b64encode(message).rstrip(b"=").decode("ascii")
        client_data = hashlib.sha256((_CLIENT_DATA % challenge).encode("ascii")).digest()
        assertion = hashlib.sha256(wire.FIDO_RP).digest() + _USER_VERIFIED + counter + client_data
        return _verify_ec(key.key, hashlib.sha256(assertion).digest(), signature)
    digest = hashlib.sha256(message).digest()
    if slot is not UserKeySlot.RSA:
        return _verify_ec(key.key, digest, proof)
    modulus = rsa.RSAPublicNumbers(wire.RSA_EXPONENT, int.from_bytes(key.key, "big")).public_key()
    try:
        modulus.verify(proof, digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _verify_ec(point: bytes, digest: bytes, signature: bytes) -> bool:
    key = parse_p256(point)
    return key is not None and verify_digest(key, digest, signature)
