"""One run of the demo, from starting the servers to stopping them."""

import asyncio
import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import aiohttp
import attrs

from billing_app.errors import OperatorError
from billing_demo.convergence import ConvergenceCheck
from billing_demo.credentials import Credentials
from billing_demo.customer import DemoCustomer, open_stripe
from billing_demo.delivery import DeliveryCounts, DeliveryOptions, WebhookSender, plan_deliveries
from billing_demo.deployment import DemoDeployment, open_deployment
from billing_demo.expected_state import ExpectedState
from billing_demo.looking import command, stream_command
from billing_demo.progress import Progress, Summary
from billing_demo.scenario import DemoEvent, Scenario
from billing_demo.screen import Screen, TenantAccess
from billing_demo.stream_followers import StreamFollowers
from billing_demo.tenant_api import TenantApi

_REFRESH_SECONDS: Final = 0.5
_OLDEST_DUE: Final = "stripe_dispatch_oldest_due_seconds"
_OLDEST_UNPUBLISHED: Final = "stripe_billing_stream_backlog_seconds"
_APPLIED: Final = 'stripe_dispatch_events_total{disposition="applied",reason=""}'


class SeedUsedError(OperatorError):
    """The data directory holds a run with the same seed: its events would all be duplicates."""


@attrs.frozen(kw_only=True)
class RunOptions:
    """The options of the command."""

    data_dir: Path
    seed: str
    tenants: int
    events: int | None
    """None to run until stopped."""
    port: int
    delivery: DeliveryOptions


class Run:
    """Delivers the events of a scenario to a deployment and follows the results."""

    def __init__(
        self,
        *,
        options: RunOptions,
        deployment: DemoDeployment,
        session: aiohttp.ClientSession,
        credentials: Credentials,
        screen: Screen,
        customer: DemoCustomer,
    ) -> None:
        self._options = options
        self._deployment = deployment
        self._session = session
        self._credentials = credentials
        self._screen = screen
        self._customer = customer
        self._scenario = Scenario(seed=options.seed, tenants=options.tenants)
        self._expected = ExpectedState()
        self._counts = DeliveryCounts()
        self._simulated_until: datetime | None = None
        self._applied = CounterTotal()
        self._started_at = asyncio.get_running_loop().time()
        self._api = TenantApi(session=session, base_url=deployment.base_url, token=credentials.token)
        self._streams = StreamFollowers(
            session=session, url=f"{deployment.base_url}/api/v1/billing/stream", token=credentials.token
        )

    async def execute(self) -> Summary:
        """Deliver all events and compare the result with the expected state; endless if no number is given."""
        await self._refuse_used_seed()
        self._screen.show_access(self._tenant_access(0))
        self._started_at = asyncio.get_running_loop().time()
        refreshing = asyncio.create_task(self._refresh(), name="refresh")
        visiting = asyncio.create_task(self._customer.visit(), name="customer")
        try:
            await self._deliver()
            await visiting
            delivered = self._seconds()
            check = ConvergenceCheck(expected=self._expected, api=self._api, streams=self._streams)
            differences = [*await check.wait(), *await self._customer.differences()]
            await self._progress()
            return self._summary(differences, self._seconds() - delivered)
        finally:
            for task in (refreshing, visiting):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await self._streams.close()

    async def _deliver(self) -> None:
        events: Iterable[DemoEvent] = self._scenario.events()
        if self._options.events is not None:
            events = islice(events, self._options.events)
        rng = Random(f"{self._options.seed} delivery")  # noqa: S311 - must be repeatable
        sender = WebhookSender(
            session=self._session,
            url=f"{self._deployment.base_url}/webhooks/stripe",
            secret=self._credentials.webhook,
            options=self._options.delivery,
            counts=self._counts,
        )
        await sender.send(plan_deliveries(self._recorded(events), self._options.delivery, rng))

    def _recorded(self, events: Iterable[DemoEvent]) -> Iterator[DemoEvent]:
        """Record each event in the expected state before it is sent."""
        generation = 0
        for event in events:
            if self._options.events is None and event.generation > generation:
                generation = event.generation
                self._start_generation(generation)
            self._expected.record(event.account_event)
            self._streams.connect(event.account_event.tenant_id)
            self._counts.events += 1
            self._simulated_until = event.account_event.at
            yield event

    def _start_generation(self, generation: int) -> None:
        """Drop the previous tenants: nothing more happens to them, and an endless run never checks them."""
        self._streams.disconnect()
        self._expected = ExpectedState()
        self._screen.show_access(self._tenant_access(generation))

    async def _refuse_used_seed(self) -> None:
        tenants = (profile.tenant_id for profile in self._scenario.profiles(0))
        if any(await asyncio.gather(*map(self._api.sequence, tenants))):
            raise SeedUsedError(
                f"{self._options.data_dir} already contains a run with seed {self._options.seed}. "
                "Choose another --seed, or remove the folder."
            )

    async def _refresh(self) -> None:
        while True:
            self._screen.update(await self._progress())
            await asyncio.sleep(_REFRESH_SECONDS)

    async def _progress(self) -> Progress:
        metrics = await self._metrics()
        return Progress(
            deliveries=self._counts,
            simulated_until=self._simulated_until,
            applied=self._applied.update(metric_value(metrics, _APPLIED)),
            messages=self._streams.messages,
            clients=len(self._streams.followers),
            violations=len(self._streams.violations),
            statuses=self._streams.statuses(),
            backlog_seconds=metric_value(metrics, _OLDEST_DUE),
            unpublished_seconds=metric_value(metrics, _OLDEST_UNPUBLISHED),
            restarts=self._deployment.server.restarts,
            seconds=self._seconds(),
        )

    async def _metrics(self) -> str:
        """Fetch the server's metrics page; empty while the server is down."""
        try:
            async with self._session.get(self._deployment.metrics_url, raise_for_status=True) as response:
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""

    def _tenant_access(self, generation: int) -> TenantAccess:
        tenant_id = self._scenario.profiles(generation)[0].tenant_id
        return TenantAccess(
            tenant_id=tenant_id,
            base_url=self._deployment.base_url,
            sign_in_path=lambda: self._credentials.sign_in_path(tenant_id),
            stream_command=lambda: stream_command(
                self._options.data_dir, base_url=self._deployment.base_url, token=self._credentials.token(tenant_id)
            ),
            look=command(self._options.data_dir, "events list"),
        )

    def totals(self) -> Summary:
        """Return what a run came to that was stopped: nothing was compared."""
        return self._summary([], 0.0, compared=False)

    def _summary(self, differences: list[str], settle_seconds: float, *, compared: bool = True) -> Summary:
        return Summary(
            tenant_id=self._scenario.profiles(0)[0].tenant_id,
            compared=compared,
            seed=self._options.seed,
            events=self._counts.events,
            tenants=len(self._expected.tenants),
            posted=self._counts.posted,
            accepted=self._counts.accepted,
            duplicates=self._counts.duplicates,
            failed=self._counts.failed,
            applied=self._applied.total,
            messages=self._streams.messages,
            operations=self._customer.operations,
            restarts=self._deployment.server.restarts,
            settle_seconds=settle_seconds,
            seconds=self._seconds(),
            differences=differences,
        )

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started_at


async def run(options: RunOptions, screen: Screen, stop: asyncio.Event) -> Summary | None:
    """Run the demo; its totals are not compared with what was played if `stop` was set before its end.

    None if nothing was played. All servers are stopped either way. Raises: FolderInUseError and other OperatorErrors.
    """
    began: list[Run] = []
    running = asyncio.create_task(_run(options, screen, began), name="demo")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        screen.log("stopping")
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return began[0].totals() if began else None
    return running.result()


async def _run(options: RunOptions, screen: Screen, began: list[Run]) -> Summary:
    credentials = Credentials()
    async with (
        open_stripe(credentials.api_key.reveal()) as stripe,
        open_deployment(
            options.data_dir, port=options.port, credentials=credentials, stripe_url=stripe.url, log=screen.log
        ) as deployment,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        stripe.add_webhook_endpoint(f"{deployment.base_url}/webhooks/stripe", secret=credentials.webhook.reveal())
        customer = DemoCustomer(
            session=session,
            base_url=deployment.base_url,
            tenant_id=f"customer-{options.seed}",
            token=partial(credentials.token, role="owner"),
            stripe=stripe,
        )
        one = Run(
            options=options,
            deployment=deployment,
            session=session,
            credentials=credentials,
            screen=screen,
            customer=customer,
        )
        began.append(one)
        return await one.execute()


class CounterTotal:
    """The sum of a counter over the restarts of its process, which reset it to zero.

    Increments between the last update and the end of a process are missing.
    """

    def __init__(self) -> None:
        self.total = 0
        self._last = 0

    def update(self, current: float | None) -> int:
        """Add the growth since the last update and return the sum; None (counter unavailable) adds nothing."""
        if current is not None:
            now = int(current)
            self.total += now - self._last if now >= self._last else now
            self._last = now
        return self.total


def metric_value(metrics: str, series: str) -> float | None:
    """Return the value of a series on a Prometheus page, `name` or `name{label="…"}`; None if it is missing."""
    found = re.search(rf"^{re.escape(series)} ([0-9.eE+-]+)$", metrics, re.MULTILINE)
    return None if found is None else float(found.group(1))
