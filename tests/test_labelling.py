"""Labelling: which posts are chosen, that answers survive, that formats carry them, and that two labellers are compared."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from listener.catalog import Catalog
from listener.errors import InputError, ListenerError
from listener.labelling import curves, exchange
from listener.labelling.agreement import agreement, kappa
from listener.labelling.answers import Answer, parse
from listener.labelling.candidates import Candidate, Pick, candidates, picks
from listener.labelling.records import Label, LabelFile, load
from listener.labelling.rounds import Round, resumed, tally
from listener.labelling.select import Pool, choose
from listener.labelling.trainable import merge, settled
from listener.pipeline import Pipeline
from listener.training import dataset
from listener.types import Tier
from tests.builders import post, score

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
KNOWN = frozenset({"instagram", "whatsapp", "unnamed"})


def candidate(number: int, chatter: float = 0.5, **changes: Any) -> Candidate:
    made = Candidate(
        id=f"p{number:04}",
        text=f"text {number}",
        language="tr",
        services=("instagram",),
        probabilities=score(chatter).probabilities,
        symptom="",
        model="sha256:m",
        opinion=False,
    )
    return replace(made, **changes)


def label(text: str = "instagram açılmıyor", name: str = "report", **changes: Any) -> Label:
    fields: dict[str, Any] = {"id": text[:20], "text": text, "label": name, "language": "tr", "by": "ana", **changes}
    return Label(**fields)


def round_of(tmp_path: Path, count: int = 3) -> Round:
    chosen = [Pick(candidate(n), "margin") for n in range(count)]
    return Round("ana", chosen, LabelFile(tmp_path / "labels.jsonl"), KNOWN)


# which posts


def test_the_posts_the_model_wavers_on_are_asked_and_a_share_is_drawn_by_lot() -> None:
    found = [candidate(n, chatter=n / 1000) for n in range(1000)]
    chosen = picks(found, 50)
    how = Counter(pick.picked for pick in chosen)
    assert how == {"audit": 10, "margin": 40}
    assert all(abs(sum(p.candidate.probabilities[:4]) - 0.5) < 0.05 for p in chosen if p.picked == "margin")


def test_the_audit_share_is_drawn_from_everything_whatever_the_model_thinks() -> None:
    found = [candidate(n, chatter=float(n % 10 == 0)) for n in range(500)]
    drawn = [p for seed in range(40) for p in picks(found, 50, seed=seed) if p.picked == "audit"]
    share = np.mean([sum(p.candidate.probabilities[:4]) for p in drawn])
    assert share == pytest.approx(0.1, abs=0.04), "as in the pool"


def test_the_same_seed_gives_the_same_choice_in_whatever_order_posts_come() -> None:
    found = [candidate(n, chatter=n / 200) for n in range(200)]
    assert picks(found, 20, seed=3) == picks(found[::-1], 20, seed=3)
    assert picks(found, 20, seed=3) != picks(found, 20, seed=4)


def test_small_languages_and_other_services_get_their_turn() -> None:
    found = [candidate(n, 0.5, services=("whatsapp" if n % 50 == 0 else "instagram",)) for n in range(400)]
    found += [candidate(1000 + n, 0.3, language="sq") for n in range(25)]
    chosen = [pick.candidate for pick in picks(found, 20, audit=0)]
    assert Counter(one.language for one in chosen) == {"tr": 16, "sq": 4}
    assert sum(one.services == ("whatsapp",) for one in chosen) >= 4


def test_what_was_answered_is_not_asked_again_and_a_small_pool_is_asked_whole() -> None:
    found = [candidate(n) for n in range(5)]
    assert {p.candidate.id for p in picks(found, 30, done={"p0001"})} == {"p0000", "p0002", "p0003", "p0004"}
    assert picks(found, 30, done={one.id for one in found}) == []


def test_disagreement_asks_where_phrases_say_otherwise() -> None:
    sure = score(0.95).probabilities
    pool = Pool(np.array([sure] * 10), np.array([n != 7 for n in range(10)]), ["tr"] * 10, [""] * 10)
    assert choose(pool, 1, np.random.default_rng(0), strategy="disagreement", audit=0) == [(7, "disagreement")]


def test_posts_become_candidates_without_names_and_near_copies_become_one(pipeline: Pipeline) -> None:
    copy = "instagram yine çöktü hikayeler açılmıyor mesajlar gitmiyor @ayse_k sizde durum nasıl"
    posts = [
        post(copy, id="bluesky:did:plc:abc/1"),
        post(copy + " ya", id="bluesky:did:plc:abd/2"),
        post("bugün hava çok güzel", id="bluesky:3"),
        post("All systems operational", id="status:1", tier=Tier.OFFICIAL),
        post("  ", id="bluesky:4"),
    ]
    found = candidates(pipeline, posts)
    assert sorted(one.alike for one in found) == [1, 2]
    told = json.dumps([one.text + one.id for one in found])
    assert "ayse" not in told
    assert "did:plc" not in told
    first = next(one for one in found if one.alike == 2)
    assert (first.guess in ("report", "question"), first.language, first.opinion) == (True, "tr", True)
    assert {one.id for one in candidates(pipeline, posts, keep_ids=True)} >= {"3"}


# answers


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("10", "no label '10'"),
        ("outage", "no label 'outage'"),
        ("1 broken", "'broken' is no symptom"),
        ("9 d", "a 'other' post has no symptom"),
        ("# only a note", "begins with a label"),
    ],
)
def test_a_wrong_answer_says_what_is_wrong(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(line)


def test_a_round_is_gone_on_with_where_it_was_left(tmp_path: Path) -> None:
    first = round_of(tmp_path)
    first.save()
    first.answer(Answer("report", "login"), NOW)
    first.skip()
    again = resumed(first.file, "ana", KNOWN)
    assert again is not None
    assert again.current == first.picks[2]
    assert again.done == 2
    assert resumed(first.file, "ben", KNOWN) is None, "another labeller has a round of their own"
    again.answer(Answer("other"), NOW)
    again.save()
    assert resumed(first.file, "ana", KNOWN) is None, "it is over"


def test_an_answer_keeps_what_was_shown_and_is_taken_back_whole(tmp_path: Path) -> None:
    made = round_of(tmp_path)
    made.answer(Answer("report", "login", note="sure"), NOW)
    (kept,) = load(made.file.path)
    assert (kept.guess, kept.chatter, kept.picked, kept.model) == ("report", 0.5, "margin", "sha256:m")
    assert (kept.by, kept.at, kept.symptom, kept.note) == ("ana", "2026-03-02T12:00:00Z", "login", "sure")
    assert made.undo() == kept
    assert load(made.file.path) == []
    assert made.current == made.picks[0]
    assert made.undo() is None


def test_chatter_without_a_name_is_unnamed_and_strange_services_are_refused(tmp_path: Path) -> None:
    made = round_of(tmp_path)
    with pytest.raises(InputError, match="no service 'instagrm'"):
        made.answer(Answer("report", services=("instagrm",)), NOW)
    assert made.answer(Answer("report", services=()), NOW).services == ("unnamed",)
    assert made.answer(Answer("other"), NOW).services == ("instagram",)


def test_half_a_line_of_a_killed_program_is_no_answer_and_is_written_over(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "labels.jsonl")
    file.append(label())
    with file.path.open("ab") as handle:
        handle.write(b'{"id":"half","te')
    assert [one.id for one in file.labels()] == ["instagram açılmıyor"]
    file.append(label("wp dondu"))
    assert [one.text for one in load(file.path)] == ["instagram açılmıyor", "wp dondu"]
    assert oct(file.path.stat().st_mode & 0o777) == "0o600"


def test_an_answer_after_which_somebody_wrote_is_not_taken_back(tmp_path: Path) -> None:
    file = LabelFile(tmp_path / "labels.jsonl")
    file.append(label())
    file.append(label("wp dondu", by="ben"))
    with pytest.raises(ListenerError, match="somebody else has written"):
        file.take_back(label())
    assert len(file.labels()) == 2


def test_an_answer_is_on_the_disk_before_the_next_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    file = LabelFile(tmp_path / "labels.jsonl")
    file.append(label())
    assert file.path.stat().st_size in synced


def test_agreement_with_the_model_is_counted_on_the_audit_share_by_itself() -> None:
    shown: dict[str, Any] = {"guess": "report", "chatter": 0.9, "probability": 0.8}
    given = [label("a", **shown), label("b", "question", picked="audit", **shown), label("c", "other", **shown)]
    counted = tally([*given, label("d", "other")])
    assert (counted.answered, counted.same_label, counted.same_question) == (4, 1, 2)
    assert (counted.audit, counted.audit_same_question) == (1, 1)


# other programs


@pytest.mark.parametrize("format", exchange.FORMATS)
def test_every_format_carries_everything_there_and_back(format: str) -> None:
    labels = [
        label('=1+1 "açılmıyor", \'mı\nde', symptom="login", services=("instagram", "x"), note="iki; üç, 'dört'"),
        label(
            "'-tırnak", "other", at="2026-03-02T12:00:00Z", model="sha256:m", guess="own", probability=0.5, chatter=0.25
        ),
        label("не ради", "question", id="7", by="Ана", picked="audit", alike=3, language="sr"),
    ]
    labels = [structs.replace(one, picked=one.picked or "margin", at="2026-03-02T12:00:00Z") for one in labels]
    back, without = exchange.taken(exchange.written(labels, format), format, "file", by="?", at="?")
    assert back == labels
    assert without == 0


def test_a_spreadsheet_gets_no_formula() -> None:
    raw = exchange.written([label("=HYPERLINK(1)")], "csv").decode()
    assert "'=HYPERLINK" in raw


def test_what_label_studio_exports_is_understood() -> None:
    tasks = [
        {
            "id": 4,
            "data": {"text": "instagram açılmıyor", "language": "tr"},
            "annotations": [
                {"completed_by": {"id": 2, "email": "a@b.example"}, "created_at": "2026-03-01T10:00:00Z", "result": [
                    {"type": "choices", "from_name": "label", "value": {"choices": ["report"]}},
                    {"type": "choices", "from_name": "symptom", "value": {"choices": ["down"]}},
                ]},
                {"was_cancelled": True, "result": []},
            ],
        },
        {"id": 5, "data": {"text": "bugün hava güzel"}, "annotations": []},
    ]  # fmt: skip
    (made,), without = exchange.taken(json.dumps(tasks).encode(), "labelstudio", "f", by="ana", at="now")
    assert (made.label, made.symptom, made.by, made.picked, without) == (
        "report",
        "down",
        "labelstudio-2",
        "imported",
        1,
    )
    assert "b.example" not in str(made)


def test_what_doccano_exports_is_understood() -> None:
    lines = '{"id": 9, "text": "wp dondu", "label": ["report"], "Comments": []}\n{"id": 10, "text": "x", "label": []}\n'
    (made,), without = exchange.taken(lines.encode(), "doccano", "f", by="ana", at="now")
    assert (made.id, made.label, made.by, made.at, without) == ("9", "report", "ana", "now", 1)


@pytest.mark.parametrize(
    ("format", "raw", "said"),
    [
        ("csv", b"text\nhello\n", "no column 'label'"),
        ("labelstudio", b"{}", "not a list of tasks"),
        ("labelstudio", b"[", "f: Expecting"),
        ("doccano", b'{"text": "a", "label": ["report", "own"]}', "entry 1: 2 labels"),
        ("doccano", b'{"text": "a", "label": ["angry"]}', "entry 1: no label 'angry'"),
        ("doccano", b"7", "entry 1: not an object"),
        ("jsonl", b'{"id": 7}', "f:1: "),
        ("csv", b"\xff", "can't decode"),
    ],
)
def test_a_foreign_file_that_is_wrong_is_refused_with_where_and_what(format: str, raw: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        exchange.taken(raw, format, "f", by="ana", at="now")


# training


def test_answers_become_files_that_training_reads_and_its_checks_pass(tmp_path: Path, catalog: Catalog) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    lines = (Path(str(catalog.root)) / "labelled" / "tr.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "tr.jsonl").write_text("".join(lines[:30]), encoding="utf-8")
    known = json.loads(lines[0])["text"]
    answers = [
        label("sabahtan beri instagram hikayeleri dönüp duruyor bende", symptom="stories", services=("instagram",)),
        label(known + "!", "other", id="copy"),
        label("нет вообще ничего не грузится", id="foreign"),
        label("xqzt wvrk", "other", id="odd", language="und"),
        label("opet ne radi banka", id="split", language="sr"),
        label("opet ne radi banka", "own", id="split", language="sr", by="ben"),
    ]
    done = merge(answers, folder, catalog)
    assert done.added == {"tr": 1}
    assert done.left_out == {
        "near-copy, template or foreign script": 2,
        "language unknown": 1,
        "labellers differ": 1,
    }
    rows = dataset.load(folder)
    assert len(rows) == 31
    assert dataset.check(rows, catalog) == []
    again = merge([label(answers[0].text, "not_now", services=("instagram",))], folder, catalog)
    assert again.added == {"tr": 1}
    (row,) = [r.row for r in dataset.load(folder) if r.row.id.startswith("label-")]
    assert (row.label, row.symptom) == ("not_now", None), "an answer given anew replaces the row"


def test_of_three_labellers_two_decide_and_each_ones_last_answer_counts() -> None:
    made, undecided = settled(
        [
            label(),
            label(name="own", by="ben"),
            label(by="eva"),
            label("b"),
            label("b", "other"),
            label("c"),
            label("c", "own", by="ben"),
        ]
    )
    assert {one.text: one.label for one in made} == {"instagram açılmıyor": "report", "b": "other"}
    assert undecided == 1


# two labellers


def test_kappa_is_what_the_books_say() -> None:
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    found = kappa(first, second)
    assert found.value == pytest.approx(0.4)
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(0.1511, abs=0.005)
    assert found.high == pytest.approx(0.6489, abs=0.005)
    assert kappa(["y"] * 9, ["y"] * 9).value is None
    assert kappa(first, first).value == 1


def test_kappas_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    table = np.array([[0.4, 0.1], [0.15, 0.35]])
    truth = (0.75 - (0.5 * 0.55 + 0.5 * 0.45)) / 0.5
    inside = 0
    for _ in range(300):
        cells = random.choice(4, 120, p=table.ravel())
        found = kappa([str(c // 2) for c in cells], [str(c % 2) for c in cells])
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= truth <= found.high
    assert 0.9 < inside / 300 < 0.99


def test_two_labellers_are_compared_on_what_both_answered() -> None:
    ana = [label("a", symptom="login"), label("b", "own"), label("c", "other"), label("only ana")]
    ben = [label("a", symptom="down"), label("b", "report"), label("c", "works"), label("only ben")]
    found = agreement(ana, ben)
    assert found.labels.posts == 3
    assert [(a.id, a.label, b.label) for a, b in found.differ] == [("b", "own", "report"), ("c", "other", "works")]
    assert found.symptoms == 0
    assert [name for name, *_ in found.by_label] == ["report", "works", "own", "other"]
    with pytest.raises(InputError, match="no post in common"):
        agreement(ana, [label("z")])


# curves


def test_choosing_by_margin_keeps_up_with_the_lot_on_few_posts() -> None:
    """That it spares labels shows with more of them: tests/bench/test_active_bench.py."""
    sizes, seeds = (100, 200, 400), (0, 1, 2)
    rows = curves.curve(curves.material(every=12), seeds=seeds, sizes=sizes, workers=1)
    assert len(rows) == 2 * len(seeds) * len(sizes)
    for seed in seeds:
        first = {row["strategy"]: row["f1"] for row in rows if (row["labels"], row["seed"]) == (sizes[0], seed)}
        assert first["random"] == first["margin"], "both begin with the same labels"
    by_lot, by_margin = curves.summary(rows)
    assert by_margin["area"] > by_lot["area"] - 0.02
    assert by_lot["saving"] == 0
