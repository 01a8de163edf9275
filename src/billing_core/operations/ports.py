"""Ports of operations. The docstrings are the contracts."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from billing_core.model import CustomerId, InvoiceId, SubscriptionId, SubscriptionSnapshot, TenantId
from billing_core.operations.call_limits import CallRefusal, Priority
from billing_core.operations.commands import Command, PriceChoice
from billing_core.operations.results import (
    BillingContact,
    Checkout,
    CommandPreview,
    CreditBalance,
    CustomerPaymentMethod,
    InvoicePreview,
    Performed,
    PromotionCode,
)
from billing_core.operations.stored import Begun, OperationBacklog, OperationRequest, Resolution, StoredOperation


@runtime_checkable
class OperationGateway(Protocol):
    """Carries out commands at the provider.

    Raises: the errors of `billing_core.errors.GatewayError`. `outcome_unknown` says whether anything of the command may
    have been carried out; without it, nothing of it is in force: what an earlier call of the same command did was
    undone. The adapter has already retried where that helps, and gives up after a timeout of its own.
    """

    async def perform(self, command: Command, key: str) -> Performed:
        """Carry out a command.

        The idempotency key of each call is `{key}.{step}`, with steps counted from 1. Performing a command again with
        the same key sends the same calls, and does nothing a second time within a day. What is made carries `key` as
        `billing_operation` in its metadata.

        The result is that of the first time. A subscription or an invoice is shown as it is now: where the provider
        repeats an earlier answer, the object is read again. If it cannot be read, the outcome is unknown.

        Raises: GatewayError with `replayed` where the provider's stored answer is a failure of its own (a stored 500):
        the key is of no use any more, and `find_out` tells what happened.
        """
        ...

    async def find_out(self, command: Command, key: str) -> Performed | None:
        """Tell by reading alone whether a command that was sent earlier was carried out; None if it surely was not.

        What is made is found by its metadata; a change by comparing the object with what was wanted. A result without
        its client secret or URL is enough. A command that was carried out in part only counts as not carried out.
        Raises: GatewayError if that cannot be found out now.
        """
        ...


@runtime_checkable
class PreviewGateway(Protocol):
    """Asks the provider what a command would cost. Only reads. Raises: as `OperationGateway`."""

    async def preview(self, command: Command) -> CommandPreview:
        """Return the invoices that follow from starting, changing or scheduling; as of the command's proration date.

        Other commands have no preview: ValueError.
        """
        ...

    async def upcoming(self, subscription_id: SubscriptionId, prices: Sequence[PriceChoice]) -> InvoicePreview | None:
        """Return the next invoice of a subscription as it stands; None if none follows, since it ends.

        Lines are named by those of `prices`, which are its items' as the catalog reads them.
        """
        ...


@runtime_checkable
class BillingReader(Protocol):
    """Reads from the provider what is not part of a tenant's state. Raises: as `OperationGateway`."""

    async def payment_methods(self, customer_id: CustomerId) -> Sequence[CustomerPaymentMethod]:
        """Return all saved payment methods of a customer, the default one first."""
        ...

    async def billing_contact(self, customer_id: CustomerId) -> BillingContact | None:
        """Return the contact and tax ids of a customer; None if it is unknown or deleted."""
        ...

    async def credit_balance(self, customer_id: CustomerId, currency: str) -> CreditBalance:
        """Return the credit of a customer in one currency."""
        ...

    async def promotion_code(self, code: str, customer_id: CustomerId | None) -> PromotionCode | None:
        """Return the promotion code that customers write like this; None if there is none.

        Upper and lower case are the same. `usable` is told for this customer.
        """
        ...

    async def open_checkout_sessions(self, customer_id: CustomerId, tenant_id: TenantId) -> Sequence[str]:
        """Return the ids of all sessions of a customer that start a subscription and are still open.

        Those whose metadata names another tenant are left out: a customer may pay for several.
        """
        ...

    async def subscriptions_of(self, customer_id: CustomerId, tenant_id: TenantId) -> Sequence[SubscriptionSnapshot]:
        """Return all subscriptions of a customer as they are now, ended ones too, also before any event shows them.

        Those whose metadata names another tenant are left out.
        """
        ...

    async def checkout(self, session_id: str) -> Checkout | None:
        """Return a checkout session with the subscription that it started; None if it is unknown."""
        ...

    async def invoice_pdf(self, invoice_id: InvoiceId) -> str | None:
        """Return a link to the PDF of an invoice; None if there is none, as for a draft."""
        ...


@runtime_checkable
class OperationLog(Protocol):
    """The decisions that were sent to the provider, each stored before it was sent.

    Of the operations about one subject at most one is unresolved. The process that works on it has a lease, named by
    the operation's id and its attempts; when it runs out, any process may take the operation over. All times are the
    store's.

    Raises: StoreUnavailableError.
    """

    async def begin(self, request: OperationRequest, *, lease: timedelta) -> Begun:
        """Store a request unless it is known, and lease it, or say why that is not possible.

        A new request, and one whose last try was resolved as not done, begins a new try. One that was done, refused or
        given up is returned as it is. An unresolved one is leased if no lease on it is running.

        Raises: IdempotencyConflictError if the request is known with other arguments.
        """
        ...

    async def plan(self, operation: StoredOperation, command: Command, *, lease: timedelta) -> StoredOperation:
        """Store the command of a leased operation, before anything of it is sent, and begin its lease again.

        Raises: LeaseLostError. Nothing is stored then.
        """
        ...

    async def resolve(self, operation: StoredOperation, resolution: Resolution) -> bool:
        """Store the outcome of a leased operation. False, and nothing changes, if the lease was lost.

        Contact details in its command are deleted: they are at the provider, and no caller needs them any more.
        """
        ...

    async def withdraw(self, operation: StoredOperation) -> None:
        """Delete a leased operation that has no command: nothing was sent. Nothing happens if the lease was lost."""
        ...

    async def release(self, operation: StoredOperation, *, due_in: timedelta, error: str | None = None) -> None:
        """Give up the lease of an operation whose outcome is unknown; it is due to be settled after `due_in`.

        `error` is the reason, kept as `last_error`.

        Callers may take it over at once. Nothing happens if the lease was lost.
        """
        ...

    async def claim_due(self, *, lease: timedelta, limit: int) -> Sequence[StoredOperation]:
        """Lease unresolved operations that are due and not leased, the longest due first.

        One that was not released is due when its lease runs out.
        """
        ...

    async def find(self, key: str) -> StoredOperation | None:
        """Return the operation with an idempotency key, whatever its status; None if there is none. Only reads."""
        ...

    async def give_up(self, operation: StoredOperation, *, actor: str, reason: str) -> bool:
        """End an unresolved operation as given up: its subject is free, and its request is answered with `GIVEN_UP`.

        False, and nothing changes, if it is leased, or not as it was read any more. Contact details are deleted as by
        `resolve`.
        """
        ...

    async def prune(self, *, older_than: timedelta, limit: int) -> int:
        """Delete up to `limit` operations that were resolved longer ago; return how many rows were deleted.

        So many notes of events that operations caused (`UnitOfWork`) are deleted too, if the events were received
        longer ago. Unresolved operations are never deleted. The request id of a deleted operation is free again.
        """
        ...

    async def unresolved(self, *, limit: int) -> Sequence[StoredOperation]:
        """Return unresolved operations, leased ones too, the oldest first. Only reads."""
        ...

    async def backlog(self) -> OperationBacklog:
        """Count the same operations, at a cost by how many they are."""
        ...


@runtime_checkable
class CallLimiter(Protocol):
    """Counts the calls to the provider, over all processes of one key. See `CallLimits`.

    Endpoints are told apart by name. Raises: EventBusUnavailableError where the count is elsewhere.
    """

    async def enter(self, call: str, endpoint: str, priority: Priority) -> CallRefusal | None:
        """Count one more call and return None, or return the refusal. A refused call counts towards no limit.

        `call` is unique over all processes.
        """
        ...

    async def leave(self, call: str, endpoint: str) -> None:
        """Stop counting a call as in flight. Nothing happens if it is unknown."""
        ...

    async def slow_down(self, endpoint: str | None) -> None:
        """Halve the limits of an endpoint, or the rate of all calls, for `CallLimits.slowed_for`.

        The provider refused a call for load. Further ones within that time halve them again, to an eighth at most, and
        extend it; several within a second count once.
        """
        ...
