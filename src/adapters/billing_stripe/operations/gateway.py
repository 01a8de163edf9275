"""The way from a command to Stripe: find its handler, and report failures truthfully."""

from collections.abc import Mapping
from typing import Any, Final

from billing_core.errors import GatewayDefectError, GatewayError, GatewayNotFoundError
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
            return await HANDLERS[type(command)].perform(steps, command)
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
