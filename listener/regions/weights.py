"""How much each kind of evidence about where a post was written counts: `data/places/weights.toml`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from listener.errors import ConfigError
from listener.kinds import convert, toml_file


@dataclass(frozen=True, slots=True)
class Weights:
    """Odds, the comments of the file say of what. `diaspora` is a share."""

    source: str
    here: float
    place: float
    country: float
    demonym: float
    abroad: float
    about: float
    about_abroad: float
    provider: float
    shared: float
    speech: float
    stranger: float
    source_region: float
    declared: float
    diaspora: float
    sharpness: float
    habit: float
    habit_most: float

    def of(self, kind: str, region: str, stands: str, elsewhere: str) -> float:
        """The odds of a place: its kind, the region it lies in, and how the words beside it stand to it."""
        if stands == "thing":
            return 0.0
        if stands == "here":
            return self.here
        if stands == "both":
            return self.place
        if stands == "about":
            return self.about_abroad if region == elsewhere else self.about
        if kind == "demonym":
            return self.demonym
        if region == elsewhere:
            return self.abroad
        return self.country if kind == "country" else self.place


def weights(path: Path) -> Weights:
    """Read the file. Raises `ConfigError` that names it and the key."""
    made = convert(toml_file(path), Weights, str(path))
    for field in fields(made):
        if field.name != "source" and not getattr(made, field.name) >= 0:
            raise ConfigError(f"{path}: {field.name} must not be negative")
    return made
