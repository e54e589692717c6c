"""The stock `hwi` program with the driver switched on and off, in environments of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from embit import bip32, bip39

from hwilib_cryptnox.export import Network, ScriptType, descriptor
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from tests.export.conftest import make_keys
from tests.support.emulator import EmulatorProcess
from tests.support.optional import hwilib
from tests.support.version2 import as_version_2, maps
from tests.system.interop.paper import PaperWallet, message_key, verify
from tests.system.interop.programs import (
    FINGERPRINT,
    MNEMONIC,
    PIN,
    TIME_LIMIT,
    borrowed_environment,
    environment,
    run_hwi,
)

hwilib()
pytestmark = pytest.mark.xdist_group("stock hwi")

CODE = "import sys; from hwilib._cli import main; sys.argv[0] = 'hwi'; sys.exit(main())"
PINS_OF_SPECTER = ("hwi==3.1.0", "embit==0.6.1", "cryptography==46.0.6")


class Stock:
    """A `hwi` program and the card."""

    def __init__(self, python: Path, card: EmulatorProcess) -> None:
        self.python = python
        self.card = card
        self.path = card.path if card.port else f"cryptnox:{card.serial}"

    def code(self, text: str) -> str:
        """Run a line of Python in the program's environment."""
        run = subprocess.run([str(self.python), "-c", text], capture_output=True, text=True, timeout=TIME_LIMIT)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def autoload(self, what: str) -> str:
        return self.code(f"from hwilib_cryptnox import register; print(register.{what}())")

    def __call__(self, *arguments: str, stdin: str = f"{PIN}\n", pin: bool = True) -> Any:
        options = ["--emulators"] if self.card.port else []
        return run_hwi(
            [*(["--stdinpass"] if pin else []), *options, "--chain", "test", *arguments],
            program=(str(self.python), "-c", CODE),
            stdin=stdin if pin else "",
            environ={"CRYPTNOX_EMULATOR": self.card.path.removeprefix("tcp:")} if self.card.port else {},
        )

    def cards(self, *, pin: bool = True) -> list[dict[str, Any]]:
        return [entry for entry in self("enumerate", pin=pin) if entry["type"] == "cryptnox"]


@pytest.fixture(scope="module", params=["installed", pytest.param("3.1.0", marks=pytest.mark.heavy)])
def stock(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    folder = tmp_path_factory.mktemp("hwi")
    if request.param == "3.1.0":
        expected = "3.1.0"
        python = borrowed_environment(folder / "venv", environment("hwi310", *PINS_OF_SPECTER))
    else:
        expected = metadata.version("hwi")
        python = borrowed_environment(folder / "venv")
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        program = Stock(python, card)
        assert program.code("import hwilib; print(hwilib.__version__)") == expected
        yield program


@pytest.fixture
def enabled(stock: Stock) -> Iterator[Stock]:
    stock.autoload("enable")
    yield stock
    stock.autoload("disable")


def test_on_and_off(stock: Stock) -> None:
    """Off at first, on after `enable` (twice does no harm), off again and without a trace after `disable`."""
    before = sorted(path.name for path in stock.python.parents[1].rglob("site-packages/*"))
    path = ["--device-type", "cryptnox", "--device-path", stock.path]
    assert stock.cards() == []
    assert stock(*path, "getmasterxpub")["code"] == -4
    for _ in range(2):
        stock.autoload("enable")
    assert [entry["fingerprint"] for entry in stock.cards()] == [FINGERPRINT]
    for _ in range(2):
        stock.autoload("disable")
    assert stock.cards() == []
    assert sorted(path.name for path in stock.python.parents[1].rglob("site-packages/*")) == before


def test_a_file_that_was_written_before_goes_on(stock: Stock) -> None:
    """Its line as it has always been: updating the project neither breaks the program nor makes `hwi status` wrong."""
    file = Path(stock.autoload("autoload_file"))
    file.write_text(
        "import sys; sys.meta_path.insert(0, type('CryptnoxAutoload', (), {'find_spec': staticmethod("
        "lambda name, path=None, target=None: None if name != 'hwilib.devices' "
        "or __import__('importlib.util').util.find_spec('hwilib_cryptnox') is None else "
        "__import__('hwilib_cryptnox.register', fromlist=['autoload']).autoload(name, path))})())\n"
    )
    assert [entry["fingerprint"] for entry in stock.cards()] == [FINGERPRINT]
    assert stock.autoload("status") == "True"
    stock.autoload("disable")
    assert not file.exists() and stock.cards() == []


def test_other_programs_load_nothing(enabled: Stock) -> None:
    names = "[name for name in sys.modules if name.startswith(('hwilib', 'cryptnox_core', 'embit', 'coincurve'))]"
    assert enabled.code(f"import sys; print({names})") == "[]"


def test_enumerate(enabled: Stock) -> None:
    (entry,) = enabled.cards(pin=False)
    assert entry["code"] == -12 and entry["needs_passphrase_sent"] is True
    (entry,) = enabled.cards()
    assert entry == {
        "type": "cryptnox",
        "model": "cryptnox_basic_simulator",
        "label": None,
        "path": enabled.path,
        "fingerprint": FINGERPRINT,
        "needs_pin_sent": False,
        "needs_passphrase_sent": False,
    }


@pytest.mark.parametrize("chosen", ["fingerprint", "type", "path"])
def test_the_device_is_found(enabled: Stock, chosen: str) -> None:
    options = {
        "fingerprint": ["--fingerprint", FINGERPRINT],
        "type": ["--device-type", "cryptnox"],
        "path": ["--device-type", "cryptnox", "--device-path", enabled.path],
    }
    key = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC)).derive("m/84h/1h/2h").to_public()
    assert enabled(*options[chosen], "getxpub", "m/84h/1h/2h") == {
        "xpub": key.to_base58(version=bytes.fromhex("043587cf"))
    }


def test_getdescriptors(enabled: Stock) -> None:
    answer = enabled("--fingerprint", FINGERPRINT, "getdescriptors")
    keys = make_keys(Network.TEST)
    for name, branch in (("receive", "0"), ("internal", "1")):
        ours = [descriptor(keys, script, branch=branch).partition("#")[0] for script in list(ScriptType)[:3]]
        assert sorted(text.partition("#")[0].replace("'", "h") for text in answer[name]) == sorted(ours)


def test_signtx(enabled: Stock) -> None:
    wallet = PaperWallet(descriptor(make_keys(Network.TEST), ScriptType.P2WPKH))
    wallet.receive(50_000)
    wallet.receive(60_000)
    psbt = wallet.pay(bytes.fromhex("0014" + "51" * 20), 90_000)
    answer = enabled("--fingerprint", FINGERPRINT, "signtx", psbt)
    assert answer["signed"] is True
    wallet.finish(answer["psbt"])


def test_signtx_of_version_2(enabled: Stock) -> None:
    """hwilib 3.1 and 3.2.0 change what such a PSBT says while reading it; with the driver they do not."""
    wallet = PaperWallet(descriptor(make_keys(Network.TEST), ScriptType.P2WPKH))
    for amount in (50_000, 60_000):
        wallet.receive(amount)
    psbt = as_version_2(wallet.pay(bytes.fromhex("0014" + "51" * 20), 90_000, lock_time=777))
    answer = enabled("--fingerprint", FINGERPRINT, "signtx", psbt)
    assert answer["signed"] is True
    for before, after in zip(maps(psbt), maps(answer["psbt"]), strict=True):
        assert before.items() <= after.items()
    again = enabled("--fingerprint", FINGERPRINT, "signtx", answer["psbt"])
    assert again == {"psbt": answer["psbt"], "signed": False}
    transaction = extract(Psbt.parse(answer["psbt"]))
    verify(transaction, wallet.known)
    assert transaction[-4:] == (777).to_bytes(4, "little")


def test_signmessage(enabled: Stock) -> None:
    path = "m/84h/1h/0h/0/3"
    answer = enabled("--device-type", "cryptnox", "signmessage", "Hello", path)
    key = bip32.HDKey.from_seed(bip39.mnemonic_to_seed(MNEMONIC)).derive(path).to_public().key.sec()
    assert message_key(answer["signature"], "Hello") == key


def test_wrong_pin_costs_one_try(enabled: Stock) -> None:
    """`find_device` asks every driver and then opens the device again: still one try."""
    before = enabled.card.stats()["pin_tries"]
    answer = enabled("--fingerprint", FINGERPRINT, "getmasterxpub", stdin="111111\n")
    assert answer["code"] == -3
    assert enabled.card.stats()["pin_tries"] == before + 1
    # A PIN given by hand for an operation clears the note of the refusal.
    path = ["--device-type", "cryptnox", "--device-path", enabled.path]
    assert "xpub" in enabled(*path, "getmasterxpub")
    assert [entry["fingerprint"] for entry in enabled.cards()] == [FINGERPRINT]
