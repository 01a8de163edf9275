"""One process on memory adapters, used over HTTP: webhooks go in, the tenant's API and the event log answer."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.containers import container_with

from billing_app.container import Adapters, Container, memory_adapters
from billing_app.http.app import WEBHOOK_PATH, create_app
from billing_app.settings import Settings
from billing_core.inbox.selection import EventFilter
from billing_core.model import TenantId
from billing_core.oversight.inspection import StoredEvent
from billing_core.stream_access.ports import Principal
from billing_memory.clock import ManualClock
from billing_stripe.testing import encode, sign

Event = Mapping[str, Any]
"""The body of a webhook, before it is encoded."""

WEBHOOK_SECRET: Final = "whsec_" + "h" * 32
_ENVIRONMENT: Final = {
    "ENABLE_BILLING": "true",
    "ENABLE_BILLING_RETRY_WORKER": "false",
    "STRIPE_SECRET_KEY": "sk_test_histories",
    "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
    "BILLING_JWT_SECRET": "j" * 32,
}
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LEASE: Final = timedelta(minutes=1)
_MOST_PERMUTED: Final = 4
"""The permutations of five events take seconds."""


def every_order(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Yield a history in the arrival orders that Stripe allows: any permutation, every event twice, all of it again.

    Histories of more than four events arrive reversed and rotated instead of in every permutation.
    """
    if len(events) <= _MOST_PERMUTED:
        yield from itertools.permutations(events)
    else:
        yield from ([*events[start:], *events[:start]] for start in range(len(events)))
        yield list(reversed(events))
    yield [event for event in events for _ in range(2)]
    yield [*events, *events]


@attrs.frozen(kw_only=True)
class Tenant:
    """Everything that the API answers about one tenant."""

    arrivals: str
    state: Mapping[str, Any]
    subscriptions: Mapping[str, Mapping[str, Any]]
    invoices: Mapping[str, Mapping[str, Any]]
    usage: Mapping[str, Mapping[str, Any]]
    """Billed usage by invoice line."""
    messages: Sequence[Mapping[str, Any]]

    def __repr__(self) -> str:
        """Name the order of arrival: a failed assertion shows it."""
        return f"<{self.state['tenant_id']} after {self.arrivals}>"

    @property
    def access(self) -> Mapping[str, Any]:
        """The verdict: state, reason and until."""
        access: Mapping[str, Any] = self.state["access"]
        return access

    @property
    def owed(self) -> Sequence[str]:
        """The ids of the invoices that are still to be paid."""
        return [invoice["invoice_id"] for invoice in self.state["invoices"]]

    @property
    def message_types(self) -> Sequence[str]:
        """The types of the messages, in their order."""
        return [message["event_type"] for message in self.messages]

    def summaries(self, event_type: str) -> Sequence[str]:
        """Return the sentences of all messages of a type."""
        return [message["summary"] for message in self.messages if message["event_type"] == event_type]


class Deployment:
    """One process whose clock stands still until a test moves it."""

    def __init__(
        self, container: Container, clock: ManualClock, client: TestClient[web.Request, web.Application]
    ) -> None:
        self.container = container
        self._clock = clock
        self._client = client
        self._arrivals: list[str] = []

    async def receive(self, *events: Event) -> None:
        """Deliver signed webhooks, one by one, and process each."""
        for event in events:
            body, now = encode(event), self._clock.now()
            headers = {"Stripe-Signature": sign(body, WEBHOOK_SECRET, now)}
            response = await self._client.post(WEBHOOK_PATH, data=body, headers=headers)
            assert response.status == 202, await response.text()
            self._arrivals.append(event["type"])
            await self.work()

    @property
    def webhook_url(self) -> str:
        """The address to which Stripe sends webhooks, signed with `WEBHOOK_SECRET`."""
        return str(self._client.make_url(WEBHOOK_PATH))

    async def work(self) -> None:
        """Process what is due, as a worker does."""
        queue, batches = self.container.queue(), self.container.batches()
        while claims := await queue.claim(limit=100, lease=_LEASE):
            await batches.process(claims)
            await queue.unpark()

    async def review(self) -> None:
        """Announce access that changed without news, as a worker does."""
        await self.container.access_reviewer().run_once()

    async def tenant(self, tenant_id: str = "acme") -> Tenant:
        """Ask the API for everything about a tenant."""
        return Tenant(
            arrivals=", ".join(self._arrivals),
            state=await self._get(tenant_id, "state"),
            subscriptions=_by("subscription_id", (await self._get(tenant_id, "subscriptions"))["subscriptions"]),
            invoices=_by("invoice_id", (await self._get(tenant_id, "invoices"))["invoices"]),
            usage=_by("line_id", (await self._get(tenant_id, "usage"))["usage"]),
            messages=(await self._get(tenant_id, "events?limit=500"))["events"],
        )

    async def outcome(self, event: Event) -> tuple[str, str | None]:
        """Return the status of a stored event, and the reason if it has one."""
        stored = await self._stored(event)
        return stored.status.value, stored.reason

    async def _stored(self, event: Event) -> StoredEvent:
        (stored,) = await self.container.event_log().find(EventFilter(ids=(event["id"],)), before=None, limit=1)
        return stored

    async def _get(self, tenant_id: str, path: str) -> Any:
        response = await self._client.get(f"/api/v1/billing/tenants/{tenant_id}/{path}")
        assert response.status == 200, await response.text()
        return await response.json()


def _by(key: str, sections: Sequence[Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    return {section[key]: section for section in sections}


class _AnyTenant:
    """Lets every request read the tenant that its path names."""

    async def authenticate(self, request: web.Request) -> Principal:
        """See TenantAuthenticator."""
        return Principal(tenant_id=TenantId(request.match_info["tenant_id"]), role="viewer", expires_at=_NEVER)

    async def still_valid(self, _principal: Principal) -> bool:
        """See TenantAuthenticator."""
        return True


@asynccontextmanager
async def deployed(*, now: datetime, plans: str = "", rules: str = "", **replaced: Any) -> AsyncIterator[Deployment]:
    """Run a deployment on memory adapters.

    Args:
        now: the time of its clock.
        plans: the value of STRIPE_PRODUCT_PRICE_MAP.
        rules: the text of billing.toml.
        replaced: providers of the container.
    """
    clock = ManualClock(now)
    async with AsyncExitStack() as stack:
        settings = _settings(stack, plans=plans, rules=rules)
        given: Adapters = memory_adapters(settings, clock=clock)
        lent = container_with(**{**given, "settings": settings, "authenticator": _AnyTenant(), **replaced})
        container = stack.enter_context(lent)
        server = TestServer(create_app(container.services()))
        client = await stack.enter_async_context(TestClient(server))
        yield Deployment(container, clock, client)


def _settings(stack: AsyncExitStack, *, plans: str, rules: str) -> Settings:
    environment = {**_ENVIRONMENT, "STRIPE_PRODUCT_PRICE_MAP": plans}
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    if rules:
        file = folder / "billing.toml"
        file.write_text(rules, encoding="utf-8")
        environment["BILLING_CONFIG"] = str(file)
    return Settings.load(environment, env_file=folder / ".env.local")
