"""`sign` without a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwilib_cryptnox.psbt import Psbt
from tests.ctl.payments import multisig_pay, pay
from tests.ctl.program import PIN, answer, run
from tests.psbt.factory import ME, OTHER, In, Wallet, deriv, draft, p2wpkh, spend
from tests.psbt.signing import check_on_kernel
from tests.support.emulator import EmulatorProcess


def test_the_raw_transaction_is_put_beside_the_result(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = pay(tmp_path)
    (tmp_path / "there").mkdir()
    answer(card, "sign", "--yes", "--finalize", "--output", str(tmp_path / "there" / "a.psbt"), str(path))
    assert {entry.name for entry in (tmp_path / "there").iterdir()} == {"a.psbt", "pay-final.hex"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"pay.psbt", "there"}


@pytest.mark.parametrize("form", ["binary", "base64", "hex"])
def test_sign_a_file(card: EmulatorProcess, tmp_path: Path, form: str) -> None:
    path, made = pay(tmp_path, form=form)
    data = answer(card, "sign", "--yes", "--finalize", str(path))
    signed = (tmp_path / "pay-signed.psbt").read_bytes()
    assert Psbt.parse(signed).form.value == form
    transaction = check_on_kernel(Psbt.parse(signed), made)  # type: ignore[arg-type]
    assert bytes.fromhex((tmp_path / "pay-final.hex").read_text()) == transaction == bytes.fromhex(data["transaction"])
    assert (data["signatures"], data["complete"]) == (3, True)
    assert (data["review"]["fee"], data["review"]["our_inputs"]) == (10_000, 3)
    # Never over an existing file without being told; nothing is signed for it either.
    answer(card, "sign", "--yes", str(path), code=2)
    assert card.stats()["signatures"] == 3
    assert (tmp_path / "pay-signed.psbt").read_bytes() == signed


def test_sign_from_stdin_to_stdout(card: EmulatorProcess, tmp_path: Path) -> None:
    path, made = pay(tmp_path, form="base64")
    done = run(card, "sign", "--yes", "-", stdin=path.read_bytes())
    check_on_kernel(Psbt.parse(done.stdout), made)  # type: ignore[arg-type]
    assert "BTC" in done.stderr
    done = run(card, "sign", "--yes", "-q", "--stdinpass", "-", stdin=f"{PIN}\n".encode() + path.read_bytes(), pin=None)
    check_on_kernel(Psbt.parse(done.stdout), made)  # type: ignore[arg-type]
    assert done.stderr == ""


def test_a_final_file_needs_no_card(card: EmulatorProcess, tmp_path: Path) -> None:
    """Its raw transaction is had without card and PIN, whosever it is."""
    path, at = tmp_path / "final.psbt", "m/84h/0h/0h/0/0"
    witness = b"\x02\x02ab\x03key"
    path.write_bytes(draft(In(p2wpkh(ME.key(at)), fields=[deriv(at), (b"\x08", witness)])).encode())
    data = answer(card, "sign", "--yes", "--finalize", str(path), pin=None)
    assert (data["signatures"], data["complete"]) == (0, True)
    assert (tmp_path / "final-signed.psbt").read_bytes() == path.read_bytes()
    assert witness in bytes.fromhex((tmp_path / "final-final.hex").read_text())
    assert card.stats()["apdus"] == 0


def test_nothing_is_signed_without_yes(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = pay(tmp_path)
    assert "--yes" in answer(card, "sign", str(path), code=2)["hint"]
    assert card.stats()["apdus"] == 0


def test_bad_transactions_are_input_errors(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "bad.psbt"
    path.write_bytes(b"psbt\xff\x00nonsense")
    answer(card, "sign", "--yes", str(path), code=5)
    answer(None, "verify", str(path), code=5)
    path.write_bytes(b"")
    answer(card, "sign", "--yes", str(path), code=5)
    answer(card, "sign", "--yes", str(tmp_path / "absent"), code=2)
    lie = draft(spend("p2wpkh", 0, fields=[deriv("m/84h/0h/0h/0/1", key=ME.key("m/84h/0h/0h/0/0"))]))
    path.write_bytes(lie.encode())
    assert "input 0" in answer(card, "sign", "--yes", str(path), code=5)["error"]
    assert card.stats()["signatures"] == 0


def test_multisig_change_is_proved_by_the_wallet(card: EmulatorProcess, tmp_path: Path) -> None:
    """What --wallet disproves is refused: change that is not its, and inputs that are not."""
    path, descriptor = multisig_pay(tmp_path)
    before = answer(None, "verify", str(path))["inputs"][0]
    assert (before["needed"], len(before["missing"]), before["complete"]) == (2, 2, False)
    data = answer(card, "sign", "--yes", str(path))
    review = data["review"]
    assert [output["change"] for output in review["outputs"]] == [False, False]
    assert (review["payments"], review["sent"], review["change"], review["net"]) == (2, 99_000, 0, 100_000)
    assert (data["complete"], data["missing"]) == (False, "input 0: 1 of 2 signatures are there")
    data = answer(card, "sign", "--yes", "--force", "--wallet", descriptor, str(path))
    review = data["review"]
    assert [output["change"] for output in review["outputs"]] == [False, True]
    assert (review["payments"], review["sent"], review["change"], review["net"]) == (1, 50_000, 49_000, 51_000)
    made = card.stats()["signatures"]
    for other in (descriptor.replace("sortedmulti(2", "sortedmulti(1"), _mixed_pay_descriptor(descriptor)):
        refused = answer(card, "sign", "--yes", "--force", "--wallet", other, str(path), code=5)
        assert "--wallet" in refused["error"]
    answer(card, "sign", "--yes", "--force", "--wallet", "wsh(nonsense)", str(path), code=5)
    stolen = tmp_path / "stolen.psbt"
    stolen.write_bytes(multisig_pay(tmp_path, threshold=1, name="other")[0].read_bytes())
    refused = answer(card, "sign", "--yes", "--wallet", descriptor, str(stolen), code=5)
    assert "output 1" in refused["error"] and not (tmp_path / "stolen-signed.psbt").exists()
    assert card.stats()["signatures"] == made
    after = answer(None, "verify", str(tmp_path / "multi-signed.psbt"))["inputs"][0]
    assert [entry["fingerprint"] for entry in after["signed"]] == [ME.fingerprint.hex()]
    assert [entry["fingerprint"] for entry in after["missing"]] == [OTHER.fingerprint.hex()]


def _mixed_pay_descriptor(descriptor: str) -> str:
    """The same wallet with somebody else's key in the place of one."""
    stranger = Wallet(b"a third party's seed, nobody knows")
    account = "m/48h/0h/0h/2h"
    return descriptor.replace(OTHER.account(account).to_string(), stranger.account(account).to_string())


def test_nothing_left_to_sign_touches_no_pin(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = pay(tmp_path)
    answer(card, "sign", "--yes", str(path))
    data = answer(card, "sign", "--yes", str(tmp_path / "pay-signed.psbt"))
    assert data["signatures"] == 0
    assert card.stats()["signatures"] == 3
