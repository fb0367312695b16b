"""The API does what its description says, whatever it is asked: schemathesis makes up requests from the OpenAPI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests import days
from tests.web import app_of, kept

# No schema can say that `since` and `until` must not lie too far apart; tests/test_web_api.py says it.
TOO_LONG = positive_data_acceptance
MOST = int(
    os.environ.get("LISTENER_TEST_REQUESTS", "60")
)  # of each mode for each operation: 840 requests in all; 170 are 2,380
OPERATIONS = (
    "/signals",
    "/series",
    "/visible",
    "/incidents",
    "/incidents/{incident}",
    "/incidents/{incident}/transitions",
    "/sources",
    "/posts",
)
GOOD, BAD = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CASES = [(path, GOOD) for path in OPERATIONS]
CASES += [(path, BAD) for path in OPERATIONS if "{" not in path]  # no id is a bad one: nobody may know it, that is all


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with kept(tmp_path_factory.mktemp("api"), days.live_a_day) as store:
        yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app_of(store))


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_every_answer_is_as_described(described: Any, path: str, mode: schemathesis.GenerationMode) -> None:
    operation = described[f"/api/v1{path}"]["get"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=MOST,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        case.call_and_validate(excluded_checks=[TOO_LONG] if path == "/signals" else [])

    check()


def test_every_operation_there_is_was_tried(described: Any) -> None:
    found = [result.ok() for result in described.get_all_operations()]
    assert {(one.path, one.method.lower()) for one in found} == {(f"/api/v1{path}", "get") for path in OPERATIONS}
