"""The text of a wallet's output descriptor, read strictly into a tree (BIP380 to 390, miniscript). Pure.

What a text says is decided here; whether its miniscript is sound, and which script it makes, by embit. No error repeats
what it could not read: it may be a secret that was pasted by mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export.descriptors import check_descriptor, descriptor_checksum
from hwilib_cryptnox.export.policy_keys import (
    KeyExpression,
    MusigExpression,
    PolicyError,
    PolicyKey,
    derived_musig,
    musig_of,
    read_key,
)

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
_MUSIG = "musig"
_UNKNOWN = frozenset({"addr", "raw", "rawtr", "combo", "wpkh", "unspend", "sp", "multi_a", "sortedmulti_a"})
_TOKEN = re.compile(r"[(),{}]|[^(),{}]+")
_BRACED = re.compile(r"/\{(\d{1,10}),(\d{1,10})\}")
"""Branches as embit before 0.8 writes them; `/**` is how BIP388 does."""
_NAME = re.compile(r"(?:([asctdvjnlu]+):)?([a-z][a-z0-9_]*)")
_NUMBER = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]+")
_OTHERS_TEXT = "the two descriptors belong to different wallets: they differ in more than the branch of their keys"
_NONE_TEXT = "this is not an output descriptor of a wallet, like wsh(sortedmulti(2,...))"


@dataclass(frozen=True, slots=True)
class Node:
    """One function of a descriptor."""

    name: str
    args: tuple[Node | KeyExpression | str, ...]
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
    def expressions(self) -> tuple[KeyExpression, ...]:
        """The keys, those that sign together as one, in the order of the text."""
        found: list[KeyExpression] = []
        for arg in self.args:
            if isinstance(arg, Node):
                found += arg.expressions
            elif not isinstance(arg, str):
                found.append(arg)
        return tuple(found)

    @property
    def own_expressions(self) -> tuple[KeyExpression, ...]:
        """Those right here."""
        return tuple([arg for arg in self.args if not isinstance(arg, Node | str)])

    @property
    def keys(self) -> tuple[PolicyKey, ...]:
        """All keys, each by itself, in the order of the text."""
        return tuple([key for one in self.expressions for key in keys_in(one)])

    def filled(self, keys: Iterator[str]) -> str:
        """The text with other texts in place of `expressions`, in their order."""
        inner = ",".join(
            [
                arg.filled(keys) if isinstance(arg, Node) else arg if isinstance(arg, str) else next(keys)
                for arg in self.args
            ]
        )
        return f"{{{inner}}}" if self.name == TREE else f"{self._head}({inner})"


def keys_in(expression: KeyExpression) -> tuple[PolicyKey, ...]:
    """The keys of an expression."""
    return (expression,) if isinstance(expression, PolicyKey) else expression.keys


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
        self.args: list[Node | KeyExpression | str] = []


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
                if isinstance(node, MusigExpression) and following is not None and following[0] == "/":
                    node = derived_musig(node, following)
                    next(self._tokens)
                if self._open:
                    self._open[-1].args.append(node)
                elif isinstance(node, MusigExpression):
                    raise PolicyError("the descriptor's musig() only works inside tr()")
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

    def _end(self, token: str) -> Node | MusigExpression:
        if self._wanted or not self._open or self._open[-1].end != token:
            raise PolicyError("the descriptor's brackets do not match")
        frame = self._open.pop()
        if frame.name != _MUSIG:
            return _node(frame)
        if frame.wrappers:
            raise PolicyError(_NONE_TEXT)
        return musig_of([arg for arg in frame.args if isinstance(arg, PolicyKey)])


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
        return read_key(token)
    if name == _MUSIG:
        return read_key(token, whole=True)
    raise PolicyError("the descriptor has a key, a number, or a word in the wrong place")


def _node(frame: _Frame) -> Node:
    """A function whose bracket is closed; PolicyError unless it has what it needs."""
    name, args = frame.name, tuple(frame.args)
    kinds = [Node if isinstance(arg, Node) else str if isinstance(arg, str) else PolicyKey for arg in args]
    if name in MULTI or name == "thresh":
        below = PolicyKey if name in MULTI else Node
        right = len(args) > 1 and kinds == [str, *[below] * (len(args) - 1)]
    elif name in _NODES:
        right = kinds == [Node] * _NODES[name]
    elif name in ("wsh", "sh"):
        right = kinds in ([Node], [PolicyKey])
    elif name == "tr":
        right = kinds in ([PolicyKey], [PolicyKey, Node])
    elif name == TREE:
        right = kinds == [Node, Node]
    elif name in _KEYS or name in SINGLE:
        right = kinds == [PolicyKey]
    elif name in _LOCKS or name in _HASHES:
        right = kinds == [str]
    elif name in _UNKNOWN:
        raise PolicyError(f"the descriptor has {name}(), which this program cannot register")
    else:
        raise PolicyError("the descriptor has a function that this program does not know")
    if not right:
        raise PolicyError(f"the descriptor's {name}() lacks what it needs")
    return Node(name, args, frame.wrappers)


# Two halves


def _joined(receive: Node, change: Node) -> Node:
    """Both branches in one, of two descriptors that differ in nothing else."""
    pairs = list(zip_longest(receive.expressions, change.expressions))
    blank = [node.filled(iter([""] * len(node.expressions))) for node in (receive, change)]
    if blank[0] != blank[1]:
        raise PolicyError(_OTHERS_TEXT)
    joined = [_joined_expressions(one, other) for one, other in pairs]
    found = [one.branches for one in (*joined, *[key for one in joined for key in keys_in(one)]) if one.branches]
    if all(branches[:1] > branches[1:] for branches in found):
        joined = [_reversed(one) for one in joined]
    return _with_expressions(receive, iter(joined))


def half(tree: Node, branch: int) -> Node:
    """The descriptor of one branch alone: 0 receive, 1 change."""
    return _with_expressions(tree, iter([_half(one, branch) for one in tree.expressions]))


def _half(expression: KeyExpression, branch: int) -> KeyExpression:
    branches = expression.branches[branch : branch + 1]
    if isinstance(expression, MusigExpression):
        keys = [replace(key, branches=key.branches[branch : branch + 1]) for key in expression.keys]
        return MusigExpression(tuple(keys), branches)
    return replace(expression, branches=branches)


def _joined_expressions(one: KeyExpression | None, other: KeyExpression | None) -> KeyExpression:
    if isinstance(one, MusigExpression) and isinstance(other, MusigExpression) and len(one.keys) == len(other.keys):
        pairs = zip(one.keys, other.keys, strict=True)
        keys = [key for pair in pairs for key in keys_in(_joined_expressions(*pair))]
        branches = _both_branches(one.branches, other.branches) if one.branches or other.branches else ()
        return MusigExpression(tuple(keys), branches)
    if (
        isinstance(one, PolicyKey)
        and isinstance(other, PolicyKey)
        and replace(one, branches=()) == replace(other, branches=(), network=one.network)
    ):
        mere = one.key is None or one.whole
        return one if mere else replace(one, branches=_both_branches(one.branches, other.branches))
    raise PolicyError(_OTHERS_TEXT)


def _reversed(expression: KeyExpression) -> KeyExpression:
    if isinstance(expression, MusigExpression):
        keys = [replace(key, branches=key.branches[::-1]) for key in expression.keys]
        return MusigExpression(tuple(keys), expression.branches[::-1])
    return replace(expression, branches=expression.branches[::-1])


def _both_branches(one: tuple[tuple[int, ...], ...], other: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    branches = (*one, *other)
    if len(branches) != 2 or len(branches[0]) != len(branches[1]):
        raise PolicyError(
            "two descriptors must have one branch each: the first for receive addresses, the second for change"
        )
    if sum([a != b for a, b in zip(*branches, strict=True)]) != 1:
        raise PolicyError("the two descriptors have the same addresses, or differ at more than one level")
    return branches


def _with_expressions(node: Node, keys: Iterator[KeyExpression]) -> Node:
    args = [
        _with_expressions(arg, keys) if isinstance(arg, Node) else arg if isinstance(arg, str) else next(keys)
        for arg in node.args
    ]
    return Node(node.name, tuple(args), node.wrappers)
