"""Who is told what, and when: decided from the rules alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from listener import words
from listener.catalog import default_root
from listener.messages import Scribe
from listener.telling import Rules, Verdict, is_quiet, plan
from listener.types import Incident, IncidentState, RegionPart, State, Transition
from tests.builders import at, mention

NIGHT = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
MORNING = datetime(2026, 3, 3, 8, 0, tzinfo=UTC)


def incident(*regions: str, service: str = "instagram", began: datetime | None = None, **changes: object) -> Incident:
    began = began or at(0)
    parts = tuple(
        RegionPart(code, State.PROBLEMS, began + timedelta(minutes=n), began, began, 5.0, 0.5, 20.0)
        for n, code in enumerate(regions or ("TR",))
    )
    made = Incident(
        f"{service}-1", service, IncidentState.FIRING, parts, began, began, cause={"outage": 0.9, "block": 0.1}
    )
    return replace(made, observed=20.0, expected=0.5, authors=23, **changes)  # type: ignore[arg-type]


def change(
    to: str, *, of: Incident | None = None, since: str | None = None, moment: datetime | None = None
) -> Transition:
    moment = moment or at(10)
    of = of or incident()
    ended = moment if to == "resolved" else None
    now = replace(of, state=IncidentState(to), updated_at=moment, resolved_at=ended)
    return Transition(
        f"{of.id}/{moment:%H%M}/{to}", moment, now, IncidentState(since) if since else None, IncidentState(to)
    )


def verdicts(transitions: list[Transition], rules: Rules, now: datetime, known: tuple[str, ...] = ()) -> list[str]:
    return [step.reason or str(step.verdict) for step in plan(transitions, known, rules, now)]


def test_by_default_sure_incidents_their_growth_and_their_end_are_told() -> None:
    course = [
        change("pending", moment=at(1)),
        change("firing", since="pending", moment=at(2)),
        change("firing", since="firing", of=incident("TR", "BG"), moment=at(5)),
        change("resolved", since="firing", moment=at(60)),
    ]
    assert verdicts(course, Rules(), at(61)) == ["not_yet", "send", "send", "send"]
    assert verdicts(course, Rules(from_state="pending"), at(61)) == ["send"] * 4
    assert verdicts(course, Rules(updates=False), at(61)) == ["not_yet", "send", "not_wanted", "send"]
    assert verdicts(course, Rules(resolved=False), at(61)) == ["not_yet", "send", "send", "not_wanted"]


def test_nobody_is_told_that_it_is_over_who_was_not_told_that_it_began() -> None:
    over = change("resolved", since="pending")
    assert verdicts([over], Rules(), at(20)) == ["never_told"]
    assert verdicts([over], Rules(), at(20), known=("instagram-1",)) == ["send"]


def test_only_wanted_services_and_regions_are_told() -> None:
    told = [change("firing"), change("firing", of=incident("BG", service="viber"))]
    assert verdicts(told, Rules(services=("viber",)), at(20)) == ["not_wanted", "send"]
    assert verdicts(told, Rules(regions=("TR",)), at(20)) == ["send", "not_wanted"]


def test_in_quiet_hours_everything_waits_and_then_only_the_newest_word_is_told() -> None:
    rules = Rules(quiet="22:00-07:00", zone="UTC")
    night = [
        change("firing", moment=NIGHT),
        change("firing", since="firing", of=incident("TR", "BG"), moment=NIGHT + timedelta(minutes=9)),
        change("resolved", since="firing", moment=NIGHT + timedelta(hours=2)),
    ]
    assert verdicts(night, rules, NIGHT + timedelta(hours=3)) == ["quiet_hours"] * 3
    assert verdicts(night, rules, MORNING) == ["superseded", "superseded", "send"]
    assert plan(night, (), rules, MORNING)[2].verdict is Verdict.SEND


def test_quiet_hours_are_those_of_the_readers_zone() -> None:
    rules = Rules(quiet="23:00-07:00", zone="Europe/Istanbul")
    assert verdicts([change("firing")], rules, datetime(2026, 3, 2, 21, 0, tzinfo=UTC)) == ["quiet_hours"]
    assert verdicts([change("firing")], rules, datetime(2026, 3, 2, 19, 0, tzinfo=UTC)) == ["send"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"from_state": "loud"}, "neither pending nor firing"),
        ({"quiet": "23-7"}, "not of the form 23:00-07:00"),
        ({"zone": "Mars/Olympus"}, "is unknown"),
    ],
)
def test_a_wrong_rule_is_named(rules: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(**rules)  # type: ignore[arg-type]


def scribe(language: str = "en") -> Scribe:
    rules = Rules(language=language, zone="Europe/Istanbul")
    return Scribe(rules, words.load(default_root()), {"instagram": "Instagram"}, "https://l.example")


def test_a_message_says_what_where_since_when_how_sure_and_shows_three_posts() -> None:
    said = [
        mention("instagram çöktü mü", id="t:1"),
        mention("instagram çöktü mü", id="t:2"),
        mention("пак ли падна инстаграм", id="t:3", minutes=1),
        mention("insta down for anyone else?", id="t:4", minutes=2),
        mention("bende açılmıyor", id="t:5", minutes=3),
    ]
    message = scribe().told(change("firing", of=incident("TR", "BG", "ZZ")), said)
    assert message.title == "▲ Instagram: problems in Turkey, Bulgaria"
    assert "Since 2026-03-02 15:00 +03, reported by about 23 people" in message.body
    assert "Likely cause: an outage of the service (90%)" in message.body
    assert message.link == "https://l.example/incidents/instagram-1"
    assert [one.text for one in message.evidence] == sorted(
        {one.text for one in message.evidence}, key=[m.post.text for m in said].index
    )
    assert len(message.evidence) == 3


def test_the_same_transition_always_has_the_same_id_and_a_reminder_another() -> None:
    firing = change("firing")
    assert scribe().told(firing, []).id == scribe("en").told(firing, []).id
    assert scribe().told(firing, [], repeated_at=at(200)).id != scribe().told(firing, []).id
    assert "still" in scribe().told(firing, [], repeated_at=at(200)).title


def test_a_long_list_of_regions_is_cut_short() -> None:
    many = incident("TR", "BG", "GR", "RS", "HR", "SI")
    assert scribe().told(change("firing", of=many), []).title.endswith("Turkey, Bulgaria, Greece, Serbia and 2 more")


@pytest.mark.parametrize(
    ("quiet", "still", "again"),
    [("22:00-07:00", ("22:00", "06:59"), ("21:59", "07:00")), ("01:00-06:30", ("01:00", "06:29"), ("00:59", "06:30"))],
)
def test_quiet_hours_begin_with_their_first_minute_and_end_before_their_last(
    quiet: str, still: tuple[str, ...], again: tuple[str, ...]
) -> None:
    for moment in (*still, *again):
        now = datetime.combine(NIGHT.date(), time.fromisoformat(moment), UTC)
        assert is_quiet(Rules(quiet=quiet), now) is (moment in still), moment


def test_hours_that_end_when_they_begin_are_no_quiet_hours() -> None:
    assert not any(is_quiet(Rules(quiet="07:00-07:00"), NIGHT + n * timedelta(minutes=30)) for n in range(48))
