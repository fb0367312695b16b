"""The short reasons of sources, such as `status_503`, in words that say what happened."""

from __future__ import annotations

REASONS = {
    "bad_url": "not a web address",
    "broken_feed": "the feed can't be read",
    "budget": "budget used up",
    "challenge": "wants a browser",
    "closed": "not open to the public",
    "consent": "a consent page, no feed",
    "config": "wrong in the config",
    "cooling_down": "host asked for a rest",
    "crashed": "a bug of ours",
    "dead": "not there for days",
    "disconnected": "connection lost",
    "empty": "empty answer",
    "encoding": "broken compression",
    "feed_too_costly": "too costly to read",
    "forbidden_address": "a private address",
    "gone": "gone for good",
    "malformed": "not in its own format",
    "paid": "not asked: costs money",
    "protocol": "broken answer",
    "quota": "quota used up",
    "redirects": "redirects lead nowhere",
    "silent": "connected, then silence",
    "stdin": "not asked: reads stdin",
    "terms": "terms not accepted",
    "timeout": "no answer in time",
    "too_large": "answer too large",
    "unreachable": "can't connect",
    "unreadable": "file can't be read",
    "unsafe_feed": "unsafe to read",
    "web_page": "a web page, no feed",
}
STATUSES = {
    400: "bad request",
    401: "wants a login",
    402: "wants money",
    403: "refused",
    404: "not there",
    410: "gone for good",
    429: "asked too often",
    451: "blocked by law",
    500: "server error",
    502: "server error",
    503: "overloaded",
    504: "server error",
}


def words(reason: str) -> str:
    """What a reason says; one that nobody put into words is at least readable.

    >>> words("status_503"), words("not_a_feed"), words("no_tags")
    ('503 overloaded', 'not a feed', 'no tags')
    """
    name, _, code = reason.partition("_")
    if name == "status" and code.isdecimal():
        return f"{code} {STATUSES.get(int(code), '')}".strip()
    return REASONS.get(reason, reason.replace("_", " "))
