"""Change of wallets with several keys: proved where every key of it comes from the same extended keys, by the same
template, as the keys of all our inputs. Whatever else names our key is a payment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.psbt.cases import outcome
from tests.psbt.dishonest_change import CHANGE, EVE, MINE, paying
from tests.psbt.factory import (
    ME,
    OTHER,
    Draft,
    In,
    Pairs,
    Wallet,
    deriv,
    multisig,
    out_deriv,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    spend,
)

COSIGNER = Wallet(b"the second cosigner of our wallet")
MULTI = "m/48h/0h/0h/2h"


def xpub(
    wallet: Wallet, path: str = MULTI, said: Wallet | None = None, said_path: str | None = None
) -> tuple[bytes, bytes]:
    """PSBT_GLOBAL_XPUB; `said`: whose fingerprint it has."""
    return b"\x01" + wallet.account(path).to_bytes(), (said or wallet).origin(said_path or path)


Place = tuple[Wallet, str]


def places(wallets: Sequence[Wallet], below: str) -> list[Place]:
    return [(wallet, f"{MULTI}/{below}") for wallet in wallets]


def keys_of(found: Sequence[Place]) -> list[bytes]:
    return [wallet.key(path) for wallet, path in found]


def scripted(script: bytes, wrap: str) -> tuple[bytes, Pairs]:
    """Output script and its fields, numbered as for inputs."""
    if wrap == "p2sh":
        return p2sh(script), [(b"\x04", script)]
    if wrap == "p2sh-p2wsh":
        return p2sh(p2wsh(script)), [(b"\x04", p2wsh(script)), (b"\x05", script)]
    return p2wsh(script), [(b"\x05", script)]


def shared_coin(
    found: Sequence[Place], threshold: int = 2, *, wrap: str = "p2wsh", amount: int = 1_000_000, script: bytes = b""
) -> In:
    """A coin of several keys, as a wallet describes it."""
    output, fields = scripted(script or multisig(threshold, sorted(keys_of(found))), wrap)
    fields += [deriv(path, wallet) for wallet, path in found]
    return In(output, amount, fields, witness_utxo=wrap != "p2sh")


def shared_out(
    found: Sequence[Place], threshold: int = 2, *, wrap: str = "p2wsh", script: bytes = b"", named: Sequence[Place] = ()
) -> tuple[bytes, Pairs]:
    """An output of several keys; `named`: the derivations, where they are others."""
    output, fields = scripted(script or multisig(threshold, sorted(keys_of(found))), wrap)
    kinds = {b"\x04": b"\x00", b"\x05": b"\x01"}
    pairs = [(kinds[key], value) for key, value in fields]
    return output, pairs + [out_deriv(path, wallet) for wallet, path in named or found]


US = (ME, COSIGNER)
XPUBS = [xpub(ME), xpub(COSIGNER)]
ALL_XPUBS = [*XPUBS, xpub(EVE)]
OURS, BACK = places(US, "0/3"), places(US, "1/7")
BACK_PATH = f"{MULTI}/1/7"

for _wrap in ("p2wsh", "p2sh", "p2sh-p2wsh"):

    @outcome(f"{_wrap} 2 of 2: honest change", change={1: BACK_PATH}, signed=True)
    def _(wrap: str = _wrap) -> Draft:
        return paying(*shared_out(BACK, wrap=wrap), shared_coin(OURS, wrap=wrap), extra=list(XPUBS))

    @outcome(f"{_wrap} 2 of 2: change without the extended keys", signed=True)
    def _(wrap: str = _wrap) -> Draft:
        return paying(*shared_out(BACK, wrap=wrap), shared_coin(OURS, wrap=wrap))

    for _known in ([], XPUBS, ALL_XPUBS):
        _told = {0: "no extended keys", 2: "the true extended keys", 3: "another extended key too"}[len(_known)]

        @outcome(f"{_wrap} 2 of 2: the cosigner replaced, {_told}")
        def _(wrap: str = _wrap, known: Pairs = _known) -> Draft:
            bad = [(ME, BACK_PATH), (EVE, BACK_PATH)]
            return paying(*shared_out(bad, wrap=wrap), shared_coin(OURS, wrap=wrap), extra=list(known))

        @outcome(f"{_wrap} 2 of 2: the cosigner replaced under its own fingerprint, {_told}")
        def _(wrap: str = _wrap, known: Pairs = _known) -> Draft:
            script = multisig(2, sorted([ME.key(BACK_PATH), EVE.key(BACK_PATH)]))
            output, fields = shared_out([(ME, BACK_PATH)], wrap=wrap, script=script)
            fields.append((b"\x02" + EVE.key(BACK_PATH), COSIGNER.origin(BACK_PATH)))
            return paying(output, fields, shared_coin(OURS, wrap=wrap), extra=list(known))


@outcome("the cosigner replaced, and an extended key of another under the cosigner's origin")
def _() -> Draft:
    script = multisig(2, sorted([ME.key(BACK_PATH), EVE.key(BACK_PATH)]))
    output, fields = shared_out([(ME, BACK_PATH)], script=script)
    fields.append((b"\x02" + EVE.key(BACK_PATH), COSIGNER.origin(BACK_PATH)))
    return paying(output, fields, shared_coin(OURS), extra=[*XPUBS, xpub(EVE, said=COSIGNER)])


@outcome("the cosigner replaced, and only another's extended key under the cosigner's origin")
def _() -> Draft:
    script = multisig(2, sorted([ME.key(BACK_PATH), EVE.key(BACK_PATH)]))
    output, fields = shared_out([(ME, BACK_PATH)], script=script)
    fields.append((b"\x02" + EVE.key(BACK_PATH), COSIGNER.origin(BACK_PATH)))
    return paying(output, fields, shared_coin(OURS), extra=[xpub(ME), xpub(EVE, said=COSIGNER)])


@outcome("the cosigner replaced and its true key named as well")
def _() -> Draft:
    script = multisig(2, sorted([ME.key(BACK_PATH), EVE.key(BACK_PATH)]))
    return paying(*shared_out(BACK, script=script), shared_coin(OURS), extra=list(XPUBS))


@outcome("another's extended key under our own origin")
def _() -> Draft:
    script = multisig(2, sorted([ME.key(BACK_PATH), EVE.key("m/48h/0h/0h/2h/1/7")]))
    output, fields = shared_out([(ME, BACK_PATH)], script=script)
    return paying(output, fields, shared_coin(OURS), extra=[*XPUBS, xpub(EVE, said=ME)])


@outcome("the cosigner's input keys called another extended key's own")
def _() -> Draft:
    """The chain code is invented: the extended key is the cosigner's key of the input itself."""
    path = f"{MULTI}/0/3"
    key = COSIGNER.key(path)
    forged = replace(COSIGNER.account(path), chain_code=bytes(32))
    child = forged.child_public_key(7)
    script = multisig(2, sorted([ME.key(BACK_PATH), child]))
    output, fields = shared_out([(ME, BACK_PATH)], script=script)
    fields.append((b"\x02" + child, COSIGNER.origin(f"{path}/7")))
    assert key == forged.public_key
    extra = [xpub(ME), (b"\x01" + forged.to_bytes(), COSIGNER.origin(path))]
    return paying(output, fields, shared_coin(OURS), extra=extra)


for _name, _found, _threshold in (
    ("2 of 2: the threshold lowered", BACK, 1),
    ("2 of 2: a key more", [*BACK, (EVE, BACK_PATH)], 2),
    ("2 of 2: our key alone in it twice", [(ME, BACK_PATH), (ME, BACK_PATH)], 1),
    ("2 of 2: only the cosigner's key beside ours twice", [(ME, BACK_PATH), *[(COSIGNER, BACK_PATH)] * 2], 2),
    ("2 of 2: another's key in place of ours", [(EVE, BACK_PATH), (COSIGNER, BACK_PATH)], 2),
    ("2 of 2: the cosigner's key of another index", [(ME, BACK_PATH), (COSIGNER, f"{MULTI}/1/8")], 2),
    ("2 of 2: the cosigner's key of the other chain", [(ME, BACK_PATH), (COSIGNER, f"{MULTI}/0/7")], 2),
    ("2 of 2: the cosigner's key of another account", [(ME, BACK_PATH), (COSIGNER, "m/48h/0h/1h/2h/1/7")], 2),
    ("2 of 2: the cosigner's key one level deeper", [(ME, BACK_PATH), (COSIGNER, f"{BACK_PATH}/0")], 2),
):
    for _known in (XPUBS, [*ALL_XPUBS, xpub(COSIGNER, "m/48h/0h/1h/2h")]):

        @outcome(f"{_name}, {len(_known)} extended keys")
        def _(found: list[Place] = _found, threshold: int = _threshold, known: Pairs = _known) -> Draft:
            named = list(dict.fromkeys(found))
            return paying(*shared_out(found, threshold, named=named), shared_coin(OURS), extra=list(known))


THREE = (ME, COSIGNER, OTHER)


@outcome("2 of 3: honest change", change={1: BACK_PATH}, signed=True)
def _() -> Draft:
    extra = [xpub(wallet) for wallet in THREE]
    return paying(*shared_out(places(THREE, "1/7")), shared_coin(places(THREE, "0/3")), extra=extra)


@outcome("2 of 3: the other two replaced")
def _() -> Draft:
    second = Wallet(b"another of the one who has written the PSBT")
    bad = places((ME, EVE, second), "1/7")
    extra = [xpub(wallet) for wallet in (*THREE, EVE, second)]
    return paying(*shared_out(bad), shared_coin(places(THREE, "0/3")), extra=extra)


@outcome("2 of 3: one other left out")
def _() -> Draft:
    extra = [xpub(wallet) for wallet in THREE]
    return paying(*shared_out(places((ME, COSIGNER), "1/7")), shared_coin(places(THREE, "0/3")), extra=extra)


@outcome("2 of 2: the keys in the other order than the wallet sorts them")
def _() -> Draft:
    """The same keys, and an address that the wallet does not know."""
    script = multisig(2, sorted(keys_of(BACK), reverse=True))
    return paying(*shared_out(BACK, script=script), shared_coin(OURS), extra=list(XPUBS))


for _change, _coin in (("p2sh", "p2wsh"), ("p2sh-p2wsh", "p2wsh"), ("p2wsh", "p2sh-p2wsh")):

    @outcome(f"the script of {_coin} coins wrapped as {_change}")
    def _(change: str = _change, coin: str = _coin) -> Draft:
        return paying(*shared_out(BACK, wrap=change), shared_coin(OURS, wrap=coin), extra=list(XPUBS))


@outcome("2 of 2: another's key behind an IF that is nobody's")
def _() -> Draft:
    script = multisig(2, sorted(keys_of(BACK))) + b"\x63" + pushed(EVE.key("m/0")) + b"\xac\x68"
    return paying(*shared_out(BACK, script=script), shared_coin(OURS), extra=list(XPUBS))


def either(found: Sequence[Place], days: bytes, first: int = 0) -> bytes:
    """or_d(pk(A),and_v(v:pk(B),older(n)))."""
    keys = keys_of(found)
    return pushed(keys[first]) + b"\xac\x73\x64" + pushed(keys[1 - first]) + b"\xad" + days + b"\xb2\x68"


@outcome("miniscript: honest change", change={1: BACK_PATH}, signed=True)
def _() -> Draft:
    coin = shared_coin(OURS, script=either(OURS, b"\x02\x90\x00"))
    return paying(*shared_out(BACK, script=either(BACK, b"\x02\x90\x00")), coin, extra=list(XPUBS))


for _name, _script in (
    ("another lock time", either(BACK, b"\x51")),
    ("the two keys swapped", either(BACK, b"\x02\x90\x00", 1)),
    ("another's key in the second place", either([(ME, BACK_PATH), (EVE, BACK_PATH)], b"\x02\x90\x00")),
    ("another's key added", either(BACK, b"\x02\x90\x00") + b"\x73\x64" + pushed(EVE.key("m/0")) + b"\xac\x68"),
    ("another's key hash added", either(BACK, b"\x02\x90\x00") + b"\x73\x64" + p2pkh(EVE.key("m/0")) + b"\x68"),
    ("no check of the second key", either(BACK, b"\x02\x90\x00").replace(b"\xad", b"\x75")),
):

    @outcome(f"miniscript: {_name}")
    def _(script: bytes = _script) -> Draft:
        coin = shared_coin(OURS, script=either(OURS, b"\x02\x90\x00"))
        known = [*ALL_XPUBS]
        return paying(*shared_out([*BACK, (EVE, BACK_PATH)], script=script, named=BACK), coin, extra=known)


THEIRS, THEIR_BACK = places((ME, EVE), "0/9"), places((ME, EVE), "1/7")


def dust(threshold: int = 1) -> In:
    """A coin that the attacker has paid to a script of one of our keys and one of his."""
    return replace(shared_coin(THEIRS, threshold, amount=1_000), salt=5)


for _threshold in (1, 2):

    @outcome(f"change to the wallet of the attacker's coin, {_threshold} of 2, beside ours of one key")
    def _(threshold: int = _threshold) -> Draft:
        items = spend("p2wpkh", amount=1_000_000), dust(threshold)
        return paying(*shared_out(THEIR_BACK, threshold), *items, extra=[xpub(ME), xpub(EVE)])

    @outcome(f"change to the wallet of the attacker's coin, {_threshold} of 2, beside ours of another wallet")
    def _(threshold: int = _threshold) -> Draft:
        items = shared_coin(OURS), dust(threshold)
        return paying(*shared_out(THEIR_BACK, threshold), *items, extra=list(ALL_XPUBS))

    @outcome(f"change to the wallet of the attacker's coin, {_threshold} of 2, which is final and comes first")
    def _(threshold: int = _threshold) -> Draft:
        made = paying(*shared_out(THEIR_BACK, threshold), dust(threshold), shared_coin(OURS), extra=list(ALL_XPUBS))
        made.inputs[0].append((b"\x08", b"\x00"))
        return made


@outcome("change of many keys' coins to one key of ours", signed=True)
def _() -> Draft:
    """A payment: what the cosigners own together leaves their wallet."""
    return paying(p2wpkh(MINE), [out_deriv(CHANGE)], shared_coin(OURS), extra=list(XPUBS))
