"""Where the sample day of `listener.sample` is kept during tests: made once for all test processes of a run."""

from __future__ import annotations

from pathlib import Path

import pytest


def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run share: the user's own cache is left alone."""
    folder = tmp_path_factory.getbasetemp().parent / "listener-cache"
    folder.mkdir(exist_ok=True)
    return folder
