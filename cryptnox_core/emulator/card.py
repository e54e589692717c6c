"""The emulated card: which command is answered where, and how.

Commands in the clear are dispatched at once; everything else is unwrapped first. Choices where the published
descriptions leave one: before SELECT, and after INIT or RESET, everything but SELECT answers 6985; a command that
belongs into the channel but is too short to have come through one answers 6985 and leaves the channel alone; any
command between OPEN SECURE CHANNEL and MUTUALLY AUTHENTICATE ends the handshake; an answer that a short frame cannot
carry is 6700.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field

from cryptnox_core import wire
from cryptnox_core.emulator import auth, data, musig2, seeds, setup, signing, user_keys
from cryptnox_core.emulator.channel import MIN_WRAPPED, Channel
from cryptnox_core.emulator.context import Auth, Context, Counters
from cryptnox_core.emulator.curves import Random
from cryptnox_core.emulator.frame import Command, Refusal, parse, require
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import Cla, Ins, KeyUse, Sw

Handler = Callable[[Context, Command, bytes], bytes]
ClearHandler = Callable[[Context, Command], bytes]

_CLEAR: dict[int, ClearHandler] = {
    Ins.GET_CARD_PUBLIC_KEY: setup.card_public_key,
    Ins.GET_MANUFACTURER_CERTIFICATE: setup.manufacturer_certificate,
    Ins.GET_CARD_CERTIFICATE: setup.card_certificate,
    Ins.INIT: setup.init,
    Ins.OPEN_SECURE_CHANNEL: setup.open_channel,
}
_SECURE: dict[int, Handler] = {
    Ins.VERIFY_PIN: auth.verify_pin,
    Ins.CHANGE_SECRET: auth.change_secret,
    Ins.UNBLOCK_PIN: auth.unblock_pin,
    Ins.CHANGE_PAIRING_KEY: auth.change_pairing_key,
    Ins.SET_PIN_AUTH: auth.set_pin_auth,
    Ins.RESET: auth.reset,
    Ins.LOAD_KEY: seeds.load_key,
    Ins.GENERATE_KEY: seeds.generate_key,
    Ins.GENERATE_SEED_WRAP_KEY: seeds.generate_wrap_key,
    Ins.DERIVE_KEY: signing.derive_key,
    Ins.GET_PUBLIC_KEY: signing.get_public_key,
    Ins.SET_PUB_EXPORT: signing.set_pub_export,
    Ins.SET_PINLESS_PATH: signing.set_pinless_path,
    Ins.SIGN: signing.sign,
    Ins.SIGN_PUBLIC: signing.sign_public,
    Ins.DECRYPT: signing.decrypt,
    Ins.NONCE_GEN: musig2.nonce_gen,
    Ins.MUSIG2: musig2.musig2,
    Ins.ADD_USER_KEY: user_keys.add_user_key,
    Ins.CHECK_USER_KEY: user_keys.check_user_key,
    Ins.DELETE_USER_KEY: user_keys.delete_user_key,
    Ins.READ_DATA: data.read_data,
    Ins.WRITE_DATA: data.write_data,
    Ins.GET_HISTORY: data.get_history,
    Ins.GENERATE_RANDOM: data.generate_random,
}
_NOT_ON_NFT = frozenset(
    {
        Ins.DERIVE_KEY,
        Ins.GENERATE_RANDOM,
        Ins.SET_PIN_AUTH,
        Ins.SET_PINLESS_PATH,
        Ins.ADD_USER_KEY,
        Ins.CHECK_USER_KEY,
        Ins.DELETE_USER_KEY,
        Ins.NONCE_GEN,
        Ins.MUSIG2,
    }
)
_SIGNATURE_CHECK_P1 = 0x01
_MAX_FRAME = wire.USER_DATA_PAGE + 4 * wire.BLOCK
"""Longest data of a command that the card can take; anything longer breaks the channel."""
_MAX_SHORT_ANSWER = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: data, outer status word, and the status word inside the channel where there is one."""

    data: bytes = field(repr=False)
    sw: int
    inner: int | None = None

    @property
    def raw(self) -> bytes:
        """The bytes on the wire."""
        return self.data + self.sw.to_bytes(2, "big")


class Card:
    """One card, powered up. Not for several threads at once."""

    def __init__(self, memory: Memory, readings: Iterable[Reading] = (), random: Random = secrets.token_bytes) -> None:
        self._ctx = Context(memory, frozenset(readings), random)

    @property
    def memory(self) -> Memory:
        """The persistent memory; a RESET replaces the object."""
        return self._ctx.memory

    @property
    def counters(self) -> Counters:
        """What was counted since the object was made."""
        return self._ctx.counters

    @property
    def counted(self) -> dict[str, int]:
        """The same by name; what concerns MuSig2 where the applet has it."""
        found = asdict(self._ctx.counters)
        if not musig2.is_there(self._ctx):
            del found["nonces_again"]
        return found

    def power_up(self) -> None:
        """Power cycle or reset: channel, selection, authentication and the tries of the session start anew."""
        self._ctx.power_up()

    def process(self, raw: bytes, *, torn: bool = False, repeat_nonce: bool = False) -> Answer:
        """Answer one APDU.

        `torn`: the power fails meanwhile; only RESET is left half done by it.
        `repeat_nonce`: a signature is made with the nonce of the one before.
        """
        self._ctx.torn, self._ctx.repeat_nonce = torn, repeat_nonce
        try:
            command = parse(raw)
            return self._dispatch(command)
        except Refusal as refusal:
            if refusal.aborts and self._ctx.power.selection is not None:
                self._ctx.power.selection.channel = None
                auth.set_auth(self._ctx, Auth.NONE)
            return Answer(b"", refusal.sw)

    def _dispatch(self, command: Command) -> Answer:
        ctx = self._ctx
        is_select = command.ins == Ins.SELECT
        require(command.cla == (Cla.ISO if is_select else Cla.APPLET), Sw.CLA_NOT_SUPPORTED)
        channel = ctx.power.selection.channel if ctx.power.selection else None
        locked = ctx.reads(Reading.SOFTLOCK_6985) and auth.soft_locked(ctx)
        if locked and (channel is None or is_select):
            raise Refusal(Sw.CONDITIONS)
        if is_select:
            return Answer(setup.select(ctx, command), Sw.OK)
        selection = ctx.selection
        if channel is not None and not channel.confirmed:
            selection.channel = None
            if command.ins == Ins.MUTUALLY_AUTHENTICATE:
                return self._confirm(channel, command)
            channel = None
        if self._is_clear(command):
            require(not locked, Sw.CONDITIONS)
            return Answer(self._clear(command), Sw.OK)
        known = command.ins in _SECURE or command.ins in (Ins.MUTUALLY_AUTHENTICATE, Ins.GET_CARD_CERTIFICATE)
        if channel is None or len(command.data) < MIN_WRAPPED:
            raise Refusal(Sw.CONDITIONS if known else Sw.INS_NOT_SUPPORTED)
        return self._secure(channel, command, locked=locked)

    @staticmethod
    def _is_clear(command: Command) -> bool:
        """Whether the command is one in the clear; two may come either way, and their length tells."""
        if command.ins == Ins.GET_CARD_CERTIFICATE:
            return command.p1 != _SIGNATURE_CHECK_P1
        if command.ins == Ins.GET_PUBLIC_KEY:
            return len(command.data) < MIN_WRAPPED
        if command.ins == Ins.SIGN and command.p1 == KeyUse.PINLESS:
            return len(command.data) <= wire.DIGEST_LENGTH
        return command.ins in _CLEAR

    def _clear(self, command: Command) -> bytes:
        if command.ins == Ins.GET_PUBLIC_KEY:
            return signing.get_public_key_clear(self._ctx, command)
        if command.ins == Ins.SIGN:
            return signing.sign_pinless(self._ctx, command, command.data)
        return _CLEAR[command.ins](self._ctx, command)

    def _unwrap(self, channel: Channel, command: Command) -> bytes:
        only = self._ctx.reads(Reading.MAC_LEN_VALUE_ONLY)
        return channel.unwrap(command, by_value=only or self._ctx.reads(Reading.MAC_LEN_VALUE), as_sent=not only)

    def _confirm(self, channel: Channel, command: Command) -> Answer:
        """MUTUALLY AUTHENTICATE: the channel is back only when the client's random number came through it."""
        plain = self._unwrap(channel, command)
        if len(plain) != wire.CHALLENGE_LENGTH or command.p1 or command.p2:
            raise Refusal(Sw.SECURITY_STATUS, aborts=True)
        channel.confirmed = True
        self._ctx.selection.channel = channel
        answer = self._ctx.random(wire.CHALLENGE_LENGTH) + Sw.OK.to_bytes(2, "big")
        return Answer(channel.wrap(answer), Sw.OK, Sw.OK)

    def _secure(self, channel: Channel, command: Command, *, locked: bool) -> Answer:
        ctx = self._ctx
        if len(command.data) > _MAX_FRAME:
            raise Refusal(Sw.SECURITY_STATUS, aborts=True)
        plain = self._unwrap(channel, command)
        body, sw = b"", int(Sw.OK)
        try:
            require(not locked, Sw.CONDITIONS)
            body = self._handler(command)(ctx, command, plain)
            wrapped = 2 * wire.BLOCK + (len(body) + 2) // wire.BLOCK * wire.BLOCK
            require(command.extended or wrapped <= _MAX_SHORT_ANSWER, Sw.WRONG_LENGTH)
        except Refusal as refusal:
            body, sw = b"", refusal.sw
        if ctx.reads(Reading.OUTER_SW) and sw in (Sw.WRONG_LENGTH, Sw.INS_NOT_SUPPORTED):
            raise Refusal(sw, aborts=True)
        return Answer(channel.wrap(body + sw.to_bytes(2, "big")), Sw.OK, sw)

    def _handler(self, command: Command) -> Handler:
        is_nft = self._ctx.memory.card_type == wire.CARD_TYPE_NFT
        if command.ins == Ins.GET_CARD_CERTIFICATE and is_nft:
            return data.signature_check
        if command.ins == Ins.MUTUALLY_AUTHENTICATE:
            raise Refusal(Sw.CONDITIONS)
        if command.ins not in _SECURE or (is_nft and command.ins in _NOT_ON_NFT):
            raise Refusal(Sw.INS_NOT_SUPPORTED)
        if command.ins in (Ins.NONCE_GEN, Ins.MUSIG2) and not musig2.is_there(self._ctx):
            raise Refusal(Sw.INS_NOT_SUPPORTED)
        return _SECURE[command.ins]
