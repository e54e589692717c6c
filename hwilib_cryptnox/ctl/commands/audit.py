"""`audit`: what the card signed that nobody asked for here."""

from __future__ import annotations

from collections.abc import Sequence

from cryptnox_core.models import HistoryEntry
from cryptnox_core.wire import HISTORY_LENGTH
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.commands.history import compared
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Part, Report, said


@command("audit")
def audit(app: App) -> Report:
    """Compare the card's history with what was signed on this computer, and list what was signed elsewhere.

    The exit code is 1 if the card signed something that this computer did not ask for (on another computer, with
    another program, or for someone else), or if it repeated a nonce, which gives keys away.
    """
    serial, comparison = compared(app, HISTORY_LENGTH)
    strange, withheld, unanswered = comparison.elsewhere, comparison.withheld, comparison.unanswered
    data = {
        "serial": str(serial),
        "signature_counter": comparison.counter,
        "compared": len(comparison.seen),
        "out_of_sight": comparison.out_of_sight,
        "elsewhere": _named(strange),
        "unanswered": _named(unanswered),
        "repeated_nonce": _named(withheld),
        "audit_kept": app.settings.audit,
    }
    looked_at, parts = counted(len(comparison.seen), "signature"), list[Part]()
    if strange:
        rows = [(str(entry.counter), entry.digest.hex()) for entry in strange]
        parts += [
            lambda screen: screen.table(("Number", "Signed hash"), rows, right=(0,)),
            (f"{len(strange)} of the last {looked_at} {_was(strange)} not made here", BAD),
            "If you did not make them with another computer or program, someone knows your PIN. Move the",
            "money to another card and change the PIN.",
        ]
    else:
        parts.append((_all_here(len(comparison.seen)), GOOD))
    if withheld:
        parts += [
            (f"{len(withheld)} of them reused the secret number (nonce) of another signature", BAD),
            "They were discarded. Stop using this card. Restore your recovery words on another card or",
            "wallet, and move the money from there to a new seed.",
        ]
    if unanswered:
        parts.append(f"{len(unanswered)} of them never arrived here, because the card or this program stopped")
    if comparison.out_of_sight:
        parts.append((f"{comparison.out_of_sight} older ones are no longer in the card's memory", WARN))
    if not app.settings.audit:
        parts.append(("Signatures are not recorded: the configuration has `audit = false`", WARN))
    return said(data, *parts, exit_code=Exit.REFUSED if strange or withheld else Exit.DONE)


def _was(entries: Sequence[HistoryEntry]) -> str:
    return "was" if len(entries) == 1 else "were"


def _all_here(count: int) -> str:
    if count == 0:
        return "The card remembers no signature"
    if count == 1:
        return "The last signature was made on this computer"
    return f"All of the last {count} signatures were made on this computer"


def _named(entries: Sequence[HistoryEntry]) -> list[dict[str, object]]:
    return [{"counter": entry.counter, "digest": entry.digest.hex()} for entry in entries]
