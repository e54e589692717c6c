"""A person with Electrum, the plugin and emulated cards: what they do in the window, in their words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embit.script import address_to_scriptpubkey

from tests.electrum.rig import Rig
from tests.electrum.window import ElectrumWindow, Program, Screen, prepare
from tests.support.emulator import MNEMONIC, EmulatorProcess
from tests.system.interop.paper import funding_transaction, verify

PIN = "739146"
"""No other number in these tests looks like it."""
PLUGIN = "cryptnox"
"""The plugin's name in Electrum."""
SCRIPTS = {
    44: "legacy (p2pkh)",
    49: "p2sh-segwit (p2wpkh-p2sh)",
    84: "native segwit (p2wpkh)",
}
"""Electrum's names of script types, by purpose."""


class Person:
    """A home, a PATH with `hwi-cryptnox`, and Electrum's window when it is opened."""

    def __init__(self, rig: Rig, screen: Screen, plugin: Path, home: Path) -> None:
        self.rig, self.screen, self.plugin, self.home = rig, screen, plugin, home
        self.program = Program(home / "bin")
        self.known: list[bytes] = []

    def electrum(
        self,
        *cards: EmulatorProcess,
        net: str = "regtest",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> ElectrumWindow:
        """Electrum with the plugin allowed and these cards in the readers."""
        self.program.insert(*(card.path for card in cards))
        data = self.home / "electrum"
        prepare(data, net)
        if not self._folder(net).joinpath("plugins").exists():
            self.rig.install(self.plugin, data, net, PLUGIN)
        return ElectrumWindow(
            self.rig,
            self.screen,
            self.home,
            self.program.path.parent,
            *arguments,
            net=net,
            # So that the plugin asks for emulated cards, too; which there are says `Program.insert`.
            environ={"CRYPTNOX_EMULATOR": "127.0.0.1:9", **(environ or {})},
        )

    def take_wallet(self, made: Person, old: EmulatorProcess, card: EmulatorProcess) -> None:
        """Another person's Electrum, with a wallet of a card like this one that listened elsewhere."""
        shutil.copytree(made.home / "electrum", self.home / "electrum", ignore=shutil.ignore_patterns("daemon*"))
        config = self._folder() / "config"
        settings = {name: value for name, value in json.loads(config.read_text()).items() if "wallet" not in name}
        config.write_text(json.dumps({name: settings[name] for name in settings if name != "recently_open"}))
        path = self.wallet_file()
        path.write_text(path.read_text().replace(old.path.removeprefix("tcp:"), card.path.removeprefix("tcp:")))

    def _folder(self, net: str = "regtest") -> Path:
        data = self.home / "electrum"
        return data if net == "mainnet" else data / net

    def wallet_file(self, net: str = "regtest", name: str = "default_wallet") -> Path:
        """Where Electrum keeps the wallet."""
        return self._folder(net) / "wallets" / name

    def fund(self, window: ElectrumWindow, *amounts: int, first: int = 0) -> None:
        """Coins out of nowhere, each to an address of its own."""
        for number, amount in enumerate(amounts, first):
            address = window.do("addresses")["receive"][number]
            raw = funding_transaction([(address_to_scriptpubkey(address).data, amount)])
            self.known.append(raw)
            window.do("receive", raw=raw.hex())

    def make_wallet(self, window: ElectrumWindow, purpose: int = 84, *, pin: str = PIN) -> None:
        """Through the wizard, up to the wallet's window."""
        self.choose_card(window)
        window.wait("Choose the type of addresses")
        window.click(SCRIPTS[purpose])
        window.click("Next")
        self.type_pin(window, pin)
        window.wait("Encrypt", "Choose a password")
        window.click("Finish")
        window.wait("History")

    def choose_card(self, window: ElectrumWindow, card: str = "") -> None:
        """The wizard up to the card, and one page on."""
        window.wait("Electrum wallet")
        window.click("Next")
        window.wait("What kind of wallet")
        window.click("Next")
        window.wait("Use a hardware device")
        window.click("Use a hardware device")
        window.click("Next")
        window.wait("Select a device")
        if card:
            window.click(f"{card}*")
        window.click("Next")

    def sign(self, window: ElectrumWindow, pin: str = PIN) -> bytes:
        """Sign what the window shows, with the PIN if it is asked for; the finished transaction."""
        window.click("Sign", window="Transaction")
        if window.wait("Type the PIN of", "about to sign") == "Type the PIN of":
            self.type_pin(window, pin)
        window.wait("about to sign")
        window.click("Sign", window="review")
        window.wait("Status: Signed")
        return self.signed(window)

    @staticmethod
    def type_pin(window: ElectrumWindow, pin: str = PIN) -> None:
        """Into the dialogue that asks for it."""
        window.wait("Type the PIN of")
        window.write(pin, window="PIN")
        window.click("OK", window="PIN")

    def pair(self, window: ElectrumWindow, pin: str = PIN) -> None:
        """A wallet that was opened asks for the PIN, to see whether the card is its own."""
        window.wait("History")
        self.type_pin(window, pin)
        window.wait_gone("Type the PIN")

    def request(self, window: ElectrumWindow) -> str:
        """A new address in the Receive tab."""
        window.click("Receive")
        window.click("Request")
        return str(window.until(lambda: window.do("receiving"), what="an address"))

    def check_address(self, window: ElectrumWindow) -> None:
        """With the card, from the menu of the Receive tab."""
        window.menu("Tools", "Check address with*")

    def prepare_payment(self, window: ElectrumWindow, address: str, bitcoin: str) -> None:
        """The Send tab, up to the window that shows the transaction, unsigned. Without an amount: everything."""
        window.click("Send")
        window.write(address, label="Pay to")
        window.write(bitcoin, label="Amount") if bitcoin else window.click("Max")
        window.click("Pay...")
        window.click("Preview")
        window.wait("Add to History")

    def signed(self, window: ElectrumWindow) -> bytes:
        """The transaction that is shown, which must be finished: copied, and judged by Bitcoin Core's verifier."""
        window.menu("Share", "Copy to clipboard")
        raw = bytes.fromhex(str(window.until(lambda: window.do("clipboard"))))
        verify(raw, self.known)
        return raw

    def wallet(self, net: str = "regtest", name: str = "default_wallet") -> dict[str, Any]:
        """The wallet file, which must be plain JSON."""
        text = self.wallet_file(net, name).read_text()
        # Electrum appends patches to it; the first value is the file as it was written whole.
        parsed: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        return parsed

    def nothing_knows(self, secret: str = PIN) -> None:
        """The PIN is in no file of this home, no argument and no environment of the program."""
        for call in self.program.calls():
            assert secret not in call["argv"]
            assert not [name for name, value in call["environ"].items() if value == secret]
        for path in self.home.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert secret.encode() not in path.read_bytes(), path


def card(mnemonic: str = MNEMONIC, *options: str, export: bool = True) -> EmulatorProcess:
    """An emulated card with `PIN`."""
    return EmulatorProcess("--mnemonic", mnemonic, "--pin", PIN, *(["--xpub-export"] if export else []), *options)
