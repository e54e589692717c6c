"""Asking a card whether it signs taproot key paths (see `taproot`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cryptnox_core.bip32 import HARDENED, MASTER, Path
from cryptnox_core.crypto.secp256k1 import taproot_output_key
from cryptnox_core.derivation import Derive, Position, ReadPublicKey
from cryptnox_core.errors import BadSignatureError, CertificateError, NotSupportedError, StatusWordError
from cryptnox_core.wire import Ins, Source
from hwilib_cryptnox.errors import FailedError
from hwilib_cryptnox.psbt import SignatureKind
from hwilib_cryptnox.signer.cards import Session, deriving
from hwilib_cryptnox.signer.signatures.memory import SignatureMemory
from hwilib_cryptnox.signer.signatures.runner import Runner
from hwilib_cryptnox.signer.signatures.taproot import Proof, Taproot, all_parities, digest_of, is_certified, note_of
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State

PATH = Path((int.from_bytes(b"TAPR", "big") | HARDENED,))
"""Below it are the keys that are asked: m/1413566546h, which no wallet uses. A card that gave one of them away with a
bad signature would give no money away."""
_MOST_KEYS = 64
"""Keys that are looked at for one of each parity: half of them have it."""


def ask(session: Session, settings: Settings, state: State) -> Taproot:
    """Ask the card for four signatures, one for each parity of internal and output key, and for its certificates of the
    two internal keys, and remember what it can do.

    Requires: the PIN verified. Raises: RepeatedNonceError; StateError where it cannot be remembered; what the card's
    commands raise, and then nothing is remembered.
    """
    card, memory = session.card, SignatureMemory(settings, state)
    memory.begin(card.serial)
    found, proofs = Taproot.DIFFERS, list[Proof]()
    try:
        proofs = list(_proofs(session, memory, state))
        if all_parities(card, proofs):
            found = Taproot.SIGNS
    except BadSignatureError:
        pass
    except StatusWordError as error:
        if error.ins not in (Ins.NONCE_GEN, Ins.MUSIG2):
            raise
        if isinstance(error, NotSupportedError):
            found = Taproot.ABSENT
        elif error.ins is not Ins.MUSIG2:
            raise
    finally:
        session.position = Position()
    memory.settle()
    state.update(card.serial, lambda now: replace(now, taproot=note_of(card, found, proofs)))
    return found


def _proofs(session: Session, memory: SignatureMemory, state: State) -> Iterator[Proof]:
    card, public = session.card, dict[Path, bytes]()
    runner = Runner(session, state, {}, public)
    seen: set[int] = set()
    source, base = Source.MASTER, MASTER
    for number in range(_MOST_KEYS):
        path = PATH.child(number, hardened=True)
        with deriving(session.opened):
            runner.step(Derive(path.below(base), source, path))
            runner.step(ReadPublicKey(path))
        source, base = Source.PARENT, PATH
        key = public[path]
        if key[0] in seen:
            continue
        seen.add(key[0])
        signed: list[tuple[bytes, bytes]] = []
        for root in _roots(key):
            digest = digest_of(card, key, root)
            memory.ask([digest], None)
            made = runner.sign_key_path(digest, key, root)
            memory.admit_nonce(digest, made.nonce)
            memory.admit(digest, key, made.signature, SignatureKind.SCHNORR)
            signed.append((root, made.signature))
        certificate = runner.certify()
        if not is_certified(card, key, certificate):
            raise CertificateError(
                "SIGN PUBLIC: the signature is not one of the card's static key over its current key"
            )
        for root, signature in signed:
            yield Proof(key, root, signature, certificate)
        if len(seen) == 2:
            return
    raise FailedError("all of the card's keys have the same parity, so it cannot be asked")


def _roots(key: bytes) -> list[bytes]:
    """What makes an output key of even y of an internal key, and one of odd y."""
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < 2:
        root = number.to_bytes(32, "big")
        found.setdefault(taproot_output_key(key[1:], root)[1], root)
        number += 1
    return list(found.values())
