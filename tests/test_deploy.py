"""What deploy holds for many machines fits the program: roles, settings, units, and the configs of NATS and Kubernetes."""

from __future__ import annotations

import gc
import importlib
import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from listener.cli.crew import Wanted, play, roles_of
from listener.config import Config
from listener.errors import ConfigError, InputError
from listener.roles import ROLES
from tests.conftest import ROOT, Command

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
FILES = [DEPLOY / "compose.scale.yml", DEPLOY / "kubernetes.yml", *UNITS]


yaml: Any = importlib.import_module("yaml")  # has no types
LOADER = type("Loader", (yaml.SafeLoader,), {})
yaml.add_constructor("!reset", lambda loader, node: loader.construct_sequence(node), LOADER)  # compose's


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.load_all(path.read_text(encoding="utf-8"), LOADER))


def settings() -> set[str]:
    """Every variable the config is read from."""
    config = Config()
    names = {"LISTENER_CONFIG"}
    for section in fields(Config):
        for key in getattr(getattr(config, section.name), "__dataclass_fields__", ()):
            names.add(f"LISTENER_{section.name}_{key}".upper())
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_and_every_role_named_there_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = {name.removesuffix("_FILE") for name in re.findall(r"\bLISTENER_[A-Z_]+", text)}
    assert {"LISTENER_BUS_URL", "LISTENER_PATHS_STORE", "LISTENER_PRIVACY_AUTHOR_KEY"} <= named <= settings()
    played = re.findall(r'--roles"?,? "?([a-z,]+|%i|\$\{ROLES)', text)
    assert played
    assert {role for roles in played for role in roles.split(",")} <= {*ROLES, "%i", "${ROLES"}


def test_kubernetes_has_every_role_and_asks_each_process_where_it_answers() -> None:
    deployments = {d["metadata"]["name"]: d for d in documents(DEPLOY / "kubernetes.yml") if d["kind"] == "Deployment"}
    assert set(deployments) == set(ROLES)
    for role, deployment in deployments.items():
        pod = deployment["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        asked = [
            container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe") if probe in container
        ]
        metrics = int(pod["metadata"]["annotations"]["prometheus.io/port"])
        assert all({"containerPort": port} in container["ports"] for port in [metrics, *asked])
        assert container["args"] == ["run", "--log-json", "--roles", role, "--metrics-port", str(metrics)]
        assert set(asked) == ({8080} if role == "web" else {metrics})
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_the_compose_file_has_what_three_machines_need() -> None:
    (compose,) = documents(DEPLOY / "compose.scale.yml")
    assert set(compose["services"]) == {"nats", "listener", "worker"}
    assert compose["services"]["listener"]["build"]["dockerfile"] == "deploy/Dockerfile"
    assert "./nats.conf:/etc/nats/nats.conf:ro" in compose["services"]["nats"]["volumes"]
    for service in ("listener", "worker"):
        command = compose["services"][service]["command"]
        port = command[command.index("--metrics-port") + 1]
        assert f"127.0.0.1:{port}/metrics" in compose["services"]["listener"]["healthcheck"]["test"][-1]


@pytest.mark.skipif(shutil.which("nats-server") is None, reason="nats-server is not installed")
def test_nats_accepts_its_config(tmp_path: Path) -> None:
    asked = subprocess.run(["nats-server", "--version"], capture_output=True, text=True, check=True).stdout
    text = (DEPLOY / "nats.conf").read_text(encoding="utf-8")
    if tuple(map(int, re.findall(r"\d+", asked)[:2])) < (2, 10):  # which does not know it yet
        text = re.sub(r"\n\s*sync_interval:.*", "", text)
    path = tmp_path / "nats.conf"
    path.write_text(text)
    environment = {
        "PATH": os.environ["PATH"],
        "NATS_NAME": "n1",
        "NATS_PASSWORD": "pw0123456789",
        "NATS_ROUTES": "[nats-route://n2.internal:6222]",
    }
    done = subprocess.run(
        ["nats-server", "-c", str(path), "-t"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_the_units(path: Path, tmp_path: Path) -> None:
    unit = tmp_path / path.name
    unit.write_text(path.read_text().replace("/opt/listener/.venv/bin/listener", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    stem = path.name.partition("@")[0]
    assert [line for line in done.stderr.splitlines() if stem in line and "Failed to open /dev" not in line] == []


@pytest.mark.parametrize(
    ("roles", "bus", "archive", "why"),
    [
        ("understand", "", (), "--roles needs a bus"),
        ("understand", "local:", (), "the bus local: stays within one process"),
        ("understand", "nats://127.0.0.1:1", (), "a SQLite store is one process's alone"),
        ("watch", "nats://127.0.0.1:1", ("a.jsonl",), "--archive is fed by the role ingest"),
    ],
)
def test_what_can_not_work_is_refused(
    roles: str, bus: str, archive: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LISTENER_WEB_ENABLED", "false")
    monkeypatch.setenv("LISTENER_PATHS_STORE", f"sqlite:///{tmp_path / 'listener.db'}")
    with pytest.raises(InputError, match=why):
        play(Wanted(roles_of(roles), None, None, None, bus, [Path(name) for name in archive], None, None))


def test_a_role_nobody_plays_is_refused_in_one_line(listener: Command) -> None:
    done = listener("run", "--roles", "ingest,understnad")
    assert done.returncode == 2
    assert done.stderr == "listener: --roles: 'understnad' is none of ingest, understand, watch, web\n"


def test_a_key_that_can_be_guessed_is_refused_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "listener.toml").write_text(
        'default_sources = false\n[web]\nenabled = false\n[privacy]\nauthor_key = "x"\n'
    )
    url, roles = f"sqlite:///{tmp_path / 'listener.db'}", roles_of("ingest,understand,watch")
    with pytest.raises(ConfigError, match="at least 16 characters"):
        play(Wanted(roles, None, None, url, "local:", [], None, None))
    gc.collect()  # nothing was begun that is never awaited, of which Python would warn
