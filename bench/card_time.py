"""What each command of `hwi-cryptnox` costs the card, beside the vendor's SDK and beside the least possible.

    python -m bench.card_time [--inputs 1,10,100] [--latency apdu=20,byte=0.1,derive=300,sign=300] [--json FILE]

All do the same jobs on the same emulated card over TCP and are counted by the card (`--stats`). Counts: APDUs, bytes
both ways, child derivations, signatures. A latency model in milliseconds turns them into the seconds a person waits;
one job is really waited for, on a card that is as slow as the model says. The tables come out as they stand in
docs/performance.md, which says how to read them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Any

from cryptnox_core.bip32 import HARDENED, Path
from cryptnox_core.card import Card
from cryptnox_core.certificate import CardCertificate
from cryptnox_core.transport.tcp import RemoteTransport
from tests.core.derivation_model import lower_bound
from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, out_deriv, p2wpkh, p2wsh
from tests.psbt.factory import multisig as multisig_script
from tests.support import bip86
from tests.support.emulator import PIN, EmulatorProcess

SEED = bytes(range(64))
"""The seed of the test wallet `ME`."""
RESULTS = File(__file__).parent / "results" / "card_time.json"
DEFAULT_LATENCY = {"apdu": 20.0, "byte": 0.1, "derive": 300.0, "sign": 300.0}
"""Milliseconds; the emulated card's `--latency default`."""
SIGNTX_OTHERS_FIRST, SIGNTX_OTHERS_KNOWN = 14, 12
"""APDUs besides SIGN that a signtx on one account may take: on first contact, and with a card known before."""
ENUMERATE_KNOWN = 3
"""APDUs that `enumerate` of a known card may take."""
LARGE, SDK_RATIO, BOUND_RATIO = 100, 0.4, 1.05
"""Waiting time for a one-account transaction of so many inputs: at most this much of the SDK's and of the least."""
MODEL_RANGE = (0.97, 1.15)
"""Where the seconds really waited may be, as a part of those of the latency model: a busy machine wakes up late."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the card was made to do."""

    apdus: int
    bytes: int
    derivations: int
    signatures: int

    @classmethod
    def of(cls, stats: Mapping[str, Any]) -> Counts:
        return cls(stats["apdus"], stats["bytes_in"] + stats["bytes_out"], stats["derivations"], stats["signatures"])

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            self.apdus - other.apdus,
            self.bytes - other.bytes,
            self.derivations - other.derivations,
            self.signatures - other.signatures,
        )

    def seconds(self, latency: Mapping[str, float]) -> float:
        """The wait under a latency model in milliseconds."""
        waits = (latency["apdu"], latency["byte"], latency["derive"], latency["sign"])
        counts = (self.apdus, self.bytes, self.derivations, self.signatures)
        return sum(wait * count for wait, count in zip(waits, counts, strict=True)) / 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work. `arguments` for `hwi-cryptnox`, through stdin where they are long; `sdk` does the same with a
    connected card of the vendor's SDK whose PIN is verified; `least` is what no program can do without."""

    name: str
    arguments: tuple[str, ...]
    sdk: Callable[[Any], None]
    least: Counts


# The least possible


def _secure(command: int, response: int) -> int:
    """Bytes of one exchange through the channel with so many plain ones: header, Lc, MAC, padded data; padded data with
    status word, MAC, status word."""
    return 5 + 16 + 16 * (command // 16 + 1) + 16 + 16 * ((response + 2) // 16 + 1) + 2


SELECT_BYTES = 5 + 7 + 24 + 2


def bound(*, xpubs: Sequence[Path] = (), signatures: Sequence[Path] = (), keys: Sequence[Path] = ()) -> Counts:
    """SELECT, card certificate, OPEN and MUTUAL of a card whose certificate is known; VERIFY PIN; the fingerprint; each
    extended key one DERIVE and one reading; each other key one reading, each signature one SIGN, with one level; every
    distinct key derived once."""
    apdus = 4 + 1 + 2 + 2 * len(xpubs) + len(keys) + len(signatures)
    size = SELECT_BYTES + (5 + 8 + 144) + (5 + 65 + 34) + _secure(32, 32) + _secure(9, 0)
    size += _secure(0, 0) + _secure(0, 65)
    size += sum(_secure(4 * path.depth, 0) + _secure(0, 106) for path in xpubs)
    size += len(keys) * _secure(4, 65) + len(signatures) * _secure(32 + 4 + 9, 71)
    return Counts(apdus, size, lower_bound([*xpubs, *signatures, *keys]), len(signatures))


def bound_at_keys(account: Path, signatures: Sequence[Path]) -> Counts:
    """The same where each key has to be current, and a signature is NONCE GEN, two keys and PARTIAL SIGN (BIP86)."""
    apdus = 4 + 1 + 2 + 2 + 5 * len(signatures)
    size = bound(xpubs=[account]).bytes
    size += len(signatures) * (_secure(4, 0) + _secure(0, 66) + 2 * _secure(33, 0) + _secure(2 * 65 + 33 + 32, 32))
    return Counts(apdus, size, lower_bound([account, *signatures]), len(signatures))


# The vendor's SDK, doing what HWI's commands need


def _sdk_fingerprint(card: Any) -> None:
    from cryptnox_sdk_py import Derivation

    card.derive(path="")
    card.get_public_key(Derivation.CURRENT_KEY)


def _sdk_xpub(card: Any, path: Path) -> None:
    card.derive(path=_sdk_path(path))
    card.get_public_key_extended()


def _sdk_sign(card: Any, path: Path) -> None:
    from cryptnox_sdk_py import Derivation

    card.sign(bytes(32), Derivation.DERIVE, path=_sdk_path(path), pin=PIN)


def _sdk_path(path: Path) -> str:
    return str(path).replace("h", "'")


def _sdk_job(*, xpubs: Sequence[Path] = (), signatures: Sequence[Path] = (), keys: Sequence[Path] = ()) -> Any:
    def run(card: Any) -> None:
        from cryptnox_sdk_py import Derivation

        _sdk_fingerprint(card)
        for path in xpubs:
            _sdk_xpub(card, path)
        for path in keys:
            card.get_public_key(Derivation.DERIVE, path=_sdk_path(path))
        for path in signatures:
            _sdk_sign(card, path)

    return run


# Transactions


def _spent(path: Path, number: int, multisig: bool) -> In:
    if not multisig:
        return In(p2wpkh(ME.key(path)), fields=[deriv(str(path))], salt=number)
    third = ME.key(Path((7, *path.steps[-2:])))
    script = multisig_script(2, sorted([ME.key(path), OTHER.key(path), third]))
    return In(p2wsh(script), fields=[deriv(str(path)), deriv(str(path), OTHER), (b"\x05", script)], salt=number)


def transaction(paths: Sequence[Path], *, multisig: bool = False, change: Path | None = None) -> str:
    """A PSBT (base64) that spends one P2WPKH, or one 2-of-3 P2WSH, output of each path."""
    outs = [Out(p2wpkh(OTHER.key("m/0")), 100_000 * len(paths) - 50_000)]
    if change is not None:
        outs.append(Out(p2wpkh(ME.key(change)), 40_000, [out_deriv(str(change))]))
    return draft(*(_spent(path, number, multisig) for number, path in enumerate(paths)), outs=outs).base64()


def key_paths(paths: Sequence[Path]) -> str:
    """A PSBT (base64) that spends one BIP86 output of each path."""
    return bip86.spending(map(str, paths), outs=[Out(p2wpkh(OTHER.key("m/0")), 100_000 * len(paths) - 10_000)]).base64()


def spread(count: int, bases: Sequence[Path]) -> list[Path]:
    """`count` different keys in turn over the first two chains of each base path."""
    chains = [base.child(chain) for base in bases for chain in (0, 1)]
    return [chains[number % len(chains)].child(number // len(chains)) for number in range(count)]


ACCOUNT = Path.parse("m/84h/0h/0h")
SECOND_ACCOUNT = Path.parse("m/84h/0h/1h")
MULTISIG_ACCOUNT = Path.parse("m/48h/0h/0h/2h")
TAPROOT_ACCOUNT = Path.parse("m/86h/0h/0h")


def jobs(sizes: Sequence[int]) -> list[Job]:
    """All jobs, with transactions of the given numbers of inputs."""
    purposes = [Path((HARDENED | purpose, HARDENED, HARDENED)) for purpose in (44, 49, 84)]
    message_key = ACCOUNT.child(0).child(0)
    found = [
        Job("enumerate", ("enumerate",), _sdk_job(), bound()),
        Job("getmasterxpub", ("getmasterxpub",), _sdk_job(xpubs=[ACCOUNT]), bound(xpubs=[ACCOUNT])),
        Job("getxpub", ("getxpub", str(ACCOUNT)), _sdk_job(xpubs=[ACCOUNT]), bound(xpubs=[ACCOUNT])),
        Job("getkeypool", ("getkeypool", "0", "100"), _sdk_job(xpubs=[ACCOUNT]), bound(xpubs=[ACCOUNT])),
        Job("getdescriptors", ("getdescriptors",), _sdk_job(xpubs=purposes), bound(xpubs=purposes)),
        Job(
            "signmessage",
            ("signmessage", "hello", str(message_key)),
            _sdk_job(keys=[message_key], signatures=[message_key]),
            bound(keys=[message_key], signatures=[message_key]),
        ),
    ]
    for size in sizes:
        for title, bases, multisig in (
            ("one account", [ACCOUNT], False),
            ("two accounts", [ACCOUNT, SECOND_ACCOUNT], False),
            ("2-of-3", [MULTISIG_ACCOUNT], True),
        ):
            paths = spread(size, bases)
            used = [base for base in bases if any(path.starts_with(base) for path in paths)]
            change = None if multisig else bases[0].child(1).child(1000)
            found.append(
                Job(
                    f"signtx {size}, {title}",
                    ("signtx", transaction(paths, multisig=multisig, change=change)),
                    _sdk_job(xpubs=used, signatures=paths),
                    bound(xpubs=used, signatures=paths),
                )
            )
    return found


# Counting


def counted(emulator: EmulatorProcess) -> Counts:
    """What the card has done so far."""
    try:
        return Counts.of(emulator.stats())
    except FileNotFoundError:  # nothing yet
        return Counts(0, 0, 0, 0)


def selections(emulator: EmulatorProcess) -> int:
    """SELECTs so far."""
    return emulator.stats()["by_ins"].get("A4", 0) if counted(emulator).apdus else 0


def run_ours(job: Job, folder: File, emulator: EmulatorProcess, *, pcsc: bool = False) -> Counts:
    """One run of the program, with its state in `folder`: on the card over TCP, or through PC/SC. RuntimeError where
    the program answers with an error."""
    options = ["--stdinpass", "--stdin"]
    if not pcsc:
        options.append("--emulators")
    if job.arguments[0] != "enumerate":
        options += ["-t", "cryptnox", "-d", f"cryptnox:{emulator.serial}" if pcsc else emulator.path]
    command = [str(File(sys.executable).with_name("hwi-cryptnox")), *options]
    return _counted_run(job, command, f"{PIN}\n{' '.join(job.arguments)}\n", folder, emulator, pcsc=pcsc)


def run_check(folder: File, emulator: EmulatorProcess) -> Counts:
    """`cryptnoxctl taproot check`, which has the card remembered as one that signs key paths."""
    job = Job("taproot check", (), lambda _: None, bound())
    command = [str(File(sys.executable).with_name("cryptnoxctl")), "taproot", "check", "--json", "--stdinpass"]
    return _counted_run(job, command, f"{PIN}\n", folder, emulator)


def run_stock(job: Job, folder: File, emulator: EmulatorProcess) -> Counts:
    """The same through hwilib's own `hwi`, with our driver in it."""
    code = "import hwilib_cryptnox; hwilib_cryptnox.register(); from hwilib._cli import main; main()"
    options = ["-t", "cryptnox", "-d", emulator.path, "-p", PIN]
    return _counted_run(job, [sys.executable, "-c", code, *options, *job.arguments], "", folder, emulator)


def _counted_run(
    job: Job, command: list[str], typed: str, folder: File, emulator: EmulatorProcess, *, pcsc: bool = False
) -> Counts:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRYPTNOX_")}
    environment |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
    if not pcsc:
        environment |= {"CRYPTNOX_EMULATOR": f"{emulator.host}:{emulator.port}", "PCSCLITE_CSOCK_NAME": os.devnull}
    before = counted(emulator)
    done = subprocess.run(command, input=typed, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout or "{}")
    first = answer[0] if isinstance(answer, list) and answer else answer
    if not first or "error" in first:
        raise RuntimeError(f"{job.name}: {done.stdout}{done.stderr}")
    return counted(emulator) - before


def connect_ours(emulator: EmulatorProcess, known: Sequence[CardCertificate]) -> tuple[Counts, CardCertificate | None]:
    """Secure channel and PIN with the card library alone; and the card's certificate."""
    before = counted(emulator)
    with Card(RemoteTransport.connect(emulator.host, emulator.port, 60)) as card:
        card.open_channel(known=known)
        card.verify_pin(PIN)
        return counted(emulator) - before, card.certificate


def run_sdk(job: Job, emulator: EmulatorProcess) -> Counts:
    """The same job with the vendor's SDK. It tries its kinds of cards in an order that differs from process to process,
    so that some select the card twice: the second SELECT is not counted."""
    from cryptnox_sdk_py import Connection, factory

    before = counted(emulator)
    with socket.create_connection((emulator.host, emulator.port)) as connection:
        selected = selections(emulator)
        card = factory.get_card(Connection(0, conn=[connection], remote=True))
        again = selections(emulator) - selected - 1
        card.verify_pin(PIN)
        job.sdk(card)
    return counted(emulator) - before - Counts(again, again * SELECT_BYTES, 0, 0)


@dataclass(frozen=True, slots=True)
class Result:
    """A job's counts, by who did it (`COLUMNS`)."""

    name: str
    runs: dict[str, Counts]


FIRST, KNOWN, STOCK, SDK, LEAST = "first contact", "card known", "stock `hwi`", "vendor SDK", "least"
ENDS_FIRST, ENDS_KNOWN, EXPORT_OFF = "PIN ends, first contact", "PIN ends, known", "export off"
COLUMNS = (FIRST, KNOWN, STOCK, ENDS_FIRST, ENDS_KNOWN, EXPORT_OFF, SDK, LEAST)
"""Ours with a fresh state folder, and with the card known; our driver in stock `hwi`, known; on a card that ends the
PIN with each signature; on a known card that does not give extended keys; the SDK; what no program can do without."""


@contextlib.contextmanager
def emulated_card(*options: str, export: bool = True) -> Iterator[EmulatorProcess]:
    """The card of the test wallet."""
    with EmulatorProcess("--seed", SEED.hex(), *(["--xpub-export"] if export else []), *options) as emulator:
        yield emulator


def measure(job: Job) -> Result:
    """All runs of one job."""
    runs: dict[str, Counts] = {}
    command = job.arguments[0]
    with emulated_card() as emulator, tempfile.TemporaryDirectory() as folder:
        runs[FIRST] = run_ours(job, File(folder), emulator)
        if command != "enumerate":  # emulated cards are always asked, and stock `hwi` asks other drivers too
            runs[KNOWN] = run_ours(job, File(folder), emulator)
            runs[STOCK] = run_stock(job, File(folder), emulator)
        runs[SDK] = run_sdk(job, emulator)
    if command == "signtx":
        with emulated_card("--reading", "pin-ends-at-sign") as emulator, tempfile.TemporaryDirectory() as folder:
            for name in (ENDS_FIRST, ENDS_KNOWN):
                runs[name] = run_ours(job, File(folder), emulator)
    if command in ("signtx", "signmessage"):
        with emulated_card(export=False) as emulator, tempfile.TemporaryDirectory() as folder:
            for _ in range(2):
                runs[EXPORT_OFF] = run_ours(job, File(folder), emulator)
    runs[LEAST] = job.least
    return Result(job.name, runs)


def measure_taproot(sizes: Sequence[int]) -> list[Result]:
    """The check of a card with MuSig2, and transactions whose inputs are BIP86 key paths."""
    results = []
    with emulated_card("--reading", "musig2") as emulator, tempfile.TemporaryDirectory() as folder:
        results.append(Result("taproot check", {FIRST: run_check(File(folder), emulator)}))
        for size in sizes:
            paths = spread(size, [TAPROOT_ACCOUNT])
            job = Job("signtx", ("signtx", key_paths(paths)), lambda _: None, bound_at_keys(TAPROOT_ACCOUNT, paths))
            runs = {KNOWN: run_ours(job, File(folder), emulator), LEAST: job.least}
            results.append(Result(f"signtx {size}, BIP86", runs))
    return results


def measure_connect() -> Result:
    """Secure channel and PIN, nothing else."""
    fingerprint = bound()
    with emulated_card() as emulator:
        first, certificate = connect_ours(emulator, ())
        known, _ = connect_ours(emulator, [certificate] if certificate else [])
        sdk = run_sdk(Job("connect", (), lambda _: None, fingerprint), emulator)
    least = Counts(fingerprint.apdus - 2, fingerprint.bytes - _secure(0, 0) - _secure(0, 65), 0, 0)
    return Result("connect", {FIRST: first, KNOWN: known, SDK: sdk, LEAST: least})


def measure_model(latency: Mapping[str, float]) -> tuple[float, float]:
    """Seconds really waited for a `signtx` of five inputs on a card with this latency, and those of the model. The
    host's own seconds are not among them: those of the same run on a card without latency are taken off. The quicker
    of two runs counts: the machine may be busy."""
    job = Job("signtx", ("signtx", transaction(spread(5, [ACCOUNT]))), lambda _: None, bound())
    waited = []
    for options in ((), ("--latency", ",".join(f"{name}={wait}" for name, wait in latency.items()))):
        with emulated_card(*options) as emulator, tempfile.TemporaryDirectory() as folder:
            run_ours(job, File(folder), emulator)
            times = []
            for _ in range(2):
                started = time.monotonic()
                counts = run_ours(job, File(folder), emulator)
                times.append(time.monotonic() - started)
            waited.append(min(times))
    return waited[1] - waited[0], counts.seconds(latency)


def measure_enumerate_of_known_card() -> Counts:
    """`enumerate` of a real (not a TCP) card whose fingerprint is known: through the virtual reader.

    Raises `tests.support.pcsc.UnavailableError` where there is none."""
    from tests.support import pcsc

    job = jobs([])[0]
    with (
        tempfile.TemporaryDirectory() as name,
        pcsc.VirtualReaders.acquire(File(name)) as readers,
        readers.card("--seed", SEED.hex(), "--xpub-export") as emulator,
    ):
        run_ours(job, File(name), emulator, pcsc=True)
        return run_ours(job, File(name), emulator, pcsc=True)


# Results


def report(results: Sequence[Result], latency: Mapping[str, float]) -> None:
    """Everything: a line a run."""
    print(
        f"{'':30} {'APDUs':>6} {'bytes':>8} {'derived':>8} {'signed':>6} {'seconds':>8} {'of SDK':>7} {'of least':>8}"
    )
    for result in results:
        print(result.name)
        for name in COLUMNS:
            counts = result.runs.get(name)
            if counts is None:
                continue
            seconds = counts.seconds(latency)
            parts = [seconds / result.runs[of].seconds(latency) if of in result.runs else 0 for of in (SDK, LEAST)]
            print(
                f"    {name:26} {counts.apdus:6} {counts.bytes:8} {counts.derivations:8} {counts.signatures:6}"
                f" {seconds:8.1f} {parts[0]:7.2f} {parts[1]:8.3f}"
            )


def table(results: Sequence[Result], cell: Callable[[Counts], str]) -> list[str]:
    """Lines of a table in Markdown: a row a job, a column for each of `COLUMNS`."""
    lines = ["| " + " | ".join(("job", *COLUMNS)) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for result in results:
        cells = [cell(result.runs[name]) if name in result.runs else "" for name in COLUMNS]
        lines.append("| " + " | ".join((result.name, *cells)) + " |")
    return lines


def amounts(counts: Counts) -> str:
    """A cell of the table of counts: APDUs and child derivations."""
    return f"{counts.apdus} / {counts.derivations}"


def misses(results: Sequence[Result], latency: Mapping[str, float]) -> list[str]:
    """Which of the limits are missed; the second result is that of `enumerate`."""
    missed = []
    found = results[1].runs.get(KNOWN)
    if found is not None and found.apdus > ENUMERATE_KNOWN:
        missed.append(f"enumerate of a known card: {found.apdus} APDUs, {ENUMERATE_KNOWN} allowed")
    one_account = [result.runs for result in results if result.name.endswith("one account")]
    for runs in one_account:
        inputs = runs[LEAST].signatures
        for name, limit in (
            (FIRST, SIGNTX_OTHERS_FIRST),
            (KNOWN, SIGNTX_OTHERS_KNOWN),
            (ENDS_KNOWN, SIGNTX_OTHERS_KNOWN + 1),
        ):
            others = runs[name].apdus - inputs
            if others > limit:
                missed.append(f"signtx {inputs}, {name}: {others} APDUs besides SIGN, {limit} allowed")
            if runs[name].derivations != runs[LEAST].derivations:
                missed.append(f"signtx {inputs}, {name}: {runs[name].derivations} derivations")
        if inputs >= LARGE:
            ours = runs[KNOWN].seconds(latency)
            sdk_ratio, bound_ratio = ours / runs[SDK].seconds(latency), ours / runs[LEAST].seconds(latency)
            print(f"signtx {inputs}: {sdk_ratio:.3f} of the SDK's waiting time (at most {SDK_RATIO})")
            print(f"signtx {inputs}: {bound_ratio:.3f} of the least possible (at most {BOUND_RATIO})")
            if sdk_ratio > SDK_RATIO or bound_ratio > BOUND_RATIO:
                missed.append(f"signtx {inputs}: waiting time")
    return missed


def parse_latency(text: str) -> dict[str, float]:
    """`default`, or some of apdu=, byte=, derive=, sign= in milliseconds; what is left out counts nothing."""
    if text == "default":
        return dict(DEFAULT_LATENCY)
    latency = dict.fromkeys(DEFAULT_LATENCY, 0.0)
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in latency:
            raise argparse.ArgumentTypeError(f"no such wait: {name}")
        latency[name] = float(value)
    return latency


def main(arguments: Sequence[str] = ()) -> int:
    """Measure, print, write JSON; 1 where a limit is missed."""
    parser = argparse.ArgumentParser(prog="bench.card_time", description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", default="1,10,100", help="sizes of the transactions")
    parser.add_argument("--latency", type=parse_latency, default=DEFAULT_LATENCY, metavar="SPEC")
    parser.add_argument("--json", type=File, default=RESULTS, help="where the figures go")
    options = parser.parse_args(arguments)
    latency = options.latency
    sizes = [int(size) for size in options.inputs.split(",")]
    results = [measure_connect(), *map(measure, jobs(sizes)), *measure_taproot(sizes)]
    from tests.support.pcsc import UnavailableError

    try:
        results[1].runs[KNOWN] = measure_enumerate_of_known_card()
    except UnavailableError as error:
        print(f"enumerate of a known card through PC/SC: not measured, {error}")
    report(results, latency)
    missed = misses(results, latency)
    waited, modelled = measure_model(latency)
    print(f"signtx 5, really waited for: {waited:.2f} s; by the model: {modelled:.2f} s")
    if not MODEL_RANGE[0] <= waited / modelled <= MODEL_RANGE[1]:
        missed.append("the latency model: another waiting time")
    print("\nAPDUs / child derivations\n", *table(results, amounts), sep="\n")
    print("\nSeconds\n", *table(results, lambda counts: f"{counts.seconds(latency):.1f}"), sep="\n")
    rows = {result.name: {name: asdict(counts) for name, counts in result.runs.items()} for result in results}
    model = {"waited": waited, "modelled": modelled}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"latency": latency, "model": model, "jobs": rows}, indent=1) + "\n")
    for line in missed:
        print(f"MISSED {line}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
