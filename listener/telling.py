"""Who is told what, and when: rules on transitions, decided without touching anything. `outbox` carries it out.

An incident is told from the state on that a channel asks for, again when regions join, and once more when it is over, if it
was told at all. In quiet hours everything waits; afterwards only the newest word on each incident is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from listener.kinds import option
from listener.types import IncidentState, Transition

_HOURS = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")


@dataclass(frozen=True)
class Rules:
    """What a channel is told; keys of any `[[channel]]` table."""

    services: tuple[str, ...] = option((), "only these services; empty = all")
    regions: tuple[str, ...] = option((), "only incidents in one of these regions; empty = all")
    from_state: str = option("firing", "tell from this state on: firing, or pending to hear of what may be nothing")
    updates: bool = option(True, "tell again when more regions join")
    resolved: bool = option(True, "tell when it is over")
    quiet: str = option(
        "", "hours in which nothing is told, such as 23:00-07:00; the newest word waits until they are over"
    )
    zone: str = option("UTC", "time zone of these hours and of the times in messages, such as Europe/Istanbul")
    repeat: timedelta = option(timedelta(0), "tell an incident that goes on again after this time; 0s = never")
    heartbeat: timedelta = option(
        timedelta(0), "say that all is well this often, so that silence means death; 0s = never"
    )
    language: str = option("en", "language of the messages: a file name under data/interface")

    def __post_init__(self) -> None:
        if self.from_state not in (IncidentState.PENDING, IncidentState.FIRING):
            raise ValueError(f"from_state {self.from_state!r} is neither pending nor firing")
        if self.quiet:
            _hours(self.quiet)
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"zone {self.zone!r} is unknown") from error


class Verdict(StrEnum):
    SEND = "send"
    SKIP = "skip"
    WAIT = "wait"


@dataclass(frozen=True)
class Step:
    """What to do about one transition, and why not when it is not sent."""

    transition: Transition
    verdict: Verdict
    reason: str = ""


def plan(untold: Sequence[Transition], known: Collection[str], rules: Rules, now: datetime) -> list[Step]:
    """One step per transition, in order. `known` holds the incidents this channel was told of before."""
    told = set(known)
    newest = {transition.incident.id: transition.id for transition in untold if _wanted(transition, rules)}
    steps = []
    for transition in untold:
        incident = transition.incident.id
        reason = _why_not(transition, told, rules)
        if reason:
            steps.append(Step(transition, Verdict.SKIP, reason))
        elif is_quiet(rules, now):
            steps.append(Step(transition, Verdict.WAIT, "quiet_hours"))
            told.add(incident)
        elif is_quiet(rules, transition.at) and newest.get(incident, transition.id) != transition.id:
            steps.append(Step(transition, Verdict.SKIP, "superseded"))
            told.add(incident)  # the newest will be told, also when it says that it is over
        else:
            steps.append(Step(transition, Verdict.SEND))
            told.add(incident)
    return steps


def _wanted(transition: Transition, rules: Rules) -> bool:
    incident = transition.incident
    return (not rules.services or incident.service in rules.services) and (
        not rules.regions or not set(rules.regions).isdisjoint(incident.regions)
    )


def _why_not(transition: Transition, told: Collection[str], rules: Rules) -> str:
    if not _wanted(transition, rules):
        return "not_wanted"
    if transition.to_state is IncidentState.RESOLVED:
        if transition.incident.id not in told:
            return "never_told"
        return "" if rules.resolved else "not_wanted"
    if transition.to_state is IncidentState.PENDING and rules.from_state == IncidentState.FIRING:
        return "not_yet"
    if transition.from_state is transition.to_state and not rules.updates and transition.incident.id in told:
        return "not_wanted"
    return ""


def is_quiet(rules: Rules, at: datetime) -> bool:
    """Whether an instant lies in the channel's quiet hours."""
    if not rules.quiet:
        return False
    begin, end = _hours(rules.quiet)
    local = at.astimezone(ZoneInfo(rules.zone)).time()
    return begin <= local < end if begin <= end else local >= begin or local < end


def _hours(text: str) -> tuple[time, time]:
    found = _HOURS.fullmatch(text)
    if not found:
        raise ValueError(f"quiet {text!r} is not of the form 23:00-07:00")
    hour, minute, until_hour, until_minute = (int(part) for part in found.groups())
    return time(hour, minute), time(until_hour, until_minute)
