"""What is kept, and for how long."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.store import open_store
from tests.builders import at, post


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
