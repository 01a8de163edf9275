"""The id of a preview: it holds what the customer agrees to, and nothing that moves by itself."""

from datetime import timedelta

import attrs
import pytest
from tests.unit.core.operations.accounts import account, item, subscription, usage_item

from billing_core.model import ItemId
from billing_core.operations.commands import SetSeats
from billing_core.operations.errors import OperationRefusedError
from billing_core.operations.previews import LASTS, preview_id, proration_date_of
from billing_core.operations.results import CommandPreview, InvoicePreview, PreviewLine
from billing_core.testing.builders import AT

SEEN = subscription(item("si_1", "pro"), usage_item("si_2", "pro_calls")).snapshot
COMMAND = SetSeats(subscription_id=SEEN.subscription_id, item_id=ItemId("si_1"), quantity=2, proration_date=AT)
LICENSED = PreviewLine(amount=1000, quantity=2, item_id=ItemId("si_1"))
USAGE = PreviewLine(amount=300, quantity=3000, item_id=ItemId("si_2"))
INVOICE = InvoicePreview(currency="usd", lines=(LICENSED,), subtotal=1000, tax=190, total=1190, amount_due=1190)


def id_of(invoice: InvoicePreview) -> str:
    return preview_id(account(), SEEN, COMMAND, CommandPreview(upcoming=invoice))


def test_usage_that_grows_changes_nothing() -> None:
    """Also of an item that stays as it is, which the command does not name; tax on it grows as well."""
    before = attrs.evolve(INVOICE, lines=(LICENSED, USAGE))
    after = attrs.evolve(before, lines=(LICENSED, attrs.evolve(USAGE, amount=301, quantity=3010)), tax=191)
    assert id_of(before) == id_of(after)


@pytest.mark.parametrize(
    "moved",
    [
        attrs.evolve(INVOICE, lines=(attrs.evolve(LICENSED, amount=1001),)),
        attrs.evolve(INVOICE, tax=200),
        attrs.evolve(INVOICE, discounts=("di_1",)),
        attrs.evolve(INVOICE, credit_left=1),
    ],
    ids=["amount", "tax", "discount", "credit"],
)
def test_whatever_the_customer_pays_changes_it(moved: InvoicePreview) -> None:
    """The customer agreed to something else."""
    assert id_of(moved) != id_of(INVOICE)


@pytest.mark.parametrize("age", [timedelta(), LASTS])
def test_its_instant_is_that_of_the_settlement(age: timedelta) -> None:
    """In whole seconds, while it is not too old."""
    assert proration_date_of(id_of(INVOICE), now=AT + age) == AT


@pytest.mark.parametrize("age", [LASTS + timedelta(seconds=1), -timedelta(minutes=2)], ids=["old", "future"])
def test_an_instant_that_is_far_away_is_refused(age: timedelta) -> None:
    """It would settle time that was used already, or was not paid for yet."""
    with pytest.raises(OperationRefusedError):
        proration_date_of(id_of(INVOICE), now=AT + age)
