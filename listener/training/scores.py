"""How good a model is on posts it did not see: by language, by label, typed otherwise, of services and languages never met."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from listener.text import language
from listener.text.normalize import skeleton
from listener.training import languages
from listener.training.augment import ascii_form, other_alphabet, slipped
from listener.training.dataset import Labelled
from listener.training.figures import chatter_figures, confusion, macro_f1, rounded
from listener.training.fit import Head, Numbers, Options, Views, calibrate, fit_all, unseen_logits, unseen_probabilities
from listener.types import CHATTER, LABELS, SYMPTOMS, Floats, Reading

_CHATTER = np.array([label in CHATTER for label in LABELS])
ASKED = ("zumbrio", "kelvano", "Trovexa", "plimor", "Drenix", "vaskolo", "Nubrela", "fintoba")  # services nobody has
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Material:
    """The rows as the classifier will see them; every reading's language comes from an identifier that did not see the row."""

    rows: Sequence[Labelled]
    folds: Numbers
    readings: list[Reading]
    altered: list[Reading]  # for training
    views: Mapping[str, list[Reading]]  # for measuring: names as in `VIEWS`
    services_right: NDArray[np.bool_]  # whether the services of a row were found, were it chatter

    @property
    def target(self) -> Numbers:
        return np.array([LABELS.index(row.row.label) for row in self.rows])

    @property
    def chatter(self) -> NDArray[np.bool_]:
        return np.array([row.chatter for row in self.rows])


@dataclass(frozen=True)
class Fits:
    """What was fitted, as far as it says something of posts it did not see."""

    identifier: languages.Fitted
    labels: Head
    symptoms: Head
    passed: NDArray[np.bool_]  # the gate
    shifts: Floats  # what serving takes from the logits, rows x labels

    @property
    def said(self) -> Numbers:
        best: Numbers = self.labels.unseen.argmax(axis=1)
        return best

    @property
    def chatter(self) -> Floats:
        return _chatter(self.labels.unseen)

    @property
    def live(self) -> Floats:
        """The probability of chatter as the daemon would have it: behind the gate, shifted from our posts to a stream."""
        odds = self.labels.unseen * np.exp(-self.shifts)
        return self.passed * _chatter(odds / odds.sum(axis=1, keepdims=True))


def unheard(text: str, reading: Reading, invented: str) -> str:
    """The text with the services that its reading names replaced by one that does not exist."""
    named = {match.form for match in reading.matches if match.kind == "service"}
    wanted = [name.split() for name in sorted(named, key=lambda name: (-len(name), name))]
    words = [(found.start(), found.end(), skeleton(found[0])) for found in _WORD.finditer(text)]
    at, n = 0, 0
    pieces = []
    while n < len(words):
        hit = next((w for w in wanted if [word for _, _, word in words[n : n + len(w)]] == w), None)
        if hit:
            pieces += [text[at : words[n][0]], invented]
            at = words[n + len(hit) - 1][1]
        n += len(hit or "-")
    return "".join(pieces) + text[at:]


ALWAYS = ("ascii",)  # the views that every training measures
VIEWS: Mapping[str, Callable[[Labelled, Reading, Random], str]] = {
    "ascii": lambda row, reading, random: ascii_form(row.row.text),
    "other_alphabet": lambda row, reading, random: other_alphabet(row.row.text, row.language, random),
    "one_slip": lambda row, reading, random: slipped(row.row.text, random),
    "unheard_service": lambda row, reading, random: unheard(row.row.text, reading, random.choice(ASKED)),
}


def figures_of(material: Material, fits: Fits, views: Mapping[str, Views], seed: int) -> dict[str, Any]:
    """All scores that go with a model. `views` are the feature matrices of `Material.views`."""
    labels, identifier = fits.labels, fits.identifier
    chatter, truth, target = fits.chatter, material.chatter, material.target
    typed = {name: _chatter(unseen_probabilities(view, material.folds, labels)) for name, view in views.items()}
    said = np.array([identifier.codes.index(row.language) for row in material.rows])
    group = np.array([language.group_of(code) for code in identifier.codes], dtype=object)
    best, short = identifier.plain.argmax(axis=1), identifier.short.argmax(axis=1)

    def part(at: NDArray[np.bool_]) -> dict[str, Any]:
        made = chatter_figures(truth[at], chatter[at], seed)
        drops = {f"f1_drop_{name}": made["f1"] - _f1(truth[at], seen[at]) for name, seen in typed.items()}
        right = {
            "services": material.services_right[at & truth].mean() if (at & truth).any() else 1.0,
            "label_f1": macro_f1(target[at], fits.said[at], len(LABELS))[0],
            "language": (best[at] == said[at]).mean(),
            "language_group": (group[best[at]] == group[said[at]]).mean(),
            "language_short": (short[at] == said[at]).mean(),
        }
        return made | rounded(drops | right)

    codes = np.array([row.language for row in material.rows])
    each = macro_f1(target, fits.said, len(LABELS))[1]
    return {
        "all": part(np.ones(len(truth), np.bool_)),
        "languages": {code: part(codes == code) for code in identifier.codes},
        "labels": rounded(dict(zip(LABELS, each, strict=True))),
        "confusion": confusion(target, fits.said, len(LABELS)),
        "symptoms": _symptoms(material, fits.symptoms),
        "live": chatter_figures(truth, fits.live, seed),
        "gate": rounded({"chatter": fits.passed[truth].mean(), "rest": fits.passed[~truth].mean()}),
    }


def symptom_target(rows: Sequence[Labelled]) -> Numbers:
    """0 for "does not say", then the number of the symptom."""
    names = ("", *SYMPTOMS)
    return np.array([names.index(row.row.symptom or "") for row in rows])


def _symptoms(material: Material, head: Head) -> dict[str, float]:
    target = symptom_target([row for row in material.rows if row.chatter])
    mean, each = macro_f1(target, head.unseen.argmax(1), len(SYMPTOMS) + 1)
    return rounded({"macro_f1": mean, **dict(zip(("none", *SYMPTOMS), each, strict=True))})


def left_out(
    material: Material, plain: Views, altered: Views, head: Head, options: Options, workers: int
) -> dict[str, Any]:
    """Chatter F1 and average precision in each language of a model that saw the ten others only, calibrated by those."""
    codes = np.array([row.language for row in material.rows])
    names = sorted(set(codes.tolist()))
    target = material.target
    chosen = [np.flatnonzero(codes != name) for name in names]
    models = fit_all(plain, altered, target, chosen, options, workers)
    unseen = unseen_logits(plain, material.folds, head.folds)
    made = {}
    for name, parts in zip(names, models, strict=True):
        here, others = np.flatnonzero(codes == name), np.flatnonzero(codes != name)
        calibrated = parts.scaled(*calibrate(unseen[:, others], target[others]))
        said = _chatter(calibrated.probabilities(plain.at(here)))
        found = chatter_figures(material.chatter[here], said, options.seed)
        made[name] = {key: found[key] for key in ("f1", "f1_interval", "ap", "ap_interval")}
    return made


SERVICE_PARTS = 4


def services_left_out(
    material: Material, plain: Views, altered: Views, head: Head, options: Options, workers: int
) -> float:
    """F1 lost on posts that name a service when no post that names it was trained on, as after adding one to the catalog."""
    named = [sorted({m.name for m in reading.matches if m.kind == "service"}) for reading in material.readings]
    part = np.array([crc32(names[0].encode()) % SERVICE_PARTS if names else -1 for names in named])
    taught = [
        np.flatnonzero([all(crc32(name.encode()) % SERVICE_PARTS != n for name in names) for names in named])
        for n in range(SERVICE_PARTS)
    ]
    models = fit_all(plain, altered, material.target, taught, options, workers)
    unmet = np.zeros(len(named))
    for n, parts in enumerate(models):
        here = np.flatnonzero(part == n)
        unmet[here] = _chatter(parts.scaled(head.scales, head.shift).probabilities(plain.at(here)))
    asked = part >= 0
    truth = material.chatter[asked]
    return round(_f1(truth, _chatter(head.unseen)[asked]) - _f1(truth, unmet[asked]), 4)


def _chatter(odds: Floats) -> Floats:
    made: Floats = odds[:, _CHATTER].sum(axis=1)
    return made


def _f1(truth: NDArray[np.bool_], chatter: Floats) -> float:
    return macro_f1(truth.astype(np.intp), (chatter >= 0.5).astype(np.intp), 2)[1][1]
