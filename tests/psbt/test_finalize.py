"""What the finaliser does not finish."""

from __future__ import annotations

import pytest

from hwilib_cryptnox.psbt import BadPsbt, Psbt
from hwilib_cryptnox.psbt.finalize import NotFinal, extract
from tests.psbt.dishonest import CATALOGUE
from tests.psbt.factory import Draft, draft, spend
from tests.psbt.signing import sign


@pytest.mark.parametrize(
    ("bent", "reason"),
    [
        (draft(spend("p2wpkh", previous=False, witness_utxo=False)), "does not say what it spends"),
        (draft(spend("p2wpkh")), "no signature that its script could use"),
        (draft(spend("multisig")), "0 of 1 signatures are there"),
        (draft(spend("rawtr")), "no taproot signature"),
        (draft(spend("tapscript")), "no taproot signature"),
    ],
)
def test_incomplete_inputs(bent: Draft, reason: str) -> None:
    with pytest.raises(NotFinal, match=f"input 0: .*{reason}"):
        extract(Psbt.parse(bent.encode()))


def test_scripts_that_are_not_finalised_here() -> None:
    with pytest.raises(NotFinal, match="input 0: no signature that its script could use"):
        extract(sign(draft(spend("miniscript")).encode()))


@pytest.mark.parametrize("name", ["P2WSH without its witness script", "OP_CODESEPARATOR in a witness script"])
def test_problems_of_the_script(name: str) -> None:
    with pytest.raises(NotFinal, match="input 0: its witness script"):
        extract(Psbt.parse(CATALOGUE[name]()))


@pytest.mark.parametrize("kind", ["p2pkh", "p2wpkh", "p2wsh", "rawtr", "tapscript"])
def test_signatures_that_do_not_verify_are_not_used(kind: str) -> None:
    """A cosigner's broken signature does not end in a broken transaction."""
    bent = draft(spend(kind))
    signed = sign(bent.encode())
    key, value = list(signed.inputs[0].pairs.items())[-1]
    broken = draft(spend(kind))
    where = 20 if key[0] == 0x02 else 5
    broken.inputs[0].append((key, value[:where] + bytes((value[where] ^ 1,)) + value[where + 1 :]))
    with pytest.raises(NotFinal, match="input 0: "):
        extract(Psbt.parse(broken.encode()))


def test_cut_output_and_long_count_are_bad() -> None:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0] = [(key, value[:5] if key == b"\x01" else value) for key, value in bent.inputs[0]]
    with pytest.raises(BadPsbt, match="input 0: witness_utxo: cut short"):
        Psbt.parse(bent.encode())
    raw = draft(spend("p2wpkh"), version=2).encode()
    assert raw.count(b"\x01\x04\x01\x01") == 1
    with pytest.raises(BadPsbt, match="input count: extra bytes after the number"):
        Psbt.parse(raw.replace(b"\x01\x04\x01\x01", b"\x01\x04\x02\x01\x00"))
