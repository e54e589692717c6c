"""The keystore of a wallet whose keys are on a card, and what is taken over from the card's answers: checked signatures
and nothing else."""

from __future__ import annotations

from typing import Any

from .client import CryptnoxClient
from .places import (
    CardProblem,
    Hardware_KeyStore,
    PartialTransaction,
    add_previous_transactions,
    address_of,
    message_verifies,
)

_SIGHASH_ALL = 1


class CryptnoxKeyStore(Hardware_KeyStore):  # type: ignore[misc] # Electrum ships no types
    """Keys on a Cryptnox card."""

    hw_type = "cryptnox"
    device = "Cryptnox card"

    def needs_prevtx(self) -> bool:
        """Previous transactions prove the amounts. (Electrum 4.8.3 fetches them anyway and asks no more.)"""
        return True

    def decrypt_message(self, sequence: Any, message: Any, password: Any) -> bytes:  # noqa: ARG002 - Electrum's
        """Not with a card."""
        raise CardProblem("The card does not decrypt messages.")

    def sign_message(self, sequence: Any, message: str, password: Any, *, script_type: str | None = None) -> bytes:  # noqa: ARG002 - Electrum's
        """A message signature, which is the key's of that address."""
        try:
            content = message.encode("utf-8")
        except UnicodeEncodeError:
            raise CardProblem("The message has invalid characters. Type it again.") from None
        path = f"{self.get_derivation_prefix()}/{sequence[0]}/{sequence[1]}"
        signature: bytes = self._client().sign_message(self.handler, path, message)
        address = address_of(script_type or "p2pkh", self.derive_pubkey(*sequence))
        if not message_verifies(address, signature, content):
            raise CardProblem("The card's signature does not belong to this address. It was discarded.")
        return signature

    def sign_transaction(self, tx: Any, password: Any) -> None:  # noqa: ARG002 - Electrum's
        """Sign what is the card's, after its review was agreed to."""
        if tx.is_complete():
            return
        client = self._client()
        add_previous_transactions(tx)
        fingerprint = str(self.get_root_fingerprint())
        signed = client.sign_transaction(self.handler, tx.serialize_as_bytes(), fingerprint)
        if signed is None or not take_signatures(tx, signed, bytes.fromhex(fingerprint)):
            raise CardProblem("The card holds no key of this transaction, so nothing was signed.")

    def _client(self) -> CryptnoxClient:
        client = self.get_client()
        if client is None:
            raise CardProblem("The card of this wallet is not connected. Put it into the reader, then try again.")
        if not isinstance(client, CryptnoxClient):
            raise CardProblem("This wallet's device is not a Cryptnox card.")
        return client


def take_signatures(tx: Any, answer: bytes, fingerprint: bytes) -> int:
    """Put the card's new signatures into a transaction; how many there are.

    `answer`: a PSBT. `fingerprint`: of the card's master key; each new signature has to be by a key that the
    transaction says to be of it, commit to all of the transaction, and verify. CardProblem where not, and then nothing
    is changed.
    """
    try:
        signed = PartialTransaction.from_raw_psbt(answer)
    except Exception as error:
        raise CardProblem("The answer of hwi-cryptnox is not a transaction. It was not used.") from error
    if signed.serialize_to_network(include_sigs=False) != tx.serialize_to_network(include_sigs=False):
        raise CardProblem("hwi-cryptnox answered with a different transaction. It was not used.")
    new = []
    for index, (mine, theirs) in enumerate(zip(tx.inputs(), signed.inputs(), strict=True)):
        for key, signature in theirs.sigs_ecdsa.items():
            if mine.sigs_ecdsa.get(key) == signature or mine.is_complete():
                continue
            if not _belongs(tx, index, key, signature, fingerprint):
                raise CardProblem(f"The signature for input {index} is wrong. It was not used.")
            new.append((index, key, signature))
    for index, key, signature in new:
        tx.add_signature_to_txin(txin_idx=index, signing_pubkey=key, sig=signature)
    return len(new)


def _belongs(tx: Any, index: int, key: bytes, signature: bytes, fingerprint: bytes) -> bool:
    origin = tx.inputs()[index].bip32_paths.get(key)
    if origin is None or origin[0] != fingerprint or signature[-1:] != bytes((_SIGHASH_ALL,)):
        return False
    try:
        return bool(tx.verify_sig_for_txin(txin_index=index, pubkey_bytes=key, sig=signature))
    except Exception:  # noqa: BLE001 - no signature, whatever Electrum says about it
        return False
