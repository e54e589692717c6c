"""The example that pays over Bitcoin Core's RPC: on a stand-in for Core, and, among the long tests, on a real node."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from embit.transaction import Transaction

from hwilib_cryptnox.export import Network, ScriptType, account_path, descriptor, key_line
from hwilib_cryptnox.psbt import Psbt
from hwilib_cryptnox.psbt.finalize import extract
from tests.export.conftest import make_keys
from tests.support.core_stand_in import NAME, StandIn
from tests.support.emulator import EmulatorProcess
from tests.support.node import Node
from tests.support.version2 import as_version_2, maps
from tests.system.interop.paper import PaperWallet, verify
from tests.system.interop.programs import (
    FINGERPRINT,
    MNEMONIC,
    OTHER_MNEMONIC,
    ROOT,
    SIGNER,
    TIME_LIMIT,
    run_hwi,
)

EXAMPLE = ROOT / "examples" / "core_signer.py"
PIN = "739164"
"""In no transaction by chance, as 000000 is."""
PAYEE = "bcrt1qcr8te4kr609gcawutmrza0j4xv80jy8zeqchgx"


@pytest.fixture(scope="module")
def card() -> Iterator[EmulatorProcess]:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--pin", PIN, "--xpub-export") as process:
        yield process


def stand_in(folder: Path, text: str, version: int = 0) -> StandIn:
    wallet = PaperWallet(text)
    for amount in (50_000, 60_000):
        wallet.receive(amount)
    return StandIn(wallet, "watch", folder, version=version)


@pytest.fixture
def core(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StandIn]:
    version = getattr(request, "param", 2)
    server = stand_in(tmp_path, descriptor(make_keys(Network.TEST), ScriptType.P2WPKH), version)
    yield server
    server.close()


def program(folder: Path) -> Path:
    """`hwi-cryptnox` as a file."""
    path = folder / "hwi-cryptnox"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(SIGNER)} "$@"\n')
    path.chmod(0o755)
    return path


def pay(
    core: StandIn | Node, device: str, *options: str, typed: str = "yes\n", amount: str = "0.0009", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the example. It never ends in a traceback, and no secret is shown or on its command line."""
    given = ["--chain", "regtest", "--wallet", "watch", "--rpc", core.url, "--cookie", str(core.cookie)]
    given += ["--pay", f"{PAYEE}={amount}", "--fee-rate", "3", *options]
    command = [sys.executable, "-W", "ignore", str(EXAMPLE), device, *given]
    run = subprocess.run(
        command,
        input=typed,
        env={**os.environ, "CRYPTNOX_PIN": PIN, **env},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert "Traceback" not in run.stderr, run.stderr
    secret = core.cookie.read_text().partition(":")[2] if core.cookie.exists() else "?"
    for hidden in (secret, PIN):
        assert hidden not in run.stdout + run.stderr + " ".join(command)
    return run


def refused(run: subprocess.CompletedProcess[str], text: str) -> None:
    assert run.returncode == 1, run.stdout
    assert re.search(text, run.stderr), run.stderr


def test_the_stand_in_says_that_it_is_one(core: StandIn) -> None:
    assert core.rpc_getnetworkinfo() == {"subversion": NAME} and "no Bitcoin Core" in NAME


@pytest.mark.parametrize("core", [0, 2], ids=["version 0", "version 2"], indirect=True)
@pytest.mark.parametrize("by_program", [False, True], ids=["itself", "program"])
def test_signed_and_printed(core: StandIn, card: EmulatorProcess, by_program: bool, tmp_path: Path) -> None:
    options = ["--program", str(program(tmp_path))] if by_program else []
    run = pay(core, card.path, *options)
    assert run.returncode == 0, run.stderr
    *_, said, transaction = run.stdout.splitlines()
    raw = bytes.fromhex(transaction)
    verify(raw, core.wallet.known)
    assert said.endswith(f"transaction {Transaction.parse(raw).txid().hex()} is valid")
    assert raw[-4:] == (101).to_bytes(4, "little")
    assert core.sent == []
    if not by_program:
        assert f"90000 sat {PAYEE} payment" in run.stdout and "sat bcrt1" in run.stdout
        assert re.search(r" change, m/84h/1h/0h/1/0$", run.stdout, re.MULTILINE)


def test_sent_when_asked_for(core: StandIn, card: EmulatorProcess) -> None:
    refused(pay(core, card.path, "--send", typed="yes\nno\n"), "^Nothing was sent")
    assert core.sent == [] and "sendrawtransaction" not in core.asked
    run = pay(core, card.path, "--send", typed="yes\nyes\n")
    (raw,) = core.sent
    assert run.returncode == 0 and f"sent {Transaction.parse(raw).txid().hex()}" in run.stdout


@pytest.mark.parametrize("typed", ["", "yes please\n"])
def test_nothing_is_signed_without_a_yes(core: StandIn, card: EmulatorProcess, typed: str) -> None:
    before = card.stats()["signatures"]
    refused(pay(core, card.path, typed=typed), "nothing was signed")
    assert card.stats()["signatures"] == before and core.asked == ["walletcreatefundedpsbt"]


def test_a_transaction_that_the_network_would_not_take(core: StandIn, card: EmulatorProcess) -> None:
    core.refusal = "min relay fee not met"
    refused(pay(core, card.path, "--send", typed="yes\nyes\n"), "min relay fee not met. Nothing was sent")
    assert core.sent == []


def test_other_signatures_are_missing(card: EmulatorProcess, tmp_path: Path) -> None:
    lines = [
        key_line(make_keys(Network.TEST, mnemonic=words), account_path(ScriptType.P2WSH, Network.TEST))
        for words in (MNEMONIC, OTHER_MNEMONIC)
    ]
    core = stand_in(tmp_path, f"wsh(sortedmulti(2,{','.join(f'{line}/<0;1>/*' for line in lines)}))")
    try:
        run = pay(core, card.path)
        refused(run, "Other signatures are missing")
        signed = Psbt.parse(run.stdout.split()[-1])
        assert all(any(key[0] == 0x02 for key in one.pairs) for one in signed.inputs)
        assert core.asked == ["walletcreatefundedpsbt", "finalizepsbt"]
    finally:
        core.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--chain", "main"), "network|chain"),
        (("--wallet", "other"), "^walletcreatefundedpsbt: Requested wallet does not exist"),
        (("--rpc", "http://127.0.0.1:9"), "does not answer at 127.0.0.1:9"),
        (("--rpc", "http://192.0.2.1:8332"), "another computer"),
        (("--rpc", "http://127.0.0.1.example.org"), "another computer"),
        (("--cookie", "/nonexistent"), "^/nonexistent: No such file"),
        (("--cookie", str(EXAMPLE)), "refuses the cookie"),
        (("--pay", "nobody"), "ADDRESS=BTC is wanted"),
    ],
)
def test_what_goes_wrong(core: StandIn, card: EmulatorProcess, options: tuple[str, ...], says: str) -> None:
    before = card.stats()["signatures"]
    run = pay(core, card.path, *options)
    assert run.returncode in (1, 2) and re.search(says, run.stderr), run.stderr
    assert card.stats()["signatures"] == before


def test_not_enough(core: StandIn, card: EmulatorProcess) -> None:
    refused(pay(core, card.path, amount="21"), "^walletcreatefundedpsbt: Insufficient funds")


@pytest.mark.parametrize("body", [b"hello", b"[]", b'{"result": 5}', b'{"result": null, "error": "no"}'])
def test_what_is_no_bitcoin_core(core: StandIn, card: EmulatorProcess, body: bytes) -> None:
    core.body = body
    refused(pay(core, card.path), "is not Bitcoin Core")


def test_the_cookie_goes_to_no_proxy(core: StandIn, card: EmulatorProcess) -> None:
    run = pay(core, card.path, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    assert run.returncode == 0, run.stderr


def test_a_wrong_pin_costs_one_try(core: StandIn, tmp_path: Path) -> None:
    with EmulatorProcess("--mnemonic", MNEMONIC, "--pin", "135790", "--xpub-export") as other:
        refused(pay(core, other.path), "Wrong PIN")
        assert other.stats()["pin_tries"] == 1 and other.stats()["signatures"] == 0


# A real node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, card: EmulatorProcess) -> Iterator[Node]:
    """With the card as its signer: a wallet that calls it, and one that only watches, both with coins."""
    folder = tmp_path_factory.mktemp("node")
    node = Node(folder)
    environ = {"CRYPTNOX_PIN": PIN, "CRYPTNOX_EMULATOR": card.path.removeprefix("tcp:"), "PYTHONPATH": str(ROOT)}
    node.start(f"-signer={program(folder)} --signer-mode --emulators", environ=environ)
    try:
        node.cli("-named", "createwallet", "wallet_name=card", "disable_private_keys=true", "external_signer=true")
        node.cli("-named", "createwallet", "wallet_name=watch", "disable_private_keys=true", "blank=true")
        keys = make_keys(Network.TEST)
        entries = [
            {"desc": descriptor(keys, ScriptType.P2WPKH, branch=branch), "active": True, "internal": branch == "1"}
            for branch in "01"
        ]
        node.cli("-rpcwallet=watch", "importdescriptors", json.dumps([{**one, "timestamp": "now"} for one in entries]))
        for kind in ("legacy", "p2sh-segwit", "bech32"):
            address = node.cli("-rpcwallet=card", "getnewaddress", "", kind)
            node.cli("generatetoaddress", "2", address)
        node.cli("generatetoaddress", "101", node.cli("-rpcwallet=watch", "getnewaddress", "", "bech32"))
        yield node
    finally:
        node.stop()


real = [pytest.mark.heavy, pytest.mark.xdist_group("node"), pytest.mark.timeout(590)]


def in_a_block(node: Node, txid: str) -> None:
    """Miners take it."""
    assert txid in node.json("getrawmempool")
    node.cli("generatetoaddress", "1", PAYEE)
    assert txid not in node.json("getrawmempool")


class TestRealNode:
    """The node judges: what it takes into a block is valid."""

    pytestmark = real

    def test_the_signer_is_found(self, node: Node) -> None:
        assert node.json("enumeratesigners") == {
            "signers": [{"fingerprint": FINGERPRINT, "name": "cryptnox_basic_simulator"}]
        }

    def test_send(self, node: Node) -> None:
        """One signature of each type of address, by one RPC."""
        sent = node.json("-rpcwallet=card", "-named", "sendall", f'recipients=["{PAYEE}"]', "fee_rate=2")
        assert sent["complete"] is True
        in_a_block(node, sent["txid"])

    def test_bumpfee(self, node: Node) -> None:
        node.cli("generatetoaddress", "101", node.cli("-rpcwallet=card", "getnewaddress", "", "bech32"))
        sent = node.json("-rpcwallet=card", "-named", "send", f'outputs={{"{PAYEE}": 0.3}}', "fee_rate=2")
        better = node.json("-rpcwallet=card", "bumpfee", sent["txid"])
        assert better["txid"] != sent["txid"]
        in_a_block(node, better["txid"])

    def test_what_the_page_says_does_not_work(self, node: Node) -> None:
        for command, says in (
            (("sendtoaddress", PAYEE, "0.1"), "Private keys are disabled"),
            (("getnewaddress", "", "bech32m"), "No bech32m addresses available"),
            (("walletdisplayaddress", node.cli("-rpcwallet=card", "getnewaddress")), "screen"),
        ):
            with pytest.raises(AssertionError, match=says):
                node.cli("-rpcwallet=card", *command)

    @pytest.mark.parametrize("by_program", [False, True], ids=["itself", "program"])
    def test_the_example(self, node: Node, card: EmulatorProcess, by_program: bool, tmp_path: Path) -> None:
        options = ["--program", str(program(tmp_path))] if by_program else []
        typed = "yes\n" if by_program else "yes\nyes\n"
        run = pay(node, card.path, "--send", *options, typed=typed, amount="0.25")
        assert run.returncode == 0, run.stderr
        txid = run.stdout.split()[-1]
        paid = node.json("decoderawtransaction", node.cli("getrawtransaction", txid))["vout"]
        assert any(
            Decimal(str(out["value"])) == Decimal("0.25") and out["scriptPubKey"]["address"] == PAYEE for out in paid
        )
        in_a_block(node, txid)

    def test_a_psbt_written_anew_as_version_2(self, node: Node, card: EmulatorProcess, tmp_path: Path) -> None:
        """This node makes version 0. In version 2 it is signed the same, and written back it is the node's again."""
        made = node.json(
            "-rpcwallet=watch", "-named", "walletcreatefundedpsbt", f'outputs=[{{"{PAYEE}": 0.2}}]', "fee_rate=2"
        )["psbt"]
        given = as_version_2(made)
        answer = run_hwi(
            ["-t", "cryptnox", "-d", card.path, "--chain", "regtest", "--stdinpass", "--stdin"],
            stdin=f"{PIN}\nsigntx {given}\n",
        )
        assert answer["signed"] is True
        for before, after in zip(maps(given), maps(answer["psbt"]), strict=True):
            assert before.items() <= after.items()
        raw = extract(Psbt.parse(answer["psbt"]))
        (tried,) = node.json("testmempoolaccept", f'["{raw.hex()}"]')
        assert tried["allowed"] is True, tried
