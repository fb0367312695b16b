"""How fast posts are attributed: run with `./dev bench -k regions -s`. About 12 microseconds a post in batches of 256."""

from __future__ import annotations

from pathlib import Path
from time import process_time

from listener.catalog import load
from listener.classify.gate import is_found
from listener.regions.attribute import Attributor
from listener.text.language import Identifier
from listener.text.normalize import skeleton
from listener.text.phrases import matcher_of
from listener.training import dataset

ROOT = Path(__file__).parent.parent.parent
BATCH = 256


def test_attributing_a_post_takes_microseconds() -> None:
    catalog = load()
    matcher, identifier = matcher_of(catalog), Identifier.load(ROOT / "models" / "current")
    rows = dataset.load(ROOT / "data" / "labelled")[::4]
    readings = dataset.read([row.row.text for row in rows], [row.row.id for row in rows], matcher, identifier)
    readings = [reading for reading in readings if is_found(reading.matches)]
    attributor = Attributor(catalog, matcher.find, skeleton)
    took = []
    for _ in range(5):
        start = process_time()
        for at in range(0, len(readings), BATCH):
            attributor.attribute(readings[at : at + BATCH])
        took.append((process_time() - start) / len(readings))
    print(f"\n{min(took) * 1e6:.1f} microseconds a post, {len(readings)} posts")
    assert min(took) < 60e-6
