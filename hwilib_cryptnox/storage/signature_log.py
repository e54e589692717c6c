"""The lines that tell what was signed, and an index of them, so that 100,000 of them cost a signing nothing.

`audit.jsonl` has a JSON object a line for each batch of signatures that a card was asked for, and one for each it made;
`nonces.jsonl` has what has to be remembered where the audit is switched off. Both only grow. `audit.index` leads from
a value of a line to the line, and holds nothing of its own: it is made anew where it is missing, damaged, or does not
go with the files.

The index is a hash table of slots: 16 bytes of SHA-256 of field and value, and 8 bytes: the place of the line. What is
found is compared with the line itself. A kill loses no slot. For a power cut the header has two positions: up to
`safe` everything is on disk, up to `seen` it is in the table; a process that has not used the index before goes on
from `safe`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from hwilib_cryptnox.storage.files import PrivateFolder, parsed_json, to_disk

Entry = dict[str, object]
"""One line."""
AUDIT, NONCES, INDEX = "audit.jsonl", "nonces.jsonl", "audit.index"
LOGS = (AUDIT, NONCES)
INDEXED = (("r", "of"), ("outpoint", "payees"), ("txid", "ours"))
"""Fields that lines are found by, each with the field that makes a further line of the same value worth a slot."""

_MAGIC = b"hwicxix1"
_HEADER = struct.Struct(">8sQQ QQ16s QQ16s")
"""Magic, slots, slots in use; for each log: safe, seen, digest of what stands before `seen`."""
_SLOT = struct.Struct(">16sQ")
_EMPTY = bytes(_SLOT.size)
_START = 128
"""Where the slots begin."""
_CHECK = 8
_LEAST_SLOTS = 1 << 10
_CLUSTER = 64
"""Slots that are read at a time."""
_TAIL = 256
"""Bytes before a position that show that the log is still the same."""
_MOST_UNSAFE = 1 << 16
"""Bytes that a new process may have to read again, before they are made safe."""
_MOST_BEHIND = 1 << 20
"""Bytes that the index may be behind before all of it is made anew, which is quicker by the line."""
_MOST_COMPARED = 16
"""Lines with a value that a further one is compared with before it gets a slot of its own."""
_LINE = 1 << 10
_LONGEST_LINE = 1 << 24


@dataclass(slots=True)
class _Mark:
    """How far a log has been taken in."""

    safe: int = 0
    seen: int = 0
    tail: bytes = bytes(16)


@dataclass(slots=True)
class _Header:
    slots: int = _LEAST_SLOTS
    used: int = 0
    marks: dict[str, _Mark] = field(default_factory=lambda: {log: _Mark() for log in LOGS})

    def encode(self) -> bytes:
        marks = [part for log in LOGS for part in (self.marks[log].safe, self.marks[log].seen, self.marks[log].tail)]
        body = _HEADER.pack(_MAGIC, self.slots, self.used, *marks)
        return (body + hashlib.sha256(body).digest()[:_CHECK]).ljust(_START, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> _Header | None:
        body, check = data[: _HEADER.size], data[_HEADER.size : _HEADER.size + _CHECK]
        if len(body) < _HEADER.size or hashlib.sha256(body).digest()[:_CHECK] != check or body[:8] != _MAGIC:
            return None
        _, slots, used, *marks = _HEADER.unpack(body)
        return cls(slots, used, {log: _Mark(*marks[3 * n : 3 * n + 3]) for n, log in enumerate(LOGS)})


class SignatureLog:
    """Used within `with`, under a lock that all processes take. Failures are OSErrors."""

    def __init__(self, files: PrivateFolder) -> None:
        self._files = files
        self._known = False
        """This process has used the index: no power cut can have been since."""
        self._index = -1
        self._header = _Header()
        self._open: dict[str, int] = {}

    def __enter__(self) -> SignatureLog:
        try:
            self._begin()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def find(self, name: str, value: str) -> Iterator[Entry]:
        """The lines in which a field of `INDEXED` has a value: one for each value of its second field."""
        for place in self._places(_key(name, value)):
            entry = self._line(place)
            if entry is not None and entry.get(name) == value:
                yield entry

    def add(self, log: str, entry: Entry, *, sync: bool = False) -> None:
        """Append a line. `sync`: it is on disk when this returns, with all before it."""
        content = json.dumps(entry).encode("ascii") + b"\n"
        start = self._files.append(log, content, sync=sync)
        self._take_in(log, start, entry)
        self._mark(log, start + len(content))
        self._write_header()

    # The index file

    def _begin(self) -> None:
        self._index = self._files.descriptor(INDEX)
        header = _Header.decode(_read(self._index, 0, _START))
        if header is None or not self._fits(header):
            self._rebuild()
        else:
            self._header = header
            for log in LOGS:
                self._catch_up(log, header.marks[log].seen if self._known else header.marks[log].safe)
            if any(mark.seen - mark.safe > _MOST_UNSAFE for mark in header.marks.values()):
                self._make_safe()
        self._known = True

    def _close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        if self._index >= 0:
            os.close(self._index)
            self._index = -1

    def _fits(self, header: _Header) -> bool:
        """Whether the table has its size, and the logs are those it was made of."""
        if os.fstat(self._index).st_size != _START + header.slots * _SLOT.size or header.used >= header.slots:
            return False
        for log, mark in header.marks.items():
            if mark.safe > mark.seen or (mark.seen and self._tail(log, mark.seen) != mark.tail):
                return False
            if self._size(log) - mark.safe > _MOST_BEHIND:
                return False
        return True

    def _size(self, log: str) -> int:
        descriptor = self._descriptor(log)
        return 0 if descriptor is None else os.fstat(descriptor).st_size

    def _tail(self, log: str, position: int) -> bytes | None:
        descriptor = self._descriptor(log)
        if descriptor is None or self._size(log) < position:
            return None
        start = max(0, position - _TAIL)
        return hashlib.sha256(_read(descriptor, start, position - start)).digest()[:16]

    def _mark(self, log: str, position: int) -> None:
        mark = self._header.marks[log]
        mark.seen, mark.tail = position, self._tail(log, position) or bytes(16)

    def _write_header(self) -> None:
        _write(self._index, 0, self._header.encode())

    def _make_safe(self) -> None:
        to_disk(self._index)
        for mark in self._header.marks.values():
            mark.safe = mark.seen
        self._write_header()

    def _catch_up(self, log: str, position: int) -> None:
        """Take in what was appended since, by a process that was killed or does not know the index."""
        descriptor, end = self._descriptor(log), self._size(log)
        if descriptor is None or position >= end:
            return
        content = _read(descriptor, position, end - position)
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            entry = _parsed(line)
            if entry is not None:
                self._take_in(log, position, entry)
            position += len(line)
        self._mark(log, position)
        self._write_header()

    def _take_in(self, log: str, start: int, entry: Entry) -> None:
        place = _place(log, start)
        for name, other in INDEXED:
            value = entry.get(name)
            if not isinstance(value, str) or other not in entry:
                continue
            key = _key(name, value)
            known = list(self._places(key))
            if place not in known and not any(
                line is not None and line.get(name) == value and line.get(other) == entry[other]
                for line in map(self._line, known[:_MOST_COMPARED])
            ):
                self._insert(key, place)

    # Slots

    def _places(self, key: bytes) -> Iterator[int]:
        for slot_key, place, _ in self._probe(key):
            if slot_key == key and place:
                yield place

    def _insert(self, key: bytes, place: int) -> None:
        if (self._header.used + 1) * 3 > self._header.slots * 2:
            self._grow()
        for _, found, at in self._probe(key):
            if not found:
                _write(self._index, at, _SLOT.pack(key, place))
                self._header.used += 1
                return
        self._grow()  # its header was told less than there is
        self._insert(key, place)

    def _probe(self, key: bytes) -> Iterator[tuple[bytes, int, int]]:
        """Key, place and position of the slots that may hold a key; the last one is empty."""
        slots = self._header.slots
        number, left = int.from_bytes(key[:8], "big") % slots, slots
        while left > 0:
            count = min(_CLUSTER, slots - number)
            start = _START + number * _SLOT.size
            content = _read(self._index, start, count * _SLOT.size)
            for at, (slot_key, place) in enumerate(_SLOT.iter_unpack(content)):
                yield slot_key, place, start + at * _SLOT.size
                if not place:
                    return
            number, left = (number + count) % slots, left - count

    def _grow(self) -> None:
        content = _read(self._index, _START, self._header.slots * _SLOT.size)
        self._replace([slot for slot in _SLOT.iter_unpack(content) if slot[1]])

    def _rebuild(self) -> None:
        """From the logs alone."""
        slots: list[tuple[bytes, int]] = []
        known: set[tuple[bytes, object]] = set()
        self._header = _Header()
        for log in LOGS:
            position = 0
            for line in self._files.lines(log):
                if not line.endswith(b"\n"):
                    break
                entry = _parsed(line) or {}
                for name, other in INDEXED:
                    value = entry.get(name)
                    if isinstance(value, str) and other in entry:
                        key = _key(name, value)
                        mark = key, str(entry[other])
                        if mark not in known:
                            known.add(mark)
                            slots.append((key, _place(log, position)))
                position += len(line)
            if position:
                self._mark(log, position)
        self._replace(slots)

    def _replace(self, slots: list[tuple[bytes, int]]) -> None:
        """Write the whole table anew; then all of it is on disk."""
        count = _LEAST_SLOTS
        while len(slots) * 2 > count:
            count *= 2
        table = bytearray(count * _SLOT.size)
        for key, place in slots:
            number = int.from_bytes(key[:8], "big") % count
            while table[number * _SLOT.size : (number + 1) * _SLOT.size] != _EMPTY:
                number = (number + 1) % count
            _SLOT.pack_into(table, number * _SLOT.size, key, place)
        self._header.slots, self._header.used = count, len(slots)
        for mark in self._header.marks.values():
            mark.safe = mark.seen
        os.close(self._index)
        self._index = -1
        self._files.replace(INDEX, self._header.encode() + table)
        self._index = self._files.descriptor(INDEX)

    # Logs

    def _descriptor(self, log: str) -> int | None:
        if log not in self._open:
            descriptor = self._files.reader(log)
            if descriptor is None:
                return None
            self._open[log] = descriptor
        return self._open[log]

    def _line(self, place: int) -> Entry | None:
        """The line at a place; None where there is none, as after the file was changed."""
        log, start = LOGS[place >> 63], (place & ~(1 << 63)) - 1
        descriptor = self._descriptor(log)
        if descriptor is None:
            return None
        size = _LINE
        while True:
            content = _read(descriptor, start, size)
            end = content.find(b"\n")
            if end >= 0:
                return _parsed(content[:end])
            if len(content) < size or size > _LONGEST_LINE:
                return None
            size *= 4


def scan(files: PrivateFolder, log: str, name: str, value: str) -> Iterator[Entry]:
    """What `SignatureLog.find` finds in one log, from its lines alone: for where the index cannot be used. Takes no
    lock and writes nothing. Failures are OSErrors."""
    text = value.encode("utf-8")
    for line in files.lines(log):
        entry = _parsed(line) if text in line else None
        if entry is not None and entry.get(name) == value:
            yield entry


def _key(name: str, value: str) -> bytes:
    return hashlib.sha256(f"{name}\0{value}".encode()).digest()[:16]


def _place(log: str, start: int) -> int:
    """A log and a position in it as a number above 0."""
    return LOGS.index(log) << 63 | start + 1


def _parsed(line: bytes) -> Entry | None:
    with contextlib.suppress(ValueError):
        entry = parsed_json(line.decode("utf-8"))
        if isinstance(entry, dict):
            return entry
    return None


def _read(descriptor: int, start: int, size: int) -> bytes:
    """Up to `size` bytes; fewer at the end of the file."""
    os.lseek(descriptor, start, os.SEEK_SET)
    parts: list[bytes] = []
    while size > 0:
        part = os.read(descriptor, size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(descriptor: int, start: int, content: bytes) -> None:
    os.lseek(descriptor, start, os.SEEK_SET)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
