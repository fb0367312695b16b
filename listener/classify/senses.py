"""What everyday words mean, as a few hundred senses that all languages share: `nije`, `değil` and `isn` are all "not".

The tables come from `data/words`; a model carries the ones it was trained with, folded to skeletons. What is learnt of
senses in one language holds in all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

NOT = "not"
SERVICE, PLACE = "S", "P"  # the skeleton is lower case, so a capital can't be mistaken for a word
_FALLBACK = "en"  # English words are at home in every language here
_FALLBACK_LETTERS = 4  # shorter ones mean something else too often
_SPOKEN = 0.15  # probability from which a language's words are looked up
SHORTEST_STEM = 3
_MEMO = 100_000  # words remembered; bounded, so that a flood of nonsense can't fill the memory

Word = tuple[int, ...]  # the senses of one word, by number, "not" first


class Forms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One language: sense names joined by `+`, and the folded words, stems, endings and insides that have them."""

    words: dict[str, str]
    stems: dict[str, str]
    endings: dict[str, str]
    insides: dict[str, str]


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`senses.json` of a model."""

    names: tuple[str, ...]
    languages: dict[str, Forms]


class Senses:
    """Looks words up. It never changes but for a memo that only saves time."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.names = (*tables.names, SERVICE, PLACE)
        number = {name: n for n, name in enumerate(self.names)}
        self._masked = {SERVICE: (number[SERVICE],), PLACE: (number[PLACE],)}
        self._languages = {code: _Language.of(forms, number) for code, forms in tables.languages.items()}
        self._memo: dict[tuple[str, ...], dict[str, Word]] = defaultdict(dict)

    def of(self, masked: str, languages: Mapping[str, float]) -> list[Word]:
        """The senses of each word of a masked skeleton, in the languages it may be in by their probability."""
        spoken = tuple(code for code, share in languages.items() if share >= _SPOKEN and code in self._languages)
        memo = self._memo[spoken]
        found = []
        for word in masked.split():
            senses = memo.get(word)
            if senses is None:
                senses = self._looked_up(word, spoken)
                if len(memo) < _MEMO:
                    memo[word] = senses
            found.append(senses)
        return found

    def _looked_up(self, word: str, spoken: Sequence[str]) -> Word:
        if word in self._masked:
            return self._masked[word]
        senses = next((found for code in spoken if (found := self._languages[code].looked_up(word))), ())
        if not senses and len(word) >= _FALLBACK_LETTERS and _FALLBACK in self._languages:
            return self._languages[_FALLBACK].looked_up(word)
        return senses


class _Language(msgspec.Struct, frozen=True):
    words: dict[str, Word]
    stems: dict[str, Word]
    endings: dict[str, Word]
    insides: dict[str, Word]

    @classmethod
    def of(cls, forms: Forms, number: Mapping[str, int]) -> Self:
        return cls(*(_by_form(kind, number) for kind in (forms.words, forms.stems, forms.endings, forms.insides)))

    def looked_up(self, word: str) -> Word:
        """The word itself, else its longest stem; endings and insides add to either."""
        found = self.words.get(word)
        if found is None:
            cuts = range(len(word), SHORTEST_STEM - 1, -1)
            found = next((self.stems[word[:cut]] for cut in cuts if word[:cut] in self.stems), ())
        more = {n for cut in range(1, len(word)) for n in self.endings.get(word[cut:], ())}
        more |= {n for inside, senses in self.insides.items() if inside in word[1:-1] for n in senses}
        return tuple(sorted({*found, *more})) if more else found


def _by_form(kind: Mapping[str, str], number: Mapping[str, int]) -> dict[str, Word]:
    return {
        form: senses
        for names, forms in kind.items()
        for senses in [tuple(sorted(number[name] for name in names.split("+")))]
        for form in forms.split()
    }
