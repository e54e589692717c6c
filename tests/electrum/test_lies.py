"""A `hwi-cryptnox` that lies, breaks, hangs or is not there: the window says one sentence, stays usable, and nothing
that the card's key did not make is taken over."""

from __future__ import annotations

import pytest
from embit import bip32, bip39
from embit.networks import NETWORKS
from embit.script import address_to_scriptpubkey

from tests.electrum.people import PIN, Person
from tests.electrum.test_in_electrum import RECIPIENT
from tests.electrum.window import FROZEN, ElectrumWindow
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import OTHER_MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("electrum-window"), pytest.mark.timeout(1200)]

SIGNING = "if '--frontend' in sys.argv and 'enumerate' not in sys.argv:\n"
"""What a lie below is for: what comes with a dialogue."""

ANSWERS = {
    "nothing": "    sys.exit(0)\n",
    "garbage": "    print('\\x00\\xff<html>{[', flush=True); sys.exit(0)\n",
    "no object": "    print('[1, 2, 3]'); sys.exit(0)\n",
    "not a transaction": "    print(json.dumps({'psbt': 'bm90aGluZw==', 'signed': True})); sys.exit(0)\n",
    "wrong types": "    print(json.dumps({'psbt': 5, 'signed': 'yes', 'error': None})); sys.exit(0)\n",
    "huge line": "    sys.stdout.write('x' * 100_000_000); sys.exit(0)\n",
    "many lines": '    [print(\'{"signing": 1, "of": 2}\') for _ in range(300_000)]; sys.exit(0)\n',
    "deep": "    sys.stdout.write('[' * 200_000 + '\\n'); sys.exit(0)\n",
    "signing what": "    print(json.dumps({'signing': 'x', 'of': None})); sys.exit(0)\n",
    "review of nothing": "    print(json.dumps({'review': {'outputs': 5}})); sys.exit(0)\n",
    "long error": "    print(json.dumps({'error': 'very ' * 1_000_000, 'code': -13})); sys.exit(0)\n",
    "error that is none": "    print(json.dumps({'error': {'a': [1]}, 'code': 'x', 'kind': 5})); sys.exit(0)\n",
    "crash": "    raise RuntimeError('the PIN was ' + '9' * 100_000)\n",
    "markup": "    print(json.dumps({'error': '<b>Send to <a href=x>this</a></b>' * 3, 'code': -13})); sys.exit(0)\n",
}
_RELAY = """
    import base64, subprocess
    run = subprocess.Popen(
        [sys.executable, "-m", "hwilib_cryptnox.hwi.program", *sys.argv[1:]], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": ROOT, "CRYPTNOX_EMULATOR": open(CARDS).read().split()[0]},
    )
    for line in run.stdout:
        answer = json.loads(line)
        CHANGE
        print(json.dumps(answer), flush=True)
    sys.exit(run.wait())
"""
"""The real program, whose answers are changed on their way."""
OTHER_SIGNATURE = """
        if "psbt" in answer:
            raw = bytearray(base64.b64decode(answer["psbt"]))
            start = max(raw.find(b"\\x22\\x02\\x02"), raw.find(b"\\x22\\x02\\x03"))  # a partial signature's key
            raw[start + 60] ^= 1
            answer["psbt"] = base64.b64encode(raw).decode()
"""
OTHER_PAYMENT = """
        if "psbt" in answer:
            raw = base64.b64decode(answer["psbt"])
            theirs = bytes.fromhex("PAID")
            answer["psbt"] = base64.b64encode(raw.replace(theirs, theirs[:-1] + bytes([theirs[-1] ^ 1]))).decode()
"""
OTHER_KEY = """
        if "xpub" in answer:
            answer["xpub"] = "KEY"
"""


IGNORES = """
    import subprocess, threading
    run = subprocess.Popen(
        [sys.executable, "-m", "hwilib_cryptnox.hwi.program", *sys.argv[1:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": ROOT, "CRYPTNOX_EMULATOR": open(CARDS).read().split()[0]},
    )
    shown = []
    def feed():
        for line in sys.stdin:
            run.stdin.write("sign\\n" if shown else line)
            run.stdin.flush()
    threading.Thread(target=feed, daemon=True).start()
    for line in run.stdout:
        shown += ["review"] if "review" in line else []
        if "review" in line and not TELLS:
            run.stdin.write("sign\\n")
            run.stdin.flush()
        elif TELLS or "psbt" in line:
            print(line, end="", flush=True)
    os._exit(run.wait())
"""
"""The real program, but it signs whatever the person says; with TELLS it shows the review all the same."""


def relay(change: str) -> str:
    """A program that lies in one thing."""
    return SIGNING + _RELAY.replace("\n        CHANGE\n", change)


def ask_to_sign(person: Person, window: ElectrumWindow) -> None:
    """Up to what the program answers, with a PIN that it accepted before."""
    person.fund(window, 100_000)
    person.prepare_payment(window, RECIPIENT, "0.0005")
    window.click("Sign", window="Transaction")


def refused(window: ElectrumWindow) -> str:
    """What the window says; then nothing is signed, and it goes on."""
    window.wait("OK")
    window.wait_gone("Please wait")
    said = window.text().split("[Transaction")[0]
    window.click("OK")
    window.wait("Status: Unsigned")
    assert window.longest_pause() < FROZEN
    return said


def test_answers_that_are_none(person: Person, own: EmulatorProcess) -> None:
    """One after the other, in one window, which stays usable."""
    with person.electrum(own) as window:
        person.pair(window)
        person.fund(window, 100_000)
        person.prepare_payment(window, RECIPIENT, "0.0005")
        window.longest_pause()
        for name, body in ANSWERS.items():
            person.program.replace(before=SIGNING + body)
            window.click("Sign", window="Transaction")
            said = refused(window)
            print(name, said)
            assert len(said) < 1500, name
            assert "Traceback" not in said, name
            assert "report" not in said.lower(), name  # Electrum's window for crashes
        person.program.replace()
        person.sign(window)
    assert own.stats()["pin_tries"] == 0


@pytest.mark.parametrize("lie", ["signature", "payment"])
def test_other_signatures(person: Person, own: EmulatorProcess, lie: str) -> None:
    paid = bytes(address_to_scriptpubkey(RECIPIENT).data).hex()
    with person.electrum(own) as window:
        person.pair(window)
        change = OTHER_SIGNATURE if lie == "signature" else OTHER_PAYMENT.replace("PAID", paid)
        person.program.replace(before=relay(change))
        ask_to_sign(person, window)
        window.wait("about to sign")
        window.click("Sign", window="review")
        assert "It was not used" in refused(window)
        person.program.replace()
        person.sign(window)


def test_a_no_stays_a_no(person: Person, own: EmulatorProcess) -> None:
    """Nothing is taken over of a program that signs although the person said no, or without asking."""
    with person.electrum(own) as window:
        person.pair(window)
        person.program.replace(before=SIGNING + IGNORES.replace("TELLS", "True"))
        ask_to_sign(person, window)
        window.wait("about to sign")
        window.click("Cancel", window="review")
        window.wait_gone("Please wait")
        window.wait("Status: Unsigned")
        person.program.replace(before=SIGNING + IGNORES.replace("TELLS", "False"))
        window.click("Sign", window="Transaction")
        window.wait("OK")
        window.click("OK")
        window.wait("Status: Unsigned")
        assert own.stats()["signatures"] > 0  # it did sign


def test_other_keys(person: Person, own: EmulatorProcess) -> None:
    """The wallet does not pair with a card whose key is another, nor is an address of such a key called the card's."""
    other = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(OTHER_MNEMONIC))
    version = NETWORKS["regtest"]["xpub"]
    account, address = (other.derive(f"m/84h/1h/0h{end}").to_public().to_base58(version) for end in ("", "/0/0"))
    with person.electrum(own) as window:
        person.program.replace(before=relay(OTHER_KEY.replace("KEY", account)))
        window.wait("History")
        person.type_pin(window)
        window.wait("This card does not hold the keys of this wallet")
        window.click("OK")
        person.program.replace()
        window.click("Cryptnox card*")
        window.click("Pair again")
        window.wait("The card is paired with this wallet")
        window.click("OK")
        person.request(window)
        person.program.replace(before=relay(OTHER_KEY.replace("KEY", address)))
        person.check_address(window)
        window.wait("The card has a different key at", "Do not use")
        assert "This address belongs to the card" not in window.text()


def test_a_program_that_hangs(person: Person, own: EmulatorProcess) -> None:
    """The window goes on while it waits, and the person can leave."""
    with person.electrum(own) as window:
        person.pair(window)
        person.program.replace(before=SIGNING + "    time.sleep(3600)\n")
        window.longest_pause()
        calls = len(person.program.calls())
        ask_to_sign(person, window)
        window.until(lambda: len(person.program.calls()) > calls, what="a call of the program")
        window.click("Send", window="Electrum Regtest")
        window.click("Cancel", window="Cryptnox card")
        window.wait_gone("Please wait")
        window.wait("Status: Unsigned")
        assert window.longest_pause() < FROZEN
        # Also while the wallet looks for its card: that the person leaves makes it no other card.
        window.click("Cryptnox card*", window="Electrum Regtest")
        window.wait("Master fingerprint")
        window.click("Pair again")
        window.wait("Asking the card for its key")
        window.click("Cancel", window="Cryptnox card")
        window.wait_gone("Asking the card for its key")
        assert "does not hold the keys" not in window.text()
        person.program.replace()
        person.sign(window)


def test_a_program_that_is_not_there(person: Person, own: EmulatorProcess) -> None:
    with person.electrum(own) as window:
        person.pair(window)
        person.program.remove()
        person.fund(window, 100_000)
        person.prepare_payment(window, RECIPIENT, "0.0005")
        window.click("Sign", window="Transaction")
        window.wait("hwi-cryptnox")
        print(window.text())


def test_the_pin_is_nowhere(person: Person, own: EmulatorProcess) -> None:
    with person.electrum(own) as window:
        person.pair(window)
        person.fund(window, 100_000)
        person.prepare_payment(window, RECIPIENT, "0.0005")
        person.sign(window)
        assert PIN not in window.text()
        window.quit()
    person.nothing_knows()
    assert "PIN" not in window.log.read_text() or PIN not in window.log.read_text()
