"""Amounts that one run cannot trust, networks that contradict, messages in disguise, and other things that strangers
write."""

from __future__ import annotations

from dataclasses import replace

from hwilib_cryptnox.psbt import Chain
from hwilib_cryptnox.psbt.message import to_spend
from tests.psbt.cases import case, outcome, swap
from tests.psbt.factory import (
    ME,
    OTHER,
    SPEND_PATH,
    Draft,
    In,
    Out,
    Pairs,
    bip86,
    deriv,
    draft,
    le,
    leaf_hash,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sha,
    sighash,
    spend,
    string,
    tap_deriv,
    taproot,
)
from tests.support.curve import PublicKey

THEIR_KEY = OTHER.key("m/3")
UNPROVED_KINDS = ("p2wpkh", "p2sh-p2wpkh", "p2wsh", "p2sh-p2wsh", "miniscript")
OTHER_NETWORK = "--chain names another network"


def theirs(number: int = 0, script: bytes = b"", **options: object) -> In:
    """A coin of another that says so."""
    item = In(script or p2wpkh(THEIR_KEY), fields=[deriv("m/3", OTHER)], salt=70 + number)
    return replace(item, **options)  # type: ignore[arg-type]


def their_taproot(**options: object) -> In:
    return replace(In(bip86(THEIR_KEY[1:]), salt=80), **options)  # type: ignore[arg-type]


def our_leaf(**options: object) -> In:
    """A leaf of ours below another's internal key."""
    path = SPEND_PATH["tapscript"].format(0)
    leaf = pushed(ME.key(path)[1:]) + b"\xac"
    script, fields = taproot([leaf], THEIR_KEY[1:])
    return replace(In(script, fields=[*fields, tap_deriv(path, [leaf_hash(leaf)])]), **options)  # type: ignore[arg-type]


# --- amounts ---------------------------------------------------------------------------------------------------------

UNPROVED = "its amount is not proved"

for _version in (0, 2):
    for _kind in UNPROVED_KINDS:

        @outcome(f"unproved {_kind} beside another's unproved coin, version {_version}", refused=UNPROVED)
        def _(kind: str = _kind, version: int = _version) -> Draft:
            return draft(spend(kind, previous=False), theirs(previous=False), version=version)

        @outcome(f"unproved {_kind} beside an unproved leaf of ours, version {_version}", refused=UNPROVED)
        def _(kind: str = _kind, version: int = _version) -> Draft:
            return draft(spend(kind, previous=False), our_leaf(previous=False), version=version)

    for _kind in (*UNPROVED_KINDS, "p2pkh", "p2pk", "multisig", "p2sh"):

        @outcome(f"proved {_kind} beside another's unproved coin, version {_version}", refused=UNPROVED)
        def _(kind: str = _kind, version: int = _version) -> Draft:
            return draft(spend(kind), theirs(previous=False), version=version)

        @outcome(f"proved {_kind} beside another's unproved taproot coin, version {_version}", refused=UNPROVED)
        def _(kind: str = _kind, version: int = _version) -> Draft:
            return draft(spend(kind), their_taproot(previous=False), version=version)

        @outcome(f"proved {_kind} beside another's coin without UTXO, version {_version}", refused=UNPROVED)
        def _(kind: str = _kind, version: int = _version) -> Draft:
            return draft(spend(kind), theirs(previous=False, witness_utxo=False), version=version)

        @outcome(f"proved {_kind} beside another's final coin without UTXO, version {_version}", refused=UNPROVED)
        def _(kind: str = _kind, version: int = _version) -> Draft:
            made = draft(spend(kind), theirs(previous=False, witness_utxo=False), version=version)
            made.inputs[1] = [(b"\x08", b"\x01\x01\x51")]
            return made

    @outcome(f"an unproved coin of ours that is signed already, version {_version}", refused=UNPROVED)
    def _(version: int = _version) -> Draft:
        made = draft(spend("p2wpkh", 0, previous=False), spend("p2wpkh", 1), version=version)
        made.inputs[0].append(_signature(made, 0))
        return made

    @outcome(f"an unproved rawtr beside an unproved P2WPKH, version {_version}", refused=UNPROVED)
    def _(version: int = _version) -> Draft:
        return draft(spend("rawtr", 0, previous=False), spend("p2wpkh", 1, previous=False), version=version)

    @outcome(f"an unproved rawtr beside a proved P2PKH, version {_version}", refused=UNPROVED)
    def _(version: int = _version) -> Draft:
        return draft(spend("rawtr", 0, previous=False), spend("p2pkh", 1), version=version)

    @outcome(f"one unproved P2WPKH beside another's proved coin, version {_version}", signed=True)
    def _(version: int = _version) -> Draft:
        return draft(spend("p2wpkh", previous=False), theirs(), version=version)

    @outcome(f"taproot signatures beside another's unproved coin, version {_version}", signed=True)
    def _(version: int = _version) -> Draft:
        items = [spend("rawtr", previous=False), our_leaf(previous=False), theirs(previous=False)]
        return draft(*items, version=version)


def _signature(made: Draft, index: int) -> tuple[bytes, bytes]:
    """Our valid partial signature of a P2WPKH coin."""
    from hwilib_cryptnox.psbt.sighash import SignatureHasher
    from hwilib_cryptnox.psbt.tx import Transaction

    private = ME.private(SPEND_PATH["p2wpkh"].format(index))
    key = private.public_key.format()
    digest = SignatureHasher(Transaction.parse(made.unsigned())).segwit_v0(index, p2pkh(key), made.ins[index].amount, 1)
    return b"\x02" + key, private.sign(digest, hasher=None) + b"\x01"


@case("another's witness_utxo has another script than its previous transaction")
def _() -> Draft:
    bent = draft(spend("p2wpkh"), theirs())
    swap(bent.inputs[1], b"\x01", le(100_000, 8) + string(p2pkh(THEIR_KEY)))
    return bent


@case("another's witness_utxo with a negative amount")
def _() -> Draft:
    return draft(spend("rawtr"), theirs(amount=(1 << 64) - 5), outs=[Out(p2wpkh(THEIR_KEY), 99_990)])


@case("another's coin above all bitcoin")
def _() -> Draft:
    return draft(spend("rawtr"), theirs(amount=21_000_000 * 10**8 + 1), outs=[Out(p2wpkh(THEIR_KEY), 99_990)])


@case("a transaction without outputs")
def _() -> Draft:
    made = draft(spend("p2wpkh", amount=20_000))
    return Draft(made.ins, [])


@case("a transaction without outputs, version 2")
def _() -> Draft:
    return Draft([spend("p2wpkh", amount=20_000)], [], version=2)


@outcome("taproot with ANYONECANPAY beside another's unproved coin", grave="SIGHASH", allow_sighash=True)
def _() -> Draft:
    made = draft(spend("rawtr"), theirs())
    made.inputs[0].append(sighash(0x81))
    made.inputs[1] = [(b"\x01", le(95_000, 8) + string(p2wpkh(THEIR_KEY)))]
    return made


@outcome("another's coin said to hold less, beside P2PKH of ours")
def _() -> Draft:
    made = draft(spend("p2pkh"), theirs(), outs=[Out(p2wpkh(THEIR_KEY), 100_000)])
    made.inputs[1] = [(b"\x01", le(1_000, 8) + string(p2wpkh(THEIR_KEY)))]
    return made


# --- networks --------------------------------------------------------------------------------------------------------


def at(path: str, *, change: str | None = None) -> Draft:
    """A P2WPKH coin of ours at a path."""
    item = In(p2wpkh(ME.key(path)), fields=[deriv(path)])
    outs = [Out(p2wpkh(OTHER.key("m/0")), 50_000)]
    if change is not None:
        outs.append(Out(p2wpkh(ME.key(change)), 49_000, [(b"\x02" + ME.key(change), ME.origin(change))]))
    return draft(item, outs=outs)


for _purpose in ("44h", "49h", "84h", "86h", "87h"):
    for _coin, _chain in (("1h", Chain.MAIN), ("0h", Chain.TEST), ("0h", Chain.REGTEST)):

        @outcome(
            f"a key of {_purpose}/{_coin} where {_chain.name} was named",
            refused="--chain names another network",
            chain=_chain,
        )
        def _(purpose: str = _purpose, coin: str = _coin) -> Draft:
            return at(f"m/{purpose}/{coin}/0h/0/0")


@outcome("a key of 48h/1h where MAIN was named", refused=OTHER_NETWORK, chain=Chain.MAIN)
def _() -> Draft:
    return at("m/48h/1h/0h/2h/0/0")


@outcome("one coin of each network where MAIN was named", refused=OTHER_NETWORK, chain=Chain.MAIN)
def _() -> Draft:
    path = "m/84h/1h/0h/0/0"
    return draft(spend("p2wpkh"), In(p2wpkh(ME.key(path)), fields=[deriv(path)], salt=3))


@outcome(
    "change of the other network where MAIN was named",
    change={1: "m/84h/1h/0h/1/0"},
    grave="CHANGE_PATH",
    chain=Chain.MAIN,
)
def _() -> Draft:
    return at("m/84h/0h/0h/0/0", change="m/84h/1h/0h/1/0")


for _coin, _chain in (("0h", Chain.MAIN), ("1h", Chain.TEST), ("1h", Chain.REGTEST), ("0h", None), ("1h", None)):

    @outcome(f"a key of {_coin} where {_chain.name if _chain else 'nothing'} was named", signed=True, chain=_chain)
    def _(coin: str = _coin) -> Draft:
        return at(f"m/84h/{coin}/0h/0/0")


# --- messages in disguise --------------------------------------------------------------------------------------------

MESSAGE = b"I owe you everything."


def disguised(kind: str = "p2wpkh", *, proved: bool = True, extra_in: In | None = None, first: bool = True) -> Draft:
    """The transaction whose signature is a signed message (BIP322), as any PSBT."""
    item = spend(kind, amount=0)
    previous = to_spend(MESSAGE, item.script)
    txid = sha(sha(previous))
    items = [item] if extra_in is None else [item, extra_in]
    made = Draft(items, [Out(b"\x6a", 0)], tx_version=0)
    made.ins[0] = _Virtual(**{**item.__dict__, "sequence": 0}, outpoint_=txid + bytes(4))
    pairs = [pair for pair in item.pairs() if pair[0] not in (b"\x00", b"\x01")]
    utxo: Pairs = [(b"\x00", previous)] if proved else []
    if kind != "p2pkh":
        utxo.append((b"\x01", le(0, 8) + string(item.script)))
    made.inputs[0] = utxo + pairs
    if not first:
        made.ins.reverse()
        made.inputs.reverse()
    return made


class _Virtual(In):
    """An input that spends what is on no chain."""

    def __init__(self, outpoint_: bytes, **fields: object) -> None:
        super().__init__(**fields)  # type: ignore[arg-type]
        self._outpoint = outpoint_

    @property
    def outpoint(self) -> bytes:
        return self._outpoint


for _kind in ("p2wpkh", "p2sh-p2wpkh", "p2wsh", "rawtr", "tapscript", "p2pkh"):

    @case(f"message in disguise: {_kind}")
    def _(kind: str = _kind) -> Draft:
        return disguised(kind)


for _kind in ("p2wpkh", "p2sh-p2wpkh", "p2wsh", "rawtr"):

    @case(f"message in disguise: {_kind}, unproved")
    def _(kind: str = _kind) -> Draft:
        return disguised(kind, proved=False)


@case("message in disguise: with a coin of ours as its proof of funds")
def _() -> Draft:
    return disguised(extra_in=spend("p2wpkh", 4, amount=10_000))


@case("message in disguise: behind a coin of ours")
def _() -> Draft:
    return disguised(extra_in=spend("p2wpkh", 4, amount=10_000), first=False)


@case("message in disguise: another's, for which coins of ours are the proof of funds")
def _() -> Draft:
    made = disguised(extra_in=spend("p2wpkh", 4, amount=10_000))
    made.inputs[0] = [pair for pair in made.inputs[0] if pair[0][0] != 0x06]
    return made


@case("message in disguise: the field that names the message names another")
def _() -> Draft:
    made = disguised()
    made.extra.append((b"\x09", b"Hello"))
    made.inputs[0].append((b"\x09", b"Hello"))
    return made


# --- keys ------------------------------------------------------------------------------------------------------------


@outcome("our key in both forms, the uncompressed one called another's", signed=True)
def _() -> Draft:
    path = SPEND_PATH["p2wpkh"].format(0)
    whole = PublicKey(ME.key(path)).format(compressed=False)
    made = draft(spend("p2wpkh"))
    made.inputs[0].append((b"\x06" + whole, OTHER.origin("m/1")))
    return made


@case("our key in both forms, both called ours")
def _() -> Draft:
    path = SPEND_PATH["p2wpkh"].format(0)
    whole = PublicKey(ME.key(path)).format(compressed=False)
    made = draft(spend("p2wpkh"))
    made.inputs[0].append((b"\x06" + whole, ME.origin(path)))
    return made


@case("our key of the other parity in a script that holds the true one")
def _() -> Draft:
    made = draft(spend("p2wsh"))
    path = SPEND_PATH["p2wsh"].format(0)
    key = ME.key(path)
    made.inputs[0] = [
        (b"\x06" + bytes((key[0] ^ 1,)) + key[1:], value) if field == b"\x06" + key else (field, value)
        for field, value in made.inputs[0]
    ]
    return made


for _kind in ("p2wpkh", "p2pkh", "p2sh-p2wpkh", "p2wsh"):

    @case(f"{_kind}: another's coin and true key under our fingerprint")
    def _(kind: str = _kind) -> Draft:
        scripts = {"p2wpkh": p2wpkh, "p2pkh": p2pkh, "p2sh-p2wpkh": lambda key: p2sh(p2wpkh(key))}
        named = deriv("m/84h/0h/0h/0/1", key=THEIR_KEY)
        if kind == "p2wsh":
            script = pushed(THEIR_KEY) + b"\xac"
            other = In(p2wsh(script), fields=[named, (b"\x05", script)], salt=9)
        else:
            redeem = [(b"\x04", p2wpkh(THEIR_KEY))] if kind == "p2sh-p2wpkh" else []
            other = In(scripts[kind](THEIR_KEY), fields=[named, *redeem], witness_utxo=kind != "p2pkh", salt=9)
        return draft(spend("p2wpkh"), other)


@case("300 coins that hold a key of ours and another's that is called ours")
def _() -> Draft:
    named = deriv("m/84h/0h/0h/0/1", key=THEIR_KEY)
    script = pushed(THEIR_KEY) + b"\x75" + pushed(ME.key(SPEND_PATH["p2wsh"].format(0))) + b"\xac"
    fields = [named, deriv(SPEND_PATH["p2wsh"].format(0)), (b"\x05", script)]
    return draft(*[In(p2wsh(script), 1_000, fields, salt=number) for number in range(300)])


@case("20 skipped coins of ours in other accounts, and a false one")
def _() -> Draft:
    items = [spend("p2wpkh")]
    for account in range(20):
        path = f"m/84h/0h/{50 + account}h/0/0"
        items.append(In(p2wsh(b"\x51"), 1_000, [deriv(path)], salt=200 + account))
    items.append(In(p2wsh(b"\x51"), 1_000, [deriv("m/84h/0h/99h/0/0", key=THEIR_KEY)], salt=300))
    return draft(*items)
