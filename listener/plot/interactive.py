"""The plots as Altair charts. Data goes in as plain values, so that neither pandas nor a row limit matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from listener.frames import Row, library
from listener.plot import colours
from listener.plot.order import bin_text, regions_in_order

WIDTH = 640
MINUTE = "utcyearmonthdatehoursminutes"


def signal(rows: Sequence[Row]) -> Any:
    """What was seen as a line, the usual range behind it, and the state as a strip; one panel a region."""
    alt = library("altair", "an interactive plot")
    several = len({row["region"] for row in rows}) > 1
    base = alt.Chart()
    x = _time(alt, "time", rows)
    shown = [name for name in colours.STATES if any(row["state"] == name for row in rows)]
    strip = (
        base.transform_filter(alt.FieldOneOfPredicate(field="state", oneOf=shown))
        .mark_rect(opacity=0.16)
        .encode(
            x=x,
            x2="end:T",
            color=alt.Color(
                "state:N", title="state", scale=alt.Scale(domain=shown, range=[colours.STATES[s] for s in shown])
            ),
        )
    )
    usual = base.mark_area(interpolate="step-after", color=colours.USUAL, opacity=0.8).encode(
        x=x, y=alt.Y("upperbound:Q", title=None if several else "people reporting")
    )
    line = base.mark_line(interpolate="step-after", color=colours.LINE, strokeWidth=1.6).encode(
        x=x, y=alt.Y("observed:Q", title=None if several else "people reporting")
    )
    hover = base.mark_point(opacity=0, size=80).encode(
        x=x,
        y="observed:Q",
        tooltip=[
            alt.Tooltip(f"{MINUTE}(time):T", title="time (UTC)"),
            alt.Tooltip("observed:Q", format=".1f"),
            alt.Tooltip("expected:Q", format=".2f"),
            alt.Tooltip("upperbound:Q", format=".1f"),
            alt.Tooltip("exposure:Q", format=".0%"),
            "posts:Q",
            "authors:Q",
            "state:N",
        ],
    )
    layers = alt.layer(strip, usual, line, hover)
    title = _titled(alt, rows, f"people reporting; usual range in grey, a bin is {bin_text(rows)}")
    data = _data(alt, rows)
    if not several:
        layers.data = data
        return layers.properties(width=WIDTH, height=220, title=title).interactive(bind_y=False)
    return (
        layers.properties(width=WIDTH, height=80)
        .facet(
            row=alt.Row("region:N", title=None, sort=regions_in_order(rows), header=alt.Header(labelAngle=0)), data=data
        )
        .resolve_scale(y="independent")
        .properties(title=title)
        .interactive(bind_y=False)
    )


def incidents(rows: Sequence[Row]) -> Any:
    """A bar an incident from its start to its end, coloured by its likeliest cause."""
    alt = library("altair", "an interactive plot")
    names = [name for name in colours.CAUSES if any(row["cause"] == name for row in rows)]
    base = alt.Chart(_data(alt, rows))
    y = alt.Y("service:N", title=None, sort=alt.EncodingSortField("started_at", op="min"))
    bars = base.mark_bar(height=14, cornerRadius=3).encode(
        x=_time(alt, "started_at", rows),
        x2="ended_at:T",
        y=y,
        color=alt.Color(
            "cause:N", title="likeliest cause", scale=alt.Scale(domain=names, range=[colours.CAUSES[n] for n in names])
        ),
        tooltip=[
            "service:N",
            "places:N",
            "state:N",
            "cause:N",
            alt.Tooltip(f"{MINUTE}(started_at):T", title="since (UTC)"),
            alt.Tooltip(f"{MINUTE}(resolved_at):T", title="until (UTC)"),
            "authors:Q",
            "posts:Q",
        ],
    )
    words = base.mark_text(align="left", dx=5, fontSize=11).encode(x="ended_at:T", y=y, text="places:N")
    return (bars + words).properties(width=WIDTH, height=alt.Step(28), title="incidents").interactive(bind_y=False)


def regions(rows: Sequence[Row], onsets: Sequence[Row]) -> Any:
    """A row of cells a region, darker where more people report; a mark where trouble began there."""
    alt = library("altair", "an interactive plot")
    y = alt.Y("region:N", title=None, sort=regions_in_order(rows, onsets))
    cells = (
        alt.Chart(_data(alt, rows))
        .mark_rect()
        .encode(
            x=_time(alt, "time", rows),
            x2="end:T",
            y=y,
            color=alt.Color(
                "observed:Q", title="people reporting", scale=alt.Scale(scheme="yelloworangered", type="sqrt")
            ),
            tooltip=[
                "region:N",
                alt.Tooltip(f"{MINUTE}(time):T", title="time (UTC)"),
                alt.Tooltip("observed:Q", format=".1f"),
                "posts:Q",
            ],
        )
    )
    marks = (
        alt.Chart(_data(alt, onsets))
        .mark_point(shape="triangle-right", filled=True, color="black", size=60)
        .encode(
            x="onset_at:T",
            y=y,
            tooltip=["region:N", alt.Tooltip(f"{MINUTE}(onset_at):T", title="began (UTC)"), "score:Q"],
        )
    )
    title = _titled(alt, rows, "▸ began there" if onsets else "")
    return (cells + marks if onsets else cells).properties(width=WIDTH, height=alt.Step(20), title=title)


def compare(rows: Sequence[Row], value: str, name: str, by: str, bounds: tuple[str, str] | None) -> Any:
    """A dot a row, with its interval as a line; the groups `by` beside each other."""
    alt = library("altair", "an interactive plot")
    base = alt.Chart(_data(alt, rows))
    y = alt.Y(f"{name}:N", title=None, sort=list(dict.fromkeys(str(row[name]) for row in rows)))
    grouped = {
        "color": alt.Color(f"{by}:N", scale=alt.Scale(range=list(colours.SERIES))),
        "yOffset": alt.YOffset(f"{by}:N"),
    }
    same = grouped if by else {"color": alt.value(colours.LINE)}
    x = alt.X(f"{value}:Q", scale=alt.Scale(zero=False))
    shown = [f"{name}:N", *([f"{by}:N"] if by else []), alt.Tooltip(f"{value}:Q", format=".3f")]
    dots = base.mark_point(filled=True, size=60).encode(x=x, y=y, tooltip=shown, **same)
    if bounds is None:
        return dots.properties(width=WIDTH, height=alt.Step(14))
    lines = base.mark_rule().encode(x=alt.X(f"{bounds[0]}:Q", title=value), x2=f"{bounds[1]}:Q", y=y, **same)
    return (lines + dots).properties(width=WIDTH, height=alt.Step(14))


def curve(rows: Sequence[Row], x: str, y: str, by: str, bounds: tuple[str, str] | None) -> Any:
    """A line a group over `x`, with its band."""
    alt = library("altair", "an interactive plot")
    base = alt.Chart(_data(alt, rows))
    colour = alt.Color(f"{by}:N", scale=alt.Scale(range=list(colours.SERIES))) if by else alt.value(colours.LINE)
    along = alt.X(f"{x}:Q", scale=alt.Scale(zero=False))
    shown = [*([f"{by}:N"] if by else []), f"{x}:Q", alt.Tooltip(f"{y}:Q", format=".3f")]
    lines = base.mark_line(point=True).encode(
        x=along, y=alt.Y(f"{y}:Q", scale=alt.Scale(zero=False)), color=colour, tooltip=shown
    )
    if bounds is not None:
        band = base.mark_area(opacity=0.15).encode(
            x=along, y=alt.Y(f"{bounds[0]}:Q", title=y), y2=f"{bounds[1]}:Q", color=colour
        )
        lines = band + lines
    return lines.properties(width=WIDTH, height=260).interactive()


def _time(alt: Any, field: str, rows: Sequence[Row]) -> Any:
    times = [row[field] for row in rows]
    shown = "%H:%M" if max(times) - min(times) < timedelta(hours=36) else "%d %b %H:%M"
    axis = alt.Axis(format=shown, tickCount=8, labelOverlap=True)
    return alt.X(f"{field}:T", title="UTC", scale=alt.Scale(type="utc"), axis=axis)


def _data(alt: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    return alt.InlineData(values=[{name: _plain(value) for name, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _titled(alt: Any, rows: Sequence[Row], below: str) -> Any:
    services = ", ".join(dict.fromkeys(str(row["service"]) for row in rows))
    places = list(dict.fromkeys(str(row["region"]) for row in rows))
    return alt.TitleParams(services + (f" in {places[0]}" if len(places) == 1 else ""), subtitle=below, anchor="start")
