"""Scripts on the server, called by the name it knows them by and brought there when it does not."""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import attrs
from redis.asyncio import Redis
from redis.exceptions import NoScriptError


class Script:
    """The text of one script of this package."""

    def __init__(self, name: str) -> None:
        self.text: Final = files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
        self.sha: Final = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@attrs.frozen
class Call:
    """One call of a script."""

    keys: Sequence[str]
    arguments: Sequence[str | int]


async def call(client: Redis, script: Script, calls: Sequence[Call]) -> Sequence[Any]:
    """The replies to some calls, an exception in place of that of one that failed: one round trip at one node."""
    replies = await _pipelined(client, script, calls)
    if any(isinstance(reply, NoScriptError) for reply in replies):  # a new server, or its scripts were flushed
        await client.script_load(script.text)
        replies = await _pipelined(client, script, calls)
    return replies


async def _pipelined(client: Redis, script: Script, calls: Sequence[Call]) -> Sequence[Any]:
    pipeline = client.pipeline(transaction=False)
    for each in calls:
        pipeline.evalsha(script.sha, len(each.keys), *each.keys, *each.arguments)
    return await pipeline.execute(raise_on_error=False)
