"""Collect: what is ours in a PSBT, what of it is signed, and the digests of the rest. Needs neither card nor keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cryptnox_core.bip32 import Path
from cryptnox_core.crypto.hashes import hash160
from cryptnox_core.crypto.secp256k1 import (
    InvalidPublicKeyError,
    InvalidSignatureError,
    is_low_s,
    taproot_output_key,
    verify_ecdsa,
    verify_schnorr,
)
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import (
    Route,
    Spending,
    check_foreign_keys,
    contains_key,
    ecdsa_digest,
    holds,
    is_bip86,
    spending_of,
    spent_outputs,
)
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.collected import Candidate, Collected, SignatureKind, Skipped
from hwilib_cryptnox.psbt.errors import SILENT_COIN_REASON, PsbtError, RefusedInput
from hwilib_cryptnox.psbt.musig import UNPLACED_REASON, Aggregates, MusigKey, MusigKeys, part_to_make
from hwilib_cryptnox.psbt.origins import MAX_CARD_DEPTH, Claim, Matcher, shown
from hwilib_cryptnox.psbt.sighash import DEFINED_TYPES, OUTPUTS_MASK, Sighash, SignatureHasher, type_name
from hwilib_cryptnox.psbt.weight import check_size

BIP86_REASON = (
    "its key path (BIP86, tr()) needs a tweaked key, and this card is not known to sign with one (cryptnoxctl taproot "
    "check asks it): use wpkh(), rawtr(), or a script leaf"
)
WITH_SCRIPTS_REASON = (
    "its output commits to scripts as well as to your key, and key paths are only signed for outputs without scripts "
    "(BIP86): use a script leaf"
)
MAX_SIGNATURES, MAX_SIGNATURES_IN_ALL = 100, 3_000
"""Of one input, and of all: more than a transaction has inputs that is relayed. A PSBT may name any number of leaves,
and the card would sign for hours."""


def collect(
    psbt: Psbt, fingerprint: bytes, accounts: Mapping[bytes, Path] | None = None, *, taproot: bool = False
) -> Collected:
    """What of `psbt` is ours, by the 4-byte fingerprint of the card's master key.

    `accounts` maps the fingerprint of an account's extended key to the account's path, for wallets that do not know
    where their account comes from (Electrum). `taproot`: whether the card signs BIP86 key paths. Raises RefusedInput or
    PsbtError where something of ours is to be signed and the PSBT contradicts itself anywhere.
    """
    if len(fingerprint) != 4:
        raise UsageError("a fingerprint has 4 bytes")
    matcher = Matcher(fingerprint, accounts or {})
    claims = tuple(
        [
            tuple(matcher.claims(fields.pairs.items(), f.IN_BIP32_DERIVATION, f.IN_TAP_BIP32_DERIVATION))
            for fields in psbt.inputs
        ]
    )
    output_claims = tuple(
        [
            tuple(matcher.claims(fields.pairs.items(), f.OUT_BIP32_DERIVATION, f.OUT_TAP_BIP32_DERIVATION))
            for fields in psbt.outputs
        ]
    )
    for index, fields in enumerate(psbt.inputs):
        origins = [value[:4] for _, value in fields.keyed(f.IN_SILENT_DERIVATION)]
        if fingerprint in origins and not fields.is_final:
            raise RefusedInput(index, SILENT_COIN_REASON)
    final = frozenset(index for index, mine in enumerate(claims) if mine and psbt.inputs[index].is_final)
    if not any(mine for index, mine in enumerate(claims) if index not in final):
        return Collected(fingerprint, claims, output_claims, done=final, taproot=taproot)
    return _Collector(psbt, fingerprint, claims, output_claims, final, taproot).run()


class _Collector:
    """One run over a PSBT in which something of ours is not final."""

    def __init__(
        self,
        psbt: Psbt,
        fingerprint: bytes,
        claims: tuple[tuple[Claim, ...], ...],
        output_claims: tuple[tuple[Claim, ...], ...],
        final: frozenset[int],
        taproot: bool,
    ) -> None:
        self.taproot = taproot
        self.psbt, self.fingerprint, self.claims, self.output_claims = psbt, fingerprint, claims, output_claims
        self.spends = spent_outputs(psbt)
        self.all_known = all(spend.output is not None for spend in self.spends)
        self.hasher = SignatureHasher(psbt.tx, [spend.output for spend in self.spends])
        self.candidates: list[Candidate] = []
        self.skipped: list[Skipped] = []
        self.unsigned: list[tuple[int, Claim]] = []
        self.done = set(final)
        self.signed: list[tuple[int, Claim]] = []
        self.known_points: set[bytes] = set()
        self.ecdsa_digests: dict[tuple[int, int], bytes] = {}
        self.leaf_pushes: tuple[int, frozenset[bytes]] = (-1, frozenset())
        self.internal_keys: tuple[int, frozenset[bytes]] = (-1, frozenset())
        self.aggregates = Aggregates()
        self.musig: MusigKeys | None = None

    def run(self) -> Collected:
        check_size(self.psbt)
        spendings = []
        for index, (fields, spend, mine) in enumerate(zip(self.psbt.inputs, self.spends, self.claims, strict=True)):
            spending = None if spend.output is None else spending_of(index, fields, spend.output[1])
            if spending is not None and mine:
                spending = self._with_musig(index, fields, spending, mine)
            spendings.append(spending)
            self._check_points(index, fields, mine)
            if mine and fields.is_final:
                self.signed += [(index, claim) for claim in mine if len(claim.path) <= MAX_CARD_DEPTH]
            elif mine:
                self._input(index, fields, spending, mine)
            if len(self.candidates) > MAX_SIGNATURES_IN_ALL:
                raise PsbtError(f"it asks for more than {MAX_SIGNATURES_IN_ALL:,} signatures: split the transaction")
        return Collected(
            fingerprint=self.fingerprint,
            claims=self.claims,
            output_claims=self.output_claims,
            candidates=tuple(self.candidates),
            done=frozenset(self.done),
            skipped=tuple(self.skipped),
            unsigned_claims=tuple(self.unsigned),
            signed_claims=tuple(self.signed),
            spends=self.spends,
            spendings=tuple(spendings),
            taproot=self.taproot,
        )

    def _check_points(self, index: int, fields: FieldMap, mine: tuple[Claim, ...]) -> None:
        """Keys that are said to be ours are compared with the card's later; the others have to be points at least."""
        own = {claim.public_key for claim in mine}
        keys = [key[1:] for key in fields.pairs if key[0] in _POINT_FIELDS]
        if len(keys) != len(own) or not own.issuperset(keys):
            check_foreign_keys(index, [key for key in keys if key not in own], self.known_points)

    def _with_musig(self, index: int, fields: FieldMap, spending: Spending, mine: tuple[Claim, ...]) -> Spending:
        """The same, with those of our keys that have a part in one of its MuSig2 keys."""
        if spending.route is not Route.TAPROOT or not fields.types & 1 << f.IN_MUSIG2_PARTICIPANTS:
            self.musig = None
            return spending
        self.musig = MusigKeys(index, fields, spending, self.aggregates)
        found = {claim.public_key: self.musig.of(claim.public_key) for claim in mine if claim.is_taproot}
        return spending._replace(
            musig={key: tuple(dict.fromkeys(one.place for one in keys)) for key, keys in found.items() if keys}
        )

    def _input(self, index: int, fields: FieldMap, spending: Spending | None, mine: tuple[Claim, ...]) -> None:
        if spending is None:
            self.unsigned += [(index, claim) for claim in mine if len(claim.path) <= MAX_CARD_DEPTH]
            self.skipped.append(Skipped(index, "the PSBT does not say what it spends (no UTXO)"))
            return
        sighash = self._sighash(index, fields, spending)
        start = len(self.candidates)
        for claim in mine:
            before = len(self.candidates)
            try:
                problem, left = self._claim(index, fields, spending, claim, sighash)
            except RefusedInput as refusal:
                if not claim.by_account:
                    raise
                del self.candidates[before:]
                problem, left = f"{refusal.reason} (its key was matched by the account's fingerprint alone)", False
            if problem is not None:
                self.skipped.append(Skipped(index, problem))
            if left or (problem is not None and len(claim.path) <= MAX_CARD_DEPTH):
                self.unsigned.append((index, claim))
            elif len(claim.path) <= MAX_CARD_DEPTH:
                self.signed.append((index, claim))
            if len(self.candidates) - start > MAX_SIGNATURES:
                raise RefusedInput(
                    index,
                    f"it asks for more than {MAX_SIGNATURES} signatures, and the card makes one or two per second: "
                    "have your wallet name only the leaves it uses",
                )

    def _sighash(self, index: int, fields: FieldMap, spending: Spending) -> int:
        """The sighash type asked for; refuses what can never be signed."""
        taproot = spending.route is Route.TAPROOT
        value = fields.pairs.get(b"\x03")
        if value is None:
            return Sighash.DEFAULT if taproot else Sighash.ALL
        sighash = int.from_bytes(value, "little")
        if sighash not in DEFINED_TYPES or (sighash == Sighash.DEFAULT and not taproot):
            raise RefusedInput(index, f"sighash type 0x{sighash:02x} is not defined")
        if sighash & OUTPUTS_MASK == Sighash.SINGLE and index >= len(self.psbt.tx.outputs):
            raise RefusedInput(index, "sighash type SINGLE, but there is no output with that number")
        return sighash

    def _claim(
        self, index: int, fields: FieldMap, spending: Spending, claim: Claim, sighash: int
    ) -> tuple[str | None, bool]:
        """Adds what can be signed with a key: the reason where something cannot, and whether anything was added."""
        if len(claim.path) > MAX_CARD_DEPTH:
            return f"{shown(claim.path)} is deeper than the {MAX_CARD_DEPTH} levels that the card derives", False
        if claim.is_taproot:
            return self._taproot_claim(index, fields, spending, claim, sighash)
        if spending.route is Route.TAPROOT:
            return "a taproot output with a derivation for ECDSA", False
        known = spending.key_hash is not None or spending.facts is not None
        if known and not contains_key(spending, claim.public_key):
            raise RefusedInput(
                index,
                f"the PSBT says that the key at {shown(claim.path)} is yours, but its script does not contain "
                "that key. The file may be malicious",
            )
        if spending.problem is not None:
            return spending.problem, False
        if len(claim.public_key) != 33:
            return "its key is not compressed; the card's keys are", False
        if spending.route is Route.LEGACY and not self.spends[index].proved:
            return "it is not segwit, and its previous transaction (non_witness_utxo) is missing", False
        digest = self._ecdsa_digest(index, spending, sighash)
        field_key = b"\x02" + claim.public_key
        candidate = Candidate(index, claim, digest, SignatureKind.ECDSA, sighash, None, field_key)
        return None, self._add(candidate, fields, spending)

    def _ecdsa_digest(self, index: int, spending: Spending, sighash: int) -> bytes:
        """The same for all keys of an input, and made once: a legacy one hashes the whole transaction."""
        digest = self.ecdsa_digests.get((index, sighash))
        if digest is None:
            output = self.spends[index].output
            amount = output[0] if output else 0
            digest = ecdsa_digest(self.hasher, index, spending, amount, sighash)
            self.ecdsa_digests[index, sighash] = digest
        return digest

    def _in_a_leaf(self, index: int, spending: Spending, key: bytes) -> bool:
        """Whether any leaf script of an input holds a key or its HASH160."""
        if self.leaf_pushes[0] != index:
            found = [leaf.facts.pushes for leaf in spending.leaves.values() if leaf.facts is not None]
            self.leaf_pushes = index, frozenset().union(*found)
        pushes = self.leaf_pushes[1]
        return key in pushes or hash160(key) in pushes

    def _taproot_claim(
        self, index: int, fields: FieldMap, spending: Spending, claim: Claim, sighash: int
    ) -> tuple[str | None, bool]:
        targets: list[bytes | None] = []
        problem = None
        shared = [] if self.musig is None else self.musig.of(claim.public_key)
        for leaf_hash in sorted(claim.leaf_hashes):
            leaf = spending.leaves.get(leaf_hash)
            if leaf is None:
                problem = "a leaf script of its key is missing"
            elif leaf.facts is not None and not holds(leaf.facts, claim.public_key):
                if any(key.leaf_hash == leaf_hash for key in shared):
                    continue  # it holds a key that ours is part of
                if self.musig is not None and self.musig.names(claim.public_key):
                    problem = UNPLACED_REASON
                    continue
                raise RefusedInput(
                    index,
                    f"the PSBT says that the key at {shown(claim.path)} is yours, but its leaf script does not "
                    "contain that key. The file may be malicious",
                )
            elif leaf.problem is not None:
                problem = leaf.problem
            else:
                targets.append(leaf_hash)
        output_key = spending.script if self.taproot and is_bip86(spending, claim.public_key) else None
        if claim.public_key == spending.script or output_key is not None:
            targets.insert(0, None)
        if not targets and not shared:
            return problem or self._untweakable(index, fields, spending, claim), False
        if not self.all_known:
            return "a taproot signature commits to all inputs, and the PSBT does not say what each one spends", False
        left = False
        for target in targets:
            digest = self.hasher.taproot(index, sighash, leaf_hash=target)
            field_key = b"\x13" if target is None else b"\x14" + claim.public_key + target
            tweaked = output_key if target is None else None
            candidate = Candidate(index, claim, digest, SignatureKind.SCHNORR, sighash, target, field_key, tweaked)
            left = self._add(candidate, fields, spending) or left
        for key in shared:
            reason, added = self._musig_key(index, fields, spending, claim, sighash, key)
            problem, left = problem or reason, left or added
        return problem, left

    def _musig_key(
        self, index: int, fields: FieldMap, spending: Spending, claim: Claim, sighash: int, key: MusigKey
    ) -> tuple[str | None, bool]:
        """Our part of one MuSig2 key: as `_claim`."""
        if claim.by_account:
            return "its key is part of a MuSig2 key, and was only matched by the account's fingerprint", False
        leaf = None if key.leaf_hash is None else spending.leaves[key.leaf_hash]
        if leaf is not None and leaf.problem is not None:
            return leaf.problem, False
        digest = self.hasher.taproot(index, sighash, leaf_hash=key.leaf_hash)
        whole = fields.pairs.get(key.signature_field)
        if whole is not None:
            made = Candidate(index, claim, digest, SignatureKind.SCHNORR, sighash, key.leaf_hash, b"", key.keys.xonly)
            self._check_existing(made, whole, fields, spending)
        part = None if whole is not None else part_to_make(index, fields, key, claim.public_key, digest)
        if isinstance(part, str):
            return part, False
        if part is None:
            self.done.add(index)
            return None, False
        placed = replace(claim, suffix=key.place)
        self.candidates.append(
            Candidate(index, placed, digest, SignatureKind.MUSIG2, sighash, key.leaf_hash, b"", musig=part)
        )
        return None, True

    def _untweakable(self, index: int, fields: FieldMap, spending: Spending, claim: Claim) -> str:
        """Why a taproot key that is neither the output key nor in a leaf of its derivation cannot sign; a key that
        the output cannot contain is refused."""
        key = claim.public_key
        if self._in_a_leaf(index, spending, key):
            return "the leaf with your key is not in the key's derivation"
        if self.musig is not None and self.musig.names(key):
            return UNPLACED_REASON
        internals = self._internal_keys(index, fields)
        if key in internals:
            return WITH_SCRIPTS_REASON if self.taproot else BIP86_REASON
        if internals:
            raise RefusedInput(
                index,
                f"the PSBT says that the key at {shown(claim.path)} is yours, but its output does not contain "
                "that key. The file may be malicious",
            )
        try:
            if taproot_output_key(key, fields.get(f.IN_TAP_MERKLE_ROOT) or b"")[0] == spending.script:
                return WITH_SCRIPTS_REASON if self.taproot else BIP86_REASON
        except InvalidPublicKeyError as error:
            raise RefusedInput(index, "the key that the PSBT says is yours is not a point on the curve") from error
        return "its output is not the key that the PSBT says is yours, and nothing says how it contains that key"

    def _internal_keys(self, index: int, fields: FieldMap) -> frozenset[bytes]:
        """The internal keys that an input names: looked for once, however many keys ask."""
        if self.internal_keys[0] != index:
            internal = fields.get(f.IN_TAP_INTERNAL_KEY)
            controls = [control[1:33] for control, _ in fields.keyed(f.IN_TAP_LEAF_SCRIPT)]
            self.internal_keys = index, frozenset(controls if internal is None else (internal, *controls))
        return self.internal_keys[1]

    def _add(self, candidate: Candidate, fields: FieldMap, spending: Spending) -> bool:
        """Notes what is to be signed, unless our valid signature is there already."""
        existing = fields.pairs.get(candidate.field_key)
        if existing is None:
            self.candidates.append(candidate)
            return True
        self._check_existing(candidate, existing, fields, spending)
        self.done.add(candidate.index)
        return False

    def _check_existing(self, candidate: Candidate, existing: bytes, fields: FieldMap, spending: Spending) -> None:
        """Refuses an invalid signature of ours: it would spoil the input, and it is not ours to delete."""
        index, digest = candidate.index, candidate.digest
        if candidate.kind is SignatureKind.ECDSA:
            signature, sighash = existing[:-1], existing[-1]
            defined = sighash in DEFINED_TYPES and sighash != Sighash.DEFAULT
        else:
            signature, sighash = existing[:64], existing[64] if len(existing) > 64 else 0
            defined = sighash in DEFINED_TYPES and (len(existing) == 64 or sighash != Sighash.DEFAULT)
        if not defined or (fields.pairs.get(b"\x03") is not None and sighash != candidate.sighash):
            raise RefusedInput(index, f"your signature in it has sighash type 0x{sighash:02x}")
        if sighash & OUTPUTS_MASK == Sighash.SINGLE and index >= len(self.psbt.tx.outputs):
            raise RefusedInput(index, "your signature in it has type SINGLE, but there is no output with that number")
        if candidate.kind is SignatureKind.ECDSA:
            if sighash != candidate.sighash:
                digest = self._ecdsa_digest(index, spending, sighash)
            try:
                valid = is_low_s(signature) and verify_ecdsa(candidate.claim.public_key, digest, signature)
            except (InvalidSignatureError, InvalidPublicKeyError):
                valid = False
        else:
            if sighash != candidate.sighash:
                digest = self.hasher.taproot(index, sighash, leaf_hash=candidate.leaf_hash)
            valid = verify_schnorr(candidate.signing_key, digest, signature)
        if not valid:
            raise RefusedInput(index, f"your signature in it ({type_name(sighash)}) is not valid")


_POINT_FIELDS = frozenset((f.IN_PARTIAL_SIG, f.IN_BIP32_DERIVATION))
