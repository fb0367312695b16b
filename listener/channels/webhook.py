"""Posts each message as JSON to a URL, signed, or as an alert that Alertmanager understands.

The signature is HMAC-SHA256 over `<seconds>.<body>`, sent as `X-Listener-Signature: t=<seconds>,v1=<hex>`: a receiver works it
out anew with the secret, compares in constant time and refuses old seconds. `Idempotency-Key` is the same when a message comes
again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import timedelta

import httpx

from listener.channels import Message
from listener.channels._payload import alerts, payload
from listener.errors import SourceError
from listener.kinds import Secret, option

NATIVE, ALERTMANAGER = "native", "alertmanager"


@dataclass(frozen=True)
class Options:
    url: str = option("", "where to post; Alertmanager's is http://HOST:9093/api/v2/alerts")
    secret: Secret = option(Secret(""), "signs each message; without one they are not signed")
    token: Secret = option(Secret(""), "sent as a bearer token, where the receiver asks for one")
    payload: str = option(NATIVE, "native, or alertmanager for its alerts API")
    timeout: timedelta = option(timedelta(seconds=10), "how long the receiver may take to answer")

    def __post_init__(self) -> None:
        if self.payload not in (NATIVE, ALERTMANAGER):
            raise ValueError(f"payload {self.payload!r} is neither {NATIVE} nor {ALERTMANAGER}")


async def send(message: Message, options: Options) -> None:
    """Any answer of 2xx is an arrival. Raises `SourceError`: `status_<n>`, `timeout`, `unreachable`, `bad_url`."""
    told = alerts(message) if options.payload == ALERTMANAGER else payload(message)
    body = json.dumps(told, ensure_ascii=False).encode()
    seconds = str(int(time.time()))  # noqa: TID251 - the signature's own age, not the message's
    headers = {
        b"Content-Type": b"application/json",
        b"User-Agent": b"listener",
        b"Idempotency-Key": message.id.encode(),
    }
    if options.secret:
        headers[b"X-Listener-Signature"] = f"t={seconds},v1={signature(options.secret, seconds, body)}".encode()
    if options.token:
        headers[b"Authorization"] = f"Bearer {options.token.reveal()}".encode()
    wait = options.timeout.total_seconds()
    try:
        async with httpx.AsyncClient(timeout=wait, trust_env=False) as client:
            answer = await client.post(options.url, content=body, headers=headers)
    except httpx.TimeoutException as error:
        raise SourceError("the receiver did not answer in time", reason="timeout") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise SourceError(f"not a URL to post to: {error}", reason="bad_url") from error
    except httpx.HTTPError as error:
        raise SourceError(f"the receiver can't be reached: {type(error).__name__}", reason="unreachable") from error
    if not answer.is_success:
        raise SourceError(f"the receiver answered {answer.status_code}", reason=f"status_{answer.status_code}")


def signature(secret: Secret, seconds: str, body: bytes) -> str:
    """The `v1` part, in hexadecimal."""
    return hmac.new(secret.reveal().encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
