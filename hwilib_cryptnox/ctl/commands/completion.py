"""`completion`: the script that lets a shell complete commands, options, files and names. On its own because each
command has a file of its name."""

from __future__ import annotations

import click

from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.completion import SHELLS, source
from hwilib_cryptnox.ctl.screen import Report, said

_PROGRAM, _VARIABLE = "cryptnoxctl", "_CRYPTNOXCTL_COMPLETE"


@command("completion")
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(list(SHELLS)))
def completion(app: App, shell: str) -> Report:  # noqa: ARG001 - no card is looked at
    """Print what lets a shell complete commands, options, files, names of registered wallets, and serial numbers.

    bash reads it in ~/.bashrc, zsh in ~/.zshrc (after compinit), fish in ~/.config/fish/config.fish: see the examples.
    """
    script = source(shell, click.get_current_context().find_root().command, _PROGRAM, _VARIABLE)
    return said({"shell": shell, "script": script}, script.rstrip("\n"))
