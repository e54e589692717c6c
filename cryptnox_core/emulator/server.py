"""The emulated card at work: faults, delays, files and power around it, and its TCP server (docs/emulator.md).

It listens, the wallet connects. A connection is a power-up, its end a power-down; one client at a time, a further
connection is closed at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TextIO

from cryptnox_core.emulator.card import Answer, Card
from cryptnox_core.emulator.faults import NO_LATENCY, Fault, FaultKind, FaultPlan, Latency
from cryptnox_core.emulator.memory import Json, to_json
from cryptnox_core.wire import RELAY_HEADER, Ins, Sw

_MAX_MESSAGE = 1 << 19
"""The longest APDU as a JSON list stays under this many bytes."""
_CHUNK = 1 << 16
_LINGER = 5.0
"""Seconds a new connection waits for the thread of one that is already closed by its client."""
_ATTENTION = 0.5
"""Seconds after which a Ctrl-C is seen, at the latest."""
_GARBAGE = 48
_HEADER = 4


class Gone(Enum):
    """Why an exchange has no answer."""

    REMOVED = "removed"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Files:
    """Where state, stats and trace go; `None` for nowhere."""

    state: Path | None = None
    stats: Path | None = None
    trace: Path | None = None


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step; readable by its owner alone."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


class Engine:
    """A card, and what surrounds it. `exchange` and `power_up` may be called from several threads."""

    def __init__(
        self,
        card: Card,
        *,
        files: Files = Files(),
        faults: tuple[Fault, ...] = (),
        latency: Latency = NO_LATENCY,
    ) -> None:
        self._card = card
        self._files = files
        self._plan = FaultPlan(faults)
        self._latency = latency
        self._lock = threading.Lock()
        self._by_ins: Counter[str] = Counter()
        self._apdus = self._bytes_in = self._bytes_out = 0
        self._saved: Json | None = None
        self._trace: TextIO | None = files.trace.open("a", encoding="utf-8", buffering=1) if files.trace else None
        self._save()
        self._write_stats()

    @property
    def serial(self) -> int:
        """The card's serial number."""
        return self._card.memory.serial

    def power_up(self) -> None:
        """Power cycle; what a reading loses by it is saved."""
        with self._lock:
            self._card.power_up()
            self._save()

    def exchange(self, raw: bytes) -> bytes | Gone:
        """Answer one APDU as data and status word, after everything about it is on disk."""
        with self._lock:
            return self._exchange(raw)

    def _exchange(self, raw: bytes) -> bytes | Gone:
        ins = raw[1] if len(raw) > 1 else 0
        fault = self._plan.next(ins)
        before = replace(self._card.counters)
        answer = self._answer(raw, ins, fault)
        self._apdus += 1
        self._by_ins[f"{ins:02X}"] += 1
        self._bytes_in += len(raw)
        sent = answer.raw if isinstance(answer, Answer) else b""
        self._bytes_out += len(sent)
        self._save()
        self._write_stats()
        self._write_trace(raw, answer, fault)
        delay = self._latency.seconds(len(raw) + len(sent), before, self._card.counters)
        if delay:
            time.sleep(delay)
        return sent if isinstance(answer, Answer) else answer

    def _answer(self, raw: bytes, ins: int, fault: Fault | None) -> Answer | Gone:
        if fault is None:
            return self._card.process(raw)
        if fault.kind is FaultKind.STATUS:
            return Answer(b"", fault.sw)
        if fault.kind is FaultKind.REMOVE:
            if ins == Ins.RESET:
                self._card.process(raw, torn=True)
            self._card.power_up()
            return Gone.REMOVED
        if fault.kind is FaultKind.RESET:
            self._card.power_up()
        answer = self._card.process(raw, repeat_nonce=fault.kind is FaultKind.REPEAT_NONCE)
        if fault.kind is FaultKind.SILENCE:
            return Gone.SILENT
        if fault.kind is FaultKind.GARBAGE:
            return Answer(secrets.token_bytes(_GARBAGE), Sw.OK)
        if fault.kind is FaultKind.BADMAC and answer.data:
            return replace(answer, data=bytes([answer.data[0] ^ 1]) + answer.data[1:])
        return answer

    def _save(self) -> None:
        if self._files.state is None:
            return
        state = to_json(self._card.memory)
        if state != self._saved:
            write_atomically(self._files.state, json.dumps(state, indent=1))
            self._saved = state

    def _write_stats(self) -> None:
        if self._files.stats is None:
            return
        stats = {
            "apdus": self._apdus,
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            **self._card.counted,
            "by_ins": dict(self._by_ins),
        }
        write_atomically(self._files.stats, json.dumps(stats))

    def _write_trace(self, raw: bytes, answer: Answer | Gone, fault: Fault | None) -> None:
        """Header, lengths and status words; never what stands between them."""
        if self._trace is None:
            return
        line = f"{self._apdus} {raw[:_HEADER].hex().upper()} in={len(raw)}"
        if isinstance(answer, Answer):
            inner = "-" if answer.inner is None else f"{answer.inner:04X}"
            line += f" out={len(answer.raw)} sw={answer.sw:04X} inner={inner}"
        else:
            line += f" out=0 sw=- inner=- {answer.value}"
        if fault is not None:
            line += f" fault={fault.kind.value}"
        self._trace.write(line + "\n")


class BadMessageError(ValueError):
    """A message that is none of the relay's; the connection is closed."""


def encode_answer(raw: bytes) -> bytes:
    """Header and `[data, sw1, sw2]` of a response APDU."""
    body = json.dumps([list(raw[:-2]), raw[-2], raw[-1]]).encode("ascii")
    return str(len(body)).encode("ascii").ljust(RELAY_HEADER) + body


def decode_length(header: bytes) -> int:
    """The announced length. Raises BadMessageError."""
    text = header.rstrip(b" ")
    if not text.isdigit() or not 0 < int(text) <= _MAX_MESSAGE:
        raise BadMessageError("no length")
    return int(text)


def decode_request(body: bytes) -> bytes:
    """The APDU of a request, a JSON list of byte values. Raises BadMessageError."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadMessageError("no JSON") from error
    if not isinstance(values, list) or not all(type(value) is int and 0 <= value <= 255 for value in values):
        raise BadMessageError("no list of bytes")
    return bytes(values)


def _read(connection: socket.socket, length: int) -> bytes | None:
    """Exactly that many bytes; `None` when the client is gone."""
    parts = []
    while length:
        part = connection.recv(min(length, _CHUNK))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


class TcpServer:
    """Listens from construction on; `serve` accepts until `close` or an exception in its thread."""

    def __init__(self, engine: Engine, host: str, port: int) -> None:
        self._engine = engine
        self._listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._client: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port it really listens on."""
        name = self._listener.getsockname()
        return str(name[0]), int(name[1])

    def serve(self) -> None:
        """Accept connections until the listener is closed."""
        if sys.platform == "win32":  # where Ctrl-C is seen between two calls only
            self._listener.settimeout(_ATTENTION)
        while True:
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if self._busy():
                connection.close()
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = connection
            self._thread = threading.Thread(target=self._serve_client, args=(connection,), daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _busy(self) -> bool:
        """Whether a client holds the card. One that has hung up no longer does; its thread is waited for."""
        thread, client = self._thread, self._client
        if thread is None or client is None or not thread.is_alive():
            return False
        try:
            readable, _, _ = select.select([client], [], [], 0)
            hung_up = bool(readable) and client.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):  # closed meanwhile
            hung_up = True
        if hung_up:
            thread.join(_LINGER)
        return thread.is_alive()

    def _serve_client(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, BadMessageError):
            self._engine.power_up()
            while True:
                header = _read(connection, RELAY_HEADER)
                body = _read(connection, decode_length(header)) if header is not None else None
                if body is None:
                    break
                answer = self._engine.exchange(decode_request(body))
                if answer is Gone.REMOVED:
                    break
                if answer is Gone.SILENT:
                    while connection.recv(_CHUNK):
                        pass  # the card is there and never speaks again; the client ends this
                    break
                if isinstance(answer, bytes):
                    connection.sendall(encode_answer(answer))
        self._engine.power_up()
