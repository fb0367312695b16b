"""What kind of trouble an incident looks like: probabilities over five causes, with the evidence for them in plain English.

Each piece of evidence adds to a cause's log odds, in sizes that can be read below; what nothing speaks about stays near where
it started, and when no cause stands out the evidence says so. What a company's status page says and what a probe finds count
as evidence; that neither says anything counts for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
INTERNET = "internet"  # the service of complaints about the net that name no provider
TOGETHER = timedelta(hours=1)  # incidents whose starts lie within this go together
ENOUGH = 3.0  # fewer posts than this, by weight, have no say in a share
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
    together = [
        other
        for other in others
        if other.id != incident.id
        and other.state is not IncidentState.RESOLVED
        and abs(other.started_at - incident.started_at) <= TOGETHER
    ]
    _by_words(ledger, incident, [mention for mention in mentions if mention.post.tier not in CORROBORATING])
    _by_official(ledger, mentions)
    _by_probe(ledger, mentions)
    _by_provider(ledger, incident, others, catalog)
    _by_company(ledger, incident, together, catalog)
    _by_spread(ledger, incident, catalog)
    probabilities = ledger.probabilities()
    if max(probabilities.values()) < CERTAIN:
        first, second = sorted(CAUSES, key=probabilities.__getitem__, reverse=True)[:2]
        ledger.add(f"can't tell {NAMES[first]} from {NAMES[second]} yet")
    return probabilities, tuple(ledger.evidence)


def _by_words(ledger: _Ledger, incident: Incident, mentions: Sequence[Mention]) -> None:
    """What the posts of its regions say, each post by how much of it belongs there."""
    sums = dict.fromkeys(LABELS, 0.0)
    for mention in mentions:
        share = sum(weight.weight for weight in mention.regions if weight.region in incident.regions)
        for label, probability in zip(LABELS, mention.score.probabilities, strict=True):
            sums[label] += share * probability
    chatter = sum(sums[label] for label in LABELS[:4])
    if chatter < ENOUGH:
        return
    blocked = sums["blocked"] / chatter
    if blocked >= 0.15:  # one in ten suspects a ban in any outage, where bans are common
        certain = min(1.0, (blocked - 0.1) / 0.35)
        ledger.add(f"{blocked:.0%} of the reports speak of a block", block=certain * (STRONG + CLEAR))
    past = sums["not_now"] / (chatter + sums["not_now"])
    relayed = sums["relay"] / chatter
    if past >= 0.3:
        ledger.add(f"{past:.0%} of the posts speak of the past", echo=STRONG * min(1.0, past / 0.5))
    if relayed >= 0.5:
        ledger.add(f"{relayed:.0%} of the reports only pass on what others say", echo=STRONG * relayed)
    own = sums["own"] / (chatter + sums["own"])
    if own >= 0.3:
        ledger.add(
            f"{own:.0%} of the posts are about the writer's own account or device",
            accounts=STRONG * min(1.0, own / 0.4),
        )


def _by_official(ledger: _Ledger, mentions: Sequence[Mention]) -> None:
    """A company that says it has trouble has an outage; few companies report blocks as their own trouble."""
    said = [mention for mention in mentions if mention.post.tier is Tier.OFFICIAL]
    if any(mention.score.label in CHATTER for mention in said):
        ledger.add("the company's own status page reports trouble", outage=STRONG, block=-WEAK, echo=-CLEAR)
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


def _by_provider(ledger: _Ledger, incident: Incident, others: Sequence[Incident], catalog: Catalog) -> None:
    """A network that fails takes everything that runs over it along."""
    if _is_network(incident.service, catalog):
        ledger.add("what fails is itself a network or a provider", network=STRONG)
        return
    providers = [
        other
        for other in others
        if other.state is not IncidentState.RESOLVED
        and _is_network(other.service, catalog)
        and _named(other) & _named(incident)
        and other.started_at <= incident.started_at + TOGETHER
    ]
    for other in sorted(providers, key=lambda other: (-other.observed, other.id))[:3]:
        regions = ", ".join(sorted(_named(other) & _named(incident)))
        # A provider's failure explains its customers' complaints as far as it is big enough to.
        size = min(1.0, (other.observed + 1) / (incident.observed + 1))
        ledger.add(f"{_name(other.service, catalog)} is failing in {regions} too", network=STRONG * size)


def _by_company(ledger: _Ledger, incident: Incident, together: Sequence[Incident], catalog: Catalog) -> None:
    """Which other services began to fail at the same time in the same regions."""
    group = _group(incident.service, catalog)
    near = [
        other
        for other in together
        if _named(other) & _named(incident) and other.service != UNNAMED and not _is_network(other.service, catalog)
    ]
    kin = sorted({_name(o.service, catalog) for o in near if group and _group(o.service, catalog) == group})
    if kin:
        ledger.add(f"{', '.join(kin)} of the same company began to fail within the hour", outage=WEAK)
    strangers = {_group(o.service, catalog) or o.service for o in near} - {group, incident.service}
    if len(strangers) >= 2 and len(_named(incident)) == 1:
        region = next(iter(_named(incident)))
        ledger.add(
            f"{len(strangers)} unrelated services began to fail in {region} within the hour and not elsewhere",
            network=CLEAR,
            block=WEAK,
        )


def _by_spread(ledger: _Ledger, incident: Incident, catalog: Catalog) -> None:
    """One service in several countries is rarely a matter of one country's courts or cables."""
    regions = _named(incident)
    service = catalog.services.get(incident.service)
    if len(regions) >= 2:
        ledger.add(
            f"reported from {len(regions)} countries ({', '.join(sorted(regions))})",
            outage=CLEAR,
            block=-CLEAR,
            network=-WEAK,
        )
    elif len(regions) == 1 and service is not None and not service.regions and not _is_network(service.id, catalog):
        ledger.add(f"a worldwide service, reported from {next(iter(regions))} only", block=WEAK / 2, network=WEAK / 2)


def _named(incident: Incident) -> frozenset[str]:
    return frozenset(incident.regions) - {UNKNOWN_REGION}


def _is_network(service: str, catalog: Catalog) -> bool:
    known = catalog.services.get(service)
    return service == INTERNET or (known is not None and known.kind in PROVIDERS)


def _group(service: str, catalog: Catalog) -> str:
    known = catalog.services.get(service)
    return known.group if known else ""


def _name(service: str, catalog: Catalog) -> str:
    known = catalog.services.get(service)
    return known.name if known else service
