"""What is kept, and for how long."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import replace
from datetime import timedelta
from unittest.mock import Mock

import pytest

from listener.errors import StoreAway
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import open_store
from listener.store.noticed import noticed
from listener.types import Hearing
from tests.builders import at, post
from tests.servers import postgres


def test_texts_and_authors_are_erased_after_the_retention_and_counts_stay(pipeline: Pipeline) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        late = timedelta(days=31) / timedelta(minutes=1)
        recorder.take(Batch(items=[post("instagram çöktü, giremiyorum", id="t:1")]))
        recorder.take(Batch(items=[post("instagram yine çöktü", id="t:2", minutes=late)]))
        before = store.points()
        assert recorder.forget(at(late)) == 1
        kept = {mention.post.id: (mention.post.text, mention.post.author) for mention in store.mentions()}
        assert kept["t:1"] == ("", "")
        assert kept["t:2"][0] == "instagram yine çöktü"
        assert store.points() == before
        assert recorder.forget(at(late)) == 0


def test_a_post_dated_before_the_retention_leaves_what_was_counted_then(pipeline: Pipeline) -> None:
    """Its minute can't be counted again: nobody knows any more who wrote in it."""
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        texts = ("instagram çöktü, giremiyorum", "insta yine gitti, açılmıyor", "instagram açılmıyor mu sizde de")
        recorder.take(Batch(items=[post(text, id=f"t:{n}", author=f"a{n}") for n, text in enumerate(texts)]))
        before = store.points()
        now = timedelta(days=31)
        recorder.forget(at(0) + now)
        late = replace(post("instagram çöktü gene", id="t:late", author="b"), received_at=at(0) + now)
        assert len(recorder.take(Batch(items=[late])).mentions) == 1
        assert store.points() == before


def test_a_post_edited_to_be_about_something_else_is_counted_there_alone(pipeline: Pipeline) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        for name in ("instagram", "youtube"):
            recorder.take(Batch(items=[post(f"{name} çöktü, giremiyorum", id="t:1")]))
            assert {point.key.service for point in store.points()} == {name}
        recorder.take(Batch(items=[post("instagram çöktü, giremiyorum", id="t:2")]))
        recorder.take(Batch(items=[post("instagram çöktü, giremiyorum", id="t:1")]))
        assert {point.key.service: point.posts for point in store.points(region="TR")} == {"instagram": 2}


def test_a_store_that_was_away_at_the_first_minute_is_read_at_the_next_try(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        crowd = [post(f"instagram çöktü giremiyorum {n}", id=f"t:{n}", author=f"a{n}") for n in range(30)]
        Recorder(pipeline, store).take(Batch(items=[*crowd]))
        recorder = Recorder(pipeline, store)
        with monkeypatch.context() as away:
            away.setattr(store, "points", Mock(side_effect=StoreAway("away")))
            with pytest.raises(StoreAway):
                recorder.tick(at(1))
        assert [transition.incident.service for transition in recorder.tick(at(1))] == ["instagram"]


def test_what_was_usual_is_kept_hour_by_hour_beside_what_was_heard(pipeline: Pipeline) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        recorder.take(Batch(items=[post("instagram çöktü, giremiyorum", id="t:1", minutes=-30)]))
        for minute in range(61):
            recorder.tick(at(minute))
        usual = store.expected(service="instagram", region="TR")
        assert at(0) - timedelta(hours=1) in {row.at for row in usual}
        assert all(0 < row.mean < row.high for row in usual)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_how_small_an_outage_would_be_noticed_is_kept_and_follows_what_is_heard(pipeline: Pipeline, kind: str) -> None:
    def told(minute: int) -> dict[str, int | None]:
        return {one.region: one.authors for one in noticed(store, at(minute), service="instagram")}

    where = postgres.empty_store() if kind == "postgresql" else nullcontext("sqlite:///:memory:")
    with where as url, closing(open_store(url)) as store:
        shares = {"t": dict.fromkeys(pipeline.catalog.regions, 1.0)}
        recorder = Recorder(pipeline, store, shares)
        hearing = [Hearing("t", at(minute), 5, up=True) for minute in range(-36 * 60, 15)]
        recorder.take(Batch(items=[post("instagram çöktü, giremiyorum", id="t:1", minutes=-30)], hearing=hearing))
        recorder.tick(at(0))
        found = told(0)
        assert found.keys() == pipeline.catalog.regions.keys()
        assert all(authors is not None and 3 <= authors <= 30 for authors in found.values())
        for minute in (5, 10, 15):
            recorder.tick(at(minute))
        assert told(15) == found
        recorder.take(Batch(hearing=[Hearing("t", at(minute), 0, up=False) for minute in range(15, 41)]))
        restarted = Recorder(pipeline, store, shares)
        restarted.tick(at(40))
        assert set(told(40).values()) == {None}, "the only source is silent"
        recorder = Recorder(pipeline, store, shares)
        recorder.take(Batch(hearing=[Hearing("t", at(minute), 5, up=True) for minute in range(41, 135)]))
        for minute in range(60, 136):
            recorder.tick(at(minute))
        assert None not in told(135).values()
        assert told(135).keys() == found.keys()


def test_an_incident_names_the_model_and_the_config_it_rests_on(pipeline: Pipeline) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        texts = [
            "instagram çöktü",
            "instagrama giremiyorum ya",
            "insta gitti, hata veriyor",
            "instagram açılmıyor bende de",
        ]
        posts = [post(f"{texts[n % 4]} {n}", id=f"t:{n}", minutes=n / 8) for n in range(40)]
        recorder.take(Batch(items=list(posts)))
        for minute in range(1, 8):
            recorder.tick(at(minute))
        (incident,) = store.incidents(service="instagram")
        assert incident.model == pipeline.classifier.digest
        assert incident.config == pipeline.config.digest


def test_where_an_author_wrote_from_before_says_where_the_next_post_is_from(pipeline: Pipeline) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        recorder = Recorder(pipeline, store)
        first = post("pao je instagram ovde u Nišu, ne učitava ništa", id="t:1", author="a")
        recorder.take(Batch(items=[first]))
        later = 24 * 60.0
        again = post("instagram opet ne radi", id="t:2", author="a", minutes=later)
        stranger = post("instagram opet ne radi", id="t:3", author="b", minutes=later)
        taken = recorder.take(Batch(items=[again, stranger]))
        of_serbia = {m.post.id: sum(r.weight for r in m.regions if r.region == "RS") for m in taken.mentions}
        assert of_serbia["t:2"] > of_serbia["t:3"] + 0.05
        assert any("author" in r.evidence for m in taken.mentions if m.post.id == "t:2" for r in m.regions)
