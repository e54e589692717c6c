"""Where the catalogue of dishonest PSBTs is kept while its files fill it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptnox_core.bip32 import Path
from tests.psbt.factory import ME, Draft

CATALOGUE: dict[str, Callable[[], bytes]] = {}
"""Refused or, where `SKIPS` names them, not signed: the bytes."""
DRAFTS: dict[str, Callable[[], Draft | bytes]] = {}
SKIPS: set[str] = set()
Maker = Callable[[], Draft | bytes]


@dataclass(frozen=True)
class Outcome:
    """A PSBT that may be refused, and whose true meaning has to be shown where it is signed."""

    make: Callable[[], Draft]
    change: Mapping[int, str]
    """The outputs that come back to us, with the path of our key."""
    theirs: frozenset[int]
    """Inputs that name our fingerprint, or hide that they hold our key, and are not our money."""
    grave: str | None
    """A grave notice of this kind has to stand in the summary."""
    signed: bool
    """It has to be signed: nothing in it is forbidden."""
    refused: str | None = None
    """It has to be refused, for this reason."""
    accounts: Mapping[bytes, Path] = field(default_factory=dict)
    policy: Mapping[str, object] = field(default_factory=dict)

    def is_ours(self, draft: Draft, index: int) -> bool:
        """Whether an input is one of ours."""
        marks = (ME.fingerprint, *self.accounts)
        fields = draft.ins[index].fields
        named = any(pair[0][0] in (0x06, 0x16) and mark in pair[1] for pair in fields for mark in marks)
        return named and index not in self.theirs


OUTCOMES: dict[str, Outcome] = {}


def case(name: str, *, skip: bool = False) -> Callable[[Maker], Maker]:
    """Adds a PSBT that is refused; `skip`: one of which nothing is signed."""

    def note(make: Maker) -> Maker:
        def data() -> bytes:
            made = make()
            return made if isinstance(made, bytes) else made.encode()

        assert name not in CATALOGUE
        CATALOGUE[name], DRAFTS[name] = data, make
        if skip:
            SKIPS.add(name)
        return make

    return note


def outcome(
    name: str,
    *,
    change: Mapping[int, str] | None = None,
    theirs: tuple[int, ...] = (),
    grave: str | None = None,
    signed: bool = False,
    refused: str | None = None,
    accounts: Mapping[bytes, Path] | None = None,
    **policy: object,
) -> Callable[[Callable[[], Draft]], Callable[[], Draft]]:
    """Adds a PSBT that is judged by what is shown of it."""

    def note(make: Callable[[], Draft]) -> Callable[[], Draft]:
        assert name not in OUTCOMES
        OUTCOMES[name] = Outcome(make, change or {}, frozenset(theirs), grave, signed, refused, accounts or {}, policy)
        return make

    return note


def swap(pairs: list[tuple[bytes, bytes]], key: bytes, value: bytes | None) -> None:
    """Replaces or removes a pair."""
    at = [number for number, (existing, _) in enumerate(pairs) if existing == key]
    assert len(at) == 1
    pairs[at[0] : at[0] + 1] = [] if value is None else [(key, value)]
