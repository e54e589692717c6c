"""What people see of cryptnoxctl: every command once, with its dialogues and its usual refusals, at three widths.

The screens are text files in `screens/`, a folder for each width, to be read as a person would. `test_screens.py`
compares them with the program; `python -m tests.ctl.scenes` writes them again.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pexpect
from click.testing import CliRunner

from tests.ctl.payments import multisig_pay
from tests.ctl.program import COMMAND, PIN, PUK, environment
from tests.psbt.factory import OTHER, In, Out, deriv, draft, p2wpkh, spend
from tests.support.emulator import MNEMONIC, SEED, EmulatorProcess
from tests.support.terminal import spawn

FOLDER = Path(__file__).with_name("screens")
SIZES = {40: 24, 80: 24, 120: 40}
"""Columns, and rows."""
WIDE = 400
"""Columns in which nothing has to be broken."""
PLACE = "127.0.0.1:50000"
NEW = ("--serial", "7108776947887105570")
WALLET = ("--seed", SEED, "--xpub-export")
OTHER_PIN, NEW_PIN, NEW_PUK = "111222", "739182", "own-puk-1234"
WAIT = 90


@dataclass(frozen=True)
class Screen:
    """One command at a terminal."""

    words: str
    steps: tuple[tuple[str, str], ...] = ()
    card: tuple[str, ...] | None = WALLET
    """The emulated card's options; None for no card."""
    before: tuple[str, ...] = ()
    """Commands that made things as they are; with the PIN and PUK of a new emulated card."""
    files: Callable[[Path], object] | None = None
    code: int = 0
    random: bool = False
    """The card makes its seed itself."""
    raw: bool = False
    """It shows a file's content, which is not broken at all."""


ASKED, ASKED_PUK = ("PIN of card", PIN), ("PUK: ", PUK)
TYPED = (("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
OPENED = (
    *TYPED,
    ("Choose it yourself?", "y"),
    ("New PUK", NEW_PUK),
    ("Type it again", NEW_PUK),
    ("Name: ", "Ada"),
    ("E-mail: ", ""),
    ("own pairing key?", ""),
)


def payment(folder: Path) -> None:
    """One payment, change proved by the card."""
    back = Out(p2wpkh(_ours("m/84h/0h/0h/1/7")), 49_000, [_claim("m/84h/0h/0h/1/7")])
    made = draft(spend("p2wpkh", 0), outs=[Out(p2wpkh(OTHER.key("m/0")), 50_000), back])
    (folder / "payment.psbt").write_bytes(made.encode())


def lie(folder: Path) -> None:
    """Change that is a stranger's."""
    back = Out(p2wpkh(OTHER.key("m/9")), 49_000, [_claim("m/84h/0h/0h/1/7", OTHER.key("m/9"))])
    made = draft(spend("p2wpkh", 0), outs=[Out(p2wpkh(OTHER.key("m/0")), 50_000), back])
    (folder / "payment.psbt").write_bytes(made.encode())


def fee(folder: Path) -> None:
    """Almost everything is a fee."""
    made = draft(spend("p2wpkh", 0, amount=100_000_000), outs=[Out(p2wpkh(OTHER.key("m/0")), 1_000)])
    (folder / "payment.psbt").write_bytes(made.encode())


def strangers(folder: Path) -> None:
    """No key of the card."""
    path = "m/84h/0h/0h/0/1"
    item = In(p2wpkh(OTHER.key(path)), 100_000, [deriv(path, OTHER)])
    (folder / "payment.psbt").write_bytes(draft(item, outs=[Out(p2wpkh(OTHER.key("m/0")), 50_000)]).encode())


def shared(folder: Path) -> None:
    """A wallet of two keys, and a payment of it."""
    _, descriptor = multisig_pay(folder, name="payment")
    (folder / "family.txt").write_text(descriptor)


def _ours(path: str) -> bytes:
    from tests.psbt.factory import ME

    return ME.key(path)


def _claim(path: str, key: bytes | None = None) -> tuple[bytes, bytes]:
    from tests.psbt.factory import ME, out_deriv

    field = out_deriv(path, ME)
    return field if key is None else (field[0][:1] + key, field[1])


REGISTERED = ("wallet add Family family.txt --yes",)
SCREENS: dict[str, Screen] = {
    "help": Screen("--help", card=None),
    "help sign": Screen("sign --help", card=None),
    "a word that is no command": Screen("singn", card=None, code=2),
    "list": Screen("list"),
    "list, no card": Screen("list --card tcp:127.0.0.1:9", card=None, code=3),
    "info": Screen("info"),
    "info, a new card": Screen("info", card=NEW),
    "adopt": Screen(
        "adopt",
        (ASKED, ("no check", "no check"), ("Turn it on now?", "y"), ASKED_PUK),
        card=("--seed", SEED),
    ),
    "address": Screen("address 0-2", (ASKED,)),
    "address, legacy": Screen("address 0-1 --type p2pkh", (ASKED,)),
    "address of a path": Screen("address --path m/84h/0h/0h/0/5", (ASKED,)),
    "address, ours": Screen("address --check bc1q0000000000000000000000000000000000000000", code=5),
    "address, no number": Screen("address x", code=2),
    "xpub": Screen("xpub show m/84h/0h/0h", (ASKED,)),
    "xpub off, already on": Screen("xpub on"),
    "descriptors": Screen("descriptors", (ASKED,)),
    "export": Screen("export sparrow", (ASKED,), raw=True),
    "sheet": Screen("sheet", (ASKED,), raw=True),
    "sign": Screen("sign payment.psbt", (ASKED, ("Sign it with", "y")), files=payment),
    "sign, no": Screen("sign payment.psbt", (ASKED, ("Sign it with", "n")), files=payment, code=1),
    "sign, a wrong PIN": Screen("sign payment.psbt", (("PIN of card", OTHER_PIN),), files=payment, code=4),
    "sign, a lie": Screen("sign payment.psbt", (ASKED,), files=lie, code=5),
    "sign, a high fee": Screen("sign payment.psbt", (ASKED, ("type the fee", "1")), files=fee, code=1),
    "sign, no key of the card": Screen("sign payment.psbt", (ASKED,), files=strangers, code=5),
    "sign, a shared wallet": Screen(
        "sign payment.psbt", (ASKED, ("Sign it with", "y")), files=shared, before=REGISTERED
    ),
    "sign, no file": Screen("sign nothing.psbt", code=2),
    "verify": Screen("verify payment.psbt", files=payment),
    "verify, a shared wallet": Screen("verify payment.psbt", files=shared, before=REGISTERED),
    "verify, signed": Screen("verify payment-signed.psbt", files=payment, before=("sign payment.psbt --yes",)),
    "finalize": Screen("finalize payment-signed.psbt", files=payment, before=("sign payment.psbt --yes",)),
    "finalize, not complete": Screen("finalize payment.psbt", files=payment, code=5),
    "combine": Screen(
        "combine payment.psbt payment-signed.psbt", files=shared, before=(*REGISTERED, "sign payment.psbt --yes")
    ),
    "message sign": Screen("message sign hello --path m/44h/0h/0h/0/0", (ASKED,)),
    "message verify, bad": Screen(f"message verify 1HZwkjkeaoZfTSaJxDw6aKkxp45agDiEzN {'A' * 87}= hello", code=5),
    "history": Screen("history", (ASKED,), files=payment, before=("sign payment.psbt --yes",)),
    "audit": Screen("audit", (ASKED,), files=payment, before=("sign payment.psbt --yes",)),
    "wallet add": Screen("wallet add Family family.txt", (ASKED, ("[y/N]", "y")), files=shared),
    "wallet list": Screen("wallet list", files=shared, before=REGISTERED),
    "wallet show": Screen("wallet show Family", files=shared, before=REGISTERED),
    "wallet address": Screen("address 0-1 --wallet Family", files=shared, before=REGISTERED),
    "wallet remove": Screen("wallet remove Family", (("[y/N]", "y"),), files=shared, before=REGISTERED),
    "pin tries": Screen("pin tries"),
    "pin verify, wrong": Screen("pin verify", (("PIN of card", OTHER_PIN),), code=4),
    "pin change": Screen("pin change", (ASKED, *TYPED)),
    "pin unblock": Screen("pin unblock", code=1),
    "puk verify, wrong": Screen("puk verify", (("PUK: ", NEW_PUK),), code=4),
    "puk change": Screen("puk change", (ASKED_PUK, ("New PUK", NEW_PUK), ("Type it again", NEW_PUK))),
    "pairing change": Screen("pairing change", (ASKED_PUK,)),
    "pairing recover": Screen("pairing recover"),
    "owner": Screen("owner"),
    "data write": Screen("data write data.bin", (ASKED,), files=lambda folder: (folder / "data.bin").write_bytes(b"x")),
    "user-key list": Screen("user-key list"),
    "taproot check": Screen("taproot check", (ASKED,), card=(*WALLET, "--reading", "musig2")),
    "taproot check, no MuSig2": Screen("taproot check", (ASKED,), code=1),
    "pinless set": Screen("pinless set m/43h/60h/1581h/0", (ASKED_PUK,)),
    "clear-key show": Screen("clear-key show", code=1),
    "cert": Screen("cert --output cert.pem"),
    "decrypt": Screen("decrypt --recipient", (ASKED,), raw=True),
    "reset": Screen("reset", (("to continue", "SERIAL"), ASKED_PUK)),
    "forget": Screen("forget all", before=("address",)),
    "backup check": Screen(
        "backup check",
        (ASKED, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", "")),
        card=("--mnemonic", MNEMONIC, "--xpub-export"),
    ),
    "setup": Screen(
        "setup",
        (
            *OPENED,
            ("Initialize the card now?", "n"),
            ("Change (", "name"),
            ("Name: ", "Grace"),
            ("Initialize the card now?", "y"),
            ("Your choice", "paper"),
            ("Your choice", "restore"),
            ("How many words", "12"),
            ("Word 1", MNEMONIC.replace("about", "zoo")),
            ("type again", "12"),
            ("Word 12", "about"),
            ("Passphrase", ""),
        ),
        card=NEW,
    ),
    "setup, made on the card": Screen(
        "setup --seed card --name= --email=",
        (*OPENED[:5], OPENED[-1], ("Initialize the card now?", "y"), ("to continue:", "no backup")),
        card=NEW,
        random=True,
    ),
}
_COLORS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_PROGRESS = re.compile(r"The card signs [━╸╺ ]*\d+/\d+ time left [-\d:…]*\n?")
_WHEN = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?")
_SIGNATURE = re.compile(r"(?<![\w+/=])(?![xt]pub|[0-9a-f]{80})(smp|ful)?[A-Za-z0-9+/]{84,}={0,2}(?![\w+/=])")


def plain(shown: str, card: EmulatorProcess | None, *, random: bool = False) -> str:
    """What a terminal shows, without colors; what differs from run to run is exchanged."""
    text = _COLORS.sub("", shown).replace("\r\n", "\n").replace("\r", "")
    if card is not None:
        text = text.replace(f"{card.host}:{card.port}", PLACE)
    text = re.sub(r"hwi-cryptnox \d+\.[\w.]+", "hwi-cryptnox 1.0", _PROGRESS.sub("", text))
    text = _WHEN.sub(lambda match: "2026-01-31 12:00:00"[: len(match[0])], text)
    if random:
        text = re.sub(r"\b[0-9a-f]{8}\b", "00c0ffee", text)
        text = re.sub(r"bc1q\w{38}", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", text)
    text = _SIGNATURE.sub("<signature>", text)
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n")) + "\n"


def play(screen: Screen, columns: int, rows: int) -> tuple[str, int]:
    """What the command shows at a terminal of that size, and its exit code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if screen.card is None:
            return _play(screen, folder, None, columns, rows)
        with EmulatorProcess(*screen.card) as card:
            return _play(screen, folder, card, columns, rows)


def _play(screen: Screen, folder: Path, card: EmulatorProcess | None, columns: int, rows: int) -> tuple[str, int]:
    homes = {f"XDG_{kind}_HOME": str(folder / kind.lower()) for kind in ("STATE", "CONFIG", "CACHE")}
    env = environment(card, TERM="xterm", **homes)
    env.pop("NO_COLOR", None)
    env["PCSCLITE_CSOCK_NAME"] = str(folder / "none")  # the readers of this computer are not shown
    if screen.files is not None:
        screen.files(folder)
    for words in screen.before:
        with _at(words.split(), env | {"CRYPTNOX_PIN": PIN}, folder, WIDE, 50) as child:
            child.expect(pexpect.EOF)
    seen: list[str] = []
    with _at(screen.words.split(), env, folder, columns, rows) as child:
        child.logfile_read = mock.Mock(write=seen.append)
        for question, reply in screen.steps:
            # A prompt may be broken at a blank.
            child.expect(r"\s+".join(map(re.escape, question.rstrip().split())))
            child.sendline(str(card.serial) if reply == "SERIAL" and card is not None else reply)
        child.expect(pexpect.EOF)
        child.wait()
        return plain("".join(seen), card, random=screen.random), int(child.exitstatus)


def _at(words: list[str], env: dict[str, str], folder: Path, columns: int, rows: int) -> pexpect.spawn:
    return spawn(
        [*COMMAND, *words], env=env, cwd=str(folder), encoding="utf-8", timeout=WAIT, dimensions=(rows, columns)
    )


def file_of(name: str, columns: int) -> Path:
    """Where a screen is kept."""
    return FOLDER / str(columns) / f"{name.replace(',', '').replace(' ', '-')}.txt"


def helps(columns: int) -> str:
    """The help of all commands."""
    from hwilib_cryptnox.ctl.main import COMMANDS, cli

    runner, parts = CliRunner(), []
    for name in COMMANDS:
        with mock.patch.dict(os.environ, {"COLUMNS": str(columns)}):
            done = runner.invoke(cli, [name, "--help"], prog_name="cryptnoxctl", terminal_width=columns)
        parts.append(done.output)
    return "\n".join(parts)


def main() -> int:
    """Write all, or those that are named."""
    for columns, rows in SIZES.items():
        (FOLDER / str(columns)).mkdir(parents=True, exist_ok=True)
        for name in sys.argv[1:] or SCREENS:
            text, code = play(SCREENS[name], columns, rows)
            if code != SCREENS[name].code:
                print(f"{name}: exit status {code}\n{text}")
            file_of(name, columns).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
