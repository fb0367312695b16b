"""No regular expression can be made to think for long: every one in the code meets texts made to provoke it.

The patterns are collected by reading the code, so a new one is tested without being named here. Data holds no patterns,
only words: what is put together of those while the program runs meets posts made to provoke it, in the pipeline itself.
"""

from __future__ import annotations

import ast
import re
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
BOUND = 0.25  # seconds of CPU for one text; what goes back quadratically takes twice as long, what does not a hundredth
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


def provoking(pattern: str | bytes, flags: int) -> Iterator[str]:
    """For each repeat in a pattern: what leads up to it, very many of what it repeats, and an end that spoils the match."""
    tree = parser.parse(pattern, flags)
    for before, body in _repeats(list(tree), ""):
        one = _sample(body) or "a"
        for unit in (one, f"{one}{_sample(body, last=True) or 'b'}"):
            for lead in (before, before * 2, ""):
                for spoil in ("", "\x00", "\n!", " <", "é"):
                    yield (lead + unit * (LONG // len(unit)))[:LONG] + spoil
        if before:
            yield (before * (LONG // len(before)))[:LONG] + "\x00"
    yield from (
        "a" * LONG,
        "1" * LONG,
        " " * LONG,
        "\n" * LONG,
        "<" * LONG,
        "@a" * (LONG // 2),
        "a." * (LONG // 2),
        "\\" * LONG,
        "&#" * LONG,
    )


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


@pytest.mark.parametrize("where", sorted(FOUND))
def test_no_text_makes_a_pattern_go_back_for_long(where: str) -> None:
    used = FOUND[where]
    made = re.compile(used.pattern, used.flags)
    for text in dict.fromkeys(text[: CUT.get(where)] for text in provoking(used.pattern, used.flags)):
        given: Any = text.encode("utf-8", "replace") if isinstance(used.pattern, bytes) else text
        for verb in BY_ANOTHER_NAME.get(where, used.asks):
            began = time.process_time()
            asked(made, verb, given)
            took = time.process_time() - began
            assert took < BOUND, f"{used.pattern!r}.{verb} took {took:.1f} s on {text[:40]!r}, {len(text)} long"


@pytest.mark.parametrize(("pattern", "verb", "length"), [(r"(a+)+$", "match", 22), (r"\s*x.*\bfor", "search", LONG)])
def test_the_test_finds_patterns_that_go_back(pattern: str, verb: str, length: int) -> None:
    slowest = 0.0
    for text in dict.fromkeys(f"{text[:length]}{text[-1]}" for text in provoking(pattern, 0)):
        began = time.process_time()
        asked(re.compile(pattern), verb, text)
        slowest = max(slowest, time.process_time() - began)
    assert slowest > 0.05


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
    assert time.process_time() - began < BOUND * len(posts)
