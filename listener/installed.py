"""What there is to work with: the config, the catalog, model and detector that it names."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from listener import catalog as catalogs
from listener import config as configs
from listener import kinds
from listener.catalog import Catalog
from listener.config import Config

if TYPE_CHECKING:
    from listener.signals.online import Online


def read(path: Path | None) -> tuple[Config, Catalog]:
    """The config and the catalog it names."""
    config = configs.load(path)
    return config, catalogs.load(Path(config.paths.data) if config.paths.data else None)


def model_folder(config: Config, chosen: Path | None = None) -> Path:
    """The model to use: the one chosen, the config's, or models/current beside the data."""
    if chosen is not None:
        return chosen
    return Path(config.paths.model) if config.paths.model else catalogs.default_root().parent / "models" / "current"


def online(config: Config, bin: timedelta | None) -> Online:
    """The config's detector as a judge of one series, row by row; without `bin` the first two rows say how long one is."""
    from listener.signals.online import Online

    detector = kinds.load("detectors", config.detector.kind, "detector")
    options = kinds.convert(config.detector.options, detector.Options, "detector.options")
    return Online(detector.detect, options, bin)
