"""The interface in every language: nothing missing, nothing left in English, and the viewer gets the right one."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path
from string import Formatter

import pytest

from listener.errors import ConfigError
from listener.types import DropReason, IncidentState, State
from listener.words import FALLBACK, Words, chosen, load

FOLDER = Path(__file__).resolve().parent.parent / "data" / "interface"
KNOWN = load(FOLDER.parent)
ENGLISH = KNOWN[FALLBACK]
TRANSLATED = sorted(set(KNOWN) - {FALLBACK})
SCRIPTS = {"bg": "CYRILLIC", "el": "GREEK", "en": "LATIN", "sr": "LATIN", "tr": "LATIN"}
NAMES = {"bg": "Български", "el": "Ελληνικά", "en": "English", "sr": "Srpski", "tr": "Türkçe"}
OWN_LETTERS = {"sr": "čćđšž", "tr": "çğıöşü"}  # an all-ASCII file was typed without its letters
SAME = {  # texts that are rightly the English ones
    ("sr", "words", "signal"),
    ("sr", "regions", "XK"),
    *((code, "words", "api") for code in TRANSLATED),
}


def texts(words: Words) -> dict[tuple[str, str], str]:
    return {(table, key): text for table, rows in words.tables.items() for key, text in rows.items()}


def placeholders(text: str) -> list[tuple[str, str, str]]:
    """The fields of a text with their format, so that `{0}`, `{x!r}` and `{x.y}` are seen too."""
    fields = [(name, spec or "", how or "") for _, name, spec, how in Formatter().parse(text) if name is not None]
    return sorted(fields)


def bare(text: str) -> str:
    """A text without its placeholders."""
    return "".join(literal for literal, *_ in Formatter().parse(text))


def share_of(script: str, text: str) -> float:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(unicodedata.name(letter).startswith(script) for letter in letters) / len(letters)


def interface(folder: Path, **files: bytes) -> Path:
    """A data folder with these languages."""
    (folder / "interface").mkdir()
    for code, content in files.items():
        (folder / "interface" / f"{code}.toml").write_bytes(content)
    return folder


def test_the_languages_are_known_by_their_own_names_english_first() -> None:
    assert {code: words.name for code, words in KNOWN.items()} == NAMES
    assert next(iter(KNOWN)) == FALLBACK
    assert all(words.code == code for code, words in KNOWN.items())


@pytest.mark.parametrize("code", TRANSLATED)
def test_a_language_has_every_table_and_key_in_the_same_order(code: str) -> None:
    tables = tomllib.loads((FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    english = tomllib.loads((FOLDER / f"{FALLBACK}.toml").read_text(encoding="utf-8"))
    assert list(tables) == list(english)
    for table in english.keys() - {"name"}:
        assert list(tables[table]) == list(english[table]), table


@pytest.mark.parametrize("code", KNOWN)
def test_every_text_says_something_and_stands_clean(code: str) -> None:
    for where, text in texts(KNOWN[code]).items():
        assert isinstance(text, str), where
        assert text, where
        assert text == " ".join(text.split()), where
        assert text == unicodedata.normalize("NFC", text), where
        assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Co", "Cn"} for letter in text), where


@pytest.mark.parametrize("code", TRANSLATED)
def test_the_placeholders_are_those_of_english(code: str) -> None:
    said = texts(KNOWN[code])
    assert {where: placeholders(said[where]) for where in said} == {
        where: placeholders(text) for where, text in texts(ENGLISH).items()
    }


@pytest.mark.parametrize("code", TRANSLATED)
def test_nothing_is_left_in_english_but_names(code: str) -> None:
    english = texts(ENGLISH)
    same = {
        (code, *where) for where, text in texts(KNOWN[code]).items() if text.casefold() == english[where].casefold()
    }
    assert same == {entry for entry in SAME if entry[0] == code}


@pytest.mark.parametrize("code", KNOWN)
def test_a_language_is_written_in_its_script(code: str) -> None:
    said = {where: bare(text) for where, text in texts(KNOWN[code]).items()}
    whole = "".join(said.values())
    assert share_of(SCRIPTS[code], whole) > 0.97
    assert set(OWN_LETTERS.get(code, "")) <= set(whole)
    for where, text in said.items():
        if where != ("words", "api") and any(letter.isalpha() for letter in text):
            assert share_of(SCRIPTS[code], text) >= 0.5, where


@pytest.mark.parametrize("code", KNOWN)
def test_no_word_mixes_scripts(code: str) -> None:
    """A Latin `o` within a Cyrillic word looks right and is read out wrong, and cannot be searched for."""
    for where, text in texts(KNOWN[code]).items():
        for word in "".join(letter if letter.isalpha() else " " for letter in bare(text)).split():
            assert len({unicodedata.name(letter).split()[0] for letter in word}) == 1, (where, word)


@pytest.mark.parametrize("code", KNOWN)
def test_every_value_of_the_types_has_a_name(code: str) -> None:
    tables = KNOWN[code].tables
    assert {*map(str, State), *map(str, IncidentState)} == set(tables["states"])
    assert set(map(str, DropReason)) <= set(tables["reasons"])


@pytest.mark.parametrize("code", KNOWN)
def test_different_states_causes_labels_and_regions_read_differently(code: str) -> None:
    tables = KNOWN[code].tables
    states = [tables["states"][str(state)] for state in State]
    for names in (states, *(list(tables[table].values()) for table in ("causes", "symptoms", "labels", "regions"))):
        assert len(names) == len(set(names))


def test_a_phrase_is_filled_in_and_an_unknown_one_is_an_error() -> None:
    assert KNOWN["bg"]("heard_of", well=3, all=5) == "чути източници: 3 от 5"
    assert ENGLISH("since") == "since"
    with pytest.raises(KeyError):
        ENGLISH("no_such_key")


def test_a_value_without_a_name_reads_as_itself() -> None:
    assert KNOWN["el"].of("reasons", "brand_new") == "brand new"
    assert KNOWN["el"].of("states", State.QUIET) == "ησυχία"


@pytest.mark.parametrize(
    ("asked", "kept", "accepted", "code"),
    [
        ("tr", "el", "bg", "tr"),
        ("", "el", "bg", "el"),
        ("", "", "bg", "bg"),
        ("", "", "", "en"),
        ("xx", "el", "bg", "el"),
        ("xx", "xx", "bg", "bg"),
        ("xx", "xx", "xx", "en"),
        ("en", "tr", "tr", "en"),
        ("", "", "fr-FR, fr;q=0.9, sr-Latn-RS;q=0.8, tr;q=0.7", "sr"),
        ("", "", "EL-gr", "el"),
        ("", "", " tr ; q=0.5 ", "tr"),
        ("", "", "de-DE,en-GB;q=0.8,tr;q=0.5", "en"),
        ("", "", "*", "en"),
    ],
)
def test_asked_goes_before_cookie_before_browser_before_english(
    asked: str, kept: str, accepted: str, code: str
) -> None:
    assert chosen(KNOWN, asked, kept, accepted).code == code


@pytest.mark.parametrize(
    "hostile",
    [
        "../../../etc/passwd",
        "tr/../en",
        "tr\r\nSet-Cookie: lang=el",
        "\x00",
        "tr\x00",
        "<script>alert(1)</script>",
        "{0.__class__}",
        "%s%n%x",
        "\u202ert",
        "ｔｒ",
        "тr",
        ";;;,,,---",
        ",;q=;=,-;",
        "tr;" * 50_000,
        "-" * 1_000_000,
        "," * 1_000_000,
        "x" * 200 + ",tr",
        "\udcff",
    ],
    ids=lambda hostile: ascii(hostile[:20]),
)
def test_a_hostile_request_gets_a_language_that_we_have(hostile: str) -> None:
    for where in range(3):
        given = ["", "", ""]
        given[where] = hostile
        assert chosen(KNOWN, *given).code in KNOWN
    assert chosen(KNOWN, hostile, hostile, "el").code == "el"
    assert chosen(KNOWN, "el", hostile, hostile).code == "el"


def test_only_the_beginning_of_a_long_header_is_read() -> None:
    assert chosen(KNOWN, "", "", ", " * 1_000_000 + "tr") is ENGLISH


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b'name = "Xx"\n[words\n', "line 2"),
        (b'name = "Xx"\n[words]\nnow = "a"\nnow = "b"\n', "line 4"),
        (b'name = "\xff\xfe"\n', "utf-8"),
        (b'[words]\nnow = "a"\n', "name"),
        (b"", "name"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: bytes, hint: str) -> None:
    folder = interface(tmp_path, en=b'name = "English"\n[words]\n', xx=content)
    with pytest.raises(ConfigError) as refused:
        load(folder)
    said = str(refused.value)
    assert str(folder / "interface" / "xx.toml") in said
    assert hint in said
    assert "\n" not in said


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    folder = interface(tmp_path, en=b'name = "English"\n[words]\n')
    (folder / "interface" / "xx.toml").mkdir()
    with pytest.raises(ConfigError, match=r"xx\.toml"):
        load(folder)


def test_english_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no en\.toml"):
        load(interface(tmp_path, tr=b'name = "T"\n[words]\n'))


def test_a_missing_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="interface"):
        load(tmp_path)
