"""`taproot`: whether a card signs taproot key paths."""

from __future__ import annotations

from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card, version_text, wallet
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Report, said
from hwilib_cryptnox.signer.signatures.taproot import Taproot
from hwilib_cryptnox.signer.signatures.taproot_check import ask

taproot = CtlGroup("taproot", help="Find out whether a card signs for taproot addresses.")


@taproot.command("check")
def taproot_check(app: App) -> Report:
    """Ask the card whether it signs for taproot addresses (BIP86), and remember the answer for this card.

    A card cannot tweak keys. One whose applet has MuSig2, exactly as BIP327 says, can still sign taproot key paths.
    The card makes four signatures that no transaction can have, with keys that no wallet uses; each is verified. It
    needs the PIN. The exit code is 1 for a card that does not sign them.
    """
    with open_card(app, initialised=True, seeded=True) as opened:
        if not opened.card.info.pin_auth:
            raise CtlError(
                Exit.REFUSED,
                "The card can only be asked with its PIN, and its PIN authentication is off",
                "cryptnoxctl pin-auth on (needs the PUK)",
            )
        used = wallet(app, opened)
        session = used.session()
        serial, version = session.card.serial, version_text(session.card.info)
        found = ask(session, app.settings, app.state)
        used.close()
    data = {"serial": str(serial), "version": version, "taproot": found is Taproot.SIGNS, "found": found.value}
    if found is Taproot.SIGNS:
        return said(
            data,
            (f"Yes: the card {serial} (applet {version}) signs for taproot addresses (BIP86)", GOOD),
            "All four of its signatures verified. Taproot accounts are offered for this card now.",
            ("The vendor describes this, but no such card has been tested yet: try a small amount first", WARN),
        )
    return said(
        data,
        (f"No: {found.words} (the card {serial}, applet {version})", BAD),
        "Taproot accounts are not offered for this card. Nothing else changes.",
        exit_code=Exit.REFUSED,
    )
