"""Paths and extended keys: BIP32 vectors, the card's 106 bytes, what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path as File

import pytest
from embit import bip32 as oracle
from hypothesis import given
from hypothesis import strategies as st

from cryptnox_core.bip32 import (
    HARDENED,
    MASTER,
    TPUB,
    ExtendedPublicKey,
    InvalidExtendedKeyError,
    InvalidPathError,
    KeyOrigin,
    Path,
    fingerprint,
)
from cryptnox_core.errors import MalformedResponseError, UsageError

OWN = File(__file__).parent / "vectors" / "bip32.json"


def check_vectors(entries: list[dict[str, object]]) -> int:
    """Every path with unhardened levels behind a known ancestor is derived from it; all keys are parsed and written."""
    derived = 0
    for entry in entries:
        known = {MASTER: ExtendedPublicKey.from_string(entry["xpub"])}
        for vector in entry["vectors"]:
            path, key = Path.parse(vector["path"]), ExtendedPublicKey.from_string(vector["xpub"])
            assert key.to_string() == vector["xpub"]
            assert (key.depth, key.child_number) == (path.depth, path.steps[-1])
            ancestor = known.get(path.parent)
            if ancestor is not None:
                assert key.parent_fingerprint == ancestor.fingerprint
                if path.steps[-1] < HARDENED:
                    assert ancestor.child(path.steps[-1]) == key
                    assert ancestor.child_public_key(path.steps[-1]) == key.public_key
                    derived += 1
            known[path] = key
    return derived


def test_own_vectors() -> None:
    assert check_vectors(json.loads(OWN.read_text())) >= 8


def test_all_published_vectors(vectors: File) -> None:
    assert check_vectors(json.loads((vectors / "bip32.json").read_text())) >= 96


@given(st.binary(min_size=16, max_size=64), st.lists(st.integers(0, HARDENED - 1), max_size=4))
def test_public_derivation_agrees_with_private_derivation(seed: bytes, steps: list[int]) -> None:
    root = oracle.HDKey.from_seed(seed)
    ours = ExtendedPublicKey.from_string(root.to_public().to_string())
    path = Path(tuple(steps))
    assert ours.derive(path).to_string() == root.derive(list(steps)).to_public().to_string()


class TestFromCard:
    KEY = oracle.HDKey.from_seed(bytes(32)).derive("m/84h/0h/3h")
    PARENT = oracle.HDKey.from_seed(bytes(32)).derive("m/84h/0h")

    def answer(self, parent: bytes | None = None) -> bytes:
        return b"".join(
            (
                bytes.fromhex("0488B21E"),
                b"\x03",
                hashlib.sha256(self.PARENT.to_public().key.sec()).digest() if parent is None else parent,
                (3 | HARDENED).to_bytes(4, "big"),
                self.KEY.chain_code,
                self.KEY.to_public().key.sec(),
            )
        )

    def test_parent_fingerprint_comes_from_sha256(self) -> None:
        assert ExtendedPublicKey.from_card(self.answer()).to_string() == self.KEY.to_public().to_string()

    def test_zero_parent_stays_zero(self) -> None:
        assert ExtendedPublicKey.from_card(self.answer(bytes(32))).parent_fingerprint == bytes(4)

    @pytest.mark.parametrize("cut", [slice(0, 105), slice(0, 0), slice(1, None)])
    def test_wrong_length(self, cut: slice) -> None:
        with pytest.raises(MalformedResponseError):
            ExtendedPublicKey.from_card(self.answer()[cut])

    def test_trailing_bytes_are_not_looked_at(self) -> None:
        plain = ExtendedPublicKey.from_card(self.answer())
        assert ExtendedPublicKey.from_card(self.answer() + bytes(16)) == plain

    def test_wrong_version(self) -> None:
        with pytest.raises(MalformedResponseError):
            ExtendedPublicKey.from_card(TPUB + self.answer()[4:])

    def test_no_point(self) -> None:
        with pytest.raises(MalformedResponseError):
            ExtendedPublicKey.from_card(self.answer()[:-33] + b"\x02" + b"\xff" * 32)


class TestPath:
    @pytest.mark.parametrize("text", ["m/84h/0'/0H/1/5", "84'/0h/0h/1/5", " m/84h/0h/0h/1/5 "])
    def test_spellings(self, text: str) -> None:
        path = Path.parse(text)
        assert path.steps == (84 | HARDENED, HARDENED, HARDENED, 1, 5)
        assert str(path) == "m/84h/0h/0h/1/5"

    @pytest.mark.parametrize("text", ["", "m", "m/"])
    def test_master(self, text: str) -> None:
        assert Path.parse(text) == MASTER
        assert str(MASTER) == "m"

    @pytest.mark.parametrize(
        "text", ["m//0", "m/0/", "x/0", "m/-1", "m/2147483648", "m/0hh", "m/1.0", "m/٣", "/0", "m/h", "0x1", "m/+1"]
    )
    def test_refused(self, text: str) -> None:
        with pytest.raises(InvalidPathError):
            Path.parse(text)

    @given(st.lists(st.integers(0, 0xFFFFFFFF), max_size=8))
    def test_round_trips(self, steps: list[int]) -> None:
        path = Path(tuple(steps))
        assert Path.parse(str(path)) == path
        assert Path.from_bytes(path.to_bytes()) == path
        little = b"".join(step.to_bytes(4, "little") for step in steps)
        assert Path.from_bytes(little, "little") == path

    def test_bytes_of_half_a_level(self) -> None:
        with pytest.raises(InvalidPathError):
            Path.from_bytes(bytes(5))

    def test_relations(self) -> None:
        account, leaf = Path.parse("m/84h/0h/0h"), Path.parse("m/84h/0h/0h/1/5")
        assert leaf.starts_with(account) and not account.starts_with(leaf)
        assert leaf.below(account) == Path((1, 5))
        assert account.extend(Path((1, 5))) == leaf
        assert leaf.parent.parent == account
        assert account.child(1).child(5) == leaf
        assert leaf.below(account).is_unhardened and not leaf.is_unhardened
        with pytest.raises(InvalidPathError):
            account.below(leaf)
        with pytest.raises(InvalidPathError):
            _ = MASTER.parent

    def test_bounds(self) -> None:
        with pytest.raises(InvalidPathError):
            Path((1 << 32,))
        with pytest.raises(InvalidPathError):
            Path((0,) * 256)


class TestExtendedKey:
    KEY = ExtendedPublicKey.from_string(json.loads(OWN.read_text())[0]["xpub"])

    def test_networks(self) -> None:
        assert self.KEY.to_string(TPUB).startswith("tpub")
        assert ExtendedPublicKey.from_string(self.KEY.to_string(TPUB)) == self.KEY
        assert ExtendedPublicKey.from_bytes(self.KEY.to_bytes()) == self.KEY

    def test_private_key_is_refused_and_not_quoted(self) -> None:
        secret = json.loads(OWN.read_text())[0]["xprv"]
        with pytest.raises(InvalidExtendedKeyError) as caught:
            ExtendedPublicKey.from_string(secret)
        assert secret not in str(caught.value)

    def test_hardened_child_is_refused(self) -> None:
        with pytest.raises(InvalidPathError):
            self.KEY.child(HARDENED)

    @pytest.mark.parametrize(
        "change",
        [
            {"public_key": b"\x02" + b"\xff" * 32},
            {"public_key": bytes(32)},
            {"chain_code": bytes(31)},
            {"parent_fingerprint": bytes(3)},
            {"depth": 256},
            {"depth": 0, "child_number": 1},
            {"depth": 0, "parent_fingerprint": b"abcd"},
        ],
    )
    def test_inconsistent_fields(self, change: dict[str, object]) -> None:
        fields = {"public_key": self.KEY.public_key, "chain_code": self.KEY.chain_code, **change}
        with pytest.raises(InvalidExtendedKeyError):
            ExtendedPublicKey(**fields)

    @pytest.mark.parametrize("text", ["", "xpub", "0OIl", "x" * 500])
    def test_no_base58(self, text: str) -> None:
        with pytest.raises(UsageError):
            ExtendedPublicKey.from_string(text)

    def test_one_changed_character(self) -> None:
        text = self.KEY.to_string()
        with pytest.raises(UsageError):
            ExtendedPublicKey.from_string(text[:-1] + ("A" if text[-1] != "A" else "B"))

    def test_chain_code_is_not_shown(self) -> None:
        assert self.KEY.chain_code.hex() not in repr(self.KEY) and str(self.KEY.chain_code) not in repr(self.KEY)


def test_key_origin() -> None:
    origin = KeyOrigin.parse("[73c5da0a/84'/0h/0h]")
    assert str(origin) == "[73c5da0a/84h/0h/0h]" and origin.path == Path.parse("m/84h/0h/0h")
    assert KeyOrigin.parse("[73c5da0a]").path == MASTER
    for text in ("73c5da0a/0", "[73c5da0]", "[73c5da0a/x]", "[73c5da0a//0]"):
        with pytest.raises(UsageError):
            KeyOrigin.parse(text)


def test_fingerprint_of_the_well_known_seed() -> None:
    root = oracle.HDKey.from_string(json.loads(OWN.read_text())[0]["xprv"])
    assert fingerprint(root.to_public().key.sec()) == bytes.fromhex("73c5da0a")
