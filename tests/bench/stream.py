"""A seeded stream shaped like Jetstream's, of which a given share passes the gate, and the straightforward way to read it.

What does not pass is of many languages as on Bluesky, with replies, pictures, links, mentions, emojis and line breaks in the
shares seen there. Candidates are posts of `data/labelled` that pass, in all our languages.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listener.classify.gate import FOUND
from listener.pipeline import Pipeline
from listener.text.normalize import skeleton

ROOT = Path(__file__).parent.parent.parent
LANGUAGES = {"en": 0.57, "ja": 0.18, "pt": 0.08, "es": 0.04, "de": 0.05, "ours": 0.08}
_WORDS = {
    "ja": "今日 は 天気 が いい ね 朝 ごはん 食べた 仕事 終わった 眠い 猫 かわいい 散歩 した 写真 楽しい 明日 も がんばる "
    "おはよう ございます 雨 降って きた 電車 混んでる コーヒー 飲みたい 新しい 本 読んでる ありがとう 週末 どこ 行こう",
    "pt": "hoje o dia foi muito bom mas estou cansada demais quero dormir cedo amanhã vou para praia com minha irmã depois do "
    "almoço comprar pão leite café saudade dessa música linda obrigado gente bom feliz meu gato tem fome outra coração",
    "es": "hoy hace mucho calor en la calle pero me gusta caminar con mi perro por el parque mañana tengo que madrugar qué "
    "pereza feliz cumpleaños abuela gracias por todo mi hermano cocina muy rico arroz con pollo canción bonita",
    "de": "heute war ein schöner tag im garten und die katze schläft auf dem sofa morgen fahren wir zu oma es gibt kuchen mit "
    "äpfeln guten morgen zusammen ich trinke noch einen kaffee das buch war wirklich spannend grüße aus wien",
}
_DID = "did:plc:%024d"
_CID = "bafyreidc6sydkkbchcyg62v77wbhzvb2mvytlmsychqgwf2xojjtirmzj4"


@dataclass(frozen=True)
class Texts:
    """What passes the gate and what does not, the latter by language."""

    candidates: list[str]
    silent: dict[str, list[str]]


def texts_of(pipeline: Pipeline) -> Texts:
    labelled: dict[str, list[str]] = {}
    for path in sorted((ROOT / "data" / "labelled").glob("*.jsonl")):
        key = "en" if path.stem == "en" else "ours"
        labelled.setdefault(key, []).extend(json.loads(line)["text"] for line in path.read_text("utf-8").splitlines())
    rng = random.Random(4)
    labelled["candidates"] = []
    for key in ("en", "ours"):
        passes = passing(pipeline, labelled[key])
        labelled["candidates"] += [text for text, yes in zip(labelled[key], passes, strict=True) if yes]
        labelled[key] = [text for text, yes in zip(labelled[key], passes, strict=True) if not yes]
    for code, words in _WORDS.items():
        between = "" if code == "ja" else " "
        made = [between.join(rng.choices(words.split(), k=rng.randint(4, 30))) for _ in range(3000)]
        labelled[code] = [text for text, yes in zip(made, passing(pipeline, made), strict=True) if not yes]
    candidates = labelled.pop("candidates")
    rng.shuffle(candidates)
    return Texts(candidates, labelled)


def passing(pipeline: Pipeline, texts: Sequence[str]) -> list[bool]:
    folded = [skeleton(text) for text in texts]
    return pipeline.classifier.gate.passes(folded, [pipeline.matcher.find(one) for one in folded])


def frames(pipeline: Pipeline, texts: Texts, posts: int, share: float, seed: int) -> list[bytes]:
    """Frames of version 2. What is added to a silent text (a mention, a link) is taken back when it then passes."""
    rng = random.Random(seed)
    codes = rng.choices(list(LANGUAGES), list(LANGUAGES.values()), k=posts)
    plain = [rng.choice(texts.silent[code]) for code in codes]
    dressed = [_dressed(text, rng) for text in plain]
    kept = [a if yes else b for a, b, yes in zip(plain, dressed, passing(pipeline, dressed), strict=True)]
    wanted = round(posts * share)
    for place in rng.sample(range(posts), wanted):
        kept[place], codes[place] = rng.choice(texts.candidates), "candidate"
    return [
        frame(text, code, seed * 10_000_000 + n, rng) for n, (text, code) in enumerate(zip(kept, codes, strict=True))
    ]


def _dressed(text: str, rng: random.Random) -> str:
    if rng.random() < 0.05:
        text = f"@someone.example {text}"
    if rng.random() < 0.06:
        text = f"{text} https://page.example/{rng.randrange(10**6)}"
    if rng.random() < 0.15:
        text = text.replace(". ", ".\n\n")
    return f"{text} {rng.choice('😀😂🙏🎉❤️')}" if rng.random() < 0.25 else text


def frame(text: str, code: str, n: int, rng: random.Random) -> bytes:
    record: dict[str, Any] = {"$type": "app.bsky.feed.post", "createdAt": "2026-11-20T13:09:29.900Z"}
    kind = rng.random()
    if kind < 0.15:
        blob = {"$type": "blob", "ref": {"$link": _CID}, "mimeType": "image/jpeg", "size": 412_345}
        image = {"alt": "", "aspectRatio": {"height": 1000, "width": 750}, "image": blob}
        record["embed"] = {"$type": "app.bsky.embed.images", "images": [image]}
    elif kind < 0.22:
        card = {"description": "", "title": text[:30], "uri": f"https://page.example/{n}"}
        record["embed"] = {"$type": "app.bsky.embed.external", "external": card}
    record["langs"] = ["en" if code == "ours" else code]
    if kind > 0.6:
        said = {"cid": _CID, "uri": f"at://{_DID % rng.randrange(10**6)}/app.bsky.feed.post/3l3qo2vuowo2b"}
        record["reply"] = {"parent": said, "root": said}
    record["text"] = text
    payload = {
        "$type": "network.bsky.jetstream.subscribeEvents#commit",
        "seq": n + 1,
        "did": _DID % rng.randrange(10**6),
        "time": "2026-11-20T13:09:30.500000Z",
        "rev": "3l3qo2vutsw2b",
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": f"3l3q{n}",
        "cid": _CID,
        "record": record,
    }
    made = {"$type": "message", "payload": payload}
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()


def straightforward(
    pipeline: Pipeline, texts: Texts, phrases: int | None
) -> Callable[[Sequence[bytes]], Iterator[Any]]:
    """The usual way, one post at a time: json, NFKD, a regular expression of so many phrases (None: all), langdetect,
    TF-IDF and logistic regression. Regions and a store it has not."""
    from langdetect import DetectorFactory, LangDetectException, detect
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    DetectorFactory.seed = 0
    forms = [one.strip() for one in pipeline.matcher.literals(FOUND)]
    if phrases is not None:
        counts = {
            form: sum(form in text.lower() for text in texts.candidates[:1000]) for form in forms if len(form) > 3
        }
        forms = sorted(counts, key=counts.__getitem__, reverse=True)[:phrases]
    found = re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, forms), key=len, reverse=True)) + ")")
    model = make_pipeline(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)), LogisticRegression(max_iter=20))
    learnt = texts.candidates[:3000]
    model.fit(learnt, [n % 2 for n in range(len(learnt))])

    def fold(text: str) -> str:
        return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))

    candidates = {fold(text) for text in texts.candidates}  # both ways judge the same posts

    def run(stream: Sequence[bytes]) -> Iterator[Any]:
        for raw in stream:
            text = fold(json.loads(raw)["payload"]["record"]["text"])
            found.search(text)
            if text not in candidates:
                continue
            with contextlib.suppress(LangDetectException):
                yield detect(text), model.predict_proba([text])[0]

    return run
