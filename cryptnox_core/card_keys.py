"""Deriving, reading and using keys."""

from __future__ import annotations

from cryptnox_core.arguments import member, octets
from cryptnox_core.bip32 import MASTER, ExtendedPublicKey, Path, fingerprint
from cryptnox_core.card_base import CardBase
from cryptnox_core.commands.auth import VerifyPin
from cryptnox_core.commands.keys import (
    DeriveKey,
    GetClearPublicKey,
    GetCurrentPath,
    GetExtendedPublicKey,
    GetPublicKey,
)
from cryptnox_core.commands.signing import Sign, SignPinless, verified_signature
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.errors import MalformedResponseError, NotAuthenticatedError, UsageError
from cryptnox_core.first_block import in_steps
from cryptnox_core.wire import (
    DIGEST_LENGTH,
    MAX_DEPTH,
    XPUB_MIN_DEPTH,
    Curve,
    SignatureKind,
    Source,
)


class CardKeys(CardBase):
    """The part of `Card` for keys and signatures.

    A path of more than three levels is gone in steps, one command each: a longer one could be changed on its way to the
    card (`first_block`).

    A path may be given as text wherever one is wanted: `card.public_key("m/84h/0h/0h/0/0")`.
    Unless a method says otherwise:
    Requires: channel open, PIN verified, a seed on the card.
    Raises: UsageError before anything is sent; NotAuthenticatedError where the PIN is wanted; NoSeedError.
    """

    # Keys

    def derive(self, path: Path | str, *, source: Source = Source.MASTER, curve: Curve = Curve.K1) -> None:
        """Move the current key of a curve. Where the card refuses a later step, what the earlier ones made is current.

        `path`: 0 to 8 levels, relative to `source`; an empty one makes the master current.
        Raises: NotFoundError where the current key has no parent on the card; UsageError deeper than 8 levels.
        """
        path, source, curve = _checked(path), member(Source, source, "source"), _curve(curve)
        for step in in_steps(path):
            self.run(DeriveKey(step, source, curve))
            source = Source.CURRENT

    def current_path(self, curve: Curve = Curve.K1) -> Path:
        """The path of the current key of a curve."""
        return self.run(GetCurrentPath(_curve(curve)))

    def public_key(
        self,
        path: Path | str | None = None,
        *,
        source: Source = Source.MASTER,
        curve: Curve = Curve.K1,
        compressed: bool = True,
    ) -> bytes:
        """The current key, or the key at a path: 33 bytes, or 65 where not `compressed`.

        `path`: 1 to 8 levels from `source`. Up to 3 are derived on the fly, and the current key stays; with more, a key
        above the one asked for becomes current. The master key has no such path: `derive("m")` makes it current.
        """
        source, curve = member(Source, source, "source"), _curve(curve)
        at = None if path is None else _checked(path)
        if at is not None and at.depth:
            *above, at = in_steps(at)
            for step in above:
                self.run(DeriveKey(step, source, curve))
                source = Source.CURRENT
        return _formed(self.run(GetPublicKey(at, source, curve)), curve, compressed)

    def clear_public_key(self, *, curve: Curve = Curve.K1, compressed: bool = True) -> bytes:
        """The current key, read without channel and PIN: 33 bytes, or 65 where not `compressed`.

        Requires: clear reading switched on, or the current key under the pin-less path.
        Raises: NotAllowedError where neither holds; MalformedResponseError for a card that answers with the x
        coordinate alone, which leaves two keys open.
        """
        curve = _curve(curve)
        self._ensure_selected()
        return _formed(self.run(GetClearPublicKey(curve)), curve, compressed)

    def read_extended_public_key(self) -> ExtendedPublicKey:
        """The extended key of the current k1 key.

        Raises: NotAllowedError where export is off or the depth is below 3.
        """
        return self.run(GetExtendedPublicKey())

    def extended_public_key(self, path: Path | str) -> ExtendedPublicKey:
        """Derive from the master, then read the extended key. The current key moves.

        Raises: UsageError for a depth below 3 or above 8; NotAllowedError where export is off; MalformedResponseError
        when the card's answer is not for this path.
        """
        at = Path.of(path)
        if not XPUB_MIN_DEPTH <= at.depth <= MAX_DEPTH:
            raise UsageError(f"the card gives extended keys of depth {XPUB_MIN_DEPTH} to {MAX_DEPTH}; {at} is none")
        self.derive(at)
        key = self.read_extended_public_key()
        if key.depth != at.depth or key.child_number != at.steps[-1]:
            raise MalformedResponseError(f"GET PUBKEY: the extended key is not that of {at}")
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
        public_key: bytes | None = None,
        path: Path | str | None = None,
        source: Source = Source.MASTER,
        curve: Curve = Curve.K1,
        kind: SignatureKind = SignatureKind.ECDSA,
    ) -> bytes:
        """Sign 32 bytes with the current key, or with the key at `path` without moving the current one.

        Returns strict DER with low S, or 64 bytes for Schnorr, verified against `public_key` (33 or 65 bytes). Without
        that the key is read from the card before it signs, one command more; where the card wants the PIN for it, `pin`
        is verified first. With it SIGN is the only command. Without PIN it has to be given.

        Requires: channel open; the right PIN, or None for a digest that `authorize_digest` or `authorize_digests` has
        just unlocked: for any other the card would take the end of the path for a PIN, and count a try.
        Raises: BadSignatureError when the signature does not verify; WrongPinError, PinLockedError.
        On some cards the PIN is no longer verified afterwards.
        """
        digest, curve = octets(digest, "a digest", DIGEST_LENGTH), _curve(curve)
        kind, source = member(SignatureKind, kind, "kind"), member(Source, source, "source")
        command = Sign(digest, pin, None if path is None else Path.of(path), source, curve, kind)
        command.encode()  # a mistake is found before anything is sent
        if pin is None and digest not in self._authorised:
            raise UsageError("signing takes the PIN, or a user key that authorised just this digest: nothing was sent")
        if public_key is None:
            if pin is None:
                raise UsageError("while a user key's digest waits the card gives no key: name the public key")
            public_key = self._own_key(command, pin)
        else:
            public_key = known_key(public_key, curve)
        return verified_signature(self.run(command), digest, public_key, curve=curve, kind=kind)

    def _own_key(self, command: Sign, pin: str) -> bytes:
        """The key that a SIGN will be made with."""
        reading = GetPublicKey(command.path, command.source, command.curve)
        try:
            return self.run(reading)
        except NotAuthenticatedError:
            self.run(VerifyPin(pin))
            return self.run(reading)

    def sign_pinless(self, digest: bytes, *, public_key: bytes) -> bytes:
        """Sign 32 bytes with the key of the pin-less path, without channel and PIN.

        Returns strict DER with low S, verified against `public_key` (33 or 65 bytes).
        Raises: NotFoundError where no pin-less path is set; BadSignatureError.
        """
        digest, public_key = octets(digest, "a digest", DIGEST_LENGTH), known_key(public_key, Curve.K1)
        self._ensure_selected()
        return verified_signature(self.run(SignPinless(digest)), digest, public_key)


def without_first(digests: tuple[bytes, ...], digest: bytes) -> tuple[bytes, ...]:
    """The digests without the first that is this one."""
    at = digests.index(digest) if digest in digests else len(digests)
    return digests[:at] + digests[at + 1 :]


def _checked(path: Path | str) -> Path:
    path = Path.of(path)
    if path.depth > MAX_DEPTH:
        raise UsageError(f"the card derives at most {MAX_DEPTH} levels; {path} has {path.depth}")
    return path


def _curve(curve: Curve) -> Curve:
    return member(Curve, curve, "curve")


def known_key(public_key: bytes, curve: Curve) -> bytes:
    """A public key that a caller gave, 33 or 65 bytes; UsageError for what is none."""
    key = octets(public_key, "a public key", secp256k1.COMPRESSED_LENGTH, secp256k1.UNCOMPRESSED_LENGTH)
    if not (secp256k1.is_public_key(key) if curve is Curve.K1 else p256.is_point(key)):
        raise UsageError("to verify a signature its public key is needed, 33 or 65 bytes")
    return key


def _formed(key: bytes, curve: Curve, compressed: bool) -> bytes:
    if curve is Curve.K1:
        return secp256k1.compress(key) if compressed else secp256k1.decompress(key)
    return p256.compress(key) if compressed else p256.decompress(key)
