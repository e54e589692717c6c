"""How a wallet's coins can be spent, in words: only what the descriptor itself says. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product

from hwilib_cryptnox.export.policy_keys import KeyExpression, MusigExpression, PolicyKey
from hwilib_cryptnox.export.policy_text import MULTI, TREE, Node

NUMS = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""The x coordinate whose private key nobody has (BIP341)."""
MOST_WAYS = 24
"""Ways to spend that are told; of more only the keys are."""
_ALL = frozenset({"and_v", "and_b", "and_n"})
_ANY = frozenset({"or_b", "or_c", "or_d", "or_i", TREE})
_TIME = 1 << 22
_VALUE = 0xFFFF
_FIRST_TIME = 500_000_000
"""Of OP_CHECKLOCKTIMEVERIFY: smaller numbers are blocks."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to spend: all of it is needed."""

    keys: tuple[str, ...] = ()
    """Keys, or so many of several."""
    others: tuple[str, ...] = ()
    """Waiting times and secrets."""

    def __add__(self, other: Way) -> Way:
        return Way(self.keys + other.keys, self.others + other.others)

    def __str__(self) -> str:
        return ", ".join([" and ".join(dict.fromkeys(self.keys)), *dict.fromkeys(self.others)])


def ways(policy: Node, label: Callable[[PolicyKey], str]) -> tuple[Way, ...]:
    """Every way to spend, in the order of the descriptor; none where there are too many to tell. `label`: what a key
    is called."""
    found = _ways(policy, label)
    return tuple(found) if len(found) <= MOST_WAYS else ()


def needs_key(node: Node) -> bool:
    """Whether every way to spend needs a key: else anybody could take the coins."""
    below = [needs_key(one) for one in node.nodes]
    if node.name in _ANY or node.name == "tr":
        return all(below)
    if node.name == "andor":
        return (below[0] or below[1]) and below[2]
    if node.name == "thresh":
        return below.count(False) < int(str(node.args[0]))
    return any(below) or bool(node.own_expressions)


def _ways(node: Node, label: Callable[[PolicyKey], str]) -> list[Way]:
    name, args = node.name, node.args
    if name in ("wsh", "sh"):
        return _ways(node.nodes[0], label)
    if name == "tr":
        leaves = [way for below in node.nodes for way in _ways(below, label)]
        return _key_path(node.own_expressions[0], label) + leaves
    if name in MULTI:
        return [Way((_of(str(args[0]), [_name(key, label) for key in node.own_expressions]),))]
    if name == "thresh":
        return _threshold(int(str(args[0])), node.nodes, label)
    if name in _ALL:
        return _each([_ways(below, label) for below in node.nodes])
    if name in _ANY:
        return _few([way for below in node.nodes for way in _ways(below, label)])
    if name == "andor":
        first, second, third = [_ways(below, label) for below in node.nodes]
        return _few(_each([first, second]) + third)
    if name in ("older", "after"):
        return [Way((), ((_older if name == "older" else _after)(int(str(args[0]))),))]
    if node.own_expressions:
        return [Way((_name(node.own_expressions[0], label),))]
    return [Way((), (f"with the secret of the {name} hash {args[0]}",))]


def _key_path(key: KeyExpression, label: Callable[[PolicyKey], str]) -> list[Way]:
    if isinstance(key, MusigExpression):
        return [Way((_name(key, label),))]
    return [] if is_nobodys(key) else [Way((f"{label(key)} alone",))]


def _name(key: KeyExpression, label: Callable[[PolicyKey], str]) -> str:
    """What a key is called; of those that sign as one all, and that they do."""
    if isinstance(key, MusigExpression):
        return f"{' and '.join(map(label, key.keys))} together (MuSig2)"
    return label(key)


def is_nobodys(key: PolicyKey) -> bool:
    """Whether a key is the one (or a child of it) whose private key is known to be nobody's."""
    return NUMS in (key.fixed[-32:], b"" if key.key is None else key.key.public_key[1:])


def _of(threshold: str, labels: Sequence[str]) -> str:
    return f"{threshold} of {', '.join(labels)}"


def _threshold(threshold: int, nodes: Sequence[Node], label: Callable[[PolicyKey], str]) -> list[Way]:
    single = [node.own_expressions[0] for node in nodes if not node.nodes and node.own_expressions]
    if len(single) == len(nodes):
        return [Way((_of(str(threshold), [_name(key, label) for key in single]),))]
    below = [_ways(node, label) for node in nodes]
    return _few(way for chosen in combinations(below, threshold) for way in _each(chosen))


def _each(parts: Sequence[Sequence[Way]]) -> list[Way]:
    return _few(sum(chosen, Way()) for chosen in product(*parts))


def _few(found: Iterable[Way]) -> list[Way]:
    """No more than it takes to see that there are too many."""
    return list(islice(found, MOST_WAYS + 1))


def _older(number: int) -> str:
    """BIP68: only 16 bits and the one for time count."""
    value = number & _VALUE
    if not value:
        return "at once"
    if number & _TIME:
        return f"{value * 512:,} seconds after the coin was received{_days(value * 512 / 86400)}"
    return f"{value:,} blocks after the coin was received{_days(value / 144)}"


def _days(days: float) -> str:
    return f" (about {days:.0f} days)" if days >= 2 else ""


def _after(number: int) -> str:
    return f"from block {number:,} on" if number < _FIRST_TIME else f"from the time {number} (Unix) on"
