"""Every command without a terminal: answers for programs, exit codes, refusals."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptnox_core.card import Card
from cryptnox_core.transport.tcp import RemoteTransport
from hwilib_cryptnox.ctl.main import COMMANDS, cli
from hwilib_cryptnox.psbt import Psbt
from tests.ctl.program import PIN, PUK, SCHEMAS, SEED, answer, run, schemas
from tests.psbt.factory import ME, OTHER, In, Out, Wallet, deriv, draft, multisig, out_deriv, p2wpkh, p2wsh, spend
from tests.psbt.signing import check_on_kernel
from tests.support.emulator import MNEMONIC, EmulatorProcess

ADDRESS = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"
"""The first segwit address of the mnemonic "abandon ... about", as in BIP84."""


# Looking


def test_list_and_info(card: EmulatorProcess) -> None:
    entry = answer(card, "list")["readers"][0]
    assert (entry["serial"], entry["state"], entry["type"]) == (str(card.serial), "ready", "Basic")
    info = answer(card, "info")
    assert (info["initialised"], info["seeded"], info["xpub_export"], info["pin_tries_left"]) == (True, True, True, 6)
    stats = card.stats()
    assert (stats["pin_tries"], stats["signatures"]) == (0, 0)
    lines = run(card, "list").stdout.splitlines()
    assert lines[1].split("\t")[1] == str(card.serial)
    assert "\x1b" not in run(card, "info").stdout


def test_info_of_a_card_from_the_factory(fresh: EmulatorProcess) -> None:
    info = answer(fresh, "info")
    assert (info["initialised"], info["key_source"], info["pin_tries_left"]) == (False, None, None)
    assert answer(fresh, "pin", "tries", code=1)["hint"].endswith("cryptnoxctl setup")


def test_info_of_an_nft_card() -> None:
    with EmulatorProcess("--type", "N", "--pin", PIN) as nft:
        assert answer(nft, "info")["type"] == "NFT"
        assert "NFT" in answer(nft, "list")["readers"][0]["type"]


def test_nobody_there() -> None:
    assert answer(None, "info", "--reader", "tcp:127.0.0.1:1", code=3)["exit_code"] == 3
    assert answer(None, "info", code=3)["hint"]
    assert answer(None, "list")["readers"] == []
    assert "cryptnoxctl doctor" in run(None, "list").stdout


def test_busy_card(card: EmulatorProcess) -> None:
    import socket

    with socket.create_connection((card.host, card.port)):
        answer(card, "info", code=3, CRYPTNOX_WAIT="0.2")


def test_doctor(card: EmulatorProcess) -> None:
    findings = {entry["check"]: entry for entry in answer(card, "doctor", code=3, schema="doctor")["findings"]}
    assert findings["PC/SC service"]["verdict"] == "bad"
    assert "pcscd" in findings["PC/SC service"]["remedy"]
    assert findings[f"card in {card.path}"]["verdict"] == "good"
    assert card.stats()["pin_tries"] == 0


def test_an_emulated_card_is_never_called_genuine(card: EmulatorProcess) -> None:
    """Anybody can sign for one: not on the screen, not in JSON, and not with `require_genuine`."""
    assert answer(card, "info")["genuine"] == "emulated"
    (found,) = answer(card, "list")["readers"]
    assert found["genuine"] == "emulated"
    for command in ("info", "list", "doctor"):
        assert "genuine" not in re.sub("Genuine|require_genuine", "", run(card, command).stdout), command
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "hwi-cryptnox"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("require_genuine = true\n")
    before = card.stats()["by_ins"]["20"]
    assert answer(card, "list")["readers"][0]["genuine"] == "emulated"
    text = "An emulated card is not genuine, and the configuration requires a genuine one"
    for words in (["xpub", "m/84h/0h/0h", "--stdinpass"], ["pin", "tries"], ["puk", "change"]):
        assert text in answer(card, *words, stdin=f"{PIN}\n", code=3)["error"]
    assert answer(card, "info")["problem"] == text
    assert card.stats()["by_ins"]["20"] == before


def test_choosing_a_card(card: EmulatorProcess) -> None:
    assert answer(None, "info", "--card", card.path)["serial"] == str(card.serial)
    assert answer(None, "--reader", card.path, "info", schema="info")["serial"] == str(card.serial)
    assert answer(card, "info", "--card", str(card.serial))["serial"] == str(card.serial)
    assert answer(card, "info", "--card", f"cryptnox:{card.serial}")["serial"] == str(card.serial)
    answer(card, "info", "--card", "12345", code=3)
    answer(card, "info", "--card", "no-number", code=2)


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_looking_at_one_card(card: EmulatorProcess, command: str) -> None:
    """Only at the one that is named; what is not there is an error here too."""

    def looked_at(*options: str, there: EmulatorProcess | None = None, code: int = 0) -> list[str]:
        data = answer(there, command, *options, code=code, schema=command)
        if command == "list":
            return [str(entry["serial"]) for entry in data["readers"]]
        return [entry["finding"] for entry in data["findings"] if entry["check"].startswith("card")]

    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export", "--serial", str(2**60)) as other:
        for option in ("--card", "--reader"):
            (found,) = looked_at(option, other.path, there=card)
            assert str(other.serial) in found
    elsewhere = 0 if command == "list" else 3  # there is no PC/SC service here
    (found,) = looked_at("--card", str(card.serial), there=card, code=elsewhere)
    assert str(card.serial) in found
    for options in (("--card", "12345"), ("--card", "tcp:127.0.0.1:1"), ("--reader", "tcp:127.0.0.1:1"),
                    ("--reader", "no such")):  # fmt: skip
        if command == "list":
            answer(card, command, *options, code=3)
        else:
            assert len(looked_at(*options, there=card, code=3)) == 1
    answer(card, command, "--card", "no-number", code=2)
    assert card.stats()["by_ins"].get("20") is None


# PIN and PUK


def test_pin_sources_and_codes(card: EmulatorProcess, tmp_path: Path) -> None:
    assert answer(card, "pin", "tries", schema="pin tries")["pin_tries_left"] == 6
    refused = answer(card, "pin", "verify", pin=None, code=4)
    assert "terminal" in refused["error"]
    assert answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")["verified"]
    answer(card, "pin", "verify", "--stdinpass", stdin="", pin=None, code=4)
    answer(card, "pin", "verify", "--stdinpass", stdin="password\n", pin=None, code=4)
    assert card.stats()["pin_tries"] == 0
    answer(card, "pin", "verify", "--stdinpass", stdin="999999\n", pin=None, code=4)
    assert card.stats()["pin_tries"] == 1
    # An automatic source keeps still after a refusal, until an explicit PIN was right.
    answer(card, "xpub", "m/84h/0h/0h", code=4)
    answer(card, "xpub", "m/84h/0h/0h", code=4, pin="111111")
    assert card.stats()["pin_tries"] == 1
    answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")
    answer(card, "xpub", "m/84h/0h/0h", schema="xpub show")


def test_wrong_puk(card: EmulatorProcess) -> None:
    assert "Wrong PUK" in answer(card, "xpub", "off", "--stdinpuk", stdin="111111111111\n", code=4)["error"]
    answer(card, "xpub", "off", "--stdinpuk", stdin="short\n", code=4)
    assert card.stats()["puk_tries"] == 1


def test_secrets_have_no_option() -> None:
    """Nothing takes a PIN, PUK, seed or key as an argument, the emulated card's test secrets aside."""

    def options(command: click.Command, name: str) -> list[tuple[str, str]]:
        found = [(name, option) for parameter in command.params for option in parameter.opts]
        if isinstance(command, click.Group):
            context = click.Context(command)
            for child in command.list_commands(context):
                inner = command.get_command(context, child)
                assert inner is not None
                found += options(inner, f"{name} {child}")
        return found

    secret = {"--pin", "--puk", "--password", "--passphrase", "--mnemonic", "--key", "-p"}
    assert {name for name, option in options(cli, "") if option in secret} == {" emulator"}


def test_an_emulated_card_elsewhere_is_reopened(tmp_path: Path) -> None:
    """Named by --card, it needs no further leave when it comes back during a signing."""
    path = tmp_path / "x.psbt"
    path.write_bytes(base64.b64decode(draft(spend("p2wpkh"), spend("p2wpkh", 1)).base64()))
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--fault", "remove@C0:2") as card:
        assert answer(None, "sign", "--yes", "--card", f"tcp:0.0.0.0:{card.port}", str(path))["complete"]
        assert card.stats()["signatures"] == 2


def test_what_needs_a_terminal_says_so(card: EmulatorProcess, fresh: EmulatorProcess) -> None:
    assert "terminal" in answer(card, "pin", "change", "--stdinpass", stdin=f"{PIN}\n", pin=None, code=2)["error"]
    assert "terminal" in answer(fresh, "setup", code=2)["error"]
    assert "terminal" in answer(card, "backup", "check", code=2)["error"]
    assert answer(card, "adopt")["needed"] == []


# Keys


def test_addresses() -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--xpub-export") as card:
        data = answer(card, "address", "0-3")
        assert data["addresses"][0] == {
            "path": "m/84h/0h/0h/0/0",
            "address": ADDRESS,
            "public_key": "0330d54fd0dd420a6e5f8d3624f5f3482cae350f79d5f0753bf5beef9c2d91af3c",
        }
        assert len(data["addresses"]) == 4
        found = {
            kind: answer(card, "address", "--type", kind)["addresses"][0]["address"]
            for kind in ("p2pkh", "p2sh-p2wpkh")
        }
        assert found == {
            "p2pkh": "1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA",
            "p2sh-p2wpkh": "37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf",
        }
        assert "tweak" in answer(card, "address", "--type", "p2tr", code=1)["error"]
        assert answer(card, "address", "--chain", "regtest")["addresses"][0]["address"].startswith("bcrt1q")
        check = answer(card, "address", "--check", ADDRESS, schema="address --check")
        assert (check["ours"], check["path"]) == (True, "m/84h/0h/0h/0/0")
        change = answer(card, "address", "7", "--change")["addresses"][0]
        assert answer(card, "address", "--check", change["address"], schema="address --check")["path"] == change["path"]
        other = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"
        assert not answer(card, "address", "--check", other, schema="address --check", code=1)["ours"]
        answer(card, "address", "--check", "nonsense", code=5)
        answer(card, "address", "5-2", code=2)


def test_keys_without_export(bare: EmulatorProcess) -> None:
    assert answer(bare, "address", "0-1")["addresses"][1]["public_key"] == ME.key("m/84h/0h/0h/0/1").hex()
    assert "xpub on" in answer(bare, "xpub", "m/84h/0h/0h", code=4)["error"]
    assert answer(bare, "xpub", "on", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub on")["xpub_export"]
    line = run(bare, "xpub", "m/84h/0h/0h").stdout.strip()
    assert line == f"[{ME.fingerprint.hex()}/84h/0h/0h]{ME.account('m/84h/0h/0h').to_string()}"
    assert answer(bare, "xpub", "m/84h/0h/0h", schema="xpub show")["origin"] == line
    assert not answer(bare, "xpub", "off", "--stdinpuk", stdin=f"{PUK}\n", schema="xpub off")["xpub_export"]


def test_descriptors_and_exports(card: EmulatorProcess, tmp_path: Path) -> None:
    import bdkpython as bdk

    shown = answer(card, "descriptors")["descriptors"]
    assert [entry["type"] for entry in shown] == ["p2pkh", "p2sh-p2wpkh", "p2wpkh"]
    for entry in shown:
        for name in ("receive", "change"):
            bdk.Descriptor(entry[name], bdk.NetworkKind.MAIN)
    for form in ("key-line", "descriptor", "coldcard", "electrum", "core"):
        data = answer(card, "export", form)
        piped = run(card, "export", form).stdout
        assert piped == data["content"]
        assert ME.fingerprint.hex() in piped.lower()
    assert not run(card, "export", "key-line").stdout.endswith("\n")
    target = tmp_path / "wallet.json"
    assert answer(card, "export", "electrum", "--output", str(target))["file"] == str(target)
    answer(card, "export", "electrum", "--output", str(target), code=2)
    assert run(card, "export", "electrum", "--output", str(target), "--force").returncode == 0
    json.loads(target.read_text())


def test_multisig_export(card: EmulatorProcess, tmp_path: Path) -> None:
    other = tmp_path / "other"
    key = OTHER.account("m/48h/0h/0h/2h").to_string()
    other.write_text(f"[{OTHER.fingerprint.hex()}/48h/0h/0h/2h]{key}")
    words = ("--type", "p2wsh", "--threshold", "2", "--cosigner", str(other))
    text = answer(card, "export", "descriptor", *words)["content"]
    assert text.startswith("wsh(sortedmulti(2,")
    answer(card, "export", "descriptor", "--threshold", "2", code=2)
    answer(card, "export", "coldcard", *words, code=2)


def test_messages(card: EmulatorProcess) -> None:
    for options in ((), ("--bip322",)):
        made = answer(card, "message", "sign", "hello", *options, schema="message sign")
        for text, good in (("hello", True), ("hello!", False)):
            words = ("message", "verify", made["address"], made["signature"], text)
            data = answer(None, *words, schema="message verify", code=0 if good else 5)
            assert data["valid"] is good
    answer(None, "message", "verify", ADDRESS, "AAAA", "x", code=5)
    assert run(card, "message", "sign", "-", stdin="hello").returncode == 0


@pytest.mark.parametrize("words", [["sign"], ["sign", "--bip322"], ["verify", "ADDRESS", "AAAA"]])
@pytest.mark.parametrize("message", [b"\xff", b"caf\xe9", b"\xed\xa0\x80"])
def test_a_message_that_is_no_text(card: EmulatorProcess, words: list[str], message: bytes) -> None:
    """From the command line and from stdin; no signature is asked for."""
    words = [ADDRESS if word == "ADDRESS" else word for word in words]
    command, options = ["message", words[0]], words[1:]
    for given, stdin in ((message, b""), (b"-", message)):
        # Only bytes get through unchanged, whatever the locale.
        done = run(card, *map(os.fsdecode, (*command, *options, given, "--json")), stdin=stdin)
        assert done.returncode == 5 and json.loads(done.stdout)["error"] == "the message: this is no text (UTF-8)"
    assert card.stats()["signatures"] == 0


def test_what_a_cards_name_may_hold(fresh: EmulatorProcess) -> None:
    """Neither a control nor a character that turns the direction of writing reaches a terminal; in JSON it is escaped,
    and what is read from there is the name."""
    name = "\x1b[2J\u202e\u2066é\u200b\x7f"
    with Card(RemoteTransport.connect(fresh.host, fresh.port)) as blank:
        blank.init(name, "a\u2028b\U000e0001@example.org", pin=PIN, puk=PUK)
    done = run(fresh, "info", "--json")
    assert json.loads(done.stdout)["name"] == name
    assert json.loads(done.stdout)["email"] == "a\u2028b\U000e0001@example.org"
    for text in (done.stdout, run(fresh, "info").stdout):
        assert "é" in text
        odd = {char for char in text if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"} - {"\n", "\t"}
        assert odd <= ({"\u2028"} if text != done.stdout else set())


def test_legacy_message_against_hwilib(card: EmulatorProcess) -> None:
    import bdkpython  # noqa: F401 - the environment is the tests'
    from embit import ec as embit_ec

    from hwilib_cryptnox.signer.messages import message_digest

    made = answer(card, "message", "sign", "hello", "--path", "m/44h/0h/0h/0/0", schema="message sign")
    raw = base64.b64decode(made["signature"])
    key = embit_ec.PublicKey.parse(ME.key("m/44h/0h/0h/0/0"))
    from embit.util import secp256k1

    assert key.verify(embit_ec.Signature(secp256k1.ecdsa_signature_parse_compact(raw[1:])), message_digest("hello"))


# Transactions


def _pay(folder: Path, name: str = "pay.psbt", form: str = "binary") -> tuple[Path, object]:
    made = draft(spend("p2wpkh", 0), spend("p2pkh", 1), spend("p2sh-p2wpkh", 2))
    path = folder / name
    text = {"binary": made.encode(), "base64": made.base64().encode(), "hex": made.encode().hex().encode()}[form]
    path.write_bytes(text)
    return path, made


def test_the_raw_transaction_is_put_beside_the_result(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = _pay(tmp_path)
    (tmp_path / "there").mkdir()
    answer(card, "sign", "--yes", "--finalize", "--output", str(tmp_path / "there" / "a.psbt"), str(path))
    assert {entry.name for entry in (tmp_path / "there").iterdir()} == {"a.psbt", "pay-final.hex"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"pay.psbt", "there"}


@pytest.mark.parametrize("form", ["binary", "base64", "hex"])
def test_sign_a_file(card: EmulatorProcess, tmp_path: Path, form: str) -> None:
    path, made = _pay(tmp_path, form=form)
    data = answer(card, "sign", "--yes", "--finalize", str(path))
    signed = (tmp_path / "pay-signed.psbt").read_bytes()
    assert Psbt.parse(signed).form.value == form
    transaction = check_on_kernel(Psbt.parse(signed), made)  # type: ignore[arg-type]
    assert bytes.fromhex((tmp_path / "pay-final.hex").read_text()) == transaction == bytes.fromhex(data["transaction"])
    assert (data["signatures"], data["complete"]) == (3, True)
    assert (data["review"]["fee"], data["review"]["our_inputs"]) == (10_000, 3)
    # Never over an existing file without being told; nothing is signed for it either.
    answer(card, "sign", "--yes", str(path), code=2)
    assert card.stats()["signatures"] == 3
    assert (tmp_path / "pay-signed.psbt").read_bytes() == signed


def test_sign_from_stdin_to_stdout(card: EmulatorProcess, tmp_path: Path) -> None:
    path, made = _pay(tmp_path, form="base64")
    done = run(card, "sign", "--yes", "-", stdin=path.read_bytes())
    check_on_kernel(Psbt.parse(done.stdout), made)  # type: ignore[arg-type]
    assert "BTC" in done.stderr
    done = run(card, "sign", "--yes", "-q", "--stdinpass", "-", stdin=f"{PIN}\n".encode() + path.read_bytes(), pin=None)
    check_on_kernel(Psbt.parse(done.stdout), made)  # type: ignore[arg-type]
    assert done.stderr == ""


def test_a_final_file_needs_no_card(card: EmulatorProcess, tmp_path: Path) -> None:
    """Its raw transaction is had without card and PIN, whosever it is."""
    path, at = tmp_path / "final.psbt", "m/84h/0h/0h/0/0"
    witness = b"\x02\x02ab\x03key"
    path.write_bytes(draft(In(p2wpkh(ME.key(at)), fields=[deriv(at), (b"\x08", witness)])).encode())
    data = answer(card, "sign", "--yes", "--finalize", str(path), pin=None)
    assert (data["signatures"], data["complete"]) == (0, True)
    assert (tmp_path / "final-signed.psbt").read_bytes() == path.read_bytes()
    assert witness in bytes.fromhex((tmp_path / "final-final.hex").read_text())
    assert card.stats()["apdus"] == 0


def test_nothing_is_signed_without_yes(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = _pay(tmp_path)
    assert "--yes" in answer(card, "sign", str(path), code=2)["hint"]
    assert card.stats()["apdus"] == 0


def test_bad_transactions_are_input_errors(card: EmulatorProcess, tmp_path: Path) -> None:
    path = tmp_path / "bad.psbt"
    path.write_bytes(b"psbt\xff\x00nonsense")
    answer(card, "sign", "--yes", str(path), code=5)
    answer(None, "verify", str(path), code=5)
    path.write_bytes(b"")
    answer(card, "sign", "--yes", str(path), code=5)
    answer(card, "sign", "--yes", str(tmp_path / "absent"), code=2)
    lie = draft(spend("p2wpkh", 0, fields=[deriv("m/84h/0h/0h/0/1", key=ME.key("m/84h/0h/0h/0/0"))]))
    path.write_bytes(lie.encode())
    assert "input 0" in answer(card, "sign", "--yes", str(path), code=5)["error"]
    assert card.stats()["signatures"] == 0


def _multisig_pay(folder: Path, threshold: int = 2, name: str = "multi") -> tuple[Path, str]:
    """A 2-of-2 with OTHER, its change (of another threshold, where that is given), and the wallet's descriptor."""
    account = "m/48h/0h/0h/2h"

    def script(branch: int, number: int, needed: int = 2) -> bytes:
        return multisig(needed, sorted(wallet.key(f"{account}/{branch}/{number}") for wallet in (ME, OTHER)))

    spent, change = script(0, 0), script(1, 5, threshold)
    fields = [deriv(f"{account}/0/0"), deriv(f"{account}/0/0", OTHER), (b"\x05", spent)]
    back = [out_deriv(f"{account}/1/5"), out_deriv(f"{account}/1/5", OTHER), (b"\x01", change)]
    outs = [Out(p2wpkh(OTHER.key("m/0")), 50_000), Out(p2wsh(change), 49_000, back)]
    path = folder / f"{name}.psbt"
    path.write_bytes(draft(In(p2wsh(spent), 100_000, fields), outs=outs).encode())
    keys = [
        f"[{wallet.fingerprint.hex()}/48h/0h/0h/2h]{wallet.account(account).to_string()}/<0;1>/*"
        for wallet in (ME, OTHER)
    ]
    return path, f"wsh(sortedmulti(2,{','.join(keys)}))"


def test_multisig_change_is_proved_by_the_wallet(card: EmulatorProcess, tmp_path: Path) -> None:
    """What --wallet disproves is refused: change that is not its, and inputs that are not."""
    path, descriptor = _multisig_pay(tmp_path)
    before = answer(None, "verify", str(path))["inputs"][0]
    assert (before["needed"], len(before["missing"]), before["complete"]) == (2, 2, False)
    data = answer(card, "sign", "--yes", str(path))
    review = data["review"]
    assert [output["change"] for output in review["outputs"]] == [False, False]
    assert (review["payments"], review["sent"], review["change"], review["net"]) == (2, 99_000, 0, 100_000)
    assert (data["complete"], data["missing"]) == (False, "input 0: 1 of 2 signatures are there")
    data = answer(card, "sign", "--yes", "--force", "--wallet", descriptor, str(path))
    review = data["review"]
    assert [output["change"] for output in review["outputs"]] == [False, True]
    assert (review["payments"], review["sent"], review["change"], review["net"]) == (1, 50_000, 49_000, 51_000)
    made = card.stats()["signatures"]
    for other in (descriptor.replace("sortedmulti(2", "sortedmulti(1"), _mixed_pay_descriptor(descriptor)):
        refused = answer(card, "sign", "--yes", "--force", "--wallet", other, str(path), code=5)
        assert "--wallet" in refused["error"]
    answer(card, "sign", "--yes", "--force", "--wallet", "wsh(nonsense)", str(path), code=5)
    stolen = tmp_path / "stolen.psbt"
    stolen.write_bytes(_multisig_pay(tmp_path, threshold=1, name="other")[0].read_bytes())
    refused = answer(card, "sign", "--yes", "--wallet", descriptor, str(stolen), code=5)
    assert "output 1" in refused["error"] and not (tmp_path / "stolen-signed.psbt").exists()
    assert card.stats()["signatures"] == made
    after = answer(None, "verify", str(tmp_path / "multi-signed.psbt"))["inputs"][0]
    assert [entry["fingerprint"] for entry in after["signed"]] == [ME.fingerprint.hex()]
    assert [entry["fingerprint"] for entry in after["missing"]] == [OTHER.fingerprint.hex()]


def _mixed_pay_descriptor(descriptor: str) -> str:
    """The same wallet with somebody else's key in the place of one."""
    stranger = Wallet(b"a third party's seed, nobody knows")
    account = "m/48h/0h/0h/2h"
    return descriptor.replace(OTHER.account(account).to_string(), stranger.account(account).to_string())


def test_verify_finds_a_bad_signature(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = _pay(tmp_path)
    answer(card, "sign", "--yes", str(path))
    signed = bytearray((tmp_path / "pay-signed.psbt").read_bytes())
    assert answer(None, "verify", str(tmp_path / "pay-signed.psbt"))["complete"]
    at = signed.index(
        b"\x30", signed.index(ME.key("m/84h/0h/0h/0/0"), signed.index(b"\x02" + ME.key("m/84h/0h/0h/0/0")))
    )
    signed[at + 20] ^= 1
    (tmp_path / "pay-signed.psbt").write_bytes(signed)
    data = answer(None, "verify", str(tmp_path / "pay-signed.psbt"), code=5, schema="verify")
    assert data["bad_signatures"] and not data["inputs"][0]["complete"]


def test_nothing_left_to_sign_touches_no_pin(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = _pay(tmp_path)
    answer(card, "sign", "--yes", str(path))
    data = answer(card, "sign", "--yes", str(tmp_path / "pay-signed.psbt"))
    assert data["signatures"] == 0
    assert card.stats()["signatures"] == 3


# Audit


def test_audit_names_what_was_signed_behind_its_back(card: EmulatorProcess, tmp_path: Path) -> None:
    path, _ = _pay(tmp_path)
    answer(card, "sign", "--yes", str(path))
    answer(card, "message", "sign", "hello", schema="message sign")
    answer(card, "message", "sign", "hello", "--bip322", schema="message sign")
    data = answer(card, "audit")
    assert (data["signature_counter"], data["compared"], data["elsewhere"]) == (5, 5, [])
    digest = bytes(range(32))
    sign_with_vendor_sdk(card, digest)
    data = answer(card, "audit", code=1, schema="audit")
    assert [entry["digest"] for entry in data["elsewhere"]] == [digest.hex()]
    assert run(card, "audit").returncode == 1
    entries = answer(card, "history", "--limit", "3")["entries"]
    assert [entry["made_here"] for entry in entries] == [False, True, True]
    with_transaction = answer(card, "history")["entries"][-1]
    assert len(with_transaction["txid"]) == 64


def sign_with_vendor_sdk(card: EmulatorProcess, digest: bytes) -> None:
    import socket

    sdk = pytest.importorskip("cryptnox_sdk_py", reason="the vendor's SDK needs Python 3.11")
    with socket.create_connection((card.host, card.port)) as connection:
        theirs = sdk.factory.get_card(sdk.Connection(0, remote=True, conn=[connection]))
        theirs.verify_pin(PIN)
        theirs.derive(path="m/84'/0'/0'/0/0")
        theirs.sign(digest, sdk.Derivation.CURRENT_KEY, pin=PIN)


# Keeping


def test_data_of_a_card_with_the_other_form_of_the_length(tmp_path: Path) -> None:
    """It breaks off the channel at the first page; a second channel reads it, and no try is spent."""
    source = tmp_path / "in"
    source.write_bytes(b"kept")
    with EmulatorProcess("--seed", SEED, "--reading", "mac-len-value-only") as card:
        assert answer(card, "data", "write", str(source), schema="data write")["bytes"] == 4
        before = card.stats()["by_ins"]
        assert answer(card, "data", "read", schema="data read")["hex"] == b"kept".hex()
        after = card.stats()
        assert after["by_ins"]["FA"] - before["FA"] == 2 and after["by_ins"]["11"] - before["11"] == 2
        assert after["pin_tries"] == 0


def test_data_and_custom_bytes(card: EmulatorProcess, tmp_path: Path) -> None:
    content = bytes(range(256)) * 10
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(content)
    assert answer(card, "data", "write", str(source), schema="data write")["bytes"] == 2560
    assert answer(card, "data", "read", schema="data read")["hex"] == content.hex()
    assert run(card, "data", "read", "--output", str(target)).returncode == 0
    assert target.read_bytes() == content
    answer(card, "data", "write", "-", stdin="other", code=2)
    answer(card, "data", "write", "--yes", "-", stdin="other", schema="data write")
    assert run(card, "data", "read").stdout == "other"
    answer(card, "data", "write", "--custom", "-", stdin="too short", code=5)
    answer(card, "data", "write", "--custom", "-", stdin="sixteen bytes ok", schema="data write")
    assert answer(card, "data", "read", "--custom", schema="data read")["hex"] == b"sixteen bytes ok".hex()
    source.write_bytes(bytes(3601))
    answer(card, "data", "write", str(source), code=5)


def test_owner_and_pairing(card: EmulatorProcess, tmp_path: Path) -> None:
    assert answer(card, "owner")["name"] == ""
    puk = {"stdin": f"{PUK}\n"}
    assert answer(card, "pairing", "change", "--stdinpuk", schema="pairing change", **puk)["own_pairing_key"]
    assert answer(card, "info")["own_pairing_key"]
    answer(card, "pairing", "change", "--stdinpuk", code=4, stdin="111111111111\n")
    assert answer(card, "pin", "tries", schema="pin tries")["pin_tries_left"] == 6
    exported = tmp_path / "key"
    answer(card, "pairing", "export", str(exported), schema="pairing export")
    answer(card, "pairing", "export", str(exported), code=2)
    answer(card, "pairing", "recover", "--file", str(exported), schema="pairing recover")
    assert answer(card, "pairing", "recover", schema="pairing recover")["own_pairing_key"], "nothing to recover"
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    answer(card, "pairing", "recover", "--stdinpuk", code=4, stdin="111111111111\n", **elsewhere)
    words = ("pairing", "recover", "--stdinpuk")
    assert not answer(card, *words, schema="pairing recover", **puk, **elsewhere)["own_pairing_key"]
    assert card.stats()["puk_tries"] == 1
    # Here the card is back on the common key: that is found out without a PUK.
    assert not answer(card, "pairing", "recover", schema="pairing recover")["own_pairing_key"]
    assert not answer(card, "info")["own_pairing_key"]
    answer(card, "pairing", "export", str(exported) + "2", code=1)
    answer(card, "pairing", "change", "--stdinpuk", **puk, schema="pairing change")
    answer(card, "pairing", "change", "--common", "--stdinpuk", **puk, schema="pairing change")


def test_pinless_path(card: EmulatorProcess) -> None:
    puk = {"stdin": f"{PUK}\n"}
    answer(card, "pinless", "set", "m/44h/0h/0h", "--stdinpuk", code=2, **puk)
    answer(card, "pinless", "set", "m/43h/60h/1581h/0", "--stdinpuk", schema="pinless set", **puk)
    assert answer(card, "info")["pinless_path"]
    answer(card, "pinless", "clear", "--stdinpuk", schema="pinless clear", **puk)
    assert not answer(card, "info")["pinless_path"]


@pytest.mark.parametrize("slot", ["ec", "rsa"])
def test_user_keys(card: EmulatorProcess, tmp_path: Path, slot: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if slot == "ec" else rsa.generate_private_key(65537, 2048)
    public, private = tmp_path / "public.pem", tmp_path / "private.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    puk = {"stdin": f"{PUK}\n"}
    off = ("pin-auth", "off", "--yes", "--stdinpuk")
    assert "signs with user keys" in answer(card, *off, code=1, **puk)["error"]
    assert "user-key add" in answer(card, *off, "--cannot-sign-here", code=1, **puk)["hint"]
    answer(card, "user-key", "add", slot, str(private), "--stdinpuk", code=5, **puk)
    answer(card, "user-key", "add", slot, str(public), "--text", "door", "--stdinpuk", schema="user-key add", **puk)
    listed = answer(card, "user-key", "list", schema="user-key list")["user_keys"]
    assert [(entry["slot"], entry["text"]) for entry in listed] == [(slot, "door")]
    assert answer(card, "user-key", "test", slot, str(private), schema="user-key test")["accepted"]
    stranger = tmp_path / "stranger.pem"
    other = ec.generate_private_key(ec.SECP256R1()) if slot == "ec" else rsa.generate_private_key(65537, 2048)
    stranger.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    assert not answer(card, "user-key", "test", slot, str(stranger), schema="user-key test", code=1)["accepted"]
    answer(card, *off, code=1, **puk)
    assert answer(card, "info")["pin_auth"]
    assert not answer(card, *off, "--cannot-sign-here", schema="pin-auth off", **puk)["pin_auth"]
    refused = answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, code=4)
    assert "pin-auth on" in refused["hint"]
    assert answer(card, "pin-auth", "on", "--stdinpuk", schema="pin-auth on", **puk)["pin_auth"]
    answer(card, "user-key", "delete", slot, "--stdinpuk", schema="user-key delete", **puk)
    assert answer(card, "user-key", "list", schema="user-key list")["user_keys"] == []


def test_reset_and_forget(card: EmulatorProcess) -> None:
    answer(card, "pin", "verify", "--stdinpass", stdin=f"{PIN}\n", pin=None, schema="pin verify")
    assert answer(None, "forget", "all")["forgotten"] == [str(card.serial)]
    assert answer(None, "forget", str(card.serial))["forgotten"] == []
    answer(None, "forget", "everything", code=2)
    answer(card, "reset", "--serial", "1", "--stdinpuk", stdin=f"{PUK}\n", code=1)
    assert card.stats()["by_ins"].get("FD", 0) == 0
    assert answer(card, "reset", "--serial", str(card.serial), "--stdinpuk", stdin=f"{PUK}\n")["reset"]
    assert not answer(card, "info")["initialised"]


def test_backup_of_a_second_card(card: EmulatorProcess) -> None:
    with EmulatorProcess("--seed", SEED, "--serial", str(1 << 60)) as second:
        same = answer(card, "backup", "check", "--second", second.path, schema="backup check")
        assert same["same"]
    with EmulatorProcess("--mnemonic", MNEMONIC) as third:
        data = answer(card, "backup", "check", "--second", third.path, schema="backup check", code=5)
        assert not data["same"]


# The program


def test_hwi_switch() -> None:
    assert answer(None, "hwi", "status", schema="hwi status")["enabled"] in (True, False)


def test_relay(card: EmulatorProcess) -> None:
    import signal
    import socket

    from tests.ctl.program import COMMAND, environment

    child = subprocess.Popen(
        [*COMMAND, "relay", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(card),
    )
    try:
        assert child.stdout is not None
        ready = child.stdout.readline()
        assert ready.startswith("ready listen=127.0.0.1:")
        where = ready.split()[1].removeprefix("listen=")
        assert answer(None, "info", "--reader", f"tcp:{where}")["serial"] == str(card.serial)
        host, _, port = where.rpartition(":")
        with socket.create_connection((host, int(port)), 5) as silent:
            busy = answer(None, "info", "--reader", f"tcp:{where}", code=3, CRYPTNOX_WAIT="0.2")
            assert "serving another program" in busy["error"]
            name = "{}:{}".format(*silent.getsockname())
            assert child.stderr is not None
            assert f"was turned away: {name} is using the card" in child.stderr.readline()
        answer(None, "info", "--reader", f"tcp:{where}")
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    done = run(card, "relay", "--listen", "0.0.0.0:0")
    assert done.returncode == 2
    assert "--remote" in done.stderr or "remote" in done.stderr


@pytest.mark.parametrize("words", [(), ("pin",)])
def test_no_command_is_a_usage_error(words: tuple[str, ...]) -> None:
    """With every click that is admitted; the help is on stderr, where no program takes it for an answer."""
    done = run(None, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(" ".join(["Usage: cryptnoxctl", *words])) and "Commands:" in done.stderr


def test_usage_errors() -> None:
    assert run(None, "nonsense").returncode == 2
    assert answer(None, "nonsense", code=2)["error"]
    assert answer(None, "sign", code=2)["error"]
    assert run(None, "--help").returncode == 0
    assert "hwi-cryptnox" in run(None, "--version").stdout or run(None, "--version").returncode == 0


def test_every_command_has_help_and_json() -> None:
    for name, (_, line) in COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None and line
        leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
        for leaf in leaves:
            help_text = leaf.get_help(click.Context(leaf))
            assert leaf.help, (name, leaf.name)
            assert name == "emulator" or "--json" in help_text


def test_commands_are_loaded_when_they_are_named() -> None:
    code = (
        "import sys; from hwilib_cryptnox.ctl.main import main; main(['--help']);"
        "print([n for n in sys.modules if n.split('.')[0] in ('rich','smartcard','coincurve','embit','cryptography')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    done = run(None, _CRYPTNOXCTL_COMPLETE=f"{shell}_source")
    assert done.returncode == 0
    assert "cryptnoxctl" in done.stdout


def test_completion_knows_the_commands() -> None:
    done = run(None, _CRYPTNOXCTL_COMPLETE="bash_complete", COMP_WORDS="cryptnoxctl pa", COMP_CWORD="1")
    assert "pairing" in done.stdout


def test_schemas_are_schemas() -> None:
    import jsonschema

    assert SCHEMAS.exists()
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_settings_that_make_no_sense() -> None:
    assert "CRYPTNOX_WAIT" in answer(None, "info", code=2, CRYPTNOX_WAIT="soon")["error"]
