"""One run of the demo, from the first start of a server to the last stop."""

import asyncio
import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import aiohttp
import attrs

from billing_app.errors import OperatorError
from billing_demo.credentials import Credentials
from billing_demo.delivery import Courier, Manners, Tally, parcels
from billing_demo.figures import Figures, Summary
from billing_demo.listener import Audience
from billing_demo.reader import Reader
from billing_demo.scenario import PlayedEvent, Scenario
from billing_demo.screen import Invitation, Screen
from billing_demo.site import Site, open_site
from billing_demo.truth import Truth
from billing_demo.verdict import Judge

_REFRESH_SECONDS: Final = 0.5
_OLDEST_DUE: Final = "stripe_dispatch_oldest_due_seconds"
_OLDEST_UNPUBLISHED: Final = "stripe_billing_stream_backlog_seconds"
_APPLIED: Final = 'stripe_dispatch_events_total{disposition="applied",reason=""}'


class SeedUsedError(OperatorError):
    """The folder holds a run with the same seed: its events would all be duplicates."""


@attrs.frozen(kw_only=True)
class Options:
    """What the user asked for."""

    data_dir: Path
    seed: str
    tenants: int
    events: int | None
    """None to go on until stopped."""
    port: int
    manners: Manners


class Run:
    """Plays a scenario to a site and watches what becomes of it."""

    def __init__(
        self, *, options: Options, site: Site, session: aiohttp.ClientSession, credentials: Credentials, screen: Screen
    ) -> None:
        self._options = options
        self._site = site
        self._session = session
        self._credentials = credentials
        self._screen = screen
        self._scenario = Scenario(seed=options.seed, tenants=options.tenants)
        self._truth = Truth()
        self._tally = Tally()
        self._played_until: datetime | None = None
        self._applied = Counted()
        self._began = asyncio.get_running_loop().time()
        self._reader = Reader(session=session, base_url=site.base_url, token=credentials.token)
        self._audience = Audience(
            session=session, url=f"{site.base_url}/api/v1/billing/stream", token=credentials.token
        )

    async def play(self) -> Summary | None:
        """Play to the end and judge, or go on until cancelled."""
        await self._refuse_used_seed()
        self._screen.invite(self._invitation(0))
        self._began = asyncio.get_running_loop().time()
        watching = asyncio.create_task(self._watch(), name="watch")
        try:
            await self._deliver()
            delivered = self._seconds()
            resolve = Judge(truth=self._truth, reader=self._reader, audience=self._audience)
            found = await resolve.wait_for_verdict()
            await self._figures()
            return self._summary(found, delivered)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await self._audience.leave()

    async def _deliver(self) -> None:
        events: Iterable[PlayedEvent] = self._scenario.events()
        if self._options.events is not None:
            events = islice(events, self._options.events)
        rng = Random(f"{self._options.seed} delivery")  # noqa: S311 - repeatable mischief
        courier = Courier(
            session=self._session,
            url=f"{self._site.base_url}/webhooks/stripe",
            secret=self._credentials.webhook,
            manners=self._options.manners,
            tally=self._tally,
        )
        await courier.deliver(parcels(self._noted(events), self._options.manners, rng))

    def _noted(self, events: Iterable[PlayedEvent]) -> Iterator[PlayedEvent]:
        """The events, each noted as true before it is sent."""
        generation = 0
        for event in events:
            if self._options.events is None and event.generation > generation:
                generation = event.generation
                self._change_generation(generation)
            self._truth.observe(event.happening)
            self._audience.invite(event.happening.tenant_id)
            self._tally.events += 1
            self._played_until = event.happening.at
            yield event

    def _change_generation(self, generation: int) -> None:
        """Nobody will ask about the old tenants any more, and nothing more happens to them."""
        self._audience.dismiss()
        self._truth = Truth()
        self._screen.invite(self._invitation(generation))

    async def _refuse_used_seed(self) -> None:
        tenants = (profile.tenant_id for profile in self._scenario.profiles(0))
        if any(await asyncio.gather(*map(self._reader.sequence, tenants))):
            raise SeedUsedError(
                f"{self._options.data_dir} already holds a run with seed {self._options.seed}. "
                "Choose another --seed, or remove the folder."
            )

    async def _watch(self) -> None:
        while True:
            self._screen.show(await self._figures())
            await asyncio.sleep(_REFRESH_SECONDS)

    async def _figures(self) -> Figures:
        metrics = await self._metrics()
        return Figures(
            tally=self._tally,
            played_until=self._played_until,
            applied=self._applied.update(value(metrics, _APPLIED)),
            messages=self._audience.messages,
            listeners=len(self._audience.listeners),
            violations=len(self._audience.violations),
            statuses=self._audience.statuses(),
            backlog_seconds=value(metrics, _OLDEST_DUE),
            unpublished_seconds=value(metrics, _OLDEST_UNPUBLISHED),
            restarts=self._site.server.restarts,
            seconds=self._seconds(),
        )

    async def _metrics(self) -> str:
        """The server's metrics page; empty while it is away."""
        try:
            async with self._session.get(f"{self._site.base_url}/metrics", raise_for_status=True) as response:
                return await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return ""

    def _invitation(self, generation: int) -> Invitation:
        tenant_id = self._scenario.profiles(generation)[0].tenant_id
        return Invitation(
            tenant_id=tenant_id,
            base_url=self._site.base_url,
            sign_in_path=lambda: self._credentials.sign_in_path(tenant_id),
            token=lambda: self._credentials.token(tenant_id),
        )

    def _summary(self, found: list[str], delivered: float) -> Summary:
        return Summary(
            seed=self._options.seed,
            events=self._tally.events,
            tenants=len(self._truth.tenants),
            posted=self._tally.posted,
            accepted=self._tally.accepted,
            duplicates=self._tally.duplicates,
            failed=self._tally.failed,
            applied=self._applied.total,
            messages=self._audience.messages,
            restarts=self._site.server.restarts,
            settle_seconds=self._seconds() - delivered,
            seconds=self._seconds(),
            differences=found,
        )

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._began


async def run(options: Options, screen: Screen, stop: asyncio.Event) -> Summary | None:
    """Play until the end, or until `stop` is set: then there is nothing to report. Everything is stopped either way.

    Raises: FolderInUseError and other OperatorErrors.
    """
    playing = asyncio.create_task(_play(options, screen), name="demo")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not playing.done():
        screen.say("stopping")
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing
        return None
    return playing.result()


async def _play(options: Options, screen: Screen) -> Summary | None:
    credentials = Credentials()
    async with (
        open_site(options.data_dir, port=options.port, credentials=credentials, say=screen.say) as site,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        one = Run(options=options, site=site, session=session, credentials=credentials, screen=screen)
        return await one.play()


class Counted:
    """The sum of a counter over the restarts of the process that counts: it starts again at zero then.

    What was counted between the last look and the end of a process is missing.
    """

    def __init__(self) -> None:
        self.total = 0
        self._last = 0

    def update(self, shown: float | None) -> int:
        """Take what the counter shows now, None while it cannot be seen; the sum so far."""
        if shown is not None:
            now = int(shown)
            self.total += now - self._last if now >= self._last else now
            self._last = now
        return self.total


def value(metrics: str, series: str) -> float | None:
    """The value of a series on a Prometheus page, None if it is not there: `name` or `name{label="…"}`."""
    found = re.search(rf"^{re.escape(series)} ([0-9.eE+-]+)$", metrics, re.MULTILINE)
    return None if found is None else float(found.group(1))
