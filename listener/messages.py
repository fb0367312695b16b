"""Transitions in words: title, text, link and the posts they rest on, in the language of those who are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from listener.channels import Evidence, Message
from listener.kinds import show_duration
from listener.telling import Rules
from listener.types import CHATTER, UNKNOWN_REGION, IncidentState, Mention, Transition
from listener.words import FALLBACK, Words

QUOTED = 3  # posts
LONGEST = 200  # characters of each
NAMED = 4  # regions in a title


@dataclass(frozen=True)
class Scribe:
    """Writes messages for one channel."""

    rules: Rules
    words: Mapping[str, Words]
    services: Mapping[str, str]  # id -> name
    base: str = ""  # where the dashboard is, as others reach it

    @property
    def _said(self) -> Words:
        return self.words.get(self.rules.language, self.words[FALLBACK])

    def told(
        self, transition: Transition, mentions: Sequence[Mention], *, repeated_at: datetime | None = None
    ) -> Message:
        """The message of a transition, or of its repetition."""
        incident, said = transition.incident, self._said
        name = self.services.get(incident.service, incident.service)
        regions = self._regions(transition)
        kind = "repeated" if repeated_at else str(transition.to_state)
        if not repeated_at and transition.from_state is transition.to_state:
            kind = "joined"
        at = self._clock(incident.started_at)
        if incident.resolved_at is not None:
            end = self._clock(incident.resolved_at)
            lines = [said.of("messages", "lasted").format(start=at, end=end, count=incident.authors)]
        else:
            times = f"{incident.observed / max(incident.expected, 0.1):.0f}"
            lines = [said.of("messages", "since").format(at=at, count=incident.authors, times=times)]
        if incident.cause:
            cause, share = max(incident.cause.items(), key=lambda pair: pair[1])
            lines.append(said.of("messages", "cause").format(cause=said.of("causes", cause), share=f"{share:.0%}"))
        if len(incident.parts) > 1:
            parts = sorted(incident.parts, key=lambda part: (part.onset_at, part.region))
            order = ", ".join(
                f"{said.of('regions', p.region)} {self._clock(p.onset_at, short=True)}" for p in parts[:8]
            )
            lines.append(said.of("messages", "order").format(order=order))
        evidence = _evidence(mentions) if transition.to_state is not IncidentState.RESOLVED else ()
        lines += [f"“{one.text}” ({one.source}, {one.language})" for one in evidence]
        suffix = f"/{repeated_at:%Y%m%dT%H%MZ}" if repeated_at else ""
        return Message(
            id=f"{transition.id}{suffix}",
            at=repeated_at or transition.at,
            title=said.of("messages", kind).format(service=name, regions=regions),
            body="\n".join(lines),
            link=f"{self.base}/incidents/{incident.id}" if self.base else "",
            transition=transition,
            evidence=evidence,
        )

    def heartbeat(self, at: datetime, well: int, sources: int, ongoing: int) -> Message:
        """That all is well, or how well."""
        said = self._said
        every = show_duration(self.rules.heartbeat)
        return Message(
            id=f"heartbeat/{at:%Y%m%dT%H%MZ}",
            at=at,
            title=said.of("messages", "heartbeat").format(well=well, all=sources, count=ongoing),
            body=said.of("messages", "heartbeat_body").format(every=every),
            link=f"{self.base}/" if self.base else "",
        )

    def _regions(self, transition: Transition) -> str:
        """The regions by name, the unknown one only when there is no other."""
        codes = [code for code in transition.incident.regions if code != UNKNOWN_REGION] or [UNKNOWN_REGION]
        said = self._said
        named = ", ".join(said.of("regions", code) for code in codes[:NAMED])
        more = len(codes) - NAMED
        return said.of("messages", "and_more").format(regions=named, count=more) if more > 0 else named

    def _clock(self, at: datetime, *, short: bool = False) -> str:
        local = at.astimezone(ZoneInfo(self.rules.zone))
        return f"{local:%H:%M}" if short else f"{local:%Y-%m-%d %H:%M} {local.tzname()}"


def _evidence(mentions: Sequence[Mention]) -> tuple[Evidence, ...]:
    """The surest posts of as many languages as there are, each text once."""
    surest = sorted(
        (m for m in mentions if m.post.text and m.score.label in CHATTER),
        key=lambda m: (-m.score.chatter, m.at, m.post.id),
    )
    kept: list[Mention] = []
    for unlike in (True, False):
        for mention in surest:
            languages = {other.language.code for other in kept}
            fresh = mention.post.text not in {other.post.text for other in kept}
            if len(kept) < QUOTED and fresh and (not unlike or mention.language.code not in languages):
                kept.append(mention)
    return tuple(
        Evidence(_short(m.post.text), m.language.code, m.post.source, m.at) for m in sorted(kept, key=lambda m: m.at)
    )


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1].rstrip() + "…"


Recent = Callable[[str, datetime, datetime], Sequence[Mention]]
LOOK_BACK = timedelta(hours=1)


def recent(store_mentions: Callable[..., Sequence[Mention]], transition: Transition) -> Sequence[Mention]:
    """The mentions a message may quote."""
    incident = transition.incident
    since = max(incident.started_at - timedelta(minutes=15), transition.at - LOOK_BACK)
    return store_mentions(service=incident.service, since=since, until=transition.at, limit=300)
