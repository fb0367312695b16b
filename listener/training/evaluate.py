"""Measures a model on labelled posts it has not seen: our own format, or rows that say only whether a post is chatter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from listener.catalog import Catalog
from listener.classify.classifier import Classifier
from listener.errors import InputError
from listener.text.language import Identifier
from listener.text.phrases import matcher_of
from listener.training.dataset import read
from listener.training.figures import CUT, chatter_figures, macro_f1
from listener.types import CHATTER, LABELS, Floats, Score


class Judged(msgspec.Struct, frozen=True):
    """A row to measure on. Other keys are left unread. `lang` falls back to the file's name."""

    text: str
    id: str = ""
    label: str = ""
    chatter: int | None = None
    kind: str = ""
    lang: str = ""
    ambiguous: bool = False

    @property
    def true(self) -> bool:
        return self.label in CHATTER if self.chatter is None else bool(self.chatter)


def load(path: Path) -> list[Judged]:
    """The rows of a JSON Lines file, those marked ambiguous left out. Raises `InputError` that names file and line."""
    rows = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = msgspec.json.decode(line, type=Judged)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{path}:{number}: {error}") from error
        if row.chatter not in (None, 0, 1) or (row.chatter is None and row.label not in LABELS):
            raise InputError(f"{path}:{number}: needs a label ({', '.join(LABELS)}) or chatter 0 or 1")
        if not row.ambiguous:
            rows.append(row if row.lang else msgspec.structs.replace(row, lang=path.stem))
    if not rows:
        raise InputError(f"{path}: no rows to measure on")
    return rows


def evaluate(
    path: Path,
    model: Path,
    catalog: Catalog,
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """Figures of a model on a file: `judged` if every post were scored, `live` behind the gate that the daemon has."""
    rows = load(path)
    classifier, identifier = Classifier.load(model), Identifier.load(model)
    readings = read([row.text for row in rows], [row.id for row in rows], matcher_of(catalog), identifier)
    progress(f"{len(rows)} posts read")
    scores = [score for at in range(0, len(readings), 256) for score in classifier.score(readings[at : at + 256])]
    passed = np.array(classifier.gate.passes([r.skeleton for r in readings], [r.matches for r in readings]))
    chatter = np.array([score.chatter for score in scores])
    truth = np.array([row.true for row in rows])
    made = {
        "model": classifier.digest,
        "posts": len(rows),
        "judged": chatter_figures(truth, chatter, seed),
        "live": chatter_figures(truth, chatter * passed, seed),
        "gate": _gate(truth, passed),
        "languages": _parts([row.lang for row in rows], truth, chatter * passed, seed),
        "kinds": _kinds([row.kind for row in rows], passed, chatter),
    }
    if all(row.label for row in rows):
        made["labels"] = _labels([row.label for row in rows], scores)
    return made


def _gate(truth: NDArray[np.bool_], passed: NDArray[np.bool_]) -> dict[str, float]:
    """The share of chatter and of the rest that is judged at all."""
    return {
        name: round(float(passed[at].mean()), 4) if at.any() else 0.0
        for name, at in (("chatter", truth), ("rest", ~truth))
    }


def _parts(names: Sequence[str], truth: NDArray[np.bool_], chatter: Floats, seed: int) -> dict[str, Any]:
    every = np.array(names)
    return {
        name: chatter_figures(truth[every == name], chatter[every == name], seed) for name in sorted(set(names)) if name
    }


def _kinds(names: Sequence[str], passed: NDArray[np.bool_], chatter: Floats) -> dict[str, dict[str, float]]:
    """For each kind of row, the share taken for chatter: for background and near misses, the false alarms."""
    every = np.array(names)
    made = {}
    for name in sorted(set(names) - {""}):
        at = every == name
        made[name] = {
            "posts": int(at.sum()),
            "judged": round(float((chatter[at] >= CUT).mean()), 5),
            "live": round(float((chatter[at] * passed[at] >= CUT).mean()), 5),
        }
    return made


def _labels(names: Sequence[str], scores: Sequence[Score]) -> dict[str, float]:
    truth = np.array([LABELS.index(name) for name in names])
    said = np.array([LABELS.index(score.label) for score in scores])
    mean, each = macro_f1(truth, said, len(LABELS))
    return {"macro_f1": round(mean, 4), **{name: round(f1, 4) for name, f1 in zip(LABELS, each, strict=True)}}
