"""The provider as the suites about commands arrange it: prices, cards, and lost answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Protocol

from billing_core.model import CustomerId, InvoiceId, ItemSnapshot, SubscriptionId, SubscriptionSnapshot, TenantId
from billing_core.operations.commands import (
    ChangeItems,
    CreateCustomer,
    ItemChange,
    NewItem,
    PriceChoice,
    StartSubscription,
)
from billing_core.operations.ports import OperationGateway

TENANT: Final = TenantId("acme")
Behavior = Literal["pays", "declines", "asks"]


class ProviderStage(Protocol):
    """Arranges what commands cannot, and shows their effects."""

    def price(self, name: str, *, amount: int, metered: bool = False) -> PriceChoice:
        """Make sure that there is a monthly price in US dollars, and return how commands name it.

        Prices that were not arranged may be refused.
        """
        ...

    async def card(self, customer_id: CustomerId, behavior: Behavior = "pays") -> str:
        """Attach a card that pays, declines when it is charged, or asks the customer first. It becomes the default."""
        ...

    async def subscriptions(self, customer_id: CustomerId) -> Sequence[SubscriptionSnapshot]:
        """Return all subscriptions of a customer, ended ones too, the oldest first."""
        ...

    async def own_card(self, subscription_id: SubscriptionId) -> str:
        """Give a subscription a default payment method of its own, which outranks the customer's."""
        ...

    async def open_invoice(self, customer_id: CustomerId) -> InvoiceId:
        """Return the last invoice of the customer that is open."""
        ...

    def now(self) -> datetime:
        """Return the provider's time."""
        ...

    async def complete_checkout(self, session_id: str) -> None:
        """Complete a checkout as the customer does on its page, with a card that pays."""
        ...

    def set_up_portal(self) -> None:
        """Give the portal the configuration that set-up makes."""
        ...

    async def last_total(self, customer_id: CustomerId) -> int:
        """Return the total of the customer's last invoice."""
        ...

    def promotion_code(self, code: str, *, percent_off: int, active: bool = True) -> str:
        """Add a promotion code and return its id."""
        ...

    def lose_answer(self, *, call: int = 1) -> None:
        """Let the next command be carried out up to that call and this one included, but lose its answer."""
        ...

    def be_unavailable(self) -> None:
        """Let the provider refuse the next command before anything is carried out, as if it were not there."""
        ...

    def unknown_price(self) -> PriceChoice:
        """Return the name of a price that the provider does not know."""
        ...


BASE: Final = "base"
SEATS: Final = "seats"
BIGGER: Final = "bigger"
USAGE: Final = "usage"
AMOUNTS: Final = {BASE: 1900, SEATS: 500, BIGGER: 4900}


def base(stage: ProviderStage) -> NewItem:
    """Return an item of the smaller plan."""
    return NewItem(price=stage.price(BASE, amount=AMOUNTS[BASE]), quantity=1)


def seats(stage: ProviderStage, quantity: int) -> NewItem:
    """Return an item of seats."""
    return NewItem(price=stage.price(SEATS, amount=AMOUNTS[SEATS]), quantity=quantity)


def bigger(stage: ProviderStage) -> NewItem:
    """Return an item of the bigger plan."""
    return NewItem(price=stage.price(BIGGER, amount=AMOUNTS[BIGGER]), quantity=1)


def usage(stage: ProviderStage) -> NewItem:
    """Return a metered item."""
    return NewItem(price=stage.price(USAGE, amount=1, metered=True))


async def create_customer(
    gateway: OperationGateway, stage: ProviderStage, key: str = "bo_customer", *, card: Behavior | None = "pays"
) -> CustomerId:
    """Create a customer, with a card if one is wanted."""
    performed = await gateway.perform(CreateCustomer(tenant_id=TENANT, email="team@example.com"), key)
    customer_id = CustomerId(str(performed.result.object_id))
    if card is not None:
        await stage.card(customer_id, card)
    return customer_id


async def start(
    gateway: OperationGateway,
    stage: ProviderStage,
    *items: NewItem,
    customer_id: CustomerId | None = None,
    key: str = "bo_start",
) -> SubscriptionSnapshot:
    """Start a subscription that is paid."""
    customer_id = customer_id or await create_customer(gateway, stage)
    command = StartSubscription(
        tenant_id=TENANT, customer_id=customer_id, items=items or (base(stage), seats(stage, 5)), payment="on_file"
    )
    await gateway.perform(command, key)
    return (await stage.subscriptions(customer_id))[-1]


async def unpaid_upgrade(gateway: OperationGateway, stage: ProviderStage) -> tuple[SubscriptionSnapshot, InvoiceId]:
    """Start the smaller plan, and change to the bigger one with a card that declines; return the open invoice."""
    subscription = await start(gateway, stage, base(stage))
    await stage.card(subscription.customer_id, "declines")
    change = ItemChange(item_id=subscription.items[0].item_id, price=bigger(stage).price, quantity=1)
    command = ChangeItems(subscription_id=subscription.subscription_id, changed=(change,))
    await gateway.perform(command, "bo_upgrade")
    return subscription, await stage.open_invoice(subscription.customer_id)


async def current(stage: ProviderStage, subscription: SubscriptionSnapshot) -> SubscriptionSnapshot:
    """Return a subscription as it is now."""
    found = await stage.subscriptions(subscription.customer_id)
    return next(each for each in found if each.subscription_id == subscription.subscription_id)


def item_of(subscription: SubscriptionSnapshot, item: NewItem) -> ItemSnapshot:
    """Return the item of a subscription that has the price of another."""
    price = item.price
    return next(
        each
        for each in subscription.items
        if each.price_id == price.price_id or (price.lookup_key is not None and each.lookup_key == price.lookup_key)
    )


def billed(subscription: SubscriptionSnapshot) -> list[tuple[int | None, int | None]]:
    """Return unit amount and quantity of each item, sorted."""
    rows = [(item.unit_amount, item.quantity) for item in subscription.items]
    return sorted(rows, key=lambda row: (row[0] or 0, row[1] or 0))


def end_of(subscription: SubscriptionSnapshot) -> datetime:
    """Return the end of the current period."""
    end = subscription.current_period_end
    if end is None:
        raise LookupError(f"{subscription.subscription_id} has no period")
    return end
