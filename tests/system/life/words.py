"""What sentences say: which thing they name, whether they say of it that it changed, and what they claim of the card.

Sentences are read one by one. Where one names a card by its serial number, it and what follows are about that card.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cryptnox_core.wire import COMMON_PAIRING_KEY
from hwilib_cryptnox.console.layout import lines_of
from tests.system.life.facts import Facts

THINGS = {
    "pin": r"\bPINs?\b",
    "puk": r"\bPUKs?\b",
    "pairing_key": r"pairing key",
    "seed": r"\bseeds?\b|\bwallet\b|\bsecret\b|recovery words|\bwords\b|holds its key",
    "export": r"\bexport\b",
    "pinless": r"pinless|PIN-less|without (a )?PIN",
    "pin_auth": r"PIN authentication|pin-auth",
    "user_keys": r"user key",
    "data": r"\bdata\b|\bbytes?\b",
    "custom": r"custom bytes|\bbytes?\b",
    "erased": r"\berased?\b|factory|\bwiped?\b|\bRESET\b|(has been|was|is|been) reset\b(?! by)",
    "initialised": r"initiali[sz]ed|\bset up\b|has (its|a|the|your) PIN|its PIN and PUK are those you chose",
}
"""How a changed thing is named."""
UNKNOWN = (
    r"\bmay\b|\bmight\b|perhaps|possibly|not known|unknown|whether|cannot be (told|found out|said)|\beither\b"
    r"|could not be (tried|tested|found out|proved|read)|\bmeans that\b|\bif\b"
)
"""Words of a sentence that leaves it open."""
_DO = r"(changed|erased|initiali[sz]ed|loaded|sent|set|reset|switched|stored|deleted|added|written|done|made|given)"
UNCHANGED = (
    rf"\bnothing (was|is|has been|were) \w+|\bunchanged\b|as (it was|they were) before|\brepeat the command\b"
    rf"|\b(was|were|is|are|has|have)( still| been)? not (been )?{_DO}"
    r"|\bstill (has|had|holds|is|the)\b|\b(is|are) still\b|\bdid not\b|\bit is not\b"
)
"""Words of a sentence that says that something is as it was."""
NO_SEED = r"\b(has|holds|with) no (seed|wallet)\b|without (its |a )?seed"
ANYTHING = r"nothing (was|has been|on it was) (changed|done|erased|sent|written|set)"
"""Words that say it of everything."""
ELSE = "took something other than what was sent"
"""Words that say of whatever was sent that the card has another value."""

_DONE = (
    r"\b(is|are|was|were|has|have|holds?|had) |\bnow\b|\balready\b|\bchanged\b|\bnew\b|\berased\b|\bset\b|\bwritten\b"
    r"|\bany ?more\b|\bgone\b|\bon\b|\boff\b|\bkeep both\b|\bneither\b"
    r"|fingerprint of the wallet: [0-9a-f]{8}\b"
)
_NOT = r"(?<!not )(?<!if )(?<!when )(?<!where )(?<!until )"
_TEXT, QUESTION = 80, 78
"""Columns of the lines of a text, and of a question."""
CLAIMS: tuple[tuple[str, Callable[[Facts, Facts], bool]], ...] = (
    (rf"{_NOT}\bis (now )?initiali[sz]ed\b", lambda before, after: after.initialised),
    (r"\bis not (yet )?initiali[sz]ed\b", lambda before, after: not after.initialised),
    (
        r"^(?!.*\bneither\b).*(\bhas (its|the|a) seed\b|\bholds (the|its|a) (wallet|seed)\b)",
        lambda before, after: bool(after.seed),
    ),
    (r"\b(has|holds) no (seed|wallet)\b|\bneither\b.*\bhas a seed\b", lambda before, after: not after.seed),
    (r"\b(is|was|has been) erased\b|\bwas reset to factory state\b", lambda before, after: not after.initialised),
    (r"\bPIN\b(?!.*\bPUK\b).*\b(is|was|has been) changed\b|\bhas the new PIN\b", lambda b, a: a.pin != b.pin),
    (r"\bhas (the|its) old PIN\b|\bPIN\b.*\bnot changed\b|\bPIN is as before\b", lambda b, a: a.pin == b.pin),
    (r"\bPUK\b.*\b(is|was|has been) changed\b|\bhas the new PUK\b", lambda b, a: a.puk != b.puk),
    (r"\bhas (the|its) old PUK\b|\bPUK\b.*\bnot changed\b|\bPUK is as before\b", lambda b, a: a.puk == b.puk),
    (r"\bPIN and PUK are as they were\b", lambda b, a: (a.pin, a.puk) == (b.pin, b.puk)),
    (r"\bhas the default pairing key\b", lambda b, a: a.pairing_key == COMMON_PAIRING_KEY.hex()),
    (r"\bhas its own pairing key\b", lambda b, a: a.own_pairing_key),
    (r"\bexport is (still )?on\b", lambda b, a: a.export),
    (r"\bexport is (still )?off\b", lambda b, a: not a.export),
    (r"\bPIN authentication is on\b", lambda b, a: a.pin_auth),
    (r"\bPIN authentication is off\b", lambda b, a: not a.pin_auth),
)
"""What a sentence says without doubt, and whether it is so."""


def sentences(text: str) -> list[str]:
    """Without decoration."""
    plain = _unbroken(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", text))
    return [part.strip() for part in re.split(r"(?<=[.!?])\s|\n|;(?! whether)", plain) if part.strip()]


def continues(last: str, line: str, *widths: int) -> bool:
    """Whether `last` was ended only because a line has no more columns, and `line` is what follows."""
    if not last.strip() or not line.strip():
        return False
    return any(lines_of(f"{last} {line.strip()}", wide)[0] == last for wide in widths)


def _unbroken(text: str) -> str:
    """Lines that were ended because the window is no wider are joined again."""
    whole, last = "", ""
    for line in text.replace("\r", "").split("\n"):
        whole += f" {line.strip()}" if continues(last, line, _TEXT, QUESTION) else f"\n{line}"
        last = line
    return whole


def about(serial: int, said: list[str]) -> list[str]:
    """Those that are about a card: where serial numbers are named, the last one named."""
    found, named = [], str(serial)
    for sentence in said:
        numbers = re.findall(r"\b\d{17,20}\b", sentence)
        if numbers:
            named = numbers[-1] if str(serial) not in numbers else str(serial)
        if named == str(serial):
            found.append(sentence)
    return found


def changing(name: str, sentence: str) -> bool:
    """Whether it says of a thing that it changed, or may have."""
    if re.search(UNKNOWN, sentence, re.I):
        return True
    if re.search(UNCHANGED, sentence, re.I) or (name == "seed" and re.search(NO_SEED, sentence, re.I)):
        return False
    return re.search(_DONE, sentence, re.I) is not None


def false_claim(sentence: str, before: Facts, after: Facts) -> bool:
    """Whether it says something of the card that is not so."""
    if re.search(UNKNOWN, sentence, re.I):
        return False
    sentence = re.sub(r"\bnothing (was|has been) \w+", "", sentence)
    return any(re.search(pattern, sentence, re.I) and not holds(before, after) for pattern, holds in CLAIMS)


__all__ = ["ANYTHING", "ELSE", "QUESTION", "THINGS", "about", "changing", "continues", "false_claim", "sentences"]
