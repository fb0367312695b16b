"""Tells through the apprise library: Slack, Discord, Telegram, Matrix, ntfy, e-mail and a hundred more, by one URL each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from listener.channels import Message
from listener.errors import SourceError
from listener.kinds import Secret, option

if TYPE_CHECKING:
    import apprise


@dataclass(frozen=True)
class Options:
    url: Secret = option(
        Secret(""), "the service's apprise URL, such as ntfy://my-topic or tgram://TOKEN/CHAT; it holds secrets"
    )


def _teller(url: Secret) -> apprise.Apprise:
    """Not on the loop: apprise reads a hundred modules the first time."""
    import apprise

    teller = apprise.Apprise()
    if not url or not teller.add(url.reveal()):
        raise SourceError("apprise does not understand the URL", reason="bad_url")
    return teller


async def send(message: Message, options: Options) -> None:
    """Raises `SourceError`: `bad_url` when apprise does not know the URL, `not_delivered` when the service refused."""
    teller = await asyncio.to_thread(_teller, options.url)
    body = f"{message.body}\n{message.link}".rstrip()
    kind = "info"
    if message.transition is not None:
        kind = "success" if message.transition.to_state == "resolved" else "warning"
    if not await teller.async_notify(title=message.title, body=body, notify_type=kind):
        raise SourceError("the service did not take the message", reason="not_delivered")
