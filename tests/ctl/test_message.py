"""`message`."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace

import pytest

from hwilib_cryptnox.psbt.message import to_sign
from hwilib_cryptnox.psbt.script import ANCHOR
from hwilib_cryptnox.psbt.tx import Transaction
from tests.ctl.program import PIN, answer, ended, run, shown, terminal, uncolored
from tests.psbt.factory import ME
from tests.psbt.published import load
from tests.support.emulator import EmulatorProcess

ADDRESS = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
"""The first segwit address of the mnemonic "abandon ... about", as in BIP84."""


@pytest.mark.parametrize(
    ("options", "form", "prefix"),
    [
        ((), "legacy", ("H", "I")),
        (("--bip322",), "bip322-simple", "smp"),
        (("--bip322", "--type", "p2pkh"), "bip322-full", "ful"),
        (("--bip322", "--type", "p2sh-p2wpkh"), "bip322-full", "ful"),
        (("--bip322", "--type", "rawtr"), "bip322-simple", "smp"),
        (("--bip322", "--path", "m/86h/0h/0h/0/3"), "bip322-simple", "smp"),
        (("--bip322", "--path", "m/49h/1h/0h/0/3"), "bip322-full", "ful"),
        (("--path", "m/44h/1h/0h/0/3"), "legacy", ("H", "I")),
    ],
)
def test_messages(card: EmulatorProcess, options: tuple[str, ...], form: str, prefix: str | tuple[str, ...]) -> None:
    made = answer(card, "message", "sign", "hello", *options, schema="message sign")
    assert made["format"] == form and made["signature"].startswith(prefix)
    for text, good in (("hello", True), ("hello!", False)):
        words = ("message", "verify", made["address"], made["signature"], text)
        data = answer(None, *words, schema="message verify", code=0 if good else 5)
        assert (data["valid"], data["state"]) == ((True, "valid") if good else (False, "invalid"))
        assert data["format"] == form and (data["reason"] is None) is good


def test_more_of_messages(card: EmulatorProcess) -> None:
    for options in ((), ("--bip322",)):
        made = answer(card, "message", "sign", "hello", *options, schema="message sign")
        for text, good in (("hello", True), ("hello!", False)):
            words = ("message", "verify", made["address"], made["signature"], text)
            data = answer(None, *words, schema="message verify", code=0 if good else 5)
            assert data["valid"] is good
    answer(None, "message", "verify", ADDRESS, "AAAA", "x", code=5)
    assert run(card, "message", "sign", "-", stdin="hello").returncode == 0
    answer(card, "message", "sign", "hello", "--type", "p2pkh", code=2)
    # A path of another network is not signed with by mistake.
    before = card.stats()["signatures"]
    for chain in (("--chain", "main"), ("--chain", "main", "--bip322")):
        answer(card, "message", "sign", "x", "--path", "m/84h/1h/0h/0/0", *chain, code=2)
    assert card.stats()["signatures"] == before


def test_a_proof_of_time_and_a_doubt() -> None:
    """What BIP322 calls valid at a time and age, and inconclusive."""
    cases = load("bip322-generated.json")["full"]
    case = next(one for one in cases if one["type"] == "p2tr-time-lock")
    words = ("message", "verify", case["address"], case["bip322_signatures"][0], case["message"])
    data = answer(None, *words, schema="message verify")
    assert (data["state"], data["lock_time"], data["sequence"]) == ("valid", 2016, 2016)
    text = run(None, *words).stdout
    assert "The signature has a time lock. It counts from block 2016 on, for a coin that is 2,016 blocks old" in text
    anchor, empty = "bc1pfeessrawgf", Transaction.parse(replace(to_sign(b"x", ANCHOR), script_sigs=(b"",)).encode())
    signature = "ful" + base64.b64encode(empty.encode()).decode()
    data = answer(None, "message", "verify", anchor, signature, "x", schema="message verify", code=5)
    assert (data["valid"], data["state"]) == (False, "inconclusive")


@pytest.mark.parametrize("columns", [40, 80])
def test_the_screen(card: EmulatorProcess, columns: int) -> None:
    """Address and signature are each on a line of their own, and whole."""
    with terminal(card, "message", "sign", "hello", "--bip322", columns=columns, rows=24, CRYPTNOX_PIN=PIN) as child:
        assert ended(child) == 0
        _, address, _, signature, *_ = uncolored(shown(child)).split("\n")
    with terminal(None, "message", "verify", address, signature, "hello", columns=columns, rows=24) as child:
        assert ended(child) == 0
        assert address in uncolored(shown(child)).split("\n")


@pytest.mark.parametrize("words", [["sign"], ["sign", "--bip322"], ["verify", "ADDRESS", "AAAA"]])
@pytest.mark.parametrize("message", [b"\xff", b"caf\xe9", b"\xed\xa0\x80"])
def test_a_message_that_is_no_text(card: EmulatorProcess, words: list[str], message: bytes) -> None:
    """From the command line and from stdin; no signature is asked for."""
    words = [ADDRESS if word == "ADDRESS" else word for word in words]
    command, options = ["message", words[0]], words[1:]
    for given, stdin in ((message, b""), (b"-", message)):
        # Only bytes get through unchanged, whatever the locale.
        done = run(card, *map(os.fsdecode, (*command, *options, given, "--json")), stdin=stdin)
        assert done.returncode == 5 and json.loads(done.stdout)["error"] == "the message: this is not text (UTF-8)"
    assert card.stats()["signatures"] == 0


def test_legacy_message_against_embit(card: EmulatorProcess) -> None:
    from embit import ec as embit_ec

    from hwilib_cryptnox.signer.messages import message_digest

    made = answer(card, "message", "sign", "hello", "--path", "m/44h/0h/0h/0/0", schema="message sign")
    raw = base64.b64decode(made["signature"])
    key = embit_ec.PublicKey.parse(ME.key("m/44h/0h/0h/0/0"))
    from embit.util import secp256k1

    assert key.verify(embit_ec.Signature(secp256k1.ecdsa_signature_parse_compact(raw[1:])), message_digest("hello"))
