"""`hwi`: whether the stock `hwi` program of this Python environment sees the card."""

from __future__ import annotations

from hwilib_cryptnox.console.bundle import bundled
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, said

hwi = CtlGroup(
    "hwi", help="Let the stock hwi program in this Python environment see the card. (hwi-cryptnox always does.)"
)


@hwi.command("enable")
def hwi_enable(app: App) -> Report:  # noqa: ARG001 - every command takes it
    """Load the driver whenever this Python environment loads hwilib."""
    return _switched(on=True)


@hwi.command("disable")
def hwi_disable(app: App) -> Report:  # noqa: ARG001 - every command takes it
    """Make the stock hwi program of this environment forget the card again."""
    return _switched(on=False)


def _check_environment() -> None:
    """The one-file binary belongs to no Python environment."""
    if bundled():
        raise CtlError(
            Exit.REFUSED,
            "this is the one-file binary, and the hwi program cannot load a driver from it",
            "point your wallet at hwi-cryptnox instead of hwi; or install this project with pip next to hwi, and run "
            "its cryptnoxctl hwi enable",
        )


def _switched(*, on: bool) -> Report:
    _check_environment()
    from hwilib_cryptnox.plugin import register

    try:
        path = register.enable() if on else register.disable()
    except OSError as error:
        raise CtlError(
            Exit.REFUSED,
            f"{error.filename}: {error.strerror}",
            "run it as the owner of this Python environment, or use an environment of your own",
        ) from error
    text = f"hwi now finds Cryptnox cards ({path})" if on else "hwi no longer finds Cryptnox cards"
    return said({"enabled": on, "file": str(path)}, text)


@hwi.command("status")
def hwi_status(app: App) -> Report:  # noqa: ARG001 - every command takes it
    """Say whether the stock hwi program finds the card."""
    _check_environment()
    from hwilib_cryptnox.plugin import register

    enabled, path = register.status(), register.autoload_file()
    text = (
        f"hwi finds Cryptnox cards ({path})"
        if enabled
        else ("hwi does not find Cryptnox cards: cryptnoxctl hwi enable")
    )
    return said({"enabled": enabled, "file": str(path)}, text)
