"""The way of an event that comes alone: from the first byte of its webhook to the frame that a client reads.

One event at a time, each sent when the client has read the one before: how most deployments live. The limit of the same
run stores and applies an event as limits.py does, and writes to its one listener.
`python benchmarks/lone.py --help` lists the options.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
import load
from deployment import JWT_SECRET, WEBHOOK_SECRET, billing_server, cpu_seconds_of_children, folder, migrate
from ingest import TENANTS, Traffic, limits_server

from billing_app.http.tokens import issue_token
from billing_app.secret import Secret
from billing_app.settings import TokenSettings
from billing_embedded import ServerUrls, embedded_servers
from billing_stripe.testing import sign

WARM_UP: Final = 100
"""Events at the start that are not measured."""
_TENANT: Final = "tenant-7"


@attrs.frozen(kw_only=True)
class Measured:
    """One run of one server: the latency of each event, and the processor time of all processes but the client's."""

    latencies: Sequence[float]
    cpu_per_event: float

    def quantile_ms(self, share: float) -> float:
        """Return the latency that `share` of the events stayed under."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


@asynccontextmanager
async def _billing(urls: ServerUrls) -> AsyncIterator[tuple[int, str, bytes]]:
    settings = {"BILLING_STREAM_RATE_LIMIT_PER_MINUTE": "0"}
    token = issue_token(
        secret=Secret(JWT_SECRET),
        policy=TokenSettings(),
        tenant_id=_TENANT,
        role="viewer",
        now=datetime.now(UTC),
        ttl=timedelta(hours=1),
    )
    async with billing_server(urls, worker="inside", settings=settings) as (port, _):
        yield port, "/webhooks/stripe", _get("/api/v1/billing/stream", f"Authorization: Bearer {token}\r\n")


@asynccontextmanager
async def _limit(urls: ServerUrls) -> AsyncIterator[tuple[int, str, bytes]]:
    async with limits_server(urls) as port:
        yield port, "/apply", _get(f"/stream?tenant={_TENANT}")


_SERVERS: Final[dict[str, Callable[[ServerUrls], AbstractAsyncContextManager[tuple[int, str, bytes]]]]] = {
    "limit": _limit,
    "billing": _billing,
}


def _get(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()


async def measure_one(urls: ServerUrls, traffic: Traffic, name: str, count: int) -> Measured:
    """Send events of one tenant one after the other, each once the one before has been read from the stream."""
    bodies = [body for body in traffic.bodies((count + WARM_UP) * TENANTS) if _TENANT.encode() + b'"' in body]
    latencies, cpu_before = [], 0.0
    async with _SERVERS[name](urls) as (port, path, listen):
        webhooks, stream = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        requests = [load.request(path, body, sign(body, WEBHOOK_SECRET, datetime.now(UTC))) for body in bodies]
        if name == "billing":  # its tenant is known once an event of it was applied
            await _post(webhooks, requests.pop(0))
            await asyncio.sleep(2)
        stream[1].write(listen)
        await stream[0].readuntil(b"\r\n\r\n")
        await asyncio.sleep(1)
        for number, request in enumerate(requests):
            if number == WARM_UP:
                latencies.clear()
                cpu_before = cpu_seconds_of_children()
            started = time.perf_counter()
            posted = asyncio.ensure_future(_post(webhooks, request))
            await stream[0].readuntil(b"\nevent: ")
            await stream[0].readuntil(b"\n\n")
            latencies.append(time.perf_counter() - started)
            await posted
        cpu = cpu_seconds_of_children() - cpu_before
        for _, writer in (webhooks, stream):
            writer.close()
    return Measured(latencies=latencies, cpu_per_event=cpu / len(latencies))


async def _post(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> None:
    reader, writer = connection
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 202 " not in head[:16]:
        raise RuntimeError(head.decode())
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))


async def measure(repeats: int, count: int) -> dict[str, list[Measured]]:
    """Measure both servers, interleaved so that drift of the machine affects both."""
    traffic, results = Traffic(), {name: [] for name in _SERVERS}
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            for repeat in range(repeats):
                for name, runs in results.items():
                    print(f"round {repeat + 1}/{repeats}: {name}", file=sys.stderr)
                    runs.append(await measure_one(urls, traffic, name, count))
    return results


def summarize(results: dict[str, list[Measured]]) -> dict[str, dict[str, float]]:
    """Take the medians over all rounds, and the ratios to the limit of the same round."""
    figures: dict[str, Callable[[Measured], float]] = {
        "p50_ms": lambda run: run.quantile_ms(0.5),
        "p99_ms": lambda run: run.quantile_ms(0.99),
        "cpu_per_event_us": lambda run: run.cpu_per_event * 1e6,
    }
    rows = {
        name: {figure: round(statistics.median(map(value, runs)), 2) for figure, value in figures.items()}
        for name, runs in results.items()
    }
    pairs = list(zip(results["billing"], results["limit"], strict=True))
    ratios = {
        figure: round(statistics.median(value(mine) / value(theirs) for mine, theirs in pairs), 2)
        for figure, value in figures.items()
    }
    return {**rows, "billing / limit": ratios}


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=5, help="repetitions (default 5)")
    arguments.add_argument("--events", type=int, default=500, help="measured events each time (default 500)")
    options = arguments.parse_args()
    print(json.dumps(summarize(await measure(options.repeats, options.events)), indent=2))


if __name__ == "__main__":
    load.run(main())
