"""Checks of consumers: disabled ones, tenants that are held back, and messages that wait."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from billing_app.doctor.results import CheckResult, ok, warn
from billing_app.troubleshooting import ConsumerTrouble
from billing_core.consumers.ports import ConsumerStanding

_LATE: Final = timedelta(minutes=10)
"""Warn when a message of an enabled consumer has waited longer than this."""


def check_consumers(standings: Sequence[ConsumerStanding]) -> Iterator[CheckResult]:
    found = [result for standing in standings for result in _check(standing)]
    if not found and standings:
        found = [ok("consumers", f"{len(standings)} consumers are enabled, and none is late")]
    yield from found


def _check(standing: ConsumerStanding) -> Iterator[CheckResult]:
    name, registered, lag = standing.registered.consumer.name, standing.registered, standing.lag
    if registered.disabled_at is not None:
        reason = (registered.disabled_reason or "").rstrip(".")
        detail = f"consumer {name} is disabled ({reason}); {standing.waiting} tenants wait"
        remedy = f"Repair it, then run `billing consumers enable {name}`: messages wait, and are handed over in order."
        yield warn("consumers", detail, remedy, ConsumerTrouble.CONSUMER_IS_DISABLED)
    if lag.held:
        detail = f"a dead message holds back {lag.held} tenants of consumer {name}"
        remedy = f"Run `billing consumers show {name} --held`, fix the cause, then retry or skip the messages."
        yield warn("consumers", detail, remedy, ConsumerTrouble.TENANTS_ARE_HELD_BACK)
    if registered.disabled_at is None and not lag.held and lag.oldest > _LATE:
        minutes = lag.oldest // timedelta(minutes=1)
        detail = f"the oldest message for consumer {name} has waited {minutes} min"
        remedy = f"Check that its handler or `billing worker` runs, and look at `billing consumers show {name}`."
        yield warn("consumers", detail, remedy, ConsumerTrouble.MESSAGES_WAIT_FOR_A_CONSUMER)
