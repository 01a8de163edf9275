"""Open what an application embeds: on its servers, or in memory for its tests."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import structlog

from billing_app.container import (
    Container,
    Starting,
    follow_host_logging,
    memory_adapters,
    open_container,
    open_in_memory,
)
from billing_app.doctor import check_start, log_start
from billing_app.settings import Settings
from billing_core.state.ports import Clock


async def check(settings: Settings | None) -> tuple[Settings, Starting]:
    """Read the settings unless they are given, and check them with everything that they name, as `billing serve` does.

    Raises StartRefusedError with all faults.
    """
    examined, faults = Settings.examine() if settings is None else (settings, ())
    if not structlog.is_configured():
        follow_host_logging(examined)
    if examined.in_memory:
        return examined, Starting(account_id=examined.stripe.account_id)
    found = await check_start(examined, faults)
    log_start(examined, found)
    return examined, Starting(account_id=found.account_id)


def opener(
    settings: Settings, starting: Starting, *, application_name: str, clock: Clock | None
) -> Callable[[], AbstractAsyncContextManager[Container]]:
    """Return what opens a container, any number of times; in memory on the same database each time."""
    if settings.in_memory:
        return partial(open_in_memory, settings, memory_adapters(settings, clock=clock))
    return partial(open_container, settings, application_name=application_name, starts=starting, kind="application")
