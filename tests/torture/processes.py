"""The parts of `scripts/torture` that need processes: several on one card, and some that are killed at any moment."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pexpect

from hwilib_cryptnox.psbt import Psbt, collect
from tests.ctl.program import dialogue
from tests.psbt.factory import ME, Draft, draft, spend
from tests.psbt.signing import check_on_kernel
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess
from tests.torture.parts import Part

ROOT = Path(__file__).resolve().parents[2]
HWI = (sys.executable, "-m", "hwilib_cryptnox.hwi")
CTL = (sys.executable, "-m", "hwilib_cryptnox.ctl.main")
SEED = bytes(range(64)).hex()
PINS = ("000000", "135790")
LIMIT = 60
BUSY = (-13, -16, -7, -3)


def environment(folder: Path, card: EmulatorProcess, **more: str) -> dict[str, str]:
    """A home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    home = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
    return {**kept, **home, "CRYPTNOX_EMULATOR": f"{card.host}:{card.port}", **more}


def check_state(folder: Path) -> int:
    """Every file is whole and private; how many there are."""
    state, number = folder / "state/hwi-cryptnox", 0
    for path in state.rglob("*"):
        if path.stat().st_mode & 0o077:
            raise AssertionError(f"{path.name}: others may read it")
        if path.is_dir() or path.name.startswith(".new-") or path.name == "lock" or path.parent.name == "locks":
            continue
        number += 1
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.name == "audit.jsonl":
            for line in path.read_text().splitlines()[:-1]:
                json.loads(line)
    return number


class Contention(Part):
    """Several processes on one card: each is served, or told that the card is busy."""

    name = "several processes"

    def __init__(self) -> None:
        super().__init__()
        self._card = EmulatorProcess("--seed", SEED, "--xpub-export", "--latency", "apdu=1").start()
        self._folder = tempfile.TemporaryDirectory(prefix="torture-")

    def close(self) -> None:
        self._card.stop()
        self._folder.cleanup()

    def step(self, number: int) -> None:
        rng = random.Random(number)
        device = ("--device-type", "cryptnox", "--device-path", self._card.path, "--stdinpass")
        psbt = draft(spend("p2wpkh"), spend("p2sh-p2wpkh", 1)).base64()
        commands = [(*device, "getdescriptors"), (*device, "signtx", psbt), ("--emulators", "--stdinpass", "enumerate")]
        wait = rng.choice(("0", "1", "10"))
        env = environment(Path(self._folder.name), self._card, CRYPTNOX_WAIT=wait)
        pipe = subprocess.PIPE
        running = [
            subprocess.Popen([*HWI, *rng.choice(commands)], stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=ROOT)
            for _ in range(rng.randrange(2, 5))
        ]
        for process in running:
            out, error = process.communicate(f"{PIN}\n".encode(), LIMIT)
            if process.returncode or b"Traceback" in error:
                raise AssertionError(f"status {process.returncode}: {error!r}")
            answer = json.loads(out)
            entries = answer if isinstance(answer, list) else [answer]
            failed = [entry for entry in entries if "error" in entry]
            if failed and not re.search("busy|in use|another program|another process", str(failed)):
                raise AssertionError(f"{failed}")
            if failed and wait == "10":
                raise AssertionError(f"not served within 10 s: {failed}")
            self.counts["told that the card is busy" if failed else "served"] += 1
        if self._card.stats()["pin_tries"]:
            raise AssertionError("a PIN try was spent")
        check_state(Path(self._folder.name))


class Kills(Part):
    """kill -9 at a random moment, and what is there afterwards."""

    name = "killed"

    def __init__(self) -> None:
        super().__init__()
        self._card = EmulatorProcess("--seed", SEED, "--xpub-export", "--latency", "apdu=3,sign=60").start()
        self._pin = PIN

    def close(self) -> None:
        self._card.stop()

    def step(self, number: int) -> None:
        rng = random.Random(number)
        with tempfile.TemporaryDirectory(prefix="torture-") as name:
            (self._signing, self._signing, self._pin_change, self._set_up)[rng.randrange(4)](rng, Path(name))
            self.counts["state files looked at"] += check_state(Path(name))

    def _run(
        self, folder: Path, card: EmulatorProcess, words: list[str], stdin: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*CTL, *words, "--card", card.path],
            input=stdin + "\n",
            env=environment(folder, card),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            start_new_session=True,
        )
        if "Traceback" in done.stderr:
            raise AssertionError(done.stderr)
        return done

    def _signing(self, rng: random.Random, folder: Path) -> None:
        """The draft is as it was, the signed file whole or not there, and the next attempt signs all of it."""
        count = rng.randrange(1, 9)
        made = draft(*(spend("p2wpkh", index) for index in range(count)))
        text = made.base64()
        source, target = folder / "draft.psbt", folder / "signed.psbt"
        source.write_text(text)
        words = ["sign", str(source), "--output", str(target), "--yes", "--stdinpass"]
        if rng.randrange(2):  # a card met before
            self._verify(folder, self._pin)
        before = self._card.stats()
        process = subprocess.Popen(
            [*CTL, *words, "--card", self._card.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(folder, self._card),
            cwd=ROOT,
        )
        self._feed(process, self._pin)
        killed = self._kill(process, rng.uniform(0.2, 1.2))
        check_state(folder)
        if source.read_text() != text:
            raise AssertionError("the draft was changed")
        reported = target.exists()
        if reported:
            self._complete(target, made)
        if not killed and not reported:
            raise AssertionError("it ended by itself and wrote nothing")
        self._card_is_free(folder)
        again = self._run(folder, self._card, [*words, "--force"], self._pin)
        if again.returncode:
            raise AssertionError(f"the next attempt: {again.stderr}")
        self._complete(target, made)
        if self._card.stats()["pin_tries"] != before["pin_tries"]:
            raise AssertionError("a PIN try was spent")
        self.counts["signing: " + ("killed" if killed else "was quicker")] += 1
        self.counts["signing: reported before the end"] += killed and reported

    @staticmethod
    def _complete(target: Path, made: Draft) -> None:
        psbt = Psbt.parse(target.read_bytes().strip())
        if not collect(psbt, ME.fingerprint).nothing_to_do:
            raise AssertionError("not all signatures are in the signed file")
        check_on_kernel(psbt, made)

    def _card_is_free(self, folder: Path) -> None:
        """The killed process's connection is gone."""
        end = time.monotonic() + 10
        while self._run(folder, self._card, ["pin", "tries"], "").returncode == 3:
            if time.monotonic() > end:
                raise AssertionError("the card stays busy")

    def _verify(self, folder: Path, pin: str) -> bool:
        return self._run(folder, self._card, ["pin", "verify", "--stdinpass"], pin).returncode == 0

    def _pin_change(self, rng: random.Random, folder: Path) -> None:
        """Afterwards one of the two PINs is right, and finding out which costs one try at most."""
        new = PINS[self._pin == PINS[0]]
        before = self._card.stats()["pin_tries"]
        with self._terminal(folder, self._card, "pin", "change") as child:
            steps = [("PIN", self._pin), ("New PIN", new), ("same again", new)]
            dialogue(child, *steps[: rng.choice((1, 2, 3, 3, 3, 3))])
            time.sleep(rng.uniform(0, 0.15))
            child.kill(signal.SIGKILL)
        check_state(folder)
        self._card_is_free(folder)
        changed = not self._verify(folder, self._pin)
        if changed:
            self._pin = new
            if not self._verify(folder, new):
                raise AssertionError("neither PIN is right")
        if self._card.stats()["pin_tries"] - before != changed:
            raise AssertionError("more PIN tries were spent than were wrong")
        self.counts["PIN change: " + ("had happened" if changed else "had not happened")] += 1

    def _set_up(self, rng: random.Random, folder: Path) -> None:
        """Afterwards the card is as from the factory, or initialised with the PIN and PUK that were typed."""
        with EmulatorProcess("--latency", "apdu=3") as card:
            with self._terminal(folder, card, "setup", "--seed", "restore", "--name", "", "--email", "") as child:
                steps = [("New PIN", PIN), ("same again", PIN), ("Choose it yourself?", "y"), ("New PUK", PUK)]
                steps += [("same again", PUK), ("own pairing key?", "n"), ("Initialise", "y")]
                steps += [("Word 1", MNEMONIC), ("Passphrase", "")]
                dialogue(child, *steps[: rng.randrange(6, len(steps) + 1)])
                time.sleep(rng.uniform(0, 0.3))
                child.kill(signal.SIGKILL)
            check_state(folder)
            end = time.monotonic() + 10
            while (done := self._run(folder, card, ["info", "--json"], "")).returncode == 3 and time.monotonic() < end:
                pass
            info = json.loads(done.stdout)
            if done.returncode:
                raise AssertionError(info)
            if info["initialised"]:
                if self._run(folder, card, ["pin", "verify", "--stdinpass"], PIN).returncode:
                    raise AssertionError("the PIN that was typed is not the card's")
                reset = self._run(folder, card, ["reset", "--serial", str(card.serial), "--stdinpuk"], PUK)
                if reset.returncode:
                    raise AssertionError(f"the PUK that was typed is not the card's: {reset.stderr}")
            if card.stats()["pin_tries"] or card.stats()["puk_tries"]:
                raise AssertionError("a try was spent")
            how = "seeded" if info.get("seeded") else "initialised" if info["initialised"] else "untouched"
            self.counts[f"set-up: {how}"] += 1

    @staticmethod
    def _terminal(folder: Path, card: EmulatorProcess, *words: str) -> pexpect.spawn:
        return pexpect.spawn(
            CTL[0],
            [*CTL[1:], *words, "--card", card.path],
            env=environment(folder, card, TERM="dumb"),
            cwd=str(ROOT),
            encoding="utf-8",
            timeout=LIMIT,
        )

    @staticmethod
    def _feed(process: subprocess.Popen[bytes], pin: str) -> None:
        if process.stdin is not None:
            process.stdin.write(f"{pin}\n".encode())
            process.stdin.close()

    @staticmethod
    def _kill(process: subprocess.Popen[bytes], after: float) -> bool:
        """Whether it was still running."""
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
        return False
