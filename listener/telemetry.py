"""Logs and metrics: configured here, named here. Texts and authors of posts never reach either.

Events are `noun_verbed`; metrics have base units, `_total` for counters, and few label values.
"""

from __future__ import annotations

import logging
import sys

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LEVELS = ("debug", "info", "warning", "error")


def configure(level: str = "info", *, as_json: bool = False, colour: bool = False) -> None:
    """Send structured log lines to stderr. Called once, by the command that runs."""
    renderer = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=colour, sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it writes URLs down, which hold secrets


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
            "Observed over expected in the last 15 minutes",
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
        build = Gauge(f"{name}_build_info", "The running version", ["version"], registry=registry)
        build.labels(version).set(1)

    def render(self) -> bytes:
        """The exposition text of `/metrics`."""
        return generate_latest(self.registry)
