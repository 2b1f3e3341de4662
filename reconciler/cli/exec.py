"""`reconciler exec`: a command in a container, with this terminal as its own when asked for."""

from __future__ import annotations

import sys

import click

from reconciler.cli.complete import complete_container, complete_container_name
from reconciler.cli.session import Session, pass_session
from reconciler.cli.target import find_target


class ExecCommand(click.Command):
    """Takes docker's order (`exec -it NAME sh -c ...`) and kubectl's (`exec NAME -it -- sh -c ...`).

    Options end at NAME, and the words after it are the command's own, unless they begin
    with an option: then options end at `--`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        values, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        words = values.get("words")
        ctx.allow_interspersed_args = isinstance(words, list | tuple) and bool(words) and words[0].startswith("-")
        return super().parse_args(ctx, args)


@click.command(
    cls=ExecCommand,
    epilog="""\b
NAME is a pod, kind/name, pod/container as `ps` prints it, a container's name, or the beginning of its id.
The exit code is the command's own.
\b
Examples:
  reconciler exec web-0 ls /etc              run, print, and be gone
  reconciler exec -it deploy/web sh          a shell on a terminal
  reconciler exec -i db-0 -- psql < dump     feed it
""",
)
@click.argument("target", metavar="NAME", shell_complete=complete_container)
@click.argument("words", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
@click.option(
    "-c", "--container", default="", help="Which container of the pod.", shell_complete=complete_container_name
)
@click.option("-n", "--namespace", default="default", show_default=True, help="The namespace of the pod.")
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input to the command.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@pass_session
@click.pass_context
def command(
    ctx: click.Context,
    session: Session,
    target: str,
    words: tuple[str, ...],
    container: str,
    namespace: str,
    stdin: bool,
    tty: bool,
) -> None:
    """Run a command in a container."""
    from reconciler.cli.terminal import relay

    if tty and not sys.stdin.isatty():
        click.echo("Unable to use a TTY: standard input is not a terminal.", err=True)
        tty = False
    with session.client() as client:
        found = find_target(client, target, namespace, container)
        with client.exec(
            found.namespace, found.pod, words, container=found.container, stdin=stdin, tty=tty
        ) as connection:
            code = relay(connection, stdin=stdin, tty=tty)
    ctx.exit(code)
