"""Remakes the pictures in docs/pictures from what cryptnoxctl really shows, on a terminal, with an emulated card.

    .venv/bin/python scripts/pictures.py

`info`, the review of a transaction, and a signing in progress. What the terminal received is replayed by rich, which
writes the SVG.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from io import StringIO
from pathlib import Path

import pexpect
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.psbt.factory import ME, OTHER, Out, draft, out_deriv, p2wpkh, spend  # noqa: E402
from tests.support.emulator import PIN, EmulatorProcess  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
SEED = bytes(range(64)).hex()
WIDTH = 96
CHANGE = "m/84h/0h/0h/1/3"
_MOVES = re.compile(r"\x1b\[(?:\?[0-9]+[hl]|[0-9]*[A-HJKST])")
"""Cursor movements: what follows stands where something else was."""


class Terminal:
    """One run of the program, and all it wrote."""

    def __init__(self, card: EmulatorProcess, folder: str, *words: str) -> None:
        environment = {
            **os.environ,
            "CRYPTNOX_EMULATOR": f"{card.host}:{card.port}",
            "XDG_STATE_HOME": folder,
            "XDG_CONFIG_HOME": folder,
            "PCSCLITE_CSOCK_NAME": f"{folder}/none",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }
        environment.pop("NO_COLOR", None)
        self.title = " ".join(["cryptnoxctl", *(Path(word).name for word in words)])
        self.log = StringIO()
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "hwilib_cryptnox.ctl.main", *words],
            env=environment,
            cwd=str(ROOT),
            encoding="utf-8",
            dimensions=(50, WIDTH),
            timeout=30,
        )
        self.child.logfile_read = self.log

    def save(self, name: str) -> None:
        """Write what was shown so far as a picture."""
        console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(screen(self.log.getvalue())))
        PICTURES.mkdir(exist_ok=True)
        path = PICTURES / f"{name}.svg"
        console.save_svg(str(path), title=self.title)
        path.write_text(re.sub(r"terminal-\d+", f"terminal-{name}", path.read_text("utf-8")), "utf-8")
        print(path.relative_to(ROOT))


def screen(received: str) -> str:
    """What stands on the screen: a line that was written again stands as it was written last."""
    lines = []
    for line in received.replace("\r\n", "\n").split("\n"):
        lines.append(_MOVES.sub("", line.split("\r")[-1]))
    return "\n".join(lines).strip("\n")


def payment(folder: str, count: int) -> str:
    """A PSBT with a payment and change."""
    outs = [
        Out(p2wpkh(OTHER.key("m/0")), 3_240_000),
        Out(p2wpkh(ME.key(CHANGE)), 100_000 * count - 3_240_000 - 41_000, [out_deriv(CHANGE)]),
    ]
    path = Path(folder) / "payment.psbt"
    path.write_bytes(draft(*(spend("p2wpkh", number) for number in range(count)), outs=outs).encode())
    return str(path)


def main() -> None:
    """All pictures."""
    options = ("--seed", SEED, "--xpub-export", "--latency", "sign=60")
    with tempfile.TemporaryDirectory() as folder, EmulatorProcess(*options, listen="127.0.0.1:9720") as card:
        info = Terminal(card, folder, "info")
        info.child.expect(pexpect.EOF)
        info.save("info")
        signing = Terminal(card, folder, "sign", payment(folder, 60))
        signing.child.expect_exact("PIN of card")
        signing.child.sendline(PIN)
        signing.child.expect_exact("[y/N] ")
        signing.save("review")
        signing.child.sendline("y")
        signing.child.expect(r"m3\d/60.*?0:00:\d\d")
        signing.save("signing")
        signing.child.expect(pexpect.EOF)


if __name__ == "__main__":
    main()
