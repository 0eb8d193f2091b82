"""deploy/observability: rules, dashboards, compose."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import yaml
from support.prometheus import promtool

from gateway.telemetry.catalog import CATALOG
from gateway.telemetry.runtime import Runtime

HERE = Path(__file__).parents[2] / "deploy" / "observability"
RULES = sorted((HERE / "prometheus").glob("*.rules.yaml"))
DASHBOARDS = sorted((HERE / "grafana" / "dashboards").glob("*.json"))


def load(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def dashboard_queries() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def rules() -> list[dict[str, str]]:
    return [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]


# -- what is written ---------------------------------------------------------------------------


def test_rules_and_configuration_are_what_prometheus_takes() -> None:
    """promtool reads all of it."""
    promtool("check", "rules", *map(str, RULES))
    promtool("check", "config", str(HERE / "prometheus" / "prometheus.yaml"))


def test_alerts_fire_when_they_should_and_not_before() -> None:
    """Burn rates in several windows, and every other alert, against made-up series."""
    promtool("test", "rules", str(HERE / "prometheus" / "rules.test.yaml"))


def test_every_alert_is_tested() -> None:
    """An alert nobody has seen firing may never fire."""
    tests = (HERE / "prometheus" / "rules.test.yaml").read_text()

    assert [rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in tests] == []


def test_alerts_say_what_to_do() -> None:
    """A summary, what it means, and a page that has the heading it names."""
    page = (HERE.parents[1] / "docs" / "observability.md").read_text(encoding="utf-8")
    for rule in rules():
        if "alert" in rule:
            assert {"summary", "description", "runbook"} == set(rule["annotations"])
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert f"`{rule['alert']}`" in page


def test_dashboards_are_what_the_script_writes() -> None:
    """They are changed there."""
    made = runpy.run_path(str(HERE / "grafana" / "dashboards.py"))["dashboards"]()

    assert {path.name: json.loads(path.read_text()) for path in DASHBOARDS} == made


def test_dashboards_and_rules_ask_for_metrics_that_exist() -> None:
    """A metric that was renamed would leave an empty panel."""
    known = {metric.name for metric in CATALOG}
    known |= {family.metric.name for family in Runtime().read()}
    asked = " ".join([*(query for _, query in dashboard_queries()), *(rule["expr"] for rule in rules())])
    names = set(re.findall(r"\b(?:istio|gateway|process|python)_[a-z_]+", asked))

    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} - known == set()


def test_panels_lie_beside_each_other() -> None:
    """None covers another, none is wider than the page, each has an id of its own."""
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_what_compose_mounts_is_there() -> None:
    """And nothing is published beyond loopback."""
    compose = load(HERE / "compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (HERE / source).exists()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    sources = load(HERE / "grafana/provisioning/datasources/datasources.yaml")["datasources"]

    assert {"prometheus", "jaeger"} == {source["uid"] for source in sources}
    assert "latest" not in (HERE / "compose.yaml").read_text()
