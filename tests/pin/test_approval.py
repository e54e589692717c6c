"""Consent by a key in a token: what it is asked, how often, and what happens when it or the card goes away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cryptnox_core.bip32 import Path as KeyPath
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.wire import UserKeySlot
from hwilib_cryptnox.errors import (
    ApproverCanceledError,
    ApproverPinError,
    ApproverRefusedError,
    ApproverTimeoutError,
    BadRequestError,
    NoApproverError,
    PinAuthOffError,
    TouchNeededError,
    UnknownCardError,
    WalletError,
)
from hwilib_cryptnox.hwi.entries import Lister
from hwilib_cryptnox.pin.approval import NotReviewedError
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.registered.registrar import register
from hwilib_cryptnox.signer.registered.registration import REGISTRATION_PATH, verify
from hwilib_cryptnox.signer.signatures.possible import ONLY_PIN_REASON
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import Settings, SettingsError, from_toml
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import answer, run
from tests.hwi.conftest import Program
from tests.hwi.test_listing import entry, listed
from tests.psbt.factory import ME, draft, spend
from tests.psbt.musig import shared
from tests.signer.test_registrar import POLICY
from tests.signer.test_signing import account, check, spent_on
from tests.support import bip86
from tests.support.consent import Desk, consenting
from tests.support.emulator import PIN, PUK, EmulatorProcess, trust
from tests.support.middle import Ask, Middle
from tests.support.token import NAME, URI, Token, plug

FPR = ME.fingerprint.hex()
ADDRESS = "m/84h/0h/0h/0/0"
PUKS = {"stdin": f"{PUK}\n"}


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Token:
    made = Token()
    plug(monkeypatch, made)
    return made


@pytest.fixture
def card(token: Token, tmp_path: Path) -> Iterator[EmulatorProcess]:
    with consenting(token, tmp_path) as made:
        yield made


def signed(desk: Desk, given: Any, **options: Any) -> Psbt:
    """The PSBT, signed by way of a desk, and what the token signed for it are its digests alone, each once."""
    signing = Signing(desk.wallet, Psbt.parse(given.base64()), **options)
    try:
        done = signing.run()
    finally:
        desk.wallet.close()
    assert signing.plan is not None
    check({"signed": True, "psbt": done.to_base64()}, given)
    return done


def digests_of(given: Any) -> list[bytes]:
    """What the keys of the card sign, computed by the engine."""
    from hwilib_cryptnox.psbt import collect

    return [candidate.digest for candidate in collect(Psbt.parse(given.base64()), ME.fingerprint).candidates]


# What is asked of the token


@pytest.mark.parametrize("slot", [UserKeySlot.EC, UserKeySlot.RSA], ids=["ec", "rsa"])
@pytest.mark.parametrize("inputs", [1, 10, 60])
def test_one_use_to_read_and_one_for_each_digest(
    slot: UserKeySlot, inputs: int, hwi: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, given = Token(slot), account(inputs)
    plug(monkeypatch, token)
    with consenting(token, tmp_path) as card:
        before = card.stats()
        check(hwi.on(card, "signtx", given.base64(), pin=None), given)
        assert len(token.messages) == 1 + inputs
        assert sorted(token.messages[1:]) == sorted(digests_of(given))
        assert token.messages[0] not in digests_of(given)
        apdus, _, signatures = spent_on(card, before)
        # Opening the card 7, the challenge 2, fingerprint and account key 2 each, one approval for each signature.
        assert (apdus, signatures) == (13 + inputs, inputs)
        assert card.stats()["by_ins"].get("20", 0) == 0, "no PIN, nor a question about one"


def test_every_script_and_message(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    kinds = ("p2pkh", "p2pk", "p2sh-p2wpkh", "p2wpkh", "multisig", "p2wsh", "tapscript", "rawtr")
    given = draft(*(spend(kind, number) for number, kind in enumerate(kinds)))
    check(hwi.on(card, "signtx", given.base64(), pin=None), given)
    assert sorted(token.messages[1:]) == sorted(digests_of(given))
    token.messages.clear()
    message = hwi.on(card, "signmessage", "text", ADDRESS, pin=None)
    assert len(message["signature"]) == 88
    assert len(token.messages) == 2


def test_no_touch_makes_a_signature_of_musig2(token: Token, tmp_path: Path) -> None:
    """No step of MuSig2 asks for an approval of its digest: the applet is not asked for one, and the rest is signed."""
    key = shared("internal")
    part, other = key.item(100_000, 1, *key.first_round()), spend("p2wpkh")
    with consenting(token, tmp_path, "--reading", "musig2") as card:
        for known in (None, ME.fingerprint):
            desk = Desk(card.path, token)
            desk.wallet = Wallet(desk.path, desk.wallet.access, desk.wallet.unlocker, expected=known)
            with pytest.raises(BadRequestError, match="it needs a signature by MuSig2") as caught:
                Signing(desk.wallet, Psbt.parse(draft(part).encode())).run()
            desk.wallet.close()
            assert "cryptnoxctl pin-auth on" in str(caught.value)
            assert len(token.messages) == 1, "to read the fingerprint; none where it is known"
        desk, given = Desk(card.path, token), draft(part, other)
        signing = Signing(desk.wallet, Psbt.parse(given.encode()))
        done = signing.run()
        desk.wallet.close()
        assert signing.plan is not None and [one.reason for one in signing.plan.skipped] == [ONLY_PIN_REASON]
        assert any(name[0] == 0x02 for name in done.inputs[1].pairs)
        assert done.inputs[0].pairs == Psbt.parse(given.encode()).inputs[0].pairs
        assert len(token.messages) == 3, "one to read, one for the signature, and one before"
        assert not {"c7", "c8", "C7", "C8"} & card.stats()["by_ins"].keys()


def test_no_touch_signs_a_taproot_key_path(token: Token, hwi: Program, tmp_path: Path) -> None:
    """Of a card that signs them with its PIN: they are made with MuSig2. It is said why, no touch is asked for what is
    not signed, what else is in the transaction is signed, and with the PIN turned on again all of it is."""
    with consenting(token, tmp_path, "--reading", "musig2", pin_auth=True) as card:
        answer(card, "taproot", "check", schema="taproot check")
        made = card.stats()["signatures"]
        told = run(card, "pin-auth", "off", "--yes", "--stdinpuk", "--private-key", str(token.pem(tmp_path)), **PUKS)
        assert told.returncode == 0 and "opens the card for MuSig2" in " ".join(told.stderr.split()), told.stderr
        asked = card.stats()["by_ins"]["C7"]
        coins = bip86.one_of_each()
        refused = hwi.on(card, "signtx", bip86.spending(coins).base64(), pin=None)
        assert refused["code"] == -7 and "cryptnoxctl pin-auth on" in refused["error"]
        assert len(token.messages) == 1, "to read the fingerprint"
        token.messages.clear()
        given = draft(spend("p2wpkh", 9), *[bip86.coin(path, proved=True) for path in coins])
        said = hwi.on(card, "signtx", given.base64(), pin=None)
        signed = Psbt.parse(said["psbt"])
        assert [any(name[0] in (0x02, 0x13) for name in fields.pairs) for fields in signed.inputs] == [True] + 4 * [
            False
        ]
        assert len(token.messages) == 2
        assert (card.stats()["signatures"], card.stats()["by_ins"]["C7"]) == (made + 1, asked)
        answer(card, "pin-auth", "on", "--stdinpuk", schema="pin-auth on", pin=None, **PUKS)
        token.messages.clear()
        check(hwi.on(card, "signtx", said["psbt"], env={"CRYPTNOX_APPROVE": ""}), given)
        assert token.messages == [] and card.stats()["pin_tries"] == 0


@pytest.mark.parametrize("export", [True, False])
def test_reading_takes_one_use(export: bool, token: Token, hwi: Program, tmp_path: Path) -> None:
    with consenting(token, tmp_path, xpub_export=export) as card:
        if export:
            assert "xpub" in hwi.on(card, "getmasterxpub", pin=None)
            assert len(hwi.on(card, "getdescriptors", pin=None)["receive"]) == 3
            assert len(hwi.on(card, "getkeypool", "--all", "0", "5", pin=None)) > 3
            assert len(token.messages) == 3
        given = draft(spend("p2wpkh"), spend("p2pkh", 1))
        token.messages.clear()
        check(hwi.on(card, "signtx", given.base64(), pin=None), given)
        assert len(token.messages) == 3


def test_a_pin_that_is_given_is_not_sent(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    given = account(1)
    check(hwi.on(card, "signtx", given.base64(), pin="123456"), given)
    assert card.stats()["by_ins"].get("20", 0) == 0


def test_a_wallet_is_registered_with_two_uses(card: EmulatorProcess, token: Token) -> None:
    """One to compare the wallet's keys with the card's, one to have the card sign its name."""
    desk = Desk(card.path, token)
    registration = register(desk.wallet, "Family", POLICY)
    assert verify(ME.key(REGISTRATION_PATH), "Family", POLICY.descriptor, registration.registration)
    assert len(token.messages) == 2


def test_nothing_left_to_sign_asks_nothing(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    given = account(1)
    done = check(hwi.on(card, "signtx", given.base64(), pin=None), given)
    token.messages.clear()
    again = hwi("-f", FPR, "-t", "cryptnox", "-d", card.path, "signtx", done.to_base64())
    assert again["signed"] is False
    assert token.messages == []


@pytest.mark.parametrize(
    "reading", ["pin-ends-at-sign", "pin-optional-in-sign", "pin-auth-off-takes-pin", "current-lost-at-power-off",
                "outer-sw", "mac-len-value-only", "derive-08-only", "select-v2", "no-f7-after-f8"],
)  # fmt: skip
def test_readings(reading: str, token: Token, hwi: Program, tmp_path: Path) -> None:
    given = account(3)
    with consenting(token, tmp_path, "--reading", reading) as card:
        check(hwi.on(card, "signtx", given.base64(), pin=None), given)
        assert len(token.messages) == 4
        hwi.on(card, "signmessage", "text", ADDRESS, pin=None)
        assert len(token.messages) == 6


def test_a_key_in_a_later_slot(token: Token, hwi: Program, tmp_path: Path) -> None:
    """Applet 2.0 has three slots for P-256 keys: the right one costs a use for each wrong one, once."""
    given = account(2)
    with consenting(token, tmp_path, "--reading", "select-v2", in_the_fifth_slot=True) as card:
        check(hwi.on(card, "signtx", given.base64(), pin=None), given)
        assert len(token.messages) == 2 + 2


# What is shown


def test_the_touches_are_told_before_and_counted_down(card: EmulatorProcess, token: Token) -> None:
    given = account(3)
    desk = Desk(card.path, token)
    signed(desk, given)
    assert desk.said == [
        f"1 touch of {NAME} to read keys, then one for each signature",
        f"Touch {NAME} to read keys",
        f"Touch {NAME} to sign: 3 touches left",
        f"Touch {NAME} to sign: 2 touches left",
        f"Touch {NAME} to sign: 1 touch left",
    ]
    known = Desk(card.path, token)
    known.wallet._expected = ME.fingerprint
    signed(known, given)
    assert known.said[:3] == [
        f"4 touches of {NAME}: 1 to read keys, 3 to sign",
        f"Touch {NAME} to read keys: 4 touches left",
        f"Touch {NAME} to sign: 3 touches left",
    ]
    message = Desk(card.path, token)
    message.wallet.sign_message("text", KeyPath.parse(ADDRESS))
    message.wallet.close()
    assert message.said == [
        f"2 touches of {NAME}: 1 to read keys, 1 to sign",
        f"Touch {NAME} to read keys: 2 touches left",
        f"Touch {NAME} to sign: 1 touch left",
    ]


def test_the_touches_are_in_the_dialogue(card: EmulatorProcess, token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a desktop whose wallet has no terminal: `confirm = "pinentry"` shows how many the transaction takes."""
    shown: list[str] = []
    desk = Desk(card.path, token, settings=Settings(approve=URI, approve_by_environment=True, confirm="pinentry"))
    monkeypatch.setattr("hwilib_cryptnox.pin.sources.confirm_pinentry", lambda *words: shown.extend(words[2:]))
    signed(desk, account(2))
    assert all(text.partition("\n")[0].endswith(f"({FPR}) by 2 touches?") for text in shown) and len(shown) == 2


def test_a_known_fingerprint_needs_no_touch(card: EmulatorProcess, token: Token) -> None:
    """In a reader: the entry is as of a card whose PIN is at hand."""
    desk = Desk(card.path, token)
    opened = desk.wallet.open()
    reader = OpenCard(opened.card, "Some reader 00 00", desk.state)
    lister = Lister(desk.wallet.access, desk.wallet.unlocker)
    assert lister._card(reader) == entry(
        reader.path, error="a touch of the approving key is needed once: cryptnoxctl info", code=-12
    )
    desk.state.update(opened.card.serial, lambda now: replace(now, fingerprint=ME.fingerprint))
    assert lister._card(reader) == entry(reader.path, fingerprint=FPR)
    assert token.messages == [] and token.opened == 0


def test_a_program_in_a_pipe_says_nothing(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    """Bitcoin Core takes the first line of stderr for the error."""
    outcome = hwi.outcome("-t", "cryptnox", "-d", card.path, "signtx", account(1).base64())
    assert outcome.error == ""
    assert outcome.answer["signed"] is True


# Lists


def test_lists_are_off(card: EmulatorProcess, token: Token) -> None:
    signed(Desk(card.path, token), account(5))
    assert [len(message) for message in token.messages] == [32] * 6


def test_a_list_takes_up_to_four(card: EmulatorProcess, token: Token) -> None:
    given = account(9)
    desk = Desk(card.path, token, lists=True)
    signed(desk, given)
    assert [len(message) for message in token.messages] == [32, 1 + 4 * 32, 1 + 4 * 32, 32]
    listed = [message[at : at + 32] for message in token.messages[1:3] for at in range(1, 128, 32)]
    assert sorted([*listed, token.messages[3]]) == sorted(digests_of(given))
    assert "Touch test (approve) to sign: 3 touches left" in desk.said


def test_a_card_that_takes_no_lists(token: Token, tmp_path: Path) -> None:
    """It costs the touch that was given for the list."""
    with consenting(token, tmp_path, unlike="from cryptnox_core import wire; wire.MAX_HASHES = 0") as card:
        given = account(5)
        signed(Desk(card.path, token, lists=True), given)
        assert [len(message) for message in token.messages] == [32, 129, *[32] * 5]


def test_the_setting_of_lists(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    trust(card.path, "approve_lists = true")
    given = account(4)
    check(hwi.on(card, "signtx", given.base64(), pin=None), given)
    assert len(token.messages) == 2


# enumerate


def test_enumerate_never_asks(
    card: EmulatorProcess, token: Token, hwi: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a touch of the approving key is needed once: cryptnoxctl info"
    for password in (None, PIN):
        assert listed(hwi, card, password) == [entry(card.path, error=text, code=-12)]
    monkeypatch.delenv("CRYPTNOX_APPROVE")
    for password in (None, PIN):
        (found,) = listed(hwi, card, password)
        assert found["error"].startswith("PIN authentication is off on this card") and found["code"] == -12
        assert found["needs_passphrase_sent"] is False
    assert token.messages == [] and token.opened == 0
    assert card.stats()["by_ins"].get("20", 0) == 0
    assert hwi.on(card, "getmasterxpub")["code"] == -12


def test_a_module_that_cannot_be_loaded_does_not_matter_to_enumerate(
    card: EmulatorProcess, hwi: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRYPTNOX_APPROVE", "pkcs11:token=somebody%20else?module-path=/nowhere.so")
    (found,) = listed(hwi, card)
    assert found["error"] == "a touch of the approving key is needed once: cryptnoxctl info"


def test_a_settings_that_is_no_uri(hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTNOX_APPROVE", "/usr/lib/libykcs11.so")
    answer = hwi("-t", "cryptnox", "getmasterxpub")
    assert answer["code"] == -7 and "CRYPTNOX_APPROVE" in answer["error"]
    with pytest.raises(SettingsError, match="approve"):
        from_toml('approve = "yubikey"', "config.toml")
    assert from_toml(f'approve = "{URI}"\napprove_wait = 5', "config.toml").approve_wait == 5
    for seconds in ("-1", "0", "0.5", "inf", "nan", "true"):
        with pytest.raises(SettingsError, match="approve_wait"):
            from_toml(f"approve_wait = {seconds}", "config.toml")
    with pytest.raises(SettingsError, match="CRYPTNOX_APPROVE_WAIT"):
        Settings.load({"CRYPTNOX_APPROVE_WAIT": "0"})


# Which card it is asked for


def test_the_configurations_key_is_not_asked_for_an_emulated_card(
    card: EmulatorProcess, token: Token, hwi: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRYPTNOX_APPROVE")
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'approve = "{URI}"\n')
    answer = hwi.on(card, "getmasterxpub", pin=None)
    assert answer["code"] == -12 and "trust_emulated" in answer["error"]
    assert token.messages == [] and token.opened == 0
    trust(card.path, f'approve = "{URI}"')
    assert "xpub" in hwi.on(card, "getmasterxpub", pin=None)


def test_a_card_that_nothing_vouches_for(token: Token, tmp_path: Path) -> None:
    """Its challenge could be what another card is to sign."""
    made = consenting(token, tmp_path)
    with EmulatorProcess(*made.options, maker="somebody") as card:
        desk = Desk(card.path, token)
        with pytest.raises(UnknownCardError):
            desk.wallet.fingerprint()
        assert token.messages == [] and token.opened == 0


def test_a_card_that_is_not_admitted(card: EmulatorProcess, token: Token) -> None:
    desk = Desk(card.path, token, settings=Settings(approve=URI, approve_by_environment=True, require_genuine=True))
    with pytest.raises(WalletError, match="genuine"):
        desk.wallet.fingerprint()
    assert token.messages == []


def test_another_key_than_the_cards(card: EmulatorProcess, tmp_path: Path) -> None:
    other = Token()
    desk = Desk(card.path, other)
    with pytest.raises(ApproverRefusedError, match="does not know the key"):
        desk.wallet.fingerprint()
    desk.wallet.close()
    assert len(other.messages) == 1
    rsa = Token(UserKeySlot.RSA)
    with pytest.raises(ApproverRefusedError, match="does not know the key"):
        Desk(card.path, rsa).wallet.fingerprint()
    assert rsa.messages == [], "SELECT tells that the slot is empty"


def test_no_key_is_named(card: EmulatorProcess, token: Token) -> None:
    desk = Desk(card.path, token)
    desk.wallet.unlocker = desk.wallet.unlocker.__class__(desk.settings, desk.state)
    with pytest.raises(PinAuthOffError):
        desk.wallet.fingerprint()
    with pytest.raises(TouchNeededError):
        Desk(card.path, token).wallet.unlocker.unlock(desk.wallet.open().card, card.path, polling=True)
    desk.wallet.close()


# What was not reviewed


def test_what_was_not_reviewed_is_never_sent_to_the_token(card: EmulatorProcess, token: Token) -> None:
    desk = Desk(card.path, token)
    with pytest.raises(NotReviewedError):
        desk.approval.authorize(desk.wallet.open().card, [bytes(32)])
    desk.approval.review([b"\1" * 32])
    for digests in ([b"\1" * 32, bytes(32)], [bytes(32)], []):
        with pytest.raises(NotReviewedError):
            desk.approval.authorize(desk.wallet.open().card, digests)
    assert token.messages == []
    desk.approval.authorize(desk.wallet.open().card, [b"\1" * 32])
    assert token.messages == [b"\1" * 32]
    desk.wallet.close()
    with pytest.raises(NotReviewedError):
        desk.approval.authorize(desk.wallet.open().card, [b"\1" * 32])


def test_a_no_leaves_the_token_alone(card: EmulatorProcess, token: Token) -> None:
    given, desk = account(2), Desk(card.path, token)

    def no(plan: object) -> None:
        raise ApproverCanceledError("no")

    with pytest.raises(ApproverCanceledError):
        Signing(desk.wallet, Psbt.parse(given.base64()), approve=no).run()
    assert len(token.messages) == 1 and token.messages[0] not in digests_of(given)
    assert card.stats()["signatures"] == 0


# Faults


class Cut:
    """Closes the connection at the APDU with a number, from 1: before the card gets it, or with its answer lost."""

    def __init__(self, number: int, *, answer: bool) -> None:
        self.number, self.answer = number, answer
        self.seen = 0

    def __call__(self, apdu: bytes, ask: Ask) -> bytes | None:
        self.seen += 1
        if self.seen != self.number:
            return ask(apdu)
        if self.answer:
            ask(apdu)
        return None


@pytest.mark.parametrize("answer", [False, True], ids=["command lost", "answer lost"])
def test_a_fault_at_every_apdu_is_gone_on_from(card: EmulatorProcess, token: Token, answer: bool) -> None:
    """From the first command after the channel is open on, and no digest takes a second use of the key."""
    given = account(3)
    signed(Desk(card.path, token), given)
    opening, number = 5, 6
    while True:
        cut, before = Cut(number, answer=answer), card.stats()["signatures"]
        token.messages.clear()
        with Middle(card, cut) as middle:
            desk = Desk(middle.path, token)
            signed(desk, given)
        done = digests_of(given)
        assert sorted(message for message in token.messages if message in done) == sorted(done)
        assert len(token.messages) - len(done) <= 2, "a challenge once more where its answer was lost"
        assert card.stats()["signatures"] - before <= 3 + answer
        if cut.seen < number:
            break
        number += 1
    assert number > opening + 2 + 4 + 6
    assert not list((State().folder / "partial").glob("*"))


@pytest.mark.parametrize("answer", [False, True], ids=["command lost", "answer lost"])
def test_a_message_is_signed_across_faults(card: EmulatorProcess, token: Token, answer: bool) -> None:
    """At its approval and at its signature: two uses of the key as ever."""
    first = Desk(card.path, token)
    first.wallet.sign_message("text", KeyPath.parse(ADDRESS))
    first.wallet.close()
    for number in (12, 13):
        token.messages.clear()
        with Middle(card, Cut(number, answer=answer)) as middle:
            desk = Desk(middle.path, token)
            assert desk.wallet.sign_message("text", KeyPath.parse(ADDRESS))
            desk.wallet.close()
        assert len(token.messages) == 2


def test_after_a_fault_while_signing_nothing_is_read_again(card: EmulatorProcess, token: Token) -> None:
    given = account(3)
    cut = Cut(18, answer=False)
    with Middle(card, cut) as middle:
        signed(Desk(middle.path, token), given)
    assert len(token.messages) == 4
    assert cut.seen > 16


FAULTS = {
    "timeout": ApproverTimeoutError("nobody touched it"),
    "refused": ApproverRefusedError("it refused"),
    "canceled": ApproverCanceledError("canceled"),
    "pin": ApproverPinError("wrong token PIN", 2, spent=True),
    "pulled out": NoApproverError("it is not there"),
    "interrupt": KeyboardInterrupt(),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_every_use_keeps_what_was_signed(card: EmulatorProcess, token: Token, name: str) -> None:
    given, fault = account(3), FAULTS[name]
    for use in range(4):
        before = card.stats()["signatures"]
        token.messages.clear()
        token.next_uses = [*[None] * use, fault]
        desk = Desk(card.path, token)
        if isinstance(fault, NoApproverError):
            token.next_uses += [fault] * 3
        signing = Signing(desk.wallet, Psbt.parse(given.base64()))
        with pytest.raises(type(fault)):
            signing.run()
        desk.wallet.close()
        made = max(0, use - 1)
        assert card.stats()["signatures"] - before == made
        token.next_uses = []
        token.messages.clear()
        again = Desk(card.path, token)
        again.wallet._expected = ME.fingerprint
        signed(again, given)
        assert len(token.messages) == 1 + 3 - made
        assert again.said[0] == f"{4 - made} touches of {NAME}: 1 to read keys, {3 - made} to sign"
        assert card.stats()["signatures"] - before == 3, "no signature is made twice"


def test_a_token_that_comes_back(card: EmulatorProcess, token: Token) -> None:
    """Pulled out in the middle of a use, and put back within the time: the use is asked for once more."""
    given = account(2)
    desk = Desk(card.path, token, patience=5)
    out = NoApproverError("it was pulled out")
    token.next_uses = [None, out, None, out]
    signed(desk, given)
    assert len(token.messages) == 5 and len(token.given) == 3


def test_a_token_that_stays_away(card: EmulatorProcess, token: Token) -> None:
    desk = Desk(card.path, token, patience=0.2)

    def pull() -> None:
        token.there = False
        raise NoApproverError("it was pulled out")

    token.next_uses = [None, pull]
    with pytest.raises(NoApproverError):
        Signing(desk.wallet, Psbt.parse(account(2).base64())).run()
    assert desk.said[-1].startswith(f"{NAME} is not there; put it back within 0 seconds")


def test_a_token_that_is_not_there_is_said_at_once(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    token.there = False
    answer = hwi.on(card, "signtx", account(1).base64(), pin=None)
    assert answer == {"error": "there is no token called test", "code": -12}
    assert card.stats()["by_ins"].get("D6", 0) == 0


def test_a_wrong_token_pin_is_said_before_a_touch(card: EmulatorProcess, token: Token, hwi: Program) -> None:
    token.pin_error = ApproverPinError("wrong token PIN, 2 tries left", 2, spent=True)
    answer = hwi.on(card, "signtx", account(1).base64(), pin=None)
    assert answer == {"error": "wrong token PIN, 2 tries left", "code": -12}
    desk = Desk(card.path, token)
    with pytest.raises(ApproverPinError):
        desk.wallet.fingerprint()
    assert token.messages == []


def test_a_signature_that_the_card_refuses(card: EmulatorProcess, token: Token) -> None:
    """What is approved under another key on the way is no approval; it is not kept either."""
    desk = Desk(card.path, token)
    other = Token()

    def bend() -> None:
        token._key = other._key

    token.next_uses = [None, bend]
    with pytest.raises(ApproverRefusedError):
        Signing(desk.wallet, Psbt.parse(account(1).base64())).run()
    assert card.stats()["signatures"] == 0


def test_a_card_that_refuses_everything(token: Token, tmp_path: Path) -> None:
    with consenting(token, tmp_path, "--fault", "sw:6F00@D6:1") as card:
        desk = Desk(card.path, token)
        with pytest.raises(CryptnoxError):
            desk.wallet.fingerprint()
        assert token.messages == []
        desk.wallet.close()
        assert desk.wallet.fingerprint() == ME.fingerprint, "what may be tried again works again"
