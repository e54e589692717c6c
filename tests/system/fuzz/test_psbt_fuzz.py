"""Generated PSBTs come back byte for byte; damaged ones give our errors only, soon and in little memory."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt import BadPsbt, Policy, Psbt, PsbtError, collect, describe, insert, plan
from hwilib_cryptnox.psbt.finalize import extract
from tests.psbt.dishonest import CATALOGUE
from tests.psbt.factory import ME, OTHER, SPEND_PATH, Draft, Out, Pairs, draft, le, p2wpkh, sighash, spend, string

SECONDS, MEMORY = 3.0, 64 << 20
KINDS = sorted(SPEND_PATH)
UNKNOWN_INPUT = [*range(0x1D, 0xFC)]
UNKNOWN_GLOBAL = [*range(0x0A, 0xFB)]
UNKNOWN_OUTPUT = [*range(0x0A, 0x35), *range(0x36, 0xFC)]
OPTIONS = settings(deadline=None, suppress_health_check=list(HealthCheck))


def unknown(types: list[int]) -> st.SearchStrategy[Pairs]:
    """Pairs of unknown and proprietary types, keys distinct."""
    plain = st.builds(lambda kind, data: bytes((kind,)) + data, st.sampled_from(types), st.binary(max_size=40))
    proprietary = st.builds(
        lambda name, kind, data: b"\xfc" + string(name) + bytes((kind,)) + data,
        st.binary(max_size=8),
        st.integers(0, 252),
        st.binary(max_size=20),
    )
    wide = st.builds(lambda kind, data: b"\xfd" + le(kind, 2) + data, st.integers(0xFD, 0xFFFF), st.binary(max_size=9))
    keys = st.one_of(plain, proprietary, wide)
    return st.lists(st.tuples(keys, st.binary(max_size=300)), max_size=4, unique_by=lambda pair: pair[0])


@st.composite
def drafts(make: st.DrawFn) -> Draft:
    """PSBTs of any kinds, versions, sequences, with unknown fields anywhere."""
    version = make(st.sampled_from((0, 2)))
    items = []
    for number, kind in enumerate(make(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))):
        sequence = make(st.one_of(st.integers(0, 0xFFFFFFFF), st.none() if version else st.just(0)))
        items.append(spend(kind, number % 3, sequence=sequence, salt=number, witness_utxo=make(st.booleans())))
    outs = [
        Out(make(st.binary(max_size=40)), make(st.integers(0, 1000)), make(unknown(UNKNOWN_OUTPUT)))
        for _ in range(make(st.integers(1, 3)))
    ]
    built = Draft(items, outs, version, make(st.integers(0, 0xFFFFFFFF)), make(st.integers(0, 0xFFFFFFFF)))
    built.extra = make(unknown(UNKNOWN_GLOBAL))
    for pairs in built.inputs:
        pairs += make(unknown(UNKNOWN_INPUT))
        make(st.randoms(use_true_random=False)).shuffle(pairs)
    return built


def check_round_trip(built: Draft) -> None:
    raw = built.encode()
    psbt = Psbt.parse(raw)
    assert psbt.raw == raw
    assert Psbt.parse(psbt.to_base64()).raw == raw
    assert Psbt.parse(raw.hex()).raw == raw
    maps = [psbt.globals, *[item.pairs for item in psbt.inputs], *[item.pairs for item in psbt.outputs]]
    assert [list(pairs.items()) for pairs in maps] == built.maps()
    collected = collect(psbt, ME.fingerprint)
    any_fee = Policy(max_fee=None, max_fee_rate=None, max_fee_percent=None)
    made = plan(psbt, collected, ME.keys(collected.all_paths), any_fee)
    assert len(made.requests) == len(built.ins)
    signed = insert(psbt, [(request, ME.sign(request)) for request in made.requests])
    again = Psbt.parse(signed.raw)
    assert (again.globals, again.inputs, again.outputs) == (signed.globals, signed.inputs, signed.outputs)
    for before, after in zip(psbt.inputs, again.inputs, strict=True):
        assert list(after.pairs.items())[: len(before.pairs)] == list(before.pairs.items())
        assert len(after.pairs) == len(before.pairs) + 1
    assert collect(again, ME.fingerprint).stays_unchanged


@given(drafts())
@settings(OPTIONS, max_examples=120)
def test_generated_psbts_come_back(built: Draft) -> None:
    check_round_trip(built)


@pytest.mark.heavy
@given(drafts())
@settings(OPTIONS, max_examples=5000)
def test_thousands_of_generated_psbts_come_back(built: Draft) -> None:
    check_round_trip(built)


def seeds() -> list[bytes]:
    """Honest PSBTs of every kind and form, signed and not, and the dishonest ones."""
    honest = []
    for version in (0, 2):
        for kind in KINDS:
            built = draft(spend(kind), outs=[Out(p2wpkh(OTHER.key("m/0")), 90_000)], version=version)
            built.inputs[0].append(sighash(0x83))
            honest.append(built.encode())
            psbt = Psbt.parse(draft(spend(kind), spend("p2wpkh", 1), version=version).encode())
            collected = collect(psbt, ME.fingerprint)
            requests = plan(psbt, collected, ME.keys(collected.paths)).requests
            honest += [psbt.raw, insert(psbt, [(request, ME.sign(request)) for request in requests[:1]]).raw]
    return honest + [make() for make in CATALOGUE.values()]


SEEDS = seeds()


def damage(rng: random.Random, raw: bytes) -> bytes:
    """A few random changes: bits, bytes, lengths, cuts, copies, splices of another PSBT."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice((0, 1, 0xFC, 0xFD, 0xFE, 0xFF, rng.randrange(256)))
            case 2:
                del data[at:]
            case 3:
                del data[at : at + rng.randrange(1, 40)]
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
            case 5:
                start = rng.randrange(len(data) + 1)
                data[at:at] = data[start : start + rng.randrange(1, 200)]
            case 6:
                other = rng.choice(SEEDS)
                start = rng.randrange(len(other))
                data[at:] = other[start:]
            case _:
                data[at : at + 9] = rng.choice((b"\xff" * 9, b"\xfe\xff\xff\xff\xff", b"\xfd\xff\xff"))
    return bytes(data)


def whole_engine(data: bytes | str) -> bool:
    """Everything that a caller would do; True where it came to signatures."""
    psbt = Psbt.parse(data)
    collected = collect(psbt, ME.fingerprint, {ME.account("m/84h/0h/0h").fingerprint: Path.parse("m/84h/0h/0h")})
    describe(psbt)
    if collected.stays_unchanged or collected.why_nothing():
        return False
    paths = collected.all_paths
    assert all(len(path) <= 8 for path in paths)
    made = plan(psbt, collected, ME.keys(paths), Policy(allow_sighash=True, allow_unproved_amounts=True))
    signed = insert(psbt, [(request, ME.sign(request)) for request in made.requests])
    with contextlib.suppress(PsbtError):
        extract(signed)
    return bool(made.requests)


def run_mutations(count: int, seed: int) -> None:
    rng = random.Random(seed)
    refused = signed = 0
    for _ in range(count):
        data = damage(rng, rng.choice(SEEDS))
        start = time.process_time()
        try:
            signed += whole_engine(data)
        except PsbtError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{error!r} for {data.hex()}") from error
        assert time.process_time() - start < SECONDS, data.hex()
    assert refused > count // 2
    assert signed > 0


def test_damaged_psbts_give_our_errors_only() -> None:
    run_mutations(3000, seed=1)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(2, 7))
def test_very_many_damaged_psbts(seed: int) -> None:
    run_mutations(40_000, seed)


def test_damaged_psbts_take_little_memory() -> None:
    rng = random.Random(9)
    tracemalloc.start()
    try:
        for _ in range(300):
            tracemalloc.reset_peak()
            start = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(PsbtError):
                whole_engine(damage(rng, rng.choice(SEEDS)))
            assert tracemalloc.get_traced_memory()[1] - start < MEMORY
    finally:
        tracemalloc.stop()


@given(st.one_of(st.text(), st.binary(), st.binary().map(lambda data: b"psbt\xff" + data)))
@settings(OPTIONS, max_examples=300)
def test_anything_else_is_a_bad_psbt(data: bytes | str) -> None:
    with pytest.raises(BadPsbt):
        Psbt.parse(data)
