"""`emulator`: an emulated card on TCP or in the virtual reader, until SIGTERM (docs/emulator.md)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import signal
import threading
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
from click.core import ParameterSource

from cryptnox_core import wire
from cryptnox_core.emulator import card, faults, memory, server, vpcd
from cryptnox_core.emulator.readings import Reading
from hwilib_cryptnox.ctl.files import NEW_FILE
from hwilib_cryptnox.ctl.help import HelpfulCommand
from hwilib_cryptnox.storage.files import lock

DEFAULT_PIN = "000000"
DEFAULT_PUK = "000000000000"
_SERIAL_MIN, _SERIAL_MAX = 1 << 56, (1 << 64) - 1
_BIP39_ROUNDS = 2048
_FIRST_CONNECT = 3.0
"""Seconds the ready line waits for the virtual reader to take the card."""
_NEVER_SHORT = 10.0
"""Seconds between looks of an idle main thread; signals wake it anyway."""


def _address(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """HOST:PORT of an option."""
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 0xFFFF:
        raise click.BadParameter(f"{value!r} is not HOST:PORT", context, parameter)
    return host.strip("[]"), int(port)


def _seed_of_mnemonic(words: str, passphrase: str) -> bytes:
    """BIP39 seed of an English mnemonic, whose words and checksum are checked. Raises ``click.UsageError``."""
    from embit import bip39

    normal = " ".join(unicodedata.normalize("NFKD", words).split())
    valid = False
    with contextlib.suppress(ValueError, KeyError):
        valid = bip39.mnemonic_is_valid(normal)
    if not valid:
        raise click.UsageError("the mnemonic is not a BIP39 mnemonic in English, or its checksum is wrong")
    salt = unicodedata.normalize("NFKD", "mnemonic" + passphrase)
    return hashlib.pbkdf2_hmac("sha512", normal.encode(), salt.encode(), _BIP39_ROUNDS)


def _serial_of_seed(seed: bytes) -> int:
    """The default serial number: from SHA-256 of the seed, at least 2^56."""
    serial = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big")
    return serial if serial >= _SERIAL_MIN else serial + _SERIAL_MIN


def _checked_seed(text: str) -> bytes:
    try:
        seed = bytes.fromhex(text)
    except ValueError as error:
        raise click.UsageError("--seed is not hexadecimal") from error
    if not wire.SEED_MIN <= len(seed) <= wire.SEED_MAX:
        raise click.UsageError(f"--seed has {wire.SEED_MIN} to {wire.SEED_MAX} bytes")
    return seed


def _pin_field(digits: str) -> bytes:
    if not (wire.PIN_MIN <= len(digits) <= wire.PIN_MAX and digits.isascii() and digits.isdigit()):
        raise click.UsageError(f"--pin has {wire.PIN_MIN} to {wire.PIN_MAX} digits")
    return digits.encode().ljust(wire.PIN_FIELD, b"\0")


def _puk_bytes(text: str) -> bytes:
    if len(text) != wire.PUK_LENGTH or not text.isascii():
        raise click.UsageError(f"--puk has {wire.PUK_LENGTH} ASCII characters")
    return text.encode()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Wanted:
    """The card that the options describe; None for what they leave open."""

    seed: bytes | None
    pin: str | None
    puk: str | None
    xpub_export: bool
    serial: int | None
    card_type: int | None


def new_memory(wanted: Wanted) -> memory.Memory:
    """A card as the options describe it: from the factory, initialised, or with a seed."""
    seed, serial = wanted.seed, wanted.serial
    if serial is None:
        serial = _serial_of_seed(seed) if seed else _SERIAL_MIN + secrets.randbelow(_SERIAL_MAX - _SERIAL_MIN + 1)
    card_type = wire.CARD_TYPE_BASIC if wanted.card_type is None else wanted.card_type
    fresh = memory.Memory(serial=serial, card_type=card_type)
    if seed is None and wanted.pin is None:
        if wanted.puk is not None:
            raise click.UsageError("--puk needs --pin or a seed")
    else:
        fresh.initialized = True
        fresh.pin = _pin_field(wanted.pin or DEFAULT_PIN)
        fresh.puk = _puk_bytes(wanted.puk or DEFAULT_PUK)
        fresh.pairing_key = wire.COMMON_PAIRING_KEY
    if seed is not None:
        fresh.key_source, fresh.seed, fresh.xpub_export = wire.KeySource.LOADED, seed, wanted.xpub_export
    elif wanted.xpub_export:
        raise click.UsageError("--xpub-export needs a seed")
    return fresh


def _contradiction(kept: memory.Memory, wanted: Wanted) -> str | None:
    """The first option that says something else than the state file."""
    single = kept.key_source in (wire.KeySource.SINGLE, wire.KeySource.EXTENDED)
    if wanted.seed is not None and (kept.seed != wanted.seed or single):
        return "--seed or --mnemonic"
    if wanted.pin is not None and kept.pin != _pin_field(wanted.pin):
        return "--pin"
    if wanted.puk is not None and kept.puk != _puk_bytes(wanted.puk):
        return "--puk"
    if wanted.xpub_export and not kept.xpub_export:
        return "--xpub-export"
    if wanted.serial not in (None, kept.serial):
        return "--serial"
    return None if wanted.card_type in (None, kept.card_type) else "--type"


def _load(path: Path) -> memory.Memory:
    try:
        return memory.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--state {path}: {error}") from error


@contextlib.contextmanager
def _held(state: Path) -> Iterator[None]:
    """The state file is this program's alone: another one would write what it knows over what this one has spent.

    The lock is on a file beside it, which stays: the state file itself is replaced at every change.
    """
    beside = state.with_name(f"{state.name}.lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise click.UsageError(f"--state: {beside}: {error.strerror}") from error
    try:
        try:
            lock(descriptor)
        except BlockingIOError as error:
            raise click.UsageError(f"--state {state}: another emulator is using this file") from error
        yield
    finally:
        os.close(descriptor)


def _specs(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[faults.Fault, ...]:
    try:
        return tuple(faults.parse_fault(spec) for spec in value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _latency(context: click.Context, parameter: click.Parameter, value: str | None) -> faults.Latency:
    try:
        return faults.parse_latency(value) if value is not None else faults.NO_LATENCY
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


@click.command(cls=HelpfulCommand)
@click.option(
    "--listen",
    callback=_address,
    metavar="HOST:PORT",
    help="Where to listen; port 0 picks one. [127.0.0.1:9720 without --vpcd]",
)
@click.option(
    "--vpcd", "reader", callback=_address, metavar="HOST:PORT", help="Connect to the virtual reader that listens there."
)
@click.option("--state", type=NEW_FILE, help="File that keeps the card between runs.")
@click.option("--seed", envvar="CRYPTNOX_EMULATOR_SEED", metavar="HEX", help="Binary seed, 16 to 64 bytes.")
@click.option("--mnemonic", metavar="WORDS", help="BIP39 mnemonic in English, instead of --seed.")
@click.option("--passphrase", metavar="TEXT", help="BIP39 passphrase for --mnemonic.")
@click.option("--pin", envvar="CRYPTNOX_EMULATOR_PIN", metavar="DIGITS", help=f"[with a seed: {DEFAULT_PIN}]")
@click.option("--puk", envvar="CRYPTNOX_EMULATOR_PUK", metavar="TEXT", help=f"[{DEFAULT_PUK}]")
@click.option("--xpub-export", is_flag=True, help="Allow reading extended public keys.")
@click.option("--serial", type=click.IntRange(_SERIAL_MIN, _SERIAL_MAX), help="Serial number, 2^56 to 2^64-1.")
@click.option("--type", "kind", type=click.Choice(["B", "N"]), help="Basic or NFT. [B]")
@click.option("--stats", type=NEW_FILE, help="JSON file of counters, rewritten after every APDU.")
@click.option("--trace", type=NEW_FILE, help="Append one line per APDU: header, lengths, status words.")
@click.option(
    "--latency", callback=_latency, metavar="SPEC", help="apdu=20,byte=0.1,derive=300,sign=300 (ms) = default."
)
@click.option("--fault", multiple=True, callback=_specs, metavar="SPEC", help="KIND@N or KIND@INS:N, repeatable.")
@click.option(
    "--reading",
    multiple=True,
    type=click.Choice([r.value for r in Reading]),
    help=("Use another reading of the protocol; repeatable."),
)
def emulator(
    *,
    listen: tuple[str, int] | None,
    reader: tuple[str, int] | None,
    state: Path | None,
    seed: str | None,
    mnemonic: str | None,
    passphrase: str | None,
    pin: str | None,
    puk: str | None,
    xpub_export: bool,
    serial: int | None,
    kind: str | None,
    stats: Path | None,
    trace: Path | None,
    latency: faults.Latency,
    fault: tuple[faults.Fault, ...],
    reading: tuple[str, ...],
) -> None:
    """Run an emulated card until SIGTERM. Its first line says where it is and its serial number.

    For tests: its secrets are in the command line, the environment, and the state file in the clear.
    """
    if mnemonic is not None and seed is not None:
        if click.get_current_context().get_parameter_source("seed") is not ParameterSource.ENVIRONMENT:
            raise click.UsageError("--seed and --mnemonic cannot be used together")
        seed = None  # what the command line says goes before the environment
    if passphrase is not None and mnemonic is None:
        raise click.UsageError("--passphrase needs --mnemonic")
    binary = _seed_of_mnemonic(mnemonic, passphrase or "") if mnemonic is not None else None
    if seed is not None:
        binary = _checked_seed(seed)
    card_type = {"B": wire.CARD_TYPE_BASIC, "N": wire.CARD_TYPE_NFT, None: None}[kind]
    wanted = Wanted(seed=binary, pin=pin, puk=puk, xpub_export=xpub_export, serial=serial, card_type=card_type)
    if state is not None:
        click.get_current_context().with_resource(_held(state))
    if state is not None and state.exists():
        kept = _load(state)
        option = _contradiction(kept, wanted)
        if option is not None:
            raise click.UsageError(f"{option} contradicts the state file {state}")
    else:
        kept = new_memory(wanted)
    try:
        engine = server.Engine(
            card.Card(kept, (Reading(name) for name in reading)),
            files=server.Files(state, stats, trace),
            faults=fault,
            latency=latency,
        )
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from error
    if listen is None and reader is None:
        listen = (wire.DEFAULT_EMULATOR_HOST, wire.DEFAULT_EMULATOR_PORT)
    _run(engine, listen, reader)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    raise SystemExit(0)


def _run(engine: server.Engine, listen: tuple[str, int] | None, reader: tuple[str, int] | None) -> None:
    """Serve until a signal. Everything an answer has changed is on disk before the answer is given."""
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _terminate)
    tcp = None
    if listen is not None:
        try:
            tcp = server.TcpServer(engine, *listen)
        except OSError as error:
            raise click.UsageError(f"--listen: {error.strerror or error}") from error
    if reader is not None:
        slot = vpcd.VirtualReader(engine, *reader)
        threading.Thread(target=slot.run, daemon=True).start()
        slot.connected.wait(_FIRST_CONNECT)
    where = "{}:{}".format(*tcp.address) if tcp else "-"
    there = "{}:{}".format(*reader) if reader else "-"
    print(f"ready listen={where} vpcd={there} serial={engine.serial}", flush=True)
    if tcp is not None:
        tcp.serve()
    while True:
        time.sleep(_NEVER_SHORT)
