"""What all commands share: common options, the lazily loaded groups, one way out."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import IO, TYPE_CHECKING, TypeVar

import click

from hwilib_cryptnox.console.streams import CLOSED_TEXT, Warnings, complete, give_up, undisturbed
from hwilib_cryptnox.console.terminal import Terminal
from hwilib_cryptnox.console.wording import one_line
from hwilib_cryptnox.ctl.errors import CtlError, Exit, Problem, explain
from hwilib_cryptnox.ctl.help import HelpfulCommand, HelpfulContext, meant, write_examples, write_options
from hwilib_cryptnox.ctl.screen import BAD, FAINT, STRONG, WARN, Report, Screen, printable, write_json
from hwilib_cryptnox.ctl.values import FileName, Serial, complete_values

if TYPE_CHECKING:
    from hwilib_cryptnox.signer.host import Host
    from hwilib_cryptnox.storage.settings import Settings
    from hwilib_cryptnox.storage.state import State

T = TypeVar("T")
_MOST_LINE = 4 * 1024
"""Bytes of a line that is a secret."""
_MOST_TEXT = 3_000
"""Characters of an error."""


@dataclass(slots=True)
class Options:
    """The options every command takes, given before or after its name."""

    json: bool = False
    quiet: bool = False
    card: str | None = None
    reader: str | None = None
    stdin_pin: bool = False
    stdin_puk: bool = False
    log_level: str | None = None
    log_file: str | None = None


@dataclass
class App:
    """One run of the program. Made by the root command, handed to every command."""

    options: Options = field(default_factory=Options)
    terminal: Terminal = field(default_factory=Terminal)
    achieved: list[str] = field(default_factory=list)
    """What cannot be taken back and is true now, in whole sentences without a full stop. See `happened`."""
    _lines: list[str] | None = None

    @cached_property
    def host(self) -> Host:
        """This computer; the emulated card is among its cards where CRYPTNOX_EMULATOR or an option names it."""
        from hwilib_cryptnox.signer.host import Host

        return Host(emulators="CRYPTNOX_EMULATOR" in os.environ)

    @property
    def settings(self) -> Settings:
        """Environment, configuration file, and options of the command."""
        return self.host.settings

    @property
    def state(self) -> State:
        """What this computer remembers."""
        return self.host.state

    @cached_property
    def out(self) -> Screen:
        """Results."""
        return Screen(sys.stdout)

    @cached_property
    def err(self) -> Screen:
        """Reviews, progress, remarks, errors."""
        return Screen(sys.stderr)

    def happened(self, fact: str) -> None:
        """Something irreversible is done, on a card or here: `fact` is told first, however the command ends. A report
        says it by itself."""
        self.achieved.append(fact)

    def note(self, text: str, style: str = WARN) -> None:
        """A line on stderr for whoever reads it; nothing with --quiet."""
        if not self.options.quiet:
            with contextlib.suppress(OSError):  # nobody does
                self.err.told(text, style)

    def ask_touch(self, text: str) -> None:
        """What a person is to do at a token, on stderr: also with --quiet, for the command waits for it."""
        with contextlib.suppress(OSError):  # nobody reads it; the token may show it by itself
            self.err.line(text, STRONG)

    def remark(self, text: str, style: str = FAINT) -> None:
        """A line for people; nothing with --quiet, nor where nobody looks."""
        if not self.options.quiet and self.err.fancy:
            self.err.told(text, style)

    def read_secrets(self) -> list[str]:
        """The lines of stdin that are secrets: with --stdinpass the PIN, with --stdinpuk the PUK after it."""
        if self._lines is None:
            if sys.stdin.isatty():
                raise CtlError(
                    Exit.USAGE,
                    "--stdinpass and --stdinpuk read from a pipe, not from a terminal",
                    "leave them out; you will be asked",
                )
            count = self.options.stdin_pin + self.options.stdin_puk
            lines = [sys.stdin.buffer.readline(_MOST_LINE + 1) for _ in range(count)]
            if any(len(line) > _MOST_LINE for line in lines):
                raise CtlError(
                    Exit.SECRET,
                    f"A line of stdin is too long for a PIN or a PUK: it has more than {_MOST_LINE} bytes",
                    "give the PIN as the first line of stdin, and the PUK as the next",
                )
            self._lines = [line.decode("utf-8", "replace").rstrip("\r\n") for line in lines]
        return self._lines

    def secret_line(self, which: str) -> str:
        """The PIN or the PUK from stdin."""
        line = self.read_secrets()[-1 if which == "PUK" else 0]
        if not line:
            raise CtlError(Exit.SECRET, f"stdin ended before the {which}")
        return line

    @property
    def stdin_taken(self) -> bool:
        """Whether secrets come by stdin, before anything else."""
        return self.options.stdin_pin or self.options.stdin_puk


def _common(
    *flags: str,
    help: str,  # noqa: A002 - as click calls it
    metavar: str | None = None,
    type: click.ParamType[object] | None = None,  # noqa: A002
) -> click.Option:
    def keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
        if value and parameter.name is not None:
            setattr(context.ensure_object(App).options, parameter.name, value)

    flag = metavar is None
    return click.Option(flags, expose_value=False, callback=keep, is_flag=flag, metavar=metavar, help=help, type=type)


COMMON_OPTIONS = (
    _common("--json", help="Print one JSON object on stdout."),
    _common("-q", "--quiet", help="Hide remarks and the progress bar."),
    _common("--card", metavar="SERIAL", type=Serial(), help="The card with this serial number, or tcp:HOST:PORT."),
    _common("--reader", metavar="NAME", help="The card in this reader: name, part of it, or number."),
    _common("--stdinpass", "stdin_pin", help="Read the PIN from the first line of stdin."),
    _common("--stdinpuk", "stdin_puk", help="Read the PUK from the next line of stdin."),
    _common(
        "--log-level",
        metavar="LEVEL",
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Log to stderr: debug, info, warning, or error. The log holds no secret.",
    ),
    _common(
        "--log-file", metavar="FILE", type=FileName(), help="Write the log to FILE; at level debug if none is given."
    ),
)
"""The options of every command; each has the name of a field of `Options`."""


class CtlCommand(HelpfulCommand):
    """A command whose function takes the `App` and returns a `Report`, which is printed here."""

    def __init__(self, *args: object, **keywords: object) -> None:
        super().__init__(*args, **keywords)  # type: ignore[arg-type]
        complete_values(self)
        self.params.extend(COMMON_OPTIONS)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own; the common ones are told of once, by the program's help."""
        write_options(self, ctx, formatter, COMMON_OPTIONS)

    def invoke(self, context: click.Context) -> int:
        """Run it, print its report, return the exit code."""
        app = context.ensure_object(App)
        callback = self.callback
        if callback is None:
            raise click.UsageError("this command does nothing", context)
        with context, _logging(app, context):
            report: Report = callback(app, **context.params)
        try:
            if not app.options.json:
                report.show(app.out)
            elif not report.told:
                write_json(report.data)
        except OSError as error:
            # Windows says EINVAL of a pipe that is closed.
            if not isinstance(error, BrokenPipeError) and not (sys.platform == "win32" and error.errno == errno.EINVAL):
                raise
            # The reader of our output left; nothing can be said to anybody, but for what cannot be taken back.
            give_up(sys.stdout)
            for fact in app.achieved:
                app.note(fact)
            return report.exit_code
        if report.delivered is not None:
            report.delivered()
        return report.exit_code


def _logging(app: App, context: click.Context) -> contextlib.AbstractContextManager[None]:
    options = app.options
    if options.log_level is None and options.log_file is None:
        return contextlib.nullcontext()
    from hwilib_cryptnox.ctl.logs import logged

    return logged(options.log_level, options.log_file, " ".join(context.command_path.split()[1:]))


class _HelpInstead(click.UsageError):
    """No command was named: the help, on stderr."""

    def show(self, file: IO[str] | None = None) -> None:
        """The help without the lines around an error."""
        click.echo(self.format_message(), file=file, err=True)


class CtlGroup(click.Group):
    """A group of commands of one file."""

    context_class = HelpfulContext

    command_class = CtlCommand

    def __init__(self, *args: object, **keywords: object) -> None:
        super().__init__(*args, **keywords)  # type: ignore[arg-type]
        self.params.extend(COMMON_OPTIONS)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own, its commands, and where the common ones are told of."""
        self.format_commands(ctx, formatter)
        write_options(self, ctx, formatter, COMMON_OPTIONS)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One example of each command."""
        write_examples(ctx, formatter)

    def names(self, ctx: click.Context) -> list[str]:
        """What can be typed here, for who typed something else."""
        return self.list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no command is answered with what may have been meant."""
        word = args[0]
        if self.get_command(ctx, word) is None and not ctx.resilient_parsing and not word.startswith("-"):
            shown = one_line(printable(word))
            ctx.fail(f"No such command '{shown}'.{meant(word, self.names(ctx))}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Nothing at all is a usage error (click before 8.2 prints the help on stdout and ends with 0)."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            raise _HelpInstead(ctx.get_help(), ctx)
        return super().parse_args(ctx, args)


def run(root: click.Command, arguments: list[str] | None = None) -> int:
    """Run the program: the one place where errors end. Returns the exit code."""
    open_stdout = complete()
    app = App()
    if not open_stdout:
        code = _fail(app, Problem(CLOSED_TEXT, exit_code=Exit.USAGE))
        give_up(sys.stderr)
        return code
    warnings: list[str] = []
    with Warnings(warnings):
        code = _run(root, arguments, app)
    with undisturbed():
        with contextlib.suppress(OSError):
            for text in warnings:
                app.err.told(f"Warning: {text}", WARN)
        give_up(sys.stderr)
    return code


def _run(root: click.Command, arguments: list[str] | None, app: App) -> int:
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C: the terminal's echo comes back, the card is reset and released.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = root.main(args=arguments, prog_name="cryptnoxctl", standalone_mode=False, obj=app)
        return int(result or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        # A mistyped option ends the parsing before --json was seen.
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            app.options.json = True
            return _fail(app, Problem(error.format_message(), exit_code=Exit.USAGE))
        with contextlib.suppress(OSError):
            _show_usage(app, error)
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return _fail(app, explain(KeyboardInterrupt()))
    except Exception as error:  # noqa: BLE001 - the last resort: every error becomes a message and an exit code
        code = _fail(app, explain(error))
        give_up(sys.stdout)
        return code


def _show_usage(app: App, error: click.ClickException) -> None:
    """As click does, in lines that end at blanks."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        app.err.told(context.get_usage().strip())
        if context.command.get_help_option(context) is not None:
            app.err.told(f"Try '{context.command_path} {context.help_option_names[-1]}' for help.")
        app.err.line()
    app.err.told(f"Error: {error.format_message()}")


def _fail(app: App, problem: Problem) -> int:
    """Say what went wrong, after what was done all the same; on stderr also where stdout does not take the JSON."""
    if app.achieved:
        said = problem.message[: len(problem.message) - len(problem.unchanged)]
        problem = replace(problem, message=". ".join([*app.achieved, said]))
    with undisturbed():
        _say(app, problem)
    return problem.exit_code


def _say(app: App, problem: Problem) -> None:
    with contextlib.suppress(OSError):
        if app.options.json:
            write_json({"error": problem.message, "hint": problem.hint, "exit_code": int(problem.exit_code)})
            return
    give_up(sys.stdout)
    with contextlib.suppress(OSError):
        app.err.told("Error: " + one_line(problem.message, _MOST_TEXT), BAD)
        if problem.hint:
            app.err.told(f"What to do: {problem.hint}")


def command(name: str, **settings: object) -> Callable[[Callable[..., Report]], CtlCommand]:
    """Make a command of a function `(app, ...) -> Report`."""
    return click.command(name, cls=CtlCommand, **settings)
