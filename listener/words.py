"""What pages and messages say, in the reader's language: `data/interface/<code>.toml`, one file a language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from listener.catalog import default_root
from listener.errors import ConfigError
from listener.kinds import toml_file

FALLBACK = "en"
COOKIE = "lang"


@dataclass(frozen=True)
class Words:
    """One language. `words("since")` gives a phrase, `words.of("states", "quiet")` the name of a value."""

    code: str
    name: str
    tables: Mapping[str, Mapping[str, str]]

    def __call__(self, key: str, **values: object) -> str:
        """Raises `KeyError` for a key that no language has."""
        text = self.tables["words"][key]
        return text.format(**values) if values else text

    def of(self, table: str, key: object) -> str:
        """The name of a state, cause, symptom, label, reason or region; the key itself when it has none."""
        return self.tables[table].get(str(key), str(key).replace("_", " "))


@cache
def load(root: Path | None = None) -> Mapping[str, Words]:
    """Every language there is a file for, the fallback first. Raises `ConfigError` that names the file."""
    made = {}
    folder = (root or default_root()) / "interface"
    for path in sorted(folder.glob("*.toml"), key=lambda path: (path.stem != FALLBACK, path.stem)):
        table = toml_file(path)
        name = table.pop("name", None)
        tables = [part for part in table.values() if isinstance(part, dict)]
        texts = [text for part in tables for text in part.values()]
        if not all(isinstance(text, str) for text in (name, *texts)) or len(tables) < len(table):
            raise ConfigError(f"{path}: expected `name` and tables of phrases")
        made[path.stem] = Words(path.stem, name, table)
    if FALLBACK not in made:
        raise ConfigError(f"{folder}: no {FALLBACK}.toml here; pages and messages need it")
    return made


def chosen(known: Mapping[str, Words], asked: str, kept: str, accepted: str) -> Words:
    """The viewer's language: asked for in the URL, else kept in a cookie, else the first the browser names that we have."""
    browser = sorted(map(_wish, accepted[:200].split(",")), key=lambda wish: -wish[1])
    liked = [code for code, weight in browser if weight > 0]
    return next((known[code] for code in (asked, kept, *liked) if code in known), known[FALLBACK])


def _wish(part: str) -> tuple[str, float]:
    """Language and weight of one part of `Accept-Language` (RFC 9110, 12.5.4)."""
    tag, _, weight = part.partition(";")
    found = re.fullmatch(r"\s*q\s*=\s*(\d(?:\.\d{0,3})?)\s*", weight)
    return tag.strip().lower().partition("-")[0], float(found.group(1)) if found else 1.0
