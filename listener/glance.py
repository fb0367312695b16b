"""Which raws of a batch are worth parsing: those of a firehose mostly are not, and that is told from their bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from listener.sources import Bundle
from listener.types import DropReason

Screen = Callable[[Sequence[bytes]], NDArray[np.uint8]]  # 0: may say something; else an index of `_REASONS`
_REASONS = ("", DropReason.NO_MATCH, DropReason.NO_TEXT)


class Glance:
    """What is left of bundles, and how many posts were let go. `silent` has their numbers by reason, for each bundle."""

    def __init__(self, bundles: Sequence[tuple[Any, Bundle]], screen: Screen) -> None:
        """Each bundle with the module of its source. The last raw of each is kept: it says how late the stream is."""
        self._bundles = [bundle for _, bundle in bundles]
        self._worth = [np.ones(len(bundle.raws), bool) for bundle in self._bundles]
        self.silent: list[Counter[str]] = []
        told = [module.texts(bundle.raws[:-1]) for module, bundle in bundles]
        verdicts = screen([text for texts in told for text in texts if text is not None])
        begin = 0
        for texts, worth in zip(told, self._worth, strict=True):
            at = np.array([n for n, text in enumerate(texts) if text is not None], np.intp)
            own = verdicts[begin : begin + len(at)]
            begin += len(at)
            worth[at[own > 0]] = False
            counts = np.bincount(own, minlength=len(_REASONS)).tolist()
            self.silent.append(Counter({reason: n for reason, n in zip(_REASONS, counts, strict=True) if reason and n}))

    def left(self, n: int) -> Iterator[Any]:
        """The raws of bundle `n` that are worth parsing, in order."""
        raws = self._bundles[n].raws
        return (raws[at] for at in np.flatnonzero(self._worth[n]).tolist())
