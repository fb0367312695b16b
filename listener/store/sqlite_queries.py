# ruff: noqa: S608 - nothing but column names and conditions written here is put into these strings; values are bound
"""The SQL of the SQLite store that asks; values are always bound, never pasted in."""

from __future__ import annotations

from listener.store import codec


def _of(table: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{table}.{column}" for column in columns)


IDS = "(SELECT value FROM json_each(?))"  # a parameter that is a JSON array, as a set

MENTIONS = f"SELECT {_of('m', codec.MENTION)} FROM mentions m"
MENTIONS_BY_ID = f"{MENTIONS} WHERE m.id IN {IDS} ORDER BY m.at, m.id"
MENTIONS_BETWEEN = f"""{MENTIONS} WHERE m.n IN (
    SELECT n FROM mention_services WHERE service IN {IDS} AND at >= ? AND at < ?
) ORDER BY m.at, m.id"""
MENTIONS_TO_ERASE = {
    "id": f"{MENTIONS} WHERE m.erased_at IS NULL AND m.id = ?",
    # `author != ''` tells SQLite that the index of known authors will do.
    "author": f"{MENTIONS} WHERE m.erased_at IS NULL AND m.author != '' AND m.author = ? AND ? IN ('', m.source)",
    "age": f"{MENTIONS} WHERE m.erased_at IS NULL AND m.received_at < ? LIMIT ?",
}


def newest_mentions(*, by_service: bool, by_region: bool) -> str:
    """Mentions `:since <= at < :until`, newest first, at most `:limit`; led by the index of the service, if asked for."""
    has_region = "EXISTS (SELECT 1 FROM mention_regions r WHERE r.region = :region AND r.at = m.at AND r.n = m.n)"
    if by_service:
        table, at = "mention_services f CROSS JOIN mentions m ON m.n = f.n", "f.at"
        conditions = ["f.service = :service", *([has_region] if by_region else [])]
    elif by_region:
        table, at, conditions = "mention_regions f CROSS JOIN mentions m ON m.n = f.n", "f.at", ["f.region = :region"]
    else:
        table, at, conditions = "mentions m", "m.at", []
    where = " AND ".join([*conditions, f"{at} >= :since", f"{at} < :until"])
    return f"SELECT {_of('m', codec.MENTION)} FROM {table} WHERE {where} ORDER BY {at} DESC, m.id DESC LIMIT :limit"


# Hops from series to series along the primary key: as many steps as there are series, however many points.
_SERIES = """
WITH RECURSIVE
services (service) AS (
    SELECT min(service) FROM points
    UNION ALL
    SELECT (SELECT min(p.service) FROM points p WHERE p.service > s.service) FROM services s WHERE s.service IS NOT NULL
),
series (service, region) AS (
    SELECT s.service, (SELECT min(p.region) FROM points p WHERE p.service = s.service)
    FROM services s WHERE s.service IS NOT NULL AND :service IN ('', s.service)
    UNION ALL
    SELECT k.service, (SELECT min(p.region) FROM points p WHERE p.service = k.service AND p.region > k.region)
    FROM series k WHERE k.region IS NOT NULL
)"""
SERIES = f"""{_SERIES}
SELECT k.service, k.region FROM series k
WHERE (SELECT max(p.at) FROM points p WHERE p.service = k.service AND p.region = k.region) >= :since
ORDER BY k.service, k.region"""
_BINNED = "p.at - p.at % :length AS bin, sum(p.observed), sum(p.posts), sum(p.authors), sum(p.recovered)"


def _points(columns: str, rest: str, *, one_series: bool) -> str:
    if one_series:
        found = "FROM points p WHERE p.service = :service AND p.region = :region"
        return f"SELECT {columns} {found} AND p.at >= :since AND p.at < :until {rest}"
    found = "FROM series k CROSS JOIN points p ON p.service = k.service AND p.region = k.region"
    where = "WHERE :region IN ('', k.region) AND p.at >= :since AND p.at < :until"
    return f"{_SERIES} SELECT {columns} {found} {where} {rest}"


def points(*, one_series: bool) -> str:
    """Points `:since <= at < :until` in order."""
    return _points(_of("p", codec.POINT), "ORDER BY p.service, p.region, p.at", one_series=one_series)


def binned(*, one_series: bool) -> str:
    """The same, added up in bins of `:length` microseconds."""
    if one_series:  # a third faster than by all three
        return _points(f":service, :region, {_BINNED}", "GROUP BY bin ORDER BY bin", one_series=True)
    by = "p.service, p.region, bin"
    return _points(f"p.service, p.region, {_BINNED}", f"GROUP BY {by} ORDER BY {by}", one_series=False)


def expected(*, by_service: bool, by_region: bool) -> str:
    """Usual hours `:since <= at < :until`; led by the primary key as far as it is asked for."""
    asked = {"service": by_service, "region": by_region}
    conditions = [f"e.{name} = :{name}" for name, wanted in asked.items() if wanted]
    where = " AND ".join([*conditions, "e.at >= :since", "e.at < :until"])
    return f"SELECT {_of('e', codec.EXPECTED)} FROM expected e WHERE {where} ORDER BY e.service, e.region, e.at"


# `author != ''` tells SQLite that the index of known authors will do.
TOLD_OF = f"""SELECT author, at, body FROM mentions
WHERE author != '' AND author IN {IDS} AND at >= ? AND at < ? ORDER BY at, id"""
HOURLY = """SELECT region, at - at % 3600000000 AS hour, sum(observed) FROM points
WHERE service = ? AND at >= ? AND at < ? GROUP BY region, hour ORDER BY region, hour"""

HEARING = "SELECT source, at, posts, up FROM hearing WHERE at >= ? AND at < ? ORDER BY at, source"
HEARD_HOURS = """SELECT hour, count(*) / 60.0 FROM (
    SELECT DISTINCT at, at - at % 3600000000 AS hour FROM hearing WHERE up = 1 AND at >= ? AND at < ?
) GROUP BY hour ORDER BY hour"""
DROPPED = """SELECT source, reason, sum(posts) FROM dropped WHERE day >= ?
GROUP BY source, reason ORDER BY source, reason"""
TALLIES = """SELECT day, source, model, measure, bucket, count FROM tallies WHERE day >= ?
ORDER BY day, source, model, measure, bucket"""
HEALTH = f"SELECT {_of('h', codec.HEALTH)} FROM health h ORDER BY h.source"
CURSOR = "SELECT cursor FROM cursors WHERE source = ?"
MARK = "SELECT value FROM marks WHERE name = ?"

INCIDENT = "SELECT body FROM incidents WHERE id = ?"
INCIDENTS = """SELECT body FROM incidents
WHERE state IN (SELECT value FROM json_each(:states)) AND :service IN ('', service) AND updated_at >= :since
ORDER BY started_at DESC, id LIMIT :limit"""
_TRANSITIONS = f"SELECT {_of('t', codec.TRANSITION)} FROM transitions t"
TRANSITIONS = f"""{_TRANSITIONS}
WHERE t.seq > coalesce((SELECT seq FROM transitions WHERE id = :after), 0)
ORDER BY t.seq LIMIT :limit"""
TRANSITIONS_OF_INCIDENT = f"""{_TRANSITIONS}
WHERE t.seq > coalesce((SELECT seq FROM transitions WHERE id = :after), 0) AND t.incident = :incident
ORDER BY t.seq LIMIT :limit"""
UNTOLD = f"""{_TRANSITIONS}
WHERE NOT EXISTS (SELECT 1 FROM notifications WHERE transition = t.id AND channel = ? AND outcome IN ('sent', 'skipped'))
ORDER BY t.seq"""
TOLD = """SELECT DISTINCT t.incident FROM notifications n JOIN transitions t ON t.id = n.transition
WHERE n.channel = ? AND n.outcome = 'sent' AND t.incident IN (SELECT value FROM json_each(?))"""
_NOTIFICATIONS = f"SELECT {_of('n', codec.NOTIFICATION)} FROM notifications n"
NOTIFICATIONS = f"{_NOTIFICATIONS} ORDER BY n.seq"
NOTIFICATIONS_OF_TRANSITION = f"{_NOTIFICATIONS} WHERE n.transition = ? ORDER BY n.seq"

# Each counts what no constraint of the schema can see: rows that contradict each other.
CONTRADICTIONS = {
    "service entries without their mention": """
        SELECT count(*) FROM mention_services s LEFT JOIN mentions m ON m.n = s.n AND m.at = s.at WHERE m.n IS NULL""",
    "region entries without their mention": """
        SELECT count(*) FROM mention_regions r LEFT JOIN mentions m ON m.n = r.n AND m.at = r.at WHERE m.n IS NULL""",
    "erased mentions that still have a text or an author": """
        SELECT count(*) FROM mentions WHERE erased_at IS NOT NULL AND (text != '' OR author != '')""",
    "transitions without their incident": """
        SELECT count(*) FROM transitions t LEFT JOIN incidents i ON i.id = t.incident WHERE i.id IS NULL""",
}
