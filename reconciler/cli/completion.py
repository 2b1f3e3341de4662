"""`reconciler completion`: the script that makes a shell complete verbs, kinds and names."""

from __future__ import annotations

import os
from pathlib import PurePath

import click

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="""\b
Examples:
  source <(reconciler completion bash)                        now, in this bash
  reconciler completion bash > /etc/bash_completion.d/reconciler
  reconciler completion zsh > "${fpath[1]}/_reconciler"
  reconciler completion fish > ~/.config/fish/completions/reconciler.fish
"""
)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def command(ctx: click.Context, shell: str | None) -> None:
    """Print the completion script for SHELL; without one, for the shell you are in."""
    from click.shell_completion import get_completion_class

    shell = shell or PurePath(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        raise click.UsageError(f"which shell: {', '.join(SHELLS)}?", ctx=ctx)
    root = ctx.find_root()
    script = get_completion_class(shell)
    if script is None:  # click knows all of SHELLS
        raise click.UsageError(f"no completion for {shell}", ctx=ctx)
    click.echo(script(root.command, {}, "reconciler", "_RECONCILER_COMPLETE").source())
