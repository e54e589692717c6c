"""BIP322 in all its forms: the published vectors, what other wallets write, and what somebody bends."""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from embit.script import address_to_scriptpubkey

from cryptnox_core.crypto.secp256k1 import ORDER, encode_der, parse_der
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.change import single_key_scripts
from hwilib_cryptnox.psbt.combine import finalized, rebuilt
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.judge import Verdict
from hwilib_cryptnox.psbt.message import to_sign, to_spend
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from hwilib_cryptnox.signer.bip322 import MAX_SIGNATURE, Form, Verified, digest_of, encode, verify, written
from tests.psbt.factory import ME, compact, deriv, le, multisig, p2pkh, p2wpkh, p2wsh, sha, spend, string
from tests.psbt.published import load
from tests.psbt.signing import sign
from tests.psbt.test_message import TEXT, challenge, request

MESSAGE = TEXT.encode()
KINDS = ("p2pkh", "p2sh-p2wpkh", "p2wpkh", "rawtr")
PATH = "m/84h/0h/0h/0/0"


def script_of(kind: str) -> bytes:
    return next(script for name, script in single_key_scripts(ME.key(PATH)).items() if name.value == kind)


def made(kind: str, message: bytes = MESSAGE) -> tuple[Form, str]:
    key, script = ME.private(PATH), script_of(kind)
    digest = digest_of(message, script, ME.key(PATH))
    signature = key.sign_schnorr(digest) if kind == "rawtr" else key.sign(digest, hasher=None)
    return encode(message, script, ME.key(PATH), signature)


def is_good(script: bytes, message: bytes, signature: str) -> bool:
    """Neither an error nor a doubt."""
    try:
        return verify(script, message, signature).verdict is Verdict.GOOD
    except UsageError:
        return False


# Vectors


def vectors(*groups: str) -> Iterator[dict[str, Any]]:
    for name in ("bip322-basic.json", "bip322-generated.json"):
        content = load(name)
        for group in groups:
            yield from content.get(group, ())


def test_good_vectors() -> None:
    counted = 0
    for case in vectors("simple", "full", "proof_of_funds"):
        script = address_to_scriptpubkey(case["address"]).data
        for signature in case["bip322_signatures"]:
            found = verify(script, case["message"].encode(), signature)
            assert found.verdict is Verdict.GOOD, (case["type"], found)
            assert (found.lock_time, found.sequence) == (case.get("lock_time", 0), case.get("sequence", 0))
            wanted = [coin for group in case.get("additional_inputs", ()) for coin in group]
            assert [coin.amount for coin in found.coins] == [coin["value"] for coin in wanted]
            counted += 1
    assert counted >= 11


def test_bad_vectors() -> None:
    cases = list(vectors("error"))
    assert len(cases) >= 12
    for case in cases:
        script = address_to_scriptpubkey(case["address"]).data
        assert not is_good(script, case["message"].encode(), case["signature"]), case["description"]


def test_every_vector_for_another_message_or_with_another_prefix() -> None:
    for case in vectors("simple", "full", "proof_of_funds"):
        script, signature = address_to_scriptpubkey(case["address"]).data, case["bip322_signatures"][0]
        assert not is_good(script, case["message"].encode() + b" ", signature)
        assert not is_good(p2wpkh(ME.key("m")), case["message"].encode(), signature)
        prefix = next((form.value for form in Form if signature.startswith(form.value)), "")
        for other in {form.value for form in Form} - {prefix or "smp"}:
            assert not is_good(script, case["message"].encode(), other + signature[len(prefix) :])


# What we write


@pytest.mark.parametrize(
    "message", [b"", b"x", MESSAGE, "long ₿ ".encode() * 20_000], ids=["none", "x", "text", "long"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind: str, message: bytes) -> None:
    form, text = made(kind, message)
    assert text.startswith(form.value) and form is (Form.SIMPLE if kind in ("p2wpkh", "rawtr") else Form.FULL)
    assert verify(script_of(kind), message, text).verdict is Verdict.GOOD
    for other in KINDS:
        assert is_good(script_of(other), message, text) is (other == kind)
    assert not is_good(script_of(kind), message + b"\n", text)


def test_a_signature_of_another_key_is_not_written() -> None:
    script = script_of("p2wpkh")
    foreign = ME.private("m/9").sign(digest_of(MESSAGE, script, ME.key(PATH)), hasher=None)
    with pytest.raises(UsageError, match="not belong to the address"):
        encode(MESSAGE, script, ME.key(PATH), foreign)
    with pytest.raises(UsageError, match="an address of one key"):
        digest_of(MESSAGE, p2wsh(b"\x51"), ME.key(PATH))


# What others write


@pytest.mark.parametrize("kind", ["p2wpkh", "rawtr", "p2sh-p2wpkh"])
def test_without_a_prefix(kind: str) -> None:
    """As implementations wrote it before the BIP had prefixes: simple, for nested addresses, too, or whole."""
    form, text = made(kind)
    bare = text[3:]
    if form is Form.FULL:
        assert verify(script_of(kind), MESSAGE, bare).form is Form.FULL
        witness = Transaction.parse(base64.b64decode(bare)).witnesses[0]
        raw = bytes((len(witness),)) + b"".join(bytes((len(item),)) + item for item in witness)
        bare = base64.b64encode(raw).decode()
        assert not is_good(script_of(kind), MESSAGE, "smp" + bare)  # with the prefix it is for native addresses alone
    found = verify(script_of(kind), MESSAGE, bare)
    assert (found.form, found.verdict) == (Form.SIMPLE, Verdict.GOOD)


def test_what_bitcoin_core_and_bip322_js_write() -> None:
    """Taproot with SIGHASH_ALL, and without a prefix."""
    address = "bc1ppv609nr0vr25u07u95waq5lucwfm6tde4nydujnu8npg4q75mr5sxq8lt3"
    text = "AUHd69PrJQEv+oKTfZ8l+WROBHuy9HKrbFCJu7U1iK2iiEy1vMU5EfMtjc+VSHM7aU0SDbak5IUZRVno2P5mjSafAQ=="
    script = address_to_scriptpubkey(address).data
    assert is_good(script, b"Hello World", text) and is_good(script, b"Hello World", "smp" + text)
    assert not is_good(script, b"Hello world", text)


def test_line_breaks_of_letters_do_no_harm() -> None:
    text = made("p2wpkh")[1]
    assert is_good(script_of("p2wpkh"), MESSAGE, "\n".join(text[at : at + 40] for at in range(0, len(text), 40)) + "\n")


# What somebody bends


@pytest.mark.parametrize("kind", KINDS)
def test_one_character_changed(kind: str) -> None:
    """No two texts of one signature: malleated forms, other padding and stray bits are not good."""
    _, text = made(kind)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    chance = random.Random(kind)
    for at in range(len(text)):
        if text[at] == "=":
            continue
        other = chance.choice([char for char in alphabet if char != text[at]])
        assert not is_good(script_of(kind), MESSAGE, text[:at] + other + text[at + 1 :]), at
    for bent in (
        text[:-4],
        text + "AAAA",
        text + "=",
        text[3:] + "=",
        "smp" + text,
        text.lower(),
        text.rstrip("=") + "!",
    ):
        if bent != text:
            assert not is_good(script_of(kind), MESSAGE, bent)


def test_high_s_is_bad() -> None:
    script = script_of("p2wpkh")
    r, s = parse_der(ME.private(PATH).sign(digest_of(MESSAGE, script, ME.key(PATH)), hasher=None))
    high = encode_der(r, ORDER - s) + b"\x01"
    raw = b"\x02" + bytes((len(high),)) + high + b"\x21" + ME.key(PATH)
    assert verify(script, MESSAGE, "smp" + base64.b64encode(raw).decode()).verdict is Verdict.BAD


@pytest.mark.parametrize("sighash", [2, 3, 0x81, 0x82, 0x83])
def test_other_sighash_types_are_bad(sighash: int) -> None:
    script, key = script_of("p2wpkh"), ME.key(PATH)
    digest = SignatureHasher(to_sign(MESSAGE, script)).segwit_v0(0, p2pkh(key), 0, sighash)
    signature = ME.private(PATH).sign(digest, hasher=None) + bytes((sighash,))
    raw = b"\x02" + bytes((len(signature),)) + signature + b"\x21" + key
    assert verify(script, MESSAGE, "smp" + base64.b64encode(raw).decode()).verdict is Verdict.BAD


def full(**changes: object) -> str:
    """A whole transaction, signed after it was changed."""
    script, key = script_of("p2wpkh"), ME.key(PATH)
    tx = replace(to_sign(MESSAGE, script), **changes)
    digest = SignatureHasher(tx).segwit_v0(0, p2pkh(key), 0, 1)
    signature = ME.private(PATH).sign(digest, hasher=None) + b"\x01"
    whole = replace(
        tx, script_sigs=(b"",) * len(tx.outpoints), witnesses=((signature, key), *[()] * (len(tx.outpoints) - 1))
    )
    return "ful" + base64.b64encode(whole.encode()).decode()


PLAIN = to_sign(MESSAGE, script_of("p2wpkh"))


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.GOOD),
        ({"version": bytes.fromhex("02000000")}, Verdict.GOOD),
        ({"version": bytes.fromhex("01000000")}, Verdict.UNKNOWN),
        ({"lock_time": bytes.fromhex("01000000")}, Verdict.GOOD),
        ({"outputs": ((0, b"\x6a\x00"),)}, Verdict.BAD),
        ({"outputs": ((1, b"\x6a"),)}, Verdict.BAD),
        ({"outputs": PLAIN.outputs * 2}, Verdict.BAD),
        ({"outputs": ()}, Verdict.BAD),
        ({"outpoints": (bytes(36),)}, Verdict.BAD),
        ({"outpoints": (PLAIN.outpoints[0][:32] + b"\x01\0\0\0",)}, Verdict.BAD),
        ({"outpoints": PLAIN.outpoints * 2, "sequences": PLAIN.sequences * 2}, Verdict.BAD),
        ({"outpoints": (*PLAIN.outpoints, bytes(36)), "sequences": PLAIN.sequences * 2}, Verdict.BAD),
    ],
)
def test_other_transactions(changes: dict[str, object], verdict: Verdict) -> None:
    assert verify(script_of("p2wpkh"), MESSAGE, full(**changes)).verdict is verdict


@pytest.mark.parametrize("script", [b"\x51\x02\x4e\x73", b"\x52\x20" + bytes(32), b"\x51\x03abc"])
def test_what_anyone_can_spend_proves_nothing(script: bytes) -> None:
    raw = replace(to_sign(MESSAGE, script), script_sigs=(b"",)).encode()
    assert verify(script, MESSAGE, "ful" + base64.b64encode(raw).decode()).verdict is Verdict.UNKNOWN


def test_sizes() -> None:
    with pytest.raises(UsageError, match="too long"):
        verify(script_of("p2wpkh"), MESSAGE, "smp" + "A" * MAX_SIGNATURE)
    for raw in (b"\xfe\xff\xff\xff\x7f", b"\x02\xfd\xff\xff", bytes((0xFF,)) * 9, b"psbt\xff"):
        for prefix in ("", "smp", "ful", "pof"):
            assert not is_good(script_of("p2wpkh"), MESSAGE, prefix + base64.b64encode(raw).decode())


def test_random_bytes_are_never_good() -> None:
    chance = random.Random(1)
    for _ in range(600):
        raw = chance.randbytes(chance.randint(0, 200))
        for prefix in ("", "smp", "ful", "pof"):
            assert not is_good(script_of(chance.choice(KINDS)), MESSAGE, prefix + base64.b64encode(raw).decode())


# From PSBTs, with coins and without


def finished(*kinds: str, **options: Any) -> tuple[Psbt, str]:
    coins = [spend(kind, number) for number, kind in enumerate(kinds[1:], 1)]
    psbt = finalized(sign(request(challenge(kinds[0], **options), *coins).encode())).psbt
    tx = Transaction.parse(extract(psbt))
    tx = tx if tx.witnesses else replace(tx, witnesses=((),) * len(tx.outpoints))
    return psbt, written(tx, spend(kinds[0]).script, psbt if coins else None)[1]


@pytest.mark.parametrize("kind", ["p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "p2sh-p2wsh", "rawtr", "tapscript"])
def test_a_signed_psbt_gives_the_shortest_form(kind: str) -> None:
    native = kind in ("p2wpkh", "p2wsh", "rawtr", "tapscript")
    _, text = finished(kind)
    assert text.startswith("smp" if native else "ful") and is_good(spend(kind).script, MESSAGE, text)
    _, text = finished(kind, sequence=5)
    assert text.startswith("ful") and verify(spend(kind).script, MESSAGE, text).sequence == 5


def test_a_proof_of_funds() -> None:
    psbt, text = finished("p2wpkh", "p2wpkh", "p2pkh", "rawtr")
    found = verify(spend("p2wpkh").script, MESSAGE, text)
    assert text.startswith("pof") and found.verdict is Verdict.GOOD
    assert [(coin.amount, coin.proved) for coin in found.coins] == [(100_000, True)] * 3
    outpoint = spend("p2wpkh", 1).outpoint
    assert (found.coins[0].txid, found.coins[0].index) == (outpoint[:32][::-1].hex(), 1)
    assert psbt.raw == base64.b64decode(text[3:])


def test_a_proof_of_funds_that_lies() -> None:
    script = spend("p2wpkh").script
    psbt, _ = finished("p2wpkh", "p2wpkh", "p2pkh")

    def bent(index: int, key: bytes, value: bytes | None) -> str:
        maps = [dict(fields.pairs) for fields in psbt.inputs]
        maps[index].pop(key, None)
        if value is not None:
            maps[index][key] = value
        raw = rebuilt(psbt, dict(psbt.globals), maps, [dict(fields.pairs) for fields in psbt.outputs]).raw
        return "pof" + base64.b64encode(raw).decode()

    more = (200_000).to_bytes(8, "little") + b"\x16" + spend("p2wpkh", 1).script
    assert is_good(script, MESSAGE, bent(1, b"\x08", psbt.inputs[1].pairs[b"\x08"]))
    for index, key, value in (
        (1, b"\x01", more),
        (1, b"\x08", psbt.inputs[0].pairs[b"\x08"]),
        (1, b"\x08", None),
        (2, b"\x07", None),
        (2, b"\x07", psbt.inputs[2].pairs[b"\x07"][:-1] + b"\x00"),
        (2, b"\x00", None),
        (2, b"\x00", spend("p2pkh", 7).previous_tx()),
        (0, b"\x08", psbt.inputs[1].pairs[b"\x08"]),
    ):
        assert not is_good(script, MESSAGE, bent(index, key, value)), (index, key)
    # A segwit coin's amount may be a claim: the signature commits to it.
    claimed = verify(script, MESSAGE, bent(1, b"\x00", None))
    assert claimed.verdict is Verdict.GOOD and [coin.proved for coin in claimed.coins] == [False, True]


def proof(amounts: list[int], *, proved: bool) -> Verified:
    """Of coins of one transaction, whatever amounts it is said to pay: by good signatures over just these."""
    paths = [PATH, *(f"m/84h/0h/0h/0/{number + 1}" for number in range(len(amounts)))]
    keys = [ME.key(path) for path in paths]
    outputs = b"".join(
        (amount % 2**64).to_bytes(8, "little") + string(p2wpkh(key))
        for amount, key in zip(amounts, keys[1:], strict=True)
    )
    previous = le(2) + b"\x01" + bytes(31) + b"\x07" + le(0) + b"\x00" + le(0xFFFFFFFF)
    previous += compact(len(amounts)) + outputs + le(0)
    points = [sha(sha(to_spend(MESSAGE, p2wpkh(keys[0])))) + le(0)]
    points += [sha(sha(previous)) + le(number) for number in range(len(amounts))]
    unsigned = le(0) + compact(len(points)) + b"".join(point + b"\x00" + le(0) for point in points)
    unsigned += b"\x01" + bytes(8) + b"\x01\x6a" + le(0)
    tx, whole = Transaction.parse(unsigned, witness=False), [0, *amounts]
    hasher = SignatureHasher(tx, [(amount, p2wpkh(key)) for amount, key in zip(whole, keys, strict=True)])
    maps = [[(b"\x00", unsigned), (b"\x09", MESSAGE)]]
    for index, (path, key, amount) in enumerate(zip(paths, keys, whole, strict=True)):
        made = ME.private(path).sign(hasher.segwit_v0(index, p2pkh(key), amount, 1), hasher=None) + b"\x01"
        claimed = (amount % 2**64).to_bytes(8, "little") + string(p2wpkh(key))
        fields = [(b"\x00", previous)] if proved and index == 1 else []
        maps.append([*fields, (b"\x01", claimed), (b"\x08", b"\x02" + string(made) + string(key))])
    raw = b"".join(b"".join(string(key) + string(value) for key, value in pairs) + b"\x00" for pairs in [*maps, []])
    return verify(p2wpkh(keys[0]), MESSAGE, "pof" + base64.b64encode(b"psbt\xff" + raw).decode())


ALL_BITCOIN = 21_000_000 * 100_000_000


@pytest.mark.parametrize("proved", [True, False])
@pytest.mark.parametrize(
    ("amounts", "verdict"),
    [
        ([5_000], Verdict.GOOD),
        ([ALL_BITCOIN], Verdict.GOOD),
        ([0, ALL_BITCOIN - 1, 1], Verdict.GOOD),
        ([ALL_BITCOIN + 1], Verdict.BAD),
        ([ALL_BITCOIN - 1, 2], Verdict.BAD),
        ([2**63 - 1], Verdict.BAD),
        ([-5], Verdict.BAD),
        ([-5, 10], Verdict.BAD),
        ([ALL_BITCOIN + 1, -1], Verdict.BAD),
    ],
)
def test_amounts_that_are_not_possible_are_bad(amounts: list[int], verdict: Verdict, proved: bool) -> None:
    """Their signatures are good: a transaction that nobody ever mined can say anything."""
    found = proof(amounts, proved=proved)
    assert found.verdict is verdict, found.reason
    if verdict is Verdict.GOOD:
        assert [(coin.amount, coin.proved) for coin in found.coins] == [(amount, proved) for amount in amounts]


def test_a_previous_transaction_of_many_inputs_is_read_once() -> None:
    """Not once for each: counted in calls, since a clock would measure the machine."""
    script, outputs = p2wpkh(ME.key(PATH)), 1_000
    previous = le(2) + b"\x01" + bytes(31) + b"\x07" + le(0) + b"\x00" + le(0xFFFFFFFF)
    previous += compact(outputs) + (bytes(8) + b"\x00") * outputs + le(0)

    def calls(inputs: int) -> int:
        points = [sha(sha(to_spend(MESSAGE, script))) + le(0)]
        points += [sha(sha(previous)) + le(number) for number in range(inputs)]
        unsigned = le(0) + compact(len(points)) + b"".join(point + b"\x00" + le(0) for point in points)
        unsigned += b"\x01" + bytes(8) + b"\x01\x6a" + le(0)
        final = (b"\x08", b"\x00")
        maps = [[(b"\x00", unsigned)], [final], [(b"\x00", previous), final], *[[final]] * (inputs - 1), []]
        raw = b"".join(b"".join(string(key) + string(value) for key, value in pairs) + b"\x00" for pairs in maps)
        seen = 0

        def look(_frame: object, event: str, _argument: object) -> None:
            nonlocal seen
            seen += event == "call"

        sys.setprofile(look)
        try:
            verify(script, MESSAGE, "pof" + base64.b64encode(b"psbt\xff" + raw).decode())
        finally:
            sys.setprofile(None)
        return seen

    assert calls(60) - calls(30) < 30 * outputs / 4


def test_several_signers() -> None:
    keys = [ME.key("m/1"), ME.key("m/2")]
    inner = multisig(2, keys)
    item = challenge(fields=[deriv("m/1"), deriv("m/2"), (b"\x05", inner)])
    item.script = p2wsh(inner)
    psbt = finalized(sign(request(item).encode())).psbt
    content = psbt.inputs[0].pairs[b"\x08"]
    assert is_good(p2wsh(inner), MESSAGE, "smp" + base64.b64encode(content).decode())
    assert not is_good(p2wsh(multisig(1, keys)), MESSAGE, "smp" + base64.b64encode(content).decode())
