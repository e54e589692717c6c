"""Coins of BIP86 accounts, with every parity, and their spending; nothing of the product makes or signs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hwilib_cryptnox.psbt import SignRequest
from tests.psbt.factory import ME, ORDER, Draft, In, Out, Pairs, Wallet, bip86, draft, sighash, tagged, tap_deriv
from tests.support.curve import PrivateKey, PublicKey

ACCOUNT = "m/86h/0h/0h"


def parities(path: str, wallet: Wallet = ME) -> tuple[int, int]:
    """Of the key at a path and of its output key: 1 for an odd y."""
    key = wallet.key(path)
    return key[0] & 1, PublicKey(b"\x02" + key[1:]).add(tagged("TapTweak", key[1:])).format()[0] & 1


def coin(path: str, amount: int = 100_000, *, wallet: Wallet = ME, kind: int | None = None, proved: bool = False) -> In:
    """A coin of BIP86, as wallets describe it. `kind`: its sighash type."""
    key = wallet.key(path)
    fields: Pairs = [tap_deriv(path, wallet=wallet), (b"\x17", key[1:])]
    if kind is not None:
        fields.append(sighash(kind))
    salt = int.from_bytes(tagged("salt", path.encode())[:4], "big")
    return In(bip86(key[1:]), amount, fields, previous=proved, salt=salt)


def change(path: str, amount: int, *, wallet: Wallet = ME) -> Out:
    """An output of BIP86 that says whose it is."""
    key = wallet.key(path)
    return Out(bip86(key[1:]), amount, [tap_deriv(path, wallet=wallet, kind=0x07), (b"\x05", key[1:])])


def paths(account: str = ACCOUNT) -> Iterator[str]:
    """Addresses of both chains in turn."""
    number = 0
    while True:
        yield f"{account}/{number % 2}/{number // 2}"
        number += 1


def one_of_each(account: str = ACCOUNT) -> list[str]:
    """The first paths with each of the four parities."""
    found: dict[tuple[int, int], str] = {}
    for path in paths(account):
        found.setdefault(parities(path), path)
        if len(found) == 4:
            return list(found.values())
    raise AssertionError


def spending(at: Iterable[str], *, outs: list[Out] | None = None, kind: int | None = None) -> Draft:
    """A PSBT that spends a coin at each path."""
    return draft(*[coin(path, kind=kind) for path in at], outs=outs)


def signature(request: SignRequest) -> bytes:
    """What a signer that tweaks keys makes of a request; of any other what `factory.Wallet.sign` does."""
    if request.output_key is None:
        made: bytes = ME.sign(request)
        return made
    private = ME.private(request.path)
    key = private.public_key.format()
    secret = int.from_bytes(private.secret, "big")
    tweak = int.from_bytes(tagged("TapTweak", key[1:]), "big")
    tweaked = ((secret if key[0] == 2 else ORDER - secret) + tweak) % ORDER
    return PrivateKey(tweaked.to_bytes(32, "big")).sign_schnorr(request.digest)
