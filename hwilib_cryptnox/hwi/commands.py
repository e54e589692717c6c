"""HWI's commands as `hwi-cryptnox` answers them: on a `Wallet`, without hwilib. Results are what HWI prints as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptnox_core.bip32 import HARDENED, TPUB, XPUB, ExtendedPublicKey, KeyOrigin, Path
from hwilib_cryptnox.errors import BadRequestError, UnavailableError, WalletError
from hwilib_cryptnox.export import CHANGE, RECEIVE, add_checksum, descriptor_checksum
from hwilib_cryptnox.signer.wallet import Wallet

Result = dict[str, object]

_PURPOSES = {"legacy": 44, "wit": 84, "sh_wit": 49, "tap": 86}
_WRAPPERS = {"legacy": ("pkh(", ")"), "wit": ("wpkh(", ")"), "sh_wit": ("sh(wpkh(", "))"), "tap": ("rawtr(", ")")}
NO_TAPROOT_TEXT = (
    "Device does not support Taproot: the card cannot tweak keys. --rawtr gives descriptors of untweaked outputs"
)


@dataclass(frozen=True, slots=True)
class Network:
    """The chain the command is for."""

    chain: str

    @property
    def test(self) -> bool:
        """Any chain but the main one."""
        return self.chain != "main"

    def text(self, key: ExtendedPublicKey) -> str:
        """xpub or tpub."""
        return key.to_string(TPUB if self.test else XPUB)

    def account(self, address_type: str, account: int) -> Path:
        """The account of an address type; BadRequestError for a number that is none."""
        if not 0 <= account < HARDENED:
            raise BadRequestError("an account number is between 0 and 2^31-1")
        levels = (_PURPOSES[address_type], int(self.test), account)
        return Path(tuple(level | HARDENED for level in levels))


def getmasterxpub(wallet: Wallet, network: Network, address_type: str, account: int) -> Result:
    """The extended public key of an account."""
    return {"xpub": network.text(wallet.xpub(network.account(address_type, account)))}


def getxpub(wallet: Wallet, network: Network, path: str, *, expert: bool) -> Result:
    """The extended public key at a path; with `expert` taken apart."""
    key = wallet.xpub(Path.parse(path))
    result: Result = {"xpub": network.text(key)}
    if expert:
        result |= {
            "testnet": network.test,
            "private": False,
            "depth": key.depth,
            "parent_fingerprint": key.parent_fingerprint.hex(),
            "child_num": key.child_number,
            "chaincode": key.chain_code.hex(),
            "pubkey": key.public_key.hex(),
        }
    return result


def address_types(*, rawtr: bool) -> list[str]:
    """What descriptors are given for, in HWI's order."""
    return ["legacy", "wit", "sh_wit", *(["tap"] if rawtr else [])]


def getdescriptors(wallet: Wallet, network: Network, account: int, *, rawtr: bool) -> Result:
    """Receive and change descriptors of each address type."""
    accounts = {kind: network.account(kind, account) for kind in address_types(rawtr=rawtr)}
    keys = wallet.xpubs(list(accounts.values()))
    fingerprint = wallet.fingerprint()
    return {
        name: [
            _descriptor(kind, KeyOrigin(fingerprint, path), network.text(keys[path]), f"{branch}/*")
            for kind, path in accounts.items()
        ]
        for name, branch in (("receive", RECEIVE), ("internal", CHANGE))
    }


def _descriptor(address_type: str, origin: KeyOrigin, key: str, suffix: str) -> str:
    head, tail = _WRAPPERS[address_type]
    return add_checksum(f"{head}{origin}{key}/{suffix}{tail}")


def getkeypool(wallet: Wallet, network: Network, options: Mapping[str, object], *, rawtr: bool) -> list[Result]:
    """Descriptors as Bitcoin Core's `importdescriptors` takes them."""
    kind = str(options["addr_type"])
    if kind == "tap" and not rawtr and not options["addr_all"]:
        raise UnavailableError(NO_TAPROOT_TEXT)
    kinds = address_types(rawtr=rawtr) if options["addr_all"] else [kind]
    path, internal = options["path"], bool(options["internal"])
    if path is not None:
        wanted = [(name, *_split(str(path)), internal) for name in kinds]
    else:
        wanted = [
            (name, network.account(name, int(str(options["account"]))), f"{int(change)}/*", change)
            for name in kinds
            for change in ((True,) if internal else (False, True))
        ]
    keys = wallet.xpubs([base for _, base, _, _ in wanted])
    fingerprint = wallet.fingerprint()
    return [
        {
            "desc": _descriptor(name, KeyOrigin(fingerprint, base), network.text(keys[base]), suffix),
            "range": [options["start"], options["end"]],
            "timestamp": "now",
            "internal": change,
            "keypool": options["keypool"],
            "active": options["keypool"],
            "watchonly": True,
        }
        for name, base, suffix, change in wanted
    ]


def _split(text: str) -> tuple[Path, str]:
    """A path like `m/84h/0h/0h/1/*`: the key to ask the card for, and what follows it."""
    if not text.startswith("m"):
        raise BadRequestError("Path must start with m/")
    if not text.endswith("/*"):
        raise BadRequestError("Path must end with /*")
    path = Path.parse(text.removesuffix("/*"))
    hardened = max((depth for depth, step in enumerate(path.steps, 1) if step >= HARDENED), default=0)
    below = [str(step) for step in path.steps[hardened:]]
    return Path(path.steps[:hardened]), "/".join([*below, "*"])


def check_descriptor(text: str, fingerprint: bytes | None) -> None:
    """What is wrong with the descriptor of an address to be shown: BadRequestError where it is none, or one of
    another device; nobody else's answer would be true of it. `fingerprint`: the device's, 4 bytes, None: not known."""
    from embit.descriptor import Descriptor

    body, mark, checksum = text.partition("#")
    try:
        if mark and checksum != descriptor_checksum(body):
            raise BadRequestError(f"The checksum of the descriptor is wrong: {text}")
        descriptor = Descriptor.from_string(body)
    except WalletError:
        raise
    except Exception as error:  # embit's parser has many ways to stumble over what is no descriptor
        raise BadRequestError(f"This is no descriptor that devices show addresses of: {text}") from error
    if descriptor.key is None:  # several keys, which need not be this device's
        return
    origin = descriptor.key.origin
    if origin is None:
        raise BadRequestError(f"Descriptor missing origin info: {text}")
    if fingerprint not in (None, bytes(origin.fingerprint)):
        raise BadRequestError(f"Descriptor fingerprint does not match device: {text}")


def signmessage(wallet: Wallet, message: str, path: str) -> Result:
    """A message signature. The bytes of the argument are signed, also those that are no text."""
    return {"signature": wallet.sign_message(message.encode("utf-8", "surrogateescape"), Path.parse(path))}
