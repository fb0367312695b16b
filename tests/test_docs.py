"""Docs that can't drift: the reference is generated, the examples load, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import listener
from listener import config
from listener.cli import wiring
from listener.cli.reference import reference
from tests.conftest import ROOT
from tests.test_cli import COMMANDS

PAGES = [
    ROOT / "README.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "data" / "README.md",
]


def test_the_reference_of_the_config_is_up_to_date() -> None:
    """Write it anew with `listener options > docs/configuration.md`."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8").rstrip() == reference()


def test_every_option_has_a_meaning() -> None:
    for line in reference().splitlines():
        if line.startswith("- `"):
            assert re.search(r"`\): \S+ ", line), line


def test_the_example_config_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    read, catalog = wiring.read(ROOT / "listener.example.toml")
    names = {source.name for source in wiring.sources(read, catalog)}
    assert "my-town" in names
    assert "bluesky" not in names
    assert [channel.name for channel in wiring.channels(read, catalog)] == ["log"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), target


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        if command not in ("demo", "options"):
            assert f"listener {command}" in text
    assert "make demo" in text


@pytest.mark.parametrize("page", ["invariants", "threat-model", "privacy"])
def test_the_promised_tests_exist(page: str) -> None:
    for path in re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), path


def test_every_setting_is_reachable_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    made = config.load(None, {"LISTENER_DETECTOR_KIND": "ewma", "LISTENER_HTTP_ALLOW_PRIVATE": "true"})
    assert (made.detector.kind, made.http.allow_private) == ("ewma", True)


SAMPLED = ("listener.api", "listener.db", "listener.plot")  # need the sample day: tests/test_api.py runs their examples


@pytest.mark.parametrize("name", sorted(m.name for m in pkgutil.walk_packages(listener.__path__, "listener.")))
def test_examples_in_docstrings_hold(name: str) -> None:
    if name == "listener.__main__" or name in SAMPLED:
        return
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
