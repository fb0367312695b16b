"""A document is asked for as far as it has changed, by validators kept as the server gave them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from listener.sources._conditional import TRUSTED, Validators, ask
from tests.servers.driving import Time, net
from tests.servers.feeds import HttpServer, answer, in_turn, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_validators_go_back_as_they_came_and_a_304_may_bring_new_ones() -> None:
    first = answer(200, b"one", {"ETag": 'W/"1"', "Last-Modified": "Fri, 20 Nov 2026 13:00:00 GMT"})
    async with running(HttpServer({"/": in_turn(first, answer(304, b"", {"ETag": 'W/"2"'}))})) as server, net() as edge:
        response, known = await ask(server.url + "/", Validators(), edge)
        assert response is not None
        assert response.body == b"one"
        response, renewed = await ask(server.url + "/", known, edge, headers={"Accept": "text/plain"})
    assert response is None
    asked = server.requests[1].headers
    assert asked["if-none-match"] == 'W/"1"'
    assert asked["if-modified-since"] == "Fri, 20 Nov 2026 13:00:00 GMT"
    assert asked["accept"] == "text/plain"
    assert (renewed.etag, renewed.modified) == ('W/"2"', "Fri, 20 Nov 2026 13:00:00 GMT")


@pytest.mark.parametrize("headers", [{}, {"ETag": '"same"'}])
async def test_a_document_sent_again_is_the_one_known(headers: dict[str, str]) -> None:
    second = answer(200, b"two" if headers else b"one", headers)
    async with running(HttpServer({"/": in_turn(answer(200, b"one", headers), second)})) as server, net() as edge:
        _, known = await ask(server.url + "/", Validators(), edge)
        assert (await ask(server.url + "/", known, edge))[0] is None


async def test_validators_of_an_answer_that_expires_at_once_are_not_used() -> None:
    behave = answer(200, b"one", {"ETag": '"1"', "Expires": "0"})
    async with running(HttpServer({"/": behave})) as server, net() as edge:
        assert (await ask(server.url + "/", Validators(), edge))[1].etag == ""


async def test_a_server_that_always_says_304_is_not_believed_for_ever() -> None:
    time = Time()
    behave = in_turn(answer(200, b"one", {"ETag": '"1"'}), answer(304), answer(200, b"two"))
    async with running(HttpServer({"/": behave})) as server, net(time) as edge:
        _, known = await ask(server.url + "/", Validators(), edge)
        time.now += TRUSTED - timedelta(hours=1)
        response, known = await ask(server.url + "/", known, edge)
        assert response is None
        time.now += timedelta(hours=1)
        response, _ = await ask(server.url + "/", known, edge)
    assert response is not None
    assert "if-none-match" not in server.requests[2].headers


async def test_another_status_that_is_accepted_changes_nothing_of_what_is_known() -> None:
    known = Validators(etag='"1"', body="x")
    async with running() as server, net() as edge:
        response, after = await ask(server.url + "/", known, edge, accept=(404,))
    assert response is not None
    assert (response.status, after) == (404, known)
