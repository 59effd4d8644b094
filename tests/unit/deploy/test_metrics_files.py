"""The Grafana dashboard and the alert rules: they ask for metrics and labels that there are, and Prometheus takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from rqflow.deploy.metrics import COUNTER, HISTOGRAM, METRICS, OF_REQUESTS, SUMMARY

CONF = Path(__file__).parents[3] / "conf"
DASHBOARD, RULES = CONF / "grafana-dashboard.json", CONF / "prometheus-rules.yml"
KNOWN = METRICS | OF_REQUESTS
SUFFIXES: dict[Any, tuple[str, ...]] = {SUMMARY: ("_sum", "_count"), HISTOGRAM: ("_sum", "_count", "_bucket")}
#: Series -> labels of all that /metrics gives; Prometheus adds job and instance, a bucket has le.
SERIES = {f"{name}{suffix}": {*about.labels, "job", "instance", *(("le",) if suffix == "_bucket" else ())}
          for name, about in KNOWN.items() for suffix in SUFFIXES.get(about.kind, ("",))} | {"up": {"job", "instance"}}
WORDS = {"sum", "by", "increase", "rate", "time", "histogram_quantile", "unless", "on", "or", "and", "count", "vector"}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def expressions() -> list[str]:
    return [rule["expr"] for rule in rules()] + [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_each_expression_asks_for_series_and_labels_that_there_are(expression: str) -> None:
    for name, matchers in re.findall(r"([a-z_]+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+) *(?:=~|!=|!~|=)", matchers)) <= SERIES[name], name
    bare = re.sub(r"\{[^}]*\}|\[\w+\]|\"[^\"]*\"", "", expression)
    grouped = {label.strip() for labels in re.findall(r"(?:by|on) *\(([^)]*)\)", bare) for label in labels.split(",")}
    bare = re.sub(r"(by|on) *\([^)]*\)", "", bare)
    names = set(re.findall(r"[a-z_][a-z_0-9]*", re.sub(r"\b\d[\d.e]*\b", "", bare))) - WORDS
    assert names
    assert names <= SERIES.keys()
    assert all(grouped <= SERIES[name] for name in names)
    assert bare.count("(") == bare.count(")")


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "remedy"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        used = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        names = [name for name in SERIES if re.search(rf"\b{name}\b", rule["expr"])]
        assert all(used <= SERIES[name] for name in names), rule["alert"]
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_panels_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_names_are_as_prometheus_wants_them() -> None:
    for name, about in KNOWN.items():
        assert re.fullmatch(r"rqflow_[a-z_]+", name)
        assert name.endswith("_total") == (about.kind is COUNTER), name
        assert about.text.endswith("."), name


def test_prometheus_itself_takes_the_rules() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; the tests above look at all that it would")
    subprocess.run([program, "check", "rules", RULES], check=True, capture_output=True)
