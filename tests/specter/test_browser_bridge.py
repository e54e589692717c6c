"""Specter Desktop in Chromium over the bridge: Specter runs elsewhere, the card is at the computer of the browser.

And a bridge that lies: what it says of a card is shown as text, and no PIN goes to it but the one typed for its card.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.specter.chromium import Browser
from tests.specter.office import PIN, RECIPIENT, WRONG_PIN, paid, serving
from tests.specter.person import Person
from tests.specter.server import Specter
from tests.specter.stand_in import StandIn
from tests.support.emulator import EmulatorProcess
from tests.system.interop.programs import MNEMONIC

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("specter"), pytest.mark.timeout(600)]

INJECTION = "<img src=x onerror='alert(document.title)'>"


@pytest.fixture(scope="module")
def node() -> Iterator[StandIn]:
    with StandIn(psbt_version=2) as node:
        yield node


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--pin", PIN) as card:
        yield card


@pytest.fixture(scope="module")
def bridge(specter_python: Path, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Specter]:
    """At the card's computer."""
    folder = tmp_path_factory.mktemp("bridge")
    environ = {"CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "PCSCLITE_CSOCK_NAME": str(folder / "no-pcscd")}
    with serving(specter_python, folder, None, card, "--hwibridge", **environ) as server:
        yield server


@pytest.fixture(scope="module")
def remote(
    specter_python: Path, node: StandIn, card: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Specter]:
    """Elsewhere, without a card."""
    folder = tmp_path_factory.mktemp("remote")
    with serving(
        specter_python, folder, node, card, PCSCLITE_CSOCK_NAME=str(folder / "no-pcscd"), CRYPTNOX_EMULATOR=""
    ) as server:
        yield server


@pytest.fixture(scope="module")
def person(browser: Browser, remote: Specter, node: StandIn) -> Person:
    return Person(browser.open(remote.base), node)


def use_bridge(person: Person, address: str) -> None:
    """Name the bridge on the page of settings."""
    person.tab.go("settings/hwi")
    person.tab.click("#custom_hwibridge")
    person.tab.fill("#custom_url", address)
    person.tab.click("button[value=update_hwi]")
    person.tab.see("HWIBridge URL is updated")


def test_bridge(browser: Browser, person: Person, bridge: Specter, remote: Specter, card: EmulatorProcess) -> None:
    """The bridge obeys no page that was not put on its list; then keys, a wrong PIN and a payment are as they are
    without it."""
    use_bridge(person, f"{bridge.base}/hwi/api/")
    apdus = card.stats()["apdus"]
    person.begin_device("Far card")
    person.get_keys()
    person.told("whitelist")
    assert card.stats()["apdus"] == apdus

    owner = browser.open(bridge.base)
    owner.go("hwi/settings/")
    owner.fill("textarea", f"{remote.base}/")
    owner.click("button:has-text('Update')")
    owner.see("Whitelist is updated")

    person.begin_device("Far card")
    person.get_keys()
    person.enter(WRONG_PIN)
    person.told("Wrong PIN")
    assert card.stats()["pin_tries"] == 1
    person.dismiss()
    person.get_keys()
    person.enter(PIN)
    assert len(person.finish_device()) == 4
    person.create_wallet("Far", "Far card", funds=(100_000,))
    person.draft("Far", RECIPIENT, 40_000)
    person.sign_with("Far card")
    person.choose()
    person.enter(PIN)
    assert paid(person.send(), RECIPIENT) == [40_000]
    assert card.stats()["pin_tries"] == 1
    for server in (bridge, remote):
        log = server.log.read_text()
        assert f'"{PIN}"' not in log and WRONG_PIN not in log


@pytest.fixture
def liar() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A bridge of somebody else's: its address, and what it is asked."""
    asked: list[dict[str, Any]] = []
    fields = ("label", "path", "fingerprint", "model", "error")
    common = dict.fromkeys(fields, INJECTION) | {"type": "cryptnox", "needs_pin_sent": False, "code": -12}
    cards = [{**common, "needs_passphrase_sent": value} for value in (True, False)]

    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            self._reply(b"")

        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(call)
            error = {"code": -1, "message": f"Internal error: {INJECTION}"}
            answer = {"result": cards} if call["method"] == "enumerate" else {"error": error}
            self._reply(json.dumps({"jsonrpc": "2.0", "id": call["id"], **answer}).encode())

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Access-Control-Allow-Headers", "*")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hwi/api/", asked
        server.shutdown()


def test_what_a_lying_bridge_says_is_text(person: Person, liar: tuple[str, list[dict[str, Any]]]) -> None:
    address, asked = liar
    use_bridge(person, address)
    person.tab.call("said")
    person.begin_device("Odd card")
    for number in (1, 2):
        person.get_keys()
        assert len(person.listed()) == 2
        person.tab.click(f"#hwi_selector_container button >> nth={number - 1}")
        if number == 1:
            person.enter(WRONG_PIN)
        person.told("onerror")
        person.dismiss()
    assert person.tab.call("evaluate", "document.querySelectorAll('img[src=x]').length") == 0
    assert person.tab.call("said")["dialogs"] == []
    assert {call["method"] for call in asked} <= {"enumerate", "cryptnox_unlock", "extract_xpub"}
