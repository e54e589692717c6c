"""Keys in use: DERIVE KEY, GET PUBKEY, SIGN, DECRYPT and their settings (docs/protocol.md, Keys and signatures)."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core import wire
from cryptnox_core.emulator import ca, curves
from cryptnox_core.emulator.auth import check_pin, check_puk, require_auth, set_auth
from cryptnox_core.emulator.channel import decrypt as aes_decrypt
from cryptnox_core.emulator.context import Auth, Context
from cryptnox_core.emulator.frame import Command, Refusal, require
from cryptnox_core.emulator.keys import Node, encode_path, parse_path
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import Curve, DecryptMode, ExportKind, KeySource, KeyUse, PubKeyForm, SignatureKind, Source, Sw


def _options(ctx: Context, p1: int, sw: int) -> tuple[Curve, Source, bool]:
    """Curve, source and "derive" of P1. Source bits have a meaning with "derive" only; an NFT card has neither."""
    known = p1 & ~(Curve.R1 | Source.PARENT | Source.CURRENT | KeyUse.DERIVE) == 0
    derive = bool(p1 & KeyUse.DERIVE)
    source = p1 & (Source.PARENT | Source.CURRENT)
    require(known and source != Source.PARENT | Source.CURRENT and (derive or source == 0), sw)
    require(p1 == 0 or ctx.memory.card_type != wire.CARD_TYPE_NFT, sw)
    return Curve(p1 & Curve.R1), Source(source), derive


def derive_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """D1: moves the current key of a curve. The vendor's clients set bit 3 of P1, and its text does not know it."""
    require(bool(command.p1 & wire.DERIVE_BIT) or not ctx.reads(Reading.DERIVE_08_ONLY), Sw.WRONG_P1P2)
    p1 = command.p1 & ~wire.DERIVE_BIT
    curve, source, _ = _options(ctx, p1 | KeyUse.DERIVE, Sw.WRONG_P1P2)
    require(command.p2 == 0 and not p1 & KeyUse.DERIVE, Sw.WRONG_P1P2)
    ctx.root(curve)
    require_auth(ctx)
    ctx.move(curve, source, parse_path(data))
    return b""


def get_public_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """C2 in the channel: current path, public key, or extended public key."""
    curve, source, derive = _options(ctx, command.p1, Sw.WRONG_P1P2)
    form = command.p2
    require(form in tuple(PubKeyForm), Sw.WRONG_P1P2)
    require(not derive or form == PubKeyForm.PUBLIC_KEY, Sw.WRONG_P1P2)
    require(form != PubKeyForm.EXTENDED or command.p1 == 0, Sw.WRONG_P1P2)
    require(bool(data) == derive, Sw.WRONG_LENGTH)
    cursor = ctx.cursor(curve)
    if derive:
        require_auth(ctx)
        return ctx.find(curve, source, parse_path(data)).point
    if form == PubKeyForm.PUBLIC_KEY and ctx.memory.clear_pubkey:
        return cursor.current.point
    require_auth(ctx)
    if form == PubKeyForm.PATH:
        return encode_path(cursor.current.path)
    if form == PubKeyForm.EXTENDED:
        require(ctx.memory.xpub_export, Sw.CONDITIONS)
        return cursor.current.extended()
    return cursor.current.point


def get_public_key_clear(ctx: Context, command: Command) -> bytes:
    """C2 in the clear: the current public key, when that is enabled or the key is a pinless one.

    Refuses 6985 like any command that needs the channel, or 6983 with a pinless path but another current key.
    """
    current = command.p2 == PubKeyForm.PUBLIC_KEY and command.p1 in tuple(Curve) and not command.data
    memory = ctx.memory
    require(current and (memory.clear_pubkey or bool(memory.pinless_path)), Sw.CONDITIONS)
    curve, _, _ = _options(ctx, command.p1, Sw.WRONG_P1P2)
    node = ctx.cursor(curve).current
    if not memory.clear_pubkey:
        pinless = curve is Curve.K1 and node.path[: len(wire.PINLESS_PREFIX)] == wire.PINLESS_PREFIX
        require(pinless, Sw.AUTH_BLOCKED)
    if ctx.reads(Reading.CLEAR_PUBKEY_32):
        return node.point[1:33]
    return curves.compress(node.point) if ctx.reads(Reading.CLEAR_PUBKEY_33) else node.point


def set_pub_export(ctx: Context, command: Command, data: bytes) -> bytes:
    """C5: export of extended keys, or reading the current public key in the clear."""
    require(command.p1 in tuple(ExportKind) and command.p2 == 0, Sw.WRONG_P1P2)
    require(ctx.memory.key_source is not KeySource.NONE, Sw.CONDITIONS)
    require(len(data) == 1 + wire.PUK_LENGTH, Sw.WRONG_DATA)
    check_puk(ctx, data[1:])
    if command.p1 == ExportKind.XPUB:
        ctx.memory.xpub_export = data[0] != 0
    else:
        ctx.memory.clear_pubkey = data[0] != 0
    return b""


def set_pinless_path(ctx: Context, command: Command, data: bytes) -> bytes:
    """C1: PUK and a path under EIP-1581, or the PUK alone to clear it."""
    require(command.p1 == 0 and command.p2 == 0, Sw.WRONG_P1P2)
    require(ctx.memory.key_source is not KeySource.NONE, Sw.CONDITIONS)
    require(len(data) >= wire.PUK_LENGTH, Sw.WRONG_DATA)
    path = parse_path(data[wire.PUK_LENGTH :])
    require(not path or len(path) >= len(wire.PINLESS_PREFIX), Sw.WRONG_DATA)
    check_puk(ctx, data[: wire.PUK_LENGTH])
    require(not path or path[: len(wire.PINLESS_PREFIX)] == wire.PINLESS_PREFIX, Sw.AUTH_BLOCKED)
    ctx.memory.pinless_path = path
    return b""


def sign(ctx: Context, command: Command, data: bytes) -> bytes:
    """C0 in the channel. Under the first reading the PIN ends the data, unless a user key authorized the hash."""
    if command.p1 == KeyUse.PINLESS:
        return sign_pinless(ctx, command, data)
    curve, source, derive = _options(ctx, command.p1, Sw.WRONG_PARAMETERS)
    _check_kind(command.p2, curve)
    ctx.root(curve)
    require(len(data) >= wire.DIGEST_LENGTH, Sw.WRONG_DATA)
    digest, rest = data[: wire.DIGEST_LENGTH], data[wire.DIGEST_LENGTH :]
    if ctx.selection.auth is Auth.SIGN:
        first, *others = ctx.selection.hashes
        require(derive or not rest, Sw.WRONG_DATA)
        node = _signing_node(ctx, curve, source, rest, derive)
        require(first == digest, Sw.CONDITIONS)
        signature = _signature(ctx, node, digest, command.p2, Auth.SIGN if others else Auth.USER_KEY)
        ctx.selection.hashes = others
        return signature
    path, has_pin = _split_pin(ctx, rest, derive)
    if has_pin:
        check_pin(ctx, rest[len(path) :], always=ctx.reads(Reading.PIN_AUTH_OFF_TAKES_PIN))
    node = _signing_node(ctx, curve, source, path, derive)
    return _signature(ctx, node, digest, command.p2, Auth.PIN if has_pin else Auth.NONE)


def sign_pinless(ctx: Context, command: Command, data: bytes) -> bytes:
    """C0 with P1 = 03, in the channel or in the clear: the key of the pinless path, no PIN."""
    _check_kind(command.p2, Curve.K1)
    root = ctx.root(Curve.K1)
    require(bool(ctx.memory.pinless_path), Sw.REFERENCED_DATA_NOT_FOUND)
    require(len(data) >= wire.DIGEST_LENGTH, Sw.WRONG_DATA)
    require(len(data) == wire.DIGEST_LENGTH, Sw.WRONG_LENGTH)
    node = root.descend(ctx.memory.pinless_path)
    ctx.counters.derivations += len(ctx.memory.pinless_path)
    return _signature(ctx, node, data, command.p2, Auth.NONE)


def _check_kind(kind: int, curve: Curve) -> None:
    require(kind in tuple(SignatureKind), Sw.WRONG_PARAMETERS)
    require(kind != SignatureKind.SCHNORR or curve is Curve.K1, Sw.WRONG_PARAMETERS)


def _split_pin(ctx: Context, rest: bytes, derive: bool) -> tuple[bytes, bool]:
    """Path bytes, and whether a PIN follows. Without `derive` all that may follow the hash is the PIN.

    The first reading takes the last nine bytes for the PIN whatever they are, so that a path alone burns a try. A user
    key's answer to a challenge opens everything but SIGN, under either reading.
    """
    if ctx.reads(Reading.PIN_OPTIONAL_IN_SIGN):
        without = len(rest) % 4 == 0 if derive else not rest
        if without:
            require(ctx.selection.auth is Auth.PIN, Sw.CONDITIONS)
            return rest, False
    require(len(rest) >= wire.PIN_FIELD and (derive or len(rest) == wire.PIN_FIELD), Sw.WRONG_LENGTH)
    return rest[: -wire.PIN_FIELD], True


def _signing_node(ctx: Context, curve: Curve, source: Source, path: bytes, derive: bool) -> Node:
    if not derive:
        return ctx.cursor(curve).current
    levels = parse_path(path)
    require(bool(levels), Sw.WRONG_DATA)
    return ctx.find(curve, source, levels)


def _signature(ctx: Context, node: Node, digest: bytes, kind: int, after: Auth) -> bytes:
    """Signs, and ends every authentication but `after`; under the second reading a PIN's, too."""
    schnorr, repeated = kind == SignatureKind.SCHNORR, ctx.last_nonce if ctx.repeat_nonce else 0
    if repeated and node.curve is Curve.K1:
        signature = (curves.schnorr_with if schnorr else curves.ecdsa_with)(node.secret, digest, repeated)
    elif schnorr:
        signature = curves.schnorr(node.secret, digest, ctx.random)
    else:
        signature = curves.ecdsa(node.curve, node.key, digest, eosio=kind == SignatureKind.ECDSA_EOSIO)
    if node.curve is Curve.K1:
        ctx.last_nonce = curves.nonce_of(node.secret, digest, signature, schnorr=schnorr)
    ctx.memory.record(digest)
    ctx.counters.signatures += 1
    ends = ctx.reads(Reading.PIN_ENDS_AT_SIGN) and after is not Auth.SIGN
    set_auth(ctx, Auth.NONE if ends else after)
    return signature


def sign_public(ctx: Context, command: Command, data: bytes) -> bytes:
    """C6: the static key's DER signature (SHA-256) over the current public key, 65 bytes."""
    require(command.p2 == 0 and command.p1 in tuple(Curve), Sw.WRONG_P1P2)
    require(not data, Sw.WRONG_LENGTH)
    curve, _, _ = _options(ctx, command.p1, Sw.WRONG_P1P2)
    point = ctx.cursor(curve).current.point
    require_auth(ctx)
    return ca.static_key(ctx.memory.serial).sign(point, ec.ECDSA(hashes.SHA256()))


def decrypt(ctx: Context, command: Command, data: bytes) -> bytes:
    """C4: the shared secret with the fixed P-256 key, or what was encrypted with it."""
    require(command.p1 in tuple(DecryptMode) and command.p2 == 0, Sw.WRONG_P1P2)
    root = ctx.root(Curve.R1)
    lead = 0 if ctx.selection.auth is Auth.USER_KEY else wire.PIN_FIELD
    point, ciphertext = data[lead : lead + wire.P256_POINT_LENGTH], data[lead + wire.P256_POINT_LENGTH :]
    if command.p1 == DecryptMode.SYMMETRIC_KEY:
        fits = not ciphertext
    else:
        fits = bool(ciphertext) and len(ciphertext) % wire.BLOCK == 0
    require(len(point) == wire.P256_POINT_LENGTH and fits, Sw.WRONG_DATA)
    if lead:
        check_pin(ctx, data[:lead])
    peer = curves.parse_p256(point)
    if peer is None:
        raise Refusal(Sw.WRONG_DATA)
    secret = hashlib.sha256(root.descend(wire.DECRYPT_PATH).key.exchange(ec.ECDH(), peer)).digest()
    if command.p1 == DecryptMode.SYMMETRIC_KEY:
        return secret
    return aes_decrypt(secret[wire.BLOCK :], secret[: wire.BLOCK], ciphertext)
