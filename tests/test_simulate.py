"""The simulator: the same seed gives the same world, its truth is true, and thresholds come out of its quiet weeks."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from listener import catalog, kinds
from listener.detectors import gfm, threshold
from listener.errors import InputError
from listener.signals.online import Online
from listener.signals.profile import FLAT
from listener.simulation import scoring, tuning
from listener.simulation.posts import Plan, archive, texts, truth_toml
from listener.simulation.series import BIN, DAY, ECHO_SHARE, SHAPES, WARM_UP, panel, single
from listener.sources.jsonl import parse_line
from tests.builders import NOON


def test_the_same_seed_gives_the_same_series_and_another_a_different_one() -> None:
    assert single(3, 0.5).counts.tolist() == single(3, 0.5).counts.tolist()
    assert single(3, 0.5).counts.tolist() != single(4, 0.5).counts.tolist()


@pytest.mark.parametrize("mean", [0.05, 0.5, 5.0, 50.0])
def test_a_series_holds_ten_outages_of_five_shapes_after_a_calm_fortnight(mean: float) -> None:
    made = single(5, mean)
    shapes = [event.shape for event in made.events]
    assert all(shapes.count(shape) == 2 for shape in SHAPES)
    assert shapes.count("second") == shapes.count("in_gap") == 1
    assert min(event.start for event in made.events) >= WARM_UP
    assert single(5, mean, quiet=True).counts.mean() == pytest.approx(mean, rel=0.25)


def test_outages_rise_as_high_as_they_say() -> None:
    made = single(6, 50.0)
    large = next(event for event in made.events if event.shape == "large")
    top = slice(large.start + 3, large.start + 8)
    assert made.counts[top].mean() > 20 * made.usual[top].mean()


def test_a_source_that_drops_out_delivers_everything_within_two_bins_afterwards() -> None:
    made = single(7, 5.0)
    for gap in (n for n in made.nuisances if n.kind == "silent"):
        missed = made.usual[gap.start : gap.end].sum()
        assert made.counts[gap.start : gap.end].sum() == 0
        assert made.counts[gap.end : gap.end + 2].sum() == pytest.approx(missed, rel=0.5)
    flagged = [n for n in made.nuisances if n.kind == "flagged"]
    assert all(made.row(i)[1] is None for n in flagged for i in range(n.start, n.end))


def test_the_news_come_the_day_after_and_a_second_outage_in_the_midst_of_them() -> None:
    made = single(8, 5.0)
    second = next(event for event in made.events if event.shape == "second")
    echo = [n for n in made.nuisances if n.kind == "echo" and n.start <= second.start < n.end]
    assert echo
    large = [e for e in made.events if e.shape == "large" and 20 / 24 * DAY <= echo[0].start - e.start <= 26 / 24 * DAY]
    assert large[0].profile.max() * ECHO_SHARE > 2  # times the usual rate: enough to fool a rule


def test_weights_are_fractions_and_labelled_echo_hardly_counts() -> None:
    weighted = single(9, 5.0, weighted=True)
    assert not np.allclose(weighted.counts, np.round(weighted.counts))
    plain, labelled = single(9, 5.0, quiet=False), single(9, 5.0, echo_labelled=True)
    echoes = [slice(n.start, n.end) for n in plain.nuisances if n.kind == "echo"]
    assert sum(labelled.counts[e].sum() for e in echoes) < 0.8 * sum(plain.counts[e].sum() for e in echoes)


def test_a_panel_fails_in_as_many_regions_at_once_as_asked() -> None:
    made = panel(1, (0.05,) * 20, 5, days=30, outages=4)
    starts = [event.start for series in made for event in series.events]
    assert sorted(set(starts), key=starts.index)
    assert all(starts.count(start) == 5 for start in set(starts))
    assert len(set(starts)) == 4


def test_alarms_are_scored_as_incidents_are_made() -> None:
    made = single(5, 5.0)
    event = next(e for e in made.events if e.shape == "fast")
    raised = np.zeros(len(made.counts), dtype=np.bool_)
    raised[[event.start + 2, event.start + 4, WARM_UP + 5]] = True
    raised[made.nuisances[0].end] = True
    began = scoring.starts(raised)
    found = [o for o in scoring.outcomes(made, began) if o.delay is not None]
    assert [o.shape for o in found] == ["fast"]
    assert found[0].delay == pytest.approx(15 - event.late)
    assert scoring.false_alarms(made, began).total() == 2
    assert scoring.false_alarms(made, began)["quiet"] == 1


@pytest.mark.parametrize("kind", ["scan", "gfm", "threshold"])
def test_judging_a_whole_series_at_once_says_what_judging_row_by_row_says(kind: str) -> None:
    detector = kinds.load("detectors", kind, "test")
    made = single(3, 0.5)
    rows = slice(0, 900)
    made.exposure[700:740] = 0.0
    options = detector.Options(joint=False) if kind == "scan" else detector.Options()
    one_by_one = Online(detector.detect, options, BIN)
    answers = [one_by_one.step(*made.row(i)) for i in range(900)]
    at_once = Online(detector.detect, options, BIN).run(made.start_at, made.counts[rows], made.exposure[rows])
    assert at_once == answers


def plan(seed: int = 3, **changes: object) -> Plan:
    root = catalog.default_root()
    world = catalog.load(root)
    made = Plan(
        seed=seed,
        service="instagram",
        regions=[world.regions["TR"], world.regions["RS"]],
        texts=texts(root / "labelled", "instagram"),
        start_at=NOON,
        days=4,
        rate=6.0,
        outages=3,
        dropouts=2,
        floods=1,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_archive_is_synthetic_to_the_last_line_and_in_order_of_arrival() -> None:
    rows, truths = archive(plan())
    assert rows == archive(plan())[0]
    assert rows != archive(plan(4))[0]
    assert all(row["id"].startswith("synthetic-") and row["source"].startswith("synthetic-") for row in rows)
    posts = [parse_line(json.dumps(row).encode(), i, NOON) for i, row in enumerate(rows)]
    assert [post.received_at for post in posts] == sorted(post.received_at for post in posts)
    late = [post for post in posts if (post.received_at - post.created_at).total_seconds() > 3600]
    assert late  # a source has dropped out and caught up
    assert len({post.id for post in posts}) == len(posts)
    assert len(truths) == 3


def test_more_is_written_while_a_service_fails_and_the_truth_file_says_when() -> None:
    rows, truths = archive(plan(outages=1, dropouts=0, floods=0, rate=30.0))
    (event,) = tomllib.loads(truth_toml(truths, "synthetic: a test"))["event"]
    assert event["onset_low_at"] == truths[0].onset_at
    assert event["regions"] == list(truths[0].regions)
    inside = sum(
        truths[0].onset_at.isoformat()[:19] <= r["created_at"][:19] < truths[0].end_at.isoformat()[:19] for r in rows
    )
    hours = (truths[0].end_at - truths[0].onset_at).total_seconds() / 3600
    assert inside / hours > 1.2 * len(rows) / 96


def test_a_service_nobody_has_written_about_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tr.jsonl").write_text('{"text": "günaydın", "label": "other", "services": []}\n')
    with pytest.raises(InputError, match="about 'instagram'"):
        texts(tmp_path, "instagram")


def test_a_threshold_is_set_where_the_wanted_alarms_are_left() -> None:
    steady = {"TR": replace(FLAT, rate=20.0, doubt=0.01), "BG": replace(FLAT, rate=4.0, doubt=0.01)}
    quiet = tuning.null(gfm, gfm.Options(), steady, start_at=NOON, weeks=1, seed=2)
    often, rarely = quiet.threshold(3.0), quiet.threshold(0.5)
    assert often < rarely
    assert quiet.rate(often) <= 3.0
    assert quiet.rate(often * 0.9) > 3.0
    assert sum(quiet.rates(often).values()) / 2 == pytest.approx(quiet.rate(often))
    assert tuning.tuned_option(gfm) == "threshold"
    assert tuning.tuned_option(threshold) == "multiple"


def listener(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "listener", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_tunes_and_prints_lines_a_config_understands() -> None:
    done = listener("tune", "--weeks", "1", "--detector", "gfm", "--false-alarms", "2/1w", "--store", "")
    assert done.returncode == 0, done.stderr
    table = tomllib.loads(done.stdout)["detector"]
    assert table["kind"] == "gfm"
    assert table["options"]["threshold"] > 0
    assert "promised in calm times" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tune", "--false-alarms", "few"), "write 1/4w"),
        (("tune", "--detector", "scna"), "did you mean 'scan'"),
        (("simulate", "--region", "XX"), "no region 'XX'"),
        (("simulate", "--service", "nothing"), "no service 'nothing'"),
    ],
)
def test_wrong_words_are_answered_with_one_clear_line(words: tuple[str, ...], says: str) -> None:
    done = listener(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
