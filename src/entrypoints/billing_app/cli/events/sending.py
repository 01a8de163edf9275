"""`billing events send-test`."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import click

from billing_app.cli.options import duration_option
from billing_app.cli.terminal import json_option, plain, print_json
from billing_app.settings import Settings


@click.command(name="send-test")
@click.option("--server", metavar="URL", help="Address of a running server. Default: BILLING_HOST and BILLING_PORT.")
@click.option("--tenant", default="billing-test", show_default=True, help="The tenant of the event.")
@click.option("--within", default="30s", show_default=True, callback=duration_option, help="Wait no longer than this.")
@json_option
def send_test(server: str | None, tenant: str, within: timedelta, as_json: bool) -> None:
    """Send a signed test event through the webhook route of a running server, and follow it to the stream.

    It starts and ends a subscription that exists here alone, of a tenant for tests, and shows how long the server took
    to store each event, and its message to reach the tenant's stream. Test mode only.

    \b
    billing events send-test
    billing events send-test --server https://billing.staging.example.com --json

    Exit status: 0 both messages arrived, 1 one did not, 2 wrong usage or configuration.
    """
    from billing_app.round_trip import round_trip
    from billing_core.model import TenantId

    settings = Settings.for_command()
    if (fault := settings.tenants.fault_of(tenant)) is not None:
        raise click.BadParameter(f"the id {fault}", param_hint="--tenant")
    address = (server or settings.server.local_url).rstrip("/")
    arrived = asyncio.run(round_trip(settings, server=address, tenant_id=TenantId(tenant), within=within))
    if as_json:
        print_json({"server": address, "tenant_id": tenant, "messages": arrived})
        return
    for each in arrived:
        click.echo(f"{each.event_id}: stored in {each.accepted_ms:.0f} ms")
        click.echo(
            f"  message {each.sequence} on the stream of {plain(tenant)} after {each.streamed_ms:.0f} ms: "
            f"{each.event_type}, {plain(each.summary)}"
        )
