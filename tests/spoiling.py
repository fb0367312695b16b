"""Spoils what upstream sends, the way upstreams, proxies and jokers do: from one seed always the same."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, get_type_hints

import msgspec

DEEP = 600  # levels: what a JSON reader with a limit still lets through
LONG = 60_000

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 7.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**30, 1e19, 253402300800,
)  # fmt: skip
DATES = (
    "", "0", "null", "2026-13-45T99:99:99Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-11-20",
    "20261120T131000Z", "1969-12-31T23:59:59Z", "Fri, 99 Foo 2026 10:00 +9999", "2026-11-20T13:10:00+99:00", "1e400",
    "-99999999999999999999",
)  # fmt: skip
TEXTS = (
    "\0", "\x1b[2J", "\u202e", "\ufeff", "\U0010ffff", "i\u0307", "e" + "\u0301" * 500, "\ufb2c" * 500, "٣١", "²", "ﷺ" * 90,
    "&#xD800;&#0;&#x110000;", "<" * 500, "<a href=" * 200, "<!--", "<![CDATA[", "&amp;" * 200, "</p>" * 200,
    "<span class=invisible>" * 60, "\n" * 500, "http://[", "https://x:y@[::1]:99999/", "//", "javascript:0", "@", "#", ":",
    "..", "at://", "did:plc:", "nan", "inf", "1_000", " 1 ",
)  # fmt: skip
SURROGATES = ("\ud800", "\udfff\ud800")
TOKENS = (
    b"null", b"NaN", b"1e999", b"-", b'"', b"\\", b"\\ud800", b"\\u0000", b"[" * 3000, b'{"a":' * 1500, b"\0", b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<![CDATA[", b"]]>", b"<item>", b"</item>",
    b"&b;", b"&#xD800;", b"<a " + b"b='c' " * 90, b"<author>" + b"x" * 1500, b"9" * 400,
)  # fmt: skip


OURS = frozenset(
    {"zone", "months", "host", "server", "site", "service", "services"}
)  # of an item, told by our own options


class Spoiler:
    """`others` are whole items of the same kind, to splice parts of one into another.

    Half a surrogate pair is put into documents only: no reader of JSON, XML or HTML lets it through into an item.
    """

    def __init__(self, seed: str, others: Sequence[Any] = ()) -> None:
        self.random = random.Random(seed)
        self.others = others
        self._texts: tuple[str, ...] = TEXTS

    def item(self, raw: Any) -> Any:
        """The item with one to four things wrong; of the type it was, since it is our own code that made it."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3, 4))):
            raw = self._typed(raw)
        return raw

    def _typed(self, value: Any, hint: Any = None) -> Any:
        """Our own classes and plain types keep their type; what upstream sent as a tree may become anything inside."""
        if hint is Any:
            return self.tree(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._field(value, [f.name for f in dataclasses.fields(value)], dataclasses.replace)
        if isinstance(value, msgspec.Struct):
            return self._field(value, list(value.__struct_fields__), msgspec.structs.replace)
        if isinstance(value, dict):
            made = self.tree(value)
            return made if isinstance(made, dict) else {**value, self._key(value): made}
        if isinstance(value, bytes):
            return self.document(value)
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, tuple) and value:
            i = self.random.randrange(len(value))
            return (*value[:i], self._typed(value[i]), *value[i + 1 :])
        return value

    def _field(self, value: Any, names: list[str], replace: Callable[..., Any]) -> Any:
        hints = _hints(type(value))  # type: ignore[arg-type]  # a class is hashable
        name = self.random.choice([name for name in names if name not in OURS] or names)
        return replace(value, **{name: self._typed(getattr(value, name), hints.get(name))})

    # --- JSON -----------------------------------------------------------------------------------------------------

    def tree(self, value: Any) -> Any:
        """A tree with something wrong at a place of it."""
        if isinstance(value, dict) and value and self.random.random() < 0.8:
            return self._in_object(value)
        if isinstance(value, list) and value and self.random.random() < 0.8:
            i = self.random.randrange(len(value))
            return self.random.choice(
                (
                    lambda: [*value[:i], self.tree(value[i]), *value[i + 1 :]],
                    lambda: [*value[:i], self.tree(value[i]), *value[i + 1 :]],
                    lambda: value[:i],
                    lambda: value * 3,
                    lambda: [*value, *value[::-1], None],
                )
            )()
        return self._otherwise(value)

    def _in_object(self, value: dict[str, Any]) -> dict[str, Any]:
        key, other = self.random.choice(list(value)), self.random.choice(list(value))
        choice = self.random.random()
        if choice < 0.6:
            return {**value, key: self.tree(value[key])}
        if choice < 0.75:
            return {k: v for k, v in value.items() if k != key}
        if choice < 0.85:
            return {**value, key: value[other], other: value[key]}
        if choice < 0.9:
            return {self.text(k) if k == key else k: v for k, v in value.items()}
        donor = self.random.choice(self.others) if self.others else value
        part = dict(_objects(donor)).get(key, self._otherwise(value[key]))
        return {**value, key: part}

    def _otherwise(self, value: Any) -> Any:
        """Something else in the place of a value: another type, an extreme, a wreck of itself."""
        made: list[Callable[[], Any]] = [
            lambda: None,
            lambda: self.random.choice((True, False)),
            lambda: self.random.choice(NUMBERS),
            lambda: self.random.choice(DATES),
            lambda: self.text(value if isinstance(value, str) else ""),
            lambda: "[]" if isinstance(value, dict | list) else str(value)[:LONG],
            lambda: [value],
            lambda: {"a": value},
            list,
            dict,
            lambda: self._nested(value),
            lambda: [value] * 300,
        ]
        if isinstance(value, int | float):
            made += [lambda: -value, lambda: value * 1000, lambda: f"{value}"]
        return self.random.choice(made)()

    def _nested(self, value: Any) -> Any:
        key = self.random.choice(("", "a", "parent"))
        for _ in range(self.random.choice((2, 40, DEEP))):
            value = {key: value} if key else [value]
        return value

    def _key(self, value: dict[str, Any]) -> str:
        return self.random.choice(list(value)) if value else "a"

    # --- text and bytes -------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        at, end = sorted((self.random.randint(0, len(text)), self.random.randint(0, len(text))))
        piece = self.random.choice((*self._texts, *DATES, *(str(n) for n in NUMBERS)))
        return self.random.choice(
            (
                lambda: text[:at],
                lambda: text[:at] + text[end:],
                lambda: text[:at] + piece + text[at:],
                lambda: text[:at] + piece + text[end:],
                lambda: piece,
                lambda: text[:at] + text[at:end] * 3 + text[end:],
                lambda: (
                    text[:at] + chr(self.random.choice((7, 0x85, 0x301, 0x200B, 0x1F600, 0xE000, 0xFFFE))) + text[at:]
                ),
                lambda: (text or "a") * (LONG // (len(text) or 1)),
                text.swapcase,
                lambda: "".join(self.random.sample(text, len(text))),
            )
        )()

    def document(self, data: bytes) -> bytes:
        """A document, a line or a frame: damaged as JSON where it is some, else as bytes."""
        if data[:1] in b"{[" and self.random.random() < 0.6:
            self._texts = (*TEXTS, *SURROGATES)
            try:
                return json.dumps(self.tree(json.loads(data))).encode()
            except (ValueError, RecursionError):
                pass
            finally:
                self._texts = TEXTS
        return self.octets(data)

    def octets(self, data: bytes) -> bytes:
        at, end = sorted((self.random.randint(0, len(data)), self.random.randint(0, len(data))))
        short = min(end, at + 40)
        donor = self.random.choice([other for other in self.others if isinstance(other, bytes)] or [data])
        cut = self.random.randint(0, len(donor))
        return self.random.choice(
            (
                lambda: self._flipped(data),
                lambda: self._flipped(data),
                lambda: data[:at],
                lambda: data[at:],
                lambda: data[:at] + data[short:],
                lambda: data[:at] + data[at:short] * 50 + data[short:],
                lambda: data[:at] + self.random.choice(TOKENS) + data[at:],
                lambda: data[:at] + self.random.choice(TOKENS) + data[short:],
                lambda: data[:at] + donor[cut:],
                lambda: data[:at] + self.random.randbytes(20) + data[at:],
                data.swapcase,
            )
        )()

    def _flipped(self, data: bytes) -> bytes:
        made = bytearray(data)
        for _ in range(min(len(made), self.random.choice((1, 1, 2, 8, 40)))):
            made[self.random.randrange(len(made))] ^= 1 << self.random.randrange(8)
        return bytes(made)


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _objects(value: Any) -> list[tuple[str, Any]]:
    """The pairs of the first object found in an item."""
    if isinstance(value, dict):
        return list(value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return next(
            (_objects(v) for f in dataclasses.fields(value) if isinstance(v := getattr(value, f.name), dict)), []
        )
    return []
