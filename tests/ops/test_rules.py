"""The rules are valid and fire when they should, and the examples are configurations that Prometheus takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ops.conftest import OPS, Tool

TESTS = sorted((OPS / "prometheus/tests").glob("*.yml"))


def test_the_rules_are_valid(promtool: Tool) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint-fatal", "prometheus/billing.rules.yml")


@pytest.mark.parametrize("test", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet(promtool: Tool, test: Path) -> None:
    """As the series in the file say."""
    promtool("test", "rules", str(test))


def test_the_example_of_a_configuration_is_valid(promtool: Tool) -> None:
    assert "billing.rules.yml" in promtool("check", "config", "prometheus/prometheus.yml")
