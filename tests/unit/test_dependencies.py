"""Log lines about dependencies: one each way, and some while one stays away."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
from structlog.testing import capture_logs

from billing_app.bus_watch import BusWatch
from billing_app.dependencies import Dependency
from billing_core.errors import EventBusUnavailableError


@attrs.define
class World:
    """A dependency on a clock that tests set."""

    now: float = 100.0
    losses: int = 0

    def dependency(self) -> Dependency:
        made = Dependency("postgres", remedy="Look at it.", address="db:5432", clock=lambda: self.now)

        def lost() -> None:
            self.losses += 1

        made.on_loss = lost
        return made


def events(lines: Sequence[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_a_dependency_that_goes_away_and_comes_back_has_one_line_each() -> None:
    """With its address, the error, how long it was away, and what to do."""
    world = World()
    dependency = world.dependency()
    with capture_logs() as lines:
        dependency.succeeded("webhook")
        for _ in range(50):
            dependency.failed("webhook", "commit: DiskFullError")
        world.now += 7
        dependency.succeeded("webhook")
        dependency.succeeded("webhook")
    lost, back = lines
    assert (lost["event"], lost["dependency"], lost["address"]) == ("dependency.unavailable", "postgres", "db:5432")
    assert (lost["error"], lost["use"], lost["remedy"]) == ("commit: DiskFullError", "webhook", "Look at it.")
    assert (lost["log_level"], back["log_level"]) == ("warning", "info")
    assert (back["event"], back["seconds"], back["failures"]) == ("dependency.recovered", 7, 50)
    assert world.losses == 1


def test_a_long_outage_is_repeated_once_a_minute() -> None:
    """With the number of failures so far."""
    world = World()
    dependency = world.dependency()
    with capture_logs() as lines:
        for _ in range(13):
            dependency.failed("heartbeat", "read-only")
            world.now += 10
    assert [(line["seconds"], line["failures"]) for line in lines] == [(0, 1), (60, 7), (120, 13)]


def test_it_is_back_when_no_use_fails_any_more() -> None:
    """A database may take heartbeats and refuse events: it works again when both are taken."""
    world = World()
    dependency = world.dependency()
    with capture_logs() as lines:
        dependency.failed("webhook", "disk full")
        dependency.succeeded("heartbeat")
        assert dependency.error == "disk full"
        dependency.succeeded("webhook")
        assert dependency.error is None
    assert events(lines) == ["dependency.unavailable", "dependency.recovered"]


def test_a_use_that_is_not_repeated_is_forgotten() -> None:
    """Webhooks stop coming to a server that is not ready: after a minute others decide, so that it is tried again."""
    world = World()
    dependency = world.dependency()
    with capture_logs() as lines:
        dependency.failed("webhook", "disk full")
        world.now += 59
        assert dependency.error == "disk full"
        world.now += 1
        assert dependency.error is None
        dependency.succeeded("heartbeat")
    assert events(lines) == ["dependency.unavailable", "dependency.recovered"]


async def test_a_bus_is_away_if_it_refuses_a_write_or_refused_a_message() -> None:
    """A bus that cannot be asked takes everything; one that refuses a write, or refused a message, is away."""

    class Bus:
        refuses = False

        async def beat(self) -> float:
            if self.refuses:
                raise EventBusUnavailableError("it is full")
            return 0.25

    async def answer(watch: BusWatch) -> str:
        try:
            await watch.check()
        except EventBusUnavailableError as exc:
            return str(exc)
        return "ok"

    world, bus = World(), Bus()
    dependency = world.dependency()
    ahead: list[float] = []
    watch = BusWatch(bus, dependency, every=timedelta(seconds=1), compared=ahead.append)
    assert await answer(watch) == "ok"
    bus.refuses = True
    assert await answer(watch) == "it is full"
    assert ahead == [0.25]
    bus.refuses = False
    assert await answer(watch) == "ok"
    dependency.failed("publish", "it is a replica")
    assert await answer(watch) == "it is a replica"
    dependency.succeeded("publish")
    assert await answer(watch) == "ok"
