"""What a post is about: the services it names, or what a post of chatter without a name stands for."""

from __future__ import annotations

from listener.catalog import Catalog, Service
from listener.classify.service import services_of
from listener.types import Language, Match, Reading, RegionWeight
from tests.builders import post

SERVICES = {
    service.id: service
    for service in (
        Service("instagram", "Instagram", "social", "invented", ("instagram*",)),
        Service("vodafone-tr", "Vodafone", "telecom", "invented", ("vodafone*",), ("TR",)),
        Service("vodafone-gr", "Vodafone", "telecom", "invented", ("vodafone*",), ("GR",)),
        Service("telekom-rs", "Telekom Srbija", "telecom", "invented", ("telekom srbija",), ("RS",)),
        Service("telekom-ro", "Telekom", "telecom", "invented", ("telekom*",), ("RO",)),
        Service("internet", "Internet", "isp", "invented", ("wifi",)),
    )
}
CATALOG = Catalog({}, SERVICES, {}, (), (), "sha256:invented")
TURKEY = (RegionWeight("TR", 0.9), RegionWeight("ZZ", 0.1))
NOWHERE = (RegionWeight("ZZ", 1.0),)


def reading(*matches: Match) -> Reading:
    return Reading(post(), "", "", tuple(sorted(matches, key=lambda m: m.start)), Language("tr", 0.9))


def named(name: str, start: int = 0, length: int = 8) -> Match:
    return Match("service", name, "x" * length, start, start + length)


def test_services_are_told_in_the_order_in_which_they_are_named() -> None:
    assert services_of(reading(named("instagram", 20), named("telekom-ro", 0)), 0.9, TURKEY, CATALOG) == (
        "telekom-ro",
        "instagram",
    )


def test_a_brand_of_several_countries_is_the_one_of_the_posts_region() -> None:
    both = reading(named("vodafone-tr"), named("vodafone-gr"))
    assert services_of(both, 0.9, TURKEY, CATALOG) == ("vodafone-tr",)
    assert services_of(both, 0.9, (RegionWeight("GR", 0.5), RegionWeight("TR", 0.1)), CATALOG) == ("vodafone-gr",)


def test_a_brand_that_no_region_settles_is_the_internet_and_never_a_guess() -> None:
    assert services_of(reading(named("vodafone-tr"), named("vodafone-gr")), 0.9, NOWHERE, CATALOG) == ("internet",)


def test_a_short_name_inside_a_longer_one_is_not_meant() -> None:
    inside = reading(named("telekom-rs", 0, 14), named("telekom-ro", 0, 7))
    assert services_of(inside, 0.9, NOWHERE, CATALOG) == ("telekom-rs",)


def test_the_connection_gives_way_to_a_named_service() -> None:
    assert services_of(reading(named("internet"), named("instagram", 20)), 0.9, TURKEY, CATALOG) == ("instagram",)


def test_chatter_without_a_name_is_the_internet_when_it_says_so_and_unnamed_otherwise() -> None:
    network = named("tr")._replace(kind="network")
    assert services_of(reading(network), 0.9, TURKEY, CATALOG) == ("internet",)
    assert services_of(reading(), 0.9, TURKEY, CATALOG) == ("unnamed",)


def test_everyday_talk_is_about_no_service() -> None:
    assert services_of(reading(), 0.02, TURKEY, CATALOG) == ()
