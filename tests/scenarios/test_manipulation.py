"""Noise is not counted as people; what can't be told from an outage is said to look like a campaign.

LISTENER_TEST_SEEDS=10 pytest -s tests/scenarios/test_manipulation.py     the figures of docs/methodology.md
"""

from __future__ import annotations

import os
import random
from contextlib import closing

import pytest

from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import open_store
from listener.types import Delete
from tests.builders import at
from tests.scenarios.campaigns import HUGE, NOISE, TRUE, Outcome, lived, one_author, written

SEEDS = int(os.environ.get("LISTENER_TEST_SEEDS", "1"))
SAYS_SO = {  # these come through, and their incident says what they look like
    "300 accounts, the same few words": "people write the same few words",
    "translation spam, 300 accounts": "people send the same text, small changes apart",
    "campaign in its own words, 300": "rests on one source",
}
EXCLUDED = {
    "one author with 1,000 posts": "same_author",
    "300 accounts, one text": "copy",
    "300 accounts, one text with changes": "copy",
    "hashtag hijack, 300 ads": "below_floor",
    "viral joke, 500 replies and quotes": "below_floor",
    "one report, 300 reposts and quotes": "repost",
    "news wave about the past, 200": "below_floor",
}


def evenings(pipeline: Pipeline, name: str) -> list[Outcome]:
    make, size = {**NOISE, **HUGE, **TRUE}[name]
    made = [lived(pipeline, list(make(random.Random(seed), size))) for seed in range(SEEDS)]
    counted = [one.observed for one in made]
    print(
        f"{name}: {sum(bool(one.states) for one in made)} of {SEEDS} with an incident, {sum(one.fired for one in made)} fired,"
        f" {sum(one.suspected for one in made)} suspected, {min(counted):.1f} to {max(counted):.1f} people counted"
    )
    return made


@pytest.mark.parametrize("name", sorted(EXCLUDED))
def test_noise_raises_nothing_and_the_ledger_says_why(pipeline: Pipeline, name: str) -> None:
    for one in evenings(pipeline, name):
        assert one.states == ()
        assert one.observed < 4
        most = max(one.excluded, key=one.excluded.__getitem__)
        assert most == EXCLUDED[name]


if SEEDS > 1:  # the long form

    @pytest.mark.parametrize("name", sorted(HUGE))
    def test_noise_ten_times_as_big_raises_nothing_either(pipeline: Pipeline, name: str) -> None:
        for one in evenings(pipeline, name):
            assert one.states == ()
            assert one.observed < 5


@pytest.mark.parametrize("name", sorted(SAYS_SO))
def test_noise_that_comes_through_is_said_to_look_like_it(pipeline: Pipeline, name: str) -> None:
    for one in evenings(pipeline, name):
        assert one.states == () or any(SAYS_SO[name] in said for said in one.evidence)


@pytest.mark.parametrize("name", sorted(TRUE))
def test_an_outage_of_the_same_size_is_told_and_not_suspected_when_people_use_words_of_their_own(
    pipeline: Pipeline, name: str
) -> None:
    size = TRUE[name][1]
    for one in evenings(pipeline, name):
        assert one.fired or size < 50
        if "same few words" not in name:
            assert one.observed > 0.6 * size
            assert not one.suspected or size < 50, "of twenty people all may write on one source by chance"


def test_every_scenario_is_tested() -> None:
    assert EXCLUDED.keys() | SAYS_SO.keys() == NOISE.keys()


def test_a_hundred_posts_that_are_taken_back_at_once_are_not_a_hundred_people(pipeline: Pipeline) -> None:
    """Erased posts have no author; what comes in the same minute has it measured again."""
    said = list(one_author(random.Random(1), 100))
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        minute = at(0)
        posts = [written(p.text, n, n / 200, author="gone") for n, p in enumerate(said)]
        recorder.take(Batch(items=list(posts)))
        recorder.take(Batch(items=[Delete("bluesky", minute, post_id=p.id) for p in posts]))
        recorder.take(Batch(items=[written("instagram çöktü mü", 1000, 0.9)]))
        points = [point for point in store.points(service="instagram") if point.at == minute]
    assert sum(point.observed for point in points) <= 1
    assert sum(dict(point.excluded)["taken_back"] for point in points) > 50
