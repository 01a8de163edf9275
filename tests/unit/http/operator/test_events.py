"""Operators' view of stored events over HTTP."""

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from scripts.example_messages import examples
from tests.unit.http.operator.conftest import ANN, Desk

from billing_app.http.operator.parameters import MAX_LIMIT
from billing_core.events import Disposition, Outcome
from billing_core.testing.arrange import claimed, settle
from billing_core.testing.builders import provider_event

BODY = json.dumps({"id": "evt_1", "data": {"object": {"status": "active", "email": "a@b.example"}}}).encode()


async def bury(desk: Desk, event_id: str, *, reason: str = "bug", **fields: Any) -> None:
    """Store an event that is dead."""
    claim = await claimed(desk.inbox, provider_event(event_id, **fields))
    await settle(desk.world.repository, Outcome(claim=claim, disposition=Disposition.DEAD, reason=reason, error="x"))


class TestSearch:
    """Lists and counts."""

    async def test_pages_follow_each_other(self, desk: Desk) -> None:
        """The newest first, each with the phrase of what became of it."""
        await desk.receive("evt_1", "evt_2", "evt_3")
        first = await desk.get("/events?limit=2")
        rest = await desk.get(f"/events?limit=2&before={first['next_before']}")
        assert [each["event_id"] for each in [*first["events"], *rest["events"]]] == ["evt_3", "evt_2", "evt_1"]
        assert (rest["next_before"], rest["events"][0]["outcome"]) == (None, "waiting for attempt 1")

    async def test_all_conditions_hold(self, desk: Desk) -> None:
        """Globs, statuses and reasons may be repeated."""
        await bury(desk, "evt_1", type="invoice.paid")
        await bury(desk, "evt_2", type="invoice.paid", reason="unsupported")
        await bury(desk, "evt_3", type="charge.failed")
        await desk.receive("evt_4", type="invoice.paid")
        found = await desk.get("/events?status=dead&status=parked&type=invoice.*&reason=bug&since=3650d")
        assert [each["event_id"] for each in found["events"]] == ["evt_1"]
        assert (await desk.get("/events?until=2020-01-01"))["events"] == []

    @pytest.mark.parametrize(
        "query",
        [
            "status=deadly",
            "limit=0",
            f"limit={MAX_LIMIT + 1}",
            "before=x",
            "since=yesterday",
            "limit=1&limit=1",
        ],
    )
    async def test_what_cannot_be_used_is_named(self, desk: Desk, query: str) -> None:
        """The detail begins with the parameter."""
        status, problem = await desk.send("GET", f"/events?{query}")
        assert (status, problem["code"]) == (400, "bad_parameter")
        assert problem["detail"].startswith(query.partition("=")[0])

    async def test_events_are_counted_in_groups(self, desk: Desk) -> None:
        """By status alone, or with its reason."""
        await bury(desk, "evt_1")
        await bury(desk, "evt_2", reason="unsupported")
        await desk.receive("evt_3")
        counted = await desk.get("/events/counts?since=3650d")
        assert [(group["name"], group["total"]) for group in counted["groups"]] == [("due", 1), ("dead", 2)]
        counted = await desk.get("/events/counts?since=3650d&by=reason&status=dead")
        assert [group["name"] for group in counted["groups"]] == ["dead: bug", "dead: unsupported"]
        assert counted["groups"][0]["dead"] == 1

    async def test_a_day_is_counted_unless_told_otherwise(self, desk: Desk) -> None:
        """The answer says since when."""
        await desk.receive("evt_1")  # of a fixed day long ago
        counted = await desk.get("/events/counts")
        assert counted["groups"] == []
        assert counted["since"] is not None
        assert (await desk.get("/events/counts?id=evt_1"))["since"] is None


class TestOneEvent:
    """Everything about it."""

    async def test_it_is_found_by_number_and_by_id(self, desk: Desk) -> None:
        """An id that accounts share leads to the newest; the others stand beside it."""
        await desk.receive("evt_1", account="acct_1")
        await desk.receive("evt_1", account="acct_2", body=BODY)
        newest = await desk.get("/events/evt_1")
        assert (newest["event"]["account"], newest["others"][0]["account"]) == ("acct_2", "acct_1")
        older = await desk.get(f"/events/{newest['others'][0]['number']}")
        assert (older["event"]["account"], older["others"][0]["account"]) == ("acct_1", "acct_2")
        assert newest["body"]["sha256"] == hashlib.sha256(BODY).hexdigest()

    @pytest.mark.parametrize("name", ["evt_2", "999", "9" * 30])
    async def test_an_unknown_one_is_not_found(self, desk: Desk, name: str) -> None:
        """By an id or by a number of any length."""
        await desk.receive("evt_1")
        status, problem = await desk.send("GET", f"/events/{name}")
        assert (status, problem["code"]) == (404, "not_found")

    async def test_its_failed_attempts_are_shown(self, desk: Desk) -> None:
        """With the reason and the error of each."""
        claim = await claimed(desk.inbox, provider_event("evt_1"))
        await desk.world.container.queue().retry(claim, after=timedelta(0), reason="transient", error="timed out")
        (attempt,) = (await desk.get("/events/evt_1"))["failed_attempts"]
        assert (attempt["attempt"], attempt["reason"], attempt["error"]) == (1, "transient", "timed out")

    async def test_its_messages_and_changes_are_shown(self, desk: Desk) -> None:
        """With the access that each message announced."""
        story = await examples(desk.world.database)
        seats = story["subscription.seats_changed"].message
        shown = await desk.get(f"/events/{seats.event_id}")
        (message,) = shown["messages"]
        assert (message["tenant_id"], message["sequence"]) == (seats.tenant_id, seats.sequence)
        assert {"field": "seat_count", "before": 5, "after": 8, "hidden": False} in message["changes"]
        assert (message["access"]["state"], message["source"]["id"]) == ("full", seats.event_id)
        assert shown["event"]["outcome"] == "applied: changed the state"

    async def test_links_to_invoices_are_hidden(self, desk: Desk) -> None:
        """They open without signing in."""
        story = await examples(desk.world.database)
        shown = await desk.get(f"/events/{story['invoice.finalized'].message.event_id}")
        (change,) = [each for each in shown["messages"][0]["changes"] if each["field"] == "hosted_invoice_url"]
        assert change == {"field": "hosted_invoice_url", "before": None, "after": None, "hidden": True}

    async def test_its_body_is_redacted(self, desk: Desk) -> None:
        """Here, on the server."""
        await desk.receive("evt_1", body=BODY)
        body = (await desk.get("/events/evt_1"))["body"]
        assert body["state"] == "redacted"
        assert body["content"]["data"]["object"] == {"status": "active", "email": {"$hidden": 11}}

    @pytest.mark.parametrize(("raw", "state"), [(b"", "pruned"), (b"\xff", "unreadable")])
    async def test_a_body_may_be_gone_or_no_json(self, desk: Desk, raw: bytes, state: str) -> None:
        """The event is shown all the same."""
        await desk.receive("evt_1", body=raw)
        assert (await desk.get("/events/evt_1"))["body"]["state"] == state


class TestReveal:
    """The whole body, on the record."""

    async def test_it_is_recorded_who_asked_and_why(self, desk: Desk) -> None:
        """Once for each request."""
        await desk.receive("evt_1", body=BODY)
        answer = await desk.post("/events/evt_1/body", {"why": " support case 4119 "})
        assert answer["content"] == json.loads(BODY)
        (audit,) = await desk.audits()
        assert (audit.audit_id, audit.action, audit.actor) == (answer["audit_id"], "reveal", ANN)
        assert (audit.reason, audit.filter, audit.result) == (
            "support case 4119",
            {"id": ["evt_1"]},
            {"revealed": True},
        )

    @pytest.mark.parametrize("body", [{}, {"why": ""}, {"why": "  "}, {"why": "x" * 501}, {"why": 1}])
    async def test_without_a_reason_nothing_is_shown(self, desk: Desk, body: dict[str, Any]) -> None:
        """And nothing is recorded."""
        await desk.receive("evt_1", body=BODY)
        status, problem = await desk.send("POST", "/events/evt_1/body", body)
        assert (status, problem["code"]) == (400, "bad_request")
        assert "why" in problem["detail"]
        assert await desk.audits() == []

    @pytest.mark.parametrize(("raw", "found"), [(b"", (404, "body_pruned")), (b"\xff", (422, "body_unreadable"))])
    async def test_a_body_that_cannot_be_shown_is_named(self, desk: Desk, raw: bytes, found: tuple[int, str]) -> None:
        """The request is recorded: it was made."""
        await desk.receive("evt_1", body=raw)
        status, problem = await desk.send("POST", "/events/evt_1/body", {"why": "curious"})
        assert (status, problem["code"]) == found
        assert len(await desk.audits()) == 1


class TestIgnore:
    """Events that will never be applied."""

    async def test_what_was_confirmed_is_ignored(self, desk: Desk) -> None:
        """Dead and waiting ones; what is being processed is left."""
        await bury(desk, "evt_1")
        await desk.receive("evt_2")
        await claimed(desk.inbox, provider_event("evt_3"))
        body = {"filter": {"types": ["*"]}, "confirm": 3, "why": "a test"}
        answer = await desk.post("/ignore", body)
        assert (answer["matched"], answer["ignored"], answer["left"]) == (3, 2, 1)
        (audit,) = await desk.audits()
        assert (audit.audit_id, audit.action, audit.actor, audit.reason) == (
            answer["audit_id"],
            "ignore",
            ANN,
            "a test",
        )
        assert audit.result == {"matched": 3, "ignored": 2}

    async def test_another_number_than_confirmed_changes_nothing(self, desk: Desk) -> None:
        """The answer has the number that matches now."""
        await desk.receive("evt_1", "evt_2")
        body = {"filter": {"statuses": ["due"]}, "confirm": 1, "why": "a test"}
        status, problem = await desk.send("POST", "/ignore", body)
        assert (status, problem["code"], problem["matched"]) == (409, "selection_changed", 2)
        assert await desk.audits() == []

    async def test_other_events_than_confirmed_are_not_ignored(self, desk: Desk) -> None:
        """Though they are as many: one was settled, and another died."""
        await bury(desk, "evt_1")
        claim = await claimed(desk.inbox, provider_event("evt_2"))
        seen = await desk.post("/ignore/dry-run", {"filter": {"statuses": ["dead"]}})
        await desk.post("/ignore", {"filter": {"ids": ["evt_1"]}, "confirm": 1, "why": "by another operator"})
        await settle(desk.world.repository, Outcome(claim=claim, disposition=Disposition.DEAD, reason="bug", error="x"))
        confirmed = {"filter": seen["filter"], "fingerprint": seen["fingerprint"], "confirm": 1, "why": "a test"}
        status, problem = await desk.send("POST", "/ignore", confirmed)
        assert (status, problem["code"], problem["matched"]) == (409, "selection_changed", 1)
        assert (await desk.get("/events/evt_2"))["event"]["status"] == "dead"
        again = await desk.post("/ignore/dry-run", {"filter": {"statuses": ["dead"]}})
        await desk.post("/ignore", {**confirmed, "fingerprint": again["fingerprint"]})
        assert (await desk.get("/events/evt_2"))["event"]["status"] == "ignored"

    async def test_a_dry_run_has_an_end(self, desk: Desk) -> None:
        """That of the list that was looked at, or now: later events do not join. Nothing is changed."""
        await bury(desk, "evt_1")
        listed = await desk.get("/events?status=dead")
        seen = await desk.post("/ignore/dry-run", {"filter": {"statuses": ["dead"], "until": listed["as_of"]}})
        assert (seen["filter"]["until"], seen["matched"]) == (listed["as_of"], 1)
        seen = await desk.post("/ignore/dry-run", {"filter": {"statuses": ["dead"]}})
        assert seen["filter"]["until"] == seen["as_of"]
        assert await desk.audits() == []

    async def test_there_must_be_an_event(self, desk: Desk) -> None:
        """Nothing is recorded otherwise."""
        status, problem = await desk.send(
            "POST", "/ignore", {"filter": {"statuses": ["dead"]}, "confirm": 0, "why": "a test"}
        )
        assert (status, problem["code"]) == (404, "not_found")
        assert await desk.audits() == []

    @pytest.mark.parametrize(
        "wanted",
        [{}, {"statuses": ["deadly"]}, {"since": "2026-01-01T00:00:00"}, {"status": ["dead"]}, {"types": "*"}, None],
    )
    async def test_a_bad_filter_selects_nothing(self, desk: Desk, wanted: object) -> None:
        """Neither does none at all."""
        await desk.receive("evt_1")
        status, problem = await desk.send("POST", "/ignore", {"filter": wanted, "confirm": 1, "why": "a test"})
        assert (status, problem["code"]) == (400, "bad_request")

    async def test_a_request_is_bounded(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        """More are for the command line."""
        monkeypatch.setattr("billing_app.http.operator.events.MOST_IGNORED", 1)
        await desk.receive("evt_1", "evt_2")
        status, problem = await desk.send(
            "POST", "/ignore", {"filter": {"statuses": ["due"]}, "confirm": 2, "why": "a test"}
        )
        assert (status, problem["code"]) == (422, "too_many_events")


class TestAudits:
    """The log of what operators did."""

    async def test_pages_and_filters(self, desk: Desk) -> None:
        """Latest first."""
        log = desk.world.container.audit_log()
        for action, actor in (("replay", "bob"), ("ignore", ANN), ("replay", ANN)):
            await log.begin(action, actor=actor, reason=None, filter={})
        page = await desk.get("/audits?limit=2")
        assert ([each["action"] for each in page["audits"]], page["next_before"]) == (["replay", "ignore"], 2)
        assert [each["actor"] for each in (await desk.get("/audits?before=2"))["audits"]] == ["bob"]
        (found,) = (await desk.get(f"/audits?action=replay&actor={ANN}"))["audits"]
        assert (found["audit_id"], found["finished_at"]) == (3, None)
