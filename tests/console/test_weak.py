"""PINs and PUKs that are found by trying."""

from __future__ import annotations

import pytest

from hwilib_cryptnox.console.weak import weakness_of_pin, weakness_of_puk

WEAK = {
    "000000000": "easy-mode",
    "0000": "it repeats one character",
    "111111": "it repeats one character",
    "1234": "counts",
    "123456789": "counts",
    "9876": "counts",
    "567890": "counts",
    "3210": "counts",
    "7890": "counts",
    "1212": "repeats",
    "123123": "repeats",
    "1984": "date",
    "2412": "date",
    "1224": "date",
    "241284": "date",
    "842412": "date",
    "24121984": "date",
    "19841224": "date",
    "7011990": "date",
    "1990107": "date",
    "2580": "keys",
    "147258369": "keys",
    "159753": "keys",
    "1122": "pairs",
    "112233": "pairs",
    "99887766": "pairs",
}


@pytest.mark.parametrize("pin", WEAK)
def test_weak_pins(pin: str) -> None:
    assert WEAK[pin] in (weakness_of_pin(pin) or "")


@pytest.mark.parametrize(
    "pin",
    ["7302", "59274", "730482", "4815162", "135790", "246802", "31337", "739182", "582931764", "90418273", "730482915"],
)
def test_good_pins(pin: str) -> None:
    assert weakness_of_pin(pin) is None


def test_puks() -> None:
    assert "easy-mode" in (weakness_of_puk("0" * 12) or "")
    for weak in ("1" * 12, "123456789012"[:10] + "11", "abcabcabcabc", "abcdefghijkl", "123123123123"):
        assert (weakness_of_puk(weak) is None) == (weak == "123456789011")
    assert weakness_of_puk("730482915536") is None
