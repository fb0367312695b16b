"""From the mix of labelled posts to that of a stream, where some labels are rarer (Saerens, Latinne & Decaestecker 2002)."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from listener.types import CHATTER, LABELS, Floats

_CHATTER = np.array([label in CHATTER for label in LABELS])
_NEAR_MISS = np.array([label not in CHATTER and label != "other" for label in LABELS])


class Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much less likely labels are in a stream than among labelled posts, in logits; `other` stays as it is."""

    chatter: float
    near_miss: float  # recovered, works, own, not_now: who writes posts to learn from writes many of them
    unfound: float  # chatter, besides, where nothing was found

    def of(self, found: NDArray[np.bool_]) -> Floats:
        """What to take from the logits of posts, posts x labels. `found` tells of which posts something was found in."""
        same = self.chatter * _CHATTER + self.near_miss * _NEAR_MISS
        made: Floats = same + self.unfound * ~found[:, None] * _CHATTER
        return made
