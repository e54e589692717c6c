"""Builds PSBTs by hand for the tests: its own serialisation, keys by libsecp256k1, nothing of the engine."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from tests.support.curve import PrivateKey, PublicKey

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Pairs = list[tuple[bytes, bytes]]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def h160(data: bytes) -> bytes:
    return hashlib.new("ripemd160", sha(data)).digest()


def le(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "little")


def compact(value: int) -> bytes:
    if value < 0xFD:
        return le(value, 1)
    return b"\xfd" + le(value, 2) if value < 0x10000 else b"\xfe" + le(value)


def string(data: bytes) -> bytes:
    return compact(len(data)) + data


def pushed(data: bytes) -> bytes:
    return (le(len(data), 1) if len(data) < 76 else b"\x4c" + le(len(data), 1)) + data


def tagged(tag: str, data: bytes) -> bytes:
    return sha(sha(tag.encode()) * 2 + data)


class Wallet:
    """A BIP32 master key that signs."""

    def __init__(self, seed: bytes = bytes(range(64))) -> None:
        mixed = hmac.digest(b"Bitcoin seed", seed, "sha512")
        self._nodes = {(): (mixed[:32], mixed[32:])}
        self.fingerprint = h160(self.key(Path()))[:4]

    def _node(self, steps: tuple[int, ...]) -> tuple[bytes, bytes]:
        if steps not in self._nodes:
            secret, chain = self._node(steps[:-1])
            number = steps[-1]
            head = b"\x00" + secret if number >> 31 else PrivateKey(secret).public_key.format()
            mixed = hmac.digest(chain, head + number.to_bytes(4, "big"), "sha512")
            child = (int.from_bytes(mixed[:32], "big") + int.from_bytes(secret, "big")) % ORDER
            self._nodes[steps] = (child.to_bytes(32, "big"), mixed[32:])
        return self._nodes[steps]

    def private(self, path: Path | str) -> PrivateKey:
        path = Path.parse(path) if isinstance(path, str) else path
        return PrivateKey(self._node(path.steps)[0])

    def secret(self, path: Path) -> bytes:
        return self._node(path.steps)[0]

    def key(self, path: Path | str) -> bytes:
        return self.private(path).public_key.format()

    def account(self, path: Path | str) -> ExtendedPublicKey:
        path = Path.parse(path) if isinstance(path, str) else path
        return ExtendedPublicKey(
            self.key(path), self._node(path.steps)[1], len(path), h160(self.key(path.parent))[:4], path.steps[-1]
        )

    def origin(self, path: Path | str) -> bytes:
        path = Path.parse(path) if isinstance(path, str) else path
        return self.fingerprint + b"".join(le(step) for step in path.steps)

    def keys(self, paths: Iterable[Path]) -> dict[Path, bytes]:
        return {path: self.key(path) for path in paths}

    def sign(self, request) -> bytes:  # type: ignore[no-untyped-def]
        """As the card signs: DER for ECDSA, 64 bytes for Schnorr."""
        private = self.private(request.path)
        if request.kind.value == "ECDSA":
            return private.sign(request.digest, hasher=None)
        return private.sign_schnorr(request.digest)


ME, OTHER = Wallet(), Wallet(b"another seed, of the other party")


@dataclass
class In:
    """One input, honest unless a test makes it otherwise."""

    script: bytes
    amount: int = 100_000
    fields: Pairs = field(default_factory=list)
    previous: bool = True
    witness_utxo: bool = True
    sequence: int | None = 0xFFFFFFFD
    salt: int = 0
    segwit_previous: bool = False

    def previous_tx(self) -> bytes:
        """A transaction whose output 1 is spent."""
        body = compact(1) + sha(self.script + le(self.salt)) + le(0) + b"\x00" + le(0xFFFFFFFF)
        body += compact(2) + le(4242, 8) + string(b"\x6a") + le(self.amount, 8) + string(self.script)
        if self.segwit_previous:
            return le(2) + b"\x00\x01" + body + b"\x02" + string(b"ab") + string(bytes(300)) + le(0)
        return le(2) + body + le(0)

    @property
    def outpoint(self) -> bytes:
        return sha(sha(replace(self, segwit_previous=False).previous_tx())) + le(1)

    def pairs(self) -> Pairs:
        pairs = [(b"\x00", self.previous_tx())] if self.previous else []
        if self.witness_utxo:
            pairs.append((b"\x01", le(self.amount, 8) + string(self.script)))
        return pairs + self.fields


@dataclass
class Out:
    script: bytes
    amount: int = 90_000
    fields: Pairs = field(default_factory=list)


@dataclass
class Draft:
    """Maps that can be bent before they are written."""

    ins: list[In]
    outs: list[Out]
    version: int = 0
    tx_version: int = 2
    lock_time: int = 0
    extra: Pairs = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inputs = [item.pairs() for item in self.ins]
        self.outputs = [list(item.fields) for item in self.outs]

    def unsigned(self) -> bytes:
        parts = [le(self.tx_version), compact(len(self.ins))]
        for item in self.ins:
            parts += (item.outpoint, b"\x00", le(0xFFFFFFFF if item.sequence is None else item.sequence))
        parts.append(compact(len(self.outs)))
        for out in self.outs:
            parts += (le(out.amount, 8), string(out.script))
        return b"".join((*parts, le(self.lock_time)))

    def maps(self) -> list[Pairs]:
        inputs, outputs = self.inputs, self.outputs
        if self.version == 0:
            head = [(b"\x00", self.unsigned())]
        else:
            head = [(b"\x02", le(self.tx_version)), (b"\x03", le(self.lock_time))]
            head += [(b"\x04", compact(len(self.ins))), (b"\x05", compact(len(self.outs))), (b"\xfb", le(2))]
            inputs = []
            for item, pairs in zip(self.ins, self.inputs, strict=True):
                own = [(b"\x0e", item.outpoint[:32]), (b"\x0f", item.outpoint[32:])]
                if item.sequence is not None:
                    own.append((b"\x10", le(item.sequence)))
                inputs.append(own + pairs)
            outputs = [
                [(b"\x03", le(out.amount, 8)), (b"\x04", out.script), *pairs]
                for out, pairs in zip(self.outs, self.outputs, strict=True)
            ]
        return [head + self.extra, *inputs, *outputs]

    def encode(self) -> bytes:
        parts = [b"psbt\xff"]
        for pairs in self.maps():
            parts += [string(key) + string(value) for key, value in pairs]
            parts.append(b"\x00")
        return b"".join(parts)

    def base64(self) -> str:
        return base64.b64encode(self.encode()).decode()


def p2wpkh(key: bytes) -> bytes:
    return b"\x00\x14" + h160(key)


def p2pkh(key: bytes) -> bytes:
    return b"\x76\xa9\x14" + h160(key) + b"\x88\xac"


def p2sh(redeem: bytes) -> bytes:
    return b"\xa9\x14" + h160(redeem) + b"\x87"


def p2wsh(script: bytes) -> bytes:
    return b"\x00\x20" + sha(script)


def multisig(threshold: int, keys: list[bytes]) -> bytes:
    return bytes((0x50 + threshold,)) + b"".join(map(pushed, keys)) + bytes((0x50 + len(keys), 0xAE))


def deriv(path: str, wallet: Wallet = ME, key: bytes | None = None) -> tuple[bytes, bytes]:
    """A derivation pair of an input; outputs have type 02."""
    return b"\x06" + (key or wallet.key(path)), wallet.origin(path)


def out_deriv(path: str, wallet: Wallet = ME, key: bytes | None = None) -> tuple[bytes, bytes]:
    return b"\x02" + (key or wallet.key(path)), wallet.origin(path)


def tap_deriv(path: str, leaves: Iterable[bytes] = (), wallet: Wallet = ME, kind: int = 0x16) -> tuple[bytes, bytes]:
    hashes = list(leaves)
    return bytes((kind,)) + wallet.key(path)[1:], compact(len(hashes)) + b"".join(hashes) + wallet.origin(path)


def sighash(value: int) -> tuple[bytes, bytes]:
    return b"\x03", le(value)


def leaf_hash(script: bytes, version: int = 0xC0) -> bytes:
    return tagged("TapLeaf", bytes((version,)) + string(script))


NUMS = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")


def taproot(scripts: list[bytes], internal: bytes = NUMS, version: int = 0xC0) -> tuple[bytes, Pairs]:
    """Output script and leaf fields of a tree of one or two leaves."""
    hashes = [leaf_hash(script, version) for script in scripts]
    root = hashes[0] if len(hashes) == 1 else tagged("TapBranch", b"".join(sorted(hashes)))
    output = PublicKey(b"\x02" + internal).add(tagged("TapTweak", internal + (root if scripts else b""))).format()
    fields: Pairs = []
    for number, script in enumerate(scripts):
        siblings = [item for position, item in enumerate(hashes) if position != number]
        control = bytes((version | output[0] & 1,)) + internal + b"".join(siblings)
        fields.append((b"\x15" + control, script + bytes((version,))))
    return b"\x51\x20" + output[1:], fields


def bip86(internal: bytes) -> bytes:
    """The output script of a key path alone."""
    output = PublicKey(b"\x02" + internal).add(tagged("TapTweak", internal)).format()
    return b"\x51\x20" + output[1:]


SPEND_PATH = {
    "p2pkh": "m/44h/0h/0h/0/{}",
    "p2pk": "m/44h/0h/0h/1/{}",
    "p2sh-p2wpkh": "m/49h/0h/0h/0/{}",
    "p2wpkh": "m/84h/0h/0h/0/{}",
    "multisig": "m/45h/0h/0h/0/{}",
    "p2sh": "m/48h/0h/0h/0h/0/{}",
    "p2wsh": "m/48h/0h/0h/2h/0/{}",
    "p2sh-p2wsh": "m/48h/0h/0h/1h/0/{}",
    "miniscript": "m/48h/0h/0h/3h/0/{}",
    "rawtr": "m/86h/0h/0h/0/{}",
    "tapscript": "m/86h/0h/1h/0/{}",
}


def spend(kind: str, number: int = 0, amount: int = 100_000, **options: object) -> In:
    """An honest input of a kind that is ours."""
    path = SPEND_PATH[kind].format(number)
    key = ME.key(path)
    fields: Pairs = [deriv(path)]
    if kind == "p2pkh":
        script = p2pkh(key)
    elif kind == "p2pk":
        script = pushed(key) + b"\xac"
    elif kind == "p2sh-p2wpkh":
        script = p2sh(p2wpkh(key))
        fields.append((b"\x04", p2wpkh(key)))
    elif kind == "p2wpkh":
        script = p2wpkh(key)
    elif kind == "rawtr":
        script = b"\x51\x20" + key[1:]
        fields = [tap_deriv(path)]
    elif kind == "tapscript":
        leaf = pushed(key[1:]) + b"\xac"
        script, fields = taproot([leaf, pushed(OTHER.key(path)[1:]) + b"\xac"])
        fields = [*fields, tap_deriv(path, [leaf_hash(leaf)]), (b"\x17", NUMS)]
    elif kind == "miniscript":  # andor(pk(other),older(12),pk(me)) and the like
        inner = pushed(key) + b"\xad\x5c\xb2"
        script = p2wsh(inner)
        fields.append((b"\x05", inner))
    else:
        inner = multisig(1, sorted([key, OTHER.key(path)]))
        fields.append(deriv(path, OTHER))
        script = inner
        if kind == "p2sh":
            script = p2sh(inner)
            fields.append((b"\x04", inner))
        elif kind == "p2wsh":
            script = p2wsh(inner)
            fields.append((b"\x05", inner))
        elif kind == "p2sh-p2wsh":
            script = p2sh(p2wsh(inner))
            fields += [(b"\x04", p2wsh(inner)), (b"\x05", inner)]
    legacy = kind in ("p2pkh", "p2pk", "multisig", "p2sh")
    item = In(script, amount, fields, witness_utxo=not legacy, salt=number)
    return replace(item, **options)  # type: ignore[arg-type]


def draft(*ins: In, outs: list[Out] | None = None, **options: object) -> Draft:
    """A PSBT that pays all inputs but 10,000 satoshi to the other party."""
    outs = outs or [Out(p2wpkh(OTHER.key("m/0")), sum(item.amount for item in ins) - 10_000)]
    return Draft(list(ins), outs, **options)  # type: ignore[arg-type]
