"""Our own time per call to Stripe: what the client adds to a bare call of the SDK.

All answers come from one small local server, which answers at once. Each round makes one bare call, one through the
client with the limits of this process, and one with limits that are counted on Redis. A call through the client checks
its request, too. On a busy machine the last one also waits for Redis to get a processor: compare p10 then.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import stripe
from aiohttp import web
from deployment import served

from billing_core.operations.call_limits import UNLIMITED
from billing_core.operations.ports import CallLimiter
from billing_embedded import running_servers
from billing_embedded.urls import VALKEY
from billing_redis.call_limiter import RedisCallLimiter
from billing_redis.nodes import RedisNodes
from billing_stripe.client import FallbackCallLimiter, LocalCallLimiter, StripeRequest, open_client

API_VERSION = "2026-10-28.endive"
KEY = "sk_test_benchmark"
PARAMS: Mapping[str, Any] = {"items": [{"id": "si_1", "price": "price_1", "quantity": 25}]}
WARM_UP = 50

Call = Callable[[int], Awaitable[object]]


@asynccontextmanager
async def answering() -> AsyncIterator[str]:
    """Yield the address of a server with the same answer to everything."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"id": "sub_1", "object": "subscription"}, headers={"Request-Id": "req_1"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with served(app) as url:
        yield url


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Call]:
    """Yield a call of the SDK over a shared session."""
    async with aiohttp.ClientSession() as session:
        sdk = stripe.StripeClient(
            KEY,
            stripe_version=API_VERSION,
            max_network_retries=0,
            http_client=stripe.AIOHTTPClient(session=session),
            base_addresses={"api": url},
        )
        yield lambda number: sdk.raw_request_async(
            "post", "/v1/subscriptions/sub_1", idempotency_key=f"key-{number}", **PARAMS
        )


@asynccontextmanager
async def through_client(url: str, limiter: CallLimiter) -> AsyncIterator[Call]:
    """Yield a call through our client."""
    async with open_client(secret_key=KEY, api_version=API_VERSION, base_url=url, limiter=limiter) as client:
        yield lambda number: client.call(
            StripeRequest(
                operation="update_subscription", ids=("sub_1",), params=PARAMS, idempotency_key=f"key-{number}"
            )
        )


async def measure(repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call, by way."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = await stack.enter_async_context(running_servers(folder, VALKEY))
        url = await stack.enter_async_context(answering())
        nodes = await stack.enter_async_context(RedisNodes.open(servers[VALKEY], timeout=timedelta(seconds=2)))
        local = LocalCallLimiter(UNLIMITED)
        shared = FallbackCallLimiter(RedisCallLimiter(nodes, UNLIMITED, secret=KEY), local)
        ways = {
            "bare SDK": await stack.enter_async_context(bare(url)),
            "client": await stack.enter_async_context(through_client(url, local)),
            "client, Redis": await stack.enter_async_context(through_client(url, shared)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(WARM_UP + repeats):
            for name, call in ways.items():
                started = time.perf_counter()
                await call(number)
                seconds[name].append(time.perf_counter() - started)
    return {name: sorted(each[WARM_UP:]) for name, each in seconds.items()}


def summarize(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return milliseconds by way: quantiles, and what the median is above that of a bare call."""
    quantiles = {"p10": 0.1, "p50": 0.5, "p99": 0.99}
    table = {
        name: {each: round(1000 * values[int(len(values) * part)], 3) for each, part in quantiles.items()}
        for name, values in seconds.items()
    }
    return {name: {**row, "added": round(row["p50"] - table["bare SDK"]["p50"], 3)} for name, row in table.items()}


def show(summary: Mapping[str, Mapping[str, float]]) -> None:
    """Format the summary as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="One call, in milliseconds")
    for column in ("way", "p10", "p50", "p99", "added at p50"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for name, row in summary.items():
        table.add_row(name, *map(str, row.values()))
    Console().print(table)


def main() -> None:
    """Measure as the options say."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=2000, help="calls of each way (default 2000)")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = arguments.parse_args()
    summary = summarize(asyncio.run(measure(options.repeats)))
    print(json.dumps(summary, indent=2)) if options.json else show(summary)


if __name__ == "__main__":
    main()
