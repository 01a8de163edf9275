"""Read the commands of the runbook with the output that it shows, and run them as an engineer types them.

A block of commands begins with the state that it is shown in, as a comment that readers do not see:

    <!-- state: a dead event -->
    ```console
    $ billing events list --status dead
    …
    ```

`…` stands for any text in a line, and on a line of its own for any lines. Blocks of one state under one heading go on
where the one before ended. `<!-- state: …; typed: acme -->` answers the prompts.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import aiohttp
import asyncpg
import attrs
import redis.asyncio
from click.testing import CliRunner, _NamedTextIOWrapper
from tests.integration.processes import ended

from billing_app import cli
from billing_core.errors import BillingError

PAGE: Final = Path(__file__).parents[2] / "docs/billing/stripe-runbook.md"
_PART: Final = re.compile(
    r"^## (?P<heading>[^\n]+)$"
    r"|^<!-- state: (?P<state>[^;>\n]+)(?:; typed: (?P<typed>[^>\n]+))? -->$"
    r"|^```(?P<language>\w*)\n(?P<block>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@attrs.frozen
class Shown:
    """A command, and the output that the page shows."""

    command: str
    output: str


@attrs.define
class Scene:
    """The commands that the page shows one after another in one state."""

    heading: str
    state: str
    typed: str = ""
    shown: list[Shown] = attrs.field(factory=list)


def scenes(text: str) -> Sequence[Scene]:
    """Return the scenes of a page in its order. Raises ValueError for commands without a state."""
    found: list[Scene] = []
    heading, opened = "", False
    for part in _PART.finditer(text):
        if part["heading"] is not None:
            heading, opened = part["heading"], False
        elif part["state"] is not None:
            last = found[-1] if found else None
            if last is None or (last.heading, last.state) != (heading, part["state"]):
                found.append(Scene(heading, part["state"], part["typed"] or ""))
            opened = True
        elif part["language"] != "text":
            if not opened or part["language"] != "console":
                raise ValueError(f"{heading}: a block of commands needs a state, and is a block of `console`")
            found[-1].shown += _commands(part["block"])
            opened = False
    return found


def _commands(block: str) -> Iterator[Shown]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.replace("\\\n", " ").splitlines()
        yield Shown(re.sub(r"\s{2,}#.*", "", lines[0]), "\n".join(lines[1:]).strip("\n"))


def matches(shown: str, printed: str) -> bool:
    """Tell whether a command printed what the page shows. The width of columns does not count."""
    pattern = ""
    for line in map(_tidy, shown.splitlines()):
        whole = r"(?:.*\n)*?" if line == "…" else None
        pattern += whole or r"[^\n]*?".join(map(re.escape, line.split("…"))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{_tidy(line)}\n" for line in printed.strip("\n").splitlines())) is not None


def _tidy(line: str) -> str:
    return re.sub(r"\s+", " ", line.rstrip())


class Engineer:
    """Types the commands of one scene."""

    def __init__(self, environment: Mapping[str, str], typed: str) -> None:
        self._environment = {**environment, "COLUMNS": "160", "NO_COLOR": "1"}
        self._typed = typed
        self._status = 0

    async def types(self, command: str) -> str:
        """Run a command and return its output, that on standard error included."""
        for name in ("DATABASE_URL", "REDIS_URL", "BILLING_PORT", "BILLING_JWT_SECRET"):
            command = command.replace(f"${name}", self._environment.get(name, ""))
        program, *arguments = shlex.split(command)
        match program:
            case "billing":
                return await self._billing(arguments)
            case "curl":
                return await self._curl(arguments[-1])
            case "psql":
                return await self._psql(arguments[-1])
            case "redis-cli":
                return await self._redis(arguments[2:])
            case "echo":
                return str(self._status)
        raise LookupError(f"the test cannot run {program}")

    async def _billing(self, arguments: Sequence[str]) -> str:
        """Run in a thread, because the command runs an event loop of its own; a replay handles signals as well."""
        if arguments[:2] == ["events", "replay"]:
            done = await ended(*arguments, environment=self._environment)
            self._status = done.status
            return f"{done.output}{done.errors}"
        with patch.object(_NamedTextIOWrapper, "isatty", lambda _: True):
            result = await asyncio.to_thread(
                CliRunner().invoke,
                cli.cli,
                arguments,
                env=self._environment,
                input=f"{self._typed}\n",
                prog_name="billing",
            )
        self._status = result.exit_code
        return f"{result.output}{_reported(result.exception)}"

    async def _curl(self, url: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def _psql(self, statement: str) -> str:
        connection: Any = await asyncpg.connect(self._environment["DATABASE_URL"])
        try:
            rows = await connection.fetch(statement)
        finally:
            await connection.close()
        return "\n".join("|".join("" if cell is None else str(cell) for cell in row) for row in rows)

    async def _redis(self, arguments: Sequence[str]) -> str:
        client: Any = redis.asyncio.Redis.from_url(self._environment["REDIS_URL"], decode_responses=True)
        async with client:
            if arguments[:2] == ["--scan", "--pattern"]:
                return "\n".join([key async for key in client.scan_iter(arguments[2])])
            return "OK" if await client.execute_command(*arguments) is True else "unexpected"


def _reported(error: BaseException | None) -> str:
    """Return an error as `billing_app.cli.main` prints it."""
    if isinstance(error, BillingError):
        return f"billing: {error.code}: {error}\n"
    return "" if error is None or isinstance(error, SystemExit) else f"billing: {error}\n"
