"""The fake Stripe's kernel: parameters, errors, pages, idempotency keys, faults, limits and webhooks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from billing_stripe.testing import API_VERSIONS, objects
from billing_stripe.testing.fake_stripe import Clock, DeliveryPolicy, FakeStripe, Limits, fake_stripe, faults
from billing_stripe.testing.fake_stripe.errors import StripeError
from billing_stripe.testing.fake_stripe.forms import decode
from billing_stripe.testing.fake_stripe.limits import Load

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ENDPOINTS = "/v1/webhook_endpoints"
ENDPOINT = {"url": "http://127.0.0.1:9/hooks", "enabled_events[]": "invoice.paid"}


@attrs.frozen
class Answer:
    """A response with its body read."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def error(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.body["error"]
        return found


class Client:
    """Sends raw requests, so that nothing of the SDK is between a test and the wire."""

    def __init__(self, fake: FakeStripe, session: aiohttp.ClientSession) -> None:
        self.fake = fake
        self._session = session

    async def send(
        self,
        method: str,
        path: str,
        data: Mapping[str, str] | str | None = None,
        *,
        key: str | None = None,
        **headers: str,
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self.fake.secret_key}", **headers}
        if key is not None:
            sent["Idempotency-Key"] = key
        if isinstance(data, str):
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        async with self._session.request(method, self.fake.url + path, data=data, headers=sent) as response:
            return Answer(response.status, json.loads(await response.read()), response.headers)

    async def endpoints(self) -> list[Mapping[str, Any]]:
        answer = await self.send("GET", f"{ENDPOINTS}?limit=100")
        found: list[Mapping[str, Any]] = answer.body["data"]
        return found


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    """A fake whose clock stands still."""
    async with fake_stripe(clock=Clock(NOON), seed="kernel") as running:
        yield running


@pytest.fixture
async def client(fake: FakeStripe) -> AsyncIterator[Client]:
    """A client of it."""
    async with aiohttp.ClientSession() as session:
        yield Client(fake, session)


# --- parameters -------------------------------------------------------------------------------------------------


def test_nested_names_become_nested_groups() -> None:
    """Numbers are keys until a form says that it expects an array; `[]` counts by itself."""
    assert decode("a=1&b[c]=2&i[0][p]=x&i[0][q]=&i[1][p]=y&e[]=m&e[]=n&m[k%20k]=%C3%BC") == {
        "a": "1",
        "b": {"c": "2"},
        "i": {"0": {"p": "x", "q": ""}, "1": {"p": "y"}},
        "e": {"0": "m", "1": "n"},
        "m": {"k k": "ü"},
    }


REFUSED = {
    "an unknown parameter": ("url=http://x&enabled_events[]=*&tint=red", "parameter_unknown", "tint"),
    "a missing parameter": ("url=http://x", "parameter_missing", "enabled_events"),
    "an empty parameter": ("url=&enabled_events[]=*", "parameter_invalid_empty", "url"),
    "a word that is no boolean": ("url=http://x&enabled_events[]=*&connect=maybe", None, "connect"),
    "a text where an array belongs": ("url=http://x&enabled_events=*", None, "enabled_events"),
    "a group where a text belongs": ("url[a]=x&enabled_events[]=*", None, "url"),
    "a name that is both": ("url=x&url[a]=x", None, "url[a]"),
    "a field that cannot be expanded": ("url=http://x&enabled_events[]=*&expand[]=url", None, "expand"),
}


@pytest.mark.parametrize(("encoded", "code", "param"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_bad_parameter_is_named_and_nothing_is_made(
    encoded: str, code: str | None, param: str, client: Client
) -> None:
    """The whole request has no effect, even if only its expansion is wrong."""
    answer = await client.send("POST", ENDPOINTS, encoded)
    assert (answer.status, answer.error.get("code"), answer.error["param"]) == (400, code, param)
    assert answer.error["type"] == "invalid_request_error"
    assert await client.endpoints() == []


@pytest.mark.parametrize("path", [f"{ENDPOINTS}/", "/v1/customers/", "/v1/nothing", "/v3/customers"])
async def test_an_unknown_address_is_not_folded_into_a_known_one(path: str, client: Client) -> None:
    """An empty id makes the path of a collection with a slash, which Stripe does not serve."""
    answer = await client.send("GET", path)
    assert answer.status == 404
    assert answer.error["message"].startswith(f"Unrecognized request URL (GET: {path})")


async def test_every_answer_names_request_and_date(client: Client, fake: FakeStripe) -> None:
    """The date is the account's clock, which also dates the events."""
    answer = await client.send("GET", ENDPOINTS, **{"Stripe-Version": API_VERSIONS[0]})
    assert answer.headers["Request-Id"] == "req_00000000000001"
    assert answer.headers["Date"] == "Sat, 31 Jan 2026 12:00:00 GMT"
    assert answer.headers["Stripe-Version"] == API_VERSIONS[0]
    fake.advance(timedelta(hours=1))
    assert (await client.send("GET", ENDPOINTS)).headers["Date"] == "Sat, 31 Jan 2026 13:00:00 GMT"


async def test_a_version_that_is_none_is_refused(client: Client) -> None:
    """As are a wrong key and a missing one."""
    assert (await client.send("GET", ENDPOINTS, **{"Stripe-Version": "latest"})).status == 400
    assert (await client.send("GET", ENDPOINTS, Authorization="Bearer sk_test_other")).status == 401
    assert (await client.send("GET", ENDPOINTS, Authorization="")).status == 401


# --- pages ------------------------------------------------------------------------------------------------------


async def test_pages_go_in_both_directions(client: Client) -> None:
    """Newest first; `ending_before` gives the page just before the cursor."""
    for number in range(5):
        await client.send("POST", ENDPOINTS, {"url": f"http://x/{number}", "enabled_events[]": "*"})
    ids = [endpoint["id"] for endpoint in await client.endpoints()]

    async def page(query: str) -> tuple[list[str], bool]:
        body = (await client.send("GET", f"{ENDPOINTS}?{query}")).body
        assert (body["object"], body["url"]) == ("list", ENDPOINTS)
        return [member["id"] for member in body["data"]], body["has_more"]

    assert await page("limit=2") == (ids[:2], True)
    assert await page(f"limit=2&starting_after={ids[1]}") == (ids[2:4], True)
    assert await page(f"limit=2&starting_after={ids[3]}") == (ids[4:], False)
    assert await page(f"limit=2&ending_before={ids[4]}") == (ids[2:4], True)
    assert await page(f"limit=9&ending_before={ids[2]}") == (ids[:2], False)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "starting_after=we_1", "starting_after=a&ending_before=b"]
)
async def test_a_bad_cursor_or_limit_is_refused(query: str, client: Client) -> None:
    """With 400, also for an object that is gone."""
    assert (await client.send("GET", f"{ENDPOINTS}?{query}")).status == 400


# --- idempotency ------------------------------------------------------------------------------------------------


async def test_the_same_key_gets_the_same_answer(client: Client) -> None:
    """Byte for byte, and marked as a replay of the first request."""
    first = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    second = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert first.body == second.body
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert second.headers["Original-Request"] == first.headers["Request-Id"] != second.headers["Request-Id"]
    assert len(await client.endpoints()) == 1


async def test_a_key_belongs_to_its_parameters(client: Client) -> None:
    """Another request with the key is a mistake of the client."""
    await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    answer = await client.send("POST", ENDPOINTS, {**ENDPOINT, "url": "http://x/other"}, key="k1")
    assert (answer.status, answer.error["type"]) == (400, "idempotency_error")


async def test_a_validation_failure_leaves_the_key_free(client: Client) -> None:
    """Nothing was executed, so that the corrected request may use it."""
    assert (await client.send("POST", ENDPOINTS, {"url": "http://x"}, key="k1")).status == 400
    assert (await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")).status == 200


async def test_a_key_is_forgotten_after_a_day(client: Client, fake: FakeStripe) -> None:
    """The same request then makes a second object."""
    await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    fake.advance(timedelta(hours=23, minutes=59))
    await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert len(await client.endpoints()) == 1
    fake.advance(timedelta(minutes=1))
    await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert len(await client.endpoints()) == 2


async def test_reads_have_no_keys(client: Client) -> None:
    """A read with a used key is a read."""
    await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    answer = await client.send("GET", ENDPOINTS, key="k1")
    assert len(answer.body["data"]) == 1
    assert "Idempotent-Replayed" not in answer.headers


class Gate:
    """Holds requests that are being executed, until it is opened."""

    def __init__(self, expected: int = 1) -> None:
        self.full = asyncio.Event()
        self.open = asyncio.Event()
        self._expected = expected
        self._requests: list[web.Request] = []

    async def gone(self) -> None:
        """Wait until the server has noticed that the clients are gone."""
        while any(request.transport is not None for request in self._requests):  # noqa: ASYNC110 - nothing to wait for
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    async def strike(self, request: web.Request, closing: asyncio.Event) -> None:
        self._requests.append(request)
        self._expected -= 1
        if self._expected == 0:
            self.full.set()
        await self.open.wait()


async def test_a_key_in_use_is_a_conflict(client: Client, fake: FakeStripe) -> None:
    """The second request fails at once, and may be repeated when the first is done."""
    gate = Gate()
    fake.fail(ENDPOINTS, gate, at="executing")
    first = asyncio.create_task(client.send("POST", ENDPOINTS, ENDPOINT, key="k1"))
    await gate.full.wait()
    answer = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert (answer.status, answer.error["code"]) == (409, "idempotency_key_in_use")
    gate.open.set()
    assert (await first).status == 200
    assert (await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")).body == (await first).body


# --- faults -----------------------------------------------------------------------------------------------------

STRUCK: dict[faults.Point, tuple[int, bool, int]] = {
    "before": (0, False, 200),
    "executing": (0, True, 500),
    "executed": (1, True, 500),
    "answering": (1, True, 200),
}


@pytest.mark.parametrize(("at", "expected"), STRUCK.items(), ids=STRUCK.keys())
async def test_when_a_server_error_strikes_decides_what_a_retry_finds(
    at: faults.Point, expected: tuple[int, bool, int], client: Client, fake: FakeStripe
) -> None:
    """Whether something was made, whether the key has an answer, and which one."""
    made, replayed, status = expected
    fake.fail(ENDPOINTS, faults.server_error(), at=at, method="POST")
    assert (await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")).status == 500
    assert len(await client.endpoints()) == made
    again = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert again.status == status
    assert ("Idempotent-Replayed" in again.headers) == replayed


@pytest.mark.parametrize("fault", [faults.rate_limited(), faults.lock_timeout(), faults.conflict()])
async def test_a_request_that_was_shed_leaves_the_key_free(
    fault: faults.Answer, client: Client, fake: FakeStripe
) -> None:
    """Wherever it strikes."""
    fake.fail(ENDPOINTS, fault, at="executing")
    assert (await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")).status == fault.status
    again = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert again.status == 200
    assert "Idempotent-Replayed" not in again.headers


CUT = {"dropped": faults.DroppedBody(), "reset": faults.Reset(), "stalled": faults.Stall(), "hanging": faults.Hang()}


@pytest.mark.parametrize("fault", CUT.values(), ids=CUT.keys())
async def test_a_lost_answer_is_found_under_its_key(fault: faults.Fault, client: Client, fake: FakeStripe) -> None:
    """The object is made once, whatever the client saw."""
    fake.fail(ENDPOINTS, fault, at="answering", times=5)
    with pytest.raises((aiohttp.ClientError, TimeoutError)):
        async with asyncio.timeout(0.5):
            await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    fake.clear_faults()
    again = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert [again.body["id"]] == [endpoint["id"] for endpoint in await client.endpoints()]


async def test_a_client_that_goes_away_does_not_end_what_it_began(client: Client, fake: FakeStripe) -> None:
    """Execution goes on at Stripe."""
    gate = Gate()
    fake.fail(ENDPOINTS, gate, at="executing")
    call = asyncio.create_task(client.send("POST", ENDPOINTS, ENDPOINT, key="k1"))
    await gate.full.wait()
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await gate.gone()
    gate.open.set()
    assert len(await client.endpoints()) == 1


# --- load -------------------------------------------------------------------------------------------------------


async def test_width_sheds_before_rate(client: Client, fake: FakeStripe) -> None:
    """Requests above the limit are refused without a time to wait; the others pass."""
    fake.limits = Limits(in_flight=2, endpoint_rate=3)
    gate = Gate(2)
    fake.fail(ENDPOINTS, gate, at="executing", times=2)
    wide = asyncio.gather(*(client.send("GET", ENDPOINTS) for _ in range(2)))
    await gate.full.wait()
    shed = await client.send("GET", ENDPOINTS)
    gate.open.set()
    assert (shed.status, shed.error["code"]) == (429, "rate_limit")
    assert shed.headers["Stripe-Rate-Limited-Reason"] == "endpoint-concurrency"
    assert "Retry-After" not in shed.headers
    assert [answer.status for answer in await wide] == [200, 200]


async def test_more_than_the_rate_is_shed(client: Client, fake: FakeStripe) -> None:
    """For one endpoint, and for all of them together."""
    fake.limits = Limits(endpoint_rate=0)
    assert (await client.send("GET", ENDPOINTS)).headers["Stripe-Rate-Limited-Reason"] == "endpoint-rate"
    fake.limits = Limits(total_rate=0)
    assert (await client.send("GET", ENDPOINTS)).headers["Stripe-Rate-Limited-Reason"] == "global-rate"


def test_the_rate_counts_the_last_second() -> None:
    """On a clock of its own."""
    seconds = 0.0
    load = Load(lambda: seconds)
    limits = Limits(endpoint_rate=2)

    def begin() -> bool:
        try:
            with load.admitted("GET /v1/x", limits):
                return True
        except StripeError:
            return False

    assert [begin() for _ in range(3)] == [True, True, False]
    seconds = 0.9
    assert not begin()
    seconds = 1.0
    assert begin()


async def test_two_changes_of_one_object_do_not_overlap(client: Client, fake: FakeStripe) -> None:
    """The second one is told to retry; other objects are free."""
    one, two = [(await client.send("POST", ENDPOINTS, ENDPOINT)).body["id"] for _ in range(2)]
    gate = Gate()
    fake.fail(f"{ENDPOINTS}/{one}", gate, at="executing")
    first = asyncio.create_task(client.send("POST", f"{ENDPOINTS}/{one}", {"description": "x"}))
    await gate.full.wait()
    locked = await client.send("POST", f"{ENDPOINTS}/{one}", {"description": "y"})
    free = await client.send("POST", f"{ENDPOINTS}/{two}", {"description": "y"})
    gate.open.set()
    assert (locked.status, locked.error["code"], free.status) == (429, "lock_timeout", 200)
    assert locked.headers["Stripe-Should-Retry"] == "true"
    assert (await first).body["description"] == "x"


# --- connected accounts -----------------------------------------------------------------------------------------


async def test_connected_accounts_are_apart(client: Client, fake: FakeStripe) -> None:
    """Each has its own objects and keys; an account that is not connected is refused."""
    fake.connect("acct_2")
    await client.send("POST", ENDPOINTS, ENDPOINT, key="k1", **{"Stripe-Account": "acct_2"})
    assert await client.endpoints() == []
    assert len((await client.send("GET", ENDPOINTS, **{"Stripe-Context": "acct_2"})).body["data"]) == 1
    first = await client.send("POST", ENDPOINTS, ENDPOINT, key="k1")
    assert "Idempotent-Replayed" not in first.headers
    assert (await client.send("GET", ENDPOINTS, **{"Stripe-Account": "acct_3"})).status == 403


# --- events and webhooks ----------------------------------------------------------------------------------------


class Receiver:
    """An application's webhook endpoint."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[Mapping[str, Any]] = []
        self.refuse = 0
        """Deliveries that it answers with an error."""

    async def receive(self, request: web.Request) -> web.Response:
        self.received.append({**await request.json(), "signature": request.headers["Stripe-Signature"]})
        if self.refuse > 0:
            self.refuse -= 1
            return web.Response(status=500)
        return web.Response()

    @property
    def names(self) -> list[str]:
        return [event["data"]["object"]["name"] for event in self.received]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A running endpoint."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/", receiver.receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = "http://{}:{}/".format(*runner.addresses[0])
    yield receiver
    await runner.cleanup()


def make(fake: FakeStripe, *names: str) -> None:
    for name in names:
        customer = objects.Customer(customer_id=fake.account.new_id("cus"), created_at=NOON, name=name)
        fake.account.create(customer)


async def test_an_event_is_sent_in_the_endpoints_version(fake: FakeStripe, receiver: Receiver) -> None:
    """And stored in the account's; both are signed with the endpoint's secret."""
    endpoint = fake.add_webhook_endpoint(receiver.url, secret="whsec_x", api_version="2022-11-15")
    make(fake, "Zoe")
    await fake.delivered()
    (sent,) = receiver.received
    stored = fake.account.journal.find(sent["id"], NOON)
    assert stored is not None
    assert (sent["api_version"], stored["api_version"]) == ("2022-11-15", API_VERSIONS[-1])
    assert "customer_account" not in sent["data"]["object"]
    assert "customer_account" in stored["data"]["object"]
    assert sent["type"] == "customer.created"
    assert endpoint.secret == "whsec_x"


async def test_a_refused_delivery_is_repeated(fake: FakeStripe, receiver: Receiver) -> None:
    """Until it is accepted; pending deliveries are counted."""
    fake.add_webhook_endpoint(receiver.url)
    receiver.refuse = 2
    make(fake, "Zoe")
    (event,) = fake.account.journal.newest(NOON)
    assert event["pending_webhooks"] == 1
    await fake.delivered()
    assert [attempt.status for attempt in fake.webhooks.attempts] == [500, 500, 200]
    (event,) = fake.account.journal.newest(NOON)
    assert event["pending_webhooks"] == 0
    assert len({sent["id"] for sent in receiver.received}) == 1


async def test_events_arrive_in_any_order_that_a_test_asks_for(fake: FakeStripe, receiver: Receiver) -> None:
    """Some of them twice."""
    fake.add_webhook_endpoint(receiver.url)
    fake.webhooks.hold()
    make(fake, "a", "b", "c")
    await fake.delivered()
    assert receiver.received == []
    fake.webhooks.release(lambda ids: [ids[2], ids[0], ids[2]])
    make(fake, "d")
    await fake.delivered()
    assert receiver.names == ["c", "a", "c", "d"]


async def test_events_are_sent_as_often_as_the_policy_says(receiver: Receiver) -> None:
    """An endpoint has to know them again."""
    async with fake_stripe(delivery=DeliveryPolicy(copies=3, parallel=2)) as fake:
        fake.add_webhook_endpoint(receiver.url, events=["customer.created"])
        fake.add_webhook_endpoint(receiver.url, events=["invoice.paid"])
        make(fake, "Zoe")
        await fake.delivered()
    assert receiver.names == ["Zoe"] * 3


async def test_an_endpoint_that_is_away_is_given_up(fake: FakeStripe) -> None:
    """The event stays undelivered, and a list of such events shows it."""
    fake.add_webhook_endpoint("http://127.0.0.1:9/")
    make(fake, "Zoe")
    await fake.delivered()
    assert [attempt.status for attempt in fake.webhooks.attempts] == [None] * 3
    (event,) = fake.account.journal.newest(NOON)
    assert event["pending_webhooks"] == 1


async def test_events_of_connected_accounts_go_to_endpoints_for_them(fake: FakeStripe, receiver: Receiver) -> None:
    """Named after their account."""
    fake.add_webhook_endpoint(receiver.url, connect=True)
    connected = fake.connect("acct_2")
    make(fake, "own")
    connected.create(objects.Customer(customer_id="cus_9", created_at=NOON, name="theirs"))
    await fake.delivered()
    assert [(event["account"], event["data"]["object"]["name"]) for event in receiver.received] == [
        ("acct_2", "theirs")
    ]


async def test_events_can_be_listed_for_thirty_days(client: Client, fake: FakeStripe) -> None:
    """By type and time, newest first."""
    make(fake, "a", "b")
    fake.advance(timedelta(days=20))
    make(fake, "c")

    async def names(query: str = "") -> list[str]:
        body = (await client.send("GET", f"/v1/events{query}")).body
        return [event["data"]["object"]["name"] for event in body["data"]]

    assert await names() == ["c", "b", "a"]
    assert await names(f"?created[gt]={int(NOON.timestamp())}") == ["c"]
    assert await names("?types[]=customer.*&types[]=invoice.paid") == ["c", "b", "a"]
    assert await names("?type=invoice.paid") == []
    fake.advance(timedelta(days=11))
    assert await names() == ["c"]
