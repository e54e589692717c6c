"""Combiner and finalizer: nothing is lost, nothing bad goes in, and Bitcoin Core takes what comes out."""

from __future__ import annotations

import base64
import contextlib
import itertools
import random
from dataclasses import replace

import hypothesis
import pytest
from hypothesis import strategies as st

from hwilib_cryptnox.psbt import BadPsbt, Psbt, PsbtError, RefusedInput
from hwilib_cryptnox.psbt.combine import CombineError, combine, finalized
from hwilib_cryptnox.psbt.finalize import NotFinal, extract, txid
from tests.psbt.factory import (
    ME,
    NUMS,
    OTHER,
    Draft,
    In,
    Out,
    Wallet,
    deriv,
    draft,
    le,
    leaf_hash,
    multisig,
    out_deriv,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sighash,
    spend,
    tap_deriv,
    taproot,
)
from tests.psbt.signing import sign
from tests.support.kernel import failing_inputs
from tests.support.optional import hwilib

THIRD = Wallet(b"a third seed, of one more party")
KINDS = ("p2pkh", "p2pk", "p2sh-p2wpkh", "p2wpkh", "multisig", "p2sh", "p2wsh", "p2sh-p2wsh", "rawtr", "tapscript")


def shared(needed: int = 2, version: int = 0, count: int = 2) -> Draft:
    """Coins of three signers, and their change."""
    ins = []
    for number in range(count):
        path = f"m/48h/0h/0h/2h/0/{number}"
        inner = multisig(needed, sorted(wallet.key(path) for wallet in (ME, OTHER, THIRD)))
        fields = [deriv(path, wallet) for wallet in (ME, OTHER, THIRD)]
        ins.append(In(p2wsh(inner), 100_000, [*fields, (b"\x05", inner)], salt=number))
    change = out_deriv("m/48h/0h/0h/2h/1/0")
    outs = [Out(p2wpkh(OTHER.key("m/0")), 50_000), Out(p2wpkh(ME.key("m/48h/0h/0h/2h/1/0")), 100_000, [change])]
    return Draft(ins, outs, version=version, extra=[(b"\xfc\x05other", b"kept")])


def good_on_core(psbt: Psbt, given: Draft) -> None:
    assert failing_inputs(extract(psbt), [(item.amount, item.script) for item in given.ins]) == []


@pytest.mark.parametrize("version", [0, 2])
def test_signers_come_together_in_any_order(version: int) -> None:
    given = shared(version=version)
    parts = [sign(given.encode(), wallet) for wallet in (ME, OTHER)]
    for order in itertools.permutations([Psbt.parse(given.encode()), *parts]):
        result = combine(order)
        assert result.notes == () and result.psbt.version == version
        good_on_core(result.psbt, given)
        for psbt in order:  # every field of every file
            for one, all_of_them in zip(
                (psbt.globals, *(i.pairs for i in psbt.inputs), *(o.pairs for o in psbt.outputs)),
                (result.psbt.globals, *(i.pairs for i in result.psbt.inputs), *(o.pairs for o in result.psbt.outputs)),
                strict=True,
            ):
                assert one.items() <= all_of_them.items()


def test_more_signatures_than_are_needed_do_not_harm() -> None:
    given = shared()
    result = combine([sign(given.encode(), wallet) for wallet in (ME, OTHER, THIRD)])
    good_on_core(finalized(result.psbt).psbt, given)


@pytest.mark.parametrize("first", [0, 2])
def test_both_versions_of_one_transaction(first: int) -> None:
    """The result has the version of the first; what only the other version has is in the transaction."""
    mine, theirs = sign(shared(version=first).encode(), ME), sign(shared(version=2 - first).encode(), OTHER)
    result = combine([mine, theirs])
    assert result.psbt.version == first
    good_on_core(result.psbt, shared())


@pytest.mark.parametrize("form", ["binary", "base64", "hex"])
def test_the_form_is_that_of_the_first(form: str) -> None:
    raw = shared().encode()
    text = {"binary": raw, "base64": base64.b64encode(raw), "hex": raw.hex().encode()}[form]
    result = combine([Psbt.parse(text), sign(raw, OTHER)])
    encoded = result.psbt.encode()
    assert isinstance(encoded, bytes) and Psbt.parse(encoded).raw == result.psbt.raw
    assert Psbt.parse(encoded).form.value == form


@pytest.mark.parametrize(
    "other",
    [
        replace(shared(), lock_time=1),
        replace(shared(), tx_version=1),
        replace(shared(), outs=[Out(p2wpkh(OTHER.key("m/0")), 50_001), *shared().outs[1:]]),
        replace(shared(), ins=[replace(shared().ins[0], sequence=0), *shared().ins[1:]]),
        shared(count=1),
        draft(spend("p2wpkh")),
    ],
    ids=["lock time", "version", "amount", "sequence", "inputs", "another"],
)
@pytest.mark.parametrize("version", [0, 2])
def test_another_transaction_is_refused(other: Draft, version: int) -> None:
    other = replace(other, version=version)
    with pytest.raises(CombineError, match="a different transaction") as caught:
        combine([Psbt.parse(shared().encode()), Psbt.parse(shared().encode()), Psbt.parse(other.encode())])
    assert caught.value.file == 2


def bent(given: Draft, index: int, key: bytes, value: bytes) -> Psbt:
    given.inputs[index] = [*[pair for pair in given.inputs[index] if pair[0] != key], (key, value)]
    return Psbt.parse(given.encode())


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        (b"\x01", le(100_001, 8) + b"\x22" + shared().ins[0].script, "witness_utxo"),
        (b"\x05", b"\x51", "witness script"),
        (b"\x06" + ME.key("m/48h/0h/0h/2h/0/0"), OTHER.origin("m/1"), "derivation"),
    ],
)
def test_fields_that_contradict_are_refused(key: bytes, value: bytes, what: str) -> None:
    with pytest.raises(CombineError, match=f"input 0: its {what} differs from the one in an earlier file") as caught:
        combine([Psbt.parse(shared().encode()), bent(shared(), 0, key, value)])
    assert caught.value.file == 1


def test_unknown_fields_that_differ_keep_the_first_and_are_told() -> None:
    other = shared()
    other.extra = [(b"\xfc\x05other", b"changed"), (b"\xfc\x05more", b"kept, too")]
    result = combine([Psbt.parse(shared().encode()), Psbt.parse(other.encode())])
    assert result.psbt.globals[b"\xfc\x05other"] == b"kept" and result.psbt.globals[b"\xfc\x05more"] == b"kept, too"
    assert result.notes == ("the PSBT: the files differ in a field of type 0xfc; the first file's value is kept",)


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "p2sh-p2wsh", "rawtr", "tapscript"])
def test_signatures_that_do_not_verify_are_refused(kind: str) -> None:
    """Alone, and beside a good one of the same key, in either order: the file is named."""
    given = draft(spend(kind))
    good = sign(given.encode())
    key, value = list(good.inputs[0].pairs.items())[-1]
    where = 20 if key[0] == 2 else 5
    broken = bent(draft(spend(kind)), 0, key, value[:where] + bytes((value[where] ^ 1,)) + value[where + 1 :])
    for order, file in (([given, broken], 1), ([good, broken], 1), ([broken, good], 0)):
        psbts = [one if isinstance(one, Psbt) else Psbt.parse(one.encode()) for one in order]
        with pytest.raises(CombineError, match="does not verify: leave the file out") as caught:
            combine(psbts)
        assert caught.value.file == file


def test_a_signature_for_something_else_is_refused() -> None:
    """Of the right key, over another transaction; and one of another sighash type is still one."""
    path = "m/48h/0h/0h/2h/0/0"
    other = replace(shared(), lock_time=7)
    key, value = next(pair for pair in sign(other.encode()).inputs[0].pairs.items() if pair[0][0] == 2)
    assert key[1:] == ME.key(path)
    with pytest.raises(CombineError):
        combine([Psbt.parse(shared().encode()), bent(shared(), 0, key, value)])


def test_two_good_signatures_of_one_key_keep_the_first() -> None:
    given = draft(spend("rawtr"))
    one, two = (sign(given.encode()) for _ in range(2))
    assert combine([one, two]).psbt.raw == one.raw


def test_without_what_is_spent_signatures_are_kept_and_that_is_told() -> None:
    bare = draft(spend("p2wpkh", previous=False, witness_utxo=False))
    whole = sign(draft(spend("p2wpkh")).encode())
    key, value = list(whole.inputs[0].pairs.items())[-1]
    signed = bent(draft(spend("p2wpkh", previous=False, witness_utxo=False)), 0, key, value)
    result = combine([Psbt.parse(bare.encode()), signed])
    assert result.psbt.inputs[0].pairs[key] == value and "could not be verified" in result.notes[0]
    assert combine([signed, Psbt.parse(draft(spend("p2wpkh")).encode())]).notes == ()


@pytest.mark.parametrize("kind", KINDS)
def test_final_inputs(kind: str) -> None:
    """One file is final already; one whose final fields are no good is refused."""
    given = draft(spend(kind))
    final = finalized(sign(given.encode())).psbt
    assert extract(combine([Psbt.parse(given.encode()), final]).psbt) == extract(final)
    key = next(key for key in final.inputs[0].pairs if key[0] in (7, 8))
    value = final.inputs[0].pairs[key]
    wrong = value[:20] + bytes((value[20] ^ 1,)) + value[21:]
    with pytest.raises((CombineError, BadPsbt)) as caught:
        combine([Psbt.parse(given.encode()), bent(draft(spend(kind)), 0, key, wrong)])
    assert isinstance(caught.value, BadPsbt) or caught.value.file == 1


def test_the_same_previous_transaction_with_and_without_witness() -> None:
    plain, segwit = (draft(spend("p2wpkh", segwit_previous=both)) for both in (False, True))
    assert combine([Psbt.parse(plain.encode()), Psbt.parse(segwit.encode())]).psbt.raw == plain.encode()


@pytest.mark.parametrize(("one", "two", "both"), [(3, 1, 1), (7, 3, 7), (0, 3, 0), (4, 0, 4)])
def test_what_is_fixed_in_one_file_is_fixed(one: int, two: int, both: int) -> None:
    psbts = [
        Psbt.parse(replace(shared(version=2), extra=[(b"\x06", bytes((flags,)))]).encode()) for flags in (one, two)
    ]
    assert combine(psbts).psbt.globals[b"\x06"] == bytes((both,))


def leaves_of_change(order: list[bytes], of_input: list[bytes]) -> Draft:
    """A coin of two leaves with one key, and change of the same kind."""
    path, back = "m/86h/0h/1h/0/0", "m/86h/0h/1h/1/0"
    script, fields = taproot(LEAVES)
    ins = [In(script, 100_000, [*fields, tap_deriv(path, of_input), (b"\x17", NUMS)])]
    outs = [Out(script, 90_000, [(b"\x05", NUMS), tap_deriv(back, order, kind=0x07)])]
    return Draft(ins, outs)


LEAF_KEY = ME.key("m/86h/0h/1h/0/0")[1:]
LEAVES = [pushed(LEAF_KEY) + b"\xac", pushed(LEAF_KEY) + b"\xad\x55\xb2"]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


@pytest.mark.parametrize("of_input", [HASHES, HASHES[::-1]])
@pytest.mark.parametrize("order", [HASHES, HASHES[::-1]])
def test_leaf_hashes_in_another_order_are_no_contradiction(order: list[bytes], of_input: list[bytes]) -> None:
    first = Psbt.parse(leaves_of_change(HASHES, HASHES).encode())
    result = combine([first, Psbt.parse(leaves_of_change(order, of_input).encode())])
    assert result.psbt.raw == first.raw and result.notes == ()


@pytest.mark.parametrize(
    "other",
    [
        leaves_of_change(HASHES[:1], HASHES),
        leaves_of_change(HASHES, HASHES[:1]),
        leaves_of_change(HASHES, [HASHES[0], bytes(32)]),
    ],
)
def test_other_leaf_hashes_are_a_contradiction(other: Draft) -> None:
    first = Psbt.parse(leaves_of_change(HASHES, HASHES).encode())
    with pytest.raises(CombineError, match="taproot derivation differs from the one in an earlier file"):
        combine([first, Psbt.parse(other.encode())])


def test_another_origin_with_the_same_leaf_hashes_is_a_contradiction() -> None:
    one, two = leaves_of_change(HASHES, HASHES), leaves_of_change(HASHES, HASHES[::-1])
    key, value = two.inputs[0][-2]
    two.inputs[0][-2] = (key, value[:-1] + b"\x80")
    with pytest.raises(CombineError, match="taproot derivation differs from the one in an earlier file"):
        combine([Psbt.parse(one.encode()), Psbt.parse(two.encode())])


def timed(required: list[tuple[int | None, int | None]], version: int = 2, lock_time: int = 0) -> Draft:
    """Of inputs that require times and heights."""
    given = draft(*(spend("p2wpkh", number) for number in range(len(required))), version=version, lock_time=lock_time)
    for pairs, values in zip(given.inputs, required, strict=True):
        pairs += [(key, le(value)) for key, value in zip((b"\x11", b"\x12"), values, strict=True) if value is not None]
    return given


TIME, HEIGHT = 1_700_000_000, 900_000


@pytest.mark.parametrize("signed", [False, True])
def test_lock_times_that_make_another_transaction_are_refused(signed: bool) -> None:
    """Two files of one transaction, each with what would be an extra requirement in the other."""
    one, two = timed([(TIME, None), (TIME, HEIGHT)]).encode(), timed([(TIME, HEIGHT), (TIME, None)]).encode()
    first = sign(one) if signed else Psbt.parse(one)
    assert first.unsigned_tx() == Psbt.parse(two).unsigned_tx()
    with pytest.raises(CombineError, match="together they are a different transaction") as caught:
        combine([first, Psbt.parse(one), Psbt.parse(two)])
    assert caught.value.file == 2


@pytest.mark.parametrize("version", [0, 2])
def test_lock_times_beside_a_file_of_the_other_version(version: int) -> None:
    """They stay those of the first file, and so does the transaction."""
    one, two = timed([(TIME, None), (TIME, HEIGHT)]), timed([(TIME, HEIGHT), (TIME, None)])
    old = draft(spend("p2wpkh"), spend("p2wpkh", 1), lock_time=TIME)
    files = [Psbt.parse(given.encode()) for given in ((old, one, two) if version == 0 else (one, old, two))]
    result = combine(files)
    assert result.psbt.version == version and result.psbt.unsigned_tx() == files[0].unsigned_tx()


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.data())
def test_what_is_combined_is_the_first_files_transaction(data: st.DataObject) -> None:
    """Whatever the inputs require in each file."""
    times, heights = st.none() | st.sampled_from([TIME, TIME + 1]), st.none() | st.sampled_from([HEIGHT, HEIGHT + 1])
    count = data.draw(st.integers(1, 3))
    files = []
    for _ in range(data.draw(st.integers(2, 4))):
        version, fallback = data.draw(st.sampled_from([2, 2, 0])), data.draw(st.sampled_from([0, TIME, HEIGHT]))
        required: list[tuple[int | None, int | None]] = [(None, None)] * count
        if version == 2:
            required = data.draw(st.lists(st.tuples(times, heights), min_size=count, max_size=count))
        with contextlib.suppress(BadPsbt):
            files.append(Psbt.parse(timed(required, version, fallback).encode()))
    if files:
        with contextlib.suppress(CombineError):
            assert combine(files).psbt.unsigned_tx() == files[0].unsigned_tx()


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "rawtr", "tapscript"])
@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize(
    ("sighash_type", "flags", "after"),
    [(None, 3, 0), (None, 7, 4), (0x02, 3, 2), (0x03, 3, 4), (0x81, 3, 1), (0x82, 3, 3), (0x83, 3, 5), (0x82, 0, 0)],
)
def test_what_a_signature_fixes_is_fixed(
    kind: str, final: bool, sighash_type: int | None, flags: int, after: int
) -> None:
    """BIP370, also where the signature comes from a file that says nothing of it."""
    item = spend(kind)
    item = replace(item, fields=[*item.fields, *([] if sighash_type is None else [sighash(sighash_type)])])
    open_ = Psbt.parse(draft(item, version=2, extra=[(b"\x06", bytes((flags,)))]).encode())
    for version in (0, 2):
        signed = sign(draft(item, version=version).encode(), allow_sighash=True)
        result = combine([open_, finalized(signed).psbt if final else signed]).psbt
        assert result.globals[b"\x06"] == bytes((after,))
        assert combine([signed, open_]).psbt.globals.get(b"\x06") is None or version == 2


def test_random_pieces_come_together() -> None:
    """Every subset of the fields of signed PSBTs, in pieces: all of it is there again."""
    chance = random.Random(5)
    whole = sign(draft(*(spend(kind, number) for number, kind in enumerate(KINDS))).encode())
    for _ in range(20):
        pieces = []
        for _ in range(3):
            given = draft(*(spend(kind, number) for number, kind in enumerate(KINDS)))
            given.inputs = [
                [pair for pair in fields.pairs.items() if pair[0][0] in (0, 1) or chance.random() < 0.5]
                for fields in whole.inputs
            ]
            pieces.append(Psbt.parse(given.encode()))
        result = combine([*pieces, whole]).psbt
        assert [fields.pairs for fields in result.inputs] == [fields.pairs for fields in whole.inputs]


# Finalizing


@pytest.mark.parametrize("version", [0, 2])
def test_all_kinds_become_final(version: int) -> None:
    given = draft(*(spend(kind, number) for number, kind in enumerate(KINDS)), version=version)
    signed = sign(given.encode())
    result = finalized(signed)
    assert result.notes == () and all(fields.is_final for fields in result.psbt.inputs)
    assert extract(result.psbt) == extract(signed)
    good_on_core(result.psbt, given)
    kept = {0, 1, 7, 8, 0x0E, 0x0F, 0x10}
    assert all(key[0] in kept for fields in result.psbt.inputs for key in fields.pairs)
    assert [o.pairs for o in result.psbt.outputs] == [o.pairs for o in signed.outputs]
    assert finalized(result.psbt).psbt.raw == result.psbt.raw  # once more changes nothing


def test_unknown_fields_stay() -> None:
    given = draft(spend("p2wpkh"))
    given.inputs[0].append((b"\xfc\x01xy", b"somebody's"))
    assert finalized(sign(given.encode())).psbt.inputs[0].pairs[b"\xfc\x01xy"] == b"somebody's"


@pytest.mark.parametrize(
    "given", [draft(spend("p2wpkh")), shared(), draft(spend("miniscript")), draft(spend("p2wpkh"), spend("p2pkh", 1))]
)
def test_what_is_not_complete_is_not_final(given: Draft) -> None:
    with pytest.raises(NotFinal):
        finalized(Psbt.parse(given.encode()))


def test_a_final_input_that_lies_is_refused() -> None:
    given = draft(spend("p2wpkh"), spend("p2wpkh", 1))
    signed = finalized(sign(given.encode())).psbt
    swapped = draft(spend("p2wpkh"), spend("p2wpkh", 1))
    for index in (0, 1):
        swapped.inputs[index].append((b"\x08", signed.inputs[1 - index].pairs[b"\x08"]))
    with pytest.raises(RefusedInput, match="cannot be spent as it is signed"):
        finalized(Psbt.parse(swapped.encode()))


def test_a_lock_that_is_not_reached_is_refused() -> None:
    """The signature is good, the script is not: nodes would refuse the transaction."""
    inner = pushed(ME.key("m/3")) + b"\xad\x5c\xb2"
    item = In(p2wsh(inner), 100_000, [deriv("m/3"), (b"\x05", inner)], sequence=5)
    signed = sign(draft(item).encode())
    made = next(value for key, value in signed.inputs[0].pairs.items() if key[0] == 2)
    witness = b"\x02" + bytes((len(made),)) + made + bytes((len(inner),)) + inner
    given = draft(item)
    given.inputs[0].append((b"\x08", witness))
    with pytest.raises(RefusedInput, match="relative lock time is not reached"):
        finalized(Psbt.parse(given.encode()))
    reached = draft(replace(item, sequence=12))
    again = sign(reached.encode())
    made = next(value for key, value in again.inputs[0].pairs.items() if key[0] == 2)
    reached.inputs[0].append((b"\x08", b"\x02" + bytes((len(made),)) + made + bytes((len(inner),)) + inner))
    assert finalized(Psbt.parse(reached.encode())).notes == ()


def test_an_anchor_is_final_without_a_signature() -> None:
    given = draft(spend("p2wpkh"), In(bytes.fromhex("51024e73"), 240))
    result = finalized(sign(given.encode()))
    assert result.notes == () and result.psbt.inputs[1].is_final
    good_on_core(result.psbt, given)


def test_too_large_is_refused_before_anything_is_hashed() -> None:
    given = draft(spend("p2pkh"), outs=[Out(p2sh(b"\x51"), 1) for _ in range(4_000)])
    for work in (lambda psbt: combine([psbt, psbt]), finalized):
        with pytest.raises(PsbtError, match="no node relays it"):
            work(Psbt.parse(given.encode()))


# Transaction ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [0, 2])
def test_ids(kind: str, version: int) -> None:
    """Known before the signatures where these cannot change it, and never another than the one it gets."""
    given = draft(spend(kind), version=version)
    signed = sign(given.encode())
    early, late = txid(Psbt.parse(given.encode())), txid(signed)
    assert (early is None) is (kind in ("p2pkh", "p2pk", "multisig", "p2sh")) and early in (None, late)
    assert txid(finalized(signed).psbt) == late
    from embit.transaction import Transaction

    assert Transaction.parse(extract(signed)).txid().hex() == late


def test_hwis_library_reads_what_was_combined_and_finalized() -> None:
    psbt = hwilib("hwilib.psbt").PSBT()
    given = shared()
    result = combine([sign(given.encode(), wallet) for wallet in (ME, OTHER)]).psbt
    psbt.deserialize(result.to_base64())
    assert [len(one.partial_sigs) for one in psbt.inputs] == [2, 2]
    final = hwilib("hwilib.psbt").PSBT()
    final.deserialize(finalized(result).psbt.to_base64())
    assert all(one.final_script_witness for one in final.inputs)


def test_a_sighash_type_that_one_file_brings_does_not_hide() -> None:
    """It is kept, and a signer sees it."""
    other = shared()
    other.inputs[0].append(sighash(2))
    assert combine([Psbt.parse(shared().encode()), Psbt.parse(other.encode())]).psbt.inputs[0].get(3) == le(2)
