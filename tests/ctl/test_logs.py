"""`--log-level` and `--log-file`: what is done, and no secret."""

from __future__ import annotations

import logging
import os
import re
import stat
from pathlib import Path

import pytest

from tests.ctl.program import answer, dialogue, ended, run, shown, terminal
from tests.psbt.factory import draft, spend
from tests.support.emulator import EmulatorProcess
from tests.system.security.test_secrets import PIN, PRIVATE_KEY, PSBT, PUK, SECRETS, SEED, WRONG
from tests.system.torture.programs import PAIR

SECRET = {"CRYPTNOX_EMULATOR_SEED": SEED.hex(), "CRYPTNOX_EMULATOR_PIN": PIN, "CRYPTNOX_EMULATOR_PUK": PUK}
LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO|WARNING|ERROR) (cryptnox_core|hwilib_cryptnox)\S*: .+"
)


@pytest.fixture
def marked():
    with EmulatorProcess("--xpub-export", environment={**os.environ, **SECRET}) as process:
        yield process


def clean(path: Path) -> str:
    """The log, in which every line is one, and no secret."""
    content = path.read_bytes()
    assert content and not SECRETS.found_in(content) and not PRIVATE_KEY.search(content)
    text = content.decode()
    assert all(LINE.fullmatch(line) for line in text.splitlines()), text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return text


def test_every_command_with_everything_logged(marked: EmulatorProcess, tmp_path: Path) -> None:
    """On pipes, the right PIN and a wrong one; each command's log is one of its own, for its owner alone."""
    psbt, pair, key = tmp_path / "draft.psbt", tmp_path / "pair.txt", tmp_path / "key"
    psbt.write_text(PSBT)
    pair.write_text(PAIR)
    key.write_text("5b" * 32)
    (tmp_path / "data").write_bytes(b"some bytes")
    pin, puk, both = (PIN, "--stdinpass"), (PUK, "--stdinpuk"), (f"{PIN}\n{PUK}", "--stdinpass", "--stdinpuk")
    commands: list[tuple[str, tuple[str, ...], int | None]] = [
        ("list", ("",), 0),
        ("list --serials", ("",), 0),
        ("info", ("",), 0),
        ("doctor", ("",), None),
        ("pin tries", ("",), 0),
        ("pin verify", (WRONG, "--stdinpass"), 4),
        ("pin verify", pin, 0),
        ("puk verify", puk, 0),
        ("owner", pin, 0),
        ("history", pin, 0),
        ("address 0-3", pin, 0),
        ("xpub m/84h/0h/0h", pin, 0),
        ("descriptors", pin, 0),
        ("sheet", pin, 0),
        ("export core", pin, 0),
        ("message sign hello", pin, 0),
        (f"sign {psbt} --yes", pin, 0),
        (f"verify {psbt}", ("",), None),
        ("audit", pin, None),
        (f"wallet add Pair {pair} --yes", pin, 0),
        ("wallet list", ("",), 0),
        ("wallet show Pair", ("",), 0),
        (f"data write {tmp_path / 'data'} --yes", pin, 0),
        ("data read", pin, 0),
        ("user-key list", pin, None),
        ("pinless set m/43h/60h/1581h/0", both, None),
        ("xpub off", puk, 0),
        ("xpub on", puk, 0),
        ("adopt", pin, 0),
        (f"pairing change --file {key}", puk, 0),
        ("pairing change --common", puk, 0),
        ("hwi status", ("",), None),
        ("forget all", ("",), 0),
        (f"reset --serial {marked.serial}", puk, 0),
        ("completion bash", ("",), 0),
    ]
    said = 0
    for number, (command, (stdin, *options), code) in enumerate(commands):
        log = tmp_path / f"log-{number}"
        words = (*command.split(), *options, "--log-level", "debug", "--log-file", str(log))
        done = run(marked, *words, stdin=f"{stdin}\n" if stdin else "", pin=None)
        assert code is None or done.returncode == code, (command, done.stdout, done.stderr)
        text = clean(log)
        assert f"cryptnoxctl {' '.join(command.split()[:1])}" in text
        said += text.count(" DEBUG cryptnox_core")
        assert not SECRETS.found_in(done.stdout.encode() + done.stderr.encode()), command
    assert said > 150, "what goes to the card is logged"


def test_a_set_up_with_everything_logged(tmp_path: Path) -> None:
    from tests.system.security.test_secrets import PASSPHRASE, WORDS

    log = tmp_path / "log"
    with (
        EmulatorProcess() as fresh,
        terminal(fresh, "--log-file", str(log), "setup", "--seed", "restore", "--name", "", "--email", "") as child,
    ):
        dialogue(child, ("New PIN", PIN), ("Type it again", PIN), ("Choose it yourself?", "y"), ("New PUK", PUK))
        dialogue(
            child, (("Type it again"), PUK), ("own pairing key?", "n"), ("Initialize", "y"), ("How many words", "12")
        )
        dialogue(child, ("Word 1", WORDS), ("Passphrase", PASSPHRASE), ("Type it again", PASSPHRASE))
        child.expect_exact("The card is ready")
        assert ended(child) == 0
    assert " 80fe" in clean(log), "INIT is logged by its header"


def test_it_goes_to_stderr_and_changes_no_answer(marked: EmulatorProcess) -> None:
    done = run(marked, "info", "--json", "--log-level", "debug")
    assert done.returncode == 0 and done.stdout.startswith("{") and "DEBUG cryptnox_core" in done.stderr
    quiet = run(marked, "info", "--json")
    assert quiet.stdout == done.stdout and quiet.stderr == ""
    assert "DEBUG" not in run(marked, "info", "--log-level", "info").stderr
    answer(marked, "info", "--log-level", "loud", code=2)


def test_the_file_is_its_owners_and_is_added_to(marked: EmulatorProcess, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    log.chmod(0o644)
    for _ in range(2):
        assert run(marked, "pin", "tries", "--log-file", str(log)).returncode == 0
    assert clean(log).count("INFO hwilib_cryptnox.ctl.logs: cryptnoxctl pin tries") == 2
    assert logging.getLogger("cryptnox_core").handlers == []


@pytest.mark.parametrize("place", ["folder", "missing/log", "/dev/full", "pipe"])
def test_a_file_that_cannot_be_written(marked: EmulatorProcess, tmp_path: Path, place: str) -> None:
    """Nothing is done; a full one disturbs nothing; nobody waits for a pipe that is not read."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    done = run(marked, "info", "--log-file", str(tmp_path / place))
    assert "Traceback" not in done.stderr and "Logging error" not in done.stderr
    if place == "/dev/full":
        assert (done.returncode == 0 and "ready" in done.stdout) or "xpub export" in done.stdout
    else:
        assert done.returncode == 2 and "--log-file" in done.stderr and done.stdout == ""


def test_an_error_is_in_the_log(marked: EmulatorProcess, tmp_path: Path) -> None:
    log, psbt = tmp_path / "log", tmp_path / "x.psbt"
    psbt.write_text(draft(spend("p2wpkh")).base64()[:-12])
    done = run(marked, "sign", "--yes", str(psbt), "--log-file", str(log))
    assert done.returncode == 5
    assert "INFO hwilib_cryptnox.ctl.logs: ended: " in clean(log)


def test_a_name_steers_no_terminal_by_the_log(marked: EmulatorProcess, tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(marked, "verify", "no\x1b[2Jsuch\u202efile", "--log-file", str(log))
    assert "\x1b" not in clean(log)


def test_the_words_of_a_dialogue_are_as_without_it(marked: EmulatorProcess, tmp_path: Path) -> None:
    with terminal(marked, "pin", "verify", "--log-file", str(tmp_path / "log")) as child:
        dialogue(child, ("PIN of card", PIN))
        assert ended(child) == 0
        assert PIN not in shown(child)
    clean(tmp_path / "log")


def test_a_file_that_is_no_log_is_not_added_to(marked: EmulatorProcess, tmp_path: Path) -> None:
    """It may be the transaction that is to be signed."""
    psbt = tmp_path / "x.psbt"
    psbt.write_text(PSBT)
    done = run(marked, "sign", "--yes", str(psbt), "--log-file", str(psbt))
    assert done.returncode == 2 and "is not a log" in done.stderr and psbt.read_text() == PSBT
    assert "C0" not in marked.stats()["by_ins"]
