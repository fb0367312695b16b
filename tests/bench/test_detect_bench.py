"""The detectors on one bench, strictly online, everything counted. Run with `pytest -s tests/bench/test_detect_bench.py`.

All series are synthetic (`listener/simulation/series.py`). Each detector has one threshold for all levels, set on tuning
seeds so that all its false alarms together (in quiet times, after dropouts, during echoes) come to one a region in four
weeks. What is printed was measured on other seeds, with that threshold unchanged.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from listener import kinds
from listener.detectors import scan
from listener.signals.online import Online
from listener.signals.profile import FLAT, Profile, fit
from listener.simulation import scoring
from listener.simulation.series import BIN, DAY, SHAPES, SIZE, START_AT, Series, panel, single
from listener.simulation.tuning import tuned_option
from listener.types import Floats, Panel, SeriesKey, Signal

Raised = NDArray[np.bool_]
pytestmark = pytest.mark.timeout(0)

LEVELS = (0.05, 0.5, 5.0, 50.0)
TUNING, UNSEEN = range(1000, 1000 + int(os.environ.get("BENCH_TUNING", "10"))), (27, 28, 29)
PER_SEED = int(os.environ.get("BENCH_PER_SEED", "5"))  # series of each level for each unseen seed
BUDGET = 1 / 4  # false alarms a region and week
KINDS = tuple(os.environ.get("BENCH_KINDS", "").split()) or tuple(kinds.names("detectors"))
LOOKBACK = 432  # bins that a panel holds: 36 hours


def options_of(kind: str, threshold: float | None = None) -> Any:
    module = kinds.load("detectors", kind, "bench")
    made: Any = module.Options(joint=False) if kind == "scan" else module.Options()
    return made if threshold is None else replace(made, **{tuned_option(module): threshold})


def scores_of(
    job: tuple[int, float], kind: str, threshold: float | None, mode: dict[str, bool]
) -> tuple[Floats, Raised]:
    series = single(*job, **mode)
    detect = kinds.load("detectors", kind, "bench").detect
    said = Online(detect, options_of(kind, threshold), BIN).run(series.start_at, series.counts, series.exposure)
    return np.array([v.score for v in said]), np.array([v.alarm for v in said])


def all_of(
    seeds: Sequence[int], kind: str, threshold: float | None, mode: dict[str, bool]
) -> list[tuple[Series, Floats, Raised]]:
    jobs = [(seed, mean) for mean in LEVELS for seed in seeds]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(partial(scores_of, kind=kind, threshold=threshold, mode=mode), jobs))
    return [(single(*job, **mode), *scores) for job, scores in zip(jobs, found, strict=True)]


def false_rate(runs: Sequence[tuple[Series, Raised]]) -> tuple[float, Counter[str]]:
    counted: Counter[str] = Counter()
    for series, raised in runs:
        counted += scoring.false_alarms(series, scoring.starts(raised))
    return counted.total() / sum(scoring.weeks(series) for series, _ in runs), counted


def matched(kind: str, mode: dict[str, bool]) -> float:
    """The threshold with the wanted rate on the tuning seeds."""
    runs = all_of(TUNING, kind, None, mode)
    low, high = 0.0, 10_000.0
    for _ in range(30):
        threshold = (low + high) / 2
        rate, _ = false_rate([(series, scores >= threshold) for series, scores, _ in runs])
        low, high = (threshold, high) if rate > BUDGET else (low, threshold)
    return high


def row(kind: str, threshold: float, mode: dict[str, bool]) -> tuple[str, dict[str, float]]:
    per_seed = []
    runs: list[tuple[Series, Raised]] = []
    for seed in UNSEEN:
        seeds = range(seed * 100, seed * 100 + PER_SEED)
        mine = [(series, raised) for series, _, raised in all_of(seeds, kind, threshold, mode)]
        per_seed.append(false_rate(mine)[0])
        runs += mine
    rate, false = false_rate(runs)
    found = [o for series, raised in runs for o in scoring.outcomes(series, scoring.starts(raised))]
    ten = [o for o in found if o.shape in SHAPES]
    delays = np.array([np.nan if o.delay is None else o.delay for o in ten])
    nuisances = Counter("echo" if n.kind == "echo" else "dropout" for series, _ in runs for n in series.nuisances)

    def share(chosen: Callable[[scoring.Outcome], bool], among: Sequence[scoring.Outcome]) -> float:
        some = [o.delay is not None for o in among if chosen(o)]
        return 100 * sum(some) / max(len(some), 1)

    figures = {
        "recall": 100 * float(np.mean(~np.isnan(delays))),
        "within 15": 100 * float(np.mean(delays <= 15)),
        "median": float(np.nanmedian(delays)) if not np.isnan(delays).all() else np.nan,
        "rate": rate,
        "dropout": false["dropout"] / nuisances["dropout"],
        "echo": false["echo"] / nuisances["echo"],
        "second": share(lambda o: o.shape == "second", found),
        "in gap": share(lambda o: o.shape == "in_gap", found),
        "flagged": 100 * float(np.mean(np.concatenate([raised for _, raised in runs]))),
    }
    levels = " / ".join(f"{share(lambda o, m=mean: o.mean == m, ten):.0f}" for mean in LEVELS)  # type: ignore[misc]
    shapes = " / ".join(f"{share(lambda o, s=shape: o.shape == s, ten):.0f}" for shape in SHAPES)  # type: ignore[misc]
    told = " ".join(
        f"{figure:9.3f}" if name in ("rate", "dropout", "echo") else f"{figure:9.1f}"
        for name, figure in figures.items()
    )
    seeds_told = " ".join(f"{one:.2f}" for one in per_seed)
    return f"{kind:11s} {threshold:8.2f} {told}   {levels:18s}  {shapes:24s}  {seeds_told}", figures


HEADER = (
    f"{'':11s} {'threshold':>8s}    recall  within15   median     rate   dropout      echo    second    in gap   flagged   "
    f"{'at ' + ' / '.join(f'{m:g}' for m in LEVELS):18s}  {'/'.join(SHAPES):24s}  rate by unseen seed"
)


@pytest.mark.parametrize(
    "mode", [{}, {"weighted": True, "echo_labelled": True}], ids=["whole counts", "weights, echo labelled"]
)
def test_single_series(mode: dict[str, bool]) -> None:
    print(
        f"\n{mode}: {len(UNSEEN) * PER_SEED * len(LEVELS)} series, matched at {BUDGET} false alarms a region and week"
    )
    print(HEADER)
    table = {}
    for kind in KINDS:
        line, table[kind] = row(kind, matched(kind, mode), mode)
        print(line, flush=True)
    for kind, figures in table.items():
        assert kind == "scan" or figures["recall"] < table["scan"]["recall"], kind


def fitted(series: Sequence[Series], day: int) -> dict[str, Profile]:
    """What each region of a panel is used to, from everything before a day."""
    made = {}
    for i, one in enumerate(series):
        seen = one.counts[: day * DAY]
        prior = replace(FLAT, rate=float((seen.sum() + 0.1) / (len(seen) + 0.1) * 12), doubt=1.0)
        key = SeriesKey("bench", f"R{i}")
        made[key.region] = fit(Signal(key, one.start_at, BIN, seen, np.ones_like(seen), seen, seen, seen), prior)
    return made


def judged(seed: int, hit: int, *, joint: bool) -> tuple[list[Series], Floats]:
    """Scores of a panel, regions x bins; bins in which nobody writes are passed over."""
    series = panel(seed, (0.05,) * 20, hit, days=40, outages=8)
    counts = np.stack([one.counts for one in series])
    scores = np.zeros_like(counts)
    options = scan.Options(joint=joint)
    ones, width = np.ones(LOOKBACK), LOOKBACK
    for day in range(14, 40, 2):
        profiles = fitted(series, day)
        first = day * DAY + 1 - width
        usual = {region: one.expect(START_AT + first * BIN, width + 2 * DAY, BIN) for region, one in profiles.items()}
        for end in range(day * DAY + 1, (day + 2) * DAY + 1):
            if not counts[:, end - 1].any():
                continue
            part = slice(end - width - first, end - first)
            signals, baselines = {}, {}
            for i, (region, one) in enumerate(usual.items()):
                seen = counts[i, end - width : end]
                key = SeriesKey("bench", region)
                signals[region] = Signal(key, START_AT + (end - width) * BIN, BIN, seen, ones, seen, seen, seen)
                baselines[region] = replace(one, mean=one.mean[part])
            alarms = scan.detect(Panel("bench", signals), baselines, options)
            scores[:, end - 1] = [alarm.score for alarm in alarms]
    return series, scores


def rates(runs: Sequence[tuple[list[Series], Floats]], threshold: float) -> tuple[float, float]:
    """False alarms a panel and week, those of several regions at once being one as in incidents; and a region and week."""
    together = alone = 0
    for series, scores in runs:
        any_ = replace(series[0], events=tuple(event for one in series for event in one.events))
        together += scoring.false_alarms(any_, scoring.starts(scores.max(axis=0) >= threshold)).total()
        alone += sum(scoring.false_alarms(any_, scoring.starts(mine >= threshold)).total() for mine in scores)
    weeks = sum(scoring.weeks(series[0]) for series, _ in runs)
    return together / weeks, alone / weeks / len(runs[0][0])


def omniscient(series: Sequence[Series], hit: Sequence[int], share: float = 1.0) -> Floats:
    """Scores of one that knows each region's true rate and by about how much regions are hit; not when.

    With a `share` below 1 it knows only how many of these regions are hit, not which.
    """
    counts, usual = (np.stack([getattr(series[i], name) for i in hit]) for name in ("counts", "usual"))
    best = np.full(counts.shape[1], -np.inf)
    for times in (4.0, 7.0, 10.0):
        spread = np.log((SIZE + times * usual) / (SIZE + usual))
        ratio = np.cumsum(np.pad(counts * np.log(times) - (counts + SIZE) * spread, ((0, 0), (1, 0))), axis=1)
        for bins in (1, 2, 3, 4, 6, 9, 12):
            window = ratio[:, bins:] - ratio[:, :-bins]
            told = window.sum(axis=0) if share == 1 else np.log1p(share * np.expm1(window)).sum(axis=0)
            best[bins - 1 :] = np.maximum(best[bins - 1 :], told)
    return best


@pytest.mark.parametrize("knows_which", [True, False])
def test_what_an_omniscient_one_finds_of_trouble_in_five_of_twenty_regions(knows_which: bool) -> None:
    """As `test_joint`, at as many false alarms a panel: nothing that has to find out more can be quicker."""
    among, share = (range(5), 1.0) if knows_which else (range(20), 0.25)
    quiet = [omniscient(panel(s, (0.05,) * 20, 0, days=40, outages=0), among, share) for s in range(600, 612)]
    weeks = sum(len(scores) for scores in quiet) / (7 * DAY)
    low, high = 0.0, 50.0
    for _ in range(20):
        middle = (low + high) / 2
        too_many = sum(len(scoring.starts(scores >= middle)) for scores in quiet) / weeks > BUDGET * 20
        low, high = (middle, high) if too_many else (low, middle)
    delays = []
    for seed in range(91, 103):
        series = panel(seed, (0.05,) * 20, 5, days=40, outages=8)
        for start in {event.start for one in series for event in one.events}:
            hit = [i for i, one in enumerate(series) if any(event.start == start for event in one.events)]
            raised = scoring.starts(omniscient(series, hit if knows_which else among, share) >= high)
            own = next(replace(series[hit[0]], events=(e,)) for e in series[hit[0]].events if e.start == start)
            delays += [o.delay if o.delay is not None else np.inf for o in scoring.outcomes(own, raised)]
    shares = ", ".join(f"{100 * np.mean(np.array(delays) <= m):.0f} % in {m} min" for m in (30, 45, 60))
    which = "which regions are hit" if knows_which else "only how many"
    print(
        f"\nomniscient, knows {which}: {shares} of {len(delays)} outages, false alarms a panel and week {BUDGET * 20:g}",
        flush=True,
    )


@pytest.mark.parametrize("hit", [5, 20])
def test_joint(hit: int) -> None:
    """Fast outages in some of 20 regions at mean 0.05: how soon the first is named, at as many false alarms as 20 may have."""
    for joint in (False, True):
        with ProcessPoolExecutor(2) as pool:
            tuning, *unseen = pool.map(partial(judged, hit=hit, joint=joint), (2000, 91, 92, 93))
        low, high = 0.0, 50.0
        for _ in range(20):
            middle = (low + high) / 2
            too_many = rates([tuning], middle)[0] > BUDGET * len(tuning[0])
            low, high = (middle, high) if too_many else (low, middle)
        delays = []
        for series, scores in unseen:
            first: dict[int, float] = {}
            for one, mine in zip(series, scores, strict=True):
                for event, outcome in zip(one.events, scoring.outcomes(one, scoring.starts(mine >= high)), strict=True):
                    delay = np.inf if outcome.delay is None else outcome.delay
                    first[event.start] = min(first.get(event.start, np.inf), delay)
            delays += list(first.values())
        shares = " ".join(f"{100 * np.mean(np.array(delays) <= m):.0f} % in {m} min," for m in (30, 45, 60, 90))
        together, alone = rates(unseen, high)
        how = "joint" if joint else "independent"
        told = f"{len(delays)} outages, false alarms a week: panel {together:.2f}, region {alone:.2f}"
        print(f"\n{hit} of 20, {how}: threshold {high:.2f}, {shares} {told}", flush=True)
