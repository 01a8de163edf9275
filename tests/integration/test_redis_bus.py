"""The Redis bus while its server is flushed, restarted, misconfigured, silent or unavailable."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.patience import PATIENCE

from billing_core.errors import ConfigurationError, EventBusUnavailableError
from billing_core.model import TenantId
from billing_core.testing.builders import ACME, GLOBEX, message, messages
from billing_redis.bus import RedisEventBus
from billing_redis.nodes import RedisNodes

if TYPE_CHECKING:
    from tests.valkey import Valkey

pytestmark = pytest.mark.redis

TIMEOUT = timedelta(seconds=PATIENCE)


@pytest.fixture
async def bus(valkey: Valkey) -> AsyncIterator[RedisEventBus]:
    async with RedisNodes.open(valkey.url, timeout=TIMEOUT) as nodes:
        yield RedisEventBus(nodes)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts connections, as the kernel does for a frozen process, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


async def test_after_a_flush_the_log_may_start_anywhere_and_followers_continue(
    valkey: Valkey, bus: RedisEventBus
) -> None:
    """An empty server accepts the publisher's next message, and a waiting follower receives it."""
    follower = bus.follow()
    await anext(follower)
    await bus.append(messages(ACME, 1, 3))
    assert list(await anext(follower)) == messages(ACME, 1, 3)
    await valkey.call("FLUSHALL")
    await valkey.call("SCRIPT", "FLUSH")
    assert await bus.append(messages(ACME, 4, 5)) == {ACME: 5}
    assert list(await anext(follower)) == messages(ACME, 4, 5)
    await follower.aclose()


async def test_what_was_replaced_leaves_the_live_stream(valkey: Valkey) -> None:
    """A message that was withdrawn or erased must not stay there; those of other tenants do."""
    async with RedisNodes.open(valkey.url, timeout=TIMEOUT) as nodes:
        bus = RedisEventBus(nodes, shards=1)
        await bus.append([*messages(ACME, 1, 3), *messages(GLOBEX, 1, 2)])
        await bus.replace(ACME, [])
        follower = bus.follow()
        await anext(follower)
        assert await valkey.call("EXISTS", f"billing:{{0}}:tenant:{ACME}") == 0
        assert await valkey.call("XLEN", "billing:{0}:live") == 2
        assert await bus.append(messages(ACME, 5, 5)) == {ACME: 5}
        assert list(await anext(follower)) == messages(ACME, 5, 5)
        await follower.aclose()


async def test_a_restarted_server_is_used_again(valkey: Valkey, bus: RedisEventBus) -> None:
    """Meanwhile every call fails and a follower ends with the error; afterwards all work without a new bus."""
    await bus.append(messages(ACME, 1, 3))
    follower = bus.follow()
    await anext(follower)
    valkey.kill()
    with pytest.raises(EventBusUnavailableError):
        await anext(follower)
    with pytest.raises(EventBusUnavailableError):
        await bus.append(messages(ACME, 4, 4))
    with pytest.raises(EventBusUnavailableError):
        await bus.read(ACME, after=0, limit=1)
    with pytest.raises(EventBusUnavailableError):
        await bus.ping()
    await valkey.start()
    again = bus.follow()
    await anext(again)
    assert await bus.append(messages(ACME, 4, 5)) == {ACME: 5}
    assert list(await anext(again)) == messages(ACME, 4, 5)
    await again.aclose()


async def test_calls_to_a_server_that_never_answers_time_out(silent_server: str) -> None:
    """No call waits without a limit."""
    async with RedisNodes.open(silent_server, timeout=timedelta(milliseconds=100)) as nodes:
        bus = RedisEventBus(nodes)
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: bus.append(messages(ACME, 1, 1)),
            lambda: bus.read(ACME, after=0, limit=1),
            bus.ping,
            bus.check,
            lambda: anext(bus.follow()),
        ]
        for call in calls:
            with pytest.raises(EventBusUnavailableError):
                await call()


async def test_a_password_never_shows_in_an_error(valkey: Valkey) -> None:
    """Not in the text, and not in the texts of its causes."""
    url = valkey.url.replace("redis://", "redis://:hunter2hunter2@")
    async with RedisNodes.open(url, timeout=TIMEOUT) as nodes:
        with pytest.raises(EventBusUnavailableError) as caught:
            await RedisEventBus(nodes).ping()
    cause: BaseException | None = caught.value
    while cause is not None:
        assert "hunter2" not in repr(cause)
        cause = cause.__cause__ or cause.__context__


async def test_a_server_that_may_evict_is_refused(valkey: Valkey, bus: RedisEventBus) -> None:
    """Eviction drops whole streams silently: the check names the setting and the solution."""
    await bus.check()
    await valkey.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigurationError, match="noeviction"):
        await bus.check()


async def test_a_full_server_accepts_nothing_and_recovers(valkey: Valkey, bus: RedisEventBus) -> None:
    """Out of memory is an error, not a loss: the same call succeeds once there is room."""
    await bus.append(messages(ACME, 1, 1))
    await valkey.call("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(EventBusUnavailableError):
        await bus.append(messages(ACME, 2, 3))
    assert list(await bus.read(ACME, after=1, limit=10)) == []
    await valkey.call("CONFIG", "SET", "maxmemory", "0")
    assert await bus.append(messages(ACME, 2, 3)) == {ACME: 3}


async def test_logs_and_live_streams_stay_short(valkey: Valkey) -> None:
    """Both are trimmed, and a trimmed log still knows its last number."""
    async with RedisNodes.open(valkey.url, timeout=TIMEOUT) as nodes:
        bus = RedisEventBus(nodes, log_length=10, live_length=5, shards=1)
        for start in range(1, 1001, 100):
            await bus.append(messages(ACME, start, start + 99))
        assert await bus.append(messages(ACME, 1, 1)) == {ACME: 1000}
        assert len(await bus.read(ACME, after=0, limit=2000)) < 300
    assert await valkey.call("XLEN", "billing:{0}:live") < 300


async def test_a_log_and_its_live_stream_share_a_slot(valkey: Valkey, bus: RedisEventBus) -> None:
    """In a cluster one script may touch the keys of one slot only; every shard follows that rule."""
    await bus.append([message(TenantId(f"tenant-{number}"), 1) for number in range(64)])
    keys = await valkey.call("KEYS", "billing:*")
    tags = {key.split("}")[0] for key in keys}
    assert len(keys) == 64 + len(tags)
    assert len(tags) == 16


async def test_only_a_traced_message_has_one_more_field(valkey: Valkey, bus: RedisEventBus) -> None:
    """A server of an earlier release reads the others, and passes over the context."""
    await bus.append([message(ACME, 1)])
    await bus.append([message(ACME, 2)], trace_context="00-1-2-01")
    live = [key for key in await valkey.call("KEYS", "billing:*") if key.endswith("live")]
    (_, plain), (_, traced) = await valkey.call("XRANGE", live[0], "-", "+")
    assert list(plain) == ["tenant", "number", "type", "event", "at", "payload"]
    assert list(traced) == [*plain, "trace"]
    assert traced["trace"] == "00-1-2-01"


async def test_a_live_message_says_when_the_server_took_it(bus: RedisEventBus) -> None:
    """By the clock of this process, once it knows how much the server's differs."""
    follower = bus.follow()
    await anext(follower)
    await bus.append([message(ACME, 1)])
    (unknown,) = await anext(follower)
    assert unknown.published_at is None
    ahead = await bus.beat()
    assert abs(ahead) < PATIENCE  # one machine
    began = time.time()
    await bus.append([message(ACME, 2)])
    (known,) = await anext(follower)
    assert known.published_at is not None
    assert began - PATIENCE < known.published_at < time.time() + PATIENCE
    await follower.aclose()


async def test_an_unreadable_entry_is_skipped(valkey: Valkey, bus: RedisEventBus) -> None:
    """A foreign entry neither ends a follower nor becomes a message: the gap is filled from the history."""
    follower = bus.follow()
    await anext(follower)
    await bus.append(messages(GLOBEX, 1, 1))
    assert list(await anext(follower)) == messages(GLOBEX, 1, 1)
    live, log = sorted(await valkey.call("KEYS", "billing:*"))
    await valkey.call("XADD", live, "*", "hello", "world")
    await valkey.call("XADD", log, "2-0", "hello", "world")
    assert await bus.append(messages(GLOBEX, 3, 3)) == {GLOBEX: 3}
    assert list(await anext(follower)) == messages(GLOBEX, 3, 3)
    assert list(await bus.read(GLOBEX, after=0, limit=10)) == messages(GLOBEX, 1, 1)
    await follower.aclose()


async def test_two_namespaces_on_one_server_are_separate(valkey: Valkey, bus: RedisEventBus) -> None:
    """Two deployments may share a server."""
    async with RedisNodes.open(valkey.url, timeout=TIMEOUT) as nodes:
        other = RedisEventBus(nodes, namespace=uuid.uuid4().hex)
        await bus.append(messages(ACME, 1, 2))
        assert list(await other.read(ACME, after=0, limit=10)) == []


@pytest.mark.parametrize("deletion", [("XDEL", "5-0"), ("XTRIM", "MAXLEN", "0")])
async def test_a_log_whose_last_entry_was_deleted_goes_on_behind_it(
    valkey: Valkey, bus: RedisEventBus, deletion: tuple[str, ...]
) -> None:
    """A server takes no number again, and an operator may delete entries by hand."""
    await bus.append(messages(ACME, 3, 5))
    command, *arguments = deletion
    (log,) = await valkey.call("KEYS", f"*:tenant:{ACME}")
    assert await valkey.call(command, log, *arguments) in (1, 3)
    assert await bus.append(messages(ACME, 5, 7)) == {ACME: 7}
    assert await bus.read(ACME, after=5, limit=9) == messages(ACME, 6, 7)
