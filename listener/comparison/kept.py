"""The posts a daemon's store still holds the text of, as an archive that can be replayed.

Only posts that were judged worth keeping are in a store, and erased ones have lost their text: what a more talkative model would
have made of the rest can't be told from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import blake2b

from listener.replay import Archive
from listener.store import Store
from listener.types import Post

DAY = timedelta(days=1)
MOST_A_DAY = 1_000_000


class Kept(Archive):
    """Posts of `since <= at < until`, in order of arrival, held in memory; `erased` counts those left out."""

    def __init__(self, store: Store, since: datetime, until: datetime) -> None:
        super().__init__([], _unheard)
        self.erased = 0
        self._posts: list[Post] = []
        while since < until:
            end = min(since + DAY, until)
            for mention in reversed(store.mentions(since=since, until=end, limit=MOST_A_DAY)):
                if mention.post.text:
                    self._posts.append(mention.post)
                else:
                    self.erased += 1
            since = end
        self._posts.sort(key=lambda post: (post.received_at, post.id))
        digest = blake2b(digest_size=12)
        for post in self._posts:
            digest.update(f"{post.id}\0{post.text}\0".encode())
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._posts)

    def posts(self, skip: int = 0) -> Iterator[Post]:
        yield from self._posts[skip:]

    def arrivals(self, skip: int = 0) -> Iterator[tuple[datetime, Post]]:
        return ((post.received_at, post) for post in self._posts[skip:])


def _unheard(message: str) -> None:
    raise AssertionError(message)  # no file is read
