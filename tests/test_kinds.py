"""Tables become options, or one clear sentence about what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from listener import kinds
from listener.errors import ConfigError
from listener.kinds import option


@dataclass(frozen=True)
class Options:
    every: timedelta = option(timedelta(minutes=5), "how often")
    tags: tuple[str, ...] = option((), "which tags")
    limit: int = option(40, "how many")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("2w", 1209600), ("1.5h", 5400)]
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert kinds.duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "10", "m", "10 minutes", "-5m", "10m!"])
def test_nonsense_is_no_length_of_time(text: str) -> None:
    with pytest.raises(ValueError, match="write 90s, 10m"):
        kinds.duration(text)


def test_a_table_becomes_options() -> None:
    assert kinds.convert({"every": "2m", "tags": ["a"]}, Options, "x") == Options(timedelta(minutes=2), ("a",))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"evry": "2m"}, r"unknown key 'evry'; did you mean 'every'\?"),
        ({"every": "soon"}, "every: 'soon' is not a length of time"),
        ({"limit": "many"}, "limit: Expected `int`, got `str`"),
        ({"tags": "a"}, "tags: Expected `array`, got `str`"),
    ],
)
def test_a_wrong_key_is_named_with_its_place(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        kinds.convert(table, Options, "listener.toml: source[3]")
    assert str(caught.value).startswith("listener.toml: source[3]")


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no source kind 'rs'; did you mean 'rss'\?"):
        kinds.load("sources", "rs", "here")
