"""Malware on the owner's computer against a card whose signatures a token approves.

It knows the PIN, the pairing key and every file of the state and configuration, and it has the card. It has no token,
or sees what the token gives.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cryptnox_core.bip32 import Path as KeyPath
from cryptnox_core.card import Card
from cryptnox_core.commands.data import GetHistory
from cryptnox_core.commands.signing import Decrypt, Sign
from cryptnox_core.commands.user_keys import AuthorizeHashes, UserKeyResponse
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import SignatureKind, Source, UserKeySlot
from hwilib_cryptnox.errors import ApproverRefusedError, WalletError
from hwilib_cryptnox.psbt import Plan, Psbt
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.storage.settings import Settings
from tests.hwi.conftest import Program
from tests.pin.test_approval import digests_of
from tests.psbt.factory import Draft
from tests.signer.test_signing import account, check
from tests.support.consent import Desk, consenting
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.middle import Ask, Middle
from tests.support.softhsm import TOKEN_PIN, SoftHsm
from tests.support.token import URI, Token, plug

OWN_KEY = bytes(range(100, 132))
"""The owner's own pairing key."""
STOLEN = bytes(range(1, 33))
"""What malware wants signed."""
ACCOUNT = KeyPath.parse("m/84h/0h/0h")
READINGS = ["pin-ends-at-sign", "pin-optional-in-sign", "tries-min", "select-v2", "current-lost-at-power-off"]


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Token:
    made = Token()
    plug(monkeypatch, made)
    return made


@pytest.fixture
def hwi(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(monkeypatch, capsys)


@pytest.fixture(params=[None, *READINGS])
def card(request: pytest.FixtureRequest, token: Token, tmp_path: Path) -> Iterator[EmulatorProcess]:
    options = () if request.param is None else ("--reading", request.param)
    with consenting(token, tmp_path, *options, pairing_key=OWN_KEY) as made:
        yield made


def opened(card: EmulatorProcess, pairing_key: bytes | None = OWN_KEY) -> Card:
    """Malware's own session, under the pairing key it read; None for the common one."""
    found = Card(RemoteTransport.connect(card.host, card.port))
    found.open_channel(pairing_key)
    return found


def history(card: EmulatorProcess, token: Token, pairing_key: bytes | None = OWN_KEY) -> list[bytes]:
    """Every digest the card signed, newest first, as the owner reads it."""
    with opened(card, pairing_key) as found:
        assert found.user_key_respond(token.slot, token.signature(found.user_key_challenge()))
        digests = []
        for slot in range(149):
            try:
                entry = found.send(GetHistory(slot))
            except CryptnoxError:
                break
            if entry is None:
                break
            digests.append(entry.digest)
    return digests


def attempts(digest: bytes) -> list[Sign]:
    """Every form of SIGN that malware can send."""
    found = []
    for pin, path, source, kind in itertools.product(
        (PIN, None),
        (None, KeyPath.parse("m/0"), ACCOUNT, KeyPath.parse("m/84h/0h/0h/0/0")),
        (Source.MASTER, Source.CURRENT, Source.PARENT),
        (SignatureKind.ECDSA, SignatureKind.SCHNORR),
    ):
        if path is not None or source is Source.MASTER:
            found.append(Sign(digest, pin, path, source, kind=kind))
    return found


def try_everything(card: Card, digest: bytes) -> None:
    """What gives a signature in PIN mode, and what does not."""
    for command in attempts(digest):
        with pytest.raises(CryptnoxError):
            card.send(command)
        if not card.channel_open:
            card.select()
            card.open_channel(OWN_KEY)


class Bent:
    """Changes a bit of the APDU with a number, from 1."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __call__(self, apdu: bytes, ask: Ask) -> bytes:
        self._left -= 1
        return ask(apdu if self._left else apdu[:-1] + bytes([apdu[-1] ^ 1]))


def test_malware_without_the_token_gets_no_signature(
    card: EmulatorProcess, token: Token, hwi: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the owner used the card here: the state folder holds what it ever holds."""
    desk = Desk(card.path, token)
    desk.state.keep_pairing_key(card.serial, OWN_KEY)
    Signing(desk.wallet, Psbt.parse(account(1).base64())).run()
    desk.wallet.close()
    made = card.stats()["signatures"]
    stolen = tmp_path / "stolen"
    shutil.copytree(desk.state.folder, stolen / "hwi-cryptnox")
    token.there = False
    with opened(card) as found:
        with pytest.raises(CryptnoxError):
            found.verify_pin(PIN)
        for path in ("m/0", "m/84h/0h/0h"):
            with pytest.raises(CryptnoxError):
                found.public_key(KeyPath.parse(path))
        try_everything(found, STOLEN)
        with pytest.raises(CryptnoxError):
            found.send(Decrypt(token.public_key, PIN))
        for slot in (UserKeySlot.EC, UserKeySlot.RSA):
            for signature in (b"x", bytes(70), bytes(256), Token(slot).signature(STOLEN)):
                assert found.send(AuthorizeHashes(slot, (STOLEN,), signature)) is False
        try_everything(found, STOLEN)
    # Our own programs with everything that was read.
    monkeypatch.setenv("XDG_STATE_HOME", str(stolen))
    given = account(2)
    for password, approve in itertools.product((PIN, None), (True, False)):
        if not approve:
            monkeypatch.delenv("CRYPTNOX_APPROVE", raising=False)
        env = {"CRYPTNOX_PIN": PIN, "CRYPTNOX_LAST_TRY": "1"}
        for command in (["signtx", given.base64()], ["signmessage", "text", "m/84h/0h/0h/0/0"], ["getmasterxpub"]):
            assert "error" in hwi.on(card, *command, pin=password, env=env)
    assert card.stats()["signatures"] == made
    assert card.stats()["pin_tries"] == 0


def test_a_replayed_approval_gives_its_own_digest_alone(card: EmulatorProcess, token: Token) -> None:
    """Malware saw every use of the token of a session, challenges among them, and sends them in every form."""
    given = account(3)
    approved = digests_of(given)
    desk = Desk(card.path, token)
    desk.state.keep_pairing_key(card.serial, OWN_KEY)
    Signing(desk.wallet, Psbt.parse(given.base64())).run()
    desk.wallet.close()
    seen = list(zip(token.messages, token.given, strict=True))
    token.there = False
    for message, signature in seen:
        for digest in (STOLEN, *approved, seen[0][0]):
            with opened(card) as found:
                taken = found.send(AuthorizeHashes(token.slot, (digest,), signature))
                assert taken is (digest == message)
                if taken:
                    try_everything(found, STOLEN)
                elif not taken:
                    try_everything(found, digest)
            with opened(card) as found:
                assert found.send(AuthorizeHashes(token.slot, (digest,), signature, as_list=True)) is False
                try_everything(found, digest)
        with opened(card) as found:
            found.user_key_challenge()
            assert found.send(UserKeyResponse(token.slot, signature)) is False
            try_everything(found, STOLEN)
    assert set(history(card, token)) <= set(approved)


def test_what_the_token_signs_is_what_was_shown(
    token: Token, hwi: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digests of the plan that was agreed to, and challenges of the card; nothing else, whatever the PSBT holds."""
    given, other = account(4), account(4, chains=False)
    with consenting(token, tmp_path) as card:
        shown: list[bytes] = []

        def agree(plan: Plan) -> None:
            assert len(token.messages) == 1, "nothing is approved before it was shown"
            shown.extend(request.digest for request in plan.requests)

        psbt = Psbt.parse(given.base64())
        desk = Desk(card.path, token)
        Signing(desk.wallet, psbt, approve=agree).run()
        desk.wallet.close()
        assert sorted(token.messages[1:]) == sorted(shown) == sorted(digests_of(given))
        # Somebody exchanges what is to be signed behind the review.
        token.messages.clear()
        desk = Desk(card.path, token)
        swapped = Psbt.parse(other.base64())
        signing = Signing(desk.wallet, swapped)
        signing._approve = lambda plan: desk.approval.review([])
        original = signing._sign_approved

        def exchanged(runner: object, approval: object, left: object) -> None:
            from dataclasses import replace

            places = signing._requests
            signing._requests = {place: replace(one, digest=STOLEN) for place, one in places.items()}
            original(runner, approval, left)  # type: ignore[arg-type]

        monkeypatch.setattr(signing, "_sign_approved", exchanged)
        with pytest.raises(Exception, match="not what was reviewed"):
            signing.run()
        assert len(token.messages) == 1
        assert STOLEN not in token.messages


def test_a_challenge_of_another_card_is_not_signed(token: Token, tmp_path: Path) -> None:
    """A card that somebody made asks for the digest of a theft as its challenge."""
    made = consenting(token, tmp_path)
    with EmulatorProcess(*made.options, maker="a thief") as card:
        with pytest.raises(Exception, match="not known to be genuine"):
            Desk(card.path, token).wallet.fingerprint()
        assert token.messages == []


def test_nobody_between_host_and_card_gets_another_digest_approved(token: Token, tmp_path: Path) -> None:
    """Whoever changes a command in the channel ends it; what the token gave is for the digest that was shown."""
    given = account(2)
    with consenting(token, tmp_path) as card:
        for number in range(7, 18):
            token.messages.clear()
            with Middle(card, Bent(number)) as middle:
                desk = Desk(middle.path, token)
                Signing(desk.wallet, Psbt.parse(given.base64())).run()
                desk.wallet.close()
            extra = [message for message in token.messages if message not in digests_of(given)]
            assert len(extra) <= 2


HOSTILE = f"""from cryptnox_core.emulator import card, user_keys
def check_user_key(ctx, command, data):
    answer = user_keys.check_user_key(ctx, command, data)
    if command.p1 == 1:
        ctx.selection.challenge = answer = bytes.fromhex("{STOLEN.hex()}")
    return answer
card._SECURE[card.Ins.CHECK_USER_KEY] = check_user_key
"""
"""A card whose challenges are the digest of a theft."""


def test_a_challenge_may_be_a_digest(token: Token, tmp_path: Path) -> None:
    """The protocol does not tell a challenge from a digest. So a fake card that this computer takes for good gets an
    approval of what it likes, one for each touch that opens it; none where only genuine cards are taken."""
    real, fake = tmp_path / "real", tmp_path / "fake"
    for folder in (real, fake):
        folder.mkdir()
    with consenting(token, fake, unlike=HOSTILE) as card:
        strict = Settings(approve=URI, approve_by_environment=True, require_genuine=True)
        with pytest.raises(WalletError, match="genuine"):
            Desk(card.path, token, settings=strict).wallet.fingerprint()
        assert token.messages == []
        desk = Desk(card.path, token)
        desk.wallet.fingerprint()
        desk.wallet.close()
        assert token.messages == [STOLEN] and desk.said == ["Touch test (approve) to read keys"]
    with consenting(token, real, pairing_key=OWN_KEY) as card, opened(card) as found:
        assert found.authorize_digest(token.slot, STOLEN, token.given[0])
        assert found.send(Sign(STOLEN, None, KeyPath.parse("m/84h/0h/0h/0/0"), Source.MASTER))


def test_a_card_that_is_never_open_collects_few_approvals(token: Token, tmp_path: Path) -> None:
    """One that forgets the key's answer and asks again: it is given up soon, whatever there is to be read."""
    with consenting(token, tmp_path) as card:
        desk = Desk(card.path, token)
        found = desk.wallet.open().card
        with pytest.raises(ApproverRefusedError, match="asked 6 times to be opened"):
            for _ in range(20):
                desk.approval.open(found)
        assert len(token.messages) == 6
        desk.approval.review([STOLEN])
        with pytest.raises(ApproverRefusedError):
            desk.approval.open(found)
        desk.approval.authorize(found, [STOLEN])
        desk.approval.open(found)
        assert len(token.messages) == 8, "what was approved begins a new count"


@pytest.mark.parametrize("where", ["another card of the same words", "the card after a reset"])
def test_an_approval_elsewhere_gives_its_own_digest_alone(where: str, token: Token, tmp_path: Path) -> None:
    """The same key is registered there, too. What was approved is approved wherever the key is known, for good."""
    given, elsewhere = account(2), tmp_path / "elsewhere"
    elsewhere.mkdir()
    with consenting(token, tmp_path, pairing_key=OWN_KEY) as card:
        desk = Desk(card.path, token)
        desk.state.keep_pairing_key(card.serial, OWN_KEY)
        Signing(desk.wallet, Psbt.parse(given.base64())).run()
        desk.wallet.close()
    serial = card.serial + (where != "the card after a reset")
    seen = list(zip(token.messages, token.given, strict=True))
    with consenting(token, elsewhere, serial=serial, pairing_key=OWN_KEY) as other:
        for message, signature in seen:
            with opened(other) as found:
                assert found.user_key_challenge() != message
                assert found.user_key_respond(token.slot, signature) is False
                try_everything(found, STOLEN)
                assert found.authorize_digest(token.slot, STOLEN, signature) is False
                assert found.authorize_digest(token.slot, message, signature) is True
                try_everything(found, STOLEN)
        assert set(history(other, token)) <= set(digests_of(given))


def test_a_replayed_list_gives_its_own_digests_alone(token: Token, tmp_path: Path) -> None:
    """All of them, in their order: no part of it, no other digest in it, and none of them by itself."""
    with consenting(token, tmp_path, pairing_key=OWN_KEY) as card:
        desk = Desk(card.path, token, lists=True)
        desk.state.keep_pairing_key(card.serial, OWN_KEY)
        Signing(desk.wallet, Psbt.parse(account(4).base64())).run()
        desk.wallet.close()
        (_, message), (_, signature) = token.messages, token.given
        digests = [message[at : at + 32] for at in range(1, 129, 32)]
        with opened(card) as found:
            for wrong in (digests[:3], digests[::-1], [*digests[:3], STOLEN], [STOLEN]):
                assert found.authorize_digests(token.slot, wrong, signature) is False
            for digest in (*digests, STOLEN):
                assert found.authorize_digest(token.slot, digest, signature) is False
            try_everything(found, STOLEN)
            assert found.authorize_digests(token.slot, digests, signature) is True
            try_everything(found, STOLEN)


def test_two_programs_and_one_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same time, for two cards: each gets what is its own approved, once each. For one card the second program
    finds it busy, and asks nothing of the token."""
    hsm, token = SoftHsm(tmp_path / "hsm"), Token()
    hsm.token("mine")
    hsm.import_key("mine", token.pem(tmp_path), "approve", "01")
    env = {
        **os.environ,
        **hsm.environ,
        "CRYPTNOX_APPROVE": hsm.uri(token="mine", object="approve"),
        "CRYPTNOX_APPROVE_PIN_COMMAND": f"echo {TOKEN_PIN}",
    }

    def begin(card: EmulatorProcess, given: Draft) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hwilib_cryptnox.hwi", "-t", "cryptnox", "-d", card.path]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, "signtx", given.base64()], env=env, text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first, second = account(12), account(12, chains=False)
    with consenting(token, folders[0]) as one, consenting(token, folders[1], serial=77) as two:
        jobs = [(card, given, begin(card, given)) for card, given in ((one, first), (two, second))]
        for card, given, process in jobs:
            out, error = process.communicate(timeout=120)
            assert error == ""
            check(json.loads(out), given)
            assert card.stats()["signatures"] == 12 and card.stats()["by_ins"]["D6"] == 2 + 12
            assert set(history(card, token, None)) == set(digests_of(given))
        env["CRYPTNOX_WAIT"] = "0.3"
        with opened(one, None):
            out, error = begin(one, second).communicate(timeout=120)
        assert json.loads(out)["code"] == -15 and error == "" and one.stats()["signatures"] == 12
