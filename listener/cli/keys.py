"""Single keys from a terminal, without losing what was typed ahead."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from types import TracebackType

END = "\x04"  # Ctrl-D


class Keyboard:
    """The terminal of stdin, key by key for as long as the `with` block lasts. Ctrl-C stays what it is."""

    def __enter__(self) -> Keyboard:
        self._terminal = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._terminal)
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)

    def key(self) -> str:
        """The next key; empty for one that is no character, such as an arrow. `END` when there will be none."""
        raw = os.read(self._terminal, 1)
        if not raw:
            return END
        while raw[0] >= 0xC0 and len(raw) < 4 and self._has_more():
            raw += os.read(self._terminal, 1)
        if raw == b"\x1b" and self._has_more():
            while self._has_more():
                os.read(self._terminal, 1)
            return ""
        return raw.decode("utf-8", "ignore")

    def line(self, prompt: str) -> str:
        """A line, typed as lines are. Raises `EOFError` at Ctrl-D."""
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._before)
        try:
            return input(prompt).strip()
        finally:
            self._listen()

    def _listen(self) -> None:
        tty.setcbreak(self._terminal, termios.TCSADRAIN)  # not TCSAFLUSH, which throws away what is typed ahead

    def _has_more(self) -> bool:
        return bool(select.select([self._terminal], [], [], 0)[0])
