"""The loader reads a data folder whole, and says which file and which key is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from listener.catalog import load
from listener.errors import ConfigError

LANGUAGE = """
code = "xx"
name = "Test"
english = "Test"
scripts = ["Latn"]
source = "invented"
function_words = ["and"]
frequent = ["bread"]
months = []

[[phrases]]
concept = "trouble"
forms = ["broke"]
except = ["broke my leg"]
"""
SERVICE = 'id = "chirp"\nname = "Chirp"\nkind = "social"\nsource = "invented"\naliases = ["chirp*"]\n'
REGION = f"""
code = "RS"
name = "Srbija"
english = "Serbia"
source = "invented"
languages = {{ sr = 0.9, other = 0.1 }}
scripts = {{ sr = 0.3 }}

[hours]
local = {[1 / 24] * 24}
"""
PLACES = "place\tkind\tpopulation\tforms\texcept\tsource\nNiš\tcity\t180000\tu nišu; iz niša\tu nišu gradi\tinvented\n"
SOURCE = '[[source]]\nname = "chirps"\nkind = "rss"\nurl = "https://feed.example/rss"\nsource = "invented"\n'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small complete data folder."""
    files = {
        "languages/xx.toml": LANGUAGE,
        "services/chirp.toml": SERVICE,
        "regions/RS.toml": REGION,
        "places/RS.tsv": PLACES,
        "sources/RS.toml": SOURCE,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def refused(folder: Path, file: str, text: str) -> str:
    """What the loader says when a file holds this text."""
    (folder / file).write_text(text)
    with pytest.raises(ConfigError) as error:
        load(folder)
    assert file in str(error.value)
    return str(error.value)


def test_every_folder_is_read(data: Path) -> None:
    catalog = load(data)
    (phrase,) = catalog.languages["xx"].phrases
    (place,) = catalog.places
    (source,) = catalog.sources
    assert phrase.excepted == ("broke my leg",)
    assert catalog.services["chirp"].aliases == ("chirp*",)
    assert catalog.regions["RS"].languages["sr"] == 0.9
    assert (place.region, place.population, place.forms) == ("RS", 180000, ("u nišu", "iz niša"))
    assert source.options == {"url": "https://feed.example/rss"}


def test_the_digest_names_the_content(data: Path) -> None:
    before = load(data).digest
    assert load(data).digest == before
    (data / "services/chirp.toml").write_text(SERVICE + 'group = "birds"\n')
    assert load(data).digest != before


def test_an_unknown_key_names_the_nearest_one(data: Path) -> None:
    assert "did you mean 'aliases'" in refused(data, "services/chirp.toml", SERVICE.replace("aliases", "aliasses"))


def test_an_unknown_concept_is_refused(data: Path) -> None:
    assert "no concept 'troubles'" in refused(data, "languages/xx.toml", LANGUAGE.replace('"trouble"', '"troubles"'))


def test_an_unknown_service_kind_is_refused(data: Path) -> None:
    assert "no service kind 'birds'" in refused(data, "services/chirp.toml", SERVICE.replace("social", "birds"))


def test_a_file_is_named_after_what_it_describes(data: Path) -> None:
    assert "describes 'tweet'" in refused(data, "services/chirp.toml", SERVICE.replace('"chirp"', '"tweet"'))


def test_shares_must_sum_to_one(data: Path) -> None:
    assert "must sum to 1" in refused(data, "regions/RS.toml", REGION.replace("sr = 0.9", "sr = 0.5"))


@pytest.mark.parametrize(
    ("wrong", "said"), [("city\t180000", "no place kind"), ("180000", "not a whole number"), ("\tinvented", "columns")]
)
def test_a_wrong_place_names_its_line(data: Path, wrong: str, said: str) -> None:
    changed = {"city\t180000": "village\t180000", "180000": "many", "\tinvented": ""}[wrong]
    message = refused(data, "places/RS.tsv", PLACES.replace(wrong, changed))
    assert said in message
    assert "RS.tsv:2" in message


def test_a_broken_file_is_named(data: Path) -> None:
    refused(data, "services/chirp.toml", "id = [")


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data here"):
        load(tmp_path)
