"""Key trees of the emulated card: BIP32 on secp256k1, SLIP-0010 on P-256, each with a current key and its parent."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric import ec

from cryptnox_core.emulator.curves import ORDER, compress, point_of, private_key
from cryptnox_core.emulator.frame import Refusal, require
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH, XPUB_VERSION, Curve, Source, Sw

Path = tuple[int, ...]

HARDENED = 1 << 31
_REMEMBERED = 1024
_MASTER_TAG = {Curve.K1: b"Bitcoin seed", Curve.R1: b"Nist256p1 seed"}


@dataclass(repr=False, eq=False)
class Node:
    """A key of a tree. `chain` is `None` for a lone key pair, which has no children."""

    curve: Curve
    secret: int
    chain: bytes | None
    path: Path = ()
    parent: Node | None = None
    _children: dict[int, Node] = field(default_factory=dict)

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The private key."""
        return private_key(self.curve, self.secret)

    @cached_property
    def point(self) -> bytes:
        """The public key, 65 bytes."""
        return point_of(self.key)

    def child(self, index: int) -> Node:
        """One level down; what was computed lately is remembered, for speed alone."""
        if index not in self._children:
            if len(self._children) >= _REMEMBERED:
                self._children.clear()
            self._children[index] = self._compute(index)
        return self._children[index]

    def _compute(self, index: int) -> Node:
        """A child that BIP32 calls invalid is replaced as SLIP-0010 describes."""
        require(self.chain is not None, Sw.CONDITIONS)
        chain = self.chain or b""
        suffix = index.to_bytes(4, "big")
        if index & HARDENED:
            data = b"\0" + self.secret.to_bytes(32, "big") + suffix
        else:
            data = compress(self.point) + suffix
        while True:
            digest = hmac.digest(chain, data, "sha512")
            left = int.from_bytes(digest[:32], "big")
            secret = (left + self.secret) % ORDER[self.curve]
            if left < ORDER[self.curve] and secret:
                return Node(self.curve, secret, digest[32:], (*self.path, index), self)
            data = b"\x01" + digest[32:] + suffix

    def descend(self, path: Path) -> Node:
        """The key at a path from here."""
        node = self
        for index in path:
            node = node.child(index)
        return node

    def extended(self) -> bytes:
        """An extended key in the card's form, 106 bytes. Refuses 6986 above depth 3."""
        require(len(self.path) >= XPUB_MIN_DEPTH and self.parent is not None, Sw.NOT_ALLOWED)
        parent = hashlib.sha256(compress(self.parent.point)).digest() if self.parent else bytes(32)
        return (
            XPUB_VERSION
            + bytes([len(self.path)])
            + parent
            + self.path[-1].to_bytes(4, "big")
            + (self.chain or bytes(32))
            + compress(self.point)
        )


def master(curve: Curve, seed: bytes) -> Node:
    """The root of a binary seed."""
    data = seed
    while True:
        data = hmac.digest(_MASTER_TAG[curve], data, "sha512")
        secret = int.from_bytes(data[:32], "big")
        if 0 < secret < ORDER[curve]:
            return Node(curve, secret, data[32:])


@dataclass(slots=True)
class Cursor:
    """What the card remembers of one tree: the current key, and the parent if it may be derived from."""

    current: Node
    parent: Node | None = None

    def find(self, root: Node, source: Source, path: Path) -> Node:
        """The node `path` below the source, without moving.

        Refuses 6B00 when the source is a parent and there is none, 6A80 deeper than 8 levels.
        """
        origin = {Source.MASTER: root, Source.PARENT: self.parent, Source.CURRENT: self.current}[source]
        if origin is None:
            raise Refusal(Sw.WRONG_PARAMETERS)
        require(len(origin.path) + len(path) <= MAX_DEPTH, Sw.WRONG_DATA)
        return origin.descend(path)

    def move(self, root: Node, source: Source, path: Path) -> None:
        """DERIVE KEY: the found node becomes current; its parent is remembered only when the path led through it."""
        node = self.find(root, source, path)
        if path:
            self.parent = node.parent
        elif source is not Source.CURRENT:
            self.parent = None
        self.current = node


def parse_path(data: bytes) -> Path:
    """Big-endian levels, 4 bytes each. Refuses 6A80."""
    require(len(data) % 4 == 0 and len(data) <= 4 * MAX_DEPTH, Sw.WRONG_DATA)
    return tuple(int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), 4))


def encode_path(path: Path) -> bytes:
    """4 bytes a level, big-endian."""
    return b"".join(index.to_bytes(4, "big") for index in path)
