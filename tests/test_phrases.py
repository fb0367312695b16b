"""Forms are found as people type them, and only where they mean it."""

from __future__ import annotations

import pytest

from listener.catalog import Catalog
from listener.errors import ConfigError
from listener.text.forms import compile_form, pattern_of, plain_literals
from listener.text.normalize import skeleton
from listener.text.phrases import Entry, Matcher, entries_of


def found(text: str, *entries: Entry, fuzzy: dict[str, int] | None = None, frequent: tuple[str, ...] = ()) -> list[str]:
    matcher = Matcher(list(entries), fuzzy or {}, frozenset(frequent))
    return [f"{m.kind}:{m.form}" for m in matcher.find(skeleton(text))]


DOWN = Entry("trouble", "tr", ("çök*", "giriş ~ yap*"), excepted=("sinirlerim çök*",))
INSTA = Entry("service", "instagram", ("instagram*", "инстаграм*"))


def test_a_stem_takes_any_ending_in_any_script() -> None:
    assert found("INSTAGRAM'A giremiyorum, çöktü", INSTA, DOWN) == ["service:instagram", "trouble:coktu"]
    assert found("Инстаграмот coktu", INSTA, DOWN) == ["service:instagramot", "trouble:coktu"]


def test_words_may_stand_in_between_where_a_form_says_so() -> None:
    assert found("giriş hiç bir yapamıyorum", DOWN) == ["trouble:giris hic bir yapamiyorum"]
    assert found("giriş bir iki üç yapamıyorum", DOWN) == []


def test_an_exception_takes_back_the_match_it_covers_and_no_other() -> None:
    assert found("sinirlerim çöktü", DOWN) == []
    assert found("sinirlerim çöktü çünkü site çöktü", DOWN) == ["trouble:coktu"]


def test_a_form_that_needs_a_service_is_weak_without_one() -> None:
    fell = Entry("trouble", "sr", ("pao",), needs_service=True)
    assert found("pao sam s bicikla", fell, INSTA) == ["weak:pao"]
    assert found("pao instagram", fell, INSTA) == ["trouble:pao", "service:instagram"]


def test_a_word_of_the_online_world_vouches_for_everyday_trouble() -> None:
    fell = Entry("trouble", "sr", ("pao",), needs_service=True)
    site = Entry("tech", "sr", ("sajt*",))
    assert found("pao im sajt", fell, site) == ["trouble:pao", "tech:sajt"]


def test_a_form_of_anything_else_that_needs_a_service_is_nothing_without_one() -> None:
    forbidden = Entry("block", "en", ("forbidden",), needs_service=True)
    power = Entry("network", "en", ("red light",), needs_service=True)
    assert found("smoking is forbidden", forbidden, INSTA) == []
    assert found("forbidden at a red light", forbidden, power) == []
    assert found("instagram is forbidden", forbidden, INSTA) == ["service:instagram", "block:forbiden"]


def test_an_ambiguous_name_counts_only_beside_trouble() -> None:
    net = Entry("service", "internet", ("net",), needs_trouble=True)
    assert found("net maaş", net, DOWN) == ["maybe:net"]
    assert found("net çöktü", net, DOWN) == ["service:net", "trouble:coktu"]


def test_a_misspelt_service_is_found_beside_trouble_only() -> None:
    fuzzy = {"instagram": 0}
    assert found("instgram çöktü", INSTA, DOWN, fuzzy=fuzzy) == ["service:instgram", "trouble:coktu"]
    assert found("instgram güzel", INSTA, DOWN, fuzzy=fuzzy) == []


def test_an_ordinary_word_is_never_taken_for_a_misspelt_service() -> None:
    slack = Entry("service", "spotify", ("spotify",))
    assert found("specify çöktü", slack, DOWN, fuzzy={"spotify": 0}, frequent=("specify",)) == ["trouble:coktu"]


def test_spans_point_into_the_skeleton() -> None:
    text = skeleton("bugün instagram çöktü")
    for match in Matcher([INSTA, DOWN]).find(text):
        assert text[match.start : match.end] == match.form


def test_a_form_without_letters_is_refused() -> None:
    with pytest.raises(ConfigError, match="no letters"):
        compile_form("* ~")


def test_forms_folded_in_one_go_are_as_those_compiled_one_by_one(catalog: Catalog) -> None:
    forms = [form for entry in entries_of(catalog) for form in (*entry.forms, *entry.excepted)]
    plain = plain_literals([*forms, "foo *", "foo .*", "a*b", "giriş ~ yap*"])
    patterns = {form: pattern_of(compile_form(form), 0, excepts=False) for form in plain}
    assert plain == {form: (pattern.literal, pattern.run) for form, pattern in patterns.items()}
    assert len(plain) > 0.9 * len(set(forms)), "the others start up slowly"
    assert plain.keys().isdisjoint({"foo *", "foo .*", "a*b", "giriş ~ yap*"})
