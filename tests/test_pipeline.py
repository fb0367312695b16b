"""Posts are understood, mentions are measured, panels are watched."""

from __future__ import annotations

import pytest

from listener.pipeline import Pipeline
from listener.types import Dropped, DropReason, Mention, Tier
from tests.builders import post


@pytest.mark.parametrize(
    ("text", "service", "region"),
    [
        ("instagram çöktü mü, hikayeler yüklenmiyor", "instagram", "TR"),
        ("ne radi instagram u Beogradu, izbacuje gresku", "instagram", "RS"),
        ("фейсбук не зарежда от час, и при вас ли в Пловдив", "facebook", "BG"),
        ("έπεσε το ινσταγκραμ, δεν φορτώνει τίποτα στη Θεσσαλονίκη", "instagram", "GR"),
        ("whatsapp ne šalje poruke, Zagreb", "whatsapp", "HR"),
    ],
)
def test_a_report_is_heard_in_its_own_language(pipeline: Pipeline, text: str, service: str, region: str) -> None:
    (mention,) = pipeline.understand([post(text)])
    assert isinstance(mention, Mention)
    assert mention.score.chatter > 0.5
    assert service in mention.services
    assert mention.regions[0].region == region
    assert sum(r.weight for r in mention.regions) == pytest.approx(1.0)


def test_every_post_gets_one_answer_in_order(pipeline: Pipeline) -> None:
    posts = [
        post("günaydın herkese, çay koydum", id="t:1"),
        post("instagram çöktü", id="t:2"),
        post("🔥🔥", id="t:3"),
        post("дефинитивно не ради вајбер", id="t:4"),
    ]
    answers = pipeline.understand(posts)
    assert [a.post.id if isinstance(a, Mention) else a.post_id for a in answers] == ["t:1", "t:2", "t:3", "t:4"]
    talk, fires = (a.reason for a in answers if isinstance(a, Dropped))
    assert talk in (DropReason.NO_MATCH, DropReason.NO_CHATTER)
    assert fires is DropReason.NO_TEXT


def test_an_answer_does_not_depend_on_the_company_it_comes_in(pipeline: Pipeline) -> None:
    texts = [
        "instagram çöktü",
        "пак не работи вайбър",
        "netflix is down again",
        "crkao net u celoj zgradi",
        "δεν παίζει το youtube",
    ]
    posts = [post(text, id=f"t:{i}") for i, text in enumerate(texts)]
    alone = [answer for one in posts for answer in pipeline.understand([one])]
    for together, single in zip(pipeline.understand(posts), alone, strict=True):
        assert isinstance(together, Mention)
        assert isinstance(single, Mention)
        assert together.score.probabilities == pytest.approx(single.score.probabilities, abs=1e-5)
        assert together.regions == single.regions


def test_a_review_that_names_no_app_is_about_the_app_it_reviews(pipeline: Pipeline) -> None:
    (told, untold) = pipeline.understand(
        [post("sabahtan beri açılmıyor", id="t:1", services=("instagram",)), post("sabahtan beri açılmıyor", id="t:2")]
    )
    assert isinstance(told, Mention)
    assert told.services == ("instagram",)
    assert not isinstance(untold, Mention) or untold.services != ("instagram",)


def test_what_a_status_page_states_is_not_judged_again(pipeline: Pipeline) -> None:
    said = [
        post("API latency", id=f"t:{label}", stated=label, tier=Tier.OFFICIAL, services=("discord",))
        for label in ("relay", "recovered")
    ]
    answers = pipeline.understand(said)
    assert [a.score.label for a in answers if isinstance(a, Mention)] == ["relay", "recovered"]
    assert [a.score.chatter for a in answers if isinstance(a, Mention)] == [1.0, 0.0]


def test_nothing_in_nothing_out(pipeline: Pipeline) -> None:
    assert pipeline.understand([]) == []
    assert pipeline.measure([], []) == []
    assert pipeline.watch({}, {}, [], post().received_at) == ([], [])


def test_an_explanation_names_the_words_that_moved_the_score(pipeline: Pipeline) -> None:
    names = [name for name, _ in pipeline.explain_score(post("instagram çöktü, giremiyorum"))]
    assert names
    assert any("trouble" in name or "coktu" in name for name in names)
