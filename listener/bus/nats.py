"""The bus on NATS JetStream: a work queue with one durable pull consumer shared by all workers, and a stream of dead letters.

Streams and consumer are made when they are missing and left alone when they are there, so that an operator may shape them.
Production should run nats-server 2.10.23 or newer: earlier ones can lose what they acknowledged (docs/scale.md).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors

from listener import config, telemetry
from listener.bus import DeadLetter
from listener.bus._bell import Bell
from listener.errors import BusError

SAME_WITHIN = 120.0  # seconds within which an id published again counts once
DEAD_FOR = 30 * 86_400.0  # seconds dead letters are kept: they hold posts, as long as texts are kept by default
ANSWER = 5.0  # seconds the server may take
AT_FIRST = 30.0  # seconds it may take to be there at all
FIRST_WAIT, LONGEST_WAIT = 0.05, 2.0  # seconds between tries
FULL = {10047, 10076, 10077}  # server's codes: no room (resources, bytes, messages)
NO_MESSAGE = 10057  # server's code: no such message, or none any more
HEADROOM = 4096  # bytes of a message that are not its body
CONSUMER = "understand"
ID, REASON = "Nats-Msg-Id", "Listener-Reason"
DEAD = "dead:"  # before the id of a dead letter: the server knows what it was published under already

log = telemetry.log("bus")


class NatsDelivery:
    """Implements `listener.bus.Delivery`."""

    def __init__(self, message: Msg) -> None:
        self._message = message
        self.id = (message.headers or {}).get(ID, "")
        self.body = message.data
        self.tries = message.metadata.num_delivered or 1

    async def ack(self) -> None:
        with contextlib.suppress(errors.Error):  # comes again, and is recognised
            await self._message.ack()

    async def working(self) -> None:
        with contextlib.suppress(errors.Error):
            await self._message.in_progress()

    async def give_back(self) -> None:
        with contextlib.suppress(errors.Error):
            await self._message.nak()


class NatsBus:
    """Implements `listener.bus.Bus`."""

    def __init__(self, settings: config.Bus) -> None:
        self._settings = settings
        self._posts = f"{settings.stream}.posts"
        self._dead = f"{settings.stream}.dead"
        self._graves = f"{settings.stream}-dead"  # the stream of the dead letters
        self._struck = f"{settings.stream}.bell"
        self._connection = Client()
        self._js: JetStreamContext = self._connection.jetstream(timeout=ANSWER)
        self._pull: JetStreamContext.PullSubscription | None = None
        self._bell = Bell()
        self._is_closing = False

    @classmethod
    async def open(cls, settings: config.Bus) -> NatsBus:
        """Raises `BusError` when no server answers, or JetStream is not turned on there."""
        bus = cls(settings)
        servers = _servers(settings.url)
        options: dict[str, Any] = {"user_credentials": settings.credentials} if settings.credentials else {}
        try:
            async with asyncio.timeout(AT_FIRST):
                await bus._connection.connect(
                    servers,
                    name="listener",
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1,
                    connect_timeout=2,
                    ping_interval=5,
                    max_outstanding_pings=2,
                    error_cb=_complained,
                    disconnected_cb=bus._left,
                    reconnected_cb=_came_back,
                    **options,
                )
                await bus._connection.subscribe(bus._struck, cb=bus._heard)
                await bus._until_done("prepared", bus._prepare)
        except (TimeoutError, OSError, errors.Error) as error:
            await bus.close()
            where = ", ".join(url.rpartition("@")[2] for url in servers)  # without a password
            raise BusError(
                f"bus {where}: {str(error) or 'no answer'}; is nats-server running with JetStream?"
            ) from error
        return bus

    @property
    def largest(self) -> int:
        return self._connection.max_payload - HEADROOM

    @property
    def rings(self) -> int:
        return self._bell.rings

    async def publish(self, id: str, body: bytes) -> None:
        await self._send(self._posts, body, {ID: id})

    async def bury(self, id: str, body: bytes, reason: str) -> None:
        plain = " ".join(reason.encode("ascii", "replace").decode().split())
        await self._send(self._dead, body, {ID: f"{DEAD}{id}", REASON: plain[:500]})

    async def dead_letters(self) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        while True:
            after = found[-1].number + 1 if found else 1
            try:
                message = await self._js.get_msg(self._graves, seq=after, subject=self._dead, next=True)
            except js_errors.NotFoundError:  # there is no further one
                return found
            except errors.Error as error:
                raise BusError(f"bus: the dead letters can't be read: {error}") from error
            found.append(_letter(message))

    async def remove(self, letter: DeadLetter) -> None:
        try:
            await self._js.delete_msg(self._graves, letter.number)
        except errors.Error as error:
            if not isinstance(error, js_errors.APIError) or error.err_code != NO_MESSAGE:
                raise BusError(f"bus: dead letter {letter.number} can't be removed: {error}") from error

    async def fetch(self, wait: float) -> NatsDelivery | None:
        try:
            if self._pull is None:
                await self._prepare()
                self._pull = await self._js.pull_subscribe_bind(CONSUMER, self._settings.stream)
            (message,) = await self._pull.fetch(1, timeout=wait)
        except TimeoutError:
            return None
        except errors.Error as error:
            log.warning("bus_fetch_failed", reason=type(error).__name__)
            await self._let_go()
            await asyncio.sleep(min(wait, 0.25))
            return None
        return NatsDelivery(message)

    async def ring(self) -> None:
        with contextlib.suppress(errors.Error):
            await self._connection.publish(self._struck)

    async def rung(self, seen: int, wait: float) -> None:
        await self._bell.heard(seen, wait)

    async def close(self) -> None:
        self._is_closing = True
        with contextlib.suppress(errors.Error, TimeoutError, OSError):
            async with asyncio.timeout(ANSWER):
                await self._connection.close()

    async def _heard(self, message: Msg) -> None:
        self._bell.strike()

    async def _left(self) -> None:
        if not self._is_closing:
            log.warning("bus_disconnected")

    async def _let_go(self) -> None:
        """Of a subscription whose consumer may be gone; the next fetch makes both anew."""
        pull, self._pull = self._pull, None
        if pull is not None:
            with contextlib.suppress(errors.Error):
                await pull.unsubscribe()

    async def _send(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        async def once() -> None:
            await self._js.publish(subject, body, timeout=ANSWER, headers=headers)

        await self._until_done("published", once)

    async def _until_done(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Try again until it works; only what trying again can't mend is raised."""
        wait = FIRST_WAIT
        while True:
            try:
                return await work()
            except errors.MaxPayloadError as error:
                raise BusError("a batch is larger than the server's max_payload") from error
            except js_errors.NoStreamResponseError:
                with contextlib.suppress(errors.Error):
                    await self._prepare()
            except js_errors.APIError as error:
                if error.err_code not in FULL:
                    log.warning("bus_refused", what=what, code=error.err_code, detail=error.description)
            except errors.Error as error:
                log.info("bus_waits", what=what, reason=type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _prepare(self) -> None:
        """Make the streams and the consumer that are not there."""
        common = {"storage": api.StorageType.FILE, "num_replicas": self._settings.replicas}
        queue = api.StreamConfig(
            name=self._settings.stream,
            subjects=[self._posts],
            retention=api.RetentionPolicy.WORK_QUEUE,
            max_msgs=self._settings.most,
            discard=api.DiscardPolicy.NEW,
            duplicate_window=SAME_WITHIN,
            **common,  # type: ignore[arg-type]
        )
        dead = api.StreamConfig(
            name=self._graves,
            subjects=[self._dead],
            max_age=DEAD_FOR,
            duplicate_window=SAME_WITHIN,
            **common,  # type: ignore[arg-type]
        )
        for stream in (queue, dead):
            try:
                await self._js.stream_info(str(stream.name))
            except js_errors.NotFoundError:
                await self._js.add_stream(stream)
        try:
            await self._js.consumer_info(self._settings.stream, CONSUMER)
        except js_errors.NotFoundError:
            consumer = api.ConsumerConfig(
                durable_name=CONSUMER,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=self._settings.redeliver_after.total_seconds(),
                max_deliver=-1,
                max_ack_pending=self._settings.most,
                filter_subject=self._posts,
            )
            await self._js.add_consumer(self._settings.stream, consumer)


def _letter(message: api.RawStreamMsg) -> DeadLetter:
    headers = message.headers or {}
    id = str(headers.get(ID, "")).removeprefix(DEAD)
    return DeadLetter(message.seq or 0, id, message.data or b"", str(headers.get(REASON, "")), message.time)


def _servers(url: str) -> list[str]:
    """Each server's address. Scheme and credentials that stand before the first hold for all that have none.

    >>> _servers("tls://ana:pw@n1:4222,n2:4222")
    ['tls://ana:pw@n1:4222', 'tls://ana:pw@n2:4222']
    """
    first, *others = [part.strip() for part in url.split(",")]
    scheme, _, rest = first.partition("://")
    user, at, _ = rest.rpartition("@")
    made = [first]
    for other in others:
        own, has_scheme, place = other.rpartition("://")
        with_user = place if "@" in place else f"{user}{at}{place}"
        made.append(f"{own if has_scheme else scheme}://{with_user}")
    return made


async def _complained(error: Exception) -> None:
    log.debug("bus_error", reason=type(error).__name__)


async def _came_back() -> None:
    log.info("bus_reconnected")
