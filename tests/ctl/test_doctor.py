"""`doctor`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import pytest

from cryptnox_core.crypto import points
from cryptnox_core.transport import pcsclite
from hwilib_cryptnox.ctl.commands import doctor
from tests.ctl.program import answer
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.support.pcsc import SLOTS, VirtualReaders


def test_doctor(card: EmulatorProcess) -> None:
    findings = {entry["check"]: entry for entry in answer(card, "doctor", code=3, schema="doctor")["findings"]}
    assert findings["PC/SC service"]["verdict"] == "bad"
    assert "pcscd" in findings["PC/SC service"]["remedy"]
    assert findings[f"card in {card.path}"]["verdict"] == "good"
    assert card.stats()["pin_tries"] == 0


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
