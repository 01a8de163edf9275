"""`billing status`: one screen about a deployment."""

import json

import pytest
from tests.integration.processes import ended
from tests.postgres import connected

from billing_core.testing.builders import provider_event
from billing_core.testing.timing import LONG
from billing_postgres.inbox.event_inbox import PostgresEventInbox
from billing_postgres.pool import Database

pytestmark = pytest.mark.postgres


async def test_the_state_of_a_deployment_fits_one_screen(database_url: str, environment: dict[str, str]) -> None:
    """Also while no server runs: it reads the database, and asks the server at BILLING_PORT."""
    database = Database(url=database_url)
    async with await database.open_pool(size=2) as pool, PostgresEventInbox(database, pool) as store:
        await store.record(provider_event("evt_1"))
        receipt = await store.record(provider_event("evt_2"), lease=LONG)
        assert receipt.claim is not None
        await store.bury(receipt.claim, reason="bug", error="boom")
    async with connected(database_url) as connection:
        await connection.execute("UPDATE stripe_events SET received_at = now()")
    shown = await ended("status", environment=environment)
    assert (shown.status, shown.errors) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in shown.output.splitlines())
    assert lines["billing"] == "on, test mode"
    assert lines["server"].endswith(": no answer")
    assert lines["events"].startswith("1 dead, 1 due in 24 h; the last one ")
    assert lines["dead"] == "1 bug"
    assert len(shown.output.splitlines()) < 24
    found = json.loads((await ended("status", "--json", environment=environment)).output)
    assert found["inbox"]["dead"] == {"bug": 1}
    assert found["events"]["last_24h"] == {"due": 1, "dead": 1}
    assert found["server"]["state"] == "no answer"
