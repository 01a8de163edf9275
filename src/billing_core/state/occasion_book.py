"""The occasions of a ledger: which are new, and which have to be announced."""

from collections.abc import Collection, Iterable, Sequence

from billing_core.model import (
    InvoiceSnapshot,
    PlanCatalog,
    SubscriptionInvoice,
    SubscriptionSnapshot,
    TenantId,
    TenantOccasion,
    TenantSubscription,
)
from billing_core.state.occasions import Occasion
from billing_core.state.reading import ClaimedEvent, Statement
from billing_core.state.renewals import keys_of_payment, renewal_by_payment
from billing_core.state.shelf import Shelf
from billing_core.state.visibility import Visibility


class OccasionBook:
    """The occasions of a batch, beside those that earlier batches kept."""

    def __init__(
        self,
        subscriptions: Shelf[TenantSubscription],
        invoices: Shelf[SubscriptionInvoice],
        *,
        visibility: Visibility,
        catalog: PlanCatalog,
        known: Iterable[tuple[TenantId, str]],
    ) -> None:
        self._subscriptions = subscriptions
        self._invoices = invoices
        self._visibility = visibility
        self._catalog = catalog
        self._known = set(known)
        self.kept: list[TenantOccasion] = []
        """The occasions that this batch adds."""

    def take(self, tenant_id: TenantId, statement: Statement, *, new_items: bool) -> Sequence[Occasion]:
        """Return the occasions of a folded statement that have to be announced; `keep` each then.

        One that is over, or that a replay reports, is kept at once. With `new_items` a subscription showed items that
        were not known: paid invoices that came earlier may bill them.
        """
        return [
            occasion
            for occasion in self._found(statement, new_items=new_items)
            if self._is_news(tenant_id, occasion, statement)
        ]

    def keep(self, tenant_id: TenantId, occasion: Occasion, sequence: int | None) -> None:
        """Keep an occasion with the number of its message, if it was announced."""
        self.kept.append(TenantOccasion(tenant_id=tenant_id, key=occasion.key, sequence=sequence))

    def _is_news(self, tenant_id: TenantId, occasion: Occasion, statement: Statement) -> bool:
        if (tenant_id, occasion.key) in self._known:
            return False
        self._known.add((tenant_id, occasion.key))
        shown = None if occasion.object_id is None else self._visibility.either(occasion.object_id)
        replayed = isinstance(statement, ClaimedEvent) and statement.claim.applied
        if replayed or occasion.is_over(shown):
            self.keep(tenant_id, occasion, None)
            return False
        return True

    def _found(self, statement: Statement, *, new_items: bool) -> Iterable[Occasion]:
        yield from statement.occasions
        for seen in statement.translation.snapshots:
            match seen:
                case SubscriptionSnapshot() if new_items:
                    for invoice in self._invoices.all():
                        if invoice.snapshot.subscription_id == seen.subscription_id:
                            yield from self._paid_renewal(invoice)
                case InvoiceSnapshot():
                    yield from self._paid_renewal(self._invoices.get(seen.invoice_id))

    def _paid_renewal(self, invoice: SubscriptionInvoice | None) -> Iterable[Occasion]:
        subscription_id = None if invoice is None else invoice.snapshot.subscription_id
        held = None if subscription_id is None else self._subscriptions.get(subscription_id)
        if invoice is None or held is None or held.tenant_id != invoice.tenant_id:
            return ()
        return _some(renewal_by_payment(held.snapshot, invoice.snapshot, self._catalog))


def possible_keys(statements: Iterable[Statement], invoices: Iterable[SubscriptionInvoice]) -> Collection[str]:
    """Return the keys of all occasions that a batch may report; `invoices` are the loaded ones."""
    keys: set[str] = set()
    for statement in statements:
        keys.update(occasion.key for occasion in statement.occasions)
        for seen in statement.translation.snapshots:
            if isinstance(seen, InvoiceSnapshot):
                keys |= keys_of_payment(seen)
    for invoice in invoices:
        keys |= keys_of_payment(invoice.snapshot)
    return keys


def _some(occasion: Occasion | None) -> Sequence[Occasion]:
    return () if occasion is None else (occasion,)
