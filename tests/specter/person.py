"""A person at Specter's pages: what is clicked, typed and read, in the words of these pages."""

from __future__ import annotations

from embit import bip32, bip39
from embit.psbt import PSBT

from tests.specter.chromium import Tab
from tests.specter.office import Payer

PIN_HEADING = "PIN of"
FEE_RATE = 3
ADDRESS = "(() => document.querySelector('main').innerText.match(/\\b(bcrt1|2)[a-zA-HJ-NP-Z0-9]{25,}/)[0])()"
KEYS_THERE = """() => {
    const cells = [...document.querySelectorAll("#xpubs_table td.xpub")].map(cell => cell.innerText.trim());
    return cells.length && !cells.includes("-") && cells;
}"""
MESSAGE = """text => [...document.querySelectorAll("message-box")].filter(box =>
    box.shadowRoot.querySelector("#main").style.opacity === "1" && box.innerText.includes(text)
).map(box => box.innerText.trim())[0]"""


def root_of(mnemonic: str) -> bip32.HDKey:
    return bip32.HDKey.from_seed(bip39.mnemonic_to_seed(mnemonic))


def key_line(mnemonic: str, path: str) -> str:
    """A cosigner's key with its origin, as it is pasted: `[fingerprint/path]tpub`."""
    root = root_of(mnemonic)
    key = root.derive(path).to_public().to_base58(version=bytes.fromhex("043587cf"))
    return f"[{root.my_fingerprint.hex()}{path[1:]}]{key}"


def cosign(mnemonic: str, text: str) -> str:
    """A PSBT signed with the master key of a mnemonic, by embit."""
    psbt = PSBT.from_string(text)
    assert psbt.sign_with(root_of(mnemonic)) == len(psbt.inputs)
    return str(psbt.to_string())


def alias(name: str) -> str:
    """Specter's name for a device or wallet in addresses and elements."""
    return name.lower().replace(" ", "_")


class Person:
    """Somebody at one tab."""

    def __init__(self, tab: Tab, node: Payer) -> None:
        self.tab = tab
        self._node = node

    # Devices and wallets

    def begin_device(self, name: str) -> None:
        """Go to the page that reads a card's keys."""
        self.tab.go("devices/new_device_type/")
        self.tab.click("text=Cryptnox")
        self.tab.fill("#device_name", name)

    def get_keys(self) -> None:
        self.tab.click("text=Get via USB")

    def finish_device(self) -> list[str]:
        """Wait for the keys of the table and keep the device; the keys."""
        keys: list[str] = self.tab.call("until", KEYS_THERE)
        self.tab.click("#submit-keys")
        self.tab.see("was added successfully")
        return keys

    def add_card(self, name: str, pin: str) -> list[str]:
        """Add a card as a device, without a mistake; its keys."""
        self.begin_device(name)
        self.get_keys()
        self.enter(pin)
        return self.finish_device()

    def add_cosigner(self, name: str, line: str) -> None:
        """Add a device of which only a key is known."""
        self.tab.go("devices/new_device_keys/other/")
        self.tab.fill("#device_name", name)
        self.tab.click("#xpub-paste")
        self.tab.fill("#paste-xpub-text", line)
        self.tab.click("text=Add xpub")
        self.tab.click("#submit-keys")
        self.tab.see("was added successfully")

    def create_wallet(self, name: str, *devices: str, nested: bool = False, funds: tuple[int, ...] = ()) -> None:
        """Make a wallet of one device, or two of the given ones, and be paid some amounts (satoshis)."""
        self.tab.go(f"wallets/new_wallet/{'multisig' if len(devices) > 1 else 'simple'}/")
        for device in devices:
            self.tab.click(f"#{alias(device)}")
        if len(devices) > 1:
            self.tab.click("#submit-device")
        self.tab.fill("#wallet_name", name)
        if nested:
            self.tab.click("label:has-text('Nested Segwit')")
        self.tab.click("button:has-text('Create wallet')")
        self.tab.call("wait_for_url", f"**/wallet/{alias(name)}/receive/**")
        if funds:
            self._node.fund(self.address(name), *funds)

    def address(self, wallet: str) -> str:
        """A receiving address that was not used yet."""
        self.tab.go(f"wallets/wallet/{alias(wallet)}/receive/")
        return str(self.tab.call("evaluate", ADDRESS))

    # Sending

    def draft(self, wallet: str, address: str, satoshis: int) -> None:
        """Create an unsigned transaction; afterwards its page is open."""
        self.tab.go(f"wallets/wallet/{alias(wallet)}/send/new")
        self.tab.fill("#address", address)
        self.tab.fill("#amount", f"{satoshis / 1e8:.8f}")
        self.tab.click("#toggle_advanced")
        self.tab.click("label:has-text('Manual')")
        self.tab.fill("#fee_rate", str(FEE_RATE))
        self.tab.click("#create_psbt_btn")
        self.tab.see("Sign Transaction")
        self.tab.ready()

    def sign_with(self, device: str) -> None:
        """Choose to sign with a device over USB; afterwards the list of cards is open, or a message says why not."""
        self.tab.click(f"#{alias(device)}_tx_sign_btn")
        self.tab.click(f"#{alias(device)}_hwi_sign_btn")

    def listed(self) -> list[str]:
        """The cards that the list shows."""
        self.tab.see("Select USB Device")
        shown: list[str] = self.tab.call(
            "evaluate", "() => [...document.querySelectorAll('#hwi_selector_container button')].map(b => b.innerText)"
        )
        return shown

    def choose(self, text: str = "Cryptnox") -> None:
        """Take the card of the list whose line has a text."""
        self.tab.click(f"#hwi_selector_container button:has-text('{text}')")

    def enter(self, pin: str) -> None:
        """Type into the PIN's dialogue and submit."""
        self.tab.see(PIN_HEADING)
        self.tab.fill("#passphrase-input", pin)
        self.tab.click("#passphrase-submit-btn")

    def unsigned(self) -> str:
        """The PSBT of the open page, with the signatures so far."""
        return str(self.tab.call("input_value", "#raw-psbt"))

    def paste(self, signed: str) -> None:
        """Paste what another signer made."""
        self.tab.click("#pastetx")
        self.tab.fill("#paste-tx-text", signed)
        self.tab.click("#paste-tx-popup button")

    def send(self) -> bytes:
        """Send the signed transaction from the dialogue that says that it is ready; what the node got."""
        before = len(self._node.sent)
        self.tab.click("#broadcast_local_btn")
        self.tab.call("wait_for_url", "**/history/**")
        (raw,) = self._node.sent[before:]
        return raw

    # What is read

    def told(self, text: str) -> str:
        """Wait for a message with a text; all of that message."""
        return str(self.tab.call("until", MESSAGE, text))

    def dismiss(self) -> None:
        """Take the messages away."""
        self.tab.call("evaluate", "() => document.querySelectorAll('message-box').forEach(box => box.remove())")
