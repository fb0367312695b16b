"""A model's folder from outside: its files, whether they are still the same ones, and the digest they would have."""

from __future__ import annotations

from pathlib import Path

from listener.classify.modelfile import ARRAYS, META, MODEL, SENSES
from listener.datafile import digest_of

FILES = (MODEL, SENSES, ARRAYS, META, "language.json", "language.npz")  # the last two are `listener.text.language`'s
BESIDE = ("unseen.npz", "README.md")  # no part of what judges, but belongs to it

Stamp = tuple[tuple[int, int, int], ...]


def digest_at(folder: Path) -> str:
    """The digest of a model's files as they are, whole or not; empty when one is missing."""
    try:
        return digest_of(b"".join((folder / name).read_bytes() for name in (MODEL, SENSES, ARRAYS)))
    except FileNotFoundError:
        return ""


def stamp_of(folder: Path) -> Stamp | None:
    """Inode, time and size of every file: changes when one is replaced or written to. None when one can't be seen."""
    try:
        found = [(folder / name).stat() for name in FILES]
    except OSError:
        return None
    return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
