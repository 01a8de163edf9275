"""The dashboard is made from the panels, and they show series that exist."""

from __future__ import annotations

import json
from typing import Final

import pytest
import yaml
from scripts.alerts_page import RULES
from scripts.dashboard import DOCUMENT, render
from scripts.dashboard_panels import expressions
from tests.promql import exported, faults

from billing_telemetry.declaring import Label

JOB: Final = Label("job", others="any")
RECORDED: Final = {
    rule["record"]: {"job": JOB}
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "record" in rule
}


def test_the_dashboard_is_made_from_its_panels() -> None:
    """When this fails, run `python -m scripts.dashboard`."""
    assert DOCUMENT.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("expression", expressions(job="billing"))
def test_panels_show_series_that_exist(expression: str) -> None:
    """An empty panel would look like a quiet system."""
    assert not list(faults(expression, {**exported(), **RECORDED}))


def test_every_query_of_the_dashboard_is_one_of_the_panels() -> None:
    """So that the tests above, and the one with a real Prometheus, see all of them."""
    panels = json.loads(render())["panels"]
    shown = [target["expr"].replace("$job", "billing") for panel in panels for target in panel.get("targets", ())]
    assert [each.replace("$__rate_interval", "5m") for each in shown] == expressions(job="billing")
