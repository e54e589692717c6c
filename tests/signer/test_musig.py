"""MuSig2 on the emulated card: what is signed under each reading, and what faults, kills and bad cards leave behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cryptnox_core.emulator.faults import Fault, FaultKind
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.transport.tcp import RemoteTransport
from cryptnox_core.wire import Ins
from hwilib_cryptnox.errors import BadRequestError, FailedError, WalletError
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.psbt import NoticeKind, Psbt
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.musig import FIRST_ROUND_REASON
from hwilib_cryptnox.psbt.signers import input_statuses
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.signatures.memory import RepeatedNonceError
from hwilib_cryptnox.signer.signatures.possible import NO_MUSIG2_REASON
from hwilib_cryptnox.signer.signing import NO_PART_TEXT, Signing
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.core.emulated import PIN, EmulatedReader, EmulatedTransport, seeded
from tests.psbt.factory import ME, OTHER, Draft, Out, draft, p2wpkh, spend
from tests.psbt.musig import KINDS, NONCE, PARTIAL, Shared, shared
from tests.support.kernel import failing_inputs

VECTORS = os.environ.get("CRYPTNOX_VECTORS")
WELL_KNOWN = seeded().seed
OTHER_READINGS = (Reading.MUSIG2_NO_SECOND, Reading.MUSIG2_AS_PRINTED)


class Killed(BaseException):
    """What stops the program at once."""


class Reach:
    """An emulated card in this process, which the wallet side connects to, power-up by power-up."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        folder: Path,
        *readings: Reading,
        faults: tuple[Fault, ...] = (),
        seed: bytes = bytes(range(64)),
        random: Callable[[int], bytes] | None = None,
    ) -> None:
        memory = seeded()
        memory.seed = seed
        self.reader = EmulatedReader.of(memory, *readings, faults=faults, random=random)
        self.folder, self.apdus, self.kill_at, self.killed = folder, 0, 0, False
        self.powered: list[Callable[[], None]] = []
        self.sent: list[int] = []
        monkeypatch.setattr(RemoteTransport, "connect", self._connect)

    def _connect(self, host: str, port: int, timeout: float = 60.0, *, wait: float = 0.0) -> EmulatedTransport:
        for each in self.powered:
            each()
        self.reader.engine.power_up()
        transport = EmulatedTransport(self.reader.engine, "tcp:127.0.0.1:1")
        send = transport.transmit

        def transmit(apdu: bytes) -> bytes:
            if self.killed:
                raise Killed
            self.apdus += 1
            self.sent.append(apdu[1])
            answer = send(apdu)
            if self.apdus == self.kill_at:  # the card has done it, and nobody hears of it
                self.killed = True
                shutil.copytree(self.folder, self.folder.with_suffix(".then"))
                raise Killed
            return answer

        transport.transmit = transmit  # type: ignore[method-assign]
        return transport

    def resume(self) -> None:
        """What was killed left the disk as it was at that moment, whatever ran afterwards here."""
        self.killed, self.kill_at = False, 0
        shutil.rmtree(self.folder)
        self.folder.with_suffix(".then").rename(self.folder)

    def sign(self, psbt: Psbt) -> Psbt:
        return self.signing(psbt)[1]

    def signing(self, psbt: Psbt) -> tuple[Signing, Psbt]:
        settings, state = replace(Settings.load(), reinsert_wait=0.5), State(self.folder)
        wallet = Wallet("tcp:127.0.0.1:1", Access(settings, state), Unlocker(settings, state, PIN))
        try:
            signing = Signing(wallet, psbt)
            try:
                return signing, signing.run()
            except BaseException:
                signing.keep()
                raise
        finally:
            wallet.close()

    def parts_kept(self) -> Iterator[str]:
        """Nonce and partial signature of those on disk."""
        for path in (self.folder / "partial").glob("*.jsonl"):
            for line in path.read_text().splitlines():
                signature = json.loads(line)["signature"]
                if len(signature) == 2 * 98:
                    yield signature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return state


def round_one(*keys: Shared, more: int = 0) -> Draft:
    items = [key.item(100_000, number, *key.first_round()) for number, key in enumerate(keys)]
    return draft(*items, *[spend("p2wpkh", number + 10) for number in range(more)])


def parts_in(psbt: Psbt) -> set[str]:
    """Our nonces with our partial signatures."""
    found = set()
    for fields in psbt.inputs:
        for name, value in fields.pairs.items():
            if name[0] == PARTIAL:
                found.add((fields.pairs[bytes((NONCE,)) + name[1:]] + value).hex())
    return found


def check(signed: Psbt, given: Draft, *keys: Shared) -> None:
    """The others sign, too; Bitcoin Core's verifier takes every input."""
    from hwilib_cryptnox.psbt import collect
    from hwilib_cryptnox.psbt.sighash import SignatureHasher

    assert collect(signed, ME.fingerprint).stays_unchanged
    hasher = SignatureHasher(signed.tx, [(item.amount, item.script) for item in given.ins])
    added = {
        index: key.second_round(signed, index, hasher.taproot(index, 0, leaf_hash=key.leaf))
        for index, key in enumerate(keys)
    }
    spent = [(item.amount, item.script) for item in given.ins]
    assert failing_inputs(extract(signed.with_added(added)), spent) == []


def no_nonce_twice(*found: str) -> None:
    """No half of a nonce stands in two different parts."""
    parts = set(found)
    halves = [half for part in parts for half in (part[2:66], part[68:132])]
    assert len(set(halves)) == len(halves) == 2 * len(parts)


# What is signed


@pytest.mark.parametrize("secrets", [(7_000_001,), (7_000_002, 7_000_003)], ids=["2of2", "3of3"])
def test_every_kind_of_key(monkeypatch: pytest.MonkeyPatch, folder: Path, secrets: tuple[int, ...]) -> None:
    """Key paths, with scripts and without, leaves, derived keys, beside a key of ours alone: one run signs them all."""
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    keys = [shared(kind, secrets=secrets) for kind in KINDS]
    given = round_one(*keys, more=1)
    signed = card.sign(Psbt.parse(given.encode()))
    assert not list(card.parts_kept()) and len(parts_in(signed)) == len(keys)
    no_nonce_twice(*parts_in(signed))
    check(signed, given, *keys)
    assert card.sign(signed) is signed  # done


@pytest.mark.parametrize("reading", OTHER_READINGS, ids=lambda reading: reading.value)
def test_an_applet_that_does_it_otherwise(monkeypatch: pytest.MonkeyPatch, folder: Path, reading: Reading) -> None:
    """The right result, or a refusal in words: no part that does not verify leaves, nor is it kept."""
    card = Reach(monkeypatch, folder, reading)
    made = []
    for number in range(16):
        key = shared(KINDS[number % len(KINDS)], secrets=(7_100_000 + number,), path=f"m/87h/1h/0h/0/{number}")
        given = round_one(key)
        try:
            signed = card.sign(Psbt.parse(given.encode()))
        except FailedError as error:
            assert str(error) == NO_PART_TEXT
            assert not list(card.parts_kept())
            made.append(False)
        else:
            check(signed, given, key)
            made.append(True)
    assert not all(made)


def test_an_applet_without_it(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """It is asked, once; what else there is to sign is signed."""
    card = Reach(monkeypatch, folder)
    key = shared("internal")
    with pytest.raises(BadRequestError, match=NO_MUSIG2_REASON):
        card.sign(Psbt.parse(round_one(key).encode()))
    given = round_one(key, more=2)
    signing, signed = card.signing(Psbt.parse(given.encode()))
    assert signing.plan is not None and [item.reason for item in signing.plan.skipped] == [NO_MUSIG2_REASON]
    assert not parts_in(signed) and all(any(n[0] == 2 for n in fields.pairs) for fields in signed.inputs[1:])


def test_the_first_round(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The card is not asked for a nonce that would die with its power: it goes last, and the reason says so."""
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    key = shared("internal", secrets=(5, 6))
    with pytest.raises(BadRequestError, match=FIRST_ROUND_REASON):
        card.sign(Psbt.parse(draft(key.item(100_000, 0, key.first_round()[0])).encode()))
    assert Ins.NONCE_GEN not in card.sent


def test_a_card_whose_pin_ends_with_each_signature(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    card = Reach(monkeypatch, folder, Reading.MUSIG2, Reading.PIN_ENDS_AT_SIGN)
    keys = [shared("internal", secrets=(15,)), shared("leaf", secrets=(16,))]
    given = round_one(*keys, more=2)
    check(card.sign(Psbt.parse(given.encode())), given, *keys)


@pytest.mark.skipif(VECTORS is None, reason="CRYPTNOX_VECTORS is not set")
@pytest.mark.parametrize("number", range(4))
def test_psbts_of_bitcoin_core(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """PSBT version 2, with Core's nonces in: the card adds its nonces and partial signatures, and they verify."""
    case = json.loads((Path(VECTORS or "") / "core-musig2.json").read_text())["cases"][number]
    card = Reach(monkeypatch, folder, Reading.MUSIG2, seed=WELL_KNOWN)
    with pytest.raises(BadRequestError, match=FIRST_ROUND_REASON):
        card.sign(Psbt.parse(case["unsigned"]))
    given = Psbt.parse(case["with_core_nonces"])
    signed = card.sign(given)
    for before, fields, status in zip(given.inputs, signed.inputs, input_statuses(signed), strict=True):
        new = {name: value for name, value in fields.pairs.items() if name not in before.pairs}
        assert sorted(name[0] for name in new) == [NONCE, PARTIAL]
        (key,) = {name[1:34] for name in new}
        assert [signer.public_key for signer in status.signers if signer.signed] == [key[1:]]
        assert not any(signer.bad for signer in status.signers)
        # The others' fields name the same key that is signed for.
        assert {name[34:] for name in fields.pairs if name[0] in (NONCE, PARTIAL)} == {next(iter(new))[34:]}


# What goes wrong


def positions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """APDUs of a signing with two parts and another signature."""
    place = tmp_path / "measure"
    place.mkdir(mode=0o700)
    card = Reach(monkeypatch, place, Reading.MUSIG2)
    card.sign(Psbt.parse(round_one(shared("internal"), shared("leaf", secrets=(9,)), more=1).encode()))
    return card.apdus


@pytest.mark.parametrize("kind", [FaultKind.REMOVE, FaultKind.RESET, FaultKind.GARBAGE, FaultKind.BADMAC])
def test_a_fault_at_every_apdu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, kind: FaultKind) -> None:
    """The signing goes on by itself, or ends in an error and the next one signs; no nonce is in two parts."""
    last = positions(monkeypatch, tmp_path)
    keys = [shared("internal"), shared("leaf", secrets=(9,))]
    went_on = 0
    for at in range(1, last + 1):
        given = round_one(*keys, more=1)
        psbt = Psbt.parse(given.encode())
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        card = Reach(monkeypatch, folder, Reading.MUSIG2, faults=(Fault(kind, at, None),))
        kept: list[str] = []
        try:
            signed = card.sign(psbt)
            went_on += 1
        except (CryptnoxError, WalletError):
            kept = list(card.parts_kept())
            signed = card.sign(psbt)
            assert set(kept) <= parts_in(signed), at
        check(signed, given, *keys)
        no_nonce_twice(*kept, *parts_in(signed))
        assert card.reader.card.counters.nonces_again == 0
    assert went_on


def test_a_kill_at_every_apdu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> None:
    """The program is gone right after the card has done something: what was kept is used, the rest is made with other
    nonces."""
    last = positions(monkeypatch, tmp_path)
    keys = [shared("internal"), shared("leaf", secrets=(9,))]
    used = 0
    for at in range(1, last + 1):
        given = round_one(*keys, more=1)
        psbt = Psbt.parse(given.encode())
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        card = Reach(monkeypatch, folder, Reading.MUSIG2)
        card.kill_at = at
        with pytest.raises(Killed):
            card.sign(psbt)
        card.resume()
        kept = list(card.parts_kept())
        used += len(kept)
        signed = card.sign(psbt)
        assert set(kept) <= parts_in(signed), at
        check(signed, given, *keys)
        no_nonce_twice(*kept, *parts_in(signed))
        assert card.reader.card.counters.nonces_again == 0
    assert used


def test_parts_of_another_round_are_not_used_again(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """What was kept of one round is worth nothing in the next, where the others have other nonces: the card signs anew,
    with new ones."""
    key = shared("internal")
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    first = round_one(key)
    psbt = Psbt.parse(first.encode())
    signing, signed = card.signing(psbt)
    signing.keep()  # as when the answer could not be written
    (kept,) = card.parts_kept()
    assert parts_in(card.sign(psbt)) == {kept} == parts_in(signed)
    signing.keep()
    second = round_one(key)
    again = card.sign(Psbt.parse(second.encode()))
    no_nonce_twice(kept, *parts_in(again))
    check(again, second, key)


def repeating(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Reach:
    """A card whose random numbers are the same after each power-up."""
    calls = 0

    def same(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return b"".join(bytes((calls * 7 % 251, number % 256)) for number in range(size))[:size]

    def again() -> None:
        nonlocal calls
        calls = 0

    card = Reach(monkeypatch, folder, Reading.MUSIG2, random=same)
    card.powered.append(again)
    return card


def test_a_card_that_repeats_its_nonces(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Two parts with one nonce give the private key away: the second one never leaves."""
    card = repeating(monkeypatch, folder)
    key = shared("internal")
    check(card.sign(Psbt.parse((given := round_one(key)).encode())), given, key)
    with pytest.raises(RepeatedNonceError):
        card.sign(Psbt.parse(round_one(key, shared("leaf", secrets=(9,))).encode()))
    assert not list(card.parts_kept())


def test_nonces_that_the_psbt_brings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Also one that came with this very PSBT, as somebody else's."""
    card = repeating(monkeypatch, folder)
    key, second = shared("internal"), shared("leaf", secrets=(9,))
    part = next(iter(parts_in(card.sign(Psbt.parse(round_one(key).encode())))))
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    items = [
        key.item(100_000, 0, *key.first_round()),
        second.item(100_000, 1, second.pair(NONCE, second.others[0].key, bytes.fromhex(part)[:66])),
    ]
    with pytest.raises(RepeatedNonceError):
        card.sign(Psbt.parse(draft(*items).encode()))
    assert not list(card.parts_kept())


def test_a_coin_that_was_signed_for_others(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Parts of signatures are remembered as signatures are."""
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    key = shared("internal")
    card.sign(Psbt.parse(round_one(key).encode()))
    other = draft(key.item(100_000, 0, *key.first_round()), outs=[Out(p2wpkh(OTHER.key("m/1")), 95_000)])
    signing, _ = card.signing(Psbt.parse(other.encode()))
    assert signing.plan is not None
    assert NoticeKind.SIGNED_BEFORE in {notice.kind for notice in signing.plan.warnings}
