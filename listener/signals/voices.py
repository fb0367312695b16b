"""What one more voice is worth beside those heard in the last hour: copies, the same few words, and one conversation.

A crowd that says the same is either many people to whom the same happens, or a few who make noise. What tells them apart is
whether others say it too, in other words and by themselves. So a text that many send counts once and hardly more; the
same few words, replies and quotes count in full as long as as many other people speak independently, and from there on
ever less, so that their sum grows with the logarithm of their number; all the press together is one voice.

People are counted, not posts. Everything is a function of the mentions of the lookback alone, so a minute that is measured
again comes out the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from listener.types import Mention, PostKind, Tier

BONUS = 0.25  # of each doubling of the copies, in nats: a text sent from a thousand accounts counts as less than three people
CHANCE = 0.05  # of all others: so many may share words with a text without having copied it
FEW = 5.0  # people who may say the same few words, or speak in one conversation, before others have to speak too
SHORT = "~"  # begins the key of a text too short to be copied (see `text.copies`)


Heard = dict[str, datetime]  # people and the bin they were last heard in, the one heard longest ago first


class Voices:
    """One pass over a service's mentions in order of time."""

    def __init__(self, lookback: timedelta) -> None:
        self._lookback = lookback
        self._all: Heard = {}
        self._alone: Heard = {}  # who wrote a post of their own, no reply and no quote
        self._together: Heard = {}  # who replied or quoted
        self._press: Heard = {}
        self._bands: dict[str, tuple[str, datetime] | Heard] = {}  # most are heard of one person only
        self._bands_before: Mapping[str, tuple[str, datetime] | Heard] = {}  # of the one this was copied from

    def copy(self) -> Voices:
        """One that can go on hearing by itself, while this one stays as it is."""
        made = Voices(self._lookback)
        made._all, made._alone = self._all.copy(), self._alone.copy()
        made._together, made._press = self._together.copy(), self._press.copy()
        made._bands_before = {**self._bands_before, **self._bands} if self._bands_before else self._bands
        return made

    def settle(self, since: datetime) -> None:
        """Take over what was copied, and forget who was last heard before then."""
        self._bands = {
            band: heard
            for band, heard in {**self._bands_before, **self._bands}.items()
            if (heard[1] if isinstance(heard, tuple) else next(reversed(heard.values()), since)) >= since
        }
        self._bands_before = {}
        for heard in (self._all, self._alone, self._together, self._press):
            _forget(heard, since)

    def worth(self, mention: Mention, person: str, bin_at: datetime) -> tuple[float, str]:
        """Between 0 and 1, and why it is less than 1. Bins must come in order."""
        since = bin_at - self._lookback
        if mention.post.tier is Tier.PRESS:
            nth = _hear(self._press, person, bin_at, since)
            return (1.0, "") if nth == 1 else (_more(nth), "press")
        others = _hear(self._all, person, bin_at, since) - 1
        value, why = self._of_words(mention.cluster, person, bin_at, since, others)
        if mention.post.kind is PostKind.POST:
            _hear(self._alone, person, bin_at, since)
            return value, why
        nth = _hear(self._together, person, bin_at, since)
        _forget(self._alone, since)
        fair = max(FEW, len(self._alone)) / nth
        return (fair, "conversation") if fair < value else (value, why)

    def _of_words(self, cluster: str, person: str, bin_at: datetime, since: datetime, others: int) -> tuple[float, str]:
        nth = 1
        first = (person, bin_at)
        bands = self._bands
        for band in cluster.split():
            heard = bands.get(band)
            if heard is None:
                heard = self._bands_before.get(band)
                if heard is None:
                    bands[band] = first
                    continue
                if isinstance(heard, dict):
                    heard = bands[band] = heard.copy()
            if isinstance(heard, tuple):
                heard = bands[band] = {heard[0]: heard[1]}
            nth = max(nth, _hear(heard, person, bin_at, since))
        if nth == 1:
            return 1.0, ""
        differently = others - (nth - 1)
        if cluster.startswith(SHORT):
            fair = max(FEW, differently) / nth
            return (1.0, "") if fair >= 1 else (fair, "same_words")
        return (1.0, "") if nth <= 1 + CHANCE * differently else (_more(nth), "copy")


def _hear(heard: Heard, person: str, at: datetime, since: datetime) -> int:
    """Note a person and forget those last heard before `since`; give back how many are left."""
    heard.pop(person, None)
    heard[person] = at
    _forget(heard, since)
    return len(heard)


def _forget(heard: Heard, since: datetime) -> None:
    while heard:
        person = next(iter(heard))
        if heard[person] >= since:
            return
        del heard[person]


def _more(nth: int) -> float:
    """What the n-th of the same adds: their sum is 1 + BONUS x ln n."""
    return BONUS * math.log(nth / (nth - 1))
