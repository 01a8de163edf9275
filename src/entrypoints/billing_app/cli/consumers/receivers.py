"""`billing consumers add`, `rotate-secret` and `test`: receivers of outgoing webhooks and their secrets."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from billing_app.cli.consumers.arguments import (
    name_argument,
    parse_start,
    unknown_consumer,
    why_option,
)
from billing_app.cli.options import by_option, duration_option
from billing_app.cli.terminal import json_option, moment, plain, print_json
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_app.troubleshooting import Trouble
    from billing_core.consumers.values import ConsumerName, Start
    from billing_core.outgoing.administration import Added
    from billing_core.outgoing.values import Delivery, SigningSecret

_OVERLAP: Final = timedelta(hours=24)

_secret_option = click.option(
    "--secret-stdin",
    is_flag=True,
    help="Use a secret of yours (whsec_…), from standard input or asked for. Without it, one is generated.",
)


def _url(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    from billing_core.outgoing.values import fault_of_url

    if (fault := fault_of_url(text)) is not None:
        raise click.BadParameter(f"it {fault}")
    return text


def _types(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    from billing_core.consumers.values import unknown_types
    from billing_core.events import BillingEventType

    given = tuple(each.strip() for each in text.split(","))
    if unknown := unknown_types(given, (each.value for each in BillingEventType)):
        raise click.BadParameter(
            f"no message has the type {', '.join(map(plain, unknown))}. Use names such as invoice.paid, and * for any "
            "characters, such as subscription.*"
        )
    return given


def _start(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Start | None:
    return None if text is None else parse_start(text)


@click.command()
@name_argument
@click.option("--url", required=True, callback=_url, help="Where messages are sent, by POST. It takes https.")
@click.option("--types", callback=_types, help="Types of messages, such as invoice.*,access.changed. Default: all.")
@click.option(
    "--start",
    callback=_start,
    help="The first message: now (the default), beginning, a date, or a time before now (3d). Only for a new receiver.",
)
@click.option(
    "--on-dead",
    type=click.Choice(["hold", "skip"]),
    help="Whether a message that ran out of attempts holds its tenant back (the default), or is passed over.",
)
@click.option("--attempts", type=click.IntRange(1, 1000), help="Attempts at a message that fails beside others.")
@_secret_option
@why_option
@by_option()
@json_option
def add(
    *,
    name: ConsumerName,
    url: str,
    types: tuple[str, ...] | None,
    start: Start | None,
    on_dead: str | None,
    attempts: int | None,
    secret_stdin: bool,
    why: str | None,
    by: str,
    as_json: bool,
) -> None:
    """Send each message to a URL, as a signed webhook, under the name CONSUMER; or change a receiver of that name.

    Workers begin within seconds. The secret that signs is printed once. A known receiver keeps its position, its
    secrets, and everything that is not given.

    \b
    billing consumers add crm --url https://crm.example.com/billing --types 'subscription.*,invoice.paid'

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration.
    """
    given = {"event_types": types, "start": start, "on_dead": on_dead, "attempts": attempts}
    changes = {field: value for field, value in given.items() if value is not None}
    secret = _given_secret() if secret_stdin else None
    try:
        added = asyncio.run(
            _add(Settings.for_command(), name, url=url, changes=changes, secret=secret, actor=by, reason=why)
        )
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc
    if as_json:
        print_json(_added_to_json(added, url, generated=secret is None))
        return
    click.echo(f"{'Added' if added.created else 'Changed'} {name}. Workers follow within seconds.")
    if added.secret is not None and secret is None:
        click.echo("Give the receiver this secret. It is shown once:")
        click.echo(added.secret.text)
    if added.created:
        click.echo(f"Then try it: billing consumers test {name}")


def _added_to_json(added: Added, url: str, *, generated: bool) -> dict[str, Any]:
    from billing_core.outgoing.values import shown_url

    consumer = added.consumer
    return {
        "consumer": consumer.name,
        "created": added.created,
        "url": shown_url(url),
        "types": list(consumer.event_types),
        "on_dead": consumer.on_dead.value,
        "attempts": consumer.attempts,
        "secret": added.secret.text if added.secret is not None and generated else None,
    }


@click.command(name="rotate-secret")
@name_argument
@click.option(
    "--overlap",
    callback=duration_option,
    help="How long the former secret signs as well, such as 24h (the default) or 7d. 0s if it has leaked.",
)
@_secret_option
@why_option
@by_option()
@json_option
def rotate_secret(
    *, name: ConsumerName, overlap: timedelta | None, secret_stdin: bool, why: str | None, by: str, as_json: bool
) -> None:
    """Sign the webhooks of CONSUMER with a new secret, and with the former one too until the overlap ends.

    Give the receiver the new secret within the overlap: each webhook carries a signature of both.

    \b
    billing consumers rotate-secret crm --overlap 7d

    Exit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 unknown receiver.
    """
    from billing_core.outgoing.values import SigningSecret

    secret = _given_secret() if secret_stdin else SigningSecret.generate(datetime.now(UTC))
    span = _OVERLAP if overlap is None else overlap
    if not asyncio.run(_rotate(Settings.for_command(), name, secret, overlap=span, actor=by, reason=why)):
        unknown_consumer(name)
    until = datetime.now(UTC) + span
    shown = None if secret_stdin else secret.text
    if as_json:
        print_json({"consumer": name, "secret": shown, "fingerprint": secret.fingerprint, "replaced_until": until})
        return
    click.echo(f"The former secret of {name} signs until {moment(until)}.")
    if shown is not None:
        click.echo("Give the receiver this secret. It is shown once:")
        click.echo(shown)


@click.command()
@name_argument
@json_option
def test(*, name: ConsumerName, as_json: bool) -> None:
    """Send a test message to the receiver of CONSUMER, and show its answer. It is sent from this machine.

    The message has the type `test` and no data. It is sent even if the receiver is disabled, and changes nothing.

    \b
    billing consumers test crm

    Exit status: 0 delivered, 1 not delivered, 2 wrong usage or configuration, 3 unknown receiver.
    """
    delivery = asyncio.run(_test(Settings.for_command(), name))
    if as_json:
        print_json(
            {
                "consumer": name,
                "result": delivery.result.value,
                "status": delivery.status,
                "detail": delivery.detail,
                "seconds": round(delivery.seconds, 3),
            }
        )
    else:
        word = "Delivered" if delivery.delivered else "Not delivered"
        click.echo(f"{word} in {delivery.seconds:.2f} s: {plain(delivery.detail)}.")
        if (trouble := _trouble(delivery)) is not None:
            click.echo(f"See {trouble}.", err=True)
    if not delivery.delivered:
        raise click.exceptions.Exit(1)


def _trouble(delivery: Delivery) -> Trouble | None:
    """Return the row of the troubleshooting matrix about a failure, if there is one."""
    from billing_app.troubleshooting import ConsumerTrouble
    from billing_core.outgoing.values import DeliveryResult

    if delivery.result is DeliveryResult.ADDRESS_REFUSED:
        return ConsumerTrouble.ADDRESS_IS_REFUSED
    return ConsumerTrouble.SIGNATURE_DOES_NOT_MATCH if delivery.status in (401, 403) else None


def _given_secret() -> SigningSecret:
    """Read a secret from standard input, or ask for it without showing it."""
    from billing_core.outgoing.values import SigningSecret, fault_of_secret

    if sys.stdin.isatty():
        text = str(click.prompt("Secret (whsec_…)", hide_input=True, err=True))
    else:
        text = sys.stdin.readline()
    text = text.strip()
    if (fault := fault_of_secret(text)) is not None:
        raise click.UsageError(f"The secret {fault}.")
    return SigningSecret(text=text, created_at=datetime.now(UTC))


async def _add(settings: Settings, name: ConsumerName, **given: Any) -> Added:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.receiver_administration().add(name, **given)


async def _rotate(settings: Settings, name: ConsumerName, secret: SigningSecret, **given: Any) -> bool:
    from billing_app.container import open_tools

    async with open_tools(settings) as tools:
        return await tools.receiver_administration().rotate(name, secret, **given)


async def _test(settings: Settings, name: ConsumerName) -> Delivery:
    from billing_app.container import open_tools, open_webhook_sender
    from billing_core.outgoing.delivering import probe_webhook

    async with open_tools(settings) as tools:
        endpoint = await tools.receiver_administration().find(name)
    if endpoint is None:
        unknown_consumer(name)
    async with open_webhook_sender(settings) as sender:
        return await sender.send(endpoint.url, probe_webhook(name, datetime.now(UTC)), endpoint.secrets)
