"""The Stripe events that tests read are what Stripe's specification describes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.referee.fixtures import FIXTURES
from tests.stripe_openapi.checker import first_lines, stripe_checker
from tests.stripe_openapi.differences import unexplained


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_fixtures_are_events_that_stripe_could_send(path: Path) -> None:
    """An event has all that the specification requires, nothing that it does not know, and values of its types."""
    found = unexplained(stripe_checker().check_event(json.loads(path.read_bytes())), path.parent.name)
    assert not found, first_lines(found)
