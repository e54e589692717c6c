"""What this computer remembers of signatures: asked for before the card is, and what each was for once it is made.

It answers two questions. Before signing: was a coin signed for other payees, or the same transaction with other inputs
called ours? And of each signature: was its nonce used before? Two signatures with one nonce give the private key away,
so the second is never handed out, nor written anywhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from cryptnox_core.crypto.hashes import hash256
from cryptnox_core.crypto.secp256k1 import ORDER, InvalidSignatureError, parse_der
from hwilib_cryptnox.errors import FailedError
from hwilib_cryptnox.psbt import Collected, Plan, Psbt, SignatureKind
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.script import operations
from hwilib_cryptnox.psbt.tx import encode_output, read_witness
from hwilib_cryptnox.storage.audit import ASKED, MADE, WITHHELD
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.signature_log import AUDIT, LOGS, NONCES, Entry
from hwilib_cryptnox.storage.state import State, StateError

_log = logging.getLogger(__name__)

_SHORT = 32
"""Hexadecimal digits of the hashes that are compared only."""
_SCHNORR = 64
_MUSIG2 = "musig2"
"""What half a public nonce of MuSig2 served: nothing may have it again, the same signature neither."""

REPEATED_NONCE_TEXT = (
    "The card used the same secret number (nonce) for two different signatures, and together they reveal your "
    "private key. The second one was discarded; it was not given to anyone and not saved. Stop using this card. "
    "Restore your recovery words on another card or wallet, and move the money from there to a new seed"
)
BROUGHT_NONCE_TEXT = (
    "The card's new signature and one already in the PSBT use the same secret number (nonce). If both are real, "
    "together they reveal your private key. The new one was discarded; it was not given to anyone and not saved. If "
    "this PSBT was signed with your card on another computer, stop using the card: restore your recovery words on "
    "another card or wallet, and move the money from there to a new seed. If it was not, do not sign this PSBT"
)


class RepeatedNonceError(FailedError):
    """A card's signature has an r that was seen with another digest, key or kind. It must not leave the program."""

    def __init__(self, message: str = REPEATED_NONCE_TEXT) -> None:
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a transaction does with the owner's coins, in the form in which it is remembered."""

    txid: str
    """As block explorers show it."""
    outpoints: tuple[str, ...]
    """`txid:index` of every input."""
    fingerprint: str
    """Of the master key that signs."""
    payees: str
    """Hash of the payments: every output that is not proved to be change, with its amount, in any order."""
    ours: str
    """Hash of that fingerprint and of the outpoints of the inputs that are shown as ours: one that is named and not
    shown (skipped, or deeper than the card derives) is hidden all the same."""


def remembered_of(psbt: Psbt, collected: Collected, plan: Plan) -> Remembered:
    """What is remembered of a planned PSBT."""
    outpoints = tuple(f"{point[31::-1].hex()}:{int.from_bytes(point[32:], 'little')}" for point in psbt.tx.outpoints)
    payments = [encode_output((output.amount, output.script)) for output in plan.summary.outputs if not output.change]
    ours = [outpoints[index] for index in plan.ours]
    return Remembered(
        hash256(psbt.unsigned_tx())[::-1].hex(),
        outpoints,
        collected.fingerprint.hex(),
        _short(b"".join(hashlib.sha256(payment).digest() for payment in sorted(payments))),
        _short("\n".join((collected.fingerprint.hex(), *sorted(ours))).encode("ascii")),
    )


def warnings_before(state: State, remembered: Remembered, inputs: Iterable[int]) -> tuple[str, ...]:
    """What a person should know before `inputs` (by index) of a transaction are signed, as far as this computer
    remembers. Only signatures that were made count. Told also where the audit is switched off by now."""
    told: list[str] = []
    with contextlib.suppress(StateError):  # that of this signing cannot be noted then, which is warned of
        if not state.has_signatures():
            return ()
        with state.signatures() as log:
            if any(_hides(entry, remembered) for entry in log.find("txid", remembered.txid)):
                told.append(
                    "you already signed this same transaction, but with other inputs marked as yours. Someone may be "
                    "hiding what you spend and pay. Do not sign it unless you know why"
                )
            for index in dict.fromkeys(inputs):
                found = log.find("outpoint", remembered.outpoints[index])
                others = [entry for entry in found if entry.get("payees") != remembered.payees]
                if others:
                    told.append(_signed_before(index, others))
    return tuple(told)


def _hides(entry: Entry, remembered: Remembered) -> bool:
    """Whether a signature of the same transaction by the same seed (another has others) goes with other inputs."""
    return entry.get("fingerprint") == remembered.fingerprint and entry.get("ours") != remembered.ours


def _signed_before(index: int, others: Sequence[Entry]) -> str:
    last = others[-1]
    when = ""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        when = time.strftime(" on %Y-%m-%d", time.localtime(int(str(last.get("time")))))
    return (
        f"input {index} was signed{when} for other payments (transaction {last.get('txid')}): only one of the two "
        "can confirm, and whoever has the other may choose. Sign only if you mean to replace it"
    )


class SignatureMemory:
    """One run's signatures of one card: each is asked for, made, and judged here.

    Where the state cannot be written, that is warned of once; nonces are compared with what can be read of it all the
    same. Where it cannot be read either, that is warned of, and they are compared within this run only.
    """

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._serial: str | None = None
        self._nonces: dict[int, str] = {}
        self._brought: dict[int, set[int | None]] = {}
        self._warned = False
        self._unread = False

    def begin(self, serial: int, psbt: Psbt | None = None) -> None:
        """The card that signs. The nonces of signatures that a PSBT brings may not come again, whoever made them."""
        self._serial = str(serial)
        if psbt is not None:
            self._brought = nonces_in(psbt)

    def ask(self, digests: Iterable[bytes], txid: str | None) -> None:
        """Note digests (32 bytes each) that the card is about to be asked for, with their transaction (None: a
        message). On disk when this returns: the card remembers them whatever happens to this process."""
        asked = list(dict.fromkeys(digest.hex() for digest in digests))
        if asked and self._settings.audit:
            with self._noting(), self._state.signatures() as log:
                log.add(AUDIT, {**self._head(ASKED, txid), "digests": asked}, sync=True)

    def admit(
        self,
        digest: bytes,
        public_key: bytes,
        signature: bytes,
        kind: SignatureKind = SignatureKind.ECDSA,
        remembered: Remembered | None = None,
        index: int = 0,
    ) -> None:
        """Judge a verified signature (DER or 64 bytes), and remember it. `remembered`, `index`: what it spends.

        Raises RepeatedNonceError where its nonce came with something else before. The same digest, key and kind may
        come again: the signature of then was lost.
        """
        nonce, purpose = nonce_of(kind, signature), _purpose(kind, public_key, digest)
        txid = None if remembered is None else remembered.txid
        if self._nonces.setdefault(nonce, purpose) != purpose:
            self._withhold(digest, txid)
        entry: Entry = {"r": f"{nonce:064x}", "of": purpose}
        if self._settings.audit:
            entry = {**self._head(MADE, txid), "digest": digest.hex(), **entry}
            if remembered is not None:
                entry |= {
                    "outpoint": remembered.outpoints[index],
                    "fingerprint": remembered.fingerprint,
                    "payees": remembered.payees,
                    "ours": remembered.ours,
                }
        # The very signature that is there already tells nothing new, whatever field somebody put it in.
        repeated, brought = False, bool(self._brought.get(nonce, set()) - {_rest_of(kind, signature)})
        compared = False
        with self._noting(), self._state.signatures() as log:
            known = list(log.find("r", f"{nonce:064x}"))
            repeated = any(line.get("of") != purpose for line in known)
            compared = True
            noted = bool(known) and not (self._settings.audit and all("event" not in line for line in known))
            if not (noted or repeated or brought):
                log.add(AUDIT if self._settings.audit else NONCES, entry)
        if not compared:
            repeated = any(line.get("of") != purpose for line in self._seen(nonce))
        if repeated:
            self._withhold(digest, txid)
        if brought:
            raise RepeatedNonceError(BROUGHT_NONCE_TEXT)

    def admit_nonce(self, digest: bytes, nonce: bytes, txid: str | None = None) -> None:
        """Judge the public nonce (66 bytes) with which a card has signed a digest by MuSig2, and remember it; before
        anything of that signature is used.

        The nonce of the whole signature is another one each time, also where the card repeats its own: so it is the
        card's own two points that are compared, with all nonces of before. Raises RepeatedNonceError where one of them
        came already, whatever for.
        """
        found = [int.from_bytes(nonce[at + 1 : at + 33], "big") % ORDER for at in (0, 33)]
        repeated = found[0] == found[1] or any(each in self._nonces for each in found)
        brought = any(each in self._brought for each in found)
        self._nonces |= dict.fromkeys(found, _MUSIG2)
        compared = False
        with self._noting(), self._state.signatures() as log:
            repeated = repeated or any(True for each in found for _ in log.find("r", f"{each:064x}"))
            compared = True
            for each in [] if repeated or brought else found:
                log.add(NONCES, {"r": f"{each:064x}", "of": _MUSIG2})
        if not compared:
            repeated = repeated or any(self._seen(each) for each in found)
        if repeated:
            self._withhold(digest, txid)
        if brought:
            raise RepeatedNonceError(BROUGHT_NONCE_TEXT)

    def settle(self) -> None:
        """Before anything is handed out: what was remembered is on disk."""
        with self._noting():
            self._state.settle_signatures()

    def signed(
        self,
        serial: int,
        digest: bytes,
        public_key: bytes,
        make: Callable[[], bytes],
        kind: SignatureKind = SignatureKind.ECDSA,
    ) -> bytes:
        """A signature over a message's digest, asked for, judged and settled. `make` asks the card and verifies."""
        self.begin(serial)
        self.ask([digest], None)
        signature = make()
        self.admit(digest, public_key, signature, kind)
        self.settle()
        return signature

    def _seen(self, nonce: int) -> list[Entry]:
        """The lines of earlier signatures with a nonce, where the state cannot be changed just now (in use, full, not
        writable): a nonce that comes again gives the private key away then, too. What can be read of them counts."""
        found: list[Entry] = []
        for log in LOGS:
            try:
                for line in self._state.scan_signatures(log, "r", f"{nonce:064x}"):
                    found.append(line)
            except StateError as error:
                if not self._unread:
                    _log.warning("what the card signed could not be compared with earlier signatures: %s", error)
                self._unread = True
        return found

    def _withhold(self, digest: bytes, txid: str | None) -> NoReturn:
        """Note that a signature was thrown away; nothing of itself."""
        if self._settings.audit:
            with self._noting(), self._state.signatures() as log:
                log.add(AUDIT, {**self._head(WITHHELD, txid), "digest": digest.hex()}, sync=True)
        raise RepeatedNonceError

    def _head(self, event: str, txid: str | None) -> Entry:
        return {"time": int(time.time()), "serial": self._serial, "event": event, "txid": txid}

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except StateError as error:  # a signing is not given up for its diary
            if not self._warned and self._settings.audit:
                _log.warning("no audit line was written for what the card signed: %s", error)
            elif not self._warned:
                _log.warning("no record was kept of what the card signed: %s", error)
            self._warned = True


def nonce_of(kind: SignatureKind, signature: bytes) -> int:
    """What tells the nonce of a signature (DER, or 64 bytes after BIP340): the x coordinate of its point modulo the
    group order, alike for both kinds. Raises InvalidSignatureError for what is no DER."""
    if kind is SignatureKind.ECDSA:
        return parse_der(signature)[0]
    return int.from_bytes(signature[:32], "big") % ORDER


def _rest_of(kind: SignatureKind, signature: bytes) -> int:
    """The s of a signature, of both that an ECDSA signature may have the lower one: with its nonce it is the whole."""
    if kind is SignatureKind.ECDSA:
        s = parse_der(signature)[1]
        return min(s, ORDER - s)
    return int.from_bytes(signature[32:64], "big")


def nonces_in(psbt: Psbt) -> dict[int, set[int | None]]:
    """Of all signatures in a PSBT, those in final scripts and witnesses included, each with the rest of its signatures;
    None for a public nonce of MuSig2. May hold what is none."""
    der: list[bytes] = []
    schnorr: list[bytes] = []
    for fields in psbt.inputs:
        der += [value for _, value in fields.keyed(f.IN_PARTIAL_SIG)]
        schnorr += [value for _, value in fields.keyed(f.IN_TAP_SCRIPT_SIG)]
        schnorr.append(fields.get(f.IN_TAP_KEY_SIG) or b"")
        witness = fields.get(f.IN_FINAL_SCRIPTWITNESS)
        items = list(read_witness(witness, 0)[0]) if witness else []
        with contextlib.suppress(ValueError):
            items += [data for _, data, _ in operations(fields.get(f.IN_FINAL_SCRIPTSIG) or b"") if data]
        der += items
        schnorr += items
    found: dict[int, set[int | None]] = {}
    whole = [(SignatureKind.SCHNORR, value) for value in schnorr if len(value) in (_SCHNORR, _SCHNORR + 1)]
    for kind, value in (*whole, *((SignatureKind.ECDSA, value[:-1]) for value in der)):
        with contextlib.suppress(InvalidSignatureError):
            found.setdefault(nonce_of(kind, value), set()).add(_rest_of(kind, value))
    public = [value for fields in psbt.inputs for _, value in fields.keyed(f.IN_MUSIG2_NONCE)]
    for value in public:
        for at in (0, 33):
            found.setdefault(int.from_bytes(value[at + 1 : at + 33], "big") % ORDER, set()).add(None)
    return found


def _purpose(kind: SignatureKind, public_key: bytes, digest: bytes) -> str:
    """What a nonce may serve: one kind of signature, by one key (33 bytes), over one digest."""
    return _short(kind.value.encode("ascii") + public_key + digest)


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:_SHORT]
