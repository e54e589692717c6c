"""What a wallet is, derived without our code: by BDK and by embit, which have to agree."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

from embit import bip32, script
from embit.networks import NETWORKS

from tests.support.optional import bdk

TEMPLATES = {
    "p2wpkh": (84, "new_bip84", script.p2wpkh),
    "p2sh-p2wpkh": (49, "new_bip49", lambda key: script.p2sh(script.p2wpkh(key))),
    "p2pkh": (44, "new_bip44", script.p2pkh),
}


@dataclass(frozen=True)
class Derived:
    """The public side of a seed."""

    root: bip32.HDKey
    secret: bdk.DescriptorSecretKey
    test: bool = False

    @classmethod
    def of_words(cls, words: str, passphrase: str = "", *, test: bool = False) -> Derived:
        """By BIP39, each library for itself; BDK takes no passphrase that is not NFKD."""
        plain = unicodedata.normalize("NFKD", passphrase)
        seed = hashlib.pbkdf2_hmac("sha512", words.encode(), b"mnemonic" + plain.encode(), 2048)
        kind = bdk.NetworkKind.TEST if test else bdk.NetworkKind.MAIN
        secret = bdk.DescriptorSecretKey(kind, bdk.Mnemonic.from_string(words), plain or None)
        return cls(bip32.HDKey.from_seed(seed), secret, test)

    @classmethod
    def of_seed(cls, seed: bytes) -> Derived:
        """Of a binary seed, as cards make them."""
        root = bip32.HDKey.from_seed(seed)
        return cls(root, bdk.DescriptorSecretKey.from_string(root.to_string()))

    @property
    def fingerprint(self) -> str:
        """Of the master key, hexadecimal."""
        return str(self.root.my_fingerprint.hex())

    def account_key(self, path: str) -> str:
        """`[fingerprint/path]xpub...`, as BDK writes it with `h`."""
        key = str(self.secret.derive(bdk.DerivationPath(path.replace("h", "'"))).as_public()).replace("'", "h")
        version = NETWORKS["test" if self.test else "main"]["xpub"]
        theirs = self.root.derive(path).to_public().to_string(version)
        assert key.endswith(theirs) and key.startswith(f"[{self.fingerprint}/"), "BDK and embit part"
        return key

    def addresses(self, kind: str, count: int, network: str = "main") -> list[str]:
        """The first receive addresses of the first account."""
        purpose, template, make = TEMPLATES[kind]
        net = bdk.NetworkKind.TEST if self.test else bdk.NetworkKind.MAIN
        bdk_network = {"main": bdk.Network.BITCOIN, "test": bdk.Network.TESTNET, "regtest": bdk.Network.REGTEST}[
            network
        ]
        descriptor = getattr(bdk.Descriptor, template)(self.secret, bdk.KeychainKind.EXTERNAL, net)
        first = [str(descriptor.derive_address(number, bdk_network)) for number in range(count)]
        branch = self.root.derive(f"m/{purpose}h/{int(self.test)}h/0h/0")
        second = [
            make(branch.derive([number]).key.get_public_key()).address(NETWORKS[network]) for number in range(count)
        ]
        assert first == second, "BDK and embit part"
        return first
