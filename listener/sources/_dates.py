"""Instants as upstream writes them: ISO 8601 everywhere, and what feeds make of RFC 822 in many languages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Months = Sequence[Sequence[str]]  # twelve, each with the ways to write it

_ENGLISH = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
            "december")  # fmt: skip
_ZONES = {
    **dict.fromkeys(("z", "ut", "utc", "gmt", "wet"), 0),
    **dict.fromkeys(("cet", "met", "bst", "west"), 1),
    **dict.fromkeys(("cest", "mest", "eet"), 2),
    **dict.fromkeys(("eest", "trt", "msk"), 3),
    **dict.fromkeys(("edt", "ast"), -4),
    **dict.fromkeys(("est", "cdt"), -5),
    **dict.fromkeys(("cst", "mdt"), -6),
    **dict.fromkeys(("mst", "pdt"), -7),
    **dict.fromkeys(("pst",), -8),
}
_TIME = (
    r"(?:[\s,T]+(?:[^\W\d]+\s+)?(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:\.\d+)?)?"
    r"(?:\s?(?P<half>[AaPp][Mm])\b)?)?"
)
_ZONE = r"\s*(?P<zone>(?:[A-Za-z]{1,5}(?![a-z]))?\s*(?:[+-]\d{1,2}:?\d{0,2})?)\s*(?:\(.*\))?$"
_FORMS = [
    re.compile(rf"^(?:[^\W\d]+[.,]*\s+)?{date}{_TIME}{_ZONE}")
    for date in (
        r"(?P<day>\d{1,2})\.?[\s-]+(?:de\s+)?(?P<month>[^\W\d]+)[.,]?[\s-]+(?P<year>\d{4}|\d{2})\.?",  # 20 Nov 2026
        r"(?P<month>[^\W\d]+)[.,]?\s+(?P<day>\d{1,2}),?\s+(?P<year>\d{4})",  # Nov 20, 2026
        r"(?P<day>\d{1,2})\s?[./]\s?(?P<number>\d{1,2})\s?[./]\s?(?P<year>\d{4})\.?",  # 20.11.2026
        r"(?P<year>\d{4})[-/](?P<number>\d{1,2})[-/](?P<day>\d{1,2})",  # 2026-11-20 10:00 EET
    )
]


def iso(text: str, zone: tzinfo = UTC) -> datetime | None:
    """An ISO 8601 instant in UTC; None when it is none, or before 1970. Without an offset it is in `zone`.

    >>> iso("2026-11-20T13:10:00.123+02:00").isoformat()
    '2026-11-20T11:10:00.123000+00:00'
    """
    try:
        when = datetime.fromisoformat(text.strip())
        return _utc(when if when.tzinfo else when.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        return None


def feed_date(text: str, zone: str = "UTC", months: Months = ()) -> datetime | None:
    """A date as feeds write it, in UTC; None when nothing in it makes a date. Without a zone it is in `zone`.

    `months` are local names beside the English ones.

    >>> feed_date("Fri, 20 Nov 2026 15:10:00 EET").isoformat()
    '2026-11-20T13:10:00+00:00'
    """
    text = " ".join(text.split())[:100]
    own = _zone(zone)
    if (when := iso(text, own)) is not None:
        return when
    for form in _FORMS:
        if found := form.match(text):
            try:
                return _instant(found.groupdict(), own, months)
            except (ValueError, OverflowError):
                continue
    return None


def _instant(part: dict[str, str | None], own: tzinfo, months: Months) -> datetime | None:
    year, hour = part["year"] or "", int(part["hour"] or 0)
    if half := part["half"]:
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    local = datetime(
        int(year) + (2000 if len(year) == 2 else 0),
        int(part["number"] or 0) if "number" in part else _month(part["month"] or "", months),
        int(part["day"] or 0),
        hour,
        int(part["minute"] or 0),
        int(part["second"] or 0),
        tzinfo=_offset(part["zone"] or "") or own,
    )
    return _utc(local)


def _utc(when: datetime) -> datetime | None:
    """In UTC. What lies before 1970 is how programs write "no date"."""
    when = when.astimezone(UTC)
    return when if when >= EPOCH else None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def _offset(text: str) -> tzinfo | None:
    """`+0200`, `+02:00`, `GMT+3`, `EET`; None for an abbreviation nobody knows."""
    name, sign, digits = re.match(r"([A-Za-z]*)\s*([+-]?)([\d:]*)", text.strip()).groups()  # type: ignore[union-attr]
    if sign:
        hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
        length = timedelta(hours=int(hours.strip(":") or 0), minutes=int(minutes))
        return timezone(-length if sign == "-" else length)
    hours_east = _ZONES.get(name.lower())
    return None if hours_east is None else timezone(timedelta(hours=hours_east))


def _month(word: str, months: Months) -> int:
    """1 to 12; 0 when it is no month. An abbreviation of three letters or more will do where it fits only one month."""
    word = _fold(word)
    for i, english in enumerate(_ENGLISH, 1):
        if len(word) >= 3 and english.startswith(word):
            return i
    named = [i for i, names in enumerate(months, 1) if word in (_fold(name) for name in names)]
    begun = [i for i, names in enumerate(months, 1) if len(word) >= 3 and any(_fold(n).startswith(word) for n in names)]
    for fits in (named, begun):
        if len(set(fits)) == 1:
            return fits[0]
    return 0


def _fold(word: str) -> str:
    """Lower case, with the four Turkish i's as one."""
    return word.replace("İ", "i").casefold().replace("ı", "i").rstrip(".")
