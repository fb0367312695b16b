"""What kind of trouble it looks like, from what people write and from what else is failing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from listener.catalog import Catalog, Service
from listener.causes import CAUSES, causes
from listener.types import Incident, IncidentState, Mention, RegionPart, State, Tier
from tests.builders import at, mention


def service(id: str, kind: str = "social", group: str = "", regions: tuple[str, ...] = ()) -> Service:
    return Service(id, id.title(), kind, "test", (id,), regions, group)


WORLD = Catalog(
    {},
    {
        s.id: s
        for s in (
            service("instagram", group="meta"),
            service("whatsapp", "messenger", group="meta"),
            service("x"),
            service("netflix", "video"),
            service("steam", "game"),
            service("cloudflare", "cloud"),
            service("turkcell", "telecom", regions=("TR",)),
        )
    },
    {},
    (),
    (),
    "test",
)


def incident(service: str = "instagram", *regions: str, minutes: float = 0, observed: float = 20.0) -> Incident:
    parts = tuple(
        RegionPart(region, State.PROBLEMS, at(minutes), at(minutes), at(minutes), observed, 0.5, 12.0)
        for region in regions or ("TR",)
    )
    return Incident(
        f"{service}-{minutes}", service, IncidentState.FIRING, parts, at(minutes), at(minutes + 10), observed=observed
    )


def said(reports: int = 0, **labels: int) -> list[Mention]:
    made = [mention(id=f"test:r{i}") for i in range(reports)]
    for label, count in labels.items():
        chatter = 0.9 if label in ("question", "blocked", "relay") else 0.1
        made += [mention(id=f"test:{label}{i}", label=label, chatter=chatter) for i in range(count)]
    return made


def likeliest(found: tuple[dict[str, float], tuple[str, ...]]) -> str:
    probabilities, _ = found
    assert set(probabilities) == set(CAUSES)
    assert sum(probabilities.values()) == pytest.approx(1)
    return max(probabilities, key=probabilities.__getitem__)


def test_people_who_cannot_get_in_make_an_outage() -> None:
    assert likeliest(causes(incident(), said(20), [], WORLD)) == "outage"


def test_reports_of_a_court_order_make_a_block() -> None:
    found = causes(incident(), said(12, blocked=10), [], WORLD)
    assert likeliest(found) == "block"
    assert found[1][0] == "45% of the reports speak of a block"


def test_the_same_words_from_several_countries_make_it_less_of_a_block() -> None:
    words = said(12, blocked=4)
    one = causes(incident("instagram", "TR"), words, [], WORLD)[0]
    many = causes(incident("instagram", "TR", "GR", "BG"), words, [], WORLD)[0]
    assert many["block"] < one["block"] / 3
    assert many["outage"] > 0.8


def test_a_failing_provider_explains_what_its_customers_complain_about() -> None:
    provider = incident("turkcell", minutes=-10, observed=60.0)
    found = causes(incident(), said(20), [provider], WORLD)
    assert likeliest(found) == "network"
    assert "Turkcell is failing in TR too" in found[1]


def test_a_provider_elsewhere_or_one_that_recovered_explains_nothing() -> None:
    elsewhere = incident("turkcell", "BG", observed=60.0)
    over = replace(incident("turkcell", observed=60.0), state=IncidentState.RESOLVED)
    assert likeliest(causes(incident(), said(20), [elsewhere, over], WORLD)) == "outage"


def test_a_small_provider_does_not_explain_a_big_outage() -> None:
    assert (
        likeliest(causes(incident(observed=500.0), said(20), [incident("turkcell", observed=3.0)], WORLD)) == "outage"
    )


def test_a_failing_provider_is_a_network_failure_itself() -> None:
    assert likeliest(causes(incident("turkcell"), said(20), [], WORLD)) == "network"


def test_unrelated_services_that_fail_together_in_one_country_point_to_its_network() -> None:
    others = [incident(name, minutes=5) for name in ("x", "netflix", "steam")]
    alone = causes(incident(), said(20), [], WORLD)[0]
    found = causes(incident(), said(20), others, WORLD)
    assert found[0]["network"] > 3 * alone["network"]
    assert any("3 unrelated services" in line for line in found[1])


def test_services_of_one_company_that_fail_together_point_to_the_company() -> None:
    found = causes(incident(), said(20), [incident("whatsapp", minutes=3)], WORLD)
    assert likeliest(found) == "outage"
    assert any(line.startswith("Whatsapp of the same company") for line in found[1])


def test_talk_about_the_past_is_an_echo() -> None:
    assert likeliest(causes(incident(), said(4, not_now=12, relay=6), [], WORLD)) == "echo"


def test_closed_accounts_are_told_from_an_outage() -> None:
    found = causes(incident(), said(6, own=14), [], WORLD)[0]
    assert found["accounts"] > 0.25 > causes(incident(), said(20), [], WORLD)[0]["accounts"]


def test_it_says_when_it_cannot_tell() -> None:
    found = causes(incident(), said(16, blocked=4), [], WORLD)
    assert max(found[0].values()) < 0.6
    assert found[1][-1] == "can't tell an outage of the service from a block by the state, a court or a provider yet"


def test_posts_from_elsewhere_have_no_say() -> None:
    elsewhere = [mention(id=f"test:{i}", label="blocked", region="BG", weight=1.0) for i in range(20)]
    assert likeliest(causes(incident(), [*said(10), *elsewhere], [], WORLD)) == "outage"


def test_a_few_voices_from_next_door_do_not_make_a_block_an_outage() -> None:
    words = said(12, blocked=10)
    near = incident("instagram", "TR", "GR")
    few = replace(near, parts=(near.parts[0], replace(near.parts[1], observed=1.0)))
    assert likeliest(causes(near, words, [], WORLD)) == "outage"
    assert likeliest(causes(few, words, [], WORLD)) == "block"


def test_a_provider_is_not_to_blame_for_what_fails_in_other_countries_too() -> None:
    provider = incident("turkcell", observed=20.0)
    everywhere = [incident(name, "TR", "GR", "BG", minutes=-5, observed=90.0) for name in ("instagram", "whatsapp")]
    found = causes(provider, said(20), everywhere, WORLD)
    assert likeliest(found) == "outage"
    assert "Instagram, Whatsapp fails in other countries too, and users may blame their provider" in found[1]


def test_someones_own_line_is_no_closed_account() -> None:
    assert causes(incident("turkcell"), said(6, own=14), [], WORLD)[0]["accounts"] < 0.05


def test_places_where_people_talk_that_slow_down_together_in_one_country_are_held_back_there() -> None:
    places = [incident(name, minutes=5) for name in ("x", "netflix")]
    games = [incident(name, minutes=5) for name in ("x", "steam")]
    words = said(16, blocked=5)
    assert likeliest(causes(incident(), words, places, WORLD)) == "block"
    assert (
        causes(incident(), words, games, WORLD)[0]["network"] > causes(incident(), words, places, WORLD)[0]["network"]
    )


def test_what_runs_on_a_cloud_that_fails_is_no_failing_network() -> None:
    others = [incident(name, minutes=2) for name in ("x", "steam", "netflix")]
    without = causes(incident(), said(20), others, WORLD)[0]
    found = causes(incident(), said(20), [*others, incident("cloudflare")], WORLD)
    assert without["network"] > 0.3 > found[0]["network"]
    assert likeliest(found) == "outage"


def test_people_for_whom_it_works_make_an_outage_less_likely() -> None:
    assert (
        causes(incident(), said(20, works=8), [], WORLD)[0]["outage"]
        < causes(incident(), said(20), [], WORLD)[0]["outage"]
    )


def test_a_company_may_admit_that_it_closed_accounts_by_mistake() -> None:
    admitted = mention(id="status:1", label="relay", tier=Tier.OFFICIAL, stated="relay")
    assert likeliest(causes(incident(), [*said(4, own=20), admitted], [], WORLD)) == "accounts"
    assert likeliest(causes(incident(), [*said(12, blocked=8), admitted], [], WORLD)) == "outage"
