"""What kind of trouble an incident looks like: probabilities over five causes, with the evidence for them in plain English.

Each piece of evidence adds to a cause's log odds, in sizes that can be read below; what nothing speaks about stays near where
it started, and when no cause stands out the evidence says so. What a company's status page says and what a probe finds count
as evidence; that neither says anything counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from listener.catalog import Catalog
from listener.types import (
    CHATTER,
    CORROBORATING,
    LABELS,
    UNKNOWN_REGION,
    UNNAMED,
    Incident,
    IncidentState,
    Mention,
    Tier,
)

CAUSES = ("outage", "block", "network", "accounts", "echo")
NAMES = {
    "outage": "an outage of the service",
    "block": "a block by the state, a court or a provider",
    "network": "a failing network or provider",
    "accounts": "accounts being closed",
    "echo": "news about elsewhere or the past",
}
# Before any evidence: most of what people notice is an outage; the rest is some ten times rarer each.
START = {"outage": 0.0, "block": -2.5, "network": -2.3, "accounts": -3.5, "echo": -3.0}
PROVIDERS = frozenset({"isp", "telecom"})
SPEECH = frozenset({"social", "messenger", "video"})  # what is blocked so that people can't see or tell
BENEATH = "cloud"  # the kind of what other services run on
INTERNET = "internet"  # the service of complaints about the net that name no provider
TOGETHER = timedelta(hours=1)  # incidents whose starts lie within this go together
ENOUGH = 3.0  # fewer posts than this, by weight, have no say in a share
COUNTS_FROM = 0.1  # of an incident's posts: fewer do not make a country one of its countries
STRONG, CLEAR, WEAK = 4.0, 2.0, 1.0  # log odds: nearly decides, tips the balance, a hint
CERTAIN = 0.6  # below this no cause stands out


@dataclass
class _Ledger:
    """Log odds as they grow, and the sentence for each step."""

    odds: dict[str, float] = field(default_factory=lambda: dict(START))
    evidence: list[str] = field(default_factory=list)

    def add(self, sentence: str, **steps: float) -> None:
        for cause, step in steps.items():
            self.odds[cause] += step
        self.evidence.append(sentence)

    def probabilities(self) -> dict[str, float]:
        top = max(self.odds.values())
        weights = {cause: math.exp(self.odds[cause] - top) for cause in CAUSES}
        total = sum(weights.values())
        rounded = {cause: round(weight / total, 4) for cause, weight in weights.items()}
        likeliest = max(rounded, key=rounded.__getitem__)
        rounded[likeliest] = round(rounded[likeliest] + 1 - sum(rounded.values()), 4)
        return rounded


def causes(
    incident: Incident, mentions: Sequence[Mention], others: Sequence[Incident], catalog: Catalog
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Probabilities that sum to 1, and why. `mentions` are those of the incident's service since shortly before it began."""
    ledger = _Ledger()
    ongoing = [other for other in others if other.id != incident.id and other.state is not IncidentState.RESOLVED]
    beside = _Beside(incident, ongoing, catalog)
    _by_words(ledger, incident, [mention for mention in mentions if mention.post.tier not in CORROBORATING], beside)
    _by_official(ledger, mentions, beside)
    _by_probe(ledger, mentions)
    _by_provider(ledger, beside)
    _by_others(ledger, beside)
    _by_spread(ledger, beside)
    probabilities = ledger.probabilities()
    if max(probabilities.values()) < CERTAIN:
        first, second = sorted(CAUSES, key=probabilities.__getitem__, reverse=True)[:2]
        ledger.add(f"can't tell {NAMES[first]} from {NAMES[second]} yet")
    return probabilities, tuple(ledger.evidence)


class _Beside:
    """What else is failing, as far as it has to do with an incident."""

    def __init__(self, incident: Incident, ongoing: Sequence[Incident], catalog: Catalog):
        self.incident = incident
        self.catalog = catalog
        self.regions = _named(incident)
        near = [other for other in ongoing if self.shared(other)]
        self.is_network = self.network(incident)
        self.providers = sorted(
            (o for o in near if self.network(o) and o.started_at <= incident.started_at + TOGETHER),
            key=lambda other: (-self.size(other), other.id),
        )
        self.services = [
            other
            for other in near
            if other.service != UNNAMED
            and not self.network(other)
            and abs(other.started_at - incident.started_at) <= TOGETHER
        ]

    def network(self, incident: Incident) -> bool:
        return incident.service == INTERNET or self.kind(incident) in PROVIDERS

    def shared(self, other: Incident) -> frozenset[str]:
        return self.regions & _named(other)

    def size(self, other: Incident) -> float:
        """What was observed of another incident where this one is."""
        return sum(part.observed for part in other.parts if part.region in self.regions)

    def provider_explains(self, region: str) -> bool:
        """Whether a provider's failure there is at least half as big as the incident."""
        own = sum(part.observed for part in self.incident.parts if part.region == region)
        theirs = [part.observed for o in self.providers for part in o.parts if part.region == region]
        return sum(theirs) >= own / 2 if theirs else False

    def kind(self, incident: Incident) -> str:
        known = self.catalog.services.get(incident.service)
        return known.kind if known else ""

    def company(self, incident: Incident) -> str:
        known = self.catalog.services.get(incident.service)
        return (known.group if known else "") or incident.service

    def names(self, incidents: Iterable[Incident]) -> str:
        services = sorted({incident.service for incident in incidents})
        known = self.catalog.services
        return ", ".join(known[service].name if service in known else service for service in services)


def _by_words(ledger: _Ledger, incident: Incident, mentions: Sequence[Mention], beside: _Beside) -> None:
    """What the posts of its regions say, each post by how much of it belongs there."""
    sums = dict.fromkeys(LABELS, 0.0)
    for mention in mentions:
        share = sum(weight.weight for weight in mention.regions if weight.region in incident.regions)
        for label, probability in zip(LABELS, mention.score.probabilities, strict=True):
            sums[label] += share * probability
    chatter = sum(sums[label] for label in LABELS[:4])
    told = chatter + sums["not_now"]
    _by_own(ledger, chatter, sums, beside)
    if told < ENOUGH:
        return
    blocked = sums["blocked"] / told
    if blocked >= 0.15:  # one in ten suspects a ban in any outage, where bans are common
        ledger.add(f"{blocked:.0%} of the reports speak of a block", block=_up(blocked, 0.1, 0.45) * (STRONG + CLEAR))
    retold = (sums["relay"] + sums["not_now"]) / told
    if retold >= 0.35:  # any outage is passed on; those who can't get in themselves are the most, though
        ledger.add(
            f"{retold:.0%} of the posts speak of the past or only pass on what others say",
            echo=_up(retold, 0.3, 0.7) * (STRONG + CLEAR),
        )
    works = sums["works"] / (chatter + sums["works"])
    if works >= 0.15:
        ledger.add(f"for {works:.0%} it works", outage=-WEAK)


def _by_own(ledger: _Ledger, chatter: float, sums: Mapping[str, float], beside: _Beside) -> None:
    """When a provider fails it is one's own line that is gone; anywhere else one's own account."""
    spoken = chatter + sums["own"]
    if spoken < ENOUGH or beside.is_network:
        return
    own = sums["own"] / spoken
    if own >= 0.3:
        ledger.add(
            f"{own:.0%} of the posts are about the writer's own account or device",
            accounts=_up(own, 0.25, 0.6) * (STRONG + CLEAR),
        )


def _up(share: float, low: float, high: float) -> float:
    """0 at `low`, 1 at `high`, straight between."""
    return min(1.0, max(0.0, (share - low) / (high - low)))


def _by_official(ledger: _Ledger, mentions: Sequence[Mention], beside: _Beside) -> None:
    """A company that says it has trouble has some; few report blocks or other people's networks as their own trouble."""
    said = [mention for mention in mentions if mention.post.tier is Tier.OFFICIAL]
    if any(mention.score.label in CHATTER for mention in said):
        network = 0.0 if beside.is_network else -STRONG
        ledger.add("the company's own status page reports trouble", block=-STRONG, network=network, echo=-STRONG)
    elif any(mention.score.label == "not_now" for mention in said):
        ledger.add("the company had announced maintenance", outage=WEAK)


def _by_probe(ledger: _Ledger, mentions: Sequence[Mention]) -> None:
    """What a connection from here met, the last time it was tried; from here is not from everywhere."""
    found = [m for m in mentions if m.post.tier is Tier.MEASURED and m.post.stated]
    if not found:
        return
    label = max(found, key=lambda mention: (mention.at, mention.post.id)).score.label
    if label == "blocked":
        ledger.add("a connection from here is cut off the way blocks do it", block=STRONG)
    elif label == "report":
        ledger.add("the service does not answer a connection from here", outage=CLEAR)
    elif label == "works":
        ledger.add("a connection from here gets through", outage=-WEAK / 2, block=-WEAK)


def _by_provider(ledger: _Ledger, beside: _Beside) -> None:
    """A network that fails takes along what runs over it; a service that fails makes people blame their network."""
    incident = beside.incident
    if beside.is_network:
        ledger.add("what fails is itself a network or a provider", network=STRONG)
        wide = [o for o in beside.services if len(_countries(o)) > len(beside.regions)]
        if wide:
            size = min(1.0, max(beside.size(o) for o in wide) / (beside.size(incident) + 1))
            ledger.add(
                f"{beside.names(wide)} fails in other countries too, and users may blame their provider",
                network=-(STRONG + WEAK) * size,
            )
        return
    if not beside.providers:
        return
    # Providers' failures explain their customers' complaints as far as they are big enough, and began no long time before.
    fresh = [o for o in beside.providers if o.started_at >= incident.started_at - TOGETHER]
    weight = sum(beside.size(o) * (1.0 if o in fresh else 0.5) for o in beside.providers)
    size = min(1.0, weight / (beside.size(incident) + 1))
    regions = ", ".join(sorted(frozenset().union(*map(beside.shared, beside.providers))))
    more = CLEAR if len(fresh) > 1 else 0.0
    are = "is" if len(beside.providers) == 1 else "are"
    ledger.add(f"{beside.names(beside.providers[:3])} {are} failing in {regions} too", network=(STRONG + more) * size)


def _by_others(ledger: _Ledger, beside: _Beside) -> None:
    """Which other services began to fail at the same time in the same regions."""
    company = beside.company(beside.incident)
    kin = [o for o in beside.services if beside.company(o) == company]
    cloud = [o for o in beside.services if beside.kind(o) == BENEATH and beside.company(o) != company]
    if cloud:
        ledger.add(f"{beside.names(cloud)}, on which others run, began to fail within the hour", outage=CLEAR)
        return
    here = [o for o in beside.services if o not in kin and len(beside.regions) == 1 and _countries(o) <= beside.regions]
    strangers = {beside.company(o) for o in here}
    if len(strangers) < 2:
        if kin:
            ledger.add(f"{beside.names(kin)} of the same company began to fail within the hour", outage=WEAK)
        return
    region = next(iter(beside.regions))
    sentence = f"{len(strangers)} unrelated services began to fail in {region} within the hour and not elsewhere"
    if {beside.kind(o) for o in [beside.incident, *here]} <= SPEECH and not beside.providers:
        ledger.add(f"{sentence}, all of them places where people talk", block=CLEAR, network=WEAK)
    else:
        ledger.add(sentence, network=CLEAR + WEAK if len(strangers) > 2 else CLEAR)


def _by_spread(ledger: _Ledger, beside: _Beside) -> None:
    """One service in several countries is rarely a matter of one country's courts or cables."""
    regions = _countries(beside.incident)
    if not beside.is_network:
        regions = frozenset(region for region in regions if not beside.provider_explains(region))
    service = beside.catalog.services.get(beside.incident.service)
    if len(regions) >= 2:
        ledger.add(
            f"reported from {len(regions)} countries ({', '.join(sorted(regions))})",
            block=-STRONG,
            network=-CLEAR,
        )
    elif len(regions) == 1 and service is not None and not service.regions and not beside.is_network:
        ledger.add(f"a worldwide service, reported from {next(iter(regions))} only", block=WEAK / 2, network=WEAK / 2)


def _named(incident: Incident) -> frozenset[str]:
    return frozenset(incident.regions) - {UNKNOWN_REGION}


def _countries(incident: Incident) -> frozenset[str]:
    """Its regions without those from which only a few voices come."""
    least = COUNTS_FROM * max((part.observed for part in incident.parts), default=0.0)
    return frozenset(part.region for part in incident.parts if part.observed >= least) - {UNKNOWN_REGION}
