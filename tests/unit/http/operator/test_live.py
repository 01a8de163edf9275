"""The live feed of operators."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import aiohttp
import attrs
import pytest
from tests.unit.http.conftest import SETTINGS, Eventually, Listener, MakeWorld
from tests.unit.http.operator.conftest import Desk

from billing_app.http.operator import feed
from billing_app.http.operator.routes import LIVE
from billing_app.settings import StreamSettings
from billing_core.errors import StoreUnavailableError
from billing_core.inbox.selection import EventFilter
from billing_core.oversight.changes import EventChanges
from billing_core.stream_access.ports import Revocation
from billing_core.testing.arrange import claimed
from billing_core.testing.builders import provider_event


class Listen(Protocol):
    """Open the live feed of a desk."""

    def __call__(self, desk: Desk, *, token: str | None = None) -> AbstractAsyncContextManager[Listener]: ...


@pytest.fixture
def listen(http: aiohttp.ClientSession) -> Listen:
    """A function that opens the feed and passes the counts that it begins with."""

    @asynccontextmanager
    async def open_feed(desk: Desk, *, token: str | None = None) -> AsyncIterator[Listener]:
        desk.world.container.operator_feed()._pause = 0.01
        headers = {"Authorization": f"Bearer {token or desk.token()}"}
        async with http.get(desk.world.url + LIVE, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            listener = Listener(response)
            assert (await listener.event()).retry is not None
            assert (await listener.event()).event == "counts"
            yield listener

    return open_feed


async def sent(listener: Listener) -> tuple[str | None, Any]:
    """Return the name and the content of the next event."""
    frame = await listener.event()
    return frame.event, json.loads(frame.data or "null")


async def test_events_are_sent_when_they_arrive_and_change(desk: Desk, listen: Listen) -> None:
    """Events that were there before are not."""
    await desk.receive("evt_old")
    async with listen(desk) as listener:
        claim = await claimed(desk.inbox, provider_event("evt_1"))
        name, event = await sent(listener)
        assert (name, event["event_id"], event["status"]) == ("event", "evt_1", "leased")
        await desk.world.container.queue().bury(claim, reason="bug", error="boom")
        seen = [await sent(listener) for _ in range(2)]
        changed, counts = (next(content for kind, content in seen if kind == name) for name in ("event", "counts"))
        assert (changed["event_id"], changed["status"]) == ("evt_1", "dead")
        assert [(group["reason"], group["count"]) for group in counts["dead"]] == [("bug", 1)]


async def test_the_progress_of_a_replay_is_sent(desk: Desk, listen: Listen) -> None:
    """Of any process: it is read from the audit log."""
    log = desk.world.container.audit_log()
    async with listen(desk) as listener:
        number = await log.begin("replay", actor="bob", reason="a test", filter={})
        name, replay = await sent(listener)
        assert (name, replay["audit_id"], replay["state"]) == ("replay", number, "running")
        await log.finish(number, {"matched": 3, "changed": 3})
        assert (await sent(listener))[1]["state"] == "done"


async def test_more_changes_than_are_sent_are_said_to_be_so(
    desk: Desk, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page loads its list again."""
    monkeypatch.setattr(feed, "_SENT_AT_ONCE", 1)
    async with listen(desk) as listener:
        log = desk.world.container.event_log()
        find = log.find
        monkeypatch.setattr(log, "find", find_nothing)
        await desk.receive("evt_1", "evt_2")
        monkeypatch.setattr(log, "find", find)  # the next look sees both
        seen = [await sent(listener) for _ in range(3)]
        assert [name for name, _ in seen if name != "counts"] == ["event", "overflow"]
        assert next(content for name, content in seen if name == "event")["event_id"] == "evt_2"


async def find_nothing(*_args: object, **_kwargs: object) -> list[object]:
    """Stand for a log that has no events."""
    return []


async def test_an_unavailable_store_ends_no_stream(
    desk: Desk, listen: Listen, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """It says so, and that the page has to load again when the store is back."""
    failures = 0

    async def fail(*_args: object, **_kwargs: object) -> None:
        nonlocal failures
        failures += 1
        raise StoreUnavailableError("gone")

    async with listen(desk) as listener:
        log = desk.world.container.event_log()
        find = log.find
        monkeypatch.setattr(log, "find", fail)
        await eventually(lambda: failures > 1)
        monkeypatch.setattr(log, "find", find)
        known = failures
        await desk.world.container.audit_log().begin("replay", actor="bob", reason=None, filter={})
        names = [(await sent(listener))[0]]
        while "replay" not in names:
            names.append((await sent(listener))[0])
        assert list(dict.fromkeys(name for name in names if name != "counts")) == ["unavailable", "overflow", "replay"]
        assert failures == known


async def test_a_stream_ends_with_its_token(desk: Desk, listen: Listen) -> None:
    """When it expires, and as soon as it is revoked."""
    async with listen(desk, token=desk.token(ttl=timedelta(seconds=2))) as listener:
        assert await sent(listener) == ("reconnect", {"reason": "token_expired"})
    token = desk.token()
    claims = await desk.world.container.token_verifier().read(token)
    async with listen(desk, token=token) as listener:
        now = desk.world.clock.now()
        revocation = Revocation(
            subject="token", name=claims["jti"], revoked_at=now, kept_until=now + timedelta(hours=1)
        )
        await desk.world.container.revocations().revoke(revocation)
        await desk.world.container.revoked().load()
        await desk.receive("evt_1")
        assert await sent(listener) == ("reconnect", {"reason": "revoked"})


async def test_streams_end_with_the_server_and_by_age(make_world: MakeWorld, http: aiohttp.ClientSession) -> None:
    """A page connects again then."""
    tokens = attrs.evolve(SETTINGS.tokens, operator_roles=("operator",))
    world = make_world(tokens=tokens, stream=StreamSettings(max_life=timedelta(seconds=0.1)))
    async with world.serving():
        headers = {"Authorization": f"Bearer {Desk(world, http).token()}"}
        async with http.get(world.url + LIVE, headers=headers) as response:
            assert '{"reason":"max_life"}' in await response.text()
        world.container.operator_feed().close()


async def test_a_server_has_a_limit_of_streams(desk: Desk, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of listeners to the feed; a token is needed, too."""
    monkeypatch.setattr(feed, "MOST_LISTENERS", 1)
    async with listen(desk):
        status, problem = await desk.send("GET", "/live")
        assert (status, problem["code"]) == (503, "too_many_streams")
    status, problem = await desk.send("GET", "/live", token=desk.world.token(role="owner"))
    assert (status, problem["code"]) == (403, "forbidden_role")


async def test_a_listener_that_does_not_read_is_cut_off() -> None:
    """Its frames would fill the memory of the server."""
    listener = feed.Listener()
    for _ in range(feed._WAITING + 1):
        listener.put(feed.data_frame("event", "{}"))
    assert (listener.stalled, listener.frames.get_nowait()) == (True, None)


async def test_only_changes_since_the_last_look_are_found(desk: Desk) -> None:
    """By status and attempt, in the order of receipt."""
    await desk.receive("evt_1", "evt_2")
    newest = await desk.world.container.event_log().find(EventFilter(), before=None, limit=9)
    changes = EventChanges(newest[1:])
    assert changes.since_last_look(newest) == [newest[0]]
    assert changes.since_last_look(newest) == []
    retried = attrs.evolve(newest[1], attempt=1)
    assert changes.since_last_look([newest[0], retried]) == [retried]
