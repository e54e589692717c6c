"""`relay`: serve the card in a local reader to another machine (PROTOCOL.md 7)."""

from __future__ import annotations

import signal

import click

from cryptnox_core.remote import ApduRelay, is_loopback, listen, parse_address
from cryptnox_core.transport import Transport
from hwilib_cryptnox.access import EMULATOR_PREFIX
from hwilib_cryptnox.ctl.cards import candidates
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.frame import App, command
from hwilib_cryptnox.ctl.screen import Report, said

DEFAULT = "127.0.0.1:9721"


@command("relay")
@click.option("--listen", "where", metavar="HOST:PORT", help=f"Wait for wallets here; port 0 picks one. [{DEFAULT}]")
@click.option(
    "--connect", "to", metavar="HOST:PORT", help="Connect to a wallet that listens, as the vendor's tools do."
)
@click.option("--remote", is_flag=True, help="Listen where other machines reach it. Nothing is encrypted by the relay.")
@click.option("--idle", type=click.FloatRange(1), help="Seconds of silence after which a client is sent away.")
def relay(app: App, where: str | None, to: str | None, remote: bool, idle: float | None) -> Report:
    """Serve the card in a local reader to a wallet elsewhere, until Ctrl-C.

    A connection powers the card up, its end powers it down. One wallet at a time. Whoever connects can talk to the
    card; the PIN protects it, and the secure channel what passes.
    """
    if where is not None and to is not None:
        raise click.UsageError("--listen and --connect exclude each other")
    readers = candidates(app)
    if len(readers) != 1:
        raise CtlError(
            Exit.USAGE if readers else Exit.NO_CARD, f"There are {len(readers)} readers", "say which: --reader"
        )
    served = ApduRelay(lambda: _open(app, readers[0]), idle=idle)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if to is not None:
            served.dial(*parse_address(to))
        else:
            host, _, port = (where or DEFAULT).rpartition(":")
            if not host or not port.isdecimal():
                raise click.UsageError(f"--listen: {where!r} is not HOST:PORT")
            if not remote and not is_loopback(host.strip("[]")):
                raise CtlError(Exit.USAGE, f"Other machines can reach {host}", "say --remote if they shall")
            with listen(host.strip("[]"), int(port), remote=remote) as listener:
                bound = listener.getsockname()
                print(f"ready listen={bound[0]}:{bound[1]} reader={readers[0]}", flush=True)
                served.serve(listener)
    except KeyboardInterrupt:
        pass
    return said({"reader": readers[0]}, "The relay has ended")


def _open(app: App, reader: str) -> Transport:
    if reader.startswith(EMULATOR_PREFIX):
        from cryptnox_core.remote import RemoteTransport

        return RemoteTransport.connect(*parse_address(reader.removeprefix(EMULATOR_PREFIX)))
    from cryptnox_core.pcsc import PcscTransport

    return PcscTransport.open(reader, app.settings.wait)
