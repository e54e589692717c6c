"""`combine`."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.codec import MAGIC, encode_map
from hwilib_cryptnox.psbt.sighash import SignatureHasher
from tests.ctl.program import answer, ended, run, shown, terminal
from tests.psbt.factory import ME, OTHER, draft, spend
from tests.psbt.musig import shared as musig
from tests.psbt.signing import sign
from tests.psbt.test_combine import good_on_core, shared
from tests.support.emulator import SEED, EmulatorProcess


def parts(folder: Path, version: int = 0) -> list[Path]:
    """Two signers' files of one transaction."""
    made = []
    for name, wallet in (("mine", ME), ("theirs", OTHER)):
        path = folder / f"{name}.psbt"
        path.write_bytes(sign(shared(version=version).encode(), wallet).raw)
        made.append(path)
    return made


@pytest.mark.parametrize("version", [0, 2])
def test_two_signers(tmp_path: Path, version: int) -> None:
    mine, theirs = parts(tmp_path, version)
    assert not answer(None, "verify", str(mine))["complete"]
    data = answer(None, "combine", str(mine), str(theirs))
    assert (data["complete"], data["missing"], data["notes"]) == (True, [], [])
    result = Psbt.parse((tmp_path / "mine-combined.psbt").read_bytes())
    assert data["output"] == str(tmp_path / "mine-combined.psbt") and data["psbt"] == result.to_base64()
    good_on_core(result, shared())
    assert data["txid"] and data["txid"] == answer(None, "verify", data["output"])["txid"]
    # Never over an existing file without being told.
    answer(None, "combine", str(mine), str(theirs), code=2)
    assert run(None, "combine", str(mine), str(theirs), "--force").returncode == 0


def test_what_the_card_signed_is_combined(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "pay.psbt"
    path.write_bytes(shared().encode())
    answer(card, "sign", "--yes", str(path))
    _, theirs = parts(tmp_path)
    data = answer(None, "combine", str(tmp_path / "pay-signed.psbt"), str(theirs), "--output", str(tmp_path / "all"))
    assert data["complete"]
    good_on_core(Psbt.parse((tmp_path / "all").read_bytes()), shared())


@pytest.mark.parametrize("kind", ["internal", "derived-leaf"])
def test_partial_signatures_of_musig2(kind: str, tmp_path: Path) -> None:
    """The card's file and the others' make a whole signature, which finalize takes as well as their partial ones."""
    key = musig(kind, secrets=(7_000_001, 7_000_002))
    given = draft(key.item(100_000, 0, *key.first_round()))
    path, files = tmp_path / "pay.psbt", []
    path.write_bytes(given.encode())
    with EmulatorProcess("--seed", SEED, "--reading", "musig2") as card:
        answer(card, "sign", "--yes", str(path))
    signed = Psbt.parse((tmp_path / "pay-signed.psbt").read_bytes())
    digest = SignatureHasher(signed.tx, [(100_000, key.script)]).taproot(0, 0, leaf_hash=key.leaf)
    for number, pair in enumerate(key.second_round(signed, 0, digest)):
        files.append(tmp_path / f"{number}.psbt")
        files[-1].write_bytes(signed.with_added({0: [pair]}).raw)
    some = answer(None, "combine", str(tmp_path / "pay-signed.psbt"), str(files[0]))
    assert not some["complete"] and "2 of 3 partial signatures" in some["missing"][0]["reason"]
    data = answer(None, "combine", *map(str, files), "--output", str(tmp_path / "all.psbt"))
    assert (data["complete"], data["notes"]) == (True, [])
    whole = Psbt.parse(data["psbt"])
    assert (0x13 if key.leaf is None else 0x14) in {name[0] for name in whole.inputs[0].pairs}
    good_on_core(whole, given)
    final = answer(None, "finalize", str(tmp_path / "all.psbt"))
    good_on_core(Psbt.parse(final["psbt"]), given)
    assert final["txid"] == data["txid"]
    # A partial signature that is not valid: its file is named.
    (mine,) = [name for name in signed.inputs[0].pairs if name[0] == 0x1C]
    maps = [signed.globals, {**signed.inputs[0].pairs, mine: bytes(32)}, *[one.pairs for one in signed.outputs]]
    path.write_bytes(MAGIC + b"".join(map(encode_map, maps)))
    error = answer(None, "combine", str(files[0]), str(path), "--force", code=5)
    assert "pay.psbt" in error["error"] or "differs" in error["error"]


@pytest.mark.parametrize("form", ["binary", "base64", "hex"])
def test_forms_and_pipes(tmp_path: Path, form: str) -> None:
    mine, theirs = parts(tmp_path)
    raw = mine.read_bytes()
    given = {"binary": raw, "base64": base64.b64encode(raw) + b"\n", "hex": raw.hex().encode()}[form]
    done = run(None, "combine", "-", str(theirs), stdin=given)
    assert done.returncode == 0
    if form != "binary":
        result = Psbt.parse(done.stdout)
        assert result.form.value == form
        good_on_core(result, shared())
    assert run(None, "combine", str(theirs), "-", stdin=given).returncode == 0
    assert (tmp_path / "theirs-combined.psbt").exists()
    answer(None, "combine", "-", "-", stdin=given, code=2)


def test_hostile_files(tmp_path: Path) -> None:
    """The one that is refused is named, and nothing is written."""
    mine, theirs = parts(tmp_path)
    bad = {
        "nonsense": b"psbt\xff\x00nonsense",
        "another": draft(spend("p2wpkh")).encode(),
        "broken": bytearray(theirs.read_bytes()),
    }
    raw = bad["broken"]
    at = raw.index(b"\x30\x44") if b"\x30\x44" in raw else raw.index(b"\x30\x45")
    raw[at + 12] ^= 1
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(bytes(content))
        error = answer(None, "combine", str(mine), str(theirs), str(path), code=5)["error"]
        assert error.startswith(f"{path}: "), error
    path = tmp_path / "empty"
    path.write_bytes(b"")
    answer(None, "combine", str(mine), str(path), code=5)
    answer(None, "combine", str(mine), str(tmp_path / "absent"), code=2)
    answer(None, "combine", str(mine), code=2)
    answer(None, "combine", *[str(mine)] * 101, code=2)
    assert not list(tmp_path.glob("*combined*"))


def test_many_files(tmp_path: Path) -> None:
    mine, theirs = parts(tmp_path)
    assert answer(None, "combine", *[str(mine)] * 99, str(theirs))["complete"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_screen(tmp_path: Path, columns: int) -> None:
    """The id is on a line of its own, and whole."""
    mine, theirs = parts(tmp_path)
    with terminal(
        None, "combine", str(mine), str(theirs), columns=columns, rows=24, XDG_STATE_HOME=str(tmp_path)
    ) as child:
        assert ended(child) == 0
        lines = shown(child).replace("\r", "").split("\n")
    plain = [line.replace("\x1b[0m", "").replace("\x1b[32m", "") for line in lines]
    identity = answer(None, "verify", str(tmp_path / "mine-combined.psbt"))["txid"]
    assert identity in plain and str(tmp_path / "mine-combined.psbt") in plain
    assert "Complete. Next: cryptnoxctl finalize" in plain
