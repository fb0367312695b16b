"""What code page a document is in: by its mark, else by its bytes, else by what is declared, else by its letters.

Many pages of the region's eight-bit past still declare nothing, or what their software put there. A page fits when the bytes
become letters that are frequent in one of our languages; the same bytes in a wrong page become letters nobody uses.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from functools import cache
from itertools import islice
from math import log

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DECLARED = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_SERVED = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_CODE_PAGE = re.compile(r"(?:utf-?(?:8|16|32)|iso-?8859|windows-|cp\d|koi8|latin|us-ascii|x-mac|mac)")  # not punycode

_WESTERN = "windows-1252"
_LAZY = frozenset({"iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", _WESTERN, "cp1252"})  # nobody chose it

# The letters beyond ASCII of each language, the most frequent first. Of Latin ones only those that tell pages apart.
_LETTERS = {
    "Western": "éäöüàèçñáíóâêôîßåøæûùëïúãõ",
    "Turkish": "ıüşğçöâîûÂÎİ",
    "South Slavic": "čšžćđ",
    "Romanian": "ăîâţş",
    "Albanian": "ëç",
    "Bulgarian": "аеионтрсвлкдпмзгъбячуцщжхшюйфьѝ",
    "Serbian": "аиоенрстјукдвпмлзгбшчћцжхђфљњџ",
    "Macedonian": "аоеитнрсвклдмпзујгбчшцжќхфњѓџљѕѐѝ",
    "Greek": "αοιετσνηυρπκμλςίγάδόέφχήθύβώξζψϊϋΐΰ",
}
_LATIN = frozenset({"Western", "Turkish", "South Slavic", "Romanian", "Albanian"})
_PAGES = {
    _WESTERN: ("Western", "Albanian"),
    "windows-1254": ("Turkish",),
    "windows-1250": ("South Slavic", "Romanian"),
    "windows-1251": ("Bulgarian", "Serbian", "Macedonian"),
    "windows-1253": ("Greek",),
    "iso-8859-2": ("South Slavic", "Romanian"),
    "iso-8859-5": ("Bulgarian", "Serbian", "Macedonian"),
    "iso-8859-7": ("Greek",),
}
_SAMPLE = 2_000  # words to judge by
_WORD = re.compile(rb"[A-Za-z]{0,20}[\x80-\xff][A-Za-z\x80-\xff]{0,30}")
_QUOTES = frozenset("„“”‘’‚–—…«»•·\xa0\xad")  # may touch a letter; other signs that do are letters of another page
_NEVER, _SIGN = log(1e-4), log(1 / 20)
_DOUBT = 0.03  # pages of the standard are rarer than those of the programs that were used


def decode(body: bytes, content_type: str, fallback: str = "") -> str:
    """The document's text: by its mark, else as UTF-8 if it is UTF-8, else by what it or the server declares.

    What declares nothing, or something it is not, is taken for the source's usual code page. Where none is named, where two
    declarations contradict each other, and where the only one is what programs put there by themselves, letters decide.
    """
    for mark, name in _MARKS:
        if body.startswith(mark):
            return body.decode(name, "replace").lstrip("\ufeff")
    if body[:4] in (b"<\0?\0", b"\0<\0?"):
        return body.decode("utf-16-le" if body[0] else "utf-16-be", "replace")
    text = body.decode("utf-8", "replace")
    lost = text.count("\ufffd")
    if lost == 0 or 10 * lost < sum(len(part) for part in re.findall(r"[^\x00-\x7f]+", text)):
        return text  # a letter cut in half does not make it anything else
    for names in _choices(body, content_type, fallback):
        fitting = [name for name in names if _fits(body, name)]
        if fitting:
            return body.decode(best_page(body, fitting))
    return body.decode(best_page(body, tuple(_PAGES)), "replace")


def _choices(body: bytes, content_type: str, fallback: str) -> list[list[str]]:
    """Names of code pages, the more trustworthy ones first; among those of one list the letters choose."""
    served = _SERVED.search(content_type)
    declared = DECLARED.match(body[:400].decode("latin-1"))
    named = [match.group(1).lower() for match in (served, declared) if match]
    named = [name for name in dict.fromkeys(named) if _CODE_PAGE.match(name)]
    chosen = [name for name in named if name not in _LAZY]
    usual = [fallback] if fallback else list(_PAGES)
    return [chosen, [_WESTERN, *usual], list(_PAGES)] if len(chosen) < len(named) else [chosen, usual, list(_PAGES)]


def best_page(body: bytes, pages: Sequence[str]) -> str:
    """The page in which the bytes make the most ordinary letters; the first of those that do so equally well."""
    if len(pages) == 1:
        return pages[0]
    words = b" ".join(match.group() for match in islice(_WORD.finditer(body), _SAMPLE))
    return max(pages, key=lambda page: round(_ordinary(words.decode(page, "replace"), page), 6))


def _ordinary(text: str, page: str) -> float:
    """The mean logarithm of how frequent its letters are, in the language that fits best."""
    doubt = _DOUBT if page.startswith("iso") else 0.0
    return max(_fit(text, language) for language in _PAGES.get(page, tuple(_LETTERS))) - doubt


def _fit(text: str, language: str) -> float:
    frequency, total, count = _frequencies(language), 0.0, 0
    mixes = language in _LATIN  # letters of other scripts don't stand beside plain ones
    for before, letter, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        if letter.isascii():
            continue
        count += 1
        if letter in _QUOTES:
            is_initial = letter == "’" and after.isalpha() and not before.isalpha()  # Ά in the wrong Greek page
            total += _NEVER if is_initial else _SIGN
        elif not letter.isalpha():
            total += _NEVER if before.isalpha() or after.isalpha() or not letter.isprintable() else _SIGN
        elif (before.islower() and letter.isupper()) or (not mixes and (_is_plain(before) or _is_plain(after))):
            total += _NEVER
        else:
            total += frequency.get(letter, _NEVER)
    return total / count if count else 0.0


def _is_plain(letter: str) -> bool:
    return letter.isascii() and letter.isalpha()


@cache
def _frequencies(language: str) -> dict[str, float]:
    """The logarithm of a letter's share, which falls with its rank; capitals count as their small letters."""
    letters = _LETTERS[language]
    whole = sum(1 / rank for rank in range(1, len(letters) + 1))
    shares = {letter: log(1 / rank / whole) for rank, letter in enumerate(letters, 1)}
    return {letter.upper(): share for letter, share in shares.items() if len(letter.upper()) == 1} | shares


def _fits(body: bytes, name: str) -> bool:
    try:
        body.decode(name)
    except (UnicodeError, LookupError):
        return False
    return True
