"""The house plan is kept by machine: each import contract fails when it is broken on purpose."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT = Path(sys.executable).parent / "lint-imports"

BREAKS = {
    "The house: imports run one way": ("listener/errors.py", "import listener.types"),
    "The pipeline and its stages touch nothing: no edge, no asyncio, no driver, no log, no network": (
        "listener/text/normalize.py",
        "import asyncio",
    ),
    "The web reads the store and the nouns, nothing else": ("listener/web/pages.py", "import listener.pipeline"),
    "One source does not import another": ("listener/sources/rss.py", "import listener.sources.mastodon"),
    "scikit-learn only where a model is fitted or rebuilt": ("listener/signals/bins.py", "import sklearn"),
    "Database drivers only in the store": ("listener/daemon.py", "import sqlite3"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [str(LINT), "--config", str(folder / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "listener", tmp_path / "listener", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_house_stands() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("contract", BREAKS)
def test_a_broken_contract_is_noticed(copy: Path, contract: str) -> None:
    file, line = BREAKS[contract]
    with (copy / file).open("a", encoding="utf-8") as handle:
        handle.write(f"\n{line}\n")
    done = lint(copy)
    assert done.returncode != 0
    assert f"{contract} BROKEN" in done.stdout


def test_every_kind_of_a_family_is_independent_of_the_others() -> None:
    for family in ("sources", "detectors", "channels"):
        kinds = {p.stem for p in (ROOT / "listener" / family).glob("*.py") if not p.name.startswith("_")}
        for kind in kinds:
            tree = ast.parse((ROOT / "listener" / family / f"{kind}.py").read_text(encoding="utf-8"))
            imported = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
            imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
            others = {f"listener.{family}.{other}" for other in kinds - {kind}}
            assert not imported & others, f"{family}/{kind}.py imports {imported & others}"


def test_modules_stay_small_and_functions_short() -> None:
    for path in (ROOT / "listener").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 335, f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 75, f"{path.relative_to(ROOT)}: {node.name} has {length} lines"


def test_only_the_supervisor_catches_everything() -> None:
    handlers = [
        (path.name, node.type)
        for path in (ROOT / "listener").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise)  # tidying up hides nothing
    ]
    everything = ("Exception", "BaseException")
    broad = [name for name, caught in handlers if caught is None or getattr(caught, "id", "") in everything]
    assert sorted(broad) == [
        "intake.py",
        "understand.py",
    ]  # a source must not stop the others, nor a post of a worker's


def test_start_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; import listener.cli; "
        "heavy = {'sklearn', 'scipy', 'pandas', 'feedparser', 'fastapi', 'httpx', 'numpy'} & set(sys.modules); "
        "print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("[]", "['numpy']")  # the nouns hold arrays
