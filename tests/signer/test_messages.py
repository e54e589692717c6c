"""Signed messages."""

from __future__ import annotations

import base64
import hashlib

import pytest
from embit.script import address_to_scriptpubkey

from cryptnox_core.crypto.hashes import hash160
from cryptnox_core.crypto.secp256k1 import InvalidSignatureError
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt.change import single_key_scripts
from hwilib_cryptnox.psbt.script import p2pkh
from hwilib_cryptnox.signer.messages import (
    encode_signature,
    is_legacy,
    message_digest,
    recover_public_key,
    verify_for_script,
)
from tests.support.curve import PrivateKey, PublicKey
from tests.support.signed_message import verify_message

KEY = PrivateKey(hashlib.sha256(b"message key").digest())
PUBLIC = KEY.public_key.format()
HEADS = {0: "00", 1: "01", 252: "fc", 253: "fdfd00", 65535: "fdffff", 65536: "fe00000100", 1_000_000: "fe40420f00"}


@pytest.mark.parametrize("length", HEADS)
def test_digest(length: int) -> None:
    """The layout written out: magic with its length, length of the message, message; SHA-256 twice."""
    message = b"m" * length
    raw = b"\x18Bitcoin Signed Message:\n" + bytes.fromhex(HEADS[length]) + message
    assert message_digest(message) == hashlib.sha256(hashlib.sha256(raw).digest()).digest()


def test_text_is_utf8() -> None:
    assert message_digest("Zürich ₿") == message_digest("Zürich ₿".encode())


@pytest.mark.parametrize("number", range(16))
def test_header_leads_to_the_key(number: int) -> None:
    """Sixteen signatures: the chance that all have the same recovery id is 2^-15."""
    digest = message_digest(f"message {number}")
    signature = KEY.sign(digest, hasher=None)
    raw = base64.b64decode(encode_signature(PUBLIC, digest, signature))
    assert len(raw) == 65 and 31 <= raw[0] <= 34
    recovered = PublicKey.from_signature_and_message(raw[1:] + bytes((raw[0] - 31,)), digest, hasher=None)
    assert recovered.format() == PUBLIC
    assert verify_message(PUBLIC, f"message {number}", base64.b64encode(raw).decode())
    assert not verify_message(PUBLIC, "another message", base64.b64encode(raw).decode())


def test_a_foreign_signature_is_not_encoded() -> None:
    digest = message_digest("message")
    with pytest.raises(InvalidSignatureError):
        encode_signature(PrivateKey(b"\x02" * 32).public_key.format(), digest, KEY.sign(digest, hasher=None))


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", base64.b64encode(b"\x00" * 65).decode()])
def test_no_signature(text: str) -> None:
    with pytest.raises(UsageError):
        recover_public_key("message", text)


# As other wallets write them


def of_all_kinds(message: str, base: int) -> str:
    """A signature with a header of a range of four: 27 uncompressed, 31 compressed, 35 nested segwit, 39 segwit."""
    raw = base64.b64decode(
        encode_signature(PUBLIC, message_digest(message), KEY.sign(message_digest(message), hasher=None))
    )
    return base64.b64encode(bytes((raw[0] - 31 + base,)) + raw[1:]).decode()


SCRIPTS = {kind.value: script for kind, script in single_key_scripts(PUBLIC).items()}
UNCOMPRESSED = p2pkh(hash160(KEY.public_key.format(compressed=False)))


@pytest.mark.parametrize(
    ("base", "good"),
    [
        (27, {"uncompressed"}),
        (31, {"p2pkh", "p2wpkh", "p2sh-p2wpkh"}),
        (35, {"p2sh-p2wpkh"}),
        (39, {"p2wpkh"}),
    ],
)
def test_headers_of_other_wallets(base: int, good: set[str]) -> None:
    """Bitcoin Core, Electrum, and BIP137 (Trezor, Sparrow)."""
    signature = of_all_kinds("hello", base)
    assert is_legacy(signature)
    scripts = {**SCRIPTS, "uncompressed": UNCOMPRESSED}
    del scripts["rawtr"]
    assert {name for name, script in scripts.items() if verify_for_script(script, "hello", signature)} == good
    assert not any(verify_for_script(script, "hello!", signature) for script in scripts.values())
    with pytest.raises(UsageError):
        verify_for_script(SCRIPTS["rawtr"], "hello", signature)


CHANCELLOR = "Chancellor on brink of second bailout for banks"
EXAMPLE = "This is an example of a signed message."
TREZOR_NESTED = (
    "23744de4516fac5c140808015664516a32fead94de89775cec7e24dbc24fe133075ac09301c4cc8e197bea4b6481661d5b8e9bf19d8b7b8a382ec"
    "db53c2ee0750d"
)
TREZOR_SEGWIT = (
    "28b55d7600d9e9a7e2a49155ddf3cfdb8e796c207faab833010fa41fb7828889bc47cf62348a7aaa0923c0832a589fab541e8f12eb54fb711c90e"
    "2307f0f66b194"
)
OF_ELECTRUM = "HyFaND+87TtVbRhkTfT3mPNBCQcJ32XXtNZGW8sFldJsNpOPCegEmdcCf5Thy18hdMH88GLxZLkOby/EwVUuSeA="
PUBLISHED = {
    "Core": (
        "15CRxFdyRpGZLW9w8HnHvVduizdL5jKNbs",
        "Trust no one",
        "IPojfrX2dfPnH26UegfbGQQLrdK844DlHq5157/P6h57WyuS/Qsl+h/WSVGDF4MUi4rWSswW38oimDYfNNUBUOk=",
    ),
    "Core, too": (
        "11canuhp9X2NocwCq7xNrQYTmUgZAnLK3",
        "Trust me",
        "IIcaIENoYW5jZWxsb3Igb24gYnJpbmsgb2Ygc2Vjb25kIGJhaWxvdXQgZm9yIGJhbmtzIAaHRtbCeDZINyavx14=",
    ),
    "Electrum": (
        "15hETetDmcXm1mM4sEf7U2KXC9hDHFMSzz",
        CHANCELLOR,
        "Hzsu0U/THAsPz/MSuXGBKSULz2dTfmrg1NsAhFp+wH5aKfmX4Db7ExLGa7FGn0m6Mf43KsbEOWpvUUUBTM3Uusw=",
    ),
    "Electrum, high S": (
        "15hETetDmcXm1mM4sEf7U2KXC9hDHFMSzz",
        CHANCELLOR,
        "IDsu0U/THAsPz/MSuXGBKSULz2dTfmrg1NsAhFp+wH5a1gZoH8kE7O05lE65YLZFzLx3sh/rDzXMbo1dQAJhhnU=",
    ),
    "Electrum, uncompressed": (
        "1GPHVTY8UD9my6jyP4tb2TYJwUbDetyNC6",
        "Electrum",
        "HBQdYfv7kOrxmRewLJnG7sV6KlU71O04hUnE4tai97p7Pg+D+yKaWXsdGgHTrKw90caQMo/D6b//qX50ge9P9iI=",
    ),
    "Electrum, nested": ("3DYoBqQ5N6dADzyQjy9FT1Ls4amiYVaqTG", "Electrum", OF_ELECTRUM),
    "Electrum, segwit": ("bc1qq2tmmcngng78nllq2pvrkchcdukemtj56uyue0", "Electrum", OF_ELECTRUM),
    "Trezor, nested": (
        "3L6TyTisPBmrDAj6RoKmDzNnj4eQi54gD2",
        EXAMPLE,
        base64.b64encode(bytes.fromhex(TREZOR_NESTED)).decode(),
    ),
    "Trezor, segwit": (
        "bc1qannfxke2tfd4l7vhepehpvt05y83v3qsf6nfkk",
        EXAMPLE,
        base64.b64encode(bytes.fromhex(TREZOR_SEGWIT)).decode(),
    ),
}
"""What these programs' own tests take for good."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_signatures_of_other_programs(name: str) -> None:
    address, message, signature = PUBLISHED[name]
    script = address_to_scriptpubkey(address).data
    assert verify_for_script(script, message, signature)
    assert not verify_for_script(script, message + " ", signature)
    for other in PUBLISHED.values():
        if other[2] != signature and other[0] != address:
            assert not verify_for_script(script, message, other[2])


@pytest.mark.parametrize(("name", "header"), [("Trezor, nested", 0x27), ("Trezor, segwit", 0x24)])
def test_a_header_of_another_kind_of_address(name: str, header: int) -> None:
    address, message, signature = PUBLISHED[name]
    bent = bytes((header,)) + base64.b64decode(signature)[1:]
    assert not verify_for_script(address_to_scriptpubkey(address).data, message, base64.b64encode(bent).decode())


@pytest.mark.parametrize("header", [0, 26, 43, 255])
def test_other_headers_are_none(header: int) -> None:
    raw = base64.b64decode(of_all_kinds("hello", 31))
    assert not is_legacy(base64.b64encode(bytes((header,)) + raw[1:]).decode())
