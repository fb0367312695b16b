"""What each kind of channel says, and that it keeps its secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from listener import telemetry
from listener.catalog import Catalog
from listener.errors import ConfigError
from listener.kinds import Secret
from listener.store import Store, open_store
from tests.builders import at, mention
from tests.conftest import ROOT
from tests.servers.process import free_port
from tests.servers.webhook import Receiver
from tests.test_outbox import channel, course, happens, outbox, outcomes

pytestmark = pytest.mark.filterwarnings("ignore:.*imghdr.*:DeprecationWarning")  # apprise still imports it

HIDDEN = ("gizli-anahtar", "gizli-jeton-ğ", "gizli-parola", "gizli-yol")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'listener.db'}")
    with made.transaction() as tx:
        tx.add_mentions([mention("viber çöktü, mesaj gitmiyor <b>", id=f"t:{n}", service="viber") for n in range(3)])
    happens(made, *course("viber"))
    yield made
    made.close()


def tell(store: Store, catalog: Catalog, kind: str, receiver: Receiver | None = None, **options: Any) -> None:
    """Tell everything there is once."""

    async def scenario() -> None:
        told = channel(catalog, kind, **options)
        if receiver is None:
            await outbox(store, told).tell(told)
            return
        async with receiver.up():
            await outbox(store, told).tell(told)

    asyncio.run(scenario())


def test_a_webhook_says_what_happened_where_since_when_and_quotes_posts(store: Store, catalog: Catalog) -> None:
    receiver = Receiver(free_port())
    tell(store, catalog, "webhook", receiver, url=receiver.url, token=Secret("ş3cret"))
    first, joined, over = (one.body for one in receiver.taken)
    assert (first["from"], first["to"], first["regions"]) == ("pending", "firing", ["TR"])
    assert (joined["from"], joined["to"], joined["regions"]) == ("firing", "firing", ["TR", "BG"])
    assert (over["to"], over["resolved_at"]) == ("resolved", at(60).isoformat())
    assert {one["text"] for one in first["evidence"]} == {"viber çöktü, mesaj gitmiyor <b>"}
    assert "author" not in {key for one in first["evidence"] for key in one}
    assert receiver.taken[0].headers["authorization"].encode("latin-1").decode() == "Bearer ş3cret"
    assert [one.key for one in receiver.taken] == [first["id"], joined["id"], over["id"]]


def test_alertmanager_sees_one_alert_with_the_same_labels_that_goes_on_until_it_is_over(
    store: Store, catalog: Catalog
) -> None:
    receiver = Receiver(free_port())
    tell(store, catalog, "webhook", receiver, url=receiver.url, payload="alertmanager", heartbeat="1h")
    alerts = [one.body[0] for one in receiver.taken]
    beat = [alert for alert in alerts if alert["labels"]["alertname"] == "ListenerHeartbeat"]
    course_of = [alert for alert in alerts if alert["labels"]["alertname"] == "OutageChatter"]
    assert (len(beat), len(course_of)) == (1, 3)
    assert len({json.dumps(alert["labels"], sort_keys=True) for alert in course_of}) == 1
    assert course_of[0]["labels"] == {
        "alertname": "OutageChatter", "service": "viber", "incident": "viber-1", "severity": "warning",
    }  # fmt: skip
    ends = [datetime.fromisoformat(alert["endsAt"]) for alert in course_of]
    assert [end - at(60) > timedelta(hours=1) for end in ends] == [True, True, False]
    assert ends[-1] == at(60)
    for alert in alerts:
        assert set(alert) <= {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
        strings = {**alert["labels"], **alert["annotations"]}
        assert all(isinstance(value, str) for value in strings.values())


def test_a_file_gets_a_line_for_each_message(store: Store, catalog: Catalog, tmp_path: Path) -> None:
    path = tmp_path / "told.jsonl"
    tell(store, catalog, "file", path=str(path))
    assert [json.loads(line)["to"] for line in path.read_text().splitlines()] == ["firing", "firing", "resolved"]
    assert store.untold("ops") == []


def test_a_file_that_cannot_be_written_is_a_failure_with_a_reason(
    store: Store, catalog: Catalog, tmp_path: Path
) -> None:
    tell(store, catalog, "file", path=str(tmp_path / "missing" / "told.jsonl"))
    assert outcomes(store) == {("skipped", "not_yet"), ("failed", "not_written")}


def test_apprise_tells_people_through_any_service_it_knows(store: Store, catalog: Catalog) -> None:
    receiver = Receiver(free_port())
    tell(store, catalog, "apprise", receiver, url=Secret(f"json://user:gizli@127.0.0.1:{receiver.port}/hook"))
    assert [one.body["type"] for one in receiver.taken] == ["warning", "warning", "success"]
    for one in receiver.taken:
        assert "Viber" in one.body["title"]
        assert "23" in one.body["message"]


@pytest.mark.parametrize("url", ["nonsense://x", "no url at all", "tgram://", ""])
def test_an_apprise_url_that_says_nothing_is_a_failure_with_a_reason(store: Store, catalog: Catalog, url: str) -> None:
    tell(store, catalog, "apprise", url=Secret(url))
    assert outcomes(store) == {("skipped", "not_yet"), ("failed", "bad_url")}


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "http://", "127.0.0.1:80", "http://[::1", "http://a:b/c"])
def test_a_webhook_url_that_cannot_be_posted_to_is_a_failure_with_a_reason(
    store: Store, catalog: Catalog, url: str
) -> None:
    tell(store, catalog, "webhook", url=url)
    failed = {reason for outcome, reason in outcomes(store) if outcome == "failed"}
    assert failed in ({"bad_url"}, {"unreachable"})


def test_a_secret_does_not_stand_in_the_config_itself(catalog: Catalog) -> None:
    with pytest.raises(ConfigError, match="a secret does not stand in the config itself") as raised:
        channel(catalog, "webhook", url="http://127.0.0.1/", secret="gizli-anahtar")
    assert "gizli-anahtar" not in str(raised.value)


def test_nothing_secret_is_logged_or_kept(
    store: Store, catalog: Catalog, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    cross = Receiver(free_port(), answer=lambda body: 500)
    nobody = free_port()
    telemetry.configure("debug")
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as events:
        signed: dict[str, Any] = {"secret": Secret(HIDDEN[0]), "token": Secret(HIDDEN[1])}
        tell(store, catalog, "webhook", cross, name="a", url=f"{cross.url}/{HIDDEN[3]}", **signed)
        tell(store, catalog, "webhook", name="b", url=f"http://127.0.0.1:{nobody}/{HIDDEN[3]}", **signed)
        for name, url in {"c": f"json://user:{HIDDEN[2]}@127.0.0.1:{nobody}/", "d": f"nonsense://{HIDDEN[2]}"}.items():
            tell(store, catalog, "apprise", name=name, url=Secret(url))
    assert [event["reason"] for event in events] == ["status_500", "unreachable", "not_delivered", "bad_url"]
    seen = [json.dumps(events, default=str), caplog.text, *capfd.readouterr(), repr(store.notifications())]
    for said in seen:
        assert not any(word in said for word in HIDDEN)
    structlog.reset_defaults()
    assert all(word not in repr(Secret(word)) for word in HIDDEN)


def test_apprise_says_nothing_on_its_own_where_the_daemon_logs() -> None:
    code = (
        "import asyncio, datetime; from listener import telemetry; telemetry.configure('debug')\n"
        "from listener.channels import Message, apprise; from listener.errors import SourceError\n"
        "from listener.kinds import Secret\n"
        "for url in ('json://u:gizli@127.0.0.1:9/', 'nonsense://gizli', 'slack://gizli/gizli/gizli'):\n"
        "    try: asyncio.run(apprise.send(Message('1', datetime.datetime.now(), 't', 'b'), apprise.Options(Secret(url))))\n"
        "    except SourceError as error: print(error.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["not_delivered", "bad_url", "not_delivered"]
    assert "gizli" not in done.stderr
