# ruff: noqa: S608 - nothing but column names and conditions written here is put into these strings; values are bound
"""The SQL of the PostgreSQL store that asks; values are always bound, never pasted in.

Sums of fractions name their order: added up in another one, the last digit may differ, and the same history must give the
same answer.
"""

from __future__ import annotations

from listener.store import codec

TEXTS = ("text", "author", "url", "place", "matches")  # of a mention's columns, those that are erased
KEPT = tuple(column for column in codec.MENTION if column not in TEXTS)


def _of(table: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{table}.{column}" for column in columns)


def _mention_column(column: str) -> str:
    if column not in TEXTS:
        return f"m.{column}"
    return f"coalesce(t.{column}, '{'[]' if column == 'matches' else ''}')"


_COLUMNS = ", ".join(_mention_column(column) for column in codec.MENTION)
_TEXT = "JOIN texts t ON t.week = m.week AND t.n = m.n"  # LEFT: erased ones too

MENTIONS = f"SELECT {_COLUMNS} FROM mentions m LEFT {_TEXT}"
MENTIONS_BY_KEY = f"{MENTIONS} WHERE m.key = ANY (%s) ORDER BY m.at, m.id"
MENTIONS_BETWEEN = f"""{MENTIONS} WHERE m.n IN (
    SELECT n FROM mention_services WHERE service = ANY (%s) AND at >= %s AND at < %s
) ORDER BY m.at, m.id"""
KNOWN = f"SELECT m.id, t.text FROM mentions m LEFT {_TEXT} WHERE m.key = ANY (%s)"
PARTITIONS = """SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM '[0-9]+')::integer AS week
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'texts'::regclass ORDER BY week"""
FORGET = """DELETE FROM texts WHERE (week, n) IN (SELECT week, n FROM texts WHERE received_at < %s LIMIT %s)"""
MENTIONS_TO_ERASE = {
    "id": f"SELECT {_COLUMNS} FROM mentions m {_TEXT} WHERE m.key = %s",
    # `author <> ''` tells PostgreSQL that the index of known authors will do.
    "author": f"SELECT {_COLUMNS} FROM mentions m {_TEXT} WHERE t.author <> '' AND t.author = %s AND %s IN ('', m.source)",
}


def newest_mentions(*, by_service: bool, by_region: bool) -> str:
    """Mentions `since <= at < until`, newest first, at most `limit`; led by the index of the service, if asked for."""
    # Not EXISTS: that would be turned into a join, which may begin with all mentions of the region.
    has_region = "(SELECT true FROM mention_regions r WHERE r.region = %(region)s AND r.at = m.at AND r.n = m.n)"
    if by_service:
        table, at = "mention_services f JOIN mentions m ON m.n = f.n", "f.at"
        conditions = ["f.service = %(service)s", *([has_region] if by_region else [])]
    elif by_region:
        table, at, conditions = "mention_regions f JOIN mentions m ON m.n = f.n", "f.at", ["f.region = %(region)s"]
    else:
        table, at, conditions = "mentions m", "m.at", []
    where = " AND ".join([*conditions, f"{at} >= %(since)s", f"{at} < %(until)s"])
    return f"SELECT {_COLUMNS} FROM {table} LEFT {_TEXT} WHERE {where} ORDER BY {at} DESC, m.id DESC LIMIT %(limit)s"


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
    FROM services s WHERE s.service IS NOT NULL AND %(service)s IN ('', s.service)
    UNION ALL
    SELECT k.service, (SELECT min(p.region) FROM points p WHERE p.service = k.service AND p.region > k.region)
    FROM series k WHERE k.region IS NOT NULL
)"""
SERIES = f"""{_SERIES}
SELECT k.service, k.region FROM series k
WHERE (SELECT max(p.at) FROM points p WHERE p.service = k.service AND p.region = k.region) >= %(since)s
ORDER BY k.service, k.region"""
_BINNED = (
    "p.at - p.at %% %(length)s::bigint AS bin, sum(p.observed ORDER BY p.at), sum(p.posts)::bigint,"
    " sum(p.authors)::bigint, sum(p.recovered ORDER BY p.at)"
)


def _points(columns: str, rest: str, *, one_series: bool) -> str:
    if one_series:
        found = "FROM points p WHERE p.service = %(service)s AND p.region = %(region)s"
        return f"SELECT {columns} {found} AND p.at >= %(since)s AND p.at < %(until)s {rest}"
    found = "FROM series k JOIN points p ON p.service = k.service AND p.region = k.region"
    where = "WHERE %(region)s IN ('', k.region) AND p.at >= %(since)s AND p.at < %(until)s"
    return f"{_SERIES} SELECT {columns} {found} {where} {rest}"


def points(*, one_series: bool) -> str:
    """Points `since <= at < until` in order."""
    return _points(_of("p", codec.POINT), "ORDER BY p.service, p.region, p.at", one_series=one_series)


def binned(*, one_series: bool) -> str:
    """The same, added up in bins of `length` microseconds."""
    by = "p.service, p.region, bin"
    return _points(f"p.service, p.region, {_BINNED}", f"GROUP BY {by} ORDER BY {by}", one_series=one_series)


def expected(*, by_service: bool, by_region: bool) -> str:
    """Usual hours `since <= at < until`; led by the primary key as far as it is asked for."""
    asked = {"service": by_service, "region": by_region}
    conditions = [f"e.{name} = %({name})s" for name, wanted in asked.items() if wanted]
    where = " AND ".join([*conditions, "e.at >= %(since)s", "e.at < %(until)s"])
    return f"SELECT {_of('e', codec.EXPECTED)} FROM expected e WHERE {where} ORDER BY e.service, e.region, e.at"


# OFFSET 0 makes PostgreSQL ask for one author after the other: it can't know how few posts each has.
TOLD_OF = """SELECT t.author, m.at, m.body
FROM unnest(%s::text[]) a (author)
CROSS JOIN LATERAL (SELECT author, n FROM texts WHERE author = a.author COLLATE "C" AND author <> '' OFFSET 0) t
JOIN mentions m ON m.n = t.n
WHERE m.at >= %s AND m.at < %s ORDER BY m.at, m.id"""
HOURLY = """SELECT region, at - at %% 3600000000 AS hour, sum(observed ORDER BY at) FROM points
WHERE service = %s AND at >= %s AND at < %s GROUP BY region, hour ORDER BY region, hour"""

HEARING = "SELECT source, at, posts, up FROM hearing WHERE at >= %s AND at < %s ORDER BY at, source"
HEARD_HOURS = """SELECT hour, count(*)::double precision / 60 FROM (
    SELECT DISTINCT at, at - at %% 3600000000 AS hour FROM hearing WHERE up AND at >= %s AND at < %s
) heard GROUP BY hour ORDER BY hour"""
DROPPED = """SELECT source, reason, sum(posts)::bigint FROM dropped WHERE day >= %s
GROUP BY source, reason ORDER BY source, reason"""
TALLIES = """SELECT day, source, model, measure, bucket, count FROM tallies WHERE day >= %s
ORDER BY day, source, model, measure, bucket"""
HEALTH = f"SELECT {_of('h', codec.HEALTH)} FROM health h ORDER BY h.source"
CURSOR = "SELECT cursor FROM cursors WHERE source = %s"
MARK = "SELECT value FROM marks WHERE name = %s"

INCIDENT = "SELECT body FROM incidents WHERE id = %s"
INCIDENTS = """SELECT body FROM incidents
WHERE state = ANY (%(states)s) AND %(service)s IN ('', service) AND updated_at >= %(since)s
ORDER BY started_at DESC, id LIMIT %(limit)s"""
_TRANSITIONS = f"SELECT {_of('t', codec.TRANSITION)} FROM transitions t"
TRANSITIONS = f"""{_TRANSITIONS}
WHERE t.seq > coalesce((SELECT seq FROM transitions WHERE id = %(after)s), 0)
ORDER BY t.seq LIMIT %(limit)s"""
TRANSITIONS_OF_INCIDENT = f"""{_TRANSITIONS}
WHERE t.seq > coalesce((SELECT seq FROM transitions WHERE id = %(after)s), 0) AND t.incident = %(incident)s
ORDER BY t.seq LIMIT %(limit)s"""
UNTOLD = f"""{_TRANSITIONS}
WHERE NOT EXISTS (
    SELECT FROM notifications WHERE transition = t.id AND channel = %s AND outcome IN ('sent', 'skipped')
) ORDER BY t.seq"""
TOLD = """SELECT DISTINCT t.incident FROM notifications n JOIN transitions t ON t.id = n.transition
WHERE n.channel = %s AND n.outcome = 'sent' AND t.incident = ANY (%s)"""
_NOTIFICATIONS = f"SELECT {_of('n', codec.NOTIFICATION)} FROM notifications n"
NOTIFICATIONS = f"{_NOTIFICATIONS} ORDER BY n.seq"
NOTIFICATIONS_OF_TRANSITION = f"{_NOTIFICATIONS} WHERE n.transition = %s ORDER BY n.seq"

# Each counts what no constraint of the schema can see: rows that contradict each other.
CONTRADICTIONS = {
    "service entries without their mention": """
        SELECT count(*) FROM mention_services s LEFT JOIN mentions m ON m.n = s.n AND m.at = s.at WHERE m.n IS NULL""",
    "region entries without their mention": """
        SELECT count(*) FROM mention_regions r LEFT JOIN mentions m ON m.n = r.n AND m.at = r.at WHERE m.n IS NULL""",
    "texts without their mention": """
        SELECT count(*) FROM texts t LEFT JOIN mentions m ON m.n = t.n AND m.week = t.week WHERE m.n IS NULL""",
    "transitions without their incident": """
        SELECT count(*) FROM transitions t LEFT JOIN incidents i ON i.id = t.incident WHERE i.id IS NULL""",
}
