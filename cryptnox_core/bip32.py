"""BIP32: paths, key origins, extended public keys and public child derivation."""

from __future__ import annotations

import hmac
import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cryptnox_core import arguments
from cryptnox_core.crypto.hashes import base58check_decode, base58check_encode, hash160, ripemd160
from cryptnox_core.crypto.secp256k1 import COMPRESSED_LENGTH, ORDER, is_public_key, parse_public_key
from cryptnox_core.errors import MalformedResponseError, UsageError
from cryptnox_core.wire import XPUB_LENGTH, XPUB_VERSION

if TYPE_CHECKING:
    from cryptnox_core.crypto.points import Point

HARDENED = 1 << 31
XPUB = XPUB_VERSION
TPUB = bytes.fromhex("043587CF")
MAX_PATH_DEPTH = 255
_LEVEL = re.compile(r"([0-9]{1,10})(['hH]?)", re.ASCII)
_MAY_BE_SHOWN = re.compile(r"(?=.{1,40}\Z)[m0-9h'H]{0,11}(?:/[m0-9h'H]{0,11})+", re.ASCII)
"""A mistyped path that an error may repeat. Recovery words, a private key or a PUK of 12 digits may have been typed in
its place, and what an error says is kept in the logs of wallets."""
_ORIGIN = re.compile(r"\[([0-9a-fA-F]{8})((?:/[^\]]*)?)\]", re.ASCII)


class InvalidPathError(UsageError):
    """Not a BIP32 path."""


class InvalidExtendedKeyError(UsageError):
    """Not a BIP32 extended public key."""


@dataclass(frozen=True, slots=True, order=True)
class Path:
    """A derivation path: child numbers from the master key on, hardened ones with bit 31 set."""

    steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.steps, tuple):
            raise InvalidPathError("a path is made from a tuple of child numbers; Path.parse reads text")
        if len(self.steps) > MAX_PATH_DEPTH:
            raise InvalidPathError(f"a path has at most {MAX_PATH_DEPTH} levels")
        for step in self.steps:
            if not (isinstance(step, int) and 0 <= step <= 0xFFFFFFFF):
                raise InvalidPathError(f"child number {step} is out of range")

    @classmethod
    def of(cls, path: Path | str) -> Path:
        """A path that may be given as text. Raises InvalidPathError, also for what is neither."""
        return path if isinstance(path, Path) else cls.parse(path)

    @classmethod
    def parse(cls, text: str) -> Path:
        """Read a path like `m/84h/0h/0h/0/5`.

        `'`, `h` and `H` mark hardened levels; the leading `m/` may be left out.
        Raises: InvalidPathError.
        """
        if not isinstance(text, str):
            raise InvalidPathError(f"a path is text like m/84h/0h/0h/0/0, not {type(text).__name__}")
        body = text.strip()
        if body in ("", "m", "m/"):
            return cls()
        body = body.removeprefix("m/")
        steps = []
        for level in body.split("/"):
            match = _LEVEL.fullmatch(level)
            if match is None or int(match[1]) >= HARDENED:
                shown = repr(text) if _MAY_BE_SHOWN.fullmatch(text) else "this"
                raise InvalidPathError(f"{shown} is not a derivation path like m/84h/0h/0h/0/0")
            steps.append(int(match[1]) | (HARDENED if match[2] else 0))
        return cls(tuple(steps))

    @classmethod
    def from_bytes(cls, data: bytes, byteorder: Literal["big", "little"] = "big") -> Path:
        """Read a path of 4 bytes a level: big-endian on the card, little-endian in PSBTs.

        Raises: InvalidPathError for a piece of a level.
        """
        if len(data) % 4:
            raise InvalidPathError(f"a path has 4 bytes per level, not {len(data)} in all")
        return cls(struct.unpack(f"{'>' if byteorder == 'big' else '<'}{len(data) // 4}I", data))

    def to_bytes(self) -> bytes:
        """4 bytes a level, big-endian, as the card takes it."""
        return b"".join(step.to_bytes(4, "big") for step in self.steps)

    def __str__(self) -> str:
        return "/".join(["m", *(f"{step & ~HARDENED}{'h' if step & HARDENED else ''}" for step in self.steps)])

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def depth(self) -> int:
        """Levels below the master key."""
        return len(self.steps)

    @property
    def parent(self) -> Path:
        """One level up. Raises InvalidPathError at the master key."""
        if not self.steps:
            raise InvalidPathError("the master key has no parent")
        return Path(self.steps[:-1])

    def child(self, number: int, *, hardened: bool = False) -> Path:
        """One level down."""
        return Path((*self.steps, arguments.number(number, "a child number") | (HARDENED if hardened else 0)))

    def extend(self, other: Path | str) -> Path:
        """This path followed by the levels of another."""
        return Path(self.steps + Path.of(other).steps)

    def starts_with(self, prefix: Path | str) -> bool:
        """Whether `prefix` is this path or an ancestor of it."""
        steps = Path.of(prefix).steps
        return self.steps[: len(steps)] == steps

    def below(self, prefix: Path | str) -> Path:
        """The levels after `prefix`. Raises InvalidPathError unless `prefix` is this path or an ancestor of it."""
        prefix = Path.of(prefix)
        if not self.starts_with(prefix):
            raise InvalidPathError(f"{self} does not start with {prefix}")
        return Path(self.steps[len(prefix.steps) :])

    @property
    def is_unhardened(self) -> bool:
        """Whether every level can be derived from a public key."""
        return all(step < HARDENED for step in self.steps)


MASTER = Path()


@dataclass(frozen=True, slots=True)
class KeyOrigin:
    """Where a key comes from: fingerprint of the master key, and the path from it (BIP380)."""

    fingerprint: bytes
    """4 bytes."""
    path: Path
    """May be given as text."""

    def __post_init__(self) -> None:
        arguments.octets(self.fingerprint, "a fingerprint", 4)
        object.__setattr__(self, "path", Path.of(self.path))

    @classmethod
    def parse(cls, text: str) -> KeyOrigin:
        """Read a key origin like `[73c5da0a/84h/0h/0h]`, as in output descriptors (BIP380). Raises UsageError."""
        match = _ORIGIN.fullmatch(arguments.text(text, "a key origin").strip())
        if match is None:
            raise UsageError(f"{text!r} is not a key origin like [73c5da0a/84h/0h/0h]")
        return cls(bytes.fromhex(match[1]), Path.parse(match[2].removeprefix("/")))

    def __str__(self) -> str:
        return f"[{self.fingerprint.hex()}{str(self.path)[1:]}]"


@dataclass(frozen=True, slots=True)
class ExtendedPublicKey:
    """A BIP32 extended public key; the network is chosen when it is written.

    Raises: InvalidExtendedKeyError for a key, length or number that BIP32 does not have.
    """

    public_key: bytes
    """33 bytes, compressed."""
    chain_code: bytes = field(repr=False)
    """32 bytes."""
    depth: int = 0
    """Levels below the master key, 0 to 255."""
    parent_fingerprint: bytes = bytes(4)
    """4 bytes, zero for the master key."""
    child_number: int = 0
    """The last level of its path; bit 31 set: hardened."""
    _point: Point | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.public_key) != COMPRESSED_LENGTH or not is_public_key(self.public_key):
            raise InvalidExtendedKeyError("the extended key does not hold a compressed point on the curve")
        if len(self.chain_code) != 32 or len(self.parent_fingerprint) != 4:
            raise InvalidExtendedKeyError("chain code or parent fingerprint has the wrong length")
        if not (0 <= self.depth <= 255 and 0 <= self.child_number <= 0xFFFFFFFF):
            raise InvalidExtendedKeyError("depth or child number is out of range")
        if self.depth == 0 and (any(self.parent_fingerprint) or self.child_number):
            raise InvalidExtendedKeyError("a master key has no parent")

    @property
    def fingerprint(self) -> bytes:
        """First 4 bytes of the key's HASH160."""
        return hash160(self.public_key)[:4]

    @classmethod
    def from_card(cls, data: bytes) -> ExtendedPublicKey:
        """Read the answer of GET PUBKEY 02, 106 bytes.

        The card sends SHA-256 of the parent's key; the fingerprint is the start of RIPEMD-160 of it, and zero where all
        32 bytes are zero.
        Raises: MalformedResponseError.
        """
        if len(data) < XPUB_LENGTH or data[:4] != XPUB_VERSION:
            raise MalformedResponseError("GET PUBKEY: not an extended public key")
        parent = data[5:37]
        try:
            return cls(
                public_key=data[73:106],
                chain_code=data[41:73],
                depth=data[4],
                parent_fingerprint=ripemd160(parent)[:4] if any(parent) else bytes(4),
                child_number=int.from_bytes(data[37:41], "big"),
            )
        except InvalidExtendedKeyError as error:
            raise MalformedResponseError(f"GET PUBKEY: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> ExtendedPublicKey:
        """Read the 78 bytes of BIP32 (PSBT_GLOBAL_XPUB); the version is not looked at.

        Raises: InvalidExtendedKeyError.
        """
        if len(data) != 78:
            raise InvalidExtendedKeyError("an extended key has 78 bytes")
        return cls(
            public_key=data[45:],
            chain_code=data[13:45],
            depth=data[4],
            parent_fingerprint=data[5:9],
            child_number=int.from_bytes(data[9:13], "big"),
        )

    @classmethod
    def from_string(cls, text: str) -> ExtendedPublicKey:
        """Read base58 with any version (xpub, tpub, zpub ...).

        Raises: InvalidExtendedKeyError, for private keys too; UsageError for what is no base58.
        """
        data = base58check_decode(arguments.text(text, "an extended key"))
        if len(data) == 78 and data[45] == 0:
            raise InvalidExtendedKeyError("this is an extended private key; give a public one")
        return cls.from_bytes(data)

    def to_bytes(self, version: bytes = XPUB) -> bytes:
        """The 78 bytes of BIP32."""
        return b"".join(
            (
                version,
                bytes((self.depth,)),
                self.parent_fingerprint,
                self.child_number.to_bytes(4, "big"),
                self.chain_code,
                self.public_key,
            )
        )

    def to_string(self, version: bytes = XPUB) -> str:
        """Base58 with checksum.

        `version`: 4 bytes: XPUB, TPUB or a SLIP-132 prefix.
        """
        return base58check_encode(self.to_bytes(version))

    def _tweak(self, number: int) -> tuple[Point, bytes]:
        """Point and chain code of an unhardened child (BIP32, CKDpub)."""
        if not 0 <= arguments.number(number, "a child number") < HARDENED:
            raise InvalidPathError("hardened children cannot be derived from a public key")
        mixed = hmac.digest(self.chain_code, self.public_key + number.to_bytes(4, "big"), "sha512")
        point = self._point
        if point is None:
            point = parse_public_key(self.public_key)
            object.__setattr__(self, "_point", point)
        if int.from_bytes(mixed[:32], "big") >= ORDER:
            raise InvalidPathError(f"child {number} does not exist; use the next one")
        try:
            return point.plus(mixed[:32]), mixed[32:]
        except ValueError as error:
            raise InvalidPathError(f"child {number} does not exist; use the next one") from error

    def child_public_key(self, number: int) -> bytes:
        """The compressed key of an unhardened child: `child(number).public_key`, quicker."""
        return self._tweak(number)[0].format(compressed=True)

    def child(self, number: int) -> ExtendedPublicKey:
        """An unhardened child (BIP32, CKDpub).

        Raises: InvalidPathError for a hardened number, and for the one in 2^127 that has no child.
        """
        point, chain_code = self._tweak(number)
        return ExtendedPublicKey(
            public_key=point.format(compressed=True),
            chain_code=chain_code,
            depth=self.depth + 1,
            parent_fingerprint=self.fingerprint,
            child_number=number,
        )

    def derive(self, path: Path | str) -> ExtendedPublicKey:
        """The key at an unhardened relative path. Raises InvalidPathError."""
        key = self
        for number in Path.of(path).steps:
            key = key.child(number)
        return key


def fingerprint(public_key: bytes) -> bytes:
    """The fingerprint of a compressed public key: 4 bytes."""
    return hash160(public_key)[:4]
