"""Emulated cards and PSBTs of the frozen tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.psbt.factory import ME, OTHER, In, Out, draft, p2wpkh, sighash, spend
from tests.system.frozen import running


@pytest.fixture(scope="module")
def cards() -> Iterator[running.Cards]:
    shared = running.Cards()
    yield shared
    shared.stop()


@pytest.fixture(scope="module")
def psbts() -> dict[str, str]:
    """By the words of the cases that name them."""
    lie = draft(spend("p2wpkh"))
    lie.inputs[0] = [
        (b"\x06" + ME.key("m/84h/0h/0h/0/5"), value) if key[0] == 6 else (key, value) for key, value in lie.inputs[0]
    ]
    drafts = {
        "<lie>": lie,
        "<honest>": draft(spend("p2wpkh")),
        "<originless>": draft(In(p2wpkh(ME.key("m/84h/0h/0h/0/0")))),
        "<sighash>": draft(spend("p2wpkh", fields=[*spend("p2wpkh").fields, sighash(2)])),
        "<unproved>": draft(spend("p2wpkh", previous=False), spend("p2wpkh", 1, previous=False)),
        "<fee>": draft(spend("p2wpkh", amount=100_000_000), outs=[Out(p2wpkh(OTHER.key("m/0")), 1000)]),
    }
    return {name: made.base64() for name, made in drafts.items()}
