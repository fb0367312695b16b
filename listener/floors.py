"""How good a model must be: `models/floors.json` against the scores that training wrote into `meta.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

_ON_A_SCREEN = 12
_UNMEASURED = "was not measured"


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures by their name in the scores."""

    at_least: dict[str, float]
    at_most: dict[str, float]


class Floors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`floors.json`: for all posts, each language, the symptoms' F1, the chatter the gate lets through, and F1 when left out."""

    all: Bounds
    languages: dict[str, Bounds]
    symptoms: float
    gate: float
    left_out: dict[str, float]


def falls(scores: Mapping[str, Any], floors: Floors) -> list[str]:
    """What does not reach its floor, a line each; a figure that nobody measured does not reach it either."""
    return [
        f"{where}: {name} {f'{_UNMEASURED} (train with --thorough)' if have is None else f'{have:g}'}, {word} {bound:g}"
        for where, name, have, word, bound in _figures(scores, floors)
        if have is None or (have < bound if word == "floor" else have > bound)
    ]


def in_short(below: Sequence[str]) -> list[str]:
    """What `falls` found, as many lines as fit a screen.

    >>> in_short(["tr: f1 0.5, floor 0.8"])
    ['tr: f1 0.5, floor 0.8']
    """
    if len(below) <= _ON_A_SCREEN:
        return list(below)
    unmeasured = sum(_UNMEASURED in line for line in below)
    fell = [line for line in below if _UNMEASURED not in line]
    lines = fell[:_ON_A_SCREEN]
    if len(fell) > len(lines):
        lines.append(f"and {len(fell) - len(lines)} more that are too low or too high")
    if unmeasured:
        lines.append(f"and {unmeasured} that were not measured (train with --thorough)")
    return lines


def _figures(scores: Mapping[str, Any], floors: Floors) -> Iterator[tuple[str, str, float | None, str, float]]:
    parts = {"all": floors.all, **floors.languages}
    for part, bounds in parts.items():
        keys = ("all",) if part == "all" else ("languages", part)
        for word, wanted in (("floor", bounds.at_least), ("ceiling", bounds.at_most)):
            for name, bound in wanted.items():
                yield part, name, _at(scores, *keys, name), word, bound
    yield "symptoms", "macro_f1", _at(scores, "symptoms", "macro_f1"), "floor", floors.symptoms
    yield "gate", "chatter", _at(scores, "gate", "chatter"), "floor", floors.gate
    for code, bound in floors.left_out.items():
        yield f"{code} left out", "f1", _at(scores, "left_out", code, "f1"), "floor", bound


def _at(scores: Any, *keys: str) -> float | None:
    """The number at the end of a path of keys; None when it is not there, or is no number."""
    for key in keys:
        if not isinstance(scores, Mapping) or key not in scores:
            return None
        scores = scores[key]
    return float(scores) if isinstance(scores, (int, float)) and scores == scores else None  # noqa: PLR0124 - not NaN
