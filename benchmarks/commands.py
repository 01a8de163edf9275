"""The processor time of commands that use the database, beside an interpreter that does nothing.

Each command runs as a user runs it, in a process of its own, against local servers that another process keeps running.
`python benchmarks/commands.py --help` lists the options.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import attrs
from deployment import folder, migrate

from billing_embedded import embedded_servers

COMMANDS = (
    "events list",
    "events show evt_1",
    "explain acme",
    "tenants list",
    "subscriptions list acme",
    "grants list",
    "plans unmapped",
    "gateway pending",
    "migrate --check",
)


@attrs.frozen(kw_only=True)
class Cost:
    """The median of several runs, in seconds."""

    command: str
    cpu: float
    wall: float


def measure(command: str, arguments: Sequence[str], environment: Mapping[str, str], runs: int) -> Cost:
    """Run a program several times. Its status does not matter: nothing is found in an empty database."""
    cpu, wall = [], []
    for _ in range(runs):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(arguments, env=environment, capture_output=True, check=False)
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return Cost(command=command, cpu=statistics.median(cpu), wall=statistics.median(wall))


async def run(runs: int, commands: Sequence[str]) -> Sequence[Cost]:
    with folder() as path:
        async with embedded_servers(path) as urls:
            await migrate(urls)
            inherited = {name: each for name, each in os.environ.items() if not name.startswith("BILLING_")}
            environment = {**inherited, "DATABASE_URL": urls.database_url, "ENABLE_BILLING": ""}
            nothing = measure("python -c pass", [sys.executable, "-c", "pass"], environment, runs)
            program = [sys.executable, "-m", "billing_app"]
            return [nothing, *(measure(each, [*program, *each.split()], environment, runs) for each in commands)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command (default: 5)")
    parser.add_argument("--command", action="append", help="measure this command instead; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    costs = asyncio.run(run(arguments.runs, arguments.command or COMMANDS))
    if arguments.json:
        print(json.dumps({each.command: {"cpu": each.cpu, "wall": each.wall} for each in costs}))
        return
    for each in costs:
        print(f"{each.command:<28} {each.cpu * 1000:5.0f} ms of processor time {each.wall * 1000:6.0f} ms")


if __name__ == "__main__":
    main()
