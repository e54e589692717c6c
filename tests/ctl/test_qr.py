"""QR codes: what is drawn and written is what is meant, read by a decoder that is not ours (ZXing)."""

from __future__ import annotations

import itertools
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from hwilib_cryptnox.ctl.errors import CtlError
from hwilib_cryptnox.ctl.qr import MOST_BYTES, write_qr
from tests.ctl.program import COMMAND, answer, ended, environment, run, shown, terminal, uncolored
from tests.psbt.factory import OTHER
from tests.support.emulator import MNEMONIC, PIN, EmulatorProcess
from tests.support.optional import zxing

pytest.importorskip("segno", reason="segno is not installed")
ADDRESS = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
COLOR = re.compile(r"\x1b\[[0-9;]*m")


def read(rows: Sequence[bytes], scale: int = 4) -> str:
    """What a decoder reads in an image, of a byte a pixel: 0 is black."""
    pixels = [bytes(value for value in row for _ in range(scale)) for row in rows for _ in range(scale)]
    image = memoryview(b"".join(pixels)).cast("B", shape=[len(pixels), len(pixels[0])])
    found = zxing.read_barcode(image)
    assert found is not None, "nothing was read"
    return str(found.text)


def of_png(content: bytes) -> list[bytes]:
    """The pixels of a PNG with one bit of grey."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, size = 8, b"", (0, 0)
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack_from(">II", body)
            assert body[8:10] == b"\x01\x00"
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, width = zlib.decompress(data), (size[0] + 7) // 8
    rows = [bytearray(raw[number * (width + 1) : (number + 1) * (width + 1)]) for number in range(size[1])]
    for above, row in itertools.pairwise(rows):
        assert row[0] in (0, 2)
        if row[0] == 2:  # the difference to the row above
            row[1:] = bytes((one + other) & 0xFF for one, other in zip(above[1:], row[1:], strict=True))
    return [bytes(255 * (row[1 + place // 8] >> (7 - place % 8) & 1) for place in range(size[0])) for row in rows]


def of_svg(text: str) -> list[bytes]:
    """The modules of segno's drawing: strokes of one row each."""
    size = int(re.search(r'width="(\d+)"', text)[1]) // 8  # type: ignore[index]
    rows = [bytearray(b"\xff" * size) for _ in range(size)]
    x, y = 0.0, 0.0
    dark = re.search(r'class="qrline"[^>]* d="([^"]*)"', text) or re.search(r'stroke="#000" d="([^"]*)"', text)
    assert dark
    for command, numbers in re.findall(r"([Mmh])([-\d. ]+)", dark[1]):
        values = [float(value) for value in re.findall(r"-?\d*\.?\d+", numbers)]
        if command == "h":
            rows[int(y)][int(x) : int(x + values[0])] = bytes(int(values[0]))
            x += values[0]
        else:
            x, y = (values[0], values[1]) if command == "M" else (x + values[0], y + values[1])
    return [bytes(row) for row in rows]


def of_screen(text: str, *, colored: bool = True) -> list[list[bytes]]:
    """The codes on a terminal: half blocks, ink on light where it is colored, else light on dark."""
    found: list[list[bytes]] = []
    before = False
    for line in text.replace("\r", "").split("\n"):
        bare = COLOR.sub("", line)
        block = len(bare) > 20 and set(bare) <= set(" ▄▀█")
        if block:
            if colored:
                assert "\x1b[" in line
            if not before:
                found.append([])
            inks = [(" ▄▀█".index(char) >> 1, " ▄▀█".index(char) & 1) for char in bare]
            dark = 0 if colored else 255
            for half in (0, 1):
                found[-1].append(bytes(dark if ink[half] else 255 - dark for ink in inks))
        before = block
    return found


def test_files(card: EmulatorProcess, tmp_path: Path) -> None:
    png, svg = tmp_path / "a.png", tmp_path / "a.SVG"
    made = answer(card, "address", "--qr-file", str(png))
    address = made["addresses"][0]["address"]
    assert made["qr_file"] == str(png) and read(of_png(png.read_bytes()), 1) == address
    answer(card, "address", "--qr-file", str(svg))
    assert read(of_svg(svg.read_text())) == address
    answer(card, "address", "--qr-file", str(png), code=2)  # it is there


def test_descriptors_and_key_lines(card: EmulatorProcess, tmp_path: Path) -> None:
    texts = {
        ("descriptors", "--type", "p2wpkh", "--both"): lambda data: data["descriptors"][0]["both"],
        ("xpub", "show", "m/84h/0h/0h"): lambda data: data["origin"],
        ("export", "sparrow"): lambda data: data["content"],
        ("export", "descriptor"): lambda data: data["content"].split("\n")[1],
        ("export", "coldcard"): lambda data: data["content"].strip(),
    }
    for number, (words, text_of) in enumerate(texts.items()):
        path = tmp_path / f"{number}.png"
        data = answer(card, *words, "--qr-file", str(path), schema="xpub show" if words[0] == "xpub" else words[0])
        assert read(of_png(path.read_bytes()), 1) == text_of(data)


def test_a_wallet_of_many_cosigners(card: EmulatorProcess, tmp_path: Path) -> None:
    """20 keys, the most there can be, fit the largest QR code; what does not fit any is refused."""
    files = []
    for number in range(19):
        path = f"48h/0h/{number}h/2h"
        (tmp_path / str(number)).write_text(
            f"[{OTHER.fingerprint.hex()}/{path}]{OTHER.account('m/' + path).to_string()}"
        )
        files += ["--cosigner", str(tmp_path / str(number))]
    words = ("export", "descriptor", "--type", "p2wsh", "--threshold", "2")
    target = tmp_path / "wallet.png"
    data = answer(card, *words, *files, "--qr-file", str(target))
    assert read(of_png(target.read_bytes()), 1) == data["content"].strip()
    with pytest.raises(CtlError, match="2,954 bytes are too many for a QR code"):
        write_qr(tmp_path / "more.png", ["x" * (MOST_BYTES + 1)])
    assert not (tmp_path / "more.png").exists()


def test_a_registered_wallet(card: EmulatorProcess, tmp_path: Path) -> None:
    """Its descriptor and its addresses, without the card."""
    path = "48h/0h/0h/2h"
    (tmp_path / "other").write_text(f"[{OTHER.fingerprint.hex()}/{path}]{OTHER.account('m/' + path).to_string()}")
    words = ("--type", "p2wsh", "--threshold", "2", "--cosigner", str(tmp_path / "other"))
    text = answer(card, "export", "descriptor", *words)["content"].strip()
    answer(card, "wallet", "add", "Ours", text, "--yes", schema="wallet add")
    shown_wallet = answer(None, "wallet", "show", "Ours", "--qr-file", str(tmp_path / "a.png"), schema="wallet show")
    assert read(of_png((tmp_path / "a.png").read_bytes()), 1) == shown_wallet["descriptor"]
    words = ("address", "--wallet", "Ours", "3")
    data = answer(None, *words, "--qr-file", str(tmp_path / "b.svg"), schema="address --wallet")
    assert read(of_svg((tmp_path / "b.svg").read_text())) == data["addresses"][0]["address"]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_on_a_terminal(columns: int) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        with terminal(card, "address", "--qr", columns=columns, rows=60, CRYPTNOX_PIN=PIN) as child:
            assert ended(child) == 0
            [code] = of_screen(shown(child))
        assert read(code) == ADDRESS and len(code[0]) <= columns
        assert ADDRESS in uncolored(shown(child)).split("\n")


def test_several_at_once(card: EmulatorProcess) -> None:
    with terminal(card, "address", "0-2", "--qr", rows=60, CRYPTNOX_PIN=PIN) as child:
        assert ended(child) == 0
        codes = of_screen(shown(child))
    wanted = [entry["address"] for entry in answer(card, "address", "0-2")["addresses"]]
    assert [read(code) for code in codes] == wanted


@pytest.mark.parametrize(("columns", "drawn"), [(40, False), (48, False), (49, True), (80, True)])
def test_a_long_descriptor_in_a_narrow_window(card: EmulatorProcess, columns: int, drawn: bool) -> None:
    """Drawn whole or not at all; the text is whole in either case."""
    words = ("descriptors", "--type", "p2wpkh", "--both")
    wanted = answer(card, *words)["descriptors"][0]["both"]
    with terminal(card, *words, "--qr", columns=columns, rows=60, CRYPTNOX_PIN=PIN) as child:
        assert ended(child) == 0
        text = shown(child).replace("\r", "")
    codes = of_screen(text)
    assert [read(code) for code in codes] == ([wanted] if drawn else [])
    assert wanted in text.split("\n")
    assert ("--qr-file" in text) is not drawn


def test_a_low_window_is_told(card: EmulatorProcess) -> None:
    with terminal(card, "address", "--qr", rows=10, CRYPTNOX_PIN=PIN) as child:
        assert ended(child) == 0
        assert "Make it higher" in " ".join(shown(child).split())


def test_without_colors(card: EmulatorProcess) -> None:
    """NO_COLOR: light modules are ink, on a terminal that writes light on dark."""
    with terminal(card, "address", "--qr", rows=60, CRYPTNOX_PIN=PIN, NO_COLOR="1") as child:
        assert ended(child) == 0
        [code] = of_screen(shown(child), colored=False)
    assert read(code) == answer(card, "address")["addresses"][0]["address"]


def test_what_cannot_be(card: EmulatorProcess, tmp_path: Path) -> None:
    """Refused before the card is asked for anything."""
    for words in (
        ("--qr",),  # no terminal
        ("--qr", "--json"),
        ("--qr-file", str(tmp_path / "a.gif")),
        ("--qr-file", str(tmp_path / "absent" / "a.png")),
        ("0-3", "--qr-file", str(tmp_path / "a.png")),
        ("--check", ADDRESS, "--qr-file", str(tmp_path / "a.png")),
    ):
        assert run(card, "address", *words).returncode == 2, words
    assert run(card, "descriptors", "--qr-file", str(tmp_path / "a.png")).returncode == 2
    assert card.stats()["apdus"] == 0 and not list(tmp_path.iterdir())


def test_without_the_package(card: EmulatorProcess, tmp_path: Path) -> None:
    """It is said which one is missing; everything else works."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['segno'] = None\n")
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    env = environment(card, CRYPTNOX_PIN=PIN, PYTHONPATH=places)
    for words, code, said in ((["address"], 0, ""), (["address", "--qr-file", "a.png"], 1, "pip install segno")):
        done = subprocess.run([*COMMAND, *words], env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == code and said in done.stderr
    assert COMMAND[0] == sys.executable
