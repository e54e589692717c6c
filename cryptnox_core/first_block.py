"""Why no path of more than three levels is derived or read in one command: whoever sits in between can change its
first block.

The MAC of a command does not cover the IV, so that the first 16 bytes of plain data can be changed on the way, by a
difference that nobody chooses. No result rests on a first block that nothing checks: docs/protocol.md, "The first
block", has the whole argument, with what each command has in it. SIGN carries whole paths: its first block is half of
the hash. So does the GET PUBKEY by which `Card.sign` asks for the key: the signature has to verify with what it reads.

On its own because `card`, the planner and the signer hold to the same numbers.
"""

from __future__ import annotations

from cryptnox_core.bip32 import Path

LEVELS = 3
"""Levels in one DERIVE KEY or GET PUBKEY: with the padding they fill one block."""
COMPARED_LEVELS = 4
"""Levels in one DERIVE KEY whose outcome is compared: the extended key is read next."""


def in_steps(path: Path) -> list[Path]:
    """A way down the tree as relative paths of at most `LEVELS` levels; one empty path for no way at all."""
    return [Path(path.steps[at : at + LEVELS]) for at in range(0, max(path.depth, 1), LEVELS)]
