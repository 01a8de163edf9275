"""The contract of WebhookEndpoints."""

from datetime import timedelta

import attrs
import pytest

from billing_core.consumers.values import ConsumerName
from billing_core.outgoing.ports import QUIET, WebhookEndpoints
from billing_core.outgoing.values import SigningSecret, WebhookEndpoint
from billing_core.state.ports import Clock
from billing_core.testing.suite import Suite

CRM, ERP = ConsumerName("crm"), ConsumerName("erp")
URL = "https://crm.example.com/hooks?team=7"
HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)


class WebhookEndpointsContract(Suite):
    """Receivers, their secrets, and since when they fail.

    A binding provides `webhook_endpoints`, empty, and `clock`.
    """

    async def test_a_receiver_is_known(self, webhook_endpoints: WebhookEndpoints, clock: Clock) -> None:
        """In every field, by the name of its consumer."""
        first, second = SigningSecret.generate(clock.now()), SigningSecret.generate(clock.now())
        assert await webhook_endpoints.current() == []
        await webhook_endpoints.put(ERP, "http://10.0.0.8/", second)
        await webhook_endpoints.put(CRM, URL, first)
        assert await webhook_endpoints.current() == [
            WebhookEndpoint(consumer=CRM, url=URL, secrets=(first,)),
            WebhookEndpoint(consumer=ERP, url="http://10.0.0.8/", secrets=(second,)),
        ]

    async def test_another_url_keeps_the_secrets(self, webhook_endpoints: WebhookEndpoints, clock: Clock) -> None:
        """A receiver that moves verifies with what it has."""
        secret = SigningSecret.generate(clock.now())
        await webhook_endpoints.put(CRM, URL, secret)
        await webhook_endpoints.put(CRM, "https://new.example.com/", None)
        assert await webhook_endpoints.current() == [
            WebhookEndpoint(consumer=CRM, url="https://new.example.com/", secrets=(secret,))
        ]

    async def test_failures_of_another_url_no_longer_count(
        self, webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """A receiver that moved is not disabled for what its former place did. The same URL again changes nothing."""
        now, new = clock.now(), "https://new.example.com/"
        await webhook_endpoints.put(CRM, URL, SigningSecret.generate(now))
        await webhook_endpoints.failed(CRM, now, "answered 500")
        await webhook_endpoints.put(CRM, URL, None)
        (same,) = await webhook_endpoints.current()
        assert (same.failing_since, same.failure) == (now, "answered 500")
        await webhook_endpoints.put(CRM, new, None)
        (moved,) = await webhook_endpoints.current()
        assert (moved.url, moved.failing_since, moved.failure) == (new, None, None)
        assert await webhook_endpoints.failed(CRM, now + HOUR, "answered 500") == now + HOUR

    async def test_a_new_receiver_needs_a_secret(self, webhook_endpoints: WebhookEndpoints) -> None:
        """Nothing is stored without one."""
        with pytest.raises(ValueError, match="crm is new and needs a secret"):
            await webhook_endpoints.put(CRM, URL, None)
        assert await webhook_endpoints.current() == []

    async def test_a_given_secret_replaces_all_others(self, webhook_endpoints: WebhookEndpoints, clock: Clock) -> None:
        """And the receiver starts again, without the failures of the one before."""
        first, second, third = (SigningSecret.generate(clock.now()) for _ in range(3))
        await webhook_endpoints.put(CRM, URL, first)
        await webhook_endpoints.rotate(CRM, second, replaced_until=clock.now() + HOUR)
        await webhook_endpoints.failed(CRM, clock.now(), "answered 500")
        await webhook_endpoints.put(CRM, URL, third)
        assert await webhook_endpoints.current() == [WebhookEndpoint(consumer=CRM, url=URL, secrets=(third,))]

    async def test_a_replaced_secret_signs_until_the_overlap_ends(
        self, webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """The new one is first; a third rotation does not extend the first one's time. Other receivers keep theirs."""
        now = clock.now()
        first, second, third = (
            SigningSecret.generate(now - 2 * HOUR),
            SigningSecret.generate(now - HOUR),
            SigningSecret.generate(now),
        )
        await webhook_endpoints.put(CRM, URL, first)
        await webhook_endpoints.put(ERP, URL, first)
        assert await webhook_endpoints.rotate(CRM, second, replaced_until=now + HOUR)
        assert await webhook_endpoints.rotate(CRM, third, replaced_until=now + 2 * HOUR)
        found, other = await webhook_endpoints.current()
        assert found.secrets == (
            third,
            attrs.evolve(second, expires_at=now + 2 * HOUR),
            attrs.evolve(first, expires_at=now + HOUR),
        )
        assert other.secrets == (first,)

    async def test_without_an_overlap_only_the_new_secret_signs(
        self, webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """A secret that has leaked ends at once, and so does one that an earlier rotation left some time."""
        earlier, leaked, new = (SigningSecret.generate(clock.now()) for _ in range(3))
        await webhook_endpoints.put(CRM, URL, earlier)
        await webhook_endpoints.rotate(CRM, leaked, replaced_until=clock.now() + HOUR)
        await webhook_endpoints.rotate(CRM, new, replaced_until=clock.now() - MICROSECOND)
        (found,) = await webhook_endpoints.current()
        assert found.secrets == (new,)

    async def test_rotating_to_the_same_secret_keeps_it(
        self, webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """A repeated command does no harm; the secret of an interrupted rotation becomes the current one."""
        first, second = SigningSecret.generate(clock.now() - HOUR), SigningSecret.generate(clock.now())
        await webhook_endpoints.put(CRM, URL, first)
        for _ in range(2):
            await webhook_endpoints.rotate(CRM, second, replaced_until=clock.now() + HOUR)
        (found,) = await webhook_endpoints.current()
        assert [each.text for each in found.secrets] == [second.text, first.text]
        assert found.secrets[0].expires_at is None

    async def test_an_unknown_receiver_has_nothing_to_rotate(
        self, webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """The caller learns that the name is wrong."""
        assert not await webhook_endpoints.rotate(CRM, SigningSecret.generate(clock.now()), replaced_until=clock.now())
        assert not await webhook_endpoints.remove(CRM)
        assert await webhook_endpoints.failed(CRM, clock.now(), "answered 500") is None
        await webhook_endpoints.recovered(CRM)
        assert await webhook_endpoints.current() == []

    async def test_a_removed_receiver_is_forgotten(self, webhook_endpoints: WebhookEndpoints, clock: Clock) -> None:
        """With its secrets; others stay."""
        secret = SigningSecret.generate(clock.now())
        await webhook_endpoints.put(CRM, URL, secret)
        await webhook_endpoints.put(ERP, URL, secret)
        assert await webhook_endpoints.remove(CRM)
        assert [each.consumer for each in await webhook_endpoints.current()] == [ERP]

    async def test_failures_count_from_the_first_one(self, webhook_endpoints: WebhookEndpoints, clock: Clock) -> None:
        """The last text is kept; a success ends the count, for this receiver only."""
        now, secret = clock.now(), SigningSecret.generate(clock.now())
        await webhook_endpoints.put(CRM, URL, secret)
        await webhook_endpoints.put(ERP, URL, secret)
        assert await webhook_endpoints.failed(CRM, now, "answered 500") == now
        assert await webhook_endpoints.failed(CRM, now + HOUR, "no answer within 15 s") == now
        assert await webhook_endpoints.failed(ERP, now + HOUR, "answered 404") == now + HOUR
        crm, erp = await webhook_endpoints.current()
        assert (crm.failing_since, crm.failure) == (now, "no answer within 15 s")
        await webhook_endpoints.recovered(CRM)
        await webhook_endpoints.recovered(CRM)
        assert await webhook_endpoints.failed(CRM, now + 2 * HOUR, "answered 500") == now + 2 * HOUR
        assert (await webhook_endpoints.current())[1] == erp

    async def test_failures_after_a_quiet_time_count_from_there(
        self, webhook_endpoints: WebhookEndpoints, clock: Clock
    ) -> None:
        """Nothing was sent in between, so that nothing is known about that time."""
        now = clock.now()
        await webhook_endpoints.put(CRM, URL, SigningSecret.generate(now))
        await webhook_endpoints.failed(CRM, now, "answered 500")
        assert await webhook_endpoints.failed(CRM, now + QUIET, "answered 500") == now
        await webhook_endpoints.put(CRM, URL, None)  # the same place: what failed there still counts, and its end, too
        later = now + 2 * QUIET + MICROSECOND
        assert await webhook_endpoints.failed(CRM, later, "answered 500") == later
