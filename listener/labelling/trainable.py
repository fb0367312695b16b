"""Answers as training material: `<language>.jsonl` files that `listener train --data` reads and whose checks they pass."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from listener.catalog import Catalog
from listener.errors import InputError, ListenerError
from listener.labelling.records import Label
from listener.training import dataset
from listener.training.dataset import Labelled, Row

_OURS = "label-"  # begins the id of a row made of an answer


@dataclass
class Merged:
    """What became of the answers."""

    added: Counter[str] = field(default_factory=Counter)  # posts by language
    left_out: Counter[str] = field(default_factory=Counter)  # posts by reason


def settled(labels: Sequence[Label]) -> tuple[list[Label], int]:
    """One answer a post: that of most labellers (each one's last counts), and the number of posts where none has most."""
    last: dict[str, dict[str, Label]] = defaultdict(dict)
    for label in labels:
        last[label.id][label.by] = label
    made, undecided = [], 0
    for answers in last.values():
        votes = Counter(answer.label for answer in answers.values()).most_common()
        if len(votes) > 1 and votes[0][1] == votes[1][1]:
            undecided += 1
            continue
        agreeing = [answer for answer in answers.values() if answer.label == votes[0][0]]
        symptom = Counter(answer.symptom for answer in agreeing).most_common(1)[0][0]
        made.append(msgspec.structs.replace(agreeing[0], symptom=symptom))
    return made, undecided


def merge(labels: Sequence[Label], folder: Path, catalog: Catalog, language: str = "") -> Merged:
    """Add the answers to `<language>.jsonl` under `folder`, which is made if need be; an answer given anew replaces its row.

    Left out is what the checks of `training.dataset` refuse beside the rows there are: near-copies, templates, a foreign
    script. So are posts on which labellers differ, and those in no known language unless `language` says which. Raises
    `InputError` when a file there can't be read, `ListenerError` when one can't be written.
    """
    if language and language not in catalog.languages:
        raise InputError(f"--language: no language {language!r} (have: {', '.join(sorted(catalog.languages))})")
    done = Merged()
    answers, done.left_out["labellers differ"] = settled(labels)
    rows = [_row(answer, language, n) for n, answer in enumerate(answers)]
    known = [row for row in rows if row.language in catalog.languages]
    done.left_out["language unknown"] = len(rows) - len(known)
    fresh = {row.row.id for row in known}
    old = dataset.load(folder) if any(folder.glob("*.jsonl")) else []
    kept = [row for row in old if row.row.id not in fresh]
    while refused := _refused([*kept, *known], catalog):
        ours = [row for row in known if row.where in refused]
        if not ours:
            break
        done.left_out["near-copy, template or foreign script"] += len(ours)
        known = [row for row in known if row.where not in refused]
    _write(folder, [*kept, *known], {row.language for row in [*old, *known]})
    done.added.update(row.language for row in known)
    done.left_out = +done.left_out
    return done


def _row(label: Label, language: str, number: int) -> Labelled:
    row = Row(
        id=_OURS + label.id,
        text=label.text,
        label=label.label,
        symptom=label.symptom,
        services=label.services,
        notes=label.note,
    )
    code = label.language if label.language != "und" else language
    return Labelled(row, code, f"answer {number}")


def _refused(rows: Sequence[Labelled], catalog: Catalog) -> set[str]:
    """Where the rows stand that the checks name."""
    return {remark.rpartition(": ")[0].partition(": ")[0] for remark in dataset.check(rows, catalog)}


def _write(folder: Path, rows: Sequence[Labelled], languages: set[str]) -> None:
    lines: Mapping[str, list[bytes]] = {code: [] for code in languages}
    for row in rows:
        fields = {name: getattr(row.row, name) for name in Row.__struct_fields__ if name != "author" or row.row.author}
        lines[row.language].append(msgspec.json.encode(fields) + b"\n")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for code, content in lines.items():
            path = folder / f"{code}.jsonl"
            made = path.with_suffix(".new")
            made.write_bytes(b"".join(content))
            made.replace(path)
    except OSError as error:
        raise ListenerError(f"{folder}: {error.strerror or error}") from error
