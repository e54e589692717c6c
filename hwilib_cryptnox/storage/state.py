"""What is remembered between processes, per user: which card has which fingerprint, certificates, the note of a PIN
that was sent, what was signed, signatures of an interrupted signing, who holds a reader. Never an extended key, and one
secret: the owner's own pairing keys.

Folder `$XDG_STATE_HOME/hwi-cryptnox` (the platform's place elsewhere), mode 0700; files 0600, replaced atomically or
added to a line at a time, changed under a lock; symbolic links in it are refused (`files`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from hwilib_cryptnox.storage.files import NoHomeError, PrivateFolder, lock, parsed_json, state_folder
from hwilib_cryptnox.storage.files import StateError as StateError
from hwilib_cryptnox.storage.signature_log import LOGS, Entry, SignatureLog, scan

if TYPE_CHECKING:
    from cryptnox_core.card import Card

_SERIAL_DIGITS = 49
"""Digits of the longest serial number (20 bytes)."""
LOCK_WAIT = 5.0
"""Seconds another process may hold the lock before the state counts as unusable."""
PARTIAL_LIFETIME = 7 * 24 * 3600
"""Seconds the signatures of an interrupted signing are kept."""
TOKENS_FILE = "tokens.json"
_DIGEST = re.compile(rb'"([0-9a-f]{64})"')


class NoteKind(Enum):
    """What is known of the last PIN that was sent."""

    PENDING = "pending"
    """It was sent, or was about to be; no answer was noted."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TaprootNote:
    """What a card answered when it was asked for signatures of taproot key paths (`signer.signatures.taproot`)."""

    version: str
    """Applet version ("2.0.0") that was asked; it says nothing of another."""
    proofs: tuple[str, ...] = ()
    """What the card signed, in hexadecimal: data like any other, which the reader verifies. None: it does not sign."""
    problem: str | None = None
    """Why not, in a word."""


@dataclass(frozen=True, slots=True)
class CardRecord:
    """What is remembered of one card."""

    fingerprint: bytes | None = None
    """4 bytes, of the master key."""
    static_key: bytes | None = None
    """SHA-256 of the card's static P-256 point (65 bytes)."""
    reader: str | None = None
    """Where it was last seen."""
    full_counter: int | None = None
    """What the PIN counter showed right after the last success; None also where that is ambiguous."""
    note: NoteKind | None = None
    pin_expires_on_sign: bool = False
    """Each signature ends the PIN's validity on this card."""
    version: str | None = None
    """Applet version ("1.6.2") of a card with `pin_expires_on_sign`, not of an emulated one."""
    taproot: TaprootNote | None = None


class State:
    """The state folder. Nothing is made before the first write; every failure is a StateError."""

    def __init__(self, folder: Path | None = None) -> None:
        try:
            self.folder = state_folder() if folder is None else folder
        except NoHomeError as error:
            raise StateError(f"{error.strerror}") from error
        self._files = PrivateFolder(self.folder)
        self._signatures = SignatureLog(self._files)

    # cards.json

    def record(self, serial: int) -> CardRecord:
        """What is remembered of a card; an empty record for one never met."""
        with self._failures("cards.json"):
            return _record(self._cards().get(str(serial), {}))

    def records(self) -> dict[int, CardRecord]:
        """All cards, by serial."""
        with self._failures("cards.json"):
            return {int(serial): _record(entry) for serial, entry in self._cards().items()}

    def update(self, serial: int, change: Callable[[CardRecord], CardRecord]) -> CardRecord:
        """Change one record; on disk (fsync) when this returns. Nothing is written where nothing changes."""
        with self._failures("cards.json"), self._locked():
            cards = self._cards()
            before = _record(cards.get(str(serial), {}))
            after = change(before)
            if after != before or str(serial) not in cards:
                cards[str(serial)] = _entry(after)
                self._files.replace("cards.json", json.dumps(cards, indent=1).encode("ascii"))
            return after

    def knows(self, card: Card) -> bool:
        """Whether it is the card that was used here under its serial. The certificate must have been read."""
        return self.record(card.serial).static_key == static_key_hash(card)

    def meet(self, card: Card) -> None:
        """Remember the card's static key. The certificate must have been read."""
        self.update(card.serial, lambda now: replace(now, static_key=static_key_hash(card)))

    def keep_wallet(self, serial: int, fingerprint: bytes, *, doubted: bool) -> None:
        """Remember the fingerprint (4 bytes) of a card's wallet; where it is `doubted` the card's key no more."""
        self.update(
            serial, lambda now: replace(now, fingerprint=fingerprint, static_key=None if doubted else now.static_key)
        )

    def forget(self, serial: int | None = None) -> None:
        """Drop one card, or all, with its certificate."""
        with self._failures("cards.json"), self._locked():
            cards = self._cards()
            for known in list(cards):
                if serial is None or known == str(serial):
                    del cards[known]
                    self._files.remove(f"certs/{known}.der")
            self._files.replace("cards.json", json.dumps(cards, indent=1).encode("ascii"))

    def _cards(self) -> dict[str, dict[str, object]]:
        content = self._files.read("cards.json")
        if content is None:
            return {}
        cards = parsed_json(content)
        if not isinstance(cards, dict) or not all(k.isdecimal() and isinstance(v, dict) for k, v in cards.items()):
            raise ValueError("it is not what this program writes")
        return cards

    # certs/

    def certificates(self) -> list[bytes]:
        """The manufacturer certificates (DER) of the cards met, the latest used first."""
        with self._failures("certs"):
            contents = [self._files.read(name) for _, name in self._files.listing("certs", ".der")]
            return [content for content in contents if content is not None]

    def keep_certificate(self, serial: int, der: bytes) -> None:
        """Remember a card's certificate."""
        with self._failures("certs"):
            name = f"certs/{serial}.der"
            if self._files.read(name) == der:
                self._files.touch(name)
            else:
                self._files.replace(name, der)

    # pairing.json

    def pairing_key(self, serial: int) -> bytes | None:
        """The owner's own pairing key of a card (32 bytes), the one secret kept here; None for the common key."""
        return next(iter(self.pairing_keys(serial)), None)

    def pairing_keys(self, serial: int) -> tuple[bytes, ...]:
        """What opens a card: nothing for the common key, its own, or both of a change whose end is not known, the new
        one first (then the common key may be one of them)."""
        with self._failures("pairing.json"):
            return tuple(bytes.fromhex(text) for text in self._pairing_keys().get(str(serial), []))

    def keep_pairing_key(self, serial: int, *keys: bytes | None) -> None:
        """Keep a card's own pairing key (32 bytes), or drop it with None; several while it is being changed."""
        with self._failures("pairing.json"), self._locked():
            kept = self._pairing_keys()
            texts = list(dict.fromkeys(key.hex() for key in keys if key is not None))
            if kept.pop(str(serial), []) == texts:
                return
            if texts:
                kept[str(serial)] = texts
            content = {number: texts[0] if len(texts) == 1 else texts for number, texts in kept.items()}
            self._files.replace("pairing.json", json.dumps(content, indent=1).encode("ascii"))

    def paired(self) -> list[int]:
        """The serial numbers of the cards with pairing keys of their own, in order."""
        with self._failures("pairing.json"):
            return sorted(int(serial) for serial in self._pairing_keys())

    def _pairing_keys(self) -> dict[str, list[str]]:
        content = self._files.read("pairing.json")
        if content is None:
            return {}
        kept = parsed_json(content)
        if isinstance(kept, dict):
            kept = {serial: [keys] if isinstance(keys, str) else keys for serial, keys in kept.items()}
            texts = [text for keys in kept.values() for text in (keys if isinstance(keys, list) else [None])]
            if all(isinstance(text, str) and len(text) == 64 for text in texts):
                return kept
        raise ValueError("it is not what this program writes")

    # locks/

    def hold(self, reader: str, serial: int) -> None:
        """Say that this process has a session with a card in a reader."""
        with self._failures("locks"):
            self._files.replace(_lock_name(reader), str(serial).encode("ascii"))

    def release(self, reader: str) -> None:
        """The session is over."""
        with self._failures("locks"):
            self._files.remove(_lock_name(reader))

    def holder(self, reader: str) -> int | None:
        """The serial of the card in a reader that is busy: from its lock, unless that holds no serial number, or the
        card last seen there."""
        text = b""
        with self._failures("locks"):
            descriptor = self._files.reader(_lock_name(reader))
            if descriptor is not None:
                with os.fdopen(descriptor, "rb") as file:
                    text = file.read(_SERIAL_DIGITS + 1)
        if text.isdigit() and len(text) <= _SERIAL_DIGITS:
            return int(text)
        seen = [serial for serial, record in self.records().items() if record.reader == reader]
        return seen[0] if len(seen) == 1 else None

    # partial/

    def partial(self, transaction: bytes) -> list[object]:
        """What was kept for an interrupted signing of this unsigned transaction. The caller verifies it: it is data
        like any other. Entries past their lifetime are deleted."""
        with self._failures("partial"):
            for ending in (".jsonl", ".json"):
                for changed, name in self._files.listing("partial", ending):
                    if time.time() - changed > PARTIAL_LIFETIME:
                        self._files.remove(name)
            kept: list[object] = []
            for name in _partial_names(transaction):
                for line in self._files.lines(name):
                    with contextlib.suppress(ValueError):
                        entry = parsed_json(line)
                        kept += entry if isinstance(entry, list) else [entry]
            return kept

    def keep_partial(self, transaction: bytes, entries: list[dict[str, str]]) -> None:
        """Keep verified signatures (public keys and signatures only) of a signing, in place of those kept before."""
        with self._failures("partial"), self._locked():
            name, old_name = _partial_names(transaction)
            self._files.replace(name, b"".join(map(_line, entries)))
            self._files.remove(old_name)

    def add_partial(self, transaction: bytes, entry: dict[str, str]) -> None:
        """Keep one more. The process may be killed when this returns; a power cut may cost it."""
        with self._failures("partial"), self._locked():
            self._files.append(_partial_names(transaction)[0], _line(entry))

    def drop_partial(self, transaction: bytes) -> None:
        """The signing is complete."""
        with self._failures("partial"):
            for name in _partial_names(transaction):
                self._files.remove(name)

    # Files of others

    @contextlib.contextmanager
    def files(self, what: str, *, change: bool = False) -> Iterator[PrivateFolder]:
        """The folder, to read the file `what`, or to change it while nobody else does. What goes wrong is a StateError
        that names it."""
        with self._failures(what), self._locked() if change else contextlib.nullcontext():
            yield self._files

    # audit.jsonl, nonces.jsonl and their index

    @contextlib.contextmanager
    def signatures(self) -> Iterator[SignatureLog]:
        """The lines of what was signed, to look something up and add to it; nobody else does meanwhile."""
        with self._failures("audit.jsonl"), self._locked(), self._signatures as log:
            yield log

    def scan_signatures(self, log: str, name: str, value: str) -> Iterator[Entry]:
        """The lines of one of `LOGS` in which a field has a value, where `signatures` fails: nothing is written, no
        lock is waited for, and each call reads the whole file."""
        with self._failures(log):
            yield from scan(self._files, log, name, value)

    def has_signatures(self) -> bool:
        """Whether anything that was signed is remembered."""
        with self._failures("audit.jsonl"):
            return any(self._files.exists(log) for log in LOGS)

    def settle_signatures(self) -> None:
        """What was added is on disk when this returns."""
        for log in LOGS:
            with self._failures(log):
                self._files.sync(log)

    def audited(self, digests: Container[str] | None = None) -> list[Entry]:
        """The entries of the audit file, or those that may concern one of `digests` (hex). Lines that are none are left
        out (a power cut may tear the last)."""
        entries: list[Entry] = []
        with self._failures("audit.jsonl"):
            for line in self._files.lines("audit.jsonl"):
                if digests is None or any(text.decode() in digests for text in _DIGEST.findall(line)):
                    entry: object = None
                    with contextlib.suppress(ValueError):
                        entry = parsed_json(line)
                    if isinstance(entry, dict):
                        entries.append(entry)
        return entries

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = self._files.descriptor("lock")
        try:
            end = time.monotonic() + LOCK_WAIT
            while True:
                try:
                    lock(descriptor)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > end:
                        raise StateError(f"{self.folder}: another process is using the state") from error
                    time.sleep(0.01)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise StateError(f"{self.folder / what}: {reason}") from error


def _lock_name(reader: str) -> str:
    return f"locks/{hashlib.sha256(reader.encode()).hexdigest()}"


def _partial_names(transaction: bytes) -> tuple[str, str]:
    """An entry a line; and a list in one piece, as earlier versions wrote it."""
    name = f"partial/{hashlib.sha256(transaction).hexdigest()}"
    return f"{name}.jsonl", f"{name}.json"


def _line(entry: dict[str, str]) -> bytes:
    return json.dumps(entry).encode("ascii") + b"\n"


def _record(entry: dict[str, object]) -> CardRecord:
    fingerprint, key, note = entry.get("fingerprint"), entry.get("static_key"), entry.get("note")
    reader, full, version = entry.get("reader"), entry.get("full"), entry.get("version")
    record = CardRecord(
        fingerprint=None if fingerprint is None else bytes.fromhex(str(fingerprint)),
        static_key=None if key is None else bytes.fromhex(str(key)),
        reader=None if reader is None else str(reader),
        full_counter=None if full is None else int(str(full)),
        note=None if note is None else NoteKind(note),
        pin_expires_on_sign=entry.get("pin_ends") is True,
        version=None if version is None else str(version),
        taproot=_taproot(entry.get("taproot")),
    )
    if record.fingerprint is not None and len(record.fingerprint) != 4:
        raise ValueError("a fingerprint has 4 bytes")
    return record


def _taproot(entry: object) -> TaprootNote | None:
    """What is no such note says nothing: the card is asked again."""
    if not isinstance(entry, dict) or not isinstance(entry.get("version"), str):
        return None
    proofs, problem = entry.get("proofs", []), entry.get("problem")
    if not isinstance(proofs, list) or not all(isinstance(proof, str) for proof in proofs):
        return None
    return TaprootNote(entry["version"], tuple(proofs), None if problem is None else str(problem))


def _entry(record: CardRecord) -> dict[str, object]:
    entry: dict[str, object] = {
        "fingerprint": record.fingerprint and record.fingerprint.hex(),
        "static_key": record.static_key and record.static_key.hex(),
        "reader": record.reader,
        "full": record.full_counter,
        "note": record.note and record.note.value,
        "pin_ends": record.pin_expires_on_sign or None,
        "version": record.version,
        "taproot": record.taproot and _taproot_entry(record.taproot),
    }
    return {name: value for name, value in entry.items() if value is not None}


def _taproot_entry(note: TaprootNote) -> dict[str, object]:
    entry: dict[str, object] = {"version": note.version}
    if note.proofs:
        entry["proofs"] = list(note.proofs)
    if note.problem is not None:
        entry["problem"] = note.problem
    return entry


def static_key_hash(card: Card) -> bytes:
    """What is remembered of a card's static key: SHA-256 of the point. The certificate must have been read."""
    return hashlib.sha256(card.read_certificate().public_key).digest()


class TokenNotes:
    """`tokens.json`: tokens whose PIN was refused, or was sent without a known end, by what tells a token from others.
    No PIN. Every failure is a StateError that names the file."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, token: str) -> NoteKind | None:
        """What is known of the last PIN that was sent; None where it was accepted, or none was sent from here."""
        with self._state.files(TOKENS_FILE) as files:
            return _token_notes(files.read(TOKENS_FILE)).get(token)

    def put(self, token: str, note: NoteKind | None) -> None:
        """Keep a note, or drop it. On disk (fsync) when this returns."""
        with self._state.files(TOKENS_FILE, change=True) as files:
            notes = _token_notes(files.read(TOKENS_FILE))
            if notes.get(token) is note:
                return
            notes.pop(token, None)
            if note is not None:
                notes[token] = note
            files.replace(
                TOKENS_FILE, json.dumps({name: kind.value for name, kind in notes.items()}, indent=1).encode()
            )


def _token_notes(content: bytes | None) -> dict[str, NoteKind]:
    """ValueError for what this program did not write."""
    if content is None:
        return {}
    notes = parsed_json(content)
    if not isinstance(notes, dict):
        raise ValueError("it does not hold what this program writes")
    return {name: NoteKind(kind) for name, kind in notes.items()}
