"""Invoice items."""

from billing_stripe.testing import objects
from billing_stripe.testing.builders.prices import decimal, price
from billing_stripe.testing.builders.values import Json, seconds
from billing_stripe.testing.versions import Shape


def invoice_item(source: objects.InvoiceItem, api_version: str, *, transitional: bool = False) -> Json:
    """Render an `invoiceitem` object."""
    shape = Shape(api_version, transitional)
    rendered: Json = {
        "id": source.invoice_item_id,
        "object": "invoiceitem",
        "amount": source.amount,
        "currency": source.currency,
        "customer": source.customer_id,
        "date": seconds(source.created_at),
        "description": source.description,
        "discountable": not source.proration,
        "discounts": [],
        "invoice": source.invoice_id,
        "livemode": False,
        "metadata": dict(source.metadata),
        "period": {"end": seconds(source.period.end), "start": seconds(source.period.start)},
        "proration": source.proration,
        "quantity": source.quantity,
        "tax_rates": [],
        "test_clock": source.test_clock,
    }
    if shape.before_basil:
        rendered["price"] = None if source.price is None else price(source.price, api_version)
        rendered["subscription"] = source.subscription_id
    if shape.basil:
        rendered["parent"] = _parent(source)
        rendered["pricing"] = _pricing(source)
    if shape.customer_account:
        rendered["customer_account"] = None
        rendered["net_amount"] = source.amount
    if shape.dahlia:
        rendered["quantity_decimal"] = str(source.quantity)
    return rendered


def _parent(source: objects.InvoiceItem) -> Json | None:
    if source.subscription_id is None:
        return None
    details = {"subscription": source.subscription_id}
    if source.item_id is not None:
        details["subscription_item"] = source.item_id
    return {"subscription_details": details, "type": "subscription_details"}


def _pricing(source: objects.InvoiceItem) -> Json | None:
    if source.price is None:
        return None
    return {
        "price_details": {"price": source.price.price_id, "product": source.price.product_id},
        "type": "price_details",
        "unit_amount_decimal": decimal(source.price),
    }
