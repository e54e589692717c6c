"""The suite's own guards: tests meet no card but the emulated ones, and the virtual readers are lent once at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryptnox_core.errors import ServiceUnavailableError
from cryptnox_core.transport.pcsc import list_readers
from tests.support import pcsc

ROOT = Path(__file__).resolve().parent.parent


def test_no_pcsc_service_in_this_process() -> None:
    pytest.importorskip("smartcard.scard", reason="pyscard is not installed")
    with pytest.raises(ServiceUnavailableError):
        list_readers()


def test_no_pcsc_service_in_child_processes() -> None:
    program = "from cryptnox_core.transport.pcsc import list_readers; list_readers()"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert "ServiceUnavailableError" in run.stderr


def test_no_setting_of_the_developer_is_seen() -> None:
    ours = {name for name in os.environ if name.startswith("CRYPTNOX_")}
    assert ours <= {"CRYPTNOX_VECTORS", "CRYPTNOX_NOT_TESTED", "CRYPTNOX_TEST_READER_WAIT"}
    assert not Path(os.environ["XDG_STATE_HOME"]).exists()
    assert not Path(os.environ["XDG_CONFIG_HOME"]).exists()


def test_the_lock_is_waited_for_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = pcsc.take_lock(path, wait=0)
    with pytest.raises(pcsc.UnavailableError, match="another test run"):
        pcsc.take_lock(path, wait=0.3)
    os.close(lock)
    os.close(pcsc.take_lock(path, wait=0))


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    program = (
        f"import pathlib, tests.support.pcsc as p; p.take_lock(pathlib.Path({str(path)!r}), 0); print('held'); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(pcsc.UnavailableError):
            pcsc.take_lock(path, wait=0)
    finally:
        holder.kill()
        holder.communicate(timeout=10)
    os.close(pcsc.take_lock(path, wait=5))
