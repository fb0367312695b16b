"""What is held of people, for how long, and how it is taken away. Deletes and edits upstream: scenarios/test_taken_back.py."""

from __future__ import annotations

import json
import signal
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from listener import telemetry
from listener.authors import author_hash, unnamed
from listener.cli.wiring import author_key, earlier_keys, key_path
from listener.config import Config, Paths, Privacy
from listener.errors import ConfigError
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
from tests.servers.process import Process, free_port
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


def test_a_thousand_names_are_in_no_file_no_log_no_page_and_no_backup(
    listener: Command, tmp_path: Path, environ: dict[str, str]
) -> None:
    """The daemon reads what a thousand people wrote; one leaves, and a copy is made."""
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    names = [f"planted-{n:04}@somewhere.example" for n in range(1_000)]
    posts = [
        {
            "id": str(n),
            "text": f"instagram çöktü, giremiyorum {n:04}",
            "author": name,
            "url": f"https://a.example/{name[:12]}",
        }
        for n, name in enumerate(names)
    ]
    archive = tmp_path / "said.jsonl"
    archive.write_text("".join(json.dumps(post) + "\n" for post in posts), encoding="utf-8")
    (tmp_path / "listener.toml").write_text(
        f'default_sources = false\n[web]\nport = {port}\n[paths]\nstore = "sqlite:///{data}/listener.db"\n'
        f'[[source]]\nkind = "jsonl"\nname = "said"\npath = "{archive}"\n'
    )
    life = Process(tmp_path, environ, data / "listener.db")
    while fetched(port, "/api/v1/posts?limit=1000").count(b'"label"') < len(names):
        assert life.process.poll() is None
        time.sleep(0.1)  # lest it be asked too often
    paths = (
        "/",
        "/sources",
        "/metrics",
        "/api/v1/posts?limit=1000",
        "/api/v1/posts?limit=1000&format=csv",
        "/incidents.json",
    )
    shown = b"".join(fetched(port, path) for path in paths)
    assert shown.count(b"instagram") >= 2_000, "what was asked for came"
    assert b"\xc3\xa7\xc3\xb6kt" not in shown, "without texts, as nobody asked for them"
    assert life.end(signal.SIGTERM) == 0

    config = ("--config", str(tmp_path / "listener.toml"))
    done = listener("forget", *config, names[7])
    assert done.stdout == "1 posts erased\n", done.stderr
    copied = listener("backup", str(data / "copy.db"), "--store", f"sqlite:///{data}/listener.db")
    assert copied.returncode == 0, copied.stderr
    files = {path.name: path.read_bytes() for path in (*data.iterdir(), tmp_path / "daemon.log")}
    assert {"listener.db", "listener.key", "copy.db", "daemon.log"} <= files.keys()
    assert held(data)["jsonl:8"] != ""
    everything = shown + b"".join(raw for name, raw in files.items() if not name.endswith(".db"))
    stores = files["listener.db"] + files["copy.db"]
    assert b"giremiyorum 0008" in stores, "texts are kept for a while"
    assert b"giremiyorum" not in everything
    for name in names:
        assert name.encode() not in everything + stores, name
    assert b"giremiyorum 0007" not in stores, "gone from the files and from the next backup"
    assert held(data)["jsonl:7"] == ""


def fetched(port: int, path: str) -> bytes:
    try:
        return ask(f"http://127.0.0.1:{port}", path).content
    except httpx.TransportError:
        return b""  # not up yet


def test_a_key_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes under half a key, or under none, could be tried out by whoever has a list of names."""
    config = config_of(tmp_path)
    key = tmp_path / "listener.key"
    monkeypatch.setattr("os.fsync", lambda _: 1 / 0)  # killed just before it is written
    with pytest.raises(ZeroDivisionError):
        author_key(config)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(author_key(config)) == 32
    assert key.stat().st_mode & 0o777 == 0o600
    key.write_bytes(b"")
    with pytest.raises(ConfigError, match="no whole key"):
        author_key(config)


def test_a_key_that_is_soon_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 16 characters"):
        author_key(Config(privacy=Privacy(author_key="secret")))
    assert author_key(Config(privacy=Privacy(author_key="s" * 16))) == b"s" * 16


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


def test_a_post_is_forgotten_by_the_id_its_source_gives_it(
    listener: Command, tmp_path: Path, env: dict[str, str]
) -> None:
    native = f"jetstream:at://{ANA}/app.bsky.feed.post/1"
    with closing(open_store(f"sqlite:///{tmp_path}/listener.db")) as store, store.transaction() as tx:
        tx.add_mentions([mention("instagram çöktü", id=unnamed(native))])
    done = listener("forget", native, env=env)
    assert (done.returncode, done.stdout) == (0, "1 posts erased\n"), done.stderr
    assert held(tmp_path) == {unnamed(native): ""}


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
