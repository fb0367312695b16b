"""Nouns to table rows and back, exactly: instants as integer microseconds, nested parts as compact JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from listener.types import (
    Expected,
    Hearing,
    Incident,
    IncidentState,
    Language,
    Mention,
    Notification,
    Point,
    Post,
    PostKind,
    RegionWeight,
    Score,
    SeriesKey,
    SourceHealth,
    Tally,
    Tier,
    Transition,
)

Row = tuple[Any, ...]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EARLIEST, LATEST = -(2**63), 2**63 - 1

# The tables' columns in the order of the rows made below.
MENTION = (
    "n", "id", "source", "kind", "at", "created_at", "received_at", "text", "author", "url", "place", "region",
    "label", "chatter", "symptom", "model", "language", "confidence", "script", "cluster", "matches", "body",
)  # fmt: skip
POINT = ("service", "region", "at", "observed", "posts", "authors", "recovered", "labels", "excluded")
EXPECTED = ("service", "region", "at", "mean", "high")
TALLY = ("day", "source", "model", "measure", "bucket", "count")
INCIDENT = ("id", "service", "state", "started_at", "updated_at", "body")
TRANSITION = ("id", "incident", "at", "from_state", "to_state", "body")
NOTIFICATION = ("transition", "channel", "at", "outcome", "reason", "attempts")
HEALTH = (
    "source", "kind", "region", "last_success_at", "last_item_at", "errors_in_a_row", "reason", "next_try_at", "posts",
    "lag",
)  # fmt: skip


class _Body(msgspec.Struct, array_like=True, frozen=True):
    """The parts of a mention that no query asks for by themselves; an array, so that field names cost no space."""

    services: tuple[str, ...]
    probabilities: tuple[float, ...]
    regions: tuple[tuple[str, float, tuple[str, ...]], ...]
    hints: tuple[str, ...]  # the post's declared languages
    languages: tuple[tuple[str, float], ...]  # the identified language's probabilities
    tier: Tier = Tier.PERSON  # this and what follows came later: older rows end before it
    about: tuple[str, ...] = ()
    stated: str = ""


_KINDS = {kind.value: kind for kind in PostKind}
_bodies = msgspec.json.Decoder(_Body)
_incidents = msgspec.json.Decoder(Incident)
_words = msgspec.json.Decoder(tuple[str, ...])
_sums = msgspec.json.Decoder(tuple[tuple[str, float], ...])
_counts = msgspec.json.Decoder(tuple[tuple[str, int], ...])
_encoder = msgspec.json.Encoder(enc_hook=float)  # numpy's floats are floats to a type checker, not to msgspec


def micros(at: datetime) -> int:
    """Microseconds since 1970. Raises `TypeError` for an instant without a time zone.

    >>> micros(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (at - EPOCH) // MICROSECOND


def instant(count: int) -> datetime:
    """The inverse of `micros`."""
    return EPOCH + timedelta(microseconds=count)


def bounds(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """A half-open range of instants; None leaves that side open."""
    return EARLIEST if since is None else micros(since), LATEST if until is None else micros(until)


def _maybe_micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _maybe_instant(count: int | None) -> datetime | None:
    return None if count is None else instant(count)


def dump(value: Any, reader: msgspec.json.Decoder[Any] | None = None) -> str:
    """Compact JSON. JSON knows no NaN or infinity (msgspec writes null): with a `reader` that is found out now."""
    encoded = _encoder.encode(value)
    if reader is not None and b"null" in encoded:
        reader.decode(encoded)
    return encoded.decode()


def mention_row(n: int, mention: Mention) -> Row:
    post, score, language = mention.post, mention.score, mention.language
    body = _Body(
        mention.services,
        score.probabilities,
        tuple((r.region, r.weight, r.evidence) for r in mention.regions),
        post.languages,
        language.probabilities,
        post.tier,
        post.services,
        post.stated,
    )
    return (
        n, post.id, post.source, post.kind.value, micros(mention.at), micros(post.created_at), micros(post.received_at),
        post.text, post.author, post.url, post.place, post.region, score.label, score.chatter, score.symptom,
        score.model, language.code, language.confidence, language.script, mention.cluster, dump(mention.matches),
        dump(body, _bodies),
    )  # fmt: skip


def mention_of(row: Row) -> Mention:
    (
        _, id, source, kind, _, created_at, received_at, text, author, url, place, region,
        _, _, symptom, model, code, confidence, script, cluster, matches, body,
    ) = row  # fmt: skip
    rest = _bodies.decode(body)
    return Mention(
        post=Post(
            id=id,
            source=source,
            text=text,
            created_at=instant(created_at),
            received_at=instant(received_at),
            author=author,
            kind=_KINDS.get(kind) or PostKind(kind),
            languages=rest.hints,
            place=place,
            region=region,
            url=url,
            tier=rest.tier,
            services=rest.about,
            stated=rest.stated,
        ),
        services=rest.services,
        score=Score(rest.probabilities, symptom, model),
        language=Language(code, confidence, script, rest.languages),
        regions=_regions(rest.regions),
        matches=_words.decode(matches),
        cluster=cluster,
    )


@lru_cache(maxsize=4096)
def _regions(weights: tuple[tuple[str, float, tuple[str, ...]], ...]) -> tuple[RegionWeight, ...]:
    """Most posts have the weights of one of a few languages and sources."""
    return tuple(RegionWeight(*weight) for weight in weights)


def regions_of(body: str) -> tuple[RegionWeight, ...]:
    """The region weights in a mention's `body` column."""
    return _regions(_bodies.decode(body).regions)


def point_row(point: Point) -> Row:
    return (
        point.key.service, point.key.region, micros(point.at), point.observed, point.posts, point.authors,
        point.recovered, dump(point.labels, _sums), dump(point.excluded),
    )  # fmt: skip


def point_of(row: Row) -> Point:
    service, region, at, observed, posts, authors, recovered, labels, excluded = row
    return Point(
        SeriesKey(service, region),
        instant(at),
        observed,
        posts,
        authors,
        recovered,
        () if labels == "[]" else _sums.decode(labels),
        () if excluded == "[]" else _counts.decode(excluded),
    )


def sum_of(row: Row) -> Point:
    service, region, at, observed, posts, authors, recovered = row
    return Point(SeriesKey(service, region), instant(at), observed, posts, authors, recovered)


def expected_row(expected: Expected) -> Row:
    return expected.key.service, expected.key.region, micros(expected.at), expected.mean, expected.high


def expected_of(row: Row) -> Expected:
    service, region, at, mean, high = row
    return Expected(SeriesKey(service, region), instant(at), mean, high)


def hearing_of(row: Row) -> Hearing:
    source, at, posts, up = row
    return Hearing(source, instant(at), posts, bool(up))


def tally_row(tally: Tally) -> Row:
    return tally.day, tally.source, tally.model, tally.measure, tally.bucket, tally.count


def tally_of(row: Row) -> Tally:
    return Tally(*row)


def incident_row(incident: Incident) -> Row:
    return (
        incident.id,
        incident.service,
        incident.state.value,
        micros(incident.started_at),
        micros(incident.updated_at),
        dump(incident, _incidents),
    )


def incident_of(body: str) -> Incident:
    return _incidents.decode(body)


def transition_row(transition: Transition) -> Row:
    before = transition.from_state
    return (
        transition.id,
        transition.incident.id,
        micros(transition.at),
        None if before is None else before.value,
        transition.to_state.value,
        dump(transition.incident, _incidents),
    )


def transition_of(row: Row) -> Transition:
    id, _, at, before, after, body = row
    from_state = None if before is None else IncidentState(before)
    return Transition(id, instant(at), incident_of(body), from_state, IncidentState(after))


def notification_row(told: Notification) -> Row:
    return told.transition_id, told.channel, micros(told.at), told.outcome, told.reason, told.attempts


def notification_of(row: Row) -> Notification:
    transition, channel, at, outcome, reason, attempts = row
    return Notification(transition, channel, instant(at), outcome, reason, attempts)


def health_row(health: SourceHealth) -> Row:
    return (
        health.source,
        health.kind,
        health.region,
        _maybe_micros(health.last_success_at),
        _maybe_micros(health.last_item_at),
        health.errors_in_a_row,
        health.reason,
        _maybe_micros(health.next_try_at),
        health.posts,
        None if health.lag is None else health.lag // MICROSECOND,
    )


def health_of(row: Row) -> SourceHealth:
    source, kind, region, success, item, errors, reason, next_try, posts, lag = row
    return SourceHealth(
        source,
        kind,
        region,
        _maybe_instant(success),
        _maybe_instant(item),
        errors,
        reason,
        _maybe_instant(next_try),
        posts,
        None if lag is None else timedelta(microseconds=lag),
    )


def listed(values: Sequence[str]) -> str:
    """Values as one JSON array, for `IN (SELECT value FROM json_each(?))`."""
    return dump(list(values))
