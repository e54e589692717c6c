"""Commands one by one: what their status words mean, what they refuse to send, what they accept as an answer."""

from __future__ import annotations

import contextlib
import dataclasses
from types import GenericAlias

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st

from cryptnox_core import errors
from cryptnox_core.apdu import ResponseApdu
from cryptnox_core.bip32 import Path
from cryptnox_core.commands import auth, data, keys, musig2, seeds, setup, signing, user_keys
from cryptnox_core.commands.base import Command, StatusCommand
from cryptnox_core.crypto import p256, secp256k1
from cryptnox_core.crypto.p256 import EphemeralKey
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import Curve, ExportKind, LoadKeyType, SignatureKind, Source, UserKeySlot
from tests.support.curve import PrivateKey

PIN, PUK = "123456", "PUK000000001"
POINT = EphemeralKey.from_scalar(7).public_key
DIGEST = bytes(32)
KEY = PrivateKey(b"\x07" * 32).public_key.format()
EC, RSA, FIDO = UserKeySlot.EC, UserKeySlot.RSA, UserKeySlot.FIDO

COMMANDS: list[Command[object]] = [
    setup.Select(),
    setup.GetCardPublicKey(),
    setup.GetManufacturerCertificate(0),
    setup.GetCardCertificate(bytes(8)),
    setup.OpenSecureChannel(POINT),
    setup.Init.seal(setup.InitParameters("n", "e", PIN, PUK, bytes(32)), POINT, bytes),
    setup.ChangePairingKey(bytes(range(32)), PUK),
    setup.Reset(PUK),
    auth.MutuallyAuthenticate(bytes(32)),
    auth.PinTriesLeft(),
    auth.VerifyPin(PIN),
    auth.ChangePin(PIN),
    auth.ChangePin(PIN, PUK),
    auth.ChangePuk(PUK, PUK),
    auth.UnblockPin(PUK, PIN),
    auth.SetPinAuth(True, PUK),
    seeds.LoadKey.seed(bytes(range(64)), PIN),
    seeds.LoadKey(LoadKeyType.DUAL_STEP_1, b"", PIN),
    seeds.LoadKey.key_pair(bytes(range(32)), PIN, chain_code=bytes(32)),
    seeds.GenerateKey(PIN),
    seeds.GenerateSeedWrapKey(),
    seeds.GenerateRandom(16),
    keys.DeriveKey(Path((1,))),
    keys.GetPublicKey(),
    keys.GetPublicKey(Path((1,)), Source.CURRENT, Curve.R1),
    keys.GetClearPublicKey(),
    keys.GetExtendedPublicKey(),
    keys.GetCurrentPath(),
    keys.SetPubExport(ExportKind.XPUB, True, PUK),
    keys.SetPinlessPath(None, PUK),
    signing.Sign(DIGEST, PIN),
    signing.SignPinless(DIGEST),
    signing.SignPublic(),
    signing.Decrypt(POINT, PIN),
    signing.Decrypt(POINT, PIN, bytes(16)),
    signing.CheckSignature(bytes(16)),
    musig2.GenerateNonce(),
    musig2.LoadCosignerKey(KEY),
    musig2.SignPartially(KEY * 2, KEY, DIGEST),
    data.ReadCardInfo(),
    data.ReadUserData(0),
    data.WriteUserData(0, b"content"),
    data.WriteCustomBytes(bytes(16)),
    data.GetHistory(0),
    user_keys.AddUserKey(EC, "t", POINT, PUK),
    user_keys.DeleteUserKey(EC, PUK),
    user_keys.ReadUserKey(EC),
    user_keys.ReadUserKey(RSA),
    user_keys.ReadUserKey(FIDO),
    user_keys.UserKeyChallenge(),
    user_keys.UserKeyResponse(EC, b"sig"),
    user_keys.AuthorizeHashes(EC, (DIGEST,), b"sig"),
    user_keys.FidoCredentialId(),
]


K1 = PrivateKey(b"\x07" * 32).public_key.format(compressed=False)
SIGNATURE = bytes.fromhex("3006020101020102")
TEXT = b"laptop".ljust(64, b"\0")
XPUB = bytes.fromhex("0488B21E03") + bytes(32) + bytes.fromhex("80000000") + bytes(32)
XPUB += PrivateKey(b"\x07" * 32).public_key.format()
STATUS_ONLY: list[Command[object]] = [command for command in COMMANDS if isinstance(command, StatusCommand)]
ANSWERS: list[tuple[Command[object], bytes]] = [
    *((command, b"") for command in STATUS_ONLY),
    (setup.Select(), bytes.fromhex("4201060000760005") + bytes(range(16))),
    (setup.GetCardPublicKey(), POINT),
    (setup.GetCardCertificate(bytes(8)), b"\x43" + bytes(8) + POINT + SIGNATURE),
    (setup.OpenSecureChannel(POINT), bytes(range(32))),
    (auth.MutuallyAuthenticate(bytes(32)), bytes(32)),
    (auth.PinTriesLeft(), b"\x05"),
    (seeds.LoadKey.seed(bytes(range(64)), PIN), b""),
    (seeds.LoadKey(LoadKeyType.DUAL_STEP_1, b"", PIN), POINT + SIGNATURE),
    (seeds.GenerateKey(PIN), b""),
    (seeds.GenerateKey(PIN), bytes(range(32))),
    (seeds.GenerateRandom(16), bytes(range(16))),
    (keys.GetPublicKey(), K1),
    (keys.GetPublicKey(curve=Curve.R1), POINT),
    (keys.GetClearPublicKey(), K1),
    (keys.GetClearPublicKey(), secp256k1.compress(K1)),
    (keys.GetExtendedPublicKey(), XPUB),
    (signing.Sign(DIGEST, PIN), SIGNATURE),
    (signing.Sign(DIGEST, PIN, kind=SignatureKind.SCHNORR), bytes(range(64))),
    (signing.SignPinless(DIGEST), SIGNATURE),
    (signing.SignPublic(), SIGNATURE),
    (signing.Decrypt(POINT, PIN), bytes(range(32))),
    (signing.Decrypt(POINT, PIN, bytes(16)), bytes(range(16))),
    (signing.CheckSignature(bytes(16)), b"CR" + bytes(34) + SIGNATURE),
    (musig2.GenerateNonce(), KEY * 2),
    (musig2.SignPartially(KEY * 2, KEY, DIGEST), bytes(range(32))),
    (data.ReadCardInfo(), b"S\x03Ada\x05a@b.c\x00\x00\x01\x02"),
    (data.GetHistory(0), b"\x00\x00\x00\x07" + bytes(range(32))),
    (data.GetHistory(0), bytes(36)),
    (data.GetHistory(0), b""),
    (user_keys.ReadUserKey(EC), TEXT + POINT),
    (user_keys.ReadUserKey(RSA), TEXT + bytes(256)),
    (user_keys.ReadUserKey(FIDO), TEXT + POINT),
    (user_keys.ReadUserKey(FIDO), TEXT + b"\x04cred" + POINT),
    (user_keys.UserKeyChallenge(), bytes(range(32))),
    (user_keys.UserKeyResponse(EC, b"sig"), b"\x01"),
    (user_keys.AuthorizeHashes(EC, (DIGEST,), b"sig"), b"\x00"),
    (user_keys.FidoCredentialId(), b"\x0acredential"),
]


def command_classes() -> set[str]:
    """All of them, without what they have in common, and what a recording sends."""
    modules = (auth, data, keys, musig2, seeds, setup, signing, user_keys)
    return {name for module in modules for name, kind in vars(module).items() if is_command(kind)}


def is_command(kind: object) -> bool:
    # Python 3.10 takes tuple[int] for a class.
    is_class = isinstance(kind, type) and not isinstance(kind, GenericAlias)
    return is_class and issubclass(kind, Command) and dataclasses.is_dataclass(kind)


def info(flags: int) -> AppletInfo:
    return AppletInfo.parse(b"B\x01\x06\x00" + flags.to_bytes(2, "big") + bytes(18))


FULL, NO_SEED, NOT_INIT, NO_EXPORT = info(0x74), info(0x50), info(0), info(0x70)


def refusal(command: Command[object], sw: int, seen: AppletInfo | None = None) -> errors.StatusWordError:
    with pytest.raises(errors.StatusWordError) as caught:
        command.result(ResponseApdu(b"", sw), seen)
    assert caught.value.sw == sw
    assert caught.value.ins == command.ins
    assert f"{sw:04X}" in str(caught.value)
    return caught.value


def test_every_command_class_is_here() -> None:
    assert {type(command).__name__ for command in COMMANDS} == command_classes()


def test_what_is_documented_and_more() -> None:
    """Every command takes its answer with 1 to 16 bytes behind it for the same answer."""
    compared = set()
    for command, answer in ANSWERS:
        compared.add(type(command).__name__)
        plain = command.decode(answer)
        for size in range(1, 17):
            for filler in (b"\0", b"\1", b"\x04", b"\x80", b"\xff"):
                assert command.decode(answer + filler * size) == plain, command
    unbounded = {
        "GetManufacturerCertificate",  # a page; see test_certificate.TestReading
        "ReadUserData",  # as long as its owner made it
        "GetCurrentPath",  # 4 bytes a level, as many as there are
        "GenerateSeedWrapKey",  # raw: its form is not documented
    }
    assert compared == command_classes() - unbounded


def test_answers_whose_length_says_what_they_are() -> None:
    """A page is cut at its size; a path loses a piece of a level, and what is below the eighth."""
    assert data.ReadUserData(0).decode(bytes(1216)) == bytes(1200)
    path = bytes.fromhex("8000005400000001")
    for size in (1, 2, 3):
        assert keys.GetCurrentPath().decode(path + bytes(size)) == Path.parse("m/84h/1")
    assert keys.GetCurrentPath().decode(bytes(32) + bytes(16)) == Path((0,) * 8)
    assert seeds.GenerateSeedWrapKey().decode(b"raw") == b"raw"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
class TestEachCommand:
    def test_every_status_word_ends_in_one_exception_with_its_number(self, command: Command[object]) -> None:
        for sw in (*range(0x6300, 0x7000), *range(0x9001, 0x9100), *range(0x9830, 0x9860), 0, 0xFFFF):
            if isinstance(command, auth.PinTriesLeft) and sw & 0xFFF0 == 0x63C0:
                continue
            error = command.error(sw, FULL)
            assert isinstance(error, errors.StatusWordError) and (error.sw, error.ins) == (sw, command.ins)

    def test_unknown_status_words_stay_general(self, command: Command[object]) -> None:
        assert type(refusal(command, 0x6F42)) is errors.StatusWordError

    @given(answer=st.binary(max_size=300))
    def test_any_answer(self, command: Command[object], answer: bytes) -> None:
        with contextlib.suppress(errors.ProtocolError):
            command.result(ResponseApdu(answer, 0x9000), FULL)

    def test_secrets_are_not_shown(self, command: Command[object]) -> None:
        shown = repr(command) + repr(command.encode())
        for secret in (PIN, PUK, repr(bytes(range(32)))[2:40]):
            assert secret not in shown

    def test_frozen(self, command: Command[object]) -> None:
        assert dataclasses.is_dataclass(command)
        for item in dataclasses.fields(command):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(command, item.name, None)
        assert not hasattr(command, "__dict__")


@pytest.mark.parametrize(
    ("command", "sw", "kind"),
    [
        (setup.Select(), 0x6A82, errors.NotFoundError),
        (setup.Select(), 0x6D00, errors.NotSupportedError),
        (setup.Select(), 0x6985, errors.PinLockedError),
        (setup.GetManufacturerCertificate(0), 0x6985, errors.PinLockedError),
        (setup.GetCardCertificate(bytes(8)), 0x6985, errors.PinLockedError),
        (setup.OpenSecureChannel(POINT), 0x6985, errors.PinLockedError),
        (setup.OpenSecureChannel(POINT), 0x6A86, errors.InvalidDataError),
        (setup.OpenSecureChannel(POINT), 0x6A80, errors.InvalidDataError),
        (COMMANDS[5], 0x6D00, errors.NotAllowedError),
        (COMMANDS[5], 0x6984, errors.InvalidDataError),
        (setup.Reset(PUK), 0x6985, errors.NotAllowedError),
        (setup.Reset(PUK), 0x6986, errors.NotAllowedError),
        (auth.VerifyPin(PIN), 0x6983, errors.PinLockedError),
        (auth.VerifyPin(PIN), 0x6985, errors.PinLockedError),
        (auth.VerifyPin(PIN), 0x6986, errors.NotAllowedError),
        (auth.VerifyPin(PIN), 0x6700, errors.InvalidDataError),
        (auth.PinTriesLeft(), 0x6985, errors.PinLockedError),
        (auth.ChangePin(PIN), 0x6985, errors.NotAuthenticatedError),
        (auth.ChangePin(PIN, PUK), 0x6985, errors.WrongPukError),
        (auth.ChangePuk(PUK, PUK), 0x9840, errors.WrongPukError),
        (auth.UnblockPin(PUK, PIN), 0x6985, errors.NotAllowedError),
        (auth.SetPinAuth(False, PUK), 0x6986, errors.NotAllowedError),
        (seeds.LoadKey.seed(bytes(16), PIN), 0x6986, errors.NotAllowedError),
        (seeds.GenerateKey(PIN), 0x6986, errors.NotAllowedError),
        (keys.DeriveKey(Path((1,))), 0x6985, errors.NotAuthenticatedError),
        (keys.DeriveKey(Path((1,))), 0x6B00, errors.NotFoundError),
        (keys.GetExtendedPublicKey(), 0x6986, errors.NotAllowedError),
        (keys.SetPinlessPath(None, PUK), 0x6983, errors.InvalidDataError),
        (signing.Sign(DIGEST, PIN), 0x6985, errors.NotAuthenticatedError),
        (signing.Sign(DIGEST, PIN), 0x6A80, errors.InvalidDataError),
        (signing.Sign(DIGEST, PIN), 0x6B00, errors.InvalidDataError),
        (signing.SignPinless(DIGEST), 0x6A88, errors.NotFoundError),
        (data.ReadUserData(0), 0x6B00, errors.NotFoundError),
        (data.ReadUserData(0), 0x6A86, errors.NotFoundError),
        (data.GetHistory(0), 0x6A88, errors.NotFoundError),
        (user_keys.AddUserKey(EC, "t", POINT, PUK), 0x6986, errors.NotAllowedError),
        (user_keys.DeleteUserKey(EC, PUK), 0x6986, errors.NotFoundError),
        (signing.CheckSignature(bytes(16)), 0x6D00, errors.NotSupportedError),
        (musig2.GenerateNonce(), 0x6D00, errors.NotSupportedError),
        (musig2.GenerateNonce(), 0x6985, errors.NotAuthenticatedError),
        (musig2.LoadCosignerKey(KEY), 0x6985, errors.NotAllowedError),
        (musig2.SignPartially(KEY * 2, KEY, DIGEST), 0x6F00, errors.NotAllowedError),
        (musig2.SignPartially(KEY * 2, KEY, DIGEST), 0x6700, errors.InvalidDataError),
    ],
)
def test_meanings(command: Command[object], sw: int, kind: type[errors.StatusWordError]) -> None:
    assert type(refusal(command, sw)) is kind
    assert type(refusal(command, sw, FULL)) is kind


WITH_PIN = (auth.VerifyPin, signing.Sign, signing.Decrypt, seeds.LoadKey, seeds.GenerateKey)
WITH_PUK = (
    auth.ChangePin,
    auth.ChangePuk,
    auth.UnblockPin,
    auth.SetPinAuth,
    setup.ChangePairingKey,
    setup.Reset,
    keys.SetPubExport,
    keys.SetPinlessPath,
    user_keys.AddUserKey,
    user_keys.DeleteUserKey,
)
"""As the card's description has them (PROTOCOL 4)."""
WITHOUT: list[Command[object]] = [
    auth.ChangePin(PIN),
    seeds.LoadKey.seed(bytes(range(64)), None),
    seeds.GenerateKey(),
    signing.Sign(DIGEST),
    signing.Decrypt(POINT),
]
"""They can be sent without: the PIN verified before, or a user key."""


class TestCounts:
    @pytest.mark.parametrize("command", [*COMMANDS, *WITHOUT], ids=lambda command: type(command).__name__)
    def test_only_what_was_sent_is_called_wrong(self, command: Command[object]) -> None:
        """A count of tries in the answer to a command without PIN and PUK is no news of either."""
        pin, puk = isinstance(command, WITH_PIN), isinstance(command, WITH_PUK)
        if command in WITHOUT:
            pin = puk = False
        for sw in (*range(0x63C0, 0x63D0), *range(0x9840, 0x9850)):
            if isinstance(command, auth.PinTriesLeft) and sw < 0x9840:
                continue  # that is its answer
            for info in (None, NOT_INIT, NO_SEED, FULL):
                error = command.error(sw, info)
                kind: type[errors.StatusWordError] = errors.StatusWordError
                if puk:
                    kind = errors.WrongPukError
                elif pin and sw < 0x9840:
                    kind = errors.WrongPinError if sw & 0xF else errors.PinLockedError
                assert isinstance(error, errors.StatusWordError)
                assert (type(error), error.sw, error.ins) == (kind, sw, command.ins)

    @pytest.mark.parametrize("command", [auth.VerifyPin(PIN), signing.Sign(DIGEST, PIN), seeds.GenerateKey(PIN)])
    def test_pin(self, command: Command[object]) -> None:
        for left in range(1, 16):
            error = refusal(command, 0x63C0 | left)
            assert isinstance(error, errors.WrongPinError) and error.left == left
        assert type(refusal(command, 0x63C0)) is errors.PinLockedError

    def test_puk(self) -> None:
        for command in (command for command in COMMANDS if command.uses_puk):
            error = refusal(command, 0x63CB)
            assert isinstance(error, errors.WrongPukError) and error.left == 11
            error = refusal(command, 0x63C0)
            assert isinstance(error, errors.WrongPukError) and error.left == 0
            error = refusal(command, 0x9843)
            assert isinstance(error, errors.WrongPukError) and error.left == 3
            error = refusal(command, 0x9840)
            assert isinstance(error, errors.WrongPukError) and error.left == -1

    @pytest.mark.parametrize(
        "command", [keys.SetPubExport(kind, True, PUK) for kind in ExportKind] + [keys.SetPinlessPath(None, PUK)]
    )
    def test_puk_and_seed(self, command: Command[object]) -> None:
        """6985 stands for a missing seed; where SELECT has shown one, for the PUK. Not so 6986."""
        error = refusal(command, 0x6985, FULL)
        assert isinstance(error, errors.WrongPukError)
        assert (error.left, error.sw) == (-1, 0x6985) and "PUK" in str(error)
        assert type(refusal(command, 0x6985)) is errors.NoSeedError
        assert type(refusal(command, 0x6985, NO_SEED)) is errors.NoSeedError
        assert type(refusal(command, 0x6986, FULL)) is errors.NotAllowedError

    def test_tries_left_as_data_or_status(self) -> None:
        query = auth.PinTriesLeft()
        assert query.result(ResponseApdu(b"\x06", 0x9000)) == 6
        for left in range(16):
            assert query.result(ResponseApdu(b"", 0x63C0 | left)) == left
            assert query.result(ResponseApdu(b"more", 0x63C0 | left)) == left
        with pytest.raises(errors.MalformedResponseError):
            query.result(ResponseApdu(b"", 0x9000))


class TestFlagsSayWhich:
    def test_not_initialised(self) -> None:
        for command in (auth.VerifyPin(PIN), keys.DeriveKey(Path((1,))), setup.OpenSecureChannel(POINT)):
            assert type(refusal(command, 0x6985, NOT_INIT)) is errors.NotInitializedError
        assert type(refusal(auth.VerifyPin(PIN), 0x6986, NOT_INIT)) is errors.NotInitializedError
        assert type(refusal(COMMANDS[5], 0x6986, NOT_INIT)) is errors.NotAllowedError
        assert type(refusal(setup.GetCardCertificate(bytes(8)), 0x6985, NOT_INIT)) is errors.PinLockedError

    def test_no_seed(self) -> None:
        for command in (keys.DeriveKey(Path((1,))), keys.GetPublicKey(), signing.Sign(DIGEST, PIN)):
            assert type(refusal(command, 0x6985, NO_SEED)) is errors.NoSeedError
            assert type(refusal(command, 0x6985, FULL)) is errors.NotAuthenticatedError

    def test_extended_key(self) -> None:
        command = keys.GetExtendedPublicKey()
        assert type(refusal(command, 0x6985, NO_SEED)) is errors.NoSeedError
        assert type(refusal(command, 0x6985, NO_EXPORT)) is errors.NotAllowedError
        assert type(refusal(command, 0x6985, FULL)) is errors.NotAuthenticatedError
        assert type(refusal(command, 0x6986, NO_EXPORT)) is errors.NotAllowedError


@pytest.mark.parametrize(
    "make",
    [
        lambda: auth.VerifyPin("123"),
        lambda: auth.VerifyPin("1234567890"),
        lambda: auth.VerifyPin("12345x"),
        lambda: auth.VerifyPin("١٢٣٤"),
        lambda: auth.VerifyPin("1²34"),
        lambda: auth.VerifyPin(""),
        lambda: auth.ChangePin("12", PUK),
        lambda: auth.ChangePin(PIN, "short"),
        lambda: auth.ChangePuk("short", PUK),
        lambda: auth.ChangePuk(PUK, PUK + "x"),
        lambda: auth.ChangePuk(PUK, "é" * 12),
        lambda: auth.UnblockPin(PUK, "1"),
        lambda: auth.MutuallyAuthenticate(bytes(31)),
        lambda: setup.GetCardCertificate(bytes(7)),
        lambda: setup.OpenSecureChannel(POINT, 1),
        lambda: setup.ChangePairingKey(bytes(31), PUK),
        lambda: setup.Reset("short"),
        lambda: seeds.LoadKey.seed(bytes(15), PIN),
        lambda: seeds.LoadKey.seed(bytes(65), PIN),
        lambda: seeds.LoadKey.key_pair(bytes(31), PIN),
        lambda: seeds.LoadKey.key_pair(bytes(32), PIN, chain_code=bytes(31)),
        lambda: seeds.LoadKey.key_pair(bytes(32), PIN, public_key=bytes(33)),
        lambda: seeds.GenerateSeedWrapKey(2047),
        lambda: seeds.GenerateSeedWrapKey(8192),
        lambda: seeds.GenerateRandom(15),
        lambda: seeds.GenerateRandom(68),
        lambda: seeds.GenerateRandom(18),
        lambda: keys.DeriveKey(Path((0,) * 9)),
        lambda: keys.DeriveKey(Path(()), Source.CURRENT),
        lambda: keys.GetPublicKey(Path(())),
        lambda: keys.GetPublicKey(Path((0,) * 9)),
        lambda: keys.SetPinlessPath(Path((1, 2, 3)), PUK),
        lambda: signing.Sign(bytes(31), PIN),
        lambda: signing.Sign(bytes(33), PIN),
        lambda: signing.Sign(DIGEST, PIN, Path(())),
        lambda: signing.Sign(DIGEST, PIN, Path((0,) * 9)),
        lambda: signing.Sign(DIGEST, "12"),
        lambda: signing.Sign(DIGEST, PIN, curve=Curve.R1, kind=SignatureKind.SCHNORR),
        lambda: signing.SignPinless(bytes(31)),
        lambda: signing.Decrypt(POINT[:-1], PIN),
        lambda: signing.Decrypt(b"\x04" + bytes(64), PIN),
        lambda: signing.Decrypt(POINT, PIN, b""),
        lambda: signing.Decrypt(POINT, PIN, bytes(17)),
        lambda: signing.CheckSignature(bytes(8)),
        lambda: data.ReadUserData(3),
        lambda: data.ReadUserData(-1),
        lambda: data.WriteUserData(3, b""),
        lambda: data.WriteUserData(0, bytes(1201)),
        lambda: data.WriteCustomBytes(bytes(15)),
        lambda: data.GetHistory(149),
        lambda: user_keys.AddUserKey(EC, "x" * 65, POINT, PUK),
        lambda: user_keys.AddUserKey(EC, "x", POINT[:-1], PUK),
        lambda: user_keys.AddUserKey(EC, "x", b"\x04" + bytes(64), PUK),
        lambda: user_keys.AddUserKey(RSA, "x", bytes(255), PUK),
        lambda: user_keys.AddUserKey(FIDO, "x", POINT, PUK),
        lambda: user_keys.AddUserKey(FIDO, "x", POINT, PUK, bytes(65)),
        lambda: user_keys.AddUserKey(EC, "x", POINT, PUK, b"id"),
        lambda: user_keys.AuthorizeHashes(EC, (DIGEST, DIGEST), b"s"),
        lambda: user_keys.AuthorizeHashes(EC, (DIGEST,) * 5, b"s", as_list=True),
        lambda: user_keys.AuthorizeHashes(FIDO, (DIGEST,) * 4, b"s", as_list=True),
        lambda: user_keys.AuthorizeHashes(EC, (), b"s", as_list=True),
        lambda: user_keys.AuthorizeHashes(EC, (bytes(31),), b"s"),
        lambda: setup.Init.seal(setup.InitParameters("x" * 21, "", PIN, PUK, bytes(32)), POINT, bytes),
        lambda: setup.Init.seal(setup.InitParameters("", "x" * 61, PIN, PUK, bytes(32)), POINT, bytes),
        lambda: setup.Init.seal(setup.InitParameters("", "", PIN, PUK, bytes(31)), POINT, bytes),
        lambda: setup.Init.seal(setup.InitParameters("é" * 11, "", PIN, PUK, bytes(32)), POINT, bytes),
    ],
)
def test_what_is_never_sent(make: object) -> None:
    with pytest.raises(errors.UsageError):
        make().encode()  # type: ignore[operator]


class TestAnswers:
    @pytest.mark.parametrize("key", [bytes(32), b"", b"\x04" + bytes(64), POINT[:-1], b"\x02" + b"\xff" * 32])
    def test_public_keys_that_are_none(self, key: bytes) -> None:
        for command in (keys.GetPublicKey(), keys.GetClearPublicKey(), keys.GetPublicKey(curve=Curve.R1)):
            with pytest.raises(errors.MalformedResponseError):
                command.decode(key)

    def test_curves_are_not_confused(self) -> None:
        assert keys.GetPublicKey(curve=Curve.R1).decode(POINT) == POINT
        with pytest.raises(errors.MalformedResponseError):
            keys.GetPublicKey().decode(POINT)

    def test_path(self) -> None:
        assert keys.GetCurrentPath().decode(bytes.fromhex("8000005400000001")) == Path.parse("m/84h/1")
        assert keys.GetCurrentPath().decode(b"") == Path()

    def test_verdicts(self) -> None:
        command = user_keys.UserKeyResponse(EC, b"s")
        assert command.decode(b"\x01") is True and command.decode(b"\x00") is False
        for raw in (b"", b"\x02", b"\x02\x01"):
            with pytest.raises(errors.MalformedResponseError):
                command.decode(raw)

    def test_credential_id(self) -> None:
        command = user_keys.FidoCredentialId()
        assert command.decode(b"credential") == command.decode(b"\x0acredential") == b"credential"
        for raw in (b"", bytes(66)):
            with pytest.raises(errors.MalformedResponseError):
                command.decode(raw)


class TestVerifiedSignature:
    K1 = PrivateKey(b"\x07" * 32)
    R1 = ec.derive_private_key(7, ec.SECP256R1())

    def test_high_s_is_lowered(self) -> None:
        low = self.K1.sign(DIGEST, hasher=None)
        r, s = secp256k1.parse_der(low)
        high = secp256k1.encode_der(r, secp256k1.ORDER - s)
        assert signing.verified_signature(high, DIGEST, self.K1.public_key.format()) == low
        assert signing.verified_signature(low, DIGEST, self.K1.public_key.format(compressed=False)) == low

    def test_r1(self) -> None:
        for _ in range(8):
            signature = self.R1.sign(DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
            canonical = signing.verified_signature(signature, DIGEST, POINT, curve=Curve.R1)
            _, s = utils.decode_dss_signature(canonical)
            assert s <= p256.ORDER // 2 and p256.verify_digest(POINT, DIGEST, canonical)

    @pytest.mark.parametrize("kind", list(SignatureKind))
    @pytest.mark.parametrize("curve", list(Curve))
    def test_bad(self, kind: SignatureKind, curve: Curve) -> None:
        key = POINT if curve is Curve.R1 and kind is not SignatureKind.SCHNORR else self.K1.public_key.format()
        other = PrivateKey(b"\x08" * 32).sign(DIGEST, hasher=None)
        for signature in (b"", b"\x30", other, bytes(64), bytes(65), bytes.fromhex("3006020101020101")):
            with pytest.raises(errors.BadSignatureError):
                signing.verified_signature(signature, DIGEST, key, curve=curve, kind=kind)


def test_key_templates() -> None:
    single = seeds.LoadKey.key_pair(bytes(32), None)
    assert (single.kind, single.key_data) == (LoadKeyType.KEY_PAIR, bytes.fromhex("A1228120") + bytes(32))
    extended = seeds.LoadKey.key_pair(bytes(32), None, chain_code=b"\x01" * 32, public_key=POINT)
    assert extended.kind is LoadKeyType.EXTENDED_KEY
    assert extended.key_data[:5] == bytes.fromhex("A181878041") and len(extended.key_data) == 3 + 0x87


def test_pairing_key_of_the_puk() -> None:
    import hashlib

    expected = PUK.encode()
    for _ in range(32):
        expected = hashlib.sha256(expected).digest()
    assert setup.pairing_key_from_puk(PUK) == expected
    with pytest.raises(errors.UsageError):
        setup.pairing_key_from_puk("short")


def test_digest_for_a_user_key() -> None:
    import hashlib

    assert user_keys.message_to_sign(DIGEST) == DIGEST
    assert user_keys.digest_to_sign(DIGEST) == hashlib.sha256(DIGEST).digest()
    assert user_keys.message_to_sign([DIGEST, DIGEST]) == b"\x02" + DIGEST * 2
    assert user_keys.digest_to_sign([DIGEST, DIGEST]) == hashlib.sha256(b"\x02" + DIGEST * 2).digest()
    for bad in (b"", bytes(31), [], [DIGEST] * 5, [bytes(31)], ["x" * 32], "x" * 32):
        with pytest.raises(errors.UsageError):
            user_keys.digest_to_sign(bad)  # type: ignore[arg-type]
