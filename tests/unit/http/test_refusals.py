"""Refused webhooks: the client's address, the limit per address, and the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs
from tests.unit.http.test_webhooks import PATH, body, signed

from billing_app.http.addresses import UNKNOWN, client_address
from billing_app.http.refusals import RefusalBudget, RefusalCounts, RefusalLog
from billing_app.settings.webhooks import WebhookSettings
from billing_core.errors import StoreUnavailableError
from billing_core.oversight.ports import RefusedWebhooks
from billing_memory.clock import ManualClock
from billing_memory.oversight.refusals import MemoryRefusalTally

if TYPE_CHECKING:
    from tests.unit.http.conftest import MakeWorld, RawRequest, World

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("", ["198.51.100.1"], UNKNOWN),
    ],
)
def test_only_trusted_proxies_can_report_another_address(peer: str, forwarded: Sequence[str], address: str) -> None:
    """X-Forwarded-For counts only as far as trusted proxies pass it on."""
    headers = [("X-Forwarded-For", value) for value in forwarded]
    request = make_mocked_request("POST", "/webhooks/stripe", headers=headers)  # type: ignore[arg-type]
    assert client_address(request.clone(remote=peer), TRUSTED) == address


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_recovers_evenly() -> None:
    """Sixty per minute are sixty at once, then one per second; every address has its own."""
    clock = Clock()
    budget = RefusalBudget(per_minute=60, clock=clock)
    for _ in range(60):
        assert not budget.exhausted("a")
        budget.spend("a")
    assert budget.exhausted("a")
    assert not budget.exhausted("b")
    clock.now = 1.0
    assert not budget.exhausted("a")
    budget.spend("a")
    assert budget.exhausted("a")
    clock.now = 3600.0
    for _ in range(60):
        assert not budget.exhausted("a")
        budget.spend("a")
    assert budget.exhausted("a")


def test_a_budget_of_zero_limits_nothing() -> None:
    """The setting disables the limit."""
    budget = RefusalBudget(per_minute=0)
    for _ in range(1000):
        budget.spend("a")
    assert not budget.exhausted("a")


def test_the_number_of_addresses_is_bounded() -> None:
    """The least recently used address is dropped, not the busy one."""
    budget = RefusalBudget(per_minute=2, clock=Clock())
    for number in range(30_000):
        budget.spend(f"other-{number}")
        budget.spend("busy")
    assert budget.exhausted("busy")
    assert not budget.exhausted("other-0")
    assert len(budget._buckets) <= 10_000


async def test_refusals_are_summarized() -> None:
    """The first is logged at once, the others of the minute in one line."""
    refusals = RefusalLog()
    with capture_logs() as lines:
        for number in range(100):
            refusals.add("bad_signature", "192.0.2.1" if number % 4 else "192.0.2.2", number)
        refusals.add("broken_body", "192.0.2.1")
        refusals.flush()
        refusals.flush()
    assert [line["event"] for line in lines] == ["webhook.refused", "webhook.refused_summary"]
    summary = lines[1]
    assert (summary["count"], summary["reasons"], summary["addresses"]) == (
        100,
        {"bad_signature": 99, "broken_body": 1},
        2,
    )
    assert summary["most"] == {"192.0.2.1": 76, "192.0.2.2": 24}
    assert summary["largest"] == {"bad_signature": 99}


UNSIGNED = b'{"id": "evt_unsigned"}'


async def post_unsigned(world: World, http: aiohttp.ClientSession, count: int) -> Counter[int]:
    """Post unsigned webhooks one after another, and count the statuses of the responses."""
    statuses: Counter[int] = Counter()
    for _ in range(count):
        async with http.post(world.url + PATH, data=UNSIGNED) as answer:
            statuses[answer.status] += 1
    return statuses


async def test_unsigned_webhooks_are_limited_and_a_genuine_one_from_the_same_address_is_not(
    make_world: MakeWorld, http: aiohttp.ClientSession
) -> None:
    """Beyond the limit unsigned ones are answered 429 unread, while a signed one is stored."""
    async with make_world(webhooks=WebhookSettings(refusals_per_minute=5)).serving() as world:
        assert await post_unsigned(world, http, 20) == {400: 5, 429: 15}
        content = body()
        async with http.post(world.url + PATH, data=content, headers=signed(content)) as answer:
            assert answer.status == 202
        assert world.sample("stripe_webhook_events_total", event_type="unknown", result="too_many_refusals") == 15
        old = signed(content, datetime.now(UTC) - timedelta(hours=1))
        async with http.post(world.url + PATH, data=content, headers=old) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
        forged = {"Stripe-Signature": f"t={int(datetime.now(UTC).timestamp())},v1={'0' * 64}"}
        async with http.post(world.url + PATH, data=content, headers=forged) as answer:
            assert answer.status == 400  # only its body shows that it is forged


async def test_refused_webhooks_are_logged_once_and_in_a_summary(
    make_world: MakeWorld, http: aiohttp.ClientSession
) -> None:
    """A flood of a thousand makes two lines, not two thousand: the access log omits them."""
    with capture_logs() as lines:
        async with make_world(webhooks=WebhookSettings(refusals_per_minute=0)).serving() as world:
            assert await post_unsigned(world, http, 50) == {400: 50}
    events = [line["event"] for line in lines if line["log_level"] != "debug"]
    assert events == ["webhook.refused", "webhook.refused_summary"]


async def test_only_webhooks_that_may_be_genuine_are_tallied(
    make_world: MakeWorld, http: aiohttp.ClientSession
) -> None:
    """By reason, with the largest size; of a body that was cut off it is known to exceed the limit."""
    limit = 2048
    async with make_world(webhooks=WebhookSettings(body_limit=limit)).serving() as world:

        async def refuse(content: bytes, headers: dict[str, str], *, chunked: bool = False) -> None:
            async def pieces() -> AsyncIterator[bytes]:
                yield content

            data = pieces() if chunked else content
            async with http.post(world.url + PATH, data=data, headers=headers) as answer:
                assert answer.status in (400, 413)

        today = datetime.now(UTC) - timedelta(hours=1)
        await post_unsigned(world, http, 3)
        await refuse(b"x" * 4000, {})
        await refuse(body(), signed(b"another body"))
        await refuse(b"x" * (limit + 9), signed(b""), chunked=True)
        tally = world.container.refusal_tally()
        assert await tally.since(today) == []  # not before the minute is over, or the process ends
    found = {each.reason: (each.count, each.largest) for each in await tally.since(today)}
    assert found == {"too_large": (1, limit + 1), "bad_signature": (1, len(body()))}


ALWAYS = datetime.min.replace(tzinfo=UTC)


class FlakyTally(MemoryRefusalTally):
    """A tally whose store can be unavailable, or not answer at all."""

    failing = hanging = False

    async def add(self, refused: Collection[RefusedWebhooks]) -> None:
        if self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            raise StoreUnavailableError
        await super().add(refused)


async def ended(counts: RefusalCounts) -> None:
    """Let the loop begin and end, as the process does."""
    running = asyncio.ensure_future(counts.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_counts_wait_for_a_store_that_is_unavailable() -> None:
    """Counts that could not be written are written later, with newer ones; an hour ends with it."""
    clock, tally = ManualClock(datetime(2026, 3, 1, 23, 59, tzinfo=UTC)), FlakyTally()
    counts = RefusalCounts(tally, clock)
    counts.add("too_large", 5)
    tally.failing = True
    await ended(counts)
    assert await tally.since(ALWAYS) == []
    tally.failing = False
    counts.add("too_large", 10**30)
    clock.advance(timedelta(minutes=1))
    counts.add("too_large", 7)
    await ended(counts)
    first, second = await tally.since(ALWAYS)
    assert (first.hour, first.count, first.largest) == (datetime(2026, 3, 1, 23, tzinfo=UTC), 2, 2**63 - 1)
    assert (second.hour, second.count, second.largest) == (datetime(2026, 3, 2, tzinfo=UTC), 1, 7)
    await ended(counts)
    assert await tally.since(ALWAYS) == [first, second]


async def test_a_store_that_does_not_answer_delays_no_shutdown() -> None:
    """The counts of the last minute are lost then."""
    tally = FlakyTally()
    counts = RefusalCounts(tally, ManualClock())
    counts.add("too_large", 5)
    tally.hanging = True
    async with asyncio.timeout(10):
        await ended(counts)


@pytest.mark.parametrize("request_line", [b"GET /healthz HTTP/1.1", b"GET /nowhere HTTP/1.1", b"\x16\x03\x01 what"])
async def test_no_response_reveals_versions(world: World, raw_request: RawRequest, request_line: bytes) -> None:
    """Neither of Python nor of aiohttp, not even to a malformed request."""
    answer = await raw_request(world, request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"server: billing" in head
    assert b"python" not in head
    assert b"aiohttp" not in head
