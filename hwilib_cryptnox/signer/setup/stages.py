"""How far a set-up came, and what to say of the card then. Knows no click."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """What has happened to the card."""

    UNTOUCHED = "it did not change, or it is in factory state anyway"
    INIT_SENT = "INIT was sent, but its result is not known"
    INITIALISED = "it has a PIN and a PUK and no seed"
    SEED_SENT = "a seed was sent or requested, but the result is not known"
    SEEDED = "it has a seed, which was not compared yet"
    OTHER_SEED = "it has a different seed than expected"
    PROVED = "it has the expected seed"


class Secrets(Enum):
    """What is known of the card's PIN and PUK."""

    AS_BEFORE = "its PIN and PUK are as they were"
    CHOSEN = "keep the PIN and the PUK you chose, which were not tested yet"
    PROVED = "its PIN and PUK are those you chose"


def truth(stage: Stage, serial: int, secrets: Secrets, check: str, fingerprint: bytes | None = None) -> tuple[str, str]:
    """What is true of a card, and what to do. `check`: the command that compares it with its backup, or none."""
    keep = secrets.value
    on = f"cryptnoxctl setup --card {serial} continues from here"
    look = f"cryptnoxctl info --card {serial} shows it"
    adopt = f"cryptnoxctl adopt --card {serial}"
    if stage is Stage.UNTOUCHED:
        return f"nothing was changed on the card {serial}", f"start over: cryptnoxctl setup --card {serial}"
    if stage is Stage.INIT_SENT:
        return f"whether the card {serial} is initialized now is not known: {keep}", f"{look}; {on}"
    if stage is Stage.INITIALISED:
        return f"the card {serial} is initialized and has no seed: {keep}", on
    if stage is Stage.SEED_SENT:
        return (
            f"the card {serial} is initialized; whether it has its seed now is not known: put no money on it, and "
            f"keep the words if there are any; {keep}",
            f"{look}. With a seed: {check or adopt}; without: {on}",
        )
    if stage is Stage.SEEDED:
        return (
            f"the card {serial} has a seed, which was not compared yet: put no money on it; {keep}",
            f"{check}, then {adopt}" if check else adopt,
        )
    if stage is Stage.OTHER_SEED:
        return (
            f"the card {serial} has a different seed than it should have: put no money on it; {keep}",
            f"cryptnoxctl reset --card {serial}",
        )
    shown = "" if fingerprint is None else f" with the fingerprint {fingerprint.hex()}"
    return f"the card {serial} holds the wallet{shown}, which was compared; {keep}", f"{adopt} does the rest"
