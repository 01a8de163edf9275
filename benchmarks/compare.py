"""Our servers, the limit of the machine, and two other programs that keep Stripe's objects in Postgres, in one table.

All of them get the same signed webhooks over the same number of connections, on the same Postgres, one program after
the other, in several rounds. dj-stripe comes from PyPI and stripe-sync-engine from npm, each into an environment of its
own below a temporary folder. A measurement counts only if the tables show that every event was written; a program that
cannot be installed or does not write them is left out, and the page says why. `cpu_per_event` is the processor time of
all processes but the sender's, Postgres included. The result is written to compare.md.
`python benchmarks/compare.py --help` lists the options.
"""

import argparse
import asyncio
import itertools
import os
import platform
import statistics
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import attrs
import load
from deployment import cpu_seconds_of_children, folder, migrate
from ingest import Measured, Traffic, measure_billing, measure_limit
from peers import LeftOutError, Peer, dj_stripe, stripe_sync_engine

from billing_embedded import ServerUrls, embedded_servers

PAGE: Final = Path(__file__).with_name("compare.md")
CONNECTIONS: Final = 16
LIMIT: Final = "The limit of the machine (`limits.py`)"

PEERS: Final = (stripe_sync_engine, dj_stripe)

Measure = Callable[[ServerUrls, Traffic], Awaitable[Measured]]


async def measure_ours(urls: ServerUrls, traffic: Traffic, *, events: int, **options: Any) -> Measured:
    """Measure our servers. Raises RuntimeError if an event was not applied."""
    measured = await measure_billing(urls, traffic, CONNECTIONS, events=events, warm_up=events, **options)
    applied = await _number(urls.database_url, "SELECT count(*) FROM stripe_event_dispatch WHERE status = 'applied'")
    if applied != 2 * events:
        raise RuntimeError(f"{applied} of {2 * events} events were applied")
    return measured


async def measure_peer(_urls: ServerUrls, traffic: Traffic, *, peer: Peer, events: int) -> Measured:
    """Measure a program that answers once it has written the object of an event; its start is not part of it.

    Raises: LeftOutError, if it refused an event or did not write its object.
    """
    async with peer.serving(traffic) as port:
        warm_up = traffic.requests(peer.path, events)
        await load.post_all(port, warm_up, connections=CONNECTIONS, expected_status=200)
        requests, sent_at = traffic.requests(peer.path, events), datetime.now(UTC)
        cpu_before = cpu_seconds_of_children()
        answered = await load.post_all(port, requests, connections=CONNECTIONS, expected_status=200)
        cpu_per_event = (cpu_seconds_of_children() - cpu_before) / events
    written = await _number(peer.database_url, peer.written, sent_at)
    if answered.unexpected or written != events:
        raise LeftOutError(f"{peer.name} refused {answered.unexpected} of {events} events and wrote {written} objects")
    return Measured(accepted=answered, cpu_per_event=cpu_per_event, applied_per_second=answered.per_second)


async def _number(database_url: str, query: str, *arguments: object) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval(query, *arguments))
    finally:
        await connection.close()


async def new_database(urls: ServerUrls, name: str) -> str:
    """Create a database for a program and return its address."""
    connection = await asyncpg.connect(urls.database_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
        if not await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = 'postgres'"):
            await connection.execute("CREATE ROLE postgres")  # migrations of stripe-sync-engine give a function to it
    finally:
        await connection.close()
    return urlunsplit(urlsplit(urls.database_url)._replace(path=f"/{name}"))


PAGE_TEXT: Final = """\
# Compared with other programs

<!-- Written by `python benchmarks/compare.py --rounds {repeats} --events {events}`. Run it again, do not edit. -->

Signed updates of {events} subscriptions, one of each and {size:.1f} kB long, over {connections} connections, after a
first one of each that does not count. Every program uses the same Postgres {postgres}, which waits for the disk. Median
of {repeats} interleaved rounds, with the lowest and the highest, and of the ratios within each round. After each
measurement the tables were checked: `billing` had applied all events, the other two had written all subscriptions.

| Program | Processor time per event, µs | Times the limit's | Events per second | Work per event |
|---|---|---|---|---|
{rows}

{left_out}Measured on {date} on {cores} cores with Python {python}; the load before the start was {load}.
Processor time is the figure to compare, since events per second depend on what else the machine does. It counts all
processes but the sender's: Postgres and Valkey, and not the Stripe that dj-stripe asks. The kernel counts it in steps,
which are {step:.0f} µs per event for each process.
[Performance](../docs/performance.md) says what the limit is.
"""


@attrs.frozen(kw_only=True)
class Program:
    """A program under test."""

    name: str
    applies: str
    """Work per event."""
    measure: Measure


def _programs(peers: Sequence[Peer], events: int) -> Sequence[Program]:
    def ours(name: str, applies: str, **options: Any) -> Program:
        return Program(name=name, applies=applies, measure=partial(measure_ours, events=events, **options))

    async def limit(urls: ServerUrls, traffic: Traffic) -> Measured:
        return await measure_limit(urls, traffic, CONNECTIONS, endpoint="apply", events=events, warm_up=events)

    everything = "stores the event, applies it, numbers and publishes a message for the tenant"
    return [
        Program(
            name=LIMIT,
            applies="stores, applies and numbers by one statement per batch, and nothing else",
            measure=limit,
        ),
        ours("`billing serve`", everything, worker="inside"),
        ours("`billing serve --no-worker` and `billing worker`", "the same, in two processes", worker="beside"),
        ours("`billing serve --processes 2`", "the same, in two equal processes", worker="inside", processes=2),
        *(
            Program(
                name=f"{peer.name} {peer.version}",
                applies=peer.applies,
                measure=partial(measure_peer, peer=peer, events=events),
            )
            for peer in peers
        ),
    ]


@attrs.frozen(kw_only=True)
class Compared:
    """Measurements of all programs, one of each per round, and what the page says beside them."""

    programs: Mapping[str, Sequence[Measured]]
    applies: Mapping[str, str]
    left_out: Sequence[str]
    events: int
    body_size: int
    postgres: str
    load_before: float


async def compare(repeats: int, environments: Path, events: int) -> Compared:
    """Install the other programs and measure all of them, interleaved so that drift of the machine affects all.

    Args:
        repeats: measurements of each program.
        environments: folder for the environments of the other programs; one that is there is used again.
        events: number of subscriptions, and so of events per measurement, and of those before it to warm up.
    """
    traffic, peers, left_out = Traffic(range(events)), list[Peer](), list[str]()
    with folder() as data:
        async with embedded_servers(data) as urls:
            await migrate(urls)
            for install in PEERS:
                try:
                    peers.append(await install(environments, await new_database(urls, install.__name__)))
                except LeftOutError as exc:
                    left_out.append(str(exc))
            programs, load_before = _programs(peers, events), os.getloadavg()[0]
            results: dict[str, list[Measured]] = {program.name: [] for program in programs}
            for repeat, program in itertools.product(range(repeats), programs):
                if program.name not in results:
                    continue
                print(f"round {repeat + 1}/{repeats}: {program.name}", file=sys.stderr)
                try:
                    results[program.name].append(await program.measure(urls, traffic))
                except LeftOutError as exc:
                    left_out.append(str(exc))
                    del results[program.name]
            version = await _number(urls.database_url, "SHOW server_version_num")
    applies = {program.name: program.applies for program in programs}
    return Compared(
        programs=results,
        applies=applies,
        left_out=left_out,
        events=events,
        body_size=traffic.body_size,
        postgres=f"{version // 10_000}.{version % 10_000}",
        load_before=load_before,
    )


def page(compared: Compared) -> str:
    """Return compare.md."""
    repeats = len(compared.programs[LIMIT])
    rows = [
        f"| {name} | {_spread([each.cpu_per_event * 1e6 for each in runs])} | {_ratio(compared, name)} | "
        f"{_spread([each.applied_per_second or 0 for each in runs])} | {compared.applies[name]} |"
        for name, runs in compared.programs.items()
    ]
    return PAGE_TEXT.format(
        repeats=repeats,
        connections=CONNECTIONS,
        events=compared.events,
        size=compared.body_size / 1000,
        postgres=compared.postgres,
        rows="\n".join(rows),
        left_out="\n".join(f"- Left out: {reason}.\n" for reason in compared.left_out),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
        python=platform.python_version(),
        load=f"{compared.load_before:.1f}",
        step=1e6 / os.sysconf("SC_CLK_TCK") / compared.events,
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def _ratio(compared: Compared, name: str) -> str:
    pairs = zip(compared.programs[name], compared.programs[LIMIT], strict=True)
    return f"{statistics.median(mine.cpu_per_event / limit.cpu_per_event for mine, limit in pairs):.1f}"


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", dest="repeats", type=int, default=3, help="repetitions (default 3)")
    arguments.add_argument("--events", type=int, default=300, help="of each measurement (default 300)")
    arguments.add_argument("--environments", type=Path, help="keep the other programs in this folder for the next run")
    options = arguments.parse_args()
    with folder() as temporary:
        compared = await compare(options.repeats, options.environments or temporary, options.events)
    written = page(compared)
    await asyncio.to_thread(PAGE.write_text, written, encoding="utf-8")
    print(written)


if __name__ == "__main__":
    load.run(main())
