"""The plots as Matplotlib figures, for where nothing interactive can be shown. No window system is touched."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from listener.frames import Row, library
from listener.plot import colours
from listener.plot.order import bin_text, by_group, regions_in_order

WIDTH = 8.0  # inches


def signal(rows: Sequence[Row]) -> Any:
    groups = by_group(rows, "region")
    names = regions_in_order(rows)
    figure, axes = _figure(len(names), 2.4 if len(names) == 1 else 1.0)
    for axis, name in zip(axes, names, strict=True):
        here = groups[name]
        times = [row["time"] for row in here]
        axis.fill_between(
            times, [_number(row["upperbound"]) for row in here], step="post", color=colours.USUAL, linewidth=0
        )
        axis.step(times, [_number(row["observed"]) for row in here], where="post", color=colours.LINE, linewidth=1.3)
        for row in here:
            if row["state"] in colours.STATES:
                axis.axvspan(row["time"], row["end"], color=colours.STATES[row["state"]], alpha=0.16, linewidth=0)
        axis.set_ylim(bottom=0)
        axis.set_ylabel(
            "people reporting" if len(names) == 1 else name, rotation=90 if len(names) == 1 else 0, labelpad=12
        )
        axis.margins(x=0)
    _times(axes[-1])
    where = f" in {names[0]}" if len(names) == 1 else ""
    _title(axes[0], f"{rows[0]['service']}{where}", f"people reporting; usual range in grey, a bin is {bin_text(rows)}")
    seen = [name for name in colours.STATES if any(row["state"] == name for row in rows)]
    if seen:
        patch = library("matplotlib.patches", "a still plot").Patch
        axes[0].legend(
            handles=[patch(color=colours.STATES[name], alpha=0.4, label=name) for name in seen],
            loc="upper right",
            frameon=False,
            fontsize=8,
        )
    return figure


def incidents(rows: Sequence[Row]) -> Any:
    services = list(dict.fromkeys(row["service"] for row in sorted(rows, key=lambda row: row["started_at"])))
    figure, (axis,) = _figure(1, max(1.2, 0.4 * len(services)))
    for row in rows:
        line = len(services) - 1 - services.index(row["service"])
        colour = colours.CAUSES.get(row["cause"], colours.USUAL)
        axis.barh(line, row["ended_at"] - row["started_at"], left=row["started_at"], height=0.5, color=colour)
        axis.annotate(
            row["places"], (row["ended_at"], line), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axis.set_yticks(range(len(services)), services[::-1])
    axis.margins(x=0.12)
    _times(axis)
    _title(axis, "incidents", "")
    patch = library("matplotlib.patches", "a still plot").Patch
    seen = [name for name in colours.CAUSES if any(row["cause"] == name for row in rows)]
    axis.legend(
        handles=[patch(color=colours.CAUSES[name], label=name) for name in seen],
        title="likeliest cause",
        frameon=False,
        fontsize=8,
        title_fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    return figure


def regions(rows: Sequence[Row], onsets: Sequence[Row]) -> Any:
    dates = library("matplotlib.dates", "a still plot")
    names = regions_in_order(rows, onsets)
    groups = by_group(rows, "region")
    times = sorted({row["time"] for row in rows})
    edges = [dates.date2num(at) for at in (*times, rows[-1]["end"])]
    lookup = {name: {row["time"]: _number(row["observed"]) for row in groups[name]} for name in names}
    cells = [[lookup[name].get(at, float("nan")) for at in times] for name in names]
    figure, (axis,) = _figure(1, max(1.2, 0.28 * len(names)))
    norm = library("matplotlib.colors", "a still plot").PowerNorm(0.5)
    mesh = axis.pcolormesh(edges, range(len(names) + 1), cells, cmap="YlOrRd", norm=norm)
    for row in onsets:
        if row["region"] in names:
            axis.plot(row["onset_at"], names.index(row["region"]) + 0.5, marker=">", color="black", markersize=5)
    axis.set_yticks([n + 0.5 for n in range(len(names))], names)
    axis.set_ylim(len(names), 0)
    axis.set_xlim(edges[0], edges[-1])
    figure.colorbar(mesh, ax=axis, label="people reporting", pad=0.02)
    _times(axis)
    _title(axis, rows[0]["service"], "▸ began there" if onsets else "")
    return figure


def compare(rows: Sequence[Row], value: str, name: str, by: str, bounds: tuple[str, str] | None) -> Any:
    names = list(dict.fromkeys(str(row[name]) for row in rows))
    groups = by_group(rows, by) if by else {"": list(rows)}
    figure, (axis,) = _figure(1, max(1.2, len(names) * (0.14 * len(groups) + 0.12)))
    for n, (group, here) in enumerate(groups.items()):
        shift = (n - (len(groups) - 1) / 2) * 0.6 / len(groups)
        lines = [names.index(str(row[name])) + shift for row in here]
        colour = colours.SERIES[n % len(colours.SERIES)]
        if bounds is not None:
            axis.hlines(lines, [row[bounds[0]] for row in here], [row[bounds[1]] for row in here], color=colour)
        axis.plot([row[value] for row in here], lines, "o", color=colour, label=group, markersize=5)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlabel(value)
    axis.grid(axis="x", alpha=0.3)
    if by:
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def curve(rows: Sequence[Row], x: str, y: str, by: str, bounds: tuple[str, str] | None) -> Any:
    figure, (axis,) = _figure(1, 2.8)
    for n, (group, here) in enumerate((by_group(rows, by) if by else {"": list(rows)}).items()):
        colour = colours.SERIES[n % len(colours.SERIES)]
        along = [row[x] for row in here]
        axis.plot(along, [row[y] for row in here], "o-", color=colour, label=group, markersize=4)
        if bounds is not None:
            low, high = ([row[bound] for row in here] for bound in bounds)
            axis.fill_between(along, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.3)
    if by:
        axis.legend(frameon=False)
    return figure


def _figure(panels: int, height: float) -> tuple[Any, list[Any]]:
    figure = library("matplotlib.figure", "a still plot").Figure(
        figsize=(WIDTH, 0.8 + panels * height), layout="constrained"
    )
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _times(axis: Any) -> None:
    dates = library("matplotlib.dates", "a still plot")
    locator = dates.AutoDateLocator(tz=UTC, minticks=3, maxticks=8)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=UTC))
    axis.set_xlabel("UTC")


def _title(axis: Any, title: str, below: str) -> None:
    axis.set_title(title + (f"   {below}" if below else ""), loc="left", fontsize=10)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
