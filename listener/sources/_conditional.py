"""Asks for a document only as far as it has changed: by the server's validators, and by a digest where it gives none."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import msgspec

from listener.errors import SourceError
from listener.sources._dates import iso
from listener.sources._net import Net, Response

TRUSTED = timedelta(days=8)  # some servers answer 304 to anything


class Validators(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to remember of the last answer that could be read; for a cursor."""

    etag: str = ""
    modified: str = ""
    since: str = ""  # when the server last sent the document itself
    body: str = ""  # digest of the document


async def ask(
    url: str,
    known: Validators,
    net: Net,
    *,
    headers: Mapping[str, str] | None = None,
    accept: Collection[int] = (),
) -> tuple[Response | None, Validators]:
    """The answer, or None when the document is the one known; and what to remember once the answer has been read."""
    response, is_known, new = await asked(url, known, net, headers=headers, accept=accept)
    return None if is_known else response, new


async def asked(
    url: str,
    known: Validators,
    net: Net,
    *,
    headers: Mapping[str, str] | None = None,
    accept: Collection[int] = (),
) -> tuple[Response, bool, Validators]:
    """The answer, whether the document is the one known, and what to remember once the answer has been read."""
    conditions = _conditions(known, net.now())
    response = await net.get(url, headers={**(headers or {}), **conditions}, accept=accept)
    if response.status == 304:
        if not conditions:
            raise SourceError(f"{url}: answered 304 to a question without conditions", reason="protocol")
        given = response.headers
        etag, modified = given.get("etag", known.etag), given.get("last-modified", known.modified)
        return response, True, msgspec.structs.replace(known, etag=etag, modified=modified)
    if not 200 <= response.status < 300:
        return response, False, known
    new = _validators(response, net.now())
    if new.body == known.body:
        return response, True, new
    if "If-None-Match" in conditions and new.etag == known.etag:
        return response, True, known  # said to be the same, but not seen to be: trust in it is not renewed
    return response, False, new


def _conditions(known: Validators, now: datetime) -> dict[str, str]:
    since = iso(known.since)
    if since is not None and now - since >= TRUSTED:
        return {}
    pairs = (("If-None-Match", known.etag), ("If-Modified-Since", known.modified))
    return {name: value for name, value in pairs if value}


def _validators(response: Response, now: datetime) -> Validators:
    is_usable = response.headers.get("expires", "").strip() != "0"
    return Validators(
        etag=response.headers.get("etag", "") if is_usable else "",
        modified=response.headers.get("last-modified", "") if is_usable else "",
        since=now.isoformat(timespec="seconds"),
        body=hashlib.sha256(response.body).hexdigest()[:16],
    )
