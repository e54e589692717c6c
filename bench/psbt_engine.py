"""Host CPU time of signing PSBTs, beside embit and BDK doing the same.

    python -m bench.psbt_engine [--inputs 1,10,100,500,1000] [--kinds p2wpkh,p2pkh,tapscript] [--runs 5] [--json FILE]

Ours counts everything the host does: parsing, checks, digests, deriving the keys from the account's extended key,
checking the signatures, putting them in and encoding. The signatures themselves are made beforehand: they are the
card's work. embit and BDK hold the private keys and do everything, the signature included. Times are medians; all but
embit take turns, and a part of BDK's time is the median of the rounds' parts.
"""

from __future__ import annotations

import argparse
import base64
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path as File

from cryptnox_core.bip32 import ExtendedPublicKey, Path
from hwilib_cryptnox.psbt import Psbt, SignRequest, collect, insert, plan
from tests.psbt.factory import ME, SPEND_PATH, Draft, In, Out, draft, p2wpkh, spend

RESULTS = File(__file__).parent / "results" / "psbt_engine.json"
ACCOUNTS = {kind: Path.parse(template.format(0)).parent.parent for kind, template in SPEND_PATH.items()}
SECRET = bytes(range(64))
EMBIT_RUNS, EMBIT_SLOW = 3, 500
"""embit's time grows with the square of the inputs: it is run so often, and once from so many inputs on."""
LIMITS = {
    "p2wpkh": {"derivation": 0.20, "total": 0.30, "engine": 0.10},
    "p2pkh": {"total": 0.30},
}
"""Parts of BDK's time at `LIMITS_AT` inputs that must not be exceeded."""
LIMITS_AT = 1000
MOST = {"p2pkh": 650}
"""Inputs of a kind that make a transaction which nodes relay, where 1000 do not; its limits count there."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind and number of inputs; CPU milliseconds."""

    kind: str
    inputs: int
    ours: dict[str, float]
    bdk: float
    embit: float
    of_bdk: dict[str, float]
    """Parts of BDK's time: engine (neither keys nor verification), derivation (with keys), total (with both)."""


def make(kind: str, inputs: int) -> Draft:
    """A PSBT with one recipient and, for the kinds that a key alone spends, change."""
    items: list[In] = [spend(kind, number) for number in range(inputs)]
    return draft(*items, outs=[Out(p2wpkh(ME.key("m/1")), 100_000 * inputs - 10_000)])


def derive_keys(account: ExtendedPublicKey, prefix: Path, paths: tuple[Path, ...]) -> dict[Path, bytes]:
    """The keys below an account, each branch derived once."""
    branches: dict[int, ExtendedPublicKey] = {}
    keys = {}
    for path in paths:
        branch, index = path.steps[len(prefix) :]
        if branch not in branches:
            branches[branch] = account.child(branch)
        keys[path] = branches[branch].child_public_key(index)
    return keys


Tasks = dict[str, Callable[[], object]]


def measure(tasks: Tasks, runs: int) -> dict[str, list[float]]:
    """CPU milliseconds of each run of each task. The tasks take turns, so that a busy machine is as busy for each."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(runs):
        for name, task in tasks.items():
            gc.collect()
            start = time.process_time()
            task()
            times[name].append((time.process_time() - start) * 1000)
    return times


def our_tasks(kind: str, data: bytes) -> Tasks:
    """Our parts, each on its own, and the whole."""
    prefix = ACCOUNTS[kind]
    account = ME.account(prefix)
    psbt = Psbt.parse(data)
    collected = collect(psbt, ME.fingerprint)
    keys = derive_keys(account, prefix, collected.paths)
    made = plan(psbt, collected, keys)
    signatures = [(request, ME.sign(request)) for request in made.requests]

    def everything() -> bytes:
        psbt = Psbt.parse(data)
        collected = collect(psbt, ME.fingerprint)
        keys = derive_keys(account, prefix, collected.paths)
        made = plan(psbt, collected, keys)
        pairs = [(request, signature) for request, (_, signature) in zip(made.requests, signatures, strict=True)]
        return insert(psbt, pairs).raw

    return {
        "parse": lambda: Psbt.parse(data),
        "collect": lambda: collect(psbt, ME.fingerprint),
        "derive": lambda: derive_keys(account, prefix, collected.paths),
        "plan": lambda: plan(psbt, collected, keys),
        "insert": lambda: insert(psbt, signatures),
        "verify": lambda: verify_all(signatures),
        "total": everything,
    }


def verify_all(signatures: list[tuple[SignRequest, bytes]]) -> None:
    """What `insert` spends on checking signatures."""
    from cryptnox_core.crypto.secp256k1 import verify_ecdsa, verify_schnorr

    for request, signature in signatures:
        if request.kind.value == "ECDSA":
            verify_ecdsa(request.public_key, request.digest, signature)
        else:
            verify_schnorr(request.public_key[1:], request.digest, signature)


def embit_task(data: bytes) -> Callable[[], object]:
    """embit's `sign_with` with the master key."""
    from embit.bip32 import HDKey
    from embit.psbt import PSBT

    root = HDKey.from_seed(SECRET)

    def task() -> object:
        psbt = PSBT.parse(data)
        psbt.sign_with(root)
        return psbt.serialize()

    return task


def bdk_task(kind: str, data: bytes) -> Callable[[], object]:
    """BDK's wallet signing the same PSBT. The wallet knows the descriptor; it need not know the coins."""
    import bdkpython as bdk
    from embit.bip32 import HDKey

    account = HDKey.from_seed(SECRET).derive(str(ACCOUNTS[kind]).replace("h", "'"))
    account.version = bytes.fromhex("0488ADE4")
    origin = f"[{ME.fingerprint.hex()}{str(ACCOUNTS[kind])[1:]}]{account.to_base58()}"
    wrap = {"p2wpkh": "wpkh({})", "p2pkh": "pkh({})", "tapscript": "tr({})"}[kind]
    network, kind_of_network = bdk.Network.BITCOIN, bdk.NetworkKind.MAIN
    if kind == "tapscript":
        from tests.psbt.factory import NUMS

        text = f"tr({NUMS.hex()},pk({origin}/0/*))"
        change = f"tr({NUMS.hex()},pk({origin}/1/*))"
    else:
        text, change = wrap.format(origin + "/0/*"), wrap.format(origin + "/1/*")
    descriptors = [bdk.Descriptor(item, kind_of_network) for item in (text, change)]
    wallet = bdk.Wallet(*descriptors, network, bdk.Persister.new_in_memory())
    encoded = base64.b64encode(data).decode()
    options = bdk.SignOptions(
        trust_witness_utxo=True,
        assume_height=None,
        allow_all_sighashes=False,
        try_finalize=False,
        sign_with_tap_internal_key=True,
        allow_grinding=True,
    )

    def task() -> object:
        psbt = bdk.Psbt(encoded)
        wallet.sign(psbt, options)
        return psbt.serialize()

    signed = base64.b64decode(str(task()))
    count = sum(1 for fields in Psbt.parse(signed).inputs if any(key[0] in (0x02, 0x14) for key in fields.pairs))
    if count != len(Psbt.parse(data).inputs):
        raise RuntimeError(f"BDK signed {count} inputs only: the comparison would not be fair")
    return task


def run(kinds: list[str], inputs: list[int], runs: int) -> list[Row]:
    """All figures."""
    rows = []
    for kind in kinds:
        for count in sorted({min(count, MOST.get(kind, count)) for count in inputs}):
            data = make(kind, count).encode()
            times = measure({**our_tasks(kind, data), "bdk": bdk_task(kind, data)}, runs)
            embit_runs = 1 if count >= EMBIT_SLOW else min(runs, EMBIT_RUNS)
            embit = measure({"embit": embit_task(data)}, embit_runs)["embit"]
            rounds = [dict(zip(times, values, strict=True)) for values in zip(*times.values(), strict=True)]
            mine = {name: statistics.median(values) for name, values in times.items() if name != "bdk"}
            ratios = {
                "engine": statistics.median([(t["total"] - t["verify"] - t["derive"]) / t["bdk"] for t in rounds]),
                "derivation": statistics.median([(t["total"] - t["verify"]) / t["bdk"] for t in rounds]),
                "total": statistics.median([t["total"] / t["bdk"] for t in rounds]),
            }
            bdk = statistics.median(times["bdk"])
            rows.append(Row(kind, count, mine, bdk, statistics.median(embit), ratios))
    return rows


def table(rows: list[Row]) -> str:
    """The figures as text."""
    names = ("parse", "collect", "derive", "plan", "insert", "verify", "total")
    lines = [
        "CPU ms, medians. engine = without key derivation and verification; +keys = with derivation; all = with both.",
        f"{'kind':<10}{'inputs':>7}" + "".join(f"{name:>9}" for name in names) + f"{'BDK':>9}{'embit':>9}"
        f"{'engine/BDK':>12}{'+keys/BDK':>11}{'all/BDK':>9}",
    ]
    for row in rows:
        ratios = row.of_bdk
        lines.append(
            f"{row.kind:<10}{row.inputs:>7}"
            + "".join(f"{row.ours[name]:>9.2f}" for name in names)
            + f"{row.bdk:>9.1f}{row.embit:>9.1f}"
            + f"{ratios['engine']:>12.3f}{ratios['derivation']:>11.3f}{ratios['total']:>9.3f}"
        )
    return "\n".join(lines)


def missed(rows: list[Row]) -> list[str]:
    """Limits that a run did not keep."""
    found = []
    for row in rows:
        at = min(LIMITS_AT, MOST.get(row.kind, LIMITS_AT))
        for name, limit in LIMITS.get(row.kind, {}).items() if row.inputs == at else ():
            if row.of_bdk[name] > limit:
                part = f"{name} takes {row.of_bdk[name]:.3f} of BDK's time (at most {limit})"
                found.append(f"{row.kind}, {row.inputs} inputs: {part}")
    return found


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the table; 1 where a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", default="1,10,100,500,1000")
    parser.add_argument("--kinds", default="p2wpkh,p2pkh,tapscript")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=File, default=RESULTS, help="where the figures go")
    options = parser.parse_args(arguments)
    rows = run(options.kinds.split(","), [int(item) for item in options.inputs.split(",")], options.runs)
    print(table(rows))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    problems = missed(rows)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
