"""A candidate comes into force only when it is whole and good enough, at once, and the one before can come back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from listener.classify.classifier import Classifier
from listener.classify.folder import digest_at
from listener.errors import InputError, ListenerError, ModelError
from listener.promotion import HISTORY, Record, kept, promote, record_at, rollback
from tests.conftest import ROOT, Command
from tests.small_model import shipped_scores, small_model

SHIPPED = ROOT / "models" / "current"
FLOORS = ROOT / "models" / "floors.json"
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
STEPS = ("checked", "staged", "exchanged", "kept", "written")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models to choose from; never written to."""
    folder = tmp_path_factory.mktemp("made")
    for seed in (0, 1, 2):
        small_model(folder / f"seed-{seed}", seed)
    fallen = shipped_scores()
    fallen["languages"]["tr"]["f1"] = 0.5
    del fallen["left_out"]["el"]
    small_model(folder / "fallen", 3, fallen)
    return folder


@pytest.fixture
def current(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "seed-0", tmp_path / "models" / "current")
    return tmp_path / "models" / "current"


def put(candidate: Path, to: Path, **how: Any) -> Record:
    return promote(candidate, to, **{"floors": FLOORS, "at": AT, "who": "ayşe@desk", **how})


def history(to: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in to.with_name(HISTORY).read_text().splitlines()]


def names(to: Path) -> set[str]:
    return {path.name for path in to.parent.iterdir()} - {f".{to.name}.lock"}


def test_a_good_candidate_comes_into_force_and_the_one_before_is_kept(made: Path, current: Path) -> None:
    before = digest_at(current)
    record = put(made / "seed-1", current)
    assert Classifier.load(current).digest == record.model == digest_at(made / "seed-1")
    assert record.previous == before
    assert [digest_at(path) for path in kept(current)] == [before]
    assert record_at(current) == record
    (line,) = history(current)
    assert (line["did"], line["who"], line["model"], line["forced"]) == ("promoted", "ayşe@desk", record.model, False)
    assert names(current) == {"current", kept(current)[0].name, HISTORY}
    with pytest.raises(ListenerError, match=r"in force at .* already"):
        put(made / "seed-1", current)


def test_rollback_is_one_command_and_done_twice_goes_forth_again(made: Path, current: Path) -> None:
    first = digest_at(current)
    with pytest.raises(ListenerError, match="nothing was promoted here"):
        rollback(current, at=AT, who="x")
    second = put(made / "seed-1", current).model
    assert rollback(current, at=AT, who="x", reason="misses reports").model == digest_at(current) == first
    assert rollback(current, at=AT, who="x").model == digest_at(current) == second
    third = put(made / "seed-2", current).model
    assert rollback(current, wanted=first[7:15], at=AT, who="x").model == digest_at(current) == first
    assert {digest_at(path) for path in kept(current)} == {second, third}
    assert [line["did"] for line in history(current)] == [
        "promoted",
        "rolled_back",
        "rolled_back",
        "promoted",
        "rolled_back",
    ]
    with pytest.raises(ListenerError, match="0 kept models have the digest beef"):
        rollback(current, wanted="beef", at=AT, who="x")


def test_a_candidate_below_a_floor_is_refused_unless_forced_with_a_reason(made: Path, current: Path) -> None:
    before = digest_at(current)
    with pytest.raises(ListenerError) as refused:
        put(made / "fallen", current)
    assert "2 figures fall below" in str(refused.value)
    assert "tr: f1 0.5, floor 0.8" in str(refused.value)
    assert "el left out: f1 was not measured" in str(refused.value)
    with pytest.raises(InputError, match="--reason"):
        put(made / "fallen", current, force=True, reason=" ")
    assert digest_at(current) == before
    assert not current.with_name(HISTORY).exists()
    put(made / "fallen", current, force=True, reason="an outage is on and this one hears it")
    (line,) = history(current)
    assert line["forced"]
    assert line["reason"] == "an outage is on and this one hears it"
    assert len(line["below"]) == 2


def test_the_shipped_model_reaches_its_floors(tmp_path: Path) -> None:
    assert not put(SHIPPED, tmp_path / "elsewhere" / "current").below


@pytest.mark.parametrize(
    "name", ["model.json", "senses.json", "arrays.npz", "meta.json", "language.json", "language.npz"]
)
@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_candidate_that_is_not_whole_is_refused(
    made: Path, current: Path, tmp_path: Path, name: str, harm: str
) -> None:
    shutil.copytree(made / "seed-1", tmp_path / "candidate")
    path = tmp_path / "candidate" / name
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    before = digest_at(current)
    with pytest.raises(ModelError):
        put(tmp_path / "candidate", current, force=True, reason="whatever it costs")
    assert digest_at(current) == before
    assert names(current) == {"current"}


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from listener.promotion import promote, rollback
root, candidate, floors = map(Path, sys.argv[1:4])
at = datetime(2026, 3, 2, 12, 5, tzinfo=UTC)
for case in sys.argv[4:]:
    verb, when = case.split("-")
    to = root / case / "current"
    child = os.fork()
    if not child:
        step = lambda name: name == when and os.kill(os.getpid(), signal.SIGKILL)
        if verb == "promote":
            promote(candidate, to, floors=floors, at=at, who="k", step=step)
        else:
            rollback(to, at=at, who="k", step=step)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
CASES = [f"{verb}-{step}" for verb in ("promote", "rollback") for step in STEPS]


@pytest.fixture(scope="module")
def killed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a case: seed-1 was promoted over seed-0, and the next promotion or rollback was killed at a step."""
    root = tmp_path_factory.mktemp("killed")
    for case in CASES:
        shutil.copytree(made / "seed-0", root / case / "current")
        put(made / "seed-1", root / case / "current")
    command = [sys.executable, "-c", KILLED, str(root), str(made / "seed-2"), str(FLOORS), *CASES]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(CASES)
    return root


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_step_a_working_model_is_in_force_and_the_next_call_clears_up(
    made: Path, killed: Path, case: str
) -> None:
    verb, when = case.split("-")
    current = killed / case / "current"
    zero, first, second = (digest_at(made / f"seed-{n}") for n in (0, 1, 2))
    after = second if verb == "promote" else zero
    done = STEPS.index(when) >= STEPS.index("exchanged")
    in_force = Classifier.load(current).digest
    assert in_force == (after if done else first)

    record = rollback(current, at=AT, who="x")
    assert record.previous == in_force
    assert Classifier.load(current).digest == record.model == (first if done else zero)
    assert not [name for name in names(current) if name.startswith(".")]
    told = [line["model"] for line in history(current)]
    assert told == [first, *([after] if done else []), record.model], "every change is in the history, once"


def test_a_line_of_the_history_torn_by_a_crash_costs_no_other(made: Path, current: Path) -> None:
    current.with_name(HISTORY).write_text('{"at": "2026-03-0')
    record = put(made / "seed-1", current)
    torn, whole = current.with_name(HISTORY).read_text().splitlines()
    assert torn == '{"at": "2026-03-0'
    assert json.loads(whole)["model"] == record.model


def test_two_promotions_at_once_are_one_too_many(made: Path, current: Path) -> None:
    def meanwhile(step: str) -> None:
        if step == "staged":
            with pytest.raises(ListenerError, match="another promotion is going on"):
                put(made / "seed-2", current)

    assert put(made / "seed-1", current, step=meanwhile).model == digest_at(current)


def test_only_the_last_few_models_are_kept(made: Path, current: Path, tmp_path: Path) -> None:
    for n in range(7):
        shutil.copytree(made / "seed-1", current.with_name(f"previous-{n}"))
        (current.with_name(f"previous-{n}") / "model.json").write_text(f"{n}")
        os.utime(current.with_name(f"previous-{n}"), (n, n))
    put(made / "seed-1", current)
    assert [path.name for path in kept(current)[1:]] == ["previous-6", "previous-5", "previous-4", "previous-3"]


def test_the_commands_say_what_is_in_force(made: Path, current: Path, listener: Command) -> None:
    refused = listener("promote", str(made / "fallen"), "--to", str(current), "--floors", str(FLOORS))
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "tr: f1 0.5, floor 0.8" in refused.stderr
    assert listener("promote", str(made / "fallen"), "--to", str(current), "--force").returncode == 2
    done = listener("promote", str(made / "seed-1"), "--to", str(current))
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"] == digest_at(current)
    assert f"{record['model'][:19]} is in force, before it {record['previous'][:19]}" in done.stderr
    back = listener("rollback", "--to", str(current), "--reason", "it was better")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["model"] == record["previous"] == digest_at(current)
