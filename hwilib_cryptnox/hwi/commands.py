"""HWI's commands as `hwi-cryptnox` answers them: on a `Wallet`, without hwilib. Results are what HWI prints as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from cryptnox_core.bip32 import HARDENED, KeyOrigin, Path
from hwilib_cryptnox.errors import BadRequestError, UnavailableError, WalletError
from hwilib_cryptnox.export import CHANGE, RECEIVE, Cosigner, add_checksum, descriptor_checksum
from hwilib_cryptnox.networks import ADDRESS_TYPES, AccountType, Network, TaprootType, account_path
from hwilib_cryptnox.signer.signatures.keys import hardened_levels
from hwilib_cryptnox.signer.signatures.taproot import Taproot
from hwilib_cryptnox.signer.wallet import Wallet

Result = dict[str, object]


def getmasterxpub(wallet: Wallet, network: Network, address_type: str, account: int) -> Result:
    """The extended public key of an account."""
    key = wallet.xpub(account_path(ADDRESS_TYPES[address_type], network, account))
    return {"xpub": key.to_string(network.version)}


def getxpub(wallet: Wallet, network: Network, path: str, *, expert: bool, whose: bool = False) -> Result:
    """The extended public key at a path; with `expert` taken apart, with `whose` also the master key's fingerprint."""
    key = wallet.xpub(Path.parse(path))
    result: Result = {"xpub": key.to_string(network.version)}
    if expert:
        result |= {
            "testnet": network is Network.TEST,
            "private": False,
            "depth": key.depth,
            "parent_fingerprint": key.parent_fingerprint.hex(),
            "child_num": key.child_number,
            "chaincode": key.chain_code.hex(),
            "pubkey": key.public_key.hex(),
        }
    if whose:
        result["fingerprint"] = wallet.fingerprint().hex()
    return result


def address_types(*, rawtr: bool, taproot: bool) -> list[AccountType]:
    """What descriptors are given for, in HWI's order. `rawtr`: untweaked taproot outputs are wanted, also of a card
    that signs the key paths of tweaked ones (`taproot`)."""
    kinds = [kind for kind in ADDRESS_TYPES.values() if kind is not TaprootType.RAWTR]
    if rawtr or taproot:
        kinds.append(TaprootType.RAWTR if rawtr else TaprootType.P2TR)
    return kinds


def getdescriptors(wallet: Wallet, network: Network, account: int, *, rawtr: bool) -> Result:
    """Receive and change descriptors of each address type."""
    taproot = not rawtr and wallet.taproot() is Taproot.SIGNS
    accounts = {kind: account_path(kind, network, account) for kind in address_types(rawtr=rawtr, taproot=taproot)}
    keys = wallet.xpubs(list(accounts.values()))
    fingerprint = wallet.fingerprint()
    return {
        name: [
            _descriptor(kind, Cosigner(KeyOrigin(fingerprint, path), keys[path]), network, f"{branch}/*")
            for kind, path in accounts.items()
        ]
        for name, branch in (("receive", RECEIVE), ("internal", CHANGE))
    }


def _descriptor(kind: AccountType, key: Cosigner, network: Network, suffix: str) -> str:
    return add_checksum(kind.wrap(f"{key.expression(network)}/{suffix}"))


def getkeypool(wallet: Wallet, network: Network, options: Mapping[str, object], *, rawtr: bool) -> list[Result]:
    """Descriptors as Bitcoin Core's `importdescriptors` takes them."""
    start, end = int(str(options["start"])), int(str(options["end"]))
    if not 0 <= start <= end < HARDENED:
        raise BadRequestError("The range must begin at 0 or above, not end before it begins, and end below 2^31")
    kind = ADDRESS_TYPES[str(options["addr_type"])]
    if options["addr_all"]:
        kinds = address_types(rawtr=rawtr, taproot=not rawtr and wallet.taproot() is Taproot.SIGNS)
    elif kind is TaprootType.RAWTR and not rawtr:
        found = wallet.taproot()
        if found is not Taproot.SIGNS:
            raise UnavailableError(
                f"Device does not support Taproot: {found.words}. --rawtr gives descriptors of untweaked outputs"
            )
        kinds = [TaprootType.P2TR]
    else:
        kinds = [kind]
    path, internal = options["path"], bool(options["internal"])
    if path is not None:
        wanted = [(one, *_split(str(path)), internal) for one in kinds]
    else:
        account = int(str(options["account"]))
        wanted = [
            (one, account_path(one, network, account), f"{int(change)}/*", change)
            for one in kinds
            for change in ((True,) if internal else (False, True))
        ]
    keys = wallet.xpubs([base for _, base, _, _ in wanted])
    fingerprint = wallet.fingerprint()
    return [
        {
            "desc": _descriptor(one, Cosigner(KeyOrigin(fingerprint, base), keys[base]), network, suffix),
            "range": [start, end],
            "timestamp": "now",
            "internal": change,
            "keypool": options["keypool"],
            "active": options["keypool"],
            "watchonly": True,
        }
        for one, base, suffix, change in wanted
    ]


def _split(text: str) -> tuple[Path, str]:
    """A path like `m/84h/0h/0h/1/*`: the key to ask the card for, and what follows it."""
    if not text.startswith("m"):
        raise BadRequestError("Path must start with m/")
    if not text.endswith("/*"):
        raise BadRequestError("Path must end with /*")
    path = Path.parse(text.removesuffix("/*"))
    hardened = hardened_levels(path)
    below = [str(step) for step in path.steps[hardened:]]
    return Path(path.steps[:hardened]), "/".join([*below, "*"])


def check_descriptor(text: str, fingerprint: bytes | None) -> None:
    """What is wrong with the descriptor of an address to be shown: BadRequestError where it is none, or one of
    another device; nobody else's answer would be true of it. `fingerprint`: the device's, 4 bytes, None: not known.

    Only a descriptor without private keys is repeated in the error, as HWI does."""
    from embit.descriptor import Descriptor

    from hwilib_cryptnox.export.policy_keys import PRIVATE_TEXT

    body, mark, checksum = text.partition("#")
    try:
        if mark and checksum != descriptor_checksum(body):
            raise BadRequestError("The checksum of the descriptor is wrong: copy it again")
        descriptor = Descriptor.from_string(body)
    except WalletError:
        raise
    except Exception as error:  # embit's parser has many ways to stumble over what is no descriptor
        raise BadRequestError("The descriptor cannot be read: copy it again") from error
    if any(getattr(key, "is_private", False) for key in descriptor.keys):
        raise BadRequestError(PRIVATE_TEXT)
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
