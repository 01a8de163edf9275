"""What every EpochLog must do. Bind it by subclassing `EpochLogContract`, with `epochs` of a new database."""

import asyncio

from billing_core.stream.ports import EpochLog


class EpochLogContract:
    """One current epoch for everybody, until a new one is begun."""

    async def test_a_new_database_is_in_its_first_epoch(self, epochs: EpochLog) -> None:
        """Whoever asks, and however often."""
        first, *others = await asyncio.gather(*(epochs.enter() for _ in range(4)))
        assert first.number == 1
        assert set(others) == {first}
        assert await epochs.enter() == first

    async def test_an_epoch_that_is_begun_is_everybody_s(self, epochs: EpochLog) -> None:
        """It has the next number and a token that none had before."""
        first = await epochs.enter()
        second = await epochs.begin("a disk was put back")
        assert (second.number, await epochs.enter()) == (2, second)
        third = await epochs.begin("and again")
        assert third.number == 3
        assert len({first.token, second.token, third.token}) == 3
