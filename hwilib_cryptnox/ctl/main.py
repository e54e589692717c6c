"""cryptnoxctl: finds the command, loads its module alone, and turns its end into an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from hwilib_cryptnox.ctl.app import COMMON_OPTIONS, CtlGroup, run
from hwilib_cryptnox.ctl.help import GROUPS, write_common

_HERE = "hwilib_cryptnox.ctl"
COMPLETE = "_CRYPTNOXCTL_COMPLETE"
"""Variable of the environment by which a shell asks what it may complete."""

COMMANDS = {
    "list": (f"{_HERE}.commands.list:list_cards", "List the readers and the cards in them."),
    "info": (f"{_HERE}.commands.info:info_command", "Show everything one card says about itself."),
    "doctor": (f"{_HERE}.commands.doctor:doctor", "Find out why a card is not found, and what to do."),
    "setup": (f"{_HERE}.commands.setup:setup", "Turn a card into a wallet, step by step."),
    "adopt": (f"{_HERE}.commands.adopt:adopt", "Use a card that already holds a wallet."),
    "backup": (f"{_HERE}.commands.backup:backup", "Check a backup before you put money on the card."),
    "clone": (f"{_HERE}.commands.clone:clone", "Compare a second card that has the same words."),
    "sheet": (f"{_HERE}.commands.sheet:sheet", "Print what belongs with the backup; no secrets."),
    "reset": (f"{_HERE}.commands.reset:reset", "Erase a card."),
    "forget": (f"{_HERE}.commands.forget:forget", "Forget what this computer remembers of a card."),
    "pin": (f"{_HERE}.commands.pin:pin", "Change, verify, or unblock the PIN; show tries left."),
    "puk": (f"{_HERE}.commands.puk:puk", "Change or verify the PUK."),
    "xpub": (f"{_HERE}.commands.xpub:xpub", "Extended public keys: turn export on or off, show one."),
    "clear-key": (f"{_HERE}.commands.clear_key:clear_key", "Reading the public key without a PIN: on, off, show."),
    "cert": (f"{_HERE}.commands.cert:cert", "Show the manufacturer's certificate."),
    "pairing": (f"{_HERE}.commands.pairing:pairing", "The pairing key: change, export, recover."),
    "owner": (f"{_HERE}.commands.owner:owner", "Show the owner's name and e-mail address."),
    "data": (f"{_HERE}.commands.data:data", "Read and write the card's user data and custom bytes."),
    "user-key": (f"{_HERE}.commands.user_key:user_key", "Keys that authenticate instead of the PIN."),
    "pinless": (f"{_HERE}.commands.pinless:pinless", "The path whose key signs without a PIN."),
    "pin-auth": (f"{_HERE}.commands.pin_auth:pin_auth", "Turn PIN authentication on or off."),
    "address": (f"{_HERE}.commands.address:address", "Show addresses, or find one."),
    "taproot": (f"{_HERE}.commands.taproot:taproot", "Whether the card signs for taproot addresses."),
    "descriptors": (f"{_HERE}.commands.descriptors:descriptors", "Show an account's output descriptors."),
    "wallet": (f"{_HERE}.commands.wallet:wallet", "Multi-key wallets: add, list, show, remove."),
    "export": (f"{_HERE}.commands.export:export", "Write files for wallets."),
    "message": (f"{_HERE}.commands.message:message", "Sign and verify messages."),
    "sign": (f"{_HERE}.commands.sign:sign", "Review a transaction and sign it."),
    "verify": (f"{_HERE}.commands.verify:verify", "Show who signed a transaction and what is missing."),
    "combine": (f"{_HERE}.commands.combine:combine", "Join the signatures of several PSBT files."),
    "finalize": (f"{_HERE}.commands.finalize:finalize", "Finish a transaction that has all its signatures."),
    "decrypt": (f"{_HERE}.commands.decrypt:decrypt", "Decrypt what was encrypted for the card."),
    "history": (f"{_HERE}.commands.history:history", "Show the signatures the card remembers."),
    "audit": (f"{_HERE}.commands.audit:audit", "Find signatures that were made elsewhere."),
    "hwi": (f"{_HERE}.commands.hwi:hwi", "Let the hwi program find the card."),
    "relay": (f"{_HERE}.commands.relay:relay", "Share a local reader with a remote host."),
    "emulator": (f"{_HERE}.commands.emulator:emulator", "Run an emulated card."),
    "completion": (f"{_HERE}.commands.completion:completion", "Let the shell complete commands, files, and names."),
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
            raise TypeError(f"{module}:{attribute} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The tables of `--help`, one a group, without importing anything."""
        wide = max(map(len, COMMANDS))
        for title, names in grouped().items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{wide}}", COMMANDS[name][1]) for name in names])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, then the options."""
        self.format_commands(ctx, formatter)
        write_common(ctx, formatter, COMMON_OPTIONS)
        own = [each.get_help_record(ctx) for each in self.get_params(ctx) if each not in COMMON_OPTIONS]
        with formatter.section("Other options"):
            formatter.write_dl([record for record in own if record is not None])

    def names(self, ctx: click.Context) -> list[str]:
        """Also those inside of groups. Imports all of them: somebody typed something else."""
        found = []
        for name in COMMANDS:
            command = self.get_command(ctx, name)
            inner = command.list_commands(ctx) if isinstance(command, click.Group) else []
            found += [name, *(f"{name} {one}" for one in inner)]
        return found


def grouped() -> dict[str, tuple[str, ...]]:
    """`GROUPS`, and what is in none of them."""
    known = {name for names in GROUPS.values() for name in names}
    others = tuple(name for name in COMMANDS if name not in known)
    return {**GROUPS, **({"Others": others} if others else {})}


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hwi-cryptnox")
def cli() -> None:
    """Cryptnox smart cards: set up, look, sign, export, manage, emulate.

    cryptnoxctl COMMAND --help says more about each, with examples.

    Exit codes: 0 done, 1 refused by the card or by you, 2 usage, 3 no card or busy, 4 PIN or PUK, 5 input refused.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    if COMPLETE in os.environ:
        from hwilib_cryptnox.ctl.completion import register

        register()
        with contextlib.redirect_stderr(io.StringIO()):  # who presses Tab is shown no error
            return run(cli)
    return run(cli, None if arguments is None else list(arguments))


if __name__ == "__main__":
    sys.exit(main())
