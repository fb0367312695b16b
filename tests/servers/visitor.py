"""Somebody who looks at the dashboard without a pause: `python -m tests.servers.visitor URL PATH...`.

Visits one path after another until the standard input ends, each once at least, then prints how many seconds the answers
of each took, as JSON.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
import urllib.request
from itertools import cycle
from typing import Self

from tests.conftest import ROOT

PATHS = ("/", "/api/v1/signals?service=instagram&region=TR", "/api/v1/incidents", "/sources", "/healthz", "/metrics")
PAUSE = 0.05  # seconds


class Visitor:
    """`took` is what is known after the `with` block."""

    def __init__(self, base: str, paths: tuple[str, ...] = PATHS) -> None:
        self._base, self._paths = base, paths
        self.took: dict[str, list[float]] = {}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.servers.visitor", self._base, *self._paths]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        said, _nothing = self._process.communicate()
        self.took = {path: sorted(took) for path, took in json.loads(said).items()}

    def p99(self, path: str = "") -> float:
        """Milliseconds; of one path, or of all."""
        took = sorted(self.took[path] if path else [one for some in self.took.values() for one in some])
        return 1000 * took[int(0.99 * len(took))]

    def __str__(self) -> str:
        each = ", ".join(f"{path} {self.p99(path):.0f}" for path in self.took)
        return f"web p99 {self.p99():.0f} ms ({each})"


def _visit(base: str, paths: list[str]) -> None:
    took: dict[str, list[float]] = {path: [] for path in paths}
    for path in cycle(paths):
        if select.select([sys.stdin], [], [], PAUSE)[0] and all(took.values()):
            break
        began = time.monotonic()
        with urllib.request.urlopen(base + path, timeout=60) as answer:
            answer.read()
        took[path].append(time.monotonic() - began)
    print(json.dumps(took))


if __name__ == "__main__":
    _visit(sys.argv[1], sys.argv[2:])
