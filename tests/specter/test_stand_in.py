"""The stand-in for a node by itself: its PSBTs can be signed by somebody else's code, and it takes no bad signature."""

from __future__ import annotations

import pytest
from embit import bip32
from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import Transaction, TransactionInput, TransactionOutput

from tests.specter.ledger import RpcError
from tests.specter.office import RECIPIENT, THIRD_MNEMONIC
from tests.specter.person import key_line, root_of
from tests.specter.stand_in import StandIn
from tests.system.interop.programs import MNEMONIC, OTHER_MNEMONIC

WALLETS = {
    "wpkh": ("wpkh({0}/{branch}/*)", "m/84h/1h/0h"),
    "sh-wpkh": ("sh(wpkh({0}/{branch}/*))", "m/49h/1h/0h"),
    "wsh": ("wsh(sortedmulti(2,{0}/{branch}/*,{1}/{branch}/*,{2}/{branch}/*))", "m/48h/1h/0h/2h"),
    "sh-wsh": ("sh(wsh(sortedmulti(2,{0}/{branch}/*,{1}/{branch}/*,{2}/{branch}/*)))", "m/48h/1h/0h/1h"),
}


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("name", WALLETS)
def test_payment(name: str, version: int) -> None:
    descriptor, path = WALLETS[name]
    keys = [key_line(mnemonic, path) for mnemonic in (MNEMONIC, OTHER_MNEMONIC, THIRD_MNEMONIC)]
    signers: list[bip32.HDKey] = [root_of(MNEMONIC), root_of(OTHER_MNEMONIC)][: 2 if "multi" in descriptor else 1]
    with StandIn(psbt_version=version) as node:
        node.call(None, "createwallet", ["savings"])
        wanted = [{"desc": descriptor.format(*keys, branch=branch), "internal": bool(branch)} for branch in (0, 1)]
        assert node.call("savings", "importdescriptors", [wanted]) == [{"success": True}] * 2
        places = node.wallets["savings"].places
        first = {place.change: node.address(Script(script)) for script, place in places.items() if place.index == 0}
        node.fund(first[False], 100_000, 50_000)
        assert node.call("savings", "getbalances", [])["mine"]["trusted"] == 0.0015

        options = {"changeAddress": first[True], "feeRate": 0.00003, "add_inputs": True}
        made = node.call("savings", "walletcreatefundedpsbt", [[], [{RECIPIENT: 0.0012}], node.height, options, True])
        psbt = PSBT.from_string(made["psbt"])
        assert (psbt.version or 0) == version and psbt.tx.locktime == node.height
        assert [sum(psbt.utxo(index).value for index in (0, 1)), psbt.fee()] == [150_000, round(made["fee"] * 1e8)]
        assert node.call(None, "finalizepsbt", [made["psbt"]])["complete"] is False

        signed = []
        for signer in signers:
            copy = PSBT.from_string(made["psbt"])
            assert copy.sign_with(signer) == 2
            signed.append(copy.to_string())
        whole = node.call(None, "finalizepsbt", [node.call(None, "combinepsbt", [signed])])
        assert whole["complete"] is True
        raw = whole["hex"]

        bad = Transaction.from_string(raw)
        bad.vout[0] = TransactionOutput(bad.vout[0].value - 1, bad.vout[0].script_pubkey)
        with pytest.raises(RpcError, match="script-verify"):
            node.call(None, "sendrawtransaction", [bad.serialize().hex()])
        assert node.call(None, "testmempoolaccept", [[raw]])[0]["allowed"] is True
        node.call(None, "sendrawtransaction", [raw])
        with pytest.raises(RpcError, match="missing-inputs"):
            node.call(None, "sendrawtransaction", [raw])
        assert node.sent == [bytes.fromhex(raw)]
        left = 150_000 - 120_000 - psbt.fee()
        assert node.call("savings", "getbalances", [])["mine"]["trusted"] == round(left / 1e8, 8)
        assert [coin["amount"] for coin in node.call("savings", "listunspent", [0])] == [round(left / 1e8, 8)]


def test_what_it_does_not_do() -> None:
    """It mixes no PSBTs of both versions, knows no other wallet, and remembers the calls that it does not know."""
    made = []
    for version in (0, 2):
        with StandIn(psbt_version=version) as node:
            tx = Transaction(2, [TransactionInput(bytes(32), 0)], [TransactionOutput(1, Script(b"\x51"))], 0)
            made.append(PSBT(tx, version=version or None).to_string())
            with pytest.raises(RpcError, match="does not exist"):
                node.call("nobody", "listunspent", [])
            with pytest.raises(RpcError, match="Method not found"):
                node.call(None, "getmoney", [])
            assert node.unknown_calls == {"getmoney"}
    with StandIn() as node, pytest.raises(RpcError, match="not compatible"):
        node.call(None, "combinepsbt", [made])
