"""A day in a store as if the daemon had lived it: incidents open and over, posts, what was usual, sources. All invented."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from listener.store import Store
from listener.types import (
    Expected,
    Hearing,
    Incident,
    IncidentState,
    Mention,
    Point,
    RegionPart,
    SeriesKey,
    SourceHealth,
    State,
    Tier,
    Transition,
)
from tests.builders import MINUTE, at, mention

NOW = at(95)
HOUR = timedelta(hours=1)
SERVICES: Mapping[str, str] = {
    "instagram": "Instagram",
    "whatsapp": "WhatsApp",
    "facebook": "Facebook",
    "youtube": "YouTube",
    "tiktok": "TikTok",
    "x": "X",
    "telegram": "Telegram",
    "spotify": "Spotify",
    "ziraat": "Ziraat Bankası",
    "sbb": "SBB",
    "unnamed": "No service named",
}
REGIONS: Mapping[str, str] = {
    "AL": "Albania",
    "BA": "Bosnia and Herzegovina",
    "BG": "Bulgaria",
    "GR": "Greece",
    "HR": "Croatia",
    "ME": "Montenegro",
    "MK": "North Macedonia",
    "RO": "Romania",
    "RS": "Serbia",
    "SI": "Slovenia",
    "TR": "Turkey",
    "XK": "Kosovo",
    "ZZ": "elsewhere or unknown",
}
TEXTS = {
    "TR": ("instagram çöktü mü, giremiyorum", "sizde de hikayeler açılmıyor mu"),
    "BG": ("инстаграм не работи от половин час", "пак ли падна инстаграм"),
    "GR": ("έπεσε το instagram; δεν ανοίγει τίποτα", "μόνο σε μένα δεν φορτώνει;"),
    "RS": ("jel pao instagram ili je samo do mene", "не ради ми инстаграм, избацује грешку"),
    "ZZ": ("is instagram down for anyone else?",),
}
LANGUAGES = {"TR": "tr", "BG": "bg", "GR": "el", "RS": "sr", "ZZ": "en"}
DIGESTS = {"model": "sha256:" + "4f" * 32, "config": "sha256:" + "a1" * 32}


def part(region: str, state: State, onset: float, observed: float, expected: float = 0.6) -> RegionPart:
    """`onset` in minutes after noon, known to within three."""
    return RegionPart(region, state, at(onset), at(onset - 2), at(onset + 3), observed, expected, 20.0)


def incident(
    service: str,
    state: IncidentState,
    parts: tuple[RegionPart, ...],
    start: float = 2.0,
    *,
    resolved: float | None = None,
    authors: int = 20,
    cause: dict[str, float] | None = None,
) -> Incident:
    end = None if resolved is None else at(resolved)
    return Incident(
        id=f"{service}-{at(start):%Y%m%dT%H%MZ}",
        service=service,
        state=state,
        parts=parts,
        started_at=at(start),
        updated_at=end or NOW,
        resolved_at=end,
        cause=cause or {"outage": 0.86, "block": 0.07, "network": 0.05, "other": 0.02},
        cause_evidence=("several countries at once", "several things fail, login among them"),
        observed=sum(part.observed for part in parts),
        expected=sum(part.expected for part in parts),
        authors=authors,
        posts=authors + 9,
        model=DIGESTS["model"],
        config=DIGESTS["config"],
    )


OPEN = incident(
    "instagram",
    IncidentState.FIRING,
    (
        part("TR", State.PROBLEMS, 2, 96, 1.4),
        part("BG", State.PROBLEMS, 5, 31),
        part("GR", State.RECOVERING, 7, 22),
        part("RS", State.POSSIBLE, 10, 9),
        part("ZZ", State.POSSIBLE, 11, 4),
    ),
    authors=162,
)
MAYBE = incident("ziraat", IncidentState.PENDING, (part("TR", State.POSSIBLE, 80, 5, 0.4),), 80, authors=6)
OVER = (
    incident("sbb", IncidentState.RESOLVED, (part("RS", State.QUIET, -230, 15),), -230, resolved=-125),
    incident(
        "x",
        IncidentState.RESOLVED,
        (part("TR", State.QUIET, -1300, 29),),
        -1300,
        resolved=-1180,
        cause={"block": 0.91, "outage": 0.09},
    ),
)


def changes(of: Incident) -> list[Transition]:
    """How the incident came to be as it is."""
    first = of.parts[:1]
    began = replace(of, state=IncidentState.PENDING, parts=first, resolved_at=None, updated_at=of.started_at)
    made = [Transition(f"{of.id}/1", of.started_at, began, None, IncidentState.PENDING)]
    if of.state is not IncidentState.PENDING:
        sure = replace(began, state=IncidentState.FIRING, parts=of.parts[:2], updated_at=of.started_at + 4 * MINUTE)
        made.append(Transition(f"{of.id}/2", sure.updated_at, sure, IncidentState.PENDING, IncidentState.FIRING))
        if of.parts[2:]:
            wide = replace(sure, parts=of.parts, updated_at=of.started_at + 9 * MINUTE)
            made.append(Transition(f"{of.id}/3", wide.updated_at, wide, IncidentState.FIRING, IncidentState.FIRING))
    if of.resolved_at is not None:
        made.append(Transition(f"{of.id}/4", of.resolved_at, of, IncidentState.FIRING, IncidentState.RESOLVED))
    return made


def points(seed: int = 7) -> Iterator[Point]:
    """Two days of every series: thin chatter that follows the hour, and the bursts of the incidents."""
    rng = random.Random(seed)
    bursts = {SeriesKey(i.service, p.region): (i, p) for i in (OPEN, MAYBE, *OVER) for p in i.parts}
    for rank, service in enumerate(SERVICES):
        for region in REGIONS:
            key = SeriesKey(service, region)
            rate = 0.03 / (1 + rank) * (4 if region == "TR" else 1)
            for minute in range(-2 * 24 * 60 + 95, 95):
                now = rate * (1.2 + math.sin(minute / 229.0))
                if (burst := bursts.get(key)) is not None:
                    of, here = burst
                    end = of.resolved_at or NOW
                    if here.onset_at <= at(minute) < end:
                        now += here.observed / ((end - here.onset_at) / MINUTE)
                count = sum(rng.random() < now / 4 for _ in range(4)) if now < 0.8 else round(now + rng.random())
                if count:
                    observed = count * rng.uniform(0.7, 0.98)
                    fails = "login" if rng.random() < 0.6 else "feed"
                    labels = (
                        ("report", observed * 0.8),
                        ("question", observed * 0.2),
                        (f"symptom:{fails}", observed * 0.5),
                    )
                    excluded = (("same_author", 1),) if rng.random() < 0.2 else ()
                    yield Point(key, at(minute), observed, count + len(excluded), count, 0.0, labels, excluded)


def expected() -> Iterator[Expected]:
    for rank, service in enumerate(SERVICES):
        for region in REGIONS:
            for hour in range(-48, 2):
                mean = 60 * 0.03 / (1 + rank) * (4 if region == "TR" else 1)
                yield Expected(SeriesKey(service, region), at(60 * hour), mean, mean + 2.5 * math.sqrt(mean) + 0.5)


def mentions() -> Iterator[Mention]:
    """The posts of the open incident, with the press, the company and a measurement after them."""
    number = 0
    for minute in range(2, 95):
        for region, texts in TEXTS.items():
            number += 1
            made = mention(
                f"{texts[number % len(texts)]} {'ya ' * (number % 4)}".strip(),
                id=f"bluesky:{number}",
                minutes=minute,
                region=region,
                chatter=0.55 + 0.44 * ((number * 37 % 100) / 100),
                label="question" if number % 3 == 0 else "report",
                symptom="login" if number % 2 else "feed",
                url=f"https://social.example/{number}",
            )
            yield replace(made, language=replace(made.language, code=LANGUAGES[region]))
    press = {"press-tr": Tier.PRESS, "meta-status": Tier.OFFICIAL, "probe": Tier.MEASURED}
    for n, (source, tier) in enumerate(press.items()):
        text = f"Instagram: reports of problems ({source})"
        yield mention(text, id=f"{source}:1", minutes=40 + n, label="relay", tier=tier)


def health() -> Iterator[SourceHealth]:
    for n, name in enumerate(("bluesky", "mastodon", "press-tr", "press-rs", "forum-bg", "appstore-gr", "press-ro")):
        region = "" if n < 2 else name[-2:].upper()
        yield SourceHealth(name, "rss" if n > 1 else name, region, at(94), at(90 - n), posts=900 - 100 * n)
    yield SourceHealth("forum-hr", "rss", "HR", at(-60), at(-70), 4, "status_503", at(120), 70)
    yield SourceHealth("press-mk", "rss", "MK", errors_in_a_row=9, reason="unreachable", next_try_at=at(150))
    yield SourceHealth("meta-status", "statuspage")


def noticed() -> dict[str, object]:
    """What the watcher worked out twenty minutes ago: a big country needs more people, and Kosovo was deaf."""
    made: dict[str, object] = {}
    for rank, service in enumerate(SERVICES):
        figures = {code: (max(4, (19 if code == "TR" else 7) - rank), 0.97) for code in REGIONS}
        made[service] = {"at": at(75).isoformat(), "regions": {**figures, "XK": (None, 0.0)}}
    return made


def live_a_day(store: Store) -> None:
    """Write it all down."""
    with store.transaction() as tx:
        tx.add_mentions(list(mentions()))
        tx.put_points(list(points()))
        tx.put_expected(list(expected()))
        for one in (*OVER, OPEN, MAYBE):
            tx.put_transitions(changes(one))
            tx.put_incidents([one])
        tx.add_hearing([Hearing("bluesky", at(minute), 40, up=True) for minute in range(95)])
        tx.add_dropped("bluesky", f"{NOW:%Y-%m-%d}", {"no_match": 4210, "no_text": 12})
        tx.put_health(list(health()))
        tx.set_mark("hearing_now", json.dumps({**dict.fromkeys(REGIONS, 0.97), "MK": 0.05, "AL": 0.6, "XK": 0.0}))
        tx.set_mark("noticed", json.dumps(noticed()))
        tx.set_mark("watched", NOW.isoformat())


def began(now: datetime, service: str = "whatsapp", region: str = "RO") -> Transition:
    """Something new: problems that begin now."""
    here = RegionPart(region, State.PROBLEMS, now, now - MINUTE, now + MINUTE, 14.0, 0.3, 18.0)
    made = replace(
        incident(service, IncidentState.FIRING, (here,), authors=17),
        id=f"{service}-{now:%Y%m%dT%H%MZ}",
        started_at=now,
        updated_at=now,
    )
    return Transition(f"{made.id}/1", now, made, None, IncidentState.FIRING)
