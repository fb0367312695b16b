"""Answers kept as JSON Lines: each is on the disk before the next question, and a killed program leaves whole lines only."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from listener.errors import InputError, ListenerError
from listener.types import CHATTER, LABELS, SYMPTOMS

BY_LENGTH = 60  # characters of a labeller's name
NOTE_LENGTH = 500
_SERVICE = re.compile(r"[a-z0-9][a-z0-9-]*")


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. It holds no author; `text` is masked, and `id` is a digest unless the post came from the analyst's own file."""

    id: str
    text: str
    label: str
    symptom: str | None = None
    services: tuple[str, ...] = ()
    language: str = "und"
    by: str = ""
    at: str = ""  # when it was given, RFC 3339 in UTC
    model: str = ""  # digest of the model whose guess follows
    guess: str = ""  # its likeliest label
    probability: float | None = None  # of that label
    chatter: float | None = None  # probability that the post is chatter
    picked: str = ""  # how the post was chosen: `audit` = by lot
    alike: int = 1  # posts of the pool that said the same
    note: str = ""


def wrong(label: Label) -> str:
    """What is wrong with an answer, in words; empty when nothing is."""
    if label.label not in LABELS:
        return f"no label {label.label!r} (have: {', '.join(LABELS)})"
    if label.symptom is not None and label.symptom not in SYMPTOMS:
        return f"no symptom {label.symptom!r} (have: {', '.join(SYMPTOMS)})"
    if label.symptom is not None and label.label not in CHATTER:
        return f"a {label.label!r} post has no symptom"
    if bad := [service for service in label.services if not _SERVICE.fullmatch(service)]:
        return f"service {bad[0]!r} is not lower-case-with-dashes"
    if not label.id or not label.text.strip():
        return "id and text must not be empty"
    if len(label.by) > BY_LENGTH:
        return f"the labeller's name has more than {BY_LENGTH} characters"
    if len(label.note) > NOTE_LENGTH:
        return f"the note has more than {NOTE_LENGTH} characters"
    return ""


def parsed(raw: bytes, where: str) -> list[Label]:
    """The answers in a file's bytes. Raises `InputError` that names the line; a last line without an end is no answer."""
    made = []
    for number, line in enumerate(raw.split(b"\n")[:-1], 1):
        if not line.strip():
            continue
        try:
            label = msgspec.json.decode(line, type=Label)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{where}:{number}: {error}") from error
        if problem := wrong(label):
            raise InputError(f"{where}:{number}: {problem}")
        made.append(label)
    return made


def load(path: Path) -> list[Label]:
    """The answers of a file, in order. Raises `InputError` when it can't be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    return parsed(raw if raw.endswith(b"\n") or not raw else raw + b"\n", str(path))


def encoded(labels: Sequence[Label]) -> bytes:
    return b"".join(msgspec.json.encode(label) + b"\n" for label in labels)


class LabelFile:
    """A file of answers that grows. Several programs may write to one: each holds a lock for as long as a line takes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def labels(self) -> list[Label]:
        """What stands in the file now; none when it is not there yet."""
        with self._locked(write=False) as descriptor:
            return parsed(_all(descriptor), str(self.path)) if descriptor is not None else []

    def append(self, label: Label) -> None:
        """Add an answer. When this returns it is on the disk."""
        if problem := wrong(label):
            raise InputError(problem)
        with self._locked(write=True) as descriptor:
            assert descriptor is not None
            whole = _all(descriptor).rfind(b"\n") + 1  # what a killed program left half-written goes
            os.ftruncate(descriptor, whole)
            os.pwrite(descriptor, encoded([label]), whole)
            os.fsync(descriptor)

    def take_back(self, label: Label) -> None:
        """Remove an answer given before. Raises `ListenerError` when somebody has written to the file since."""
        with self._locked(write=True) as descriptor:
            assert descriptor is not None
            raw, line = _all(descriptor), encoded([label])
            if not raw.endswith(line):
                raise ListenerError(f"{self.path}: somebody else has written since; the answer stays")
            os.ftruncate(descriptor, len(raw) - len(line))
            os.fsync(descriptor)

    @contextmanager
    def _locked(self, *, write: bool) -> Iterator[int | None]:
        try:
            if not write and not self.path.exists():
                yield None
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            is_new = not self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT if write else os.O_RDONLY, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX if write else fcntl.LOCK_SH)
                yield descriptor
                if is_new:
                    _sync_folder(self.path.parent)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ListenerError(f"{self.path}: {error.strerror or error}") from error


def _all(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _sync_folder(folder: Path) -> None:
    """A new file's name is on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
