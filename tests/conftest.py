"""What many tests share: the real catalog, the real pipeline with the shipped model, and commands run as a user runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from listener import catalog as catalogs
from listener.catalog import Catalog
from listener.config import Config
from listener.pipeline import Pipeline
from tests.servers import quick
from tests.servers.quick import ROOT as ROOT  # noqa: PLC0414

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return catalogs.load(ROOT / "data")


@pytest.fixture(scope="session")
def pipeline(catalog: Catalog) -> Pipeline:
    return Pipeline.load(catalog, ROOT / "models" / "current", Config())


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the user's own is read or written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LISTENER_")}
    return {**kept, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "share"), "NO_COLOR": "1", "COLUMNS": "100"}


@pytest.fixture
def listener(environ: dict[str, str], tmp_path: Path) -> Command:
    """Run the command `listener` to its end, in an empty folder."""

    def run(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return quick.run(arguments, env={**environ, **(env or {})}, cwd=tmp_path, stdin=stdin)

    return run
