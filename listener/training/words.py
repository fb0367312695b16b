"""Reads the tables of word senses in `data/words` and folds them for the model."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from listener.classify.senses import NOT, SHORTEST_STEM, Forms, Tables
from listener.errors import InputError
from listener.text.normalize import skeleton

INVENTORY = "senses.tsv"


def load(folder: Path) -> Tables:
    """All tables under a folder; a folder that is not there has none. Raises `InputError` that names file and line."""
    if not folder.is_dir():
        return Tables((NOT,), {})
    names = {name for _, name, _ in _lines(folder / INVENTORY)}
    ordered = (NOT, *sorted(names - {NOT}))
    paths = sorted(path for path in folder.glob("*.tsv") if path.name != INVENTORY)
    return Tables(ordered, {path.stem: _forms(path, names) for path in paths})


def _lines(path: Path) -> list[tuple[str, str, str]]:
    """Where, sense and the rest, of each line that is no comment."""
    made = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            sense, tab, rest = line.partition("\t")
            if not tab or "\t" in rest:
                raise InputError(f"{path}:{number}: needs a sense, one tab, and the rest")
            made.append((f"{path}:{number}", sense, rest))
    return made


def _forms(path: Path, names: set[str]) -> Forms:
    found: tuple[dict[str, set[str]], ...] = tuple(defaultdict(set) for _ in range(4))
    for where, cell, forms in _lines(path):
        senses = cell.split("+")
        if wrong := [sense for sense in senses if sense not in names]:
            raise InputError(f"{where}: no sense {wrong[0]!r} in {INVENTORY}")
        for form in forms.split():
            folded = skeleton(form.strip("*"))
            stem = form.endswith("*") and not form.startswith("*")
            if not folded or " " in folded or (stem and len(folded) < SHORTEST_STEM):
                raise InputError(f"{where}: {form!r} is no single word, or too short a stem")
            kind = 3 if form.startswith("*") and form.endswith("*") else 2 if form.startswith("*") else int(stem)
            found[kind][folded].update(senses)
    return Forms(*(_by_senses(kind) for kind in found))


def _by_senses(kind: dict[str, set[str]]) -> dict[str, str]:
    made: dict[str, list[str]] = defaultdict(list)
    for form in sorted(kind):
        made["+".join(sorted(kind[form]))].append(form)
    return {senses: " ".join(made[senses]) for senses in sorted(made)}
