"""Feed documents become plain items, however broken they are; those made to hurt are refused, or cost one other process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import SourceError
from listener.sources import _feed
from listener.sources._confined import Call
from listener.sources._feed import Feed, read_feed
from listener.sources._links import plain
from listener.sources._text import from_html
from tests.servers.feeds import item, rss

ROOT = Path(__file__).resolve().parent.parent


def reason_of(document: bytes, **kind: Any) -> str:
    """Why a document is refused."""
    with pytest.raises(SourceError) as caught:
        read_feed(document, "application/rss+xml", **kind)
    return caught.value.reason


def ids(document: bytes | str) -> list[str]:
    body = document.encode() if isinstance(document, str) else document
    return [found.id for found in read_feed(body, "").items]


def test_an_item_is_known_by_guid_then_link_then_content_and_never_twice_the_same() -> None:
    document = rss(
        *(
            item("same", "a"),
            item("same", "b").replace("portal.example/same", "portal.example/other"),
            item("same", "c"),
        ),
        "<item><title>only a link</title><link>https://portal.example/x</link></item>",
        "<item><title>nothing</title></item>",
    )
    found = ids(document)
    assert found[:4] == [
        "same https://portal.example/same",
        "same https://portal.example/other",
        "same https://portal.example/same #2",
        "https://portal.example/x",
    ]
    assert len(found[4]) == 16
    assert len(ids(rss(item("x" * 5_000)))[0]) == 16


def test_a_link_that_is_all_we_know_an_item_by_is_the_same_however_one_got_there() -> None:
    link = "<item><title>a</title><link>https://Portal.example/x/?utm_source={}#top</link></item>"
    assert ids(rss(link.format("rss"))) == ids(rss(link.format("mail"))) == ["https://portal.example/x"]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://A.Example/b/?fbclid=1&gclid=2&id=3#c", "https://a.example/b?id=3"),
        ("HTTP://a.example", "http://a.example"),
        ("https://a.example/?utm=kept&q=utm_source", "https://a.example?utm=kept&q=utm_source"),
        ("tag:a.example,2026:1#x", "tag:a.example,2026:1#x"),
        ("http://[broken", "http://[broken"),
        ("", ""),
    ],
)
def test_a_link_loses_what_tells_where_its_reader_came_from(url: str, wanted: str) -> None:
    assert plain(url) == wanted


def test_atom_rdf_and_json_feed_are_read_like_rss() -> None:
    atom = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>a</id><title>x</title></entry></feed>'
    rdf = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
        '<item rdf:about="b"><title>x</title></item></rdf:RDF>'
    )
    feed = {"version": "https://jsonfeed.org/version/1.1", "items": [{"id": 3, "content_text": "x"}, "nonsense"]}
    assert (ids(atom), ids(rdf), ids(json.dumps(feed))) == (["a"], ["b"], ["3"])


def test_html_becomes_what_a_reader_sees() -> None:
    assert from_html("<p>ne&nbsp;radi</p>\n<p>opet &amp;amp; opet</p>") == "ne radi\nopet &amp; opet"
    assert from_html('<a href="x"><span class="invisible">https://</span>x.rs</a> 3 < 5') == "x.rs 3 < 5"
    assert from_html("<style>p{}</style><script>if (a<b) x()</script>tekst<!-- <p>ne --> ovde") == "tekst ovde"
    assert from_html("c\u0327o\u0308ktu\u0308\x00") == "çöktü"


def test_broken_markup_is_read_as_far_as_it_goes_and_known_not_to_be_whole() -> None:
    document = rss(item("1", "Instagram &nbsp;ne radi & ne radi"), item("2", "ok"))
    assert (ids(document), read_feed(document, "").is_whole) == (["1", "2"], True)
    assert (ids(document[:-30]), read_feed(document[:-30], "").is_whole) == (["1", "2"], False)


@pytest.mark.parametrize(
    "document",
    [
        *(
            b"",
            b"plain words",
            b'{"error": "no"}',
            b"/etc/passwd",
            b"<x/>",
            b'{"version": "https://jsonfeed.org/version/1"}',
        ),
        b"<!DOCTYPE html><html><head><title>Consent</title></head><body>ok</body></html>",
        b"<!-- x --><HTML><script>" + b"var a = '" + b"=" * 100_000 + b"'</script>" + b"<a href='x'>" * 200_000,
    ],
)
def test_what_is_no_feed_is_told_from_a_feed_without_items(document: bytes) -> None:
    assert reason_of(document) == "not_a_feed"
    assert ids(rss()) == []


@pytest.mark.parametrize("is_broken", [False, True])
def test_an_emoji_written_as_two_halves_is_one_and_half_of_one_does_no_harm(is_broken: bool) -> None:
    document = rss(item("1", "&#xD83D;&#xDE00; &#55357;&#56832; &#xD83D; &#55000;"))
    title = read_feed(document.replace(b"<rss", b"&nosuch;<rss") if is_broken else document, "").items[0].title
    assert title == "😀 😀 \ufffd \ud6d8"


ATTRIBUTES = "<item " + " ".join(f'a{i}="1"' for i in range(30_000)) + "/>"
BROKEN = "<rss version='2.0'><channel><item>&nosuch;"
HOSTILE = {
    "attributes": rss(ATTRIBUTES),
    "a long author": rss(item("1", extra=f"<author>{'a' * 64_000}</author>")),
    "a long author in broken markup": f"{BROKEN}<author>{'a' * 64_000}</author>".encode(),
    "nothing but brackets": b"<rss version='2.0'>" + b"<" * 4_000_000,
    "attributes in broken markup": f"{BROKEN}<item {'a=1 ' * 20_000}/></channel></rss>".encode(),
    "depth": rss("<b>" * 100_000 + "</b>" * 100_000),
    "items": rss(*(f"<item><guid>{i}</guid></item>" for i in range(6_000))),
    "a long field": rss(item("1", "x" * 100_000)),
    "a long entity told often": b'<!DOCTYPE r [<!ENTITY a "'
    + b"ha" * 50_000
    + b'">]><rss version="2.0"><channel><title>'
    + b"&a;" * 10_000
    + b"</title></channel></rss>",
    "laughs": b'<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "' + b"&a;" * 50 + b'"><!ENTITY c "' + b"&b;" * 50 + b'">]>'
    b'<rss version="2.0"><channel><title>&c;</title></channel></rss>',
}
COSTLY = list(HOSTILE)[:4]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_made_to_keep_us_busy_is_refused_at_once(name: str) -> None:
    begun = time.process_time()
    with pytest.raises(SourceError) as caught:
        _feed.parsed(HOSTILE[name], "application/rss+xml")
    assert caught.value.reason == "unsafe_feed"
    assert time.process_time() - begun < 1
    assert reason_of(HOSTILE[name]) == "unsafe_feed"


@pytest.mark.parametrize("name", COSTLY)
def test_what_the_check_would_not_know_costs_its_share_of_another_process_and_no_more(name: str) -> None:
    begun = time.process_time()
    unchecked = Call(
        _feed.xml_feed, HOSTILE[name].decode(), into=Feed, costly="feed_too_costly", broken="broken_feed", cpu=1
    )
    with pytest.raises(SourceError) as caught:
        unchecked.wait()
    assert caught.value.reason == "feed_too_costly"
    assert time.process_time() - begun < 0.5
    assert ids(rss(item("1"))) == ["1"]


def test_files_named_by_a_document_are_not_read() -> None:
    doctype = b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    document = doctype + b'<rss version="2.0"><channel><item><title>[&x;]</title></item></channel></rss>'
    assert "root:" not in "".join(found.title for found in read_feed(document, "").items)
    assert reason_of(b"/etc/passwd") == "not_a_feed"


def test_the_parser_is_never_in_our_own_process() -> None:
    code = (
        "import sys; from listener.sources._feed import read_feed; "
        "read_feed(b'<rss version=\"2.0\"/>', ''); print('feedparser' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(alphabet="<>/&;!?[]-'\"= \u0161\ud83da1#x", max_size=200).map(
            lambda inner: rss(item("1", inner.encode("utf-8", "replace").decode())),
        ),
    )
)
def test_any_document_is_a_feed_or_a_reason(document: bytes) -> None:
    try:
        found: Feed | str = read_feed(document, "application/xml")
    except SourceError as error:
        found = error.reason
    assert isinstance(found, Feed) or found in ("not_a_feed", "broken_feed", "unsafe_feed")
