"""No regular expression can be made to think for long: every one in the code meets texts made to provoke it.

The patterns are collected by reading the code, so a new one is tested without being named here. Data holds no patterns,
only words: what is put together of those while the program runs meets posts made to provoke it, in the pipeline itself.
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from re import _constants as codes
from re import _parser as parser
from typing import Any

import pytest

from listener.pipeline import Pipeline
from tests.builders import post
from tests.conftest import ROOT

LONG = 6_000  # characters; a post is cut to 4,000
NOTICED = 0.02  # seconds of CPU for one text, above which twice the text is tried; what does not go back takes a tenth
GROWTH = 3.0  # how much longer twice the text may take: twice is what it should, four times is going back
BOUND = 1.0  # seconds of CPU for one text, however it grows
TRIES = 3  # the quickest counts: a busy machine makes things slower, never quicker
CUT = {  # these are shown so many characters at most
    "listener/kinds.py:_DURATION": 100,
    "listener/sources/_dates.py:_TIME_FIRST": 100,
}
BY_ANOTHER_NAME = {"listener/sources/metastatus.py:_TROUBLE": frozenset({"fullmatch"})}  # asked in a loop over several
CALLS = {"compile", "sub", "subn", "match", "search", "findall", "fullmatch", "split", "finditer"}


@dataclass(frozen=True)
class Used:
    """A pattern, and how the code asks it."""

    pattern: str | bytes
    flags: int
    asks: frozenset[str]


def patterns() -> dict[str, Used]:
    """Every literal pattern in the code, by where it stands; empty when it is put together while the program runs."""
    found: dict[str, Used] = {}
    for path in sorted((ROOT / "listener").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            of, verb = node.func.value, node.func.attr
            if not (isinstance(of, ast.Name) and of.id == "re" and verb in CALLS):
                continue
            line = source.splitlines()[node.lineno - 1]
            name = line.partition("=")[0].strip() if verb == "compile" else ""
            asks = set(re.findall(rf"\b{name}\.(\w+)\b", source)) & CALLS if name.isidentifier() else {verb} & CALLS
            pattern = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            assert isinstance(pattern, str | bytes)
            used = frozenset(asks - {"compile"} or {"search", "fullmatch"})
            found[f"{path.relative_to(ROOT)}:{name if name.isidentifier() else node.lineno}"] = Used(
                pattern, _flags(node), used
            )
    return found


def _flags(call: ast.Call) -> int:
    names = [
        n.attr
        for part in [*call.args[1:], *[k.value for k in call.keywords]]
        for n in ast.walk(part)
        if isinstance(n, ast.Attribute)
    ]
    return sum(getattr(re, name) for name in dict.fromkeys(names) if name.isupper() and hasattr(re, name))


def provoking(pattern: str | bytes, flags: int, length: int = LONG) -> Iterator[str]:
    """For each repeat in a pattern: what leads up to it, very many of what it repeats, and an end that spoils the match.

    Of another length they are the same texts in the same order.
    """
    tree = parser.parse(pattern, flags)
    for before, body in _repeats(list(tree), ""):
        one = _sample(body) or "a"
        for unit in (one, f"{one}{_sample(body, last=True) or 'b'}"):
            for lead in (before, before * 2, ""):
                for spoil in ("", "\x00", "\n!", " <", "é"):
                    yield (lead + unit * (length // len(unit)))[:length] + spoil
        if before:
            yield (before * (length // len(before)))[:length] + "\x00"
    yield from ((unit * length)[:length] for unit in ("a", "1", " ", "\n", "<", "@a", "a.", "\\", "&#"))


def _repeats(items: list[Any], before: str) -> Iterator[tuple[str, list[Any]]]:
    for op, value in items:
        if op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            _, most, body = value
            if most > 10:
                yield before, list(body)
            yield from _repeats(list(body), before)
        elif op is codes.SUBPATTERN:
            yield from _repeats(list(value[3]), before)
        elif op is codes.BRANCH:
            for branch in value[1]:
                yield from _repeats(list(branch), before)
        elif op in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _repeats(list(value[1]), before)
        before += _sample([(op, value)])


def _sample(items: list[Any], *, last: bool = False) -> str:
    """A text that the items match, or nearly; `last` takes the other end of every choice."""
    made = ""
    for op, value in items:
        if op is codes.LITERAL:
            made += chr(value)
        elif op is codes.NOT_LITERAL:
            made += "b" if value == ord("a") else "a"
        elif op is codes.ANY:
            made += "z" if last else "a"
        elif op is codes.IN:
            made += _of_class(value, last=last)
        elif op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            made += _sample(list(value[2]), last=last) * max(1, min(value[0], 50))
        elif op is codes.SUBPATTERN:
            made += _sample(list(value[3]), last=last)
        elif op is codes.BRANCH:
            made += _sample(list(value[1][-1 if last else 0]), last=last)
    return made


def _of_class(parts: list[Any], *, last: bool) -> str:
    negated = parts[0][0] is codes.NEGATE
    matching = {
        codes.CATEGORY_DIGIT: "7",
        codes.CATEGORY_SPACE: " ",
        codes.CATEGORY_WORD: "w",
        codes.CATEGORY_NOT_SPACE: "n",
    }
    if negated:
        return next(c for c in ("z" if last else "a") + "a1 -<\n" if re.match(r"(?s).", c))
    op, value = parts[-1 if last else 0]
    if op is codes.LITERAL:
        return chr(value)
    if op is codes.RANGE:
        return chr(value[1 if last else 0])
    return matching.get(value, "-")


FOUND = {where: used for where, used in patterns().items() if used.pattern}


def asked(made: re.Pattern[Any], verb: str, text: Any) -> None:
    if verb in ("sub", "subn"):
        getattr(made, verb)(text[:0], text)
    elif verb == "finditer":
        list(made.finditer(text))
    else:
        getattr(made, verb)(text)


def cost(made: re.Pattern[Any], verb: str, text: Any) -> float:
    """Seconds of CPU at best; a text that is soon done with is tried once."""
    best = BOUND * 1000
    for _ in range(TRIES):
        began = time.process_time()
        asked(made, verb, text)
        best = min(best, time.process_time() - began)
        if best < NOTICED:
            break
    return best


def goes_back(used: Used, verbs: frozenset[str], length: int = LONG, most: int | None = None) -> str:
    """What makes a pattern think for long, in words; empty when nothing does."""
    made = re.compile(used.pattern, used.flags)
    pairs = zip(*(provoking(used.pattern, used.flags, size) for size in (length, 2 * length)), strict=True)
    for text, twice in dict.fromkeys((text[:most], twice[:most]) for text, twice in pairs):
        given: list[Any] = [
            one.encode("utf-8", "replace") if isinstance(used.pattern, bytes) else one for one in (text, twice)
        ]
        for verb in verbs:
            took = cost(made, verb, given[0])
            told = f"{used.pattern!r}.{verb} took {took:.2f} s on {text[:40]!r}, {len(text)} long"
            if took > BOUND:
                return told
            if took > NOTICED and most is None and (longer := cost(made, verb, given[1])) > GROWTH * took:
                return f"{told}, and {longer / took:.1f} times that on twice as much"
    return ""


@pytest.mark.parametrize("where", sorted(FOUND))
def test_no_text_makes_a_pattern_go_back_for_long(where: str) -> None:
    used = FOUND[where]
    assert goes_back(used, BY_ANOTHER_NAME.get(where, used.asks), most=CUT.get(where)) == ""


@pytest.mark.parametrize(
    ("pattern", "verb", "length", "bound", "said"),
    [
        (r"(a+)+$", "match", 23, 0.05, "took"),  # a few more and it would never end
        (r"\s*x.*\bfor", "search", LONG, BOUND, "times that on twice as much"),
        (r"a.*b.*c", "search", LONG // 6, BOUND, "times that on twice as much"),
    ],
)
def test_the_test_finds_patterns_that_go_back(
    pattern: str, verb: str, length: int, bound: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "BOUND", bound)
    assert said in goes_back(Used(pattern, 0, frozenset()), frozenset({verb}), length)


def test_a_post_made_to_provoke_is_understood_at_once(pipeline: Pipeline) -> None:
    units = [
        "instagram ",
        "çöktü",
        "a.",
        "@a",
        "4",
        "a4",
        "ου",
        "<",
        "&#",
        "www.",
        "http://",
        "ааa",
        "e\u0301",
        "\u200d",
    ]
    posts = [post(unit * (LONG // len(unit)), id=f"t:{n}") for n, unit in enumerate(units)]
    began = time.process_time()
    assert len(pipeline.understand(posts)) == len(posts)
    assert time.process_time() - began < BOUND / 4 * len(posts)
