"""`billing stripe rotate`: replace a signing secret or the API key while servers run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from billing_app.cli.terminal import confirm, json_option, moment, plain, print_json
from billing_app.errors import OperatorError
from billing_app.settings import Settings
from billing_app.settings.parsers import parse_duration

if TYPE_CHECKING:
    from billing_app.setup.env_local import EnvChange
    from billing_app.setup.rotation.flow import Outcome
    from billing_app.setup.rotation.plans import Rotation
    from billing_app.setup.rotation.servers import ServerSecrets
    from billing_app.setup.rotation.steps import Standing


def _server(processes: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    help_ = f"Address of the metrics of a running {processes}; may be repeated. Default: the settings' of one process."
    return click.option("--server", "servers", metavar="URL", multiple=True, help=help_)


_wait = click.option("--wait", is_flag=True, help="Wait for restarts and webhooks, instead of ending to be repeated.")
_status = click.option("--status", "only_show", is_flag=True, help="Show where the rotation stands; change nothing.")
_yes = click.option("--yes", is_flag=True, help="Remove the old secret without asking.")


@click.group()
def rotate() -> None:
    """Replace a secret without losing a webhook or a call: old and new overlap until the new one is proven.

    Repeat the command after each step; it continues where the rotation stands. A new secret is typed without echo, or
    read from standard input. Exit status: 0 done so far, 1 failed, 2 wrong usage or configuration.
    """


@rotate.command("webhook-secret")
@click.option("--old", metavar="FINGERPRINT", help="The secret to replace, if there are several; see --status.")
@_server("`billing serve`")
@click.option(
    "--quiet", default="5m", show_default=True, help="Remove the old secret once nothing matched it for so long."
)
@_wait
@_status
@_yes
@json_option
def webhook_secret(  # noqa: PLR0917 - one option each
    old: str | None, servers: Sequence[str], quiet: str, wait: bool, only_show: bool, yes: bool, as_json: bool
) -> None:
    """Replace the signing secret of a webhook endpoint: add the new one, verify it, remove the old one.

    \b
    billing stripe rotate webhook-secret
    billing stripe rotate webhook-secret --status --json
    """
    from billing_app.setup.rotation.plans import WebhookSecretRotation

    settings = Settings.for_command()
    span = parse_duration(quiet)
    if span is None:
        raise click.BadParameter("use a number with a unit, such as 90s, 5m or 1h", param_hint="--quiet")
    rotation = WebhookSecretRotation.of(settings, quiet=span, old=old)
    _run(rotation, settings, servers, wait=wait, only_show=only_show, yes=yes, as_json=as_json)


@rotate.command("api-key")
@_server("`billing serve` or `billing worker`")
@_wait
@_status
@json_option
def api_key(servers: Sequence[str], wait: bool, only_show: bool, as_json: bool) -> None:
    """Replace the API key: check the new one at Stripe, write it, and verify that no server uses the old one.

    \b
    billing stripe rotate api-key --wait < new-key
    """
    from billing_app.setup.rotation.plans import ApiKeyRotation

    settings = Settings.for_command()
    if settings.stripe.secret_key is None:
        raise OperatorError("STRIPE_SECRET_KEY is not set: there is nothing to rotate. Run billing stripe setup.")
    rotation = ApiKeyRotation(secrets=(settings.stripe.secret_key,))
    _run(rotation, settings, servers, wait=wait, only_show=only_show, yes=False, as_json=as_json)


def _run(
    rotation: Rotation,
    settings: Settings,
    urls: Sequence[str],
    *,
    wait: bool,
    only_show: bool,
    yes: bool,
    as_json: bool,
) -> None:
    import asyncio

    from billing_app.setup.rotation import flow
    from billing_app.setup.rotation.servers import read_servers

    asked = tuple(urls) or (settings.server.local_metrics_url,)
    outcome = asyncio.run(
        flow.rotate(
            rotation,
            settings,
            _Dialog(yes=yes, quiet=as_json),
            read=lambda: read_servers(asked, settings.server.metrics_token),
            wait=wait,
            only_show=only_show,
        )
    )
    if as_json:
        print_json(_to_json(outcome))
    else:
        click.echo(outcome.rotation.then if outcome.completed else _next(outcome.standing))


@attrs.frozen
class _Dialog:
    """The operator at a terminal, or a script that gives the secret by standard input."""

    yes: bool
    quiet: bool

    def shows(self, standing: Standing, rotation: Rotation, servers: Sequence[ServerSecrets]) -> None:
        if self.quiet:
            return
        for server in servers:
            click.echo(f"{plain(server.url)}: {_described(server, rotation)}")

    def wrote(self, change: EnvChange) -> None:
        if not self.quiet:
            for line in (*change.lines, *change.warnings):
                click.echo(plain(line))

    def asks_for_new(self, rotation: Rotation) -> str:
        if not sys.stdin.isatty():
            return sys.stdin.readline()
        click.echo(rotation.roll_first)
        given: str = click.prompt(f"New value for {rotation.variable}", hide_input=True, err=True)
        return given

    def asks_to_remove(self, rotation: Rotation) -> None:
        confirm(f"Webhooks are signed with {rotation.secrets[-1]} alone. Remove {rotation.old}?", yes=self.yes)


def _described(server: ServerSecrets, rotation: Rotation) -> str:
    """Say which of the configured secrets a server uses, and how often they matched."""
    parts = []
    for secret in rotation.secrets:
        fingerprint = secret.fingerprint()
        if rotation.variable == "STRIPE_SECRET_KEY":
            parts.append(f"{secret} is {'in use' if fingerprint in server.api_keys else 'not in use'}")
        elif (found := server.webhook_secrets.get(fingerprint)) is None:
            parts.append(f"{secret} is not in use")
        else:
            last = "" if found.last_at is None else f", the last at {moment(found.last_at)}"
            parts.append(f"{secret} ({fingerprint}) matched {found.count} webhooks{last}")
    return "; ".join(parts)


def _next(standing: Standing) -> str:
    """Say what to do before the command is repeated."""
    from billing_app.setup.rotation.steps import Step

    return {
        Step.BEGIN: "All servers use what is configured. No rotation is under way.",
        Step.RESTART: f"Restart {', '.join(standing.servers)}, with the new settings, and repeat this command.",
        Step.AWAIT_NEW: "A rotation is under way, and no other secret was read. No webhook was signed with the new one "
        "yet: repeat this command after the next webhook.",
        Step.AWAIT_OLD: "A rotation is under way, and no other secret was read. Webhooks are still signed with the old "
        "one: wait until it expires, or disable the old endpoint at Stripe, and repeat this command.",
        Step.REMOVE: "The new secret alone matches. Repeat this command without --status to remove the old one.",
    }[standing.step]


def _to_json(outcome: Outcome) -> dict[str, Any]:
    rotation = outcome.rotation
    return {
        "variable": rotation.variable,
        "step": outcome.standing.step.value,
        "completed": outcome.completed,
        "waiting_for": outcome.standing.servers,
        "next": rotation.then if outcome.completed else _next(outcome.standing),
        "secrets": [{"fingerprint": each.fingerprint(), "shown": str(each)} for each in rotation.secrets],
        "servers": [
            {
                "url": server.url,
                "api_keys": sorted(server.api_keys),
                "webhook_secrets": {
                    fingerprint: {"matches": found.count, "last_at": found.last_at}
                    for fingerprint, found in server.webhook_secrets.items()
                },
            }
            for server in outcome.servers
        ],
        "changes": [line for change in outcome.changes for line in change.lines],
    }
