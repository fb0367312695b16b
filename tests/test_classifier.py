"""The shipped model: what it says, that it says the same as scikit-learn, and that no bad file gets past the door."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from listener import catalog, datafile
from listener.classify import features
from listener.classify.classifier import Classifier
from listener.classify.features import masked
from listener.classify.linear import Linear, softmax
from listener.classify.named import KINDS, Named
from listener.classify.sensegrams import sense_grams
from listener.classify.senses import Forms, Senses, Tables
from listener.errors import ModelError
from listener.text.language import Identifier
from listener.text.phrases import Matcher, matcher_of
from listener.training.dataset import read
from listener.types import CHATTER, LABELS, Reading

CURRENT = Path(__file__).parent.parent / "models" / "current"

FAILING = (
    "instagram açılmıyor, hikayeler de yüklenmiyor, sizde de öyle mi",
    "ne radi mi viber od jutros, poruke se ne šalju, je l' još nekome",
    "whatsapp is down again, messages won't send",
)
EVERYDAY = (
    "bugün annemle pazara gittik, domates çok pahalı",
    "danas smo pravili ajvar kod babe, ceo stan miriše",
    "we walked along the river and had ice cream",
    "",
    "👍👍",
)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(CURRENT)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return matcher_of(catalog.load())


@pytest.fixture(scope="module")
def readings(matcher: Matcher) -> list[Reading]:
    texts = (*FAILING, *EVERYDAY)
    return read(texts, [str(n) for n in range(len(texts))], matcher, Identifier.load(CURRENT))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CURRENT, tmp_path / "model"))


def sealed(folder: Path) -> Path:
    """Make the digests right again, as someone would who changed a file on purpose."""
    meta = json.loads((folder / "meta.json").read_bytes())
    for part, name in (("model", "model.json"), ("senses", "senses.json"), ("arrays", "arrays.npz")):
        meta[part] = datafile.digest_of((folder / name).read_bytes())
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "arrays.npz", allow_pickle=False) as file:
        return dict(file)


def test_what_fails_now_is_chatter_and_everyday_talk_is_not(classifier: Classifier, readings: list[Reading]) -> None:
    chatter = [score.chatter for score in classifier.score(readings)]
    assert min(chatter[: len(FAILING)]) > 0.6
    assert max(chatter[len(FAILING) :]) < 0.4


def test_probabilities_sum_to_one_and_name_the_model(classifier: Classifier, readings: list[Reading]) -> None:
    for score in classifier.score(readings):
        assert sum(score.probabilities) == pytest.approx(1)
        assert len(score.probabilities) == len(LABELS)
        assert score.model == classifier.digest
    assert classifier.digest.startswith("sha256:")


def test_a_post_scores_the_same_alone_and_in_company(classifier: Classifier, readings: list[Reading]) -> None:
    together = classifier.score(readings)
    alone = [classifier.score([reading])[0] for reading in readings]
    for one, other in zip(together, alone, strict=True):
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-6)
        assert one.symptom == other.symptom
    assert classifier.score([]) == []


def test_scikit_learn_agrees(classifier: Classifier, readings: list[Reading]) -> None:
    pipeline = classifier.to_sklearn()
    matrix = pipeline.named_steps["features"].transform(readings)
    folded = features.folded(matrix, classifier.model.parameters)
    ours = softmax(classifier.wide.logits(matrix) + classifier.deep.logits(folded))
    assert np.abs(pipeline.predict_proba(readings) - ours).max() < 1e-5
    assert list(pipeline.predict(readings)) == [LABELS[best] for best in ours.argmax(axis=1)]


def test_the_explanation_names_the_words_that_speak_for_it(classifier: Classifier, readings: list[Reading]) -> None:
    explained = classifier.explain(readings[0])
    assert explained[0][1] != 0
    assert any(weight > 0 for _, weight in explained)
    assert [abs(w) for _, w in explained] == sorted((abs(w) for _, w in explained), reverse=True)
    assert classifier.explain(readings[6]) is not None  # an empty text has nothing but its shape


def test_a_service_is_one_token_whatever_its_name(matcher: Matcher) -> None:
    identifier = Identifier.load(CURRENT)
    one, other = read(["netflix açılmıyor 3 saattir", "spotify açılmıyor 5 saattir"], ["1", "2"], matcher, identifier)
    assert masked(one) == masked(other)
    assert "netflix" not in masked(one)


@pytest.mark.parametrize(
    ("text", "symptom"),
    [
        ("viber ne prolazi od jutros, jel i vama", "messages"),
        ("raiffeisen ne prolazi od jutros, jel i vama", "payments"),
        ("whatsapp isn't going through since noon, anyone else?", "messages"),
        ("revolut isn't going through since noon, anyone else?", "payments"),
    ],
)
def test_what_fails_depends_on_the_kind_of_service_named(
    classifier: Classifier, matcher: Matcher, text: str, symptom: str
) -> None:
    (score,) = classifier.score(read([text], ["1"], matcher, Identifier.load(CURRENT)))
    assert score.symptom == symptom


def test_a_service_added_after_training_is_judged_like_one_without_a_kind(readings: list[Reading]) -> None:
    folded = sparse.csr_array(np.zeros((1, 3), np.float32))
    (told,) = Named({"social": ("instagram",)}, 0.5).beside(folded, readings[:1]).toarray()
    assert told[3 + KINDS.index("social")] == 0.5
    assert told.sum() == 0.5
    assert not Named({"social": ("another",)}, 0.5).beside(folded, readings[:1]).toarray().any()


def test_loading_needs_no_scikit_learn() -> None:
    code = f"""
import sys
from pathlib import Path
from listener.classify.classifier import Classifier
from listener.text.language import Identifier
Classifier.load(Path({str(CURRENT)!r})); Identifier.load(Path({str(CURRENT)!r}))
assert not any(name.split(".")[0] in ("sklearn", "langdetect") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CURRENT.parent.parent)


def test_no_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="listener train"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "senses.json", "arrays.npz", "meta.json"])
def test_a_damaged_or_missing_file_is_one_clear_line(copied: Path, name: str) -> None:
    raw = (copied / name).read_bytes()
    (copied / name).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError, match=r"^[^\n]+$"):
        Classifier.load(copied)
    (copied / name).unlink()
    with pytest.raises(ModelError, match=r"^[^\n]+$"):
        Classifier.load(copied)


def test_a_changed_byte_is_noticed(copied: Path) -> None:
    raw = bytearray((copied / "arrays.npz").read_bytes())
    raw[1000] ^= 1
    (copied / "arrays.npz").write_bytes(bytes(raw))
    with pytest.raises(ModelError, match="sha256"):
        Classifier.load(copied)


def test_weights_changed_on_purpose_fail_the_golden_texts(copied: Path) -> None:
    arrays = arrays_of(copied)
    arrays["bias"] = arrays["bias"][::-1].copy()
    (copied / "arrays.npz").write_bytes(datafile.packed(arrays))
    with pytest.raises(ModelError, match="no longer gives the answers"):
        Classifier.load(sealed(copied))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 1},
        {"labels": ["report"]},
        {"told": ["has:trouble"]},
        {"parameters": {"bits": 18, "sense_bits": 60}},
        {"parameters": {"bits": 40, "shortest": 2, "longest": 5, "word_scale": 1.0}},
        {"parameters": {"bits": 16, "shortest": 2, "longest": 900, "word_scale": 1.0}},
        {"run": "something"},
    ],
)
def test_a_model_of_another_make_is_refused(copied: Path, change: dict[str, object]) -> None:
    model = json.loads((copied / "model.json").read_bytes()) | change
    (copied / "model.json").write_text(json.dumps(model))
    with pytest.raises(ModelError, match=r"model\.json"):
        Classifier.load(sealed(copied))


def test_pickles_wrong_shapes_and_endless_numbers_are_refused(copied: Path) -> None:
    good = arrays_of(copied)
    poisoned = io.BytesIO()
    objects = np.array([object()] * len(LABELS), dtype=object)
    np.savez(poisoned, allow_pickle=True, **(good | {"bias": objects}))
    wide = datafile.packed({**good, "bias": np.zeros(10, "<f4")})
    endless = datafile.packed({**good, "bias": np.full(len(LABELS), np.nan, "<f4")})
    extra = datafile.packed({**good, "more": np.zeros(1)})
    for raw in (poisoned.getvalue(), wide, endless, extra):
        (copied / "arrays.npz").write_bytes(raw)
        with pytest.raises(ModelError, match=r"arrays\.npz"):
            Classifier.load(sealed(copied))


def test_a_file_that_would_fill_the_memory_is_refused_unread(copied: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in arrays_of(copied):
            archive.writestr(f"{name}.npy", b"\0" * 30_000_000)
    (copied / "arrays.npz").write_bytes(bomb.getvalue())
    with pytest.raises(ModelError, match=r"arrays\.npz"):
        Classifier.load(sealed(copied))
    (copied / "arrays.npz").write_bytes(b"\0" * (datafile.LARGEST + 1))
    with pytest.raises(ModelError, match="larger than"):
        Classifier.load(copied)


def test_chatter_is_the_sum_of_its_labels(classifier: Classifier, readings: list[Reading]) -> None:
    score = classifier.score(readings)[0]
    told = dict(zip(LABELS, score.probabilities, strict=True))
    assert score.chatter == pytest.approx(sum(told[label] for label in CHATTER))


def meanings(text: str, *codes: str) -> list[tuple[str, ...]]:
    """What a small table says of a folded text."""
    turkish = Forms({"not+open": "acilmiyor"}, {"open": "acil", "problem": "sorun"}, {"not": "miyor"}, {"can": "abil"})
    english = Forms({"work": "working"}, {}, {}, {})
    senses = Senses(Tables(("not", "can", "open", "problem", "work"), {"tr": turkish, "en": english}))
    return [tuple(senses.names[n] for n in word) for word in senses.of(text, dict.fromkeys(codes, 0.9))]


def test_words_of_every_language_become_the_same_meanings() -> None:
    assert meanings("acilmiyor acilis sorunlu", "tr") == [("not", "open"), ("open",), ("problem",)]
    assert meanings("gelmiyor yapabilir", "tr") == [("not",), ("can",)]
    assert meanings("S working P", "tr") == [("S",), ("work",), ("P",)]  # English words are at home everywhere
    assert meanings("sorun", "en") == [()]


def test_weights_survive_being_packed() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(50, 3)).astype(np.float32) * 10.0 ** random.integers(-4, 3, (50, 1))
    weights[7] = 0
    linear = Linear(weights.astype(np.float32), random.normal(size=3).astype(np.float32))
    again = Linear.of(linear.packed("x_"), "x_")
    largest = np.abs(linear.weights).max(axis=1, keepdims=True)
    assert (np.abs(again.weights - linear.weights) <= largest / 200).all(), "half a step of its row at most"
    assert (again.weights[7] == 0).all()


def test_a_sense_without_a_name_is_refused(copied: Path) -> None:
    tables = json.loads((copied / "senses.json").read_bytes())
    tables["names"] = tables["names"][:-1]
    (copied / "senses.json").write_text(json.dumps(tables))
    with pytest.raises(ModelError, match=r"senses\.json: no sense"):
        Classifier.load(sealed(copied))


def test_the_gate_lets_through_what_was_found_and_what_sounds_like_trouble(
    classifier: Classifier, readings: list[Reading]
) -> None:
    passed = classifier.gate.passes([r.skeleton for r in readings], [r.matches for r in readings])
    assert all(passed[: len(FAILING)])
    assert not any(passed[-2:])  # nothing written, or nothing but thumbs


def test_meanings_side_by_side_make_pairs_and_threes_that_do_not_cross_posts() -> None:
    made = sense_grams([[(0,), (), (1, 2)], [(3,)], []], 15)
    assert made.post.tolist() == [0, 0, 0, 1, 0, 0]
    rows = [row for block in made.made_of for row in zip(*(part.tolist() for part in block), strict=True)]
    assert sorted(rows) == [(0,), (0, 1), (0, 2), (1,), (2,), (3,)]
    assert len(made.bucket) == len(rows)
    assert sense_grams([[], []], 15).post.tolist() == []
    three = sense_grams([[(0,), (1,), (2,)]], 15)
    assert [len(block[0]) for block in three.made_of if len(block) == 3] == [1]
