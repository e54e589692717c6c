"""The extension's script in a model of Specter's page (`page.js`), by node: what it sends, shows and hides. The real
pages are driven in a browser by the long tests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import hwilib_cryptnox

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no node to run the script of Specter's pages")

SCRIPT = Path(hwilib_cryptnox.__file__).parent / "specter" / "static" / "js" / "cryptnox.js"
MODEL = Path(__file__).with_name("page.js")
PIN = "73519024"
A = {"type": "cryptnox", "path": "cryptnox:30000000001", "needs_passphrase_sent": True, "error": "PIN needed"}
B = {"type": "cryptnox", "path": "cryptnox:30000000002", "needs_passphrase_sent": True, "fingerprint": "b8688df1"}
TREZOR = {"type": "trezor", "path": "webusb:1", "needs_passphrase_sent": True, "fingerprint": "0f056943"}
READY = {"type": "cryptnox", "path": A["path"], "fingerprint": "73c5da0a", "needs_passphrase_sent": False}
REFUSED = {"error": {"code": -32000, "message": "Internal error: Wrong PIN, 4 tries left at most."}}


def play(scene: str, *devices: dict[str, Any], **answers: object) -> dict[str, Any]:
    """What became of a page in which a scene was played."""
    assert NODE is not None
    given = {
        "enumerate": devices,
        "cryptnox_unlock": READY,
        "sign_tx": "signed",
        "sign_message": "signature",
        **answers,
    }
    run = subprocess.run(
        [NODE, str(MODEL), str(SCRIPT)],
        input=f"page.answers = {json.dumps(given)};\n{scene}",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    page: dict[str, Any] = json.loads(run.stdout)
    return page


def signing(*typed: str, place: int = 0, kind: str = "cryptnox", fingerprint: str = "73c5da0a") -> str:
    people = f"person({place}, {', '.join(map(json.dumps, typed))})" if typed else f"person({place})"
    return f'const done = signTx("{kind}", "psbt", "{fingerprint}"); await {people}; return await done;'


def test_the_pin_reaches_the_card_it_was_typed_for() -> None:
    page = play(signing(PIN), A, B)
    assert page["value"] == "signed" and page["errors"] == []
    assert page["sent"] == [
        {"method": "enumerate", "passphrase": ""},
        {"method": "cryptnox_unlock", "path": A["path"], "passphrase": PIN},
        {"method": "sign_tx", "device_type": "cryptnox", "path": A["path"], "passphrase": PIN, "psbt": "psbt"},
    ]


def test_cards_have_names() -> None:
    page = play(signing(PIN), A, B, {**A, "path": "tcp:127.0.0.1:9720"}, {**A, "needs_passphrase_sent": False})
    assert page["buttons"] == [
        "Cryptnox 30000000001 - PIN needed",
        "Cryptnox 30000000002 - b8688df1",
        "Cryptnox tcp:127.0.0.1:9720 - PIN needed",
        "Cryptnox 30000000001 - PIN needed",
    ]
    assert page["heading"] == "PIN of Cryptnox 30000000001"


def test_what_a_card_says_is_text() -> None:
    evil = {**A, "path": "<img src=x onerror=alert(1)>", "needs_passphrase_sent": False, "error": "<b>Not initialized"}
    page = play(signing(), evil)
    assert not any("<" in text for text in page["html"])
    assert page["buttons"] == ["Cryptnox <img src=x onerror=alert(1)> - <b>Not initialized"]
    assert page["errors"] == ["&lt;b&gt;Not initialized"]
    told = {"error": {"code": -32000, "message": "Internal error: <img src=x> & more."}}
    assert play(signing(PIN), A, cryptnox_unlock=told)["errors"] == ["&lt;img src=x&gt; &amp; more."]


def test_a_second_try_on_the_same_page() -> None:
    scene = f"""
        const first = signTx("cryptnox", "psbt", "73c5da0a"); await person(0, "111111"); await first;
        page.answers.cryptnox_unlock = {json.dumps(READY)};
        const second = signTx("cryptnox", "psbt", "73c5da0a"); await person(0, " {PIN} "); return await second;
    """
    page = play(scene, A, cryptnox_unlock=REFUSED)
    assert page["errors"] == ["Wrong PIN, 4 tries left at most."]
    assert page["value"] == "signed"
    assert [one["passphrase"] for one in page["sent"] if one["method"] != "enumerate"] == ["111111", PIN, PIN]


def test_a_double_click() -> None:
    scene = f"""
        const done = signTx("cryptnox", "psbt", "73c5da0a"); await person(0);
        elements["passphrase-input"].value = "{PIN}";
        elements["passphrase-submit-btn"].click(); elements["passphrase-submit-btn"].click();
        return await done;
    """
    page = play(scene, A)
    assert page["value"] == "signed" and page["sent"][1]["passphrase"] == PIN


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (REFUSED, "Wrong PIN, 4 tries left at most."),
        ({"error": {"code": -32601, "message": "Method not found."}}, "extension"),
        ({"error": "HWI is busy processing previous request."}, "HWI is busy"),
        ({"error": {"message": "Failed to fetch"}}, "Failed to fetch"),
    ],
)
def test_what_keeps_a_card_locked_is_said_once(answer: dict[str, object], said: str) -> None:
    page = play(signing("111111"), A, cryptnox_unlock=answer)
    assert len(page["errors"]) == 1 and said in page["errors"][0]
    assert page["value"] is None and page["overlay"] is False
    assert [one["method"] for one in page["sent"]] == ["enumerate", "cryptnox_unlock"]


def test_no_pin_is_sent_as_none() -> None:
    needed = {"error": {"code": -32000, "message": "Internal error: PIN needed: type it."}}
    page = play(signing(""), A, cryptnox_unlock=needed)
    assert page["errors"] == ["PIN needed: type it."]
    assert page["sent"][1] == {"method": "cryptnox_unlock", "path": A["path"], "passphrase": ""}


def test_specters_scripts_never_see_the_pin() -> None:
    page = play(signing(PIN), A)
    assert page["value"] == "signed" and page["logged"]
    assert PIN not in json.dumps([page["logged"], page["html"]])


def test_a_card_that_needs_no_pin() -> None:
    page = play(signing(), READY)
    assert page["value"] == "signed" and [one["method"] for one in page["sent"]] == [
        "enumerate",
        "enumerate",
        "sign_tx",
    ]
    assert "passphrase" not in page["sent"][2] or not page["sent"][2]["passphrase"]


def test_other_devices_are_as_before() -> None:
    page = play(signing("correct horse", kind="trezor", fingerprint="0f056943"), TREZOR)
    assert page["value"] == "signed" and page["heading"] == "Enter Passphrase"
    assert page["buttons"] == ["trezor - needs password"]
    assert [one["passphrase"] for one in page["sent"]] == ["", "correct horse", "correct horse"]


def test_no_screen_is_said_without_asking_anybody() -> None:
    page = play('await displayAddressOnDevice(["cryptnox"]);', A)
    assert page["sent"] == [] and len(page["errors"]) == 1 and "no screen" in page["errors"][0]
    page = play('displayAddressOnDevice(["cryptnox", "trezor"]); await page.settle();', A, TREZOR)
    assert page["errors"] == [] and [one["method"] for one in page["sent"]] == ["enumerate"]
    assert page["html"][1:] == ["trezor - needs password"]


@pytest.mark.parametrize("path", ["", "  ", "m", "m/"])
def test_a_message_needs_a_path(path: str) -> None:
    page = play(f'return await signMessage("cryptnox", "hello", {json.dumps(path)});', A)
    assert page["sent"] == [] and page["value"] is None and "derivation path" in page["errors"][0]
    assert play('return await signMessage("cryptnox", "hello", "m/84h/0h/0h/0/0");', A)["value"] == "signature"
    assert play(f'return await signMessage("trezor", "hello", {json.dumps(path)});', A)["value"] == "signature"
