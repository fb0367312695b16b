"""Drift: a source that stays itself raises nothing, one whose words, languages or scores change asks for labels and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from listener import telemetry
from listener.drifting import DRIFT, said, tell_drift
from listener.pipeline import Pipeline
from listener.recorder import Batch, Recorder
from listener.signals.drift import watch
from listener.store import Store, open_store
from listener.takeover import MODEL
from listener.text.familiar import unknown_words
from listener.types import Drift, Tally
from tests.builders import NOON, at, post
from tests.conftest import Command
from tests.days import OPEN, changes
from tests.servers.process import fetch as fetch_text
from tests.web import dashboard

MODEL_A = "sha256:aa"
END = date(2026, 3, 2)
SCORES = np.array([0.62, 0.12, 0.06, 0.04, 0.03, 0.03, 0.02, 0.02, 0.02, 0.04])
UNSURE = np.array([0, 0, 1, 1, 1, 1, 1, 1, 0, 0]) / 6


def days_of(
    posts: float,
    *,
    source: str = "forum",
    model: str = MODEL_A,
    days: int = 77,
    since: int = 0,
    unknown: float = 0.0,
    romanian: float = 0.0,
    unsure: float = 0.0,
    seed: int = 1,
) -> Iterator[Tally]:
    """Days of a source up to `END`; in the last `since` of them what it brings has changed by so much."""
    random = np.random.default_rng(seed)
    for before in range(days, 0, -1):
        share = float(before <= since)
        count = int(random.poisson(posts * random.lognormal(0, 0.2)))
        wobble = random.normal(0, 0.1)
        scores = SCORES * (1 - unsure * share) + UNSURE * unsure * share
        languages = np.array([0.85, 0.15]) * (1 - romanian * share)
        words = count * 7
        made = {("score", str(n)): c for n, c in enumerate(random.multinomial(count, scores / scores.sum()).tolist())}
        spoken = random.multinomial(count, [*languages, 1 - languages.sum()]).tolist()
        made |= {("language", code): c for code, c in zip(("tr", "en", "ro"), spoken, strict=True)}
        strange = int(random.binomial(words, min(1.0, 0.18 * np.exp(wobble) + unknown * share)))
        made |= {("words", "unknown"): strange, ("words", "known"): words - strange}
        day = (END - timedelta(before)).isoformat()
        yield from (Tally(day, source, model, *key, c) for key, c in made.items() if c)


def wanted(*tallies: Iterator[Tally]) -> list[Drift]:
    return [one for of in tallies for one in watch(of, MODEL_A, END.isoformat()) if one.wanted]


@pytest.mark.parametrize("posts", [15, 60, 300, 5000])
def test_a_steady_source_asks_for_nothing(posts: float) -> None:
    found = [watch(days_of(posts, seed=seed), MODEL_A, END.isoformat()) for seed in range(20)]
    assert all(len(of) == 3 for of in found)
    assert sum(one.wanted for of in found for one in of) == 0


@pytest.mark.parametrize("posts", [15, 300, 5000])
def test_unknown_words_ask_for_labels_and_say_so(posts: float) -> None:
    (one,) = wanted(days_of(posts, since=7, unknown=0.3))
    assert (one.measure, one.source, one.until) == ("words", "forum", "2026-03-01")
    assert one.now == pytest.approx(0.48, abs=0.06)
    assert said(one).endswith(" % of words unknown, usually 18 %")


def test_another_language_and_unsure_scores_are_told_too() -> None:
    (one,) = wanted(days_of(300, since=2, romanian=0.4))
    assert said(one) in {f"{n} % of posts in ro, usually 0 %" for n in range(33, 48)}
    (one,) = wanted(days_of(300, since=2, unsure=0.6))
    assert (one.measure, one.what) == ("score", "unsure")
    assert one.now > 2 * one.usual


@pytest.mark.parametrize("since", range(2, 13))
def test_what_began_lately_is_not_taken_for_usual_at_once(since: int) -> None:
    assert [one.measure for one in wanted(days_of(300, since=since, unknown=0.3))] == ["words"]


def test_one_odd_day_is_not_enough() -> None:
    assert wanted(days_of(300, since=1, unknown=0.5, romanian=0.8)) == []


def test_a_young_source_a_silent_one_and_another_model_are_not_judged() -> None:
    assert watch(days_of(300, days=24), MODEL_A, END.isoformat()) == []
    assert watch(days_of(3), MODEL_A, END.isoformat()) == []
    assert watch([], MODEL_A, END.isoformat()) == []
    old = days_of(300, model="sha256:old", since=40, unknown=0.4)
    assert watch(old, MODEL_A, END.isoformat()) == [], "a model that was promoted begins anew"


def test_words_are_unknown_when_no_post_learnt_from_had_their_letters(pipeline: Pipeline) -> None:
    texts = ["instagram çöktü giremiyorum", "", "xqzwk bvvfgh instagram", "iki bir <url> 😤"]
    (learnt, nothing, strange, short) = unknown_words(pipeline.identifier, texts)
    assert learnt == (0, 3)
    assert nothing == (0, 0)
    assert strange == (2, 3)
    assert short == (0, 0)


def deliver(recorder: Recorder, minute: int, count: int = 40, text: str = "instagram çöktü, giremiyorum") -> None:
    posts = [post(f"{text} {n}", id=f"forum:{minute}-{n}", minutes=minute) for n in range(count)]
    recorder.take(Batch(items=list(posts)))


def summed(store: Store) -> dict[str, int]:
    made: dict[str, int] = {}
    for tally in store.tallies(""):
        made[tally.measure] = made.get(tally.measure, 0) + tally.count
    return made


def test_judged_posts_are_counted_once_by_source_and_model(pipeline: Pipeline) -> None:
    store = open_store("sqlite:///:memory:")
    recorder = Recorder(pipeline, store)
    for minute in (0, 0, 1, 2, 3):  # the first batch came twice
        deliver(recorder, minute)
    deliver(recorder, 4, 1)
    found = summed(store)
    assert found["score"] == found["language"] == 4 * 40 + 1
    assert found["words"] > 40
    assert {(tally.source, tally.model, tally.day) for tally in store.tallies("")} == {
        ("forum", pipeline.classifier.digest, "2026-03-02")
    }
    store.close()


def test_posts_about_a_service_in_trouble_are_no_drift(pipeline: Pipeline) -> None:
    store = open_store("sqlite:///:memory:")
    recorder = Recorder(pipeline, store)
    deliver(recorder, 0)
    with store.transaction() as tx:
        tx.put_transitions(changes(OPEN))
    deliver(recorder, 1)
    deliver(recorder, 2, text="whatsapp çöktü, mesajlar gitmiyor")
    deliver(recorder, 3)
    assert summed(store)["score"] == 2 * 40, "the first ones, and those about another service"
    store.close()


def test_once_a_day_the_sources_are_judged_told_and_old_counts_dropped(pipeline: Pipeline) -> None:
    store = open_store("sqlite:///:memory:")
    digest = pipeline.classifier.digest
    with store.transaction() as tx:
        tx.add_tallies(list(days_of(300, days=90, model=digest, since=3, unknown=0.4)))
    recorder = Recorder(pipeline, store)
    found, is_new = recorder.drift(NOON)
    assert is_new
    assert recorder.drift(at(60)) == (found, False)
    assert Recorder(pipeline, store).drift(at(60)) == (found, False), "nor is it told again after a restart"
    assert recorder.drift(at(24 * 60))[1]
    assert min(tally.day for tally in store.tallies("")) == "2025-12-16"
    metrics = telemetry.Metrics("1")
    metrics.drifts(found)
    exposed = metrics.render().decode()
    assert "listener_labels_wanted_sources 1.0" in exposed
    assert 'listener_drift_ratio{measure="words",source="forum"}' in exposed
    with capture_logs() as lines:
        tell_drift(telemetry.log("daemon"), found)
        tell_drift(telemetry.log("daemon"), [replace(one, strength=0.2) for one in found])
    assert [line["event"] for line in lines] == ["labels_wanted", "no_drift"]
    assert "forum: " in lines[0]["why"]
    assert "of words unknown" in lines[0]["why"]
    store.close()


def drifted(store: Store) -> None:
    """What the daemon writes down, with a source's name that wants to be a script."""
    found = [
        {"source": "<script>x</script>", "measure": "words", "until": "2026-03-01", "strength": 1.5}
        | {"what": "unknown", "now": 0.42, "usual": 0.18},
        {"source": "forum", "measure": "language", "until": "2026-03-01", "strength": 1.1}
        | {"what": "ro", "now": 0.35, "usual": 0.04},
        {"source": "calm", "measure": "score", "until": "2026-03-01", "strength": 0.3}
        | {"what": "unsure", "now": 0.1, "usual": 0.1},
    ]
    model = {"digest": MODEL_A, "since": "2026-02-01T10:00:00+00:00", "refused": "", "figures": {"f1": 0.5}}
    with store.transaction() as tx:
        tx.set_mark(DRIFT, json.dumps({"day": "2026-03-02", "model": MODEL_A, "found": found}))
        tx.set_mark(MODEL, json.dumps(model))


def test_the_dashboard_says_which_sources_want_labels_and_which_model_is_in_force(tmp_path: Path) -> None:
    with dashboard(tmp_path, drifted) as base:
        sources, front, method = (fetch_text(f"{base}{path}") for path in ("/sources", "/", "/methodology"))
        turkish = fetch_text(f"{base}/sources?lang=tr")
    assert "&lt;script&gt;x&lt;/script&gt;</bdi>: 42 % of words unknown, usually 18 %" in sources
    assert "35 % of posts in the language ro, usually 4 %" in sources
    assert "calm" not in sources
    assert "sözcüklerin 42 % kadarı bilinmiyor" in turkish
    assert "Labels wanted for 2 sources" in front
    assert MODEL_A in method
    assert "01 Feb 2026" in method
    assert "0.500" in method


def test_listener_sources_says_it_in_a_terminal_and_to_programs(listener: Command, tmp_path: Path) -> None:
    (tmp_path / "listener.toml").write_text(
        'default_sources = false\n[[source]]\nkind = "rss"\nname = "forum"\nurl = "https://forum.example/feed"\n'
    )
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}")
    drifted(store)
    store.close()
    url = f"sqlite:///{tmp_path / 'a.db'}"
    assert "labels wanted for forum: 35 % of posts in ro, usually 4 %" in listener("sources", "--store", url).stdout
    record = json.loads(listener("sources", "--store", url, "--format", "jsonl").stdout)
    assert record["labels_wanted"] == "35 % of posts in ro, usually 4 %"
