"""The text of a wallet's output descriptor, read strictly into a tree (BIP380 to 389, miniscript). Pure.

What a text says is decided here; whether its miniscript is sound, and which script it makes, by embit. No error repeats
what it could not read: it may be a secret that was pasted by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, KeyOrigin, Path
from cryptnox_core.crypto.hashes import base58check_decode
from cryptnox_core.crypto.secp256k1 import compress, is_public_key
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.export.descriptors import check_descriptor, descriptor_checksum
from hwilib_cryptnox.networks import Network, network_of_version

MAX_TEXT = 16 * 1024
"""Characters of a descriptor."""
MAX_DEPTH = 48
"""Brackets in brackets."""
_MOST_WRAPPERS = 12
_KEYS = frozenset({"pk", "pkh", "pk_k", "pk_h"})
_HASHES = {"sha256": 64, "hash256": 64, "ripemd160": 40, "hash160": 40}
_LOCKS = frozenset({"older", "after"})
_NODES = {"and_v": 2, "and_b": 2, "and_n": 2, "or_b": 2, "or_c": 2, "or_d": 2, "or_i": 2, "andor": 3}
MULTI = frozenset({"multi", "sortedmulti", "multi_a", "sortedmulti_a"})
SINGLE = frozenset({"pkh", "wpkh", "pk", "combo", "rawtr"})
TREE = "{}"
"""Name of the node that a branch of a taproot tree is."""
_UNKNOWN = frozenset({"musig", "addr", "raw", "rawtr", "combo", "wpkh", "unspend", "sp", "multi_a", "sortedmulti_a"})
_TOKEN = re.compile(r"[(),{}]|[^(),{}]+")
_BRACED = re.compile(r"/\{(\d{1,10}),(\d{1,10})\}")
"""Branches as embit before 0.8 writes them; `/**` is how BIP388 does."""
_NAME = re.compile(r"(?:([asctdvjnlu]+):)?([a-z][a-z0-9_]*)")
_KEY = re.compile(r"(\[[^\]]*\])?([0-9A-Za-z]+)((?:/[^/]*)*)")
_STEP = re.compile(r"<(\d{1,10}(?:;\d{1,10})*)>|(\d{1,10})")
_NUMBER = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+")
_HARDENED_MARKS = ("h", "H", "'")
_NONE_TEXT = "this is not an output descriptor of a wallet, like wsh(sortedmulti(2,...))"
_PRIVATE_TEXT = "the descriptor holds a private key: use the public one (xpub), and show the private one to nobody"


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

    def __str__(self) -> str:
        head = "" if self.origin is None else str(self.origin)
        if self.key is None:
            return f"{head}{self.fixed.hex()}"
        version = (self.network or Network.MAIN).version
        return f"{head}{self.key.to_string(version)}{self.steps}/*"

    @property
    def steps(self) -> str:
        """The levels between the extended key and the address's number, `/<0;1>` for instance."""
        levels = [dict.fromkeys(level) for level in zip(*self.branches, strict=True)]
        return "".join(
            f"/{next(iter(level))}" if len(level) == 1 else f"/<{';'.join(map(str, level))}>" for level in levels
        )

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
class Node:
    """One function of a descriptor."""

    name: str
    args: tuple[Node | PolicyKey | str, ...]
    wrappers: str = ""

    def __str__(self) -> str:
        inner = ",".join(map(str, self.args))
        return f"{{{inner}}}" if self.name == TREE else f"{self._head}({inner})"

    @property
    def _head(self) -> str:
        return f"{self.wrappers}:{self.name}" if self.wrappers else self.name

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those right below."""
        return tuple([arg for arg in self.args if isinstance(arg, Node)])

    def walk(self) -> Iterator[Node]:
        """This one and all below."""
        yield self
        for node in self.nodes:
            yield from node.walk()

    @property
    def keys(self) -> tuple[PolicyKey, ...]:
        """All, in the order of the text."""
        found: list[PolicyKey] = []
        for arg in self.args:
            if isinstance(arg, Node):
                found += arg.keys
            elif isinstance(arg, PolicyKey):
                found.append(arg)
        return tuple(found)

    def filled(self, keys: Iterator[str]) -> str:
        """The text with other texts in place of the keys, in their order."""
        inner = ",".join(
            [
                arg.filled(keys) if isinstance(arg, Node) else next(keys) if isinstance(arg, PolicyKey) else arg
                for arg in self.args
            ]
        )
        return f"{{{inner}}}" if self.name == TREE else f"{self._head}({inner})"


def read(text: str) -> Node:
    """The tree of one descriptor that has both branches (or one), or of two that are the halves of a wallet, receive
    and change, with blanks between them. Checksums may be missing, and must be right where they are there.

    Raises: PolicyError.
    """
    if len(text) > MAX_TEXT:
        raise PolicyError(f"the descriptor is longer than {MAX_TEXT:,} characters")
    parts = text.split()
    if not parts:
        raise PolicyError("there is no descriptor")
    if len(parts) > 2:
        raise PolicyError("give one descriptor, or two: one for receive and one for change addresses")
    first, *rest = [_tree(part) for part in parts]
    return _joined(first, rest[0]) if rest else first


def _tree(text: str) -> Node:
    body = text
    try:
        if "#" in text:
            body = check_descriptor(text)
        else:
            descriptor_checksum(body)
    except UsageError:
        raise PolicyError(
            "the descriptor's checksum is wrong, or it has characters that no descriptor has: copy it again"
        ) from None
    body = _BRACED.sub(r"/<\1;\2>", body).replace("/**", "/<0;1>/*")
    return _Reader(_TOKEN.findall(body)).read()


class _Frame:
    """A bracket that is open."""

    def __init__(self, name: str, wrappers: str, end: str) -> None:
        self.name, self.wrappers, self.end = name, wrappers, end
        self.args: list[Node | PolicyKey | str] = []


class _Reader:
    """Reads tokens without recursion."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = iter(zip_longest(tokens, tokens[1:]))
        self._open: list[_Frame] = []
        self._wanted = True
        """An argument has to come next."""

    def read(self) -> Node:
        for part, following in self._tokens:
            if part == "{":
                self._begin(TREE, "", "}")
            elif part == ",":
                if self._wanted or not self._open:
                    raise PolicyError("the descriptor has a comma in the wrong place")
                self._wanted = True
            elif part in (")", "}"):
                node = self._end(part)
                if self._open:
                    self._open[-1].args.append(node)
                elif following is None:
                    return node
                else:
                    raise PolicyError("the descriptor continues after its end")
            elif part != "(" and following == "(":
                name = _NAME.fullmatch(part)
                if name is None or len(name[1] or "") > _MOST_WRAPPERS:
                    raise PolicyError(_NONE_TEXT)
                self._begin(name[2], name[1] or "", ")")
                next(self._tokens)
            elif part != "(" and self._wanted and self._open:
                self._open[-1].args.append(_argument(self._open[-1], part))
                self._wanted = False
            else:
                raise PolicyError(_NONE_TEXT)
        raise PolicyError("this is not a descriptor, or it is cut off")

    def _begin(self, name: str, wrappers: str, end: str) -> None:
        if not self._wanted:
            raise PolicyError("the descriptor has a bracket in the wrong place")
        if len(self._open) >= MAX_DEPTH:
            raise PolicyError(f"the descriptor nests more than {MAX_DEPTH} brackets")
        self._open.append(_Frame(name, wrappers, end))

    def _end(self, token: str) -> Node:
        if self._wanted or not self._open or self._open[-1].end != token:
            raise PolicyError("the descriptor's brackets do not match")
        return _node(self._open.pop())


def _argument(frame: _Frame, token: str) -> PolicyKey | str:
    """What stands in a bracket and is no function."""
    name, at = frame.name, len(frame.args)
    if name in _LOCKS or ((name in MULTI or name == "thresh") and not at):
        if _NUMBER.fullmatch(token) is None:
            raise PolicyError(f"the descriptor's {name}() needs a number")
        return token
    if name in _HASHES:
        if len(token) != _HASHES[name] or _HEX.fullmatch(token) is None:
            raise PolicyError(f"the descriptor's {name}() needs a hash of {_HASHES[name]} hexadecimal digits")
        return token.lower()
    if name in _KEYS or name in MULTI or name in SINGLE or (name == "tr" and not at):
        return _key(token)
    raise PolicyError("the descriptor has a key, a number, or a word in the wrong place")


def _node(frame: _Frame) -> Node:
    """A function whose bracket is closed; PolicyError unless it has what it needs."""
    name, args = frame.name, tuple(frame.args)
    if name in MULTI or name == "thresh":
        below = PolicyKey if name in MULTI else Node
        right = len(args) > 1 and isinstance(args[0], str) and all(isinstance(arg, below) for arg in args[1:])
    elif name in _NODES:
        right = len(args) == _NODES[name]
    elif name in ("wsh", "sh"):
        right = len(args) == 1
    elif name == "tr":
        right = 1 <= len(args) <= 2 and isinstance(args[0], PolicyKey)
    elif name == TREE:
        right = len(args) == 2
    elif name in _KEYS or name in _LOCKS or name in _HASHES or name in SINGLE:
        right = len(args) == 1 and not isinstance(args[0], Node)
    elif name in _UNKNOWN:
        raise PolicyError(f"the descriptor has {name}(), which this program cannot register")
    else:
        raise PolicyError("the descriptor has a function that this program does not know")
    if not right:
        raise PolicyError(f"the descriptor's {name}() lacks what it needs")
    return Node(name, args, frame.wrappers)


# Keys


def _key(token: str) -> PolicyKey:
    """A key expression. No error shows it."""
    if "prv" in token:
        raise PolicyError(_PRIVATE_TEXT)
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
    return _extended(origin, body, tail)


def _origin(text: str) -> KeyOrigin:
    try:
        return KeyOrigin.parse(text)
    except UsageError:
        raise PolicyError("the origin of a key cannot be read; it looks like [73c5da0a/48h/0h/0h/2h]") from None


def _extended(origin: KeyOrigin | None, body: str, tail: str) -> PolicyKey:
    try:
        data = base58check_decode(body)
    except UsageError:
        raise PolicyError("a key of the descriptor has a typing error, or is not a key") from None
    if len(data) in (33, 34):
        raise PolicyError(_PRIVATE_TEXT)
    network = network_of_version(data[:4])
    if network is None:
        raise PolicyError("an extended key is neither an xpub nor a tpub, nor another known form of one")
    try:
        key = ExtendedPublicKey.from_string(body)
    except UsageError as error:
        raise PolicyError(f"an extended key is damaged: {error}") from None
    *steps, last = tail.split("/") if tail else [""]
    if last[:1] == "*" and last[1:] in _HARDENED_MARKS:
        raise PolicyError("a wildcard is hardened (*h), so the other signers' keys cannot be derived")
    if last != "*":
        raise PolicyError("an extended key has no wildcard: it needs /<0;1>/* after it")
    return PolicyKey(origin, key, b"", _branches(steps[1:]), network)


def _branches(steps: Sequence[str]) -> tuple[tuple[int, ...], ...]:
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


# Two halves


def _joined(receive: Node, change: Node) -> Node:
    """Both branches in one, of two descriptors that differ in nothing else."""
    pairs = list(zip_longest(receive.keys, change.keys))
    blank = [node.filled(iter([""] * len(node.keys))) for node in (receive, change)]
    if blank[0] != blank[1] or any(
        one is None or other is None or (one.origin, one.key, one.fixed) != (other.origin, other.key, other.fixed)
        for one, other in pairs
    ):
        raise PolicyError(
            "the two descriptors belong to different wallets: they differ in more than the branch of their keys"
        )
    keys = []
    for one, other in pairs:
        branches = (*one.branches, *other.branches)
        if one.key is not None and (len(branches) != 2 or len(branches[0]) != len(branches[1])):
            raise PolicyError(
                "two descriptors must have one branch each: the first for receive addresses, the second for change"
            )
        if one.key is not None and sum([a != b for a, b in zip(*branches, strict=True)]) != 1:
            raise PolicyError("the two descriptors have the same addresses, or differ at more than one level")
        keys.append(PolicyKey(one.origin, one.key, one.fixed, branches, one.network))
    if all(key.branches[:1] > key.branches[1:] for key in keys if key.key is not None):
        keys = [PolicyKey(key.origin, key.key, key.fixed, key.branches[::-1], key.network) for key in keys]
    return _with_keys(receive, iter(keys))


def _with_keys(node: Node, keys: Iterator[PolicyKey]) -> Node:
    args = [
        _with_keys(arg, keys) if isinstance(arg, Node) else next(keys) if isinstance(arg, PolicyKey) else arg
        for arg in node.args
    ]
    return Node(node.name, tuple(args), node.wrappers)
