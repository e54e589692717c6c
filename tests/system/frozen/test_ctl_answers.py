"""How `cryptnoxctl --json` ends where a command cannot be done: provoked with real inputs on the emulated card.

`ctl.jsonl` has a line for each command line: the card (one of `running.CARDS`, or the options of one of its own),
words, environment, configuration, stdin and files, then exit status, text and hint. A text that is null is worded by
click or embit. <path>, <address> and <serial> are the card's, <tmp> is the test's folder.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator import PIN, EmulatorProcess
from tests.system.frozen import running, tables

pytestmark = pytest.mark.xdist_group("frozen answers")  # they share their cards

CASES = tables.read(Path(__file__).with_name("ctl.jsonl"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["name"]))
def test_answer(
    case: dict[str, Any],
    cards: running.Cards,
    psbts: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        card = cards.of(case.get("card"), stack)
        if card is not None:
            monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")

        def fill(text: str) -> str:
            return running.filled(text, card, tmp_path)

        for name, value in case.get("env", {}).items():
            monkeypatch.setenv(name, fill(value))
        for name, content in case.get("files", {}).items():
            (tmp_path / name).write_text(content)
        if "config" in case:
            running.configure(*map(fill, case["config"]))
        stdin = case.get("stdin", "")
        answer = running.ctl(monkeypatch, *map(fill, case["words"]), stdin=psbts.get(stdin, stdin))
    assert answer["exit_code"] == case["exit"]
    assert answer["hint"] == fill(case["hint"])
    assert case["text"] is None or answer["error"] == fill(case["text"])


def test_no_case_stands_twice() -> None:
    assert len(CASES) > 100
    assert len({case["name"] for case in CASES}) == len(CASES)


def test_every_wrong_pin(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = (
        "cryptnoxctl pin tries shows how many are left; if you forgot the PIN, set a new one with the PUK: "
        "cryptnoxctl pin change --with-puk"
    )
    with EmulatorProcess(*running.CARDS["wallet"]) as card:
        monkeypatch.setenv("CRYPTNOX_EMULATOR", f"{card.host}:{card.port}")

        def told(pin: str, *words: str) -> tuple[int, str, str]:
            answer = running.ctl(monkeypatch, *words, "--stdinpass", stdin=f"{pin}\n")
            return answer["exit_code"], answer["error"], answer["hint"]

        key = ("xpub", "show", "m/84h/0h/0h")
        for left in ("5 tries", "4 tries", "3 tries", "2 tries", "1 try"):
            assert told("111111", *key) == (4, f"Wrong PIN, {left} left at most", hint)
        last = (
            "One PIN try is left; nothing was sent. CRYPTNOX_LAST_TRY=1 allows it; if the PIN is wrong, only the "
            "PUK unblocks the card"
        )
        assert told(PIN, *key) == (4, last, "")
        monkeypatch.setenv("CRYPTNOX_LAST_TRY", "1")
        assert told("111111", *key)[0] == 4
        assert told(PIN, *key)[:2] == (
            4,
            "No PIN is accepted: remove and re-insert the card; if that does not help, unblock with the PUK "
            "(cryptnoxctl pin unblock)",
        )
