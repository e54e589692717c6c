"""Both programs with a card that says more than is documented behind every answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.emulator.server import Engine, TcpServer
from hwilib_cryptnox.storage.state import State
from tests.core.emulated import PIN, PUK, SERIAL, seeded
from tests.core.generous import GenerousCard
from tests.ctl import program as ctl
from tests.hwi.conftest import Program

PAYMENT = Path(__file__).resolve().parents[2] / "examples" / "payment.psbt"


@dataclass
class Served:
    """As an `EmulatorProcess` to the helpers."""

    card: GenerousCard
    host: str
    port: int

    @property
    def path(self) -> str:
        return f"tcp:{self.host}:{self.port}"


@contextmanager
def serving(card: GenerousCard) -> Iterator[Served]:
    server = TcpServer(Engine(card), "127.0.0.1", 0)
    threading.Thread(target=server.serve, daemon=True).start()
    yield Served(card, *server.address)
    server.close()


@pytest.fixture(params=[1, 16])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(GenerousCard(seeded(), extra=b"\x80" * request.param)) as found:
        yield found


def test_hwi(hwi: Program, served: Served) -> None:
    (listed,) = hwi("--emulators", "--password", PIN, "enumerate", env={"CRYPTNOX_EMULATOR": served.path[4:]})
    assert (listed["path"], listed["fingerprint"]) == (served.path, "73c5da0a") and "error" not in listed

    def run(*words: str) -> dict[str, object]:
        answer: dict[str, object] = hwi("-t", "cryptnox", "-d", served.path, "-p", PIN, *words)
        assert "error" not in answer
        return answer

    assert str(run("getxpub", "m/84h/0h/0h")["xpub"]).startswith("xpub")
    assert len(run("getdescriptors")["receive"]) >= 3  # type: ignore[arg-type]
    signed = run("signtx", PAYMENT.read_text().strip())
    assert signed["signed"] is True
    assert "signature" in run("signmessage", "text", "m/84h/0h/0h/0/0")


def test_cryptnoxctl(served: Served) -> None:
    """Everything that changes the card is told as done, and is."""
    own = ctl.answer(served, "pairing", "change", "--stdinpuk", stdin=f"{PUK}\n", schema="pairing change")
    assert own["own_pairing_key"] is True
    assert State().pairing_key(SERIAL) == served.card.memory.pairing_key
    assert ctl.answer(served, "info")["own_pairing_key"] is True
    for content in (
        "hello",
        "hello",
        "another text, which is longer than the one before",
    ):  # read back with more behind it
        written = ctl.answer(served, "data", "write", "-", "--yes", stdin=content, pin=PIN, schema="data write")
        assert written["bytes"] == len(content) and served.card.memory.user_data == content.encode()
    ctl.answer(served, "data", "write", "--custom", "-", "--yes", stdin="x" * 16, pin=PIN, schema="data write")
    ctl.answer(served, "xpub", "off", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub off")
    assert served.card.memory.xpub_export is False
    ctl.answer(served, "pairing", "change", "--common", "--stdinpuk", stdin=f"{PUK}\n", schema="pairing change")
    assert State().pairing_key(SERIAL) is None
    done = ctl.run(served, "reset", "--serial", str(SERIAL), "--stdinpuk", stdin=f"{PUK}\n")
    assert done.returncode == 0 and not served.card.memory.initialized


@pytest.mark.parametrize("length", [6, 8, 23])
def test_custom_bytes_that_are_not_shown(length: int) -> None:
    """A card that answers SELECT with less cannot be asked for them: it is told that what it said was not proved."""
    with serving(GenerousCard(seeded(), select_length=length)) as served:
        words = ("data", "write", "--custom", "-", "--yes")
        ctl.answer(served, *words, stdin="x" * 16, pin=PIN, schema="data write")
        done = ctl.run(served, *words, stdin="y" * 16, pin=PIN)
        assert done.returncode == 0 and "could not be read back" in " ".join(done.stderr.split())
        assert served.card.memory.custom == b"y" * 16


def test_user_keys_that_are_not_shown(tmp_path: Path) -> None:
    """Where SELECT ends before them the card is asked, and refuses by itself what it cannot do without."""
    secret = ec.generate_private_key(ec.SECP256R1())
    file, private = tmp_path / "key.pem", tmp_path / "private.pem"
    file.write_bytes(secret.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    off = ("pin-auth", "off", "--yes", "--private-key", str(private), "--stdinpuk")
    with serving(GenerousCard(seeded(), select_length=6)) as served:
        assert "the card does not say" in ctl.run(served, "info").stdout
        assert ctl.answer(served, "user-key", "list", pin=PIN, schema="user-key list")["user_keys"] == []
        refused = ctl.run(served, *off, stdin=f"{PUK}\n", pin=PIN)
        assert refused.returncode == 1 and "The card does not accept the key" in refused.stderr
        assert served.card.memory.pin_auth
        words = ("user-key", "add", "ec", str(file), "--stdinpuk")
        assert ctl.run(served, *words, stdin=f"{PUK}\n", pin=PIN).returncode == 0
        listed = ctl.answer(served, "user-key", "list", pin=PIN, schema="user-key list")["user_keys"]
        assert [entry["slot"] for entry in listed] == ["ec"]
        assert ctl.run(served, *off, stdin=f"{PUK}\n", pin=PIN).returncode == 0 and not served.card.memory.pin_auth
