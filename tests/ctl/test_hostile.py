"""What hostile files, hostile cards, full disks and clumsy hands meet."""

from __future__ import annotations

import io
import json
import os
import random
import re
import stat
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from hwilib_cryptnox.ctl.review import review
from hwilib_cryptnox.ctl.screen import Screen
from hwilib_cryptnox.pin.assuan import fits
from hwilib_cryptnox.psbt import Psbt, PsbtError, address_of
from hwilib_cryptnox.signer.review.prompts import prompt_text, transaction_text
from hwilib_cryptnox.signer.review.reviewed import Signer, summary_data
from hwilib_cryptnox.signer.review.shown import bitcoin, fee_text, grouped
from tests.console.test_terminal import make_psbt
from tests.ctl.payments import multisig_pay
from tests.ctl.program import COMMAND, PIN, PUK, answer, dialogue, ended, environment, run, shown, terminal
from tests.psbt.factory import ME, OTHER, In, Out, draft, out_deriv, p2wpkh, spend, tap_deriv
from tests.psbt.signing import make_plan
from tests.psbt.test_message import TEXT, challenge, request
from tests.support.emulator import MNEMONIC, EmulatorProcess

CHANGE = "m/84h/0h/0h/1/3"


def payment(change: str = CHANGE, wallet: object = ME) -> Psbt:
    """A payment and change, which is `wallet`'s and said to be ours."""
    field = out_deriv(change, ME, key=wallet.key(change))  # type: ignore[attr-defined]
    outs = [Out(p2wpkh(OTHER.key("m/0")), 60_000), Out(p2wpkh(wallet.key(change)), 39_000, [field])]  # type: ignore[attr-defined]
    return Psbt.parse(draft(spend("p2wpkh", 0), outs=outs).encode())


# The review


def test_change_that_is_somebody_elses_is_refused(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "theft.psbt"
    path.write_bytes(payment(wallet=OTHER).encode())
    with terminal(card, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN))
        child.expect_exact("output 1")
        assert ended(child) == 5
        assert "[y/N]" not in shown(child)
    assert card.stats()["signatures"] == 0


def test_change_that_nothing_proves_is_a_payment(card: EmulatorProcess, tmp_path: Path) -> None:
    """The word change does not appear for it, whatever the PSBT claims; the wallet's descriptor proves it."""
    path, descriptor = multisig_pay(tmp_path)
    with terminal(card, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign it with 1 signature?", "n"))
        child.expect_exact("Canceled")
        assert ended(child) == 1
        assert "2 payments, 0.00099000 BTC" in shown(child)
        assert not {"change", "Change", "ours", "yours"} & set(shown(child).replace(",", " ").split())
    assert card.stats()["signatures"] == 0
    with terminal(card, "sign", str(path), "--wallet", descriptor) as child:
        dialogue(child, ("PIN of card", PIN))
        child.expect_exact("Change back to the wallet, proved: 0.00049000 BTC")
        dialogue(child, ("Sign it with 1 signature?", "y"))
        assert ended(child) == 0
    assert card.stats()["signatures"] == 1


def flood() -> Psbt:
    """As much as a stranger can put in, and text that draws."""
    far = [f"m/84h/0h/0h/1/{5_000 + number}" for number in range(60)]
    outs = [Out(p2wpkh(OTHER.key(f"m/{number}")), 1_000 + number) for number in range(300)]
    outs += [Out(p2wpkh(ME.key(path)), 700, [out_deriv(path)]) for path in far]
    outs += [Out(b"\x6a\x4d" + len(text).to_bytes(2, "little") + text, 0) for text in DATA]
    outs += [Out(b"\x51" * 1_000, 600) for _ in range(30)]
    ins = [spend("p2wpkh", number, 60_000, sequence=144) for number in range(8)]
    ins += [spend("tapscript", number, 1_000, fields=[tap_deriv(f"m/86h/0h/1h/0/{number}")]) for number in range(120)]
    return Psbt.parse(draft(*ins, outs=outs).encode())


DATA = (
    b"\x1b[2J\x1b[1;1HFee 1 satoshi" * 30,
    "\u202eevil\u2066".encode() * 40,
    b"change, proved\nSign it? y\n" * 60,
    b'"' + b" " * 400 + b"Sent 0.00000001 BTC",
    b"\xff" * 2_000,
)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_nothing_in_a_psbt_floods_the_review(card: EmulatorProcess, tmp_path: Path, columns: int) -> None:
    """The largest payments are listed and the rest summed, keys and warnings counted, data cut with their length;
    what may cost money is last. Nothing steers the terminal, and no address is broken within a group."""
    path = tmp_path / "flood.psbt"
    path.write_bytes(flood().encode())
    with terminal(card, "sign", str(path), columns=columns) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign it with 8 signatures?", "n"))
        assert ended(child) == 1
        lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown(child)).splitlines()]
        lines = lines[1:]  # the question for the PIN
    assert not any(
        ord(char) < 32 or unicodedata.category(char) in ("Cf", "Zl", "Zp") for line in lines for char in line
    )
    assert all(len(line) <= columns or " " not in line.strip() for line in lines), "longer is one piece of data alone"
    rows = sum(max(1, -(-len(line) // columns)) for line in lines)  # the terminal breaks it
    assert rows < 60 * (4 if columns == 40 else 3)
    text = " ".join(" ".join(lines).split())
    amounts = [1_000 + number for number in range(300)]
    for wanted in (
        "330 payments, 0.00362850 BTC",
        "5 data outputs, no money",
        "Change back to the wallet, proved: 0.00042000 BTC",
        f"310 other payments, {bitcoin(sum(sorted(amounts)[:-20]) + 30 * 600)} BTC together",
        "50 other change outputs, 0.00035000 BTC together",
        "inputs 8, 9, 10, 11, 12, 13, 14, 15 and 112 more: its output is not the key",
        "... (2,000 bytes)",
        "5 more warnings about: time lock",
        "57 more warnings about: unusual change path",
    ):
        assert wanted in text, wanted
    shown_addresses = [address_of(p2wpkh(OTHER.key(f"m/{number}"))) for number in range(280, 300)]
    groups = [grouped(address) for address in shown_addresses if address is not None]
    assert all(group in text for group in groups)
    tokens = {token for line in lines for token in line.split()}
    assert all(part in tokens for group in groups for part in group.split())
    assert (
        text.rindex("WARNING") > text.rindex("Note: ") > text.rindex("Not signed: ") > text.rindex("Leaves the wallet")
    )
    assert "\x1b" not in text and "Fee 1 satoshi" not in text.replace('data "', "")


def test_a_message_in_disguise_is_reviewed_as_one(card: EmulatorProcess, tmp_path: Path) -> None:
    """Its text is the payer's of nothing: no line of it can be taken for one of the review."""
    text = "I owe you.\n\x1b[2JFee 1 satoshi\n\u202eSign it? " + "x" * 10_000
    path = tmp_path / "message.psbt"
    path.write_bytes(request(challenge(message=text.encode()), text=text.encode()).encode())
    with terminal(card, "sign", str(path), columns=80) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign the message with 1 signature?", "n"))
        assert ended(child) == 1
        told = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown(child)).split())
    assert "Signs a message (BIP322); no money moves" in told and f"Length {len(text.encode()):,} bytes" in told
    assert '"I owe you.\\n\\u001b[2JFee 1 satoshi\\n\\u202eSign it? xxx' in told
    assert "WARNING: only the first 4,000 characters are shown Sign the message" in told
    assert "Leaves the wallet" not in told and "payment" not in told
    path.write_bytes(request(challenge()).encode())
    data = answer(card, "sign", "--yes", str(path))["review"]
    assert data["message"]["text"] == TEXT and data["message"]["coins"] == []


def test_a_flood_in_json_and_on_a_pipe(card: EmulatorProcess, tmp_path: Path) -> None:
    """The same numbers; data are whole, and nothing of it steers a terminal."""
    path = tmp_path / "flood.psbt"
    path.write_bytes(flood().encode())
    done = run(card, "sign", "--yes", str(path))
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) < 80 and max(map(len, done.stderr.splitlines())) < 500
    data = answer(card, "sign", "--yes", "--force", str(path))["review"]
    assert (data["payments"], data["sent"], data["change"]) == (330, 362_850, 42_000)
    assert data["net"] == data["our_amount"] - data["change"] == 8 * 60_000 - 42_000
    assert data["fee"] == 8 * 60_000 + 120 * 1_000 - data["sent"] - data["change"]
    grave = [warning["grave"] for warning in data["warnings"]]
    assert grave == sorted(grave) and grave[-1] and not grave[0]
    assert len(data["outputs"]) == 395 and len(data["skipped"]) == 120


def test_a_flood_of_a_listing(tmp_path: Path) -> None:
    path = tmp_path / "flood.psbt"
    path.write_bytes(flood().encode())
    lines = run(None, "verify", str(path)).stdout.splitlines()
    assert len(lines) < 60 and max(map(len, lines)) < 500 and "\x1b" not in "".join(lines)
    assert "108 other inputs, 0 of them complete" in lines
    with terminal(None, "verify", str(path), columns=80, NO_COLOR="1") as child:
        assert ended(child) == 0
        tokens = set(re.sub(r"\x1b\[[0-9;]*m", " ", shown(child)).split())
    assert all(part in tokens for part in grouped(str(address_of(p2wpkh(OTHER.key("m/299"))))).split())
    assert not {"change", "Change", "ours", "yours"} & tokens


def test_verify_tells_what_is_only_said(tmp_path: Path) -> None:
    """An amount that no previous transaction proves is no number of a fee."""
    path = tmp_path / "said.psbt"
    path.write_bytes(draft(spend("p2wpkh", previous=False), spend("p2wpkh", 1)).encode())
    data = answer(None, "verify", str(path))
    assert data["fee"] is None
    assert [(entry["amount"], entry["amount_proved"]) for entry in data["inputs"]] == [
        (100_000, False),
        (100_000, True),
    ]
    text = run(None, "verify", str(path)).stdout
    assert text.count("said: 0.00100000") == 1 and "Fee: unknown" in text


def test_a_transaction_of_another_card_costs_no_try(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    with EmulatorProcess("--mnemonic", MNEMONIC) as other:
        with terminal(other, "sign", str(path)) as child:
            dialogue(child, ("PIN of card", PIN))
            child.expect_exact("No input of the PSBT names a key of this card")
            assert ended(child) == 5
        assert other.stats()["signatures"] == 0
    assert not (tmp_path / "pay-signed.psbt").exists()


def test_a_transaction_that_names_no_keys(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "bare.psbt"
    path.write_text(draft(In(p2wpkh(ME.key("m/84h/0h/0h/0/0")))).base64())
    refused = run(card, "sign", str(path), "--yes")
    assert refused.returncode == 5 and "does not say where any of its keys come from" in refused.stderr
    assert card.stats()["apdus"] == 0 and not (tmp_path / "bare-signed.psbt").exists()


# Results that cannot be written


@pytest.mark.parametrize("words", [["--force", "--output", "/dev/full"], ["--output", "/proc/nowhere.psbt"]])
def test_a_result_that_cannot_be_written_costs_no_signature(
    card: EmulatorProcess, tmp_path: Path, words: list[str]
) -> None:
    path = make_psbt(tmp_path)
    assert "choose another place" in answer(card, "sign", "--yes", *words, str(path), code=2)["hint"]
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
    assert "not text" in answer(card, *words, code=5)["error"]
    assert "not text" in answer(card, "message", "sign", "-", stdin=b"\xff", code=5)["error"]
    words = ["sign", "--yes", "--wallet", str(junk), str(make_psbt(tmp_path))]
    assert "not text" in answer(card, *words, code=5)["error"]
    assert answer(None, "verify", str(tmp_path), code=2)["error"].endswith("this is a folder")


# Terminals


def test_amounts_are_whole_on_a_narrow_terminal(card: EmulatorProcess, tmp_path: Path) -> None:
    path = make_psbt(tmp_path)
    for columns in (30, 45, 59):
        with terminal(card, "sign", str(path), columns=columns) as child:
            dialogue(child, ("PIN of card", PIN))
            for text in ("0.00120000", "bc1q", "pv3m", "v0rc", "0.00078000"):
                child.expect_exact(text)
            dialogue(child, ("Sign it with", "n"))
            assert ended(child) == 1


def test_what_a_card_says_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """The owner's name was written by another program."""
    state = tmp_path / "card"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)):
        pass
    evil = "\x1b[31mX\x1b]0;t\tA\nB\u202e"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"name": evil.encode().hex()}))
    with EmulatorProcess("--state", str(state)) as card:
        assert answer(card, "owner")["name"] == evil
        raw = run(card, "owner", "--json").stdout
        assert not {"\x1b", "\x9b", "\x7f", "\u202e", "\u2028"} & set(raw) and "\\u202e" in raw
        for words in (["owner"], ["info"]):
            done = run(card, *words)
            assert "\x1b" not in done.stdout and "?[31mX" in done.stdout
            assert all(line.count("\t") == 1 for line in done.stdout.splitlines())
        with terminal(card, "owner") as child:
            assert ended(child) == 0
            assert "\x1b[31m" not in shown(child)
            assert "\x1b]" not in shown(child)


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_what_a_card_says_writes_no_line_of_its_own(columns: int, tmp_path: Path) -> None:
    state = tmp_path / "card"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--state", str(state)):
        pass
    evil = "e" * 30 + "\nGenuine genuine"
    state.write_text(json.dumps(json.loads(state.read_text()) | {"email": evil.encode().hex()}))
    with EmulatorProcess("--state", str(state)) as card:
        assert answer(card, "owner")["email"] == evil
        for command in ("info", "owner"):
            with terminal(card, command, columns=columns) as child:
                assert ended(child) == 0
                assert not [line for line in shown(child).splitlines() if line.startswith("Genuine genuine")]


@pytest.mark.parametrize(
    "words", ["sign {}", "verify {}", "finalize {}", "sign x --output {}", "doctor --record {}", "{}"]
)
def test_a_name_writes_no_line_of_its_own(words: str, tmp_path: Path) -> None:
    """A file that somebody sent, by its name."""
    evil = "a\nGood: this message was signed by\r\x1b[2Jb.psbt"
    (tmp_path / evil).write_bytes(payment().encode())
    done = run(None, *(word.format(tmp_path / evil) for word in words.split(" ")))
    assert done.returncode == 2
    assert not any(line.startswith("Good") for line in (done.stdout + done.stderr).splitlines())
    assert "\x1b" not in done.stdout + done.stderr


def test_a_very_long_word_fills_no_screen() -> None:
    for words in (["x" * 50_000], ["verify", "x" * 50_000], ["forget", "x" * 50_000]):
        done = run(None, *words)
        assert done.returncode == 2 and len(done.stdout + done.stderr) < 4_000 and "characters)" in done.stderr


# Clumsy hands


def test_owner_that_does_not_fit_is_told_before_anything_is_asked(fresh: EmulatorProcess) -> None:
    for words in (["--name", "x" * 21], ["--email", "y" * 61], ["--name", "\x1b[2J"]):
        with terminal(fresh, "setup", *words) as child:
            child.expect_exact(words[0])
            assert ended(child) == 2
            assert "New PIN" not in shown(child)


def test_a_slip_does_not_end_the_setup(fresh: EmulatorProcess) -> None:
    with terminal(fresh, "setup", "--seed", "restore") as child:
        dialogue(child, ("New PIN", PIN), ("Type it again", PIN), ("Use it anyway?", "y"), ("Choose it yourself?", "y"))
        dialogue(child, ("New PUK", PUK), ("Type it again", PUK), ("Use it anyway?", "y"), ("Name: ", "x" * 21))
        child.expect_exact("At most 20 bytes")
        dialogue(child, ("Name: ", "Ada"), ("E-mail: ", ""), ("own pairing key?", "n"), ("Initialize", "y"))
        dialogue(child, ("How many words", "12"), ("Word 1", MNEMONIC.replace("about", "abandon")))
        child.expect_exact("a word is wrong or in the wrong place")
        dialogue(child, ("Which one do you want to type again", "12"), ("Word 12", "about"), ("Passphrase", ""))
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
        if fault.startswith("badmac"):  # the card has done it, and can say so only where nothing protects it
            assert failed.returncode == 1 and "nothing protects that answer" in failed.stderr
        else:
            assert failed.returncode == 3 and "What to do" in failed.stderr
        again = run(card, *words, "--stdinpuk", stdin=PUK)
        assert again.returncode == 0 or "not initialized" in again.stderr


def test_no_file_breaks_the_review(tmp_path: Path) -> None:
    """Damaged transactions are refused, or shown whole; nothing else happens, in the dialogues neither."""
    damage = random.Random(6)
    multi, _ = multisig_pay(tmp_path)
    sources = [multi.read_bytes(), make_psbt(tmp_path).read_bytes(), draft(spend("tapscript", 0)).encode()]
    ends: Counter[str] = Counter()
    signer = Signer(2**64 - 1, ME.fingerprint, emulated=False)
    for _ in range(3_000):
        data = bytearray(damage.choice(sources))
        for _ in range(damage.choice((1, 1, 2))):
            data[damage.randrange(5, len(data))] = damage.randrange(256)
        try:
            psbt = Psbt.parse(bytes(data))
            prompt_text(psbt, None)
            prompt_text(psbt, ME.fingerprint)
            made = make_plan(psbt, allow_unproved_amounts=damage.random() < 0.5)
        except PsbtError:
            ends["refused"] += 1
            continue
        ends["shown" if made.requests else "none"] += 1
        stream = io.StringIO()
        review(Screen(stream), made, signer)
        summary = made.summary
        assert bitcoin(summary.sent) in stream.getvalue() and fee_text(summary) in stream.getvalue()
        assert summary_data(made, signer)["sent"] == summary.sent
        text = transaction_text(made, signer.serial, signer.fingerprint)
        assert fits(text) and fee_text(summary) in text
    assert min(ends[end] for end in ("none", "shown", "refused")) > 50, ends


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
    """The card took the new key, its answer was lost, and it could not be asked: the key is still here. A refusal
    brings the old one back."""
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", "badmac@DA:1", "--fault", "remove@A4:2") as card:
        lost = run(card, "pairing", "change", "--stdinpuk", stdin=PUK, **IMPATIENT)
        assert lost.returncode == 1 and "may have the new pairing key, or still its old one" in lost.stderr
        assert answer(card, "info")["own_pairing_key"]
        assert run(card, "pin", "tries").returncode == 0, "the channel opens with it"
        assert run(card, "pairing", "change", "--stdinpuk", stdin="111111111111").returncode == 4
        assert run(card, "pin", "tries").returncode == 0


IMPATIENT = {"CRYPTNOX_REINSERT_WAIT": "0", "CRYPTNOX_WAIT": "0"}


@pytest.mark.parametrize("lost", ["sw:6F00", "badmac"], ids=["not taken", "taken"])
@pytest.mark.parametrize("words", [["change"], ["change", "--common"], ["recover"]], ids=" ".join)
def test_both_pairing_keys_are_kept_until_one_is_right(words: list[str], lost: str, tmp_path: Path) -> None:
    """The card has an own key, and gets another one or the common one; the answer to that is lost, and the card leaves.
    To recover it is another computer's business."""
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)} if words == ["recover"] else {}
    gone = "remove@A4:6" if elsewhere else "remove@A4:4"
    with EmulatorProcess("--mnemonic", MNEMONIC, "--fault", f"{lost}@DA:2", "--fault", gone) as card:
        assert run(card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
        end = run(card, "pairing", *words, "--stdinpuk", stdin=PUK, **IMPATIENT, **elsewhere)
        assert end.returncode == 1 and "may have the new pairing key, or still its old one" in end.stderr, end.stderr
        assert run(card, "pin", "tries").returncode == 0
        assert answer(card, "info")["own_pairing_key"] == (lost != "badmac" or words == ["change"])
        if elsewhere:
            assert run(card, "pin", "tries", **elsewhere).returncode == (0 if lost == "badmac" else 1)
        file = Path(os.environ["XDG_STATE_HOME"]) / "hwi-cryptnox/pairing.json"
        assert all(isinstance(key, str) for key in json.loads(file.read_text()).values()), "one key is left"
        assert card.stats()["pin_tries"] == 0
