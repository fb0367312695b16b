"""Sixty written moments, each with the cause that is right. The scenarios and their form: `causes/README.md`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from listener.catalog import Catalog
from listener.causes import CAUSES, causes
from listener.pipeline import Pipeline
from listener.types import (
    CHATTER,
    LABELS,
    Incident,
    IncidentState,
    Mention,
    PostKind,
    RegionPart,
    Score,
    State,
    Tier,
)
from tests.builders import at, mention, post

FOLDER = Path(__file__).parent / "causes"
SURE = 0.8  # what a label gets; the rest is shared by the other eight, as an unsure classifier does
SHORTER = timedelta(minutes=20)  # a scenario is a moment this long after the onset


@dataclass(frozen=True)
class Scenario:
    cause: str
    told: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.told["name"])

    @property
    def aside(self) -> bool:
        return bool(self.told.get("aside", False))

    @property
    def posts(self) -> list[tuple[int, str, str]]:
        return [(count, label, text) for count, label, text in self.told["posts"]]

    def incident(self) -> Incident:
        regions = self.told["regions"]
        chatter = sum(count for count, label, _ in self.posts if label in CHATTER)
        observed = self.told.get("observed", [SURE * chatter / len(regions)] * len(regions))
        minutes = self.told.get("minutes", [0] * len(regions))
        return _incident(self.told["service"], regions, minutes, observed)

    def others(self) -> list[Incident]:
        made = []
        for other in self.told.get("others", []):
            regions = other["regions"]
            shares = [other["observed"] / len(regions)] * len(regions)
            made.append(_incident(other["service"], regions, [other.get("minutes", 0)] * len(regions), shares))
        return made

    def mentions(self) -> list[Mention]:
        """What was written and found, spread over the regions in turn."""
        made: list[Mention] = []
        for count, label, text in self.posts:
            made += [self._mention(f"test:{len(made) + n}", text, label, n) for n in range(count)]
        for label, count in self.told.get("press", {}).items():
            made += [self._mention(f"press:{label}{n}", "", label, n, tier=Tier.PRESS) for n in range(count)]
        for n, label in enumerate(self.told.get("official", [])):
            made.append(self._mention(f"status:{n}", "", label, n, tier=Tier.OFFICIAL, stated=label))
        if label := self.told.get("probe", ""):
            made.append(self._mention("probe:0", "", label, 0, tier=Tier.MEASURED, stated=label))
        return made

    def _mention(self, id: str, text: str, label: str, n: int, **changes: Any) -> Mention:
        regions = self.told["regions"]
        sure = 1.0 if changes.get("stated") else SURE
        rest = (1 - sure) / (len(LABELS) - 1)
        probabilities = tuple(sure if label == name else rest for name in LABELS)
        made = mention(text, id=id, minutes=n % 20, region=regions[n % len(regions)], **changes)
        return replace(made, services=(self.told["service"],), score=Score(probabilities, model="scenario"))


def _incident(service: str, regions: list[str], minutes: list[float], observed: list[float]) -> Incident:
    parts = tuple(
        RegionPart(region, State.PROBLEMS, at(minute), at(minute - 2), at(minute + 1), seen, 0.3, 20.0)
        for region, minute, seen in zip(regions, minutes, observed, strict=True)
    )
    start = at(min(minutes))
    return Incident(
        f"{service}-{start:%H%M}",
        service,
        IncidentState.FIRING,
        parts,
        start,
        start + SHORTER,
        observed=sum(observed),
        expected=0.3 * len(regions),
    )


def scenarios() -> list[Scenario]:
    return [
        Scenario(path.stem, told)
        for path in sorted(FOLDER.glob("*.toml"))
        for told in tomllib.loads(path.read_text(encoding="utf-8"))["scenario"]
    ]


@dataclass(frozen=True)
class Figures:
    right: int
    of: int
    sure_and_wrong: int


def judged(catalog: Catalog, told: list[Scenario], read: dict[str, Score] | None = None) -> Figures:
    """How often the right cause is the likeliest; prints a table of the others. `read`: the classifier's scores by text."""
    misses: list[tuple[str, str, float, float, str]] = []
    for scenario in told:
        mentions = scenario.mentions()
        if read is not None:
            mentions = [replace(m, score=read.get(m.post.text, m.score)) for m in mentions]
        found, _ = causes(scenario.incident(), mentions, scenario.others(), catalog)
        first = max(CAUSES, key=found.__getitem__)
        if first != scenario.cause:
            misses.append((scenario.cause, first, found[scenario.cause], found[first], scenario.name))
    for cause, first, p, q, name in misses:
        print(f"{cause:9} {p:.2f}  taken for {first:9} {q:.2f}  {name}")
    print(f"{len(told) - len(misses)} of {len(told)} right")
    return Figures(len(told) - len(misses), len(told), sum(q > 0.9 for _, _, _, q, _ in misses))


def test_there_are_sixty_of_them_and_at_least_ten_of_each_cause() -> None:
    told = scenarios()
    assert len(told) == 60
    assert len({scenario.name for scenario in told}) == 60
    assert {s.cause for s in told} == set(CAUSES)
    assert all(sum(s.cause == cause for s in told) >= 10 for cause in CAUSES)


@pytest.mark.parametrize("aside", [False, True], ids=["looked at while tuning", "kept aside"])
def test_the_right_cause_is_the_likeliest_and_wrong_ones_are_not_believed_in(catalog: Catalog, aside: bool) -> None:
    figures = judged(catalog, [s for s in scenarios() if s.aside == aside])
    assert figures.right >= 0.85 * figures.of
    assert figures.sure_and_wrong <= 1  # at most two over both


def test_it_holds_when_the_classifier_reads_the_posts_itself(catalog: Catalog, pipeline: Pipeline) -> None:
    told = scenarios()
    rows = [(text, scenario.told["service"]) for scenario in told for _, _, text in scenario.posts]
    posts = [post(t, id=f"test:{n}", kind=PostKind.POST, services=(service,)) for n, (t, service) in enumerate(rows)]
    answers = pipeline.understand(posts)
    read = {p.text: answer.score for p, answer in zip(posts, answers, strict=True) if answer.score is not None}
    figures = judged(catalog, told, read)
    assert figures.right >= 0.75 * figures.of
    assert figures.sure_and_wrong <= 4
