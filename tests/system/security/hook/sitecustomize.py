"""Loaded by every Python program that runs in a `World`: notes what it starts, where it connects, and what it writes.

One JSON line an event goes to the file WATCH_LOG. WATCH_LEVEL switches logging on for everything, to stderr.
WATCH_NO_NETWORK refuses connections to anything but unix sockets and what it lists (HOST:PORT, blanks between).
"""

import json
import logging
import os
import sys

_LOG = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_ALLOWED = os.environ["WATCH_NO_NETWORK"].split() if "WATCH_NO_NETWORK" in os.environ else None
_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_NETWORK = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo")
_NAMES = ("socket.gethostbyname", "socket.gethostbyaddr")


def _text(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple)):
        return [_text(item) for item in value]
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _watch(event: str, arguments: tuple) -> None:
    if event in _STARTS:
        _note(event, arguments[:2])
    elif event in _NETWORK + _NAMES:
        _note(event, arguments[-1:] if event.startswith("socket.c") else arguments[:2])
        if _ALLOWED is not None:
            _block(event, arguments)
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        _note(event, arguments[:1])


def _block(event: str, arguments: tuple) -> None:
    where = arguments[1] if event in ("socket.connect", "socket.bind") else arguments
    if event == "socket.connect" and isinstance(where, (str, bytes)):
        return
    if isinstance(where, tuple) and f"{where[0]}:{where[1]}" in _ALLOWED:
        return
    raise PermissionError(f"{event} {where!r} is not wanted")


def _note(event: str, arguments: tuple) -> None:
    os.write(_LOG, (json.dumps([os.getpid(), event, _text(arguments)]) + "\n").encode())


sys.addaudithook(_watch)
if "WATCH_LEVEL" in os.environ:
    logging.basicConfig(level=int(os.environ["WATCH_LEVEL"]))
