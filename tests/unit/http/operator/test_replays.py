"""Replays over HTTP: tried, confirmed, followed and canceled."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from tests.unit.http.conftest import Eventually
from tests.unit.http.operator.conftest import ANN, Desk

from billing_app.http.operator.replay_answers import LOST_AFTER, replay_answer
from billing_core.events import Disposition, Outcome
from billing_core.inbox.ports import HeldPlan
from billing_core.inbox.replay import DryRunReport, Replayer
from billing_core.model import CustomerId, SubscriptionId, TenantId
from billing_core.oversight.inspection import Audit
from billing_core.state.ports import Changes
from billing_core.testing.arrange import claimed, save, settle
from billing_core.testing.builders import ACME, GLOBEX, customer, provider_event
from billing_stripe.testing import API_VERSIONS, builders, encode, event
from billing_stripe.testing import samples as known

VERSION = API_VERSIONS[-1]
DEAD = {"statuses": ["dead"]}


async def bury(desk: Desk, event_id: str, **changes: Any) -> None:
    """Store an event of a subscription that is dead, though nothing is wrong with it."""
    shown = builders.subscription(attrs.evolve(known.SUBSCRIPTION, **changes), VERSION)
    made = event("customer.subscription.updated", shown, created=known.AT, api_version=VERSION, event_id=event_id)
    stored = provider_event(event_id, type=made["type"], body=encode(made), created_at=known.AT, api_version=VERSION)
    claim = await claimed(desk.inbox, stored)
    await settle(desk.world.repository, Outcome(claim=claim, disposition=Disposition.DEAD, reason="bug", error="boom"))


async def ended(desk: Desk, audit_id: int) -> dict[str, Any]:
    """Return a replay once it has ended."""
    while (shown := await desk.get(f"/replays/{audit_id}"))["state"] in ("running", "canceling"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return shown


class TestDryRun:
    """A look ahead."""

    async def test_it_shows_what_would_change_by_tenant(self, desk: Desk) -> None:
        """With the access of each, and its messages; nothing is changed."""
        await bury(desk, "evt_1")
        found = await desk.post("/replays/dry-run", {"filter": DEAD})
        assert (found["matched"], found["counts"]["changed"], found["counts"]["dead"]) == (1, 1, 0)
        (tenant,) = found["tenants"]
        assert (tenant["tenant_id"], found["access_changes"]) == (ACME, 1)
        assert (tenant["access"]["before"]["state"], tenant["access"]["after"]["state"]) == ("blocked", "full")
        assert [(each["event_id"], each["decision"]) for each in tenant["events"]] == [("evt_1", "changed")]
        assert "subscription" in [each["kind"] for each in tenant["differences"]]
        assert tenant["messages"][0]["sequence"] == 1
        assert found["failures"] == []
        assert await desk.audits() == []
        assert await desk.world.container.history().sequence(ACME) == 0
        assert (await desk.get("/events/evt_1"))["event"]["status"] == "dead"

    async def test_its_filter_has_an_end(self, desk: Desk) -> None:
        """Events that arrive later do not join what was looked at."""
        await bury(desk, "evt_1")
        found = await desk.post("/replays/dry-run", {"filter": DEAD})
        assert found["filter"]["until"] == found["as_of"]
        past = "2020-01-01T00:00:00Z"
        found = await desk.post("/replays/dry-run", {"filter": {**DEAD, "until": past}})
        assert (found["filter"]["until"], found["matched"]) == (past, 0)

    async def test_what_would_fail_is_named(self, desk: Desk) -> None:
        """With its reason."""
        owned = Changes(customers=[customer(known.CUSTOMER.customer_id, GLOBEX)])
        await save(desk.world.repository, owned, tenants=(GLOBEX,))
        await bury(desk, "evt_1")
        found = await desk.post("/replays/dry-run", {"filter": DEAD})
        assert [(each["event_id"], each["reason"]) for each in found["failures"]] == [("evt_1", "tenant_conflict")]
        assert found["counts"]["dead"] == 1

    async def test_the_access_of_every_tenant_is_compared(self, desk: Desk) -> None:
        """However many they are: operators confirm by that number."""
        tenants = [TenantId(f"tenant-{number}") for number in range(250)]
        rows = [customer(f"cus_{tenant}", tenant) for tenant in tenants]
        await save(desk.world.repository, Changes(customers=rows), tenants=tenants)
        for tenant in tenants:
            named = {"customer_id": CustomerId(f"cus_{tenant}"), "subscription_id": SubscriptionId(f"sub_{tenant}")}
            await bury(desk, f"evt_{tenant}", metadata={}, **named)
        found = await desk.post("/replays/dry-run", {"filter": DEAD})
        assert (found["access_changes"], len(found["tenants"])) == (250, 250)
        assert {each["access"]["before"]["state"] for each in found["tenants"]} == {"blocked"}

    async def test_it_is_bounded(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is one transaction."""
        monkeypatch.setattr("billing_app.http.operator.replays.DRY_RUN_LIMIT", 1)
        await desk.receive("evt_1", "evt_2")
        status, problem = await desk.send("POST", "/replays/dry-run", {"filter": {"statuses": ["due"]}})
        assert (status, problem["code"]) == (422, "too_many_events")


class TestReplay:
    """A replay that was confirmed."""

    async def test_it_runs_and_is_followed(self, desk: Desk) -> None:
        """The audit log has who, what, why and the result; the tenant gets its message."""
        await bury(desk, "evt_1")
        body = {"filter": DEAD, "confirm": 1, "why": "fixed in 0.2", "rate": 50}
        begun = await desk.post("/replays", body, status=202)
        assert (begun["actor"], begun["why"], begun["matched"]) == (ANN, "fixed in 0.2", 1)
        done = await ended(desk, begun["audit_id"])
        assert (done["state"], done["matched"], done["seen"]) == ("done", 1, 1)
        assert (done["counts"]["changed"], done["counts"]["messages"]) == (1, 1)
        assert (await desk.get("/events/evt_1"))["event"]["status"] == "applied"
        assert [(message.tenant_id, message.sequence) for message in desk.published] == [(ACME, 1)]
        assert [each["audit_id"] for each in (await desk.get("/replays"))["replays"]] == [begun["audit_id"]]

    async def test_tenants_need_not_be_notified(self, desk: Desk) -> None:
        """State is updated, and no number is used."""
        await bury(desk, "evt_1")
        body = {"filter": DEAD, "confirm": 1, "why": "quietly", "notify": False}
        begun = await desk.post("/replays", body, status=202)
        assert (await ended(desk, begun["audit_id"]))["counts"]["changed"] == 1
        assert await desk.world.container.history().sequence(ACME) == 0
        assert begun["filter"]["publish"] is False

    async def test_another_number_than_confirmed_replays_nothing(self, desk: Desk) -> None:
        """The answer has the number that matches now."""
        await bury(desk, "evt_1")
        status, problem = await desk.send("POST", "/replays", {"filter": DEAD, "confirm": 2, "why": "a test"})
        assert (status, problem["code"], problem["matched"]) == (409, "selection_changed", 1)
        assert await desk.audits() == []

    async def test_other_events_than_confirmed_are_not_replayed(self, desk: Desk) -> None:
        """Though they are as many."""
        await bury(desk, "evt_1")
        seen = await desk.post("/replays/dry-run", {"filter": DEAD})
        await desk.post("/ignore", {"filter": {"ids": ["evt_1"]}, "confirm": 1, "why": "by another operator"})
        await bury(desk, "evt_2")
        body = {"filter": DEAD, "confirm": 1, "fingerprint": seen["fingerprint"], "why": "a test"}
        status, problem = await desk.send("POST", "/replays", body)
        assert (status, problem["code"], problem["matched"]) == (409, "selection_changed", 1)
        again = await desk.post("/replays/dry-run", {"filter": DEAD})
        await desk.post("/replays", {**body, "fingerprint": again["fingerprint"]}, status=202)

    async def test_events_that_changed_since_are_not_replayed(self, desk: Desk) -> None:
        """They are the same, but no more what the operator saw: another status, or processed once more."""
        await bury(desk, "evt_1")
        body = {"filter": {"ids": ["evt_1"]}, "confirm": 1, "why": "a test"}
        for _ in range(2):
            seen = await desk.post("/replays/dry-run", {"filter": body["filter"]})
            await ended(desk, (await desk.post("/replays", body, status=202))["audit_id"])
            status, problem = await desk.send("POST", "/replays", {**body, "fingerprint": seen["fingerprint"]})
            assert (status, problem["code"]) == (409, "selection_changed")

    async def test_events_that_end_while_they_are_tried_are_not_replayed(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The fingerprint is of the events as they were tried."""
        await bury(desk, "evt_1")
        body = {"filter": {"ids": ["evt_1"]}, "confirm": 1, "why": "a test"}
        dry_run = Replayer.dry_run

        async def dry_run_and_replay(self: Replayer, numbers: Sequence[int]) -> DryRunReport:
            report = await dry_run(self, numbers)
            await ended(desk, (await desk.post("/replays", body, status=202))["audit_id"])
            return report

        monkeypatch.setattr(Replayer, "dry_run", dry_run_and_replay)
        seen = await desk.post("/replays/dry-run", {"filter": body["filter"]})
        status, problem = await desk.send("POST", "/replays", {**body, "fingerprint": seen["fingerprint"]})
        assert (status, problem["code"]) == (409, "selection_changed")

    async def test_more_than_a_dry_run_may_try_have_a_fingerprint(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the one of a dry run, and the number is up to that of a replay."""
        await bury(desk, "evt_1")
        tried = await desk.post("/replays/dry-run", {"filter": DEAD})
        monkeypatch.setattr("billing_app.http.operator.replays.DRY_RUN_LIMIT", 0)
        seen = await desk.post("/replays/selection", {"filter": DEAD})
        assert (seen["matched"], seen["fingerprint"]) == (1, tried["fingerprint"])
        body = {"filter": seen["filter"], "confirm": 1, "fingerprint": seen["fingerprint"], "why": "a test"}
        await ended(desk, (await desk.post("/replays", body, status=202))["audit_id"])
        monkeypatch.setattr("billing_app.http.operator.replays.MOST_REPLAYED", 0)
        status, problem = await desk.send("POST", "/replays/selection", {"filter": {"statuses": ["applied"]}})
        assert (status, problem["code"]) == (422, "too_many_events")

    @pytest.mark.parametrize("rate", [0, 0.01, -1, "fast", True])
    async def test_a_bad_rate_is_refused(self, desk: Desk, rate: object) -> None:
        """Before anything begins."""
        await bury(desk, "evt_1")
        body = {"filter": DEAD, "confirm": 1, "why": "a test", "rate": rate}
        status, problem = await desk.send("POST", "/replays", body)
        assert (status, problem["code"]) == (400, "bad_request")
        assert "rate" in problem["detail"]

    async def test_plans_that_would_be_taken_away_are_named(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes force."""
        await bury(desk, "evt_1")

        async def lost(_numbers: object) -> list[HeldPlan]:
            return [HeldPlan(plan_code="gold", subscriptions=3, tenant_id=ACME)]

        monkeypatch.setattr(desk.world.container.replayer(), "find_lost_plans", lost)
        body = {"filter": DEAD, "confirm": 1, "why": "a test"}
        found = await desk.post("/replays/dry-run", {"filter": DEAD})
        assert found["lost_plans"] == [{"plan_code": "gold", "subscriptions": 3, "tenant_id": ACME}]
        status, problem = await desk.send("POST", "/replays", body)
        assert (status, problem["code"]) == (409, "plans_missing")
        await ended(desk, (await desk.post("/replays", {**body, "force": True}, status=202))["audit_id"])

    async def test_one_runs_at_a_time_and_can_be_canceled(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
    ) -> None:
        """It ends before its next batch, and both are on record."""
        for number in range(3):
            await bury(desk, f"evt_{number}", subscription_id=f"sub_{number}")
        slept, wake = 0, asyncio.Event()

        async def sleep(_seconds: float) -> None:
            nonlocal slept
            slept += 1
            if slept > 1:
                await wake.wait()

        monkeypatch.setattr(desk.world.container.replayer(), "_sleep", sleep)
        body = {"filter": DEAD, "confirm": 3, "why": "a test", "rate": 1}
        begun = await desk.post("/replays", body, status=202)
        await eventually(lambda: slept > 1)
        status, problem = await desk.send("POST", "/replays", {**body, "confirm": 2})
        assert (status, problem["code"]) == (409, "replay_running")
        asked = await desk.post(f"/replays/{begun['audit_id']}/cancel", {"why": "too slow"})
        assert (asked["state"], asked["cancel_requested_by"]) == ("canceling", ANN)
        wake.set()
        done = await ended(desk, begun["audit_id"])
        assert (done["state"], done["seen"]) == ("interrupted", 1)
        assert [audit.action for audit in await desk.audits()] == ["cancel_replay", "replay"]
        status, problem = await desk.send("POST", f"/replays/{begun['audit_id']}/cancel", {"why": "again"})
        assert (status, problem["code"]) == (409, "not_running")

    async def test_a_slow_one_is_canceled_within_a_second(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its pauses of ten seconds are cut short: the cancellation is looked for in between."""
        for number in range(2):
            await bury(desk, f"evt_{number}", subscription_id=f"sub_{number}")
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 3:
                (running,) = (await desk.get("/replays"))["replays"]
                await desk.post(f"/replays/{running['audit_id']}/cancel", {"why": "too slow"})

        monkeypatch.setattr(desk.world.container.replayer(), "_sleep", sleep)
        begun = await desk.post("/replays", {"filter": DEAD, "confirm": 2, "why": "a test", "rate": 0.1}, status=202)
        done = await ended(desk, begun["audit_id"])
        assert (done["state"], done["seen"]) == ("interrupted", 1)
        assert len(slept) == 3
        assert max(slept) <= 1

    @pytest.mark.parametrize("name", ["7", "x", "0", "9" * 30])
    async def test_an_unknown_one_is_not_found(self, desk: Desk, name: str) -> None:
        """Neither to look at nor to cancel; other actions are no replays."""
        await desk.world.container.audit_log().begin("ignore", actor=ANN, reason=None, filter={})
        for method, path in (("GET", f"/replays/{name}"), ("GET", "/replays/1"), ("POST", f"/replays/{name}/cancel")):
            status, problem = await desk.send(method, path, {"why": "a test"} if method == "POST" else None)
            assert (status, problem["code"]) == (404, "not_found")

    async def test_a_server_that_stops_ends_its_replay(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """After the batch in progress; the log says that it was interrupted."""
        for number in range(3):
            await bury(desk, f"evt_{number}", subscription_id=f"sub_{number}")
        asleep, wake = asyncio.Event(), asyncio.Event()

        async def sleep(_seconds: float) -> None:
            asleep.set()
            await wake.wait()

        monkeypatch.setattr(desk.world.container.replayer(), "_sleep", sleep)
        await desk.post("/replays", {"filter": DEAD, "confirm": 3, "why": "a test", "rate": 1}, status=202)
        await asleep.wait()
        asyncio.get_running_loop().call_later(0.05, wake.set)
        await desk.world.container.replay_jobs().close()
        (audit,) = await desk.audits()
        assert audit.result is not None
        assert audit.result["interrupted"] is True

    async def test_a_batch_that_is_cut_off_ends_as_interrupted(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
    ) -> None:
        """A server that stops waits for it only so long; its counts are those of the batches before it."""
        monkeypatch.setattr("billing_app.http.operator.jobs._UNWINDING", 0.01)
        for number in range(2):
            await bury(desk, f"evt_{number}", subscription_id=f"sub_{number}")
        batches, process, stuck = desk.world.container.batches(), desk.world.container.batches().process, 0

        async def process_one(claims: Any) -> Any:
            nonlocal stuck
            if desk.published:
                stuck += 1
                await asyncio.Event().wait()
            return await process(claims)

        monkeypatch.setattr(batches, "process", process_one)
        body = {"filter": DEAD, "confirm": 2, "why": "a test", "rate": 1}
        begun = await desk.post("/replays", body, status=202)
        await eventually(lambda: stuck == 1)
        await desk.world.container.replay_jobs().close()
        shown = await desk.get(f"/replays/{begun['audit_id']}")
        assert (shown["state"], shown["seen"], shown["matched"]) == ("interrupted", 1, 2)
        assert shown["finished_at"] is not None


def test_a_replay_without_a_sign_of_life_is_lost() -> None:
    """Its process was killed. Those of earlier releases show no progress."""
    now = datetime.now(UTC)
    audit = Audit(audit_id=1, action="replay", actor=ANN, reason=None, filter={}, started_at=now - 2 * LOST_AFTER)
    assert replay_answer(audit, now).state == "lost"
    alive = attrs.evolve(audit, progressed_at=now - timedelta(seconds=1), progress={"matched": 4, "changed": 3})
    shown = replay_answer(alive, now)
    assert (shown.state, shown.matched, shown.seen) == ("running", 4, 3)
