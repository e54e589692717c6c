"""Shares of SLIP-0039: the standard's vectors, sets of its reference implementation, and what does not fit."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from embit.bip32 import HDKey

from hwilib_cryptnox.signer.setup.slip39 import SHARE_WORDS, Share, ShareError, ShareSet, checked_passphrase

VECTORS = Path(__file__).with_name("vectors")
STANDARD: list[list[Any]] = json.loads((VECTORS / "slip39.json").read_text())
"""vectors.json of python-shamir-mnemonic at 17fcce1 (MIT): name, shares, secret (empty: refused), master key."""
GENERATED: list[dict[str, Any]] = json.loads((VECTORS / "slip39-generated.json").read_text())
"""Made with shamir-mnemonic 0.3.0: groups, thresholds, lengths, passphrases and both kinds at random; in any order."""


def combined(shares: list[str], passphrase: str = "") -> bytes:
    known = ShareSet()
    for share in shares:
        known.add(Share.parse(share.split()))
    return known.secret(passphrase)


@pytest.mark.parametrize("vector", STANDARD, ids=lambda vector: vector[0].partition(".")[0])
def test_the_standards_vectors(vector: list[Any]) -> None:
    """All with the passphrase TREZOR. The secret is the BIP32 seed itself."""
    _, shares, secret, master = vector
    if not secret:
        with pytest.raises(ShareError):
            combined(shares, "TREZOR")
        return
    assert combined(shares, "TREZOR").hex() == secret
    assert HDKey.from_seed(bytes.fromhex(secret)).to_base58() == master


def test_there_are_all_of_them() -> None:
    assert len(STANDARD) == 45 and sum(bool(secret) for _, _, secret, _ in STANDARD) == 15


@pytest.mark.parametrize("number", range(len(GENERATED)))
def test_sets_of_the_reference_implementation(number: int) -> None:
    made = GENERATED[number]
    assert combined(made["shares"], made["passphrase"]).hex() == made["secret"]


SETS = [made["shares"] for made in GENERATED]
TWO_OF_THREE: list[str] = STANDARD[3][1]


def test_any_order_and_nothing_too_much() -> None:
    shares: list[str] = STANDARD[16][1]
    assert {combined(list(order), "TREZOR") for order in itertools.permutations(shares)} == {
        bytes.fromhex(STANDARD[16][2])
    }


def test_what_is_missing_is_said() -> None:
    known = ShareSet()
    assert (known.wanted(), known.complete, known.count) == ("the first share", False, 0)
    known.add(Share.parse(TWO_OF_THREE[0].split()))
    assert (known.wanted(), known.complete, known.count) == ("1 more share", False, 1)
    known.add(Share.parse(TWO_OF_THREE[1].split()))
    assert (known.wanted(), known.complete, known.count) == ("", True, 2)
    groups = ShareSet()
    said = []
    for share in STANDARD[16][1]:
        groups.add(Share.parse(share.split()))
        said.append(groups.wanted())
    assert said[-1] == "" and all(said[:-1]) and any("of another group" in one for one in said), said


@pytest.mark.parametrize("known", SETS, ids=range(len(SETS)))
def test_every_slip_in_a_word_is_found(known: list[str]) -> None:
    """RS1024 finds up to three wrong words; two that changed places are two."""
    from embit.wordlists.slip39 import SLIP39_WORDS

    words = known[0].split()
    for place in range(0, len(words), 3):
        other = SLIP39_WORDS[(SLIP39_WORDS.index(words[place]) + 1 + place) % 1024]
        changed = [*words[:place], other, *words[place + 1 :]]
        with pytest.raises(ShareError) as caught:
            Share.parse(changed)
        assert not set(str(caught.value).replace(":", " ").split()) & {*words, other} - {"share", "list"}


def test_shares_that_do_not_fit_change_nothing() -> None:
    one, other = (Share.parse(share.split()) for share in TWO_OF_THREE)
    stranger = Share.parse(SETS[0][0].split())
    known = ShareSet()
    known.add(one)
    for wrong, word in ((one, "before"), (stranger, "a different backup")):
        with pytest.raises(ShareError, match=word):
            known.add(wrong)
        assert known.count == 1 and not known.complete
    known.add(other)
    with pytest.raises(ShareError):
        known.add(other)
    assert known.secret("TREZOR").hex() == STANDARD[3][2]


def test_a_share_too_much_of_a_group_is_not_used() -> None:
    """A third one of two that are needed would not change the secret, if it is honest."""
    from dataclasses import replace

    known = ShareSet()
    for share in TWO_OF_THREE:
        known.add(Share.parse(share.split()))
    third = replace(Share.parse(TWO_OF_THREE[0].split()), member=9, value=bytes(16))
    with pytest.raises(ShareError, match="not needed"):
        known.add(third)
    assert known.secret("TREZOR").hex() == STANDARD[3][2]


@pytest.mark.parametrize("count", [count for count in range(40) if count not in SHARE_WORDS])
def test_other_numbers_of_words_are_no_share(count: int) -> None:
    with pytest.raises(ShareError, match=f"not {count}"):
        Share.parse(["academic"] * count)


def test_passphrases() -> None:
    """Every one gives a secret; blanks count; what is no printable ASCII is refused."""
    share = STANDARD[0][1]
    assert len({combined(share, text) for text in ("", " ", "TREZOR", "trezor", "TREZOR ")}) == 5
    for text in ("zürich", "a\tb", "\x7f", "x\n", "\u00a0"):
        with pytest.raises(ShareError, match="passphrase"):
            checked_passphrase(text)


def test_nothing_secret_is_in_a_repr() -> None:
    share = Share.parse(TWO_OF_THREE[0].split())
    known = ShareSet()
    known.add(share)
    for text in (repr(share), repr(known), str(share)):
        assert share.value.hex() not in text and repr(share.value) not in text
