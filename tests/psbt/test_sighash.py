"""Signature hashes against published vectors, and against embit where embit is right."""

from __future__ import annotations

import hashlib
import random

import pytest

from cryptnox_core.crypto.secp256k1 import taproot_output_key, verify_schnorr
from hwilib_cryptnox.psbt.script import kind_of, operations, remove_code_separators
from hwilib_cryptnox.psbt.sighash import SignatureHasher, tap_branch_hash, tap_leaf_hash
from hwilib_cryptnox.psbt.summary import address_of
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.factory import spend
from tests.psbt.published import load
from tests.support.curve import PrivateKey
from tests.support.versions import EMBIT_KNOWS_SCRIPT_PATHS

CORE = load("core-sighash.json")[1:]
BIP143 = load("bip143.json")["vectors"]
BIP341 = load("bip341-wallet.json")


def test_core_legacy_vectors() -> None:
    for raw, script, index, sighash, expected in CORE:
        tx = Transaction.parse(bytes.fromhex(raw))
        assert tx.encode() == bytes.fromhex(raw)
        digest = SignatureHasher(tx).legacy(index, bytes.fromhex(script), sighash & 0xFFFFFFFF)
        assert digest[::-1].hex() == expected


@pytest.mark.parametrize("vector", BIP143, ids=[f"{item[0]} 0x{item[5]:02x}" for item in BIP143])
def test_bip143(vector: list[object]) -> None:
    _, raw, index, script, amount, sighash, expected = vector
    hasher = SignatureHasher(Transaction.parse(bytes.fromhex(raw)))  # type: ignore[arg-type]
    digest = hasher.segwit_v0(index, bytes.fromhex(script), amount, sighash)  # type: ignore[arg-type]
    assert digest.hex() == expected


def test_bip341_key_path() -> None:
    for case in BIP341["keyPathSpending"]:
        spent = [(out["amountSats"], bytes.fromhex(out["scriptPubKey"])) for out in case["given"]["utxosSpent"]]
        hasher = SignatureHasher(Transaction.parse(bytes.fromhex(case["given"]["rawUnsignedTx"])), spent)
        for item in case["inputSpending"]:
            given = item["given"]
            digest = hasher.taproot(given["txinIndex"], given["hashType"])
            assert digest.hex() == item["intermediary"]["sigHash"]
            signature = bytes.fromhex(item["expected"]["witness"][0])
            assert verify_schnorr(spent[given["txinIndex"]][1][2:], digest, signature[:64])


def _tree(node: object, found: list[tuple[bytes, bytes]]) -> bytes:
    if isinstance(node, dict):
        leaf = tap_leaf_hash(bytes.fromhex(node["script"]), node["leafVersion"])
        found.append((leaf, bytes((node["leafVersion"],))))
        return leaf
    left, right = (_tree(child, found) for child in node)  # type: ignore[attr-defined]
    return tap_branch_hash(left, right)


def test_bip341_trees_and_addresses() -> None:
    for case in BIP341["scriptPubKey"]:
        tree, expected = case["given"]["scriptTree"], case["expected"]
        found: list[tuple[bytes, bytes]] = []
        root = _tree(tree, found) if tree else b""
        assert root.hex() == (case["intermediary"]["merkleRoot"] or "")
        assert [leaf.hex() for leaf, _ in found] == case["intermediary"].get("leafHashes", [])
        key, _ = taproot_output_key(bytes.fromhex(case["given"]["internalPubkey"]), root)
        assert (b"\x51\x20" + key).hex() == expected["scriptPubKey"]
        assert address_of(b"\x51\x20" + key) == expected["bip350Address"]


def _random_transaction(rng: random.Random, inputs: int, outputs: int) -> tuple[Transaction, list[tuple[int, bytes]]]:
    scripts = [b"\x51\x20" + rng.randbytes(32), b"\x00\x14" + rng.randbytes(20), b"\x00\x20" + rng.randbytes(32)]
    tx = Transaction(
        version=rng.randbytes(4),
        outpoints=tuple(rng.randbytes(36) for _ in range(inputs)),
        sequences=tuple(rng.randbytes(4) for _ in range(inputs)),
        outputs=tuple((rng.randrange(1 << 40), rng.choice(scripts)) for _ in range(outputs)),
        lock_time=rng.randbytes(4),
        script_sigs=(b"",) * inputs,
    )
    return tx, [(rng.randrange(1 << 40), rng.choice(scripts)) for _ in range(inputs)]


def test_agrees_with_embit_where_embit_is_right() -> None:
    """Segwit v0 with every type, taproot ALL and NONE, legacy ALL and NONE."""
    from embit.script import Script
    from embit.transaction import Transaction as EmbitTransaction

    rng = random.Random(7)
    for _ in range(40):
        tx, spent = _random_transaction(rng, rng.randrange(1, 5), rng.randrange(1, 5))
        other = EmbitTransaction.parse(tx.encode())
        hasher = SignatureHasher(tx, spent)
        index = rng.randrange(len(spent))
        script = spent[index][1]
        for sighash in (1, 2, 3, 0x81, 0x82, 0x83):
            mine = hasher.segwit_v0(index, script, spent[index][0], sighash)
            assert mine == other.sighash_segwit(index, Script(script), spent[index][0], sighash)
        for sighash in (1, 2, 0x81, 0x82):
            assert hasher.legacy(index, script, sighash) == other.sighash_legacy(index, Script(script), sighash)
        amounts, scripts = [amount for amount, _ in spent], [Script(item) for _, item in spent]
        for sighash in (0, 1, 2):
            assert hasher.taproot(index, sighash) == other.sighash_taproot(index, scripts, amounts, sighash)


@EMBIT_KNOWS_SCRIPT_PATHS
def test_agrees_with_embit_about_annex_and_leaf() -> None:
    """Taproot ALL and NONE, key and script path, without and with an annex and an executed OP_CODESEPARATOR."""
    from embit.script import Script
    from embit.transaction import Transaction as EmbitTransaction

    rng = random.Random(8)
    for _ in range(20):
        tx, spent = _random_transaction(rng, rng.randrange(1, 5), rng.randrange(1, 5))
        other = EmbitTransaction.parse(tx.encode())
        hasher = SignatureHasher(tx, spent)
        index, leaf, separator = rng.randrange(len(spent)), rng.randbytes(34), rng.randrange(100)
        amounts, scripts = [amount for amount, _ in spent], [Script(item) for _, item in spent]
        for sighash in (0, 1, 2):
            for annex in (None, b"\x50" + rng.randbytes(30)):
                mine = hasher.taproot(index, sighash, annex=annex)
                assert mine == other.sighash_taproot(index, scripts, amounts, sighash, annex=annex)
                common = {"ext_flag": 1, "annex": annex, "script": Script(leaf)}
                mine = hasher.taproot(index, sighash, leaf_hash=tap_leaf_hash(leaf), annex=annex)
                assert mine == other.sighash_taproot(index, scripts, amounts, sighash, **common)
                mine = hasher.taproot(
                    index, sighash, leaf_hash=tap_leaf_hash(leaf), annex=annex, code_separator=separator
                )
                common["codeseparator_pos"] = separator
                assert mine == other.sighash_taproot(index, scripts, amounts, sighash, **common)


def test_order_of_inputs_does_not_matter() -> None:
    """The state kept between legacy inputs is no more than a short cut."""
    rng = random.Random(3)
    tx, _ = _random_transaction(rng, 9, 2)
    expected = [SignatureHasher(tx).legacy(index, b"\x51", 1) for index in range(9)]
    hasher = SignatureHasher(tx)
    for index in (*range(9), *reversed(range(9)), 4, 4, 8, 0):
        assert hasher.legacy(index, b"\x51", 1) == expected[index]


def test_legacy_single_without_output_is_one() -> None:
    """Computed as consensus has it; the policy never lets it be signed."""
    tx, _ = _random_transaction(random.Random(1), 3, 1)
    assert SignatureHasher(tx).legacy(2, b"\x51", 3) == b"\x01" + bytes(31)


@pytest.mark.parametrize("sighash", [0x04, 0x80, 0x84, 0xFF, 0x100])
def test_taproot_has_no_undefined_types(sighash: int) -> None:
    tx, spent = _random_transaction(random.Random(1), 3, 3)
    with pytest.raises(ValueError, match="not defined"):
        SignatureHasher(tx, spent).taproot(0, sighash)


def test_taproot_wants_every_output_and_the_single_one() -> None:
    tx, spent = _random_transaction(random.Random(1), 3, 1)
    with pytest.raises(ValueError, match="without its output"):
        SignatureHasher(tx, spent).taproot(1, 3)
    with pytest.raises(ValueError, match="every output"):
        SignatureHasher(tx, [*spent[:2], None]).taproot(0, 0)
    with pytest.raises(ValueError, match="not known"):
        SignatureHasher(tx, [None, *spent[1:]]).taproot(0, 0x81)


def test_code_separators_and_broken_pushes() -> None:
    assert remove_code_separators(b"\xab\x51\xab\x01\xab\xac") == b"\x51\x01\xab\xac"
    assert remove_code_separators(b"\x51\xab\x4c\xff\xab") == b"\x51\x4c\xff\xab"
    for broken in (b"\x02\x00", b"\x4c", b"\x4d\x01", b"\x4e\x01\x00\x00\x00", b"\x4e\xff\xff\xff\xff"):
        with pytest.raises(ValueError, match="runs past the end"):
            list(operations(broken))


def test_kinds() -> None:
    expected = {"p2pkh": "P2PKH", "p2pk": "P2PK", "p2wpkh": "P2WPKH", "p2sh": "P2SH", "multisig": "bare multisig"}
    for kind, value in expected.items():
        assert kind_of(spend(kind).script).value == value


def test_schnorr_keys_of_both_parities() -> None:
    """The digest does not depend on it, the check of the signature must not either."""
    for number in range(1, 9):
        private = PrivateKey(number.to_bytes(32, "big"))
        digest = hashlib.sha256(bytes((number,))).digest()
        assert verify_schnorr(private.public_key.format()[1:], digest, private.sign_schnorr(digest))
