"""Nobody is let in who should not be, and nobody holds up the others. Addresses, feeds, models: docs/threat-model.md."""

from __future__ import annotations

import asyncio
import base64
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from listener import kinds
from listener.cli.serving import access_of
from listener.config import Config, Web, load
from listener.errors import ConfigError
from listener.kinds import Secret
from listener.store import Store
from listener.web import access, live
from listener.web.access import Access, Allowance, digest
from tests import days
from tests.conftest import ROOT, Command
from tests.servers.dashboard import ask, served
from tests.web import app_of, kept

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
DOORS = (
    "/",
    "/sources",
    "/api/v1/posts",
    "/api/v1/openapi.json",
    "/metrics",
    "/events",
    "/static/page.js",
    "/badge/x",
    "/no",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Read by all, written by nobody here."""
    with kept(tmp_path_factory.mktemp("day"), days.live_a_day) as made:
        yield made


class Asking:
    """Somebody at an address who asks, in this process, what is served elsewhere by a server."""

    def __init__(self, app: Any, address: str = "192.0.2.1") -> None:
        self._way = httpx.ASGITransport(app, client=(address, 50_000))

    def get(self, path: str, headers: Mapping[str, str | bytes] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._way, base_url="http://listener.example") as line:
                return await line.get(path, headers=dict(headers or {}))  # type: ignore[arg-type]

        return asyncio.run(ask())


def client(store: Store, who: Access) -> Asking:
    return Asking(app_of(store, access=who))


# The token


def test_without_the_token_every_door_but_two_is_shut(store: Store) -> None:
    asking = client(store, Access(digest(TOKEN)))
    for path in DOORS:
        answer = asking.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert "instagram" not in answer.text.lower()
    assert asking.get("/healthz").text == "ok\n"
    assert asking.get("/readyz").status_code in (200, 503)


def test_a_program_shows_it_as_bearer_and_a_browser_as_a_password(store: Store) -> None:
    asking = client(store, Access(digest(TOKEN)))
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    for shown in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
        assert asking.get("/api/v1/sources", headers={"Authorization": shown}).status_code == 200
    for wrong in (
        "",
        "Bearer",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Basic !!!",
        "Basic eA==",
        f"Token {TOKEN}",
        "Bearer \xff",
    ):
        headers = {"Authorization": wrong.encode("latin-1")}
        assert asking.get("/api/v1/sources", headers=headers).status_code == 401, wrong


def test_the_token_is_compared_in_constant_time_and_shown_nowhere(store: Store) -> None:
    source = Path(access.__file__).read_text(encoding="utf-8")
    assert "compare_digest" in source
    assert TOKEN not in repr(Access(digest(TOKEN)))
    assert TOKEN not in repr(Web(token=Secret(TOKEN)))
    asking = client(store, Access(digest(TOKEN)))
    for path in DOORS[:5]:
        assert TOKEN not in asking.get(path, headers=BEARER).text


def test_the_token_comes_from_the_environment_or_a_file_and_never_stands_in_the_config(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    config = tmp_path / "listener.toml"
    config.write_text(f'[web]\ntoken = {{file = "{tmp_path}/token"}}\n')
    assert load(config, {}).web.token.reveal() == TOKEN
    config.write_text('[web]\ntoken = {env = "T"}\n')
    assert load(config, {"T": TOKEN}).web.token.reveal() == TOKEN
    config.write_text("")
    assert load(config, {"LISTENER_WEB_TOKEN_FILE": str(tmp_path / "token")}).web.token.reveal() == TOKEN
    config.write_text(f'[web]\ntoken = "{TOKEN}"\n')
    with pytest.raises(ConfigError, match="does not stand in the config") as refused:
        load(config, {})
    assert TOKEN not in str(refused.value)


# Safe by itself


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "outages.example.org"])
def test_at_another_address_than_loopback_a_token_is_a_must(host: str) -> None:
    with pytest.raises(ConfigError, match="reached from elsewhere") as refused:
        access_of(Web(host=host))
    assert "\n" not in str(refused.value)
    assert access_of(Web(host=host, token=Secret(TOKEN))).knows(f"Bearer {TOKEN}")
    assert access_of(Web(host=host, open=True)).token == b""
    with pytest.raises(ConfigError, match="at least 16"):
        access_of(Web(host=host, token=Secret("short")))


def test_by_default_only_this_machine_is_answered() -> None:
    assert Config().web.host == "127.0.0.1"
    assert access_of(Web()).hosts == {"127.0.0.1", "::1", "localhost"}


def test_run_refuses_an_open_address_before_anything_else(listener: Command, tmp_path: Path) -> None:
    done = listener("run", "--no-table", env={"LISTENER_WEB_HOST": "0.0.0.0"})
    assert done.returncode == 2
    assert done.stderr.startswith("listener: web: host 0.0.0.0 is reached from elsewhere")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("listener.db"))


def test_another_sites_name_for_this_machine_is_not_answered(store: Store) -> None:
    """A page elsewhere can give its own name our address (DNS rebinding) and then read what we answer."""
    who = access_of(Web(url="https://outages.example.org/x"))
    for name, status in {
        "evil.example": 421,
        "127.0.0.1:8080": 200,
        "localhost": 200,
        "outages.example.org": 200,
        "[::1]:1": 200,
        "[": 421,
    }.items():
        assert client(store, who).get("/api/v1/sources", headers={"Host": name}).status_code == status, name


# The share of one client


def test_a_client_that_asks_too_often_is_told_when_to_come_back_and_others_are_served(store: Store) -> None:
    app = app_of(store, access=Access(a_minute=60))
    loud, other = Asking(app), Asking(app, "192.0.2.2")
    answers = [loud.get("/api/v1/sources") for _ in range(31)]
    assert [a.status_code for a in answers] == [200] * 30 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
    assert "later" in answers[-1].json()["detail"]
    assert other.get("/api/v1/sources").status_code == 200
    assert loud.get("/healthz").status_code == 200


def test_an_allowance_fills_again_and_remembers_so_many_clients_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "CLIENTS", 100)
    now = [0.0]
    allowance = Allowance(60, lambda: now[0])
    assert [allowance.take("a") for _ in range(30)] == [0.0] * 30
    assert allowance.take("a") == 1.0
    now[0] = 1.0
    assert allowance.take("a") == 0.0
    for n in range(1000):
        allowance.take(f"client {n}")
    assert len(allowance) == 100
    assert not any(Allowance(0, lambda: 0.0).take("a") for _ in range(10_000))


def test_who_guesses_tokens_is_soon_told_to_stop(store: Store) -> None:
    asking = client(store, Access(digest(TOKEN), a_minute=600))
    statuses = [asking.get("/api/v1/sources", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(60)]
    assert 401 in statuses
    assert statuses.count(401) < 30
    assert statuses[-1] == 429


def test_every_answer_tells_browsers_to_be_careful(store: Store) -> None:
    asking = client(store, Access(digest(TOKEN)))
    for path, headers in (("/", BEARER), ("/", {}), ("/api/v1/posts", BEARER), ("/static/page.js", BEARER)):
        said = asking.get(path, headers=headers).headers
        assert said["content-security-policy"].startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "frame-ancestors 'none'" in said["content-security-policy"]
        assert (said["x-content-type-options"], said["referrer-policy"]) == ("nosniff", "no-referrer")
        assert (said["cross-origin-opener-policy"], said["cross-origin-resource-policy"]) == (
            "same-origin",
            "same-origin",
        )
        assert "server" not in said


# Open streams


def test_a_page_that_does_not_read_is_hung_up_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter(range(10**9))
    monkeypatch.setattr(live, "SLOW", 0.5)
    monkeypatch.setattr(live, "EVERY", 0.0)
    monkeypatch.setattr(live, "version", lambda _: f"{next(loads)} {'x' * 100_000}")
    ended = threading.Event()
    stream = live._Stream.stream_response

    async def told(self: live._Stream, send: object) -> None:
        await stream(self, send)  # type: ignore[arg-type]
        ended.set()

    monkeypatch.setattr(live._Stream, "stream_response", told)
    with served(app_of(store)) as base:
        with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))) as deaf:
            deaf.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
            assert ended.wait(30), "what it does not read is not kept for it for ever"
        assert ask(base, "/healthz").text == "ok\n"


def test_one_client_cannot_take_all_streams(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_EACH", 1)
    with served(app_of(store)) as base, httpx.stream("GET", f"{base}/events", timeout=20, trust_env=False) as first:
        lines = first.iter_lines()  # let go of, it would hang up
        assert next(lines).startswith("event:")
        assert ask(base, "/events").text == "retry: 60000\n\n"


# Names that are paths, values that are lines


PATHS = (
    "..",
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//",
    "/etc/passwd",
    "\x00",
    "a\\..\\b",
)


@pytest.mark.parametrize("where", ["static", "incidents", "services", "regions", "badge", "api/v1/incidents"])
def test_no_path_leads_out(store: Store, where: str) -> None:
    with served(app_of(store)) as base:
        port = int(base.rpartition(":")[2])
        for path in PATHS:
            said = _raw(port, f"/{where}/{path}".replace("\x00", "%00"))
            head = said.split(b"\r\n\r\n")[0].decode()
            status = head.split(" ", 2)[1]
            within = status == "307" and "\r\nlocation: http://a/" in head  # the same without a slash
            assert within or status in ("404", "400", "422", "405"), path
            assert b"root:" not in said


@pytest.mark.parametrize("family", ["sources", "detectors", "channels"])
@pytest.mark.parametrize(
    "kind", ["../errors", "log/../../errors", "__init__", "_net", "os", "log\n", "", "LOG", "log.os"]
)
def test_a_kind_is_a_name_from_a_list_and_never_a_path(family: str, kind: str) -> None:
    with pytest.raises(ConfigError, match="kind"):
        kinds.load(family, kind, "somewhere")


def test_a_name_with_a_line_break_makes_no_header_and_no_second_line(store: Store) -> None:
    with served(app_of(store)) as base:
        port = int(base.rpartition(":")[2])
        for path in (
            "/?lang=tr%0d%0aSet-Cookie:%20a=b",
            "/api/v1/posts?service=a%0d%0aX:%20y",
            "/incidents/a%0d%0aX:%20y",
        ):
            head = _raw(port, path).split(b"\r\n\r\n", 1)[0].lower()
            assert b"\r\nx: y" not in head
            assert b"\r\nset-cookie: a=b" not in head


def test_what_a_stranger_says_stays_one_line_of_the_log(tmp_path: Path) -> None:
    said = "down\r\n2026-01-01 [error] all is lost \x1b[2J\u202egnp.exe\x00"
    code = (
        "import sys; from listener import telemetry\n"
        "telemetry.configure('info', as_json=sys.argv[1] == 'json', colour=False)\n"
        "telemetry.log('x').warning('source_failed', detail=sys.argv[2])\n"
    )
    for form in ("json", "text"):
        done = subprocess.run(
            [sys.executable, "-c", code, form, said.replace("\x00", "")],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert len(done.stderr.splitlines()) == 1, form
        assert not set(done.stderr.rstrip("\n")) & set("\r\x1b\u202e"), form


def _raw(port: int, path: str) -> bytes:
    """What the server says to a path as it stands, which a client would tidy up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        said = b""
        while part := line.recv(65536):
            said += part
        return said


def test_a_crash_is_logged_without_the_variables_that_led_to_it() -> None:
    code = (
        "import sys; from listener import telemetry\n"
        "telemetry.configure('info', as_json=sys.argv[1] == 'json', colour=False)\n"
        "def parse(text):\n    raise KeyError('field')\n"
        "try:\n    parse('a private ' + 'post')\n"
        "except KeyError:\n    telemetry.log('x').exception('source_crashed')\n"
    )
    for form in ("json", "text"):
        done = subprocess.run([sys.executable, "-c", code, form], capture_output=True, text=True, cwd=ROOT, check=True)
        assert "KeyError" in done.stderr
        assert "a private post" not in done.stderr
