"""Every configured source for the commands that show them all: those that may not start are told, not raised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from listener import kinds
from listener.catalog import Catalog
from listener.cli import wiring
from listener.config import Config
from listener.errors import ConfigError, InputError
from listener.types import UNKNOWN_REGION

if TYPE_CHECKING:
    from listener.roster import Source

NOWHERE = "none"  # how a filter names the sources of no region

Wanted = Callable[["Configured"], bool]


@dataclass(frozen=True)
class Configured:
    """One source of the config or of the defaults: the source, or the `problem` for which `listener run` would refuse it."""

    name: str
    kind: str
    region: str
    source: Source | None = None
    problem: ConfigError | None = None
    needs_terms: bool = False  # the problem is that its terms were not accepted

    @property
    def only_corroborates(self) -> bool:
        """Whether its silence says nothing, as that of a status page."""
        return bool(self.source and getattr(self.source.module, "CORROBORATES", False))


def configured(config: Config, catalog: Catalog) -> list[Configured]:
    """In the order in which the daemon starts them."""
    return [_one(*table, catalog) for table in wiring.tables(config, catalog)]


def _one(name: str, kind: str, options: dict[str, Any], where: str, catalog: Catalog) -> Configured:
    region = str(options.get("region", ""))
    try:
        return Configured(name, kind, region, source=wiring.source(name, kind, options, where, catalog))
    except ConfigError as error:
        return Configured(name, kind, region, problem=error, needs_terms=_needs_terms(kind, options))


def _needs_terms(kind: str, options: Mapping[str, Any]) -> bool:
    is_opt_in = kind in kinds.names("sources") and hasattr(kinds.load("sources", kind, kind), "TERMS")
    return is_opt_in and not options.get("accept_terms")


def selection(regions: Sequence[str] | None, kinds_wanted: Sequence[str] | None, catalog: Catalog) -> Wanted:
    """What `--region` and `--kind` ask for. Raises `InputError` for one that nobody has."""
    codes = {region.upper() if region.lower() != NOWHERE else "" for region in regions or ()}
    for code in codes - {"", *catalog.regions}:
        known = sorted(set(catalog.regions) - {UNKNOWN_REGION})
        raise InputError(f"--region: no region {code!r} (have: {', '.join(known)}, and 'none')")
    for kind in kinds_wanted or ():
        kinds.load("sources", kind, "--kind")
    return lambda one: (not codes or one.region in codes) and (not kinds_wanted or one.kind in kinds_wanted)
