"""Alarms -> incidents: what belongs together, since when, and when it changes state. One open incident a service.

pending   a first alarm
firing    it is raised again and somebody wrote since, or it is strong, or several regions raise it
resolved  nothing was raised for `resolve_after`, or for a third of it when people write that it is back

A detector's longest window goes on raising what is long over: once hardly anybody writes any more, it is not listened to.
Talk that names no service is about what fails by name in the same region, if that is the bigger one. Deaf bins are not quiet
ones: while no region of an incident can be heard its wait stands still. A relapse within an hour continues the same incident.
Everything follows from the arguments, so that a replay gives the same ids and transitions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from listener.types import (
    UNKNOWN_REGION,
    UNNAMED,
    Alarm,
    Floats,
    Incident,
    IncidentState,
    Panel,
    RegionPart,
    Signal,
    State,
    Transition,
)

STRONG = 15.0  # a score about twice what raises an alarm needs no second look
SEVERAL = 2  # regions that raise at once need none either
REOPENS = timedelta(hours=1)
BACK_WITHIN = timedelta(minutes=30)  # `recovered` posts speak for this long
BACK_LEAST = 2.0  # and this many are needed, in expectation
ONSET_BACK = timedelta(hours=3)  # an onset is looked for this far back
ONSET_SURE = 2.0  # log-likelihood lost at the ends of the onset's interval: about 95 %
SURE_POST = 0.7  # what an author adds to `observed` at the least, as a rule; bounds double counting over regions
RECENT = timedelta(minutes=15)
FADED = 0.1  # of the busiest quarter of an hour: less than this is the end of an incident,
SOME, TIMES = 3.0, 3.0  # unless it is more than so many authors on top of so many times the usual
OPEN = (IncidentState.PENDING, IncidentState.FIRING)


def track(
    alarms: Sequence[Alarm],
    panels: Mapping[str, Panel],
    open_: Sequence[Incident],
    now: datetime,
    *,
    resolve_after: timedelta = timedelta(minutes=30),
) -> tuple[list[Transition], list[Incident]]:
    """What changes at `now`, and the incidents that go on with new figures only.

    `open_` holds the pending and firing incidents and those resolved within the last hour. A transition is a change of state
    or a region that joins (`from_state` then equals `to_state`).
    """
    by_service: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in alarms:
        by_service[alarm.key.service].append(alarm)
    transitions: list[Transition] = []
    updated: list[Incident] = []
    for service in sorted(by_service, key=lambda service: (service == UNNAMED, service)):
        before = _current(service, open_, now)
        if service == UNNAMED:
            named = [*updated, *(t.incident for t in transitions)]
            by_service[service] = [_unless_named(alarm, panels[service], named) for alarm in by_service[service]]
        after = _step(before, by_service[service], panels[service], open_, now, resolve_after)
        if after is None:
            continue
        was = before.state if before else None
        joined = before is not None and len(after.parts) > len(before.parts)
        if after.state is not was or joined:
            transitions.append(Transition(f"{after.id}/{now:%Y%m%dT%H%MZ}/{after.state}", now, after, was, after.state))
        else:
            updated.append(after)
    return transitions, updated


def _current(service: str, open_: Sequence[Incident], now: datetime) -> Incident | None:
    """The incident that alarms of a service belong to: the open one, else one that ended within the hour."""
    own = sorted((i for i in open_ if i.service == service), key=lambda i: (i.state in OPEN, i.started_at, i.id))
    if own and (own[-1].state in OPEN or (own[-1].resolved_at is not None and now - own[-1].resolved_at <= REOPENS)):
        return own[-1]
    return None


def _step(
    before: Incident | None,
    alarms: Sequence[Alarm],
    panel: Panel,
    open_: Sequence[Incident],
    now: datetime,
    resolve_after: timedelta,
) -> Incident | None:
    """The incident as it is after this minute's alarms; None when there is none, before or after."""
    if before is not None:
        alarms = [_unless_faded(alarm, panel, before) for alarm in alarms]
    raised = [alarm for alarm in alarms if alarm.raised]
    if before is None or before.state is IncidentState.RESOLVED:
        if not raised:
            return None
        incident = _reopened(before) if before else _opened(raised, panel, open_, now)
    else:
        incident = before
    verdicts = {alarm.key.region: alarm for alarm in alarms}
    known = {part.region for part in incident.parts}
    joining = [_part(alarm, panel) for alarm in raised if alarm.key.region not in known]
    parts = list(incident.parts)
    for part in sorted(joining, key=lambda part: (part.onset_at, part.region)):
        # Noticed later is not failed later; only where the intervals leave no doubt it is put before others.
        place = next((i for i, p in enumerate(parts) if part.onset_high_at < p.onset_low_at), len(parts))
        parts.insert(place, part)
    quiet_since = _quiet_since(incident, raised, verdicts, now)
    state = _state(before, incident, raised, panel, quiet_since, now, resolve_after)
    parts = [_seen(p, verdicts.get(p.region), panel, state, incident.updated_at, now) for p in parts]
    return _counted(
        replace(
            incident,
            state=state,
            parts=tuple(parts),
            started_at=parts[0].onset_at,
            updated_at=(at := max(now, parts[0].onset_at)),
            quiet_since_at=quiet_since,
            resolved_at=at if state is IncidentState.RESOLVED else None,
        ),
        panel,
        incident.updated_at,
    )


def _unless_faded(alarm: Alarm, panel: Panel, incident: Incident) -> Alarm:
    """The alarm, not raised when hardly anybody has written lately."""
    if not alarm.raised:
        return alarm
    signal = panel.signals[alarm.key.region]
    recent = _bins(RECENT, signal)
    began = (incident.started_at - signal.start_at) // signal.bin
    # All counts when it began before the window; or after it, by a clock that was put back.
    counts = signal.observed[began if began in range(len(signal.observed)) else 0 :]
    sums = np.convolve(counts, np.ones(recent))[: len(counts)]
    lately = float(sums[-1])
    goes_on = lately >= FADED * float(sums.max()) or lately >= SOME + TIMES * alarm.expected * recent
    return alarm if goes_on and lately > 0 else replace(alarm, raised=False)


def _unless_named(alarm: Alarm, panel: Panel, named: Sequence[Incident]) -> Alarm:
    """The alarm, not raised when a service that fails by name in its region is talked about more."""
    signal = panel.signals[alarm.key.region]
    seen = float(signal.observed[-_bins(alarm.window, signal) :].sum())
    bigger = any(
        part.region == alarm.key.region and part.observed >= seen
        for incident in named
        if incident.state in OPEN
        for part in incident.parts
    )
    return replace(alarm, raised=False) if alarm.raised and bigger else alarm


def _opened(raised: Sequence[Alarm], panel: Panel, open_: Sequence[Incident], now: datetime) -> Incident:
    parts = sorted((_part(alarm, panel) for alarm in raised), key=lambda part: (part.onset_at, part.region))
    started_at = parts[0].onset_at
    stem = f"{panel.service}-{started_at:%Y%m%dT%H%MZ}"
    taken = {incident.id for incident in open_}
    name, n = stem, 1
    while name in taken:
        n += 1
        name = f"{stem}-{n}"
    return Incident(name, panel.service, IncidentState.PENDING, tuple(parts), started_at, updated_at=started_at)


def _reopened(ended: Incident) -> Incident:
    fired = any(part.state is State.RECOVERING for part in ended.parts)
    return replace(ended, state=IncidentState.FIRING if fired else IncidentState.PENDING, resolved_at=None)


def _state(
    before: Incident | None,
    incident: Incident,
    raised: Sequence[Alarm],
    panel: Panel,
    quiet_since: datetime | None,
    now: datetime,
    resolve_after: timedelta,
) -> IncidentState:
    if raised:
        again = before is not None and any(alarm.observed > 0 for alarm in raised)
        strong = max(alarm.score for alarm in raised) >= STRONG
        if incident.state is IncidentState.FIRING or again or strong or len(raised) >= SEVERAL:
            return IncidentState.FIRING
        return IncidentState.PENDING
    wait = resolve_after / 3 if _is_back(incident, panel) else resolve_after
    if quiet_since is not None and now - quiet_since >= wait:
        return IncidentState.RESOLVED
    return incident.state


def _quiet_since(
    incident: Incident, raised: Sequence[Alarm], verdicts: Mapping[str, Alarm], now: datetime
) -> datetime | None:
    """Since when nothing is raised. What can't be heard is not quiet: that starts the wait anew.

    Regions that are watched no more are left out; when none is left it is quiet. A moment still to come is one of a clock
    that was put back.
    """
    watched = [verdicts[part.region] for part in incident.parts if part.region in verdicts]
    if raised or (watched and not any(verdict.exposure > 0 for verdict in watched)):
        return None
    return min(incident.quiet_since_at or now, now)


def _is_back(incident: Incident, panel: Panel) -> bool:
    """Whether more people write that it is back than that it is gone, in the regions of the incident."""
    back = gone = 0.0
    for part in incident.parts:
        signal = panel.signals.get(part.region)
        if signal is not None:
            back += float(signal.recovered[-_bins(BACK_WITHIN, signal) :].sum())
            gone += float(signal.observed[-_bins(BACK_WITHIN / 3, signal) :].sum())
    return back >= BACK_LEAST and back > gone


def _part(alarm: Alarm, panel: Panel) -> RegionPart:
    signal = panel.signals[alarm.key.region]
    onset, low, high = _onset(signal, alarm)
    return RegionPart(alarm.key.region, State.POSSIBLE, onset, low, high, observed=0.0, expected=0.0, score=0.0)


def _onset(signal: Signal, alarm: Alarm) -> tuple[datetime, datetime, datetime]:
    """The likeliest bin in which the rate rose, and the bins that are nearly as likely (Poisson change point)."""
    length = len(signal.observed)
    first = max(0, length - _bins(ONSET_BACK, signal), length - 2 * _bins(alarm.window, signal) - 1)
    counts = signal.observed[first:]
    mean = np.arange(len(counts), 0, -1) * max(alarm.expected, 1e-3)
    risen = np.maximum(np.cumsum(counts[::-1])[::-1], mean)
    likely: Floats = risen * np.log(risen / mean) - (risen - mean)
    best = int(likely.argmax())
    near = np.flatnonzero(likely >= likely[best] - ONSET_SURE)
    low, high = int(near.min()), int(near.max())
    # The failure may have come right after the bin in which the last ordinary word was heard.
    spoken = np.flatnonzero(counts[:low] > 0)
    low = max(low - 3, int(spoken[-1]) if len(spoken) else 0)
    onset_at, low_at, high_at = (signal.start_at + (first + i) * signal.bin for i in (best, low, high))
    return onset_at, low_at, high_at


def _bins(length: timedelta, of: Signal) -> int:
    """How many bins a length of time is, one at the least."""
    return max(1, length // of.bin)


def _seen(
    part: RegionPart, alarm: Alarm | None, panel: Panel, state: IncidentState, since: datetime, now: datetime
) -> RegionPart:
    """A part with this minute's verdict and with what was observed since its onset."""
    if alarm is None:  # nobody watches that region any more
        return part
    signal = panel.signals[part.region]
    counted_to = part.onset_at if part.score == 0 else since
    bins = max(0, (now - counted_to) // signal.bin)
    observed = _since(signal, signal.observed, part.onset_at, counted_to, part.observed)
    if state is IncidentState.PENDING:
        doing = State.POSSIBLE
    elif alarm.raised:
        doing = State.PROBLEMS
    else:
        doing = part.state if alarm.exposure == 0 or part.state is State.POSSIBLE else State.RECOVERING
    return replace(
        part,
        state=doing,
        observed=round(observed, 6),
        expected=round(part.expected + alarm.expected * bins, 6),
        score=max(part.score, alarm.score),
    )


def _since(signal: Signal, values: Floats, start_at: datetime, counted_to: datetime, before: float) -> float:
    """The sum since `start_at`: over again while the panel reaches back that far, so that late posts count, else added on."""
    if start_at >= signal.start_at:
        return float(values[(start_at - signal.start_at) // signal.bin :].sum())
    return before + float(values[max(0, (counted_to - signal.start_at) // signal.bin) :].sum())


def _counted(incident: Incident, panel: Panel, counted_to: datetime) -> Incident:
    """Figures over all regions. Someone whose region is unsure is in several signals; `observed` tells how many there can be."""
    named = [part for part in incident.parts if part.region != UNKNOWN_REGION] or list(incident.parts)
    signals = [panel.signals[part.region] for part in named if part.region in panel.signals]
    observed = sum(part.observed for part in incident.parts)
    figures: dict[str, int] = {}
    for name in ("authors", "posts"):
        sums = [_since(s, getattr(s, name), incident.started_at, counted_to, 0.0) for s in signals]
        whole = bool(signals) and all(incident.started_at >= s.start_at for s in signals)
        some = min(sum(sums), max([*sums, math.ceil(observed / SURE_POST)]))
        figures[name] = round(some) if whole else getattr(incident, name) + round(some)
    return replace(
        incident,
        observed=round(observed, 6),
        expected=round(sum(part.expected for part in incident.parts), 6),
        authors=figures["authors"],
        posts=figures["posts"],
    )
