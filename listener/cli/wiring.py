"""Puts the parts together for a command: config, catalog, pipeline, store, sources."""

from __future__ import annotations

import gc
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener import catalog as catalogs
from listener import config as configs
from listener import kinds, words
from listener.catalog import Catalog
from listener.config import Config
from listener.errors import ConfigError
from listener.types import UNNAMED

if TYPE_CHECKING:
    from listener.outbox import Channel
    from listener.pipeline import Pipeline
    from listener.roster import Source

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Config file; default: $LISTENER_CONFIG or ./listener.toml."),
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", metavar="DIR", help="Model folder; default: the one of the config.")
]
COMMON = ("region", "language", "topic")  # keys any source may have, whatever its kind


def read(path: Path | None) -> tuple[Config, Catalog]:
    """The config and the catalog it names."""
    config = configs.load(path)
    return config, catalogs.load(Path(config.paths.data) if config.paths.data else None)


def model_folder(config: Config, catalog: Catalog, chosen: Path | None = None) -> Path:
    """The model to use: the one chosen, the config's, or models/current beside the data."""
    if chosen is not None:
        return chosen
    return Path(config.paths.model) if config.paths.model else catalogs.default_root().parent / "models" / "current"


def pipeline(config: Config, catalog: Catalog, model: Path | None = None) -> Pipeline:
    """What was loaded lives as long as the process, so the garbage collector is told to leave it alone (a fifth faster).

    It also comes round less often: hardly anything here is garbage in a circle.
    """
    from listener.pipeline import Pipeline

    made = Pipeline.load(catalog, model_folder(config, catalog, model), config)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return made


def sources(config: Config, catalog: Catalog) -> list[Source]:
    """Every enabled source: the config's own, then the defaults it does not replace by name."""
    return [source(name, kind, options, where, catalog) for name, kind, options, where in tables(config, catalog)]


def tables(config: Config, catalog: Catalog) -> list[tuple[str, str, dict[str, Any], str]]:
    """Name, kind, options and where they stand, of every enabled source."""
    own = {table.name: table for table in config.sources}
    found: list[tuple[str, str, dict[str, Any], str]] = [
        (t.name, t.kind, t.options, f"source {t.name!r}") for t in own.values() if t.enabled
    ]
    if config.default_sources:
        found += [
            (d.name, d.kind, d.options, f"data/sources: {d.name!r}")
            for d in catalog.sources
            if d.enabled and d.name not in own
        ]
    return found


def source(name: str, kind: str, options: dict[str, Any], where: str, catalog: Catalog) -> Source:
    """One source of a table; keys its kind does not know are a `ConfigError`."""
    from listener.roster import Source

    module = kinds.load("sources", kind, where)
    known = {f.name for f in fields(module.Options)}
    common = {key: options[key] for key in COMMON if key in options}
    rest = {key: value for key, value in options.items() if key not in common or key in known}
    if "months" in known and common.get("language") in catalog.languages:  # dates in feeds use local month names
        rest.setdefault("months", catalog.languages[common["language"]].months)
    made = kinds.convert(rest, module.Options, where)
    if (terms := getattr(module, "TERMS", "")) and not made.accept_terms:
        raise ConfigError(f"{where}: {terms} Set accept_terms = true in its table if you agree.")
    return Source(
        name=name,
        kind=kind,
        module=module,
        options=made,
        region=str(common.get("region", "")),
        language=str(common.get("language", "")),
        # a feed may ask for longer
        every=max(getattr(made, name, timedelta(minutes=1)) for name in ("every", "longest")),
    )


def channels(config: Config, catalog: Catalog) -> list[Channel]:
    """The config's channels with their rules, or the log when it names none."""
    from listener.messages import Scribe
    from listener.outbox import Channel
    from listener.telling import Rules

    tables: Iterable[configs.Table] = config.channels or [configs.Table("log", "log", {})]
    said = words.load(catalog.root)
    names = {**{s.id: s.name for s in catalog.services.values()}, UNNAMED: "No service named"}
    rule_names = {f.name for f in fields(Rules)}
    made = []
    for table in tables:
        if table.enabled:
            where = f"channel {table.name!r}"
            module = kinds.load("channels", table.kind, where)
            own = {f.name for f in fields(module.Options)}
            told = {key: value for key, value in table.options.items() if key in rule_names and key not in own}
            rest = {key: value for key, value in table.options.items() if key not in told}
            rules = kinds.convert(told, Rules, where)
            if rules.language not in said:
                raise ConfigError(f"{where}: no language {rules.language!r} (have: {', '.join(said)})")
            scribe = Scribe(rules, said, names, config.web.url.rstrip("/"))
            made.append(Channel(table.name, module, kinds.convert(rest, module.Options, where), scribe))
    return made


def author_key(config: Config) -> bytes:
    """The secret of the author hashes: the config's, or one made at the first run and kept beside the store."""
    if config.privacy.author_key:
        return config.privacy.author_key.encode()[:64]
    url = config.store_url()
    if ":memory:" in url:
        return secrets.token_bytes(32)
    path = Path(url.removeprefix("sqlite:///")).with_suffix(".key")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        return path.read_bytes()[:64]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; the key of the author hashes is kept there") from error


def shares(found: Sequence[Source], catalog: Catalog) -> dict[str, dict[str, float]]:
    """Which share of a region each source lets us hear, before anything was counted.

    A national source speaks for its region; a global stream for all of them and as loudly as ten national ones. One that
    only corroborates (its module says `CORROBORATES`) lets us hear nobody: its silence is no deafness.
    """
    from listener.signals.exposure import shares_of

    volumes: dict[str, dict[str, float]] = {}
    for one in found:
        if getattr(one.module, "CORROBORATES", False):
            continue
        volumes[one.name] = {one.region: 1.0} if one.region else dict.fromkeys(catalog.regions, 10.0)
    return shares_of(volumes)
