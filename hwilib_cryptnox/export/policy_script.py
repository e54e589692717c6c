"""Which functions a wallet's script may have, and the scripts that embit puts together: its version decides what is
known. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from cryptnox_core.crypto.secp256k1 import taproot_output_key
from hwilib_cryptnox.export.policy_keys import MusigExpression, PolicyError, x_of
from hwilib_cryptnox.export.policy_text import MULTI, SINGLE, TREE, Node
from hwilib_cryptnox.export.policy_types import check_sound

MOST_MULTISIG = 20
"""Keys of OP_CHECKMULTISIG."""
MAX_WITNESS_SCRIPT = 3600
"""Bytes that nodes relay (Bitcoin Core's MAX_STANDARD_P2WSH_SCRIPT_SIZE)."""
_MOST_NESTED, _MOST_VERIFIED = 100, 5
"""Functions and wrappers in one another, and `v:` among them: embit takes three times as long for each of these."""
TWICE_TEXT = "the descriptor has the same key twice: its owner would count as two signers"


def check_functions(tree: Node) -> None:
    """PolicyError for functions where none belong, or that the installed embit does not know."""
    taproot = tree.name == "tr"
    top = {"wsh", "sh", "tr"}
    outer = [tree]
    if tree.name == "sh" and tree.nodes[0].name == "wsh":
        outer.append(tree.nodes[0])
    if not taproot and any(isinstance(one, MusigExpression) for one in tree.expressions):
        raise PolicyError("the descriptor's musig() only works inside tr()")
    inside = outer[-1].nodes[0] if outer[-1].nodes else tree
    for node in tree.walk():
        if node.name in MULTI:
            if node.name.endswith("_a") is not taproot:
                other = "multi_a() and sortedmulti_a()" if taproot else "multi() and sortedmulti()"
                raise PolicyError(f"the descriptor's {node.name}() does not belong here; use {other}")
            if not 1 <= int(str(node.args[0])) <= len(node.own_expressions):
                raise PolicyError(f"{node.args[0]} of {len(node.own_expressions)} keys: the threshold does not fit")
            if not taproot and len(node.keys) > MOST_MULTISIG:
                raise PolicyError(f"a multisig has at most {MOST_MULTISIG} keys")
            if len({x_of(key) for key in node.keys}) < len(node.keys):
                raise PolicyError(TWICE_TEXT)
            if node.name == "sortedmulti" and (node is not inside or node.wrappers):
                raise PolicyError("the descriptor's sortedmulti() does not belong inside a larger script; use multi()")
        if node.name in SINGLE - {"pk", "pkh"} or (node.name in top and not any(node is one for one in outer)):
            raise PolicyError(f"the descriptor's {node.name}() cannot be inside a script")
    levels, verified = _nesting(tree)
    if levels > _MOST_NESTED or verified > _MOST_VERIFIED:
        raise PolicyError("the descriptor nests too many functions")
    names = {node.name for node in tree.walk()} - {*top, TREE}
    if is_mere_multisig(inside) or not tree.nodes:
        return
    missing = sorted(names - _known_to_embit())
    if taproot and not _embit_has_trees():
        missing.insert(0, "tr() with script leaves")
    if missing:
        what = ", ".join([name if "(" in name else f"{name}()" for name in missing])
        raise PolicyError(
            f"the installed embit {_embit_version()} does not know {what}; version 0.8 does (pip install 'embit>=0.8')"
        )
    check_sound(tree.nodes[0] if taproot else inside, taproot=taproot)


def is_mere_multisig(node: Node) -> bool:
    """Whether a script is a multisig and nothing else: wrappers make it another script."""
    return node.name in ("multi", "sortedmulti") and not node.wrappers


def _nesting(node: Node) -> tuple[int, int]:
    """Levels below a node and itself, and how many of them are `v:`, each by the longest way."""
    below = [_nesting(one) for one in node.nodes]
    deepest, verified = [max(column, default=0) for column in zip(*below, strict=True)] if below else (0, 0)
    return deepest + 1 + len(node.wrappers), verified + node.wrappers.count("v")


def _known_to_embit() -> frozenset[str]:
    from embit.descriptor.miniscript import OPERATOR_NAMES

    return frozenset(OPERATOR_NAMES)


def _embit_has_trees() -> bool:
    from importlib.util import find_spec

    return find_spec("embit.descriptor.taptree") is not None


def _embit_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("embit")
    except PackageNotFoundError:
        return "(of unknown version)"


def compiled(tree: Node, keys: Sequence[bytes]) -> bytes:
    """The scriptPubKey of a script that is no mere multisig: embit judges it and puts it together, with keys (33 bytes)
    in place of `tree.expressions`. A key path alone needs no embit."""
    if tree.name == "tr" and not tree.nodes:
        return b"\x51\x20" + taproot_output_key(keys[0][1:])[0]
    from embit.base import EmbitError
    from embit.descriptor import Descriptor

    taproot = tree.name == "tr"
    texts = iter([(b"\x02" + key[1:] if taproot else key).hex() for key in keys])
    try:
        made = Descriptor.from_string(tree.filled(texts))
        inner = made.witness_script()
        script = bytes(made.script_pubkey().data)
    except (
        EmbitError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        AssertionError,
        OverflowError,
        RecursionError,
    ) as error:
        raise PolicyError(f"the script is not sound miniscript: {str(error)[:80]}") from error
    if inner is not None and len(inner.data) > MAX_WITNESS_SCRIPT:
        raise PolicyError(f"the script is longer than the {MAX_WITNESS_SCRIPT} bytes that nodes relay")
    return script
