"""The texts of dialogues: whole, short enough, and without anything that draws."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import Path as KeyPath
from hwilib_cryptnox.console.wording import escaped
from hwilib_cryptnox.pin.assuan import _plus_quoted, fits
from hwilib_cryptnox.psbt import Chain, OutputSummary, Plan, Psbt, Unregistered, WalletInputs
from hwilib_cryptnox.psbt.script import ANCHOR, kind_of, push
from hwilib_cryptnox.signer.review.message_prompts import message_text
from hwilib_cryptnox.signer.review.prompts import prompt_text, review_text, transaction_text
from hwilib_cryptnox.signer.review.shown import (
    bitcoin,
    data_hex,
    data_text,
    destination,
    fee_text,
    grouped,
    place,
    quoted_name,
    time_lock_text,
)
from tests.psbt.factory import ME, OTHER, Out, draft, multisig, out_deriv, p2wpkh, p2wsh, spend
from tests.psbt.signing import make_plan
from tests.support.dialogues import KEY, NO_LIMITS, payment
from tests.support.invisible import invisible


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


def test_nothing_invisible_is_in_what_is_shown() -> None:
    for char in invisible():
        code = ord(char)
        told = escaped(f"A{char}B")
        assert told == (f"A\\u{code:04x}B" if code < 0x10000 else f"A\\U{code:08x}B")
        assert escaped(f"A{char}B".encode()) == told


def test_a_message_carries_no_text_that_nobody_sees() -> None:
    """Bits, as variation selectors behind its letters."""
    shown = message_text("I sign\ufe00\ufe01\U000e0100.".encode(), KeyPath.parse(KEY), 2**64 - 1, ME.fingerprint)
    assert all('"I sign\\ufe00\\ufe01\\U000e0100."' in text for text in shown)


def test_the_most_that_can_leave_is_told_for_a_card_that_is_not_known() -> None:
    """Whichever signer it is; nothing is said where that is not certain."""
    ours = Psbt.parse(payment().encode())
    assert "at most 0.00200000 BTC" in prompt_text(ours, ME.fingerprint) == prompt_text(ours, None)
    assert "at most" not in prompt_text(
        Psbt.parse(draft(spend("p2wpkh", previous=False), spend("p2wpkh", 1)).encode()), None
    )
    assert "at most" not in prompt_text(ours, OTHER.fingerprint) or "0.00000000" in prompt_text(ours, OTHER.fingerprint)


# Wallets of several keys


def in_wallets(plan: Plan, *names: str, others: int = 0, paid: str | None = None) -> Plan:
    """The same plan, its inputs said to be of registered wallets, and so many of none; payments to another one."""
    wallets = tuple(WalletInputs(name, "15 of 20 must sign", (number,)) for number, name in enumerate(names))
    held = (Unregistered(tuple(range(others)), "2 of 3 keys"),) if others else ()
    outputs = tuple(replace(out, wallet=None if out.change else paid) for out in plan.summary.outputs)
    return replace(plan, summary=replace(plan.summary, wallets=wallets, unregistered=held, outputs=outputs))


def test_wallets_are_named() -> None:
    plan = in_wallets(make_plan(Psbt.parse(payment().encode())), "Für uns", "Other", others=3, paid="Ersparnis+")
    text, plain = review_text(plan, 5, ME.fingerprint)
    assert text.splitlines()[1:5] == [
        'Wallet "Für uns": 15 of 20 must sign',
        "1 input of 1 other wallet",
        "3 inputs from no registered wallet: 2 of 3 keys",
        f'0.00060000 BTC to {grouped("bc1qpv3mv0rc0e6emm6gd60cc2hl2gldsltmtvu6g8")}, wallet "Ersparnis+"',
    ]
    assert plain.isascii() and 'Wallet "F\\u00fcr uns": 15 of 20 must sign' in plain


@pytest.mark.parametrize("name", ["W", "W" * 64, "\u6f22" * 64, "+" * 64, "%" * 64, "\U0001f600" * 64, 'a"' * 32])
@pytest.mark.parametrize("number", [1, 5])
def test_wallets_fit_beside_all_there_is_to_tell(name: str, number: int) -> None:
    """The wallet that the inputs come from, and that others are of none, whatever else is said."""
    far = [f"m/84h/0h/{number}h/1/{5_000_000 + number}" for number in range(9)]
    outs = [Out(b"\x51\x20" + OTHER.key(f"m/{number}")[1:], 1_000_000_000 + number) for number in range(40)]
    outs += [Out(p2wpkh(ME.key(path)), 7_000, [out_deriv(path)]) for path in far]
    outs += [Out(b"\x6a\x28" + b"x" * 40, 0), Out(b"\x51" * 300, 5), Out(b"\x6a\x28" + b"x" * 40, 500)]
    ins = [spend("p2wpkh", number, 14_000_000_000, sequence=144) for number in range(3)]
    plan = make_plan(Psbt.parse(draft(*ins, outs=outs, lock_time=800_000).encode()), **NO_LIMITS)
    named = in_wallets(plan, *[name] * number, others=30, paid=name)
    for ascii_only in (False, True):
        text = transaction_text(named, 2**64 - 1, ME.fingerprint, ascii_only=ascii_only)
        assert fits(text) and fee_text(plan.summary) in text and (text.isascii() or not ascii_only)
        assert f"Wallet {quoted_name(name, ascii_only=ascii_only)}: 15 of 20 must sign" in text.splitlines()
        assert "30 inputs from no registered wallet: 2 of 3 keys" in text.splitlines()


def test_the_names_of_wallets() -> None:
    assert quoted_name("Family") == '"Family"' and quoted_name('a"b\\') == '"a\\"b\\\\"'
    assert quoted_name("x" * 64) == f'"{"x" * 48}..."' and quoted_name("+" * 64) == f'"{"+" * 16}..."'
    assert quoted_name("ü" * 3, ascii_only=True) == '"\\u00fc\\u00fc\\u00fc"'


@pytest.mark.parametrize(
    ("script", "text", "data", "told"),
    [
        (b"\x6a", "no data", "", None),
        (b"\x6a\x05hello", 'data "hello"', "68656c6c6f", "hello"),
        (b"\x6a\x02he\x03llo", 'data "hello"', "68656c6c6f", "hello"),
        (b'\x6a\x04a"\\b', 'data "a\\"\\\\b"', "61225c62", 'a"\\b'),
        (b"\x6a\x04\x1b[2J", "data 1b5b324a", "1b5b324a", None),
        (b"\x6a\x02\nx", "data 0a78", "0a78", None),
        (b"\x6a\x02x\x7f", "data 787f", "787f", None),
        (b"\x6a\x06ab\xe2\x80\xae!", "data 6162e280ae21", "6162e280ae21", None),
        (b"\x6a\x03\xe2\x82\xac", "data e282ac", "e282ac", None),
        (b"\x6a\x5d\x02ab", "data script 6a5d026162", None, None),
        (b"\x6a\x05abc", "data script 6a05616263", None, None),
        (b"\x6a\x00", "no data", "", None),
    ],
)
def test_data_of_outputs(script: bytes, text: str, data: str | None, told: str | None) -> None:
    """As text where it is printable ASCII and nothing else; what computes is shown whole."""
    output = OutputSummary(0, 0, script, kind_of(script))
    assert destination(output, Chain.MAIN) == place(output, Chain.MAIN) == text
    assert (data_hex(output), data_text(output)) == (data, told)


@settings(deadline=None)
@given(data=st.binary(max_size=90))
def test_no_data_steers_a_terminal(data: bytes) -> None:
    script = b"\x6a" + push(data)
    text = destination(OutputSummary(0, 0, script, kind_of(script)), Chain.MAIN)
    assert text.isascii() and text.isprintable()


def test_anchors_are_named() -> None:
    output = OutputSummary(1, 240, ANCHOR, kind_of(ANCHOR))
    assert destination(output, Chain.MAIN) == "an anchor that anyone can spend (P2A), bc1pfeessrawgf"
    assert place(output, Chain.MAIN) == "an anchor that anyone can spend (P2A), bc1p fees sraw gf"
    assert output.address(Chain.REGTEST) == "bcrt1pfeesnyr2tx"
    assert data_hex(output) is None is data_text(output)


@pytest.mark.parametrize(
    ("lock_time", "sequence", "text"),
    [
        (0, 0, ""),
        (900_000, 0, "from block 900000 on"),
        (1_700_000_000, 0, "from time 1700000000 (Unix) on"),
        (0, 144, "for a coin that is 144 blocks old"),
        (0, 0x400001, "for a coin that is 512 seconds old"),
        (0, 0xFFFFFFFF, ""),
        (5, 1, "from block 5 on, for a coin that is 1 block old"),
    ],
)
def test_from_when_on_a_message_counts(lock_time: int, sequence: int, text: str) -> None:
    assert time_lock_text(lock_time, sequence) == text
