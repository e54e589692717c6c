"""Kinds of scripts, what they push, and multisig, against embit and by hand."""

from __future__ import annotations

import pytest
from embit import script as embit_script

from hwilib_cryptnox.psbt.script import (
    OP_CHECKSIG,
    OP_CODESEPARATOR,
    Kind,
    examine,
    is_witness_program,
    kind_of,
    operations,
    p2pkh,
    p2sh,
    p2wpkh,
    parse_multisig,
    push,
    remove_code_separators,
)
from tests.psbt.factory import ME, multisig

KEYS = [ME.key(f"m/{number}") for number in range(20)]
HASH = bytes(range(20))
UNCOMPRESSED = b"\x04" + bytes(64)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (p2pkh(HASH), Kind.P2PKH),
        (p2sh(HASH), Kind.P2SH),
        (p2wpkh(HASH), Kind.P2WPKH),
        (b"\x00\x20" + bytes(32), Kind.P2WSH),
        (b"\x51\x20" + bytes(32), Kind.P2TR),
        (b"\x51\x21" + bytes(33), Kind.WITNESS_UNKNOWN),
        (b"\x52\x20" + bytes(32), Kind.WITNESS_UNKNOWN),
        (b"\x00\x15" + bytes(21), Kind.WITNESS_UNKNOWN),  # version 0 of another length cannot be spent at all
        (b"\x51\x02" + bytes(2), Kind.WITNESS_UNKNOWN),
        (b"\x60\x28" + bytes(40), Kind.WITNESS_UNKNOWN),
        (b"\x60\x29" + bytes(41), Kind.BARE),
        (b"\x51\x01\x00", Kind.BARE),
        (b"\x21" + KEYS[0] + b"\xac", Kind.P2PK),
        (b"\x41" + UNCOMPRESSED + b"\xac", Kind.P2PK),
        (b"\x21" + KEYS[0] + b"\xad", Kind.BARE),
        (multisig(2, KEYS[:3]), Kind.MULTISIG),
        (b"\x6a", Kind.OP_RETURN),
        (b"\x6a\x04test", Kind.OP_RETURN),
        (b"", Kind.BARE),
        (p2pkh(HASH)[:-1] + b"\xad", Kind.BARE),
        (p2sh(HASH)[:-1] + b"\x88", Kind.BARE),
    ],
    ids=lambda value: value.hex()[:20] if isinstance(value, bytes) else value.name,
)
def test_kinds(script: bytes, kind: Kind) -> None:
    assert kind_of(script) is kind
    witness = (Kind.P2WPKH, Kind.P2WSH, Kind.P2TR, Kind.WITNESS_UNKNOWN)
    assert is_witness_program(script) == (kind in witness)


def test_embit_agrees_on_the_kinds_it_knows() -> None:
    for script in (p2pkh(HASH), p2sh(HASH), p2wpkh(HASH), b"\x00\x20" + bytes(32), b"\x51\x20" + bytes(32)):
        assert embit_script.Script(script).script_type() == kind_of(script).value.lower()


@pytest.mark.parametrize(
    ("threshold", "count"), [(1, 1), (2, 3), (3, 3), (15, 15), (16, 16), (1, 17), (16, 20)], ids=str
)
def test_multisig(threshold: int, count: int) -> None:
    """Up to 16 keys the numbers are opcodes, above that the count is pushed."""
    number = bytes((0x50 + count,)) if count <= 16 else bytes((1, count))
    script = bytes((0x50 + threshold,)) + b"".join(push(key) for key in KEYS[:count]) + number + b"\xae"
    assert parse_multisig(script) == (threshold, tuple(KEYS[:count]))


@pytest.mark.parametrize(
    "script",
    [
        multisig(2, KEYS[:3])[:-1] + b"\xaf",
        b"\x53" + multisig(2, KEYS[:2])[1:],  # more signatures than keys
        b"\x00" + multisig(2, KEYS[:3])[1:],
        multisig(2, KEYS[:3])[:-2] + b"\x52\xae",  # fewer counted than there are
        multisig(2, KEYS[:3])[:-2] + b"\x54\xae",
        b"\x51\x20" + bytes(32) + b"\x51\xae",  # no key of 32 bytes
        b"\x51" + push(KEYS[0])[:-1] + b"\x51\xae",
        b"\xae",
    ],
    ids=range(8),
)
def test_what_is_no_multisig(script: bytes) -> None:
    assert parse_multisig(script) is None


@pytest.mark.parametrize("size", [1, 0x4B, 0x4C, 0xFF, 0x100, 520, 0xFFFF])
def test_pushes_come_back(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    ((_, pushed, end),) = operations(push(data))
    assert (pushed, end) == (data, len(push(data)))
    assert len(push(data)) - size == (1 if size < 0x4C else 2 if size <= 0xFF else 3)


@pytest.mark.parametrize(
    "script", [b"\x02\x01", b"\x4c", b"\x4c\x02\x01", b"\x4d\x01", b"\x4d\x02\x00\x01", b"\x4e\x01\x00\x00"]
)
def test_a_push_over_the_end(script: bytes) -> None:
    with pytest.raises(ValueError, match="runs past the end"):
        examine(script)
    assert remove_code_separators(script) == script


def test_what_a_script_has() -> None:
    plain = examine(push(KEYS[0]) + b"\xad" + b"\x00" + push(HASH) + b"\x88")
    assert plain.pushes == {KEYS[0], HASH}
    assert not (plain.code_separator or plain.success)
    for opcode, fact in (
        (0xAB, "code_separator"),
        (0x50, "success"),
        (0xFE, "success"),
    ):
        assert getattr(examine(bytes((opcode,))), fact), hex(opcode)
        assert not getattr(examine(push(bytes((opcode,)) * 2)), fact), "a push is no opcode"
    assert not examine(b"\xff").success and not examine(b"\xba").success  # OP_INVALIDOPCODE, OP_CHECKSIGADD


def test_code_separators_go_and_pushes_stay() -> None:
    mark, inside = bytes((OP_CODESEPARATOR,)), push(bytes((OP_CODESEPARATOR,)) * 3)
    script = mark + inside + mark + mark + bytes((OP_CHECKSIG,))
    assert remove_code_separators(script) == inside + bytes((OP_CHECKSIG,))
    broken = mark + inside + mark + b"\x05\xab"
    assert remove_code_separators(broken) == inside + b"\x05\xab"
