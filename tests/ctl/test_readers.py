"""cryptnoxctl with cards in readers: through pcscd and the virtual reader."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptnox_core.transport.pcsc import PcscTransport
from hwilib_cryptnox.psbt import Psbt
from tests.console.test_terminal import make_psbt
from tests.ctl.program import PIN, SEED, answer, dialogue, ended, run, shown, terminal
from tests.ctl.test_errors import BEGUN, NEW_PIN, asked
from tests.psbt.factory import ME
from tests.support import pcsc
from tests.support.emulator import MNEMONIC, EmulatorProcess

pytestmark = pytest.mark.pcsc

FIRST, SECOND = pcsc.SLOTS


@pytest.fixture(scope="module")
def inserted(virtual_readers: pcsc.VirtualReaders) -> Iterator[EmulatorProcess]:
    """A card with a wallet in the first slot."""
    with virtual_readers.card("--seed", SEED, "--xpub-export", "--latency", "sign=30") as process:
        yield process


def test_looking(inserted: EmulatorProcess) -> None:
    entries = {entry["reader"]: entry for entry in answer(None, "list")["readers"]}
    assert entries[FIRST]["serial"] == str(inserted.serial)
    assert (entries[SECOND]["state"], entries[SECOND]["serial"]) == ("empty", None)
    assert answer(None, "info")["serial"] == str(inserted.serial)
    assert answer(None, "info", "--reader", "0")["reader"] == FIRST
    assert answer(None, "info", "--reader", SECOND, code=3)["hint"]
    assert answer(None, "info", "--card", str(inserted.serial))["serial"] == str(inserted.serial)
    for options in (("--reader", "0"), ("--card", str(inserted.serial))):
        (entry,) = answer(None, "list", *options)["readers"]
        assert (entry["reader"], entry["serial"]) == (FIRST, str(inserted.serial))
        assert f"card in {SECOND}" not in {entry["check"] for entry in answer(None, "doctor", *options)["findings"]}
    assert answer(None, "list", "--reader", SECOND)["readers"][0]["state"] == "empty"
    findings = answer(None, "doctor")["findings"]
    assert {"PC/SC service", "readers", f"card in {FIRST}"} <= {entry["check"] for entry in findings}
    assert inserted.stats()["pin_tries"] == 0


def test_a_card_in_a_reader_signs_after_the_review(inserted: EmulatorProcess, tmp_path: Path) -> None:
    path, before = make_psbt(tmp_path), inserted.stats()["signatures"]
    with terminal(None, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN))
        child.expect_exact("Change back to the wallet, proved")
        dialogue(child, ("Sign it with 2 signatures?", "y"))
        assert ended(child) == 0
    assert inserted.stats()["signatures"] == before + 2
    assert answer(None, "info")["fingerprint"] == ME.fingerprint.hex()
    # Signed already, told without review and without PIN.
    with terminal(None, "sign", str(tmp_path / "pay-signed.psbt")) as child:
        child.expect_exact("There was nothing left to sign")
        assert ended(child) == 0
        assert "PIN of card" not in shown(child)


def test_two_cards_want_a_choice(inserted: EmulatorProcess, virtual_readers: pcsc.VirtualReaders) -> None:
    with virtual_readers.card("--mnemonic", MNEMONIC, slot=1) as other:
        refused = answer(None, "info", code=2)
        assert str(inserted.serial) in refused["error"] and str(other.serial) in refused["error"]
        for card in (inserted, other):
            assert answer(None, "info", "--card", str(card.serial))["serial"] == str(card.serial)
        assert answer(None, "info", "--reader", SECOND)["serial"] == str(other.serial)


def test_one_cards_troubles_hide_no_other(inserted: EmulatorProcess, virtual_readers: pcsc.VirtualReaders) -> None:
    """A card that wants a power cycle, and one whose certificate cannot be read: told only where they may be meant."""
    named = ("info", "--card", str(inserted.serial))
    locked = ("--mnemonic", MNEMONIC, "--reading", "softlock-6985")
    with virtual_readers.card(*locked, slot=1), pcsc.soft_locked(1):
        assert answer(None, *named)["serial"] == str(inserted.serial)
    with virtual_readers.card(*locked, slot=1), pcsc.soft_locked(1):
        assert "remove the card" in answer(None, "info", "--card", "5", code=4)["error"]
    with virtual_readers.card(*locked, slot=1), pcsc.soft_locked(1):
        states = {entry["reader"]: entry["state"] for entry in answer(None, "list")["readers"]}
        assert states == {FIRST: "ready", SECOND: "locked: remove the card and put it back"}
    with virtual_readers.card("--mnemonic", MNEMONIC, "--fault", "sw:6F00@F7:1", slot=1):
        assert answer(None, *named)["serial"] == str(inserted.serial)


def test_an_interrupt_frees_the_reader(inserted: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path, 30)
    for steps in ([], [("PIN of card", PIN)]):
        with terminal(None, "sign", str(path)) as child:
            dialogue(child, *steps)
            child.expect_exact("Sign it with" if steps else "PIN of card")
            time.sleep(0.1)
            child.sendintr()
            assert ended(child) == 1
        PcscTransport.open(FIRST, 0.5).close()
    with terminal(None, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign it with 30 signatures?", "y"))
        child.expect(r" [3-9]/30")
        child.sendintr()
        child.expect_exact("signatures were made")
        assert ended(child) == 1
    PcscTransport.open(FIRST, 0.5).close()
    made = inserted.stats()["signatures"]
    done = run(None, "sign", "--yes", "--stdinpass", str(path), stdin=f"{PIN}\n", pin=None)
    assert done.returncode == 0, done.stderr
    assert inserted.stats()["signatures"] - made < 28


def test_card_pulled_out_of_the_reader(virtual_readers: pcsc.VirtualReaders, tmp_path: Path) -> None:
    path, state = make_psbt(tmp_path, 20), str(tmp_path / "card")
    options = ("--seed", SEED, "--serial", str(1 << 60), "--xpub-export", "--latency", "sign=50", "--state", state)
    words = ["sign", str(path), "--reader", SECOND]
    with terminal(None, *words) as child:
        child.expect_exact("put the card into the reader")
        assert ended(child) == 3
    with virtual_readers.card(*options, slot=1) as card, terminal(None, *words) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign it with 20 signatures?", "y"))
        child.expect(r" [3-9]/20")
        made = card.stats()["signatures"]
        card.stop()
        child.expect_exact("Put it back")
        time.sleep(pcsc.ABSENCE)  # pcscd can miss a shorter absence
        with virtual_readers.card(*options, slot=1) as again:
            child.expect_exact("complete")
            assert ended(child) == 0
            assert again.stats()["signatures"] <= 20 - made + 1
    assert len(Psbt.parse((tmp_path / "pay-signed.psbt").read_bytes()).inputs) == 20


def test_setup_in_a_reader(virtual_readers: pcsc.VirtualReaders, tmp_path: Path) -> None:
    with virtual_readers.card("--serial", str(1 << 61), slot=1) as fresh:
        data = asked(
            None, tmp_path, ["setup", "--seed", "restore", "--reader", SECOND], *BEGUN,
            ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", ""), schema="setup",
        )  # fmt: skip
        assert (data["serial"], data["fingerprint"]) == (str(fresh.serial), "73c5da0a")
        words = ["pin", "verify", "--reader", SECOND, "--stdinpass"]
        assert answer(None, *words, stdin=f"{NEW_PIN}\n", pin=None, schema="pin verify")["verified"]
