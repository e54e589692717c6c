"""A recording of a first contact: what a card answers to commands that need no PIN and change nothing.

It holds headers, lengths, status words, times, the answer to SELECT and the manufacturer certificate. It holds no PIN,
no key and nothing that went through the channel but lengths and status words; serial number and certificate identify
the card. `deviations` reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import urandom
from typing import ClassVar, TypeVar

from cryptnox_core import wire
from cryptnox_core.apdu import CommandApdu
from cryptnox_core.card import Card
from cryptnox_core.commands.base import Command, apdu
from cryptnox_core.commands.keys import GetClearPublicKey
from cryptnox_core.commands.setup import GetCardCertificate, GetCardPublicKey, GetManufacturerCertificate
from cryptnox_core.errors import CryptnoxError, StatusWordError, TransportError
from cryptnox_core.models import AppletInfo
from cryptnox_core.transport import Transport
from cryptnox_core.wire import Cla, Curve, Ins, KeySource, StatusFlag, Sw

T = TypeVar("T")
FORMAT = 1
"""Version of the recording's form."""
UNKNOWN_INS = 0xEE
"""An instruction that no applet is known to have."""


@dataclass(slots=True)
class Recorder:
    """A transport that notes each exchange and passes it on."""

    inner: Transport
    clock: Callable[[], float]
    """Gives seconds."""
    exchanges: list[dict[str, object]] = field(default_factory=list)
    selected: bytes = b""
    """What the card answered to the latest SELECT, without the status word."""
    pages: list[bytes] = field(default_factory=list)
    """What it answered to GET MANUFACTURER CERTIFICATE, page for page."""

    @property
    def name(self) -> str:
        """The reader's name, or `tcp:HOST:PORT`."""
        return self.inner.name

    def transmit(self, apdu: bytes) -> bytes:
        """As `Transport.transmit`."""
        start = self.clock()
        entry: dict[str, object] = {"header": apdu[:4].hex(), "sent": len(apdu)}
        self.exchanges.append(entry)
        try:
            response = self.inner.transmit(apdu)
        except TransportError as error:
            entry["lost"] = type(error).__name__
            raise
        finally:
            entry["ms"] = round((self.clock() - start) * 1000, 1)
        entry["received"] = len(response)
        entry["sw"] = response[-2:].hex()
        if apdu[1] == Ins.SELECT:
            self.selected = response[:-2]
        elif apdu[1] == Ins.GET_MANUFACTURER_CERTIFICATE:
            self.pages.append(response[:-2])
        return response

    def close(self) -> None:
        """As `Transport.close`."""
        self.inner.close()


@dataclass(frozen=True, slots=True)
class Probe(Command[bytes]):
    """One command as it stands, for a recording: its answer is looked at from outside only."""

    command: CommandApdu
    in_channel: bool = True

    ins: ClassVar[Ins] = Ins.READ_DATA
    """For messages, which a recording leaves out."""
    plain_read: ClassVar[bool] = True

    @property
    def secure(self) -> bool:  # type: ignore[override]
        """Goes through the secure channel."""
        return self.in_channel

    def encode(self) -> CommandApdu:
        """The command in plain."""
        return self.command

    def decode(self, data: bytes) -> bytes:
        """The data as it came."""
        return bytes(data)


def _clear(command: Command[T]) -> Probe:
    return Probe(command.encode(), in_channel=False)


def record(
    transport: Transport, clock: Callable[[], float], *, opening: Callable[[Card], None] = Card.open_channel
) -> dict[str, object]:
    """Run the checklist on a card and return the recording, ready for JSON.

    `clock`: gives seconds (`time.monotonic`).
    `opening`: opens the channel.
    Raises: TransportError where no card answers SELECT; what fails later is in the recording.
    """
    recorder = Recorder(transport, clock)
    run = _Run(recorder, opening)
    card = Card(recorder)
    info = card.select()
    recording: dict[str, object] = {
        "format": FORMAT,
        "select": recorder.selected.hex(),
        "version": list(info.version),
        "flags": int(info.flags),
        "steps": run.steps,
        "exchanges": recorder.exchanges,
    }
    with run.step("certificate") as step:
        certificate = card.read_certificate()
        recording["certificate"] = certificate.der.hex()
        step["length"] = len(certificate.der)
    if "certificate" not in recording:
        recording["certificate_pages"] = [page.hex() for page in recorder.pages]
    run.probe(card, "card public key", _clear(GetCardPublicKey()))
    run.probe(card, "card certificate", _clear(GetCardCertificate(urandom(wire.CERTIFICATE_NONCE_LENGTH))))
    run.probe(card, "certificate after it", _clear(GetManufacturerCertificate(0)))
    if info.flags & StatusFlag.CLEAR_PUBKEY:
        run.probe(card, "clear public key", _clear(GetClearPublicKey(Curve.K1)))
    if info.initialized:
        run.in_channel(info)
    return recording


@dataclass(slots=True)
class _Run:
    """The steps of one recording."""

    recorder: Recorder
    opening: Callable[[Card], None]
    steps: list[dict[str, object]] = field(default_factory=list)

    def in_channel(self, info: AppletInfo) -> None:
        card = self.opened("channel")
        if card is None:
            return
        self.probe(card, "PIN tries", Probe(apdu(Ins.VERIFY_PIN)), tell=True)
        self.probe(card, "card info", Probe(apdu(Ins.READ_DATA)), source=True)
        for slot in () if info.is_nft else info.user_key_slots:
            self.probe(card, f"user key {slot.value}", Probe(apdu(Ins.READ_DATA, slot, long_answer=True)))
        self.probe(card, "history", Probe(apdu(Ins.GET_HISTORY)))
        if info.seeded and not info.is_nft:
            # Without a PIN a card derives nothing: what it says to both forms of P1 is all that is wanted.
            for p1 in (0x08, 0x00):
                self.probe(card, f"derive {p1:02x}", Probe(apdu(Ins.DERIVE_KEY, p1)))
        if info.is_nft:
            pages = [apdu(Ins.READ_DATA, slot + 1, 0, long_answer=True) for slot in range(wire.NFT_DATA_SLOTS)]
        else:
            pages = [apdu(Ins.READ_DATA, 0, page + 1, long_answer=True) for page in range(wire.USER_DATA_PAGES)]
        for number, page in enumerate(pages, 1):
            self.probe(card, f"user data {number}", Probe(page))
        if other := self.opened("channel, other MAC form", length_by_value=True):
            self.probe(other, "user data, other MAC form", Probe(pages[0]))
        if last := self.opened("channel again"):
            self.probe(last, "unknown instruction", Probe(CommandApdu(Cla.APPLET, UNKNOWN_INS, 0, 0)))

    def opened(self, name: str, *, length_by_value: bool | None = None) -> Card | None:
        card = Card(self.recorder, length_by_value=length_by_value)
        with self.step(name):
            card.select()
            self.opening(card)
        return card if card.channel_open else None

    def probe(self, card: Card, name: str, probe: Probe, *, tell: bool = False, source: bool = False) -> None:
        """`tell`: the answer is a count, and no secret; `source`: its first byte is the key source."""
        with self.step(name) as step:
            data = card.send(probe)
            step["sw"], step["length"] = f"{Sw.OK:04x}", len(data)
            if tell and data:
                step["count"] = data[0]
            if source and data:
                step["source"] = next((kind.name for kind in KeySource if kind == data[0]), "UNKNOWN")

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, object]]:
        step: dict[str, object] = {"step": name}
        self.steps.append(step)
        before = len(self.recorder.exchanges)
        try:
            yield step
        except StatusWordError as error:
            step["sw"] = f"{error.sw:04x}"
            step["error"] = type(error).__name__
        except CryptnoxError as error:
            step["error"] = type(error).__name__
            sw = getattr(error, "sw", None)
            if isinstance(sw, int):
                step["outer_sw"] = f"{sw:04x}"
        finally:
            exchanges = self.recorder.exchanges[before:]
            aborted = [entry for entry in exchanges if entry.get("sw") == f"{Sw.SECURITY_STATUS:04x}"]
            if aborted:
                step["aborted"] = len(aborted)
