"""`hwi`: whether the stock `hwi` program of this Python environment sees the card."""

from __future__ import annotations

from hwilib_cryptnox.ctl.app import App, group
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said

hwi = group("hwi", "Let the stock hwi program of this Python environment see the card. (hwi-cryptnox always does.)")


@hwi.command("enable")
def hwi_enable(app: App) -> Report:  # noqa: ARG001 - every command takes it
    """Load the driver whenever hwilib is loaded in this environment."""
    from hwilib_cryptnox.plugin import register

    try:
        path = register.enable()
    except OSError as error:
        raise _unwritable(error) from error
    return said({"enabled": True, "file": str(path)}, f"hwi sees Cryptnox cards from now on ({path})")


@hwi.command("disable")
def hwi_disable(app: App) -> Report:  # noqa: ARG001 - every command takes it
    """Make the stock hwi program of this environment forget the card again."""
    from hwilib_cryptnox.plugin import register

    try:
        path = register.disable()
    except OSError as error:
        raise _unwritable(error) from error
    return said({"enabled": False, "file": str(path)}, "hwi no longer sees Cryptnox cards")


@hwi.command("status")
def hwi_status(app: App) -> Report:  # noqa: ARG001 - every command takes it
    """Say whether it does."""
    from hwilib_cryptnox.plugin import register

    enabled, path = register.status(), register.autoload_file()
    text = f"hwi sees Cryptnox cards ({path})" if enabled else "hwi does not see Cryptnox cards: cryptnoxctl hwi enable"
    return said({"enabled": enabled, "file": str(path)}, text)


def _unwritable(error: OSError) -> CtlError:
    return CtlError(
        Exit.REFUSED,
        f"{error.filename}: {error.strerror}",
        "as the owner of this Python environment, or in one of your own",
    )
