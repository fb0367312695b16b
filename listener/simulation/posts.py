"""An archive of invented posts with outages, blocks and nuisances whose place is known: days of several regions in seconds.

Every region has its daily course, slow noise and everyday talk. A source drops out and catches up, the news write about a big
outage the day after, and one evening many accounts send the same text. The texts are those of `data/labelled`, written for
this project: a backtest over them measures signal and detection, and flatters the reading of posts, which was learnt from them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np

from listener.catalog import Catalog, Region
from listener.errors import InputError
from listener.simulation.series import DAY, MEMORY, NOISE, SIZE, Event, shaped
from listener.types import CHATTER, Floats

Texts = Mapping[tuple[str, str], Sequence[str]]  # (language, what they say) -> texts

CAUSES = (("outage", 0.8), ("block", 0.2))
SAID = {  # what people say, and how often
    "usual": {"report": 0.5, "question": 0.5},
    "outage": {"report": 0.6, "question": 0.3, "relay": 0.1},
    "block": {"blocked": 0.6, "report": 0.25, "relay": 0.15},
    "over": {"recovered": 0.8, "works": 0.2},
    "echo": {"not_now": 0.8, "other": 0.2},
    "everyday": {"other": 0.8, "own": 0.15, "works": 0.05},
}
EVERYDAY = 3.0  # posts of everyday talk for one of chatter
STREAM = 0.7  # of all posts come from the stream that all regions share, the rest from the region's own source
LOST = 0.3  # of what a source missed never comes
SHAPES = ("fast", "fast", "slow", "short", "small", "large")


@dataclass(frozen=True, slots=True)
class Truth:
    """One event as `data/events` has it."""

    id: str
    service: str
    regions: tuple[str, ...]
    onset_at: datetime
    end_at: datetime
    cause: str
    shape: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make: the regions with their texts, how loud they are, and how much goes wrong."""

    seed: int
    service: str
    regions: Sequence[Region]
    texts: Texts
    start_at: datetime
    days: int
    rate: float  # chatter authors an hour in the region that is loudest, averaged over the week
    outages: int
    dropouts: int
    floods: int  # evenings on which many accounts send the same text

    @classmethod
    def of(cls, catalog: Catalog, service: str, regions: Iterable[str], *, days: int, **rest: Any) -> Self:
        """A plan by the names of things. Raises `InputError` for a name nobody knows, and for less than two days."""
        codes = list(dict.fromkeys(regions))
        if unknown := [code for code in codes if code not in catalog.regions]:
            raise InputError(f"no region {unknown[0]!r} (have: {', '.join(sorted(catalog.regions))})")
        if service not in catalog.services:
            raise InputError(f"no service {service!r} in data/services")
        if days < 2:
            raise InputError(f"days={days}: two at the least, for the first has no outage")
        return cls(
            service=service,
            regions=[catalog.regions[code] for code in codes],
            texts=texts(catalog.root / "labelled", service),
            days=days,
            floods=max(1, days // 14),
            **rest,
        )


@dataclass
class _World:
    plan: Plan
    rng: np.random.Generator
    rows: list[dict[str, str]] = field(default_factory=list)
    silent: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=lambda: defaultdict(list))
    authors: int = 0

    def say(self, at: datetime, region: Region, what: str, *, author: str = "", text: str = "") -> None:
        """One post, now or once its source has caught up."""
        language = str(self.rng.choice(list(region.languages), p=_shares(region.languages)))
        label = str(self.rng.choice(list(SAID[what]), p=list(SAID[what].values())))
        written = text or self._text(language, label, region)
        source = "synthetic-stream" if self.rng.random() < STREAM else f"synthetic-{region.code.lower()}"
        arrives = at + timedelta(seconds=float(self.rng.exponential(20.0)))
        for since, until in self.silent[source]:
            if since <= at < until:
                if self.rng.random() < LOST:
                    return
                arrives = until + timedelta(minutes=float(self.rng.uniform(0, 8)))
        self.authors += not author
        self.rows.append(
            {
                "source": source,
                "author": author or f"synthetic-{self.authors}",
                "created_at": _iso(at),
                "received_at": _iso(arrives),
                "text": written,
                "region": region.code if source != "synthetic-stream" else "",
            }
        )

    def _text(self, language: str, label: str, region: Region) -> str:
        for spoken in (language, *sorted(region.languages, key=region.languages.__getitem__, reverse=True), "en"):
            if found := self.plan.texts.get((spoken, label)):
                return found[int(self.rng.integers(len(found)))]
        raise InputError(
            f"data/labelled has no {label!r} text that {region.code} could write about {self.plan.service}"
        )


def archive(plan: Plan) -> tuple[list[dict[str, str]], list[Truth]]:
    """Posts in order of arrival, each a line for `listener replay`, and what really happened. The same plan, the same posts."""
    world = _World(plan, np.random.default_rng(plan.seed))
    bins = plan.days * DAY
    events = _events(plan, world.rng, bins)
    _silences(world, bins)
    loudest = max(_loudness(region) for region in plan.regions)
    for region in plan.regions:
        usual = _usual(plan, region, world.rng, bins) * plan.rate / 12 * _loudness(region) / loudest
        _talk(world, region, usual, "usual")
        _talk(world, region, usual * EVERYDAY, "everyday")
        for truth, event in events:
            if region.code in truth.regions:
                _fail(world, region, usual, truth, event)
    _flood(world, bins)
    world.rows.sort(key=lambda row: (row["received_at"], row["created_at"], row["author"], row["text"]))
    return [
        {"id": f"synthetic-{plan.seed}-{i}", **{key: value for key, value in row.items() if value}}
        for i, row in enumerate(world.rows)
    ], [truth for truth, _ in events]


def _events(plan: Plan, rng: np.random.Generator, bins: int) -> list[tuple[Truth, Event]]:
    """Outages in slots of time, clear of the first day, each in some of the regions."""
    made = []
    slot = (bins - DAY) / max(plan.outages, 1)
    codes = [region.code for region in plan.regions]
    for n in range(plan.outages):
        start = int(DAY + n * slot + rng.uniform(0, max(slot - DAY / 4, 1)))
        event = shaped(str(rng.choice(SHAPES)), start, int(rng.integers(8, 17)), float(rng.uniform(0, 5)))
        hit = sorted(rng.permutation(codes)[: int(rng.integers(1, len(codes) + 1))].tolist())
        onset = plan.start_at + timedelta(minutes=5 * start + round(event.late))
        truth = Truth(
            id=f"synthetic-{plan.seed}-{plan.service}-{n + 1}",
            service=plan.service,
            regions=tuple(hit),
            onset_at=onset,
            end_at=onset + timedelta(minutes=5 * (event.end - event.start)),
            cause=str(rng.choice([name for name, _ in CAUSES], p=[share for _, share in CAUSES])),
            shape=event.shape,
        )
        made.append((truth, event))
    return made


def _silences(world: _World, bins: int) -> None:
    """A source is silent for 2 to 8 hours and then delivers most of what it missed."""
    sources = ["synthetic-stream", *(f"synthetic-{region.code.lower()}" for region in world.plan.regions)]
    for _ in range(world.plan.dropouts):
        since = world.plan.start_at + timedelta(
            minutes=5 * int(world.rng.integers(DAY // 2, max(bins - DAY // 2, DAY)))
        )
        until = since + timedelta(hours=float(world.rng.uniform(2, 8)))
        world.silent[str(world.rng.choice(sources))].append((since, until))


def _usual(plan: Plan, region: Region, rng: np.random.Generator, bins: int) -> Floats:
    """Times the average, by five minutes: the local day, quieter weekends and slow noise."""
    offset = plan.start_at.astimezone(ZoneInfo(region.zone)).utcoffset() or timedelta()
    at = np.arange(bins) / 12 + (plan.start_at - plan.start_at.replace(hour=0, minute=0, second=0)) / timedelta(hours=1)
    local = at + offset / timedelta(hours=1)
    hours = np.asarray(region.hours) * 24
    course = np.interp(local % 24, np.arange(25), np.r_[hours, hours[:1]])
    keeps = np.exp(-1 / MEMORY)
    slow = np.zeros(bins)
    for i, step in enumerate(rng.normal(0.0, NOISE * np.sqrt(1 - keeps**2), bins).tolist()):
        slow[i] = keeps * slow[i - 1] + step
    week = np.where((plan.start_at.weekday() + local // 24) % 7 >= 5, 0.85, 1.0)
    return np.asarray(course * week * np.exp(slow))


def _talk(world: _World, region: Region, rate: Floats, what: str, since: int = 0) -> None:
    """Posts at `rate` a bin of five minutes, from bin `since` on."""
    rng = world.rng
    counts = rng.poisson(rng.gamma(SIZE, 1 / SIZE, len(rate)) * rate)
    for i in np.flatnonzero(counts).tolist():
        for second in sorted(rng.uniform(0, 300, int(counts[i])).tolist()):
            world.say(world.plan.start_at + timedelta(minutes=5 * (since + i), seconds=second), region, what)


def _fail(world: _World, region: Region, usual: Floats, truth: Truth, event: Event) -> None:
    """The outage itself in one region, that it is over, and what is written about a big one the day after."""
    rate = usual[event.start : event.start + len(event.profile)]
    _talk(world, region, rate * event.profile[: len(rate)], truth.cause, event.start)
    over = usual[event.end : event.end + 6]
    _talk(world, region, over * event.profile.max() / 2, "over", event.end)
    if event.profile.max() > 5 and event.shape != "short":
        start = event.start + int(world.rng.integers(20 * 12, 26 * 12))
        echo = usual[start : start + int(world.rng.integers(6 * 12, 10 * 12))]
        _talk(world, region, echo * 0.06 * event.profile.max(), "echo", start)


def _flood(world: _World, bins: int) -> None:
    """Many accounts send the very same text within twenty minutes; nothing fails."""
    plan, rng = world.plan, world.rng
    for n in range(plan.floods):
        region = plan.regions[int(rng.integers(len(plan.regions)))]
        language = max(region.languages, key=region.languages.__getitem__)
        texts = plan.texts.get((language, "report")) or plan.texts.get(("en", "report"), ())
        if not texts:
            continue
        at = plan.start_at + timedelta(minutes=5 * int(rng.integers(DAY, max(bins - 12, DAY + 1))))
        text = texts[int(rng.integers(len(texts)))]
        for i in range(int(rng.integers(30, 80))):
            author = f"synthetic-flood-{n}-{i}"
            world.say(at + timedelta(minutes=float(rng.uniform(0, 20))), region, "usual", author=author, text=text)


def texts(folder: Path, service: str) -> dict[tuple[str, str], list[str]]:
    """What can be written about a service: labelled posts that name it, and everyday talk that names none.

    Raises `InputError` when the folder has none.
    """
    made: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            everyday = row["label"] in ("other", "own") and not row["services"]
            if everyday or service in row["services"]:
                made[path.stem, row["label"]].append(row["text"])
    if not any(label in CHATTER for _, label in made):
        raise InputError(f"{folder}: no labelled post is about {service!r}; try instagram, whatsapp or internet")
    return dict(made)


def truth_toml(truths: Sequence[Truth], how: str) -> str:
    """The events as a file of `data/events`; `how` says how they were made."""
    lines = [f"source = {json.dumps(how)}", "synthetic = true"]
    for one in truths:
        lines += [
            "",
            "[[event]]",
            f'id = "{one.id}"',
            f'service = "{one.service}"',
            f"regions = {json.dumps(list(one.regions))}",
            f"onset_low_at = {_iso(one.onset_at)}",
            f"onset_high_at = {_iso(one.onset_at)}",
            f"end_at = {_iso(one.end_at)}",
            f'cause = "{one.cause}"',
            f'note = "synthetic, {one.shape}"',
        ]
    return "\n".join(lines) + "\n"


def _loudness(region: Region) -> float:
    return max(region.population * region.online_share * region.volume, 1e5)


def _shares(weights: Mapping[str, float]) -> list[float]:
    total = sum(weights.values())
    return [weight / total for weight in weights.values()]


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
