"""`wallet`: wallets of several keys that this computer knows by name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path as FilePath

import click

from hwilib_cryptnox.console.wording import counted
from hwilib_cryptnox.ctl.app import App, CtlGroup
from hwilib_cryptnox.ctl.cards import open_card
from hwilib_cryptnox.ctl.cards import wallet as wallet_of
from hwilib_cryptnox.ctl.errors import CtlError, Exit
from hwilib_cryptnox.ctl.files import check_free, force_option, output_option, write_new
from hwilib_cryptnox.ctl.options import chain_option
from hwilib_cryptnox.ctl.qr import check_qr, draw, qr_options, write_qr
from hwilib_cryptnox.ctl.screen import FAINT, GOOD, STRONG, WARN, Report, Screen, said
from hwilib_cryptnox.ctl.wallets import chosen_chain, given_file, policy_of, quoted, refused, stored_wallet
from hwilib_cryptnox.errors import LeftError
from hwilib_cryptnox.export import core_import_wallet
from hwilib_cryptnox.export.imports import WalletFile, wallet_file
from hwilib_cryptnox.export.policy_words import is_nobodys
from hwilib_cryptnox.networks import Chain
from hwilib_cryptnox.signer.registered.card_wallets import CardWallet
from hwilib_cryptnox.signer.registered.registrar import known_before, prove, register, remember
from hwilib_cryptnox.signer.registered.registration import REGISTRATION_PATH, Registration, RegistrationError, verify
from hwilib_cryptnox.signer.review.shown import chain_text, grouped
from hwilib_cryptnox.signer.review.wallet_prompts import register_texts, together_note
from hwilib_cryptnox.signer.wallets import PolicyKey, WalletPolicy, check_name
from hwilib_cryptnox.storage.wallets import StoredWallet, WalletStore

wallet = CtlGroup("wallet", help="Multi-key wallets that this computer knows by name.")

_FIRST = 3
"""Addresses that are shown before a wallet is added."""
MAX_COUNT = 1_000
_SIGNED = "This card signed"


@wallet.command("add")
@click.argument("name")
@click.argument("source", metavar="DESCRIPTOR|FILE")
@click.option("--yes", is_flag=True, help="Add it without asking. Nobody compares the keys then.")
@chain_option
def wallet_add(app: App, name: str, source: str, yes: bool, chain: str) -> Report:  # noqa: ARG001
    """Register the wallet in DESCRIPTOR|FILE (- for stdin) under a NAME, after you compare its keys.

    From then on its change, coins, and addresses are recognized. Reads output descriptors, and the wallet files of
    Sparrow, Specter, Electrum, Bitcoin Core, Coldcard, and others. Asks for the PIN, to compare the card's key in the
    wallet with the card. The card makes one signature, with a key that no wallet uses and no coin needs.
    """
    if not yes and not app.terminal.available:
        raise CtlError(
            Exit.USAGE,
            "There is no terminal to show the wallet on. Nothing was registered",
            "--yes registers it without asking (CRYPTNOX_PIN_COMMAND or --stdinpass gives the PIN)",
        )
    with refused("The wallet"):
        name = check_name(name)
        found = given_file(app, source)
        policy, made = _read(found)
        shown_chain = chosen_chain(policy)
        _check_address(found, policy)
        known = known_before(app.state, name, policy)
        name = name if known is None else known.name
        with open_card(app, seeded=True) as opened:
            used = wallet_of(app, opened)
            try:
                key = prove(used, policy, [REGISTRATION_PATH])[REGISTRATION_PATH]
                fingerprint, serial = used.fingerprint(), opened.card.serial
                _check_new(known, fingerprint, key)
                own, note = _judge(made, key, name, yes)
                card = {fingerprint: f"this card, {serial}"}
                together = together_note(policy, used.taproot())
                _agree(app, yes, name, policy, shown_chain, card, (note, together), once=own is None)
                if yes and used.unlocker.confirms:
                    for texts in register_texts(name, policy, serial, fingerprint, shown_chain, together):
                        used.unlocker.confirm(*texts)
                registration = own or register(used, name, policy)
            finally:
                used.close()
    remember(app.state, name, policy, fingerprint, registration)
    stored = stored_wallet(app, name)
    data = {**_data(stored, policy, shown_chain, 1), "card": str(serial), "signature": own is None}
    signed = (
        ("No signature was made: this card had already signed the file's registration")
        if own
        else "The card signed it once"
    )
    return said(data, (f"Registered: {quoted(name)} with the card {serial}", GOOD), signed)


def _read(found: WalletFile) -> tuple[WalletPolicy, list[Registration]]:
    """The wallet, and the registrations of it that the file has."""
    made = [Registration.parse(text) for text in found.registrations]
    policy = WalletPolicy.parse(found.descriptor) if found.descriptor else made[0].policy
    if any(one.descriptor != policy.descriptor for one in made):
        raise RegistrationError("the file's registration does not match its descriptor: the file was changed")
    return policy, made


def _check_address(found: WalletFile, policy: WalletPolicy) -> None:
    told = found.address
    if told is not None and all(policy.address(0, 0, chain).lower() != told.lower() for chain in Chain):
        raise CtlError(Exit.INPUT, "The file's first address does not match its descriptor")


def _check_new(known: StoredWallet | None, fingerprint: bytes, key: bytes) -> None:
    """CtlError where the wallet has this card's signature already. `key`: that of registrations; what is no signature
    of it is made anew."""
    made = None if known is None else known.cards.get(fingerprint)
    if known is not None and made is not None and verify(key, known.name, known.descriptor, made):
        raise CtlError(
            Exit.USAGE,
            f"The wallet {quoted(known.name)} is already registered with this card",
            "nothing is needed: a second card with the same seed does not need its own registration",
        )


def _judge(made: Sequence[Registration], key: bytes, name: str, yes: bool) -> tuple[Registration | None, str]:
    """What the file's registrations are worth to the card with this key: the one that can be kept, and what is said.
    CtlError where none is the card's, and nobody is asked."""
    signed = [one for one in made if verify(key, one.name, one.descriptor, one.registration)]
    own = next((one for one in signed if one.name == name), None)
    if signed:
        under = "" if own else f" as {quoted(signed[0].name)}"
        return own, f"{_SIGNED} this wallet{under} before, and nobody has changed it since."
    if made and yes:
        raise CtlError(
            Exit.INPUT,
            "This card did not sign the file's registration. Nothing was registered",
            "compare every key in a terminal, without --yes",
        )
    return None, "This card did NOT sign the file's registration: compare every key." if made else ""


def _agree(
    app: App,
    yes: bool,
    name: str,
    policy: WalletPolicy,
    chain: Chain,
    cards: dict[bytes, str],
    notes: Sequence[str],
    *,
    once: bool,
) -> None:
    """Show the wallet, and ask. `once`: the card is to sign. LeftError for a no."""
    if yes and app.options.quiet:
        return
    screen = app.err if yes or app.err.fancy else Screen(app.terminal.stream)
    _show(screen, name, policy, chain, cards, _FIRST)
    for note in filter(None, notes):
        screen.paragraph(note, GOOD if note.startswith(_SIGNED) else WARN)
    if yes:
        return
    screen.paragraph(
        "Compare the keys with those that the other signers' devices show. A key that nobody compared may belong to "
        "a thief, and the signer it replaces could not sign."
    )
    app.terminal.fresh()
    if not app.terminal.agrees(f"Register {quoted(name)}{' with one signature' if once else ''}?"):
        raise LeftError("Canceled. Nothing was registered")


# What is said of a wallet


def _keys_of(policy: WalletPolicy, cards: dict[bytes, str]) -> list[tuple[str, str, str]]:
    """Of each signer: who it is, where the key comes from, and the key."""
    return [(_who(key, cards), _origin(key), _key_text(key)) for key in policy.signers]


def _who(key: PolicyKey, cards: dict[bytes, str]) -> str:
    if is_nobodys(key):
        return "nobody: its private key does not exist"
    return cards.get(key.fingerprint or b"", "another signer")


def _origin(key: PolicyKey) -> str:
    if key.origin is not None:
        return f"{key.origin.fingerprint.hex()}{str(key.origin.path)[1:]}"
    return "of unknown origin" if key.key is None else f"{key.key.fingerprint.hex()}, without a path"


def _key_text(key: PolicyKey) -> str:
    if key.key is None:
        return key.fixed.hex()
    return key.key.to_string(key.network.version) if key.network is not None else key.key.to_string()


def _show(screen: Screen, name: str, policy: WalletPolicy, chain: Chain, cards: dict[bytes, str], count: int) -> None:
    screen.fields(
        [
            ("Wallet", quoted(name), STRONG),
            ("Policy", policy.words, STRONG),
            ("Addresses", policy.kind.value),
            ("Network", chain_text(chain)),
        ]
    )
    if policy.threshold is None:
        ways = [str(way) for way in policy.ways] or ["too many ways to list: read the descriptor"]
        screen.table(("", "Ways to spend"), [(str(number), text) for number, text in enumerate(ways, 1)])
    keys = _keys_of(policy, cards)
    if screen.fancy:
        for number, (who, origin, text) in enumerate(keys, 1):
            screen.paragraph(f"Key {number}: {who}, {origin}", GOOD if who.startswith(("this card", "card")) else "")
            screen.paragraph(grouped(text), FAINT, indent=3)
    else:
        rows = [(str(number), *key) for number, key in enumerate(keys, 1)]
        screen.table(("Key", "Whose", "Origin", "Public key"), rows)
    write = grouped if screen.fancy else str
    addresses = [(str(index), write(policy.address(0, index, chain))) for index in range(count)]
    if addresses:
        screen.table(("#", "Receive address"), addresses, right=(0,))


def _cards(app: App, stored: StoredWallet) -> dict[bytes, str]:
    """The registered cards, by serial number where this computer remembers it."""
    serials: dict[bytes, list[int]] = {}
    for serial, record in app.state.records().items():
        if record.fingerprint in stored.cards:
            serials.setdefault(record.fingerprint or b"", []).append(serial)
    return {
        card: f"card {' or '.join(map(str, sorted(serials[card])))}" if card in serials else "card you own"
        for card in stored.cards
    }


def _registrations(stored: StoredWallet, policy: WalletPolicy) -> dict[bytes, str]:
    """The text for HWI of each card that signed."""
    return {
        card: Registration(stored.name, policy, made).to_text()
        for card, made in stored.cards.items()
        if made is not None
    }


def _data(stored: StoredWallet, policy: WalletPolicy, chain: Chain, count: int) -> dict[str, object]:
    """A wallet for `--json`."""
    texts = _registrations(stored, policy)
    return {
        "name": stored.name,
        "policy": policy.words,
        "threshold": None if policy.threshold is None else policy.threshold[0],
        "ways": [] if policy.threshold is not None else [str(way) for way in policy.ways],
        "type": policy.kind.value,
        "chain": chain.name.lower(),
        "descriptor": policy.descriptor,
        "added": stored.added,
        "keys": [
            {
                "fingerprint": key.fingerprint and key.fingerprint.hex(),
                "path": None if key.origin is None else str(key.origin.path),
                "key": _key_text(key),
                "ours": key.fingerprint in stored.cards,
            }
            for key in policy.signers
        ],
        "cards": [{"fingerprint": card.hex(), "registration": texts.get(card)} for card in stored.cards],
        "addresses": [{"index": index, "address": policy.address(0, index, chain)} for index in range(count)],
    }


@wallet.command("list")
def wallet_list(app: App) -> Report:
    """List the registered wallets. Needs no card."""
    stored = WalletStore(app.state).all()
    entries: list[dict[str, object]] = []
    for one in stored:
        policy = CardWallet(one.name, one.descriptor, b"").policy
        entries.append(
            {
                "name": one.name,
                "policy": None if policy is None else policy.words,
                "type": None if policy is None else policy.kind.value,
                "cards": [card.hex() for card in one.cards],
                "added": one.added,
            }
        )
    data = {"wallets": entries}
    if not entries:
        return said(data, "No wallet is registered")
    rows = [
        (
            one.name,
            str(entry["policy"] or "cannot be read"),
            ", ".join(card.hex() for card in one.cards),
            one.added,
        )
        for one, entry in zip(stored, entries, strict=True)
    ]
    return said(data, lambda screen: screen.table(("Name", "Policy", "Cards", "Added"), rows))


@wallet.command("show")
@click.argument("name")
@click.option(
    "--count",
    type=click.IntRange(0, MAX_COUNT),
    default=5,
    show_default=True,
    help=("How many receive addresses to show."),
)
@chain_option
@qr_options
def wallet_show(
    app: App,
    name: str,
    count: int,
    chain: str,  # noqa: ARG001
    qr: bool,
    qr_file: FilePath | None,
) -> Report:
    """Show a registered wallet: its policy, its keys, its first addresses, and its registration for HWI.

    Needs no card: the wallet was compared with the card when you added it. The QR code shows its descriptor.
    """
    check_qr(app, qr, qr_file)
    stored = stored_wallet(app, name)
    policy = policy_of(stored)
    shown_chain, cards = chosen_chain(policy), _cards(app, stored)
    texts = _registrations(stored, policy)
    write_qr(qr_file, [policy.descriptor])

    def show(screen: Screen) -> None:
        _show(screen, stored.name, policy, shown_chain, cards, count)
        screen.fields([("Added", stored.added), ("Descriptor", policy.descriptor)])
        if qr:
            draw(screen, policy.descriptor)
        for card, text in texts.items():
            screen.fields([(f"Registration of {card.hex()}", text)])

    return Report({**_data(stored, policy, shown_chain, count), "qr_file": qr_file and str(qr_file)}, show)


@wallet.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask first.")
def wallet_remove(app: App, name: str, yes: bool) -> Report:
    """Forget a registered wallet. Its coins stay where they are; its change is no longer recognized."""
    stored = stored_wallet(app, name)
    if not yes:
        app.terminal.say("Its coins stay where they are. Its change is shown as a payment until you add it again.")
        app.terminal.confirm(f"Remove the wallet {quoted(stored.name)}?")
    if WalletStore(app.state).remove(name) is None:
        raise CtlError(Exit.USAGE, f"The wallet {quoted(stored.name)} was removed in the meantime")
    return said({"removed": stored.name}, f"Removed: {quoted(stored.name)}")


@wallet.command("export")
@click.argument("name")
@click.option("--core", is_flag=True, help="The argument of Bitcoin Core's importdescriptors instead.")
@output_option
@force_option
def wallet_export(app: App, name: str, core: bool, output: FilePath | None, force: bool) -> Report:
    """Write a registered wallet to a file, for `wallet add` on another computer. Needs no card. It has no secrets.

    On the other computer the card says whether it signed the wallet and its name, so nobody can change the file unseen.
    With --core the file is what Bitcoin Core imports to watch the wallet.
    """
    if output is not None:
        check_free(output, force)
    stored = stored_wallet(app, name)
    policy = policy_of(stored)
    texts = [] if core else list(_registrations(stored, policy).values())
    if core:
        content = core_import_wallet(policy.halves)
    else:
        content = wallet_file(stored.name, stored.descriptor, texts[0] if texts else None, texts[1:])
    data = {"name": stored.name, "file": output and str(output), "content": content, "registrations": len(texts)}
    if output is not None:
        write_new(output, content.encode("utf-8"), force=force)
        what = "for Bitcoin Core's importdescriptors" if core else counted(len(texts), "registration")
        return said(data, f"Written: {output} ({what})")
    return Report(data, lambda _: sys.stdout.write(content))
