"""`message`: sign and verify messages."""

from __future__ import annotations

import click

from cryptnox_core.bip32 import Path
from cryptnox_core.crypto.hashes import hash160
from cryptnox_core.crypto.secp256k1 import decompress
from cryptnox_core.errors import UsageError
from cryptnox_core.wire import MAX_DEPTH
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, wallet
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import decoded, read_input
from hwilib_cryptnox.ctl.options import account_at, chain_option, script_of, script_of_address, text_of
from hwilib_cryptnox.ctl.screen import BAD, GOOD, Report, listed, said
from hwilib_cryptnox.psbt.script import Kind, kind_of
from hwilib_cryptnox.signer.messages import encode_simple, recover_public_key, simple_digest, verify_simple

message = CtlGroup("message", help="Sign and verify messages.")


def _content(app: App, text: str) -> str:
    try:
        # What the shell passed on that is no text stands in it as surrogates.
        given = read_input(app, text, empty=True) if text == "-" else text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates of other origin (Windows)
        given = text.encode("utf-8", "surrogatepass")
    return decoded(given, "the message")


@message.command("sign")
@click.argument("text", metavar="MESSAGE")
@click.option("--path", "path_text", metavar="PATH", help="The key that signs. [address 0 of account 0]")
@click.option("--bip322", "simple", is_flag=True, help="BIP322's simple form, by a P2WPKH address.")
@chain_option
def message_sign(app: App, text: str, path_text: str | None, simple: bool, chain: str) -> Report:
    """Sign MESSAGE (- for stdin) with the key of one address.

    Bitcoin Core's legacy format, by a P2PKH address, which every wallet can verify; --bip322 for a segwit address.
    """
    kind = "p2wpkh" if simple else "p2pkh"
    path = account_at(kind, chain, 0).child(0).child(0) if path_text is None else Path.parse(path_text)
    if not 1 <= path.depth <= MAX_DEPTH:
        raise CtlError(Exit.USAGE, f"{path}: a path of 1 to {MAX_DEPTH} levels is wanted")
    content = _content(app, text)
    with open_card(app) as opened:
        used = wallet(app, opened)
        if simple:
            encoded = content.encode("utf-8")
            public_key, made = used.sign_digest(encoded, path, lambda key: simple_digest(encoded, key))
            signature = encode_simple(public_key, made)
        else:
            signature = used.sign_message(content, path)
            public_key, _ = recover_public_key(content, signature)
    address = text_of(script_of(public_key, kind), chain)
    data = {
        "address": address,
        "path": str(path),
        "signature": signature,
        "format": "bip322-simple" if simple else "legacy",
    }
    return listed(data, [("Address", address), ("Signature", signature)])


@message.command("verify")
@click.argument("address")
@click.argument("signature")
@click.argument("text", metavar="MESSAGE")
@chain_option
def message_verify(app: App, address: str, signature: str, text: str, chain: str) -> Report:
    """Say whether SIGNATURE over MESSAGE (- for stdin) is ADDRESS's. Needs no card.

    Takes the legacy format for addresses of one key, and BIP322's simple form for P2WPKH addresses.
    """
    script, content = script_of_address(address, chain), _content(app, text)
    try:
        good, form = _verify(script, content, signature)
    except UsageError as error:
        raise CtlError(Exit.INPUT, f"The signature cannot be checked: {error}") from error
    data = {"address": address, "valid": good, "format": form}
    if good:
        return said(data, (f"Good: {address} signed this message", GOOD))
    return said(data, (f"Bad: this is no signature of {address} over this message", BAD), exit_code=Exit.INPUT)


_LEGACY_LENGTH = 88
"""Characters of 65 bytes in base64."""


def _verify(script: bytes, content: str, signature: str) -> tuple[bool, str]:
    kind = kind_of(script)
    if kind is Kind.P2WPKH and len(signature) != _LEGACY_LENGTH:
        return verify_simple(script, content.encode("utf-8"), signature), "bip322-simple"
    if kind not in (Kind.P2PKH, Kind.P2WPKH, Kind.P2SH):
        raise UsageError("only addresses of a single key can be checked")
    key, compressed = recover_public_key(content, signature)
    if kind is Kind.P2PKH and not compressed:
        return hash160(decompress(key)) == script[3:23], "legacy"
    name = {Kind.P2PKH: "p2pkh", Kind.P2WPKH: "p2wpkh", Kind.P2SH: "p2sh-p2wpkh"}[kind]
    return script_of(key, name) == script, "legacy"
