"""The console of Windows: its modes, and what was typed into it. Nothing on other systems.

Sources: SetConsoleMode and the console's virtual terminal sequences in Microsoft's documentation, msvcrt in Python's.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import IO

ECHO_INPUT = 0x0004
"""Of the input: what is typed is shown."""
SEQUENCES = 0x0004 | 0x0001
"""Of the output: ENABLE_VIRTUAL_TERMINAL_PROCESSING, and ENABLE_PROCESSED_OUTPUT that it needs."""


@contextlib.contextmanager
def mode(file: IO[str], *, on: int = 0, off: int = 0) -> Iterator[None]:
    """Bits of a console's mode on or off, and back whatever happens. Raises: OSError where it has no such mode."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt
        from ctypes import wintypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle, before = wintypes.HANDLE(msvcrt.get_osfhandle(file.fileno())), wintypes.DWORD()
        if not kernel.GetConsoleMode(handle, ctypes.byref(before)):
            raise OSError("no console")
        if not kernel.SetConsoleMode(handle, wintypes.DWORD(before.value & ~off | on)):
            raise OSError("a console without this mode")
        try:
            yield
        finally:
            kernel.SetConsoleMode(handle, before)
    else:
        yield


def typed(wait: float = 0.0) -> str:
    """What was typed and not read yet, and is now; `wait`: seconds that the rest of what was pasted may take."""
    found = ""
    if sys.platform == "win32":
        import msvcrt

        time.sleep(wait)
        while msvcrt.kbhit():
            found += msvcrt.getwch()
    return found
