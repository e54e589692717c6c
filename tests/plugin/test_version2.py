"""PSBTs of version 2 through stock hwilib: nothing is lost, nothing else changes; what was changed is not signed."""

from __future__ import annotations

import base64
import copy
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.optional import NO_HWILIB

pytest.importorskip("hwilib", reason=NO_HWILIB)

from hwilib import commands, errors
from hwilib.psbt import PSBT

import hwilib_cryptnox
from hwilib_cryptnox.plugin import version2
from hwilib_cryptnox.plugin.client import CryptnoxClient
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from tests.psbt.factory import OTHER, In, Out, compact, draft, le, p2wpkh, spend, string
from tests.psbt.published import load
from tests.support.emulator import PIN, EmulatorProcess
from tests.support.kernel import failing_inputs
from tests.support.version2 import maps

VECTORS = load("bip174-370-371-psbt.json")
LOCKS = [text for text, _ in VECTORS["locktimes"]]
VALID = [*VECTORS["valid"], *LOCKS]
STOCK = {name: inspect.unwrap(getattr(PSBT, name)) for name in ("cache_unsigned_tx_pieces", "get_unsigned_tx")}
"""hwilib's own methods, whatever was mended before these tests."""


def version_of(text: str) -> int:
    return Psbt.parse(text).version


VERSION_0 = [text for text in VALID if version_of(text) == 0]
VERSION_2 = [text for text in VALID if version_of(text) == 2]


def read(text: str) -> PSBT:
    psbt = PSBT()
    psbt.deserialize(text)
    return psbt


def as_320(self: Any) -> None:
    """How hwilib 3.2.0 and earlier have it."""
    if self.tx is not None:
        self.setup_from_tx(self.tx)


def as_main(self: Any) -> None:
    """How its later versions have it."""
    if self.version == 0:
        self.setup_from_tx(self.tx)


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """hwilib as it is installed."""
    for name, method in STOCK.items():
        monkeypatch.setattr(PSBT, name, method)


@pytest.fixture
def faulty(stock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hwilib with the fault, whichever is installed."""
    monkeypatch.setattr(PSBT, "cache_unsigned_tx_pieces", as_320)


@pytest.fixture
def mended(faulty: None) -> None:
    version2.mend()


@pytest.mark.parametrize("text", VERSION_2, ids=range(len(VERSION_2)))
def test_every_published_psbt_of_version_2_comes_back(mended: None, text: str) -> None:
    assert maps(read(text).serialize()) == maps(text)


def test_without_the_mending_they_do_not(faulty: None) -> None:
    assert [text for text in VERSION_2 if maps(read(text).serialize()) == maps(text)] == []


@pytest.mark.parametrize("text", VERSION_2, ids=range(len(VERSION_2)))
def test_other_drivers_get_the_transaction_that_is_meant(mended: None, text: str) -> None:
    """Jade, BitBox01 and old Ledgers ask `get_unsigned_tx`, Coldcard `convert_to_v0`, the others the fields."""
    psbt, wanted = read(text), Psbt.parse(text)
    if any(one.sequence is None for one in psbt.inputs):
        with pytest.raises(AssertionError):  # hwilib's own: it wants them said
            psbt.get_unsigned_tx()
        for one in psbt.inputs:
            one.sequence = 0xFFFFFFFF if one.sequence is None else one.sequence
    assert psbt.get_unsigned_tx().serialize_without_witness() == wanted.unsigned_tx()
    assert psbt.tx_version.to_bytes(4, "little") == wanted.unsigned_tx()[:4]
    assert psbt.compute_lock_time().to_bytes(4, "little") == wanted.unsigned_tx()[-4:]
    psbt.convert_to_v0()
    assert Psbt.parse(psbt.serialize()).unsigned_tx() == wanted.unsigned_tx()
    psbt.convert_to_v2()
    assert Psbt.parse(psbt.serialize()).unsigned_tx() == wanted.unsigned_tx()


def everything(text: str) -> list[object]:
    """What drivers can see of a PSBT of version 0, or why it cannot be read."""
    psbt = PSBT()
    try:
        psbt.deserialize(text)
    except Exception as error:  # noqa: BLE001 - the same with and without
        return [type(error), str(error)]
    seen: list[object] = [psbt.serialize(), psbt.get_unsigned_tx().serialize_with_witness(), psbt.tx_version]
    seen += [psbt.fallback_locktime, psbt.compute_lock_time(), psbt.get_unsigned_tx() is psbt.tx, sorted(vars(psbt))]
    seen += [(one.prev_txid, one.prev_out, one.sequence) for one in psbt.inputs]
    seen += [(one.amount, one.script) for one in psbt.outputs]
    psbt.convert_to_v2()
    seen.append(psbt.serialize())
    psbt.convert_to_v0()
    return [*seen, psbt.serialize()]


def test_version_0_is_untouched(stock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, also what stock hwilib cannot read."""
    kinds = ("p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "rawtr", "tapscript")
    texts = [*VERSION_0, *(text for text in VECTORS["invalid"] if b"\x01\xfb\x04\x02" not in base64.b64decode(text))]
    texts += [draft(*(spend(kind, n) for n, kind in enumerate(kinds)), lock_time=lock).base64() for lock in (0, 77)]
    before = [everything(text) for text in texts]
    monkeypatch.setattr(PSBT, "cache_unsigned_tx_pieces", as_320)
    version2.mend()
    assert [everything(text) for text in texts] == before
    assert sum(len(one) > 2 for one in before) > 5


@pytest.mark.parametrize("right", [False, True], ids=["whose transaction has no lock time", "that is right"])
def test_a_hwilib_that_keeps_them_is_not_touched(stock: None, right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_unsigned_tx(self: Any) -> Any:
        made = STOCK["get_unsigned_tx"](self)
        made.nLockTime = self.compute_lock_time()
        return made

    def half(self: Any) -> Any:
        made = STOCK["get_unsigned_tx"](self)
        if self.version != 0:
            made.nLockTime = 0
        return made

    transaction = get_unsigned_tx if right else half
    monkeypatch.setattr(PSBT, "cache_unsigned_tx_pieces", as_main)
    monkeypatch.setattr(PSBT, "get_unsigned_tx", transaction)
    version2.mend()
    assert PSBT.cache_unsigned_tx_pieces is as_main
    assert (PSBT.get_unsigned_tx is transaction) is right


def _cannot_read(self: Any, text: str) -> None:
    raise errors.PSBTSerializationError("version 2")


@pytest.mark.parametrize(
    "change",
    [
        {"deserialize": _cannot_read},
        {"setup_from_tx": lambda self, tx: None, "cache_unsigned_tx_pieces": None},
        {"compute_lock_time": lambda self: 4},
    ],
    ids=["that cannot read them", "without the method", "whose lock times are wrong"],
)
def test_what_mending_does_not_help_stays(
    faulty: None, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in change.items():
        if value is None:
            monkeypatch.delattr(PSBT, name)
        else:
            monkeypatch.setattr(PSBT, name, value)
    before = dict(vars(PSBT))
    version2.mend()
    after = dict(vars(PSBT))
    if "compute_lock_time" in change:  # reading is mended, the transaction is not
        assert after.pop("cache_unsigned_tx_pieces") is not before.pop("cache_unsigned_tx_pieces")
    assert after == before
    if "compute_lock_time" not in change:
        assert version2.is_kept(SimpleNamespace(version=2)) is False


def test_mending_twice_wraps_once(mended: None) -> None:
    methods = [getattr(PSBT, name) for name in STOCK]
    for _ in range(3):
        version2.mend()
        hwilib_cryptnox.register()
    assert [getattr(PSBT, name) for name in STOCK] == methods
    assert PSBT.cache_unsigned_tx_pieces.__wrapped__ is as_320


def test_threads(faulty: None) -> None:
    """Some read while others mend: what is read before may be changed, and then is known to be; nothing after is."""
    given = draft(spend("p2wpkh"), version=2, lock_time=9).base64()
    wanted, found, problems = maps(given), [], []
    ready = threading.Barrier(8)

    def reader() -> None:
        ready.wait()
        for _ in range(60):
            found.append(read(given))

    def mender() -> None:
        ready.wait()
        try:
            for _ in range(20):
                version2.mend()
            assert maps(read(given).serialize()) == wanted
        except BaseException as error:  # noqa: BLE001 - told below
            problems.append(error)

    threads = [threading.Thread(target=work) for work in (reader, mender) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [psbt for psbt in found if version2.is_kept(psbt) != (maps(psbt.serialize()) == wanted)] == []


@pytest.mark.parametrize("through", [lambda psbt: psbt, copy.deepcopy, lambda psbt: pickle.loads(pickle.dumps(psbt))])
def test_what_was_read_before_is_not_signed(
    faulty: None, signer: EmulatorProcess, client: CryptnoxClient, through: Callable[[PSBT], PSBT]
) -> None:
    """It says another transaction version and lock time than its sender wrote."""
    given = draft(spend("p2wpkh"), version=2, lock_time=9).base64()
    early = read(given)
    before = signer.stats()["signatures"]
    for _ in ("not mended", "mended since"):
        with pytest.raises(errors.BadArgumentError, match="changed this PSBT of version 2"):
            client.sign_tx(through(early))
        version2.mend()
    assert signer.stats()["signatures"] == before
    late = through(read(given))
    assert client.sign_tx(late) is not late
    assert signer.stats()["signatures"] == before + 1


@pytest.mark.parametrize("tx_version", [1, 2, 3])
def test_transaction_version_and_lock_time_that_look_as_if_changed(
    mended: None, client: CryptnoxClient, tx_version: int
) -> None:
    """Version 1 and lock time 0, said by the sender, are what is signed."""
    given = draft(spend("p2wpkh"), version=2, tx_version=tx_version, lock_time=0)
    judged(given.base64(), commands.signtx(client, given.base64())["psbt"], given.ins)


@pytest.fixture
def client(signer: EmulatorProcess) -> Iterator[CryptnoxClient]:
    with closing(CryptnoxClient(signer.path, PIN)) as client:
        yield client


def judged(given: str, signed: str, ins: list[In]) -> None:
    """Every field is kept, and the transaction is the one that was asked for, and valid."""
    for before, after in zip(maps(given), maps(signed), strict=True):
        assert before.items() <= after.items()
    transaction = extract(Psbt.parse(signed))
    assert failing_inputs(transaction, [(one.amount, one.script) for one in ins]) == []
    assert transaction[-4:] == Psbt.parse(given).unsigned_tx()[-4:]
    assert transaction[:4] == Psbt.parse(given).unsigned_tx()[:4]


@pytest.mark.parametrize("lock_time", [0, 9, 800_000, 1_700_000_000])
@pytest.mark.parametrize("required", [(), ((b"\x12", le(812_345)),), ((b"\x11", le(1_600_000_000)),)])
def test_signed_and_kept(
    mended: None, client: CryptnoxClient, lock_time: int, required: tuple[tuple[bytes, bytes], ...]
) -> None:
    """Through hwilib's own command, with fields that nobody knows, and lock times that inputs require."""
    ins = [spend(kind, n) for n, kind in enumerate(("p2pkh", "p2sh-p2wpkh", "p2wpkh", "p2wsh", "rawtr"))]
    for one in ins:
        one.fields.append((b"\xfc\x05other\x00key", b"value"))
    ins[1].fields.extend(required)
    outs = [Out(p2wpkh(OTHER.key("m/0")), 490_000, [(b"\xfc\x05other\x01", string(b"x"))])]
    extra = [(b"\xfc\x05other\x02" + compact(3), b"y"), (b"\x06", b"\x00")]
    given = draft(*ins, outs=outs, version=2, lock_time=lock_time, extra=extra)
    answer = commands.signtx(client, given.base64())
    assert answer["signed"] is True
    judged(given.base64(), answer["psbt"], given.ins)
    again = commands.signtx(client, answer["psbt"])
    assert again == {"psbt": answer["psbt"], "signed": False}


@pytest.mark.parametrize(
    ("begin", "kept"),
    [
        ("import hwilib_cryptnox; hwilib_cryptnox.register()", True),
        ("import hwilib_cryptnox.register", False),
        ("import hwilib_cryptnox; hwilib_cryptnox.CryptnoxClient, hwilib_cryptnox.enumerate()", False),
    ],
    ids=["register()", "nothing called", "the driver's class alone"],
)
def test_only_who_registers_changes_hwilib(begin: str, kept: bool) -> None:
    given = draft(spend("p2wpkh"), version=2, lock_time=9).base64()
    program = (
        f"{begin}\nfrom hwilib.psbt import PSBT\npsbt = PSBT(); psbt.deserialize({given!r})\n"
        "print(psbt.tx_version, psbt.fallback_locktime, hasattr(PSBT.cache_unsigned_tx_pieces, '__wrapped__'))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    says = run.stdout.split()
    if says == ["2", "9", "False"]:
        pytest.skip("this hwilib keeps them by itself")
    assert says == (["2", "9", "True"] if kept else ["1", "0", "False"]), run.stderr
