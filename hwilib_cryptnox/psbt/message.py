"""Messages in disguise: a PSBT that signs a message (BIP322) instead of spending money.

BIP322 has a key spend `to_spend`, a transaction that no block can hold and that commits to the message and the
script of an address, by `to_sign`, whose only output is an empty OP_RETURN. Signed unseen, as a transaction that
moves nothing, it is a contract, a login or a proof of funds in the owner's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptnox_core.crypto.hashes import hash256, tagged_hash
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.codec import FieldMap, Psbt
from hwilib_cryptnox.psbt.errors import PsbtError, RefusedInput
from hwilib_cryptnox.psbt.script import OP_RETURN
from hwilib_cryptnox.psbt.sighash import Sighash
from hwilib_cryptnox.psbt.tx import NULL_OUTPOINT, Output, Transaction, with_length

_TAG = "BIP0322-signed-message"
_VERSION_0, _SEQUENCE_0, _LOCK_TIME_0 = bytes(4), bytes(4), bytes(4)
_PUSH_HASH = b"\x00\x20"
"""OP_0 and a push of 32 bytes. No coinbase begins so: its first push is the height of its block (BIP34)."""
MESSAGE_OUTPUT: Output = (0, bytes((OP_RETURN,)))
MESSAGE_VERSIONS = (0, 2)
_WHOLE = (Sighash.DEFAULT, Sighash.ALL)

NO_MESSAGE = (
    "it signs a message (BIP322), but the PSBT does not include the message: make your wallet add it (global field "
    "0x09), so that you can read what you sign"
)


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a PSBT signs."""

    text: str
    """The message, proved by the transaction. Not made safe for a screen."""
    script: bytes
    """The scriptPubKey of the address that signs."""
    coins: tuple[int, ...]
    """Inputs that show coins beside it (proof of funds). The transaction cannot be mined: nothing moves."""
    lock_time: int
    sequence: int
    """Of the first input. With the lock time it says from when on the signature counts; 0 and 0: at once."""

    @property
    def length(self) -> int:
        """Of the message, in bytes of UTF-8."""
        return len(self.text.encode("utf-8"))


def message_hash(message: bytes) -> bytes:
    """BIP322's tagged hash of a message, 32 bytes."""
    return tagged_hash(_TAG, message)


def to_spend(message: bytes, script: bytes) -> bytes:
    """BIP322's virtual transaction whose output a signature spends; it commits to the message and the script."""
    script_sig = _PUSH_HASH + message_hash(message)
    return b"".join(
        (
            _VERSION_0,
            b"\x01" + NULL_OUTPOINT + with_length(script_sig) + _SEQUENCE_0,
            b"\x01" + bytes(8) + with_length(script),
            _LOCK_TIME_0,
        )
    )


def to_sign(message: bytes, script: bytes) -> Transaction:
    """BIP322's virtual transaction that spends `to_spend`, as it is for a bare signature: no coins, no time lock."""
    outpoint = hash256(to_spend(message, script)) + bytes(4)
    return Transaction(_VERSION_0, (outpoint,), (_SEQUENCE_0,), (MESSAGE_OUTPUT,), _LOCK_TIME_0)


def is_message(psbt: Psbt) -> bool:
    """Whether a PSBT says of itself that it signs a message. `disguised_message` proves it."""
    return bytes((f.GLOBAL_MESSAGE,)) in psbt.globals


def disguised_message(psbt: Psbt) -> Message | None:
    """The message that a PSBT signs, or None for a payment.

    Raises RefusedInput or PsbtError for a message that the PSBT does not tell, or tells wrongly, and where it cannot be
    told apart from a payment. To be called whoever's the first input is: the others may prove somebody else's funds.
    """
    content = psbt.globals.get(bytes((f.GLOBAL_MESSAGE,)))
    virtual = [index for index, fields in enumerate(psbt.inputs) if _previous_is_virtual(fields)]
    if content is None:
        if virtual:
            raise RefusedInput(virtual[0], NO_MESSAGE)
        _check_no_hidden_message(psbt)
        return None
    if psbt.tx.outputs != (MESSAGE_OUTPUT,) or int.from_bytes(psbt.tx.version, "little") not in MESSAGE_VERSIONS:
        raise PsbtError("the PSBT has a message (global field 0x09), but its transaction does not sign one (BIP322)")
    script = _challenge(psbt, content)
    if virtual not in ([], [0]):
        raise RefusedInput(virtual[-1], "it signs a second message (BIP322): one at a time")
    for index, fields in enumerate(psbt.inputs):
        asked = fields.get(f.IN_SIGHASH_TYPE)
        if asked is not None and int.from_bytes(asked, "little") not in _WHOLE:
            raise RefusedInput(index, "a message can only be signed with the sighash type ALL (BIP322)")
    _check_amounts(psbt, start=1)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PsbtError("the message (global field 0x09) is not UTF-8 text, so it cannot be shown") from error
    return Message(
        text,
        script,
        tuple(range(1, len(psbt.inputs))),
        int.from_bytes(psbt.tx.lock_time, "little"),
        int.from_bytes(psbt.tx.sequences[0], "little"),
    )


def _challenge(psbt: Psbt, content: bytes) -> bytes:
    """The script that signs. The id that the first input spends proves both it and the message, with the previous
    transaction or without: no other message and script give the same one."""
    if not psbt.inputs:
        raise PsbtError("the PSBT has a message (global field 0x09), but no input that could sign it (BIP322)")
    fields = psbt.inputs[0]
    output = fields.previous.output if fields.previous is not None else fields.witness_utxo
    if output is None:
        raise RefusedInput(0, "the PSBT does not say whose address signs its message (no UTXO)")
    amount, script = output
    if psbt.tx.outpoints[0] != hash256(to_spend(content, script)) + bytes(4):
        raise RefusedInput(
            0, "it signs a different message than the one in the PSBT (global field 0x09), or it is a payment"
        )
    if amount:
        raise RefusedInput(0, "it signs a message (BIP322), but claims to hold money")
    return script


def _previous_is_virtual(fields: FieldMap) -> bool:
    """Whether the previous transaction is one that only BIP322 makes, well-formed or not."""
    content = fields.pairs.get(bytes((f.IN_NON_WITNESS_UTXO,)))
    if content is None or NULL_OUTPOINT not in content[4:48]:
        return False
    previous = Transaction.parse(content)
    return previous.outpoints == (NULL_OUTPOINT,) and previous.script_sigs[0][:2] == _PUSH_HASH


def _check_no_hidden_message(psbt: Psbt) -> None:
    """Refuses what may be a message where no previous transaction tells: without a message field nobody could read it.

    All verifiers of BIP322 want one empty OP_RETURN of 0, which no payment has. And a signature for `to_spend` commits
    to its amount, which is 0, where no coin of a wallet is.
    """
    if psbt.tx.outputs == (MESSAGE_OUTPUT,) and not _is_proved(psbt, 0):
        raise RefusedInput(
            0,
            "the transaction looks like a signed message (BIP322), and nothing proves that it is not one: add the "
            "previous transaction (non_witness_utxo), or the message (global field 0x09)",
        )
    _check_amounts(psbt)


def _check_amounts(psbt: Psbt, start: int = 0) -> None:
    """Refuses inputs of 0 satoshi that name a key and that nothing proves."""
    for index, fields in enumerate(psbt.inputs[start:], start):
        if fields.witness_utxo is None or fields.witness_utxo[0] or _is_proved(psbt, index) or fields.is_final:
            continue
        if fields.keyed(f.IN_BIP32_DERIVATION) or fields.keyed(f.IN_TAP_BIP32_DERIVATION):
            raise RefusedInput(
                index,
                "it claims to hold 0 satoshi, as disguised messages do (BIP322): add the previous transaction "
                "(non_witness_utxo), or the message (global field 0x09)",
            )


def _is_proved(psbt: Psbt, index: int) -> bool:
    previous = psbt.inputs[index].previous if index < len(psbt.inputs) else None
    return previous is not None and previous.txid == psbt.tx.outpoints[index][:32] and previous.output is not None
