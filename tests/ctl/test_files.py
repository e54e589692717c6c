"""Files that are read and written: what cannot work is told before a card is troubled, and nothing is waited for
without end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwilib_cryptnox.ctl import files
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, read_file, write_new
from hwilib_cryptnox.ctl.main import main
from tests.console.test_terminal import make_psbt
from tests.ctl.program import COMMAND, PIN, answer, environment, run
from tests.support.emulator import EmulatorProcess


def untouched(card: EmulatorProcess) -> bool:
    """Nothing was signed."""
    return card.stats()["signatures"] == 0


@pytest.mark.parametrize("redirected", [True, False])
def test_stdout_is_no_file_to_sign_to(card: EmulatorProcess, tmp_path: Path, redirected: bool) -> None:
    words = [*COMMAND, "sign", "--yes", "--force", "--output", "/dev/stdout", str(make_psbt(tmp_path))]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out if redirected else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(card, CRYPTNOX_PIN=PIN),
        )
    assert done.returncode == 2 and b"choose another place" in done.stderr
    assert untouched(card) and not (tmp_path / "out").read_bytes()


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_names_as_long_as_they_can_be(card: EmulatorProcess, tmp_path: Path, force: list[str]) -> None:
    path = make_psbt(tmp_path)
    assert (
        "too long" in answer(card, "sign", "--yes", "--output", str(tmp_path / ("x" * 256)), str(path), code=2)["error"]
    )
    assert untouched(card)
    longest = tmp_path / ("x" * 255)
    assert answer(card, "sign", "--yes", *force, "--output", str(longest), str(path))["complete"]
    assert longest.stat().st_size > 100 and card.stats()["signatures"] == 2


def test_links_to_nothing(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    link, beyond = tmp_path / "link", tmp_path / "beyond"
    link.symlink_to(tmp_path / "target")
    beyond.symlink_to(tmp_path / "no folder" / "target")
    for words in (["--output", str(link)], ["--output", str(beyond)], ["--force", "--output", str(beyond)]):
        answer(card, "sign", "--yes", *words, str(path), code=2)
    assert untouched(card) and not (tmp_path / "target").exists()
    assert answer(card, "sign", "--yes", "--force", "--output", str(link), str(path))["complete"]
    assert link.is_symlink() and (tmp_path / "target").stat().st_size > 100


def test_what_is_tried_leaves_nothing(tmp_path: Path) -> None:
    check_free(tmp_path / "new", None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").write_bytes(b"old")
    for force in (None, False):
        with pytest.raises(CtlError, match="exists"):
            check_free(tmp_path / "there", force)
    check_free(tmp_path / "there", force=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["there"] and (tmp_path / "there").read_bytes() == b"old"
    for place in (tmp_path / "none" / "new", tmp_path / "there" / "new"):
        with pytest.raises(CtlError) as caught:
            check_free(place, force=True)
        assert caught.value.exit_code is Exit.USAGE


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    """Between the look and the writing."""
    target = tmp_path / "a"
    check_free(target, None)
    target.write_bytes(b"somebody else's")
    with pytest.raises(CtlError, match="exists"):
        write_new(target, b"ours")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"] and target.read_bytes() == b"somebody else's"


# Pipes


def test_a_pipe_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(files, "PIPE_WAIT", 0.3)
    started = time.monotonic()
    assert main(["verify", str(pipe)]) == 2
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("words", [["sign", "--yes"], ["verify"], ["data", "write"], ["pairing", "recover", "--file"]])
def test_every_command_gives_up(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setattr(files, "PIPE_WAIT", 0.1)
    assert main([*words, str(pipe)]) in (2, 3)


def test_a_slow_writer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opened the pipe and thinks, between its pieces too."""
    monkeypatch.setattr(files, "PIPE_WAIT", 2.0)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        time.sleep(0.3)
        with pipe.open("wb", buffering=0) as out:
            for piece in (b"one ", b"two"):
                time.sleep(2.5 if piece == b"one " else 0.3)
                out.write(piece)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(pipe) == b"one two"
    writer.join()


def test_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_INPUT", 3_000_000)
    path = tmp_path / "large"
    path.write_bytes(bytes(3_000_000))
    assert len(read_file(path)) == 3_000_000
    path.write_bytes(bytes(3_000_100))
    assert len(read_file(path)) == 3_000_001
    assert len(read_file("/dev/zero")) == 3_000_001
    assert main(["verify", str(path)]) == 5


# Names that are no text


@pytest.mark.skipif(sys.platform != "linux", reason="a file system that takes any bytes")
def test_names_that_are_no_text(card: EmulatorProcess, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.psbt")
    Path(name).write_bytes(make_psbt(tmp_path).read_bytes())
    data = answer(card, "sign", "--yes", name)
    assert data["file"] == name and Path(data["output"]).stat().st_size > 100
    for words in (["verify", name], ["verify", f"{name}.none"], ["export", "descriptor", "--output", f"{name}.txt"]):
        done = run(card, *words)
        assert "Traceback" not in done.stderr and done.returncode == (2 if words[1].endswith("none") else 0), done
        again = run(card, *words, "--json")
        json.loads(again.stdout)
