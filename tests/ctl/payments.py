"""Transactions that the tests of commands sign, as files."""

from __future__ import annotations

from pathlib import Path

from tests.psbt.factory import ME, OTHER, In, Out, deriv, draft, multisig, out_deriv, p2wpkh, p2wsh, spend


def pay(folder: Path, name: str = "pay.psbt", form: str = "binary") -> tuple[Path, object]:
    made = draft(spend("p2wpkh", 0), spend("p2pkh", 1), spend("p2sh-p2wpkh", 2))
    path = folder / name
    text = {"binary": made.encode(), "base64": made.base64().encode(), "hex": made.encode().hex().encode()}[form]
    path.write_bytes(text)
    return path, made


def multisig_pay(folder: Path, threshold: int = 2, name: str = "multi") -> tuple[Path, str]:
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
