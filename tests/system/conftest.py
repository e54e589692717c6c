"""Fixtures shared with another folder."""

from __future__ import annotations

from tests.support.elsewhere import macos, windows

__all__ = ["macos", "windows"]
