"""Derivation, public keys, and what may be read of them (docs/protocol.md, Keys and signatures)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from cryptnox_core import wire
from cryptnox_core.apdu import CommandApdu
from cryptnox_core.arguments import switch
from cryptnox_core.bip32 import MASTER, ExtendedPublicKey, Path
from cryptnox_core.commands.base import (
    COUNT_UNKNOWN,
    Command,
    Meaning,
    PukCommand,
    StatusCommand,
    apdu,
    path_field,
    puk_field,
)
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.errors import (
    CryptnoxError,
    InvalidDataError,
    MalformedResponseError,
    NoSeedError,
    NotAllowedError,
    NotFoundError,
    UsageError,
    WrongPukError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import Cla, Curve, ExportKind, Ins, KeyUse, PubKeyForm, Source, Sw

_NO_PARENT: Meaning = (NotFoundError, "the current key has no parent on the card")


@dataclass(frozen=True, slots=True)
class DeriveKey(StatusCommand):
    """DERIVE KEY: moves the current key of a curve.

    P1 has bit 3 set, as every client sends it that is known to have met a card; the documentation leaves it out.
    Requires: the PIN verified.
    Raises: NotFoundError where the current key has no parent on the card.
    """

    path: Path
    """At most 8 levels from `source`. Empty only for the master."""
    source: Source = Source.MASTER
    curve: Curve = Curve.K1

    ins: ClassVar[Ins] = Ins.DERIVE_KEY
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.WRONG_PARAMETERS: _NO_PARENT}

    def encode(self) -> CommandApdu:
        if not self.path.steps and self.source is not Source.MASTER:
            raise UsageError("deriving from the parent or the current key needs at least one level")
        return apdu(self.ins, wire.DERIVE_BIT | self.source | self.curve, data=path_field(self.path))


def _public_key(data: bytes, curve: Curve) -> bytes:
    """The key that an answer begins with: 65 or 33 bytes as its first one says, on its curve.

    Raises: MalformedResponseError; also for 32 bytes, which leave the sign of y open.
    """
    if len(data) == 32:
        raise MalformedResponseError("GET PUBKEY: the x coordinate alone does not say which of two keys it is")
    key = bytes(data[: 65 if data[:1] == b"\x04" else 33])
    known = secp256k1.is_public_key(key) if curve is Curve.K1 else len(key) in (33, 65) and p256.is_point(key)
    if not known:
        raise MalformedResponseError("GET PUBKEY: not a public key")
    return key


@dataclass(frozen=True, slots=True)
class GetPublicKey(Command[bytes]):
    """GET PUBKEY, form 01: 65 or 33 bytes as the card sends it.

    Requires: the PIN verified.
    Raises: NotFoundError where the current key has no parent on the card.
    """

    path: Path | None = None
    """1 to 8 levels from `source`, derived on the fly: the current key stays. None: the current key."""
    source: Source = Source.MASTER
    curve: Curve = Curve.K1

    ins: ClassVar[Ins] = Ins.GET_PUBLIC_KEY
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.WRONG_PARAMETERS: _NO_PARENT}

    def encode(self) -> CommandApdu:
        if self.path is None:
            return apdu(self.ins, self.curve, PubKeyForm.PUBLIC_KEY)
        if not self.path.steps:
            raise UsageError("deriving on the fly needs at least one level")
        return apdu(self.ins, KeyUse.DERIVE | self.source | self.curve, PubKeyForm.PUBLIC_KEY, path_field(self.path))

    def decode(self, data: bytes) -> bytes:
        return _public_key(data, self.curve)


@dataclass(frozen=True, slots=True)
class GetClearPublicKey(Command[bytes]):
    """GET PUBKEY outside the channel, without PIN: the current key.

    Requires: clear reading switched on, or the current key under the pin-less path; else NotAllowedError.
    """

    curve: Curve = Curve.K1

    ins: ClassVar[Ins] = Ins.GET_PUBLIC_KEY
    secure: ClassVar[bool] = False
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: (NotAllowedError, "clear reading of the public key is off"),
        Sw.REFERENCED_DATA_NOT_FOUND: (NotAllowedError, "clear reading of the public key is off"),
        Sw.AUTH_BLOCKED: (NotAllowedError, "only the key on the PIN-less path can be read in the clear"),
    }

    def encode(self) -> CommandApdu:
        return CommandApdu(Cla.APPLET, self.ins, self.curve, PubKeyForm.PUBLIC_KEY, le=0)

    def decode(self, data: bytes) -> bytes:
        return _public_key(data, self.curve)


@dataclass(frozen=True, slots=True)
class GetExtendedPublicKey(Command[ExtendedPublicKey]):
    """GET PUBKEY, form 02: the extended key of the current k1 key.

    Requires: the PIN verified; export enabled, and a current key at depth 3 or more, else NotAllowedError.
    """

    ins: ClassVar[Ins] = Ins.GET_PUBLIC_KEY
    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.NOT_ALLOWED: (NotAllowedError, f"the card gives no extended key above depth {wire.XPUB_MIN_DEPTH}"),
    }

    def encode(self) -> CommandApdu:
        return apdu(self.ins, 0, PubKeyForm.EXTENDED)

    def decode(self, data: bytes) -> ExtendedPublicKey:
        return ExtendedPublicKey.from_card(data)

    def error(self, sw: int, info: AppletInfo | None = None) -> CryptnoxError:
        """6985 with a seed and export off means the latter."""
        if sw == Sw.CONDITIONS and info is not None and info.seeded and not info.xpub_export:
            return NotAllowedError("the card does not give extended public keys: export is off", sw, self.ins)
        return Command.error(self, sw, info)


@dataclass(frozen=True, slots=True)
class GetCurrentPath(Command[Path]):
    """GET PUBKEY, form 00: the path of the current key of a curve.

    The answer has no length of its own: 4 bytes a level, 8 levels at most. A piece of a level at its end is left out.
    """

    curve: Curve = Curve.K1

    ins: ClassVar[Ins] = Ins.GET_PUBLIC_KEY
    needs_seed: ClassVar[bool] = True

    def encode(self) -> CommandApdu:
        return apdu(self.ins, self.curve, PubKeyForm.PATH)

    def decode(self, data: bytes) -> Path:
        return Path.from_bytes(data[: 4 * min(len(data) // 4, wire.MAX_DEPTH)])


_NO_SEED: Meaning = (NoSeedError, "the card has no seed")


class _Setting(PukCommand):
    """A command with the PUK that requires a seed, which the card checks before the PUK. NoSeedError."""

    __slots__ = ()

    needs_seed: ClassVar[bool] = True
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.CONDITIONS: _NO_SEED}

    def error(self, sw: int, info: AppletInfo | None = None) -> CryptnoxError:
        """6985 with a seed is the PUK's refusal."""
        if sw == Sw.CONDITIONS and info is not None and info.seeded:
            text = "refused: the PUK is wrong, or the card accepts no PUK now; each attempt may have cost a PUK try"
            return WrongPukError(text, sw, self.ins, COUNT_UNKNOWN)
        return super().error(sw, info)


@dataclass(frozen=True, slots=True)
class SetPubExport(_Setting):
    """SET PUB EXPORT: extended keys, or the current key in the clear."""

    kind: ExportKind
    enabled: bool
    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.SET_PUB_EXPORT

    def encode(self) -> CommandApdu:
        return apdu(self.ins, self.kind, data=bytes((switch(self.enabled, "export"),)) + puk_field(self.puk))


@dataclass(frozen=True, slots=True)
class SetPinlessPath(_Setting):
    """SET PINLESS PATH: the path whose key signs without PIN."""

    path: Path | None
    """3 to 8 levels, at or under m/43'/60'/1581'; None: no such path any more."""
    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.SET_PINLESS_PATH
    meanings: ClassVar[Mapping[int, Meaning]] = {
        Sw.CONDITIONS: _NO_SEED,
        Sw.AUTH_BLOCKED: (InvalidDataError, "a PIN-less path must be under m/43'/60'/1581'"),
    }

    def encode(self) -> CommandApdu:
        if self.path is not None and not self.path.starts_with(Path(wire.PINLESS_PREFIX)):
            raise UsageError("a PIN-less path must be under m/43h/60h/1581h")
        return apdu(self.ins, data=puk_field(self.puk) + path_field(self.path or MASTER))
