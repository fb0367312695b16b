"""The daemon's work shared out among processes, on one machine or many, over a bus and one store.

    ingest      sources -> numbered batches -> bus               one at a time, others stand by
    understand  bus -> Recorder.understood -> Recorder.keep      any number: understood side by side, stored in order
    watch       minutes -> Recorder.tick -> channels             one at a time, others stand by
    web         the dashboard and the API                        any number

Batches are understood by whoever is free and stored in the order of their numbers, so that edits, deletes, cursors and
what is known of an author are what they are in one process, and the incidents are the same, byte for byte. The store is the
only truth: `Lane` says there how far it has got, and what the bus loses is published again.
"""

from __future__ import annotations

ROLES = ("ingest", "understand", "watch", "web")
