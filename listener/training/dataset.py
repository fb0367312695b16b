"""Labelled posts: read strictly, checked for what spoils a classifier, and turned into the readings that serving would see."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from listener.catalog import Catalog
from listener.errors import InputError
from listener.text.normalize import normalize
from listener.text.phrases import Matcher
from listener.types import CHATTER, LABELS, SYMPTOMS, Language, Post, Reading

WRITTEN_AT = datetime(2026, 1, 1, tzinfo=UTC)  # labelled posts have no time of their own
NEAR = 0.6  # share of common 4-grams from which two posts are copies of one another
NEAR_SHORT = 0.8  # the same for short posts: many people write the same four words without copying anyone
OPENING = 8  # posts of one language that may begin with the same three words,
OPENING_SHARE = 0.005  # or this share of them, if that is more
SHAPE = 3  # posts of one language that may be the same but for names and numbers

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_REGION = re.compile(r"[A-Z]{2}")
_SCRIPTS = {"LATIN": "Latn", "CYRILLIC": "Cyrl", "GREEK": "Grek"}  # by how the names of their letters begin
_SHORT = 24  # 4-grams; about five words
_RARE = 30  # a 4-gram in more posts than this says nothing about copying


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `data/labelled/<lang>.jsonl`."""

    id: str
    text: str
    label: str
    symptom: str | None = None
    services: tuple[str, ...] = ()
    place: str | None = None
    region: str | None = None
    notes: str = ""
    author: str = ""  # any name or hash that is the same in all posts of one writer


@dataclass(frozen=True, slots=True)
class Labelled:
    """A row, the language of its file, and where it stands, for messages."""

    row: Row
    language: str
    where: str

    @property
    def chatter(self) -> bool:
        return self.row.label in CHATTER


class Identifies(Protocol):
    def identify(self, texts: Sequence[str], hints: Sequence[tuple[str, ...]]) -> list[Language]: ...


def load(folder: Path) -> list[Labelled]:
    """All rows under a folder, file by file. Raises `InputError` that names file and line."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: no labelled posts here (expected <language>.jsonl)")
    rows = [row for path in paths for row in load_file(path)]
    if twice := [row_id for row_id, count in Counter(r.row.id for r in rows).items() if count > 1]:
        raise InputError(f"{folder}: id {twice[0]!r} is used more than once")
    return rows


def load_file(path: Path) -> list[Labelled]:
    """The rows of one file, whose name is their language."""
    made = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        where = f"{path}:{number}"
        try:
            row = msgspec.json.decode(line, type=Row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{where}: {error}") from error
        if wrong := _wrong(row):
            raise InputError(f"{where}: {wrong}")
        made.append(Labelled(row, path.stem, where))
    return made


def _wrong(row: Row) -> str:
    if row.label not in LABELS:
        return f"no label {row.label!r} (have: {', '.join(LABELS)})"
    if row.symptom is not None and row.symptom not in SYMPTOMS:
        return f"no symptom {row.symptom!r} (have: {', '.join(SYMPTOMS)})"
    if row.symptom is not None and row.label not in CHATTER:
        return f"a {row.label!r} post has no symptom"
    if not row.id or not row.text.strip():
        return "id and text must not be empty"
    if bad := [service for service in row.services if not _ID.fullmatch(service)]:
        return f"service {bad[0]!r} is not lower-case-with-dashes"
    if row.region is not None and not _REGION.fullmatch(row.region):
        return f"region {row.region!r} is not an ISO 3166 code"
    return ""


def digest(rows: Sequence[Labelled]) -> str:
    """Names the content of the rows, whatever files they stand in and in which order."""
    lines = sorted(
        f"{r.language}\t{r.row.id}\t{r.row.label}\t{r.row.symptom}\t{r.row.text}"
        + (f"\t{r.row.author}" if r.row.author else "")
        for r in rows
    )
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read(texts: Sequence[str], ids: Sequence[str], matcher: Matcher, identifier: Identifies) -> list[Reading]:
    """Texts as the classifier will meet them: normalised, matched and identified by the same code as in the daemon."""
    normal = [normalize(text) for text in texts]
    languages = identifier.identify([n.clean for n in normal], [()] * len(normal))
    return [
        Reading(
            post=Post(f"labelled:{name}", "labelled", text, WRITTEN_AT, WRITTEN_AT),
            clean=n.clean,
            skeleton=n.skeleton,
            matches=tuple(matcher.find(n.skeleton)),
            language=language,
        )
        for text, name, n, language in zip(texts, ids, normal, languages, strict=True)
    ]


def groups(rows: Sequence[Labelled]) -> list[int]:
    """A number per row that near-duplicates share, and the posts of one author: no fold is tested on what it learnt from."""
    leader = list(range(len(rows)))

    def root(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for a, b in [*_copies(rows), *_by_author(rows)]:
        low, high = sorted((root(a), root(b)))
        leader[high] = low
    return [root(i) for i in range(len(rows))]


def _by_author(rows: Sequence[Labelled]) -> list[tuple[int, int]]:
    """Each post of an author with the first one."""
    first: dict[str, int] = {}
    return [(first.setdefault(row.row.author, i), i) for i, row in enumerate(rows) if row.row.author]


def check(rows: Sequence[Labelled], catalog: Catalog) -> list[str]:
    """Everything wrong with the posts as training material, one line each; empty when they are fine."""
    found = [
        f"{rows[b].where}: nearly the same text as {rows[a].where}"
        for a, b in sorted(_copies(rows, NEAR_SHORT), key=lambda pair: pair[1])
    ]
    openings: dict[tuple[str, str], list[Labelled]] = defaultdict(list)
    shapes: dict[tuple[str, str], list[Labelled]] = defaultdict(list)
    for row in rows:
        words = normalize(row.row.text).words
        if len(words) > 3:
            openings[row.language, " ".join(words[:3])].append(row)
        if len(words) > 2:
            names = {word for service in row.row.services for word in normalize(service).words}
            shape = " ".join("_" if w.isdigit() or any(w.startswith(n) for n in names) else w for w in words)
            shapes[row.language, shape].append(row)
        if wrong := _wrong_script(row, catalog):
            found.append(f"{row.where}: {wrong}")
    posts = Counter(row.language for row in rows)
    for (language, words3), same in openings.items():
        if len(same) > max(OPENING, OPENING_SHARE * posts[language]):
            found.append(f"{same[-1].where}: {len(same)} posts of this language begin {words3!r}: that is a template")
    for (_, shape), same in shapes.items():
        if len(same) > SHAPE:
            found.append(f"{same[-1].where}: {len(same)} posts are {shape!r} but for names: that is a template")
    return found


def _wrong_script(row: Labelled, catalog: Catalog) -> str:
    """Most letters must be of a script the language is written in; any language is also typed in plain Latin."""
    data = catalog.languages.get(row.language)
    if data is None:
        return ""
    count = Counter(_script(char) for char in row.row.text if char.isalpha())
    if not count or (most := count.most_common(1)[0][0]) in (*data.scripts, "Latn"):
        return ""
    return f"written in {most}, but {row.language} is written in {', '.join(data.scripts)}"


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    return _SCRIPTS.get(unicodedata.name(letter, "").partition(" ")[0], "other")


def _copies(rows: Sequence[Labelled], short: float = NEAR) -> set[tuple[int, int]]:
    """Pairs of near-duplicates. Only 4-grams that few posts share are looked up: copies always share some of those."""
    bags = [_fourgrams(row.row.text) for row in rows]
    return {
        (a, b)
        for a, b in _akin(bags)
        if len(bags[a] & bags[b]) >= _needed(bags[a], bags[b], short) * len(bags[a] | bags[b])
    }


def _akin(bags: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Pairs of posts, the earlier one first, that share three rare 4-grams or more."""
    from scipy import sparse

    number: dict[str, int] = {}
    columns = [number.setdefault(gram, len(number)) for bag in bags for gram in bag]
    held = np.bincount(columns, minlength=len(number)) if columns else np.zeros(0, np.intp)
    ends = np.cumsum([0, *map(len, bags)])
    matrix = sparse.csr_array((np.ones(len(columns), np.int32), columns, ends), (len(bags), len(number)))
    rare = matrix[:, np.flatnonzero((held > 1) & (held <= _RARE))]
    shared = sparse.triu(rare @ rare.T, k=1).tocoo()
    enough = shared.data > 2
    yield from zip(shared.row[enough].tolist(), shared.col[enough].tolist(), strict=True)


def _needed(one: frozenset[str], other: frozenset[str], short: float) -> float:
    return short if min(len(one), len(other)) < _SHORT else NEAR


def _fourgrams(text: str) -> frozenset[str]:
    padded = f" {normalize(text).skeleton} "
    return frozenset(padded[i : i + 4] for i in range(max(1, len(padded) - 3)))
