"""The two frozen tables that are too long for a test file, made of the source as it is.

`python -m tests.system.frozen.tables` writes them anew. Nothing but a new, changed or removed error may change them:
read the difference line by line, for it is what people see.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any

from tests.system.frozen import names
from tests.system.frozen.sites import sites

FOLDER = Path(__file__).parent
WITH_VALUES = " with values"
RAISES, STATUS_WORDS = FOLDER / "raises.jsonl", FOLDER / "status_words.jsonl"


def outcome(error: BaseException) -> dict[str, object]:
    """What an error becomes for people and programs."""
    hwi, told = names.hwi_answer(error), names.told(error)
    made: dict[str, object] = {"text": str(error) if hwi is None else hwi[1], "exit": told[0]}
    if told[1] != made["text"]:
        made["told"] = told[1]
    if told[2]:
        made["hint"] = told[2]
    if hwi is not None:
        made |= {"code": hwi[0], "hwilib": hwi[2]}
    return made


def raises() -> list[dict[str, object]]:
    """A row for each error that a place in the source can make, in the order of the texts."""
    return _sorted(outcome(site.error) for site in sites())


def _commands() -> list[tuple[str, Any]]:
    """One of each, without values and with all of them: some errors depend on whether a PIN or a PUK was sent."""
    found = {}
    for module in names.COMMAND_MODULES:
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and not isinstance(kind, GenericAlias)  # Python 3.10 takes tuple[int] for a class
                and issubclass(kind, names.Command)
                and kind.__module__ == module.__name__
                and is_dataclass(kind)
            ):
                for label, value in (("", None), (WITH_VALUES, "1")):
                    command = object.__new__(kind)
                    for field in fields(kind):
                        object.__setattr__(command, field.name, value)
                    found[kind.__name__ + label] = command
    return [(name, found[name]) for name in sorted(found)]


def _words() -> list[int]:
    """Every status word that has a meaning, each with a count, and some that have none."""
    counts = [base + count for base in (0x63C0, 0x9840) for count in (0, 1, 3, 12)]
    return sorted({*(int(word) for word in names.Sw if word != 0x9000), *counts, 0x6200, 0x6300, 0x6F00, 0x9100})


def status_words() -> list[dict[str, object]]:
    """First each meaning of a status word, with what becomes of it; then a row for each command, state of the card and
    meaning: which status words have it. Of a card without seed, or from the factory, and of a command with values, only
    what differs."""
    meanings: dict[str, dict[str, object]] = {}
    rows: list[dict[str, object]] = []
    for name, command in _commands():
        for state, info in names.infos().items():
            having: dict[str, list[str]] = {}
            for word in _words():
                error = command.error(word, info)
                meaning = _meaning(error, word, command.ins)
                meanings.setdefault(meaning, {"meaning": meaning} | _outcome_of_word(error, word, command.ins))
                if state == "wallet" or meaning != _meaning(
                    command.error(word, names.infos()["wallet"]), word, command.ins
                ):
                    having.setdefault(meaning, []).append(f"{word:04X}")
            rows += [
                {"command": name, "card": state, "words": " ".join(words), "meaning": meaning}
                for meaning, words in having.items()
            ]
    plain = [{**row, "command": str(row["command"]) + WITH_VALUES} for row in rows]
    return [
        *(meanings[meaning] for meaning in sorted(meanings)),
        *(row for row in rows if not str(row["command"]).endswith(WITH_VALUES) or row not in plain),
    ]


def _end(word: int, ins: int) -> str:
    """What every text of a status word ends with."""
    return f" (status word {word:04X}, instruction {ins:02X})"


def _meaning(error: BaseException, word: int, ins: int) -> str:
    if not str(error).endswith(_end(word, ins)):
        raise AssertionError(f"{error!r} does not say its numbers")
    return f"{type(error).__name__}: {str(error).removesuffix(_end(word, ins))}"


def _outcome_of_word(error: BaseException, word: int, ins: int) -> dict[str, object]:
    return {
        name: value.removesuffix(_end(word, ins)) if isinstance(value, str) else value
        for name, value in outcome(error).items()
    }


def _sorted(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    lines = {json.dumps(row, ensure_ascii=False): row for row in rows}
    return [lines[line] for line in sorted(lines)]


def read(path: Path) -> list[dict[str, Any]]:
    """A table."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Write both."""
    for path, rows in ((RAISES, raises()), (STATUS_WORDS, status_words())):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


if __name__ == "__main__":
    main()
