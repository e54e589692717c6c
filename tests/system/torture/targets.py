"""What atheris is given to run, and the process it runs in:
`python -m tests.system.torture.targets KIND FOLDER OPTIONS...` (libFuzzer's options, and the folder of inputs).

The project's modules are imported late, where atheris sees to their import.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptnox_core.apdu import ResponseApdu
    from cryptnox_core.card import Card

PIN = "123456"
"""Of `tests.core.emulated`."""
INSTRUMENTED = ["hwilib_cryptnox.psbt", "cryptnox_core"]


def psbts() -> tuple[Callable[[bytes], None], list[bytes]]:
    """PSBTs through the whole engine, and what to begin with."""
    from hwilib_cryptnox.psbt import PsbtError
    from tests.system.fuzz.test_psbt_fuzz import SEEDS, whole_engine

    def check(data: bytes) -> None:
        with suppress(PsbtError):
            whole_engine(data)

    return check, SEEDS


def answers() -> tuple[Callable[[bytes], None], list[bytes]]:
    """Answers to one command, from a card that holds the channel's keys, or in the clear from the first one on.

    An input is the command's number, the kind of card, then answers: length (2 bytes) and content with status word.
    """
    from cryptnox_core.card import Card
    from cryptnox_core.errors import CryptnoxError
    from tests.core.emulated import PUK
    from tests.core.test_hostile_card import METHODS, OpenedCard, Scripted

    names = sorted(METHODS)

    def check(data: bytes) -> None:
        head, rest, given = data[:2].ljust(2, b"\0"), data[2:], []
        while rest and len(given) < 8:
            length = int.from_bytes(rest[:2], "big") % 600
            given.append(rest[2 : 2 + length].rjust(2, b"\x90"))
            rest = rest[2 + length :]
        card = OpenedCard(given) if head[1] % 2 else Card(Scripted(given))
        calls = [METHODS[names[head[0] % len(names)]]]
        if not head[1] % 2:
            calls.insert(0, METHODS["open"])
        for call in calls:
            try:
                call(card)
            except CryptnoxError as error:
                if PIN in str(error) or PUK in str(error):
                    raise AssertionError("it tells a secret") from error

    first = []
    for number, name in enumerate(names):
        for kind, taken in enumerate(_recorded(METHODS[name])):
            first.append(bytes((number, kind)) + b"".join(len(each).to_bytes(2, "big") + each for each in taken))
    return check, first


def _recorded(method: Callable[[Card], object]) -> tuple[list[bytes], list[bytes]]:
    """What an emulated card answers: all in the clear, up to the command's end, and the command's in the channel."""
    from cryptnox_core.errors import CryptnoxError
    from tests.core.emulated import EmulatedReader, seeded

    clear: list[bytes] = []
    plain: list[bytes] = []
    card = EmulatedReader.of(seeded()).connect()
    transport = card.transport
    transmit = transport.transmit
    setattr(transport, "transmit", lambda apdu: clear.append(transmit(apdu)) or clear[-1])  # noqa: B010
    card.open_channel()
    card.verify_pin(PIN)
    channel = card._channel
    if channel is not None:
        unwrap = channel.unwrap

        def note(response: ResponseApdu) -> ResponseApdu:
            told = unwrap(response)
            plain.append(told.data + told.sw.to_bytes(2, "big"))
            return told

        setattr(channel, "unwrap", note)  # noqa: B010
    with suppress(CryptnoxError):
        method(card)
    return clear, plain


KINDS = {"psbts": psbts, "answers": answers}


def main() -> None:
    """The process; does not return."""
    import atheris

    kind, folder, *options = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED):
        check, first = KINDS[kind]()
    for number, data in enumerate(first):
        (Path(folder) / f"first-{number}").write_bytes(data)
    atheris.Setup([sys.argv[0], *options, folder], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
