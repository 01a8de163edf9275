"""`billing config`: the settings before they are deployed."""

from __future__ import annotations

import os

import click

from billing_app.cli.terminal import json_option, print_json
from billing_app.settings import Settings, SettingsError


@click.group()
def config() -> None:
    """Check the settings."""


@config.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@json_option
def check(file: str | None, as_json: bool) -> None:
    """Check the settings as a start would, with FILE in place of the billing.toml in use, and show what it sets.

    Nothing is opened or connected. Exit status: 0 the settings are valid, 2 they have faults, each with its place.

    \b
    billing config check
    billing config check deploy/billing.toml
    """
    settings, faults = Settings.examine(os.environ if file is None else {**os.environ, "BILLING_CONFIG": file})
    path = None if settings.rules.path is None else str(settings.rules.path)
    if as_json:
        shown = [
            {"place": fault.variable, "problem": fault.problem, "remedy": fault.remedy, "see": str(fault.trouble)}
            for fault in faults
        ]
        print_json({"file": path, "keys": settings.rules.keys, "warnings": settings.warnings, "faults": shown})
        if faults:
            raise click.exceptions.Exit(SettingsError.exit_code)
        return
    if faults:
        raise SettingsError(faults)
    for warning in settings.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo("The settings are valid.")
    click.echo(f"billing.toml: {settings.rules}" if path is None else str(settings.rules))
