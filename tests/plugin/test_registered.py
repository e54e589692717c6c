"""Registered wallets by hwilib's later versions: what its commands get of the driver. With 3.2.0 and earlier, whose
commands know none of it, the form of their text is made here."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.optional import NO_HWILIB

pytest.importorskip("hwilib", reason=NO_HWILIB)

import hwilib.descriptor
from hwilib import commands, errors
from hwilib.psbt import PSBT

from hwilib_cryptnox.pin import policy as unlock
from hwilib_cryptnox.plugin.client import OLD_HWILIB_TEXT, CryptnoxClient
from hwilib_cryptnox.psbt.tx import with_length
from hwilib_cryptnox.signer.registered.registration import Registration
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore
from tests.hwi.test_registerdescriptor import ALIEN, FAMILY, HONEST, NOBODY, POLICY, forged
from tests.support.dialogues import LEFT, Scripted, configure
from tests.support.emulator import PIN, EmulatorProcess

HAS_REGISTRATIONS = hasattr(hwilib.descriptor, "RegisteredDescriptor")


@dataclass
class Given:
    """hwilib's descriptor."""

    text: str

    def to_string(self) -> str:
        return self.text


@dataclass
class Later:
    """RegisteredDescriptor of hwilib after 3.2.0, as far as a driver meets it."""

    name: str
    descriptor: Any
    device_type: str
    registration: bytes

    def serialize(self) -> str:
        fields = (
            self.name.encode(),
            self.descriptor.to_string().encode(),
            self.device_type.encode(),
            self.registration,
        )
        return base64.b64encode(b"rdesc\x01" + b"".join(map(with_length, fields))).decode()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hwilib that knows registrations."""
    if not HAS_REGISTRATIONS:
        monkeypatch.setattr(hwilib.descriptor, "RegisteredDescriptor", Later, raising=False)


@pytest.fixture
def client(signer: EmulatorProcess) -> Iterator[CryptnoxClient]:
    unlock._refused.clear()
    unlock._noted.clear()
    made = CryptnoxClient(signer.path, PIN)
    yield made
    made.close()


@pytest.fixture
def asking(signer: EmulatorProcess, tmp_path: Path) -> Scripted:
    pinentry = Scripted(tmp_path)
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    return pinentry


@pytest.mark.skipif(HAS_REGISTRATIONS, reason="this hwilib has registrations")
def test_earlier_versions(client: CryptnoxClient, asking: Scripted) -> None:
    with pytest.raises(errors.UnavailableActionError) as caught:
        client.register_descriptor("Family", Given(FAMILY))
    assert caught.value.get_msg() == OLD_HWILIB_TEXT and asking.asked == []


def test_registrar_signing_and_looking(
    later: None, client: CryptnoxClient, asking: Scripted, signer: EmulatorProcess
) -> None:
    given = hwilib.descriptor.parse_descriptor(FAMILY) if HAS_REGISTRATIONS else Given(FAMILY)
    made = client.register_descriptor("Family", given)
    assert (made.name, made.descriptor, made.device_type) == ("Family", given, "cryptnox")
    told = Registration.parse(made.serialize())
    assert (told.name, told.policy, told.registration) == ("Family", POLICY, made.registration)
    assert asking.asked == ["CONFIRM"] and 'Wallet "Family": 2 of 2 must sign' in asking.texts[-1]
    assert [one.name for one in WalletStore(State()).all()] == ["Family"]
    WalletStore(State()).remove("Family")
    for index, branch in ((0, 0), (7, 1)):
        with pytest.raises(errors.UnavailableActionError, match="no screen"):
            client.display_bip388_policy_address(made, index, branch)
    psbt = PSBT()
    psbt.deserialize(HONEST)
    assert client.sign_tx(psbt, made) is not psbt
    assert 'Wallet "Family": 2 of 2 must sign' in asking.texts[-1].splitlines()
    client.sign_tx(psbt)
    assert "1 input from no registered wallet: 2 of 2 keys" in asking.texts[-1].splitlines()


def test_what_is_refused(later: None, client: CryptnoxClient, asking: Scripted, signer: EmulatorProcess) -> None:
    before = signer.stats()["signatures"]
    for name, text in (("Fam\x1bily", FAMILY), ("Family", FAMILY.replace("/<0;1>/*", "/0/*")), ("Family", "x")):
        with pytest.raises(errors.BadArgumentError):
            client.register_descriptor(name, Given(text))
    for given, index, branch in ((forged(), -1, 0), (forged(), 0, 2), ("AAAA", 0, 0), (forged(device="jade"), 0, 0)):
        with pytest.raises(errors.BadArgumentError):
            client.display_bip388_policy_address(given, index, branch)
    assert signer.stats()["signatures"] == before
    psbt = PSBT()
    psbt.deserialize(HONEST)
    for call in (
        lambda: client.display_bip388_policy_address(forged(), 0),
        lambda: client.sign_tx(psbt, forged()),
    ):
        with pytest.raises(errors.BadArgumentError, match=ALIEN):
            call()
    asking.answers(PIN, LEFT)
    with pytest.raises(errors.ActionCanceledError):
        client.register_descriptor("Family", Given(FAMILY))
    assert signer.stats()["signatures"] == before


def test_nobody_to_ask(later: None, client: CryptnoxClient, signer: EmulatorProcess) -> None:
    before = signer.stats()["apdus"]
    with pytest.raises(errors.UnavailableActionError, match=NOBODY):
        client.register_descriptor("Family", Given(FAMILY))
    assert signer.stats()["apdus"] == before


@pytest.mark.skipif(not HAS_REGISTRATIONS, reason="this hwilib has no registrations (3.2.0 and earlier)")
def test_hwilibs_own_commands(client: CryptnoxClient, asking: Scripted) -> None:
    """What HWI's device test does, up to the address, for which there is no screen."""
    answer = commands.register_descriptor(client, "Family", FAMILY)
    assert Registration.parse(answer["registration"]).policy == POLICY
    for index, branch in ((7, 1), (7, None)):
        with pytest.raises(errors.UnavailableActionError, match="no screen"):
            commands.displayaddress(client, registration=answer["registration"], index=index, multipath_index=branch)
    with pytest.raises(errors.BadArgumentError):
        commands.displayaddress(client, registration=answer["registration"], index=7, multipath_index=2)
