"""What is on paper is what is on the card: the words, by BDK and by embit, against the card's seed and what is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from embit import bip39
from embit.bip32 import HDKey

from tests.support.emulator import MNEMONIC
from tests.support.optional import bdk
from tests.system.life.facts import first_address, seed_of_words
from tests.system.life.play import Played, play
from tests.system.life.scenes import COMMON, FRESH, SCENES, Scene

WORDS_24 = bip39.mnemonic_from_bytes(bytes(range(32)))
PAPERS = [
    (MNEMONIC, ""),
    (WORDS_24, ""),
    (MNEMONIC, "TREZOR"),
    (WORDS_24, " a blank at its end "),
    (bip39.mnemonic_from_bytes(bytes(range(20))), "Grüße"),
]
IDS = ["12", "24", "12 and passphrase", "24 and passphrase with blanks", "15 and passphrase with accents"]
ON_PAPER = ["ctl setup new", "ctl setup new, checked", "ctl setup new, 24 words", "hwi setup words"]
RESTORED = ["ctl setup restore", "ctl setup, initialised", "hwi restore", "hwi restore, initialised"]
UNSEEN = ["ctl setup card", "ctl setup dual", "hwi setup card"]


def by_bdk(words: str, passphrase: str = "") -> tuple[str, str]:
    """Fingerprint and first segwit address of words."""
    key = bdk.DescriptorSecretKey(bdk.NetworkKind.MAIN, bdk.Mnemonic.from_string(words), passphrase)
    return of_key(key)


def of_key(key: bdk.DescriptorSecretKey) -> tuple[str, str]:
    """The same of a master key."""
    receive, change = (
        bdk.Descriptor.new_bip84(key, chain, bdk.NetworkKind.MAIN)
        for chain in (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
    )
    wallet = bdk.Wallet(receive, change, bdk.Network.BITCOIN, bdk.Persister.new_in_memory())
    address = wallet.peek_address(bdk.KeychainKind.EXTERNAL, 0).address
    fingerprint = re.search(r"\[([0-9a-f]{8})/", str(receive))
    assert fingerprint is not None
    return fingerprint[1], str(address)


def check(scene: Scene, played: Played, fingerprint: str, address: str) -> None:
    """The card and all that was told agree with the paper."""
    assert not played.verdict, played.verdict
    for card in played.after:
        assert card.fingerprint == fingerprint
        assert first_address(card.seed) == address
    text = played.told.out + played.told.terminal
    assert fingerprint in text
    told = set(re.findall(r"\bbc1q[a-z0-9]{38}\b", text))
    assert told <= {address} and (told or scene.program == "hwi")


@pytest.mark.parametrize(("words", "passphrase"), PAPERS, ids=IDS)
@pytest.mark.parametrize("name", RESTORED)
def test_words_that_are_restored(name: str, words: str, passphrase: str, tmp_path: Path) -> None:
    scene = SCENES[name]
    seed = seed_of_words(words, passphrase)
    answers = (("own pairing key", "n"), ("passphrase", passphrase), ("Type it again", passphrase))
    scene = replace(
        scene,
        words=scene.words.replace("-w 12", f"-w {len(words.split())}"),
        person={**scene.person, "words": words, "answers": answers},
        wants={**scene.wants, "seed": seed},
    )
    if scene.memory().initialized:
        scene = replace(scene, wants={"seed": seed, "export": True})
    else:
        scene = replace(scene, person={**scene.person, **FRESH}, wants={**scene.wants, "pairing_key": COMMON})
    check(scene, play(scene, tmp_path), *by_bdk(words, passphrase))


@pytest.mark.parametrize("name", ON_PAPER)
def test_words_that_were_shown(name: str, tmp_path: Path) -> None:
    played = play(SCENES[name], tmp_path)
    words = " ".join(played.person.shown_words)
    assert seed_of_words(words) == played.after[0].seed
    check(SCENES[name], played, *by_bdk(words))


@pytest.mark.parametrize("name", UNSEEN)
def test_a_seed_that_nobody_sees(name: str, tmp_path: Path) -> None:
    """Of its master key."""
    played = play(SCENES[name], tmp_path)
    master = HDKey.from_seed(bytes.fromhex(played.after[0].seed)).to_base58()
    check(SCENES[name], played, *of_key(bdk.DescriptorSecretKey.from_string(master)))


def test_adopting_tells_what_is_on_the_card(tmp_path: Path) -> None:
    played = play(SCENES["ctl adopt"], tmp_path)
    master = HDKey.from_seed(bytes.fromhex(played.after[0].seed)).to_base58()
    check(SCENES["ctl adopt"], played, *of_key(bdk.DescriptorSecretKey.from_string(master)))
