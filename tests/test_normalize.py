"""Every script and spelling habit meets in the skeleton."""

from __future__ import annotations

import doctest

import pytest

from listener.text import normalize as module
from listener.text.normalize import MAX_CHARACTERS, clean, normalize, skeleton, skeletons


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("İNSTAGRAM ÇÖKTÜ MÜ", "instagram coktu mu"),
        ("ISINMIYOR", "isinmiyor"),
        ("ınstagram acilmiyor", "instagram acilmiyor"),
        ("чöктü", "coktu"),
        ("Не учитава ми се сторија", "ne ucitava mi se storija"),
        ("ђак љуби њушку џака", "djak ljubi njusku dzaka"),
        ("đak ljubi njušku džaka", "djak ljubi njusku dzaka"),
        ("ǉubav", "ljubav"),
        ("не работи вайбърът", "ne raboti vaibarat"),
        ("ne raboti 6to li 4ovek", "ne raboti sto li covek"),
        ("щъркел", "starkel"),
        ("ќе падне ли ѓавол", "ke padne li gavol"),
        ("Έπεσε ΤΟ ΊΝΣΤΑ", "epese to insta"),
        ("δουλεύει; όχι", "doulevi ohi"),
        ("8elw", "thelw"),
        ("nu merge țâșnitoarea", "nu merge tasnitoarea"),
        ("s'po hapet çdo gjë", "s po hapet cdo gje"),
        ("instagraaaaam", "instagram"),
        ("𝗶𝗻𝘀𝘁𝗮 ｄｏｗｎ", "insta down"),
        ("ins\u200bta", "insta"),
        ("іnstаgrаm", "instagram"),  # Cyrillic letters that look Latin
        ("4g 5g a1 t2 2024", "4g 5g a1 t2 2024"),
        ("🔥🔥 !!! …", ""),
        ("日本語 ok", "日本語 ok"),
    ],
)
def test_a_spelling_folds_to_its_skeleton(typed: str, folded: str) -> None:
    assert skeleton(typed) == folded


def test_a_skeleton_is_its_own_skeleton() -> None:
    for typed in ("Çöktü mü", "Не ради 4ak", "Έπεσε", "ch sh zh"):
        assert skeleton(skeleton(typed)) == skeleton(typed)


def test_many_texts_at_once_fold_as_each_alone() -> None:
    texts = [
        "",
        "!!",
        "😀",
        "Έπεσε το insta",
        "Не ради 4ak",
        "çöktü",
        "a 1251251 b",
        "",
        "１２５１２５１",
        "125\u03011251",
        "ok",
    ]
    assert skeletons(texts) == [skeleton(text) for text in texts]
    assert skeletons([]) == []


def test_links_and_handles_are_masked_and_never_matched() -> None:
    text = normalize("@instagram_help bak https://instagram.com/down çöktü")
    assert text.clean == "@user bak <url> çöktü"
    assert text.skeleton == "bak coktu"


def test_an_e_mail_address_is_no_handle() -> None:
    assert clean("yaz: a@example.org") == "yaz: a@example.org"


def test_control_characters_are_gone() -> None:
    assert clean("a\x1b[31mb\u202ec\nd") == "a[31mbc d"


def test_a_text_of_a_megabyte_is_cut() -> None:
    assert len(normalize("çöktü " * 200_000).clean) <= MAX_CHARACTERS


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(module).failed == 0
