"""`doctor`, its recordings and what they tell."""

from __future__ import annotations

import json
import os
import signal
import sys
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
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.main import main
from tests.core.emulated import SERIAL, seeded
from tests.ctl.program import SEED, answer, dialogue, ended, run, shown, terminal
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.listeners import readers_called
from tests.support.pcsc import SLOTS, VirtualReaders

if sys.platform != "win32":
    import pwd


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


def test_a_reader_that_is_called_as_an_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with readers_called(monkeypatch, "tcp:127.0.0.1:9720 00 00", "Good"):
        _, odd, readers = doctor._service()
    assert odd.verdict is doctor.Verdict.NOTE and odd.remedy == "use another reader"
    assert odd.text.startswith("tcp:127.0.0.1:9720 00 00 is left out")
    assert (readers.verdict, readers.text) == (doctor.Verdict.GOOD, "Good")
    with readers_called(monkeypatch, "tcp:127.0.0.1:9720 00 00"):
        *_, readers = doctor._service()
    assert (readers.verdict, readers.text) == (doctor.Verdict.BAD, "there is none")


@pytest.mark.skipif(sys.platform == "win32", reason="users of Windows are otherwise")
def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It says which variables to set, and tells the rest."""

    def nobody(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["doctor", "--json"]) == Exit.NO_CARD
        findings = {entry["check"]: entry for entry in json.loads(capsys.readouterr().out)["findings"]}
        assert main(["list"]) == Exit.USAGE
    finally:
        signal.signal(signal.SIGTERM, before)
    for check, variable in (("configuration", "XDG_CONFIG_HOME"), ("memory", "XDG_STATE_HOME")):
        assert (findings[check]["verdict"], findings[check]["finding"]) == ("bad", "this user has no home folder")
        assert findings[check]["remedy"] == f"set HOME or {variable} to the full path of a folder that is yours"
    assert findings["PC/SC service"]["verdict"] == "bad" and "versions" in findings
    assert "This user has no home folder: set HOME or XDG_CONFIG_HOME" in capsys.readouterr().err


def test_anchors_in_the_home_of_nobody(card: EmulatorProcess) -> None:
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('anchors = ["~nobody-at-all/ca.pem"]\n')
    assert "~nobody-at-all/ca.pem" in answer(card, "info", code=2)["error"]


@pytest.mark.pcsc("both")
def test_the_pcsc_library_in_use_is_named(virtual_readers: VirtualReaders, pcsc_library: str) -> None:
    with virtual_readers.card("--mnemonic", MNEMONIC):
        findings = answer(None, "doctor", "--reader", SLOTS[0])["findings"]
    found = [(entry["check"], entry["verdict"], entry["finding"]) for entry in findings]
    assert any((check, verdict) == (f"card in {SLOTS[0]}", "good") for check, verdict, _ in found)
    named = {"pyscard": "pyscard", "pcsclite": "pcsc-lite's own library"}[pcsc_library]
    assert ("PC/SC service", "good", f"it answers, through {named}") in found
