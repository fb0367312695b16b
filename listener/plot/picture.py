"""A plot that shows itself in a notebook: interactive where that is possible without a network, a still image everywhere else."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

from listener.errors import InputError
from listener.frames import EXTRA, library

Backend: TypeAlias = Literal["altair", "matplotlib"] | None
Draw: TypeAlias = Callable[[], Any]


class Picture:
    """A plot. Jupyter shows it by itself; `save` writes it to a file.

    `chart` is the Altair chart, to be changed or combined with others as any Altair chart; `figure` the Matplotlib one.
    A notebook is given both: JupyterLab and VS Code draw the chart themselves, with zoom and tooltips and without a network;
    everything else shows the image.

    >>> import listener
    >>> picture = listener.plot.curve([{"labels": 10, "f1": 0.4}, {"labels": 20, "f1": 0.6}])
    >>> picture
    <listener.plot.Picture altair, matplotlib>
    """

    def __init__(self, chart: Draw | None, figure: Draw | None) -> None:
        self._chart = chart
        self._figure = figure

    def __repr__(self) -> str:
        drawn = [name for name, draw in (("altair", self._chart), ("matplotlib", self._figure)) if draw]
        return f"<listener.plot.Picture {', '.join(drawn)}>"

    @cached_property
    def chart(self) -> Any:
        """The interactive form, an `altair.Chart`. Raises `InputError` when there is none."""
        if self._chart is None:
            raise InputError("this plot was made without Altair")
        return self._chart()

    @cached_property
    def figure(self) -> Any:
        """The still form, a `matplotlib.figure.Figure`. Raises `InputError` when there is none."""
        if self._figure is None:
            raise InputError("this plot was made without Matplotlib")
        return self._figure()

    def save(self, path: str | Path) -> None:
        """Write a `.png`, `.svg` or `.pdf` image, or the chart's Vega-Lite description as `.json`. Raises `InputError`."""
        target = Path(path)
        try:
            if target.suffix == ".json":
                target.write_text(self.chart.to_json(), encoding="utf-8")
            elif target.suffix in (".png", ".svg", ".pdf"):
                self.figure.savefig(target, bbox_inches="tight")
            else:
                raise InputError(f"{path}: write .png, .svg, .pdf or .json")
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        if self._chart is not None:
            version = library("altair", "an interactive plot").SCHEMA_VERSION.lstrip("v").partition(".")[0]
            bundle[f"application/vnd.vegalite.v{version}+json"] = self.chart.to_dict()
        if self._figure is not None:
            image = io.BytesIO()
            self.figure.savefig(image, format="png", bbox_inches="tight", dpi=110)
            bundle["image/png"] = base64.b64encode(image.getvalue()).decode("ascii")
        return bundle


def picture(chart: Draw, figure: Draw, backend: Backend) -> Picture:
    """Of both forms those that are wanted and whose library is installed. Raises `InputError` when that leaves none."""
    if backend not in (None, "altair", "matplotlib"):
        raise InputError(f"backend={backend!r}: have 'altair' and 'matplotlib'")
    if backend is not None:
        library(backend, f"backend={backend!r}")
    has = {name: backend in (None, name) and _is_there(name) for name in ("altair", "matplotlib")}
    if not any(has.values()):
        raise InputError(f"a plot needs altair or matplotlib, which are not installed: pip install '{EXTRA}'")
    return Picture(chart if has["altair"] else None, figure if has["matplotlib"] else None)


def _is_there(name: str) -> bool:
    try:
        library(name, "")
    except InputError:
        return False
    return True
