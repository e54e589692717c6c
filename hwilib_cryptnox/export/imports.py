"""Wallet files of other programs, and our own: the name and the descriptor of a wallet of several keys. Pure.

Read are our own file (`wallet_file`), a registration of HWI, Coldcard's multisig text (BlueWallet and others write it,
too), BSMS (BIP129), Electrum's multisig wallet, Specter's, Sparrow's and Fully Noded's JSON, Caravan's JSON, Bitcoin
Core's `listdescriptors` and `importdescriptors`, and text with output descriptors and comments. What a descriptor says
is for `WalletPolicy.parse` to judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cryptnox_core.bip32 import ExtendedPublicKey, KeyOrigin, Path
from cryptnox_core.crypto.hashes import base58check_decode
from cryptnox_core.errors import UsageError
from hwilib_cryptnox.export.descriptors import add_checksum, check_descriptor
from hwilib_cryptnox.networks import Network, ScriptType, network_of_version

MAX_FILE = 16 * 1024 * 1024
"""Bytes of a wallet file: Electrum's hold the whole history."""
_OURS = "hwi-cryptnox wallet"
_VERSION = 1
_HWI = "cmRlc2"
"""How HWI's registrations begin: base64 of `rdesc`."""
_ENCRYPTED = ("QklFM", "U2FsdGVk")
"""Base64 of what Electrum and openssl write before encrypted content."""
_SINGLE = re.compile(r"\s*(wpkh|pkh|pk|combo|addr|raw|rawtr|sh\(wpkh|tr\([^,]*\)(#|$))")
_FORMATS = {"P2WSH": "wsh({})", "P2SH-P2WSH": "sh(wsh({}))", "P2WSH-P2SH": "sh(wsh({}))", "P2SH": "sh({})"}
_ELECTRUM: dict[ScriptType | None, str] = {
    ScriptType.P2WSH: _FORMATS["P2WSH"],
    ScriptType.P2SH_P2WSH: _FORMATS["P2SH-P2WSH"],
}
_POLICY = re.compile(r"(\d{1,2})\s*(?:of|/)\s*(\d{1,2})", re.IGNORECASE)
_KEY_LINE = re.compile(r"([0-9a-fA-F]{8})\s*:\s*([1-9A-HJ-NP-Za-km-z]{100,120})")
_HEAD_LINE = re.compile(r"#?\s*(name|policy|derivation|format)\s*:\s*(.*)", re.IGNORECASE)
_RECEIVE_HALF = re.compile(r"/0/\*(?=[,)])")


@dataclass(frozen=True, slots=True)
class WalletFile:
    """What a file says of a wallet."""

    descriptor: str
    """One with both branches, or receive and change with a blank between; empty where the registration holds it."""
    name: str | None = None
    registration: str | None = None
    """As HWI writes it, where the file has one."""
    address: str | None = None
    """The first receive address, where the file tells it: it has to be the descriptor's."""
    others: tuple[str, ...] = ()
    """Registrations of further cards."""

    @property
    def registrations(self) -> tuple[str, ...]:
        """All of the file."""
        return (*(() if self.registration is None else (self.registration,)), *self.others)


def wallet_file(name: str, descriptor: str, registration: str | None = None, others: Sequence[str] = ()) -> str:
    """Our own file, to take a wallet to another computer. `descriptor`: in its normal form; `registration`: as HWI
    writes it, `others`: those of further cards."""
    content: dict[str, object] = {_OURS: _VERSION, "name": name, "descriptor": descriptor, "registration": registration}
    if others:
        content["others"] = list(others)
    return json.dumps(content, indent=1) + "\n"


def read_wallet_file(data: bytes) -> WalletFile:
    """What a wallet file says.

    Raises: UsageError, with one sentence that repeats nothing of the file.
    """
    if len(data) > MAX_FILE:
        raise UsageError("the file is larger than any wallet file")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise UsageError("the file is not text: it is encrypted, or it is not a wallet file") from None
    if not text:
        raise UsageError("the file is empty")
    if text.startswith(_HWI):
        return WalletFile("", registration="".join(text.split()))
    if text.startswith(_ENCRYPTED):
        raise UsageError("the wallet file is encrypted: export the wallet's descriptor, or save it without a password")
    if text[0] in "{[":
        return _of_json(text)
    if text.startswith("BSMS "):
        return _bsms(text.splitlines())
    lines = [line.strip() for line in text.splitlines()]
    if any(_KEY_LINE.fullmatch(line) for line in lines):
        return _coldcard(lines)
    return WalletFile(_chosen(_descriptors(lines)))


# Text


def _descriptors(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if line and not line.startswith(("#", "//")) and "(" in line]


def _chosen(found: Sequence[str]) -> str:
    """One descriptor with both branches, or two: of one wallet."""
    several = [text for text in dict.fromkeys(found) if not _SINGLE.match(text)]
    if not several:
        raise UsageError("the file has no descriptor of a multi-key wallet")
    whole = [text for text in several if "<" in text or "{0,1}" in text]
    if len(whole) == 1:
        return whole[0]
    if len(whole) > 1 or len(several) > 2:
        raise UsageError("the file has several wallets: give the descriptor of one of them")
    return " ".join(several)


def _coldcard(lines: Sequence[str]) -> WalletFile:
    """Each key has the derivation that was named last before it, or the one that is named for all."""
    told: dict[str, str] = {}
    keys: list[tuple[str, str, str]] = []
    for line in lines:
        head, key = _HEAD_LINE.fullmatch(line), _KEY_LINE.fullmatch(line)
        if head is not None and (not line.startswith("#") or head[1].lower() == "derivation"):
            told[head[1].lower()] = head[2].strip()
        elif key is not None:
            keys.append((key[1], told.get("derivation", ""), key[2]))
        elif line and not line.startswith("#"):
            raise UsageError("the file looks like Coldcard's multisig text, but has a line that does not belong there")
    policy = _POLICY.fullmatch(told.get("policy", ""))
    if policy is None:
        raise UsageError('the file does not say how many keys sign (a line "Policy: 2 of 3")')
    if int(policy[2]) != len(keys):
        raise UsageError(f"the file's policy names {int(policy[2])} keys, but it has {len(keys)}")
    signers = [_signer(xpub, fingerprint, path or told.get("derivation", "")) for fingerprint, path, xpub in keys]
    wrap = _FORMATS.get(told["format"].upper()) if "format" in told else _wrap_of(signers)
    if wrap is None:
        raise UsageError('the file does not say which addresses it uses (a line "Format: P2WSH")')
    return WalletFile(_multisig(wrap, int(policy[1]), signers), told.get("name") or None)


def _bsms(lines: Sequence[str]) -> WalletFile:
    """BIP129's descriptor record: version, descriptor, path restrictions, first address."""
    if lines[0].strip() != "BSMS 1.0" or len(lines) < 3:
        raise UsageError("the file is a BSMS record of another version, or it is cut off")
    text, paths = lines[1].strip(), lines[2].replace(" ", "")
    if "(" not in text:
        raise UsageError("the file is one signer's BSMS record: use the coordinator's, which has the descriptor")
    if "/**" in text:
        body = check_descriptor(text) if "#" in text else text
        if paths not in ("/0/*,/1/*", "Nopathrestrictions"):
            raise UsageError("the BSMS record has path restrictions other than /0/*,/1/*")
        text = add_checksum(body.replace("/**", "/<0;1>/*"))
    address = lines[3].strip() if len(lines) > 3 else ""
    return WalletFile(text, address=address or None)


# JSON


def _of_json(text: str) -> WalletFile:
    try:
        # Electrum appends changes behind the first object.
        content, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        raise UsageError("the file looks like JSON, but cannot be read") from None
    if isinstance(content, list):
        return WalletFile(_core(content))
    if _OURS in content:
        return _our_own(content)
    if isinstance(content.get("descriptors"), list):
        return WalletFile(_core(content["descriptors"]), _text(content, "wallet_name"))
    if "wallet_type" in content:
        return _electrum(content)
    if "quorum" in content:
        return _caravan(content)
    name = _text(content, "label") or _text(content, "name")
    receive, change = _text(content, "recv_descriptor"), _text(content, "change_descriptor")
    if receive and change:
        return WalletFile(f"{receive} {change}", name)
    found = _text(content, "descriptor") or _text(content, "desc")
    if found is None:
        raise UsageError("this program does not know this wallet file")
    return WalletFile(_with_change(found), name)


def _our_own(content: Mapping[str, object]) -> WalletFile:
    if content[_OURS] != _VERSION:
        raise UsageError("the file was written by a later version of this program")
    name, descriptor = _text(content, "name"), _text(content, "descriptor")
    if name is None or descriptor is None:
        raise UsageError("the file is damaged: it has no name or no descriptor")
    others = content.get("others")
    further = [text for text in others if isinstance(text, str)] if isinstance(others, list) else []
    return WalletFile(descriptor, name, _text(content, "registration"), others=tuple(further))


def _with_change(text: str) -> str:
    """Specter and its kin write the receive half alone: change is at 1 there by convention."""
    if "<" in text or "{" in text:
        return text
    body = check_descriptor(text) if "#" in text else text
    halves = len(_RECEIVE_HALF.findall(body))
    if not halves or halves != body.count("*"):
        return text
    return add_checksum(_RECEIVE_HALF.sub("/<0;1>/*", body))


def _core(entries: Sequence[object]) -> str:
    """Of Bitcoin Core's entries those in use, receive before change."""
    found: list[tuple[bool, bool, str]] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("desc"), str):
            raise UsageError("the file looks like Bitcoin Core's descriptors, but cannot be read")
        if not _SINGLE.match(entry["desc"]):
            found.append((entry.get("active") is not True, entry.get("internal") is True, entry["desc"]))
    used = [item for item in found if not item[0]] or found
    return _chosen([text for _, _, text in sorted(used, key=lambda item: item[1])])


def _electrum(content: Mapping[str, object]) -> WalletFile:
    kind = re.fullmatch(r"(\d{1,2})of(\d{1,2})", _text(content, "wallet_type") or "")
    if kind is None:
        raise UsageError("the Electrum wallet is not a multisig wallet: a single-key wallet needs no registration")
    signers = []
    for number in range(1, int(kind[2]) + 1):
        store = content.get(f"x{number}/")
        xpub = _text(store, "xpub") if isinstance(store, dict) else None
        if not isinstance(store, dict) or xpub is None:
            raise UsageError(f"the Electrum wallet has no extended key for its signer {number}")
        signers.append(_signer(xpub, _text(store, "root_fingerprint"), _text(store, "derivation") or ""))
    forms = {signer.script for signer in signers}
    if len(forms) > 1:
        raise UsageError("the Electrum wallet mixes keys of different address types")
    return WalletFile(_multisig(_ELECTRUM.get(forms.pop(), _FORMATS["P2SH"]), int(kind[1]), signers))


def _caravan(content: Mapping[str, object]) -> WalletFile:
    quorum, keys = content["quorum"], content.get("extendedPublicKeys")
    wrap = _FORMATS.get((_text(content, "addressType") or "").upper())
    if not isinstance(quorum, dict) or not isinstance(keys, list) or wrap is None:
        raise UsageError("the file looks like Caravan's, but cannot be read")
    threshold = quorum.get("requiredSigners")
    signers = []
    for key in keys:
        if not isinstance(key, dict) or not isinstance(key.get("xpub"), str):
            raise UsageError("the file looks like Caravan's, but cannot be read")
        signers.append(_signer(key["xpub"], _text(key, "xfp"), _text(key, "bip32Path") or ""))
    if not isinstance(threshold, int) or isinstance(threshold, bool):
        raise UsageError("the file looks like Caravan's, but cannot be read")
    return WalletFile(_multisig(wrap, threshold, signers), _text(content, "name"))


def _text(content: Mapping[str, object], key: str) -> str | None:
    value = content.get(key)
    return value if isinstance(value, str) and value else None


# Keys


@dataclass(frozen=True, slots=True)
class _Signer:
    origin: KeyOrigin | None
    key: ExtendedPublicKey
    version: bytes

    @property
    def network(self) -> Network:
        return network_of_version(self.version) or Network.MAIN

    @property
    def script(self) -> ScriptType | None:
        """Which addresses the key is written for (SLIP-132)."""
        return next((script for script in ScriptType if script.slip132(self.network) == self.version), None)


def _signer(xpub: str, fingerprint: str | None, path: str) -> _Signer:
    """A cosigner; without origin where the file does not tell it."""
    try:
        version, key = base58check_decode(xpub)[:4], ExtendedPublicKey.from_string(xpub)
        levels = Path.parse(path)
    except UsageError:
        raise UsageError("an extended key in the file, or its derivation, cannot be read") from None
    if network_of_version(version) is None:
        raise UsageError("an extended key in the file is neither an xpub nor a tpub, nor another form of one")
    if re.fullmatch(r"[0-9a-fA-F]{8}", fingerprint or ""):
        master = bytes.fromhex(fingerprint or "")
    elif levels.depth == key.depth <= 1:
        # The key is the master key, or the master key is its parent.
        master = key.parent_fingerprint if key.depth else key.fingerprint
    else:
        return _Signer(None, key, version)
    return _Signer(KeyOrigin(master, levels) if path else None, key, version)


def _wrap_of(signers: Sequence[_Signer]) -> str | None:
    """Which addresses the keys' paths are for, by BIP45 and BIP48."""
    forms = {_form(signer) for signer in signers}
    return _FORMATS.get(forms.pop() or "") if len(forms) == 1 else None


def _form(signer: _Signer) -> str | None:
    levels = str(signer.origin.path).split("/") if signer.origin else []
    if levels == ["m", "45h"]:
        return "P2SH"
    if len(levels) == 5 and levels[1] == "48h":
        return {"1h": "P2SH-P2WSH", "2h": "P2WSH"}.get(levels[4])
    return None


def _multisig(wrap: str, threshold: int, signers: Sequence[_Signer]) -> str:
    """The descriptor of keys that are sorted, as all of these programs do."""
    return add_checksum(wrap.format(f"sortedmulti({threshold},{','.join(_expressions(signers))})"))


def _expressions(signers: Sequence[_Signer]) -> Iterator[str]:
    for signer in signers:
        origin = "" if signer.origin is None else str(signer.origin)
        yield f"{origin}{signer.key.to_string(signer.network.version)}/<0;1>/*"
