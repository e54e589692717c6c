"""Finding the program and running it: nothing of what it does, or does not do, holds the window up."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwilib_cryptnox.electrum import program
from hwilib_cryptnox.electrum.errors import CanceledError, ProgramError
from hwilib_cryptnox.electrum.program import Conversation, child_environment, find_program
from tests.electrum import shim

MISSING = "was not found. Install hwi-cryptnox"


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a person who has nothing installed."""
    return {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}


@pytest.fixture(autouse=True)
def no_system_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own installation is not looked at."""
    runs = program._runs
    monkeypatch.setattr(program, "_runs", lambda file: not str(file).startswith("/usr/") and runs(file))


# Finding it


def test_missing_says_what_to_do(home: dict[str, str]) -> None:
    with pytest.raises(ProgramError, match=MISSING):
        find_program("", home)


@pytest.mark.parametrize(
    "place",
    [
        "home/.local/bin",
        "home/.local/share/pipx/venvs/hwi-cryptnox/bin",
        "home/.local/pipx/venvs/hwi-cryptnox/bin",
        "home/.local/share/uv/tools/hwi-cryptnox/bin",
        "bin",
    ],
)
def test_found_in_the_usual_folders(tmp_path: Path, home: dict[str, str], place: str) -> None:
    made = shim.write(tmp_path / place, "exit 0")
    assert find_program("", home) == str(made)


@pytest.mark.parametrize("variable", ["PIPX_BIN_DIR", "UV_TOOL_BIN_DIR", "XDG_BIN_HOME"])
def test_found_where_the_tools_are_told_to_put_it(tmp_path: Path, home: dict[str, str], variable: str) -> None:
    made = shim.write(tmp_path / "tools", "exit 0")
    assert find_program("", {**home, variable: str(tmp_path / "tools")}) == str(made)


def test_path_comes_first_and_the_settings_before_it(tmp_path: Path, home: dict[str, str]) -> None:
    on_path = shim.write(tmp_path / "bin", "exit 0")
    shim.write(tmp_path / "home/.local/bin", "exit 0")
    chosen = shim.write(tmp_path / "elsewhere", "exit 0")
    assert find_program("", home) == str(on_path)
    assert find_program(str(chosen), home) == str(chosen)


def test_never_from_the_current_folder(tmp_path: Path, home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Electrum was started, anybody may have put a program of that name."""
    shim.write(tmp_path, "exit 0")
    shim.write(tmp_path / "here", "exit 0")
    monkeypatch.chdir(tmp_path)
    for path in ("", ".", "here", ":", f".:{tmp_path / 'none'}"):
        with pytest.raises(ProgramError, match=MISSING):
            find_program("", {**home, "PATH": path})
    with pytest.raises(ProgramError, match="no program that can be run"):
        find_program("hwi-cryptnox", home)


def test_what_cannot_be_run_is_not_taken(tmp_path: Path, home: dict[str, str]) -> None:
    made = shim.write(tmp_path / "bin", "exit 0")
    made.chmod(0o600)
    (tmp_path / "home/.local/bin/hwi-cryptnox").mkdir(parents=True)
    with pytest.raises(ProgramError, match=MISSING):
        find_program("", home)
    for chosen in (made, tmp_path, tmp_path / "none"):
        with pytest.raises(ProgramError, match="no program that can be run"):
            find_program(str(chosen), home)


# Its environment


def test_electrums_own_python_stays_electrums() -> None:
    inside = {
        "APPDIR": "/tmp/.mount_electrum",
        "LD_LIBRARY_PATH": "/tmp/.mount_electrum/usr/lib",
        "PATH": "/tmp/.mount_electrum/usr/bin:/usr/bin",
        "PYTHONHOME": "/tmp/.mount_electrum/usr",
        "PYTHONNOUSERSITE": "1",
        "CRYPTNOX_WAIT": "7",
        "HOME": "/home/somebody",
    }
    assert child_environment(inside) == {"PATH": "/usr/bin", "CRYPTNOX_WAIT": "7", "HOME": "/home/somebody"}
    frozen = {"LD_LIBRARY_PATH": "/bundle", "LD_LIBRARY_PATH_ORIG": "/mine", "_PYI_ARCHIVE_FILE": "x", "_MEIPASS2": "y"}
    assert child_environment(frozen) == {"LD_LIBRARY_PATH": "/mine"}
    assert child_environment({"LD_LIBRARY_PATH": "/mine"}) == {"LD_LIBRARY_PATH": "/mine"}


# Running it


def talk(folder: Path, script: str, *lines: str) -> Conversation:
    return Conversation([str(shim.write(folder, script))], lines)


def test_lines_go_in_and_out(tmp_path: Path) -> None:
    with talk(tmp_path, 'read a; echo "[\\"$a\\"]"; read b; echo "{\\"b\\": \\"$b\\"}"', "1234") as one:
        assert one.next_answer(10) == ["1234"]
        one.send("wörld")
        assert one.next_answer(10) == {"b": "wörld"}


def test_a_hung_program_ends_in_time(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(ProgramError, match="did not answer within 1 s"), talk(tmp_path, "exec sleep 600") as one:
        one.next_answer(1)
    assert time.monotonic() - started < 8
    assert one._process.returncode is not None


def test_one_that_ignores_ctrl_c_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_PATIENCE", 0.5)
    marks = tmp_path / "pids"
    script = f"trap '' INT TERM; sleep 600 & echo $! >> {marks}; while :; do sleep 1; done"
    with pytest.raises(ProgramError), talk(tmp_path / "bin", script) as one:
        one.next_answer(1)
    assert one._process.returncode is not None
    (child,) = marks.read_text().split()
    deadline = time.monotonic() + 5
    while _lives(int(child)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(int(child))


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_stop_from_another_thread_ends_the_wait_at_once(tmp_path: Path) -> None:
    with pytest.raises(CanceledError), talk(tmp_path, "exec sleep 600") as one:
        threading.Timer(0.3, one.stop).start()
        started = time.monotonic()
        one.next_answer(60)
    assert time.monotonic() - started < 5 and one._process.returncode is not None


def test_stop_lets_the_program_clean_up(tmp_path: Path) -> None:
    """It is told as by Ctrl-C, on which it resets the card."""
    done = tmp_path / "done"
    with (
        pytest.raises(CanceledError),
        talk(tmp_path / "bin", f"trap 'echo x > {done}; exit' INT; echo 1; sleep 600 & wait") as one,
    ):
        assert one.next_answer(10) == 1
        one.stop()
        one.next_answer(10)
    assert done.exists()


@pytest.mark.parametrize(
    "script", ["exit 0", "exit 3", "echo", "echo nonsense", "printf '{'", "printf '\\377\\n'", "exec >&-; sleep 1"]
)
def test_no_json_is_an_error_with_the_files_name(tmp_path: Path, script: str) -> None:
    with pytest.raises(ProgramError, match=r"hwi-cryptnox gave no answer \(exit status"), talk(tmp_path, script) as one:
        one.next_answer(10)


def test_a_flood_is_held_back_and_ended(tmp_path: Path) -> None:
    """What nobody reads waits in the pipe, not in memory."""
    with talk(tmp_path, "exec yes 1") as one:
        assert one.next_answer(10) == 1
        time.sleep(0.5)
        assert one._out.qsize() <= program._MOST_LINES
    assert one._process.returncode is not None


def test_json_that_is_too_deep(tmp_path: Path) -> None:
    deep = 'awk \'BEGIN { for (i = 0; i < 100000; i++) printf "["; print "" }\''
    with pytest.raises(ProgramError, match="gave no answer"), talk(tmp_path, deep) as one:
        one.next_answer(20)


def test_its_last_words_are_told_short(tmp_path: Path) -> None:
    script = "(yes 'a long line of an error' | head -c 200000; echo; echo 'ImportError: no module') >&2; exit 1"
    words = r"\(exit status 1\). Its last words: ImportError: no module"
    with pytest.raises(ProgramError, match=words) as told, talk(tmp_path, script) as one:
        one.next_answer(20)
    assert len(str(told.value)) < 500


def test_one_that_cannot_be_started(tmp_path: Path) -> None:
    broken = tmp_path / "hwi-cryptnox"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    for words in ([str(broken)], [str(tmp_path)], [str(tmp_path / "none")]):
        with pytest.raises(ProgramError, match="cannot be started"):
            Conversation(words)


def test_a_program_that_reads_nothing_does_not_block_who_sends(tmp_path: Path) -> None:
    """A PSBT of megabytes is more than a pipe holds."""
    started = time.monotonic()
    with pytest.raises(ProgramError), talk(tmp_path, "exec sleep 600", "x" * 5_000_000) as one:
        one.next_answer(0.5)
    assert time.monotonic() - started < 8


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(5):
        with talk(tmp_path, "echo 1") as one:
            assert one.next_answer(10) == 1
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and threading.active_count() > threads:
        time.sleep(0.05)
    assert threading.active_count() <= threads
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_the_module_needs_neither_electrum_nor_anything_of_ours() -> None:
    """Copied alone into a folder, as in the zip, in a Python that has nothing else."""
    source = Path(program.__file__).parent
    code = (
        "import sys, types, pathlib\n"
        f"package = types.ModuleType('plugin'); package.__path__ = [{str(source)!r}]; sys.modules['plugin'] = package\n"
        "import plugin.cards, plugin.pins, plugin.errors, plugin.review, plugin.program\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(found & {'hwilib_cryptnox', 'cryptnox_core', 'electrum', 'PyQt6', 'smartcard', 'hwilib'}))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"
