"""What a command of the emulated card works on: memory, the state of this power-up, and the counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cryptnox_core.emulator.channel import Channel
from cryptnox_core.emulator.curves import Random
from cryptnox_core.emulator.frame import require
from cryptnox_core.emulator.keys import Cursor, Node, Path, master
from cryptnox_core.emulator.memory import Memory, Position
from cryptnox_core.emulator.readings import Reading
from cryptnox_core.wire import PIN_TRIES_SESSION, PUK_TRIES_SESSION, Curve, KeySource, Source, Sw


class Auth(Enum):
    """Who has authenticated. SIGN stands for hashes that a user key has authorized, and for nothing else."""

    NONE = "none"
    PIN = "pin"
    USER_KEY = "user key"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Nonces:
    """MuSig2: two secret nonces, and the public key (33 bytes) that they were made for."""

    pair: tuple[int, int] = field(repr=False)
    key: bytes


@dataclass(slots=True)
class Selection:
    """Lives from a SELECT to the next, or to power-off."""

    certified: bool = False
    """GET CARD CERTIFICATE was answered."""
    session_key: ec.EllipticCurvePrivateKey | None = field(default=None, repr=False)
    channel: Channel | None = field(default=None, repr=False)
    auth: Auth = Auth.NONE
    hashes: list[bytes] = field(default_factory=list, repr=False)
    """Hashes that SIGN may sign, in order."""
    challenge: bytes = b""
    cosigners: list[bytes] = field(default_factory=list)
    """MuSig2: the keys loaded so far."""


@dataclass(slots=True)
class Power:
    """Lives from power-up to power-off."""

    pin_tries: int = PIN_TRIES_SESSION
    puk_tries: int = PUK_TRIES_SESSION
    wrap_key: rsa.RSAPrivateKey | None = field(default=None, repr=False)
    selection: Selection | None = None
    nonces: Nonces | None = None
    """MuSig2: they outlive a SELECT, and sign once."""


@dataclass(slots=True)
class Counters:
    """Work done since the program started; refused PINs and PUKs are those that cost a try."""

    derivations: int = 0
    signatures: int = 0
    nonces_again: int = 0
    """PARTIAL SIGNs with a MuSig2 nonce that had met one before; whatever they were answered."""
    pin_tries: int = 0
    puk_tries: int = 0


class Context:
    """Everything a handler may read and change."""

    def __init__(self, memory: Memory, readings: frozenset[Reading], random: Random) -> None:
        self.memory = memory
        self.readings = readings
        self.random = random
        self.power = Power()
        self.counters = Counters()
        self.torn = False
        """The power fails during this command."""
        self.repeat_nonce = False
        """This command signs with the nonce of the signature before, or gives the nonces of the one before."""
        self.last_nonce = 0
        """Of the last secp256k1 signature since the program started; 0 before the first."""
        self.last_nonces: tuple[int, int] | None = None
        """Of the last NONCE GEN since then."""
        self.nonces_met: set[tuple[int, int]] = set()
        """MuSig2: the nonces that a PARTIAL SIGN came for."""
        self._roots: dict[Curve, Node] = {}
        self._cursors: dict[Curve, Cursor] = {}

    def reads(self, reading: Reading) -> bool:
        """Whether a point that sources disagree about has its other reading."""
        return reading in self.readings

    @property
    def selection(self) -> Selection:
        """The state of the selected applet. Refuses 6985 before SELECT."""
        require(self.power.selection is not None, Sw.CONDITIONS)
        return self.power.selection or Selection()

    def power_up(self) -> None:
        """What holds for one power-up starts anew."""
        self.power = Power()
        if self.reads(Reading.CURRENT_LOST):
            self.memory.positions.clear()
            self._cursors.clear()

    def forget_keys(self) -> None:
        """After a change of seed: nothing computed from the old one stays."""
        self._roots.clear()
        self._cursors.clear()

    def root(self, curve: Curve) -> Node:
        """The master key. Refuses 6985 without one; a loaded key pair has none on P-256."""
        memory = self.memory
        require(memory.key_source is not KeySource.NONE, Sw.CONDITIONS)
        if curve not in self._roots:
            if memory.key_source in (KeySource.SINGLE, KeySource.EXTENDED):
                require(curve is Curve.K1, Sw.CONDITIONS)
                secret = int.from_bytes(memory.seed, "big")
                self._roots[curve] = Node(curve, secret, memory.chain_code or None)
            else:
                self._roots[curve] = master(curve, memory.seed)
        return self._roots[curve]

    def cursor(self, curve: Curve) -> Cursor:
        """Current key and parent of a tree. Refuses as `root`."""
        root = self.root(curve)
        if curve not in self._cursors:
            position = self.memory.positions.get(curve, Position((), False))
            node = root.descend(position.path)
            self._cursors[curve] = Cursor(node, node.parent if position.has_parent else None)
        return self._cursors[curve]

    def find(self, curve: Curve, source: Source, path: Path) -> Node:
        """A node below a source, counted as work; the current key stays."""
        node = self.cursor(curve).find(self.root(curve), source, path)
        self.counters.derivations += len(path)
        return node

    def move(self, curve: Curve, source: Source, path: Path) -> None:
        """DERIVE KEY, counted as work and remembered over power cycles."""
        cursor = self.cursor(curve)
        cursor.move(self.root(curve), source, path)
        self.counters.derivations += len(path)
        self.memory.positions[curve] = Position(cursor.current.path, cursor.parent is not None)
