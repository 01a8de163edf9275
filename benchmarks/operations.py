"""Our own time per operation, over a bare call with Stripe's SDK: python benchmarks/operations.py [--times 1000]

Every operation is timed four ways, one after the other, again and again: with Stripe's SDK alone; with `StripeClient`,
which checks, limits, repeats and reports; with `StripeGateway`, which builds the call and reads the answer; and with
`OperationRunner`, which stores the decision first (in memory: a real store adds the time of its three statements).
All four go to the same server, in a process of its own, which answers at once, and take turns in changing order: what
slows the machine down slows them alike, and what an operation takes beyond the SDK's call is ours. On a machine that is
busy with other things, look at the processor's time: it counts this process only. Our own time can be negative: for
each request the SDK describes the machine in a header, which takes a millisecond, while the one that we send is fixed.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import aiohttp
import attrs
import stripe
from aiohttp import web

from billing_core.model import CustomerId, ItemId, PriceId, SubscriptionId, TenantId
from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.commands import (
    CancelAtPeriodEnd,
    Command,
    NewItem,
    PriceChoice,
    SetSeats,
    StartSubscription,
)
from billing_core.operations.performing import OperationPerformer
from billing_core.operations.results import Performed
from billing_core.operations.runner import OperationRunner
from billing_core.operations.stored import OperationRequest, StoredOperation
from billing_embedded.loopback import free_port
from billing_memory.clock import SystemClock
from billing_memory.database import MemoryDatabase
from billing_memory.operations.log import MemoryOperationLog
from billing_stripe.client import StripeClient, StripeRequest, open_client
from billing_stripe.client.local_limiter import LocalCallLimiter
from billing_stripe.gateway import StripeGateway
from billing_stripe.testing import API_VERSIONS, builders
from billing_stripe.testing.samples import SUBSCRIPTION

VERSION: Final = API_VERSIONS[-1]
KEY: Final = "sk_test_benchmark"
WARM_UP: Final = 50
GOAL: Final = timedelta(milliseconds=1)
"""Our own time at the median."""


@attrs.frozen(kw_only=True)
class Case:
    """One operation: as a command, and as the call that it comes to."""

    command: Command
    call: str
    ids: tuple[str, ...] = ()
    params: Mapping[str, Any]
    with_sdk: Callable[[stripe.StripeClient, Any], Awaitable[object]]


_SECRETS: Final = ["latest_invoice.confirmation_secret", "pending_setup_intent"]
_SUBSCRIPTION: Final = SubscriptionId(SUBSCRIPTION.subscription_id)

CASES: Final = (
    Case(
        command=StartSubscription(
            tenant_id=TenantId("acme"),
            customer_id=CustomerId("cus_benchmark"),
            items=(NewItem(price=PriceChoice(price_id=PriceId("price_pro")), quantity=5),),
            payment="on_file",
        ),
        call="create_subscription",
        params={
            "customer": "cus_benchmark",
            "items": [{"price": "price_pro", "quantity": 5}],
            "billing_mode": {"type": "flexible"},
            "metadata": {"tenant_id": "acme", "billing_operation": "bo_benchmark"},
            "payment_behavior": "allow_incomplete",
            "expand": _SECRETS,
        },
        with_sdk=lambda sdk, given: sdk.v1.subscriptions.create_async(*given),
    ),
    Case(
        command=SetSeats(subscription_id=_SUBSCRIPTION, item_id=ItemId("si_benchmark"), quantity=5),
        call="update_subscription",
        ids=(_SUBSCRIPTION,),
        params={
            "items": [{"id": "si_benchmark", "quantity": 5}],
            "proration_behavior": "create_prorations",
            "payment_behavior": "allow_incomplete",
            "expand": _SECRETS,
        },
        with_sdk=lambda sdk, given: sdk.v1.subscriptions.update_async(_SUBSCRIPTION, *given),
    ),
    Case(
        command=CancelAtPeriodEnd(subscription_id=_SUBSCRIPTION),
        call="update_subscription",
        ids=(_SUBSCRIPTION,),
        params={"cancel_at_period_end": True},
        with_sdk=lambda sdk, given: sdk.v1.subscriptions.update_async(_SUBSCRIPTION, *given),
    ),
)


def serve(port: int) -> None:
    """Answer every request with the same subscription, at once."""
    body = json.dumps(builders.subscription(SUBSCRIPTION, VERSION)).encode()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json", headers={"Request-Id": "req_benchmark"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """Run the server in a process of its own and yield its address."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--serve", str(port))
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(url):
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.05)
        yield url
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def sdk_client(url: str) -> AsyncIterator[stripe.StripeClient]:
    """Open the SDK as its documentation says, on one session."""
    async with aiohttp.ClientSession() as session:
        yield stripe.StripeClient(
            KEY,
            stripe_version=VERSION,
            max_network_retries=0,
            base_addresses={"api": url},
            http_client=stripe.AIOHTTPClient(session=session),
        )


Way = Callable[[Case, str], Awaitable[object]]
"""Carries an operation out, under a key."""


def ways(sdk: stripe.StripeClient, client: StripeClient) -> Mapping[str, Way]:
    """Return the four ways to carry an operation out, each built on the one before."""
    gateway = StripeGateway(client)
    runner = _runner(gateway)

    async def with_sdk(case: Case, key: str) -> object:
        return await case.with_sdk(sdk, (case.params, {"idempotency_key": key}))

    async def with_client(case: Case, key: str) -> object:
        request = StripeRequest(operation=case.call, ids=case.ids, params=case.params, idempotency_key=key)
        return await client.call(request)

    async def with_gateway(case: Case, key: str) -> object:
        return await gateway.perform(case.command, key)

    async def with_runner(case: Case, key: str) -> object:
        async def decide() -> Command:
            return case.command

        return await runner.run(_request(case, key), decide)

    return {"SDK": with_sdk, "StripeClient": with_client, "StripeGateway": with_gateway, "OperationRunner": with_runner}


def _request(case: Case, key: str) -> OperationRequest:
    return OperationRequest(
        tenant_id=TenantId("acme"),
        operation=case.command.operation,
        request_id=key,
        subject=key,
        arguments_hash="",
        actor="benchmark",
    )


def _runner(gateway: StripeGateway) -> OperationRunner:
    async def keep(_operation: StoredOperation, _performed: Performed) -> None:
        return None

    log = _ForgetfulLog()
    performer = OperationPerformer(log=log, gateway=gateway, keep=keep)
    return OperationRunner(log=log, performer=performer, policy=performer.policy, observe=lambda _report: None)


class _ForgetfulLog(MemoryOperationLog):
    """A log that keeps its last operation only: the one in memory looks at all of them."""

    def __init__(self) -> None:
        self._database = MemoryDatabase()
        super().__init__(self._database, SystemClock())

    async def begin(self, request: OperationRequest, *, lease: timedelta) -> Any:
        self._database.operations.clear()
        return await super().begin(request, lease=lease)


@attrs.define
class Taken:
    """The runs of one way, in milliseconds: by the wall's clock, and of the processor."""

    wall: list[float] = attrs.field(factory=list)
    processor: list[float] = attrs.field(factory=list)


async def measure(case: Case, each: Mapping[str, Way], times: int, keys: Iterator[int]) -> Mapping[str, Taken]:
    """Return the time of every run, by way; the ways take turns, and each comes after each other."""
    taken = {name: Taken() for name in each}
    orders = itertools.cycle(itertools.permutations(each.items()))
    for number, order in zip(range(WARM_UP + times), orders, strict=False):
        for name, way in order:
            key = f"bo_benchmark{next(keys)}"
            wall, processor = time.perf_counter(), time.process_time()
            await way(case, key)
            if number >= WARM_UP:
                taken[name].wall.append((time.perf_counter() - wall) * 1000)
                taken[name].processor.append((time.process_time() - processor) * 1000)
    return taken


def report(case: Case, taken: Mapping[str, Taken]) -> bool:
    """Print a table; return whether the goal was reached."""
    print(f"\n{case.command.operation:22}{'wall clock, ms':>24}{'processor, ms':>24}{'own processor time, ms':>26}")
    print(f"{'':22}{'p50':>16}{'p99':>8}{'p50':>16}{'p99':>8}{'p50':>18}{'p99':>8}")
    bare = taken["SDK"].processor
    ours = {name: [run - sdk for run, sdk in zip(way.processor, bare, strict=True)] for name, way in taken.items()}
    for name, way in taken.items():
        columns = ((way.wall, 16), (way.processor, 16), (ours[name], 18))
        print(f"{name:22}" + "".join(f"{_at(runs, 50):{width}.2f}{_at(runs, 99):8.2f}" for runs, width in columns))
    return timedelta(milliseconds=_at(ours["StripeGateway"], 50)) <= GOAL


def _at(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def run(times: int) -> int:
    """Measure all operations."""
    unlimited = LocalCallLimiter(UNLIMITED)
    keys, reached = itertools.count(), True
    async with (
        server() as url,
        sdk_client(url) as sdk,
        open_client(secret_key=KEY, api_version=VERSION, base_url=url, limiter=unlimited) as client,
    ):
        for case in CASES:
            reached &= report(case, await measure(case, ways(sdk, client), times, keys))
    goal = GOAL / timedelta(milliseconds=1)
    print(f"\nThe goal of {goal:.0f} ms of our own at p50 in StripeGateway was {'reached' if reached else 'missed'}.")
    return 0 if reached else 1


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=1000, help="runs of each operation, each way (default 1000)")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve)
        return 0
    return asyncio.run(run(arguments.times))


if __name__ == "__main__":
    sys.exit(main())
