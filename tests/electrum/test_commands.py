"""The plugin's commands through the real program on emulated cards: lists, keys, signatures, and all ends of a PIN."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cryptnox_core.bip32 import ExtendedPublicKey
from cryptnox_core.card import Card
from cryptnox_core.errors import WrongPinError as CardWrongPinError
from cryptnox_core.transport.tcp import RemoteTransport
from hwilib_cryptnox.electrum.cards import Cards
from hwilib_cryptnox.electrum.errors import (
    AbsentCardError,
    CanceledError,
    CardError,
    LastTryError,
    LockedPinError,
    ProgramError,
    WrongPinError,
)
from hwilib_cryptnox.electrum.pins import PinMemory, RefusedPins, with_pin
from hwilib_cryptnox.electrum.review import Review
from hwilib_cryptnox.psbt import Psbt
from tests.electrum import shim
from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, out_deriv, p2wpkh
from tests.support.emulator import PIN, SEED, EmulatorProcess
from tests.support.signed_message import verify_message

ACCOUNT = "m/84h/1h/0h"
FINGERPRINT = ME.fingerprint.hex()


@pytest.fixture
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        yield emulator


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The command lines of the program, one a run."""
    return tmp_path / "log"


@pytest.fixture
def cards(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Cards:
    program = shim.real(tmp_path / "bin", log=log)
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "1")
    return Cards(lambda: str(program), lambda: "regtest")


@pytest.fixture
def there(card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> EmulatorProcess:
    """The card, where the environment names it."""
    monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")
    return card


def name(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{emulator.host}:{emulator.port}")


def payment(inputs: int = 1) -> Psbt:
    """Coins of the card's account to somebody, and change back."""
    coins = [f"{ACCOUNT}/0/{number}" for number in range(inputs)]
    change = f"{ACCOUNT}/1/0"
    outs = [
        Out(p2wpkh(OTHER.key("m/0")), 60_000),
        Out(p2wpkh(ME.key(change)), inputs * 100_000 - 61_000, [out_deriv(change)]),
    ]
    given = [In(p2wpkh(ME.key(path)), fields=[deriv(path)]) for path in coins]
    return Psbt.parse(draft(*given, outs=outs).encode())


def sign(
    cards: Cards,
    card: EmulatorProcess,
    psbt: Psbt,
    *,
    agree: Callable[[Review], str | None] = Review.answer,
    progress: Callable[[int, int], None] = lambda number, total: None,
    pin: str = PIN,
    fingerprint: str = FINGERPRINT,
) -> Psbt:
    encoded = psbt.encode()
    assert isinstance(encoded, bytes)
    done = cards.sign_transaction(card.path, encoded, pin, fingerprint=fingerprint, agree=agree, progress=progress)
    assert done is not None
    return Psbt.parse(done)


# The list


def test_a_card_is_listed_without_a_pin(cards: Cards, there: EmulatorProcess) -> None:
    (found,) = cards.look()
    assert (found.path, found.problem, found.emulated, found.has_wallet) == (there.path, "", True, True)
    assert found.name == f"Cryptnox {there.host}:{there.port}" and found.state == "emulated"
    assert there.stats()["by_ins"].get("20") is None and there.stats()["pin_tries"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "Not initialized. Set the card up first: run cryptnoxctl setup in a terminal."),
        (("--pin", "4321"), "Not initialized: the card has no seed. Set the card up first"),
    ],
)
def test_a_card_without_a_wallet_says_what_to_do(
    cards: Cards, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], words: str
) -> None:
    with EmulatorProcess(*options) as emulator:
        name(emulator, monkeypatch)
        (found,) = cards.look()
    assert found.problem.startswith(words) and (found.state, found.has_wallet) == ("no wallet", False)


def test_a_card_in_use_says_what_to_do(cards: Cards, there: EmulatorProcess) -> None:
    with socket.create_connection((there.host, there.port)):
        (found,) = cards.look()
    assert found.state == "in use" and found.has_wallet
    assert found.problem.endswith("Close the other program that uses the card, then try again.")


def test_no_card_and_no_program(cards: Cards, tmp_path: Path) -> None:
    assert cards.look() == []
    missing = Cards(lambda: str(tmp_path / "none"), lambda: "main")
    with pytest.raises(ProgramError, match="Name the file"):
        missing.look()


@pytest.mark.parametrize("answer", ["{}", '"x"', "5", "null"])
def test_a_list_that_is_none(tmp_path: Path, answer: str) -> None:
    odd = Cards(lambda: str(shim.write(tmp_path, f"echo '{answer}'")), lambda: "main")
    with pytest.raises(ProgramError, match="unknown form"):
        odd.look()


def test_a_list_of_anything(tmp_path: Path) -> None:
    """What is no card is left out: its name would be read by people."""
    paths = ["cryptnox:7", "cryptnox:<b>8</b>\n", "tcp:" + "9" * 1_000_000, "hid:1", 5, None, *["cryptnox:7"] * 5_000]
    (tmp_path / "list").write_text(json.dumps([*({"path": path, "code": 5} for path in paths), "x", None]) + "\n")
    odd = Cards(lambda: str(shim.write(tmp_path, f"cat '{tmp_path}/list'")), lambda: "main")
    found = odd.look()
    assert {card.path for card in found} == {"cryptnox:7"} and len(found) == 100


def test_a_program_that_does_not_know_the_option(tmp_path: Path) -> None:
    answer = '{"error": "hwi-cryptnox: error: unrecognized arguments: --frontend", "code": -2}'
    old = Cards(lambda: str(shim.write(tmp_path, f"echo '{answer}'; exit 2")), lambda: "main")
    with pytest.raises(ProgramError, match="Update both"):
        old.look()


def test_entries_that_are_none_are_left_out(tmp_path: Path) -> None:
    text = '[1, null, {}, {"path": 5}, {"path": "cryptnox:7", "fingerprint": "AABBCCDD"}]'
    (found,) = Cards(lambda: str(shim.write(tmp_path, f"echo '{text}'")), lambda: "main").look()
    assert (found.path, found.name, found.fingerprint, found.state) == ("cryptnox:7", "Cryptnox 7", "aabbccdd", "ready")


# Keys


@pytest.mark.parametrize("purpose", ["44h", "49h", "84h", "48h"])
def test_keys_of_each_purpose(cards: Cards, there: EmulatorProcess, purpose: str) -> None:
    path = f"m/{purpose}/1h/0h" + ("/2h" if purpose == "48h" else "")
    key = cards.key(there.path, path, PIN)
    assert key.fingerprint == FINGERPRINT and key.xpub.startswith("tpub")
    assert ExtendedPublicKey.from_string(key.xpub).public_key == ME.key(path)


def test_the_network_is_passed_on(cards: Cards, there: EmulatorProcess, tmp_path: Path) -> None:
    program = str(tmp_path / "bin/hwi-cryptnox")
    for chain, head in (("main", "xpub"), ("signet", "tpub"), ("test", "tpub"), ("testnet4", "tpub")):
        assert Cards(lambda: program, lambda chain=chain: chain).key(there.path, "m/84h/0h/0h", PIN).xpub[:4] == head  # type: ignore[misc]


def test_export_that_is_off_says_what_to_do(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatorProcess("--seed", SEED) as emulator:
        name(emulator, monkeypatch)
        (found,) = cards.look()
        assert not found.problem
        with pytest.raises(CardError, match=r"xpub export is off.*cryptnoxctl xpub on.*needs the PUK"):
            cards.key(emulator.path, ACCOUNT, PIN)


def test_an_old_program_is_told_so(tmp_path: Path) -> None:
    old = Cards(lambda: str(shim.write(tmp_path, 'echo \'{"xpub": "xpub6"}\'')), lambda: "main")
    with pytest.raises(ProgramError, match="too old for this plugin"):
        old.key("cryptnox:7", ACCOUNT, PIN)


def test_a_path_the_card_has_no_key_for(cards: Cards, there: EmulatorProcess) -> None:
    with pytest.raises(CardError):
        cards.key(there.path, "m/0h", PIN)


# PINs


def test_the_pin_is_in_no_command_line_and_no_environment(
    cards: Cards, there: EmulatorProcess, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards.key(there.path, ACCOUNT, PIN)
    cards.sign_message(there.path, "hello", f"{ACCOUNT}/0/0", PIN)
    sign(cards, there, payment())
    lines = log.read_text().splitlines()
    assert len(lines) == 3 and all("--stdinpass" in line for line in lines)
    assert not [word for line in lines for word in line.split() if word == PIN]
    assert PIN not in os.environ.values()


def test_a_wrong_pin_costs_one_try_and_tells_what_is_left(cards: Cards, there: EmulatorProcess) -> None:
    with pytest.raises(WrongPinError, match="refused the PIN") as told:
        cards.key(there.path, ACCOUNT, "111111")
    assert told.value.left is not None and there.stats()["pin_tries"] == 1
    with pytest.raises(WrongPinError) as again:
        sign(cards, there, payment(), pin="222222")
    assert again.value.left == told.value.left - 1 and there.stats()["pin_tries"] == 2


def waste_all_but_one(card: EmulatorProcess) -> None:
    """Another program sends wrong PINs."""
    for number in range(10):
        with Card(RemoteTransport.connect(card.host, card.port)) as other:
            other.open_channel()
            if other.pin_tries_left() == 1:
                return
            with pytest.raises(CardWrongPinError):
                other.verify_pin(f"11111{number}")


def test_no_last_try_without_being_told(cards: Cards, there: EmulatorProcess) -> None:
    """With one left nothing is sent; with the word of the person the right PIN makes it whole, a wrong one locks it."""
    waste_all_but_one(there)
    spent = there.stats()["pin_tries"]
    with pytest.raises(LastTryError, match="One PIN try is left"):
        cards.key(there.path, ACCOUNT, PIN)
    assert there.stats()["pin_tries"] == spent
    assert cards.key(there.path, ACCOUNT, PIN, True).fingerprint == FINGERPRINT
    waste_all_but_one(there)
    with pytest.raises(LockedPinError, match="PUK"):
        cards.key(there.path, ACCOUNT, "222222", True)
    with pytest.raises(LockedPinError, match="PUK"):
        cards.key(there.path, ACCOUNT, PIN, True)


def test_a_window_that_asks(cards: Cards, there: EmulatorProcess) -> None:
    """The whole of it: a wrong PIN, the same again, the right one; the card counts one refusal."""
    typed, told = ["111111", "111111", PIN], []

    def ask(why: str) -> str | None:
        told.append(why)
        return typed.pop(0)

    memory = PinMemory()
    for _ in range(2):
        key = with_pin(
            there.path,
            lambda pin, last: cards.key(there.path, ACCOUNT, pin, last),
            memory=memory,
            refused=RefusedPins(),
            ask=ask,
            confirm=lambda question: False,
        )
        assert key.fingerprint == FINGERPRINT
    assert there.stats()["pin_tries"] == 1 and len(told) == 3
    assert told[1].startswith("Wrong PIN. ") and "left." in told[1]


# Signing


def test_a_transaction_is_shown_and_then_signed(cards: Cards, there: EmulatorProcess) -> None:
    seen: list[Review] = []
    steps: list[tuple[int, int]] = []

    def agree(review: Review) -> str | None:
        assert there.stats()["signatures"] == 0
        seen.append(review)
        return review.answer()

    done = sign(cards, there, payment(3), agree=agree, progress=lambda number, total: steps.append((number, total)))
    (review,) = seen
    assert review.signatures == 3 and review.fee == 1_000 and review.high_fee is None
    assert "0.00060000 BTC to" in review.lines and not review.warnings
    assert "Change back to this wallet, proved with the card's keys: 0.00239000 BTC" in review.lines
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert all(list(fields.keyed(2)) for fields in done.inputs)


@pytest.mark.parametrize("answer", [None, "", "no", "SIGN", "sign now", "sign 1000"])
def test_a_no_signs_nothing(cards: Cards, there: EmulatorProcess, answer: str | None) -> None:
    with pytest.raises(CanceledError):
        sign(cards, there, payment(), agree=lambda review: answer)
    assert there.stats()["signatures"] == 0


def test_an_error_while_it_is_shown_signs_nothing(cards: Cards, there: EmulatorProcess) -> None:
    """The window broke: the program is ended before it was told to go on."""

    def agree(review: Review) -> str | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sign(cards, there, payment(), agree=agree)
    assert there.stats()["signatures"] == 0


def test_a_high_fee_has_to_be_typed(cards: Cards, there: EmulatorProcess) -> None:
    path = f"{ACCOUNT}/0/0"
    coin = In(p2wpkh(ME.key(path)), 30_000_000, fields=[deriv(path)])
    psbt = Psbt.parse(draft(coin, outs=[Out(p2wpkh(OTHER.key("m/0")), 10_000_000)]).encode())
    with pytest.raises(CanceledError):
        sign(cards, there, psbt, agree=lambda review: "sign")
    assert there.stats()["signatures"] == 0

    def typed(review: Review) -> str | None:
        assert review.high_fee is not None and review.warnings
        return review.answer("20000000")

    assert any(list(fields.keyed(2)) for fields in sign(cards, there, psbt, agree=typed).inputs)


def test_another_wallets_transaction_is_not_signed(cards: Cards, there: EmulatorProcess) -> None:
    """Nothing of it is signed; one that names this card's keys for a keystore of another card is refused."""
    given = payment().encode()
    assert isinstance(given, bytes)
    assert (
        cards.sign_transaction(
            there.path, given, PIN, fingerprint="00000000", agree=lambda review: "sign", progress=print
        )
        is None
    )
    path = f"{ACCOUNT}/0/0"
    other = Psbt.parse(draft(In(p2wpkh(OTHER.key(path)), fields=[deriv(path, OTHER)])).encode())
    with pytest.raises(CardError):
        sign(cards, there, other, fingerprint=OTHER.fingerprint.hex())
    assert there.stats()["signatures"] == 0


def test_a_lie_is_refused_before_anything_is_shown(cards: Cards, there: EmulatorProcess) -> None:
    """Somebody else's output said to be ours."""
    path, change = f"{ACCOUNT}/0/0", f"{ACCOUNT}/1/0"
    outs = [Out(p2wpkh(OTHER.key("m/0")), 90_000, [out_deriv(change)])]
    psbt = Psbt.parse(draft(In(p2wpkh(ME.key(path)), fields=[deriv(path)]), outs=outs).encode())
    shown: list[Review] = []
    with pytest.raises(CardError):
        sign(cards, there, psbt, agree=lambda review: shown.append(review))
    assert not shown and there.stats()["signatures"] == 0


def test_cancel_while_the_card_signs_and_go_on_later(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is kept: the second time only the rest is."""
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--latency", "sign=400") as slow:
        name(slow, monkeypatch)
        psbt = payment(6)

        def progress(number: int, total: int) -> None:
            if number == 3:
                threading.Thread(target=cards.cancel, args=(slow.path,)).start()

        started = time.monotonic()
        with pytest.raises(CanceledError):
            sign(cards, slow, psbt, progress=progress)
        assert time.monotonic() - started < 30
        made = slow.stats()["signatures"]
        assert 1 <= made < 6
        done = sign(cards, slow, psbt)
        assert all(list(fields.keyed(2)) for fields in done.inputs)
        assert slow.stats()["signatures"] <= 7


def test_cancel_of_another_card_changes_nothing(cards: Cards, there: EmulatorProcess) -> None:
    def progress(number: int, total: int) -> None:
        cards.cancel("cryptnox:1")

    sign(cards, there, payment(2), progress=progress)
    cards.cancel()
    assert cards.key(there.path, ACCOUNT, PIN).fingerprint == FINGERPRINT


def test_a_card_that_is_taken_out(cards: Cards, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        name(emulator, monkeypatch)
        path = emulator.path
    with pytest.raises(AbsentCardError, match="Put the card into the reader, then try again"):
        cards.key(path, ACCOUNT, PIN)


# Messages


@pytest.mark.parametrize(
    "message", ["hello", "-x", "--", "a 'b' \"c\" \\", "wörld ₿", "two\nlines\r\n", "", " x ", "a\0b", "x" * 200_000]
)
def test_a_message_is_signed_as_it_is(cards: Cards, there: EmulatorProcess, message: str) -> None:
    path = f"{ACCOUNT}/0/0"
    signature = cards.sign_message(there.path, message, path, PIN)
    assert len(signature) == 65
    assert verify_message(ME.key(path), message, base64.b64encode(signature).decode("ascii"))


# Programs that answer what they must not


@pytest.mark.parametrize(
    "answer",
    [
        "[]",
        "5",
        "{}",
        '{"review": {}}',
        '{"review": null}',
        '{"signing": 1}',
        '{"signing": 1, "of": 1}',
    ],
)
def test_an_answer_of_an_unknown_form(tmp_path: Path, answer: str) -> None:
    odd = Cards(lambda: str(shim.write(tmp_path, f"echo '{answer}'; sleep 1")), lambda: "main")
    with pytest.raises(ProgramError):
        odd.sign_transaction("cryptnox:7", b"psbt", PIN, fingerprint=FINGERPRINT, agree=Review.answer, progress=print)


REVIEW = (
    '{"review": {"chain": "main", "card": {"serial": "7"}, "wallets": [], "outputs": [], "fee": 1, "fee_rate": 1.0, '
    '"message": null, "notices": [], "unsigned": [], "high_fee": null, "signatures": 2}}'
)


@pytest.mark.parametrize("answer", [None, "sign"])
def test_what_was_not_agreed_to_is_not_taken_over(tmp_path: Path, answer: str | None) -> None:
    """A program that signs all the same: after a no, and without having shown anything."""
    signed = '{"psbt": "c2lnbmVk", "signed": true}'
    script = f"echo '{REVIEW}'; echo '{signed}'" if answer is None else f"echo '{signed}'"
    odd = Cards(lambda: str(shim.write(tmp_path, script)), lambda: "main")

    with pytest.raises(CanceledError if answer is None else ProgramError):
        odd.sign_transaction(
            "cryptnox:7", b"psbt", PIN, fingerprint=FINGERPRINT, agree=lambda review: answer, progress=print
        )


@pytest.mark.parametrize(
    "lines",
    [
        [REVIEW, '{"psbt": 5}'],
        [REVIEW, '{"psbt": "%%%"}'],
        [REVIEW, REVIEW],
        [REVIEW, '{"signing": 2, "of": 2}', '{"signing": 1, "of": 2}'],
        [REVIEW, '{"signing": 0, "of": 2}'],
        [REVIEW, *['{"signing": 1, "of": 2}'] * 100],
        [REVIEW, '{"signing": 1, "of": 1}'],
        [REVIEW, '{"signing": 1, "of": 2}', '{"signing": 2, "of": 2}', '{"signing": 3, "of": 2}'],
        [REVIEW, '{"signing": "x", "of": null}'],
    ],
)
def test_lines_out_of_their_order(tmp_path: Path, lines: list[str]) -> None:
    """A program that asks twice, or counts as no card does, is ended."""
    script = "\n".join(f"echo '{line}'" for line in lines)
    then = "exec sleep 600" if lines == [REVIEW, REVIEW] else "exec cat >/dev/null"  # one that does not end by itself
    odd = Cards(lambda: str(shim.write(tmp_path, f"{script}\n{then}")), lambda: "main")
    started, shown = time.monotonic(), []

    def agree(review: Review) -> str | None:
        shown.append(review)
        return review.answer()

    with pytest.raises(ProgramError, match="unknown form"):
        odd.sign_transaction(
            "cryptnox:7", b"psbt", PIN, fingerprint=FINGERPRINT, agree=agree, progress=lambda number, total: None
        )
    assert len(shown) == 1 and time.monotonic() - started < 30


# A key in a token approves instead of the PIN


def test_touches_are_shown_and_no_pin_is_sent(tmp_path: Path) -> None:
    """Lines about the token come before any answer; nothing goes through stdin but the command."""
    said = tmp_path / "stdin"
    touch = """printf '%s\\n' '{"touch": "Touch test (approve) to read keys: 1 touch left"}'"""
    script = f"""{touch}; {touch}; head -n 2 > '{said}'; printf '%s\\n' '{{"xpub": "x", "fingerprint": "00112233"}}'"""
    program = shim.write(tmp_path / "bin", script)
    cards, told = Cards(lambda: str(program), lambda: "regtest"), list[str]()
    key = cards.key("cryptnox:1", ACCOUNT, None, touch=told.append)
    assert (key.xpub, key.fingerprint) == ("x", "00112233")
    assert told == ["Touch test (approve) to read keys: 1 touch left."] * 2
    assert said.read_text() == f'["getxpub", "{ACCOUNT}"]\n\n'


def test_a_program_that_asks_for_touches_without_end_is_ended(tmp_path: Path) -> None:
    program = shim.write(tmp_path / "bin", """while :; do printf '%s\\n' '{"touch": "again"}' || exit; done""")
    cards = Cards(lambda: str(program), lambda: "regtest")
    with pytest.raises(ProgramError):
        cards.key("cryptnox:1", ACCOUNT, None)


def test_the_list_says_which_card_a_key_approves_for(tmp_path: Path) -> None:
    entry = '{"path": "cryptnox:1", "fingerprint": "00112233", "needs_passphrase_sent": false%s}'
    lines = "[" + ", ".join(entry % more for more in ("", ', "approved": true', ', "approved": "no"')) + "]"
    program = shim.write(tmp_path / "bin", f"printf '%s\\n' '{lines}'")
    cards = Cards(lambda: str(program), lambda: "regtest")
    assert [(card.problem, card.approved) for card in cards.look()] == [("", False), ("", True), ("", False)]
