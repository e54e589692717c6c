"""`user-key`, with keys in files."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.ctl.program import PIN, PUK, answer
from tests.support.emulator import EmulatorProcess


@pytest.mark.parametrize("slot", ["ec", "rsa"])
def test_user_keys(card: EmulatorProcess, tmp_path: Path, slot: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if slot == "ec" else rsa.generate_private_key(65537, 2048)
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    puk = {"stdin": f"{PUK}\n"}
    off = ("pin-auth", "off", "--yes", "--stdinpuk")
    assert "No key is named" in answer(card, *off, code=2, **puk)["error"]
    assert "user-key add" in answer(card, *off, "--private-key", str(private), code=1, **puk)["hint"]
    answer(card, "user-key", "add", slot, str(private), "--stdinpuk", code=5, **puk)
    answer(card, "user-key", "add", slot, str(public), "--text", "door", "--stdinpuk", schema="user-key add", **puk)
    listed = answer(card, "user-key", "list", schema="user-key list")["user_keys"]
    assert [(entry["slot"], entry["text"]) for entry in listed] == [(slot, "door")]
    assert answer(card, "user-key", "test", slot, str(private), schema="user-key test")["accepted"]
    stranger = tmp_path / "stranger.pem"
    other = ec.generate_private_key(ec.SECP256R1()) if slot == "ec" else rsa.generate_private_key(65537, 2048)
    stranger.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert not answer(card, "user-key", "test", slot, str(stranger), schema="user-key test", code=1)["accepted"]
    refused = answer(card, *off, "--private-key", str(stranger), code=1, **puk)
    assert "does not accept the key stranger.pem; nothing was changed" in refused["error"]
    assert answer(card, "info")["pin_auth"] and "C3" not in card.stats()["by_ins"]
    switched = answer(card, *off, "--private-key", str(private), schema="pin-auth off", **puk)
    assert (switched["pin_auth"], switched["trial"]) == (False, "refused")
    assert not card.stats()["signatures"] and not card.stats()["pin_tries"]
    again = answer(card, *off, "--private-key", str(private), schema="pin-auth off", **puk)
    assert (again["pin_auth"], again["trial"]) == (False, None)
    refused = answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, code=4)
    assert "pin-auth on" in refused["hint"]
    assert answer(card, "pin-auth", "on", "--stdinpuk", schema="pin-auth on", **puk)["pin_auth"]
    answer(card, "user-key", "delete", slot, "--stdinpuk", schema="user-key delete", **puk)
    assert answer(card, "user-key", "list", schema="user-key list")["user_keys"] == []
