"""Positions in a stream, and the epoch that each belongs to."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.conftest import until

from billing_core.model.epoch import FIRST_EPOCH, Epoch
from billing_core.stream.epochs import EpochMonitor
from billing_memory.stream.epochs import MemoryEpochLog

tokens = st.from_regex(r"[a-z][a-z0-9]{0,31}", fullmatch=True)
epochs = st.builds(Epoch, number=st.integers(1, 1000), token=tokens)
sequences = st.integers(0, 10**18 - 1)


@given(epochs, sequences)
def test_a_position_leads_back_to_its_number(epoch: Epoch, sequence: int) -> None:
    """The epoch that wrote it reads it."""
    assert epoch.sequence(epoch.position(sequence)) == sequence


@given(epochs, epochs, sequences)
def test_a_position_of_another_epoch_is_none(epoch: Epoch, other: Epoch, sequence: int) -> None:
    """Except between first epochs, whose positions are bare numbers."""
    position = other.position(sequence)
    same = epoch.number == other.number == 1 or (min(epoch.number, other.number) > 1 and epoch.token == other.token)
    assert epoch.sequence(position) == (sequence if same else None)


@given(st.text(max_size=40))
def test_any_text_from_a_client_is_a_position_or_an_error(text: str) -> None:
    """No third result is possible."""
    try:
        sequence = FIRST_EPOCH.sequence(text)
    except ValueError:
        return
    assert sequence is None or str(sequence) == text.lstrip("0").rjust(1, "0")


@pytest.mark.parametrize(
    "text",
    ["", "-", "1-", "-a", "1-0", "1-0a", "1-A", "1-a-b", " 1", "1\n", "+1", "٣", "1e3", "9" * 19, "1-" + "a" * 33],
)
def test_a_malformed_position_is_an_error(text: str) -> None:
    """Ids as Redis writes them and digits of other scripts are malformed too."""
    with pytest.raises(ValueError, match="not a position"):
        FIRST_EPOCH.sequence(text)


@pytest.mark.parametrize("number", [0, -1])
def test_epochs_count_from_one(number: int) -> None:
    """The first one is the one whose positions are bare numbers."""
    with pytest.raises(ValueError, match="number"):
        Epoch(number=number, token="a")


@given(sequences)
def test_a_position_in_a_first_epoch_is_the_number_alone(sequence: int) -> None:
    """Clients of a database that was never restored see plain numbers, whatever its token."""
    assert FIRST_EPOCH.position(sequence) == str(sequence)


async def test_a_monitor_reports_the_epoch_of_each_look() -> None:
    """So that a process notices when its own has ended."""
    log, seen = MemoryEpochLog(), list[Epoch]()
    monitor = EpochMonitor(log=log, every=timedelta(milliseconds=1), observe=seen.append)
    running = asyncio.create_task(monitor.run())
    first = await log.enter()
    await until(lambda: bool(seen))
    second = await log.begin("a restore")
    await until(lambda: second in seen)
    monitor.stop()
    await running
    assert (seen[0], seen[-1]) == (first, second)
