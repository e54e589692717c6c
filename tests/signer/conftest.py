"""Fixtures shared with another folder."""

from __future__ import annotations

from tests.hwi.conftest import card, fresh, hwi, signer, state

__all__ = ["card", "fresh", "hwi", "signer", "state"]
