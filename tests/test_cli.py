"""Every command says what it does, answers as promised, and fails with one clear line and the right exit code."""

from __future__ import annotations

import csv
import io
import json
import socket
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listener.store import open_store
from listener.types import LABELS
from tests.conftest import ROOT, Command

COMMANDS = (
    "run",
    "demo",
    "check",
    "signal",
    "incidents",
    "sources",
    "score",
    "replay",
    "simulate",
    "backtest",
    "tune",
    "top",
    "detect",
    "forget",
    "rotate-key",
    "verify",
    "backup",
    "restore",
    "dead-letters",
    "label",
    "train",
    "evaluate",
    "compare",
    "card",
    "promote",
    "rollback",
    "options",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_option(listener: Command, command: str) -> None:
    done = listener(command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout
    for line in done.stdout.splitlines():
        assert not line.rstrip().endswith("TEXT"), "an option without a word of explanation"


def test_without_a_command_the_help_is_shown(listener: Command) -> None:
    assert "Commands" in listener().stdout
    assert listener("--version").stdout.startswith("listener ")


def test_score_answers_every_line_in_order_as_promised(listener: Command) -> None:
    posts = [
        {"id": "a", "text": "instagrama giremiyorum, sizde de mi çöktü?"},
        {"text": "bugün hava çok güzel"},
        {"id": "c", "text": "не работи вайбър", "created_at": "2026-03-01T10:00:00+02:00"},
    ]
    done = listener("score", stdin="\n".join(map(json.dumps, posts)) + "\n{bad\n")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 4
    first = answers[0]
    assert first["id"] == "a"
    assert set(first["probabilities"]) == set(LABELS)
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=0.01)
    assert first["chatter"] > 0.5
    assert first["services"] == ["instagram"]
    assert first["language"]["code"] == "tr"
    assert first["regions"][0]["region"] == "TR"
    assert first["model"].startswith("sha256:")
    assert answers[1]["chatter"] == 0
    assert answers[1]["dropped"] == "no_match"
    assert answers[3] == {"line": 4, "error": answers[3]["error"]}
    assert "1 malformed" in done.stderr
    assert listener("score", "--strict", stdin="{bad\n").returncode == 2


def test_score_explains_itself(listener: Command) -> None:
    done = listener("score", "--explain", stdin='{"text": "instagram çöktü"}\n')
    assert json.loads(done.stdout)["features"]


def test_detect_finds_a_burst_and_answers_row_by_row(listener: Command, tmp_path: Path) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)
    rows = ["time,count"]
    for i in range(600):
        at = start + i * timedelta(minutes=5)
        count = "" if 300 <= i < 310 else str(25 if i >= 590 else 1 + i % 2)
        rows.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{count}")
    done = listener("detect", "-", "--bin", "5m", stdin="\n".join(rows) + "\n")
    assert done.returncode == 0, done.stderr
    answers = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(answers) == 600
    assert list(answers[0]) == ["time", "observed", "expected", "upperbound", "score", "alarm"]
    assert answers[305]["observed"] == ""
    raised = [i for i, row in enumerate(answers) if row["alarm"] == "1"]
    assert raised
    assert raised[0] in (590, 591)
    assert {i for i in raised if i < 590} == set()


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("detect", "-"), "a,b\n1,2\n", "-:1: expected the header time,count"),
        (("detect", "-"), "time,count\n2026-03-02T00:00:00Z,many\n", "-:2: could not convert"),
        (("detect", "-"), "time,count\nnoon,1\n", "'noon' is not an instant"),
        (("detect", "-", "--bin", "soon"), "", "--bin: 'soon' is not a length of time"),
        (("detect", "nothing.csv"), "", "nothing.csv: No such file"),
        (("score", "nothing.jsonl"), "", "nothing.jsonl: No such file"),
        (("replay", "nothing.jsonl"), "", "nothing.jsonl: No such file"),
        (("signal", "--service", "instagrm", "--region", "TR"), "", "no service 'instagrm'"),
        (("check", "--config", "nothing.toml"), "", "nothing.toml: no such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    listener: Command, arguments: tuple[str, ...], stdin: str, said: str
) -> None:
    done = listener(*arguments, stdin=stdin)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("listener: ")
    assert said in last
    assert "Traceback" not in done.stderr


def test_an_unknown_config_key_names_the_nearest(listener: Command, tmp_path: Path) -> None:
    (tmp_path / "listener.toml").write_text("[web]\nprot = 9000\n")
    done = listener("run")
    assert done.returncode == 2
    assert "unknown key 'prot'; did you mean 'port'?" in done.stderr


def test_a_missing_model_says_how_to_make_one(listener: Command, tmp_path: Path) -> None:
    done = listener("score", "--model", str(tmp_path / "none"), stdin='{"text": "x"}\n')
    assert done.returncode == 1
    assert "listener train" in done.stderr.strip().splitlines()[-1]


def test_a_corrupt_database_is_refused_with_what_to_do(listener: Command, tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"this is no database, " * 1000)
    done = listener("run", "--store", f"sqlite:///{path}", env={"LISTENER_WEB_ENABLED": "false"})
    assert done.returncode == 1
    assert str(path) in done.stderr.strip().splitlines()[-1]
    assert path.read_bytes().startswith(b"this is no database")


def test_a_port_in_use_is_named(listener: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = listener("run", env={"LISTENER_WEB_PORT": str(port)})
    assert done.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("authors", "said"),
    [(6, "instagram in TR: an outage would be noticed from about 6 people"), (None, "nothing could be noticed now")],
)
def test_a_signal_says_from_how_many_people_an_outage_would_be_noticed(
    listener: Command, tmp_path: Path, authors: int | None, said: str
) -> None:
    url = f"sqlite:///{tmp_path / 'listener.db'}"
    kept = {"instagram": {"at": datetime.now(UTC).isoformat(), "regions": {"TR": (authors, 1.0)}}}
    with closing(open_store(url)) as store, store.transaction() as tx:
        tx.set_mark("noticed", json.dumps(kept))
    asked = ("signal", "--service", "instagram", "--store", url, "--region")
    assert said in " ".join(listener(*asked, "TR").stdout.split())
    assert "noticed" not in listener(*asked, "RS").stdout


def test_incidents_and_signals_of_a_replay_can_be_looked_at(listener: Command, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'day.db'}"
    whole = (ROOT / "data" / "samples" / "day.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    day = tmp_path / "day.jsonl"
    day.write_text(
        "".join(line for line in whole if json.loads(line)["created_at"] >= "2026-03-12T13:30"), encoding="utf-8"
    )
    done = listener("replay", str(day), "--store", store, "--until", "2026-03-12T14:40:00Z", "--format", "table")
    assert done.returncode == 0, done.stderr
    assert "instagram" in done.stdout
    since = "2026-03-12T00:00:00Z"
    incidents = listener("incidents", "--store", store, "--since", since, "--format", "jsonl")
    assert "instagram" in {json.loads(line)["service"] for line in incidents.stdout.splitlines()}
    signal = listener(
        "signal", "--service", "instagram", "--region", "TR", "--since", since, "--store", store, "--format", "csv"
    )
    rows = list(csv.DictReader(io.StringIO(signal.stdout)))
    assert max(float(row["observed"]) for row in rows) > 3
    assert "never tried" in listener("sources", "--store", store).stdout
