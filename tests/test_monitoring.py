"""The dashboard and the alert rules: every metric in them is there, every expression is PromQL."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from service.metrics import Metrics
from tests.test_containers import COMPOSE, CPU, ROOT, compose

MONITORING = ROOT / "docker" / "monitoring.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "docker" / "dashboard.json").read_text())
RULES: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "alerts.yml").read_text())

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in RULES["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [*panels, *(rule["expr"] for rule in alerts())]


def exposed() -> set[str]:
    """Names of all series that /metrics can have."""
    types = re.findall(r"^# TYPE (\w+) (\w+)$", Metrics().exposition().decode(), re.MULTILINE)
    return {name + suffix for name, kind in types for suffix in SUFFIXES[kind]}


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_is_one_of_the_service_s(expression: str) -> None:
    named = set(re.findall(r"\b(?:dpdf_\w+|up)\b", expression))
    assert named
    assert named <= exposed() | {"up"}


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_is_promql(expression: str) -> None:
    promql_parser.parse(expression.replace("$__rate_interval", "5m"))


def test_what_an_operator_has_to_see_is_on_the_dashboard() -> None:
    shown = " ".join(expressions())
    for metric in (
        *("dpdf_requests_total", "dpdf_rejected_total", "dpdf_request_seconds_bucket"),
        *("dpdf_stage_seconds_bucket", "dpdf_queue_clips", "dpdf_batch_clips_sum"),
        *("dpdf_worker_restarts_total", "dpdf_device_memory_bytes", "dpdf_ready"),
    ):
        assert metric in shown


def test_prometheus_loads_the_rules_that_compose_mounts() -> None:
    services = compose(COMPOSE, CPU, MONITORING)
    mounted = {
        one["source"]: one["target"]
        for one in (
            *services["services"]["prometheus"]["configs"],
            *services["services"]["grafana"]["configs"],
        )
    }
    assert set(mounted) == set(services["configs"])
    for config in services["configs"].values():
        assert "content" in config or (ROOT / config["file"]).is_file()
    prometheus = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    folder = Path(mounted["prometheus"]).parent
    assert [str(folder / rule) for rule in prometheus["rule_files"]] == [mounted["alerts"]]
    (job,) = prometheus["scrape_configs"]
    assert job["job_name"] == "dpdf"
    (target,) = job["static_configs"][0]["targets"]
    assert target.split(":") == ["service", "8000"]


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_alerts_say_how_bad_it_is() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
