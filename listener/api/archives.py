"""Archives from Python: replayed into a store, the bundled sample day once for all notebooks."""

from __future__ import annotations

import fcntl
import hashlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import platformdirs

from listener import kinds
from listener.catalog import Catalog
from listener.errors import InputError
from listener.frames import Columns
from listener.pipeline import Pipeline
from listener.recorder import Recorder
from listener.replay import Archive
from listener.replay import replay as run
from listener.store import open_store
from listener.types import Incident

SAMPLE = "day"  # data/samples/day.jsonl, and day.events.toml: what happens in it
BEFORE, AFTER = timedelta(minutes=30), timedelta(minutes=45)  # of what happens, that is replayed too
MEMORY = "sqlite:///:memory:"
ALL = 1_000_000  # incidents
INVENTED: Columns = {
    "id": "text",
    "source": "text",
    "author": "text",
    "created_at": "time",
    "received_at": "time",
    "text": "text",
    "region": "text",
}
EVENTS: Columns = {
    "id": "text",
    "service": "text",
    "regions": "texts",
    "onset_at": "time",
    "end_at": "time",
    "cause": "text",
    "shape": "text",
}


def replayed(files: Sequence[Path], pipeline: Pipeline, store: str, until: datetime | None = None) -> list[Incident]:
    """The incidents of archives, the newest first; everything else stays in the store. Malformed lines are warned of."""
    bad: list[str] = []
    archive = Archive(files, bad.append)
    if bad:
        warnings.warn(f"{len(bad)} malformed lines skipped, the first is {bad[0]}", stacklevel=3)
    with closing(open_store(store)) as opened:
        for _ in run(archive, Recorder(pipeline, opened, shown=False), opened, until=until):
            pass
        return opened.incidents(limit=ALL)


def sample_store(catalog: Catalog, pipeline: Pipeline) -> Path:
    """The store of the sample day in the user's cache directory, made there when anything it follows from has changed."""
    archive, events = (catalog.root / "samples" / f"{SAMPLE}.{ending}" for ending in ("jsonl", "events.toml"))
    folder = platformdirs.user_cache_path("listener", ensure_exists=True)
    path = folder / f"sample-{_digest((archive, events), catalog, pipeline)}.db"
    with (folder / "sample.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two notebooks that begin together make it once
        if not path.exists():
            for stale in folder.glob("sample-*.db*"):
                stale.unlink()
            with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as making:
                part, made = Path(making) / "part.jsonl", Path(making) / "sample.db"
                part.write_bytes(b"".join(_eventful(archive, events)))
                replayed([part], pipeline, f"sqlite:///{made}", None)
                made.replace(path)
    return path


def _eventful(archive: Path, events: Path) -> Iterator[bytes]:
    """The lines of the hours around what happens: the others take long to replay and have nothing to show."""
    spans = [(event["onset_low_at"] - BEFORE, event["end_at"] + AFTER) for event in kinds.toml_file(events)["event"]]
    for line in archive.read_bytes().splitlines(keepends=True):
        at = datetime.fromisoformat(msgspec.json.decode(line)["created_at"])
        if any(since <= at < until for since, until in spans):
            yield line


def write(rows: Iterable[Mapping[str, str]], path: Path) -> None:
    """JSON Lines. Raises `InputError` when the file can't be written."""
    try:
        path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _digest(files: Sequence[Path], catalog: Catalog, pipeline: Pipeline) -> str:
    """Names everything the store follows from: posts, data, model, config and the program itself."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files))
    for word in (catalog.digest, pipeline.classifier.digest, repr(pipeline.config)):
        digest.update(word.encode())
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
