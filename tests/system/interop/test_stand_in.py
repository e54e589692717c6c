"""In the place of `hwi`: the command lines of the programs that run it, answered by the plain program, and by the
one-file binary under that name. Bitcoin Core's verifier judges what was signed, the card what a PIN cost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from embit.psbt import PSBT

from hwilib_cryptnox.export import Network, ScriptType, add_checksum, descriptor
from tests.export.conftest import make_keys
from tests.support import quick
from tests.support.emulator import EmulatorProcess, trust
from tests.support.front_ends import BtcPay, Core, Device, Nunchuk, Ran, RefusedError, Sparrow, Wasabi
from tests.system.interop.paper import PaperWallet, message_key
from tests.system.interop.programs import FINGERPRINT, MNEMONIC, PIN, TIME_LIMIT

pytestmark = [pytest.mark.xdist_group("binary"), pytest.mark.timeout(1800)]

PLAIN = str(Path(sys.executable).with_name("hwi-cryptnox"))
RECIPIENT = bytes.fromhex("0014" + "51" * 20)
ACCOUNT = "m/84h/1h/0h"
CARD = ("--mnemonic", MNEMONIC, "--xpub-export")
WRONG = "999999"


class Place:
    """A computer with a card, where a wallet finds something under the name `hwi`."""

    def __init__(self, command: list[str], env: dict[str, str], stack: ExitStack, readers: Any) -> None:
        self.command, self._env, self._stack, self._readers = command, env, stack, readers
        self.said: list[Ran] = []

    def insert(self, *options: str) -> EmulatorProcess:
        """A new card."""
        if self._readers is not None:
            return self._stack.enter_context(self._readers.card(*options))  # type: ignore[no-any-return]
        card = self._stack.enter_context(EmulatorProcess(*options))
        self._env["CRYPTNOX_EMULATOR"] = card.path.removeprefix("tcp:")
        trust(card.path)
        return card

    @property
    def remembers(self) -> bool:
        """Cards over TCP are not remembered."""
        return self._readers is not None

    def pin(self, value: str | None, *, by_hand: bool = True) -> None:
        """Set up a PIN command; first the PIN is given once by hand, as the pages say."""
        self._env.pop("CRYPTNOX_PIN_COMMAND", None)
        if value is not None:
            if by_hand:
                assert '"xpub"' in self(["--stdinpass", "-t", "cryptnox", "getmasterxpub"], f"{PIN}\n").out
            self._env["CRYPTNOX_PIN_COMMAND"] = f"echo {value}"

    def __call__(self, arguments: list[str], stdin: str | None) -> Ran:
        """Run it. A stdin that was not set up is a pipe in which nothing ever comes."""
        reading, writing = os.pipe()
        try:
            done = quick.run(
                [*self.command, *arguments],
                **({"stdin": reading} if stdin is None else {"input": stdin.encode()}),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **self._env},
                timeout=TIME_LIMIT,
                start_new_session=True,
            )
        finally:
            os.close(reading)
            os.close(writing)
        ran = Ran(done.stdout.decode(), done.stderr.decode(), done.returncode)
        assert ran.out.endswith("\n") and ran.out.count("\n") == 1, ran
        assert "Traceback" not in ran.err
        self.said.append(ran)
        return ran


@pytest.fixture(
    params=[
        "plain",
        pytest.param("binary", marks=pytest.mark.heavy),
        pytest.param("binary in a reader", marks=[pytest.mark.heavy, pytest.mark.pcsc]),
    ]
)
def hwi(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "plain":
        command, env = [PLAIN, "--as-hwi", "--emulators"], {}
    else:
        command = [str(request.getfixturevalue("binary") / "hwi")]
        env = {"TMPDIR": str(tmp_path)}
    readers = None
    if request.param == "binary in a reader":
        readers = request.getfixturevalue("virtual_readers")
    elif request.param == "binary":
        command.append("--emulators")
    with ExitStack() as stack:
        yield Place(command, env, stack, readers)


@pytest.fixture
def card(hwi: Place) -> EmulatorProcess:
    return hwi.insert(*CARD)


def funded() -> PaperWallet:
    wallet = PaperWallet(descriptor(make_keys(Network.TEST), ScriptType.P2WPKH))
    wallet.receive(50_000)
    wallet.receive(60_000)
    return wallet


def account_key(script: ScriptType = ScriptType.P2WPKH) -> str:
    return make_keys(Network.TEST).account(script).key.to_string(Network.TEST.version)


def address_descriptor() -> str:
    key = make_keys(Network.TEST).account(ScriptType.P2WPKH).key.derive("0/0").public_key.hex()
    return add_checksum(f"wpkh([{FINGERPRINT}/84h/1h/0h/0/0]{key})")


def refused(code: int | None, words: str, call: Any, *arguments: Any) -> None:
    with pytest.raises(RefusedError) as error:
        call(*arguments)
    assert error.value.code == code and words in str(error.value), error.value


def test_bitcoin_cores_gui(hwi: Place, card: EmulatorProcess) -> None:
    core = Core(hwi)
    refused(None, "PIN needed", core.signer)
    hwi.pin(PIN)
    found = core.descriptors()
    receive, change = (next(text for text in found[name] if text.startswith("wpkh(")) for name in found)
    wallet = PaperWallet(receive, change)
    wallet.receive(70_000)
    refused(-9, "Signer returned error: ", core.display, address_descriptor())
    signed = core.sign(wallet.pay(RECIPIENT, 30_000))
    before = card.stats()["signatures"]
    assert core.sign(signed) == signed and card.stats()["signatures"] == before
    wallet.finish(signed)
    assert card.stats()["pin_tries"] == 0


def test_btcpay(hwi: Place, card: EmulatorProcess) -> None:
    """It asks for no PIN: nothing but a PIN source opens the card. The address cannot be shown, so that the wallet's
    set-up does not end; a wallet that was imported signs."""
    btcpay = BtcPay(hwi)
    refused(-6, "PIN", btcpay.connect, PIN)
    assert card.stats()["by_ins"].get("20", 0) == 0
    hwi.pin(PIN)
    device = btcpay.connect()
    assert device.entry["fingerprint"] == FINGERPRINT and btcpay.account(device, ACCOUNT) == account_key()
    refused(-9, "no screen", btcpay.check_address, device, f"{ACCOUNT}/0/0")
    wallet = funded()
    wallet.finish(btcpay.sign(device, wallet.pay(RECIPIENT, 90_000), f"{ACCOUNT}/0/0"))
    assert card.stats()["pin_tries"] == 0


def test_btcpay_that_asks_for_the_passphrase(hwi: Place, card: EmulatorProcess) -> None:
    """Server up to 2.1.0: the PIN comes from the page. A card that is new here is asked for a key that no card gives;
    the fingerprint is known then, and the second try gets on."""
    btcpay = BtcPay(hwi, asks_everybody=True)
    device = btcpay.find(PIN)
    assert device.password == PIN and device.selector[0] == "--device-type"
    assert device.entry["code"] == -12 and device.entry["needs_passphrase_sent"] is True
    refused(-7, "3 to 8 levels", btcpay.connect, PIN)
    if hwi.remembers:
        device = btcpay.connect(PIN)
        assert device.entry["fingerprint"] == FINGERPRINT and device.password == PIN
    else:
        assert btcpay.account(device, ACCOUNT) == account_key()
        device = Device(device.entry, ("--fingerprint", FINGERPRINT), PIN)
    assert btcpay.account(device, ACCOUNT) == account_key()
    wallet = funded()
    wallet.finish(btcpay.sign(device, wallet.pay(RECIPIENT, 90_000), f"{ACCOUNT}/0/0"))
    assert card.stats()["pin_tries"] == 0
    wrong = Device(device.entry, ("--device-type", "cryptnox_basic", "--device-path", device.entry["path"]), WRONG)
    refused(-7, "Wrong PIN", btcpay.account, wrong, "m/44h")
    assert card.stats()["pin_tries"] == 1
    assert all(PIN not in ran.out + ran.err and WRONG not in ran.out + ran.err for ran in hwi.said)


def test_nunchuk(hwi: Place, card: EmulatorProcess) -> None:
    """It cannot add the card, since it wants the master key. All else that it sends is answered."""
    nunchuk = Nunchuk(hwi, "test")
    assert nunchuk.version() == 3
    (device,) = nunchuk.devices()
    assert "fingerprint" not in device and device["needs_passphrase_sent"] is True
    refused(-6, "PIN", nunchuk.add_key, device)
    hwi.pin(PIN)
    (device,) = nunchuk.devices()
    assert device["fingerprint"] == FINGERPRINT and " " not in device["path"]
    refused(-7, "3 to 8 levels", nunchuk.add_key, device)
    refused(-7, "3 to 8 levels", nunchuk.xpub, device, "m/48h")
    assert nunchuk.add_key({**device, "type": "keepkey"})[0] == account_key(ScriptType.P2WSH)
    refused(-9, "no screen", nunchuk.display, device, address_descriptor())
    wallet = funded()
    wallet.finish(nunchuk.sign(device, wallet.pay(RECIPIENT, 90_000)))
    signature = nunchuk.sign_message(device, "two words", f"{ACCOUNT}/0/3")
    key = make_keys(Network.TEST).account(ScriptType.P2WPKH).key.derive("0/3").public_key
    assert message_key(signature, "two words") == key
    assert card.stats()["pin_tries"] == 0


def test_nunchuks_passphrase_is_not_sent(hwi: Place, card: EmulatorProcess) -> None:
    """It sends one only with `togglepassphrase`, which no card has."""
    nunchuk = Nunchuk(hwi)
    (device,) = nunchuk.devices()
    refused(-9, "no switch for a passphrase", nunchuk.send_passphrase, device, PIN)
    assert card.stats()["by_ins"].get("20", 0) == 0


def test_wasabi(hwi: Place, card: EmulatorProcess) -> None:
    """It has no name for the card, and adds none by it. A wallet that was imported from a file is signed for."""
    wasabi = Wasabi(hwi)
    assert wasabi.version()[0] == 3
    refused(-12, "Something happened with your device", wasabi.detect)
    wallet = funded()
    refused(-6, "PIN needed", wasabi.sign, FINGERPRINT, wallet.pay(RECIPIENT, 10_000))
    hwi.pin(PIN)
    refused(None, "devicePath-deviceType", wasabi.add, wasabi.detect())
    wallet.finish(wasabi.sign(FINGERPRINT, wallet.pay(RECIPIENT, 90_000)))
    assert card.stats()["pin_tries"] == 0


def test_sparrow(hwi: Place, card: EmulatorProcess) -> None:
    """Up to 2.0.0 it takes no answer with a model that it does not know; its command lines are answered."""
    sparrow = Sparrow(hwi)
    refused(None, "Could not determine wallet model for cryptnox_basic", sparrow.scan)
    refused(None, "Could not determine wallet model for cryptnox_basic", sparrow.scan, PIN)
    hwi.pin(PIN)
    (device,) = Sparrow(hwi, known=("cryptnox",)).scan()
    assert sparrow.xpub(device, "m/84'/1'/0'") == account_key()
    refused(-9, "no screen", sparrow.display, device, address_descriptor())
    wallet = funded()
    wallet.finish(sparrow.sign(device, wallet.pay(RECIPIENT, 90_000)))
    key = make_keys(Network.TEST).account(ScriptType.P2WPKH).key.derive("0/3").public_key
    for message in ('a "quoted" \\ one', "two\nlines", "Grüße  ₿"):
        assert message_key(sparrow.sign_message(device, message, "m/84'/1'/0'/0/3"), message) == key
    assert card.stats()["pin_tries"] == 0


def test_a_wrong_pin_of_a_source_costs_one_try(hwi: Place, card: EmulatorProcess) -> None:
    """However many commands the programs send, and however often they poll."""
    hwi.pin(WRONG)
    nunchuk, wasabi, btcpay, core = Nunchuk(hwi, "test"), Wasabi(hwi), BtcPay(hwi), Core(hwi)
    psbt = funded().pay(RECIPIENT, 90_000)
    device = {"type": "cryptnox", "path": "", "fingerprint": FINGERPRINT}
    for call, arguments in (
        (core.descriptors, ()),
        (core.sign, (psbt,)),
        (nunchuk.xpub, (device, "m/48h/1h/0h/2h")),
        (nunchuk.sign, (device, psbt)),
        (wasabi.sign, (FINGERPRINT, psbt)),
        (btcpay.answer, ("--fingerprint", FINGERPRINT, "signtx", psbt)),
        (core.descriptors, ()),
    ):
        nunchuk.devices()
        with pytest.raises(RefusedError):
            call(*arguments)
        assert card.stats()["pin_tries"] == 1
    hwi.pin(PIN)
    wallet = funded()
    wallet.finish(nunchuk.sign(device, wallet.pay(RECIPIENT, 90_000)))


def test_a_card_as_from_the_factory(hwi: Place) -> None:
    """Wasabi starts a set-up by itself. Without a person at a terminal nothing becomes of it."""
    card = hwi.insert()
    refused(None, "Not initialized", Core(hwi).signer)
    refused(-18, "not been initialized", BtcPay(hwi).connect)
    refused(None, "devicePath-deviceType", Wasabi(hwi).detect)
    (device,) = Nunchuk(hwi).devices()
    assert device["code"] == -18
    for words in ([], ["--interactive"]):
        for command in (["setup"], ["restore"]):
            ran = hwi(["--device-path", device["path"], "--device-type", "cryptnox", *words, *command], None)
            assert ran.code == 0 and '"code": -9' in ran.out, ran
    assert set(card.stats()["by_ins"]) <= {"A4", "F8", "F7", "80", "81", "FA"}, card.stats()
    assert Nunchuk(hwi).devices()[0]["code"] == -18


def test_a_web_page_cannot_loosen_what_is_signed(hwi: Place, card: EmulatorProcess) -> None:
    """Vault hands on what the page says. Options that lift a limit are not known here, in whatever form they come; nor
    can the page get at a dialogue, or at a card of its own."""
    hwi.pin(PIN)
    psbt = PSBT.from_string(funded().pay(RECIPIENT, 90_000))
    for part in psbt.inputs:
        part.non_witness_utxo = None
    bare = psbt.to_string()
    words = ["--chain", "regtest", "--fingerprint", FINGERPRINT]
    refused(-7, "previous transaction", BtcPay(hwi).answer, *words[2:], "signtx", bare)
    for option in ("--allow-unproved-amounts", "--allow-sighash", "--allow-u"):
        first = [option, *words, "signtx", bare]
        last = "".join(f"{word}\n" for word in (*words, option, "signtx", bare, ""))
        for ran in (hwi(first, None), hwi(["--stdin"], last)):
            assert ran.code == 2 and '"code": -2' in ran.out, ran
    for command in (["wipe"], ["--interactive", "wipe"], ["sendpin", PIN], ["backup"]):
        refused(-9, "", BtcPay(hwi).answer, *words[2:], *command)
    assert card.stats()["signatures"] == 0 and card.stats()["pin_tries"] == 0


def test_no_card(hwi: Place) -> None:
    refused(None, "No external signers found", Core(hwi).signer)
    refused(None, "No device connected.", BtcPay(hwi).connect)
    assert Nunchuk(hwi).devices() == [] == Sparrow(hwi).scan()
    refused(None, "Connect the hardware wallet", Wasabi(hwi).detect)
    refused(-3, "Could not find", Nunchuk(hwi).sign, {"fingerprint": FINGERPRINT}, funded().pay(RECIPIENT, 90_000))


def test_the_name_of_the_file(tmp_path: Path) -> None:
    """Links to the plain program, under the names that wallets have for it, and under others."""
    said = {}
    for name in ("hwi", "hwi.exe", "HWI.EXE", "hwi2", "hwi-cryptnox"):
        (tmp_path / name).symlink_to(PLAIN)
        done = subprocess.run([tmp_path / name, "--version"], capture_output=True, text=True, timeout=TIME_LIMIT)
        assert done.returncode == 0 and done.stderr == ""
        said[name] = done.stdout
    plain = {name for name, text in said.items() if text.startswith("hwi 3.") and "(" not in text}
    assert plain == {"hwi", "hwi.exe", "HWI.EXE"}
    assert len({said[name] for name in plain}) == 1 and "(hwi-cryptnox " in said["hwi2"]


def test_it_calls_itself_hwi() -> None:
    done = quick.run([PLAIN, "--as-hwi", "nonsense"], capture_output=True, timeout=TIME_LIMIT, env=dict(os.environ))
    assert done.returncode == 2 and b'{"error": "hwi: error: ' in done.stdout and done.stderr.startswith(b"usage: hwi ")
