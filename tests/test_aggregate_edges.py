"""What a point says besides how many: who wrote, what it holds, what is measured again, and where the limits lie."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from listener.signals.aggregate import affected, aggregate
from listener.types import LABELS, Mention, Point, RegionWeight
from tests.builders import MINUTE, at, mention, score

HOUR = timedelta(hours=1)


def points(mentions: list[Mention], lateness: timedelta = HOUR / 2) -> list[Point]:
    return aggregate(mentions, affected(mentions, HOUR), lookback=HOUR, lateness=lateness, floor=0.2)


def in_regions(one: Mention, **weights: float) -> Mention:
    return replace(one, regions=tuple(RegionWeight(region, weight) for region, weight in weights.items()))


def test_a_point_says_how_many_posts_and_people_it_holds() -> None:
    said = [mention(id=f"t:{i}", author=f"a{i % 3}", weight=1.0) for i in range(5)]
    (point,) = points(said)
    assert (point.posts, point.authors) == (5, 3)
    assert dict(point.excluded) == {"same_author": 2}


def test_people_without_a_name_are_told_apart_by_their_posts() -> None:
    (point,) = points([mention(id=f"t:{i}", author="", weight=1.0) for i in range(4)])
    assert point.authors == 4
    assert point.observed == pytest.approx(3.6)
    assert point.excluded == ()


def test_a_picture_by_somebody_is_counted_and_a_text_by_nobody_too() -> None:
    (point,) = points([mention("", id="t:1", author="a", weight=1.0), mention(id="t:2", author="", weight=1.0)])
    assert point.authors == 2


def test_voices_that_it_is_back_are_added_up_by_region() -> None:
    told = score(0.1, label="recovered")
    chance = told.probabilities[LABELS.index("recovered")]
    said = [replace(mention(id=f"t:{i}", author=f"a{i}", weight=0.75), score=told) for i in range(3)]
    by_region = {point.key.region: point for point in points(said)}
    assert by_region["TR"].recovered == pytest.approx(3 * 0.75 * chance)
    assert by_region["ZZ"].recovered == pytest.approx(3 * 0.25 * chance)
    assert by_region["TR"].observed == 0


def test_a_mention_changes_its_own_minute_and_the_hour_that_looks_back_on_it() -> None:
    assert affected([mention(minutes=3.5)], HOUR) == {("instagram", at(3) + n * MINUTE) for n in range(121)}


def test_only_the_services_asked_for_are_measured() -> None:
    said = replace(mention(weight=1.0), services=("instagram", "whatsapp"))
    (point,) = aggregate([said], {("whatsapp", at(0))}, lookback=HOUR, lateness=HOUR, floor=0.2)
    assert point.key.service == "whatsapp"
    assert aggregate([said], {("whatsapp", at(1))}, lookback=HOUR, lateness=HOUR, floor=0.2) == []


def test_a_post_that_is_as_late_as_is_allowed_counts() -> None:
    (point,) = points([mention(weight=1.0, received_at=at(30))])
    assert point.observed > 0
    (late,) = points([mention(weight=1.0, received_at=at(30) + timedelta(seconds=1))])
    assert dict(late.excluded) == {"late": 1}


def test_a_post_at_the_floor_counts() -> None:
    (point,) = points([mention(weight=1.0, chatter=0.2)])
    assert point.observed == pytest.approx(0.2)


@pytest.mark.parametrize(("later", "more"), [(60, 0.0), (61, 0.9)])
def test_an_author_is_remembered_for_the_lookback_to_the_minute(later: int, more: float) -> None:
    said = [mention(id="t:1", author="a", weight=1.0), mention(id="t:2", author="a", weight=1.0, minutes=later)]
    assert points(said)[-1].observed == pytest.approx(more)


def test_an_author_whose_region_gets_surer_adds_the_difference_there() -> None:
    """Half a person in TR and a quarter in BG, later all in TR: what BG had stays said, so TR gets no more than a whole."""
    first = in_regions(mention(id="t:1", author="a", chatter=1.0), TR=0.5, BG=0.25)
    second = in_regions(mention(id="t:2", author="a", chatter=1.0, minutes=2), TR=1.0)
    found = {(point.key.region, point.at): point.observed for point in points([first, second])}
    assert found == {("BG", at(0)): 0.25, ("TR", at(0)): 0.5, ("TR", at(2)): 0.25}


def test_a_region_of_no_weight_gets_no_point() -> None:
    assert [p.key.region for p in points([in_regions(mention(), TR=1.0, BG=0.0)])] == ["TR"]


def test_figures_are_rounded_to_six_digits_so_that_they_are_the_same_everywhere() -> None:
    told = score(0.7, label="recovered")
    (point,) = points([replace(in_regions(mention(), TR=1 / 3), score=told)])
    assert (point.observed, point.recovered) == (0.233333, 0.1)
    (labelled,) = points([in_regions(mention(chatter=0.7, symptom="login"), TR=1 / 3)])
    assert labelled.labels == (("report", 0.233333), ("symptom:login", 0.233333))
