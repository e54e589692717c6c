"""Whether a miniscript is sound: judged as BIP379 and BDK do it, where embit is milder."""

from __future__ import annotations

import random

import pytest

from hwilib_cryptnox.networks import Network
from hwilib_cryptnox.signer.wallets import PolicyError, WalletPolicy
from tests.psbt.factory import Wallet
from tests.signer.test_wallets import bdk_script, key
from tests.support.optional import bdk
from tests.support.versions import parsed

KEYS = [key(Wallet(b"a signer of random scripts, number %d" % number)) for number in range(12)]
HASH = "ab" * 32
A, B, C, D = KEYS[:4]
MIXED = "waits for a block and for a time"
UNSOUND = "no sound miniscript"
REFUSED = {
    "a leaf whose top element may be empty": (f"tr({A},j:multi_a(1,{B},{C}))", UNSOUND),
    "an and_v that is to be dissatisfied": (
        f"wsh(and_n(tv:and_b(pk({A}),a:and_n(pkh({B}),pk({C}))),pk({D})))",
        UNSOUND,
    ),
    "or_b of what has to be satisfied": (f"tr({A},or_b(tv:pk({B}),al:pk({C})))", UNSOUND),
    "thresh of what has to be satisfied": (f"wsh(thresh(1,pk({A}),atv:pk({B})))", UNSOUND),
    "andor whose first part is no condition": (f"wsh(andor(u:after(499999999),pk({A}),pk({B})))", UNSOUND),
    "a lock of nothing in a leaf": (f"tr({A},and_v(v:pk({B}),tv:older(0)))", "from 1 to"),
    "a block and a time": (f"wsh(and_v(v:pk({A}),and_v(v:pk({B}),and_v(v:after(100),after(1600000000)))))", MIXED),
    "waiting for blocks and seconds": (
        f"wsh(thresh(3,pk({A}),sln:older(9),sln:older(4194400),s:pk({B})))",
        MIXED,
    ),
    "a leaf that waits for both": (f"tr({A},{{pk({B}),and_v(v:older(9),and_v(v:older(4194305),pk({C})))}})", MIXED),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, reason = REFUSED[name]
    with pytest.raises(PolicyError, match=reason):
        parsed(text)


@pytest.mark.parametrize(
    "text",
    [
        f"wsh(or_i(and_v(v:pk({A}),after(100)),and_v(v:pk({B}),after(1600000000))))",
        f"wsh(thresh(1,pk({A}),a:and_b(pk({B}),al:older(9)),a:and_b(pk({C}),al:older(4194400))))",
        f"wsh(andor(pk({A}),and_v(v:older(9),after(1600000000)),and_v(v:pk({B}),after(9))))",
        f"wsh(and_v(v:pk({A}),and_v(v:older(9),pk({B}))))",
        f"wsh(and_v(or_c(pk({A}),or_c(pk({B}),v:sha256({HASH}))),pk({C})))",
    ],
)
def test_each_way_may_wait_for_its_own(text: str) -> None:
    assert parsed(text).script(0, 5) == bdk_script(text, Network.MAIN, 0, 5)


class Scripts:
    """Random ones, many of them unsound."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.keys: list[str] = []

    def script(self, depth: int) -> str:
        self.keys = self.random.sample(KEYS, len(KEYS))
        inner = self.part(depth)
        return f"wsh({inner})"

    def key(self) -> str:
        return self.keys.pop() if self.keys else self.random.choice(KEYS)

    def part(self, depth: int) -> str:
        pick = self.random.choice
        if depth <= 0 or self.random.random() < 0.25:
            name = pick(("pk", "pkh", "multi", "older", "after", "sha256"))
            if name == "sha256":
                return f"sha256({HASH})"
            if name in ("older", "after"):
                return f"{name}({pick((0, 1, 65536, 4194305, 499999999, 500000000, 2147483647, 2147483648))})"
            return f"multi({pick((1, 2))},{self.key()},{self.key()})" if name == "multi" else f"{name}({self.key()})"
        name = pick(["and_v", "and_b", "and_n", "or_b", "or_c", "or_d", "or_i", "andor", "thresh", *"avsjnlutdc"])
        if len(name) == 1:
            return wrapped(name, self.part(depth - 1))
        first, second, third = (self.part(depth - 1) for _ in range(3))
        if name == "thresh":
            needed = pick((0, 1, 2, 3, 4))
            return f"thresh({needed},{first},{wrapped(pick('as'), second)},{wrapped(pick('as'), third)})"
        if name == "andor":
            return f"andor({first},{second},{third})"
        if name == "and_v":
            first = wrapped("v", first)
        if name == "or_c":
            return wrapped("t", f"or_c({first},{wrapped('v', second)})")
        if name in ("and_b", "or_b"):
            second = wrapped(pick("as"), second)
        return f"{name}({first},{second})"


def wrapped(wrapper: str, text: str) -> str:
    head, colon, _ = text.partition(":")
    return f"{wrapper}{text}" if colon and head.isalpha() else f"{wrapper}:{text}"


@pytest.mark.parametrize("seed", range(4))
def test_what_is_accepted_is_bdks_too(seed: int) -> None:
    """And what BDK accepts is refused here for another reason only: one key, no key, one key twice, or a way to spend
    that waits for two things at once."""
    scripts, accepted, refused = Scripts(seed), 0, 0
    for _ in range(400):
        text = scripts.script(scripts.random.randrange(1, 4))
        try:
            policy = WalletPolicy.parse(text)
        except PolicyError as error:
            refused += 1
            if not any(
                known in str(error) for known in ("one key", "needs no key", "extended one", "from 1 to", MIXED)
            ):
                with pytest.raises(bdk.DescriptorError):
                    bdk.Descriptor(text, bdk.NetworkKind.MAIN)
            continue
        accepted += 1
        assert policy.script(1, 9) == bdk_script(text, Network.MAIN, 1, 9), text
    assert accepted > 20 and refused > 100
