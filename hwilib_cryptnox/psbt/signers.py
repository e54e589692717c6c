"""Who has signed a PSBT and who has not, told from the PSBT alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptnox_core.bip32 import KeyOrigin, Path
from cryptnox_core.secp256k1 import InvalidSignatureError, is_low_s, verify_ecdsa, verify_schnorr
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Lock, Route, lock_of, spent_outputs
from hwilib_cryptnox.psbt.codec import InputMap, Psbt
from hwilib_cryptnox.psbt.finalize import NotFinal, unlock
from hwilib_cryptnox.psbt.script import parse_multisig
from hwilib_cryptnox.psbt.sighash import DEFINED_TYPES, Sighash, SignatureHasher


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of an input."""

    public_key: bytes
    """33 or 65 bytes, 32 in taproot fields."""
    origin: KeyOrigin | None
    """Where the PSBT says that it comes from."""
    signed: bool
    """A signature is there that verifies."""
    bad: bool = False
    """A signature is there that does not."""


@dataclass(frozen=True, slots=True)
class InputStatus:
    """What is there of one input."""

    index: int
    kind: str
    amount: int | None
    """Satoshi."""
    final: bool
    """Finalised already: who signed is no longer told."""
    complete: bool
    """Nothing is missing."""
    needed: int | None
    """Signatures wanted, where the script tells."""
    signers: tuple[Signer, ...]
    problem: str = ""
    """Why it is not complete."""


def input_statuses(psbt: Psbt) -> tuple[InputStatus, ...]:
    """All inputs. Raises RefusedInput where the PSBT contradicts itself."""
    spends = spent_outputs(psbt)
    hasher = SignatureHasher(psbt.tx, [spend.output for spend in spends])
    found = []
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spends, strict=True)):
        if spend.output is None:
            final = fields.is_final
            problem = "" if final else "the PSBT does not say what it spends"
            found.append(InputStatus(index, "unknown", None, final, final, None, (), problem))
            continue
        amount, script = spend.output
        lock = lock_of(index, fields, script)
        found.append(_status(index, fields, lock, amount, hasher))
    return tuple(found)


def _status(index: int, fields: InputMap, lock: Lock, amount: int, hasher: SignatureHasher) -> InputStatus:
    kind = f"{lock.kind.value}-{lock.nested.value}" if lock.nested is not None else lock.kind.value
    if fields.is_final:
        return InputStatus(index, kind, amount, True, True, None, ())
    signers = (
        _taproot(index, fields, lock, hasher)
        if lock.route is Route.TAPROOT
        else _ecdsa(index, fields, lock, amount, hasher)
    )
    problem = ""
    try:
        unlock(index, fields, lock, amount, hasher)
    except NotFinal as error:
        problem = str(error).partition(": ")[2]
    multisig = parse_multisig(lock.script) if lock.route is not Route.TAPROOT else None
    needed = multisig[0] if multisig is not None else 1 if lock.key_hash is not None else None
    return InputStatus(index, kind, amount, False, not problem, needed, tuple(signers), problem)


def _ecdsa(index: int, fields: InputMap, lock: Lock, amount: int, hasher: SignatureHasher) -> list[Signer]:
    def digest(sighash: int) -> bytes:
        if lock.route is Route.LEGACY:
            return hasher.legacy(index, lock.script, sighash)
        return hasher.segwit_v0(index, lock.script, amount, sighash)

    origins = {key: _origin(value) for key, value in fields.keyed(f.IN_BIP32_DERIVATION)}
    signatures = dict(fields.keyed(f.IN_PARTIAL_SIG))
    multisig = parse_multisig(lock.script)
    keys = dict.fromkeys([*(multisig[1] if multisig else ()), *origins, *signatures])
    return [_judged(key, origins.get(key), signatures.get(key), digest) for key in keys]


def _judged(key: bytes, origin: KeyOrigin | None, signature: bytes | None, digest: Callable[[int], bytes]) -> Signer:
    if not signature:
        return Signer(key, origin, signed=False)
    try:
        good = (
            signature[-1] in DEFINED_TYPES
            and is_low_s(signature[:-1])
            and verify_ecdsa(key, digest(signature[-1]), signature[:-1])
        )
    except (InvalidSignatureError, ValueError):
        good = False
    return Signer(key, origin, signed=good, bad=not good)


def _taproot(index: int, fields: InputMap, lock: Lock, hasher: SignatureHasher) -> list[Signer]:
    found = []
    value = fields.get(f.IN_TAP_KEY_SIG)
    if value is not None:
        good = _schnorr(lock.script, value, index, None, hasher)
        found.append(Signer(lock.script, None, signed=good, bad=not good))
    signatures: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for key, value in fields.keyed(f.IN_TAP_SCRIPT_SIG):
        signatures.setdefault(key[:32], []).append((key[32:], value))
    origins = {key: _origin(f.split_tap_derivation(value)[1]) for key, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION)}
    for key in dict.fromkeys([*origins, *signatures]):
        made = signatures.get(key, [])
        good = any(leaf in lock.leaves and _schnorr(key, value, index, leaf, hasher) for leaf, value in made)
        found.append(Signer(key, origins.get(key), signed=good, bad=bool(made) and not good))
    return found


def _schnorr(key: bytes, value: bytes, index: int, leaf: bytes | None, hasher: SignatureHasher) -> bool:
    sighash = value[64] if len(value) > 64 else Sighash.DEFAULT
    if len(value) > 64 and sighash == Sighash.DEFAULT:
        return False
    try:
        return verify_schnorr(key, hasher.taproot(index, sighash, leaf_hash=leaf), value[:64])
    except ValueError:
        return False


def _origin(value: bytes) -> KeyOrigin:
    return KeyOrigin(value[:4], Path.from_bytes(value[4:], "little"))
