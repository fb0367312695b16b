"""What a model said of its own training posts while it had not seen them, kept beside it as `unseen.npz` for fair comparisons.

Every post was judged by a model of cross-validation that saw neither it nor its group. The file holds ids, a fingerprint
of each text, the label given by people and the decisions made; no text.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from listener.classify import modelfile
from listener.classify.modelfile import META, UNSEEN
from listener.datafile import Arrays, Shapes, bytes_of, decoded, digest_of, packed, unpacked
from listener.errors import ModelError
from listener.training.dataset import Labelled
from listener.types import LABELS, Floats

_MOST = 65_535  # a probability is kept as a whole number up to this: cuts at one half stay exact


@dataclass(frozen=True)
class Decisions:
    """A row a post. `group` numbers posts that are not independent of one another: copies, and posts of one author."""

    ids: tuple[str, ...]
    text: NDArray[np.uint64]  # fingerprints
    language: NDArray[np.str_]
    label: NDArray[np.intp]  # given by people, as a place in `LABELS`
    group: NDArray[np.intp]
    said: NDArray[np.intp]  # the likeliest label
    chatter: Floats  # its probability on a mix like the training posts
    live: Floats  # the same behind the gate and with the shift for a stream, as the daemon decides

    def __len__(self) -> int:
        return len(self.ids)


def fingerprint(text: str) -> int:
    """The same for texts that differ in case, spaces and signs only; not made by our own normalising, which may change.

    >>> fingerprint("Instagram açılmadı!!") == fingerprint("INSTAGRAM  AÇILMADI") == fingerprint("İnstagram açılmadı")
    True
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("ı", "i")
    bare = "".join(char for char in folded if char.isalnum()) or text
    return int.from_bytes(hashlib.sha256(bare.encode()).digest()[:8], "little")


def decisions_of(
    rows: Sequence[Labelled], group: Sequence[int], said: NDArray[np.intp], chatter: Floats, live: Floats
) -> Decisions:
    return Decisions(
        ids=tuple(row.row.id.replace("\n", " ") for row in rows),
        text=np.array([fingerprint(row.row.text) for row in rows], np.uint64),
        language=np.array([row.language for row in rows]),
        label=np.array([LABELS.index(row.row.label) for row in rows], np.intp),
        group=np.array(group, np.intp),
        said=said,
        chatter=chatter,
        live=live,
    )


def packed_with(made: Decisions) -> tuple[bytes, modelfile.Unseen]:
    """The file, and what `meta.json` says of it."""
    ids = "\n".join(made.ids).encode()
    codes = tuple(sorted(set(made.language.tolist())))
    raw = packed(
        {
            "ids": np.frombuffer(ids, np.uint8),
            "text": made.text.astype("<u8"),
            "language": np.searchsorted(codes, made.language).astype("u1"),
            "label": made.label.astype("u1"),
            "group": made.group.astype("<u4"),
            "said": made.said.astype("u1"),
            "chatter": np.rint(made.chatter * _MOST).astype("<u2"),
            "live": np.rint(made.live * _MOST).astype("<u2"),
        }
    )
    return raw, modelfile.Unseen(digest_of(raw), len(made), len(ids), codes)


def load(folder: Path) -> Decisions:
    """The decisions kept beside a model. Raises `ModelError` when there are none or they are not as `meta.json` says."""
    modelfile.check_there(folder)
    meta = decoded(bytes_of(folder / META), modelfile.Meta, folder / META)
    kept, path = meta.unseen, folder / UNSEEN
    if kept is None:
        raise ModelError(
            f"{folder}: does not say what it was trained on and judged unseen (no {UNSEEN}), so no comparison with it"
            f" would be fair; train it again with this program"
        )
    raw = bytes_of(path)
    if digest_of(raw) != kept.digest:
        raise ModelError(f"{path}: its content is not what {META} says (sha256 differs)")
    count = (kept.posts,)
    shapes: Shapes = {
        "ids": ((kept.id_bytes,), np.dtype("u1")),
        "text": (count, np.dtype("<u8")),
        "language": (count, np.dtype("u1")),
        "label": (count, np.dtype("u1")),
        "group": (count, np.dtype("<u4")),
        "said": (count, np.dtype("u1")),
        "chatter": (count, np.dtype("<u2")),
        "live": (count, np.dtype("<u2")),
    }
    return _decisions(unpacked(raw, shapes, path), kept, path)


def _decisions(arrays: Arrays, kept: modelfile.Unseen, path: Path) -> Decisions:
    ids = arrays["ids"].tobytes().decode(errors="replace").split("\n") if kept.id_bytes else []
    outside = [arrays[name] >= len(LABELS) for name in ("label", "said")] + [arrays["language"] >= len(kept.languages)]
    if not 0 < kept.posts == len(ids) or any(wrong.any() for wrong in outside):
        raise ModelError(f"{path}: not as `listener train` writes it")
    return Decisions(
        ids=tuple(ids),
        text=arrays["text"],
        language=np.array(kept.languages)[arrays["language"]],
        label=arrays["label"].astype(np.intp),
        group=arrays["group"].astype(np.intp),
        said=arrays["said"].astype(np.intp),
        chatter=arrays["chatter"] / _MOST,
        live=arrays["live"] / _MOST,
    )
