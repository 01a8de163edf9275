"""The program as a child process: without a terminal, with a limit of time, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import attrs

from billing_app.secret import mask_inside
from billing_app.setup.stripe_cli.errors import (
    StripeCliError,
    StripeCliMissingError,
    StripeCliTimeoutError,
    key_expired,
    logged_out,
)
from billing_app.troubleshooting import StripeCliTrouble

_END_WAIT: Final = 5.0
"""Seconds to end after SIGTERM."""
_SHOWN: Final = 300
"""Characters of its error text that a message repeats."""


@attrs.frozen
class Ended:
    """A command that ended. Both texts may hold secrets."""

    status: int
    output: str = attrs.field(repr=False)
    errors: str = attrs.field(repr=False)


async def run(program: Path, *arguments: str, environment: Mapping[str, str], wait: float) -> Ended:
    """Run a command until it ends, for `wait` seconds at most.

    Raises: StripeCliMissingError, or StripeCliTimeoutError once it was stopped.
    """
    errors = asyncio.subprocess.PIPE
    async with running(program, *arguments, environment=environment, stderr=errors) as process:
        try:
            async with asyncio.timeout(wait):
                output, said = await process.communicate()
        except TimeoutError:
            raise StripeCliTimeoutError(
                f"`stripe {arguments[0]}` did not end within {wait:.0f} seconds and was stopped. Run it in a terminal "
                "to see what it waits for, and check the connection to Stripe; then repeat this command. "
                f"See {StripeCliTrouble.CLI_HANGS}."
            ) from None
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(errors="replace"), said.decode(errors="replace"))


@asynccontextmanager
async def running(
    program: Path, *arguments: str, environment: Mapping[str, str], stderr: int = asyncio.subprocess.STDOUT
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the program within the block, in a group of its own: the `stripe` of npm is a script with a child.

    Raises: StripeCliMissingError.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    except OSError as exc:
        raise StripeCliMissingError(
            f"{program} cannot be run ({type(exc).__name__}). Set STRIPE_CLI_PATH to the Stripe CLI. "
            f"See {StripeCliTrouble.CLI_IS_MISSING}."
        ) from None
    try:
        yield process
    finally:
        await _end(process)


def require_success(ended: Ended, command: str) -> None:
    """Raise the error that a failed command stands for."""
    if ended.status == 0:
        return
    said = ended.errors.strip() or ended.output.strip()
    words = said.lower()
    if "expired" in words and "key" in words:
        raise key_expired()
    if "not configured api keys" in words or "not logged in" in words:
        raise logged_out()
    shown = mask_inside(said)[:_SHOWN] or f"status {ended.status}"
    raise StripeCliError(f"`stripe {command}` failed: {shown} See {StripeCliTrouble.CLI_FAILED}.")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the program and its children, and wait for it."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_WAIT):
                await process.wait()
    if process.returncode is None:
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
