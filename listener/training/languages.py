"""Fits the language identifier on the labelled posts, seen as people may type them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from listener.datafile import digest_of, packed
from listener.text.chargrams import bucket, buckets, windows
from listener.text.language import FORMAT, Identifier, Settings, words_of
from listener.text.normalize import clean
from listener.text.scripts import scripts_of
from listener.training.augment import ascii_form, clipped, other_alphabet
from listener.training.dataset import Labelled
from listener.types import Floats

BITS, LONGEST, SEEN_BITS = 16, 4, 18
_DECAY, _PASSES = 3e-7, 3  # linear support vector machine by averaged descent: as good as liblinear, much faster
SURE = 0.5
STRANGEST = 0.03  # the share of unseen posts of our own languages that may be taken for strange
_USED = 0.01  # a script in fewer posts of a language than this is an accident

_GOLDEN = (
    "instagram yine açılmıyor, sizde de öyle mi",
    "wifi gitmis yine",
    "опет не раде поруке на вајберу",
    "ne mogu da udjem u banku",
    "пак не зарежда нищо",
    "ne mi trugva neta",
    "δεν ανοίγει η εφαρμογή",
    "den fortwnei tipota simera",
    "nu merge netul de azi dimineata",
    "spet ne dela spletna banka",
    "не ми се отвора апликацијата",
    "nuk po hapet faqja fare",
    "anyone else getting an error on login",
)


@dataclass(frozen=True)
class Views:
    """Clean texts of the rows and of their other views; `owner` is the row each belongs to."""

    texts: list[str]
    owner: NDArray[np.intp]
    plain: NDArray[np.intp]  # where the text as written stands
    short: NDArray[np.intp]  # where a clipped one stands
    matrix: Any


def views(rows: Sequence[Labelled], seed: int) -> Views:
    """Every post as written, typed otherwise, and clipped twice: short posts are the hard ones."""
    texts: list[str] = []
    owner: list[int] = []
    for number, row in enumerate(rows):
        random = Random(f"{seed}:{row.row.id}")  # noqa: S311  reproducible, not secret
        text = row.row.text
        plain, other = ascii_form(text), other_alphabet(text, row.language, random)
        typed = [form for form in dict.fromkeys((plain, other)) if form != text]
        made = [text, *typed, clipped(text, random), clipped(random.choice([text, *typed]), random)]
        texts += map(clean, made)
        owner += [number] * len(made)
    at = np.array(owner, np.intp)
    plain_at = np.flatnonzero(np.diff(at, prepend=-1))
    short_at = np.append(plain_at[1:], len(at)) - 1
    return Views(texts, at, plain_at, short_at, sparse_rows(texts))


def sparse_rows(texts: Sequence[str]) -> Any:
    """The n-grams of clean texts as a scipy sparse matrix: the same numbers that the identifier sums."""
    from scipy import sparse

    found = windows([words_of(text) for text in texts], LONGEST)
    row = np.repeat(np.arange(len(texts)), np.diff(found.first, append=len(found.rolled[0])))
    rows, columns = [], []
    for place in buckets(found, BITS):
        real = place < 1 << BITS
        rows.append(row[real])
        columns.append(place[real])
    at = np.concatenate(rows)
    shape = (len(texts), 1 << BITS)
    return sparse.coo_matrix((found.weight[at], (at, np.concatenate(columns))), shape).tocsr()


@dataclass(frozen=True)
class Fitted:
    """The identifier to ship, those that did not see a fold, and what the latter say of the rows they did not see."""

    final: Identifier
    unseen: list[Identifier]
    settings: Settings
    arrays: bytes
    plain: Floats
    short: Floats
    codes: tuple[str, ...]


def fit(rows: Sequence[Labelled], folds: NDArray[np.intp], seed: int, workers: int) -> Fitted:
    """Fit one identifier a fold and the final one; temperature and thresholds come from the posts each did not see."""
    seen = views(rows, seed)
    codes = tuple(sorted({row.language for row in rows}))
    target = np.array([codes.index(row.language) for row in rows])
    count = int(folds.max()) + 1
    parts = [np.flatnonzero(folds[seen.owner] != fold) for fold in range(count)] + [np.arange(len(seen.texts))]
    models = Parallel(n_jobs=workers)(
        delayed(_linear)(seen.matrix[part], target[seen.owner[part]], len(codes), seed) for part in parts
    )
    held = [(np.flatnonzero(folds == fold), weights) for fold, weights in enumerate(models[:-1])]
    scale = _temperature(
        [(seen.matrix[at[rows_]] @ w + b, target[rows_]) for at in (seen.plain, seen.short) for rows_, (w, b) in held]
    )
    made = []
    for part, (weights, intercept) in zip(parts, models, strict=True):
        arrays = {
            "weights": (weights * scale).astype("<f2"),
            "intercept": (intercept * scale).astype("<f4"),
            "seen": _seen([seen.texts[i] for i in part]),
        }
        made.append(arrays)
    settings = Settings(
        format=FORMAT,
        codes=codes,
        scripts=tuple(_scripts(rows, code) for code in codes),
        bits=BITS,
        longest=LONGEST,
        seen_bits=SEEN_BITS,
        sure=SURE,
        familiar=0.0,
        arrays="",
        golden=(),
    )
    unseen = [Identifier.of(settings, arrays) for arrays in made[:-1]]
    plain, short = np.zeros((len(rows), len(codes))), np.zeros((len(rows), len(codes)))
    known = np.zeros(len(rows))
    for identifier, (rows_, _) in zip(unseen, held, strict=True):
        texts = [seen.texts[i] for i in seen.plain[rows_]]
        plain[rows_] = identifier.probabilities(texts)
        short[rows_] = identifier.probabilities([seen.texts[i] for i in seen.short[rows_]])
        known[rows_] = identifier.familiarity(texts)
    settings = msgspec.structs.replace(settings, familiar=round(float(np.quantile(known, STRANGEST)), 3))
    raw = packed(made[-1])
    final = Identifier.of(settings, made[-1])
    settings = msgspec.structs.replace(settings, arrays=digest_of(raw), golden=_golden(final))
    return Fitted(
        final=Identifier.of(settings, made[-1]),
        unseen=[Identifier.of(settings, arrays) for arrays in made[:-1]],
        settings=settings,
        arrays=raw,
        plain=plain,
        short=short,
        codes=codes,
    )


def _linear(matrix: Any, target: NDArray[np.intp], classes: int, seed: int) -> tuple[Floats, Floats]:
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(
        alpha=_DECAY, average=True, max_iter=_PASSES, tol=None, class_weight="balanced", random_state=seed
    ).fit(matrix, target)
    weights, intercept = np.zeros((matrix.shape[1], classes)), np.full(classes, -1.0)
    if len(model.classes_) == 2:
        pair = np.array([[-1.0], [1.0]])
        weights[:, model.classes_], intercept[model.classes_] = (
            (pair @ model.coef_).T,
            (pair @ model.intercept_).ravel(),
        )
    else:
        weights[:, model.classes_], intercept[model.classes_] = model.coef_.T, model.intercept_
    return weights, intercept


def _temperature(held: Sequence[tuple[Floats, NDArray[np.intp]]]) -> float:
    """The factor on the margins that makes their softmax a probability on posts not seen."""
    margins, target = np.concatenate([m for m, _ in held]), np.concatenate([t for _, t in held])

    def loss(scale: float) -> float:
        logits = margins * scale
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        return float(np.mean(total - logits[np.arange(len(target)), target]))

    scales: list[float] = np.geomspace(1 / 32, 16, 61).tolist()
    return min(scales, key=loss)


def _scripts(rows: Sequence[Labelled], code: str) -> tuple[str, ...]:
    bags = [words_of(clean(row.row.text)) for row in rows if row.language == code]
    count = Counter(scripts_of(windows(bags, 1)).names)
    return tuple(sorted({script for script, n in count.items() if n >= _USED * count.total()} | {"Latn"}))


def _seen(texts: Sequence[str]) -> NDArray[np.uint8]:
    found = windows([words_of(text) for text in texts], LONGEST)
    seen = np.zeros(1 << SEEN_BITS, np.uint8)
    seen[bucket(found.rolled[3], 9, SEEN_BITS)[found.inside[3]]] = 1
    return np.packbits(seen)


def _golden(identifier: Identifier) -> tuple[tuple[str, float, str], ...]:
    texts = [clean(text) for text in _GOLDEN]
    odds = identifier.probabilities(texts)
    best = odds.argmax(axis=1)
    return tuple(
        (identifier.settings.codes[b], round(float(row[b]), 6), text)
        for b, row, text in zip(best, odds, texts, strict=True)
    )
