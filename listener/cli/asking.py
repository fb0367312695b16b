"""Asks about one post after the other: by single keys where there is a terminal, by lines where there is a pipe."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console

from listener.cli import show
from listener.cli.keys import END, Keyboard
from listener.errors import InputError, ListenerError
from listener.types import CHATTER, LABELS

if TYPE_CHECKING:
    from listener.labelling.answers import Answer
    from listener.labelling.candidates import Pick
    from listener.labelling.records import Label
    from listener.labelling.rounds import Round

RULES = "s skip  u undo  v services  n note  h help  q quit"
_BACK = ("\x7f", "\x08", "\x1b", END)
_NONE = ("\r", "\n", " ", "0")


def ask(round_: Round) -> None:
    """Until the round is over, or whoever answers has had enough."""
    console = show.console()
    if sys.stdin.isatty():
        _by_keys(round_, console)
    else:
        _by_lines(round_, console)


def told(round_: Round) -> str:
    """One line about what was done."""
    tally = round_.tally()
    left = len(round_.picks) - round_.done
    parts = [f"{show.counted(tally.answered, 'answer')} in {round_.file.path}"]
    if tally.answered:
        parts.append(f"same label as the model {tally.same_label}, same on chatter {tally.same_question}")
    if tally.audit:
        parts.append(f"{tally.audit_same_question} on chatter of the {tally.audit} drawn by lot")
    if left:
        parts.append(f"{left} left: the same command goes on")
    return f"listener: {'; '.join(parts)}"


def _by_lines(round_: Round, console: Console) -> None:
    from listener.labelling.answers import parse

    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        said = line.strip()
        pick = round_.current
        if said in ("quit", "q") or (pick is None and said not in ("undo", "u")):
            break
        if said in ("undo", "u"):
            _undo(round_, console)
            continue
        assert pick is not None
        _post(round_, pick, console)
        if said in ("skip", "s"):
            round_.skip()
            console.print("[dim]skipped[/dim]")
            continue
        try:
            _reveal(round_, round_.answer(parse(line), datetime.now(UTC)), console)
        except InputError as error:
            raise InputError(f"answer {number}: {error}") from error


def _by_keys(round_: Round, console: Console) -> None:
    """A session at a terminal. Ctrl-C and Ctrl-D end it as q does."""
    _keys(console)
    with Keyboard() as keyboard, suppress(KeyboardInterrupt, EOFError):
        while pick := round_.current:
            if not _one(round_, pick, keyboard, console):
                return


def _one(round_: Round, pick: Pick, keyboard: Keyboard, console: Console) -> bool:
    """Ask about one post until it is answered, skipped or left for one before; False when whoever answers has had enough."""
    note, services = "", None
    while True:
        _post(round_, pick, console, note=note, services=services)
        key = keyboard.key()
        try:
            if key in ("q", END):
                return False
            elif key == "s":
                round_.skip()
                return True
            elif key == "u":
                _undo(round_, console)
                return True
            elif key == "h":
                _keys(console)
            elif key == "n":
                note = keyboard.line("note: ")
            elif key == "v":
                services = _services(round_, keyboard)
            elif (answer := _answer(key, note, services, keyboard, console)) is not None:
                _reveal(round_, round_.answer(answer, datetime.now(UTC)), console)
                return True
        except InputError as error:
            console.print(f"[red]{show.safe(str(error))}[/red]")


def _answer(
    key: str, note: str, services: tuple[str, ...] | None, keyboard: Keyboard, console: Console
) -> Answer | None:
    """The answer that begins with this key; None when it is none, or was thought better of."""
    from listener.labelling.answers import LABEL_KEYS, SYMPTOM_KEYS, Answer

    if key not in LABEL_KEYS:
        console.print(f"[dim]keys: 1-{len(LABELS)}  {RULES}[/dim]")
        return None
    label, symptom = LABEL_KEYS[key], None
    if label in CHATTER:
        keys = "  ".join(f"[bold]{one}[/bold] {name}" for one, name in SYMPTOM_KEYS.items())
        console.print(f"[bold]{label}[/bold]; what fails? {keys}")
        console.print("[dim]Enter: it does not say; Backspace: back to the label[/dim]")
        while (said := keyboard.key()) not in (*SYMPTOM_KEYS, *_NONE, *_BACK):
            pass
        if said in _BACK:
            return None
        symptom = SYMPTOM_KEYS.get(said)
    return Answer(label, symptom, services, note)


def _services(round_: Round, keyboard: Keyboard) -> tuple[str, ...]:
    from listener.labelling.answers import named

    made = named(keyboard.line("services (ids, separated by commas; empty = none): "))
    if strange := [service for service in made if service not in round_.known]:
        raise InputError(f"no service {strange[0]!r}; ids are the file names in data/services, or 'unnamed'")
    return made


def _undo(round_: Round, console: Console) -> None:
    try:
        back = round_.undo()
    except ListenerError as error:
        console.print(f"[red]{show.safe(str(error))}[/red]")
        return
    console.print("[dim]nothing to take back[/dim]" if back is None else f"[dim]taken back: {back.label}[/dim]")


def _keys(console: Console) -> None:
    from listener.labelling.answers import LABEL_KEYS, MEANINGS

    console.print("Does this person give evidence that an online service is failing for people [bold]now[/bold]?")
    for key, label in LABEL_KEYS.items():
        style = "green" if label in CHATTER else "cyan"
        console.print(f"  [bold]{key}[/bold] [{style}]{label:10}[/{style}] [dim]{MEANINGS[label]}[/dim]")
    console.print(f"  [dim]{RULES}[/dim]")


def _post(
    round_: Round, pick: Pick, console: Console, *, note: str = "", services: tuple[str, ...] | None = None
) -> None:
    one = pick.candidate
    about = ", ".join(one.named if services is None else services) or "no service named"
    alike = f" · {one.alike} posts say this" if one.alike > 1 else ""
    noted = f" · note: {show.safe(note)}" if note else ""
    head = f"{round_.done + 1} of {len(round_.picks)} · {one.language} · {show.safe(about)}{alike}{noted}"
    console.print(f"\n[dim]{head}[/dim]")
    console.print(show.safe(one.text))


def _reveal(round_: Round, label: Label, console: Console) -> None:
    tally = round_.tally()
    symptom = f" ({label.symptom})" if label.symptom else ""
    same = label.label == label.guess
    mark = "[green]same[/green]" if same else "[yellow]differs[/yellow]"
    guess = "" if same else f": {label.guess}"
    sure, chatter = label.probability or 0, label.chatter or 0
    console.print(
        f"[bold]{label.label}[/bold]{symptom} · model {mark}{guess} {sure:.0%}, chatter {chatter:.0%}"
        f" · so far {tally.same_label} of {tally.answered} the same, {tally.same_question} on chatter"
    )
