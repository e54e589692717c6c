"""MuSig2 in a PSBT (BIP373): which keys of an input several signers make together, and what each of them has given.

Nothing that the PSBT says of such a key is believed: it is aggregated from its signers' keys (BIP327), derived (BIP328)
and tweaked (BIP341) here, and only a key that then is the output's, or that a leaf of the output holds, is one of the
input's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptnox_core.bip32 import Path
from cryptnox_core.crypto.hashes import hash160, tagged_hash
from cryptnox_core.crypto.musig2 import (
    KEY_LENGTH,
    NONCE_LENGTH,
    PARTIAL_LENGTH,
    InvalidContributionError,
    KeyAggregate,
    Session,
    aggregate_keys,
    aggregate_nonces,
)
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import Route, Spending, spending_of, spent_outputs
from hwilib_cryptnox.psbt.codec import FieldMap, Pair, Psbt
from hwilib_cryptnox.psbt.errors import PsbtError, RefusedInput
from hwilib_cryptnox.psbt.sighash import SignatureHasher, tap_branch_hash, tap_leaf_hash

MAX_SIGNERS = 32
"""Keys of one aggregate that the card takes."""
_MOST_SIGNERS = 100
"""Keys of one aggregate that are added up."""
_MOST_KEYS, _MOST_CHILDREN = 100, 10
"""Aggregates of one input, and children of each, that are looked at: a PSBT may name any number."""
_MOST_POINTS = 50_000
"""Points that are computed for one PSBT; it takes seconds."""
_MOST_LEVELS = 8
"""Below an aggregate."""
_MOST_PLACES = 4
"""Of one output's keys below an aggregate."""

FIRST_ROUND_REASON = "this card signs last in the first round: let the others add their nonces first"
FORGOTTEN_REASON = (
    "the PSBT has a public nonce of this card without its partial signature, and the card has forgotten it: use the "
    "PSBT from before, and let the others sign with a new nonce"
)
OTHER_ROUND_REASON = (
    "others have made partial signatures without this card's nonce, and those are worth nothing with it: use the PSBT "
    "from before the second round"
)
UNVERIFIED_REASON = "a public nonce is missing, so this card's partial signature cannot be verified"
TOO_MANY_REASON = f"its MuSig2 key has more than the {MAX_SIGNERS} signers that the card takes"
TWICE_REASON = "its MuSig2 key has the same signer twice"
UNPLACED_REASON = (
    "its key is part of a MuSig2 key that is neither its output's nor in a leaf, as far as the PSBT tells: the wallet "
    "has to add the key's derivation, merkle root, or leaf"
)


@dataclass(frozen=True, slots=True)
class MusigKey:
    """A key of an input that several signers make together."""

    keys: KeyAggregate
    """With all tweaks: the output's key, or the one in the leaf."""
    leaf_hash: bytes | None
    """None: the key path."""
    place: Path
    """The levels of the key below the aggregate of the signers' keys."""
    aggregate_keys: tuple[bytes, ...]
    """The aggregate, and the key that is derived from it (x only): what a PSBT names among the keys of an input."""

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Their keys, 33 bytes each, in the order in which they are aggregated."""
        return self.keys.keys

    @property
    def signature_field(self) -> bytes:
        """Key of the pair that takes the whole signature."""
        return b"\x13" if self.leaf_hash is None else b"\x14" + self.keys.xonly + self.leaf_hash

    def field_of(self, kind: int, signer: bytes) -> bytes:
        """Key of the pair with a signer's nonce or partial signature."""
        return bytes((kind,)) + signer + self.keys.key + (self.leaf_hash or b"")

    def nonces(self, fields: FieldMap) -> dict[bytes, bytes]:
        """The public nonces that are there, by signer."""
        return self._given(fields, f.IN_MUSIG2_NONCE)

    def partials(self, fields: FieldMap) -> dict[bytes, bytes]:
        """The partial signatures that are there, by signer."""
        return self._given(fields, f.IN_MUSIG2_PARTIAL_SIG)

    def _given(self, fields: FieldMap, kind: int) -> dict[bytes, bytes]:
        found = {signer: fields.pairs.get(self.field_of(kind, signer)) for signer in self.signers}
        return {signer: value for signer, value in found.items() if value is not None}

    def session(self, nonces: Sequence[bytes], digest: bytes) -> Session:
        """The signing of 32 bytes with the nonces of all signers. Raises InvalidContributionError."""
        return Session(self.keys, aggregate_nonces(nonces), digest)


@dataclass(frozen=True, slots=True)
class MusigPart:
    """What one signer is to add: its nonce and its partial signature."""

    key: MusigKey
    own: bytes
    """The signer's key, 33 bytes."""
    nonces: tuple[bytes, ...]
    """Of all others, 66 bytes each."""

    def verifies(self, digest: bytes, part: bytes) -> bool:
        """Whether a public nonce and a partial signature (98 bytes) are this signer's for 32 bytes."""
        nonce, partial = part[:NONCE_LENGTH], part[NONCE_LENGTH:]
        if len(partial) != PARTIAL_LENGTH:
            return False
        try:
            return self.key.session((*self.nonces, nonce), digest).verify(partial, nonce, self.own)
        except UsageError:
            return False

    def as_signature(self, digest: bytes, part: bytes) -> bytes:
        """64 bytes of 98 that verify: the nonce that the whole signature will have, and the partial signature."""
        return self.key.session((*self.nonces, part[:NONCE_LENGTH]), digest).nonce + part[NONCE_LENGTH:]

    def pairs(self, part: bytes) -> tuple[Pair, Pair]:
        """The pairs that take the 98 bytes."""
        return (
            (self.key.field_of(f.IN_MUSIG2_NONCE, self.own), part[:NONCE_LENGTH]),
            (self.key.field_of(f.IN_MUSIG2_PARTIAL_SIG, self.own), part[NONCE_LENGTH:]),
        )


def signers_of(value: bytes) -> tuple[bytes, ...]:
    """The keys of a list of signers, 33 bytes each."""
    return tuple([value[at : at + KEY_LENGTH] for at in range(0, len(value), KEY_LENGTH)])


def places_by_signer(fields: FieldMap, participants: int, derivation: int) -> dict[bytes, list[Path]]:
    """By signer (x only, 32 bytes): where keys derived from an aggregate with it say to be, below that; as the PSBT has
    it, for a wallet to derive and compare. `participants`, `derivation`: the fields of an input or output."""
    lists = fields.keyed(participants)
    places: dict[bytes, list[Path]] = {}
    for _, value in fields.keyed(derivation) if lists else ():
        origin = f.split_tap_derivation(value)[1]
        if 4 < len(origin) <= 4 + 4 * _MOST_LEVELS:
            places.setdefault(origin[:4], []).append(_place(origin))
    found: dict[bytes, list[Path]] = {}
    for key, value in lists:
        for place in places.get(hash160(key)[:4], [])[:_MOST_PLACES]:
            for signer in signers_of(value):
                found.setdefault(signer[1:], []).append(place)
    return found


def _place(origin: bytes) -> Path:
    return Path.from_bytes(origin[4:], "little")


class Aggregates:
    """The aggregates of one PSBT, each made once."""

    def __init__(self) -> None:
        self._known: dict[bytes, KeyAggregate | None] = {}
        self._work = 0

    def of(self, value: bytes) -> KeyAggregate | None:
        """Of a list of signers; None where their keys are none, or add up to nothing."""
        if value not in self._known:
            signers = signers_of(value)
            self.spend(len(signers))
            try:
                self._known[value] = aggregate_keys(signers)
            except UsageError:
                self._known[value] = None
        return self._known[value]

    def spend(self, points: int) -> None:
        """Count points that are computed. PsbtError for a PSBT that would take minutes."""
        self._work += points
        if self._work > _MOST_POINTS:
            raise PsbtError("it names more MuSig2 keys than this program checks: split the transaction")


class MusigKeys:
    """The MuSig2 keys of one input."""

    def __init__(self, index: int, fields: FieldMap, spending: Spending, aggregates: Aggregates) -> None:
        self._index, self._fields, self._spending, self._aggregates = index, fields, spending, aggregates
        self._lists: dict[bytes, list[Pair]] = {}
        self._found: dict[bytes, list[MusigKey]] = {}
        self._controls = fields.keyed(f.IN_TAP_LEAF_SCRIPT)
        self._origins: dict[bytes, list[tuple[bytes, Path]]] = {}
        for pair in self._pairs:
            for signer in {signer[1:] for signer in signers_of(pair[1])}:
                self._lists.setdefault(signer, []).append(pair)
        for key, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION) if self._lists else ():
            origin = f.split_tap_derivation(value)[1]
            if 4 < len(origin) <= 4 + 4 * _MOST_LEVELS:
                self._origins.setdefault(origin[:4], []).append((key, _place(origin)))

    @property
    def _pairs(self) -> list[Pair]:
        return self._fields.keyed(f.IN_MUSIG2_PARTICIPANTS)

    def all(self) -> list[MusigKey]:
        """Every one. Raises as `of`."""
        return self._of(self._pairs)

    def of(self, signer: bytes) -> list[MusigKey]:
        """Those that a signer (x only, 32 bytes) has a part in.

        Raises: RefusedInput for an aggregate that its signers do not make, and for an input that would take minutes.
        """
        return self._of(self._lists.get(signer, []))

    def names(self, signer: bytes) -> bool:
        """Whether the input says that a signer (x only) has a part in a MuSig2 key, wherever that is."""
        return signer in self._lists

    def _of(self, pairs: Sequence[Pair]) -> list[MusigKey]:
        if len(pairs) > _MOST_KEYS:
            raise RefusedInput(self._index, f"it has more than {_MOST_KEYS} MuSig2 keys")
        for key, value in pairs:
            if len(value) > _MOST_SIGNERS * KEY_LENGTH:
                raise RefusedInput(self._index, f"its MuSig2 key has more than {_MOST_SIGNERS} signers")
            aggregate = self._aggregates.of(value)
            if aggregate is None or aggregate.key != key:
                raise RefusedInput(self._index, "its MuSig2 key is not the one that its signers' keys make")
            if value not in self._found:
                children = self._with_children(aggregate)
                self._found[value] = [
                    musig for made, place in children for musig in self._placed(aggregate, made, place)
                ]
        return [musig for _, value in pairs for musig in self._found[value]]

    def _with_children(self, aggregate: KeyAggregate) -> Iterator[tuple[KeyAggregate, Path]]:
        """An aggregate, and the keys of the input that are derived from it."""
        yield aggregate, Path()
        children = self._origins.get(hash160(aggregate.key)[:4], [])
        if len(children) > _MOST_CHILDREN:
            raise RefusedInput(self._index, f"it has more than {_MOST_CHILDREN} keys derived from one MuSig2 key")
        for key, place in children:
            if not place.is_unhardened:
                continue
            self._aggregates.spend(len(place))
            try:
                child = aggregate.derived(place.steps)
            except UsageError:  # it does not exist, once in 2^127
                continue
            if child.xonly == key:
                yield child, place

    def _placed(self, aggregate: KeyAggregate, made: KeyAggregate, place: Path) -> Iterator[MusigKey]:
        """Where in the input a key is: the output itself, its internal key, leaves."""
        names = aggregate.xonly, made.xonly
        if made.xonly == self._spending.script:
            yield MusigKey(made, None, place, names)
        else:
            tweaked = self._tweaked(made)
            if tweaked is not None and tweaked.xonly == self._spending.script:
                yield MusigKey(tweaked, None, place, names)
        for leaf_hash in self._holding.get(made.xonly, ()):
            yield MusigKey(made, leaf_hash, place, names)

    @cached_property
    def _holding(self) -> dict[bytes, list[bytes]]:
        """The leaves that hold a key, by what they push."""
        found: dict[bytes, list[bytes]] = {}
        for leaf_hash, leaf in self._spending.leaves.items():
            for pushed in leaf.facts.pushes if leaf.facts is not None else ():
                found.setdefault(pushed, []).append(leaf_hash)
        return found

    def _tweaked(self, made: KeyAggregate) -> KeyAggregate | None:
        """The output key of an internal key, unless the input says to have another internal key."""
        controls = self._controls
        internal = self._fields.get(f.IN_TAP_INTERNAL_KEY) or (controls[0][0][1:33] if controls else made.xonly)
        if internal != made.xonly:
            return None
        self._aggregates.spend(1)
        try:
            return made.tweaked(tagged_hash("TapTweak", made.xonly + _merkle_root(self._fields, controls)), xonly=True)
        except UsageError:
            return None


def _merkle_root(fields: FieldMap, controls: Sequence[Pair]) -> bytes:
    """As the input says, or as a leaf leads to it; nothing where there is neither."""
    root = fields.get(f.IN_TAP_MERKLE_ROOT)
    if root is not None or not controls:
        return root or b""
    control, value = controls[0]
    node = tap_leaf_hash(value[:-1], value[-1])
    for at in range(33, len(control), 32):
        node = tap_branch_hash(node, control[at : at + 32])
    return node


def part_to_make(index: int, fields: FieldMap, key: MusigKey, own: bytes, digest: bytes) -> MusigPart | str | None:
    """What a signer (x only, 32 bytes) is to add to an input; None where it has done so; the reason where it cannot
    now. Raises RefusedInput for a nonce or a partial signature of its own that is not valid."""
    if len({signer[1:] for signer in key.signers}) < len(key.signers):
        return TWICE_REASON
    if len(key.signers) > MAX_SIGNERS:
        return TOO_MANY_REASON
    me = next(signer for signer in key.signers if signer[1:] == own)
    nonces, partials = key.nonces(fields), key.partials(fields)
    missing = len(key.signers) - len(nonces)
    try:
        if nonces:
            aggregate_nonces(list(nonces.values()))
    except InvalidContributionError as error:
        raise RefusedInput(index, "a public nonce (MuSig2) is not a pair of points") from error
    if me in partials:
        if missing:
            return UNVERIFIED_REASON
        if not key.session(list(nonces.values()), digest).verify(partials[me], nonces[me], me):
            raise RefusedInput(index, "your partial signature in it (MuSig2) is not valid")
        return None
    if me in nonces:
        return FORGOTTEN_REASON
    if missing > 1:
        return FIRST_ROUND_REASON
    if partials:
        return OTHER_ROUND_REASON
    return MusigPart(key, me, tuple(nonces.values()))


@dataclass(frozen=True, slots=True)
class Parts:
    """What has been given for one MuSig2 key of an input."""

    key: MusigKey
    valid: Mapping[bytes, bool]
    """The partial signatures that are there, by signer (33 bytes): whether each verifies. None does while a nonce is
    missing."""
    signature: bytes | None
    """64 bytes, where all are there and verify."""


def parts_given(
    index: int, fields: FieldMap, spending: Spending, hasher: SignatureHasher, aggregates: Aggregates | None = None
) -> list[Parts]:
    """What has been given for each MuSig2 key of an input. Raises as `MusigKeys.all`."""
    if spending.route is not Route.TAPROOT or not fields.types & 1 << f.IN_MUSIG2_PARTICIPANTS:
        return []
    found = []
    for key in MusigKeys(index, fields, spending, aggregates or Aggregates()).all():
        try:
            digest = hasher.taproot(index, sighash_of(fields), leaf_hash=key.leaf_hash)
        except ValueError:  # the PSBT does not say what each input spends
            continue
        found.append(_parts(fields, key, digest))
    return found


def _parts(fields: FieldMap, key: MusigKey, digest: bytes) -> Parts:
    nonces, partials = key.nonces(fields), key.partials(fields)
    whole = len(nonces) == len(key.signers)
    try:
        session = key.session(list(nonces.values()), digest) if whole else None
        valid = {
            signer: session is not None and session.verify(partial, nonces[signer], signer)
            for signer, partial in partials.items()
        }
        if session is not None and len(valid) == len(key.signers) and all(valid.values()):
            return Parts(key, valid, session.signature([partials[signer] for signer in key.signers]))
    except UsageError:  # a nonce that is none
        valid = dict.fromkeys(partials, False)
    return Parts(key, valid, None)


def sighash_of(fields: FieldMap) -> int:
    """The sighash type of a taproot input's signatures."""
    value = fields.pairs.get(bytes((f.IN_SIGHASH_TYPE,)))
    return int.from_bytes(value or b"", "little")


def whole_pairs(fields: FieldMap, parts: Iterable[Parts]) -> list[Pair]:
    """The pairs with whole signatures that are not there yet."""
    sighash = sighash_of(fields)
    mark = bytes((sighash,)) if sighash else b""
    return [
        (one.key.signature_field, one.signature + mark)
        for one in parts
        if one.signature is not None and one.key.signature_field not in fields.pairs
    ]


def aggregated(psbt: Psbt) -> Psbt:
    """The PSBT with the whole signatures that its partial ones make (BIP373, Finalizer); the same where there are none.

    Every partial signature is verified. Raises RefusedInput and PsbtError where the PSBT contradicts itself.
    """
    if not any(fields.types & 1 << f.IN_MUSIG2_PARTIAL_SIG for fields in psbt.inputs):
        return psbt
    spends = spent_outputs(psbt)
    hasher = SignatureHasher(psbt.tx, [spend.output for spend in spends])
    aggregates = Aggregates()
    additions = {}
    for index, (fields, spend) in enumerate(zip(psbt.inputs, spends, strict=True)):
        if spend.output is not None and not fields.is_final:
            spending = spending_of(index, fields, spend.output[1])
            pairs = whole_pairs(fields, parts_given(index, fields, spending, hasher, aggregates))
            if pairs:
                additions[index] = pairs
    return psbt.with_added(additions) if additions else psbt
