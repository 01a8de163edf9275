"""The checks of consumers by `billing doctor`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from billing_app.doctor.consumers import check_consumers
from billing_app.doctor.results import CheckStatus
from billing_app.troubleshooting import ConsumerTrouble, Trouble
from billing_core.consumers.ports import ConsumerStanding, Lag, RegisteredConsumer
from billing_core.consumers.values import Consumer, consumer_name
from billing_core.testing.builders import AT

ENABLED = RegisteredConsumer(consumer=Consumer(name=consumer_name("crm")), registered_at=AT)
DISABLED = attrs.evolve(ENABLED, disabled_at=AT, disabled_reason="The receiver answered 410.")


def standing(registered: RegisteredConsumer = ENABLED, **lag: Any) -> ConsumerStanding:
    return ConsumerStanding(registered=registered, lag=Lag(**lag), waiting=3, skipped=0)


def test_nothing_is_said_without_consumers() -> None:
    """Most deployments have none."""
    assert list(check_consumers([])) == []


def test_consumers_that_keep_up_are_fine() -> None:
    """Up to ten minutes of lag is a deployment, not a fault."""
    (result,) = check_consumers([standing(oldest=timedelta(minutes=10))])
    assert (result.status, result.detail) == (CheckStatus.OK, "1 consumers are enabled, and none is late")


@pytest.mark.parametrize(
    ("found", "trouble", "detail"),
    [
        (
            standing(DISABLED, oldest=timedelta(hours=1)),
            ConsumerTrouble.CONSUMER_IS_DISABLED,
            "consumer crm is disabled (The receiver answered 410); 3 tenants wait",
        ),
        (
            standing(held=2, oldest=timedelta(hours=1)),
            ConsumerTrouble.TENANTS_ARE_HELD_BACK,
            "a dead message holds back 2 tenants of consumer crm",
        ),
        (
            standing(oldest=timedelta(minutes=11)),
            ConsumerTrouble.MESSAGES_WAIT_FOR_A_CONSUMER,
            "the oldest message for consumer crm has waited 11 min",
        ),
    ],
)
def test_each_fault_names_its_remedy(found: ConsumerStanding, trouble: Trouble, detail: str) -> None:
    """One warning for one cause: a disabled consumer is late as well, and only the first has to be repaired."""
    (result,) = check_consumers([found, standing()])
    assert (result.status, result.trouble, result.detail) == (CheckStatus.WARN, trouble, detail)
    assert result.remedy is not None
    assert "billing consumers" in result.remedy
