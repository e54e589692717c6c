"""`info`: what one card says about itself. No PIN is sent; a key that approves is asked once, for the fingerprint."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from cryptnox_core import errors
from cryptnox_core.models import AppletInfo, CardInfo
from cryptnox_core.wire import COMMON_PAIRING_KEY, UserKeySlot
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import judged, open_card, source_text, unlocker, verdict_text, version_text
from hwilib_cryptnox.ctl.errors import explain
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, STRONG, WARN, Report, Row, listed
from hwilib_cryptnox.errors import WalletError, tries_text
from hwilib_cryptnox.pin.policy import tries_left
from hwilib_cryptnox.signer.cards import OpenCard
from hwilib_cryptnox.signer.signatures.taproot import Taproot, known
from hwilib_cryptnox.signer.wallet import authenticate
from hwilib_cryptnox.storage.state import CardRecord, StateError

_UNPAIRED = "this computer does not have it: cryptnoxctl pairing recover (needs the PUK)"
_OWN = "the card's own, kept on this computer"
_TAPROOT = {
    Taproot.SIGNS: ("signs key paths (BIP86)", GOOD),
    Taproot.ABSENT: ("only script leaves: the applet has no MuSig2", ""),
    Taproot.DIFFERS: ("only script leaves: the applet's MuSig2 is not the one of BIP327", WARN),
    Taproot.UNKNOWN: ("script leaves; for key paths: cryptnoxctl taproot check", FAINT),
}


@command("info")
def info_command(app: App) -> Report:
    """Show everything that one card says about itself without its PIN.

    Where PIN authentication is off and the fingerprint is not known yet, the approving key is asked for one touch.
    """
    with open_card(app, channel=False) as opened:
        return _look(app, opened)


def _look(app: App, opened: OpenCard) -> Report:
    info, certificate = opened.card.info, opened.card.read_certificate()
    serial = certificate.serial
    page: CardInfo | None = None
    tries: int | None = None
    problem, unpaired = "", False
    try:
        record = app.state.record(serial)
    except StateError as error:
        record, problem = CardRecord(), str(error)
    if info.initialized:
        try:
            app.host.access.identify(opened, serial)
            tries = tries_left(opened.card) if info.pin_auth else None
            with contextlib.suppress(errors.NotAllowedError, errors.NotFoundError, errors.PinLockedError):
                page = opened.card.info_page()
            record = _asked(app, opened, record)
        except errors.TransportError:
            raise
        except (errors.CryptnoxError, WalletError) as error:
            problem, unpaired = explain(error).message, isinstance(error, errors.PairingError)
    own = False
    with contextlib.suppress(StateError):  # told above
        own = info.initialized and app.state.pairing_key(serial) is not None
        own = own and not opened.card.opened_by(COMMON_PAIRING_KEY)
    taproot = known(app.state, opened.card)
    genuine = opened.card.genuineness
    fingerprint = None if record.fingerprint is None else record.fingerprint.hex()
    keys = [slot.name for slot in UserKeySlot if info.has_user_key(slot)]
    data: dict[str, object] = {
        "reader": opened.reader,
        "serial": str(serial),
        "type": info.type_name,
        "version": version_text(info),
        "genuine": verdict_text(genuine, opened.reader),
        "issuer": certificate.issuer,
        "initialized": info.initialized,
        "seeded": info.seeded,
        "key_source": None if page is None else source_text(page),
        "name": None if page is None else page.name,
        "email": None if page is None else page.email,
        "signature_counter": None if page is None else page.signature_counter,
        "pin_auth": info.pin_auth,
        "pin_tries_left": tries,
        "xpub_export": info.xpub_export,
        "clear_public_key": info.clear_public_key,
        "pinless_path": info.pinless_path,
        "user_keys": [name.lower() for name in keys],
        "custom_bytes": info.custom.hex(),
        "fingerprint": fingerprint,
        "remembered_refusal": None if record.note is None else record.note.value,
        "own_pairing_key": own,
        "taproot": taproot.value,
        "problem": problem or None,
    }
    rows: list[Row] = [
        ("Reader", opened.reader),
        ("Card", f"Cryptnox {info.type_name}, applet {version_text(info)}"),
        ("Serial number", str(serial), STRONG),
        ("Genuine", *judged(genuine, opened.reader)),
        ("Issued by", certificate.issuer),
        ("Initialized", *_yes(info.initialized, WARN, no="no: cryptnoxctl setup")),
    ]
    if info.initialized:
        seed = (
            ("yes" if page is None else source_text(page), GOOD) if info.seeded else ("none: cryptnoxctl setup", WARN)
        )
        rows.append(("Seed", *seed))
        if page is not None:
            rows.append(("Owner", " ".join(filter(None, (page.name, page.email and f"<{page.email}>"))) or "-"))
            rows.append(("Signatures made", str(page.signature_counter)))
        rows.append(("PIN", *_pin(info, tries, record)))
        if not info.is_nft:
            rows.append(
                ("xpub export", *_yes(info.xpub_export, WARN, "on", "off: cryptnoxctl xpub on (needs the PUK)"))
            )
        if not info.is_nft:
            rows.append(("Taproot", *_TAPROOT[taproot]))
        rows += [
            ("Clear key reading", "on" if info.clear_public_key else "off"),
            ("PIN-less path", *(("SET: signs without a PIN", WARN) if info.pinless_path else ("not set", ""))),
            ("User keys", ", ".join(keys) or ("none" if info.tells_user_keys else "the card does not say")),
            ("Pairing key", *((_UNPAIRED, BAD) if unpaired else (_OWN if own else "default", ""))),
            ("Fingerprint", *((fingerprint, STRONG) if fingerprint else ("not known to this computer yet", FAINT))),
        ]
    if any(info.custom):
        rows.append(("Custom bytes", info.custom.hex()))
    if problem:
        rows.append(("Problem", problem, BAD))
    return listed(data, rows)


def _asked(app: App, opened: OpenCard, record: CardRecord) -> CardRecord:
    """With the fingerprint, where only a touch of the approving key tells it and one is named: once."""
    info = opened.card.info
    if info.pin_auth or not info.seeded or info.is_nft or not app.settings.approve or record.fingerprint is not None:
        return record
    given = unlocker(app)
    try:
        return replace(record, fingerprint=authenticate(opened, given).fingerprint)
    finally:
        if given.approval is not None:
            given.approval.close()


def _yes(value: bool, style: str, yes: str = "yes", no: str = "no") -> tuple[str, str]:
    return (yes, GOOD) if value else (no, style)


def _pin(info: AppletInfo, tries: int | None, record: CardRecord) -> tuple[str, str]:
    if not info.pin_auth:
        return "off; user keys only", WARN
    if tries is None:
        return "-", ""
    note = "; the last PIN this computer sent was refused" if record.note is not None else ""
    if tries == 0:
        return "blocked, or locked until you remove the card and put it back", BAD
    return f"at most {tries_text(tries)} left{note}", WARN if tries < 3 or note else GOOD
