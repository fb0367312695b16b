"""A kind is a file name: `kind = "rss"` loads `listener/sources/rss.py`. Turns tables into checked dataclasses.

There is no registry. A module of a family is a docstring, a frozen `Options` dataclass in which every field has a
default and a one-line meaning (`option(default, "meaning")`), and one verb.
"""

from __future__ import annotations

import difflib
import hmac
import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_type_hints

import msgspec
import tomli

from listener.errors import ConfigError

T = TypeVar("T")

_DURATION = re.compile(r"(\d++(?:\.\d++)?)\s*+(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Secret:
    """A token or a key. It is shown nowhere: only `reveal` tells it.

    >>> Secret("abc"), f"{Secret('abc')}", bool(Secret(""))
    (Secret(...), 'Secret(...)', False)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(other._text.encode(), self._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(...)" if self._text else "Secret()"


def option(default: Any, meaning: str) -> Any:
    """A dataclass field with a default and the one line that explains it in `--help` and the docs."""
    metadata = {"meaning": meaning}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def duration(text: str) -> timedelta:
    """Read a length of time such as `90s`, `10m`, `1h30m`, `30d`.

    >>> duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    parts = _DURATION.findall(text) if len(text) <= 100 else []
    if not parts or _DURATION.sub("", text).strip():
        raise ValueError(f"{text[:100]!r} is not a length of time; write 90s, 10m, 1h30m or 30d")
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
    except OverflowError:
        raise ValueError(f"{text!r} is longer than can be counted") from None


def show_duration(length: timedelta) -> str:
    """The inverse of `duration`, for messages and docs.

    >>> show_duration(timedelta(minutes=90))
    '1h30m'
    """
    rest = length.total_seconds()
    if rest < 1:
        return f"{round(rest * 1000)}ms"
    shown = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, _SECONDS[unit])
        if count:
            shown.append(f"{int(count)}{unit}")
    return "".join(shown)


def names(family: str) -> list[str]:
    """The kinds of a family (`sources`, `detectors`, `channels`): its public module names, sorted."""
    package = importlib.import_module(f"listener.{family}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(family: str, kind: str, where: str) -> ModuleType:
    """The module of a kind. Raises `ConfigError` naming `where` and the nearest kind when there is none."""
    known = names(family)
    if kind not in known:
        raise ConfigError(f"{where}: no {family[:-1]} kind {kind!r}{_nearest(kind, known)} (have: {', '.join(known)})")
    return importlib.import_module(f"listener.{family}.{kind}")


@cache
def _fields_of(into: type[Any]) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    return get_type_hints(into), {f.name: f for f in fields(into) if not f.name.startswith("_")}


def toml(raw: bytes, where: str) -> dict[str, Any]:
    """What a TOML file says. Raises `ConfigError` that names it."""
    try:
        return tomli.loads(raw.decode())
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python reads
        raise ConfigError(f"{where}: {error}") from error


def toml_file(path: Path) -> dict[str, Any]:
    """What a TOML file says. Raises `ConfigError` that names it, also when it can't be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error}") from error
    return toml(raw, str(path))


def rows(table: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """The tables written under `[[name]]`. Raises `ConfigError` when something else stands there."""
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ConfigError(f"{where}: write [[{name}]] in double brackets: there may be several")
    return found


def convert(table: Any, into: type[T], where: str) -> T:
    """Make a dataclass of a TOML table. Raises `ConfigError` that says which key of `where` is wrong, and how."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table, got {_shown(table)}")
    hints, known = _fields_of(into)  # type: ignore[arg-type]  # a class is hashable
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {_shown(key)}{_nearest(key, list(known))}")
        values[key] = _value(value, hints[key], f"{where}: {key}")
    for name, spec in known.items():
        if name not in values and spec.default is MISSING and spec.default_factory is MISSING:
            raise ConfigError(f"{where}: key {name!r} is missing")
    try:
        return into(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(value: Any, hint: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return convert(value, hint, where)
    if hint is Secret:
        if not isinstance(value, Secret):
            shape = 'write {env = "NAME"} or {file = "PATH"}'
            raise ConfigError(f"{where}: a secret does not stand in the config itself; {shape}")
        return value
    if hint is timedelta or hint == timedelta | None:
        try:
            return duration(value)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{where}: {error}") from error
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error} (got {_shown(value)})") from error


def _shown(value: object) -> str:
    """A value in a message: not more of it than somebody reads."""
    return f"{value!r:.200}"


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word[:100], known, n=1)  # takes the square of the length
    return f"; did you mean {close[0]!r}?" if close else ""
