"""Every script type with every sighash type: signed, finalised, judged by Bitcoin Core's verifier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwilib_cryptnox.psbt import Psbt, RefusedInput, SignatureKind, collect, insert
from hwilib_cryptnox.psbt.finalize import NotFinal, extract
from tests.psbt.factory import (
    ME,
    NUMS,
    OTHER,
    SPEND_PATH,
    In,
    Out,
    deriv,
    draft,
    leaf_hash,
    multisig,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sha,
    sighash,
    spend,
    string,
    tap_deriv,
    taproot,
)
from tests.psbt.signing import check_on_kernel, make_plan, sign
from tests.support.kernel import failing_inputs

STANDARD = [kind for kind in SPEND_PATH if kind != "miniscript"]
TAPROOT = ("rawtr", "tapscript")
TYPES = (0x00, 0x01, 0x02, 0x03, 0x81, 0x82, 0x83)


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("kind", STANDARD)
def test_each_script_type_alone(kind: str, version: int) -> None:
    bent = draft(spend(kind), version=version)
    signed = sign(bent.base64())
    check_on_kernel(signed, bent)


@pytest.mark.parametrize(
    ("kind", "sighash_type"), [(kind, value) for kind in STANDARD for value in TYPES if value or kind in TAPROOT]
)
def test_each_sighash_type(kind: str, sighash_type: int) -> None:
    """The input stands second among three, its output between two others."""
    item = spend(kind, 1)
    item.fields.append(sighash(sighash_type))
    outs = [Out(p2wpkh(OTHER.key(f"m/{number}")), 90_000) for number in range(3)]
    bent = draft(spend("p2wpkh", 0), item, spend("p2pkh", 2), outs=outs)
    if sighash_type > 1:
        with pytest.raises(RefusedInput, match=r"input 1: .*--allow-sighash"):
            sign(bent.encode())
    signed = sign(bent.encode(), allow_sighash=True)
    check_on_kernel(signed, bent)
    field = {"rawtr": 0x13, "tapscript": 0x14}.get(kind, 0x02)
    values = [value for key, value in signed.inputs[1].pairs.items() if key[0] == field]
    assert len(values) == 1
    if kind in TAPROOT and sighash_type == 0:
        assert len(values[0]) == 64
    else:
        assert values[0][-1] == sighash_type
        assert kind not in TAPROOT or len(values[0]) == 65


@pytest.mark.parametrize("kind", STANDARD)
def test_signature_does_not_survive_a_change_of_the_transaction(kind: str) -> None:
    """The judge is awake: the same unlocking data with another output fails."""
    bent = draft(spend(kind))
    transaction = check_on_kernel(sign(bent.encode()), bent)
    amount = bent.outs[0].amount
    forged = transaction.replace(amount.to_bytes(8, "little"), (amount - 1).to_bytes(8, "little"))
    assert forged != transaction
    assert failing_inputs(forged, [(bent.ins[0].amount, bent.ins[0].script)]) == [0]


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("tx_version", [0, 1, 2, 3, 0xFFFFFFFF])
@pytest.mark.parametrize("sequence", [0, 1, 0xFFFFFFFE, 0xFFFFFFFF])
def test_transaction_versions_and_sequences(version: int, tx_version: int, sequence: int) -> None:
    kinds = ("p2pkh", "p2wpkh", "rawtr", "tapscript")
    items = [replace(spend(kind, number), sequence=sequence) for number, kind in enumerate(kinds)]
    bent = draft(*items, version=version, tx_version=tx_version, lock_time=800_000)
    signed = sign(bent.encode())
    transaction = check_on_kernel(signed, bent)
    assert transaction[:4] == tx_version.to_bytes(4, "little")
    assert transaction[-4:] == (800_000).to_bytes(4, "little")


def test_version_2_without_sequence_is_final() -> None:
    bent = draft(replace(spend("p2wpkh"), sequence=None), version=2)
    transaction = check_on_kernel(sign(bent.encode()), bent)
    assert b"\xff\xff\xff\xff" in transaction


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        ([(None, None), (None, None)], 77),
        ([(1000, None), (None, None)], 1000),
        ([(1000, None), (2000, None)], 2000),
        ([(256, None), (255, None)], 256),
        ([(None, 1_600_000_000), (None, 1_500_000_000)], 1_600_000_000),
        ([(1000, 1_600_000_000), (None, 1_500_000_000)], 1_600_000_000),
        ([(1000, 1_600_000_000), (900, 1_500_000_000)], 1000),
    ],
)
def test_version_2_lock_time(required: list[tuple[int | None, int | None]], expected: int) -> None:
    items = []
    for number, (height, time) in enumerate(required):
        item = spend("p2wpkh", number)
        if time is not None:
            item.fields.append((b"\x11", time.to_bytes(4, "little")))
        if height is not None:
            item.fields.append((b"\x12", height.to_bytes(4, "little")))
        items.append(item)
    bent = draft(*items, version=2, lock_time=77)
    transaction = check_on_kernel(sign(bent.encode()), bent)
    assert int.from_bytes(transaction[-4:], "little") == expected


def test_everything_in_one_transaction() -> None:
    bent = draft(*[spend(kind, number) for number, kind in enumerate(STANDARD)])
    signed = sign(bent.encode())
    check_on_kernel(signed, bent)


def test_segwit_previous_transactions() -> None:
    """The id of a previous transaction leaves out its witness."""
    items = [replace(spend(kind), segwit_previous=True) for kind in ("p2pkh", "p2wpkh")]
    bent = draft(*items)
    check_on_kernel(sign(bent.encode()), bent)


def test_hundred_inputs() -> None:
    kinds = ("p2wpkh", "p2pkh", "p2sh-p2wpkh", "rawtr")
    bent = draft(*[spend(kinds[number % 4], number) for number in range(100)])
    check_on_kernel(sign(bent.encode()), bent)


@pytest.mark.parametrize("wrap", ["bare", "p2sh", "p2wsh", "p2sh-p2wsh"])
def test_several_keys_of_ours_in_one_multisig(wrap: str) -> None:
    """2 of 3, not sorted, two keys ours: both sign."""
    paths = ["m/48h/0h/0h/2h/0/9", "m/48h/0h/0h/2h/0/3"]
    script = multisig(2, [ME.key(paths[0]), OTHER.key("m/5"), ME.key(paths[1])])
    fields = [deriv(paths[0]), deriv("m/5", OTHER), deriv(paths[1])]
    item = _wrapped(script, wrap, fields)
    bent = draft(item)
    signed = sign(bent.encode())
    assert len(signed.inputs[0].keyed(0x02)) == 2
    check_on_kernel(signed, bent)


def test_one_key_several_times_in_a_multisig() -> None:
    """One signature serves each place of the key; a finaliser that wants two finds one."""
    path = "m/48h/0h/0h/2h/0/9"
    script = multisig(1, [ME.key(path), ME.key(path), OTHER.key("m/5")])
    bent = draft(_wrapped(script, "p2wsh", [deriv(path)]))
    signed = sign(bent.encode())
    assert len(signed.inputs[0].keyed(0x02)) == 1
    check_on_kernel(signed, bent)


def _wrapped(script: bytes, wrap: str, fields: list[tuple[bytes, bytes]]) -> In:
    if wrap == "bare":
        return In(script, fields=fields, witness_utxo=False)
    if wrap == "p2sh":
        return In(p2sh(script), fields=[*fields, (b"\x04", script)], witness_utxo=False)
    if wrap == "p2wsh":
        return In(p2wsh(script), fields=[*fields, (b"\x05", script)])
    return In(p2sh(p2wsh(script)), fields=[*fields, (b"\x04", p2wsh(script)), (b"\x05", script)])


@pytest.mark.parametrize("wrap", ["p2sh", "p2wsh", "p2sh-p2wsh"])
@pytest.mark.parametrize("inner", ["pk", "pkh"])
def test_single_key_scripts_inside_wrappings(inner: str, wrap: str) -> None:
    path = "m/48h/0h/0h/2h/0/4"
    key = ME.key(path)
    script = pushed(key) + b"\xac" if inner == "pk" else p2pkh(key)
    bent = draft(_wrapped(script, wrap, [deriv(path)]))
    check_on_kernel(sign(bent.encode()), bent)


def _final(script_sig: bytes, *witness: bytes) -> list[tuple[bytes, bytes]]:
    pairs = [(b"\x07", script_sig)] if script_sig else []
    return [*pairs, (b"\x08", bytes((len(witness),)) + b"".join(map(string, witness)))] if witness else pairs


@pytest.mark.parametrize("inner", ["timelock", "hashlock", "pkh-or"])
@pytest.mark.parametrize("wrap", ["p2sh", "p2wsh", "p2sh-p2wsh"])
def test_miniscripts_with_our_key(wrap: str, inner: str) -> None:
    """The engine signs, the test writes the stack, the verifier judges."""
    path, preimage = "m/48h/0h/0h/3h/0/1", b"p" * 32
    key = ME.key(path)
    if inner == "timelock":  # and_v(v:pk(key),older(5))
        script, rest = pushed(key) + b"\xad\x55\xb2", []
    elif inner == "hashlock":  # and_v(v:sha256(h),pk(key))
        digest = sha(preimage)
        script, rest = b"\x82\x01\x20\x88\xa8\x20" + digest + b"\x88" + pushed(key) + b"\xac", [preimage]
    else:  # or_d(pk(other),pkh(key)): the key stands as its hash
        script = pushed(OTHER.key("m/7")) + b"\xac\x73\x64" + p2pkh(key) + b"\x68"
        rest = [key, b""]
    item = replace(_wrapped(script, wrap, [deriv(path)]), sequence=5)
    bent = draft(item)
    signed = sign(bent.encode())
    signature = signed.inputs[0].keyed(0x02)[0][1]
    stack = [signature, *rest]
    if wrap == "p2sh":
        final = _final(b"".join(map(_push, [*stack, script])))
    else:
        final = _final(pushed(p2wsh(script)) if wrap == "p2sh-p2wsh" else b"", *stack, script)
    transaction = extract(Psbt.parse(signed.raw).with_added({0: final}))
    assert failing_inputs(transaction, [(item.amount, item.script)]) == []


def _push(data: bytes) -> bytes:
    return b"\x00" if not data else pushed(data)


LEAVES = {
    "pk": lambda key, other: pushed(key) + b"\xac",
    "pk_h": lambda key, other: p2pkh(key),
    "multi_a": lambda key, other: pushed(other) + b"\xac" + pushed(key) + b"\xba\x51\x9c",
}


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("alone", [True, False])
def test_tapscript_leaves(leaf: str, alone: bool) -> None:
    path = SPEND_PATH["tapscript"].format(3)
    script = LEAVES[leaf](ME.key(path)[1:], OTHER.key(path)[1:])
    scripts = [script] if alone else [pushed(OTHER.key("m/1")[1:]) + b"\xac", script]
    spk, fields = taproot(scripts)
    bent = draft(In(spk, fields=[*fields, tap_deriv(path, [leaf_hash(script)])]))
    signed = sign(bent.encode())
    assert [key[0] for key in signed.inputs[0].pairs].count(0x14) == 1
    check_on_kernel(signed, bent)


def test_one_key_in_several_leaves() -> None:
    path = SPEND_PATH["tapscript"].format(3)
    key = ME.key(path)[1:]
    scripts = [pushed(key) + b"\xac", pushed(key) + b"\xad\x51"]
    spk, fields = taproot(scripts)
    bent = draft(In(spk, fields=[*fields, tap_deriv(path, map(leaf_hash, scripts)), (b"\x17", NUMS)]))
    psbt = Psbt.parse(bent.encode())
    requests = make_plan(psbt).requests
    assert {request.leaf_hash for request in requests} == {leaf_hash(script) for script in scripts}
    assert {request.kind for request in requests} == {SignatureKind.SCHNORR}
    check_on_kernel(sign(bent.encode()), bent)


def test_tapscript_with_time_lock_and_hash() -> None:
    """and_v(v:pk(key),older(5)) in a leaf; the stack is written by the test."""
    path = SPEND_PATH["tapscript"].format(0)
    script = pushed(ME.key(path)[1:]) + b"\xad\x55\xb2"
    spk, fields = taproot([script])
    item = In(spk, fields=[*fields, tap_deriv(path, [leaf_hash(script)])], sequence=5)
    signed = sign(draft(item).encode())
    signature = signed.inputs[0].keyed(0x14)[0][1]
    control = fields[0][0][1:]
    transaction = extract(signed.with_added({0: _final(b"", signature, script, control)}))
    assert failing_inputs(transaction, [(item.amount, item.script)]) == []


def test_foreign_signature_beside_ours() -> None:
    """2 of 2: ours is added behind the cosigner's, and the result is complete."""
    path = "m/48h/0h/0h/2h/0/0"
    script = multisig(2, sorted([ME.key(path), OTHER.key(path)]))
    bent = draft(_wrapped(script, "p2wsh", [deriv(path), deriv(path, OTHER)]))
    first = sign(bent.encode(), OTHER)
    with pytest.raises(NotFinal):
        extract(first)
    both = sign(first.raw)
    check_on_kernel(both, bent)
    assert list(both.inputs[0].pairs)[:-1] == list(first.inputs[0].pairs)


def test_high_s_is_brought_down() -> None:
    """Bitcoin Core relays low S only; a signer that gives the high form is no reason to fail."""
    from cryptnox_core.crypto.secp256k1 import ORDER, encode_der, is_low_s, parse_der

    bent = draft(spend("p2wpkh"))
    psbt = Psbt.parse(bent.encode())
    (request,) = make_plan(psbt).requests
    r, s = parse_der(ME.sign(request))
    signed = insert(psbt, [(request, encode_der(r, ORDER - s))])
    assert is_low_s(signed.inputs[0].keyed(0x02)[0][1][:-1])
    check_on_kernel(signed, bent)


def test_each_path_is_asked_for_once() -> None:
    """The same key in 20 inputs costs one derivation."""
    items = [replace(spend("p2wpkh"), salt=number) for number in range(20)]
    psbt = Psbt.parse(draft(*items).encode())
    collected = collect(psbt, ME.fingerprint)
    assert len(collected.paths) == 1
    assert len(make_plan(psbt).requests) == 20
