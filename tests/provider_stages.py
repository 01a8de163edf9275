"""The stages of the suites about commands: the provider in memory."""

from collections.abc import Sequence

from billing_core.errors import GatewayUnavailableError
from billing_core.model import CustomerId, SubscriptionSnapshot
from billing_core.operations.commands import PriceChoice
from billing_core.testing.operations.provider_stage import Behavior
from billing_memory.operations.fake_gateway import FakeGateway


class MemoryStage:
    """Arranges the provider in memory."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    def price(self, name: str, *, amount: int, metered: bool = False) -> PriceChoice:
        self._gateway.add_price(name, unit_amount=amount, metered=metered)
        return PriceChoice(plan_code=name, role="metered" if metered else "base", lookup_key=name)

    def unknown_price(self) -> PriceChoice:
        self._gateway.refuse_price("unknown")
        return PriceChoice(lookup_key="unknown")

    async def card(self, customer_id: CustomerId, behavior: Behavior = "pays") -> str:
        return self._gateway.add_payment_method(customer_id, behavior=behavior)

    async def subscriptions(self, customer_id: CustomerId) -> Sequence[SubscriptionSnapshot]:
        return [each for each in self._gateway.subscriptions.values() if each.customer_id == customer_id]

    def lose_answer(self, *, call: int = 1) -> None:
        self._gateway.fail(GatewayUnavailableError("cut off", outcome_unknown=True), carried_out=True)

    def be_unavailable(self) -> None:
        self._gateway.fail(GatewayUnavailableError("no connection"))
