"""What this computer remembers of signatures: the lines, the warnings before, and that no nonce is used twice."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embit.psbt import PSBT as EmbitPsbt

from cryptnox_core.card import Card
from cryptnox_core.crypto.secp256k1 import ORDER, encode_der, parse_der
from cryptnox_core.emulator import curves
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.psbt import NoticeKind, Plan, Policy, Psbt, SignatureKind, collect, plan
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.tx import Transaction
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.signatures.memory import (
    BROUGHT_NONCE_TEXT,
    REPEATED_NONCE_TEXT,
    RepeatedNonceError,
    SignatureMemory,
    nonces_in,
)
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage import state as state_module
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.signature_log import AUDIT, INDEX, NONCES
from hwilib_cryptnox.storage.state import State
from tests.ctl.program import answer as ctl
from tests.ctl.program import run as run_ctl
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import (
    ME,
    OTHER,
    SPEND_PATH,
    Draft,
    In,
    Out,
    Pairs,
    compact,
    deriv,
    draft,
    le,
    out_deriv,
    p2wpkh,
    spend,
    string,
    tap_deriv,
)
from tests.signer.test_signing import account, check
from tests.support.emulator import PIN, EmulatorProcess

ECDSA, SCHNORR = SignatureKind.ECDSA, SignatureKind.SCHNORR


def audit_off() -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("audit = false\n")


def card_with(*faults: str) -> EmulatorProcess:
    options = [option for fault in faults for option in ("--fault", fault)]
    return EmulatorProcess("--seed", SEED, "--xpub-export", *options)


def requests_of(given: Draft) -> dict[int, Any]:
    """What is to be signed, by input."""
    psbt = Psbt.parse(given.encode())
    collected = collect(psbt, ME.fingerprint)
    made = plan(psbt, collected, ME.keys(collected.all_paths), Policy())
    return {request.input_index: request for request in made.requests}


# The lines


def test_what_is_noted(signer: EmulatorProcess, hwi: Program, state: State) -> None:
    """All in one line before, and a line for each signature with its coin."""
    given = draft(spend("p2wpkh"), spend("p2pkh", 1), spend("rawtr", 2))
    started = int(time.time())
    signed = check(hwi.on(signer, "signtx", given.base64()), given)
    asked, *made = state.audited()
    txid = EmbitPsbt.from_string(signed.to_base64()).tx.txid().hex()
    requests = requests_of(given)
    assert asked["event"] == "asked" and asked["digests"] == [requests[n].digest.hex() for n in range(3)]
    assert [entry["event"] for entry in made] == ["made"] * 3
    for entry in (asked, *made):
        assert entry["serial"] == str(signer.serial) and entry["txid"] == txid
        assert started <= int(str(entry["time"])) <= time.time()
    by_digest = {entry["digest"]: entry for entry in made}
    for index, item in enumerate(given.ins):
        entry = by_digest[requests[index].digest.hex()]
        assert entry["outpoint"] == f"{item.outpoint[31::-1].hex()}:1"
        assert int(str(entry["r"]), 16) in nonces_in(signed)
    assert len({(entry["payees"], entry["ours"], entry["fingerprint"]) for entry in made}) == 1
    assert hwi.on(signer, "signmessage", "hello", "m/44h/0h/0h/0/0")["signature"]
    asked, last = state.audited()[-2:]
    assert (asked["event"], asked["txid"], last["event"], last["txid"]) == ("asked", None, "made", None)
    assert asked["digests"] == [last["digest"]] and "outpoint" not in last


def test_asked_is_on_disk_before_the_card_is_asked(signer: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was made before anything is handed out."""
    order: list[str] = []
    sync, really = os.fsync, Card.sign

    def noted_sync(descriptor: int) -> None:
        file = State().folder / AUDIT
        if file.exists() and os.path.samestat(os.fstat(descriptor), file.stat()):
            order.append("disk")
        sync(descriptor)

    def noted_sign(self: Card, *arguments: Any, **options: Any) -> bytes:
        order.append("card")
        return really(self, *arguments, **options)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Card, "sign", noted_sign)
    wallet = wallet_on(signer)
    Signing(wallet, Psbt.parse(draft(spend("p2wpkh"), spend("p2wpkh", 1)).base64())).run()
    wallet.sign_message("x", requests_of(draft(spend("p2pkh")))[0].path)
    wallet.close()
    assert order == ["disk", "card", "card", "disk", "disk", "card", "disk"]


def test_switched_off_only_nonces_are_noted(signer: EmulatorProcess, hwi: Program, state: State) -> None:
    audit_off()
    given = draft(spend("p2wpkh"), spend("p2pkh", 1))
    check(hwi.on(signer, "signtx", given.base64()), given)
    hwi.on(signer, "signmessage", "hello", "m/44h/0h/0h/0/0")
    assert state.audited() == [] and not (state.folder / AUDIT).exists()
    lines = [json.loads(line) for line in (state.folder / NONCES).read_text().splitlines()]
    assert len(lines) == 3 and all(set(line) == {"r", "of"} for line in lines)


def test_a_signature_made_again_is_noted_again(hwi: Program, state: State) -> None:
    """The first one was lost on the way: one line asks for both, one tells of the second."""
    given = draft(spend("p2wpkh"))
    with card_with("garbage@C0:1") as card:
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["signatures"] == 2
        assert [entry["event"] for entry in state.audited()] == ["asked", "made"]
        data = ctl(card, "audit")
        assert (data["elsewhere"], data["unanswered"], data["compared"]) == ([], [], 2)


# A nonce that comes again


def wallet_on(card: EmulatorProcess) -> Wallet:
    settings, state = Settings.load(), State()
    return Wallet(card.path, Access(settings, state), Unlocker(settings, state, PIN))


def refused_bytes(request: Any, nonce: int) -> bytes:
    """The s of the signature that must not be seen: it is what r was seen with before that it gives away."""
    secret = int.from_bytes(ME.private(request.path).secret, "big")
    if request.kind is SCHNORR:
        return curves.schnorr_with(secret, request.digest, nonce)[32:]
    return parse_der(curves.ecdsa_with(secret, request.digest, nonce))[1].to_bytes(32, "big")


def nonce_used(request: Any, signature: bytes) -> int:
    secret = int.from_bytes(ME.private(request.path).secret, "big")
    return curves.nonce_of(secret, request.digest, signature, schnorr=request.kind is SCHNORR)


def check_nowhere(secret: bytes, *said: str) -> None:
    """Neither in a file of the state folder nor in what was said, in any usual spelling."""
    contents = [path.read_bytes() for path in State().folder.rglob("*") if path.is_file()]
    contents += [text.encode() for text in said]
    needles = [secret, secret.hex().encode(), secret.hex().upper().encode(), secret[::-1], str(list(secret)).encode()]
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + secret)
        needles.append(encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4])
    assert contents
    for content in contents:
        assert not any(needle in content for needle in needles)


def kept_signatures() -> list[dict[str, str]]:
    return [
        json.loads(line)
        for path in (State().folder / "partial").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]


@pytest.mark.parametrize("audit", [True, False])
@pytest.mark.parametrize("kinds", [("p2wpkh", "p2wpkh"), ("p2wpkh", "rawtr"), ("rawtr", "p2pkh"), ("rawtr", "rawtr")])
def test_in_one_run(hwi: Program, kinds: tuple[str, str], audit: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Refused, the signature is nowhere, the good one is kept; the next attempt asks for the missing one only."""
    if not audit:
        audit_off()
    caplog.set_level(logging.DEBUG)
    given = draft(spend(kinds[0]), spend(kinds[1], 1))
    requests = {request.digest.hex(): request for request in requests_of(given).values()}
    with card_with("repeat-nonce@C0:2") as card:
        answer = hwi.on(card, "signtx", given.base64())
        assert answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
        assert card.stats()["signatures"] == 2, "nothing was tried again by itself"
        (kept,) = kept_signatures()
        first = requests.pop(kept["digest"])
        (second,) = requests.values()
        secret = refused_bytes(second, nonce_used(first, bytes.fromhex(kept["signature"])))
        check_nowhere(secret, json.dumps(answer), caplog.text)
        data = ctl(card, "audit", code=1, schema="audit")
        if audit:
            assert data["elsewhere"] == data["unanswered"] == []
            assert [entry["digest"] for entry in data["repeated_nonce"]] == [second.digest.hex()]
            told = run_ctl(card, "audit")
            assert told.returncode == 1 and "Stop using this card" in told.stdout
            assert "(discarded)" in run_ctl(card, "history").stdout
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["signatures"] == 3


@pytest.mark.parametrize("audit", [(True, True), (False, False), (True, False), (False, True)])
@pytest.mark.parametrize("kinds", [("p2wpkh", "p2wpkh"), ("p2pkh", "rawtr"), ("rawtr", "p2wpkh")])
def test_in_a_later_run(hwi: Program, kinds: tuple[str, str], audit: tuple[bool, bool]) -> None:
    """Another transaction, days later, whatever is switched off by then; the index may be gone."""
    first, second = draft(spend(kinds[0])), draft(spend(kinds[1], 1))
    with card_with("repeat-nonce@C0:2", "repeat-nonce@C0:3") as card:
        if not audit[0]:
            audit_off()
        signed = check(hwi.on(card, "signtx", first.base64()), first)
        config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
        config.unlink(missing_ok=True)
        if not audit[1]:
            audit_off()
        request = requests_of(first)[0]
        (value,) = (v for k, v in signed.inputs[0].pairs.items() if k[0] in (0x02, 0x13))
        nonce = nonce_used(request, value[:-1] if request.kind is ECDSA else value[:64])
        for _ in range(2):
            answer = hwi.on(card, "signtx", second.base64())
            assert answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
            check_nowhere(refused_bytes(requests_of(second)[0], nonce), json.dumps(answer))
            assert kept_signatures() == []
            (State().folder / INDEX).unlink()
        check(hwi.on(card, "signtx", second.base64()), second)


def message_by_hwi(hwi: Program, card: EmulatorProcess, text: str) -> Any:
    return hwi.on(card, "signmessage", text, "m/84h/0h/0h/0/0")


def message_by_ctl(*options: str) -> Callable[[Program, EmulatorProcess, str], Any]:
    def sign(hwi: Program, card: EmulatorProcess, text: str) -> Any:
        done = run_ctl(card, "message", "sign", text, "--path", "m/84h/0h/0h/0/0", "--json", *options)
        data = json.loads(done.stdout or done.stderr)
        return data if done.returncode == 0 else {"error": data["error"], "code": -13}

    return sign


def transaction(hwi: Program, card: EmulatorProcess, text: str) -> Any:
    return hwi.on(card, "signtx", draft(spend("p2wpkh", salt=len(text))).base64())


def transaction_by_ctl(hwi: Program, card: EmulatorProcess, text: str) -> Any:
    path = Path(os.environ["XDG_CONFIG_HOME"]) / f"{text}.psbt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(draft(spend("p2wpkh", salt=len(text))).base64())
    done = run_ctl(card, "sign", "--yes", "--json", str(path))
    assert path.with_name(f"{text}-signed.psbt").exists() == (done.returncode == 0)
    data = json.loads(done.stdout or done.stderr)
    return {"signed": True} if done.returncode == 0 else {"error": data["error"], "code": -13}


WAYS = {
    "signtx": transaction,
    "signmessage": message_by_hwi,
    "ctl sign": transaction_by_ctl,
    "ctl message": message_by_ctl(),
    "ctl message bip322": message_by_ctl("--bip322"),
}


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", ["signtx", "ctl message bip322"])
def test_by_every_command(hwi: Program, first: str, second: str) -> None:
    """All of them sign with the same key here."""
    with card_with("repeat-nonce@C0:2") as card:
        assert "error" not in WAYS[first](hwi, card, "one")
        answer = WAYS[second](hwi, card, "three")
        assert answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
        assert "error" not in WAYS[second](hwi, card, "three")


def test_the_same_message_again_may_have_the_same_nonce(hwi: Program) -> None:
    """As with a card whose nonces follow from key and digest: it is the same signature."""
    with card_with("repeat-nonce@C0:2") as card:
        one, two = (message_by_hwi(hwi, card, "hello") for _ in range(2))
        assert one == two and one["signature"]


def test_what_a_nonce_may_serve(state: State) -> None:
    """One kind, one key, one digest. Both kinds over one digest give the key away, too; so does another key, since keys
    of a wallet differ by what is known."""
    key, other = ME.key("m/84h/0h/0h/0/0"), ME.key("m/84h/0h/0h/0/1")
    nonce, digest = 2**200 + 12345, b"d" * 32
    der = encode_der(nonce, 77)
    schnorr = nonce.to_bytes(32, "big") + b"s" * 32

    def judge(*arguments: Any) -> None:
        SignatureMemory(Settings(), State()).admit(*arguments)

    judge(digest, key, der, ECDSA)
    judge(digest, key, der, ECDSA)
    for wrong in (
        (digest, key, schnorr, SCHNORR),
        (digest, other, der, ECDSA),
        (b"e" * 32, key, der, ECDSA),
        (b"f" * 32, other, schnorr, SCHNORR),
    ):
        with pytest.raises(RepeatedNonceError):
            judge(*wrong)
    # BIP340 has the x coordinate itself, ECDSA has it modulo the order.
    judge(digest, key, (ORDER + 5).to_bytes(32, "big") + b"s" * 32, SCHNORR)
    with pytest.raises(RepeatedNonceError):
        judge(digest, key, encode_der(5, 9), ECDSA)


@pytest.mark.parametrize("kind", ["p2wpkh", "p2pkh", "rawtr"])
@pytest.mark.parametrize("high", [False, True])
def test_the_very_signature_is_no_repeated_nonce(state: State, kind: str, high: bool) -> None:
    """A co-signer copied ours into a field of another input, where it is nothing. Another one of its nonce is refused
    all the same, also where both are there."""
    request = requests_of(draft(spend(kind)))[0]
    signature = ME.sign(request)
    ecdsa = request.kind is ECDSA
    if ecdsa:
        r, s = parse_der(signature)
        signature, other = encode_der(r, ORDER - s if high else s), encode_der(r, 12_345)
    else:
        other = signature[:32] + bytes(31) + b"\x05"

    def judged(*brought: bytes) -> None:
        given = draft(spend(kind), *(In(p2wpkh(OTHER.key(f"m/{number}")), salt=9) for number in range(len(brought))))
        for number, value in enumerate(brought):
            pairs = given.inputs[number + 1]
            pairs.append((b"\x02" + OTHER.key(f"m/{number}"), value + b"\x01") if ecdsa else (b"\x13", value))
        memory = SignatureMemory(Settings(), state)
        memory.begin(1, Psbt.parse(given.encode()))
        memory.admit(request.digest, request.public_key, signature, request.kind)

    low = encode_der(r, s) if ecdsa else signature
    judged(low)
    judged(low, low)
    for brought in ((other,), (low, other), (other, low)):
        with pytest.raises(RepeatedNonceError) as caught:
            judged(*brought)
        assert str(caught.value) == BROUGHT_NONCE_TEXT


def half(given: Draft, index: int) -> Draft:
    """The same transaction with our derivation at one input only."""
    copy = Draft(given.ins, given.outs)
    for number, pairs in enumerate(copy.inputs):
        if number != index:
            copy.inputs[number] = [pair for pair in pairs if pair[0][0] not in (0x06, 0x16)]
    return copy


@pytest.mark.parametrize("kinds", [("p2wpkh", "p2wpkh"), ("rawtr", "p2wpkh"), ("p2pkh", "rawtr"), ("p2wpkh", "rawtr")])
@pytest.mark.parametrize("final", [False, True])
def test_signed_on_another_computer(
    hwi: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kinds: tuple[str, str], final: bool
) -> None:
    """That computer's memory is not here, and the PSBT brings the signature, final or not."""
    given = draft(spend(kinds[0]), spend(kinds[1], 1))
    with card_with("repeat-nonce@C0:2") as card:
        with monkeypatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
            theirs = Psbt.parse(hwi.on(card, "signtx", half(given, 0).base64())["psbt"])
        (signature,) = (pair for pair in theirs.inputs[0].pairs.items() if pair[0][0] in (0x02, 0x13))
        first, second = requests_of(half(given, 0))[0], requests_of(half(given, 1))[1]
        nonce = nonce_used(first, signature[1][:-1] if first.kind is ECDSA else signature[1][:64])
        if final:
            stack = [signature[1], *([signature[0][1:]] if first.kind is ECDSA else [])]
            packed = b"".join(map(string, stack))
            signature = (b"\x07", packed) if kinds[0] == "p2pkh" else (b"\x08", compact(len(stack)) + packed)
        given.inputs[0].append(signature)
        answer = hwi.on(card, "signtx", given.base64())
        assert answer == {"error": BROUGHT_NONCE_TEXT, "code": -13}
        check_nowhere(refused_bytes(second, nonce), json.dumps(answer))
        assert ctl(card, "audit", code=1, schema="audit")["repeated_nonce"] == [], (
            "whether the card did it is not known"
        )
        assert hwi.on(card, "signtx", given.base64())["signed"] is True


def test_kept_by_an_earlier_version(hwi: Program, state: State) -> None:
    """It made the signature, and did not know the nonce's past: it is thrown away here, too."""
    first, second = draft(spend("p2wpkh")), draft(spend("p2wpkh", 1))
    with card_with() as card:
        signed = check(hwi.on(card, "signtx", first.base64()), first)
        (value,) = (v for k, v in signed.inputs[0].pairs.items() if k[0] == 0x02)
        nonce = nonce_used(requests_of(first)[0], value[:-1])
        request = requests_of(second)[0]
        secret = int.from_bytes(ME.private(request.path).secret, "big")
        signature = curves.ecdsa_with(secret, request.digest, nonce)
        transaction = Psbt.parse(second.encode()).unsigned_tx()
        state.keep_partial(
            transaction,
            [{"digest": request.digest.hex(), "key": request.public_key.hex(), "signature": signature.hex()}],
        )
        answer = hwi.on(card, "signtx", second.base64())
        assert answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
        check_nowhere(refused_bytes(request, nonce), json.dumps(answer))
        check(hwi.on(card, "signtx", second.base64()), second)


@pytest.mark.parametrize("audit", [True, False])
def test_without_a_state_one_run_still_compares(hwi: Program, audit: bool) -> None:
    """Nothing can be written: that is said once, and the nonces of this run are known all the same."""
    if not audit:
        audit_off()
    state = Path(os.environ["XDG_STATE_HOME"])
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("a file in the way")
    given = draft(spend("p2wpkh"), spend("p2wpkh", 1))
    with card_with("repeat-nonce@C0:2") as card:
        outcome = hwi.outcome("-t", "cryptnox", "-d", card.path, "-p", PIN, "signtx", given.base64())
        assert outcome.answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
        assert outcome.error.count("a file in the way") == 0 and len(outcome.error.splitlines()) == 2
        outcome = hwi.outcome("-t", "cryptnox", "-d", card.path, "-p", PIN, "signtx", given.base64())
        assert outcome.answer["signed"] is True
        noted, compared = outcome.error.splitlines()
        assert noted.startswith("no audit line was written" if audit else "no record was kept of what the card signed")
        assert compared.startswith("what the card signed could not be compared with earlier signatures: ")


# A state that cannot be changed just then


class Obstacle:
    """Something that keeps the state from being changed, from `begin` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: contextlib.ExitStack) -> None:
        self.monkeypatch = monkeypatch
        self.place = tmp_path / "place"
        self.ending = ending
        self.prepare()

    def prepare(self) -> None:
        """Before anything is signed."""

    def begin(self) -> None:
        raise NotImplementedError

    def mount(self, place: Path, *options: str) -> None:
        """Mounted until the test ends; the test is skipped where this user may not."""
        place.mkdir(exist_ok=True)
        mount = shutil.which("mount")
        if os.geteuid() != 0 or mount is None or subprocess.run([mount, *options, place], check=False).returncode:
            pytest.skip("nothing can be mounted here")
        self.ending.callback(subprocess.run, ["umount", "-l", place], check=False)


class Held(Obstacle):
    """Another process has the lock."""

    def begin(self) -> None:
        code = "import fcntl, sys\nfile = open(sys.argv[1])\nfcntl.flock(file, 2)\nprint('held', flush=True)\ninput()"
        file = State().folder / "lock"
        holder = subprocess.Popen([sys.executable, "-c", code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ending.callback(holder.communicate)
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        self.monkeypatch.setattr(state_module, "LOCK_WAIT", 0.05)


class ReadOnly(Obstacle):
    """The folder cannot be written."""

    def begin(self) -> None:
        self.mount(self.place, "--bind", str(State().folder.parent))
        self.mount(self.place, "-o", "remount,ro,bind")
        self.monkeypatch.setenv("XDG_STATE_HOME", str(self.place))


class Full(Obstacle):
    """The disk is full, and the index is gone: no other can be made."""

    def prepare(self) -> None:
        self.mount(self.place, "-t", "tmpfs", "-o", "size=256k", "tmpfs")
        self.monkeypatch.setenv("XDG_STATE_HOME", str(self.place))

    def begin(self) -> None:
        (State().folder / INDEX).unlink()
        with pytest.raises(OSError, match="No space left"), (self.place / "fill").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))


@pytest.fixture(params=[Held, ReadOnly, Full])
def obstacle(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Obstacle]:
    with contextlib.ExitStack() as ending:
        yield request.param(monkeypatch, tmp_path, ending)


@pytest.mark.parametrize("audit", [True, False])
def test_where_the_state_cannot_be_changed(hwi: Program, obstacle: Obstacle, audit: bool) -> None:
    """In a later run: what can be read is compared all the same, without a lock and without the index."""
    if not audit:
        audit_off()
    first, second = draft(spend("p2wpkh")), draft(spend("p2wpkh", 1))
    with card_with("repeat-nonce@C0:2", "repeat-nonce@C0:3") as card:
        signed = check(hwi.on(card, "signtx", first.base64()), first)
        (value,) = (v for k, v in signed.inputs[0].pairs.items() if k[0] == 0x02)
        nonce = nonce_used(requests_of(first)[0], value[:-1])
        obstacle.begin()
        options = ("-t", "cryptnox", "-d", card.path, "-p", PIN, "signtx")
        outcome = hwi.outcome(*options, second.base64())
        assert outcome.answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
        check_nowhere(refused_bytes(requests_of(second)[0], nonce), json.dumps(outcome.answer), outcome.error)
        assert "could not be compared" not in outcome.error
        outcome = hwi.outcome(*options, first.base64())  # the same signature once more gives nothing away
        assert check(outcome.answer, first).inputs[0].pairs == signed.inputs[0].pairs
        outcome = hwi.outcome(*options, second.base64())
        check(outcome.answer, second)
        (line,) = outcome.error.splitlines()
        assert line.startswith("no audit line was written" if audit else "no record was kept of what the card signed")


def test_musig2_nonces_where_the_state_cannot_be_changed(obstacle: Obstacle) -> None:
    """Neither half of a card's public nonce may come again, be it with a signature of another kind."""
    digest, halves = b"d" * 32, [ME.key(f"m/{number}") for number in range(6)]
    r = [int.from_bytes(half[1:], "big") % ORDER for half in halves]

    def memory() -> SignatureMemory:
        return SignatureMemory(Settings(), State())

    memory().admit_nonce(digest, halves[0] + halves[1])
    memory().admit(digest, halves[5], encode_der(r[2], 77))
    obstacle.begin()
    for nonce in (halves[0] + halves[3], halves[3] + halves[1], halves[2] + halves[3], halves[3] + halves[2]):
        with pytest.raises(RepeatedNonceError):
            memory().admit_nonce(digest, nonce)
    with pytest.raises(RepeatedNonceError):
        memory().admit(digest, halves[5], encode_der(r[1], 77))
    memory().admit_nonce(digest, halves[3] + halves[4])


@pytest.mark.parametrize("audit", [True, False])
def test_what_cannot_be_read_is_said_and_the_rest_is_compared(
    hwi: Program, audit: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One of the two logs is damaged: the other counts."""
    if not audit:
        audit_off()
    with card_with("repeat-nonce@C0:2", "repeat-nonce@C0:3") as card:
        assert "signature" in message_by_hwi(hwi, card, "one")
        damaged = State().folder / (NONCES if audit else AUDIT)
        damaged.unlink(missing_ok=True)
        damaged.mkdir()
        options = ("-t", "cryptnox", "-d", card.path, "-p", PIN, "signmessage")
        outcome = hwi.outcome(*options, "two", "m/84h/0h/0h/0/0")
        assert outcome.answer == {"error": REPEATED_NONCE_TEXT, "code": -13}
        assert outcome.error.count("could not be compared with earlier signatures: ") == 1
        (State().folder / (AUDIT if audit else NONCES)).unlink()
        outcome = hwi.outcome(*options, "two", "m/84h/0h/0h/0/0")
        assert "signature" in outcome.answer, "nothing to compare with is left"
        assert outcome.error.count("could not be compared with earlier signatures: ") == 1


def test_a_resumed_signing_keeps_its_nonces(hwi: Program) -> None:
    """Kept signatures come back with the nonces they had: that is no repetition. A new one with one of them is."""
    given = account(4)
    faults = [f"sw:6F00@C0:{number}" for number in range(3, 8)]
    with card_with(*faults) as card:
        assert hwi.on(card, "signtx", given.base64())["code"] == -3
        assert len(kept_signatures()) == 2
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["signatures"] == 4
    with card_with(*faults, "repeat-nonce@C0:8") as card:
        assert hwi.on(card, "signtx", account(5).base64())["code"] == -3
        assert hwi.on(card, "signtx", account(5).base64())["error"] == REPEATED_NONCE_TEXT
        assert len(kept_signatures()) == 2
        check(hwi.on(card, "signtx", account(5).base64()), account(5))
        assert card.stats()["signatures"] == 6


# Killed


def test_killed_while_signing(hwi: Program, state: State) -> None:
    """What was made is kept and not asked for again, and `audit` cries no thief: what never arrived was asked for."""
    given = account(8)
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--latency", "sign=150") as card:
        command = [str(Path(sys.executable).with_name("hwi-cryptnox")), "-t", "cryptnox", "-d", card.path, "-p", PIN]
        for kills, target in enumerate((2, 4, 6), 1):
            process = subprocess.Popen([*command, "signtx", given.base64()], stdout=subprocess.PIPE)
            end = time.monotonic() + 60
            while card.stats()["signatures"] < target and time.monotonic() < end:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            made, kept = card.stats()["signatures"], len(kept_signatures())
            assert made - kills <= kept <= made < 8, "each kill may cost the signature that was on its way"
            data = ctl(card, "audit")
            assert data["elsewhere"] == [] and data["compared"] == made
            assert len(data["unanswered"]) <= made - kept
        before = card.stats()["signatures"]
        kept = len(kept_signatures())
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["signatures"] == before + 8 - kept
        data = ctl(card, "audit")
        assert (data["elsewhere"], data["unanswered"], data["repeated_nonce"]) == ([], [], [])


def test_an_answer_that_never_came_is_told(hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "0")
    with card_with("badmac@C0:1", "sw:6F00@A4:2", "sw:6F00@A4:3") as card:
        assert hwi.on(card, "signtx", draft(spend("p2wpkh")).base64())["code"] in (-3, -13)
        data = ctl(card, "audit")
        assert data["elsewhere"] == [] and len(data["unanswered"]) == 1
        assert "never arrived here" in run_ctl(card, "audit").stdout
        (entry,) = ctl(card, "history")["entries"]
        assert (entry["made_here"], entry["event"], entry["outpoint"]) == (True, "asked", None)
        assert "(no answer)" in run_ctl(card, "history").stdout


# Warnings before


def warned(card: EmulatorProcess, given: Draft) -> list[str]:
    """Signed, and what was told before."""
    plans: list[Plan] = []
    wallet = wallet_on(card)
    try:
        Signing(wallet, Psbt.parse(given.base64()), approve=plans.append).run()
    finally:
        wallet.close()
    return [notice.text for notice in plans[0].warnings if notice.kind is NoticeKind.SIGNED_BEFORE]


PAID, ELSE = p2wpkh(OTHER.key("m/0")), p2wpkh(OTHER.key("m/1"))
CHANGE = "m/84h/0h/0h/1/5"


def payment(*ins: In, to: bytes = PAID, amount: int = 30_000, fee: int = 1_000) -> Draft:
    change = Out(p2wpkh(ME.key(CHANGE)), sum(item.amount for item in ins) - amount - fee, [out_deriv(CHANGE)])
    return Draft(list(ins), [Out(to, amount), change])


def test_a_higher_fee_is_no_news(signer: EmulatorProcess) -> None:
    """The same payments with less change, with another coin added, in another order."""
    coin, more = spend("p2wpkh"), spend("p2wpkh", 1)
    assert warned(signer, payment(coin)) == []
    assert warned(signer, payment(coin)) == []
    assert warned(signer, payment(coin, fee=5_000)) == []
    assert warned(signer, payment(more, coin, fee=9_000)) == []
    turned = payment(coin, fee=7_000)
    turned.outs.reverse()
    turned.outputs.reverse()
    assert warned(signer, turned) == []


OTHERS = (
    payment(spend("p2wpkh"), to=ELSE),
    payment(spend("p2wpkh"), amount=30_001),
    payment(spend("p2wpkh", 1), spend("p2wpkh"), to=ELSE),
    draft(spend("p2wpkh")),
)


@pytest.mark.parametrize("other", OTHERS, ids=["payee", "amount", "coin more", "no change"])
def test_a_coin_that_was_signed_for_others(signer: EmulatorProcess, hwi: Program, other: Draft) -> None:
    first = payment(spend("p2wpkh"))
    signed = check(hwi.on(signer, "signtx", first.base64()), first)
    (told,) = warned(signer, other)
    txid = EmbitPsbt.from_string(signed.to_base64()).tx.txid().hex()
    index = next(n for n, item in enumerate(other.ins) if item.outpoint == first.ins[0].outpoint)
    assert told.startswith(f"input {index} was signed on {time.strftime('%Y-%m')}") and txid in told
    (State().folder / INDEX).unlink()
    assert warned(signer, first) != [], "the other way round, by an index made anew"


def test_it_is_told_by_cryptnoxctl(signer: EmulatorProcess, tmp_path: Path) -> None:
    for number, given in enumerate((payment(spend("p2wpkh")), payment(spend("p2wpkh"), to=ELSE))):
        (tmp_path / f"{number}.psbt").write_text(given.base64())
        data = ctl(signer, "sign", "--yes", str(tmp_path / f"{number}.psbt"))
        told = [warning for warning in data["review"]["warnings"] if "was signed" in warning["text"]]
        assert [warning["grave"] for warning in told] == [True] * number


@pytest.mark.parametrize("version", [0, 2])
def test_the_same_transaction_with_other_inputs_called_ours(signer: EmulatorProcess, version: int) -> None:
    """Half-true PSBTs: in each run the other derivation is left out."""
    given = payment(spend("p2wpkh"), spend("p2wpkh", 1))
    given.version = version
    assert warned(signer, half(given, 0)) == []
    assert warned(signer, half(given, 0)) == []
    (told,) = warned(signer, half(given, 1))
    assert told.startswith("you already signed this same transaction")
    (told,) = warned(signer, given)
    assert told.startswith("you already signed this same transaction")


def deeper(pairs: Pairs) -> Pairs:
    """The key's path is one that no card derives, so nobody compares it."""
    return [(key, value + le(0) * 6) if key[0] == 0x06 else (key, value) for key, value in pairs]


@pytest.mark.parametrize(
    ("kind", "hide"),
    [
        ("p2sh-p2wpkh", lambda pairs: [pair for pair in pairs if pair[0][0] != 0x04]),
        ("p2wpkh", deeper),
        ("p2pkh", deeper),
        ("p2wpkh", lambda pairs: [*deeper(pairs), (b"\x08", b"\x01\x01\x00")]),
    ],
    ids=["no redeem script", "too deep", "legacy, too deep", "final and too deep"],
)
def test_an_input_that_is_named_and_not_shown_is_hidden(
    signer: EmulatorProcess, kind: str, hide: Callable[[Pairs], Pairs]
) -> None:
    """Each run names both coins, and has one of them skipped: half of what leaves the wallet is shown."""
    coins = [spend(kind, number) for number in range(2)]
    told = []
    for hidden in (1, 0):
        given = payment(*coins)
        given.inputs[hidden] = hide(given.inputs[hidden])
        told.append(warned(signer, given))
    assert told[0] == []
    assert [text.partition(",")[0] for text in told[1]] == ["you already signed this same transaction"]


def test_two_cards_of_one_person_are_no_liars(signer: EmulatorProcess) -> None:
    """One transaction with a coin of each: each card calls its own ours."""
    path = "m/84h/0h/0h/0/7"
    with EmulatorProcess("--seed", b"another seed, of the other party".hex(), "--xpub-export") as second:
        theirs = In(p2wpkh(OTHER.key(path)), fields=[deriv(path, OTHER)])
        given = payment(spend("p2wpkh"), theirs)
        assert warned(signer, given) == []
        assert warned(second, given) == []
        assert warned(signer, given) == []


def test_what_was_not_signed_is_not_told(hwi: Program, signer: EmulatorProcess) -> None:
    """Asked for and refused, or gone with the card: nobody has a signature."""
    coins = [spend("p2wpkh", number) for number in range(3)]
    with card_with(*(f"sw:6F00@C0:{number}" for number in range(2, 8))) as card:
        assert "error" in hwi.on(card, "signtx", payment(*coins).base64())
    made = {entry["outpoint"] for entry in State().audited() if entry["event"] == "made"}
    assert len(made) == 1
    told = warned(signer, payment(*coins, to=ELSE))
    assert len(told) == 1


def test_a_rawtr_coin_is_remembered_too(signer: EmulatorProcess) -> None:
    coin = In(
        b"\x51\x20" + ME.key(SPEND_PATH["rawtr"].format(3))[1:], fields=[tap_deriv(SPEND_PATH["rawtr"].format(3))]
    )
    assert warned(signer, payment(coin)) == []
    assert len(warned(signer, payment(coin, to=ELSE))) == 1


# Nonces of a PSBT


def test_all_nonces_of_a_psbt_are_seen(hwi: Program, signer: EmulatorProcess) -> None:
    given = draft(
        *(spend(kind, number) for number, kind in enumerate(("p2pkh", "p2wsh", "p2sh", "rawtr", "tapscript")))
    )
    signed = check(hwi.on(signer, "signtx", given.base64()), given)
    wanted = set()
    for fields in signed.inputs:
        for key, value in fields.pairs.items():
            if key[0] == 0x02:
                wanted.add(parse_der(value[:-1])[0])
            elif key[0] in (0x13, 0x14):
                wanted.add(int.from_bytes(value[:32], "big"))
    assert len(wanted) == 5 and nonces_in(signed).keys() == wanted
    assert nonces_in(Psbt.parse(given.encode())) == {}
    final, transaction = draft(*given.ins), Transaction.parse(extract(signed))
    for pairs, script, stack in zip(final.inputs, transaction.script_sigs, transaction.witnesses, strict=True):
        if script:
            pairs.append((b"\x07", script))
        if stack:
            pairs.append((b"\x08", compact(len(stack)) + b"".join(map(string, stack))))
    assert wanted <= nonces_in(Psbt.parse(final.encode())).keys()
