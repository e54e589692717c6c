"""Fixtures shared with another folder."""

from __future__ import annotations

from tests.ctl.conftest import bare, card, fresh

__all__ = ["bare", "card", "fresh"]
