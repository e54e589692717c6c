"""Every screen at three widths: as in `screens/`, and nothing that is copied or compared is broken."""

from __future__ import annotations

import re

import pytest

from hwilib_cryptnox.console.layout import lines_of, widest, width
from tests.ctl.scenes import FOLDER, SCREENS, SIZES, WIDE, file_of, play


@pytest.mark.parametrize("name", SCREENS)
def test_the_screen(name: str) -> None:
    screen = SCREENS[name]
    wide, code = play(screen, WIDE, 60)
    assert code == screen.code, wide
    whole = words(wide)
    for columns, rows in SIZES.items():
        text, code = play(screen, columns, rows)
        assert code == screen.code, text
        assert words(text) - whole <= heads(text), f"{columns} columns break words"
        if not screen.raw:
            for line in text.splitlines():
                assert fits(line, columns), line
        assert text == file_of(name, columns).read_text(), f"python -m tests.ctl.scenes '{name}' writes it again"


def fits(line: str, columns: int) -> bool:
    """Whether it is no longer than the window, or has to be: one piece. What was typed after a question aside."""
    if width(line) <= columns or len(lines_of(line.strip(), columns)) == 1:
        return True
    if line.lstrip().startswith(("cryptnoxctl ", "--")):  # examples, and options with their values: as they are typed
        return True
    question, colon, _ = line.rpartition(": ")
    return bool(colon) and fits(f"{question}:", columns)


def words(text: str) -> set[str]:
    """What stands between blanks; the frames of tables aside."""
    return {word for word in text.split() if word.strip("─━")}


def heads(text: str) -> set[str]:
    """The words of a table's heads, where each cell has a line of its own."""
    found = re.findall(r"^([^:\n]{1,60}):(?: |$)", text, re.MULTILINE)
    return {word for head in found for word in f"{head}:".split()}


def test_every_file_is_a_screens() -> None:
    assert set(FOLDER.rglob("*.txt")) == {file_of(name, size) for name in SCREENS for size in SIZES}


def test_every_command_has_a_screen() -> None:
    from hwilib_cryptnox.ctl.main import COMMANDS

    seen = {screen.words.split()[0] for screen in SCREENS.values()}
    elsewhere = {
        "doctor",  # shows the machine's readers and services
        "clone",  # two cards
        "hwi",  # changes the environment it runs in
        "pin-auth",  # needs a user key
        "relay",  # runs until Ctrl-C
        "emulator",  # runs until SIGTERM
        "completion",  # a shell's script
    }
    assert set(COMMANDS) == seen - {"--help", "singn"} | elsewhere


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("run cryptnoxctl pin unblock now", 12, ["run", "cryptnoxctl pin unblock", "now"]),
        (
            "it: cryptnoxctl backup check --card 7108776947887105570",
            20,
            ["it:", "cryptnoxctl backup check --card 7108776947887105570"],
        ),
        (
            "a bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu b",
            20,
            ["a", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", "b"],
        ),
        ('or type "no check" to go', 16, ["or type", '"no check" to go']),
        ("  key  text that is long", 14, ["  key  text", "that is long"]),
        ("", 10, [""]),
    ],
)
def test_lines(text: str, columns: int, lines: list[str]) -> None:
    assert lines_of(text, columns) == lines
    assert max(map(width, lines)) <= max(columns, widest(text))
