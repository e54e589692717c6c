"""What is kept between processes."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hwilib_cryptnox.storage import state as module
from hwilib_cryptnox.storage.files import NoHomeError, config_folder, state_folder
from hwilib_cryptnox.storage.settings import Settings, SettingsError
from hwilib_cryptnox.storage.signature_log import AUDIT, NONCES
from hwilib_cryptnox.storage.state import CardRecord, NoteKind, State, StateError

RECORD = CardRecord(bytes.fromhex("73c5da0a"), b"k" * 32, "Reader 00 00", 6, NoteKind.PENDING, True, "1.6.2")


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "hwi-cryptnox"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setattr(sys, "platform", "linux")
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path))
    assert state_folder() == tmp_path / ".local/state/hwi-cryptnox"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a home: HOME is not set, and the system knows nobody of that number."""
    import pwd

    def nobody(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(sys.platform == "win32", reason="users of Windows are otherwise")
@pytest.mark.usefixtures("homeless")
def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each folder is where its variable says; without that the error names the variable."""
    for folder, name in ((state_folder, "XDG_STATE_HOME"), (config_folder, "XDG_CONFIG_HOME")):
        with pytest.raises(NoHomeError) as caught:
            folder()
        assert caught.value.strerror == (
            f"this user has no home folder: set HOME or {name} to the full path of a folder that is yours"
        )
    with pytest.raises(StateError, match="HOME or XDG_STATE_HOME"):
        State()
    with pytest.raises(SettingsError, match="HOME or XDG_CONFIG_HOME"):
        Settings.load({})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert State().folder == tmp_path / "hwi-cryptnox"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert Settings.load({}) == Settings()


def test_reading_makes_nothing(state: State) -> None:
    assert state.record(1) == CardRecord() and state.records() == {} and state.certificates() == []
    assert (
        state.partial(b"tx") == []
        and not state.has_signatures()
        and state.audited() == []
        and state.holder("Reader") is None
    )
    assert not state.folder.exists()


def test_a_record_comes_back(state: State) -> None:
    state.update(5, lambda _: RECORD)
    state.update(2**63 + 9, lambda now: replace(now, full_counter=3))
    assert state.records() == {5: RECORD, 2**63 + 9: CardRecord(full_counter=3)}
    assert State().record(5) == RECORD
    stored = json.loads((state.folder / "cards.json").read_text())
    assert set(stored) == {"5", str(2**63 + 9)} and stored["5"]["fingerprint"] == "73c5da0a"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes on Windows")
def test_modes(state: State) -> None:
    state.update(5, lambda _: RECORD)
    state.keep_certificate(5, b"der")
    state.keep_partial(b"tx", [])
    with state.signatures() as log:
        log.add(AUDIT, {"serial": "5"})
        log.add(NONCES, {"r": "aa", "of": "bb"})
    state.hold("Reader", 5)
    for path in [state.folder, *state.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_forget(state: State) -> None:
    for serial in (5, 6):
        state.update(serial, lambda _: RECORD)
        state.keep_certificate(serial, b"der %d" % serial)
    state.forget(5)
    assert set(state.records()) == {6} and state.certificates() == [b"der 6"]
    state.forget()
    assert state.records() == {} and state.certificates() == []


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"a": {}}', '{"5": 3}', '{"5": {"fingerprint": "zz"}}', '{"5": {"note": "?"}}', "[" * 100_000],
)
def test_damage_is_an_error(state: State, content: str) -> None:
    state.folder.mkdir(parents=True)
    (state.folder / "cards.json").write_text(content)
    with pytest.raises(StateError, match=r"cards\.json"):
        state.record(5)


def test_a_file_in_the_way(state: State) -> None:
    state.folder.parent.mkdir(parents=True)
    state.folder.write_text("")
    with pytest.raises(StateError):
        state.update(5, lambda _: RECORD)
    with pytest.raises(StateError):
        state.keep_partial(b"tx", [])


def test_many_writers(state: State) -> None:
    """No update is lost: each thread adds its own card and counts on a shared one."""

    def work(number: int) -> None:
        for _ in range(5):
            State().update(1, lambda now: replace(now, full_counter=(now.full_counter or 0) + 1))
        State().update(100 + number, lambda _: RECORD)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.record(1).full_counter == 30 and len(state.records()) == 7


def test_a_held_lock_ends_in_an_error(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_WAIT", 0.05)
    with state._locked(), pytest.raises(StateError, match="another process"):
        State().update(5, lambda _: RECORD)


def test_holder(state: State) -> None:
    state.update(5, lambda _: RECORD)
    assert state.holder("Reader 00 00") == 5
    state.hold("Reader 00 00", 7)
    assert state.holder("Reader 00 00") == 7
    state.release("Reader 00 00")
    state.release("Reader 00 00")
    assert state.holder("Reader 00 00") == 5 and state.holder("another") is None
    state.update(6, lambda _: RECORD)
    assert state.holder("Reader 00 00") is None, "two cards were seen there: nobody knows which it is"


@pytest.mark.parametrize("content", [b"9" * 5_000, b"9" * 50, b"", b"-5", b"5 ", b"\xff", "\u0665".encode()])
def test_a_lock_that_holds_no_serial_says_nothing(state: State, content: bytes) -> None:
    """The card that was last seen in the reader is taken, as without a lock."""
    state.update(5, lambda _: RECORD)
    state.hold("Reader 00 00", 7)
    [lock] = (state.folder / "locks").iterdir()
    lock.write_bytes(content)
    assert state.holder("Reader 00 00") == 5
    most = 2**160 - 1
    state.hold("Reader 00 00", most)
    assert state.holder("Reader 00 00") == most


def test_certificates_latest_first(state: State) -> None:
    for serial, age in ((1, 30), (2, 10), (3, 20)):
        state.keep_certificate(serial, b"%d" % serial)
        os.utime(state.folder / f"certs/{serial}.der", (time.time() - age,) * 2)
    assert state.certificates() == [b"2", b"3", b"1"]
    state.keep_certificate(1, b"1")
    assert state.certificates()[0] == b"1"


def test_partial_signatures(state: State) -> None:
    state.keep_partial(b"tx", [{"a": "b"}])
    state.add_partial(b"tx", {"c": "d"})
    state.keep_partial(b"old", [{"e": "f"}])
    file = next(path for path in (state.folder / "partial").iterdir() if '"e"' in path.read_text())
    os.utime(file, (time.time() - module.PARTIAL_LIFETIME - 1,) * 2)
    assert state.partial(b"tx") == [{"a": "b"}, {"c": "d"}]
    assert not file.exists() and state.partial(b"old") == []
    state.keep_partial(b"tx", [{"g": "h"}])
    assert state.partial(b"tx") == [{"g": "h"}]
    state.drop_partial(b"tx")
    assert state.partial(b"tx") == []


def test_partial_signatures_of_an_earlier_version(state: State) -> None:
    state.add_partial(b"tx", {"c": "d"})
    (file,) = (state.folder / "partial").iterdir()
    old = file.with_suffix(".json")
    old.write_text('[{"a": "b"}, {"x": "y"}]')
    old.chmod(0o600)
    assert state.partial(b"tx") == [{"c": "d"}, {"a": "b"}, {"x": "y"}]
    state.keep_partial(b"tx", [{"g": "h"}])
    assert state.partial(b"tx") == [{"g": "h"}] and not old.exists()
    old.write_text("[]")
    os.utime(old, (time.time() - module.PARTIAL_LIFETIME - 1,) * 2)
    state.partial(b"another")
    assert not old.exists()
    old.write_text("[]")
    state.drop_partial(b"tx")
    assert list((state.folder / "partial").iterdir()) == []


@pytest.mark.parametrize("torn", ['{"serial": "6', "[" * 100_000])
def test_a_torn_line_spoils_no_other(state: State, torn: str) -> None:
    """As a power cut leaves it: the next line begins anew."""
    with state.signatures() as log:
        log.add(AUDIT, {"serial": "5"})
    state.add_partial(b"tx", {"a": "b"})
    files = [state.folder / AUDIT, *(state.folder / "partial").iterdir()]
    for file in files:
        with file.open("a") as stream:
            stream.write(torn)
    assert state.audited() == [{"serial": "5"}] and state.partial(b"tx") == [{"a": "b"}]
    with state.signatures() as log:
        log.add(AUDIT, {"serial": "7", "r": "aa", "of": "bb"})
    state.add_partial(b"tx", {"c": "d"})
    assert [entry["serial"] for entry in state.audited()] == ["5", "7"]
    assert state.partial(b"tx") == [{"a": "b"}, {"c": "d"}]
    with State().signatures() as log:
        assert [entry["serial"] for entry in log.find("r", "aa")] == ["7"]


def test_a_full_disk_takes_back_what_it_has_begun(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with state.signatures() as log:
        log.add(AUDIT, {"serial": "5"})
    before = (state.folder / AUDIT).read_bytes()
    write, left = os.write, [10]

    def full(descriptor: int, content: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        written = write(descriptor, bytes(content)[: left[0]])
        left[0] -= written
        return written

    with state.signatures() as log, monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            log.add(AUDIT, {"serial": "6"})
    assert (state.folder / AUDIT).read_bytes() == before
