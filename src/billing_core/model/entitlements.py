"""The features that a customer is entitled to."""

from collections.abc import Iterable
from typing import ClassVar, Final

import attrs

from billing_core.model.identifiers import CustomerId
from billing_core.model.ordering import Ordered

_PREFIX: Final = "entitlements:"


def entitled_customer(object_id: str) -> CustomerId:
    """Return the customer whose entitlements have this object id."""
    return CustomerId(object_id.removeprefix(_PREFIX))


def _sorted(features: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(features)))


@attrs.frozen(kw_only=True)
class EntitlementsSnapshot(Ordered):
    """All features of one customer. The provider gives that list no id; it has no stages, it grows and shrinks."""

    kind: ClassVar[str] = "entitlements"
    refetchable: ClassVar[bool] = True

    customer_id: CustomerId
    features: tuple[str, ...] = attrs.field(converter=_sorted)
    """Lookup keys, sorted, so that equal content is equal."""
    complete: bool = True
    """False while the provider's payload holds only the first page."""

    @property
    def object_id(self) -> str:
        """An id of our own."""
        return f"{_PREFIX}{self.customer_id}"

    @property
    def partial(self) -> bool:
        """The rest of the list is on pages that the event does not carry."""
        return not self.complete
