"""Whole wallet files for Sparrow, Electrum, Bitcoin Core and readers of Coldcard's JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from cryptnox_core.bip32 import Path
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export.descriptors import CHANGE, RECEIVE, check_multisig, descriptor, multisig_descriptor
from hwilib_cryptnox.export.keys import Cosigner, KeySet
from hwilib_cryptnox.networks import AccountType, Network, ScriptType, TaprootType, account_path

_COLDCARD_SINGLE: dict[str, AccountType] = {
    "bip44": ScriptType.P2PKH,
    "bip49": ScriptType.P2SH_P2WPKH,
    "bip84": ScriptType.P2WPKH,
    "bip86": TaprootType.P2TR,
}
_COLDCARD_MULTI = {"p2wsh": ScriptType.P2WSH, "p2sh_p2wsh": ScriptType.P2SH_P2WSH}
_SINGLE_SIG = tuple(script for script in ScriptType if not script.is_multisig)
ELECTRUM_SEED_VERSION = 20
"""Electrum 4 drops `root_fingerprint` from files that call themselves older."""
ELECTRUM_MAX_COSIGNERS = 15
"""Electrum refuses wallets with more."""
DEFAULT_RANGE = 999
"""Bitcoin Core's own keypool: addresses 0 to 999 of each chain are watched at once."""


def _apostrophes(path: Path) -> str:
    return str(path).replace("h", "'")


def _text(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def descriptor_file(keys: KeySet, script: AccountType, account: int = 0) -> str:
    """Sparrow's "Output Descriptor" import: a comment and one descriptor of both chains."""
    return f"# Cryptnox {keys.fingerprint.hex()}\n{descriptor(keys, script, account)}\n"


def coldcard_json(keys: KeySet, account: int = 0) -> str:
    """One file in the manner of Coldcard's generic JSON for all script types of an account, single-sig and cosigner.

    Accounts that were not read are left out; UsageError when none is there. There is no top-level `xpub` on purpose:
    Sparrow's multisig reader would take it before all others.
    """
    found: dict[str, object] = {}
    for name, script in _COLDCARD_SINGLE.items():
        path = account_path(script, keys.network, account)
        if path in keys.keys:
            xpub = keys.keys[path].to_string(keys.network.version)
            found[name] = {"name": script.value, "deriv": _apostrophes(path), "xpub": xpub}
    for name, script in _COLDCARD_MULTI.items():
        path = account_path(script, keys.network, account)
        if path in keys.keys:
            found[f"{name}_deriv"] = _apostrophes(path)
            found[name] = keys.keys[path].to_string(script.slip132(keys.network))
    if not found:
        raise UsageError(f"no extended public key of account {account} was read from the card")
    return _text({"xfp": keys.fingerprint.hex().upper(), **found})


def wasabi_json(keys: KeySet, account: int = 0) -> str:
    """A watch-only wallet for Wasabi, in the form in which it takes the first Coldcards' (fingerprint last byte first).

    Such a file names no account: Wasabi takes it for the first one of P2WPKH. UsageError for another.
    """
    if account:
        raise UsageError("Wasabi wallets use account 0")
    xpub = keys.account(ScriptType.P2WPKH).key.to_string(keys.network.version)
    return _text({"ExtPubKey": xpub, "MasterFingerprint": keys.fingerprint[::-1].hex().upper()})


def electrum_wallet(keys: KeySet, script: ScriptType, account: int = 0, *, label: str = "Cryptnox") -> str:
    """An Electrum wallet file, watch-only, whose PSBTs name the card's keys by master fingerprint and full path.

    (A wallet restored in Electrum from the extended key alone does not.) UsageError for a multisig type.
    """
    if script.is_multisig:
        raise UsageError(f"{script.value} is a multisig account: its Electrum wallet needs all cosigners")
    keystore = _electrum_keystore(keys.account(script, account), script, keys.network, label)
    return _electrum("standard", {"keystore": keystore})


def electrum_multisig_wallet(
    script: ScriptType, threshold: int, cosigners: Sequence[Cosigner], network: Network, *, labels: Sequence[str] = ()
) -> str:
    """An Electrum wallet file of a multisig wallet, watch-only. `labels` name the cosigners in their order.

    UsageError as `multisig_descriptor`, and for fewer than 2 or more than 15 cosigners.
    """
    check_multisig(script, threshold, cosigners)
    if not 2 <= len(cosigners) <= ELECTRUM_MAX_COSIGNERS:
        raise UsageError(f"Electrum's multisig wallets have 2 to {ELECTRUM_MAX_COSIGNERS} cosigners")
    names = [*labels, *(f"Cosigner {number}" for number in range(len(labels) + 1, len(cosigners) + 1))]
    keystores: dict[str, object] = {
        f"x{number}/": _electrum_keystore(cosigner, script, network, names[number - 1])
        for number, cosigner in enumerate(cosigners, 1)
    }
    return _electrum(f"{threshold}of{len(cosigners)}", keystores)


def _electrum_keystore(cosigner: Cosigner, script: ScriptType, network: Network, label: str) -> dict[str, str]:
    return {
        "type": "bip32",
        "xpub": cosigner.key.to_string(script.slip132(network)),
        "derivation": _apostrophes(cosigner.origin.path),
        "root_fingerprint": cosigner.origin.fingerprint.hex(),
        "label": label,
    }


def _electrum(wallet_type: str, keystores: dict[str, object]) -> str:
    head: dict[str, object] = {
        "seed_version": ELECTRUM_SEED_VERSION,
        "use_encryption": False,
        "wallet_type": wallet_type,
        "addresses": {"receiving": [], "change": []},
    }
    return _text({**head, **keystores})


def core_import(
    keys: KeySet,
    scripts: Iterable[AccountType] = _SINGLE_SIG,
    account: int = 0,
    *,
    timestamp: int | None = None,
    end: int = DEFAULT_RANGE,
) -> str:
    """The argument of Bitcoin Core's `importdescriptors` for single-sig accounts, one entry a chain.

    `timestamp` is the Unix time from which the chain is searched for the wallet's coins, None for "now" (a new
    wallet); `end` the last address number watched at once.
    """
    return _text(
        [
            _core_entry(descriptor(keys, script, account, branch=branch), branch, timestamp, end)
            for script in scripts
            for branch in (RECEIVE, CHANGE)
        ]
    )


def core_import_multisig(
    script: AccountType,
    threshold: int,
    cosigners: Sequence[Cosigner],
    network: Network,
    *,
    timestamp: int | None = None,
    end: int = DEFAULT_RANGE,
) -> str:
    """The argument of `importdescriptors` for a multisig wallet; parameters as `core_import`."""
    entries = [
        _core_entry(multisig_descriptor(script, threshold, cosigners, network, branch=branch), branch, timestamp, end)
        for branch in (RECEIVE, CHANGE)
    ]
    return _text(entries)


def core_import_wallet(halves: Sequence[str], *, timestamp: int | None = None, end: int = DEFAULT_RANGE) -> str:
    """The argument of `importdescriptors` for a wallet of any kind: `halves` are its descriptors, of the receive
    addresses and of the change. One alone is for both. Other parameters as `core_import`."""
    branches = (RECEIVE, CHANGE) if len(halves) > 1 else (RECEIVE,)
    return _text([_core_entry(text, branch, timestamp, end) for text, branch in zip(halves, branches, strict=True)])


def _core_entry(text: str, branch: str, timestamp: int | None, end: int) -> dict[str, object]:
    if end < 0 or (timestamp is not None and timestamp < 0):
        raise UsageError("a range or a time cannot be negative")
    return {
        "desc": text,
        "active": True,
        "internal": branch == CHANGE,
        "range": [0, end],
        "timestamp": "now" if timestamp is None else timestamp,
    }
