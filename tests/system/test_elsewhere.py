"""Windows and macOS, where the code has branches of its own. Neither was there: their names, what is missing in Python
there, and what Windows has instead are faked (tests/support/elsewhere.py), in the words of their documentation.
"""

from __future__ import annotations

import importlib.util
import io
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cryptnox_core
import hwilib_cryptnox
from cryptnox_core.emulator.server import Engine, TcpServer
from cryptnox_core.transport import pcsc
from cryptnox_core.transport.tcp import ApduRelay, listen
from hwilib_cryptnox.console import streams
from hwilib_cryptnox.ctl.commands import doctor
from hwilib_cryptnox.ctl.files import check_free, write_new
from hwilib_cryptnox.pin import assuan
from hwilib_cryptnox.pin.assuan import Assuan, AssuanError
from hwilib_cryptnox.pin.sources import CommandSource, FileSource, PinRequest, PinSourceError
from hwilib_cryptnox.storage import files
from hwilib_cryptnox.storage.state import State, StateError
from tests.support import elsewhere

ROOT = Path(__file__).resolve().parents[2]
REQUEST = PinRequest(serial=5)


# Modules


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_every_module_can_be_loaded(system: str) -> None:
    """In a process of its own, which loads nothing of ours before."""
    names = [
        found.name
        for package in (cryptnox_core, hwilib_cryptnox)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
        and ".specter" not in found.name
        and ".electrum" not in found.name
        and (".plugin" not in found.name or importlib.util.find_spec("hwilib"))
    ]
    assert len(names) > 100
    program = f"import importlib, tests.support.elsewhere\nfor name in {names}: importlib.import_module(name)"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "FAKED_SYSTEM": system, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_tests_that_are_chosen_there(system: str, tmp_path: Path) -> None:
    """`pytest --quick` as the workflows start it: it needs nothing that Python does not have there."""
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.support.elsewhere",
            "--quick",
            f"--basetemp={tmp_path / 'there'}",
        ],
        cwd=ROOT,
        env={**os.environ, "FAKED_SYSTEM": system, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout[-4000:] + run.stderr


# Folders and files


def test_folders_of_windows(windows: elsewhere.Msvcrt, tmp_path: Path) -> None:
    assert files.state_folder() == tmp_path / "Local" / "hwi-cryptnox"
    assert files.config_folder() == tmp_path / "Roaming" / "hwi-cryptnox"


def test_folders_of_macos(macos: None, tmp_path: Path) -> None:
    there = tmp_path / "Library" / "Application Support" / "hwi-cryptnox"
    assert files.state_folder() == files.config_folder() == there


@pytest.mark.parametrize("system", ["windows", "macos"])
def test_what_is_remembered(system: str, request: pytest.FixtureRequest) -> None:
    """Written, found again by the next process, and changed; nothing half done is left."""
    request.getfixturevalue(system)
    from dataclasses import replace

    State().update(5, lambda now: replace(now, fingerprint=b"\1\2\3\4"))
    State().update(5, lambda now: replace(now, full_counter=6))
    State().keep_certificate(5, b"der")
    assert (State().record(5).fingerprint, State().record(5).full_counter) == (b"\1\2\3\4", 6)
    assert State().certificates() == [b"der"]
    State().forget(5)
    assert State().certificates() == [] and not list(files.state_folder().rglob(".new-*"))


def test_a_lock_of_windows_keeps_others_out(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says EACCES of a lock that another has; that is waited for, and then an error."""
    from hwilib_cryptnox.storage import state as state_module

    state = State()
    held = files.PrivateFolder(state.folder).descriptor("lock")
    files.lock(held)
    monkeypatch.setattr(state_module, "LOCK_WAIT", 0.2)
    with pytest.raises(StateError, match="another process holds the state"):
        state.update(5, lambda now: now)
    os.close(held)
    state.update(5, lambda now: now)
    assert list(state.records()) == [5]


@pytest.mark.parametrize("seconds", [0.2, 60.0])
def test_a_file_that_another_program_has_open(
    seconds: float, windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows does not replace it meanwhile: a reader is waited for; one who stays is an error that loses nothing."""
    folder = files.PrivateFolder(files.state_folder())
    folder.replace("cards.json", b"old")
    really, until = Path.replace, time.monotonic() + seconds
    monkeypatch.setattr(files, "_OTHERS_TIME", 0.5)

    def while_open(self: Path, target: Path) -> Path:
        if time.monotonic() < until:
            raise PermissionError(13, "Permission denied")
        return really(self, target)

    monkeypatch.setattr(Path, "replace", while_open)
    if seconds < 1:
        folder.replace("cards.json", b"new")
        assert folder.read("cards.json") == b"new"
    else:
        with pytest.raises(PermissionError):
            folder.replace("cards.json", b"new")
        assert folder.read("cards.json") == b"old" and not list(folder.path.glob(".new-*"))


def test_links_are_refused_without_o_nofollow(windows: elsewhere.Msvcrt, tmp_path: Path) -> None:
    folder = files.PrivateFolder(files.state_folder())
    folder.replace("a", b"")
    (tmp_path / "theirs").write_bytes(b"secret")
    (folder.path / "b").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError, match="a symbolic link is not followed"):
        folder.read("b")


def test_a_junction_is_refused(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a folder for Windows' lstat, with a tag; anybody can make one."""

    class Status:
        st_mode, st_reparse_tag = 0o040700, 0xA0000003

    monkeypatch.setattr(Path, "lstat", lambda self: Status())
    with pytest.raises(OSError, match="a symbolic link is not followed"):
        files.PrivateFolder(files.state_folder()).read("cards.json")


def test_macos_empties_the_drives_memory_too(macos: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By F_FULLFSYNC; where the file system has none, by fsync."""
    import fcntl

    done: list[str] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda descriptor, what: done.append(f"fcntl {what}"))
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("fsync"))
    folder = files.PrivateFolder(tmp_path / "state")
    folder.replace("a", b"")
    assert done == ["fcntl 51", "fsync"]  # the file, its folder

    def unknown(descriptor: int, what: int) -> None:
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(fcntl, "fcntl", unknown)
    done.clear()
    folder.replace("a", b"")
    assert done == ["fsync", "fsync"]


def test_results_are_written(windows: elsewhere.Msvcrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is open has no other name and is not removed on Windows: none is, when it is tried."""
    really_unlink, really_link = Path.unlink, os.link

    def closed(path: Path) -> None:
        names = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
        assert str(path) not in names, "it is open: PermissionError, on Windows"

    def unlink(self: Path, missing_ok: bool = False) -> None:
        closed(self)
        really_unlink(self, missing_ok=missing_ok)

    def link(path: Path, target: Path) -> None:
        closed(path)
        really_link(path, target)

    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(os, "link", link)
    check_free(tmp_path / "signed.psbt", None)
    write_new(tmp_path / "signed.psbt", b"psbt")
    write_new(tmp_path / "signed.psbt", b"again", force=True)
    assert (tmp_path / "signed.psbt").read_bytes() == b"again" and len(list(tmp_path.glob("*.psbt"))) == 1


# PIN sources


def test_a_pin_file_is_refused_where_its_mode_says_nothing(windows: elsewhere.Msvcrt, tmp_path: Path) -> None:
    (tmp_path / "pin").write_text("4321")
    with pytest.raises(PinSourceError, match="CRYPTNOX_PIN_COMMAND"):
        FileSource(str(tmp_path / "pin")).get(REQUEST)


def test_a_command_line_of_windows_is_left_as_it_is(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backslashes are letters there; the program, not a shell, gets the line."""
    started: list[object] = []

    def popen(words: object, **settings: object) -> None:
        started.append(words)
        assert not settings.get("shell")
        raise FileNotFoundError(2, "The system cannot find the file specified")

    monkeypatch.setattr(subprocess, "Popen", popen)
    line = r'"C:\Program Files\Vault\vault.exe" read cryptnox\pin'
    with pytest.raises(PinSourceError, match="cannot find the file"):
        CommandSource(f"  {line} ").get(REQUEST)
    assert started == [line]
    with pytest.raises(PinSourceError, match="is empty"):
        CommandSource("  ").get(REQUEST)


def test_the_socket_of_gnupg_on_windows(windows: elsewhere.Msvcrt, tmp_path: Path) -> None:
    """A file with a port and a nonce, which is sent first; then it is Assuan as elsewhere."""
    nonce, heard = bytes(range(1, 17)), []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def agent() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb") as stream:
                heard.append(stream.read(16))
                stream.write(b"OK Pleased to meet you\n")
                stream.flush()
                heard.append(stream.readline())
                stream.write(b"D 4321\nOK\n")
                stream.flush()

        thread = threading.Thread(target=agent)
        thread.start()
        path = tmp_path / "S.gpg-agent"
        path.write_bytes(b"%d\n" % listener.getsockname()[1] + nonce)
        with Assuan.socket("gpg-agent", str(path), 10) as conversation:
            assert conversation.command("GET_PASSPHRASE --data") == b"4321"
        thread.join()
    assert heard == [nonce, b"GET_PASSPHRASE --data\n"]


@pytest.mark.parametrize("content", [b"", b"1234\n" + bytes(15), b"port\n" + bytes(16), b"123456\n" + bytes(16)])
def test_a_file_that_is_no_socket(content: bytes, windows: elsewhere.Msvcrt, tmp_path: Path) -> None:
    (tmp_path / "S.gpg-agent").write_bytes(content)
    with pytest.raises(AssuanError, match="does not answer"):
        Assuan.socket("gpg-agent", str(tmp_path / "S.gpg-agent"), 1)


def test_programs_of_macos_that_are_not_in_path(macos: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program started from a window has neither Homebrew's nor GPG Suite's folders in its PATH."""
    program = tmp_path / "pinentry-mac"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(AssuanError, match="not installed"):
        assuan._installed("pinentry-mac")
    monkeypatch.setattr(assuan, "_MACOS_PLACES", ("/nowhere", str(tmp_path)))
    assert assuan._installed("pinentry-mac") == str(program)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(AssuanError, match="not installed"):
        assuan._installed("pinentry-mac")


# Output


@pytest.mark.parametrize(("page", "written"), [("cp1252", b"\x80 \\u20bf"), ("cp437", b"\\u20ac \\u20bf")])
def test_letters_that_a_code_page_does_not_have(page: str, written: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=page))
    assert streams.complete()
    sys.stdout.write("€ ₿")
    sys.stdout.flush()
    assert raw.getvalue() == written


# Waiting


def test_waiting_for_a_card_is_cut_into_pieces(windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows wakes no wait for a Ctrl-C: it is seen between two of them."""
    waits: list[float] = []
    really = threading.Event.wait

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        waits.append(timeout or 0.0)
        return really(self, timeout)

    monkeypatch.setattr(threading.Event, "wait", wait)
    assert not pcsc._wait(threading.Event(), 0.55)
    assert len(waits) > 4 and max(waits) <= 0.2
    done = threading.Event()
    done.set()
    assert pcsc._wait(done, 60)


@pytest.mark.parametrize("which", ["relay", "emulator"])
def test_a_server_looks_up_from_waiting(which: str, windows: elsewhere.Msvcrt, monkeypatch: pytest.MonkeyPatch) -> None:
    """And still takes who comes."""
    came = threading.Event()
    if which == "relay":
        server = listen("127.0.0.1", 0)
        relay = ApduRelay(lambda: (came.set(), pytest.fail("no card"))[1])  # type: ignore[arg-type]
        monkeypatch.setattr(ApduRelay, "serve_connection", lambda self, connection, name: came.set())
        target, address, end = (lambda: relay.serve(server)), server.getsockname()[:2], server.close
        listener = server
    else:
        from cryptnox_core.emulator.card import Card
        from hwilib_cryptnox.ctl.commands.emulator import Wanted, new_memory

        wanted = Wanted(seed=None, pin=None, puk=None, xpub_export=False, serial=None, card_type=None)
        own = TcpServer(Engine(Card(new_memory(wanted), ())), "127.0.0.1", 0)
        monkeypatch.setattr(TcpServer, "_serve_client", lambda self, connection: came.set())
        target, address, end, listener = own.serve, own.address, own.close, own._listener
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    time.sleep(0.8)  # it has looked up once
    assert listener.gettimeout() == 0.5
    with socket.create_connection(address, 5):
        assert came.wait(5)
    end()
    thread.join(5)
    assert not thread.is_alive()


# What people are told


@pytest.mark.parametrize(("system", "words"), [("win32", "Windows starts"), ("darwin", "part of the system")])
def test_remedies_are_of_this_system(system: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("smartcard", reason="pyscard is not installed, which is the library there")
    elsewhere.patched(system, monkeypatch)
    found = list(doctor._service())
    assert words in found[0].remedy and "apt" not in found[0].remedy
    monkeypatch.setattr(pcsc, "list_readers", list)
    monkeypatch.setattr(pcsc, "library", lambda: "pyscard")
    assert not any(word in doctor._READER_REMEDIES[system] for word in ("apt", "lsusb"))
    assert list(doctor._service())[-1].remedy == doctor._READER_REMEDIES[system]
