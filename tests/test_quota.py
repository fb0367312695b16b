"""What is counted is counted in full: over restarts, over the turn of a month, and with a clock that was set back."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.sources._quota import Monthly, Rolling, until_next_month
from tests.servers.driving import NOW

HOUR = timedelta(hours=1)
LAST_SECOND = datetime.fromisoformat("2026-11-30T23:59:59Z")


def test_a_month_begins_with_nothing_used() -> None:
    november = Monthly().claim(100, LAST_SECOND).settle(100, 40, LAST_SECOND)
    assert november == Monthly("2026-11", 40)
    assert november.at(LAST_SECOND + timedelta(seconds=1)) == Monthly("2026-12")


def test_a_clock_set_back_does_not_begin_a_month() -> None:
    assert Monthly("2026-11", 40).at(LAST_SECOND - timedelta(days=40)) == Monthly("2026-11", 40)


def test_what_is_claimed_in_one_month_and_used_in_the_next_counts_in_both() -> None:
    claimed = Monthly("2026-11", 900).claim(100, LAST_SECOND)
    assert claimed == Monthly("2026-11", 1000)
    assert claimed.settle(100, 40, LAST_SECOND + HOUR) == Monthly("2026-12", 40)


@pytest.mark.parametrize(
    ("now", "days"), [("2026-11-20T00:00:00Z", 11), ("2026-12-31T00:00:00Z", 1), ("2028-02-01T00:00:00Z", 29)]
)
def test_the_turn_of_the_month_is_known(now: str, days: int) -> None:
    assert until_next_month(datetime.fromisoformat(now)) == days * 86400


@given(st.lists(st.tuples(st.integers(0, 40 * 3600), st.integers(1, 5)), max_size=40), st.integers(1, 30))
def test_no_24_hours_ever_hold_more_than_the_limit(asked: list[tuple[int, int]], limit: int) -> None:
    """Whatever is asked for and when: what is let through never exceeds the limit in any 24 hours."""
    spent, through = Rolling(), list[datetime]()
    for second, count in sorted(asked):
        now = NOW + timedelta(seconds=second)
        for _ in range(count):
            spent = spent.at(now)
            if spent.free_in(limit, now) == 0:
                spent = spent.add(1, now)
                through.append(now)
    for start in through:
        assert sum(start <= at < start + 24 * HOUR for at in through) <= limit


def test_a_used_up_day_frees_when_the_oldest_quarter_is_a_day_old() -> None:
    spent = Rolling().add(3, NOW).add(1, NOW + HOUR)  # 13:10, so the quarter ends at 13:15
    assert spent.free_in(5, NOW + HOUR) == 0
    assert spent.free_in(4, NOW + HOUR) == (timedelta(hours=23, minutes=5)).total_seconds()
    assert spent.free_in(1, NOW + HOUR) == (timedelta(hours=24, minutes=5)).total_seconds()
    assert spent.free_in(0, NOW) == 86400
    assert spent.at(NOW + timedelta(hours=24, minutes=4)).used == 4
    assert spent.at(NOW + timedelta(hours=24, minutes=5)).used == 1
