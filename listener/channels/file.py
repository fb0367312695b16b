"""Appends each message to a file, a JSON object a line, and makes sure that it is on the disk."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path

from listener.channels import Message
from listener.channels._payload import payload
from listener.errors import SourceError
from listener.kinds import option


@dataclass(frozen=True)
class Options:
    path: str = option("incidents.jsonl", "file to append to; its folder must exist")


async def send(message: Message, options: Options) -> None:
    """Raises `SourceError`: `not_written`."""
    line = json.dumps(payload(message), ensure_ascii=False) + "\n"
    await asyncio.to_thread(_append, Path(options.path), line.encode())


def _append(path: Path, line: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}", reason="not_written") from error
