"""HWI's command line, the same with every version of hwilib, and the options of ours."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable
from typing import IO, Any, NoReturn

from hwilib_cryptnox.hwi.errors import Code
from hwilib_cryptnox.networks import ADDRESS_TYPES, CHAIN_CHOICES

PROGRAM = "hwi-cryptnox"
STOOD_IN_FOR = "hwi"
AS_HWI = "--as-hwi"
OUR_OPTIONS = ("--frontend", "--signer-mode", "--rawtr", "--allow-sighash", "--allow-unproved-amounts", AS_HWI)
DESCRIPTION = "HWI's commands for Cryptnox smart cards. Responses are in JSON format."


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults shown, line breaks kept."""


class Parser(argparse.ArgumentParser):
    """Help and errors as HWI gives them: text on stderr, one JSON object on stdout."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("formatter_class", _Formatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def _get_option_tuples(self, option_string: str) -> list[Any]:
        """What an abbreviated option may stand for: HWI's own only (`getkeypool --all` would be ambiguous else)."""
        found: list[Any] = super()._get_option_tuples(option_string)
        return [match for match in found if match[1] not in OUR_OPTIONS]

    def print_usage(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """To stderr. One that takes no more changes nothing (argparse of some Pythons raises)."""
        with contextlib.suppress(OSError):
            super().print_usage(sys.stderr if file is None else file)

    def print_help(self, file: IO[str] | None = None) -> None:  # type: ignore[override]
        """To stderr, with the JSON answer on stdout."""
        with contextlib.suppress(OSError):
            super().print_help(sys.stderr if file is None else file)
        sys.stdout.write(json.dumps({"error": "Help text requested", "code": int(Code.HELP)}) + "\n")

    def error(self, message: str) -> NoReturn:
        """Usage to stderr, JSON to stdout, exit status 2."""
        self.print_usage()
        answer = {"error": f"{self.prog}: error: {_without_values(message)}", "code": int(Code.MISSING_ARGUMENTS)}
        sys.stdout.write(json.dumps(answer) + "\n")
        self.exit(2)


_UNKNOWN_COMMAND = re.compile("'[a-z]{1,20}'", re.ASCII)
_UNKNOWN_OPTION = re.compile("--?[a-z][a-z-]{0,30}", re.ASCII)


def _without_values(message: str) -> str:
    """An error of argparse that repeats nothing of what was typed but what may be a command or the name of an option:
    recovery words, a key, a PIN or a PUK may stand in the wrong place, and wallets keep errors in their logs."""
    for mark in ("invalid choice: ", "invalid int value: ", "ignored explicit argument ", "ambiguous option: "):
        head, found, tail = message.partition(mark)
        if found:
            value, among, choices = tail.rpartition(" could match " if mark[0] == "a" else " (choose from ")
            named = head == "argument command: " and _UNKNOWN_COMMAND.fullmatch(value)
            return head + (mark + value if named else mark.rstrip(": ")) + (among + choices if among else "")
    head, found, tail = message.partition("unrecognized arguments: ")
    options = " ".join(word for word in tail.split() if _UNKNOWN_OPTION.fullmatch(word))
    return head + (found + options if options else found.rstrip(": "))


def called_hwi(name: str) -> bool:
    """Whether a program file has the name of HWI's own program: `hwi`, on Windows `hwi.exe`."""
    return name.lower().removesuffix(".exe") == STOOD_IN_FOR


def make_parser(version: Callable[[], str], program: str = PROGRAM) -> Parser:
    """The parser. `version` is called only for `--version`. `program`: how it calls itself."""
    parser = Parser(prog=program, description=DESCRIPTION)
    add = parser.add_argument
    add("--device-path", "-d", help="The device to connect to: cryptnox:SERIAL, or tcp:HOST:PORT")
    add("--device-type", "-t", help="The type of device: cryptnox. Without --device-path, the first card is used")
    add("--password", "-p", help="The PIN. Other users of this machine may see it: prefer --stdinpass")
    add("--stdinpass", help="Read the PIN from the terminal, or from the first line of stdin", action="store_true")
    add("--chain", help="Select chain to work with", type=str.lower, choices=CHAIN_CHOICES)
    add("--debug", help="Print debug statements", action="store_true")
    add("--fingerprint", "-f", help="The device to connect to, by the fingerprint of its master key (8 hex digits)")
    add(
        "--version",
        action=_Version,
        nargs=0,
        const=version,
        default=argparse.SUPPRESS,
        help="Show the version and exit",
    )
    add("--stdin", help="Enter commands and arguments via stdin", action="store_true")
    add(
        "--interactive",
        "-i",
        help="Dialogs in the terminal; setup and restore need it",
        action="store_true",
    )
    add("--expert", help="More detailed information from some commands", action="store_true")
    add("--emulators", help="Also list and open emulated cards", action="store_true", dest="allow_emulators")
    add(
        "--signer-mode",
        help=("Report errors of getdescriptors and signtx as one line on stderr with exit status 1"),
        action="store_true",
    )
    add("--rawtr", help="Also give descriptors of untweaked taproot outputs", action="store_true")
    if program == STOOD_IN_FOR:  # BTCPay Vault hands on what a web page says: that must not loosen what is signed
        parser.set_defaults(allow_sighash=False, allow_unproved_amounts=False, frontend=False)
    else:
        add("--frontend", help="For programs with windows: signtx shows what it signs and waits", action="store_true")
        add("--allow-sighash", help="Sign with sighash types other than ALL and DEFAULT", action="store_true")
        add(
            "--allow-unproved-amounts",
            help="Sign segwit inputs whose amounts no previous transaction proves",
            action="store_true",
        )
    add(
        AS_HWI,
        help="Take the place of the program hwi, as a file of that name does: --version names only it",
        action="store_true",
    )
    _add_commands(parser)
    return parser


class _Version(argparse.Action):
    """`--version`, with the text made when it is asked for, by `const`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and exit."""
        sys.stdout.write(self.const() + "\n")
        parser.exit()


def _add_commands(parser: Parser) -> None:
    commands = parser.add_subparsers(description="Commands", dest="command", required=True)

    def command(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, description=help_text)

    command("enumerate", "List all cards")

    master = command("getmasterxpub", "Get the extended public key of an account (BIP44, 49, 84, 86)")
    _add_type(master)
    master.add_argument("--account", help="The account number", type=int, default=0)

    sign = command("signtx", "Sign a PSBT")
    sign.add_argument("psbt", help="The Partially Signed Bitcoin Transaction, base64")
    sign.add_argument("--registration", help="What registerdescriptor returned for the wallet that signs")
    command("getxpub", "Get an extended public key").add_argument("path", help="BIP32 path of 3 to 8 levels")

    message = command("signmessage", "Sign a message")
    message.add_argument("message", help="The message")
    message.add_argument("path", help="BIP32 path of the key")

    keypool = command("getkeypool", "Get keys for Bitcoin Core's importdescriptors")
    pool = keypool.add_mutually_exclusive_group()
    pool.add_argument("--keypool", action="store_true", dest="keypool", help="For the keypool", default=True)
    pool.add_argument("--nokeypool", action="store_false", dest="keypool", help="Not for the keypool", default=False)
    keypool.add_argument("--internal", action="store_true", help="Change keys")
    kind = keypool.add_mutually_exclusive_group()
    _add_type(kind)
    kind.add_argument("--all", action="store_true", help="All standard address types", dest="addr_all")
    keypool.add_argument("--account", help="BIP44 account", type=int, default=0)
    keypool.add_argument("--path", help="Derivation path, like m/84h/0h/0h/1/*")
    keypool.add_argument("start", type=int, help="First index")
    keypool.add_argument("end", type=int, help="Last index")

    descriptors = command("getdescriptors", "Get receive and change descriptors for each address type")
    descriptors.add_argument("--account", help="BIP44 account", type=int, default=0)

    display = command("displayaddress", "Not available: the card has no screen")
    what = display.add_mutually_exclusive_group(required=True)
    what.add_argument("--desc", help="Output descriptor")
    what.add_argument("--path", help="BIP32 path")
    what.add_argument("--registration", help="What registerdescriptor returned")
    _add_type(display)
    display.add_argument("--index", help="Index of the address, with --registration", type=int)
    branch = display.add_mutually_exclusive_group()
    branch.add_argument("--multipath-index", help="Branch of the address, with --registration", type=int)
    branch.add_argument("--change", help="The change branch", action="store_const", const=1, dest="multipath_index")

    setup = command("setup", "Set up a new card, in a dialog. Requires interactive mode")
    setup.add_argument("--label", "-l", help="The owner's name on the card", default="")
    setup.add_argument("--backup_passphrase", "-b", help="Not used by the card", default="")
    command("wipe", "Reset to factory state. Asks for the PUK and the serial number in the terminal")
    restore = command("restore", "Set up a new card with recovery words. Requires interactive mode")
    restore.add_argument(
        "--word_count", "-w", help="Number of recovery words; 20 or 33 for SLIP39 shares", type=int, default=24
    )
    restore.add_argument("--label", "-l", help="The owner's name on the card", default="")
    backup = command("backup", "Not available: the card does not give out its seed")
    backup.add_argument("--label", "-l", default="")
    backup.add_argument("--backup_passphrase", "-b", default="")
    command("promptpin", "Not available: the PIN goes with the command")
    command("togglepassphrase", "Not available")
    command("sendpin", "Not available: the PIN goes with the command").add_argument("pin", help="Not used")
    register = command("registerdescriptor", "Register a multi-key wallet, after showing it")
    register.add_argument("name", help="The wallet's name, shown with its transactions")
    register.add_argument("descriptor", help="Its output descriptor, receive and change: /<0;1>/*")
    if sys.platform.startswith("linux"):
        rules = command("installudevrules", "Nothing to install: card readers use the PC/SC service")
        rules.add_argument("--location", default="/etc/udev/rules.d/")


def _add_type(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--addr-type", help="The address type", type=str.lower, choices=tuple(ADDRESS_TYPES), default="wit"
    )
