"""What a person looks at before a wallet of several keys is registered: on the terminal, or in a dialogue."""

from __future__ import annotations

from hwilib_cryptnox.console.wording import escaped
from hwilib_cryptnox.errors import BadRequestError
from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.pin.assuan import fits
from hwilib_cryptnox.signer.shown import grouped, quoted_name
from hwilib_cryptnox.signer.wallets import PolicyKey, WalletPolicy

_END = 16
"""Characters of an extended key that a dialogue shows where whole ones do not fit: 94 bits of its key and checksum."""
TOO_LARGE_TEXT = (
    "the wallet has so many keys, or ways to spend, that no dialogue shows them all: register it in a terminal "
    "(cryptnoxctl wallet add, or hwi-cryptnox -i registerdescriptor)"
)


def register_prompt_text(name: str, policy: WalletPolicy) -> str:
    """What a dialogue says that asks for the PIN, where a wallet is to be registered. ASCII."""
    shown = quoted_name(name, ascii_only=True)
    return f"Register the wallet {shown}: {policy.words}. It is shown before it is registered."


def look_prompt_text(name: str) -> str:
    """The same where the card is asked whether it registered a wallet. ASCII."""
    return f"Ask the card whether it registered the wallet {quoted_name(name, ascii_only=True)}. Nothing is signed."


def wallet_lines(
    name: str,
    policy: WalletPolicy,
    fingerprint: bytes,
    chain: Chain | None = None,
    *,
    whole: bool = True,
    ascii_only: bool = False,
) -> list[str]:
    """Name, policy, every key and the first addresses. `fingerprint`: the card's, 4 bytes; `chain`: how addresses are
    written, None: as the keys say; `whole`: extended keys are not cut."""
    lines = [f'Wallet "{escaped(name, ascii_only=ascii_only)}": {policy.words} ({policy.kind.value})']
    for number, key in enumerate(policy.signers, 1):
        mine = ", this card" if key.fingerprint == fingerprint else ""
        lines.append(f"Key {number}{mine}: {key if whole else _short(key)}")
    if policy.threshold is None:
        lines += [f"Spent by {way}" for way in policy.ways] or [f"Spent as {policy.tree} says"]
    for branch, what in enumerate(("receive", "change")[: policy.branches]):
        lines.append(f"First {what} address: {grouped(policy.address(branch, 0, chain))}")
    return lines


def _short(key: PolicyKey) -> str:
    text = str(key)
    at, end = text.find("]") + 1, len(text) - len(f"{key.steps}/*") if key.key is not None else len(text)
    return f"{text[:at]}...{text[end - _END : end]}"


def register_text(
    name: str, policy: WalletPolicy, serial: int, fingerprint: bytes, chain: Chain | None = None
) -> tuple[str, str]:
    """What a dialogue asks before the card registers a wallet, and the same in ASCII.

    Raises: BadRequestError where it does not fit.
    """
    head = f"Register this wallet with the Cryptnox card {serial} ({fingerprint.hex()})?"

    def text(*, ascii_only: bool) -> str:
        if policy.threshold is None and not policy.ways:
            raise BadRequestError(TOO_LARGE_TEXT)
        for whole in (True, False):
            lines = wallet_lines(name, policy, fingerprint, chain, whole=whole, ascii_only=ascii_only)
            shown = "\n".join([head, *lines])
            if fits(shown):
                return shown
        raise BadRequestError(TOO_LARGE_TEXT)

    return text(ascii_only=False), text(ascii_only=True)
