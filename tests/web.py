"""Dashboards over stores, served as the commands serve them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from listener.store import Store, open_store
from listener.telemetry import Metrics
from listener.web.app import Settings, create_app
from tests import days
from tests.servers.dashboard import served

AUDIT = {"f1": 0.912, "ap": 0.955, "ece": 0.021}


@contextmanager
def kept(folder: Path, fill: Callable[[Store], None] = lambda store: None) -> Iterator[Store]:
    """A store in a file."""
    made = open_store(f"sqlite:///{folder / 'listener.db'}")
    fill(made)
    try:
        yield made
    finally:
        made.close()


def app_of(store: Store, **changes: Any) -> Any:
    """The application over a store, at the end of the invented day."""
    settings = {
        "services": days.SERVICES,
        "regions": days.REGIONS,
        "version": "1.0",
        "metrics": Metrics("1.0").render,
        "clock": lambda: days.NOW,
        "audit": AUDIT,
    }
    return create_app(store, Settings(**{**settings, **changes}))


@contextmanager
def dashboard(folder: Path, fill: Callable[[Store], None] = lambda store: None, **changes: Any) -> Iterator[str]:
    """The address of a dashboard over a store of its own."""
    with kept(folder, fill) as store, served(app_of(store, **changes)) as base:
        yield base
