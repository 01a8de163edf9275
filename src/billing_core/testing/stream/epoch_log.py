"""The contract of EpochLog."""

import asyncio

from billing_core.stream.ports import EpochLog
from billing_core.testing.suite import Suite


class EpochLogContract(Suite):
    """One current epoch for all processes, until a new one begins.

    A binding provides `epochs` of a new database.
    """

    async def test_a_new_database_is_in_its_first_epoch(self, epochs: EpochLog) -> None:
        """For every process, however often it enters."""
        first, *others = await asyncio.gather(*(epochs.enter() for _ in range(4)))
        assert first.number == 1
        assert set(others) == {first}
        assert await epochs.enter() == first

    async def test_a_new_epoch_is_current_for_all(self, epochs: EpochLog) -> None:
        """It has the next number, and a token that no other has had."""
        first = await epochs.enter()
        second = await epochs.begin("a disk was put back")
        assert (second.number, await epochs.enter()) == (2, second)
        third = await epochs.begin("and again")
        assert third.number == 3
        assert len({first.token, second.token, third.token}) == 3
