"""A store to look at from Python: signals, incidents, posts and sources as frames. It is read only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType

from listener.db.columns import (
    INCIDENTS,
    ONSETS,
    POSTS,
    SERIES,
    SIGNAL,
    SOURCES,
    TEXTS,
    TRANSITIONS,
    incident_row,
    onset_rows,
    post_row,
    transition_row,
)
from listener.db.signal import heard_of
from listener.db.signal import rows as signal_rows
from listener.errors import InputError, StoreError
from listener.frames import As, Frame, frame
from listener.instants import Since, bin_of, moment
from listener.signals import bins
from listener.store import Store, open_store
from listener.types import UNNAMED, Incident, IncidentState, SeriesKey
from listener.web import views
from listener.web.shapes import source_out

ALL = 1_000_000  # rows of anything: as good as no limit
LONGEST = 500_000  # bins of one signal
_CREDENTIALS = re.compile("//[^/]*@")


class Db:
    """A store that is open for reading. Made by `listener.open` and `listener.sample`; `with` closes it.

    Every method gives a new frame, in pandas or (with `as_="polars"`) in polars; all times are UTC. `since` and `until` are
    each an instant (a `datetime`, or RFC 3339 such as `"2026-03-12T14:00:00Z"`) or a length of time back from `db.end_at` (a
    `timedelta`, or text such as `"7d"` or `"1h30m"`). Raises `InputError` for arguments that can't be meant, such as a
    service nobody knows, and `StoreError` when the store can't be read.

    >>> import listener
    >>> with listener.sample() as db:
    ...     db
    <listener.Db sample>
    """

    def __init__(self, store: Store, where: str, services: Collection[str], regions: Collection[str]) -> None:
        self.store = store
        self._where = where
        self._known = {"service": services, "region": regions}

    def __repr__(self) -> str:
        return f"<listener.Db {self._where}>"

    def __enter__(self) -> Db:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store; twice is fine. Nothing can be asked afterwards.

        >>> import listener
        >>> db = listener.sample()
        >>> db.close()
        """
        self.store.close()

    @property
    def end_at(self) -> datetime:
        """The last instant this store knows of, in UTC: now for a daemon that runs, the end of what was replayed otherwise.

        Lengths of time such as `since="7d"` count back from here. Raises `StoreError` when the store is still empty.

        >>> import listener
        >>> from datetime import UTC, datetime
        >>> listener.sample().end_at > datetime(2026, 3, 12, 22, tzinfo=UTC)
        True
        """
        newest = self.store.mentions(limit=1)
        known = [health.last_success_at for health in self.store.health()] + [mention.at for mention in newest]
        mark = self.store.mark("watched")
        found = [at for at in (*known, datetime.fromisoformat(mark) if mark else None) if at is not None]
        if not found:
            raise StoreError(f"{self._where}: the store is still empty")
        return bins.ceil(max(found))

    def signal(
        self,
        service: str,
        region: str | Sequence[str] | None = None,
        since: Since = "24h",
        until: Since = None,
        bin: str | timedelta = "5m",
        *,
        as_: As = "pandas",
    ) -> Frame:
        """The outage-chatter signal of one service, a row a bin, without gaps; indexed by `time`, the bin's start.

        `region` is a code (`"TR"`), several, or None for all in which anybody said something; of several the rows of one
        follow those of another. `bin` is whole minutes long; only bins that are over by `until` are told.

        | column | type | unit |
        |---|---|---|
        | `observed` | float | people who report a failure, weighted by how sure that is; NaN where nothing could be heard |
        | `expected` | float | the same, as is usual for this hour of the week; NaN where nobody has worked it out |
        | `upperbound` | float | the top of the usual range, 2 standard deviations above `expected` |
        | `exposure` | float | share of the usual sources that could be heard, 0 to 1 |
        | `posts`, `authors` | int | posts and people behind `observed`, people counted anew each minute |
        | `recovered` | float | people who say that it is back |
        | `state` | str | `no_data` `quiet` `possible` `problems` `recovering`, as last written down by the end of the bin |
        | `service`, `region` | str | which series |

        Raises `InputError` for an unknown service or region, or a bin that is not whole minutes.

        >>> import listener
        >>> db = listener.sample()
        >>> frame = db.signal("instagram", "TR", since="2026-03-12T14:10:00Z", until="2026-03-12T14:20:00Z")
        >>> frame[["exposure", "state"]]
                                   exposure     state
        time
        2026-03-12 14:10:00+00:00       1.0  problems
        2026-03-12 14:15:00+00:00       1.0  problems
        >>> bool((frame["observed"] > frame["upperbound"]).all())
        True
        """
        self._check("service", service or " ")
        end_at = self._instant(until, self.end_at)
        length = bin_of(bin)
        start_at, stop_at = bins.floor(self._instant(since, end_at), length), bins.floor(end_at, length)
        if bins.count(start_at, stop_at, length) > LONGEST:
            raise InputError(f"since={since!r}: more than {LONGEST:,} bins; ask for a shorter time or longer bins")
        regions = self._regions(service, region, start_at)
        heard = heard_of(self.store, regions, self._known["region"], start_at, stop_at)
        rows = (
            row
            for code in regions
            for row in signal_rows(self.store, SeriesKey(service, code), start_at, stop_at, length, heard[code])
        )
        return frame(SIGNAL, rows, as_, "time")

    def incidents(
        self, since: Since = None, *, service: str = "", open_only: bool = False, as_: As = "pandas"
    ) -> Frame:
        """Incidents, the newest first, indexed by `incident` (their id); `since` keeps those that changed since.

        Columns: `service`; `regions` (list of codes, in order of onset); `state` (`pending` `firing` `resolved`);
        `started_at`, `updated_at`, `resolved_at` (NaT while it goes on); `cause`, the likeliest of five, and `p_outage`,
        `p_block`, `p_network`, `p_accounts`, `p_echo`, their probabilities (0 to 1); `observed` and `expected` (people, over
        the whole incident), `authors`, `posts`; `evidence` (list of sentences); `model` (digest of what judged the posts).
        Raises `InputError` for an unknown service or a `since` that is no time.

        >>> import listener
        >>> listener.sample().incidents()[["service", "state", "cause"]].reset_index(drop=True)
             service     state    cause
        0          x  resolved    block
        1  instagram  resolved   outage
        2        sbb  resolved  network
        """
        return frame(INCIDENTS, map(incident_row, self._incidents(since, service, open_only)), as_, "incident")

    def onsets(self, since: Since = None, *, service: str = "", as_: As = "pandas") -> Frame:
        """When each incident began in each of its regions, in order of onset, the newest incident first.

        Columns: `incident`, `service`, `region`, `state`; `onset_at`, which lies between `onset_low_at` and `onset_high_at`
        (about 95 %); `observed` and `expected` (people since the onset); `score` (the highest log-likelihood ratio). Raises
        `InputError` for an unknown service or a `since` that is no time.

        >>> import listener
        >>> listener.sample().onsets(service="instagram")["region"].tolist()[0]
        'TR'
        """
        rows = (row for one in self._incidents(since, service, open_only=False) for row in onset_rows(one))
        return frame(ONSETS, rows, as_)

    def transitions(self, *, incident: str = "", service: str = "", as_: As = "pandas") -> Frame:
        """Every change of every incident, the first one first, indexed by `at`: what people were told, and when.

        Columns: `incident`, `service`; `from_state` (missing for the first) and `to_state`, equal when a region joined;
        `regions` (list of codes) as of then; `observed` and `expected` (people so far), `authors`. Raises `InputError` for an
        unknown service; an incident nobody knows has none.

        >>> import listener
        >>> listener.sample().transitions(service="x")["to_state"].tolist()[-1]
        'resolved'
        """
        self._check("service", service)
        told = self.store.transitions(incident=incident, limit=ALL)
        kept = (one for one in told if not service or one.incident.service == service)
        return frame(TRANSITIONS, map(transition_row, kept), as_, "at")

    def series(self, *, service: str = "", region: str = "", as_: As = "pandas") -> Frame:
        """Every series that said anything in the last 24 hours, those in trouble first, as `/api/v1/series` has it.

        Columns: `service`, `region`, `state`, `chatter_24h` (people who reported a failure, in expectation). Raises
        `InputError` for an unknown service or region.

        >>> import listener
        >>> listener.sample().series(region="TR").loc[0, ["service", "state"]].tolist()
        ['instagram', 'quiet']
        """
        self._check("region", region)
        open_ones = self._incidents(None, service, open_only=True)
        totals = views.totals(self.store, open_ones, self.end_at, service=service, region=region)
        rows = (
            {"service": key.service, "region": key.region, "state": state.value, "chatter_24h": total}
            for key, state, total in totals
        )
        return frame(SERIES, rows, as_)

    def sources(self, *, as_: As = "pandas") -> Frame:
        """How each source is doing, indexed by `source`; empty for a store that was filled by a replay.

        Columns: `kind`; `region` (missing for a stream that all regions share); `last_success_at` and `last_item_at`;
        `lag_seconds` (how far behind it is); `errors_in_a_row` and the `reason` of the last one; `next_try_at`; `posts`
        (received so far). Raises `StoreError` when the store can't be read.

        >>> import listener
        >>> len(listener.sample().sources())
        0
        """
        return frame(SOURCES, (source_out(health).model_dump() for health in self.store.health()), as_, "source")

    def posts(
        self,
        service: str = "",
        region: str = "",
        since: Since = "24h",
        until: Since = None,
        limit: int | None = 1000,
        *,
        texts: bool = False,
        as_: As = "pandas",
    ) -> Frame:
        """Judged posts, the newest first, indexed by `at` (when they were written); at most `limit`, None for all.

        `region` asks for posts with any weight there. Columns: `source`; `label` (the likeliest of nine), `chatter`
        (probability that a service is failing now, 0 to 1), `symptom`; `services` (list of ids); `language` (BCP 47); `tier`
        (`person` `press` `official` `measured`); `region` (the likeliest) and `regions` (list of `region` and `weight`, which
        sum to 1). What leads to whoever wrote a post is left out, so that a frame can be passed on; `texts=True` adds `id`,
        `text` and `url`. Erased texts are empty. Authors are never told. Raises `InputError` for an unknown service or
        region, or a `since` or `until` that is no time.

        >>> import listener
        >>> frame = listener.sample().posts("instagram", "BG", limit=2)
        >>> frame["services"].tolist(), "text" in frame
        ([['instagram'], ['instagram']], False)
        """
        end_at = self._instant(until, self.end_at)
        self._check("service", service)
        self._check("region", region)
        found = self.store.mentions(
            service=service,
            region=region,
            since=self._instant(since, end_at),
            until=end_at,
            limit=ALL if limit is None else limit,
        )
        columns = {**POSTS, **TEXTS} if texts else POSTS
        return frame(columns, map(post_row, found), as_, "at")

    def _check(self, kind: str, name: str) -> None:
        """Empty stands for all."""
        known = self._known[kind]
        if name and name not in known and name != UNNAMED:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise InputError(f"no {kind} {name!r} in the data" + (f"; did you mean {near[0]!r}?" if near else ""))

    def _regions(self, service: str, region: str | Sequence[str] | None, since: datetime) -> list[str]:
        wanted = [region] if isinstance(region, str) else region
        if wanted is None:
            return [key.region for key in self.store.keys(since) if key.service == service]
        for code in wanted:
            self._check("region", code or " ")
        return list(dict.fromkeys(wanted))

    def _instant(self, said: Since, back_from: datetime) -> datetime:
        """An instant, or one so long before `back_from`; None is `back_from` itself."""
        return back_from if said is None else moment(said, back_from)

    def _incidents(self, since: Since, service: str, open_only: bool) -> list[Incident]:
        self._check("service", service)
        states = (IncidentState.PENDING, IncidentState.FIRING) if open_only else ()
        start = None if since is None else self._instant(since, self.end_at)
        return self.store.incidents(states=states, service=service, since=start, limit=ALL)


def opened(url: str, services: Collection[str], regions: Collection[str], name: str = "") -> Db:
    """The store of a URL or path, read-only. `name` is what it is called in messages, when not by its URL (no password in it)."""
    where = url if "://" in url else f"sqlite:///{Path(url).expanduser().absolute()}"
    return Db(open_store(where, read_only=True), name or _CREDENTIALS.sub("//", url), services, regions)
