"""The commands that come after set-up, in a form that works when it is pasted."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from billing_app.settings import Settings
from billing_app.setup.stripe_cli import StripeCli, StripeCliMissingError


def next_steps(settings: Settings, *, endpoint: bool, logged_in: bool) -> Sequence[str]:
    """Return the commands.

    Args:
        settings: of the server.
        endpoint: whether Stripe sends its events to a webhook endpoint.
        logged_in: whether the Stripe CLI is logged in to the account.
    """
    billing = program("billing", Path(sys.executable).parent)
    steps = [] if settings.database.url is None else [f"{billing} migrate"]  # a local one is migrated by its users
    steps.append(f"{billing} serve")
    if not endpoint:
        steps.append(f"{billing} stripe listen")
    stripe = _stripe(settings) if logged_in and not endpoint else None
    if stripe is not None:
        steps.append(f"{stripe} trigger customer.subscription.created")
    steps.append(f"{billing} events list --since 10m")
    return steps


def program(name: str, folder: Path) -> str:
    """Return how a program is called from here: by its name if PATH has it, else by its place."""
    beside = folder / name
    if shutil.which(name) is not None or not beside.exists():
        return name
    return shlex.quote(os.path.relpath(beside) if beside.is_relative_to(Path.cwd()) else str(beside))


def _stripe(settings: Settings) -> str | None:
    try:
        found = StripeCli.find(settings.stripe.cli, api_base=settings.stripe.api_base).program
    except StripeCliMissingError:
        return None
    return program("stripe", found.parent) if found.name == "stripe" else shlex.quote(str(found))
