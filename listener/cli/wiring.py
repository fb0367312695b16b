"""Puts the parts together for a command: config, catalog, pipeline, store, sources."""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listener import config as configs
from listener import installed, kinds, words
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
KEY_BYTES, SHORTEST_KEY = 32, 16  # of one that is made, and of one that the config gives
COMMON = ("region", "language", "topic")  # keys any source may have, whatever its kind


def read(path: Path | None) -> tuple[Config, Catalog]:
    """The config and the catalog it names."""
    return installed.read(path)


def model_folder(config: Config, catalog: Catalog, chosen: Path | None = None) -> Path:
    """The model to use: the one chosen, the config's, or models/current beside the data."""
    return installed.model_folder(config, chosen)


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
    """The secret of the author hashes: the config's, or one made at the first run and kept beside the store.

    Beside a store on a server there is no place: then it is kept in the user's data directory, of this machine only.
    """
    if own := config.privacy.author_key.encode()[:64]:
        if len(own) < SHORTEST_KEY:
            raise ConfigError(
                f"privacy: author_key: at least {SHORTEST_KEY} characters, so that nobody tries them all out"
            )
        return own
    path = key_path(config)
    if path is None:
        return secrets.token_bytes(32)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_key(path)
        key = path.read_bytes()[:64]
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; the key of the author hashes is kept there") from error
    if len(key) < KEY_BYTES:  # hashes with no key, or half of one, could be tried out
        raise ConfigError(f"{path}: holds no whole key of the author hashes; put its backup back, or remove the file")
    return key


def make_key(path: Path) -> None:
    """Make a key, for its owner only, unless there is one: it is there whole or not at all, whenever we are killed."""
    if path.exists():
        return
    handle, made = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was quicker: its key is the key
            os.link(made, path)
    finally:
        Path(made).unlink()


def key_path(config: Config) -> Path | None:
    """Where a key that was made is kept; None for a store in memory."""
    url = config.store_url()
    if not url.startswith("sqlite:"):
        url = Config().store_url()
    return None if ":memory:" in url else Path(url.removeprefix("sqlite:///")).with_suffix(".key")


def earlier_keys(config: Config, now: datetime) -> tuple[bytes, ...]:
    """Keys that `listener rotate-key` replaced within the retention, the newest first. Older ones are removed."""
    path = key_path(config)
    if path is None or config.privacy.author_key:
        return ()
    kept = []
    for old in sorted(path.parent.glob(f"{path.name}.*"), reverse=True):
        try:
            replaced_at = datetime.strptime(old.name.removeprefix(f"{path.name}."), "%Y%m%dT%H%M%S%z")
        except ValueError:
            continue  # not ours
        if now - replaced_at > config.privacy.retention:
            old.unlink()
        else:
            kept.append(old.read_bytes()[:64])
    return tuple(kept)


def shares(found: Sequence[Source], catalog: Catalog) -> dict[str, dict[str, float]]:
    """Which share of a region each source lets us hear, before anything was counted.

    One that only corroborates (its module says `CORROBORATES`) lets us hear nobody: its silence is no deafness.
    """
    from listener.signals.exposure import shares_of, volumes

    heard = [(one.name, one.region) for one in found if not getattr(one.module, "CORROBORATES", False)]
    return shares_of(volumes(heard, catalog.regions))
