"""What a parser may do to the process it runs in, to be called by name in one that may be killed."""

from __future__ import annotations

import os
import re
import time

from listener.errors import SourceError


def echo(text: str) -> tuple[str, int]:
    print("a parser may print what it likes")
    return text, os.getpid()


def spin() -> None:
    """A regular expression that has run away, which nothing within the interpreter can stop."""
    re.match(r"(a*)*b", "a" * 40)


def work(seconds: float) -> int:
    """That much work, and no more."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return os.getpid()


def grow() -> int:
    return len(bytearray(2**30))


def wait() -> None:
    time.sleep(600)


def fail() -> None:
    raise SourceError("said so", reason="its_reason")


def crash() -> None:
    raise KeyError("a bug")


def modules() -> list[str]:
    import sys

    return sorted(sys.modules)
