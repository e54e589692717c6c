"""The errors of this package. A status word ends in exactly one exception and keeps its number.

Values that cannot be read have errors of their own where they are read, each a UsageError: paths and extended keys in
`bip32`, public keys and signatures in `crypto.secp256k1`, contributions of other signers in `crypto.musig2`.
"""

from __future__ import annotations


class CryptnoxError(Exception):
    """Base of all errors of `cryptnox_core`."""

    def __reduce__(self) -> tuple[object, ...]:
        """For pickle and copy: as it is, whatever its kind was made from."""
        return _restored, (type(self), self.args, self.__dict__)


class UsageError(CryptnoxError, ValueError):
    """The caller's mistake, found before anything was sent."""


class TransportError(CryptnoxError):
    """The card could not be reached. Whether the last command reached the card is not known."""


class ServiceUnavailableError(TransportError):
    """No PC/SC service is running (pcscd), or it cannot be used by this user."""


class SupportMissingError(ServiceUnavailableError):
    """PC/SC support is not installed on this side: pyscard, or the library it uses, cannot be loaded."""


class NoReaderError(TransportError):
    """There is no reader, or none of the name or number asked for."""


class NoCardError(TransportError):
    """The reader is empty, or the card in it does not answer."""


class CardRemovedError(TransportError):
    """The card left the reader, was reset by another program, or stopped answering."""


class ReaderBusyError(TransportError):
    """Another program holds the card and did not let go within the time limit."""


class ProtocolError(CryptnoxError):
    """The card's answer breaks the protocol."""


class MalformedResponseError(ProtocolError):
    """A response has the wrong length or form."""


class CertificateError(ProtocolError):
    """The card's certificate or its session signature is bad. No secret was sent."""


class BadSignatureError(ProtocolError):
    """The card returned a signature that does not verify against its key and the digest."""


class ChannelError(ProtocolError):
    """The secure channel is unusable; select the card and open it anew."""


class BadMacError(ChannelError):
    """The MAC of a response is wrong: somebody sits in between, or the line is faulty."""


class ChannelAbortedError(ChannelError):
    """The card answered in the clear inside the channel. `sw` is its status word."""

    def __init__(self, message: str, sw: int) -> None:
        super().__init__(f"{message} (status word {sw:04X})")
        self.sw = sw


class PairingError(ChannelAbortedError):
    """MUTUALLY AUTHENTICATE failed: the card is paired with another key."""


class UnknownChannelError(ChannelError):
    """The form of this applet's channel is not known yet.

    An applet of version 2 or later did not open the channel, or did not understand the first command in it. Where it
    did not open no secret was sent. `sw` is the status word it refused with, if it did.
    """

    def __init__(self, message: str, sw: int | None = None) -> None:
        super().__init__(message if sw is None else f"{message} (status word {sw:04X})")
        self.sw = sw


class StatusWordError(CryptnoxError):
    """The card refused a command. `sw` is the status word, `ins` the instruction byte."""

    def __init__(self, message: str, sw: int, ins: int) -> None:
        super().__init__(f"{message} (status word {sw:04X}, instruction {ins:02X})")
        self.sw = sw
        self.ins = ins


class TriesError(StatusWordError):
    """A PIN or PUK was refused; at most `left` tries remain."""

    def __init__(self, message: str, sw: int, ins: int, left: int) -> None:
        super().__init__(message, sw, ins)
        self.left = left


class WrongPinError(TriesError):
    """The PIN was refused and a try was spent."""


class PinLockedError(StatusWordError):
    """No PIN is accepted now.

    After a power cycle ask for the tries left: still none means blocked until the PUK unblocks it.
    """


class WrongPukError(TriesError):
    """The PUK was refused and a try of this power cycle was spent. `left` is -1 where the card gives no count."""


class NotAuthenticatedError(StatusWordError):
    """The command wants a verified PIN, an authorized hash, or the secure channel."""


class NoSeedError(StatusWordError):
    """The card holds no seed or key."""


class NotInitializedError(StatusWordError):
    """The card was never initialized (or was reset)."""


class NotAllowedError(StatusWordError):
    """The card's state or settings do not allow the command."""


class InvalidDataError(StatusWordError):
    """The card rejects the data, its length, or the parameters."""


class NotFoundError(StatusWordError):
    """What was asked for is not there."""


class NotSupportedError(StatusWordError):
    """This card or applet version does not have the command."""


def _restored(kind: type[CryptnoxError], arguments: tuple[object, ...], state: dict[str, object]) -> CryptnoxError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error
