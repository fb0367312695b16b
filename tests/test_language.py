"""Which language a post is in: by script, by its letters, and by asking around when it looks like none of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from listener.errors import ModelError
from listener.text.language import Identifier
from listener.types import Language

CURRENT = Path(__file__).parent.parent / "models" / "current"
SERBIAN = {"sr", "hr", "bs"}


@pytest.fixture(scope="module")
def identifier() -> Identifier:
    return Identifier.load(CURRENT)


def one(identifier: Identifier, text: str, *hints: str) -> Language:
    return identifier.identify([text], [hints])[0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("bugün hiçbir şey yüklenmiyor, modemi kapatıp açtım", "tr"),
        ("bugun hicbir sey yuklenmiyor, modemi kapatip actim", "tr"),
        ("σήμερα δεν φορτώνει τίποτα στο κινητό μου", "el"),
        ("simera den fortwnei tipota sto kinito mou", "el"),
        ("днес нищо не се зарежда на телефона ми", "bg"),
        ("dnes ni6to ne se zarejda na telefona mi", "bg"),
        ("azi nu se încarcă nimic pe telefonul meu", "ro"),
        ("sot nuk po hapet asgjë në telefonin tim", "sq"),
        ("nothing loads on my phone since this morning", "en"),
        ("danes se mi na telefonu nič ne naloži več", "sl"),
        ("ништо не се отвора на телефонот, ќе го фрлам", "mk"),
        ("данас ништа не могу да отворим, ђаво да га носи", "sr"),
    ],
)
def test_our_languages_are_known_however_they_are_typed(identifier: Identifier, text: str, code: str) -> None:
    assert one(identifier, text).code == code


def test_serbian_croatian_and_bosnian_share_the_probability(identifier: Identifier) -> None:
    found = one(identifier, "ne mogu da otvorim poruke od jutros, je l' tako i kod vas")
    shares = dict(found.probabilities)
    assert found.code in SERBIAN
    assert len(SERBIAN & shares.keys()) >= 2
    assert sum(shares[code] for code in SERBIAN & shares.keys()) > 0.8


@pytest.mark.parametrize("text", ["jel i vama steka net veceras", "nista ne radi danas", "dobro jutro ljudi"])
def test_a_short_post_is_never_surely_of_one_of_the_three(identifier: Identifier, text: str) -> None:
    shares = dict(one(identifier, text).probabilities)
    assert max(shares[code] for code in SERBIAN & shares.keys()) < 0.95


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ich kann mich heute leider nicht bei meiner Bank anmelden, was ist los", "de"),
        ("сегодня опять ничего не работает, мы не можем войти", "ru"),
        ("インターネットがつながらないんですけど", "ja"),
    ],
)
def test_other_languages_are_called_by_their_name(identifier: Identifier, text: str, code: str) -> None:
    assert one(identifier, text).code == code


@pytest.mark.parametrize("text", ["", "😀😀", "12:30 !!", "<url> @user"])
def test_a_text_without_words_is_undetermined(identifier: Identifier, text: str) -> None:
    assert one(identifier, text).code == "und"


def test_the_script_is_told(identifier: Identifier) -> None:
    texts = ["не работи", "δεν παίζει", "ne radi"]
    assert [one(identifier, text).script for text in texts] == ["Cyrl", "Grek", "Latn"]


def test_a_hint_tips_the_scales_of_a_doubtful_text_only(identifier: Identifier) -> None:
    doubtful, plain = "radi li", "bugün hiçbir şey yüklenmiyor yine"
    before, after = (dict(one(identifier, doubtful, *hint).probabilities).get("hr", 0.0) for hint in ((), ("hr",)))
    assert after > before
    assert one(identifier, plain, "en").code == "tr"


def test_the_answer_does_not_depend_on_company_or_on_the_day(identifier: Identifier) -> None:
    texts = ["ne radi", "kan niet inloggen op mijn rekening vandaag", "çöktü", "мутно", "poate maine"]
    together = identifier.identify(texts, [()] * len(texts))
    for text, found in zip(texts, together, strict=True):
        alone = one(identifier, text)
        assert alone.code == found.code
        assert alone.confidence == pytest.approx(found.confidence, abs=1e-9)
    assert identifier.identify([], []) == []


def test_no_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="listener train"):
        Identifier.load(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"format": 9}, {"bits": 30}, {"arrays": "sha256:0"}, {"codes": ["tr"]}, {"golden": [["tr", 0.1, "ne radi"]]}],
)
def test_a_changed_model_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    folder = Path(shutil.copytree(CURRENT, tmp_path / "model"))
    settings = json.loads((folder / "language.json").read_bytes()) | change
    (folder / "language.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"^[^\n]+$"):
        Identifier.load(folder)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(CURRENT, tmp_path / "model"))
    (folder / "language.npz").write_bytes(b"not a zip")
    with pytest.raises(ModelError, match="sha256"):
        Identifier.load(folder)
    (folder / "language.npz").unlink()
    with pytest.raises(ModelError, match=r"language\.npz"):
        Identifier.load(folder)
