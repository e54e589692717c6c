"""Runs the whole engine over PSBTs of one transaction, as often as an attacker likes, and judges by what comes of it.

A `Coin` is what the chain has: the truth, whatever a PSBT says of it. `run` gives a PSBT to the engine and keeps what
it showed and signed. `lies` tells what a run showed that is not so; `valid` asks Bitcoin Core's verifier whether a
signature counts on the chain; `complete` whether all signatures together make a transaction. None of this trusts the
engine, but for its signature hashes, which the verifier checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cryptnox_core.bip32 import Path
from hwilib_cryptnox.psbt import (
    Plan,
    Policy,
    Psbt,
    PsbtError,
    RegisteredWallet,
    SignRequest,
    Summary,
    WalletScripts,
    collect,
    insert,
    plan,
)
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from hwilib_cryptnox.psbt.tx import Transaction
from hwilib_cryptnox.signer.signatures.keys import derived_keys, wanted_keys
from tests.psbt.factory import (
    ME,
    ORDER,
    OTHER,
    SPEND_PATH,
    Draft,
    In,
    Out,
    Pairs,
    Wallet,
    bip86,
    compact,
    leaf_hash,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    spend,
    string,
    tagged,
    tap_deriv,
    taproot,
)
from tests.support.curve import PrivateKey
from tests.support.kernel import failing_inputs

MAX_FEE, MAX_FEE_RATE, SMALL_FEE = 10_000_000, 10_000, 50_000
"""The default limits: satoshi, satoshi per virtual byte, and the fee up to which its share does not count."""
DERIVATIONS = (0x06, 0x16)


# --- what the chain has ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Coin:
    """An unspent output."""

    kind: str
    item: In
    """As an honest wallet would describe it."""
    path: str | None = None
    """Of our key; None where it is the attacker's."""
    leaf: bytes = b""

    @property
    def ours(self) -> bool:
        """Whether it is the card's money: a leaf below another's internal key is not."""
        return self.path is not None and self.kind != "tapscript"

    @property
    def free(self) -> bool:
        """Whether the attacker spends it without the card."""
        return not self.ours

    def unlock(self, key: bytes, signature: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        """scriptSig and witness around a signature (with its sighash byte) of our key (33 bytes)."""
        if self.kind == "p2pkh":
            return pushed(signature) + pushed(key), ()
        if self.kind == "p2pk":
            return pushed(signature), ()
        if self.kind == "p2sh-p2wpkh":
            return pushed(p2wpkh(key)), (signature, key)
        if self.kind == "p2wpkh":
            return b"", (signature, key)
        if self.kind == "rawtr":
            return b"", (signature,)
        control = next(pair[0][1:] for pair in self.item.fields if pair[0][0] == 0x15)
        return b"", (signature, self.leaf, control)


ATTACKER_KEY = "m/86h/0h/9h/0/0"


def coin(kind: str, number: int = 0, amount: int = 100_000_000) -> Coin:
    """A coin of ours; a taproot leaf of ours has the attacker's internal key."""
    path = SPEND_PATH[kind].format(number)
    if kind != "tapscript":
        return Coin(kind, spend(kind, number, amount), path)
    leaf = pushed(ME.key(path)[1:]) + b"\xac"
    internal = OTHER.key(path)[1:]
    script, fields = taproot([leaf], internal)
    fields += [tap_deriv(path, [leaf_hash(leaf)]), (b"\x17", internal)]
    return Coin(kind, In(script, amount, fields, salt=number), path, leaf)


def attackers_coin(number: int = 0, amount: int = 20_000) -> Coin:
    """A taproot coin whose key is the attacker's alone."""
    return Coin("bip86", In(bip86(OTHER.key(f"m/{number}")[1:]), amount, salt=900 + number))


# --- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Run:
    """What one run of the engine showed and gave out."""

    psbt: Psbt | None
    policy: Policy
    summary: Summary | None = None
    made: tuple[tuple[SignRequest, bytes], ...] = ()
    """Requests and signatures, with sighash byte where it has one."""
    refusal: PsbtError | None = None
    plan: Plan | None = None

    def __repr__(self) -> str:
        if self.summary is None:
            return f"Run({self.refusal})"
        return f"Run(signed {[request.input_index for request, _ in self.made]}, fee {self.summary.fee})"


def card_keys(psbt: Psbt, wallet: Wallet, accounts: Mapping[bytes, Path] | None, export: bool) -> dict[Path, bytes]:
    """The keys that the product would read from a card, with export of extended keys on or off."""
    collected = collect(psbt, wallet.fingerprint, accounts)
    xpubs, singles = wanted_keys(collected, export=export)
    extended = {path: wallet.account(path) for path in xpubs}
    public = {path: wallet.key(path) for path in singles}
    return derived_keys(collected.all_paths, extended, public)


def run(
    data: bytes | str | Draft,
    *,
    wallet: Wallet = ME,
    accounts: Mapping[bytes, Path] | None = None,
    export: bool | None = None,
    named: WalletScripts | None = None,
    wallets: Sequence[RegisteredWallet] = (),
    **policy: object,
) -> Run:
    """One run. `export`: the keys that the product reads from a card with export on or off; None: all that are asked
    for. `named`: the wallet that a person names; `wallets`: the registered ones. Anything but a PsbtError goes
    through: a traceback is a fault of its own."""
    allowed = Policy(**policy)  # type: ignore[arg-type]
    psbt = None
    try:
        psbt = Psbt.parse(data.encode() if isinstance(data, Draft) else data)
        collected = collect(psbt, wallet.fingerprint, accounts)
        if collected.stays_unchanged or collected.why_nothing() is not None:
            return Run(psbt, allowed)
        if export is None:
            keys = wallet.keys(collected.all_paths)
        else:
            keys = card_keys(psbt, wallet, accounts, export)
        made_plan = plan(psbt, collected, keys, allowed, wallet=named, wallets=wallets)
        signed = [(request, wallet.sign(request)) for request in made_plan.requests]
        result = insert(psbt, signed)
    except PsbtError as refusal:
        return Run(psbt, allowed, refusal=refusal)
    made = []
    for request in made_plan.requests:
        pairs = result.inputs[request.input_index].pairs
        if request.kind.value == "ECDSA":
            made.append((request, pairs[b"\x02" + request.public_key]))
        elif request.leaf_hash is None:
            made.append((request, pairs[b"\x13"]))
        else:
            made.append((request, pairs[b"\x14" + request.public_key[1:] + request.leaf_hash]))
    return Run(psbt, allowed, made_plan.summary, tuple(made), plan=made_plan)


# --- judgement -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Truth:
    """What the chain has of all that a transaction spends, and which outputs come back to us."""

    coins: Sequence[Coin]
    outs: Sequence[Out]
    change: Mapping[int, str] = field(default_factory=dict)
    """Output and the path of our key, where the account's keys alone can spend it."""

    @property
    def fee(self) -> int:
        """Satoshi that really go to the miner."""
        return sum(item.item.amount for item in self.coins) - sum(out.amount for out in self.outs)

    @property
    def our_amount(self) -> int:
        """Satoshi that the inputs take from the card's keys at most."""
        return sum(item.item.amount for item in self.coins if item.path is not None)

    @property
    def spent(self) -> list[tuple[int, bytes]]:
        """Amount and script of every input, as the chain has them."""
        return [(item.item.amount, item.item.script) for item in self.coins]


def lies(made: Run, truth: Truth) -> list[str]:
    """What a run showed that is not so, or let through that the default limits forbid."""
    shown, policy = made.summary, made.policy
    if shown is None:
        return ["signed without a summary"]
    found = []
    if shown.fee is None:
        if not policy.allow_unproved_amounts:
            found.append("the fee was not shown")
    elif shown.fee != truth.fee:
        found.append(f"a fee of {shown.fee} was shown, {truth.fee} is paid")
    if shown.amount_in is not None and shown.amount_in != truth.fee + sum(out.amount for out in truth.outs):
        found.append(f"inputs of {shown.amount_in} were shown")
    if [(out.index, out.amount, out.script) for out in shown.outputs] != [
        (index, out.amount, out.script) for index, out in enumerate(truth.outs)
    ]:
        found.append("other outputs were shown")
    for out in shown.outputs:
        if out.change and out.index not in truth.change:
            found.append(f"output {out.index} was called change")
        elif out.change and str(out.path) != truth.change[out.index]:
            found.append(f"change {out.index} was shown at {out.path}")
        elif not out.change and out.path is not None:
            found.append(f"payment {out.index} was shown with a path")
    change = sum(out.amount for out in shown.outputs if out.change)
    if shown.change_amount != change or shown.sent != sum(out.amount for out in truth.outs) - change:
        found.append(f"payments of {shown.sent} and change of {shown.change_amount} were shown")
    if shown.our_amount is not None and shown.our_amount > truth.our_amount:
        found.append(f"inputs of ours of {shown.our_amount} were shown, {truth.our_amount} are")
    if shown.our_inputs > sum(item.path is not None for item in truth.coins):
        found.append(f"{shown.our_inputs} inputs were called ours")
    if (shown.net is None) != (shown.our_amount is None) or (
        shown.net is not None and shown.our_amount is not None and shown.net != shown.our_amount - change
    ):
        found.append(f"a net effect of {shown.net} was shown")
    if policy == Policy():
        found += above_limits(truth)
    return found


def above_limits(truth: Truth) -> list[str]:
    """Which default limits the true fee breaks."""
    found = []
    if truth.fee > MAX_FEE:
        found.append(f"a fee of {truth.fee} was let through")
    if truth.fee > SMALL_FEE and truth.fee * 2 > truth.our_amount:
        found.append(f"a fee of {truth.fee} from {truth.our_amount} of ours was let through")
    return found


def _transaction(psbt: Psbt) -> Transaction:
    return Transaction.parse(psbt.unsigned_tx())


def valid(made: Run, request: SignRequest, signature: bytes, truth: Truth) -> bool:
    """Whether a signature counts on the chain: with it Bitcoin Core's verifier accepts the input."""
    assert made.psbt is not None
    tx, index = _transaction(made.psbt), request.input_index
    script_sig, witness = truth.coins[index].unlock(request.public_key, signature)
    count = len(tx.outpoints)
    script_sigs = tuple(script_sig if at == index else b"" for at in range(count))
    witnesses = tuple(witness if at == index else () for at in range(count))
    whole = replace(tx, script_sigs=script_sigs, witnesses=witnesses).encode()
    return index not in failing_inputs(whole, truth.spent)


def attacks(runs: Iterable[Run], truth: Truth) -> list[str]:
    """Every valid signature that was made in a run which did not show the truth. There shall be none: a transaction
    is complete when each of its inputs has one, from whichever run."""
    found = []
    for made in runs:
        if not made.made:
            continue
        wrong = lies(made, truth)
        if not wrong:
            continue
        for request, signature in made.made:
            if valid(made, request, signature, truth):
                found.append(f"input {request.input_index} signed, but " + "; ".join(wrong))
                break
    return found


def complete(runs: Iterable[Run], truth: Truth) -> tuple[bytes, list[list[Run]]] | None:
    """A valid transaction from all signatures of all runs and the attacker's own, and per input of ours the runs that
    gave a valid signature for it. None where there is none."""
    runs = [made for made in runs if made.psbt is not None and made.made]
    if not runs:
        return None
    assert runs[0].psbt is not None
    tx = _transaction(runs[0].psbt)
    givers: list[list[Run]] = [[] for _ in truth.coins]
    unlocking: list[tuple[bytes, tuple[bytes, ...]] | None] = [None] * len(truth.coins)
    for made in runs:
        assert made.psbt is not None and made.psbt.unsigned_tx() == runs[0].psbt.unsigned_tx()
        for request, signature in made.made:
            if valid(made, request, signature, truth):
                givers[request.input_index].append(made)
                item = truth.coins[request.input_index]
                unlocking[request.input_index] = item.unlock(request.public_key, signature)
    hasher = SignatureHasher(tx, truth.spent)
    for index, item in enumerate(truth.coins):
        if item.free:
            unlocking[index] = _attackers_own(index, item, hasher)
    parts = [part for part in unlocking if part is not None]
    if len(parts) < len(truth.coins):
        return None
    whole = replace(tx, script_sigs=tuple(part[0] for part in parts), witnesses=tuple(part[1] for part in parts))
    encoded = whole.encode()
    assert failing_inputs(encoded, truth.spent) == []
    return encoded, [found for found, item in zip(givers, truth.coins, strict=True) if not item.free]


def _attackers_own(index: int, item: Coin, hasher: SignatureHasher) -> tuple[bytes, tuple[bytes, ...]]:
    """The attacker's key path signature: a tweaked key, as BIP341 has it."""
    path = item.path if item.kind == "tapscript" else f"m/{item.item.salt - 900}"
    assert path is not None
    private = OTHER.private(path)
    public = private.public_key.format()
    secret = int.from_bytes(private.secret, "big")
    if public[0] == 3:
        secret = ORDER - secret
    root = leaf_hash(item.leaf) if item.leaf else b""
    secret = (secret + int.from_bytes(tagged("TapTweak", public[1:] + root), "big")) % ORDER
    return b"", (PrivateKey(secret.to_bytes(32, "big")).sign_schnorr(hasher.taproot(index, 0)),)


# --- half-true descriptions of one coin ------------------------------------------------------------------------------


def _utxo(amount: int, script: bytes) -> tuple[bytes, bytes]:
    return b"\x01", amount.to_bytes(8, "little") + string(script)


def without_derivations(pairs: Pairs) -> Pairs:
    """The pairs of a wallet that does not say whose keys they are."""
    return [pair for pair in pairs if pair[0][0] not in DERIVATIONS]


def _final(item: Coin) -> Pairs:
    """Final fields that nobody checks."""
    if item.kind in ("p2pkh", "p2pk"):
        return [(b"\x07", pushed(bytes(71)) + pushed(bytes(33)))]
    nested = [(b"\x07", pushed(item.item.fields[1][1]))] if item.kind == "p2sh-p2wpkh" else []
    return [*nested, (b"\x08", compact(2) + string(bytes(71)) + string(bytes(33)))]


def descriptions(item: Coin, false: int) -> dict[str, dict[str, Pairs]]:
    """How a PSBT may describe a coin, by what it pretends: the truth, and lies around it. `false`: another amount."""
    script, amount, fields = item.item.script, item.item.amount, item.item.fields
    whole = item.item.pairs()
    proof, claim, lie = [whole[0]], [_utxo(amount, script)], [_utxo(false, script)]
    hidden = without_derivations(fields)
    final = _final(item)
    attacker = OTHER.key(ATTACKER_KEY)
    foreign = [(key, bytes((value[0] ^ 1,)) + value[1:]) for key, value in fields if key[0] == 0x06]
    told: dict[str, dict[str, Pairs]] = {
        "ours": {
            "honest": whole,
            "unproved": claim + fields,
            "lied": lie + fields,
        },
        "hidden": {
            "proved": [*proof, *([] if item.kind == "p2pkh" else claim), *hidden],
            "unproved": claim + hidden,
            "lied": lie + hidden,
            "lied, nothing else": lie,
            "lied, another's fingerprint": lie + foreign,
        },
        "final": {
            "proved": whole + final,
            "lied": lie + fields + final,
            "lied, hidden": lie + hidden + final,
            "lied, nothing else": lie + final,
        },
        "no UTXO": {
            "ours": fields,
            "hidden": hidden,
            "nothing": [],
            "final": fields + final,
            "final, hidden": final,
        },
        "another type": {
            "taproot of another": [_utxo(false, b"\x51\x20" + attacker[1:])],
            "taproot of another, final": [
                _utxo(false, b"\x51\x20" + attacker[1:]),
                (b"\x08", b"\x01" + string(bytes(64))),
            ],
            "segwit of another": [_utxo(false, p2wpkh(attacker))],
            "legacy of another": [_utxo(false, p2pkh(attacker))],
            "nested of another": [_utxo(false, p2sh(p2wpkh(attacker)))],
            "a future version": [_utxo(false, b"\x52\x20" + bytes(32))],
            "anyone's": [_utxo(false, b"\x51")],
        },
    }
    if item.path is not None:
        told["another type"] |= _as_other_types(item.path, false) | {
            f"{name}, true amount": pairs for name, pairs in _as_other_types(item.path, amount).items()
        }
    return told


def _as_other_types(path: str, amount: int) -> dict[str, Pairs]:
    """Our key in an output of another type than the chain has."""
    key = ME.key(path)
    origin = ME.origin(path)
    code = p2pkh(key)
    leaf = pushed(key[1:]) + b"\xac"
    tree, leaves = taproot([leaf], OTHER.key(ATTACKER_KEY)[1:])
    return {
        "our P2WPKH": [_utxo(amount, p2wpkh(key)), (b"\x06" + key, origin)],
        "our nested": [_utxo(amount, p2sh(p2wpkh(key))), (b"\x04", p2wpkh(key)), (b"\x06" + key, origin)],
        "our P2WSH of P2PKH": [_utxo(amount, p2wsh(code)), (b"\x05", code), (b"\x06" + key, origin)],
        "our rawtr": [_utxo(amount, b"\x51\x20" + key[1:]), tap_deriv(path)],
        "our leaf": [_utxo(amount, tree), *leaves, tap_deriv(path, [leaf_hash(leaf)])],
        "our BIP86": [_utxo(amount, bip86(key[1:])), (b"\x17", key[1:]), tap_deriv(path)],
    }
