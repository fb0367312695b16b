"""A round of posts to label: what is left of it, answers, undo, skips. It lies beside the answers and can be resumed."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from listener.errors import InputError, ListenerError
from listener.labelling.answers import Answer
from listener.labelling.candidates import Pick
from listener.labelling.records import Label, LabelFile
from listener.labelling.select import AUDIT
from listener.types import CHATTER, UNNAMED


class Kept(msgspec.Struct):
    """The file of a round: the posts chosen, and the ids of those skipped."""

    by: str
    picks: list[Pick]
    skipped: list[str] = []


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a labeller and the model agree."""

    answered: int = 0
    same_label: int = 0
    same_question: int = 0  # both say chatter, or both say not
    audit: int = 0  # answered posts that were drawn by lot
    audit_same_question: int = 0


@dataclass
class Round:
    """One labeller's way through the posts chosen. Every answer is on the disk when `answer` returns."""

    by: str
    picks: Sequence[Pick]
    file: LabelFile
    known: frozenset[str]  # services there are

    def __post_init__(self) -> None:
        self._skipped: list[str] = []
        self._given: list[Label] = []  # in this run, for undo
        ids = {pick.candidate.id for pick in self.picks}
        self._answers = {label.id: label for label in self.file.labels() if label.by == self.by and label.id in ids}

    @property
    def path(self) -> Path:
        """Where a round of this labeller is kept."""
        return round_path(self.file.path, self.by)

    @property
    def current(self) -> Pick | None:
        """The post to ask about; None when the round is over."""
        for pick in self.picks:
            if pick.candidate.id not in self._answers and pick.candidate.id not in self._skipped:
                return pick
        return None

    @property
    def done(self) -> int:
        """Posts answered or skipped."""
        return len(self._answers) + len(self._skipped)

    def answer(self, given: Answer, at: datetime) -> Label:
        """Keep an answer to the current post. Raises `InputError` for a service that nobody knows."""
        pick = self.current
        assert pick is not None, "the round is over"
        label = label_of(pick, given, self.by, at, self.known)
        self.file.append(label)
        self._given.append(label)
        self._answers[label.id] = label
        return label

    def skip(self) -> None:
        """Go on without an answer to the current post."""
        pick = self.current
        assert pick is not None, "the round is over"
        self._skipped.append(pick.candidate.id)
        self.save()

    def undo(self) -> Label | None:
        """Take back the last answer of this run, so that its post is asked again; None when there is none."""
        if not self._given:
            return None
        label = self._given[-1]
        self.file.take_back(label)
        self._given.pop()
        del self._answers[label.id]
        return label

    def tally(self) -> Tally:
        """How far the answers of this round agree with the model shown."""
        return tally(list(self._answers.values()))

    def save(self) -> None:
        """Write the round down, or take it away when it is over."""
        try:
            if self.current is None:
                self.path.unlink(missing_ok=True)
                return
            kept = msgspec.json.encode(Kept(self.by, list(self.picks), self._skipped))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_name(self.path.name + ".new")
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(kept)
                handle.flush()
                os.fsync(descriptor)
            fresh.replace(self.path)
        except OSError as error:
            raise ListenerError(f"{self.path}: {error.strerror or error}") from error


def round_path(labels: Path, by: str) -> Path:
    """Where a labeller's round is kept, beside the file of answers.

    >>> round_path(Path("mine/labels.jsonl"), "Ana P.").as_posix()
    'mine/labels.jsonl.Ana_P_.round'
    """
    name = re.sub(r"[^\w-]", "_", by)
    return labels.with_name(f"{labels.name}.{name}.round")


def resumed(file: LabelFile, by: str, known: Collection[str]) -> Round | None:
    """The round that was left unfinished; None when there is none of this labeller. Raises `InputError` when it can't be read."""
    path = round_path(file.path, by)
    if not path.exists():
        return None
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}; delete it to begin a new round") from error
    if kept.by != by:
        return None
    made = Round(by, kept.picks, file, frozenset(known))
    made._skipped = kept.skipped
    return made


def label_of(pick: Pick, given: Answer, by: str, at: datetime, known: Collection[str]) -> Label:
    """An answer with everything that is kept of it. Raises `InputError` for a service that nobody knows."""
    one = pick.candidate
    services = one.named if given.services is None else given.services
    if not services and given.label in CHATTER:  # as the labelling guide has it: chatter is always about some service
        services = (one.services if given.services is None else ()) or (UNNAMED,)
    if strange := [service for service in given.services or () if service not in known]:
        raise InputError(f"no service {strange[0]!r}; ids are the file names in data/services, or 'unnamed'")
    return Label(
        id=one.id,
        text=one.text,
        label=given.label,
        symptom=given.symptom,
        services=services,
        language=one.language,
        by=by,
        at=at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        model=one.model,
        guess=one.guess,
        probability=round(max(one.probabilities), 4),
        chatter=round(sum(one.probabilities[:4]), 4),
        picked=pick.picked,
        alike=one.alike,
        note=given.note,
    )


def tally(labels: Sequence[Label]) -> Tally:
    """Count agreement over answers that show a guess."""
    shown = [label for label in labels if label.chatter is not None]
    audit = [label for label in shown if label.picked == AUDIT]
    return Tally(
        answered=len(labels),
        same_label=sum(label.label == label.guess for label in shown),
        same_question=sum(map(same_question, shown)),
        audit=len(audit),
        audit_same_question=sum(map(same_question, audit)),
    )


def same_question(label: Label) -> bool:
    """Whether labeller and model give the same answer to the question that matters: is it chatter?"""
    return (label.label in CHATTER) == ((label.chatter or 0.0) >= 0.5)
