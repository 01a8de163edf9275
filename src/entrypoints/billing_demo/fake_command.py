"""`billing fake-stripe`: a Stripe for tests, on this machine."""

from __future__ import annotations

import sys

import click

from billing_stripe.testing.fake_stripe.__main__ import main


@click.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def fake_stripe(arguments: tuple[str, ...]) -> None:
    """Run a fake Stripe until Ctrl-C. The options are those of `python -m billing_stripe.testing.fake_stripe`.

    \b
    billing fake-stripe --help
    """
    sys.exit(main(arguments))
