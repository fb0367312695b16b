"""How an answer is written: single keys for labels and symptoms, and the one-line form that a pipe or a script uses."""

from __future__ import annotations

from dataclasses import dataclass

from listener.errors import InputError
from listener.types import CHATTER, LABELS, SYMPTOMS

LABEL_KEYS = {str(number): label for number, label in enumerate(LABELS, 1)}
SYMPTOM_KEYS = {
    "d": "down", "l": "login", "f": "feed", "t": "stories", "m": "messages", "s": "slow", "e": "error", "u": "upload",
    "c": "call", "n": "notifications", "p": "payments",
}  # fmt: skip
MEANINGS = {
    "report": "can't use it or part of it now; symptoms, jokes, relapses",
    "question": "asks whether it is down, or back",
    "blocked": "the state, a court or a provider cuts access now",
    "relay": "passes on a current outage: status page, news, friends",
    "recovered": "it is back",
    "works": "it works for me; denials",
    "own": "the writer's own account, bill, device or cable",
    "not_now": "past outages, what-ifs, maintenance announced ahead",
    "other": "everything else",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of one post. `services` None = those shown are right."""

    label: str
    symptom: str | None = None
    services: tuple[str, ...] | None = None
    note: str = ""


def parse(line: str) -> Answer:
    """Read `LABEL [SYMPTOM] [services=A,B] [# note]`; label and symptom by name or key. Raises `InputError` in words.

    >>> parse("1 l services=instagram,x # twice").services, parse("report login").symptom, parse("9 # odd").note
    (('instagram', 'x'), 'login', 'odd')
    """
    said, _, note = line.partition("#")
    words = said.split()
    if not words:
        raise InputError("an answer begins with a label")
    label = LABEL_KEYS.get(words[0], words[0])
    if label not in LABELS:
        raise InputError(
            f"no label {words[0]!r} (have: {', '.join(f'{key} {name}' for key, name in LABEL_KEYS.items())})"
        )
    symptom: str | None = None
    services: tuple[str, ...] | None = None
    for word in words[1:]:
        if word.startswith("services="):
            services = named(word.removeprefix("services="))
        elif SYMPTOM_KEYS.get(word, word) in SYMPTOMS and symptom is None:
            symptom = SYMPTOM_KEYS.get(word, word)
        else:
            raise InputError(f"{word!r} is no symptom (have: {', '.join(SYMPTOMS)})")
    if symptom is not None and label not in CHATTER:
        raise InputError(f"a {label!r} post has no symptom")
    return Answer(label, symptom, services, note.strip())


def named(text: str) -> tuple[str, ...]:
    """Service ids out of `a, b`, each once.

    >>> named("instagram, x,x"), named("")
    (('instagram', 'x'), ())
    """
    return tuple(dict.fromkeys(part for part in text.replace(",", " ").split() if part))
