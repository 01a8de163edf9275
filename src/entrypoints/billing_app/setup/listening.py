"""Events of a sandbox, forwarded to the local server by Stripe's command line."""

from __future__ import annotations

import asyncio
import os
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import attrs

from billing_app.errors import OperatorError
from billing_app.secret import Secret
from billing_app.settings import ENV_FILE, StripeSettings
from billing_app.setup import env_local
from billing_app.setup.stripe_cli import StripeCli
from billing_app.setup.stripe_cli.errors import logged_out
from billing_app.troubleshooting import StripeCliTrouble

WEBHOOK_SECRET = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


@attrs.frozen
class Signing:
    """The secret that forwarded events are signed with, and whether the server's settings hold it."""

    secret: Secret
    is_known: bool


async def listening_key(settings: StripeSettings, cli: StripeCli) -> Secret | None:
    """Return the API key to listen with; None for the log-in of Stripe's command line.

    Raises: OperatorError for a live key; StripeCliError if there is neither a key nor a usable log-in.
    """
    if settings.livemode:
        raise OperatorError(
            "STRIPE_SECRET_KEY is a live key, and events of customers who pay are not forwarded to a local server. "
            f"Set the key of a sandbox. See {StripeCliTrouble.CLI_NEEDS_A_TEST_KEY}."
        )
    if settings.secret_key is not None:
        return settings.secret_key
    session = await cli.whoami()
    if session is None:
        raise logged_out()
    session.require_usable(datetime.now(UTC).date())
    return None


async def signing(settings: StripeSettings, cli: StripeCli, key: Secret | None) -> Signing:
    """Ask for the signing secret, and compare it with the settings. Raises: StripeCliError."""
    secret = await cli.webhook_secret(key)
    return Signing(secret, is_known=secret in settings.webhook_secrets)


def add_secret(settings: StripeSettings, secret: Secret, path: Path = ENV_FILE) -> env_local.EnvChange:
    """Add a signing secret to those in `.env.local`.

    Raises: OperatorError if the environment, which has precedence over the file, holds the others.
    """
    if os.environ.get(WEBHOOK_SECRET):
        raise OperatorError(
            f"{WEBHOOK_SECRET} is set in the environment, where this command cannot change it. Add {secret} there, "
            "separated by a comma, or unset it: stripe listen --print-secret prints the secret. "
            f"See {StripeCliTrouble.SECRET_IS_NOT_IN_THE_FILE}."
        )
    secrets = [*settings.webhook_secrets, secret]
    return env_local.write(path, {WEBHOOK_SECRET: ",".join(each.reveal() for each in secrets)})


async def forward(
    cli: StripeCli,
    url: str,
    events: Iterable[Sequence[str]],
    *,
    key: Secret | None,
    show: Callable[[str], None],
    stop: asyncio.Event,
) -> None:
    """Forward events until `stop` is set, and show what the program prints, masked.

    Args:
        events: groups of types, each with a program of its own: one program sends snapshots and thin events to
            different addresses only.

    Raises: StripeCliError if one of the programs fails.
    """
    async with AsyncExitStack() as stack:
        outputs = [await stack.enter_async_context(cli.listening(url, types, key=key)) for types in events]
        tasks = [asyncio.create_task(_show(lines, show)) for lines in outputs]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, stopping], return_when=FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            stopping.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)


async def _show(lines: AsyncIterator[str], show: Callable[[str], None]) -> None:
    async for line in lines:
        show(line)
