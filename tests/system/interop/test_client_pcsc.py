"""Our client through pcscd and the virtual reader: alone, beside itself, and beside programs that do not let go."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from embit import bip32, bip39

from cryptnox_core.bip32 import Path as KeyPath
from cryptnox_core.card import Card
from cryptnox_core.discovery import list_cards
from cryptnox_core.errors import CardRemovedError, NoCardError, NoReaderError, ReaderBusyError
from cryptnox_core.transport.pcsc import PcscTransport, _attempt, _Connection, list_readers
from cryptnox_core.wire import AID
from tests.support import pcsc
from tests.support.emulator import MNEMONIC, PIN, EmulatorProcess
from tests.support.scard import scard

pytestmark = pytest.mark.pcsc("both")

ROOT = Path(__file__).resolve().parents[3]
TREE = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC))
DIGEST = hashlib.sha256(b"a digest to sign").digest()
READER = pcsc.SLOTS[0]
SIGNATURES = 10


@pytest.fixture(scope="module")
def emulator(virtual_readers: pcsc.VirtualReaders) -> Iterator[EmulatorProcess]:
    """A card in the first slot for all tests of this module, as slow as a real one is quick."""
    with virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export", "--latency", "apdu=5,sign=20") as card:
        yield card


@pytest.fixture(autouse=True)
def no_try_is_lost(emulator: EmulatorProcess) -> Iterator[None]:
    """No test here gives a wrong PIN, so the card may not have refused one, whatever happened around it."""
    yield
    with Card(PcscTransport.open(READER, 10)) as card:
        card.open_channel()
        assert card.pin_tries_left() == 6
    assert emulator.stats()["pin_tries"] == 0


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.support.{module}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def start_signing(wait: float, count: int = SIGNATURES) -> subprocess.Popen[str]:
    return start("sign_on_card", READER, str(wait), str(count))


def outcome(process: subprocess.Popen[str], limit: float = 60) -> dict[str, object]:
    """What the signing program printed; fails when it hangs or ends with a traceback."""
    try:
        out, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail(f"the signing program did not end within {limit} s")
    assert process.returncode == 0
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


def signatures(emulator: EmulatorProcess) -> int:
    return int(emulator.stats()["signatures"])


@contextlib.contextmanager
def held(mode: str) -> Iterator[None]:
    """A foreign program holds the reader."""
    process = start("hold_reader", READER, mode)
    try:
        line = process.stdout.readline() if process.stdout else ""
        assert line == "holding\n"
        yield
    finally:
        process.communicate(timeout=10)


def test_the_client_reads_and_signs(emulator: EmulatorProcess) -> None:
    assert set(pcsc.SLOTS) <= set(list_readers())
    with Card(PcscTransport.open(READER, 5)) as card:
        card.open_channel()
        assert card.serial == emulator.serial
        card.verify_pin(PIN)
        assert card.master_fingerprint() == TREE.my_fingerprint
        path = KeyPath.parse("m/84h/0h/0h")
        assert card.extended_public_key(path).to_string() == TREE.derive("m/84h/0h/0h").to_public().to_base58()
        key = card.public_key(path)
        assert card.sign(DIGEST, PIN, path=path, public_key=key)[0] == 0x30


def test_the_card_is_found_by_its_serial(emulator: EmulatorProcess) -> None:
    found = [card for card in list_cards(5) if card.reader == READER]
    assert [card.serial for card in found] == [emulator.serial]


def test_a_reader_is_named_by_number_too(emulator: EmulatorProcess) -> None:
    with Card(PcscTransport.open(list_readers().index(READER), 5)) as card:
        assert card.select().initialized


def test_an_empty_slot_and_an_unknown_reader() -> None:
    with pytest.raises(NoCardError):
        PcscTransport.open(pcsc.SLOTS[1], 0.5)
    with pytest.raises(NoReaderError):
        PcscTransport.open("No such reader", 0.5)


def test_the_card_is_reset_at_the_end(emulator: EmulatorProcess) -> None:
    """So no verified PIN stays behind: a program that comes next finds not even the applet selected."""
    key, select = [0x80, 0xF4, 0, 0, 0], [0, 0xA4, 4, 0, 7, *AID]
    with Card(PcscTransport.open(READER, 5)) as card:
        card.open_channel()
        card.verify_pin(PIN)
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    try:
        _, handle, _protocol = scard.SCardConnect(context, READER, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1)
        statuses = [bytes(scard.SCardTransmit(handle, scard.SCARD_PCI_T1, apdu)[1][-2:]) for apdu in (key, select, key)]
        scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)
    finally:
        scard.SCardReleaseContext(context)
    assert statuses[0] != b"\x90\x00"
    assert statuses[1:] == [b"\x90\x00"] * 2


def test_two_processes_take_turns(emulator: EmulatorProcess) -> None:
    before = signatures(emulator)
    processes = [start_signing(wait=30) for _ in range(2)]
    answers = [outcome(process) for process in processes]
    assert [answer["result"] for answer in answers] == ["signed", "signed"]
    assert signatures(emulator) == before + 2 * SIGNATURES


def test_many_processes_finish_or_find_the_reader_busy(emulator: EmulatorProcess) -> None:
    """With a short wait some give up: then with ReaderBusyError, in time, and without a signature half made."""
    before = signatures(emulator)
    processes = [start_signing(wait=0.3) for _ in range(4)]
    answers = [outcome(process) for process in processes]
    assert {answer["result"] for answer in answers} <= {"signed", "ReaderBusyError"}
    done = [answer for answer in answers if answer["result"] == "signed"]
    assert done
    assert all(answer["signatures"] == 0 for answer in answers if answer["result"] != "signed")
    assert signatures(emulator) == before + SIGNATURES * len(done)


@pytest.mark.parametrize("mode", ["share", "traffic", "reset"])
def test_a_program_that_only_shares_the_reader_is_no_obstacle(emulator: EmulatorProcess, mode: str) -> None:
    """Not even when it talks to the card or resets it all the time: our conversation is one transaction."""
    before = signatures(emulator)
    with held(mode):
        answers = [outcome(start_signing(wait=5)) for _ in range(2)]
    assert [answer["result"] for answer in answers] == ["signed", "signed"]
    assert signatures(emulator) == before + 2 * SIGNATURES


def test_two_processes_beside_one_that_shares(emulator: EmulatorProcess) -> None:
    with held("share"):
        answers = [outcome(process) for process in [start_signing(wait=30), start_signing(wait=30)]]
    assert [answer["result"] for answer in answers] == ["signed", "signed"]


@pytest.mark.parametrize("mode", ["transaction", "exclusive"])
def test_a_program_that_never_lets_go_hangs_nobody(emulator: EmulatorProcess, mode: str) -> None:
    wait = 1.0
    with held(mode):
        process = start_signing(wait)
        answer = outcome(process, limit=20)
        started = time.monotonic()
        with pytest.raises(ReaderBusyError):
            PcscTransport.open(READER, wait)
        assert time.monotonic() - started < wait + 3
    assert answer["result"] == "ReaderBusyError"
    assert float(str(answer["seconds"])) < wait + 3
    assert outcome(start_signing(wait=10))["result"] == "signed"


def test_ctrl_c_ends_what_waits_for_the_reader(emulator: EmulatorProcess) -> None:
    """While the C library blocks inside another program's transaction."""
    with held("transaction"):
        process = start_signing(wait=30)
        time.sleep(1.5)
        assert process.poll() is None
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert time.monotonic() - started < 5 and process.returncode == -signal.SIGINT
    assert outcome(start_signing(wait=10))["result"] == "signed"


def test_nobody_gets_in_beside_us() -> None:
    with contextlib.closing(PcscTransport.open(READER, 5)):
        _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
        try:
            code, _, _ = scard.SCardConnect(context, READER, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T1)
        finally:
            scard.SCardReleaseContext(context)
    assert code == scard.SCARD_E_SHARING_VIOLATION


def test_a_reset_by_another_program_is_told() -> None:
    """Inside our transaction there is none; without it the command does not reach the card, and the connection is
    over."""
    shared = _attempt_beside_another()
    try:
        with contextlib.closing(PcscTransport(READER, shared)) as transport:
            library = shared.context.scard
            library.SCardEndTransaction(shared.card, library.SCARD_LEAVE_CARD)
            shared.transaction = False
            with held("reset"):
                time.sleep(0.3)
                with pytest.raises(CardRemovedError, match="reset by another program"):
                    transport.transmit(bytes((0, 0xA4, 4, 0, len(AID), *AID)))
            with pytest.raises(CardRemovedError, match="closed"):
                transport.transmit(b"\0\0\0\0")
    finally:
        with Card(PcscTransport.open(READER, 10)) as card:
            assert card.select().initialized


def _attempt_beside_another() -> _Connection:
    """A connection of ours in shared mode, as it is beside a program that shares the reader."""
    with held("share"):
        return _attempt(READER)
