"""The judge: what was told, against what the card holds.

Words are read sentence by sentence. A sentence names a thing (the PIN, the seed) and says of it that it changed, that
it did not, or that this is not known. What it says has to be true; and what changed has to be said, where the command
did not end in success.
"""

from __future__ import annotations

import json
import re

from cryptnox_core.wire import COMMON_PAIRING_KEY
from tests.life.facts import Facts, first_address
from tests.life.people import Person
from tests.life.scenes import ANY, Scene
from tests.life.world import Told

THINGS = {
    "pin": r"\bPINs?\b",
    "puk": r"\bPUKs?\b",
    "pairing_key": r"pairing key",
    "seed": r"\bseed\b|\bwallet\b|\bsecret\b|recovery words|\bwords\b",
    "export": r"\bexport\b",
    "pinless": r"pinless|without PIN",
    "pin_auth": r"PIN authentication|pin-auth",
    "user_keys": r"user key",
    "data": r"\bdata\b|\bbytes\b",
    "custom": r"custom bytes|\bbytes\b",
    "erased": r"\berased?\b|factory|\bwiped?\b|\bRESET\b|(has been|was|is|been) reset\b(?! by)",
    "initialised": r"initiali[sz]ed|\bset up\b|has (its|a|the|your) PIN",
    "half": r"half|\bsecret\b|dual",
}
"""How a changed thing is named."""
UNKNOWN = (
    r"\bmay\b|\bmight\b|perhaps|possibly|not known|unknown|whether|cannot be (told|found out|said)|\beither\b"
    r"|could not be (tried|found out|proved|read)|\bmeans that\b|\bif\b"
)
"""Words of a sentence that leaves it open."""
_DO = r"(changed|erased|initiali[sz]ed|loaded|sent|set|reset|switched|stored|deleted|added|written|done|made|given)"
UNCHANGED = (
    rf"\bnothing (was|is|has been|were) \w+|\bunchanged\b|as (it was|they were) before|\brepeat the command\b"
    rf"|\b(was|were|is|are|has|have)( still| been)? not (been )?{_DO}"
    r"|\bstill (has|had|holds|is|the)\b|\bdid not\b|\bit is not\b"
)
"""Words of a sentence that says that something is as it was."""
NO_SEED = r"\b(has|holds|with) no (seed|wallet)\b|without (its |a )?seed"
ANYTHING = r"nothing (was|has been|on it was) (changed|done|erased|sent|written|set)"
"""Words that say it of everything."""
ELSE = r"has taken something else than was sent"
"""Words that say of whatever was sent that the card has another value."""


class FalseWordError(AssertionError):
    """What was told is not what is."""


def sentences(text: str) -> list[str]:
    """Without decoration."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", text)
    return [part.strip() for part in re.split(r"(?<=[.;!?])\s|\n|[;]|\. ", plain) if part.strip()]


def told_text(scene: Scene, told: Told) -> str:
    """All that was told: of a JSON answer its words."""
    texts = [told.err, told.late]
    answer = json_answer(scene, told)
    if answer is not None:
        texts += [str(answer[name]) for name in ("error", "hint") if answer.get(name)]
    else:
        texts.append(told.out)
    return "\n".join(texts)


def json_answer(scene: Scene, told: Told) -> dict[str, object] | None:
    """The JSON object on stdout, where there has to be one and there is."""
    if scene.program != "hwi" and "--json" not in scene.words:
        return None
    try:
        answer = json.loads(told.out)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def succeeded(scene: Scene, told: Told) -> bool:
    """Whether it says that it did what it was asked."""
    if scene.program == "hwi":
        answer = json_answer(scene, told)
        return answer is not None and answer.get("success") is True
    return told.status == 0


def things_of(before: Facts, after: Facts) -> dict[str, str]:
    """What changed, each by the pattern that names it; a whole card erased or initialised is one thing."""
    changed = before.changes(after)
    if before.initialised and not after.initialised:
        return {"erased": THINGS["erased"]}
    found = {}
    if after.initialised and not before.initialised:
        found["initialised"] = THINGS["initialised"]
        changed -= {"initialised", "pin", "puk", "owner", "pairing_key"}
    if before.seed and not after.seed:
        found["erased"] = THINGS["erased"]
        changed -= {"seed", "export", "pinless"}
    if "seed" in changed:
        found["seed"] = THINGS["seed"]
        changed -= {"seed", "half", "export"}
    return {**found, **{name: THINGS[name] for name in sorted(changed - {"owner"})}}


def judge(
    scene: Scene, told: Told, befores: list[Facts], afters: list[Facts], person: Person, *, stdout_lost: bool = False
) -> None:
    """FalseWordError where what was told is false, or something that changed is not told.

    `stdout_lost`: stdout took nothing.
    """
    text = told_text(scene, told)
    if told.hung:
        raise FalseWordError("it hangs")
    if "Traceback" in told.err + told.out + told.terminal:
        raise FalseWordError(f"a traceback: {told.err[-600:]}")
    if told.killed:
        return
    _check_form(scene, told, stdout_lost=stdout_lost)
    _check_secrets(told, person)
    for before, after in zip(befores, afters, strict=True):
        _check_tries(before, after)
    if succeeded(scene, told):
        for before, after in zip(befores, afters, strict=True):
            _check_success(scene, told, before, after, person)
        return
    for before, after in zip(befores, afters, strict=True):
        _check_failure(scene, told, text, before, after)
    if stdout_lost:
        _check_full(scene, told, befores, afters)


def _check_form(scene: Scene, told: Told, *, stdout_lost: bool) -> None:
    if scene.program == "ctl" and told.status not in range(6):
        raise FalseWordError(f"exit status {told.status}: {told.err[-300:]}")
    if scene.program == "hwi" and told.status not in range(3):
        raise FalseWordError(f"exit status {told.status}: {told.err[-300:]}")
    if told.status and not stdout_lost and not (told.err + told.out).strip():
        raise FalseWordError(f"exit status {told.status} and not a word")


def _check_secrets(told: Told, person: Person) -> None:
    for secret in (person.pin, person.puk, person.new_pin, person.new_puk):
        if secret in told.out + told.err:
            raise FalseWordError("a secret on stdout or stderr")


def _check_tries(before: Facts, after: Facts) -> None:
    """Who types what is right loses one try at most, where that finds something out, and never the last one."""
    if after.wrong_pins - before.wrong_pins > 1:
        raise FalseWordError(f"{after.wrong_pins} PIN tries were spent")
    if after.initialised and before.tries and not after.tries:
        raise FalseWordError("the last PIN try was spent")


def _check_success(scene: Scene, told: Told, before: Facts, after: Facts, person: Person) -> None:
    differ = []
    for name, wanted in scene.wants.items():
        now, was = getattr(after, name), getattr(before, name)
        if (now == was or not now) if wanted is ANY else now != wanted:
            differ.append(name)
    extra = before.changes(after) - set(scene.wants) - scene.may - _implied(scene)
    if differ or extra:
        raise FalseWordError(f"success is told; not as told on the card: {sorted([*differ, *extra])}")
    if "puk" in scene.wants and scene.wants["puk"] is ANY and after.puk not in (person.shown_puk, person.new_puk):
        raise FalseWordError("the card has a PUK that nobody was shown")
    if scene.wants.get("export") is True and "seed" in scene.wants and after.seed:
        _check_wallet(told, after)


def _implied(scene: Scene) -> set[str]:
    """What goes with it."""
    implied = set()
    if scene.wants.get("initialised") is True:
        implied |= {"owner", "pairing_key"}
    if "seed" in scene.wants:
        implied |= {"half", "pinless"}
    return implied


def _check_wallet(told: Told, after: Facts) -> None:
    text = told.out + told.terminal
    if after.fingerprint not in text:
        raise FalseWordError("the fingerprint of the card is not told")
    addresses = set(re.findall(r"\bbc1q[a-z0-9]{38}\b", text))
    if addresses - {first_address(after.seed)}:
        raise FalseWordError("an address is told that is not the card's first")


def _check_failure(scene: Scene, told: Told, text: str, before: Facts, after: Facts) -> None:
    changed = before.changes(after)
    allowed = set(scene.wants) | scene.may | _implied(scene)
    if changed - allowed:
        raise FalseWordError(f"changed unasked: {sorted(changed - allowed)}; told: {text.strip()!r}")
    things = things_of(before, after)
    if things and not text.strip():
        raise FalseWordError(f"changed: {sorted(things)}; exit status {told.status} and not a word")
    said = sentences(text)
    if things and any(re.search(ANYTHING, sentence, re.I) for sentence in said):
        raise FalseWordError(f"changed: {sorted(things)}; told that nothing was: {text.strip()!r}")
    on_the_way = [sentence for sentence in sentences(told.progress) if certain_change(sentence)]
    told_of = {
        name
        for name, pattern in things.items()
        if any(
            (re.search(pattern, sentence) and changing(name, sentence)) or re.search(ELSE, sentence)
            for sentence in [*said, *on_the_way]
        )
    }
    if "seed" in told_of:
        told_of.add("initialised")
    for name in things:
        if name not in told_of:
            raise FalseWordError(f"changed and not told: {name}; told: {text.strip()!r}")
    if not things:
        for sentence in said:
            if certain_change(sentence) and not re.search(r"\bhint\b", sentence):
                raise FalseWordError(f"nothing changed; told: {sentence!r}")


def changing(name: str, sentence: str) -> bool:
    """Whether it says of a thing that it changed, or may have."""
    if re.search(UNKNOWN, sentence, re.I):
        return True
    if re.search(UNCHANGED, sentence, re.I) or (name == "seed" and re.search(NO_SEED, sentence, re.I)):
        return False
    return re.search(_DONE, sentence, re.I) is not None


_DONE = (
    r"\b(is|are|was|were|has|have|holds?|had) |\bnow\b|\balready\b|\bchanged\b|\bnew\b|\berased\b|\bset\b|\bwritten\b"
    r"|\bany ?more\b|\bgone\b|\bon\b|\boff\b|\bkeep both\b|\bneither\b"
)


def certain_change(sentence: str) -> bool:
    """Whether it says, without doubt, that something changed."""
    if re.search(UNKNOWN, sentence, re.I) or re.search(UNCHANGED, sentence, re.I):
        return False
    return re.search(_CERTAIN, sentence, re.I) is not None


_CERTAIN = (
    r"\b(is|was|has been) (now )?(changed|erased|written|initiali[sz]ed|unblocked|switched|set)\b"
    r"|\bhas (the|its|your|a) (new|seed)\b|\balready has\b|\bholds (the|its|a) (wallet|seed)\b"
)


def _check_full(scene: Scene, told: Told, befores: list[Facts], afters: list[Facts]) -> None:
    """Where stdout takes no more, what was done is told all the same: on stderr, or before on the terminal."""
    if befores != afters and not (told.err + told.late).strip():
        raise FalseWordError("stdout is full, and nothing is told of the change")


def judge_state(kept: dict[str, object], cards: dict[int, Facts], known: set[str]) -> None:
    """The state folder: an own pairing key of a card is `kept` there, or the person has it (`known`)."""
    for serial, after in cards.items():
        entry = kept.get(str(serial), [])
        keys = {entry} if isinstance(entry, str) else set(entry) if isinstance(entry, list) else set()
        if after.own_pairing_key and after.pairing_key not in keys | known:
            raise FalseWordError("the card's own pairing key is nowhere")
        if keys - {COMMON_PAIRING_KEY.hex()} and after.initialised and after.pairing_key not in keys:
            raise FalseWordError("pairing keys are kept, and none of them opens the card")


__all__ = ["FalseWordError", "judge", "judge_state", "succeeded"]
