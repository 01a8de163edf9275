"""Checks the traffic of all fake Stripes of the process, and fails the test that caused what Stripe would not do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

from tests.stripe_openapi.checker import SpecificationChecker, first_lines, stripe_checker
from tests.stripe_openapi.differences import CHECKED_SINCE, unexplained
from tests.stripe_openapi.schemas import Finding

from billing_stripe.testing.fake_stripe import Exchange


class TrafficChecker:
    """An observer of fakes. A request that the fake refuses is not checked: tests send what is wrong on purpose."""

    def __init__(self) -> None:
        self.found: list[str] = []
        """One text per faulty request, answer or event."""
        self.explained: set[tuple[Finding, str]] = set()
        """Differences from the specification that are known, and the API versions they were met in."""

    @cached_property
    def _checker(self) -> SpecificationChecker:
        """Read when the first fake is used: most processes never use one."""
        return stripe_checker()

    def exchanged(self, exchange: Exchange) -> None:
        """Check a request and its answer."""
        version, method, path = exchange.api_version, exchange.method, exchange.path
        if version < CHECKED_SINCE:
            return
        refused = exchange.answer is not None and exchange.status in (400, 404)
        if not refused:
            body = exchange.body.decode()
            found = self._checker.check_request(method, path, query=exchange.query, body=body)
            self._note(f"request {method} {path}", found, version)
        if exchange.answer is not None:
            found = self._checker.check_answer(method, path, exchange.status, exchange.answer)
            self._note(f"answer {exchange.status} to {method} {path}", found, version)

    def sent(self, event: Mapping[str, Any]) -> None:
        """Check an event."""
        if event["object"] != "event":
            self._note(f"event {event['type']}", self._checker.check_object(event), CHECKED_SINCE)
        elif event["api_version"] >= CHECKED_SINCE:
            self._note(f"event {event['type']}", self._checker.check_event(event), event["api_version"])

    def take(self) -> list[str]:
        """Return what was found since the last call."""
        found, self.found = self.found, []
        return found

    def _note(self, subject: str, found: Iterable[Finding], api_version: str) -> None:
        all_found = list(found)
        wrong = unexplained(all_found, api_version)
        self.explained |= {(finding, api_version) for finding in all_found if finding not in wrong}
        if wrong:
            self.found.append(f"{subject} ({api_version}):\n{first_lines(wrong)}")


TRAFFIC: Final = TrafficChecker()
"""The one that tests/conftest.py lets observe all fakes."""
