"""Cards and signers that cheat at MuSig2, and taproot key paths (BIP86) whose card fails or whose program is killed at
any command."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cryptnox_core import wire
from cryptnox_core.derivation import Position
from cryptnox_core.emulator import card as emulated
from cryptnox_core.emulator import curves, musig2
from cryptnox_core.emulator.context import Context
from cryptnox_core.emulator.faults import Fault, FaultKind
from cryptnox_core.emulator.frame import Command
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.errors import CryptnoxError
from cryptnox_core.wire import Curve, Ins
from hwilib_cryptnox.errors import FailedError, WalletError
from hwilib_cryptnox.psbt import Psbt, collect
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.signer.cards import OpenCard, Session
from hwilib_cryptnox.signer.signatures.memory import RepeatedNonceError
from hwilib_cryptnox.signer.signatures.taproot import Taproot
from hwilib_cryptnox.signer.signatures.taproot_check import ask
from hwilib_cryptnox.signer.signing import NO_PART_TEXT
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.core.emulated import PIN, EmulatedReader, seeded
from tests.psbt.factory import ME, draft
from tests.psbt.musig import NONCE, shared
from tests.signer.test_musig import Killed, Reach, check, no_nonce_twice, parts_in, round_one
from tests.support import bip86
from tests.support.cosigner import N
from tests.support.kernel import failing_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    return state


def drawn(monkeypatch: pytest.MonkeyPatch, numbers: Iterator[int]) -> None:
    """The card's random numbers are these."""
    monkeypatch.setattr(curves, "random_scalar", lambda curve, random: next(numbers))


def endless(*numbers: int) -> Iterator[int]:
    while True:
        yield from numbers


def nothing_left(card: Reach) -> None:
    """No part was handed out, and none was kept."""
    assert not list(card.parts_kept())


# Nonces


@pytest.mark.parametrize("halves", [(1, 1), (1, 0), (0, 1)])
def test_nonces_that_cancel_the_card_s(monkeypatch: pytest.MonkeyPatch, folder: Path, halves: tuple[int, int]) -> None:
    """Somebody knows what the card will draw, and gives what cancels it: nothing is signed."""
    mine = (7_654_321, 9_876_543)
    drawn(monkeypatch, endless(*mine))
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    key = shared("internal")
    (other,) = key.others
    numbers = [N - number if cancel else number + 1 for number, cancel in zip(mine, halves, strict=True)]
    given = draft(key.item(100_000, 0, key.pair(NONCE, other.key, other.nonce((numbers[0], numbers[1])))))
    with pytest.raises(CryptnoxError, match="cancel each other"):
        card.sign(Psbt.parse(given.encode()))
    assert card.reader.card.counters.signatures == 0
    nothing_left(card)


@pytest.mark.parametrize("numbers", [(1, 5), (5, 1), (N - 1, 5), (1, 1)])
def test_a_card_whose_nonce_everybody_knows(
    monkeypatch: pytest.MonkeyPatch, folder: Path, numbers: tuple[int, int]
) -> None:
    """Its secret number is 1, or minus 1: the private key would follow from its part, and it is not asked for one."""
    drawn(monkeypatch, endless(*numbers))
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    with pytest.raises(CryptnoxError, match="a nonce that everyone knows"):
        card.sign(Psbt.parse(round_one(shared("internal")).encode()))
    assert card.reader.card.counters.signatures == 0
    nothing_left(card)


def test_two_halves_that_are_one(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    drawn(monkeypatch, endless(77, 77))
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    with pytest.raises(RepeatedNonceError):
        card.sign(Psbt.parse(round_one(shared("internal")).encode()))
    nothing_left(card)


# Partial signatures


def another_key(ctx: Context, command: Command, data: bytes) -> bytes:
    """The part of the next key of the card's tree, with the right nonce."""
    if command.p1 == wire.MUSIG2_LOAD_KEY:
        return musig2.musig2(ctx, command, data)
    node = ctx.cursor(Curve.K1).current
    right = int.from_bytes(musig2.musig2(ctx, command, data), "big")
    return ((right + node.secret) % N).to_bytes(32, "big")


def any_number(ctx: Context, command: Command, data: bytes) -> bytes:
    return b"" if command.p1 == wire.MUSIG2_LOAD_KEY else bytes(31) + b"\x09"


def too_large(ctx: Context, command: Command, data: bytes) -> bytes:
    """The right part, and the order of the group."""
    if command.p1 == wire.MUSIG2_LOAD_KEY:
        return musig2.musig2(ctx, command, data)
    right = int.from_bytes(musig2.musig2(ctx, command, data), "big")
    return min(right + N, 2**256 - 1).to_bytes(32, "big")


def mirrored(ctx: Context, command: Command, data: bytes) -> bytes:
    if command.p1 == wire.MUSIG2_LOAD_KEY:
        return musig2.musig2(ctx, command, data)
    return (N - int.from_bytes(musig2.musig2(ctx, command, data), "big")).to_bytes(32, "big")


@pytest.mark.parametrize("answer", [another_key, any_number, too_large, mirrored])
@pytest.mark.parametrize("kind", ["internal", "leaf"])
def test_a_part_that_is_not_the_card_s(
    monkeypatch: pytest.MonkeyPatch, folder: Path, answer: Callable[..., bytes], kind: str
) -> None:
    monkeypatch.setitem(emulated._SECURE, Ins.MUSIG2, answer)
    card = Reach(monkeypatch, folder, Reading.MUSIG2)
    with pytest.raises(FailedError) as caught:
        card.sign(Psbt.parse(round_one(shared(kind)).encode()))
    assert str(caught.value) == NO_PART_TEXT
    nothing_left(card)


def forgetting_nothing(ctx: Context, command: Command, data: bytes) -> bytes:
    """It would sign with its nonces as often as it is asked."""
    nonces, keys = ctx.power.nonces, list(ctx.selection.cosigners)
    try:
        return musig2.musig2(ctx, command, data)
    finally:
        if command.p1 == wire.MUSIG2_SIGN:
            ctx.power.nonces, ctx.selection.cosigners = nonces, keys


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE, FaultKind.BADMAC])
def test_a_card_that_would_sign_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, kind: FaultKind
) -> None:
    """Its answers are lost one by one, and it would answer again with the same nonce: it is not asked to."""
    monkeypatch.setitem(emulated._SECURE, Ins.MUSIG2, forgetting_nothing)
    key = shared("internal")
    for nth in range(1, 4):
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        card = Reach(monkeypatch, folder, Reading.MUSIG2, faults=(Fault(kind, nth, Ins.MUSIG2),))
        given = round_one(key)
        signed = card.sign(Psbt.parse(given.encode()))
        check(signed, given, key)
        no_nonce_twice(*parts_in(signed))
        assert card.sent.count(Ins.NONCE_GEN) == 3  # one asks whether there is MuSig2
        assert card.reader.card.counters.nonces_again == 0


# Taproot key paths (BIP86)


@pytest.fixture(scope="module")
def able(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a computer that knows that the card signs key paths."""
    folder = tmp_path_factory.mktemp("able") / "state"
    folder.mkdir(mode=0o700)
    memory = seeded()
    memory.seed = bytes(range(64))
    state = State(folder)
    session = Session(
        OpenCard(EmulatedReader.of(memory, Reading.MUSIG2).open(), "in this process", state), PIN, bytes(4), Position()
    )
    assert ask(session, Settings(), state) is Taproot.SIGNS
    return folder


def fresh(folder: Path, able: Path) -> None:
    """That state, and nothing else."""
    shutil.rmtree(folder)
    shutil.copytree(able, folder)


def alone() -> tuple[Psbt, list[tuple[int, bytes]]]:
    given = bip86.spending(bip86.one_of_each())
    return Psbt.parse(given.encode()), [(item.amount, item.script) for item in given.ins]


def whole(signed: Psbt, spent: list[tuple[int, bytes]], card: Reach) -> None:
    assert collect(signed, ME.fingerprint, taproot=True).stays_unchanged
    assert failing_inputs(extract(signed), spent) == []
    assert card.reader.card.counters.nonces_again == 0


def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, able: Path) -> int:
    """APDUs of a signing of four key paths."""
    place = tmp_path / "measure"
    shutil.copytree(able, place)
    card = Reach(monkeypatch, place, Reading.MUSIG2)
    psbt, spent = alone()
    whole(card.sign(psbt), spent, card)
    return card.apdus


@pytest.mark.parametrize("kind", [FaultKind.REMOVE, FaultKind.RESET, FaultKind.GARBAGE, FaultKind.BADMAC])
def test_a_fault_at_every_apdu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, able: Path, kind: FaultKind
) -> None:
    """It goes on by itself, or ends in an error and the next attempt signs; no nonce meets two messages, and the card
    is still held for one that signs."""
    last = commands(monkeypatch, tmp_path, able)
    psbt, spent = alone()
    went_on = 0
    for at in range(1, last + 1):
        fresh(folder, able)
        card = Reach(monkeypatch, folder, Reading.MUSIG2, faults=(Fault(kind, at, None),))
        try:
            signed = card.sign(psbt)
            went_on += 1
        except (CryptnoxError, WalletError):
            signed = card.sign(psbt)
        whole(signed, spent, card)
    assert went_on


def test_a_kill_at_every_apdu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, able: Path) -> None:
    """The program is gone right after the card has done something: what was kept is used, the rest is made anew."""
    last = commands(monkeypatch, tmp_path, able)
    psbt, spent = alone()
    for at in range(1, last + 1):
        fresh(folder, able)
        card = Reach(monkeypatch, folder, Reading.MUSIG2)
        card.kill_at = at
        with pytest.raises(Killed):
            card.sign(psbt)
        card.resume()
        whole(card.sign(psbt), spent, card)
        assert card.reader.card.counters.signatures <= 5
