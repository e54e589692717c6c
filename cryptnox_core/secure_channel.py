"""The secure channel as pure state: key derivation, wrapping, unwrapping (docs/protocol.md, The channel).

CLOSED -> HANDSHAKE -> OPEN, and FAILED from anywhere. FAILED is for good: a new SELECT and a new object are needed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

from cryptnox_core import wire
from cryptnox_core.apdu import CommandApdu, Flow, ResponseApdu
from cryptnox_core.commands.auth import MutuallyAuthenticate
from cryptnox_core.commands.base import Command
from cryptnox_core.commands.setup import OpenSecureChannel
from cryptnox_core.crypto.aes import decrypt_cbc, encrypt_cbc, encrypt_padded, unpad
from cryptnox_core.crypto.p256 import EphemeralKey
from cryptnox_core.errors import (
    BadMacError,
    ChannelAbortedError,
    ChannelError,
    MalformedResponseError,
    NotInitializedError,
    PairingError,
    PinLockedError,
    ProtocolError,
    StatusWordError,
    UnknownChannelError,
    UsageError,
)
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import Sw

T = TypeVar("T")

_ZERO_IV = bytes(wire.BLOCK)


class ChannelState(Enum):
    CLOSED = "closed"
    HANDSHAKE = "handshake"
    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChannelKeys:
    """The two AES-256 keys of a channel."""

    aes: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    @classmethod
    def derive(cls, shared: bytes, pairing_key: bytes, salt: bytes) -> ChannelKeys:
        """SHA-512 of ECDH x, pairing key and salt (32 bytes each), cut in two."""
        digest = hashlib.sha512(shared + pairing_key + salt).digest()
        return cls(digest[:32], digest[32:])


class SecureChannel:
    """One channel, from its handshake to its end."""

    def __init__(
        self,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
        ephemeral: EphemeralKey | None = None,
        length_by_value: bool = False,
    ) -> None:
        """A closed channel.

        `random`: gives that many random bytes.
        `ephemeral`: replaces the fresh P-256 key (for vectors).
        `length_by_value`: the MAC of an extended frame with fewer than 256 bytes of data has their number in one byte,
        instead of the three that are sent (sources disagree).
        """
        self._random = random
        self._ephemeral = ephemeral
        self._length_by_value = length_by_value
        self.length_disputed = False
        """The two forms of the length differ for the command last wrapped."""
        self._state = ChannelState.CLOSED
        self._keys: ChannelKeys | None = None
        self._command_iv = wire.FIRST_IV
        self._response_iv: bytes | None = None
        self._answered: set[bytes] = set()
        """MACs of the responses so far."""

    @property
    def state(self) -> ChannelState:
        return self._state

    def fail(self) -> None:
        """Give the channel up for good and forget its keys."""
        self._state = ChannelState.FAILED
        self._keys = None

    def handshake(
        self,
        session_key: bytes,
        pairing_key: bytes,
        *,
        index: int = wire.PAIRING_INDEX,
        info: AppletInfo | None = None,
    ) -> Flow[None]:
        """OPEN SECURE CHANNEL, then MUTUALLY AUTHENTICATE.

        `session_key`: P-256, 65 bytes.
        `pairing_key`: 32 bytes, of the slot `index`.
        `info`: what SELECT said.
        Requires: the session key signed by the card's static key.
        Raises: PairingError when the card is paired with another key; UnknownChannelError instead of it, and of
        whatever else can go wrong between the two ends, where the applet is of version 2 or later.
        """
        if len(pairing_key) != wire.PAIRING_KEY_LENGTH:
            raise UsageError(f"a pairing key has {wire.PAIRING_KEY_LENGTH} bytes")
        if self._state is not ChannelState.CLOSED:
            raise ChannelError("a secure channel can only be opened once")
        try:
            self._state = ChannelState.HANDSHAKE
            key = self._ephemeral or EphemeralKey.generate(self._random)
            opening = OpenSecureChannel(key.public_key, index)
            salt = opening.result((yield opening.encode()), info)
            self._keys = ChannelKeys.derive(key.exchange(session_key), pairing_key, salt)
            proof = MutuallyAuthenticate(self._random(wire.CHALLENGE_LENGTH))
            response = yield self.wrap(proof.encode())
            if response.sw == Sw.SECURITY_STATUS:
                if info is not None and not info.initialized:
                    raise NotInitializedError("the card is not initialized", response.sw, proof.ins)
                raise PairingError("the card is paired with another key", response.sw)
            proof.result(self.unwrap(response), info)
            self._state = ChannelState.OPEN
        except BaseException as error:
            self.fail()
            if info is not None and info.is_version_2 and _is_about_the_channel(error):
                raise _unknown_channel(info, error) from error
            raise

    def exchange(self, command: Command[T], info: AppletInfo | None = None) -> Flow[T]:
        """One command through the open channel. Whatever goes wrong below its own status word fails the channel.

        Raises: what the command's class says, and what `unwrap` does. Where that happens to the first command, and the
        applet is of version 2 or later, UnknownChannelError: a handshake can pass between two forms that differ in a
        counter.
        """
        if self._state is not ChannelState.OPEN:
            raise ChannelError("the secure channel is not open; select the card and open it again")
        first, wrapped = len(self._answered) == 1, self.wrap(command.encode())
        try:
            response = self.unwrap((yield wrapped))
        except BaseException as error:
            self.fail()
            if isinstance(error, ChannelAbortedError) and (error.sw != Sw.SECURITY_STATUS or self.length_disputed):
                raise  # what may have another reason
            if first and info is not None and info.is_version_2 and _is_about_the_channel(error):
                raise _unknown_channel(info, error) from error
            raise
        return command.result(response, info)

    def wrap(self, command: CommandApdu) -> CommandApdu:
        """Encrypt and MAC a command.

        Requires: keys, and no command under way; the next call is `unwrap` with the response.
        Raises: ChannelError.
        """
        if self._keys is None or self._response_iv is not None:
            raise ChannelError("the secure channel expects a response, or is not open")
        body = encrypt_padded(self._keys.aes, self._command_iv, command.data)
        extended = command.extended or wire.BLOCK + len(body) > wire.MAX_SHORT_DATA
        frame = replace(command, data=bytes(wire.BLOCK) + body, le=None, extended=extended)
        self.length_disputed = extended and len(frame.data) <= wire.MAX_SHORT_DATA
        lc = bytes((len(frame.data),)) if self.length_disputed and self._length_by_value else frame.lc
        head = (frame.header + lc).ljust(wire.BLOCK, b"\0")
        mac = encrypt_cbc(self._keys.mac, _ZERO_IV, head + body)[-wire.BLOCK :]
        self._response_iv = mac
        return replace(frame, data=mac + body)

    def unwrap(self, response: ResponseApdu) -> ResponseApdu:
        """Check and decrypt the response to the command last wrapped; the result carries the real status word.

        Raises: ChannelAbortedError for an answer in the clear; BadMacError; MalformedResponseError. The channel has
        failed then.
        """
        try:
            return self._unwrap(response)
        except BaseException:
            self.fail()
            raise

    def _unwrap(self, response: ResponseApdu) -> ResponseApdu:
        if self._keys is None or self._response_iv is None:
            raise ChannelError("the secure channel has no command in progress")
        if not response.ok:
            raise ChannelAbortedError("the card closed the secure channel", response.sw)
        if len(response.data) < 2 * wire.BLOCK or len(response.data) % wire.BLOCK:
            raise MalformedResponseError(f"secure channel: a response of {len(response.data)} bytes")
        mac, body, length = response.data[: wire.BLOCK], response.data[wire.BLOCK :], len(response.data)
        prefix = bytes((length,)) if length <= wire.MAX_SHORT_DATA else b"\0" + length.to_bytes(2, "big")
        expected = encrypt_cbc(self._keys.mac, _ZERO_IV, prefix.ljust(wire.BLOCK, b"\0") + body)[-wire.BLOCK :]
        if not hmac.compare_digest(mac, expected):
            raise BadMacError("secure channel: the MAC of the response is wrong")
        if mac in self._answered:  # its MAC does not say which command it answers: see `first_block`
            raise BadMacError("secure channel: this response was already given")
        self._answered.add(mac)
        plain = unpad(decrypt_cbc(self._keys.aes, self._response_iv, body))
        if plain is None:
            raise MalformedResponseError("secure channel: the padding of the response is wrong")
        self._command_iv, self._response_iv = mac, None
        return ResponseApdu.parse(plain)


def _is_about_the_channel(error: BaseException) -> bool:
    if isinstance(error, NotInitializedError | PinLockedError):
        return False
    return isinstance(error, ProtocolError | StatusWordError)


def _unknown_channel(info: AppletInfo, error: BaseException) -> UnknownChannelError:
    sw = error.sw if isinstance(error, ChannelAbortedError | StatusWordError) else None
    return UnknownChannelError(
        f"the secure channel of this card's applet, version {'.'.join(map(str, info.version))}, is not supported "
        "yet: please report it, with the output of: cryptnoxctl doctor --json",
        sw,
    )
