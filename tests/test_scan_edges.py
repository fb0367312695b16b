"""The scan's figures, each against its definition: several regions together, the smallest alarm, what windows expect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from listener.detectors import scan
from listener.detectors._windows import Sums, read, stack
from listener.detectors.scan import Options, detect, evidence
from listener.types import Alarm, Baseline, Floats, Panel
from tests.builders import MINUTE, signal

CALM = [0.0] * 117
HIT, TIMES, MEMBER, TOGETHER = 0.25, (3.0, 6.0, 12.0), 2.5, 1.5  # as docs/methodology.md has it
FIVE = 5 * MINUTE


def panel_of(counts: dict[str, list[float]]) -> Panel:
    return Panel("instagram", {region: signal(values, region=region) for region, values in counts.items()})


def usual(panel: Panel, mean: float, **figures: float) -> dict[str, Baseline]:
    known = Baseline(np.ones(1), dispersion=6.0, noise=0.1, weeks=4.0)
    return {
        region: replace(known, mean=np.full(len(of.observed), mean), **figures)  # type: ignore[arg-type]
        for region, of in panel.signals.items()
    }


def judged(
    counts: dict[str, list[float]], mean: float = 0.01, *, joint: bool = True, **figures: float
) -> dict[str, Alarm]:
    panel = panel_of(counts)
    return {a.key.region: a for a in detect(panel, usual(panel, mean, **figures), Options(joint=joint))}


def regions(hit: int, calm: int, posts: tuple[float, ...] = (1.0, 1.0, 1.0)) -> dict[str, list[float]]:
    return {f"H{i}": [*CALM, *posts] for i in range(hit)} | {f"C{i}": [*CALM, 0.0, 0.0, 0.0] for i in range(calm)}


# --- several regions ----------------------------------------------------------------------------------------------


def together(counts: dict[str, list[float]], mean: float) -> float:
    """The best score of all windows and rates, by the formula of Xie & Siegmund, region by region."""
    panel = panel_of(counts)
    windows = read(stack(panel, usual(panel, mean)), Options().windows)
    best = 0.0
    for times in TIMES:
        for window in range(len(windows.bins)):
            sums, members = TOGETHER, []
            for region in range(len(counts)):
                seen, of, size = (
                    float(v[window, region]) for v in (windows.plain.seen, windows.plain.mean, windows.plain.size)
                )
                brought = seen * np.log(times) - (seen + size) * np.log((size + times * of) / (size + of))
                brought = min(brought, Options().threshold)
                sums += np.log(1 - HIT + HIT * np.exp(brought))
                members += [seen] if brought > MEMBER else []
            if len(members) >= 2 and sum(members) >= Options().least:
                best = max(best, float(sums))
    return best


@pytest.mark.parametrize(("hit", "calm", "mean"), [(2, 0, 0.01), (2, 4, 0.01), (3, 9, 0.01), (5, 1, 0.005)])
def test_regions_that_are_hit_score_what_the_mixture_says(hit: int, calm: int, mean: float) -> None:
    counts = regions(hit, calm)
    alone, found = judged(counts, mean, joint=False), judged(counts, mean)
    expected = together(counts, mean)
    assert expected > alone["H0"].score
    assert found["H0"].score == pytest.approx(expected)
    assert all(found[f"C{i}"].score == 0 for i in range(calm)), "who brings nothing is not named"


@pytest.mark.parametrize(("usually", "now"), [(1.0, 4.0), (2.0, 8.0), (0.1, 1.0), (0.5, 4.0)])
def test_regions_that_rise_a_few_times_score_what_the_mixture_says(usually: float, now: float) -> None:
    """Where people write all day already, in five regions, and in a sixth that is not hit."""
    counts = {f"H{i}": [usually] * 117 + [now] * 3 for i in range(5)} | {"C0": [usually] * 120}
    alone, found = judged(counts, usually, joint=False), judged(counts, usually)
    assert found["H0"].score == pytest.approx(together(counts, usually))
    assert found["H0"].score > alone["H0"].score
    assert found["C0"].score == 0


def test_two_regions_are_several() -> None:
    counts = regions(2, 6, (0.0, 1.0, 1.0))
    assert not judged(counts, 0.001, joint=False)["H0"].raised
    assert [region for region, one in judged(counts, 0.001).items() if one.raised] == ["H0", "H1"]


def test_quiet_regions_make_several_less_likely_not_more() -> None:
    scores = [judged(regions(3, calm), 0.01)["H0"].score for calm in (0, 3, 9)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


def test_fewer_than_three_people_in_two_places_where_nobody_writes_are_too_few() -> None:
    found = judged(regions(2, 10, (0.0, 0.4, 1.0)), 1e-5)
    assert all(one.score == 0 for one in found.values())
    assert judged(regions(2, 10, (0.0, 0.5, 1.0)), 1e-5)["H0"].score > 0, "three are enough"


# --- one region ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("posts", "raised"), [(2.9, False), (3.0, True)])
def test_three_people_are_the_fewest_that_raise_an_alarm(posts: float, raised: bool) -> None:
    found = judged({"TR": [*CALM, 0.0, 0.0, posts]}, 1e-4)["TR"]
    assert found.raised is raised
    assert (found.score > 0) is raised


@pytest.mark.parametrize("mean", [0.01, 0.3, 2.0, 40.0])
def test_the_upper_bound_is_the_mean_count_a_bin_that_brings_the_window_to_the_threshold(mean: float) -> None:
    calm = np.full(118, mean)
    panel = panel_of({"TR": [*calm.tolist(), 3 * mean + 2, 3 * mean + 2]})
    (alarm,) = detect(panel, usual(panel, mean), Options(windows=(5,), joint=False))
    windows = read(stack(panel, usual(panel, mean)), (5,))
    needed = alarm.upperbound * 5
    found = evidence(np.array([needed]), windows.owed.mean[0], windows.plain.size[0], 1.5)
    assert alarm.window == 5 * MINUTE
    assert needed == pytest.approx(3.0) or found == pytest.approx(8.0, abs=1e-3)
    assert needed >= 3.0 - 1e-9


@pytest.mark.parametrize("increase", [1.0, 1.5, 3.0])
@pytest.mark.parametrize(
    ("mean", "figures"),
    [(0.3, {}), (2.0, {}), (40.0, {}), (40.0, {"dispersion": 0.2, "noise": 1.0}), (400.0, {"dispersion": 1e4, "noise": 1e-3})],
)  # fmt: skip
def test_what_is_above_the_upper_bound_raises_and_what_is_below_does_not(
    mean: float, figures: dict[str, float], increase: float
) -> None:
    """However restless or steady a series is, and however small a rise counts."""

    def read_as(last: float) -> Alarm:
        panel = panel_of({"TR": [mean] * 115 + [last] * 5})
        (alarm,) = detect(panel, usual(panel, mean, **figures), Options(windows=(5,), increase=increase, joint=False))
        return alarm

    bound = read_as(mean).upperbound
    assert bound > mean
    assert [read_as(bound * times).raised for times in (0.999, 1.001)] == [False, True]


def test_as_much_as_usual_is_no_evidence_at_all() -> None:
    assert judged({"TR": [50.0] * 120}, 50.0)["TR"].score == 0
    assert all(alarm.score == 0 for alarm in judged({"TR": [50.0] * 120, "BG": [0.0] * 120}, 50.0).values())


def test_a_region_that_cannot_be_heard_now_is_not_judged() -> None:
    """Whatever was said in it a minute ago."""
    deaf = signal([*CALM, 3.0, 4.0, 0.0], exposure=[1.0] * 119 + [0.0])
    panel = Panel("instagram", {"TR": deaf})
    (alarm,) = detect(panel, usual(panel, 0.01), Options())
    assert (alarm.raised, alarm.score, alarm.exposure, alarm.expected) == (False, 0.0, 0.0, 0.0)
    heard = Panel("instagram", {"TR": replace(deaf, exposure=np.ones(120))})
    assert detect(heard, usual(heard, 0.01), Options())[0].raised


def test_expected_is_what_can_be_heard_in_the_last_minute() -> None:
    whole, half = (Panel("i", {"TR": signal([2.0] * 120, exposure=[1.0] * 119 + [last])}) for last in (1.0, 0.5))
    (all_ears,), (some,) = (detect(panel, usual(panel, 2.0), Options()) for panel in (whole, half))
    assert some.expected == pytest.approx(all_ears.expected / 2)


def test_expected_is_the_baseline_times_the_level_of_the_hours_before() -> None:
    panel = panel_of({"TR": [2.0] * 120})
    (alarm,) = detect(panel, usual(panel, 1.0), Options())
    windows = read(stack(panel, usual(panel, 1.0)), (5, 90))
    assert alarm.expected == pytest.approx(float(windows.level[0]))
    assert 1.3 < alarm.expected < 2.0


@pytest.mark.parametrize(("score", "threshold"), [("at", 0.0), ("above", 1e-9)])
def test_a_score_at_the_threshold_raises(score: str, threshold: float) -> None:
    panel = panel_of({"TR": [*CALM, 1.0, 2.0, 2.0]})
    (first,) = detect(panel, usual(panel, 0.05), Options())
    (again,) = detect(panel, usual(panel, 0.05), Options(threshold=first.score + threshold))
    assert again.raised is (score == "at")


# --- windows ------------------------------------------------------------------------------------------------------


def sums_of(counts: list[float], mean: float = 1.0, **figures: float) -> Sums:
    panel = panel_of({"TR": counts})
    return read(stack(panel, usual(panel, mean, **figures)), (5, 10, 30)).plain


def test_a_window_holds_what_its_bins_hold() -> None:
    counts = [float(n % 7) for n in range(120)]
    sums = sums_of(counts)
    assert sums.seen[:, 0].tolist() == [sum(counts[-n:]) for n in (5, 10, 30)]


def test_a_window_is_never_longer_than_what_is_known() -> None:
    panel = panel_of({"TR": [1.0] * 20})
    assert read(stack(panel, usual(panel, 1.0)), (5, 90, 10, 60)).bins == (5, 10, 20)


def test_noise_and_doubt_make_a_window_less_sure() -> None:
    sure = sums_of([1.0] * 120).size
    assert (sums_of([1.0] * 120, noise=0.4).size < sure).all()
    assert (sums_of([1.0] * 120, doubt=1.0).size < sure).all()
    assert (sums_of([1.0] * 120, dispersion=0.5).size < sure).all()


def test_the_more_is_known_of_a_series_the_surer_its_windows() -> None:
    long, short = sums_of([1.0] * 600, doubt=1.0).size, sums_of([1.0] * 120, doubt=1.0).size
    assert (long > short).all()


def test_a_baseline_in_doubt_follows_the_panel_and_a_sure_one_does_not() -> None:
    risen = [3.0] * 400
    doubted, sure = (sums_of(risen, doubt=doubt, noise=0.001).mean[0, 0] / 5 for doubt in (2.0, 0.001))
    assert 2.5 < doubted < 3.0
    assert 1.0 <= sure < 1.5


def test_the_level_forgets_towards_the_usual_the_longer_the_window() -> None:
    a_bin = sums_of([2.0] * 120, noise=0.3).mean[:, 0] / np.array([5, 10, 30])
    assert a_bin[0] > a_bin[1] > a_bin[2] > 1


def after_a_silence(deaf: float, bins: int = 30) -> tuple[Floats, Floats]:
    """Backlog believed and posts owed when so much less could be heard for half an hour."""
    counts = [4.0] * 90 + [4.0 * (1 - deaf)] * bins + [4.0]
    exposure = [1.0] * 90 + [1.0 - deaf] * bins + [1.0]
    panel = Panel("instagram", {"TR": signal(counts, exposure=exposure)})
    windows = read(stack(panel, usual(panel, 4.0)), (5,))
    return windows.backlog[:, 0], windows.owed.mean[:, 0] - windows.plain.mean[:, 0]


def test_a_known_silence_owes_what_was_not_heard() -> None:
    believed, owed = after_a_silence(1.0)
    assert believed[0] == 1.0
    assert owed[0] == pytest.approx(30 * 4.0, rel=0.05)
    believed, owed = after_a_silence(0.5)
    assert (believed[0], owed[0]) == (1.0, pytest.approx(60.0, rel=0.05))


@pytest.mark.parametrize(("deaf", "is_silence"), [(0.04, False), (0.06, True)])
def test_a_twentieth_less_heard_is_a_silence(deaf: float, is_silence: bool) -> None:
    believed, owed = after_a_silence(deaf)
    assert bool(believed[0] == 1.0) is is_silence
    assert bool(owed[0] > 0) is is_silence


def echo(times: float, hours: float = 24.0) -> float:
    """What the news may bring a bin, after half an hour of so many times the usual so long ago."""
    counts = np.full(36 * 12, 5.0)
    counts[-int(hours * 12) - 6 : -int(hours * 12)] *= times
    panel = Panel("instagram", {"TR": signal(counts.tolist(), bin=FIVE)})
    with_it, without = (
        read(stack(p, usual(p, 5.0)), (30,)).plain.mean[0, 0]
        for p in (panel, Panel("instagram", {"TR": signal([5.0] * (36 * 12), bin=FIVE)}))
    )
    return float(with_it - without)


def test_only_what_is_four_times_the_usual_makes_the_news() -> None:
    assert echo(4.0) < 1 < echo(6.0) < echo(20.0)
    assert echo(20.0) == pytest.approx(0.08 * (6 * 5 * (20 - 4) - 5), rel=0.1)


@pytest.mark.parametrize(("hours", "comes"), [(17.0, False), (19.0, True), (35.0, True)])
def test_the_news_come_between_eighteen_and_thirty_six_hours_after(hours: float, comes: bool) -> None:
    assert (echo(20.0, hours) > 5) is comes


def test_where_no_region_is_watched_there_is_no_verdict() -> None:
    assert detect(Panel("instagram", {}), {}, Options()) == []


def test_an_alarm_says_what_it_saw() -> None:
    panel = panel_of({"TR": [*CALM, 1.0, 2.0, 4.0]})
    (alarm,) = scan.detect(panel, usual(panel, 0.05), Options())
    assert (alarm.observed, alarm.exposure) == (4.0, 1.0)
    assert alarm.at == panel.signals["TR"].start_at + 119 * MINUTE
