"""A server in its own thread, with a tenant that has a history; tests send requests from their thread."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import attrs
import pytest
from scripts.example_messages import examples
from tests.unit.core.operations.accounts import PLANS
from tests.unit.http.conftest import SETTINGS, World

from billing_app.settings import CatalogSettings, QuotaSettings, Secret, ServerSettings, StreamSettings
from billing_memory.operations.fake_gateway import FakeGateway


class _Loop:
    """An event loop in its own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A server with a tenant of a year's history. Its streams end by themselves and have no limits."""
    loop = _Loop()
    settings = attrs.evolve(
        SETTINGS,
        catalog=CatalogSettings(plans=PLANS),
        server=ServerSettings(metrics_token=Secret("a-token-for-metrics-only")),
        tokens=attrs.evolve(SETTINGS.tokens, operator_roles=("operator",)),
        stream=StreamSettings(max_life=timedelta(seconds=0.02)),
        quota=QuotaSettings(rate_per_minute=0, concurrent=0),
    )
    with ExitStack() as stack:
        world = World(settings, stack)
        provider = FakeGateway(world.clock)
        world.replace(operation_gateway=provider, preview_gateway=provider, billing_reader=provider)
        loop.run(examples(world.database))
        serving = world.serving()
        loop.run(serving.__aenter__())
        yield world
        loop.run(serving.__aexit__(None, None, None))
    loop.close()
