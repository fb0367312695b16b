"""Tells through the apprise library: Slack, Discord, Telegram, Matrix, ntfy, e-mail and a hundred more, by one URL each."""

from __future__ import annotations

from dataclasses import dataclass

from listener.channels import Message
from listener.errors import SourceError
from listener.kinds import Secret, option


@dataclass(frozen=True)
class Options:
    url: Secret = option(
        Secret(""), "the service's apprise URL, such as ntfy://my-topic or tgram://TOKEN/CHAT; it holds secrets"
    )


async def send(message: Message, options: Options) -> None:
    """Raises `SourceError`: `bad_url` when apprise does not know the URL, `not_delivered` when the service refused."""
    import apprise

    teller = apprise.Apprise()
    if not options.url or not teller.add(options.url.reveal()):
        raise SourceError("apprise does not understand the URL", reason="bad_url")
    body = f"{message.body}\n{message.link}".rstrip()
    kind = apprise.NotifyType.INFO
    if message.transition is not None:
        over = message.transition.to_state == "resolved"
        kind = apprise.NotifyType.SUCCESS if over else apprise.NotifyType.WARNING
    if not await teller.async_notify(title=message.title, body=body, notify_type=kind):
        raise SourceError("the service did not take the message", reason="not_delivered")
