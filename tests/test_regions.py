"""Where a post is from: what its words, its source, its writer and its hour say, and what they leave open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from listener import catalog
from listener.errors import ConfigError
from listener.regions.attribute import Attributor
from listener.regions.cues import cues
from listener.regions.history import habit
from listener.regions.speech import heard, speech
from listener.regions.weights import Weights, weights
from listener.text.language import Identifier
from listener.text.normalize import normalize, skeleton
from listener.text.phrases import Matcher, matcher_of
from listener.types import Language, Reading, RegionWeight
from tests.builders import post

ROOT = Path(__file__).parent.parent
PLACES = ROOT / "data" / "places"
PLAIN = Language("en", 1.0, "Latn", (("en", 1.0),))


@cache
def matcher() -> Matcher:
    return matcher_of(catalog.load())


@cache
def identifier() -> Identifier:
    return Identifier.load(ROOT / "models" / "current")


@cache
def attributor() -> Attributor:
    return Attributor(catalog.load(), matcher().find, skeleton)


@cache
def odds() -> Weights:
    return weights(PLACES / "weights.toml")


def reading(text: str, language: str = "", **changes: Any) -> Reading:
    """A post as read; its language is told by the model unless it is given."""
    normal = normalize(text)
    told = (
        Language(language, 1.0, "Latn", ((language, 1.0),))
        if language
        else identifier().identify([normal.clean], [()])[0]
    )
    return Reading(post(text, **changes), normal.clean, normal.skeleton, tuple(matcher().find(normal.skeleton)), told)


def where(text: str, language: str = "", habits: Mapping[str, float] | None = None, **changes: Any) -> dict[str, float]:
    (told,) = attributor().attribute([reading(text, language, **changes)], [habits] if habits else ())
    assert sum(one.weight for one in told) == pytest.approx(1)
    return {one.region: one.weight for one in told}


def likeliest(text: str, language: str = "", **changes: Any) -> str:
    share = where(text, language, **changes)
    return max(share, key=share.__getitem__)


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("İzmir'de instagram açılmıyor", "TR"),
        ("u Novom Sadu ne radi viber", "RS"),
        ("στη Θεσσαλονίκη δεν ανοίγει τίποτα", "GR"),
        ("v Plovdiv nqma internet", "BG"),
        ("do Osijeka nema signala", "HR"),
        ("prej Prizrenit e mrapa s'ka net", "XK"),
    ],
)
def test_a_place_in_any_case_and_script_says_where(text: str, region: str) -> None:
    assert where(text)[region] > 0.9


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("u Njemačkoj Instagram ne radi, ovdje u Zagrebu radi", "HR"),
        ("in Germany Instagram is down, here in Zagreb it works", "HR"),
        ("doma v Mariboru jim dela, tukaj v Splitu ne dela nič", "HR"),
        ("în Italia merge, zice sora, noi la Cluj nu avem net", "RO"),
        ("mama in Sofia can call, I'm in Skopje and can't", "MK"),
    ],
)
def test_of_two_countries_the_one_where_the_writer_stands_counts(text: str, region: str) -> None:
    assert where(text)[region] > 0.85


@pytest.mark.parametrize(
    "text",
    [
        "ovde u Beču ne radi ništa",
        "Berlin'deyim, burada şebeke yok",
        "тук в Мюнхен нямаме интернет",
        "ζω στο Λονδίνο και εδώ δεν παίζει καμία τράπεζα",
        "lucrez la Torino, aici nu e semnal",
    ],
)
def test_our_people_abroad_are_not_counted_at_home(text: str) -> None:
    assert where(text)["ZZ"] > 0.9


def test_a_post_that_tells_of_elsewhere_is_split() -> None:
    share = where("U Turskoj opet zabranili Instagram, kažu neko vreme", "sr")
    assert share["TR"] > 0.3
    assert share["RS"] > 0.15


def test_a_post_from_both_sides_is_split() -> None:
    share = where("i u Beogradu i u Zagrebu pao je viber", "sr")
    assert min(share["RS"], share["HR"]) > 0.3


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("galatasaray'ı izlerken yayın dondu, belgrad ormanı gibi sessiz", "tr"),
        ("u Istanbulskoj ulici nema interneta", "bs"),
        ("Athens Street is dark, no internet", "en"),
        ("turkey sandwich ordered and the app is down", "en"),
        ("Croatia Airlines check-in page fails", "en"),
    ],
)
def test_streets_clubs_dishes_and_firms_are_no_places(text: str, language: str) -> None:
    plain = where("aplikacija app", language)
    share = where(text, language)
    most = max(plain, key=plain.__getitem__)
    assert max(share, key=share.__getitem__) == most


def test_english_with_nothing_else_is_from_elsewhere() -> None:
    assert where("is whatsapp down for anyone", "en")["ZZ"] > 0.95


def test_neighbours_of_one_language_stay_mixed_until_something_speaks() -> None:
    plain = where("ne radi internet od jutros", "sr")
    assert 0.5 < plain["RS"] < 0.95
    assert len(plain) >= 3
    assert where("ne radi internet od jutros u Tuzli", "sr")["BA"] > 0.9


def test_a_national_provider_says_where_and_one_that_countries_share_does_not() -> None:
    assert where("Turkcell çekmiyor", "tr")["TR"] > 0.97
    assert where("IPKO pa internet", "sq")["XK"] > 0.9
    assert where("vodafone is down again", "en")["ZZ"] > 0.9


def test_words_of_one_country_tell_albanians_apart() -> None:
    kosovo = where("krejt lagjja pa net, s'po muj me hy", "sq")
    albania = where("duhet 500 lekë dhe karta s'punon dot", "sq")
    assert kosovo["XK"] > 0.7
    assert albania["AL"] > 0.7


def test_source_and_profile_say_where() -> None:
    assert where("instagram is down", "en", region="BG")["BG"] > 0.9
    assert where("instagram is down", "en", place="Ljubljana, Slovenija")["SI"] > 0.85
    assert "ZZ" in where("instagram is down", "en", place="the moon")


def test_the_hour_moves_weights_to_where_people_are_awake() -> None:
    def at(hour: int) -> float:
        when = datetime(2026, 3, 2, hour, tzinfo=UTC)
        one = reading("instagram down", created_at=when, received_at=when)
        mixed = replace(one, language=Language("und", 0.5, "Latn", (("tr", 0.5), ("en", 0.5))))
        (told,) = attributor().attribute([mixed])
        return next(region.weight for region in told if region.region == "TR")

    assert at(19) > at(1) + 0.1


def test_evidence_names_the_words() -> None:
    (told,) = attributor().attribute([reading("u Nišu ne radi mts", "sr")])
    assert told[0].region == "RS"
    assert set(told[0].evidence) >= {"language", "place:u nisu", "provider:mts"}


def test_earlier_posts_of_an_author_say_where_the_next_is_from() -> None:
    (earlier,) = attributor().attribute([reading("iz Tuzle, viber ne šalje", "bs")])
    known = habit([earlier, earlier], odds())
    assert where("ne radi internet", "sr", habits=known)["BA"] > 0.6 > where("ne radi internet", "sr")["BA"]
    assert likeliest("ovde u Beogradu ne radi internet", "sr", habits=known) == "RS"


def test_posts_that_said_nothing_by_themselves_make_no_habit() -> None:
    (plain,) = attributor().attribute([reading("ne radi internet", "sr")])
    (again,) = attributor().attribute([reading("ne radi internet", "sr")], [{"RS": 3.0}])
    assert habit([plain, again] * 20, odds()) == {}
    assert habit([], odds()) == {}


def test_a_habit_never_outweighs_what_a_post_says() -> None:
    sure = (RegionWeight("RS", 1.0, ("language", "place:nisu")),)
    assert habit([sure] * 500, odds()) == {"RS": odds().habit_most}
    assert where("İstanbul'dayım, burada internet yok", "tr", habits={"RS": odds().habit_most})["TR"] > 0.85


def test_the_same_post_has_the_same_weights_alone_and_in_any_batch() -> None:
    batch = [reading("u Nišu ne radi mts", "sr"), reading("is it down", "en"), reading("İzmir'de yok", "tr")]
    assert attributor().attribute(batch) == [attributor().attribute([one])[0] for one in batch]
    assert attributor().attribute([]) == []


@pytest.mark.parametrize(
    ("text", "names", "marks"),
    [
        ("ovde u becu nema", ["becu"], ["here"]),
        ("brat iz dublina kaze radi mi u splitu nemamo", ["dublina", "splitu"], ["about", "here"]),
        ("berlin deyim", ["berlin"], ["here"]),
        ("athens street", ["athens"], ["thing"]),
        ("nis i zagreb", ["nis", "zagreb"], ["both", "both"]),
        ("nema signala u nisu", ["nisu"], [""]),
    ],
)
def test_words_beside_a_place_say_how_it_is_meant(text: str, names: list[str], marks: list[str]) -> None:
    text = skeleton(text)
    spans = [(text.index(name), text.index(name) + len(name)) for name in names]
    found = cues(PLACES / "cues.toml", skeleton)
    assert found.stands(text, spans, {"sr", "hr", "tr", "en"}) == marks


def test_every_language_has_cues_of_every_kind() -> None:
    import tomllib

    table = tomllib.loads((PLACES / "cues.toml").read_text("utf-8"))
    covered = {code for key, row in table.items() if key != "source" for code in (key, *row.get("also", ()))}
    assert covered == set(catalog.load().languages)
    for key, row in table.items():
        if key != "source":
            assert all(row[kind] for kind in ("here", "home", "about", "thing", "both")), key


def test_a_word_that_two_countries_claim_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "speech.toml"
    file.write_text(
        'source = "x"\n[AL]\nlanguages = ["sq"]\nwords = ["lek", "a"]\n[XK]\nlanguages = ["sq"]\nwords = ["a"]\n'
    )
    assert heard(["a", "lek"], speech(file, skeleton)["sq"]) == [("AL", "lek")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("weights", "place = -1.0", "weights"),
        ("weights", "place = [", "weights"),
        ("cues", '[tr]\nhere = ["!"]\nhome = []\nabout = []\nthing = []\nboth = []\nending = []', "holds no word"),
        ("cues", '[tr]\nheer = ["x"]', "heer"),
        ("speech", '[AL]\nlanguages = ["sq"]\nwords = ["two words"]', "is not one word"),
        ("speech", "[AL", "speech"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / f"{name}.toml"
    file.write_text(text)
    read: dict[str, Callable[[Path], object]] = {
        "weights": weights,
        "cues": lambda path: cues(path, skeleton),
        "speech": lambda path: speech(path, skeleton),
    }
    with pytest.raises(ConfigError, match=name) as error:
        read[name](file)
    assert message in str(error.value)


def test_weights_must_not_be_negative(tmp_path: Path) -> None:
    file = tmp_path / "weights.toml"
    file.write_text((PLACES / "weights.toml").read_text("utf-8").replace("demonym = 0.6", "demonym = -0.6"))
    with pytest.raises(ConfigError, match="demonym must not be negative"):
        weights(file)
