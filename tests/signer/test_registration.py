"""A card's signature over a wallet's name and descriptor, HWI's text around it, and whose it is."""

from __future__ import annotations

import base64
import hashlib

import pytest

from cryptnox_core.crypto.secp256k1 import ORDER, from_compact, parse_der
from hwilib_cryptnox.psbt.sighash import Sighash, SignatureHasher
from hwilib_cryptnox.signer.messages import message_digest
from hwilib_cryptnox.signer.registered.registration import (
    REGISTRATION_PATH,
    TAG,
    Registration,
    encode,
    registration_digest,
    verify,
)
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy
from tests.psbt.factory import ME, OTHER, compact, sha, spend, string
from tests.signer.test_wallets import FAMILY, LEAVES, RECOVERY, key
from tests.support.versions import parsed

NAME = "Family"
POLICY = WalletPolicy.parse(FAMILY)
PRIVATE = ME.private(REGISTRATION_PATH)
PUBLIC = PRIVATE.public_key.format()


def signed(name: str = NAME, policy: WalletPolicy = POLICY) -> Registration:
    signature = PRIVATE.sign(registration_digest(name, policy.descriptor), hasher=None)
    return Registration(name, policy, encode(signature))


def good(registration: Registration, key: bytes = PUBLIC) -> bool:
    return verify(key, registration.name, registration.descriptor, registration.registration)


def test_the_path() -> None:
    assert str(REGISTRATION_PATH) == "m/1380271955h"
    assert bytes.fromhex(f"{1380271955:x}") == b"REGS"


def test_the_digest_is_one_sha256_with_a_prefix_of_its_own() -> None:
    """Transactions, messages and all of taproot have another: the SHA-256 of 32 bytes, or of another tag."""
    mark = hashlib.sha256(TAG.encode()).digest()
    content = b"\x01" + string("Für uns".encode()) + string(POLICY.descriptor.encode())
    assert registration_digest("Für uns", POLICY.descriptor) == hashlib.sha256(mark * 2 + content).digest()
    for tag in ("TapSighash", "TapLeaf", "TapBranch", "TapTweak", "BIP0322-signed-message", "BIP0340/challenge"):
        assert hashlib.sha256(tag.encode()).digest() != mark


def test_the_digest_tells_name_and_descriptor_apart() -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc"), ("a" * 253, "b"), ("a" * 252, "ab")]
    assert len({registration_digest(*pair) for pair in pairs}) == len(pairs)


def test_a_registration_is_no_signature_of_anything_else() -> None:
    """The bytes that were signed, given as a message, have another digest; and no digest of a transaction is its."""
    content = b"\x01" + string(NAME.encode()) + string(POLICY.descriptor.encode())
    preimage = hashlib.sha256(TAG.encode()).digest() * 2 + content
    digest = registration_digest(NAME, POLICY.descriptor)
    item = spend("p2wpkh")
    from hwilib_cryptnox.psbt import Psbt
    from tests.psbt.factory import draft

    hasher = SignatureHasher(Psbt.parse(draft(item).encode()).tx)
    others = {
        message_digest(preimage),
        message_digest(content),
        sha(sha(preimage)),
        hasher.legacy(0, item.script, Sighash.ALL),
    }
    assert digest not in others


def test_verify() -> None:
    registration = signed()
    assert good(registration) and len(registration.registration) == 65 and registration.registration[0] == 1
    assert not good(registration, OTHER.key(REGISTRATION_PATH))
    assert not good(registration, ME.key("m/0"))
    assert not verify(PUBLIC, "family", POLICY.descriptor, registration.registration)
    assert not verify(PUBLIC, NAME, WalletPolicy.parse(RECOVERY).descriptor, registration.registration)
    assert not verify(PUBLIC, NAME, POLICY.descriptor, b"")
    assert not verify(PUBLIC, NAME, POLICY.descriptor, b"\x01" + bytes(64))


def test_high_s_is_refused() -> None:
    registration = signed().registration
    r, s = parse_der(from_compact(registration[1:]))
    high = b"\x01" + r.to_bytes(32, "big") + (ORDER - s).to_bytes(32, "big")
    assert not verify(PUBLIC, NAME, POLICY.descriptor, high)


def test_every_changed_byte_is_seen() -> None:
    registration = signed().registration
    for at in range(len(registration)):
        for bit in (1, 0x80):
            bent = bytearray(registration)
            bent[at] ^= bit
            assert not verify(PUBLIC, NAME, POLICY.descriptor, bytes(bent))
    assert not verify(PUBLIC, NAME, POLICY.descriptor, registration + b"\x00")
    assert not verify(PUBLIC, NAME, POLICY.descriptor, registration[:-1])


# --- HWI's text


@pytest.mark.parametrize("text", [FAMILY, RECOVERY, LEAVES])
@pytest.mark.parametrize("name", [NAME, "Für uns", "x" * 64])
def test_the_text_comes_back(text: str, name: str) -> None:
    registration = signed(name, parsed(text))
    assert Registration.parse(f" {registration.to_text()}\n") == registration


def parts(**changes: bytes) -> str:
    """The text of a registration with parts of it changed, as HWI serializes it."""
    registration = signed()
    fields = {
        "magic": b"rdesc",
        "version": compact(1),
        "name": string(NAME.encode()),
        "descriptor": string(POLICY.descriptor.encode()),
        "device": string(b"cryptnox"),
        "registration": string(registration.registration),
        "rest": b"",
        **changes,
    }
    return base64.b64encode(b"".join(fields.values())).decode()


def test_the_layout_is_hwis() -> None:
    assert signed().to_text() == parts()


BENT = {
    "no base64": ("rdesc!", "not base64"),
    "nothing": ("", "not base64"),
    "another magic": (parts(magic=b"rdesk"), "does not begin"),
    "another version": (parts(version=compact(2)), "has version 2"),
    "a long version": (parts(version=b"\xff" + bytes(7) + b"\x01"), "has version"),
    "another device": (parts(device=string(b"ledger")), "another type"),
    "another device in capitals": (parts(device=string(b"Cryptnox")), "another type"),
    "no signature": (parts(registration=string(b"")), "no signature from a Cryptnox card"),
    "another signature version": (parts(registration=string(b"\x02" + bytes(64))), "no signature from a Cryptnox card"),
    "a long signature": (parts(registration=string(b"\x01" + bytes(65))), "no signature from a Cryptnox card"),
    "bytes left over": (parts(rest=b"\x00"), "extra bytes after its end"),
    "a name with a control character": (parts(name=string(b"Fam\x1bily")), "visible characters"),
    "a name that is no UTF-8": (parts(name=string(b"Fam\xffily")), "damaged"),
    "a name that is not composed": (parts(name=string("Fu\u0308r".encode())), "form in which names are signed"),
    "no name": (parts(name=string(b"")), "1 to 64 characters"),
    "a descriptor of one key": (parts(descriptor=string(f"wpkh({key(ME)})".encode())), "one key alone"),
    "no descriptor": (parts(descriptor=string(b"")), "no descriptor"),
    "a descriptor with a wrong checksum": (parts(descriptor=string(f"{FAMILY}#qqqqqqqq".encode())), "checksum"),
    "a private key": (
        parts(
            descriptor=string(
                b"wsh(multi(1,xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55Q"
                b"n3LqFtT2emdEXVYsCzC2U/<0;1>/*))"
            )
        ),
        "private key",
    ),
    "too long": ("A" * 100_000, "too long"),
}


@pytest.mark.parametrize("name", BENT)
def test_bent_texts_are_refused(name: str) -> None:
    text, reason = BENT[name]
    with pytest.raises(PolicyError, match=reason):
        Registration.parse(text)


def test_every_text_that_is_cut_or_changed_is_refused_or_not_signed() -> None:
    raw = base64.b64decode(signed().to_text())
    for at in range(len(raw)):
        for bent in (raw[:at], raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :], raw[:at] + raw[at + 1 :]):
            try:
                registration = Registration.parse(base64.b64encode(bent).decode())
            except PolicyError:
                continue
            assert not good(registration), at


def test_another_writing_of_the_descriptor_is_the_same_registration() -> None:
    """HWI reads and writes the descriptor anew: how hardened levels are marked may change, the wallet does not."""
    written = POLICY.descriptor.split("#")[0].replace("48h/0h/0h/2h", "48'/0'/0'/2'")
    registration = Registration.parse(parts(descriptor=string(written.encode())))
    assert registration == signed() and good(registration)


def test_hwi_reads_it() -> None:
    """With HWI's own class, where the installed version has it."""
    hwi = pytest.importorskip("hwilib.descriptor")
    if not hasattr(hwi, "RegisteredDescriptor"):
        pytest.skip("this version of hwilib knows no registrations")
    made = hwi.RegisteredDescriptor.deserialize(signed().to_text())
    assert (made.name, made.device_type) == (NAME, "cryptnox")
    assert Registration.parse(made.serialize()) == signed()
