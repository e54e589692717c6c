"""Outputs that say to be ours: false claims are refused, and what nothing proves is a payment.

In every case output 0 is an honest payment and output 1 takes the rest; the attacker wants it to be called change.
"""

from __future__ import annotations

from dataclasses import replace

from cryptnox_core.bip32 import Path
from tests.psbt.cases import case, outcome
from tests.psbt.factory import (
    ME,
    OTHER,
    Draft,
    In,
    Out,
    Pairs,
    Wallet,
    bip86,
    deriv,
    draft,
    le,
    leaf_hash,
    multisig,
    out_deriv,
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
from tests.support.curve import PublicKey

EVE = Wallet(b"who has written the PSBT")
CHANGE = "m/84h/0h/0h/1/5"
MINE = ME.key(CHANGE)
REST = 899_000


def paying(script: bytes, fields: Pairs, *ins: In, extra: Pairs | None = None) -> Draft:
    """The rest goes to `script`, which claims what `fields` say."""
    items = ins or (spend("p2wpkh", amount=1_000_000),)
    rest = sum(item.amount for item in items) - 1_000_000 + REST
    outs = [Out(p2wpkh(OTHER.key("m/0")), 100_000), Out(script, rest, fields)]
    return Draft(list(items), outs, extra=extra or [])


# --- false claims, and claims that nobody compares -------------------------------------------------------------------

DEEP = "m/84h/0h/0h/1/2/3/4/5/6"


@case("change: another's key at a path of nine levels")
def _() -> Draft:
    key = EVE.key("m/0")
    return paying(p2wpkh(key), [out_deriv(DEEP, key=key)])


@case("change: our own key at a path of nine levels")
def _() -> Draft:
    return paying(p2wpkh(ME.key(DEEP)), [out_deriv(DEEP)])


@case("change: another's key at a path of 255 levels")
def _() -> Draft:
    key = EVE.key("m/0")
    return paying(p2wpkh(key), [(b"\x02" + key, ME.fingerprint + le(1) * 255)])


@case("change: a taproot claim at a path of nine levels")
def _() -> Draft:
    key = EVE.key("m/0")
    return paying(b"\x51\x20" + key[1:], [(b"\x07" + key[1:], b"\x00" + ME.origin(DEEP))])


@case("change: our fingerprint alone, without a level")
def _() -> Draft:
    key = EVE.key("m/0")
    return paying(p2wpkh(key), [(b"\x02" + key, ME.fingerprint)])


for _kind in ("p2wpkh", "p2pkh", "p2sh-p2wpkh", "rawtr", "p2wsh"):

    @case(f"change: our fingerprint with another's key in a {_kind} output")
    def _(kind: str = _kind) -> Draft:
        key = EVE.key("m/0")
        fields = [out_deriv(CHANGE, key=key)]
        if kind == "rawtr":
            return paying(b"\x51\x20" + key[1:], [(b"\x07" + key[1:], b"\x00" + ME.origin(CHANGE))])
        if kind == "p2wsh":
            script = multisig(1, [key])
            return paying(p2wsh(script), [(b"\x01", script), *fields])
        scripts = {"p2wpkh": p2wpkh(key), "p2pkh": p2pkh(key), "p2sh-p2wpkh": p2sh(p2wpkh(key))}
        return paying(scripts[kind], fields)


@case("change: our fingerprint with another's key in a P2WSH output whose script is not told")
def _() -> Draft:
    key = EVE.key("m/0")
    return paying(p2wsh(multisig(1, [key])), [out_deriv(CHANGE, key=key)])


@case("change: our key of the other parity")
def _() -> Draft:
    key = bytes((MINE[0] ^ 1,)) + MINE[1:]
    return paying(p2wpkh(key), [out_deriv(CHANGE, key=key)])


@case("change: a true claim beside a false one")
def _() -> Draft:
    key = EVE.key("m/0")
    script = multisig(1, [MINE, key])
    return paying(p2wsh(script), [(b"\x01", script), out_deriv(CHANGE), out_deriv("m/84h/0h/0h/1/6", key=key)])


@case("change: a second claim that lends its usual path")
def _() -> Draft:
    far = "m/84h/0h/0h/1/2147483646"
    return paying(p2wpkh(ME.key(far)), [out_deriv(far), out_deriv(CHANGE)])


@case("change: the usual path told first, the output's key behind it")
def _() -> Draft:
    far = "m/84h/0h/0h/1/2147483646"
    return paying(p2wpkh(ME.key(far)), [out_deriv(CHANGE), out_deriv(far)])


def crowd(number: int, last: Out) -> Draft:
    """Outputs of ours in as many accounts, and one more."""
    outs = []
    for account in range(number):
        path = f"m/84h/0h/{100 + account}h/1/0"
        outs.append(Out(p2wpkh(ME.key(path)), 1_000, [out_deriv(path)]))
    outs.append(replace(last, amount=REST + 100_000 - number * 1_000))
    return draft(spend("p2wpkh", amount=1_000_000), outs=outs)


for _number in (15, 16, 17, 40):

    @case(f"change: a false claim behind {_number} true ones of other accounts")
    def _(number: int = _number) -> Draft:
        key = EVE.key("m/0")
        return crowd(number, Out(p2wpkh(key), 0, [out_deriv("m/84h/0h/77h/1/0", key=key)]))

    @case(f"change: a false claim on the inputs' own account behind {_number} true ones of other accounts")
    def _(number: int = _number) -> Draft:
        key = EVE.key("m/0")
        return crowd(number, Out(p2wpkh(key), 0, [out_deriv(CHANGE, key=key)]))


@case("change: 3,000 false claims")
def _() -> Draft:
    key = EVE.key("m/0")
    outs = [Out(p2wpkh(key), 100, [out_deriv(f"m/84h/0h/{number}h/1/0", key=key)]) for number in range(3_000)]
    return draft(spend("p2wpkh", amount=1_000_000), outs=outs)


# --- true claims on what is not the card's alone ---------------------------------------------------------------------


@outcome("P2TR beside a true key of ours")
def _() -> Draft:
    return paying(b"\x51\x20" + EVE.key("m/0")[1:], [tap_deriv(CHANGE, kind=0x07)])


@outcome("P2TR beside a true key of ours in the field of ECDSA keys")
def _() -> Draft:
    return paying(b"\x51\x20" + EVE.key("m/0")[1:], [out_deriv(CHANGE)])


@outcome("P2TR beside a true key of ours called its internal key")
def _() -> Draft:
    return paying(b"\x51\x20" + EVE.key("m/0")[1:], [tap_deriv(CHANGE, kind=0x07), (b"\x05", MINE[1:])])


@outcome("P2TR with our internal key and another's leaf")
def _() -> Draft:
    leaf = pushed(EVE.key("m/0")[1:]) + b"\xac"
    script, _ = taproot([leaf], MINE[1:])
    tree = (b"\x06", b"\x00\xc0" + string(leaf))
    return paying(script, [tap_deriv(CHANGE, kind=0x07), (b"\x05", MINE[1:]), tree])


@outcome("P2TR with our leaf and another's internal key")
def _() -> Draft:
    leaf, internal = pushed(MINE[1:]) + b"\xac", EVE.key("m/0")[1:]
    script, _ = taproot([leaf], internal)
    tree = (b"\x06", b"\x00\xc0" + string(leaf))
    return paying(script, [tap_deriv(CHANGE, [leaf_hash(leaf)], kind=0x07), (b"\x05", internal), tree])


@outcome("P2TR of ours that the card cannot spend")
def _() -> Draft:
    return paying(bip86(MINE[1:]), [tap_deriv(CHANGE, kind=0x07), (b"\x05", MINE[1:])])


@outcome("P2TR that aggregates our key with another's")
def _() -> Draft:
    aggregate = PublicKey.combine_keys([PublicKey(MINE), PublicKey(EVE.key("m/0"))]).format()
    fields = [tap_deriv(CHANGE, kind=0x07), (b"\x08" + aggregate, MINE + EVE.key("m/0"))]
    return paying(bip86(aggregate[1:]), fields)


@outcome("P2WSH without its script beside a true key of ours")
def _() -> Draft:
    return paying(p2wsh(multisig(1, [EVE.key("m/0")])), [out_deriv(CHANGE)])


@outcome("P2SH without its script beside a true key of ours")
def _() -> Draft:
    return paying(p2sh(multisig(1, [EVE.key("m/0")])), [out_deriv(CHANGE)])


@outcome("P2SH-P2WSH without its witness script beside a true key of ours")
def _() -> Draft:
    program = p2wsh(multisig(1, [EVE.key("m/0")]))
    return paying(p2sh(program), [(b"\x00", program), out_deriv(CHANGE)])


@outcome("P2SH without its redeem script, with a witness script that holds our key")
def _() -> Draft:
    return paying(p2sh(p2wsh(b"\x51")), [(b"\x01", multisig(1, [MINE])), out_deriv(CHANGE)])


@outcome("a future witness version beside a true key of ours")
def _() -> Draft:
    return paying(b"\x52\x20" + MINE[1:], [out_deriv(CHANGE)])


@outcome("a witness program of version 1 and 33 bytes that is our key")
def _() -> Draft:
    return paying(b"\x51\x21" + MINE, [out_deriv(CHANGE)])


@outcome("data that is our key")
def _() -> Draft:
    return paying(b"\x6a" + pushed(MINE), [out_deriv(CHANGE)])


for _name, _script in (
    ("anyone's script that drops our key", pushed(MINE) + b"\x75\x51"),
    ("a bare script of our key that never ends well", pushed(MINE) + b"\xac\x6a"),
    ("our key in an uncompressed form", p2pkh(PublicKey(MINE).format(compressed=False))),
    ("bare multisig of our key and another's", multisig(1, [MINE, EVE.key("m/0")])),
    ("an empty script", b""),
    ("P2WPKH of our key with a byte behind it", p2wpkh(MINE) + b"\x51"),
    ("P2PKH of our key with a verify in place of its end", p2pkh(MINE)[:-1] + b"\xad"),
):

    @outcome(f"a true key of ours and {_name}")
    def _(script: bytes = _script) -> Draft:
        return paying(script, [out_deriv(CHANGE)])


@outcome("an uncompressed claim on an uncompressed P2PKH output")
def _() -> Draft:
    key = PublicKey(MINE).format(compressed=False)
    return paying(p2pkh(key), [out_deriv(CHANGE, key=key)])


for _name, _script in (
    ("1 of 2 with another's key", multisig(1, [MINE, EVE.key("m/0")])),
    ("1 of 3 with our key twice", multisig(1, [MINE, MINE, EVE.key("m/0")])),
    ("our key or another's", pushed(MINE) + b"\xac\x73\x64" + pushed(EVE.key("m/0")) + b"\xac\x68"),
    ("our key's hash or another's key", p2pkh(MINE) + b"\x73\x64" + pushed(EVE.key("m/0")) + b"\xac\x68"),
    ("our key or a preimage", pushed(MINE) + b"\xac\x73\x64\xa8\x20" + bytes(32) + b"\x87\x68"),
    ("our key dropped and another's", pushed(MINE) + b"\x75" + pushed(EVE.key("m/0")) + b"\xac"),
    ("our key at a time that never comes", pushed(MINE) + b"\xad\x05\xff\xff\xff\xff\x00\xb1"),
):
    for _wrap in ("p2wsh", "p2sh", "p2sh-p2wsh"):

        @outcome(f"{_wrap} of coins of one key: {_name}")
        def _(script: bytes = _script, wrap: str = _wrap) -> Draft:
            if wrap == "p2sh":
                return paying(p2sh(script), [(b"\x00", script), out_deriv(CHANGE)])
            nested = [(b"\x00", p2wsh(script))] if wrap == "p2sh-p2wsh" else []
            program = p2sh(p2wsh(script)) if nested else p2wsh(script)
            return paying(program, [*nested, (b"\x01", script), out_deriv(CHANGE)])


# --- true change where no wallet looks for it ------------------------------------------------------------------------


def odd(path: str, *ins: In) -> Draft:
    """Change of ours at a path."""
    return paying(p2wpkh(ME.key(path)), [out_deriv(path)], *ins)


for _path in (
    "m/84h/0h/0h/1234567/5",
    "m/84h/0h/0h/2/5",
    "m/84h/0h/0h/1h/5",
    "m/84h/0h/0h/1/5h",
    "m/84h/0h/1h/1/5",
    "m/84h/1h/0h/1/5",
    "m/84h/2h/0h/1/5",
    "m/84h/0h/0h/1/1006",
    "m/84h/0h/0h/1/2147483646",
    "m/84h/0h/0h/1/2147483647",
    "m/84h/0h/0h/1/5/0",
    "m/84h/0h/0h/1",
    "m/84h/0h/0h",
    "m/84/0/0/1/5",
    "m/49h/0h/0h/1/5",
    "m/0/0",
    "m/5",
    "m/48h/0h/0h/2h/1/5",
    "m/83696968h/0h/0h/1/5",
):

    @outcome(f"change at {_path}", change={1: _path}, grave="CHANGE_PATH", signed=True)
    def _(path: str = _path) -> Draft:
        return odd(path, spend("p2wpkh", 5, amount=1_000_000))


@outcome(
    "change at an index of a skipped coin alone",
    change={1: "m/84h/0h/0h/1/2147483000"},
    grave="CHANGE_PATH",
    theirs=(1,),
)
def _() -> Draft:
    far = "m/84h/0h/0h/1/2147482999"
    theirs = In(p2wsh(b"\x51"), 1_000, [deriv(far)])
    return odd("m/84h/0h/0h/1/2147483000", spend("p2wpkh", 5, amount=1_000_000), theirs)


@outcome(
    "change in an account of a skipped coin alone",
    change={1: "m/84h/0h/9h/1/0"},
    grave="CHANGE_PATH",
    theirs=(1,),
)
def _() -> Draft:
    theirs = In(bip86(ME.key("m/84h/0h/9h/1/9")[1:]), 1_000, [tap_deriv("m/84h/0h/9h/1/9")])
    return odd("m/84h/0h/9h/1/0", spend("p2wpkh", 5, amount=1_000_000), theirs)


@outcome(
    "change in an account that another's final coin names",
    change={1: "m/84h/0h/9h/1/0"},
    grave="CHANGE_PATH",
    theirs=(1,),
)
def _() -> Draft:
    """The key is ours, and the output that is spent does not hold it."""
    theirs = In(p2wsh(b"\x51"), 1_000, [deriv("m/84h/0h/9h/1/9"), (b"\x08", b"\x01\x01\x51")])
    return odd("m/84h/0h/9h/1/0", spend("p2wpkh", 5, amount=1_000_000), theirs)


_FAR, _NINTH = "m/84h/0h/0h/1/2147483000", "m/84h/0h/9h/1/0"


def _held(path: str) -> In:
    """Dust that the attacker has paid to a script of his, which holds a key of ours as well."""
    script = pushed(ME.key(path)) + b"\x75" + pushed(EVE.key("m/0")) + b"\xac"
    return In(p2wsh(script), 1_000, [(b"\x05", script), deriv(path)], salt=8)


for _when in ("to be signed", "final"):

    @outcome(f"index lent by another's coin that holds our key, {_when}", change={1: _FAR}, grave="CHANGE_PATH")
    def _(when: str = _when) -> Draft:
        made = odd(_FAR, spend("p2wpkh", 5, amount=1_000_000), _held("m/84h/0h/0h/1/2147482990"))
        if when == "final":
            made.inputs[1].append((b"\x08", b"\x01" + string(made.inputs[1][2][1])))
        return made

    @outcome(f"account lent by another's coin that holds our key, {_when}", change={1: _NINTH}, grave="CHANGE_PATH")
    def _(when: str = _when) -> Draft:
        made = odd(_NINTH, spend("p2wpkh", 5, amount=1_000_000), _held("m/84h/0h/9h/1/9"))
        if when == "final":
            made.inputs[1].append((b"\x08", b"\x01" + string(made.inputs[1][2][1])))
        return made


@outcome("index lent by dust that was paid to a key of ours", change={1: _FAR}, grave="CHANGE_PATH")
def _() -> Draft:
    """Whoever has the account's extended key pays a few satoshi there, and then lays the change beside."""
    lent = "m/84h/0h/0h/1/2147482990"
    dust = In(p2wpkh(ME.key(lent)), 600, [deriv(lent)], salt=8)
    return odd(_FAR, spend("p2wpkh", 5, amount=1_000_000), dust)


for _path in ("m/84h/0h/0h/0/0", "m/84h/0h/0h/1/0", "m/84h/0h/0h/1/1005"):

    @outcome(f"honest change at {_path}", change={1: _path}, signed=True)
    def _(path: str = _path) -> Draft:
        return odd(path, spend("p2wpkh", 5, amount=1_000_000))


# --- accounts that are known by their fingerprint alone --------------------------------------------------------------

ACCOUNT = Path.parse("m/84h/0h/0h")
MARK = ME.account(ACCOUNT).fingerprint
ACCOUNTS = {MARK: ACCOUNT}


def electrum_coin(number: int = 3) -> In:
    """Our coin as a wallet describes it that knows its account alone."""
    key = ME.key(f"m/84h/0h/0h/0/{number}")
    return In(p2wpkh(key), 1_000_000, [(b"\x06" + key, MARK + le(0) + le(number))])


@outcome("an account's fingerprint with another's key", accounts=ACCOUNTS)
def _() -> Draft:
    key = EVE.key("m/0")
    return paying(p2wpkh(key), [(b"\x02" + key, MARK + le(1) + le(5))], electrum_coin())


@outcome("an account's fingerprint and our key in another's output", accounts=ACCOUNTS)
def _() -> Draft:
    return paying(p2wpkh(EVE.key("m/0")), [(b"\x02" + MINE, MARK + le(1) + le(5))], electrum_coin())


@outcome("an account's fingerprint and our key beside another's P2TR", accounts=ACCOUNTS)
def _() -> Draft:
    return paying(
        b"\x51\x20" + EVE.key("m/0")[1:], [(b"\x07" + MINE[1:], b"\x00" + MARK + le(1) + le(5))], electrum_coin()
    )


@outcome("an account's fingerprint, honest", change={1: CHANGE}, accounts=ACCOUNTS)
def _() -> Draft:
    return paying(p2wpkh(MINE), [(b"\x02" + MINE, MARK + le(1) + le(5))], electrum_coin())


@outcome(
    "an account's fingerprint and change at the last index",
    change={1: "m/84h/0h/0h/1/2147483647"},
    grave="CHANGE_PATH",
    accounts=ACCOUNTS,
)
def _() -> Draft:
    key = ME.key("m/84h/0h/0h/1/2147483647")
    return paying(p2wpkh(key), [(b"\x02" + key, MARK + le(1) + le(2**31 - 1))], electrum_coin())
