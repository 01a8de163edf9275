"""The Stripe events that tests read are what Stripe's specification describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from tests.stripe_openapi.checker import first_lines, stripe_checker
from tests.stripe_openapi.differences import CHECKED_SINCE, DIFFERENCES, Difference, unexplained
from tests.stripe_openapi.schemas import Finding

FOLDER = Path(__file__).parents[1] / "fixtures" / "stripe"
VERSIONS = sorted(folder.name for folder in FOLDER.iterdir() if folder.name >= CHECKED_SINCE)
FIXTURES = sorted(path for version in VERSIONS for path in (FOLDER / version).iterdir())


@lru_cache(maxsize=1)
def all_findings() -> list[tuple[Finding, str]]:
    """All that the specification says about the fixtures, with the version of the file."""

    def each() -> Iterator[tuple[Finding, str]]:
        for path in FIXTURES:
            for finding in stripe_checker().check_event(json.loads(path.read_bytes())):
                yield finding, path.parent.name

    return list(each())


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_fixtures_are_events_that_stripe_could_send(path: Path) -> None:
    """An event has all that the specification requires, nothing that it does not know, and values of its types."""
    found = unexplained(stripe_checker().check_event(json.loads(path.read_bytes())), path.parent.name)
    assert not found, first_lines(found)


@pytest.mark.parametrize(
    "difference",
    [known.only(field) for known in DIFFERENCES for field in known.fields],
    ids=lambda known: f"{known.subject} {'.'.join(known.fields)} {known.problem}",
)
def test_known_differences_are_still_needed(difference: Difference) -> None:
    """A difference that no fixture shows any more is deleted from the list."""
    assert any(difference.covers(finding, version) for finding, version in all_findings())
