"""What kinds of service a post names: what fails at a bank is a payment, at a messenger a message.

Columns for the function of symptoms alone. Labels must not hang on what is named, so there every service is one token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from listener.catalog import SERVICE_KINDS
from listener.types import Reading

KINDS = tuple(sorted(SERVICE_KINDS))
_NAMING = frozenset({"service", "maybe"})  # an everyday word that is also a name says as much here

Services = Mapping[str, tuple[str, ...]]  # ids by kind, as the catalog had them when the model was trained


class Named:
    """Finds the kinds of named services. A service that the catalog had not when the model was trained has none."""

    def __init__(self, services: Services, scale: float) -> None:
        number = {kind: n for n, kind in enumerate(KINDS)}
        self._kinds = {service: number[kind] for kind, ids in services.items() for service in ids}
        self._scale = scale

    def beside(self, folded: Any, readings: Sequence[Reading]) -> Any:
        """The rows of `features.folded` of the same readings, with one more column a kind."""
        from scipy import sparse

        found = [
            sorted({self._kinds[m.name] for m in reading.matches if m.kind in _NAMING and m.name in self._kinds})
            for reading in readings
        ]
        ends = np.concatenate([[0], np.cumsum([len(kinds) for kinds in found])]).astype(np.int32)
        columns = np.array([kind for kinds in found for kind in kinds], np.int32)
        values = np.full(len(columns), self._scale, np.float32)
        kinds = sparse.csr_array((values, columns, ends), shape=(len(readings), len(KINDS)))
        made = sparse.hstack([folded, kinds], format="csr")
        made.indices, made.indptr = made.indices.astype(np.int32), made.indptr.astype(np.int32)
        return made
