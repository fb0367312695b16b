"""How right the weights of regions are: on the labelled posts whose text decides, and on written mentions full of traps.

A post's region is measured as it will be used, so each post gets an hour at which people of the right region post, drawn
with a seed: labelled posts have no time of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from listener.catalog import Catalog
from listener.errors import InputError
from listener.text.phrases import Matcher
from listener.training import dataset
from listener.training.dataset import Identifies
from listener.types import UNKNOWN_REGION, Floats, Reading, RegionWeight

KINDS = (
    "posted", "about", "two", "split", "provider", "diaspora",
    "person", "team", "film", "food", "foreign", "street", "company", "word",
)  # fmt: skip
TRAPS = frozenset({"person", "team", "film", "food", "foreign", "street", "company", "word"})
BINS = 10
_SPLIT = 0.15  # what each region of a post that belongs to two must have at least
_DAY = datetime(2026, 1, 14, tzinfo=UTC)
# where a post is from that says nothing but its language; those that several countries share are left open
HOME = {"tr": "TR", "bg": "BG", "el": "GR", "ro": "RO", "sl": "SI", "mk": "MK", "en": UNKNOWN_REGION}
SHARED = {"sr": ("RS", "BA", "HR", "ME"), "hr": ("HR", "BA", "RS", "ME"), "bs": ("BA", "RS", "HR", "ME"),
          "sq": ("AL", "XK", "MK")}  # fmt: skip


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `data/places/mentions/<language>.jsonl`; an empty answer: nothing but the language speaks."""

    id: str
    text: str
    answer: tuple[str, ...]
    kind: str


@dataclass(frozen=True, slots=True)
class Mention:
    """A post with the regions it is from (several: split among them), and what kind of post it is."""

    id: str
    text: str
    answer: tuple[str, ...]
    kind: str
    language: str
    where: str

    @property
    def decided(self) -> bool:
        """Whether the text points to one region or two, not counting its language."""
        return bool(self.answer)

    @property
    def expected(self) -> tuple[str, ...]:
        """Where it may be from; where only the language speaks, the country that is its home, or any that shares it."""
        return self.answer or SHARED.get(self.language) or (HOME[self.language],)


def load(folder: Path) -> list[Mention]:
    """All mentions, file by file. Raises `InputError` that names file and line."""
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise InputError(f"{folder}: no mentions here (expected <language>.jsonl)")
    made = []
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            where = f"{path}:{number}"
            try:
                row = msgspec.json.decode(line, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{where}: {error}") from error
            if row.kind not in KINDS:
                raise InputError(f"{where}: no kind {row.kind!r} (have: {', '.join(KINDS)})")
            made.append(Mention(row.id, row.text, row.answer, row.kind, path.stem, where))
    return made


def labelled(rows: Sequence[dataset.Labelled], catalog: Catalog) -> list[Mention]:
    """The labelled posts whose text decides where they are from, countries without a file being elsewhere."""
    return [
        Mention(r.row.id, r.row.text, (_known(r.row.region, catalog),), "labelled", r.language, r.where)
        for r in rows
        if r.row.region is not None
    ]


def _known(region: str, catalog: Catalog) -> str:
    return region if region in catalog.regions else UNKNOWN_REGION


def read(
    mentions: Sequence[Mention], catalog: Catalog, matcher: Matcher, identifier: Identifies, seed: int = 0
) -> list[Reading]:
    """As the daemon would read them, each posted at an hour at which people where it is from post."""
    readings = dataset.read([m.text for m in mentions], [m.id for m in mentions], matcher, identifier)
    return [_at(reading, mention, catalog, seed) for reading, mention in zip(readings, mentions, strict=True)]


def _at(reading: Reading, mention: Mention, catalog: Catalog, seed: int) -> Reading:
    random = Random(f"{seed}:{mention.id}")  # noqa: S311  reproducible, not secret
    at_home = mention.expected if mention.decided else mention.expected[:1]
    region = random.choice(at_home)
    if region == UNKNOWN_REGION and mention.language != "en":  # people abroad keep the hours of those at home
        region = (SHARED.get(mention.language) or (HOME[mention.language],))[0]
    data = catalog.regions[region]
    (hour,) = random.choices(range(24), data.hours)
    local = _DAY.replace(tzinfo=ZoneInfo(data.zone)) + timedelta(hours=hour, minutes=random.randrange(60))
    at = local.astimezone(UTC)
    return replace(reading, post=replace(reading.post, created_at=at, received_at=at))


def right(mention: Mention, weights: Sequence[RegionWeight]) -> bool:
    """Whether the largest weight is on a region it is from, and each of two that it is split between has its part."""
    share = {told.region: told.weight for told in weights}
    expected = set(mention.expected)
    if mention.kind == "about" and len(mention.answer) > 1:  # talked about; the writer may be anywhere the language is
        expected |= set(SHARED.get(mention.language, ()))
        where = mention.answer[0]
        rest = sum(share.get(region, 0.0) for region in expected - {where})
        return max(share, key=share.__getitem__) in expected and min(share.get(where, 0.0), rest) >= _SPLIT
    if max(share, key=share.__getitem__) not in expected:
        return False
    return len(mention.answer) < 2 or sum(share.get(r, 0.0) >= _SPLIT for r in mention.answer) >= 2


@dataclass(frozen=True)
class Reliability:
    """By tenth: how many weights, their mean, and the share of them that was right. Arrays of `BINS`."""

    count: Floats
    given: Floats
    true: Floats

    def worst(self, least: int = 100) -> float:
        """The largest gap between weight and truth among groups of at least so many weights."""
        enough = self.count >= least
        return float(np.abs(self.given - self.true)[enough].max(initial=0.0))

    @property
    def expected_gap(self) -> float:
        """The mean gap, groups counting by their weights (expected calibration error)."""
        return float((np.abs(self.given - self.true) * self.count).sum() / max(self.count.sum(), 1.0))


def reliability(
    mentions: Sequence[Mention],
    weights: Sequence[Sequence[RegionWeight]],
    region: str = "",
    *,
    even: bool = False,
) -> Reliability:
    """Of the weight given to a region (any, if empty), the share that is right; only of posts with an answer.

    Groups are tenths of the scale from 0 to 1, or tenths of the weights in order if `even`.
    """
    pairs = np.array(list(_pairs(mentions, weights, region))).reshape(-1, 2)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    if even:
        group = np.arange(len(pairs)) * BINS // max(len(pairs), 1)
    else:
        group = np.minimum((pairs[:, 0] * BINS).astype(np.intp), BINS - 1)
    count = np.bincount(group, minlength=BINS).astype(np.float64)
    given, true = (np.bincount(group, pairs[:, n], BINS) / np.maximum(count, 1.0) for n in (0, 1))
    return Reliability(count, given, true)


def _pairs(
    mentions: Sequence[Mention], weights: Sequence[Sequence[RegionWeight]], region: str
) -> Iterator[tuple[float, float]]:
    for mention, told in zip(mentions, weights, strict=True):
        answer = mention.answer or ((HOME[mention.language],) if mention.language in HOME else ())
        if not answer:
            continue
        for one in told:
            if region in ("", one.region):
                yield one.weight, (one.region in answer) / len(answer)


def figures(mentions: Sequence[Mention], weights: Sequence[Sequence[RegionWeight]]) -> Mapping[str, float]:
    """Shares of posts whose region is right, by kind and by language, and how far the weights are off at worst."""
    fine = np.array([right(m, w) for m, w in zip(mentions, weights, strict=True)])

    def share(wanted: Sequence[bool]) -> float:
        chosen = fine[np.array(wanted)]
        return round(float(chosen.mean()), 4) if len(chosen) else 1.0

    one = [len(m.answer) == 1 for m in mentions]
    scale = reliability(mentions, weights)
    made = {
        "right": share([True] * len(mentions)),
        "decided": share([d and m.answer != (UNKNOWN_REGION,) for d, m in zip(one, mentions, strict=True)]),
        "elsewhere": share([m.expected == (UNKNOWN_REGION,) for m in mentions]),
        "traps": share([m.kind in TRAPS for m in mentions]),
        "gap_in_tenths_of_weights": round(reliability(mentions, weights, even=True).worst(), 4),
        "gap_in_tenths_of_scale": round(scale.worst(), 4),
        "mean_gap": round(scale.expected_gap, 4),
    }
    made |= {f"kind {kind}": share([m.kind == kind for m in mentions]) for kind in sorted({m.kind for m in mentions})}
    return made | {
        f"language {code}": share([m.language == code for m in mentions])
        for code in sorted({m.language for m in mentions})
    }
