"""The guide's own files and commands, run on a copy of the project: what it says about growing is true."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.copied import copy_of_project, environ_of

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```\w+ file=(\S+)\n(.*?)```", GUIDE, re.DOTALL))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
POSTS_A_LANGUAGE = 40  # enough to train something that runs, quick enough for a test


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_project(tmp_path_factory.mktemp("project"), POSTS_A_LANGUAGE)
    for name, text in FILES.items():
        path = folder / name
        assert name == "listener.toml" or not path.exists(), f"{name} would replace a file: it is no new thing"
        path.write_text(text, encoding="utf-8")
    return folder


def run(project: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        shell=True,
        cwd=project,
        env=environ_of(project),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=lambda n: COMMANDS[n][:60])
def test_every_command_of_the_guide_runs(project: Path, number: int) -> None:
    done = run(project, COMMANDS[number])
    assert done.returncode == 0, done.stderr


def answer(project: Path, text: str, *options: str) -> dict[str, object]:
    done = run(project, f"echo '{json.dumps({'text': text})}' | listener score {' '.join(options)}")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_new_service_is_heard(project: Path) -> None:
    assert answer(project, "toybook çöktü mü")["services"] == ["toybook"]


def test_a_new_region_is_a_place_to_be_from(project: Path) -> None:
    regions = answer(project, "nu merge instagram in Chisinau")["regions"]
    assert isinstance(regions, list)
    assert regions[0]["region"] == "MD"


def test_a_new_detector_decides(project: Path) -> None:
    done = run(project, COMMANDS[-1])
    assert [line.rsplit(",", 1)[1] for line in done.stdout.splitlines()] == ["alarm", "0", "0", "1"]


def test_a_new_kind_of_source_runs(project: Path) -> None:
    (project / "countdown.toml").write_text(
        'default_sources = false\n[[source]]\nkind = "countdown"\nname = "c"\nstart = 5\n'
    )
    done = run(project, "listener check --config countdown.toml")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 sources answered" in done.stderr


def test_each_thing_is_in_as_many_places_as_promised() -> None:
    places = {"service": ["data/services/toybook.toml"], "region": ["data/regions/MD.toml", "data/places/MD.tsv"]}
    places |= {"language": ["data/languages/xx.toml", "data/labelled/xx.jsonl"], "source": ["listener.toml"]}
    places |= {"kind of source": ["listener/sources/countdown.py"], "detector": ["listener/detectors/loud.py"]}
    assert {name for of in places.values() for name in of} | {"loud.toml"} == set(FILES)
