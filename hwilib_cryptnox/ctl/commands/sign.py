"""`sign`: read a transaction, show it, ask once, sign it, write it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cryptnox_core.errors import ProtocolError, TransportError, UsageError
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card
from hwilib_cryptnox.ctl.cards import wallet as wallet_of
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, write_new
from hwilib_cryptnox.ctl.options import chain_is_chosen, chain_option
from hwilib_cryptnox.ctl.psbts import STDIN, content_of, read_psbt, to_stdout, txid_lines
from hwilib_cryptnox.ctl.review import review
from hwilib_cryptnox.ctl.screen import WARN, Report, Screen, said
from hwilib_cryptnox.ctl.wallets import named_wallet
from hwilib_cryptnox.errors import ApproverCanceledError, ApproverError, LeftError
from hwilib_cryptnox.networks import CHAINS, Network
from hwilib_cryptnox.pin.approval import touches
from hwilib_cryptnox.psbt import Plan, Psbt
from hwilib_cryptnox.psbt.finalize import NotFinal, extract, txid
from hwilib_cryptnox.psbt.message import is_message
from hwilib_cryptnox.signer.review.reviewed import Signer, summary_data
from hwilib_cryptnox.signer.signatures.possible import names_keys_of, stays_unchanged
from hwilib_cryptnox.signer.signing import Signing, confirm
from hwilib_cryptnox.signer.wallet import Wallet
from hwilib_cryptnox.storage.state import StateError

if TYPE_CHECKING:
    from rich.progress import Progress


@command("sign")
@click.argument("file", metavar="FILE")
@click.option("--output", type=NEW_FILE, help="Where to write the result. [FILE-signed.EXT]")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@click.option("--finalize", is_flag=True, help="Also write the raw network transaction, in hexadecimal.")
@click.option(
    "--wallet",
    "wallet_text",
    metavar="NAME|DESCRIPTOR|FILE",
    help="Sign only for this wallet. Registered wallets are recognized without it.",
)
@click.option("--yes", is_flag=True, help="Sign without asking. Nobody reviews the transaction then.")
@click.option("--allow-sighash", is_flag=True, help="Allow sighash types that leave parts of the transaction open.")
@click.option("--allow-unproved-amounts", is_flag=True, help="Sign segwit inputs without their previous transactions.")
@chain_option
def sign(
    app: App,
    file: str,
    output: Path | None,
    force: bool,
    finalize: bool,
    wallet_text: str | None,
    yes: bool,
    allow_sighash: bool,
    allow_unproved_amounts: bool,
    chain: str,
) -> Report:
    """Sign the transaction in FILE, a PSBT in binary, base64, or hex (- for stdin, then to stdout).

    Asks for the PIN first, because only the card's keys prove what is change. Then you see what the transaction
    does, with every part of it checked, and it is signed when you say yes. After an error run the same command again:
    no signature is made twice.

    Where PIN authentication is off, the key that `approve` names in config.toml takes the place of the PIN: one touch
    to read the card's keys, and one for each signature after you say yes.
    """
    if not yes and not app.terminal.available:
        raise CtlError(
            Exit.USAGE,
            "There is no terminal to show the transaction on. Nothing was signed",
            "--yes signs without asking (CRYPTNOX_PIN_COMMAND or --stdinpass gives the PIN)",
        )
    psbt = read_psbt(app, file)
    target, raw_target = _targets(file, output, finalize)
    if target is not None and target == raw_target:
        raise CtlError(Exit.USAGE, f"--output: {target} is the name of the raw transaction", "choose another name")
    for path in (target, raw_target):
        if path is not None:
            check_free(path, force)
    settings = replace(
        app.settings,
        allow_sighash=app.settings.allow_sighash or allow_sighash,
        allow_unproved_amounts=app.settings.allow_unproved_amounts or allow_unproved_amounts,
    )
    app.host = app.host.changed(settings)
    named = None if wallet_text is None else named_wallet(app, wallet_text)
    shown = _Shown(app, yes)
    if stays_unchanged(psbt, None, taproot=True):
        if not all(fields.is_final for fields in psbt.inputs):
            raise CtlError(
                Exit.INPUT,
                "The PSBT does not say where any of its keys come from, so no card can find its own",
                "make your wallet include the key origins (BIP32 derivations)",
            )
        return _finish(file, psbt, shown, target, raw_target, force=force)
    lost_text = f"The card was lost. Put it back within {settings.reinsert_wait:.0f} seconds to continue"
    chosen = chain_is_chosen(app)
    with open_card(app) as opened, contextlib.closing(_Progress(app)) as progress:
        wallet = shown.wallet = wallet_of(app, opened)
        signing = Signing(
            wallet,
            psbt,
            network=Network.of_chain(chain),
            chain=CHAINS[chain] if chosen else None,
            progress=progress.tell,
            lost=lambda: app.remark(lost_text, WARN),
            approve=shown.approve,
            ask_fee=not yes,
            descriptor=named,
        )
        try:
            done = signing.run()
            progress.tell(progress.total, progress.total)
            if shown.plan is None:
                _check_ours(psbt, wallet.known_fingerprint())
        except (TransportError, ProtocolError, ApproverError, ApproverCanceledError, KeyboardInterrupt) as error:
            raise _interrupted(error, progress.made) from error
        finally:
            wallet.close()
    # Until the result is where it belongs: a full disk must not cost signatures.
    signing.keep()
    report = _finish(file, done, shown, target, raw_target, force=force)
    return replace(report, delivered=lambda: _forget(app, psbt))


def _check_ours(psbt: Psbt, fingerprint: bytes | None) -> None:
    """Nothing was signed: say so where that is because the transaction is another wallet's."""
    if fingerprint is not None and not names_keys_of(psbt, fingerprint):
        raise CtlError(
            Exit.INPUT,
            f"No input of the PSBT names a key of this card (fingerprint {fingerprint.hex()}). Nothing was signed",
            "cryptnoxctl verify FILE shows whose keys it names: perhaps another card, seed, or passphrase",
        )


def _forget(app: App, psbt: Psbt) -> None:
    with contextlib.suppress(StateError):  # it expires
        app.state.drop_partial(psbt.unsigned_tx())


def _targets(file: str, output: Path | None, finalize: bool) -> tuple[Path | None, Path | None]:
    """Where the signed PSBT and the raw transaction go; None for stdout, or for nowhere."""
    if file == STDIN:
        return output, output.with_name(f"{output.stem}-final.hex") if finalize and output is not None else None
    source = Path(file)
    target = output or source.with_name(f"{source.stem}-signed{source.suffix or '.psbt'}")
    return target, target.with_name(f"{source.stem}-final.hex") if finalize else None


class _Shown:
    """The review, and the person's answer to it."""

    def __init__(self, app: App, yes: bool) -> None:
        self._app, self._yes = app, yes
        self.wallet: Wallet | None = None
        self.plan: Plan | None = None
        self.card: Signer | None = None

    def approve(self, plan: Plan) -> None:
        """Before the first signature: show what is proved, and ask. LeftError for a no."""
        self.plan = plan
        if self.wallet is None:
            raise UsageError("there is no card")
        session = self.wallet.session()
        self.card = Signer(session.card.serial, session.fingerprint, session.opened.simulated)
        if not plan.requests:
            return
        if self._yes:
            if not self._app.options.quiet:
                review(self._app.err, plan, self.card)
            confirm(self.wallet, plan)
            return
        screen = self._app.err if self._app.err.fancy else Screen(self._app.terminal.stream)
        review(screen, plan, self.card)
        self._ask(plan)

    def _ask(self, plan: Plan) -> None:
        """Once: yes, or, where the fee is above a default limit, the fee itself."""
        terminal, signatures = self._app.terminal, counted(len(plan.requests), "signature")
        approval = None if self.wallet is None else self.wallet.approval()
        if approval is not None:
            needed = approval.needed([request.digest for request in plan.requests])
            signatures = f"{signatures}, which takes {touches(needed)} of {approval.name}"
        terminal.fresh()
        if plan.high_fee is None:
            agreed = terminal.agrees(f"Sign {'it' if plan.message is None else 'the message'} with {signatures}?")
        else:
            typed = terminal.ask(f"To sign it anyway with {signatures}, type the fee in satoshi")
            agreed = typed.replace(",", "") == str(plan.summary.fee)
        if not agreed:
            raise LeftError("Canceled. Nothing was signed")


class _Progress:
    """How far the card is; with a bar and the time left where somebody looks."""

    def __init__(self, app: App) -> None:
        self.made = self.total = 0
        self._console = app.err.console if app.err.fancy and not app.options.quiet else None
        self._bar: Progress | None = None

    def tell(self, made: int, total: int) -> None:
        """`made` of `total` signatures are there."""
        self.made, self.total = made, total
        if self._console is None or not total:
            return
        if self._bar is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            counting = TextColumn("The card signs"), BarColumn(), MofNCompleteColumn()
            self._bar = Progress(*counting, TextColumn("time left"), TimeRemainingColumn(), console=self._console)
            self._bar.add_task("sign", total=total, completed=made)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=made)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()


def _interrupted(error: BaseException, made: int) -> CtlError:
    problem = explain(error)
    if not made:
        return CtlError(problem.exit_code, problem.message, problem.hint)
    kept = "run the same command again: they are kept, and the card makes only the missing ones"
    return CtlError(
        problem.exit_code,
        f"{problem.message}; {counted(made, 'signature')} {'was' if made == 1 else 'were'} made",
        kept,
    )


def _finish(
    file: str, done: Psbt, shown: _Shown, target: Path | None, raw_target: Path | None, *, force: bool
) -> Report:
    content = content_of(done)
    transaction, missing = None, ""
    try:
        transaction = extract(done)
    except NotFinal as error:
        missing = str(error)
    if target is not None:
        write_new(target, content, force=force)
    written = raw_target is not None and transaction is not None
    if raw_target is not None and transaction is not None:
        write_new(raw_target, transaction.hex().encode("ascii") + b"\n", force=force)
    identity = None if is_message(done) else txid(done)
    plan, card = shown.plan, shown.card
    made = 0 if plan is None else len(plan.requests)
    data: dict[str, object] = {
        "file": file,
        "output": target and str(target),
        "psbt": done.to_base64(),
        "signatures": made,
        "complete": transaction is not None,
        "missing": missing or None,
        "txid": identity,
        "transaction": transaction.hex() if transaction is not None and written else None,
        "transaction_file": str(raw_target) if written else None,
        "review": None if plan is None or card is None else summary_data(plan, card),
    }
    exit_code = Exit.INPUT if raw_target is not None and not written else Exit.DONE
    if target is None:
        return said(data, lambda _: to_stdout(content), exit_code=exit_code)
    what = "message" if is_message(done) else "transaction"
    lines = [] if made else ["There was nothing left to sign"]
    lines.append(f"{counted(made, 'signature')}; the {what} is {'not complete' if transaction is None else 'complete'}")
    if missing:
        lines.append(f"Missing: {missing}")
    elif what == "message":
        lines.append("Next: cryptnoxctl finalize shows its signature")
    written_lines = [f"Written: {target}"]
    if raw_target is not None:
        written_lines.append(f"Raw transaction: {raw_target}" if written else "No raw transaction was written")
    return said(data, *lines, *txid_lines(identity), *written_lines, exit_code=exit_code)
