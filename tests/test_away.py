"""A store that goes away, such as a server that dies or a file that is damaged, is said so to whoever asks, until it is back."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from structlog.testing import capture_logs

from listener.errors import StoreAway
from listener.store import Store, open_store, sqlite_file
from tests import days
from tests.servers import postgres
from tests.servers.dashboard import ask, served
from tests.web import app_of

FILLED = {"{id}": "instagram", "{code}": "TR", "{service}": "instagram", "{region}": "TR"}
WITHOUT_IT = {"/healthz", "/metrics", "/api/v1/openapi.json", "/static/page.js"}
ASKING = "/api/v1/signals?service=instagram&region=TR"


def paths(app: Any, store: Store) -> list[str]:
    """Every door there is, with something behind it."""
    (newest, *_) = store.incidents(limit=1)
    found = [route.path for route in app.router.routes if isinstance(route, APIRoute)]
    found += [path for path in app.openapi()["paths"] if path not in found]
    doors = sorted({*found, "/nothing/here", *WITHOUT_IT} - {"/events", "/api/v1/signals"})
    known = {"{incident}": newest.id, "/incidents/{id}": f"/incidents/{newest.id}", **FILLED}
    return [*(_filled(path, known) for path in doors), ASKING]


def _filled(path: str, known: dict[str, str]) -> str:
    for name, value in known.items():
        path = path.replace(name, value)
    return path


def said_to_be_away(base: str, path: str) -> None:
    answer = ask(base, path)
    if path in WITHOUT_IT:
        assert answer.status_code == 200, path
        return
    assert answer.status_code == 503, (path, answer.text)
    assert answer.headers["retry-after"] == "5"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not [word for word in ("postgres", "sqlite", "/tmp", "Traceback", "5432") if word in answer.text], path
    if path.startswith("/api/"):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 503
        assert "ask again" in answer.json()["detail"]
    elif "html" in answer.headers["content-type"]:
        assert "<h1>503</h1>" in answer.text
        assert 'http-equiv="refresh"' in answer.text, "whoever waits need not ask"
    else:
        assert answer.text == "What is kept cannot be read just now; ask again later.\n"


@contextlib.contextmanager
def filled(url: str) -> Iterator[Store]:
    with contextlib.closing(open_store(url)) as store:
        days.live_a_day(store)
        yield store


def test_a_database_server_that_dies_is_said_so_at_every_door_and_served_again_when_it_is_back() -> None:
    postgres.skip_without()
    server = postgres.Own()
    try:
        with filled(server.url) as store:
            app = app_of(store)
            doors = paths(app, store)
            with served(app) as base, httpx.stream("GET", f"{base}/events", timeout=30, trust_env=False) as stream:
                lines = stream.iter_lines()
                assert next(lines) == "event: changed"
                before = {path: ask(base, path).status_code for path in doors}
                assert {path for path, status in before.items() if status != 200} == {"/nothing/here"}

                server.kill()
                with capture_logs() as log:
                    for path in doors:
                        said_to_be_away(base, path)
                assert list(lines)[-2:] == ["retry: 5000", ""], "the open page hears the end, and asks again"
                assert ask(base, "/events").text == "retry: 5000\n\n", "to an error a browser would not come back"
                assert [line["event"] for line in log] == ["store_unreadable"], "once a minute, however many ask"

                server.start()
                assert {path: ask(base, path).status_code for path in doors} == before
    finally:
        server.remove()


def test_a_file_that_another_program_keeps_locked_is_shown_but_not_called_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY", 0.05)
    file = tmp_path / "listener.db"
    with (
        filled(f"sqlite:///{file}") as store,
        served(app_of(store)) as base,
        contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreAway), store.transaction() as tx:
            tx.set_mark("watched", "later")
        assert (ready := ask(base, "/readyz")).status_code == 503
        assert ready.text == "nothing can be stored now; the log says why\n"
        assert [ask(base, path).status_code for path in ("/", "/sources", ASKING, "/healthz")] == [200] * 4
        other.execute("ROLLBACK")
        with store.transaction() as tx:
            tx.set_mark("watched", "later")
        assert ask(base, "/readyz").status_code == 200


def test_a_damaged_file_is_said_so_and_the_dashboard_lives(tmp_path: Path) -> None:
    file = tmp_path / "listener.db"
    with filled(f"sqlite:///{file}"):
        pass
    with contextlib.closing(open_store(f"sqlite:///{file}", read_only=True)) as store, served(app_of(store)) as base:
        file.write_bytes(b"\xa5" * file.stat().st_size)
        for path in ("/", "/regions/TR", "/readyz", "/api/v1/incidents", ASKING, "/healthz", "/metrics"):
            said_to_be_away(base, path)


SAID = {"en": "cannot be read", "tr": "okunamıyor", "sr": "ne mogu", "bg": "не може", "el": "δεν διαβάζονται"}


def test_people_are_told_in_their_language(tmp_path: Path) -> None:
    with filled(f"sqlite:///{tmp_path}/listener.db") as store, served(app_of(store)) as base:
        store.close()
        for language, words in SAID.items():
            answer = ask(base, "/", accept_language=language)
            assert (answer.status_code, words in answer.text) == (503, True)
            assert f'<html lang="{language}">' in answer.text
