"""Which of several cards is meant where nobody names one."""

from __future__ import annotations

import pytest

from tests.hwi.conftest import MNEMONIC, PIN, Program
from tests.support.pcsc import VirtualReaders

pytestmark = pytest.mark.pcsc


def test_the_first_card_with_a_seed(virtual_readers: VirtualReaders, hwi: Program) -> None:
    """An empty card in an earlier reader is in nobody's way."""
    with virtual_readers.card(slot=0), virtual_readers.card("--mnemonic", MNEMONIC, "--xpub-export", slot=1):
        assert "xpub" in hwi("-t", "cryptnox", "-p", PIN, "getmasterxpub")


def test_an_empty_card_alone_is_named(virtual_readers: VirtualReaders, hwi: Program) -> None:
    with virtual_readers.card(slot=0):
        assert hwi("-t", "cryptnox", "-p", PIN, "getmasterxpub")["code"] == -18
