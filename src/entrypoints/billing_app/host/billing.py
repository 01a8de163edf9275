"""Billing inside an application: one object to hold."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from billing_app.host import streams
from billing_app.host.errors import TooManyStreamsError
from billing_app.host.hooks import Function, Hook
from billing_app.host.openable import OpenableBilling
from billing_app.host.webhooks import BILLING_DISABLED, WebhookAnswer, unavailable
from billing_app.settings import Settings
from billing_core import payloads
from billing_core.consumers.values import Start
from billing_core.entitlements.service import Entitlements
from billing_core.errors import ConfigurationError, StoreUnavailableError
from billing_core.events import Receipt
from billing_core.model import AccessVerdict, FeatureVerdict, TenantEntitlements, TenantId
from billing_core.operations.facade import Operations
from billing_core.payloads import BillingEventPayload, StatePayload
from billing_core.state.ports import Clock


class Billing(OpenableBilling):
    """Billing inside an application. It is made when the application is imported, and opened when it starts.

    `async with billing:` opens and closes it, as often as needed, in any event loop. With ENABLE_BILLING=false nothing
    is opened: `enabled` is False, webhooks are answered 404, and everything else raises BillingDisabledError.
    """

    # --- webhooks -----------------------------------------------------------------------------------------------

    async def receive(self, body: bytes, signature: str) -> Receipt:
        """Store a webhook: its raw bytes, and the header Stripe-Signature. Processing follows, outside this call.

        Raises: WebhookBodyTooLargeError (answer 413), any other WebhookError (400), StoreUnavailableError (503), and
            BillingDisabledError. `answer_webhook` does all of it.
        """
        return await self._webhooks.receive(self._open_lifetime.opened, body, signature)

    async def answer_webhook(
        self, body: bytes | AsyncIterable[bytes], signature: str | None, *, address: str | None = None
    ) -> WebhookAnswer:
        """Store a webhook and return its answer: body, status and headers, the same as those of `billing serve`.

        Args:
            body: the raw bytes. An iterator over the request's body is read up to BILLING_BODY_LIMIT_BYTES, within
                BILLING_READ_TIMEOUT_SECONDS.
            signature: the header Stripe-Signature; None if there is none.
            address: the sender's address, for the log of refused webhooks.
        """
        if not self.enabled:
            return BILLING_DISABLED
        try:
            opened = self._open_lifetime.opened
        except StoreUnavailableError:
            return unavailable()
        return await self._webhooks.answer(opened, body, signature, address)

    # --- questions ----------------------------------------------------------------------------------------------

    async def state(self, tenant_id: str) -> StatePayload:
        """Return a tenant's subscriptions, access, open invoices, usage and grants. Raises StoreUnavailableError.

        `position` is where a stream continues from it.
        """
        state = await self._container.tenant_reader().state(TenantId(tenant_id))
        verdict = await self._container.rules().access_of(state)
        return payloads.state_payload(state, verdict, self._container.epoch())

    async def access(self, tenant_id: str) -> AccessVerdict:
        """Return a tenant's access now, the reason, and until when it holds. Raises StoreUnavailableError."""
        state = await self._container.tenant_reader().state(TenantId(tenant_id))
        return await self._container.rules().access_of(state)

    @property
    def operations(self) -> Operations:
        """Everything that an application asks of Stripe. Raises ConfigurationError if Stripe cannot be called."""
        operations: Operations | None = self._container.operations()
        if operations is None:
            raise ConfigurationError("Stripe cannot be called: set STRIPE_SECRET_KEY, and STRIPE_FETCH=true")
        return operations

    async def allows(
        self, tenant_id: str, feature: str, quantity: int | Decimal = 1, *, used: int | Decimal | None = None
    ) -> FeatureVerdict:
        """Return whether a tenant may use a feature now: a verdict that is true or false, with the reason.

        Answered from memory that follows the bus, see `billing_core.Entitlements.allows`.

        Args:
            tenant_id: the tenant.
            feature: its key in the plans.
            quantity: how much of it is wanted now.
            used: how much is used already, where the application counts it itself, such as projects.

        Raises: StoreUnavailableError if nothing is known and nothing can be read; ValueError for a negative quantity.
        """
        return await self._entitlements.allows(TenantId(tenant_id), feature, quantity, used=used)

    async def remaining(
        self, tenant_id: str, feature: str, *, used: int | Decimal | None = None
    ) -> int | Decimal | None:
        """Return how much of a feature is left: None where there is no limit, 0 where it is refused. See `allows`."""
        return await self._entitlements.remaining(TenantId(tenant_id), feature, used=used)

    async def entitlements(self, tenant_id: str) -> TenantEntitlements:
        """Return everything that a tenant may use. See `allows`."""
        return await self._entitlements.entitlements(TenantId(tenant_id))

    # --- hooks --------------------------------------------------------------------------------------------------

    def on(
        self,
        *event_types: str,
        consumer: str,
        start: Start = "now",
        on_dead: Literal["hold", "skip"] = "hold",
        attempts: int = 12,
        timeout: timedelta = timedelta(seconds=30),
    ) -> Callable[[Function], Function]:
        """Return a decorator: the function runs at least once for each message, in order within a tenant.

        It runs where a worker does, from a position of its own that survives restarts. An async function of one
        parameter gets the payload; one of two gets the transaction as well in which its position moves, so that what it
        writes there happens exactly once; a plain function runs in a thread. A first parameter that is annotated
        `ConsumerMessage` gets the message with its id and attempt.

        Args:
            event_types: types of messages, in which `*` stands for any characters; all without one.
            consumer: the name of its position: lower-case letters, digits, `_` and `-`.
            start: the first message of a new name: `now`, `beginning`, or an aware datetime.
            on_dead: after the last attempt, `hold` the tenant's messages until an operator decides, or `skip` this one.
            attempts: attempts at one message.
            timeout: time for one attempt.

        Raises: ValueError for an unknown type, a bad name or one that has a hook; TypeError for another function.
        """
        return self._hooks.on(
            *event_types,
            consumer=consumer,
            start=start,
            on_dead=on_dead,
            attempts=attempts,
            timeout=timeout,
            added=self._attach_now,
        )

    def _attach_now(self, hook: Hook) -> None:
        """Subscribe a hook that is added while billing is open; otherwise all are when it opens."""
        if self._lifetime is not None:
            self._container.consumer_runner().subscribe(hook.consumer, hook.handler)

    # --- streams ------------------------------------------------------------------------------------------------

    def stream(self, tenant_id: str, *, after: str | None = None) -> AsyncGenerator[BillingEventPayload, None]:
        """Yield a tenant's messages, each once and in order without a gap, until billing closes.

        Args:
            tenant_id: the tenant.
            after: the position of a state or a message; by default the stream starts with the next new message.

        Raises: BadPositionError for a text that is no position, at once; while it is read, StreamResetError if the
            position does not exist in the present history, TooManyStreamsError, and StoreUnavailableError.
        """
        self._require_stream(after)
        return streams.messages(self._open_lifetime, TenantId(tenant_id), after)

    def server_sent_events(self, tenant_id: str, *, last_event_id: str | None = None) -> AsyncGenerator[bytes, None]:
        """Yield a tenant's messages as the body of a response with SSE_HEADERS, in the form of our own route.

        It ends when billing closes and after BILLING_STREAM_MAX_LIFE_SECONDS at the latest, so that the client
        reconnects, and the application decides again whether it may.

        Args:
            tenant_id: the tenant; the application has checked that the client may read it.
            last_event_id: the request's header Last-Event-ID, or a position of a state.

        Raises: at once, StreamRefusedError: BadPositionError (answer 400) or TooManyStreamsError (503).
        """
        self._require_stream(last_event_id)
        if self._container.hub().full:
            raise TooManyStreamsError
        return streams.server_sent_events(self._container, TenantId(tenant_id), last_event_id)

    def position(self, message: BillingEventPayload) -> str:
        """Return the position of a message, from which a stream continues after it."""
        position: str = self._container.epoch().position(message.sequence)
        return position

    def _require_stream(self, position: str | None) -> None:
        streams.start_at(self._container.epoch(), position)
        if not self.settings.switches.stream:
            raise ConfigurationError("the stream is disabled: ENABLE_BILLING_STREAM is false")

    @property
    def _entitlements(self) -> Entitlements:
        entitlements: Entitlements = self._container.entitlements()
        return entitlements


def open_billing(
    settings: Settings | None = None, *, application_name: str = "billing-host", clock: Clock | None = None
) -> Billing:
    """Return billing for an application, to be opened by `async with`.

    Nothing happens before it is opened, so that a module can hold it and attach hooks to it. See `Billing`.
    """
    return Billing(settings, application_name=application_name, clock=clock)
