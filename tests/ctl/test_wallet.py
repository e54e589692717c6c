"""`wallet`, and what a registered wallet changes in `sign`, `address` and `verify`: by the card, and by attackers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwilib_cryptnox.export.imports import wallet_file
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.signer.registered.registration import Registration
from hwilib_cryptnox.signer.wallets import WalletPolicy
from hwilib_cryptnox.storage.state import State
from hwilib_cryptnox.storage.wallets import WalletStore
from tests.ctl.payments import multisig_pay
from tests.ctl.program import PIN, SEED, answer, dialogue, ended, run, shown, terminal
from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, multisig, out_deriv, p2wpkh, p2wsh
from tests.signer.test_wallets import ACCOUNT, FAMILY, RECOVERY, THIRD, key, keys
from tests.support.emulator import EmulatorProcess

PAIR = f"wsh(sortedmulti(2,{keys(ME, OTHER)}))"
"""That of `multisig_pay`."""
OTHERS_SEED = b"another seed, of the other party".hex()
ASKED = ("PIN of card", PIN)


@pytest.fixture
def second() -> Iterator[EmulatorProcess]:
    """The card of the other signer."""
    with EmulatorProcess("--seed", OTHERS_SEED, "--xpub-export", "--serial", str(2**60 + 9)) as process:
        yield process


def add(card: EmulatorProcess, name: str, source: object, **options: object) -> dict[str, object]:
    return answer(card, "wallet", "add", name, str(source), "--yes", schema="wallet add", **options)  # type: ignore[arg-type]


def refused(card: EmulatorProcess | None, name: str, source: object, *, code: int = 5) -> str:
    return str(answer(card, "wallet", "add", name, str(source), "--yes", code=code)["error"])


def names() -> list[str]:
    return [entry["name"] for entry in answer(None, "wallet", "list", schema="wallet list")["wallets"]]


def signatures(card: EmulatorProcess) -> int:
    return int(card.stats()["signatures"])


def store() -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "hwi-cryptnox" / "wallets.json"


# By the card


def test_a_person_adds_a_wallet(card: EmulatorProcess) -> None:
    """The policy, every key with who it is, the first addresses; asked once, one signature."""
    with terminal(card, "wallet", "add", "Family", FAMILY) as child:
        dialogue(child, ASKED, ('Register "Family" with one signature?', "y"))
        assert ended(child) == 0
        seen = shown(child)
    policy = WalletPolicy.parse(FAMILY)
    for text in (
        '"Family"',
        "2 of 3 must sign",
        f"Key 1: this card, {card.serial}, {ME.fingerprint.hex()}/48h/0h/0h/2h",
        f"Key 2: another signer, {OTHER.fingerprint.hex()}/48h/0h/0h/2h",
        f"Key 3: another signer, {THIRD.fingerprint.hex()}/48h/0h/0h/2h",
        'Registered: "Family" with the card',
    ):
        assert text in seen, text
    whole = "".join(seen.replace("\x1b[2m", "").replace("\x1b[0m", "").split())
    for wallet in (ME, OTHER, THIRD):
        assert wallet.account(ACCOUNT).to_string() in whole
    for index in range(3):
        assert policy.address(0, index) in whole
    assert signatures(card) == 1
    data = answer(None, "wallet", "show", "FAMILY", "--count", "2", schema="wallet show")
    assert [entry["ours"] for entry in data["keys"]] == [True, False, False]
    assert [entry["address"] for entry in data["addresses"]] == [policy.address(0, 0), policy.address(0, 1)]
    (mine,) = data["cards"]
    made = Registration.parse(mine["registration"])
    assert (made.name, made.descriptor) == ("Family", policy.descriptor)
    assert names() == ["Family"]


def test_a_person_says_no(card: EmulatorProcess) -> None:
    for reply in ("n", ""):
        with terminal(card, "wallet", "add", "Family", FAMILY) as child:
            dialogue(child, ASKED, ("Register", reply))
            assert ended(child) == 1
            assert "Canceled. Nothing was registered" in shown(child)
    assert names() == [] and signatures(card) == 0 and not store().exists()


def test_an_answer_typed_ahead_is_none(card: EmulatorProcess) -> None:
    with terminal(card, "wallet", "add", "Family", FAMILY) as child:
        child.expect_exact("PIN of card")
        child.send(f"{PIN}\ny\ny\n")
        child.expect_exact("Register")
        child.sendline("")
        assert ended(child) == 1
    assert names() == []


def test_nobody_to_ask(card: EmulatorProcess) -> None:
    assert "--yes" in answer(card, "wallet", "add", "Family", FAMILY, code=2)["hint"]
    assert card.stats()["apdus"] == 0 and names() == []


def test_ways_to_spend(card: EmulatorProcess) -> None:
    data = add(card, "Recovery", RECOVERY)
    assert data["threshold"] is None
    assert data["ways"] == [
        "2 of key 1, key 2",
        "key 3, 52,560 blocks after the coin was received (about 365 days)",
    ]
    assert "52,560 blocks" in run(None, "wallet", "show", "Recovery").stdout


def test_twice(card: EmulatorProcess) -> None:
    """The same again, under another name, with its keys in another order; another wallet of the name."""
    add(card, "Family", FAMILY)
    before = signatures(card), card.stats()["apdus"]
    assert "registered as" in refused(card, "Other", FAMILY, code=2)
    assert "a different order" in refused(card, "Other", f"wsh(sortedmulti(2,{keys(THIRD, ME, OTHER)}))")
    assert "another wallet named" in refused(card, "family", RECOVERY, code=2)
    assert (signatures(card), card.stats()["apdus"]) == before
    assert "with this card" in refused(card, "family", FAMILY, code=2)
    assert signatures(card) == 1 and names() == ["Family"]


def test_two_cards(card: EmulatorProcess, second: EmulatorProcess, tmp_path: Path) -> None:
    """The second one is added to the wallet; both are believed on another computer, without a signature."""
    add(card, "Pair", PAIR)
    added = add(second, "pair", PAIR)
    assert added["name"] == "Pair"
    assert [entry["ours"] for entry in added["keys"]] == [True, True]  # type: ignore[attr-defined]
    file, _ = multisig_pay(tmp_path)
    for one in (card, second):
        review = answer(one, "sign", "--yes", "--force", str(file))["review"]
        assert review["wallets"] == [{"name": "Pair", "policy": "2 of 2 must sign", "inputs": [0]}]
        assert [output["wallet"] for output in review["outputs"]] == [None, "Pair"]
    exported = tmp_path / "pair.json"
    answer(None, "wallet", "export", "Pair", "--output", str(exported), schema="wallet export")
    made = signatures(card), signatures(second)
    for one in (card, second):
        elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
        assert add(one, "Pair", exported, **elsewhere)["signature"] is False
    assert (signatures(card), signatures(second)) == made


def test_the_same_seed_on_two_cards(card: EmulatorProcess, tmp_path: Path) -> None:
    add(card, "Pair", PAIR)
    with EmulatorProcess("--seed", SEED, "--xpub-export", "--serial", str(2**60 + 11)) as twin:
        assert "with this card" in refused(twin, "Pair", PAIR, code=2)
        file, _ = multisig_pay(tmp_path)
        assert answer(twin, "sign", "--yes", str(file))["review"]["wallets"][0]["name"] == "Pair"


def test_export_off(bare: EmulatorProcess, tmp_path: Path) -> None:
    """As cards come from the vendor's tools: their keys are read one by one."""
    add(bare, "Pair", PAIR)
    file, _ = multisig_pay(tmp_path)
    review = answer(bare, "sign", "--yes", str(file))["review"]
    assert (review["wallets"][0]["name"], review["change"]) == ("Pair", 49_000)


def test_files_of_other_programs(card: EmulatorProcess, tmp_path: Path) -> None:
    """A file with the same wallet in it: also from stdin. One that tells another first address is refused."""
    text = "Name: Vault\nPolicy: 2 of 2\nFormat: P2WSH\nDerivation: m/48'/0'/0'/2'\n" + "".join(
        f"{wallet.fingerprint.hex()}: {wallet.account(ACCOUNT).to_string()}\n" for wallet in (ME, OTHER)
    )
    file = tmp_path / "coldcard.txt"
    file.write_text(text)
    data = add(card, "Mine", file)
    assert (data["name"], data["descriptor"]) == ("Mine", WalletPolicy.parse(PAIR).descriptor)
    answer(None, "wallet", "remove", "Mine", "--yes", schema="wallet remove")
    assert add(card, "Mine", "-", stdin=text)["name"] == "Mine"
    answer(None, "wallet", "remove", "Mine", "--yes", schema="wallet remove")
    words = ("wallet", "add", "Mine", "-", "--yes", "--stdinpass")
    assert answer(card, *words, stdin=f"{PIN}\n{text}", pin=None, schema="wallet add")["name"] == "Mine"
    restricted = PAIR.replace("/<0;1>/*", "/**")
    for branch, code in ((0, 2), (1, 5)):
        address = WalletPolicy.parse(PAIR).address(branch, 0)
        file.write_text(f"BSMS 1.0\n{restricted}\n/0/*,/1/*\n{address}\n")
        assert ("first address" in refused(card, "Other", file, code=code)) is (branch == 1)
    assert names() == ["Mine"]


def test_a_wallet_of_a_test_network(card: EmulatorProcess) -> None:
    path = "m/48h/1h/0h/2h"
    parts = ",".join(key(wallet, path, version=bytes.fromhex("043587cf")) for wallet in (ME, OTHER))
    data = add(card, "Test", f"wsh(sortedmulti(1,{parts}))")
    assert data["chain"] == "test" and str(data["addresses"][0]["address"]).startswith("tb1q")  # type: ignore[index]
    shown_there = answer(None, "address", "--wallet", "Test", "--chain", "regtest", schema="address --wallet")
    assert shown_there["addresses"][0]["address"].startswith("bcrt1q")
    assert "test network" in answer(None, "wallet", "show", "Test", "--chain", "main", code=2)["error"]


# Show, remove, export


def test_remove(card: EmulatorProcess, tmp_path: Path) -> None:
    add(card, "Pair", PAIR)
    answer(None, "wallet", "remove", "Pair", code=2)
    with terminal(None, "wallet", "remove", "Pair") as child:
        dialogue(child, ('Remove the wallet "Pair"?', "n"))
        assert ended(child) == 1
    assert names() == ["Pair"]
    with terminal(None, "wallet", "remove", "pair") as child:
        dialogue(child, ('Remove the wallet "Pair"?', "y"))
        assert ended(child) == 0
    assert names() == []
    for words in (("remove", "Pair", "--yes"), ("show", "Pair"), ("export", "Pair")):
        assert "wallet list" in answer(None, "wallet", *words, code=2)["hint"]
    file, _ = multisig_pay(tmp_path)
    assert answer(card, "sign", "--yes", str(file))["review"]["change"] == 0


def test_remove_while_signing(card: EmulatorProcess, tmp_path: Path) -> None:
    """What was reviewed is signed."""
    add(card, "Pair", PAIR)
    file, _ = multisig_pay(tmp_path)
    with terminal(card, "sign", str(file)) as child:
        dialogue(child, ASKED)
        child.expect_exact("Sign it with 1 signature?")
        answer(None, "wallet", "remove", "Pair", "--yes", schema="wallet remove")
        child.sendline("y")
        assert ended(child) == 0
        assert 'Change back to the wallet "Pair", proved' in shown(child)
    assert (tmp_path / "multi-signed.psbt").exists()


def test_export_to_stdout(card: EmulatorProcess, tmp_path: Path) -> None:
    add(card, "Für uns", PAIR)
    content = run(None, "wallet", "export", "für uns").stdout
    assert set(json.loads(content)) == {"hwi-cryptnox wallet", "name", "descriptor", "registration"}
    file = tmp_path / "there.json"
    file.write_text("mine")
    answer(None, "wallet", "export", "Für uns", "--output", str(file), code=2)
    assert file.read_text() == "mine"


# Signing


def test_the_review_names_the_wallet(card: EmulatorProcess, tmp_path: Path) -> None:
    add(card, "Pair", PAIR)
    file, _ = multisig_pay(tmp_path)
    with terminal(card, "sign", str(file)) as child:
        dialogue(child, ASKED, ("Sign it with 1 signature?", "y"))
        assert ended(child) == 0
        seen = shown(child)
    assert '"Pair": 2 of 2 must sign' in seen and 'Change back to the wallet "Pair", proved: 0.00049000 BTC' in seen
    assert "no registered wallet" not in seen


def payment(folder: Path, name: str, *outs: Out, inputs: tuple[int, ...] = (0,)) -> Path:
    """Coins of PAIR, to somewhere."""
    items = []
    for number in inputs:
        script = multisig(2, sorted(wallet.key(f"{ACCOUNT}/0/{number}") for wallet in (ME, OTHER)))
        origins = [deriv(f"{ACCOUNT}/0/{number}", wallet) for wallet in (ME, OTHER)]
        items.append(In(p2wsh(script), 100_000, [*origins, (b"\x05", script)], salt=number))
    path = folder / f"{name}.psbt"
    path.write_bytes(draft(*items, outs=list(outs)).encode())
    return path


def family_out(threshold: int, branch: int, index: int, third: object = THIRD) -> Out:
    """An output of FAMILY, or of what an attacker makes of it."""
    wallets = (ME, OTHER, third)
    at = f"{ACCOUNT}/{branch}/{index}"
    script = multisig(threshold, sorted(one.key(at) for one in wallets))  # type: ignore[attr-defined]
    return Out(p2wsh(script), 49_000, [*[out_deriv(at, one) for one in wallets], (b"\x01", script)])  # type: ignore[arg-type]


def test_payments_to_another_wallet_and_what_only_looks_like_one(card: EmulatorProcess, tmp_path: Path) -> None:
    """Change of wallet A for inputs of wallet B is a payment; a threshold lowered and a signer replaced are seen."""
    add(card, "Pair", PAIR)
    add(card, "Family", FAMILY)
    stranger = type(ME)(b"a third party's seed, nobody knows")
    to = Out(p2wpkh(OTHER.key("m/0")), 40_000)
    cases = {
        "honest": (family_out(2, 1, 4), "Family", 'pays to the registered wallet "Family"'),
        "lowered": (family_out(1, 1, 4), None, "holds a key of this card together with others"),
        "replaced": (family_out(2, 1, 4, stranger), None, "holds a key of this card together with others"),
    }
    for name, (out, wallet, text) in cases.items():
        review = answer(card, "sign", "--yes", str(payment(tmp_path, name, to, out)))["review"]
        assert review["change"] == 0 and review["wallets"][0]["name"] == "Pair"
        assert review["outputs"][1]["wallet"] == wallet and review["outputs"][1]["change"] is False
        (warning,) = [entry for entry in review["warnings"] if text in entry["text"]]
        assert warning["grave"] is (wallet is None)
    done = run(card, "sign", "--yes", "--force", str(tmp_path / "honest.psbt"))
    assert 'payment, "Family"' in done.stderr


def test_inputs_of_no_registered_wallet(card: EmulatorProcess, tmp_path: Path) -> None:
    """Named as such; refused where the settings say so."""
    file, _ = multisig_pay(tmp_path)
    review = answer(card, "sign", "--yes", str(file))["review"]
    assert review["unregistered"] == [{"policy": "2 of 2 keys", "inputs": [0]}] and review["wallets"] == []
    text = run(card, "sign", "--yes", "--force", str(file)).stderr
    assert "no registered wallet (input 0): 2 of 2 keys" in text
    settings = {"CRYPTNOX_REQUIRE_REGISTERED": "1"}
    made = signatures(card)
    refusal = answer(card, "sign", "--yes", "--force", str(file), code=5, **settings)["error"]
    assert "it is held by 2 of 2 keys, not by a registered wallet" in refusal
    assert signatures(card) == made
    add(card, "Pair", PAIR)
    assert answer(card, "sign", "--yes", "--force", str(file), **settings)["signatures"] == 1


def test_sign_for_a_wallet_by_name(card: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name goes before a file, which is told; what is not the named wallet's is refused."""
    add(card, "Pair", PAIR)
    add(card, "Family", FAMILY)
    file, _ = multisig_pay(tmp_path)
    assert answer(card, "sign", "--yes", "--wallet", "pair", str(file))["review"]["change"] == 49_000
    assert "--wallet" in answer(card, "sign", "--yes", "--force", "--wallet", "Family", str(file), code=5)["error"]
    assert (
        "not a registered wallet"
        in answer(card, "sign", "--yes", "--force", "--wallet", "Nobody", str(file), code=2)["error"]
    )
    (tmp_path / "Family").write_text(PAIR)
    monkeypatch.chdir(tmp_path)
    for text, code, told in (("Family", 5, True), ("./Family", 0, False), (PAIR, 0, False)):
        done = run(card, "sign", "--yes", "--force", "--wallet", text, str(file))
        assert (done.returncode, "not the file" in done.stderr) == (code, told), done.stderr


# Addresses, and `verify`


def test_addresses(card: EmulatorProcess) -> None:
    """Without a card: the descriptor was compared with it."""
    add(card, "Family", FAMILY)
    policy, before = WalletPolicy.parse(FAMILY), card.stats()["apdus"]
    data = answer(card, "address", "--wallet", "family", "3-5", "--change", schema="address --wallet", pin=None)
    assert data["addresses"] == [
        {"branch": 1, "index": index, "address": policy.address(1, index)} for index in (3, 4, 5)
    ]
    check = ("address", "--wallet", "Family", "--check")
    for branch, index in ((0, 0), (1, 999), (0, 7)):
        found = answer(None, *check, policy.address(branch, index), schema="address --wallet --check")
        assert (found["ours"], found["branch"], found["index"]) == (True, branch, index)
    far = policy.address(0, 1000)
    lost = answer(None, *check, far, schema="address --wallet --check", code=1)
    assert (lost["ours"], lost["index"], lost["looked_at"]) == (False, None, 1000)
    assert answer(None, *check, far, "--gap", "1001", schema="address --wallet --check")["index"] == 1000
    pair = WalletPolicy.parse(PAIR).address(0, 0)
    assert not answer(None, *check, pair, schema="address --wallet --check", code=1)["ours"]
    answer(None, *check, "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", code=5)
    for words, code in (
        (("--wallet", "Nobody"), 2),
        (("--wallet", "Family", "--path", "m/0"), 2),
        (("--wallet", "Family", "--account", "1"), 2),
        (("--wallet", "Family", "--type", "p2pkh"), 2),
        (("--wallet", "Family", "5-2"), 2),
        (("--wallet", "Family", "--chain", "test"), 2),
    ):
        answer(None, "address", *words, code=code)
    assert card.stats()["apdus"] == before


def test_verify_names_wallets(card: EmulatorProcess, tmp_path: Path) -> None:
    """By deriving, without a card; nothing is called proved, and what differs in anything is not named."""
    add(card, "Pair", PAIR)
    add(card, "Family", FAMILY)
    to = Out(p2wpkh(OTHER.key("m/0")), 40_000)
    back = family_out(2, 1, 4)
    file = payment(tmp_path, "one", to, back, family_out(1, 1, 5), inputs=(0, 1))
    data = answer(None, "verify", str(file))
    assert [entry["wallet"] for entry in data["inputs"]] == ["Pair", "Pair"]
    assert [entry["wallet"] for entry in data["outputs"]] == [None, "Family", None]
    text = run(None, "verify", str(file)).stdout
    assert 'P2WSH "Pair"' in text and '\t"Family"\n' in text and "proved" not in text
    plain, _ = multisig_pay(tmp_path, threshold=1, name="plain")
    assert [entry["wallet"] for entry in answer(None, "verify", str(plain))["outputs"]] == [None, None]
    store().write_text("{")
    done = run(None, "verify", str(file))
    assert done.returncode == 0 and "No wallet is recognized" in done.stderr and '"Pair"' not in done.stdout


# By attackers


def exported(card: EmulatorProcess, folder: Path) -> tuple[Path, dict[str, str]]:
    """A file of FAMILY with this card's registration; the wallet is forgotten here."""
    add(card, "Family", FAMILY)
    file = folder / "family.json"
    answer(None, "wallet", "export", "Family", "--output", str(file), schema="wallet export")
    answer(None, "wallet", "remove", "Family", "--yes", schema="wallet remove")
    return file, json.loads(file.read_text())


STRANGERS = f"wsh(sortedmulti(2,{keys(ME, OTHER, type(ME)(b'a thief, who is none of the three'))}))"
LOWERED = FAMILY.replace("sortedmulti(2", "sortedmulti(1")


@pytest.mark.parametrize("changed", [STRANGERS, LOWERED, f"wsh(multi(2,{keys(ME, OTHER, THIRD)}))"])
def test_a_changed_file(card: EmulatorProcess, tmp_path: Path, changed: str) -> None:
    """A signer replaced, the threshold lowered, keys no longer sorted: the registration tells, or says whose it is."""
    file, content = exported(card, tmp_path)
    made = signatures(card)
    normal = WalletPolicy.parse(changed).descriptor
    file.write_text(json.dumps({**content, "descriptor": normal}))
    assert "the file was changed" in refused(card, "Family", file)
    old = Registration.parse(content["registration"])
    bent = Registration("Family", WalletPolicy.parse(changed), old.registration)
    file.write_text(wallet_file("Family", normal, bent.to_text()))
    with terminal(card, "wallet", "add", "Family", str(file)) as child:
        dialogue(child, ASKED)
        child.expect_exact("This card did NOT sign the file's registration")
        dialogue(child, ("with one signature?", "n"))
        assert ended(child) == 1
    assert "did not sign" in refused(card, "Family", file)
    assert signatures(card) == made and names() == []


def test_a_registration_of_another_card_or_name(card: EmulatorProcess, second: EmulatorProcess, tmp_path: Path) -> None:
    """It is told, and the card signs the wallet itself."""
    file, content = exported(card, tmp_path)
    assert add(card, "Family", file)["signature"] is False
    answer(None, "wallet", "remove", "Family", "--yes", schema="wallet remove")
    made = signatures(second)
    with terminal(second, "wallet", "add", "Family", str(file)) as child:
        dialogue(child, ASKED)
        child.expect_exact("This card did NOT sign")
        dialogue(child, ("with one signature?", "y"))
        assert ended(child) == 0
    assert signatures(second) == made + 1
    answer(None, "wallet", "remove", "Family", "--yes", schema="wallet remove")
    with terminal(card, "wallet", "add", "Wallet of mine", content["registration"]) as child:
        dialogue(child, ASKED)
        child.expect_exact('This card signed this wallet as "Family" before, and nobody has changed it since.')
        dialogue(child, ('Register "Wallet of mine" with one signature?', "y"))
        assert ended(child) == 0
    stored = answer(None, "wallet", "show", "Wallet of mine", schema="wallet show")
    assert Registration.parse(stored["cards"][0]["registration"]).name == "Wallet of mine"
    flipped = Registration.parse(content["registration"])
    bits = bytearray(flipped.registration)
    bits[-1] ^= 1
    answer(None, "wallet", "remove", "Wallet of mine", "--yes", schema="wallet remove")
    text = Registration("Family", flipped.policy, bytes(bits)).to_text()
    assert "did not sign" in refused(card, "Family", text)
    assert names() == []


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"wsh(sortedmulti(2,{keys(OTHER, THIRD)}))", "no key of the wallet claims to be this card's"),
        (PAIR.replace("48h/0h/0h/2h]", "48h/0h/1h/2h]", 1), "is not the card's"),
        (PAIR.replace(key(ME)[:10], key(OTHER)[:10]), "two different keys claim to be the one"),
        (f"wsh(sortedmulti(2,{key(ME)},{key(ME)}))", "one key alone"),
        (f"wpkh({key(ME, 'm/84h/0h/0h')})", "one key alone"),
        (f"wsh(sortedmulti(3,{keys(ME, OTHER)}))", "threshold does not fit"),
        (f"{PAIR}#qqqqqqqq", "checksum"),
        (PAIR.replace("<0;1>", "0"), "receive half"),
        ("wsh(nonsense)", ""),
        ("(", ""),
    ],
)
def test_what_is_no_wallet_of_this_card(card: EmulatorProcess, source: str, reason: str) -> None:
    assert reason in refused(card, "Family", source)
    assert signatures(card) == 0 and names() == []


@pytest.mark.parametrize(
    "name", ["", " Family", "Fam\x1b[2Jily", "Fam\u202eily", "Fam\u200bily", "x" * 65, "P\u0430ir"]
)
def test_names_that_are_none(card: EmulatorProcess, name: str) -> None:
    done = run(card, "wallet", "add", name, PAIR, "--yes")
    assert done.returncode == 5 and "a wallet's name" in done.stderr
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr
    assert card.stats()["apdus"] == 0 and names() == []


PRIVATE = (
    "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"
)
"""BIP32's second test vector, nobody's."""


@pytest.mark.parametrize("form", ["argument", "bare", "file", "bare file", "json"])
def test_a_private_key_is_never_shown(card: EmulatorProcess, tmp_path: Path, form: str) -> None:
    text = f"wsh(sortedmulti(2,{PRIVATE}/<0;1>/*,{key(ME)}))"
    file = tmp_path / "w"
    file.write_text({"bare file": PRIVATE, "json": json.dumps({"descriptor": text})}.get(form, text))
    source = {"argument": text, "bare": PRIVATE}.get(form, str(file))
    for words in (("wallet", "add", "Family", source, "--yes"), ("sign", "--yes", "--wallet", source, str(file))):
        for mode in ((), ("--json",)):
            done = run(card, *words, *mode)
            assert done.returncode in (2, 5)
            assert PRIVATE[4:20] not in done.stdout + done.stderr
    assert card.stats()["apdus"] == 0 and not store().exists()


@pytest.mark.parametrize("how", ["damaged", "later", "link", "folder"])
def test_a_store_that_is_none(card: EmulatorProcess, tmp_path: Path, how: str) -> None:
    """Nothing is lost of it, and nothing else written; what needs it says so, before a card is troubled."""
    add(card, "Pair", PAIR)
    target = tmp_path / "somebody's"
    kept = store().read_bytes()
    if how == "damaged":
        store().write_bytes(kept[:-20])
    elif how == "later":
        store().write_bytes(kept.replace(b'"version": 1', b'"version": 2'))
    else:
        store().unlink()
        if how == "link":
            target.write_bytes(kept)
            store().symlink_to(target)
        else:
            store().mkdir()
    before = None if how == "folder" else store().read_bytes()
    made = signatures(card)
    for words in (("list",), ("show", "Pair"), ("remove", "Pair", "--yes"), ("add", "Family", FAMILY, "--yes")):
        error = answer(card, "wallet", *words, code=1)["error"]
        assert "wallets.json" in error, error
    file, _ = multisig_pay(tmp_path)
    assert "wallets.json" in answer(card, "sign", "--yes", str(file), code=1)["error"]
    assert signatures(card) == made
    assert before is None or store().read_bytes() == before
    assert how != "link" or (store().is_symlink() and target.read_bytes() == kept)
    single = tmp_path / "single.psbt"
    at = "m/84h/0h/0h/0/0"
    single.write_bytes(draft(In(p2wpkh(ME.key(at)), fields=[deriv(at)])).encode())
    assert answer(card, "sign", "--yes", str(single))["signatures"] == 1


def test_a_wallet_put_into_the_store_by_hand(card: EmulatorProcess, tmp_path: Path) -> None:
    """Whoever writes there can have a thief's wallet called the person's: but its coins alone, and no coin of another
    wallet; a registration that no card made is no registration on another computer."""
    add(card, "Pair", PAIR)
    content = json.loads(store().read_text())
    content["wallets"][0]["descriptor"] = WalletPolicy.parse(STRANGERS).descriptor
    store().write_text(json.dumps(content))
    file, _ = multisig_pay(tmp_path)
    review = answer(card, "sign", "--yes", str(file))["review"]
    assert review["wallets"] == [] and review["change"] == 0 and review["unregistered"]
    moved = tmp_path / "moved.json"
    answer(None, "wallet", "export", "Pair", "--output", str(moved), schema="wallet export")
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "elsewhere")}
    done = run(card, "wallet", "add", "Pair", str(moved), "--yes", **elsewhere)
    assert done.returncode == 5 and "did not sign" in done.stderr
    assert "No wallet" in run(None, "wallet", "list", **elsewhere).stdout


def test_a_registration_in_the_store_that_is_none(card: EmulatorProcess) -> None:
    """The card's word counts: it signs anew."""
    add(card, "Pair", PAIR)
    content = json.loads(store().read_text())
    (mine,) = content["wallets"][0]["cards"]
    content["wallets"][0]["cards"][mine] = "01" + "11" * 64
    store().write_text(json.dumps(content))
    assert add(card, "Pair", PAIR)["signature"] is True
    assert "with this card" in refused(card, "Pair", PAIR, code=2)
    assert names() == ["Pair"] and signatures(card) == 2


def test_a_descriptor_that_cannot_be_read_any_more(card: EmulatorProcess, tmp_path: Path) -> None:
    add(card, "Pair", PAIR)
    content = json.loads(store().read_text())
    content["wallets"].append({**content["wallets"][0], "name": "New", "descriptor": "wsh(from_the_future(2))"})
    store().write_text(json.dumps(content))
    listed = answer(None, "wallet", "list", schema="wallet list")["wallets"]
    assert [entry["policy"] for entry in listed] == ["2 of 2 must sign", None]
    assert "New" in answer(None, "wallet", "show", "New", code=5)["error"]
    file, _ = multisig_pay(tmp_path)
    assert answer(card, "sign", "--yes", str(file))["review"]["wallets"][0]["name"] == "Pair"
    assert Psbt.parse((tmp_path / "multi-signed.psbt").read_bytes())
    assert answer(None, "verify", str(file))["inputs"][0]["wallet"] == "Pair"


@pytest.mark.parametrize(
    "text", [FAMILY, f"tr(musig({keys(ME, OTHER)}))", f"tr(musig({keys(ME, OTHER, steps='')})/<0;1>/*)"]
)
def test_bitcoin_core_imports_it(text: str, tmp_path: Path) -> None:
    """`importdescriptors` gets the two halves, which make the same wallet; nothing of a registration."""
    policy = WalletPolicy.parse(text)
    WalletStore(State()).add("Us", policy.descriptor, ME.fingerprint, "2026-11-26", b"\x01" * 65)
    file = tmp_path / "core.json"
    told = answer(None, "wallet", "export", "Us", "--core", "--output", str(file), schema="wallet export")
    entries = json.loads(file.read_text())
    assert [entry["internal"] for entry in entries] == [False, True] and all(entry["active"] for entry in entries)
    texts = [entry["desc"] for entry in entries]
    assert WalletPolicy.parse("\n".join(texts)) == policy and "<" not in "".join(texts)
    assert told["registrations"] == 0
    shown_text = run(None, "wallet", "export", "Us", "--core", "--force", "--output", str(file)).stdout
    assert "importdescriptors" in shown_text


# MuSig2


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ("", "CANNOT sign with this wallet's MuSig2 keys: its applet has no MuSig2"),
        ("musig2", "signs by MuSig2: it did when it was asked"),
        (
            "musig2-no-second",
            "CANNOT sign with this wallet's MuSig2 keys: its applet's MuSig2 is not the one of BIP327",
        ),
    ],
)
def test_who_adds_a_musig2_wallet_reads_what_the_card_can(reading: str, said: str) -> None:
    """Before a coin is sent to it: that nobody has asked the card, and later what it answered. Of other wallets nothing
    is said."""
    options = ["--reading", reading] if reading else []
    text = f"tr(musig({keys(ME, OTHER)}))"
    with EmulatorProcess("--seed", SEED, "--xpub-export", *options) as able:

        def seen(name: str, source: str) -> str:
            done = run(able, "wallet", "add", name, source, "--yes")
            assert done.returncode == 0, done.stderr
            return " ".join((done.stdout + done.stderr).split())

        assert "send nothing to this wallet before cryptnoxctl taproot check says yes" in seen("Us", text)
        assert "MuSig2" not in seen("Family", FAMILY)
        run(able, "taproot", "check")
        run(None, "wallet", "remove", "Us", "--yes")
        assert said in seen("Us", text)
