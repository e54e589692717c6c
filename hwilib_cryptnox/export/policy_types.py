"""Whether a miniscript is sound: the types of BIP379, and its timelocks. Pure.

embit judges miniscripts too, and more mildly than BIP379, Bitcoin Core and BDK: what it lets through (`j:multi_a`, the
dissatisfaction of an `and_v`) can make a script whose coins some of its ways to spend cannot reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hwilib_cryptnox.export.policy_keys import PolicyError
from hwilib_cryptnox.export.policy_text import MULTI, TREE, Node

_HIGHEST_LOCK = (1 << 31) - 1
_RELATIVE_TIME = 1 << 22
_FIRST_TIME = 500_000_000
_CONFLICTS = (frozenset({"older block", "older time"}), frozenset({"after block", "after time"}))


@dataclass(frozen=True, slots=True)
class _Type:
    """A basic type (B, V, K, W), properties (z, o, n, d, u), and the timelocks that are somewhere below."""

    basic: str
    has: frozenset[str]
    locks: frozenset[str] = frozenset()

    def __contains__(self, needed: str) -> bool:
        """Whether it has a basic type and properties: "Bdu"."""
        return self.basic == needed[0] and self.has.issuperset(needed[1:])


_ZERO, _ONE = _Type("B", frozenset("zud")), _Type("B", frozenset("zu"))


def check_sound(script: Node, *, taproot: bool) -> None:
    """PolicyError unless a script (of taproot: a leaf, or a tree of them) is sound.

    A way to spend that waits for a block and for a time is none: one transaction cannot say both.
    """
    if script.name == TREE:
        for node in script.nodes:
            check_sound(node, taproot=taproot)
    elif _type_of(script, taproot).basic != "B":
        raise PolicyError(_unsound(script))


def _unsound(node: Node) -> str:
    return f"the script is not sound miniscript: {node.name}() does not fit with what is around it or in it"


def _type_of(node: Node, taproot: bool) -> _Type:
    below = [_type_of(one, taproot) for one in node.nodes]
    found = _of_function(node, below)
    for wrapper in reversed(node.wrappers):
        found = None if found is None else _wrapped(wrapper, found, taproot)
    if found is None:
        raise PolicyError(_unsound(node))
    return found


def _of_function(node: Node, below: Sequence[_Type]) -> _Type | None:
    name = node.name
    if name in ("older", "after"):
        return _lock(name, int(str(node.args[0])))
    simple = _SIMPLE.get(name)
    if simple is not None:
        return _Type(simple[0], frozenset(simple[1:]))
    if name == "thresh":
        return _threshold(int(str(node.args[0])), below)
    if name == "and_n":
        return _andor(below[0], below[1], _ZERO)
    return _COMBINED[name](*below) if name in _COMBINED else None


_SIMPLE = {
    "pk_k": "Kondu",
    "pk_h": "Kndu",
    "pk": "Bondu",
    "pkh": "Bndu",
    **dict.fromkeys(("sha256", "hash256", "ripemd160", "hash160"), "Bondu"),
    **{name: "Bdu" if name.endswith("_a") else "Bndu" for name in MULTI},
}


def _lock(name: str, number: int) -> _Type:
    if not 1 <= number <= _HIGHEST_LOCK:
        raise PolicyError(f"the descriptor's {name}() takes a number from 1 to {_HIGHEST_LOCK:,}")
    time = number & _RELATIVE_TIME if name == "older" else number >= _FIRST_TIME
    return _Type("B", frozenset("z"), frozenset({f"{name} {'time' if time else 'block'}"}))


def _made(basic: str, parts: Sequence[_Type], *, together: Sequence[_Type] = (), **has: bool) -> _Type:
    """`together`: those that one way to spend needs all."""
    for one, two in _CONFLICTS:
        if any(one in part.locks and two in _locks([o for o in together if o is not part]) for part in together):
            raise PolicyError("one way to spend waits for both a block and a time, so nobody could ever use it")
    return _Type(basic, frozenset([name for name, true in has.items() if true]), _locks(parts))


def _locks(parts: Sequence[_Type]) -> frozenset[str]:
    return frozenset().union(*[part.locks for part in parts])


def _one_of(x: _Type, y: _Type) -> bool:
    """Whether the two take one element from the stack."""
    return ("z" in x.has and "o" in y.has) or ("z" in y.has and "o" in x.has)


def _both(name: str, *parts: _Type) -> bool:
    return all(name in part.has for part in parts)


def _andor(x: _Type, y: _Type, z: _Type) -> _Type | None:
    if "Bdu" not in x or y.basic != z.basic or y.basic not in "BKV":
        return None
    one = (_both("z", x) and _both("o", y, z)) or (_both("o", x) and _both("z", y, z))
    return _made(y.basic, (x, y, z), together=(x, y), z=_both("z", x, y, z), o=one, u=_both("u", y, z), d=_both("d", z))


def _and_v(x: _Type, y: _Type) -> _Type | None:
    if x.basic != "V" or y.basic not in "BKV":
        return None
    none_first = _both("n", x) or (_both("z", x) and _both("n", y))
    return _made(y.basic, (x, y), together=(x, y), z=_both("z", x, y), o=_one_of(x, y), n=none_first, u=_both("u", y))


def _and_b(x: _Type, y: _Type) -> _Type | None:
    if x.basic != "B" or y.basic != "W":
        return None
    none_first = _both("n", x) or (_both("z", x) and _both("n", y))
    return _made(
        "B", (x, y), together=(x, y), z=_both("z", x, y), o=_one_of(x, y), n=none_first, d=_both("d", x, y), u=True
    )


def _or_b(x: _Type, z: _Type) -> _Type | None:
    if "Bd" not in x or "Wd" not in z:
        return None
    return _made("B", (x, z), z=_both("z", x, z), o=_one_of(x, z), d=True, u=True)


def _or_c(x: _Type, z: _Type) -> _Type | None:
    if "Bdu" not in x or z.basic != "V":
        return None
    return _made("V", (x, z), z=_both("z", x, z), o=_both("o", x) and _both("z", z))


def _or_d(x: _Type, z: _Type) -> _Type | None:
    if "Bdu" not in x or z.basic != "B":
        return None
    return _made("B", (x, z), z=_both("z", x, z), o=_both("o", x) and _both("z", z), d=_both("d", z), u=_both("u", z))


def _or_i(x: _Type, z: _Type) -> _Type | None:
    if x.basic != z.basic or x.basic not in "BKV":
        return None
    return _made(x.basic, (x, z), o=_both("z", x, z), u=_both("u", x, z), d=_both("d", x) or _both("d", z))


def _threshold(needed: int, below: Sequence[_Type]) -> _Type | None:
    if not 1 <= needed <= len(below) or "Bdu" not in below[0] or any("Wdu" not in one for one in below[1:]):
        return None
    others = [one for one in below if "z" not in one.has]
    one = len(others) == 1 and "o" in others[0].has
    return _made("B", below, together=below if needed > 1 else (), z=not others, o=one, d=True, u=True)


_COMBINED: Mapping[str, Callable[..., _Type | None]] = {
    "andor": _andor,
    "and_v": _and_v,
    "and_b": _and_b,
    "or_b": _or_b,
    "or_c": _or_c,
    "or_d": _or_d,
    "or_i": _or_i,
}


def _wrapped(wrapper: str, x: _Type, taproot: bool) -> _Type | None:
    if wrapper == "t":
        return _and_v(x, _ONE)
    if wrapper in "lu":
        return _or_i(_ZERO, x)
    needed = {"a": "B", "s": "Bo", "c": "K", "d": "Vz", "v": "B", "j": "Bn", "n": "B"}[wrapper]
    if needed not in x:
        return None
    kept, made = {
        "a": ("du", ""),
        "s": ("du", ""),
        "c": ("ond", "u"),
        "d": ("", "ondu" if taproot else "ond"),
        "v": ("zon", ""),
        "j": ("ou", "nd"),
        "n": ("zond", "u"),
    }[wrapper]
    basic = {"a": "W", "s": "W", "v": "V"}.get(wrapper, "B")
    return _Type(basic, (x.has & frozenset(kept)) | frozenset(made), x.locks)
