"""`billing completion`."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete commands and options with the Tab key.

    \b
    eval "$(billing completion bash)"                       # in ~/.bashrc
    eval "$(billing completion zsh)"                        # in ~/.zshrc
    billing completion fish > ~/.config/fish/completions/billing.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # each of the choices is one of click's
    click.echo(kind(ctx.find_root().command, {}, "billing", "_BILLING_COMPLETE").source())
