"""`pin/pkcs11` with SoftHSM as the token."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cryptnox_core.crypto.p256 import verify_message
from cryptnox_core.wire import UserKeySlot
from hwilib_cryptnox.errors import (
    ApproverCanceledError,
    ApproverPinError,
    ApproverRefusedError,
    ApproverTimeoutError,
    BadRequestError,
    NoApproverError,
)
from hwilib_cryptnox.pin import pkcs11 as approvers
from hwilib_cryptnox.pin import token_keys, token_pins
from hwilib_cryptnox.pin.pkcs11 import TokenApprover, approver_at
from hwilib_cryptnox.pin.token_pins import COMMAND, TokenPins
from hwilib_cryptnox.pin.token_uri import TokenUri
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.support.softhsm import TOKEN_PIN, SoftHsm

MESSAGE = bytes(range(32))
LIST = b"\2" + bytes(64)


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    """Two tokens: `first` with a P-256 key, `second` with an RSA key."""
    made = SoftHsm(tmp_path / "hsm")
    made.plug(monkeypatch)
    monkeypatch.delenv(COMMAND, raising=False)
    token_pins._refused.clear()
    for label, key in (("first", ec.generate_private_key(ec.SECP256R1())), ("second", _rsa())):
        made.token(label)
        made.import_key(label, pem(tmp_path, key), f"{label} key", "A1")
    return made


_KEYS: list[rsa.RSAPrivateKey] = []


def _rsa() -> rsa.RSAPrivateKey:
    if not _KEYS:
        _KEYS.append(rsa.generate_private_key(65537, 2048))
    return _KEYS[0]


def pem(folder: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Path:
    file = folder / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def at(
    uri: str, *pins: str, state: State | None = None, either: str = "", asked: list[str] | None = None
) -> TokenApprover:
    """An approver whose person types these PINs, the last one again and again."""
    left = list(pins or (TOKEN_PIN,))

    def person(question: str) -> str:
        if asked is not None:
            asked.append(question)
        return left.pop(0) if len(left) > 1 else left[0]

    return TokenApprover(TokenUri.parse(uri), TokenPins(Settings(), state or State(), person), either=either)


def test_a_p256_key(hsm: SoftHsm) -> None:
    asked: list[str] = []
    approver = at(hsm.uri(token="first"), asked=asked)
    key = approver.key()
    assert key.slot is UserKeySlot.EC and len(key.public_key) == 65
    assert approver.name == "first (first key)"
    assert not asked, "the public key is shown without PIN"
    approver.ready()
    approver.ready()
    for message in (MESSAGE, LIST):
        assert verify_message(key.public_key, message, approver.sign(message, 60))
    assert asked == ["PIN of the token first"]
    approver.close()
    approver.close()
    assert verify_message(key.public_key, MESSAGE, approver.sign(MESSAGE, 60)), "it is opened anew"
    assert len(asked) == 2, "the PIN is forgotten when the token is left"
    approver.close()


def test_an_rsa_key(hsm: SoftHsm) -> None:
    approver = at(hsm.uri(token="second"))
    assert approver.key().slot is UserKeySlot.RSA
    signature = approver.sign(LIST, 60)
    _rsa().public_key().verify(signature, LIST, padding.PKCS1v15(), hashes.SHA256())
    approver.close()


def test_the_uri_it_tells_names_the_key(hsm: SoftHsm) -> None:
    for label in ("first", "second"):
        approver = at(hsm.uri(token=label))
        key = approver.key()
        again = at(str(approver.uri))
        assert again.key() == key and approver.uri.id == b"\xa1" and approver.uri.serial
        again.close()
        approver.close()


def test_several_keys_fit(hsm: SoftHsm) -> None:
    with pytest.raises(NoApproverError, match=r"2 keys fit: first \(first key\), second \(second key\)"):
        at(hsm.uri()).key()
    with pytest.raises(NoApproverError, match="2 keys fit"):
        at(hsm.uri(id=b"\xa1")).key()  # type: ignore[arg-type]
    assert at(hsm.uri(), either="second key").key().slot is UserKeySlot.RSA
    assert at(hsm.uri(object="first key")).key().slot is UserKeySlot.EC
    assert at(hsm.uri(token="second"), either="0xa1").key().slot is UserKeySlot.RSA


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"token": "third"}, "the token third is not there"),
        ({"token": "first", "object": "other"}, "no key of P-256"),
        ({"token": "first", "id": b"\xa2"}, "no key of P-256"),
        ({"token": "first", "serial": "0"}, "is not there"),
        ({"token": "first", "library_description": "another"}, "is not there"),
        ({"token": "first", "model": "another"}, "is not there"),
    ],
)
def test_nothing_fits(named: dict[str, Any], reason: str, hsm: SoftHsm) -> None:
    asked: list[str] = []
    with pytest.raises(NoApproverError, match=reason) as caught:
        at(hsm.uri(**named), asked=asked).sign(MESSAGE, 60)
    assert not asked
    if "not there" in reason and "library_description" not in named:
        assert "first, second" in caught.value.hint


def test_a_wrong_pin(hsm: SoftHsm) -> None:
    """It costs one try; the same is not sent again, the right one is."""
    state = State()
    approver = at(hsm.uri(token="first"), "wrong", "wrong", TOKEN_PIN, state=state)
    with pytest.raises(ApproverPinError, match="wrong PIN of the token first") as caught:
        approver.ready()
    assert caught.value.spent
    with pytest.raises(ApproverPinError, match="refused by the token first before") as caught:
        approver.sign(MESSAGE, 60)
    assert not caught.value.spent
    assert approver.sign(MESSAGE, 60)
    approver.close()


def test_a_token_that_is_pulled_out(hsm: SoftHsm) -> None:
    approver = at(hsm.uri(token="first"))
    approver.ready()
    hsm.pull_out()
    with pytest.raises(NoApproverError, match=r"first \(first key\) is not there"):
        approver.sign(MESSAGE, 60)
    with pytest.raises(NoApproverError):
        approver.ready()
    hsm.plug_in()
    assert verify_message(approver.key().public_key, MESSAGE, approver.sign(MESSAGE, 60))
    approver.close()


def test_another_token_in_its_place(hsm: SoftHsm, tmp_path: Path) -> None:
    """It has the same names and another key: nothing is approved with it."""
    approver = at(hsm.uri(token="first"))
    approver.key()
    approver.ready()
    hsm.pull_out()
    hsm.token("first")
    hsm.import_key("first", pem(tmp_path, ec.generate_private_key(ec.SECP256R1())), "first key", "A1")
    with pytest.raises(NoApproverError):
        approver.sign(MESSAGE, 60)
    with pytest.raises(NoApproverError, match="another token is in its place"):
        approver.sign(MESSAGE, 60)
    approver.close()


def test_a_key_that_wants_the_pin_for_each_use(hsm: SoftHsm) -> None:
    """As a YubiKey's signature slot does."""
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    library = pkcs11.lib(str(hsm.module))
    session = library.get_token(token_label="second").open(rw=True, user_pin=TOKEN_PIN)
    curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(
        id=b"\7",
        label="each",
        store=True,
        capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        private_template={pkcs11.Attribute.ALWAYS_AUTHENTICATE: True},
    )
    session.close()
    library.finalize()
    asked: list[str] = []
    approver = at(hsm.uri(object="each"), asked=asked)
    for _ in range(2):
        assert verify_message(approver.key().public_key, MESSAGE, approver.sign(MESSAGE, 60))
    assert approver._always and len(asked) == 1
    approver.close()


def test_a_key_is_made(hsm: SoftHsm) -> None:
    """It cannot be read out; the PIN is asked for once."""
    import pkcs11

    asked: list[str] = []
    approver = at(hsm.uri(token="first"), asked=asked)
    made = approver.make(UserKeySlot.EC, "new one")
    assert verify_message(made.public_key, MESSAGE, approver.sign(MESSAGE, 60))
    assert approver.name == "first (new one)" and len(asked) == 1
    half = approver._half
    assert half[pkcs11.Attribute.SENSITIVE] and not half[pkcs11.Attribute.EXTRACTABLE]
    assert half[pkcs11.Attribute.PRIVATE] and half[pkcs11.Attribute.TOKEN]
    uri = str(approver.uri)
    approver.close()
    assert at(uri).key() == made


def test_other_kinds_of_keys_are_left_out(hsm: SoftHsm, tmp_path: Path) -> None:
    hsm.token("third")
    hsm.import_key("third", pem(tmp_path, ec.generate_private_key(ec.SECP384R1())), "P-384", "01")
    hsm.import_key("third", pem(tmp_path, ec.generate_private_key(ec.SECP256K1())), "k1", "02")
    asked: list[str] = []
    with pytest.raises(NoApproverError, match="no key of P-256"):
        at(hsm.uri(token="third"), asked=asked).key()
    assert not asked


def test_nobody_touches_it(hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiting ends; what is signed late is thrown away, and nothing else is asked of the token meanwhile."""
    approver, go, real = at(hsm.uri(token="first")), threading.Event(), token_keys.signed

    def waits(*arguments: Any) -> bytes:
        go.wait(100)
        return real(*arguments)

    approver.ready()
    monkeypatch.setattr(token_keys, "signed", waits)
    with pytest.raises(ApproverTimeoutError, match="was not touched within 0 seconds"):
        approver.sign(MESSAGE, 0.1)
    monkeypatch.setattr(token_keys, "signed", real)
    threading.Timer(0.2, go.set).start()
    other = bytes(32)
    assert verify_message(approver.key().public_key, other, approver.sign(other, 60))
    approver.close()


def test_ctrl_c_while_it_waits(hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    approver, go, real = at(hsm.uri(token="first")), threading.Event(), token_keys.signed
    approver.ready()
    monkeypatch.setattr(token_keys, "signed", lambda *_: go.wait(100) and b"")
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            approver.sign(MESSAGE, 90)
    finally:
        signal.signal(signal.SIGALRM, before)
        go.set()
    monkeypatch.setattr(token_keys, "signed", real)
    assert approver.sign(MESSAGE, 60)
    approver.close()


def test_a_signature_of_another_key_is_thrown_away(hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    approver, stranger = at(hsm.uri(token="first")), ec.generate_private_key(ec.SECP256R1())
    monkeypatch.setattr(token_keys, "signed", lambda *_: stranger.sign(MESSAGE, ec.ECDSA(hashes.SHA256())))
    with pytest.raises(ApproverRefusedError, match="not a signature of its key"):
        approver.sign(MESSAGE, 60)
    monkeypatch.setattr(token_keys, "signed", lambda *_: b"")
    with pytest.raises(ApproverRefusedError, match="not a signature of its key"):
        approver.sign(MESSAGE, 60)
    approver.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("FunctionCancelled", ApproverCanceledError),
        ("FunctionRejected", ApproverCanceledError),
        ("DeviceRemoved", NoApproverError),
        ("TokenNotPresent", NoApproverError),
        ("SessionHandleInvalid", NoApproverError),
        ("KeyHandleInvalid", NoApproverError),
        ("GeneralError", ApproverRefusedError),
        ("FunctionFailed", ApproverRefusedError),
        ("UserNotLoggedIn", ApproverRefusedError),
        ("MechanismInvalid", ApproverRefusedError),
        ("PinIncorrect", ApproverPinError),
        ("PinLocked", ApproverPinError),
    ],
)
def test_what_a_failed_use_means(
    name: str, kind: type[Exception], hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pkcs11

    approver = at(hsm.uri(token="first"))

    def fails(*_: Any) -> bytes:
        raise getattr(pkcs11, name)

    with monkeypatch.context() as patched:
        patched.setattr(token_keys, "signed", fails)
        with pytest.raises(kind) as caught:
            approver.sign(MESSAGE, 60)
        assert type(caught.value) is kind and "first" in str(caught.value)
    if kind is not ApproverPinError:
        assert approver.sign(MESSAGE, 60), "the object can be used again"
    approver.close()


def test_a_refusal_after_a_long_wait_is_a_missing_touch(hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    """YubiKeys answer with a general error then."""
    import pkcs11

    def fails(*_: Any) -> bytes:
        raise pkcs11.FunctionFailed

    monkeypatch.setattr(token_keys, "signed", fails)
    monkeypatch.setattr(approvers, "_HUMAN", 0.0)
    approver = at(hsm.uri(token="first"))
    with pytest.raises(ApproverTimeoutError, match="gave up"):
        approver.sign(MESSAGE, 60)
    approver.close()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    module = tmp_path / "module.so"
    module.write_bytes(b"")
    with pytest.raises(NoApproverError, match=r"python-pkcs11.* is not installed") as caught:
        at(f"pkcs11:token=first?module-path={module}").key()
    assert "pip install python-pkcs11" in caught.value.hint


def test_what_is_no_module(hsm: SoftHsm, tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF", b"no module"):
        (tmp_path / "module.so").write_bytes(content)
        with pytest.raises(NoApproverError, match="cannot be used"):
            at(f"pkcs11:token=first?module-path={tmp_path}/module.so").key()
    with pytest.raises(NoApproverError, match="there is no PKCS#11 module"):
        at("pkcs11:token=first?module-path=/nonexistent.so").key()


def test_the_settings_name_it(hsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMAND, f"echo {TOKEN_PIN}")
    approver = approver_at(replace(Settings(), approve=hsm.uri(token="first")), State())
    assert approver.name == "first", "nothing was asked of the token"
    assert verify_message(approver.key().public_key, MESSAGE, approver.sign(MESSAGE, 60))
    approver.close()
    with pytest.raises(BadRequestError):
        approver_at(replace(Settings(), approve="pkcs11:token"), State())


def test_two_approvers_of_one_token(hsm: SoftHsm) -> None:
    """What one does when it leaves does not take the token away from the other."""
    one, other = at(hsm.uri(token="first")), at(hsm.uri(token="first"))
    one.ready()
    assert other.sign(MESSAGE, 60)
    other.close()
    assert one.sign(MESSAGE, 60)
    one.close()


def test_no_secret_in_what_is_shown(hsm: SoftHsm) -> None:
    approver = at(hsm.uri(token="first"), "wr0ng-pin")
    with pytest.raises(ApproverPinError) as caught:
        approver.ready()
    assert "wr0ng-pin" not in f"{caught.value!r}{caught.value}{caught.value.hint}{approver!r}"


def test_a_name_that_steers_the_terminal(hsm: SoftHsm, tmp_path: Path) -> None:
    """Whoever makes a token chooses its label and its keys': none of it draws, nor is it in a line to be copied."""
    hsm.token("\x1b[2J\x1b]0;x\x07mine")
    hsm.import_key(
        "\x1b[2J\x1b]0;x\x07mine", pem(tmp_path, ec.generate_private_key(ec.SECP256R1())), "a\u202eb\r", "B2"
    )
    asked: list[str] = []
    approver = at(hsm.uri(id=b"\xb2"), "wr0ng", asked=asked)
    assert verify_message(approver.key().public_key, MESSAGE, at(hsm.uri(id=b"\xb2")).sign(MESSAGE, 60))
    with pytest.raises(ApproverPinError) as refused:
        approver.ready()
    with pytest.raises(NoApproverError) as missing:
        at(hsm.uri(token="no such")).key()
    with pytest.raises(NoApproverError) as several:
        at(hsm.uri()).key()
    shown = [approver.name, str(approver.uri), *asked]
    shown += [f"{caught.value} {caught.value.hint}" for caught in (refused, missing, several)]
    assert "?[2J?]0;x?mine" in approver.name and len(asked) == 1
    assert all(text.isprintable() for text in shown), shown
    assert at(str(approver.uri)).key() == approver.key()
