"""The Cryptnox smart card: open one, use its keys, keep it. `from cryptnox_core import open_card`.

What is named here is loaded when it is first used: importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptnox_core.bip32 import ExtendedPublicKey as ExtendedPublicKey
    from cryptnox_core.bip32 import KeyOrigin as KeyOrigin
    from cryptnox_core.bip32 import Path as Path
    from cryptnox_core.card import Card as Card
    from cryptnox_core.card import PairingKeys as PairingKeys
    from cryptnox_core.certificate import CardCertificate as CardCertificate
    from cryptnox_core.certificate import Genuineness as Genuineness
    from cryptnox_core.certificate import TrustAnchor as TrustAnchor
    from cryptnox_core.certificate import TrustAnchors as TrustAnchors
    from cryptnox_core.commands.setup import pairing_key_from_puk as pairing_key_from_puk
    from cryptnox_core.commands.user_keys import digest_to_sign as digest_to_sign
    from cryptnox_core.commands.user_keys import message_to_sign as message_to_sign
    from cryptnox_core.discovery import FoundCard as FoundCard
    from cryptnox_core.discovery import list_cards as list_cards
    from cryptnox_core.discovery import open_card as open_card
    from cryptnox_core.errors import BadMacError as BadMacError
    from cryptnox_core.errors import BadSignatureError as BadSignatureError
    from cryptnox_core.errors import CardRemovedError as CardRemovedError
    from cryptnox_core.errors import CertificateError as CertificateError
    from cryptnox_core.errors import ChannelAbortedError as ChannelAbortedError
    from cryptnox_core.errors import ChannelError as ChannelError
    from cryptnox_core.errors import CryptnoxError as CryptnoxError
    from cryptnox_core.errors import InvalidDataError as InvalidDataError
    from cryptnox_core.errors import MalformedResponseError as MalformedResponseError
    from cryptnox_core.errors import NoCardError as NoCardError
    from cryptnox_core.errors import NoReaderError as NoReaderError
    from cryptnox_core.errors import NoSeedError as NoSeedError
    from cryptnox_core.errors import NotAllowedError as NotAllowedError
    from cryptnox_core.errors import NotAuthenticatedError as NotAuthenticatedError
    from cryptnox_core.errors import NotFoundError as NotFoundError
    from cryptnox_core.errors import NotInitializedError as NotInitializedError
    from cryptnox_core.errors import NotSupportedError as NotSupportedError
    from cryptnox_core.errors import PairingError as PairingError
    from cryptnox_core.errors import PinLockedError as PinLockedError
    from cryptnox_core.errors import ProtocolError as ProtocolError
    from cryptnox_core.errors import ReaderBusyError as ReaderBusyError
    from cryptnox_core.errors import ServiceUnavailableError as ServiceUnavailableError
    from cryptnox_core.errors import StatusWordError as StatusWordError
    from cryptnox_core.errors import SupportMissingError as SupportMissingError
    from cryptnox_core.errors import TransportError as TransportError
    from cryptnox_core.errors import TriesError as TriesError
    from cryptnox_core.errors import UnknownChannelError as UnknownChannelError
    from cryptnox_core.errors import UsageError as UsageError
    from cryptnox_core.errors import WrongPinError as WrongPinError
    from cryptnox_core.errors import WrongPukError as WrongPukError
    from cryptnox_core.models import AppletInfo as AppletInfo
    from cryptnox_core.models import CardInfo as CardInfo
    from cryptnox_core.models import HistoryEntry as HistoryEntry
    from cryptnox_core.models import SignatureCheck as SignatureCheck
    from cryptnox_core.models import UserKeyInfo as UserKeyInfo
    from cryptnox_core.transport import Transport as Transport
    from cryptnox_core.transport.pcsc import PcscTransport as PcscTransport
    from cryptnox_core.transport.tcp import ApduRelay as ApduRelay
    from cryptnox_core.transport.tcp import RemoteTransport as RemoteTransport
    from cryptnox_core.wire import COMMON_PAIRING_KEY as COMMON_PAIRING_KEY
    from cryptnox_core.wire import Curve as Curve
    from cryptnox_core.wire import KeySource as KeySource
    from cryptnox_core.wire import SignatureKind as SignatureKind
    from cryptnox_core.wire import Source as Source
    from cryptnox_core.wire import UserKeySlot as UserKeySlot

_NAMES = {
    "bip32": "ExtendedPublicKey KeyOrigin Path",
    "card": "Card PairingKeys",
    "certificate": "CardCertificate Genuineness TrustAnchor TrustAnchors",
    "commands.setup": "pairing_key_from_puk",
    "commands.user_keys": "digest_to_sign message_to_sign",
    "discovery": "FoundCard list_cards open_card",
    "errors": (
        "BadMacError BadSignatureError CardRemovedError CertificateError ChannelAbortedError ChannelError "
        "CryptnoxError InvalidDataError MalformedResponseError NoCardError NoReaderError NoSeedError NotAllowedError "
        "NotAuthenticatedError NotFoundError NotInitializedError NotSupportedError PairingError PinLockedError "
        "ProtocolError ReaderBusyError ServiceUnavailableError StatusWordError SupportMissingError TransportError "
        "TriesError UnknownChannelError UsageError WrongPinError WrongPukError"
    ),
    "models": "AppletInfo CardInfo HistoryEntry SignatureCheck UserKeyInfo",
    "transport": "Transport",
    "transport.pcsc": "PcscTransport",
    "transport.tcp": "ApduRelay RemoteTransport",
    "wire": "COMMON_PAIRING_KEY Curve KeySource SignatureKind Source UserKeySlot",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)

if not TYPE_CHECKING:  # a type checker shall miss a name that is not above

    def __getattr__(name: str) -> object:
        """PEP 562: a public name, from the module that defines it."""
        module = _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{module}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
