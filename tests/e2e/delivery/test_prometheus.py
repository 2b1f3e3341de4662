"""A real Prometheus scrapes a real daemon, and every panel of every dashboard has data."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.instance import Instance, free_port, pod

DASHBOARDS = Path(__file__).parents[3] / "dashboards"

CRASHING = "sleep 0.3; exit 3"
BROKEN = "apiVersion: v1\nkind: Pod\nmetadata: {name: broken}\nspec: {containers: []}\n"


class Prometheus:
    """One with the scrape config that we ship, but for the target and the pace."""

    def __init__(self, work: Path, target: str) -> None:
        config = yaml.safe_load((DASHBOARDS / "prometheus.yml").read_text())
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DASHBOARDS / "alerts.yml")]
        (job,) = config["scrape_configs"]
        job["static_configs"][0]["targets"] = [target]
        (work / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._address = f"127.0.0.1:{free_port()}"
        command = ["prometheus", f"--config.file={work}/prometheus.yml", f"--storage.tsdb.path={work}/tsdb"]
        with (work / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={self._address}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def get(self, path: str, **query: str) -> Any:
        url = f"http://{self._address}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def answers(self) -> bool:
        try:
            return bool(self.get("/api/v1/status/buildinfo"))
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def value(self, expression: str) -> float:
        (sample,) = self.query(expression)
        return float(sample["value"][1])

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)


@pytest.fixture
def prometheus(measured: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    made = Prometheus(tmp_path_factory.mktemp("prometheus"), measured.metrics_address)
    try:
        measured.until(made.answers, "Prometheus answers")
        yield made
    finally:
        made.end()


def panel_queries() -> list[tuple[str, str]]:
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "10s").replace("$instance", ".*")
                found.append((f"{path.stem}: {panel['title']}", expression))
    return found


def test_every_panel_has_data_and_the_numbers_are_true(measured: Instance, prometheus: Prometheus) -> None:
    def until(expression: str, seconds: float = 20) -> list[dict[str, Any]]:
        return measured.until(lambda: prometheus.query(expression), f"data for {expression}", seconds)

    measured.put("steady.yaml", pod("steady"))
    measured.put("crashing.yaml", pod("crashing", CRASHING))
    until('up{job="reconciler",cluster="local"} == 1')
    for title, expression in panel_queries():
        measured.until(partial(prometheus.query, expression), f"data for {title}: {expression}")

    until("kubelet_running_pods == 2")
    until('sum(reconciler_actions_total{action="StartContainer",result="success"}) >= 3')
    until('sum(reconciler_drift_corrected_total{kind="Pod",reason="Exited"}) >= 1')
    until('reconciler_manifest_objects{kind="Pod"} == 2')
    until("sum(reconciler_manifest_problems) == 0")

    measured.put("broken.yaml", BROKEN)
    until("sum(reconciler_manifest_problems) > 0")
    until("reconciler_in_sync == 0")
    until('ALERTS{alertname="ReconcilerManifestErrors",alertstate="pending"}')

    for name in ("broken.yaml", "crashing.yaml", "steady.yaml"):
        measured.delete(name)
    until("max(reconciler_prune_blocked) == 1")
    assert measured.phase("steady") == "Running"


def test_metrics_are_clean_and_health_is_told(measured: Instance) -> None:
    def answer(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://{measured.metrics_address}{path}", timeout=10) as got:
                return got.status, got.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    measured.put("web.yaml", pod("web"))
    measured.until(lambda: measured.ready("web"))
    measured.until(lambda: answer("/readyz") == (200, "ok"))
    assert answer("/healthz") == (200, "ok")
    measured.until(lambda: measured.metric("reconciler_in_sync") == 1)
    status, text = answer("/metrics")
    assert status == 200
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
