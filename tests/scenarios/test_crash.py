"""Lives cut short by SIGKILL at chosen points: what was accepted is stored once, what changed is told at least once.

The short form kills a score of times; `LISTENER_TEST_KILLS=500` is the long one (`./dev soak`).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from listener.store import open_store
from tests.conftest import ROOT
from tests.servers.mortal import posts_of

KILLS = int(os.environ.get("LISTENER_TEST_KILLS", "24"))
MINUTES = 12 + KILLS // 4


def fates(rng: random.Random) -> list[str]:
    """Inside transactions for the most part; between sending and recording; and anywhere."""
    made = []
    for n in range(KILLS):
        kind = ("statement", "statement", "send", "moment")[n % 4]
        how = {"statement": rng.randint(1, 120), "send": rng.randint(1, 4), "moment": round(rng.uniform(0.02, 0.6), 3)}
        made.append(f"{kind} {how[kind]}")
    return [*made, "never 0"]


@pytest.mark.timeout(300 + 10 * KILLS)
def test_killed_inside_transactions_and_between_sending_and_recording_nothing_is_lost(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.servers.mortal", str(tmp_path), str(MINUTES)],
        input="\n".join(fates(random.Random(7))) + "\n",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-2000:]
    lives = [line.split() for line in told.stdout.splitlines()]
    assert lives[-1] == ["lived", str(MINUTES)]
    acknowledged = [int(cursor) for _, cursor in lives if cursor != "0"]  # 0: killed before it could say
    assert acknowledged == sorted(acknowledged), "what was acknowledged once is never asked for again"
    assert sum(how == "died" for how, _ in lives) >= KILLS // 3
    with closing(open_store(f"sqlite:///{tmp_path / 'listener.db'}", read_only=True)) as store:
        assert store.verify() == []
        stored = Counter(mention.post.id for mention in store.mentions(limit=100_000))
        assert stored == Counter(post.id for minute in range(MINUTES) for post in posts_of(minute))
        changed = store.transitions(limit=100_000)
        assert store.untold("file") == []
        sent = {told.transition_id for told in store.notifications() if told.outcome == "sent"}
    lines = (tmp_path / "told.jsonl").read_text(encoding="utf-8").splitlines()
    heard = Counter(json.loads(line)["id"] for line in lines)
    assert sent <= set(heard), "what is recorded as told was told"
    assert {t.id for t in changed if t.to_state in ("firing", "resolved")} <= set(heard)
    print(f"\n{KILLS} kills, {sum(stored.values())} posts, {len(changed)} transitions, {len(lines)} messages")
