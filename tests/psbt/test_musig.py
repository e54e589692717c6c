"""MuSig2 in PSBTs: what is proved of the keys, when our part is made, and what the parts make in the end. The other
signers, and the inputs, are by the text of the BIPs (`tests.psbt.musig`); Bitcoin Core's verifier judges."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cryptnox_core.crypto.points import ORDER
from hwilib_cryptnox.psbt import (
    BadPsbt,
    InvalidSignature,
    Plan,
    Policy,
    Psbt,
    PsbtError,
    RefusedInput,
    SignatureKind,
    collect,
    insert,
    plan,
)
from hwilib_cryptnox.psbt.codec import MAGIC, encode_map
from hwilib_cryptnox.psbt.combine import CombineError, combine, finalized
from hwilib_cryptnox.psbt.finalize import NotFinal, extract
from hwilib_cryptnox.psbt.musig import (
    FIRST_ROUND_REASON,
    FORGOTTEN_REASON,
    OTHER_ROUND_REASON,
    TOO_MANY_REASON,
    TWICE_REASON,
    UNPLACED_REASON,
    UNVERIFIED_REASON,
    aggregated,
)
from hwilib_cryptnox.psbt.signers import input_statuses
from tests.psbt.factory import (
    ME,
    OTHER,
    Draft,
    In,
    Out,
    Pairs,
    bip86,
    draft,
    h160,
    le,
    leaf_hash,
    p2wpkh,
    pushed,
    sighash,
    spend,
    tagged,
    tap_deriv,
    taproot,
)
from tests.psbt.musig import KINDS, NONCE, PARTIAL, PARTICIPANTS, Shared, out_of, part_of, shared
from tests.psbt.signing import make_plan
from tests.support.cosigner import Aggregate, Cosigner, written
from tests.support.kernel import failing_inputs

VECTORS = os.environ.get("CRYPTNOX_VECTORS")
needs_vectors = pytest.mark.skipif(VECTORS is None, reason="CRYPTNOX_VECTORS is not set")


def vectors(name: str) -> dict:  # type: ignore[type-arg]
    return json.loads((Path(VECTORS or "") / name).read_text())  # type: ignore[no-any-return]


def parse(given: Draft) -> Psbt:
    return Psbt.parse(given.encode())


def in_first_round(*keys: Shared, more: Pairs = (), extra: tuple[In, ...] = (), **options: object) -> Draft:  # type: ignore[assignment]
    """Inputs of these keys in which the others have added their nonces."""
    items = [key.item(100_000, number, *key.first_round(), *more) for number, key in enumerate(keys)]
    return draft(*items, *extra, **options)  # type: ignore[arg-type]


def signed_by_us(given: Draft, **policy: object) -> tuple[Psbt, Plan]:
    psbt = parse(given)
    made = make_plan(psbt, **policy)
    done = [
        (request, part_of(request) if request.kind is SignatureKind.MUSIG2 else ME.sign(request))
        for request in made.requests
    ]
    return insert(psbt, done), made


def finished(psbt: Psbt, made: Plan, keys: dict[int, Shared]) -> Psbt:
    """With the parts of the others."""
    digests = {request.input_index: request.digest for request in made.requests}
    return psbt.with_added({index: key.second_round(psbt, index, digests[index]) for index, key in keys.items()})


def check(psbt: Psbt, given: Draft) -> bytes:
    transaction = extract(psbt)
    assert failing_inputs(transaction, [(item.amount, item.script) for item in given.ins]) == []
    return transaction


def reasons(psbt: Psbt) -> set[str]:
    return {item.reason for item in collect(psbt, ME.fingerprint).skipped}


# What is signed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("secrets", [(7_000_001,), (7_000_002, 7_000_003)], ids=["2of2", "3of3"])
@pytest.mark.parametrize("sort", [True, False])
def test_our_part_and_theirs_make_a_transaction(kind: str, secrets: tuple[int, ...], sort: bool) -> None:
    key = shared(kind, secrets=secrets, sort=sort)
    given = in_first_round(key)
    psbt, made = signed_by_us(given)
    (request,) = made.requests
    assert (request.kind, request.public_key, request.leaf_hash) == (SignatureKind.MUSIG2, key.own, key.leaf)
    assert made.summary.our_inputs == 1 and not collect(psbt, ME.fingerprint).candidates
    with pytest.raises(NotFinal, match=r"1 of \d partial signatures \(MuSig2\) are there"):
        extract(psbt)
    done = finished(psbt, made, {0: key})
    check(done, given)
    # The same with the whole signature in its field, for programs that know no MuSig2.
    whole = aggregated(done)
    (added,) = whole.inputs[0].pairs.keys() - done.inputs[0].pairs.keys()
    assert added == (b"\x13" if key.leaf is None else b"\x14" + key.aggregate.xonly + key.leaf)
    assert extract(whole) == extract(done) and aggregated(whole) is whole


def test_many_parities() -> None:
    """Whatever the parities of the keys, of the aggregates and of the nonces."""
    for number in range(12):
        key = shared(
            ("internal", "derived", "leaf")[number % 3],
            secrets=(8_000_000 + number,),
            path=f"m/87h/1h/0h/0/{number}",
            levels=(1, number),
            sort=number % 2 == 0,
        )
        given = in_first_round(key)
        psbt, made = signed_by_us(given)
        check(finished(psbt, made, {0: key}), given)


def test_beside_other_inputs() -> None:
    """One run signs for keys of every kind, and for keys of ours alone."""
    keys = [shared(kind, secrets=(9_000_000 + number,)) for number, kind in enumerate(KINDS)]
    extra = (spend("p2wpkh", 20), spend("tapscript", 21), spend("p2pkh", 22))
    given = in_first_round(*keys, extra=extra)
    psbt, made = signed_by_us(given)
    assert len(made.requests) == len(KINDS) + len(extra) and not made.skipped
    check(finished(psbt, made, dict(enumerate(keys))), given)


@pytest.mark.parametrize("kind", ["internal", "leaf"])
def test_sighash_types(kind: str) -> None:
    """The type is what the input asks for, and stands behind the whole signature."""
    for value in (0x01, 0x02, 0x03, 0x81, 0x83):
        key = shared(kind)
        given = in_first_round(key, more=[sighash(value)])
        if value != 1:
            with pytest.raises(RefusedInput, match="--allow-sighash"):
                make_plan(parse(given))
        psbt, made = signed_by_us(given, allow_sighash=True)
        done = finished(psbt, made, {0: key})
        check(done, given)
        field = b"\x13" if key.leaf is None else b"\x14" + key.aggregate.xonly + key.leaf
        assert aggregated(done).inputs[0].pairs[field][64:] == bytes((value,))


def test_psbt_version_2() -> None:
    key = shared("derived")
    given = in_first_round(key, version=2, extra=(spend("p2wpkh", 3),))
    psbt, made = signed_by_us(given)
    check(finished(psbt, made, {0: key}), given)


def test_two_keys_of_one_input() -> None:
    """The key path and a leaf are both MuSig2 keys with us in them: both parts are made, with nonces of their own."""
    inner, outer = shared("leaf", secrets=(31, 32)), shared("internal", secrets=(41,))
    script = pushed(inner.aggregate.xonly) + b"\xac"
    internal = Aggregate(outer.aggregate.keys)
    output, fields = taproot([script], internal.xonly)
    root = leaf_hash(script)
    tweak = int.from_bytes(tagged("TapTweak", internal.xonly + root), "big")
    outer.aggregate, outer.script = Aggregate(outer.aggregate.keys, [(tweak, True)]), output
    names = [pair for pair in (*outer.fields, *inner.fields) if pair[0][0] in (0x16, PARTICIPANTS)]
    merged = {name: value for name, value in names if name[1:] != ME.key(inner.path)[1:]}
    merged |= dict([tap_deriv(inner.path, [root])])
    outer.fields = [*fields, (b"\x17", internal.xonly), (b"\x18", root), *merged.items()]
    given = draft(outer.item(100_000, 0, *outer.first_round(), *inner.first_round()))
    psbt, made = signed_by_us(given)
    assert [request.leaf_hash for request in made.requests] == [None, root]
    pairs = psbt.inputs[0].pairs
    assert len({value for name, value in pairs.items() if name[0] == NONCE}) == 5
    for key, digest in zip((outer, inner), (request.digest for request in made.requests), strict=True):
        check(psbt.with_added({0: key.second_round(psbt, 0, digest)}), given)


@needs_vectors
def test_published_psbts() -> None:
    """BIP373's, in their three stages: the same whole signatures; the malformed ones are refused."""
    valid, invalid = vectors("bip373-psbt.json")["groups"]
    for case in valid["cases"]:
        psbt = Psbt.parse(case["psbt"])
        if "Spend" not in case["case"]:
            continue
        statuses = input_statuses(psbt)
        complete = case["stage"] == "With all partial signatures"
        assert statuses[0].complete is complete, case
        assert sum(signer.signed for signer in statuses[0].signers) >= 3 * complete
        if not complete:
            assert aggregated(psbt) is psbt
            continue
        spent = psbt.inputs[0].witness_utxo
        assert spent is not None and failing_inputs(extract(psbt), [spent]) == []
        whole = {name: value for name, value in psbt.inputs[0].pairs.items() if name[0] in (0x13, 0x14)}
        bare = without(psbt, *whole)
        assert failing_inputs(extract(bare), [spent]) == []
        again = aggregated(bare).inputs[0].pairs
        assert {name: again[name] for name in whole} == whole
    for case in invalid["cases"]:
        with pytest.raises(BadPsbt):
            Psbt.parse(case["psbt"])


def without(psbt: Psbt, *names: bytes, also: Pairs = ()) -> Psbt:  # type: ignore[assignment]
    """A PSBT of one input without some of its pairs, and with others."""
    pairs = {**{name: value for name, value in psbt.inputs[0].pairs.items() if name not in names}, **dict(also)}
    maps = [psbt.globals, pairs, *[fields.pairs for fields in psbt.inputs[1:]], *[o.pairs for o in psbt.outputs]]
    return Psbt.parse(MAGIC + b"".join(map(encode_map, maps)))


# What is not signed yet


def test_the_card_goes_last_in_the_first_round() -> None:
    """While a nonce of anybody is missing nothing is signed, and it is said why."""
    key = shared("internal", secrets=(51, 52))
    first = key.first_round()
    for there in ([], first[:1], first[1:]):
        psbt = parse(draft(key.item(100_000, 0, *there)))
        found = collect(psbt, ME.fingerprint)
        assert not found.candidates and found.why_nothing() == f"nothing could be signed: input 0: {FIRST_ROUND_REASON}"
        assert not make_plan(psbt).requests
    assert len(make_plan(parse(draft(key.item(100_000, 0, *first)))).requests) == 1


def test_other_inputs_are_signed_meanwhile() -> None:
    given = draft(shared("internal").item(), spend("p2wpkh", 1))
    made = make_plan(parse(given))
    assert [request.input_index for request in made.requests] == [1]
    assert [(item.index, item.reason) for item in made.skipped] == [(0, FIRST_ROUND_REASON)]


def test_what_cannot_be_signed_any_more() -> None:
    """A nonce of ours whose secret nobody has; parts that were made without our nonce; our part without its nonce."""
    key = shared("internal", secrets=(61, 62))
    given = in_first_round(key)
    psbt, made = signed_by_us(given)
    mine = {name: value for name, value in psbt.inputs[0].pairs.items() if name[1:34] == key.own and name[0] >= NONCE}
    nonce = next(name for name in mine if name[0] == NONCE)
    partial = next(name for name in mine if name[0] == PARTIAL)
    done = finished(psbt, made, {0: key})
    assert reasons(without(psbt, partial)) == {FORGOTTEN_REASON}
    assert reasons(without(psbt, nonce)) == {UNVERIFIED_REASON}
    assert reasons(without(done, nonce, partial)) == {OTHER_ROUND_REASON}
    for bent in (without(psbt, partial), without(psbt, nonce), without(done, nonce, partial)):
        assert not make_plan(bent).requests


def test_who_is_too_many() -> None:
    key = shared("internal", secrets=range(100, 132))
    assert reasons(parse(in_first_round(key))) == {TOO_MANY_REASON}
    assert not reasons(parse(in_first_round(shared("internal", secrets=range(100, 131)))))
    pair = (bytes((PARTICIPANTS,)) + key.own, key.own + Cosigner(2).key * 100)
    with pytest.raises(RefusedInput, match="more than 100 signers"):
        collect(parse(draft(key.item(100_000, 0, pair))), ME.fingerprint)


def test_a_signer_who_is_there_twice() -> None:
    """His nonces cannot be told apart in a PSBT."""
    key = shared("internal", secrets=(71, 71))
    assert reasons(parse(in_first_round(key))) == {TWICE_REASON}


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_not_told_how_it_gets_there(kind: str) -> None:
    """The derivation from the aggregate, the merkle root, the leaf: what is missing makes no signature, and no lie."""
    key = shared(kind)
    gone = {"derived": 0x16, "derived-leaf": 0x16, "leaf": 0x15, "tree": 0x15}.get(kind)
    given = in_first_round(key)
    if gone is None:
        return
    derived = h160_mark(key)
    for name, value in list(given.inputs[0]):
        if name[0] == gone and (gone != 0x16 or derived in value):
            given.inputs[0].remove((name, value))
    if kind == "tree":  # the root alone says enough
        assert len(make_plan(parse(given)).requests) == 1
        given.inputs[0] = [pair for pair in given.inputs[0] if pair[0][0] != 0x18]
    found = reasons(parse(given))
    assert found == ({"a leaf script of its key is missing"} if kind == "leaf" else {UNPLACED_REASON})
    assert not make_plan(parse(given)).requests


def h160_mark(key: Shared) -> bytes:
    return h160(written(Aggregate(key.aggregate.keys).point))[:4]


# Lies


def bent(kind: str, change: Callable[[Shared, Pairs], Pairs], secrets: tuple[int, ...] = (81, 82)) -> Psbt:
    key = shared(kind, secrets=secrets)
    given = in_first_round(key)
    given.inputs[0] = change(key, list(given.inputs[0]))
    return parse(given)


def other_participants(_: Shared, pairs: Pairs) -> Pairs:
    """One signer is exchanged, the aggregate stays."""
    return [
        (name, value.replace(Cosigner(82).key, Cosigner(83).key)) if name[0] == PARTICIPANTS else (name, value)
        for name, value in pairs
    ]


def other_order(_: Shared, pairs: Pairs) -> Pairs:
    return [(name, value[33:] + value[:33]) if name[0] == PARTICIPANTS else (name, value) for name, value in pairs]


def other_parity(_: Shared, pairs: Pairs) -> Pairs:
    """Of the aggregate."""
    return [
        (bytes((name[0], 5 - name[1])) + name[2:], v) if name[0] == PARTICIPANTS else (name, v) for name, v in pairs
    ]


def no_point(_: Shared, pairs: Pairs) -> Pairs:
    return [
        (name, value.replace(Cosigner(82).key, b"\x02" + bytes(31) + b"\x05"))
        if name[0] == PARTICIPANTS
        else (name, value)
        for name, value in pairs
    ]


def no_nonce(_: Shared, pairs: Pairs) -> Pairs:
    return [(name, bytes(66)) if name[0] == NONCE else (name, value) for name, value in pairs]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (other_participants, "not the one that its signers' keys make"),
        (other_order, "not the one that its signers' keys make"),
        (other_parity, "not the one that its signers' keys make"),
        (no_point, "not the one that its signers' keys make"),
        (no_nonce, "not a pair of points"),
    ],
)
@pytest.mark.parametrize("kind", ["internal", "derived-leaf"])
def test_lies_about_the_signers(kind: str, change: Callable[[Shared, Pairs], Pairs], text: str) -> None:
    with pytest.raises(RefusedInput, match=text):
        collect(bent(kind, change), ME.fingerprint)


@pytest.mark.parametrize("kind", ["derived", "derived-leaf"])
def test_a_derivation_that_leads_elsewhere(kind: str) -> None:
    """The key of the output is said to be at another place below the aggregate than it is."""
    key = shared(kind, levels=(0, 5))
    given = in_first_round(key)
    mark = h160_mark(key) + le(0)
    given.inputs[0] = [(name, value.replace(mark + le(5), mark + le(6))) for name, value in given.inputs[0]]
    assert reasons(parse(given)) == {UNPLACED_REASON} and not make_plan(parse(given)).requests
    # And another key is said to be at the place where it is.
    given = in_first_round(key)
    given.inputs[0] = [(OTHER.key("m/5")[1:].rjust(33, b"\x16") if mark in v else n, v) for n, v in given.inputs[0]]
    assert reasons(parse(given)) == {UNPLACED_REASON} and not make_plan(parse(given)).requests


def test_an_output_that_is_not_of_the_internal_key() -> None:
    """The PSBT names our MuSig2 key as the internal key, and the coin is somebody else's."""
    key = shared("internal")
    key.script = bip86(OTHER.key("m/3")[1:])
    psbt = parse(in_first_round(key))
    assert reasons(psbt) == {UNPLACED_REASON} and not make_plan(psbt).requests


def test_our_key_with_the_other_parity() -> None:
    """Aggregate and output are of another key that has our x coordinate: the card's part would be worth nothing, and
    what its owner is shown would not be what the coin needs."""
    key = shared("internal")
    negated = bytes((5 - key.own[0],)) + key.own[1:]
    other = shared("internal")
    keys = [negated if each == key.own else each for each in key.aggregate.keys]
    plain = Aggregate(keys)
    internal = plain.xonly
    tweak = int.from_bytes(tagged("TapTweak", internal), "big")
    other.aggregate, other.script = Aggregate(keys, [(tweak, True)]), bip86(internal)
    other.fields = [
        (b"\x17", internal),
        tap_deriv(key.path),
        (b"\x16" + internal, b"\x00" + h160(written(plain.point))[:4]),
        (bytes((PARTICIPANTS,)) + written(plain.point), b"".join(keys)),
    ]
    psbt = parse(in_first_round(other))
    assert len(collect(psbt, ME.fingerprint).candidates) == 1
    with pytest.raises(RefusedInput, match="is not the one in its MuSig2 key"):
        make_plan(psbt)


def test_a_key_of_another_card_at_our_path() -> None:
    key = shared("internal", wallet=OTHER)
    given = in_first_round(key)
    given.inputs[0] = [
        (name, value.replace(OTHER.fingerprint, ME.fingerprint)) if name[0] == 0x16 else (name, value)
        for name, value in given.inputs[0]
    ]
    with pytest.raises(RefusedInput, match="is not the one in the PSBT"):
        make_plan(parse(given))


@pytest.mark.parametrize("kind", ["internal", "leaf", "derived"])
def test_a_coin_of_another_key(kind: str) -> None:
    """The output is somebody else's MuSig2 key: ours has no part in it, and nothing is signed."""
    stranger = shared(kind, secrets=(91,), wallet=OTHER)
    given = draft(stranger.item())
    mine = shared("internal", secrets=(92,))
    given.inputs[0] += [pair for pair in mine.fields if pair[0][0] in (0x16, PARTICIPANTS)] + mine.first_round()
    psbt = parse(given)
    assert not collect(psbt, ME.fingerprint).candidates and not make_plan(psbt).requests


def test_parts_that_are_not_valid() -> None:
    """Ours refuses the PSBT, as any bad signature of ours; another's is a bad signer's, and makes no whole."""
    key = shared("internal", secrets=(95, 96))
    given = in_first_round(key)
    psbt, made = signed_by_us(given)
    mine = next(name for name in psbt.inputs[0].pairs if name[0] == PARTIAL)
    with pytest.raises(RefusedInput, match="your partial signature"):
        collect(without(psbt, also=[(mine, bytes(31) + b"\x01")]), ME.fingerprint)
    done = finished(psbt, made, {0: key})
    theirs = next(name for name in done.inputs[0].pairs if name[0] == PARTIAL and name != mine)
    for value in (bytes(32), b"\xff" * 32, bytes(31) + b"\x07"):
        broken = without(done, also=[(theirs, value)])
        with pytest.raises(NotFinal, match="2 of 3 partial signatures"):
            extract(broken)
        (status,) = input_statuses(broken)
        assert [signer.public_key for signer in status.signers if signer.bad] == [theirs[2:34]]
        assert sum(signer.signed for signer in status.signers) == 2 and aggregated(broken) is broken
        assert not collect(broken, ME.fingerprint).candidates  # ours is there, and valid


def split(done: Psbt) -> list[Psbt]:
    """A file of each signer: the PSBT with all nonces, and with the signer's partial signature alone."""
    partials = [name for name in done.inputs[0].pairs if name[0] == PARTIAL]
    return [without(done, *[name for name in partials if name != mine]) for mine in partials]


@pytest.mark.parametrize("kind", ["internal", "derived-leaf"])
def test_files_of_the_signers_are_combined_and_finalized(kind: str) -> None:
    """Each signer's partial signature comes in a file of its own; together they make the whole signature."""
    key = shared(kind, secrets=(95, 96))
    given = in_first_round(key)
    psbt, made = signed_by_us(given)
    done = finished(psbt, made, {0: key})
    files = split(done)
    assert len(files) == 3
    for count in (1, 2):
        some = combine([*files[:count], files[0]])
        assert some.notes == () and {0x13, 0x14}.isdisjoint(name[0] for name in some.psbt.inputs[0].pairs)
        with pytest.raises(NotFinal, match=f"{count} of 3 partial signatures"):
            finalized(some.psbt)
    for order in itertools.permutations(files):
        result = combine(order)
        assert result.notes == () and result.psbt.inputs[0].pairs.items() > done.inputs[0].pairs.items()
        assert (0x13 if key.leaf is None else 0x14) in {name[0] for name in result.psbt.inputs[0].pairs}
        check(result.psbt, given)
        final = finalized(result.psbt)
        assert final.notes == () and not {NONCE, PARTIAL, PARTICIPANTS} & {
            name[0] for name in final.psbt.inputs[0].pairs
        }
        check(final.psbt, given)
    check(finalized(done).psbt, given)


def test_a_partial_signature_that_is_not_valid_is_not_combined() -> None:
    """The file that has it is named; without all nonces nobody can tell, and the note says so."""
    key = shared("internal", secrets=(95, 96))
    psbt, made = signed_by_us(in_first_round(key))
    first, second, third = split(finished(psbt, made, {0: key}))
    (theirs,) = [name for name in third.inputs[0].pairs if name[0] == PARTIAL]
    for value in (bytes(32), b"\xff" * 32, bytes(31) + b"\x07"):
        with pytest.raises(CombineError, match=r"partial signature \(MuSig2\) that does not verify") as caught:
            combine([first, second, without(third, also=[(theirs, value)])])
        assert caught.value.file == 2
        with pytest.raises(CombineError, match="its MuSig2 partial signature differs"):
            combine([first, third, without(third, also=[(theirs, value)])])
    nonce = next(name for name in first.inputs[0].pairs if name[0] == NONCE)
    early = [without(file, nonce) for file in (first, second)]
    (note,) = combine(early).notes
    assert "not every partial signature" in note


def test_other_nonces_are_another_round() -> None:
    """A nonce that differs from file to file is of another round: the files are not joined."""
    key = shared("internal")
    psbt, made = signed_by_us(in_first_round(key))
    again, _ = signed_by_us(in_first_round(key))
    with pytest.raises(CombineError, match="its MuSig2 public nonce differs"):
        combine([finished(psbt, made, {0: key}), again])


def test_what_is_no_part_of_ours_is_not_inserted() -> None:
    key = shared("internal")
    psbt = parse(in_first_round(key))
    (request,) = make_plan(psbt).requests
    part = part_of(request)
    for wrong in (part[:-1], part[:66] + bytes(32), part[66:], bytes(98), part + b"\x00"):
        with pytest.raises(InvalidSignature):
            insert(psbt, [(request, wrong)])
    other = part_of(request)
    with pytest.raises(InvalidSignature):  # the part of one nonce with another
        insert(psbt, [(request, other[:66] + part[66:])])
    assert insert(psbt, [(request, other)]).inputs[0].pairs.keys() > psbt.inputs[0].pairs.keys()


def test_other_nonces_make_another_session() -> None:
    """Our part is for the nonces that were there: exchanged ones are noticed, whoever does it."""
    key = shared("internal")
    psbt, _ = signed_by_us(in_first_round(key))
    (name,) = [name for name in psbt.inputs[0].pairs if name[0] == NONCE and name[1:34] != key.own]
    with pytest.raises(RefusedInput, match="your partial signature"):
        collect(without(psbt, also=[(name, Cosigner(5).nonce())]), ME.fingerprint)


def test_a_whole_signature_that_is_there() -> None:
    """It is done; one that is not valid refuses the PSBT."""
    key = shared("leaf")
    given = in_first_round(key)
    psbt, made = signed_by_us(given)
    whole = aggregated(finished(psbt, made, {0: key}))
    (name,) = [name for name in whole.inputs[0].pairs if name[0] == 0x14]
    bare = without(parse(given), also=[(name, whole.inputs[0].pairs[name])])
    found = collect(bare, ME.fingerprint)
    assert found.stays_unchanged and found.done == {0}
    with pytest.raises(RefusedInput, match="your signature in it"):
        collect(without(bare, also=[(name, bytes(64))]), ME.fingerprint)


# What is shown


def test_what_comes_back_is_a_payment_without_a_registered_wallet() -> None:
    """A key of ours in an output proves nothing: the other signers may be anybody."""
    key, change = shared("internal"), shared("internal", path="m/87h/1h/0h/1/0")
    outs = [Out(p2wpkh(OTHER.key("m/0")), 20_000), out_of(change, 70_000)]
    made = make_plan(parse(in_first_round(key, outs=outs)))
    assert made.summary.change_amount == 0 and made.summary.sent == 90_000
    assert [group.words for group in made.summary.unregistered] == ["a MuSig2 key"]
    with pytest.raises(RefusedInput, match="a MuSig2 key, not by a registered wallet"):
        make_plan(parse(in_first_round(key, outs=outs)), require_registered=True)


def test_change_of_one_key_is_none_of_a_musig2_coin() -> None:
    """As with any coin that several keys hold."""
    path = "m/84h/0h/0h/1/0"
    out = Out(p2wpkh(ME.key(path)), 90_000, [(b"\x02" + ME.key(path), ME.origin(path))])
    made = make_plan(parse(in_first_round(shared("internal"), outs=[out])))
    assert made.summary.change_amount == 0


def test_amounts_are_settled_as_for_taproot() -> None:
    """The part commits to every amount: previous transactions are not wanted, and a wrong amount spoils it."""
    key = shared("internal")
    given = in_first_round(key)
    given.inputs[0] = [pair for pair in given.inputs[0] if pair[0] != b"\x00"]
    psbt, made = signed_by_us(given)
    assert made.summary.fee == 10_000
    check(finished(psbt, made, {0: key}), given)
    lied = in_first_round(key)
    lied.inputs[0] = [
        (name, le(120_000, 8) + value[8:]) if name == b"\x01" else (name, value)
        for name, value in lied.inputs[0]
        if name != b"\x00"
    ]
    psbt, made = signed_by_us(lied)
    done = finished(psbt, made, {0: key})
    assert failing_inputs(extract(done), [(100_000, key.script)]) == [0]


# Whoever wants to keep us busy


def timed(psbt: Psbt) -> float:
    start = time.process_time()
    with contextlib.suppress(PsbtError):
        collected = collect(psbt, ME.fingerprint)
        plan(psbt, collected, ME.keys(collected.all_paths), Policy())
    with contextlib.suppress(PsbtError):
        extract(psbt)
    return time.process_time() - start


def test_many_keys_take_seconds_at_most() -> None:
    """Thousands of lists of signers, of derivations from one aggregate, of leaves."""
    key = shared("derived")
    lists = [
        (bytes((PARTICIPANTS,)) + Cosigner(1000).key[:1] + le(number, 32), key.own + Cosigner(2).key * 3)
        for number in range(4_000)
    ]
    assert timed(parse(draft(key.item(100_000, 0, *lists)))) < 10
    mark = h160_mark(key)
    children = [(b"\x16" + le(number, 32), b"\x00" + mark + le(0) + le(number)) for number in range(1, 4_000)]
    assert timed(parse(draft(key.item(100_000, 0, *children)))) < 10
    strangers = [(bytes((PARTICIPANTS,)) + b"\x02" + le(number, 32), Cosigner(2).key * 30) for number in range(4_000)]
    assert timed(parse(draft(key.item(100_000, 0, *strangers)))) < 10
    many = [replace(key.item(), salt=number) for number in range(300)]
    assert timed(parse(draft(*many))) < 20


def test_the_order_is_that_of_the_curve() -> None:
    """The other signers of these tests have keys."""
    assert Cosigner(ORDER - 1).key == bytes((5 - Cosigner(1).key[0],)) + Cosigner(1).key[1:]
