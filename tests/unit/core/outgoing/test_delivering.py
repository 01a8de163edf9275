"""Delivering to a receiver: what failures cost, how long pauses are, and when a receiver is disabled."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.core.outgoing.conftest import CRM, URL, Rig, answer, consumer_message

from billing_core.consumers.values import RetryLater
from billing_core.errors import StoreUnavailableError
from billing_core.outgoing.delivering import WebhookPolicy
from billing_core.outgoing.values import DeliveryResult
from billing_core.testing.builders import AT
from billing_memory.clock import ManualClock

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1))


async def fail(rig: Rig) -> RetryLater:
    with pytest.raises(RetryLater) as later:
        await rig.deliverer.deliver(CRM, consumer_message())
    return later.value


async def test_a_message_is_sent_as_it_was_published(rig: Rig) -> None:
    """Under its id, with its type, its time and its payload verbatim."""
    await rig.add()
    await rig.deliverer.handler(CRM)(consumer_message(7))
    (sent,) = rig.sender.received[URL]
    assert (sent.message_id, sent.event_type, sent.occurred_at) == ("first:acme:7", "subscription.updated", AT)
    assert sent.payload == '{"tenant_id":"acme","sequence":7}'
    assert [each.delivery.delivered for each in rig.reports] == [True]


async def test_the_first_failure_counts_and_the_rest_of_an_outage_does_not(rig: Rig, manual_clock: ManualClock) -> None:
    """A receiver that is down for a weekend uses up no message's attempts."""
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    assert (await fail(rig)).counted
    for _ in range(100):
        manual_clock.advance(10 * MINUTE)
        assert not (await fail(rig)).counted


async def test_a_message_that_fails_beside_others_uses_up_its_attempts(rig: Rig, manual_clock: ManualClock) -> None:
    """The receiver takes others meanwhile, so that this message is to blame."""
    await rig.add()
    for _ in range(3):
        rig.sender.answers[URL] = answer(500)
        manual_clock.advance(HOUR)
        assert (await fail(rig)).counted
        rig.sender.answers.clear()
        await rig.deliverer.deliver(CRM, consumer_message())


async def test_a_success_in_another_process_ends_an_outage(rig: Rig) -> None:
    """Receivers are shared: what one process learned, the next attempt of any other counts from."""
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    await fail(rig)
    rig.sender.answers.clear()
    another = rig.another_deliverer()
    another.learn(await rig.endpoints.current())
    await another.deliver(CRM, consumer_message())
    (known,) = await rig.endpoints.current()
    assert known.failing_since is None


async def test_the_text_says_what_happened(rig: Rig) -> None:
    """It is what an operator reads about the message."""
    await rig.add()
    rig.sender.answers[URL] = answer(502)
    assert str(await fail(rig)) == "answered 502"


@pytest.mark.parametrize(
    ("failing", "longest"),
    [(0 * SECOND, 5 * SECOND), (5 * SECOND, 5 * SECOND), (MINUTE, MINUTE), (HOUR, 10 * MINUTE), (DAY, 10 * MINUTE)],
)
async def test_pauses_grow_with_an_outage_up_to_ten_minutes(
    rig: Rig, manual_clock: ManualClock, failing: timedelta, longest: timedelta
) -> None:
    """So a short outage ends soon after the receiver is back, and a long one costs few attempts."""
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    if failing:
        await fail(rig)
        manual_clock.advance(failing)
    pauses = [(await fail(rig)).after for _ in range(20)]
    assert all(longest / 2 <= pause <= longest for pause in pauses)
    assert len(set(pauses)) > 1


async def test_retry_after_makes_a_pause_longer_and_never_shorter(rig: Rig) -> None:
    """A receiver that is overloaded decides when it is asked again, and such answers cost no attempt."""
    await rig.add()
    rig.sender.answers[URL] = answer(429, DeliveryResult.LIMITED, retry_after=HOUR)
    later = await fail(rig)
    assert (later.after, later.counted) == (HOUR, False)
    rig.sender.answers[URL] = answer(503, DeliveryResult.LIMITED, retry_after=0 * SECOND)
    assert (await fail(rig)).after >= 2.5 * SECOND


async def test_a_message_that_crashes_a_receiver_behind_a_proxy_uses_up_its_attempts(rig: Rig) -> None:
    """The proxy answers 503 for it; with `Retry-After`, or by 429, the receiver says that it is overloaded instead."""
    await rig.add()
    for status, wait, counted in ((503, None, True), (503, 0 * SECOND, False), (429, None, False)):
        rig.sender.answers[URL] = answer(status, DeliveryResult.LIMITED, retry_after=wait)
        assert (await fail(rig)).counted is counted
        rig.sender.answers.clear()
        await rig.deliverer.deliver(CRM, consumer_message())


async def test_a_receiver_without_one_success_is_disabled_after_three_days(rig: Rig, manual_clock: ManualClock) -> None:
    """Not before; and the reason says what was seen last."""
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    await fail(rig)
    manual_clock.advance(DAY)
    await fail(rig)
    manual_clock.advance(2 * DAY - SECOND)
    await fail(rig)
    assert await rig.disabled_reason() is None
    manual_clock.advance(SECOND)
    assert not (await fail(rig)).counted
    reason = "The receiver took no message for 3 days. The last failure: answered 500."
    assert await rig.disabled_reason() == reason
    assert [each.disabled for each in rig.reports] == [None, None, None, reason]


@pytest.mark.parametrize(("hours", "length"), [(47, "47 hours"), (48, "2 days"), (71, "2 days")])
async def test_the_reason_tells_the_time_in_hours_or_from_two_on_in_whole_days(
    manual_clock: ManualClock, hours: int, length: str
) -> None:
    """Of whatever patience an operator has set."""
    rig = Rig(manual_clock, WebhookPolicy(disable_after=hours * HOUR))
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    for _ in range(3):
        await fail(rig)
        manual_clock.advance(hours * HOUR / 2)
    assert await rig.disabled_reason() == f"The receiver took no message for {length}. The last failure: answered 500."


async def test_one_success_within_the_time_keeps_a_receiver(rig: Rig, manual_clock: ManualClock) -> None:
    """The time counts from the first failure after it."""
    await rig.add()
    for _ in range(3):
        rig.sender.answers[URL] = answer(500)
        await fail(rig)
        manual_clock.advance(2 * DAY)
        await fail(rig)
        rig.sender.answers.clear()
        await rig.deliverer.deliver(CRM, consumer_message())
        manual_clock.advance(2 * DAY)
    assert await rig.disabled_reason() is None


async def test_a_receiver_that_is_gone_is_disabled_at_once(rig: Rig) -> None:
    """410 is the answer by which it says so. The message waits for what an operator decides, and is not lost."""
    await rig.add()
    rig.sender.answers[URL] = answer(410, DeliveryResult.GONE)
    await fail(rig)
    assert await rig.disabled_reason() == "The receiver answered 410."
    await fail(rig)
    assert [each.disabled for each in rig.reports] == ["The receiver answered 410.", None]


async def test_a_receiver_that_was_removed_gets_nothing(rig: Rig) -> None:
    """A message that was claimed before waits for the runner to end with the consumer."""
    later = await fail(rig)
    assert (str(later), later.counted) == ("the receiver was removed", False)
    assert rig.sender.received == {}


async def test_a_delivery_counts_even_if_the_end_of_an_outage_cannot_be_stored(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending the message again for that would be a duplicate; the next success records it."""
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    await fail(rig)
    rig.sender.answers.clear()

    async def unavailable(_consumer: object) -> None:
        raise StoreUnavailableError

    with monkeypatch.context() as patched:
        patched.setattr(rig.endpoints, "recovered", unavailable)
        await rig.deliverer.deliver(CRM, consumer_message())
    await rig.deliverer.deliver(CRM, consumer_message())
    (known,) = await rig.endpoints.current()
    assert known.failing_since is None
