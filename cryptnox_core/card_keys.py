"""Deriving, reading and using keys."""

from __future__ import annotations

from cryptnox_core import p256, secp256k1
from cryptnox_core.bip32 import MASTER, ExtendedPublicKey, Path, fingerprint
from cryptnox_core.card_base import CardBase
from cryptnox_core.commands.keys import (
    DeriveKey,
    GetClearPublicKey,
    GetCurrentPath,
    GetExtendedPublicKey,
    GetPublicKey,
)
from cryptnox_core.commands.signing import Sign, SignPinless, verified_signature
from cryptnox_core.errors import MalformedResponseError, UsageError
from cryptnox_core.first_block import in_steps
from cryptnox_core.wire import MAX_DEPTH, XPUB_MIN_DEPTH, Curve, SignatureKind, Source


class CardKeys(CardBase):
    """The part of `Card` for keys and signatures.

    A path of more than three levels is gone in steps, one command each: a longer one could be changed on its way to the
    card (`first_block`).
    """

    # Keys. Requires: channel open, PIN verified.

    def derive(self, path: Path, *, source: Source = Source.MASTER, curve: Curve = Curve.K1) -> None:
        """Move the current key of a curve, up to 8 levels. An empty path makes the master current.

        Where the card refuses a later step, what the earlier ones made is current.
        """
        _check_depth(path)
        for step in in_steps(path):
            self.run(DeriveKey(step, source, curve))
            source = Source.CURRENT

    def current_path(self, curve: Curve = Curve.K1) -> Path:
        """The path of the current key."""
        return self.run(GetCurrentPath(curve))

    def public_key(
        self,
        path: Path | None = None,
        *,
        source: Source = Source.MASTER,
        curve: Curve = Curve.K1,
        compressed: bool = True,
    ) -> bytes:
        """The current key, or the key at a path of 1 to 8 levels: 33 bytes, or 65.

        The current key stays where the path has three levels at most; otherwise one above the key asked for becomes
        current.
        """
        if path is not None and path.depth:
            _check_depth(path)
            *above, path = in_steps(path)
            for step in above:
                self.run(DeriveKey(step, source, curve))
                source = Source.CURRENT
        return _formed(self.run(GetPublicKey(path, source, curve)), curve, compressed)

    def clear_public_key(self, *, curve: Curve = Curve.K1, compressed: bool = True) -> bytes:
        """The current key, read without channel and PIN.

        Requires: clear reading switched on, or the current key under the pin-less path. A card that answers with the x
        coordinate alone is refused (MalformedResponseError): it leaves two keys open.
        """
        self._ensure_selected()
        return _formed(self.run(GetClearPublicKey(curve)), curve, compressed)

    def read_extended_public_key(self) -> ExtendedPublicKey:
        """The extended key of the current k1 key. NotAllowedError where export is off or the depth is below 3."""
        return self.run(GetExtendedPublicKey())

    def extended_public_key(self, path: Path) -> ExtendedPublicKey:
        """Derive from the master, then read. UsageError for a depth below 3 or above 8.

        Raises MalformedResponseError when the card's answer is not for this path.
        """
        if not XPUB_MIN_DEPTH <= path.depth <= MAX_DEPTH:
            raise UsageError(f"the card gives extended keys of depth {XPUB_MIN_DEPTH} to {MAX_DEPTH}; {path} is none")
        self.derive(path)
        key = self.read_extended_public_key()
        if key.depth != path.depth or key.child_number != path.steps[-1]:
            raise MalformedResponseError(f"GET PUBKEY: the extended key is not that of {path}")
        return key

    def master_fingerprint(self) -> bytes:
        """The 4-byte fingerprint of the k1 master key. Leaves the master current."""
        self.derive(MASTER)
        return fingerprint(self.public_key())

    # Signing

    def sign(
        self,
        digest: bytes,
        pin: str | None,
        *,
        public_key: bytes,
        path: Path | None = None,
        source: Source = Source.MASTER,
        curve: Curve = Curve.K1,
        kind: SignatureKind = SignatureKind.ECDSA,
    ) -> bytes:
        """Sign 32 bytes with the current key, or with the key at `path` without moving the current one. One APDU.

        `pin` None only after `authorize_digests`. Returns strict DER with low S, or 64 bytes for Schnorr, verified
        against `public_key`; BadSignatureError when it does not verify. On some cards the PIN is no longer verified
        afterwards.
        """
        _check_key(public_key, curve)
        command = Sign(digest, pin, path, source, curve, kind)
        return verified_signature(self.run(command), digest, public_key, curve=curve, kind=kind)

    def sign_pinless(self, digest: bytes, *, public_key: bytes) -> bytes:
        """Sign 32 bytes with the key of the pin-less path, without channel and PIN. Strict DER, verified."""
        _check_key(public_key, Curve.K1)
        self._ensure_selected()
        return verified_signature(self.run(SignPinless(digest)), digest, public_key)


def _check_depth(path: Path) -> None:
    if path.depth > MAX_DEPTH:
        raise UsageError(f"the card derives at most {MAX_DEPTH} levels; {path} has {path.depth}")


def _check_key(public_key: bytes, curve: Curve) -> None:
    known = secp256k1.is_public_key(public_key) if curve is Curve.K1 else p256.is_point(public_key)
    if not known:
        raise UsageError("to verify a signature its public key is needed, 33 or 65 bytes")


def _formed(key: bytes, curve: Curve, compressed: bool) -> bytes:
    if curve is Curve.K1:
        return secp256k1.compress(key) if compressed else secp256k1.decompress(key)
    return p256.compress(key) if compressed else p256.decompress(key)
