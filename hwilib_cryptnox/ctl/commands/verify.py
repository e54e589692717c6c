"""`verify`: who has signed a transaction and what is missing. Needs no card."""

from __future__ import annotations

from collections.abc import Sequence

import click

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.console.wording import counted, cut
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.errors import Exit
from hwilib_cryptnox.ctl.options import chain_is_chosen, chain_option
from hwilib_cryptnox.ctl.psbts import read_psbt, txid_lines
from hwilib_cryptnox.ctl.review import MOST_SHOWN
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, WARN, Report, Screen
from hwilib_cryptnox.ctl.wallets import Work, known_wallets, owner_of, quoted
from hwilib_cryptnox.networks import CHAINS
from hwilib_cryptnox.psbt import Psbt, describe
from hwilib_cryptnox.psbt import fields as f
from hwilib_cryptnox.psbt.checks import spent_outputs
from hwilib_cryptnox.psbt.finalize import txid
from hwilib_cryptnox.psbt.message import is_message
from hwilib_cryptnox.psbt.sighash import OPEN_TEXT
from hwilib_cryptnox.psbt.signers import InputStatus, Signer, input_statuses
from hwilib_cryptnox.psbt.summary import chain_of
from hwilib_cryptnox.signer.review.shown import bitcoin, data_hex, data_text, destination, listed, place, total

_MOST_KEYS = 20
"""Keys of an input that are listed."""
_MOST_NAME = 120
"""Characters of a key's origin."""


@command("verify")
@click.argument("file", metavar="FILE")
@chain_option
def verify(app: App, file: str, chain: str) -> Report:
    """Say who has signed the PSBT in FILE (- for stdin) and what is missing. Verifies every signature.

    Inputs and outputs of registered wallets are named, since their scripts can be derived. Only the card proves what is
    change.
    """
    psbt = read_psbt(app, file)
    network = CHAINS[chain] if chain_is_chosen(app) else chain_of(_paths(psbt), None)
    statuses, spends = input_statuses(psbt), spent_outputs(psbt)
    proved = [spend.proved for spend in spends]
    wallets, work = known_wallets(app), Work()
    from_wallets = [
        None if spend.output is None else owner_of(wallets, spend.output[1], fields, work, output=False)
        for spend, fields in zip(spends, psbt.inputs, strict=True)
    ]
    to_wallets = [
        owner_of(wallets, script, fields, work, output=True)
        for (_, script), fields in zip(psbt.tx.outputs, psbt.outputs, strict=True)
    ]
    if work.ended:
        app.note("The PSBT names too many keys: not all inputs and outputs were compared with your registered wallets")
    summary = describe(psbt, network)
    bad = any(map(_is_bad, statuses))
    fee = summary.fee
    complete = all(status.complete for status in statuses)
    identity = None if is_message(psbt) else txid(psbt)
    data = {
        "file": file,
        "version": psbt.version,
        "txid": identity,
        "complete": complete,
        "bad_signatures": bad,
        "fee": fee,
        "inputs": [
            {**_data(status, known), "wallet": name}
            for status, known, name in zip(statuses, proved, from_wallets, strict=True)
        ],
        "outputs": [
            {
                "index": output.index,
                "amount": output.amount,
                "address": output.address(network),
                "kind": output.kind.name.lower(),
                "data": data_hex(output),
                "data_text": data_text(output),
                "wallet": name,
            }
            for output, name in zip(summary.outputs, to_wallets, strict=True)
        ],
    }

    def show(screen: Screen) -> None:
        _show_inputs(screen, statuses, proved, from_wallets)
        shown, rest = listed(summary.outputs, MOST_SHOWN)
        where = place if screen.fancy else destination
        rows = [
            (str(output.index), bitcoin(output.amount), where(output, network), _wallet(to_wallets[output.index], "-"))
            for output in shown
        ]
        if rest:
            rows.append(("-", total(rest), counted(len(rest), "other output"), "-"))
        columns = 4 if any(to_wallets) else 3
        heads = ("#", "BTC", "To", "Wallet")[:columns]
        screen.table(heads, [row[:columns] for row in rows], title="Outputs", right=(0, 1))
        screen.line(
            f"Fee: {bitcoin(fee)} BTC" if fee is not None else ("Fee: unknown, because some amounts are not proved")
        )
        if any(signer.bad for status in statuses for signer in status.signers):
            screen.line("Some signatures do not verify", BAD)
        for text, style in _told(statuses):
            screen.told(text, style)
        if complete:
            screen.told("Complete. Next: cryptnoxctl finalize, or send it with any wallet", GOOD)
        else:
            count = sum(not status.complete for status in statuses)
            verb = "needs" if count == 1 else "need"
            screen.told(f"Not complete: {count} of {counted(len(statuses), 'input')} still {verb} signatures", WARN)
        for part in txid_lines(identity):
            screen.line(str(part))

    return Report(data, show, Exit.INPUT if bad else Exit.DONE)


def _paths(psbt: Psbt) -> list[Path]:
    """Where the keys of the inputs come from, as the PSBT says."""
    values = [value for fields in psbt.inputs for _, value in fields.keyed(f.IN_BIP32_DERIVATION)]
    for fields in psbt.inputs:
        values += [f.split_tap_derivation(value)[1] for _, value in fields.keyed(f.IN_TAP_BIP32_DERIVATION)]
    return [Path.from_bytes(value[4:], "little") for value in values]


def _show_inputs(
    screen: Screen, statuses: Sequence[InputStatus], proved: Sequence[bool], wallets: Sequence[str | None]
) -> None:
    """Those with bad signatures first, then those that want some, where there are more than fit a screen."""
    chosen = list(zip(statuses, proved, strict=True))
    if len(chosen) > MOST_SHOWN:
        chosen.sort(key=lambda item: (not _is_bad(item[0]), item[0].complete))
    rows = [_row(status, known, wallets[status.index]) for status, known in chosen[:MOST_SHOWN]]
    screen.table(("#", "BTC", "Kind", "Signed by", "Missing", "State"), rows, title="Inputs")
    rest = [status for status, _ in chosen[MOST_SHOWN:]]
    if rest:
        complete = sum(status.complete for status in rest)
        screen.told(f"{counted(len(rest), 'other input')}, {complete:,} of them complete")
    if not all(proved):
        screen.told("claimed: no previous transaction proves the amount", WARN)


def _is_bad(status: InputStatus) -> bool:
    return status.bad or any(signer.bad for signer in status.signers)


def _told(statuses: Sequence[InputStatus]) -> list[tuple[str, str]]:
    """What there is to say of final inputs that are not good, and of signatures that leave parts open; the grave first.
    A PSBT may have any number of them."""
    told = [(f"Input {status.index}: {status.problem}", BAD) for status in statuses if status.bad]
    told += [
        (f"Input {status.index}: {status.problem}", WARN)
        for status in statuses
        if status.final and status.problem and not status.bad
    ]
    told += [
        (f"Input {status.index}: {OPEN_TEXT.format(' and '.join(status.open_types))}", WARN)
        for status in statuses
        if status.open_types
    ]
    more = [(f"and {len(told) - MOST_SHOWN:,} more", WARN)] if len(told) > MOST_SHOWN else []
    return told[:MOST_SHOWN] + more


def _name(signer: Signer) -> str:
    return str(signer.origin) if signer.origin is not None else signer.public_key.hex()[:16]


def _missing(status: InputStatus) -> list[Signer]:
    return [] if status.complete else [signer for signer in status.signers if not signer.signed]


def _data(status: InputStatus, proved: bool) -> dict[str, object]:
    return {
        "index": status.index,
        "kind": status.kind,
        "amount": status.amount,
        "amount_proved": proved,
        "final": status.final,
        "complete": status.complete,
        "needed": status.needed,
        "signed": [_signer(signer) for signer in status.signers if signer.signed],
        "missing": [_signer(signer) for signer in _missing(status)],
        "bad": [_signer(signer) for signer in status.signers if signer.bad],
        "problem": status.problem or None,
        "open_types": list(status.open_types),
    }


def _signer(signer: Signer) -> dict[str, object]:
    origin = signer.origin
    return {
        "public_key": signer.public_key.hex(),
        "fingerprint": None if origin is None else origin.fingerprint.hex(),
        "path": None if origin is None else str(origin.path),
    }


def _names(names: list[str]) -> str:
    """One a line; a script may name any number."""
    more = [f"and {len(names) - _MOST_KEYS:,} more"] if len(names) > _MOST_KEYS else []
    return "\n".join(cut(name, _MOST_NAME) for name in names[:_MOST_KEYS] + more)


def _wallet(name: str | None, none: str) -> str:
    return none if name is None else quoted(name)


def _row(status: InputStatus, proved: bool, wallet: str | None) -> list[str | tuple[str, str]]:
    signed = [_name(signer) for signer in status.signers if signer.signed]
    missing = [f"{_name(signer)}{' (BAD signature)' if signer.bad else ''}" for signer in _missing(status)]
    need = f"{len(signed)} of {status.needed}" if status.needed is not None else f"{len(signed)}"
    state = ("final", GOOD) if status.final else ("complete", GOOD) if status.complete else (need, WARN)
    if status.final and status.problem:
        state = ("final, BAD", BAD) if status.bad else ("final, not verified", WARN)
    return [
        str(status.index),
        "-" if status.amount is None else f"{'' if proved else 'said: '}{bitcoin(status.amount)}",
        " ".join(filter(None, (status.kind, _wallet(wallet, "")))),
        ("not listed any more", FAINT) if status.final else _names(signed) or "nobody",
        _names(missing) or "-",
        state,
    ]
