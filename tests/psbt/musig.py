"""Builds inputs and outputs of MuSig2 keys (BIP373), and the other signers: by BIP327's and BIP328's text in plain
integers, nothing of the product."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from hwilib_cryptnox.psbt import Psbt
from tests.psbt.factory import ME, NUMS, In, Out, Pairs, Wallet, compact, h160, le, leaf_hash, pushed, taproot
from tests.support.cosigner import Affine, Aggregate, Cosigner, added, read, written
from tests.support.cosigner import tagged as number

CHAIN_CODE = bytes.fromhex("868087ca02a6f974c4598924c36b57762d32cb45717167e300622c7167e38965")
ACCOUNT = "m/87h/1h/0h"
KINDS = ("output", "internal", "tree", "leaf", "derived", "derived-leaf")
"""The output key itself; an internal key; one beside a script; in a script; derived from the aggregate; both."""
PARTICIPANTS, NONCE, PARTIAL = 0x1A, 0x1B, 0x1C


def child_tweaks(aggregate: Aggregate, levels: Sequence[int]) -> list[tuple[int, bool]]:
    """BIP328: BIP32's public derivation from the aggregate, as tweaks."""
    tweaks: list[tuple[int, bool]] = []
    chain_code = CHAIN_CODE
    for level in levels:
        point = Aggregate(aggregate.keys, tweaks).point
        mixed = hmac.digest(chain_code, written(point) + level.to_bytes(4, "big"), "sha512")
        tweaks.append((int.from_bytes(mixed[:32], "big"), False))
        chain_code = mixed[32:]
    return tweaks


def nonce_sum(nonces: Sequence[bytes]) -> bytes:
    """NonceAgg; no sum is infinity here."""
    halves = []
    for at in (0, 33):
        total: Affine = None
        for nonce in nonces:
            total = added(total, read(nonce[at : at + 33]))
        halves.append(written(total))
    return b"".join(halves)


@dataclass
class Shared:
    """A key of one input, and those who sign for it with us."""

    own: bytes
    path: str
    others: list[Cosigner]
    aggregate: Aggregate
    """With all tweaks."""
    leaf: bytes | None
    script: bytes
    fields: Pairs

    def item(self, amount: int = 100_000, salt: int = 0, *more: tuple[bytes, bytes]) -> In:
        return In(self.script, amount, [*self.fields, *more], salt=salt)

    def pair(self, kind: int, signer: bytes, value: bytes) -> tuple[bytes, bytes]:
        return bytes((kind,)) + signer + written(self.aggregate.point) + (self.leaf or b""), value

    def first_round(self) -> Pairs:
        """New public nonces of all others."""
        return list(dict(self.pair(NONCE, other.key, other.nonce()) for other in self.others).items())

    def second_round(self, psbt: Psbt, index: int, digest: bytes) -> Pairs:
        """The others' partial signatures, with the nonces that the PSBT has."""
        pairs = psbt.inputs[index].pairs
        nonces = nonce_sum([pairs[self.pair(NONCE, key, b"")[0]] for key in self.aggregate.keys])
        return [self.pair(PARTIAL, other.key, other.sign(self.aggregate, nonces, digest)) for other in self.others]


def shared(
    kind: str = "internal",
    *,
    secrets: Sequence[int] = (7_000_001,),
    path: str = f"{ACCOUNT}/0/5",
    levels: Sequence[int] = (0, 5),
    sort: bool = True,
    wallet: Wallet = ME,
) -> Shared:
    """A MuSig2 key of ours and of those who have these secrets."""
    others = [Cosigner(secret) for secret in secrets]
    if kind.startswith("derived"):
        path = ACCOUNT
    own = wallet.key(path)
    keys = [own, *[other.key for other in others]]
    if sort:
        keys.sort()
    plain = Aggregate(keys)
    tweaks = child_tweaks(plain, levels) if kind.startswith("derived") else []
    made = output = Aggregate(keys, tweaks)
    leaf = None
    if kind == "output":
        script, fields = b"\x51\x20" + made.xonly, []
    elif kind.endswith("leaf"):
        leaf = leaf_hash(pushed(made.xonly) + b"\xac")
        script, fields = taproot([pushed(made.xonly) + b"\xac"])
        fields += [(b"\x17", NUMS), (b"\x18", leaf)]
    else:
        scripts = [pushed(NUMS) + b"\xac"] if kind == "tree" else []
        root = b"".join(map(leaf_hash, scripts))
        output = Aggregate(keys, [*tweaks, (number("TapTweak", made.xonly + root), True)])
        script, fields = taproot(scripts, made.xonly)
        assert script[2:] == output.xonly
        fields += [(b"\x17", made.xonly), *([(b"\x18", root)] if root else [])]
    fields += _derivations(wallet, path, others, plain, made, levels if tweaks else (), leaf)
    fields.append((bytes((PARTICIPANTS,)) + written(plain.point), b"".join(keys)))
    return Shared(own, path, others, output, leaf, script, fields)


def _derivations(
    wallet: Wallet,
    path: str,
    others: Sequence[Cosigner],
    plain: Aggregate,
    made: Aggregate,
    levels: Sequence[int],
    leaf: bytes | None,
) -> Pairs:
    """PSBT_IN_TAP_BIP32_DERIVATION of all signers and of the key that they make."""
    leaves = compact(0) if leaf is None else compact(1) + leaf
    origin = h160(written(plain.point))[:4] + b"".join(map(le, levels))
    pairs = [(b"\x16" + wallet.key(path)[1:], leaves + wallet.origin(path)), (b"\x16" + made.xonly, leaves + origin)]
    return pairs + [(b"\x16" + key[1:], leaves + h160(key)[:4]) for key in dict.fromkeys(one.key for one in others)]


def out_of(key: Shared, amount: int) -> Out:
    """An output of such a key, with what a wallet says of its change."""
    fields = [
        (b"\x08" + name[1:] if name[0] == PARTICIPANTS else b"\x07" + name[1:], value)
        for name, value in key.fields
        if name[0] in (PARTICIPANTS, 0x16)
    ]
    return Out(key.script, amount, [*fields, (b"\x05", next((v for k, v in key.fields if k == b"\x17"), bytes(32)))])


def part_of(request) -> bytes:  # type: ignore[no-untyped-def]
    """What a card adds: a nonce and a partial signature, by our key's secret."""
    me = Cosigner(int.from_bytes(ME.secret(request.path), "big"))
    assert me.key == request.musig.own
    nonce = me.nonce()
    key = request.musig.key.keys
    aggregate = Aggregate(key.keys, [(key.tweak, False)])
    aggregate.sign, aggregate.tweak, aggregate.point = key.sign, key.tweak, read(key.key)
    return nonce + me.sign(aggregate, nonce_sum([*request.musig.nonces, nonce]), request.digest)
