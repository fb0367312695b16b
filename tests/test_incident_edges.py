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
    of: Signal,
    *,
    raised: bool = True,
    score: float = 20.0,
    expected: float = 0.05,
    exposure: float = 1.0,
    window: timedelta = FIVE,
) -> Alarm:
    last = float(of.observed[-1])
    return Alarm(of.key, at(-1), last, expected, 1.0, score, raised, window=window, exposure=exposure)


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


@pytest.mark.parametrize(("lately", "goes_on"), [(92.0, False), (93.0, True)])
def test_what_is_more_than_three_on_top_of_three_times_the_usual_goes_on(lately: float, goes_on: bool) -> None:
    """Here two posts a minute are usual, so 3 + 3 x 2 x 15; the busiest quarter of an hour held far more."""
    counts = [0.0] * 120
    counts[-60:-40] = [500.0] * 20
    counts[-1] = lately
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=2.0), firing())
    assert (found.quiet_since_at is None) is goes_on


@pytest.mark.parametrize(("lately", "goes_on"), [(39.0, False), (40.0, True)])
def test_a_tenth_of_the_busiest_quarter_of_an_hour_goes_on(lately: float, goes_on: bool) -> None:
    counts = [0.0] * 120
    counts[-60] = 400.0
    counts[-1] = lately
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=1.0), firing())
    assert (found.quiet_since_at is None) is goes_on


def test_one_whose_region_is_unsure_still_keeps_a_small_incident_going() -> None:
    counts = [0.0] * 120
    counts[-60:-55] = [1.0] * 5
    counts[-1] = 0.6
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of), firing())
    assert found.quiet_since_at is None


def test_what_was_written_before_it_began_does_not_keep_it_going() -> None:
    """Its own posts are gone, say deleted; the longest window still holds those of an hour before."""
    counts = [0.0] * 120
    counts[-85:-80] = [9.0] * 5
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, window=90 * MINUTE), firing())
    assert found.quiet_since_at == at(0)


@pytest.mark.parametrize("began", [-300, -120, 300])
def test_what_began_outside_the_window_is_held_against_all_of_it(began: int) -> None:
    """Before it; or after it, by a clock that was put back."""
    counts = [0.0] * 120
    counts[0] = 900.0
    counts[-1] = 40.0
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=1.0), firing(started_at=at(began)))
    assert found.quiet_since_at == at(0)


def test_bins_longer_than_what_is_looked_back_on_are_taken_whole() -> None:
    """Of twenty minutes: the last alone tells whether it goes on, whether it is back, and how much is said."""
    twenty, start = 20 * MINUTE, at(-240)
    part = RegionPart("TR", State.PROBLEMS, start, start, start, 50.0, 3.0, 20.0)
    faded = signal([9.0] * 10 + [90.0, 0.0], bin=twenty, start_at=start)
    (found,) = step(faded, alarm(faded), firing(part))
    assert found.quiet_since_at == at(0)
    back = signal([9.0] * 11 + [0.0], recovered=[0.0] * 11 + [2.0], bin=twenty, start_at=start)
    (found,) = step(back, alarm(back, raised=False), firing(part, quiet_since_at=at(-10)))
    assert found.state is IncidentState.RESOLVED
    talk = signal([0.0] * 10 + [90.0, 8.0], service="unnamed", bin=twenty, start_at=start)
    panels = {"unnamed": Panel("unnamed", {"TR": talk}), "instagram": Panel("instagram", {"TR": faded})}
    named = signal([0.0] * 11 + [9.0], bin=twenty, start_at=start)
    panels["instagram"] = Panel("instagram", {"TR": named})
    transitions, _ = track([alarm(named), alarm(talk)], panels, [], at(0))
    assert [told.incident.service for told in transitions] == ["instagram"]


@pytest.mark.parametrize(
    ("back", "gone", "when", "over"),
    [(2.0, 0.0, 1, True), (1.9, 0.0, 1, False), (4.0, 3.0, 5, True), (4.0, 4.0, 5, False), (4.0, 4.0, 10, False),
     (4.0, 9.0, 11, True), (2.0, 0.0, 30, True), (2.0, 0.0, 31, False)],
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


@pytest.mark.parametrize(("minutes", "over"), [(9, False), (10, True)])
def test_ten_minutes_of_quiet_are_enough_when_people_write_that_it_is_back(minutes: int, over: bool) -> None:
    of = signal([0.0] * 120, recovered=[0.0] * 115 + [1.0] * 5, start_at=at(-120))
    (found,) = step(of, alarm(of, raised=False), firing(quiet_since_at=at(-minutes)))
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
        [0.0] * 114 + [0.5, 0.0, 20.0, 25.0, 19.0, 22.0],
    ],
)
@pytest.mark.parametrize("expected", [0.0, 0.05, 0.6])
def test_an_onset_is_the_minute_from_which_on_a_risen_rate_explains_most(counts: list[float], expected: float) -> None:
    of = signal(counts, start_at=at(-120))
    (found,) = step(of, alarm(of, expected=expected))
    (part,) = found.parts
    best, low, high = (at(-120 + i) for i in onset(of.observed, expected, 11))
    assert (part.onset_at, part.onset_low_at, part.onset_high_at) == (best, low, high)


@pytest.mark.parametrize(("ago", "begins"), [(175, -175), (185, -180)])
def test_an_onset_is_looked_for_at_most_three_hours_back(ago: int, begins: int) -> None:
    """However long the window: in this one people have written every minute ever since."""
    of = signal([0.0] * (300 - ago) + [1.0] * ago, start_at=at(-300))
    (found,) = step(of, alarm(of, window=150 * MINUTE))
    assert found.started_at == at(begins)


def test_an_onset_is_looked_for_twice_as_far_back_as_the_window_and_no_further() -> None:
    """What was said eleven minutes ago may be its beginning, what was said before may not."""
    of = signal([0.0] * 100 + [9.0] * 20, start_at=at(-120))
    (found,) = step(of, alarm(of))
    assert found.started_at == at(-11)


def test_an_onset_may_lie_in_the_first_minute_that_is_known() -> None:
    of = signal([9.0] * 4, start_at=at(-4))
    (found,) = step(of, alarm(of))
    assert found.started_at == at(-4)
    of = signal([0.0, 9.0, 9.0, 9.0], start_at=at(-4))
    (found,) = step(of, alarm(of))
    (part,) = found.parts
    assert (part.onset_low_at, part.onset_at) == (at(-4), at(-3))


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


def test_after_hours_away_all_that_the_window_holds_is_added() -> None:
    began = at(-600)
    part = RegionPart("TR", State.PROBLEMS, began, began, began, 50.0, 3.0, 20.0)
    of = signal([1.0] * 120, start_at=at(-120))
    (found,) = step(of, alarm(of), firing(part, authors=40, posts=60, updated_at=at(-400)))
    assert (found.observed, found.authors, found.posts) == (170.0, 160, 180)


def test_what_began_in_the_first_minute_of_the_window_is_still_counted_over_again() -> None:
    """So that late posts count: of the 240 only 50 had come so far."""
    began = at(-120)
    part = RegionPart("TR", State.PROBLEMS, began, began, began, 50.0, 3.0, 20.0)
    of = signal([2.0] * 120, start_at=at(-120))
    (found,) = step(of, alarm(of), firing(part, authors=50, posts=50))
    assert (found.observed, found.authors, found.posts) == (240.0, 240, 240)


def test_a_minute_that_is_watched_twice_is_expected_once() -> None:
    of = signal([0.0] * 60 + [1.0] * 60, start_at=at(-120))
    (once,) = step(of, alarm(of, expected=0.5), firing(authors=60, posts=60))
    (twice,) = step(of, alarm(of, expected=0.5), once)
    assert (twice.observed, twice.expected) == (once.observed, once.expected) == (60.0, 3.5)


def test_a_region_that_joins_is_expected_from_its_onset_on() -> None:
    """It has failed for five minutes when it is noticed."""
    tr = signal([0.0] * 60 + [9.0] * 60, start_at=at(-120))
    bg = signal([0.0] * 115 + [2.0] * 5, region="BG", start_at=at(-120))
    panels = {"instagram": Panel("instagram", {"BG": bg, "TR": tr})}
    (told,), _ = track([alarm(bg, expected=0.1, score=0.5), alarm(tr)], panels, [firing()], at(0))
    joined = told.incident.parts[1]
    assert (joined.region, joined.onset_at, joined.observed, joined.expected) == ("BG", at(-5), 10.0, 0.5)
    assert joined.score == 0.5


def test_a_region_that_nobody_watches_any_more_keeps_its_last_figures() -> None:
    (gone,) = firing().parts
    of = signal([0.0] * 110 + [9.0] * 10, region="BG", start_at=at(-120))
    here = RegionPart("BG", State.PROBLEMS, at(-10), at(-12), at(-9), 50.0, 3.0, 20.0)
    (found,) = step(of, alarm(of), firing(gone, here))
    assert found.parts[0] == gone
    assert (found.state, found.observed, found.authors) == (IncidentState.FIRING, 140.0, 90)


def test_figures_are_told_to_the_millionth() -> None:
    of = signal([0.0] * 117 + [0.5, 1 / 3, 1 / 3], start_at=at(-120))
    (found,) = step(of, alarm(of, expected=0.1 / 3))
    (part,) = found.parts
    assert (part.observed, found.observed) == (1.166667, 1.166667)
    assert (part.expected, found.expected) == (0.1, 0.1)
    (later,) = step(of, alarm(of, expected=0.1 / 3), firing(replace(part, expected=0.1), part, updated_at=at(-1)))
    assert [one.expected for one in later.parts] == [0.133333, 0.133333]
    assert later.expected == 0.266666


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


def test_an_open_incident_goes_on_beside_one_that_ended_lately() -> None:
    of = signal([0.0] * 115 + [9.0] * 5, start_at=at(-120))
    over = replace(ended(10 * MINUTE), id="instagram-2", started_at=at(-30))
    (found,) = step(of, alarm(of), over, firing())
    assert found.id == "instagram-1"


@pytest.mark.parametrize(("was", "state"), [(State.RECOVERING, "firing"), (State.POSSIBLE, "pending")])
def test_a_relapse_is_as_sure_as_the_incident_was(was: State, state: str) -> None:
    """Raised by what was said before this minute, by one region, with no strong evidence."""
    of = signal([0.0] * 115 + [2.0, 2.0, 2.0, 2.0, 0.0], start_at=at(-120))
    over = ended(20 * MINUTE)
    (found,) = step(of, alarm(of, score=9.0), replace(over, parts=(replace(over.parts[0], state=was),)))
    assert (found.id, found.state) == ("instagram-1", state)


def test_half_a_word_more_makes_it_fire() -> None:
    """Of someone who is as likely to be from elsewhere."""
    of = signal([0.0] * 115 + [2.0, 2.0, 2.0, 2.0, 0.5], start_at=at(-120))
    (part,) = firing().parts
    pending = firing(replace(part, state=State.POSSIBLE), state=IncidentState.PENDING)
    (found,) = step(of, alarm(of, score=9.0), pending)
    assert found.state == "firing"


@pytest.mark.parametrize(("low", "first"), [(-4, "BG"), (-5, "TR")])
def test_a_region_stands_before_another_only_when_its_onset_was_surely_earlier(low: int, first: str) -> None:
    """Bulgaria failed five minutes ago or before; Turkey perhaps in the same minute, or at the earliest in the next."""
    bg = signal([0.0] * 115 + [9.0] * 5, region="BG", start_at=at(-120))
    tr = signal([0.0] * 117 + [9.0] * 3, start_at=at(-120))
    part = RegionPart("TR", State.PROBLEMS, at(-3), at(low), at(-2), 27.0, 0.1, 20.0)
    panels = {"instagram": Panel("instagram", {"BG": bg, "TR": tr})}
    (told,), _ = track([alarm(bg), alarm(tr)], panels, [firing(part)], at(0))
    (joined,) = (one for one in told.incident.parts if one.region == "BG")
    assert joined.onset_high_at == at(-5)
    assert told.incident.regions[0] == first


def talk(now: float, earlier: float = 0.0) -> Signal:
    """Talk that names no service: in the last five minutes, and an hour before."""
    counts = [0.0] * 120
    counts[-5:] = [now / 5] * 5
    counts[-65:-60] = [earlier / 5] * 5
    return signal(counts, service="unnamed", start_at=at(-120))


@pytest.mark.parametrize(("now", "earlier", "its_own"), [(30.0, 0.0, False), (35.0, 0.0, True), (10.0, 90.0, False)])
def test_talk_that_names_no_service_is_its_own_incident_only_while_it_is_the_bigger_one(
    now: float, earlier: float, its_own: bool
) -> None:
    """Thirty write that Instagram fails; what was said before the alarm's window is not about it."""
    named, unnamed = signal([0.0] * 115 + [6.0] * 5, start_at=at(-120)), talk(now, earlier)
    panels = {of.key.service: Panel(of.key.service, {"TR": of}) for of in (named, unnamed)}
    transitions, _ = track([alarm(named), alarm(unnamed)], panels, [], at(0))
    assert ("unnamed" in {told.incident.service for told in transitions}) is its_own


def test_an_incident_of_regions_that_are_watched_no_more_ends_with_its_figures() -> None:
    of = signal([0.0] * 120, start_at=at(-120), region="BG")
    known = firing(authors=40, posts=52)
    (quiet,) = step(of, alarm(of, raised=False), known)
    assert quiet.quiet_since_at == at(0)
    (over,) = step(of, alarm(of, raised=False), quiet, now=at(31))
    assert (over.state, over.authors, over.posts) == (IncidentState.RESOLVED, 40, 52)
