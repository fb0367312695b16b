"""Judges readings: probability of each label, and the symptom of those that look like chatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from listener.classify import explain, features, modelfile
from listener.classify.gate import Gate, is_found
from listener.classify.linear import Linear, softmax
from listener.classify.named import Named
from listener.classify.network import Network
from listener.classify.senses import Senses
from listener.datafile import Arrays
from listener.errors import ModelError
from listener.types import CHATTER, LABELS, Language, Match, Post, Reading, Score

_TOLERANCE = 1e-4  # golden predictions may differ by this much between machines
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_CHATTER = np.array([label in CHATTER for label in LABELS])


@dataclass(frozen=True)
class Classifier:
    """A loaded model. Build it with `load`; it never changes, so any thread may use it."""

    gate: Gate
    wide: Linear
    deep: Network
    symptoms: Linear
    named: Named
    senses: Senses
    model: modelfile.Model
    meta: modelfile.Meta
    digest: str

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read, check and try a model. Raises `ModelError`, whatever is wrong with it."""
        made = cls.of(*modelfile.read(folder))
        made._remember(folder)
        return made

    @classmethod
    def of(
        cls, model: modelfile.Model, senses: Senses, arrays: Arrays, meta: modelfile.Meta, digest: str
    ) -> Classifier:
        gate = Gate.of(arrays["gate"], model.gate_floor, model.parameters)
        return cls(
            gate,
            Linear.of(arrays, ""),
            Network.of(arrays, "deep_"),
            Linear.of(arrays, "symptom_"),
            Named(model.services, model.parameters.kind_scale),
            senses,
            model,
            meta,
            digest,
        )

    def score(self, readings: Sequence[Reading]) -> list[Score]:
        """One score per reading, in order."""
        if not readings:
            return []
        matrix = features.matrix(readings, self.model.parameters, self.senses)
        folded = features.folded(matrix, self.model.parameters)
        logits = self.wide.logits(matrix) + self.deep.logits(folded)
        found = np.array([is_found(reading.matches) for reading in readings])
        probabilities = softmax(logits - self.model.stream.of(found))
        symptoms = dict.fromkeys(range(len(readings)), "")
        likely = np.flatnonzero(probabilities[:, _CHATTER].sum(axis=1) >= self.model.symptom_floor)
        if len(likely):
            names = ("", *self.model.symptoms)
            told = self.named.beside(folded[likely], [readings[i] for i in likely.tolist()])
            best = self.symptoms.logits(told).argmax(axis=1)
            symptoms.update((i, names[b]) for i, b in zip(likely.tolist(), best.tolist(), strict=True))
        return [Score(tuple(row), symptoms[i], self.digest) for i, row in enumerate(probabilities.tolist())]

    def explain(self, reading: Reading, most: int = 12) -> list[tuple[str, float]]:
        """The words, meanings and findings that moved the odds of chatter, the strongest first, in logits."""
        return explain.moved(reading, self.wide, self.deep, self.model.parameters, self.senses, _CHATTER)[:most]

    def to_sklearn(self) -> Any:
        """The same model as a fitted scikit-learn `Pipeline` over readings, for notebooks and comparisons."""
        from listener.classify import estimator

        return estimator.rebuilt(self.wide, self.deep, self.model.parameters, self.senses)

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
