"""Operators' view of the whole: how events flow, what waits and what is wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.unit.http.operator.conftest import Desk

from billing_app.http.operator.remembering import Remembered
from billing_core.events import Disposition, Outcome
from billing_core.oversight.delays import DelayCount
from billing_core.oversight.invariants import Invariant, Violation
from billing_core.oversight.ports import RefusedWebhooks
from billing_core.testing.arrange import applied, claimed, settle
from billing_core.testing.builders import provider_event


async def _now(desk: Desk, event_id: str, **outcome: Any) -> None:
    """Store an event of this moment that is at its end."""
    now = datetime.now(UTC)
    claim = await claimed(desk.inbox, provider_event(event_id, created_at=now - timedelta(seconds=2), received_at=now))
    await settle(desk.world.repository, applied(claim, **outcome) if outcome else applied(claim))


async def test_the_overview_counts_what_flows_and_what_waits(desk: Desk) -> None:
    """Of a window, and of now."""
    await _now(desk, "evt_1")
    await _now(desk, "evt_2", disposition=Disposition.IGNORED, sequence=None, reason="no_effect")
    claim = await claimed(desk.inbox, provider_event("evt_3"))
    await settle(desk.world.repository, Outcome(claim=claim, disposition=Disposition.DEAD, reason="bug"))
    await desk.receive("evt_4")
    seen = await desk.get("/overview?window=5m")
    head = seen["headline"]
    assert (head["events"], head["applied"], head["ignored"]) == (2, 1, 1)
    assert (head["due"], head["dead"]) == (1, 1)
    assert [group["reason"] for group in seen["dead"]] == ["bug"]
    assert (seen["stripe"], seen["window_seconds"]) == ({"state": "not_used", "error": None}, 300)
    assert seen["bus"]["state"] == "reachable"


async def test_every_stage_says_what_is_known_of_it(desk: Desk) -> None:
    """Null for what the store does not measure."""
    await _now(desk, "evt_1")
    await desk.world.container.refusal_tally().add(
        [RefusedWebhooks(hour=datetime.now(UTC), reason="bad_signature", count=3, largest=0)]
    )
    stages = {stage["name"]: stage for stage in (await desk.get("/overview"))["stages"]}
    assert list(stages) == ["received", "stored", "applied", "published", "delivered"]
    assert stages["received"]["p95_seconds"] == 2
    assert stages["received"]["details"]["refused_last_hour"] == 3
    assert (stages["applied"]["count"], stages["published"]["count"]) == (1, 1)
    assert stages["applied"]["peak"] == pytest.approx(1 / 60, abs=0.001)
    assert (stages["delivered"]["count"], stages["delivered"]["p95_seconds"]) == (0, None)
    assert stages["delivered"]["details"] == {"open_streams": 0}


async def test_the_latency_is_that_of_all_processes(desk: Desk) -> None:
    """The stages after the receipt, added up; null as long as nothing was processed."""
    assert (await desk.get("/overview?window=24h"))["latency"] == {
        "target_seconds": 0.5,
        "p50_seconds": None,
        "p95_seconds": None,
    }
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    tally = desk.world.container.delay_tally()
    for stage, bound in (("stored", 0.01), ("applied", 0.1), ("delivered", 0.05)):
        for _process in range(2):
            await tally.add([DelayCount(minute=minute, stage=stage, bound=bound, count=10)])
    seen = await desk.get("/overview?window=5m")
    stages = {stage["name"]: stage for stage in seen["stages"]}
    assert [stages[name]["p95_seconds"] for name in ("stored", "published")] == [0.01, None]
    assert (stages["delivered"]["count"], stages["delivered"]["rate"]) == (20, 0.067)
    added = stages["applied"]["p95_seconds"] + stages["delivered"]["p95_seconds"]
    assert seen["latency"]["p95_seconds"] == pytest.approx(added) == pytest.approx(0.099 + 0.049, abs=0.001)


async def test_a_violated_invariant_says_what_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With examples."""

    async def sample() -> list[Violation]:
        return [Violation(invariant=Invariant.GAPLESS, count=1, examples=("acme#3",))]

    monkeypatch.setattr(desk.world.container.invariants(), "sample", sample)
    seen = await desk.get("/overview")
    (violation,) = seen["invariants"]["violations"]
    assert (violation["invariant"], violation["examples"]) == ("gapless", ["acme#3"])
    assert violation["remedy"]
    assert seen["headline"]["violations"] == 1


async def test_an_unavailable_provider_is_shown(desk: Desk) -> None:
    """As this server finds it."""
    desk.world.container.relied_on().bus.failed("publish", "connection refused")
    assert (await desk.get("/overview"))["bus"] == {"state": "unavailable", "error": "connection refused"}


@pytest.mark.parametrize(("window", "steps"), [("5m", 60), ("1h", 60), ("24h", 96)])
async def test_a_series_has_every_step(desk: Desk, window: str, steps: int) -> None:
    """The last one holds this moment."""
    await _now(desk, "evt_1")
    series = await desk.get(f"/series?window={window}")
    assert len(series["steps"]) == steps
    assert sum(step["stored"] for step in series["steps"]) == 1
    assert sum(step["applied"] for step in series["steps"]) == 1
    starts = [datetime.fromisoformat(step["at"]) for step in series["steps"]]
    assert {after - before for before, after in pairwise(starts)} == {timedelta(seconds=series["step_seconds"])}


async def test_many_pages_cost_as_much_as_one() -> None:
    """Of concurrent requests one reads; an error is not remembered; another key is another value."""
    now, reads = 0.0, 0

    async def read() -> int:
        nonlocal reads
        await asyncio.sleep(0)
        reads += 1
        if reads == 1:
            raise ValueError
        return reads

    remembered = Remembered[str, int](lambda: now)
    life = timedelta(seconds=2)
    with pytest.raises(ValueError, match=r"^$"):
        await remembered.get("a", read, life=life)
    assert await asyncio.gather(*(remembered.get("a", read, life=life) for _ in range(5))) == [2] * 5
    assert await remembered.get("b", read, life=life) == 3
    now = 1.9
    assert await remembered.get("a", read, life=life) == 2
    now = 2.0
    assert await remembered.get("a", read, life=life) == 4
