"""A copy of the project to change and to train in, with fewer labelled posts and half an hour of the day: it takes seconds."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from tests.conftest import ROOT

HOUR = ("2026-03-12T13:50", "2026-03-12T14:15")  # of the synthetic day; the outage begins at 14:02


def copy_of_project(folder: Path, posts_a_language: int) -> Path:
    """What the commands need, and a `listener` in `bin`."""
    for name in ("listener", "data", "models"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("candidate", "previous-*"))
    for path in (folder / "data" / "labelled").glob("*.jsonl"):
        path.write_text(
            "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:posts_a_language]), encoding="utf-8"
        )
    day = folder / "data" / "samples" / "day.jsonl"
    lines = day.read_text(encoding="utf-8").splitlines(keepends=True)
    day.write_text(
        "".join(line for line in lines if HOUR[0] <= json.loads(line)["created_at"] < HOUR[1]), encoding="utf-8"
    )
    launcher = folder / "bin" / "listener"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" -m listener "$@"\n')
    launcher.chmod(0o755)
    return folder


def environ_of(project: Path) -> dict[str, str]:
    """As in a shell where `listener` is that of the copy."""
    return {
        **os.environ,
        "PATH": f"{project / 'bin'}:{os.environ['PATH']}",
        "XDG_DATA_HOME": str(project / "share"),
        "NO_COLOR": "1",
    }
