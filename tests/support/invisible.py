"""Characters that are drawn as nothing, listed apart from the product."""

from __future__ import annotations

from collections.abc import Iterator

INVISIBLE = (
    "00AD 034F 061C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8 "
    "1BCA0-1BCA3 1D173-1D17A E0000-E0FFF 2800 1D159 16FE4 13441-13442"
)
"""Default_Ignorable_Code_Point as Unicode's DerivedCoreProperties.txt and Perl have it, and what is blank besides."""


def invisible() -> Iterator[str]:
    """Each of them."""
    for part in INVISIBLE.split():
        first, _, last = part.partition("-")
        yield from map(chr, range(int(first, 16), int(last or first, 16) + 1))
