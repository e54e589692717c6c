"""The errors of the card package: all have a public name, and travel."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import cryptnox_core
from cryptnox_core import CryptnoxError, errors


def test_every_error_is_named() -> None:
    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert kinds <= set(cryptnox_core.__all__)
    assert all(issubclass(getattr(errors, name), CryptnoxError) for name in kinds)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CryptnoxError)]
)
def test_errors_travel(kind: type[CryptnoxError]) -> None:
    """To another process and back: with text, number and count."""
    given = {"message": "text", "sw": 0x63C2, "ins": 0x20, "left": 2}
    wanted = [name for name in inspect.signature(kind.__init__).parameters if name in given]
    error = kind(*(given[name] for name in wanted)) if wanted else kind("text")
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind and str(other) == str(error) and vars(other) == vars(error)
