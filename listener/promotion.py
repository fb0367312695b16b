"""Puts a candidate model in force and, if need be, the one before back: checked, written down, and all at once.

The folder in force (`models/current`) is exchanged for a finished copy in one step of the file system, so that whoever reads it
finds the old model or the new one, also when we are killed on the way; the next call clears up what was left. Beside it stay the
models before (`previous-<digest>`) and `history.jsonl`. A running daemon notices by itself (`listener.takeover`).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from listener.classify.classifier import Classifier
from listener.classify.folder import BESIDE, FILES, digest_at
from listener.classify.modelfile import Meta
from listener.datafile import bytes_of, decoded
from listener.errors import InputError, ListenerError, ModelError
from listener.floors import Floors, falls, in_short
from listener.text.language import Identifier

RECORD, HISTORY = "promotion.json", "history.jsonl"
KEPT = 5  # models before the one in force that are kept

_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of renameat2(2)

Step = Callable[[str], None]


class Record(msgspec.Struct, frozen=True):
    """One line of `history.jsonl`, and `promotion.json` in the folder it put in force."""

    at: datetime
    who: str
    did: str  # "promoted" or "rolled_back"
    folder: str
    model: str  # digests of the model now in force and of the one before, empty when there was none
    previous: str
    data: str  # digest of the posts it learnt from
    forced: bool = False
    reason: str = ""
    below: tuple[str, ...] = ()  # the floors it fell below, when it was forced


def promote(
    candidate: Path,
    to: Path,
    *,
    floors: Path,
    at: datetime,
    who: str,
    force: bool = False,
    reason: str = "",
    step: Step = lambda name: None,
) -> Record:
    """Put `candidate` in force at `to`. `step` is told of each thing done.

    Raises `ModelError` when its files are not whole, `ListenerError` when it falls below `floors` and is not forced, or is in
    force already; `InputError` when it is forced without a reason.
    """
    if force and not reason.strip():
        raise InputError("--force: say why with --reason; it is written into the history")
    with _alone(to), _copy(candidate, to) as staged:
        meta = _checked(staged, candidate)
        below = falls(meta.scores, decoded(bytes_of(floors), Floors, floors))
        if below and not force:
            told = "\n  ".join(
                [*in_short(below), "nothing was changed; --force --reason WORDS puts it in force all the same"]
            )
            raise ListenerError(f"{candidate} is refused, {len(below)} figures fall below {floors}:\n  {told}")
        model, previous = digest_at(staged), digest_at(to)
        if model == previous:
            raise ListenerError(f"{candidate}: this model is in force at {to} already")
        step("checked")
        forced = force and bool(below)
        record = Record(at, who, "promoted", to.name, model, previous, meta.data, forced, reason, tuple(below))
        _put(staged, to, record, step)
        return record


def rollback(
    to: Path, *, wanted: str = "", at: datetime, who: str, reason: str = "", step: Step = lambda name: None
) -> Record:
    """Put the model before the one in force back, or a kept one whose digest begins with `wanted`.

    The floors are not asked. Raises `ListenerError` when there is none, `ModelError` when it is not whole any more.
    """
    with _alone(to):
        settle(to)
        in_force = digest_at(to)
        if not wanted:
            record = record_at(to)
            if record is None or not record.previous:
                raise ListenerError(f"{to}: nothing was promoted here, so there is nothing to go back to")
            wanted = record.previous
        found = [path for path in kept(to) if _bare(digest_at(path)).startswith(_bare(wanted))]
        if len(found) != 1:
            have = ", ".join(digest_at(path)[:19] for path in kept(to)) or "none"
            raise ListenerError(f"{to}: {len(found)} kept models have the digest {wanted[:19]} (kept: {have})")
        with _copy(found[0], to) as staged:
            meta = _checked(staged, found[0])
            step("checked")
            record = Record(at, who, "rolled_back", to.name, digest_at(staged), in_force, meta.data, reason=reason)
            _put(staged, to, record, step)
        return record


def kept(to: Path) -> list[Path]:
    """The models that were in force at `to` before, the latest first."""
    return sorted(to.parent.glob("previous-*"), key=lambda path: (-path.stat().st_mtime_ns, path.name))


def record_at(folder: Path) -> Record | None:
    """How the model in a folder came into force; None when nobody promoted it."""
    path = folder / RECORD
    return decoded(bytes_of(path), Record, path) if path.is_file() else None


def settle(to: Path) -> None:
    """Finish what a killed promotion left: keep the model before, write the history, throw unfinished copies away."""
    staged, record = _staged(to), record_at(to) if to.is_dir() else None
    if _is_there(staged):
        if record is not None and record.previous and digest_at(staged) == record.previous:
            _keep(staged, to, record.previous)
        else:
            _remove(staged)
    _remove(_waste(to))
    if record is not None:
        _write_down(record, to)


@contextlib.contextmanager
def _copy(folder: Path, to: Path) -> Iterator[Path]:
    """The model of `folder` beside `to`; what is checked is this copy, so that nobody can write to it in between."""
    settle(to)
    staged = _staged(to)
    try:
        staged.mkdir()
        for name in (*FILES, *(name for name in BESIDE if (folder / name).is_file())):
            if not (folder / name).is_file():
                raise ModelError(f"{folder / name}: no such file, so there is no whole model here")
            _write(staged / name, (folder / name).read_bytes())
        yield staged
    except ListenerError:
        _remove(staged)
        raise


def _put(staged: Path, to: Path, record: Record, step: Step) -> None:
    _write(staged / RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    _sync(staged)
    step("staged")
    if _is_there(to):
        exchange(staged, to)
    else:
        staged.rename(to)
    _sync(to.parent)
    step("exchanged")
    if _is_there(staged):
        _keep(staged, to, record.previous)
    step("kept")
    _write_down(record, to)
    step("written")
    for old in [path for path in kept(to) if digest_at(path) == record.model] + kept(to)[KEPT:]:
        if _is_there(old):
            old.rename(_waste(to))
            _remove(_waste(to))


def exchange(one: Path, other: Path) -> None:
    """Let two folders of one file system change places, at once. Raises `ListenerError` where that can't be done."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise ListenerError("this system has no renameat2(2), with which two folders change places at once (Linux has)")
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        why = os.strerror(ctypes.get_errno())
        raise ListenerError(f"{other}: this file system can't exchange folders ({why}); keep models on a local one")


def _checked(staged: Path, folder: Path) -> Meta:
    """Load everything as the daemon will. What is wrong is told of `folder`, of which this is a copy."""
    try:
        Identifier.load(staged)
        return Classifier.load(staged).meta
    except ModelError as error:
        raise ModelError(str(error).replace(str(staged), str(folder))) from error


def _keep(staged: Path, to: Path, digest: str) -> None:
    place = to.with_name(f"previous-{_bare(digest)[:12] or 'broken'}")
    if _is_there(place):
        _remove(staged)
    else:
        staged.rename(place)
        os.utime(place)  # the order in which models left is the order of these times
    _sync(to.parent)


def _write_down(record: Record, to: Path) -> None:
    """Add to the history what is not in it yet. A line that was torn by a crash is ended first."""
    path = to.with_name(HISTORY)
    line = msgspec.json.encode(record)
    before = path.read_bytes() if path.is_file() else b""
    if line not in before.splitlines():
        with path.open("ab") as file:
            file.write((b"" if before.endswith(b"\n") or not before else b"\n") + line + b"\n")
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def _alone(to: Path) -> Iterator[None]:
    """One promotion at a time. Failures of the file system become one line."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(to.with_name(f".{to.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)
    except BlockingIOError as error:
        raise ListenerError(f"{to}: another promotion is going on") from error
    except OSError as error:
        raise ListenerError(f"{error.filename or to}: {error.strerror}") from error


def _staged(to: Path) -> Path:
    return to.with_name(f".{to.name}.staged")


def _waste(to: Path) -> Path:
    return to.with_name(f".{to.name}.waste")


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _is_there(path: Path) -> bool:
    return os.path.lexists(path)


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _write(path: Path, raw: bytes) -> None:
    with path.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def told(record: Record) -> Mapping[str, Any]:
    """The record as plain values, for one line of JSON."""
    made: dict[str, Any] = msgspec.to_builtins(record)
    return made
