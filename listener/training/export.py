"""The model as scikit-learn estimators in a joblib file, for notebooks only.

A joblib file is a pickle: who loads it runs whatever code is in it. So nothing in `listener` loads one by itself, the daemon
never, and `load` asks for an explicit word of trust before it opens the file.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listener.classify.classifier import Classifier
from listener.datafile import digest_of
from listener.errors import InputError, ModelError
from listener.text.language import Identifier


@dataclass(frozen=True)
class Exported:
    """`labels` is a fitted scikit-learn pipeline over readings (see `listener.training.dataset.read`, which needs `language`).

    Its probabilities are those on a mix like the training posts: without the gate and the shift that serving adds.
    """

    model: str  # digest of the model it was made from
    labels: Any
    language: Identifier
    versions: dict[str, str]


def dump(folder: Path, to: Path) -> str:
    """Write the model in `folder` to a joblib file and return the file's digest."""
    import joblib

    classifier = Classifier.load(folder)
    made = Exported(classifier.digest, classifier.to_sklearn(), Identifier.load(folder), classifier.meta.versions)
    try:
        joblib.dump(made, to, compress=3)
        return digest_of(to.read_bytes())
    except OSError as error:
        raise InputError(f"{to}: {error.strerror or error}") from error


def load(path: Path, *, trust: bool = False, digest: str = "") -> Exported:
    """What `dump` wrote. Loading runs code from the file: say `trust=True` only for a file you made or whose maker you trust.

    `digest`, as `listener train --export-joblib` prints it, makes sure that it is that very file. Without trust, or when the
    digest differs, it is refused with an `InputError` before anything of it is unpickled.
    """
    if trust is not True:
        raise InputError(f"{path}: loading a joblib file runs the code in it; say trust=True if you trust who made it")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if digest and digest_of(raw) != digest:
        raise InputError(f"{path}: not the file that was meant (sha256 differs); nothing of it was loaded")
    return _unpickled(raw, path)


def _unpickled(raw: bytes, path: Path) -> Exported:
    import io

    import joblib

    try:
        found = joblib.load(io.BytesIO(raw))
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError, IndexError, KeyError) as error:
        raise ModelError(f"{path}: not a file of `listener train --export-joblib`: {error}") from error
    if not isinstance(found, Exported):
        raise ModelError(f"{path}: not a file of `listener train --export-joblib`")
    return found
