"""`finalize`."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from tests.ctl.payments import pay
from tests.ctl.program import answer, ended, run, shown, terminal
from tests.psbt.factory import draft, spend
from tests.psbt.signing import check_on_kernel, sign
from tests.psbt.test_message import challenge, request
from tests.support.emulator import EmulatorProcess

KINDS = ("p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "rawtr", "tapscript")


def complete(folder: Path, version: int = 0, name: str = "pay-signed.psbt") -> tuple[Path, object]:
    made = draft(*(spend(kind, number) for number, kind in enumerate(KINDS)), version=version)
    path = folder / name
    path.write_bytes(sign(made.encode()).raw)
    return path, made


@pytest.mark.parametrize("version", [0, 2])
def test_a_psbt_and_a_raw_transaction(tmp_path: Path, version: int) -> None:
    path, made = complete(tmp_path, version)
    data = answer(None, "finalize", str(path))
    result = Psbt.parse((tmp_path / "pay-signed-final.psbt").read_bytes())
    transaction = check_on_kernel(result, made)  # type: ignore[arg-type]
    assert all(fields.is_final for fields in result.inputs) and result.version == version
    assert bytes.fromhex(data["transaction"]) == transaction and data["fee"] == 10_000
    raw = answer(None, "finalize", "--raw", str(path))
    assert bytes.fromhex((tmp_path / "pay-signed-final.hex").read_text()) == transaction
    assert raw["txid"] == data["txid"] == answer(None, "verify", str(path))["txid"]
    answer(None, "finalize", str(path), code=2)  # it is there
    assert run(None, "finalize", "--force", str(path)).returncode == 0


def test_what_the_card_signed(card: EmulatorProcess, tmp_path: Path) -> None:
    path, made = pay(tmp_path)
    signed = answer(card, "sign", "--yes", str(path))
    data = answer(None, "finalize", signed["output"])
    assert data["txid"] == signed["txid"]
    check_on_kernel(Psbt.parse(data["psbt"]), made)  # type: ignore[arg-type]
    # A final one is final already, and its id is the same.
    assert answer(None, "finalize", data["output"], "--output", str(tmp_path / "x"))["txid"] == data["txid"]


@pytest.mark.parametrize("form", ["base64", "hex"])
def test_pipes(tmp_path: Path, form: str) -> None:
    path, made = complete(tmp_path)
    raw = path.read_bytes()
    given = base64.b64encode(raw) if form == "base64" else raw.hex().encode()
    done = run(None, "finalize", "-", stdin=given)
    assert done.returncode == 0 and Psbt.parse(done.stdout).form.value == form
    check_on_kernel(Psbt.parse(done.stdout), made)  # type: ignore[arg-type]
    done = run(None, "finalize", "--raw", "-", stdin=given)
    assert bytes.fromhex(done.stdout) == extract(Psbt.parse(raw))


@pytest.mark.parametrize(
    "content",
    [
        draft(spend("p2wpkh")).encode(),
        draft(spend("miniscript")).encode(),
        draft(spend("p2wpkh", previous=False, witness_utxo=False)).encode(),
        b"psbt\xff\x00",
    ],
    ids=["unsigned", "unknown script", "nothing known", "nonsense"],
)
def test_what_is_not_complete(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.psbt"
    path.write_bytes(content)
    answer(None, "finalize", str(path), code=5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.psbt"]


def test_a_signed_message(card: EmulatorProcess, tmp_path: Path) -> None:
    """Its signature is shown, and a verifier takes it; a transaction for the network it is not."""
    path = tmp_path / "message.psbt"
    path.write_bytes(request(challenge(), text=challenge().message).encode())
    signed = answer(card, "sign", "--yes", str(path))
    assert signed["txid"] is None and signed["complete"]
    data = answer(None, "finalize", signed["output"])
    assert data["transaction"] is None and data["txid"] is None
    address = signed["review"]["message"]["address"]
    verified = answer(
        None, "message", "verify", address, data["signature"], "-", stdin=challenge().message, schema="message verify"
    )
    assert (verified["state"], verified["format"]) == ("valid", "bip322-simple")
    answer(None, "finalize", "--raw", signed["output"], code=5)
    assert answer(None, "verify", signed["output"])["txid"] is None


def test_a_proof_of_funds(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "funds.psbt"
    path.write_bytes(request(challenge(), spend("p2wpkh", 1), spend("p2pkh", 2), text=challenge().message).encode())
    signed = answer(card, "sign", "--yes", str(path))
    data = answer(None, "finalize", signed["output"])
    assert data["signature"].startswith("pof")
    words = ("message", "verify", signed["review"]["message"]["address"], data["signature"], "-")
    verified = answer(None, *words, stdin=challenge().message, schema="message verify")
    assert [(coin["amount"], coin["amount_proved"]) for coin in verified["coins"]] == [(100_000, True)] * 2
    text = run(None, *words, stdin=challenge().message).stdout.split("\n")
    assert verified["coins"][0]["txid"] in text and "Only the blockchain shows" in "\n".join(text)


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("words", [("finalize",), ("finalize", "--raw"), ("verify",)])
def test_the_screen(tmp_path: Path, words: tuple[str, ...], columns: int) -> None:
    """The id is on a line of its own, and whole."""
    path, _ = complete(tmp_path)
    with terminal(None, *words, str(path), columns=columns, rows=24, XDG_STATE_HOME=str(tmp_path)) as child:
        assert ended(child) == 0
        lines = shown(child).replace("\r", "").split("\n")
    assert answer(None, "verify", str(path))["txid"] in lines
