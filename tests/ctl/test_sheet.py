"""The page that belongs with the backup: what is on it is the wallet of the words, and nothing on it is a secret."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from cryptnox_core.wire import KeySource
from hwilib_cryptnox.ctl.commands.sheet import keep_what
from tests.ctl.program import PIN, PUK, answer, run
from tests.support.derived import TEMPLATES, Derived
from tests.support.emulator import MNEMONIC, EmulatorProcess

WALLET = Derived.of_words(MNEMONIC)


@pytest.fixture
def words_card():
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as process:
        yield process


@pytest.mark.parametrize("kind", list(TEMPLATES))
def test_what_is_on_paper_is_what_others_derive_from_the_words(words_card: EmulatorProcess, kind: str) -> None:
    data = answer(words_card, "sheet", "--type", kind, "--addresses", "7")
    assert data["fingerprint"] == WALLET.fingerprint == "73c5da0a"
    assert [entry["address"] for entry in data["addresses"]] == WALLET.addresses(kind, 7)
    for account in data["accounts"]:
        assert account["key"] == WALLET.account_key(account["path"])
    assert {account["path"] for account in data["accounts"]} == {
        "m/84h/0h/0h",
        "m/49h/0h/0h",
        "m/44h/0h/0h",
        "m/48h/0h/0h/2h",
    }


def test_other_chains_and_accounts(words_card: EmulatorProcess) -> None:
    data = answer(words_card, "sheet", "--chain", "signet", "--account", "3", "--addresses", "1")
    assert data["addresses"][0]["path"] == "m/84h/1h/3h/0/0"
    assert data["addresses"][0]["address"].startswith("tb1q")
    assert all("]tpub" in account["key"] for account in data["accounts"])
    first = answer(words_card, "sheet", "--chain", "test", "--addresses", "2")
    derived = Derived.of_words(MNEMONIC, test=True)
    assert [entry["address"] for entry in first["addresses"]] == derived.addresses("p2wpkh", 2, "test")
    assert all(account["key"] == derived.account_key(account["path"]) for account in first["accounts"])


class Visible(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("src", "href"), (tag, name, value)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_text_and_page_say_the_same_and_no_secret(words_card: EmulatorProcess, tmp_path: Path) -> None:
    text = run(words_card, "sheet").stdout
    page = tmp_path / "sheet.html"
    done = run(words_card, "sheet", "--html", "--output", str(page))
    assert done.returncode == 0, done
    parser = Visible()
    parser.feed(page.read_text())
    shown = " ".join(" ".join(parser.text).split())
    assert not {"script", "img", "link", "iframe"} & set(parser.tags)
    data = answer(words_card, "sheet")
    wanted = [data["fingerprint"], data["serial"], "native segwit (p2wpkh, BIP84)", "PUK"]
    wanted += [entry["address"] for entry in data["addresses"]] + [account["key"] for account in data["accounts"]]
    for piece in wanted:
        assert piece in text and piece in shown, piece
    for secret in (PIN, PUK, *MNEMONIC.split(), "xprv"):
        assert not re.search(rf"\b{secret}\b", text + shown), secret
    assert max(len(line) for line in text.splitlines() if "pub" not in line) <= 78


def test_a_file_that_is_there_stays(words_card: EmulatorProcess, tmp_path: Path) -> None:
    target = tmp_path / "sheet.txt"
    target.write_text("mine")
    assert answer(words_card, "sheet", "--output", str(target), code=2)["exit_code"] == 2
    assert target.read_text() == "mine"
    assert answer(words_card, "sheet", "--output", str(target), "--force")["file"] == str(target)
    assert "73c5da0a" in target.read_text()


def test_an_own_pairing_key_is_to_be_kept_too(words_card: EmulatorProcess) -> None:
    assert "Pairing key" not in run(words_card, "sheet").stdout
    assert run(words_card, "pairing", "change", "--stdinpuk", stdin=PUK).returncode == 0
    assert "pairing export" in run(words_card, "sheet").stdout


@pytest.mark.parametrize(
    ("source", "backup"),
    [
        (KeySource.LOADED, "recovery words"),
        (KeySource.ON_CARD, "There is no backup"),
        (KeySource.DUAL, "the other card"),
        (KeySource.SINGLE, "private key"),
        (0x7F, "recovery words"),
    ],
)
def test_what_to_keep_goes_by_where_the_seed_came_from(source: KeySource | int, backup: str) -> None:
    rows = dict(keep_what(source, own_pairing_key=False))
    assert backup in rows["Backup"] and {"PIN", "PUK"} <= set(rows)
    assert ("Passphrase" in rows) == (source == KeySource.LOADED)


def test_without_export_it_says_what_helps(bare: EmulatorProcess) -> None:
    refused = answer(bare, "sheet", code=4)
    assert "xpub on" in refused["error"]
