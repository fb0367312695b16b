"""Judges readings: probability of each label, and the symptom of those that look like chatter. Linear, in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.classify import features, modelfile
from listener.classify.ngrams import Parameters, grams
from listener.datafile import Arrays
from listener.errors import ModelError
from listener.types import CHATTER, LABELS, Floats, Language, Match, Post, Reading, Score

_TOLERANCE = 1e-4  # golden predictions may differ by this much between machines
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_CHATTER = np.array([label in CHATTER for label in LABELS])

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """One linear model over `features`: logits = hashed n-grams + what is told + intercept."""

    hashed: Weights  # the last row is zero
    named: Weights
    intercept: Weights
    parameters: Parameters

    @classmethod
    def of(cls, arrays: Arrays, prefix: str, parameters: Parameters) -> Linear:
        hashed = arrays[f"{prefix}hashed"].astype(np.float32)
        nothing = np.zeros((1, hashed.shape[1]), np.float32)
        return cls(
            hashed=np.concatenate([hashed, nothing]),
            named=arrays[f"{prefix}named"],
            intercept=arrays[f"{prefix}intercept"],
            parameters=parameters,
        )

    def probabilities(self, readings: Sequence[Reading]) -> Floats:
        logits = features.project(readings, self.hashed, self.named, self.parameters) + self.intercept
        logits -= logits.max(axis=1, keepdims=True)
        odds: Floats = np.exp(logits)
        odds /= odds.sum(axis=1, keepdims=True)
        return odds


@dataclass(frozen=True)
class Classifier:
    """A loaded model. Build it with `load`; it never changes, so any thread may use it."""

    labels: Linear
    symptoms: Linear
    model: modelfile.Model
    meta: modelfile.Meta
    digest: str

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read, check and try a model. Raises `ModelError`, whatever is wrong with it."""
        model, arrays, meta, digest = modelfile.read(folder)
        made = cls.of(model, arrays, meta, digest)
        made._remember(folder)
        return made

    @classmethod
    def of(cls, model: modelfile.Model, arrays: Arrays, meta: modelfile.Meta, digest: str) -> Classifier:
        made = model.parameters
        narrow = replace(made, bits=model.symptom_bits)
        return cls(Linear.of(arrays, "", made), Linear.of(arrays, "symptom_", narrow), model, meta, digest)

    def score(self, readings: Sequence[Reading]) -> list[Score]:
        """One score per reading, in order."""
        if not readings:
            return []
        probabilities = self.labels.probabilities(readings)
        symptoms = dict.fromkeys(range(len(readings)), "")
        likely = np.flatnonzero(probabilities[:, _CHATTER].sum(axis=1) >= self.model.symptom_floor).tolist()
        if likely:
            names = ("", *self.model.symptoms)
            best = self.symptoms.probabilities([readings[i] for i in likely]).argmax(axis=1)
            symptoms.update((i, names[b]) for i, b in zip(likely, best, strict=True))
        return [Score(tuple(row), symptoms[i], self.digest) for i, row in enumerate(probabilities.tolist())]

    def explain(self, reading: Reading, most: int = 12) -> list[tuple[str, float]]:
        """The words and findings that moved the odds of chatter, the strongest first, in logits."""
        odds = self.labels.probabilities([reading])[0]
        inside, outside = odds * _CHATTER, odds * ~_CHATTER
        direction = (inside / max(inside.sum(), 1e-12) - outside / max(outside.sum(), 1e-12)).astype(np.float32)
        moved: dict[str, float] = {}
        made = features.told([reading], self.labels.parameters)[0]
        for column in np.flatnonzero(made):
            moved[features.TOLD[column]] = float(made[column] * (self.labels.named[column] @ direction))
        toward = (self.labels.hashed @ direction)[:, None]
        text = features.masked(reading)
        found = grams([text], self.labels.parameters)
        words = np.cumsum(np.array([char == " " for char in f" {text} "])) - 1
        for buckets in found.chars:
            for place in np.flatnonzero(buckets != found.nothing):
                word = text.split(" ")[words[place]]
                moved[word] = moved.get(word, 0.0) + float(toward[buckets[place], 0] * found.char_weight[0])
        for count, buckets in enumerate(found.words, 1):
            for place in np.flatnonzero(buckets != found.nothing):
                word = " ".join(text.split()[place : place + count])
                weight = found.word_weight[0] * self.labels.parameters.word_scale
                moved[word] = moved.get(word, 0.0) + float(toward[buckets[place], 0] * weight)
        return sorted(moved.items(), key=lambda item: (-abs(item[1]), item[0]))[:most]

    def to_sklearn(self) -> Any:
        """The same model as a fitted scikit-learn `Pipeline` over readings, for notebooks and comparisons."""
        from listener.classify import estimator

        return estimator.rebuilt(self.labels)

    def _remember(self, folder: Path) -> None:
        scores = self.score([reading_of(golden) for golden in self.meta.golden])
        for golden, score in zip(self.meta.golden, scores, strict=True):
            if len(golden.probabilities) != len(LABELS) or not np.allclose(
                score.probabilities, golden.probabilities, rtol=0, atol=_TOLERANCE
            ):
                raise ModelError(
                    f"{folder}: no longer gives the answers it gave when it was made ({golden.clean[:40]!r}); train it again"
                )


def reading_of(golden: modelfile.Golden) -> Reading:
    """A golden text as the reading it was."""
    post = Post("golden:0", "golden", golden.clean, _LONG_AGO, _LONG_AGO)
    matches = tuple(Match(m.kind, m.name, m.form, m.start, m.end, m.exact, m.symptom) for m in golden.matches)
    return Reading(post, golden.clean, golden.skeleton, matches, Language(golden.language, 1.0, golden.script))


def golden_of(reading: Reading, score: Score) -> modelfile.Golden:
    """The inverse of `reading_of`. Of the language only code and script are kept."""
    return modelfile.Golden(
        clean=reading.clean,
        skeleton=reading.skeleton,
        language=reading.language.code,
        script=reading.language.script,
        matches=tuple(
            modelfile.GoldenMatch(m.kind, m.name, m.form, m.start, m.end, m.exact, m.symptom) for m in reading.matches
        ),
        probabilities=score.probabilities,
        symptom=score.symptom,
    )
