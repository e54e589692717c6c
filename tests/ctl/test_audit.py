"""`audit`, `history`."""

from __future__ import annotations

from pathlib import Path

from tests.ctl.payments import pay
from tests.ctl.program import PIN, answer, run
from tests.support import optional
from tests.support.emulator import EmulatorProcess


def test_audit_names_what_was_signed_behind_its_back(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = pay(tmp_path)
    answer(card, "sign", "--yes", str(path))
    answer(card, "message", "sign", "hello", schema="message sign")
    answer(card, "message", "sign", "hello", "--bip322", schema="message sign")
    data = answer(card, "audit")
    assert (data["signature_counter"], data["compared"], data["elsewhere"]) == (5, 5, [])
    digest = bytes(range(32))
    sign_with_vendor_sdk(card, digest)
    data = answer(card, "audit", code=1, schema="audit")
    assert [entry["digest"] for entry in data["elsewhere"]] == [digest.hex()]
    assert run(card, "audit").returncode == 1
    entries = answer(card, "history", "--limit", "3")["entries"]
    assert [entry["made_here"] for entry in entries] == [False, True, True]
    with_transaction = answer(card, "history")["entries"][-1]
    assert len(with_transaction["txid"]) == 64


def sign_with_vendor_sdk(card: EmulatorProcess, digest: bytes) -> None:
    import socket

    sdk = optional.sdk()
    with socket.create_connection((card.host, card.port)) as connection:
        theirs = sdk.factory.get_card(sdk.Connection(0, remote=True, conn=[connection]))
        theirs.verify_pin(PIN)
        theirs.derive(path="m/84'/0'/0'/0/0")
        theirs.sign(digest, sdk.Derivation.CURRENT_KEY, pin=PIN)
