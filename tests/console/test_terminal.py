"""Everything a person does at a terminal, on a pseudo-terminal."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest

from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.psbt import Psbt
from tests.ctl.program import (
    COMMAND,
    PIN,
    PUK,
    SEED,
    answer,
    dialogue,
    ended,
    environment,
    run,
    shown,
    terminal,
)
from tests.ctl.slot import Slot
from tests.psbt.factory import ME, OTHER, Out, draft, out_deriv, p2wpkh, spend
from tests.psbt.signing import check_on_kernel
from tests.support.emulator import MNEMONIC, EmulatorProcess

NEW_PIN = "135790"
WORDS = MNEMONIC.split()
FINGERPRINT = "73c5da0a"


def begin_setup(child: pexpect.spawn, pin: str = NEW_PIN, pairing: str = "n") -> str:
    """PIN, drawn PUK, owner, pairing key. Returns the PUK."""
    dialogue(child, ("New PIN", pin), ("Type it again", pin), ("Choose it yourself?", "n"))
    child.expect(r"\s(\d{12})\s")
    puk = str(child.match[1])
    dialogue(child, ("Written down?", ""), ("Type it back", puk), ("Name: ", "Ada"), ("E-mail: ", "ada@example.org"))
    dialogue(child, ("own pairing key?", pairing), ("Initialize the card now?", "y"))
    return puk


def check_ready(child: pexpect.spawn, *secrets: str) -> str:
    """The end of a set-up; the fingerprint. Secrets were never echoed after they were typed."""
    child.expect("The card is ready")
    child.expect(r"Fingerprint\s+.*?([0-9a-f]{8})")
    fingerprint = str(child.match[1])
    assert ended(child) == 0
    for secret in secrets:
        assert secret not in shown(child)
    return fingerprint


def test_setup_with_new_words(fresh: EmulatorProcess) -> None:
    with terminal(fresh, "setup") as child:
        puk = begin_setup(child)
        dialogue(child, ("Your choice", "new"), ("How many words", "12"))
        child.expect_exact("Written down?")
        words = [word for _, word in sorted((int(n), w) for n, w in re.findall(r"(\d+)\. ([a-z]+)", child.before))]
        assert len(words) == 12
        child.sendline("")
        dialogue(child, ("Word 1 of 12", "wrongword"))
        child.expect_exact("That is not word 1")
        dialogue(child, *((f"Word {number} of 12", word[:4]) for number, word in enumerate(words, 1)))
        child.expect_exact("match your words")
        assert "bc1q" not in shown(child), "the backup is checked before the first address is shown"
        dialogue(child, ("Press Enter", "what?"), ("Press Enter", ""), ("Word 1", MNEMONIC))
        dialogue(child, ("Passphrase", ""))
        child.expect_exact("belong to a different wallet")
        dialogue(child, ("Press Enter", ""), ("Word 1", " ".join(words)), ("Passphrase", ""))
        child.expect_exact("the words on your paper match this wallet")
        fingerprint = check_ready(child, NEW_PIN)
        assert "backup check" not in shown(child)
    info = answer(fresh, "info")
    assert (info["name"], info["email"], info["key_source"]) == ("Ada", "ada@example.org", "loaded seed")
    assert info["xpub_export"] is True
    # The words are the wallet, the PUK is the PUK.
    with terminal(fresh, "backup", "check", CRYPTNOX_PIN=NEW_PIN) as child:
        dialogue(child, ("How many words", "12"), ("Word 1", " ".join(words)), ("Passphrase", ""))
        child.expect_exact("hold the same wallet")
        assert fingerprint in shown(child)
        assert ended(child) == 0
    assert run(fresh, "reset", "--serial", str(fresh.serial), "--stdinpuk", stdin=puk).returncode == 0


def test_setup_with_words_one_has(fresh: EmulatorProcess) -> None:
    with terminal(fresh, "setup", "--name", "", "--email", "") as child:
        dialogue(child, ("New PIN", "12"))
        child.expect_exact("4 to 9 digits")
        dialogue(child, ("New PIN", NEW_PIN), ("Type it again", "135791"))
        child.expect_exact("The two do not match.")
        dialogue(child, ("New PIN", NEW_PIN), ("Type it again", NEW_PIN), ("Choose it yourself?", "y"))
        dialogue(child, ("New PUK", "own-puk-1234"), ("Type it again", "own-puk-1234"))
        dialogue(child, ("own pairing key?", "n"), ("Initialize", "y"), ("Your choice", "restore"))
        dialogue(child, ("How many words", "13"), ("How many words", "12"), ("Word 1", "abandonn"))
        child.expect_exact("Word 1 is not in the list")
        dialogue(child, *((f"Word {number}", word) for number, word in enumerate(WORDS, 1)))
        dialogue(child, ("Passphrase", ""))
        assert check_ready(child, NEW_PIN, "own-puk-1234", "about") == FINGERPRINT
    assert answer(fresh, "address", pin=NEW_PIN)["addresses"][0]["address"].startswith(
        "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z"
    )


def test_setup_on_the_card_alone_with_an_own_pairing_key(fresh: EmulatorProcess, tmp_path: Path) -> None:
    with terminal(fresh, "setup", "--seed", "card") as child:
        puk = begin_setup(child, pairing="y")
        dialogue(child, ('Type "no backup"', "no backup"))
        check_ready(child, NEW_PIN)
        assert "cryptnoxctl export" in shown(child) and "backup check" not in shown(child)
    info = answer(fresh, "info")
    assert (info["key_source"], info["own_pairing_key"]) == ("made on the card", True)
    exported = tmp_path / "key"
    assert run(fresh, "pairing", "export", str(exported)).returncode == 0
    assert exported.stat().st_mode & 0o777 == 0o600
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "other")}
    refused = run(fresh, "pin", "tries", **elsewhere)
    assert refused.returncode == 1
    assert "pairing recover" in refused.stderr
    assert run(fresh, "pairing", "recover", "--file", str(exported), **elsewhere).returncode == 0
    assert run(fresh, "pin", "tries", **elsewhere).returncode == 0
    third = {"XDG_STATE_HOME": str(tmp_path / "third")}
    assert run(fresh, "pairing", "recover", "--stdinpuk", stdin=puk, **third).returncode == 0
    assert run(fresh, "pin", "tries", **third).returncode == 0


def test_setup_with_two_readers(fresh: EmulatorProcess) -> None:
    with EmulatorProcess() as second:
        with terminal(fresh, "setup", "--seed", "dual", "--second", second.path) as child:
            begin_setup(child)
            begin_setup(child, pin="246802")
            fingerprint = check_ready(child, NEW_PIN, "246802")
        shows = [
            run(each, "xpub", "m/84h/0h/0h", pin=pin).stdout for each, pin in ((fresh, NEW_PIN), (second, "246802"))
        ]
        assert shows[0] == shows[1] != ""
        assert fingerprint in shows[0]
        with terminal(fresh, "backup", "check", "--second", second.path) as child:
            dialogue(child, ("PIN of card", NEW_PIN), ("PIN of card", "246802"))
            child.expect_exact("hold the same wallet")
            assert ended(child) == 0


def begin_with_two_cards(child: pexpect.spawn, slot: Slot, second: Path) -> None:
    """Up to the point where the first card is wanted back."""
    begin_setup(child)
    child.expect_exact("insert the second card")
    slot.insert(second)
    child.sendline("")
    begin_setup(child, pin="246802")
    child.expect_exact("Remove the second card")


def test_setup_with_two_cards_in_one_reader(tmp_path: Path) -> None:
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), "setup", "--seed", "dual") as child:
        begin_with_two_cards(child, slot, tmp_path / "b")
        slot.insert(tmp_path / "a")
        child.sendline("")
        check_ready(child, NEW_PIN, "246802")


def test_two_cards_of_which_one_stays_away(tmp_path: Path) -> None:
    with Slot() as slot, terminal(slot.insert(tmp_path / "a"), "setup", "--seed", "dual") as child:
        begin_with_two_cards(child, slot, tmp_path / "b")
        child.sendintr()
        child.expect_exact(f"Interrupted. The card {slot.card.serial} holds the seed. The card")
        child.expect_exact("Put no money on either card")
        child.expect_exact(f"cryptnoxctl reset --card {slot.card.serial}")
        assert ended(child) == 1


def test_interrupted_setup_goes_on_where_it_was(fresh: EmulatorProcess) -> None:
    with terminal(fresh, "setup") as child:
        puk = begin_setup(child)
        child.expect_exact("Your choice")
        child.sendintr()
        child.expect_exact(
            f"Interrupted; the card {fresh.serial} is initialized and has no seed: its PIN and PUK are those"
        )
        child.expect_exact(f"cryptnoxctl setup --card {fresh.serial} continues from here")
        assert ended(child) == 1
    with terminal(fresh, "setup", "--seed", "card") as child:
        dialogue(child, ("PUK: ", "111111111111"))
        child.expect_exact("That is not the PUK of this card. (It cost no try.)")
        dialogue(child, ("PUK: ", puk), ("PIN of card", NEW_PIN), ('Type "no backup"', "yes"))
        child.expect_exact('That is not "no backup"')
        dialogue(child, ('Type "no backup"', ""))
        dialogue(child, *[("Your choice", "?")] * 3, ("What now", "leave"))
        child.expect_exact(f"Canceled; the card {fresh.serial} is initialized and has no seed")
        assert ended(child) == 1
    with terminal(fresh, "setup", "--seed", "restore") as child:
        dialogue(child, ("PUK: ", puk), ("PIN of card", NEW_PIN), ("How many words", "12"), ("Word 1", MNEMONIC))
        dialogue(child, ("Passphrase", "secret phrase"), ("Type it again", "secret phrase"))
        fingerprint = check_ready(child, NEW_PIN, puk, "secret phrase")
    assert fingerprint != FINGERPRINT


def test_a_card_with_a_wallet_is_not_set_up_again(card: EmulatorProcess) -> None:
    with terminal(card, "setup") as child:
        child.expect_exact("There is already a wallet on this card")
        assert ended(child) == 1
    assert card.stats()["by_ins"].get("FE", 0) == 0


def make_psbt(folder: Path, count: int = 2) -> Path:
    change = "m/84h/0h/0h/1/3"
    outs = [
        Out(p2wpkh(OTHER.key("m/0")), 60_000 * count),
        Out(p2wpkh(ME.key(change)), 39_000 * count, [out_deriv(change)]),
    ]
    path = folder / "pay.psbt"
    path.write_bytes(draft(*(spend("p2wpkh", number) for number in range(count)), outs=outs).encode())
    return path


def test_sign_with_review(card: EmulatorProcess, tmp_path: Path) -> None:
    """The PIN first; then one review in which every word is proved, and one question."""
    path = make_psbt(tmp_path)
    with terminal(card, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN))
        child.expect_exact("Sign it with 2 signatures?")
        assert card.stats()["signatures"] == 0
        text = plain(child)
        for line in (
            "Account m/84h/0h/0h",
            f"Card {card.serial}, fingerprint {ME.fingerprint.hex()}, emulated",
            "Spends 2 inputs, signed by this card: 0.00200000 BTC",
            "1 payment, 0.00120000 BTC 0.00120000 BTC (output 0)",
            "bc1q pv3m v0rc 0e6e mm6g d60c c2hl 2gld sltm tvu6 g8",
            "Change back to the wallet, proved: 0.00078000 BTC 0.00078000 BTC (output 1, m/84h/0h/0h/1/3)",
            "Fee 2,000 satoshi, 9.6 sat/vB, 1.0 % of the card's inputs",
            "Leaves the wallet 0.00122000 BTC",
        ):
            assert line in text, (line, text)
        child.sendline("y")
        child.expect_exact("2/2")
        child.expect_exact("complete")
        assert ended(child) == 0
        assert shown(child).count("Sign it") == 1 and PIN not in shown(child).replace("00000000", "")
    check_on_kernel(Psbt.parse((tmp_path / "pay-signed.psbt").read_bytes()), _draft_of(2))
    assert card.stats()["signatures"] == 2


def plain(child: pexpect.spawn) -> str:
    """What was shown, in one line and without colours."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", shown(child)).split())


def _draft_of(count: int):  # type: ignore[no-untyped-def]
    return draft(*(spend("p2wpkh", number) for number in range(count)))


@pytest.mark.parametrize("reply", ["n", "", "new", "yess", "0"])
def test_saying_no_signs_nothing(card: EmulatorProcess, tmp_path: Path, reply: str) -> None:
    path = make_psbt(tmp_path)
    with terminal(card, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN), ("Sign it with 2 signatures?", reply))
        if reply in ("new", "yess", "0"):
            child.expect_exact("Type y for yes, or n for no.")
            dialogue(child, ("Sign it with 2 signatures?", reply), ("Sign it with 2 signatures?", reply))
        child.expect_exact("Canceled. Nothing was signed")
        assert ended(child) == 1
    assert card.stats()["signatures"] == 0
    assert not (tmp_path / "pay-signed.psbt").exists()


def test_what_is_typed_before_the_review_does_not_agree_to_it(card: EmulatorProcess, tmp_path: Path) -> None:
    """Two lines pasted where the PIN is asked for."""
    with terminal(card, "sign", str(make_psbt(tmp_path))) as child:
        child.expect_exact("PIN of card")
        child.send(f"{PIN}\ny\ny\n")
        child.expect_exact("Sign it with 2 signatures?")
        time.sleep(0.5)
        assert child.isalive() and card.stats()["signatures"] == 0
        child.sendline("n")
        assert ended(child) == 1
    assert card.stats()["signatures"] == 0


def test_the_review_is_seen_wherever_stderr_goes(card: EmulatorProcess, tmp_path: Path) -> None:
    path, log = make_psbt(tmp_path), tmp_path / "log"
    command = f"exec {' '.join(COMMAND)} sign {path} 2>{log}"
    env = environment(card, TERM="xterm")
    with pexpect.spawn("/bin/sh", ["-c", command], env=env, encoding="utf-8", timeout=60) as child:  # type: ignore[arg-type]
        dialogue(child, ("PIN of card", PIN), ("bc1q pv3m v0rc", ""), ("Sign it with 2 signatures?", "n"))
        assert ended(child) == 1
    assert "bc1q" not in log.read_text() and card.stats()["signatures"] == 0


@pytest.mark.parametrize(
    ("typed", "code"), [("99,000,000", 0), ("99000000", 0), ("990000", 1), ("y", 1), ("", 1), ("-99000000", 1)]
)
def test_a_high_fee_is_typed(card: EmulatorProcess, tmp_path: Path, typed: str, code: int) -> None:
    """Instead of the question, with the limit named right above; never with --yes."""
    path = tmp_path / "fee.psbt"
    outs = [Out(p2wpkh(OTHER.key("m/0")), 1_000_000)]
    path.write_bytes(draft(spend("p2wpkh", amount=100_000_000), outs=outs).encode())
    with terminal(card, "sign", str(path)) as child:
        dialogue(child, ("PIN of card", PIN), ("type the fee in satoshi", typed))
        assert ended(child) == code
        text = plain(child)
        assert "Fee 99,000,000 satoshi, 900,000.0 sat/vB, 99.0 % of the card's inputs" in text
        warned = "WARNING: the fee of 99,000,000 satoshi is above the limit of 10,000,000 satoshi To sign it anyway"
        assert warned in text and "[y/N]" not in text
    assert card.stats()["signatures"] == (code == 0)
    refused = run(card, "sign", "--yes", "--force", str(path))
    assert refused.returncode == 5 and "above the limit of 10,000,000 satoshi" in refused.stderr
    assert "CRYPTNOX_MAX_FEE" in refused.stderr and card.stats()["signatures"] == (code == 0)


def test_wrong_pin_costs_one_try_and_says_so(card: EmulatorProcess, tmp_path: Path) -> None:
    with terminal(card, "sign", str(make_psbt(tmp_path))) as child:
        dialogue(child, ("at most 6 tries left", "999999"))
        child.expect_exact("Wrong PIN, 5 tries left")
        assert ended(child) == 4
        assert "999999" not in shown(child)
    assert card.stats()["pin_tries"] == 1


def test_interrupt_in_the_middle_keeps_what_was_signed(tmp_path: Path) -> None:
    path = make_psbt(tmp_path, 12)
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--latency", "sign=150") as card:
        with terminal(card, "sign", str(path)) as child:
            dialogue(child, ("PIN of card", PIN), ("Sign it with 12 signatures?", "y"))
            child.expect(r" [3-9]/12")
            child.sendintr()
            child.expect_exact("signatures were made")
            child.expect_exact("run the same command again")
            assert ended(child) == 1
        made = card.stats()["signatures"]
        assert 3 <= made < 12
        # The card is free again at once, and nothing is signed twice (the signature on its way is lost).
        data = answer(card, "sign", "--yes", str(path))
        assert data["complete"]
        assert card.stats()["signatures"] <= 13
    check_on_kernel(Psbt.parse((tmp_path / "pay-signed.psbt").read_bytes()), _draft_of(12))


def test_card_pulled_in_the_middle(tmp_path: Path) -> None:
    path = make_psbt(tmp_path, 10)
    state = str(tmp_path / "card")
    card = EmulatorProcess("--seed", SEED, "--xpub-export", "--state", state, "--latency", "sign=150").start()
    address = f"{card.host}:{card.port}"
    try:
        with terminal(card, "sign", str(path)) as child:
            dialogue(child, ("PIN of card", PIN), ("Sign it with 10 signatures?", "y"))
            child.expect(r" [3-9]/10")
            card.stop()
            child.expect_exact("Put it back")
            card = EmulatorProcess("--state", state, listen=address).start()
            child.expect_exact("complete")
            assert ended(child) == 0
    finally:
        card.stop()
    check_on_kernel(Psbt.parse((tmp_path / "pay-signed.psbt").read_bytes()), _draft_of(10))


def test_card_pulled_for_good_and_signed_later(tmp_path: Path) -> None:
    path, state = make_psbt(tmp_path, 10), str(tmp_path / "card")
    card = EmulatorProcess("--seed", SEED, "--xpub-export", "--state", state, "--latency", "sign=150").start()
    address = f"{card.host}:{card.port}"
    try:
        with terminal(card, "sign", str(path), CRYPTNOX_REINSERT_WAIT="1") as child:
            dialogue(child, ("PIN of card", PIN), ("Sign it with 10 signatures?", "y"))
            child.expect(r" [3-9]/10")
            made = card.stats()["signatures"]
            card.stop()
            child.expect_exact("signatures were made")
            assert ended(child) == 3
        card = EmulatorProcess("--state", state, listen=address).start()
        assert answer(card, "sign", "--yes", str(path))["complete"]
        assert card.stats()["signatures"] <= 10 - made + 1
    finally:
        card.stop()


def test_200_inputs_with_a_fault(tmp_path: Path) -> None:
    path = make_psbt(tmp_path, 200)
    options = ("--latency", "apdu=1,derive=2,sign=5", "--fault", "remove@C0:120")
    with EmulatorProcess("--seed", SEED, "--xpub-export", *options) as card:
        with terminal(card, "sign", str(path)) as child:
            child.timeout = 90
            dialogue(child, ("PIN of card", PIN), ("Sign it with 200 signatures?", "y"))
            child.expect_exact("The card signs")
            child.expect_exact("time left")
            child.expect_exact("Put it back")
            child.expect_exact("200/200")
            child.expect_exact("complete")
            assert ended(child) == 0
        assert card.stats()["signatures"] == 200
    check_on_kernel(Psbt.parse((tmp_path / "pay-signed.psbt").read_bytes()), _draft_of(200))


def test_blocked_pin_and_unblock(tmp_path: Path) -> None:
    with EmulatorProcess("--seed", SEED) as card:
        for left in (5, 4, 3, 2):
            with terminal(card, "pin", "verify") as child:
                dialogue(child, ("PIN of card", f"99999{left}"))
                child.expect_exact(f"Wrong PIN, {left} tries left")
                assert ended(child) == 4
        with terminal(card, "pin", "unblock") as child:
            child.expect_exact("not blocked")
            assert ended(child) == 1
        with terminal(card, "pin", "verify") as child:
            dialogue(child, ("PIN of card", "999991"))
            assert ended(child) == 4
        with terminal(card, "pin", "verify") as child:
            dialogue(child, ('Type "last try"', "no"), ('Type "last try"', ""))
            child.expect_exact("Canceled")
            assert ended(child) == 1
        assert card.stats()["pin_tries"] == 5
        with terminal(card, "pin", "verify") as child:
            dialogue(child, ('Type "last try"', "last try"), ("PIN of card", "999990"))
            assert ended(child) == 4
        assert answer(card, "pin", "tries", schema="pin tries")["pin_tries_left"] == 0
        with terminal(card, "pin", "verify") as child:
            child.expect_exact("blocked")
            assert ended(child) == 4
        with terminal(card, "pin", "unblock") as child:
            dialogue(child, ("PUK", "111111111111"), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
            child.expect_exact("Wrong PUK")
            assert ended(child) == 4
        with terminal(card, "pin", "unblock") as child:
            dialogue(child, ("PUK", PUK), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
            child.expect_exact("new PIN")
            assert ended(child) == 0
            assert NEW_PIN not in shown(child)
            assert PUK not in shown(child)
        with terminal(card, "pin", "verify") as child:
            dialogue(child, ("at most 6 tries left", NEW_PIN))
            assert ended(child) == 0


def test_change_pin_and_puk(card: EmulatorProcess) -> None:
    with terminal(card, "pin", "change") as child:
        dialogue(child, ("PIN of card", PIN), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
        assert ended(child) == 0
    with terminal(card, "pin", "change", "--with-puk") as child:
        dialogue(child, ("PUK", PUK), ("New PIN", "7302"), ("Type it again", "7302"))
        assert ended(child) == 0
    with terminal(card, "puk", "change") as child:
        dialogue(child, ("PUK", PUK), ("New PUK", "another-puk!"), ("Type it again", "another-puk!"))
        assert ended(child) == 0
        assert "another-puk!" not in shown(child)
    assert run(card, "pin", "verify", "--stdinpass", stdin="7302\n").returncode == 0
    assert run(card, "xpub", "off", "--stdinpuk", stdin="another-puk!\n").returncode == 0


def test_reset_wants_the_typed_serial(card: EmulatorProcess) -> None:
    with terminal(card, "reset") as child:
        dialogue(child, *((f'Type "{card.serial}" to continue: ', reply) for reply in ("yes", "")))
        assert ended(child) == 1
    assert answer(card, "info")["seeded"] is True
    with terminal(card, "reset") as child:
        dialogue(child, (f'Type "{card.serial}"', str(card.serial)), ("PUK", PUK))
        assert ended(child) == 0
    assert answer(card, "info")["initialized"] is False


def test_adopt_gets_at_a_card_paired_with_another_key(bare: EmulatorProcess, tmp_path: Path) -> None:
    assert run(bare, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
    elsewhere = {"XDG_STATE_HOME": str(tmp_path)}
    with terminal(bare, "adopt", **elsewhere) as child:
        dialogue(child, ("Set the default pairing key again now?", "n"))
        child.expect_exact("nothing was changed")
        assert ended(child) == 1
    assert run(bare, "pin", "tries").returncode == 0, "the own key still opens it"
    with terminal(bare, "adopt", **elsewhere) as child:
        dialogue(child, ("Set the default pairing key again now?", "y"), ("PUK: ", PUK), ("PIN of card", PIN))
        dialogue(child, ('type "no check"', "no check"), ("Turn it on now?", "n"))
        child.expect_exact("has the default pairing key again")
        child.expect_exact("To do: turn xpub export on")
        assert ended(child) == 0
    assert run(bare, "pin", "tries", **elsewhere).returncode == 0


def test_adopt_changes_nothing_unasked(bare: EmulatorProcess) -> None:
    with terminal(bare, "adopt") as child:
        dialogue(child, ("PIN of card", PIN), ('type "no check"', "no check"), ("Turn it on now?", "n"))
        child.expect_exact("xpub on")
        child.expect_exact("compare the words on your paper")
        assert ended(child) == 0
    assert bare.stats()["by_ins"].get("C5", 0) == 0


def test_adopt_checks_the_backup_before_the_first_address_is_shown() -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        with terminal(card, "adopt") as child:
            dialogue(child, ("PIN of card", PIN), ("Press Enter", ""))
            assert "bc1q" not in shown(child)
            dialogue(child, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", ""))
            dialogue(child, ("Turn it on now?", "y"), ("PUK: ", PUK))
            child.expect_exact("Next, connect a wallet")
            assert ended(child) == 0
        assert answer(card, "info")["xpub_export"] is True


def test_adopt_switches_export_on(bare: EmulatorProcess) -> None:
    with terminal(bare, "adopt") as child:
        dialogue(child, ("PIN of card", PIN), ('type "no check"', "no check"), ("Turn it on now?", "y"), ("PUK: ", PUK))
        child.expect_exact("xpub export is on")
        assert ended(child) == 0
    assert answer(bare, "info")["xpub_export"] is True


def test_no_colour_where_it_is_not_wanted(card: EmulatorProcess) -> None:
    with terminal(card, "info", NO_COLOR="1") as child:
        assert ended(child) == 0
        assert "\x1b[3" not in shown(child)
    with terminal(card, "info") as child:
        assert ended(child) == 0
        assert "\x1b[3" in shown(child)


def test_echo_is_back_after_an_interrupt(card: EmulatorProcess) -> None:
    with terminal(card, "pin", "verify") as child:
        child.expect_exact("PIN of card")
        deadline = time.monotonic() + 5
        while child.getecho() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not child.getecho()
        child.kill(signal.SIGINT)
        child.expect_exact("Interrupted")
        assert child.getecho()
        assert ended(child) == 1
    assert card.stats()["pin_tries"] == 0


@pytest.mark.parametrize("question", [Terminal.pause, Terminal.hidden])
def test_a_ctrl_c_just_before_the_waiting_ends_it(
    monkeypatch: pytest.MonkeyPatch, question: Callable[[Terminal, str], object]
) -> None:
    """Then Python's handler has not run yet. What it has written is told by `signal.set_wakeup_fd` alone."""
    wait = select.select

    def pressed(*files: Any) -> None:
        waker = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(waker)
        os.write(waker, bytes((signal.SIGINT,)))
        assert any(wait(*files, 5)), "the waiting goes on"
        raise KeyboardInterrupt

    master, slave = os.openpty()
    with os.fdopen(master), os.fdopen(slave) as source, os.fdopen(slave, "w", closefd=False) as out:
        monkeypatch.setattr("hwilib_cryptnox.console.terminal._open_terminal", lambda: (source, out))
        monkeypatch.setattr(select, "select", pressed)
        with pytest.raises(KeyboardInterrupt):
            question(Terminal(), "PIN")
    assert signal.set_wakeup_fd(-1) == -1, "nothing is left behind"


def test_echo_is_back_when_the_program_is_ended(card: EmulatorProcess) -> None:
    with terminal(card, "pin", "verify") as child:
        child.expect_exact("PIN of card")
        assert not child.getecho()
        child.kill(signal.SIGTERM)
        child.expect_exact("Interrupted")
        assert child.getecho()
        assert ended(child) == 1


@pytest.mark.parametrize("typed", ["", "12", "abcdef", "1234567890"])
def test_what_is_no_pin_never_reaches_the_card(card: EmulatorProcess, typed: str) -> None:
    with terminal(card, "pin", "verify") as child:
        dialogue(child, *[("PIN of card", typed)] * 3, ("What now", "leave"))
        assert ended(child) == 1
    assert card.stats()["pin_tries"] == 0
