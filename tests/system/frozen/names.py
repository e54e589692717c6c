"""Every internal name that the frozen tables need, and the only place to change when modules move."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from cryptnox_core import errors as core_errors
from cryptnox_core.commands import auth, base, data, keys, musig2, seeds, setup, signing, user_keys
from cryptnox_core.models import AppletInfo
from cryptnox_core.wire import StatusFlag, Sw, UserKeyFlag
from hwilib_cryptnox.ctl.errors import explain
from hwilib_cryptnox.errors import EndedError, RetoldError, TerminalError
from hwilib_cryptnox.hwi.errors import Code, to_hwi_error
from hwilib_cryptnox.pin import policy as unlock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

try:
    from hwilib_cryptnox.plugin.client import as_hwi_error
except ImportError:  # hwilib admits no Python from 3.13 on
    as_hwi_error = None

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("cryptnox_core", "hwilib_cryptnox")
NOT_OUTWARD = ("cryptnox_core.emulator",)
"""What is raised there is the emulated card's business; its command line is cryptnoxctl's."""
NOT_IMPORTABLE = ("hwilib_cryptnox.specter", "hwilib_cryptnox.electrum")
"""They need Specter and Electrum, and tell the errors of others in their own words."""
COMMAND_MODULES: tuple[ModuleType, ...] = (auth, data, keys, musig2, seeds, setup, signing, user_keys)
Command = base.Command
FOREIGN_ERRORS = (click.ClickException, OSError)
"""Classes of others that this project raises for people."""
WITH_REASONS = frozenset({"no_pin"})
"""Functions that make an error of a list of reasons."""

HWILIB_NAMES = {
    Code.CONNECTION: "DeviceConnectionError",
    Code.INVALID_TX: "PSBTSerializationError",
    Code.NO_PASSWORD: "NoPasswordError",
    Code.BAD_ARGUMENT: "BadArgumentError",
    Code.NOT_IMPLEMENTED: "NotImplementedError",
    Code.UNAVAILABLE: "UnavailableActionError",
    Code.ALREADY_INITIALIZED: "DeviceAlreadyInitError",
    Code.NOT_READY: "DeviceNotReadyError",
    Code.FAILURE: "DeviceFailureError",
    Code.CANCELED: "ActionCanceledError",
    Code.BUSY: "DeviceBusyError",
}
"""hwilib's exceptions by code: HWWError where it has none of its own."""

__all__ = [
    "COMMAND_MODULES",
    "NOT_IMPORTABLE",
    "NOT_OUTWARD",
    "PACKAGES",
    "ROOT",
    "WITH_REASONS",
    "Command",
    "FOREIGN_ERRORS",
    "Sw",
    "core_errors",
    "forget_this_process",
    "hwi_answer",
    "infos",
    "no_pin_error",
    "program",
    "told",
]


def program(name: str) -> Callable[..., Any]:
    """The function that a console script calls, as pyproject.toml says."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    module, _, attribute = scripts[name].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found


def hwi_answer(error: BaseException) -> tuple[int, str, str] | None:
    """HWI's code and message, as `hwi-cryptnox` prints them, and the name of hwilib's exception. None for an error that
    only cryptnoxctl tells, and for one that has the code of another."""
    if isinstance(error, TerminalError | RetoldError | click.ClickException):
        return None
    answer = to_hwi_error(error)
    name = HWILIB_NAMES.get(answer.code, "HWWError")
    if as_hwi_error is not None:
        mapped = as_hwi_error(error)
        if (mapped.get_code(), mapped.get_msg(), type(mapped).__name__) != (int(answer.code), answer.message, name):
            raise AssertionError(f"hwilib is told another error than the program tells: {mapped!r}")
    return int(answer.code), answer.message, name


def told(error: BaseException) -> tuple[int | None, str, str]:
    """Exit code, message and hint, as `cryptnoxctl` gives them; None for the exit code of another error."""
    if isinstance(error, click.ClickException):
        return error.exit_code, error.format_message(), ""
    problem = explain(error)
    if isinstance(error, EndedError):
        return None, problem.message, problem.hint
    return (int(problem.exit_code) if isinstance(problem.exit_code, int) else None), problem.message, problem.hint


def infos() -> dict[str, AppletInfo]:
    """What SELECT says of a card in each state that changes what a status word means."""
    ready = StatusFlag.INITIALIZED | StatusFlag.PIN_AUTH
    flags = {"wallet": ready | StatusFlag.SEEDED, "no seed": ready, "factory": StatusFlag(0)}
    return {state: AppletInfo(ord("B"), (1, 6, 2), value, UserKeyFlag(0), bytes(16)) for state, value in flags.items()}


def no_pin_error(reasons: list[str], **named: str) -> BaseException:
    """What is raised where no source has a PIN."""
    from hwilib_cryptnox.storage.settings import Settings
    from hwilib_cryptnox.storage.state import State

    return unlock.Unlocker(Settings(), State()).no_pin(reasons, **named)


def forget_this_process() -> None:
    """As if a new process began: nothing is remembered but what is on disk."""
    unlock._refused.clear()
    unlock._noted.clear()
