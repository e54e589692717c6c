"""What the one-file binary runs: the program it is called as. `hwi-cryptnox` and `cryptnoxctl` are links to it."""

from __future__ import annotations

import sys
from pathlib import PurePath

HOW = """\
{file} is hwi-cryptnox and cryptnoxctl in one file: it is the program by whose name it is called.
Put it where programs are, under both names:

  install -D -m 755 {file} ~/.local/bin/cryptnoxctl
  ln -sf cryptnoxctl ~/.local/bin/hwi-cryptnox
"""
NEITHER = 2


def main() -> int | None:
    """The program of that name; another name is a usage error."""
    name = PurePath(sys.argv[0]).name
    if name == "hwi-cryptnox":
        from hwilib_cryptnox.hwi.program import main as hwi

        return hwi()
    if name == "cryptnoxctl":
        from hwilib_cryptnox.ctl.main import main as ctl

        return ctl()
    sys.stderr.write(HOW.format(file=sys.argv[0]))
    return NEITHER


if __name__ == "__main__":
    sys.exit(main())
