"""The flow of `billing stripe setup`: find, show, ask, do, prove. Interrupted anywhere, a second run completes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from billing_app.container.provisioning import (
    PORTAL,
    Desired,
    DesiredEndpoint,
    Provisioned,
    ProvisioningError,
    ProvisioningPlan,
    Step,
    StripeClient,
    UnsettledError,
    carry_out,
    copy_secret,
    create_thin_destination,
    desired_objects,
    find_account,
    find_catalog_event,
    find_objects,
    open_account,
    plan_provisioning,
)
from billing_app.secret import Secret
from billing_app.settings import ENV_FILE, Settings, SettingsError
from billing_app.setup.catalog import PRICE_MAP, Catalog, price_map, read_catalog, write_first_file
from billing_app.setup.dialog import Dialog
from billing_app.setup.errors import SetupError, setup_error
from billing_app.setup.keys import CLI, FoundKey, KeyFinder, refuse_live
from billing_app.setup.next_steps import next_steps
from billing_app.setup.proof import Prove, prove
from billing_app.setup.recording import PORTAL_CONFIGURATION, WEBHOOK_SECRET, Recorder
from billing_app.setup.report import Report, heading, plan_lines
from billing_app.setup.servers import check_servers
from billing_app.setup.stripe_cli import StripeCli, StripeCliError
from billing_app.setup.webhook_url import public_url, read_webhook_url
from billing_app.troubleshooting import SetupTrouble
from billing_core.errors import GatewayError

_STRIPE_ERRORS: Final = (GatewayError, ProvisioningError, UnsettledError)


@attrs.frozen(kw_only=True)
class SetupOptions:
    """The options of one run."""

    key: str | None = attrs.field(default=None, repr=False)
    """From standard input."""
    webhook_url: str | None = None
    live: bool = False
    dry_run: bool = False
    check: bool = False
    """Only compare: neither servers nor secrets are looked at."""
    env_file: Path = ENV_FILE

    @property
    def only_compares(self) -> bool:
        """Whether nothing is changed."""
        return self.check or self.dry_run


async def run_setup(
    options: SetupOptions,
    dialog: Dialog,
    confirm: Callable[[str], None],
    *,
    environ: Mapping[str, str] = os.environ,
    prove: Prove = prove,
) -> Report:
    """Set up an account, and return what was done.

    Args:
        options: of the run.
        dialog: shows progress and asks.
        confirm: asks before anything is changed, and raises if the answer is no.
        environ: the environment.
        prove: lets an event be applied.

    Raises: OperatorError; SetupError if a rerun can complete it.
    """
    # The switch asks for secrets that this command is about to find.
    settings = Settings.load({**environ, "ENABLE_BILLING": "false"}, options.env_file)
    find_cli = partial(StripeCli.find, settings.stripe.cli, api_base=settings.stripe.api_base)
    key = await KeyFinder(settings, dialog, find_cli, environ).find(options.key)
    refuse_live(key, allowed=options.live)
    try:
        async with open_account(settings, key.secret) as client:
            catalog = read_catalog(settings, options.env_file)
            run = _Run(
                options=options,
                dialog=dialog,
                settings=settings,
                key=key,
                client=client,
                find_cli=find_cli,
                environ=environ,
                prove=prove,
                recorder=Recorder(options.env_file, environ),
                catalog=catalog,
                desired=desired_objects(catalog.plans, endpoint=_endpoint(settings, options.webhook_url)),
            )
            return await run.carry_out(confirm)
    except _STRIPE_ERRORS as error:
        raise setup_error(error) from error


def _endpoint(settings: Settings, given: str | None) -> DesiredEndpoint | None:
    """Return the endpoint for a public address; None if the server has none."""
    url = settings.server.webhook_url if given is None else given
    if url is None:
        return None
    url = read_webhook_url(url, local=settings.stripe.api_base is not None)
    return DesiredEndpoint(url=url, api_version=settings.stripe.api_version)


@attrs.define(kw_only=True)
class _Run:
    """One run with one key."""

    options: SetupOptions
    dialog: Dialog
    settings: Settings
    key: FoundKey
    client: StripeClient
    find_cli: Callable[[], StripeCli]
    environ: Mapping[str, str]
    prove: Prove
    recorder: Recorder
    catalog: Catalog
    desired: Desired

    async def carry_out(self, confirm: Callable[[str], None]) -> Report:
        """Find, show, ask, do, prove."""
        if not self.options.only_compares:
            await check_servers(self.settings, self.dialog)
        plan = plan_provisioning(self.desired, await find_objects(self.client, self.desired))
        changes = {} if self.options.check else self._first_changes(plan, await self._cli_secret())
        report = await self._report(plan, changes)
        self._show(report)
        if self.options.only_compares:
            return report
        if report.plan.problems:
            raise SetupError(
                f"billing.toml does not fit this account. {' '.join(report.plan.problems)} Nothing was changed. See "
                f"{SetupTrouble.PRICES_CANNOT_BE_MADE}."
            )
        if not report.changes_nothing:
            confirm("Do this?")
        await self._do(report, changes)
        await self._prove(report)
        if report.complete:
            report.next_steps = next_steps(
                self.settings, endpoint=self.desired.endpoint is not None, logged_in=self.key.source == CLI
            )
        return report

    # --- find ----------------------------------------------------------------------------------------------------

    async def _cli_secret(self) -> Secret | None:
        """Return the secret with which the Stripe CLI signs, if it is to bring the events and none is recorded."""
        if self.desired.endpoint is not None or self.settings.stripe.webhook_secrets:
            return None
        if self.key.live:
            self.dialog.say("Live events need an endpoint: give --webhook-url with the public address of the server.")
            return None
        if self.options.dry_run:
            self.dialog.say("The signing secret for local webhooks will be read from the Stripe CLI.")
            return None
        try:
            return await self.find_cli().webhook_secret(self.key.secret)
        except StripeCliError as error:
            self.dialog.say(f"There is no way for webhooks yet: {error}")
            return None

    def _first_changes(self, plan: ProvisioningPlan, cli_secret: Secret | None) -> Mapping[str, str]:
        """Return the settings that are known before anything is done."""
        given = self.options.webhook_url
        base = None if given is None or self.desired.endpoint is None else public_url(self.desired.endpoint.url)
        changes = self.recorder.first_changes(self.settings, self.key, public_url=base, webhook_secret=cli_secret)
        portal = plan.ids.get(PORTAL)
        if portal in (None, self.settings.stripe.portal_configuration):
            return changes
        return {**changes, PORTAL_CONFIGURATION: portal}

    async def _report(self, plan: ProvisioningPlan, changes: Mapping[str, str]) -> Report:
        preview = self.recorder.preview(changes)
        new_file = self.catalog.new_file
        return Report(
            key=self.key,
            account=await find_account(self.client),
            plan=plan,
            file_changes=preview.lines,
            new_file=None if new_file is None else str(new_file),
            notes=[*plan.notes, *preview.warnings, *self._hidden(changes)],
            by_hand=plan.by_hand,
        )

    def _hidden(self, changes: Mapping[str, str]) -> Sequence[str]:
        """Return warnings about variables of the environment that win over what is recorded."""
        names = [name for name in changes if self.recorder.is_set_outside(name)]
        if self.desired.endpoint is not None and self.recorder.is_set_outside(WEBHOOK_SECRET):
            names.append(WEBHOOK_SECRET)
        return [
            f"{name} of the environment wins over {self.recorder.path}: change it there as well. See "
            f"{SetupTrouble.ENVIRONMENT_HIDES_A_SECRET}."
            for name in names
        ]

    def _show(self, report: Report) -> None:
        say = self.dialog.say
        say(heading(report))
        for line in plan_lines(report):
            say(line)
        for problem in report.plan.problems:
            say(f"  ! {problem}")
        if report.changes_nothing:
            say("Everything is set up already. Nothing changes.")

    # --- do ------------------------------------------------------------------------------------------------------

    async def _do(self, report: Report, changes: Mapping[str, str]) -> None:
        """Record first what later steps rest on, then make the objects, then record their ids."""
        if self.catalog.new_file is not None:
            write_first_file(self.catalog.new_file)
        self.recorder.record(changes)
        done = await self._provision(report)
        ids = done.plan.ids
        portal = ids.get(PORTAL)
        recorded = {} if portal is None else {PORTAL_CONFIGURATION: portal}
        if self.catalog.in_price_map:
            found = {ref.name: object_id for ref, object_id in ids.items() if ref.kind == "price"}
            recorded[PRICE_MAP] = price_map(self.catalog.plans, found)
        report.file_changes = (*report.file_changes, *self.recorder.record(recorded).lines)
        report.by_hand = (*done.by_hand, *self._thin_events(report))
        report.done = True
        for step in report.by_hand:
            self.dialog.say(f"By hand: {step}")
        if done.by_hand:
            lost = any(step.kind == "webhook secret" for step in report.plan.pending)
            row = SetupTrouble.ENDPOINT_SECRET_WAS_LOST if lost else SetupTrouble.ENDPOINTS_ARE_NOT_PERMITTED
            self.dialog.say(f"See {row}.")

    def _thin_events(self, report: Report) -> Sequence[str]:
        """Return the steps to a destination for reports about refused usage, beside a new endpoint."""
        endpoint = self.desired.endpoint
        new = any(step.kind == "webhook endpoint" and step.action == "create" for step in report.plan.pending)
        return create_thin_destination(endpoint.url) if endpoint is not None and new and self.desired.meters else ()

    async def _provision(self, report: Report) -> Provisioned:
        total, count = len(report.plan.pending), 0

        def tell(step: Step) -> None:
            nonlocal count
            count += 1
            self.dialog.say(f"[{min(count, total)}/{total}] {step.text}")

        async def keep(secret: str) -> None:
            change = self.recorder.add_webhook_secret(Secret(secret))
            report.file_changes = (*report.file_changes, *change.lines)

        return await carry_out(self.client, self.desired, report.plan, keep_secret=keep, report=tell)

    # --- prove ---------------------------------------------------------------------------------------------------

    def _loaded(self) -> Settings | None:
        """Return the settings as a server would load them now; None if something is missing."""
        try:
            return Settings.load({**self.environ, "ENABLE_BILLING": "true"}, self.options.env_file)
        except SettingsError:
            return None

    def _way_for_webhooks(self, report: Report) -> str:
        """Return what a person has to do for the signing secret, without which no event can be received."""
        step = next((step for step in report.plan.steps if step.kind == "webhook endpoint"), None)
        if step is not None and step.object_id is not None:
            return (
                f"The signing secret of webhook endpoint {step.object_id} is not recorded, and Stripe shows it to "
                f"people only. {copy_secret(step.object_id)} Then run the command again. See "
                f"{SetupTrouble.ENDPOINT_SECRET_WAS_LOST}."
            )
        if self.desired.endpoint is not None:
            return f"Follow the steps above, then run the command again. See {SetupTrouble.NO_WAY_FOR_WEBHOOKS}."
        return (
            "There is no signing secret yet, so that no event can be received. Install the Stripe CLI or give "
            f"--webhook-url, and run the command again. See {SetupTrouble.NO_WAY_FOR_WEBHOOKS}."
        )

    async def _prove(self, report: Report) -> None:
        """Let one of Stripe's events be applied, or say why not."""
        settings = self._loaded()
        if settings is None or not settings.stripe.webhook_secrets:
            report.complete = False
            report.unproven = self._way_for_webhooks(report)
        elif (event := await find_catalog_event(self.client)) is None:
            report.unproven = "Stripe has no event of the last 30 days that could be applied."
        else:
            report.proof = await self.prove(settings, event)
            event_id, event_type, outcome = attrs.astuple(report.proof)
            self.dialog.say(f"Proof: event {event_id} ({event_type}) was signed, received and {outcome}.")
        if report.unproven is not None:
            self.dialog.say(report.unproven)
