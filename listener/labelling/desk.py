"""A round of posts for each labeller who works on a page: what is asked, answered, skipped and taken back, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from listener.errors import InputError
from listener.labelling.answers import Answer, named
from listener.labelling.candidates import Pick
from listener.labelling.records import Label, LabelFile
from listener.labelling.rounds import Round, resumed

Choose = Callable[[Collection[str]], Sequence[Pick]]  # ids answered before -> the posts of a new round


@dataclass(frozen=True, slots=True)
class Asked:
    """One post as it is shown: no guess, no author."""

    id: str
    text: str
    language: str
    services: tuple[str, ...]
    alike: int
    number: int  # its place in the round, from 1
    of: int


@dataclass(frozen=True, slots=True)
class Told:
    """What is shown once an answer was given."""

    text: str
    label: str
    guess: str
    probability: float
    chatter: float
    answered: int
    same_label: int
    same_question: int


class Desk:
    """The rounds of all labellers over one file of answers. `choose` may take seconds; only one thread waits for it."""

    def __init__(self, file: LabelFile, choose: Choose, known: Collection[str], clock: Callable[[], datetime]) -> None:
        self._file = file
        self._choose = choose
        self._known = frozenset(known)
        self._clock = clock
        self._rounds: dict[str, Round] = {}
        self._last: dict[str, Label] = {}
        self._turn = Lock()

    def asked(self, by: str) -> Asked | None:
        """The post to ask this labeller about; None when the round is over or there are no posts."""
        with self._turn:
            round_ = self._round(by)
            pick = round_.current
            if pick is None:
                return None
            one = pick.candidate
            number = round_.done + 1
            return Asked(one.id, one.text, one.language, one.named, one.alike, number, len(round_.picks))

    def answer(self, by: str, id: str, label: str, symptom: str, services: str, note: str) -> None:
        """Keep an answer. Raises `InputError` for one that is wrong, or to a post that is no longer asked about."""
        with self._turn:
            round_ = self._at(by, id)
            pick = round_.current
            given = named(services)
            unchanged = pick is not None and given == pick.candidate.named
            answer = Answer(label, symptom or None, None if unchanged else given, note.strip())
            self._last[by] = round_.answer(answer, self._clock())
            round_.save()

    def skip(self, by: str, id: str) -> None:
        """Go on without an answer."""
        with self._turn:
            self._at(by, id).skip()
            self._last.pop(by, None)

    def undo(self, by: str) -> bool:
        """Take the last answer back; False when there is none of this run."""
        with self._turn:
            round_ = self._round(by)
            back = round_.undo()
            self._last.pop(by, None)
            round_.save()
            return back is not None

    def another(self, by: str) -> None:
        """Begin a new round when the last is over."""
        with self._turn:
            if self._round(by).current is None:
                del self._rounds[by]

    def told(self, by: str) -> Told | None:
        """The last answer beside the model's guess; None after a skip, an undo, or before any answer."""
        with self._turn:
            label = self._last.get(by)
            if label is None:
                return None
            tally = self._rounds[by].tally()
            sure, chatter = label.probability or 0.0, label.chatter or 0.0
            counts = tally.answered, tally.same_label, tally.same_question
            return Told(label.text, label.label, label.guess, sure, chatter, *counts)

    def _at(self, by: str, id: str) -> Round:
        round_ = self._round(by)
        if round_.current is None or round_.current.candidate.id != id:
            raise InputError("this post was answered or skipped already")
        return round_

    def _round(self, by: str) -> Round:
        if by not in self._rounds:
            made = resumed(self._file, by, self._known)
            if made is None or made.current is None:
                done = {label.id for label in self._file.labels() if label.by == by}
                made = Round(by, self._choose(done), self._file, self._known)
                made.save()
            self._rounds[by] = made
        return self._rounds[by]
