"""No dishonest PSBT leads to a signature."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwilib_cryptnox.psbt import BadPsbt, PsbtError, RefusedInput, collect, plan
from hwilib_cryptnox.psbt.codec import Psbt
from tests.psbt.dishonest import CATALOGUE, DRAFTS, SKIPS
from tests.psbt.factory import ME, OTHER, Draft, Out, draft, p2wpkh, spend
from tests.psbt.signing import make_plan

REFUSALS = json.loads((Path(__file__).parent / "refusals.json").read_text())
"""Name of the case: class and text of the error, so that each is refused for its own reason."""


def test_catalogue_is_large_enough() -> None:
    assert len(CATALOGUE) - len(SKIPS) >= 60


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - SKIPS))
def test_refused(name: str) -> None:
    with pytest.raises(PsbtError) as caught:
        make_plan(Psbt.parse(CATALOGUE[name]()))
    assert [type(caught.value).__name__, str(caught.value)] == REFUSALS[name]


def test_refused_inputs_tell_their_number() -> None:
    for name, (kind, text) in REFUSALS.items():
        assert name in CATALOGUE
        assert "\n" not in text
        assert kind != "RefusedInput" or text.startswith("input ")


@pytest.mark.parametrize("name", sorted(SKIPS))
def test_skipped_with_a_reason(name: str) -> None:
    """Nothing to refuse, nothing to sign: the caller can tell why, before and after it asked the card."""
    psbt = Psbt.parse(CATALOGUE[name]())
    collected = collect(psbt, ME.fingerprint)
    assert not collected.stays_unchanged
    assert collected.why_nothing()
    assert all(len(path) <= 8 for path in collected.paths)
    made = plan(psbt, collected, ME.keys(collected.paths))
    assert made.requests == ()
    assert made.skipped
    assert all(str(item).startswith(f"input {item.index}: ") for item in made.skipped)
    assert made.why_nothing() == collected.why_nothing()


@pytest.mark.parametrize("name", sorted(SKIPS))
def test_skipped_inputs_do_not_stop_others(name: str) -> None:
    """Beside an honest input of ours the honest one is signed, where all amounts are proved."""
    bad = DRAFTS[name]()
    assert isinstance(bad, Draft)
    both = Draft([*bad.ins, spend("p2pkh", 55)], [*bad.outs, Out(p2wpkh(OTHER.key("m/0")), 100_000)])
    both.inputs[: len(bad.inputs)] = bad.inputs
    psbt = Psbt.parse(both.encode())
    if any(fields.previous is None for fields in psbt.inputs):
        with pytest.raises(RefusedInput, match="its amount is not proved"):
            make_plan(psbt)
        made = make_plan(psbt, allow_unproved_amounts=True)
        assert made.summary.fee is None
    else:
        made = make_plan(psbt)
    assert [request.input_index for request in made.requests] == [len(bad.ins)]
    assert made.why_nothing() is None


def test_lie_in_one_input_refuses_all() -> None:
    bent = draft(*[spend("p2wpkh", number) for number in range(5)])
    bent.inputs[3] = [pair for pair in bent.inputs[3] if pair[0][0] != 6]
    bent.inputs[3].append((b"\x06" + ME.key("m/84h/0h/0h/0/3"), ME.origin("m/84h/0h/0h/0/4")))
    with pytest.raises(RefusedInput, match="input 3: "):
        make_plan(Psbt.parse(bent.encode()))


def test_bad_psbt_is_a_psbt_error_and_a_value_error() -> None:
    assert issubclass(BadPsbt, PsbtError)
    assert issubclass(PsbtError, ValueError)
