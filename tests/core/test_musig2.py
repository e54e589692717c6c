"""MuSig2 of the host, by the vectors of BIP327 and BIP328 and with a signer that shares nothing with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import ExtendedPublicKey
from cryptnox_core.commands.musig2 import GenerateNonce
from cryptnox_core.crypto import points
from cryptnox_core.crypto.musig2 import (
    CHAIN_CODE,
    InvalidContributionError,
    KeyAggregate,
    Session,
    aggregate_keys,
    aggregate_nonces,
    sort_keys,
)
from cryptnox_core.crypto.points import ORDER, Backend
from cryptnox_core.crypto.secp256k1 import verify_schnorr
from cryptnox_core.errors import UsageError
from tests.support.cosigner import Aggregate, Cosigner, G, multiplied, written

MAIN = bytes.fromhex("0488b21e")


@pytest.fixture(params=["coincurve", "embit", "python"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The library that everything in the test goes through."""
    if request.param == "coincurve":
        pytest.importorskip("coincurve", reason="coincurve is not installed (it has no wheel for this Python)")
    loaded = getattr(points, f"_{request.param}")()
    monkeypatch.setattr(points, "backend", lambda: loaded)
    return loaded


def vectors(name: str) -> Any:
    folder = os.environ.get("CRYPTNOX_VECTORS")
    if not folder:
        pytest.skip("CRYPTNOX_VECTORS does not name the published test vectors")
    return json.loads((Path(folder) / f"{name}.json").read_text())


def chosen(values: list[str], numbers: list[int]) -> list[bytes]:
    return [bytes.fromhex(values[number]) for number in numbers]


def tweaked(aggregate: KeyAggregate, case: dict[str, Any], tweaks: list[str]) -> KeyAggregate:
    for tweak, xonly in zip(chosen(tweaks, case["tweak_indices"]), case["is_xonly"], strict=True):
        aggregate = aggregate.tweaked(tweak, xonly=xonly)
    return aggregate


def test_sorting() -> None:
    data = vectors("bip327-key_sort")
    assert [key.hex().upper() for key in sort_keys(list(map(bytes.fromhex, data["pubkeys"])))] == data["sorted_pubkeys"]


def test_keys() -> None:
    data = vectors("bip327-key_agg")
    for case in data["valid_test_cases"]:
        assert aggregate_keys(chosen(data["pubkeys"], case["key_indices"])).xonly == bytes.fromhex(case["expected"])
    for case in data["error_test_cases"]:
        with pytest.raises(UsageError) as caught:
            tweaked(aggregate_keys(chosen(data["pubkeys"], case["key_indices"])), case, data["tweaks"])
        if case["error"]["type"] == "invalid_contribution":
            assert isinstance(caught.value, InvalidContributionError)
            assert caught.value.signer == case["error"]["signer"]


def test_nonces() -> None:
    data = vectors("bip327-nonce_agg")
    for case in data["valid_test_cases"]:
        assert aggregate_nonces(chosen(data["pnonces"], case["pnonce_indices"])) == bytes.fromhex(case["expected"])
    for case in data["error_test_cases"]:
        with pytest.raises(InvalidContributionError) as caught:
            aggregate_nonces(chosen(data["pnonces"], case["pnonce_indices"]))
        assert caught.value.signer == case["error"]["signer"]


def test_partial_signatures() -> None:
    """Those that are right, those that are not, and what they are made of."""
    data = vectors("bip327-sign_verify")
    for case in data["valid_test_cases"]:
        keys = chosen(data["pubkeys"], case["key_indices"])
        nonces = chosen(data["pnonces"], case["nonce_indices"])
        aggregate = bytes.fromhex(data["aggnonces"][case["aggnonce_index"]])
        assert aggregate_nonces(nonces) == aggregate
        session = Session(aggregate_keys(keys), aggregate, bytes.fromhex(data["msgs"][case["msg_index"]]))
        at, partial = case["signer_index"], bytes.fromhex(case["expected"])
        assert session.verify(partial, nonces[at], keys[at])
        assert not session.verify(bytes(31) + b"\1", nonces[at], keys[at])
    for case in data["verify_fail_test_cases"]:
        keys, nonces = chosen(data["pubkeys"], case["key_indices"]), chosen(data["pnonces"], case["nonce_indices"])
        session = Session(
            aggregate_keys(keys), aggregate_nonces(nonces), bytes.fromhex(data["msgs"][case["msg_index"]])
        )
        at = case["signer_index"]
        assert not session.verify(bytes.fromhex(case["sig"]), nonces[at], keys[at])
    for case in data["verify_error_test_cases"]:
        with pytest.raises(InvalidContributionError) as caught:
            aggregate_keys(chosen(data["pubkeys"], case["key_indices"]))
            aggregate_nonces(chosen(data["pnonces"], case["nonce_indices"]))
        assert caught.value.signer == case["error"]["signer"]
    for case in data["sign_error_test_cases"]:
        if case["error"]["type"] != "invalid_contribution" or case["error"].get("contrib") != "aggnonce":
            continue
        keys = chosen(data["pubkeys"], case["key_indices"])
        aggregate = bytes.fromhex(data["aggnonces"][case["aggnonce_index"]])
        session = Session(aggregate_keys(keys), aggregate, bytes.fromhex(data["msgs"][case["msg_index"]]))
        with pytest.raises(InvalidContributionError) as caught:
            session.verify(bytes(32), bytes.fromhex(data["pnonces"][0]), keys[0])
        assert caught.value.signer is None


def test_tweaks() -> None:
    data = vectors("bip327-tweak")
    for case in data["valid_test_cases"]:
        keys, nonces = chosen(data["pubkeys"], case["key_indices"]), chosen(data["pnonces"], case["nonce_indices"])
        session = Session(
            tweaked(aggregate_keys(keys), case, data["tweaks"]), aggregate_nonces(nonces), bytes.fromhex(data["msg"])
        )
        at = case["signer_index"]
        assert session.verify(bytes.fromhex(case["expected"]), nonces[at], keys[at])
    for case in data["error_test_cases"]:
        with pytest.raises(UsageError):
            tweaked(aggregate_keys(chosen(data["pubkeys"], case["key_indices"])), case, data["tweaks"])


def test_signatures() -> None:
    data = vectors("bip327-sig_agg")
    for case in data["valid_test_cases"]:
        keys, nonces = chosen(data["pubkeys"], case["key_indices"]), chosen(data["pnonces"], case["nonce_indices"])
        assert aggregate_nonces(nonces) == bytes.fromhex(case["aggnonce"])
        session = Session(
            tweaked(aggregate_keys(keys), case, data["tweaks"]),
            bytes.fromhex(case["aggnonce"]),
            bytes.fromhex(data["msg"]),
        )
        partials = chosen(data["psigs"], case["psig_indices"])
        assert session.signature(partials) == bytes.fromhex(case["expected"])
        with pytest.raises(UsageError, match="not make a valid signature"):
            session.signature([partials[0], partials[0]])
    for case in data["error_test_cases"]:
        keys = chosen(data["pubkeys"], case["key_indices"])
        session = Session(
            tweaked(aggregate_keys(keys), case, data["tweaks"]),
            bytes.fromhex(case["aggnonce"]),
            bytes.fromhex(data["msg"]),
        )
        with pytest.raises(InvalidContributionError) as caught:
            session.signature(chosen(data["psigs"], case["psig_indices"]))
        assert caught.value.signer == case["error"]["signer"]


def test_nonces_that_signers_draw() -> None:
    """The host draws none: those of the vectors are read as a card's answer is, and are what their secrets make."""
    for case in vectors("bip327-nonce_gen")["test_cases"]:
        public, secret = bytes.fromhex(case["expected_pubnonce"]), bytes.fromhex(case["expected_secnonce"])
        assert GenerateNonce().decode(public) == aggregate_nonces([public]) == public
        halves = [written(multiplied(int.from_bytes(secret[at : at + 32], "big"), G)) for at in (0, 32)]
        assert b"".join(halves) == public and secret[64:] == bytes.fromhex(case["pk"])


def test_a_signer_who_comes_last() -> None:
    """As a card does, once the nonces of all others are there (DeterministicSign): nonce and part verify."""
    data = vectors("bip327-det_sign")

    def session(case: dict[str, Any], own: bytes) -> tuple[Session, list[bytes]]:
        keys = chosen(data["pubkeys"], case["key_indices"])
        aggregate = aggregate_keys(keys)
        for tweak, xonly in zip(case["tweaks"], case["is_xonly"], strict=True):
            aggregate = aggregate.tweaked(bytes.fromhex(tweak), xonly=xonly)
        nonces = aggregate_nonces([bytes.fromhex(case["aggothernonce"]), own])
        return Session(aggregate, nonces, bytes.fromhex(data["msgs"][case["msg_index"]])), keys

    for case in data["valid_test_cases"]:
        nonce, partial = map(bytes.fromhex, case["expected"])
        made, keys = session(case, nonce)
        own = keys[case["signer_index"]]
        assert made.verify(partial, nonce, own) and not made.verify(bytes(31) + b"\1", nonce, own)
    good = bytes.fromhex(data["valid_test_cases"][0]["expected"][0])
    for case in data["error_test_cases"]:
        with pytest.raises(UsageError):
            made, keys = session(case, good)
            made.verify(bytes(32), good, bytes.fromhex(data["pubkeys"][0]))


def test_the_extended_key_of_an_aggregate() -> None:
    for case in vectors("bip328"):
        aggregate = aggregate_keys([bytes.fromhex(key) for key in case["keys"]])
        assert aggregate.key.hex() == case["aggregate_pubkey"]
        extended = ExtendedPublicKey(aggregate.key, CHAIN_CODE)
        assert extended.to_string(MAIN) == case["xpub"]
        for levels in ((0,), (1, 5), (0, 2**31 - 1)):
            child = extended
            for level in levels:
                child = child.child(level)
            assert aggregate.derived(levels).key == child.public_key
        with pytest.raises(UsageError, match="unhardened"):
            aggregate.derived([2**31])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.integers(1, ORDER - 1), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, ORDER - 1), st.booleans()), max_size=2),
    st.binary(min_size=32, max_size=32),
)
def test_with_other_signers(secrets: list[int], tweaks: list[tuple[int, bool]], message: bytes) -> None:
    """Whatever the parities: the parts verify, and together they make a signature for the tweaked key."""
    signers = [Cosigner(secret) for secret in secrets]
    theirs = Aggregate([signer.key for signer in signers], tweaks)
    ours = aggregate_keys([signer.key for signer in signers])
    for value, xonly in tweaks:
        ours = ours.tweaked(value.to_bytes(32, "big"), xonly=xonly)
    assert ours.xonly == theirs.xonly
    nonces = [signer.nonce() for signer in signers]
    session = Session(ours, aggregate_nonces(nonces), message)
    partials = [signer.sign(theirs, session.nonces, message) for signer in signers]
    assert all(
        session.verify(part, nonce, signer.key) for part, nonce, signer in zip(partials, nonces, signers, strict=True)
    )
    assert verify_schnorr(ours.xonly, message, session.signature(partials))
    # Another message, another signer's nonce, a changed part: none of them is this signature.
    other = Session(ours, session.nonces, bytes(32))
    assert message == bytes(32) or not other.verify(partials[0], nonces[0], signers[0].key)
    changed = ((int.from_bytes(partials[0], "big") + 1) % ORDER).to_bytes(32, "big")
    assert not session.verify(changed, nonces[0], signers[0].key)


def test_what_is_no_session() -> None:
    signer = Cosigner(7)
    aggregate = aggregate_keys([signer.key])
    nonce = signer.nonce()
    session = Session(aggregate, aggregate_nonces([nonce]), bytes(31))
    with pytest.raises(UsageError, match="32 bytes"):
        session.signature([bytes(32)])
    with pytest.raises(UsageError, match="not one of those"):
        session.verify(bytes(32), nonce, Cosigner(8).key)
    assert not session.verify(ORDER.to_bytes(32, "big"), nonce, signer.key)
    assert not session.verify(bytes(32), bytes(66), signer.key)
    with pytest.raises(UsageError, match="no key"):
        aggregate_keys([])
    with pytest.raises(UsageError, match="infinity"):
        _to_infinity()


def _to_infinity() -> KeyAggregate:
    """The key of one signer, and the tweak that takes all of it away."""
    aggregate = aggregate_keys([Cosigner(1).key])
    one = Aggregate([Cosigner(1).key])
    return aggregate.tweaked((-one.coefficient(Cosigner(1).key) % ORDER).to_bytes(32, "big"), xonly=False)
