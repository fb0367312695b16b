"""What the project is made of is pinned, listed and free; and nothing it runs asks the network for more.

Write the list of licences anew with `python -m tests.test_supply > docs/licences.md`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
EXTRAS = ("parquet", "scale", "notebooks")  # those that an operator or an analyst installs

KNOWN = {  # what metadata says at length, or in a way of its own, by SPDX
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
FREE = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-CMU",
        "PSF-2.0",
        "Zlib",
    ),
    *("LGPL-3.0-only", "MPL-2.0"),  # of these only those below
}
WEAK_COPYLEFT = {"LGPL-3.0-only": {"psycopg", "psycopg-binary", "psycopg-pool"}, "MPL-2.0": {"certifi"}}

HEAD = """# Licences

What `listener` needs to run, extras included, and the licence that each package's own metadata names.
All are used unchanged, as packages of their own. Those under LGPL-3.0-only (the PostgreSQL driver, extra `scale`) and MPL-2.0
(the list of certificate authorities) ask of whoever changes *them* to publish the changes; the rest ask to be named.
Versions and hashes: `requirements.lock`; as CycloneDX: `./dev sbom`. The browser's code and the map are in `listener/web`.

| package | licence |
|---|---|
"""


def pinned() -> dict[str, tuple[str, set[str]]]:
    """Name -> version and hashes, from the lock."""
    found: dict[str, tuple[str, set[str]]] = {}
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        named = re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", entry)
        assert named, entry[:80]
        found[canonicalize_name(named[1])] = (named[2], set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))
    return found


def needed() -> Iterator[tuple[str, Distribution]]:
    """Every package that the project and its extras need here, by name."""
    found: dict[str, Distribution] = {}
    wanted: list[tuple[str, tuple[str, ...]]] = [("outage-listener", EXTRAS)]
    tried: set[tuple[str, tuple[str, ...]]] = set()
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) in tried:
            continue
        tried.add((name, extras))
        try:
            made = distribution(name)
        except PackageNotFoundError:
            assert name not in found
            continue  # an extra that is not installed here
        found[canonicalize_name(name)] = made
        for line in made.requires or ():
            one = Requirement(line)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                wanted.append((canonicalize_name(one.name), tuple(sorted(one.extras))))
    del found["outage-listener"]
    yield from sorted(found.items())


def licence(of: Distribution) -> str:
    """An SPDX expression, as far as the metadata has one."""
    told = {name: of.metadata.get_all(name) or [""] for name in ("License-Expression", "License", "Classifier")}
    if expression := told["License-Expression"][0]:
        return str(expression)
    said = str(told["License"][0]).strip()
    classes = [c.rpartition(" :: ")[2] for c in told["Classifier"] if c.startswith("License ::")]
    short = said if said in FREE or said in KNOWN else ""
    return " OR ".join(KNOWN.get(one, one) for one in ([short] if short else classes))


def page() -> str:
    return HEAD + "".join(f"| {name} | {licence(one)} |\n" for name, one in needed())


def test_every_package_is_pinned_with_its_hashes() -> None:
    found = pinned()
    assert len(found) > 100
    assert [name for name, (_, hashes) in found.items() if not hashes] == []
    assert "--index-url" not in LOCK
    assert " @ " not in LOCK, "each comes from the registry, none from an address"
    assert [name for name, _ in needed() if name not in found] == []
    assert "--require-hashes" in (ROOT / "dev").read_text(encoding="utf-8")


def test_the_bill_of_materials_names_every_package_with_its_hashes() -> None:
    done = subprocess.run(
        [str(ROOT / "dev"), "sbom", "-o", "-"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=100
    )
    told = json.loads(done.stdout)
    assert (told["bomFormat"], told["metadata"]["component"]["name"]) == ("CycloneDX", "outage-listener")
    listed = {
        canonicalize_name(one["name"]): (
            one["version"],
            {found["content"] for ref in one["externalReferences"] for found in ref.get("hashes", [])},
        )
        for one in told["components"]
    }
    assert listed == pinned()


def test_every_licence_is_free_and_on_the_page() -> None:
    written = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").splitlines()
    assert written[: HEAD.count("\n")] == HEAD.splitlines()
    assert {line.split(" | ")[0].removeprefix("| ") for line in written[HEAD.count("\n") :]} <= pinned().keys()
    for name, one in needed():  # another version of Python may need some less
        assert f"| {name} | {licence(one)} |" in written
        parts = set(re.split(r" AND | OR ", licence(one)))
        assert parts, name
        assert parts <= FREE, (name, parts)
        for weak, those in WEAK_COPYLEFT.items():
            assert weak not in parts or name in those, (name, weak)


# Writes down who is asked for a name or spoken to, but for this machine.
_OVERHEARD = """
import ipaddress, json, os, signal, sys, threading
def overhear(event, arguments):
    if event == "socket.getaddrinfo" and arguments[0] not in (None, "localhost", "127.0.0.1", b"127.0.0.1"):
        print("OVERHEARD", event, arguments[0], file=sys.stderr, flush=True)
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        if not ipaddress.ip_address(arguments[1][0]).is_loopback:
            print("OVERHEARD", event, arguments[1], file=sys.stderr, flush=True)
sys.addaudithook(overhear)
from listener.cli import main
sys.argv = ["listener", *sys.argv[1:]]
if sys.argv[1] == "run":
    from listener.cli import serving
    serving.notify = lambda state: os.kill(os.getpid(), signal.SIGTERM) if state == "READY=1" else None
if sys.argv[1] == "try":
    import socket
    socket.getaddrinfo("listener.invalid", 80)
main()
"""


@pytest.mark.parametrize(
    ("arguments", "is_heard"),
    [(("score",), False), (("run", "--no-table"), False), (("options",), False), (("try",), True)],
)
def test_nothing_but_a_source_speaks_to_the_network(
    arguments: tuple[str, ...], is_heard: bool, environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "listener.toml").write_text("default_sources = false\n[web]\nport = 0\n")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _OVERHEARD,
            *arguments,
            *(("--config", "listener.toml") if arguments[0] == "run" else ()),
        ],
        input='{"text": "instagram çöktü"}\n',
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ("OVERHEARD" in done.stderr) is is_heard, done.stderr
    assert is_heard or done.returncode == 0, done.stderr


if __name__ == "__main__":
    sys.stdout.write(page())
