"""Every command that changes a card: its words, the card it meets, the person at the terminal, and what it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.emulator.memory import Memory
from cryptnox_core.wire import CARD_TYPE_NFT, COMMON_PAIRING_KEY
from tests.core.emulated import SERIAL
from tests.support.emulator import MNEMONIC
from tests.system.life.facts import seed_of_words
from tests.system.life.people import Person
from tests.system.torture.programs import (
    KEY,
    NEW_PIN,
    NEW_PUK,
    PIN,
    PUK,
    blocked,
    factory,
    initialised,
    seeded,
    with_user_key,
    without_pin,
)

VECTORS = Path(__file__).parents[2] / "signer/vectors/slip39.json"
OWN_KEY = bytes(range(32))
OTHER_KEY = bytes(range(32, 64))
COMMON = COMMON_PAIRING_KEY.hex()
PATH = (43 | 1 << 31, 60 | 1 << 31, 1581 | 1 << 31, 0)
WORDS_24 = "abandon " * 23 + "art"
ANY = object()
"""Some value that was not there before."""


def own_paired() -> Memory:
    """With a wallet and an own pairing key."""
    return replace(seeded(), pairing_key=OWN_KEY)


def exported_off() -> Memory:
    """With a wallet, whose extended keys are not given."""
    return replace(seeded(), xpub_export=False)


def with_data() -> Memory:
    """User data and custom bytes are there."""
    return replace(seeded(), user_data=b"before" * 300, custom=bytes(range(16)))


def with_pinless() -> Memory:
    """A key signs without PIN."""
    return replace(seeded(), pinless_path=PATH)


def one_try_left() -> Memory:
    """One more wrong PIN blocks it."""
    return replace(seeded(), pin_tries=1)


def nft() -> Memory:
    """An NFT card from the factory."""
    return replace(factory(), card_type=CARD_TYPE_NFT)


def second() -> Memory:
    """Another card from the factory."""
    return replace(factory(), serial=SERIAL + 1)


@dataclass(frozen=True)
class Scene:
    """One command. In `words`: `{card}` its path, `{second}` the other card's, `{key}` and so on files."""

    program: str
    words: str
    memory: Callable[[], Memory]
    wants: Mapping[str, object]
    """What has to hold of the card where success is told; all else is as before, but for `may`."""
    person: Mapping[str, object] = field(default_factory=dict)
    """How this person differs from others."""
    stdin: str | None = None
    may: frozenset[str] = frozenset()
    """What may change besides."""
    kept: bytes | None = None
    """The pairing key that this computer has for the card."""
    second: Callable[[], Memory] | None = None
    """The second card, in a reader of its own where `{second}` stands in the words, else in the person's hand."""

    def people(self) -> Person:
        """Somebody new."""
        return Person(**{"pin": PIN, "puk": PUK, "new_pin": NEW_PIN, "new_puk": NEW_PUK, **self.person})  # type: ignore[arg-type]

    def command(self, folder: Path, card: str, other: str = "") -> list[str]:
        """The command line; its files are made."""
        files = {
            "file": b"data",
            "sixteen": bytes(16),
            "pem": KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "private": KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "own": OWN_KEY.hex().encode(),
            "other": OTHER_KEY.hex().encode(),
        }
        for name, content in files.items():
            (folder / name).write_bytes(content)
        names = {name: str(folder / name) for name in files}
        names |= {"card": card, "second": other, "serial": str(SERIAL)}
        return [word.format(**names) for word in self.words.split()]


FRESH = {"new_pin": PIN, "new_puk": PUK}
"""Who sets a card up chooses the PIN and the PUK that are known here."""
NEW_CARD: Mapping[str, object] = {"initialised": True, "pin": PIN, "puk": PUK, "export": True}
SHARES: tuple[str, ...] = tuple(json.loads(VECTORS.read_text())[3][1])
"""Two of three; `OF_SHARES` with the passphrase TREZOR."""
OF_SHARES = {**NEW_CARD, "seed": json.loads(VECTORS.read_text())[3][2]}
OF_WORDS = {**NEW_CARD, "seed": seed_of_words(MNEMONIC)}
ERASED: Mapping[str, object] = {
    "initialised": False,
    "pin": "",
    "puk": "",
    "pairing_key": "",
    "seed": "",
    "export": False,
    "owner": ("", ""),
    "data": "",
    "custom": bytes(16).hex(),
}
HWI = "-t cryptnox -d {card}"
SCENES: dict[str, Scene] = {
    "ctl pin change": Scene("ctl", "pin change", seeded, {"pin": NEW_PIN}),
    "ctl pin change --with-puk": Scene("ctl", "pin change --with-puk", seeded, {"pin": NEW_PIN}),
    "ctl pin change --with-puk, one try left": Scene("ctl", "pin change --with-puk", one_try_left, {"pin": NEW_PIN}),
    "ctl pin unblock": Scene("ctl", "pin unblock", blocked, {"pin": NEW_PIN}),
    "ctl puk change": Scene("ctl", "puk change", seeded, {"puk": NEW_PUK}),
    "ctl pairing change": Scene("ctl", "pairing change --stdinpuk", seeded, {"pairing_key": ANY}, stdin=PUK),
    "ctl pairing change, from own": Scene("ctl", "pairing change", own_paired, {"pairing_key": ANY}, kept=OWN_KEY),
    "ctl pairing change --common": Scene(
        "ctl", "pairing change --common", own_paired, {"pairing_key": COMMON}, kept=OWN_KEY
    ),
    "ctl pairing change --file": Scene(
        "ctl", "pairing change --file {other}", seeded, {"pairing_key": OTHER_KEY.hex()}
    ),
    "ctl pairing recover": Scene("ctl", "pairing recover", own_paired, {"pairing_key": COMMON}),
    "ctl pairing recover --file": Scene("ctl", "pairing recover --file {own}", own_paired, {}),
    "ctl xpub on": Scene("ctl", "xpub on --stdinpuk --json", exported_off, {"export": True}, stdin=PUK),
    "ctl xpub off": Scene("ctl", "xpub off", seeded, {"export": False}),
    "ctl pinless set": Scene("ctl", "pinless set m/43h/60h/1581h/0", seeded, {"pinless": PATH}),
    "ctl pinless clear": Scene("ctl", "pinless clear --json --stdinpuk", with_pinless, {"pinless": ()}, stdin=PUK),
    "ctl data write": Scene("ctl", "data write {file}", with_data, {"data": b"data".hex()}),
    "ctl data write --custom": Scene("ctl", "data write --custom {sixteen}", with_data, {"custom": bytes(16).hex()}),
    "ctl user-key add": Scene("ctl", "user-key add ec {pem}", seeded, {"user_keys": ANY}),
    "ctl user-key delete": Scene("ctl", "user-key delete ec", with_user_key, {"user_keys": ()}),
    "ctl pin-auth off": Scene("ctl", "pin-auth off --private-key {private}", with_user_key, {"pin_auth": False}),
    "ctl pin-auth on": Scene("ctl", "pin-auth on", without_pin, {"pin_auth": True}),
    "ctl reset": Scene("ctl", "reset", with_data, ERASED),
    "ctl reset --serial": Scene("ctl", "reset --serial {serial} --stdinpuk --json", seeded, ERASED, stdin=PUK),
    "ctl reset, own pairing key": Scene("ctl", "reset", own_paired, ERASED, kept=OWN_KEY),
    "ctl adopt": Scene("ctl", "adopt", exported_off, {"export": True}),
    "ctl adopt, unknown pairing key": Scene(
        "ctl",
        "adopt",
        lambda: replace(exported_off(), pairing_key=OWN_KEY),
        {"export": True, "pairing_key": COMMON},
    ),
    "ctl setup restore": Scene(
        "ctl",
        "setup --seed restore --name= --email=",
        factory,
        {**OF_WORDS, "pairing_key": COMMON},
        {**FRESH, "words": MNEMONIC, "answers": (("own pairing key", "n"),)},
    ),
    "ctl setup restore, own pairing key": Scene(
        "ctl",
        "setup --seed restore --name Ada --email=",
        factory,
        {**OF_WORDS, "pairing_key": ANY, "owner": ("Ada", "")},
        {**FRESH, "words": MNEMONIC},
    ),
    "ctl setup shares": Scene(
        "ctl",
        "setup --seed shares --name= --email=",
        factory,
        {**OF_SHARES, "pairing_key": COMMON},
        {**FRESH, "shares": SHARES, "passphrase": "TREZOR", "answers": (("own pairing key", "n"),)},
    ),
    "ctl setup, second thoughts": Scene(
        "ctl",
        "setup --name= --email=",
        factory,
        {**OF_WORDS, "pairing_key": COMMON},
        {
            **FRESH,
            "words": MNEMONIC,
            "answers": (("own pairing key", "n"), ("your choice", "restore")),
            "slips": (
                ("new PIN", ("1234",)),
                ("use it anyway", ("no",)),
                ("own pairing key", ("perhaps", "y")),
                ("initialize the card now", ("n", "what", "n")),
                (r"^change \(", ("the key", "pairing", "nothing")),
                ("your choice", ("words", "card")),
                ("to continue", ("no", "")),
                ("how many words", ("11",)),
                (r"^word 3\b", ("abandonn", "aban")),
                (r"^word 12\b", ("zoo", "abou")),
                ("on your paper", ("n",)),
                ("type again", ("x", "12", "show", "1")),
            ),
        },
    ),
    "ctl setup new": Scene(
        "ctl",
        "setup --seed new --words 12 --name= --email=",
        factory,
        {**NEW_CARD, "seed": ANY, "puk": ANY, "pairing_key": COMMON},
        {**FRESH, "answers": (("own pairing key", "n"), ("choose it yourself", "n"))},
    ),
    "ctl setup new, checked": Scene(
        "ctl",
        "setup --seed new --words 12 --name= --email=",
        factory,
        {**NEW_CARD, "seed": ANY, "pairing_key": COMMON},
        {**FRESH, "answers": (("own pairing key", "n"), ("check the backup now", ""))},
    ),
    "ctl setup new, 24 words": Scene(
        "ctl",
        "setup --seed new --words 24 --name= --email=",
        factory,
        {**NEW_CARD, "seed": ANY, "pairing_key": ANY},
        FRESH,
    ),
    "ctl setup card": Scene(
        "ctl", "setup --seed card --name= --email=", factory, {**NEW_CARD, "seed": ANY, "pairing_key": ANY}, FRESH
    ),
    "ctl setup, NFT": Scene(
        "ctl",
        "setup --name= --email=",
        nft,
        {**NEW_CARD, "seed": ANY, "pairing_key": ANY, "export": False},
        {**FRESH, "answers": (("over NFC", "n"),)},
    ),
    "ctl setup, initialised": Scene(
        "ctl",
        "setup --seed restore",
        initialised,
        {"seed": seed_of_words(MNEMONIC), "export": True},
        {"words": MNEMONIC},
    ),
    "ctl setup dual": Scene(
        "ctl",
        "setup --seed dual --name= --email= --second {second}",
        factory,
        {**NEW_CARD, "seed": ANY, "pairing_key": COMMON},
        {**FRESH, "answers": (("own pairing key", "n"),)},
        may=frozenset({"half"}),
        second=second,
    ),
    "ctl setup dual, one reader": Scene(
        "ctl",
        "setup --seed dual --name= --email=",
        factory,
        {**NEW_CARD, "seed": ANY, "pairing_key": COMMON},
        {
            **FRESH,
            "answers": (
                ("own pairing key", "n"),
                (r"remove the .*card.* and insert", lambda world: world.swap() or ""),
            ),
        },
        may=frozenset({"half"}),
        second=second,
    ),
    "hwi setup words": Scene(
        "hwi",
        f"{HWI} -i setup",
        factory,
        {**NEW_CARD, "seed": ANY, "pairing_key": COMMON},
        {**FRESH, "answers": (("^seed", "words"),)},
    ),
    "hwi setup words, checked": Scene(
        "hwi",
        f"{HWI} -i setup",
        factory,
        {**NEW_CARD, "seed": ANY, "pairing_key": COMMON},
        {
            **FRESH,
            "answers": (("^seed", "words"), ("check the backup now", "")),
            "slips": (("initialize the card now", ("n",)), (r"^change \(", ("puk",)), ("check the", ("maybe",))),
        },
    ),
    "hwi setup card": Scene(
        "hwi",
        f"{HWI} -i setup --label Ada",
        factory,
        {**NEW_CARD, "puk": ANY, "seed": ANY, "pairing_key": COMMON, "owner": ("Ada", "")},
        {**FRESH, "answers": (("^seed", "card"), ("choose it yourself", "n"))},
    ),
    "hwi restore": Scene(
        "hwi",
        f"{HWI} -i restore -w 12",
        factory,
        {**OF_WORDS, "pairing_key": COMMON},
        {**FRESH, "words": MNEMONIC},
    ),
    "hwi restore, shares": Scene(
        "hwi",
        f"{HWI} -i restore -w 20",
        factory,
        {**OF_SHARES, "pairing_key": COMMON},
        {**FRESH, "shares": SHARES, "passphrase": "TREZOR"},
    ),
    "hwi restore, initialised": Scene(
        "hwi",
        f"{HWI} -i restore -w 12",
        initialised,
        {"seed": seed_of_words(MNEMONIC), "export": True},
        {"words": MNEMONIC},
    ),
    "hwi wipe": Scene("hwi", f"{HWI} wipe", with_data, ERASED),
    "hwi wipe, own pairing key": Scene("hwi", f"{HWI} wipe", own_paired, ERASED, kept=OWN_KEY),
}
VARIANTS = (
    "ctl setup restore",
    "hwi setup words, checked",
    "hwi restore, shares",
    "ctl setup new, checked",
    "ctl setup new, 24 words",
    "ctl pairing change, from own",
)
"""Those that differ little from others."""
