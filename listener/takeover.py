"""Takes over another model while the daemon runs: noticed in its folder, checked, put in place between two batches.

No post waits for it and no source is asked again. A model that is not whole is refused, loudly, and the old one goes on.
Roles that share a process share what was loaded; of many processes the one that watches says in the store what is in force.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from listener import telemetry
from listener.classify.classifier import Classifier
from listener.classify.folder import Stamp, digest_at, stamp_of
from listener.errors import ModelError
from listener.recorder import Recorder
from listener.store import Store
from listener.text.language import Identifier

LOOK_EVERY = 2.0  # seconds
MODEL = (
    "model"  # the mark that says which model is in force since when, how good it is, and why another was refused (JSON)
)
FIGURES = ("f1", "ap", "ece", "label_f1", "services")  # of a model's scores, those the page on method shows

Write = Callable[[Callable[[], None]], Awaitable[None]]  # runs something on the thread that writes

log = telemetry.log("model")


class Takeover:
    """Watches the folder of the model of a recorder, and of `others` that write on threads of their own.

    `speaks` says whether the store's word on what is in force is ours.
    """

    def __init__(
        self,
        folder: Path,
        recorder: Recorder,
        store: Store,
        *,
        write: Write,
        clock: Callable[[], datetime],
        metrics: telemetry.Metrics,
        others: Sequence[tuple[Recorder, Write]] = (),
        speaks: Callable[[], bool] = lambda: True,
    ) -> None:
        self._folder = folder
        self._recorder = recorder
        self._store = store
        self._write = write
        self._clock = clock
        self._metrics = metrics
        self._others = others
        self._speaks = speaks
        self._spoke = False
        self._refused = ""  # why the model of the folder is
        self._known: Stamp | None = None  # of the folder whose model was taken, or refused
        self._doubted: Stamp | None = None  # one that could not be loaded: it may only have been caught half-way

    async def run(self) -> None:
        """For ever; the model in force is written down first."""
        await self._write(self._note)
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Once: take the model of the folder over if it is another one; say so, if that fell to us since."""
        if self._speaks() != self._spoke:
            await self._write(self._note)
        stamp = await asyncio.to_thread(stamp_of, self._folder)
        if stamp is not None and stamp == self._known:
            return
        try:
            loaded = await asyncio.to_thread(self._loaded)
        except ModelError as error:
            if stamp == self._doubted:
                self._known = stamp
                await self._refuse(str(error), is_new=stamp is not None)
            self._doubted = stamp
            return
        if stamp != await asyncio.to_thread(stamp_of, self._folder):
            return  # it changed while we looked: next time
        self._known, self._refused = stamp, ""
        if loaded is None:
            await self._write(self._note)
            return
        for recorder, write in self._others:
            await write(partial(recorder.adopt, *loaded))
        await self._write(partial(self._adopt, *loaded))

    def _loaded(self) -> tuple[Classifier, Identifier] | None:
        """The model of the folder; None when it is the one in force."""
        if digest_at(self._folder) == self._recorder.pipeline.classifier.digest:
            return None
        return Classifier.load(self._folder), Identifier.load(self._folder)

    def _adopt(self, classifier: Classifier, identifier: Identifier) -> None:
        before = self._recorder.pipeline.classifier.digest
        self._recorder.adopt(classifier, identifier)
        self._note()
        log.info("model_taken_over", model=classifier.digest, before=before)

    async def _refuse(self, why: str, *, is_new: bool) -> None:
        if is_new or self._refused != why:
            in_force = self._recorder.pipeline.classifier.digest
            log.error("model_refused", detail=why, in_force=in_force, mend="listener rollback, or promote another")
        self._refused = why
        await self._write(self._note)

    def _note(self) -> None:
        """Write down what is in force, for pages and metrics; `since` stays as long as the digest does."""
        classifier = self._recorder.pipeline.classifier
        mark = self._store.mark(MODEL)
        known: dict[str, Any] = json.loads(mark) if mark else {}
        known_since = str(known.get("since")) if known.get("digest") == classifier.digest else ""
        since = known_since or self._clock().isoformat(timespec="seconds")
        scores = classifier.meta.scores.get("all", {})
        made = {
            "digest": classifier.digest,
            "since": since,
            "refused": self._refused,
            "figures": {name: float(scores[name]) for name in FIGURES if name in scores},
        }
        self._metrics.model_in_force(classifier.digest, datetime.fromisoformat(since), refused=bool(self._refused))
        self._spoke = self._speaks()
        if self._spoke and made != known:
            with self._store.transaction() as tx:
                tx.set_mark(MODEL, json.dumps(made))
