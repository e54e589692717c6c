"""Keys that the host derives, against embit; and which keys of a PSBT are asked of the card."""

from __future__ import annotations

import pytest
from embit import bip32

from cryptnox_core.bip32 import HARDENED, ExtendedPublicKey, Path
from hwilib_cryptnox.psbt import Psbt, collect
from hwilib_cryptnox.signer.signatures.keys import account_prefix, derived_keys, wanted_keys
from tests.psbt.factory import ME, In, Out, draft, out_deriv, p2wpkh, spend

ROOT = bip32.HDKey.from_seed(bytes(range(32)))


def key_at(path: str) -> bytes:
    public: bytes = ROOT.derive(path).to_public().key.sec()
    return public


def extended_at(path: str) -> ExtendedPublicKey:
    return ExtendedPublicKey.from_string(ROOT.derive(path).to_public().to_base58())


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("m/84h/0h/0h/1/7", "m/84h/0h/0h"),
        ("m/84h/0h/0h", "m/84h/0h/0h"),
        ("m/48h/0h/0h/2h/0/0", "m/48h/0h/0h/2h"),
        ("m/0/1/2/3", "m/0/1/2"),  # the card gives extended keys from three levels on
        ("m/0/1h/2/3/4", "m/0/1h/2"),
        ("m/1h/2h/3h/4h/5h/6h/7h/8h/9", "m/1h/2h/3h/4h/5h/6h/7h/8h"),  # deeper than the card goes
        ("m/1h/2h/3h/4h/5h/6h/7h/8h/9h", None),
        ("m/0/1", None),
        ("m", None),
    ],
)
def test_the_key_that_others_follow_from(path: str, prefix: str | None) -> None:
    found = account_prefix(Path.parse(path))
    assert (None if found is None else str(found)) == prefix


def test_derived_keys_are_embits() -> None:
    """Below an extended key, the key itself, single ones as they were read; what does not follow is left out."""
    extended = {Path.parse(path): extended_at(path) for path in ("m/84h/0h/0h", "m/48h/0h/0h/2h")}
    single = Path.parse("m/44h/0h/0h/0/0")
    public = {single: key_at(str(single))}
    below = ["m/84h/0h/0h/0/0", "m/84h/0h/0h/0/1", "m/84h/0h/0h/1/2147483647", "m/84h/0h/0h", "m/48h/0h/0h/2h/1/3/9"]
    paths = [Path.parse(path) for path in [*below, str(single), "m/84h/0h/1h/0/0", "m/84h/0h/0h/0h/0"]]
    assert derived_keys(paths, extended, public) == {Path.parse(path): key_at(path) for path in [*below, str(single)]}


def paths_of(number: int, hardened: int = 0) -> list[Path]:
    return [Path((84 | HARDENED, HARDENED, HARDENED, 5, index | hardened)) for index in range(number)]


@pytest.mark.parametrize("export", [True, False])
def test_what_signs_is_read_and_of_claims_a_few(export: bool) -> None:
    """Keys below an account that is read anyway cost nothing; of other claims of the outputs so many are read."""
    elsewhere = [Path((84 | HARDENED, HARDENED, number | HARDENED, 1, 0)) for number in range(1, 40)]
    claimed = [*paths_of(30), *elsewhere]
    outs = [Out(p2wpkh(ME.key(str(path))), 1_000, [out_deriv(str(path))]) for path in claimed]
    collected = collect(Psbt.parse(draft(spend("p2wpkh", 3), outs=outs).encode()), ME.fingerprint)
    assert set(collected.output_paths) == set(claimed)
    xpubs, singles = wanted_keys(collected, export=export)
    (signing,) = collected.signing_paths
    if export:
        assert singles == [] and xpubs[0] == account_prefix(signing) and len(xpubs) == 17
    else:
        assert xpubs == [] and singles[0] == signing and len(singles) == 17


def test_what_is_deeper_than_the_card_is_not_asked_for() -> None:
    path = "m/84h/0h/0h/0/1/2/3/4/5h"
    outs = [Out(p2wpkh(ME.key(path)), 1_000, [out_deriv(path)])]
    collected = collect(Psbt.parse(draft(In(p2wpkh(ME.key("m/1"))), outs=outs).encode()), ME.fingerprint)
    assert wanted_keys(collected, export=True) == ([], [])
