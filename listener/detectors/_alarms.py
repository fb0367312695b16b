"""Arrays over the regions of a panel -> one alarm a region, on the panel's last bin."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from listener.types import Alarm, Baseline, Floats, Panel


def arrays(panel: Panel, baselines: Mapping[str, Baseline]) -> tuple[Floats, Floats, Floats]:
    """Regions x bins: what was seen, what was expected of what could be heard, and how much was heard."""
    heard = np.stack([signal.exposure for signal in panel.signals.values()])
    seen = np.stack([signal.observed for signal in panel.signals.values()])
    mean = np.stack([baselines[region].mean for region in panel.signals]) * heard
    return np.where(heard > 0, seen, 0.0), mean, heard


def verdicts(
    panel: Panel, *, expected: Floats, upperbound: Floats, score: Floats, raised: NDArray[np.bool_], window: timedelta
) -> list[Alarm]:
    """In the panel's order; where nothing can be heard now, the score is 0 and nothing is raised. Shapes: (regions,)."""
    made = []
    for i, signal in enumerate(panel.signals.values()):
        last = len(signal.observed) - 1
        heard = bool(signal.exposure[last] > 0)
        made.append(
            Alarm(
                key=signal.key,
                at=signal.start_at + last * signal.bin,
                observed=float(signal.observed[last]),
                expected=float(expected[i]),
                upperbound=float(upperbound[i]),
                score=max(float(score[i]), 0.0) if heard else 0.0,
                raised=heard and bool(raised[i]),
                window=window,
                exposure=float(signal.exposure[last]),
            )
        )
    return made


def bins(length: timedelta, bin: timedelta, most: int) -> int:
    return min(max(1, round(length / bin)), most)
