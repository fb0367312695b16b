"""A document comes out in its own letters, whatever it and its server say of them, or when they say nothing."""

from __future__ import annotations

import codecs

import pytest

from listener.sources._charset import decode

TEXTS = {
    "windows-1250 Croatian": ("windows-1250", "Instagram ne radi, šćućurili smo se i čekamo da se dođe do đaka"),
    "windows-1250 Slovene": ("windows-1250", "Že pol ure ne deluje, še komu javlja napako pri prijavi? Čudno."),
    "windows-1250 Romanian": ("windows-1250", "Nu merge aplicaţia băncii, încă aştept să îmi apară soldul"),
    "windows-1251 Bulgarian": ("windows-1251", "Инстаграм не работи от сутринта, при вас как е?"),
    "windows-1251 Serbian": ("windows-1251", "Инстаграм не ради, да ли још неко има проблем? Људи, шта се дешава"),
    "windows-1251 Macedonian": ("windows-1251", "Не работи мобилното банкарство, ќе чекам до утре"),
    "windows-1253 Greek": ("windows-1253", "Έπεσε το Instagram; Άλλαξα και δίκτυο αλλά τίποτα"),
    "windows-1254 Turkish": ("windows-1254", "Instagram çöktü, şaka gibi, hiçbir şey açılmıyor, ığdır'da da yok"),
    "windows-1252 Albanian": ("windows-1252", "Nuk punon më banka online, çfarë po ndodh që në mëngjes"),
    "iso-8859-2 Croatian": ("iso-8859-2", "Pošta šalje da ne može, a ja žurim na večeru, baš šteta"),
    "iso-8859-5 Bulgarian": ("iso-8859-5", "Няма интернет в целия квартал от два часа"),
    "iso-8859-7 Greek": ("iso-8859-7", "Άργησε πάλι το δίκτυο, Άγιε μου, τι γίνεται"),
    "iso-8859-9 Turkish": ("iso-8859-9", "İnternet gitti, şimdi ne olacak, ığ"),
    "windows-1252 English": ("windows-1252", "it’s down for me too – costs £5 a month… “great”"),
}


def xml(text: str, encoding: str = "") -> str:
    return f'<?xml version="1.0"{f" encoding={encoding!r}" if encoding else ""}?><rss><title>{text}</title></rss>'


@pytest.mark.parametrize("name", TEXTS)
def test_what_declares_nothing_is_known_by_its_letters(name: str) -> None:
    encoding, text = TEXTS[name]
    assert text in decode(xml(text).encode(encoding), "text/xml")


@pytest.mark.parametrize("name", TEXTS)
def test_the_code_page_of_the_source_is_used_where_nothing_is_declared(name: str) -> None:
    encoding, text = TEXTS[name]
    assert text in decode(xml(text).encode(encoding), "text/xml", encoding)
    assert "þýð" in decode(xml("þýð").encode("windows-1252"), "", "windows-1252")  # by its letters it would be Turkish


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_declared_by_either_side_is_believed(name: str) -> None:
    encoding, text = TEXTS[name]
    assert text in decode(xml(text, encoding).encode(encoding), "application/xml")
    assert text in decode(xml(text).encode(encoding), f'text/xml; charset="{encoding.upper()}"')


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("wrong", ["utf-8", "iso-8859-1", "no-such-page", "punycode"])
def test_a_declaration_that_can_not_be_right_is_passed_over(name: str, wrong: str) -> None:
    encoding, text = TEXTS[name]
    assert text in decode(xml(text, encoding).encode(encoding), f"application/xml; charset={wrong}")
    assert text in decode(xml(text, wrong).encode(encoding), f"application/xml; charset={encoding}")
    assert text in decode(xml(text, wrong).encode(encoding), "", encoding)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("windows-1251 Bulgarian", "windows-1253"),
        ("windows-1253 Greek", "windows-1251"),
        ("windows-1254 Turkish", "windows-1250"),
        ("windows-1250 Croatian", "windows-1254"),
        ("windows-1250 Croatian", "iso-8859-2"),
    ],
)
def test_where_header_and_document_disagree_the_letters_decide(name: str, wrong: str) -> None:
    encoding, text = TEXTS[name]
    assert text in decode(xml(text, encoding).encode(encoding), f"text/xml; charset={wrong}")
    assert text in decode(xml(text, wrong).encode(encoding), f"text/xml; charset={encoding}")


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE])
def test_a_mark_at_the_beginning_overrules_everything(mark: bytes) -> None:
    names = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
    body = mark + xml("Έπεσε šđ чöктü", "windows-1251").encode(names.get(mark, "utf-32-le"))
    assert decode(body, "text/xml; charset=windows-1253").endswith("<rss><title>Έπεσε šđ чöктü</title></rss>")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_without_a_mark(encoding: str) -> None:
    assert "Έπεσε" in decode(xml("Έπεσε").encode(encoding), "")


def test_utf_8_stays_utf_8_when_a_letter_of_it_is_cut_in_half() -> None:
    body = xml("Инстаграм не работи, шта се дешава").encode()
    cut = body.replace("ш".encode(), b"\xd1", 1)
    assert "Инстаграм не работи" in decode(cut, "text/xml; charset=windows-1251", "windows-1251")
    assert "Инстаграм не работи" in decode(body[:76], "")


def test_bytes_of_no_language_still_make_a_text() -> None:
    assert decode(bytes(range(256)) * 4, "")
    assert decode(b"", "") == ""
