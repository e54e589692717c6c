"""`verify`: who has signed a transaction and what is missing. Needs no card."""

from __future__ import annotations

from codecs import BOM_UTF8

import click

from hwilib_cryptnox.ctl.chains import chain_option
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.files import read_input
from hwilib_cryptnox.ctl.frame import App, command
from hwilib_cryptnox.ctl.review import bitcoin, destination
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, WARN, Report, Screen
from hwilib_cryptnox.psbt import Psbt, describe
from hwilib_cryptnox.psbt.signers import InputStatus, Signer, input_statuses
from hwilib_cryptnox.psbt.summary import CHAINS


@command("verify")
@click.argument("file", metavar="FILE")
@chain_option
def verify(app: App, file: str, chain: str) -> Report:
    """Say who has signed the PSBT in FILE (- for stdin) and what is missing. Signatures are verified."""
    psbt = Psbt.parse(read_input(app, file).removeprefix(BOM_UTF8))
    statuses = input_statuses(psbt)
    summary = describe(psbt, CHAINS[chain])
    bad = any(signer.bad for status in statuses for signer in status.signers)
    fee = summary.fee
    complete = all(status.complete for status in statuses)
    data = {
        "file": file,
        "version": psbt.version,
        "complete": complete,
        "bad_signatures": bad,
        "fee": fee,
        "inputs": [_data(status) for status in statuses],
        "outputs": [
            {"index": output.index, "amount": output.amount, "address": output.address(CHAINS[chain])}
            for output in summary.outputs
        ],
    }

    def show(screen: Screen) -> None:
        screen.table(
            ("#", "BTC", "Kind", "Signed by", "Missing", "State"), [_row(status) for status in statuses], title="Inputs"
        )
        rows = [(str(o.index), bitcoin(o.amount), destination(o, CHAINS[chain])) for o in summary.outputs]
        screen.table(("#", "BTC", "To"), rows, title="Outputs", right=(0, 1))
        screen.line(f"Fee: {bitcoin(fee)} BTC" if fee is not None else "Fee: unknown, some amounts are not proved")
        if bad:
            screen.line("There are signatures that do not verify", BAD)
        if complete:
            screen.line("Complete: cryptnoxctl or any wallet can finalise and send it", GOOD)
        else:
            count = sum(not status.complete for status in statuses)
            screen.line(f"Not complete: {count} of {len(statuses)} inputs want signatures", WARN)

    return Report(data, show, Exit.INPUT if bad else Exit.DONE)


def _name(signer: Signer) -> str:
    return str(signer.origin) if signer.origin is not None else signer.public_key.hex()[:16]


def _missing(status: InputStatus) -> list[Signer]:
    return [] if status.complete else [signer for signer in status.signers if not signer.signed]


def _data(status: InputStatus) -> dict[str, object]:
    return {
        "index": status.index,
        "kind": status.kind,
        "amount": status.amount,
        "final": status.final,
        "complete": status.complete,
        "needed": status.needed,
        "signed": [_signer(signer) for signer in status.signers if signer.signed],
        "missing": [_signer(signer) for signer in _missing(status)],
        "bad": [_signer(signer) for signer in status.signers if signer.bad],
        "problem": status.problem or None,
    }


def _signer(signer: Signer) -> dict[str, object]:
    origin = signer.origin
    return {
        "public_key": signer.public_key.hex(),
        "fingerprint": None if origin is None else origin.fingerprint.hex(),
        "path": None if origin is None else str(origin.path),
    }


def _row(status: InputStatus) -> list[str | tuple[str, str]]:
    signed = [_name(signer) for signer in status.signers if signer.signed]
    missing = [f"{_name(signer)}{' (BAD signature)' if signer.bad else ''}" for signer in _missing(status)]
    need = f"{len(signed)} of {status.needed}" if status.needed is not None else f"{len(signed)}"
    state = ("final", GOOD) if status.final else ("complete", GOOD) if status.complete else (need, WARN)
    return [
        str(status.index),
        "-" if status.amount is None else bitcoin(status.amount),
        status.kind,
        ("not told any more", FAINT) if status.final else "\n".join(signed) or "nobody",
        "\n".join(missing) or "-",
        state,
    ]
