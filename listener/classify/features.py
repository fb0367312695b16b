"""What the classifier looks at: hashed n-grams of the masked skeleton, hashed rows of word senses, and what the matches tell."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from listener.catalog import CONCEPTS
from listener.classify.ngrams import Indices, Parameters, grams
from listener.classify.sensegrams import sense_grams
from listener.classify.senses import PLACE, SERVICE, Senses
from listener.types import SYMPTOMS, Floats, Match, PostKind, Reading

KINDS = (*sorted(CONCEPTS), "weak", "service", "place")  # weak: trouble, if a service were named
ANCHORS = ("service", "trouble", "network", "block", "recovery")  # what other concepts are told beside
_NEAR = 12  # characters after which a neighbour is half as near
_CLOSE_WORDS = (2, 4, 8, 16, 32)  # a post of at most so many words
_DIGITS = str.maketrans("123456789", "000000000")


def _names() -> Iterator[str]:
    for kind in KINDS:
        yield f"has:{kind}"
        yield f"twice:{kind}"
        yield f"foreign:{kind}"
        yield f"near trouble:{kind}"
        yield f"over trouble:{kind}"
    for n, anchor in enumerate(ANCHORS):
        for kind in KINDS:
            if kind not in ANCHORS[: n + 1]:
                yield f"both:{anchor}+{kind}"
    yield from (f"symptom:{symptom}" for symptom in SYMPTOMS)
    yield from ("service first", "trouble first", "service misspelt", "trouble at the end", "nothing found")
    yield from (f"words<={words}" for words in _CLOSE_WORDS)
    yield from ("length", "question mark", "ends in question mark", "exclamation", "dots", "emoji", "hashtag", "link")
    yield from ("reply", "repost", "number", "clock", "quoted", "colon", "shouting", "percent or money", "not Latin")


TOLD = tuple(_names())
_AT = {name: number for number, name in enumerate(TOLD)}
_HAS, _TWICE, _FOREIGN, _BESIDE, _OVER = (
    {kind: _AT[f"{word}:{kind}"] for kind in KINDS}
    for word in ("has", "twice", "foreign", "near trouble", "over trouble")
)
_BOTH = {
    anchor: {kind: _AT[f"both:{anchor}+{kind}"] for kind in KINDS if f"both:{anchor}+{kind}" in _AT}
    for anchor in ANCHORS
}
_SYMPTOM = {symptom: _AT[f"symptom:{symptom}"] for symptom in SYMPTOMS}
_SIGNS = [  # any of these characters
    (frozenset(signs), _AT[name])
    for signs, name in (
        ("!", "exclamation"),
        ("…", "dots"),
        ("#", "hashtag"),
        (map(chr, (*range(0x1F300, 0x1FB00), *range(0x2600, 0x27C0))), "emoji"),
        ('"“”„«»', "quoted"),
        ("%€$₺£", "percent or money"),
    )
]
_DIGIT = frozenset("0123456789")
_CLOCK = re.compile(r"\b\d{1,2}[:.]\d\d\b")
_NAMES = frozenset({"service", "place"})
_WORDS = [(words, _AT[f"words<={words}"]) for words in _CLOSE_WORDS]


def masked(reading: Reading) -> str:
    """The skeleton with services and places as one token each and every digit as 0.

    What is learnt of one service then holds for all, and no place name becomes evidence of anything.
    """
    text = reading.skeleton
    pieces, at = [], 0
    for match in reading.matches:
        if match.kind in ("service", "place") and match.start >= at:
            pieces += [text[at : match.start], SERVICE if match.kind == "service" else PLACE]
            at = match.end
    pieces.append(text[at:])
    return "".join(pieces).translate(_DIGITS)


def told(readings: Sequence[Reading]) -> tuple[Indices, Indices, Floats]:
    """What matches and shape tell, as row, column (a name of `TOLD`) and value."""
    columns: list[int] = []
    measured: dict[int, float] = {}  # place in `columns` -> value, where it isn't 1
    ends = []
    for reading in readings:
        _from_matches(reading, columns, measured)
        _from_shape(reading, columns, measured)
        ends.append(len(columns))
    values = np.ones(len(columns))
    values[list(measured)] = list(measured.values())
    rows = np.repeat(np.arange(len(readings), dtype=np.intp), np.diff(ends, prepend=0))
    return rows, np.array(columns, np.intp), values


def _from_matches(reading: Reading, columns: list[int], measured: dict[int, float]) -> None:
    language = reading.language
    spoken = {code for code, share in language.probabilities if share >= 0.05}
    spoken |= {language.code, "en"}  # English words are at home in every language here
    anywhere = language.code == "und"
    found: dict[str, list[Match]] = {}
    for match in reading.matches:
        kind = match[0]
        if anywhere or kind in _NAMES or match[1] in spoken:
            if kind in found:
                found[kind].append(match)
            else:
                found[kind] = [match]
        elif kind in _FOREIGN:
            columns.append(_FOREIGN[kind])
    for kind, matches in found.items():
        if kind in _HAS:
            columns.append(_HAS[kind])
            if len(matches) > 1:
                columns.append(_TWICE[kind])
    for anchor, beside in _BOTH.items():
        if anchor in found:
            columns += [beside[kind] for kind in found if kind in beside]
    if not found:
        columns.append(_AT["nothing found"])
    if "trouble" in found:
        _around_trouble(found, len(reading.skeleton), columns, measured)


def _around_trouble(found: dict[str, list[Match]], length: int, columns: list[int], measured: dict[int, float]) -> None:
    troubles = found["trouble"]
    columns += [_SYMPTOM[m.symptom] for m in troubles if m.symptom in _SYMPTOM]
    for kind, matches in found.items():
        if kind == "trouble" or kind not in _BESIDE:
            continue
        gap = min(max(m.start - t.end, t.start - m.end) for m in matches for t in troubles)
        measured[len(columns)] = _NEAR / (_NEAR + max(gap, 0))
        columns.append(_BESIDE[kind])
        if gap < 0:
            columns.append(_OVER[kind])
    if "service" in found:
        first = found["service"][0].start < troubles[0].start
        columns.append(_AT["service first" if first else "trouble first"])
        if not all(m.exact for m in found["service"]):
            columns.append(_AT["service misspelt"])
    if max(m.end for m in troubles) >= length - 2:
        columns.append(_AT["trouble at the end"])


def _from_shape(reading: Reading, columns: list[int], measured: dict[int, float]) -> None:
    text, post = reading.clean, reading.post
    words = reading.skeleton.count(" ") + 1
    if "?" in text or ";" in text[-2:]:  # the Greek question mark looks like a semicolon
        columns.append(_AT["question mark"])
        if text.rstrip("!.… \"'»”)").endswith("?"):
            columns.append(_AT["ends in question mark"])
    signs = set(text)
    columns += [column for any_of, column in _SIGNS if not any_of.isdisjoint(signs)]
    if "." in signs and ".." in text:
        columns.append(_AT["dots"])
    if "<" in signs and "<url>" in text:
        columns.append(_AT["link"])
    if not _DIGIT.isdisjoint(signs):
        columns.append(_AT["number"])
        if _CLOCK.search(text):
            columns.append(_AT["clock"])
    if ":" in signs and ":" in text[:40]:
        columns.append(_AT["colon"])
    if text.startswith("@user") or post.kind is PostKind.REPLY:
        columns.append(_AT["reply"])
    if post.kind in (PostKind.REPOST, PostKind.QUOTE):
        columns.append(_AT["repost"])
    if len(text) > 6 and text.isupper():
        columns.append(_AT["shouting"])
    if reading.language.script != "Latn":
        columns.append(_AT["not Latin"])
    columns += [column for most, column in _WORDS if words <= most]
    measured[len(columns)] = min(math.log1p(words) / 4, 1.5)
    columns.append(_AT["length"])


def width(parameters: Parameters) -> int:
    """How many columns `matrix` has."""
    return parameters.buckets + parameters.sense_buckets + len(TOLD)


def matrix(readings: Sequence[Reading], parameters: Parameters, senses: Senses) -> Any:
    """Everything a model sees: a scipy CSR array of float32, one row a reading.

    Columns: buckets of n-grams, buckets of sense grams, then what is told. Training and serving both call this.
    """
    from scipy import sparse

    texts = [masked(reading) for reading in readings]
    found = grams(texts, parameters)
    spelt = [(found.char_post, buckets) for buckets in found.chars]
    worded = [(found.word_post, buckets) for buckets in found.words]
    meant = sense_grams(
        [senses.of(text, spoken_in(reading)) for text, reading in zip(texts, readings, strict=True)],
        parameters.sense_bits,
    )
    rows, columns, values = [], [], []
    for block, offset, scale in (
        ([_real(*pair, found.nothing) for pair in spelt], 0, 1.0),
        ([_real(*pair, found.nothing) for pair in worded], 0, parameters.word_scale),
        ([(meant.post, meant.bucket)], parameters.buckets, parameters.sense_scale),
    ):
        row = np.concatenate([posts for posts, _ in block])
        weight = scale / np.sqrt(np.maximum(np.bincount(row, minlength=len(readings)), 1))
        rows.append(row)
        columns.append(np.concatenate([buckets for _, buckets in block]) + offset)
        values.append(weight[row])
    row, column, value = told(readings)
    rows.append(row)
    columns.append(column + parameters.buckets + parameters.sense_buckets)
    values.append(value * parameters.told_scale)
    row, column, value = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
    order = np.argsort(row.astype(np.uint16) if len(readings) < 1 << 16 else row, kind="stable")
    ends = np.cumsum(np.bincount(row, minlength=len(readings)))
    made = value[order].astype(np.float32), column[order].astype(np.int32), np.concatenate([[0], ends]).astype(np.int32)
    return sparse.csr_array(made, shape=(len(readings), width(parameters)))


def folded_width(parameters: Parameters) -> int:
    return (parameters.buckets + parameters.sense_buckets >> parameters.fold_bits) + len(TOLD)


def folded(matrix: Any, parameters: Parameters) -> Any:
    """The rows of `matrix` with neighbouring buckets as one column: what a matrix of fewer bits would be."""
    from scipy import sparse

    hashed = parameters.buckets + parameters.sense_buckets
    columns = np.where(
        matrix.indices < hashed,
        matrix.indices >> parameters.fold_bits,
        matrix.indices - (hashed - (hashed >> parameters.fold_bits)),
    )
    return sparse.csr_array(
        (matrix.data, columns.astype(np.int32), matrix.indptr), shape=(matrix.shape[0], folded_width(parameters))
    )


def _real(posts: Indices, buckets: Indices, nothing: int) -> tuple[Indices, Indices]:
    some = np.flatnonzero(buckets != nothing)
    return posts[some], buckets[some]


def spoken_in(reading: Reading) -> dict[str, float]:
    return dict(reading.language.probabilities) or {reading.language.code: 1.0}
