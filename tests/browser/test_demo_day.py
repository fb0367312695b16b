"""The dashboard on the real demo day, in the middle of its outage: every kind of page that its front page leads to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]

from listener.cli import live
from listener.pipeline import Pipeline
from listener.telemetry import Metrics
from tests.browser.chromium import CHROMIUM, MISSING, chromium, seen
from tests.browser.screenshots import MOMENT, lived
from tests.servers.dashboard import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

NOON = "2026-03-12T12"  # hours enough to begin with
OF_A_KIND = 6  # pages looked at


@pytest.fixture(scope="module")
def demo(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("demo")
    whole = (pipeline.catalog.root / "samples" / "day.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    day = folder / "day.jsonl"
    day.write_text("".join(line for line in whole if json.loads(line)["created_at"] >= NOON), encoding="utf-8")
    store = lived(folder, day, pipeline)
    audit = live.figures(pipeline)
    app = live.web_app(store, pipeline.catalog, Metrics("1").render, clock=lambda: MOMENT, synthetic=True, audit=audit)
    with served(app) as base:
        yield base
    store.close()


def test_every_kind_of_page_of_the_demo_day_is_quiet_usable_and_fits(demo: str) -> None:
    with chromium() as browser, seen(browser, viewport={"width": 1440, "height": 900}) as it:
        front = it.look(demo)
        assert "problems" in front.inner_text("h1")
        found = front.eval_on_selector_all("nav a, main a", "links => links.map(link => link.getAttribute('href'))")
        paths = sorted({path for path in found if path.startswith("/")}, key=lambda path: (Path(path).parent, path))
        kinds = {kind: list(of)[:OF_A_KIND] for kind, of in groupby(paths, lambda path: Path(path).parent)}
        looked_at = [path for of in kinds.values() for path in of]
        assert {"/", "/sources", "/methodology"} <= set(looked_at)
        assert {Path("/incidents"), Path("/services"), Path("/regions")} <= kinds.keys()
        for path in looked_at:
            page = it.look(demo + path)
            for width in (360, 1440):
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width}"
            bad = [v["id"] for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
            assert bad == [], path
            assert it.troubles == [], path
