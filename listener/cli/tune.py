"""The command `listener tune`: a detector's threshold from simulated quiet weeks of one's own regions."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from listener import kinds
from listener.cli import show, wiring
from listener.cli.wiring import ConfigOption
from listener.config import Config
from listener.errors import ConfigError, InputError, StoreError

if TYPE_CHECKING:
    from listener.catalog import Catalog
    from listener.signals.profile import Profile

WEEK = timedelta(weeks=1)


def register(app: typer.Typer) -> None:
    app.command()(tune)


def tune(
    false_alarms: Annotated[
        str, typer.Option("--false-alarms", metavar="N/TIME", help="Wanted for each region and service, such as 1/4w.")
    ] = "1/4w",
    detector: Annotated[
        str | None, typer.Option("--detector", metavar="KIND", help="Which detector; default: the one of the config.")
    ] = None,
    service: Annotated[
        str, typer.Option("--service", help="Whose chatter the quiet weeks are made after.")
    ] = "instagram",
    weeks: Annotated[int, typer.Option("--weeks", min=1, max=52, help="How many quiet weeks of every region.")] = 4,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same threshold.")] = 1,
    store: Annotated[
        str | None, typer.Option("--store", metavar="URL", help="Learn the regions from this store's history.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Set a detector's threshold by simulation, and print it as lines for the config.

    The weeks are made after what your store has learnt about each region, or after data/baseline.toml while there is no history.
    The promise is about calm times: sources that fail without saying so and news about past outages come on top.
    """
    from listener.simulation.tuning import null, tuned_option

    wanted = _rate(false_alarms)
    read, catalog = wiring.read(config)
    kind = detector or read.detector.kind
    module = kinds.load("detectors", kind, "--detector")
    given = read.detector.options if kind == read.detector.kind else {}
    options = kinds.convert(given, module.Options, "detector.options")
    if service not in catalog.services:
        raise InputError(f"--service: no service {service!r} in data/services")
    profiles, learnt = _profiles(read, catalog, service, store)
    name = tuned_option(module)
    start = datetime(2026, 3, 2, tzinfo=UTC)
    with show.progress("quiet weeks", weeks * 7 * 24 * 60) as progress:
        quiet = null(module, options, profiles, start_at=start, weeks=weeks, seed=seed, progress=progress)
    threshold = quiet.threshold(wanted)
    print(f"# {service}, {len(profiles)} regions, {weeks} simulated weeks each, from {learnt}; seed {seed}")
    print(f"# false alarms a region in four weeks: {4 * quiet.rate(threshold):.2f} promised in calm times,")
    print(
        f"# {4 * quiet.rate(float(getattr(options, name))):.2f} with {name} = {getattr(options, name):g} as it is now"
    )
    loud = sorted(quiet.rates(threshold).items(), key=lambda pair: -pair[1])[:3]
    print(f"# most in: {', '.join(f'{region} {4 * rate:.2f}' for region, rate in loud)}")
    print("[detector]")
    print(f'kind = "{kind}"')
    print("[detector.options]")
    for key, value in {**given, name: round(threshold, 2)}.items():
        print(f"{key} = {_toml(value)}")


def _rate(text: str) -> float:
    """False alarms a week, from `1/4w`."""
    number, slash, length = text.partition("/")
    try:
        rate = float(number) / (kinds.duration(length) / WEEK) if slash else -1.0
    except (ValueError, ZeroDivisionError):
        rate = -1.0
    if not 0 < rate < 1000:
        raise InputError(f"--false-alarms: {text!r} is no rate; write 1/4w or 2/1w")
    return rate


def _profiles(read: Config, catalog: Catalog, service: str, store: str | None) -> tuple[dict[str, Profile], str]:
    """Every region's profile, and where it is from."""
    from listener.signals.baseline import Baselines
    from listener.signals.bins import floor
    from listener.store import open_store

    regions = list(read.signal.regions or catalog.regions)
    now = floor(datetime.now(UTC), timedelta(hours=1))
    try:
        opened = open_store(store or read.store_url(), read_only=True)
    except (StoreError, ConfigError):
        if store:
            raise
        made = Baselines(catalog, lambda name, since, until: ({}, {})).profiles(service, regions, now)
        return made, "data/baseline.toml"
    with closing(opened):
        baselines = Baselines(
            catalog, lambda name, since, until: (opened.hourly(name, since, until), opened.heard_hours(since, until))
        )
        made = baselines.profiles(service, regions, now)
    known = max(profile.weeks for profile in made.values())
    return made, f"{known:.1f} weeks of history" if known > 0 else "data/baseline.toml"


def _toml(value: object) -> str:
    """Numbers, texts, booleans and lists of them are written the same in TOML and JSON."""
    return json.dumps(value, ensure_ascii=False)
