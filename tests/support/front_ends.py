"""Programs that run `hwi`, as that program sees them: the command lines they make, and what they take of an answer.

Written after the sources of Bitcoin Core 30, BTCPay Vault 3.0 with BTCPay Server 2.1 and 2.4, libnunchuk and Wasabi of
August 2026, and Sparrow 2.0.0. None of these programs is run.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Ran(NamedTuple):
    """What a run of `hwi` left."""

    out: str
    err: str
    code: int


Run = Callable[[list[str], str | None], Ran]
"""Runs `hwi` with these arguments; None stands for a stdin that was not set up."""


class RefusedError(Exception):
    """What the program shows instead of going on. `code`: HWI's, None where there was none."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def parsed(text: str) -> Any:
    """JSON, or RefusedError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise RefusedError(f"no JSON: {text}") from error


# Bitcoin Core


@dataclass
class Core:
    """Bitcoin Core and its GUI: the first line of stdout, and of stderr where the exit status is not 0."""

    run: Run
    chain: str = "regtest"

    def call(self, *arguments: str, stdin: str | None = None) -> Any:
        ran = self.run(list(arguments), stdin)
        if ran.code:
            raise RefusedError(ran.err.partition("\n")[0])
        return parsed(ran.out.partition("\n")[0])

    def signer(self) -> str:
        """The fingerprint of the only one, as before every operation."""
        found = self.call("enumerate")
        if not isinstance(found, list):
            raise RefusedError("Unexpected result")
        fingerprints: list[str] = []
        for entry in found:
            if "error" in entry:
                raise RefusedError(entry["error"])
            if "fingerprint" not in entry:
                raise RefusedError("missing signer fingerprint")
            assert isinstance(entry.get("model", ""), str)
            fingerprints.append(entry["fingerprint"])
        if len(fingerprints) != 1:
            raise RefusedError("No external signers found" if not fingerprints else "More than one external signer")
        return fingerprints[0]

    def descriptors(self) -> dict[str, list[str]]:
        answer = self.call("--fingerprint", self.signer(), "--chain", self.chain, "getdescriptors", "--account", "0")
        if {"receive", "internal"} - answer.keys():
            raise RefusedError("SetupDescriptorScriptPubKeyMans: Unexpected result")
        return dict(answer)

    def display(self, descriptor: str) -> str:
        words = ("--fingerprint", self.signer(), "--chain", self.chain, "displayaddress", "--desc", descriptor)
        answer = self.call(*words)
        if "error" in answer:
            raise RefusedError(f"Signer returned error: {answer['error']}", answer.get("code"))
        return str(answer["address"])

    def sign(self, psbt: str) -> str:
        words = ("--stdin", "--fingerprint", self.signer(), "--chain", self.chain)
        answer = self.call(*words, stdin=f"signtx {psbt}")
        if "psbt" not in answer:
            raise RefusedError("External signer failed to sign")
        return str(answer["psbt"])


# BTCPay


@dataclass
class Device:
    """What BTCPay's server keeps of a device while a person connects it."""

    entry: dict[str, Any]
    selector: tuple[str, ...]
    password: str = ""


@dataclass
class BtcPay:
    """BTCPay Server, and the Vault that runs `hwi` for it: all lines of stdout as one, the exit status is not looked
    at. `asks_everybody`: Server up to 2.1.0 asks for the passphrase of every device; later ones for the Trezor One's
    only."""

    run: Run
    chain: str = "regtest"
    asks_everybody: bool = False

    def send(self, *arguments: str, device: Device | None = None) -> Any:
        words = ["--chain", self.chain]
        if device is not None:
            words += ["--password", device.password] if device.password else []
            words += device.selector
        words += arguments
        if "signtx" in words:
            ran = self.run(["--stdin"], "".join(f"{word}\n" for word in [*words, ""]))
        else:
            ran = self.run(words, None)
        return ran.out.replace("\n", "")

    def answer(self, *arguments: str, device: Device | None = None) -> Any:
        text = self.send(*arguments, device=device)
        found = parsed(text)
        if isinstance(found, dict) and (found.get("error") or found.get("code") is not None):
            raise RefusedError(found.get("error", ""), found.get("code"))
        return found

    def version(self) -> tuple[int, int]:
        found = re.search(r"(\d+)\.(\d+)(\.(\d+))?", self.send("--version"))
        assert found is not None
        return int(found[1]), int(found[2])

    def find(self, password: str = "") -> Device:
        """The first device, with the password that the person types where one is asked for."""
        if self.version()[0] < 2:
            raise RefusedError("Your BTCPay Server Vault version is outdated")
        entries = self.answer("enumerate")
        if not entries:
            raise RefusedError("No device connected.")
        entry = entries[0]
        assert isinstance(entry["model"], str)
        if entry.get("code") == -18:
            raise RefusedError("The device has not been initialized.", -18)
        if "fingerprint" in entry:
            selector: tuple[str, ...] = ("--fingerprint", entry["fingerprint"])
        else:
            selector = ("--device-type", entry["model"].lower(), "--device-path", entry["path"])
        asked = entry.get("code") == -12 and entry["needs_passphrase_sent"] is True and self.asks_everybody
        return Device(entry, selector, password if asked else "")

    def connect(self, password: str = "") -> Device:
        """A device whose fingerprint is known, which is learnt from a key of one level otherwise."""
        device = self.find(password)
        if "fingerprint" not in device.entry:
            self.answer("getxpub", "m/44h", device=device)
            raise AssertionError("the card gives such a key to nobody")
        return device

    def account(self, device: Device, path: str) -> str:
        return str(self.answer("getxpub", path, device=device)["xpub"])

    def check_address(self, device: Device, path: str) -> str:
        """The last step of a wallet's set-up through the Vault."""
        return str(self.answer("displayaddress", "--path", path, "--addr-type", "wit", device=device)["address"])

    def sign(self, device: Device, psbt: str, path: str) -> str:
        """Look at the key of an input first, then sign."""
        self.account(device, path)
        return str(self.answer("signtx", psbt, device=device)["psbt"])


# Nunchuk


def boost_words(line: str) -> list[str]:
    """A command line as boost.process splits it: at blanks outside quotes, whose quotes are taken away."""
    words, word, quoted = [], "", False
    for letter in line:
        if letter == '"':
            quoted = not quoted
        if letter == " " and not quoted:
            words.append(word)
            word = ""
        else:
            word += letter
    return [each[1:-1] if each[:1] == each[-1:] == '"' else each for each in [*words, word] if each]


@dataclass
class Nunchuk:
    """Nunchuk's library: one unquoted command line, the first line of stdout; any exit status but 0 is an error."""

    run: Run
    chain: str = ""
    """`test` or `signet`."""

    def command(self, *arguments: str) -> str:
        words = boost_words(" ".join([*([f"--chain {self.chain}"] if self.chain else []), *arguments]))
        ran = self.run(words, None)
        if ran.code:
            raise RefusedError("Run command exit error!")
        return ran.out.partition("\n")[0]

    def answer(self, *arguments: str) -> Any:
        found = parsed(self.command(*arguments))
        if found.get("error") is not None:
            raise RefusedError(found["error"], int(found["code"]))
        return found

    def version(self) -> int:
        return int(self.command("--version")[len("hwi ") :].partition(".")[0])

    def devices(self) -> list[dict[str, Any]]:
        """Entries with another error than these two are left out; the others must have all of this."""
        kept = []
        for entry in parsed(self.command("enumerate")):
            if entry.get("error") is not None and entry.get("code") not in (-18, -12):
                continue
            for name, kind in (("type", str), ("path", str), ("model", str)):
                assert isinstance(entry[name], kind)
            assert isinstance(entry["needs_passphrase_sent"], bool) and isinstance(entry["needs_pin_sent"], bool)
            kept.append(entry)
        return kept

    @staticmethod
    def selector(device: dict[str, Any]) -> list[str]:
        if device.get("fingerprint"):
            return ["-f", device["fingerprint"]]
        return ["-t", device["type"], "-d", device["path"]]

    def xpub(self, device: dict[str, Any], path: str) -> str:
        return str(self.answer(*self.selector(device), "getxpub", path)["xpub"])

    def add_key(self, device: dict[str, Any]) -> list[str]:
        """All keys that it wants when a device is added. Of its own five kinds of device it does not want the first."""
        if not device.get("fingerprint"):
            self.xpub(device, "m/48h")
        coin = 1 if self.chain else 0
        paths = [f"m/48h/{coin}h/0h/2h", f"m/44h/{coin}h/0h", f"m/84h/{coin}h/0h"]
        if device["type"] not in ("bitbox02", "ledger", "trezor", "keepkey"):
            paths = ["m", f"m/45'/{coin}'/0'/1/0", *paths]
        return [self.xpub(device, path) for path in paths]

    def sign(self, device: dict[str, Any], psbt: str) -> str:
        return str(self.answer(*self.selector(device), "signtx", psbt)["psbt"])

    def sign_message(self, device: dict[str, Any], message: str, path: str) -> str:
        return str(self.answer(*self.selector(device), "signmessage", f'"{message}"', path)["signature"])

    def display(self, device: dict[str, Any], descriptor: str) -> str:
        return str(self.answer(*self.selector(device), "displayaddress", "--desc", f'"{descriptor}"')["address"])

    def send_passphrase(self, device: dict[str, Any], passphrase: str) -> None:
        device_words = ["-t", device["type"], "-d", device["path"]]
        self.answer(*device_words, "--password", f'"{passphrase}"', "togglepassphrase")


# Wasabi

WASABIS_MODELS = {
    *("coldcard", "coldcard_simulator", "digitalbitbox_01", "digitalbitbox_01_simulator", "keepkey"),
    *("keepkey_simulator", "ledger_nano_s", "ledger_nano_s_plus", "ledger_nano_x", "trezor_1", "trezor_1_simulator"),
    *("trezor_t", "trezor_t_simulator", "trezor_safe_3", "trezor_safe_5", "bitbox02_btconly", "bitbox02_multi", "jade"),
}


@dataclass
class Wasabi:
    """Wasabi: all of stdout, options in quotes, the PSBT by stdin. A model that it does not know has no name there."""

    run: Run
    chain: str = "test"

    def command(self, options: dict[str, str], *words: str, stdin: str | None = None) -> str:
        chain = {} if self.chain == "main" else {f"chain {self.chain}": ""}
        line = " ".join(
            [f'--{name} "{value}"' if value else f"--{name}" for name, value in (chain | options).items()] + list(words)
        )
        ran = self.run(shlex.split(line), stdin)
        try:
            found = json.loads(ran.out)
        except ValueError:
            found = None
        if isinstance(found, dict) and (found.get("error") or found.get("code") is not None):
            raise RefusedError(found.get("error", ""), found.get("code"))
        if found is None and "error:" in ran.out.lower():
            raise RefusedError(ran.out)
        if ran.code:
            raise RefusedError(f"exited with incorrect exit code: {ran.code}")
        return ran.out

    def version(self) -> tuple[int, ...]:
        text = self.command({"version": ""})
        for prefix in ("hwi.exe", "hwi"):
            if text.startswith(prefix):
                numbers = text.removeprefix(prefix).rstrip().partition("-")[0].split(".")
                if len(numbers) != 3:
                    raise RefusedError("Version must contain major.minor.build numbers.")
                try:
                    return tuple(map(int, numbers))
                except ValueError as error:
                    raise RefusedError(f"not a version: {text}") from error
        raise RefusedError("HWI prefix is missing in the provided version response.")

    def detect(self) -> dict[str, Any]:
        """The only device, ready to be added."""
        entries = parsed(self.command({}, "enumerate"))
        assert all(isinstance(entry["model"], str) and isinstance(entry["path"], str) for entry in entries)
        if len(entries) != 1:
            raise RefusedError("Connect the hardware wallet to the PC / Enter the PIN on the device.")
        entry: dict[str, Any] = entries[0]
        if entry.get("code") == -18 or "not initialized" in entry.get("error", "").lower():
            self._by_path(entry, "setup", interactive="")
            raise RefusedError("Check your device and finish the initialization.", -18)
        if "code" in entry or "error" in entry:
            raise RefusedError("Something happened with your device", entry.get("code"))
        assert not entry["needs_passphrase_sent"] and not entry["needs_pin_sent"]
        return entry

    def _by_path(self, entry: dict[str, Any], *words: str, **options: str) -> str:
        model = entry["model"].replace(" ", "_").lower()
        if model not in WASABIS_MODELS:
            raise RefusedError("Provide either fingerprint or devicePath-deviceType pair, not both.")
        return self.command({"device-path": entry["path"], "device-type": model, **options}, *words)

    def add(self, entry: dict[str, Any]) -> str:
        """The account's key, when a device that was detected is added."""
        return str(parsed(self._by_path(entry, "getxpub", f"m/84h/{int(self.chain != 'main')}h/0h"))["xpub"])

    def sign(self, fingerprint: str, psbt: str) -> str:
        """For a wallet that is there already."""
        try:
            text = self.command({"fingerprint": fingerprint, "stdin": ""}, "signtx", stdin=f"{psbt}\n\n\n")
        except RefusedError as error:
            if error.code not in (-3, -12):
                raise
            entries = [entry for entry in parsed(self.command({}, "enumerate")) if "fingerprint" not in entry]
            if not entries:
                raise
            text = self._by_path(entries[0], "signtx", stdin="")
        return str(parsed(text)["psbt"])


# Sparrow up to 2.0.0

SPARROWS_TYPES = ("trezor", "ledger", "bitbox", "coldcard", "keepkey", "jade", "digitalbitbox", "passport", "sparrow")
"""Beginnings of the models that it takes."""


@dataclass
class Sparrow:
    """Sparrow up to 2.0.0: all of stdout as JSON, whatever the exit status."""

    run: Run
    chain: str = "regtest"
    known: tuple[str, ...] = field(default=SPARROWS_TYPES)

    def scan(self, passphrase: str | None = None) -> list[dict[str, Any]]:
        words = [] if passphrase is None else ["--password", passphrase]
        found = parsed(self.run([*words, "--chain", self.chain, "enumerate"], None).out)
        if isinstance(found, dict):
            raise RefusedError(found["error"])
        for entry in found:
            if not entry["model"].startswith(self.known):
                raise RefusedError(f"Could not determine wallet model for {entry['model']}")
        return list(found)

    def _answer(self, device: dict[str, Any], *command: str, stdin: str | None = None) -> Any:
        words = ["--device-path", device["path"], "--device-type", device["type"], "--chain", self.chain]
        found = parsed(self.run([*words, *command], stdin).out)
        if "error" in found:
            raise RefusedError(found["error"], found.get("code"))
        return found

    def xpub(self, device: dict[str, Any], path: str) -> str:
        return str(self._answer(device, "getxpub", path)["xpub"])

    def display(self, device: dict[str, Any], descriptor: str) -> str:
        return str(self._answer(device, "displayaddress", "--desc", descriptor)["address"])

    def sign(self, device: dict[str, Any], psbt: str) -> str:
        return str(self._answer(device, "--stdin", stdin=f'signtx "{psbt}"')["psbt"])

    def sign_message(self, device: dict[str, Any], message: str, path: str) -> str:
        """A message of several lines is an argument, any other goes by stdin."""
        if "\n" in message:
            return str(self._answer(device, "signmessage", message, path)["signature"])
        quoted = " ".join('"' + each.replace("\\", "\\\\").replace('"', '\\"') + '"' for each in (message, path))
        return str(self._answer(device, "--stdin", stdin=f"signmessage {quoted}")["signature"])
