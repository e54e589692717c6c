"""What a person looks at before a wallet of several keys is registered: on the terminal, or in a dialogue."""

from __future__ import annotations

from hwilib_cryptnox.console.wording import escaped
from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.export.policy_keys import MusigExpression
from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.pin.assuan import fits
from hwilib_cryptnox.signer.review.shown import grouped, quoted_name
from hwilib_cryptnox.signer.signatures.taproot import Taproot
from hwilib_cryptnox.signer.wallets import WalletPolicy

_MOST_PARTS = 6
"""Dialogues in a row that show one wallet: who has to look at more of them looks at none."""
TOO_LARGE_TEXT = (
    "the wallet has so many keys, or ways to spend, that no dialog can show them all: register it in a terminal "
    "(cryptnoxctl wallet add, or hwi-cryptnox -i registerdescriptor)"
)

_TOGETHER = {
    Taproot.SIGNS: (
        "This card signs by MuSig2: it did when it was asked. Nobody has seen a card with it: try a small amount first"
    ),
    Taproot.ABSENT: "This card CANNOT sign with this wallet's MuSig2 keys: its applet has no MuSig2",
    Taproot.DIFFERS: (
        "This card CANNOT sign with this wallet's MuSig2 keys: its applet's MuSig2 is not the one of BIP327"
    ),
    Taproot.UNKNOWN: (
        "Nobody has asked this card yet whether it can sign with MuSig2 keys, and no card that we know of can: send "
        "nothing to this wallet before cryptnoxctl taproot check says yes"
    ),
}


def together_note(policy: WalletPolicy, found: Taproot) -> str:
    """What a person should know of a card before it is a signer of MuSig2 keys; nothing for other wallets. ASCII."""
    return _TOGETHER[found] if any(isinstance(one, MusigExpression) for one in policy.tree.expressions) else ""


def register_prompt_text(name: str, policy: WalletPolicy) -> str:
    """What a dialogue says that asks for the PIN, where a wallet is to be registered. ASCII."""
    shown = quoted_name(name, ascii_only=True)
    return f"Register the wallet {shown}: {policy.words}. You see it before you register it."


def look_prompt_text(name: str) -> str:
    """The same where the card is asked whether it registered a wallet. ASCII."""
    return f"Ask the card whether it registered the wallet {quoted_name(name, ascii_only=True)}. Nothing is signed."


def wallet_lines(
    name: str,
    policy: WalletPolicy,
    fingerprint: bytes,
    chain: Chain | None = None,
    note: str = "",
    *,
    ascii_only: bool = False,
) -> list[str]:
    """Name, policy, every key and the first addresses. `fingerprint`: the card's, 4 bytes; `chain`: how addresses are
    written, None: as the keys say; `note`: the last line. Extended keys are whole: parts of one can be had by
    trying."""
    lines = [f'Wallet "{escaped(name, ascii_only=ascii_only)}": {policy.words} ({policy.kind.value})']
    for number, key in enumerate(policy.signers, 1):
        mine = ", this card" if key.fingerprint == fingerprint else ""
        lines.append(f"Key {number}{mine}: {key}")
    if policy.threshold is None:
        lines += [f"Spent by {way}" for way in policy.ways] or [f"Spent as {policy.tree} says"]
    for branch, what in enumerate(("receive", "change")[: policy.branches]):
        lines.append(f"First {what} address: {grouped(policy.address(branch, 0, chain))}")
    return [*lines, note] if note else lines


def register_texts(
    name: str, policy: WalletPolicy, serial: int, fingerprint: bytes, chain: Chain | None = None, note: str = ""
) -> list[tuple[str, str]]:
    """What dialogues ask, one after the other, before the card registers a wallet, each with the same in ASCII. `note`:
    see `wallet_lines`.

    Nothing is cut: an extended key with the end of another is found by trying, since its chain code may be anything
    and its checksum has 32 bits.

    Raises: BadRequestError where there would be too many of them.
    """
    if policy.threshold is None and not policy.ways:
        raise BadRequestError(TOO_LARGE_TEXT)
    card = f"with the Cryptnox card {serial} ({fingerprint.hex()})"
    shown, plain = [
        wallet_lines(name, policy, fingerprint, chain, note, ascii_only=ascii_only) for ascii_only in (False, True)
    ]
    question = f"Register this wallet {card}?"
    for count in range(1, _MOST_PARTS + 1):
        heads = [f"Part {number} of {count} of a wallet to register {card}" for number in range(1, count)]
        heads.append(question if count == 1 else f"Part {count} of {count}. {question}")
        parts = _parts(list(zip(shown, plain, strict=True)), heads)
        if parts is not None:
            return parts
    raise BadRequestError(TOO_LARGE_TEXT)


def _parts(lines: list[tuple[str, str]], heads: list[str]) -> list[tuple[str, str]] | None:
    """The lines in their order, some behind each head; None where they do not fit."""
    parts: list[tuple[str, str]] = []
    left = lines
    for rest in range(len(heads) - 1, -1, -1):
        head = heads[len(parts)]
        part = head, head
        while len(left) > rest:
            longer = f"{part[0]}\n{left[0][0]}", f"{part[1]}\n{left[0][1]}"
            if not all(map(fits, longer)):
                break
            part, left = longer, left[1:]
        parts.append(part)
    return None if left else parts
