"""`message`: sign and verify messages."""

from __future__ import annotations

import click
from click.core import ParameterSource

from cryptnox_core.bip32 import HARDENED, Path
from cryptnox_core.errors import UsageError
from cryptnox_core.wire import MAX_DEPTH
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, wallet
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import decoded, read_input
from hwilib_cryptnox.ctl.options import (
    account_at,
    chain_of_address,
    chain_of_path,
    chain_option,
    script_of,
    script_of_address,
    text_of,
)
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Part, Report, said
from hwilib_cryptnox.networks import SINGLE_KEY
from hwilib_cryptnox.psbt.judge import Verdict
from hwilib_cryptnox.psbt.script import Kind, kind_of
from hwilib_cryptnox.signer import bip322
from hwilib_cryptnox.signer.bip322 import Verified
from hwilib_cryptnox.signer.messages import is_legacy, recover_public_key, verify_for_script
from hwilib_cryptnox.signer.review.shown import bitcoin, time_lock_text

message = CtlGroup("message", help="Sign and verify messages.")

LEGACY = "legacy"
_SEGWIT, _PLAIN, _TAPROOT = "p2wpkh", "p2pkh", "rawtr"
_PURPOSES = {kind.purpose: name for name, kind in SINGLE_KEY.items()}
_LEGACY_KINDS = (Kind.P2PKH, Kind.P2WPKH, Kind.P2SH)
_STATES = {Verdict.GOOD: "valid", Verdict.BAD: "invalid", Verdict.UNKNOWN: "inconclusive"}


def _content(app: App, text: str) -> str:
    try:
        # What the shell passed on that is no text stands in it as surrogates.
        given = read_input(app, text, empty=True) if text == "-" else text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates of other origin (Windows)
        given = text.encode("utf-8", "surrogatepass")
    return decoded(given, "the message")


@message.command("sign")
@click.argument("text", metavar="MESSAGE")
@click.option("--path", "path_text", metavar="PATH", help="The path of the signing key. [address 0 of account 0]")
@click.option("--bip322", "generic", is_flag=True, help="Use BIP322, which works for any kind of address.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(list(SINGLE_KEY)),
    help="With --bip322: the kind of address. [the one of PATH, else p2wpkh]",
)
@chain_option
def message_sign(app: App, text: str, path_text: str | None, generic: bool, kind: str | None, chain: str) -> Report:
    """Sign MESSAGE (- for stdin) with the key of one address.

    Uses Bitcoin Core's legacy format with a P2PKH address, which every wallet can verify. --bip322 uses the newer
    format, which also works for segwit and taproot addresses; its signatures begin with smp or ful.
    """
    if kind is not None and not generic:
        raise CtlError(Exit.USAGE, "--type needs --bip322: the legacy format only works for P2PKH addresses")
    asked = None if path_text is None else Path.parse(path_text)
    if asked is not None and not 1 <= asked.depth <= MAX_DEPTH:
        raise CtlError(Exit.USAGE, f"{asked}: give a path of 1 to {MAX_DEPTH} levels")
    chosen = (kind or _kind_of(asked)) if generic else _PLAIN
    if asked is not None:
        chain = chain_of_path(app, asked, chain)
    path = account_at(chosen, chain, 0).child(0).child(0) if asked is None else asked
    content = _content(app, text)
    with open_card(app) as opened:
        used = wallet(app, opened)
        if generic:
            encoded = content.encode("utf-8")
            public_key, made = used.sign_digest(
                encoded,
                path,
                lambda key: bip322.digest_of(encoded, script_of(key, chosen), key),
                schnorr=chosen == _TAPROOT,
            )
            form, signature = bip322.encode(encoded, script_of(public_key, chosen), public_key, made)
            name = form.words
        else:
            signature = used.sign_message(content, path)
            public_key, _ = recover_public_key(content, signature)
            name = LEGACY
    address = text_of(script_of(public_key, chosen), chain)
    data = {"address": address, "path": str(path), "signature": signature, "format": name}
    return said(data, "Address:", address, "Signature:", signature)


def _kind_of(path: Path | None) -> str:
    """The kind of address whose keys are at such a path."""
    if path is None or path.steps[0] < HARDENED:
        return _SEGWIT
    return _PURPOSES.get(path.steps[0] - HARDENED, _SEGWIT)


@message.command("verify")
@click.argument("address")
@click.argument("signature")
@click.argument("text", metavar="MESSAGE")
@chain_option
def message_verify(app: App, address: str, signature: str, text: str, chain: str) -> Report:
    """Say whether SIGNATURE is a signature of MESSAGE (- for stdin) by ADDRESS. Needs no card.

    Reads what wallets write: the legacy format for single-key addresses, as Bitcoin Core, Electrum, and Trezor
    (BIP137) write it, and all forms of BIP322 for any address. For a proof of funds, only the blockchain shows whether
    the coins exist and are unspent.
    """
    context = click.get_current_context()
    if context.get_parameter_source("chain") is not ParameterSource.COMMANDLINE:
        chain = chain_of_address(address, chain)
    script, content = script_of_address(address, chain), _content(app, text)
    try:
        name, verified = _verify(script, content, signature.strip())
    except UsageError as error:
        raise CtlError(Exit.INPUT, f"The signature cannot be checked: {error}") from error
    data = {
        "address": address,
        "valid": verified.verdict is Verdict.GOOD,
        "state": _STATES[verified.verdict],
        "reason": verified.reason or None,
        "format": name,
        "lock_time": verified.lock_time,
        "sequence": verified.sequence,
        "coins": [
            {
                "txid": coin.txid,
                "index": coin.index,
                "amount": coin.amount,
                "amount_proved": coin.proved,
                "sequence": coin.sequence,
            }
            for coin in verified.coins
        ],
    }
    exit_code = Exit.DONE if verified.verdict is Verdict.GOOD else Exit.INPUT
    return said(data, *_told(address, verified), exit_code=exit_code)


def _verify(script: bytes, content: str, signature: str) -> tuple[str, Verified]:
    if is_legacy(signature) and kind_of(script) in _LEGACY_KINDS:
        good = verify_for_script(script, content, signature)
        reason = "" if good else "it was made by another key, or for another message"
        return LEGACY, Verified(bip322.Form.SIMPLE, Verdict.GOOD if good else Verdict.BAD, reason)
    verified = bip322.verify(script, content.encode("utf-8"), signature)
    return verified.form.words, verified


def _told(address: str, verified: Verified) -> list[Part]:
    """What is said of a signature; the address on a line of its own."""
    if verified.verdict is Verdict.BAD:
        return [(f"Bad: not a signature for this message ({verified.reason}) by", BAD), address]
    if verified.verdict is Verdict.UNKNOWN:
        return [
            ((f"Not known: whether this is a signature cannot be checked: {verified.reason}. Address:"), WARN),
            address,
        ]
    parts: list[Part] = [("Good: this message was signed by", GOOD), address]
    lock = time_lock_text(verified.lock_time, verified.sequence)
    if lock:
        parts.append((f"The signature has a time lock. It counts {lock}", WARN))
    if verified.coins:
        total = sum(coin.amount for coin in verified.coins)
        parts.append(f"It shows {counted(len(verified.coins), 'coin')} with {bitcoin(total)} BTC in all:")
        for coin in verified.coins:
            said_amount = "" if coin.proved else " (no previous transaction proves the amount)"
            parts += [f"{bitcoin(coin.amount)} BTC{said_amount}, output {coin.index} of", coin.txid]
        parts.append(("Only the blockchain shows whether these coins exist and are unspent", WARN))
    return parts
