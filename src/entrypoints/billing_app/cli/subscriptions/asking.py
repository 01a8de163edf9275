"""Options of the commands, and the way from a command to an operation."""

from __future__ import annotations

import asyncio
import shlex
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import click

from billing_app.cli.options import by_option
from billing_app.cli.subscriptions.rendering import show_outcome
from billing_app.cli.terminal import json_option, plain
from billing_app.errors import OperatorError
from billing_app.settings import Settings

if TYPE_CHECKING:
    from billing_core.model import SubscriptionId, TenantId
    from billing_core.operations.facade import Operations
    from billing_core.operations.items import Terms
    from billing_core.operations.requests import Caller
    from billing_core.operations.runner import OperationOutcome
    from billing_core.state.ports import TenantReader

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


class OutcomeUnknownError(OperatorError):
    """Stripe did not answer: it is not known yet whether the operation was carried out."""

    exit_code = 1


class RefusedError(OperatorError):
    """The operation is refused, and a command leads on."""

    exit_code = 1


_WAYS_ON: Final = {
    "cancellation_scheduled": "undo {tenant} --what cancellation",
    "change_scheduled": "undo {tenant} --what plan_change",
    "change_pending": "undo {tenant} --what pending_update",
    "already_paused": "resume {tenant}",
    "already_subscribed": "change {tenant} --plan PLAN",
    "payment_pending": "cancel {tenant} --now",
    "payment_method_missing": "start {tenant} --payment confirm",
}
"""Commands of this group that lead on, by the code of the error."""


def options(*each: Decorator) -> Decorator:
    """Return several options as one decorator, shown in this order."""

    def apply(command: Any) -> Any:
        for option in reversed(each):
            command = option(command)
        return command

    return apply


decision = options(
    click.argument("tenant"),
    by_option("Your name, for the record."),
    json_option,
)
about_one = options(
    decision, click.option("--subscription", help="The subscription (sub_…), if the tenant has more than one.")
)
plan_terms = options(
    click.option("--interval", type=click.Choice(["day", "week", "month", "year"]), help="The billing interval."),
    click.option("--interval-count", type=click.IntRange(1), help="Intervals between bills."),
    click.option("--currency", help="The ISO code."),
    click.option("--seats", type=click.IntRange(0), help="The number of seats."),
)
yes_option = click.option("--yes", is_flag=True, help="Do it without asking.")


def terms_of(wanted: dict[str, Any]) -> Terms:
    """Take interval and currency out of the options of a command."""
    from billing_core.operations.items import Terms

    return Terms(interval=wanted["interval"], interval_count=wanted["interval_count"], currency=wanted["currency"])


@attrs.frozen(kw_only=True)
class Site:
    """An open deployment, and the tenant that a command is about."""

    operations: Operations
    reader: TenantReader
    caller: Caller

    @property
    def tenant_id(self) -> TenantId:
        """The tenant."""
        return self.caller.tenant_id

    async def subscription(self, named: str | None) -> SubscriptionId:
        """Return the named subscription, or the only one that has not ended."""
        from billing_core.model import SubscriptionId

        if named is not None:
            return SubscriptionId(named)
        state = await self.reader.state(self.tenant_id)
        live = [each.snapshot.subscription_id for each in state.subscriptions if not each.snapshot.ended]
        if len(live) == 1:
            return live[0]
        if not live:
            raise click.UsageError(f"{plain(self.tenant_id)} has no live subscription.")
        raise click.UsageError(f"{plain(self.tenant_id)} has several: name one of {', '.join(live)} (--subscription).")


Ask = Callable[[Site], Awaitable["OperationOutcome"]]


def run(ask: Ask, *, tenant: str, by: str, as_json: bool) -> None:
    """Carry out one decision and show its outcome. The log goes to standard error."""
    from billing_app.container import configure_logging

    settings = Settings.for_command()
    configure_logging(settings)
    show_outcome(asyncio.run(_run(settings, ask, tenant=tenant, by=by)), as_json=as_json)


async def _run(settings: Settings, ask: Ask, *, tenant: str, by: str) -> OperationOutcome:
    from billing_core.errors import BillingError, GatewayError

    async with _open(settings, tenant=tenant, by=by) as site:
        try:
            return await ask(site)
        except BillingError as error:
            if isinstance(error, GatewayError) and error.outcome_unknown:
                raise OutcomeUnknownError(
                    "Stripe did not answer, and may have carried it out. A worker finds out: see "
                    "`billing gateway pending`."
                ) from error
            if error.code not in _WAYS_ON:
                raise
            way = _WAYS_ON[error.code].format(tenant=shlex.quote(tenant))
            text = getattr(error, "user_text", str(error))
            raise RefusedError(f"{error.code}: {text} Run: billing subscriptions {way}") from error


@asynccontextmanager
async def _open(settings: Settings, *, tenant: str, by: str) -> AsyncIterator[Site]:
    from billing_app.container import open_operations
    from billing_core.model import TenantId
    from billing_core.operations.requests import Caller

    async with open_operations(settings) as (operations, reader):
        caller = Caller(tenant_id=TenantId(tenant), request_id=f"cli-{uuid.uuid4()}", actor=by)
        yield Site(operations=operations, reader=reader, caller=caller)
