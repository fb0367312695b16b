"""Known events against what fired: what is found, how soon, and what was for nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listener import catalog as catalogs
from listener.backtest.events import Event, Flag, Span, catalogue, flags
from listener.backtest.rivals import by_chance, by_keywords
from listener.backtest.scoring import Figures, evaluate
from listener.errors import InputError
from listener.pipeline import Pipeline
from listener.text.normalize import normalize
from listener.types import Incident, IncidentState, RegionPart, State, Transition
from tests.builders import at, post
from tests.conftest import ROOT, Command

WEEK = Span(at(0), at(7 * 24 * 60), 10)


def event(id: str = "e", *, minutes: float = 600, lasts: float = 60, **changes: object) -> Event:
    made = Event(id, "instagram", ("TR", "BG"), at(minutes), at(minutes + 2), "outage", "a test", at(minutes + lasts))
    return replace(made, **changes)  # type: ignore[arg-type]


def flag(
    incident: str = "i", *, minutes: float = 610, lasts: float = 60, region: str = "TR", service: str = "instagram"
) -> Flag:
    return Flag(incident, service, region, at(minutes), at(minutes + lasts))


def judged(events: list[Event], found: list[Flag], span: Span = WEEK) -> Figures:
    return evaluate(events, found, span, seed=1)[0]


def test_an_incident_of_the_service_in_one_of_the_regions_while_it_lasts_has_found_the_event() -> None:
    figures, outcomes = evaluate([event()], [flag()], WEEK, seed=1)
    assert (figures.precision.value, figures.recall.value, figures.f05.value) == (1.0, 1.0, 1.0)
    assert outcomes[0].delay == figures.median_delay.value == 9.0  # from the middle of the onset's interval
    assert figures.false_per_region_week.value == 0.0


@pytest.mark.parametrize(
    "found",
    [flag(region="RO"), flag(service="x"), flag(minutes=500), flag(minutes=900)],
    ids=["in another region", "of another service", "before it", "long after it"],
)
def test_anything_else_is_a_false_alarm_and_the_event_is_missed(found: Flag) -> None:
    figures = judged([event()], [found])
    assert (figures.precision.value, figures.recall.value, figures.f05.value) == (0.0, 0.0, 0.0)
    assert figures.median_delay.value is None
    assert figures.false_per_region_week.value == pytest.approx(0.1)


def test_news_about_an_outage_is_no_event_and_firing_for_it_is_false() -> None:
    real, echo = event(), event("echo", minutes=2000, cause="echo")
    figures = judged([real, echo], [flag(), flag("j", minutes=2010)])
    assert figures.events == 1
    assert figures.precision.value == 0.5


def test_talk_that_names_no_service_is_neither_right_nor_wrong_while_something_fails() -> None:
    figures = judged([event()], [flag(), flag("u", service="unnamed"), flag("v", minutes=4000, service="unnamed")])
    assert figures.incidents == 2
    assert figures.precision.value == 0.5


def test_firing_again_right_after_an_event_is_part_of_it() -> None:
    assert judged([event()], [flag(), flag("again", minutes=690)]).precision.value == 1.0


def test_the_share_of_time_flagged_counts_overlapping_incidents_once() -> None:
    day = Span(at(0), at(24 * 60), 1)
    figures = judged([event()], [flag(minutes=600, lasts=120), flag("j", minutes=660, lasts=120)], day)
    assert figures.flagged.value == pytest.approx(180 / (24 * 60))


def test_intervals_hold_the_figure_and_the_same_seed_gives_the_same() -> None:
    events = [event(f"e{n}", minutes=600 * n) for n in range(1, 9)]
    found = [flag(f"i{n}", minutes=600 * n + 3 * n) for n in range(1, 6)] + [flag("j", minutes=5500)]
    figures = judged(events, found)
    for one in (figures.precision, figures.recall, figures.f05, figures.median_delay, figures.false_per_region_week):
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high
        assert one.low < one.high
    assert figures == judged(events, found)


def test_random_alarms_of_the_same_length_flag_as_much_and_find_little() -> None:
    events = [event(f"e{n}", minutes=600 * n) for n in range(1, 9)]
    found = [flag(f"i{n}", minutes=600 * n + 5) for n in range(1, 9)]
    chance, own = by_chance(events, found, WEEK, seed=1), judged(events, found)
    assert chance.flagged.value == pytest.approx(own.flagged.value, rel=0.1)
    assert chance.recall.value is not None
    assert chance.recall.value < 0.3 < own.recall.value  # type: ignore[operator]


def told(minutes: float, state: IncidentState, *regions: str) -> Transition:
    parts = tuple(RegionPart(r, State.PROBLEMS, at(0), at(0), at(0), 9.0, 0.1, 20.0) for r in regions)
    return Transition(f"t{minutes}", at(minutes), Incident("i", "x", state, parts, at(0), at(minutes)), None, state)


def test_a_region_is_flagged_from_when_it_fires_until_it_is_over_and_again_after_a_relapse() -> None:
    found = flags(
        [
            told(0, IncidentState.PENDING, "TR"),
            told(2, IncidentState.FIRING, "TR"),
            told(9, IncidentState.FIRING, "TR", "BG"),
            told(60, IncidentState.RESOLVED, "TR", "BG"),
            told(90, IncidentState.FIRING, "TR", "BG"),
        ],
        at(100),
    )
    assert [(f.region, f.start_at, f.end_at) for f in found] == [
        ("TR", at(2), at(60)),
        ("BG", at(9), at(60)),
        ("BG", at(90), at(100)),
        ("TR", at(90), at(100)),
    ]


def test_a_keyword_rule_needs_a_service_and_a_word_of_trouble(pipeline: Pipeline) -> None:
    def label(text: str) -> str:
        return by_keywords(post(text), pipeline.matcher.find(normalize(text).skeleton)).stated

    assert label("instagram çöktü") == "report"
    assert label("instagram geçen yıl da çöktü, bugün sorun yok") == "report"  # it can't tell
    assert label("instagram güzel") == label("bugün çok yorgunum") == "other"


def test_the_facts_are_well_formed_and_about_services_and_regions_we_know() -> None:
    known = catalogue(sorted((ROOT / "data" / "events").glob("*.toml")))
    world = catalogs.load(ROOT / "data")
    assert len(known) >= 30
    for one in known:
        assert one.service in world.services, one.id
        assert set(one.regions) <= set(world.regions), one.id
        assert not one.synthetic, one.id
        assert one.source, one.id
        assert one.onset_high_at - one.onset_low_at <= timedelta(days=2), one.id
        assert one.over_at < datetime.now(UTC), one.id
    assert {one.cause for one in known} >= {"outage", "block", "network"}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ('cause = "meteor"', "cause 'meteor' is none of outage"),
        ("onset_high_at = 2026-01-01T00:00:00Z", "are not in this order"),
        ("onset_low_at = 2026-03-12T14:00:00", "times need an offset"),
        ('colour = "red"', "unknown key 'colour'"),
    ],
)
def test_a_wrong_event_is_refused_with_its_name_and_the_reason(tmp_path: Path, change: str, complaint: str) -> None:
    keys = {
        "id": '"one"',
        "service": '"x"',
        "regions": "[]",
        "onset_low_at": "2026-03-12T14:00:00Z",
        "onset_high_at": "2026-03-12T14:05:00Z",
        "cause": '"outage"',
    }
    name, _, value = change.partition(" = ")
    path = tmp_path / "events.toml"
    path.write_text("[[event]]\n" + "\n".join(f"{key} = {value}" for key, value in {**keys, name: value}.items()))
    with pytest.raises(InputError, match="event one") as refused:
        catalogue([path])
    assert complaint in str(refused.value)


def test_backtest_tells_what_an_archive_would_have_shown(listener: Command, tmp_path: Path) -> None:
    lines = (ROOT / "data" / "samples" / "day.jsonl").read_text(encoding="utf-8").splitlines()
    part = [line for line in lines if "2026-03-12T13:30" <= json.loads(line)["created_at"] < "2026-03-12T14:40"]
    (tmp_path / "afternoon.jsonl").write_text("\n".join(part), encoding="utf-8")
    events = str(ROOT / "data" / "samples" / "day.events.toml")
    done = listener("backtest", "afternoon.jsonl", "--events", events, "--no-baselines", "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["method"] for row in rows] == ["listener", "random, as many", "listener"]
    assert rows[0]["synthetic"] is True
    assert rows[0]["recall"][0] == rows[0]["precision"][0] == 1.0
    assert rows[2]["event"] == "instagram-2026-03-12"
    assert rows[2]["delay_minutes"] <= 8


def test_backtest_says_when_no_event_lies_within_the_archive(listener: Command, tmp_path: Path) -> None:
    (tmp_path / "posts.jsonl").write_text('{"text": "instagram çöktü", "created_at": "2026-05-01T10:00:00Z"}\n')
    events = str(ROOT / "data" / "events" / "blocks.toml")
    done = listener("backtest", "posts.jsonl", "--events", events, "--no-baselines")
    assert done.returncode == 2
    assert "none of the events begins within the archive" in done.stderr
