"""`relay`: serve the card in a local reader to another machine."""

from __future__ import annotations

import click

from cryptnox_core.errors import TransportError
from cryptnox_core.transport import Transport
from cryptnox_core.transport.tcp import ApduRelay, is_loopback, listen, parse_address
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import candidates, open_card, wanted_serial
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import Report, write_json
from hwilib_cryptnox.signer.cards import EMULATOR_PREFIX

DEFAULT = "127.0.0.1:9721"
FIRST_LIMIT = 10.0
"""Seconds a wallet that connects has for its first command: whoever says nothing at all keeps nobody else away."""
IDLE = 600.0
"""Seconds of silence, unless --idle says otherwise: as long as somebody may look for a PIN."""


@command("relay")
@click.option(
    "--listen", "where", metavar="HOST:PORT", help=(f"Wait for wallets here; port 0 picks a free one. [{DEFAULT}]")
)
@click.option(
    "--connect", "to", metavar="HOST:PORT", help="Connect to a wallet that listens, as the vendor's tools do."
)
@click.option(
    "--remote", is_flag=True, help=("Listen on an address that other machines can reach. The relay encrypts nothing.")
)
@click.option(
    "--idle",
    type=click.FloatRange(1),
    help=f"Disconnect a wallet after this many seconds of silence. [{IDLE:.0f}; with --connect none]",
)
def relay(app: App, where: str | None, to: str | None, remote: bool, idle: float | None) -> Report:
    """Serve the card in a local reader to a wallet elsewhere, until Ctrl-C.

    A connection powers the card up, and its end powers it down. One wallet at a time: another one is turned away, and
    a silent one is disconnected. stderr says who and why. Anyone who connects can talk to the card; the PIN protects
    it, and the secure channel protects what passes.
    """
    if where is not None and to is not None:
        raise click.UsageError("--listen and --connect cannot be used together")
    readers = candidates(app) if wanted_serial(app) is None else _reader_of_the_card(app)
    if len(readers) != 1:
        raise CtlError(
            Exit.USAGE if readers else Exit.NO_CARD, f"There are {len(readers)} readers", "choose one: --reader"
        )
    try:
        if to is not None:
            _dial(app, to, readers[0], idle)
        else:
            host, port = parse_address(where or DEFAULT)
            if not remote and not is_loopback(host):
                raise CtlError(Exit.USAGE, f"Other machines can reach {host}", "use --remote if you want that")
            with listen(host, port, remote=remote) as listener:
                bound = listener.getsockname()
                _ready(app, f"{bound[0]}:{bound[1]}", readers[0])
                service = ApduRelay(
                    lambda: _open(app, readers[0]),
                    idle=IDLE if idle is None else idle,
                    first=FIRST_LIMIT,
                    tell=app.note,
                )
                service.serve(listener)
    except KeyboardInterrupt:
        pass
    return Report({}, lambda screen: screen.line("The relay has ended"), told=True)


def _reader_of_the_card(app: App) -> list[str]:
    with open_card(app, channel=False) as opened:
        return [opened.reader]


def _dial(app: App, to: str, reader: str, idle: float | None) -> None:
    """Serve the wallet that listens at `to`. A card that cannot be opened ends it with its error."""
    address = parse_address(to)
    failed: list[TransportError] = []

    def open_card() -> Transport:
        try:
            card = _open(app, reader)
        except TransportError as error:
            failed.append(error)
            raise
        _ready(app, None, reader)
        return card

    ApduRelay(open_card, idle=idle, tell=app.note).dial(*address)
    if failed:
        raise failed[0]


def _ready(app: App, listening: str | None, reader: str) -> None:
    """Say that the card is there for wallets; with --json it is all that is said."""
    if app.options.json:
        write_json({"listen": listening, "reader": reader}, indent=None)
    elif listening is not None:
        print(f"ready listen={listening} reader={reader}", flush=True)


def _open(app: App, reader: str) -> Transport:
    if reader.startswith(EMULATOR_PREFIX):
        from cryptnox_core.transport.tcp import RemoteTransport

        return RemoteTransport.connect(*parse_address(reader.removeprefix(EMULATOR_PREFIX)))
    from cryptnox_core.transport.pcsc import PcscTransport

    return PcscTransport.open(reader, app.settings.wait)
