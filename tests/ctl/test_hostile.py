"""What hostile files, hostile cards, full disks and clumsy hands meet."""

from __future__ import annotations

import json
import os
import random
import stat
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hwilib_cryptnox.ctl.preview import doubts, preview

from hwilib_cryptnox.psbt import Change, Policy, Psbt, PsbtError, RefusedInput
from tests.ctl.program import COMMAND, PIN, PUK, answer, dialogue, ended, environment, run, shown, terminal
from tests.ctl.test_commands import _multisig_pay
from tests.ctl.test_terminal import make_psbt
from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, out_deriv, p2wpkh, spend
from tests.support.emulator import MNEMONIC, EmulatorProcess

CHANGE = "m/84h/0h/0h/1/3"


def payment(change: str = CHANGE, wallet: object = ME) -> Psbt:
    """A payment and change, which is `wallet`'s and said to be ours."""
    field = out_deriv(change, ME, key=wallet.key(change))  # type: ignore[attr-defined]
    outs = [Out(p2wpkh(OTHER.key("m/0")), 60_000), Out(p2wpkh(wallet.key(change)), 39_000, [field])]  # type: ignore[attr-defined]
    return Psbt.parse(draft(spend("p2wpkh", 0), outs=outs).encode())


# The review before the PIN


def test_the_review_needs_no_pin_and_claims_no_proof() -> None:
    spent = "m/84h/0h/0h/0/0"  # the key of an input, back to which change goes as well
    for fingerprint, change in ((ME.fingerprint, CHANGE), (None, CHANGE), (ME.fingerprint, spent)):
        shown_plan = preview(payment(change), fingerprint, Policy(), None)
        assert shown_plan is not None
        assert [output.change for output in shown_plan.summary.outputs] == [Change.NOT_OURS, Change.CLAIMED]
        assert (len(shown_plan.requests), shown_plan.summary.fee) == (1, 1_000)


def test_a_known_card_is_told_apart_from_others() -> None:
    assert preview(payment(), OTHER.fingerprint, Policy(), None) is None


def test_what_no_key_can_mend_is_refused_before_the_pin() -> None:
    fields = [deriv("m/84h/0h/0h/0/0"), (b"\x03", (2).to_bytes(4, "little"))]
    asks = Psbt.parse(draft(spend("p2wpkh", 0, fields=fields)).encode())
    with pytest.raises(RefusedInput):
        preview(asks, ME.fingerprint, Policy(), None)
    assert preview(asks, ME.fingerprint, Policy(allow_sighash=True), None) is not None
    assert preview(asks, None, Policy(), None) is None


def test_what_did_not_come_true_is_named() -> None:
    first = preview(payment(), ME.fingerprint, Policy(), None)
    assert first is not None
    outputs = first.summary.outputs

    def after(change: Change, **more: object) -> list[str]:
        summary = replace(first.summary, outputs=(outputs[0], replace(outputs[1], change=change)))
        return doubts(first, replace(first, summary=summary, **more))  # type: ignore[arg-type]

    assert after(Change.PROVED) == []
    for change in (Change.CLAIMED, Change.NOT_OURS):
        assert after(change) == ["output 1 is not proved to be yours"]
    assert after(Change.PROVED, requests=()) == ["0 signatures are to be made, not 1"]
    other = replace(first.summary, outputs=(replace(outputs[0], change=Change.CLAIMED), outputs[1]))
    assert len(doubts(first, replace(first, summary=other))) == 2


def test_change_that_is_somebody_elses_is_refused(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "theft.psbt"
    path.write_bytes(payment(wallet=OTHER).encode())
    with terminal(card, "sign", str(path)) as child:
        dialogue(child, ("Sign it with 1 signature?", "y"), ("PIN of card", PIN))
        child.expect_exact("output 1")
        assert ended(child) == 5
    assert card.stats()["signatures"] == 0


def test_unproved_change_is_asked_about_again(card: EmulatorProcess, tmp_path: Path) -> None:
    path, descriptor = _multisig_pay(tmp_path)
    with terminal(card, "sign", str(path)) as child:
        child.expect_exact("change, claimed")
        dialogue(child, ("Sign it with 1 signature?", "y"), ("PIN of card", PIN))
        child.expect_exact("do not bear out")
        child.expect_exact("output 1 is not proved to be yours")
        child.expect_exact("change? unproved")
        dialogue(child, ("Sign it all the same with 1 signature?", "n"))
        child.expect_exact("Canceled")
        assert ended(child) == 1
    assert card.stats()["signatures"] == 0
    # The wallet's descriptor proves it before the PIN, and nothing is asked twice.
    with terminal(card, "sign", str(path), "--wallet", descriptor) as child:
        child.expect_exact("change, proved")
        dialogue(child, ("Sign it with 1 signature?", "y"), ("PIN of card", PIN))
        assert ended(child) == 0
        assert "all the same" not in shown(child)
    assert card.stats()["signatures"] == 1


def test_a_transaction_of_another_card_costs_no_try(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    with EmulatorProcess("--mnemonic", MNEMONIC) as other:
        with terminal(other, "sign", str(path)) as child:
            dialogue(child, ("Sign it with 2 signatures?", "y"), ("PIN of card", PIN))
            child.expect_exact("No input of the PSBT names a key of this card")
            assert ended(child) == 5
        assert other.stats()["signatures"] == 0
    assert not (tmp_path / "pay-signed.psbt").exists()


def test_a_transaction_that_names_no_keys(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "bare.psbt"
    path.write_text(draft(In(p2wpkh(ME.key("m/84h/0h/0h/0/0")))).base64())
    refused = run(card, "sign", str(path), "--yes")
    assert refused.returncode == 5 and "does not say where any of its keys comes from" in refused.stderr
    assert card.stats()["apdus"] == 0 and not (tmp_path / "bare-signed.psbt").exists()


# Results that cannot be written


@pytest.mark.parametrize("words", [["--force", "--output", "/dev/full"], ["--output", "/proc/nowhere.psbt"]])
def test_a_result_that_cannot_be_written_costs_no_signature(
    card: EmulatorProcess, tmp_path: Path, words: list[str]
) -> None:
    path = make_psbt(tmp_path)
    assert "name another place" in answer(card, "sign", "--yes", *words, str(path), code=2)["hint"]
    assert answer(card, "sign", "--yes", str(path))["complete"]
    assert card.stats()["signatures"] == 2


def test_a_full_stdout_costs_no_signature(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "sign", "--yes", "-"],
            input=path.read_bytes(),
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(card, CRYPTNOX_PIN=PIN),
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert answer(card, "sign", "--yes", str(path))["complete"]
    assert card.stats()["signatures"] == 2
    # Delivered: nothing is kept any longer.
    assert run(card, "sign", "--yes", "-", stdin=path.read_bytes()).returncode == 0
    assert card.stats()["signatures"] == 4


@pytest.mark.parametrize(
    ("streams", "words", "code", "out", "error"),
    [
        (">&-", ["info"], 2, "", "Error: stdout is closed"),
        (">&-", ["info", "--json"], 2, "", "Error: stdout is closed"),
        (">&- 2>&- <&-", ["info"], 2, "", ""),
        ("2>&-", ["info"], 0, "Serial number", ""),
        ("2>&-", ["info", "--reader", "tcp:127.0.0.1:1"], 3, "", ""),
        ("<&-", ["info"], 0, "Serial number", ""),
        ("<&-", ["sign", "--yes", "-"], 5, "", "it is empty"),
        ("<&-", ["pin", "verify", "--stdinpass"], 4, "", "stdin ended before the PIN"),
        (">/dev/full", ["info", "--json"], 1, "", "Error: No space left"),
        (">/dev/full", ["info", "--no-such-option", "--json"], 2, "", "Error: No such option"),
        ("2>/dev/full", ["--bogus"], 2, "", ""),
        ("2>/dev/full", ["info", "--reader", "tcp:127.0.0.1:1"], 3, "", ""),
        (">&- 2>/dev/full", ["info"], 2, "", ""),
    ],
)
def test_closed_and_full_streams(
    card: EmulatorProcess, streams: str, words: list[str], code: int, out: str, error: str
) -> None:
    shell = ["/bin/sh", "-c", f'exec "$0" "$@" {streams}', *COMMAND, *words]
    env = environment(card)
    env.pop("PYTHONUNBUFFERED", None)  # it leaves nothing in a buffer that could fail at the end
    done = subprocess.run(shell, input="", capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == code and out in done.stdout and error in done.stderr, done
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("json", [True, False])
def test_a_missing_audit_line_is_told(card: EmulatorProcess, tmp_path: Path, json: bool) -> None:
    """The signing goes on; whoever audits later has to know."""
    state = tmp_path / "state"
    state.write_text("a file in the way")
    words = ["sign", "--yes", "--stdinpass", *(["--json"] if json else []), str(make_psbt(tmp_path))]
    done = run(card, *words, stdin=f"{PIN}\n", pin=None, XDG_STATE_HOME=str(state))
    assert done.returncode == 0 and "Warning: no audit line was written" in done.stderr, done
    assert "audit.jsonl: Not a directory" in done.stderr and "Warning" not in done.stdout


def test_what_is_replaced_stays_until_the_new_is_whole(tmp_path: Path) -> None:
    from hwilib_cryptnox.ctl.files import write_new

    target, link = tmp_path / "a", tmp_path / "b"
    target.write_bytes(b"old")
    link.symlink_to(target)
    inode = target.stat().st_ino
    write_new(link, b"new", force=True)
    assert (target.read_bytes(), link.is_symlink()) == (b"new", True)
    assert target.stat().st_ino != inode
    write_new(tmp_path / "key", b"k", private=True)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a", "b", "key"]


def test_the_result_does_not_take_the_raw_transactions_place(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    words = ["--finalize", "--output", str(tmp_path / "pay-final.hex")]
    answer(card, "sign", "--yes", *words, str(path), code=2)
    assert card.stats()["signatures"] == 0


# Files of every form


def test_a_pipe_is_a_file_too(tmp_path: Path) -> None:
    path, pipe = make_psbt(tmp_path), tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(path), str(pipe)]):
        assert len(answer(None, "verify", str(pipe))["inputs"]) == 2


def test_text_as_windows_writes_it(tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    text = Psbt.parse(path.read_bytes()).to_base64()
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    assert len(answer(None, "verify", str(path))["inputs"]) == 2


def test_what_is_no_text_is_told_so(card: EmulatorProcess, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"\xff\xfe\x00")
    words = ["export", "descriptor", "--type", "p2wsh", "--threshold", "2", "--cosigner", str(junk)]
    assert "no text" in answer(card, *words, code=5)["error"]
    assert "no text" in answer(card, "message", "sign", "-", stdin=b"\xff", code=5)["error"]
    words = ["sign", "--yes", "--wallet", str(junk), str(make_psbt(tmp_path))]
    assert "no text" in answer(card, *words, code=5)["error"]
    assert answer(None, "verify", str(tmp_path), code=2)["error"].endswith("it is a folder")


# Terminals


def test_amounts_are_whole_on_a_narrow_terminal(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    for columns in (30, 45, 59):
        with terminal(card, "sign", str(path), columns=columns) as child:
            child.expect_exact("0.00120000")
            child.expect_exact("bc1qpv3mv0rc0e6emm6gd60cc2hl2gldsltmtvu6g8")
            child.expect_exact("0.00078000")
            dialogue(child, ("Sign it with", "n"))
            assert ended(child) == 1


def test_what_a_card_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """The owner's name was written by another program."""
    state = tmp_path / "card"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)):
        pass
    evil = "\x1b[31mX\x1b]0;t\x07\tA\nB"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"name": evil.encode().hex()}))
    with EmulatorProcess("--state", str(state)) as card:
        assert answer(card, "owner")["name"] == evil
        for words in (["owner"], ["info"]):
            done = run(card, *words)
            assert "\x1b" not in done.stdout and "?[31mX" in done.stdout
            assert all(line.count("\t") == 1 for line in done.stdout.splitlines())
        with terminal(card, "owner") as child:
            assert ended(child) == 0
            assert "\x1b[31m" not in shown(child)
            assert "\x1b]" not in shown(child)


# Clumsy hands


def test_owner_that_does_not_fit_is_told_before_anything_is_asked(fresh: EmulatorProcess) -> None:
    for words in (["--name", "x" * 21], ["--email", "y" * 61], ["--name", "\x1b[2J"]):
        with terminal(fresh, "setup", *words) as child:
            child.expect_exact(words[0])
            assert ended(child) == 2
            assert "New PIN" not in shown(child)


def test_a_slip_does_not_end_the_setup(fresh: EmulatorProcess) -> None:
    with terminal(fresh, "setup", "--seed", "restore") as child:
        dialogue(child, ("New PIN", PIN), ("same again", PIN), ("Choose it yourself?", "y"))
        dialogue(child, ("New PUK", PUK), ("same again", PUK), ("Name: ", "x" * 21))
        child.expect_exact("at most 20 bytes")
        dialogue(child, ("Name: ", "Ada"), ("E-mail: ", ""), ("own pairing key?", "n"), ("Initialise", "y"))
        dialogue(child, ("How many words", "12"), ("Word 1", MNEMONIC.replace("about", "abandon")))
        child.expect_exact("Begin anew")
        dialogue(child, ("Word 1", MNEMONIC), ("Passphrase", ""))
        child.expect_exact("73c5da0a")
        assert ended(child) == 0


def test_a_card_paired_with_another_key_says_so(card: EmulatorProcess, tmp_path: Path) -> None:
    assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    assert "pairing recover" in run(card, "info", **elsewhere).stdout
    for words in (["sign", "--yes", str(make_psbt(tmp_path))], ["adopt"], ["pin", "verify"]):
        done = run(card, *words, **elsewhere)
        assert done.returncode == 1
        assert "pairing recover" in done.stderr


@pytest.mark.parametrize("fault", ["remove@FD:1", "badmac@FD:1", "remove@C5:1", "badmac@C5:1"])
def test_a_fault_in_the_middle_leaves_a_card_that_can_be_used(fault: str) -> None:
    words = ["reset", "--serial", "{serial}"] if "FD" in fault else ["xpub", "on"]
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", fault) as card:
        words = [word.format(serial=card.serial) for word in words]
        failed = run(card, *words, "--stdinpuk", stdin=PUK)
        assert failed.returncode in (1, 3)
        assert "What to do" in failed.stderr
        again = run(card, *words, "--stdinpuk", stdin=PUK)
        assert again.returncode == 0 or "not initialised" in again.stderr


def test_no_file_breaks_the_preview(tmp_path: Path) -> None:
    """Damaged transactions are refused, or shown; nothing else happens."""
    damage = random.Random(6)
    multi, _ = _multisig_pay(tmp_path)
    sources = [multi.read_bytes(), make_psbt(tmp_path).read_bytes(), draft(spend("tapscript", 0)).encode()]
    ends: Counter[str] = Counter()
    for _ in range(4_000):
        data = bytearray(damage.choice(sources))
        for _ in range(damage.choice((1, 1, 2))):
            data[damage.randrange(5, len(data))] = damage.randrange(256)
        try:
            psbt = Psbt.parse(bytes(data))
            for fingerprint in (ME.fingerprint, None):
                found = preview(psbt, fingerprint, Policy(), None)
                ends["none" if found is None else "shown"] += 1
                assert found is None or all(o.change is not Change.PROVED for o in found.summary.outputs)
        except PsbtError:
            ends["refused"] += 1
    assert min(ends[end] for end in ("none", "shown", "refused")) > 100


def test_the_man_page_is_installed() -> None:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    root = Path(__file__).resolve().parents[2]
    files = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    assert files["share/man/man1"] == ["docs/cryptnoxctl.1"]
    assert (root / "docs" / "cryptnoxctl.1").read_text().startswith(".TH")


def test_a_pairing_key_whose_change_has_no_known_end_is_kept() -> None:
    """The card took the new key and its answer was lost: the key is still here. A refusal brings the old one back."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", "badmac@DA:1") as card:
        assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 1
        assert answer(card, "info")["own_pairing_key"]
        assert run(card, "pin", "tries").returncode == 0, "the channel opens with it"
        assert run(card, "pairing", "change", "--stdinpuk", stdin="111111111111").returncode == 4
        assert run(card, "pin", "tries").returncode == 0


@pytest.mark.parametrize("lost", ["sw:6F00", "badmac"], ids=["not taken", "taken"])
@pytest.mark.parametrize("words", [["change"], ["change", "--common"], ["recover"]], ids=" ".join)
def test_both_pairing_keys_are_kept_until_one_is_right(words: list[str], lost: str) -> None:
    """The card has an own key, and gets another one or the common one; the answer to that is lost."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", f"{lost}@DA:2") as card:
        assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
        assert run(card, "pairing", *words, "--stdinpuk", stdin=PUK).returncode == 1
        assert run(card, "pin", "tries").returncode == 0
        assert answer(card, "info")["own_pairing_key"] == (lost != "badmac" or words == ["change"])
        file = Path(os.environ["XDG_STATE_HOME"]) / "hwi-cryptnox/pairing.json"
        assert all(isinstance(key, str) for key in json.loads(file.read_text()).values()), "one key is left"
        assert card.stats()["pin_tries"] == 0
