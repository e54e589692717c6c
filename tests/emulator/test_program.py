"""``cryptnoxctl emulator`` as a process: options, ready line, state, stats, trace, faults, delays, one client."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from embit import bip32, bip39

from cryptnox_core.emulator.faults import Fault, FaultKind, Latency, parse_fault, parse_latency
from tests.emulator.client import AID, OK, Host, read_exactly
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess

SELECT = b"\0\xa4\4\0\7" + AID
SEED = "000102030405060708090a0b0c0d0e0f"


class Wire:
    """A client of the relay's framing, written anew; with ``process`` it serves as a ``Card`` for ``Host``."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.socket = socket.create_connection((emulator.host, emulator.port), timeout=10)

    def read(self, length: int) -> bytes:
        return read_exactly(self.socket, length)

    def exchange(self, apdu: bytes) -> bytes:
        body = json.dumps(list(apdu)).encode()
        self.socket.sendall(str(len(body)).encode().ljust(64) + body)
        data, sw1, sw2 = json.loads(self.read(int(self.read(64))))
        return bytes([*data, sw1, sw2])

    def process(self, apdu: bytes) -> Wire:
        self.raw = self.exchange(apdu)
        return self

    def close(self) -> None:
        self.socket.close()

    def host(self) -> Host:
        return Host(self)  # type: ignore[arg-type]


def failing(*options: str) -> tuple[int, str]:
    """Exit code and message of a start that must fail."""
    command = [sys.executable, "-m", "hwilib_cryptnox.ctl.main", "emulator", "--listen", "127.0.0.1:0", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.stdout == ""
    return result.returncode, result.stderr


def test_ready_line_defaults_and_sigterm() -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC) as emulator:
        assert emulator.ready == f"ready listen=127.0.0.1:{emulator.port} vpcd=- serial={emulator.serial}"
        card = Wire(emulator).host().connect()
        assert card.verify(PIN) == OK
        assert card.status(0xDA, data=card.pairing + PUK.encode()) == OK
        root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
        point = card.get(0xC2, 0, 1)
        assert point[1:33] == root.get_public_key().sec()[1:]
        assert emulator.stop() == 0
    with EmulatorProcess("--mnemonic", MNEMONIC) as again:
        assert again.serial == emulator.serial >= 2**56


def test_factory_state_and_with_a_pin() -> None:
    with EmulatorProcess() as emulator:
        assert Wire(emulator).exchange(SELECT)[:8] == b"B\1\6\0\0\0\0\0"
    with EmulatorProcess("--pin", "1234", "--type", "N", "--serial", str(2**63)) as emulator:
        assert emulator.serial == 2**63
        assert Wire(emulator).exchange(SELECT)[:6] == b"N\1\6\0\0\x50"


def test_secrets_from_the_environment() -> None:
    environment = {
        "CRYPTNOX_EMULATOR_SEED": SEED,
        "CRYPTNOX_EMULATOR_PIN": "13579",
        "CRYPTNOX_EMULATOR_PUK": "puk puk puk!",
    }
    with EmulatorProcess(environment=environment) as emulator:
        card = Wire(emulator).host().connect()
        assert card.verify("13579") == OK
        assert card.status(0xDA, data=card.pairing + b"puk puk puk!") == OK


def test_the_command_line_goes_before_the_environment() -> None:
    environment = {"CRYPTNOX_EMULATOR_SEED": SEED, "CRYPTNOX_EMULATOR_PIN": "13579"}
    with EmulatorProcess("--mnemonic", MNEMONIC, "--pin", "2468", environment=environment) as emulator:
        card = Wire(emulator).host().connect()
        assert card.verify("2468") == OK
        root = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
        assert card.get(0xC2, 0, 1)[1:33] == root.get_public_key().sec()[1:]


@pytest.mark.parametrize(
    "options",
    [
        ("--serial", str(2**56 - 1)),
        ("--serial", str(2**64)),
        ("--seed", "00"),
        ("--seed", "xy" * 16),
        ("--seed", SEED, "--mnemonic", MNEMONIC),
        ("--mnemonic", MNEMONIC.replace("about", "abandon")),
        ("--mnemonic", "no words at all"),
        ("--passphrase", "x"),
        ("--pin", "123"),
        ("--pin", "12345a"),
        ("--pin", "1234", "--puk", "short"),
        ("--puk", PUK),
        ("--xpub-export",),
        ("--type", "X"),
        ("--fault", "explode@1"),
        ("--fault", "remove@0"),
        ("--latency", "tea=5"),
        ("--latency", "apdu=-5"),
        ("--reading", "tea-leaves"),
        ("--state", "/nonexistent/folder/state.json"),
        ("--listen", "nowhere"),
    ],
)
def test_usage_errors(options: tuple[str, ...]) -> None:
    code, error = failing(*options)
    assert code == 2 and "Traceback" not in error and error


def test_one_program_a_state_file(tmp_path: Path) -> None:
    """A second one would restore the PIN tries that the first one's card has lost."""
    state = tmp_path / "card.json"
    with EmulatorProcess("--seed", SEED, "--state", str(state)) as emulator:
        code, error = failing("--state", str(state))
        assert code == 2 and "another emulator is using this file" in error
        assert Wire(emulator).host().connect().verify("9999") == 0x63C5
        os.kill(emulator.pid, signal.SIGKILL)
    assert stat.S_IMODE((tmp_path / "card.json.lock").stat().st_mode) == 0o600
    with EmulatorProcess("--state", str(state)) as again:
        assert Wire(again).host().connect().get(0x20) == b"\5"


def test_the_lock_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "card.json.lock").symlink_to(tmp_path / "elsewhere")
    code, error = failing("--seed", SEED, "--state", str(tmp_path / "card.json"))
    assert code == 2 and "card.json.lock" in error
    assert not (tmp_path / "elsewhere").exists()


def test_state_is_kept_and_wins(tmp_path: Path) -> None:
    state = tmp_path / "card.json"
    options = ("--seed", SEED, "--pin", "1234", "--state", str(state))
    with EmulatorProcess(*options) as emulator:
        card = Wire(emulator).host().connect()
        assert card.verify("9999") == 0x63C5
        assert json.loads(state.read_text())["pin_tries"] == 5  # before the answer
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
    with EmulatorProcess("--state", str(state)) as again:
        assert again.serial == emulator.serial
        card = Wire(again).host().connect()
        assert card.get(0x20) == b"\5"
        assert card.verify("1234") == OK
        card.get(0xD1, 0, 0, b"\0\0\0\1")
    with EmulatorProcess(*options) as same:
        card = Wire(same).host().connect()
        card.verify("1234")
        assert card.get(0xC2, 0, 0) == b"\0\0\0\1"
    for contradiction in (
        ("--pin", "1235"),
        ("--seed", SEED + "00"),
        ("--puk", "another puk!"),
        ("--xpub-export",),
        ("--serial", str(2**60)),
        ("--type", "N"),
    ):
        code, error = failing("--state", str(state), *contradiction)
        assert code == 2 and contradiction[0] in error
    state.write_text("{}")
    assert failing("--state", str(state))[0] == 2


def test_a_random_serial_is_kept(tmp_path: Path) -> None:
    options = ("--state", str(tmp_path / "card.json"))
    with EmulatorProcess(*options) as first:
        pass
    with EmulatorProcess(*options) as second:
        assert first.serial == second.serial
    with EmulatorProcess() as other:
        assert other.serial != first.serial


def test_stats_and_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with EmulatorProcess("--seed", SEED, "--trace", str(trace)) as emulator:
        assert emulator.stats() == {
            "apdus": 0,
            "bytes_in": 0,
            "bytes_out": 0,
            "derivations": 0,
            "signatures": 0,
            "pin_tries": 0,
            "puk_tries": 0,
            "by_ins": {},
        }
        wire = Wire(emulator)
        answer = wire.exchange(SELECT)
        assert emulator.stats()["bytes_in"] == len(SELECT) and emulator.stats()["bytes_out"] == len(answer)
        card = wire.host().connect()
        card.verify("1111")
        card.status(0xDA, data=bytes(32) + b"x" * 12)
        card.verify(PIN)
        card.get(0xD1, 0, 0, bytes(8))
        card.get(0xC2, 1, 1, bytes(4))
        card.get(0xC0, 1, 0, bytes(32) + bytes(12) + PIN.encode().ljust(9, b"\0"))
        stats = emulator.stats()
        assert (stats["derivations"], stats["signatures"]) == (2 + 1 + 3, 1)
        assert (stats["pin_tries"], stats["puk_tries"]) == (1, 1)
        assert stats["by_ins"]["20"] == 2 and stats["by_ins"]["C0"] == 1
        assert stats["apdus"] == sum(stats["by_ins"].values())
        lines = trace.read_text().splitlines()
        assert lines[0] == f"1 00A40400 in={len(SELECT)} out=26 sw=9000 inner=-"
        assert any(line.endswith("sw=9000 inner=63C5") for line in lines)
        assert not any(len(word) > 10 for line in lines for word in line.split())


def test_a_connection_is_a_power_cycle_and_a_second_one_is_closed() -> None:
    with EmulatorProcess("--seed", SEED) as emulator:
        wire = Wire(emulator)
        card = wire.host().connect()
        assert [card.verify("9999") for _ in range(4)][-1] == 0x63C0
        busy = Wire(emulator)
        assert busy.socket.recv(1) == b""
        assert card.status(0xFA) == OK
        wire.close()
        for _ in range(20):  # the next client comes at once and is never taken for a second one
            wire = Wire(emulator)
            assert wire.exchange(SELECT)[-2:] == b"\x90\0"
            wire.close()
        assert Wire(emulator).host().connect().verify(PIN) == OK


@pytest.mark.parametrize(
    "message",
    [
        b"x" * 64,
        b"-1".ljust(64),
        b"99999999".ljust(64),
        b"2".ljust(64) + b"{}",
        b"5".ljust(64) + b"[256]",
        b"1".ljust(64) + b"[",
    ],
)
def test_nonsense_ends_the_connection(message: bytes) -> None:
    with EmulatorProcess() as emulator:
        wire = Wire(emulator)
        wire.socket.sendall(message)
        assert wire.socket.recv(1) == b""
        assert Wire(emulator).exchange(SELECT)[-2:] == b"\x90\0"


def test_deep_nonsense_is_nonsense() -> None:
    """More brackets than Python follows; no traceback either."""
    with EmulatorProcess() as emulator:
        wire = Wire(emulator)
        wire.socket.sendall(b"400000".ljust(64) + b"[" * 200_000 + b"]" * 200_000)
        assert wire.socket.recv(1) == b""
        assert Wire(emulator).exchange(SELECT)[-2:] == b"\x90\0"
        process = emulator._process
        assert process is not None
        process.terminate()
        assert process.communicate(timeout=30)[1] == ""


def test_messages_in_pieces() -> None:
    with EmulatorProcess() as emulator:
        wire = Wire(emulator)
        body = json.dumps(list(SELECT)).encode()
        for byte in str(len(body)).encode().ljust(64) + body:
            wire.socket.sendall(bytes([byte]))
        assert json.loads(wire.read(int(wire.read(64))))[1:] == [0x90, 0]


def test_latency() -> None:
    with EmulatorProcess("--seed", SEED, "--latency", "apdu=30,derive=200,sign=100") as emulator:
        card = Wire(emulator).host().connect()
        card.verify(PIN)

        def took(ins: int, *rest: object) -> float:
            start = time.monotonic()
            card.get(ins, *rest)  # type: ignore[arg-type]
            return time.monotonic() - start

        assert 0.03 <= took(0xFA) < 0.2
        assert 0.43 <= took(0xD1, 0, 0, bytes(8)) < 0.8
        assert 0.13 <= took(0xC0, 0, 0, bytes(32) + PIN.encode().ljust(9, b"\0")) < 0.4


def test_faults_by_kind() -> None:
    faults = ("reset@5", "garbage@6", "badmac@7", "sw:6F00@8", "remove@9")
    options = [option for fault in faults for option in ("--fault", fault)]
    with EmulatorProcess("--seed", SEED, *options) as emulator:
        wire = Wire(emulator)
        good = wire.exchange(SELECT)
        for _ in range(3):
            assert wire.exchange(SELECT) == good
        assert wire.exchange(b"\x80\xf4\0\0") == b"\x69\x85"
        garbage = wire.exchange(SELECT)
        assert garbage[-2:] == b"\x90\0" and garbage != good
        changed = wire.exchange(SELECT)
        assert changed == bytes([good[0] ^ 1]) + good[1:]
        assert wire.exchange(SELECT) == b"\x6f\0"
        with pytest.raises(ConnectionError):
            wire.exchange(SELECT)
        assert emulator.stats()["apdus"] == 9
        assert Wire(emulator).exchange(SELECT) == good


def test_silence_and_faults_by_instruction() -> None:
    with EmulatorProcess("--seed", SEED, "--fault", "silence@20:2", "--fault", "badmac@FA:1") as emulator:
        wire = Wire(emulator)
        card = wire.host().connect()
        assert card.verify("1111") == 0x63C5
        frame, _ = card.wrap(0x20, 0, 0, b"1111")
        wire.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            wire.exchange(frame)
        assert emulator.stats()["pin_tries"] == 2  # it was done all the same
        wire.close()
        wire = Wire(emulator)
        card = wire.host().connect()
        frame, mac = card.wrap(0xFA, 0, 0, b"")
        with pytest.raises(AssertionError):
            card.unwrap(mac, wire.exchange(frame)[:-2])


def test_a_reset_torn_by_removal(tmp_path: Path) -> None:
    with EmulatorProcess("--seed", SEED, "--fault", "remove@FD:1", "--state", str(tmp_path / "s")) as emulator:
        card = Wire(emulator).host().connect()
        with pytest.raises(ConnectionError):
            card.send(0xFD, data=PUK.encode())
        assert Wire(emulator).exchange(SELECT)[4:6] == b"\0\x50"


def test_specs() -> None:
    assert parse_fault("sw:6f01@C0:3") == Fault(FaultKind.STATUS, 3, 0xC0, 0x6F01)
    assert parse_fault("remove@12") == Fault(FaultKind.REMOVE, 12)
    assert parse_fault("repeat-nonce@C0:2") == Fault(FaultKind.REPEAT_NONCE, 2, 0xC0)
    assert parse_latency("default") == Latency(20, 0.1, 300, 300)
    assert parse_latency("byte=0.5,apdu=1") == Latency(apdu=1, byte=0.5)
    for bad in ("sw@1", "sw:1@1", "remove", "remove@C0:", "remove@C0:0", ""):
        with pytest.raises(ValueError, match="is not"):
            parse_fault(bad)
    for bad in ("apdu", "apdu=1,apdu=2", "apdu=nan", "apdu=inf", "x=1"):
        with pytest.raises(ValueError):
            parse_latency(bad)
