"""Commands for people who ask what we hold of them: erase it, and make the key of the author hashes anew."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from listener.authors import author_hash, unnamed
from listener.cli import wiring
from listener.cli.wiring import ConfigOption
from listener.errors import InputError, ListenerError
from listener.types import Delete

StoreOption = Annotated[str | None, typer.Option("--store", metavar="URL", help="Store; default: the config's.")]


def register(app: typer.Typer) -> None:
    app.command()(forget)
    app.command("rotate-key")(rotate_key)


def forget(
    what: Annotated[
        list[str],
        typer.Argument(metavar="AUTHOR|POST...", help="An author's native name, or the id or address of a post."),
    ],
    source: Annotated[
        str, typer.Option("--source", metavar="NAME", help="Only what the author wrote there; default: everywhere.")
    ] = "",
    store: StoreOption = None,
    config: ConfigOption = None,
) -> None:
    """Erase posts, or everything of an author: text, author, address and place; what was counted stays.

    An author is named as the source names them: did:plc:... on Bluesky, ana@mastodon.example, name@host of a feed.
    The daemon must not run on a SQLite store meanwhile. Such as: listener forget ana@mastodon.example
    """
    from listener.roles.turns import Beside
    from listener.store import open_store

    read, _ = wiring.read(config)
    url = store or read.store_url()
    now = datetime.now(UTC)
    keys = (wiring.author_key(read), *wiring.earlier_keys(read, now))
    unknown = []
    is_alone = url.startswith("sqlite:")
    with closing(open_store(url, exclusive=is_alone)) as opened:
        wanted = {one for one in what if one.startswith(("http://", "https://"))}
        by_url = {m.post.url: m.post.id for m in opened.mentions(limit=10**9) if m.post.url in wanted} if wanted else {}
        with opened.transaction() as tx:
            for one in what:
                posts = tx.mentions_of([by_url.get(one, one), unnamed(one)])
                if posts:
                    asked = [Delete(m.post.source, now, post_id=m.post.id) for m in posts]
                else:
                    names = dict.fromkeys((one, one.removeprefix("@")))
                    asked = [Delete(source, now, author=author_hash(name, key)) for name in names for key in keys]
                erased = sum(len(tx.erase(delete)) for delete in asked)
                print(f"{erased} posts erased")
                if not erased and not posts:
                    unknown.append(one)
            if not is_alone:
                Beside().end(tx, [], {})  # workers may go on meanwhile
    if unknown:
        raise ListenerError(f"nothing is held of {', '.join(map(repr, unknown))}, by that name or id")


def rotate_key(config: ConfigOption = None, store: StoreOption = None) -> None:
    """Make the key of the author hashes anew, so that who wrote before can't be told from who writes after.

    The key before is kept until the retention has passed, only to honour deletions. The daemon must not run meanwhile.
    Such as: systemctl stop listener && listener rotate-key && systemctl start listener
    """
    from listener.store import open_store

    read, _ = wiring.read(config)
    if read.privacy.author_key:
        raise InputError("the key is [privacy] author_key: change it there, or in LISTENER_PRIVACY_AUTHOR_KEY_FILE")
    path = wiring.key_path(read)
    if path is None:
        raise InputError("a store in memory has a key of its own at every start")
    wiring.author_key(read)
    with closing(open_store(store or read.store_url())):  # held: nobody hashes with the old one any more
        now = datetime.now(UTC)
        wiring.earlier_keys(read, now)
        path.replace(path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%SZ}"))
        wiring.make_key(path)
    print(f"{path}: a new key; the one before is known for another {read.privacy.retention.days} days")
