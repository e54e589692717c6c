"""Which outputs are change: what is proved to come back to the wallet. Everything else is a payment.

An output is change where its script is made of the card's own key at the path that the output names; or where it is
the script of a wallet that the caller knows, or of the one registered wallet that all our inputs come from; or where
every key of it comes from the same extended keys, by the same template and threshold, as every key of all our inputs.
Origins alone prove nothing: a PSBT may claim anything.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cryptnox_core.bip32 import ExtendedPublicKey, InvalidExtendedKeyError, InvalidPathError, Path
from cryptnox_core.crypto.hashes import hash160
from cryptnox_core.crypto.secp256k1 import InvalidPublicKeyError, compress, taproot_output_key
from hwilib_cryptnox.networks import AccountType, ScriptType, TaprootType
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Route, Spending, contains_key, holds, is_bip86, is_single
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.collected import Candidate, Collected
from hwilib_cryptnox.psbt.errors import PsbtError, RefusedInput, RefusedOutput
from hwilib_cryptnox.psbt.musig import places_by_signer
from hwilib_cryptnox.psbt.origins import MAX_CARD_DEPTH, Claim, shown
from hwilib_cryptnox.psbt.registered import Registered
from hwilib_cryptnox.psbt.script import Kind, examine, kind_of, operations, p2pkh, p2sh, p2wpkh, parse_multisig

_MOST_KEYS = 20
"""Keys of an output that are looked for in the script of a wallet that was named: more than one card has in any."""
_MAX_SUFFIX = 8
"""Levels below a cosigner's extended key that are derived."""
_MOST_ALIKE = 4
"""Extended keys of one origin that are tried: there is one, and a PSBT may name any number."""
_MOST_DERIVED = 25_000
"""Keys that are derived for one PSBT: all inputs and outputs of the largest transaction need fewer."""


class WalletScripts(Protocol):
    """A wallet that the caller knows: whether a script is its own where a key of ours says to be, and holds it."""

    def __call__(self, script: bytes, claim: Claim) -> bool: ...


def is_key(claim: Claim, key: bytes) -> bool:
    """Whether the card's compressed key is the claimed one."""
    claimed = claim.public_key
    if len(claimed) == 33:
        return claimed == key
    if len(claimed) == 32:
        return claimed == key[1:]
    try:
        return compress(claimed) == key
    except InvalidPublicKeyError:
        return False


def single_key_scripts(key: bytes, *, taproot: bool = False) -> dict[AccountType, bytes]:
    """The scripts that a compressed key alone can spend with the card. `taproot`: one that signs BIP86 key paths."""
    hashed = hash160(key)
    witness = p2wpkh(hashed)
    scripts: dict[AccountType, bytes] = {
        ScriptType.P2WPKH: witness,
        ScriptType.P2PKH: p2pkh(hashed),
        ScriptType.P2SH_P2WPKH: p2sh(hash160(witness)),
        TaprootType.RAWTR: b"\x51\x20" + key[1:],
    }
    if taproot:
        scripts[TaprootType.P2TR] = b"\x51\x20" + taproot_output_key(key[1:])[0]
    return scripts


def our_inputs(
    collected: Collected, candidates: Sequence[Candidate], keys: Mapping[Path, bytes]
) -> dict[int, list[Claim]]:
    """Inputs that hold our key, with the claims that the card's keys prove: those to be signed, and those signed or
    final already whose claim was compared. RefusedInput for a claim that is false."""
    ours: dict[int, list[Claim]] = {}
    for candidate in candidates:
        claims = ours.setdefault(candidate.index, [])
        if candidate.claim not in claims[-1:]:
            claims.append(candidate.claim)
    for index, claim in collected.signed_claims:
        key = keys.get(claim.path)
        if key is None:
            continue
        if not is_key(claim, key):
            if claim.by_account:
                continue
            raise RefusedInput(index, f"the card's key at {shown(claim.path)} is not the one in the PSBT")
        spending = collected.spendings[index]
        if spending is not None and _belongs(spending, claim, taproot=collected.taproot):
            places = spending.musig.get(claim.public_key, (claim.suffix,))
            ours.setdefault(index, []).extend([replace(claim, suffix=place) for place in places])
    return ours


def _belongs(spending: Spending, claim: Claim, *, taproot: bool) -> bool:
    if spending.route is not Route.TAPROOT:
        return contains_key(spending, claim.public_key)
    leaves = (spending.leaves.get(leaf) for leaf in claim.leaf_hashes)
    if claim.public_key in spending.musig or (taproot and is_bip86(spending, claim.public_key)):
        return True
    return claim.public_key == spending.script or any(
        leaf is not None and leaf.facts is not None and holds(leaf.facts, claim.public_key) for leaf in leaves
    )


def prove_change(
    psbt: Psbt,
    collected: Collected,
    ours: Mapping[int, Sequence[Claim]],
    keys: Mapping[Path, bytes],
    wallet: WalletScripts | None = None,
    registered: Registered | None = None,
) -> dict[int, Path]:
    """The path of our key in each output that is change. `registered`: whose the inputs are; whose each output is, is
    noted there.

    Raises RefusedOutput for an output that claims a key that is not the card's, that it does not contain, or that
    cannot be compared (deeper than the card derives, or not among `keys`). With `wallet` named, RefusedInput and
    RefusedOutput for what is ours and not that wallet's.
    """
    prover = _Prover(psbt, collected, ours, wallet, registered or Registered())
    change = {}
    for index, claims in enumerate(collected.output_claims):
        proved = _proved_claims(psbt, index, claims, keys) if claims else []
        if proved:
            path = prover.path_of_change(index, _with_places(psbt.outputs[index], proved), keys)
            if path is not None:
                change[index] = path
    return change


def _proved_claims(psbt: Psbt, index: int, claims: Sequence[Claim], keys: Mapping[Path, bytes]) -> list[Claim]:
    """The true claims of an output. A false one refuses the PSBT, unless an account's fingerprint fits by chance."""
    proved = []
    holder = _holder(psbt.outputs[index], psbt.tx.outputs[index][1])
    for claim in claims:
        key = keys.get(claim.path)
        if key is None:
            if claim.by_account:
                continue
            if len(claim.path) > MAX_CARD_DEPTH:
                raise RefusedOutput(
                    index,
                    f"it claims a key at {shown(claim.path)}, deeper than the {MAX_CARD_DEPTH} levels of the card",
                )
            raise RefusedOutput(
                index,
                f"it claims a key at {shown(claim.path)}, one of more than are read from the card to compare: turn "
                "on xpub export (cryptnoxctl xpub on), or leave the key origins of payments out",
            )
        true = is_key(claim, key)
        inside = holder(claim.public_key)
        if (not true or inside is False) and claim.by_account:
            continue
        if not true:
            raise RefusedOutput(
                index,
                f"it claims to be your change, but this card does not own it (its key at {shown(claim.path)} is "
                "different). The file may be malicious",
            )
        if inside is False:
            raise RefusedOutput(
                index,
                f"it claims to belong to this card ({shown(claim.path)}), but its script does not contain that key. "
                "The file may be malicious",
            )
        proved.append(claim)
    return proved


def _with_places(fields: FieldMap, claims: Sequence[Claim]) -> list[Claim]:
    """The same claims, before them those that say where below a MuSig2 aggregate the output is."""
    places = places_by_signer(fields, f.OUT_MUSIG2_PARTICIPANTS, f.OUT_TAP_BIP32_DERIVATION)
    placed = [replace(claim, suffix=place) for claim in claims for place in places.get(claim.public_key, ())]
    return [*placed, *claims]


def _holder(fields: FieldMap, script: bytes) -> Callable[[bytes], bool | None]:
    """Tells whether an output's script holds a key; None where the PSBT does not tell. The scripts are hashed and read
    once, however many keys are asked for."""
    kind = kind_of(script)
    if kind is Kind.P2PKH:
        return lambda key: hash160(key) == script[3:23]
    redeem, witness_script = fields.get(f.OUT_REDEEM_SCRIPT), fields.get(f.OUT_WITNESS_SCRIPT)
    inner = script
    if kind is Kind.P2SH:
        if redeem is None:
            told = None if witness_script is not None else script
            return lambda key: None if told is None else (p2sh(hash160(p2wpkh(hash160(key)))) == told or None)
        if p2sh(hash160(redeem)) != script:
            return lambda key: False  # noqa: ARG005 - whichever key it is
        inner, kind = redeem, kind_of(redeem)
    if kind is Kind.P2WPKH:
        return lambda key: hash160(key) == inner[2:]
    if kind in (Kind.P2TR, Kind.P2A, Kind.WITNESS_UNKNOWN) or (kind is Kind.P2WSH and witness_script is None):
        return lambda key: None  # noqa: ARG005
    if kind is Kind.P2WSH and witness_script is not None:
        if hashlib.sha256(witness_script).digest() != inner[2:]:
            return lambda key: False  # noqa: ARG005
        inner = witness_script
    try:
        pushes = examine(inner).pushes
    except ValueError:
        return lambda key: None  # noqa: ARG005
    return lambda key: key in pushes or hash160(key) in pushes


class _Prover:
    """Judges the outputs of one PSBT whose claims are true."""

    def __init__(
        self,
        psbt: Psbt,
        collected: Collected,
        ours: Mapping[int, Sequence[Claim]],
        wallet: WalletScripts | None,
        registered: Registered,
    ) -> None:
        self._psbt, self._collected, self._ours, self._wallet = psbt, collected, ours, wallet
        self._registered = registered
        spendings = [collected.spendings[index] for index in ours]
        # One key's change of coins that several keys hold leaves the wallet: it is a payment.
        self._single = any(spending is not None and is_single(spending) for spending in spendings)
        self._template: Template | None = None
        self._templates: Templates | None = None
        self._length = 0
        if wallet is not None:
            for index, claims in ours.items():
                output = collected.spends[index].output
                if output is None or not any(wallet(output[1], claim) for claim in claims):
                    raise RefusedInput(index, "it does not belong to the wallet you named (--wallet)")

    def path_of_change(self, index: int, claims: Sequence[Claim], keys: Mapping[Path, bytes]) -> Path | None:
        script = self._psbt.tx.outputs[index][1]
        if self._wallet is not None:
            for claim in claims[:_MOST_KEYS]:
                if self._wallet(script, claim):
                    self._registered.note_owner(index, script, [claim])
                    return claim.place
            raise RefusedOutput(
                index,
                f"it names your key at {shown(claims[0].path)}, but it does not belong to the wallet you named "
                "(--wallet)",
            )
        if self._single:
            for claim in claims:
                if script in single_key_scripts(keys[claim.path], taproot=self._collected.taproot).values():
                    return claim.path
        if self._registered.wallets:
            held = any(map(_holder(self._psbt.outputs[index], script), {claim.public_key for claim in claims}))
            path = self._registered.judge(index, script, claims, self._single_scripts(claims, keys), held=held)
            if self._registered.by_input or index in self._registered.outputs:
                return path
        return self._path_by_template(index, claims)

    def _single_scripts(self, claims: Sequence[Claim], keys: Mapping[Path, bytes]) -> set[bytes]:
        taproot = self._collected.taproot
        return {script for claim in claims for script in single_key_scripts(keys[claim.path], taproot=taproot).values()}

    def _path_by_template(self, index: int, claims: Sequence[Claim]) -> Path | None:
        if self._templates is None:
            self._templates = Templates(self._psbt)
            self._template = self._template_of_inputs(self._templates)
        if self._template is None:
            return None
        fields = self._psbt.outputs[index]
        script = _script_of_output(fields, self._psbt.tx.outputs[index][1])
        if script is None or len(script[-1]) != self._length:  # of one template all are as long
            return None
        found = self._templates.read(*script, fields.keyed(f.OUT_BIP32_DERIVATION))
        if found is None or not self._template.fits(found):
            if found is not None and self._template.alike(found):
                self._registered.reordered.append(index)
            return None
        return next((claim.path for claim in claims if claim.public_key in found.keys), None)

    def _template_of_inputs(self, templates: Templates) -> Template | None:
        """The one that all our inputs have."""
        found = []
        for index, claims in self._ours.items():
            spending = self._collected.spendings[index]
            if spending is None or spending.facts is None or spending.route is Route.TAPROOT:
                return None
            form = spending.kind, spending.nested, spending.script
            self._length = len(spending.script)
            read = templates.read(*form, self._psbt.inputs[index].keyed(f.IN_BIP32_DERIVATION))
            if read is None or not any(claim.public_key in read.keys for claim in claims):
                return None
            found.append(read)
        if not found:
            return None
        first = found[0]
        if all(read.sorted for read in found):
            first = replace(first, must_sort=True, any_order=len({read.identities for read in found}) > 1)
        return first if all(first.fits(read) for read in found) else None


def _script_of_output(fields: FieldMap, script: bytes) -> tuple[Kind, Kind | None, bytes] | None:
    """Kind, nested kind and the script with the keys, where the output's fields lead to it."""
    kind, nested = kind_of(script), None
    redeem, witness_script = fields.get(f.OUT_REDEEM_SCRIPT), fields.get(f.OUT_WITNESS_SCRIPT)
    program = script
    if kind is Kind.P2SH:
        if redeem is None or p2sh(hash160(redeem)) != script:
            return None
        if kind_of(redeem) is not Kind.P2WSH:
            return kind, None, redeem
        program, nested = redeem, Kind.P2WSH
    if kind_of(program) is Kind.P2WSH:
        if witness_script is None or hashlib.sha256(witness_script).digest() != program[2:]:
            return None
        return kind, nested, witness_script
    return (kind, None, script) if kind is Kind.MULTISIG else None


Identity = tuple[bytes, bytes]
"""Public key and chain code of an extended key."""


@dataclass(frozen=True, slots=True)
class Template:
    """A script with its keys replaced by the extended keys that they come from."""

    form: tuple[object, ...]
    """All but the keys of a multisig; scripts of any other form with theirs."""
    identities: tuple[Identity, ...]
    """Of the keys of a multisig, in their order."""
    keys: frozenset[bytes]
    sorted: bool
    """A multisig whose keys stand in the order of BIP67."""
    must_sort: bool = False
    """The wallet may sort the keys: each of its scripts is sorted."""
    any_order: bool = False
    """It does: the extended keys are in any order. Else keys that happen to be sorted may be a wallet's that does not,
    which finds no script with its keys in another order."""

    def fits(self, other: Template) -> bool:
        """Whether another script is of the same wallet."""
        same = self.alike(other) if self.any_order else (self.form, self.identities) == (other.form, other.identities)
        return same and (other.sorted or not self.must_sort)

    def alike(self, other: Template) -> bool:
        """Whether another script is the same, but for the order of its keys."""
        return self.form == other.form and sorted(self.identities) == sorted(other.identities)


def _identity(key: ExtendedPublicKey) -> Identity:
    return key.public_key, key.chain_code


class Templates:
    """Reads scripts as keys of the extended keys in PSBT_GLOBAL_XPUB, each of them derived and compared."""

    def __init__(self, psbt: Psbt) -> None:
        self._cosigners: dict[bytes, list[ExtendedPublicKey]] = {}
        """By origin: fingerprint and path, as in the PSBT."""
        self._branches: dict[tuple[Identity, Path], ExtendedPublicKey] = {}
        self._derived = 0
        for key, value in psbt.globals.items():
            if key[0] != f.GLOBAL_XPUB:
                continue
            alike = self._cosigners.setdefault(value, [])
            if len(alike) < _MOST_ALIKE:
                with contextlib.suppress(InvalidExtendedKeyError):  # it proves nothing
                    alike.append(ExtendedPublicKey.from_bytes(key[1:]))

    def read(
        self, kind: Kind, nested: Kind | None, script: bytes, derivations: Iterable[tuple[bytes, bytes]]
    ) -> Template | None:
        """The template of a script; None where not every key is proved to come from an extended key, or where
        they do not all stand at the same place below it."""
        if not self._cosigners:
            return None
        try:
            pushes = examine(script).pushes
        except ValueError:
            return None
        known, suffixes = {}, set()
        for key, origin in derivations:
            found = self._find(key, origin) if key in pushes or hash160(key) in pushes else None
            if found is not None:
                known[key], suffix = found
                suffixes.add(suffix)
        if len(suffixes) != 1:
            return None
        multisig = parse_multisig(script)
        if multisig is not None:
            threshold, keys = multisig
            if any(key not in known for key in keys):
                return None
            identities = tuple([known[key] for key in keys])
            return Template((kind, nested, threshold), identities, frozenset(keys), list(keys) == sorted(keys))
        return self._read_script(kind, nested, script, known)

    @staticmethod
    def _read_script(
        kind: Kind, nested: Kind | None, script: bytes, known: Mapping[bytes, Identity]
    ) -> Template | None:
        hashes = {hash160(key): key for key in known}
        parts: list[object] = []
        used = set()
        at = 0
        for opcode, data, end in operations(script):
            if data is not None and data in known:
                parts.append(("key", opcode, known[data]))
                used.add(data)
            elif data is not None and data in hashes:
                parts.append(("hash", opcode, known[hashes[data]]))
                used.add(hashes[data])
            elif data is not None and len(data) in (33, 65) and data[0] in (2, 3, 4):
                return None  # a key of which nothing is known
            else:
                parts.append(script[at:end])
            at = end
        return Template((kind, nested, *parts), (), frozenset(used), False) if used else None

    def _find(self, key: bytes, origin: bytes) -> tuple[Identity, bytes] | None:
        """The extended key that a key comes from, and the levels below it."""
        for levels in range(min(_MAX_SUFFIX, len(origin) // 4 - 1), 0, -1):
            suffix = origin[-4 * levels :]
            path = Path.from_bytes(suffix, "little")
            if not path.is_unhardened:
                continue
            for cosigner in self._cosigners.get(origin[: -4 * levels], ()):
                if self._derives(cosigner, path, key):
                    return _identity(cosigner), suffix
        return None

    def _derives(self, cosigner: ExtendedPublicKey, path: Path, key: bytes) -> bool:
        place = _identity(cosigner), path.parent
        try:
            if place not in self._branches:
                self._spend(len(path.parent))
                self._branches[place] = cosigner.derive(path.parent)
            self._spend(1)
            return self._branches[place].child_public_key(path.steps[-1]) == key
        except InvalidPathError:
            return False

    def _spend(self, keys: int) -> None:
        """Count keys that are derived. PsbtError for a PSBT that would take minutes."""
        self._derived += keys
        if self._derived > _MOST_DERIVED:
            raise PsbtError("it names more keys of several signers than this program checks: split the transaction")
