"""Processor time that a webhook takes in Python alone: from the bytes of its request to the bytes of its answer.

The whole HTTP application in one process, with adapters in memory and without sockets. Every figure is in microseconds
per webhook: the lowest of all rounds hardly depends on what else the machine does. It contains the memory adapters.
`python benchmarks/intake.py --help` lists the options.
"""

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import load
from deployment import WEBHOOK_SECRET
from ingest import Traffic

from billing_app.container import configure_logging, memory_adapters, open_in_memory
from billing_app.http.app import create_app
from billing_app.http.runner import set_up
from billing_app.settings import LogSettings, Secret, Settings, StripeSettings, Switches, TokenSettings
from billing_memory.database import MemoryDatabase

_CONNECTIONS: Final = 64
_WARM_UP: Final = 4
"""Rounds that are not measured."""


class _Transport(asyncio.Transport):
    """Takes what a connection writes, in place of a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writelines([data])

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.written = b"".join(list_of_data)
        self.answered.set()

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def measure(repeats: int) -> Sequence[float]:
    """Measure rounds of one webhook on each connection."""
    settings = Settings(
        switches=Switches(billing=True, retry_worker=False),
        stripe=StripeSettings(webhook_secrets=(Secret(WEBHOOK_SECRET),)),
        tokens=TokenSettings(secrets=(Secret("j" * 32),)),
        logs=LogSettings(level="warning"),
    )
    configure_logging(settings)
    database, traffic = MemoryDatabase(), Traffic()
    async with open_in_memory(settings, memory_adapters(settings, database=database)) as container:
        runner = await set_up(create_app(container.services()))
        assert runner.server is not None
        connections: list[tuple[Any, _Transport]] = []
        for _ in range(_CONNECTIONS):
            protocol, transport = runner.server(), _Transport()
            protocol.connection_made(transport)
            connections.append((protocol, transport))
        await asyncio.sleep(0)
        gc.collect()
        gc.freeze()
        spent = []
        for _ in range(_WARM_UP + repeats):
            database.tables.dispatch.clear()  # so that it does not grow
            requests = traffic.requests("/webhooks/stripe", _CONNECTIONS)
            gc.collect()
            began = time.thread_time()
            for (protocol, transport), request in zip(connections, requests, strict=True):
                transport.answered.clear()
                protocol.data_received(request)
            for _, transport in connections:
                await transport.answered.wait()
            spent.append((time.thread_time() - began) / _CONNECTIONS * 1e6)
            if not all(b" 202 " in transport.written for _, transport in connections):
                raise RuntimeError("not every webhook was accepted")
        for protocol, _ in connections:
            protocol.connection_lost(None)
        await runner.cleanup()
    return spent[_WARM_UP:]


async def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--rounds", dest="repeats", type=int, default=200, help="rounds of 64 webhooks (default 200)"
    )
    spent = await measure(arguments.parse_args().repeats)
    print(json.dumps({"lowest": round(min(spent), 1), "median": round(statistics.median(spent), 1)}))


if __name__ == "__main__":
    gc.disable()
    load.run(main())
