"""Keys of the emulated card: trees against published vectors and embit, current keys, extended keys, clear reading."""

from __future__ import annotations

import hashlib

import pytest
from embit import bip32

from cryptnox_core.emulator.curves import compress
from cryptnox_core.emulator.keys import master
from cryptnox_core.wire import Curve, KeySource
from tests.emulator.client import OK, PUK, SEED, H, Host, host, path, ready_memory, seeded_memory

SLIP10_R1 = [
    ((), "612091aaa12e22dd2abef664f8a01a82cae99ad7441b7ef8110424915c268bc2"),
    ((H,), "6939694369114c67917a182c59ddb8cafc3004e63ca5d3b84403ba8613debc0c"),
    ((H, 1), "284e9d38d07d21e4e281b645089a94f4cf5a5a81369acf151a1c3a57f18b2129"),
    ((H, 1, H + 2), "694596e8a54f252c960eb771a3c41e7e32496d03b954aeb90f61635b8e092aa7"),
    ((H, 1, H + 2, 2, 1000000000), "21c4f269ef0a5fd1badf47eeacebeeaa3de22eb8e5b0adcd0f27dd99d34d0119"),
]
"""SLIP-0010, test vector 1 for nist256p1: private keys."""
ROOT = bip32.HDKey.from_seed(SEED)
ACCOUNT = (H + 84, H, H)


def public(levels: tuple[int, ...]) -> bytes:
    return bytes(ROOT.derive(list(levels)).get_public_key().sec())


def open_card(**changes: object) -> Host:
    card = host(seeded_memory(**changes))
    card.verify()
    return card


def current(card: Host, curve: int = 0) -> bytes:
    return compress(card.get(0xC2, curve, 1))


def at(card: Host, curve: int = 0) -> bytes:
    return card.get(0xC2, curve, 0)


@pytest.mark.parametrize(("levels", "secret"), SLIP10_R1)
def test_slip10(levels: tuple[int, ...], secret: str) -> None:
    assert f"{master(Curve.R1, SEED).descend(levels).secret:064x}" == secret


def test_slip10_derivation_retry() -> None:
    node = master(Curve.R1, SEED).descend((28578 + H, 33941))
    assert f"{node.secret:064x}" == "092154eed4af83e078ff9b84322015aefe5769e31270f62c3f66c33888335f3a"
    assert node.chain == bytes.fromhex("9e87fe95031f14736774cd82f25fd885065cb7c358c1edf813c72af535e83071")


def test_slip10_seed_retry() -> None:
    seed = bytes.fromhex("a7305bc8df8d0951f0cb224c0e95d7707cbdf2c6ce7e8d481fec69c7ff5e9446")
    assert f"{master(Curve.R1, seed).secret:064x}" == "3b8c18469a4634517d6d0b65448f8e6c62091b45540a1743c5846be55d47d88f"


def test_derive_from_master_parent_and_current() -> None:
    card = open_card()
    assert at(card) == b"" and current(card) == public(())
    assert card.status(0xD1, 0x40) == 0x6B00
    assert card.status(0xD1, 0, 0, path(*ACCOUNT, 0)) == OK
    assert at(card) == path(*ACCOUNT, 0) and current(card) == public((*ACCOUNT, 0))
    assert card.status(0xD1, 0x40, 0, path(1)) == OK
    assert current(card) == public((*ACCOUNT, 1))
    assert card.status(0xD1, 0x80, 0, path(5, 6)) == OK
    assert current(card) == public((*ACCOUNT, 1, 5, 6))
    assert card.status(0xD1, 0x40, 0, path(7)) == OK
    assert current(card) == public((*ACCOUNT, 1, 5, 7))
    assert card.status(0xD1, 0x80) == OK
    assert card.status(0xD1, 0x40) == OK
    assert current(card) == public((*ACCOUNT, 1, 5))
    assert card.status(0xD1, 0x40, 0, path(1)) == 0x6B00  # only the immediate parent is remembered
    assert card.status(0xD1) == OK
    assert at(card) == b""
    assert card.card.counters.derivations == 4 + 1 + 2 + 1


def test_derive_ignores_the_sdks_bit() -> None:
    card = open_card()
    assert card.status(0xD1, 0x08, 0, path(H)) == OK
    assert at(card) == path(H)


@pytest.mark.parametrize("p1", [0x01, 0x02, 0x04, 0x20, 0xC0])
def test_derive_knows_its_p1(p1: int) -> None:
    assert open_card().status(0xD1, p1, 0) == 0x6A86


def test_depth() -> None:
    card = open_card()
    assert card.status(0xD1, 0, 0, path(*range(9))) == 0x6A80
    assert card.status(0xD1, 0, 0, bytes(5)) == 0x6A80
    assert card.status(0xD1, 0, 0, path(*range(8))) == OK
    assert card.status(0xD1, 0x80, 0, path(1)) == 0x6A80
    assert card.status(0xC2, 0x81, 1, path(1)) == 0x6A80
    assert at(card) == path(*range(8))
    assert card.card.counters.derivations == 8


def test_each_curve_has_its_own_current_key() -> None:
    card = open_card()
    card.get(0xD1, 0x00, 0, path(H, 1))
    card.get(0xD1, 0x10, 0, path(H))
    assert at(card) == path(H, 1) and at(card, 0x10) == path(H)
    expected = master(Curve.R1, SEED).descend((H,)).point
    assert card.get(0xC2, 0x10, 1) == expected


def test_on_the_fly() -> None:
    card = open_card()
    card.get(0xD1, 0, 0, path(*ACCOUNT))
    assert compress(card.get(0xC2, 0x01, 1, path(3))) == public((3,))
    assert compress(card.get(0xC2, 0x81, 1, path(0, 3))) == public((*ACCOUNT, 0, 3))
    assert compress(card.get(0xC2, 0x41, 1, path(H + 5))) == public((*ACCOUNT[:2], H + 5))
    assert at(card) == path(*ACCOUNT)
    assert card.card.counters.derivations == 3 + 1 + 2 + 1
    assert card.status(0xC2, 0x01, 1) == 0x6700
    assert card.status(0xC2, 0x01, 1, bytes(5)) == 0x6A80
    assert card.status(0xC2, 0x00, 1, path(1)) == 0x6700
    card.get(0xD1)
    assert card.status(0xC2, 0x41, 1, path(1)) == 0x6B00


@pytest.mark.parametrize(
    ("p1", "p2"), [(0, 3), (1, 0), (1, 2), (0x10, 2), (0x40, 1), (0x80, 0), (0xC1, 1), (0x02, 1), (0x20, 1), (0x08, 1)]
)
def test_get_public_key_knows_its_parameters(p1: int, p2: int) -> None:
    assert open_card(xpub_export=True).status(0xC2, p1, p2, path(1) if p1 & 1 else b"") == 0x6A86


def test_extended_key() -> None:
    card = open_card()
    card.get(0xD1, 0, 0, path(*ACCOUNT))
    assert card.status(0xC2, 0, 2) == 0x6985
    assert card.status(0xC5, 0, 0, b"\1" + PUK) == OK
    answer = card.get(0xC2, 0, 2)
    assert len(answer) == 106
    expected = ROOT.derive(list(ACCOUNT)).to_public()
    assert answer[:5] == bytes.fromhex("0488b21e03")
    assert answer[5:37] == hashlib.sha256(public(ACCOUNT[:2])).digest()
    assert hashlib.new("ripemd160", answer[5:37]).digest()[:4] == expected.fingerprint
    assert answer[37:41] == path(H)
    assert answer[41:73] == expected.chain_code
    assert answer[73:] == public(ACCOUNT)
    card.get(0xD1, 0, 0, path(*ACCOUNT[:2]))
    assert card.status(0xC2, 0, 2) == 0x6986
    assert card.status(0xC5, 0, 0, b"\0" + PUK) == OK
    assert card.status(0xC2, 0, 2) == 0x6985


def test_export_settings() -> None:
    card = host(ready_memory())
    assert card.status(0xC5, 0, 0, b"\1" + b"x" * 12) == 0x6985
    assert card.card.counters.puk_tries == 0
    card = host(seeded_memory())
    assert card.status(0xC5, 2, 0, b"\1" + PUK) == 0x6A86
    assert card.status(0xC5, 0, 0, PUK) == 0x6A80
    assert card.status(0xC5, 0, 0, b"\1" + b"x" * 12) == 0x63CB
    assert card.status(0xC5, 1, 0, b"\1" + PUK) == OK
    assert card.select()[4:6] == b"\x00\x72"


def test_pin_is_needed() -> None:
    card = host(seeded_memory(xpub_export=True))
    for p1, p2, data in ((0, 0, b""), (0, 1, b""), (1, 1, path(1)), (0, 2, b"")):
        assert card.status(0xC2, p1, p2, data) == 0x6985
    assert card.status(0xD1, 0, 0, path(1)) == 0x6985


def test_a_seed_is_needed() -> None:
    card = host(ready_memory())
    card.verify()
    for ins, p1, p2, data in ((0xD1, 0, 0, b""), (0xC2, 0, 1, b""), (0xC2, 0, 0, b""), (0xC6, 0, 0, b"")):
        assert card.status(ins, p1, p2, data) == 0x6985


def test_clear_reading() -> None:
    card = open_card()
    card.get(0xD1, 0, 0, path(*ACCOUNT))
    assert card.clear(0xC2, 0, 1)[0] == 0x6985
    card.get(0xC5, 1, 0, b"\1" + PUK)
    for frame in ("80C20001", "80C2000100"):
        card.select()
        status, answer = card.raw(bytes.fromhex(frame))
        assert status == OK and compress(answer) == public(ACCOUNT)
    assert len(card.clear(0xC2, 0x10, 1)[1]) == 65
    for p1, p2, data in ((0, 0, b""), (0, 2, b""), (1, 1, path(1)), (0, 1, path(1))):
        assert card.clear(0xC2, p1, p2, data) == (0x6985, b"")
    card.connect()
    assert compress(card.get(0xC2, 0, 1)) == public(ACCOUNT)  # no PIN
    assert card.status(0xC2, 0, 0) == 0x6985


def test_clear_reading_of_the_pinless_key() -> None:
    pinless = (H + 43, H + 60, H + 1581, 4)
    card = open_card()
    card.get(0xD1, 0, 0, path(*pinless))
    assert card.clear(0xC2, 0, 1)[0] == 0x6985
    assert card.status(0xC1, 0, 0, PUK + path(*pinless)) == OK
    assert compress(card.clear(0xC2, 0, 1)[1]) == public(pinless)
    card.get(0xD1)
    assert card.clear(0xC2, 0, 1)[0] == 0x6983
    assert card.clear(0xC2, 0x10, 1)[0] == 0x6983


def test_current_keys_survive_the_power_cycle() -> None:
    card = open_card()
    card.get(0xD1, 0, 0, path(*ACCOUNT))
    card.get(0xD1, 0x10, 0, path(H))
    restarted = host(card.card.memory)
    restarted.verify()
    assert at(restarted) == path(*ACCOUNT) and at(restarted, 0x10) == path(H)
    assert restarted.status(0xD1, 0x40, 0, path(H + 1)) == OK
    assert current(restarted) == public((*ACCOUNT[:2], H + 1))


def test_a_single_key_has_no_tree() -> None:
    card = host(ready_memory(key_source=KeySource.SINGLE, seed=bytes(31) + b"\5"))
    card.verify()
    assert card.status(0xD1) == OK
    assert card.status(0xD1, 0, 0, path(1)) == 0x6985
    assert card.status(0xC2, 0x10, 1) == 0x6985
    assert current(card)[1:].hex() == "2f8bde4d1a07209355b4a7250a5c5128e88b84bddc619ab7cba8d569b240efe4"
