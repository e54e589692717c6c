"""`tokens.json` in the state folder: tokens whose PIN was refused, or was sent without a known end. No PIN."""

from __future__ import annotations

import json

from hwilib_cryptnox.storage.files import parsed_json
from hwilib_cryptnox.storage.state import NoteKind, State

FILE = "tokens.json"


class TokenNotes:
    """The notes of a state folder, by what tells a token from others. Every failure is a StateError that names the
    file."""

    def __init__(self, state: State) -> None:
        self._state = state

    def get(self, token: str) -> NoteKind | None:
        """What is known of the last PIN that was sent; None where it was accepted, or none was sent from here."""
        with self._state.files(FILE) as files:
            return _read(files.read(FILE)).get(token)

    def put(self, token: str, note: NoteKind | None) -> None:
        """Keep a note, or drop it. On disk (fsync) when this returns."""
        with self._state.files(FILE, change=True) as files:
            notes = _read(files.read(FILE))
            if notes.get(token) is note:
                return
            notes.pop(token, None)
            if note is not None:
                notes[token] = note
            files.replace(FILE, json.dumps({name: kind.value for name, kind in notes.items()}, indent=1).encode())


def _read(content: bytes | None) -> dict[str, NoteKind]:
    """ValueError for what this program did not write."""
    if content is None:
        return {}
    notes = parsed_json(content)
    if not isinstance(notes, dict):
        raise ValueError("it does not hold what this program writes")
    return {name: NoteKind(kind) for name, kind in notes.items()}
