"""cryptnoxctl: finds the command, loads its module alone, and turns its end into an exit code (DESIGN.md 2)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from hwilib_cryptnox.ctl.app import CtlGroup, run

_HERE = "hwilib_cryptnox.ctl"

COMMANDS = {
    "list": (f"{_HERE}.commands.list:list_cards", "Show the readers and the cards in them."),
    "info": (f"{_HERE}.commands.info:info_command", "Show all one card says about itself."),
    "doctor": (f"{_HERE}.commands.doctor:doctor", "Find out why a card is not seen, and what to do."),
    "setup": (f"{_HERE}.commands.setup:setup", "Make a usable wallet of a card, step by step."),
    "adopt": (f"{_HERE}.commands.adopt:adopt", "Use a card that already holds a wallet."),
    "backup": (f"{_HERE}.commands.backup:backup", "Check a backup before money arrives."),
    "clone": (f"{_HERE}.commands.clone:clone", "Compare a second card of the same words."),
    "sheet": (f"{_HERE}.commands.sheet:sheet", "Print what belongs with the backup; no secrets."),
    "reset": (f"{_HERE}.commands.reset:reset", "Erase a card."),
    "forget": (f"{_HERE}.commands.forget:forget", "Clear what this computer remembers of a card."),
    "pin": (f"{_HERE}.commands.pin:pin", "Change, verify or unblock the PIN; tries left."),
    "puk": (f"{_HERE}.commands.puk:puk", "Change or verify the PUK."),
    "xpub": (f"{_HERE}.commands.xpub:xpub", "Extended public keys: export on or off, show one."),
    "pairing": (f"{_HERE}.commands.pairing:pairing", "The pairing key: change, export, recover."),
    "owner": (f"{_HERE}.commands.owner:owner", "Show the owner's name and e-mail address."),
    "data": (f"{_HERE}.commands.data:data", "Read and write the card's user data and custom bytes."),
    "user-key": (f"{_HERE}.commands.user_key:user_key", "Keys that authenticate instead of the PIN."),
    "pinless": (f"{_HERE}.commands.pinless:pinless", "The path whose key signs without PIN."),
    "pin-auth": (f"{_HERE}.commands.pin_auth:pin_auth", "Switch PIN authentication on or off."),
    "address": (f"{_HERE}.commands.address:address", "Show addresses, or find one."),
    "taproot": (f"{_HERE}.commands.taproot:taproot", "Whether the card signs for taproot addresses."),
    "descriptors": (f"{_HERE}.commands.descriptors:descriptors", "Show an account's output descriptors."),
    "wallet": (f"{_HERE}.commands.wallet:wallet", "Wallets of several keys: add, list, show, remove."),
    "export": (f"{_HERE}.commands.export:export", "Write files for wallets."),
    "message": (f"{_HERE}.commands.message:message", "Sign and verify messages."),
    "sign": (f"{_HERE}.commands.sign:sign", "Review a transaction and sign it."),
    "verify": (f"{_HERE}.commands.verify:verify", "Say who signed a transaction and what is missing."),
    "history": (f"{_HERE}.commands.history:history", "Show the signatures the card remembers."),
    "audit": (f"{_HERE}.commands.audit:audit", "Find signatures that were made elsewhere."),
    "hwi": (f"{_HERE}.commands.hwi:hwi", "Let the hwi program see the card."),
    "relay": (f"{_HERE}.commands.relay:relay", "Serve a local reader to a remote host."),
    "emulator": (f"{_HERE}.commands.emulator:emulator", "Run an emulated card."),
}
"""Name of a command: the module that holds it and its attribute there, and its line of help."""


class Root(CtlGroup):
    """All commands: knows every command's name, line of help and place, and imports only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table of `--help`, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hwi-cryptnox")
def cli() -> None:
    """Cryptnox smart cards: set up, look, sign, export, manage, emulate.

    Exit codes: 0 done, 1 refused by the card or by you, 2 usage, 3 no card or busy, 4 PIN or PUK, 5 input refused.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    return run(cli, None if arguments is None else list(arguments))


if __name__ == "__main__":
    sys.exit(main())
