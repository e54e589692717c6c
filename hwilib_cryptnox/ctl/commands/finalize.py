"""`finalize`: a complete PSBT becomes final, or the raw transaction. Needs no card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from hwilib_cryptnox.console.wording import counted, cut
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.commands.combine import MOST_NOTES
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, force_option, write_new
from hwilib_cryptnox.ctl.psbts import beside, content_of, read_psbt, to_stdout, txid_lines
from hwilib_cryptnox.ctl.screen import Report, said
from hwilib_cryptnox.psbt import Psbt, describe
from hwilib_cryptnox.psbt.combine import finalized
from hwilib_cryptnox.psbt.finalize import NotFinal, extract, final_fields, txid
from hwilib_cryptnox.psbt.message import Message, disguised_message, is_message
from hwilib_cryptnox.signer.bip322 import written
from hwilib_cryptnox.signer.review.shown import bitcoin

_HINT = "cryptnoxctl verify shows who has signed; cryptnoxctl combine joins the files of several signers"


@command("finalize")
@click.argument("file", metavar="FILE")
@click.option("--output", type=NEW_FILE, help="Where to write. [FILE-final.EXT]")
@click.option("--raw", is_flag=True, help="Write the raw transaction in hexadecimal instead of a PSBT.")
@force_option
def finalize(app: App, file: str, output: Path | None, raw: bool, force: bool) -> Report:
    """Finish a PSBT that has all its signatures: FILE (- for stdin, then to stdout). Needs no card.

    Every signature is verified, and every script is run as a node runs it. Incomplete transactions are refused, and so
    are unusual scripts: finish those in the wallet that made them. For a signed message (BIP322), the signature is
    shown.
    """
    target = output or beside(file, "final", ".hex" if raw else None)
    if target is not None:
        check_free(target, force)
    psbt = read_psbt(app, file)
    message = disguised_message(psbt) if is_message(psbt) else None
    if message is not None and raw:
        raise CtlError(Exit.INPUT, "This PSBT signs a message (BIP322). It is not a transaction for the network")
    try:
        result = finalized(psbt)
        transaction = extract(result.psbt)
    except NotFinal as error:
        raise CtlError(Exit.INPUT, f"The transaction is not complete: {error}", _HINT) from error
    signature = None if message is None else _signature(result.psbt, message)
    identity = None if message is not None else txid(result.psbt)
    content = transaction.hex().encode("ascii") + b"\n" if raw else content_of(result.psbt)
    fee = None if message is not None else describe(result.psbt).fee
    data: dict[str, object] = {
        "file": file,
        "output": target and str(target),
        "psbt": result.psbt.to_base64(),
        "transaction": None if message is not None else transaction.hex(),
        "txid": identity,
        "fee": fee,
        "signature": signature,
        "notes": list(result.notes),
    }
    for text in result.notes[:MOST_NOTES]:
        app.note(cut(text))
    if target is None:
        return said(data, lambda _: to_stdout(content))
    write_new(target, content, force=force)
    if signature is not None:
        return said(data, "The message is signed. Signature:", signature, "Written:", str(target))
    told = "unknown, because some amounts are not proved" if fee is None else f"{bitcoin(fee)} BTC"
    count = counted(len(psbt.inputs), "input")
    return said(data, f"{count}, complete; fee: {told}", *txid_lines(identity), "Written:", str(target))


def _signature(psbt: Psbt, message: Message) -> str:
    """BIP322's text of a message that a finalized PSBT signs."""
    unlocking = [final_fields(fields) for fields in psbt.inputs]
    tx = replace(
        psbt.tx,
        script_sigs=tuple(script_sig for script_sig, _ in unlocking),
        witnesses=tuple(witness for _, witness in unlocking),
    )
    return written(tx, message.script, psbt if message.coins else None)[1]
