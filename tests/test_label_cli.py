"""`listener label` as an analyst meets it: answered by a pipe, by single keys at a terminal, killed, resumed, handed on."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from listener.labelling.candidates import Candidate, Pick
from listener.labelling.records import LabelFile, load
from listener.labelling.rounds import Round
from tests.builders import score
from tests.conftest import ROOT, Command

DAY = str(ROOT / "data" / "samples" / "day.jsonl")


def left_round(folder: Path, *texts: str) -> None:
    """A round that somebody began and left."""
    picks = [
        Pick(
            Candidate(f"p{n}", text, "tr", ("instagram",), score(0.7).probabilities, "login", "sha256:m", True),
            "margin",
        )
        for n, text in enumerate(texts)
    ]
    Round("ana", picks, LabelFile(folder / "labels.jsonl"), frozenset()).save()


def test_a_pipe_answers_line_by_line_and_the_same_command_goes_on(listener: Command, tmp_path: Path) -> None:
    command = ("label", "--from", DAY, "--count", "5", "--by", "ana", "--language", "tr")
    done = listener(*command, stdin="1 login # sure\nskip\n9\nundo\nother services=instagram\nquit\n")
    assert done.returncode == 0, done.stderr
    assert "1 of 5 · tr" in done.stdout
    assert "report (login) · model" in done.stdout
    assert "taken back: other" in done.stdout
    assert "2 left: the same command goes on" in done.stderr
    first, second = load(tmp_path / "labels.jsonl")
    assert (first.label, first.symptom, first.note, first.by) == ("report", "login", "sure", "ana")
    assert (second.label, second.services) == ("other", ("instagram",))
    assert first.model.startswith("sha256:")
    assert first.id.startswith("day-"), "the ids of one's own file stay"
    again = listener(*command, stdin="works\n" * 9)
    assert "going on with a round: 3 of 5 posts done" in again.stderr
    labels = load(tmp_path / "labels.jsonl")
    assert len({one.id for one in labels}) == len(labels) == 4
    assert not list(tmp_path.glob("*.round"))


def test_a_wrong_answer_names_its_line_and_keeps_those_before(listener: Command, tmp_path: Path) -> None:
    left_round(tmp_path, "instagram açılmıyor", "wp dondu")
    done = listener("label", "--by", "ana", stdin="report\noutage\n")
    assert done.returncode == 2
    assert "answer 2: no label 'outage'" in done.stderr.splitlines()[-1]
    assert [one.label for one in load(tmp_path / "labels.jsonl")] == ["report"]


def test_posts_of_a_store_are_asked_about_under_an_id_that_names_nobody(listener: Command, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'day.db'}"
    posts = tmp_path / "posts.jsonl"
    texts = ("instagram çöktü mü", "instagrama giremiyorum @ayse sizde var mı")
    lines = [
        {
            "id": f"did:plc:{n}/x",
            "source": "bluesky",
            "author": "key:0a1b",
            "text": text,
            "created_at": "2026-03-02T10:00:00Z",
        }
        for n, text in enumerate(texts)
    ]
    posts.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    assert listener("replay", str(posts), "--store", store).returncode == 0
    done = listener("label", "--store", store, "--since", "2026-03-01T00:00:00Z", stdin="question\nquestion\n")
    assert done.returncode == 0, done.stderr
    raw = (tmp_path / "labels.jsonl").read_text(encoding="utf-8")
    assert len(raw.splitlines()) == 2
    for hidden in ("did:plc", "ayse", "0a1b"):
        assert hidden not in raw + done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("label", "--from", "nothing.jsonl"), "nothing.jsonl: No such file"),
        (("label", "--strategy", "best"), "no strategy 'best' (have: margin"),
        (("label", "--by", " "), "--by: a name"),
        (("label", "export", "nothing.jsonl", "out"), "nothing.jsonl: No such file"),
        (("label", "import", "--from", "csv", "nothing.csv"), "nothing.csv: No such file"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(listener: Command, arguments: tuple[str, ...], said: str) -> None:
    done = listener(*arguments)
    assert done.returncode == 2
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_two_files_are_compared_and_handed_on(listener: Command, tmp_path: Path) -> None:
    texts = ["instagram açılmıyor", "hesabım çalınmış yine", "bugün deniz çok güzeldi", "wp çöktü mü acaba"]
    for name, labels in (("ana", "report own other question"), ("ben", "report report other question")):
        lines = [
            {"id": f"p{n}", "text": text, "label": one, "language": "tr", "by": name}
            for n, (text, one) in enumerate(zip(texts, labels.split(), strict=True))
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    table = listener("label", "agreement", "ana.jsonl", "ben.jsonl").stdout
    assert "nine labels" in table
    assert "0.67" in table, "kappa of three in four"
    assert "own / report" in table
    assert texts[1] in table
    lines_out = listener("label", "agreement", "ana.jsonl", "ben.jsonl", "--format", "jsonl")
    assert json.loads(lines_out.stdout)["second"]["label"] == "report"
    assert listener("label", "export", "--to", "labelstudio", "ana.jsonl", "tasks.json").returncode == 0
    taken = listener("label", "import", "--from", "labelstudio", "tasks.json", "--out", "ana.jsonl")
    assert "4 known already" in taken.stderr or "4 answers added" in taken.stderr
    done = listener("label", "export", "--to", "training", "ben.jsonl", "mine")
    assert done.returncode == 0, done.stderr
    assert "posts added to mine: tr 4" in done.stderr


class Terminal:
    """A process at a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], end: int) -> None:
        self.process = process
        self._end = end
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def wait_for(self, text: str) -> None:
        """Read until the text is on the screen; the test's own timeout bounds it."""
        while text not in self.seen:
            self.seen += os.read(self._end, 4096).decode("utf-8", "replace")
        self.seen = self.seen.partition(text)[2]


@contextmanager
def at_terminal(folder: Path, environ: dict[str, str], *arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "listener", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait(20)
        os.close(ours)


def test_single_keys_at_a_terminal_with_note_services_and_undo(environ: dict[str, str], tmp_path: Path) -> None:
    left_round(tmp_path, "instagram açılmıyor", "[bold]wp\x1b[2J dondu", "hava güzel")
    with at_terminal(tmp_path, environ, "label", "--by", "ana") as it:
        it.wait_for("instagram açılmıyor")
        assert "70%" not in it.seen
        it.type("n")
        it.wait_for("note: ")
        it.type("as a joke\r")
        it.wait_for("note: as a joke")
        it.type("1")
        it.wait_for("what fails?")
        it.type("l")
        it.wait_for("model")
        it.wait_for("70%")
        it.wait_for("[bold]wp[2J dondu")
        it.type("9")
        it.wait_for("differs")
        it.wait_for("hava güzel")
        it.type("u")
        it.wait_for("taken back: other")
        it.wait_for("dondu")
        it.type("v")
        it.wait_for("services")
        it.type("whatsapp, unnamed\r")
        it.wait_for("whatsapp, unnamed")
        it.type("5")
        it.wait_for("recovered")
        it.wait_for("hava güzel")
        it.type("q")
        it.wait_for("1 left")
        assert it.process.wait(20) == 0
    first, second = load(tmp_path / "labels.jsonl")
    assert (first.label, first.symptom, first.note) == ("report", "login", "as a joke")
    assert (second.label, second.services, second.note) == ("recovered", ("whatsapp", "unnamed"), "")


def test_killing_it_loses_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    left_round(tmp_path, "instagram açılmıyor", "wp dondu")
    with at_terminal(tmp_path, environ, "label", "--by", "ana") as it:
        it.wait_for("instagram açılmıyor")
        it.type("9")
        it.wait_for("differs")
        it.process.send_signal(signal.SIGKILL)
        it.process.wait(20)
    assert [one.label for one in load(tmp_path / "labels.jsonl")] == ["other"]
    with at_terminal(tmp_path, environ, "label", "--by", "ana") as it:
        it.wait_for("1 of 2 posts done")
        it.wait_for("wp dondu")
        it.type("\x04")
        it.wait_for("1 left")
