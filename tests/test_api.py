"""`import listener` as a notebook uses it: the same figures as the commands and the pages, in frames, with clear errors."""

from __future__ import annotations

import ast
import csv
import doctest
import importlib
import inspect
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars
import pytest

import listener
from listener.errors import InputError, StoreError
from listener.replay import Archive
from listener.store import open_store
from listener.types import LABELS
from tests import days
from tests.conftest import ROOT, Command
from tests.sampled import shared_cache
from tests.servers.dashboard import ask, served
from tests.web import app_of, kept

pandas: Any = importlib.import_module("pandas")  # ships no types
NOT_TEXTS: Any = ["fine", 3]
NO_BACKEND: Any = "gnuplot"
HEAVY = ("pandas", "polars", "altair", "matplotlib")
PUBLIC = {
    **{name: getattr(importlib.import_module("listener.api"), name) for name in listener.__all__ if name != "plot"},
    **{f"Db.{name}": member for name, member in vars(listener.Db).items() if not name.startswith("_")},
    **{f"plot.{name}": getattr(listener.plot, name) for name in listener.plot.__all__},
}


@pytest.fixture
def sampled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample day comes from the shared cache, here and in processes started from here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache(tmp_path_factory)))


def store_of(folder: Path) -> Path:
    return folder / "listener.db"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[listener.Db, str]]:
    """A day in a store that another process, as it were, goes on writing to; and the address of its dashboard."""
    folder = tmp_path_factory.mktemp("lived")
    with kept(folder, days.live_a_day) as store, served(app_of(store)) as base, listener.open(store_of(folder)) as db:
        yield db, base


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_explains_itself_with_an_example_that_holds(name: str) -> None:
    thing = PUBLIC[name]
    found = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert any(test.examples for test in found), f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in found:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_docstrings_name_columns_and_errors() -> None:
    for name, thing in PUBLIC.items():
        if inspect.isfunction(thing) and name not in ("Db.close", "sample", "open"):
            assert re.search(r"`\w+`", inspect.getdoc(thing) or ""), f"{name} names no column"
            assert "Raises" in (inspect.getdoc(thing) or ""), f"{name} names no error"


def test_the_stub_for_type_checkers_names_what_there_is() -> None:
    tree = ast.parse((ROOT / "listener" / "__init__.pyi").read_text(encoding="utf-8"))
    names = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names == set(listener.__all__)
    assert set(listener.__all__) <= set(dir(listener))
    assert (ROOT / "listener" / "py.typed").is_file()


@pytest.mark.usefixtures("sampled")
def test_the_blocks_of_the_page_about_the_api_run() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "docs/api.md", "exec"), names)
    for name, thing in PUBLIC.items():
        if inspect.isfunction(thing):
            assert re.search(rf"\b{name.replace('Db.', 'db.')}\(", page.replace("listener.", "")), name


def run_python(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": "/usr/bin:/bin", "COLUMNS": "100"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_costs_nothing_and_commands_load_no_frames(tmp_path: Path) -> None:
    heavy = f"print([m for m in {(*HEAVY, 'numpy', 'pydantic')} if m in sys.modules])"
    assert run_python(f"import sys, listener; {heavy}", tmp_path) == "[]\n"
    score = "import sys, io; sys.stdin = io.TextIOWrapper(io.BytesIO(b'')); from listener import cli; "
    said = run_python(score + f"cli.app(['score'], standalone_mode=False); {heavy}", tmp_path)
    assert not set(HEAVY) & set(ast.literal_eval(said))


WITHOUT = """
import sys, importlib, pkgutil
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {missing}:
            raise ImportError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import listener
"""


def test_without_the_extra_everything_imports_and_frames_say_what_is_missing(tmp_path: Path) -> None:
    code = (
        WITHOUT.format(missing=HEAVY)
        + """
from listener.cli import app
for module in pkgutil.walk_packages(listener.__path__, "listener."):
    if module.name != "listener.__main__":
        importlib.import_module(module.name)
(line,) = ['{"text": "instagram down", "created_at": "2026-03-12T14:00:00Z"}']
open("posts.jsonl", "w").write(line)
for words in (["score", "posts.jsonl"], ["replay", "posts.jsonl", "--store", "sqlite:///a.db", "--until", "2026-03-12T14:05:00Z"],
              ["signal", "--service", "instagram", "--region", "ZZ", "--store", "sqlite:///a.db", "--format", "csv"]):
    app(words, standalone_mode=False)
from listener.errors import InputError
points = [{"labels": 1, "f1": 0.5}]
with listener.open("a.db") as db:
    calls = [lambda: db.signal("instagram", "ZZ"), lambda: db.incidents(as_="polars"), lambda: listener.score(["x"]),
             lambda: listener.plot.curve(points), lambda: listener.plot.curve(points, backend="altair")]
    for call in calls:
        try:
            call()
        except InputError as error:
            print("told:", error)
"""
    )
    told = [line for line in run_python(code, tmp_path).splitlines() if line.startswith("told:")]
    assert len(told) == 5
    assert all("pip install 'outage-listener[notebooks]'" in line for line in told)


def test_where_altair_is_missing_plots_are_still_images(tmp_path: Path) -> None:
    code = (
        WITHOUT.format(missing=("altair",))
        + "p = listener.plot.curve([{'labels': 1, 'f1': 0.5}]); print(p, list(p._repr_mimebundle_()))"
    )
    assert run_python(code, tmp_path) == "<listener.plot.Picture matplotlib> ['text/plain', 'image/png']\n"


def test_a_signal_is_that_of_the_dashboard_without_gaps(lived: tuple[listener.Db, str]) -> None:
    db, base = lived
    frame = db.signal("instagram", "TR", since="1h", bin="5m")
    assert list(frame.columns) == [
        "observed", "expected", "upperbound", "exposure", "posts", "authors", "recovered", "state", "service", "region",
    ]  # fmt: skip
    assert (frame.index[1:] - frame.index[:-1] == timedelta(minutes=5)).all()
    shown = ask(
        f"{base}/api/v1/signals?service=instagram&region=TR", f"&since={frame.index[0]:%Y-%m-%dT%H:%M:%SZ}"
    ).json()
    points = {point["time"]: point for point in shown["points"]}
    for at, row in frame.iterrows():
        point = points.get(f"{at:%Y-%m-%dT%H:%M:%SZ}", {"observed": 0.0, "posts": 0})
        assert (round(row["observed"], 4), row["posts"]) == (point["observed"], point["posts"])
        assert point.get("expected") in (None, row["expected"])


def test_a_signal_is_that_of_the_command(lived: tuple[listener.Db, str], listener: Command) -> None:
    db, _ = lived
    since = days.NOW - timedelta(hours=1)
    path = f"sqlite:///{db.store._connections.path}"  # type: ignore[attr-defined]
    words = ("signal", "--service", "instagram", "--region", "TR", "--since", since.isoformat(), "--store", path)
    printed = {row["time"]: row for row in csv.DictReader(io.StringIO(listener(*words, "--format", "csv").stdout))}
    frame = db.signal("instagram", "TR", since=since)
    said = frame[frame["posts"] > 0]
    assert [f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in said.index] == list(printed)
    assert said["observed"].round(3).tolist() == [float(row["observed"]) for row in printed.values()]


def test_what_could_not_be_heard_is_no_zero(lived: tuple[listener.Db, str]) -> None:
    db, _ = lived
    frame = db.signal("tiktok", "GR", since=days.NOW - timedelta(hours=3), until=days.NOW)
    deaf = frame[frame.index < pandas.Timestamp("2026-03-02T12:00:00Z")]
    heard = frame[frame.index >= pandas.Timestamp("2026-03-02T12:00:00Z")]
    assert (deaf["exposure"] == 0).all()
    assert deaf.loc[deaf["posts"] == 0, "observed"].isna().all()
    assert set(deaf["state"]) == {"no_data"}
    assert heard["exposure"].between(0.2, 0.9).all(), "one of two streams is up"
    assert heard["observed"].notna().all()
    assert set(heard["state"]) == {"quiet"}


def test_states_are_those_that_were_written_down(lived: tuple[listener.Db, str]) -> None:
    db, _ = lived
    frame = db.signal("instagram", "TR", since="2026-03-02T11:50:00Z", until=days.NOW)
    states = list(dict.fromkeys(frame["state"]))
    assert states == ["no_data", "problems"]
    assert db.signal("sbb", "RS", since="5h")["state"].iloc[-1] == "quiet"


def plain(value: Any) -> Any:
    """None for all of pandas' ways to say that something is missing."""
    return value if isinstance(value, list) or not pandas.isna(value) else None


def test_polars_says_what_pandas_says(lived: tuple[listener.Db, str]) -> None:
    db, _ = lived
    calls: list[Any] = [
        lambda as_: db.signal("instagram", None, since="1h", as_=as_),
        lambda as_: db.incidents(as_=as_),
        lambda as_: db.onsets(as_=as_),
        lambda as_: db.transitions(as_=as_),
        lambda as_: db.series(as_=as_),
        lambda as_: db.sources(as_=as_),
        lambda as_: db.posts(texts=True, as_=as_),
    ]
    for call in calls:
        one, other = call("pandas"), call("polars")
        assert isinstance(other, polars.DataFrame)
        flat = one.reset_index() if one.index.name else one
        assert list(flat.columns) == other.columns
        assert len(flat) == len(other) > 0
        for name in other.columns:
            left = [plain(value) for value in flat[name]]
            assert left == other[name].to_list(), name
        for name, kind in other.schema.items():
            if isinstance(kind, polars.Datetime):
                assert (kind.time_zone, str(flat[name].dtype)) == ("UTC", "datetime64[us, UTC]")


def test_frames_of_nothing_have_the_same_columns_and_types(lived: tuple[listener.Db, str]) -> None:
    db, _ = lived
    full, empty = db.posts(), db.posts(since=days.NOW, until=days.NOW)
    assert (len(empty), list(empty.columns), empty.index.dtype) == (0, list(full.columns), full.index.dtype)
    assert empty.dtypes.equals(full.dtypes)


def test_posts_come_without_texts_unless_asked_for_and_never_with_authors(lived: tuple[listener.Db, str]) -> None:
    db, _ = lived
    bare, whole = db.posts("instagram", limit=None), db.posts("instagram", limit=None, texts=True)
    assert set(whole.columns) - set(bare.columns) == {"id", "text", "url"}
    assert "author" not in whole
    assert whole["text"].str.len().min() > 0
    assert len(db.posts("instagram", limit=3)) == 3


def test_incidents_are_those_of_the_dashboard(lived: tuple[listener.Db, str]) -> None:
    db, base = lived
    shown = ask(base, "/api/v1/incidents").json()
    frame = db.incidents()
    assert frame.index.tolist() == [one["incident"] for one in shown]
    assert frame["regions"].tolist() == [one["regions"] for one in shown]
    assert frame["p_outage"].tolist() == [one["cause"]["outage"] for one in shown]
    assert set(db.incidents(open_only=True)["state"]) == {"firing", "pending"}
    assert db.series().head(1)[["service", "region"]].values.tolist() == [
        [row[key] for key in ("service", "region")] for row in ask(base, "/api/v1/series").json()[:1]
    ]
    assert db.sources().index.tolist() == [one["source"] for one in ask(base, "/api/v1/sources").json()]


def test_a_store_is_only_read_and_its_lock_left_alone(tmp_path: Path) -> None:
    with kept(tmp_path, days.live_a_day), listener.open(store_of(tmp_path)) as db:  # the daemon holds the lock
        assert len(db.incidents()) == 4
        with pytest.raises(StoreError), db.store.transaction() as tx:
            tx.set_mark("x", "y")
    with pytest.raises(StoreError, match="nothing-here"):
        listener.open(tmp_path / "nothing-here.db")
    open_store(f"sqlite:///{tmp_path / 'new.db'}").close()
    with pytest.raises(StoreError, match="still empty"), listener.open(tmp_path / "new.db") as db:
        db.signal("instagram", "TR")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda db: db.signal("instagrm", "TR"), "did you mean 'instagram'"),
        (lambda db: db.signal("instagram", "TRX"), "no region 'TRX'"),
        (lambda db: db.signal("", "TR"), "no service ' '"),
        (lambda db: db.signal("instagram", ""), "no region ' '"),
        (lambda db: db.incidents(service="instagrm"), "did you mean 'instagram'"),
        (lambda db: db.onsets(service="instagrm"), "did you mean 'instagram'"),
        (lambda db: db.transitions(service="instagrm"), "did you mean 'instagram'"),
        (lambda db: db.series(region="TRX"), "no region 'TRX'"),
        (lambda db: db.signal("instagram", "TR", bin="90s"), "whole minutes"),
        (lambda db: db.signal("instagram", "TR", bin="soon"), "not a length of time"),
        (lambda db: db.signal("instagram", "TR", since="last week"), "'last week' is no instant"),
        (lambda db: db.signal("instagram", "TR", since="9999w", bin="1m"), "more than 500,000 bins"),
        (lambda db: db.signal("instagram", "TR", since="999999w"), "too long ago"),
        (lambda db: db.signal("instagram", "TR", as_="arrow"), "have 'pandas' and 'polars'"),
        (lambda db: listener.detect(db.signal("instagram", since="1h")), "several series"),
        (lambda db: listener.detect(db.incidents()), "expected a `time`"),
        (lambda db: listener.detect(3), "expected a pandas or polars frame"),
        (lambda db: listener.plot.signal(db.incidents()), "no column 'time'"),
        (lambda db: listener.plot.incidents(db.incidents(since=days.NOW + timedelta(days=1))), "has no rows"),
        (
            lambda db: listener.plot.curve([{"labels": 1, "f1": 1}], backend=NO_BACKEND),
            "have 'altair' and 'matplotlib'",
        ),
        (lambda db: listener.score("instagram down"), "put a single one into a list"),
        (lambda db: listener.score(NOT_TEXTS), r"texts\[1\]: expected a text or a post, not int"),
        (lambda db: listener.score([{"words": "fine"}]), r"texts\[0\]"),
        (lambda db: listener.simulate(regions=["QQ"]), "no region 'QQ'"),
        (lambda db: listener.simulate(days=1), "two at the least"),
        (lambda db: listener.simulate(start="7d"), "is no instant"),
        (lambda db: listener.replay("nowhere.jsonl"), "nowhere.jsonl: No such file"),
        (lambda db: listener.evaluate([{"text": "x", "label": "gossip"}]), "needs a label"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(lived: tuple[listener.Db, str], call: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        call(lived[0])
    assert "\n" not in str(caught.value)


def test_scores_are_those_of_the_command(listener: Command) -> None:
    import listener as api

    posts = [
        {"text": "instagrama giremiyorum, sizde de mi?"},
        {"text": "не работи вайбър", "region": "BG"},
        {"text": "hm"},
    ]
    lines = [
        json.loads(line) for line in listener("score", stdin="\n".join(map(json.dumps, posts))).stdout.splitlines()
    ]
    frame = api.score(posts)
    for line, (_, row) in zip(lines, frame.iterrows(), strict=True):
        assert [row[name] for name in LABELS] == [line["probabilities"][name] for name in LABELS]
        assert (row["label"], row["chatter"], row["services"]) == (line["label"], line["chatter"], line["services"])
        assert row["matches"] == line["matches"]
        assert [r["region"] for r in row["regions"]] == [r["region"] for r in line["regions"]]
    assert frame[list(LABELS)].sum(axis=1).round(2).tolist() == [1.0] * 3
    texts = pandas.Series([post["text"] for post in posts], index=["a", "b", "c"])
    assert api.score(texts).index.tolist() == ["a", "b", "c"]
    assert api.score(texts, as_="polars")["label"].to_list() == frame["label"].tolist()
    assert api.score([]).empty


def test_verdicts_are_those_of_the_command(listener: Command) -> None:
    import listener as api

    start = datetime(2026, 3, 2, tzinfo=UTC)
    rows = [
        (start + timedelta(minutes=5 * n), None if n % 50 == 7 else 30 if n in (250, 251) else n % 4)
        for n in range(260)
    ]
    text = "time,count\n" + "".join(f"{at:%Y-%m-%dT%H:%M:%SZ},{'' if count is None else count}\n" for at, count in rows)
    printed = list(csv.DictReader(io.StringIO(listener("detect", "-", "--bin", "5m", stdin=text).stdout)))
    frame = pandas.DataFrame(rows, columns=["time", "count"])
    forms = {
        "column": frame,
        "index": frame.set_index("time"),
        "series": frame.set_index("time")["count"].rename("complaints"),
        "polars": polars.DataFrame({"time": [at for at, _ in rows], "count": [count for _, count in rows]}),
    }
    for form in forms.values():
        made = api.detect(form, bin="5m")
        assert ("polars" in type(made).__module__) == ("polars" in type(form).__module__)
        assert [int(alarm) for alarm in made["alarm"]] == [int(row["alarm"]) for row in printed]
        assert [f"{score:.3f}" for score in made["score"]] == [row["score"] for row in printed]
    assert sum(int(row["alarm"]) for row in printed) > 0


def test_a_module_that_bears_a_functions_name_stays_both(tmp_path: Path) -> None:
    """`listener.replay` is the module of archives; calling it replays one."""
    path = tmp_path / "posts.jsonl"
    path.write_text('{"text": "instagram down", "created_at": "2026-03-12T14:00:00Z"}\nnonsense\n', encoding="utf-8")
    assert importlib.import_module("listener.replay").Archive is Archive
    with pytest.warns(UserWarning, match=r"1 malformed lines skipped, the first is .*posts.jsonl:2"):
        assert listener.replay([path], until="2026-03-12T14:05:00Z", store=tmp_path / "kept.db").empty
    with listener.open(tmp_path / "kept.db") as db:
        assert db.posts()["services"].tolist() == [["instagram"]]


def test_plots_can_be_saved_and_changed(tmp_path: Path, lived: tuple[listener.Db, str]) -> None:
    db, _ = lived
    frames = {
        "signal": listener.plot.signal(db.signal("instagram", "TR", since="3h")),
        "panels": listener.plot.signal(db.signal("instagram", ["TR", "RS"], since="3h", as_="polars")),
        "incidents": listener.plot.incidents(db.incidents()),
        "regions": listener.plot.regions(db.signal("instagram", since="2h"), db.onsets(service="instagram")),
    }
    for name, picture in frames.items():
        picture.save(tmp_path / f"{name}.png")
        picture.save(tmp_path / f"{name}.json")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "vega-lite" in json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["$schema"]
        bundle = picture._repr_mimebundle_()
        assert "http" not in json.dumps({k: v for k, v in bundle.items() if k != "image/png"}).replace(
            "https://vega.github.io/schema", ""
        )
    assert frames["signal"].chart.properties(width=100).to_dict()["width"] == 100
    with pytest.raises(InputError, match=r"write \.png"):
        frames["signal"].save(tmp_path / "plot.gif")
    with pytest.raises(InputError, match="without Altair"):
        _ = listener.plot.incidents(db.incidents(), backend="matplotlib").chart
