"""`list` and `info`: what is in the readers, and what one card says about itself. No PIN is sent."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from cryptnox_core.certificate import Genuineness
from cryptnox_core.errors import (
    CryptnoxError,
    NoCardError,
    NotAllowedError,
    NotFoundError,
    PairingError,
    PinLockedError,
    StatusWordError,
    TransportError,
)
from cryptnox_core.models import AppletInfo, CardInfo
from cryptnox_core.wire import KeySource, UserKeySlot
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import candidates, open_card, wanted_serial
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.screen import BAD, FAINT, GOOD, WARN, Report, Screen, listed
from hwilib_cryptnox.errors import WalletError
from hwilib_cryptnox.pin.policy import tries_left
from hwilib_cryptnox.signer.cards import EMULATOR_PREFIX, ForeignCardError, OpenCard
from hwilib_cryptnox.storage.state import CardRecord, StateError

KEY_SOURCES = {
    KeySource.NONE: "none",
    KeySource.SINGLE: "single key",
    KeySource.EXTENDED: "extended key",
    KeySource.LOADED: "loaded seed",
    KeySource.ON_CARD: "made on the card",
    KeySource.DUAL: "made by two cards",
    KeySource.WRAPPED: "loaded wrapped",
}
_JUDGED = {
    Genuineness.GENUINE: ("genuine", GOOD),
    Genuineness.NOT_GENUINE: ("NOT genuine", BAD),
    Genuineness.UNKNOWN: ("cannot tell", WARN),
}
EMULATED = "emulated"
_EMPTY, _OTHER = "empty", "another card"


@dataclass(frozen=True, slots=True)
class Seen:
    """One reader and what is in it."""

    reader: str
    state: str
    serial: int | None = None
    info: AppletInfo | None = None
    genuine: Genuineness | None = None

    @property
    def unread(self) -> bool:
        """Whether there may be a card of ours that could not be asked which it is."""
        return self.serial is None and self.state not in (_EMPTY, _OTHER)

    def data(self) -> dict[str, object]:
        """As in `list --json`."""
        return {
            "reader": self.reader,
            "state": self.state,
            "serial": None if self.serial is None else str(self.serial),
            "type": None if self.info is None else self.info.type_name,
            "version": None if self.info is None else version_text(self.info),
            "genuine": None if self.genuine is None else verdict_text(self.genuine, self.reader),
        }


def version_text(info: AppletInfo) -> str:
    """The applet's version, dotted."""
    return ".".join(map(str, info.version))


def verdict_text(genuine: Genuineness, reader: str) -> str:
    """The verdict as in JSON. A card over TCP is never genuine: anybody can sign for one."""
    emulated = genuine is Genuineness.GENUINE and reader.startswith(EMULATOR_PREFIX)
    return EMULATED if emulated else genuine.value


def judged(genuine: Genuineness, reader: str) -> tuple[str, str]:
    """The verdict in words, and its style."""
    text = verdict_text(genuine, reader)
    return (text, WARN) if text == EMULATED else _JUDGED[genuine]


def card_state(info: AppletInfo) -> str:
    """How far a card is set up, in one word or two."""
    if not info.initialized:
        return "not initialised"
    return "ready" if info.seeded else "no seed"


@command("list")
def list_cards(app: App) -> Report:
    """Show the readers and the cards in them, one line each. Sends no PIN."""
    if app.options.card is None and app.options.reader is None:
        seen = [see(app, name) for name in app.host.access.readers()]
    else:
        seen = _named(app)

    def show(screen: Screen) -> None:
        if not seen:
            screen.line("No card reader was found. cryptnoxctl doctor says what is missing.")
            return
        screen.table(
            ("Reader", "Card", "Type", "Version", "State", "Genuine"),
            [
                (
                    entry.reader,
                    "-" if entry.serial is None else str(entry.serial),
                    "-" if entry.info is None else entry.info.type_name,
                    "-" if entry.info is None else version_text(entry.info),
                    entry.state,
                    "-" if entry.genuine is None else judged(entry.genuine, entry.reader),
                )
                for entry in seen
            ],
        )

    return Report({"readers": [entry.data() for entry in seen]}, show)


def _named(app: App) -> list[Seen]:
    """What --card and --reader name; CtlError NO_CARD where it is not there. A reader may be empty."""
    serial = wanted_serial(app)
    seen = [see(app, name) for name in candidates(app)]
    hint = "cryptnoxctl list alone shows what is there"
    if serial is not None:
        mine = [entry for entry in seen if entry.serial == serial]
        if not mine:
            unread = [f"{entry.reader}: {entry.state}" for entry in seen if entry.unread]
            raise CtlError(Exit.NO_CARD, "; ".join([f"The card {serial} is in no reader", *unread]), hint)
        return mine
    for entry in seen:
        if entry.reader.startswith(EMULATOR_PREFIX) and entry.info is None:
            raise CtlError(Exit.NO_CARD, f"{entry.reader}: {entry.state}", hint)
    return seen


def see(app: App, reader: str) -> Seen:
    """What is in a reader."""
    try:
        opened = app.host.access.connect(reader, app.settings.enumerate_wait)
    except NoCardError:
        return Seen(reader, _EMPTY)
    except ForeignCardError:
        return Seen(reader, _OTHER)
    except TransportError as error:
        return Seen(reader, _short(error))
    try:
        certificate = opened.card.read_certificate()
        return Seen(reader, card_state(opened.card.info), certificate.serial, opened.card.info, opened.card.genuineness)
    except CryptnoxError as error:
        return Seen(reader, _short(error), info=opened.card.info)
    finally:
        opened.close()


def _short(error: CryptnoxError) -> str:
    if isinstance(error, PinLockedError):
        return "locked: take it out and put it back"
    return explain(error).message


@command("info")
def info_command(app: App) -> Report:
    """Show all that one card says about itself without its PIN."""
    with open_card(app, channel=False) as opened:
        facts = _facts(app, opened)
    record = facts.record
    data: dict[str, object] = {
        "reader": opened.reader,
        "serial": str(facts.serial),
        "type": facts.info.type_name,
        "version": version_text(facts.info),
        "genuine": verdict_text(facts.genuine, facts.reader),
        "issuer": facts.issuer,
        "initialised": facts.info.initialized,
        "seeded": facts.info.seeded,
        "key_source": None if facts.page is None else source_text(facts.page),
        "name": None if facts.page is None else facts.page.name,
        "email": None if facts.page is None else facts.page.email,
        "signature_counter": None if facts.page is None else facts.page.signature_counter,
        "pin_auth": facts.info.pin_auth,
        "pin_tries_left": facts.tries,
        "xpub_export": facts.info.xpub_export,
        "clear_public_key": facts.info.clear_public_key,
        "pinless_path": facts.info.pinless_path,
        "user_keys": [slot.name.lower() for slot in UserKeySlot if facts.info.has_user_key(slot)],
        "custom_bytes": facts.info.custom.hex(),
        "fingerprint": None if record.fingerprint is None else record.fingerprint.hex(),
        "remembered_refusal": None if record.note is None else record.note.value,
        "own_pairing_key": facts.own_pairing_key,
        "problem": facts.problem or None,
    }
    return listed(data, _rows(facts))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What `info` learned."""

    reader: str
    serial: int
    info: AppletInfo
    genuine: Genuineness
    issuer: str
    record: CardRecord
    page: CardInfo | None
    tries: int | None
    own_pairing_key: bool
    problem: str
    unpaired: bool


def source_text(page: CardInfo) -> str:
    """Where the card's key comes from."""
    source = page.key_source
    return KEY_SOURCES[source] if isinstance(source, KeySource) else f"unknown ({source:02x})"


def _facts(app: App, opened: OpenCard) -> _Facts:
    card = opened.card
    info, certificate = card.info, card.read_certificate()
    page: CardInfo | None = None
    tries: int | None = None
    problem, unpaired = "", False
    try:
        record = app.state.record(certificate.serial)
    except StateError as error:
        record, problem = CardRecord(), str(error)
    if info.initialized:
        try:
            app.host.access.identify(opened, certificate.serial)
            tries = tries_left(card) if info.pin_auth else None
            page = _page(opened)
        except (StatusWordError, CryptnoxError, WalletError) as error:
            if isinstance(error, TransportError):
                raise
            problem, unpaired = explain(error).message, isinstance(error, PairingError)
    own = False
    with contextlib.suppress(StateError):  # told above
        own = info.initialized and app.state.pairing_key(certificate.serial) is not None
    return _Facts(
        opened.reader,
        certificate.serial,
        info,
        card.genuineness,
        certificate.issuer,
        record,
        page,
        tries,
        own,
        problem,
        unpaired,
    )


def _page(opened: OpenCard) -> CardInfo | None:
    try:
        return opened.card.info_page()
    except (NotAllowedError, NotFoundError, PinLockedError):
        return None


def _rows(facts: _Facts) -> list[tuple[str, str] | tuple[str, str, str]]:
    info, page, record = facts.info, facts.page, facts.record
    rows: list[tuple[str, str] | tuple[str, str, str]] = [
        ("Reader", facts.reader),
        ("Card", f"Cryptnox {info.type_name}, applet {version_text(info)}"),
        ("Serial number", str(facts.serial), "bold"),
        ("Genuine", *judged(facts.genuine, facts.reader)),
        ("Certificate by", facts.issuer),
        ("Initialised", *_yes(info.initialized, WARN)),
    ]
    if info.initialized:
        rows.append(("Seed", *_seed(info, page)))
        if page is not None:
            rows.append(("Owner", " ".join(filter(None, (page.name, page.email and f"<{page.email}>"))) or "-"))
            rows.append(("Signatures made", str(page.signature_counter)))
        rows.append(("PIN", *_pin(info, facts.tries, record)))
        off = "off: cryptnoxctl xpub on (needs the PUK)"
        if not info.is_nft:
            rows.append(("xpub export", *_yes(info.xpub_export, WARN, "on", off)))
        rows.append(("Clear key reading", "on" if info.clear_public_key else "off"))
        rows.append(("Pinless path", *(("SET: signs without PIN", WARN) if info.pinless_path else ("not set", ""))))
        names = [slot.name for slot in UserKeySlot if info.has_user_key(slot)]
        rows.append(("User keys", ", ".join(names) or ("none" if info.tells_user_keys else "the card does not tell")))
        rows.append(("Pairing key", *_pairing(facts)))
        known = record.fingerprint
        rows.append(
            ("Fingerprint", known.hex() if known else "not known to this computer yet", "bold" if known else FAINT)
        )
    if any(info.custom):
        rows.append(("Custom bytes", info.custom.hex()))
    if facts.problem:
        rows.append(("Problem", facts.problem, BAD))
    return rows


def _pairing(facts: _Facts) -> tuple[str, str]:
    if facts.unpaired:
        return "another than this computer has: cryptnoxctl pairing recover (needs the PUK)", BAD
    return "own, kept on this computer" if facts.own_pairing_key else "common", ""


def _yes(value: bool, style: str, yes: str = "yes", no: str = "no") -> tuple[str, str]:
    return (yes, GOOD) if value else (no, style)


def _seed(info: AppletInfo, page: CardInfo | None) -> tuple[str, str]:
    if not info.seeded:
        return "none: cryptnoxctl setup", WARN
    return (source_text(page) if page is not None else "yes"), GOOD


def _pin(info: AppletInfo, tries: int | None, record: CardRecord) -> tuple[str, str]:
    if not info.pin_auth:
        return "switched off; user keys only", WARN
    if tries is None:
        return "-", ""
    note = "; the last one sent by this computer was refused" if record.note is not None else ""
    if tries == 0:
        return "blocked, or locked until the card is taken out and put back", BAD
    return f"at most {tries} tries left{note}", WARN if tries < 3 or note else GOOD
