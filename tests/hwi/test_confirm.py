"""What a person is shown where programs run the card: the PIN dialogue, and the confirmation of what was proved.

A scripted pinentry says exactly what it was told; Debian's own, on a terminal of 24 lines, show what people see.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptnox_core.bip32 import Path as KeyPath
from hwilib_cryptnox.assuan import DESCRIPTION_COLUMNS, DESCRIPTION_LIMIT, DESCRIPTION_LINES, _plus_quoted, fits
from hwilib_cryptnox.message import recover_public_key
from hwilib_cryptnox.psbt import Psbt, address_of
from hwilib_cryptnox.purpose import message_text, purpose_of, transaction_text
from hwilib_cryptnox.shown import bitcoin, escaped, fee_text, grouped
from tests.ctl.program import dialogue, ended, run, terminal
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import (
    ME,
    OTHER,
    Draft,
    Out,
    deriv,
    draft,
    multisig,
    out_deriv,
    p2wpkh,
    p2wsh,
    sighash,
    spend,
)
from tests.psbt.signing import make_plan
from tests.psbt.test_message import TEXT, challenge, request
from tests.support.emulator import PIN, EmulatorProcess

CHANGE, KEY = "m/84h/0h/0h/1/3", "m/84h/0h/0h/0/0"
LEFT = "ERR 83886179 Operation cancelled <Pinentry>"
SCRIPTED = f"""#!{sys.executable}
import os, sys
folder = os.path.dirname(os.path.abspath(sys.argv[0]))
log = open(folder + "/log", "a")
def say(text):
    sys.stdout.write(text + "\\n"); sys.stdout.flush()
def reply(name, data):
    lines = open(folder + "/" + name).read().split("\\n")
    open(folder + "/" + name, "w").write("\\n".join(lines[1:] or lines))
    if lines[0] == "die":
        sys.exit(0)
    elif lines[0].startswith("ERR"):
        say(lines[0])
    else:
        if data:
            say("D " + lines[0])
        say("OK")
say("OK ready")
for line in sys.stdin:
    log.write(line); log.flush()
    word = line.split()[0].upper()
    if word == "GETPIN":
        reply("pin", True)
    elif word == "CONFIRM":
        reply("agrees", False)
    else:
        say("OK")
"""
NO_LIMITS = {"max_fee": None, "max_fee_rate": None, "max_fee_percent": None}
REAL = ("pinentry-curses", "pinentry-tty")


@dataclass
class Scripted:
    """A pinentry that answers what the test wants and remembers what it was told."""

    folder: Path
    program: Path = field(init=False)

    def __post_init__(self) -> None:
        self.program = self.folder / "pinentry-scripted"
        self.program.write_text(SCRIPTED)
        self.program.chmod(0o755)
        (self.folder / "log").write_text("")
        self.answers(PIN, "yes")

    def answers(self, pin: str, *agrees: str) -> None:
        """The PIN typed, and what is said to each confirmation, the last one again and again."""
        (self.folder / "pin").write_text(pin)
        (self.folder / "agrees").write_text("\n".join(agrees))

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    @property
    def asked(self) -> list[str]:
        """What was asked for, in order."""
        return [line for line in self.log if line in ("GETPIN", "CONFIRM")]

    @property
    def texts(self) -> list[str]:
        """What was shown, in order."""
        return [unquote(line.removeprefix("SETDESC ")) for line in self.log if line.startswith("SETDESC")]


@pytest.fixture
def pinentry(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


@pytest.fixture
def signer() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as emulator:
        yield emulator


def configure(card: EmulatorProcess, *lines: str) -> None:
    """The configuration file. The emulated card is named there: else no automatic source would give it a PIN."""
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*lines, *trusting(card)]) + "\n")


def trusting(card: EmulatorProcess) -> list[str]:
    from hwilib_cryptnox.settings import Settings

    return [f'trust_emulated = ["{card.host}:{card.port}"]'] if hasattr(Settings, "trust_emulated") else []


def payment(*outs: Out, count: int = 2) -> Draft:
    """60,000 satoshi to somebody, data, and change."""
    paid = outs or (
        Out(p2wpkh(OTHER.key("m/0")), 60_000),
        Out(p2wpkh(ME.key(CHANGE)), 100_000 * count - 62_000, [out_deriv(CHANGE)]),
        Out(b"\x6a\x05hello", 0),
    )
    return draft(*(spend("p2wpkh", number) for number in range(count)), outs=list(paid))


def lines_of(card: EmulatorProcess) -> list[str]:
    """What the payment is shown as."""
    return [
        f"Sign with the Cryptnox card {card.serial} ({ME.fingerprint.hex()})?",
        "0.00060000 BTC to bc1q pv3m v0rc 0e6e mm6g d60c c2hl 2gld sltm tvu6 g8",
        'Attached: data "hello"',
        f"Change back to the wallet: 0.00138000 BTC, {CHANGE}",
        "Fee: 2,000 satoshi, 8.9 sat/vB, 1.0 % of the card's inputs",
        "Leaves the wallet: 0.00062000 BTC",
    ]


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
            "Sign a transaction: at most 0.00200000 BTC can leave the wallet. It is shown before it is signed.",
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
    assert answer == {"error": "Canceled in the dialogue; nothing was signed", "code": -14}
    answer = hwi.on(signer, "signmessage", "hello", KEY, pin=None)
    assert answer == {"error": "Canceled in the dialogue; nothing was signed", "code": -14}
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
        assert answer["error"].startswith("what cannot be shown is not signed: ")
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
    assert notes and "186 % of the amount" in lines[-2] and "its account is not one of the inputs'" in lines[-1]


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
    from hwilib.errors import ActionCanceledError
    from hwilib.psbt import PSBT

    from hwilib_cryptnox.device import CryptnoxClient

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
        assert refused.returncode == 1 and "Canceled in the dialogue; nothing was signed" in refused.stderr
    assert signer.stats()["signatures"] == 2 and '"hi"' in pinentry.texts[-1]


# A message


def test_the_message_is_shown(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    answer = hwi.on(signer, "signmessage", "I agree\nto 100 % \u202eof it", KEY, pin=None)
    pin, shown = pinentry.texts
    assert pin.splitlines() == [
        f"Sign a message with the key {KEY}. It is shown before it is signed.",
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


@given(st.one_of(st.text(max_size=1500), st.binary(max_size=1500), st.text("\n\\\u202e \u0301é漢+%", max_size=400)))
def test_a_message_is_shown_as_it_is(message: str | bytes) -> None:
    """Whole, or its beginning with its length; never anything that draws, and nothing that could be taken for another
    message."""
    data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    for shown in message_text(data, KeyPath.parse(KEY), 2**64 - 1, ME.fingerprint):
        assert fits(shown)
        lines = shown.split("\n")
        assert lines[2] == f"Message, {len(data):,} byte{'' if len(data) == 1 else 's'}:"
        whole = len(lines) == 4
        quoted = lines[3].removesuffix("" if whole else "...")
        assert quoted[0] == quoted[-1] == '"' and not {unicodedata.category(char)[0] for char in quoted} & {"C"}
        told = unescaped(quoted[1:-1])
        assert told == data if whole else data.startswith(told)
        assert whole or (f"only the first {len(told.decode('utf-8', 'surrogateescape')):,} " in lines[4])
        assert whole or len(told) > 50
    assert shown.isascii()


def unescaped(text: str) -> bytes:
    """What a quoted message stands for."""
    plain = {"\\": b"\\", '"': b'"', "n": b"\n", "r": b"\r", "t": b"\t"}
    found, at = b"", 0
    while at < len(text):
        char = text[at]
        if char != "\\":
            found, at = found + char.encode(), at + 1
        elif text[at + 1] in plain:
            found, at = found + plain[text[at + 1]], at + 2
        else:
            size = {"x": 2, "u": 4, "U": 8}[text[at + 1]]
            number = int(text[at + 2 : at + 2 + size], 16)
            found += bytes((number,)) if size == 2 else chr(number).encode()
            at += 2 + size
    return found


def test_a_message_in_disguise_is_shown_as_one(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    """BIP322 in a PSBT: the text, the address, and the coins that it shows; nothing of fees."""
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    for more, coins in ((), []), ((spend("p2wpkh", 1, 90_000_000),), ["It shows 1 coin of 0.90000000 BTC together"]):
        given = request(challenge(), *more)
        assert hwi.on(signer, "signtx", given.base64(), pin=None)["signed"] is True
        assert pinentry.texts[-2].startswith("Sign a message. It is shown before it is signed.")
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


# What fits


outputs = st.lists(
    st.tuples(
        st.sampled_from(["p2wpkh", "p2tr", "p2wsh", "data", "text", "script", "change", "far"]),
        st.integers(0, 2_000_000_000_000),
        st.integers(0, 2**31 - 1),
    ),
    min_size=1,
    max_size=30,
)


@given(outputs, st.integers(1, 4), st.integers(0, 3))
def test_every_transaction_fits_the_dialogue(chosen: list[tuple[str, int, int]], ins: int, locked: int) -> None:
    """With its fee, what leaves the wallet, the grave warnings, and the sum of what is not listed."""
    outs = [_output(*choice) for choice in chosen]
    amount = sum(out.amount for out in outs) // ins + 1 + 1_000 * locked
    spends = [spend("p2wpkh", number, amount, sequence=locked) for number in range(ins)]
    plan = make_plan(Psbt.parse(draft(*spends, outs=outs, lock_time=locked).encode()), **NO_LIMITS)
    summary = plan.summary
    text = transaction_text(plan, 2**64 - 1, ME.fingerprint)
    assert fits(text) and text.isascii()
    assert f"Fee: {fee_text(summary)}" in text and f"Leaves the wallet: {bitcoin(summary.net or 0)} BTC" in text
    payments = [out for out in summary.outputs if not out.change and (out.amount or out.address())]
    if payments:
        biggest = max(payments, key=lambda out: (out.amount, -out.index))
        assert f"{bitcoin(biggest.amount)} BTC " in text
        if biggest.address():
            assert f"{bitcoin(biggest.amount)} BTC to {grouped(str(biggest.address()))}" in text
    listed = sum(
        int(amount.replace(".", "")) for amount in re.findall(r"^([0-9]+\.[0-9]{8}) BTC (?:to|DES)", text, re.M)
    )
    rest = sum(int(amount.replace(".", "")) for amount in re.findall(r"payments?: ([0-9]+\.[0-9]{8}) BTC tog", text))
    assert listed + rest == summary.sent
    kinds = {notice.kind for notice in summary.warnings if notice.grave}
    warned = [line for line in text.splitlines() if line.startswith("WARNING")]
    assert bool(kinds) == bool(warned) and text.splitlines()[len(text.splitlines()) - len(warned) :] == warned


def _output(kind: str, amount: int, number: int) -> Out:
    key = OTHER.key(f"m/{number % 50}")
    change = f"m/84h/0h/0h/1/{number % 20 if kind == 'change' else 5_000 + number % 40}"
    if kind in ("change", "far"):
        return Out(p2wpkh(ME.key(change)), amount, [out_deriv(change)])
    script = {
        "p2wpkh": p2wpkh(key),
        "p2tr": b"\x51\x20" + key[1:],
        "p2wsh": p2wsh(multisig(1, [key])),
        "data": b"\x6a\x4d\xe8\x03" + bytes(1_000),
        "text": b"\x6a\x0c" + b"0.1 BTC back",
        "script": b"\x51" * (1 + number % 500),
    }[kind]
    return Out(script, amount)


def test_the_limits_are_those_of_the_protocol() -> None:
    """An Assuan line has 1,000 bytes, command and escapes included; pinentry-curses shows 20 lines of 76 columns."""
    for text in ("x" * 979, "%" * 326, "+" * 326, "ü" * 489):
        assert fits(text) and not fits(text + "%%") and len(f"GET_CONFIRMATION {text}".encode()) < 1_000
    assert fits("\n".join("x" * 18)) and not fits("\n".join("x" * 19))
    assert fits("x" * 76 + "\n" * 17) and not fits("x" * 77 + "\n" * 17)
    for message in (b"%" * 2_000, b"+ " * 900, "ü".encode() * 700, b"\x00" * 500):
        for text in message_text(message, KeyPath.parse(KEY), 2**64 - 1, ME.fingerprint):
            assert len(_plus_quoted(text).encode()) + len("GET_CONFIRMATION ") <= 1_000


def test_escaping_is_told_apart() -> None:
    """The same text by two messages would be a lie about one of them."""
    texts = [
        "\\n",
        "\n",
        "\\\n",
        "\\\\n",
        " ",
        "  ",
        "\\x20",
        "\x80",
        b"\x80",
        "é",
        "e\u0301",
        "\\u00e9",
        '"',
        '\\"',
        "\u3164",
        "\x7f",
        "\u2028",
    ]
    for ascii_only in (False, True):
        assert len({escaped(text, ascii_only=ascii_only) for text in texts}) == len(texts)
    assert escaped("a\u0301\u0301\u0301b") == "a\u0301\u0301\\u0301b"


def test_the_most_that_can_leave_is_told_for_a_card_that_is_not_known() -> None:
    """Whichever signer it is; nothing is said where that is not certain."""
    ours = Psbt.parse(payment().encode())
    assert "at most 0.00200000 BTC" in purpose_of(ours, ME.fingerprint) == purpose_of(ours, None)
    assert "at most" not in purpose_of(
        Psbt.parse(draft(spend("p2wpkh", previous=False), spend("p2wpkh", 1)).encode()), None
    )
    assert "at most" not in purpose_of(ours, OTHER.fingerprint) or "0.00000000" in purpose_of(ours, OTHER.fingerprint)


# gpg-agent


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A gpg-agent of this test's own; called with the pinentry it starts. Its socket's path must be short."""
    if shutil.which("gpg-agent") is None or shutil.which("gpg-connect-agent") is None:
        pytest.skip("gpg-agent is not installed: the confirmation by gpg-agent was not tried")
    home = Path(tempfile.mkdtemp(prefix="gnupg-"))
    monkeypatch.setenv("GNUPGHOME", str(home))

    def start(program: str) -> None:
        (home / "gpg-agent.conf").write_text(f"pinentry-program {program}\n")

    yield start
    subprocess.run(["gpg-connect-agent", "--no-autostart", "killagent", "/bye"], capture_output=True, timeout=20)
    shutil.rmtree(home, ignore_errors=True)


def test_gpg_agent_confirms_what_its_cache_unlocks(
    agent: Callable[[str], None], hwi: Program, signer: EmulatorProcess, pinentry: Scripted
) -> None:
    agent(str(pinentry.program))
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


# Debian's own


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install {name}): its dialogue was not tried")
    return name


class Person:
    """The program with its dialogue on a terminal; stdin and stdout are pipes, as a wallet would have them."""

    def __init__(self, folder: Path, card: EmulatorProcess, *words: str, rows: int = 24, lang: str = "C.UTF-8") -> None:
        self._out = folder / "answer"
        program = str(Path(sys.executable).with_name("hwi-cryptnox"))
        quoted = " ".join(f"'{word}'" for word in words)
        command = (
            f"GPG_TTY=$(tty); export GPG_TTY; exec '{program}' -t cryptnox -d {card.path} {quoted} "
            f">'{self._out}' </dev/null"
        )
        env = {**os.environ, "TERM": "vt100", "LC_ALL": lang}
        env.pop("DISPLAY", None)
        self.child = pexpect.spawn(
            "/bin/sh",
            ["-c", command],
            env=env,
            encoding="utf-8",
            timeout=60,
            dimensions=(rows, 80),  # type: ignore[arg-type]
        )
        self.child.delaybeforesend = None
        self.seen: list[str] = []
        self.child.logfile_read = self

    def write(self, text: str) -> None:
        self.seen.append(text)

    def flush(self) -> None:
        """As a file has it."""

    @property
    def screen(self) -> str:
        """The words that were shown."""
        text = re.sub(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0-9A-Za-z]|[=>78MHDE])|[\x0e\x0f\x07]", " ", "".join(self.seen))
        return " ".join(word for word in text.split() if not re.fullmatch(r"[xqlkmj│─┌┐└┘]+", word))

    def answer(self) -> Any:
        import json

        self.child.expect(pexpect.EOF)
        self.child.close()
        return json.loads(self._out.read_text())


AGREE = {"pinentry-curses": "\r", "pinentry-tty": "s"}
LEAVE = {"pinentry-curses": "\t\r", "pinentry-tty": "c"}


def is_asked(person: Person, name: str, agree: str = "Sign") -> None:
    """Wait for the question."""
    person.child.expect_exact(f"<{agree}>" if name == "pinentry-curses" else "]?")


@pytest.mark.parametrize("agrees", [True, False])
def test_a_transaction_at_a_terminal(real: str, signer: EmulatorProcess, tmp_path: Path, agrees: bool) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{real}"')
    person = Person(tmp_path, signer, "signtx", payment().base64())
    person.child.expect_exact("PIN:")
    person.child.send(f"{PIN}\r")
    is_asked(person, real)
    assert signer.stats()["signatures"] == 0
    for line in lines_of(signer):
        assert " ".join(line.split()) in person.screen, person.screen
    assert "at most 0.00200000 BTC can leave the wallet" in person.screen and PIN not in person.screen.split()
    person.child.send((AGREE if agrees else LEAVE)[real])
    answer = person.answer()
    assert answer.get("signed") is (True if agrees else None)
    assert answer.get("code") == (None if agrees else -14) and signer.stats()["signatures"] == 2 * agrees


def test_a_second_enter_agrees_to_nothing(real: str, signer: EmulatorProcess, tmp_path: Path) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{real}"')
    person = Person(tmp_path, signer, "signtx", payment().base64())
    person.child.expect_exact("PIN:")
    person.child.send(f"{PIN}\r{AGREE[real]}{AGREE[real]}")
    is_asked(person, real)
    with pytest.raises(pexpect.TIMEOUT):
        person.child.expect(pexpect.EOF, timeout=1.5)
    assert signer.stats()["signatures"] == 0
    person.child.send(LEAVE[real])
    assert person.answer()["code"] == -14 and signer.stats()["signatures"] == 0


def full() -> Draft:
    """As much as there is to tell."""
    far = [f"m/84h/0h/{number}h/1/{5_000_000 + number}" for number in range(9)]
    outs = [Out(b"\x51\x20" + OTHER.key(f"m/{number}")[1:], 1_000_000_000 + number) for number in range(40)]
    outs += [Out(p2wpkh(ME.key(path)), 7_000, [out_deriv(path)]) for path in far]
    outs += [Out(b"\x6a\x28" + b"x" * 40, 0), Out(b"\x51" * 300, 5), Out(b"\x6a\x28" + b"x" * 40, 500)]
    ins = [spend("p2wpkh", number, 14_000_000_000, sequence=144) for number in range(3)]
    return draft(*ins, outs=outs, lock_time=800_000)


def test_the_longest_text_is_seen_whole(real: str, signer: EmulatorProcess, tmp_path: Path) -> None:
    """On 24 lines of 80 columns; and for real as long as the limit says."""
    plan = make_plan(Psbt.parse(full().encode()), **NO_LIMITS)
    text = transaction_text(plan, signer.serial, ME.fingerprint)
    assert len(text) > 0.8 * DESCRIPTION_LIMIT or len(text.splitlines()) > 0.8 * DESCRIPTION_LINES
    limits = [f'max_fee{name} = "off"' for name in ("", "_rate", "_percent")]
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{real}"', *limits)
    person = Person(tmp_path, signer, "-p", PIN, "signtx", full().base64())
    is_asked(person, real)
    assert " ".join(text.split()) in person.screen, (text, person.screen)
    person.child.send(AGREE[real])
    assert person.answer()["signed"] is True


@pytest.mark.parametrize("lines", [DESCRIPTION_LINES, 1])
def test_the_limits_are_those_of_the_programs(real: str, signer: EmulatorProcess, tmp_path: Path, lines: int) -> None:
    """A message that fills the lines, or the bytes."""
    message = "word " * 300 if lines == 1 else "\\" * (DESCRIPTION_COLUMNS * 5)
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{real}"')
    shown, _ = message_text(message.encode(), KeyPath.parse(KEY), signer.serial, ME.fingerprint)
    person = Person(tmp_path, signer, "-p", PIN, "signmessage", message, KEY)
    is_asked(person, real)
    if lines == 1:
        assert " ".join(shown.split()) in person.screen, person.screen
    assert "WARNING: only the first" in shown or "\\" * 50 in person.screen
    person.child.send(AGREE[real])
    assert "signature" in person.answer()


def test_letters_that_the_terminal_lacks(real: str, signer: EmulatorProcess, tmp_path: Path) -> None:
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{real}"')
    for lang, wanted in (("C.UTF-8", "Grüße"), ("C", "Gr\\u00fc\\u00dfe" if real == "pinentry-curses" else "Gr")):
        person = Person(tmp_path, signer, "-p", PIN, "signmessage", "Grüße", KEY, lang=lang)
        is_asked(person, real)
        assert f'"{wanted}' in person.screen
        person.child.send(AGREE[real])
        assert "signature" in person.answer()


def test_a_window_that_is_too_small(signer: EmulatorProcess, tmp_path: Path) -> None:
    if shutil.which("pinentry-curses") is None:
        pytest.skip("pinentry-curses is not installed (Debian: apt-get install pinentry-curses)")
    configure(signer, 'confirm = "pinentry"', 'pinentry = "pinentry-curses"')
    answer = Person(tmp_path, signer, "-p", PIN, "signtx", payment().base64(), rows=7).answer()
    assert answer["code"] == -12 and "80 columns by 24 lines" in answer["error"]
    assert signer.stats()["signatures"] == 0


def test_gpg_agent_at_a_terminal(
    real: str, agent: Callable[[str], None], signer: EmulatorProcess, tmp_path: Path
) -> None:
    """The PIN is asked for once; each transaction is confirmed, the last one not."""
    agent(str(shutil.which(real)))
    configure(signer, 'pin_source = "gpg-agent"')
    agree = {"pinentry-curses": "\r", "pinentry-tty": "o"}[real]
    for number, keys in enumerate((agree, agree, LEAVE[real])):
        person = Person(tmp_path, signer, "signtx", payment().base64())
        if not number:
            person.child.expect_exact("<Cancel>" if real == "pinentry-curses" else "PIN:")
            person.child.send(f"{PIN}\r")
        is_asked(person, real, "OK")
        assert " ".join(" ".join(lines_of(signer)).split()) in person.screen, person.screen
        assert bool(number) != ("PIN:" in person.screen)
        person.child.send(keys)
        answer = person.answer()
        assert answer["signed"] is True if number < 2 else answer["code"] == -14
    assert signer.stats()["signatures"] == 4
