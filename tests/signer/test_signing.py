"""signtx: what is signed, what is left alone, what it costs, and what happens when the card goes away."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from embit.psbt import PSBT as EmbitPsbt

import hwilib_cryptnox
from cryptnox_core.bip32 import Path as KeyPath
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.signer.cards import Access
from hwilib_cryptnox.signer.signing import Signing
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.hwi.conftest import SEED, Program
from tests.psbt.factory import (
    ME,
    OTHER,
    Draft,
    In,
    Out,
    bip86,
    deriv,
    draft,
    le,
    out_deriv,
    p2wpkh,
    sighash,
    spend,
    tap_deriv,
)
from tests.psbt.factory import Wallet as KeyTree
from tests.support.emulator import PIN, EmulatorProcess, Stats
from tests.support.kernel import failing_inputs
from tests.support.optional import hwilib

KINDS = ("p2pkh", "p2pk", "p2sh-p2wpkh", "p2wpkh", "multisig", "p2sh", "p2wsh", "p2sh-p2wsh", "rawtr")
FPR = ME.fingerprint.hex()


def check(answer: Any, given: Draft) -> Psbt:
    """The answer is signed, and Bitcoin Core's verifier takes every input of it."""
    assert answer["signed"] is True, answer
    signed = Psbt.parse(answer["psbt"])
    spent = [(item.amount, item.script) for item in given.ins]
    assert failing_inputs(extract(signed), spent) == []
    return signed


def account(count: int, *, chains: bool = True) -> Draft:
    """`count` inputs of one account, in turn on both chains, and change that goes back to it."""
    ins = []
    for number in range(count):
        path = f"m/84h/0h/0h/{number % 2 if chains else 0}/{number}"
        script = p2wpkh(ME.key(path))
        ins.append(In(script, 50_000, [deriv(path)], salt=number))
    change = "m/84h/0h/0h/1/1000"
    outs = [
        Out(p2wpkh(OTHER.key("m/0")), 30_000),
        Out(p2wpkh(ME.key(change)), 50_000 * count - 40_000, [out_deriv(change)]),
    ]
    return Draft(ins, outs)


def spent_on(card: EmulatorProcess, before: Stats) -> tuple[int, int, int]:
    """APDUs that are no SIGN, child derivations, signatures since `before`."""
    now = card.stats()
    signs = now["by_ins"].get("C0", 0) - before["by_ins"].get("C0", 0)
    return (
        now["apdus"] - before["apdus"] - signs,
        now["derivations"] - before["derivations"],
        now["signatures"] - before["signatures"],
    )


# What is signed


def test_every_script(signer: EmulatorProcess, hwi: Program) -> None:
    given = draft(*(spend(kind, number) for number, kind in enumerate(KINDS)))
    check(hwi.on(signer, "signtx", given.base64()), given)


@pytest.mark.parametrize("version", [0, 2])
def test_versions_and_sequence_zero(signer: EmulatorProcess, hwi: Program, version: int) -> None:
    """nSequence 0 stays 0 (some libraries make it ffffffff), the lock time counts, version 2 keeps its fields."""
    given = draft(spend("p2wpkh", sequence=0), spend("p2pkh", 1, sequence=0), version=version, lock_time=500)
    signed = check(hwi.on(signer, "signtx", given.base64()), given)
    assert signed.version == version
    assert [bytes(sequence) for sequence in signed.tx.sequences] == [le(0), le(0)]


def test_a_hundred_inputs(signer: EmulatorProcess, hwi: Program) -> None:
    given = account(100)
    check(hwi.on(signer, "signtx", given.base64()), given)


@pytest.mark.parametrize("form", ["base64", "hex"])
def test_forms(signer: EmulatorProcess, hwi: Program, form: str) -> None:
    """Taken as base64 or hex, given back as base64."""
    given = draft(spend("p2wpkh"))
    text = given.base64() if form == "base64" else given.encode().hex()
    check(hwi.on(signer, "signtx", text), given)


def test_everything_else_stays(signer: EmulatorProcess, hwi: Program) -> None:
    """Unknown and proprietary pairs, their order, foreign signatures and derivations; only our signature is new."""
    given = draft(spend("p2wsh"), spend("p2wpkh", 1))
    given.inputs[0].insert(0, (b"\xfc\x03abc\x01", b"proprietary"))
    given.inputs[1].append((b"\xf0unknown", b"value"))
    given.outputs[0].append((b"\xf1", b""))
    signed = check(hwi.on(signer, "signtx", given.base64()), given)
    before = Psbt.parse(given.base64())
    for index, fields in enumerate(signed.inputs):
        added = [key for key in fields.pairs if key not in before.inputs[index].pairs]
        assert len(added) == 1 and added[0][0] == 2
        assert [pair for pair in fields.pairs.items() if pair[0] not in added] == list(
            before.inputs[index].pairs.items()
        )
    assert signed.outputs == before.outputs and signed.globals == before.globals


def test_nothing_of_ours(signer: EmulatorProcess, hwi: Program) -> None:
    """The very same text, with neither card nor PIN where the fingerprint is told."""
    path = "m/84h/0h/0h/0/0"
    given = draft(In(p2wpkh(OTHER.key(path)), fields=[deriv(path, OTHER)])).base64()
    assert hwi.on(signer, "signtx", given) == {"psbt": given, "signed": False}
    before = signer.stats()["apdus"]
    assert hwi("-f", FPR, "signtx", given) == {"psbt": given, "signed": False}
    assert signer.stats()["apdus"] == before


@pytest.mark.parametrize("fields", [[], [deriv("m/84h/0h/0h/0/0"), (b"\x08", b"\x01\x01\x51")]])
def test_what_cannot_be_anybodys(signer: EmulatorProcess, hwi: Program, fields: list[tuple[bytes, bytes]]) -> None:
    """No key is named, or all inputs are final: a card never met is not asked who it is, nor need it be there."""
    given = draft(In(p2wpkh(ME.key("m/84h/0h/0h/0/0")), fields=fields)).base64()
    before = signer.stats()["apdus"]
    assert hwi.on(signer, "signtx", given) == {"psbt": given, "signed": False}
    assert signer.stats()["apdus"] == before


def test_what_cannot_be_anybodys_through_hwilib(signer: EmulatorProcess) -> None:
    given = draft(In(p2wpkh(ME.key("m/84h/0h/0h/0/0")), fields=[])).base64()
    before = signer.stats()["apdus"]
    psbt = hwilib("hwilib.psbt").PSBT()
    client = hwilib_cryptnox.CryptnoxClient(signer.path, PIN)
    psbt.deserialize(given)
    assert client.sign_tx(psbt) is psbt
    assert signer.stats()["apdus"] == before


def test_signed_already(signer: EmulatorProcess, hwi: Program) -> None:
    """Bitcoin Core asks once for each of its key managers: only the first time costs something."""
    given = draft(spend("p2wsh"), spend("p2pkh", 1), spend("rawtr", 2))
    signed = hwi.on(signer, "signtx", given.base64())["psbt"]
    before = signer.stats()["apdus"]
    assert hwi("-f", FPR, "signtx", signed) == {"psbt": signed, "signed": False}
    assert signer.stats()["apdus"] == before
    assert hwi.on(signer, "signtx", signed) == {"psbt": signed, "signed": False}


def test_foreign_inputs_are_left_alone(signer: EmulatorProcess, hwi: Program) -> None:
    path = "m/84h/0h/0h/0/0"
    foreign = In(p2wpkh(OTHER.key(path)), fields=[deriv(path, OTHER)], salt=9)
    given = draft(foreign, spend("p2wpkh"))
    answer = hwi.on(signer, "signtx", given.base64())
    parsed = EmbitPsbt.from_string(answer["psbt"])
    assert [len(item.partial_sigs) for item in parsed.inputs] == [0, 1]


def test_export_off_signs_all_the_same(hwi: Program) -> None:
    given = account(6)
    with EmulatorProcess("--seed", SEED) as card:
        before = card.stats()
        check(hwi.on(card, "signtx", given.base64()), given)
        assert spent_on(card, before)[2] == 6


def test_electrums_origins(signer: EmulatorProcess, hwi: Program) -> None:
    """A wallet restored from a bare extended key tells its fingerprint and chain and index, nothing more."""
    base = ME.account("m/84h/0h/0h")
    key = base.derive(KeyPath((0, 3))).public_key
    given = draft(In(p2wpkh(key), fields=[(b"\x06" + key, base.fingerprint + le(0) + le(3))]))
    check(hwi.on(signer, "signtx", given.base64()), given)


# What is refused


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", -5),
        ("AAAA", -5),
        ("cHNidP8=", -5),
        ("not base64!", -5),
        (draft(spend("p2wpkh")).base64()[:-8], -5),
        ("é", -5),
    ],
)
def test_garbage(signer: EmulatorProcess, hwi: Program, text: str, code: int) -> None:
    """An error of the transaction; the card is not touched."""
    before = signer.stats()["apdus"]
    answer = hwi.on(signer, "signtx", text)
    assert answer["code"] == code and answer["error"]
    assert signer.stats()["apdus"] == before


def lies() -> Iterator[tuple[str, Draft]]:
    path, other = "m/84h/0h/0h/0/0", "m/84h/0h/0h/0/1"
    yield "another key at our path", draft(In(p2wpkh(ME.key(other)), fields=[deriv(path, key=ME.key(other))]))
    yield "a key that is not in the script", draft(In(p2wpkh(OTHER.key(path)), fields=[deriv(path)]))
    bent = draft(spend("p2wpkh"))
    bent.inputs[0][1] = (b"\x01", le(99_999, 8) + bent.inputs[0][1][1][8:])
    yield "amounts that contradict", bent
    yield "sighash NONE", draft(spend("p2wpkh", fields=[*spend("p2wpkh").fields, sighash(2)]))
    yield "unproved amounts", draft(*(spend("p2wpkh", number, previous=False) for number in range(2)))
    given = account(1)
    given.outputs[1] = [(b"\x02" + ME.key("m/84h/0h/0h/1/7"), ME.origin("m/84h/0h/0h/1/1000"))]
    yield "change that is not ours", given


@pytest.mark.parametrize(("what", "given"), [pytest.param(what, given, id=what) for what, given in lies()])
def test_lies(signer: EmulatorProcess, hwi: Program, what: str, given: Draft) -> None:
    before = signer.stats()
    answer = hwi.on(signer, "signtx", given.base64())
    assert answer["code"] == -7 and "put" in answer["error"], answer
    assert spent_on(signer, before)[2] == 0


def test_what_the_user_allows(signer: EmulatorProcess, hwi: Program) -> None:
    none = draft(spend("p2wpkh", fields=[*spend("p2wpkh").fields, sighash(2)]))
    check(hwi.on(signer, "--allow-sighash", "signtx", none.base64()), none)
    check(hwi.on(signer, "signtx", none.base64(), env={"CRYPTNOX_ALLOW_SIGHASH": "1"}), none)
    unproved = draft(*(spend("p2wpkh", number, previous=False) for number in range(2)))
    check(hwi.on(signer, "--allow-unproved-amounts", "signtx", unproved.base64()), unproved)
    check(hwi.on(signer, "signtx", unproved.base64(), env={"CRYPTNOX_ALLOW_UNPROVED_AMOUNTS": "1"}), unproved)
    assert hwi.on(signer, "--expert", "signtx", unproved.base64())["code"] == -7, "--expert switches no safety"


def test_bip86_is_explained(signer: EmulatorProcess, hwi: Program) -> None:
    path = "m/86h/0h/0h/0/0"
    internal = ME.key(path)[1:]
    given = draft(In(bip86(internal), fields=[tap_deriv(path), (b"\x17", internal)]))
    answer = hwi.on(signer, "signtx", given.base64())
    assert answer["code"] == -7 and "BIP86" in answer["error"]


def test_tapscript(signer: EmulatorProcess, hwi: Program) -> None:
    given = draft(spend("tapscript"))
    check(hwi.on(signer, "signtx", given.base64()), given)


@pytest.mark.parametrize(
    ("line", "refused"), [("max_fee = 9999", True), ("max_fee = 10000", False), ("max_fee_rate = 1", True)]
)
def test_fee_limits(signer: EmulatorProcess, hwi: Program, line: str, refused: bool) -> None:
    config = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(line + "\n")
    answer = hwi.on(signer, "signtx", draft(spend("p2wpkh")).base64())
    assert (answer.get("code") == -7 and "configured limit" in answer["error"]) if refused else answer["signed"]


# Faults while signing

FAULTS = ("remove", "reset", "garbage", "badmac", "sw:6F00", "sw:6982")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", ["C0:2", "C0:4", "D1:1", "C2:1", "D1:2", "C2:2"])
def test_a_fault_is_survived(hwi: Program, fault: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card is opened anew and what is left is signed; nothing is signed twice but what was lost on the way."""
    given = account(5)
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", f"{fault}@{place}") as card:
        before = card.stats()
        check(hwi.on(card, "signtx", given.base64()), given)
        lost = place.startswith("C0") and fault in ("garbage", "badmac")
        assert spent_on(card, before)[2] == 5 + lost
        assert card.stats()["pin_tries"] == 0
    assert not list((State().folder / "partial").glob("*"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_the_pin_sends_it_once(hwi: Program, fault: str) -> None:
    """Whether it was accepted is not known; the answer is the error."""
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", f"{fault}@20:2") as card:
        answer = hwi.on(card, "signtx", account(1).base64())
        assert answer["code"] in (-3, -13) and card.stats()["by_ins"]["20"] == 2


@pytest.mark.parametrize(("reading", "proved"), [("", True), ("tries-min", False)])
def test_a_fault_at_the_pin_that_was_accepted(hwi: Program, reading: str, proved: bool) -> None:
    """Opened anew after a fault, and a second fault meets the PIN: the counter of tries left in all proves that nothing
    was refused, that of this session's proves nothing."""
    given = account(2)
    fault = 4 if proved else 5  # three tries are asked for once more behind the PIN
    options = ["--seed", SEED, "--xpub-export", "--fault", "remove@C2:1", "--fault", f"remove@20:{fault}"]
    with EmulatorProcess(*options, *(["--reading", reading] if reading else [])) as card:
        answer = hwi.on(card, "signtx", given.base64())
        if proved:
            check(answer, given)
            assert card.stats()["by_ins"]["20"] == 6
        else:
            assert answer["code"] == -7 and "and its result was lost" in answer["error"]
            assert card.stats()["by_ins"]["20"] == 6, "the counter was asked, nothing sent"


def test_a_fault_right_behind_the_pin_is_survived(hwi: Program, state: State) -> None:
    """After a refusal the counter is asked once more behind the right PIN: that PIN's end is known without it."""
    given = account(2)
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", "badmac@20:7") as card:
        assert hwi.on(card, "getxpub", "m/84h/0h/0h")["xpub"]
        assert hwi.on(card, "getxpub", "m/84h/0h/0h", pin="111111")["code"] == -7
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["by_ins"]["20"] == 9 and card.stats()["pin_tries"] == 1
        record = state.record(card.serial)
        assert (record.note, record.full_counter) == (None, 6)


def test_given_up_and_resumed(hwi: Program) -> None:
    """Faults one after the other: the signatures made are kept, and the next run makes the others only."""
    given = account(6)
    faults = [option for number in range(4, 12) for option in ("--fault", f"sw:6F00@C0:{number}")]
    with EmulatorProcess("--seed", SEED, "--xpub-export", *faults) as card:
        answer = hwi.on(card, "signtx", given.base64())
        assert answer["code"] == -3
        (file,) = (State().folder / "partial").iterdir()
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(kept) == 3 and card.stats()["signatures"] == 3
        assert all(set(entry) == {"digest", "key", "signature"} for entry in kept)
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["signatures"] == 6
        assert not file.exists()


def test_kept_signatures_are_not_believed(hwi: Program, state: State) -> None:
    """One bent, one for another digest: both are made anew."""
    given = account(3)
    psbt = Psbt.parse(given.base64())
    faults = [option for number in range(3, 8) for option in ("--fault", f"sw:6F00@C0:{number}")]
    with EmulatorProcess("--seed", SEED, "--xpub-export", *faults) as card:
        assert hwi.on(card, "signtx", given.base64())["code"] == -3
        kept: list[Any] = state.partial(psbt.unsigned_tx())
        assert len(kept) == 2
        kept[0]["signature"] = kept[1]["signature"]
        kept.append({"digest": "zz"})
        kept += [{**kept[0], name: odd} for name in kept[0] for odd in ([1], {}, None, 1)]
        kept.append("nonsense")
        state.keep_partial(psbt.unsigned_tx(), kept)
        check(hwi.on(card, "signtx", given.base64()), given)
        assert card.stats()["signatures"] == 4


@pytest.mark.parametrize("serial", ["another", "the same"])
def test_another_card_in_its_place(monkeypatch: pytest.MonkeyPatch, serial: str) -> None:
    """The card leaves in the middle of a signing and another one comes back at the same address; where its serial
    number is the same, its key is another, and the state that would tell was forgotten."""
    given = account(4)
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "2")
    first = EmulatorProcess("--seed", SEED, "--xpub-export").start()
    settings, state = Settings.load(), State()
    wallet = Wallet(first.path, Access(settings, state), Unlocker(settings, state, PIN))
    number, maker = (2**60, "") if serial == "another" else (first.serial, "somebody")
    other = EmulatorProcess(
        *("--seed", SEED, "--xpub-export", "--serial", str(number)),
        listen=f"{first.host}:{first.port}",
        maker=maker,
    )

    def exchange(done: int, _: int) -> None:
        if done == 2 and other.port == 0:
            state.forget()
            first.stop()
            other.start()

    try:
        with pytest.raises(Exception, match=r"closed|removed|answer|another card"):
            Signing(wallet, Psbt.parse(given.base64()), progress=exchange).run()
        assert other.stats()["by_ins"].get("20", 0) == 0, "the other card got no PIN"
    finally:
        wallet.close()
        first.stop()
        other.stop()


def test_the_card_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Taken out for a second in the middle, and put back."""
    given = account(4)
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "20")
    card = ["--seed", SEED, "--xpub-export"]
    first = EmulatorProcess(*card).start()
    settings, state = Settings.load(), State()
    wallet = Wallet(first.path, Access(settings, state), Unlocker(settings, state, PIN))
    again = EmulatorProcess(*card, listen=f"{first.host}:{first.port}")

    def exchange(done: int, _: int) -> None:
        if done == 2 and again.port == 0:
            first.stop()
            again.start()

    try:
        signed = Signing(wallet, Psbt.parse(given.base64()), progress=exchange).run()
        assert again.stats()["signatures"] == 2
    finally:
        wallet.close()
        first.stop()
        again.stop()
    check({"signed": True, "psbt": signed.to_base64()}, given)


def test_a_card_that_stays_away(hwi: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    given = account(4)
    monkeypatch.setenv("CRYPTNOX_REINSERT_WAIT", "0.5")
    card = EmulatorProcess("--seed", SEED, "--xpub-export").start()
    settings, state = Settings.load(), State()
    wallet = Wallet(card.path, Access(settings, state), Unlocker(settings, state, PIN))
    started = time.monotonic()

    def leave(done: int, _: int) -> None:
        if done == 2:
            card.stop()

    with pytest.raises(Exception, match=r"closed|removed|answer"):
        Signing(wallet, Psbt.parse(given.base64()), progress=leave).run()
    assert time.monotonic() - started < 10
    assert len(list((State().folder / "partial").iterdir())) == 1
    # Programs that keep a client: the next call opens what is there by then, and verifies the PIN.
    with EmulatorProcess("--seed", SEED, "--xpub-export", listen=f"{card.host}:{card.port}") as later:
        assert wallet.sign_message("hello", KeyPath.parse("m/84h/0h/0h/0/0"))
        assert later.stats()["by_ins"]["20"] == 2
        wallet.close()


@pytest.mark.parametrize(
    "reading", ["pin-ends-at-sign", "pin-optional-in-sign", "tries-min", "pin-query-sw", "no-f7-after-f8", "select-v2",
                "outer-sw", "mac-len-value", "mac-len-value-only", "current-lost-at-power-off", "softlock-6985"],
)  # fmt: skip
def test_readings(hwi: Program, reading: str) -> None:
    """Twice: a card never met, and a known one."""
    given = account(6)
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--reading", reading) as card:
        counts = []
        for _ in range(2):
            before = card.stats()
            check(hwi.on(card, "signtx", given.base64()), given)
            counts.append(spent_on(card, before)[0])
        # A card that ends the PIN with a signature costs a refused command the first time, and one VERIFY PIN later;
        # one that shows three tries is asked once more what it shows when it is full.
        wanted = {"pin-ends-at-sign": [16, 13], "tries-min": [15, 12]}
        assert counts == wanted.get(reading, [14, 12])
        assert card.stats()["pin_tries"] == 0


# What it costs


@pytest.mark.parametrize("count", [1, 10, 40])
@pytest.mark.parametrize("chains", [False, True])
def test_apdus_and_derivations(hwi: Program, count: int, chains: bool) -> None:
    given = account(count, chains=chains)
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        for limit in (14, 12):
            before = card.stats()
            check(hwi.on(card, "signtx", given.base64()), given)
            others, derivations, signatures = spent_on(card, before)
            both = chains and count > 1
            # One chain saves a DERIVE KEY; for a single input the whole rest of its path goes into SIGN.
            fewer = 0 if both else 1 if count > 1 else 2
            assert (others, derivations, signatures) == (limit - fewer, 3 + 1 + both + count, count)


def test_megabytes_on_stdin(signer: EmulatorProcess, hwi: Program) -> None:
    """As wallets send it: the command quoted, and bare; an unknown field makes it big."""
    given = draft(spend("p2wpkh"))
    given.extra.append((b"\xf0big", bytes(3_000_000)))
    options = ("--stdin", "-t", "cryptnox", "-d", signer.path, "-p", PIN)
    for line in (f'signtx "{given.base64()}"\n\n', f"signtx {given.base64()}"):
        started = time.process_time()
        check(hwi(*options, stdin=line), given)
        assert time.process_time() - started < 3
    assert len(base64.b64decode(given.base64())) > 3_000_000


def test_the_key_tree_of_the_tests_is_the_cards(signer: EmulatorProcess, hwi: Program) -> None:
    assert hwi.on(signer, "getxpub", "m/84h/0h/0h")["xpub"] == KeyTree().account("m/84h/0h/0h").to_string()
