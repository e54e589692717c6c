"""The keys of a wallet's output descriptor (BIP380, 389, 390), read strictly. Pure. No error repeats what it could not
read: it may be a secret that was pasted by mistake."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, KeyOrigin, Path
from cryptnox_core.crypto.hashes import base58check_decode
from cryptnox_core.crypto.musig2 import aggregate_keys, sort_keys
from cryptnox_core.crypto.secp256k1 import compress, is_public_key
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.networks import Network, network_of_version

MAX_SIGNERS = 32
"""Keys of one MuSig2 key that the card takes."""
_KEY = re.compile(r"(\[[^\]]*\])?([0-9A-Za-z]+)((?:/[^/]*)*)")
_STEP = re.compile(r"<(\d{1,10}(?:;\d{1,10})*)>|(\d{1,10})")
_HEX = re.compile(r"[0-9a-fA-F]+")
_HARDENED_MARKS = ("h", "H", "'")
PRIVATE_TEXT = "the descriptor holds a private key: use the public one (xpub), and show the private one to nobody"


class PolicyError(BadRequestError):
    """What was given is no wallet of several keys that can be registered. The text says why."""


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """One key of a wallet."""

    origin: KeyOrigin | None
    key: ExtendedPublicKey | None
    """None for one that is the same in every script."""
    fixed: bytes = b""
    """33 or 65 bytes, or 32 (x only), of one that is the same in every script."""
    branches: tuple[tuple[int, ...], ...] = ()
    """Levels below the extended key, one tuple for each branch; the address's number follows."""
    network: Network | None = None
    """Whose version the extended key is written with."""
    whole: bool = False
    """Of a MuSig2 key that is derived itself: the extended key stands for its own public key, in every script."""

    def __str__(self) -> str:
        head = "" if self.origin is None else str(self.origin)
        if self.key is None:
            return f"{head}{self.fixed.hex()}"
        text = f"{head}{self.key.to_string((self.network or Network.MAIN).version)}"
        return text if self.whole else f"{text}{steps_text(self.branches)}/*"

    @property
    def fingerprint(self) -> bytes | None:
        """Of the master key; of the extended key itself where it has no origin (BIP380); None: not told."""
        if self.origin is not None:
            return self.origin.fingerprint
        return None if self.key is None else self.key.fingerprint

    @property
    def path(self) -> Path:
        """Of the key, from the master key on."""
        return Path() if self.origin is None else self.origin.path


@dataclass(frozen=True, slots=True)
class MusigExpression:
    """Several keys that sign together for one: `musig(...)` (BIP390). They are sorted before they are aggregated."""

    keys: tuple[PolicyKey, ...]
    branches: tuple[tuple[int, ...], ...] = ()
    """Levels below the aggregate, one tuple for each branch; the address's number follows. Empty: the keys have their
    own."""

    def __str__(self) -> str:
        text = f"musig({','.join(map(str, self.keys))})"
        return f"{text}{steps_text(self.branches)}/*" if self.branches else text

    def at(self, keys: Sequence[bytes], branch: int, index: int) -> bytes:
        """The key of one address (33 bytes), of the signers' keys there. Raises: UsageError where there is none."""
        aggregate = aggregate_keys(sort_keys(keys))
        return aggregate.derived((*self.branches[branch], index)).key if self.branches else aggregate.key


KeyExpression: TypeAlias = "PolicyKey | MusigExpression"


def steps_text(branches: Sequence[Sequence[int]]) -> str:
    """The levels between a key and the address's number, `/<0;1>` for instance."""
    levels = [dict.fromkeys(level) for level in zip(*branches, strict=True)]
    return "".join(
        f"/{next(iter(level))}" if len(level) == 1 else f"/<{';'.join(map(str, level))}>" for level in levels
    )


def musig_of(keys: Sequence[PolicyKey]) -> MusigExpression:
    """The keys of a `musig(...)`. PolicyError where they cannot sign together."""
    if len(keys) < 2:
        raise PolicyError("the descriptor's musig() needs two keys or more")
    if len(keys) > MAX_SIGNERS:
        raise PolicyError(f"the descriptor's musig() has more than the {MAX_SIGNERS} keys that the card takes")
    if len({x_of(key) for key in keys}) < len(keys):
        raise PolicyError("the descriptor's musig() has the same key twice")
    return MusigExpression(tuple(keys))


def derived_musig(musig: MusigExpression, tail: str) -> MusigExpression:
    """With the levels behind the bracket, `/<0;1>/*`. PolicyError for other keys than whole ones."""
    if not all(key.whole for key in musig.keys):
        raise PolicyError("a musig() with levels after it takes extended keys (xpub) without levels")
    steps = tail.split("/")[1:]
    if steps[-1] != "*":
        raise PolicyError("a musig() has levels after it, but no wildcard: it needs /<0;1>/*")
    return MusigExpression(musig.keys, read_branches(steps[:-1]))


def read_key(token: str, *, whole: bool = False) -> PolicyKey:
    """A key. No error shows it. `whole`: an extended one may have no levels behind it."""
    if "prv" in token:
        raise PolicyError(PRIVATE_TEXT)
    match = _KEY.fullmatch(token)
    if match is None:
        raise PolicyError("a key of the descriptor cannot be read")
    origin = _origin(match[1]) if match[1] else None
    body, tail = match[2], match[3]
    if _HEX.fullmatch(body) and len(body) in (64, 66):
        if tail:
            raise PolicyError("a key that is not an extended key (xpub) has levels after it")
        fixed = bytes.fromhex(body)
        if not is_public_key(b"\x02" + fixed if len(fixed) == 32 else fixed):
            raise PolicyError("a key of the descriptor is not a point on the curve")
        return PolicyKey(origin, None, fixed)
    return _extended(origin, body, tail, whole)


def _origin(text: str) -> KeyOrigin:
    try:
        return KeyOrigin.parse(text)
    except UsageError:
        raise PolicyError("the origin of a key cannot be read; it looks like [73c5da0a/48h/0h/0h/2h]") from None


def _extended(origin: KeyOrigin | None, body: str, tail: str, whole: bool) -> PolicyKey:
    try:
        data = base58check_decode(body)
    except UsageError:
        raise PolicyError("a key of the descriptor has a typing error, or is not a key") from None
    if len(data) in (33, 34):
        raise PolicyError(PRIVATE_TEXT)
    network = network_of_version(data[:4])
    if network is None:
        raise PolicyError("an extended key is neither an xpub nor a tpub, nor another known form of one")
    try:
        key = ExtendedPublicKey.from_string(body)
    except UsageError as error:
        raise PolicyError(f"an extended key is damaged: {error}") from None
    if whole and not tail:
        return PolicyKey(origin, key, b"", (), network, whole=True)
    *steps, last = tail.split("/") if tail else [""]
    if last[:1] == "*" and last[1:] in _HARDENED_MARKS:
        raise PolicyError("a wildcard is hardened (*h), so the other signers' keys cannot be derived")
    if last != "*":
        raise PolicyError("an extended key has no wildcard: it needs /<0;1>/* after it")
    return PolicyKey(origin, key, b"", read_branches(steps[1:]), network)


def read_branches(steps: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Levels as numbers, a tuple for each branch. PolicyError for what is no level."""
    levels: list[tuple[int, ...]] = []
    for step in steps:
        match = _STEP.fullmatch(step)
        if match is None:
            if step[-1:] in _HARDENED_MARKS or any(
                f"{mark};" in step or f"{mark}>" in step for mark in _HARDENED_MARKS
            ):
                raise PolicyError(
                    "a level after an extended key is hardened: it cannot be derived without the private key"
                )
            raise PolicyError("the levels after an extended key cannot be read: use /<0;1>/*")
        numbers = tuple([int(number) for number in (match[1] or match[2]).split(";")])
        if any(number >= HARDENED for number in numbers):
            raise PolicyError("a level after an extended key is above 2,147,483,647")
        levels.append(numbers)
    several = [level for level in levels if len(level) > 1]
    if len(several) > 1:
        raise PolicyError("an extended key has branches (<0;1>) at two levels")
    count = len(several[0]) if several else 1
    if count > 2 or (several and len(set(several[0])) < 2):
        raise PolicyError("the branches of an extended key must be two different ones: receive and change, <0;1>")
    return tuple(
        [tuple([level[branch] if len(level) > 1 else level[0] for level in levels]) for branch in range(count)]
    )


def x_of(key: PolicyKey) -> bytes:
    """The x coordinate: what tells one signer from another."""
    return compressed(key.fixed)[1:] if key.key is None else key.key.public_key[1:]


def compressed(fixed: bytes) -> bytes:
    """33 bytes of a fixed key."""
    return b"\x02" + fixed if len(fixed) == 32 else compress(fixed)
