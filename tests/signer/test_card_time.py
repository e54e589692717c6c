"""What commands cost the card, counted by the card: a guard against commands and derivations that creep in.

Counts, not times. The same runs beside the vendor's SDK: bench/card_time.py.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path as File

import pytest

from bench import card_time
from bench.card_time import ACCOUNT, MULTISIG_ACCOUNT, SECOND_ACCOUNT, SEED, Job, spread
from cryptnox_core.bip32 import Path
from cryptnox_core.crypto import points
from tests.hwi.conftest import Program
from tests.hwi.test_setup import Typist
from tests.support import pcsc
from tests.support.emulator import PIN, PUK, EmulatorProcess
from tests.support.optional import hwilib

ROOT = File(__file__).parents[2]

CHANNEL = ("A4", "F7", "F8", "10", "11")
"""SELECT to MUTUALLY AUTHENTICATE."""


@pytest.fixture
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--seed", SEED.hex(), "--xpub-export") as emulator:
        yield emulator


def job(*arguments: str) -> Job:
    return Job(arguments[0], arguments, lambda _: None, card_time.bound())


def signtx(paths: Sequence[Path]) -> Job:
    return job("signtx", card_time.transaction(paths, change=paths[0].parent.child(5000)))


def run(what: Job, emulator: EmulatorProcess, folder: File) -> tuple[card_time.Counts, dict[str, int]]:
    """Counts of one run, and its commands by instruction."""
    before = {} if card_time.counted(emulator).apdus == 0 else emulator.stats()["by_ins"]
    counts = card_time.run_ours(what, folder, emulator)
    after = emulator.stats()["by_ins"]
    return counts, {ins: count - before.get(ins, 0) for ins, count in after.items() if count > before.get(ins, 0)}


def in_channel(commands: dict[str, int]) -> int:
    return sum(count for ins, count in commands.items() if ins not in CHANNEL)


@pytest.mark.parametrize("count", [1, 2, 25])
def test_signtx_on_one_account(card: EmulatorProcess, tmp_path: File, count: int) -> None:
    what = signtx(spread(count, [ACCOUNT]))
    for others, pages in ((card_time.SIGNTX_OTHERS_FIRST, 2), (card_time.SIGNTX_OTHERS_KNOWN, 0)):
        counts, commands = run(what, card, tmp_path)
        assert (commands["C0"], commands.get("F7", 0), commands["A4"]) == (count, pages, 1)
        assert counts.apdus <= count + others
        assert counts.derivations == 3 + min(count, 2) + count
        assert counts.signatures == count


def test_signtx_where_a_signature_ends_the_pins_validity(tmp_path: File) -> None:
    """One command more; two the first time, when the card's refusal tells."""
    what = signtx(spread(10, [ACCOUNT]))
    with EmulatorProcess("--seed", SEED.hex(), "--xpub-export", "--reading", "pin-ends-at-sign") as emulator:
        first, _ = run(what, emulator, tmp_path)
        known, _ = run(what, emulator, tmp_path)
    assert first.apdus <= 10 + card_time.SIGNTX_OTHERS_FIRST + 2
    assert known.apdus <= 10 + card_time.SIGNTX_OTHERS_KNOWN + 1
    assert first.derivations == known.derivations == 3 + 2 + 10


@pytest.mark.pcsc
@pytest.mark.parametrize(("reading", "others"), [((), [14, 14]), (("--reading", "pin-ends-at-sign"), [16, 15])])
def test_a_second_card(
    virtual_readers: pcsc.VirtualReaders, tmp_path: File, reading: tuple[str, ...], others: list[int]
) -> None:
    """Named by its serial, and met for the first time, no other card's certificate is tried. What one card's refusal
    told of the PIN holds for another of the same applet version."""
    what, found = signtx(spread(4, [ACCOUNT])), []
    for serial in (2**60 + 1, 2**60 + 2):
        options = ("--seed", SEED.hex(), "--serial", str(serial), "--xpub-export", *reading)
        with virtual_readers.card(*options) as emulator:
            counts = card_time.run_ours(what, tmp_path, emulator, pcsc=True)
            assert (counts.derivations, emulator.stats()["pin_tries"]) == (3 + 2 + 4, 0)
            found.append(counts.apdus - counts.signatures)
    assert found == others


def test_signtx_on_two_accounts(card: EmulatorProcess, tmp_path: File) -> None:
    """20 distinct keys; reading both accounts first, and the fork that the card forgets, cost three more."""
    counts, _ = run(signtx(spread(12, [ACCOUNT, SECOND_ACCOUNT])), card, tmp_path)
    assert counts.derivations == 23


def test_signtx_of_a_multisig_key(card: EmulatorProcess, tmp_path: File) -> None:
    paths = spread(12, [MULTISIG_ACCOUNT])
    counts, commands = run(job("signtx", card_time.transaction(paths, multisig=True)), card, tmp_path)
    assert counts.derivations == 4 + 2 + 12
    assert counts.apdus - commands["C0"] <= card_time.SIGNTX_OTHERS_FIRST


def test_signtx_of_taproot_key_paths(tmp_path: File) -> None:
    """Each key is made current: no derivation more, four commands. The other chain begins at the master key again."""
    paths = spread(12, [card_time.TAPROOT_ACCOUNT])
    with EmulatorProcess("--seed", SEED.hex(), "--xpub-export", "--reading", "musig2") as emulator:
        assert card_time.run_check(tmp_path, emulator).signatures == 4
        counts, commands = run(job("signtx", card_time.key_paths(paths)), emulator, tmp_path)
    assert (counts.derivations, counts.signatures) == (3 + 2 + 3 + 12, 12)
    assert (commands["C7"], commands["C8"], commands.get("C0", 0)) == (12, 36, 0)
    assert counts.apdus <= 5 * 12 + card_time.SIGNTX_OTHERS_KNOWN + 2


def test_signtx_with_one_key_in_all_inputs(card: EmulatorProcess, tmp_path: File) -> None:
    counts, _ = run(signtx([ACCOUNT.child(0).child(7)] * 20), card, tmp_path)
    assert counts.derivations == 3 + 1 + 1
    assert counts.signatures == 20


def test_signtx_with_export_off_reads_each_key_once(tmp_path: File) -> None:
    """A key is derived for reading and for signing; the account and its chains once."""
    paths = spread(10, [ACCOUNT])
    with EmulatorProcess("--seed", SEED.hex()) as emulator:
        counts, commands = run(job("signtx", card_time.transaction(paths)), emulator, tmp_path)
    assert commands["C2"] == 1 + 10  # the fingerprint and the keys
    assert counts.derivations <= 3 + 2 + 1 + 2 * 10


def test_getdescriptors(card: EmulatorProcess, tmp_path: File) -> None:
    for _ in range(2):
        counts, commands = run(job("getdescriptors"), card, tmp_path)
        assert counts.derivations == 9
        assert in_channel(commands) <= 10


def test_getxpub_and_signmessage(card: EmulatorProcess, tmp_path: File) -> None:
    counts, commands = run(job("getxpub", str(ACCOUNT)), card, tmp_path)
    assert (counts.derivations, in_channel(commands)) == (3, 6)
    counts, commands = run(job("signmessage", "hello", str(ACCOUNT.child(0).child(0))), card, tmp_path)
    assert (counts.derivations, in_channel(commands)) == (5, 7)


@pytest.mark.pcsc
def test_enumerate_of_a_known_card(virtual_readers: pcsc.VirtualReaders, tmp_path: File) -> None:
    """No secure channel: SELECT and the certificate's pages."""
    with virtual_readers.card("--seed", SEED.hex(), "--xpub-export") as emulator:
        card_time.run_ours(job("enumerate"), tmp_path, emulator, pcsc=True)
        before = emulator.stats()["by_ins"]
        counts = card_time.run_ours(job("enumerate"), tmp_path, emulator, pcsc=True)
        after = emulator.stats()["by_ins"]
    assert counts.apdus <= card_time.ENUMERATE_KNOWN
    assert {ins for ins in after if after[ins] > before.get(ins, 0)} == {"A4", "F7"}


_STOCK = """
import json, sys
import hwilib_cryptnox
hwilib_cryptnox.register()
from hwilib import commands
client = commands.get_client("cryptnox", sys.argv[1], sys.argv[2])
print(json.dumps(sorted(commands.getdescriptors(client))))
client.close()
"""


def test_getdescriptors_through_stock_hwilib(card: EmulatorProcess) -> None:
    """It reads the account of BIP86 as well."""
    hwilib()
    answer = subprocess.run(
        [sys.executable, "-c", _STOCK, card.path, PIN], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(answer.stdout) == ["internal", "receive"]
    stats = card.stats()
    assert stats["derivations"] == 12
    assert in_channel(stats["by_ins"]) <= 12


# The host


def loaded_by(*arguments: str) -> set[str]:
    """The modules a run of the program imports."""
    program = (
        "from hwilib_cryptnox.hwi import program",
        "import sys",
        "program.run(sys.argv[1:])",
        "print(*sys.modules)",
    )
    command = [sys.executable, "-c", "\n".join(program), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    answer, modules = run.stdout.splitlines()
    assert "error" not in answer
    return set(modules.split())


def test_enumerate_imports_what_it_needs(card: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver but ours, no USB library; without a card nothing of cards; never anything of PSBTs."""
    foreign = {"hwilib", "hid", "usb1", "libusb1", "serial", "click", "rich", "embit", "asyncio", "ssl", "requests"}
    of_people = {"hwilib_cryptnox.ctl", "hwilib_cryptnox.console.terminal", "hwilib_cryptnox.signer.provision"}
    of_cards = {"cryptnox_core.card", "hwilib_cryptnox.signer.wallet", "hwilib_cryptnox.psbt"}
    of_psbts = {"hwilib_cryptnox.psbt", "hwilib_cryptnox.signer.signing"}
    assert all(map(importlib.util.find_spec, of_people | of_cards | of_psbts))
    alone = loaded_by("enumerate")
    assert {name.partition(".")[0] for name in alone} & (foreign | {"cryptography", "coincurve"}) == set()
    assert (of_cards | of_people) & alone == set()
    monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")
    listed = loaded_by("--emulators", "-p", PIN, "enumerate")
    assert "cryptnox_core.card" in listed
    # A card is known by points of the curve, which are embit's where there is no coincurve.
    for_points = {"embit"} if points.backend().name != "coincurve" else set()
    assert {name.partition(".")[0] for name in listed} & foreign <= for_points
    assert (of_psbts | of_people) & listed == set()


# docs/performance.md


def documented() -> list[dict[str, dict[str, str]]]:
    """The page's two tables, counts and seconds: cells by job and column."""
    tables: list[dict[str, dict[str, str]]] = []
    head: list[str] = []
    for line in (ROOT / "docs" / "performance.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("|") else []
        if cells[:1] == ["job"]:
            head = cells[1:]
            tables.append({})
        elif cells and not line.startswith("|---"):
            tables[-1][cells[0]] = {column: cell for column, cell in zip(head, cells[1:], strict=True) if cell}
    return tables


def check_documented(result: card_time.Result) -> None:
    """Every run of a job is on the page as it was counted."""
    counts, seconds = (table[result.name] for table in documented())
    for column, run in result.runs.items():
        assert counts[column] == card_time.amounts(run), column
        assert abs(float(seconds[column]) - run.seconds(card_time.DEFAULT_LATENCY)) < 0.06, column  # rounded


SIZES = (1, 10, 100)


def test_the_page_has_every_job_and_run() -> None:
    counts, seconds = documented()
    taproot = ["taproot check", *(f"signtx {size}, BIP86" for size in SIZES)]
    assert list(counts) == list(seconds) == ["connect", *(job.name for job in card_time.jobs(SIZES)), *taproot]
    assert {job: list(cells) for job, cells in counts.items()} == {job: list(cells) for job, cells in seconds.items()}
    assert set().union(*counts.values()) == set(card_time.COLUMNS)


@pytest.mark.parametrize("job", card_time.jobs([10]), ids=lambda job: job.name)
def test_the_page_says_what_a_command_costs(job: Job, card: EmulatorProcess, tmp_path: File) -> None:
    runs = {card_time.FIRST: card_time.run_ours(job, tmp_path, card)}
    if job.name != "enumerate":  # an emulated card over TCP is asked each time
        runs[card_time.KNOWN] = card_time.run_ours(job, tmp_path, card)
    check_documented(card_time.Result(job.name, runs))


def test_the_page_says_what_connecting_costs() -> None:
    pytest.importorskip("cryptnox_sdk_py", reason="the vendor's SDK needs Python 3.11")
    check_documented(card_time.measure_connect())


@pytest.mark.heavy
@pytest.mark.parametrize("job", card_time.jobs(SIZES), ids=lambda job: job.name)
def test_the_page_says_what_everything_costs(job: Job) -> None:
    result = card_time.measure(job)
    check_documented(result)
    page = set(documented()[0][job.name])
    assert set(result.runs) == page - ({card_time.KNOWN} if job.name == "enumerate" else set())


def test_the_page_says_what_a_new_wallet_costs(tmp_path: File) -> None:
    weak = ("Use it anyway", "y")
    new = [
        ("New PIN", PIN),
        ("Type it again", PIN),
        weak,
        ("Choose it yourself", "y"),
        ("New PUK", PUK),
        ("Type it again", PUK),
        weak,
    ]
    ready = ("Initialize the card now\\?", "y")
    counts = {}
    with EmulatorProcess() as blank:
        wipe = [(f'Type "{blank.serial}"', str(blank.serial)), ("PUK: ", PUK)]
        for command, typed in (
            ("setup", [(r"Seed \(words/card\)", "card"), ('Type "no backup"', "no backup"), *new, ready]),
            ("wipe", wipe),
            ("restore", [("Word 1: ", "abandon " * 23 + "art"), ("Passphrase: ", ""), *new, ready]),
        ):
            before = card_time.counted(blank)
            typist = Typist(tmp_path, blank, "-i", command)
            typist.types(*typed)
            assert typist.answer() == {"success": True}
            run = card_time.counted(blank) - before
            counts[command] = (run.apdus, run.derivations, run.signatures)
    assert counts == {"setup": (30, 8, 0), "wipe": (7, 0, 0), "restore": (30, 8, 0)}
    page = " ".join((ROOT / "docs" / "performance.md").read_text().split())
    assert "`setup` and `restore` take 30 APDUs and 8 derivations" in page
    assert "`wipe` takes 7 APDUs; none of the three makes a signature" in page


def test_commands_that_leave_the_card_alone(card: EmulatorProcess, hwi: Program) -> None:
    for command in ("displayaddress", "backup", "promptpin", "sendpin", "togglepassphrase", "installudevrules"):
        extra = {"displayaddress": ["--path", "m/84h/0h/0h/0/0"], "sendpin": ["1"]}.get(command, [])
        assert "error" in hwi.on(card, command, *extra)
        assert card_time.counted(card).apdus == 0
