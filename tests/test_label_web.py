"""The page `/label`: who may come in, what is kept, and that nobody else's form is taken."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from listener import config
from listener.cli import label_page
from listener.errors import ConfigError
from listener.labelling.answers import LABEL_KEYS, MEANINGS, SYMPTOM_KEYS
from listener.labelling.candidates import Candidate, Pick
from listener.labelling.desk import Desk
from listener.labelling.records import Label, LabelFile, load
from listener.pipeline import Pipeline
from listener.web.labels import Labels
from tests.browser.chromium import CHROMIUM, MISSING, chromium, seen
from tests.builders import mention, score
from tests.servers.dashboard import served
from tests.web import app_of, kept

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TOKEN = "a-token-nobody-guesses"
TEXTS = ("instagram açılmıyor", "<b>wp</b> dondu", "hava güzel")


def chosen(done: Collection[str]) -> Sequence[Pick]:
    found = [
        Candidate(f"p{n}", text, "tr", ("instagram",), score(0.7).probabilities, "", "sha256:m", True)
        for n, text in enumerate(TEXTS)
    ]
    return [Pick(one, "margin") for one in found if one.id not in done]


def page_of(folder: Path, token: str = "", choose: Callable[[Collection[str]], Sequence[Pick]] = chosen) -> Labels:
    desk = Desk(LabelFile(folder / "labels.jsonl"), choose, {"instagram", "unnamed"}, lambda: NOW)
    meanings = tuple((key, name, MEANINGS[name]) for key, name in LABEL_KEYS.items())
    return Labels(desk, meanings, tuple(SYMPTOM_KEYS.items()), token)


@contextmanager
def dashboard(folder: Path, token: str = "", **changes: Any) -> Iterator[str]:
    with kept(folder) as store, served(app_of(store, labels=page_of(folder, token), **changes)) as base:
        yield base


@contextmanager
def browser(base: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, trust_env=False, follow_redirects=True, timeout=30) as client:
        yield client


def key_of(answer: httpx.Response) -> str:
    found = re.search(r'name="key" value="([^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


def enter(client: httpx.Client, by: str = "ana", **more: str) -> httpx.Response:
    return client.post("/label/enter", data={"key": key_of(client.get("/label")), "by": by, **more})


def send(client: httpx.Client, id: str, **form: str) -> httpx.Response:
    key = key_of(client.get("/label"))
    return client.post("/label", data={"key": key, "id": id, "do": "answer", **form})


def answers(folder: Path) -> list[Label]:
    path = folder / "labels.jsonl"
    return load(path) if path.exists() else []


def test_there_is_no_such_page_unless_it_was_asked_for(tmp_path: Path) -> None:
    with kept(tmp_path) as store, served(app_of(store)) as base, browser(base) as client:
        assert client.get("/label").status_code == 404
        assert "/label" not in client.get("/").text


def test_a_round_without_javascript(tmp_path: Path) -> None:
    with dashboard(tmp_path) as base, browser(base) as client:
        first = enter(client)
        assert TEXTS[0] in first.text
        assert "70 %" not in first.text, "the guess is hidden until answered"
        second = send(client, "p0", label="report", symptom="login", services="instagram", note="sure")
        assert "You: <strong>report</strong>" in second.text
        assert "70 %" in second.text
        assert "&lt;b&gt;wp&lt;/b&gt; dondu" in second.text
        send(client, "p1", label="other", symptom="login", services="")
        back = send(client, "p2", do="undo")
        assert "wp" in back.text
        send(client, "p1", do="skip")
        over = send(client, "p2", label="works", services="instagram")
        assert "Nothing more to ask" in over.text
    given = answers(tmp_path)
    assert [(one.label, one.symptom, one.note, one.by) for one in given] == [
        ("report", "login", "sure", "ana"),
        ("works", None, "", "ana"),
    ]
    assert (given[0].at, given[0].guess, given[0].picked) == ("2026-03-02T12:00:00Z", "report", "margin")


def test_a_form_that_was_sent_twice_or_is_wrong_is_refused_in_words(tmp_path: Path) -> None:
    with dashboard(tmp_path) as base, browser(base) as client:
        enter(client)
        send(client, "p0", label="other", services="instagram")
        again = send(client, "p0", label="report", services="instagram")
        assert again.status_code == 400
        assert "answered or skipped already" in again.text
        assert "Choose one of the nine" in send(client, "p1").text
        assert "no service &#39;instagrm&#39;" in send(client, "p1", label="report", services="instagrm").text
        assert send(client, "p1", label="report", note="x" * 20_000).status_code == 403
    assert len(answers(tmp_path)) == 1


def test_a_form_made_elsewhere_is_not_taken(tmp_path: Path) -> None:
    with dashboard(tmp_path) as base, browser(base) as client:
        enter(client)
        form = {"id": "p0", "label": "other", "do": "answer", "services": ""}
        assert client.post("/label", data=form).status_code == 403
        assert client.post("/label", data={**form, "key": "guess"}).status_code == 403
        crossing = {"sec-fetch-site": "cross-site"}
        key = key_of(client.get("/label"))
        assert client.post("/label", data={**form, "key": key}, headers=crossing).status_code == 403
        assert client.post("/label", json={**form, "key": key}).status_code == 403
    assert answers(tmp_path) == []


@pytest.mark.parametrize(
    "headers",
    [{"host": "listener.example"}, {"x-forwarded-for": "203.0.113.9"}, {"forwarded": "for=203.0.113.9"}],
    ids=["a name that leads to loopback", "a proxy", "a modern proxy"],
)
def test_without_a_token_only_this_machine_may(tmp_path: Path, headers: dict[str, str]) -> None:
    with dashboard(tmp_path) as base, browser(base) as client:
        refused = client.get("/label", headers=headers)
        assert refused.status_code == 403
        assert "label_token" in refused.text
        assert TEXTS[0] not in enter(client).text or client.get("/label", headers=headers).status_code == 403


def test_a_dashboard_that_others_reach_needs_a_token(tmp_path: Path) -> None:
    with dashboard(tmp_path, url="https://outages.example.org") as base, browser(base) as client:
        assert client.get("/label").status_code == 403


def test_with_a_token_it_must_be_shown_even_here(tmp_path: Path) -> None:
    with dashboard(tmp_path, TOKEN) as base, browser(base) as client:
        assert TEXTS[0] not in client.get("/label").text
        wrong = enter(client, token="a-token-somebody-guesses")
        assert wrong.status_code == 403
        assert "not the token" in wrong.text
        client.cookies.set("listener_labeller", "ana", path="/label")
        client.cookies.set("listener_label", "0" * 64, path="/label")
        assert TEXTS[0] not in client.get("/label").text
        client.cookies.clear()
        entered = enter(client, token=TOKEN)
        assert TEXTS[0] in entered.text
        cookie = entered.history[0].headers.get_list("set-cookie")[1]
        assert {"HttpOnly", "SameSite=strict", "Path=/label"} <= {part.strip() for part in cookie.split(";")}
        assert TOKEN not in cookie
        assert "no-store" in entered.headers["cache-control"]


def test_labellers_have_rounds_of_their_own_and_go_on_after_a_restart(tmp_path: Path) -> None:
    with dashboard(tmp_path) as base, browser(base) as client:
        enter(client, "ana")
        send(client, "p0", label="other", services="instagram")
    with dashboard(tmp_path) as base, browser(base) as ana, browser(base) as ben:
        assert "Post 2 of 3" in enter(ana, "ana").text
        assert "Post 1 of 3" in enter(ben, "ben").text
        assert "Nothing was kept" in ana.post("/label", data={"key": "old", "id": "p1", "label": "other"}).text


def test_the_config_says_whether_where_and_with_which_token(tmp_path: Path, pipeline: Pipeline) -> None:
    path = tmp_path / "listener.toml"
    path.write_text(f'[web]\nlabel = true\nlabel_token = {{env = "T"}}\nlabel_file = "{tmp_path}/mine.jsonl"\n')
    read = config.load(path, {"T": TOKEN})
    assert TOKEN not in repr(read)
    with kept(tmp_path) as store:
        with store.transaction() as tx:
            tx.add_mentions([mention("instagram çöktü mü", id="a:1"), mention("wp dondu kaldı", id="a:2")])
        made = label_page.labels(read, store, lambda: pipeline)
        assert made is not None
        assert TOKEN not in repr(made)
        first = made.desk.asked("ana")
        made.desk.answer("ana", first.id, "report", "", "", "")
        assert len(load(tmp_path / "mine.jsonl")) == 1
        assert label_page.labels(config.load(None, {}), store, lambda: pipeline) is None
        short = config.load(None, {"LISTENER_WEB_LABEL": "true", "LISTENER_WEB_LABEL_TOKEN": "short"})
        with pytest.raises(ConfigError, match="at least 16 characters"):
            label_page.labels(short, store, lambda: pipeline)
    path.write_text('[web]\nlabel_token = "in the open"\n')
    with pytest.raises(ConfigError, match="a secret does not stand in the config"):
        config.load(path, {})


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_keys_choose_and_news_does_not_take_the_form_away(tmp_path: Path) -> None:
    labels = page_of(tmp_path)
    with kept(tmp_path) as store, served(app_of(store, labels=labels)) as base, chromium() as made, seen(made) as it:
        page: Page = it.look(f"{base}/label")
        page.fill("#by", "ana")
        page.click("text=Begin")
        expect(page.locator("blockquote")).to_have_text(TEXTS[0])
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("1")
        page.keyboard.press("l")
        page.fill("#note", "1 9")
        expect(page.locator("#connection")).to_have_text("live")
        page.evaluate("() => { events.addEventListener('changed', () => { document.body.dataset.heard = 1; }); }")
        with store.transaction() as tx:
            tx.set_mark("watched", NOW.isoformat())
        page.wait_for_selector("body[data-heard]")
        expect(page.locator("#note")).to_have_value("1 9")
        page.locator("h1").click()
        page.keyboard.press("Enter")
        expect(page.locator(".told")).to_contain_text("report")
        expect(page.locator("blockquote")).to_have_text(TEXTS[1])
        assert it.troubles == []
    (given,) = answers(tmp_path)
    assert (given.label, given.symptom, given.note) == ("report", "login", "1 9")
