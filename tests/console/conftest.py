"""Fixtures shared with another folder."""

from __future__ import annotations

from tests.ctl.conftest import bare, card, fresh
from tests.support.elsewhere import windows

__all__ = ["bare", "card", "fresh", "windows"]
