"""Lines of invoices: what an item costs for a period, or for a part of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from billing_stripe.testing import objects
from billing_stripe.testing.fake_stripe.account import Account
from billing_stripe.testing.fake_stripe.billing.tiers import Part, parts_of
from billing_stripe.testing.fake_stripe.billing.usage import usage_of


def amount_of(price: objects.Price, quantity: int | Decimal | None) -> int:
    """Return the price of a quantity for one period, in the minor unit; halves are rounded up."""
    return rounded(sum((part.amount for part in parts_of(price, 1 if quantity is None else quantity)), Decimal(0)))


def rounded(amount: Decimal) -> int:
    """Round to the minor unit, halves away from zero."""
    return int(amount.quantize(Decimal(1), ROUND_HALF_UP))


def charges(
    account: Account, subscription: objects.Subscription, items: Iterable[objects.Item]
) -> list[objects.InvoiceLine]:
    """Return the lines for the periods of licensed items, which are billed in advance."""
    return [
        _line(
            account,
            subscription,
            item,
            rounded(part.amount),
            period=item.period,
            description=f"{part.quantity} × {name_of(account, item.price)} ({_pricing(item.price, part)})",
            quantity=part.quantity,
        )
        for item in items
        if not item.price.metered
        for part in parts_of(item.price, 1 if item.quantity is None else item.quantity)
    ]


def trial_lines(account: Account, subscription: objects.Subscription) -> list[objects.InvoiceLine]:
    """Return the lines of a trial, which cost nothing."""
    return [
        _line(
            account,
            subscription,
            item,
            0,
            period=item.period,
            description=f"Trial period for {name_of(account, item.price)}",
        )
        for item in subscription.items
        if not item.price.metered
    ]


def usage_lines(
    account: Account, subscription: objects.Subscription, items: Iterable[objects.Item], until: datetime
) -> list[objects.InvoiceLine]:
    """Return the lines for the usage of metered items, which is billed in arrears."""
    lines = []
    for item in items:
        if item.price.metered:
            period = objects.Span(item.period.start, min(item.period.end, until))
            used = usage_of(account, subscription.customer_id, item.price, period)
            lines += [
                _line(
                    account,
                    subscription,
                    item,
                    rounded(part.amount),
                    period=period,
                    description=f"{part.quantity} × {name_of(account, item.price)}"
                    + ("" if part.tier is None else f" ({_pricing(item.price, part)})"),
                    quantity=part.quantity,
                )
                for part in parts_of(item.price, used)
            ]
    return lines


def prorations(
    account: Account,
    subscription: objects.Subscription,
    after: Sequence[objects.Item],
    at: datetime,
) -> list[objects.InvoiceLine]:
    """Return credits for the unused time of items that change or go, and debits for the rest of the changed and new.

    Args:
        account: of the subscription.
        subscription: with its items before the change.
        after: its items after the change.
        at: the instant from which the new items count.
    """
    unchanged = {(item.item_id, item.price.price_id, item.quantity, item.period.end) for item in after} & {
        (item.item_id, item.price.price_id, item.quantity, item.period.end) for item in subscription.items
    }

    def changes(item: objects.Item) -> bool:
        key = (item.item_id, item.price.price_id, item.quantity, item.period.end)
        return key not in unchanged and not item.price.metered

    credits = [_part(account, subscription, item, at, sign=-1) for item in subscription.items if changes(item)]
    debits = [_part(account, subscription, item, at, sign=1) for item in after if changes(item)]
    return [line for line in (*credits, *debits) if line is not None]


def unused_time(account: Account, subscription: objects.Subscription, at: datetime) -> list[objects.InvoiceLine]:
    """Return credits for the unused time of all licensed items."""
    return prorations(account, subscription, (), at)


def name_of(account: Account, price: objects.Price) -> str:
    """Return the name of a price's product."""
    product = account.find(objects.Product, price.product_id)
    return price.product_id if product is None else product.name


def _part(
    account: Account, subscription: objects.Subscription, item: objects.Item, at: datetime, *, sign: int
) -> objects.InvoiceLine | None:
    """Return the line for the rest of an item's period; None if there is no rest."""
    start = max(at, item.period.start)
    rest, whole = item.period.end - start, item.period.end - item.period.start
    if rest.total_seconds() <= 0:
        return None
    share = Decimal(int(rest.total_seconds())) / Decimal(int(whole.total_seconds()))
    amount = sign * rounded(amount_of(item.price, item.quantity) * share)
    kind = "Unused" if sign < 0 else "Remaining"
    quantity = "" if item.quantity in (None, 1) else f"{item.quantity} × "
    text = f"{kind} time on {quantity}{name_of(account, item.price)} after {at:%d %b %Y}"
    rest_of_period = objects.Span(start, item.period.end)
    return _line(account, subscription, item, amount, period=rest_of_period, description=text, proration=True)


def _line(
    account: Account,
    subscription: objects.Subscription,
    item: objects.Item,
    amount: int,
    *,
    period: objects.Span,
    description: str,
    quantity: int | Decimal | None = None,
    proration: bool = False,
) -> objects.InvoiceLine:
    return objects.InvoiceLine(
        line_id=account.new_id("il"),
        amount=amount,
        price=item.price,
        period=period,
        quantity=item.quantity if quantity is None else quantity,
        subscription_id=subscription.subscription_id,
        item_id=item.item_id,
        proration=proration,
        description=description,
        metadata=subscription.metadata,
    )


def _pricing(price: objects.Price, part: Part) -> str:
    return f"at {_money(price)}" if part.tier is None else f"Tier {part.tier}"


def _money(price: objects.Price) -> str:
    """Return the amount and the interval as a line shows them."""
    if price.unit_amount is None:
        amount = f"{price.unit_amount_decimal} {price.currency}"
    elif price.currency == "usd":
        amount = f"${price.unit_amount / 100:.2f}"
    else:
        amount = f"{price.unit_amount} {price.currency}"
    return f"{amount} / {price.interval}"
