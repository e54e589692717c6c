"""Selecting, certificates, the handshake, and the card's life cycle (docs/protocol.md, In the clear)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from cryptnox_core import wire
from cryptnox_core.apdu import ByteReader, CommandApdu, Flow
from cryptnox_core.arguments import octets, switch, text
from cryptnox_core.certificate import MAX_CERTIFICATE, CardCertificate, SessionCertificate
from cryptnox_core.commands.base import (
    POWER_CYCLE,
    Command,
    Meaning,
    PukCommand,
    StatusCommand,
    apdu,
    pin_field,
    puk_field,
)
from cryptnox_core.crypto.aes import encrypt_padded
from cryptnox_core.crypto.p256 import EphemeralKey, is_point
from cryptnox_core.errors import (
    CertificateError,
    InvalidDataError,
    MalformedResponseError,
    NotAllowedError,
    NotFoundError,
    NotSupportedError,
    PinLockedError,
    StatusWordError,
    UsageError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import Cla, Ins, Sw

T = TypeVar("T")


class _InTheClear(Command[T]):
    """A command for any card, without channel and PIN: 6985 says that a power cycle is wanted."""

    __slots__ = ()

    secure: ClassVar[bool] = False
    needs_init: ClassVar[bool] = False
    meanings: ClassVar[Mapping[int, Meaning]] = {Sw.CONDITIONS: (PinLockedError, POWER_CYCLE)}


_REFUSED = (Sw.INS_NOT_SUPPORTED, Sw.CONDITIONS, Sw.NOT_ALLOWED)
"""What INIT and RESET answer where they are not possible any more."""


@dataclass(frozen=True, slots=True)
class Select(_InTheClear[AppletInfo]):
    """SELECT. Ends any channel and all authentication.

    Raises: NotFoundError or NotSupportedError for another card; PinLockedError (power cycle wanted).
    """

    ins: ClassVar[Ins] = Ins.SELECT
    meanings: ClassVar[Mapping[int, Meaning]] = {
        **_InTheClear.meanings,
        Sw.FILE_NOT_FOUND: (NotFoundError, "this card does not have the Cryptnox applet"),
        Sw.WRONG_P1P2: (NotSupportedError, "this card does not have the Cryptnox applet"),
    }

    def encode(self) -> CommandApdu:
        return CommandApdu(Cla.ISO, self.ins, 0x04, 0x00, wire.AID)

    def decode(self, data: bytes) -> AppletInfo:
        return AppletInfo.parse(data)


@dataclass(frozen=True, slots=True)
class GetCardPublicKey(_InTheClear[bytes]):
    """GET CARD PUBKEY: the card's static P-256 key, 65 bytes uncompressed."""

    ins: ClassVar[Ins] = Ins.GET_CARD_PUBLIC_KEY

    def encode(self) -> CommandApdu:
        return CommandApdu(Cla.APPLET, self.ins, 0, 0, le=0)

    def decode(self, data: bytes) -> bytes:
        key = ByteReader(data, "GET CARD PUBKEY").take(wire.P256_POINT_LENGTH)
        if not is_point(key):
            raise MalformedResponseError("GET CARD PUBKEY: not a P-256 point")
        return key


@dataclass(frozen=True, slots=True)
class GetManufacturerCertificate(_InTheClear[bytes]):
    """GET MANUFACTURER CERTIFICATE: one page. Page 0 starts with the length of the whole (2 bytes)."""

    page: int

    ins: ClassVar[Ins] = Ins.GET_MANUFACTURER_CERTIFICATE

    def encode(self) -> CommandApdu:
        return CommandApdu(Cla.APPLET, self.ins, 0, self.page, le=0)

    def decode(self, data: bytes) -> bytes:
        return bytes(data)


@dataclass(frozen=True, slots=True)
class GetCardCertificate(_InTheClear[SessionCertificate]):
    """GET CARD CERTIFICATE with a fresh nonce. The caller checks nonce and signature."""

    nonce: bytes
    """8 bytes."""

    ins: ClassVar[Ins] = Ins.GET_CARD_CERTIFICATE

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=octets(self.nonce, "the nonce", wire.CERTIFICATE_NONCE_LENGTH))

    def decode(self, data: bytes) -> SessionCertificate:
        return SessionCertificate.parse(data)


def read_certificate(info: AppletInfo | None = None) -> Flow[CardCertificate]:
    """GET MANUFACTURER CERTIFICATE, as many pages as the length on page 0 asks for.

    Pages may be of any size: 253 and 255 bytes are documented, all in one has been seen over NFC. Where they hold more
    than the length says, and a page more than is documented, the documented sizes are tried first: what is above them
    does not belong to the certificate.

    Requires: the applet selected, and no GET CARD CERTIFICATE since.
    Raises: CertificateError.
    """
    command = GetManufacturerCertificate(0)
    reader = ByteReader(command.result((yield command.encode()), info), "GET MANUFACTURER CERTIFICATE")
    length, whole = reader.number(2), reader.rest()
    if not 0 < length <= MAX_CERTIFICATE:
        raise CertificateError(f"the card announces a certificate of {length} bytes; 1 to {MAX_CERTIFICATE} are read")
    documented = whole[: wire.CERTIFICATE_FIRST_PAGE]
    while len(whole) < length or (len(whole) > length and len(documented) < length):
        command = GetManufacturerCertificate(command.page + 1)
        try:
            piece = command.result((yield command.encode()), info)
        except StatusWordError:
            if len(whole) < length:
                raise
            break
        if not piece or command.page == 0xFF:
            break
        whole += piece
        documented += piece[: wire.CERTIFICATE_PAGE]
    if len(whole) < length:
        raise CertificateError(f"the card's certificate ends after {len(whole)} of {length} bytes")
    if len(whole) > length and len(documented) >= length and documented[:length] != whole[:length]:
        with contextlib.suppress(CertificateError):  # then the pages are longer than documented
            return CardCertificate.parse(documented[:length])
    return CardCertificate.parse(whole[:length])


@dataclass(frozen=True, slots=True)
class OpenSecureChannel(_InTheClear[bytes]):
    """OPEN SECURE CHANNEL: sends the host's key, returns the session salt (32 bytes)."""

    public_key: bytes
    """P-256, 65 bytes."""
    index: int = wire.PAIRING_INDEX
    """Pairing key slot 0, or FF for the key made from the PUK."""

    ins: ClassVar[Ins] = Ins.OPEN_SECURE_CHANNEL
    needs_init: ClassVar[bool] = True

    def encode(self) -> CommandApdu:
        if self.index not in (wire.PAIRING_INDEX, wire.PAIRING_INDEX_PUK):
            raise UsageError("the pairing key index is 0 or 255")
        return apdu(self.ins, self.index, data=octets(self.public_key, "the host's key", wire.P256_POINT_LENGTH))

    def decode(self, data: bytes) -> bytes:
        return ByteReader(data, "OPEN SECURE CHANNEL").take(wire.SALT_LENGTH)


def pairing_key_from_puk(puk: str) -> bytes:
    """The pairing key of index FF: SHA-256 applied 32 times to the PUK."""
    key = puk_field(puk)
    for _ in range(wire.PUK_PAIRING_ROUNDS):
        key = hashlib.sha256(key).digest()
    return key


@dataclass(frozen=True, slots=True)
class InitParameters:
    """What INIT writes. Nothing of it shows in `repr`."""

    name: str = field(repr=False)
    """Up to 20 bytes of UTF-8."""
    email: str = field(repr=False)
    """Up to 60 bytes of UTF-8."""
    pin: str = field(repr=False)
    """4 to 9 digits."""
    puk: str = field(repr=False)
    """12 ASCII characters."""
    pairing_key: bytes = field(repr=False)
    """32 bytes."""
    nft_nfc_sign: bool | None = None
    """NFT cards only: whether NFC readers may be used for signing. None for Basic cards."""

    def encode(self) -> bytes:
        """The plain parameters; UsageError for what does not fit."""
        name, email = text(self.name, "a name").encode("utf-8"), text(self.email, "an e-mail address").encode("utf-8")
        if len(name) > wire.NAME_MAX or len(email) > wire.EMAIL_MAX:
            raise UsageError(f"a name has at most {wire.NAME_MAX} bytes, an e-mail address {wire.EMAIL_MAX}")
        nfc = b""
        if self.nft_nfc_sign is not None:
            allowed = switch(self.nft_nfc_sign, "signing over NFC")
            nfc = wire.NFT_NFC_SIGN_ALLOWED if allowed else wire.NFT_NFC_SIGN_DENIED
        named = bytes((len(name),)) + name + bytes((len(email),)) + email
        key = octets(self.pairing_key, "a pairing key", wire.PAIRING_KEY_LENGTH)
        return named + pin_field(self.pin) + puk_field(self.puk) + nfc + key


@dataclass(frozen=True, slots=True)
class Init(StatusCommand):
    """INIT; NotAllowedError where that was done already. The card must be selected again afterwards."""

    data: bytes = field(repr=False)
    """As `Init.seal` makes it."""

    ins: ClassVar[Ins] = Ins.INIT
    secure: ClassVar[bool] = False
    needs_init: ClassVar[bool] = False
    meanings: ClassVar[Mapping[int, Meaning]] = {
        **dict.fromkeys(_REFUSED, (NotAllowedError, "the card is already initialized")),
        Sw.DATA_INVALID: (InvalidDataError, "the card could not decrypt the parameters"),
    }

    @classmethod
    def seal(cls, parameters: InitParameters, session_key: bytes, random: Callable[[int], bytes]) -> Init:
        """Encrypt the parameters for the card's session key, whose signature has to be checked before."""
        plain, key, iv = parameters.encode(), EphemeralKey.generate(random), random(wire.BLOCK)
        point, sealed = key.public_key, encrypt_padded(key.exchange(session_key), iv, plain)
        return cls(bytes((len(point),)) + point + iv + sealed)

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=self.data)


@dataclass(frozen=True, slots=True)
class ChangePairingKey(PukCommand):
    """CHANGE PAIRING KEY. It has 32 bytes and holds from the next channel on."""

    pairing_key: bytes = field(repr=False)
    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.CHANGE_PAIRING_KEY

    def encode(self) -> CommandApdu:
        key = octets(self.pairing_key, "a pairing key", wire.PAIRING_KEY_LENGTH)
        return apdu(self.ins, data=key + puk_field(self.puk))


@dataclass(frozen=True, slots=True)
class Reset(PukCommand):
    """RESET to the factory state. Erases everything. NotAllowedError where reset is disabled for ever."""

    puk: str = field(repr=False)

    ins: ClassVar[Ins] = Ins.RESET
    meanings: ClassVar[Mapping[int, Meaning]] = dict.fromkeys(
        _REFUSED, (NotAllowedError, "the card refuses to be reset; on some cards reset is permanently disabled")
    )

    def encode(self) -> CommandApdu:
        return apdu(self.ins, data=puk_field(self.puk))
