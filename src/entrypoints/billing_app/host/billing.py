"""Billing inside an application: one object to hold."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from decimal import Decimal
from types import TracebackType
from typing import Self

from billing_app.container import Container
from billing_app.host import processing, streams
from billing_app.host.asgi import Application, with_lifespan
from billing_app.host.errors import BillingDisabledError, NotOpenError, TooManyStreamsError
from billing_app.host.lifetime import Lifetime
from billing_app.host.opening import check, opener
from billing_app.host.webhooks import BILLING_DISABLED, WebhookAnswer, WebhookAnswers, unavailable
from billing_app.http.health import Readiness, probe
from billing_app.runtime import termination
from billing_app.settings import Settings
from billing_core import payloads
from billing_core.entitlements.service import Entitlements
from billing_core.errors import ConfigurationError, StoreUnavailableError
from billing_core.events import Receipt
from billing_core.model import AccessVerdict, FeatureVerdict, TenantEntitlements, TenantId
from billing_core.operations.facade import Operations
from billing_core.payloads import BillingEventPayload, StatePayload
from billing_core.state.ports import Clock


class Billing:
    """Billing inside an application. It is made when the application is imported, and opened when it starts.

    `async with billing:` opens and closes it, as often as needed, in any event loop. With ENABLE_BILLING=false nothing
    is opened: `enabled` is False, webhooks are answered 404, and everything else raises BillingDisabledError.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        application_name: str = "billing-host",
        clock: Clock | None = None,
    ) -> None:
        """Name what is opened later; nothing is read or connected now.

        Args:
            settings: the configuration; read from the environment at each opening by default.
            application_name: the name of the process in the database.
            clock: the time, for settings in memory only.
        """
        self._given = settings
        self._application_name = application_name
        self._clock = clock
        self._settings: Settings | None = None
        self._lifetime: Lifetime | None = None
        self._webhooks = WebhookAnswers()

    # --- lifetime -----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Check settings and servers, then open everything.

        Raises StartRefusedError with every fault of the settings and of what they name, each with what to do;
        ConfigurationError, OperatorError or BillingError for what stops it later.
        """
        if self._settings is not None:
            raise RuntimeError("billing is open already")
        settings, starting = await check(self._given)
        if settings.switches.billing:
            open_container = opener(settings, starting, application_name=self._application_name, clock=self._clock)
            lifetime = Lifetime(open_container)
            await lifetime.open()
            self._lifetime = lifetime
        self._settings = settings
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close everything in reverse, within BILLING_SHUTDOWN_SECONDS."""
        lifetime, self._lifetime, self._settings = self._lifetime, None, None
        self._webhooks.close()
        if lifetime is not None:
            await lifetime.close()

    @asynccontextmanager
    async def working(self, *, concurrency: int = 1) -> AsyncIterator[None]:
        """Process stored events, and do what `billing worker` does, for the length of the block.

        Any number of processes may do so. Does nothing while billing is disabled.

        Args:
            concurrency: number of batches of due events that are processed at a time.
        """
        if not self.enabled:
            yield
            return
        async with self._open_lifetime.working(concurrency=concurrency):
            yield

    async def run_worker(self, *, concurrency: int = 1) -> None:
        """Be a worker: process until canceled, until billing closes or, if this call opens it, until SIGTERM or SIGINT.

        Raises ConfigurationError while billing is disabled: there is nothing to process.
        """
        if self._settings is None:
            async with self:
                stop = termination()
                async with self._required_working(concurrency):
                    await stop.wait()
        else:
            async with self._required_working(concurrency):
                await self._open_lifetime.closing.wait()

    def _required_working(self, concurrency: int) -> AbstractAsyncContextManager[None]:
        if not self.enabled:
            raise ConfigurationError("ENABLE_BILLING is false: there is nothing to process")
        return self.working(concurrency=concurrency)

    async def process_due(self) -> int:
        """Process what is due now, in this call, and return how many events and messages that was.

        For tests, which need not wait then, and where no worker can run, such as in a scheduled function.
        Raises StoreUnavailableError.
        """
        return await processing.process_due(self._container)

    def around(self, application: Application, *, working: bool = True) -> Application:
        """Return an ASGI application that opens billing at its start-up and closes it at its shutdown.

        For frameworks that have neither, such as Django. `working` runs a worker as well.
        """

        @asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            async with self, self.working() if working else nullcontext():
                yield

        return with_lifespan(application, opened)

    @property
    def settings(self) -> Settings:
        """The settings that are in use. Raises NotOpenError."""
        if self._settings is None:
            raise NotOpenError
        return self._settings

    @property
    def enabled(self) -> bool:
        """Whether ENABLE_BILLING is true. Raises NotOpenError."""
        return self.settings.switches.billing

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

        Raises: at once, BadPositionError (answer 400), TooManyStreamsError (503).
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

    # --- operation of the process -------------------------------------------------------------------------------

    async def ready(self) -> Readiness:
        """Return whether this process can serve requests: whether everything that it depends on responds."""
        if not self.enabled:
            return Readiness(ready=True, checks={})
        return await probe(self._container.probes())

    def metrics(self) -> tuple[bytes, str]:
        """Return the metrics of this process in the format of Prometheus, and their content type."""
        body, content_type = self._container.metrics().render()
        return body, content_type

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def _open_lifetime(self) -> Lifetime:
        """Raises NotOpenError, BillingDisabledError."""
        if not self.enabled:
            raise BillingDisabledError
        if self._lifetime is None:
            raise NotOpenError
        return self._lifetime

    @property
    def _container(self) -> Container:
        """Raises NotOpenError, BillingDisabledError; StoreUnavailableError while billing is being opened again."""
        return self._open_lifetime.opened.container

    @property
    def _entitlements(self) -> Entitlements:
        entitlements: Entitlements = self._container.entitlements()
        return entitlements


def open_billing(
    settings: Settings | None = None, *, application_name: str = "billing-host", clock: Clock | None = None
) -> Billing:
    """Return billing for an application, to be opened by `async with`.

    Nothing happens before it is opened so that a module can hold it. See `Billing`.
    """
    return Billing(settings, application_name=application_name, clock=clock)
