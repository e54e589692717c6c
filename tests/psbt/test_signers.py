"""Who has signed, told from the PSBT: every signature judged by itself."""

from __future__ import annotations

import pytest

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.codec import Pair, encode_map
from hwilib_cryptnox.psbt.combine import finalized
from hwilib_cryptnox.psbt.finalize import NotFinal, extract
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.signers import InputStatus, Signer, input_statuses
from tests.psbt.factory import (
    ME,
    NUMS,
    SPEND_PATH,
    In,
    compact,
    draft,
    leaf_hash,
    p2pkh,
    p2wpkh,
    pushed,
    sighash,
    spend,
    string,
    tap_deriv,
    taproot,
)
from tests.psbt.signing import sign

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PATH = SPEND_PATH["tapscript"].format(0)
KEY = ME.key(PATH)[1:]


def status(psbt: Psbt) -> InputStatus:
    (found,) = input_statuses(psbt)
    return found


def rewritten(psbt: Psbt, change: dict[bytes, bytes], extra: tuple[Pair, ...] = ()) -> Psbt:
    """The same PSBT with other values, and pairs more, in its only input."""
    pairs = {key: change.get(key, value) for key, value in psbt.inputs[0].pairs.items()} | dict(extra)
    outputs = b"".join(encode_map(fields.pairs) for fields in psbt.outputs)
    return Psbt.parse(b"psbt\xff" + encode_map(psbt.globals) + encode_map(pairs) + outputs)


def signatures(psbt: Psbt) -> list[Pair]:
    return [(key, value) for key, value in psbt.inputs[0].pairs.items() if key[0] in (0x02, 0x13, 0x14)]


@pytest.mark.parametrize("kind", ["p2pkh", "p2pk", "p2wpkh", "p2sh-p2wpkh", "p2wsh", "rawtr", "tapscript"])
def test_before_and_after(kind: str) -> None:
    path = SPEND_PATH[kind].format(0)
    mine = ME.key(path)[-32:]
    before = status(Psbt.parse(draft(spend(kind)).encode()))
    assert not before.complete and not any(signer.signed or signer.bad for signer in before.signers)
    after = status(sign(draft(spend(kind)).encode()))
    assert after.complete and not after.problem
    (signer,) = [signer for signer in after.signers if signer.public_key[-32:] == mine]
    assert (signer.signed, signer.bad) == (True, False)
    assert signer.origin is not None and str(signer.origin.path) == path
    assert [other.signed for other in after.signers if other is not signer] == [False] * (len(after.signers) - 1)


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "p2wsh", "rawtr", "tapscript"])
def test_a_broken_signature_is_bad(kind: str) -> None:
    signed = sign(draft(spend(kind)).encode())
    ((key, value),) = signatures(signed)
    for where in (20, 60):
        broken = rewritten(signed, {key: value[:where] + bytes((value[where] ^ 1,)) + value[where + 1 :]})
        found = status(broken)
        assert not found.complete
        assert [signer.bad for signer in found.signers].count(True) == 1
        assert not any(signer.signed for signer in found.signers)


def two_leaves() -> tuple[Psbt, list[Pair]]:
    """One key in two leaves, signed for both."""
    scripts = [pushed(KEY) + b"\xac", pushed(KEY) + b"\xad\x51"]
    script, fields = taproot(scripts, NUMS)
    fields.append(tap_deriv(PATH, [leaf_hash(item) for item in scripts]))
    signed = sign(draft(In(script, 100_000, fields)).encode())
    made = signatures(signed)
    assert len(made) == 2
    return signed, made


def test_one_bad_signature_among_a_keys_good_ones() -> None:
    signed, made = two_leaves()
    assert status(signed).signers == (Signer(KEY, status(signed).signers[0].origin, signed=True, bad=False),)
    for key, value in made:
        (signer,) = status(rewritten(signed, {key: value[:-1] + bytes((value[-1] ^ 1,))})).signers
        assert (signer.signed, signer.bad) == (True, True)


def test_a_signature_for_a_leaf_that_is_not_there() -> None:
    signed, ((key, value), _) = two_leaves()
    (signer,) = status(rewritten(signed, {}, ((key[:33] + bytes(32), value),))).signers
    assert signer.bad


def test_high_s_and_a_type_ecdsa_does_not_have() -> None:
    """Both verify by consensus and are not relayed: not used, and called bad."""
    signed = sign(draft(spend("p2wpkh")).encode())
    ((key, value),) = signatures(signed)
    size = value[3]
    r, s = value[4 : 4 + size], int.from_bytes(value[6 + size : -1], "big")
    high = (ORDER - s).to_bytes(33, "big")
    inner = b"\x02" + compact(len(r)) + r + b"\x02" + compact(len(high)) + high
    private = ME.private(SPEND_PATH["p2wpkh"].format(0))
    hasher = SignatureHasher(signed.tx, [signed.inputs[0].witness_utxo])
    hashed = hasher.segwit_v0(0, p2pkh(private.public_key.format()), 100_000, 0)
    for bad in (b"\x30" + compact(len(inner)) + inner + b"\x01", private.sign(hashed, hasher=None) + b"\x00"):
        bent = rewritten(signed, {key: bad})
        assert [(signer.signed, signer.bad) for signer in status(bent).signers] == [(False, True)]
        with pytest.raises(NotFinal):
            extract(bent)


def test_a_key_that_is_no_point() -> None:
    """Somebody's partial signature under it is bad, and in nobody's way."""
    signed = sign(draft(spend("p2wpkh")).encode())
    ((_, value),) = signatures(signed)
    bent = rewritten(signed, {}, ((b"\x02\x02" + b"\xff" * 32, value),))
    assert [(signer.signed, signer.bad) for signer in status(bent).signers] == [(True, False), (False, True)]
    assert status(bent).complete and extract(bent) == extract(signed)


def test_single_without_its_output() -> None:
    """A taproot signature of that type cannot verify; nothing else goes wrong."""
    signed = sign(draft(spend("rawtr")).encode())
    ((key, value),) = signatures(signed)
    bent = draft(spend("p2wpkh"), spend("rawtr"))
    bent.inputs[1].append((key, value + b"\x03"))
    found = input_statuses(Psbt.parse(bent.encode()))
    assert [item.complete for item in found] == [False, False]
    assert [signer.bad for signer in found[1].signers] == [True]


KINDS = ("p2pkh", "p2pk", "p2sh-p2wpkh", "p2wpkh", "multisig", "p2sh", "p2wsh", "p2sh-p2wsh", "rawtr", "tapscript")
GARBAGE = b"\x02" + string(b"\x30" + bytes(70)) + string(ME.key("m/5"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_final_input_is_complete_only_if_it_can_be_spent(kind: str) -> None:
    final = finalized(sign(draft(spend(kind)).encode())).psbt
    found = status(final)
    assert (found.final, found.complete, found.bad, found.problem) == (True, True, False, "")
    ((key, value),) = [(key, value) for key, value in final.inputs[0].pairs.items() if key in (b"\x07", b"\x08")][-1:]
    at = value.rindex(b"\x01") - 9 if kind in ("p2pkh", "p2pk") else 12
    found = status(rewritten(final, {key: value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]}))
    assert (found.final, found.complete, found.bad) == (True, False, True)
    assert found.problem.startswith("it is final, and cannot be spent as it is signed: ")


def test_a_garbage_witness_beside_a_good_signature() -> None:
    """What came to a person as "Complete"."""
    signed = sign(draft(spend("p2wpkh"), In(p2wpkh(ME.key("m/5")), 100_000, [(b"\x08", GARBAGE)])).encode())
    good, bad = input_statuses(signed)
    assert good.complete and not good.bad and not good.final
    assert not bad.complete and bad.bad and bad.final


def test_a_final_input_that_cannot_be_judged_is_told() -> None:
    """Of a witness version that is not known, of one without its UTXO, and of taproot beside one without."""
    future = In(b"\x52\x20" + bytes(32), 100_000, [(b"\x08", b"\x01\x01a")])
    unknown = In(p2wpkh(ME.key("m/5")), 100_000, [(b"\x08", GARBAGE)], previous=False, witness_utxo=False, salt=1)
    taproot_one = In(spend("rawtr").script, 100_000, [(b"\x08", b"\x01" + string(bytes(64)))], salt=2)
    given = Psbt.parse(draft(future, unknown, taproot_one).encode())
    for found in input_statuses(given):
        assert (found.final, found.complete, found.bad) == (True, True, False)
        assert found.problem.startswith("it is final and could not be verified: ")


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "p2wsh", "rawtr", "tapscript"])
@pytest.mark.parametrize(
    ("given", "named"),
    [(1, ()), (2, ("NONE",)), (3, ("SINGLE",)), (0x81, ("ALL|ANYONECANPAY",)), (0x82, ("NONE|ANYONECANPAY",))],
)
def test_signatures_that_leave_parts_open_are_named(kind: str, given: int, named: tuple[str, ...]) -> None:
    item = spend(kind)
    signed = sign(draft(In(item.script, item.amount, [*item.fields, sighash(given)])).encode(), allow_sighash=True)
    assert status(signed).open_types == named
    result = finalized(signed)
    assert status(result.psbt).open_types == named
    assert result.notes == tuple(
        f"input 0: a signature of type {name} lets others change parts of the transaction" for name in named
    )
