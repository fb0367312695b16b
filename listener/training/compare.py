"""Two models side by side on posts that neither was trained on: what got better, what worse, and whether that is chance.

Without other posts, they are compared on the training posts both have, each post judged as in cross-validation, unseen
(`listener.training.unseen`). With posts held out, both judge them as they are, and those that either learnt from are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.catalog import Catalog
from listener.classify import modelfile
from listener.classify.classifier import Classifier
from listener.classify.gate import is_found
from listener.classify.modelfile import META
from listener.datafile import bytes_of, decoded
from listener.errors import InputError, ModelError
from listener.text.language import Identifier
from listener.text.phrases import matcher_of
from listener.training import dataset, unseen
from listener.training.dataset import Labelled
from listener.training.figures import CUT
from listener.training.paired import difference, judged
from listener.training.unseen import Decisions
from listener.types import CHATTER, LABELS, Reading, Score

FEWEST = 20  # posts that a comparison must rest on
_CHATTER = np.array([label in CHATTER for label in LABELS])


def compare(
    first: Path,
    second: Path,
    catalog: Catalog,
    *,
    data: Path | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """What changes from the first model to the second, by language and by label.

    `data` is a file or folder of labelled posts. Raises `ModelError` for a model that does not say what it was trained on,
    `InputError` when too few posts are left that neither was trained on.
    """
    kept = unseen.load(first), unseen.load(second)
    progress("posts judged unseen")
    if data is None:
        pair, beside = _shared(*kept)
        _need(
            pair[0],
            f"{first} and {second} have only {len(pair[0])} training posts in common; compare them on others, with --data",
        )
    else:
        rows, beside = _held_out(data, kept, (first, second))
        progress(f"{len(rows)} posts held out")
        group = dataset.groups(rows)
        pair = _decided(first, rows, group, catalog), _decided(second, rows, group, catalog)
        _need(pair[0], f"{data}: {len(rows)} posts are too few to compare models on")
    progress("differences")
    metas = [decoded(bytes_of(folder / META), modelfile.Meta, folder / META) for folder in (first, second)]
    return {
        "models": [
            {"folder": str(f), "data": m.data, "posts": m.posts} for f, m in zip((first, second), metas, strict=True)
        ],
        "judged": "in cross-validation" if data is None else "as they are",
        "posts": len(pair[0]),
        **beside,
        **_parts(*pair, seed),
        "measured": [_measured(m.scores, f / META) for f, m in zip((first, second), metas, strict=True)],
    }


def comparable(folder: Path) -> None:
    """Raises `ModelError` when nothing could be compared with this model: before a training is begun for it."""
    unseen.load(folder)


def _need(made: Decisions, message: str) -> None:
    if len(made) < FEWEST or len(set(_CHATTER[made.label].tolist())) < 2:
        raise InputError(f"{message} (at least {FEWEST} are needed, with chatter and others among them)")


def _shared(first: Decisions, second: Decisions) -> tuple[tuple[Decisions, Decisions], dict[str, int]]:
    """The posts both have with the same text and label, in one order; how many are only in one or differ."""
    place = {post: n for n, post in enumerate(first.ids)}
    both = [(place[post], n) for n, post in enumerate(second.ids) if post in place]
    same = [(a, b) for a, b in both if first.text[a] == second.text[b] and first.label[a] == second.label[b]]
    pair = _rows(first, [a for a, _ in same]), _rows(second, [b for _, b in same])
    alone = len(first) + len(second) - 2 * len(both)
    return pair, {"only_in_one": alone, "changed_since": len(both) - len(same), "trained_on": 0}


def _rows(made: Decisions, at: Sequence[int]) -> Decisions:
    where = np.array(at, np.intp)
    arrays = {f.name: getattr(made, f.name)[where] for f in fields(made) if f.name != "ids"}
    return replace(made, ids=tuple(made.ids[n] for n in at), **arrays)


def _held_out(
    data: Path, kept: tuple[Decisions, Decisions], folders: tuple[Path, Path]
) -> tuple[list[Labelled], dict[str, int]]:
    """The posts of `data` whose text neither model learnt from. Refuses when that is less than half of them."""
    rows = dataset.load(data) if data.is_dir() else dataset.load_file(data)
    prints = [unseen.fingerprint(row.row.text) for row in rows]
    taught = [set(each.text.tolist()) for each in kept]
    free = [row for row, mark in zip(rows, prints, strict=True) if not any(mark in each for each in taught)]
    if 2 * len(free) < len(rows):
        counts = [sum(mark in each for mark in prints) for each in taught]
        worst = counts.index(max(counts))
        raise InputError(
            f"{data}: {folders[worst]} was trained on {counts[worst]} of these {len(rows)} posts and would be asked what it"
            " was told; give posts that neither model has seen, or leave --data out"
        )
    return free, {"only_in_one": 0, "changed_since": 0, "trained_on": len(rows) - len(free)}


def _decided(folder: Path, rows: Sequence[Labelled], group: Sequence[int], catalog: Catalog) -> Decisions:
    classifier, identifier = Classifier.load(folder), Identifier.load(folder)
    ids = [row.row.id for row in rows]
    readings = dataset.read([row.row.text for row in rows], ids, matcher_of(catalog), identifier)
    scores = [score for at in range(0, len(readings), 256) for score in classifier.score(readings[at : at + 256])]
    odds = _unshifted(classifier, readings, scores)
    passed = np.array(classifier.gate.passes([r.skeleton for r in readings], [r.matches for r in readings]))
    live = passed * np.array([score.chatter for score in scores])
    return unseen.decisions_of(rows, group, odds.argmax(axis=1), odds[:, _CHATTER].sum(axis=1), live)


def _unshifted(classifier: Classifier, readings: Sequence[Reading], scores: Sequence[Score]) -> NDArray[np.float64]:
    """Probabilities on a mix like the training posts, as cross-validation judges: serving's shift for a stream undone."""
    found = np.array([is_found(reading.matches) for reading in readings])
    odds = np.array([score.probabilities for score in scores]) * np.exp(classifier.model.stream.of(found))
    shares: NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return shares


def _parts(first: Decisions, second: Decisions, seed: int) -> dict[str, Any]:
    truth, group = _CHATTER[second.label], second.group
    one, other = first.chatter >= CUT, second.chatter >= CUT

    def chatter(at: NDArray[np.bool_]) -> dict[str, Any]:
        return difference(truth[at], one[at], other[at], group[at], seed)

    languages = {code: chatter(second.language == code) for code in sorted(set(second.language.tolist()))}
    labels = {
        label: difference(second.label == n, first.said == n, second.said == n, group, seed)
        for n, label in enumerate(LABELS)
        if (second.label == n).any()
    }
    whole = {
        "all": chatter(np.ones(len(truth), np.bool_)),
        "live": difference(truth, first.live >= CUT, second.live >= CUT, group, seed),
    }
    right, wrong = (one != truth) & (other == truth), (one == truth) & (other != truth)
    return {
        **judged(whole),
        "languages": judged(languages),
        "labels": judged(labels),
        "mended": [second.ids[n] for n in np.flatnonzero(right)],
        "broken": [second.ids[n] for n in np.flatnonzero(wrong)],
    }


def _measured(scores: Mapping[str, Any], path: Path) -> dict[str, float]:
    """Figures that each model had when it was made, on all of its own posts: set side by side, but not tested."""
    try:
        found = {name: value for name, value in scores["all"].items() if isinstance(value, float)}
        found |= {f"left_out_{code}": float(each["f1"]) for code, each in scores.get("left_out", {}).items()}
        return found | {"symptoms": float(scores["symptoms"]["macro_f1"])}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: its scores are not those that `listener train` writes ({error!r})") from error
