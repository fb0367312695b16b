"""What every store promises of tallies, the daily counts from which drift is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.store import Store, open_store
from listener.types import Tally
from tests.contracts.test_store_contract import STORES


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with request.param(tmp_path) as url:
        store = open_store(url)
        yield store
        assert store.verify() == []
        store.close()


def tally(count: int = 1, *, day: str = "2026-03-02", bucket: str = "9", **changes: str) -> Tally:
    return Tally(
        **{"day": day, "source": "feed", "model": "sha256:a", "measure": "score", "bucket": bucket, **changes},
        count=count,
    )


def add(store: Store, *tallies: Tally) -> None:
    with store.transaction() as writer:
        writer.add_tallies(tallies)


def test_counts_of_the_same_bucket_add_up_and_others_stand_beside_them(store: Store) -> None:
    add(store, tally(2), tally(3), tally(1, bucket="0"))
    add(store, tally(4), tally(1, model="sha256:b"), tally(1, measure="words"), tally(7, source="врабац"))
    assert store.tallies("2026-03-02") == [
        tally(1, bucket="0"),
        tally(9),
        tally(1, measure="words"),
        tally(1, model="sha256:b"),
        tally(7, source="врабац"),
    ]


def test_tallies_are_given_from_a_day_on_in_order_and_dropped_before_one(store: Store) -> None:
    add(store, *(tally(n, day=f"2026-03-{n:02}") for n in (9, 10, 1, 2)))
    assert [t.count for t in store.tallies("2026-03-02")] == [2, 9, 10]
    with store.transaction() as writer:
        writer.drop_tallies("2026-03-09")
    assert [t.count for t in store.tallies("")] == [9, 10]


def test_tallies_of_a_transaction_that_failed_are_not_there(store: Store) -> None:
    def fails() -> None:
        with store.transaction() as writer:
            writer.add_tallies([tally(5)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert store.tallies("") == []
