"""Notebooks run from top to bottom as Jupyter runs them, say that their posts are invented, and are stored without output."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.sampled import shared_cache

with pytest.MonkeyPatch.context() as patch:  # jsonschema would build a grammar of addresses: seconds, in every process
    patch.setitem(sys.modules, "rfc3987_syntax", None)
    import nbformat
    from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def sampled(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample day comes from the shared cache, here and in processes started from here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache(tmp_path_factory)))


def test_there_are_five() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_stored_without_output_and_says_what_is_invented(path: Path) -> None:
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(book)
    for cell in book.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    words = " ".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert re.search(r"\*\*.*(synthetic|invented)|invented for", words)


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_and_ends_with_a_chart(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONWARNINGS", "default")
    book = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    NotebookClient(book, timeout=280, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    said = [output.text for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert said == []
    last = [cell for cell in book.cells if cell.cell_type == "code"][-1].outputs[-1].data
    assert any(kind.startswith("application/vnd.vegalite") for kind in last), "nothing to zoom into"
    assert last["image/png"], "nothing to see where charts can't be drawn"
