"""Which services a post is about: those it names, with a national brand's shared name settled by where the post belongs."""

from __future__ import annotations

from collections.abc import Sequence

from listener.catalog import Catalog, Service
from listener.types import UNNAMED, Match, Reading, RegionWeight

INTERNET = "internet"  # the writer's connection, no provider named
_EVIDENCE = 0.1  # a post less likely to be chatter is about no service unless it names one
_SURELY = 0.5
_ACCESS = frozenset({"isp", "telecom"})
_RIVAL = 0.5  # a brand of another country counts beside the likeliest one from this share of its weight


def services_of(reading: Reading, chatter: float, regions: Sequence[RegionWeight], catalog: Catalog) -> tuple[str, ...]:
    """Service ids in order of naming, else what the source is about; for chatter at least `internet` or `unnamed`."""
    weight = {r.region: r.weight for r in regions}
    named: dict[str, None] = {}
    lost = False
    told = [m for m in reading.matches if m.kind == "service"]
    if not told and chatter >= _SURELY:  # an everyday word that is also a name: in chatter it is the name
        told = [m for m in reading.matches if m.kind == "maybe"]
    for names in _names_by_place(told):
        known = [catalog.services[name] for name in names if name in catalog.services]
        settled = _settled(known, weight)
        named.update(dict.fromkeys(settled))
        lost = lost or (not settled and any(service.kind in _ACCESS for service in known))
    if len(named) > 1:
        named.pop(INTERNET, None)  # "the wifi works, Instagram does not" is about Instagram
    if named or reading.post.services:
        return tuple(named) or reading.post.services
    if chatter < _EVIDENCE:
        return ()
    return (INTERNET,) if lost or any(m.kind == "network" for m in reading.matches) else (UNNAMED,)


def _names_by_place(matches: Sequence[Match]) -> list[list[str]]:
    """The services that each name in the text may stand for; "telekom" inside "telekom srbija" is no name of its own."""
    if len(matches) == 1:
        return [[matches[0].name]]
    places: dict[tuple[int, int], list[str]] = {}
    for match in matches:
        inside = any(
            o.start <= match.start and match.end <= o.end and o.end - o.start > match.end - match.start for o in matches
        )
        if not inside:
            same = places.setdefault((match.start, match.end), [])
            if match.name not in same:
                same.append(match.name)
    return list(places.values())


def _settled(services: Sequence[Service], weight: dict[str, float]) -> list[str]:
    """Of several services of one name, those where the post likely comes from; the worldwide one when that says nothing."""
    if len(services) < 2:
        return [service.id for service in services]
    likely = {service.id: sum(weight.get(region, 0.0) for region in service.regions) for service in services}
    most = max(likely.values())
    if most > 0:
        return [service.id for service in services if likely[service.id] > _RIVAL * most or likely[service.id] == most]
    return [service.id for service in services if not service.regions][:1]
