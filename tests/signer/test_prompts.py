"""What a person is shown where programs run the card: what a scripted pinentry was told, alone and behind gpg-agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hwilib_cryptnox.psbt import Psbt, address_of, insert
from hwilib_cryptnox.signer.messages import recover_public_key
from hwilib_cryptnox.signer.review.prompts import prompt_text, review_text
from hwilib_cryptnox.signer.review.shown import grouped
from tests.ctl.program import dialogue, ended, run, terminal
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import ME, OTHER, Out, deriv, draft, out_deriv, p2wpkh, sighash, spend
from tests.psbt.signing import make_plan
from tests.psbt.test_message import TEXT, challenge, request
from tests.support.dialogues import CHANGE, KEY, LEFT, Scripted, configure, gpg_agent, lines_of, payment
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.optional import hwilib

FINAL = [deriv(KEY), (b"\x08", b"\x00")]


@pytest.fixture
def pinentry(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


@pytest.fixture
def signer() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        yield emulator


# A transaction


def test_the_pin_first_then_the_proved_transaction(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    """GETPIN names the card and the most that can leave; the one CONFIRM tells what was proved. `enumerate` asks
    nothing."""
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    env, text = {"CRYPTNOX_EMULATOR": f"{signer.host}:{signer.port}"}, payment().base64()
    hwi("--emulators", "enumerate", env=env)
    assert pinentry.log == []
    for number, select in enumerate(
        (("--emulators", "-f", ME.fingerprint.hex()), ("-t", "cryptnox", "-d", signer.path)), start=1
    ):
        answer = hwi(*select, "signtx", text, env=env)
        assert answer["signed"] is True and pinentry.asked == ["GETPIN", "CONFIRM"] * number
        pin, review = pinentry.texts[-2:]
        assert pin.splitlines() == [
            "Sign a transaction: at most 0.00200000 BTC can leave the wallet. You see it before you sign it.",
            f"PIN of the Cryptnox card {signer.serial}",
        ]
        assert review.splitlines() == lines_of(signer)
        assert "SETOK Sign" in pinentry.log and PIN not in "".join(pinentry.log)
        assert signer.stats()["signatures"] == 2 * number


@pytest.mark.parametrize(
    "said", [LEFT, "ERR 83886194 Not confirmed <Pinentry>", "ERR 83886278 Fully", "ERR 83886142 Timeout", "ERR 99"]
)
def test_leaving_the_confirmation_signs_nothing(
    hwi: Program, signer: EmulatorProcess, pinentry: Scripted, said: str
) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    pinentry.answers(PIN, said)
    answer = hwi.on(signer, "signtx", payment().base64(), pin=None)
    assert answer == {"error": "Canceled in the dialog; nothing was signed", "code": -14}
    answer = hwi.on(signer, "signmessage", "hello", KEY, pin=None)
    assert answer == {"error": "Canceled in the dialog; nothing was signed", "code": -14}
    assert pinentry.asked == ["GETPIN", "CONFIRM"] * 2
    assert signer.stats()["signatures"] == 0 == signer.stats()["pin_tries"]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERR 83886381 Screen or window too small <Pinentry>", "80 columns by 24 lines"),
        ("ERR 83918950 Inappropriate ioctl for device <Pinentry>", "Inappropriate ioctl"),
        ("ERR 83886354 Not implemented", "Not implemented"),
        ("die", "ended without an answer"),
    ],
)
def test_what_cannot_be_shown_is_not_signed(
    hwi: Program, signer: EmulatorProcess, pinentry: Scripted, said: str, reason: str
) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    pinentry.answers(PIN, said)
    for words in (("signtx", payment().base64()), ("signmessage", "hello", KEY)):
        answer = hwi.on(signer, *words, pin=None)
        assert answer["code"] == -12 and reason in answer["error"]
        assert answer["error"].startswith("nothing is signed that cannot be shown: ")
    assert signer.stats()["signatures"] == 0


def test_what_is_refused_is_not_shown(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    """A key that is another, a fee of 99 %, an open sighash type: nobody is asked to agree to these."""
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    theft = payment(Out(p2wpkh(OTHER.key(CHANGE)), 199_000, [out_deriv(CHANGE, ME, key=OTHER.key(CHANGE))]))
    burnt = draft(spend("p2wpkh", amount=100_000_000), outs=[Out(p2wpkh(OTHER.key("m/0")), 1_000_000)])
    bare = draft(spend("p2wpkh", fields=[deriv(KEY), sighash(2)]))
    for bad in (theft, burnt, bare):
        assert hwi.on(signer, "signtx", bad.base64(), pin=None)["code"] == -7
    assert "CONFIRM" not in pinentry.asked and signer.stats()["signatures"] == 0


def test_nothing_is_asked_where_nothing_is_signed(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    signed = hwi.on(signer, "signtx", payment().base64())["psbt"]
    assert pinentry.asked == ["CONFIRM"]
    assert hwi.on(signer, "signtx", signed)["signed"] is False
    assert hwi.on(signer, "getmasterxpub")["xpub"] and pinentry.asked == ["CONFIRM"]


def test_what_may_cost_money_is_last(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    far = "m/84h/0h/7h/1/3"
    text = payment(
        Out(p2wpkh(OTHER.key("m/0")), 10_000),
        Out(p2wpkh(ME.key(far)), 170_000, [out_deriv(far)]),
        Out(b"\x6a\x05hello", 500),
    ).base64()
    assert hwi.on(signer, "signtx", text, pin=None, env={"CRYPTNOX_ALLOW_SIGHASH": "1"})["signed"]
    lines = pinentry.texts[-1].splitlines()
    assert lines[1:4] == [
        "2 payments, 0.00010500 BTC in all:",
        f"0.00010000 BTC to {grouped('bc1qpv3mv0rc0e6emm6gd60cc2hl2gldsltmtvu6g8')}",
        '0.00000500 BTC DESTROYED (data "hello")',
    ]
    kinds = [line.split(":")[0] for line in lines[4:]]
    notes = kinds.count("Note")
    assert kinds == ["Change back to the wallet", "Fee", "Leaves the wallet", *["Note"] * notes, "WARNING", "WARNING"]
    assert notes and "186 % of the amount" in lines[-2] and "its account is not an account of the inputs" in lines[-1]


def test_a_fault_after_the_confirmation_asks_no_second_time(hwi: Program, pinentry: Scripted) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", "remove@C0:2") as card:
        configure(card, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
        assert hwi.on(card, "signtx", payment(count=4).base64(), pin=None)["signed"] is True
        assert pinentry.asked == ["GETPIN", "CONFIRM"] and card.stats()["signatures"] == 4


@pytest.mark.parametrize("source", ["explicit", "CRYPTNOX_PIN", "CRYPTNOX_PIN_COMMAND", "CRYPTNOX_PIN_FILE"])
@pytest.mark.parametrize("confirm", [True, False])
def test_every_source_can_be_confirmed(
    hwi: Program, signer: EmulatorProcess, pinentry: Scripted, tmp_path: Path, source: str, confirm: bool
) -> None:
    """`confirm = "pinentry"`; without it a PIN that comes without a dialogue shows none."""
    configure(signer, f'pinentry = "{pinentry.program}"', *(['confirm = "pinentry"'] if confirm else []))
    hwi.on(signer, "getmasterxpub")
    file = tmp_path / "secret"
    file.write_text(PIN)
    file.chmod(0o600)
    env = {"CRYPTNOX_PIN": PIN, "CRYPTNOX_PIN_COMMAND": f"echo {PIN}", "CRYPTNOX_PIN_FILE": str(file)}
    given = {name: value for name, value in env.items() if name == source}
    pin = PIN if source == "explicit" else None
    assert hwi.on(signer, "signtx", payment().base64(), pin=pin, env=given)["signed"] is True
    assert "signature" in hwi.on(signer, "signmessage", "hello", KEY, pin=pin, env=given)
    assert pinentry.asked == ["CONFIRM"] * 2 * confirm
    if not confirm:
        return
    assert pinentry.texts[0].splitlines() == lines_of(signer)
    made = signer.stats()["signatures"]
    pinentry.answers(PIN, LEFT)
    for words in (("signtx", payment().base64()), ("signmessage", "hello", KEY)):
        assert hwi.on(signer, *words, pin=pin, env=given)["code"] == -14
    assert signer.stats()["signatures"] == made


def test_through_hwilib(signer: EmulatorProcess, pinentry: Scripted) -> None:
    ActionCanceledError = hwilib("hwilib.errors").ActionCanceledError
    PSBT = hwilib("hwilib.psbt").PSBT
    from hwilib_cryptnox.plugin.client import CryptnoxClient

    configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    client = CryptnoxClient(signer.path, PIN)
    try:
        psbt = PSBT()
        psbt.deserialize(payment().base64())
        assert client.sign_tx(psbt) is not psbt
        assert client.sign_message("hello", KEY) and pinentry.asked == ["CONFIRM"] * 2
        assert pinentry.texts[0].splitlines() == lines_of(signer)
        pinentry.answers(PIN, LEFT)
        for call in (lambda: client.sign_tx(psbt), lambda: client.sign_message("hello", KEY)):
            with pytest.raises(ActionCanceledError):
                call()
    finally:
        client.close()
    assert signer.stats()["signatures"] == 3


def test_cryptnoxctl_asks_once(signer: EmulatorProcess, pinentry: Scripted, tmp_path: Path) -> None:
    """At the terminal, where there is somebody; `--yes` leaves out that question, and not the configured dialogue."""
    path = tmp_path / "pay.psbt"
    path.write_bytes(payment().encode())
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    with terminal(signer, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign it with 2 signatures?", "n"))
        assert ended(child) == 1
    assert pinentry.asked == []
    assert run(signer, "sign", "--yes", str(path)).returncode == 0
    assert pinentry.asked == ["CONFIRM"] and pinentry.texts[0].splitlines() == lines_of(signer)
    pinentry.answers(PIN, LEFT)
    for words in (
        ("sign", "--yes", "--force", str(path)),
        ("message", "sign", "hi"),
        ("message", "sign", "hi", "--bip322"),
    ):
        refused = run(signer, *words)
        assert refused.returncode == 1 and "Canceled in the dialog; nothing was signed" in refused.stderr
    assert signer.stats()["signatures"] == 2 and '"hi"' in pinentry.texts[-1]


def test_what_was_signed_before_counts_in_what_can_leave() -> None:
    """This run may complete it. What the PIN dialog names is never less than what the review says."""
    psbt = Psbt.parse(draft(spend("p2wpkh", amount=500_000_000), spend("p2wpkh", 1, amount=10_000)).encode())
    half = insert(psbt, [(one, ME.sign(one)) for one in make_plan(psbt).requests if one.input_index == 0])
    final = Psbt.parse(draft(spend("p2wpkh", amount=500_000_000, fields=FINAL), spend("p2wpkh", 1)).encode())
    for given, most in ((psbt, "5.00010000"), (half, "5.00010000"), (final, "5.00100000")):
        for fingerprint in (ME.fingerprint, None):
            assert f"at most {most} BTC can leave the wallet" in prompt_text(given, fingerprint)
        assert f"Leaves the wallet: {most} BTC" in review_text(make_plan(given), 1, ME.fingerprint)[0]


# A message


def test_the_message_is_shown(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    answer = hwi.on(signer, "signmessage", "I agree\nto 100 % \u202eof it", KEY, pin=None)
    pin, shown = pinentry.texts
    assert pin.splitlines() == [
        f"Sign a message with the key {KEY}. You see it before you sign it.",
        f"PIN of the Cryptnox card {signer.serial}",
    ]
    assert shown.splitlines() == [
        f"Sign a message with the Cryptnox card {signer.serial} ({ME.fingerprint.hex()})?",
        f"Key: {KEY}",
        "Message, 25 bytes:",
        '"I agree\\nto 100 % \\u202eof it"',
    ]
    assert recover_public_key("I agree\nto 100 % \u202eof it", answer["signature"])[0] == ME.key(KEY)


def test_where_the_terminal_cannot_show_a_letter(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    """The same text in ASCII, once; a second failure signs nothing."""
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    locale = "ERR 83886246 A locale function failed <Pinentry>"
    pinentry.answers(PIN, locale, "yes")
    assert "signature" in hwi.on(signer, "signmessage", "Grüße", KEY, pin=None)
    assert [text.splitlines()[-1] for text in pinentry.texts[1:]] == ['"Grüße"', '"Gr\\u00fc\\u00dfe"']
    pinentry.answers(PIN, locale)
    assert hwi.on(signer, "signmessage", "Grüße", KEY, pin=None)["code"] == -12
    assert signer.stats()["signatures"] == 1


def test_a_message_in_disguise_is_shown_as_one(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    """BIP322 in a PSBT: the text, the address, and the coins that it shows; nothing of fees."""
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    shown = [spend("p2wpkh", number, 90_000_000) for number in (1, 2)]
    for more, coins in (
        ((), []),
        (shown[:1], ["It shows 1 coin of 0.90000000 BTC"]),
        (shown, ["It shows 2 coins of 1.80000000 BTC together"]),
    ):
        given = request(challenge(), *more)
        assert hwi.on(signer, "signtx", given.base64(), pin=None)["signed"] is True
        assert pinentry.texts[-2].startswith("Sign a message. You see it before you sign it.")
        lines = pinentry.texts[-1].splitlines()
        address = grouped(str(address_of(challenge().script)))
        assert lines == [
            f"Sign a message with the Cryptnox card {signer.serial} ({ME.fingerprint.hex()})?",
            f"Address: {address}",
            *[f"{text} (proof of funds)" for text in coins],
            f"Message, {len(TEXT.encode())} bytes:",
            f'"{TEXT}"',
        ]
    pinentry.answers(PIN, LEFT)
    made = signer.stats()["signatures"]
    assert hwi.on(signer, "signtx", request(challenge()).base64(), pin=None)["code"] == -14
    assert signer.stats()["signatures"] == made


@pytest.mark.parametrize("source", ["explicit", "CRYPTNOX_PIN", "CRYPTNOX_PIN_FILE"])
def test_a_message_that_nobody_sees_is_not_signed(
    hwi: Program, signer: EmulatorProcess, pinentry: Scripted, tmp_path: Path, source: str
) -> None:
    """A program that does not know the field sees a transaction that moves 0 BTC."""
    configure(signer)
    hwi.on(signer, "getmasterxpub")
    file = tmp_path / "secret"
    file.write_text(PIN)
    file.chmod(0o600)
    env = {name: value for name, value in (("CRYPTNOX_PIN", PIN), ("CRYPTNOX_PIN_FILE", str(file))) if name == source}
    pin = PIN if source == "explicit" else None
    for given in (request(challenge()), request(challenge(), spend("p2wpkh", 1)), request(challenge(), version=2)):
        answer = hwi.on(signer, "signtx", given.base64(), pin=pin, env=env)
        assert answer["code"] == -9 and "only after you have seen it" in answer["error"]
        for way in ("cryptnoxctl sign", 'confirm = "pinentry"', "signmessage"):
            assert way in answer["error"]
    assert signer.stats()["signatures"] == 0
    assert hwi.on(signer, "signtx", payment().base64(), pin=pin, env=env)["signed"] is True
    made = signer.stats()["signatures"]
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    assert hwi.on(signer, "signtx", request(challenge()).base64(), pin=pin, env=env)["signed"] is True
    assert pinentry.asked == ["CONFIRM"] and pinentry.texts[0].splitlines()[-1] == f'"{TEXT}"'
    assert signer.stats()["signatures"] == made + 1


def test_through_hwilib_neither(signer: EmulatorProcess, pinentry: Scripted) -> None:
    UnavailableActionError = hwilib("hwilib.errors").UnavailableActionError
    PSBT = hwilib("hwilib.psbt").PSBT
    from hwilib_cryptnox.plugin.client import CryptnoxClient

    psbt = PSBT()
    psbt.deserialize(request(challenge()).base64())
    for told in (False, True):
        if told:
            configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
        client = CryptnoxClient(signer.path, PIN)
        try:
            if told:
                assert client.sign_tx(psbt) is not psbt
            else:
                with pytest.raises(UnavailableActionError, match="only after you have seen it"):
                    client.sign_tx(psbt)
        finally:
            client.close()
        assert signer.stats()["signatures"] == len(pinentry.asked) == told


# gpg-agent


def test_gpg_agent_confirms_what_its_cache_unlocks(
    hwi: Program, signer: EmulatorProcess, pinentry: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gpg_agent(str(pinentry.program), monkeypatch):
        configure(signer, 'pin_source = "gpg-agent"')
        assert hwi.on(signer, "signtx", payment().base64(), pin=None)["signed"] is True
        assert pinentry.asked == ["GETPIN", "CONFIRM"]
        assert hwi.on(signer, "signtx", payment().base64(), pin=None)["signed"] is True
        assert "signature" in hwi.on(signer, "signmessage", "100 % + ü", KEY, pin=None)
        assert pinentry.asked == ["GETPIN", "CONFIRM", "CONFIRM", "CONFIRM"]
        assert pinentry.texts[1].splitlines() == pinentry.texts[2].splitlines() == lines_of(signer)
        assert pinentry.texts[3].splitlines()[-1] == '"100 % + ü"'
        pinentry.answers(PIN, LEFT)
        for words in (("signtx", payment().base64()), ("signmessage", "hello", KEY)):
            assert hwi.on(signer, *words, pin=None)["code"] == -14
        assert signer.stats()["signatures"] == 5
