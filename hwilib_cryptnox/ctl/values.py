"""What words on the command line mean, so that a shell can complete them: files, registered wallets, serial numbers of
cards. What cannot be read completes to nothing: who presses Tab must not be shown an error.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hwilib_cryptnox.storage.wallets import StoredWallet


class FileName(click.types.StringParamType):
    """The name of a file, or a `-`; not looked at. Where a descriptor may be given instead, it may have line breaks."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """A usage error for a name with a line break: shown, it would write lines of its own."""
        name = str(super().convert(value, param, ctx))
        if "DESCRIPTOR" not in ((param and param.metavar) or ""):
            refuse_breaks(self, name, param, ctx)
        return name

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """The shell completes files better than we could."""
        return _files(incomplete)


class FilePath(click.Path):
    """As click's, of files whose names have no line breaks."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Also a usage error for a name with a line break."""
        refuse_breaks(self, os.fsdecode(value), param, ctx)
        return super().convert(value, param, ctx)


def refuse_breaks(
    kind: click.Path | click.types.StringParamType, name: str, param: click.Parameter | None, ctx: click.Context | None
) -> None:
    """A usage error for a name that would write lines of its own where it is shown."""
    if "\n" in name or "\r" in name:
        kind.fail("the name of the file has a line break: rename the file", param, ctx)


class WalletName(click.types.StringParamType):
    """A registered wallet; or a file, where that is allowed, too."""

    def __init__(self, *, or_file: bool = False) -> None:
        self._or_file = or_file

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Names that begin so, in whatever case; files where no name does."""
        items = _items((one.name for one in _wallets()), incomplete)
        return items or (_files(incomplete) if self._or_file else [])


class Serial(click.types.StringParamType):
    """The serial number of a card that this computer has seen."""

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Those that begin so."""
        return _items(_serials(), incomplete)


def complete_values(command: click.Command) -> None:
    """Give a command's parameters that are plain strings what they mean, by their names and metavars."""
    for parameter in command.params:
        if parameter.type is not click.STRING:
            continue
        metavar = (parameter.metavar or "").upper().replace("...", "")
        if parameter.name == "wallet_name" or "--wallet" in parameter.opts:
            parameter.type = WalletName(or_file="FILE" in metavar)
        elif isinstance(parameter, click.Argument) and parameter.name == "name" and command.name != "add":
            parameter.type = WalletName()
        elif "FILE" in metavar.split("|") or parameter.name == "file":
            parameter.type = FileName()
        elif "SERIAL" in metavar:
            parameter.type = Serial()


def _files(incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]


def _wallets() -> Iterable[StoredWallet]:
    with contextlib.suppress(Exception):
        from hwilib_cryptnox.signer.host import Host
        from hwilib_cryptnox.storage.wallets import WalletStore

        return WalletStore(Host().state).all()
    return ()


def _serials() -> Iterable[str]:
    with contextlib.suppress(Exception):
        from hwilib_cryptnox.signer.host import Host

        return [str(serial) for serial in Host().state.records()]
    return ()
