"""Signatures that SoftHSM approves, a real PKCS#11 token: EC and RSA, through the program."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cryptnox_core.wire import UserKeySlot
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.signer.host import Host
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.storage.settings import Settings
from tests.hwi.conftest import Program
from tests.hwi.test_listing import listed
from tests.pin.test_approval import digests_of
from tests.signer.test_signing import account, check
from tests.support.consent import consenting
from tests.support.emulator import EmulatorProcess
from tests.support.softhsm import TOKEN_PIN, SoftHsm
from tests.support.token import Token

ADDRESS = "m/84h/0h/0h/0/0"


@dataclass
class Bench:
    """A card, and the token that approves for it."""

    hsm: SoftHsm
    token: Token
    """The same key, to register it."""
    card: EmulatorProcess

    @property
    def signatures(self) -> int:
        return self.card.stats()["signatures"]


def pin_command(pin: str) -> str:
    """Prints a PIN; none is in the environment of anybody else."""
    return f"{sys.executable} -c 'print(\"{pin}\")'"


@pytest.fixture(params=[UserKeySlot.EC, UserKeySlot.RSA], ids=["ec", "rsa"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    hsm, token = SoftHsm(tmp_path / "hsm"), Token(request.param)
    hsm.token("mine")
    hsm.token("another", "87654321")
    hsm.import_key("mine", token.pem(tmp_path), "approve", "01")
    hsm.plug(monkeypatch)
    monkeypatch.setenv("CRYPTNOX_APPROVE", hsm.uri(token="mine", object="approve"))
    monkeypatch.setenv("CRYPTNOX_APPROVE_PIN_COMMAND", pin_command(TOKEN_PIN))
    with consenting(token, tmp_path) as card:
        yield Bench(hsm, token, card)


def test_reading_and_signing(bench: Bench, hwi: Program) -> None:
    card = bench.card
    assert listed(hwi, card)[0]["error"] == "a touch of the approving key is needed once: cryptnoxctl info"
    assert hwi.on(card, "getmasterxpub", pin=None)["xpub"].startswith("xpub")
    assert len(hwi.on(card, "getdescriptors", pin=None)["internal"]) == 3
    assert len(hwi.on(card, "signmessage", "text", ADDRESS, pin=None)["signature"]) == 88
    for inputs in (1, 10, 60):
        given, before = account(inputs), bench.signatures
        check(hwi.on(card, "signtx", given.base64(), pin=None), given)
        assert bench.signatures - before == inputs
    assert card.stats()["by_ins"].get("20", 0) == 0


def test_a_wrong_token_pin(bench: Bench, hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is approved; not sent a second time; the right one works afterwards in a terminal alone."""
    monkeypatch.setenv("CRYPTNOX_APPROVE_PIN_COMMAND", pin_command("wrong-pin"))
    given = account(1)
    for _ in range(2):
        answer = hwi.on(bench.card, "signtx", given.base64(), pin=None)
        assert answer["code"] == -12 and "PIN" in answer["error"], answer
    assert bench.signatures == 0
    assert bench.card.stats()["by_ins"].get("D6", 0) == 0


def test_a_token_that_is_pulled_out_keeps_what_was_signed(bench: Bench, hwi: Program) -> None:
    """In the middle of a signing, and put back for the next run: nothing is signed twice."""
    given = account(4)
    host = Host(Settings(approve=Settings.load().approve, approve_by_environment=True, reinsert_wait=0.5))
    wallet = host.wallet(bench.card.path)

    def pull(done: int, _: int) -> None:
        if done == 2:
            bench.hsm.pull_out()

    with pytest.raises(Exception, match=r"."):
        Signing(wallet, Psbt.parse(given.base64()), progress=pull).run()
    wallet.close()
    assert bench.signatures == 2
    answer = hwi.on(bench.card, "signtx", given.base64(), pin=None)
    assert answer["code"] == -12, answer
    bench.hsm.plug_in()
    check(hwi.on(bench.card, "signtx", given.base64(), pin=None), given)
    assert bench.signatures == 4


def test_another_token_is_not_taken(bench: Bench, hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tokens the one that is named; where none is there by that name nothing is approved by the other."""
    monkeypatch.setenv("CRYPTNOX_APPROVE", bench.hsm.uri(token="another", object="approve"))
    answer = hwi.on(bench.card, "signtx", account(1).base64(), pin=None)
    assert answer["code"] == -12, answer
    assert bench.signatures == 0


def test_two_keys_of_one_name(bench: Bench, hwi: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two tokens: refused, unless the token is named."""
    other = tmp_path / "other"
    other.mkdir()
    bench.hsm.token("second")
    bench.hsm.import_key("second", Token(bench.token.slot).pem(other), "approve", "01")
    monkeypatch.setenv("CRYPTNOX_APPROVE", bench.hsm.uri(object="approve"))
    answer = hwi.on(bench.card, "getmasterxpub", pin=None)
    assert answer["code"] in (-7, -12) and bench.card.stats()["by_ins"].get("D6", 0) == 0
    monkeypatch.setenv("CRYPTNOX_APPROVE", bench.hsm.uri(token="mine", object="approve"))
    given = account(1)
    check(hwi.on(bench.card, "signtx", given.base64(), pin=None), given)
    assert digests_of(given)
