"""Would the tests notice? One small change at a time in the core modules, and the tests that should object to it.

    python tests/bench/mutation.py                        the score of every module below
    python tests/bench/mutation.py incidents outbox --mutants 100 --seed 2

A change lives in memory only: each is compiled in a forked process that then runs the tests of its module up to the first
failure. Tests that start the program anew do not see it. `option(...)` defaults are left alone (`tests/test_docs.py` holds
them), and so are texts, annotations and what is logged.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a process that forks has one thread

ROOT = Path(__file__).resolve().parents[2]
SURE = 4.0  # times as long as the tests take without a change, and
GRACE = 20.0  # seconds: a change that keeps them busy longer counts as noticed

FRESH = ("listener", "tests", "__main__", "asyncio", "_asyncio", "anyio", "hypothesis", "_hypothesis", "schemathesis")
DETECTORS = (
    "tests/test_scan_edges.py", "tests/contracts/test_detectors_contract.py", "tests/test_detectors.py", "-k", "not online",
)  # fmt: skip
TARGETS: dict[str, tuple[str, ...]] = {  # what pytest is given, the quick ones first
    "detectors/scan": DETECTORS,
    "detectors/_windows": DETECTORS,
    "signals/aggregate": ("tests/test_aggregate.py", "tests/test_aggregate_edges.py", "tests/test_copies.py"),
    "incidents": ("tests/test_incidents.py", "tests/test_incident_edges.py"),
    "outbox": ("tests/test_outbox.py",),
    "telling": ("tests/test_telling.py",),
    "takeover": ("tests/test_takeover_steps.py",),
    "store/sqlite_writer": (
        "tests/contracts/test_store_contract.py",
        "tests/contracts/test_tallies_contract.py",
        "tests/test_sqlite.py",
        "-k",
        "sqlite",
    ),
}

COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    number: int  # of the place
    variant: int
    line: int
    was: str
    now: str


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of a node."""
    match node:
        case ast.Compare(ops=[op, *rest]):
            yield ast.Compare(node.left, [COMPARE[type(op)](), *rest], node.comparators)
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in ARITHMETIC:
            changed = copy.copy(node)
            changed.op = ARITHMETIC[type(op)]()
            yield changed
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(number) | float(number)):
            yield ast.Constant(number + 1 if isinstance(number, int) else number * 2 or 1.0)
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() as test):
            yield ast.If(ast.UnaryOp(ast.Not(), test), node.body, node.orelse)
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield ast.Pass()
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()


def _is_apart(node: ast.AST) -> bool:
    """Where nothing is changed: the log, options, and what no run can tell (`frozen`, `slots`, `zip(strict=)`)."""
    match node:
        case ast.Call(func=ast.Name(id="option" | "dataclass") | ast.Attribute(value=ast.Name(id="log"))):
            return True
        case ast.keyword(arg="strict" | "slots"):
            return True
    return False


class _Places(ast.NodeTransformer):
    """Goes over the places in a fixed order; changes one of them, or lists what could be changed."""

    def __init__(self, only: Mutant | None = None) -> None:
        self.only = only
        self.count = 0
        self.found: list[Mutant] = []

    def visit(self, node: ast.AST) -> ast.AST:
        if _is_apart(node) or (isinstance(node, ast.Expr) and _is_apart(node.value)):
            return node
        here, self.count = self.count, self.count + 1
        options = list(variants(node))
        if self.only is None:
            line = getattr(node, "lineno", 0)
            self.found += [Mutant(here, i, line, _shown(node), _shown(made)) for i, made in enumerate(options)]
        elif self.only.number == here:
            return ast.copy_location(options[self.only.variant], node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            if isinstance(value, list):
                value[:] = [self.visit(one) if isinstance(one, ast.AST) else one for one in value]
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node


def _shown(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0][:90]


def mutants(source: str) -> list[Mutant]:
    places = _Places()
    places.visit(ast.parse(source))
    return places.found


def changed(source: str, mutant: Mutant, path: Path) -> CodeType:
    tree = _Places(mutant).visit(ast.parse(source))
    assert isinstance(tree, ast.Module)
    return compile(ast.fix_missing_locations(tree), str(path), "exec", dont_inherit=True)


# --- running ------------------------------------------------------------------------------------------------------


class _Changed(importlib.machinery.SourceFileLoader):
    code: CodeType

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class _Finder(importlib.abc.MetaPathFinder):
    """Gives the changed code for one module's name."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self.name, self.path = name, path
        self.loader = _Changed(name, str(path))
        self.loader.code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self.loader)


def tested(tests: Sequence[str], finder: _Finder | None, report: Path, limit: float) -> tuple[str, float]:
    """What the tests said in a process of their own: passed, failed, or too slow."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _test(tests, finder, report)
    while time.monotonic() - began < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return ("passed" if status == 0 else "failed"), time.monotonic() - began
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "too slow", time.monotonic() - began


def _test(tests: Sequence[str], finder: _Finder | None, report: Path) -> None:
    """In the child; does not come back."""
    os.setsid()
    with report.open("w") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    if finder is not None:
        sys.meta_path.insert(0, finder)
    code = 1
    try:
        import pytest

        kept = ["-x", "-q", "-p", "no:xdist", "-p", "no:schemathesis", "--hypothesis-seed=0", "--tb=line"]
        code = int(pytest.main([*kept, "-W", "ignore::pytest.PytestAssertRewriteWarning", *tests]))
        if finder is None:
            loaded = sorted(name for name in sys.modules if not name.startswith(FRESH))
            report.with_suffix(".json").write_text(json.dumps(loaded))
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def unchanged(target: str, report: Path) -> float:
    verdict, took = tested(TARGETS[target], None, report, 600)
    if verdict != "passed":
        raise SystemExit(f"{target}: the tests fail without any change, see {report}")
    return took


def score(target: str, most: int, seed: int, folder: Path) -> tuple[int, int]:
    """Prints the survivors of a module; gives back how many were noticed, of how many."""
    path = ROOT / "listener" / f"{target}.py"
    name = "listener." + target.replace("/", ".")
    source = path.read_text(encoding="utf-8")
    found = mutants(source)
    chosen = sorted(random.Random(f"{seed}:{target}").sample(found, min(most, len(found))), key=lambda m: m.line)
    report = folder / f"{target.replace('/', '.')}.txt"
    took = unchanged(target, report)
    for module in json.loads(report.with_suffix(".json").read_text()):
        with suppress(ImportError):  # all but `FRESH` is loaded once for all
            importlib.import_module(module)
    took = min(took, unchanged(target, report))  # and still the tests pass: else nothing that follows meant anything
    noticed = 0
    for mutant in chosen:
        finder = _Finder(name, path, changed(source, mutant, path))
        verdict, _ = tested(TARGETS[target], finder, report, SURE * took + GRACE)
        noticed += verdict != "passed"
        if verdict != "failed":
            print(f"  {target}.py:{mutant.line}: {mutant.was}  ->  {mutant.now}: {verdict}", flush=True)
    print(f"{target}: {noticed} of {len(chosen)} noticed, of {len(found)} changes there could be", flush=True)
    return noticed, len(chosen)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("modules", nargs="*", help=f"of {', '.join(TARGETS)}")
    options.add_argument("--mutants", type=int, default=40, help="changes a module, drawn with the seed")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--reports", type=Path, default=Path("/tmp"), help="where the tests' last words go")
    asked = options.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    results = [score(target, asked.mutants, asked.seed, asked.reports) for target in asked.modules or TARGETS]
    print(f"all: {sum(n for n, _ in results)} of {sum(n for _, n in results)} noticed")


if __name__ == "__main__":
    main()
