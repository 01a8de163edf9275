"""Long loops let other tasks run."""

import asyncio

from billing_core.cooperate import cooperate


async def test_other_tasks_run_while_a_batch_is_processed() -> None:
    """A webhook that arrives meanwhile is answered before the batch is done; every item is yielded in order."""
    served_at: list[int] = []
    done: list[int] = []

    async def other() -> None:
        while len(done) < 100:
            served_at.append(len(done))
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    done += [item async for item in cooperate(range(10))]
    assert served_at == []
    async for item in cooperate(range(10, 100)):
        done.append(item)
    await waiting
    assert done == list(range(100))
    assert len(served_at) >= 5
