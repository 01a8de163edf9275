"""Each outcome has one line in the log, with the level and the fields that the documentation names."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import aiohttp
import attrs
import pytest
import structlog
from tests.integration.processes import subscription_event
from tests.unit.core.operations.accounts import PLANS
from tests.unit.http.test_webhooks import PATH, body, signed

from billing_app import consumer_observers, dependencies, observers
from billing_app.http import access_log, app, refusals
from billing_app.http.operations import calling
from billing_app.settings import CatalogSettings, WebhookSettings
from billing_core.consumers.delivery import DeliveryReport, Result
from billing_core.consumers.values import Consumer, ConsumerMessage, ConsumerName, MessageId
from billing_core.errors import (
    EventBusUnavailableError,
    GatewayUnavailableError,
    MalformedEventError,
    StoreUnavailableError,
)
from billing_core.events import ProviderEvent, Receipt, Translation
from billing_core.operations.performing import Settlement
from billing_core.operations.settling import SettlingReport
from billing_core.operations.stored import OperationRequest, OperationStatus, StoredOperation
from billing_core.outgoing.delivering import WebhookReport
from billing_core.outgoing.values import Delivery, DeliveryResult
from billing_core.stream.publisher import PublishingReport
from billing_core.testing.builders import ACME, AT, message, provider_event
from billing_memory.operations.fake_gateway import FakeGateway
from billing_telemetry import observed

if TYPE_CHECKING:
    from tests.unit.http.conftest import MakeWorld, World

Line: TypeAlias = MutableMapping[str, Any]
ROOT: Final = Path(__file__).parents[3]
PAGE: Final = (ROOT / "docs" / "billing" / "operations.md").read_text(encoding="utf-8")
MODULES: Final = (access_log, app, calling, consumer_observers, dependencies, observed, observers, refusals)
LEASE: Final = timedelta(minutes=1)
NAME: Final = re.compile(r"[a-z_]+(\.[a-z_]+)?")
ALWAYS: Final = frozenset({"event", "log_level"})


@attrs.frozen
class Documented:
    """One row of the table of outcomes."""

    line: str
    level: str
    fields: frozenset[str]


def outcomes() -> Mapping[str, Documented]:
    """Return the table of outcomes: by outcome, its line, level and fields."""
    section = PAGE.partition("\n## Log lines\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|`]+) \| `([a-z_.]+)` \| (\w+) \| ([^|]+) \|$", section, re.M)
    return {
        outcome: Documented(line, level, frozenset(re.findall(r"`(\w+)`", fields)))
        for outcome, line, level, fields in rows
    }


@attrs.define
class Scene:
    """A server, and the lines that were logged since the test last looked."""

    make_world: MakeWorld
    http: aiohttp.ClientSession
    logged: list[Line]

    def begin(self) -> None:
        """Forget what was logged so far."""
        self.logged.clear()

    def lines(self) -> list[Line]:
        """Return what was logged, without the access log."""
        return [line for line in self.logged if line["event"] != "http.request" or line["log_level"] == "warning"]

    async def post(self, world: World, content: bytes, headers: Mapping[str, str]) -> int:
        """Post a webhook."""
        async with self.http.post(world.url + PATH, data=content, headers=headers) as answer:
            return answer.status

    async def process(self, event: ProviderEvent, **changes: Any) -> None:
        """Store an event, then process it."""
        world = self.make_world()
        world.replace(**changes)
        await world.container.inbox().record(event)
        (claim,) = await world.container.queue().claim(limit=1, lease=LEASE)
        self.begin()
        await world.container.batches().process([claim])


@pytest.fixture
def scene(make_world: MakeWorld, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Capture every level: a logger that other tests have used keeps the level that was configured then."""
    structlog.reset_defaults()
    for module in MODULES:
        monkeypatch.setattr(module, "log", structlog.get_logger())
    with structlog.testing.capture_logs() as logged:
        yield Scene(make_world, http, logged)


class Raising:
    """An inbox that stores nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def record(self, event: ProviderEvent, *, lease: timedelta | None = None) -> Receipt:
        raise self.error


class Reading:
    """A translator that gives one answer."""

    def __init__(self, answer: Translation | Exception) -> None:
        self._answer = answer

    def translate(self, _event: ProviderEvent) -> Translation:
        """See EventTranslator."""
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def stored(scene: Scene) -> None:
    async with scene.make_world().serving() as world:
        assert await scene.post(world, body(), signed(body())) == 202


async def stored_before(scene: Scene) -> None:
    content = body()
    async with scene.make_world().serving() as world:
        await scene.post(world, content, signed(content))
        scene.begin()
        assert await scene.post(world, content, signed(content)) == 202


async def not_stored(scene: Scene) -> None:
    world = scene.make_world()
    world.replace(inbox=Raising(StoreUnavailableError()))
    async with world.serving():
        await scene.post(world, body(), signed(body()))  # the first one reports the database, too
        scene.begin()
        assert await scene.post(world, body(), signed(body())) == 503


async def refused(scene: Scene) -> None:
    async with scene.make_world().serving() as world:
        assert await scene.post(world, body(), {}) == 400


async def refused_later(scene: Scene) -> None:
    async with scene.make_world(webhooks=WebhookSettings(body_limit=2048)).serving() as world:
        await scene.post(world, body(), {})
        scene.begin()
        for headers in ({}, {"Content-Encoding": "gzip"}, {"Stripe-Signature": "t=1,v1=00"}):
            assert await scene.post(world, body(), headers) in (400, 415)
        assert await scene.post(world, b"x" * 4000, {}) == 413


async def broke(scene: Scene) -> None:
    world = scene.make_world()
    world.replace(inbox=Raising(RuntimeError("boom")))
    async with world.serving():
        assert await scene.post(world, body(), signed(body())) == 500


# --- events -----------------------------------------------------------------------------------------------------------


async def applied(scene: Scene) -> None:
    await scene.process(provider_event(body=subscription_event(1)))


async def ignored(scene: Scene) -> None:
    await scene.process(provider_event(type="plan.created"))


async def parked(scene: Scene) -> None:
    unlinked = json.loads(subscription_event(1))
    unlinked["data"]["object"]["metadata"] = {}
    await scene.process(provider_event(body=json.dumps(unlinked).encode()))


async def ignored_in_part(scene: Scene) -> None:
    await scene.process(provider_event(), translator=Reading(Translation(ignored="meter_errors", detail="2 of 9")))


async def failed(scene: Scene) -> None:
    await scene.process(provider_event(), translator=Reading(RuntimeError("boom")))


async def dead(scene: Scene) -> None:
    await scene.process(provider_event(), translator=Reading(MalformedEventError("no object")))


async def unconfirmed(scene: Scene) -> None:
    world = scene.make_world()
    await world.container.inbox().record(provider_event(body=subscription_event(1)))
    claims = await world.container.queue().claim(limit=1, lease=LEASE)
    await world.container.quiet_batches().process(claims)
    world.replace(translator=Reading(MalformedEventError("no object")))
    again = await world.container.replay_queue().reclaim([claims[0].dispatch_id], lease=LEASE)
    scene.begin()
    await world.container.batches().process(again)


# --- operations -------------------------------------------------------------------------------------------------------


OPERATION: Final = StoredOperation(
    operation_id=1,
    request=OperationRequest(
        tenant_id=ACME, operation="cancel", request_id="r1", subject="sub_1", arguments_hash="a1", actor="ada"
    ),
    number=1,
    key="bo_1",
    status=OperationStatus.BEGUN,
    attempts=2,
    begun_at=AT,
    planned_at=AT,
    leased_until=AT,
    read_at=AT + timedelta(minutes=1),
)


NO_PLAN: Final = {"plan_code": "none", "interval": "month", "interval_count": 1, "trial": False}


async def ask(scene: Scene, method: str, path: str, status: int, content: Any) -> None:
    """Call an operation of a server whose provider is in memory and sells nothing."""
    world = scene.make_world(catalog=CatalogSettings(plans=PLANS))
    provider = FakeGateway(world.clock)
    world.replace(operation_gateway=provider, preview_gateway=provider, billing_reader=provider)
    headers = {**world.bearer(role="admin"), "Idempotency-Key": "k1"}
    async with (
        world.serving(),
        scene.http.request(
            method, f"{world.url}/api/v1/billing/tenants/{ACME}/{path}", headers=headers, json=content
        ) as answer,
    ):
        assert answer.status == status, await answer.text()


async def operation(scene: Scene) -> None:
    await ask(scene, "POST", "subscriptions", 404, NO_PLAN)


async def preview(scene: Scene) -> None:
    await ask(scene, "POST", "subscriptions/preview", 404, NO_PLAN)


async def settled(scene: Scene) -> None:
    settle(scene, Settlement(operation=OPERATION, result="done"))


async def unsettled(scene: Scene) -> None:
    settle(scene, Settlement(operation=OPERATION, result="unavailable", error=GatewayUnavailableError("away")))


async def operation_broke(scene: Scene) -> None:
    scene.make_world().container.observers().operation_broke(OPERATION, RuntimeError("boom"))


def settle(scene: Scene, settlement: Settlement) -> None:
    report = SettlingReport(settlements=(settlement,))
    scene.make_world().container.observers().operations_settled(report)


# --- messages ---------------------------------------------------------------------------------------------------------


async def published(scene: Scene) -> None:
    world = scene.make_world()
    await world.container.publisher().publish(await world.commit(ACME))


async def unpublished(scene: Scene) -> None:
    lose_bus(scene.make_world())
    (line,) = [line for line in scene.lines() if line["event"] != "messages.published"]
    scene.logged[:] = [line]


async def published_again(scene: Scene) -> None:
    world = scene.make_world()
    lose_bus(world)
    scene.begin()
    await world.container.publisher().publish(await world.commit(ACME))
    scene.logged[:] = [line for line in scene.lines() if line["event"] != "messages.published"]


def lose_bus(world: World) -> None:
    away = PublishingReport(published=0, backfilled=0, failed=1, bus_error=EventBusUnavailableError("append"))
    world.container.observers().published(away)


# --- consumers --------------------------------------------------------------------------------------------------------


def attempt(result: Result) -> DeliveryReport:
    given = ConsumerMessage(id=MessageId(epoch="first", tenant_id=ACME, sequence=7), event=message(sequence=7))
    return DeliveryReport(consumer=Consumer(name=ConsumerName("crm")), message=given, result=result)


def attempted(result: Result) -> Callable[[Scene], Awaitable[None]]:
    async def attempt_once(scene: Scene) -> None:
        scene.make_world().container.consumer_observers().handled(attempt(result))

    return attempt_once


async def failing(scene: Scene) -> None:
    reports = scene.make_world().container.consumer_observers()
    reports.handled(attempt("retried"))
    scene.begin()
    reports.handled(attempt("retried"))


async def recovered(scene: Scene) -> None:
    reports = scene.make_world().container.consumer_observers()
    reports.handled(attempt("retried"))
    scene.begin()
    reports.handled(attempt("handled"))
    scene.logged[:] = [line for line in scene.lines() if line["event"] != "consumer.message_handled"]


async def disabled(scene: Scene) -> None:
    delivery = Delivery(result=DeliveryResult.GONE, detail="answered 410", seconds=0.3)
    report = WebhookReport(consumer=ConsumerName("crm"), delivery=delivery, disabled="The receiver answered 410.")
    scene.make_world().container.consumer_observers().sent(report)


SCENES: Final[Mapping[str, Callable[[Scene], Awaitable[None]]]] = {
    "a webhook is stored": stored,
    "a webhook was stored before": stored_before,
    "a webhook cannot be stored": not_stored,
    "a webhook is refused, the first in a minute": refused,
    "others are refused in that minute": refused_later,
    "a webhook fails by a bug": broke,
    "an event is applied": applied,
    "an event is ignored": ignored,
    "an event is parked": parked,
    "an event is ignored, and says what is wrong": ignored_in_part,
    "an attempt at an event fails": failed,
    "an event is dead": dead,
    "a replay does not confirm an event": unconfirmed,
    "an operation ends": operation,
    "a preview or a read at Stripe fails": preview,
    "an operation with an unknown outcome is settled": settled,
    "its outcome stays unknown": unsettled,
    "an operation fails by a bug": operation_broke,
    "messages are published": published,
    "Redis takes no messages": unpublished,
    "Redis takes messages again": published_again,
    "a message is handled": attempted("handled"),
    "an attempt fails, the first or after a minute": attempted("retried"),
    "others fail in that minute": failing,
    "a consumer works again": recovered,
    "a message is skipped": attempted("skipped"),
    "a message is dead": attempted("dead"),
    "another process took over": attempted("lost"),
    "a receiver is disabled": disabled,
}
"""By outcome, as the documentation names it."""


@pytest.mark.parametrize("outcome", SCENES)
async def test_an_outcome_has_one_line(scene: Scene, outcome: str) -> None:
    """Of the level and with exactly the fields that are documented."""
    await SCENES[outcome](scene)
    (line,) = scene.lines()
    shown = Documented(line["event"], line["log_level"], frozenset(line.keys() - ALWAYS))
    assert shown == outcomes()[outcome]


def test_every_outcome_that_is_documented_is_tried() -> None:
    """And none is tried that is not documented."""
    assert outcomes().keys() == SCENES.keys()


def test_every_line_of_the_code_is_documented() -> None:
    """With nothing beside them."""
    section = PAGE.partition("\n## Log lines\n")[2].partition("\n## ")[0]
    rows = [row.split("|") for row in section.splitlines() if row.startswith("|")]
    cells = [first if "`" in first else second for _, first, second, *_ in rows]
    documented = {name for cell in cells for name in re.findall(r"`([a-z_.]+)`", cell)}
    assert documented == set(lines_of_the_code())


def lines_of_the_code() -> Iterator[str]:
    """Yield the names of all lines: the texts that are passed to a logger, and those of the table of consumers."""
    yield from (line for _, line in consumer_observers._LINES.values())
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _is_logger(node.func):
                texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
                yield from (text for text in texts if isinstance(text, str) and NAME.fullmatch(text))


def _is_logger(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return isinstance(function.value, ast.Name) and function.value.id == "log"
    return isinstance(function, ast.Name) and function.id in {"write", "emit"}
