"""What is expected: learnt from history, shrunk to a prior, and there from the first day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from listener import catalog
from listener.catalog import Catalog, Region, Service
from listener.detectors import scan
from listener.errors import ConfigError
from listener.signals.baseline import Baselines, Numbers, Profile, numbers, prior
from listener.signals.profile import fit, fit_all
from listener.types import Alarm, Floats, Panel, Signal
from tests.builders import NOON, signal

HOUR = timedelta(hours=1)
FIVE = timedelta(minutes=5)
MONDAY = NOON - 12 * HOUR
LOCAL = (0.02,) * 8 + (0.0525,) * 16  # quiet until eight in the morning

TR = Region("TR", "Türkiye", "Turkey", "test", {"tr": 1.0}, {}, LOCAL, "Europe/Istanbul", 85_000_000, 0.88)
AL = Region("AL", "Shqipëria", "Albania", "test", {"sq": 1.0}, {}, LOCAL, "Europe/Tirane", 2_400_000, 0.85)
INSTAGRAM = Service("instagram", "Instagram", "social", "test", ("instagram",))
TURKCELL = Service("turkcell", "Turkcell", "telecom", "test", ("turkcell",), regions=("TR",))


@pytest.fixture(scope="module")
def figures() -> Numbers:
    return numbers(catalog.default_root() / "baseline.toml")


@pytest.fixture
def flat(figures: Numbers) -> Profile:
    return replace(prior(TR, INSTAGRAM, figures, NOON), rate=2.0, shape=(0.0,) * 168)


def weeks_of(rate: Floats, seed: int = 1, bin: timedelta = HOUR) -> Signal:
    counts = np.random.default_rng(seed).poisson(rate).astype(float)
    return signal(counts.tolist(), bin=bin, start_at=MONDAY)


def day_and_night(weeks: int, mean: float) -> Floats:
    return mean * np.exp(0.8 * np.sin(2 * np.pi * np.arange(weeks * 168) / 24))


@pytest.mark.parametrize("hours", [1, 5, 30, 900])
def test_several_series_at_once_are_learnt_as_each_alone(flat: Profile, hours: int) -> None:
    shape = tuple(np.sin(np.arange(168) / 4).tolist())
    priors = [flat, replace(flat, rate=0.01, doubt=2.0), replace(flat, rate=30.0, shape=shape, noise=0.3, memory=9.0)]
    counts = np.random.default_rng(3).poisson([[2.0], [0.02], [40.0]], (3, hours)).astype(float)
    heard = np.where(np.arange(hours) % 7 == 3, 0.0, 0.9)
    alone = [
        replace(fit(replace(signal(row.tolist(), bin=HOUR, start_at=MONDAY), exposure=heard), prior), dispersion=1.0)
        for row, prior in zip(counts, priors, strict=True)
    ]
    together = fit_all(MONDAY, HOUR, counts, heard, priors)
    assert [replace(one, dispersion=1.0) for one in together] == alone
    assert [one.rate for one in together] != [prior.rate for prior in priors]


def test_of_nothing_heard_the_priors_come_back(flat: Profile) -> None:
    assert fit_all(MONDAY, HOUR, np.zeros((2, 48)), np.zeros(48), [flat, flat]) == [flat, flat]
    assert fit_all(MONDAY, HOUR, np.zeros((1, 0)), np.zeros(0), [flat]) == [flat]
    assert fit_all(MONDAY, HOUR, np.zeros((0, 48)), np.ones(48), []) == []


def test_it_learns_level_and_daily_course(flat: Profile) -> None:
    rate = day_and_night(6, 10.0)
    learnt = fit(weeks_of(rate), flat)
    expected = learnt.expect(MONDAY, 168, HOUR).mean
    assert np.corrcoef(expected, rate[:168])[0, 1] > 0.97
    assert learnt.rate == pytest.approx(rate.mean(), rel=0.1)
    assert learnt.weeks == pytest.approx(6)
    assert learnt.doubt < 0.02 < flat.doubt


def test_it_learns_that_a_series_strays_more_than_counts_do(flat: Profile) -> None:
    rng = np.random.default_rng(3)
    slow = np.repeat(rng.normal(0, 0.5, 8 * 42), 4)  # four hours at a time
    steady = fit(weeks_of(np.full(8 * 168, 40.0)), flat)
    moody = fit(weeks_of(40.0 * np.exp(slow)), flat)
    assert moody.noise > 0.1 > 2 * steady.noise
    bursts = rng.gamma(1.0, 1.0, 4 * 2016)
    assert fit(weeks_of(10 * bursts, bin=FIVE), flat).dispersion < 3
    assert fit(weeks_of(np.full(4 * 2016, 10.0), bin=FIVE), flat).dispersion > 15


def test_a_series_that_hardly_speaks_is_not_taken_for_one_without_bursts(flat: Profile) -> None:
    rng = np.random.default_rng(7)
    rare = rng.poisson(0.05 * rng.gamma(8.0, 1 / 8, 8 * 2016)).astype(float)
    learnt = fit(signal(rare.tolist(), bin=FIVE, start_at=MONDAY), replace(flat, rate=0.6))
    assert learnt.dispersion < 20


def test_a_silence_and_its_backlog_do_not_make_a_series_look_restless(flat: Profile) -> None:
    calm = weeks_of(np.full(6 * 168, 40.0))
    broken = calm.observed.copy()
    for start in (200, 420, 700):
        broken[start + 8] += broken[start : start + 8].sum()
        broken[start : start + 8] = 0.0
    assert fit(replace(calm, observed=broken), flat).noise < 0.03 + fit(calm, flat).noise


def test_past_incidents_teach_little_and_flagged_ones_nothing(flat: Profile) -> None:
    calm = weeks_of(np.full(4 * 168, 5.0))
    bad = calm.observed.copy()
    bad[300:312] = 400.0
    outage = replace(calm, observed=bad)
    flagged = bad == 400.0
    clean = fit(calm, flat)
    assert fit(outage, flat).rate < 1.5 * clean.rate
    assert fit(outage, flat, flagged).rate == pytest.approx(clean.rate, rel=0.03)


def test_hours_in_which_nothing_could_be_heard_do_not_count_as_quiet(flat: Profile) -> None:
    calm = weeks_of(np.full(4 * 168, 5.0))
    heard = np.ones(4 * 168)
    heard[100:300] = 0.0
    deaf = replace(calm, observed=calm.observed * heard, exposure=heard)
    assert fit(deaf, flat).rate == pytest.approx(5.0, rel=0.1)
    assert fit(deaf, flat).weeks < 3


def test_a_few_hours_of_history_move_the_prior_only_a_little(flat: Profile) -> None:
    learnt = fit(signal([4.0, 5.0, 6.0], bin=HOUR, start_at=MONDAY), flat)
    assert flat.rate < learnt.rate < 5.0
    assert fit(signal([0.0] * 20, start_at=NOON), flat) == flat


def test_smaller_bins_share_out_the_same_expectation(flat: Profile) -> None:
    learnt = fit(weeks_of(day_and_night(4, 10.0)), flat)
    minutes = learnt.expect(NOON, 600, timedelta(minutes=1))
    hours = learnt.expect(NOON, 10, HOUR)
    assert minutes.mean.reshape(10, 60).sum(axis=1) == pytest.approx(hours.mean, rel=0.03)
    assert learnt.expect(MONDAY, 1, timedelta(days=7)).mean[0] == pytest.approx(168 * learnt.rate, rel=0.01)


def test_without_history_more_is_expected_of_big_countries_and_big_services(figures: Numbers) -> None:
    big = prior(TR, INSTAGRAM, figures, NOON)
    assert big.rate > 5 * prior(AL, INSTAGRAM, figures, NOON).rate
    assert prior(TR, TURKCELL, figures, NOON).rate > 5 * prior(AL, TURKCELL, figures, NOON).rate
    night, evening = big.expect(MONDAY, 24, HOUR).mean[[1, 18]]  # 4 and 21 o'clock in Istanbul
    assert evening > 2 * night
    assert big.weeks == 0


def test_a_wrong_figure_is_named(tmp_path: Path) -> None:
    good = (catalog.default_root() / "baseline.toml").read_text()
    path = tmp_path / "baseline.toml"
    path.write_text(good.replace("doubt = 1.5", "doubt = 0"))
    with pytest.raises(ConfigError, match="doubt must be more than 0"):
        numbers(path)
    with pytest.raises(ConfigError, match="nowhere"):
        numbers(tmp_path / "nowhere.toml")


def first_day(counts: list[float], region: Region, figures: Numbers) -> Alarm:
    """The scan's verdict on the last minute of a series without history."""
    start = NOON + 8 * HOUR - len(counts) * timedelta(minutes=1)
    panel = Panel("instagram", {region.code: signal(counts, region=region.code, start_at=start)})
    usual = prior(region, INSTAGRAM, figures, start).expect(start, len(counts), timedelta(minutes=1))
    return scan.detect(panel, {region.code: usual}, scan.Options())[0]


@pytest.mark.parametrize("before", [0, 240, 36 * 60])
def test_a_strong_outage_on_the_first_day_is_raised_within_five_minutes(before: int, figures: Numbers) -> None:
    assert first_day([0.0] * before + [5.0] * 5, TR, figures).raised


def test_the_busy_first_evening_of_a_big_service_is_not_an_outage(figures: Numbers) -> None:
    rng = np.random.default_rng(4)
    evening = rng.poisson(np.linspace(2, 15, 300) / 60)  # 15 an hour at its height
    verdicts = [first_day(evening[: n + 1].astype(float).tolist(), TR, figures) for n in range(0, 300, 5)]
    assert not any(alarm.raised for alarm in verdicts)


def test_baselines_go_from_prior_to_history_and_are_kept_for_hours(figures: Numbers) -> None:
    asked: list[datetime] = []

    def hourly(
        service: str, since: datetime, until: datetime
    ) -> tuple[Mapping[tuple[str, datetime], float], Mapping[datetime, float]]:
        asked.append(until)
        hours = [MONDAY + n * HOUR for n in range(168) if since <= MONDAY + n * HOUR < until]
        return {("TR", hour): 30.0 for hour in hours}, dict.fromkeys(hours, 1.0)

    world = Catalog({}, {"instagram": INSTAGRAM}, {"TR": TR, "AL": AL}, (), (), "test")
    baselines = Baselines(world, hourly, figures)
    panel = Panel("instagram", {"TR": signal([0.0] * 60), "AL": signal([0.0] * 60, region="AL")})
    before = baselines.of(panel, MONDAY)
    assert before["TR"].weeks == 0
    later = baselines.of(panel, MONDAY + timedelta(days=6))
    assert later["TR"].mean.sum() > 3 * before["TR"].mean.sum()
    assert later["AL"].mean.sum() < before["AL"].mean.sum()
    baselines.of(panel, MONDAY + timedelta(days=6, minutes=1))
    assert len(asked) == 2
    assert all(until <= now for until, now in zip(asked, (MONDAY, MONDAY + timedelta(days=6)), strict=True))
