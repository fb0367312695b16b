"""Mentions become points: people are counted, not posts."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import pairwise

import pytest

from listener.signals import bins
from listener.signals.aggregate import affected, aggregate
from listener.types import Mention, Point, PostKind, Tier
from tests.builders import at, mention

HOUR = timedelta(hours=1)


def points(mentions: list[Mention]) -> list[Point]:
    return aggregate(mentions, affected(mentions, HOUR), lookback=HOUR, lateness=HOUR / 2, floor=0.2)


def observed(mentions: list[Mention], region: str = "TR") -> float:
    return sum(p.observed for p in points(mentions) if p.key.region == region)


def test_observed_is_chatter_times_weight_summed_over_authors() -> None:
    said = [mention(id=f"t:{i}", author=f"a{i}", weight=0.5, chatter=0.8) for i in range(10)]
    assert observed(said) == pytest.approx(4.0)
    assert observed(said, "ZZ") == pytest.approx(4.0)


def test_one_author_with_a_thousand_posts_counts_once() -> None:
    said = [mention(id=f"t:{i}", minutes=i / 20, author="loud", weight=1.0) for i in range(1000)]
    assert observed(said) == pytest.approx(0.9)
    reasons = {name: sum(dict(p.excluded).get(name, 0) for p in points(said)) for name in ("same_author",)}
    assert reasons["same_author"] == 999


@pytest.mark.parametrize("tier", [Tier.OFFICIAL, Tier.MEASURED])
def test_a_status_page_or_a_probe_corroborates_and_is_never_counted(tier: Tier) -> None:
    said = [mention(id=f"t:{i}", author=f"a{i}", tier=tier) for i in range(5)]
    assert observed(said) == 0
    assert {name for p in points(said) for name, _ in p.excluded} == {"corroborates"}


def test_an_author_who_gets_surer_adds_the_difference_only() -> None:
    said = [
        mention(id="t:1", author="a", chatter=0.5, weight=1.0),
        mention(id="t:2", author="a", chatter=0.9, weight=1.0, minutes=7),
    ]
    assert [round(p.observed, 3) for p in points(said)] == [0.5, 0.4]


def test_an_author_counts_again_after_the_lookback() -> None:
    said = [mention(id=f"t:{i}", author="a", weight=1.0, minutes=61 * i) for i in range(3)]
    assert observed(said) == pytest.approx(2.7)


def test_a_copied_text_grows_with_the_logarithm_of_its_copies() -> None:
    said = [mention(id=f"t:{i}", author=f"a{i}", weight=1.0, chatter=1.0, cluster="same") for i in range(300)]
    assert 5 < observed(said) < 7.5


def test_a_post_that_arrives_too_late_is_kept_but_does_not_count() -> None:
    said = [mention(id="t:1", weight=1.0, received_at=at(29)), mention(id="t:2", author="b", received_at=at(31))]
    assert observed(said) == pytest.approx(0.9)


def test_a_repost_and_a_doubtful_post_add_nothing_and_are_counted() -> None:
    said = [mention(id="t:1", kind=PostKind.REPOST), mention(id="t:2", author="b", chatter=0.1)]
    (tr, _) = points(said)
    assert tr.observed == 0
    assert dict(tr.excluded) == {"repost": 1, "below_floor": 1}


def test_points_do_not_depend_on_the_order_or_the_batches() -> None:
    rng = random.Random(3)
    said = [
        mention(
            id=f"t:{i}",
            author=f"a{rng.randrange(20)}",
            minutes=rng.uniform(0, 120),
            chatter=rng.random(),
            cluster=rng.choice(["", "", "x", "y"]),
            region=rng.choice(["TR", "RS"]),
        )
        for i in range(200)
    ]
    whole = points(said)
    shuffled = rng.sample(said, len(said))
    assert points(shuffled) == whole
    pieces: dict[tuple[str, str, object], Point] = {}
    seen: list[Mention] = []
    for start, end in pairwise(range(0, 201, 20)):
        seen += shuffled[start:end]
        for point in aggregate(seen, affected(shuffled[start:end], HOUR), lookback=HOUR, lateness=HOUR / 2, floor=0.2):
            pieces[point.key.service, point.key.region, point.at] = point
    assert sorted(pieces.values(), key=lambda p: (p.key, p.at)) == sorted(whole, key=lambda p: (p.key, p.at))


def test_labels_and_symptoms_say_what_the_chatter_is_made_of() -> None:
    said = [mention(id="t:1", label="blocked", weight=1.0), mention(id="t:2", author="b", symptom="login", weight=1.0)]
    (tr,) = points(said)
    assert dict(tr.labels) == pytest.approx({"blocked": 0.9, "report": 0.9, "symptom:login": 0.9})


def test_bins_start_at_full_minutes_of_utc() -> None:
    assert bins.floor(at(3.7)) == at(3)
    assert bins.ceil(at(3.7)) == at(4)
    assert bins.ceil(at(3)) == at(3)
    assert bins.count(at(0), at(90)) == 90
