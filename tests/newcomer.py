"""A newcomer who follows the README in a terminal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tests.terminal import INTERRUPT, Terminal, terminal

README: Final = Path(__file__).parents[1] / "README.md"
RUNNING: Final = {"serve": "server.started", "worker": "worker.started", "events tail": ""}
"""Commands that run until Ctrl-C, and what each says once it does."""
NOTHING_MATCHED: Final = {"events list": 3, "events replay": 3}
"""Commands of the README that find nothing in a new installation, and say so by their exit status."""


def commands_of(section: str) -> list[list[str]]:
    """Return the arguments of `billing` in each line of the first console block of a section."""
    text = README.read_text(encoding="utf-8")
    block = text[text.index(f"\n## {section}\n") :].split("```console\n", 1)[1].split("```", 1)[0]
    lines = (shlex.split(line.removeprefix("$ "), comments=True) for line in block.splitlines())
    return [arguments[1:] for arguments in lines if arguments[:1] == ["billing"]]


async def follow(
    section: str,
    *,
    environment: Mapping[str, str],
    folder: Path,
    columns: int,
    program: str | None = None,
    statuses: Mapping[str, int] = NOTHING_MATCHED,
) -> list[str]:
    """Run a section of the README in a terminal of that width; return what was shown, a text per command.

    `statuses` has the expected exit status of commands that do not end with 0. Commands that keep running do so beside
    the others, and all of them end orderly by Ctrl-C.
    """
    shown = []
    running: list[Terminal] = []
    async with AsyncExitStack() as stack:
        for arguments in commands_of(section):
            command = terminal(*arguments, environment=environment, folder=folder, program=program, columns=columns)
            opened = await stack.enter_async_context(command)
            says = next((text for name, text in RUNNING.items() if _is(arguments, name)), None)
            if says is not None:
                await opened.shows(says)
                running.append(opened)
                continue
            status = await opened.ends()
            expected = next((each for name, each in statuses.items() if _is(arguments, name)), 0)
            assert status == expected, f"billing {shlex.join(arguments)} ended with {status}:\n{opened.screen}"
            shown.append(opened.screen)
        for opened in reversed(running):
            opened.types(INTERRUPT)
            assert await opened.ends() == 0, opened.screen
            shown.append(opened.screen)
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", each) for each in shown]


def _is(arguments: list[str], command: str) -> bool:
    return arguments[: len(command.split())] == command.split()
