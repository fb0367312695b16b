"""Files that are no model of ours, or no longer: each is refused in one line that says which, before anything is built."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pytest

from listener import datafile
from listener.classify import modelfile
from listener.classify.classifier import Classifier
from listener.classify.modelfile import FORMAT
from listener.errors import InputError, ModelError
from listener.text.language import Identifier
from listener.training import export
from tests.conftest import ROOT, Command

CURRENT = ROOT / "models" / "current"
DIGESTED = {"model": "model.json", "senses": "senses.json", "arrays": "arrays.npz", "language": "language.json"}

Spoil = Callable[[Path], object]


class Runs:
    """What a poisoner would put into a pickle: unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sealed(Path(shutil.copytree(CURRENT, tmp_path / "model")))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """As sound as the shipped model as far as can be seen before it is tried, but quick to copy and to spoil."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.json", "meta.json", "language.json", "language.npz"):
        shutil.copy(CURRENT / name, folder / name)
    parameters = json.loads((folder / "model.json").read_bytes())["parameters"]
    change(folder / "model.json", {"parameters": {**parameters, "bits": 10, "sense_bits": 10}})
    (folder / "senses.json").write_text('{"names": ["not"], "languages": {}}')
    shapes = modelfile.shapes(msgspec.json.decode((folder / "model.json").read_bytes(), type=modelfile.Model))
    arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in shapes.items()}
    (folder / "arrays.npz").write_bytes(datafile.packed(arrays))
    return sealed(folder)


@pytest.fixture
def nothing_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*parts: object) -> None:
        raise AssertionError("something was built from a file that should have been refused")

    monkeypatch.setattr(Classifier, "of", built)
    monkeypatch.setattr(pickle, "loads", built)
    monkeypatch.setattr(pickle, "load", built)


def sealed(folder: Path) -> Path:
    """Make the digests right again, as someone does who changes a file on purpose."""
    change(folder / "meta.json", {part: datafile.digest_of((folder / n).read_bytes()) for part, n in DIGESTED.items()})
    return folder


def change(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def changed_byte(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / name).write_bytes(raw)

    return spoil


def in_model(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        change(folder / "model.json", changes)
        sealed(folder)

    return spoil


def with_parameters(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        parameters = json.loads((folder / "model.json").read_bytes())["parameters"]
        in_model(parameters={**parameters, **changes})(folder)

    return spoil


def in_meta(**changes: Any) -> Spoil:
    return lambda folder: change(folder / "meta.json", changes)


def in_golden(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        golden = json.loads((folder / "meta.json").read_bytes())["golden"]
        change(folder / "meta.json", {"golden": [{**golden[0], **changes}, *golden[1:]]})

    return spoil


def with_array(name: str, value: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    def spoil(folder: Path) -> None:
        with np.load(folder / "arrays.npz", allow_pickle=False) as file:
            arrays = dict(file)
        arrays[name] = value(arrays[name]) if name in arrays else value(np.zeros(1, np.float32))
        np.savez_compressed(folder / "arrays.npz", **arrays)
        sealed(folder)

    return spoil


def repacked(member: str, raw: Callable[[bytes], bytes], method: int = zipfile.ZIP_DEFLATED) -> Spoil:
    """One file of the archive replaced, all of it packed by another method."""

    def spoil(folder: Path) -> None:
        made = io.BytesIO()
        with zipfile.ZipFile(folder / "arrays.npz") as old, zipfile.ZipFile(made, "w", method) as fresh:
            for name in old.namelist():
                fresh.writestr(name, raw(old.read(name)) if name == member else old.read(name))
        (folder / "arrays.npz").write_bytes(made.getvalue())
        sealed(folder)

    return spoil


def renamed(member: str, to: str) -> Spoil:
    """One file of the archive under another name."""

    def spoil(folder: Path) -> None:
        made = io.BytesIO()
        with zipfile.ZipFile(folder / "arrays.npz") as old, zipfile.ZipFile(made, "w") as fresh:
            for name in old.namelist():
                fresh.writestr(to if name == member else name, old.read(name))
        (folder / "arrays.npz").write_bytes(made.getvalue())
        sealed(folder)

    return spoil


def replaced(name: str, raw: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(raw)
        sealed(folder)

    return spoil


def linked(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return spoil


def piped(folder: Path) -> None:
    (folder / "meta.json").unlink()
    os.mkfifo(folder / "meta.json")  # reading it would wait for ever


def a_folder(folder: Path) -> None:
    (folder / "senses.json").unlink()
    (folder / "senses.json").mkdir()


def header(text: str) -> Callable[[bytes], bytes]:
    """An array whose header is any text, as one that NumPy would parse as Python."""
    raw = text.encode().ljust(118) + b"\n"
    return lambda old: b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + old[128:]


def with_model_of(text: str) -> Spoil:
    return replaced("model.json", text.encode())


GATE = "{'descr': '<f4', 'fortran_order': False, 'shape': (32768,), }"

SMALL = {"chatter": 1.0, "near_miss": 1.0, "unfound": 1.0}
REFUSED: dict[str, tuple[Spoil, str]] = {
    "a byte of model.json changed": (changed_byte("model.json"), r"model\.json.*sha256 differs"),
    "a byte of senses.json changed": (changed_byte("senses.json"), r"senses\.json.*sha256 differs"),
    "a byte of arrays.npz changed": (changed_byte("arrays.npz"), r"arrays\.npz.*sha256 differs"),
    "a byte of language.json changed": (changed_byte("language.json"), r"language\.json.*sha256 differs"),
    "a wrong digest": (in_meta(arrays="sha256:" + "0" * 64), r"arrays\.npz.*sha256 differs"),
    "no meta": (lambda folder: (folder / "meta.json").unlink(), r"meta\.json: No such file"),
    "no model": (lambda folder: (folder / "model.json").unlink(), "no model here"),
    "no senses": (lambda folder: (folder / "senses.json").unlink(), r"senses\.json: No such file"),
    "no arrays": (lambda folder: (folder / "arrays.npz").unlink(), r"arrays\.npz: No such file"),
    "an older format": (in_model(format=FORMAT - 1), rf"format {FORMAT - 1}, but this program reads format {FORMAT}"),
    "a newer format with other keys": (with_model_of('{"format": 99, "layers": [9]}'), "format 99, but this program"),
    "another program's model": (with_model_of('{"class_name": "Sequential"}'), r"model\.json: .*missing.*format"),
    "a key too many in model.json": (in_model(hook="os.system"), r"model\.json: .*unknown field `hook`"),
    "a key too many in meta.json": (in_meta(run="x"), r"meta\.json: .*unknown field `run`"),
    "a key of the wrong type": (in_model(seed="40"), r"model\.json: Expected `int`"),
    "other labels": (in_model(labels=["up", "down"]), "other labels"),
    "other kinds of services": (in_model(services={"bank": ["raiffeisen-rs"]}), "other kinds of services"),
    "absurdly many buckets": (with_parameters(bits=60), "bits of buckets are not sensible"),
    "absurd n-grams": (with_parameters(longest=10**6), "n-grams"),
    **{
        f"a {name} shift beyond measure": (in_model(stream={**SMALL, name: value}), "shift to a stream of more than 20")
        for name, value in (("chatter", 1e300), ("near_miss", -21.0), ("unfound", 1e9))
    },
    "a shift too many": (in_model(stream={**SMALL, "news": 1.0}), r"model\.json: .*unknown field `news`"),
    "a shift too few": (in_model(stream={"chatter": 1.0}), r"model\.json: .*missing required field `near_miss`"),
    "a scale beyond measure": (with_parameters(told_scale=-1e12), "told_scale is not a sensible number"),
    "no number at all": (with_model_of('{"format": NaN}'), r"model\.json: JSON is malformed"),
    "nested without end": (with_model_of("[" * 200_000), r"model\.json: "),
    "no golden texts": (in_meta(golden=[]), "0 golden texts"),
    "a golden text of a megabyte": (in_golden(clean="x" * 10**6), r"meta\.json: golden text"),
    "a golden match outside its text": (
        in_golden(matches=[["trouble", "tr", "coktu", -5, 10**9, True, "down"]]),
        r"meta\.json: golden text",
    ),
    "NaN in an array": (with_array("bias", lambda a: a * np.float32("nan")), "bias has numbers that are not finite"),
    "an endless number in an array": (with_array("gate", lambda a: a + np.float32("inf")), "gate has numbers"),
    "an array of another shape": (with_array("bias", lambda a: a[1:]), r"bias is '<f4' \(8,\), expected '<f4' \(9,\)"),
    "an array of another type": (with_array("bias", lambda a: a.astype("<f8")), r"bias is '<f8'"),
    "an array of objects": (with_array("bias", lambda a: a.astype(object)), r"bias is '\|O'"),
    "an array too many": (with_array("extra", lambda a: a), "not the arrays of a model"),
    "a header that is a program": (
        repacked("gate.npy", header("__import__('os').system('true')")),
        "gate: not an array",
    ),
    "a header that is too deep": (repacked("gate.npy", header("(" * 100)), "gate: not an array"),
    "a header of another make": (repacked("gate.npy", header(GATE.replace("32768", "32768L"))), "gate: not an array"),
    "a shape of 2^40": (
        repacked("gate.npy", header(GATE.replace("32768", str(2**40)))),
        r"gate is '<f4' \(1099511627776,\)",
    ),
    "a name that leads out": (renamed("gate.npy", "../../gate.npy"), "not the arrays of a model"),
    "fewer bytes than the header says": (repacked("gate.npy", lambda old: old[:-4]), "gate has 131068 bytes"),
    "packed by another method": (repacked("", bytes, zipfile.ZIP_BZIP2), "packed in a way"),
    "an archive cut off": (replaced("arrays.npz", datafile.packed({"gate": np.zeros(9)})[:-40]), r"arrays\.npz: "),
    "a pickle for arrays": (replaced("arrays.npz", pickle.dumps({"gate": 1})), r"arrays\.npz: File is not a zip"),
    "a file too large": (replaced("arrays.npz", b"\0" * (datafile.LARGEST + 1)), "larger than 10 MB"),
    "a link out of the folder": (linked("arrays.npz"), r"arrays\.npz: a link"),
    "a link for meta": (linked("meta.json"), r"meta\.json: a link"),
    "a pipe": (piped, r"meta\.json: not an ordinary file"),
    "a folder for a file": (a_folder, r"senses\.json: "),
}


@pytest.mark.usefixtures("nothing_built")
@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_one_line_before_anything_is_built(small: Path, what: str) -> None:
    modelfile.read(small)
    spoil, message = REFUSED[what]
    spoil(small)
    began = time.process_time()
    with pytest.raises(ModelError, match=message) as refused:
        Classifier.load(small)
    assert time.process_time() - began < 1
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_an_unspoilt_copy_loads_also_through_a_linked_folder(model: Path) -> None:
    (model.parent / "in-force").symlink_to(model)
    assert Classifier.load(model.parent / "in-force").digest == Classifier.load(CURRENT).digest


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed_byte("language.npz"), r"language\.npz.*sha256 differs"),
        (lambda folder: change(folder / "language.json", {"bits": 40}), "another format"),
        (lambda folder: change(folder / "language.json", {"hook": 1}), r"language\.json: .*unknown field"),
        (linked("language.npz"), r"language\.npz: a link"),
        (lambda folder: (folder / "language.npz").unlink(), r"language\.npz: No such file"),
    ],
)
def test_a_spoilt_language_model_is_refused(small: Path, spoil: Spoil, message: str) -> None:
    spoil(small)
    with pytest.raises(ModelError, match=message):
        Identifier.load(small)


def test_a_pickle_inside_an_array_never_runs(small: Path) -> None:
    trace = small.parent / "it-ran"
    with_array("bias", lambda a: np.array([Runs(trace)] * len(a), dtype=object))(small)
    with pytest.raises(ModelError, match=r"bias is '\|O'"):
        Classifier.load(small)
    assert not trace.exists()


def test_a_command_says_which_file_and_ends_with_1(model: Path, listener: Command) -> None:
    changed_byte("arrays.npz")(model)
    done = listener("score", "--model", str(model), stdin='{"text": "instagram çöktü"}\n')
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"listener: {model / 'arrays.npz'}: its content is not what meta.json says (sha256 differs)"
    ]


def test_a_joblib_file_that_would_run_code_is_not_loaded(tmp_path: Path) -> None:
    trace, file = tmp_path / "it-ran", tmp_path / "model.joblib"
    joblib.dump(Runs(trace), file)
    with pytest.raises(ModelError, match="a file, where a model is a folder"):
        Classifier.load(file)
    with pytest.raises(InputError, match="say trust=True"):
        export.load(file)
    with pytest.raises(InputError, match="say trust=True"):
        export.load(file, trust="yes")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="nothing of it was loaded"):
        export.load(file, trust=True, digest="sha256:" + "0" * 64)
    assert not trace.exists()
    with pytest.raises(ModelError, match="not a file of"):
        export.load(file, trust=True)
    assert trace.exists(), "the file is harmless: the test shows nothing"


@pytest.mark.parametrize("raw", [b"", b"\x80\x04N", b"no pickle at all"])
def test_a_trusted_file_that_is_no_export_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "model.joblib").write_bytes(raw)
    with pytest.raises(ModelError, match=r"model\.joblib: not a file of `listener train --export-joblib`"):
        export.load(tmp_path / "model.joblib", trust=True)


def test_an_export_says_what_the_model_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs what docs/training.md tells notebooks to do."""
    digest = export.dump(CURRENT, tmp_path / "model.joblib")
    monkeypatch.chdir(tmp_path)
    (told,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(encoding="utf-8"), re.DOTALL)
    made: dict[str, Any] = {}
    exec(told, made)
    assert made["labels"][1] == "other"
    classifier = Classifier.load(CURRENT)
    assert made["model"].model == classifier.digest
    same = classifier.to_sklearn().predict_proba(made["readings"])
    assert np.allclose(made["model"].labels.predict_proba(made["readings"]), same)
    assert export.load(Path("model.joblib"), trust=True, digest=digest).model == classifier.digest
