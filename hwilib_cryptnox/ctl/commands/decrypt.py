"""`decrypt`: what somebody encrypted for the card's decryption key (ECIES on P-256)."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import click

from cryptnox_core.bip32 import Path as KeyPath
from cryptnox_core.card import Card
from cryptnox_core.wire import BLOCK, DECRYPT_PATH, P256_POINT_LENGTH, Curve
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import open_card, unlock
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, read_file, read_input, write_new
from hwilib_cryptnox.ctl.screen import WARN, Report, Screen, said

MOST = 1_120
"""Bytes that the card decrypts at once: 70 blocks, in a command no longer than its longest other one."""


@command("decrypt")
@click.argument("sender", required=False)
@click.argument("file", required=False)
@click.option("--recipient", is_flag=True, help="Show the card's key, which others encrypt for.")
@click.option(
    "--show-key", is_flag=True, help=("Show the IV and AES key for this sender instead of decrypting. They are secret.")
)
@click.option("--output", type=NEW_FILE, help="Write the decrypted text to this new file, which only you can read.")
def decrypt(
    app: App, sender: str | None, file: str | None, recipient: bool, show_key: bool, output: Path | None
) -> Report:
    """Decrypt FILE (- for stdin), which the owner of the key SENDER encrypted for this card. Needs the PIN.

    SENDER is a P-256 public key: 65 bytes in hexadecimal, or a PEM file. IV and AES-128 key are the two halves of the
    SHA-256 of the shared secret (ECDH); the cipher is AES-128-CBC. FILE has 1 to 70 whole blocks of 16 bytes. Padding
    is not removed. --recipient shows the key that senders need.
    """
    if recipient:
        if sender is not None or show_key or output is not None:
            raise CtlError(Exit.USAGE, "--recipient takes no FILE, SENDER, or other option")
        return _recipient(app)
    if sender is None or (file is None) != show_key:
        raise CtlError(Exit.USAGE, "SENDER and FILE are needed, or SENDER and --show-key, or --recipient")
    if show_key and output is not None:
        raise CtlError(Exit.USAGE, "--show-key does not write a file")
    if output is not None:
        check_free(output, None)
    point = _point(sender)
    content = b"" if file is None else read_input(app, file)
    if file is not None and (len(content) % BLOCK or len(content) > MOST):
        raise CtlError(
            Exit.INPUT,
            f"{file}: {len(content):,} bytes; the card decrypts whole blocks of {BLOCK} bytes, at most {MOST:,} bytes",
            "--show-key gives the key, with which any program can decrypt more",
        )
    with open_card(app, seeded=True) as opened:
        pin, serial = unlock(app, opened), str(opened.card.serial)
        if show_key:
            secret = opened.card.decryption_key(point, pin)
        else:
            plain = opened.card.decrypt(point, content, pin)
    if show_key:
        iv, key = secret[:BLOCK].hex(), secret[BLOCK:].hex()
        data = {"serial": serial, "iv": iv, "key": key}
        return said(
            data, ("Anyone who has these can read what this sender encrypted", WARN), f"IV: {iv}", f"Key: {key}"
        )
    report: dict[str, object] = {
        "serial": serial,
        "bytes": len(plain),
        "hex": plain.hex(),
        "file": output and str(output),
    }
    if output is not None:
        write_new(output, plain, private=True)
        return said(report, f"Written, {counted(len(plain), 'byte')}:", str(output))

    def show(screen: Screen) -> None:
        if screen.fancy:
            screen.line(plain.hex())
        else:
            # Piped: the bytes themselves.
            sys.stdout.buffer.write(plain)

    return Report(report, show)


def _recipient(app: App) -> Report:
    """The card's key, which proves itself: the card has to make the same secret with it as this computer."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    with open_card(app, seeded=True) as opened:
        pin, serial = unlock(app, opened), str(opened.card.serial)
        card: Card = opened.card
        key = card.public_key(KeyPath(DECRYPT_PATH), curve=Curve.R1, compressed=False)
        mine = ec.generate_private_key(ec.SECP256R1())
        sent = mine.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key)
        secret = hashlib.sha256(mine.exchange(ec.ECDH(), theirs)).digest()
        if card.decryption_key(sent, pin) != secret:
            raise CtlError(
                Exit.REFUSED,
                "The card decrypts with a different key than the one that was read. Nothing is shown",
                "try again with another reader",
            )
    pem = theirs.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    data = {"serial": serial, "public_key": key.hex(), "pem": pem}
    return said(data, "Encrypt for this key (P-256):", key.hex(), pem.rstrip("\n"))


def _point(text: str) -> bytes:
    """A sender's key: hexadecimal, or a PEM file."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    if len(text) == 2 * P256_POINT_LENGTH and not Path(text).exists():
        try:
            point = bytes.fromhex(text)
            ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        except ValueError as error:
            raise CtlError(Exit.INPUT, "SENDER is not a P-256 key") from error
        return point
    try:
        key = load_pem_public_key(read_file(text))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CtlError(Exit.INPUT, f"{text}: this is not a public key in PEM form") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CtlError(Exit.INPUT, f"{text}: no P-256 key")
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
