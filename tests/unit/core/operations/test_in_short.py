"""Operations in short: one line each, for tenants with one subscription."""

from __future__ import annotations

import pytest
from tests.unit.core.operations.test_operations_page import operations

from billing_core.model import TenantId
from billing_core.operations.decisions.starting import NewSubscription
from billing_core.operations.errors import IdempotencyConflictError, OperationRefusedError
from billing_core.operations.facade import Operations
from billing_core.operations.requests import Caller


async def subscribed(plan_code: str = "team", seats: int | None = 3) -> Operations:
    """Return operations with a tenant acme that has one subscription."""
    ours = operations()
    caller = Caller(tenant_id=TenantId("acme"), request_id="start", actor="test")
    wanted = NewSubscription(plan_code=plan_code, seats=seats)
    outcome = await ours.subscriptions.start(caller, wanted, payment="on_file")
    assert outcome.result.status == "done"
    return ours


async def test_a_checkout_and_the_portal_have_an_address() -> None:
    """To which the application sends the browser."""
    ours = operations()
    page = await ours.start_checkout(
        "acme", "team", success_url="https://app.example/done", seats=4, email="a@b.example"
    )
    assert page.result.url is not None
    portal = await ours.open_portal("acme", return_url="https://app.example")
    assert portal.result.url is not None


async def test_the_only_subscription_is_the_one_that_changes() -> None:
    """Its seats, its plan and its end, and back."""
    ours = await subscribed()
    for outcome, status in (
        (await ours.set_seats("acme", 5), "done"),
        (await ours.cancel("acme"), "pending"),
        (await ours.keep("acme"), "done"),
        (await ours.change_plan("acme", "pro", when="now"), "done"),
        (await ours.cancel("acme", now=True), "done"),
    ):
        assert outcome.result.status == status
    with pytest.raises(OperationRefusedError) as caught:
        await ours.cancel("acme")
    assert caught.value.code == "no_subscription"


async def test_each_call_is_a_decision_unless_it_is_named() -> None:
    """A named one happens once, and means the same every time."""
    ours = await subscribed()
    first = await ours.set_seats("acme", 5, request_id="form-1")
    again = await ours.set_seats("acme", 5, request_id="form-1")
    assert (first.repeated, again.repeated) == (False, True)
    with pytest.raises(IdempotencyConflictError):
        await ours.set_seats("acme", 6, request_id="form-1")
    assert not (await ours.set_seats("acme", 6)).repeated


async def test_among_several_subscriptions_one_has_to_be_named() -> None:
    """Nothing is guessed where money is concerned."""
    ours = await subscribed()
    caller = Caller(tenant_id=TenantId("acme"), request_id="support", actor="test")
    other = await ours.subscriptions.start(caller, NewSubscription(plan_code="support"), payment="on_file")
    with pytest.raises(ValueError, match="has 2 subscriptions"):
        await ours.set_seats("acme", 5)
    outcome = await ours.cancel("acme", subscription_id=other.result.object_id, now=True)
    assert outcome.result.object_id == other.result.object_id
