"""Set-up where a card is in each of two PC/SC readers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ctl.program import answer, ended, terminal
from tests.ctl.test_errors import BEGUN, NEW_PIN, NEW_PUK, asked
from tests.hwi.test_setup import Typist
from tests.support import pcsc
from tests.support.emulator import MNEMONIC

pytestmark = pytest.mark.pcsc

FIRST, SECOND = pcsc.SLOTS


def test_of_two_cards_without_a_seed_the_named_one_is_set_up(
    virtual_readers: pcsc.VirtualReaders, tmp_path: Path
) -> None:
    """By both programs: unnamed, nothing is done; named, the other card is not touched."""
    with (
        virtual_readers.card("--serial", str(1 << 61)) as one,
        virtual_readers.card("--serial", str(1 << 62), slot=1) as two,
    ):
        refused = answer_of_setup(tmp_path, "setup", code=2)
        assert str(one.serial) in refused and str(two.serial) in refused
        typist = Typist(tmp_path, None, "-t", "cryptnox", "-i", "setup")
        refused = typist.answer()["error"]
        assert str(one.serial) in refused and str(two.serial) in refused and "--device-path" in refused
        words = ("-t", "cryptnox", "-d", f"cryptnox:{two.serial}", "-i", "restore", "-w", "12")
        typist = Typist(tmp_path, None, *words)
        typist.types(("Word 1: ", MNEMONIC), ("Passphrase: ", ""), ("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
        typist.types(
            ("Choose it yourself", "y"),
            ("New PUK", NEW_PUK),
            (("Type it again"), NEW_PUK),
            ("Initialize the card now", "y"),
        )
        assert typist.answer() == {"success": True}
        assert one.stats()["by_ins"].get("FE", 0) == 0
        # Now one of them has a wallet, and is refused by name.
        with terminal(None, "setup", "--card", str(two.serial)) as child:
            child.expect_exact("There is already a wallet on this card")
            assert ended(child) == 1
        data = asked(
            None, tmp_path, ["setup", "--seed", "card", "--card", str(one.serial)], *BEGUN,
            ('Type "no backup"', "no backup"), schema="setup",
        )  # fmt: skip
        assert data["serial"] == str(one.serial)
        assert two.stats()["by_ins"]["FE"] == 1


def answer_of_setup(folder: Path, *words: str, code: int) -> str:
    """The error of a set-up that ends before it asks."""
    return str(asked(None, folder, list(words), schema="error", code=code)["error"])


def test_two_cards_make_one_secret_in_two_readers(virtual_readers: pcsc.VirtualReaders, tmp_path: Path) -> None:
    with (
        virtual_readers.card("--serial", str(1 << 61)) as one,
        virtual_readers.card("--serial", str(1 << 62), slot=1) as two,
    ):
        words = ["setup", "--seed", "dual", "--card", str(one.serial), "--second", SECOND]
        data = asked(None, tmp_path, words, *BEGUN, *BEGUN, schema="setup")
        assert str(one.serial) in data["backup"] and str(two.serial) in data["backup"]
        compared = answer(
            None, "clone", "check", "--card", str(two.serial), "--second", FIRST, schema="clone check", pin=NEW_PIN
        )
        assert compared["same"] and compared["cards"][0]["fingerprint"] == data["fingerprint"]
