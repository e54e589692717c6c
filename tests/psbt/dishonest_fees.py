"""Fees that nobody wants to pay, and what makes them look small. The limits are those of somebody who sets none."""

from __future__ import annotations

from dataclasses import replace

from cryptnox_core.bip32 import Path
from tests.psbt.cases import case, outcome
from tests.psbt.factory import (
    ME,
    OTHER,
    SPEND_PATH,
    Draft,
    In,
    Out,
    Pairs,
    bip86,
    compact,
    deriv,
    draft,
    le,
    leaf_hash,
    multisig,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    spend,
    string,
    tap_deriv,
    taproot,
)

BTC = 100_000_000
THEIR_KEY = OTHER.key("m/3")


def costing(fee: int, *ins: In, version: int = 0) -> Draft:
    """One payment; all that is left is the fee."""
    total = sum(item.amount for item in ins)
    return draft(*ins, outs=[Out(p2wpkh(OTHER.key("m/0")), total - fee)], version=version)


def theirs(amount: int, script: bytes = b"", fields: Pairs | None = None) -> In:
    """A coin of another, with its previous transaction."""
    return In(script or p2wpkh(THEIR_KEY), amount, fields or [], salt=77)


# --- the limits ------------------------------------------------------------------------------------------------------

for _version in (0, 2):

    @case(f"fee: a satoshi above a tenth of a bitcoin, version {_version}")
    def _(version: int = _version) -> Draft:
        return costing(BTC // 10 + 1, spend("p2wpkh", amount=50 * BTC), version=version)

    @outcome(f"fee: a tenth of a bitcoin, version {_version}", max_fee_rate=None)
    def _(version: int = _version) -> Draft:
        return costing(BTC // 10, spend("p2wpkh", amount=50 * BTC), version=version)

    @case(f"fee: 99 percent, version {_version}")
    def _(version: int = _version) -> Draft:
        return costing(990_000, spend("p2wpkh", amount=1_000_000), version=version)


@case("fee: 12,000 satoshi a virtual byte")
def _() -> Draft:
    return costing(12_000 * 110, spend("p2wpkh", amount=50 * BTC))


@case("fee: a satoshi above half of what is ours")
def _() -> Draft:
    return costing(100_001, spend("p2wpkh", amount=200_000))


@outcome("fee: half of what is ours", signed=True)
def _() -> Draft:
    return costing(100_000, spend("p2wpkh", amount=200_000))


@outcome("fee: 50,000 satoshi out of 50,500", signed=True)
def _() -> Draft:
    return costing(50_000, spend("p2wpkh", amount=50_500))


@case("fee: 50,001 satoshi out of 50,500")
def _() -> Draft:
    return costing(50_001, spend("p2wpkh", amount=50_500))


@case("fee: all of ours, beside a large coin of another")
def _() -> Draft:
    return costing(100_000, spend("p2wpkh", amount=100_000), theirs(10 * BTC))


@case("fee: all there is, in no output that is worth anything")
def _() -> Draft:
    return draft(spend("p2wpkh", amount=100_000), outs=[Out(b"\x6a", 0)])


# --- what is called ours, so that half of it is more -----------------------------------------------------------------


@outcome("fee: most of ours, beside another's final coin that names our key", theirs=(1,))
def _() -> Draft:
    made = costing(90_000, spend("p2wpkh", amount=100_000), theirs(BTC, fields=[deriv("m/84h/0h/0h/0/9")]))
    made.inputs[1].append((b"\x08", b"\x02" + string(bytes(71)) + string(THEIR_KEY)))
    return made


@outcome("fee: most of ours, beside another's final coin that calls its key ours", theirs=(1,))
def _() -> Draft:
    named = deriv("m/84h/0h/0h/0/9", key=THEIR_KEY)
    made = costing(90_000, spend("p2wpkh", amount=100_000), theirs(BTC, fields=[named]))
    made.inputs[1].append((b"\x08", b"\x02" + string(bytes(71)) + string(THEIR_KEY)))
    return made


@outcome("a small fee beside another's final coin that calls its key ours", theirs=(1,))
def _() -> Draft:
    named = deriv("m/84h/0h/0h/0/9", key=THEIR_KEY)
    made = costing(1_000, spend("p2wpkh", amount=100_000), theirs(BTC, fields=[named]))
    made.inputs[1].append((b"\x08", b"\x02" + string(bytes(71)) + string(THEIR_KEY)))
    return made


@outcome("a small fee beside another's final coin that names our key", theirs=(1,))
def _() -> Draft:
    made = costing(1_000, spend("p2wpkh", amount=100_000), theirs(BTC, fields=[deriv("m/84h/0h/0h/0/9")]))
    made.inputs[1].append((b"\x08", b"\x02" + string(bytes(71)) + string(THEIR_KEY)))
    return made


for _name, _script in (
    ("P2WSH whose script is not told", p2wsh(b"\x51")),
    ("P2SH whose script is not told", p2sh(b"\x51")),
    ("P2TR that nobody explains", b"\x51\x20" + THEIR_KEY[1:]),
    ("P2TR of our internal key", bip86(ME.key("m/84h/0h/0h/0/9")[1:])),
    ("a future version", b"\x52\x20" + bytes(32)),
):

    @outcome(f"fee: most of ours, beside another's {_name}", theirs=(1,))
    def _(script: bytes = _script) -> Draft:
        path = "m/84h/0h/0h/0/9"
        named = tap_deriv(path) if script[:2] == b"\x51\x20" else deriv(path)
        return costing(90_000, spend("p2wpkh", amount=100_000), theirs(BTC, script, [named]))


@outcome(
    "fee: most of ours, beside another's coin of an account's fingerprint",
    theirs=(1,),
    accounts={ME.account("m/84h/0h/0h").fingerprint: Path.parse("m/84h/0h/0h")},
)
def _() -> Draft:
    mark = ME.account("m/84h/0h/0h").fingerprint
    key = ME.key("m/84h/0h/0h/0/3")
    mine = In(p2wpkh(key), 100_000, [(b"\x06" + key, mark + le(0) + le(3))])
    return costing(90_000, mine, theirs(BTC, fields=[(b"\x06" + THEIR_KEY, mark + le(0) + le(4))]))


for _name, _script in (
    ("drops our key", pushed(ME.key("m/84h/0h/0h/0/9")) + b"\x75" + pushed(THEIR_KEY) + b"\xac"),
    ("takes our key or another's", multisig(1, [ME.key("m/84h/0h/0h/0/9"), THEIR_KEY])),
):
    for _final in (True, False):
        _when = "final" if _final else "to be signed"

        @case(f"fee: most of ours, beside another's coin that {_name}, {_when}")
        def _(script: bytes = _script, final: bool = _final) -> Draft:
            """A coin that the attacker brings and takes back: it makes half of what is ours more."""
            named = [(b"\x05", script), deriv("m/84h/0h/0h/0/9")]
            made = draft(
                spend("p2wpkh", amount=100_000),
                theirs(BTC, p2wsh(script), named),
                outs=[Out(p2wpkh(THEIR_KEY), BTC), Out(p2wpkh(OTHER.key("m/0")), 10_000)],
            )
            if final:
                made.inputs[1].append(witness(bytes(71), script))
            return made


# --- what makes the transaction look large ---------------------------------------------------------------------------

HEAVY = 390_000
"""Bytes of witness, a weight unit each: within the limit of what is relayed."""


def bloated(script: bytes, fields: Pairs, final: Pairs) -> Draft:
    """0.09 BTC for a transaction that needs 250 virtual bytes: 36,000 satoshi each."""
    item = theirs(5_000, script, fields)
    made = costing(9_000_000, spend("p2wpkh", amount=50 * BTC), item)
    made.inputs[1] += final
    return made


def witness(*items: bytes) -> tuple[bytes, bytes]:
    return b"\x08", compact(len(items)) + b"".join(map(string, items))


_LEAF, _BIG_LEAF = pushed(THEIR_KEY[1:]) + b"\xac", b"\x4e" + le(HEAVY - 2_000) + bytes(HEAVY - 2_000) + b"\x75\x51"
_TREE, _TREE_FIELDS = taproot([_LEAF, _BIG_LEAF], THEIR_KEY[1:])
_BIG_CONTROL, _BIG_VALUE = _TREE_FIELDS[1]

for _name, _script, _fields, _final in (
    ("a final P2WPKH", p2wpkh(THEIR_KEY), [], [witness(bytes(HEAVY), THEIR_KEY)]),
    ("a final P2WPKH of many items", p2wpkh(THEIR_KEY), [], [witness(*[bytes(70)] * 5_000)]),
    ("a final key path", b"\x51\x20" + THEIR_KEY[1:], [], [witness(bytes(HEAVY))]),
    ("a final key path with an annex", b"\x51\x20" + THEIR_KEY[1:], [], [witness(bytes(64), b"\x50" + bytes(HEAVY))]),
    ("a final leaf", _TREE, [], [witness(_BIG_LEAF, _BIG_CONTROL[1:])]),
    ("a final P2PKH", p2pkh(THEIR_KEY), [], [(b"\x07", bytes(HEAVY // 4))]),
    ("a final P2SH", p2sh(b"\x51"), [], [(b"\x07", b"\x4e" + le(HEAVY // 4) + bytes(HEAVY // 4) + b"\x01\x51")]),
    (
        "a final nested P2WPKH",
        p2sh(p2wpkh(THEIR_KEY)),
        [],
        [(b"\x07", pushed(p2wpkh(THEIR_KEY))), witness(bytes(HEAVY))],
    ),
    ("a final P2WSH", p2wsh(b"\x75\x51"), [], [witness(bytes(HEAVY), b"\x75\x51")]),
    ("a final future version", b"\x52\x20" + bytes(32), [], [witness(bytes(HEAVY))]),
    ("a final bare script", b"\x75\x51", [], [(b"\x07", bytes(HEAVY // 4))]),
    ("a leaf", _TREE, [_TREE_FIELDS[1]], []),
    ("a leaf beside a small one", _TREE, _TREE_FIELDS, []),
    (
        "a multisig of sixteen",
        p2wsh(multisig(16, [THEIR_KEY] * 16)),
        [(b"\x05", multisig(16, [THEIR_KEY] * 16))],
        [],
    ),
):

    @case(f"fee: 30,000 satoshi a virtual byte beside {_name}")
    def _(script: bytes = _script, fields: Pairs = _fields, final: Pairs = _final) -> Draft:
        return bloated(script, fields, final)


@case("fee: 30,000 satoshi a virtual byte of our own, beside ten final scripts")
def _() -> Draft:
    items = [replace(theirs(5_000, p2wsh(b"\x75\x51")), salt=100 + number) for number in range(10)]
    made = costing(9_900_000, spend("p2wpkh", amount=50 * BTC), *items)
    for pairs in made.inputs[1:]:
        pairs.append(witness(bytes(1_000), b"\x75\x51"))
    return made


@case("fee: 30,000 satoshi a virtual byte beside a leaf of our own coin that nobody uses")
def _() -> Draft:
    path = SPEND_PATH["tapscript"].format(0)
    leaf = pushed(ME.key(path)[1:]) + b"\xac"
    script, fields = taproot([leaf, _BIG_LEAF])
    item = In(script, 50 * BTC, [*fields, tap_deriv(path, [leaf_hash(leaf)])])
    return costing(9_000_000, item)


_PAD = b"\x4e" + le(HEAVY - 2_000) + bytes(HEAVY - 2_000) + b"\x75"


@case("fee: 30,000 satoshi a virtual byte beside a large leaf of our key below another's")
def _() -> Draft:
    """We sign the leaf, and the other spends the coin by its internal key: 66 bytes."""
    path = SPEND_PATH["tapscript"].format(0)
    leaf = _PAD + pushed(ME.key(path)[1:]) + b"\xac"
    script, fields = taproot([leaf], THEIR_KEY[1:])
    item = In(script, 5_000, [*fields, tap_deriv(path, [leaf_hash(leaf)])])
    return costing(9_000_000, spend("p2wpkh", amount=50 * BTC), item)


for _number in range(4):

    @case(f"fee: 30,000 satoshi a virtual byte of two leaves of ours, one of them large ({_number})")
    def _(number: int = _number) -> Draft:
        """Both are signed, and the small one is spent."""
        path = SPEND_PATH["tapscript"].format(0)
        end = pushed(ME.key(path)[1:]) + b"\xac"
        leaves = [end, _PAD + bytes((0x51 + number, 0x75)) + end]
        script, fields = taproot(leaves)
        item = In(script, 50 * BTC, [*fields, tap_deriv(path, map(leaf_hash, leaves))])
        return costing(9_000_000, item)


@case("weight: outputs of more than 400,000 units")
def _() -> Draft:
    outs = [Out(p2wpkh(OTHER.key("m/0")), 1_000)] * 3_250
    return draft(spend("p2wpkh", amount=4_000_000), outs=outs)


@case("weight: a final witness of more than 400,000 units")
def _() -> Draft:
    made = costing(1_000, spend("p2wpkh", amount=BTC), theirs(5_000, p2wsh(b"\x75\x51")))
    made.inputs[1].append(witness(bytes(400_000), b"\x75\x51"))
    return made


@case("weight: one data output of more than 400,000 units")
def _() -> Draft:
    outs = [Out(b"\x6a\x4e" + le(100_000) + bytes(100_000), 0), Out(p2wpkh(OTHER.key("m/0")), 99_000)]
    return draft(spend("p2wpkh"), outs=outs)


# --- fees that cannot be told ----------------------------------------------------------------------------------------


def _unknown() -> Draft:
    other = replace(theirs(5_000), previous=False, witness_utxo=False)
    return draft(spend("p2wpkh", amount=BTC), other, outs=[Out(p2wpkh(OTHER.key("m/0")), 1_000)])


@case("fee: unknown, one coin of another without UTXO")
def _() -> Draft:
    return _unknown()


@outcome("fee: unknown, with leave for it", grave="UNKNOWN_FEE", signed=True, allow_unproved_amounts=True)
def _() -> Draft:
    return _unknown()


@outcome("fee: one coin of another said to hold more than it does", grave="UNKNOWN_FEE", allow_unproved_amounts=True)
def _() -> Draft:
    made = draft(spend("p2wpkh", amount=BTC), theirs(5_000), outs=[Out(p2wpkh(OTHER.key("m/0")), 1_000)])
    made.inputs[1] = [(b"\x01", le(2 * BTC, 8) + string(p2wpkh(THEIR_KEY)))]
    return made
