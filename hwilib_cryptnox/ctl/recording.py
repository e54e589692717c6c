"""`doctor --record` and `doctor --analyse`: a first contact in a file, and what it says about the card."""

from __future__ import annotations

import json
import time
from pathlib import Path

from cryptnox_core.deviations import Deviation, deviations
from cryptnox_core.errors import UsageError
from cryptnox_core.recording import record
from hwilib_cryptnox.ctl.cards import access, open_card
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, read_input, write_new
from hwilib_cryptnox.ctl.frame import App
from hwilib_cryptnox.ctl.screen import GOOD, WARN, Report, Screen

_IDENTIFIES = (
    "The recording holds command headers, lengths, status words, times, the answer to SELECT and the card's "
    "certificate, and no PIN, no key, nothing that the card keeps for you. Serial number and certificate identify it."
)


def record_to(app: App, file: Path, *, yes: bool) -> Report:
    """Run the read-only checklist on the card and write what it answered. Sends no PIN, changes nothing."""
    check_free(file, force=False)
    if not yes and not app.terminal.available:
        raise CtlError(Exit.USAGE, f"{_IDENTIFIES} Nothing was written", "--yes writes it without asking")
    with open_card(app, channel=False) as found:
        serial, way = str(found.card.serial), access(app)
        if not yes:
            app.terminal.say(_IDENTIFIES)
            app.terminal.confirm(f"Record the card {serial} to {file}?")
        recording = record(found.card.transport, time.monotonic, opening=way.open_channel)
    write_new(file, (json.dumps(recording, indent=1) + "\n").encode("ascii"))
    return _report({"serial": serial, "file": str(file)}, deviations(recording), f"Written: {file}")


def analysed(app: App, name: str) -> Report:
    """What the recording in a file says about its card."""
    try:
        found = deviations(json.loads(read_input(app, name)))
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
