"""PSBTs judged by what is shown of them: refused, or the truth stands in the summary of the run that signs."""

from __future__ import annotations

import pytest

from tests.psbt.dishonest import CATALOGUE, OUTCOMES, SKIPS
from tests.psbt.runs import Coin, Run, Truth, lies, run

EXPORTS = pytest.mark.parametrize("export", [None, True, False], ids=["all-keys", "export", "no-export"])


def judged(name: str, export: bool | None) -> tuple[Run, Truth]:
    """A run over a case, and its truth."""
    wanted = OUTCOMES[name]
    draft = wanted.make()
    coins = [
        Coin("told", item, "ours" if wanted.is_ours(draft, index) else None) for index, item in enumerate(draft.ins)
    ]
    made = run(draft, accounts=wanted.accounts, export=export, **wanted.policy)
    return made, Truth(coins, draft.outs, wanted.change)


@EXPORTS
@pytest.mark.parametrize("name", OUTCOMES)
def test_refused_or_shown_as_it_is(name: str, export: bool | None) -> None:
    wanted = OUTCOMES[name]
    made, truth = judged(name, export)
    if wanted.signed:
        assert made.refusal is None and made.made, made.refusal
    if wanted.refused is not None:
        assert wanted.refused in str(made.refusal)
    if not made.made:
        return
    assert made.summary is not None
    assert lies(made, truth) == []
    if wanted.signed and export is not False:
        assert {out.index for out in made.summary.outputs if out.change} == set(truth.change)
    if wanted.grave is not None:
        assert wanted.grave in {notice.kind.name for notice in made.summary.warnings if notice.grave}


@pytest.mark.parametrize("export", [True, False], ids=["export", "no-export"])
@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - SKIPS))
def test_refused_with_the_keys_that_are_read_from_a_card(name: str, export: bool) -> None:
    """Not only where all keys are known: the product reads as few as it can."""
    made = run(CATALOGUE[name](), export=export)
    assert made.refusal is not None and not made.made


def test_the_catalogue_has_grown_along_every_rule() -> None:
    assert len(CATALOGUE) + len(OUTCOMES) >= 350
