"""The judge: what was told, against what the card holds.

What sentences say is read by `words`. What is said has to be true; and what changed has to be said, or that it may
have, where the command did not end in success.
"""

from __future__ import annotations

import json
import re

from cryptnox_core.wire import COMMON_PAIRING_KEY
from tests.system.life.facts import Facts, first_address
from tests.system.life.people import Person
from tests.system.life.scenes import ANY, Scene
from tests.system.life.words import ANYTHING, CLAIMS, ELSE, THINGS, about, changing, false_claim, sentences
from tests.system.life.world import Told


class FalseWordError(AssertionError):
    """What was told is not what is."""


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
        changed -= {"seed", "export"}
    return {**found, **{name: THINGS[name] for name in sorted(changed - {"owner", "half"})}}


def judge(
    scene: Scene,
    told: Told,
    befores: list[Facts],
    afters: list[Facts],
    person: Person,
    *,
    stdout_lost: bool = False,
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
    cards = [(before.serial, before, after) for before, after in zip(befores, afters, strict=True)]
    if succeeded(scene, told):
        for serial, before, after in cards:
            _check_success(scene, told, before, after, person, stdout_lost=stdout_lost)
            _check_claims(about(serial, sentences(f"{told.out}\n{told.err}\n{told.late}")), before, after)
        return
    for serial, before, after in cards:
        _check_failure(scene, told, text, serial, before, after)
        _check_claims(about(serial, sentences(text)), before, after)
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


def _check_success(scene: Scene, told: Told, before: Facts, after: Facts, person: Person, *, stdout_lost: bool) -> None:
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
    if scene.wants.get("export") is True and "seed" in scene.wants and after.seed and not stdout_lost:
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


def _check_failure(scene: Scene, told: Told, text: str, serial: int, before: Facts, after: Facts) -> None:
    changed = before.changes(after)
    allowed = set(scene.wants) | scene.may | _implied(scene)
    if changed - allowed:
        raise FalseWordError(f"changed unasked: {sorted(changed - allowed)}; told: {text.strip()!r}")
    things = things_of(before, after)
    if things and not text.strip():
        raise FalseWordError(f"changed: {sorted(things)}; exit status {told.status} and not a word")
    said = about(serial, sentences(text))
    if things and any(re.search(ANYTHING, sentence, re.I) for sentence in said):
        raise FalseWordError(f"changed: {sorted(things)}; told that nothing was: {text.strip()!r}")
    on_the_way = [sentence for sentence in sentences(told.progress) if _claims(sentence)]
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


def _claims(sentence: str) -> bool:
    """Whether it says something of the card, and no more explains."""
    return any(re.search(pattern, sentence, re.I) for pattern, _ in CLAIMS)


def _check_claims(said: list[str], before: Facts, after: Facts) -> None:
    for sentence in said:
        if false_claim(sentence, before, after):
            raise FalseWordError(f"it is not so: {sentence!r}; all: {' | '.join(said)!r}")


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
