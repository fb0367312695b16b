"""An incident's life: from a first alarm to the last word, over one and over several regions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from listener.incidents import track
from listener.types import Alarm, Incident, IncidentState, Panel, SeriesKey, State, Transition
from tests.builders import MINUTE, at, signal

LENGTH = 120
HALF_HOUR = timedelta(minutes=30)


@dataclass
class World:
    """Minute by minute: counts, and which regions raise an alarm. `watch` is one tick."""

    counts: dict[str, list[float]] = field(default_factory=dict)
    recovered: dict[str, list[float]] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    told: list[Transition] = field(default_factory=list)
    minute: int = 0
    service: str = "instagram"

    def watch(
        self,
        raised: dict[str, float] | None = None,
        *,
        score: float = 9.0,
        back: float = 0.0,
        deaf: bool = False,
        minutes: int = 1,
    ) -> list[Transition]:
        """`raised`: region -> posts this minute, all raised; the other regions are quiet."""
        made: list[Transition] = []
        for _ in range(minutes):
            made += self._tick(raised or {}, score, back, deaf)
        return made

    def _tick(self, raised: dict[str, float], score: float, back: float, deaf: bool) -> list[Transition]:
        alarms = []
        signals = {}
        for region in ("BG", "TR", "ZZ"):
            seen = self.counts.setdefault(region, [0.0] * LENGTH)
            words = self.recovered.setdefault(region, [0.0] * LENGTH)
            seen.append(raised.get(region, 0.0))
            words.append(back if region == "TR" else 0.0)
            start = at(self.minute - LENGTH)
            signals[region] = signal(
                seen[-LENGTH:], service=self.service, region=region, recovered=words[-LENGTH:], start_at=start
            )
            up = region in raised
            alarms.append(
                Alarm(
                    SeriesKey(self.service, region),
                    at(self.minute - 1),
                    observed=raised.get(region, 0.0),
                    expected=0.05,
                    upperbound=1.0,
                    score=score if up else 0.5,
                    raised=up,
                    window=5 * MINUTE,
                    exposure=0.0 if deaf else 1.0,
                )
            )
        panels = {self.service: Panel(self.service, signals)}
        now = at(self.minute)
        transitions, updated = track(alarms, panels, list(self.incidents.values()), now, resolve_after=HALF_HOUR)
        assert track(alarms, panels, list(self.incidents.values()), now) == (transitions, updated)
        self.incidents |= {i.id: i for i in [*updated, *(t.incident for t in transitions)]}
        self.told += transitions
        self.minute += 1
        return transitions

    @property
    def only(self) -> Incident:
        (incident,) = self.incidents.values()
        return incident

    @property
    def doing(self) -> list[State]:
        return [part.state for part in self.only.parts]


def states(transitions: list[Transition]) -> list[tuple[str | None, str]]:
    return [(t.from_state and t.from_state.value, t.to_state.value) for t in transitions]


def test_a_first_alarm_is_pending_and_the_next_word_makes_it_fire() -> None:
    world = World()
    assert world.watch() == []
    world.watch({"TR": 3.0})
    assert world.doing == [State.POSSIBLE]
    assert world.watch({"TR": 0.0}) == []  # raised by the same posts still
    world.watch({"TR": 2.0})
    assert states(world.told) == [(None, "pending"), ("pending", "firing")]
    assert world.doing == [State.PROBLEMS]
    assert world.only.id == "instagram-20260302T1200Z"
    assert [t.id for t in world.told] == [
        "instagram-20260302T1200Z/20260302T1201Z/pending",
        "instagram-20260302T1200Z/20260302T1203Z/firing",
    ]


def test_strong_evidence_or_several_regions_fire_at_once() -> None:
    strong = World()
    strong.watch({"TR": 30.0}, score=40.0)
    several = World()
    several.watch({"TR": 3.0, "BG": 3.0})
    assert states(strong.told) == states(several.told) == [(None, "firing")]


def test_it_says_nothing_more_until_something_changes() -> None:
    world = World()
    world.watch({"TR": 4.0}, score=20.0)
    assert world.watch({"TR": 4.0}, minutes=20) == []
    assert world.only.observed == 84.0
    assert (world.only.authors, world.only.posts) == (84, 84)
    assert round(world.only.expected, 2) == 1.05


def test_a_region_that_joins_is_told_and_stands_in_order_of_onset() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0)
    world.watch({"TR": 9.0}, minutes=4)
    (joined,) = world.watch({"BG": 5.0, "TR": 9.0})
    assert states([joined]) == [("firing", "firing")]
    assert joined.incident.regions == ("TR", "BG")
    tr, bg = joined.incident.parts
    assert (tr.onset_at, bg.onset_at) == (at(0) - MINUTE, at(4))
    assert all(part.onset_low_at <= part.onset_at <= part.onset_high_at for part in (tr, bg))
    assert joined.incident.observed == 59.0


def test_a_region_that_is_noticed_later_but_failed_earlier_stands_first() -> None:
    world = World()
    world.watch()
    world.counts["BG"][-8:] = [2.0] * 8  # heard, and not enough for an alarm yet
    (first,) = world.watch({"TR": 9.0}, score=20.0)
    assert first.incident.regions == ("TR",)
    (joined,) = world.watch({"TR": 9.0, "BG": 2.0}, score=20.0)
    assert joined.incident.regions == ("BG", "TR")
    assert joined.incident.started_at == joined.incident.parts[0].onset_at < first.incident.started_at
    assert joined.incident.id == first.incident.id


def test_it_ends_after_half_an_hour_of_quiet() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0, minutes=10)
    assert world.watch(minutes=30) == []
    assert world.doing == [State.RECOVERING]
    (ended,) = world.watch()
    assert states([ended]) == [("firing", "resolved")]
    assert ended.incident.resolved_at == ended.at
    assert ended.incident.observed == 90.0


def test_people_who_write_that_it_is_back_end_it_sooner() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0, minutes=10)
    told = world.watch(back=0.5, minutes=20)
    assert states(told) == [("firing", "resolved")]
    assert told[0].at <= at(21)


def test_what_is_long_over_does_not_go_on_because_the_longest_window_still_holds_it() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0, minutes=30)
    told = world.watch({"TR": 0.0}, minutes=50)  # raised still, but nobody writes
    assert states(told) == [("firing", "resolved")]
    assert at(30 + 30) <= told[0].at <= at(30 + 46)
    assert world.watch({"TR": 0.0}, minutes=20) == []  # nor does it come back by itself


def test_an_outage_that_many_still_write_about_is_not_over_because_more_did_before() -> None:
    world = World()
    world.watch({"TR": 90.0}, score=20.0, minutes=15)
    assert world.watch({"TR": 2.0}, minutes=90) == []
    assert world.only.state is IncidentState.FIRING


def test_one_that_is_written_about_seldom_goes_on_while_it_is() -> None:
    world = World()
    world.watch({"TR": 2.0})
    world.watch({"TR": 1.0})
    for _ in range(6):
        world.watch({"TR": 0.0}, minutes=19)
        world.watch({"TR": 1.0})
    assert world.only.state is IncidentState.FIRING


def test_silence_of_the_sources_does_not_end_it() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0, minutes=10)
    assert world.watch(deaf=True, minutes=60) == []
    assert world.only.state is IncidentState.FIRING
    assert states(world.watch(minutes=31)) == [("firing", "resolved")]


def test_a_relapse_within_the_hour_continues_the_same_incident() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0, minutes=5)
    world.watch(minutes=60)
    relapse = world.watch({"TR": 9.0})
    assert states(relapse) == [("resolved", "firing")]
    assert len(world.incidents) == 1
    assert world.only.resolved_at is None


def test_a_relapse_after_hours_is_a_new_incident_with_its_own_name() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0, minutes=5)
    world.watch(minutes=150)
    world.watch({"TR": 9.0}, score=20.0)
    assert len(world.incidents) == 2


def test_two_incidents_never_share_a_name() -> None:
    world = World()
    world.watch({"TR": 9.0}, score=20.0)
    first = world.only
    old = replace(first, state=IncidentState.RESOLVED, resolved_at=at(0) - timedelta(hours=2))
    again = World(incidents={old.id: old})
    again.watch({"TR": 9.0}, score=20.0)
    assert sorted(again.incidents) == [first.id, f"{first.id}-2"]


def test_someone_whose_region_is_unsure_is_not_counted_twice() -> None:
    world = World()
    world.watch({"TR": 30.0, "ZZ": 30.0}, score=20.0)
    assert world.only.regions == ("TR", "ZZ")
    assert world.only.posts == 30


def test_services_are_told_apart() -> None:
    one, two = World(), World(service="whatsapp")
    one.watch({"TR": 9.0}, score=20.0)
    two.incidents |= one.incidents
    two.watch({"TR": 9.0}, score=20.0)
    assert {i.service for i in two.incidents.values()} == {"instagram", "whatsapp"}


def both(named: float, unnamed: float, region: str = "TR", open_: tuple[Incident, ...] = ()) -> set[str]:
    """The services of the incidents that so many posts about Instagram in TR and so many about nothing named give."""
    alarms, panels = [], {}
    for service, where, count in (("instagram", "TR", named), ("unnamed", region, unnamed)):
        one = signal([0.0] * 115 + [count / 5] * 5, service=service, region=where, start_at=at(-120))
        panels[service] = Panel(service, {where: one})
        alarms.append(Alarm(one.key, at(-1), count / 5, 0.05, 1.0, 20.0, raised=count > 0, window=5 * MINUTE))
    transitions, updated = track(alarms, panels, open_, at(0))
    return {incident.service for incident in [*updated, *(t.incident for t in transitions)]}


def test_talk_that_names_no_service_is_about_the_one_that_fails_by_name() -> None:
    assert both(30, 12) == {"instagram"}


def test_talk_that_names_no_service_is_an_incident_where_nothing_bigger_fails_by_name() -> None:
    assert both(0, 12) == {"unnamed"}
    assert both(5, 40) == {"instagram", "unnamed"}
    assert both(30, 12, region="BG") == {"instagram", "unnamed"}
