"""The model card: what a model is for, what it can't do and how good it is, in Markdown, from `meta.json` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from listener.classify.modelfile import Meta
from listener.errors import InputError, ModelError
from listener.types import CHATTER, LABELS, SYMPTOMS

NAME = "README.md"
BEGIN, END = "<!-- figures: written by `listener card --into` -->", "<!-- end of figures -->"

Scores = Mapping[str, Any]
Column = tuple[str, Any]  # a heading, and a function from a language's figures to what stands under it


def card(meta: Meta, digest: str) -> str:
    """The card that goes with a model. The same model gives the same bytes."""
    how_good = figures(meta)
    languages = ", ".join(meta.scores["languages"])
    rest = [label for label in LABELS if label not in CHATTER]
    return f"""# Model card

A classifier of short public posts and a language identifier for `listener`, made by `listener train`.

| | |
|---|---|
| model | `{digest}` |
| trained on | {meta.posts:,} labelled posts in {languages}; `{meta.data}` |
| catalog | `{meta.catalog}` |
| seed | {meta.seed} |
| versions | {", ".join(f"{name} {version}" for name, version in meta.versions.items())} |

## What it is for

To tell which posts say that an online service is failing for people **now**.
For each post it gives the probability of {len(LABELS)} labels
({_told(sorted(CHATTER, key=LABELS.index))} are *chatter*; {_told(rest)} are not)
and, of a post that looks like chatter, the symptom: {_told(SYMPTOMS)}.
Its probabilities are summed up over many authors; no single post should raise an alarm.

It is not for judging persons, moods or brands, and not for deciding about a single post without a person.

## What it can't do

- It reads one post without thread, picture or author, and does not know what is true: a convincing lie scores like a report.
- It was made for the languages above; others are scored by what carries over ("left out" shows how much, where measured).
- Sarcasm, terse replies, and trouble with the writer's own device or account are what it gets wrong most.
- The figures are of posts like those it learnt from. Measure on your own with `listener evaluate FILE`.

## How good it is

{how_good}
## Files

`model.json`, `senses.json`, `arrays.npz` and `language.*` are data and can't run code;
`meta.json` holds their digests, these figures, and texts with the answers that a load must get.
`unseen.npz` holds ids and decisions of the training posts, no text, for `listener compare`.
"""


def figures(meta: Meta) -> str:
    """The figures as paragraphs and tables, for this card and for one that people keep.

    Raises `ModelError` when the scores are not those that `listener train` writes.
    """
    try:
        return _figures(meta.scores)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"meta.json: its scores are not those that `listener train` writes ({error!r})") from error


def _figures(scores: Scores) -> str:
    parts = [
        _posts_told(scores),
        _by_language(scores),
        _stream(scores),
        "F1 of each label:\n\n" + _row_table(scores["labels"]),
        "F1 of each symptom:\n\n" + _row_table(scores["symptoms"]),
        _language_right(scores),
    ]
    if "confusion" in scores:
        parts.append(
            "Posts of each label (rows), by the label they were taken for (columns):\n\n"
            + _confusion(scores["confusion"])
        )
    if "useful" in scores:
        parts.append(
            "What helps most, on posts not seen: words and pairs of them as the model sees them\n"
            "(`S` is any service, `P` any place), meanings that languages share (`{a b}`), and findings of the phrases;\n"
            "only what stands in several posts:\n\n" + _useful(scores["useful"])
        )
    return "\n\n".join(parts) + "\n"


def into(text: str, meta: Meta, where: str) -> str:
    """A card kept by people, with the figures between its two marks written anew. Raises `InputError` when it has no marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(
            f"{where}: no place for figures; put these two lines where they should stand: {BEGIN} and {END}"
        )
    return f"{before}{BEGIN}\n\n{figures(meta)}\n{END}{after}"


def _posts_told(scores: Scores) -> str:
    told = [
        f"On {scores['all']['posts']:,} posts that the scoring model had not seen",
        "(cross-validation; near-duplicates and the posts of one author kept together), with 95 % bootstrap intervals.",
    ]
    if "f1_drop_ascii" in scores["all"]:
        told.append("Drops are points of F1 lost when the same posts are typed otherwise.")
    if "f1_drop_unheard_service" in scores["all"]:
        told.append(
            'In "name nobody knows" the service is called by an invented name that neither catalog nor training has.'
        )
    if "f1_drop_unmet_service" in scores["all"]:
        lost = 100 * scores["all"]["f1_drop_unmet_service"]
        told.append(f"A service that the catalog knows and no training post names costs {lost:.1f} points.")
    if "left_out" in scores:
        told.append('"Left out": a model that saw the other languages only, calibrated on them.')
    return "\n".join(told)


def _by_language(scores: Scores) -> str:
    parts = {**scores["languages"], "all": scores["all"]}
    columns: list[Column] = [
        ("posts", lambda f: f"{f['posts']:,}"),
        ("precision", lambda f: f"{f['precision']:.3f}"),
        ("recall", lambda f: f"{f['recall']:.3f}"),
        ("F1 of chatter", lambda f: _with_interval(f, "f1")),
        ("average precision", lambda f: _with_interval(f, "ap")),
        ("macro-F1 of labels", lambda f: f"{f['label_f1']:.3f}"),
        ("calibration error", lambda f: f"{f['ece']:.3f}"),
    ]
    views = {
        "ascii": "ASCII, points",
        "other_alphabet": "other alphabet",
        "one_slip": "one slip",
        "unheard_service": "name nobody knows",
    }
    columns += [
        (told, lambda f, key=f"f1_drop_{name}": f"{100 * f[key]:+.1f}")
        for name, told in views.items()
        if f"f1_drop_{name}" in scores["all"]
    ]
    columns.append(("services found", lambda f: f"{f['services']:.3f}"))
    heads = ["language", *(head for head, _ in columns)]
    rows = [[name, *(cell(found) for _, cell in columns)] for name, found in parts.items()]
    if "left_out" in scores:
        heads.append("F1 when left out")
        for row in rows:
            alone = scores["left_out"].get(row[0])
            row.append(_with_interval(alone, "f1") if alone else "")
    return _table(heads, rows)


def _stream(scores: Scores) -> str:
    gate, live = scores["gate"], scores["live"]
    return (
        f"The gate lets {100 * gate['chatter']:.1f}% of chatter and {100 * gate['rest']:.0f}% of the rest through.\n"
        "Behind it, and with the shift from these posts to a stream,"
        f" F1 is {_with_interval(live, 'f1')} with precision {live['precision']:.2f} and recall {live['recall']:.2f}:\n"
        "on a mix as rich in chatter as this one the shifted probabilities are too low."
    )


def _language_right(scores: Scores) -> str:
    parts = {**scores["languages"], "all": scores["all"]}
    rows = [[f"{found[key]:.3f}" for found in parts.values()] for key in ("language_group", "language_short")]
    return (
        "Language right (first row; Serbian, Croatian and Bosnian count as one),\n"
        "and on clippings of one to six words with the three apart (second row):\n\n" + _table(list(parts), rows)
    )


def _row_table(found: Mapping[str, float]) -> str:
    return _table([name.replace("macro_f1", "mean") for name in found], [[f"{value:.3f}" for value in found.values()]])


def _confusion(table: Sequence[Sequence[int]]) -> str:
    return _table(["", *LABELS], [[label, *(f"{n:,}" for n in row)] for label, row in zip(LABELS, table, strict=True)])


def _useful(found: Scores) -> str:
    def side(named: Iterable[tuple[str, float]]) -> str:
        return ", ".join(f"`{name.replace('|', '¦')}`" for name, _ in named)

    sides = {"for": "for chatter", "against": "against", "findings": "findings"}
    return _table(
        ["language", *sides.values()], [[code, *(side(each[key]) for key in sides)] for code, each in found.items()]
    )


def _with_interval(found: Scores, key: str) -> str:
    low, high = found[f"{key}_interval"]
    return f"{found[key]:.3f} ({low:.3f} to {high:.3f})"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(line)} |" for line in (heads, *rows)]
    return "\n".join([lines[0], "|---" * len(heads) + "|", *lines[1:]])


def _told(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)
