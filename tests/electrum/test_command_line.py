"""The plugin in Electrum's command line: a payment and a message from a terminal."""

from __future__ import annotations

import json

import pexpect
import pytest
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

    def run(self, *words: str, pin: str = PIN, agree: str = "y") -> str:
        """What a command prints last; the PIN and the answer are given when they are asked for."""
        person = self._person
        command = person.rig.electrum("--regtest", "--offline", "-D", str(person.home / "electrum"), *words)
        child = pexpect.spawn(
            command[0], command[1:], env=self._environ, cwd=str(person.home), encoding="utf-8", timeout=LIMIT
        )
        child.setwinsize(50, 1000)
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


def test_pay_and_sign_a_message(person: Person, own: EmulatorProcess) -> None:
    electrum = Terminal(person, own)
    addresses = addresses_of(electrum.run("listaddresses"))
    raw = funding_transaction([(address_to_scriptpubkey(addresses[0]).data, 100_000)])
    electrum.run("addtransaction", raw.hex())
    unsigned = electrum.run("payto", RECIPIENT, "0.0005", "--fee", "0.00001", "--unsigned").strip().splitlines()[-1]
    said = electrum.run("signtransaction", unsigned)
    assert "0.00050000 BTC to" in said
    assert RECIPIENT in said
    signed = bytes.fromhex(said.strip().splitlines()[-1])
    verify(signed, [raw])
    signature = electrum.run("signmessage", addresses[0], "Paid in full.").strip().splitlines()[-1]
    assert message_key(signature, "Paid in full.") == ROOT.derive("m/84h/1h/0h/0/0").get_public_key().sec()
    assert own.stats()["pin_tries"] == 0
    person.nothing_knows()


def test_a_no_signs_nothing(person: Person, own: EmulatorProcess) -> None:
    electrum = Terminal(person, own)
    addresses = addresses_of(electrum.run("listaddresses"))
    raw = funding_transaction([(address_to_scriptpubkey(addresses[0]).data, 100_000)])
    electrum.run("addtransaction", raw.hex())
    unsigned = electrum.run("payto", RECIPIENT, "0.0005", "--fee", "0.00001", "--unsigned").strip().splitlines()[-1]
    said = electrum.run("signtransaction", unsigned, agree="n")
    assert "Traceback" not in said
    assert own.stats()["signatures"] == 0
    said = electrum.run("signtransaction", unsigned, pin="1" * 9)
    assert "Wrong PIN" in said
    assert own.stats()["pin_tries"] == 1
    assert own.stats()["signatures"] == 0
