"""Handing messages to handlers: in order, again until they succeed, and many tenants at a time."""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest
from tests.patience import PATIENCE
from tests.unit.core.conftest import until

from billing_core.consumers.delivery import DeliveryReport
from billing_core.consumers.handlers import Handler
from billing_core.consumers.ports import ConsumerClaim, Want
from billing_core.consumers.runner import ConsumerPolicy, ConsumerRunner
from billing_core.consumers.threads import Threads
from billing_core.consumers.values import (
    Consumer,
    ConsumerMessage,
    OnDead,
    RetryLater,
    Undeliverable,
    consumer_name,
)
from billing_core.errors import StoreUnavailableError, TransactionLostError
from billing_core.model import TenantId
from billing_core.state.ports import Clock
from billing_core.testing.builders import ACME, GLOBEX, message
from billing_core.testing.consumers.arrange import CRM, MAILS, consumer, number, number_up_to
from billing_memory.clock import ManualClock, SystemClock
from billing_memory.consumers.oversight import MemoryConsumerOversight
from billing_memory.consumers.queue import MemoryConsumers
from billing_memory.database import MemoryDatabase
from billing_memory.state.repository import MemoryRepository
from billing_memory.stream.epochs import MemoryEpochLog

SOON = timedelta(milliseconds=5)


@attrs.define
class Flaky:
    """Consumers whose store is unavailable for some calls."""

    inner: MemoryConsumers
    away: set[str] = attrs.field(factory=set)
    """Methods that fail."""
    failed: list[str] = attrs.field(factory=list)
    after_settling: bool = False
    """Whether a position is stored although the caller does not learn of it."""
    instead: dict[str, Any] = attrs.field(factory=dict)
    """Replacements of methods, by name."""

    def __getattr__(self, name: str) -> Any:
        method = self.instead.get(name) or getattr(self.inner, name)
        if name not in self.away:
            return method

        async def fail(*arguments: Any, **named: Any) -> Any:
            self.failed.append(name)
            if self.after_settling:
                await method(*arguments, **named)
            raise StoreUnavailableError(name)

        return fail


class Rig:
    """A runner over a database in memory."""

    def __init__(self, clock: Clock | None = None, **policy: Any) -> None:
        self.database = MemoryDatabase()
        self.clock = clock or SystemClock()
        self.consumers = MemoryConsumers(self.database, self.clock, MemoryEpochLog())
        self.flaky = Flaky(self.consumers)
        self.oversight = MemoryConsumerOversight(self.database, self.clock, self.consumers)
        self.unit_of_work = MemoryRepository(self.database, self.clock)
        self.reports: list[DeliveryReport] = []
        self.runner = self.another(**policy)

    def another(self, **policy: Any) -> ConsumerRunner:
        """Return the runner of another process."""
        return ConsumerRunner(
            register=self.flaky,
            queue=self.flaky,
            policy=ConsumerPolicy(**{"poll": SOON, **policy}),
            observe=self.reports.append,
        )

    def results(self) -> list[tuple[int, str]]:
        """Return the numbers and results of all attempts."""
        return [(each.message.sequence, each.result) for each in self.reports]

    @asynccontextmanager
    async def running(self, *runners: ConsumerRunner) -> AsyncIterator[None]:
        """Run for the length of the block."""
        tasks = [asyncio.create_task(each.run()) for each in runners or [self.runner]]
        try:
            yield
        finally:
            for each in runners or [self.runner]:
                each.stop()
            await asyncio.gather(*tasks)

    async def handle(self, given: Consumer, handler: Handler, *, reports: int) -> None:
        """Run one handler until so many attempts were reported."""
        self.runner.subscribe(given, handler)
        async with self.running():
            await until(lambda: len(self.reports) >= reports)


@attrs.define
class Recorder:
    """A handler that records what it gets, and fails as it is told."""

    fail: Callable[[ConsumerMessage], BaseException | None] = lambda _: None
    numbers: defaultdict[TenantId, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    attempts: list[int] = attrs.field(factory=list)

    async def __call__(self, received: ConsumerMessage) -> None:
        """Record a message."""
        self.attempts.append(received.attempt)
        error = self.fail(received)
        if error is not None:
            raise error
        self.numbers[received.tenant_id].append(received.sequence)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def registered(rig: Rig, given: Consumer) -> None:
    """Register a consumer ahead, so that messages from now on are its."""
    await rig.consumers.register(given)


async def test_each_tenants_messages_come_in_order(rig: Rig) -> None:
    """Messages that waited come first, then the ones that are numbered meanwhile; in the end nothing waits."""
    recorder = Recorder()
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 30)
    await number_up_to(rig.unit_of_work, 20, GLOBEX)
    rig.runner.subscribe(consumer(), recorder)
    async with rig.running():
        await number_up_to(rig.unit_of_work, 40, first=31)
        await until(lambda: sum(map(len, recorder.numbers.values())) == 60)
    assert recorder.numbers == {ACME: [*range(1, 41)], GLOBEX: [*range(1, 21)]}
    assert {each.result for each in rig.reports} == {"handled"}
    assert rig.database.consumers.positions == {}


async def test_a_consumer_that_is_new_is_registered_first(rig: Rig) -> None:
    """Also one that is added while it runs; messages from before are not its."""
    await number_up_to(rig.unit_of_work, 2)
    recorder, late = Recorder(), Recorder()
    rig.runner.subscribe(consumer(), recorder)
    await rig.runner.register()
    await number_up_to(rig.unit_of_work, 3, first=3)
    async with rig.running():
        await until(lambda: recorder.numbers[ACME] == [3])
        rig.runner.subscribe(consumer(CRM, start="beginning"), late)
        await until(lambda: late.numbers[ACME] == [1, 2, 3])


async def notice_nothing(*, at_most: timedelta) -> None:
    """Wait as a queue does that is not notified of messages."""
    await asyncio.sleep(at_most.total_seconds())


async def test_messages_of_this_process_do_not_wait_for_the_next_poll(rig: Rig) -> None:
    """It says that it has committed some; those that no consumer here wants wake nothing."""
    claims, recorder = 0, Recorder()

    async def claim(wants: Any) -> Any:
        nonlocal claims
        claims += 1
        return await rig.consumers.claim(wants)

    rig.flaky.instead = {"wait": notice_nothing, "claim": claim}
    rig.runner = rig.another(poll=timedelta(hours=1))
    rig.runner.subscribe(consumer(event_types=("invoice.*",)), recorder)
    async with rig.running():
        await until(lambda: claims == 1)
        rig.runner.offer([message(ACME, 1)])
        for _ in range(10):
            await asyncio.sleep(0)
        assert claims == 1
        await number(rig.unit_of_work, paid := message(ACME, 1, event_type="invoice.paid"))
        rig.runner.offer([paid])
        await until(lambda: recorder.numbers[ACME] == [1])


async def test_tenants_that_a_late_consumer_finds_do_not_wait_for_the_others(rig: Rig) -> None:
    """They are handled while it goes on to look for more, without a pause."""
    calls, idle, over, recorder = 0, asyncio.Event(), asyncio.Event(), Recorder()
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 1)
    rig.database.consumers.positions.clear()

    async def wait(*, at_most: timedelta) -> None:
        idle.set()
        await notice_nothing(at_most=at_most)

    async def catch_up(names: Any, *, limit: int) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            await idle.wait()
            rig.consumers.set_position(MAILS, ACME, 0, 1)
            return [MAILS]
        await over.wait()
        return ()

    rig.flaky.instead = {"wait": wait, "catch_up": catch_up}
    rig.runner = rig.another(poll=timedelta(hours=1))
    rig.runner.subscribe(consumer(), recorder)
    async with rig.running():
        await until(lambda: calls == 2 and recorder.numbers[ACME] == [1])
        over.set()


async def test_a_host_handles_what_is_due_once(rig: Rig) -> None:
    """Its tests need not wait; what a handler failed at is due later."""
    recorder = Recorder(fail=lambda each: OSError("refused") if each.sequence == 3 else None)
    await number_up_to(rig.unit_of_work, 2)
    rig.runner.subscribe(consumer(start="beginning"), recorder)
    assert await rig.runner.run_once() == 2
    assert await rig.runner.run_once() == 0
    await number_up_to(rig.unit_of_work, 3, first=3)
    await number_up_to(rig.unit_of_work, 1, GLOBEX)
    assert await rig.runner.run_once() == 2
    assert recorder.numbers == {ACME: [1, 2], GLOBEX: [1]}


@pytest.mark.parametrize("away", ["register", "catch_up", "claim", "messages"])
async def test_a_host_learns_that_the_store_is_unavailable(rig: Rig, away: str) -> None:
    """By that error itself, not by a group; its next call goes on at once, and no attempt is lost."""
    recorder = Recorder()
    await registered(rig, consumer(attempts=1))
    await number_up_to(rig.unit_of_work, 2)
    rig.runner.subscribe(consumer(attempts=1), recorder)
    rig.flaky.away = {away}
    with pytest.raises(StoreUnavailableError, match=away):
        await rig.runner.run_once()
    rig.flaky.away = set()
    assert await rig.runner.run_once() == 2
    assert (recorder.numbers, recorder.attempts) == ({ACME: [1, 2]}, [1, 1])


async def test_a_store_that_goes_away_during_a_call_ends_it_after_the_messages_in_progress(rig: Rig) -> None:
    """Their positions are stored before the host learns of it."""
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 2)

    async def handler(received: ConsumerMessage) -> None:
        rig.flaky.away = {"claim"}

    rig.runner.subscribe(consumer(), handler)
    with pytest.raises(StoreUnavailableError):
        await rig.runner.run_once()
    assert rig.results() == [(1, "handled"), (2, "handled")]
    assert rig.database.consumers.positions == {}


async def test_a_consumer_that_was_removed_does_not_come_back(rig: Rig) -> None:
    """A process that has read the consumers subscribes to them as they are registered."""
    rig.runner.subscribe(consumer(), Recorder(), registered=True)
    assert await rig.runner.run_once() == 0
    assert await rig.consumers.registered() == []


async def test_a_name_has_one_handler(rig: Rig) -> None:
    """Two would take each other's messages; after it is unsubscribed, the name is free."""
    rig.runner.subscribe(consumer(), Recorder())
    with pytest.raises(ValueError, match="mails has a handler already"):
        rig.runner.subscribe(consumer(), Recorder())
    rig.runner.unsubscribe(MAILS)
    rig.runner.subscribe(consumer(), Recorder())


async def test_a_consumer_without_a_handler_here_is_left_to_other_processes(rig: Rig) -> None:
    """Only what this process can handle is claimed."""
    recorder = Recorder()
    await registered(rig, consumer())
    await registered(rig, consumer(CRM))
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(consumer(), recorder, reports=1)
    assert list(rig.database.consumers.positions) == [(CRM, ACME)]


async def test_a_failed_message_is_tried_again_before_its_successors(rig: Rig) -> None:
    """With a pause that grows; the others of the tenant wait for it."""
    recorder = Recorder(fail=lambda each: OSError("refused") if each.sequence == 2 and each.attempt < 3 else None)
    given = consumer(backoff_base=SOON, backoff_cap=SOON)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 3)
    await rig.handle(given, recorder, reports=5)
    assert rig.results() == [(1, "handled"), (2, "retried"), (2, "retried"), (2, "handled"), (3, "handled")]
    assert recorder.attempts == [1, 1, 2, 3, 1]
    assert recorder.numbers[ACME] == [1, 2, 3]
    failed = rig.reports[1]
    assert failed.error == "OSError: refused"
    assert failed.retry_after is not None
    assert SOON / 2 <= failed.retry_after <= SOON


async def test_a_dead_message_holds_its_tenant_back(rig: Rig) -> None:
    """After its attempts; other tenants go on, and an operator decides."""
    recorder = Recorder(fail=lambda each: OSError("refused") if (each.tenant_id, each.sequence) == (ACME, 2) else None)
    given = consumer(attempts=2, backoff_base=SOON, backoff_cap=SOON)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 3)
    await number_up_to(rig.unit_of_work, 3, GLOBEX)
    rig.runner.subscribe(given, recorder)
    async with rig.running():
        await until(lambda: any(each.result == "dead" for each in rig.reports))
        await until(lambda: recorder.numbers[GLOBEX] == [1, 2, 3])
        (held,) = await rig.oversight.waiting(MAILS, held=True, limit=10)
        assert (held.tenant_id, held.position, held.attempts, held.error) == (ACME, 1, 2, "OSError: refused")
        await rig.oversight.skip(MAILS, tenant_id=ACME, sequence=2, actor="ops", reason=None)
        await until(lambda: recorder.numbers[ACME] == [1, 3])


async def test_a_dead_message_behind_unwanted_ones_is_the_one_that_is_skipped(rig: Rig) -> None:
    """The position moves up to it, over the messages of other types."""
    given = consumer(event_types=("invoice.*",), attempts=1)
    recorder = Recorder(fail=lambda each: OSError("refused"))
    await registered(rig, given)
    await number(rig.unit_of_work, message(ACME, 1, event_type="invoice.paid"))
    (held,) = list(rig.database.consumers.positions)
    assert held == (MAILS, ACME)
    await number(
        rig.unit_of_work,
        message(ACME, 2),
        message(ACME, 3, event_type="invoice.paid"),
        message(ACME, 4, event_type="invoice.voided"),
    )
    recorder.fail = lambda each: OSError("refused") if each.sequence == 3 else None
    await rig.handle(given, recorder, reports=2)
    assert await rig.oversight.skip(MAILS, tenant_id=ACME, sequence=3, actor="ops", reason=None)
    rig.runner = rig.another()
    await rig.handle(given, recorder, reports=3)
    assert recorder.numbers[ACME] == [1, 4]


async def test_a_tenant_with_unwanted_messages_only_waits_for_nothing(rig: Rig) -> None:
    """A consumer that starts in the past finds such tenants, and passes over their messages."""
    await number_up_to(rig.unit_of_work, 2)
    rig.runner.subscribe(consumer(event_types=("invoice.*",), start="beginning"), Recorder())
    assert await rig.runner.run_once() == 0
    assert rig.database.consumers.positions == {}


async def test_a_consumer_may_pass_over_its_dead_messages(rig: Rig) -> None:
    """Nothing waits for them, and operators see which they were."""
    recorder = Recorder(fail=lambda each: OSError("refused") if each.sequence in (1, 3) else None)
    given = consumer(attempts=2, backoff_base=SOON, backoff_cap=SOON, on_dead=OnDead.SKIP)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 3)
    await rig.handle(given, recorder, reports=5)
    assert rig.results() == [(1, "retried"), (1, "skipped"), (2, "handled"), (3, "retried"), (3, "skipped")]
    assert [each.sequence for each in await rig.oversight.skipped(MAILS, limit=10)] == [3, 1]
    assert rig.database.consumers.positions == {}


async def test_a_handler_gives_a_message_up_at_once(rig: Rig) -> None:
    """Without further attempts."""
    recorder = Recorder(fail=lambda _: Undeliverable("no such address"))
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(consumer(), recorder, reports=1)
    assert [(each.result, each.error) for each in rig.reports] == [("dead", "no such address")]


async def test_a_handler_says_when_to_try_again(rig: Rig) -> None:
    """With an attempt that counts or one that does not."""
    answers = iter([RetryLater(SOON, counted=False)] * 3 + [RetryLater(SOON, "slow down")] * 2)
    recorder = Recorder(fail=lambda _: next(answers))
    given = consumer(attempts=2)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(given, recorder, reports=5)
    assert [each.result for each in rig.reports] == ["retried"] * 4 + ["dead"]
    assert recorder.attempts == [1, 1, 1, 1, 2]
    assert (rig.reports[0].retry_after, rig.reports[3].error) == (SOON, "slow down")


async def test_an_attempt_that_takes_too_long_fails(rig: Rig) -> None:
    """The handler is canceled; a timeout of its own is another failure."""

    async def hang(received: ConsumerMessage) -> None:
        if received.attempt == 1:
            await asyncio.Event().wait()
        raise TimeoutError

    given = consumer(attempts=2, timeout=SOON, backoff_base=SOON)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(given, hang, reports=2)
    assert [each.error for each in rig.reports] == ["took longer than 0.005 s", "TimeoutError"]


async def exit_at_once(_: ConsumerMessage) -> None:
    """End the process, as code that was written for a command does."""
    raise SystemExit(3)


def exit_in_a_thread(_: ConsumerMessage) -> None:
    """End the process."""
    raise SystemExit(3)


async def await_a_canceled_task(_: ConsumerMessage) -> None:
    """Await what something else has canceled."""
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task


async def fail_in_two_tasks(_: ConsumerMessage) -> None:
    """Raise what a task group raises whose tasks failed."""
    raise ExceptionGroup("unhandled errors in a TaskGroup", [OSError("refused"), ValueError("too long")])


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (fail_in_two_tasks, "OSError: refused"),
        (exit_at_once, "SystemExit: 3"),
        (exit_in_a_thread, "SystemExit: 3"),
        (await_a_canceled_task, "CancelledError"),
    ],
)
async def test_no_handler_ends_its_process(rig: Rig, handler: Handler, error: str) -> None:
    """Neither one that exits nor one whose tasks failed or were canceled elsewhere; these are attempts that failed."""
    given = consumer(attempts=2, backoff_base=SOON, backoff_cap=SOON)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(given, handler, reports=2)
    assert [(each.result, each.error) for each in rig.reports] == [("retried", error), ("dead", error)]


async def test_a_message_that_ends_its_process_runs_out_of_attempts() -> None:
    """An attempt counts when it begins, so that it is not tried forever."""
    clock = ManualClock()
    rig = Rig(clock)
    given = consumer(attempts=2)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    started = 0

    async def die(_: ConsumerMessage) -> None:
        nonlocal started
        started += 1
        await asyncio.Event().wait()

    for attempt in (1, 2):
        runner = rig.another()
        runner.subscribe(given, die)
        task = asyncio.create_task(runner.run())
        await until(lambda attempt=attempt: started == attempt)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        clock.advance(timedelta(minutes=2))
    await rig.handle(given, die, reports=1)
    assert started == 2
    assert [(each.result, each.error) for each in rig.reports] == [
        ("dead", "the end of attempt 2 is unknown: its process was killed or froze")
    ]


async def test_many_tenants_are_worked_on_at_a_time(rig: Rig) -> None:
    """One that is slow delays no other, up to the limit of a process."""
    rig.runner = rig.another(tenants=4)
    inside, most, release = 0, 0, asyncio.Event()

    async def wait(_: ConsumerMessage) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await release.wait()
        inside -= 1

    await registered(rig, consumer())
    for each in range(10):
        await number_up_to(rig.unit_of_work, 1, TenantId(f"tenant-{each}"))
    rig.runner.subscribe(consumer(), wait)
    async with rig.running():
        await until(lambda: inside == 4)
        await asyncio.sleep(0.05)
        assert most == 4
        release.set()
        await until(lambda: len(rig.reports) == 10)
    assert most == 4


async def test_a_slow_consumer_takes_nothing_from_another(rig: Rig) -> None:
    """Each has tenants of its own to work on."""
    rig.runner = rig.another(tenants=1)
    recorder, release = Recorder(), asyncio.Event()

    async def wait(_: ConsumerMessage) -> None:
        await release.wait()

    for given in (consumer(), consumer(CRM)):
        await registered(rig, given)
    await number(rig.unit_of_work, message(ACME, 1), message(GLOBEX, 1))
    rig.runner.subscribe(consumer(), wait)
    rig.runner.subscribe(consumer(CRM), recorder)
    async with rig.running():
        await until(lambda: len(recorder.numbers) == 2)
        release.set()


async def test_two_processes_share_the_tenants(rig: Rig) -> None:
    """Each message is handled once, in order, though both run the same handler."""
    recorder = Recorder()
    await registered(rig, consumer())
    names = [TenantId(f"tenant-{number}") for number in range(10)]
    for name in names:
        await number_up_to(rig.unit_of_work, 5, name)
    runners = [rig.another(tenants=2, messages=2) for _ in range(2)]
    for runner in runners:
        runner.subscribe(consumer(), recorder)
    async with rig.running(*runners):
        await until(lambda: len(rig.reports) == 50)
    assert recorder.numbers == {key: [1, 2, 3, 4, 5] for key in names}


async def test_a_stop_finishes_the_message_in_progress(rig: Rig) -> None:
    """The rest stays due, without an attempt that counts."""
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait(_: ConsumerMessage) -> None:
        entered.set()
        await release.wait()

    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 3)
    rig.runner.subscribe(consumer(), wait)
    task = asyncio.create_task(rig.runner.run())
    await entered.wait()
    rig.runner.stop()
    release.set()
    await task
    assert rig.results() == [(1, "handled")]
    (left,) = await rig.oversight.waiting(MAILS, limit=10)
    assert (left.position, left.attempts) == (1, 0)
    assert left.due_at <= rig.clock.now()


async def test_an_unavailable_store_does_not_repeat_an_effect(rig: Rig) -> None:
    """The position is stored when the store is back, and the message is handled once."""
    recorder = Recorder()
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 2)
    rig.flaky.away = {"settle"}
    rig.runner.subscribe(consumer(), recorder)
    async with rig.running():
        await until(lambda: len(rig.flaky.failed) >= 3)
        rig.flaky.away = set()
        await until(lambda: len(rig.reports) == 2)
    assert recorder.numbers[ACME] == [1, 2]
    assert rig.results() == [(1, "handled"), (2, "handled")]


@pytest.mark.parametrize("method", ["claim", "messages", "catch_up", "register"])
async def test_the_loop_survives_an_unavailable_store(rig: Rig, method: str) -> None:
    """It goes on when the store is back."""
    recorder = Recorder()
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 1)
    rig.flaky.away = {method}
    rig.runner = rig.another(lease=SOON)
    rig.runner.subscribe(consumer(timeout=SOON), recorder)
    async with rig.running():
        await until(lambda: len(rig.flaky.failed) >= 2)
        rig.flaky.away = set()
        await until(lambda: recorder.numbers[ACME][:1] == [1])


async def test_tenants_whose_messages_cannot_be_read_are_given_back(rig: Rig) -> None:
    """They do not wait for the end of a lease, and the attempt does not count: no handler has seen them."""
    recorder = Recorder()
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 1)
    rig.flaky.away = {"messages"}
    rig.runner = rig.another(lease=timedelta(hours=1))
    rig.runner.subscribe(consumer(), recorder)
    async with rig.running():
        await until(lambda: len(rig.flaky.failed) >= 2)
        rig.flaky.away = set()
        await until(lambda: recorder.numbers[ACME] == [1])
    assert recorder.attempts == [1]


async def test_a_position_that_was_stored_unnoticed_is_not_set_back(rig: Rig) -> None:
    """The claim is over: another attempt to store it finds that, and the message does not come again."""
    recorder = Recorder()
    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 1)
    rig.flaky.away, rig.flaky.after_settling = {"settle"}, True
    rig.runner.subscribe(consumer(), recorder)
    async with rig.running():
        await until(lambda: "settle" in rig.flaky.failed)
        rig.flaky.away = set()
        await until(lambda: len(rig.reports) == 1)
    assert recorder.numbers[ACME] == [1]
    assert rig.database.consumers.positions == {}


async def test_a_store_of_ours_that_a_handler_needs_costs_no_attempt(rig: Rig) -> None:
    """The message is not to blame."""
    answers = iter([StoreUnavailableError("state")])
    recorder = Recorder(fail=lambda _: next(answers, None))
    given = consumer(attempts=1)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(given, recorder, reports=2)
    assert rig.results() == [(1, "retried"), (1, "handled")]


async def test_a_handler_may_take_the_transaction(rig: Rig) -> None:
    """Its position is stored with it; one that fails is tried again."""
    seen: list[tuple[int, object]] = []

    async def write(received: ConsumerMessage, transaction: object) -> None:
        seen.append((received.sequence, transaction))
        if len(seen) == 1:
            raise OSError

    given = consumer(backoff_base=SOON)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 2)
    await rig.handle(given, write, reports=3)
    assert [number for number, _ in seen] == [1, 1, 2]
    assert rig.results() == [(1, "retried"), (1, "handled"), (2, "handled")]
    with pytest.raises(RuntimeError, match="no database"):
        _ = seen[0][1].execute  # type: ignore[attr-defined]


async def test_a_transaction_that_is_lost_costs_an_attempt(rig: Rig) -> None:
    """The handler ran, so its effects outside must not be repeated without end."""

    async def write(received: ConsumerMessage, transaction: object) -> None:
        raise TransactionLostError("the connection was lost")

    given = consumer(attempts=2, backoff_base=SOON)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(given, write, reports=2)
    assert rig.results() == [(1, "retried"), (1, "dead")]
    assert rig.reports[1].error == "the connection was lost"


@pytest.mark.parametrize("once", [False, True])
async def test_no_more_is_claimed_than_transactions_are_free(rig: Rig, once: bool) -> None:
    """Over all consumers whose handlers take one: a lease that runs while its claim queues costs attempts."""
    rig.runner = rig.another(transactions=2)
    claimed: list[int] = []

    async def write(_: ConsumerMessage, transaction: object) -> None:
        await asyncio.sleep(0)
        claimed.append(sum(each.fence > 0 for each in rig.database.consumers.positions.values()))

    names = [TenantId(f"tenant-{each}") for each in range(4)]
    for each in range(5):
        given = consumer(consumer_name(f"hook-{each}"))
        await registered(rig, given)
        rig.runner.subscribe(given, write)
    for name in names:
        await number_up_to(rig.unit_of_work, 2, name)
    if once:
        await rig.runner.run_once()
    else:
        async with rig.running():
            await until(lambda: len(rig.reports) == 40)
    assert {each.result for each in rig.reports} == {"handled"}
    assert len(claimed) == 40
    assert max(claimed) == 2


async def test_a_transactional_consumer_with_much_to_do_shares_the_transactions(rig: Rig) -> None:
    """The one that had its turn longest ago has the next, and a plain handler needs none."""
    rig.runner = rig.another(transactions=1)
    handled: list[str] = []

    async def write(received: ConsumerMessage, transaction: object) -> None:
        handled.append(received.event_type)

    for each in ("busy", "calm"):
        given = consumer(consumer_name(each), event_types=(f"{each}.*",))
        await registered(rig, given)
        rig.runner.subscribe(given, write)
    for each in range(4):
        await number(rig.unit_of_work, message(TenantId(f"tenant-{each}"), 1, event_type="busy.day"))
    await number(rig.unit_of_work, message(ACME, 1, event_type="calm.day"))
    assert await rig.runner.run_once() == 5
    assert handled.index("calm.day") == 1
    assert handled.count("busy.day") == 4


async def test_a_plain_function_runs_in_a_thread(rig: Rig) -> None:
    """So it may block."""
    threads: list[int] = []

    def block(_: ConsumerMessage) -> None:
        threads.append(threading.get_ident())

    await registered(rig, consumer())
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(consumer(), block, reports=1)
    assert threads != [threading.get_ident()]


async def test_plain_functions_run_for_all_tenants_at_a_time(rig: Rig) -> None:
    """Each consumer has a thread per tenant, whatever the threads of the event loop are busy with."""
    met = threading.Barrier(2 * 16)

    def meet(_: ConsumerMessage) -> None:
        met.wait(timeout=PATIENCE)

    for given in (consumer(attempts=1), consumer(CRM, attempts=1)):
        await registered(rig, given)
        rig.runner.subscribe(given, meet)
    await number(rig.unit_of_work, *(message(TenantId(f"tenant-{each}"), 1) for each in range(16)))
    async with rig.running():
        await until(lambda: len(rig.reports) == 32)
    assert {each.result for each in rig.reports} == {"handled"}


async def test_waiting_for_a_thread_costs_no_attempt(rig: Rig) -> None:
    """A call that runs on after its timeout keeps its thread; others wait for it, and their timeout begins then."""
    release, attempts = threading.Event(), []

    def block(received: ConsumerMessage) -> None:
        attempts.append(received.attempt)
        release.wait(timeout=PATIENCE)

    given = consumer(attempts=2, timeout=timedelta(milliseconds=100), backoff_base=SOON)
    rig.runner = rig.another(tenants=1)
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    rig.runner.subscribe(given, block)
    async with rig.running():
        await until(lambda: len(rig.reports) >= 4)
        assert attempts == [1]
        release.set()
        await until(lambda: rig.reports[-1].result == "handled")
    assert attempts == [1, 2]
    assert rig.reports[0].error == "took longer than 0.1 s"
    assert {each.error for each in rig.reports[1:-1]} == {
        "all threads are held by earlier attempts, which run on after their timeout"
    }


async def test_a_claim_outlives_the_wait_for_a_thread_and_the_attempt(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another process would begin the same attempt beside it."""
    given = consumer(attempts=1, timeout=timedelta(hours=1))
    waits, leases = [], []
    reserve = Threads.reserve

    async def noted(self: Threads, *, at_most: timedelta) -> None:
        waits.append(at_most)
        await reserve(self, at_most=at_most)

    async def claim(wants: Sequence[Want]) -> Sequence[ConsumerClaim]:
        leases.extend(want.lease for want in wants)
        return await rig.consumers.claim(wants)

    monkeypatch.setattr(Threads, "reserve", noted)
    rig.flaky.instead["claim"] = claim
    await registered(rig, given)
    await number_up_to(rig.unit_of_work, 1)
    await rig.handle(given, lambda _: None, reports=1)
    assert max(waits) + given.timeout < min(leases)


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda one, two: None,
        lambda one, two, three: None,
        lambda *, one: None,
    ],
)
def test_functions_that_are_no_handlers_are_refused(rig: Rig, function: Any) -> None:
    """When they are subscribed, with the forms that there are."""
    with pytest.raises(TypeError, match=r"async def .*\(message, transaction\)"):
        rig.runner.subscribe(consumer(), function)


def test_parameters_with_defaults_are_the_handlers_own(rig: Rig) -> None:
    """A method, a callable object and a function with a default get the message only."""

    async def handle(message: ConsumerMessage, retries: int = 3) -> None: ...

    rig.runner.subscribe(consumer(), handle)
    rig.runner.subscribe(consumer(CRM), Recorder().__call__)
