"""`billing stripe listen`: events of a sandbox, at the server on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from billing_app.cli.terminal import confirm, plain
from billing_app.settings import Settings
from billing_app.settings.server import WEBHOOK_PATH

if TYPE_CHECKING:
    from billing_app.setup.stripe_cli import StripeCli


@click.command()
@click.option("--forward-to", metavar="URL", help="Webhook route of the server. Default: BILLING_HOST, BILLING_PORT.")
@click.option("--yes", is_flag=True, help="Add a missing signing secret to .env.local without asking.")
def listen(forward_to: str | None, yes: bool) -> None:
    """Forward the events that billing handles, snapshots and thin events, with the Stripe CLI.

    They are those of STRIPE_SECRET_KEY's account, or else of the one that the Stripe CLI is logged in to.

    \b
    billing stripe listen
    billing stripe listen --forward-to http://127.0.0.1:9000/webhooks/stripe
    """
    import asyncio

    from billing_app.setup.stripe_cli import StripeCli

    settings = Settings.for_command()
    cli = StripeCli.find(settings.stripe.cli, api_base=settings.stripe.api_base)
    asyncio.run(_listen(settings, cli, forward_to or f"{settings.server.local_url}{WEBHOOK_PATH}", yes=yes))


async def _listen(settings: Settings, cli: StripeCli, url: str, *, yes: bool) -> None:
    from billing_app import runtime
    from billing_app.container import SNAPSHOT_EVENTS, THIN_EVENTS
    from billing_app.setup import listening

    key = await listening.listening_key(settings.stripe, cli)
    signing = await listening.signing(settings.stripe, cli, key)
    if not signing.is_known:
        confirm(f"The server does not know the signing secret {signing.secret}. Add it to .env.local?", yes=yes)
        change = listening.add_secret(settings.stripe, signing.secret)
        for line in (*change.lines, *change.warnings):
            click.echo(plain(line))
        click.echo("Restart the server if it is running: it reads its secrets when it starts.")
    stop = runtime.termination()
    groups = (SNAPSHOT_EVENTS, THIN_EVENTS)
    click.echo(f"Forwarding {sum(map(len, groups))} types of events to {plain(url)}. Ctrl-C ends it.")
    await listening.forward(cli, url, groups, key=key, show=lambda line: click.echo(plain(line)), stop=stop)
    click.echo("Stopped." if stop.is_set() else "The Stripe CLI ended.")
