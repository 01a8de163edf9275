"""The example of Alertmanager sends each alert to those who should act."""

from __future__ import annotations

import pytest
import yaml
from tests.ops.conftest import OPS, Tool

CONFIGURATION = "alertmanager/alertmanager.yml"


def test_the_configuration_is_valid(amtool: Tool) -> None:
    assert "SUCCESS" in amtool("check-config", CONFIGURATION)


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=BillingEventsOverdue", "severity=page"], "pager"),
        (["alertname=BillingWebhooksSilent", "severity=page", "hours=business"], "pager"),
        (["alertname=BillingEventsDead", "severity=ticket"], "tickets"),
        (["alertname=BillingWebhookSecretUnused", "severity=info"], "digest"),
        (["alertname=SomeOtherAlert"], "tickets"),
    ],
)
def test_an_alert_reaches_its_receiver(amtool: Tool, labels: list[str], receiver: str) -> None:
    """By its severity; one of business hours takes the route with the time interval, which is the first."""
    amtool("config", "routes", "test", f"--config.file={CONFIGURATION}", f"--verify.receivers={receiver}", *labels)


def test_silence_pages_in_business_hours_only() -> None:
    """The first route that takes such an alert has a time interval; amtool ignores them."""
    routes = yaml.safe_load((OPS / CONFIGURATION).read_text(encoding="utf-8"))["route"]["routes"]
    first = next(route for route in routes if 'severity="page"' in route["matchers"])
    assert 'hours="business"' in first["matchers"]
    assert first["active_time_intervals"]
