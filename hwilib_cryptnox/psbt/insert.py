"""Insert: puts verified signatures into a PSBT and changes nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from cryptnox_core.crypto.secp256k1 import InvalidSignatureError, normalize, parse_public_key, verify_schnorr
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import Pair, Psbt
from hwilib_cryptnox.psbt.collected import SignatureKind
from hwilib_cryptnox.psbt.errors import PsbtError
from hwilib_cryptnox.psbt.plan import SignRequest
from hwilib_cryptnox.psbt.sighash import ANYONECANPAY, OUTPUTS_MASK, Sighash

_INPUTS_MODIFIABLE, _OUTPUTS_MODIFIABLE, _HAS_SINGLE = 1, 2, 4


class InvalidSignature(PsbtError):  # noqa: N818 - named as its siblings
    """A signature does not belong to its request."""

    def __init__(self, index: int) -> None:
        super().__init__(f"input {index}: the signature does not verify; nothing was inserted")
        self.index = index


def insert(psbt: Psbt, signatures: Iterable[tuple[SignRequest, bytes]]) -> Psbt:
    """The PSBT with signatures: DER without sighash byte for ECDSA (low S is made where it is not), 64 bytes for
    Schnorr, for MuSig2 the public nonce and the partial signature (98).

    Each is verified first. Everything else stays byte for byte, but for the modifiable flags of version 2, which
    BIP370 has the signer bring up to date. Raises InvalidSignature, and UsageError where a request is not of this
    PSBT or its signature stands there already.
    """
    additions: dict[int, list[Pair]] = {}
    modifiable = psbt.globals.get(bytes((f.GLOBAL_TX_MODIFIABLE,)))
    flags = modifiable[0] if modifiable is not None else None
    for request, signature in signatures:
        index = request.input_index
        if not 0 <= index < len(psbt.inputs):
            raise UsageError(f"the PSBT has no input {index}")
        added = additions.setdefault(index, [])
        for pair in signature_pairs(request, signature):
            if pair[0] in psbt.inputs[index].pairs or (added and pair[0] in dict(added)):
                raise UsageError(f"input {index} already has this signature")
            added.append(pair)
        if flags is not None:
            flags = flags_after(flags, request.sighash_type)
    if not additions:
        return psbt
    return psbt.with_added(additions, flags if modifiable is not None and flags != modifiable[0] else None)


def signature_pairs(request: SignRequest, signature: bytes) -> tuple[Pair, ...]:
    """Key and value of the pairs that take a signature; raises InvalidSignature where it does not verify."""
    key, sighash = request.public_key, request.sighash_type
    if request.kind is SignatureKind.ECDSA:
        try:
            low = normalize(signature)
        except InvalidSignatureError as error:
            raise InvalidSignature(request.input_index) from error
        if not parse_public_key(key).verify(low, request.digest):
            raise InvalidSignature(request.input_index)
        return ((b"\x02" + key, low + bytes((sighash,))),)
    if request.musig is not None:
        if not request.musig.verifies(request.digest, signature):
            raise InvalidSignature(request.input_index)
        return request.musig.pairs(signature)
    if not verify_schnorr(request.xonly_key, request.digest, signature):
        raise InvalidSignature(request.input_index)
    value = signature if sighash == Sighash.DEFAULT else signature + bytes((sighash,))
    return ((b"\x13" if request.leaf_hash is None else b"\x14" + key[1:] + request.leaf_hash, value),)


def flags_after(flags: int, sighash: int) -> int:
    """BIP370, Signer: what a signature fixes is no longer modifiable."""
    if not sighash & ANYONECANPAY:
        flags &= ~_INPUTS_MODIFIABLE
    mode = sighash & OUTPUTS_MASK
    if mode != Sighash.NONE:
        flags &= ~_OUTPUTS_MODIFIABLE
    return flags | _HAS_SINGLE if mode == Sighash.SINGLE else flags
