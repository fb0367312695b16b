"""Makes the pictures of README and docs anew: `python -m tests.browser.screenshots` replays the synthetic day up to the middle
of its Instagram outage, serves it, and photographs it into docs/images/."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser

from listener import catalog as catalogs
from listener.cli import live
from listener.config import Config
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.replay import Archive, replay
from listener.store import Store, open_store
from listener.telemetry import Metrics
from listener.types import IncidentState
from tests.browser.chromium import chromium, seen
from tests.conftest import ROOT
from tests.servers.dashboard import served

IMAGES = ROOT / "docs" / "images"
MOMENT = datetime(2026, 3, 12, 15, 0, tzinfo=UTC)  # the outage is an hour old
ZONE = "Europe/Istanbul"


@dataclass(frozen=True)
class Picture:
    name: str
    path: str
    width: int = 1280
    height: int = 800
    scheme: str = "light"
    whole: bool = False  # the whole page, not only what fits on the screen


def pictures(incident: str) -> list[Picture]:
    return [
        Picture("front", "/", height=900),
        Picture("front-dark", "/", height=900, scheme="dark"),
        Picture("phone", "/", width=390, height=844),
        Picture("incident", f"/incidents/{incident}", whole=True),
    ]


def lived(folder: Path, day: Path, pipeline: Pipeline) -> Store:
    """The day as the daemon would know it by then."""
    store = open_store(f"sqlite:///{folder / 'day.db'}")
    for _ in replay(Archive([day], lambda message: None), Recorder(pipeline, store), store, until=MOMENT):
        pass
    return store


def photograph(browser: Browser, base: str, picture: Picture, folder: Path) -> None:
    size = {"width": picture.width, "height": picture.height}
    with seen(browser, viewport=size, color_scheme=picture.scheme, timezone_id=ZONE) as it:
        page = it.look(base + picture.path)
        page.screenshot(path=folder / f"{picture.name}.png", full_page=picture.whole, animations="disabled")
        if it.troubles:
            raise SystemExit(f"{picture.name}: {it.troubles}")


def main(folder: Path = IMAGES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    catalog = catalogs.load(ROOT / "data")
    pipeline = Pipeline.load(catalog, ROOT / "models" / "current", Config())
    with tempfile.TemporaryDirectory() as made:
        store = lived(Path(made), catalog.root / "samples" / "day.jsonl", pipeline)
        (incident,) = store.incidents(states=(IncidentState.FIRING,), service="instagram")
        app = live.web_app(
            store, catalog, Metrics("1").render, clock=lambda: MOMENT, synthetic=True, audit=live.figures(pipeline)
        )
        with served(app) as base, chromium() as browser:
            for picture in pictures(incident.id):
                photograph(browser, base, picture, folder)
                print(f"{folder / picture.name}.png", file=sys.stderr)
        store.close()


if __name__ == "__main__":
    main()
