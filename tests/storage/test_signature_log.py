"""The log of signatures and its index: what is found is what the lines say, whatever happened to the index."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hwilib_cryptnox.storage import signature_log as module
from hwilib_cryptnox.storage.signature_log import AUDIT, INDEX, INDEXED, LOGS, NONCES, Entry
from hwilib_cryptnox.storage.state import State


def line(number: int, *, coin: int | None = None, payees: int = 0, tx: int | None = None) -> Entry:
    return {
        "r": f"{number:064x}",
        "of": f"of {number}",
        "outpoint": f"coin {number if coin is None else coin}",
        "payees": f"payees {payees}",
        "txid": f"tx {number // 10 if tx is None else tx}",
        "ours": "ours",
    }


def add(state: State, *entries: Entry, log: str = AUDIT) -> None:
    with state.signatures() as lines:
        for entry in entries:
            lines.add(log, entry)


def found(state: State, name: str, value: str) -> list[Entry]:
    with state.signatures() as lines:
        return list(lines.find(name, value))


def check(state: State, entries: list[Entry]) -> None:
    """By every field every line is found, once for each value of the other field; what is not there is not."""
    with state.signatures() as lines:
        for name, other in INDEXED:
            wanted: dict[object, set[object]] = {}
            for entry in entries:
                if name in entry and other in entry:
                    wanted.setdefault(entry[name], set()).add(entry[other])
            for value, others in wanted.items():
                answers = list(lines.find(name, str(value)))
                assert {entry[other] for entry in answers} == others and len(answers) == len(others)
            assert list(lines.find(name, "nothing")) == []


MANY = [line(number, payees=number % 3, coin=number // 2) for number in range(3000)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 signatures, some in the other log: the table has grown on the way."""
    folder = tmp_path_factory.mktemp("written")
    state = State(folder)
    add(state, *MANY[:2000])
    add(state, *MANY[2000:2500], log=NONCES)
    add(State(folder), *MANY[2500:])
    return folder


@pytest.fixture
def full(written: Path, tmp_path: Path) -> State:
    """A copy of it, for a process that has not used it yet."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    for name in (*LOGS, INDEX):
        (folder / name).write_bytes((written / name).read_bytes())
    return State(folder)


def test_what_was_added_is_found(full: State) -> None:
    check(full, MANY)
    assert (full.folder / INDEX).stat().st_size > 2 * (module._START + module._LEAST_SLOTS * 24)


def test_the_index_is_no_scan(full: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up among 3,000 lines reads a few hundred bytes of the log, an addition as many."""
    found(full, "r", "nothing")
    read, taken = os.read, [0]

    def counted(descriptor: int, size: int) -> bytes:
        content = read(descriptor, size)
        taken[0] += len(content)
        return content

    monkeypatch.setattr(os, "read", counted)
    assert len(found(full, "r", f"{7:064x}")) == 1
    add(full, line(5000))
    assert taken[0] < 20_000 < (full.folder / AUDIT).stat().st_size / 20


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(at: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, cut, flip(3), flip(12), flip(40), flip(80), lambda path: path.write_bytes(b""),
     lambda path: path.write_bytes(random.Random(1).randbytes(5000))],
    ids=["missing", "cut", "magic", "slots", "mark", "checksum", "empty", "random"],
)  # fmt: skip
def test_a_damaged_index_is_made_anew(full: State, damage: Callable[[Path], None]) -> None:
    before = (full.folder / INDEX).read_bytes()
    damage(full.folder / INDEX)
    check(full, MANY)
    assert (full.folder / INDEX).read_bytes() != before
    add(full, line(9000))
    check(State(full.folder), [*MANY, line(9000)])


@pytest.mark.parametrize("keep", [0, 1, 1500, 1999])
def test_an_index_of_other_logs_is_made_anew(full: State, keep: int) -> None:
    """The owner has shortened the file, or put back an older one."""
    lines = (full.folder / AUDIT).read_bytes().splitlines(keepends=True)
    (full.folder / AUDIT).write_bytes(b"".join(lines[:keep]))
    check(full, [*MANY[:keep], *MANY[2000:2500]])
    assert found(full, "r", f"{2600:064x}") == []


def test_a_log_that_was_put_back_and_went_on(full: State) -> None:
    """An older copy, to which a version of the program has added that knows no index: longer than what was taken in."""
    kept = (full.folder / AUDIT).read_bytes().splitlines(keepends=True)[:1000]
    others = [line(number) for number in range(30_000, 32_500)]
    (full.folder / AUDIT).write_bytes(b"".join([*kept, *(json.dumps(entry).encode() + b"\n" for entry in others)]))
    check(full, [*MANY[:1000], *MANY[2000:2500], *others])


def test_what_another_program_added_is_taken_in(full: State) -> None:
    """A line, no line of ours, nothing that is JSON, and half a line, which counts when it is whole."""
    extra = [line(9001), line(9002)]
    with (full.folder / AUDIT).open("a") as file:
        file.write(json.dumps(extra[0]) + '\n["r"]\nnonsense\n{"r": 5, "of": 6}\n\xff\n' + json.dumps(extra[1])[:50])
    check(full, [*MANY, extra[0]])
    with (full.folder / AUDIT).open("a") as file:
        file.write(json.dumps(extra[1])[50:] + "\n")
    check(full, [*MANY, *extra])


def test_a_long_absence_costs_one_new_index(full: State) -> None:
    """More than the index may be behind."""
    extra = [line(number) for number in range(10_000, 14_000)]
    with (full.folder / AUDIT).open("a") as file:
        file.writelines(json.dumps(entry | {"more": "x" * 200}) + "\n" for entry in extra)
    check(full, [*MANY, *extra])


def test_a_kill_between_line_and_index_loses_nothing(full: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is there, the slot is not; or the slot is, and the header is not."""
    for number, name in ((9001, "_take_in"), (9002, "_mark"), (9003, "_write_header")):
        found(full, "r", "nothing")  # nothing is left to be taken in
        with monkeypatch.context() as patch:
            patch.setattr(module.SignatureLog, name, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                add(full, line(number))
        check(State(full.folder), [*MANY, *(line(n) for n in range(9001, number + 1))])


def test_a_power_cut_may_take_what_was_not_synchronized(full: State) -> None:
    """The header of later, the slots of before: what is behind the safe mark is taken in again."""
    found(full, "r", "nothing")
    slots = (full.folder / INDEX).read_bytes()[module._START :]
    add(full, *(line(number) for number in range(9000, 9050)))
    content = (full.folder / INDEX).read_bytes()
    assert len(content) == module._START + len(slots)
    (full.folder / INDEX).write_bytes(content[: module._START] + slots)
    check(State(full.folder), [*MANY, *(line(number) for number in range(9000, 9050))])


def test_a_power_cut_may_take_lines(full: State) -> None:
    """The index of later, the log of before, which then goes on differently."""
    before = (full.folder / AUDIT).read_bytes()
    add(full, *(line(number) for number in range(9000, 9050)))
    (full.folder / AUDIT).write_bytes(before)
    state = State(full.folder)
    check(state, MANY)
    add(state, *(line(number) for number in range(9500, 9600)))
    check(State(full.folder), [*MANY, *(line(number) for number in range(9500, 9600))])
    assert found(state, "r", f"{9001:064x}") == []


def test_a_table_told_to_be_empty_still_grows(full: State) -> None:
    """The count in the header is behind the truth, as after power cuts: nothing is lost, nothing hangs."""
    header = module._Header.decode((full.folder / INDEX).read_bytes()[: module._START])
    assert header is not None
    header.used = 0
    with (full.folder / INDEX).open("r+b") as file:
        file.write(header.encode())
    extra = [line(number) for number in range(20_000, 24_000)]
    add(full, *extra)
    check(State(full.folder), [*MANY, *extra])


def test_one_coin_spent_a_thousand_times(state: State) -> None:
    entries = [line(number, coin=1, payees=number, tx=1) for number in range(1000)]
    add(state, *entries)
    check(State(state.folder), entries)


def _work(folder: Path, number: int) -> None:
    state = State(folder)
    for index in range(40):
        add(state, line(number * 1000 + index))


def test_several_processes_at_a_time(state: State) -> None:
    """No line and no slot is lost, also while the table grows."""
    processes = [multiprocessing.get_context("spawn").Process(target=_work, args=(state.folder, n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    entries = [line(number * 1000 + index) for number in range(4) for index in range(40)]
    check(State(state.folder), entries)
    assert len(state.audited()) == len(entries)


def test_a_hundred_thousand_signatures(tmp_path: Path) -> None:
    """Seconds once, where the index is missing; then a signing costs what it costs with none."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    with (folder / AUDIT).open("w") as file:
        file.writelines(json.dumps(line(number)) + "\n" for number in range(100_000))
    started = time.process_time()
    assert len(found(State(folder), "r", f"{77_777:064x}")) == 1
    assert time.process_time() - started < 20
    state = State(folder)
    found(state, "r", "nothing")
    started = time.process_time()
    for number in range(200_000, 200_100):
        assert found(state, "r", f"{number:064x}") == found(state, "outpoint", f"coin {number}") == []
        add(state, line(number))
    assert (time.process_time() - started) / 100 < 0.01
    assert (folder / INDEX).stat().st_size < 14_000_000
