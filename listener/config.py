"""What the operator decides: `listener.toml` and `LISTENER_*` read into a checked `Config`.

The file is the truth, the environment overrides single keys (`LISTENER_WEB_PORT=9000` sets `[web] port`), and a
secret may come from a file (`LISTENER_PRIVACY_AUTHOR_KEY_FILE`). Nothing else in the project reads the environment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import platformdirs

from listener.errors import ConfigError
from listener.kinds import Secret, convert, option, rows, toml, toml_file

DEFAULT_FILE = Path("listener.toml")


@dataclass(frozen=True)
class Paths:
    data: str = option(
        "", "folder with languages/, services/, regions/ ...; empty = the one that came with the program"
    )
    model: str = option("", "folder of the classifier's model; empty = the one that came with the program")
    store: str = option(
        "",
        "store URL, sqlite:///PATH or postgresql://USER@HOST/DATABASE; empty = listener.db in the user's data directory",
    )


@dataclass(frozen=True)
class Signal:
    lateness: timedelta = option(
        timedelta(minutes=30), "a post that arrives later than this after it was written no longer counts"
    )
    chatter_floor: float = option(0.2, "a post with a lower chatter score adds nothing to the signal")
    lookback: timedelta = option(timedelta(hours=1), "an author and a near-duplicate text count once within this time")
    regions: tuple[str, ...] = option((), "only these regions; empty = all in data/regions")
    services: tuple[str, ...] = option((), "only these services; empty = all in data/services")


@dataclass(frozen=True)
class Detector:
    kind: str = option("scan", "which detector decides: a file name under listener/detectors")
    options: dict[str, Any] = option({}, "options of that detector")
    resolve_after: timedelta = option(timedelta(minutes=30), "an incident ends when the signal was normal this long")


@dataclass(frozen=True)
class Web:
    enabled: bool = option(True, "serve the dashboard and the API")
    host: str = option("127.0.0.1", "address to listen on")
    port: int = option(8080, "port to listen on")
    url: str = option("", "where others reach the dashboard, such as https://outages.example.org; messages link there")
    token: Secret = option(
        Secret(""), 'asks everybody for it, at any address but loopback a must: {env = "NAME"} or {file = "PATH"}'
    )
    open: bool = option(False, "at other addresses than loopback: ask nobody for a token, something before us does")
    a_minute: int = option(600, "requests a minute that one client may make; 0 = any number")
    label: bool = option(False, "serve /label, where posts are labelled: on loopback, or to who knows label_token")
    label_token: Secret = option(Secret(""), 'lets labellers in from elsewhere: {env = "NAME"} or {file = "PATH"}')
    label_file: str = option("", "where their answers are kept; empty = labels.jsonl in the user's data directory")


@dataclass(frozen=True)
class Privacy:
    retention: timedelta = option(
        timedelta(days=30), "texts and author hashes are erased after this time, a day at least; counts stay"
    )
    author_key: str = option("", "secret that keys the author hashes; empty = made once and kept beside the store")

    def __post_init__(self) -> None:
        if self.retention < timedelta(days=1):  # while minutes may still change, their authors must be known
            raise ValueError(f"retention must be a day or more (got {self.retention})")


@dataclass(frozen=True)
class Http:
    contact: str = option("", "URL or address named in the User-Agent, so that a site can reach you")
    allow_private: bool = option(False, "let sources reach loopback and private addresses (for tests and intranets)")


@dataclass(frozen=True)
class Bus:
    url: str = option(
        "", "nats://HOST:4222 (several with commas), for `listener run --roles`; empty = one process does it all"
    )
    stream: str = option("listener", "name of the stream; two installations on one server need two")
    replicas: int = option(1, "servers that keep a copy of each batch; 3 for a cluster")
    most: int = option(1000, "batches the bus keeps; when it is full the sources are held back")
    redeliver_after: timedelta = option(
        timedelta(seconds=10), "a batch whose worker is silent this long goes to another"
    )
    credentials: str = option("", "NATS credentials file (.creds); empty = none, or user and password in the URL")


@dataclass(frozen=True)
class Table:
    """A `[[source]]` or `[[channel]]` table: the kind's own options stay as they are until the kind reads them."""

    kind: str
    name: str
    options: dict[str, Any]
    enabled: bool = True


@dataclass(frozen=True)
class Config:
    paths: Paths = field(default_factory=Paths)
    signal: Signal = field(default_factory=Signal)
    detector: Detector = field(default_factory=Detector)
    web: Web = field(default_factory=Web)
    privacy: Privacy = field(default_factory=Privacy)
    http: Http = field(default_factory=Http)
    bus: Bus = field(default_factory=Bus)
    default_sources: bool = option(True, "use the sources of data/sources besides those named here")
    sources: tuple[Table, ...] = ()
    channels: tuple[Table, ...] = ()
    digest: str = ""

    def store_url(self) -> str:
        return self.paths.store or f"sqlite:///{platformdirs.user_data_path('listener') / 'listener.db'}"

    def labels_path(self) -> Path:
        return Path(self.web.label_file or platformdirs.user_data_path("listener") / "labels.jsonl")


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the config. Without `path`, `$LISTENER_CONFIG` or `listener.toml` here, if there is one, else defaults.

    Raises `ConfigError` that names the file or variable and the key.
    """
    environ = os.environ if environ is None else environ
    path = path or (Path(environ["LISTENER_CONFIG"]) if environ.get("LISTENER_CONFIG") else None)
    if path is None and DEFAULT_FILE.is_file():
        path = DEFAULT_FILE
    table: dict[str, Any] = {}
    if path is not None:
        if not path.exists():
            raise ConfigError(f"{path}: no such file")
        table = toml_file(path)
    where = str(path or "config")
    tables = {kind: tuple(_named(table, kind, where, environ)) for kind in ("source", "channel")}
    if isinstance(web := table.get("web"), dict):
        for key in web.keys() & {"token", "label_token"}:
            web[key] = _secret(web[key], f"{where}: web: {key}", environ)
    table = {key: value for key, value in table.items() if key not in tables}
    _override(table, environ)
    config = convert(table, Config, where)
    return Config(
        **{f.name: getattr(config, f.name) for f in fields(config) if f.name not in ("sources", "channels", "digest")},
        sources=tables["source"],
        channels=tables["channel"],
        digest=_digest(table, tables),
    )


def notify_socket(environ: Mapping[str, str] | None = None) -> str:
    """Where systemd wants to hear that we are ready; empty when it did not start us."""
    return (os.environ if environ is None else environ).get("NOTIFY_SOCKET", "")


def _named(table: Mapping[str, Any], kind: str, where: str, environ: Mapping[str, str]) -> list[Table]:
    made = []
    for i, row in enumerate(rows(table, kind, where)):
        rest = dict(row)
        own = {key: rest.pop(key) for key in ("kind", "name", "enabled") if key in rest}
        own.setdefault("name", f"{own.get('kind', kind)}-{i + 1}")
        options = {key: _secret(value, f"{where}: {kind}[{i}]: {key}", environ) for key, value in rest.items()}
        made.append(convert({**own, "options": options}, Table, f"{where}: {kind}[{i}]"))
    if len({t.name for t in made}) < len(made):
        raise ConfigError(f"{where}: two {kind}s have the same name; a name is where its cursor and health are kept")
    return made


def _secret(value: Any, where: str, environ: Mapping[str, str]) -> Any:
    """`{env = "NAME"}` and `{file = "PATH"}` stand for a secret kept there; anything else stays as it is."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((place, name),) = value.items()
    if place == "env" and isinstance(name, str):
        if name not in environ:
            raise ConfigError(f"{where}: the environment has no {name}")
        return Secret(environ[name].strip())
    if place == "file" and isinstance(name, str):
        try:
            return Secret(Path(name).read_text(encoding="utf-8").strip())
        except (OSError, ValueError) as error:  # no UTF-8, or a name that no file can have
            raise ConfigError(f"{where}: {error}") from error
    return value


def _override(table: dict[str, Any], environ: Mapping[str, str]) -> None:
    sections = {f.name: f.default_factory for f in fields(Config)}
    for name in ("paths", "signal", "detector", "web", "privacy", "http", "bus"):
        for key in fields(sections[name]()):  # type: ignore[operator]
            variable = f"LISTENER_{name}_{key.name}".upper()
            value = environ.get(variable)
            if (secret := environ.get(f"{variable}_FILE")) is not None:
                try:
                    value = Path(secret).read_text().strip()
                except (OSError, ValueError) as error:
                    raise ConfigError(f"{variable}_FILE: {error}") from error
            if value is not None:
                section = table.setdefault(name, {})
                if not isinstance(section, dict):
                    raise ConfigError(f"{name}: expected a table")
                section[key.name] = Secret(value) if isinstance(key.default, Secret) else _parsed(value, variable)


def _parsed(value: str, variable: str) -> Any:
    """A TOML value where it is one (`true`, `9000`, `["TR"]`), else the text itself."""
    try:
        return toml(f"v = {value}".encode(), variable)["v"]
    except UnicodeEncodeError as error:  # bytes of the environment that are no text
        raise ConfigError(f"{variable}: not UTF-8") from error
    except ConfigError:
        return value


def _digest(table: dict[str, Any], tables: dict[str, tuple[Table, ...]]) -> str:
    """Names what decides about posts and incidents, so that a past alarm can be reproduced; secrets stay out."""
    deciding = {key: value for key, value in table.items() if key in ("signal", "detector")}
    kinds = [(t.kind, t.name) for t in tables["source"]]
    return "sha256:" + hashlib.sha256(repr((sorted(deciding.items()), kinds)).encode()).hexdigest()
