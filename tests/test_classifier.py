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

from listener import catalog, datafile
from listener.classify.classifier import Classifier
from listener.classify.features import masked
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
    meta["model"] = datafile.digest_of((folder / "model.json").read_bytes())
    meta["arrays"] = datafile.digest_of((folder / "arrays.npz").read_bytes())
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
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-9)
        assert one.symptom == other.symptom
    assert classifier.score([]) == []


def test_scikit_learn_agrees(classifier: Classifier, readings: list[Reading]) -> None:
    ours = np.array([score.probabilities for score in classifier.score(readings)])
    assert np.abs(classifier.to_sklearn().predict_proba(readings) - ours).max() < 1e-6


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


def test_loading_needs_no_scikit_learn() -> None:
    code = f"""
import sys
from pathlib import Path
from listener.classify.classifier import Classifier
from listener.text.language import Identifier
Classifier.load(Path({str(CURRENT)!r})); Identifier.load(Path({str(CURRENT)!r}))
assert not any(name.split(".")[0] in ("sklearn", "scipy", "langdetect") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=CURRENT.parent.parent)


def test_no_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="listener train"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "arrays.npz", "meta.json"])
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
    arrays["intercept"] = arrays["intercept"][::-1].copy()
    (copied / "arrays.npz").write_bytes(datafile.packed(arrays))
    with pytest.raises(ModelError, match="no longer gives the answers"):
        Classifier.load(sealed(copied))


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"labels": ["report"]},
        {"told": ["has:trouble"]},
        {"symptom_bits": 60},
        {"parameters": {"bits": 40, "shortest": 2, "longest": 5, "word_scale": 1.0, "told_scale": 0.5}},
        {"parameters": {"bits": 16, "shortest": 2, "longest": 900, "word_scale": 1.0, "told_scale": 0.5}},
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
    np.savez(poisoned, allow_pickle=True, **(good | {"intercept": objects}))
    wide = datafile.packed({**good, "intercept": np.zeros(10, "<f4")})
    endless = datafile.packed({**good, "intercept": np.full(len(LABELS), np.nan, "<f4")})
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
