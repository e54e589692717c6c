"""The codec: published vectors, forms, strictness, and that nothing is lost."""

from __future__ import annotations

import base64
import tracemalloc
from collections.abc import Callable

import pytest

from hwilib_cryptnox.psbt import BadPsbt, Form, Psbt, collect, insert
from hwilib_cryptnox.psbt.codec import MAGIC, encode_map
from hwilib_cryptnox.psbt.tx import Transaction, read_compact
from tests.psbt.factory import ME, NUMS, OTHER, Out, compact, draft, le, p2wpkh, spend, string
from tests.psbt.published import load
from tests.psbt.signing import make_plan

VECTORS = load("bip174-370-371-psbt.json")
ODD = [
    (b"\xfc\x05other\x00key", b"value"),
    (b"\xfc\x00\x00", b""),
    (b"\xf0" + bytes(300), bytes(70_000)),
    (b"\xfd\x00\x01data", b"type of two bytes"),
    (b"\x66", b""),
]
MUSIG = [
    (b"\x1a" + ME.key("m/1"), ME.key("m/2") + ME.key("m/3")),
    (b"\x1b" + ME.key("m/2") + ME.key("m/1"), bytes(66)),
    (b"\x1c" + ME.key("m/2") + ME.key("m/1") + bytes(32), bytes(32)),
]
TREE = b"\x01\xc0\x01\x51\x02\xc0\x01\x52\x02\xc0\x00"


@pytest.mark.parametrize("text", VECTORS["valid"], ids=range(len(VECTORS["valid"])))
def test_valid_vectors_come_back(text: str) -> None:
    psbt = Psbt.parse(text)
    maps = [psbt.globals, *[fields.pairs for fields in psbt.inputs], *[fields.pairs for fields in psbt.outputs]]
    assert MAGIC + b"".join(map(encode_map, maps)) == base64.b64decode(text)
    assert psbt.encode() == psbt.to_base64() == text
    assert collect(psbt, b"none").stays_unchanged


@pytest.mark.parametrize("text", VECTORS["invalid"], ids=range(len(VECTORS["invalid"])))
def test_invalid_vectors_are_refused(text: str) -> None:
    with pytest.raises(BadPsbt):
        Psbt.parse(text)


def test_lock_time_vectors() -> None:
    for text, expected in VECTORS["locktimes"]:
        assert int.from_bytes(Psbt.parse(text).tx.lock_time, "little") == expected
    for text in VECTORS["conflicting_locktimes"]:
        with pytest.raises(BadPsbt, match="no lock time satisfies both"):
            Psbt.parse(text)


def _rich(version: int) -> bytes:
    bent = draft(
        spend("tapscript"),
        spend("p2wsh", 1),
        outs=[Out(p2wpkh(OTHER.key("m/0")), 190_000), Out(b"\x6a", 0)],
        version=version,
    )
    bent.extra += [(b"\x01" + bytes(78), ME.origin("m/1")), *ODD]
    bent.inputs[0] = [*ODD, *MUSIG, *bent.inputs[0]]
    bent.inputs[1] += [(b"\x0b" + bytes(32), b"preimage"), (b"\x09", b"proof"), *ODD]
    bent.outputs[0] += [
        (b"\x05", NUMS),
        (b"\x06", TREE),
        (b"\x08" + ME.key("m/1"), ME.key("m/2")),
        *ODD,
    ]
    return bent.encode()


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("form", Form)
def test_signing_adds_our_pairs_and_nothing_else(form: Form, version: int) -> None:
    """Order, unknown, proprietary and MuSig2 pairs stay; ours stand behind the others of their map."""
    raw = _rich(version)
    given = {Form.BINARY: raw, Form.HEX: raw.hex(), Form.BASE64: base64.b64encode(raw).decode()}[form]
    psbt = Psbt.parse(given)
    assert psbt.form is form
    assert psbt.encode() == given
    signed = insert(psbt, [(request, ME.sign(request)) for request in make_plan(psbt).requests])
    text = signed.encode()
    assert type(text) is type(given)
    again = Psbt.parse(text)
    assert again.raw == signed.raw
    assert [list(fields.pairs.items()) for fields in again.outputs] == [
        list(fields.pairs.items()) for fields in psbt.outputs
    ]
    assert list(again.globals.items()) == list(psbt.globals.items())
    for before, after in zip(psbt.inputs, again.inputs, strict=True):
        items = list(after.pairs.items())
        assert items[: len(before.pairs)] == list(before.pairs.items())
        assert [key[0] for key, _ in items[len(before.pairs) :]] in ([0x14], [0x02])
    assert [fields.end for fields in again.inputs] == [fields.end for fields in signed.inputs]


def test_inserting_in_two_steps_is_the_same() -> None:
    psbt = Psbt.parse(_rich(0))
    first, second = [(request, ME.sign(request)) for request in make_plan(psbt).requests]
    assert insert(insert(psbt, [first]), [second]).raw == insert(psbt, [first, second]).raw
    assert insert(psbt, []) is psbt


@pytest.mark.parametrize(
    "decorate",
    [
        lambda text: text + "\n",
        lambda text: " \t\r\n" + text + "  ",
        lambda text: "\n".join(text[at : at + 64] for at in range(0, len(text), 64)),
        lambda text: "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)),
    ],
)
@pytest.mark.parametrize("hexadecimal", [False, True])
def test_white_space_around_text(decorate: Callable[[str], str], hexadecimal: bool) -> None:
    raw = draft(spend("p2wpkh")).encode()
    text = decorate(raw.hex().upper() if hexadecimal else base64.b64encode(raw).decode())
    assert Psbt.parse(text).raw == raw
    psbt = Psbt.parse(text.encode())
    assert psbt.raw == raw
    assert psbt.encode() == text.encode()


BASE64 = base64.b64encode(draft(spend("p2wpkh")).encode()).decode()
RAW = draft(spend("p2wpkh")).encode()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "   ",
        b"",
        b"\xff\xfe",
        "psbt",
        BASE64[:40] + "!" + BASE64[40:],
        BASE64[:40] + " " + BASE64[40:],
        BASE64[:40] + "-" + BASE64[41:],
        BASE64[:-4] + "====",
        BASE64[:-1],
        "=" + BASE64,
        "\u0661" + BASE64,
        RAW.hex()[:-1],
        RAW.hex()[:20] + " " + RAW.hex()[20:],
        "0x" + RAW.hex(),
        RAW.hex() + "zz",
        RAW + b"\n",
        b"\n" + RAW,
        RAW[:4] + b"\x00" + RAW[5:],
        base64.b64encode(b"not a psbt at all").decode(),
        base64.b64encode(b"pspt\xff" + RAW[5:]).decode(),
        MAGIC,
        MAGIC + b"\x00",
    ],
)
def test_what_is_no_psbt(data: bytes | str) -> None:
    with pytest.raises(BadPsbt):
        Psbt.parse(data)


def test_stray_bits_of_base64() -> None:
    padded = base64.b64encode(MAGIC + bytes(3)).decode()
    assert padded.endswith("A=")
    with pytest.raises(BadPsbt, match="stray bits"):
        Psbt.parse(padded[:-2] + "B=")


def test_version_2_with_an_unsigned_transaction() -> None:
    bent = draft(spend("p2wpkh"), version=2)
    bent.extra.append((b"\x00", bent.unsigned()))
    with pytest.raises(BadPsbt, match="version 2 has no unsigned transaction"):
        Psbt.parse(bent.encode())


def test_every_cut_is_refused() -> None:
    for raw in (RAW, draft(spend("tapscript"), version=2).encode()):
        for size in range(len(raw)):
            with pytest.raises(BadPsbt):
                Psbt.parse(raw[:size])


@pytest.mark.parametrize("number", [0, 1, 252, 253, 65535, 65536, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1])
def test_compact_sizes(number: int) -> None:
    from hwilib_cryptnox.psbt.tx import encode_compact

    data = encode_compact(number)
    assert read_compact(data + b"x", 0) == (number, len(data))
    for size in range(len(data)):
        with pytest.raises(BadPsbt):
            read_compact(data[:size], 0)


@pytest.mark.parametrize("data", [b"\xfd\xfc\x00", b"\xfe\xff\xff\x00\x00", b"\xff\xff\xff\xff\xff\x00\x00\x00\x00"])
def test_long_forms_of_small_numbers(data: bytes) -> None:
    with pytest.raises(BadPsbt, match="shortest"):
        read_compact(data, 0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"\x00x", b""),
        (b"\x03", bytes(3)),
        (b"\x03", bytes(5)),
        (b"\x02" + bytes(32), bytes(71)),
        (b"\x02" + bytes(33), bytes(8)),
        (b"\x02" + bytes(33), bytes(74)),
        (b"\x06" + bytes(34), bytes(4)),
        (b"\x06" + bytes(33), bytes(6)),
        (b"\x06" + bytes(33), bytes(4 + 4 * 256)),
        (b"\x07x", b""),
        (b"\x08", b""),
        (b"\x08", b"\x01"),
        (b"\x08", b"\x00\x00"),
        (b"\x08", b"\xff" + b"\xff" * 8),
        (b"\x0a" + bytes(19), b""),
        (b"\x0b" + bytes(31), b""),
        (b"\x0c" + bytes(21), b""),
        (b"\x0d" + bytes(33), b""),
        (b"\x13", bytes(63)),
        (b"\x13", bytes(66)),
        (b"\x14" + bytes(63), bytes(64)),
        (b"\x14" + bytes(64), bytes(63)),
        (b"\x15" + bytes(32), b"\x51\xc0"),
        (b"\x15" + bytes(33 + 32 * 129), b"\x51\xc0"),
        (b"\x15" + bytes(33), b""),
        (b"\x16" + bytes(33), b"\x00" + bytes(4)),
        (b"\x16" + bytes(32), b""),
        (b"\x16" + bytes(32), b"\x01" + bytes(35)),
        (b"\x17", bytes(33)),
        (b"\x18", bytes(31)),
        (b"\x1a" + bytes(33), b""),
        (b"\x1a" + bytes(33), bytes(34)),
        (b"\x1b" + bytes(65), bytes(66)),
        (b"\x1b" + bytes(66), bytes(65)),
        (b"\x1c" + bytes(98), bytes(33)),
        (b"\x0e", bytes(32)),
        (b"\x11", le(500_000_000)),
        (b"\xfd\x01\x00", b"type in its long form"),
    ],
)
def test_bad_input_fields(key: bytes, value: bytes) -> None:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0].append((key, value))
    with pytest.raises(BadPsbt, match="input 0: "):
        Psbt.parse(bent.encode())


@pytest.mark.parametrize(
    "tree",
    [b"", b"\x00", b"\x01\xc0\x01\x51", b"\x00\xc1\x00", b"\x81\xc0\x00", TREE[3:], TREE + b"\x00\xc0\x00", TREE[:-1]],
)
def test_bad_trees(tree: bytes) -> None:
    bent = draft(spend("p2wpkh"))
    bent.outputs[0].append((b"\x06", tree))
    with pytest.raises(BadPsbt, match="output 0: taproot tree"):
        Psbt.parse(bent.encode())


@pytest.mark.parametrize("tree", [TREE, b"\x00\xc0\x01\x51", b"\x01\xc0\x00\x01\xc0\x00"])
def test_good_trees(tree: bytes) -> None:
    bent = draft(spend("p2wpkh"))
    bent.outputs[0].append((b"\x06", tree))
    Psbt.parse(bent.encode())


ABSURD = {
    "unsigned tx inputs": MAGIC + string(b"\x00") + string(le(2) + b"\xfe\xff\xff\xff\x7f" + bytes(80)) + b"\x00",
    "unsigned tx outputs": MAGIC + string(b"\x00") + string(le(2) + b"\x00\xff" + b"\xff" * 8 + bytes(80)) + b"\x00",
    "value": MAGIC + b"\x01\x99\xff" + b"\xff" * 7 + b"\x7f" + bytes(20),
    "key": MAGIC + b"\xfe\xff\xff\xff\xff" + bytes(20),
    "v2 inputs": MAGIC
    + b"".join(
        string(key) + string(value)
        for key, value in [(b"\xfb", le(2)), (b"\x02", le(2)), (b"\x04", b"\xff" + b"\xff" * 8), (b"\x05", b"\x00")]
    )
    + b"\x00",
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_counts_cost_nothing(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadPsbt):
            Psbt.parse(ABSURD[name])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_previous_transaction_with_absurd_counts() -> None:
    for bad in (
        le(2) + b"\xff" + b"\xff" * 8 + bytes(60),
        le(2) + b"\x00\xff" + b"\xff" * 8 + bytes(60),
        le(2) + b"\x00\x01\x01" + bytes(36) + b"\x00" + bytes(4) + b"\x00\xff" + b"\xff" * 8 + bytes(4),
        le(2) + b"\x01" + bytes(36) + b"\xff" + b"\xff" * 8 + bytes(60),
    ):
        bent = draft(spend("p2wpkh"))
        bent.inputs[0][0] = (b"\x00", bad)
        with pytest.raises(BadPsbt, match="input 0: non_witness_utxo"):
            Psbt.parse(bent.encode())


def test_unsigned_transaction_without_inputs() -> None:
    """Its first bytes look like a witness marker; BIP174 has it read without witnesses."""
    raw = MAGIC + string(b"\x00") + string(le(2) + b"\x00\x01" + le(5, 8) + b"\x00" + le(0)) + b"\x00\x00"
    psbt = Psbt.parse(raw)
    assert psbt.tx.outpoints == ()
    assert psbt.tx.outputs == ((5, b""),)
    assert psbt.unsigned_tx() == raw[8:-2]


def test_transactions_come_back() -> None:
    plain = Transaction.parse(draft(spend("p2wpkh"), spend("p2pkh", 1)).unsigned())
    assert plain.encode() == draft(spend("p2wpkh"), spend("p2pkh", 1)).unsigned()
    witness = spend("p2wpkh", segwit_previous=True).previous_tx()
    assert Transaction.parse(witness).encode() == witness
    with pytest.raises(BadPsbt):
        Transaction.parse(witness, witness=False)
    for size in range(len(witness)):
        with pytest.raises(BadPsbt):
            Transaction.parse(witness[:size])


def test_version_2_unsigned_transaction_is_that_of_version_0() -> None:
    items = [spend("p2wpkh"), spend("p2pkh", 1)]
    assert Psbt.parse(draft(*items, version=2).encode()).unsigned_tx() == draft(*items).unsigned()


@pytest.mark.parametrize(
    ("flags", "sighash", "expected"),
    [(3, None, 0), (7, None, 4), (3, 0x81, 1), (3, 2, 2), (3, 3, 4), (3, 0x83, 5), (0, None, 0)],
)
def test_modifiable_flags_follow_bip370(flags: int, sighash: int | None, expected: int) -> None:
    bent = draft(spend("p2wpkh"), version=2, extra=[(b"\x06", bytes((flags,)))])
    if sighash is not None:
        bent.inputs[0].append((b"\x03", le(sighash)))
    psbt = Psbt.parse(bent.base64())
    plan = make_plan(psbt, allow_sighash=True)
    signed = insert(psbt, [(request, ME.sign(request)) for request in plan.requests])
    again = Psbt.parse(signed.encode())
    assert again.globals[b"\x06"] == bytes((expected,))
    assert {**again.globals, b"\x06": bytes((flags,))} == psbt.globals
    assert again.inputs == signed.inputs


def test_repr_shows_no_contents() -> None:
    assert repr(Psbt.parse(RAW)) == "Psbt(version=0, inputs=1, outputs=1, form=binary)"


def test_large_psbt_is_linear() -> None:
    """200 inputs with one large previous transaction each parse within a blink; copies stay in proportion."""
    tail = compact(1) + bytes(36) + string(bytes(20_000)) + le(0) + compact(0) + le(0)
    bent = draft(*[spend("p2wpkh", number, previous=False) for number in range(200)])
    for pairs in bent.inputs:
        pairs.append((b"\x00", le(2) + tail))
    raw = bent.encode()
    tracemalloc.start()
    try:
        Psbt.parse(raw)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(raw)
    finally:
        tracemalloc.stop()
