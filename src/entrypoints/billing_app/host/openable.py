"""Billing while it is open: opened and closed by its application, with a worker where one is wanted."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import TracebackType
from typing import Self

from billing_app.container import Container
from billing_app.host import processing
from billing_app.host.asgi import Application, with_lifespan
from billing_app.host.errors import BillingDisabledError, NotOpenError
from billing_app.host.hooks import Hooks
from billing_app.host.lifetime import Lifetime
from billing_app.host.opening import check, opener
from billing_app.host.webhooks import WebhookAnswers
from billing_app.http.health import Readiness, probe
from billing_app.runtime import termination
from billing_app.settings import Settings
from billing_core.errors import ConfigurationError
from billing_core.state.ports import Clock


class OpenableBilling:
    """The opening and closing of `Billing`, and what concerns its process."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        application_name: str = "billing-host",
        clock: Clock | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        """Name what is opened later; nothing is read or connected now.

        Args:
            settings: the configuration; read from the environment at each opening by default.
            application_name: the name of the process in the database.
            clock: the time, for settings in memory only.
            hooks: functions that were attached before; none by default.
        """
        self._given = settings
        self._application_name = application_name
        self._clock = clock
        self._settings: Settings | None = None
        self._lifetime: Lifetime | None = None
        self._webhooks = WebhookAnswers()
        self._hooks = Hooks() if hooks is None else hooks

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
            lifetime = Lifetime(open_container, prepare=self._attach_hooks)
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
        """Process stored events, run hooks, and do what `billing worker` does, for the length of the block.

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

        Hooks run as well. For tests, which need not wait then, and where no worker can run, such as in a scheduled
        function. Not beside a worker of this process.
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

    async def ready(self) -> Readiness:
        """Return whether this process can serve requests: whether everything that it depends on responds."""
        if not self.enabled:
            return Readiness(ready=True, checks={})
        return await probe(self._container.probes())

    def metrics(self) -> tuple[bytes, str]:
        """Return the metrics of this process in the format of Prometheus, and their content type."""
        body, content_type = self._container.metrics().render()
        return body, content_type

    # --- for Billing --------------------------------------------------------------------------------------------------

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

    async def _attach_hooks(self, container: Container) -> None:
        """Register the hooks before anything else happens, so that they miss no message of this process."""
        await self._hooks.attach(container.consumer_runner())
