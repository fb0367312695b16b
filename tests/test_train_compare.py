"""Models side by side: what is said to be better is better, chance is called chance, and nothing unfair is compared."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from listener import catalog as catalogs
from listener.catalog import Catalog
from listener.classify import modelfile
from listener.classify.classifier import Classifier
from listener.classify.features import masked
from listener.cli import app, model
from listener.datafile import digest_of
from listener.errors import InputError, ModelError
from listener.text.language import Identifier
from listener.text.phrases import matcher_of
from listener.training import card, compare, dataset, paired, train, unseen
from listener.types import CHATTER, LABELS
from tests.conftest import ROOT

FEW = 40  # posts a language: enough to run every step, too few to be good
CURRENT = ROOT / "models" / "current"


@pytest.fixture(scope="module")
def world() -> Catalog:
    return catalogs.load(ROOT / "data")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    for code in ("tr", "sr"):
        lines = (ROOT / "data" / "labelled" / f"{code}.jsonl").read_bytes().splitlines()[:FEW]
        (folder / f"{code}.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


class Trained(NamedTuple):
    folder: Path
    scores: dict[str, Any]
    printed: Result
    steps: list[str]  # as training named them
    before: Path


@pytest.fixture(scope="module")
def trained(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One training with all that the command offers, compared with a model that took every post for a report."""
    folder = tmp_path_factory.mktemp("models")
    rows = dataset.load(few)
    every, certain = np.zeros(len(rows), np.intp), np.ones(len(rows))
    before = kept(CURRENT, folder / "before", unseen.decisions_of(rows, range(len(rows)), every, certain, certain))
    steps: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "_bar", lambda expected: nullcontext(steps.append))
        arguments = ["--data", str(few), "--out", str(folder / "new"), "--compare", str(before), "--workers", "1"]
        more = ["--confusion", "--explain", "--export-joblib", str(folder / "new.joblib")]
        done = CliRunner(env={"COLUMNS": "120"}).invoke(app, ["train", *arguments, *more], catch_exceptions=False)
    scores = json.loads((folder / "new" / "meta.json").read_bytes())["scores"]
    return Trained(folder / "new", scores, done, steps, before)


@pytest.fixture
def better(trained: Trained, tmp_path: Path) -> Path:
    """The same model, had it been right about every Turkish post."""
    made = unseen.load(trained.folder)
    turkish = made.language == "tr"
    truth = np.array([LABELS[label] in CHATTER for label in made.label])
    chatter = np.where(turkish, truth.astype(float), made.chatter)
    return kept(
        trained.folder,
        tmp_path / "better",
        replace(made, chatter=chatter, said=np.where(turkish, made.label, made.said)),
    )


def kept(model: Path, to: Path, made: unseen.Decisions) -> Path:
    """A copy of a model with other decisions beside it."""
    shutil.copytree(model, to)
    raw, about = unseen.packed_with(made)
    (to / "unseen.npz").write_bytes(raw)
    meta = json.loads((to / "meta.json").read_bytes())
    (to / "meta.json").write_text(json.dumps({**meta, "unseen": msgspec.to_builtins(about)}))
    return to


def guesses(random: np.random.Generator, truth: np.ndarray, right: float) -> np.ndarray:
    return np.where(random.random(len(truth)) < right, truth, ~truth)


def test_a_clear_difference_is_seen_and_none_where_there_is_none() -> None:
    random = np.random.default_rng(1)
    truth = random.random(400) < 0.3
    alone = np.arange(400)
    found = paired.difference(truth, guesses(random, truth, 0.8), guesses(random, truth, 0.95), alone, 0)
    assert found["p"] < 0.001
    assert found["interval"][0] > 0
    assert found["f1"][1] - found["f1"][0] == pytest.approx(found["change"], abs=2e-4)
    said = guesses(random, truth, 0.9)
    same = paired.difference(truth, said, said, alone, 0)
    assert (same["change"], same["p"], same["mended"], same["broken"]) == (0.0, 1.0, 0, 0)


def test_equally_good_models_are_seldom_called_different() -> None:
    random = np.random.default_rng(2)
    called = 0
    for seed in range(60):
        truth = random.random(200) < 0.3
        one, other = (guesses(random, truth, 0.85) for _ in range(2))
        called += paired.difference(truth, one, other, np.arange(200), seed)["p"] < paired.SURE
    assert called <= 8  # three are expected; more than eight come about once in two hundred runs


def test_copies_of_one_post_count_as_little_more_than_one() -> None:
    truth = np.ones(30, np.bool_)
    before, after = np.zeros(30, np.bool_), np.ones(30, np.bool_)
    assert paired.difference(truth, before, after, np.arange(30), 0)["p"] < 0.01
    assert paired.difference(truth, before, after, np.arange(30) // 15, 0)["p"] > 0.3


def test_what_got_better_is_named_by_language_and_label(trained: Trained, better: Path, world: Catalog) -> None:
    made = compare.compare(trained.folder, better, world)
    assert made["posts"] == 2 * FEW
    assert made["judged"] == "in cross-validation"
    assert made["languages"]["tr"]["verdict"] == "better"
    assert made["languages"]["tr"]["f1"][1] == 1.0
    assert made["languages"]["sr"]["change"] == 0.0
    assert made["languages"]["sr"]["verdict"] == ""
    assert set(made["labels"]) <= set(LABELS)
    assert made["mended"]
    assert all(post.startswith("tr-") for post in made["mended"])
    assert made["broken"] == []
    back = compare.compare(better, trained.folder, world)
    assert back["languages"]["tr"]["verdict"] == "worse"
    assert back["broken"] == made["mended"]


def test_posts_relabelled_rewritten_or_had_by_one_only_are_left_out(
    trained: Trained, world: Catalog, tmp_path: Path
) -> None:
    made = unseen.load(trained.folder)
    label, text = made.label.copy(), made.text.copy()
    label[0] = (label[0] + 1) % len(LABELS)
    text[1] += np.uint64(1)
    ids = (*made.ids[:2], "tr-new", *made.ids[3:])
    other = kept(trained.folder, tmp_path / "other", replace(made, ids=ids, label=label, text=text))
    found = compare.compare(trained.folder, other, world)
    assert (found["posts"], found["changed_since"], found["only_in_one"]) == (2 * FEW - 3, 2, 2)


def test_a_model_that_does_not_say_what_it_learnt_from_is_not_compared(
    trained: Trained, world: Catalog, tmp_path: Path
) -> None:
    old = Path(shutil.copytree(trained.folder, tmp_path / "old"))
    meta = json.loads((old / "meta.json").read_bytes())
    (old / "meta.json").write_text(json.dumps({**meta, "unseen": None}))
    with pytest.raises(ModelError, match=r"old: does not say what it was trained on.* train it again"):
        compare.compare(old, trained.folder, world)
    (old / "meta.json").write_text(json.dumps(meta))
    raw = bytearray((old / "unseen.npz").read_bytes())
    raw[100] ^= 1
    (old / "unseen.npz").write_bytes(raw)
    with pytest.raises(ModelError, match=r"unseen\.npz: its content is not what meta\.json says"):
        compare.compare(trained.folder, old, world)


def test_posts_that_a_model_learnt_from_are_no_test_of_it(
    trained: Trained, better: Path, few: Path, world: Catalog
) -> None:
    with pytest.raises(InputError, match=r"was trained on 80 of these 80 posts and would be asked what it was told"):
        compare.compare(trained.folder, better, world, data=few)


def test_models_without_a_post_in_common_are_not_compared(trained: Trained, world: Catalog, tmp_path: Path) -> None:
    made = unseen.load(trained.folder)
    other = kept(trained.folder, tmp_path / "other", replace(made, ids=tuple(f"x-{post}" for post in made.ids)))
    with pytest.raises(InputError, match=r"only 0 training posts in common; compare them on others, with --data"):
        compare.compare(trained.folder, other, world)


def test_on_posts_held_out_those_learnt_from_are_left_out(
    trained: Trained, better: Path, world: Catalog, tmp_path: Path
) -> None:
    lines = (ROOT / "data" / "labelled" / "tr.jsonl").read_text(encoding="utf-8").splitlines()
    leaked = {**json.loads(lines[0]), "id": "tr-again"}
    leaked["text"] = leaked["text"].upper() + " !!"
    held = tmp_path / "tr.jsonl"
    held.write_text("\n".join([*lines[FEW : FEW + 60], json.dumps(leaked)]) + "\n", encoding="utf-8")
    made = compare.compare(trained.folder, better, world, data=held)
    assert (made["posts"], made["trained_on"], made["judged"]) == (60, 1, "as they are")
    assert made["all"]["change"] == 0.0  # the two differ in what is kept beside them only


def test_held_out_posts_are_judged_without_the_shift_for_a_stream(trained: Trained, world: Catalog) -> None:
    classifier = Classifier.load(trained.folder)
    texts = ["instagrama giremiyorum", "ne radi mi internet", "bugün hava güzel"]
    readings = dataset.read(texts, ["1", "2", "3"], matcher_of(world), Identifier.load(trained.folder))
    odds = compare._unshifted(classifier, readings, classifier.score(readings))
    assert np.allclose(odds, classifier.to_sklearn().predict_proba(readings), atol=1e-4)


def test_what_is_kept_of_the_posts_is_not_their_text(trained: Trained, few: Path) -> None:
    rows = dataset.load(few)
    made = unseen.load(trained.folder)
    assert made.ids == tuple(row.row.id for row in rows)
    assert [LABELS[label] for label in made.label] == [row.row.label for row in rows]
    with np.load(trained.folder / "unseen.npz", allow_pickle=False) as file:
        assert sorted(file) == ["chatter", "group", "ids", "label", "language", "live", "said", "text"]
        assert file["text"].dtype == np.dtype("<u8")
    truth = np.array([row.chatter for row in rows])
    f1 = paired.difference(truth, truth, made.chatter >= 0.5, np.arange(len(rows)), 0)["f1"][1]
    assert f1 == trained.scores["all"]["f1"]


def test_posts_of_one_author_share_a_fold(few: Path) -> None:
    rows = dataset.load(few)
    mine = [
        replace(r, row=msgspec.structs.replace(r.row, author="a1")) if n % 10 == 0 else r for n, r in enumerate(rows)
    ]
    folds = train.fold_numbers(mine, dataset.groups(mine))
    assert len(set(folds[::10].tolist())) == 1
    assert len(set(train.fold_numbers(rows, dataset.groups(rows))[::10].tolist())) > 1
    assert dataset.digest(mine) != dataset.digest(rows)


def test_posts_that_are_nearly_all_by_one_author_are_refused(few: Path, world: Catalog, tmp_path: Path) -> None:
    for path in few.glob("*.jsonl"):
        rows = [{**json.loads(line), "author": "a1"} for line in path.read_text(encoding="utf-8").splitlines()]
        (tmp_path / path.name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(InputError, match="over half of the posts are by one author"):
        train.train(tmp_path, tmp_path / "out", world)


def test_labels_taken_for_others_add_up(trained: Trained, few: Path) -> None:
    table = np.array(trained.scores["confusion"])
    labels = [row.row.label for row in dataset.load(few)]
    assert table.sum(axis=1).tolist() == [labels.count(label) for label in LABELS]


def test_the_most_useful_features_are_named_and_stand_in_several_posts(trained: Trained, few: Path) -> None:
    found = trained.scores["useful"]
    assert set(found) == {"tr", "sr"}
    matches = matcher_of(catalogs.load(ROOT / "data"))
    identifier = Identifier.load(trained.folder)
    rows = dataset.load(few)
    bags = [
        set(masked(r).split())
        for r in dataset.read([r.row.text for r in rows], [r.row.id for r in rows], matches, identifier)
    ]
    for each in found.values():
        assert each["findings"]
        words = [name for side in ("for", "against") for name, _ in each[side] if " " not in name and name[0] != "{"]
        assert words
        assert all(sum(word in bag for bag in bags) >= 3 for word in words)


def test_training_names_its_steps_in_order(trained: Trained) -> None:
    assert trained.steps == list(train.steps(thorough=False, explained=True))


def test_a_card_goes_with_every_model(trained: Trained) -> None:
    classifier = Classifier.load(trained.folder)
    text = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert text == card.card(classifier.meta, classifier.digest)
    for wanted in (classifier.digest, classifier.meta.data, f"{2 * FEW} labelled posts in sr, tr", "| seed | 0 |"):
        assert wanted in text
    assert f"| tr | {FEW} |" in text
    assert "taken for (columns)" in text
    assert "What helps most" in text


def test_the_card_of_the_shipped_model_is_up_to_date() -> None:
    """Write it anew with `listener card models/current --into models/README.md`."""
    text = (ROOT / "models" / "README.md").read_text(encoding="utf-8")
    meta = msgspec.json.decode((CURRENT / "meta.json").read_bytes(), type=modelfile.Meta)
    assert card.into(text, meta, "models/README.md") == text


def test_the_card_is_printed_and_put_between_two_marks(trained: Trained, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["card", str(trained.folder)])
    assert done.stdout == (trained.folder / "README.md").read_text(encoding="utf-8")
    page = tmp_path / "ours.md"
    page.write_text(f"# Ours\n\n{card.BEGIN}\nold\n{card.END}\nour prose\n", encoding="utf-8")
    assert CliRunner().invoke(app, ["card", str(trained.folder), "--into", str(page)]).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Ours\n\n")
    assert text.endswith(f"{card.END}\nour prose\n")
    assert "F1 of each label" in text
    assert "old" not in text
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(InputError, match=r"ours\.md: no place for figures"):
        CliRunner().invoke(app, ["card", str(trained.folder), "--into", str(page)], catch_exceptions=False)


def test_a_card_of_foreign_scores_is_refused(trained: Trained) -> None:
    meta = msgspec.structs.replace(Classifier.load(trained.folder).meta, scores={"accuracy": 1.0})
    with pytest.raises(ModelError, match=r"meta\.json: its scores are not those"):
        card.figures(meta)


def test_train_compares_prints_and_exports(trained: Trained) -> None:
    done, folder = trained.printed, trained.folder
    assert done.exit_code == 0
    assert "posts of each label, by the label they were taken for" in done.stdout
    assert "what helps most" in done.stdout
    assert (
        f"{trained.before} (before) and {folder} (after) on {2 * FEW} posts, judged in cross-validation" in done.stdout
    )
    verdicts = {line.split("  ")[0]: line.split()[-1] for line in done.stdout.splitlines() if line.strip()}
    assert verdicts["label other"] == "better"
    assert "in tr" in verdicts
    assert f"with its card in {folder / 'README.md'}" in done.stderr
    export = folder.with_suffix(".joblib")
    assert f"estimators written to {export} ({digest_of(export.read_bytes())})" in done.stderr


def test_compare_prints_json_and_the_posts_that_changed(trained: Trained, better: Path) -> None:
    done = CliRunner().invoke(app, ["compare", str(trained.folder), str(better), "--format", "json"])
    made = json.loads(done.stdout)
    assert (made["posts"], made["models"][1]["folder"]) == (2 * FEW, str(better))
    done = CliRunner().invoke(app, ["compare", str(trained.folder), str(better), "--posts"])
    assert done.stdout.splitlines()[-2:] == [f"mended: {' '.join(made['mended'])}", "broken: none"]


def test_train_refuses_a_comparison_before_it_works(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training will replace that model"):
        CliRunner().invoke(
            app, ["train", "--out", str(trained.folder), "--compare", str(trained.folder)], catch_exceptions=False
        )
    with pytest.raises(ModelError, match="no model here"):
        CliRunner().invoke(app, ["train", "--compare", str(tmp_path / "none")], catch_exceptions=False)
