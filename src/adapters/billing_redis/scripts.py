"""Lua scripts, called by their hash and loaded when the server does not know them."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import attrs
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError


class Script:
    """One script of this package."""

    def __init__(self, name: str) -> None:
        self.text: Final = files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        self.sha: Final = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@attrs.frozen
class ScriptCall:
    """The keys and arguments of one script call."""

    keys: Sequence[str]
    arguments: Sequence[str | int | bytes]


async def call(client: Redis, script: Script, calls: Sequence[ScriptCall]) -> Sequence[Any]:
    """Run calls in one round trip to one node; the reply of a call that failed is its exception."""
    replies = await _answers(client, script, calls)
    if any(isinstance(reply, NoScriptError) for reply in replies):  # a new server, or its script cache was flushed
        await client.script_load(script.text)
        replies = await _answers(client, script, calls)
    return replies


async def _answers(client: Redis, script: Script, calls: Sequence[ScriptCall]) -> Sequence[Any]:
    if len(calls) == 1:  # a pipeline of the driver takes twice the time of a command
        try:
            return [await _send(client, script, calls[0])]
        except ResponseError as exc:
            return [exc]
    pipeline = client.pipeline(transaction=False)
    for each in calls:
        _send(pipeline, script, each)
    return await pipeline.execute(raise_on_error=False)


def _send(client: Redis, script: Script, each: ScriptCall) -> Any:
    """Send a call, or add it to a pipeline."""
    return client.evalsha(script.sha, len(each.keys), *each.keys, *each.arguments)
