"""Counts the calls to the provider on Redis, for all processes of one key."""

from datetime import timedelta
from hashlib import sha256
from typing import Final, Literal

from billing_core.operations.call_limits import CallLimits, CallRefusal, Priority
from billing_redis.nodes import RedisNodes
from billing_redis.scripts import Script, ScriptCall, call

_ADMIT: Final = Script("admit_call")
_LIMITS: Final[tuple[Literal["rate", "endpoint_rate", "in_flight"], ...]] = ("rate", "endpoint_rate", "in_flight")
_ALL: Final = ""
_ONCE_WITHIN: Final = timedelta(seconds=1)
_PATIENCE: Final = timedelta(milliseconds=500)
"""The longest wait for Redis: a user waits for the call."""


class RedisCallLimiter:
    """A `CallLimiter` with one script call to enter. All keys of an account share a slot of a cluster."""

    def __init__(self, nodes: RedisNodes, limits: CallLimits, *, secret: str, namespace: str = "billing") -> None:
        """Count under the hash of a secret, which is all that Redis learns of it."""
        self._nodes = nodes
        self._limits = limits
        digest = sha256(f"calls:{secret}".encode()).hexdigest()[:32]
        self._prefix = f"{namespace}:{{calls-{digest}}}"
        self._arguments = (
            repr(limits.rate),
            repr(limits.endpoint_rate),
            limits.in_flight,
            limits.lease // timedelta(milliseconds=1),
        )

    async def enter(self, call_name: str, endpoint: str, priority: Priority) -> CallRefusal | None:
        """Count one more call, or refuse it."""
        keys = [
            self._key("bucket", _ALL),
            self._key("bucket", endpoint),
            self._in_flight(endpoint),
            self._key("slowed", _ALL),
            self._key("slowed", endpoint),
        ]
        arguments = (*self._arguments, int(priority == "background"), call_name)
        async with self._nodes.answered("call_limiter", within=_PATIENCE):
            client = self._nodes.client(await self._nodes.address(keys[0]))
            (reply,) = await call(client, _ADMIT, [ScriptCall(keys, arguments)])
            if isinstance(reply, Exception):
                raise reply
        limit, *wait = reply
        if not limit:
            return None
        return CallRefusal(limit=_LIMITS[limit - 1], retry_after=timedelta(milliseconds=wait[0]))

    async def leave(self, call_name: str, endpoint: str) -> None:
        """Stop counting a call as in flight."""
        key = self._in_flight(endpoint)
        async with self._nodes.answered("call_limiter", within=_PATIENCE):
            await self._nodes.client(await self._nodes.address(key)).zrem(key, call_name)

    async def slow_down(self, endpoint: str | None) -> None:
        """Halve limits for a while. A process that dies between the two steps halves nothing."""
        name = endpoint or _ALL
        key = self._key("slowed", name)
        async with self._nodes.answered("call_limiter", within=_PATIENCE):
            client = self._nodes.client(await self._nodes.address(key))
            if await client.set(self._key("slowing", name), "1", nx=True, px=_ONCE_WITHIN):
                pipeline = client.pipeline(transaction=True)
                pipeline.incr(key)
                pipeline.pexpire(key, self._limits.slowed_for)
                await pipeline.execute()

    def _in_flight(self, endpoint: str) -> str:
        return self._key("in_flight", endpoint)

    def _key(self, what: str, endpoint: str) -> str:
        return f"{self._prefix}:{what}:{endpoint}"
