"""The state folder: who may read it, and what it refuses to touch."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hwilib_cryptnox.storage.signature_log import AUDIT, INDEX, NONCES
from hwilib_cryptnox.storage.state import State, StateError
from hwilib_cryptnox.storage.wallets import WalletStore


def remember(state: State) -> None:
    """A signature of each log."""
    with state.signatures() as log:
        log.add(AUDIT, {"serial": "5", "r": "aa", "of": "bb"})
        log.add(NONCES, {"r": "cc", "of": "dd"})


def look_up(state: State) -> None:
    with state.signatures() as log:
        assert len(list(log.find("r", "aa"))) == 1


def know_wallet(state: State) -> None:
    """Whether or not it is known already."""
    store = WalletStore(state)
    store.remove("Pair")
    store.add("Pair", "wsh(a)#1", b"abcd", "2026-11-26")


EVERYTHING: dict[str, Callable[[State], object]] = {
    "cards.json": lambda state: state.update(5, lambda now: replace(now, full_counter=6)),
    "cards.json (read)": lambda state: state.records(),
    "pairing.json": lambda state: state.keep_pairing_key(5, b"k" * 32),
    "pairing.json (read)": lambda state: state.pairing_key(5),
    "wallets.json": know_wallet,
    "wallets.json (read)": lambda state: WalletStore(state).all(),
    "certs/5.der": lambda state: state.keep_certificate(5, b"der"),
    "certs (read)": lambda state: state.certificates(),
    "partial": lambda state: state.keep_partial(b"tx", [1]),
    "partial (add)": lambda state: state.add_partial(b"tx", {"a": "b"}),
    "partial (read)": lambda state: state.partial(b"tx"),
    "partial (drop)": lambda state: state.drop_partial(b"tx"),
    "locks": lambda state: state.hold("Reader", 5),
    "locks (read)": lambda state: state.holder("Reader"),
    "locks (drop)": lambda state: state.release("Reader"),
    "audit.jsonl": remember,
    "audit.jsonl (read)": lambda state: state.audited(),
    "audit.index (read)": look_up,
    "forget": lambda state: state.forget(),
}


def fill(state: State) -> None:
    for name, work in EVERYTHING.items():
        if "(" not in name and name != "forget":
            work(state)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_only_the_owner_may_look(state: State) -> None:
    """Whatever the umask."""
    before = os.umask(0)
    try:
        fill(state)
    finally:
        os.umask(before)
    paths = [state.folder, *state.folder.rglob("*")]
    assert len(paths) > 10
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_left_open_is_closed(state: State) -> None:
    fill(state)
    for path in [state.folder, *state.folder.rglob("*")]:
        path.chmod(0o777)
    for work in EVERYTHING.values():
        work(state)
    assert stat.S_IMODE(state.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((state.folder / "lock").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_linked_folder_is_refused(state: State, tmp_path: Path, name: str) -> None:
    elsewhere = State(tmp_path / "elsewhere")
    fill(elsewhere)
    before = contents(elsewhere.folder)
    state.folder.symlink_to(elsewhere.folder)
    with pytest.raises(StateError, match="symbolic link"):
        EVERYTHING[name](state)
    assert contents(elsewhere.folder) == before


@pytest.mark.parametrize("below", ["certs", "partial", "locks"])
def test_a_linked_folder_below_is_refused(state: State, tmp_path: Path, below: str) -> None:
    elsewhere = State(tmp_path / "elsewhere")
    fill(elsewhere)
    before = contents(elsewhere.folder)
    state.update(5, lambda now: replace(now, full_counter=6))
    (state.folder / below).symlink_to(elsewhere.folder / below)
    for name, work in EVERYTHING.items():
        if name.startswith(below) or (name == "forget" and below == "certs"):
            with pytest.raises(StateError, match="symbolic link"):
                work(state)
    assert contents(elsewhere.folder) == before


def test_a_linked_file_is_neither_read_nor_written_through(state: State, tmp_path: Path) -> None:
    fill(state)
    for path in [path for path in state.folder.rglob("*") if path.is_file()]:
        target = tmp_path / f"target-{path.name}"
        target.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(target)
    targets = {path: path.read_bytes() for path in tmp_path.glob("target-*")}
    assert len(targets) == 10
    for name, work in EVERYTHING.items():
        if name == "certs (read)":
            assert state.certificates() == []
        elif not name.endswith("(drop)") and name not in ("partial", "locks"):  # those see to the name alone
            with pytest.raises(StateError, match="symbolic link"):
                work(state)
    assert {path: path.read_bytes() for path in targets} == targets


@pytest.mark.parametrize("name", [AUDIT, NONCES, INDEX])
def test_no_file_of_what_was_signed_may_be_a_link(state: State, tmp_path: Path, name: str) -> None:
    fill(state)
    (state.folder / name).rename(tmp_path / "target")
    (state.folder / name).symlink_to(tmp_path / "target")
    before = (tmp_path / "target").read_bytes()
    for work in (remember, look_up):
        with pytest.raises(StateError, match="symbolic link"):
            work(state)
    assert (tmp_path / "target").read_bytes() == before


def test_a_linked_file_is_replaced_not_followed(state: State, tmp_path: Path) -> None:
    """Where nothing has to be read first, the link gives way to a file."""
    fill(state)
    target = tmp_path / "target"
    target.write_bytes(b"untouched")
    (partial,) = (state.folder / "partial").iterdir()
    partial.unlink()
    partial.symlink_to(target)
    state.keep_partial(b"tx", [2])
    assert target.read_bytes() == b"untouched" and not partial.is_symlink()
    assert state.partial(b"tx") == [2]


@pytest.mark.parametrize("name", ["cards.json", "pairing.json", AUDIT, INDEX, "lock"])
def test_what_is_no_file_hangs_nobody(state: State, name: str) -> None:
    """A named pipe nobody writes to."""
    state.folder.mkdir(parents=True)
    os.mkfifo(state.folder / name)
    with pytest.raises(StateError):
        state.records()
        state.pairing_key(5)
        state.audited()
        remember(state)
        state.update(5, lambda now: replace(now, full_counter=6))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("what", ["", "cards.json"])
def test_what_belongs_to_somebody_else_is_refused(state: State, what: str) -> None:
    fill(state)
    os.chown(state.folder / what, 12345, 12345)
    with pytest.raises(StateError, match="another user"):
        state.record(5)


def test_a_failed_write_leaves_the_old_file(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the disk is full, or the process ends: the new content takes the old one's place when it is complete."""
    fill(state)
    before = contents(state.folder)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left"):
        state.update(5, lambda now: replace(now, full_counter=3))
    assert contents(state.folder) == before and json.loads(before["cards.json"])["5"]["full"] == 6


def test_a_write_is_on_disk_when_it_returns(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synchronised before it gets its name, the folder after."""
    order: list[str] = []
    sync, rename = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        order.append("name")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    state.update(5, lambda now: replace(now, full_counter=6))
    assert order == ["file", "name", "folder"]


def begun(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".new-*")]


@pytest.mark.parametrize(
    "name,again",
    [
        (
            "cards.json",
            lambda state: state.update(6, lambda now: replace(now, full_counter=(now.full_counter or 0) + 1)),
        ),
        ("partial/tx.json", lambda state: state.partial(b"tx")),
        ("locks/reader", lambda state: state.hold("Reader", 5)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_killed_process_began_to_write_is_removed(
    state: State, name: str, again: Callable[[State], object]
) -> None:
    """By the next that writes (or lists) there. What a living process is writing stays."""
    fill(state)
    before = contents(state.folder)
    # The process stops where its content is about to get its name.
    code = (
        "import sys, pathlib\n"
        "from hwilib_cryptnox.storage.files import PrivateFolder\n"
        "pathlib.Path.replace = lambda self, target: (print('there', flush=True), sys.stdin.read())\n"
        "PrivateFolder(pathlib.Path(sys.argv[1])).replace(sys.argv[2], b'half')\n"
    )
    command = [sys.executable, "-c", code, str(state.folder), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"there\n"
        again(state)
        assert len(begun(state.folder)) == 1
        writer.kill()
    assert len(begun(state.folder)) == 1
    again(state)
    assert begun(state.folder) == []
    assert set(contents(state.folder)) == set(before)


def test_a_file_said_to_be_begun_is_no_way_out_of_the_folder(state: State, tmp_path: Path) -> None:
    """Neither a link nor a pipe with such a name is followed, waited for or worth an error."""
    fill(state)
    target = tmp_path / "target"
    target.write_bytes(b"x")
    (state.folder / ".new-link").symlink_to(target)
    os.mkfifo(state.folder / ".new-pipe")
    state.update(6, lambda now: replace(now, full_counter=6))
    assert target.read_bytes() == b"x" and len(begun(state.folder)) == 2


def test_both_pairing_keys_of_a_change_are_kept(state: State) -> None:
    old, new = b"o" * 32, b"n" * 32
    state.keep_pairing_key(5, old)
    state.keep_pairing_key(6, old)
    state.keep_pairing_key(5, new, old)
    assert state.pairing_keys(5) == (new, old) and state.pairing_key(5) == new
    assert state.pairing_keys(6) == (old,) and state.pairing_keys(7) == ()
    state.keep_pairing_key(5, old)
    assert state.pairing_keys(5) == (old,)
    assert json.loads((state.folder / "pairing.json").read_text())["5"] == old.hex()
    state.keep_pairing_key(5, None)
    assert state.pairing_keys(5) == () and state.pairing_keys(6) == (old,)


@pytest.mark.parametrize("content", ["[]", '{"5": 3}', '{"5": [3]}', '{"5": ["00"]}', '{"5": {"6": "00"}}', "{"])
def test_damaged_pairing_keys_are_an_error(state: State, content: str) -> None:
    fill(state)
    (state.folder / "pairing.json").write_text(content)
    with pytest.raises(StateError, match=r"pairing\.json"):
        state.pairing_keys(5)
