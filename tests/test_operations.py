"""What operators take from docs/operations and deploy fits the program: rules, dashboard, unit, image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from listener.telemetry import Metrics
from tests.conftest import ROOT

RULES = ROOT / "docs" / "operations" / "alertmanager-rules.yml"
DASHBOARD = ROOT / "docs" / "operations" / "grafana-dashboard.json"
UNIT = ROOT / "docs" / "operations" / "listener.service"
PROMTOOL = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed")

COURSE = """
rule_files: [{rules}]
tests:
  - interval: 1m
    input_series:
      - {{series: 'listener_notifications_failed_total{{channel="ops", reason="timeout"}}', values: '0+1x60'}}
      - {{series: 'listener_source_last_success_timestamp_seconds{{source="a", instance="i"}}', values: '0+0x60'}}
      - {{series: 'listener_incidents_open{{region="TR"}}', values: '0x30 1x30'}}
      - {{series: 'listener_leads{{role="watch", instance="a"}}', values: '1x10 0x50'}}
      - {{series: 'listener_leads{{role="watch", instance="b"}}', values: '0x60'}}
      - {{series: 'listener_dead_letters_total{{reason="post"}}', values: '0x30 1x30'}}
    alert_rule_test:
      - {{alertname: ListenerRoleWithoutLeader, eval_time: 10m}}
      - alertname: ListenerRoleWithoutLeader
        eval_time: 20m
        exp_alerts:
          - exp_labels: {{severity: critical, role: watch}}
            exp_annotations: {{summary: "0 processes do what exactly one must: watch"}}
      - {{alertname: ListenerDeadLetters, eval_time: 20m}}
      - alertname: ListenerDeadLetters
        eval_time: 40m
        exp_alerts:
          - exp_labels: {{severity: warning, reason: post}}
            exp_annotations:
              summary: 1 new dead letters of listener within an hour
              description: "`listener dead-letters` shows them with the reason."
      - {{alertname: OutageChatterInRegion, eval_time: 29m}}
      - alertname: OutageChatterInRegion
        eval_time: 35m
        exp_alerts: [{{exp_labels: {{severity: info, region: TR}}, exp_annotations: {{summary: 1 open incidents in TR}}}}]
      - {{alertname: ListenerHearsNothing, eval_time: 30m}}
      - alertname: ListenerHearsNothing
        eval_time: 40m
        exp_alerts:
          - exp_labels: {{severity: critical, instance: i}}
            exp_annotations:
              summary: no source has answered listener at i for half an hour
              description: Its silence is not quiet. Look at its network, then at `listener sources`.
      - alertname: ListenerCannotTell
        eval_time: 30m
        exp_alerts:
          - exp_labels: {{severity: critical, channel: ops, reason: timeout}}
            exp_annotations: {{summary: channel ops does not take messages (timeout)}}
"""


def known() -> set[str]:
    """The names under which our metrics are kept by Prometheus."""
    metrics = Metrics("1")
    names = set()
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


@pytest.mark.parametrize("path", [RULES, DASHBOARD], ids=lambda path: path.name)
def test_every_metric_named_there_exists(path: Path) -> None:
    named = set(re.findall(r"\blistener_\w+", path.read_text(encoding="utf-8")))
    assert len(named) > 5
    assert named <= known()


@PROMTOOL
def test_prometheus_accepts_the_rules_and_they_speak_when_they_should(tmp_path: Path) -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 rules found" in done.stdout
    course = tmp_path / "course.yml"
    course.write_text(COURSE.format(rules=RULES), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", str(course)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_grafana_dashboard_is_whole() -> None:
    made = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = made["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 12
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies over another"
        taken |= cells
        assert all(target["expr"] for target in panel["targets"])


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze (Debian: systemd) is not installed"
)
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "listener.service"
    unit.write_text(UNIT.read_text().replace("/opt/listener/.venv/bin/listener", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    ours = [
        line for line in done.stderr.splitlines() if "listener.service" in line and "Failed to open /dev" not in line
    ]
    assert ours == []


def test_the_image_is_made_of_what_is_there_and_pins_what_the_lock_pins() -> None:
    folder = ROOT / "deploy"
    lines = (folder / "Dockerfile").read_text().splitlines()
    wanted = {
        word for line in lines if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    }
    assert {word for word in wanted if not (ROOT / word).exists()} == set()
    let_in = {
        line[1:] for line in (folder / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert let_in == wanted
    (uv,) = re.findall(r"uv==[\d.]+", "\n".join(lines))
    assert uv in (ROOT / "dev").read_text()
    assert "dockerfile: deploy/Dockerfile" in (folder / "compose.yml").read_text()
