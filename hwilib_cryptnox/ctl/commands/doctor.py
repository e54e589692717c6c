"""`doctor`: why a card is not seen, or cannot be used, each finding with its remedy. Sends no PIN, changes nothing."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path

import click

from cryptnox_core import errors
from cryptnox_core.certificate import Genuineness
from cryptnox_core.deviations import Deviation, deviations
from cryptnox_core.recording import record as record_card
from hwilib_cryptnox.console.bundle import bundled
from hwilib_cryptnox.console.weak import EASY_CHANGE, EASY_PIN, EASY_PUK, is_easy_mode
from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, command
from hwilib_cryptnox.ctl.cards import candidates, card_state, open_card, see, version_text, wanted_serial
from hwilib_cryptnox.ctl.errors import CtlError, Exit, explain
from hwilib_cryptnox.ctl.files import NEW_FILE, check_free, read_input, write_new
from hwilib_cryptnox.ctl.screen import BAD, GOOD, WARN, Part, Report, said
from hwilib_cryptnox.errors import WalletError
from hwilib_cryptnox.pin.sources import automatic_sources
from hwilib_cryptnox.signer.cards import EMULATOR_PREFIX, ForeignCardError, OpenCard
from hwilib_cryptnox.storage.files import NoHomeError, config_folder, state_folder

_IDENTIFIES = (
    "The recording holds command headers, lengths, status words, times, the answer to SELECT, and the card's "
    "certificate. It holds no PIN, no key, and nothing you stored on the card except the 16 custom bytes, which "
    "every SELECT shows. The serial number and the certificate identify the card."
)
_MAX_RECORDING = 1 << 20
"""Bytes. One has some ten thousand."""
_PACKAGES = ("hwi-cryptnox", "hwi", "pyscard", "cryptography", "coincurve", "embit", "click", "rich")
_OPTIONAL = frozenset({"hwi", "coincurve"} | (set() if sys.platform in ("darwin", "win32") else {"pyscard"}))
"""Not needed: HWI's library is for other programs, embit has a libsecp256k1, our own binding of pcsc-lite serves."""
_LIBRARIES = {"pyscard": "pyscard", "pcsclite": "pcsc-lite's own library"}
_EASY_FOUND = (
    f'it was set up in "easy mode": unless someone changed them, its PIN {EASY_PIN} and PUK {EASY_PUK} are public'
)
_EASY_REMEDY = f"put no money on it before you change both: {EASY_CHANGE}"
_NFC_MODULES = frozenset({"pn533", "pn533_usb", "nfc"})
_READER_REMEDIES = {
    "linux": "plug the reader in. If it is plugged in, look for it in lsusb and install its driver (Debian: apt "
    "install libccid, or libacsccid1 for ACS readers)",
    "darwin": (
        "plug the reader in. If it is plugged in, look for it in System Information, under USB, and install its driver"
    ),
    "win32": "plug the reader in. If it is plugged in, look for it in Device Manager, and install its driver",
}
_SOCKETS = ("/run/pcscd/pcscd.comm", "/var/run/pcscd/pcscd.comm")


class Verdict(Enum):
    """How a check ended."""

    GOOD = "good"
    NOTE = "note"
    """Worth knowing; nothing fails because of it."""
    BAD = "bad"


_MARKS = {Verdict.GOOD: ("ok", GOOD), Verdict.NOTE: ("note", WARN), Verdict.BAD: ("bad", BAD)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""
    exit_code: Exit = Exit.DONE


@command("doctor")
@click.option("--record", type=NEW_FILE, help="Record the card's answers in FILE.")
@click.option("--analyze", metavar="FILE", help="Report what a recording says about its card; - reads stdin.")
@click.option("--yes", is_flag=True, help="Record without asking.")
@click.option("--analyse", "british", metavar="FILE", hidden=True)
def doctor(app: App, record: Path | None, analyze: str | None, british: str | None, yes: bool) -> Report:
    """Find out why a card is not found or cannot be used, and what to do. Sends no PIN.

    With --card or --reader, looks only at that one. --record runs a checklist that changes nothing and needs no PIN,
    and writes command headers, lengths, and status words, for a report about a card that behaves differently than
    documented; --analyze reads such a file.
    """
    analyze = british if analyze is None else analyze
    if record is not None and analyze is not None:
        raise click.UsageError("--record and --analyze cannot be used together")
    if record is not None:
        return _recorded(app, record, yes=yes)
    if analyze is not None:
        return _analyzed(app, analyze)
    homeless = list(_homeless())
    findings = [*_versions(), *homeless] if homeless else [*_versions(), *_files(app)]
    named = [app.options.card or "", app.options.reader or ""]
    if homeless:  # without settings and memory no card is opened
        findings += [*_service(), *_modules(), *_programs()]
    elif any(place.startswith(EMULATOR_PREFIX) for place in named):
        findings += _readers(app)
    else:
        findings += [*_service(), *_modules(), *_readers(app), *_programs()]
    findings += [] if homeless else _pin_source(app)
    texts = [f"{found.text}. What to do: {found.remedy}" if found.remedy else found.text for found in findings]
    rows = [(_MARKS[found.verdict], found.check, text) for found, text in zip(findings, texts, strict=True)]
    data = {
        "findings": [
            {"check": f.check, "verdict": f.verdict.value, "finding": f.text, "remedy": f.remedy} for f in findings
        ]
    }
    exit_code = max(found.exit_code for found in findings)
    return said(data, lambda screen: screen.table(("", "Check", "Finding"), rows), exit_code=exit_code)


def _versions() -> Iterator[Finding]:
    python = "the one-file binary, with " if bundled() else ""
    python += f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    absent = [name for name in _PACKAGES if _version(name) is None]
    text = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES if name not in absent)
    if unneeded := [name for name in absent if name in _OPTIONAL]:
        text += f"; not installed, and not needed: {', '.join(unneeded)}"
    yield Finding("versions", Verdict.GOOD, f"{python}; {text}")
    yield _curve()
    if missing := [name for name in absent if name not in _OPTIONAL]:
        again = "install hwi-cryptnox again: pip install --force-reinstall, from where you installed it"
        remedy = "get the binary again" if bundled() else again
        yield Finding("versions", Verdict.BAD, f"missing: {', '.join(missing)}", remedy, Exit.REFUSED)


def _curve() -> Finding:
    """Which library does secp256k1."""
    from cryptnox_core.crypto.points import backend

    if (name := backend().name) != "python":
        return Finding("secp256k1", Verdict.GOOD, f"by {name}'s libsecp256k1")
    remedy = "nothing is needed. Signing takes milliseconds longer; to make it faster: pip install coincurve"
    return Finding("secp256k1", Verdict.NOTE, "in Python, because no library for it can be loaded", remedy)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _homeless() -> Iterator[Finding]:
    """What has no place, since this user has no home folder."""
    for what, folder in (("configuration", config_folder), ("memory", state_folder)):
        try:
            folder()
        except NoHomeError as error:
            yield Finding(what, Verdict.BAD, "this user has no home folder", error.remedy, Exit.USAGE)


def _files(app: App) -> Iterator[Finding]:
    config = config_folder() / "config.toml"
    settings = app.settings
    text = f"{config}" if config.exists() else f"no file at {config}; all settings have their defaults"
    yield Finding("configuration", Verdict.GOOD, text)
    for name in settings.anchors:
        if not _is_file(name):
            yield Finding(
                "configuration",
                Verdict.BAD,
                f"anchors: {name} is not there",
                f"correct the path in {config}",
                Exit.USAGE,
            )
    folder = state_folder()
    if not folder.exists():
        yield Finding("memory", Verdict.GOOD, f"{folder}: does not exist yet")
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = f"take ownership of it: sudo chown -R $USER {folder}; until then no PIN is sent automatically"
        yield Finding("memory", Verdict.BAD, f"{folder} cannot be written", remedy, Exit.REFUSED)
    elif mode & 0o077 and sys.platform != "win32":
        yield Finding("memory", Verdict.NOTE, f"other users can read {folder}", f"chmod 700 {folder}")
    else:
        yield Finding("memory", Verdict.GOOD, f"{folder}: {counted(len(app.state.records()), 'card')} remembered")


def _is_file(name: str) -> bool:
    try:
        return Path(name).expanduser().is_file()
    except RuntimeError:  # the home of a user who is none
        return False


def _service() -> Iterator[Finding]:
    from cryptnox_core.transport.pcsc import library, list_readers

    try:
        names = list_readers()
    except errors.NoReaderError:
        names = []
    except errors.SupportMissingError as error:
        remedy = "sudo apt install pcscd" if sys.platform == "linux" else "pip install pyscard"
        yield Finding("PC/SC service", Verdict.BAD, str(error), remedy, Exit.NO_CARD)
        return
    except (errors.ServiceUnavailableError, errors.TransportError) as error:
        more, remedy = _service_remedy()
        yield Finding("PC/SC service", Verdict.BAD, f"{error}{more and f': {more}'}", remedy, Exit.NO_CARD)
        return
    yield Finding("PC/SC service", Verdict.GOOD, f"it answers, through {_LIBRARIES[library()]}")
    odd = [name for name in names if name.startswith(EMULATOR_PREFIX)]
    for name in odd:
        text = f"{name} is left out: its name looks like the address of an emulated card"
        yield Finding("readers", Verdict.NOTE, text, "use another reader")
    names = [name for name in names if name not in odd]
    if names:
        yield Finding("readers", Verdict.GOOD, ", ".join(names))
    else:
        remedy = _READER_REMEDIES.get(sys.platform, _READER_REMEDIES["linux"])
        yield Finding("readers", Verdict.BAD, "there is none", remedy, Exit.NO_CARD)


def _service_remedy() -> tuple[str, str]:
    """What is known of it besides, and what to do."""
    if sys.platform == "win32":
        return "", "plug a reader in: Windows starts the service (Smart Card, SCardSvr) with the first one"
    if sys.platform != "linux":
        return "", "plug a reader in, or restart the computer: the service is part of the system"
    there = [name for name in _SOCKETS if Path(name).exists()]
    if there and not os.access(there[0], os.W_OK):
        remedy = "log in at the machine itself, or allow yourself in polkit (see pcscd(8))"
        return f"you may not use {there[0]}", remedy
    if any(_read(entry / "comm").strip() == "pcscd" for entry in _processes()):
        remedy = "sudo systemctl restart pcscd; in a sandbox, give the sandbox access to it"
        return "pcscd runs but does not answer this user", remedy
    return "", "sudo apt install pcscd && sudo systemctl enable --now pcscd.socket (without systemd: sudo pcscd)"


def _processes() -> Iterator[Path]:
    for entry in Path("/proc").iterdir() if sys.platform == "linux" else ():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            yield entry


def _read(path: Path) -> str:
    """What a file of /proc says; nothing where it is gone or not ours."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _modules() -> Iterator[Finding]:
    if sys.platform != "linux":
        return
    loaded = sorted({line.split(" ")[0] for line in _read(Path("/proc/modules")).splitlines()} & _NFC_MODULES)
    if loaded:
        remedy = (
            "if an NFC reader is not seen: sudo modprobe -r pn533_usb pn533 nfc, and to keep it so: printf "
            "'blacklist %s\\n' pn533_usb pn533 nfc | sudo tee /etc/modprobe.d/nfc-off.conf"
        )
        yield Finding("NFC modules", Verdict.NOTE, f"in the kernel: {', '.join(loaded)}", remedy)
    else:
        yield Finding("NFC modules", Verdict.GOOD, "none that would take the reader")


def _readers(app: App) -> Iterator[Finding]:
    serial = wanted_serial(app)
    if app.options.card is None and app.options.reader is None:
        places = app.host.access.readers()
    else:
        try:
            places = candidates(app)
        except CtlError as error:
            yield Finding("card", Verdict.BAD, str(error), error.hint, error.exit_code)
            return
    found = False
    for name in places:
        seen = None if serial is None else see(app, [name])[0]
        if seen is None or seen.unread or seen.serial == serial:
            yield from _reader(app, name)
        found = found or (seen is not None and seen.serial == serial)
    if serial is not None and not found:
        remedy = "insert it into a reader; cryptnoxctl doctor without --card checks all of them"
        yield Finding("card", Verdict.BAD, f"The card {serial} is not in any reader", remedy, Exit.NO_CARD)


def _reader(app: App, name: str) -> Iterator[Finding]:
    what = f"card in {name}"
    try:
        opened = app.host.access.connect(name, app.settings.enumerate_wait)
    except errors.ReaderBusyError as error:
        remedy = "close the program that holds it (see the programs below); for gpg: gpgconf --kill scdaemon"
        yield Finding(what, Verdict.BAD, str(error), remedy, Exit.NO_CARD)
        return
    except errors.NoCardError as error:
        if name.startswith(EMULATOR_PREFIX) and name in (app.options.card, app.options.reader):
            yield Finding(what, Verdict.BAD, str(error), "start it, or correct the address", Exit.NO_CARD)
        else:
            yield Finding(what, Verdict.NOTE, str(error), "insert a card")
        return
    except ForeignCardError:
        yield Finding(what, Verdict.NOTE, "a different kind of card, not a Cryptnox wallet card")
        return
    except errors.TransportError as error:
        remedy = "remove the card and put it back; clean its contacts"
        yield Finding(what, Verdict.BAD, str(error), remedy, Exit.NO_CARD)
        return
    try:
        info = opened.card.info
        app.host.access.identify(opened)
        serial, genuine = opened.card.serial, opened.card.genuineness
        text = f"Cryptnox {info.type_name} {serial}, applet {version_text(info)}, {card_state(info)}"
        text += ", emulated: not for money" if opened.simulated else ""
        yield Finding(what, Verdict.GOOD, text)
        if genuine is not Genuineness.GENUINE:
            yield Finding(what, Verdict.NOTE, f"genuine: {genuine.value}", _remedy_of(opened, genuine))
        if not info.seeded:
            yield Finding(what, Verdict.NOTE, "it has no wallet", "cryptnoxctl setup")
        elif not info.xpub_export and not info.is_nft:
            yield Finding(what, Verdict.NOTE, "xpub export is off", "cryptnoxctl xpub on (needs the PUK)")
        if _is_easy_mode(opened):
            yield Finding(what, Verdict.NOTE, _EASY_FOUND, _EASY_REMEDY)
    except errors.PinLockedError as error:
        yield Finding(what, Verdict.BAD, str(error), "remove the card and put it back", Exit.SECRET)
    except (errors.CryptnoxError, WalletError) as error:
        problem = explain(error)
        yield Finding(what, Verdict.BAD, problem.message, problem.hint, problem.exit_code)
    finally:
        opened.close()


def _remedy_of(opened: OpenCard, genuine: Genuineness) -> str:
    """What to do about a card that is not known to be genuine; nothing about an emulated one, which never is."""
    if opened.simulated:
        return ""
    if genuine is Genuineness.NOT_GENUINE:
        return "do not put money on this card: its certificate is forged"
    return "if you trust the CA, name its certificate in the configuration (key anchors)"


def _is_easy_mode(opened: OpenCard) -> bool:
    """As far as the card tells without a PIN. Raises ProtocolError for a channel that fails."""
    if not opened.card.channel_open:
        return False
    try:
        return is_easy_mode(opened.card.info_page())
    except errors.StatusWordError:
        return False


def _programs() -> Iterator[Finding]:
    """Other programs that have the PC/SC library loaded: one of them may hold a reader."""
    if sys.platform != "linux":
        return
    users = Counter(_read(entry / "comm").strip() for entry in _processes() if "libpcsclite" in _read(entry / "maps"))
    users.pop("pcscd", None)
    if users:
        names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(users.items()))
        remedy = "close them if the reader is busy; for gpg: gpgconf --kill scdaemon"
        yield Finding("other programs", Verdict.NOTE, f"with the smart card library loaded: {names}", remedy)
    else:
        yield Finding("other programs", Verdict.GOOD, "no program of yours is using smart cards now")


def _pin_source(app: App) -> Iterator[Finding]:
    names = [type(source).__name__.removesuffix("Source").lower() for source in automatic_sources(app.settings)]
    text = (
        f"set up: {', '.join(names)}"
        if names
        else ("none set up: programs must be given the PIN, and cryptnoxctl asks you")
    )
    yield Finding("PIN source", Verdict.GOOD, text)


# A recording of a first contact


def _recorded(app: App, file: Path, *, yes: bool) -> Report:
    """Run the read-only checklist on the card and write what it answered. Sends no PIN, changes nothing."""
    check_free(file, None)
    if not yes and not app.terminal.available:
        raise CtlError(Exit.USAGE, f"{_IDENTIFIES} Nothing was written", "--yes writes it without asking")
    with _the_only_card(app) as opened:
        serial: str | None = None
        with contextlib.suppress(errors.CryptnoxError):  # it has no certificate that can be read
            serial = str(opened.card.read_certificate().serial)
            opened.hold()
        if not yes:
            app.terminal.say(_IDENTIFIES)
            app.terminal.confirm(f"Record the card {serial or 'in ' + opened.reader} to {file}?")
        recording = record_card(opened.card.transport, time.monotonic, opening=app.host.access.open_channel)
    write_new(file, (json.dumps(recording, indent=1) + "\n").encode("ascii"))
    return _deviating({"serial": serial, "file": str(file)}, deviations(recording), f"Written: {file}")


@contextlib.contextmanager
def _the_only_card(app: App) -> Iterator[OpenCard]:
    """The card the options mean. The only place there is, or the one named, is taken as it is: a card whose certificate
    cannot be read is worth a recording."""
    places = candidates(app)
    if len(places) != 1 or wanted_serial(app) is not None:
        with open_card(app, channel=False) as opened:
            yield opened
        return
    with contextlib.closing(app.host.access.connect(places[0], app.settings.wait)) as opened:
        yield opened


def _analyzed(app: App, name: str) -> Report:
    """What the recording in a file says about its card."""
    data = read_input(app, name)
    if len(data) > _MAX_RECORDING:
        raise CtlError(Exit.INPUT, f"{name}: this is not a recording of a card: it has {len(data)} bytes")
    try:
        found = deviations(json.loads(data))
    except (ValueError, RecursionError) as error:
        raise CtlError(Exit.INPUT, f"{name}: this is not a recording of a card") from error
    except errors.UsageError as error:
        raise CtlError(Exit.INPUT, f"{name}: {error}") from error
    return _deviating({"file": name}, found)


def _deviating(data: dict[str, object], found: list[Deviation], *lines: str) -> Report:
    data["deviations"] = [{"text": each.text, "reading": each.reading or None} for each in found]
    texts = [f"{each.text}{f' (reading {each.reading})' if each.reading else ''}" for each in found]
    count = f"{counted(len(found), 'deviation')} from what is documented of applet 1.6"
    last: Part = count if found else ("The card answered as documented", GOOD)
    return said(data, *lines, *((text, WARN) for text in texts), last)
