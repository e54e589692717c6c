"""`doctor`, its recordings and what they tell."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from cryptnox_core.crypto import points
from cryptnox_core.emulator.card import Answer
from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.server import Engine, TcpServer
from cryptnox_core.transport import pcsclite
from hwilib_cryptnox.ctl.commands import doctor
from tests.core.emulated import SERIAL, seeded
from tests.ctl.program import SEED, answer, dialogue, ended, run, shown, terminal
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.pcsc import SLOTS, VirtualReaders


def test_doctor(card: EmulatorProcess) -> None:
    findings = {entry["check"]: entry for entry in answer(card, "doctor", code=3, schema="doctor")["findings"]}
    assert findings["PC/SC service"]["verdict"] == "bad"
    assert "pcscd" in findings["PC/SC service"]["remedy"]
    assert findings[f"card in {card.path}"]["verdict"] == "good"
    assert card.stats()["pin_tries"] == 0


def test_record_and_analyse(card: EmulatorProcess, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    place = ("--card", card.path)
    data = answer(card, "doctor", "--record", str(file), "--yes", *place, schema="doctor record")
    assert data == {"serial": str(card.serial), "file": str(file), "deviations": []}
    assert answer(None, "doctor", "--analyze", str(file), schema="doctor analyse")["deviations"] == []
    for spelling in ("--analyze", "--analyse"):
        assert "as documented" in run(None, "doctor", spelling, str(file)).stdout
    before = file.read_bytes()
    taken = answer(card, "doctor", "--record", str(file), "--yes", *place, code=2)
    assert "exists" in taken["error"] and "--force" not in taken["hint"]  # there is no such option
    assert file.read_bytes() == before
    assert card.stats()["pin_tries"] == card.stats()["signatures"] == 0


def test_a_deviation_is_named(tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    with EmulatorProcess("--seed", SEED, "--reading", "tries-min", "--reading", "outer-sw") as card:
        run(card, "doctor", "--record", str(file), "--yes", "--card", card.path)
    found = answer(None, "doctor", "--analyze", str(file), schema="doctor analyse")["deviations"]
    assert sorted(each["reading"] for each in found) == ["outer-sw", "tries-min"]
    assert "(reading tries-min)" in run(None, "doctor", "--analyze", "-", stdin=file.read_bytes()).stdout


def test_it_says_what_identifies_the_card_and_asks(card: EmulatorProcess, tmp_path: Path) -> None:
    file = tmp_path / "card.json"
    refused = run(card, "doctor", "--record", str(file), "--card", card.path)
    assert refused.returncode == 2 and "certificate identify the card" in " ".join(refused.stderr.split())
    for typed, code in (("n", 1), ("y", 0)):
        assert not file.exists()
        with terminal(card, "doctor", "--record", str(file), "--card", card.path) as child:
            dialogue(child, ("Record the card", typed))
            assert ended(child) == code
        assert "identify the card" in " ".join(shown(child).split())
    assert json.loads(file.read_text())["format"] == 1


def test_what_is_no_recording(tmp_path: Path) -> None:
    for number, content in enumerate(('{"format": 7}', "no JSON", "[" * 100_000, "\xff")):
        file = tmp_path / f"{number}.json"
        file.write_text(content, "latin-1")
        assert answer(None, "doctor", "--analyze", str(file), code=5)["exit_code"] == 5
    assert run(None, "doctor", "--analyze", "x", "--record", "y").returncode == 2


class WithoutCertificate(EmulatedCard):
    """No page of a manufacturer certificate."""

    def process(self, raw: bytes, *, torn: bool = False, repeat_nonce: bool = False) -> Answer:
        if raw[1] == 0xF7:
            return Answer(b"", 0x6D00)
        return super().process(raw, torn=torn, repeat_nonce=repeat_nonce)


def test_a_card_whose_certificate_cannot_be_read(tmp_path: Path) -> None:
    """Just that is worth a recording."""
    file = tmp_path / "card.json"
    server = TcpServer(Engine(WithoutCertificate(seeded())), "127.0.0.1", 0)
    threading.Thread(target=server.serve, daemon=True).start()
    host, port = server.address
    try:
        words = ("doctor", "--record", str(file), "--card", f"tcp:{host}:{port}", "--yes")
        data = answer(None, *words, schema="doctor record")
    finally:
        server.close()
    assert data["serial"] is None and "was not read: 6d00" in data["deviations"][0]["text"]
    text = file.read_text()
    assert json.loads(text)["steps"] and str(SERIAL) not in text


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """As JSON it would take gigabytes of memory."""
    file = tmp_path / "large.json"
    file.write_text('{"format": 1, "steps": [' + "{}," * (1 << 20) + "{}]}")
    assert "not a recording" in answer(None, "doctor", "--analyze", str(file), code=5)["error"]


def test_what_is_not_needed_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """HWI's library, coincurve and on Linux pyscard may be missing. The rest may not."""
    there = metadata.version

    def without(*names: str) -> Callable[[str], str]:
        def version(name: str) -> str:
            if name in names:
                raise metadata.PackageNotFoundError(name)
            return "1.0" if name in doctor._OPTIONAL else there(name)

        return version

    monkeypatch.setattr(metadata, "version", without("hwi", "coincurve", "pyscard"))
    said, _ = doctor._versions()
    assert said.verdict is doctor.Verdict.GOOD
    assert said.text.endswith("; not installed, and not needed: hwi, pyscard, coincurve")
    monkeypatch.setattr(metadata, "version", without("hwi", "embit"))
    *_, said = doctor._versions()
    assert (said.verdict, said.text) == (doctor.Verdict.BAD, "missing: embit")


@pytest.mark.parametrize(("name", "verdict"), [("coincurve", "good"), ("embit", "good"), ("python", "note")])
def test_the_library_for_secp256k1_is_named(name: str, verdict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = points.backend()._replace(name=name)
    monkeypatch.setattr(points, "backend", lambda: backend)
    said = doctor._curve()
    assert said.verdict.value == verdict and (verdict == "note" or name in said.text)
    assert (said.remedy != "") is (verdict == "note")


def test_a_missing_pcsc_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTNOX_PCSC", "pcsclite")

    def away() -> None:
        raise OSError("libpcsclite.so.1: cannot open shared object file")

    monkeypatch.setattr(pcsclite, "load", away)
    [said] = doctor._service()
    assert said.verdict is doctor.Verdict.BAD and "libpcsclite.so.1" in said.text and "pcscd" in said.remedy


@pytest.mark.pcsc("both")
def test_the_pcsc_library_in_use_is_named(virtual_readers: VirtualReaders, pcsc_library: str) -> None:
    with virtual_readers.card("--mnemonic", MNEMONIC):
        findings = answer(None, "doctor", "--reader", SLOTS[0])["findings"]
    found = [(entry["check"], entry["verdict"], entry["finding"]) for entry in findings]
    assert any((check, verdict) == (f"card in {SLOTS[0]}", "good") for check, verdict, _ in found)
    named = {"pyscard": "pyscard", "pcsclite": "pcsc-lite's own library"}[pcsc_library]
    assert ("PC/SC service", "good", f"it answers, through {named}") in found
