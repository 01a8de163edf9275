"""Postgres and Redis, before they are needed."""

from __future__ import annotations

from billing_app.doctor.dependencies import check_dependencies
from billing_app.settings import Settings
from billing_app.setup.dialog import Dialog


async def check_servers(settings: Settings, dialog: Dialog) -> None:
    """Say how the servers are, and what happens without configured ones.

    The settings have billing switched off, so that nothing but the servers is checked.
    """
    if settings.database.url is None:
        dialog.say(
            "database: DATABASE_URL is not set, so that commands start a local one, which those that run at the same "
            f"time share, in {settings.embedded.data_dir}."
        )
    for result in (await check_dependencies(settings, local=False)).results:
        dialog.say(f"{result.check}: {result}")
