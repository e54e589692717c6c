"""The emulated card without process and socket: a transport straight into it, with faults at chosen APDUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cryptnox_core.card import Card
from cryptnox_core.certificate import TrustAnchors
from cryptnox_core.emulator import ca
from cryptnox_core.emulator.card import Card as EmulatedCard
from cryptnox_core.emulator.faults import Fault
from cryptnox_core.emulator.memory import Memory
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.emulator.server import Engine, Gone
from cryptnox_core.errors import CardRemovedError
from cryptnox_core.wire import COMMON_PAIRING_KEY, KeySource

SERIAL = (1 << 56) + 12345
SEED = bytes.fromhex(
    # BIP39: "abandon" eleven times, "about"
    "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
    "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
)
PIN = "123456"
PUK = "PUK000000001"


def fresh(card_type: str = "B") -> Memory:
    """As from the factory."""
    return Memory(serial=SERIAL, card_type=ord(card_type))


def initialized() -> Memory:
    """With PIN and PUK, without seed."""
    return Memory(
        serial=SERIAL,
        initialized=True,
        name=b"Ada",
        email=b"ada@example.org",
        pin=PIN.encode().ljust(9, b"\0"),
        puk=PUK.encode(),
        pairing_key=COMMON_PAIRING_KEY,
    )


def seeded(*, xpub_export: bool = True) -> Memory:
    """With the seed of the well-known mnemonic."""
    memory = initialized()
    memory.key_source, memory.seed, memory.xpub_export = KeySource.LOADED, SEED, xpub_export
    return memory


@dataclass
class EmulatedTransport:
    """A `Transport` into an emulated card. Closing it powers the card down; `sent` holds the APDUs."""

    engine: Engine
    name: str = "emulated"
    sent: list[bytes] = field(default_factory=list)
    closed: int = 0
    gone: bool = False

    def transmit(self, apdu: bytes) -> bytes:
        if self.gone:
            raise CardRemovedError("gone")
        self.sent.append(apdu)
        answer = self.engine.exchange(apdu)
        if isinstance(answer, Gone):
            self.gone = True
            raise CardRemovedError(answer.value)
        return answer

    def close(self) -> None:
        self.closed += 1
        self.gone = True


@dataclass
class EmulatedReader:
    """An emulated card that can be powered up again and again, counting APDUs all the while."""

    card: EmulatedCard
    engine: Engine

    @classmethod
    def of(
        cls,
        memory: Memory,
        *readings: Reading,
        faults: Iterable[Fault] = (),
        random: Callable[[int], bytes] | None = None,
    ) -> EmulatedReader:
        card = EmulatedCard(memory, readings) if random is None else EmulatedCard(memory, readings, random)
        return cls(card, Engine(card, faults=tuple(faults)))

    @property
    def memory(self) -> Memory:
        return self.card.memory

    def connect(self) -> Card:
        """Power up; emulated cards are genuine here."""
        self.engine.power_up()
        anchors = TrustAnchors.builtin() + TrustAnchors.from_pem(ca.ca_certificate_pem().encode())
        return Card(EmulatedTransport(self.engine), anchors=anchors)

    def open(self, *, pin: str | None = PIN) -> Card:
        """Power up, open the channel, verify the PIN."""
        card = self.connect()
        card.open_channel()
        if pin is not None:
            card.verify_pin(pin)
        return card


def apdus(card: Card) -> list[bytes]:
    """What was sent so far."""
    transport = card.transport
    assert isinstance(transport, EmulatedTransport)
    return transport.sent
