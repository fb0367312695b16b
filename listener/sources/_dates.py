"""Instants as upstream writes them: ISO 8601 everywhere, and what feeds make of RFC 822 in many languages.

Names of months come from the language of the source (`data/languages`); names of days, and words such as "at", need not be
known to be skipped.
"""

from __future__ import annotations

import re
import unicodedata
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
    **dict.fromkeys(("eest", "trt", "tsi", "msk"), 3),
    **dict.fromkeys(("edt", "ast"), -4),
    **dict.fromkeys(("est", "cdt"), -5),
    **dict.fromkeys(("cst", "mdt"), -6),
    **dict.fromkeys(("mst", "pdt"), -7),
    **dict.fromkeys(("pst",), -8),
}
_HALVES = {"am": 0, "πμ": 0, "öö": 0, "pm": 12, "μμ": 12, "ös": 12}
_CYRILLIC = {
    **dict(zip("абвгдежзијклмнопрстуфхцчшъ", "abvgdezzijklmnoprstufhccsa", strict=True)),
    **dict(zip(("љ", "њ", "џ", "щ", "ь", "ю", "я"), ("lj", "nj", "dz", "st", "", "ju", "ja"), strict=True)),
}
_WORDS = r"(?:(?![AaPpÖö][MmSsÖö]\s)[^\W\d]+[.,]*\s+){0,2}"  # half a day named before the hour is not understood
_CLOCK = r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:\.\d+)?)?"
_TIME = (
    rf"(?:\s?[^\W\d]{{1,4}}\.)?"  # 2026 г.
    rf"(?:[\s,T|@–—-]+{_WORDS}{_CLOCK}(?:\s?(?P<half>[AaPpΠπΜμÖö]\.?[MmΜμÖöSs])\.?(?![^\W\d]))?)?"
    rf"(?:\s?(?:[hч]|sati|časova|часова|часа|ώρα)\b\.?)?"
)
_OFFSET = r"(?P<zone>(?:[A-Za-zİ]{1,5}(?![a-z]))?\s*(?:[+-]\d{1,2}:?\d{0,2})?)"
_ZONE = rf"\s*{_OFFSET}\s*(?:\(.*\))?$"
_FORMS = [
    re.compile(rf"^{_WORDS}{date}{_TIME}{_ZONE}")
    for date in (
        r"(?P<day>\d{1,2})\.?[\s/-]+(?:de\s+)?(?P<month>[^\W\d]+)[.,]?[\s/-]+(?P<year>\d{4}|\d{2})\.?",  # 20 Nov 2026
        r"(?P<month>[^\W\d]+)[.,]?\s+(?P<day>\d{1,2})\.?,?\s+(?P<year>\d{4})",  # Nov 20, 2026
        r"(?P<day>\d{1,2})\s?[./]\s?(?P<number>\d{1,2})\s?[./]\s?(?P<year>\d{4})\.?",  # 20.11.2026
        r"(?P<year>\d{4})[-/](?P<number>\d{1,2})[-/](?P<day>\d{1,2})",  # 2026-11-20 10:00 EET
    )
]
_FORMS.append(
    re.compile(rf"^{_WORDS}(?P<month>[^\W\d]+)\s+(?P<day>\d{{1,2}})\s+{_CLOCK}\s+{_OFFSET}\s*(?P<year>\d{{4}})$")
)
_TIME_FIRST = re.compile(r"^(\d{1,2}:\d{2}(?::\d{2})?)(?:\s?[hч]\.?)?[\s,|–—-]+(.*\d{4}.*)$")


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

    `months` are local names beside the English ones; each counts in Latin and Cyrillic letters, with and without its marks.

    >>> feed_date("Fri, 20 Nov 2026 15:10:00 EET").isoformat()
    '2026-11-20T13:10:00+00:00'
    """
    text = unicodedata.normalize("NFC", " ".join(text.split())[:100])
    text = "".join(c for c in text if not unicodedata.combining(c))  # İ in lower case is i and a dot
    own = _zone(zone)
    if (when := iso(text, own)) is not None:
        return when
    text = _TIME_FIRST.sub(r"\2 \1", text)
    for form in _FORMS:
        if found := form.match(text):
            try:
                return _instant(found.groupdict(), own, months)
            except (ValueError, OverflowError):
                continue
    return None


def _instant(part: dict[str, str | None], own: tzinfo, months: Months) -> datetime | None:
    year, hour = part["year"] or "", int(part["hour"] or 0)
    if half := part.get("half"):
        hour = hour % 12 + _HALVES[half.lower().replace(".", "")]
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
    name, sign, digits = re.match(r"([A-Za-zİ]*)\s*([+-]?)([\d:]*)", text.strip()).groups()  # type: ignore[union-attr]
    if sign:
        hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
        length = timedelta(hours=int(hours.strip(":") or 0), minutes=int(minutes))
        return timezone(-length if sign == "-" else length)
    hours_east = _ZONES.get(_fold(name))
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
    """Lower case in Latin letters without marks: the four Turkish i's are one, and so is a name in two scripts.

    >>> _fold("ΝΟΕΜΒΡΊΟΥ") == _fold("Νοεμβρίου"), _fold("НОВЕМБАР"), _fold("Şubat"), _fold("KASIM")
    (True, 'novembar', 'subat', 'kasim')
    """
    word = word.replace("İ", "i").casefold().replace("ı", "i").rstrip(".")
    bare = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return "".join(_CYRILLIC.get(letter, letter) for letter in bare)
