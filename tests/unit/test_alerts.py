"""Every alert can be acted on: its metrics and its runbook exist, and tests show when it fires and when not."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from scripts.alerts_page import DOCUMENT, render, section
from tests.promql import exported, faults, selectors

from billing_telemetry.declaring import Label

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "ops/prometheus"
GROUPS: Final = yaml.safe_load((PROMETHEUS / "billing.rules.yml").read_text(encoding="utf-8"))["groups"]
RULES: Final[list[dict[str, Any]]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTMANAGER: Final = yaml.safe_load((ROOT / "ops/alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
ALERTS: Final = [rule for rule in RULES if "alert" in rule]
CASES: Final = [
    (test, case)
    for path in sorted((PROMETHEUS / "tests").glob("*.yml"))
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
    for case in test["alert_rule_test"]
]


def name_of(alert: dict[str, Any]) -> str:
    return "-".join([alert["alert"], alert["labels"]["severity"], *filter(None, [alert["labels"].get("window")])])


each_alert = pytest.mark.parametrize("alert", ALERTS, ids=name_of)


SERIES: Final = {
    **exported(),
    **{rule["record"]: {"job": Label("job", others="any")} for rule in RULES if "record" in rule},
    "probe_ssl_earliest_cert_expiry": {"job": Label("job", others="any")},  # of the blackbox exporter
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or name_of(rule))
def test_expressions_read_series_that_exist(rule: dict[str, Any]) -> None:
    """By labels that they have, and by values that begin at zero. An alert on a wrong name could never fire."""
    assert list(selectors(rule["expr"]))
    assert not list(faults(rule["expr"], SERIES))


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(stripe_none_total) > 0", "stripe_none_total does not exist"),
        ('rate(billing_webhook_responses_total{code="5xx"}[5m])', "billing_webhook_responses_total has no label code"),
        (
            'increase(billing_webhook_responses_total{status=~"2xx|500"}[5m] offset 1d) > 0 and on (job) up == 1',
            "billing_webhook_responses_total: status is never 500",
        ),
    ],
)
def test_a_wrong_expression_is_noticed(expression: str, fault: str) -> None:
    assert list(faults(expression, SERIES)) == [fault]


@each_alert
def test_an_alert_says_what_happened_and_what_to_do(alert: dict[str, Any]) -> None:
    """Its severity is one that routes know; its summary has the value, or the name of what is in that state."""
    assert alert["labels"]["severity"] in {"page", "ticket", "info"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert re.search(r"{{ (with )?\$(value|labels)\b", alert["annotations"]["summary"])
    assert "{{" not in alert["annotations"]["description"]


@each_alert
def test_the_runbook_has_a_section_for_an_alert(alert: dict[str, Any]) -> None:
    """At the address that the alert names."""
    assert section(alert["annotations"]["runbook_url"])


@each_alert
def test_tests_show_when_an_alert_fires_and_when_not(alert: dict[str, Any]) -> None:
    """Each with series that its expression reads: without any, every alert is quiet."""
    fires = [case for _, case in CASES if any(is_of(alert, each) for each in expected(alert, case))]
    quiet = [test for test, case in CASES if case["alertname"] == alert["alert"] and not case["exp_alerts"]]
    assert fires
    assert any(reads(alert, test) for test in quiet)


def expected(alert: dict[str, Any], case: dict[str, Any]) -> list[dict[str, str]]:
    """Return the labels of the alerts of this name that a case expects."""
    return [each["exp_labels"] for each in case["exp_alerts"]] if case["alertname"] == alert["alert"] else []


def is_of(alert: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether an alert with these labels comes from this rule, of several with the same name."""
    return alert["labels"].items() <= labels.items()


def reads(alert: dict[str, Any], test: dict[str, Any]) -> bool:
    """Return whether an alert depends on series of a test, by itself or by recorded ones."""
    recorded = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
    names = {name for name, _ in selectors(alert["expr"])}
    names |= {name for each in names & recorded.keys() for name, _ in selectors(recorded[each])}
    return any(given["series"].partition("{")[0] in names for given in test["input_series"])


def test_alertmanager_selects_alerts_that_exist() -> None:
    """By each of its matchers, and each name of them: one that no rule has would route or silence nothing."""
    routes = [route["matchers"] for route in ALERTMANAGER["route"]["routes"]]
    inhibitions = [
        matchers
        for each in ALERTMANAGER["inhibit_rules"]
        for matchers in (each["source_matchers"], each["target_matchers"])
    ]
    labels = [{"alertname": alert["alert"], **alert["labels"]} for alert in ALERTS]
    unknown = [
        wanted
        for matchers in [*routes, *inhibitions]
        for wanted in selections(matchers)
        if not any(wanted.items() <= each.items() for each in labels)
    ]
    assert unknown == []


def selections(matchers: list[str]) -> Iterator[dict[str, str]]:
    """Return every combination of labels that matchers of Alertmanager select; a regular expression lists values."""
    parsed = [re.fullmatch(r'(\w+)(?:=|=~)"([\w|]+)"', matcher) for matcher in matchers]
    named = [[(match[1], value) for value in match[2].split("|")] for match in parsed if match is not None]
    assert len(named) == len(matchers), matchers
    return map(dict, itertools.product(*named))


def test_the_page_of_alerts_is_up_to_date() -> None:
    """When this fails, run `python -m scripts.alerts_page`."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()
