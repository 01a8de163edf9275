"""Payment methods of customers, as far as events show them."""

from typing import ClassVar

import attrs

from billing_core.model.ordering import Ordered


@attrs.frozen(kw_only=True)
class PaymentMethodSnapshot(Ordered):
    """A card, an account or another way to pay. Numbers are never kept, only what people recognize it by."""

    kind: ClassVar[str] = "payment_method"

    payment_method_id: str
    type: str | None = None
    brand: str | None = None
    """The brand of a card, the name of a bank."""
    last4: str | None = None
    """The last digits of the card or account."""
    exp_month: int | None = None
    exp_year: int | None = None
    detached: bool = False

    @property
    def object_id(self) -> str:
        """The provider's id."""
        return self.payment_method_id

    @property
    def precedence(self) -> int:
        """One that was detached from its customer is never attached again."""
        return 1 if self.detached else 0
