"""What the extension puts into Specter's pages: a script at their end, and an icon that can be seen on them. No Specter
is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hwilib_cryptnox
from hwilib_cryptnox.specter.page import with_script

STATIC = Path(hwilib_cryptnox.__file__).parent / "specter" / "static"
SCRIPT = (STATIC / "js" / "cryptnox.js").read_text("utf-8")
BACKGROUNDS = ("#0b0d11", "#11151e", "#1a202c", "#2d3748", "#323e50")
"""Dark tones of Specter's pages and buttons."""


def test_a_page_with_dialogs_gets_the_script_at_its_end() -> None:
    page = b'<html><body><div id="hwi_passphrase"></div><script>"</body>"</script></body>\n</html>'
    changed = with_script(page, "/svc/cryptnox/static/js/cryptnox.js?v=1&x=2")
    script = b'<script src="/svc/cryptnox/static/js/cryptnox.js?v=1&amp;x=2"></script>\n'
    assert changed == page[:-15] + script + page[-15:]


@pytest.mark.parametrize(
    "page",
    [b"", b"<html><body></body></html>", b'<div id="hwi_passphrase"></div>', b'</body><div id="hwi_passphrase"></div>'],
)
def test_other_pages_stay_as_they_are(page: bytes) -> None:
    assert with_script(page, "/x.js") is page


def test_the_script_is_plain() -> None:
    """It works under a policy that forbids code made of text, and writes nothing to the console, into addresses, or
    into what the browser keeps."""
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval|new Function|setTimeout|console"
    forbidden += r"|Storage|cookie|location|history|fetch|XMLHttpRequest|https?:|import"
    assert not re.findall(rf"\b(?:{forbidden})", SCRIPT)
    assert len(SCRIPT.splitlines()) < 250


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_icon_can_be_seen(background: str) -> None:
    """The card's outline and what is drawn on it, but the lines within the chip, which are drawn on its gold."""
    icon = (STATIC / "img" / "cryptnox.svg").read_text("utf-8")
    chip = re.search(r'<rect[^>]*fill="(#[0-9a-f]{6})"/>', icon)
    assert chip is not None
    outer = {*re.findall(r'stroke="(#[0-9a-f]{6})" stroke-width="[23]', icon), chip[1]}
    assert len(outer) == 2
    assert all(_contrast(color, background) > 4.5 for color in outer), outer
    lines = re.findall(r'stroke="(#[0-9a-f]{6})" stroke-width="1', icon)
    assert lines and all(_contrast(color, chip[1]) > 4.5 for color in lines)
