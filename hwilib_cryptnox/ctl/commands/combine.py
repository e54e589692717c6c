"""`combine`: several PSBT files of one transaction become one. Needs no card."""

from __future__ import annotations

from pathlib import Path

import click

from hwilib_cryptnox.console.wording import counted, cut
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, force_option, write_new
from hwilib_cryptnox.ctl.psbts import STDIN, beside, content_of, read_psbts, to_stdout, txid_lines
from hwilib_cryptnox.ctl.screen import GOOD, WARN, Part, Report, said
from hwilib_cryptnox.psbt.combine import MAX_FILES, CombineError
from hwilib_cryptnox.psbt.combine import combine as combined
from hwilib_cryptnox.psbt.finalize import txid
from hwilib_cryptnox.psbt.signers import input_statuses

MOST_NOTES = 5

_LEAVE_OUT = "leave this file out, or ask its signer for it again; nothing was written"


@command("combine")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--output", type=NEW_FILE, help="Where to write. [FILE-combined.EXT, after the first]")
@force_option
def combine(app: App, files: tuple[str, ...], output: Path | None, force: bool) -> Report:
    """Combine the signatures in several PSBT files of one transaction. Needs no card.

    Each FILE is binary, base64, or hex, version 0 or 2; the result has the form of the first one. Every signature is
    verified, and every field is kept. Files of another transaction, and files that contradict each other, are refused.
    If one FILE is -, it is read from stdin; if it is the first one, the result goes to stdout.
    """
    if not 2 <= len(files) <= MAX_FILES:
        raise CtlError(Exit.USAGE, f"give 2 to {MAX_FILES} files, not {len(files)}")
    if files.count(STDIN) > 1:
        raise CtlError(Exit.USAGE, "- (stdin) is given twice")
    target = output or beside(files[0], "combined")
    if target is not None:
        check_free(target, force)
    try:
        result = combined(read_psbts(app, files))
    except CombineError as error:
        raise CtlError(Exit.INPUT, f"{files[error.file]}: {error}", _LEAVE_OUT) from error
    content, statuses = content_of(result.psbt), input_statuses(result.psbt)
    missing = [status for status in statuses if not status.complete]
    identity = txid(result.psbt)
    data: dict[str, object] = {
        "files": list(files),
        "output": target and str(target),
        "psbt": result.psbt.to_base64(),
        "complete": not missing,
        "missing": [{"input": status.index, "reason": status.problem} for status in missing],
        "txid": identity,
        "notes": list(result.notes),
    }
    for text in result.notes[:MOST_NOTES]:
        app.note(cut(text))
    if target is None:
        return said(data, lambda _: to_stdout(content))
    write_new(target, content, force=force)
    parts: list[Part] = [f"{counted(len(files), 'file')} combined"]
    if missing:
        need = "needs" if len(missing) == 1 else "need"
        text = f"Not complete: {len(missing)} of {counted(len(statuses), 'input')} still {need} signatures"
        parts.append((text, WARN))
        parts.append("Next: cryptnoxctl verify shows whose")
    else:
        parts.append(("Complete. Next: cryptnoxctl finalize", GOOD))
    return said(data, *parts, *txid_lines(identity), "Written:", str(target))
