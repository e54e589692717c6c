"""cryptnoxctl: finds the command, loads its module alone, and turns its end into an exit code (DESIGN.md 2)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from hwilib_cryptnox.ctl.errors import Exit, explain

COMMANDS = {
    "emulator": "hwilib_cryptnox.ctl.emulator:emulator",
}
"""Name of a command: the module that holds it, and its attribute there."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are named, so that each starts with what it needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(import_module(module), attribute)
        return command if isinstance(command, click.Command) else None


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hwi-cryptnox")
def cli() -> None:
    """Cryptnox smart cards: set up, look, sign, export, manage, emulate."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit codes: 0 done, 1 refused, 2 usage, 3 no card or busy, 4 PIN or PUK, 5 input refused."""
    try:
        result = cli.main(args=arguments, prog_name="cryptnoxctl", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return Exit.USAGE
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except click.Abort:
        return Exit.REFUSED
    except Exception as error:  # noqa: BLE001  (the one exit path: whatever ends a command becomes message and code)
        problem = explain(error)
        print(f"Error: {problem.message}", file=sys.stderr)
        if problem.hint:
            print(problem.hint, file=sys.stderr)
        return problem.exit_code
    return result if isinstance(result, int) else Exit.DONE


if __name__ == "__main__":
    sys.exit(main())
