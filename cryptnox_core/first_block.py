"""Why no command carries more than three levels of a path: what somebody between host and card can do to it.

**What he can do.** The MAC of a command covers its header (CLA, INS, P1, P2, Lc) and its ciphertext, not the IV,
which is the MAC of the card's last answer. Who sits in between and has no key (a reader, a hub, a network) can send
the card a command of this channel a second time and keep the answer: now the card's IV is another than the host's.
The host's next command has a good MAC all the same, and the card decrypts its *first block* (16 bytes of plain data)
to what was meant XOR the difference of two MACs. He cannot choose the difference, but he knows it before he passes
the command on, and may wait for one that suits him. All later blocks are as they were. That it is the handshake
command he repeats is the simplest case: it has three blocks and is accepted whatever becomes of the first. INS, P1,
P2 and the number of blocks cannot be changed.

**The padding is in the block too**, where the data has less than 16 bytes: `80`, then zeros to the end of the block.
The card accepts such a block only in that form. So he can change the length, from 0 to 15 bytes, but not make one
block of two or two of one. One difference in 256 leaves *some* padding, nearly always a single byte `80` behind 15
bytes of noise, which are no path and no PIN. For the outcome to be a path, a whole number of levels, the last four
bytes have to become `80000000` (three levels) or zeros (fewer): one difference in 2^32. A card that answered each
repetition with fresh random bytes would have to be asked for years while one command waits.

| plain data | the first block is | one difference in ... does harm |
|---|---|---|
| a path of 0 to 3 levels | the path and its padding | 2^32 |
| a path of 4 levels | the path; the padding is the second block | **1**; but 2^32 leave the last level as it was |
| a path of 5 to 8 levels | levels 1 to 4; the last level is not in it | **1** |
| none (GET PUBKEY of the current key, the PIN's tries) | padding | none: such data has no meaning |
| a PIN of 9 bytes (VERIFY PIN, CHANGE PIN, GENERATE KEY) | the PIN and seven bytes of padding | 2^56 |
| a new PIN and the PUK; a switch and the PUK; the PUK | seven bytes or more of the PUK, which is compared | 2^56 |
| a new PUK and the PUK (CHANGE PUK) | the new PUK and four bytes of the old one | 2^32 |
| a hash, a path and the PIN (SIGN) | half of the hash: the signature does not verify | none |
| a seed, a pairing key, user data, a user key's text | 16 bytes that are stored and compared with nothing | **1** |

**So** no result rests on a first block that nothing checks:

- DERIVE KEY and GET PUBKEY carry at most `LEVELS` levels; longer ways are gone in steps, each from the key that the
  last one made current. A step is one more command and no derivation. Where no long path is sent he has none to
  repeat, either: a DERIVE KEY of one block that he sends again is changed itself, with the same odds.
- `COMPARED_LEVELS` levels go in one command where the extended key is read next and compared: its child number is the
  last of the four levels. (Of five levels the child number is not in the block, and comparing it is worth nothing.)
- What lies below an extended key is derived on the host, where nobody is in between.
- What is stored is proved by whoever stores it: the fingerprint of a loaded seed is compared with the words', a new
  pairing key opens a new channel, data is read again.

All this holds for a card that takes paths in whole levels only and refuses data where it wants none, as documented.

**Answers** are as open: one that the host gets a second time has a good MAC and a changed first block.
`SecureChannel` takes none twice. One that the host has never seen, to a command that was repeated, has two blocks at
least if its status word is to survive. The handshake's has 32 bytes of data, and commands that are answered by a status
word alone refuse so much (`MOST_EXTRA`); keys and extended keys do not parse, since their form is in the first block;
signatures do not verify. What is left are answers of 14 to 16 bytes (16 random bytes, a path of four levels), which no
session asks for before it derives a key; and what is changed on a card is proved by use.
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
