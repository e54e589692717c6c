"""`doctor --record` and `doctor --analyse`: a first contact in a file, and what it says about the card."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from cryptnox_core.deviations import Deviation, deviations
from cryptnox_core.errors import CryptnoxError, UsageError
from cryptnox_core.recording import record
from hwilib_cryptnox.ctl.app import App
from hwilib_cryptnox.ctl.cards import candidates, open_card, wanted_serial
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, read_input, write_new
from hwilib_cryptnox.ctl.screen import GOOD, WARN, Report, Screen
from hwilib_cryptnox.signer.cards import OpenCard

_IDENTIFIES = (
    "The recording holds command headers, lengths, status words, times, the answer to SELECT and the card's "
    "certificate, and no PIN, no key, nothing that the card keeps for you but the 16 custom bytes, which every SELECT "
    "shows. Serial number and certificate identify it."
)
_MAX_RECORDING = 1 << 20
"""Bytes. One has some ten thousand."""


def record_to(app: App, file: Path, *, yes: bool) -> Report:
    """Run the read-only checklist on the card and write what it answered. Sends no PIN, changes nothing."""
    check_free(file, None)
    if not yes and not app.terminal.available:
        raise CtlError(Exit.USAGE, f"{_IDENTIFIES} Nothing was written", "--yes writes it without asking")
    with _selected(app) as opened:
        serial, way = _serial(opened), app.host.access
        if serial is not None:
            opened.hold()
        if not yes:
            app.terminal.say(_IDENTIFIES)
            app.terminal.confirm(f"Record the card {serial or 'in ' + opened.reader} to {file}?")
        recording = record(opened.card.transport, time.monotonic, opening=way.open_channel)
    write_new(file, (json.dumps(recording, indent=1) + "\n").encode("ascii"))
    return _report({"serial": serial, "file": str(file)}, deviations(recording), f"Written: {file}")


@contextlib.contextmanager
def _selected(app: App) -> Iterator[OpenCard]:
    """The card the options mean. The only place there is, or the one named, is taken as it is: a card whose certificate
    cannot be read is worth a recording."""
    places = candidates(app)
    if len(places) != 1 or wanted_serial(app) is not None:
        with open_card(app, channel=False) as opened:
            yield opened
        return
    opened = app.host.access.connect(places[0], app.settings.wait)
    try:
        yield opened
    finally:
        opened.close()


def _serial(opened: OpenCard) -> str | None:
    """The card's serial number; None where it has no certificate that can be read."""
    try:
        return str(opened.card.read_certificate().serial)
    except CryptnoxError:
        return None


def analysed(app: App, name: str) -> Report:
    """What the recording in a file says about its card."""
    data = read_input(app, name)
    if len(data) > _MAX_RECORDING:
        raise CtlError(Exit.INPUT, f"{name}: this is no recording of a card: it has {len(data)} bytes")
    try:
        found = deviations(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise CtlError(Exit.INPUT, f"{name}: this is no recording of a card") from error
    except UsageError as error:
        raise CtlError(Exit.INPUT, f"{name}: {error}") from error
    return _report({"file": name}, found, "")


def _report(data: dict[str, object], found: list[Deviation], first: str) -> Report:
    data["deviations"] = [{"text": each.text, "reading": each.reading or None} for each in found]

    def show(screen: Screen) -> None:
        if first:
            screen.line(first)
        for each in found:
            screen.line(f"{each.text}{f' (reading {each.reading})' if each.reading else ''}", WARN)
        if found:
            screen.line(f"{len(found)} deviation{'' if len(found) == 1 else 's'} from what is documented of applet 1.6")
        else:
            screen.line("The card answered as documented", GOOD)

    return Report(data, show)
