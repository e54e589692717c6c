"""`info`, and choosing a card."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path

from cryptnox_core.card import Card
from cryptnox_core.transport.tcp import RemoteTransport
from tests.ctl.program import PIN, PUK, answer, run
from tests.support.emulator import EmulatorProcess


def test_list_and_info(card: EmulatorProcess) -> None:
    entry = answer(card, "list")["readers"][0]
    assert (entry["serial"], entry["state"], entry["type"]) == (str(card.serial), "ready", "Basic")
    info = answer(card, "info")
    assert (info["initialized"], info["seeded"], info["xpub_export"], info["pin_tries_left"]) == (True, True, True, 6)
    stats = card.stats()
    assert (stats["pin_tries"], stats["signatures"]) == (0, 0)
    lines = run(card, "list").stdout.splitlines()
    assert lines[1].split("\t")[1] == str(card.serial)
    assert "\x1b" not in run(card, "info").stdout


def test_info_of_a_card_from_the_factory(fresh: EmulatorProcess) -> None:
    info = answer(fresh, "info")
    assert (info["initialized"], info["key_source"], info["pin_tries_left"]) == (False, None, None)
    assert answer(fresh, "pin", "tries", code=1)["hint"].endswith("cryptnoxctl setup")


def test_info_of_an_nft_card() -> None:
    with EmulatorProcess("--type", "N", "--pin", PIN) as nft:
        assert answer(nft, "info")["type"] == "NFT"
        assert "NFT" in answer(nft, "list")["readers"][0]["type"]


def test_nobody_there() -> None:
    assert answer(None, "info", "--reader", "tcp:127.0.0.1:1", code=3)["exit_code"] == 3
    assert answer(None, "info", code=3)["hint"]
    assert answer(None, "list")["readers"] == []
    assert "cryptnoxctl doctor" in run(None, "list").stdout


def test_busy_card(card: EmulatorProcess) -> None:
    import socket

    with socket.create_connection((card.host, card.port)):
        answer(card, "info", code=3, CRYPTNOX_WAIT="0.2")


def test_an_emulated_card_is_never_called_genuine(card: EmulatorProcess) -> None:
    """Anybody can sign for one: not on the screen, not in JSON, and not with `require_genuine`."""
    assert answer(card, "info")["genuine"] == "emulated"
    (found,) = answer(card, "list")["readers"]
    assert found["genuine"] == "emulated"
    for command in ("info", "list", "doctor"):
        assert "genuine" not in re.sub("Genuine|require_genuine", "", run(card, command).stdout), command
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("require_genuine = true\n")
    before = card.stats()["by_ins"]["20"]
    assert answer(card, "list")["readers"][0]["genuine"] == "emulated"
    text = "An emulated card is not genuine, but the configuration requires a genuine one"
    for words in (["xpub", "m/84h/0h/0h", "--stdinpass"], ["pin", "tries"], ["puk", "change"]):
        assert text in answer(card, *words, stdin=f"{PIN}\n", code=3)["error"]
    assert answer(card, "info")["problem"] == text
    assert card.stats()["by_ins"]["20"] == before


def test_choosing_a_card(card: EmulatorProcess) -> None:
    assert answer(None, "info", "--card", card.path)["serial"] == str(card.serial)
    assert answer(None, "--reader", card.path, "info", schema="info")["serial"] == str(card.serial)
    assert answer(card, "info", "--card", str(card.serial))["serial"] == str(card.serial)
    assert answer(card, "info", "--card", f"cryptnox:{card.serial}")["serial"] == str(card.serial)
    answer(card, "info", "--card", "12345", code=3)
    answer(card, "info", "--card", "no-number", code=2)


def test_what_a_cards_name_may_hold(fresh: EmulatorProcess) -> None:
    """Neither a control nor a character that turns the direction of writing reaches a terminal; in JSON it is escaped,
    and what is read from there is the name."""
    name = "\x1b[2J\u202e\u2066é\u200b\x7f"
    with Card(RemoteTransport.connect(fresh.host, fresh.port)) as blank:
        blank.init(name, "a\u2028b\U000e0001@example.org", pin=PIN, puk=PUK)
    done = run(fresh, "info", "--json")
    assert json.loads(done.stdout)["name"] == name
    assert json.loads(done.stdout)["email"] == "a\u2028b\U000e0001@example.org"
    for text in (done.stdout, run(fresh, "info").stdout):
        assert "é" in text
        odd = {char for char in text if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"} - {"\n", "\t"}
        assert odd <= ({"\u2028"} if text != done.stdout else set())
