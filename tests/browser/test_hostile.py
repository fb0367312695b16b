"""Whatever people, feeds, services and regions are called: nothing of it runs, and no page breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import expect

from listener.store import Store
from listener.types import Incident, IncidentState, SourceHealth, State
from tests import days
from tests.browser.chromium import CHROMIUM, MISSING, Seen, chromium, seen
from tests.browser.payloads import PAYLOADS
from tests.builders import at, mention, point
from tests.servers.dashboard import served
from tests.web import app_of, kept

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=MISSING)

SHOWN = 12  # posts an incident's page shows
COUNT = len(PAYLOADS)
SERVICES = {f"s{n}": text for n, text in enumerate(PAYLOADS)}
REGIONS = {**days.REGIONS, **{f"Q{n}": text for n, text in enumerate(PAYLOADS)}}
PAGES = -(-COUNT // SHOWN)


def incidents() -> Iterator[Incident]:
    """One a payload: the service, its region, its evidence and its digests are called that."""
    for n, text in enumerate(PAYLOADS):
        state = IncidentState.FIRING if n < 2 * COUNT // 3 else IncidentState.RESOLVED
        parts = (days.part(f"Q{n}", State.PROBLEMS, 2, 20), days.part("TR", State.PROBLEMS, 3, 9))
        made = days.incident(f"s{n}", state, parts, 2, resolved=60 if state is IncidentState.RESOLVED else None)
        yield replace(made, cause={text: 0.6, "outage": 0.4}, cause_evidence=(text,), model=text, config=text)


def fill(store: Store) -> None:
    with store.transaction() as tx:
        for n, one in enumerate(incidents()):
            tx.put_transitions(days.changes(one))
            tx.put_incidents([one])
            tx.put_points(
                [
                    replace(
                        point(3, 30.0 - n / 20, service=f"s{n}", region=f"Q{n}"),
                        labels=((f"symptom:{PAYLOADS[n]}", 1.0),),
                    )
                ]
            )
        for n, text in enumerate(PAYLOADS):
            source = f"{text}" or "empty"
            about = f"s{n // SHOWN}"
            made = mention(text, id=f"t:{n}", minutes=4, service=about, source=source, url=text, symptom=text[:50])
            tx.add_mentions([replace(made, matches=(text,))])
            health = SourceHealth(source, text, f"Q{n}", errors_in_a_row=n % 3, reason=text, last_success_at=at(90))
            tx.put_health([health])
            tx.add_dropped(source, f"{days.NOW:%Y-%m-%d}", {text: 1})
        tx.set_mark("hearing_now", json.dumps(dict.fromkeys(REGIONS, 0.9)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with kept(tmp_path, fill) as made:
        yield made


def check(it: Seen, where: str) -> None:
    """Nothing ran, nothing was made of a text, and the page has all its parts."""
    page = it.page
    made = page.evaluate(
        """() => ({
        hit: window.hit ?? null,
        foreign: [...document.querySelectorAll('main *, footer *, header *, title *')].filter(e =>
            /^(script|img|image|iframe|object|embed|style|link|meta|base|form|input|select|textarea|video|audio|math|marquee)$/i
                .test(e.localName) || [...e.attributes].some(a => /^on/i.test(a.name))
            || /^\\s*(javascript|data|vbscript):/i.test(e.getAttribute('href') ?? '')).map(e => e.outerHTML.slice(0, 200)),
        parts: ['header', 'main', 'footer'].map(name => document.querySelectorAll(name).length),
        order: [...document.body.children].map(e => e.localName).join(' '),
        wide: document.documentElement.scrollWidth,
        live: document.getElementById('connection')?.textContent,
    })"""
    )
    assert made["hit"] is None, where
    assert made["foreign"] == [], where
    assert made["parts"] == [1, 1, 1], where
    assert made["order"] == "a header main footer", where
    assert made["wide"] <= 1280, where
    assert made["live"] == "live", where
    assert it.troubles == [], where


@pytest.mark.parametrize("guarded", [True, False], ids=["with the policy", "by escaping alone"])
def test_two_hundred_tricks_do_nothing(store: Store, guarded: bool) -> None:
    assert len(set(PAYLOADS)) == COUNT >= 200
    app = app_of(store, services=SERVICES, regions=REGIONS)
    with served(app) as base, chromium() as browser, seen(browser, bypass_csp=not guarded) as it:
        some = [f"/services/s{n}" for n in range(0, COUNT, 40)] + [f"/regions/Q{n}" for n in range(0, COUNT, 40)]
        for path in ("/", "/sources", *some):
            it.look(base + path)
            check(it, path)
        for n in range(PAGES):
            it.look(f"{base}/incidents/s{n}-20260302T1202Z")
            wanted = [text for text in PAYLOADS[n * SHOWN : (n + 1) * SHOWN] if text.strip()]
            assert it.page.locator("q").count() >= len(wanted) - 1, "each text is shown"
            it.page.click("h1")
            check(it, f"incident {n}")
        with store.transaction() as tx:  # the way of news into an open page
            tx.set_mark("watched", at(94).isoformat())
            tx.add_mentions([mention("fresh news", id="t:new", minutes=5, service=f"s{PAGES - 1}", chatter=0.99)])
        expect(it.page.locator("main")).to_contain_text("fresh news")
        check(it, "after news")


def test_what_turns_writing_round_turns_only_itself(store: Store) -> None:
    number = PAYLOADS.index("\u202e")
    app = app_of(store, services=SERVICES, regions=REGIONS)
    with served(app) as base, chromium() as browser, seen(browser) as it:
        page = it.look(f"{base}/incidents/s{number // SHOWN}-20260302T1202Z")
        lines = page.evaluate(
            """() => [...document.querySelectorAll('.posts small')].map(small => {
            const said = [...small.childNodes].find(node => node.data?.includes('counted'));
            const left = at => {
                const range = document.createRange();
                range.setStart(said, at);
                range.setEnd(said, at + 1);
                return range.getBoundingClientRect().left;
            };
            const first = said.data.indexOf('counted');
            return left(first) < left(first + 6);
        })"""
        )
        assert len(lines) > 5
        assert all(lines), "what follows the name still reads from left to right"
