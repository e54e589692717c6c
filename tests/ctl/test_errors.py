"""`--json` of the commands that ask on the terminal, and of those that change more than a card: each against its
schema."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from hwilib_cryptnox.ctl.main import COMMANDS, cli
from tests.ctl.program import COMMAND, PIN, PUK, answer, dialogue, ended, environment, schemas, terminal
from tests.support import optional
from tests.support.emulator import MNEMONIC, EmulatorProcess

NEW_PIN, NEW_PUK = "135790", "own-puk-1234"
OPENING = (
    ("New PIN", NEW_PIN),
    ("Type it again", NEW_PIN),
    ("Choose it yourself?", "y"),
    ("New PUK", NEW_PUK),
    ("Type it again", NEW_PUK),
    ("Name: ", "Ada"),
    ("E-mail: ", ""),
    ("own pairing key?", "n"),
)
BEGUN = (*OPENING, ("Initialize the card now?", "y"))


def asked(
    card: EmulatorProcess | None,
    folder: Path,
    words: list[str],
    *steps: tuple[str, str],
    schema: str = "",
    code: int = 0,
) -> dict[str, Any]:
    """The JSON answer of a command that asks on the terminal while its stdout is a file."""
    out = folder / "stdout"
    with terminal(card, *words, "--json", stdout=out) as child:
        dialogue(child, *steps)
        assert ended(child) == code
    data: dict[str, Any] = json.loads(out.read_text())
    jsonschema.validate(data, schemas()[schema or " ".join(words[:2])])
    return data


def test_every_command_has_a_schema() -> None:
    names = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        leaves = [f"{name} {leaf}" for leaf in command.commands] if isinstance(command, click.Group) else [name]
        names += leaves
    assert sorted(set(names) - set(schemas())) == ["emulator"]


@pytest.mark.parametrize(
    ("choice", "steps"),
    [
        ("restore", [("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", "")]),
        ("card", [('Type "no backup"', "no backup")]),
    ],
)
def test_setup(fresh: EmulatorProcess, tmp_path: Path, choice: str, steps: list[tuple[str, str]]) -> None:
    data = asked(fresh, tmp_path, ["setup", "--seed", choice], *BEGUN, *steps, schema="setup")
    assert (data["serial"], data["xpub_export"], data["public_key"]) == (str(fresh.serial), True, None)


def test_setup_with_new_words(fresh: EmulatorProcess, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with terminal(fresh, "setup", "--seed", "new", "--words", "24", "--json", stdout=out) as child:
        dialogue(child, *BEGUN)
        child.expect_exact("Written down?")
        words = [word for _, word in sorted((int(n), w) for n, w in re.findall(r"(\d+)\. ([a-z]+)", child.before))]
        dialogue(child, ("", ""), *((f"Word {number} of 24", word) for number, word in enumerate(words, 1)))
        dialogue(child, ('or type "no check"', "no check"))
        assert ended(child) == 0
    data = json.loads(out.read_text())
    jsonschema.validate(data, schemas()["setup"])
    assert data.pop("backup") == "The 24 words on your paper are the backup."  # "paper" is a word that may be drawn
    assert not set(words) & {word for value in data.values() for word in str(value).split()}


def test_setup_of_two_cards(fresh: EmulatorProcess, tmp_path: Path) -> None:
    with EmulatorProcess() as second:
        words = ["setup", "--seed", "dual", "--second", second.path]
        data = asked(fresh, tmp_path, words, *BEGUN, *BEGUN, schema="setup")
    assert str(second.serial) in data["backup"]


def test_setup_of_an_nft_card(tmp_path: Path) -> None:
    with EmulatorProcess("--type", "N") as card:
        steps = (
            *OPENING,
            ("sign over NFC?", "y"),
            ("Initialize the card now?", "y"),
            ('Type "no backup"', "no backup"),
        )
        data = asked(card, tmp_path, ["setup"], *steps, schema="setup")
        assert (data["fingerprint"], data["xpub_export"]) == (None, False)
        assert data["public_key"]
        info = answer(card, "info")
        assert (info["type"], info["name"], info["key_source"]) == ("NFT", "Ada", "made on the card")
        findings = answer(card, "doctor", code=3, schema="doctor")["findings"]
        assert not [found for found in findings if "xpub" in found["remedy"]]
        assert answer(card, "address", code=1, pin=NEW_PIN)["error"] == "An NFT card holds one key, not a wallet"


def test_an_nft_card_makes_its_key_itself(tmp_path: Path) -> None:
    with EmulatorProcess("--type", "N") as card:
        data = asked(card, tmp_path, ["setup", "--seed", "new"], schema="error", code=2)
        assert "NFT" in data["error"]
        assert not answer(card, "info")["initialized"], "it is refused before anything is done"


def test_pin_and_puk(card: EmulatorProcess, tmp_path: Path) -> None:
    new = (("New PIN", NEW_PIN), ("Type it again", NEW_PIN))
    assert asked(card, tmp_path, ["pin", "change"], ("PIN of card", PIN), *new)["changed"]
    new = (("New PUK", NEW_PUK), ("Type it again", NEW_PUK))
    assert asked(card, tmp_path, ["puk", "change"], ("PUK", PUK), *new)["changed"]
    for _ in range(2):
        for _ in range(3):
            answer(card, "pin", "verify", "--stdinpass", stdin="999999\n", pin=None, code=4, CRYPTNOX_LAST_TRY="1")
    assert answer(card, "pin", "tries", schema="pin tries")["pin_tries_left"] == 0
    steps = (("PUK", NEW_PUK), ("New PIN", PIN), ("Type it again", PIN), ("Use it anyway?", "y"))
    assert asked(card, tmp_path, ["pin", "unblock"], *steps)["unblocked"]
    answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")


def test_backup_and_adopt(tmp_path: Path) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC) as card:
        steps = [("PIN of card", PIN), ("How many words", "12"), ("Word 1", MNEMONIC), ("Passphrase", "")]
        assert asked(card, tmp_path, ["backup", "check"], *steps)["same"]
        steps[-1:] = [("Passphrase", "other"), ("Type it again", "other")]
        assert not asked(card, tmp_path, ["backup", "check"], *steps, code=5)["same"]
        steps = [("PIN of card", PIN), ('type "no check"', "no check"), ("Turn it on now?", "y"), ("PUK: ", PUK)]
        data = asked(card, tmp_path, ["adopt"], *steps)
        assert (data["xpub_export"], data["backup_checked"], len(data["needed"])) == (True, False, 1)
        steps = [
            ("PIN of card", PIN),
            ("Press Enter", ""),
            ("How many words", "12"),
            ("Word 1", MNEMONIC),
            ("Passphrase", ""),
        ]
        data = asked(card, tmp_path, ["adopt"], *steps)
        assert (data["xpub_export"], data["backup_checked"], data["needed"]) == (True, True, [])


def test_no_is_an_answer_too(card: EmulatorProcess, tmp_path: Path) -> None:
    serial = str(card.serial)
    data = asked(
        card,
        tmp_path,
        ["reset"],
        (f'Type "{serial}" to continue: ', "no"),
        (f'Type "{serial}" to continue: ', ""),
        schema="error",
        code=1,
    )
    assert data["error"].startswith("Canceled")
    data = asked(card, tmp_path, ["reset"], (f'Type "{serial}"', serial), ("PUK", PUK))
    assert data["reset"] is True


def test_fido_user_key(card: EmulatorProcess, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    public = tmp_path / "key.pem"
    public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    puk = {"stdin": f"{PUK}\n"}
    words = ["user-key", "add", "fido", str(public), "--stdinpuk"]
    answer(card, *words, code=2, **puk)
    answer(card, *words, "--credential-id", "xy", code=2, **puk)
    answer(card, *words, "--credential-id", "00" * 65, code=2, **puk)
    assert card.stats()["by_ins"].get("D5", 0) == 0
    answer(card, *words, "--credential-id", "0102ff", "--text", "token", schema="user-key add", **puk)
    point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint).hex()
    assert answer(card, "user-key", "list", schema="user-key list")["user_keys"] == [
        {"slot": "fido", "text": "token", "public_key": point, "credential_id": "0102ff"}
    ]
    assert answer(card, "info")["user_keys"] == ["fido"]
    answer(card, "user-key", "test", "fido", str(public), code=2)
    answer(card, "user-key", "delete", "fido", "--stdinpuk", schema="user-key delete", **puk)


def test_relay_to_a_wallet_that_listens(card: EmulatorProcess) -> None:
    """As the vendor's tools have it: the vendor's SDK listens, the relay connects."""
    sdk = optional.sdk()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        child = subprocess.Popen(
            [*COMMAND, "relay", "--connect", where, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(card),
        )
        assert child.stdout is not None
        with child.stdout:
            data = json.loads(child.stdout.readline())
            jsonschema.validate(data, schemas()["relay"])
            assert data == {"listen": None, "reader": card.path}
            listener.settimeout(30)
            connection, _ = listener.accept()
            with connection:
                theirs = sdk.factory.get_card(sdk.Connection(0, remote=True, conn=[connection]))
                assert theirs.serial_number == card.serial
            assert child.wait(30) == 0
            assert child.stdout.read() == ""
    answer(card, "relay", "--connect", where, code=3)


def test_a_relay_without_a_card_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        answer(None, "relay", "--connect", where, "--reader", "tcp:127.0.0.1:1", code=3)


def test_relay_says_where_it_listens(card: EmulatorProcess) -> None:
    child = subprocess.Popen(
        [*COMMAND, "relay", "--listen", "127.0.0.1:0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(card),
    )
    try:
        assert child.stdout is not None
        data = json.loads(child.stdout.readline())
        jsonschema.validate(data, schemas()["relay"])
        assert answer(None, "info", "--reader", f"tcp:{data['listen']}")["serial"] == str(card.serial)
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
