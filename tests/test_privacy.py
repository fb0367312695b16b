"""What is held of people, for how long, and how it is taken away. Deletes and edits upstream: scenarios/test_taken_back.py."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from listener import telemetry
from listener.authors import author_hash
from listener.cli.wiring import author_key, earlier_keys, key_path
from listener.config import Config, Paths, Privacy
from listener.intake import Intake, Item
from listener.roster import Source
from listener.sources import jetstream
from listener.store import open_store
from listener.types import Delete, Mention
from tests import days
from tests.builders import at, mention
from tests.conftest import Command
from tests.servers.dashboard import ask
from tests.servers.driving import net
from tests.servers.jetstream import account_event
from tests.web import dashboard

ANA, BEN = "did:plc:ana", "ben@mastodon.example"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"LISTENER_PATHS_STORE": f"sqlite:///{tmp_path}/listener.db"}


def config_of(folder: Path) -> Config:
    return Config(paths=Paths(store=f"sqlite:///{folder}/listener.db"))


def fill(folder: Path) -> None:
    """Two posts of Ana's on two sources, one of Ben's, under the key of this installation."""
    key = author_key(config_of(folder))
    who = {"bluesky:1": ANA, "forum:1": ANA, "mastodon:1": BEN}
    said = [
        mention(f"instagram çöktü {n}", id=id, minutes=n, author=author_hash(name, key), url=f"https://a.example/{id}")
        for n, (id, name) in enumerate(who.items())
    ]
    with closing(open_store(f"sqlite:///{folder}/listener.db")) as store, store.transaction() as tx:
        tx.add_mentions(said)


def held(folder: Path) -> dict[str, str]:
    with closing(open_store(f"sqlite:///{folder}/listener.db", read_only=True)) as store:
        return {m.post.id: m.post.text for m in store.mentions()}


def test_an_author_is_forgotten_by_their_own_name(listener: Command, tmp_path: Path, env: dict[str, str]) -> None:
    fill(tmp_path)
    done = listener("forget", f"@{BEN}", env=env)
    assert (done.returncode, done.stdout) == (0, "1 posts erased\n"), done.stderr
    done = listener("forget", ANA, "--source", "forum", env=env)
    assert done.stdout == "1 posts erased\n"
    assert held(tmp_path) == {"bluesky:1": "instagram çöktü 0", "forum:1": "", "mastodon:1": ""}
    assert ANA not in done.stdout + done.stderr


def test_a_post_is_forgotten_by_its_id_or_its_address(listener: Command, tmp_path: Path, env: dict[str, str]) -> None:
    fill(tmp_path)
    done = listener("forget", "bluesky:1", "https://a.example/mastodon:1", env=env)
    assert (done.returncode, done.stdout) == (0, "1 posts erased\n1 posts erased\n"), done.stderr
    assert held(tmp_path) == {"bluesky:1": "", "forum:1": "instagram çöktü 1", "mastodon:1": ""}
    raw = (tmp_path / "listener.db").read_bytes()
    assert "instagram çöktü 0".encode() not in raw
    assert b"a.example/mastodon" not in raw


def test_who_is_not_known_is_said_so(listener: Command, tmp_path: Path, env: dict[str, str]) -> None:
    fill(tmp_path)
    done = listener("forget", "nobody", env=env)
    assert done.returncode == 1
    assert "nothing is held of 'nobody'" in done.stderr


def test_no_name_of_an_author_is_anywhere_in_the_files(tmp_path: Path) -> None:
    fill(tmp_path)
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        assert ANA.encode() not in raw, path
        assert BEN.encode() not in raw, path
    key = key_path(config_of(tmp_path))
    assert key is not None
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_new_key_tells_nothing_of_before_and_still_erases_it(
    listener: Command, tmp_path: Path, env: dict[str, str]
) -> None:
    fill(tmp_path)
    config = config_of(tmp_path)
    before = author_key(config)
    done = listener("rotate-key", env=env)
    assert done.returncode == 0, done.stderr
    assert "another 30 days" in done.stdout
    after = author_key(config)
    assert author_hash(ANA, before) != author_hash(ANA, after)
    now = datetime.now(UTC)
    assert earlier_keys(config, now) == (before,)
    assert listener("forget", ANA, env=env).stdout == "2 posts erased\n"
    assert earlier_keys(config, now + timedelta(days=31)) == ()
    assert [path.name for path in tmp_path.glob("*.key*")] == ["listener.key"]


def test_a_key_from_the_config_is_changed_there(listener: Command, env: dict[str, str]) -> None:
    done = listener("rotate-key", env={**env, "LISTENER_PRIVACY_AUTHOR_KEY": "secret"})
    assert done.returncode == 2
    assert "change it there" in done.stderr
    assert earlier_keys(Config(privacy=Privacy(author_key="secret")), datetime.now(UTC)) == ()


@pytest.mark.anyio
async def test_a_departure_upstream_is_asked_of_every_key_that_may_have_hashed(anyio_backend: str) -> None:
    source = Source("bluesky", "jetstream", jetstream, jetstream.Options())
    async with net() as edge:
        metrics = telemetry.Metrics("test")
        intake = Intake([source], edge, author_key=b"b", earlier_keys=[b"a"], metrics=metrics, clock=lambda: at(0))
        gone = jetstream_raw(account_event(ANA, at(0)))
        batch = intake.batch([Item(source, at(0), gone, None)])
    authors = {item.author for item in batch.items if isinstance(item, Delete)}
    assert authors == {author_hash(ANA, b"a"), author_hash(ANA, b"b")}


def jetstream_raw(event: object) -> object:
    import json

    return json.dumps(event).encode()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# What is given out


def test_posts_are_given_out_without_texts_unless_they_are_asked_for(tmp_path: Path) -> None:
    with dashboard(tmp_path, days.live_a_day) as base:
        for form in ("json", "csv"):
            plain = ask(base, f"/api/v1/posts?format={form}").text
            whole = ask(base, f"/api/v1/posts?format={form}&texts=true").text
            assert "çöktü" not in plain
            assert "social.example" not in plain
            assert "bluesky:" not in plain, "an id leads to a post, and a post to its author"
            assert "çöktü" in whole
            assert "author" not in whole
        for path in ("incidents", "incidents?format=csv", "series", "sources"):
            assert "çöktü" not in ask(base, f"/api/v1/{path}").text
        for path in ("/metrics", "/incidents.atom"):
            assert "çöktü" not in ask(base, path).text


@pytest.mark.parametrize("language", ["en", "tr", "sr", "bg", "el"])
def test_the_page_of_sources_says_how_long_texts_are_kept(tmp_path: Path, language: str) -> None:
    with dashboard(tmp_path, days.live_a_day, retention=timedelta(days=14)) as base:
        assert " 14 " in ask(base, f"/sources?lang={language}").text


def test_forgetting_changes_no_count(tmp_path: Path) -> None:
    with closing(open_store("sqlite:///:memory:")) as store:
        days.live_a_day(store)
        before = store.points()
        kept: list[Mention] = store.mentions(limit=10_000)
        with store.transaction() as tx:
            for one in kept[:50]:
                tx.erase(Delete(one.post.source, at(95), post_id=one.post.id))
        assert store.points() == before
        after = {m.post.id: m for m in store.mentions(limit=10_000)}
        gone = after[kept[0].post.id]
        assert gone == replace(gone, post=replace(gone.post, text="", author="", url="", place=""), matches=())
