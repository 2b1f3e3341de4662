"""`reconciler login`: a login to a registry, kept where `docker login` keeps it."""

from __future__ import annotations

import sys

import click

from reconciler.cli.registry import registry_named, verify_tls


@click.command(
    epilog="""\b
Examples:
  reconciler login registry.example.com                             asks for name and password
  reconciler login -u ci --password-stdin ghcr.io < token.txt       for scripts
"""
)
@click.argument("server", default="", metavar="[REGISTRY]")
@click.option("-u", "--username", help="Else it is asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@verify_tls
def command(server: str, username: str | None, password_stdin: bool, tls_verify: bool) -> None:
    """Log in to a registry (docker.io), and keep that in docker's config.json or its credential helper."""
    registry = registry_named(server)
    if password_stdin:
        if not username:
            raise click.UsageError("--password-stdin needs --username")
        password = sys.stdin.read().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the password on: pipe it in with --password-stdin")
    else:
        username = username or click.prompt(f"Username for {registry}", err=True)
        password = click.prompt("Password", hide_input=True, err=True)
    if not password:
        raise click.UsageError("the password is empty")

    from reconciler.model.login import Login
    from reconciler.runtimes.native.images.docker_config import keep_login
    from reconciler.runtimes.native.images.registry import try_login

    login = Login(registry, username, password)
    try_login(login, verify_tls=tls_verify)
    where = keep_login(login)
    if where.startswith("/"):
        click.echo(
            f"Warning: {where} holds the password unencrypted (mode 0600); a credential helper would not.", err=True
        )
    click.echo(f"logged in to {registry} as {username}")
