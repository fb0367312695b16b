"""How small an outage could be and still be seen, from what is usual and from what can be heard."""

from __future__ import annotations

import numpy as np
import pytest

from listener.detectors import scan, threshold
from listener.signals.visible import smallest_visible
from listener.types import Baseline, Panel, Signal
from tests.builders import at, signal

LENGTH = 36 * 60


def quiet(exposure: float = 1.0) -> Signal:
    return signal([0.0] * LENGTH, exposure=[exposure] * LENGTH, start_at=at(-LENGTH))


def usual(hourly: float, doubt: float = 0.05) -> Baseline:
    return Baseline(np.full(LENGTH, hourly / 60), dispersion=6.0, noise=0.12, weeks=4.0, doubt=doubt)


def smallest(hourly: float, exposure: float = 1.0) -> int:
    """With talk as usual before the last quarter of an hour."""
    heard = quiet(exposure)
    heard.observed[:] = hourly / 60 * exposure
    found = smallest_visible(heard, usual(hourly), scan.detect, scan.Options())
    assert found is not None
    return found


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
    assert smallest_visible(quiet(0.0), usual(5), scan.detect, scan.Options()) is None


def test_a_detector_that_never_raises_sees_nothing() -> None:
    deaf = scan.Options(threshold=1e9)
    assert smallest_visible(quiet(), usual(5), scan.detect, deaf) is None


@pytest.mark.parametrize("least", [4.0, 40.0])
def test_it_holds_for_other_detectors_too(least: float) -> None:
    found = smallest_visible(quiet(), usual(0.1), threshold.detect, threshold.Options(least=least - 0.5))
    assert found == least
