"""Whatever is done to an honest PSBT: it is refused, or what is shown of it is so.

An example is an honest transaction, of which a few things are bent at random. What the chain has stays known, so that
every sum can be checked, and Bitcoin Core's verifier tells which signatures count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.psbt.dishonest_wallets import COSIGNER, EVE, MULTI, US, places, shared_coin, shared_out, xpub
from tests.psbt.factory import (
    ME,
    OTHER,
    Draft,
    Out,
    Pairs,
    le,
    multisig,
    out_deriv,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    pushed,
    sighash,
    string,
    tap_deriv,
)
from tests.psbt.runs import Coin, Run, Truth, attackers_coin, coin, lies, run, valid

KINDS = ("p2wpkh", "p2wpkh", "p2sh-p2wpkh", "p2pkh", "rawtr", "tapscript", "shared", "another's")
CHANGE = {"p2wpkh": "m/84h/0h/0h/1/{}", "p2pkh": "m/44h/0h/0h/1/{}", "p2sh-p2wpkh": "m/49h/0h/0h/1/{}"}
OPTIONS = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@dataclass(frozen=True, eq=False)
class SharedCoin(Coin):
    """1 of 2 with a cosigner: one signature of ours is enough."""

    def unlock(self, key: bytes, signature: bytes) -> tuple[bytes, tuple[bytes, ...]]:
        return b"", (b"", signature, self.leaf)


def shared(number: int, amount: int) -> SharedCoin:
    found = places(US, f"0/{number}")
    item = replace(shared_coin(found, 1, amount=amount), salt=number)
    return SharedCoin("shared", item, found[0][1], multisig(1, sorted(wallet.key(path) for wallet, path in found)))


def shared_script(below: str) -> bytes:
    """The shared wallet's script at a place."""
    return shared_out(places(US, below), 1)[0]


def own_scripts(key: bytes) -> list[bytes]:
    """What a key alone can spend."""
    return [p2wpkh(key), p2pkh(key), p2sh(p2wpkh(key)), b"\x51\x20" + key[1:]]


# --- honest transactions ---------------------------------------------------------------------------------------------


@st.composite
def honest(make: st.DrawFn) -> tuple[list[Coin], Draft]:
    """Coins, and a PSBT that spends them as wallets do."""
    kinds = make(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    coins: list[Coin] = []
    for number, kind in enumerate(kinds):
        amount = make(st.sampled_from((40_000, 100_000, 3_000_000, 50_000_000)))
        if kind == "shared":
            coins.append(shared(number, amount))
        else:
            coins.append(attackers_coin(number, amount) if kind == "another's" else coin(kind, number, amount))
    outs = [Out(p2wpkh(OTHER.key("m/0")), 9_000)]
    for number, kind in enumerate(make(st.lists(st.sampled_from((*CHANGE, "rawtr", "shared")), max_size=2))):
        outs.append(change_of(kind, number))
    rest = sum(item.item.amount for item in coins) - 10_000
    for out in outs[1:]:
        out.amount = rest // (len(outs) - 1)
    if len(outs) == 1:
        outs[0].amount = rest + 8_000
    extra = [xpub(ME), xpub(COSIGNER)] if make(st.booleans()) else []
    return coins, Draft([item.item for item in coins], outs, make(st.sampled_from((0, 2))), extra=extra)


def change_of(kind: str, number: int) -> Out:
    """An honest output that comes back."""
    if kind == "shared":
        script, fields = shared_out(places(US, f"1/{number}"), 1)
        return Out(script, 0, fields)
    if kind == "rawtr":
        path = f"m/86h/0h/0h/1/{number}"
        return Out(b"\x51\x20" + ME.key(path)[1:], 0, [tap_deriv(path, kind=0x07)])
    path = CHANGE[kind].format(number)
    key = ME.key(path)
    redeem = [(b"\x00", p2wpkh(key))] if kind == "p2sh-p2wpkh" else []
    scripts = {"p2wpkh": p2wpkh(key), "p2pkh": p2pkh(key), "p2sh-p2wpkh": p2sh(p2wpkh(key))}
    return Out(scripts[kind], 0, [out_deriv(path), *redeem])


# --- what is bent ----------------------------------------------------------------------------------------------------

Draw = Callable[[st.SearchStrategy[int]], int]
AS_OUTPUT = {0x06: 0x02, 0x16: 0x07, 0x04: 0x00, 0x05: 0x01, 0x17: 0x05}
STRANGE = (
    p2wpkh(EVE.key("m/0")),
    p2pkh(EVE.key("m/0")),
    b"\x51\x20" + EVE.key("m/0")[1:],
    p2wsh(multisig(1, [ME.key("m/84h/0h/0h/1/0"), EVE.key("m/0")])),
    p2sh(p2wpkh(EVE.key("m/0"))),
    p2wpkh(ME.key("m/84h/0h/0h/1/2147483646")),
    p2wpkh(ME.key("m/84h/0h/0h/1/0")),
    b"\x51\x20" + ME.key("m/84h/0h/0h/1/0")[1:],
    b"\x6a" + pushed(b"data"),
    b"\x51",
)


def pick(draw: Draw, count: int) -> int:
    return draw(st.integers(0, count - 1))


def any_map(draw: Draw, made: Draft) -> Pairs:
    maps = [*made.inputs, *made.outputs]
    return maps[pick(draw, len(maps))]


def put(pairs: Pairs, pair: tuple[bytes, bytes]) -> None:
    """Adds a pair or replaces the one of that key: twice the same key is refused at once, and teaches nothing."""
    pairs[:] = [item for item in pairs if item[0] != pair[0]] + [pair]


def drop(draw: Draw, made: Draft) -> None:
    pairs = any_map(draw, made)
    if pairs:
        del pairs[pick(draw, len(pairs))]


def flip(draw: Draw, made: Draft) -> None:
    pairs = any_map(draw, made)
    if pairs:
        at = pick(draw, len(pairs))
        key, value = pairs[at]
        if value:
            byte = pick(draw, len(value))
            pairs[at] = key, value[:byte] + bytes((value[byte] ^ (1 << pick(draw, 8)),)) + value[byte + 1 :]


def copy(draw: Draw, made: Draft) -> None:
    """A field of one input into another, or into an output."""
    source = made.inputs[pick(draw, len(made.inputs))]
    if not source:
        return
    key, value = source[pick(draw, len(source))]
    if pick(draw, 2) and key[0] in AS_OUTPUT and made.outputs:
        put(made.outputs[pick(draw, len(made.outputs))], (bytes((AS_OUTPUT[key[0]],)) + key[1:], value))
    else:
        put(made.inputs[pick(draw, len(made.inputs))], (key, value))


def move(draw: Draw, made: Draft) -> None:
    """The derivations of one input into another."""
    source, target = (made.inputs[pick(draw, len(made.inputs))] for _ in range(2))
    found = [pair for pair in source if pair[0][0] in (0x06, 0x16)]
    source[:] = [pair for pair in source if pair not in found]
    for pair in found:
        put(target, pair)


def hide(draw: Draw, made: Draft) -> None:
    pairs = any_map(draw, made)
    pairs[:] = [pair for pair in pairs if pair[0][0] not in (0x06, 0x16, 0x02, 0x07)]


def unprove(draw: Draw, made: Draft) -> None:
    pairs = made.inputs[pick(draw, len(made.inputs))]
    pairs[:] = [pair for pair in pairs if pair[0] != b"\x00"]


def unprove_all(draw: Draw, made: Draft) -> None:
    for pairs in made.inputs:
        pairs[:] = [pair for pair in pairs if pair[0] != b"\x00"]


def other_utxo(draw: Draw, made: Draft) -> None:
    """Another amount, or another script, and no proof."""
    index = pick(draw, len(made.inputs))
    item, pairs = made.ins[index], made.inputs[index]
    amounts = (item.amount, 0, 1, item.amount // 2, item.amount - 5_000, item.amount * 2)
    scripts = (item.script, item.script, item.script, *STRANGE)
    amount, script = amounts[pick(draw, len(amounts))], scripts[pick(draw, len(scripts))]
    pairs[:] = [pair for pair in pairs if pair[0] not in (b"\x00", b"\x01")]
    pairs.append((b"\x01", le(amount, 8) + string(script)))


def final(draw: Draw, made: Draft) -> None:
    witness = (b"\x00", b"\x01\x01\x51", b"\x02" + string(bytes(71)) + string(bytes(33)))[pick(draw, 3)]
    put(made.inputs[pick(draw, len(made.inputs))], (b"\x08", witness))


def other_script(draw: Draw, made: Draft) -> None:
    at = pick(draw, len(made.outs))
    made.outs[at] = replace(made.outs[at], script=STRANGE[pick(draw, len(STRANGE))])


def other_amount(draw: Draw, made: Draft) -> None:
    at = pick(draw, len(made.outs))
    amount = made.outs[at].amount
    made.outs[at] = replace(
        made.outs[at], amount=(0, 1, amount // 2, amount - 40_000, amount + 1)[pick(draw, 5)] % 2**51
    )


def more_outputs(draw: Draw, made: Draft) -> None:
    """One more, with an origin of ours or another's fields."""
    path = ("m/84h/0h/0h/1/0", "m/84h/0h/0h/1/2147483646", "m/84h/0h/9h/1/0", MULTI + "/1/0")[pick(draw, 4)]
    made.outs.append(Out(STRANGE[pick(draw, len(STRANGE))], (0, 1_000)[pick(draw, 2)]))
    choices: list[Pairs] = [[], [out_deriv(path)], [tap_deriv(path, kind=0x07)], list(any_map(draw, made))]
    fields = choices[pick(draw, len(choices))]
    made.outputs.append([pair for pair in fields if pair[0][0] in (0x00, 0x01, 0x02, 0x05, 0x07)])


def swapped_outputs(draw: Draw, made: Draft) -> None:
    a, b = pick(draw, len(made.outs)), pick(draw, len(made.outs))
    made.outputs[a], made.outputs[b] = made.outputs[b], made.outputs[a]


def other_place(draw: Draw, made: Draft) -> None:
    """Another level or another fingerprint in a derivation."""
    pairs = any_map(draw, made)
    found = [at for at, pair in enumerate(pairs) if pair[0][0] in (0x02, 0x06, 0x07, 0x16) and len(pair[1]) >= 8]
    if found:
        at = found[pick(draw, len(found))]
        key, value = pairs[at]
        levels = (value[:-4] + le(7), value[:-4] + le(2**31 - 2), value + le(0), value[:-8] + le(5) + value[-4:])
        marks = [value.replace(a.fingerprint, b.fingerprint) for a in (ME, OTHER, COSIGNER) for b in (ME, EVE, OTHER)]
        choices = (*levels, *marks)
        pairs[at] = key, choices[pick(draw, len(choices))]


def other_type(draw: Draw, made: Draft) -> None:
    value = (0, 1, 2, 3, 0x81, 0x83, 4)[pick(draw, 7)]
    put(made.inputs[pick(draw, len(made.inputs))], sighash(value))


def more_xpubs(draw: Draw, made: Draft) -> None:
    made.extra.append((xpub(EVE), xpub(EVE, said=COSIGNER), xpub(EVE, said=ME), xpub(OTHER))[pick(draw, 4)])
    made.extra = list(dict(made.extra).items())


MUTATIONS = (
    drop,
    flip,
    copy,
    move,
    hide,
    unprove,
    unprove_all,
    other_utxo,
    other_utxo,
    final,
    other_script,
    other_amount,
    more_outputs,
    swapped_outputs,
    other_place,
    other_type,
    more_xpubs,
)
POLICIES: tuple[dict[str, object], ...] = ({}, {}, {"allow_unproved_amounts": True}, {"allow_sighash": True})


@st.composite
def bent(make: st.DrawFn) -> tuple[list[Coin], Draft, dict[str, object]]:
    """An honest PSBT after a few changes, and a policy."""
    coins, made = make(honest())
    for mutation in make(st.lists(st.sampled_from(MUTATIONS), max_size=4)):
        mutation(make, made)
    return coins, made, make(st.sampled_from(POLICIES))


# --- judgement -------------------------------------------------------------------------------------------------------


def change_found(made: Run, truth: Truth) -> dict[int, str]:
    """Outputs called change that the card's keys alone can spend at the path that is shown, and those of the shared
    wallet where all our coins are its."""
    assert made.summary is not None and made.psbt is not None
    found = {}
    signed = {request.input_index for request, _ in made.made}
    all_shared = all(truth.coins[index].kind == "shared" for index in signed)
    for out in made.summary.outputs:
        if out.path is None or not out.change:
            continue
        place = str(out.path)
        ours = own_scripts(ME.key(out.path))
        if all_shared and place.startswith(MULTI):
            ours.append(shared_script(place.removeprefix(MULTI + "/")))
        if out.script in ours:
            found[out.index] = place
    return found


def judge(coins: list[Coin], draft: Draft, policy: dict[str, object], export: bool | None) -> str:
    """One run: what came of it. AssertionError where something was shown that is not so."""
    made = run(draft, export=export, **policy)
    if made.refusal is not None:
        return "refused"
    if made.summary is None or not made.made:
        return "nothing"
    shown, truth = made.summary, Truth(coins, draft.outs)
    truth = replace(truth, change=change_found(made, truth))
    total = sum(out.amount for out in draft.outs)
    assert shown.sent + shown.change_amount == total
    assert shown.change_amount == sum(out.amount for out in shown.outputs if out.change)
    assert {out.index for out in shown.outputs if out.change} == set(truth.change)
    if shown.fee is not None:
        assert shown.amount_in == shown.sent + shown.change_amount + shown.fee
        assert shown.our_amount is not None and shown.net == shown.our_amount - shown.change_amount
    else:
        assert shown.amount_in is None and shown.our_amount is None and shown.net is None
        assert policy.get("allow_unproved_amounts")
    counts = [valid(made, request, signature, truth) for request, signature in made.made]
    if any(counts):
        assert lies(made, truth) == []
        return "signed"
    return "worthless"


def check(count: int, number: int | None = None) -> Counter[str]:
    """Judges `count` examples, always the same ones, or those of a number; tells what came of them."""
    seen: Counter[str] = Counter()
    kept = settings(OPTIONS, max_examples=count, derandomize=number is None)

    @kept
    @given(bent(), st.sampled_from((None, True, False)))
    def examples(example: tuple[list[Coin], Draft, dict[str, object]], export: bool | None) -> None:
        seen[judge(*example, export)] += 1

    (examples if number is None else seed(number)(examples))()
    return seen


def test_refused_or_true() -> None:
    seen = check(700)
    assert seen["signed"] > 100 and seen["refused"] > 100, seen


@pytest.mark.heavy
@pytest.mark.parametrize("number", range(12))
def test_refused_or_true_many_times(number: int) -> None:
    seen = check(2_500, number)
    assert seen["signed"] > 400 and seen["refused"] > 400, seen


def test_honest_examples_are_signed() -> None:
    """Without a change nothing is refused but for the fee, so the examples are what they say."""
    seen: Counter[str] = Counter()

    @settings(OPTIONS, max_examples=120)
    @given(honest(), st.sampled_from((None, True, False)))
    def examples(example: tuple[list[Coin], Draft], export: bool | None) -> None:
        coins, draft = example
        seen[judge(coins, draft, {}, export)] += 1

    examples()
    assert seen["signed"] > 90 and not seen["refused"] and not seen["worthless"], seen
