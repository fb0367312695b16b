"""Subscription lists come in from other programs, in whatever state, and go out so that nothing is lost on the way back."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from string import printable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.sources import MalformedError
from listener.sources._opml import Bad, Feed, is_web_address, placed, read_opml, same_address, write_opml
from tests.conftest import Command

AT = datetime(2026, 11, 20, 13, 10, tzinfo=UTC)
REGIONS = {"rs": "RS", "serbia": "RS", "srbija": "RS", "tr": "TR"}


def opml(*outlines: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><opml version="2.0"><body>{"".join(outlines)}</body></opml>'.encode()


def outline(url: str = "https://news.example/rss", text: str = "News", more: str = "", *inside: str) -> str:
    return f'<outline text="{text}" xmlUrl="{url}" {more}>{"".join(inside)}</outline>'


def folder(text: str, *inside: str) -> str:
    return f'<outline text="{text}">{"".join(inside)}</outline>'


# --- in -----------------------------------------------------------------------------------------------------------


def test_feeds_are_found_however_deep_their_folders_are_nested() -> None:
    found = read_opml(opml(folder("Balkan", folder("Serbia", folder("Tech", outline(text="A")))), outline(text="B")))
    assert [(f.title, f.folders) for f in found if isinstance(f, Feed)] == [
        ("A", ("Balkan", "Serbia", "Tech")),
        ("B", ()),
    ]


def test_a_thousand_folders_in_each_other_are_no_trouble() -> None:
    deep = "<outline text='f'>" * 5_000 + outline() + "</outline>" * 5_000
    (feed,) = read_opml(opml(deep))
    assert isinstance(feed, Feed)


def test_a_feed_may_have_feeds_inside_it() -> None:
    found = read_opml(opml(outline("https://a.example/1", "A", "", outline("https://a.example/2", "B"))))
    assert [(f.title, f.folders) for f in found if isinstance(f, Feed)] == [("A", ()), ("B", ("A",))]


@pytest.mark.parametrize(
    ("folders", "category", "place"),
    [
        (("RS",), "", ("RS", "")),
        (("Serbia", "Tech"), "", ("RS", "Tech")),
        (("Tech", "srbija"), "", ("RS", "Tech")),
        (("News",), "", ("", "News")),
        (("News",), "/Tech,/TR", ("TR", "Tech")),
        (("RS",), "/news/local", ("RS", "local")),
        (("DE",), "", ("", "DE")),  # no region we know: a word like any other
        ((), "", ("", "")),
    ],
)
def test_a_region_is_a_region_and_any_other_folder_a_topic(
    folders: tuple[str, ...], category: str, place: tuple[str, str]
) -> None:
    (feed,) = read_opml(opml(_nested(folders, outline(more=f'category="{category}"'))))
    assert isinstance(feed, Feed)
    assert placed(feed, REGIONS) == place


def _nested(folders: tuple[str, ...], inside: str) -> str:
    for name in reversed(folders):
        inside = folder(name, inside)
    return inside


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('<outline text="x" type="rss"/>', "no feed address"),
        ('<outline text="x"/>', "no feed address"),
        ('<outline text="x" type="link" url="https://x.example/"/>', "no feed but 'link'"),
        ('<outline text="x" type="include" url="https://x.example/a.opml"/>', "no feed but 'include'"),
        (outline("ftp://x.example/rss"), "not a web address"),
        (outline("https:///rss"), "not a web address"),
        (outline("javascript:alert(1)"), "not a web address"),
        (outline("https://x.example:99999/rss"), "not a web address"),
        (outline("https://x.example/a b"), "not a web address"),
        (outline("https://x.example/" + "a" * 3000), "not a web address"),
    ],
)
def test_a_bad_entry_is_told_with_its_reason(entry: str, why: str) -> None:
    bad, good = read_opml(opml(entry, outline()))
    assert isinstance(bad, Bad)
    assert bad.why == why
    assert isinstance(good, Feed)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("feed://x.example/rss", "http://x.example/rss"),
        ("feed:https://x.example/rss", "https://x.example/rss"),
        (" https://x.example/rss ", "https://x.example/rss"),
    ],
)
def test_addresses_for_feed_readers_are_web_addresses(written: str, url: str) -> None:
    (feed,) = read_opml(opml(outline(written)))
    assert isinstance(feed, Feed)
    assert feed.url == url


def test_names_and_attributes_in_any_case_and_code_page_are_read() -> None:
    text = '<?xml version="1.0" encoding="windows-1251"?><OPML><body><outline TITLE="Новини" XMLURL="https://x.example/"/></body></OPML>'
    with pytest.raises(MalformedError, match="OPML"):
        read_opml(text.replace("OPML", "rss").encode("cp1251"))
    (feed,) = read_opml(text.replace("OPML", "opml").encode("cp1251"))
    assert isinstance(feed, Feed)
    assert feed.title == "Новини"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"not xml",
        b"<opml><body>",
        b"<html><body><outline/></body></html>",
        b'<!DOCTYPE o [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><opml><body><outline text="&b;"/></body></opml>',
        b'<!DOCTYPE o [<!ENTITY f SYSTEM "file:///etc/passwd">]><opml><body><outline text="&f;"/></body></opml>',
        b'<?xml version="1.0" encoding="no-such"?><opml/>',
        b'<?xml version="1.0" encoding="utf-7"?><opml/>',
        b"<opml>" + b" " * (10 * 2**20) + b"</opml>",
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_list_or_would_do_harm_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedError):
        read_opml(document)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 400))
def test_a_damaged_list_is_refused_or_read_and_nothing_else(noise: bytes, start: int, end: int) -> None:
    whole = opml(folder("RS", outline(), outline("https://b.example/", "B")), outline("https://c.example/", "C"))
    try:
        found = read_opml(whole[:start] + noise + whole[end:])
    except MalformedError:
        return
    for feed in found:
        assert isinstance(feed, Bad) or is_web_address(feed.url)


# --- out, and back ------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20)
addresses = st.builds("https://{}.example/{}?a=1&b=%22".format, st.from_regex(r"[a-z]{1,9}", fullmatch=True), words)
feeds = st.builds(
    Feed,
    title=words,
    url=addresses,
    language=st.sampled_from(["", "sr", "tr"]),
    folders=st.sampled_from([(), ("RS",), ("TR",)]),
    categories=st.lists(
        words.map(lambda w: w.translate({ord("/"): None, ord(","): None})).filter(bool), max_size=2
    ).map(tuple),
    options=st.dictionaries(st.sampled_from(["zone", "every"]), words, max_size=2),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(feeds, max_size=8))
def test_what_is_written_is_read_back(written: list[Feed]) -> None:
    back = read_opml(write_opml("mine & <yours>", written, AT).encode())
    in_folders = sorted(written, key=lambda f: list(dict.fromkeys(w.folders for w in written)).index(f.folders))
    assert back == in_folders


def test_two_ways_to_write_an_address_are_one() -> None:
    one = same_address("https://News.example/rss/")
    assert one == same_address("http://news.example:80/rss#top") == same_address("https://news.example.:443/rss")
    assert one != same_address("https://news.example/rss?page=2")


# --- the commands -------------------------------------------------------------------------------------------------

LIST = opml(
    folder(
        "Serbia",
        outline("https://a.example/rss", "Prve vesti", 'language="sr-Latn"'),
        outline("http://A.example/rss/", "The same again"),
        folder("Tech", outline("https://b.example/rss", "Prve vesti")),
    ),
    folder("Sport", outline("https://c.example/rss", "Спорт 24")),
    '<outline text="Nothing" type="rss"/>',
    outline("gopher://d.example/", "Old"),
)


def test_import_prints_tables_that_the_config_takes(listener: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.opml").write_bytes(LIST)
    done = listener("sources", "import", "mine.opml")
    assert done.returncode == 0, done.stderr
    assert tomllib.loads(done.stdout)["source"] == [
        {"kind": "rss", "name": "prve-vesti", "url": "https://a.example/rss", "region": "RS", "language": "sr"},
        {"kind": "rss", "name": "prve-vesti-2", "url": "https://b.example/rss", "region": "RS", "topic": "Tech"},
        {"kind": "rss", "name": "спорт-24", "url": "https://c.example/rss", "topic": "Sport"},
    ]
    assert "mine.opml: Old: not a web address" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "3 feeds imported · 1 skipped: twice in the list · 2 bad: no feed address (1), not a web address (1)"
    )


def test_import_into_a_config_appends_once_and_keeps_what_was_there(listener: Command, tmp_path: Path) -> None:
    before = (
        '# mine\ndefault_sources = false\n[[source]]\nkind = "rss"\nname = "prve-vesti"\nurl = "https://c.example/rss"'
    )
    (tmp_path / "own.toml").write_text(before)
    done = listener("sources", "import", "-", "--into", "own.toml", stdin=LIST.decode())
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "own.toml").read_text()
    assert text.startswith(before + "\n\n[[source]]\n")
    assert [s["name"] for s in tomllib.loads(text)["source"]] == ["prve-vesti", "prve-vesti-2", "prve-vesti-3"]
    assert "2 feeds appended to own.toml · 1 skipped: listened to already · 1 skipped: twice" in done.stderr
    again = listener("sources", "import", "-", "--into", "own.toml", stdin=LIST.decode())
    assert (again.returncode, (tmp_path / "own.toml").read_text()) == (0, text)
    assert "0 feeds appended" in again.stderr
    fresh = listener("sources", "import", "-", "--into", "fresh.toml", stdin=LIST.decode())
    assert fresh.returncode == 0, fresh.stderr
    assert len(tomllib.loads((tmp_path / "fresh.toml").read_text())["source"]) == 3


def test_a_config_that_can_not_be_read_is_left_alone(listener: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[[source")
    done = listener("sources", "import", "-", "--into", "broken.toml", stdin=LIST.decode())
    assert done.returncode == 2
    assert (tmp_path / "broken.toml").read_text() == "[[source"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("<opml><body/></opml>", "no feed in it"),
        ("{}", "not XML"),
        (opml('<outline text="x"/>').decode(), "no feed in it"),
    ],
)
def test_a_list_without_feeds_is_wrong_input(listener: Command, given: str, said: str) -> None:
    done = listener("sources", "import", "-", stdin=given)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_what_is_exported_comes_back_the_same(listener: Command, tmp_path: Path) -> None:
    """Every feed of the defaults, with its region, language, topic, code page, time zone and interval."""
    out = listener("sources", "export", "--format", "opml")
    assert out.returncode == 0, out.stderr
    (tmp_path / "empty.toml").write_text("default_sources = false\n")
    back = listener("sources", "--config", "empty.toml", "import", "-", stdin=out.stdout)
    assert back.returncode == 0, back.stderr
    (tmp_path / "all.toml").write_text("default_sources = false\n" + back.stdout)
    again = listener("sources", "export", "--config", "all.toml")
    assert _undated(again.stdout) == _undated(out.stdout)
    assert len(tomllib.loads(back.stdout)["source"]) == out.stdout.count("xmlUrl") > 50


def _undated(text: str) -> list[str]:
    assert all(c in printable or c.isprintable() for c in text)
    return [line for line in text.splitlines() if "dateCreated" not in line]
