"""The way from a command to Stripe: find its handler, and report failures truthfully."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from billing_core.errors import GatewayDefectError, GatewayError, GatewayNotFoundError
from billing_core.model import InvoiceSnapshot, SubscriptionSnapshot
from billing_core.operations.commands import Command
from billing_core.operations.results import Performed
from billing_stripe.client import StripeClient
from billing_stripe.operations import (
    changing,
    customers,
    ending,
    pages,
    pausing,
    payment_methods,
    payments,
    schedules,
    starting,
)
from billing_stripe.operations.answers import invoice_in, subscription_in
from billing_stripe.operations.prices import PriceBook
from billing_stripe.operations.steps import Handler, Steps

HANDLERS: Final[Mapping[type, Handler[Any]]] = {
    **starting.HANDLERS,
    **changing.HANDLERS,
    **schedules.HANDLERS,
    **ending.HANDLERS,
    **pausing.HANDLERS,
    **customers.HANDLERS,
    **payment_methods.HANDLERS,
    **pages.HANDLERS,
    **payments.HANDLERS,
}
"""Every command's handler."""


class StripeOperations:
    """An `OperationGateway`."""

    def __init__(self, client: StripeClient, prices: PriceBook) -> None:
        self._client = client
        self._prices = prices

    async def perform(self, command: Command, key: str) -> Performed:
        """See OperationGateway."""
        steps = self._steps(command, key)
        try:
            outcome = await HANDLERS[type(command)].perform(steps, command)
            return await _as_it_is_now(steps, outcome) if steps.repeated else outcome
        except GatewayError as error:
            truth = await steps.failed(error)
            if truth is not error:
                raise truth from error
            raise
        except Exception as bug:
            text = f"{command.operation}: {type(bug).__name__}"
            raise GatewayDefectError(text, outcome_unknown=steps.sent) from bug

    async def find_out(self, command: Command, key: str) -> Performed | None:
        """See OperationGateway. Of an object that Stripe does not know nothing was made or changed."""
        try:
            return await HANDLERS[type(command)].find_out(self._steps(command, key), command)
        except GatewayNotFoundError:
            return None

    def _steps(self, command: Command, key: str) -> Steps:
        return Steps(self._client, self._prices, key, plan_code=command.plan_code)


async def _as_it_is_now(steps: Steps, outcome: Performed) -> Performed:
    """Return an outcome with its subscription or invoice as Stripe shows it now, or without it if it is gone.

    Raises: GatewayError with `outcome_unknown`: the command is in force, and performing it again reads once more.
    """
    try:
        match outcome.snapshot:
            case SubscriptionSnapshot(subscription_id=name):
                answer = await steps.read("fetch_subscription", name, params={"expand": ["schedule"]})
                return attrs.evolve(outcome, snapshot=subscription_in(answer.data), answered_at=answer.answered_at)
            case InvoiceSnapshot(invoice_id=name):
                answer = await steps.read("fetch_invoice", name)
                return attrs.evolve(outcome, snapshot=invoice_in(answer.data), answered_at=answer.answered_at)
            case _:
                return outcome  # of a customer only the id is used
    except GatewayNotFoundError:
        return attrs.evolve(outcome, snapshot=None, answered_at=None)
    except GatewayError as error:
        error.outcome_unknown = True
        raise
