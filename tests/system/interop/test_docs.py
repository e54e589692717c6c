"""The documentation is true: its commands run, on emulated cards; what it says that they print is what they print.

Blocks of the language `console` are run page by page. Each other command line of a page, in a block or in a sentence,
is in one table of this file: it is run here (`SCENES`), by another test (`BY_ANOTHER_TEST`), or cannot be run by a
machine alone (`NOT_RUN`, with the reason).
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import operator
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner

from cryptnox_core import Card
from cryptnox_core.emulator.faults import FaultKind
from cryptnox_core.emulator.readings import Reading
from hwilib_cryptnox.ctl.main import cli
from hwilib_cryptnox.export import Network, ScriptType, account_path, key_line
from hwilib_cryptnox.storage.settings import from_toml
from tests.export.conftest import make_keys
from tests.support.emulator import PUK, EmulatorProcess, trust
from tests.support.optional import hwilib
from tests.system.interop.pages import GENERATED, PAGES, Step, blocks, inline, other_commands, steps, unclear
from tests.system.interop.programs import MNEMONIC, OTHER_MNEMONIC, PIN, ROOT, TIME_LIMIT, borrowed_environment

WRITTEN = [page for page in PAGES if page.name not in GENERATED]
ADDRESS = "127.0.0.1:9720"
"""Where the pages' emulated card is. The tests' is elsewhere; names are exchanged."""
NEW_PIN = "135790"
THIRD_MNEMONIC = "legal winner thank year wave sausage worth useful legal winner thank yellow"

HWI = """#!/bin/sh
# A person at the terminal, who types the PIN where it is asked for.
case " $* " in
    *" --stdinpass "*) printf '%s\\n' {pin} | {program} --emulators "$@" ;;
    *) exec {program} --emulators "$@" ;;
esac
"""
CTL = """#!/bin/sh
# A person at the terminal, who types the PIN and looks at the transaction, or at the wallet.
case "$1 $2" in
    "wallet add") set -- "$@" --yes ;;
esac
case $1 in
    hwi | verify) exec {program} "$@" ;;
    sign) printf '%s\\n' {pin} | {program} "$@" --card {card} --stdinpass --yes ;;
    *) printf '%s\\n' {pin} | {program} "$@" --card {card} --stdinpass ;;
esac
"""
PLAIN = '#!/bin/sh\nexec {program} "$@"\n'


@dataclass(frozen=True)
class Scene:
    """One command at a terminal, with an emulated card in the reader."""

    replies: tuple[tuple[str, str], ...] = ()
    """What is asked, and the answer. SERIAL stands for the card's."""
    says: str = ""
    """Stands in what it shows."""
    card: tuple[str, ...] = ("--mnemonic", MNEMONIC, "--xpub-export")
    before: str = ""
    """Shell commands that made things as they are."""
    words: tuple[tuple[str, str], ...] = ()
    """What stands for a word of the page."""
    code: int = 0
    """The exit code."""
    until: bool = False
    """It runs until SIGINT."""


ASKED_PIN, ASKED_PUK = ("PIN of card", PIN), ("PUK: ", PUK)
TYPED_NEW = (("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
OWN_KEY = f"printf '%s\\n' {PUK} | cryptnoxctl pairing change --stdinpuk"
FORGOTTEN = 'rm -r "$XDG_STATE_HOME"'
REGISTERED = (
    "cryptnoxctl export descriptor --type p2wsh --threshold 2 --cosigner cosigner.txt --cosigner cosigner-2.txt "
    "> family.txt && cryptnoxctl wallet add Family family.txt --yes --quiet"
)
EMULATOR = f'cryptnoxctl emulator --mnemonic "{MNEMONIC}" --xpub-export'
READY = "ready listen=127.0.0.1:9720 vpcd=- serial=7108776947887105570"
ABLE = ("--mnemonic", MNEMONIC, "--xpub-export", "--reading", "musig2")
"""A card that signs taproot key paths."""
ANY_PORT = ("cryptnoxctl emulator", "cryptnoxctl emulator --listen 127.0.0.1:0")

SCENES = {
    "cryptnoxctl doctor": Scene(says="service (pcscd) is not running", code=3),
    "cryptnoxctl list": Scene(says="ready"),
    "cryptnoxctl info": Scene(says="xpub export"),
    "cryptnoxctl audit": Scene((ASKED_PIN,), "remembers no signature"),
    "cryptnoxctl taproot check": Scene((ASKED_PIN,), "signs for taproot addresses (BIP86)", card=ABLE),
    "cryptnoxctl address --type p2tr": Scene(
        (ASKED_PIN,),
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        card=ABLE,
        before="cryptnoxctl taproot check",
    ),
    "cryptnoxctl address": Scene((ASKED_PIN,), "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
    "cryptnoxctl setup": Scene(
        (
            *TYPED_NEW,
            ("Choose it yourself?", "y"),
            ("New PUK", "own-puk-1234"),
            ("Type it again", "own-puk-1234"),
            ("Name: ", "Ada"),
            ("E-mail: ", "ada@example.org"),
            ("own pairing key?", "n"),
            ("Initialize the card now?", "y"),
            ("Your choice", "restore"),
            ("How many words", "12"),
            ("Word 1", MNEMONIC),
            ("Passphrase", ""),
        ),
        "The card is ready",
        card=(),
    ),
    "cryptnoxctl adopt": Scene(
        (ASKED_PIN, ('type "no check"', "no check"), ("Turn it on now?", "y"), ASKED_PUK),
        "xpub export is on",
        card=("--mnemonic", MNEMONIC),
    ),
    "cryptnoxctl backup check": Scene(
        (ASKED_PIN, ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", "")), "hold the same wallet"
    ),
    "cryptnoxctl backup check --second-card": Scene(
        (ASKED_PIN, *(("insert the second card", ""),) * 10), "That is still the first card", code=1
    ),
    "cryptnoxctl clone check": Scene(
        (ASKED_PIN, *(("insert the second card", ""),) * 10), "That is still the first card", code=1
    ),
    "cryptnoxctl address --check ADDRESS": Scene(
        (ASKED_PIN,), "m/84h/0h/0h/0/0", words=(("ADDRESS", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),)
    ),
    "cryptnoxctl sheet": Scene((ASKED_PIN,), "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
    "cryptnoxctl sheet --html --output wallet.html": Scene((ASKED_PIN,), "Written: wallet.html"),
    "cryptnoxctl reset": Scene((('Type "SERIAL"', "SERIAL"), ASKED_PUK), "reset to factory state"),
    "cryptnoxctl forget SERIAL": Scene(
        says="This computer forgot", before="cryptnoxctl address", words=(("SERIAL", "all"),)
    ),
    "cryptnoxctl doctor --record card.json": Scene((("Record the card", "y"),), "as documented"),
    "cryptnoxctl doctor --analyze card.json": Scene(
        says="as documented", before="cryptnoxctl doctor --record card.json --yes >/dev/null"
    ),
    "cryptnoxctl pin change": Scene((ASKED_PIN, *TYPED_NEW), "was changed"),
    "cryptnoxctl puk verify": Scene((ASKED_PUK,), "is correct"),
    "cryptnoxctl pin tries": Scene(says="At most 6"),
    "cryptnoxctl pin verify": Scene((ASKED_PIN,), "is correct"),
    "cryptnoxctl pin change --with-puk": Scene((ASKED_PUK, *TYPED_NEW), "was changed"),
    "cryptnoxctl pin unblock": Scene(
        (ASKED_PUK, *TYPED_NEW),
        "new PIN",
        before="for pin in 1111 2222 3333 4444 5555 6666; do printf '%s\\n' $pin | CRYPTNOX_LAST_TRY=1 "
        "cryptnoxctl pin verify --stdinpass && exit 1; done; true",
    ),
    "cryptnoxctl xpub on": Scene((ASKED_PUK,), "xpub export", card=("--mnemonic", MNEMONIC)),
    "cryptnoxctl pairing change": Scene((ASKED_PUK,), "pairing key"),
    "cryptnoxctl pairing recover": Scene((ASKED_PUK,), "pairing key", before=f"{OWN_KEY} && {FORGOTTEN}"),
    "cryptnoxctl pairing recover --file FILE": Scene(
        says="it is kept on this computer",
        before=f"{OWN_KEY} && cryptnoxctl pairing export key && {FORGOTTEN}",
        words=(("FILE", "key"),),
    ),
    "cryptnoxctl sign": Scene(
        (ASKED_PIN, ("Sign it with 2 signatures?", "y")),
        "the transaction is complete",
        words=(("cryptnoxctl sign", "cryptnoxctl sign payment.psbt --chain regtest"),),
    ),
    "cryptnoxctl sign payment.psbt": Scene(
        (ASKED_PIN, ("Sign it with 2 signatures?", "y")), "Written: payment-signed.psbt"
    ),
    "cryptnoxctl verify": Scene(
        says="73c5da0a/84h/1h/0h/0/0",
        words=(("cryptnoxctl verify", "cryptnoxctl verify payment.psbt --chain regtest"),),
    ),
    "cryptnoxctl verify FILE": Scene(says="73c5da0a/84h/1h/0h/0/0", words=(("FILE", "payment.psbt"),)),
    "cryptnoxctl wallet show Family": Scene(says="2 of 3 must sign", before=REGISTERED),
    "cryptnoxctl wallet remove Family": Scene(
        (('Remove the wallet "Family"?', "y"),), 'Removed: "Family"', before=REGISTERED
    ),
    "cryptnoxctl wallet add Family family.json": Scene(
        (ASKED_PIN, ('Register "Family"?', "y")),
        "this card had already signed",
        before=f"{REGISTERED} && cryptnoxctl wallet export Family --output family.json && {FORGOTTEN}",
    ),
    "cryptnoxctl address --qr": Scene((ASKED_PIN,), "▀"),
    "cryptnoxctl export sparrow": Scene((ASKED_PIN,), "[73c5da0a/84h/0h/0h]xpub6"),
    "cryptnoxctl cert": Scene(says="BEGIN CERTIFICATE"),
    "cryptnoxctl decrypt --recipient": Scene((ASKED_PIN,), "BEGIN PUBLIC KEY"),
    "cryptnoxctl clear-key on": Scene((ASKED_PUK,), "Clear key reading is on"),
    "cryptnoxctl emulator": Scene(says="ready listen=", until=True, words=(ANY_PORT,)),
    "cryptnoxctl emulator --reading NAME": Scene(
        says="ready listen=", until=True, words=(ANY_PORT, ("NAME", "pin-ends-at-sign"))
    ),
    EMULATOR: Scene(says=READY.partition(ADDRESS)[2], until=True, words=(ANY_PORT,)),
    "hwi-cryptnox --version": Scene(says="hwi 3."),
    "hwi-cryptnox --stdinpass -t cryptnox getmasterxpub": Scene(
        (("Enter your device password", PIN),), '"xpub"', words=(("hwi-cryptnox", "hwi-cryptnox --emulators"),)
    ),
    "hwi-cryptnox --debug enumerate": Scene(says="00a40400", words=(("hwi-cryptnox", "hwi-cryptnox --emulators"),)),
    "hwi-cryptnox --password PIN": Scene(
        says='"xpub"', words=(("hwi-cryptnox", "hwi-cryptnox --emulators"), ("PIN", f"{PIN} -t cryptnox getmasterxpub"))
    ),
    "hwi-cryptnox enumerate": Scene(says="["),
    "hwi enumerate": Scene(says="["),
    "python -X importtime -m hwilib_cryptnox.hwi.program enumerate": Scene(says="import time:"),
    "command -v hwi-cryptnox": Scene(says="/bin/hwi-cryptnox"),
    'eval "$(cryptnoxctl completion bash)"': Scene(),
    "man -l ~/cryptnox/share/man/man1/cryptnoxctl.1": Scene(
        says="CRYPTNOXCTL(1)",
        words=(("man -l", "MANPAGER=cat man -l"), ("~/cryptnox/share/man/man1", shlex.quote(str(ROOT / "docs")))),
    ),
}

OTHER_WAYS = {
    "uv": ("uv tool install .", "uv tool install --reinstall .", "uv tool uninstall hwi-cryptnox"),
    "pipx": ("pipx install .", "pipx install --force .", "pipx uninstall hwi-cryptnox"),
}
BY_ANOTHER_TEST = {
    'eval "$(cryptnoxctl completion zsh)"': "tests/ctl/test_completion.py::test_what_a_shell_completes",
    "cryptnoxctl completion fish | source": "tests/ctl/test_completion.py::test_what_a_shell_completes",
    "hwi-cryptnox -i restore -w 20": "tests/hwi/test_setup.py::test_restore_from_shares",
    "sh scripts/demo": "tests/system/interop/test_docs.py::test_the_demo",
    "python3 -m venv ~/cryptnox && ~/cryptnox/bin/pip install .": (
        "tests/system/interop/test_docs.py::test_the_installation"
    ),
    'PATH="$HOME/cryptnox/bin:$PATH"': "tests/system/interop/test_docs.py::test_the_installation",
    **{
        command: "tests/system/interop/test_docs.py::test_other_ways_to_install"
        for name, commands in OTHER_WAYS.items()
        for command in commands
    },
    "~/cryptnox/bin/pip install --upgrade .": "tests/system/interop/test_docs.py::test_the_installation",
    "pip install .": "tests/system/interop/test_docs.py::test_the_installation",
    "man cryptnoxctl": "tests/system/interop/test_docs.py::test_the_installation",
    "python scripts/_build.py FOLDER": "tests/system/security/test_supply_chain.py::test_two_builds_are_the_same",
    "pip install --require-hashes -r requirements.lock && pip install --no-deps .": (
        "tests/system/security/test_supply_chain.py::test_locked_installation"
    ),
    "python -m tests.ctl.scenes": "tests/ctl/test_screens.py::test_the_screen",
    ".venv/bin/python scripts/messages.py --check": "tests/system/interop/test_docs.py::told",
    ".venv/bin/python scripts/reference.py --check": (
        "tests/ctl/test_pieces.py::test_reference_names_every_command_and_option"
    ),
    "sh scripts/check-dependencies": "tests/system/security/test_supply_chain.py::test_bounds_lock_and_licenses",
    **{
        f"sh scripts/bench {name}".strip(): "tests/system/interop/test_docs.py::test_measurements"
        for name in ("", "card_time", "startup", "psbt_engine")
    },
    "sh scripts/torture": "tests/system/torture/test_kept.py::test_a_short_torture",
    "sh scripts/torture --minutes 10": "tests/system/torture/test_kept.py::test_a_short_torture",
    "python3 scripts/build-electrum-plugin dist": "tests/electrum/test_install.py::test_a_strangers_path",
    "electrum --offline signtransaction": "tests/electrum/test_command_line.py::test_pay_and_sign_a_message",
    "electrum -w cryptnox-electrum payto ADDRESS 0.001 --unsigned > payment.psbt": (
        "tests/system/interop/test_electrum.py::test_single_sig"
    ),
    **{
        command: "tests/system/interop/test_core_page.py::test_the_page_on_a_node"
        for command in other_commands(ROOT / "docs" / "bitcoin-core.md")
        if re.match(
            r"bitcoin-cli -regtest |CRYPTNOX_PIN=000000 bitcoind -regtest |python examples/core_signer", command
        )
    },
    "systemd-creds cat cryptnox-pin": "tests/system/interop/test_core_service.py::test_the_pin_command",
    "cryptnoxctl hwi enable": "tests/plugin/test_embedding.py::test_the_file_of_hwi_enable",
    "python3.11 -m venv ~/specter": "tests/specter/test_specter.py::test_extract_xpubs",
    "~/specter/bin/pip install cryptoadvance.specter==2.1.11 .": "tests/specter/test_specter.py::test_extract_xpubs",
    "SPECTER_CONFIG=hwilib_cryptnox.specter.SpecterConfig ~/specter/bin/python -m cryptoadvance.specter server": (
        "tests/specter/test_specter.py::test_extract_xpubs"
    ),
}

_OF_THESE_TESTS = "it is how these tests are run"
_CORE = "needs Bitcoin Core, and a path of your own; with a node on regtest the same line is run by test_core_page.py"
_SYSTEM = "needs root and a running systemd; test_core_service.py tries the unit, its credential and its PIN command"
_ROOT = "needs root and a package server; `sh scripts/test` installs the same packages"
_ELSEWHERE = "needs another system, and the page says that it was not run there"
_VAULT = "needs root, and BTCPay Vault; tests/system/interop/test_stand_in.py runs what is put there under that name"
_PASSWORDS = "needs somebody else's store of passwords; any command is run as `pass` is on that page"
_TOKEN = "needs a token with a key; tests/ctl/test_pin_auth.py runs the same commands with SoftHSM"
_HARDWARE = "needs a token of this kind, and the page says whether it was run"
NOT_RUN = {
    "cryptnoxctl user-key add --pkcs11 MODULE --token LABEL --object ID": _TOKEN,
    "cryptnoxctl user-key test --pkcs11 MODULE --token LABEL --object ID": _TOKEN,
    "cryptnoxctl pin-auth off --pkcs11 MODULE --token LABEL --object ID": _TOKEN,
    "cryptnoxctl user-key add --pkcs11 softhsm2 --token approve --make": _TOKEN,
    "softhsm2-util --init-token --free --label approve": "asks for PINs; tests/support/softhsm.py runs it with them",
    "cryptnoxctl user-key test": _TOKEN,
    "cryptnoxctl user-key add": _TOKEN,
    "cryptnoxctl user-key add fido": "needs a FIDO key; tests/ctl/test_errors.py stores one",
    "cryptnoxctl user-key delete": "tests/ctl/test_pin_auth.py runs it",
    "cryptnoxctl pin-auth on": "tests/ctl/test_pin_auth.py runs it",
    "cryptnoxctl pinless clear": "tests/ctl/test_pinless.py runs it",
    "cryptnoxctl message sign": "tests/ctl/test_message.py runs it",
    "pip install python-pkcs11": "`sh scripts/test` installs it",
    "pip install '.[pkcs11]'": "`sh scripts/test` installs what it names",
    "ykman piv keys generate --algorithm ECCP256 --pin-policy ONCE --touch-policy ALWAYS 9a touch.pem": _HARDWARE,
    'ykman piv certificates generate --subject "CN=approve" 9a touch.pem': _HARDWARE,
    "cryptnoxctl user-key add --pkcs11 ykcs11 --object 01": _HARDWARE,
    "cryptnoxctl user-key add --pkcs11 opensc --token LABEL --make": _HARDWARE,
    "cryptnoxctl user-key add --pkcs11 tpm2 --token approve --make": _HARDWARE,
    "sudo apt install libtpm2-pkcs11-1 opensc": _ROOT,
    "pkcs11-tool --module /usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1 --slot-index 0 --init-token --label approve": (
        _HARDWARE
    ),
    "pkcs11-tool --module /usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1 --token-label approve --login --login-type so "
    "--init-pin": _HARDWARE,
    "sh scripts/test": _OF_THESE_TESTS,
    "sh scripts/test --quick": _OF_THESE_TESTS,
    "sh scripts/test --all": _OF_THESE_TESTS,
    "CI=1 sh scripts/test --all": _OF_THESE_TESTS,
    "pre-commit install": "needs pre-commit, which nothing else here needs",
    "sh scripts/test tests/psbt": _OF_THESE_TESTS,
    "PYTHON=python3.12 sh scripts/test": _OF_THESE_TESTS,
    "ruff check": "`sh scripts/test` runs it",
    "ruff format --check": "`sh scripts/test` runs it",
    "sudo apt install pcscd": _ROOT,
    "sudo apt install pcscd python3-venv": _ROOT,
    "sudo apt install python3-venv": _ROOT,
    "sudo dnf install pcsc-lite pcsc-lite-ccid && sudo systemctl enable --now pcscd.socket": _ELSEWHERE,
    "sudo pacman -S pcsclite ccid && sudo systemctl enable --now pcscd.socket": _ELSEWHERE,
    "py -m venv $HOME\\cryptnox": _ELSEWHERE,
    "& $HOME\\cryptnox\\Scripts\\pip install .": _ELSEWHERE,
    "& $HOME\\cryptnox\\Scripts\\cryptnoxctl doctor": _ELSEWHERE,
    "brew install gnupg pinentry-mac": _ELSEWHERE,
    "sudo defaults write /Library/Preferences/com.apple.security.smartcard useIFDCCID -bool yes": _ELSEWHERE,
    "pip install '.[pcsc]'": "compiles pyscard; what it is for is tested where pyscard is installed",
    "sh scripts/release --dry-run": "takes many minutes; tests/system/test_release.py tries its parts",
    "sh scripts/build-binary": "takes minutes, and tries what it built",
    'CRYPTNOX_PIN_COMMAND="pass show cryptnox/pin" bitcoind -signer="$HOME/cryptnox/bin/hwi-cryptnox --signer-mode"': (
        _CORE
    ),
    "bitcoind -signer=hwi-cryptnox": _CORE,
    'bitcoind -signer="/path/to/hwi-cryptnox --signer-mode"': _CORE,
    "bitcoin-cli -named createwallet wallet_name=card disable_private_keys=true external_signer=true": _CORE,
    "sudo python3 -m venv /opt/cryptnox && sudo /opt/cryptnox/bin/pip install .": _SYSTEM,
    "sudo groupadd -f smartcard && "
    "sudo useradd --system --home-dir /var/lib/bitcoind --create-home --groups smartcard bitcoin": _SYSTEM,
    "sudo mkdir -p -m 700 /etc/credstore.encrypted": _SYSTEM,
    'systemd-ask-password -n "Cryptnox PIN" | '
    "sudo systemd-creds encrypt --name=cryptnox-pin - /etc/credstore.encrypted/cryptnox-pin": _SYSTEM,
    "sudo -u bitcoin env XDG_STATE_HOME=/var/lib/bitcoind /opt/cryptnox/bin/hwi-cryptnox --stdinpass -t cryptnox "
    "getmasterxpub": _SYSTEM,
    "sudo install -m 644 examples/bitcoind-cryptnox.service /etc/systemd/system/": _SYSTEM,
    "sudo systemctl enable --now bitcoind-cryptnox": _SYSTEM,
    'electrum -w cryptnox-electrum broadcast "$(cat payment-final.hex)"': "needs an Electrum server",
    "sudo mv /usr/local/bin/BTCPayServer.Vault.Binaries/hwi /usr/local/bin/BTCPayServer.Vault.Binaries/hwi.own": _VAULT,
    'sudo ln -s "$(command -v hwi-cryptnox)" /usr/local/bin/BTCPayServer.Vault.Binaries/hwi': _VAULT,
    "pip install bdkpython": "`sh scripts/test` installs it",
    "secret-tool lookup service cryptnox": _PASSWORDS,
    "keyring get cryptnox pin": _PASSWORDS,
    'systemd-ask-password --timeout=50 "Cryptnox PIN"': _PASSWORDS,
}
PHRASES = {
    "-w 33",
    "message verify",
    "restore -w",
    "btc send",
    "chmod go-w",
    "chmod o-w",
    "card_conf pin no",
    "card_conf pin yes",
    "card_conf pinless no",
    "card_conf pinless yes",
    "clear-key off",
    "clear-key on",
    "clear-key show",
    "decrypt --mode data",
    "decrypt --mode symmetric",
    "decrypt --show-key",
    "get_clearpubkey --puk",
    "init -e",
    "pin change",
    "pin-auth on",
    "pinless clear",
    "pinless set",
    "puk change",
    "seed chip",
    "seed dual",
    "seed recover",
    "seed upload",
    "user-key add",
    "user-key delete",
    "user-key list",
    "user-key test",
    "user_key add",
    "user_key delete",
    "user_key list",
    "xpub on",
    "xpub show",
    "cd dist && sha256sum -c SHA256SUMS",
    "backup check",
    "wallet add",
    "address --wallet",
    "pin verify",
    "pin unblock",
    "pin-auth off",
    "wipe --fingerprint",
    "-d cryptnox:SERIAL",
    "kill -9",
    "nothing could be signed: ...",
    "input N:",
    "output N:",
    "libpcsclite-dev python3-dev pkg-config gcc",
    "~/Library/Application Support",
    "~/Library/Application Support/hwi-cryptnox",
    "relay --connect",
    '"C:\\Program Files\\Vault\\vault.exe" read pin',
    READY,
    "[data, sw1, sw2]",
    "card.user_data[0] = data",
}
"""Inline texts of several words that are no commands."""


def test_every_command_is_accounted_for() -> None:
    """A command that stands in a page is run, or it is said why not; no table speaks of a command that is nowhere."""
    found = {command: page.name for page in WRITTEN for command in other_commands(page)}
    known = [*SCENES, *BY_ANOTHER_TEST, *NOT_RUN]
    assert len(known) == len(set(known)), "a command has one place"
    assert found.keys() - set(known) == set(), "run these: SCENES, or a `console` block"
    assert set(known) - found.keys() == set(), "these are in no page any more"
    assert {text for page in WRITTEN for text in unclear(page)} == PHRASES
    for test in BY_ANOTHER_TEST.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(), test


def programs(folder: Path, python: str, hwi: str, ctl: str, **values: object) -> Path:
    """A folder of the project's programs by their names, as somebody at a terminal has them."""
    folder.mkdir()
    stock = f'{python} -c "import sys; from hwilib._cli import main; sys.exit(main())"'
    for name, text, program in (
        ("hwi-cryptnox", hwi, f"{python} -m hwilib_cryptnox.hwi.program"),
        ("hwi", hwi, stock),
        ("cryptnoxctl", ctl, f"{python} -m hwilib_cryptnox.ctl.main"),
        ("python", PLAIN, python),
        ("pass", f"#!/bin/sh\necho {PIN}\n", ""),
    ):
        (folder / name).write_text(text.format(program=program, **values))
        (folder / name).chmod(0o755)
    return folder


def paper(folder: Path) -> None:
    """What lies on the person's desk: transactions to sign, two other cosigners' keys, a PIN."""
    (folder / "examples").mkdir()
    for name in ("examples/payment.psbt", "payment.psbt"):
        shutil.copyfile(ROOT / "examples" / "payment.psbt", folder / name)
    (folder / "pin-typed-by-hand").write_text(f"{PIN}\n")
    for name, words in (("cosigner.txt", OTHER_MNEMONIC), ("cosigner-2.txt", THIRD_MNEMONIC)):
        line = key_line(make_keys(Network.MAIN, mnemonic=words), account_path(ScriptType.P2WSH, Network.MAIN))
        (folder / name).write_text(line)


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


@pytest.fixture
def shell(card: EmulatorProcess, tmp_path: Path) -> dict[str, str]:
    """The environment of a person with one card, a password manager and a PSBT to sign. The emulated card stands for
    one in a reader, which gets the PIN of every source."""
    trust(card.path)
    python = shlex.quote(str(borrowed_environment(tmp_path / "venv")))
    folder = programs(tmp_path / "bin", python, HWI, CTL, pin=PIN, card=card.path)
    paper(tmp_path)
    return {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"),
    }


def wants_stock_hwi(step: Step) -> bool:
    return step.command.startswith(("hwi ", "cryptnoxctl hwi "))


@pytest.mark.xdist_group("docs")
@pytest.mark.parametrize(
    ("page", "stock"),
    [
        pytest.param(page, stock, id=f"{page.stem}-stock" if stock else page.stem)
        for page in WRITTEN
        for stock in sorted({wants_stock_hwi(step) for step in steps(page)})
    ],
)
def test_console_blocks(page: Path, stock: bool, card: EmulatorProcess, shell: dict[str, str], tmp_path: Path) -> None:
    """What wants HWI itself is run by itself: HWI is not everywhere."""
    if stock:
        hwilib()
    address = card.path.removeprefix("tcp:")
    these = [step for step in steps(page) if wants_stock_hwi(step) is stock]
    script = "set -eu\n" + "".join(f"{step.command}\nprintf '\\n@@\\n'\n" for step in these)
    run = subprocess.run(
        ["bash", "-c", script.replace(ADDRESS, address)],
        cwd=tmp_path,
        env=shell,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    with contextlib.suppress(PackageNotFoundError):  # the page has the newest
        run.stdout = run.stdout.replace(f"hwi {version('hwi')}\n", "hwi 3.2.0\n")
    said = run.stdout.replace(address, ADDRESS).split("\n@@\n")[:-1]
    for step, output in zip(these, said, strict=True):
        if step.output:
            pattern = re.escape(step.output.strip()).replace(re.escape("..."), r"[\s\S]*?")
            pattern = pattern.replace(re.escape("hwi 3.2.0"), r"hwi 3\.\d+\.\d+")  # that of the HWI that is installed
            assert re.fullmatch(pattern, output.strip()), (step.command, output)
    # HWI's programs end with status 0 whatever happens: look at what they said. Asking for a PIN is all right.
    for line in run.stdout.splitlines():
        if '"error"' in line:
            assert '"code": -12' in line and "PIN needed" in line, line


@pytest.mark.parametrize("command", SCENES)
def test_at_the_terminal(command: str, tmp_path: Path) -> None:
    """The command as it stands in the pages, typed by a person who answers what is asked."""
    scene = SCENES[command]
    if command.startswith("man ") and not shutil.which("man"):
        pytest.skip("there is no man here")
    if command.startswith("hwi "):
        hwilib()
    folder = programs(tmp_path / "bin", shlex.quote(sys.executable), PLAIN, PLAIN)
    paper(tmp_path)
    for old, new in scene.words:
        assert old in command
        command = command.replace(old, new)
    with EmulatorProcess(*scene.card) as card:
        env = {
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"),
            "TERM": "xterm",
        }
        if scene.before:
            before = {**env, "CRYPTNOX_PIN": PIN}
            subprocess.run(["bash", "-c", scene.before], cwd=tmp_path, env=before, check=True, timeout=TIME_LIMIT)
        child = pexpect.spawn(
            "bash", ["-c", command], cwd=str(tmp_path), env=env, encoding="utf-8", timeout=30, dimensions=(50, 300)
        )
        child.delaybeforesend = None
        try:
            for question, reply in scene.replies:
                child.expect_exact(question.replace("SERIAL", str(card.serial)))
                child.sendline(reply.replace("SERIAL", str(card.serial)))
            if scene.says:
                child.expect_exact(scene.says)
            if scene.until:
                child.sendintr()
            child.expect(pexpect.EOF)
            child.wait()
            assert child.exitstatus == scene.code, child.before
        finally:
            child.close(force=True)


def test_the_demo() -> None:
    """What `sh scripts/demo` starts, with the Python that runs these tests."""
    demo = [sys.executable, str(ROOT / "scripts" / "demo.py")]
    run = subprocess.run(demo, capture_output=True, text=True, timeout=TIME_LIMIT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.endswith("All of it held.\n")


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_measurements() -> None:
    """What `sh scripts/bench` starts. Status 1, a limit missed, may be the load of this machine."""
    run = subprocess.run([sys.executable, "-m", "bench"], cwd=ROOT, capture_output=True, text=True, timeout=1700)
    assert run.returncode in (0, 1) and "Traceback" not in run.stderr, run.stderr
    names = {command.rpartition(" ")[2] for command in BY_ANOTHER_TEST if command.startswith("sh scripts/bench ")}
    assert names == {path.stem for path in (ROOT / "bench").glob("*.py") if not path.stem.startswith("_")}
    for name in names:
        table = run.stdout.partition(f"== {name}\n")[2].partition("\n== ")[0]
        assert len(table.splitlines()) > 2, name
        assert (ROOT / "bench" / "results" / f"{name}.json").stat().st_size > 100


def cloned(folder: Path) -> Path:
    """A copy of the files under version control."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, files.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.mark.heavy
def test_the_installation(tmp_path: Path) -> None:
    """The README's installation (but for apt), in a new home and a copy of the files under version control."""
    commands = list(other_commands(ROOT / "README.md"))
    install, path = "python3 -m venv ~/cryptnox && ~/cryptnox/bin/pip install .", 'PATH="$HOME/cryptnox/bin:$PATH"'
    assert {install, path} <= set(commands)
    clone, home = cloned(tmp_path / "clone"), tmp_path / "home"
    home.mkdir()
    script = "\n".join(
        (
            "set -eu",
            install.replace("python3", shlex.quote(sys.executable), 1),
            path,
            'test "$(command -v cryptnoxctl)" = ~/cryptnox/bin/cryptnoxctl',
            "test -s ~/cryptnox/share/man/man1/cryptnoxctl.1",
            "~/cryptnox/bin/pip install --upgrade .",
            "hwi-cryptnox enumerate",
        )
    )
    env = {**os.environ, "HOME": str(home)}
    run = subprocess.run(["bash", "-c", script], cwd=clone, env=env, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tool", OTHER_WAYS)
def test_other_ways_to_install(tool: str, tmp_path: Path) -> None:
    """With uv and with pipx, in a new home: installed, installed anew, gone again."""
    clone, home, place = cloned(tmp_path / "clone"), tmp_path / "home", tmp_path / "tools"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=TIME_LIMIT)
    got = subprocess.run(
        [str(place / "bin" / "pip"), "install", "-q", tool], capture_output=True, text=True, timeout=300
    )
    if got.returncode:
        reason = f"{tool} cannot be installed: {got.stderr.strip().splitlines()[-1:]}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    install, anew, away = OTHER_WAYS[tool]
    tried = (
        'test "$(command -v cryptnoxctl)" = ~/.local/bin/cryptnoxctl && cryptnoxctl --version && hwi-cryptnox enumerate'
    )
    script = "\n".join(("set -eu", install, tried, anew, tried, away, "test ! -e ~/.local/bin/cryptnoxctl"))
    env = {**os.environ, "HOME": str(home), "PATH": f"{home}/.local/bin:{place}/bin:{os.environ['PATH']}"}
    for name in ("XDG_DATA_HOME", "PYTHONPATH"):
        env.pop(name, None)
    run = subprocess.run(["bash", "-c", script], cwd=clone, env=env, capture_output=True, text=True, timeout=1500)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines().count("[]") == 2


def test_the_reference_names_commands_that_are_there() -> None:
    """Each usage line of the reference is a command's: its help says the same line."""
    pages = sorted((ROOT / "docs").glob("cryptnoxctl-*.md"))
    usages = [
        usage
        for page in pages
        for usage in re.findall(r"^## .+\n\n```text\n(.+)\n```$", page.read_text(), re.MULTILINE)
    ]
    assert len(usages) > 40
    for usage in usages:
        words = usage.removeprefix("cryptnoxctl ").split()
        name = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
        shown = CliRunner().invoke(cli, [*name, "--help"], prog_name="cryptnoxctl", env={"COLUMNS": "200"})
        assert shown.exit_code == 0, usage
        assert f"Usage: cryptnoxctl {' '.join(name)} " in f"{shown.output.splitlines()[0]} ", usage


def test_options_and_variables_are_there() -> None:
    """Every option, environment variable and setting the pages name is one of the programs', and none is left out."""
    sources = [*(ROOT / "hwilib_cryptnox").rglob("*.py"), *(ROOT / "cryptnox_core").rglob("*.py")]
    tools = [*(ROOT / "scripts").iterdir(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "bench").glob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    theirs = {"--disable-ccid", "--unsigned", "--timeout", "--require-hashes", "--no-deps", "--hwibridge", "--check"}
    theirs |= {"--touch-policy"}
    allowed = code + "\n".join(path.read_text() for path in tools if path.is_file())
    for page in WRITTEN:
        text = page.read_text()
        named = {option for part in inline(page) for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", part)}
        missing = {option for option in named - theirs if not re.search(rf"{option}(?![\w-])", allowed)}
        assert missing == set(), page.name
        unknown = {name for name in re.findall(r"\bCRYPTNOX_[A-Z_]*[A-Z]", text) if name not in allowed}
        assert unknown == set(), page.name
    everything = "\n".join(page.read_text() for page in PAGES)
    variables = set(re.findall(r'"(CRYPTNOX_[A-Z_]+)"', code))
    assert {name for name in variables if name not in everything} == set()
    readings = {reading.value for reading in Reading}
    assert readings == set(
        re.findall(r"^\| `([a-z][a-z0-9-]+)` \|", (ROOT / "docs/emulator.md").read_text(), re.MULTILINE)
    ) - {kind.value for kind in FaultKind}
    source = (ROOT / "hwilib_cryptnox" / "storage" / "settings.py").read_text()
    keys = re.findall(r'^        "(\w+)": \(', source, re.MULTILINE)
    assert len(keys) > 5
    assert {key for key in keys if f"\n{key} = " not in everything} == set()


def test_settings_on_the_pages() -> None:
    """The configuration that the pages show is accepted."""
    shown = [text for page in WRITTEN for language, text in blocks(page) if language == "toml"]
    assert shown
    for text in shown:
        from_toml(text, "config.toml")


def test_python_on_the_pages(card: EmulatorProcess) -> None:
    """Each Python block runs; the library's page and those of test_python_pages.py have tests of their own."""
    found = {page.stem: text for page in WRITTEN for language, text in blocks(page) if language == "python"}
    elsewhere = {"library", "sign-from-python", "coming-from-cryptnoxpy", "other-libraries"}
    assert found.keys() == {"hwi"} | elsewhere, "run these"
    hwilib()
    program = found["hwi"].replace("cryptnox:SERIAL", card.path)
    program += "\nprint(client.get_master_fingerprint().hex())\nclient.close()"
    env = {**os.environ, "CRYPTNOX_PIN": PIN}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=env, capture_output=True, text=True, timeout=TIME_LIMIT
    )
    assert run.stdout == "73c5da0a\n", run.stderr


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Every message of the programs, by family; … stands for what differs."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import messages
    finally:
        sys.path.pop(0)
    assert messages.PAGE.read_text() == messages.markdown(), "run scripts/messages.py"
    return {title: {one.text for one in found} for title, found in messages.families().items()}


def literals() -> set[str]:
    """Every text that stands in the wallet side's code: parts of messages, too."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "hwilib_cryptnox").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {node.value for node in nodes if isinstance(node.value, str)}


def first_cells(page: str) -> list[str]:
    """The messages in the first column of a page's tables; several in one cell stand between semicolons."""
    rows = re.findall(r"^\| (.+?) \| ", (ROOT / "docs" / page).read_text(), re.MULTILINE)
    return [text for row in rows if row not in ("message", "reason") for text in row.split("; ")]


def says(fragment: str, text: str) -> bool:
    """Whether a message has a fragment, in which ... stands for anything."""
    return re.search(r".*?".join(map(re.escape, fragment.split("..."))), text, re.IGNORECASE) is not None


def test_every_message_explained_is_there(told: dict[str, set[str]]) -> None:
    """No page speaks of a message that the programs do not say."""
    texts = set().union(*told.values()) | literals()
    for page in ("troubleshooting.md", "psbt-policy.md"):
        cells = first_cells(page)
        assert len(cells) > 20
        assert [cell for cell in cells if not any(says(cell, text) for text in texts)] == [], page


def test_the_policy_is_complete(told: dict[str, set[str]]) -> None:
    """Every reason to refuse a transaction or skip an input has a line."""
    cells = first_cells("psbt-policy.md")
    reasons = told["Transactions that are refused"] | told["Inputs that are skipped"]
    assert len(reasons) > 50
    unexplained = {text for text in reasons if not any(says(cell, text) for cell in cells)}
    assert unexplained == {"nothing could be signed: …"}


def test_every_page_is_in_the_navigation() -> None:
    named = re.findall(r"^[^\n|]* <([\w-]+)>$", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
    pages = [page.stem for pattern in ("*.md", "*.rst") for page in (ROOT / "docs").glob(pattern)]
    assert sorted([*named, "index"]) == sorted(pages)


def test_files_and_names_are_there() -> None:
    """Each file of the project and each name of the library that a page speaks of exists, with those parameters.
    `card` is an object on all pages, and on one of them the vendor's."""
    core = ROOT / "cryptnox_core"
    files = [*core.glob("*.py"), *(core / "crypto").glob("*.py"), *(core / "transport").glob("*.py")]
    modules = {path.stem: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files}
    seen = 0
    for page in WRITTEN:
        for text in inline(page):
            if re.fullmatch(r"(cryptnox_core|hwilib_cryptnox|tests|scripts|docs|examples|bench)/[\w./-]*", text):
                assert (ROOT / text).exists() or text.startswith("bench/results"), (page.name, text)
                seen += 1
            module, _, rest = text.removeprefix("cryptnox_core.").partition(".")
            name, _, given = rest.rstrip(")").partition("(")
            if module == "card" and page.name == "coming-from-cryptnoxpy.md":
                continue
            if module in modules and re.fullmatch(r"[A-Za-z_.]+", name) and not re.search(r"\.(py|json)$", text):
                home: object = importlib.import_module(modules[module])
                if module == "card":
                    home, name = Card, name.partition(".")[0]
                value = operator.attrgetter(name)(home)
                wanted = {part.partition("=")[0].strip() for part in given.split(",") if part}
                assert not given or wanted <= inspect.signature(value).parameters.keys(), (page.name, text)
                seen += 1
    assert seen > 40


def test_rooms_are_there() -> None:
    """Each file that a page names by its room alone (`signer/wallet.py`) is there."""
    packages = [ROOT / "hwilib_cryptnox", ROOT / "cryptnox_core"]
    rooms = "|".join(path.name for package in packages for path in package.iterdir() if path.is_dir())
    named = {text for page in WRITTEN for text in inline(page) if re.fullmatch(rf"({rooms})/[\w./-]*", text)}
    assert {text for text in named if not any((package / text).exists() for package in packages)} == set()
    assert len(named) > 30


def test_links() -> None:
    """Every page and heading that a page points to is there."""
    for page in PAGES:
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), (page.name, target)
            if heading:
                included = re.findall(r"^```\{include\} (\S+)$", there.read_text(), re.MULTILINE)
                text = "\n".join(path.read_text() for path in (there, *(there.parent / name for name in included)))
                titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
                assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
