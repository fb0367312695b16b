"""How small an outage could be and still be seen, from what is usual and from what can be heard."""

from __future__ import annotations

import numpy as np
import pytest

from listener.detectors import scan, threshold
from listener.signals.visible import smallest_visible
from listener.types import Baseline, Panel, Signal
from tests.builders import at, signal

LENGTH = 36 * 60
ALONE = scan.Options(joint=False)


def quiet(exposure: float = 1.0) -> Signal:
    return signal([0.0] * LENGTH, exposure=[exposure] * LENGTH, start_at=at(-LENGTH))


def usual(hourly: float, doubt: float = 0.05) -> Baseline:
    return Baseline(np.full(LENGTH, hourly / 60), dispersion=6.0, noise=0.12, weeks=4.0, doubt=doubt)


def smallest(hourly: float, exposure: float = 1.0) -> int:
    """With talk as usual before the last quarter of an hour."""
    heard = quiet(exposure)
    heard.observed[:] = hourly / 60 * exposure
    found = asked(heard, usual(hourly))
    assert found is not None
    return found


def asked(heard: Signal, usual: Baseline, near: int = 5) -> int | None:
    panel = Panel("instagram", {"TR": heard})
    return smallest_visible(panel, {"TR": usual}, scan.detect, ALONE, near={"TR": near})["TR"]


def test_the_more_people_complain_anyway_the_bigger_an_outage_must_be() -> None:
    sizes = [smallest(hourly) for hourly in (0.1, 2, 20, 200)]
    assert sizes == sorted(sizes)
    assert sizes[0] <= 6
    assert sizes[-1] >= 60


def test_so_many_raise_an_alarm_and_one_fewer_does_not() -> None:
    found = smallest(5)
    for authors, raised in ((found, True), (found - 1, False)):
        heard = quiet()
        heard.observed[:] = 5 / 60
        heard.observed[-15:] = authors / 15
        panel = Panel("instagram", {"TR": heard})
        assert scan.detect(panel, {"TR": usual(5)}, scan.Options())[0].raised is raised


def test_where_half_is_heard_it_takes_more_people() -> None:
    assert smallest(5, exposure=0.5) > 1.3 * smallest(5)


def test_where_nothing_is_heard_nothing_could_be_seen() -> None:
    assert asked(quiet(0.0), usual(5)) is None


def test_a_detector_that_never_raises_sees_nothing() -> None:
    deaf = scan.Options(threshold=1e9)
    assert smallest_visible(Panel("x", {"TR": quiet()}), {"TR": usual(5)}, scan.detect, deaf) == {"TR": None}


@pytest.mark.parametrize("near", [0, 1, 4, 6, 40, 1000])
def test_it_is_the_same_wherever_one_looks_first(near: int) -> None:
    for hourly in (0.1, 20):
        assert asked(quiet(), usual(hourly), near) == asked(quiet(), usual(hourly))


def test_what_stands_out_without_another_word_needs_nobody() -> None:
    heard = quiet()
    heard.observed[-60:-15] = 1.0
    assert [asked(heard, usual(5), near) for near in (0, 1, 2, 7)] == [0, 0, 0, 0]


def test_many_regions_asked_at_once_answer_as_each_alone() -> None:
    hourly = {"ME": 0.1, "RS": 5.0, "TR": 200.0}
    panel = Panel("instagram", {region: quiet() for region in hourly})
    found = smallest_visible(panel, {r: usual(rate) for r, rate in hourly.items()}, scan.detect, ALONE)
    assert found == {region: asked(quiet(), usual(rate)) for region, rate in hourly.items()}


@pytest.mark.parametrize("least", [4.0, 40.0])
def test_it_holds_for_other_detectors_too(least: float) -> None:
    options = threshold.Options(least=least - 0.5)
    found = smallest_visible(Panel("x", {"TR": quiet()}), {"TR": usual(0.1)}, threshold.detect, options)
    assert found == {"TR": least}
