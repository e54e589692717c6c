"""Secrets in memory: no object of ours shows one in `repr` or `str`, no exception carries one, no log line of any level
tells one."""

from __future__ import annotations

import gc
import hashlib
import logging
import traceback
from collections.abc import Iterator

import pytest

from cryptnox_core.bip32 import Path
from cryptnox_core.card import Card
from cryptnox_core.commands.seeds import LoadKey
from cryptnox_core.derivation import Position
from cryptnox_core.emulator.faults import parse_fault
from cryptnox_core.errors import CryptnoxError, WrongPinError, WrongPukError
from cryptnox_core.wire import LoadKeyType
from hwilib_cryptnox.pin.policy import Unlocker
from hwilib_cryptnox.pin.sources import EnvironmentSource
from hwilib_cryptnox.signer.cards import Session
from hwilib_cryptnox.storage.settings import Settings
from hwilib_cryptnox.storage.state import State
from tests.core.emulated import EmulatedReader, fresh
from tests.system.security.world import Secrets

PIN, WRONG, NEW_PIN = "739182645", "918273645", "582931764"
PUK, WRONG_PUK = "Qz-MarkPuk7x", "Wt-MarkPuk9z"
SEED = hashlib.sha512(b"a seed that stands nowhere else").digest()
PAIRING = bytes.fromhex("a9" * 8 + "c3d4e5f60718293a4b5c6d7e8f901122" + "5b" * 8)
ACCOUNT = Path.parse("m/84h/0h/0h")
MARKED = {
    "PIN": PIN.encode(),
    "wrong PIN": WRONG.encode(),
    "new PIN": NEW_PIN.encode(),
    "PUK": PUK.encode(),
    "wrong PUK": WRONG_PUK.encode(),
    "seed": SEED,
    "pairing key": PAIRING,
}


def life(card: Card) -> None:
    """From the factory to a signature, with a wrong PIN and a wrong PUK on the way."""
    card.select()
    card.init("Ada", "ada@example.org", pin=PIN, puk=PUK)
    card.open_channel()
    with pytest.raises(WrongPinError):
        card.verify_pin(WRONG)
    card.verify_pin(PIN)
    card.load_seed(SEED, PIN)
    card.set_xpub_export(True, PUK)
    with pytest.raises(WrongPukError):
        card.change_pairing_key(PAIRING, puk=WRONG_PUK)
    card.change_pairing_key(PAIRING, puk=PUK)
    card.open_channel(PAIRING)
    card.verify_pin(PIN)
    card.derive(ACCOUNT)
    key = card.read_extended_public_key()
    card.sign(bytes(32), PIN, public_key=key.public_key)
    card.change_pin(NEW_PIN)


def objects() -> Iterator[object]:
    """Everything of ours that is alive."""
    for thing in gc.get_objects():
        if str(type(thing).__module__).startswith(("cryptnox_core", "hwilib_cryptnox")) and not isinstance(thing, type):
            yield thing


def test_no_object_shows_a_secret(tmp_path: object) -> None:
    """Each kind of object there is in the middle of a session. What other tests left behind is not looked at."""
    gc.collect()
    older = list(objects())
    known = {id(thing) for thing in older}
    reader = EmulatedReader.of(fresh())
    with reader.connect() as card:
        life(card)
        assert card._channel is not None and card._channel._keys is not None
        marked = dict(MARKED) | {"session key": card._channel._keys.aes, "MAC key": card._channel._keys.mac}
        secrets = Secrets(marked)
        held = [
            Unlocker(Settings(), State(), PIN, (EnvironmentSource(PIN),)),
            Session(None, PIN, b"1234", Position()),  # type: ignore[arg-type]
            LoadKey(LoadKeyType.SEED, SEED, PIN),
            EnvironmentSource(PIN),
        ]
        kinds = set()
        for thing in [*(thing for thing in objects() if id(thing) not in known), *held]:
            kinds.add(type(thing).__name__)
            shown = f"{thing!r} {thing}".encode()
            assert not secrets.found_in(shown), type(thing)
    assert {"Card", "SecureChannel", "ChannelKeys", "Memory", "Unlocker", "LoadKey"} <= kinds, kinds


def exceptions(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


KINDS = ["remove", "reset", "garbage", "badmac", "silence", "sw:6982", "sw:6985", "sw:6F00", "sw:63C1", "sw:9000"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_tells_a_secret(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A fault at every APDU of a whole life, with everything logged: log, exception, traceback."""
    caplog.set_level(1)
    secrets = Secrets(MARKED)
    reader = EmulatedReader.of(fresh())
    with reader.connect() as card:
        life(card)
        total = len(card.transport.sent)  # type: ignore[attr-defined]
    assert total > 20 and len(caplog.records) == total and logging.root.level == 1
    failures = 0
    for number in range(1, total + 1):
        reader = EmulatedReader.of(fresh(), faults=[parse_fault(f"{kind}@{number}")])
        with reader.connect() as card:
            try:
                life(card)
            except (CryptnoxError, pytest.fail.Exception) as error:
                failures += 1
                for part in exceptions(error):
                    shown = f"{part!r} {part} {part.args!r} {vars(part)!r}"
                    assert not secrets.found_in(shown.encode()), (number, type(part))
                assert not secrets.found_in("".join(traceback.format_exception(error)).encode()), number
    assert failures > total * 0.7
    assert not secrets.found_in(caplog.text.encode())


def test_usage_errors_tell_no_secret() -> None:
    """What is refused before anything is sent is not repeated either."""
    reader = EmulatedReader.of(fresh())
    with reader.connect() as card:
        life(card)
        too_long = PIN + "1"
        attempts = [
            lambda: card.verify_pin(too_long),
            lambda: card.verify_pin(PUK),
            lambda: card.change_pin(too_long),
            lambda: card.change_puk(new=PUK + "x", current=PUK),
            lambda: card.unblock_pin(puk=PUK[:-1], new_pin=PIN),
            lambda: card.load_seed(SEED[:-1], PIN),
            lambda: card.open_channel(PAIRING[:-1]),
            lambda: card.change_pairing_key(PAIRING + b"x", puk=PUK),
            lambda: card.sign(bytes(32), too_long, public_key=b""),
        ]
        whole = {"PIN": PIN.encode(), "PUK": PUK[:-1].encode(), "seed": SEED[:-1], "pairing key": PAIRING[:-1]}
        secrets = Secrets(whole)
        for attempt in attempts:
            with pytest.raises(CryptnoxError) as caught:
                attempt()
            for part in exceptions(caught.value):
                assert not secrets.found_in(f"{part!r} {part.args!r}".encode())
