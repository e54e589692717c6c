"""Many keys in one map: the time stays proportional to the size, whoever wrote the PSBT."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from cryptnox_core.crypto.secp256k1 import is_public_key
from hwilib_cryptnox.psbt import Collected, Psbt, PsbtError, RefusedOutput, collect, plan
from hwilib_cryptnox.psbt.signers import input_statuses
from tests.psbt.dishonest_wallets import MULTI, OURS, XPUBS, shared_coin
from tests.psbt.factory import (
    ME,
    NUMS,
    OTHER,
    In,
    Out,
    Pairs,
    compact,
    deriv,
    draft,
    h160,
    le,
    leaf_hash,
    multisig,
    out_deriv,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sha,
    spend,
    tagged,
    tap_deriv,
)
from tests.psbt.runs import run
from tests.support.curve import PrivateKey, PublicKey

ACCOUNT = Path.parse("m/84h/0h/0h")
KEYS = 3000
KEY = ME.key("m/84h/0h/0h/0/0")
LIMIT = 1.5
"""Seconds of CPU; each of these took ten and more where every key had the scripts read, or hashed, again."""


def collected(raw: bytes) -> tuple[Psbt, Collected, float]:
    psbt = Psbt.parse(raw)
    start = time.process_time()
    found = collect(psbt, ME.fingerprint)
    return psbt, found, time.process_time() - start


def test_an_output_with_thousands_of_keys() -> None:
    keys = [b"\x02" + sha(le(number)) for number in range(KEYS)]
    script = b"".join(map(pushed, keys))
    fields: Pairs = [(b"\x01", script)]
    fields += [(b"\x02" + key, ME.origin("m/84h/1h/0h/1/0/0/0/0")) for key in keys]
    raw = draft(spend("p2wpkh"), outs=[Out(p2wsh(script), 90_000, fields)]).encode()
    psbt, found, _ = collected(raw)
    start = time.process_time()
    reason = r"output 0: it claims to be your change, .* \(its key at m/84h/1h/0h/1/0/0/0/0 is different\)"
    with pytest.raises(RefusedOutput, match=reason):
        plan(psbt, found, ME.keys(found.all_paths))
    assert time.process_time() - start < LIMIT
    assert len(found.output_claims[0]) == KEYS


def test_an_output_with_thousands_of_true_keys() -> None:
    keys = [ME.key(f"m/48h/0h/0h/2h/1/{number}") for number in range(KEYS)]
    script = b"".join(map(pushed, keys))
    fields: Pairs = [(b"\x01", script)]
    fields += [out_deriv(f"m/48h/0h/0h/2h/1/{number}") for number in range(KEYS)]
    psbt, found, _ = collected(draft(spend("p2wpkh"), outs=[Out(p2wsh(script), 90_000, fields)]).encode())
    known = ME.keys(found.all_paths)
    start = time.process_time()
    made = plan(psbt, found, known)
    assert time.process_time() - start < LIMIT
    assert len(made.requests) == 1 and made.summary.sent == 90_000


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the keys that are derived."""
    numbers: list[int] = []
    derive = ExtendedPublicKey._tweak

    def counting(self: ExtendedPublicKey, number: int) -> object:
        numbers.append(number)
        return derive(self, number)

    monkeypatch.setattr(ExtendedPublicKey, "_tweak", counting)
    return numbers


@pytest.mark.parametrize("long", [True, False])
def test_keys_that_name_extended_keys_of_every_level(long: bool, derived: list[int]) -> None:
    """A key may come from any of them, at each level of its path: one script of many keys, or many scripts."""
    stranger, steps = b"\xee" * 4, [1] * 6
    account = OTHER.account(MULTI)
    extra = list(XPUBS)
    for depth in range(8):
        for number in range(4):
            known = replace(account, chain_code=sha(le(depth) + le(number)))
            extra.append((b"\x01" + known.to_bytes(), stranger + b"".join(map(le, [*steps, 0][:depth]))))
    back = f"{MULTI}/1/7"
    keys = [b"\x02" + sha(le(number)) for number in range(2_000)]
    keys = [key for key in keys if is_public_key(key)][:300]
    origins = [stranger + b"".join(map(le, [*steps, number, 5])) for number in range(len(keys))]
    named = [(b"\x02" + key, origin) for key, origin in zip(keys, origins, strict=True)]
    if long:
        script = b"".join(map(pushed, [ME.key(back), *keys]))
        outs = [Out(p2wsh(script), 990_000, [(b"\x01", script), out_deriv(back), *named])]
    else:
        scripts = [multisig(2, [ME.key(back), key]) for key in keys]
        outs = [
            Out(p2wsh(script), 1_000, [(b"\x01", script), out_deriv(back), pair])
            for script, pair in zip(scripts, named, strict=True)
        ]
    psbt, found, _ = collected(draft(shared_coin(OURS), outs=outs, extra=extra).encode())
    known_keys = ME.keys(found.all_paths)
    derived.clear()
    if long:
        assert plan(psbt, found, known_keys).summary.change_amount == 0
        assert len(derived) < 20
    else:
        with pytest.raises(PsbtError, match="split the transaction"):
            plan(psbt, found, known_keys)
        assert len(derived) <= 25_000


def tree(scripts: list[bytes]) -> tuple[bytes, Pairs]:
    """Output script and leaf fields of a tree with all scripts at about the same depth."""
    hashes = [leaf_hash(script) for script in scripts]
    proofs = [b""] * len(scripts)
    level = [(item, [number]) for number, item in enumerate(hashes)]
    while len(level) > 1:
        above = []
        for (left, below_left), (right, below_right) in zip(level[::2], level[1::2], strict=False):
            for number in below_left:
                proofs[number] += right
            for number in below_right:
                proofs[number] += left
            above.append((tagged("TapBranch", b"".join(sorted((left, right)))), below_left + below_right))
        level = above + (level[-1:] if len(level) % 2 else [])
    output = PublicKey(b"\x02" + NUMS).add(tagged("TapTweak", NUMS + level[0][0])).format()
    head = b"\x15" + bytes((0xC0 | output[0] & 1,)) + NUMS
    leaves = zip(proofs, scripts, strict=True)
    return b"\x51\x20" + output[1:], [(head + proof, script + b"\xc0") for proof, script in leaves]


def test_an_input_with_thousands_of_keys_and_leaves() -> None:
    """Keys of a leaf that do not list it: each is looked up in all leaves."""
    keys = [PrivateKey(sha(le(number))).public_key.format()[1:] for number in range(KEYS)]
    decoys = [b"\x6a" + pushed(le(number)) for number in range(KEYS // 4)]
    script, fields = tree([*decoys, b"".join(pushed(key) + b"\xba" for key in keys)])
    fields += [(b"\x16" + key, compact(0) + ME.origin("m/86h/0h/0h/0/0")) for key in keys]
    _, found, seconds = collected(draft(In(script, 100_000, fields), spend("p2wpkh")).encode())
    assert seconds < LIMIT
    assert len(found.candidates) == 1
    assert {skipped.reason for skipped in found.skipped} == {"the leaf with your key is not in the key's derivation"}


def test_keys_of_one_legacy_input_share_a_digest() -> None:
    """It hashes the whole transaction: once an input, not once a key."""
    paths = [Path.parse(f"m/45h/0h/0h/0/{number}") for number in range(15)]
    redeem = multisig(1, [ME.key(path) for path in paths])
    outs = [Out(p2wpkh(OTHER.key("m/0")), 1)] + [Out(b"\x00\x14" + h160(le(number)), 1) for number in range(2_800)]

    def seconds(count: int) -> float:
        fields = [(b"\x04", redeem), *(deriv(str(path)) for path in paths[:count])]
        item = In(p2sh(redeem), 100_000, fields, witness_utxo=False)
        raw = draft(*(replace(item, salt=number) for number in range(100)), outs=outs).encode()
        _, found, taken = collected(raw)
        assert len(found.candidates) == 100 * count
        assert len({candidate.digest for candidate in found.candidates}) == 100
        return taken

    assert min(seconds(15) for _ in range(3)) < 5 * min(seconds(1) for _ in range(3))


def test_thousands_of_legacy_inputs() -> None:
    """Each signature of theirs hashes the whole transaction. What no node relays is refused before anything is."""
    coin = spend("p2pkh", witness_utxo=False)
    ins = [replace(coin, salt=number) for number in range(12_000)]
    outs = [Out(p2wpkh(OTHER.key("m/0")), 1)] * 12_000
    psbt = Psbt.parse(draft(*ins, outs=outs).encode())
    start = time.process_time()
    with pytest.raises(PsbtError, match="larger than 400000 weight units"):
        collect(psbt, ME.fingerprint)
    assert time.process_time() - start < LIMIT


def test_who_has_signed_a_transaction_that_no_block_holds() -> None:
    ins = [spend("p2pkh", witness_utxo=False), In(p2wpkh(OTHER.key("m/0")), 10_000_000)]
    psbt = Psbt.parse(draft(*ins, outs=[Out(p2wpkh(OTHER.key("m/0")), 1)] * 33_000).encode())
    with pytest.raises(PsbtError, match="no block holds it"):
        input_statuses(psbt)


def test_inputs_that_want_many_signatures_together() -> None:
    path = "m/86h/0h/1h/0/0"
    scripts = [pushed(ME.key(path)[1:]) + b"\xad" + pushed(le(number + 1)) for number in range(100)]
    output, fields = tree(scripts)
    coin = In(output, 1_000, [*fields, tap_deriv(path, map(leaf_hash, scripts))])
    for count in (30, 31):
        psbt = Psbt.parse(draft(*[replace(coin, salt=number) for number in range(count)]).encode())
        with contextlib.nullcontext() if count == 30 else pytest.raises(PsbtError, match="more than 3,000 signatures"):
            assert len(collect(psbt, ME.fingerprint).candidates) == 3_000


@pytest.mark.parametrize(("count", "refused"), [(100, False), (101, True), (3_000, True)])
def test_an_input_that_wants_a_signature_for_each_of_its_leaves(count: int, refused: bool) -> None:
    """Half a second each: the card would be busy for hours, and nobody is asked in HWI's path."""
    path = "m/86h/0h/1h/0/0"
    scripts = [pushed(ME.key(path)[1:]) + b"\xad" + pushed(le(number + 1)) for number in range(count)]
    output, fields = tree(scripts)
    made = run(draft(In(output, 100_000, [*fields, tap_deriv(path, map(leaf_hash, scripts))])))
    assert len(made.made) == (0 if refused else count)
    assert refused == ("it asks for more than 100 signatures" in str(made.refusal))


MANY = 15_000
WORSE_THAN_LINEAR = 3.2
"""Twice the keys take twice the time; four times where every key looks at every other."""


def points(count: int) -> list[bytes]:
    return [b"\x02" + sha(le(number)) for number in range(count)]


def real_points(count: int) -> list[bytes]:
    """Half of all x coordinates are of no point."""
    return [key for key in points(count) if is_public_key(key)]


def musig_keys(count: int) -> bytes:
    """Taproot keys that no leaf explains, beside a MuSig2 key that they have no part in."""
    fields: Pairs = [(b"\x16" + key[1:], compact(0) + ME.origin("m/86h/0h/0h/0/0")) for key in real_points(count)]
    fields += [(b"\x1a\x02" + NUMS, b"\x02" + NUMS)]
    return draft(In(b"\x51\x20" + NUMS, 100_000, fields), spend("p2wpkh")).encode()


def account_keys(count: int) -> bytes:
    """Taproot keys matched by an account's fingerprint, beside many leaves."""
    count //= 3
    leaves = [b"\x6a" + pushed(le(number)) for number in range(count // 8)]
    script, fields = tree(leaves)
    mark = ME.account(ACCOUNT).fingerprint
    fields += [(b"\x16" + key[1:], compact(0) + mark + le(0) + le(1)) for key in points(count)]
    return draft(In(script, 100_000, fields), spend("p2wpkh")).encode()


def keys_of_outputs(count: int) -> bytes:
    """Taproot keys of one output, all at paths of ours."""
    fields: Pairs = [
        (b"\x07" + key[1:], compact(0) + ME.origin("m/86h/0h/0h/1") + le(number))
        for number, key in enumerate(points(count))
    ]
    return draft(spend("p2wpkh"), outs=[Out(b"\x51\x20" + NUMS, 90_000, fields)]).encode()


def many_outputs(count: int) -> bytes:
    """As many outputs, each with a key of its own."""
    outs = [
        Out(p2wpkh(key), 1, [(b"\x02" + key, ME.origin("m/84h/0h/0h/1") + le(number))])
        for number, key in enumerate(points(count // 8))
    ]
    return draft(spend("p2wpkh"), outs=outs).encode()


def leaves_of_one_key(count: int) -> bytes:
    """One key that names many leaves, which are not there."""
    hashes = [sha(le(number)) for number in range(count)]
    value = compact(count) + b"".join(hashes) + ME.origin("m/86h/0h/0h/0/0")
    fields = [(b"\x16" + ME.key("m/86h/0h/0h/0/0")[1:], value), (b"\x17", NUMS)]
    return draft(In(b"\x51\x20" + NUMS, 100_000, fields), spend("p2wpkh")).encode()


def foreign_keys(count: int) -> bytes:
    """Keys of others in one script."""
    keys = [PublicKey.from_secret(sha(le(number))).format() for number in range(count // 8)]
    script = b"".join(map(pushed, keys))
    fields = [(b"\x05", script), *[(b"\x06" + key, OTHER.origin("m/1")) for key in keys]]
    return draft(In(p2wsh(script), 100_000, fields), spend("p2wpkh")).encode()


def extended_keys(count: int) -> bytes:
    """Much change of a shared wallet, many extended keys that are said to be the cosigner's, and as many keys."""
    count //= 60
    real, xpub = OTHER.account(SHARED), b"\x01" + ME.account(SHARED).to_bytes()
    others = [replace(real, chain_code=sha(le(number))) for number in range(count)]
    extra = [(xpub, ME.origin(SHARED)), *((b"\x01" + key.to_bytes(), OTHER.origin(SHARED)) for key in (*others, real))]
    path, places = f"{SHARED}/0/3", [f"{SHARED}/1/{number}" for number in range(count)]
    coin, *back = (multisig(2, sorted([ME.key(place), OTHER.key(place)])) for place in (path, *places))
    outs = [
        Out(p2wsh(script), 300, [(b"\x01", script), out_deriv(place), out_deriv(place, OTHER)])
        for script, place in zip(back, places, strict=True)
    ]
    named = [PublicKey.from_secret(sha(le(number))).format() for number in range(count)]
    outs[0].fields += [(b"\x02" + key, OTHER.origin(places[0])) for key in named]
    spent = In(p2wsh(coin), 100_000, [(b"\x05", coin), deriv(path), deriv(path, OTHER)])
    return draft(spent, outs=outs, extra=extra).encode()


SHARED = "m/48h/0h/0h/2h"


@pytest.mark.parametrize(
    "make",
    [
        musig_keys,
        account_keys,
        keys_of_outputs,
        many_outputs,
        leaves_of_one_key,
        foreign_keys,
        extended_keys,
    ],
)
def test_time_is_proportional_to_the_number_of_keys(make: Callable[[int], bytes]) -> None:
    """Judged by twice as many, not by seconds. Other programs on the machine disturb a ratio, so the best of several
    counts: where every key looks at every other, none is good."""

    def seconds(raw: bytes) -> float:
        start = time.process_time()
        psbt = Psbt.parse(raw)
        found = collect(psbt, ME.fingerprint, {ME.account(ACCOUNT).fingerprint: ACCOUNT})
        with contextlib.suppress(PsbtError):  # which key is false is known only with the card's
            plan(
                psbt, found, ME.keys(found.all_paths) if make is extended_keys else dict.fromkeys(found.all_paths, KEY)
            )
        return time.process_time() - start

    half, whole = make(MANY // 2), make(MANY)
    ratios = []
    for _ in range(6):
        ratios.append(min(seconds(whole) for _ in range(2)) / min(seconds(half) for _ in range(2)))
        if ratios[-1] < WORSE_THAN_LINEAR:
            return
    pytest.fail(f"twice the keys take {min(ratios):.1f} times as long")


def test_extended_keys_of_one_origin_are_no_reason_to_refuse() -> None:
    """A few of them are tried; the work that all of them make would end the signing of an honest PSBT."""
    psbt = Psbt.parse(extended_keys(60 * 200))
    found = collect(psbt, ME.fingerprint)
    assert len(plan(psbt, found, ME.keys(found.all_paths)).requests) == 1
