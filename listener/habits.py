"""What the store knows of where authors wrote from before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from listener.pipeline import Pipeline
from listener.regions.history import habit
from listener.store import Store
from listener.types import Post

EARLIER = 50  # of an author's earlier posts that are asked where they came from

Habits = Mapping[str, Mapping[str, float]]  # post id -> odds a region


def habits_of(posts: Sequence[Post], store: Store, pipeline: Pipeline) -> Habits:
    """Where authors wrote from before, by post id.

    Only posts that are older than the allowed lateness speak, for these have all arrived: order of arrival changes nothing.
    """
    config = pipeline.config
    authors = sorted({post.author for post in posts if post.author})
    if not authors:
        return {}
    times = [post.event_at for post in posts]
    since, until = min(times) - config.privacy.retention, max(times) - config.signal.lateness
    told = store.told_of(authors, since, until)
    made = {}
    for post in posts:
        first, last = post.event_at - config.privacy.retention, post.event_at - config.signal.lateness
        earlier = [regions for at, regions in told.get(post.author, ()) if first <= at < last]
        if earlier and (odds := habit(earlier[-EARLIER:], pipeline.attributor.weights)):
            made[post.id] = odds
    return made
