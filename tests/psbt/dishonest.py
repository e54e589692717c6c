"""A catalogue of dishonest PSBTs: each an honest one with one thing bent. None may lead to a signature.

`CATALOGUE` maps a name to a function that gives the bytes; `SKIPS` names those in which nothing contradicts, but
nothing can be signed either. Other tests (the card's counters) run over it too. Cases about fees and change, and those
that are judged by what is shown, are in files of their own, which are read with this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cryptnox_core.crypto.secp256k1 import ORDER as CURVE_ORDER
from cryptnox_core.crypto.secp256k1 import encode_der, parse_der
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from tests.psbt.cases import CATALOGUE, DRAFTS, OUTCOMES, SKIPS, case, swap
from tests.psbt.factory import (
    ME,
    NUMS,
    OTHER,
    SPEND_PATH,
    Draft,
    In,
    Out,
    bip86,
    compact,
    deriv,
    draft,
    h160,
    le,
    leaf_hash,
    multisig,
    out_deriv,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sighash,
    spend,
    string,
    tap_deriv,
    taproot,
)
from tests.psbt.musig import shared
from tests.support.curve import PublicKey

__all__ = ["CATALOGUE", "DRAFTS", "OUTCOMES", "SKIPS"]
PATHS = {kind: template.format(0) for kind, template in SPEND_PATH.items()}

# --- previous transactions and amounts ------------------------------------------------------------------------------

for _kind in ("p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "rawtr", "tapscript"):

    @case(f"{_kind}: another previous transaction")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend(kind), spend("p2wpkh", 7))
        swap(bent.inputs[0], b"\x00", replace(bent.ins[0], amount=1, salt=99).previous_tx())
        return bent

    @case(f"{_kind}: the previous transaction with another amount")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend(kind))
        swap(bent.inputs[0], b"\x00", bent.ins[0].previous_tx().replace(le(100_000, 8), le(100_001, 8)))
        return bent


@case("the previous transaction has no output of that index")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    unsigned = bent.unsigned().replace(bent.ins[0].outpoint, bent.ins[0].outpoint[:32] + le(2))
    bent.unsigned = lambda: unsigned  # type: ignore[method-assign]
    return bent


@case("the previous transaction has no output of a huge index")
def _() -> Draft:
    bent = draft(spend("p2pkh"))
    unsigned = bent.unsigned().replace(bent.ins[0].outpoint, bent.ins[0].outpoint[:32] + le(0xFFFFFFFF))
    bent.unsigned = lambda: unsigned  # type: ignore[method-assign]
    return bent


for _kind in ("p2wpkh", "p2sh-p2wpkh", "p2wsh", "rawtr"):

    @case(f"{_kind}: witness_utxo with another amount")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend(kind))
        swap(bent.inputs[0], b"\x01", le(200_000, 8) + string(bent.ins[0].script))
        return bent

    @case(f"{_kind}: witness_utxo with another script")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend(kind))
        swap(bent.inputs[0], b"\x01", le(100_000, 8) + string(p2wpkh(OTHER.key("m/1"))))
        return bent


@case("a foreign input's witness_utxo contradicts its previous transaction")
def _() -> Draft:
    foreign = In(p2wpkh(OTHER.key("m/3")), fields=[deriv("m/3", OTHER)])
    bent = draft(spend("p2wpkh"), foreign)
    swap(bent.inputs[1], b"\x01", le(900_000, 8) + string(foreign.script))
    return bent


@case("a foreign input's previous transaction is another")
def _() -> Draft:
    foreign = In(p2wpkh(OTHER.key("m/3")), fields=[deriv("m/3", OTHER)])
    bent = draft(spend("p2wpkh"), foreign)
    swap(bent.inputs[1], b"\x00", replace(foreign, amount=5).previous_tx())
    return bent


@case("the outputs are more than the inputs")
def _() -> Draft:
    return draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 100_001)])


@case("an output with a negative amount")
def _() -> bytes:
    bent = draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), (1 << 64) - 1)])
    return bent.encode()


@case("an output above all bitcoin")
def _() -> Draft:
    return draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 21_000_000 * 10**8 + 1)])


@case("outputs that together are above all bitcoin")
def _() -> Draft:
    return draft(spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 11_000_000 * 10**8)] * 2)


@case("an input with a negative amount")
def _() -> Draft:
    return draft(spend("p2wpkh", amount=(1 << 64) - 5), outs=[Out(p2wpkh(OTHER.key("m/0")), 1)])


@case("an input above all bitcoin")
def _() -> Draft:
    return draft(spend("p2wpkh", amount=21_000_000 * 10**8 + 1))


@case("inputs that together are above all bitcoin")
def _() -> Draft:
    items = [spend("p2wpkh", number, amount=11_000_000 * 10**8) for number in range(2)]
    return draft(*items, outs=[Out(p2wpkh(OTHER.key("m/0")), 1)])


@case("two inputs spend the same output")
def _() -> Draft:
    return draft(spend("p2wpkh"), spend("p2wpkh"), outs=[Out(p2wpkh(OTHER.key("m/0")), 150_000)])


@case("a coinbase input beside ours")
def _() -> Draft:
    bent = draft(spend("p2wpkh"), spend("p2wpkh", 1))
    unsigned = bent.unsigned().replace(bent.ins[1].outpoint, bytes(32) + le(0xFFFFFFFF))
    bent.unsigned = lambda: unsigned  # type: ignore[method-assign]
    return bent


@case("two inputs of ours with unproved amounts (CVE-2020-14199)")
def _() -> Draft:
    return draft(*[spend("p2wpkh", number, previous=False) for number in range(2)])


@case("an unproved amount beside a proved one of ours")
def _() -> Draft:
    return draft(spend("p2wpkh", 0, previous=False), spend("p2pkh", 1))


@case("an input of ours that is final and unproved")
def _() -> Draft:
    bent = draft(spend("p2wsh", 0), spend("p2wpkh", 1, previous=False))
    bent.inputs[1].append((b"\x08", b"\x00"))
    return bent


@case("unproved amounts beside a taproot signature with ANYONECANPAY")
def _() -> Draft:
    bent = draft(spend("p2wpkh", 0, previous=False), spend("rawtr", 1, previous=False))
    bent.inputs[1].append(sighash(0x81))
    return bent


def _signed_by_another() -> Draft:
    """Two unproved inputs of ours and a taproot input of another, said to be ours and signed by the other: it can be
    signed again with the true amounts, so it proves nothing."""
    key = OTHER.key("m/1")
    claim = b"\x16" + key[1:], b"\x00" + ME.origin(PATHS["rawtr"])
    theirs = In(b"\x51\x20" + key[1:], fields=[claim], previous=False)
    bent = draft(*[spend("p2wpkh", number, previous=False) for number in range(2)], theirs)
    spent = [(item.amount, item.script) for item in bent.ins]
    digest = SignatureHasher(Transaction.parse(bent.unsigned()), spent).taproot(2, 0)
    bent.inputs[2].append((b"\x13", OTHER.private("m/1").sign_schnorr(digest)))
    return bent


@case("unproved amounts beside another's taproot signature that is said to be ours")
def _() -> Draft:
    return _signed_by_another()


# --- keys and origins -----------------------------------------------------------------------------------------------

for _kind in ("p2pkh", "p2wpkh", "p2sh-p2wpkh", "p2pk", "p2wsh", "multisig", "p2sh", "p2sh-p2wsh"):

    @case(f"{_kind}: our fingerprint with another's key")
    def _(kind: str = _kind) -> Draft:
        path = PATHS[kind]
        bent = draft(spend(kind))
        swap(bent.inputs[0], b"\x06" + ME.key(path), None)
        bent.inputs[0] = [pair for pair in bent.inputs[0] if pair[0][0] != 6]
        bent.inputs[0].append(deriv(path, key=OTHER.key(path)))
        return bent

    @case(f"{_kind}: our key at another path")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend(kind))
        key = ME.key(PATHS[kind])
        swap(bent.inputs[0], b"\x06" + key, ME.origin(PATHS[kind][:-1] + "8"))
        return bent

    @case(f"{_kind}: a second key of ours that its script does not contain")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend(kind))
        bent.inputs[0].append(deriv("m/84h/0h/0h/0/77"))
        return bent


@case("rawtr: our fingerprint with another's key")
def _() -> Draft:
    key = OTHER.key("m/1")
    return draft(In(b"\x51\x20" + key[1:], fields=[(b"\x16" + key[1:], b"\x00" + ME.origin(PATHS["rawtr"]))]))


@case("tapscript: our key at another path")
def _() -> Draft:
    bent = draft(spend("tapscript"))
    key = b"\x16" + ME.key(PATHS["tapscript"])[1:]
    value = dict(bent.inputs[0])[key]
    swap(bent.inputs[0], key, value[:-4] + le(1234))
    return bent


@case("tapscript: our key is not in the leaf that its derivation names")
def _() -> Draft:
    leaf = pushed(OTHER.key("m/1")[1:]) + b"\xac"
    script, fields = taproot([leaf])
    return draft(In(script, fields=[*fields, tap_deriv(PATHS["tapscript"], [leaf_hash(leaf)])]))


@case("taproot: the internal key is another and our key is nowhere")
def _() -> Draft:
    return draft(In(bip86(NUMS), fields=[tap_deriv(PATHS["rawtr"]), (b"\x17", NUMS)]))


@case("a foreign derivation of what is no point")
def _() -> Draft:
    bent = draft(spend("p2wsh"))
    bent.inputs[0].append((b"\x06\x02" + b"\xff" * 32, OTHER.origin("m/1")))
    return bent


@case("our derivation of what is no point")
def _() -> Draft:
    bad = b"\x02" + b"\xff" * 32
    return draft(In(p2wpkh(bad), fields=[deriv(PATHS["p2wpkh"], key=bad)]))


@case("taproot: our derivation of what is no point")
def _() -> Draft:
    bad = b"\xff" * 32
    return draft(In(b"\x51\x20" + NUMS, fields=[(b"\x16" + bad, b"\x00" + ME.origin(PATHS["rawtr"]))]))


@case("an output that says to be change and pays another")
def _() -> Draft:
    out = Out(p2wpkh(OTHER.key("m/0")), 90_000, [out_deriv("m/84h/0h/0h/1/0")])
    return draft(spend("p2wpkh"), outs=[out])


@case("an output that says that another's key is ours")
def _() -> Draft:
    key = OTHER.key("m/0")
    return draft(spend("p2wpkh"), outs=[Out(p2wpkh(key), 90_000, [out_deriv("m/84h/0h/0h/1/0", key=key)])])


@case("a P2PKH output that says to be change and pays another")
def _() -> Draft:
    out = Out(p2pkh(OTHER.key("m/0")), 90_000, [out_deriv("m/44h/0h/0h/1/0")])
    return draft(spend("p2pkh"), outs=[out])


@case("a P2WSH output whose witness script is another")
def _() -> Draft:
    path = "m/48h/0h/0h/2h/1/0"
    script = multisig(1, [ME.key(path), OTHER.key(path)])
    out = Out(p2wsh(b"\x51"), 90_000, [(b"\x01", script), out_deriv(path)])
    return draft(spend("p2wsh"), outs=[out])


@case("a P2SH output whose redeem script is another")
def _() -> Draft:
    path = "m/49h/0h/0h/1/0"
    out = Out(p2sh(b"\x51"), 90_000, [(b"\x00", p2wpkh(ME.key(path))), out_deriv(path)])
    return draft(spend("p2sh-p2wpkh"), outs=[out])


@case("a multisig output whose script does not hold our key")
def _() -> Draft:
    path = "m/48h/0h/0h/2h/1/0"
    script = multisig(1, [OTHER.key("m/1"), OTHER.key(path)])
    return draft(spend("p2wsh"), outs=[Out(p2wsh(script), 90_000, [(b"\x01", script), out_deriv(path)])])


# --- scripts --------------------------------------------------------------------------------------------------------


@case("P2SH-P2WPKH: another redeem script")
def _() -> Draft:
    bent = draft(spend("p2sh-p2wpkh"))
    swap(bent.inputs[0], b"\x04", p2wpkh(OTHER.key("m/1")))
    return bent


@case("P2SH: another redeem script")
def _() -> Draft:
    bent = draft(spend("p2sh"))
    swap(bent.inputs[0], b"\x04", multisig(1, [ME.key(PATHS["p2sh"]), OTHER.key("m/1")]))
    return bent


@case("P2SH: an empty redeem script")
def _() -> Draft:
    bent = draft(spend("p2sh"))
    swap(bent.inputs[0], b"\x04", b"")
    return bent


@case("P2WSH: another witness script")
def _() -> Draft:
    bent = draft(spend("p2wsh"))
    swap(bent.inputs[0], b"\x05", multisig(1, [ME.key(PATHS["p2wsh"]), OTHER.key("m/1")]))
    return bent


@case("P2SH-P2WSH: another witness script")
def _() -> Draft:
    bent = draft(spend("p2sh-p2wsh"))
    swap(bent.inputs[0], b"\x05", pushed(ME.key(PATHS["p2sh-p2wsh"])) + b"\xac")
    return bent


@case("P2SH-P2WSH: another redeem script")
def _() -> Draft:
    bent = draft(spend("p2sh-p2wsh"))
    swap(bent.inputs[0], b"\x04", p2wsh(b"\x51"))
    return bent


for _kind, _field in (("p2wpkh", 4), ("p2wpkh", 5), ("p2pkh", 4), ("p2pkh", 5), ("rawtr", 4), ("rawtr", 5)):

    @case(f"{_kind}: a {'redeem' if _field == 4 else 'witness'} script where none belongs")
    def _(kind: str = _kind, field: int = _field) -> Draft:
        bent = draft(spend(kind))
        bent.inputs[0].append((bytes((field,)), pushed(ME.key(PATHS[kind])) + b"\xac"))
        return bent


@case("P2SH-P2WPKH: a witness script where none belongs")
def _() -> Draft:
    bent = draft(spend("p2sh-p2wpkh"))
    bent.inputs[0].append((b"\x05", pushed(ME.key(PATHS["p2sh-p2wpkh"])) + b"\xac"))
    return bent


@case("P2WSH: a redeem script where none belongs")
def _() -> Draft:
    bent = draft(spend("p2wsh"))
    bent.inputs[0].append((b"\x04", bent.ins[0].script))
    return bent


@case("P2WPKH: taproot fields on an output that is not taproot")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0].append(tap_deriv(PATHS["p2wpkh"]))
    return bent


@case("P2WPKH: a leaf script on an output that is not taproot")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0] += taproot([b"\x51"])[1]
    return bent


def _tapscript() -> tuple[Draft, bytes, bytes]:
    """A draft and its leaf field."""
    bent = draft(spend("tapscript"))
    key, value = next(pair for pair in bent.inputs[0] if pair[0][0] == 0x15)
    return bent, key, value


def _moved(change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> Draft:
    bent, key, value = _tapscript()
    bent.inputs[0] = [change(key, value) if pair[0] == key else pair for pair in bent.inputs[0]]
    return bent


@case("tapscript: control block with the wrong parity")
def _() -> Draft:
    return _moved(lambda key, value: (key[:1] + bytes((key[1] ^ 1,)) + key[2:], value))


@case("tapscript: control block with another internal key")
def _() -> Draft:
    return _moved(lambda key, value: (key[:2] + ME.key("m/1")[1:] + key[34:], value))


@case("tapscript: control block with an internal key that is no point")
def _() -> Draft:
    bent = _moved(lambda key, value: (key[:2] + b"\xff" * 32 + key[34:], value))
    bent.inputs[0] = [pair for pair in bent.inputs[0] if pair[0] != b"\x17"]
    return bent


@case("tapscript: control block with another path")
def _() -> Draft:
    return _moved(lambda key, value: (key[:-1] + bytes((key[-1] ^ 1,)), value))


@case("tapscript: control block one step too short")
def _() -> Draft:
    return _moved(lambda key, value: (key[:-32], value))


@case("tapscript: control block one step too long")
def _() -> Draft:
    return _moved(lambda key, value: (key + bytes(32), value))


@case("tapscript: another script under the control block")
def _() -> Draft:
    return _moved(lambda key, value: (key, pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xad\x51\xc0"))


@case("tapscript: leaf version differs from the control block's")
def _() -> Draft:
    return _moved(lambda key, value: (key, value[:-1] + b"\xc2"))


@case("tapscript: the input's internal key is another")
def _() -> Draft:
    bent, _, _ = _tapscript()
    swap(bent.inputs[0], b"\x17", ME.key("m/1")[1:])
    return bent


@case("tapscript: the input's merkle root is another")
def _() -> Draft:
    bent, _, _ = _tapscript()
    bent.inputs[0].append((b"\x18", bytes(32)))
    return bent


@case("tapscript: the merkle root is another and the internal key is not told")
def _() -> Draft:
    bent, _, _ = _tapscript()
    swap(bent.inputs[0], b"\x17", None)
    bent.inputs[0].append((b"\x18", bytes(32)))
    return bent


@case("rawtr: internal key and merkle root do not lead to the output")
def _() -> Draft:
    bent = draft(spend("rawtr"))
    bent.inputs[0] += [(b"\x17", NUMS), (b"\x18", bytes(32))]
    return bent


# --- sighash types --------------------------------------------------------------------------------------------------

for _value in (2, 3, 0x81, 0x82, 0x83):

    @case(f"P2WPKH: sighash type 0x{_value:02x} that nobody allowed")
    def _(value: int = _value) -> Draft:
        bent = draft(spend("p2wpkh"))
        bent.inputs[0].append(sighash(value))
        return bent


for _kind, _value in (
    ("p2wpkh", 0),
    ("p2pkh", 0),
    ("p2wpkh", 0x80),
    ("rawtr", 0x80),
    ("p2pkh", 4),
    ("rawtr", 0x04),
    ("tapscript", 0x84),
    ("p2wpkh", 0x101),
    ("p2pkh", 0x01000001),
    ("p2wsh", 0xFFFFFFFF),
):

    @case(f"{_kind}: undefined sighash type 0x{_value:02x}")
    def _(kind: str = _kind, value: int = _value) -> Draft:
        bent = draft(spend(kind))
        bent.inputs[0].append(sighash(value))
        return bent


for _kind in ("p2pkh", "p2wpkh", "rawtr", "tapscript"):

    @case(f"{_kind}: SINGLE without its output")
    def _(kind: str = _kind) -> Draft:
        bent = draft(spend("p2wpkh", 5), spend(kind))
        bent.inputs[1].append(sighash(3))
        return bent


# --- signatures that are there --------------------------------------------------------------------------------------


@case("a signature of ours that is not valid")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    key = ME.private(PATHS["p2wpkh"])
    bent.inputs[0].append((b"\x02" + key.public_key.format(), key.sign(bytes(32), hasher=None) + b"\x01"))
    return bent


@case("a signature of ours that is no DER")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0].append((b"\x02" + ME.key(PATHS["p2wpkh"]), b"\x30" + bytes(69) + b"\x01"))
    return bent


@case("a signature of ours with high S")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    key = ME.private(PATHS["p2wpkh"])
    hasher = SignatureHasher(Transaction.parse(bent.unsigned()))
    digest = hasher.segwit_v0(0, p2pkh(key.public_key.format()), 100_000, 1)
    r, s = parse_der(key.sign(digest, hasher=None))
    bent.inputs[0].append((b"\x02" + key.public_key.format(), encode_der(r, CURVE_ORDER - s) + b"\x01"))
    return bent


@case("a signature of ours of type SINGLE without its output")
def _() -> Draft:
    bent = draft(spend("p2pkh", 5), spend("p2wpkh"))
    key = ME.private(PATHS["p2wpkh"])
    hasher = SignatureHasher(Transaction.parse(bent.unsigned()))
    digest = hasher.segwit_v0(1, p2pkh(key.public_key.format()), 100_000, 3)
    bent.inputs[1].append((b"\x02" + key.public_key.format(), key.sign(digest, hasher=None) + b"\x03"))
    return bent


@case("a signature of ours with type 0 on P2WPKH")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    key = ME.private(PATHS["p2wpkh"])
    hasher = SignatureHasher(Transaction.parse(bent.unsigned()))
    digest = hasher.segwit_v0(0, p2pkh(key.public_key.format()), 100_000, 0)
    bent.inputs[0].append((b"\x02" + key.public_key.format(), key.sign(digest, hasher=None) + b"\x00"))
    return bent


@case("a signature of ours with an undefined type")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    key = ME.private(PATHS["p2wpkh"])
    bent.inputs[0].append((b"\x02" + key.public_key.format(), key.sign(bytes(32), hasher=None) + b"\x04"))
    return bent


@case("a taproot key signature of ours that is not valid")
def _() -> Draft:
    bent = draft(spend("rawtr"))
    bent.inputs[0].append((b"\x13", bytes(64)))
    return bent


@case("a taproot script signature of ours with type 0 written out")
def _() -> Draft:
    bent = draft(spend("tapscript"))
    key = ME.key(PATHS["tapscript"])[1:]
    bent.inputs[0].append((b"\x14" + key + leaf_hash(pushed(key) + b"\xac"), bytes(65)))
    return bent


# --- nothing contradicts, nothing can be signed ---------------------------------------------------------------------


@case("P2PKH without its previous transaction", skip=True)
def _() -> Draft:
    return draft(spend("p2pkh", previous=False, witness_utxo=True))


@case("P2SH multisig with witness_utxo only", skip=True)
def _() -> Draft:
    return draft(spend("p2sh", previous=False, witness_utxo=True))


@case("no UTXO at all", skip=True)
def _() -> Draft:
    return draft(spend("p2wpkh", previous=False, witness_utxo=False))


@case("taproot beside an input without UTXO", skip=True)
def _() -> Draft:
    foreign = In(p2wpkh(OTHER.key("m/3")), previous=False, witness_utxo=False)
    return draft(spend("rawtr"), foreign)


@case("P2SH without its redeem script", skip=True)
def _() -> Draft:
    bent = draft(spend("p2sh"))
    swap(bent.inputs[0], b"\x04", None)
    return bent


@case("P2WSH without its witness script", skip=True)
def _() -> Draft:
    bent = draft(spend("p2wsh"))
    swap(bent.inputs[0], b"\x05", None)
    return bent


@case("a future witness version", skip=True)
def _() -> Draft:
    return draft(In(b"\x52\x20" + ME.key(PATHS["rawtr"])[1:], fields=[deriv(PATHS["rawtr"])]))


@case("a future witness version inside P2SH", skip=True)
def _() -> Draft:
    inner = b"\x51\x20" + ME.key(PATHS["rawtr"])[1:]
    return draft(In(p2sh(inner), fields=[deriv(PATHS["rawtr"]), (b"\x04", inner)]))


@case("OP_CODESEPARATOR in a witness script", skip=True)
def _() -> Draft:
    script = b"\xab" + pushed(ME.key(PATHS["p2wsh"])) + b"\xac"
    return draft(In(p2wsh(script), fields=[deriv(PATHS["p2wsh"]), (b"\x05", script)]))


@case("OP_CODESEPARATOR in a redeem script", skip=True)
def _() -> Draft:
    script = pushed(ME.key(PATHS["p2sh"])) + b"\xab\xac"
    return draft(In(p2sh(script), fields=[deriv(PATHS["p2sh"]), (b"\x04", script)]))


def _leaf(script: bytes, version: int = 0xC0) -> Draft:
    spk, fields = taproot([script], version=version)
    return draft(In(spk, fields=[*fields, tap_deriv(PATHS["tapscript"], [leaf_hash(script, version)])]))


@case("OP_CODESEPARATOR in a leaf", skip=True)
def _() -> Draft:
    return _leaf(b"\xab" + pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xac")


@case("OP_SUCCESS in a leaf", skip=True)
def _() -> Draft:
    return _leaf(pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xac\x50")


@case("an unknown leaf version", skip=True)
def _() -> Draft:
    return _leaf(pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xac", 0xC2)


@case("a leaf that cannot be read", skip=True)
def _() -> Draft:
    return _leaf(pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xac\x4c")


@case("our leaf does not stand in the key's derivation", skip=True)
def _() -> Draft:
    leaf = pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xac"
    script, fields = taproot([leaf])
    return draft(In(script, fields=[*fields, tap_deriv(PATHS["tapscript"])]))


@case("our leaf script is missing", skip=True)
def _() -> Draft:
    leaf = pushed(ME.key(PATHS["tapscript"])[1:]) + b"\xac"
    return draft(In(taproot([leaf])[0], fields=[tap_deriv(PATHS["tapscript"], [leaf_hash(leaf)])]))


@case("BIP86 key path", skip=True)
def _() -> Draft:
    key = ME.key(PATHS["rawtr"])[1:]
    return draft(In(bip86(key), fields=[tap_deriv(PATHS["rawtr"]), (b"\x17", key)]))


@case("BIP86 key path without the internal key", skip=True)
def _() -> Draft:
    return draft(In(bip86(ME.key(PATHS["rawtr"])[1:]), fields=[tap_deriv(PATHS["rawtr"])]))


@case("MuSig2 before the others have added their nonces", skip=True)
def _() -> Draft:
    return draft(shared("internal").item())


@case("MuSig2 whose key is not told how it is in the output", skip=True)
def _() -> Draft:
    key = shared("internal")
    return draft(In(bip86(ME.key("m/1")[1:]), fields=[pair for pair in key.fields if pair[0] != b"\x17"]))


@case("MuSig2 of other signers than the key's")
def _() -> Draft:
    mine, theirs = ME.key(PATHS["rawtr"]), OTHER.key("m/1")
    aggregate = PublicKey.combine_keys([PublicKey(mine), PublicKey(theirs)]).format()
    fields = [tap_deriv(PATHS["rawtr"]), (b"\x17", aggregate[1:]), (b"\x1a" + aggregate, mine + theirs)]
    return draft(In(bip86(aggregate[1:]), fields=fields))


@case("a path deeper than the card derives", skip=True)
def _() -> Draft:
    path = "m/84h/0h/0h/0/1/2/3/4/5"
    return draft(In(p2wpkh(ME.key(path)), fields=[deriv(path)]))


@case("an uncompressed key of ours", skip=True)
def _() -> Draft:
    key = PublicKey(ME.key(PATHS["p2pkh"])).format(compressed=False)
    return draft(In(p2pkh(key), fields=[deriv(PATHS["p2pkh"], key=key)]))


@case("ECDSA derivation on a taproot output", skip=True)
def _() -> Draft:
    return draft(In(b"\x51\x20" + ME.key(PATHS["rawtr"])[1:], fields=[deriv(PATHS["rawtr"])]))


# --- malformed bytes ------------------------------------------------------------------------------------------------


def _honest() -> bytes:
    return draft(spend("p2wpkh")).encode()


@case("a byte behind the last map")
def _() -> bytes:
    return _honest() + b"\x00"


@case("the last separator is missing")
def _() -> bytes:
    return _honest()[:-1]


@case("a derivation twice")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0].append(deriv(PATHS["p2wpkh"]))
    return bent


@case("an empty derivation")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    swap(bent.inputs[0], b"\x06" + ME.key(PATHS["p2wpkh"]), b"")
    return bent


@case("a derivation of five bytes")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    swap(bent.inputs[0], b"\x06" + ME.key(PATHS["p2wpkh"]), ME.fingerprint + b"\x00")
    return bent


@case("a taproot derivation with more leaf hashes than it has room for")
def _() -> Draft:
    bent = draft(spend("rawtr"))
    key = ME.key(PATHS["rawtr"])[1:]
    swap(bent.inputs[0], b"\x16" + key, b"\xff" + b"\xff" * 8 + ME.origin(PATHS["rawtr"]))
    return bent


@case("a control block of 34 bytes")
def _() -> Draft:
    return _moved(lambda key, value: (key[:35], value))


@case("witness_utxo cut short")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    swap(bent.inputs[0], b"\x01", le(100_000, 8) + string(bent.ins[0].script)[:-1])
    return bent


@case("a byte behind witness_utxo")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    swap(bent.inputs[0], b"\x01", le(100_000, 8) + string(bent.ins[0].script) + b"\x00")
    return bent


@case("a byte behind the previous transaction")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    swap(bent.inputs[0], b"\x00", bent.ins[0].previous_tx() + b"\x00")
    return bent


@case("a scriptSig in the unsigned transaction")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    unsigned = bent.unsigned().replace(bent.ins[0].outpoint + b"\x00", bent.ins[0].outpoint + b"\x01\x51")
    bent.unsigned = lambda: unsigned  # type: ignore[method-assign]
    return bent


@case("PSBT version 1")
def _() -> Draft:
    return draft(spend("p2wpkh"), extra=[(b"\xfb", le(1))])


@case("PSBT version 3")
def _() -> Draft:
    return draft(spend("p2wpkh"), extra=[(b"\xfb", le(3))])


@case("version 2 with a huge count of inputs")
def _() -> bytes:
    data = draft(spend("p2wpkh"), version=2).encode()
    return data.replace(b"\x01\x04\x01\x01", b"\x01\x04\x05" + b"\xfe\xff\xff\xff\x7f")


@case("a length that is not in its shortest form")
def _() -> bytes:
    data = draft(spend("p2wpkh")).encode()
    key = b"\x06" + ME.key(PATHS["p2wpkh"])
    assert data.count(compact(len(key)) + key) == 1
    return data.replace(compact(len(key)) + key, b"\xfd" + le(len(key), 2) + key)


@case("our key hash in place of the key")
def _() -> Draft:
    bent = draft(spend("p2wpkh"))
    bent.inputs[0].append((b"\x06" + h160(ME.key(PATHS["p2wpkh"])), ME.origin(PATHS["p2wpkh"])))
    return bent


from tests.psbt import dishonest_change, dishonest_fees, dishonest_others, dishonest_wallets  # noqa: E402, F401 - they add their cases
