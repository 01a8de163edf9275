"""The work of processes, imported where it is done: a supervisor only names it, and takes a third of their memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from billing_app.lifeline import Lifeline
from billing_app.settings import Settings, SettingsFault


async def serve(settings: Settings, **given: Any) -> None:
    """Run a server: see `server.serve`."""
    from billing_app import server  # noqa: PLC0415 - see above

    await server.serve(settings, **given)


async def work(settings: Settings, **given: Any) -> None:
    """Run a worker: see `server.work`."""
    from billing_app import server  # noqa: PLC0415 - see above

    await server.work(settings, **given)


async def check(settings: Settings, faults: Sequence[SettingsFault]) -> str | None:
    """Check and log the configuration, and return the account of the API key if it is known.

    Raises: StartRefusedError with all faults.
    """
    from billing_app.doctor import check_start, log_start, log_step  # noqa: PLC0415 - see above

    log_step("checks settings and what they name: servers, the Stripe key, clocks")
    found = await check_start(settings, faults)
    log_start(settings, found)
    return found.account_id


async def check_for_supervisor(
    settings: Settings, *, account_id: str | None, lifeline: Lifeline, faults: Sequence[SettingsFault]
) -> None:
    """Do the same in a process of its own, and report the account."""
    lifeline.report(await check(settings, faults) or "")
