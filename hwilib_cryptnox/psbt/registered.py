"""What registered wallets say of a PSBT: which inputs are theirs, and what of it comes back. Each script is derived
whole, at the place where a proved key of ours says to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt.checks import Spending, is_single
from hwilib_cryptnox.psbt.collected import Collected
from hwilib_cryptnox.psbt.errors import PsbtError
from hwilib_cryptnox.psbt.origins import Claim
from hwilib_cryptnox.psbt.script import parse_multisig

_MOST_CLAIMS = 4
"""Keys of ours in one script at whose places it is derived: each of them tells the place, in an honest PSBT."""

_MOST_WORK = 40_000
"""Keys that are derived in vain for one PSBT, and tries that need none: 500 inputs and 500 outputs of strangers by 20
wallets need fewer."""


class RegisteredWallet(Protocol):
    """A wallet of several keys that its owner looked at once."""

    @property
    def name(self) -> str:
        """As the owner calls it."""

    @property
    def words(self) -> str:
        """Its policy: "2 of 3 must sign"."""

    def __call__(self, script: bytes, claim: Claim) -> bool:
        """Whether a script is the wallet's at the place where a key of ours says to be, and holds that key."""

    def work(self, script: bytes, claim: Claim) -> int:
        """Keys that are derived to tell; 0 where the place or the kind of the script tells."""


@dataclass(frozen=True, slots=True)
class WalletInputs:
    """A registered wallet that inputs of ours come from."""

    name: str
    words: str
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Inputs of ours that several keys hold alike, and that are no registered wallet's."""

    inputs: tuple[int, ...]
    words: str
    """ "2 of 3 keys", or "a script"."""


@dataclass(slots=True)
class Registered:
    """What of one PSBT is whose, filled while it is planned."""

    wallets: Sequence[RegisteredWallet] = ()
    by_input: dict[int, RegisteredWallet] = field(default_factory=dict)
    unregistered: dict[int, str] = field(default_factory=dict)
    """Inputs of ours that several keys hold, and how."""
    change_wallet: RegisteredWallet | None = None
    """The one that all our inputs come from."""
    outputs: dict[int, str] = field(default_factory=dict)
    """Name of the wallet that derives an output, change or payment."""
    strange: list[int] = field(default_factory=list)
    """Outputs that name a key of ours, in no registered wallet, while the inputs are in one."""
    held: set[int] = field(default_factory=set)
    """Those of them whose script holds that key, with others."""
    reordered: list[int] = field(default_factory=list)
    """Outputs with the keys of the inputs, whose order does not prove that they are the same wallet's."""
    _work: int = 0
    """Keys that were derived in vain."""

    @classmethod
    def of(
        cls, collected: Collected, ours: Mapping[int, Sequence[Claim]], wallets: Sequence[RegisteredWallet]
    ) -> Registered:
        """Whose the inputs are. `ours`: those that hold our key, with the claims that the card's keys prove."""
        found = cls(wallets)
        last: RegisteredWallet | None = None
        for index, claims in ours.items():
            spending, output = collected.spendings[index], collected.spends[index].output
            if spending is None or is_single(spending):
                continue
            last = None if output is None else found.owner(output[1], claims, last)
            if last is None:
                found.unregistered[index] = _held(spending)
            else:
                found.by_input[index] = last
        owners = set(map(id, found.by_input.values()))
        if len(owners) == 1 and len(found.by_input) == len(ours):
            found.change_wallet = next(iter(found.by_input.values()))
        return found

    def owner(
        self, script: bytes, claims: Sequence[Claim], first: RegisteredWallet | None = None
    ) -> RegisteredWallet | None:
        """The wallet that derives a script where one of our keys in it says to be. `first`: the likeliest."""
        for wallet in self.wallets if first is None else (first, *self.wallets):
            if self._place_in(wallet, script, claims) is not None:
                return wallet
        return None

    def judge(
        self, index: int, script: bytes, claims: Sequence[Claim], single: Collection[bytes], *, held: bool
    ) -> Path | None:
        """The path of our key in an output that is change by the inputs' wallet; notes whose it is otherwise. `single`:
        scripts that our key alone spends. `held`: the script was read, and our key is in it."""
        wallet = self.change_wallet
        claim = None if wallet is None else self._place_in(wallet, script, claims)
        if wallet is not None and claim is not None:
            self.outputs[index] = wallet.name
            return claim.place
        self.note_owner(index, script, claims)
        if index not in self.outputs and self.by_input and script not in single:
            self.strange.append(index)
            if held:
                self.held.add(index)
        return None

    def note_owner(self, index: int, script: bytes, claims: Sequence[Claim]) -> None:
        """Note which wallet derives an output, if any does."""
        owner = self.owner(script, claims)
        if owner is not None:
            self.outputs[index] = owner.name

    def _place_in(self, wallet: RegisteredWallet, script: bytes, claims: Sequence[Claim]) -> Claim | None:
        """The claim at whose place a script is the wallet's. PsbtError for a PSBT that would take minutes."""
        for claim in claims[:_MOST_CLAIMS]:
            if wallet(script, claim):
                return claim
            self._work += max(1, wallet.work(script, claim))
        if self._work > _MOST_WORK:
            raise PsbtError(
                "it names more keys of this card than can be checked against the registered wallets: split it"
            )
        return None

    @property
    def inputs(self) -> tuple[WalletInputs, ...]:
        """The wallets of the inputs, in their order."""
        found: dict[int, list[int]] = {}
        for index, wallet in self.by_input.items():
            found.setdefault(id(wallet), []).append(index)
        return tuple(
            [
                WalletInputs(self.by_input[indexes[0]].name, self.by_input[indexes[0]].words, tuple(indexes))
                for indexes in found.values()
            ]
        )

    @property
    def others(self) -> tuple[Unregistered, ...]:
        """The inputs that several keys hold and no registered wallet derives, alike ones together."""
        found: dict[str, list[int]] = {}
        for index, words in self.unregistered.items():
            found.setdefault(words, []).append(index)
        return tuple([Unregistered(tuple(indexes), words) for words, indexes in found.items()])


def _held(spending: Spending) -> str:
    if spending.musig and not spending.leaves:
        return "a MuSig2 key"
    multisig = parse_multisig(spending.script) if spending.facts is not None else None
    return "a script" if multisig is None else f"{multisig[0]} of {len(multisig[1])} keys"
