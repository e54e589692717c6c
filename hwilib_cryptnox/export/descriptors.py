"""Output descriptors (BIP380-383, 389) with checksum."""

from __future__ import annotations

from collections.abc import Sequence

from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export.keys import Cosigner, KeySet
from hwilib_cryptnox.networks import AccountType, Network

RECEIVE = "0"
CHANGE = "1"
BOTH = "<0;1>"
"""Receive and change chain in one descriptor (BIP389)."""

MAX_COSIGNERS = 20
"""Keys of CHECKMULTISIG: the consensus limit, reachable in witness scripts."""

_INPUT_CHARSET = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_CHECKSUM_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)
_CHECKSUM_LENGTH = 8


def _polymod(symbols: Sequence[int]) -> int:
    remainder = 1
    for symbol in symbols:
        top = remainder >> 35
        remainder = (remainder & 0x7FFFFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= generator
    return remainder


def descriptor_checksum(text: str) -> str:
    """The 8 characters of BIP380 for a descriptor without `#`; UsageError for characters no descriptor has."""
    symbols: list[int] = []
    group: list[int] = []
    for character in text:
        value = _INPUT_CHARSET.find(character)
        if value < 0:
            raise UsageError(f"{character!r} is not a character that descriptors use")
        symbols.append(value & 31)
        group.append(value >> 5)
        if len(group) == 3:
            symbols.append(group[0] * 9 + group[1] * 3 + group[2])
            group.clear()
    if group:
        symbols.append(group[0] if len(group) == 1 else group[0] * 3 + group[1])
    value = _polymod([*symbols, *[0] * _CHECKSUM_LENGTH]) ^ 1
    return "".join(_CHECKSUM_CHARSET[value >> 5 * (_CHECKSUM_LENGTH - 1 - at) & 31] for at in range(_CHECKSUM_LENGTH))


def add_checksum(text: str) -> str:
    """A descriptor with `#` and its checksum."""
    return f"{text}#{descriptor_checksum(text)}"


def check_descriptor(text: str) -> str:
    """The descriptor without its checksum, which must be there and right (UsageError)."""
    body, mark, checksum = text.rpartition("#")
    if not mark or descriptor_checksum(body) != checksum:
        raise UsageError("the descriptor's checksum is missing or wrong")
    return body


def descriptor(keys: KeySet, script: AccountType, account: int = 0, *, branch: str = BOTH) -> str:
    """A single-sig account's descriptor with checksum. `branch` is RECEIVE, CHANGE, or both in one.

    UsageError for a multisig type or an account that was not read.
    """
    if script.is_multisig:
        raise UsageError(f"{script.value} is a multisig account: its descriptor needs all cosigners")
    expression = keys.account(script, account).expression(keys.network)
    return add_checksum(script.wrap(f"{expression}/{branch}/*"))


def multisig_descriptor(
    script: AccountType, threshold: int, cosigners: Sequence[Cosigner], network: Network, *, branch: str = BOTH
) -> str:
    """The descriptor of a multisig wallet with sorted keys (BIP67), with checksum.

    UsageError for a single-sig type, a threshold that does not fit, more than 20 keys, or one key twice.
    """
    check_multisig(script, threshold, cosigners)
    inner = ",".join(f"{cosigner.expression(network)}/{branch}/*" for cosigner in cosigners)
    return add_checksum(script.wrap(f"sortedmulti({threshold},{inner})"))


def check_multisig(script: AccountType, threshold: int, cosigners: Sequence[Cosigner]) -> None:
    """Raise UsageError where the parameters make no multisig wallet."""
    if not script.is_multisig:
        raise UsageError(f"{script.value} is a single-sig type: a multisig wallet is p2wsh or p2sh-p2wsh")
    if not 1 <= threshold <= len(cosigners) <= MAX_COSIGNERS:
        raise UsageError(
            f"{threshold} of {len(cosigners)} keys: the threshold does not fit, or there are more than "
            f"{MAX_COSIGNERS} keys"
        )
    if len({cosigner.key.public_key for cosigner in cosigners}) != len(cosigners):
        raise UsageError("the same key is there twice: two cosigners must be different signers")
