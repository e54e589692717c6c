"""Messages in disguise: what signs a message is told as one, and nothing that signs one passes for a payment."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embit.script import address_to_scriptpubkey

from hwilib_cryptnox.psbt import Psbt, PsbtError
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.message import Message, disguised_message, message_hash, to_spend
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.factory import (
    OTHER,
    Draft,
    In,
    Out,
    Pairs,
    compact,
    draft,
    le,
    p2wpkh,
    sha,
    sighash,
    spend,
    string,
    tagged,
)
from tests.psbt.signing import sign
from tests.support.kernel import failing_inputs

EMPTY_RETURN = Out(b"\x6a", 0)
KINDS = ("p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "p2sh-p2wsh", "miniscript", "rawtr", "tapscript")
TEXT = "I owe you a house. Zürich ₿"


def virtual(message: bytes, script: bytes) -> bytes:
    """BIP322's `to_spend`, written out."""
    sig = b"\x00\x20" + tagged("BIP0322-signed-message", message)
    head = le(0) + compact(1) + bytes(32) + b"\xff\xff\xff\xff" + string(sig) + le(0)
    return head + compact(1) + le(0, 8) + string(script) + le(0)


class Virtual(In):
    """An input that spends the `to_spend` of a message."""

    message = TEXT.encode()

    def previous_tx(self) -> bytes:
        return virtual(self.message, self.script)

    @property
    def outpoint(self) -> bytes:
        return sha(sha(self.previous_tx())) + le(0)


def challenge(kind: str = "p2wpkh", message: bytes = TEXT.encode(), **options: Any) -> Virtual:
    """Our key of a kind of script signs a message."""
    made = spend(kind)
    legacy = kind == "p2pkh"
    given = {"fields": made.fields, "witness_utxo": not legacy, "sequence": 0, **options}
    item = Virtual(made.script, **{"amount": 0, **given})
    item.message = message
    return item


def request(
    *ins: In, text: bytes | None = TEXT.encode(), outs: tuple[Out, ...] = (EMPTY_RETURN,), **options: Any
) -> Draft:
    """A PSBT that signs a message, by default as BIP322 wants it."""
    extra: Pairs = [] if text is None else [(b"\x09", text)]
    return Draft(list(ins), list(outs), **{"tx_version": 0, "extra": extra, **options})


def told(given: Draft) -> Message | None:
    return disguised_message(Psbt.parse(given.encode()))


def as_claim(item: Virtual) -> Virtual:
    """Without the previous transaction, as wallets write segwit inputs."""
    item.previous = False
    return item


# What is told


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize(
    ("kind", "previous"),
    [*((kind, True) for kind in KINDS), *((kind, False) for kind in KINDS if kind != "p2pkh")],
)
def test_a_message_is_told_and_its_signature_is_good(version: int, kind: str, previous: bool) -> None:
    given = request(challenge(kind, previous=previous), version=version)
    assert told(given) == Message(TEXT, spend(kind).script, (), 0, 0)
    if kind != "miniscript":  # its script has a lock and is no single key's: nobody finalizes it here
        assert failing_inputs(extract(sign(given.encode())), [(0, spend(kind).script)]) == []


@pytest.mark.parametrize("text", ["", "x", "line\nline", "long " * 40_000])
def test_any_text(text: str) -> None:
    message = told(request(challenge(message=text.encode()), text=text.encode()))
    assert message is not None and message.text == text and message.length == len(text.encode())


def test_from_when_on_it_counts() -> None:
    given = request(challenge(sequence=144), lock_time=900_000, tx_version=2)
    assert told(given) == Message(TEXT, spend("p2wpkh").script, (), 900_000, 144)


def test_a_proof_of_funds_names_its_coins() -> None:
    given = request(challenge(), spend("p2wpkh", 1), spend("p2pkh", 2))
    assert told(given) == Message(TEXT, spend("p2wpkh").script, (1, 2), 0, 0)


@pytest.mark.parametrize("ins", [["p2wpkh"], ["rawtr", "p2pkh"]])
def test_a_payment_is_none(ins: list[str]) -> None:
    assert told(draft(*(spend(kind, number) for number, kind in enumerate(ins)))) is None
    assert told(draft(spend("p2wpkh", previous=False))) is None


def test_what_a_miner_earned_is_no_message() -> None:
    """A coinbase has the same outpoint; its script begins with the height of the block."""

    class Earned(In):
        def previous_tx(self) -> bytes:
            head = le(1) + compact(1) + bytes(32) + b"\xff\xff\xff\xff" + string(b"\x03\x40\x0d\x03" + bytes(30))
            return head + le(0) + compact(1) + le(self.amount, 8) + string(self.script) + le(0)

        @property
        def outpoint(self) -> bytes:
            return sha(sha(self.previous_tx())) + le(0)

    made = spend("p2wpkh")
    assert told(draft(Earned(made.script, 5_000_000, made.fields))) is None


def test_an_anchor_of_nothing_is_no_message() -> None:
    """Somebody's keyless output of 0 satoshi (pay to anchor), spent beside ours to pay its fee."""
    assert told(draft(spend("rawtr"), In(b"\x51\x02\x4e\x73", 0, previous=False))) is None
    assert told(draft(spend("p2wpkh", amount=0), spend("p2wpkh", 1))) is None, "proved"


# What is refused


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_without_its_message_it_is_refused(version: int, kind: str) -> None:
    """However it is dressed up: the true form, further outputs, another transaction version, another place."""
    for given in (
        request(challenge(kind), text=None, version=version),
        request(challenge(kind), text=None, version=version, tx_version=2, lock_time=5),
        request(challenge(kind), text=None, version=version, outs=(Out(b"\x6a", 0), Out(b"\x6a\x01x", 0))),
        request(challenge(kind), text=None, version=version, outs=(Out(p2wpkh(OTHER.key("m/0")), 0),)),
        request(spend("p2wpkh", 1), challenge(kind), text=None, version=version),
    ):
        with pytest.raises(PsbtError, match=r"input [01]: it signs a message .* does not include the message"):
            told(given)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "p2pkh"])
@pytest.mark.parametrize("amount", [0, 5_000])
def test_hidden_by_leaving_the_previous_transaction_out(kind: str, amount: int) -> None:
    with pytest.raises(PsbtError, match="like a signed message"):
        told(request(challenge(kind, previous=False, amount=amount), text=None))


def test_somebody_elses_message_about_our_coins() -> None:
    """A proof of funds: the first input is the attacker's and names no key, the coins are ours."""
    path = "m/84h/0h/0h/0/0"
    theirs = Virtual(p2wpkh(OTHER.key(path)), 0, previous=False, sequence=0)
    for coin in (spend("rawtr"), spend("p2wpkh"), spend("p2pkh")):
        with pytest.raises(PsbtError, match=r"input 0: .*looks like a signed message"):
            told(request(theirs, coin, text=None))
        message = told(request(theirs, coin))
        assert message is not None and message.coins == (1,) and message.script == theirs.script


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "p2pkh"])
def test_nothing_of_0_satoshi_is_signed_on_somebodys_word(kind: str) -> None:
    """Not the form that verifiers want, but a signature for `to_spend` all the same."""
    for outs in ((Out(b"\x6a\x01x", 0),), (Out(p2wpkh(OTHER.key("m/0")), 90_000),)):
        for ins in ([challenge(kind, previous=False), spend("p2wpkh", 1)], [spend("p2wpkh", 1), challenge(kind)]):
            ins = [as_claim(item) if isinstance(item, Virtual) else item for item in ins]
            with pytest.raises(PsbtError, match="0 satoshi"):
                told(request(*ins, text=None, outs=outs))
    with pytest.raises(PsbtError, match=r"input 1: .*0 satoshi"):
        told(request(challenge(), as_claim(challenge(kind, message=b"another"))))


def mismatched() -> Iterator[tuple[str, Draft, str]]:
    yield "another message", request(challenge(message=b"you owe me a house")), "signs a different message"
    bent = request(as_claim(challenge()))
    bent.inputs[0][0] = (b"\x01", le(0, 8) + string(spend("p2wpkh", 1).script))
    yield "another script in the witness_utxo", bent, "signs a different message"
    yield "money in it", request(challenge(previous=False, amount=1)), "hold money"
    yield "a payment", request(spend("p2wpkh")), "signs a different message"
    yield "a payment to somebody", request(spend("p2wpkh"), outs=(Out(b"\x51\x20" + bytes(32)),)), "does not sign one"
    yield "an output more", request(challenge(), outs=(EMPTY_RETURN, EMPTY_RETURN)), "does not sign one"
    yield "data in the output", request(challenge(), outs=(Out(b"\x6a\x01x", 0),)), "does not sign one"
    yield "transaction version 1", request(challenge(), tx_version=1), "does not sign one"
    yield "transaction version 3", request(challenge(), tx_version=3), "does not sign one"
    yield "no UTXO", request(challenge(previous=False, witness_utxo=False)), "whose address"
    yield "two messages", request(challenge(), challenge("p2wsh", b"another")), "input 1: .*second message"
    yield "not the first", request(spend("p2wpkh", 1), challenge()), "signs a different message"
    yield "no inputs", request(), "no input"
    for value in (2, 3, 0x81, 0x82, 0x83):
        whose = challenge(fields=[*spend("p2wpkh").fields, sighash(value)])
        yield f"sighash type {value}", request(whose), "sighash type ALL"
        coin = spend("p2wpkh", 1, fields=[*spend("p2wpkh", 1).fields, sighash(value)])
        yield f"sighash type {value} of a coin", request(challenge(), coin), "input 1: .*sighash type ALL"
    for content in (b"\xff", b"abc\xc3", b"\xed\xa0\x80"):
        yield f"no UTF-8: {content.hex()}", request(challenge(message=content), text=content), "not UTF-8 text"


@pytest.mark.parametrize(
    ("given", "reason"), [pytest.param(given, reason, id=name) for name, given, reason in mismatched()]
)
def test_a_message_that_is_not_what_is_signed(given: Draft, reason: str) -> None:
    with pytest.raises(PsbtError, match=reason):
        told(given)


def test_the_field_has_no_key_data() -> None:
    given = request(challenge())
    given.extra = [(b"\x09\x00", b"x")]
    with pytest.raises(PsbtError, match="message: key data"):
        told(given)


def test_the_whole_sighash_types_are_taken() -> None:
    assert told(request(challenge(fields=[*spend("p2wpkh").fields, sighash(1)]))) is not None
    assert told(request(challenge("rawtr", fields=[*spend("rawtr").fields, sighash(0)]))) is not None


# Published vectors


def test_a_published_message() -> None:
    """BIP322: hashes and both transactions."""
    script = bytes.fromhex("00142b05d564e6a7a33c087f16e0f730d1440123799d")
    assert message_hash(b"Hello World").hex() == "f0eb03b1a75ac6d9847f55c624a99169b5dccba2a31f5b23bea77ba270de0a7a"
    spent = sha(sha(to_spend(b"Hello World", script)))
    assert spent[::-1].hex() == "b79d196740ad5217771c1098fc4a4b51e0535c32236c71f1ea4d61a2d603352b"
    item = Virtual(script, 0, sequence=0)
    item.message = b"Hello World"
    psbt = Psbt.parse(request(item, text=b"Hello World").encode())
    to_sign = sha(sha(psbt.unsigned_tx()))[::-1].hex()
    assert to_sign == "88737ae86f2077145f93cc4b153ae9a1cb8d56afa511988c149c5c8c9d93bddf"
    assert disguised_message(psbt) == Message("Hello World", script, (), 0, 0)


def vector_cases(folder: Path) -> Iterator[dict[str, Any]]:
    for name in ("bip322-basic.json", "bip322-generated.json"):
        content = json.loads((folder / name).read_text("utf-8"))
        for group in ("tx_hashes", "simple", "full", "proof_of_funds"):
            yield from ({**case, "group": group} for case in content.get(group, []))


def test_all_vectors(vectors: Path) -> None:
    """The PSBT of each is told as its message, without its field it is refused, and what it signs is what they
    signed."""
    count = 0
    for case in vector_cases(vectors):
        text, script = case["message"].encode(), bytes(address_to_scriptpubkey(case["address"]).data)
        options = {"tx_version": case.get("tx_version", 0), "lock_time": case.get("lock_time", 0)}
        item = Virtual(script, 0, witness_utxo=False, sequence=case.get("sequence", 0))
        item.message = text
        given = request(item, text=text, **options)
        message = told(given)
        assert message is not None and (message.text, message.script) == (case["message"], script)
        with pytest.raises(PsbtError, match="does not include the message"):
            told(request(item, text=None, **options))
        unsigned = Psbt.parse(given.encode()).unsigned_tx()
        if case["group"] == "tx_hashes":
            assert message_hash(text).hex() == case["message_hash"]
            assert sha(sha(to_spend(text, script)))[::-1].hex() == case["to_spend_tx_hash"]
            assert sha(sha(unsigned))[::-1].hex() == case["to_sign_tx_hash"]
        for signature in case.get("bip322_signatures", []):
            raw = base64.b64decode(signature[3:]) if signature[:3] in ("ful", "pof") else b""
            if signature.startswith("ful"):
                theirs = Transaction.parse(raw)
                bare = Transaction(theirs.version, theirs.outpoints, theirs.sequences, theirs.outputs, theirs.lock_time)
                assert bare.encode() == unsigned
            elif raw:
                with pytest.raises(PsbtError, match="BIP322"):  # verifiers know the message already
                    disguised_message(Psbt.parse(raw))
                psbt = Psbt.parse(raw[:5] + string(b"\x09") + string(text) + raw[5:])
                if psbt.inputs[0].previous is None and psbt.inputs[0].witness_utxo is None:
                    with pytest.raises(PsbtError, match="whose address"):
                        disguised_message(psbt)
                    continue
                found = disguised_message(psbt)
                assert found is not None and found.text == case["message"]
                assert found.coins == tuple(range(1, len(psbt.inputs)))
                assert (found.lock_time, found.sequence) == (case["lock_time"], case["sequence"])
        count += 1
    assert count > 20
