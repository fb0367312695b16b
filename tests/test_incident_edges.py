"""Where an incident's rules begin and end: the last minute that counts, the figures to the last post, the onset."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from listener.incidents import track
from listener.types import Alarm, Floats, Incident, IncidentState, Panel, RegionPart, Signal, State, Transition
from tests.builders import MINUTE, at, signal

HALF_HOUR = timedelta(minutes=30)
FIVE = 5 * MINUTE


def alarm(
    of: Signal, *, raised: bool = True, score: float = 20.0, expected: float = 0.05, exposure: float = 1.0
) -> Alarm:
    last = float(of.observed[-1])
    return Alarm(of.key, at(-1), last, expected, 1.0, score, raised, window=FIVE, exposure=exposure)


def firing(*parts: RegionPart, **changes: object) -> Incident:
    known = parts or (RegionPart("TR", State.PROBLEMS, at(-60), at(-62), at(-60), 50.0, 3.0, 20.0),)
    made = Incident("instagram-1", "instagram", IncidentState.FIRING, known, known[0].onset_at, at(-1), observed=50.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def step(of: Signal, verdict: Alarm, *open_: Incident, now: datetime | None = None) -> list[Incident]:
    """What becomes of the incidents in one tick over one region."""
    panels = {"instagram": Panel("instagram", {of.key.region: of})}
    transitions, updated = track([verdict], panels, open_, now or at(0), resolve_after=HALF_HOUR)
    return [*updated, *(one.incident for one in transitions)]


def ended(ago: timedelta) -> Incident:
    (part,) = firing().parts
    return firing(replace(part, state=State.RECOVERING), state=IncidentState.RESOLVED, resolved_at=at(0) - ago)


@pytest.mark.parametrize(("ago", "goes_on"), [(timedelta(hours=1), True), (timedelta(hours=1, seconds=1), False)])
def test_a_relapse_continues_up_to_the_full_hour(ago: timedelta, goes_on: bool) -> None:
    of = signal([0.0] * 115 + [9.0] * 5, start_at=at(-120))
    (found,) = step(of, alarm(of), ended(ago))
    assert (found.id == "instagram-1") is goes_on


@pytest.mark.parametrize(("last", "goes_on"), [(15, True), (16, False)])
def test_a_quarter_of_an_hour_without_a_word_fades(last: int, goes_on: bool) -> None:
    counts = [0.0] * 120
    counts[-60:-40] = [9.0] * 20
    counts[-last] = 40.0
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of), firing())
    assert (found.quiet_since_at is None) is goes_on


@pytest.mark.parametrize(("lately", "goes_on"), [(47.0, False), (48.0, True)])
def test_what_is_more_than_three_on_top_of_three_times_the_usual_goes_on(lately: float, goes_on: bool) -> None:
    """Here one post a minute is usual, so 3 + 3 x 15; the busiest quarter of an hour held a hundred times as much."""
    counts = [0.0] * 120
    counts[-60:-40] = [500.0] * 20
    counts[-1] = lately
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=1.0), firing())
    assert (found.quiet_since_at is None) is goes_on


@pytest.mark.parametrize(
    ("back", "gone", "when", "over"),
    [(2.0, 0.0, 1, True), (1.9, 0.0, 1, False), (4.0, 3.0, 5, True), (4.0, 4.0, 5, False), (4.0, 9.0, 11, True),
     (2.0, 0.0, 30, True), (2.0, 0.0, 31, False)],
)  # fmt: skip
def test_it_is_back_when_two_say_so_within_half_an_hour_and_fewer_that_it_is_gone_within_ten_minutes(
    back: float, gone: float, when: int, over: bool
) -> None:
    counts, recovered = [0.0] * 120, [0.0] * 120
    counts[-min(when, 11)] = gone
    recovered[-when] = back
    of = signal(counts, recovered=recovered, start_at=at(-120))
    (found,) = step(of, alarm(of, raised=False), firing(quiet_since_at=at(-10)))
    assert (found.state is IncidentState.RESOLVED) is over


def onset(counts: Floats, expected: float, longest: int) -> tuple[int, int, int]:
    """The likeliest minute, and the first and the last that are nearly as likely: each tried in turn."""
    first = max(0, len(counts) - longest)
    likely = []
    for i in range(first, len(counts)):
        seen, mean = float(counts[i:].sum()), max(expected, 1e-3) * (len(counts) - i)
        likely.append(seen * math.log(seen / mean) - (seen - mean) if seen > mean else 0.0)
    best = likely.index(max(likely))
    near = [i for i, value in enumerate(likely) if value >= likely[best] - 2.0]
    before = [i for i in range(near[0]) if counts[first + i] > 0]
    low = max(near[0] - 3, before[-1] if before else 0, 0)
    return first + best, first + low, first + max(near[-1], best)


@pytest.mark.parametrize(
    "counts",
    [
        [0.0] * 115 + [3.0, 1.0, 4.0, 2.0, 5.0],
        [0.0] * 112 + [1.0, 0.0, 0.0, 1.0, 2.0, 4.0, 4.0, 6.0],
        [0.0] * 108 + [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 8.0, 0.0, 9.0, 1.0],
        [0.0] * 111 + [2.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 1.0, 1.0],
    ],
)
@pytest.mark.parametrize("expected", [0.05, 0.6])
def test_an_onset_is_the_minute_from_which_on_a_risen_rate_explains_most(counts: list[float], expected: float) -> None:
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=expected))
    (part,) = found.parts
    best, low, high = (at(-120 + i) for i in onset(of.observed, expected, 11))
    assert (part.onset_at, part.onset_low_at, part.onset_high_at) == (best, low, high)


def test_a_deaf_region_keeps_its_state_and_one_that_was_only_possible_stays_so() -> None:
    of = signal([0.0] * 120, start_at=at(-120), exposure=[0.0] * 120)
    (deaf,) = step(of, alarm(of, raised=False, exposure=0.0), firing())
    assert [part.state for part in deaf.parts] == [State.PROBLEMS]
    heard = signal([0.0] * 120, start_at=at(-120))
    (quiet,) = step(heard, alarm(heard, raised=False), firing())
    assert [part.state for part in quiet.parts] == [State.RECOVERING]
    (part,) = firing().parts
    (possible,) = step(heard, alarm(heard, raised=False), firing(replace(part, state=State.POSSIBLE)))
    assert [part.state for part in possible.parts] == [State.POSSIBLE]


def test_what_began_before_the_window_is_counted_on_minute_by_minute() -> None:
    """Fifty were counted up to a minute ago; of the panel only what came since is added."""
    began = at(-300)
    part = RegionPart("TR", State.PROBLEMS, began, began, began, 50.0, 3.0, 20.0)
    of = signal([7.0] * 120, start_at=at(-120))
    before = firing(part, authors=40, posts=60, updated_at=at(-2))
    (found,) = step(of, alarm(of, expected=0.5), before)
    (now,) = found.parts
    assert (now.observed, now.expected) == (64.0, 4.0)
    assert (found.authors, found.posts) == (54, 74)


def test_what_began_within_the_window_is_counted_over_again() -> None:
    began = at(-10)
    part = RegionPart("TR", State.PROBLEMS, began, began, began, 1.0, 0.5, 20.0)
    of = signal([1.0] * 110 + [7.0] * 10, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=0.5), firing(part, authors=1, posts=1))
    assert (found.observed, found.authors, found.posts) == (70.0, 70, 70)


def test_authors_over_regions_are_at_most_what_surely_wrote() -> None:
    """Someone whose region is unsure is in both signals: of 10 in TR and 8 in BG who weigh 9.1 in all, at most 13 are people."""
    counts = {"TR": 10, "BG": 8}
    signals = {}
    for region, many in counts.items():
        of = signal([0.0] * 119 + [many / 2], region=region, start_at=at(-120))
        of.authors[-1] = of.posts[-1] = many
        signals[region] = of
    alarms = [alarm(of) for of in signals.values()]
    transitions, _ = track(alarms, {"instagram": Panel("instagram", signals)}, [], at(0))
    (told,) = transitions
    assert told.incident.observed == 9.0
    assert told.incident.authors == told.incident.posts == math.ceil(9.0 / 0.7) == 13


@pytest.mark.parametrize(("score", "state"), [(14.9, "pending"), (15.0, "firing")])
def test_a_score_of_fifteen_needs_no_second_look(score: float, state: str) -> None:
    of = signal([0.0] * 115 + [9.0] * 5, start_at=at(-120))
    (found,) = step(of, alarm(of, score=score))
    assert found.state == state


@pytest.mark.parametrize(("minutes", "state"), [(29, "firing"), (30, "resolved")])
def test_half_an_hour_of_quiet_is_enough_to_the_minute(minutes: int, state: str) -> None:
    of = signal([0.0] * 120, start_at=at(-120))
    (found,) = step(of, alarm(of, raised=False), firing(quiet_since_at=at(-minutes)))
    assert found.state == state
    assert found.resolved_at == (at(0) if state == "resolved" else None)


def test_the_latest_of_two_open_incidents_goes_on() -> None:
    of = signal([0.0] * 115 + [9.0] * 5, start_at=at(-120))
    other = firing(id="instagram-0", started_at=at(-90))
    (found,) = step(of, alarm(of), firing(), other)
    assert found.id == "instagram-1"
    transition: list[Transition]
    transition, updated = track([alarm(of)], {"instagram": Panel("instagram", {"TR": of})}, [other, firing()], at(0))
    assert [one.id for one in updated] == ["instagram-1"]
    assert transition == []
