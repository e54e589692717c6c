"""Proofs by use: a secret is the card's when it opens something there. No click here: `hwi-cryptnox` uses it too."""

from __future__ import annotations

from cryptnox_core.commands.setup import pairing_key_from_puk
from cryptnox_core.wire import PAIRING_INDEX_PUK
from hwilib_cryptnox.signer.cards import Access, OpenCard
from hwilib_cryptnox.signer.irreversible import opens


def is_puk(way: Access, found: OpenCard, puk: str) -> bool:
    """Whether `puk` (12 ASCII characters) is the card's: whether it opens a secure channel at index FF.

    Costs no try of PIN or PUK, and changes nothing. Requires: the card is initialised and identified. Afterwards the
    channel is a new one under the pairing key, so the PIN has to be verified again. Raises UsageError for what is no
    PUK, TransportError and ProtocolError where the conversation broke, StatusWordError where the card does not know
    index FF: then nothing is proved. Sources: PROTOCOL 2 and 3.
    """
    right = opens(found, pairing_key_from_puk(puk), PAIRING_INDEX_PUK)
    found.card.select()
    way.open_channel(found.card)
    return right
