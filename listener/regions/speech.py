"""Words that mostly people of one country say where several share a language: `data/places/speech.toml`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from listener.errors import ConfigError
from listener.kinds import convert, toml_file

Speech = dict[str, dict[str, str]]
"""Language -> word -> the region whose people say it."""


@dataclass(frozen=True, slots=True)
class Words:
    """What people of a region say in these languages."""

    languages: tuple[str, ...]
    words: tuple[str, ...]


def heard(words: Sequence[str], said: dict[str, str]) -> list[tuple[str, str]]:
    """Region and word, in the order of the words; each once.

    >>> heard(["krejt", "pa", "net", "krejt"], {"krejt": "XK", "lek": "AL"})
    [('XK', 'krejt')]
    """
    found = said.keys() & set(words)
    return [(said[word], word) for word in dict.fromkeys(words) if word in found] if found else []


def speech(path: Path, fold: Callable[[str], str]) -> Speech:
    """Read the file; a word that two regions claim in one language says nothing. Raises `ConfigError` naming file and key."""
    table = toml_file(path)
    claims: dict[tuple[str, str], set[str]] = defaultdict(set)
    for region, row in table.items():
        if region == "source":
            continue
        said = convert(row, Words, f"{path}: {region}")
        for word in said.words:
            if " " in (folded := fold(word)) or not folded:
                raise ConfigError(f"{path}: {region}: {word!r} is not one word")
            for language in said.languages:
                claims[language, folded].add(region)
    made: Speech = defaultdict(dict)
    for (language, word), regions in claims.items():
        if len(regions) == 1:
            (made[language][word],) = regions
    return dict(made)
