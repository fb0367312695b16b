"""Two replays side by side: the same incident is found again, and what differs is named, as lines, a table and a page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from listener.comparison.kept import Kept
from listener.comparison.matching import Change, Side, Told, compared, counts, told
from listener.comparison.page import page, summary
from listener.store import open_store
from listener.types import Delete, IncidentState, Transition
from tests.browser.chromium import CHROMIUM, MISSING, chromium, seen
from tests.browser.payloads import PAYLOADS
from tests.builders import at, mention
from tests.conftest import ROOT, Command
from tests.days import OPEN, OVER, changes
from tests.small_model import small_model

END = at(1000)


def story(
    id: str = "a", start: float = 0, noticed: float | None = 5, end: float | None = 60, service: str = "instagram"
) -> Told:
    return Told(
        id=id,
        service=service,
        started_at=at(start),
        noticed_at=None if noticed is None else at(noticed),
        ended_at=None if end is None else at(end),
        regions=("TR", "BG"),
        cause="outage",
        sureness=0.8,
        people=12,
    )


def between(before: list[Told], after: list[Told]) -> list[tuple[str, str]]:
    return [(change.kind, summary(change)) for change in compared(before, after, END)]


def test_incidents_of_one_service_whose_times_overlap_are_the_same_one() -> None:
    assert between([story("a")], [story("b")]) == [("same", "the same")]
    assert {kind for kind, _ in between([story("a")], [story("b", service="viber")])} == {"vanishes", "appears"}
    later = story("b", 60, 65, 90)
    assert {kind for kind, _ in between([story("a")], [later])} == {"vanishes", "appears"}, "one after the other is two"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (story(noticed=2), "noticed 3 min earlier"),
        (story(noticed=9), "noticed 4 min later"),
        (story(end=85), "lasts 25 min longer"),
        (story(end=None), "lasts 940 min longer"),
        (story(end=40, noticed=6), "noticed 1 min later, lasts 20 min shorter"),
        (story(end=63), "the same"),
        (story(noticed=None), "only possible, was confirmed"),
        (replace(story(), regions=("TR", "RO", "XK")), "+RO +XK −BG"),
        (replace(story(), cause="block"), "outage → block"),
    ],
)
def test_what_differs_is_said_in_a_few_words(after: Told, said: str) -> None:
    assert [words for _, words in between([story()], [after])] == [said]


def test_of_several_that_overlap_the_longest_overlap_is_the_same_one() -> None:
    whole, first, rest = story("w", 0, 5, 100), story("f", 0, 5, 30), story("r", 40, 45, 100)
    made = {(c.kind, c.before and c.before.id, c.after and c.after.id) for c in compared([whole], [first, rest], END)}
    assert made == {("changes", "w", "r"), ("splits", None, "f")}
    made = {(c.kind, c.before and c.before.id, c.after and c.after.id) for c in compared([first, rest], [whole], END)}
    assert made == {("changes", "r", "w"), ("merges", "f", None)}


def test_the_order_of_the_incidents_does_not_matter() -> None:
    before = [story(f"a{n}", 100 * n, 100 * n + 4, 100 * n + 70) for n in range(6)]
    after = [story(f"b{n}", 100 * n + 35, 100 * n + 40, 100 * n + 120) for n in range(6)]
    assert compared(before, after, END) == compared(before[::-1], after[::-1], END)


def test_a_story_is_told_from_its_transitions() -> None:
    stories = {one.id: one for one in told([t for one in (*OVER, OPEN) for t in changes(one)])}
    one = stories[OPEN.id]
    assert one.noticed_at == OPEN.started_at + (at(4) - at(0))
    assert (one.ended_at, one.regions, one.cause, one.people) == (None, OPEN.regions, "outage", 162)
    assert stories[OVER[0].id].ended_at == OVER[0].resolved_at
    possible = Transition("t", at(0), replace(OPEN, id="p"), None, IncidentState.PENDING)
    assert [one.noticed_at for one in told([possible])] == [None]


def test_counts_come_in_one_order() -> None:
    found = [
        Change("same", story(), story()),
        Change("appears", None, story()),
        Change("changes", None, None, ("later",)),
    ]
    assert list(counts(found).items()) == [("appears", 1), ("later", 1), ("same", 1)]


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_the_page_stands_by_itself_and_runs_nothing(tmp_path: Path) -> None:
    hostile = [story(f"h{n}", 100 * n, 100 * n + 5, 100 * n + 60, service=text) for n, text in enumerate(PAYLOADS)]
    after = [replace(one, noticed_at=one.started_at, regions=(one.service,)) for one in hostile[1:]]
    side = Side(PAYLOADS[0], "sha256:aa", "sha256:bb", ())
    made = page(side, replace(side, model=PAYLOADS[1]), compared(hostile, after, END), list(PAYLOADS[:5]), END)
    (tmp_path / "changes.html").write_text(made, encoding="utf-8")
    with chromium() as browser, seen(browser, color_scheme="dark", viewport={"width": 360, "height": 700}) as dark:
        asked: list[str] = []
        dark.page.on("request", lambda request: asked.append(request.url))
        dark.page.context.unroute_all()
        dark.page.goto((tmp_path / "changes.html").as_uri())
        assert dark.page.evaluate("window.hit") is None
        assert dark.page.locator("article").count() == len(hostile)
        assert dark.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"
        assert dark.troubles == []
        assert len(asked) == 1, "it asks for nothing but itself"


def test_what_a_store_kept_is_an_archive_without_what_was_erased() -> None:
    store = open_store("sqlite:///:memory:")
    with store.transaction() as tx:
        tx.add_mentions([mention(id=f"test:{n}", minutes=2000 - n) for n in range(30)])
        tx.erase(Delete("test", at(1), "test:7"))
    kept = Kept(store, at(0), at(3000))
    assert (len(kept), kept.erased) == (29, 1)
    posts = list(kept.posts())
    assert [p.id for p in posts] == [f"test:{n}" for n in range(29, -1, -1) if n != 7]
    assert list(kept.posts(skip=27)) == posts[27:]
    assert kept.digest == Kept(store, at(0), at(3000)).digest != Kept(store, at(0), at(1990)).digest
    store.close()


def test_replay_with_two_models_says_what_differs(listener: Command, tmp_path: Path) -> None:
    lines = [
        {
            "id": f"{n}",
            "author": f"a{n}",
            "text": f"instagram çöktü, giremiyorum {n}",
            "created_at": f"2026-03-02T12:{n // 8:02}:{7 * (n % 8):02}Z",
        }
        for n in range(80)
    ]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    small_model(tmp_path / "knows-nothing", 1)
    models = ("--model", str(ROOT / "models" / "current"), "--model", "knows-nothing")
    done = listener("replay", "posts.jsonl", *models, "--until", "2026-03-02T12:12:00Z", "--page", "changes.html")
    assert done.returncode == 0, done.stderr
    (change,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert change["service"] == "instagram"
    assert change["a"]["regions"] == ["TR"]
    assert change["a"]["noticed_at"] is not None
    assert "1 malformed lines skipped" in done.stderr
    assert "knows-nothing" in (tmp_path / "changes.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give either FILE... or --from-store URL"),
        (("a.jsonl", "--from-store", "sqlite:///x.db"), "give either FILE"),
        (("a.jsonl", *("--model", "m") * 3), "two at most can be compared, 3 were given"),
        (("a.jsonl", *("--model", "m") * 2, "--store", "sqlite:///x.db"), "two replays can't share a store"),
        (("a.jsonl", "--page", "x.html"), "there is nothing to compare"),
    ],
)
def test_what_can_not_be_compared_is_said_in_one_line(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from listener.cli import main

    monkeypatch.setattr("sys.argv", ["listener", "replay", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in capsys.readouterr().err
