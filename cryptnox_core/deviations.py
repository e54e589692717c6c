"""What a recording of a first contact says about a card, compared with what is documented of applet 1.6 (`recording`).

Pure. Where sources disagree about the card, the reading that it follows is named as the emulated card takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cryptnox_core import errors
from cryptnox_core.errors import UsageError
from cryptnox_core.recording import FORMAT
from cryptnox_core.wire import CARD_TYPE_BASIC, CARD_TYPE_NFT, SALT_LENGTH, Ins, KeySource, StatusFlag

_SELECT_LENGTH, _SELECT_LENGTH_2 = 24, 36
_CERTIFICATE_LENGTHS = range(380, 441)
_SESSION_LENGTHS = range(143, 147)
"""Tag, nonce, point and a DER signature of 70 to 72 bytes, now and then shorter."""
_FULL_COUNTS = (6, 3)
_PIN_WANTED = ("6985", "9000")
_UNUSED = ("9000", "6b00", "6a86", "6a83", *_PIN_WANTED)
_NO_KEY = ("6b00", "6a86", "6a88", "6986", *_PIN_WANTED)
_WORD = re.compile(r"[0-9A-Za-z]{1,40}", re.ASCII)
"""Status words and names of errors. What a recording has in their place comes from a stranger and is not shown."""
_LOST = tuple(
    kind.__name__
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.TransportError)
)
"""What a step ends with where the card is not there any more."""
_PROVED = 48
"""Ciphertext of the 32 bytes that MUTUALLY AUTHENTICATE answers, and their status word."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """One point in which a card differs."""

    text: str
    reading: str = ""
    """The emulated card's name for it, where sources disagree."""


class _Steps:
    """The steps of a recording by name."""

    def __init__(self, recording: object) -> None:
        if not isinstance(recording, Mapping) or recording.get("format") != FORMAT:
            raise UsageError("this is not a recording of a card, or a later version of this program made it")
        steps = recording.get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
            raise UsageError("the recording has no steps")
        self.recording = recording
        self._steps = {str(step.get("step")): step for step in steps}
        left = next((name for name, step in self._steps.items() if step.get("error") in _LOST), None)
        self.lost = left is not None
        """The card left in one of the steps; that and what follows is not here."""
        if left is not None:
            names = list(self._steps)
            self._steps = {name: self._steps[name] for name in names[: names.index(left)]}

    def __contains__(self, name: str) -> bool:
        return name in self._steps

    def __iter__(self) -> Iterator[str]:
        return iter(self._steps)

    def reached(self, name: str) -> bool:
        """Whether a step of every recording may be judged: one that is missing, too, unless the card left."""
        return name in self or not self.lost

    def text(self, name: str, key: str) -> str:
        """A text of a step; empty where it is not there, or is more than a word."""
        value = self._steps.get(name, {}).get(key, "")
        return value if isinstance(value, str) and _WORD.fullmatch(value) else ""

    def status(self, name: str) -> str:
        """The status word of a step, in the channel or outside, for a person; else what went wrong."""
        return self.text(name, "sw") or self.text(name, "outer_sw") or self.text(name, "error") or "none"

    def number(self, name: str, key: str) -> int | None:
        """A number of a step."""
        value = self._steps.get(name, {}).get(key)
        return value if isinstance(value, int) else None

    def failed(self, name: str) -> bool:
        """Whether a step of the checklist ended with an error."""
        return bool(self._steps.get(name, {}).get("error"))

    def broken(self, name: str) -> bool:
        """Whether it ended without a status word of the card's in the channel."""
        return self.failed(name) and not self.text(name, "sw")

    @property
    def selected(self) -> bytes:
        """The answer to SELECT; empty where there is none."""
        try:
            return bytes.fromhex(self.recording.get("select") or "")
        except (TypeError, ValueError):
            return b""

    def received(self, ins: Ins) -> int | None:
        """How many bytes, without the status word, the first answer with status word 9000 to an instruction had."""
        exchanges = self.recording.get("exchanges")
        for entry in exchanges if isinstance(exchanges, list) else ():
            if (
                isinstance(entry, Mapping)
                and entry.get("sw") == "9000"
                and str(entry.get("header"))[2:4] == f"{ins:02x}"
            ):
                size = entry.get("received")
                return size - 2 if isinstance(size, int) else None
        return None


def deviations(recording: object) -> list[Deviation]:
    """Every point in which the card of a recording differs from the documentation.

    Raises: UsageError for what is no recording.
    """
    steps = _Steps(recording)
    found = [*_select(steps), *_certificates(steps), *_clear_key(steps), *_pin(steps), *_channel(steps)]
    if steps.lost:
        found.append(Deviation("the card left or stopped answering before the end: nothing is known of the rest"))
    return found


def _select(steps: _Steps) -> Iterator[Deviation]:
    selected = steps.selected
    version = steps.recording.get("version")
    major = version[0] if isinstance(version, list) and version and isinstance(version[0], int) else 0
    expected = _SELECT_LENGTH_2 if major >= 2 else _SELECT_LENGTH
    if major >= 2:
        yield Deviation("an applet of version 2: only its answer to SELECT is documented", "select-v2")
    if len(selected) != expected:
        yield Deviation(f"SELECT answers {len(selected)} bytes, not {expected}")
    if selected and selected[0] not in (CARD_TYPE_BASIC, CARD_TYPE_NFT):
        yield Deviation(f"the type of the card is {selected[0]:02x}, not 42 (Basic) or 4e (NFT)")
    known = sum(flag for flag in StatusFlag if flag is not StatusFlag.RESET_DISABLED)
    unknown = int.from_bytes(selected[4:6], "big") & ~known
    if unknown and major < 2:
        yield Deviation(f"SELECT sets status bits of unknown meaning: {unknown:04x}")


def _certificates(steps: _Steps) -> Iterator[Deviation]:
    length = steps.number("certificate", "length")
    if length is None and steps.reached("certificate"):
        yield Deviation(f"the manufacturer certificate was not read: {steps.status('certificate')}")
    elif length is not None and length not in _CERTIFICATE_LENGTHS:
        yield Deviation(f"the manufacturer certificate has {length} bytes; about 411 are usual")
    if steps.text("card certificate", "sw") != "9000":
        if steps.reached("card certificate"):
            yield Deviation("GET CARD CERTIFICATE was refused")
    elif steps.number("card certificate", "length") not in _SESSION_LENGTHS:
        size = steps.number("card certificate", "length")
        yield Deviation(f"GET CARD CERTIFICATE answers {size} bytes; 144 to 146 are usual")
    again = steps.text("certificate after it", "sw")
    if again == "6985" and not steps.failed("certificate"):
        text = "no manufacturer certificate after GET CARD CERTIFICATE (6985)"
        yield Deviation(text, "no-f7-after-f8")
    elif again != "9000" and steps.reached("certificate after it"):
        status = steps.status("certificate after it")
        yield Deviation(f"a certificate page after GET CARD CERTIFICATE: status word {status}")
    if steps.number("card public key", "length") != 65 and steps.reached("card public key"):
        yield Deviation("GET CARD PUBKEY does not answer with a key of 65 bytes")


def _clear_key(steps: _Steps) -> Iterator[Deviation]:
    length = steps.number("clear public key", "length")
    if "clear public key" not in steps or length == 65:
        return
    if length in (32, 33):
        yield Deviation(f"the public key read in the clear has {length} bytes, not 65", f"clearpub-{length}")
    else:
        yield Deviation(f"the public key read in the clear: status word {steps.status('clear public key')}")


def _pin(steps: _Steps) -> Iterator[Deviation]:
    if "PIN tries" not in steps or steps.broken("PIN tries"):
        return
    sw, count = steps.text("PIN tries", "sw"), steps.number("PIN tries", "count")
    if re.fullmatch("63c[0-9a-f]", sw):
        count = int(sw[3], 16)
        yield Deviation(f"an empty VERIFY PIN answers a status word ({sw})", "pin-query-sw")
    elif sw != "9000":
        yield Deviation(f"an empty VERIFY PIN answers status word {steps.status('PIN tries')}")
    elif steps.number("PIN tries", "length") != 1:
        yield Deviation(f"an empty VERIFY PIN answers {steps.number('PIN tries', 'length')} bytes, not one")
    if count == min(_FULL_COUNTS):
        text = "the PIN's tries are shown as 3: those of a session, or three of six are spent"
        yield Deviation(text, "tries-min")
    elif count is not None and count not in _FULL_COUNTS:
        yield Deviation(f"{count} PIN tries are left: some are spent, and the full count is not visible")


def _channel(steps: _Steps) -> Iterator[Deviation]:
    if "channel" not in steps:
        return
    if steps.failed("channel"):
        status = steps.text("channel", "error") or "for an unknown reason"
        yield Deviation(
            f"the secure channel did not open ({status}): a different pairing key, or a different form of it"
        )
        return
    if steps.broken("PIN tries"):
        text = f"the secure channel opened, and broke with its first command ({steps.status('PIN tries')})"
        yield Deviation(f"{text}: a different form of it")
        return
    for ins, name, size in (
        (Ins.OPEN_SECURE_CHANNEL, "OPEN SECURE CHANNEL", SALT_LENGTH),
        (Ins.MUTUALLY_AUTHENTICATE, "MUTUALLY AUTHENTICATE", 16 + _PROVED),
    ):
        if steps.received(ins) not in (size, None):
            yield Deviation(f"{name} answers {steps.received(ins)} bytes, not {size}")
    for rest in (_derive, _long_frames, _unknown_instruction, _reading):
        yield from rest(steps)


def _derive(steps: _Steps) -> list[Deviation]:
    """What DERIVE KEY says to either form of P1, before a PIN."""
    whole, bare = steps.status("derive 08"), steps.status("derive 00")
    if not {"derive 08", "derive 00"} <= set(steps) or (whole == bare and whole in _PIN_WANTED):
        return []
    text = f"DERIVE KEY without a PIN answers {bare} where bit 3 of P1 is clear, and {whole} where it is set"
    if whole in _PIN_WANTED and bare not in _PIN_WANTED and not steps.broken("derive 00"):
        return [Deviation(text, "derive-08-only")]
    return [Deviation(f"{text}; 6985 is documented")]


def _unknown_instruction(steps: _Steps) -> list[Deviation]:
    outer, sw = steps.text("unknown instruction", "outer_sw"), steps.text("unknown instruction", "sw")
    if outer:
        text = f"an unknown instruction ends the channel: status word {outer} in the clear"
        return [Deviation(text, "outer-sw" if outer in ("6d00", "6700") else "")]
    return [] if sw in ("", "6d00") else [Deviation(f"an unknown instruction answers {sw}, not 6D00")]


def _reading(steps: _Steps) -> Iterator[Deviation]:
    """READ DATA and GET HISTORY."""
    if "card info" in steps and steps.text("card info", "sw") not in _PIN_WANTED:
        yield Deviation(f"the card info: status word {steps.status('card info')}")
    elif steps.text("card info", "source") == "UNKNOWN":
        sources = ", ".join(f"{kind.value:02x}" for kind in KeySource)
        yield Deviation(f"the card info names an unknown source of the key; known are {sources}")
    for name, usual in (*((f"user key {slot}", _NO_KEY) for slot in range(1, 6)), ("history", _PIN_WANTED)):
        if name in steps and steps.status(name) not in usual:
            yield Deviation(f"{name}: status word {steps.status(name)}")
    if steps.text("history", "sw") == "9000" and steps.number("history", "length") != 36:
        yield Deviation(f"the history answers {steps.number('history', 'length')} bytes, not 36")
    for page in range(1, 5):
        name = f"user data {page}"
        if name not in steps:
            continue
        if steps.text(name, "sw") in ("6b00", "6a86"):
            yield Deviation(f"{name}: an unused page answers {steps.text(name, 'sw')}", "page-6b00")
            break
        if steps.text(name, "sw") not in _UNUSED:
            yield Deviation(f"{name}: status word {steps.status(name)}")


def _long_frames(steps: _Steps) -> list[Deviation]:
    """Which form of the length the MAC of an extended frame with little data has."""
    if not steps.text("user data, other MAC form", "sw"):
        return []
    if any(steps.number(f"user {what} {number}", "aborted") for what in ("key", "data") for number in range(1, 6)):
        text = "an extended frame with little data has the one-byte length in its MAC, and never another"
        return [Deviation(text, "mac-len-value-only")]
    return [Deviation("an extended frame with little data may have the one-byte length in its MAC", "mac-len-value")]
