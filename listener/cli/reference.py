"""The command `listener options`: every key of the config and of every kind, with its default and meaning, as Markdown."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from datetime import timedelta
from typing import Any

import typer

from listener import kinds
from listener.config import Config
from listener.telling import Rules

FAMILIES = {"sources": "source", "detectors": "detector", "channels": "channel"}


def register(app: typer.Typer) -> None:
    app.command()(options)


def options() -> None:
    """Print every config key and every option of every kind, with defaults, as Markdown."""
    print(reference())


def reference() -> str:
    """The text of `docs/configuration.md`."""
    parts = [
        "# Configuration",
        "",
        "`listener.toml` in the working directory, or `--config FILE`, or `$LISTENER_CONFIG`. Everything has a default.",
        "A single key can be set from the environment: `LISTENER_WEB_PORT=9000` sets `port` in `[web]`;",
        "with `_FILE` behind it the value is read from a file, as secrets should be:",
        "`LISTENER_PRIVACY_AUTHOR_KEY_FILE=/run/key`.",
        "Lengths of time are written `90s`, `10m`, `1h30m`, `30d`. This page is the output of `listener options`.",
        "",
        *_config(),
        "## [[source]] and [[channel]]",
        "",
        "Each table has a `kind`, a unique `name` (where its cursor and health are kept), `enabled` (default `true`),",
        "and the options of its kind.",
        'A secret such as a token is written `token = {env = "NAME"}` or `token = {file = "PATH"}`.',
        "A source may also have `region` and `language` (what it brings is from there unless the post says otherwise)",
        "and `topic`.",
        "",
    ]
    parts += ["### rules of any channel", "", *_keys(Rules), ""]
    for family, noun in FAMILIES.items():
        for kind in kinds.names(family):
            module = importlib.import_module(f"listener.{family}.{kind}")
            first = (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ")
            terms = [f"Terms: {module.TERMS}", ""] if hasattr(module, "TERMS") else []
            parts += [f"### {noun} kind `{kind}`", "", first, "", *terms, *_keys(module.Options), ""]
    return "\n".join(parts).rstrip()


def _config() -> Iterator[str]:
    for spec in fields(Config):
        if spec.name in ("sources", "channels", "digest"):
            continue
        section: Any = spec.default_factory
        if is_dataclass(section):
            yield from (f"## [{spec.name}]", "", *_keys(section), "")
    yield from (
        "## Top level",
        "",
        *_row("default_sources", True, "use the sources of data/sources besides those named here"),
        "",
    )


def _keys(options: Any) -> Iterator[str]:
    rows = [row for f in fields(options) for row in _row(f.name, _default(f), f.metadata.get("meaning", ""))]
    return iter(rows or ["no options"])


def _row(name: str, default: Any, meaning: str) -> list[str]:
    return [f"- `{name}` (default `{_shown(default)}`): {meaning}"]


def _default(spec: Any) -> Any:
    return spec.default_factory() if spec.default is MISSING else spec.default


def _shown(value: Any) -> str:
    if isinstance(value, timedelta):
        return f'"{kinds.show_duration(value)}"'
    if isinstance(value, kinds.Secret):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_shown(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_shown(inner)}" for key, inner in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)
