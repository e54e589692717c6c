"""The parts of `scripts/torture` that need whole processes: several on one card, and some killed at any time."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect

from hwilib_cryptnox.psbt import Psbt, collect
from tests.ctl.program import dialogue
from tests.psbt.factory import ME, Draft, draft, spend
from tests.psbt.signing import check_all_signed
from tests.support import pcsc
from tests.support.emulator import MNEMONIC, PIN, PUK, EmulatorProcess
from tests.system.torture.forked import check_state
from tests.system.torture.parts import NotHereError, Part
from tests.system.torture.together import ALONE, TOGETHER, check_alone, check_nonces, check_together

ROOT = Path(__file__).resolve().parents[3]
HWI = (sys.executable, "-m", "hwilib_cryptnox.hwi.program")
CTL = (sys.executable, "-m", "hwilib_cryptnox.ctl.main")
SEED = bytes(range(64)).hex()
PINS = ("000000", "135790")
LIMIT = 60
ROUNDS = 6
"""How often in a step some programs compete for its card."""
SLOW = "apdu=7,derive=15,sign=70"
"""How long the card takes, in milliseconds: a signing holds it for half a second."""
MARGIN = 20.0
"""Seconds a command may take beyond CRYPTNOX_WAIT: its start on a busy machine, and its own conversation."""
READER_WAIT = 60.0
"""Seconds the virtual reader is waited for, where another test run has it."""
DRAFT = draft(spend("p2wpkh"), spend("p2sh-p2wpkh", 1))
ABLE = ("--reading", "musig2")
BUSY = re.compile("busy|in use|another program|another process")


def environment(folder: Path, card: EmulatorProcess, **more: str) -> dict[str, str]:
    """A home of its own. A reader is seen only where the card is in one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    home = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
    if card.port:
        home |= {"CRYPTNOX_EMULATOR": f"{card.host}:{card.port}", "PCSCLITE_CSOCK_NAME": os.devnull}
    return {**kept, **home, **more}


class Contention(Part):
    """Several processes on one card: each is served with the right answer, or told in time that the card is busy."""

    name = "several processes"

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path()
        self._answers: dict[tuple[str, ...], object] = {}
        self._parts: set[str] = set()
        """The card's parts of MuSig2 signatures."""

    def step(self, number: int) -> None:
        rng = random.Random(number)
        self._answers.clear()
        self._parts = set()
        with tempfile.TemporaryDirectory(prefix="torture-") as name, self.card() as card:
            self._folder = Path(name)
            self._ask(card)
            for _ in range(ROUNDS):
                self._round(rng, card)

    @contextlib.contextmanager
    def card(self) -> Iterator[EmulatorProcess]:
        """The card they compete for."""
        with EmulatorProcess("--seed", SEED, "--xpub-export", *ABLE, "--latency", SLOW) as card:
            yield card

    def _ask(self, card: EmulatorProcess) -> None:
        """It signs key paths (BIP86)."""
        words = [*CTL, "taproot", "check", "--stdinpass", "--card", self.path(card)]
        env = environment(self._folder, card)
        done = subprocess.run(words, input=f"{PIN}\n".encode(), env=env, cwd=ROOT, capture_output=True, timeout=LIMIT)
        if done.returncode:
            raise AssertionError(f"taproot check: {done.stderr!r}")

    def path(self, card: EmulatorProcess) -> str:
        """Its path for HWI."""
        return card.path

    @contextlib.contextmanager
    def held(self, card: EmulatorProcess) -> Iterator[Callable[[], None]]:
        """Hold the card as a program that does nothing; what is given lets go of it."""
        with socket.create_connection((card.host, card.port)) as holder:
            time.sleep(0.2)  # until the card has taken this connection
            yield holder.close

    def _round(self, rng: random.Random, card: EmulatorProcess) -> None:
        device = ("--device-type", "cryptnox", "--device-path", self.path(card), "--stdinpass")
        listing = ("--emulators", "--stdinpass", "enumerate") if card.port else ("--stdinpass", "enumerate")
        signing = [(*device, "signtx", each.base64()) for each in (DRAFT, TOGETHER, ALONE)]
        commands = [(*device, "getdescriptors"), *signing, listing]
        for command in (commands[0], listing):  # what is answered without competition
            if self._answers.get(command) is None:
                done = self._start(command, card, 10.0)
                self._answers[command] = json.loads(done.communicate(f"{PIN}\n".encode(), LIMIT)[0])
        chosen = [(rng.choice(commands), rng.choice((0.0, 1.0, 10.0))) for _ in range(rng.randrange(2, 5))]
        hold = rng.choice((0.0, 0.0, 1.5, 3.0))
        with self.held(card) if hold else contextlib.nullcontext(lambda: None) as release:
            started = time.monotonic()
            running = []
            for command, wait in chosen:
                process = self._start(command, card, wait)
                if process.stdin is not None:
                    process.stdin.write(f"{PIN}\n".encode())
                    process.stdin.flush()
                running.append((command, wait, process))
            released = 0.0
            while running:
                now = time.monotonic() - started
                if hold and not released and now > hold:
                    release()
                    released = time.monotonic() - started
                for entry in running:
                    command, wait, process = entry
                    if process.poll() is None:
                        if now > wait + MARGIN:
                            process.kill()
                            raise AssertionError(f"{command[-1][:20]} takes more than {wait:.0f} s and {MARGIN:.0f}")
                        continue
                    running.remove(entry)
                    self._ended(command, wait, process, hold > 0, released)
                    break
                time.sleep(0.01)
        if card.stats()["pin_tries"]:
            raise AssertionError("a PIN try was spent")
        if card.stats()["nonces_again"]:
            raise AssertionError("a nonce met two PARTIAL SIGNs")
        check_state(self._folder)

    def _start(self, command: tuple[str, ...], card: EmulatorProcess, wait: float) -> subprocess.Popen[bytes]:
        env = environment(self._folder, card, CRYPTNOX_WAIT=str(wait))
        pipe = subprocess.PIPE
        return subprocess.Popen([*HWI, *command], stdin=pipe, stdout=pipe, stderr=pipe, env=env, cwd=ROOT)

    def _ended(
        self, command: tuple[str, ...], wait: float, process: subprocess.Popen[bytes], held: bool, released: float
    ) -> None:
        """Check the answer of one process, which ended just now; `released`: when the card was let go of, 0 not yet."""
        out, error = process.communicate()
        if process.returncode or b"Traceback" in error:
            raise AssertionError(f"status {process.returncode}: {error!r}")
        answer = json.loads(out)
        entries = answer if isinstance(answer, list) else [answer]
        failed = [entry for entry in entries if "error" in entry]
        if failed or not entries:
            if failed and not BUSY.search(str(failed)):
                raise AssertionError(f"{failed}")
            if wait == 10.0:
                raise AssertionError(f"not served within 10 s: {answer}")
            self.counts["told that the card is busy" if failed else "left out of a list: the card is busy"] += 1
            return
        known = self._answers.get(command)
        if command[-1] == TOGETHER.base64():
            self._parts |= check_together(answer["psbt"])
            check_nonces(self._parts)
        elif command[-1] == ALONE.base64():
            check_alone(answer["psbt"])
        elif known is None:
            psbt = Psbt.parse(answer["psbt"])
            if not collect(psbt, ME.fingerprint).stays_unchanged:
                raise AssertionError("not all signatures are there")
            check_all_signed(psbt, DRAFT)
        elif answer != known:
            raise AssertionError(f"{answer} and not {known}")
        if held and not released and command[-1] != "enumerate":
            raise AssertionError(f"{command[-1][:20]} was served while another program held the card")
        self.counts["waited for a card that was held, and served" if released else "served"] += 1


class ReaderContention(Contention):
    """The same through the PC/SC service and the virtual reader."""

    name = "several processes on a reader"

    def __init__(self) -> None:
        super().__init__()
        self._place = tempfile.TemporaryDirectory(prefix="torture-")

    def check(self) -> None:
        with self._readers():
            pass

    def step(self, number: int) -> None:
        try:
            super().step(number)
        except NotHereError:
            self.counts["steps left out: the reader was in use by another program"] += 1

    def close(self) -> None:
        super().close()
        self._place.cleanup()

    @contextlib.contextmanager
    def _readers(self) -> Iterator[pcsc.VirtualReaders]:
        """NotHereError where there is none, or a real reader beside it, whose card is not to be met."""
        try:
            readers = pcsc.VirtualReaders.acquire(Path(self._place.name), READER_WAIT)
        except pcsc.UnavailableError as error:
            raise NotHereError(str(error)) from error
        with readers:
            from cryptnox_core.transport.pcsc import list_readers

            if set(list_readers()) - set(pcsc.SLOTS):
                raise NotHereError("there is a real reader, whose card is left alone")
            yield readers

    @contextlib.contextmanager
    def card(self) -> Iterator[EmulatorProcess]:
        """In the first slot. The reader is given back after each step: other tests wait for it."""
        with (
            self._readers() as readers,
            readers.card("--seed", SEED, "--xpub-export", *ABLE, "--latency", SLOW) as card,
        ):
            yield card

    def path(self, card: EmulatorProcess) -> str:
        return f"cryptnox:{card.serial}"

    @contextlib.contextmanager
    def held(self, card: EmulatorProcess) -> Iterator[Callable[[], None]]:
        command = [sys.executable, "-m", "tests.support.hold_reader", pcsc.SLOTS[0], "exclusive"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe) as holder:
            if holder.stdout is None or holder.stdin is None or holder.stdout.readline() != b"holding\n":
                raise AssertionError("the reader cannot be held")

            def release() -> None:
                if holder.stdin is not None:
                    holder.stdin.close()
                holder.wait(LIMIT)

            try:
                yield release
            finally:
                release()


class Kills(Part):
    """kill -9 of a program as people start it, at any time, and what is there afterwards."""

    name = "killed at any time"

    def __init__(self) -> None:
        super().__init__()
        self._card = EmulatorProcess("--seed", SEED, "--xpub-export", *ABLE, "--latency", "apdu=3,sign=60").start()
        self._pin = PIN

    def close(self) -> None:
        self._card.stop()

    def step(self, number: int) -> None:
        rng = random.Random(number)
        with tempfile.TemporaryDirectory(prefix="torture-") as name:
            rng.choice((self._signing, self._pin_change, self._pairing_change, self._set_up))(rng, Path(name))
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
        kind = rng.choice(("signing", "signing, MuSig2", "signing, BIP86"))
        made = {"signing, MuSig2": TOGETHER, "signing, BIP86": ALONE}.get(kind) or draft(
            *(spend("p2wpkh", index) for index in range(rng.randrange(1, 9)))
        )
        text, parts = made.base64(), set[str]()
        source, target = folder / "draft.psbt", folder / "signed.psbt"
        source.write_text(text)
        words = ["sign", str(source), "--output", str(target), "--yes", "--stdinpass"]
        if rng.randrange(2):  # a card met before
            self._verify(folder, self._pin)
        if made is ALONE and self._run(folder, self._card, ["taproot", "check", "--stdinpass"], self._pin).returncode:
            raise AssertionError("the card does not sign key paths")
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
        check_state(folder, whole=False)
        if source.read_text() != text:
            raise AssertionError("the draft was changed")
        reported = target.exists()
        if reported:
            parts |= self._complete(target, made)
        if not killed and not reported:
            raise AssertionError("it ended by itself and wrote nothing")
        self._card_is_free(folder)
        again = self._run(folder, self._card, [*words, "--force"], self._pin)
        if again.returncode:
            raise AssertionError(f"the next attempt: {again.stderr}")
        check_nonces(parts | self._complete(target, made))
        if self._card.stats()["pin_tries"] != before["pin_tries"]:
            raise AssertionError("a PIN try was spent")
        if self._card.stats()["nonces_again"]:
            raise AssertionError("a nonce met two PARTIAL SIGNs")
        self.counts[f"{kind}: " + ("killed" if killed else "was quicker")] += 1
        if killed and reported:
            self.counts[f"{kind}: killed, and the result was there"] += 1

    @staticmethod
    def _complete(target: Path, made: Draft) -> set[str]:
        """The card's parts of MuSig2 signatures in it."""
        content = target.read_bytes()
        if made is TOGETHER:
            return check_together(content)
        if made is ALONE:
            check_alone(content)
            return set()
        psbt = Psbt.parse(content.strip())
        if not collect(psbt, ME.fingerprint).stays_unchanged:
            raise AssertionError("not all signatures are in the signed file")
        check_all_signed(psbt, made)
        return set()

    def _card_is_free(self, folder: Path, card: EmulatorProcess | None = None) -> None:
        """The killed process's connection is gone."""
        end = time.monotonic() + 10
        while self._run(folder, card or self._card, ["pin", "tries"], "").returncode == 3:
            if time.monotonic() > end:
                raise AssertionError("the card stays busy")

    def _verify(self, folder: Path, pin: str) -> bool:
        return self._run(folder, self._card, ["pin", "verify", "--stdinpass"], pin).returncode == 0

    def _pin_change(self, rng: random.Random, folder: Path) -> None:
        """Afterwards one of the two PINs is right, and finding out which costs one try at most."""
        new = PINS[self._pin == PINS[0]]
        before = self._card.stats()["pin_tries"]
        with self._terminal(folder, self._card, "pin", "change") as child:
            steps = [("PIN", self._pin), ("New PIN", new), ("Type it again", new)]
            steps += [("Use it anyway?", "y")] if new == PINS[0] else []
            dialogue(child, *steps[: rng.choice((1, 2, *[len(steps)] * 4))])
            time.sleep(rng.uniform(0, 0.15))
            child.kill(signal.SIGKILL)
        check_state(folder, whole=False)
        self._card_is_free(folder)
        changed = not self._verify(folder, self._pin)
        if changed:
            self._pin = new
            if not self._verify(folder, new):
                raise AssertionError("neither PIN is right")
        if self._card.stats()["pin_tries"] - before != changed:
            raise AssertionError("more PIN tries were spent than were wrong")
        self.counts["PIN change: " + ("had happened" if changed else "had not happened")] += 1

    def _pairing_change(self, rng: random.Random, folder: Path) -> None:
        """To an own key, to another one, or back to the common one. Afterwards the card opens without the PUK."""
        with EmulatorProcess("--seed", SEED, "--latency", "apdu=3") as card:
            if rng.randrange(3) and self._run(folder, card, ["pairing", "change", "--stdinpuk"], PUK).returncode:
                raise AssertionError("the first change")
            words = ["pairing", "change", "--stdinpuk", *(["--common"] if rng.randrange(2) else [])]
            process = subprocess.Popen(
                [*CTL, *words, "--card", card.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(folder, card),
                cwd=ROOT,
            )
            self._feed(process, PUK)
            killed = self._kill(process, rng.uniform(0.2, 0.7))
            check_state(folder, whole=False)
            self._card_is_free(folder, card)
            verified = self._run(folder, card, ["pin", "verify", "--stdinpass"], PIN)
            if verified.returncode:
                raise AssertionError(f"no key that is kept opens the card: {verified.stderr}")
            if card.stats()["pin_tries"] or card.stats()["puk_tries"]:
                raise AssertionError("a try was spent")
        self.counts["pairing key: " + ("killed" if killed else "was quicker")] += 1

    def _set_up(self, rng: random.Random, folder: Path) -> None:
        """Afterwards the card is as from the factory, or initialised with the PIN and PUK that were typed."""
        with EmulatorProcess("--latency", "apdu=3") as card:
            with self._terminal(folder, card, "setup", "--seed", "restore", "--name", "", "--email", "") as child:
                weak = ("Use it anyway?", "y")
                steps = [("New PIN", PIN), ("Type it again", PIN), weak, ("Choose it yourself?", "y"), ("New PUK", PUK)]
                steps += [("Type it again", PUK), weak, ("own pairing key?", "n"), ("Initialize", "y")]
                steps += [("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", "")]
                dialogue(child, *steps[: rng.randrange(8, len(steps) + 1)])
                time.sleep(rng.uniform(0, 0.3))
                child.kill(signal.SIGKILL)
            check_state(folder, whole=False)
            end = time.monotonic() + 10
            while (done := self._run(folder, card, ["info", "--json"], "")).returncode == 3 and time.monotonic() < end:
                pass
            info = json.loads(done.stdout)
            if done.returncode:
                raise AssertionError(info)
            if info["initialized"]:
                if self._run(folder, card, ["pin", "verify", "--stdinpass"], PIN).returncode:
                    raise AssertionError("the PIN that was typed is not the card's")
                reset = self._run(folder, card, ["reset", "--serial", str(card.serial), "--stdinpuk"], PUK)
                if reset.returncode:
                    raise AssertionError(f"the PUK that was typed is not the card's: {reset.stderr}")
            if card.stats()["pin_tries"] or card.stats()["puk_tries"]:
                raise AssertionError("a try was spent")
            how = "seeded" if info.get("seeded") else "initialised" if info["initialized"] else "untouched"
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
