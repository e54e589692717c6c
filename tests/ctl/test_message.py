"""`message`."""

from __future__ import annotations

import base64
import json
import os

import pytest

from tests.ctl.program import answer, run
from tests.psbt.factory import ME
from tests.support.emulator import EmulatorProcess

ADDRESS = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
"""The first segwit address of the mnemonic "abandon ... about", as in BIP84."""


def test_messages(card: EmulatorProcess) -> None:
    for options in ((), ("--bip322",)):
        made = answer(card, "message", "sign", "hello", *options, schema="message sign")
        for text, good in (("hello", True), ("hello!", False)):
            words = ("message", "verify", made["address"], made["signature"], text)
            data = answer(None, *words, schema="message verify", code=0 if good else 5)
            assert data["valid"] is good
    answer(None, "message", "verify", ADDRESS, "AAAA", "x", code=5)
    assert run(card, "message", "sign", "-", stdin="hello").returncode == 0


@pytest.mark.parametrize("words", [["sign"], ["sign", "--bip322"], ["verify", "ADDRESS", "AAAA"]])
@pytest.mark.parametrize("message", [b"\xff", b"caf\xe9", b"\xed\xa0\x80"])
def test_a_message_that_is_no_text(card: EmulatorProcess, words: list[str], message: bytes) -> None:
    """From the command line and from stdin; no signature is asked for."""
    words = [ADDRESS if word == "ADDRESS" else word for word in words]
    command, options = ["message", words[0]], words[1:]
    for given, stdin in ((message, b""), (b"-", message)):
        # Only bytes get through unchanged, whatever the locale.
        done = run(card, *map(os.fsdecode, (*command, *options, given, "--json")), stdin=stdin)
        assert done.returncode == 5 and json.loads(done.stdout)["error"] == "the message: this is no text (UTF-8)"
    assert card.stats()["signatures"] == 0


def test_legacy_message_against_embit(card: EmulatorProcess) -> None:
    from embit import ec as embit_ec

    from hwilib_cryptnox.signer.messages import message_digest

    made = answer(card, "message", "sign", "hello", "--path", "m/44h/0h/0h/0/0", schema="message sign")
    raw = base64.b64decode(made["signature"])
    key = embit_ec.PublicKey.parse(ME.key("m/44h/0h/0h/0/0"))
    from embit.util import secp256k1

    assert key.verify(embit_ec.Signature(secp256k1.ecdsa_signature_parse_compact(raw[1:])), message_digest("hello"))
