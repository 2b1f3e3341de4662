"""The dashboards and alerts are what their sources say, and speak only of metrics that exist."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest

from reconciler.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks"

# of Prometheus itself, for every target
SCRAPE = {"up"}


def regenerated(source: Path) -> str:
    spec = importlib.util.spec_from_file_location(f"dashboards_{source.stem}", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    text = module.build()
    assert isinstance(text, str)
    return text


def exported() -> set[str]:
    names = set(SCRAPE)
    for family in Telemetry().registry.collect():
        names.add(family.name)
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [])
        names.update(family.name + suffix for suffix in suffixes)
    return names


def metric_names(expression: str) -> set[str]:
    """Every metric an expression reads. Raises ValueError when it does not parse."""
    for variable, value in (("$__rate_interval", "1m"), ("$__range", "1h"), ("$instance", ".*")):
        expression = expression.replace(variable, value)
    parsed = str(promql_parser.parse(expression))
    return set(re.findall(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{", parsed))


PANELS = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path in sorted(DASHBOARDS.glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
    if panel["type"] != "row"
]
ALERTS = [
    rule for group in yaml.safe_load((DASHBOARDS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]


@pytest.mark.parametrize("source", [pytest.param(p, id=p.stem) for p in sorted(DASHBOARDS.glob("*.py"))])
def test_the_committed_dashboard_is_what_its_source_builds(source: Path) -> None:
    assert source.with_suffix(".json").read_text() == regenerated(source), "run `make dashboards`"


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_complete_and_asks_for_metrics_that_exist(panel: dict[str, Any]) -> None:
    assert panel["id"] > 0
    assert panel["description"]
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "$datasource"
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert target["datasource"]["uid"] == "$datasource"
        names = metric_names(target["expr"])
        assert names, target["expr"]
        assert names <= exported(), names - exported()
        if re.search(r"\[[0-9]+[sm]\]", target["expr"]):
            pytest.fail("a fixed short range: use $__rate_interval")


def test_panel_ids_differ() -> None:
    for path in DASHBOARDS.glob("*.json"):
        ids = [panel["id"] for panel in json.loads(path.read_text())["panels"]]
        assert len(ids) == len(set(ids)), path.name


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in ALERTS])
def test_an_alert_uses_metrics_that_exist_and_has_a_runbook_and_a_test(rule: dict[str, Any]) -> None:
    assert metric_names(rule["expr"]) <= exported()
    assert rule["labels"]["severity"] in {"critical", "warning"}
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == RUNBOOKS / f"{rule['alert']}.md"
    text = page.read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    assert "## What to do" in text
    tested = yaml.safe_load((DASHBOARDS / "alerts_test.yml").read_text())["tests"]
    fires = {a["alertname"] for t in tested for a in t["alert_rule_test"] if a.get("exp_alerts")}
    assert rule["alert"] in fires


def test_every_runbook_has_its_alert() -> None:
    names = {rule["alert"] for rule in ALERTS}
    assert {p.stem for p in RUNBOOKS.glob("*.md")} - {"README"} == names


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["check", "config", "prometheus.yml"], id="scrape config"),
        pytest.param(["test", "rules", "alerts_test.yml"], id="alert rules"),
    ],
)
def test_promtool_agrees(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=DASHBOARDS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_finds_nothing_wrong_with_our_metrics() -> None:
    text = generate_latest(Telemetry().registry)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_every_target_is_of_the_cluster_local() -> None:
    config = yaml.safe_load((DASHBOARDS / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        for group in job["static_configs"]:
            assert group["labels"]["cluster"] == "local"
