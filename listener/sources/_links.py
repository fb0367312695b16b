"""One address for one page, whoever links to it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_TRACKING = re.compile(r"(?:utm_\w*|gclid|fbclid|yclid|msclkid|mc_[ce]id|igshid)(?:=|$)", re.IGNORECASE)


def plain(url: str) -> str:
    """Without what says how a reader got there: tracking, fragment, a slash at the end; the host in lower case.

    >>> plain("https://Portal.example/vest/1/?utm_source=rss&id=2#komentari")
    'https://portal.example/vest/1?id=2'
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.netloc.lower()
    except ValueError:
        return url
    if parts.scheme.lower() not in ("http", "https") or not host:
        return url
    query = "&".join(part for part in parts.query.split("&") if part and not _TRACKING.match(part))
    return urlunsplit((parts.scheme.lower(), host, parts.path.rstrip("/"), query, ""))
