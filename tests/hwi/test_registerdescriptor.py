"""Registered wallets by HWI's commands: what is looked at before a card registers one, and what becomes of a
registration that is given to `signtx` and `displayaddress`."""

from __future__ import annotations

import base64
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import with_length
from hwilib_cryptnox.signer.registered.registration import (
    REGISTRATION_PATH,
    Registration,
    encode,
    registration_digest,
    verify,
)
from hwilib_cryptnox.signer.review.shown import grouped
from hwilib_cryptnox.signer.review.wallet_prompts import TOO_LARGE_TEXT
from hwilib_cryptnox.signer.wallets import WalletPolicy
from hwilib_cryptnox.storage.files import state_folder
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import FILE, WalletStore
from tests.hwi.conftest import MNEMONIC, SEED, Program
from tests.psbt.dishonest_change import paying
from tests.psbt.dishonest_wallets import BACK, COSIGNER, OURS, US, shared_coin, shared_out
from tests.psbt.factory import ME, NUMS, OTHER, Out, Wallet, draft, p2wpkh
from tests.psbt.musig import out_of
from tests.psbt.test_registered import keys
from tests.signer.test_musig_wallets import account_wallet, derived
from tests.signer.test_wallets import MANY, RECOVERY, THIRD
from tests.signer.test_wallets import key as key_of
from tests.support import versions
from tests.support.dialogues import LEFT, Scripted, configure
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.kernel import failing_inputs

FAMILY = f"wsh(sortedmulti(2,{keys(*US)}))"
POLICY = WalletPolicy.parse(FAMILY)
HONEST = paying(*shared_out(BACK), shared_coin(OURS)).base64()
"""A coin of the family, whose change comes back to it."""
NOBODY = "a person must review a wallet before it is registered"
ALIEN = "this card did not sign this registration"


@pytest.fixture
def pinentry(tmp_path: Path) -> Scripted:
    return Scripted(tmp_path)


@pytest.fixture
def asking(signer: EmulatorProcess, pinentry: Scripted) -> Scripted:
    """The dialogue of the configuration, which agrees."""
    configure(signer, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    return pinentry


@pytest.fixture(scope="module")
def closed() -> Iterator[EmulatorProcess]:
    """The same seed on another card, which gives no extended keys."""
    with EmulatorProcess("--seed", SEED) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def registered() -> str:
    """A registration of the family, made by the signer's seed on another computer."""
    digest = registration_digest("Family", POLICY.descriptor)
    signature = ME.private(REGISTRATION_PATH).sign(digest, hasher=None)
    return Registration("Family", POLICY, encode(signature)).to_text()


def register(hwi: Program, card: EmulatorProcess, name: str = "Family", text: str = FAMILY, **options: Any) -> Any:
    return hwi.on(card, "registerdescriptor", name, text, **options)


def spent(card: EmulatorProcess, before: dict[str, Any]) -> tuple[int, int, int]:
    """APDUs, signatures and refused PINs since then."""
    now = card.stats()
    return tuple(now[name] - before[name] for name in ("apdus", "signatures", "pin_tries"))  # type: ignore[return-value]


def bent(registration: str, at: int) -> str:
    raw = bytearray(base64.b64decode(registration))
    raw[at] ^= 1
    return base64.b64encode(raw).decode()


# Registering


def test_the_dialogue_shows_all_of_it(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """Name, policy, every key, the first addresses; the answer is HWI's text, and this computer remembers it."""
    answer = register(hwi, signer)
    assert set(answer) == {"registration"}
    made = Registration.parse(answer["registration"])
    assert (made.name, made.policy) == ("Family", POLICY)
    assert verify(ME.key(REGISTRATION_PATH), "Family", POLICY.descriptor, made.registration)
    ours, theirs = POLICY.signers
    assert asking.asked == ["CONFIRM"] and asking.texts[-1].splitlines() == [
        f"Register this wallet with the Cryptnox card {signer.serial} ({ME.fingerprint.hex()})?",
        'Wallet "Family": 2 of 2 must sign (p2wsh)',
        f"Key 1, this card: {ours}",
        f"Key 2: {theirs}",
        f"First receive address: {grouped(POLICY.address(0, 0))}",
        f"First change address: {grouped(POLICY.address(1, 0))}",
    ]
    (kept,) = WalletStore(State()).all()
    assert (kept.name, kept.descriptor) == ("Family", POLICY.descriptor)
    assert kept.cards == {ME.fingerprint: made.registration}


def test_again_it_is_answered_and_nobody_asked(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    first = register(hwi, signer)
    before = signer.stats()
    (Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox" / "config.toml").unlink()
    assert register(hwi, signer) == first, "there is no dialogue any more, and none is needed"
    assert asking.asked == ["CONFIRM"] and spent(signer, before)[1:] == (0, 0)
    assert register(hwi, signer, "FAMILY") == {"error": 'this wallet is registered as "Family"', "code": -7}
    other = register(hwi, signer, text=RECOVERY)
    assert other["code"] == -7 and 'another wallet named "Family"' in other["error"]


def test_what_the_file_says_is_not_believed(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """Another's signature in wallets.json: the person is asked, and the card signs."""
    WalletStore(State()).add("Family", POLICY.descriptor, ME.fingerprint, "2026-11-26", b"\x01" + bytes(63) + b"\x01")
    made = Registration.parse(register(hwi, signer)["registration"])
    assert verify(ME.key(REGISTRATION_PATH), "Family", POLICY.descriptor, made.registration)
    assert asking.asked == ["CONFIRM"]
    assert WalletStore(State()).all()[0].cards == {ME.fingerprint: made.registration}


def test_a_wallet_that_was_added_without_a_signature_is_signed(
    hwi: Program, signer: EmulatorProcess, asking: Scripted
) -> None:
    WalletStore(State()).add("Family", POLICY.descriptor, ME.fingerprint, "2026-11-26")
    made = Registration.parse(register(hwi, signer)["registration"])
    assert WalletStore(State()).all()[0].cards == {ME.fingerprint: made.registration} and asking.asked == ["CONFIRM"]


def test_what_it_costs(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """The wallet's key, the key of registrations, each read once; one signature, no try."""
    hwi.on(signer, "getmasterxpub")
    before = signer.stats()
    assert "registration" in register(hwi, signer)
    apdus, signatures, tries = spent(signer, before)
    assert (signatures, tries) == (1, 0) and apdus <= 16


def test_nobody_to_ask(hwi: Program, signer: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without terminal and dialogue: refused before a card is asked, and so with `-i` where there is no terminal."""
    before = signer.stats()
    from hwilib_cryptnox.console.terminal import Terminal

    monkeypatch.setattr(Terminal, "available", False)
    for options in ((), ("-i",)):
        for pin in (("-p", PIN), ()):
            answer = hwi(*options, "-t", "cryptnox", "-d", signer.path, *pin, "registerdescriptor", "Family", FAMILY)
            assert answer["code"] == -9 and answer["error"].startswith(NOBODY) and "-i" in answer["error"]
    assert spent(signer, before) == (0, 0, 0)


def test_a_pin_that_no_dialogue_gave(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    """A dialogue is set up as a source, and a command had the PIN before: nobody was asked anything."""
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    hwi.on(signer, "getmasterxpub")
    before = signer.stats()
    answer = register(hwi, signer, pin=None, env={"CRYPTNOX_PIN_COMMAND": f"echo {PIN}"})
    assert answer["code"] == -9 and answer["error"].startswith(NOBODY)
    assert pinentry.asked == [] and spent(signer, before)[1:] == (0, 0) and not (state_folder() / FILE).exists()


def test_the_dialogue_that_gives_the_pin(hwi: Program, signer: EmulatorProcess, pinentry: Scripted) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    assert "registration" in register(hwi, signer, "F\u00fcr uns", pin=None)
    pin, shown = pinentry.texts
    assert pin.splitlines() == [
        'Register the wallet "F\\u00fcr uns": 2 of 2 must sign. You see it before you register it.',
        f"PIN of the Cryptnox card {signer.serial}",
    ]
    assert 'Wallet "F\u00fcr uns": 2 of 2 must sign (p2wsh)' in shown.splitlines()


def test_who_leaves_registers_nothing(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    asking.answers(PIN, LEFT)
    before = signer.stats()
    assert register(hwi, signer) == {"error": "Canceled in the dialog; nothing was signed", "code": -14}
    assert spent(signer, before)[1:] == (0, 0) and not (state_folder() / FILE).exists()


def shared_by(number: int) -> str:
    return f"wsh(sortedmulti(2,{key_of(ME)},{','.join(map(key_of, MANY[: number - 1]))}))"


@pytest.mark.parametrize(("number", "dialogues"), [(3, 1), (4, 1), (9, 2), (20, 5)])
def test_many_keys(hwi: Program, signer: EmulatorProcess, asking: Scripted, number: int, dialogues: int) -> None:
    """Every key whole, in several dialogues: one that ends like another can be made, since its chain code may be
    anything."""
    text = shared_by(number)
    assert "registration" in register(hwi, signer, text=text)
    lines = [line for shown in asking.texts for line in shown.splitlines()]
    for position, key in enumerate(WalletPolicy.parse(text).signers, 1):
        assert f"Key {position}{', this card' if position == 1 else ''}: {key}" in lines
    assert asking.asked == ["CONFIRM"] * dialogues
    assert [line for line in lines if line.endswith("?")] == [asking.texts[-1].splitlines()[0]]


def test_who_leaves_a_later_dialogue_registers_nothing(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    asking.answers(PIN, "yes", LEFT)
    before = signer.stats()
    assert register(hwi, signer, text=shared_by(9))["code"] == -14
    assert asking.asked == ["CONFIRM"] * 2 and spent(signer, before)[1:] == (0, 0)


def test_more_than_anybody_looks_at(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """Leaves of taproot may hold any number of keys."""
    others = ",".join(key_of(Wallet(b"of a leaf with many, %d" % number)) for number in range(40))
    text = f"tr({NUMS.hex()},multi_a(2,{key_of(ME)},{others}))"
    versions.parsed(text)
    assert register(hwi, signer, text=text) == {"error": TOO_LARGE_TEXT, "code": -7} and asking.asked == []


def test_every_way_to_spend_is_shown(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    assert "registration" in register(hwi, signer, text=RECOVERY)
    ways = [line for line in asking.texts[-1].splitlines() if line.startswith("Spent by")]
    assert ways == [f"Spent by {way}" for way in WalletPolicy.parse(RECOVERY).ways] and len(ways) == 2


def test_at_the_terminal(signer: EmulatorProcess) -> None:
    """A person typed the command; what it shows is not on stdout."""
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    words = ["-t", "cryptnox", "-d", signer.path, "-p", PIN, "registerdescriptor", "Family", FAMILY]
    env = {**os.environ, "TERM": "dumb"}
    for reply in ("n", "y"):
        with pexpect.spawn(program, words, env=env, timeout=30, encoding="utf-8", dimensions=(24, 300)) as child:  # type: ignore[arg-type]
            child.expect_exact('Wallet "Family": 2 of 2 must sign (p2wsh)')
            child.expect_exact(str(POLICY.signers[1]))
            child.expect_exact(grouped(POLICY.address(1, 0)))
            child.expect_exact(f"Register this wallet with the card {signer.serial}? [y/N]")
            child.sendline(reply)
            child.expect(pexpect.EOF)
            said = child.before or ""
        if reply == "n":
            assert "Canceled. Nothing was registered" in said and '"code": -14' in said
        else:
            assert "cmRlc2MB" in said
    assert [one.name for one in WalletStore(State()).all()] == ["Family"]


@pytest.mark.parametrize("interactive", [True, False])
def test_a_program_that_has_our_stdin_is_no_person(signer: EmulatorProcess, interactive: bool) -> None:
    """A wallet that was started in a terminal must not wait there for an answer; with `-i` it says so itself."""
    program = str(Path(sys.executable).with_name("hwi-cryptnox"))
    words = f"-t cryptnox -d {signer.path} -p {PIN} registerdescriptor Family '{FAMILY}'"
    command = f"{program} {'-i ' if interactive else ''}{words} </dev/null 2>/dev/null"
    with pexpect.spawn("/bin/sh", ["-c", command], timeout=30, encoding="utf-8", dimensions=(24, 300)) as child:
        if interactive:
            child.expect_exact("[y/N]")
            child.sendline("y")
        child.expect(pexpect.EOF)
        assert ("cmRlc2MB" if interactive else NOBODY) in (child.before or "")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("Fam\x1bily", FAMILY, "only have visible characters"),
        ("Fam\u202eily", FAMILY, "only have visible characters"),
        ("", FAMILY, "1 to 64 characters"),
        ("x" * 65, FAMILY, "1 to 64 characters"),
        ("P\u0430ypal", FAMILY, "alphabets that look alike"),
        ("Family", "nonsense", ""),
        ("Family", FAMILY + "#aaaaaaaa", "checksum is wrong"),
        ("Family", FAMILY.replace("/<0;1>/*", "/0/*"), "the receive half"),
        ("Family", f"wpkh({keys(ME)})", "one key alone"),
        ("Family", f"wsh(sortedmulti(2,{keys(ME, ME, OTHER)}))", "twice"),
    ],
)
def test_what_is_no_name_and_no_wallet(
    hwi: Program, signer: EmulatorProcess, asking: Scripted, name: str, text: str, words: str
) -> None:
    before = signer.stats()
    answer = register(hwi, signer, name, text)
    assert answer["code"] == -7 and words in answer["error"], answer
    assert spent(signer, before) == (0, 0, 0) and asking.asked == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"wsh(sortedmulti(2,{keys(COSIGNER, OTHER)}))", "no key of the wallet claims to be this card's"),
        (FAMILY.replace(ME.account("m/48h/0h/0h/2h").to_string(), THIRD.account("m/48h/0h/0h/2h").to_string()),
         "is not the card's"),
    ],
    ids=["without the card", "its fingerprint with another key"],
)  # fmt: skip
def test_wallets_that_the_card_is_not_in(
    hwi: Program, signer: EmulatorProcess, asking: Scripted, text: str, words: str
) -> None:
    answer = register(hwi, signer, text=text)
    assert answer["code"] == -7 and words in answer["error"] and asking.asked == []
    before = signer.stats()
    if "no key" in words:
        answer = hwi("-f", ME.fingerprint.hex(), "-d", signer.path, "-p", PIN, "registerdescriptor", "Family", text)
        assert answer["code"] == -7 and words in answer["error"] and spent(signer, before) == (0, 0, 0)


def test_another_chain(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    select = ("-t", "cryptnox", "-d", signer.path, "-p", PIN)
    answer = hwi(*select, "--chain", "regtest", "registerdescriptor", "Family", FAMILY)
    assert answer == {"error": "--chain regtest: the wallet's keys are for the main network (xpub)", "code": -7}
    accounts = ",".join(key_of(one, "m/48h/1h/0h/2h", version=bytes.fromhex("043587cf")) for one in (ME, COSIGNER))
    text = f"wsh(sortedmulti(2,{accounts}))"
    assert hwi(*select, "--chain", "main", "registerdescriptor", "Family", text)["code"] == -7
    for chain, start in (("test", "tb1q"), ("regtest", "bcrt")):
        assert "registration" in hwi(*select, "--chain", chain, "registerdescriptor", chain, text) or chain != "test"
        assert start in asking.texts[-1] or chain != "test"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--seed", SEED), None, ""),
        (("--pin", PIN), -18, "no seed"),
        ((), -18, "Not initialized"),
        (("--type", "N", "--seed", "11" * 32), -9, ""),
    ],
    ids=["export off", "no seed", "factory", "NFT"],
)
def test_cards_of_all_kinds(
    hwi: Program, pinentry: Scripted, options: tuple[str, ...], code: int | None, words: str, registered: str
) -> None:
    with EmulatorProcess(*options) as card:
        configure(card, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
        for command in (
            ("registerdescriptor", "Family", FAMILY),
            signs(registered),
            displays(registered),
        ):
            answer = hwi.on(card, *command)
            if code is not None:
                assert answer["code"] == code and words in answer["error"], answer
            elif command[0] == "displayaddress":
                assert answer["code"] == -9
            else:
                assert "error" not in answer, answer


def test_a_soft_locked_card(hwi: Program, pinentry: Scripted, registered: str) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        configure(card, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
        for number in range(6):
            hwi.on(card, "getmasterxpub", pin=f"11111{number}", env={"CRYPTNOX_LAST_TRY": "1"})
        for command in (
            ("registerdescriptor", "Family", FAMILY),
            signs(registered),
            displays(registered),
        ):
            assert hwi.on(card, *command)["code"] == -12
        assert pinentry.asked == []


def test_a_busy_card(hwi: Program, signer: EmulatorProcess, asking: Scripted, registered: str) -> None:
    with socket.create_connection((signer.host, signer.port)):
        for command in (
            ("registerdescriptor", "Family", FAMILY),
            signs(registered),
            displays(registered),
        ):
            assert hwi.on(signer, *command, env={"CRYPTNOX_WAIT": "0.1"})["code"] == -15


def test_a_wrong_pin_costs_one_try(hwi: Program, pinentry: Scripted, registered: str) -> None:
    with EmulatorProcess("--seed", SEED, "--xpub-export") as card:
        configure(card, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
        for tries, command in enumerate(
            (
                ("registerdescriptor", "Family", FAMILY),
                signs(registered),
                displays(registered),
            ),
            start=1,
        ):
            assert hwi.on(card, *command, pin="111111")["code"] == -7
            assert card.stats()["pin_tries"] == tries
        assert pinentry.asked == []


def test_a_file_that_is_damaged(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """It is not known whether the name is taken, so nobody is asked."""
    folder = state_folder()
    folder.mkdir(parents=True, mode=0o700)
    (folder / FILE).write_text("{")
    answer = register(hwi, signer)
    assert "error" in answer and FILE in answer["error"] and asking.asked == []


def test_a_state_that_cannot_be_written(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """The card has signed: its word is answered, and that nothing is remembered is said besides."""
    assert "registration" in register(hwi, signer)
    WalletStore(State()).remove("Family")
    lock = state_folder() / "lock"
    lock.unlink()
    lock.mkdir()
    outcome = hwi.outcome("-t", "cryptnox", "-d", signer.path, "-p", PIN, "registerdescriptor", "Family", FAMILY)
    assert "registration" in outcome.answer and "cannot remember it" in outcome.error and outcome.code == 0


# Signing with a registration


def change_of(pinentry: Scripted) -> list[str]:
    return [line for line in pinentry.texts[-1].splitlines() if line.startswith(("Change back", "Wallet", "1 input"))]


def test_signing_with_a_registration(hwi: Program, signer: EmulatorProcess, asking: Scripted, registered: str) -> None:
    """This computer remembers nothing, and does not remember it afterwards: the card vouches for the wallet."""
    answer = hwi.on(signer, "signtx", HONEST)
    assert answer["signed"] is True and change_of(asking) == ["1 input from no registered wallet: 2 of 2 keys"]
    answer = hwi.on(signer, "signtx", HONEST, "--registration", registered)
    assert answer["signed"] is True and set(answer) == {"psbt", "signed"}
    assert change_of(asking)[0] == 'Wallet "Family": 2 of 2 must sign' and change_of(asking)[1].startswith(
        "Change back"
    )
    assert not (state_folder() / FILE).exists()
    signed = answer["psbt"]
    before = signer.stats()
    assert hwi.on(signer, "signtx", "--registration", registered, signed) == {"psbt": signed, "signed": False}
    again = hwi("-t", "cryptnox", "-d", signer.path, "--stdin", "--stdinpass",
                stdin=f"{PIN}\nsigntx {HONEST}\n--registration {registered}\n\n")  # fmt: skip
    assert again["signed"] is True and change_of(asking)[0] == 'Wallet "Family": 2 of 2 must sign'
    assert spent(signer, before)[1] == 1


def test_what_a_registration_costs(hwi: Program, signer: EmulatorProcess, registered: str) -> None:
    """The key of registrations is read once more: three APDUs, since the account's key proves change as well."""
    hwi.on(signer, "signtx", HONEST)
    counts = []
    for more in ((), ("--registration", registered)):
        before = signer.stats()
        assert hwi.on(signer, "signtx", HONEST, *more)["signed"] is True
        counts.append(spent(signer, before))
    assert counts[0][1:] == counts[1][1:] == (1, 0)
    assert 0 < counts[1][0] - counts[0][0] <= 4, counts


def test_the_same_seed_on_another_card(
    hwi: Program, closed: EmulatorProcess, pinentry: Scripted, registered: str
) -> None:
    """Without export of extended keys, too."""
    configure(closed, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    assert hwi.on(closed, "signtx", HONEST, "--registration", registered)["signed"] is True
    assert change_of(pinentry)[0] == 'Wallet "Family": 2 of 2 must sign'


def test_a_fault_while_the_card_is_asked(hwi: Program, pinentry: Scripted, registered: str) -> None:
    """It is opened anew, as in the middle of signing."""
    for at in ("D1:1", "D1:2", "D1:3", "D1:4", "C2:1", "C2:2", "C2:3", "C0:1"):
        with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", f"remove@{at}") as card:
            configure(card, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
            answer = hwi.on(card, "signtx", HONEST, "--registration", registered)
            assert answer.get("signed") is True, (at, answer)
            assert change_of(pinentry)[0] == 'Wallet "Family": 2 of 2 must sign'
            assert card.stats()["pin_tries"] == 0


def signs(registration: str) -> tuple[str, ...]:
    return "signtx", HONEST, "--registration", registration


def displays(registration: str) -> tuple[str, ...]:
    return "displayaddress", "--registration", registration, "--index", "0"


def uses(hwi: Program, card: EmulatorProcess, registration: str, **options: Any) -> list[dict[str, Any]]:
    """Both commands that take one."""
    return [hwi.on(card, *words(registration), **options) for words in (signs, displays)]


def test_every_byte_changed_once(hwi: Program, signer: EmulatorProcess, registered: str) -> None:
    """Refused, before a PIN is asked for where it is no registration any more; and nothing is signed."""
    length = len(base64.b64decode(registered))
    ends = set()
    made = signer.stats()["signatures"]
    for at in range(length):
        words = (signs, displays)[at % 2](bent(registered, at))
        before = signer.stats()["apdus"]
        answer = hwi.on(signer, *words, pin=None)
        if answer["code"] == -6:  # it is one all the same: the card has to be asked
            answer = hwi.on(signer, *words)
            ends.add("not signed")
            assert answer["error"].startswith(ALIEN), (at, answer)
        else:
            ends.add("no registration")
            assert signer.stats()["apdus"] == before, at
        assert answer["code"] == -7 and answer["error"], (at, answer)
    assert signer.stats()["signatures"] == made and ends == {"no registration", "not signed"}


def test_cut_off_anywhere(hwi: Program, signer: EmulatorProcess, registered: str) -> None:
    before = signer.stats()
    raw = base64.b64decode(registered)
    for size in (*range(20), *range(20, len(raw), 29), len(raw) - 1):
        for answer in uses(hwi, signer, base64.b64encode(raw[:size]).decode(), pin=None):
            assert answer["code"] == -7 and answer["error"], size
    for text in (registered[:-1], registered + "AAAA", "no base64", "\u00fc", "A" * 70_000):
        for answer in uses(hwi, signer, text, pin=None):
            assert answer["code"] == -7 and answer["error"]
    assert spent(signer, before) == (0, 0, 0)


def forged(name: str = "Family", descriptor: str = POLICY.descriptor, device: str = "cryptnox") -> str:
    fields = (name.encode(), descriptor.encode(), device.encode(), b"\x01" + bytes(31) + b"\x01" + bytes(31) + b"\x01")
    return base64.b64encode(b"rdesc\x01" + b"".join(map(with_length, fields))).decode()


@pytest.mark.parametrize(
    ("registration", "words", "asks"),
    [
        (forged(), ALIEN, True),
        (forged(device="ledger"), "another type of device", False),
        (forged(name="Fam\x1bily"), "visible characters", False),
        (forged(name="Fam\nily"), "visible characters", False),
        (forged(name="Fu\u0308r uns"), "form in which names are signed", False),
        (forged(descriptor="wpkh(x)"), "", False),
        (forged(descriptor=f"wsh(sortedmulti(2,{keys(COSIGNER, OTHER)}))"), "no key of the wallet", True),
        (forged(descriptor=FAMILY.replace(ME.account("m/48h/0h/0h/2h").to_string(),
                                          THIRD.account("m/48h/0h/0h/2h").to_string())), "is not the card's", True),
    ],
    ids=["forged", "device", "escape", "line", "decomposed", "descriptor", "without the card", "another key"],
)  # fmt: skip
def test_forged_registrations(hwi: Program, signer: EmulatorProcess, registration: str, words: str, asks: bool) -> None:
    before = signer.stats()
    for answer in uses(hwi, signer, registration):
        assert answer["code"] == -7 and words in answer["error"], answer
    apdus, signatures, tries = spent(signer, before)
    assert (signatures, tries) == (0, 0) and bool(apdus) is asks
    if not asks:
        return
    for answer in uses(hwi, signer, registration, pin=None):
        assert answer["code"] == -6, "there is no PIN source"


def test_a_registration_of_another_card(
    hwi: Program, signer: EmulatorProcess, card: EmulatorProcess, pinentry: Scripted
) -> None:
    """It is in the same wallet, and its word counts with itself alone."""
    from hwilib_cryptnox.export import Network, ScriptType
    from tests.export.conftest import make_keys

    theirs = make_keys(Network.MAIN, mnemonic=MNEMONIC).account(ScriptType.P2WSH)
    shared = f"wsh(sortedmulti(2,{key_of(ME)},{theirs.expression(Network.MAIN)}/<0;1>/*))"
    configure(card, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
    made = register(hwi, card, "Shared", shared)["registration"]
    assert hwi.on(card, "displayaddress", "--registration", made, "--index", "0")["code"] == -9
    before = signer.stats()
    for answer in uses(hwi, signer, made):
        assert answer["code"] == -7 and answer["error"].startswith(ALIEN)
    assert spent(signer, before)[1:] == (0, 0)


def test_a_wallet_that_was_removed_here(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    """What is given is what counts: the card's word stands as long as it is shown."""
    made = register(hwi, signer)["registration"]
    assert WalletStore(State()).remove("Family") is not None
    assert hwi.on(signer, "signtx", HONEST)["signed"] is True
    assert change_of(asking) == ["1 input from no registered wallet: 2 of 2 keys"]
    assert hwi.on(signer, "signtx", HONEST, "--registration", made)["signed"] is True
    assert change_of(asking)[0] == 'Wallet "Family": 2 of 2 must sign'


def test_another_wallet_of_the_name(hwi: Program, signer: EmulatorProcess, registered: str) -> None:
    """Nobody could tell on the screen which is which."""
    WalletStore(State()).add("FAMILY", WalletPolicy.parse(RECOVERY).descriptor, ME.fingerprint, "2026-11-26")
    before = signer.stats()
    answer = hwi.on(signer, "signtx", HONEST, "--registration", registered)
    assert answer["code"] == -7 and 'another wallet named "Family"' in answer["error"]
    assert spent(signer, before)[1:] == (0, 0)


def test_the_order_of_what_is_wrong(hwi: Program, signer: EmulatorProcess, registered: str) -> None:
    """A registration that is none comes before the PSBT; one of another master key before the card."""
    assert hwi.on(signer, "signtx", "AAAA", "--registration", "AAAA")["code"] == -7
    assert hwi.on(signer, "signtx", "AAAA", "--registration", registered)["code"] == -5
    before = signer.stats()
    answer = hwi("-f", "00000000", "-d", signer.path, "-p", PIN, "signtx", HONEST, "--registration", registered)
    assert answer["code"] == -7 and "no key of the wallet" in answer["error"] and spent(signer, before) == (0, 0, 0)


def test_signer_mode(hwi: Program, signer: EmulatorProcess, registered: str) -> None:
    """Bitcoin Core's user is told."""
    select = ("--signer-mode", "-t", "cryptnox", "-d", signer.path, "-p", PIN)
    outcome = hwi.outcome(*select, "signtx", HONEST, "--registration", forged())
    assert outcome.code == 1 and outcome.error == outcome.answer["error"] + "\n"


# Addresses


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--index", "0"], -9, "no screen"),
        (["--index", "7", "--multipath-index", "1"], -9, "no screen"),
        (["--index", str(2**31 - 1), "--change"], -9, "no screen"),
        ([], -7, "Missing --index"),
        (["--index", "-1"], -7, "0 to 2147483647"),
        (["--index", str(2**31)], -7, "0 to 2147483647"),
        (["--index", "0", "--multipath-index", "2"], -7, "no branch 2: 0 is receive, 1 is change"),
        (["--index", "0", "--multipath-index", "-1"], -7, "no branch -1"),
    ],
)
def test_displaying(
    hwi: Program, signer: EmulatorProcess, registered: str, arguments: list[str], code: int, words: str
) -> None:
    before = signer.stats()
    answer = hwi.on(signer, "displayaddress", "--registration", registered, *arguments)
    assert answer["code"] == code and words in answer["error"]
    assert (spent(signer, before) == (0, 0, 0)) is (code == -7)


def test_an_index_without_a_registration(hwi: Program, signer: EmulatorProcess) -> None:
    for words in (["--index", "0"], ["--change"]):
        answer = hwi.on(signer, "displayaddress", "--path", "m/84h/0h/0h/0/0", *words)
        assert answer == {"error": "Missing --registration", "code": -7}


def test_a_wallet_of_one_branch(hwi: Program, signer: EmulatorProcess, asking: Scripted) -> None:
    text = FAMILY.replace("/<0;1>/*", "/7/*")
    made = register(hwi, signer, text=text)["registration"]
    assert "First change" not in asking.texts[-1]
    assert hwi.on(signer, "displayaddress", "--registration", made, "--index", "0")["code"] == -9
    answer = hwi.on(signer, "displayaddress", "--registration", made, "--index", "0", "--change")
    assert answer == {"error": "the wallet has no branch 1: 0 is receive and change", "code": -7}


def test_the_pin_dialogue_says_what_for(
    hwi: Program, signer: EmulatorProcess, pinentry: Scripted, registered: str
) -> None:
    configure(signer, 'pin_source = "pinentry"', f'pinentry = "{pinentry.program}"')
    assert hwi.on(signer, "displayaddress", "--registration", registered, "--index", "0", pin=None)["code"] == -9
    assert pinentry.asked == ["GETPIN"]
    assert pinentry.texts[0].splitlines()[0] == (
        'Ask the card whether it registered the wallet "Family". Nothing is signed.'
    )


# MuSig2


def test_a_musig2_wallet(hwi: Program, pinentry: Scripted) -> None:
    """It is registered as others are, its addresses are given, and its coin is signed for with the registration: the
    change comes back, and the nonce and the part of the signature are in the answer."""
    policy = account_wallet()
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--reading", "musig2") as emulator:
        configure(emulator, 'confirm = "pinentry"', f'pinentry = "{pinentry.program}"')
        registration = register(hwi, emulator, "Together", policy.descriptor)["registration"]
        assert "2 of 2 must sign together (MuSig2)" in pinentry.texts[-1]
        assert "cryptnoxctl taproot check says yes" in pinentry.texts[-1]
        assert Registration.parse(registration).policy == policy
        shown = hwi.on(emulator, "displayaddress", "--registration", registration, "--index", "5", "--change")
        assert shown["code"] == -9, "this card has a place for it, and no screen"
        coin = derived(0, 5)
        outs = [Out(p2wpkh(OTHER.key("m/0")), 30_000), out_of(derived(1, 6), 60_000)]
        given = draft(coin.item(100_000, 0, *coin.first_round()), outs=outs)
        answer = hwi.on(emulator, "signtx", "--registration", registration, given.base64())
        assert answer["signed"] is True
        told = pinentry.texts[-1]
        assert "Together" in told and "0.00030000" in told
        psbt = Psbt.parse(answer["psbt"])
        digest = SignatureHasher(psbt.tx, [(item.amount, item.script) for item in given.ins]).taproot(0, 0)
        done = psbt.with_added({0: coin.second_round(psbt, 0, digest)})
        assert failing_inputs(extract(done), [(item.amount, item.script) for item in given.ins]) == []
