"""Folds whole batches of posts to skeletons at once, and looks for what the matcher's forms can't do without.

`normalize` takes microseconds a post; a firehose leaves about one. Here a batch is one array of letters on which NumPy does
what `normalize` does, exactly or not at all: a post with anything that needs more than a table (Greek, Cyrillic, digits for
letters, letters of two sounds) is folded by `normalize` itself. So the skeletons are always the same.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import AnyStr

import numpy as np
from ahocorasick_rs import BytesAhoCorasick, Implementation
from numpy.typing import NDArray

from listener.text.normalize import HANDLE, URL, normalize, sound

Codes = NDArray[np.uint8] | NDArray[np.uint32]
Numbers = NDArray[np.intp]

LONGEST = 3000  # bytes; what is longer is left to `normalize`, which cuts it
_BETWEEN = " \n "  # posts; a line feed ends each of them
_END, _SPACE, _SLASH, _W, _H = b"\n /wh"
_DROP, _ALONE, _UNKNOWN = 0, 1, 2  # no letters: nothing, a reason to fold the post alone, not looked up yet
_FOREIGN = 128  # stands for any letter outside ours where only bytes fit
_JOINER = "\u200d"  # between emojis
_MARKS = frozenset("\ufe0e\ufe0f")  # say how an emoji looks; other marks belong to a letter
_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-"  # what handles are made of
_UNSURE = frozenset(
    bytes([c]) for c in (*_NAME[:-3], *range(_FOREIGN, 256))
)  # an @ behind one of these begins no handle
_URL, _HANDLE = (re.compile(one.pattern.encode(), one.flags & re.IGNORECASE) for one in (URL, HANDLE))


def _ascii(code: int) -> int:
    char = chr(code)
    if char in "@<" or code == 127 or (code < 32 and char not in "\t\n\r"):
        return _ALONE
    return ord(char.lower()) if char.isalnum() or code == _END else _SPACE


_ASCII = bytes(_ascii(code) if code < _FOREIGN else _FOREIGN for code in range(256))
_LETTER, _LEET = 1, 2
_KINDS = bytes(_LETTER if 97 <= code <= 122 else _LEET if chr(code) in "34680" else 4 for code in range(256))


@dataclass(frozen=True, slots=True)
class Folded:
    """Skeletons in a row, each followed by a line feed; every word has a space or a line feed at both sides."""

    codes: Codes  # code points
    posts: list[int]  # which posts of the batch these are; -1: folded elsewhere
    ends: Numbers  # where the line feed of each is

    @property
    def letters(self) -> bytes:
        """The same with one byte a letter; those outside ours are all one."""
        return _bytes(self.codes)

    def row(self, row: int) -> str:
        """One of them, as `normalize` makes it but for a space at both ends."""
        codes = self.codes[self.ends[row - 1] + 1 if row else 0 : self.ends[row]]
        return codes.tobytes().decode("ascii" if codes.dtype == np.uint8 else "utf-32-le")


class Literals:
    """An automaton over the fixed parts of forms, of which every form has one."""

    def __init__(self, literals: Sequence[str]) -> None:
        encoded = [bytes(min(ord(c), _FOREIGN) for c in one) for one in literals]
        self._automaton = BytesAhoCorasick(encoded, implementation=Implementation.DFA) if encoded else None

    def places(self, folded: Folded) -> list[tuple[int, int, int]]:
        """Row, literal and offset in its row of each that stands there."""
        if self._automaton is None:
            return []
        hits = self._automaton.find_matches_as_indexes(folded.letters, overlapping=True)
        if not hits:
            return []
        at = np.array([at for _, at, _ in hits])
        rows = np.searchsorted(folded.ends, at)
        begins = np.concatenate([[0], folded.ends[:-1] + 1])[rows]
        return list(zip(rows.tolist(), [literal for literal, _, _ in hits], (at - begins).tolist(), strict=True))


@dataclass
class _Rest:
    """Posts of a batch that a table alone can't fold."""

    linked: list[int] = field(default_factory=list)  # with a handle or a link to be taken out first
    alone: list[int] = field(default_factory=list)


class Folder:
    """Folds batches. The table of letters grows as they are met; it only saves time."""

    def __init__(self) -> None:
        self._table = np.full(0x110000, _UNKNOWN, np.uint32)

    def fold(self, texts: Sequence[bytes]) -> Iterator[Folded]:
        """All posts of a batch, in a few groups. `texts` are UTF-8, one post each, without line feeds."""
        rest = _Rest()
        yield from self._groups(texts, range(len(texts)), rest)
        if rest.linked:
            for n, folded in self._unlinked(texts, rest):
                yield Folded(folded.codes, [n[post] if post >= 0 else -1 for post in folded.posts], folded.ends)
        if rest.alone:
            codes = _codes([normalize(texts[n].decode("utf-8", "replace")).skeleton for n in rest.alone])
            yield Folded(codes, rest.alone, np.flatnonzero(codes == _END))

    def _groups(self, texts: Sequence[bytes], posts: Sequence[int], rest: _Rest) -> Iterator[Folded]:
        plain = [n for n in posts if texts[n].isascii()]
        if plain:
            yield _of_ascii([texts[n] for n in plain], plain, rest)
        if len(plain) < len(posts):
            wide = [n for n in posts if not texts[n].isascii()]
            yield self._of_any([texts[n] for n in wide], wide, rest)

    def _unlinked(self, texts: Sequence[bytes], rest: _Rest) -> Iterator[tuple[list[int], Folded]]:
        """Posts without their handles and links, which the skeleton has not."""
        bare = [_without_links(texts[n]) for n in rest.linked]
        left = _Rest()
        for folded in self._groups(bare, range(len(bare)), left):
            yield rest.linked, folded
        rest.alone += [rest.linked[n] for n in {*left.linked, *left.alone}]

    def _of_any(self, texts: Sequence[bytes], posts: list[int], rest: _Rest) -> Folded:
        decoded = [text.decode("utf-8", "replace").replace(_JOINER, "") for text in texts]
        raw = _codes(decoded)
        made = self._table.take(raw)
        unknown = made == _UNKNOWN
        if unknown.any():
            for code in np.unique(raw[unknown]).tolist():
                self._table[code] = _letter(code)
            made = self._table.take(raw)
        after = list(accumulate(len(text) + len(_BETWEEN) for text in decoded))
        linked = [bisect_right(after, at) for at in _places(_BETWEEN.join(decoded), "//")]
        return _finished(made[made != _DROP], posts, texts, linked, rest)


def _of_ascii(texts: Sequence[bytes], posts: list[int], rest: _Rest) -> Folded:
    raw = b" " + _BETWEEN.encode().join(texts) + _BETWEEN.encode()
    made = np.frombuffer(raw.translate(_ASCII), np.uint8)
    slash = np.frombuffer(raw, np.uint8) == _SLASH
    places = np.flatnonzero(slash[1:] & slash[:-1])
    linked = np.searchsorted(np.flatnonzero(made == _END), places).tolist() if len(places) else []
    return _finished(made, posts, texts, linked, rest)


def _finished(made: Codes, posts: list[int], texts: Sequence[bytes], linked: Sequence[int], rest: _Rest) -> Folded:
    """Squeeze letters already looked up, leaving out posts that need more than that; `linked` are rows with a link."""
    ends = np.flatnonzero(made == _END)
    kinds = np.frombuffer(_bytes(made).translate(_KINDS), np.uint8)
    same = made[1:] == made[:-1]
    thrice = same[1:] & same[:-1]
    long = [row for row, text in enumerate(texts) if len(text) > LONGEST]
    www = _rows(thrice & (made[2:] == _W), ends)
    handles = _rows(made == _ALONE, ends)  # or what else is no letter: that is seen when the handles are gone
    _move(posts, {*linked, *www, *handles}.difference(long), rest.linked)
    spelt = _rows(kinds[1:] + kinds[:-1] == _LETTER + _LEET, ends)
    runs = _rows(thrice & (kinds[2:] != _LETTER) & (made[2:] != _SPACE), ends)
    _move(posts, {*long, *spelt, *runs}, rest.alone)
    mute = (made[1:] == _H) & ((made[:-1] == ord("c")) | (made[:-1] == ord("s")) | (made[:-1] == ord("z")))
    if mute.any():
        made = made[np.concatenate([[True], ~mute])]
        same = made[1:] == made[:-1]
    double = same & (((made[1:] > ord("9")) & (made[1:] < _FOREIGN)) | (made[1:] == _SPACE))
    codes = made[np.concatenate([[True], ~double])]
    return Folded(codes, posts, np.flatnonzero(codes == _END))


def _rows(where: NDArray[np.bool_], ends: Numbers) -> list[int]:
    places = np.flatnonzero(where)
    rows: list[int] = np.searchsorted(ends, places).tolist() if len(places) else []
    return rows


def _move(posts: list[int], rows: Iterable[int], to: list[int]) -> None:
    """Take rows out of a group, unless they are gone already."""
    for row in sorted(rows):
        if posts[row] >= 0:
            to.append(posts[row])
            posts[row] = -1


def _without_links(text: bytes) -> bytes:
    """A text without handles and links, for which the skeleton has a space; what still looks odd stays so."""
    if b"//" in text or b"<" in text or b"www" in text.lower():
        bare = _by_rule(text)
    else:
        bare = _without_handles(text)
    return bare if b"@user" in bare else bare.replace(b"@", b" ").replace(b"<", b" ")


def _by_rule(text: bytes) -> bytes:
    if text.isascii():
        return _HANDLE.sub(b" ", _URL.sub(b" ", text))
    return HANDLE.sub(" ", URL.sub(" ", text.decode("utf-8", "replace").replace(_JOINER, ""))).encode()


def _without_handles(text: bytes) -> bytes:
    """The same for a text with nothing but plain handles, several times as fast."""
    begin, *rest = text.split(b"@")
    kept = [begin]
    for part in rest:
        left = part.lstrip(_NAME)
        if kept[-1][-1:] in _UNSURE or not left or left[0] >= _FOREIGN:  # an address, a handle of two parts, or foreign
            return _by_rule(text)
        kept.append(left)
    return b" ".join(kept)


def _bytes(codes: Codes) -> bytes:
    if codes.dtype == np.uint8:
        return codes.tobytes()
    return np.minimum(codes, np.uint32(_FOREIGN)).astype(np.uint8).tobytes()


def _codes(texts: Sequence[str]) -> NDArray[np.uint32]:
    joined = " " + _BETWEEN.join(texts) + _BETWEEN
    return np.frombuffer(joined.encode("utf-32-le", "replace"), np.uint32)


def _places(text: AnyStr, part: AnyStr) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _letter(code: int) -> int:
    """What a character is in a skeleton, or what else it is."""
    char = chr(code)
    if code < _FOREIGN:
        return _ASCII[code]
    if char in _MARKS:
        return _DROP
    if unicodedata.category(char)[0] in "MC" or unicodedata.normalize("NFC", char) != char:
        return _ALONE
    if "\u0370" <= char <= "\u04ff" or "\u1f00" <= char <= "\u1fff":  # Greek, Cyrillic
        return _ALONE
    made = sound(char)
    return (_SPACE if made == " " else ord(made)) if len(made) == 1 else _ALONE
