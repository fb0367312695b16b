"""What every file under `listener/detectors/` promises; a new detector joins by being there."""

from __future__ import annotations

import doctest
from dataclasses import MISSING, FrozenInstanceError, fields, is_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from listener import kinds
from listener.types import Baseline, Panel
from tests.builders import MINUTE, at, signal

KINDS = kinds.names("detectors")
LENGTH = 240


@pytest.fixture(params=KINDS)
def detector(request: pytest.FixtureRequest) -> ModuleType:
    return kinds.load("detectors", request.param, "detector")


def panel_of(**counts: list[float]) -> Panel:
    return Panel("instagram", {region: signal(values, region=region) for region, values in counts.items()})


def usual(panel: Panel, mean: float = 0.1) -> dict[str, Baseline]:
    return {region: Baseline(np.full(LENGTH, mean), 6.0, 0.1, 4.0) for region in panel.signals}


QUIET = [1.0 if i % 11 == 0 else 0.0 for i in range(LENGTH)]
OUTAGE = [*QUIET[:-10], 1.0, 2.0, 4.0, 5.0, 5.0, 6.0, 5.0, 7.0, 6.0, 5.0]


def test_it_explains_itself_and_every_option(detector: ModuleType) -> None:
    assert detector.__doc__
    assert is_dataclass(detector.Options)
    options: Any = detector.Options
    for option in fields(options):
        assert option.metadata.get("meaning"), option.name
        assert option.default is not MISSING or option.default_factory is not MISSING, option.name
    with pytest.raises(FrozenInstanceError):
        setattr(options(), fields(options)[0].name, None)


def test_its_example_is_true(detector: ModuleType) -> None:
    result = doctest.testmod(detector)
    assert result.attempted
    assert not result.failed


def test_it_gives_one_verdict_per_region_on_the_last_bin_in_order(detector: ModuleType) -> None:
    panel = panel_of(TR=OUTAGE, BG=QUIET, AL=QUIET)
    alarms = detector.detect(panel, usual(panel), detector.Options())
    assert [alarm.key.region for alarm in alarms] == ["TR", "BG", "AL"]
    assert {alarm.at for alarm in alarms} == {at(LENGTH - 1)}
    assert [alarm.raised for alarm in alarms] == [True, False, False]
    assert alarms[0].observed == 5.0
    assert alarms[0].score > alarms[1].score
    assert all(alarm.upperbound > alarm.expected for alarm in alarms if not alarm.raised)
    assert all(alarm.window >= MINUTE for alarm in alarms)


def test_the_same_input_gives_the_same_verdict_and_stays_as_it_was(detector: ModuleType) -> None:
    panel = panel_of(TR=OUTAGE, BG=QUIET)
    baselines = usual(panel)
    first = detector.detect(panel, baselines, detector.Options())
    assert detector.detect(panel, baselines, detector.Options()) == first
    assert panel.signals["TR"].observed.tolist() == OUTAGE
    assert baselines["TR"].mean.tolist() == [0.1] * LENGTH


def test_where_nothing_can_be_heard_nothing_is_raised(detector: ModuleType) -> None:
    deaf = Panel("instagram", {"TR": signal(OUTAGE, exposure=[0.0] * LENGTH)})
    (alarm,) = detector.detect(deaf, usual(deaf), detector.Options())
    assert not alarm.raised
    assert alarm.score == 0
    assert alarm.exposure == 0


def test_a_single_bin_is_enough_to_be_asked(detector: ModuleType) -> None:
    panel = Panel("instagram", {"TR": signal([0.0])})
    (alarm,) = detector.detect(panel, {"TR": Baseline(np.ones(1), 6.0, 0.1, 0.0)}, detector.Options())
    assert not alarm.raised
