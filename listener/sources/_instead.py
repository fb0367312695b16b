"""Names what a server sent in place of a feed, with a status that says all is well.

Each needs something else of the operator: a page that wants a browser to prove itself will not let us in, one that asks for
consent may have another address without, and a plain web page is what a feed that was moved or closed leaves behind.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from listener.errors import SourceError
from listener.sources._net import Response

NOT_FEEDS = frozenset({"empty", "challenge", "consent", "web_page", "not_a_feed"})  # the reasons it may find

_READ = 100_000  # bytes looked at
_PAGE = re.compile(rb"<!doctype\s+html|<html\b|<head\b|<body\b", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{0,500})", re.IGNORECASE)
_FORM = re.compile(rb"<form[^>]{0,500}action\s*=\s*[\"']?([^\"'\s>]{0,300})", re.IGNORECASE)
# Scripts and names that only pages of the firms that shield web sites have.
_CHALLENGE = re.compile(
    rb"/cdn-cgi/challenge-platform/|cf-browser-verification|cf-chl-|_cf_chl_opt|_incapsula_resource|captcha-delivery\.com|"
    rb"sucuri_cloudproxy|px-captcha|ddos-guard|awswafcookie|aws-waf-token|<title>just a moment",
    re.IGNORECASE,
)
_CONSENT = re.compile(
    r"consent|cookie|gdpr|before you continue|çerez|gizlilik|kolačić|колачић|piškotk|бисквитк|колачињ|συγκατάθεση|"
    r"consimțământ|pëlqim",
    re.IGNORECASE,
)


def explained(response: Response) -> SourceError:
    """The error for an answer that is not a feed; its reason is one of `NOT_FEEDS`."""
    head, host = response.body[:_READ], urlsplit(response.url).hostname or ""
    reason, what = "not_a_feed", "is not a feed"
    if not head.strip():
        reason, what = "empty", "is empty"
    elif response.headers.get("cf-mitigated", "") == "challenge" or _CHALLENGE.search(head):
        reason, what = "challenge", "is a page that wants a browser to prove itself"
    elif host.startswith(("consent.", "guce.")) or _asks_consent(head):
        reason, what = "consent", "is a page that asks for consent first"
    elif _PAGE.search(head):
        reason, what = "web_page", "is a web page, not a feed"
    return SourceError(f"{response.url}: the answer {what}", reason=reason)


def _asks_consent(head: bytes) -> bool:
    """By its title or by where its form goes: almost every web page mentions cookies somewhere."""
    said = [
        found.group(1).decode("utf-8", "replace") for found in (_TITLE.search(head), *_FORM.finditer(head)) if found
    ]
    return any(_CONSENT.search(part) for part in said)
