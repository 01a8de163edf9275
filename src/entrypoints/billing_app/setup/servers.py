"""Postgres and Redis, before they are needed."""

from __future__ import annotations

import asyncio

from billing_app.container.local_daemon import local_servers_are_running, start_local_servers
from billing_app.doctor.dependencies import check_dependencies
from billing_app.settings import Settings
from billing_app.setup.dialog import Dialog


async def check_servers(settings: Settings, dialog: Dialog) -> None:
    """Say how the servers are, and offer to start local ones in place of those that are not configured.

    The settings have billing switched off, so that nothing but the servers is checked.
    """
    if settings.database.url is None:
        await _offer_local(settings, dialog)
    for result in (await check_dependencies(settings, local=False)).results:
        dialog.say(f"{result.check}: {result}")


async def _offer_local(settings: Settings, dialog: Dialog) -> None:
    """Start local servers only if a person wants them: they run until they are stopped."""
    if await asyncio.to_thread(local_servers_are_running, settings):
        dialog.say(f"database: a local one runs, in {settings.embedded.data_dir}.")
    elif dialog.interactive and dialog.agrees("Start a local Postgres and Valkey now, as `make dev-up` does?"):
        await asyncio.to_thread(start_local_servers, settings)
        dialog.say("database: a local one was started; `make dev-down` stops it.")
    else:
        dialog.say("database: DATABASE_URL is not set, so that each command starts a local one.")
