"""Scripts that are run: what is called good Core's verifier takes, and what it refuses is never called good."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from hwilib_cryptnox.psbt.interpreter import ScriptError, bytes_of, is_true, number_of
from hwilib_cryptnox.psbt.judge import Judgement, Verdict, judge
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.factory import ME, NUMS, leaf_hash, multisig, p2sh, p2wsh, pushed, sha, taproot
from tests.support.kernel import failing_inputs

AMOUNT = 50_000
KEY, OTHER_KEY = ME.private("m/0"), ME.private("m/1")
K1, K2 = KEY.public_key.format(), OTHER_KEY.public_key.format()
EQUAL, VERIFY, IF, NOTIF, ELSE, ENDIF, CHECKSIG = b"\x87", b"\x69", b"\x63", b"\x64", b"\x67", b"\x68", b"\xac"


def spending(script: bytes, sequence: int = 0xFFFFFFFE, lock_time: int = 0, version: int = 2) -> Transaction:
    outpoint = sha(script) + bytes(4)
    times = sequence.to_bytes(4, "little"), lock_time.to_bytes(4, "little")
    return Transaction(version.to_bytes(4, "little"), (outpoint,), (times[0],), ((1_000, b"\x6a"),), times[1])


def finished(tx: Transaction, script_sig: bytes, witness: tuple[bytes, ...]) -> bytes:
    return Transaction(
        tx.version, tx.outpoints, tx.sequences, tx.outputs, tx.lock_time, (script_sig,), (witness,)
    ).encode()


def judged(
    script: bytes,
    script_sig: bytes = b"",
    witness: tuple[bytes, ...] = (),
    tx: Transaction | None = None,
    **options: bool,
) -> Judgement:
    tx = tx or spending(script)
    return judge(tx, SignatureHasher(tx, [(AMOUNT, script)]), 0, (AMOUNT, script), (script_sig, witness), **options)


def core_takes(script: bytes, script_sig: bytes, witness: tuple[bytes, ...], tx: Transaction | None = None) -> bool:
    raw = finished(tx or spending(script), script_sig, witness)
    return not failing_inputs(raw, [(AMOUNT, script)])


def in_witness(script: bytes, *stack: bytes) -> tuple[bytes, bytes, tuple[bytes, ...]]:
    return p2wsh(script), b"", (*stack, script)


def in_redeem(script: bytes, *stack: bytes) -> tuple[bytes, bytes, tuple[bytes, ...]]:
    return p2sh(script), b"".join(minimal(item) for item in (*stack, script)), ()


def in_leaf(script: bytes, *stack: bytes) -> tuple[bytes, bytes, tuple[bytes, ...]]:
    output, fields = taproot([script])
    return output, b"", (*stack, script, fields[0][0][1:])


def minimal(data: bytes) -> bytes:
    if len(data) == 1 and 1 <= data[0] <= 16:
        return bytes((0x50 + data[0],))
    return b"\x4f" if data == b"\x81" else pushed(data)


PLACES = {"witness": in_witness, "redeem": in_redeem, "leaf": in_leaf}
WEIGHTED = [*range(0x51, 0x57), 0x00, 0x00, *range(0x61, 0x6A), *range(0x6B, 0x7E), 0x82, 0x87, 0x88]
WEIGHTED += [0x8B, 0x8C, 0x8F, 0x90, 0x91, 0x92, 0x93, 0x94, *range(0x9A, 0xA6), *range(0xA6, 0xAB), 0x87, 0x75, 0x77]
ANY = [*WEIGHTED, *range(0x4F, 0xBB)]


@pytest.mark.parametrize("place", PLACES)
def test_random_scripts(place: str) -> None:
    """Thousands, from small numbers and every operation. Never good where Core's verifier says no; never bad, but for
    what nodes do not relay, where it says yes."""
    chance, counts = random.Random(place), Counter[tuple[Verdict, bool]]()
    policy = ("shortest form", "neither 1 nor nothing", "left on the stack")
    for _ in range(4_000):
        codes = WEIGHTED if chance.random() < 0.7 else ANY
        script = bytes(chance.choice(codes) for _ in range(chance.randint(1, 9)))
        stack = [bytes_of(chance.randint(-2, 5)) for _ in range(chance.randint(0, 4))]
        given = PLACES[place](script, *stack)
        mine, core = judged(*given), core_takes(*given)
        counts[mine.verdict, core] += 1
        assert not (mine.good and not core), (script.hex(), stack)
        if mine.verdict is Verdict.BAD and core:
            assert any(text in mine.reason for text in policy), (script.hex(), stack, mine.reason)
    assert counts[Verdict.GOOD, True] > 40 and counts[Verdict.BAD, False] > 1_000, counts


def signed(script: bytes, place: str, sighash: int = 1, key: object = KEY, tx: Transaction | None = None) -> bytes:
    outer = PLACES[place](script)[0]
    tx = tx or spending(outer)
    hasher = SignatureHasher(tx, [(AMOUNT, outer)])
    if place == "leaf":
        digest = hasher.taproot(0, 0 if sighash == 1 else sighash, leaf_hash=leaf_hash(script))
        made = key.sign_schnorr(digest)  # type: ignore[attr-defined]
        return made if sighash == 1 else made + bytes((sighash,))
    digest = hasher.segwit_v0(0, script, AMOUNT, sighash) if place == "witness" else hasher.legacy(0, script, sighash)
    return key.sign(digest, hasher=None) + bytes((sighash,))  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", ["witness", "redeem"])
@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda first, second: (b"", first, second), Verdict.GOOD),
        (lambda first, second: (b"", second, first), Verdict.BAD),
        (lambda first, second: (b"\x01", first, second), Verdict.BAD),
        (lambda first, second: (b"", first, first), Verdict.BAD),
        (lambda first, second: (b"", first, b""), Verdict.BAD),
        (lambda first, second: (b"", b"", b""), Verdict.BAD),
        (lambda first, second: (b"", first), Verdict.BAD),
        (lambda first, second: (b"", b"", first, second), Verdict.BAD),
        (lambda first, second: (b"", first[:-1] + b"\x02", second), Verdict.BAD),
        (lambda first, second: (b"", first[:-2] + bytes((first[-2] ^ 1,)) + first[-1:], second), Verdict.BAD),
    ],
)
def test_multisig(place: str, change: Callable[..., tuple[bytes, ...]], verdict: Verdict) -> None:
    script = multisig(2, [K1, K2])
    stack = change(signed(script, place), signed(script, place, key=OTHER_KEY))
    given = PLACES[place](script, *stack)
    assert judged(*given).verdict is verdict
    assert core_takes(*given) is (verdict is Verdict.GOOD) or len(stack) == 4  # a longer stack is only not relayed


@pytest.mark.parametrize("sighash", [1, 2, 3, 0x81, 0x82, 0x83])
@pytest.mark.parametrize("place", PLACES)
def test_sighash_types(place: str, sighash: int) -> None:
    """All are good for a payment; of a message none but ALL is."""
    key = K1[1:] if place == "leaf" else K1
    script = pushed(key) + CHECKSIG
    given = PLACES[place](script, signed(script, place, sighash))
    assert judged(*given).good and core_takes(*given)
    assert judged(*given, whole=True).good is (sighash == 1)


def test_high_s_and_other_malleations() -> None:
    script = pushed(K1) + CHECKSIG
    made = signed(script, "witness")
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    from cryptnox_core.crypto.secp256k1 import encode_der, parse_der

    r, s = parse_der(made[:-1])
    for bent in (encode_der(r, order - s) + b"\x01", made[:-1] + b"\x00\x01", made + b"\x01", made[:-1]):
        assert judged(*in_witness(script, bent)).verdict is Verdict.BAD
    assert judged(*in_witness(script, made)).good
    assert judged(*in_witness(script, b"", made)).verdict is Verdict.BAD  # something is left


@pytest.mark.parametrize("place", PLACES)
def test_a_code_separator_is_not_understood(place: str) -> None:
    given = PLACES[place](b"\xab\x51")
    assert judged(*given).verdict is Verdict.UNKNOWN
    assert judged(*given, whole=True).verdict is Verdict.BAD


@pytest.mark.parametrize("place", ["witness", "redeem"])
def test_operations_for_upgrades_are_not_understood(place: str) -> None:
    for code in (0xB0, 0xB3, 0xB9):
        assert judged(*PLACES[place](bytes((code, 0x51)))).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("code", [0x50, 0x62, 0x7E, 0xBB, 0xFE])
def test_success_operations_of_leaves_are_not_understood(code: int) -> None:
    given = in_leaf(bytes((0x00, code)))
    assert judged(*given).verdict is Verdict.UNKNOWN and core_takes(*given)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("wanted", "lock_time", "sequence", "good"),
    [
        (100, 100, 0, True),
        (100, 99, 0, False),
        (100, 100, 0xFFFFFFFF, False),
        (100, 600_000_000, 0, False),
        (600_000_000, 600_000_001, 0, True),
    ],
)
def test_lock_times(place: str, wanted: int, lock_time: int, sequence: int, good: bool) -> None:
    given = PLACES[place](minimal(bytes_of(wanted)) + b"\xb1")
    tx = spending(given[0], sequence, lock_time)
    assert judged(*given, tx=tx).good is good is core_takes(*given, tx=tx)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("wanted", "sequence", "version", "good"),
    [
        (10, 10, 2, True),
        (10, 9, 2, False),
        (10, 10, 1, False),
        (10, 0x80000010, 2, False),
        (0x400010, 0x400010, 2, True),
        (0x400010, 0x10, 2, False),
        (0x80000001, 0, 1, True),
    ],
)
def test_relative_lock_times(place: str, wanted: int, sequence: int, version: int, good: bool) -> None:
    script = minimal(bytes_of(wanted)) + b"\xb2"
    given = PLACES[place](script)
    tx = spending(given[0], sequence, 0, version)
    assert judged(*given, tx=tx).good is good is core_takes(*given, tx=tx)


def test_signatures_of_a_leaf_have_a_budget() -> None:
    """BIP342: a short witness pays for few of them."""
    one = pushed(K1[1:]) + b"\xad"
    script = b"\x76" * 5 + one * 6 + b"\x51"
    made = signed(script, "leaf")
    given = in_leaf(script, made)
    assert judged(*given).good is core_takes(*given)


def test_limits() -> None:
    many = b"\x61" * 201 + b"\x51"
    assert judged(*in_witness(many)).good and core_takes(*in_witness(many))
    assert judged(*in_witness(b"\x61" + many)).verdict is Verdict.BAD
    assert judged(*in_leaf(b"\x61" + many)).good
    assert judged(*in_witness(b"\x51" * 1_001)).verdict is Verdict.BAD
    assert judged(*in_witness(b"\x75\x51", bytes(521))).verdict is Verdict.BAD
    assert judged(*in_leaf(b"\x61" * 10_001)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, -128, 255, 256, 32_767, -32_768, 2**31 - 1])
def test_numbers_there_and_back(number: int) -> None:
    assert number_of(bytes_of(number)) == number and is_true(bytes_of(number)) is bool(number)


@pytest.mark.parametrize("data", [b"\x00", b"\x80", b"\x01\x00", b"\x01\x80", b"\x01\x02\x03\x04\x05"])
def test_malformed_numbers(data: bytes) -> None:
    with pytest.raises(ScriptError):
        number_of(data)


def test_negative_zero_is_false() -> None:
    assert not is_true(b"\x80") and not is_true(b"\x00\x80") and is_true(b"\x80\x00")


def test_a_nums_leaf_of_another_key_is_refused() -> None:
    output, script_sig, witness = in_leaf(pushed(K1[1:]) + CHECKSIG, b"")
    assert judged(output, script_sig, witness).verdict is Verdict.BAD
    assert judged(b"\x51\x20" + NUMS, script_sig, witness).verdict is Verdict.BAD
