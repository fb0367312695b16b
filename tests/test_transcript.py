"""The guide's afternoon with the model, typed into a terminal as it stands there: every command does what the page says."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from listener.classify.folder import digest_at
from tests.conftest import ROOT
from tests.copied import copy_of_project, environ_of
from tests.servers.process import free_port

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("## An afternoon with the model\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^\$ (.*)$", SECTION, re.MULTILINE)
POSTS_A_LANGUAGE = 10
PROMPT = re.compile(r"\[(\d+)\]ready> $")


class Terminal:
    """A shell on a terminal of its own. What it shows is kept, and read until the next prompt."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environ = {**environ, "PS1": "[$?]ready> ", "TERM": "dumb"}
        self.shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            cwd=folder, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""
        self._until_prompt(lambda shown: b"")

    def type(self, line: str, keys: Callable[[str], bytes] = lambda shown: b"") -> tuple[int, str]:
        """The exit code of a line and what it showed. `keys` are pressed whenever there is something new to see."""
        self.shown = ""
        os.write(self._ours, line.encode() + b"\n")
        code = self._until_prompt(keys)
        return code, PROMPT.sub("", self.shown.replace("\r", "")).partition("\n")[2]

    def _until_prompt(self, keys: Callable[[str], bytes]) -> int:
        deadline = time.monotonic() + 150
        while not (found := PROMPT.search(self.shown)):
            assert time.monotonic() < deadline, self.shown
            if select.select([self._ours], [], [], 1)[0]:
                self.shown += os.read(self._ours, 65536).decode(errors="replace")
                if pressed := keys(self.shown):
                    os.write(self._ours, pressed)
        return int(found[1])

    def close(self) -> None:
        """The shell and all it started, also a daemon in the background, to which a hang-up says to read its config again."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                pid, _, rest = stat.read_text().partition(" ")
                if int(rest.rpartition(")")[2].split()[3]) == self.shell.pid:
                    os.kill(int(pid), signal.SIGKILL)
        os.close(self._ours)
        self.shell.wait(30)


class Ana:
    """Answers each post once, by the look of it; takes one answer back."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, shown: str) -> bytes:
        posts = re.findall(r"\d+ of 30 · [^\n]*\n(.+?)\r?\n", shown)
        if len(posts) <= self.asked:
            return b""
        self.asked += 1
        text = posts[-1]
        if self.asked == 5:
            return b"u"
        return b"2\n" if "?" in text else b"1d" if "instagram" in text.lower() else b"9"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    project = copy_of_project(tmp_path / "project", POSTS_A_LANGUAGE)
    (project / "listener.toml").write_text("default_sources = false\n")
    made = Terminal(project, environ_of(project) | {"LISTENER_WEB_PORT": str(free_port())})
    try:
        yield made
    finally:
        made.close()


def test_an_afternoon_with_the_model_goes_as_the_guide_says(terminal: Terminal, tmp_path: Path) -> None:
    models = tmp_path / "project" / "models"
    before = digest_at(models / "current")
    told = {}
    for command in COMMANDS:
        code, told[command] = terminal.type(
            command, Ana() if command.startswith("listener label --from") else lambda _: b""
        )
        refused = command == "listener promote models/candidate"
        assert code == (1 if refused else 0), f"{command}\n{told[command]}"
        assert "Traceback" not in told[command]
    for command, words in (
        ("listener demo", "1 incidents"),
        ("listener label --from", "30 answers in labels.jsonl"),
        ("listener label export", "posts added to mine"),
        ("listener train", "model written to models/candidate"),
        ("listener compare", "chatter"),
        ("listener replay", "from A to B"),
        ("listener promote models/candidate", "is refused"),
        ("listener promote models/candidate", "that were not measured (train with --thorough)"),
        ("listener promote models/candidate", "nothing was changed; --force --reason"),
        ("listener promote models/candidate --force", "is in force, before it " + before[:19]),
        ("listener rollback", before[:19] + " is in force"),
    ):
        assert any(words in said for typed, said in told.items() if typed.startswith(command)), command
    log = (tmp_path / "project" / "daemon.log").read_text(encoding="utf-8")
    candidate = digest_at(models / "candidate")
    taken = re.findall(r"model_taken_over +model=(\S+) before=(\S+)", log)
    assert taken == [(candidate, before), (before, candidate)], "the daemon that ran used the one, then the other"
    assert digest_at(models / "current") == before
