"""`relay`."""

from __future__ import annotations

import subprocess

from tests.ctl.program import answer, run
from tests.support.emulator import EmulatorProcess


def test_relay(card: EmulatorProcess) -> None:
    import signal
    import socket

    from tests.ctl.program import COMMAND, environment

    child = subprocess.Popen(
        [*COMMAND, "relay", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(card),
    )
    try:
        assert child.stdout is not None
        ready = child.stdout.readline()
        assert ready.startswith("ready listen=127.0.0.1:")
        where = ready.split()[1].removeprefix("listen=")
        assert answer(None, "info", "--reader", f"tcp:{where}")["serial"] == str(card.serial)
        host, _, port = where.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as silent:
            busy = answer(None, "info", "--reader", f"tcp:{where}", code=3, CRYPTNOX_WAIT="0.2")
            assert "in use by another program" in busy["error"]
            name = "{}:{}".format(*silent.getsockname())
            assert child.stderr is not None
            assert f"was turned away: {name} is using the card" in child.stderr.readline()
        answer(None, "info", "--reader", f"tcp:{where}")
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    done = run(card, "relay", "--listen", "0.0.0.0:0")
    assert done.returncode == 2
    assert "--remote" in done.stderr or "remote" in done.stderr
