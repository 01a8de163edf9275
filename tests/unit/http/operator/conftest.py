"""An operator at a server on memory adapters."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import attrs
import pytest
from tests.unit.http.conftest import JWT_SECRET, SETTINGS, MakeWorld, World

from billing_app.http.operator.routes import BASE
from billing_app.http.tokens import issue_operator_token
from billing_core.events import BillingEvent, ProviderEvent
from billing_core.inbox.ports import EventInbox
from billing_core.oversight.inspection import Audit
from billing_core.testing.builders import provider_event

ANN = "ann@ops.example"


class Desk:
    """An operator's client, and the server that it asks."""

    def __init__(self, world: World, http: aiohttp.ClientSession) -> None:
        self.world = world
        self.headers: dict[str, str] = {}
        """Of the last answer."""
        self.published: list[BillingEvent] = []
        """The messages that were passed on."""
        self._http = http

    @property
    def inbox(self) -> EventInbox:
        """The inbox of the server."""
        inbox: EventInbox = self.world.container.inbox()
        return inbox

    def token(self, **changes: Any) -> str:
        """Issue an operator's token, apart from the given changes."""
        claims: dict[str, Any] = {
            "secret": JWT_SECRET,
            "policy": self.world.policy,
            "subject": ANN,
            "role": "operator",
            "now": datetime.now(UTC),
            "ttl": timedelta(hours=1),
        }
        return issue_operator_token(**{**claims, **changes})

    async def send(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, raw: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request, and return status and body."""
        headers = {"Authorization": f"Bearer {self.token() if token is None else token}"}
        content = {"json": body} if raw is None else {"data": raw}
        async with self._http.request(method, self.world.url + BASE + path, headers=headers, **content) as answer:
            self.headers = dict(answer.headers)
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str) -> dict[str, Any]:
        """Return the answer to a request that succeeds."""
        status, answer = await self.send("GET", path)
        assert status == 200, answer
        return answer

    async def post(self, path: str, body: Any, status: int = 200) -> dict[str, Any]:
        """Return the answer to a request that has this status."""
        found, answer = await self.send("POST", path, body)
        assert found == status, answer
        return answer

    async def receive(self, *event_ids: str, **fields: Any) -> list[ProviderEvent]:
        """Store events that nothing processes."""
        events = [provider_event(event_id, **fields) for event_id in event_ids]
        for event in events:
            await self.inbox.record(event)
        return events

    async def audits(self) -> list[Audit]:
        """Return the audit log, latest first."""
        return list(await self.world.container.audit_log().latest(limit=100))


@pytest.fixture
async def desk(make_world: MakeWorld, http: aiohttp.ClientSession) -> AsyncIterator[Desk]:
    """An operator at a running server."""
    world = make_world(tokens=attrs.evolve(SETTINGS.tokens, operator_roles=("operator",)))
    desk = Desk(world, http)
    world.replace(publish=desk.published.extend)
    async with world.serving():
        yield desk
