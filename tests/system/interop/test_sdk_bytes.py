"""Every command in plain, byte for byte beside what the vendor's SDK sends for the same operation.

The SDK talks to a recorder: its connection with the two sending methods replaced, which answers from a script.
Where this project does something else than the SDK, the difference is stated here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass

import pytest

sdk = pytest.importorskip("cryptnox_sdk_py")

from cryptnox_sdk_py.card import Basic, Nft  # noqa: E402
from cryptnox_sdk_py.card.base import AuthType  # noqa: E402
from cryptnox_sdk_py.connection import Connection  # noqa: E402
from cryptnox_sdk_py.enums import Derivation, KeyType  # noqa: E402
from cryptnox_sdk_py.enums import SlotIndex as SdkSlot  # noqa: E402

from cryptnox_core.apdu import CommandApdu, ResponseApdu  # noqa: E402
from cryptnox_core.bip32 import Path  # noqa: E402
from cryptnox_core.commands import auth, data, keys, seeds, setup, signing, user_keys  # noqa: E402
from cryptnox_core.commands.base import Command  # noqa: E402
from cryptnox_core.crypto.aes import decrypt_cbc, unpad  # noqa: E402
from cryptnox_core.crypto.p256 import EphemeralKey  # noqa: E402
from cryptnox_core.secure_channel import SecureChannel  # noqa: E402
from cryptnox_core.wire import Curve, ExportKind, LoadKeyType, Source, UserKeySlot  # noqa: E402

PIN, PUK, NEW = "1234", "PUK000000001", "PUK000000002"
DIGEST = bytes(range(32))
TEXT_PATH, PATH = "m/84'/0'/0'/0/5", Path.parse("m/84h/0h/0h/0/5")
PINLESS = Path.parse("m/43h/60h/1581h/0/0")
POINT = EphemeralKey.from_scalar(7).public_key
MODULUS = bytes([0xC1]) + bytes(range(255))
SIGNATURE = bytes.fromhex("3006020101020101")

INFO = b"L" + bytes(6)

Plain = tuple[bytes, bytes, bool]
"""Header, plain data, and whether the extended form was asked for."""


@dataclass
class Recorder(Connection):
    """The SDK's connection, keeping what would be sent."""

    plain: list[Plain] = field(default_factory=list)
    clear: list[bytes] = field(default_factory=list)
    answer: bytes = b""

    def __init__(self, answer: bytes = b"") -> None:
        super().__init__(conn=[self], remote=True)
        self.plain, self.clear, self.answer = [], [], answer
        self.session_public_key = POINT.hex()

    def send_encrypted(self, apdu: list[int], data: bytes, receive_long: bool = False) -> bytes:
        header = bytes(apdu)
        if header == bytes.fromhex("80FA0000") and self.answer != INFO:
            return INFO  # the SDK asks for the key source before many an operation
        self.plain.append((header, bytes(data), receive_long))
        return self.answer

    def send_apdu(self, apdu: list[int]) -> tuple[list[int], int, int]:
        self.clear.append(bytes(apdu))
        return list(self.answer), 0x90, 0x00


def basic(answer: bytes = b"", *, card: type = Basic, opened: bool = True) -> tuple[Basic, Recorder]:
    recorder = Recorder(answer)
    flags = bytes.fromhex("007E0000") + bytes(16)
    subject = card(recorder, 1, [1, 6, 0], list(flags))
    if opened:
        subject.auth_type = AuthType.PIN
    return subject, recorder


SECURE: dict[str, tuple[Callable[[Basic], object], Command[object], bytes]] = {
    "pin tries": (lambda c: c.verify_pin(), auth.PinTriesLeft(), b"\x05"),
    "verify pin": (lambda c: c.verify_pin(PIN), auth.VerifyPin(PIN), b""),
    "change puk": (lambda c: c.change_puk(PUK, NEW), auth.ChangePuk(NEW, PUK), b""),
    "unblock pin": (lambda c: c.unblock_pin(PUK, PIN), auth.UnblockPin(PUK, PIN), b""),
    "change pin": (lambda c: c.change_pin(PIN), auth.ChangePin(PIN), b""),
    "pin auth off": (lambda c: c.set_pin_authentication(False, PUK), auth.SetPinAuth(False, PUK), b""),
    "pin auth on": (lambda c: c.set_pin_authentication(True, PUK), auth.SetPinAuth(True, PUK), b""),
    "pairing key": (
        lambda c: c.change_pairing_key(0, bytes(range(32)), PUK),
        setup.ChangePairingKey(bytes(range(32)), PUK),
        b"",
    ),
    "reset": (lambda c: c.reset(PUK), setup.Reset(PUK), b""),
    "load seed": (lambda c: c.load_seed(bytes(64), PIN), seeds.LoadKey.seed(bytes(64), PIN), b""),
    "wrapped seed": (
        lambda c: c.load_wrapped_seed(MODULUS, PIN),
        seeds.LoadKey(LoadKeyType.WRAPPED_SEED, MODULUS, PIN),
        b"",
    ),
    "dual seed 1": (
        lambda c: c.dual_seed_public_key(PIN),
        seeds.LoadKey(LoadKeyType.DUAL_STEP_1, b"", PIN),
        POINT + b"S",
    ),
    "dual seed 2": (
        lambda c: c.dual_seed_load(POINT + SIGNATURE, PIN),
        seeds.LoadKey(LoadKeyType.DUAL_STEP_2, POINT + SIGNATURE, PIN),
        b"",
    ),
    "generate seed": (lambda c: c.generate_seed(PIN), seeds.GenerateKey(PIN), b""),
    "wrap key": (lambda c: c.generate_seed_wrapper(), seeds.GenerateSeedWrapKey(2048), b""),
    "random": (lambda c: c.generate_random_number(32), seeds.GenerateRandom(32), b""),
    "public key": (
        lambda c: c.get_public_key(Derivation.CURRENT_KEY, compressed=False),
        keys.GetPublicKey(),
        b"",
    ),
    "public key r1": (
        lambda c: c.get_public_key(Derivation.CURRENT_KEY, KeyType.R1, compressed=False),
        keys.GetPublicKey(curve=Curve.R1),
        b"",
    ),
    "public key on the fly": (
        lambda c: c.get_public_key(Derivation.DERIVE, KeyType.K1, TEXT_PATH, compressed=False),
        keys.GetPublicKey(PATH),
        b"",
    ),
    "extended key": (lambda c: c.get_public_key_extended(), keys.GetExtendedPublicKey(), b""),
    "xpub export": (lambda c: c.set_xpubread(True, PUK), keys.SetPubExport(ExportKind.XPUB, True, PUK), b""),
    "clear reading": (
        lambda c: c.set_clearpubkey(False, PUK),
        keys.SetPubExport(ExportKind.CLEAR_PUBLIC_KEY, False, PUK),
        b"",
    ),
    "PIN-less path": (
        lambda c: c.set_pinless_path("m/43'/60'/1581'/0/0", PUK),
        keys.SetPinlessPath(PINLESS, PUK),
        b"",
    ),
    "pinless path cleared": (lambda c: c.set_pinless_path("", PUK), keys.SetPinlessPath(None, PUK), b""),
    "sign": (lambda c: c.sign(DIGEST, pin=PIN), signing.Sign(DIGEST, PIN), b"0"),
    "sign r1": (
        lambda c: c.sign(DIGEST, key_type=KeyType.R1, pin=PIN),
        signing.Sign(DIGEST, PIN, curve=Curve.R1),
        b"0",
    ),
    "sign derived": (
        lambda c: c.sign(DIGEST, Derivation.DERIVE, KeyType.K1, TEXT_PATH, PIN),
        signing.Sign(DIGEST, PIN, PATH),
        b"0",
    ),
    "sign after a user key": (lambda c: c.sign(DIGEST), signing.Sign(DIGEST), b"0"),
    "sign public": (lambda c: c.sign_public(), signing.SignPublic(), b""),
    "sign public r1": (lambda c: c.sign_public(KeyType.R1), signing.SignPublic(Curve.R1), b""),
    "decryption key": (lambda c: c.decrypt(0, POINT, pin=PIN), signing.Decrypt(POINT, PIN), b""),
    "decrypt": (lambda c: c.decrypt(1, POINT, bytes(32), PIN), signing.Decrypt(POINT, PIN, bytes(32)), b""),
    "history": (lambda c: c.history(3), data.GetHistory(3), b"\0" * 36),
    "card info": (lambda c: c._info, data.ReadCardInfo(), INFO),
    "custom bytes": (lambda c: c._update_custom_bytes(bytes(16)), data.WriteCustomBytes(bytes(16)), b""),
    "ec user key": (
        lambda c: c.user_key_add(SdkSlot.EC256R1, "laptop", POINT, PUK),
        user_keys.AddUserKey(UserKeySlot.EC, "laptop", POINT, PUK),
        b"",
    ),
    "rsa user key": (
        lambda c: c.user_key_add(SdkSlot.RSA, "piv", MODULUS, PUK),
        user_keys.AddUserKey(UserKeySlot.RSA, "piv", MODULUS, PUK),
        b"",
    ),
    "fido user key": (
        lambda c: c.user_key_add(SdkSlot.FIDO, "key", POINT, PUK, b"cred"),
        user_keys.AddUserKey(UserKeySlot.FIDO, "key", POINT, PUK, b"cred"),
        b"",
    ),
    "delete user key": (
        lambda c: c.user_key_delete(SdkSlot.RSA, PUK),
        user_keys.DeleteUserKey(UserKeySlot.RSA, PUK),
        b"",
    ),
    "rsa user key info": (lambda c: c.user_key_info(SdkSlot.RSA), user_keys.ReadUserKey(UserKeySlot.RSA), b""),
    "challenge": (lambda c: c.user_key_challenge_response_nonce(), user_keys.UserKeyChallenge(), b""),
    "response": (
        lambda c: c.user_key_challenge_response_open(SdkSlot.EC256R1, SIGNATURE),
        user_keys.UserKeyResponse(UserKeySlot.EC, SIGNATURE),
        b"\1",
    ),
    "authorise": (
        lambda c: c.user_key_signature_open(SdkSlot.EC256R1, DIGEST, SIGNATURE),
        user_keys.AuthorizeHashes(UserKeySlot.EC, (DIGEST,), SIGNATURE),
        b"\1",
    ),
}


def plain(command: Command[object]) -> Plain:
    apdu = command.encode()
    return apdu.header, apdu.data, apdu.extended


@pytest.mark.parametrize("name", SECURE)
def test_plain_data_in_the_channel(name: str) -> None:
    operation, ours, answer = SECURE[name]
    card, recorder = basic(answer)
    operation(card)
    assert ours.secure
    assert recorder.plain == [plain(ours)]


def test_every_secure_command_is_compared() -> None:
    """A new command class needs a line above, or a line here that says why it has none."""
    compared = {type(command) for _, command, _ in SECURE.values()}
    elsewhere = {
        auth.MutuallyAuthenticate,  # test_mutual_authentication
        keys.DeriveKey,  # test_derive
        keys.GetCurrentPath,  # not in the SDK
        user_keys.FidoCredentialId,  # not in the SDK
        data.ReadUserData,  # test_user_data
        data.WriteUserData,  # test_user_data
        signing.CheckSignature,  # test_nft
    }
    modules = (auth, data, keys, seeds, setup, signing, user_keys)
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    known = {kind.__name__ for kind in kinds if issubclass(kind, Command) and is_dataclass(kind) and kind.secure}
    assert known == {kind.__name__ for kind in compared | elsewhere}


def test_derive() -> None:
    """Bit 3 of P1 is not documented, and set by every client that has met a card (docs/protocol.md)."""
    card, recorder = basic()
    card.derive(path=TEXT_PATH)
    card.derive()
    assert recorder.plain == [plain(keys.DeriveKey(PATH)), plain(keys.DeriveKey(Path()))]
    assert recorder.plain[0] == (bytes.fromhex("80D10800"), PATH.to_bytes(), False)
    step = Path((1,))
    for source, curve, p1 in (
        (Source.MASTER, Curve.K1, 0x08),
        (Source.PARENT, Curve.K1, 0x48),
        (Source.CURRENT, Curve.K1, 0x88),
        (Source.MASTER, Curve.R1, 0x18),
        (Source.PARENT, Curve.R1, 0x58),
        (Source.CURRENT, Curve.R1, 0x98),
    ):
        assert plain(keys.DeriveKey(step, source, curve))[0] == bytes((0x80, 0xD1, p1, 0))


@pytest.mark.parametrize("slot", [UserKeySlot.EC, UserKeySlot.FIDO])
def test_short_user_keys_are_read_with_short_frames(slot: UserKeySlot) -> None:
    """The SDK asks for a long answer although these fit a short one."""
    card, recorder = basic()
    card.user_key_info(SdkSlot(int(slot)))
    header, content, long_answer = recorder.plain[0]
    assert long_answer
    assert plain(user_keys.ReadUserKey(slot)) == (header, content, False)


def test_user_data() -> None:
    card, recorder = basic()
    card.user_data[0] = bytes(2500)
    assert recorder.plain == [
        plain(data.WriteUserData(page, bytes(size))) for page, size in enumerate((1200, 1200, 100))
    ]

    class Pages(Recorder):
        def send_encrypted(self, apdu: list[int], data: bytes, receive_long: bool = False) -> bytes:
            super().send_encrypted(apdu, data, receive_long)
            if len(self.plain) == 4:
                raise sdk.exceptions.GenericException(b"\x6b\x00")
            return b""

    card.connection = Pages()
    card.user_data[0]
    assert card.connection.plain[:3] == [plain(data.ReadUserData(page)) for page in range(3)]


def test_nft_user_data() -> None:
    """Four slots in a numbering of their own: P1 from 1, pages from 0, for reading and writing alike."""
    for slot in range(4):
        card, recorder = basic(card=Nft)
        card.user_data[slot] = bytes(2500)
        assert recorder.plain == [
            plain(data.WriteUserData(page, bytes(size), slot)) for page, size in enumerate((1200, 1200, 100))
        ]

        class Pages(Recorder):
            def send_encrypted(self, apdu: list[int], data: bytes, receive_long: bool = False) -> bytes:
                super().send_encrypted(apdu, data, receive_long)
                if len(self.plain) == 4:
                    raise sdk.exceptions.GenericException(b"\x6b\x00")
                return b""

        card.connection = Pages()
        card.user_data[slot]
        assert card.connection.plain[:3] == [plain(data.ReadUserData(page, slot)) for page in range(3)]


def test_nft() -> None:
    card, recorder = basic(b"CR" + bytes(34) + SIGNATURE, card=Nft)
    card.signature_check(bytes(16))
    assert recorder.plain == [plain(signing.CheckSignature(bytes(16)))]
    ours = setup.InitParameters("Ada", "a@b.c", PIN, PUK, bytes(32), nft_nfc_sign=True)
    assert ours.encode() == card._init_data("Ada", "a@b.c", PIN + 5 * "\0", PUK, bytes(32), True)
    ours = setup.InitParameters("Ada", "a@b.c", PIN, PUK, bytes(32), nft_nfc_sign=False)
    assert ours.encode() == card._init_data("Ada", "a@b.c", PIN + 5 * "\0", PUK, bytes(32), False)


def test_init() -> None:
    """The parameters are encrypted for the session key; what is under the encryption is compared."""
    card, recorder = basic(opened=False)
    session = EphemeralKey.from_scalar(99)
    recorder.session_public_key = session.public_key.hex()
    card.init("Ada", "a@b.c", PIN, PUK, bytes(32))
    parameters = setup.InitParameters("Ada", "a@b.c", PIN, PUK, bytes(32))
    ours = setup.Init.seal(parameters, session.public_key, lambda size: bytes(range(size))).encode().encode()
    for sent in (recorder.clear[0], ours):
        assert sent[:6] == bytes.fromhex("80FE00009241") and len(sent) == 5 + 0x92
        point, iv, sealed = sent[6:71], sent[71:87], sent[87:]
        assert unpad(decrypt_cbc(session.exchange(point), iv, sealed)) == parameters.encode()


def test_certificates_and_select() -> None:
    from cryptnox_sdk_py import factory
    from cryptnox_sdk_py.card import authenticity

    recorder = Recorder(b"B" + bytes(23))
    factory._select(recorder, Basic.select_apdu, ord("B"))
    assert recorder.clear == [setup.Select().encode().encode()] == [bytes.fromhex("00A4040007A0000010000112")]
    recorder = Recorder((300).to_bytes(2, "big") + bytes(200))
    authenticity.manufacturer_certificate(recorder)
    assert recorder.clear == [setup.GetManufacturerCertificate(page).encode().encode() for page in (0, 1)]
    recorder = Recorder(b"\0" * 75)
    authenticity._get_card_certificate(recorder)
    nonce = recorder.clear[0][5:]
    assert recorder.clear[0] == setup.GetCardCertificate(nonce).encode().encode()


def test_clear_public_key() -> None:
    card, recorder = basic(b"\x02" + bytes(32))
    for derivation, command in (
        (Derivation.CURRENT_KEY, keys.GetClearPublicKey()),
        (Derivation.CURRENT_KEY + KeyType.R1, keys.GetClearPublicKey(curve=Curve.R1)),
    ):
        recorder.clear.clear()
        card.get_public_key_clear(derivation)
        assert recorder.clear == [command.encode().encode()]


class _Frames(Recorder):
    """The SDK's own channel code up to the wire: keys are set, OPEN is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self._aes_key, self._mac_key = bytes(range(32)), bytes(range(32, 64))
        self._iv, self._mac_iv = b"\x01" * 16, bytes(16)

    send_encrypted = Connection.send_encrypted


@pytest.mark.parametrize(
    ("command", "long_answer"),
    [
        (CommandApdu(0x80, 0x20, 0, 0), False),
        (CommandApdu(0x80, 0xC0, 1, 0, bytes(61)), False),
        (CommandApdu(0x80, 0xD5, 0, 0, bytes(223)), False),
        (CommandApdu(0x80, 0xD5, 0, 0, bytes(224)), False),
        (CommandApdu(0x80, 0xFC, 0, 1, bytes(1200)), False),
        (CommandApdu(0x80, 0xFA, 0, 1, extended=True), True),
    ],
)
def test_frames_on_the_wire(command: CommandApdu, long_answer: bool) -> None:
    """The wrapped frame, MAC included, is the SDK's bit by bit."""
    frames = _Frames()
    with pytest.raises((sdk.exceptions.CryptnoxException, IndexError)):
        frames.send_encrypted(list(command.header), command.data, long_answer)
    from cryptnox_core.secure_channel import ChannelKeys

    channel = SecureChannel()
    channel._keys = ChannelKeys(bytes(range(32)), bytes(range(32, 64)))
    assert frames.clear == [channel.wrap(command).encode()]


def test_mutual_authentication() -> None:
    """OPEN and MUTUAL of both, one after the other, with the same key and challenge."""
    channel = SecureChannel(random=lambda size: bytes(range(size)))
    flow = channel.handshake(POINT, b"Cryptnox Basic CommonPairingData")
    opening = next(flow)
    assert opening.encode()[:6] == bytes.fromhex("801000004104")
    assert len(opening.encode()) == 5 + 65
    mutual = flow.send(ResponseApdu(bytes(32), 0x9000))
    assert (mutual.header, len(mutual.data), mutual.le) == (bytes.fromhex("80110000"), 64, None)
    flow.close()

    frames = _Frames()
    frames._aes_key, frames.answer = b"", bytes(32)
    frames.pairing_secret = b"Cryptnox Basic CommonPairingData"
    with pytest.raises(sdk.exceptions.CryptnoxException):
        frames._open_secure_channel()
    assert [len(sent) for sent in frames.clear] == [len(opening.encode()), len(mutual.encode())]
    assert frames.clear[0][:5] == opening.encode()[:5] and frames.clear[1][:5] == mutual.encode()[:5]
