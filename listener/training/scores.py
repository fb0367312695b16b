"""How good a model is on posts it did not see: by language, by label, typed otherwise, of services and languages never met."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener.classify.network import softmax
from listener.text import language
from listener.text.normalize import skeleton
from listener.training import languages
from listener.training.augment import ascii_form, other_alphabet, slipped
from listener.training.dataset import Labelled
from listener.training.figures import chatter_figures, macro_f1, rounded
from listener.training.fit import Head, Numbers, Options, fit_network, unseen_probabilities
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
    rarer: Floats  # what serving takes from each row's log odds of chatter


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


def figures_of(material: Material, fits: Fits, views: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """All scores that go with a model. `views` are the feature matrices of `Material.views`."""
    labels, identifier = fits.labels, fits.identifier
    chatter, truth, target = _chatter(labels.unseen), material.chatter, material.target
    typed = {name: _chatter(unseen_probabilities(view, material.folds, labels)) for name, view in views.items()}
    said = np.array([identifier.codes.index(row.language) for row in material.rows])
    group = np.array([language.group_of(code) for code in identifier.codes], dtype=object)
    best, short = identifier.plain.argmax(axis=1), identifier.short.argmax(axis=1)

    def part(at: NDArray[np.bool_]) -> dict[str, Any]:
        made = chatter_figures(truth[at], chatter[at], seed)
        drops = {f"f1_drop_{name}": made["f1"] - _f1(truth[at], seen[at]) for name, seen in typed.items()}
        right = {
            "services": material.services_right[at & truth].mean() if (at & truth).any() else 1.0,
            "label_f1": macro_f1(target[at], labels.unseen[at].argmax(1), len(LABELS))[0],
            "language": (best[at] == said[at]).mean(),
            "language_group": (group[best[at]] == group[said[at]]).mean(),
            "language_short": (short[at] == said[at]).mean(),
        }
        return made | rounded(drops | right)

    codes = np.array([row.language for row in material.rows])
    each = macro_f1(target, labels.unseen.argmax(1), len(LABELS))[1]
    return {
        "all": part(np.ones(len(truth), np.bool_)),
        "languages": {code: part(codes == code) for code in identifier.codes},
        "labels": rounded(dict(zip(LABELS, each, strict=True))),
        "symptoms": _symptoms(material, fits.symptoms),
        "live": chatter_figures(
            truth, fits.passed / (1 + (1 / np.clip(chatter, 1e-9, 1) - 1) * np.exp(fits.rarer)), seed
        ),
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


def left_out(material: Material, plain: Any, altered: Any, options: Options, workers: int) -> dict[str, Any]:
    """Chatter F1 and average precision in each language of a network that saw the ten others only."""
    codes = np.array([row.language for row in material.rows])
    names = sorted(set(codes.tolist()))
    networks = Parallel(n_jobs=workers)(
        delayed(fit_network)(plain, altered, material.target, np.flatnonzero(codes != name), options) for name in names
    )
    made = {}
    for name, network in zip(names, networks, strict=True):
        here = np.flatnonzero(codes == name)
        found = chatter_figures(material.chatter[here], _chatter(softmax(network.logits(plain[here]))), options.seed)
        made[name] = {key: found[key] for key in ("f1", "f1_interval", "ap", "ap_interval")}
    return made


SERVICE_PARTS = 4


def services_left_out(
    material: Material, plain: Any, altered: Any, head: Head, options: Options, workers: int
) -> float:
    """F1 lost on posts that name a service when no post that names it was trained on, as after adding one to the catalog."""
    named = [sorted({m.name for m in reading.matches if m.kind == "service"}) for reading in material.readings]
    part = np.array([crc32(names[0].encode()) % SERVICE_PARTS if names else -1 for names in named])
    taught = [
        np.flatnonzero([all(crc32(name.encode()) % SERVICE_PARTS != n for name in names) for names in named])
        for n in range(SERVICE_PARTS)
    ]
    networks = Parallel(n_jobs=workers)(
        delayed(fit_network)(plain, altered, material.target, rows, options) for rows in taught
    )
    unmet = np.zeros(len(named))
    for n, network in enumerate(networks):
        here = np.flatnonzero(part == n)
        unmet[here] = _chatter(softmax(network.logits(plain[here]) * head.scale + head.shift))
    asked = part >= 0
    truth = material.chatter[asked]
    return round(_f1(truth, _chatter(head.unseen)[asked]) - _f1(truth, unmet[asked]), 4)


def _chatter(odds: Floats) -> Floats:
    made: Floats = odds[:, _CHATTER].sum(axis=1)
    return made


def _f1(truth: NDArray[np.bool_], chatter: Floats) -> float:
    return macro_f1(truth.astype(np.intp), (chatter >= 0.5).astype(np.intp), 2)[1][1]
