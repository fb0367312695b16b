"""The command `listener` without the seconds it takes to start: a process that has loaded everything forks one after another.

    born = quick.start(["run", "--config", "listener.toml"], env=environ, cwd=folder, stdout=log, stderr=log)
    born.send_signal(signal.SIGTERM)
    assert born.wait(30) == 0

    done = quick.run(["score", "posts.jsonl"], env=environ, cwd=folder)     # as `subprocess.run`, with texts

Each is a process of its own, with the arguments, environment, folder and files it is given, and ends as the command ends. What
was loaded before is the code, the catalog of `data/` and the model of `models/current`; one that names others loads those.
How the command starts by itself is tested where nothing else is (the guide, the transcript, the notebooks).
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 200.0  # seconds a command that runs to its end may take
BEFORE = "LISTENER_TEST_BEFORE"  # names a function `module:name` to call in the new process before the command

# Loaded by those that need them only: what they bring along has threads of its own, and those do not survive a fork.
_LATER = ("listener.__main__", "listener.api", "listener.classify.estimator", "listener.plot", "listener.training")


class Born:
    """A command that runs. The methods are those of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], ending: int) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._ending = ending  # where its process id is told, then how it ended
        said = self._read()
        if not said:
            raise RuntimeError("nothing was born: the process that forks commands is gone")
        self.pid = int(said)

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ending], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ending], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(int(self._read()))
            os.close(self._ending)
        return self.returncode

    def send_signal(self, how: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self) -> bytes:
        said = b""
        while not said.endswith(b"\n") and (more := os.read(self._ending, 1)):
            said += more
        return said


def start(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] = subprocess.DEVNULL,
    stderr: int | IO[Any] = subprocess.DEVNULL,
) -> Born:
    """Begin a command; files are open ones or `DEVNULL`."""
    here, there = os.pipe()
    devnull = os.open(os.devnull, os.O_RDWR)
    try:
        files = [
            devnull if f == subprocess.DEVNULL else f if isinstance(f, int) else f.fileno()
            for f in (stdin, stdout, stderr)
        ]
        asked = json.dumps([list(arguments), dict(env), str(cwd)]).encode()
        socket.send_fds(_door(), [asked], [*files, there])
    finally:
        os.close(devnull)
        os.close(there)
    return Born(arguments, here)


def run(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: str = "", timeout: float = LIMIT
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        born = start(arguments, env=env, cwd=cwd, stdin=given, stdout=said, stderr=complained)
        try:
            code = born.wait(timeout)
        finally:
            born.kill()
        texts = []
        for file in (said, complained):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(born.args, code, *texts)


@functools.cache
def _door() -> socket.socket:
    """Where this test process asks; the process behind it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {name: value for name, value in os.environ.items() if not name.startswith("LISTENER_")}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.quick", str(theirs.fileno())],
            cwd=ROOT,
            env={**env, "OPENBLAS_NUM_THREADS": "1", "NO_COLOR": "1"},  # its threads would not survive a fork
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        process.wait(20)

    atexit.register(end)
    return ours


# --- within --------------------------------------------------------------------------------------------------------


def _serve(door: socket.socket) -> None:
    _load()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread would not survive a fork"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while True:
        asked, files, _, _ = socket.recv_fds(door, 1 << 20, 4)
        if not asked:
            return
        if os.fork() == 0:
            _die_with_parent()
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _wait_for(files.pop(), functools.partial(_become, asked, files))
        for file in files:
            os.close(file)


def _die_with_parent() -> None:
    """Where that can be asked for (Linux), so that no daemon is left of tests that were broken off."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _wait_for(ending: int, child: Callable[[], None]) -> None:
    """Tell the number of a child, and how it ended."""
    pid = os.fork()
    if pid == 0:
        _die_with_parent()
        os.close(ending)
        child()
    with suppress(BrokenPipeError):  # nobody wants to know any more
        os.write(ending, f"{pid}\n".encode())
        for file in range(3):
            os.close(file)
        os.write(ending, f"{os.waitpid(pid, 0)[1]}\n".encode())
    os._exit(0)


def _become(asked: bytes, files: list[int]) -> None:
    """What a Python that was just started would be."""
    code = 1
    try:
        _dress(asked, files)
        if before := os.environ.pop(BEFORE, ""):
            module, _, name = before.partition(":")
            getattr(importlib.import_module(module), name)()
        from listener import cli

        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    except BaseException:  # noqa: BLE001 - whatever it is, it ends here
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at the end of any Python
        atexit._run_exitfuncs()
        for file in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                file.flush()
        os._exit(code)


def _dress(asked: bytes, files: list[int]) -> None:
    arguments, env, folder = json.loads(asked)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = ["listener", *arguments]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115


def _load() -> None:
    """The code, the catalog and the model."""
    import gc

    import listener

    for module in pkgutil.walk_packages(listener.__path__, "listener."):
        if not module.name.startswith(_LATER):
            importlib.import_module(module.name)

    from listener import catalog as catalogs
    from listener import kinds
    from listener.config import Config
    from listener.pipeline import Pipeline

    ours = catalogs.load(ROOT / "data")
    made = Pipeline.load(ours, ROOT / "models" / "current", Config())
    load_catalog, load_pipeline = catalogs.load, Pipeline.load

    def catalog(root: Path | None = None) -> catalogs.Catalog:
        same = (root or catalogs.default_root()).resolve() == ROOT / "data"
        return ours if same else load_catalog(root)

    def pipeline(catalog: catalogs.Catalog, model: Path, config: Config) -> Pipeline:
        if catalog is not ours or model.resolve() != (ROOT / "models" / "current").resolve():
            return load_pipeline(catalog, model, config)
        detector = kinds.load("detectors", config.detector.kind, "detector")
        options = kinds.convert(config.detector.options, detector.Options, "detector.options")
        return replace(made, detector=detector, detector_options=options, config=config)

    catalogs.load = catalog
    Pipeline.load = pipeline  # type: ignore[method-assign]
    for name, loaded in list(sys.modules.items()):
        if name.startswith("listener.") and getattr(loaded, "load", None) is load_catalog:  # it took it by its name
            loaded.load = catalog  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
