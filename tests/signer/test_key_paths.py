"""Keys made current one after the other, on a model of what the card remembers."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryptnox_core.bip32 import MASTER, Path
from cryptnox_core.derivation import UNKNOWN, Derive, Position, Sign
from cryptnox_core.first_block import LEVELS
from cryptnox_core.wire import Source
from hwilib_cryptnox.signer.signatures.key_paths import plan_at_keys

ACCOUNT = Path.parse("m/86h/0h/0h")
levels = st.lists(st.sampled_from([0, 1, 2, 86 | 1 << 31, 1 << 31]), max_size=8).map(lambda steps: Path(tuple(steps)))


def followed(paths: list[Path], at: Position) -> tuple[dict[int, Path], int, int]:
    """Which key signs which, as a card that follows the steps does it; levels derived, and commands."""
    current, known_parent = at.current, at.current is not None
    signed, derived, commands = {}, 0, 0
    for step in plan_at_keys(paths, at):
        commands += 1
        if isinstance(step, Sign):
            assert (step.source, step.suffix) == (Source.CURRENT, Path()) and current is not None
            signed[step.index] = current
            assert step.path == current
            continue
        assert isinstance(step, Derive)
        assert step.path_suffix.depth <= LEVELS
        assert step.path_suffix.depth or step.source is Source.MASTER
        if step.source is Source.MASTER:
            base = MASTER
        else:
            assert current is not None and known_parent, "the key of an earlier session"
            base = current if step.source is Source.CURRENT else current.parent
        current, known_parent = base.extend(step.path_suffix), True
        assert current == step.result
        derived += step.path_suffix.depth
    return signed, derived, commands


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(levels, max_size=12), st.one_of(st.none(), levels))
def test_every_path_signs_with_its_own_key(paths: list[Path], current: Path | None) -> None:
    signed, _, _ = followed(paths, UNKNOWN if current is None else Position(current))
    assert signed == dict(enumerate(paths))


def test_what_it_costs() -> None:
    """One level for each key of a chain, wherever it begins; the way to another chain is gone for anew."""
    first = [ACCOUNT.child(0).child(number) for number in range(10)]
    second = [ACCOUNT.child(1).child(number) for number in range(5)]
    assert followed(first, Position(ACCOUNT))[1:] == (1 + 10, 1 + 9 + 10)
    assert followed(first, UNKNOWN)[1:] == (4 + 10, 2 + 9 + 10)
    assert followed(first, Position(ACCOUNT.child(0).child(77)))[1:] == (10, 10 + 10)
    assert followed([*second, *first], Position(ACCOUNT.child(0).child(3)))[1] == 9 + 4 + 5 + 1
    assert followed([first[3]] * 4, Position(ACCOUNT))[1:] == (2, 1 + 4)
    assert followed([], UNKNOWN) == ({}, 0, 0)
