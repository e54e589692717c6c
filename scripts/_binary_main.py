"""What the one-file binary runs: the program it is called as. `hwi-cryptnox`, `cryptnoxctl`, `hwi` are links to it."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import PurePath
from types import FrameType

HOW = """\
{file} is hwi-cryptnox and cryptnoxctl in one file: it is the program by whose name it is called.
Put it where programs are, under both names:

  install -D -m 755 {file} ~/.local/bin/cryptnoxctl
  ln -sf cryptnoxctl ~/.local/bin/hwi-cryptnox

Under the name hwi it takes the place of HWI's program, for wallets that run a file of that name. {as_hwi} as the first
word does the same under any name.
"""
NEITHER = 2
TWICE = 1.0
"""Seconds in which a signal that comes again is the same one."""
_PR_SET_PDEATHSIG = 1


def take_signals_once() -> None:
    """The binary is two processes: one unpacks and waits, this one works. What a key of the terminal sends reaches
    both, and the first hands on what it gets, so that it comes twice; the second would cut short what the first did."""
    interrupt, came = signal.default_int_handler, dict.fromkeys((signal.SIGINT, signal.SIGTERM), -TWICE)

    def once(number: int, frame: FrameType | None) -> None:
        before, came[signal.Signals(number)] = came[signal.Signals(number)], time.monotonic()
        if time.monotonic() - before >= TWICE:
            interrupt(number, frame)

    signal.default_int_handler = once  # what the programs take for SIGTERM
    if signal.getsignal(signal.SIGINT) is interrupt:  # not ignored, as by nohup
        signal.signal(signal.SIGINT, once)


def end_with_the_first() -> None:
    """A killed process hands on nothing: without this, the card would stay in this one's hands."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> int | None:
    """The program of that name; another name is a usage error."""
    from hwilib_cryptnox.hwi.arguments import AS_HWI, called_hwi

    name = PurePath(sys.argv[0]).name
    if name == "hwi-cryptnox" or called_hwi(name) or sys.argv[1:2] == [AS_HWI]:
        from hwilib_cryptnox.hwi.program import main as hwi

        return hwi()
    if name == "cryptnoxctl":
        from hwilib_cryptnox.ctl.main import main as ctl

        return ctl()
    sys.stderr.write(HOW.format(file=sys.argv[0], as_hwi=AS_HWI))
    return NEITHER


if __name__ == "__main__":
    end_with_the_first()
    take_signals_once()
    sys.exit(main())
