"""How right the weights of regions are, held to floors in `tests/data/regions/floors.json`, and what they are measured on.

Lowering a floor needs a reason in the changelog.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from listener import catalog
from listener.errors import InputError
from listener.regions.attribute import Attributor
from listener.text.language import Identifier
from listener.text.normalize import skeleton
from listener.text.phrases import matcher_of
from listener.training import dataset, regions
from listener.training.dataset import Labelled, Row
from listener.training.regions import KINDS, TRAPS, Mention, Reliability
from listener.types import RegionWeight

ROOT = Path(__file__).parent.parent
MENTIONS = ROOT / "data" / "places" / "mentions"
FLOORS = json.loads((ROOT / "tests" / "data" / "regions" / "floors.json").read_text())


@cache
def mentions() -> list[Mention]:
    return regions.load(MENTIONS)


@cache
def labelled() -> list[Labelled]:
    return dataset.load(ROOT / "data" / "labelled")


@cache
def told() -> dict[str, tuple[list[Mention], list[tuple[RegionWeight, ...]]]]:
    world = catalog.load()
    matcher, identifier = matcher_of(world), Identifier.load(ROOT / "models" / "current")
    attributor = Attributor(world, matcher.find, skeleton)
    made = {}
    for name, posts in (("mentions", mentions()), ("labelled", regions.labelled(labelled(), world))):
        made[name] = posts, attributor.attribute(regions.read(posts, world, matcher, identifier))
    both = [made["labelled"][n] + made["mentions"][n] for n in (0, 1)]
    return {**made, "together": (both[0], both[1])}  # type: ignore[dict-item]


def figures(name: str) -> Mapping[str, float]:
    return regions.figures(*told()[name])


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_regions_are_as_right_as_they_were(name: str) -> None:
    now = figures(name)
    fallen = [f"{key}: {now[key]} < {floor}" for key, floor in FLOORS[name]["at_least"].items() if now[key] < floor]
    risen = [f"{key}: {now[key]} > {most}" for key, most in FLOORS[name]["at_most"].items() if now[key] > most]
    assert fallen + risen == []


def test_of_the_weight_given_to_a_country_that_share_is_right() -> None:
    """Tenths of all weights in order: in each the mean weight and the share that is right lie within 0.05."""
    posts, weights = told()["together"]
    assert regions.reliability(posts, weights, even=True).worst() <= 0.05
    sure = {code: regions.reliability(posts, weights, code) for code in catalog.load().regions}
    off = {
        code: gap for code, one in sure.items() if one.count[-1] >= 50 and (gap := one.given[-1] - one.true[-1]) > 0.06
    }
    assert off == {}, "countries whose weights above 0.9 promise too much"


def test_english_with_nothing_else_is_from_elsewhere() -> None:
    posts, weights = told()["mentions"]
    plain = [(p, w) for p, w in zip(posts, weights, strict=True) if p.language == "en" and not p.answer]
    wrong = [p.text for p, w in plain if not regions.right(p, w)]
    assert len(plain) > 50
    assert len(wrong) <= 0.12 * len(plain), wrong


def test_there_are_enough_mentions_of_every_language_and_kind() -> None:
    world = catalog.load()
    by_language = Counter(one.language for one in mentions())
    by_kind = Counter(one.kind for one in mentions())
    assert len(mentions()) >= 1500
    assert set(by_language) == set(world.languages)
    assert min(by_language.values()) >= 120
    assert set(by_kind) == set(KINDS)
    assert sum(by_kind[kind] for kind in TRAPS) >= 350
    assert {answer for one in mentions() for answer in one.answer} == set(world.regions)


@pytest.mark.parametrize(("language", "script"), [("sr", range(0x400, 0x530)), ("bs", range(0x400, 0x530))])
def test_mentions_are_in_both_scripts(language: str, script: range) -> None:
    assert any(ord(char) in script for one in mentions() if one.language == language for char in one.text)


@pytest.mark.parametrize("language", ["bg", "mk", "el"])
def test_some_mentions_are_typed_in_latin(language: str) -> None:
    latin = [one.text for one in mentions() if one.language == language and one.text.isascii()]
    assert len(latin) >= 4


def test_no_mention_is_a_copy_or_a_template() -> None:
    rows = [Labelled(Row(one.id, one.text, "other"), one.language, f"{one.where} ({one.id})") for one in mentions()]
    assert len({one.id for one in mentions()}) == len(mentions())
    assert dataset.check(rows, catalog.load()) == []


def test_mentions_are_no_training_posts() -> None:
    """They measure places only: nothing that is trained on may hold one."""
    trained = {skeleton(row.row.text) for row in labelled()}
    assert [one.id for one in mentions() if skeleton(one.text) in trained] == []
    assert not list((ROOT / "data" / "labelled").rglob("*mention*"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "text": "b", "answer": [], "kind": "rumour"}', "no kind 'rumour'"),
        ('{"id": "a", "text": "b", "kind": "posted"}', "answer"),
        ("nothing", "malformed"),
    ],
)
def test_a_bad_mention_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "tr.jsonl").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"tr\.jsonl:1") as error:
        regions.load(tmp_path)
    assert message in str(error.value)


def test_no_mentions_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no mentions here"):
        regions.load(tmp_path)


def one(text: str, answer: Sequence[str], kind: str = "posted", language: str = "sr") -> Mention:
    return Mention("x", text, tuple(answer), kind, language, "here")


def weights(**shares: float) -> list[RegionWeight]:
    return [RegionWeight(region, share) for region, share in shares.items()]


@pytest.mark.parametrize(
    ("mention", "given", "right"),
    [
        (one("u Nišu", ["RS"]), weights(RS=0.6, BA=0.4), True),
        (one("u Nišu", ["RS"]), weights(RS=0.4, BA=0.6), False),
        (one("i u Nišu i u Zagrebu", ["RS", "HR"], "split"), weights(RS=0.7, HR=0.2, ZZ=0.1), True),
        (one("i u Nišu i u Zagrebu", ["RS", "HR"], "split"), weights(RS=0.95, HR=0.05), False),
        (one("u Turskoj, kažu", ["TR", "RS"], "about"), weights(TR=0.5, BA=0.5), True),
        (one("u Turskoj, kažu", ["TR", "RS"], "about"), weights(TR=1.0), False),
        (one("bar da radi", [], "word"), weights(BA=0.6, RS=0.4), True),
        (one("bar da radi", [], "word"), weights(GR=0.6, RS=0.4), False),
        (one("turkey sandwich", [], "food", "en"), weights(ZZ=1.0), True),
    ],
)  # fmt: skip
def test_what_counts_as_right(mention: Mention, given: list[RegionWeight], right: bool) -> None:
    assert regions.right(mention, given) is right


def test_reliability_is_the_share_of_a_weight_that_came_true() -> None:
    posts = [one(f"u Nišu {n}", ["RS"]) for n in range(3)] + [one("u Zagrebu", ["HR"])]
    measured = regions.reliability(posts, [weights(RS=0.75, HR=0.25)] * 4)
    assert measured.count.sum() == 8
    assert (measured.given[7], measured.true[7]) == (0.75, 0.75)
    assert (measured.given[2], measured.true[2]) == (0.25, 0.25)
    assert isinstance(measured, Reliability)
    assert measured.worst(1) == measured.expected_gap == 0
