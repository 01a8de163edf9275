"""The wire schema: generated from the payload classes, and valid for every message and state that is sent."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import ClientSession, web
from jsonschema import Draft202012Validator, FormatChecker
from scripts.example_messages import DOCUMENT, HEADING, examples, render
from scripts.memory_loop import MemoryLoop

from billing_app import payload_schema
from billing_app.http.schemas import routes
from billing_core.events import BillingEvent, BillingEventType
from billing_core.model import AccessPolicy, Attention, ProvisionalView, uncertainty_of
from billing_core.payloads import dumps, operator_state_payload, state_payload
from billing_core.state.ports import TenantReader
from billing_demo.scenario import Scenario
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.database import MemoryDatabase

FOLDER = Path(__file__).parents[2] / payload_schema.FOLDER


def validator(definition: str) -> Draft202012Validator:
    """Return a validator of one of the schema's definitions that also checks date formats."""
    schema = {**payload_schema.schema(), "$ref": f"#/$defs/{definition}"}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


async def lived(events: int) -> tuple[TenantReader, Sequence[BillingEvent]]:
    """Apply the first events of a scenario; return the reader and the messages they caused."""
    loop = MemoryLoop(MemoryDatabase(), ManualClock(SystemClock().now()))
    for event in islice(Scenario(seed="schema", tenants=12).events(), events):
        await loop.receive(event.body(event.api_version))
    await loop.process()
    return loop.reader, loop.messages


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (payload_schema.SCHEMA_FILE, json.dumps(payload_schema.schema(), indent=2) + "\n"),
        (payload_schema.TYPES_FILE, payload_schema.typescript()),
    ],
)
def test_the_files_in_the_repository_describe_what_is_sent(file: str, expected: str) -> None:
    """When this fails, run `python -m billing_app.payload_schema` and check that the change is compatible."""
    assert (FOLDER / file).read_text(encoding="utf-8") == expected


async def test_the_document_shows_one_message_of_each_type() -> None:
    """They are those that the code produces now. When this fails, run `python -m scripts.example_messages`."""
    found = await examples(MemoryDatabase())
    assert found.keys() == {each.value for each in BillingEventType}
    for example in found.values():
        validator_of_messages.validate(json.loads(example.message.payload))
    _, heading, shown = (FOLDER.parents[2] / DOCUMENT).read_text(encoding="utf-8").partition(HEADING)
    assert heading + shown == render(found)


async def test_every_message_and_state_matches_the_schema() -> None:
    """Checked with 600 events from a year of several tenants, in old and new API versions."""
    repository, messages = await lived(600)
    payloads = [json.loads(message.payload) for message in messages]
    assert len({payload["event_type"] for payload in payloads}) > 10
    for payload in payloads:
        validator_of_messages.validate(payload)
    for tenant_id in {message.tenant_id for message in messages}:
        state = await repository.state(tenant_id)
        verdict = AccessPolicy().evaluate(state.access_facts, datetime.now(UTC))
        shown = state_payload(state, verdict)
        validator("StatePayload").validate(json.loads(dumps(shown)))
        uncertain = [
            uncertainty_of(attrs.evolve(each, provenance=attrs.evolve(each.provenance, ambiguous=True)))
            for each in state.subscriptions
        ]
        attention = Attention(dead_events=1, uncertain=tuple(each for each in uncertain if each))
        views = [
            ProvisionalView(
                tenant_id=tenant_id,
                kind=each.kind,
                object_id=each.object_id,
                operation_key="bo_1",
                snapshot=snapshot,
                answered_at=None if snapshot is None else state.as_of,
                refetch_due_at=state.as_of,
            )
            for each in state.subscriptions
            for snapshot in (each.snapshot, None)
        ]
        found = json.loads(dumps(operator_state_payload(shown, attention, views)))
        validator("OperatorStatePayload").validate(found)


validator_of_messages = validator("BillingEventPayload")


@pytest.mark.parametrize(
    "damage",
    [
        {"sequence": "7"},
        {"occurred_at": 0},
        {"usage": None},
        {"access": {"state": "full"}},
        {"subscription": {"status": "active"}},
    ],
    ids=lambda damage: next(iter(damage)),
)
async def test_a_damaged_message_does_not_match_the_schema(damage: dict[str, Any]) -> None:
    """Unknown fields are allowed; missing and mistyped ones are not."""
    _, messages = await lived(20)
    payload = json.loads(messages[0].payload)
    assert validator_of_messages.is_valid({**payload, "a_field_of_2031": True})
    assert not validator_of_messages.is_valid({**payload, **damage})


async def test_the_schema_is_served() -> None:
    """No token is required: the schema holds no tenant's data."""
    app = web.Application()
    app.router.add_routes(routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}{payload_schema.PATH}"
    try:
        async with ClientSession() as session, session.get(url) as answer:
            assert answer.content_type == "application/schema+json"
            assert json.loads(await answer.text()) == payload_schema.schema()
    finally:
        await runner.cleanup()
