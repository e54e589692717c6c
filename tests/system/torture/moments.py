"""Programs killed at an exact moment: right before a call by which something leaves them."""

from __future__ import annotations

import json
import random
import tempfile
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from cryptnox_core.emulator.faults import parse_fault
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from hwilib_cryptnox.psbt import Psbt, collect
from tests.psbt.factory import ME, Draft, draft, spend
from tests.psbt.signing import check_all_signed
from tests.support.emulator import trust
from tests.system.torture.forked import Ended, ForkedCard, Steps, check_said, check_state, environment, run
from tests.system.torture.parts import Part
from tests.system.torture.programs import (
    COMMANDS,
    INITIALISE,
    MNEMONIC,
    NEW_PIN,
    NEW_PUK,
    OWN_PAIRING_KEY,
    PAIR,
    PIN,
    PUK,
    SERIAL,
    check_secrets,
    factory,
    seeded,
)
from tests.system.torture.together import ALONE, TOGETHER, check_alone, check_card, check_nonces, check_together
from tests.system.torture.together import READINGS as MUSIG2

OWN_KEY = bytes(range(32))
WRONG_PIN = "918273"


class Scene(ABC):
    """What is begun, killed, and has to be true afterwards."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    memory = staticmethod(seeded)
    faults: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    stdin = ""
    steps: Steps | None = None
    program = "ctl"
    share = 1
    """One of how many moments the test suite tries; `scripts/torture` tries all."""

    def before(self, card: ForkedCard) -> None:  # noqa: B027 - most scenes have no past
        """What was done before."""

    @abstractmethod
    def words(self, card: ForkedCard) -> list[str]:
        """What is killed."""

    @abstractmethod
    def after(self, card: ForkedCard, ended: Ended) -> str:
        """AssertionError for what may not be. In a word: how far it had come."""

    def ctl(self, card: ForkedCard, *words: str, stdin: str = "", **environ: str) -> Ended:
        """A command to its end."""
        ended = run("ctl", words, environment(self.folder, card) | environ, stdin=f"{stdin}\n")
        check_said(ended, PIN, PUK)
        return ended

    def must(self, card: ForkedCard, *words: str, stdin: str = "", **environ: str) -> Ended:
        """A command that has to succeed."""
        ended = self.ctl(card, *words, stdin=stdin, **environ)
        if ended.status:
            raise AssertionError(f"{' '.join(words)}: {ended.err}")
        return ended


class Signing(Scene):
    """The draft is as it was, the signed file whole or not there, the next attempt signs all of it, and nothing is
    taken for a thief's."""

    draft: Draft = draft(*(spend("p2wpkh", index) for index in range(3)))
    stdin = PIN
    earlier = 0
    """Signatures that the card made before."""

    def words(self, card: ForkedCard) -> list[str]:
        (self.folder / "draft").write_text(self.draft.base64())
        return ["sign", "--yes", "--force", "--stdinpass", "--output", str(self.target), str(self.folder / "draft")]

    @property
    def target(self) -> Path:
        """Where the result goes."""
        return self.folder / "signed"

    def complete(self, content: bytes | str) -> None:
        """All signatures, and each is right."""
        psbt = Psbt.parse(content.strip())
        if not collect(psbt, ME.fingerprint).stays_unchanged:
            raise AssertionError("not all signatures are there")
        check_all_signed(psbt, self.draft)

    def no_thief(self, card: ForkedCard) -> None:
        """Every signature of the card was asked for here, however it ended."""
        self.must(card, "audit", "--stdinpass", stdin=PIN)

    def after(self, card: ForkedCard, ended: Ended) -> str:
        if (self.folder / "draft").read_text() != self.draft.base64():
            raise AssertionError("the draft was changed")
        reported = self.target.exists()
        if reported:
            self.complete(self.target.read_bytes())
        signed = card.count("signatures")
        self.no_thief(card)
        self.must(card, *self.words(card), stdin=PIN)
        self.complete(self.target.read_bytes())
        self.no_thief(card)
        made = f"{signed - self.earlier} of {len(self.draft.ins)} signatures were made"
        return "the result was there" if reported else made


class SigningAnew(Signing):
    """Without --force: the name is free, and the file appears whole."""

    def words(self, card: ForkedCard) -> list[str]:
        return [word for word in super().words(card) if word != "--force" or self.target.exists()]


class SigningForHwi(Signing):
    """What `signtx` has said is whole."""

    program = "hwi"

    def words(self, card: ForkedCard) -> list[str]:
        (self.folder / "draft").write_text(self.draft.base64())
        device = ["--device-type", "cryptnox", "--device-path", card.path, "--stdinpass"]
        return [*device, "signtx", self.draft.base64()]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        if ended.out:
            self.complete(json.loads(ended.out)["psbt"])
        signed = card.count("signatures")
        self.no_thief(card)
        again = run("hwi", self.words(card), environment(self.folder, card), stdin=f"{PIN}\n")
        self.complete(json.loads(again.out)["psbt"])
        made = f"{signed} of {len(self.draft.ins)} signatures were made"
        return "the result was there" if ended.out else made


class InterruptedSigning(Signing):
    """The card leaves for good after one signature, which is kept: it is not asked for again once it is on disk."""

    faults = tuple(f"sw:6F00@C0:{number}" for number in range(2, 8))

    def before(self, card: ForkedCard) -> None:
        self.must(card, "pin", "verify", "--stdinpass", stdin=PIN)

    def after(self, card: ForkedCard, ended: Ended) -> str:
        if self.target.exists():
            raise AssertionError("a result without all signatures")
        # Killed between making the file and writing to it, it is there and holds nothing.
        files = (self.folder / "state/hwi-cryptnox/partial").glob("*.jsonl")
        kept = [file for file in files if file.read_bytes().endswith(b"\n")]
        for _ in range(8):  # some of the faults are still to come
            signed = card.count("signatures")
            if not self.ctl(card, *self.words(card), stdin=PIN).status:
                break
        else:
            raise AssertionError("no further attempt signs it")
        self.complete(self.target.read_bytes())
        if kept and card.count("signatures") > 3:
            raise AssertionError("a signature that was kept was asked for again")
        self.no_thief(card)
        return "one signature was kept" if kept else f"none was kept, {min(signed, 1)} made"


class SigningTogether(Signing):
    """Parts of MuSig2 signatures: those that were kept are used, the others have new nonces. No nonce meets two
    messages, and none is in two parts."""

    draft = TOGETHER
    readings = MUSIG2
    share = 3

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.parts: set[str] = set()

    def complete(self, content: bytes | str) -> None:
        self.parts |= check_together(content)

    def after(self, card: ForkedCard, ended: Ended) -> str:
        self.parts |= self.kept()
        far = super().after(card, ended)
        check_nonces(self.parts)
        check_card(card)
        return far

    def kept(self) -> set[str]:
        """Parts on disk, whole ones."""
        found = set()
        for file in (self.folder / "state/hwi-cryptnox/partial").glob("*.jsonl"):
            lines = file.read_bytes().splitlines(keepends=True)
            found |= {json.loads(line)["signature"] for line in lines if line.endswith(b"\n")}
        return {part for part in found if len(part) == 2 * 98}


class SigningTogetherForHwi(SigningTogether, SigningForHwi):
    """The same as an answer."""


class SigningKeyPaths(Signing):
    """Taproot key paths (BIP86) of a card that was asked."""

    draft = ALONE
    readings = MUSIG2
    share = 3

    def before(self, card: ForkedCard) -> None:
        self.must(card, "taproot", "check", "--stdinpass", stdin=PIN)
        self.earlier = card.count("signatures")

    def complete(self, content: bytes | str) -> None:
        check_alone(content)

    def after(self, card: ForkedCard, ended: Ended) -> str:
        far = super().after(card, ended)
        check_card(card)
        return far


class TaprootCheck(Scene):
    """The card is held for one that signs key paths once all four of its signatures are on disk, and not before; asked
    again it says the same."""

    readings = MUSIG2
    share = 3
    stdin = PIN

    def words(self, card: ForkedCard) -> list[str]:
        return ["taproot", "check", "--stdinpass"]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        known = "tr(" in self.must(card, "descriptors", "--stdinpass", stdin=PIN).out
        if known and card.count("signatures") < 4:
            raise AssertionError("it is believed without four signatures")
        if ended.status == 0 and not known:
            raise AssertionError("it said yes, and does not know it")
        self.must(card, *self.words(card), stdin=PIN)
        if "tr(" not in self.must(card, "descriptors", "--stdinpass", stdin=PIN).out:
            raise AssertionError("asked again it is not known")
        self.must(card, "audit", "--stdinpass", stdin=PIN)
        check_card(card)
        return "it was known" if known else "it was not known yet"


class WalletAdded(Scene):
    """The wallet is known whole or not at all; the same command again leaves it known, and no signature is strange."""

    stdin = PIN

    def words(self, card: ForkedCard) -> list[str]:
        (self.folder / "wallet").write_text(PAIR)
        return ["wallet", "add", "Pair", str(self.folder / "wallet"), "--yes", "--stdinpass"]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        known = "Pair" in self.must(card, "wallet", "list").out
        if not known:
            self.must(card, *self.words(card), stdin=PIN)
        if self.must(card, "wallet", "show", "Pair").out.count("Registration of") != 1:
            raise AssertionError("the wallet has no registration")
        self.must(card, "audit", "--stdinpass", stdin=PIN)
        return "it was known" if known else "it was not known yet"


class PinChange(Scene):
    """Afterwards one of the two PINs is right."""

    steps = COMMANDS["ctl pin change"].steps

    def words(self, card: ForkedCard) -> list[str]:
        return ["pin", "change"]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        changed = bytes.fromhex(str(card.memory()["pin"])).startswith(NEW_PIN.encode())
        self.must(card, "pin", "verify", "--stdinpass", stdin=NEW_PIN if changed else PIN)
        return "changed" if changed else "not changed"


class PukChange(Scene):
    """Afterwards one of the two PUKs is right."""

    steps = COMMANDS["ctl puk change"].steps

    def words(self, card: ForkedCard) -> list[str]:
        return ["puk", "change"]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        changed = bytes.fromhex(str(card.memory()["puk"])) == NEW_PUK.encode()
        self.must(card, "xpub", "on", "--stdinpuk", stdin=NEW_PUK if changed else PUK)
        return "changed" if changed else "not changed"


class PairingChange(Scene):
    """From the common key to an own one. Afterwards the card opens without the PUK, and one key is left: at the latest
    by the second command, where the PIN of the first showed that the card is the owner's."""

    stdin = PUK
    options: tuple[str, ...] = ()

    def words(self, card: ForkedCard) -> list[str]:
        return ["pairing", "change", "--stdinpuk", *self.options]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        own, there = self.kept(), card.memory()["pairing_key"]
        if there not in own:
            raise AssertionError("none of the keys that are kept opens the card")
        for _ in range(2):
            self.must(card, "pin", "verify", "--stdinpass", stdin=PIN)
        if len(self.kept()) != 1:
            raise AssertionError("more than one key is left")
        return f"{len(own)} keys were kept, the {'first' if own[0] == there else 'second'} was right"

    def kept(self) -> list[str]:
        """What this computer has for the card, in hexadecimal."""
        from cryptnox_core.wire import COMMON_PAIRING_KEY

        file = self.folder / "state/hwi-cryptnox/pairing.json"
        entry = json.loads(file.read_text()).get(str(SERIAL)) if file.exists() else None
        return [COMMON_PAIRING_KEY.hex()] if entry is None else [entry] if isinstance(entry, str) else entry


class PairingChangeAgain(PairingChange):
    """From an own key to another one."""

    @staticmethod
    def memory() -> Memory:  # type: ignore[override]
        """With an own pairing key."""
        return replace(seeded(), pairing_key=OWN_KEY)

    def before(self, card: ForkedCard) -> None:
        (self.folder / "key").write_text(OWN_KEY.hex())
        self.must(card, "pairing", "recover", "--file", str(self.folder / "key"))


class PairingChangeBack(PairingChangeAgain):
    """From an own key to the common one."""

    options = ("--common",)


class PairingRecovery(PairingChangeAgain):
    """From an own key to the common one, by the PUK."""

    def words(self, card: ForkedCard) -> list[str]:
        return ["pairing", "recover", "--stdinpuk"]


class SetUp(Scene):
    """Afterwards the card is as from the factory, or has the PIN and the PUK that were typed."""

    memory = staticmethod(factory)
    steps = (*INITIALISE, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", ""))

    def words(self, card: ForkedCard) -> list[str]:
        return ["setup", "--seed", "restore", "--name=", "--email="]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        info = json.loads(self.must(card, "info", "--json").out)
        if not info["initialized"]:
            return "reset to factory state"
        seed = card.memory()["seed"]
        self.must(card, "pin", "verify", "--stdinpass", stdin=PIN)
        self.must(card, "reset", "--serial", str(card.serial), "--stdinpuk", stdin=PUK)
        return "seeded" if seed else "initialised"


class SetUpWithPairingKey(SetUp):
    """The own pairing key is kept before the card has it."""

    steps = (*OWN_PAIRING_KEY, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", ""))


class Reset(Scene):
    """Afterwards the card is as before, or as from the factory and can be set up."""

    stdin = PUK

    def words(self, card: ForkedCard) -> list[str]:
        return ["reset", "--serial", str(card.serial), "--stdinpuk"]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        if card.memory()["initialized"]:
            self.must(card, "pin", "verify", "--stdinpass", stdin=PIN)
            return "as before"
        anew = COMMANDS["ctl setup, words"]
        done = run("ctl", SetUp(self.folder).words(card), environment(self.folder, card), steps=anew.steps)
        if done.status:
            raise AssertionError(f"setup: {done.out}")
        return "reset to factory state"


class WrongPin(Scene):
    """A wrong PIN from a source that needs nobody: one try in all, whenever the program is killed."""

    least = 1

    def before(self, card: ForkedCard) -> None:
        self.must(card, "pin", "verify", "--stdinpass", stdin=PIN)

    def words(self, card: ForkedCard) -> list[str]:
        (self.folder / "pin").write_text(WRONG_PIN)
        (self.folder / "pin").chmod(0o600)
        trust(card.path, config=self.folder / "config")
        return ["history"]

    def after(self, card: ForkedCard, ended: Ended) -> str:
        spent = card.count("pin_tries")
        for _ in range(2):
            self.ctl(card, "history", CRYPTNOX_PIN_FILE=str(self.folder / "pin"))
        if not self.least <= card.count("pin_tries") <= 1:
            raise AssertionError(f"{card.count('pin_tries')} tries were spent")
        self.must(card, "pin", "verify", "--stdinpass", stdin=PIN)
        return f"{spent} try was spent by then"


class WrongPinOfASession(WrongPin):
    """The card's counter forgets refusals without power: only the note that was made before tells of one."""

    readings = (Reading.TRIES_MIN,)
    least = 0


SCENES: dict[str, type[Scene]] = {
    "signing": Signing,
    "signing, new file": SigningAnew,
    "signing for HWI": SigningForHwi,
    "interrupted signing": InterruptedSigning,
    "signing with others (MuSig2)": SigningTogether,
    "signing with others (MuSig2) for HWI": SigningTogetherForHwi,
    "signing key paths (BIP86)": SigningKeyPaths,
    "taproot check": TaprootCheck,
    "wallet added": WalletAdded,
    "PIN change": PinChange,
    "PUK change": PukChange,
    "pairing key, first": PairingChange,
    "pairing key, next": PairingChangeAgain,
    "pairing key, common": PairingChangeBack,
    "pairing key, recovered": PairingRecovery,
    "set-up": SetUp,
    "set-up with pairing key": SetUpWithPairingKey,
    "reset": Reset,
    "wrong PIN": WrongPin,
    "wrong PIN, counter of a session": WrongPinOfASession,
}


class Moments(Part):
    """`kill -9` at an exact moment, and what is there afterwards. A failing step fails again."""

    name = "killed at a moment"

    def __init__(self) -> None:
        super().__init__()
        self._moments: dict[str, list[int]] = {}
        self._tried: set[tuple[str, int]] = set()

    def moments(self, name: str) -> list[int]:
        """All of a scene from its first connection to the card on, shuffled. Before it, no file is written."""
        if name not in self._moments:
            with tempfile.TemporaryDirectory(prefix="torture-") as place:
                whole = self._killed(SCENES[name](Path(place)), 0)
            self._moments[name] = list(range(whole.first, whole.moments + 1))
            random.Random(name).shuffle(self._moments[name])
        return self._moments[name]

    def step(self, number: int) -> None:
        turn, scene = divmod(number, len(SCENES))
        name = sorted(SCENES)[scene]
        moments = self.moments(name)
        self.kill(name, moments[turn % len(moments)])

    def kill(self, name: str, moment: int) -> None:
        """One scene, killed at one moment."""
        with tempfile.TemporaryDirectory(prefix="torture-") as place:
            try:
                self._killed(SCENES[name](Path(place)), moment, name)
            except Exception as error:
                raise AssertionError(f"{name}, moment {moment}: {error!r}") from error
        self._tried.add((name, moment))
        self.counts["different moments"] = len(self._tried)
        self.counts[f"moments there are in the commands that were killed, {len(SCENES)} at most"] = sum(
            map(len, self._moments.values())
        )

    def _killed(self, scene: Scene, moment: int, name: str = "") -> Ended:
        with ForkedCard(scene.memory(), scene.folder, map(parse_fault, scene.faults), scene.readings) as card:
            scene.before(card)
            words, environ = scene.words(card), environment(scene.folder, card)
            if isinstance(scene, WrongPin):
                environ["CRYPTNOX_PIN_FILE"] = str(scene.folder / "pin")
            if scene.faults:
                environ["CRYPTNOX_REINSERT_WAIT"] = "0"
            ended = run(scene.program, words, environ, stdin=scene.stdin + "\n", steps=scene.steps, stop_at=moment)
            check_said(ended)
            card.settle()
            if moment and ended.status != -9:
                self.counts["ended before the moment came"] += 1
            check_state(scene.folder, whole=False)
            begun = any((scene.folder / "state").rglob(".new-*"))
            far = scene.after(card, ended)
            self.counts["state files looked at"] += check_state(scene.folder)
            self.counts["a begun file was left, and is gone now"] += begun
            if name:
                self.counts[f"{name}: {far}"] += 1
            if not isinstance(scene, WrongPin):
                check_secrets(card)
        return ended
