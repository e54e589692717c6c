"""A fault at each APDU of each command of both programs: it ends, with an answer, and costs no try."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.emulator.faults import parse_fault
from cryptnox_core.emulator.memory import Memory, UserKey
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import COMMON_PAIRING_KEY, KeySource, UserKeySlot
from hwilib_cryptnox.hwi.errors import Code
from hwilib_cryptnox.pin.policy import GIVE_IT_ONCE
from hwilib_cryptnox.psbt import Psbt, collect
from hwilib_cryptnox.signer.registered.registration import REGISTRATION_PATH, Registration, encode, registration_digest
from hwilib_cryptnox.signer.wallets import WalletPolicy
from tests.core.emulated import SEED, SERIAL
from tests.core.test_faults import KINDS
from tests.psbt.dishonest_change import paying
from tests.psbt.dishonest_wallets import BACK, OURS, US, shared_coin, shared_out
from tests.psbt.factory import ME, OTHER, Draft, draft, spend
from tests.psbt.signing import check_all_signed
from tests.psbt.test_registered import keys
from tests.support.emulator import MNEMONIC
from tests.system.torture.forked import Ended, ForkedCard, Steps, check_said, check_state, environment, run
from tests.system.torture.parts import Part
from tests.system.torture.together import ALONE, TOGETHER, check_alone, check_card, check_together
from tests.system.torture.together import READINGS as MUSIG2

PIN, NEW_PIN = "739182", "135790"
PUK, NEW_PUK = "Qz-Mark-Puk7", "new-puk-1234"
LEAF = "m/84h/0h/0h/0/0"
PRESENT = [kind for kind in KINDS if kind != "silence"]
"""Silence is in the library's matrix: a program waits a minute for a silent card."""
DRAFT = draft(spend("p2wpkh"), spend("p2sh-p2wpkh", 1))
PAIR = (
    "wsh(sortedmulti(2,"
    + ",".join(f"[{one.fingerprint.hex()}/48h]{one.account('m/48h').to_string()}/<0;1>/*" for one in (ME, OTHER))
    + "))"
)
"""A wallet of `seeded` and somebody else."""
POLICY = WalletPolicy.parse(f"wsh(sortedmulti(2,{keys(*US)}))")
REGISTERED = Registration(
    "Family",
    POLICY,
    encode(ME.private(REGISTRATION_PATH).sign(registration_digest("Family", POLICY.descriptor), hasher=None)),
).to_text()
SHARED = paying(*shared_out(BACK), shared_coin(OURS))
"""A coin of that wallet; another signs it, too."""
KEY = ec.derive_private_key(7, ec.SECP256R1())
INITIALISE: Steps = (
    ("New PIN", PIN),
    ("Type it again", PIN),
    ("Choose it yourself?", "y"),
    ("New PUK", PUK),
    ("Type it again", PUK),
    ("own pairing key?", "n"),
    ("Initialize", "y"),
)
OWN_PAIRING_KEY = tuple((question, "y" if "pairing" in question else reply) for question, reply in INITIALISE)


def factory() -> Memory:
    """As from the factory."""
    return Memory(serial=SERIAL)


def initialised() -> Memory:
    """With PIN and PUK, without seed."""
    return replace(
        factory(),
        initialized=True,
        pin=PIN.encode().ljust(9, b"\0"),
        puk=PUK.encode(),
        pairing_key=COMMON_PAIRING_KEY,
    )


def seeded() -> Memory:
    """`tests.psbt.factory.ME`."""
    return replace(initialised(), key_source=KeySource.LOADED, seed=bytes(range(64)), xpub_export=True)


def with_user_key() -> Memory:
    """A P-256 key authenticates beside the PIN."""
    point = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return replace(seeded(), user_keys={UserKeySlot.EC: UserKey(b"door".ljust(64), point)})


def without_pin() -> Memory:
    """Only the user key authenticates."""
    return replace(with_user_key(), pin_auth=False)


def of_words() -> Memory:
    """MNEMONIC's."""
    return replace(seeded(), seed=SEED)


def blocked() -> Memory:
    """No PIN try is left."""
    return replace(seeded(), pin_tries=0)


@dataclass(frozen=True)
class Command:
    """One command line. `{draft}`, `{key}`, `{file}` stand for files, `{card}` for the card's path."""

    program: str
    words: str
    memory: Callable[[], Memory] = seeded
    stdin: str = ""
    steps: Steps | None = None
    repeatable: bool = True
    """After a fault the same command, given again, does it."""
    draft: Draft | None = None
    """What it signs."""
    check: Callable[[bytes | str], object] | None = None
    """What looks at the signed PSBT; None: all of its signatures are the card's."""
    readings: tuple[Reading, ...] = ()
    asked: bool = False
    """The card was asked before whether it signs key paths."""


HWI = "--device-type cryptnox --device-path {card}"
COMMANDS = {
    "hwi enumerate": Command("hwi", "--emulators --stdinpass enumerate", stdin=PIN),
    **{
        f"hwi {words.split()[0]}": Command("hwi", f"{HWI} --stdinpass {words}", stdin=PIN, draft=signs)
        for words, signs in (
            ("getmasterxpub", None),
            (f"getxpub {LEAF[:11]}", None),
            ("getdescriptors", None),
            ("getkeypool 0 3", None),
            (f"signmessage hello {LEAF}", None),
            (f"signtx {DRAFT.base64()}", DRAFT),
        )
    },
    "hwi signtx, MuSig2": Command(
        "hwi",
        f"{HWI} --stdinpass signtx {TOGETHER.base64()}",
        stdin=PIN,
        draft=TOGETHER,
        check=check_together,
        readings=MUSIG2,
    ),
    "hwi signtx, BIP86": Command(
        "hwi",
        f"{HWI} --stdinpass signtx {ALONE.base64()}",
        stdin=PIN,
        draft=ALONE,
        check=check_alone,
        readings=MUSIG2,
        asked=True,
    ),
    "hwi registerdescriptor": Command(
        "hwi",
        f"{HWI} --stdinpass registerdescriptor Family {POLICY.descriptor}",
        steps=(("password", PIN), ("Register this wallet", "y")),
    ),
    "hwi signtx --registration": Command(
        "hwi", f"{HWI} --stdinpass signtx --registration {REGISTERED} {SHARED.base64()}", stdin=PIN
    ),
    "hwi setup": Command(
        "hwi",
        f"{HWI} --interactive setup",
        factory,
        steps=(
            ("Seed", "card"),
            ("no backup", "no backup"),
            ("New PIN", PIN),
            ("again", PIN),
            ("Choose it yourself?", "y"),
            ("New PUK", PUK),
            ("again", PUK),
            ("Initialize", "y"),
        ),
        repeatable=False,
    ),
    "hwi restore": Command(
        "hwi",
        f"{HWI} --interactive restore --word_count 12",
        factory,
        steps=(
            ("Word 1", MNEMONIC),
            ("Passphrase: ", ""),
            ("New PIN", PIN),
            ("again", PIN),
            ("Choose it yourself?", "y"),
            ("New PUK", PUK),
            ("again", PUK),
            ("Initialize", "y"),
        ),
        repeatable=False,
    ),
    "hwi wipe": Command("hwi", f"{HWI} wipe", steps=((str(SERIAL), str(SERIAL)), ("PUK", PUK)), repeatable=False),
    **{
        f"ctl {words}": Command("ctl", f"{words} --stdinpass --json", stdin=PIN, draft=signs)
        for words, signs in (
            ("list", None),
            ("info", None),
            ("doctor", None),
            ("adopt", None),
            ("pin tries", None),
            ("pin verify", None),
            ("sheet", None),
            (f"xpub show {LEAF[:11]}", None),
            ("owner", None),
            ("data read", None),
            ("data read --custom", None),
            ("data write --yes {file}", None),
            ("data write --yes --custom {key}", None),
            ("user-key list", None),
            ("cert", None),
            ("decrypt --recipient", None),
            ("decrypt {pem} {key}", None),
            ("address 0-2", None),
            ("descriptors", None),
            ("export core", None),
            (f"message sign hello --path {LEAF}", None),
            ("sign --yes --force --output {signed} {draft}", DRAFT),
            ("wallet add Pair {wallet} --yes", None),
            ("history", None),
            ("audit", None),
        )
    },
    **{
        f"ctl {words}": Command("ctl", f"{words} --stdinpuk --json", stdin=PUK, repeatable=repeatable)
        for words, repeatable in (
            ("puk verify", True),
            ("xpub on", True),
            ("xpub off", True),
            ("clear-key on", True),
            ("clear-key off", True),
            ("pairing change", True),
            ("pairing change --common", True),
            ("pairing recover", True),
            ("pinless set m/43h/60h/1581h/0", True),
            ("pinless clear", True),
            (f"reset --serial {SERIAL}", False),
        )
    },
    "ctl taproot check": Command("ctl", "taproot check --stdinpass --json", stdin=PIN, readings=MUSIG2),
    "ctl sign, MuSig2": Command(
        "ctl",
        "sign --yes --force --output {signed} {draft} --stdinpass --json",
        stdin=PIN,
        draft=TOGETHER,
        check=check_together,
        readings=MUSIG2,
    ),
    "ctl clear-key show": Command(
        "ctl", f"clear-key show {LEAF} --stdinpass --json", lambda: replace(seeded(), clear_pubkey=True), stdin=PIN
    ),
    "ctl user-key add": Command(
        "ctl", "user-key add ec {pem} --stdinpass --stdinpuk --json", stdin=f"{PIN}\n{PUK}", repeatable=False
    ),
    "ctl user-key delete": Command(
        "ctl", "user-key delete ec --yes --stdinpuk --json", with_user_key, stdin=PUK, repeatable=False
    ),
    "ctl user-key test": Command("ctl", "user-key test ec {private} --json", with_user_key),
    "ctl pin-auth off": Command(
        "ctl",
        "pin-auth off --private-key {private} --yes --stdinpass --stdinpuk --json",
        with_user_key,
        stdin=f"{PIN}\n{PUK}",
    ),
    "ctl pin-auth on": Command("ctl", "pin-auth on --stdinpuk --json", without_pin, stdin=PUK),
    "ctl pin change": Command(
        "ctl",
        "pin change",
        steps=(("PIN", PIN), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN)),
        repeatable=False,
    ),
    "ctl pin change --with-puk": Command(
        "ctl", "pin change --with-puk", steps=(("PUK", PUK), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
    ),
    "ctl pin unblock": Command(
        "ctl",
        "pin unblock",
        blocked,
        steps=(("PUK", PUK), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN)),
        repeatable=False,
    ),
    "ctl puk change": Command(
        "ctl", "puk change", steps=(("PUK", PUK), ("New PUK", NEW_PUK), ("Type it again", NEW_PUK)), repeatable=False
    ),
    "ctl backup check": Command(
        "ctl",
        "backup check",
        of_words,
        steps=(("PIN of card", PIN), ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase: ", "")),
        repeatable=False,
    ),
    "ctl setup, words": Command(
        "ctl",
        "setup --seed restore --name= --email=",
        factory,
        steps=(*INITIALISE, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase: ", "")),
        repeatable=False,
    ),
    "ctl setup, card": Command(
        "ctl",
        "setup --seed card --name= --email=",
        factory,
        steps=(*OWN_PAIRING_KEY, ("no backup", "no backup")),
        repeatable=False,
    ),
    "ctl setup, initialised": Command(
        "ctl",
        "setup --seed restore",
        initialised,
        steps=(
            ("PUK: ", PUK),
            ("PIN of card", PIN),
            ("How many words", "12"),
            ("Word 1", MNEMONIC),
            ("Passphrase: ", ""),
        ),
        repeatable=False,
    ),
}


def words_of(command: Command, card: ForkedCard, folder: Path) -> list[str]:
    """The command line, its files made."""
    files = {
        "draft": (command.draft or DRAFT).base64().encode(),
        "file": b"data",
        "wallet": PAIR.encode(),
        "key": bytes(16),
        "pem": KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "private": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    names = {name: str(folder / name) for name in (*files, "signed")}
    return [word.format(card=card.path, **names) for word in command.words.split()]


def check_end(command: Command, ended: Ended) -> bool:
    """A documented end. Whether it did what it was asked."""
    check_said(ended, *({PIN, PUK} - set(command.words.split())) if command.steps is None else ())
    if command.program == "hwi":
        if ended.status:
            raise AssertionError(f"exit status {ended.status}: {ended.err}")
        line = ended.out.strip().splitlines()[-1]
        answer = json.loads(line)
        entries = answer if isinstance(answer, list) else [answer]
        failed = [entry for entry in entries if "error" in entry]
        if any(entry["code"] not in list(Code) or not entry["error"] for entry in failed):
            raise AssertionError(line)
        return bool(entries) and not failed
    if ended.status not in range(6):
        raise AssertionError(f"exit status {ended.status}: {ended.err or ended.out}")
    if ended.status and not (ended.err or ended.out):
        raise AssertionError("it failed and says nothing")
    return not ended.status


def check_signed(command: Command, ended: Ended, folder: Path) -> None:
    """All of our signatures are there, and Bitcoin Core's verifier takes them where it is installed."""
    content = (folder / "signed").read_bytes() if command.program == "ctl" else json.loads(ended.out)["psbt"]
    if command.check is not None:
        command.check(content)
        return
    psbt = Psbt.parse(content.strip())
    if not collect(psbt, ME.fingerprint).stays_unchanged:
        raise AssertionError("not all signatures are there")
    check_all_signed(psbt, command.draft or DRAFT)


class Programs(Part):
    """A fault at an APDU of a command of `hwi-cryptnox` or `cryptnoxctl`."""

    name = "programs"

    def __init__(self) -> None:
        super().__init__()
        self._lengths: dict[str, int] = {}
        self._tried: set[tuple[str, str, int]] = set()

    def length(self, name: str) -> int:
        """The APDUs of a command without a fault, which it has to do then."""
        if name not in self._lengths:
            command = COMMANDS[name]
            with tempfile.TemporaryDirectory(prefix="torture-") as place:
                folder = Path(place)
                self._ask(command, folder)
                with ForkedCard(command.memory(), folder, readings=command.readings) as card:
                    ended = self._run(command, card, folder)
                    if not check_end(command, ended) and name != "ctl doctor":  # it misses the PC/SC service
                        raise AssertionError(f"{name}: {ended.status} {ended.out} {ended.err}")
                    self._lengths[name] = card.count("apdus")
        return self._lengths[name]

    @staticmethod
    def _run(command: Command, card: ForkedCard, folder: Path) -> Ended:
        words = words_of(command, card, folder)
        return run(command.program, words, environment(folder, card), stdin=command.stdin + "\n", steps=command.steps)

    @staticmethod
    def _ask(command: Command, folder: Path) -> None:
        """What this computer learned of the very card before, in another process of the card."""
        if command.asked:
            with ForkedCard(command.memory(), folder, readings=command.readings) as card:
                words = ["taproot", "check", "--stdinpass"]
                if run("ctl", words, environment(folder, card), stdin=f"{PIN}\n").status:
                    raise AssertionError("the card does not sign key paths")

    def step(self, number: int) -> None:
        rng = random.Random(number)
        name, kind = rng.choice(sorted(COMMANDS)), rng.choice(PRESENT)
        at = rng.randrange(self.length(name)) + 1
        with tempfile.TemporaryDirectory(prefix="torture-") as place:
            try:
                done = self._step(COMMANDS[name], kind, at, Path(place))
            except Exception as error:
                raise AssertionError(f"{name}, {kind}@{at}: {error!r}") from error
        self._tried.add((name, kind, at))
        self.counts[f"combinations, of {len(COMMANDS)} command lines"] = len(self._tried)
        self.counts["it went on, or had done it" if done else "it ended in an error"] += 1

    def _step(self, command: Command, kind: str, at: int, folder: Path) -> bool:
        self._ask(command, folder)
        with ForkedCard(command.memory(), folder, [parse_fault(f"{kind}@{at}")], command.readings) as card:
            ended = self._run(command, card, folder)
            done = check_end(command, ended)
            if done and command.draft is not None:
                check_signed(command, ended, folder)
            check_state(folder)
            after = run("ctl", ["info", "--json"], environment(folder, card))
            if after.status:
                raise AssertionError(f"afterwards: {after.err}")
            if command.repeatable and not done:
                again = self._run(command, card, folder)
                if GIVE_IT_ONCE in again.out:  # the fault met the PIN of an `enumerate`, which sends it no second time
                    run("ctl", ["pin", "verify", "--stdinpass"], environment(folder, card), stdin=f"{PIN}\n")
                    again = self._run(command, card, folder)
                if not check_end(command, again) and "doctor" not in command.words:
                    raise AssertionError(f"the next attempt: {again.out} {again.err}")
                if command.draft is not None:
                    check_signed(command, again, folder)
            check_secrets(card)
            if command.readings:
                check_card(card)
        return done


def check_secrets(card: ForkedCard) -> None:
    """The card has a PIN that was typed, and no try was spent."""
    kept = bytes.fromhex(str(card.memory()["pin"])).rstrip(b"\0").decode()
    if kept not in ("", PIN, NEW_PIN):
        raise AssertionError("the card's PIN is none of those that were typed")
    spent = card.count("pin_tries"), card.count("puk_tries")
    if any(spent):
        raise AssertionError(f"{spent[0]} PIN and {spent[1]} PUK tries were spent")
