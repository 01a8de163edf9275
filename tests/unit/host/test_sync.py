"""Billing for code without an event loop."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.unit.host.conftest import PLANS, signed, subscription_event

from billing_app import Settings, SyncBilling, open_billing_sync
from billing_app.errors import StartRefusedError
from billing_app.host import Billing
from billing_core.errors import ConfigurationError
from billing_core.model import AccessState

FORKED = """
import os
from billing_app import Settings, open_billing_sync

billing = open_billing_sync(Settings.for_tests())
assert billing.state("acme").sequence == 0
child = os.fork()
if child == 0:
    assert billing.state("acme").sequence == 0
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(billing.state("acme").sequence)
"""


def assert_no_thread_is_left() -> None:
    """Each opened billing has a thread of this name."""
    assert "billing" not in [thread.name for thread in threading.enumerate()]


@pytest.fixture
def billing() -> Iterator[SyncBilling]:
    """Open billing in memory, in a thread."""
    with open_billing_sync(Settings.for_tests(PLANS)) as billing:
        yield billing


def test_calls_wait_for_their_answers(billing: SyncBilling) -> None:
    """The same story as in asynchronous code."""
    body, signature = signed(subscription_event(1))
    assert billing.answer_webhook(body, signature).status == 202
    assert billing.process_due() == 1
    assert billing.state("acme").sequence == 1
    assert billing.access("acme").state is AccessState.FULL
    assert not billing.allows("acme", "unknown")
    assert billing.remaining("acme", "unknown") == 0
    with pytest.raises(ConfigurationError, match="STRIPE_FETCH"):
        billing.operations.cancel("acme")


def test_messages_can_be_read_in_a_loop(billing: SyncBilling) -> None:
    """Each step waits for the next message; leaving the loop ends the stream."""
    for number in (1, 2):
        billing.receive(*signed(subscription_event(number)))
    billing.process_due()
    messages = billing.stream("acme", after="0")
    assert [next(messages).sequence for _ in range(2)] == [1, 2]
    messages.close()  # type: ignore[attr-defined]


def test_a_stream_that_waits_ends_with_billing() -> None:
    """The loop that reads it is left."""
    billing = open_billing_sync(Settings.for_tests())
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(lambda: list(billing.stream("acme")))
        billing.state("acme")
        closing = threading.Timer(0.2, billing.close)
        closing.start()
        assert reading.result(timeout=60) == []
        closing.join()
    assert_no_thread_is_left()


def test_a_stream_ends_where_billing_was_closed_meanwhile() -> None:
    """Neither its next step nor its end opens billing again."""
    billing = open_billing_sync(Settings.for_tests(PLANS))
    for number in (1, 2):
        billing.receive(*signed(subscription_event(number)))
    billing.process_due()
    stepping, left = billing.stream("acme", after="0"), billing.stream("acme", after="0")
    assert (next(stepping).sequence, next(left).sequence) == (1, 1)
    billing.close()
    assert list(stepping) == []
    left.close()  # type: ignore[attr-defined]
    assert_no_thread_is_left()


def test_it_opens_at_the_first_call_and_again_after_it_was_closed() -> None:
    """In memory, each time empty."""
    billing = open_billing_sync(Settings.for_tests(PLANS))
    for _ in range(2):
        billing.receive(*signed(subscription_event(1)))
        assert billing.process_due() == 1
        billing.close()
    billing.close()


def test_threads_share_one_opening() -> None:
    """Also where they come first at the same time."""
    billing = open_billing_sync(Settings.for_tests(PLANS))
    with ThreadPoolExecutor(8) as threads, billing:
        bodies = [signed(subscription_event(1, tenant_id=f"tenant{number}")) for number in range(8)]
        list(threads.map(lambda body: billing.receive(*body), bodies))
        assert billing.process_due() == 8


def test_a_fault_of_the_settings_shows_at_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an opening in asynchronous code does, and no thread stays behind."""
    monkeypatch.setenv("ENABLE_BILLING", "true")
    monkeypatch.delenv("STRIPE_SECRET_KEY", raising=False)
    with pytest.raises(StartRefusedError, match="STRIPE_SECRET_KEY"):
        open_billing_sync().open()
    assert_no_thread_is_left()


async def test_asynchronous_code_is_refused(billing: SyncBilling) -> None:
    """It would stand still, with everything else that its event loop does."""
    with pytest.raises(RuntimeError, match="uses open_billing"):
        billing.state("acme")


def test_everything_else_is_reached_by_a_function(billing: SyncBilling) -> None:
    """It runs in the event loop of billing."""

    async def position(ours: Billing) -> str:
        return (await ours.state("acme")).position

    assert billing.run(position) == "0"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_opens_its_own() -> None:
    """As the processes of Celery and Gunicorn do; the parent's keeps working."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("0", 0), done.stderr
