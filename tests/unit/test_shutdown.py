"""The deadline of a shutdown: stages share it, and nothing holds it up."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from billing_app.shutdown import UNWINDING, ShutdownDeadline

LONG = timedelta(minutes=5)
SHORT = timedelta(milliseconds=20)


async def test_work_that_ends_in_time_is_not_disturbed() -> None:
    """It counts as finished."""
    assert await ShutdownDeadline(LONG).finish("quick", asyncio.sleep(0))


async def test_work_that_is_late_is_canceled_and_named() -> None:
    """An operator sees which stage did not end by itself."""
    task = asyncio.create_task(asyncio.sleep(LONG.total_seconds()))
    with capture_logs() as logs:
        assert not await ShutdownDeadline(SHORT).finish("slow", task)
    assert task.cancelled()
    assert [(line["event"], line["stage"]) for line in logs] == [("shutdown.cut_off", "slow")]


async def test_stages_share_the_time() -> None:
    """Ten stages that each ignore their cancellation take no longer than the limit and one time to unwind."""

    async def stubborn() -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(LONG.total_seconds())

    deadline = ShutdownDeadline(SHORT)
    started = asyncio.get_running_loop().time()
    tasks = [asyncio.create_task(stubborn()) for _ in range(10)]
    for task in tasks:
        await deadline.finish("stubborn", task)
    took = asyncio.get_running_loop().time() - started
    assert took < 4 * UNWINDING.total_seconds()  # a limit per stage would make it ten times that
    assert deadline.remaining() == 0
    while not all(task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)


async def test_the_clock_starts_once() -> None:
    """A shutdown may be announced more than once."""
    deadline = ShutdownDeadline(LONG)
    deadline.begin()
    before = deadline.remaining()
    await asyncio.sleep(0.01)
    deadline.begin()
    assert deadline.remaining() < before


async def test_a_stage_may_have_a_limit_of_its_own() -> None:
    """The rest of the time is left to the stages behind it."""
    deadline = ShutdownDeadline(LONG)
    assert not await deadline.finish("slow", asyncio.sleep(LONG.total_seconds()), at_most=SHORT)
    assert deadline.remaining() > LONG.total_seconds() / 2


async def test_an_error_in_time_is_raised() -> None:
    """Whether it matters is for the caller to say."""

    async def fail() -> None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await ShutdownDeadline(LONG).finish("failing", fail())
