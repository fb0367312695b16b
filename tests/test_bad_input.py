"""What spoiled inputs once brought down: each is refused in one line that says where, and at once."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from listener import catalog, config, kinds
from listener import words as interface
from listener.backtest import events
from listener.cli.archive import instant
from listener.errors import ConfigError, InputError
from listener.labelling import exchange
from listener.signals import baseline
from tests.conftest import ROOT, Command

DEEP = "[" * 5000
COLUMNS = b"place\tkind\tpopulation\tforms\texcept\tsource\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a = {DEEP}", "listener.toml: "),
        (f"a = {'9' * 5000}", "listener.toml: "),
        ("source = [1]", r"write \[\[source\]\] in double brackets"),
        ("channel = 'x'", r"write \[\[channel\]\] in double brackets"),
        ('signal.lateness = "99999999999999d"', "longer than can be counted"),
        ('[[source]]\nkind = "rss"\ntoken = {file = "\\u0000"}', "token: "),
    ],
)
def test_a_config(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "listener.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        config.load(tmp_path / "listener.toml", {})
    assert "\n" not in str(refused.value)


def test_a_key_as_long_as_a_book_is_refused_at_once_and_not_shown_in_full() -> None:
    began = time.process_time()
    with pytest.raises(ConfigError, match="unknown key") as refused:
        kinds.convert({"a" * 200_000: 1}, config.Web, "web")
    with pytest.raises(ConfigError, match="expected a table") as told:
        kinds.convert("x" * 200_000, config.Web, "web")
    assert time.process_time() - began < 1
    assert max(len(str(refused.value)), len(str(told.value))) < 500


def test_a_variable_of_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigError, match="LISTENER_SIGNAL_REGIONS: not UTF-8"):
        config.load(None, {"LISTENER_SIGNAL_REGIONS": "TR\udcff"})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One good file of each kind."""
    for folder, name in (("languages", "sl"), ("services", "sbb"), ("regions", "ME"), ("sources", "ME")):
        (tmp_path / folder).mkdir()
        shutil.copy(ROOT / "data" / folder / f"{name}.toml", tmp_path / folder)
    (tmp_path / "places").mkdir()
    catalog.load(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("languages/sl.toml", b"phrases = 3", r"\[\[phrases\]\]"),
        ("languages/sl.toml", b"phrases = [3]", r"\[\[phrases\]\]"),
        ("sources/ME.toml", b"source = 3.5", r"\[\[source\]\]"),
        ("regions/ME.toml", b"hours = 'all'", "hours: expected a table"),
        ("services/sbb.toml", f"a = {DEEP}".encode(), "sbb.toml: "),
        ("places/ME.tsv", COLUMNS + b"\xff\tcity\t1\tx\t\ty\n", "ME.tsv: .*utf-8"),
        ("places/ME.tsv", b"place\tsort\nBar\tcity\n", "ME.tsv:2: expected the columns"),
        ("places/ME.tsv", COLUMNS + "Bar\tcity\t²\tbar\t\ty\n".encode(), "population '²' is not a whole number"),
        ("places/ME.tsv", COLUMNS + b"Bar\tcity\t" + b"9" * 5000 + b"\tbar\t\ty\n", "is not a whole number"),
        ("places/ME.tsv", COLUMNS + b"x" * 200_000 + b"\tcity\t1\tbar\t\ty\n", "ME.tsv: "),
    ],
)
def test_a_data_file(data: Path, file: str, text: bytes, message: str) -> None:
    (data / file).write_bytes(text)
    with pytest.raises(ConfigError, match=message):
        catalog.load(data)


@pytest.mark.parametrize(
    ("before", "message"), [("local = [", "hours.local"), ("[languages]", "languages must sum to 1")]
)
def test_shares_that_are_no_numbers(data: Path, before: str, message: str) -> None:
    path = data / "regions" / "ME.toml"
    text = path.read_text(encoding="utf-8")
    begin = text.index(before) + len(before)
    number = next(word for word in text[begin:].replace("=", " ").replace(",", " ").split() if word[0].isdigit())
    path.write_text(text[:begin] + text[begin:].replace(number, "nan", 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        catalog.load(data)


def test_a_prior_that_is_no_number(tmp_path: Path) -> None:
    text = (ROOT / "data" / "baseline.toml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("noise"))
    (tmp_path / "baseline.toml").write_text(text.replace(line, "noise = nan"), encoding="utf-8")
    with pytest.raises(ConfigError, match="noise must be more than 0"):
        baseline.numbers(tmp_path / "baseline.toml")


@pytest.mark.parametrize("text", ["event = true", "event = [[]]", f"event = {DEEP}"])
def test_a_list_of_events(tmp_path: Path, text: str) -> None:
    (tmp_path / "events.toml").write_text(text)
    with pytest.raises(InputError, match=r"events\.toml"):
        events.catalogue([tmp_path / "events.toml"])


def test_phrases_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "interface").mkdir()
    (tmp_path / "interface" / "en.toml").write_text('name = "English"\n[words]\nsince = 3\n')
    with pytest.raises(ConfigError, match="expected `name` and tables of phrases"):
        interface.load(tmp_path)


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        ("labelstudio", '[{"annotations": 5}]', "annotations is not a list"),
        ("labelstudio", '[{"annotations": [{"result": 0.5}]}]', "result is not a list"),
        ("labelstudio", '[{"annotations": [{"result": [{"value": {"choices": 7}}]}]}]', "choices is not a list"),
        ("doccano", '{"text": "a", "label": 5}', "label is not a list"),
        ("doccano", '{"text": "a", "labels": {"a": 1}}', "labels is not a list"),
    ],
)
def test_answers_of_another_program(format: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"entry 1: {message}"):
        exchange.taken(text.encode(), format, "answers", by="a", at="")


def test_an_instant_before_the_first_year() -> None:
    with pytest.raises(InputError, match="is not an instant"):
        instant("0001-01-01T00:00:00+23:59")


def test_counts_that_are_not_utf8(tmp_path: Path, listener: Command) -> None:
    (tmp_path / "counts.csv").write_bytes(b"time,count\n2026-11-20T10:00:00Z,\xff\n")
    done = listener("detect", str(tmp_path / "counts.csv"))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "counts.csv" in done.stderr
