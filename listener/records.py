"""What is told of things one by one, whoever asks: the record of a post that was scored."""

from __future__ import annotations

from typing import Any

from listener.types import LABELS, Dropped, Mention, Post, Score


def score_record(post: Post, answer: Mention | Dropped, digest: str) -> dict[str, Any]:
    """The line of `listener score`, as promised to other programs."""
    native = post.id.partition(":")[2]
    if isinstance(answer, Dropped):
        judged = _judgement(answer.score or Score(tuple(float(label == "other") for label in LABELS)))
        return {
            "id": native,
            **judged,
            "services": [],
            "language": None,
            "regions": [],
            "matches": [],
            "model": digest,
            "dropped": str(answer.reason),
        }
    return {
        "id": native,
        **_judgement(answer.score),
        "services": list(answer.services),
        "language": {"code": answer.language.code, "confidence": round(answer.language.confidence, 3)},
        "regions": [{"region": r.region, "weight": r.weight, "evidence": list(r.evidence)} for r in answer.regions],
        "matches": list(answer.matches),
        "model": digest,
    }


def _judgement(score: Score) -> dict[str, Any]:
    return {
        "chatter": round(score.chatter, 4),
        "label": score.label,
        "probabilities": {label: round(p, 4) for label, p in zip(LABELS, score.probabilities, strict=True)},
        "symptom": score.symptom or None,
    }
