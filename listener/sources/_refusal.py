"""What a status other than success means: a named reason, and how long to wait when the server said so."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from listener.errors import SourceError

_SHORTEST, _LONGEST = 60.0, 8 * 3600.0
_UNSAID = 600.0  # after a 429 that names no time
_GONE = 3600.0  # a 410 deserves one more look


class RefusedError(SourceError):
    """The server answered, with a status that is no success. `body` is kept for WebSocket handshakes only."""

    def __init__(
        self, message: str, *, reason: str, status: int, body: bytes = b"", retry_after: float | None = None
    ) -> None:
        super().__init__(message, reason=reason, retry_after=retry_after)
        self.status = status
        self.body = body

    @property
    def cools_host(self) -> bool:
        """Whether the refusal is about everything we ask of the host, not about this URL."""
        return self.status in (429, 503)


def refusal(url: str, status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> RefusedError:
    """The error a status stands for."""
    reason, wait = f"status_{status}", None
    if status in (403, 503) and headers.get("cf-mitigated", "") == "challenge":
        reason = "challenge"  # a page that wants a browser to prove itself; the status is only how it came
    elif status == 429:
        wait = asked_wait(headers, now)
        wait = _UNSAID if wait is None else wait
    elif status == 503:
        wait = asked_wait(headers, now)
    elif status == 410:
        wait = _GONE
    if wait is not None:
        wait = min(max(wait, _SHORTEST), _LONGEST)
    return RefusedError(f"{url}: answered {status}", reason=reason, status=status, body=body, retry_after=wait)


def asked_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait by `Retry-After` (seconds or a date) or `X-RateLimit-Reset`, however written (seconds, epoch, ISO 8601).

    Dates are measured against the server's own `Date`, so that a wrong clock on either side does no harm.
    """
    server_now = _date(headers.get("date", "")) or now
    for name in ("retry-after", "x-ratelimit-reset", "x-rate-limit-reset"):
        value = headers.get(name, "").strip()
        try:
            number = float(value)
        except ValueError:
            when = _date(value)
            number = (when - server_now).total_seconds() if when else -1.0
        if number > 1e9:
            number -= server_now.timestamp()
        if 0 <= number < 1e9:
            return number
    return None


def _date(value: str) -> datetime | None:
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(value)
        except (ValueError, TypeError):
            continue
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return None
