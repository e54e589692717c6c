"""What a card says about itself: parsed, cut short, and with more behind it."""

from __future__ import annotations

import pytest

from cryptnox_core import errors
from cryptnox_core.commands import data, signing, user_keys
from cryptnox_core.crypto.p256 import EphemeralKey
from cryptnox_core.models import AppletInfo, CardInfo
from cryptnox_core.wire import KeySource, UserKeySlot

POINT = EphemeralKey.from_scalar(7).public_key
EC, RSA, FIDO = UserKeySlot.EC, UserKeySlot.RSA, UserKeySlot.FIDO


def test_applet_info() -> None:
    raw = bytes.fromhex("420106000076 0005") + bytes(range(16))
    parsed = AppletInfo.parse(raw)
    assert (parsed.type_name, parsed.version, parsed.custom) == ("Basic", (1, 6, 0), bytes(range(16)))
    assert parsed.initialized and parsed.seeded and parsed.pin_auth and parsed.xpub_export
    assert parsed.clear_public_key and not parsed.pinless_path and not parsed.is_nft
    assert int(parsed.user_keys) == 5
    assert AppletInfo.parse(raw + b"more").custom == parsed.custom
    assert AppletInfo.parse(b"N" + raw[1:]).is_nft
    unknown = AppletInfo.parse(raw[:4] + b"\xff\xff\xff\xff" + raw[8:])
    assert unknown.seeded and int(unknown.flags) == 0xFFFF
    for length in range(6):
        with pytest.raises(errors.MalformedResponseError):
            AppletInfo.parse(raw[:length])


def test_applet_info_of_any_length() -> None:
    """From 6 bytes on; what is not there is empty, and a field is read when it is there as a whole."""
    raw = bytes.fromhex("420106000076 0005") + bytes(range(16)) + bytes(40)
    for length in range(6, 65):
        parsed = AppletInfo.parse(raw[:length])
        assert (parsed.type_name, parsed.version) == ("Basic", (1, 6, 0))
        assert parsed.initialized and parsed.seeded and parsed.pin_auth and parsed.xpub_export
        assert int(parsed.user_keys) == (5 if length >= 8 else 0)
        assert parsed.custom == (bytes(range(16))[: max(length - 8, 0)])


def test_flags_by_version() -> None:
    """Bit 7 and the slots 4 and 5 mean something from applet 2.0 on."""
    for version, second in ((b"\x01\x06\x00", False), (b"\x01\xff\xff", False), (b"\x02\x00\x00", True)):
        parsed = AppletInfo.parse(b"B" + version + bytes.fromhex("00F00037"))
        assert parsed.is_version_2 is second and parsed.reset_disabled is second
        assert parsed.user_key_slots == (tuple(UserKeySlot) if second else (EC, RSA, FIDO))
        assert all(parsed.has_user_key(slot) for slot in UserKeySlot)
    assert not AppletInfo.parse(b"B\x02\x00\x00" + bytes.fromhex("0070")).reset_disabled


def test_card_info() -> None:
    parsed = CardInfo.parse(b"S\x03Ada\x05a@b.c\x00\x00\x01\x02")
    assert parsed == CardInfo(KeySource.ON_CARD, "Ada", "a@b.c", 258)
    assert CardInfo.parse(b"?\x00\x00\x00\x00\x00\x00").key_source == ord("?")
    assert CardInfo.parse(b"L\x01\xff\x00\x00\x00\x00\x00").name == "�"
    for raw in (b"", b"L", b"L\x05Ada", b"L\x00\x00\x00\x00\x00"):
        with pytest.raises(errors.MalformedResponseError):
            CardInfo.parse(raw)


def test_signature_check() -> None:
    check = signing.CheckSignature(bytes(16)).decode(b"CR" + bytes(34) + b"signature")
    assert (check.message, check.signature) == (b"CR" + bytes(34), b"signature")
    for raw in (b"", b"CR" + bytes(33), b"cr" + bytes(34) + b"signature"):
        with pytest.raises(errors.MalformedResponseError):
            signing.CheckSignature(bytes(16)).decode(raw)


def test_history() -> None:
    entry = data.GetHistory(0).decode(b"\x00\x00\x00\x07" + bytes(range(32)))
    assert entry is not None and (entry.counter, entry.digest) == (7, bytes(range(32)))
    assert data.GetHistory(0).decode(bytes(36)) is None
    for size in (0, 1, 35):
        assert data.GetHistory(0).decode(b"\x01" * size) is None


def test_user_keys() -> None:
    text = b"laptop".ljust(64, b"\0")
    assert user_keys.ReadUserKey(EC).decode(text + POINT).text == "laptop"
    assert user_keys.ReadUserKey(RSA).decode(text + bytes(256)).public_key == bytes(256)
    fido = user_keys.ReadUserKey(FIDO).decode(text + b"\x04cred" + POINT)
    assert (fido.credential_id, fido.public_key) == (b"cred", POINT)
    assert user_keys.ReadUserKey(FIDO).decode(text + POINT).public_key == POINT
    for slot, raw in (
        (EC, text + b"\x04" + bytes(64)),
        (EC, text + b"\x04cred" + POINT),
        (RSA, text + POINT),
        (EC, text),
        (FIDO, text + b"\x60" + bytes(160)),
        (FIDO, text + b"\x41" + bytes(65) + POINT),
        (FIDO, text + b"\x04cred" + POINT[:-1]),
    ):
        with pytest.raises(errors.MalformedResponseError):
            user_keys.ReadUserKey(slot).decode(raw)
