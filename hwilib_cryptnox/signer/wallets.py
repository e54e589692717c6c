"""Wallets of several keys: what an output descriptor says, its scripts and addresses, and whether the card is in it.

Pure. A wallet is registered once, looked at by its owner; its change is known then by deriving the whole script.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from cryptnox_core.bip32 import HARDENED, MASTER, ExtendedPublicKey, InvalidPathError, Path
from cryptnox_core.crypto.hashes import hash160, sha256
from cryptnox_core.errors import UsageError
from cryptnox_core.wire import MAX_DEPTH
from hwilib_cryptnox.console.wording import INVISIBLE
from hwilib_cryptnox.export import add_checksum
from hwilib_cryptnox.export.policy_keys import (
    KeyExpression,
    MusigExpression,
    PolicyError,
    PolicyKey,
    compressed,
    x_of,
)
from hwilib_cryptnox.export.policy_script import TWICE_TEXT, check_functions, compiled, is_mere_multisig
from hwilib_cryptnox.export.policy_text import SINGLE, Node, half, keys_in, read
from hwilib_cryptnox.export.policy_words import Way, needs_key, ways
from hwilib_cryptnox.networks import Chain, Network
from hwilib_cryptnox.psbt import address_of
from hwilib_cryptnox.psbt.script import MAX_REDEEM_SCRIPT, OP_1, OP_16, OP_CHECKMULTISIG, Kind, kind_of, p2sh, push

__all__ = ["PolicyError", "PolicyKey", "PolicyKind", "WalletPolicy", "card_paths", "check_name", "check_on_card"]

MOST_NAME = 64
"""Characters of a wallet's name."""


class PolicyKind(Enum):
    """What the addresses of a wallet are."""

    P2WSH = "p2wsh"
    P2SH_P2WSH = "p2sh-p2wsh"
    P2SH = "p2sh"
    P2TR = "p2tr"

    @property
    def kind(self) -> Kind:
        """Of the scriptPubKey."""
        return {PolicyKind.P2WSH: Kind.P2WSH, PolicyKind.P2TR: Kind.P2TR}.get(self, Kind.P2SH)


@dataclass(frozen=True)
class WalletPolicy:
    """A wallet of several keys, as its descriptor says. Make it with `parse`."""

    tree: Node
    kind: PolicyKind
    network: Network

    @classmethod
    def parse(cls, text: str) -> WalletPolicy:
        """From one output descriptor with `<0;1>` (or `{0,1}`) branches, or the two of receive and change; checksums
        may be left out.

        Raises: PolicyError, with the reason in a sentence that repeats nothing of a text that may be secret.
        """
        tree = read(text)
        kind = _kind(tree)
        keys = tree.keys
        extended = [key for key in keys if key.key is not None]
        if len({x_of(key) for key in keys}) < 2:
            raise PolicyError(SINGLE_TEXT)
        if not extended:
            raise PolicyError("none of the keys is an extended one (xpub): the wallet would have a single address")
        _check_distinct(tree)
        networks = {key.network for key in extended}
        if len(networks) > 1:
            raise PolicyError("keys of the main network (xpub) and of a test network (tpub) are mixed")
        _check_branches(_with_branches(tree))
        policy = cls(tree, kind, extended[0].network or Network.MAIN)
        check_functions(tree)
        policy._check_scripts()
        if not needs_key(tree):
            raise PolicyError("one way to spend needs no key: anyone could take the coins")
        return policy

    # What it says

    @cached_property
    def descriptor(self) -> str:
        """The descriptor in its one normal form: h for hardened levels, `<0;1>` branches, checksum."""
        return add_checksum(str(self.tree))

    @property
    def halves(self) -> tuple[str, ...]:
        """The descriptor of each branch alone, with its checksum: for programs that know no `<0;1>`."""
        return tuple([add_checksum(str(half(self.tree, branch))) for branch in range(self.branches)])

    @cached_property
    def keys(self) -> tuple[PolicyKey, ...]:
        """All keys, in the order of the descriptor; one with several pairs of branches stands there several times."""
        return self.tree.keys

    @cached_property
    def signers(self) -> tuple[PolicyKey, ...]:
        """The same, each once."""
        return tuple({x_of(key): key for key in reversed(self.keys)}.values())[::-1]

    @property
    def branches(self) -> int:
        """2: receive (0) and change (1); 1 where the addresses of both are the same."""
        return max(len(one.branches) for one in _with_branches(self.tree))

    @cached_property
    def threshold(self) -> tuple[int, int] | None:
        """How many of how many keys sign, where the script is a multisig or a MuSig2 key and nothing else."""
        node = self._multisig
        if self._musig:
            return len(self.keys), len(self.keys)
        return None if node is None else (int(str(node.args[0])), len(node.keys))

    @property
    def words(self) -> str:
        """The policy in a few words: "2 of 3 must sign"."""
        if self.threshold is not None:
            together = " together (MuSig2)" if self._musig else ""
            return f"{self.threshold[0]} of {self.threshold[1]} must sign{together}"
        return f"a script with {len(self.signers)} keys"

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """Every way to spend, for `str`; keys are numbered as in `signers`, from 1. Empty where there are too many."""
        numbers = {x_of(key): number for number, key in enumerate(self.signers, 1)}
        return ways(self.tree, lambda key: f"key {numbers[x_of(key)]}")

    def keys_of(self, fingerprint: bytes) -> tuple[PolicyKey, ...]:
        """The keys that say to come from a master key (fingerprint: 4 bytes)."""
        return tuple([key for key in self.keys if key.fingerprint == fingerprint])

    # What it makes

    def keys_at(self, branch: int, index: int) -> tuple[bytes, ...]:
        """The compressed keys of one script, in the order of `keys`: those that sign, also where they do as one.

        Raises: PolicyError for a branch or an index that the wallet does not have.
        """
        if not 0 <= branch < self.branches or not 0 <= index < HARDENED:
            raise PolicyError("the wallet does not have this address")
        try:
            return tuple(
                [
                    parent if isinstance(parent, bytes) else parent.child_public_key(index)
                    for parent in self._parents[branch]
                ]
            )
        except InvalidPathError:
            raise PolicyError("the wallet does not have this address") from None

    def script(self, branch: int, index: int) -> bytes:
        """The scriptPubKey at a branch (0 receive, 1 change) and an index below 2^31. Raises as `keys_at`."""
        return self._script_of(self.keys_at(branch, index), branch, index)

    def address(self, branch: int, index: int, chain: Chain | None = None) -> str:
        """The address at a place. `chain`: how it is written; None: as the keys say. Raises as `keys_at`."""
        default = Chain.MAIN if self.network is Network.MAIN else Chain.TEST
        return address_of(self.script(branch, index), chain or default) or ""

    def place(self, path: Path, fingerprint: bytes, suffix: Path = MASTER) -> tuple[int, int, int] | None:
        """Branch, number of the key among `keys`, and index of the script that holds the key at a path of a master key
        (4 bytes); None where the wallet has none. `suffix`: the levels below the MuSig2 aggregate that it is part of.
        """
        steps = (suffix if suffix.depth else path).steps
        if not steps or steps[-1] >= HARDENED:
            return None
        above = (path.steps, suffix.steps[:-1]) if suffix.depth else (path.steps[:-1], None)
        place = self._places.get((fingerprint, *above))
        return None if place is None else (*place, steps[-1])

    def matches(self, script: bytes, path: Path, fingerprint: bytes, public_key: bytes, suffix: Path = MASTER) -> bool:
        """Whether a scriptPubKey is the wallet's at the place where a key of a master key says to be (`suffix`: see
        `place`), and holds that key (33 bytes; 32: x only), alone or in MuSig2. The whole script is derived."""
        place = self.place(path, fingerprint, suffix)
        if place is None or kind_of(script) is not self.kind.kind:
            return False
        branch, number, index = place
        try:
            keys = self.keys_at(branch, index)
            made = self._script_of(keys, branch, index)
        except PolicyError:
            return False
        return keys[number][-len(public_key) :] == public_key and made == script

    def work(self, script: bytes, path: Path, fingerprint: bytes, suffix: Path = MASTER) -> int:
        """Keys that `matches` derives; 0 where the place or the kind of the script tells."""
        there = kind_of(script) is self.kind.kind and self.place(path, fingerprint, suffix) is not None
        return len(self.keys) if there else 0

    @cached_property
    def _multisig(self) -> Node | None:
        node = self.tree
        while node.name in ("sh", "wsh"):
            node = node.nodes[0]
        return node if is_mere_multisig(node) else None

    @property
    def _musig(self) -> bool:
        """Whether a MuSig2 key alone spends from it."""
        return not self.tree.nodes and isinstance(self.tree.args[0], MusigExpression)

    @cached_property
    def _parents(self) -> tuple[tuple[ExtendedPublicKey | bytes, ...], ...]:
        """By branch: what each address's keys are children of, or the key itself."""
        known: dict[tuple[bytes, tuple[int, ...]], ExtendedPublicKey] = {}
        found = []
        for branch in range(self.branches):
            parents: list[ExtendedPublicKey | bytes] = []
            for key in self.keys:
                if key.key is None or key.whole:
                    parents.append(compressed(key.fixed) if key.key is None else key.key.public_key)
                    continue
                steps = key.branches[branch]
                place = key.key.public_key, steps
                if place not in known:
                    known[place] = key.key.derive(Path(steps))
                parents.append(known[place])
            found.append(tuple(parents))
        return tuple(found)

    @cached_property
    def _places(self) -> Mapping[tuple[object, ...], tuple[int, int]]:
        """Branch, and number of the key, by master fingerprint and the levels above the index; by fingerprint, path and
        levels below the aggregate for the keys of a MuSig2 key that is derived."""
        found: dict[tuple[object, ...], tuple[int, int]] = {}
        number = 0
        for one in self.tree.expressions:
            for key in keys_in(one):
                mark, path = key.fingerprint or b"", key.path.steps
                for branch, steps in enumerate(one.branches if key.whole else key.branches):
                    place = (mark, path, steps) if key.whole else (mark, (*path, *steps), None)
                    found.setdefault(place, (branch, number))
                number += 1
        return found

    def _script_of(self, keys: Sequence[bytes], branch: int, index: int) -> bytes:
        if self._multisig is None:
            return compiled(self.tree, self._expressions_at(keys, branch, index))
        script = _multisig_script(self._multisig, keys)
        if self.kind is PolicyKind.P2SH:
            return p2sh(hash160(script))
        program = b"\x00\x20" + sha256(script)
        return program if self.kind is PolicyKind.P2WSH else p2sh(hash160(program))

    def _expressions_at(self, keys: Sequence[bytes], branch: int, index: int) -> list[bytes]:
        """The keys that stand in a script, of those that sign."""
        given, found = iter(keys), []
        for one in self.tree.expressions:
            own = [next(given) for _ in keys_in(one)]
            try:
                found.append(own[0] if isinstance(one, PolicyKey) else one.at(own, branch, index))
            except UsageError:
                raise PolicyError("the wallet has no such address") from None
        return found

    def _check_scripts(self) -> None:
        """PolicyError unless the first scripts can be made, and spent."""
        for branch in range(self.branches):
            keys = self._expressions_at(self.keys_at(branch, 0), branch, 0)
            if len({key[1:] for key in keys}) < len(keys):
                raise PolicyError(TWICE_TEXT)
            if kind_of(self.script(branch, 0)) is not self.kind.kind:
                raise PolicyError("the descriptor makes a different script than it says")
        if self._multisig is not None:
            size = len(_multisig_script(self._multisig, self.keys_at(0, 0)))
            if self.kind is PolicyKind.P2SH and size > MAX_REDEEM_SCRIPT:
                raise PolicyError("a P2SH wallet of more than 15 keys cannot be spent: wsh() holds up to 20")


SINGLE_TEXT = (
    "one key alone spends from this wallet. It needs no registration, because the card itself proves that its change "
    "comes back"
)


def _kind(tree: Node) -> PolicyKind:
    inner = tree.nodes[0] if tree.nodes else None
    if tree.name != "tr" and any(isinstance(one, MusigExpression) for one in tree.expressions):
        raise PolicyError("the descriptor's musig() only works inside tr()")
    if tree.name in SINGLE or (
        tree.name in ("sh", "wsh") and inner is not None and inner.name in ("wpkh", "pkh", "pk")
    ):
        raise PolicyError(SINGLE_TEXT)
    if tree.name == "tr":
        if len(tree.args) < 2 and not isinstance(tree.args[0], MusigExpression):
            raise PolicyError(
                "a tr() wallet without script leaves is one key's and needs no registration. Only a card that signs "
                "with a tweaked key can spend from it (cryptnoxctl taproot check)"
            )
        return PolicyKind.P2TR
    if tree.wrappers or inner is None:
        raise PolicyError("a wallet's descriptor begins with wsh(), sh(wsh()), sh() or tr()")
    if tree.name == "wsh":
        return PolicyKind.P2WSH
    if tree.name == "sh" and inner.name == "wsh" and inner.nodes and not inner.wrappers:
        return PolicyKind.P2SH_P2WSH
    if tree.name == "sh" and inner.name in ("multi", "sortedmulti") and not inner.wrappers:
        return PolicyKind.P2SH
    raise PolicyError("a wallet's descriptor begins with wsh(), sh(wsh()) or tr(); sh() alone holds a multisig only")


def _with_branches(tree: Node) -> list[KeyExpression]:
    """What has levels for the addresses' numbers: extended keys, and MuSig2 keys that are derived themselves."""
    found: list[KeyExpression] = []
    for one in tree.expressions:
        found += [one, *one.keys] if isinstance(one, MusigExpression) else [one]
    return [one for one in found if one.branches]


def _check_branches(extended: Sequence[KeyExpression]) -> None:
    if not extended:
        raise PolicyError("no key of the wallet has a wildcard (/<0;1>/*): it would have a single address")
    counts = {len(key.branches) for key in extended}
    if len(counts) > 1:
        raise PolicyError("some keys have two branches (<0;1>) and others have one: all need the same number")
    if counts == {1}:
        last = {key.branches[0][-1:] for key in extended}
        if last in ({(0,)}, {(1,)}):
            half, other = ("receive", "change") if last == {(0,)} else ("change", "receive")
            raise PolicyError(
                f"this is the {half} half of a wallet: also give the descriptor of its {other} addresses, or one "
                "with /<0;1>/*"
            )


def _check_distinct(tree: Node) -> None:
    """One key, one signer: PolicyError for what would be counted twice, or is not what it says to be. A key may have a
    part in any number of MuSig2 keys."""
    keys = tree.keys
    seen: dict[bytes, list[PolicyKey]] = {}
    for key in keys:
        seen.setdefault(x_of(key), []).append(key)
    for same in seen.values():
        first = same[0]
        if any((key.key, key.origin) != (first.key, first.origin) for key in same):
            raise PolicyError("the descriptor has the same key twice, in different forms or with different origins")
        alone = [key for key in same if any(key is one for one in tree.expressions)]
        used = [steps for key in alone for steps in key.branches]
        if len(set(used)) < len(used) or (first.key is None and len(alone) > 1):
            raise PolicyError(TWICE_TEXT)
    origins: dict[tuple[bytes, Path], bytes] = {}
    for key in keys:
        if key.origin is not None and any(key.origin.fingerprint):
            place = key.origin.fingerprint, key.origin.path
            if origins.setdefault(place, x_of(key)) != x_of(key):
                raise PolicyError(
                    f"two different keys claim to be the one at {key.origin}: one of them belongs to a stranger"
                )


def _number(value: int) -> bytes:
    """The shortest push of 1 to 127."""
    most = OP_16 - OP_1 + 1
    return bytes((OP_1 - 1 + value,)) if value <= most else bytes((1, value))


def _multisig_script(node: Node, keys: Sequence[bytes]) -> bytes:
    """The script of `multi` or `sortedmulti` with compressed keys, in the order of the descriptor."""
    ordered = sorted(keys) if node.name == "sortedmulti" else keys
    needed, count = _number(int(str(node.args[0]))), _number(len(keys))
    return b"".join([needed, *map(push, ordered), count, bytes((OP_CHECKMULTISIG,))])


# The card


def card_paths(policy: WalletPolicy, fingerprint: bytes) -> list[Path]:
    """The paths whose keys `check_on_card` asks for: our extended keys, and the first address of each branch."""
    return [
        path
        for key in policy.keys_of(fingerprint)
        for path in (key.path, *[Path((*key.path.steps, *steps, 0)) for steps in key.branches])
    ]


def check_on_card(policy: WalletPolicy, keys: Mapping[Path, bytes], fingerprint: bytes) -> None:
    """Whether the card's keys are in a wallet where it says so. `keys`: the card's compressed keys at `card_paths`. The
    key of an address proves the chain code, too.

    Raises: PolicyError where none is, or one is another.
    """
    ours = policy.keys_of(fingerprint)
    if not ours:
        others = ", ".join(dict.fromkeys([(key.fingerprint or b"").hex() or "unknown" for key in policy.keys]))
        raise PolicyError(
            f"no key of the wallet claims to be this card's (fingerprint {fingerprint.hex()}); its keys are from "
            f"{others}"
        )
    for key in ours:
        if key.key is None:
            raise PolicyError("this card's key is a single key: it must be an extended one (xpub)")
        if key.path.depth + (0 if key.whole else len(key.branches[0]) + 1) > MAX_DEPTH:
            raise PolicyError(f"this card's key has addresses below the {MAX_DEPTH} levels that the card derives")
        wrong = keys.get(key.path) != key.key.public_key or any(
            keys.get(Path((*key.path.steps, *steps, 0))) != key.key.derive(Path((*steps, 0))).public_key
            for steps in key.branches
        )
        if wrong:
            raise PolicyError(f"the key that the wallet has for this card at {key.path} is not the card's")


# Names


def check_name(text: str) -> str:
    """A wallet's name: 1 to 64 printable characters, in Unicode's NFC form.

    Raises: PolicyError for what a person could not see, or would take for another name.
    """
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= MOST_NAME:
        raise PolicyError(f"a wallet's name has 1 to {MOST_NAME} characters")
    if name != name.strip() or "  " in name:
        raise PolicyError("a wallet's name must not begin or end with a space, or have two in a row")
    for char in name:
        category = unicodedata.category(char)
        if category[0] == "C" or (category[0] == "Z" and char != " ") or char in INVISIBLE:
            raise PolicyError("a wallet's name can only have visible characters: no control or invisible ones")
    if len({_alphabet(char) for char in name} - {""}) > 1:
        raise PolicyError("a wallet's name must not mix letters of alphabets that look alike")
    if unicodedata.category(name[0])[0] == "M":
        raise PolicyError("a wallet's name must begin with a character, not with a combining mark")
    return name


def _alphabet(char: str) -> str:
    """Of those with letters that look alike."""
    first = unicodedata.name(char, "").partition(" ")[0]
    return first if first in ("LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "CHEROKEE") else ""
