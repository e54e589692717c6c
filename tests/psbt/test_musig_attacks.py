"""Somebody who wants a part of a MuSig2 signature that he should not have: PSBTs that lie, and signers who cheat."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from hwilib_cryptnox.psbt import Policy, Psbt, PsbtError, collect, plan
from hwilib_cryptnox.psbt.collected import SignatureKind
from hwilib_cryptnox.psbt.errors import BadPsbt, RefusedInput
from hwilib_cryptnox.psbt.musig import FIRST_ROUND_REASON, TOO_MANY_REASON, TWICE_REASON, UNPLACED_REASON
from tests.psbt.factory import ME, OTHER, In, Pairs, draft, h160, le, leaf_hash, pushed, tap_deriv, taproot
from tests.psbt.musig import KINDS, NONCE, PARTIAL, PARTICIPANTS, Shared, part_of, shared
from tests.psbt.test_musig import check, in_first_round, parse, reasons, signed_by_us, without
from tests.support.cosigner import Aggregate, Cosigner, N, P, added, multiplied, read, written

OWN_PATH = "m/87h/1h/0h/0/5"


def negated(key: bytes) -> bytes:
    return bytes((5 - key[0],)) + key[1:]


def changed(key: Shared, change: Callable[[Pairs], Pairs]) -> Psbt:
    given = in_first_round(key)
    given.inputs[0] = change(list(given.inputs[0]))
    return parse(given)


# Keys


def test_a_rogue_key() -> None:
    """His key is chosen so that the plain sum with ours is a key of his alone: it is not what the list makes, and a
    coin of that key is not one of ours."""
    key = shared("internal")
    his = Cosigner(5_000_011)
    minus = read(negated(key.own))
    rogue = written(added(multiplied(5_000_011, read(Cosigner(1).key)), minus))
    script, fields = taproot([], his.key[1:])
    claims = [tap_deriv(OWN_PATH), (b"\x17", his.key[1:])]
    told = [(bytes((PARTICIPANTS,)) + his.key, key.own + rogue)]
    with pytest.raises(RefusedInput, match="not the one that its signers' keys make"):
        collect(parse(draft(In(script, fields=[*fields, *claims, *told]))), ME.fingerprint)
    made = Aggregate([key.own, rogue])
    true = [(bytes((PARTICIPANTS,)) + written(made.point), key.own + rogue)]
    psbt = parse(draft(In(script, fields=[*fields, *claims, *true])))  # the list is true, and the coin is not of it
    assert reasons(psbt) == {UNPLACED_REASON} and not collect(psbt, ME.fingerprint).candidates


@pytest.mark.parametrize("kind", ["internal", "leaf", "derived"])
def test_our_key_twice(kind: str) -> None:
    """As it is, or negated: one nonce would be wanted for two keys."""
    secret = int.from_bytes(ME.private(OWN_PATH if kind != "derived" else "m/87h/1h/0h").secret, "big")
    for twin in (secret, N - secret):
        key = shared(kind, secrets=(twin, 7_000_001))
        given, pairs = in_first_round(key), dict[bytes, bytes]()
        for name, value in given.inputs[0]:
            pairs.setdefault(name, value)
        given.inputs[0] = list(pairs.items())
        psbt = parse(given)
        assert TWICE_REASON in reasons(psbt) and not collect(psbt, ME.fingerprint).candidates


@pytest.mark.parametrize("which", [0, 1])
def test_a_negated_key_in_the_list(which: int) -> None:
    """Ours, or another's: the aggregate is another one."""
    key = shared("internal", secrets=(7_000_005,))
    signer = (key.own, key.others[0].key)[which]
    with pytest.raises(RefusedInput, match="not the one that its signers' keys make"):
        collect(
            changed(key, lambda pairs: [(name, value.replace(signer, negated(signer))) for name, value in pairs]),
            ME.fingerprint,
        )


@pytest.mark.parametrize("count", [33, 100, 101])
def test_many_signers(count: int) -> None:
    key = shared("internal", secrets=range(2, count + 1))
    psbt = parse(in_first_round(key))
    if count <= 100:
        assert reasons(psbt) == {TOO_MANY_REASON} and not collect(psbt, ME.fingerprint).candidates
        return
    with pytest.raises(RefusedInput, match="more than 100 signers"):
        collect(psbt, ME.fingerprint)


# Nonces


def test_nonces_of_others_that_cancel_each_other() -> None:
    """Their sum is the point at infinity, which BIP327 allows: with ours it is ours, and the signature is good."""
    key = shared("internal", secrets=(61, 62))
    first, second = key.others
    numbers = 12_345, 67_890
    pairs = [
        key.pair(NONCE, first.key, first.nonce(numbers)),
        key.pair(NONCE, second.key, second.nonce((N - numbers[0], N - numbers[1]))),
    ]
    given = draft(key.item(100_000, 0, *pairs))
    psbt, made = signed_by_us(given)
    check(psbt.with_added({0: key.second_round(psbt, 0, made.requests[0].digest)}), given)


NO_POINT = b"\x02" + bytes(31) + b"\x05"
NOT_NONCES = {
    "infinity": bytes(33),
    "no point of the curve": NO_POINT,
    "above the field": b"\x02" + P.to_bytes(32, "big"),
    "a point not compressed": b"\x04" + Cosigner(3).key[1:],
    "hybrid": b"\x06" + Cosigner(3).key[1:],
}


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("bad", NOT_NONCES.values(), ids=list(NOT_NONCES))
def test_what_is_no_nonce(bad: bytes, half: int) -> None:
    def change(pairs: Pairs) -> Pairs:
        other = Cosigner(4).key
        value = bad + other if half == 0 else other + bad
        return [(name, value) if name[0] == NONCE else (name, old) for name, old in pairs]

    with pytest.raises(RefusedInput, match="not a pair of points"):
        collect(changed(shared("internal"), change), ME.fingerprint)


@pytest.mark.parametrize("kind", ["internal", "leaf"])
def test_a_nonce_for_another_key_or_leaf_is_none(kind: str) -> None:
    """It is said to be for another leaf, for the key path, or for the plain aggregate: it is missing where we sign."""
    key = shared(kind)
    plain = written(Aggregate(key.aggregate.keys).point)
    for name in (plain, written(key.aggregate.point) + bytes(32), plain + bytes(32), Cosigner(8).key):
        if name == written(key.aggregate.point):
            continue

        def change(pairs: Pairs, name: bytes = name) -> Pairs:
            return [(old[:34] + name, value) if old[0] == NONCE else (old, value) for old, value in pairs]

        psbt = changed(key, change)
        assert reasons(psbt) == {FIRST_ROUND_REASON} and not collect(psbt, ME.fingerprint).candidates


# Leaves and derivations


def test_our_key_beside_a_key_that_it_is_part_of() -> None:
    """One leaf wants both: the card's own signature, and that which it makes with another."""
    inner = shared("leaf", secrets=(31,), path="m/87h/1h/0h/0/6")
    own = ME.key("m/87h/1h/0h/0/6")
    script = pushed(own[1:]) + b"\xac" + pushed(inner.aggregate.xonly) + b"\xba\x52\x9c"
    leaf = leaf_hash(script)
    output, fields = taproot([script])
    names = [pair for pair in inner.fields if pair[0][0] == PARTICIPANTS]
    inner.leaf, inner.script = leaf, output
    inner.fields = [*fields, *names, tap_deriv("m/87h/1h/0h/0/6", [leaf])]
    given = draft(inner.item(100_000, 0, *inner.first_round()))
    psbt, made = signed_by_us(given)
    assert {request.kind for request in made.requests} == {SignatureKind.SCHNORR, SignatureKind.MUSIG2}
    assert collect(psbt, ME.fingerprint).stays_unchanged
    check(psbt.with_added({0: inner.second_round(psbt, 0, made.requests[0].digest)}), given)
    # One of the two is made where the other is there.
    (name,) = [name for name in psbt.inputs[0].pairs if name[0] == 0x14]
    again = collect(without(psbt, name), ME.fingerprint)
    assert [each.kind for each in again.candidates] == [SignatureKind.SCHNORR]


def test_a_derivation_that_is_none() -> None:
    """Hardened, too deep, or of no level: the key below the aggregate is not found, and nothing is signed."""
    key = shared("derived")
    mark = h160(written(Aggregate(key.aggregate.keys).point))[:4]
    true = mark + le(0) + le(5)
    for origin in (mark + le(0) + le(5 | 1 << 31), mark + le(0) * 9, mark, mark + le(5) + le(0), true + le(0)):
        psbt = changed(key, lambda pairs, origin=origin: [(n, v.replace(true, origin)) for n, v in pairs])
        assert reasons(psbt) == {UNPLACED_REASON} and not collect(psbt, ME.fingerprint).candidates


# Fields


@pytest.mark.parametrize("kind", KINDS)
def test_fields_of_another_form(kind: str) -> None:
    """Other lengths of keys and values, and a field that is there twice."""
    key = shared(kind)
    honest = in_first_round(key).inputs[0]
    by_type = {name[0]: (name, value) for name, value in honest}
    (told, signers), (nonce, pair) = by_type[PARTICIPANTS], by_type[NONCE]
    for bad in (
        (told[:-1], signers),
        (told + b"\x00", signers),
        (told[:1] + b"\x04" + bytes(64), signers),
        (told, signers[:-1]),
        (told, signers + b"\x02"),
        (told, b""),
        (nonce[:-1], pair),
        (nonce + bytes(31), pair),
        (nonce + b"\x00", pair),
        (nonce, pair[:-1]),
        (nonce, pair + b"\x00"),
        (bytes((PARTIAL,)) + nonce[1:], bytes(31)),
        (bytes((PARTIAL,)) + nonce[1:], bytes(33)),
        (bytes((PARTIAL,)) + nonce[1:34], bytes(32)),
        (nonce, pair),
        (told, signers),
    ):
        given = in_first_round(key)
        given.inputs[0] = [*honest, bad]
        with pytest.raises(BadPsbt):
            parse(given)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_changed(seed: int) -> None:
    """Any bytes of the fields of MuSig2, derivations, leaves and roots exchanged, cut, or turned round: it is refused,
    or nothing is signed, or what is signed is the true key's, of which the true card is a signer."""
    rng = random.Random(seed)
    key = shared(rng.choice(KINDS), secrets=rng.choice([(71,), (71, 72)]))
    stranger = shared(rng.choice(KINDS), secrets=(91,), wallet=OTHER)
    outcomes = set()
    for _ in range(60):
        given = in_first_round(key)
        pairs = list(given.inputs[0])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(pairs))
            name, value = pairs[at]
            if name[0] in (0x00, 0x01) or not value:
                continue
            where = rng.randrange(len(value))
            pairs[at] = rng.choice(
                [
                    (name, value[:where] + bytes((value[where] ^ 1 << rng.randrange(8),)) + value[where + 1 :]),
                    (name[:1] + bytes(reversed(name[1:])), value),
                    (name, value[33:] + value[:33]),
                    (name, rng.choice(pairs)[1]),
                    (rng.choice(pairs)[0], value),
                    rng.choice(stranger.fields),
                    (name[:-1] + bytes((name[-1] ^ 1,)), value),
                ]
            )
        given.inputs[0] = list(dict(pairs).items())
        try:
            psbt = parse(given)
            collected = collect(psbt, ME.fingerprint)
            requests = plan(psbt, collected, ME.keys(collected.all_paths), Policy()).requests
        except PsbtError:
            outcomes.add("refused")
            continue
        outcomes.add("signed" if requests else "nothing to sign")
        for request in requests:
            assert request.musig is not None and request.digest
            made = request.musig.key
            plain = Aggregate(made.signers)
            assert ME.key(request.path) == request.musig.own and request.musig.own in plain.keys
            if made.leaf_hash is None:
                assert made.keys.xonly == key.script[2:] == key.aggregate.xonly
            else:
                script = pushed(made.keys.xonly) + b"\xac"
                assert leaf_hash(script) == made.leaf_hash == key.leaf
            assert request.musig.verifies(request.digest, part_of(request))
    assert outcomes & {"refused", "nothing to sign"}


def test_the_amount_and_the_payees_are_in_the_digest() -> None:
    """The part of one transaction is worth nothing for another one of the same coin and nonces."""
    key = shared("internal")
    first = key.first_round()
    digests = set()
    for amount, pay in ((100_000, 90_000), (100_000, 80_000), (120_000, 90_000)):
        given = draft(key.item(amount, 0, *first))
        given = replace(given, outs=[replace(given.outs[0], amount=pay)])
        found = collect(parse(given), ME.fingerprint).candidates
        digests.add(found[0].digest)
    assert len(digests) == 3
