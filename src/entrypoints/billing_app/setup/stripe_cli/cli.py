"""Stripe's own command line as a helper: its session, its signing secret, its triggers.

Keys reach it through its environment, never as arguments, which every user of the machine can list. What it prints is
masked before it is shown. Its configuration is its own: it is asked, and its file is not opened.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from billing_app.secret import Secret, mask_inside
from billing_app.settings import declared_sections
from billing_app.setup.stripe_cli.answers import (
    TEST_KEY,
    CliSession,
    Sandbox,
    read_sandbox,
    read_session,
    read_signing_secret,
    read_test_key,
)
from billing_app.setup.stripe_cli.errors import (
    StripeCliError,
    StripeCliMissingError,
    StripeCliUnsuitableError,
    logged_out,
)
from billing_app.setup.stripe_cli.process import Ended, require_success, run, running
from billing_app.setup.stripe_cli.program import find_program
from billing_app.troubleshooting import StripeCliTrouble

_KEY_VARIABLE: Final = "STRIPE_API_KEY"
_WAIT: Final = 30.0
"""Seconds that a command may take that asks Stripe one thing, or nothing."""
_LONG_WAIT: Final = 120.0
"""Seconds for a trigger, which makes a dozen calls, and for the proof of work of a sandbox."""


@attrs.frozen
class StripeCli:
    """The program, and the address of the API that it is to call."""

    program: Path
    api_base: str | None = None
    environ: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)

    @classmethod
    def find(cls, configured: Path | None = None, *, api_base: str | None = None) -> StripeCli:
        """Find the program: the configured one, the one in PATH, or the one of this project's node_modules.

        Raises: StripeCliMissingError.
        """
        program = find_program(configured, os.environ.get("PATH", ""), Path.cwd())
        if program is None:
            where = "The Stripe CLI was not found" if configured is None else f"There is no program {configured}"
            raise StripeCliMissingError(
                f"{where}. Install it (npm install --save-dev @stripe/cli, or "
                "https://docs.stripe.com/stripe-cli/install), or set STRIPE_CLI_PATH to its program. "
                f"See {StripeCliTrouble.CLI_IS_MISSING}."
            )
        return cls(program, api_base)

    async def whoami(self) -> CliSession | None:
        """Return its log-in, or None if it has none. Nothing is asked of Stripe. Raises: StripeCliError."""
        ended = await self._run("whoami", "--format", "json", wait=_WAIT)
        try:
            return read_session(ended.output)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise StripeCliUnsuitableError(
                f"{self.program} is not the Stripe CLI, or older than version 1.50. Install the current one, or set "
                f"STRIPE_CLI_PATH to its program. See {StripeCliTrouble.CLI_IS_ANOTHER_PROGRAM}."
            ) from None

    async def session_key(self) -> Secret | None:
        """Return the test key of its log-in; None if it keeps the key to itself, as with a keyring.

        Raises: StripeCliError.

        `whoami` shows no key, and `stripe config --list` shows the one for test mode unless it is stored elsewhere.
        """
        given = self.environ.get(_KEY_VARIABLE, "").strip()
        if given:
            return Secret(given) if TEST_KEY.fullmatch(given) else None
        session = await self.whoami()
        if session is None:
            return None
        return read_test_key((await self._run("config", "--list", wait=_WAIT)).output, session.profile)

    async def login(self) -> CliSession:
        """Let the user log in at the terminal, which the program takes over.

        Raises: StripeCliLoggedOutError without a terminal, or if the user did not log in.
        """
        if not sys.stdin.isatty():
            raise logged_out()
        process = await asyncio.create_subprocess_exec(self.program, "login", env=self._environment(None))
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
        session = await self.whoami()
        if session is None:
            raise logged_out()
        return session

    async def create_sandbox(self, email: str) -> Sandbox:
        """Create an account for tests that needs no log-in, and return its key. It expires unless it is claimed.

        Raises: StripeCliError if Stripe offers a log-in in its place.
        """
        ended = await self._run("sandbox", "create", "--email", email, "--non-interactive", wait=_LONG_WAIT)
        require_success(ended, "sandbox create")
        sandbox = read_sandbox(ended.output)
        if sandbox is None:
            raise StripeCliError(
                "Stripe did not create a sandbox. Run `stripe login`, then repeat this command. "
                f"See {StripeCliTrouble.CLI_IS_LOGGED_OUT}."
            )
        return sandbox

    async def webhook_secret(self, key: Secret | None = None) -> Secret:
        """Return the secret with which `stripe listen` signs on this machine. Raises: StripeCliError."""
        ended = await self._run("listen", "--print-secret", "--skip-update", *self._base(), key=key, wait=_WAIT)
        require_success(ended, "listen --print-secret")
        secret = read_signing_secret(ended.output)
        if secret is None:
            raise StripeCliUnsuitableError(
                "`stripe listen --print-secret` printed no secret. Update the Stripe CLI. "
                f"See {StripeCliTrouble.CLI_IS_ANOTHER_PROGRAM}."
            )
        return secret

    async def trigger(self, event_type: str, *, key: Secret | None = None, overrides: Sequence[str] = ()) -> None:
        """Make Stripe send an event by the calls that cause it.

        Args:
            event_type: one that `stripe trigger --help` lists.
            key: the API key of the account; by default that of the log-in.
            overrides: `resource:path=value` for the calls, such as `customer:metadata.tenant_id=acme`.

        Raises: StripeCliError.
        """
        changed = [word for each in overrides for word in ("--override", each)]
        ended = await self._run("trigger", event_type, *changed, *self._base(), key=key, wait=_LONG_WAIT)
        require_success(ended, f"trigger {event_type}")

    @asynccontextmanager
    async def listening(
        self, url: str, events: Sequence[str], *, key: Secret | None = None
    ) -> AsyncIterator[AsyncIterator[str]]:
        """Forward events to a URL within the block; yields the lines that the program prints, masked.

        The lines end when the program does; then `StripeCliError` says why, unless it ended well.
        """
        arguments = ["listen", "--events", ",".join(events), "--forward-to", url, "--skip-update", *self._base()]
        async with running(self.program, *arguments, environment=self._environment(key)) as process:
            yield _lines(process)

    async def _run(self, *arguments: str, wait: float, key: Secret | None = None) -> Ended:
        return await run(self.program, *arguments, environment=self._environment(key), wait=wait)

    def _base(self) -> Sequence[str]:
        if self.api_base is None:
            return ()
        # The program takes plain HTTP for this machine only, and by its number.
        return ("--api-base", self.api_base.replace("://localhost", "://127.0.0.1"))

    def _environment(self, key: Secret | None) -> dict[str, str]:
        """Return our environment without our own secrets, which are none of its business."""
        inherited = {name: value for name, value in self.environ.items() if name not in _secret_variables()}
        return inherited if key is None else inherited | {_KEY_VARIABLE: key.reveal()}


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    """Yield what a running program prints, line by line and masked, until it ends."""
    assert process.stdout is not None
    last = ""
    async for line in process.stdout:
        text = line.decode(errors="replace").strip()
        if text:
            last = mask_inside(text)
            yield last
    require_success(Ended(await process.wait(), last, ""), "listen")


def _secret_variables() -> frozenset[str]:
    return frozenset(
        setting.env for section in declared_sections() for setting in section.settings.values() if setting.secret
    )
