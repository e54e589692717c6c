"""What each input spends and what has to be signed for it, with every contradiction refused.

Everything here is told by the PSBT alone: no key of the card is needed. `RefusedInput` is a contradiction, which
refuses the whole PSBT; a *problem* is a reason why an honest input cannot be signed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from cryptnox_core.bip32 import Path
from cryptnox_core.crypto.hashes import hash160
from cryptnox_core.crypto.secp256k1 import XONLY_LENGTH, InvalidPublicKeyError, is_public_key, taproot_output_key
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.errors import PsbtError, RefusedInput
from hwilib_cryptnox.psbt.script import (
    MAX_REDEEM_SCRIPT,
    MAX_SCRIPT,
    Kind,
    ScriptFacts,
    examine,
    is_witness_program,
    kind_of,
    p2pkh,
)
from hwilib_cryptnox.psbt.sighash import SignatureHasher, tap_branch_hash, tap_leaf_hash
from hwilib_cryptnox.psbt.tx import MAX_MONEY, NULL_OUTPOINT, Output

TAPSCRIPT = 0xC0


class Route(Enum):
    """Which signature hash an input has."""

    LEGACY = "legacy"
    SEGWIT_V0 = "segwit v0"
    TAPROOT = "taproot"


class Spend(NamedTuple):
    """The output that an input spends, as far as it is known."""

    output: Output | None
    proved: bool
    """The previous transaction is there, so amount and script are what the chain has."""


def spent_outputs(psbt: Psbt) -> tuple[Spend, ...]:
    """What every input spends. Raises RefusedInput for previous transactions and outputs that contradict each other
    or the transaction, PsbtError where more is spent than there is."""
    seen: set[bytes] = set()
    spends = []
    total, complete = 0, True
    for index, (fields, outpoint) in enumerate(zip(psbt.inputs, psbt.tx.outpoints, strict=True)):
        if outpoint in seen:
            raise RefusedInput(index, "it spends the same output as another input")
        if outpoint == NULL_OUTPOINT:
            raise RefusedInput(index, "it is a coinbase input")
        seen.add(outpoint)
        spend = _spend(index, fields, outpoint)
        spends.append(spend)
        if spend.output is None:
            complete = False
        elif not 0 <= spend.output[0] <= MAX_MONEY:
            raise RefusedInput(index, f"an amount of {spend.output[0]} satoshi is not possible")
        else:
            total += spend.output[0]
    if total > MAX_MONEY:
        raise PsbtError("the inputs together are more than all bitcoin")
    outputs = sum([amount for amount, _ in psbt.tx.outputs])
    if complete and total < outputs:
        raise PsbtError(f"the outputs ({outputs} satoshi) are more than the inputs ({total} satoshi)")
    return tuple(spends)


def _spend(index: int, fields: FieldMap, outpoint: bytes) -> Spend:
    previous = fields.previous
    if previous is None:
        return Spend(fields.witness_utxo, False)
    if previous.txid != outpoint[:32]:
        raise RefusedInput(index, "non_witness_utxo is not the transaction that it spends")
    if previous.output is None:
        raise RefusedInput(index, "non_witness_utxo has no output of that index")
    if fields.witness_utxo is not None and fields.witness_utxo != previous.output:
        raise RefusedInput(index, "witness_utxo and non_witness_utxo contradict each other")
    return Spend(previous.output, True)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tapscript leaf that the output commits to."""

    script: bytes
    facts: ScriptFacts | None
    problem: str | None


_NO_LEAVES: Mapping[bytes, Leaf] = MappingProxyType({})
_NO_PLACES: Mapping[bytes, tuple[Path, ...]] = MappingProxyType({})


class Spending(NamedTuple):
    """How an input can be spent: what its output is locked with."""

    kind: Kind
    nested: Kind | None = None
    """Of P2SH: what the redeem script is, where it is a witness program."""
    route: Route = Route.LEGACY
    script: bytes = b""
    """Legacy and segwit v0: the script that is signed; taproot: the output key (32 bytes)."""
    facts: ScriptFacts | None = None
    key_hash: bytes | None = None
    """P2PKH and P2WPKH: the HASH160 of the key."""
    leaves: Mapping[bytes, Leaf] = _NO_LEAVES
    problem: str | None = None
    musig: Mapping[bytes, tuple[Path, ...]] = _NO_PLACES
    """Taproot: our keys (x only) that have a part in its MuSig2 keys, and the levels of these below the aggregate."""


def spending_of(index: int, fields: FieldMap, script: bytes) -> Spending:
    """How an input with this scriptPubKey is spent: the true script decides, not the fields that are there."""
    kind = kind_of(script)
    redeem, witness_script = fields.pairs.get(b"\x04"), fields.pairs.get(b"\x05")
    nested = None
    if redeem is not None:
        if kind is not Kind.P2SH:
            raise RefusedInput(index, f"it has a redeem script, but its output is {kind.value}")
        if hash160(redeem) != script[2:22]:
            raise RefusedInput(index, "the redeem script does not match its output")
        if is_witness_program(redeem):
            nested = kind_of(redeem)
    program, program_kind = (redeem or b"", nested) if nested is not None else (script, kind)
    unknown_redeem = kind is Kind.P2SH and redeem is None
    if witness_script is not None and not unknown_redeem:
        if program_kind is not Kind.P2WSH:
            raise RefusedInput(index, "it has a witness script, but its output is not P2WSH")
        if hashlib.sha256(witness_script).digest() != program[2:]:
            raise RefusedInput(index, "the witness script does not match its output")
    leaves = _NO_LEAVES
    if kind is Kind.P2TR:
        leaves = _leaves(index, fields, script[2:])
    elif fields.types & _TAP_FIELDS:
        raise RefusedInput(index, "it has taproot fields, but its output is not taproot")
    if program_kind is Kind.P2WPKH:
        hashed = program[2:]
        return Spending(kind, nested, Route.SEGWIT_V0, p2pkh(hashed), key_hash=hashed)
    if kind is Kind.P2PKH:
        return Spending(kind, None, Route.LEGACY, script, key_hash=script[3:23])
    if kind is Kind.P2TR:
        return Spending(kind, None, Route.TAPROOT, script[2:], leaves=leaves)
    if program_kind is Kind.P2WSH:
        return _scripted(Spending(kind, nested, Route.SEGWIT_V0), witness_script, "witness script", MAX_SCRIPT)
    if kind is Kind.P2A:
        return Spending(kind, problem="anyone can spend it (P2A): it takes no signature")
    if kind is Kind.WITNESS_UNKNOWN or nested is not None:
        return Spending(kind, nested, problem="its output has a future witness version")
    if kind is Kind.P2SH:
        return _scripted(Spending(kind), redeem, "redeem script", MAX_REDEEM_SCRIPT)
    return _scripted(Spending(kind), script, "script", MAX_SCRIPT)


_TAP_FIELDS = (
    1 << f.IN_TAP_KEY_SIG
    | 1 << f.IN_TAP_SCRIPT_SIG
    | 1 << f.IN_TAP_LEAF_SCRIPT
    | 1 << f.IN_TAP_BIP32_DERIVATION
    | 1 << f.IN_TAP_INTERNAL_KEY
    | 1 << f.IN_TAP_MERKLE_ROOT
)


def _scripted(spending: Spending, script: bytes | None, name: str, limit: int) -> Spending:
    """The same of an output that a script of any form unlocks."""
    facts, problem = None, None
    if script is None:
        problem = f"its {name} is missing"
    elif len(script) > limit:
        problem = f"its {name} is longer than {limit} bytes and cannot be spent"
    else:
        facts, problem = _examined(script, name)
    return Spending(spending.kind, spending.nested, spending.route, script or b"", facts, problem=problem)


def _examined(script: bytes, name: str) -> tuple[ScriptFacts | None, str | None]:
    try:
        facts = examine(script)
    except ValueError:
        return None, f"its {name} cannot be read: a push runs past the end"
    return facts, f"its {name} has an OP_CODESEPARATOR" if facts.code_separator else None


def _leaves(index: int, fields: FieldMap, output_key: bytes) -> dict[bytes, Leaf]:
    """The leaf scripts by leaf hash, each proved to belong to the output."""
    internal, root = fields.get(f.IN_TAP_INTERNAL_KEY), fields.get(f.IN_TAP_MERKLE_ROOT)
    if internal is not None and root is not None:
        _check_commitment(index, "internal key and merkle root", internal, root, output_key)
    leaves: dict[bytes, Leaf] = {}
    parities: dict[tuple[bytes, bytes], int] = {}
    for control, value in fields.keyed(f.IN_TAP_LEAF_SCRIPT):
        script, version = value[:-1], value[-1]
        if control[0] & 0xFE != version:
            raise RefusedInput(index, "leaf script and control block have different leaf versions")
        node = leaf_hash = tap_leaf_hash(script, version)
        for at in range(33, len(control), 32):
            node = tap_branch_hash(node, control[at : at + 32])
        if internal is not None and internal != control[1:33]:
            raise RefusedInput(index, "the control block has a different internal key than the input")
        if root is not None and root != node:
            raise RefusedInput(index, "the control block leads to a different merkle root than the input's")
        commitment = control[1:33], node
        if commitment not in parities:
            parities[commitment] = _check_commitment(index, "control block", *commitment, output_key)
        if parities[commitment] != control[0] & 1:
            raise RefusedInput(index, "the control block has the wrong parity")
        facts, problem = _examined(script, "leaf script")
        if version != TAPSCRIPT:
            problem = f"leaf version 0x{version:02x} is not known"
        elif facts is not None and facts.success:
            problem = "its leaf script has an OP_SUCCESS: anyone can spend it"
        leaves[leaf_hash] = Leaf(script, facts, problem)
    return leaves


def _check_commitment(index: int, what: str, internal: bytes, root: bytes, output_key: bytes) -> int:
    """Refuses what does not lead to the output key; returns the output key's parity."""
    try:
        key, parity = taproot_output_key(internal, root)
    except InvalidPublicKeyError as error:
        raise RefusedInput(index, f"{what}: the internal key is not a point on the curve") from error
    if key != output_key:
        raise RefusedInput(index, f"{what}: it does not lead to the output")
    return parity


def ecdsa_digest(hasher: SignatureHasher, index: int, spending: Spending, amount: int, sighash: int) -> bytes:
    """The 32 bytes that a key of a legacy or segwit v0 input signs. `amount` in satoshi; only segwit commits to it."""
    if spending.route is Route.LEGACY:
        return hasher.legacy(index, spending.script, sighash)
    return hasher.segwit_v0(index, spending.script, amount, sighash)


def is_single(spending: Spending) -> bool:
    """Whether one key alone spends it: P2PKH, P2WPKH (nested too), P2PK, and a taproot output that is the key."""
    return (
        spending.key_hash is not None
        or spending.kind is Kind.P2PK
        or (spending.kind is Kind.P2TR and not spending.leaves and not spending.musig)
    )


def is_bip86(spending: Spending, key: bytes) -> bool:
    """Whether a taproot output is a key of 32 bytes, tweaked, without scripts (BIP86)."""
    if spending.kind is not Kind.P2TR or len(key) != XONLY_LENGTH:
        return False
    try:
        return taproot_output_key(key)[0] == spending.script
    except InvalidPublicKeyError:
        return False


def contains_key(spending: Spending, key: bytes) -> bool:
    """Whether the script that is signed holds a key, in the form that is given, or its HASH160."""
    if spending.key_hash is not None:
        return hash160(key) == spending.key_hash
    return spending.facts is not None and holds(spending.facts, key)


def holds(facts: ScriptFacts, key: bytes) -> bool:
    """Whether a key or its HASH160 is pushed."""
    return key in facts.pushes or hash160(key) in facts.pushes


def check_foreign_keys(index: int, keys: Sequence[bytes], known: set[bytes]) -> None:
    """Refuses derivations and partial signatures of what is no public key. `known` remembers the good ones."""
    for key in keys:
        if key not in known:
            if not is_public_key(key):
                raise RefusedInput(index, "it names a public key that is not a point on the curve")
            known.add(key)
