"""The plugin in Electrum's command line: a payment and a message from a terminal."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pexpect
import pytest
from embit.psbt import PSBT
from embit.script import address_to_scriptpubkey

from tests.electrum.people import PIN, Person
from tests.electrum.test_in_electrum import RECIPIENT, ROOT
from tests.electrum.window import environment
from tests.support.emulator import EmulatorProcess
from tests.system.interop.paper import funding_transaction, message_key, verify

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

LIMIT = 120


class Terminal:
    """Electrum's commands at a terminal, where the PIN is typed and the review answered."""

    def __init__(self, person: Person, card: EmulatorProcess) -> None:
        self._person = person
        person.program.insert(card.path)
        more = {"CRYPTNOX_EMULATOR": "127.0.0.1:9"}
        self._environ = environment(person.home, None, person.program.path.parent, more)

    def command(self, *words: str) -> list[str]:
        """Electrum's command line for the person's wallet."""
        person = self._person
        return person.rig.electrum("--regtest", "--offline", "-D", str(person.home / "electrum"), *words)

    def start(self, *words: str, output: Path | None = None) -> pexpect.spawn[str]:
        """A command, running. `output`: where stdout goes, instead of the terminal."""
        command = self.command(*words)
        if output is not None:
            command = ["sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", str(output), *command]
        return pexpect.spawn(
            command[0],
            command[1:],
            env=self._environ,
            cwd=str(self._person.home),
            encoding="utf-8",
            timeout=LIMIT,
            dimensions=(50, 1000),
        )

    def alone(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command without a terminal."""
        return subprocess.run(
            self.command(*words),
            env=self._environ,
            cwd=self._person.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            start_new_session=True,
        )

    def run(self, *words: str, pin: str = PIN, agree: str = "y", output: Path | None = None) -> str:
        """What a command prints last; the PIN and the answer are given when they are asked for."""
        child = self.start(*words, output=output)
        said = ""
        while True:
            found = child.expect([pexpect.EOF, "PIN of [^\n]*: ", r"Sign it\? \[y/N\] ", "Password:"])
            said += (child.before or "") + (str(child.after) if found else "")
            if not found:
                break
            # The wallet has no password. A PIN is typed once; an empty line leaves.
            child.sendline(("", pin, agree, "")[found])
            pin = "" if found == 1 else pin
        child.close()
        return said


def addresses_of(said: str) -> list[str]:
    """The list behind whatever is said before it."""
    found: list[str] = json.loads(said[said.index("[") :])
    return found


def unsigned_payment(electrum: Terminal) -> tuple[str, bytes, str]:
    """A payment of a coin of the wallet; the transaction that funds it, and the address that it funds."""
    address, *_ = addresses_of(electrum.run("listaddresses"))
    raw = funding_transaction([(address_to_scriptpubkey(address).data, 100_000)])
    electrum.run("addtransaction", raw.hex())
    made = electrum.run("payto", RECIPIENT, "0.0005", "--fee", "0.00001", "--unsigned")
    return made.strip().splitlines()[-1], raw, address


def test_pay_and_sign_a_message(person: Person, own: EmulatorProcess) -> None:
    electrum = Terminal(person, own)
    unsigned, raw, address = unsigned_payment(electrum)
    file = person.home / "signed"
    said = electrum.run("signtransaction", unsigned, output=file)
    assert "0.00050000 BTC to" in said
    assert RECIPIENT in said
    # Stdout has the result and nothing else.
    verify(bytes.fromhex(file.read_text().removesuffix("\n")), [raw])
    signature = electrum.run("signmessage", address, "Paid in full.").strip().splitlines()[-1]
    assert message_key(signature, "Paid in full.") == ROOT.derive("m/84h/1h/0h/0/0").get_public_key().sec()
    assert own.stats()["pin_tries"] == 0
    person.nothing_knows()


def test_a_no_signs_nothing(person: Person, own: EmulatorProcess) -> None:
    electrum = Terminal(person, own)
    unsigned, *_ = unsigned_payment(electrum)
    said = electrum.run("signtransaction", unsigned, agree="n")
    assert "Traceback" not in said
    assert own.stats()["signatures"] == 0
    said = electrum.run("signtransaction", unsigned, pin="1" * 9)
    assert "Wrong PIN" in said
    assert own.stats()["pin_tries"] == 1
    assert own.stats()["signatures"] == 0


def test_nobody_answers(person: Person, own: EmulatorProcess) -> None:
    """Without a terminal: the PIN and the answer come by stdin, and where they do not, nothing is signed."""
    electrum = Terminal(person, own)
    unsigned, raw, _ = unsigned_payment(electrum)
    # The first line answers Electrum's own question, for the wallet's password.
    for stdin in ("\n", f"\n{PIN}\n", f"\n{PIN}\nn\n", f"\n{PIN}\n\n"):
        run = electrum.alone("signtransaction", unsigned, stdin=stdin)
        # Electrum gives the transaction back, as it was.
        (given,) = PSBT.from_string(run.stdout.strip()).inputs
        assert not given.partial_sigs
        assert "Traceback" not in run.stderr
        assert PIN not in run.stderr
    assert own.stats()["signatures"] == 0
    run = electrum.alone("signtransaction", unsigned, stdin=f"\n{PIN}\ny\n")
    verify(bytes.fromhex(run.stdout.removesuffix("\n")), [raw])
    assert own.stats()["pin_tries"] == 0


def test_ctrl_c(person: Person, own: EmulatorProcess) -> None:
    """At the PIN and at the review: it ends, and nothing is signed."""
    electrum = Terminal(person, own)
    unsigned, *_ = unsigned_payment(electrum)
    child = electrum.start("signtransaction", unsigned)
    child.expect("Password:")
    child.sendline("")
    child.expect("PIN of [^\n]*: ")
    end(child)
    child = electrum.start("signtransaction", unsigned)
    child.expect("Password:")
    child.sendline("")
    child.expect("PIN of [^\n]*: ")
    child.sendline(PIN)
    child.expect(r"Sign it\? \[y/N\] ")
    end(child)
    assert own.stats()["signatures"] == 0
    assert own.stats()["pin_tries"] == 0


def end(child: pexpect.spawn[str]) -> str:
    """By Ctrl-C, and again: at the first one Electrum's own main thread ends, and waits for its others. What it said
    last."""
    for _ in range(20):
        child.sendintr()
        if child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=3) == 0:
            break
    else:
        raise AssertionError("Electrum goes on")
    assert child.getecho(), "what is typed at the terminal is not seen any more"
    child.close()
    return str(child.before)
