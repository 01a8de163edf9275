"""`billing config`: the settings before they are deployed."""

from __future__ import annotations

import os

import click

from billing_app.cli.terminal import json_option, print_json
from billing_app.settings import Settings


@click.group()
def config() -> None:
    """Check the settings."""


@config.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@json_option
def check(file: str | None, as_json: bool) -> None:
    """Check the settings as a start would, with FILE in place of the billing.toml in use, and show what it sets.

    Nothing is opened or connected. Exit status: 0 the settings are valid, 2 they have faults, each with its place.
    """
    settings = Settings.load(os.environ if file is None else {**os.environ, "BILLING_CONFIG": file})
    path = None if settings.rules.path is None else str(settings.rules.path)
    if as_json:
        print_json({"file": path, "keys": settings.rules.keys, "warnings": settings.warnings})
        return
    for warning in settings.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo("The settings are valid.")
    click.echo(f"billing.toml: {settings.rules}" if path is None else str(settings.rules))
