"""Every place that makes an error for the outside, and what people and programs are told: frozen."""

from __future__ import annotations

import json

import pytest

from tests.support import optional
from tests.system.frozen import sites, tables

pytestmark = pytest.mark.xdist_group("frozen places")  # all modules are read once


def _lines(rows: list[dict[str, object]]) -> set[str]:
    return {json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows}


def _compare(found: list[dict[str, object]], frozen: list[dict[str, object]]) -> None:
    new, gone = sorted(_lines(found) - _lines(frozen)), sorted(_lines(frozen) - _lines(found))
    if new or gone:
        pytest.fail("\n".join([*(f"new:  {line}" for line in new), *(f"gone: {line}" for line in gone)]), pytrace=False)


def test_every_place_that_raises_is_in_the_table() -> None:
    """And says what it said: HWI's code and text, hwilib's exception, exit code, text and hint of cryptnoxctl."""
    optional.hwilib()  # the driver inside it raises, too
    found, frozen = tables.raises(), tables.read(tables.RAISES)
    assert len(frozen) > 550
    _compare(found, frozen)


def test_nothing_else_is_raised() -> None:
    """An exception of Python's own ends as a failure that nobody can act on: the few there are do not leave the
    modules that raise them, or are what Python's own protocols want."""
    optional.hwilib()  # the driver inside it raises, too
    own = ("ValueError", "TypeError", "AttributeError", "SystemExit")
    assert [line for line in sites.strangers() if not line.endswith(own)] == []


def test_every_status_word_of_every_command_is_in_the_table() -> None:
    found, frozen = tables.status_words(), tables.read(tables.STATUS_WORDS)
    commands = {row["command"] for row in frozen if "command" in row}
    assert len(commands) > 30
    _compare(found, frozen)


@pytest.mark.parametrize("table", [tables.RAISES, tables.STATUS_WORDS], ids=lambda path: path.stem)
def test_no_row_stands_twice(table: object) -> None:
    rows = tables.read(table)  # type: ignore[arg-type]
    assert len(_lines(rows)) == len(rows)
