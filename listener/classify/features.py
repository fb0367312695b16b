"""What the classifier looks at: hashed character and word n-grams of the masked skeleton, and what the matches tell.

Training and serving call the same functions, in plain NumPy over a batch; scipy is imported only for a training matrix.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.catalog import CONCEPTS
from listener.classify.ngrams import Indices, Parameters, grams
from listener.types import SYMPTOMS, Floats, Match, PostKind, Reading

SERVICE, PLACE = "S", "P"  # the skeleton is lower case, so a capital can't be mistaken for a word
KINDS = (*sorted(CONCEPTS), "weak", "service", "place")  # weak: trouble, if a service were named
ANCHORS = ("service", "trouble", "network", "block", "recovery")  # what other concepts are told beside
_NEAR = 12  # characters after which a neighbour is half as near
_CLOSE_WORDS = (2, 4, 8, 16, 32)  # a post of at most so many words
_EMOJI = re.compile("[\U0001f300-\U0001faff☀-➿]")
_CLOCK = re.compile(r"\b\d{1,2}[:.]\d\d\b")
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


def told(readings: Sequence[Reading], parameters: Parameters) -> NDArray[np.float32]:
    """What matches and shape tell, one row a reading, one column a name of `TOLD`."""
    rows, columns, values = [], [], []
    for row, reading in enumerate(readings):
        for column, value in (*_from_matches(reading), *_from_shape(reading)):
            rows.append(row)
            columns.append(column)
            values.append(value)
    made = np.zeros((len(readings), len(TOLD)), np.float32)
    made[rows, columns] = np.asarray(values, np.float32) * np.float32(parameters.told_scale)
    return made


def _from_matches(reading: Reading) -> list[tuple[int, float]]:
    spoken = {code for code, share in reading.language.probabilities if share >= 0.05}
    spoken |= {reading.language.code, "en"}  # English words are at home in every language here
    anywhere = reading.language.code == "und"
    found: dict[str, list[Match]] = {}
    made: list[tuple[int, float]] = []
    for match in reading.matches:
        if anywhere or match.kind in ("service", "place") or match.name in spoken:
            found.setdefault(match.kind, []).append(match)
        elif match.kind in _FOREIGN:
            made.append((_FOREIGN[match.kind], 1.0))
    for kind, matches in found.items():
        if kind in _HAS:
            made.append((_HAS[kind], 1.0))
            if len(matches) > 1:
                made.append((_TWICE[kind], 1.0))
    for anchor, columns in _BOTH.items():
        if anchor in found:
            made += [(columns[kind], 1.0) for kind in found if kind in columns]
    if not found:
        made.append((_AT["nothing found"], 1.0))
    if "trouble" in found:
        made += _around_trouble(found, len(reading.skeleton))
    return made


def _around_trouble(found: dict[str, list[Match]], length: int) -> list[tuple[int, float]]:
    made: list[tuple[int, float]] = []
    troubles = found["trouble"]
    made += [(_SYMPTOM[m.symptom], 1.0) for m in troubles if m.symptom in _SYMPTOM]
    for kind, matches in found.items():
        if kind == "trouble" or kind not in _BESIDE:
            continue
        gap = min(max(m.start - t.end, t.start - m.end) for m in matches for t in troubles)
        made.append((_BESIDE[kind], _NEAR / (_NEAR + max(gap, 0))))
        if gap < 0:
            made.append((_OVER[kind], 1.0))
    if "service" in found:
        first = found["service"][0].start < troubles[0].start
        made.append((_AT["service first" if first else "trouble first"], 1.0))
        if not all(m.exact for m in found["service"]):
            made.append((_AT["service misspelt"], 1.0))
    if max(m.end for m in troubles) >= length - 2:
        made.append((_AT["trouble at the end"], 1.0))
    return made


def _from_shape(reading: Reading) -> list[tuple[int, float]]:
    text, post = reading.clean, reading.post
    words = reading.skeleton.count(" ") + 1
    stripped = text.rstrip("!.… \"'»”)")
    said = {
        "question mark": "?" in text or ";" in text[-2:],  # the Greek question mark looks like a semicolon
        "ends in question mark": stripped.endswith(("?", "?!")),
        "exclamation": "!" in text,
        "dots": ".." in text or "…" in text,
        "emoji": not text.isascii() and _EMOJI.search(text) is not None,
        "hashtag": "#" in text,
        "link": "<url>" in text,
        "reply": text.startswith("@user") or post.kind is PostKind.REPLY,
        "repost": post.kind in (PostKind.REPOST, PostKind.QUOTE),
        "number": any(char in "0123456789" for char in text),
        "clock": _CLOCK.search(text) is not None,
        "quoted": any(char in text for char in '"“”„«»'),
        "colon": ":" in text[:40],
        "shouting": len(text) > 6 and text.isupper(),
        "percent or money": any(char in text for char in "%€$₺£"),
        "not Latin": reading.language.script != "Latn",
    }
    made = [(_AT[name], 1.0) for name, true in said.items() if true]
    made += [(column, 1.0) for most, column in _WORDS if words <= most]
    made.append((_AT["length"], min(np.log1p(words) / 4, 1.5)))
    return made


def hashed_matrix(readings: Sequence[Reading], parameters: Parameters) -> Any:
    """The n-grams as a scipy sparse matrix, one row a reading: the same numbers that `project` sums."""
    from scipy import sparse

    found = grams([masked(reading) for reading in readings], parameters)
    rows, columns, values = [], [], []
    for arrays, post, weight in (
        (found.chars, found.char_post, found.char_weight),
        (found.words, found.word_post, found.word_weight * parameters.word_scale),
    ):
        for buckets in arrays:
            some = buckets != found.nothing
            rows.append(post[some])
            columns.append(buckets[some])
            values.append(weight[post[some]])
    shape = (len(readings), parameters.buckets)
    return sparse.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape).tocsr()


def told_matrix(readings: Sequence[Reading], parameters: Parameters) -> Any:
    """`told` as a scipy sparse matrix."""
    from scipy import sparse

    return sparse.csr_matrix(told(readings, parameters).astype(np.float64))


def project(
    readings: Sequence[Reading], hashed: NDArray[np.float32], named: NDArray[np.float32], parameters: Parameters
) -> Floats:
    """The product of the two matrices with weights, without building them: `hashed` of buckets, `named` of `TOLD`.

    `hashed` has one row more than there are buckets, all zero: the weight of a place where no n-gram starts.
    """
    found = grams([masked(reading) for reading in readings], parameters)
    total = _summed(hashed, found.chars, found.char_post, found.posts) * found.char_weight[:, None]
    by_word = _summed(hashed, found.words, found.word_post, found.posts)
    total += by_word * (found.word_weight * parameters.word_scale)[:, None]
    return total + told(readings, parameters).astype(np.float64) @ named.astype(np.float64)


def _summed(weights: NDArray[np.float32], arrays: list[Indices], post: Indices, posts: int) -> Floats:
    total = np.zeros((posts, weights.shape[1]))
    if len(post):
        first = np.flatnonzero(np.diff(post, prepend=-1))
        here = weights[arrays[0]]
        for buckets in arrays[1:]:
            here += weights[buckets]
        total[post[first]] = np.add.reduceat(here, first, axis=0, dtype=np.float64)
    return total
