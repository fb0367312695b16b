"""Mentions become points: people are counted, not posts."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from itertools import pairwise

import pytest

from listener.signals import bins
from listener.signals.aggregate import affected, aggregate
from listener.text.copies import cluster_of
from listener.text.normalize import normalize
from listener.types import Mention, Point, PostKind, Tier
from tests.builders import at, mention

HOUR = timedelta(hours=1)


def points(mentions: list[Mention]) -> list[Point]:
    return aggregate(mentions, affected(mentions, HOUR), lookback=HOUR, lateness=HOUR / 2, floor=0.2)


def observed(mentions: list[Mention], region: str = "TR") -> float:
    return sum(p.observed for p in points(mentions) if p.key.region == region)


def key(text: str) -> str:
    return cluster_of(normalize(text).skeleton)


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


@pytest.mark.parametrize("copies", [300, 3000])
def test_a_copied_text_counts_as_less_than_three_people_however_often_it_is_sent(copies: int) -> None:
    said = [mention(id=f"t:{i}", author=f"a{i}", weight=1.0, chatter=1.0, cluster="same") for i in range(copies)]
    assert observed(said) == pytest.approx(1 + 0.25 * math.log(copies), abs=0.01)
    assert observed(said) < 3.01
    assert sum(dict(p.excluded)["copy"] for p in points(said)) == copies - 1


def test_copies_with_small_changes_are_copies() -> None:
    text = "instagram bu sabah yine çöktü giremiyorum kimse mesaj atamıyor artık bıktım {} {}"
    words = ["evet", "hayır", "belki", "dün", "yarın", "hep", "bazen", "asla", "acaba", "neden"]
    said = [
        mention(
            id=f"t:{i}",
            author=f"a{i}",
            weight=1.0,
            chatter=1.0,
            cluster=key(text.format(words[i % 10], words[i // 10])),
        )
        for i in range(100)
    ]
    assert observed(said) < 4


def test_the_same_few_words_count_in_full_while_others_use_their_own() -> None:
    same = [
        mention(id=f"t:{i}", author=f"a{i}", minutes=i / 10, weight=1.0, chatter=1.0, cluster="~x") for i in range(50)
    ]
    own = [mention(id=f"o:{i}", author=f"o{i}", minutes=i / 10, weight=1.0, chatter=1.0) for i in range(50)]
    assert observed([*same, *own]) > 95
    alone = observed(same)
    assert 15 < alone < 17, "fifty people who write nothing but these words are a crowd of sixteen"
    assert {name for p in points(same) for name, _ in p.excluded} == {"same_words"}


def test_replies_and_quotes_count_in_full_while_others_write_by_themselves() -> None:
    talk = [
        mention(id=f"t:{i}", author=f"a{i}", minutes=i / 10, weight=1.0, chatter=1.0, kind=PostKind.QUOTE)
        for i in range(50)
    ]
    own = [mention(id=f"o:{i}", author=f"o{i}", minutes=i / 10, weight=1.0, chatter=1.0) for i in range(50)]
    assert observed([*talk, *own]) > 95
    assert observed(talk) < 17
    assert {name for p in points(talk) for name, _ in p.excluded} == {"conversation"}


def test_the_press_is_one_voice() -> None:
    said = [mention(id=f"t:{i}", author=f"a{i}", weight=1.0, chatter=1.0, tier=Tier.PRESS) for i in range(60)]
    assert observed(said) < 2.1
    assert {name for p in points(said) for name, _ in p.excluded} == {"press"}


def test_one_author_who_writes_of_every_country_is_one_person() -> None:
    regions = ["TR", "RS", "BG", "GR", "HR", "RO", "MK"]
    said = [mention(id=f"t:{i}", author="a", weight=0.9, region=region) for i, region in enumerate(regions)]
    assert sum(p.observed for p in points(said)) <= 1


def test_what_was_taken_back_does_not_count_when_its_minute_is_measured_again() -> None:
    """Else whoever deletes a hundred posts at once would be a hundred people: erased posts have no author."""
    said = [mention("", id=f"t:{i}", author="", weight=1.0) for i in range(100)]
    fresh = mention(id="t:x", weight=1.0)
    (point,) = points([*said, fresh])
    assert point.observed == pytest.approx(0.9)
    assert dict(point.excluded) == {"taken_back": 100}


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
            cluster=rng.choice(["", "", "x y", "y", "~z"]),
            kind=rng.choice([PostKind.POST, PostKind.POST, PostKind.REPLY]),
            tier=rng.choice([Tier.PERSON, Tier.PERSON, Tier.PRESS]),
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
