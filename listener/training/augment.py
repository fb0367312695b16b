"""Other ways to type the same post, for training only: without diacritics, in the other alphabet, hurried, shouted, clipped."""

from __future__ import annotations

import re
import unicodedata
from random import Random

_CYRILLIC = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "ђ": "đ", "е": "e", "ж": "ž", "з": "z", "и": "i", "ј": "j", "к": "k",
    "л": "l", "љ": "lj", "м": "m", "н": "n", "њ": "nj", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "ћ": "ć",
    "у": "u", "ф": "f", "х": "h", "ц": "c", "ч": "č", "џ": "dž", "ш": "š", "ѓ": "gj", "ќ": "kj", "ѕ": "dz",
}  # fmt: skip
_LATIN = {latin: cyrillic for cyrillic, latin in _CYRILLIC.items() if cyrillic not in "ѓќѕ"}
_TO_CYRILLIC = re.compile("lj|nj|dž|[" + "".join(key for key in _LATIN if len(key) == 1) + "]")

# Several habits a letter: people mix them, so one is drawn per post and letter.
_SHLIOKAVITSA = {
    "а": ("a",), "б": ("b",), "в": ("v", "v", "w"), "г": ("g",), "д": ("d",), "е": ("e",), "ж": ("j", "zh"), "з": ("z",),
    "и": ("i",), "й": ("i", "y", "j"), "к": ("k",), "л": ("l",), "м": ("m",), "н": ("n",), "о": ("o",), "п": ("p",),
    "р": ("r",), "с": ("s",), "т": ("t",), "у": ("u",), "ф": ("f",), "х": ("h", "h", "x"), "ц": ("c", "ts"),
    "ч": ("4", "4", "ch"), "ш": ("6", "6", "sh"), "щ": ("6t", "sht"), "ъ": ("y", "a", "u"), "ь": ("i", "y"),
    "ю": ("iu", "yu", "u"), "я": ("q", "ia", "ya"),
}  # fmt: skip
_GREEKLISH_PAIRS = {
    "ου": ("ou", "u"), "αι": ("ai", "e"), "ει": ("ei", "i"), "οι": ("oi", "i"), "ευ": ("ev", "eu"), "αυ": ("av", "au"),
    "μπ": ("mp", "b"), "ντ": ("nt", "d"), "γκ": ("gk", "g"), "γγ": ("gg", "g"), "τσ": ("ts",), "τζ": ("tz",),
}  # fmt: skip
_GREEKLISH = {
    "α": ("a",), "β": ("v", "v", "b"), "γ": ("g",), "δ": ("d",), "ε": ("e",), "ζ": ("z",), "η": ("i", "h"),
    "θ": ("th", "8"), "ι": ("i",), "κ": ("k",), "λ": ("l",), "μ": ("m",), "ν": ("n",), "ξ": ("ks", "x", "3"),
    "ο": ("o",), "π": ("p",), "ρ": ("r",), "σ": ("s",), "ς": ("s",), "τ": ("t",), "υ": ("y", "u", "i"), "φ": ("f", "ph"),
    "χ": ("x", "h", "ch"), "ψ": ("ps",), "ω": ("o", "w"),
}  # fmt: skip
_ROMAN = {"bg": _SHLIOKAVITSA, "el": {**_GREEKLISH_PAIRS, **_GREEKLISH}}
_BOTH_ALPHABETS = ("sr", "bs", "mk", "cnr")


_BEGIN = re.findall(r"\w+", "b br c d dr f fl g gr h j k kl kr l m n p pl pr qu r s sk sl sn st t tr v vl w x z zw")
_VOWEL = ("a", "a", "e", "e", "i", "i", "o", "o", "u", "y", "io", "ea")
_END = ("", "", "", "n", "r", "x", "l", "s", "t", "k", "ly", "ify", "app", "pay", "bank", "net", "gram", "hub", "go")


def invented(random: Random) -> str:
    """The name of a service that does not exist, never twice the same: what is learnt must not hang on names."""
    name = "".join(random.choice(_BEGIN) + random.choice(_VOWEL) for _ in range(random.choice((1, 2, 2, 3))))
    name += random.choice(_END)
    return name.capitalize() if random.random() < 0.4 else name


def ascii_form(text: str) -> str:
    """Without diacritics, as a keyboard set to English gives it; Cyrillic and Greek stay.

    >>> ascii_form("Instagram açılmıyor, ćuti đače")
    'Instagram acilmiyor, cuti djace'
    """
    parts = unicodedata.normalize("NFKD", text.replace("ı", "i").replace("đ", "dj").replace("Đ", "Dj"))
    return unicodedata.normalize("NFC", "".join(char for char in parts if not unicodedata.combining(char)))


def other_alphabet(text: str, language: str, random: Random) -> str:
    """Cyrillic or Greek typed in Latin letters the way the language's writers do; Latin Serbian in Cyrillic; else as it is.

    >>> other_alphabet("Не ради Вајбер", "sr", Random(0)), other_alphabet("ne radi, njemu", "sr", Random(0))
    ('ne radi vajber', 'не ради, њему')
    """
    low = text.lower()
    cyrillic = any("Ѐ" <= char <= "ӿ" for char in low)
    if language in _ROMAN:
        habits = {letter: random.choice(ways) for letter, ways in _ROMAN[language].items()}
        plain = ascii_form(low) if language == "el" else low
        return re.sub("|".join(sorted(habits, key=len, reverse=True)), lambda found: habits[found[0]], plain)
    if language in _BOTH_ALPHABETS and cyrillic:
        return "".join(_CYRILLIC.get(char, char) for char in low)
    if language == "sr" and not _MASKED.search(low):
        return _TO_CYRILLIC.sub(lambda found: _LATIN[found[0]], low)
    return text


_MASKED = re.compile(r"<url>|@user|[qwxy]")  # foreign words keep their letters, so such a post stays Latin


def slipped(text: str, random: Random) -> str:
    """One slip of the finger: a letter lost, doubled, swapped with the next one, or another in its place."""
    places = [at for at, char in enumerate(text) if char.isalpha()]
    if not places:
        return text
    at, slip = random.choice(places), random.randrange(4)
    char, rest = text[at], text[at + 1 :]
    if slip == 2 and rest:
        return text[:at] + rest[0] + char + rest[1:]
    return text[:at] + ("", char * 2, char, random.choice("aeiontrsk"))[slip] + rest


def hurried(text: str, random: Random) -> str:
    """A slip of the finger or two, punctuation lost, capitals lost or locked."""
    made = text
    for _ in range(1 + len(text) // 60):
        made = slipped(made, random)
    if random.random() < 0.4:
        made = re.sub(r"[.,!;:…]+", " ", made)
    if random.random() < 0.2:
        made = made.replace("?", "")
    return made.upper() if random.random() < 0.1 else made.lower()


def clipped(text: str, random: Random) -> str:
    """A run of one to six words out of a post: what a short post of the language looks like."""
    words = text.split()
    count = random.randint(1, 6)
    at = random.randrange(max(1, len(words) - count + 1))
    return " ".join(words[at : at + count])
