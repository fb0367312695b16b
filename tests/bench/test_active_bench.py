"""What choosing posts to label is worth: run with `./dev bench -k active -s`. Some ten minutes on two cores.

Five seeds, all labelled posts, a quarter of them held out. The strategies that lost stand here, not in the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest

from listener.labelling.curves import CHOOSERS, LONG, Chooser, curve, material, mean_curve, summary
from listener.labelling.select import Pool, choose, worth


def chosen(strategy: str, audit: float, pool: Pool, matrix: Any, count: int, random: np.random.Generator) -> list[int]:
    return [i for i, _ in choose(pool, count, random, strategy=strategy, audit=audit)]


def narrowest(pool: Pool, matrix: Any, count: int, random: np.random.Generator) -> list[int]:
    """The smallest margins, whatever language, no audit."""
    order: list[int] = np.argsort(-worth(pool, "margin", random), kind="stable")[:count].tolist()
    return order


def far_apart(pool: Pool, matrix: Any, count: int, random: np.random.Generator) -> list[int]:
    """Small margins that are unlike one another: each next post is near the boundary and far from those taken."""
    values = worth(pool, "margin", random)
    near = np.argsort(-values, kind="stable")[: 6 * count]
    rows = matrix[near]
    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    value = values[near] - values[near].min()
    value /= max(float(value.max()), 1e-9)
    likest = np.zeros(len(near))
    taken: list[int] = []
    for _ in range(min(count, len(near))):
        best = value - likest
        best[taken] = -np.inf
        one = int(best.argmax())
        taken.append(one)
        alike = np.asarray((rows @ rows[[one]].T).todense()).ravel() / (length * length[one])
        likest = np.maximum(likest, alike)
    return [int(near[one]) for one in taken]


RIVALS: Mapping[str, Chooser] = {
    **CHOOSERS,
    "margin, no audit": partial(chosen, "margin", 0.0),
    "margin alone": narrowest,
    "margin, far apart": far_apart,
    "disagreement": partial(chosen, "disagreement", 0.2),
    "entropy": partial(chosen, "entropy", 0.2),
}


@pytest.mark.timeout(3600)
def test_choosing_spares_labels() -> None:
    rows = curve(material(LONG.every), RIVALS, seeds=LONG.seeds, sizes=LONG.sizes)
    found = {line["strategy"]: line for line in summary(rows)}
    print()
    for name, line in found.items():
        print(f"{name:20} {line}")
        print(" ".join(f"{labels}:{f1:.3f}" for labels, f1 in mean_curve(rows, name)))
        nine = [
            np.mean([r["label_f1"] for r in rows if r["strategy"] == name and r["labels"] == n]) for n in LONG.sizes
        ]
        print("nine labels:", " ".join(f"{f1:.3f}" for f1 in nine))
    assert found["margin"]["worst"] > 0, "better than by lot with every seed"
    assert found["margin"]["saving"] > 0.25
