"""The driver under stock hwilib, in one process: as Specter, rust-hwi and scripts use it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.support.optional import NO_HWILIB

pytest.importorskip("hwilib", reason=NO_HWILIB)

from hwilib import commands, errors
from hwilib.common import AddressType, Chain
from hwilib.psbt import PSBT

import hwilib_cryptnox
from cryptnox_core import errors as card_errors
from hwilib_cryptnox.errors import AlreadyInitializedError, CanceledError, NoPinError
from hwilib_cryptnox.hwi.errors import Code, to_hwi_error
from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.plugin import client as device
from hwilib_cryptnox.plugin.client import CryptnoxClient, as_hwi_error, network_of
from hwilib_cryptnox.psbt import BadPsbt, Psbt, RefusedInput
from hwilib_cryptnox.psbt.finalize import extract
from tests.ctl.program import answer
from tests.psbt.factory import ME, draft, spend
from tests.support import bip86
from tests.support.emulator import PIN, SEED, EmulatorProcess
from tests.support.kernel import failing_inputs


@pytest.fixture(autouse=True)
def forgotten() -> None:
    unlock._refused.clear()
    unlock._noted.clear()


@pytest.fixture
def hwilib(monkeypatch: pytest.MonkeyPatch, signer: EmulatorProcess) -> Iterator[ModuleType]:
    """hwilib's commands with our driver alone, and the emulated card wanted."""
    monkeypatch.setenv("CRYPTNOX_EMULATOR", signer.path[4:])
    before = list(commands.all_devs)
    commands.all_devs[:] = []
    hwilib_cryptnox.register()
    assert commands.all_devs == ["cryptnox"], "hwilib keeps one list of drivers"
    yield commands
    commands.all_devs[:] = before
    sys.modules.pop("hwilib.devices.cryptnox", None)


def test_registrar_twice(hwilib: ModuleType) -> None:
    hwilib_cryptnox.register()
    hwilib_cryptnox.register.register()
    assert commands.all_devs == ["cryptnox"]
    assert sys.modules["hwilib.devices.cryptnox"] is device


def test_the_package_loads_nothing() -> None:
    """Until something of it is used; and the function `register` survives the module of that name."""
    code = (
        "import sys, hwilib_cryptnox as c; print([n for n in sys.modules if n.startswith(('hwilib.', 'cryptnox'))]);"
        "c.register(); c.register(); print(c.CryptnoxClient.__name__, c.enumerate.__name__, callable(c.register))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.stdout.splitlines() == ["[]", "CryptnoxClient enumerate True"], run.stderr


def test_every_command(hwilib: ModuleType, signer: EmulatorProcess) -> None:
    (entry,) = commands.enumerate(PIN, allow_emulators=True)
    assert entry["fingerprint"] == ME.fingerprint.hex()
    client = commands.get_client(entry["model"], entry["path"], PIN, chain=Chain.TEST)
    assert isinstance(client, CryptnoxClient)
    assert commands.getmasterxpub(client)["xpub"] == ME.account("m/84h/1h/0h").to_string(bytes.fromhex("043587cf"))
    receive = commands.getdescriptors(client)["receive"]
    assert [text.split("(")[0] for text in receive] == ["pkh", "wpkh", "sh"]
    assert len(commands.getkeypool(client, None, 0, 10, addr_all=True)) == 6
    assert commands.getxpub(client, "m/84h/1h/0h", expert=True)["depth"] == 3
    assert len(commands.signmessage(client, "text", "m/0h")["signature"]) == 88
    assert len(commands.signmessage(client, b"\xff", "m/0h")["signature"]) == 88
    assert client.can_sign_taproot() is False
    client.close()
    client.close()
    assert client.get_master_fingerprint() == ME.fingerprint, "it opens again"
    client.close()


def test_a_card_that_signs_taproot(hwilib: ModuleType) -> None:
    """hwilib asks the driver, and then has `tr()` of its own making."""
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--reading", "musig2") as card:
        client = CryptnoxClient(card.path, PIN)
        assert client.can_sign_taproot() is False
        answer(card, "taproot", "check", schema="taproot check")
        assert client.can_sign_taproot() is True
        receive = commands.getdescriptors(client)["receive"]
        assert [text.split("(")[0] for text in receive] == ["pkh", "wpkh", "sh", "tr"]
        assert receive[3].startswith(f"tr([{ME.fingerprint.hex()}/86h/0h/0h]xpub")
        (pool, _) = commands.getkeypool(client, None, 0, 10, addr_type=AddressType.TAP)
        assert pool["desc"] == receive[3]
        given = bip86.spending(bip86.one_of_each())
        said = commands.signtx(client, given.base64())
        spent = [(item.amount, item.script) for item in given.ins]
        assert said["signed"] is True and failing_inputs(extract(Psbt.parse(said["psbt"])), spent) == []
        client.close()


def test_derivations_through_hwilib(hwilib: ModuleType, signer: EmulatorProcess) -> None:
    """It reads the m/86h account before it asks whether taproot is supported."""
    client = CryptnoxClient(signer.path, PIN)
    before = signer.stats()
    commands.getdescriptors(client)
    client.close()
    after = signer.stats()
    assert after["derivations"] - before["derivations"] == 12
    assert after["apdus"] - before["apdus"] <= 6 + 12


def test_signing(hwilib: ModuleType, signer: EmulatorProcess) -> None:
    given = draft(*(spend(kind, n) for n, kind in enumerate(("p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "rawtr"))))
    client = CryptnoxClient(signer.path, PIN)
    answer = commands.signtx(client, given.base64())
    spent = [(item.amount, item.script) for item in given.ins]
    assert answer["signed"] is True and failing_inputs(extract(Psbt.parse(answer["psbt"])), spent) == []
    again = commands.signtx(client, answer["psbt"])
    assert again == {"psbt": answer["psbt"], "signed": False}
    parsed = PSBT()
    parsed.deserialize(answer["psbt"])
    assert client.sign_tx(parsed) is parsed
    client.close()


@pytest.mark.parametrize("password", [None, "", "correct horse"])
def test_construction_needs_nothing(password: str | None) -> None:
    """hwilib constructs clients for passwords of other devices, and for cards that are gone."""
    client = CryptnoxClient("cryptnox:5", password)
    client.close()
    assert client.path == "cryptnox:5"


def test_no_password(signer: EmulatorProcess) -> None:
    for password in (None, "", "correct horse"):
        with pytest.raises(errors.NoPasswordError):
            CryptnoxClient(signer.path, password).get_master_fingerprint()


def test_the_chain_is_read_at_each_call(signer: EmulatorProcess) -> None:
    """Specter assigns it after construction, also as text."""
    client = CryptnoxClient(signer.path, PIN, False, Chain.MAIN)
    for chain, start in (
        (Chain.MAIN, "xpub"),
        (Chain.REGTEST, "tpub"),
        ("", "xpub"),
        ("test", "tpub"),
        ("main", "xpub"),
    ):
        client.chain = chain
        assert client.get_pubkey_at_path("m/84h/0h/0h").to_string().startswith(start)
    client.close()


@pytest.mark.parametrize(
    ("chain", "test"),
    [(Chain.MAIN, False), (Chain.TEST, True), (Chain.SIGNET, True), (None, False), ("", False), ("Main", False),
     ("testnet4", True), ("regtest", True)],
)  # fmt: skip
def test_network_of(chain: object, test: bool) -> None:
    assert (network_of(chain) is Network.TEST) is test


def test_not_available(signer: EmulatorProcess) -> None:
    client = CryptnoxClient(signer.path, PIN)
    calls = [
        lambda: client.display_singlesig_address("m/0", AddressType.WIT),
        lambda: client.display_multisig_address(AddressType.WIT, None),
        client.backup_device,
        client.prompt_pin,
        lambda: client.send_pin("1"),
        client.toggle_passphrase,
    ]
    for call in calls:
        with pytest.raises(errors.UnavailableActionError):
            call()


def test_what_no_card_does_keeps_nothing_of_who_asked() -> None:
    """What the caller was handling, and its frames, end with the error that it gets."""
    client = CryptnoxClient("cryptnox:1", PIN)
    causes = []
    for _ in range(2):
        try:
            raise ValueError("what the caller handles")
        except ValueError:
            with pytest.raises(errors.UnavailableActionError) as caught:
                client.toggle_passphrase()
        causes.append(caught.value.__cause__)
    assert causes[0] is not causes[1] and str(causes[0]) == str(causes[1])


def test_invalid_paths(signer: EmulatorProcess) -> None:
    """-7; hwilib's own ValueError would become -13."""
    client = CryptnoxClient(signer.path, PIN)
    for path in ("nonsense", "m/x", "m/99999999999", "m/44h"):
        with pytest.raises(errors.BadArgumentError):
            client.get_pubkey_at_path(path)
    with pytest.raises(errors.BadArgumentError):
        client.sign_message("text", "m/-1")
    client.close()


# Errors

ARGUMENTS = ("the card said no", 0x6985, 0xC0)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (card_errors.WrongPinError(*ARGUMENTS, 2), -7),
        (card_errors.PinLockedError(*ARGUMENTS), -12),
        (card_errors.WrongPukError(*ARGUMENTS, 3), -7),
        (card_errors.NotInitializedError(*ARGUMENTS), -18),
        (card_errors.NoSeedError(*ARGUMENTS), -18),
        (card_errors.NotSupportedError(*ARGUMENTS), -9),
        (card_errors.NotAllowedError(*ARGUMENTS), -13),
        (card_errors.StatusWordError(*ARGUMENTS), -13),
        (card_errors.ReaderBusyError("x"), -15),
        (card_errors.NoCardError("x"), -3),
        (card_errors.CardRemovedError("x"), -3),
        (card_errors.ServiceUnavailableError("x"), -3),
        (card_errors.CertificateError("x"), -3),
        (card_errors.BadMacError("x"), -3),
        (card_errors.PairingError("x", 0x6982), -12),
        (card_errors.MalformedResponseError("x"), -13),
        (card_errors.BadSignatureError("x"), -13),
        (card_errors.UsageError("x"), -7),
        (BadPsbt("x"), -5),
        (RefusedInput(1, "x"), -7),
        (NoPinError("x"), -6),
        (CanceledError("x"), -14),
        (AlreadyInitializedError("x"), -10),
        (NotImplementedError("x"), -8),
        (KeyboardInterrupt(), -14),
        (ImportError("no module"), -13),
        (RuntimeError(""), -13),
        (ValueError("x"), -13),
    ],
)
def test_every_error_has_a_code(error: BaseException, code: int) -> None:
    told = as_hwi_error(error)
    assert told.get_code() == code == to_hwi_error(error).code and told.get_msg()
    if isinstance(error, card_errors.StatusWordError) and code == -13:
        assert "6985" in told.get_msg()


def test_hwilibs_own_errors_pass() -> None:
    error = errors.UnavailableActionError("x")
    assert as_hwi_error(error) is error


def test_every_code_is_hwilibs() -> None:
    known = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert {int(code) for code in Code} <= known


def test_enumerate_never_raises(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever the settings, whatever the arguments; and it prints nothing."""
    for name, value in (("CRYPTNOX_EMULATOR", "?"), ("CRYPTNOX_WAIT", "x"), ("XDG_STATE_HOME", "/dev/null/x")):
        monkeypatch.setenv(name, value)
        assert device.enumerate() == [] == device.enumerate("1234", True, "nowhere", True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("path", ["f", "m/x", "m/4294967296", "84h//0"])
def test_what_is_no_path(card: EmulatorProcess, path: str) -> None:
    """A bad argument also where the card could not do it anyway."""
    client = CryptnoxClient(card.path, PIN)
    with pytest.raises(errors.BadArgumentError):
        client.display_singlesig_address(path, AddressType.WIT)
    client.close()
