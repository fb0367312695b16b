"""The files of `data/` do what they say: examples match, traps don't, shares sum to 1, every number names its source."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from dataclasses import fields
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import pytest

from listener import kinds
from listener.catalog import Catalog, Phrase, SourceData, default_root, load
from listener.cli.wiring import COMMON
from listener.text.forms import compile_form
from listener.text.normalize import normalize
from listener.text.phrases import Entry, Matcher, entries_of, matcher_of
from listener.types import SYMPTOMS, UNKNOWN_REGION

ROOT = default_root()
LANGUAGES = sorted(path.stem for path in (ROOT / "languages").glob("*.toml"))
SERVICES = sorted(path.stem for path in (ROOT / "services").glob("*.toml"))
REGIONS = sorted(path.stem for path in (ROOT / "regions").glob("*.toml"))
PLACES = sorted(path.stem for path in (ROOT / "places").glob("*.tsv"))
SOURCES = sorted(path.stem for path in (ROOT / "sources").glob("*.toml"))
TABLES = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.toml"))


@cache
def catalog() -> Catalog:
    return load()


@cache
def matcher() -> Matcher:
    return matcher_of(catalog())


def words_of(text: str) -> str:
    return normalize(text).skeleton


def test_the_catalog_covers_the_region() -> None:
    assert len(LANGUAGES) >= 11
    assert len(set(REGIONS) - {UNKNOWN_REGION}) >= 12
    assert UNKNOWN_REGION in REGIONS
    assert len(SERVICES) >= 60
    assert set(PLACES) == set(REGIONS)  # ZZ: what lies elsewhere


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_phrase_finds_its_examples_and_leaves_its_traps(code: str) -> None:
    wrong = []
    for number, phrase in enumerate(catalog().languages[code].phrases):
        alone = Matcher([Entry(phrase.concept, code, phrase.forms, excepted=phrase.excepted)])
        where = f"phrases[{number}] {phrase.concept}: {', '.join(phrase.forms[:3])}"
        wrong += [f"{where}: does not match {text!r}" for text in phrase.matches if not alone.find(words_of(text))]
        wrong += [
            f"{where}: should ignore {text!r} but finds {found[0].form!r}"
            for text in phrase.ignores
            if (found := alone.find(words_of(text)))
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_complete(code: str) -> None:
    language = catalog().languages[code]
    assert len(language.months) == 12
    assert len(language.function_words) >= 60
    assert len(language.frequent) >= 80
    assert {phrase.concept for phrase in language.phrases} >= {
        "trouble", "network", "question", "others", "now", "recovery", "denial", "own", "past", "block", "relay",
    }  # fmt: skip
    assert [p.forms for p in language.phrases if not sensible(p)] == []


def sensible(phrase: Phrase) -> bool:
    return (
        bool(phrase.forms and phrase.matches)
        and phrase.needs in ("", "service")
        and (not phrase.symptom or (phrase.concept == "trouble" and phrase.symptom in SYMPTOMS))
    )


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_recognised_in_its_examples_only(service: str) -> None:
    data = catalog().services[service]
    assert data.matches
    assert data.source
    missed = [text for text in data.matches if service not in services_in(text)]
    mistaken = [text for text in data.ignores if service in services_in(text)]
    assert (missed, mistaken) == ([], []), [matcher().find(words_of(text)) for text in missed + mistaken]


def services_in(text: str) -> set[str]:
    return {match.name for match in matcher().find(words_of(text)) if match.kind == "service"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_fits_the_rest_of_the_catalog(service: str) -> None:
    data = catalog().services[service]
    assert set(data.regions) <= set(REGIONS)
    assert all(len(words_of(name)) >= 6 for name in data.fuzzy), "a shorter name is too near to too many words"
    assert all(" " not in words_of(name) for name in data.fuzzy), "misspellings are looked for word by word"


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_ordinary_word_is_a_service(code: str) -> None:
    language = catalog().languages[code]
    ordinary = (*language.function_words, *language.frequent)
    taken = {word: found for word in ordinary if (found := services_in(word))}
    assert not taken


@pytest.mark.parametrize("region", PLACES)
def test_every_place_is_found_by_its_forms_and_not_in_its_exceptions(region: str) -> None:
    own = [place for place in catalog().places if place.region == region]
    assert len(own) >= 40
    assert {"country", "demonym"} <= {place.kind for place in own}
    wrong = []
    for place in own:
        alone = Matcher([Entry("place", region, place.forms, excepted=place.excepted)])
        if not any(alone.find(example(form)) for form in (place.place, *place.forms)):
            wrong.append(f"{place.place}: not found")
        wrong += [
            f"{place.place}: should not be found in {form!r}" for form in place.excepted if alone.find(example(form))
        ]
    assert not wrong, "\n".join(wrong)


def example(form: str) -> str:
    """A text that a form fits."""
    return " ".join(step.word for step in compile_form(form))


@pytest.mark.parametrize("region", REGIONS)
def test_every_region_shares_its_posts_out(region: str) -> None:
    data = catalog().regions[region]
    assert sum(data.languages.values()) == pytest.approx(1, abs=0.005)
    assert sum(data.hours) == pytest.approx(1, abs=0.005)
    assert min(data.languages.values()) >= 0
    assert set(data.languages) == {*LANGUAGES, "other"}
    assert set(data.neighbours) <= set(REGIONS)


@pytest.mark.parametrize("file", TABLES)
def test_every_number_names_its_source(file: str) -> None:
    table = tomllib.loads((ROOT / file).read_text())
    assert list(unsourced(table, file)) == []


def unsourced(table: dict[str, Any], where: str) -> list[str]:
    """Tables that hold a number while neither they nor a table around them say where it is from."""
    if table.get("source") and isinstance(table["source"], str):
        return []
    bare = [where] if any(isinstance(v, (int, float)) and not isinstance(v, bool) for v in table.values()) else []
    for key, value in table.items():
        inner = value if isinstance(value, list) else [value]
        for number, item in enumerate(inner):
            if isinstance(item, dict):
                bare += unsourced(item, f"{where}: {key}[{number}]")
    return bare


@pytest.mark.parametrize("region", PLACES)
def test_every_place_names_its_source(region: str) -> None:
    assert [place.place for place in catalog().places if place.region == region and not place.source] == []


@pytest.mark.parametrize("file", SOURCES)
def test_every_source_is_one_its_kind_can_read(file: str) -> None:
    for row in tomllib.loads((ROOT / "sources" / f"{file}.toml").read_text())["source"]:
        where = f"{file}: {row['name']}"
        assert row["source"], where
        assert row.get("region", "") in ("", *REGIONS), where
        assert row.get("language", "") in ("", *LANGUAGES), where
        if row["kind"] not in kinds.names("sources"):
            continue  # a default of a kind that this installation doesn't have
        options = kinds.load("sources", row["kind"], where).Options
        known = {field.name for field in fields(options)}
        own = {"name", "kind", "enabled", "topic", "source", *(set(COMMON) - known)}
        kinds.convert({key: value for key, value in row.items() if key not in own}, options, where)


def sources(kind: str) -> list[SourceData]:
    return [source for source in catalog().sources if source.kind == kind]


CODE_PAGES = {"TR": "windows-1254", "GR": "windows-1253", "BG": "windows-1251", "MK": "windows-1251"}


def test_every_default_source_says_what_it_speaks_of_and_how_sure_we_are() -> None:
    sure = re.compile(r"validated|probed|recorded|repeated|documented|named in|estimate")
    assert [one.name for one in catalog().sources if not sure.search(one.source)] == []
    topics = {one.topic for one in catalog().sources}
    assert topics <= {"news", "tech", "status", "social", "reviews", "trends"}


@pytest.mark.parametrize("file", SOURCES)
def test_a_source_in_the_file_of_a_region_is_of_that_region(file: str) -> None:
    """The region is a prior: 40 to 1 for wherever the posts of a source come from."""
    regions = {
        row.get("region", "") for row in tomllib.loads((ROOT / "sources" / f"{file}.toml").read_text())["source"]
    }
    assert regions == {"" if file == "global" else file}


def test_every_feed_has_a_language_a_code_page_and_a_clock_of_its_country() -> None:
    feeds, wrong = sources("rss"), []
    for feed in feeds:
        own, region = feed.options, catalog().regions[feed.options["region"]]
        told = (own["fallback_encoding"], own["zone"], urlsplit(own["url"]).scheme)
        if told != (CODE_PAGES.get(region.code, "windows-1250"), region.zone, "https"):
            wrong.append((feed.name, told))
        if region.languages[own["language"]] < 0.03:
            wrong.append((feed.name, own["language"]))
    assert wrong == []
    assert len({feed.options["url"] for feed in feeds}) == len(feeds)
    assert {feed.options["region"] for feed in feeds} == set(REGIONS) - {UNKNOWN_REGION}


def test_every_storefront_is_of_its_region_and_every_app_the_one_of_its_service() -> None:
    stores = sources("appstore")
    assert {store.options["region"] for store in stores} == set(REGIONS) - {UNKNOWN_REGION, "XK"}
    for store in stores:
        region = catalog().regions[store.options["region"]]
        assert store.options["storefront"] == region.code.lower()
        assert region.languages[store.options["language"]] == max(region.languages.values())
        assert store.options["apps"] == {
            name: catalog().services[name].appstore
            for name in ("instagram", "facebook", "whatsapp", "messenger", "threads")
        }


def test_every_trending_feed_is_of_its_region() -> None:
    feeds = sources("trends")
    assert {feed.options["geo"] for feed in feeds} == {"TR", "RS", "BG", "GR", "HR", "SI", "RO", "BA", "AL"}
    for feed in feeds:
        region = catalog().regions[feed.options["region"]]
        assert feed.options["geo"] == region.code
        assert region.languages[feed.options["language"]] == max(region.languages.values())


def test_news_is_searched_for_in_every_language_and_placed_nowhere_beforehand() -> None:
    searches = sources("gdelt")
    assert sorted(search.options["language"] for search in searches) == LANGUAGES
    assert {search.options["region"] for search in searches} == {""}


def test_no_two_sources_share_a_name() -> None:
    assert [name for name, count in Counter(source.name for source in catalog().sources).items() if count > 1] == []


def test_no_form_is_a_single_letter() -> None:
    """A letter alone is a name only where it must stand beside trouble, as `X` does."""
    single = [
        f"{entry.kind} {entry.name}: {form}"
        for entry in entries_of(catalog())
        for form in (*entry.forms, *entry.excepted)
        for steps in [compile_form(form)]
        if len(steps) == 1 and len(steps[0].word) == 1 and (steps[0].stem or not entry.needs_trouble)
    ]
    assert single == []


def test_everything_in_the_folder_is_read_or_explained() -> None:
    explained = (ROOT / "README.md").read_text()
    unnamed = [path.name for path in sorted(ROOT.iterdir()) if path.name not in explained]
    assert unnamed == ["README.md"]


def test_no_file_is_left_out() -> None:
    assert sorted(catalog().languages) == LANGUAGES
    assert sorted(catalog().services) == SERVICES
    assert sorted(catalog().regions) == REGIONS
