"""What the scan does that simpler rules don't: regions together, silences, echoes, doubt, fractions."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from listener.detectors import ears, farrington, gfm, glr_nb, scan
from listener.errors import InputError
from listener.signals.online import Online, Verdict
from listener.types import Alarm, Baseline, Panel
from tests.builders import NOON, signal

FIVE = timedelta(minutes=5)


def verdict(
    counts: list[float],
    mean: float = 0.1,
    *,
    exposure: list[float] | None = None,
    bin: timedelta = FIVE,
    **usual: float,
) -> Alarm:
    baseline = Baseline(np.full(len(counts), mean), 6.0, 0.1, 4.0)
    panel = Panel("instagram", {"TR": signal(counts, exposure=exposure, bin=bin)})
    return scan.detect(panel, {"TR": replace(baseline, **usual)}, scan.Options())[0]  # type: ignore[arg-type]


def quiet(bins: int, every: int = 10) -> list[float]:
    """One post every so many bins."""
    return [1.0 if i % every == every // 2 else 0.0 for i in range(bins)]


def regions_at_once(counts: list[float], regions: int, of: int, *, joint: bool = True) -> list[Alarm]:
    nothing = quiet(len(counts), 20)
    panel = Panel(
        "instagram",
        {f"R{i}": signal(counts if i < regions else nothing, region=f"R{i}", bin=FIVE) for i in range(of)},
    )
    usual = {region: Baseline(np.full(len(counts), 0.05), 6.0, 0.1, 4.0) for region in panel.signals}
    return scan.detect(panel, usual, scan.Options(joint=joint))


def test_a_strong_outage_is_raised_with_its_first_posts() -> None:
    assert verdict([*quiet(100), 5.0]).raised


def test_two_posts_in_a_place_where_nobody_ever_writes_are_no_outage() -> None:
    assert not verdict([0.0] * 100 + [2.0], mean=1e-4).raised


def test_fractions_of_authors_add_up() -> None:
    whole, halves = verdict([*quiet(100), 3.0, 3.0]), verdict([*quiet(100), 2.5, 3.5])
    assert halves.raised
    assert halves.score == pytest.approx(whole.score, rel=0.3)


def test_what_is_usual_at_this_level_is_not_raised_however_many_posts_it_is() -> None:
    assert not verdict([50.0] * 100 + [70.0], mean=50.0).raised
    assert verdict([50.0] * 100 + [250.0], mean=50.0).raised


def test_a_level_that_rose_hours_ago_is_expected_to_last() -> None:
    risen = verdict([50.0] * 50 + [85.0] * 60, mean=50.0)
    assert risen.expected > 70
    assert not risen.raised


def test_half_the_ears_need_half_the_posts() -> None:
    all_ears = verdict([5.0] * 100 + [11.0, 11.0, 11.0], mean=5.0)
    half = verdict([2.5] * 100 + [11.0, 11.0, 11.0], mean=5.0, exposure=[0.5] * 103)
    assert half.expected == pytest.approx(all_ears.expected / 2, rel=0.2)
    assert half.score > 2 * all_ears.score


def test_a_source_that_catches_up_after_a_known_silence_is_no_outage() -> None:
    counts = [2.0] * 100 + [0.0] * 40 + [75.0]
    assert not verdict(counts, mean=2.0, exposure=[1.0] * 100 + [0.0] * 40 + [1.0]).raised
    assert verdict([2.0] * 140 + [75.0], mean=2.0).raised


def test_a_source_that_catches_up_after_a_silence_nobody_told_us_about_is_no_outage_either() -> None:
    assert not verdict([2.0] * 100 + [0.0] * 40 + [75.0], mean=2.0).raised


def test_a_source_that_lost_only_some_of_its_ears_catches_up_unheard_too() -> None:
    counts = [20.0] * 100 + [9.0] * 48 + [560.0]
    assert not verdict(counts, mean=20.0).raised
    assert verdict([20.0] * 148 + [560.0], mean=20.0).raised


def test_an_outage_that_goes_on_after_a_silence_is_raised_when_no_backlog_can_explain_it() -> None:
    gap = [2.0] * 100 + [0.0] * 40
    exposure = [1.0] * 100 + [0.0] * 40
    goes_on = [75.0, 20.0, 22.0, 19.0, 24.0]
    assert [verdict(gap + goes_on[: n + 1], mean=2.0, exposure=exposure + [1.0] * (n + 1)).raised for n in range(5)][
        ::4
    ] == [
        False,
        True,
    ]


def test_a_long_quiet_spell_of_a_series_we_hardly_know_is_no_silent_source() -> None:
    assert verdict([0.0] * 100 + [4.0, 5.0], mean=0.1, doubt=1.5).raised


def test_an_outage_that_begins_well_after_a_silence_is_raised() -> None:
    counts = [2.0] * 100 + [0.0] * 40 + [2.0] * 6 + [25.0, 30.0]
    assert verdict(counts, mean=2.0, exposure=[1.0] * 100 + [0.0] * 40 + [1.0] * 8).raised


def test_the_news_about_a_big_outage_the_day_after_are_no_outage() -> None:
    day_after = [250.0] * 18 + [5.0] * (21 * 12) + [15.0] * 6
    assert not verdict([5.0] * 140 + day_after, mean=5.0).raised
    assert verdict([5.0] * 140 + [5.0] * (21 * 12 + 18) + [15.0] * 6, mean=5.0).raised


def test_doubt_about_the_baseline_asks_for_more() -> None:
    counts = [*quiet(100), 2.0, 2.0]
    assert verdict(counts, doubt=1.5).score < verdict(counts).score


def test_the_upper_bound_is_the_count_that_would_alarm() -> None:
    before = [2.0] * 100
    bound = verdict([*before, 30.0], mean=2.0).upperbound
    assert not verdict([*before, bound - 0.1], mean=2.0).raised
    assert verdict([*before, bound + 0.1], mean=2.0).raised


def test_weak_trouble_in_many_regions_is_seen_only_together() -> None:
    weak = [*quiet(100, 20), 1.0, 0.0, 1.0, 1.0]
    alone = regions_at_once(weak, 6, 12, joint=False)
    together = regions_at_once(weak, 6, 12)
    assert not any(alarm.raised for alarm in alone)
    assert [alarm.raised for alarm in together] == [True] * 6 + [False] * 6


def test_a_loud_region_does_not_carry_quiet_ones_along() -> None:
    panel = Panel(
        "instagram",
        {
            "TR": signal([*quiet(100), 60.0], region="TR", bin=FIVE),
            "BG": signal([*quiet(100), 1.0], region="BG", bin=FIVE),
        },
    )
    usual = {region: Baseline(np.full(101, 0.1), 6.0, 0.1, 4.0) for region in panel.signals}
    assert [alarm.raised for alarm in scan.detect(panel, usual, scan.Options())] == [True, False]


def test_ears_forgets_what_it_just_saw_unless_it_is_c1() -> None:
    counts = [*([2.0] * 100), *([2.0, 2.0, 12.0] * 2), 4.0, 4.0, 4.0]
    panel = Panel("instagram", {"TR": signal(counts, bin=FIVE)})
    usual = {"TR": Baseline(np.full(len(counts), 2.0), 6.0, 0.1, 4.0)}
    c1, c2 = (ears.detect(panel, usual, ears.Options(method=method))[0].score for method in ("c1", "c2"))
    assert c2 > c1
    with pytest.raises(ValueError, match="none of c1, c2, c3"):
        ears.Options(method="c4")


def test_the_likelihood_ratio_finds_when_a_slow_rise_began() -> None:
    counts = [*([2.0] * 60), 3.0, 5.0, 4.0, 5.0, 4.0, 6.0, 5.0, 4.0, 5.0, 6.0, 4.0, 5.0]
    panel = Panel("instagram", {"TR": signal(counts, bin=FIVE)})
    usual = {"TR": Baseline(np.full(len(counts), 2.0), 20.0, 0.01, 4.0)}
    whole = glr_nb.detect(panel, usual, glr_nb.Options())[0].score
    half = glr_nb.detect(panel, usual, glr_nb.Options(longest=timedelta(minutes=15)))[0].score
    assert whole > 2 * half


def test_the_gap_rule_sees_a_few_fast_posts_where_hardly_anybody_writes_and_no_rise_where_many_do() -> None:
    def gap(counts: list[float], mean: float) -> bool:
        panel = Panel("instagram", {"TR": signal(counts, bin=FIVE)})
        return gfm.detect(panel, {"TR": Baseline(np.full(len(counts), mean), 6.0, 0.1, 4.0)}, gfm.Options())[0].raised

    assert gap([*quiet(100, 20), 2.0, 3.0], 0.05)
    assert not gap([20.0] * 100 + [200.0, 200.0], 20.0)


def test_farringtons_bound_is_higher_where_the_baseline_is_in_doubt() -> None:
    def bound(doubt: float) -> float:
        panel = Panel("instagram", {"TR": signal([2.0] * 60, bin=FIVE)})
        usual = {"TR": Baseline(np.full(60, 2.0), 6.0, 0.1, 4.0, doubt=doubt)}
        return farrington.detect(panel, usual, farrington.Options())[0].upperbound

    assert bound(0.5) > 1.5 * bound(0.0)


def run(counts: list[float | None], bin: timedelta = FIVE) -> list[Verdict]:
    runner = Online(scan.detect, scan.Options())
    return [runner.step(NOON + i * bin, count) for i, count in enumerate(counts)]


def a_week_of_ordinary_chatter(mean: float = 4.0) -> list[float | None]:
    hours = np.arange(7 * 288) / 12
    rate = mean * np.exp(0.5 * np.sin(2 * np.pi * hours / 24))
    return [float(n) for n in np.random.default_rng(5).poisson(rate)]


def test_online_learns_a_series_and_notices_when_it_breaks() -> None:
    answers = run([*a_week_of_ordinary_chatter(), 30.0, 40.0, 45.0])
    assert sum(answer.alarm for answer in answers[:-3]) == 0
    assert all(answer.alarm for answer in answers[-2:])
    assert all(answer.upperbound > answer.expected for answer in answers[1:])
    late = [answer.expected for answer in answers[-291:-3]]
    assert max(late) > 1.7 * min(late)  # it has learnt day and night


def test_online_never_looks_ahead() -> None:
    ordinary = a_week_of_ordinary_chatter()[:700]
    assert run([*ordinary, 500.0, None, 0.0])[:700] == run(ordinary)


def test_online_takes_an_empty_count_and_a_left_out_row_for_silence() -> None:
    ordinary = a_week_of_ordinary_chatter()[:600]
    answers = run([*ordinary, *[None] * 12, 4.0])
    assert answers[605].observed is None
    assert not answers[605].alarm
    runner = Online(scan.detect, scan.Options())
    for i, count in enumerate(ordinary):
        runner.step(NOON + i * FIVE, count)
    skipped = runner.step(NOON + 612 * FIVE, 4.0)
    assert skipped == answers[612]


def test_online_refuses_rows_it_cannot_place() -> None:
    runner = Online(scan.detect, scan.Options())
    runner.step(NOON, 1)
    runner.step(NOON + FIVE, 1)
    with pytest.raises(InputError, match="grid"):
        runner.step(NOON + FIVE * 1.5, 1)
    with pytest.raises(InputError, match="late"):
        runner.step(NOON, 1)
    with pytest.raises(InputError, match="count -1"):
        runner.step(NOON + 2 * FIVE, -1)
    with pytest.raises(InputError, match="too short"):
        Online(scan.detect, scan.Options(), bin=timedelta(seconds=30))


@pytest.mark.parametrize("bin", [timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)])
def test_online_reads_bins_of_any_length(bin: timedelta) -> None:
    steady = [float(n) for n in np.random.default_rng(2).poisson(8, 200)]
    answers = run([*steady, 80.0, 90.0, 90.0], bin)
    assert answers[-1].alarm
    assert sum(answer.alarm for answer in answers[:-3]) == 0
