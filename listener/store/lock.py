"""Keeps a second writer away from a store: a lock on a file beside it, which the system lets go when a process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from listener.errors import StoreError


class Lock:
    """Held from `Lock.take` to `release`, or to the end of the process, however it ends (SIGKILL too).

    `flock` and not `lockf`: it also keeps a second store of the same process out, and reading the file lets nothing go.
    The file itself stays: removing it would let two processes hold locks on two files of the same name.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, store: Path) -> Lock:
        """Raises `StoreError` naming the process that has it, `OSError` when the file can't be made."""
        descriptor = os.open(store.with_name(store.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode(errors="replace").strip()
            os.close(descriptor)
            by = f"pid {holder}" if holder else "a process that has just started"
            raise StoreError(f"{store}: another listener is writing to it ({by}); stop that one first") from error
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)
