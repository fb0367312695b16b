"""Logs and metrics: configured here, named here. Texts and authors of posts never reach either.

Events are `noun_verbed`; metrics have base units, `_total` for counters, and few label values.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from listener.types import Drift, Incident, Mention

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str = "info", *, as_json: bool = False, colour: bool = False) -> None:
    """Send structured log lines to stderr. Called once, by the command that runs."""
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=colour,
            sort_keys=False,
            exception_formatter=structlog.dev.plain_traceback,  # the other one shows variables, which hold texts
        )
    )
    told = [structlog.processors.format_exc_info] if as_json else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _one_line,
            *told,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it writes URLs down, which hold secrets


def _one_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What strangers say, such as a server in its refusal, neither begins a line nor moves the cursor."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
            event[key] = "".join(shown)
    return event


def log(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    bound: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return bound


class Metrics:
    """The metrics of one daemon, in a registry of their own so that two daemons in one process don't mix."""

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        name = "listener"
        self.posts_received = Counter(
            f"{name}_posts_received", "Posts received, before any gate", ["source"], registry=registry
        )
        self.posts_dropped = Counter(f"{name}_posts_dropped", "Posts that do not count", ["reason"], registry=registry)
        self.mentions = Counter(
            f"{name}_mentions",
            "Posts judged, by language and label",
            ["language", "label"],
            registry=registry,
        )
        self.deletes = Counter(f"{name}_deletes", "Upstream deletions honoured", ["source"], registry=registry)
        self.source_lag = Gauge(
            f"{name}_source_lag_seconds",
            "Age of the newest post when it arrived",
            ["source"],
            registry=registry,
        )
        self.source_success = Gauge(
            f"{name}_source_last_success_timestamp_seconds",
            "When a source last answered",
            ["source"],
            registry=registry,
        )
        self.source_errors = Counter(
            f"{name}_source_errors", "Failed tries of a source", ["source", "reason"], registry=registry
        )
        self.commit = Histogram(f"{name}_store_commit_seconds", "Time to store one batch", registry=registry)
        self.tick = Histogram(f"{name}_tick_seconds", "Time to watch one minute", registry=registry)
        self.queue = Gauge(f"{name}_queue_posts", "Posts waiting to be understood", registry=registry)
        self.ratio = Gauge(
            f"{name}_signal_ratio",
            "Observed over expected, of the regions of incidents that are firing",
            ["service", "region"],
            registry=registry,
        )
        self.incidents = Gauge(f"{name}_incidents_open", "Incidents that are firing", ["region"], registry=registry)
        self.transitions = Counter(f"{name}_transitions", "Changes of incidents", ["to"], registry=registry)
        self.notifications = Counter(f"{name}_notifications", "Notifications sent", ["channel"], registry=registry)
        self.notifications_failed = Counter(
            f"{name}_notifications_failed",
            "Notifications that failed",
            ["channel", "reason"],
            registry=registry,
        )
        self.restarts = Counter(
            f"{name}_source_restarts",
            "Sources restarted after an unexpected error",
            ["source"],
            registry=registry,
        )
        self._about_model()
        self.dead_letters = Counter(
            f"{name}_dead_letters", "Posts, or whole batches, that nobody could work on", ["reason"], registry=registry
        )
        self.leads = Gauge(f"{name}_leads", "1 in the process that does what only one may", ["role"], registry=registry)
        self.unconfirmed = Gauge(
            f"{name}_bus_unconfirmed_batches", "Batches published that are not stored yet", registry=registry
        )
        build = Gauge(f"{name}_build_info", "The running version", ["version"], registry=registry)
        build.labels(version).set(1)

    def _about_model(self) -> None:
        """Which model judges, and how well it still knows what comes."""
        name, registry = "listener", self.registry
        self._model = Gauge(f"{name}_model_info", "The model in force", ["digest"], registry=registry)
        self._model_since = Gauge(
            f"{name}_model_since_timestamp_seconds", "When the model in force was taken over", registry=registry
        )
        self._model_refused = Gauge(
            f"{name}_model_refused",
            "1 while the model in the folder is refused and the old one goes on",
            registry=registry,
        )
        self._drift = Gauge(
            f"{name}_drift_ratio",
            "How far a source's posts are from its weeks before; from 1 labels are wanted",
            ["source", "measure"],
            registry=registry,
        )
        self._labels_wanted = Gauge(
            f"{name}_labels_wanted_sources", "Sources whose posts drifted from what the model knows", registry=registry
        )

    def model_in_force(self, digest: str, since: datetime, *, refused: bool) -> None:
        """Which model judges from now on, and whether another one was refused."""
        self._model.clear()
        self._model.labels(digest).set(1)
        self._model_since.set(since.timestamp())
        self._model_refused.set(refused)

    def trouble(self, firing: Iterable[Incident]) -> None:
        """The incidents that are firing after a minute was watched."""
        self.incidents.clear()
        self.ratio.clear()
        for incident in firing:
            for part in incident.parts:
                self.incidents.labels(part.region).inc()
                if part.expected > 0:
                    self.ratio.labels(incident.service, part.region).set(part.observed / part.expected)

    def listens_no_more(self) -> None:
        """Another process does: what this one said of its sources would look like silence."""
        for gauge in (self.source_lag, self.source_success):
            gauge.clear()
        for gauge in (self.queue, self.unconfirmed):
            gauge.set(0)

    def took(self, mentions: Iterable[Mention], dropped: Mapping[str, int]) -> None:
        """A batch was stored."""
        for mention in mentions:
            self.mentions.labels(mention.language.code, mention.score.label).inc()
        for reason, count in dropped.items():
            self.posts_dropped.labels(reason).inc(count)

    def drifts(self, found: Iterable[Drift]) -> None:
        """How far each source has drifted, as far as there is enough to tell."""
        self._drift.clear()
        for one in found:
            self._drift.labels(one.source, one.measure).set(one.strength)
        self._labels_wanted.set(len({one.source for one in found if one.wanted}))

    def render(self) -> bytes:
        """The exposition text of `/metrics`."""
        return generate_latest(self.registry)
