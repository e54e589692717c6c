"""What a recording of a first contact says about a card, compared with what is documented of applet 1.6 (`recording`).

Pure. Where sources disagree about the card, the reading that it follows is named as the emulated card takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptnox_core.errors import UsageError
from cryptnox_core.recording import FORMAT

_SELECT_LENGTH, _SELECT_LENGTH_2 = 24, 36
_CERTIFICATE_LENGTHS = range(380, 441)
_SESSION_LENGTHS = range(143, 147)
"""Tag, nonce, point and a DER signature of 70 to 72 bytes, now and then shorter."""
_FULL_COUNTS = (6, 3)
_PIN_WANTED = ("6985", "9000")
_UNUSED = ("9000", "6b00", "6a86", "6a83", *_PIN_WANTED)


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
            raise UsageError("this is no recording of a card, or one of a later version of this program")
        steps = recording.get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, Mapping) for step in steps):
            raise UsageError("the recording has no steps")
        self.recording = recording
        self._steps = {str(step.get("step")): step for step in steps}

    def __contains__(self, name: str) -> bool:
        return name in self._steps

    def text(self, name: str, key: str) -> str:
        """A text of a step; empty where it is not there."""
        value = self._steps.get(name, {}).get(key, "")
        return value if isinstance(value, str) else ""

    def number(self, name: str, key: str) -> int | None:
        """A number of a step."""
        value = self._steps.get(name, {}).get(key)
        return value if isinstance(value, int) else None

    def failed(self, name: str) -> bool:
        """Whether a step of the checklist was begun and not ended."""
        return name in self and self.text(name, "error") != "" and not self.text(name, "sw")


def deviations(recording: object) -> list[Deviation]:
    """Every point in which the card of a recording differs from the documentation. UsageError for what is none."""
    steps = _Steps(recording)
    return [*_select(steps), *_certificates(steps), *_clear_key(steps), *_pin(steps), *_channel(steps)]


def _select(steps: _Steps) -> list[Deviation]:
    selected = steps.recording.get("select")
    length = len(selected) // 2 if isinstance(selected, str) else 0
    version = steps.recording.get("version")
    major = version[0] if isinstance(version, list) and version and isinstance(version[0], int) else 0
    if major >= 2:
        found = [Deviation("an applet of version 2: only its answer to SELECT is documented", "select-v2")]
        if length != _SELECT_LENGTH_2:
            found.append(Deviation(f"SELECT answers {length} bytes, not {_SELECT_LENGTH_2}"))
        return found
    return [] if length == _SELECT_LENGTH else [Deviation(f"SELECT answers {length} bytes, not {_SELECT_LENGTH}")]


def _certificates(steps: _Steps) -> list[Deviation]:
    found = []
    length = steps.number("certificate", "length")
    if length is None:
        found.append(Deviation(f"the manufacturer certificate was not read: {steps.text('certificate', 'error')}"))
    elif length not in _CERTIFICATE_LENGTHS:
        found.append(Deviation(f"the manufacturer certificate has {length} bytes; about 411 are usual"))
    if steps.text("card certificate", "sw") != "9000":
        found.append(Deviation("GET CARD CERTIFICATE was refused"))
    elif steps.number("card certificate", "length") not in _SESSION_LENGTHS:
        size = steps.number("card certificate", "length")
        found.append(Deviation(f"GET CARD CERTIFICATE answers {size} bytes; 144 to 146 are usual"))
    again = steps.text("certificate after it", "sw")
    if again == "6985":
        text = "no manufacturer certificate after GET CARD CERTIFICATE (6985)"
        found.append(Deviation(text, "no-f7-after-f8"))
    elif again != "9000":
        found.append(Deviation(f"a certificate page after GET CARD CERTIFICATE: status word {again or 'none'}"))
    if steps.number("card public key", "length") != 65:
        found.append(Deviation("GET CARD PUBKEY answers no key of 65 bytes"))
    return found


def _clear_key(steps: _Steps) -> list[Deviation]:
    length = steps.number("clear public key", "length")
    if "clear public key" not in steps or length == 65:
        return []
    if length in (32, 33):
        return [Deviation(f"the public key read in the clear has {length} bytes, not 65", f"clearpub-{length}")]
    return [
        Deviation(f"the public key read in the clear: status word {steps.text('clear public key', 'sw') or 'none'}")
    ]


def _pin(steps: _Steps) -> list[Deviation]:
    if "PIN tries" not in steps:
        return []
    found = []
    sw, count = steps.text("PIN tries", "sw"), steps.number("PIN tries", "count")
    if sw.startswith("63c"):
        count = int(sw[3], 16)
        found.append(Deviation(f"an empty VERIFY PIN answers a status word ({sw})", "pin-query-sw"))
    elif sw != "9000":
        found.append(Deviation(f"an empty VERIFY PIN answers status word {sw or 'none'}"))
    if count == min(_FULL_COUNTS):
        text = "the PIN's tries are shown as 3: those of a session, or three of six are spent"
        found.append(Deviation(text, "tries-min"))
    elif count is not None and count not in _FULL_COUNTS:
        found.append(Deviation(f"{count} PIN tries are left: some are spent, and the full count is not seen"))
    return found


def _channel(steps: _Steps) -> list[Deviation]:
    found = []
    if steps.failed("channel"):
        error = steps.text("channel", "error")
        return [Deviation(f"the secure channel did not open ({error}): another pairing key, or another form of it")]
    if "channel" not in steps:
        return []
    whole, bare = steps.text("derive 08", "sw"), steps.text("derive 00", "sw")
    if bare != whole:
        found.append(Deviation(f"DERIVE KEY without bit 3 of P1 answers {bare}, with it {whole}", "derive-08-only"))
    elif whole not in ("", *_PIN_WANTED):
        found.append(Deviation(f"DERIVE KEY without a PIN answers {whole}, not 6985"))
    found += _long_frames(steps)
    if steps.text("unknown instruction", "outer_sw"):
        sw = steps.text("unknown instruction", "outer_sw")
        found.append(Deviation(f"an unknown instruction ends the channel: status word {sw} in the clear", "outer-sw"))
    elif steps.text("unknown instruction", "sw") not in ("", "6d00"):
        found.append(Deviation(f"an unknown instruction answers {steps.text('unknown instruction', 'sw')}, not 6D00"))
    for page in (1, 2, 3):
        sw = steps.text(f"user data {page}", "sw")
        if sw in ("6b00", "6a86"):
            found.append(Deviation(f"user data {page}: an unused page answers {sw}", "page-6b00"))
            break
        if sw not in _UNUSED:
            found.append(
                Deviation(f"user data {page}: status word {sw or steps.text(f'user data {page}', 'outer_sw')}")
            )
    return found


def _long_frames(steps: _Steps) -> list[Deviation]:
    """Which form of the length the MAC of an extended frame with little data has."""
    other = bool(steps.text("user data, other MAC form", "sw"))
    if not other:
        return []
    if any(steps.number(f"user key {slot}", "aborted") for slot in (1, 2, 3)):
        text = "an extended frame with little data has the one-byte length in its MAC, and no other"
        return [Deviation(text, "mac-len-value-only")]
    return [Deviation("an extended frame with little data may have the one-byte length in its MAC", "mac-len-value")]
