"""Answers in the formats of other programs and back: JSON Lines, CSV, Label Studio's JSON, doccano's JSONL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from listener.errors import InputError
from listener.labelling.records import BY_LENGTH, NOTE_LENGTH, Label, encoded, parsed, wrong
from listener.types import CHATTER, LABELS, SYMPTOMS

FORMATS = ("jsonl", "csv", "labelstudio", "doccano")
_COLUMNS = Label.__struct_fields__
_RISKY = ("=", "+", "-", "@", "\t", "\r", "'")  # a spreadsheet takes a cell that begins so for a formula


def written(labels: Sequence[Label], format: str) -> bytes:
    """All of the answers in one of `FORMATS`, UTF-8."""
    if format == "jsonl":
        return encoded(labels)
    if format == "csv":
        return _csv(labels).encode()
    if format == "labelstudio":
        return msgspec.json.format(msgspec.json.encode([_task(label) for label in labels])) + b"\n"
    return b"".join(msgspec.json.encode(_line(label)) + b"\n" for label in labels)


def taken(raw: bytes, format: str, where: str, *, by: str, at: str) -> tuple[list[Label], int]:
    """The answers in a file of another program, and how many of its entries have none.

    `by` and `at` stand in where the file does not say. Raises `InputError` that says which entry is wrong, and how.
    """
    if format == "jsonl":
        return parsed(raw if raw.endswith(b"\n") or not raw else raw + b"\n", where), 0
    try:
        text = raw.decode("utf-8-sig")
        if format == "csv":
            entries: Iterable[tuple[int, dict[str, Any]]] = _from_csv(text)
        elif format == "labelstudio":
            entries = _from_tasks(json.loads(text))
        else:
            entries = _from_lines(text)
        made, without = [], 0
        for number, fields in entries:
            if not fields.get("label"):
                without += 1
                continue
            made.append(_label(fields, f"{where}: entry {number}", by, at))
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(f"{where}: {error}") from error
    return made, without


def _label(fields: dict[str, Any], where: str, by: str, at: str) -> Label:
    known = {name: fields[name] for name in _COLUMNS if fields.get(name) not in (None, "")}
    known.setdefault("by", by)
    known.setdefault("at", at)
    known.setdefault("picked", "imported")
    text = str(known.get("text", ""))
    known["id"] = str(known.get("id") or blake2b(text.encode(), digest_size=8).hexdigest())
    known["by"] = str(known["by"])[:BY_LENGTH]
    known["note"] = str(known.get("note", ""))[:NOTE_LENGTH]
    try:
        label = msgspec.convert(known, Label)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from error
    if problem := wrong(label):
        raise InputError(f"{where}: {problem}")
    return label


def _csv(labels: Sequence[Label]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for label in labels:
        fields = {**msgspec.structs.asdict(label), "services": " ".join(label.services)}
        writer.writerow([_cell(fields[name]) for name in _COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_RISKY) else text


def _from_csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if missing := {"text", "label"} - set(rows.fieldnames or ()):
        raise InputError(f"no column {min(missing)!r} in its first line")
    for number, row in enumerate(rows, 1):
        fields: dict[str, Any] = {name: (value or "").removeprefix("'") for name, value in row.items() if name}
        fields["services"] = tuple(fields.get("services", "").split())
        for name, number_type in (("probability", float), ("chatter", float), ("alike", int)):
            if fields.get(name):
                fields[name] = number_type(fields[name])
        yield number, fields


def _task(label: Label) -> dict[str, Any]:
    """A task with its annotation; the model's guess as a prediction (https://labelstud.io/guide/tasks)."""
    fields = msgspec.structs.asdict(label)
    own = {name: fields.pop(name) for name in ("label", "symptom", "note")}
    result = [_choice("label", label.label)]
    result += [_choice("symptom", label.symptom)] if label.symptom else []
    if label.note:
        result.append({"from_name": "note", "to_name": "text", "type": "textarea", "value": {"text": [own["note"]]}})
    task: dict[str, Any] = {"data": {**fields, "services": list(label.services)}, "annotations": [{"result": result}]}
    if label.guess:
        guess = {"model_version": label.model, "score": label.probability, "result": [_choice("label", label.guess)]}
        task["predictions"] = [guess]
    return task


def _choice(name: str, value: str | None) -> dict[str, Any]:
    return {"from_name": name, "to_name": "text", "type": "choices", "value": {"choices": [value]}}


def _from_tasks(tasks: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError("not a list of tasks, as Label Studio's JSON export is")
    for number, task in enumerate(tasks, 1):
        data: dict[str, Any] = task["data"] if isinstance(task.get("data"), dict) else {}
        given = [a for a in _listed(task, "annotations", number) if isinstance(a, dict) and not a.get("was_cancelled")]
        if not given:
            yield number, {}
        for annotation in given:
            yield (
                number,
                {**data, **_signed(data, annotation), **_results(_listed(annotation, "result", number), number)},
            )


def _listed(fields: dict[str, Any], name: str, number: int) -> list[Any]:
    found = fields.get(name) or []
    if not isinstance(found, list):
        raise InputError(f"entry {number}: {name} is not a list")
    return found


def _signed(data: dict[str, Any], annotation: dict[str, Any]) -> dict[str, Any]:
    """Who and when: as we wrote it, else as Label Studio says."""
    who = annotation.get("completed_by")
    if isinstance(who, dict):
        who = who.get("id")  # never the address
    found = {"by": f"labelstudio-{who}" if who else "", "at": annotation.get("created_at") or ""}
    return {name: value for name, value in found.items() if value and not data.get(name)}


def _results(results: Iterable[Any], number: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for result in results:
        value = result.get("value") if isinstance(result, dict) else None
        if not isinstance(value, dict):
            continue
        for choice in _listed(value, "choices", number):
            if choice in LABELS:
                made["label"] = choice
            elif choice in SYMPTOMS:
                made["symptom"] = choice
            else:
                raise InputError(f"entry {number}: {choice!r} is no label and no symptom of ours")
        if value.get("text"):
            made["note"] = " ".join(map(str, value["text"])) if isinstance(value["text"], list) else str(value["text"])
    if made.get("label") not in CHATTER:
        made.pop("symptom", None)
    return made


def _line(label: Label) -> dict[str, Any]:
    """doccano numbers posts by itself, so that ours is called `post`; what it does not know it keeps as metadata."""
    fields = msgspec.structs.asdict(label)
    return {"text": label.text, "label": [label.label], "post": fields.pop("id")} | {
        name: value for name, value in fields.items() if name not in ("text", "label")
    }


def _from_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise InputError(f"entry {number}: not an object")
        if isinstance(fields.get("meta"), dict):
            fields = {**fields["meta"], **fields}
        name = next((name for name in ("label", "labels", "category") if name in fields), "label")
        said = [fields[name]] if isinstance(fields.get(name), str) else _listed(fields, name, number)
        if len(said) > 1:
            raise InputError(f"entry {number}: {len(said)} labels; a post has exactly one")
        yield number, {**fields, "id": fields.get("post", fields.get("id")), "label": said[0] if said else ""}
