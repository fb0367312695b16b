"""What several scenarios begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers.nursery import Nursery


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    home = str(tmp_path_factory.mktemp("home"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("LISTENER_")}
    with Nursery({**environ, "HOME": home, "XDG_DATA_HOME": home, "NO_COLOR": "1"}) as made:
        yield made
