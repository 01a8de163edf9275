"""Actions of operators on receivers, and the entries of the audit log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.core.outgoing.conftest import CRM, URL, Rig, answer, consumer_message

from billing_core.consumers.values import Consumer, OnDead, RetryLater
from billing_core.errors import ConfigurationError
from billing_core.outgoing.values import SigningSecret
from billing_memory.clock import ManualClock

BY: dict[str, Any] = {"actor": "ada", "reason": "the CRM wants to know"}


async def test_a_new_receiver_gets_a_secret_that_is_shown_once(rig: Rig) -> None:
    """Changing the receiver later shows none."""
    added = await rig.administration.add(CRM, url=URL, changes={"event_types": ("invoice.*",)}, **BY)
    assert added.created
    assert added.secret is not None
    (endpoint,) = await rig.endpoints.current()
    assert endpoint.secrets == (added.secret,)
    again = await rig.administration.add(CRM, url=URL, changes={"on_dead": OnDead.SKIP}, **BY)
    assert (again.created, again.secret) == (False, None)
    assert again.consumer == Consumer(name=CRM, event_types=("invoice.*",), on_dead=OnDead.SKIP)
    assert await rig.endpoints.current() == [endpoint]


async def test_a_receiver_may_bring_a_secret(rig: Rig) -> None:
    """One that verifies for other senders as well; a known one is rotated instead."""
    mine = SigningSecret.generate(rig.clock.now())
    added = await rig.administration.add(CRM, url=URL, changes={}, secret=mine, **BY)
    assert added.secret == mine
    with pytest.raises(ValueError, match="billing consumers rotate-secret crm"):
        await rig.administration.add(CRM, url=URL, changes={}, secret=mine, **BY)


async def test_a_url_that_cannot_be_used_changes_nothing(rig: Rig) -> None:
    """The reason does not repeat a password in it."""
    with pytest.raises(ValueError, match="must not contain a user or a password") as refused:
        await rig.administration.add(CRM, url="https://ada:hunter2@crm.example.com/", changes={}, **BY)
    assert "hunter2" not in str(refused.value)
    assert (await rig.endpoints.current(), await rig.register.registered()) == ([], [])


async def test_a_consumer_of_code_is_not_given_a_receiver(rig: Rig) -> None:
    """Its messages would be handled twice."""
    await rig.register.register(Consumer(name=CRM))
    with pytest.raises(ConfigurationError, match="handled by code"):
        await rig.administration.add(CRM, url=URL, changes={}, **BY)
    assert await rig.endpoints.current() == []


async def test_an_interrupted_addition_is_repeated_with_a_new_secret(rig: Rig) -> None:
    """The first secret was never shown, so that no receiver can know it."""
    await rig.endpoints.put(CRM, URL, SigningSecret.generate(rig.clock.now()))
    added = await rig.administration.add(CRM, url=URL, changes={}, **BY)
    assert added.created
    (endpoint,) = await rig.endpoints.current()
    assert endpoint.secrets == (added.secret,)


async def test_rotation_keeps_the_old_secret_for_the_overlap(rig: Rig, manual_clock: ManualClock) -> None:
    """And the unknown name of a receiver is reported."""
    added = await rig.administration.add(CRM, url=URL, changes={}, **BY)
    new = SigningSecret.generate(rig.clock.now())
    assert await rig.administration.rotate(CRM, new, overlap=timedelta(hours=24), **BY)
    (endpoint,) = await rig.endpoints.current()
    assert [each.text for each in endpoint.secrets] == [new.text, added.secret.text if added.secret else ""]
    manual_clock.advance(timedelta(hours=24))
    (endpoint,) = await rig.endpoints.current()
    assert [each.text for each in endpoint.secrets] == [new.text]
    await rig.administration.remove(CRM, **BY)
    assert not await rig.administration.rotate(CRM, new, overlap=timedelta(0), **BY)


async def test_a_receiver_that_is_enabled_again_has_its_whole_time(rig: Rig, manual_clock: ManualClock) -> None:
    """Otherwise its first failure would disable it at once."""
    await rig.add()
    rig.sender.answers[URL] = answer(500)
    for _ in range(5):
        with pytest.raises(RetryLater):
            await rig.deliverer.deliver(CRM, consumer_message())
        manual_clock.advance(timedelta(days=1))
    assert await rig.disabled_reason() is not None
    assert await rig.administration.enable(CRM, **BY)
    assert await rig.disabled_reason() is None
    with pytest.raises(RetryLater):
        await rig.deliverer.deliver(CRM, consumer_message())
    assert await rig.disabled_reason() is None
    assert not await rig.administration.enable(CRM, **BY)


async def test_an_operator_disables_with_a_reason(rig: Rig) -> None:
    """It is shown with the name."""
    await rig.add()
    assert await rig.administration.disable(CRM, actor="ada", reason="maintenance")
    assert await rig.disabled_reason() == "Disabled by ada: maintenance"
    assert not await rig.administration.disable(CRM, actor="ada", reason="maintenance")


async def test_a_consumer_is_removed_with_or_without_a_receiver(rig: Rig) -> None:
    """One of code has none; a receiver without a consumer is what an interrupted addition left."""
    await rig.register.register(Consumer(name=CRM))
    assert await rig.administration.remove(CRM, **BY)
    await rig.endpoints.put(CRM, URL, SigningSecret.generate(rig.clock.now()))
    assert await rig.administration.remove(CRM, **BY)
    assert not await rig.administration.remove(CRM, **BY)
    results = [dict(each.result or {}) for each in await rig.audits.latest(limit=10)]
    assert results == [{"removed": False}, {"removed": True}, {"removed": True}]


async def test_everything_is_kept_in_the_audit_log(rig: Rig) -> None:
    """With the actor, the reason and the result; without a secret and without the query of the URL."""
    added = await rig.administration.add(CRM, url=URL, changes={}, **BY)
    new = SigningSecret.generate(rig.clock.now())
    await rig.administration.rotate(CRM, new, overlap=timedelta(hours=1), **BY)
    await rig.administration.disable(CRM, actor="ada", reason="maintenance")
    await rig.administration.enable(CRM, **BY)
    await rig.administration.remove(CRM, **BY)
    audits = list(reversed(await rig.audits.latest(limit=10)))
    assert [(each.action, each.actor, dict(each.result or {})) for each in audits] == [
        ("consumer_add", "ada", {"created": True}),
        ("consumer_rotate_secret", "ada", {"rotated": True}),
        ("consumer_disable", "ada", {"disabled": True}),
        ("consumer_enable", "ada", {"enabled": True}),
        ("consumer_remove", "ada", {"removed": True}),
    ]
    assert audits[0].filter["url"] == "https://crm.example.com/hooks?…"
    assert added.secret is not None
    assert not any(text in repr(audits) for text in (added.secret.text, new.text, "hunter2"))
