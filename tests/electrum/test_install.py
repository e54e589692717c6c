"""A stranger's path: from an Electrum without the plugin to a signed payment, and the pictures of it in the docs."""

from __future__ import annotations

import re
import struct

import pytest

from tests.electrum.people import Person
from tests.electrum.stranger import PICTURES, walk
from tests.system.interop.programs import ROOT

DOCS = ROOT / "docs"
MOST_BYTES = 100_000


@pytest.mark.heavy
@pytest.mark.xdist_group("electrum-window")
@pytest.mark.timeout(1200)
def test_a_strangers_path(person: Person) -> None:
    pictures = person.home / "pictures"
    pictures.mkdir()
    assert walk(person, pictures)
    for name in PICTURES:
        width, height = struct.unpack(">II", (pictures / name).read_bytes()[16:24])
        assert width > 300, name
        assert height > 100, name
        assert (pictures / name).stat().st_size < MOST_BYTES, name
    person.nothing_knows()


def test_the_page_shows_the_pictures_that_the_script_makes() -> None:
    named = re.findall(r"!\[([^\]]*)\]\(pictures/([^)]+)\)", (DOCS / "electrum.md").read_text(encoding="utf-8"))
    assert [name for _, name in named] == list(PICTURES)
    assert [text for text, _ in named] == list(PICTURES.values())
    for name in PICTURES:
        picture = (DOCS / "pictures" / name).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n"), name
        assert len(picture) < MOST_BYTES, name
