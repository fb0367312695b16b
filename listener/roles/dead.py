"""Dead letters: what is in them, and taking them up again once the code that broke on them is mended.

What is taken up is stored out of turn, long after its neighbours: its points are changed where they are, and the watch reads
them again. No cursor moves, and what was heard and dropped is not counted a second time.
"""

from __future__ import annotations

import msgspec

from listener.bus import DeadLetter
from listener.errors import ListenerError
from listener.recorder import Batch, Recorder, Taken
from listener.roles.lane import opened
from listener.roles.turns import Beside
from listener.types import Delete, Post


class BreaksError(Exception):
    """A letter can't be taken up: it is unreadable, or still breaks our code."""


def items_of(letter: DeadLetter) -> list[Post | Delete] | None:
    """What is in a letter; None when nobody can read it."""
    try:
        return opened(letter.body).batch().items
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        return None


def take_up(letter: DeadLetter, recorder: Recorder) -> Taken:
    """Understand and store what is in a letter. Raises `BreaksError`; nothing of it is stored then."""
    items = items_of(letter)
    if items is None:
        raise BreaksError("unreadable")
    try:
        understood = recorder.understood(Batch(items))
    except ListenerError:  # of the store
        raise
    except Exception as error:  # whatever brought it there may still be in our code
        raise BreaksError(f"{type(error).__name__}: {error}") from error
    return recorder.keep(understood, Beside())
