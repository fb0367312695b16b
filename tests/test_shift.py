"""What is taken from the logits on the way from labelled posts to a stream."""

from __future__ import annotations

import numpy as np

from listener.classify.shift import Shift
from listener.types import LABELS


def test_chatter_and_near_misses_are_rarer_and_chatter_more_so_where_nothing_was_found() -> None:
    taken = Shift(chatter=1.6, near_miss=1.0, unfound=2.0).of(np.array([True, False]))
    found, unfound = (dict(zip(LABELS, row.tolist(), strict=True)) for row in taken)
    near = {"recovered": 1.0, "works": 1.0, "own": 1.0, "not_now": 1.0, "other": 0.0}
    assert found == {"report": 1.6, "question": 1.6, "blocked": 1.6, "relay": 1.6, **near}
    assert unfound == {"report": 3.6, "question": 3.6, "blocked": 3.6, "relay": 3.6, **near}


def test_of_no_posts_nothing_is_taken() -> None:
    assert Shift(chatter=1.0, near_miss=1.0, unfound=1.0).of(np.array([], np.bool_)).shape == (0, len(LABELS))
